# 012_cache_refresh.pl
#		Results that are computed before callers have to wait for them, and the
#		reports that use the cache by themselves.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use TraceExtTest;

# What is computed is counted here, and autovacuum comes when it comes.
my $node = new_node('refresh', shared_preload_libraries => 'trace_ext', autovacuum => 'off',
	'trace_ext.cache_trusted_functions' => 'public.*');

$node->safe_psql('postgres', q{
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1), (2);
	CREATE ROLE reader LOGIN;
	GRANT trace_ext_reader TO reader;
	GRANT SELECT ON t TO reader;
	CREATE FUNCTION noted() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RAISE LOG 'a run'; RETURN 1; END $$;});

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub sql_as_reader
{
	my ($out, $err);
	$node->psql('postgres', $_[0], extra_params => [ '-U', 'reader' ], stdout => \$out, stderr => \$err);
	return $err ne '' ? $err : $out;
}

sub counter { return sql("SELECT $_[0] FROM trace_ext.cache_stats"); }

# ends_up QUERY, WANTED, NAME: a worker does it, some time.
sub ends_up
{
	my ($query, $wanted, $name) = @_;
	ok($node->poll_query_until('postgres', $query, $wanted), $name);
}

# Renewed in the background: whoever asks is given the old result at once.
{
	my $ask = q{SELECT n FROM trace_ext.cached('SELECT noted() + count(*) FROM t WHERE now() IS NOT NULL', '20 s') AS c (n bigint)};
	my $as_of = q{SELECT as_of FROM trace_ext.cache_entries WHERE query LIKE '%noted%'};

	ends_up(q{SELECT worker_state IN ('waiting', 'busy', 'asleep') FROM trace_ext.status}, 't', 'there is a worker');
	is(sql($ask), 3, 'computed by the first caller');
	my $first = sql($as_of);
	sleep 10.5;
	my $misses = counter('misses');
	is(sql($ask), 3, 'past half of its time the old result is given');
	is(counter('misses'), $misses, 'and not computed by its caller');
	ends_up("SELECT as_of > '$first' FROM trace_ext.cache_entries WHERE query LIKE '%noted%'", 't', 'but by a worker');
	is(() = slurp_file($node->logfile) =~ /LOG:  a run/g, 2, 'once');
}

# An argument is kept, not where it was: its row may be gone by then.
{
	my $query = q{SELECT length($1) + count(*) FROM t WHERE now() IS NOT NULL};
	my $as_of = q{SELECT as_of FROM trace_ext.cache_entries WHERE query LIKE '%length%'};
	sql(q{CREATE TABLE wide (v text); ALTER TABLE wide ALTER v SET STORAGE EXTERNAL; INSERT INTO wide VALUES (repeat('x', 100000))});
	my $n = sql("SELECT n FROM wide, LATERAL trace_ext.cached('$query', '20 s', v) AS c (n bigint)");
	my $first = sql($as_of);
	sql('DELETE FROM wide');
	sql('VACUUM wide');
	sleep 10.5;
	is(sql("SELECT n FROM trace_ext.cached('$query', '20 s', repeat('x', 100000)) AS c (n bigint)"), $n, 'the same argument from elsewhere');
	ends_up("SELECT as_of > '$first' FROM trace_ext.cache_entries WHERE query LIKE '%length%'", 't', 'is computed anew when the row it was in is gone');
	is(sql('SELECT count(*) FROM trace_ext.cache_failures'), 0, 'and does not fail');
}

# Kept queries.
{
	my $query = 'SELECT count(*) FROM t';
	my $entry = "SELECT exact FROM trace_ext.cache_entries WHERE query = '$query' AND role = 'reader'";
	my $ask = "SELECT n FROM trace_ext.cached('$query') AS c (n bigint)";
	my $hit = sub
	{
		my $misses = counter('misses');
		my $answer = sql_as_reader($ask);
		return $answer . (counter('misses') == $misses ? ' hit' : ' miss');
	};

	like(sql_as_reader(q{SELECT trace_ext.cache_keep('SELECT random()')}), qr/volatile function random/,
		'what cannot be cached is not kept');
	like(sql_as_reader(q{SELECT trace_ext.cache_keep('SELECT now()')}), qr/without a ttl/, 'nor what needs a ttl');
	like(sql_as_reader(q{SELECT * FROM trace_ext.cache_kept}), qr/permission denied/, 'others\' queries are not shown');
	sql_as_reader("SELECT trace_ext.cache_keep('$query')");
	ends_up($entry, 't', 'computed before anybody asks');
	is($hit->(), '2 hit', 'with the rights of its role');

	sql('INSERT INTO t VALUES (3)');
	sleep 0.1;
	ends_up("SELECT as_of > now() - interval '1 day' AND (SELECT last_started > kept_at FROM trace_ext.jobs, trace_ext.cache_kept WHERE name = 'cache_refresh') FROM trace_ext.cache_entries WHERE query = '$query'",
		't', 'looked at again');
	is(sql_as_reader($ask), 3, 'right after a commit, whoever comes first');

	$node->restart;
	ends_up($entry, 't', 'computed again after a restart');
	is($hit->(), '3 hit', 'for whoever asks first');

	sql('REVOKE SELECT ON t FROM reader');
	like(sql_as_reader($ask), qr/permission denied/, 'not given once the right is revoked');
	ends_up("SELECT failures > 0 AND last_error LIKE 'permission denied%' FROM trace_ext.cache_kept WHERE query = '$query'",
		't', 'a kept query that fails says why, to an admin');
	sql('GRANT SELECT ON t TO reader');
	is(sql_as_reader("SELECT trace_ext.cache_forget('$query')"), 't', 'forgotten');
	is(sql_as_reader("SELECT trace_ext.cache_forget('$query')"), 'f', 'once');
	is(sql('SELECT count(*) FROM trace_ext.cache_kept'), 0, 'and no more kept');
}

# A function of whose settings the query does not tell: it has them all in its key.
{
	my ($out, $err);
	sql(q{CREATE VIEW mine AS SELECT current_setting('app.tenant') AS tenant, count(*) AS n FROM t;
		CREATE FUNCTION hidden() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT tenant FROM mine); END $$;});
	my $ask = 'SELECT v FROM trace_ext.cached($$SELECT hidden()$$) AS c (v text);';
	$node->psql('postgres', "SET app.tenant = 'a'; $ask $ask SET app.tenant = 'b'; $ask $ask SET app.tenant = 'a'; $ask",
		stdout => \$out, stderr => \$err);
	is($out, "a\na\nb\nb\na", 'each setting has its own result');
	is($err, '', 'and nothing is said about it');
}

# The reports.
{
	# list_traces() itself would lose by it.
	my $list = q{SELECT n FROM trace_ext.cached('SELECT count(*) FROM trace_ext.list_traces()') AS c (n bigint)};
	my $races = q{SELECT count(*) FROM trace_ext.find_variable_races('x', max_pairs => 1)};
	my $event = sub
	{
		my ($trace, $id) = @_;
		return qq{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
			VALUES ('0000000$trace-0000-4000-8000-000000000000', '0000000$id-0000-4000-8000-000000000000', '2020-01-01 00:00:0${id}+00',
					'StateChange', 'x', 's', 'i', $trace, 't$trace', '{"access_type": "Write", "new_value": $id, "location": "a.c:$id"}')};
	};
	# Quiet, so that no fold comes between two questions.
	$node->append_conf('postgresql.conf', "trace_ext.workers = off\ntrace_ext.fold_threshold = 0\n");
	$node->restart;

	sql($event->(1, 1));
	my $stores = counter('stores');
	is(sql('SELECT count(*) FROM trace_ext.list_traces()'), 1, 'list_traces()');
	is(counter('stores'), $stores, 'is not kept by itself');
	is(sql($list), 1, 'but by cached()');
	my $misses = counter('misses');
	is(sql($list), 1, 'again');
	is(counter('misses'), $misses, 'from the cache');
	sql($event->(2, 2));
	is(sql($list), 2, 'a new trace is listed at once');
	is(sql("BEGIN; " . $event->(3, 3) . "; $list; ROLLBACK"), 3, 'one\'s own, uncommitted, as well');
	is(sql($list), 2, 'which nobody else is given');

	# Writes of one request each, which overlap: all pairs race.
	sql($event->(1, 4));
	sql($event->(2, 5));
	my ($first, $first_notice, $second, $second_notice);
	$node->psql('postgres', $races, stdout => \$first, stderr => \$first_notice);
	$misses = counter('misses');
	$node->psql('postgres', $races, stdout => \$second, stderr => \$second_notice);
	is($first, 1, 'find_variable_races(), cut');
	like($first_notice, qr/showing 1 of \d+ pairs/, 'says of how many');
	is($second, $first, 'again');
	is($second_notice, $first_notice, 'with the same notice');
	is(counter('misses'), $misses, 'from the cache');

	sql('SELECT trace_ext.detect()');
	my $open = q{SELECT count(*) FROM trace_ext.global_races() WHERE status = 'open'};
	my $before = sql($open);
	cmp_ok($before, '>', 0, 'global_races()');
	is(sql("SELECT trace_ext.set_finding_status(id, 'acknowledged') FROM trace_ext.findings LIMIT 1; $open"),
		"t\n" . ($before - 1), 'who acknowledges one sees it at once');
}

$node->stop;
done_testing();
