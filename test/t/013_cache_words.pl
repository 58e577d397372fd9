# 013_cache_words.pl
#		Times that move, spelled at random, are never cached without a ttl, and times
#		that stand still always are; and what one session's settings make of a query
#		is not given to another one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

seed_random();
my $node = new_node('words', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off');

$node->safe_psql('postgres', q{
	CREATE TYPE pair AS (a int, b timestamptz);
	CREATE TABLE t (id int, at timestamptz);
	INSERT INTO t VALUES (1, '2021-01-01');
	CREATE FUNCTION verdict(query text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		answer text;
	BEGIN
		SELECT v INTO answer FROM trace_ext.cached(query) AS c(v text);
		RETURN 'kept';
	EXCEPTION WHEN feature_not_supported THEN
		RETURN CASE WHEN SQLERRM ~ 'without a ttl' THEN 'refused' ELSE SQLERRM END;
	WHEN OTHERS THEN
		RETURN SQLERRM;
	END $$;});

sub pick { return $_[ int(rand(@_)) ]; }

# A word in any case, as the value of a literal or of an expression.
sub recased { return join('', map { rand() < 0.3 ? uc : $_ } split(//, $_[0])); }

sub literal
{
	my ($value) = @_;
	my $octal = join('', map { rand() < 0.4 ? sprintf('\\%03o', ord) : $_ } split(//, $value));
	my $hex = join('', map { rand() < 0.4 ? sprintf('\\x%02x', ord) : $_ } split(//, $value));
	my $unicode = join('', map { rand() < 0.4 ? sprintf('\\%04x', ord) : $_ } split(//, $value));
	my $at = 1 + int(rand(length($value) - 1));
	my $split = substr($value, 0, $at) . "'\n'" . substr($value, $at);
	return pick("'$value'", "E'$octal'", "E'$hex'", "U&'$unicode'", "\$\$$value\$\$", "\$q\$$value\$q\$", "'$split'", "'  $value '", "/* 'x' */ '$value'");
}

sub expression
{
	my ($value) = @_;
	my $at = 1 + int(rand(length($value) - 1));
	return pick("('" . substr($value, 0, $at) . "' || '" . substr($value, $at) . "')", "lower('$value')", "'$value'::text", "trim(' $value ')",
		"(SELECT '$value'::text)", "concat('$value')", "replace('x$value', 'x', '')", "('{$value}'::text[])[1]", "(jsonb_build_array('$value') ->> 0)");
}

my %types = (timestamptz => 'tstzrange', timestamp => 'tsrange', date => 'daterange');

# An expression of a literal, whose type the parser knows, or of text.
sub typed
{
	my ($value, $spell) = @_;
	my $type = pick(sort keys %types);
	my $of_literal = $spell == \&literal;
	my @ways = (
		sub { $spell->($value) . "::$type" },
		sub { '(' . $spell->($value) . ")::$type" },
		sub { 'CAST(' . $spell->($value) . " AS $type)" },
		sub { '(' . $spell->("{$value,2020-02-02}") . ")::$type" . '[]' },
		sub { '(' . $spell->("[$value,infinity)") . ")::$types{$type}" },
		sub { '(' . $spell->("(1,$value)") . ')::pair' },
		sub { '(' . $spell->(qq[{"(1,$value)"}]) . ')::pair[]' });
	push(@ways,
		sub { '(SELECT at > ' . $spell->($value) . ' FROM t)' },
		sub { '(SELECT greatest(at, ' . $spell->($value) . ') FROM t)' },
		sub { '(SELECT count(*) FROM t WHERE at IN (at, ' . $spell->($value) . '))' },
		sub { 'ARRAY[' . $spell->($value) . "]::$type" . '[]' },
		sub { "$type " . "'$value'" })
	  if $of_literal;
	return pick(@ways)->();
}

my @cases;
for (1 .. 250)
{
	my $moving = recased(pick('now', 'today', 'tomorrow', 'yesterday'));
	my $still = recased(pick('2020-01-01', '2020-01-01 10:00', '2020-01-01T10:00:00Z', 'infinity', 'epoch', '5 Jan 2020'));

	push(@cases, [ typed($moving, \&literal), 'refused' ], [ typed($moving, \&expression), 'refused' ], [ typed($still, \&literal), 'kept' ]);
}
my $sql = join("\n", map { "SELECT verdict(\$verdict\$SELECT ($_->[0])::text\$verdict\$);" } @cases);
my @verdicts = split(/\n/, $node->safe_psql('postgres', $sql));
my @wrong = grep { $verdicts[$_] ne $cases[$_][1] } 0 .. $#cases;
is(scalar(@verdicts), scalar(@cases), scalar(@cases) . ' spellings');
is(join("\n", map { "$verdicts[$_], not $cases[$_][1]: $cases[$_][0]" } @wrong), '', 'what moves is refused, what stands still is kept');

# Settings of another extension, that one session has and another one has not.
SKIP:
{
	skip 'pg_trgm is not installed', 8
	  if $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'}) eq '0';
	$node->safe_psql('postgres', q{CREATE EXTENSION pg_trgm; CREATE TABLE words (w text); INSERT INTO words VALUES ('word'), ('words'), ('wording'), ('sword')});
	my $query = q{SELECT count(*) FROM words WHERE w % 'word'};
	my $cached = q{SELECT n FROM trace_ext.cached('} . ($query =~ s/'/''/gr) . q{', '1 hour') AS c(n bigint)};

	like((try_psql($node, $cached =~ s/, '1 hour'//r))[2], qr/without a ttl/, 'an operator that goes by a setting needs a ttl');
	for my $threshold ('0.1', '0.5', '0.9', '0.1')
	{
		my $set = "SET pg_trgm.similarity_threshold = $threshold;";
		is($node->safe_psql('postgres', "$set $cached"), $node->safe_psql('postgres', "$set $query"), "threshold $threshold, in a session of its own");
	}
	is($node->safe_psql('postgres', $cached), $node->safe_psql('postgres', $query), 'in a session without one');
	like($node->safe_psql('postgres', q{SELECT n FROM trace_ext.cached('SELECT pg_backend_pid()', '1 hour') AS c(n int); SELECT pg_backend_pid()}), qr/^(\d+)\n\1$/, 'one\'s own process') for 1 .. 2;
}
is($node->safe_psql('postgres', q{SET search_path = pg_temp, public; SELECT n = current_schema FROM trace_ext.cached('SELECT current_schema', '1 hour') AS c(n name); SELECT pg_sleep(0.1)}), "t\n", 'one\'s own temporary schema');
my $other = $node->background_psql('postgres');
$other->query_safe('SET search_path = pg_temp, public; CREATE TEMP TABLE x ()');
is($other->query_safe(q{SELECT n = current_schema FROM trace_ext.cached('SELECT current_schema', '1 hour') AS c(n name)}), 't', 'and another one\'s') ;
is($node->safe_psql('postgres', q{SET search_path = pg_temp, public; CREATE TEMP TABLE y (); SELECT n = current_schema FROM trace_ext.cached('SELECT current_schema', '1 hour') AS c(n name)}), 't', 'at the same time');
$other->quit;

# A row that is locked, and not written
$node->safe_psql('postgres', q{SELECT v FROM trace_ext.cached('SELECT xmax::text FROM t', '1 ms') AS c(v text)});
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; SELECT FROM t FOR UPDATE');
is($node->safe_psql('postgres', q{SELECT v = (SELECT xmax::text FROM t) FROM trace_ext.cached('SELECT xmax::text FROM t', '1 ms') AS c(v text)}), 't', 'who locks a row shows');
$locker->query_safe('COMMIT');
$locker->quit;

$node->stop;
done_testing();
