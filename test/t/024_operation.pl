# 024_operation.pl
#		The operation of a query is what pg_stat_statements makes of it, but for
#		comments and white space; and where the server does not know lists yet, as
#		from PostgreSQL 18 on, it is that of the list's first element.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

my $node = new_node('operation', shared_preload_libraries => 'trace_ext,pg_stat_statements',
	'trace_ext.workers' => 'off', 'pg_stat_statements.track_utility' => 'off');
my $lists = $node->safe_psql('postgres', 'SHOW server_version_num') >= 180000;

$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_stat_statements;
	CREATE TABLE t (id int, name text, price numeric, seen timestamptz, flag bool, tags text[], data jsonb);});

my @queries = (
	q{SELECT * FROM t WHERE id = 42},
	q{SELECT  *
	    FROM t
	   WHERE name = 'it''s'   AND id > -5 -- a comment
	},
	q{SELECT /* one */ id /* two /* nested */ */ FROM t WHERE id = 1 + 2},
	q{SELECT id - 5, id -5, id-5, - 5, -id, (-5), 3 - -5, -5::int, - /* c */ 7 FROM t;},
	q{SELECT 1.5, .5, 5., 1e5, 1.5e-3, 12345678901234567890},
	q{SELECT E'a\'b', 'a\b', B'101', X'1F', U&'d\0061t', $$x'y$$, $tag$ $$ $tag$, N'x'},
	q{SELECT 'one'
	         'two', name FROM t},
	q{SELECT NULL, TRUE, false, NULL::int FROM t WHERE name IS NULL AND flag IS NOT TRUE AND flag IS FALSE AND NOT true},
	q{SELECT name IS DISTINCT FROM NULL, flag IS DISTINCT FROM true, name IS NOT NULL FROM t},
	q{INSERT INTO t (id, name, flag) VALUES (1, 'a', true), (2, NULL, false)},
	q{INSERT INTO t (id) SELECT g FROM generate_series(1, 3) g RETURNING id, 5},
	q{UPDATE t SET price = price - 1.5, name = NULL, flag = NOT flag WHERE id = 3},
	q{DELETE FROM t WHERE id BETWEEN 5 AND 10 OR name LIKE '%x' ESCAPE '!'},
	q{SELECT id, count(*) FROM t GROUP BY 1 HAVING count(*) > 5 ORDER BY 1, 2 DESC LIMIT 10 OFFSET 20},
	q{SELECT id FROM t ORDER BY 1 /*traceparent='00-1'*/},
	q{SELECT id FROM t ORDER BY id + 1, 1},
	q{SELECT * FROM (SELECT id, name FROM t ORDER BY 2 LIMIT 1) s, (VALUES (1), (2)) v},
	q{SELECT row_number() OVER (PARTITION BY 1 ORDER BY 2), array_agg(id ORDER BY 1) FROM t GROUP BY name},
	q{SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM t},
	q{SELECT price::numeric(10,2), CAST(name AS varchar(20)), seen::timestamp(3) with time zone FROM t},
	q{SELECT extract(year FROM seen), date_trunc('day', seen), seen + interval '1 day', date '2024-11-30', seen AT TIME ZONE 'utc' FROM t},
	q{SELECT tags[1], tags[1:2], data->'a'->>0, data #>> '{a,b}', data ? 'k' FROM t},
	q{SELECT "id", "t"."name" AS "a 'b' 5" FROM "public"."t" AS "t" WHERE "t"."id" = 5},
	q{SELECT CASE WHEN id = 1 THEN -1 ELSE '6'::text::int END - 1 FROM t},
	q{WITH a AS (SELECT id FROM t WHERE id < 100) SELECT * FROM a WHERE id = ANY ('{1,2,3}')},
	q{SELECT substring(name from 2 for 3), position('a' in name), overlay(name placing 'x' from 1), trim(both 'x' from name) FROM t},
	q{SELECT * FROM t WHERE id=1 and name='x'and flag and(price>2 or(price<1))},
	q{SELECT coalesce(name, 'none') || 'x' || 5, @ -5, |/ 25.0, 2 ^ 3, 7 % 3, '5' !~~ '6' FROM t},
	q{SELECT EXISTS (SELECT 1 FROM t WHERE id = 1), (SELECT 2), ARRAY(SELECT 3), ROW(1, 'x') = ROW(2, 'y')},
	q{SELECT id FROM t WHERE id = 1 UNION ALL SELECT 2 EXCEPT SELECT 3 ORDER BY 1 FETCH FIRST 5 ROWS ONLY},
	q{SELECT count(*) FILTER (WHERE id > 5), sum(id) OVER (ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING) FROM t GROUP BY id},
	q{SELECT * FROM t WHERE name = 'Zürich' AND "name" <> 'größe' FOR UPDATE},
	q{SELECT generate_series(1, 10) AS größe5, 'x' AS "ü"},
	q{SELECT * FROM t WHERE id IN (7)},
	q{SELECT * FROM t WHERE (id, name) IN ((1, 'a'), (2, 'b'))},
	q{SELECT * FROM t WHERE id IN (1 + 1, 2, id)});

my @lists = (
	q{SELECT * FROM t WHERE id IN (1, 2, 3) AND name = 'x'},
	q{SELECT * FROM t WHERE id NOT IN (-1, 2) AND name IN ('a', 'b', NULL, 'c') OR id = 5},
	q{SELECT ARRAY[1, 2, 3], id = ANY (ARRAY[4, 5]) FROM t});

# With parameters, of which libpq's psql can send none before 16.
my @parameters = (
	[ 'int, text', q{SELECT * FROM t WHERE id = $1 AND name = $2 AND price > 5} ],
	[ 'int, text', q{SELECT 1, $2, 'x' FROM t WHERE id = $1 OR id = -$1 LIMIT 3} ]);

# What pg_stat_statements says of each.
sub statements
{
	my @queries = @_;
	my @said;

	foreach my $query (@queries)
	{
		$node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
		$node->safe_psql('postgres', $query);
		my $texts = $node->safe_psql('postgres', q{
			SELECT query FROM pg_stat_statements
			 WHERE query !~ 'pg_stat_statements' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())});
		push @said, $texts;
	}
	return @said;
}

sub operation
{
	my ($query) = @_;
	$query =~ s/'/''/g;
	return $node->safe_psql('postgres', "SELECT trace_ext.operation('DatabaseQuery'::trace_ext.event_kind, '" . $query . "')");
}

# Without comments and white space, but of lists.
sub plain
{
	my ($text) = @_;
	$text =~ s{/\*, \.\.\. \*/}{<LIST>}g;
	1 while $text =~ s{/\*((?!/\*|\*/).)*\*/}{ }gs;
	$text =~ s/--[^\n]*//g;
	$text =~ s/\s+//g;
	$text =~ s/;$//;
	return $text;
}

# Long ones are cut, and compared by their beginning.

sub like_theirs
{
	my ($query, $theirs) = @_;
	my $ours = operation($query);
	my $expected = plain($theirs);
	$expected = substr($expected, 0, length(plain($ours))) if length($ours) > 180;
	return is(plain($ours), $expected, $query);
}

my @said = statements(@queries);
like_theirs($queries[$_], $said[$_]) foreach 0 .. $#queries;

# Lists: of the same statement with one element each, where this server tells all.
foreach my $query (@lists)
{
	if ($lists)
	{
		like_theirs($query, (statements($query))[0]);
		next;
	}
	my ($first) = statements($query =~ s/(IN \(|ARRAY\[)([^,()]+)(?:, [^,()\]]+)+/$1$2/gr);
	like_theirs($query, $first =~ s{(IN \(|ARRAY\[)(\$\d+)}{$1$2 /*, ... */}gr);
}

foreach my $parameters (@parameters)
{
	my ($types, $query) = @$parameters;
	my ($theirs) = statements("SET plan_cache_mode = force_generic_plan; PREPARE p ($types) AS $query; EXECUTE p (1, 'x')");
	$theirs =~ s/^PREPARE p \([^)]*\) AS //;
	like_theirs($query, $theirs);
}

$node->stop;
done_testing();
