# 011_cache.pl
#		What the result cache does around the ends of things: prepared transactions,
#		restarts, crashes, killed sessions, failing queries, other servers, a full
#		memory, and no preload.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use TraceExtTest;

seed_random();
my @settings = (
	shared_preload_libraries => 'trace_ext',
	max_prepared_transactions => 10,
	max_connections => 120,
	# What is computed is counted here.
	autovacuum => 'off',
	restart_after_crash => 'on',
	wal_retrieve_retry_interval => '100ms',
	'trace_ext.cache_size' => '4MB',
	'trace_ext.cache_retry_after' => '6s',
	'trace_ext.cache_trusted_functions' => 'public.*');
my $node = new_node('cache', @settings, init => [ allows_streaming => 'logical' ]);

$node->safe_psql('postgres', q{
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1), (2);
	-- Notes each of its runs in the log, where no rollback takes it back, and takes a while.
	CREATE FUNCTION slow(seconds float8) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
	BEGIN
		RAISE LOG 'a run';
		PERFORM pg_sleep(seconds);
		RETURN (SELECT count(*) FROM t);
	END $$;
	-- And for as long as somebody holds the gate.
	CREATE FUNCTION gated() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
	BEGIN
		RAISE LOG 'a run';
		PERFORM pg_advisory_lock_shared(1);
		PERFORM pg_advisory_unlock_shared(1);
		RETURN (SELECT count(*) FROM t);
	END $$;
	CREATE TABLE switch (fails boolean);
	INSERT INTO switch VALUES (true);
	CREATE FUNCTION failing() RETURNS int LANGUAGE plpgsql STABLE AS $$
	BEGIN
		RAISE LOG 'a run';
		IF (SELECT fails FROM switch) THEN
			RAISE 'it failed, as told';
		END IF;
		RETURN 1;
	END $$;});

sub cached_sql
{
	my ($query, $ttl) = @_;
	$query =~ s/'/''/g;
	return "SELECT n FROM trace_ext.cached('$query'" . (defined $ttl ? ", '$ttl'" : '') . ') AS c(n bigint)';
}

my $count = 'SELECT count(*) FROM t';

sub counted { return ($_[0] // $node)->safe_psql('postgres', cached_sql($count, $_[1])); }

sub stats
{
	my ($column, $on) = @_;
	return ($on // $node)->safe_psql('postgres', "SELECT $column FROM trace_ext.cache_stats");
}

# What is found now is found by a new session, in shared memory.
sub hit_ok
{
	my ($sql, $expected, $name, $on) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $hits = 'local_hits + shared_hits + stale_hits';
	my ($answer, $hit);

	for (1 .. 100)
	{
		my $before = stats($hits, $on);
		$answer = ($on // $node)->safe_psql('postgres', $sql);
		$hit = stats($hits, $on) > $before;
		last if $hit || $answer ne $expected;
		sleep(0.1);
	}
	is("$answer " . ($hit ? 'found' : 'computed'), "$expected found", $name);
}

my $log_before = 0;
sub runs { return scalar(() = substr(slurp_file($node->logfile), $log_before) =~ /LOG:  a run$/mg); }

sub reset_runs
{
	$node->safe_psql('postgres', 'SELECT trace_ext.cache_reset()');
	$log_before = -s $node->logfile;
	return;
}

#
# Prepared transactions
#

hit_ok(cached_sql($count), 2, 'a result is kept');
$node->safe_psql('postgres', "BEGIN; INSERT INTO t VALUES (3); PREPARE TRANSACTION 'one';");
hit_ok(cached_sql($count), 2, 'what is prepared is not seen, and drops nothing');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'one'");
hit_ok(cached_sql($count), 2, 'nor is it when it is rolled back');
$node->safe_psql('postgres', "BEGIN; INSERT INTO t VALUES (3); PREPARE TRANSACTION 'two';");
hit_ok(cached_sql($count), 2, 'what is prepared again is not seen');
$node->safe_psql('postgres', "COMMIT PREPARED 'two'");
is(counted(), 3, 'COMMIT PREPARED makes stale');
hit_ok(cached_sql($count), 3, 'and what is computed after it is kept');
$node->safe_psql('postgres', "BEGIN; INSERT INTO t VALUES (4); PREPARE TRANSACTION 'three';");
$node->restart;
is(counted(), 3, 'prepared before a restart: not seen after it') for 1 .. 3;
$node->safe_psql('postgres', "COMMIT PREPARED 'three'");
is(counted(), 4, 'COMMIT PREPARED after a restart makes stale');
hit_ok(cached_sql($count), 4, 'and what is computed after it is kept');
$node->safe_psql('postgres', "BEGIN; TRUNCATE t; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'four';");
crash($node);
$node->safe_psql('postgres', "COMMIT PREPARED 'four'");
is(counted(), 1, 'TRUNCATE that was prepared before a crash');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
is(counted(), 2, 'written after a crash');
hit_ok(cached_sql($count), 2, 'kept after a crash');

#
# One computation
#

# Sessions that ask in the background; each is a psql of its own.
sub askers
{
	my ($n, @sql) = @_;
	return map {
		my ($out, $err) = ('', '');
		my $asker = { out => \$out, err => \$err };
		$asker->{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), map { ('-c', $_) } @sql ],
			'<', \undef, '>', \$out, '2>', \$err);
		$asker;
	} 1 .. $n;
}

sub finish
{
	$_->{run}->finish for @_;
	return map { ${ $_->{out} } . ${ $_->{err} } } @_;
}

sub wait_for
{
	my ($n, $what) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) >= $n FROM pg_stat_activity WHERE query ~ 'cached[(].*(slow|gated)[(]' AND pid <> pg_backend_pid() AND $what")
	  or die "never $n with $what";
}

my $gate;
sub close_gate
{
	$gate = $node->background_psql('postgres');
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	return;
}
sub open_gate { $gate->quit; return }

sub holder { return $node->safe_psql('postgres', q{SELECT pid FROM pg_locks WHERE locktype = 'userlock' AND mode = 'ExclusiveLock' AND granted}); }

reset_runs();
close_gate();
my @askers = askers(40, cached_sql('SELECT gated()'));
wait_for(39, "wait_event = 'userlock'");
open_gate();
is(join('', uniq(finish(@askers))), "2\n", '40 callers of one key at once have one answer');
is(runs(), 1, 'and there was one computation');
cmp_ok(stats('waits'), '>=', 39, 'for which 39 waited');

sub uniq { my %seen; return grep { !$seen{$_}++ } @_; }

# The one who computes is stopped, in different ways: one of those who wait is the
# next, alone again, and all of these have the answer.
for my $way ([ 'cancelled', 'SELECT pg_cancel_backend(%d)', qr/user request/ ],
	[ 'terminated', 'SELECT pg_terminate_backend(%d)', qr/terminating connection/ ])
{
	my ($name, $sql, $error) = @$way;
	reset_runs();
	close_gate();
	@askers = askers(10, cached_sql('SELECT gated()'));
	wait_for(9, "wait_event = 'userlock'");
	my $holder = holder();
	$node->safe_psql('postgres', sprintf($sql, $holder));
	$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $holder)");
	open_gate();
	my @results = finish(@askers);
	is(scalar(grep { $_ eq "2\n" } @results), 9, "the one who computes is $name: the others have the answer");
	is(scalar(grep { /$error/ } @results), 1, 'and he his error');
	is(runs(), 2, 'and there was one more computation');
}
# By his own statement_timeout, and by an error
reset_runs();
close_gate();
my @impatient = askers(1, 'SET statement_timeout = 5000', cached_sql('SELECT gated()'));
wait_for(1, "wait_event = 'advisory'");
@askers = askers(5, cached_sql('SELECT gated()'));
like((finish(@impatient))[0], qr/statement timeout/, 'the one who computes times out');
open_gate();
is(join('', uniq(finish(@askers))), "2\n", 'the others have the answer');
is(runs(), 2, 'from one more computation');
is($node->safe_psql('postgres', "SELECT count(*) FROM trace_ext.cache_failures"), '0', 'what was stopped from outside has not failed');
# Who waits may give up without harm to the others
reset_runs();
close_gate();
@askers = askers(1, cached_sql('SELECT gated()'));
wait_for(1, "wait_event = 'advisory'");
@impatient = askers(1, 'SET statement_timeout = 300', cached_sql('SELECT gated()'));
like((finish(@impatient))[0], qr/statement timeout/, 'who waits too long times out');
@impatient = askers(1, 'SET lock_timeout = 100', cached_sql('SELECT gated()'));
wait_for(1, "wait_event = 'userlock'");
sleep(0.3);
open_gate();
is((finish(@impatient))[0], "2\n", 'lock_timeout is about locks that one asked for');
is((finish(@askers))[0], "2\n", 'the one who computes does not mind');
is(runs(), 1, 'one computation');
# kill -9: everyone falls, and nobody is left waiting
reset_runs();
@askers = askers(5, cached_sql('SELECT slow(30)'));
wait_for(4, "wait_event = 'userlock'");
kill_9(holder());
is(scalar(grep { /server closed the connection|terminating connection|crash of another/ } finish(@askers)), 5, 'one is killed with -9: nobody is left waiting');
$node->poll_query_until('postgres', 'SELECT true');
is(counted(), 2, 'and all goes on');
is($node->safe_psql('postgres', q{SELECT count(*) FROM trace_ext.cache_entries WHERE query LIKE '%slow%'}), '0', 'and nothing of it was published');
# A transaction that keeps the one who computes from going on does not wait for him
my $blocker = $node->background_psql('postgres');
$blocker->query_safe('BEGIN; LOCK t IN ACCESS EXCLUSIVE MODE');
@askers = askers(1, cached_sql('SELECT slow(0)'));
wait_for(1, "wait_event_type = 'Lock'");
is($blocker->query_safe(cached_sql('SELECT slow(0)')), 2, 'no deadlock with who holds the table that is read');
$blocker->query_safe('COMMIT');
$blocker->quit;
is((finish(@askers))[0], "2\n", 'who had to wait goes on');

#
# Failing queries
#

sub ask_failing { return (try_psql($node, cached_sql('SELECT failing()::bigint')))[2]; }
sub failure { return $node->safe_psql('postgres', 'SELECT state, failures, message FROM trace_ext.cache_failures'); }

reset_runs();
is(failure(), '', 'nothing fails');
like(ask_failing(), qr/it failed, as told/, 'an error is passed on');
is(failure(), 'closed|1|it failed, as told', 'and noted');
ask_failing() for 2 .. 3;
is(failure(), 'open|3|it failed, as told', 'after three in a row it is open');
is(runs(), 3, 'it was tried three times');
like(ask_failing(), qr/failed 3 times in a row and is not tried until.*it failed, as told/s, 'open: refused, with the reason');
is(runs(), 3, 'open: not tried');
$node->safe_psql('postgres', 'UPDATE switch SET fails = false');
$node->poll_query_until('postgres', "SELECT state = 'half-open' FROM trace_ext.cache_failures");
is(ask_failing(), '', 'half-open: tried, and it is well');
is(failure(), '', 'closed again');
$node->safe_psql('postgres', 'UPDATE switch SET fails = true');
ask_failing() for 1 .. 3;
$node->poll_query_until('postgres', "SELECT state = 'half-open' FROM trace_ext.cache_failures");
like(ask_failing(), qr/it failed, as told/, 'half-open: tried, and it fails');
is(failure(), 'open|4|it failed, as told', 'open again');
cmp_ok($node->safe_psql('postgres', 'SELECT retry_at - now() FROM trace_ext.cache_failures'), 'gt', '00:00:06', 'for longer');
$node->safe_psql('postgres', 'SELECT trace_ext.cache_reset()');
like(ask_failing(), qr/it failed, as told/, 'tried again after cache_reset()');
like((try_psql($node, 'SET trace_ext.cache_failure_limit = 0;' . cached_sql('SELECT failing()::bigint')))[2], qr/as told/, 'cache_failure_limit = 0 always tries') for 1 .. 5;

# Who waits for one that fails is the next to try only while it is closed.
reset_runs();
$node->safe_psql('postgres', 'SELECT trace_ext.cache_reset()');
finish(askers(12, cached_sql('SELECT slow(0.5) / 0')));
is(runs(), 3, 'of many who ask at once three try');
is(counted(), 2, 'other keys are as ever');

#
# ttl
#

$node->safe_psql('postgres', 'SELECT trace_ext.cache_reset()');
hit_ok(cached_sql($count, '1 hour'), 2, 'with a ttl');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
is(counted($node, '1 hour'), 2, 'an accepted age: the old answer');
is(stats('stale_hits'), 1, 'is counted as such');
is(counted(), 3, 'without a ttl: the new one');
is(counted($node, '1 hour'), 3, 'and then for all');
$node->safe_psql('postgres', 'DELETE FROM t WHERE n = 3');
is(counted($node, '1 hour'), 3, 'stale again');
sleep(1.1);
is(counted($node, '1 second'), 2, 'not for those to whom it is too old');
my $rr = $node->background_psql('postgres');
$rr->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
sleep(1.1);
is($rr->query_safe(cached_sql("$count WHERE n > 0", '1 second')), 2, 'an old snapshot and a ttl');
is($node->safe_psql('postgres', cached_sql("$count WHERE n > 0", '1 second')), 3, 'do not make an old answer young');
$rr->query_safe('COMMIT');
$rr->quit;
$node->safe_psql('postgres', 'DELETE FROM t WHERE n = 3');
reset_runs();
my $polled_from = time();
my @pollers = askers(4, map { (cached_sql('SELECT slow(0) + extract(epoch FROM now())::bigint * 0', '2 seconds'), 'SELECT pg_sleep(0.1)') } 1 .. 30);
finish(@pollers);
# Once a second at most, as it is computed anew before its time is over, and somewhat more.
cmp_ok(runs(), '<=', 5 + time() - $polled_from, 'what moves with time is computed anew once in a ttl, not once a session: ' . runs());
cmp_ok(runs(), '>=', 2, 'but it is');
# No rows, NULL: kept as well
hit_ok(cached_sql('SELECT NULL::bigint FROM t LIMIT 1'), '', 'NULL is kept');
hit_ok(cached_sql('SELECT n::bigint FROM t WHERE n < 0'), '', 'that there are no rows is kept');

#
# Rights
#

$node->safe_psql('postgres', q{
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE ROLE boss LOGIN;
	CREATE ROLE watcher LOGIN;
	GRANT trace_ext_reader TO alice, bob, watcher;
	GRANT trace_ext_admin TO boss;
	GRANT pg_read_all_stats TO watcher;
	GRANT SELECT ON t TO alice, bob, boss;
	SELECT trace_ext.cache_reset();});

sub as
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, extra_params => [ '-U', $role ]);
	return $out . ($err =~ /ERROR:  (.*)/ ? $1 : '');
}

is(as('alice', cached_sql('SELECT 100 + count(*) FROM t')), 102, 'alice has an answer') for 1 .. 2;
my $mine = 'SELECT count(*), count(query) FROM trace_ext.cache_entries';
is(as('alice', $mine), '1|1', 'she sees her query');
is(as('bob', $mine), '1|0', 'he sees that there is one');
is(as('boss', $mine), '1|1', 'an admin sees all');
is(as('watcher', $mine), '1|1', 'and so does who reads all statistics');
is(as('bob', cached_sql('SELECT 100 + count(*) FROM t')), 102, 'the same query of another role');
is(as('boss', $mine), '2|2', 'is another entry');
is(as('bob', "SELECT trace_ext.cache_invalidate('%100 +%')"), '1', 'he drops his own');
is(as('alice', "SELECT trace_ext.cache_invalidate('%no such%')"), '0', 'a pattern that fits nothing');
is(as('boss', "SELECT trace_ext.cache_invalidate('%100 +%')"), '1', 'an admin drops hers');
like(as('bob', 'SELECT trace_ext.cache_reset()'), qr/permission denied/, 'cache_reset() is for admins');
is(as('alice', cached_sql('SELECT 100 + count(*) FROM t')), 102, 'alice once more') for 1 .. 2;
$node->safe_psql('postgres', 'REVOKE SELECT ON t FROM alice');
like(as('alice', cached_sql('SELECT 100 + count(*) FROM t')), qr/permission denied/, 'REVOKE counts at once');
like(as('alice', cached_sql('SELECT 100 + count(*) FROM t', '1 hour')), qr/permission denied/, 'also with a ttl');
is(as('bob', cached_sql('SELECT 100 + count(*) FROM t')), 102, 'for her alone');
# While she computes
$node->safe_psql('postgres', 'GRANT SELECT ON t, switch TO alice');
reset_runs();
close_gate();
@askers = askers(1, 'SET ROLE alice', cached_sql('SELECT gated() + (SELECT count(*) FROM switch)', '1 hour'));
wait_for(1, "wait_event = 'advisory'");
$node->safe_psql('postgres', 'REVOKE SELECT ON switch FROM alice');
open_gate();
is((finish(@askers))[0], "3\n", 'who began before a REVOKE has an answer');
like(as('alice', cached_sql('SELECT gated() + (SELECT count(*) FROM switch)', '1 hour')), qr/permission denied/, 'but it is not kept for after it, with a ttl either');

# Two databases with the same tables under the same oids
$node->safe_psql('postgres', 'CREATE DATABASE twin');
$node->safe_psql('twin', 'CREATE EXTENSION trace_ext; CREATE TABLE t (n int); INSERT INTO t SELECT 1 FROM generate_series(1, 7)');
is($node->safe_psql('twin', cached_sql($count)), 7, 'another database') for 1 .. 2;
$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS copy; CREATE DATABASE copy TEMPLATE twin');
is($node->safe_psql('copy', cached_sql($count)), 7, 'a copy of it');
$node->safe_psql('copy', 'DELETE FROM t');
is($node->safe_psql('copy', cached_sql($count)), 0, 'goes its own way');
is($node->safe_psql('twin', cached_sql($count)), 7, 'and so does the first');
is(counted(), 2, 'and this one');
is($node->safe_psql('twin', "SELECT trace_ext.cache_invalidate('%')") > 0, 1, 'cache_invalidate() there');
hit_ok(cached_sql($count), 2, 'concerns that database alone');

#
# Memory: random sizes until it was filled many times over.
#

my $limit = 4 * 1024 * 1024;
cmp_ok($node->safe_psql('postgres', "SELECT sum(allocated_size) FROM pg_shmem_allocations WHERE name ~ 'trace_ext cache (blocks|entries)'"), '<=', $limit,
	'what is set is what it takes');
$node->safe_psql('postgres', 'SELECT trace_ext.cache_reset()');
$node->safe_psql('postgres', q{
	CREATE PROCEDURE churn(seconds float8, seed float8) LANGUAGE plpgsql AS $$
	DECLARE
		until timestamptz := clock_timestamp() + seconds * interval '1 second';
		n bigint := 0;
	BEGIN
		PERFORM setseed(seed);
		WHILE clock_timestamp() < until OR n < 300 LOOP
			n := n + 1;
			PERFORM * FROM trace_ext.cached('SELECT repeat(''x'', $1) || $2', NULL, (power(random(), 4) * 400000)::int, seed * 1000000 + n) AS c(v text);
			-- One that is asked for all the time
			PERFORM * FROM trace_ext.cached('SELECT count(*) FROM t, generate_series(1, 1000)') AS c(n bigint);
			IF n % 20 = 0 THEN
				COMMIT;
				IF (SELECT bytes > size FROM trace_ext.cache_stats) THEN
					RAISE 'above the limit';
				END IF;
			END IF;
		END LOOP;
	END $$;});
my @churners = map { (askers(1, 'SET trace_ext.cache_local_size = 0', 'CALL churn(6, ' . rand() . ')'))[0] } 1 .. 4;
is(join('', finish(@churners)), '', 'four sessions fill it over and over');
my ($evictions, $stores, $no_space, $bytes) = split(/\|/, stats('evictions, stores, no_space, bytes'));
cmp_ok($evictions, '>', 200, "$evictions evictions, $stores stores");
cmp_ok($no_space, '<=', $stores / 100, "room was found: $no_space times not");
cmp_ok($bytes, '<=', $limit, 'never above the limit');
hit_ok('SELECT length(v) FROM trace_ext.cached(\'SELECT repeat(\'\'y\'\', 900000)\') AS c(v text)', 900000, 'a large result still fits');
hit_ok('SELECT length(v) FROM trace_ext.cached(\'SELECT repeat(\'\'y\'\', 9)\') AS c(v text)', 9, 'and a small one');
cmp_ok($node->safe_psql('postgres', q{SELECT hits FROM trace_ext.cache_entries WHERE query LIKE '%generate_series(1, 1000)'}), '>', 50, 'what is asked for often has stayed');
is($node->safe_psql('postgres', "SELECT count(*), sum(length(v)) FROM trace_ext.cached('SELECT repeat(i::text, 500000) FROM generate_series(1, 9) i') AS c(v text)"),
	'9|4500000', 'what is too large is answered all the same') for 1 .. 2;
cmp_ok(stats('too_large'), '>=', 2, 'and counted');
my $dropped = $node->safe_psql('postgres', 'SELECT trace_ext.cache_reset()');
cmp_ok($dropped, '>', 0, 'cache_reset() says how many it drops');
is($node->safe_psql('postgres', q{SELECT count(*) FROM trace_ext.cache_entries WHERE database = 'postgres'}), '0', 'all of this database');
is(stats('misses + stores + evictions + local_hits + shared_hits'), '0', 'and all counters');

#
# Logical replication applies into a table that is tracked
#

$node->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE t');
my $subscriber = new_node('cache_subscriber', @settings, init => [ allows_streaming => 'logical' ]);
$subscriber->safe_psql('postgres', 'CREATE TABLE t (n int)');
is(counted($subscriber), 0, 'before a subscription') for 1 .. 2;
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '" . ($node->connstr('postgres') =~ s/'/''/gr) . "' PUBLICATION p");
$subscriber->wait_for_subscription_sync($node, 's');
is(counted($subscriber), 2, 'its first copy makes stale');
hit_ok(cached_sql($count), 2, 'and is kept', $subscriber);
$node->safe_psql('postgres', 'INSERT INTO t VALUES (3), (4)');
$node->wait_for_catchup('s');
is(counted($subscriber), 4, 'a change that is applied makes stale');
hit_ok(cached_sql($count), 4, 'and is kept', $subscriber);
$node->safe_psql('postgres', 'TRUNCATE t');
$node->wait_for_catchup('s');
is(counted($subscriber), 0, 'TRUNCATE that is applied makes stale');
$subscriber->stop;

#
# A standby, and its promotion
#

$node->safe_psql('postgres', "DROP PUBLICATION p; SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; INSERT INTO t VALUES (1), (2)");
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('cache_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
my $waiting = sub { $node->wait_for_catchup($standby, 'replay', $node->lsn('insert')) };
$waiting->();
is(counted($standby), 2, 'on a standby: computed') for 1 .. 2;
is(stats('local_hits + shared_hits + stores', $standby), 0, 'without a ttl nothing is kept there');
hit_ok(cached_sql($count, '1 hour'), 2, 'with a ttl it is', $standby);
$node->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
$waiting->();
is(counted($standby), 3, 'without a ttl the answer is right');
is(counted($standby, '1 hour'), 2, 'with a ttl it may be old');
$node->safe_psql('postgres', 'GRANT SELECT ON t TO alice');
is($standby->safe_psql('postgres', cached_sql($count, '1 hour'), extra_params => [ '-U', 'alice' ]), 3, 'alice may read') for 1 .. 2;
$node->safe_psql('postgres', 'REVOKE SELECT ON t FROM alice');
$waiting->();
my ($out, $err) = ('', '');
$standby->psql('postgres', cached_sql($count, '1 hour'), stdout => \$out, stderr => \$err, extra_params => [ '-U', 'alice' ]);
like($out . $err, qr/permission denied/, 'REVOKE that is replayed counts at once');
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(counted($standby), 3, 'after promotion the answer is right');
$standby->safe_psql('postgres', 'INSERT INTO t VALUES (4)');
is(counted($standby), 4, 'also once it was written to');
hit_ok(cached_sql($count), 4, 'and it is kept without a ttl', $standby);
$standby->stop;

unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|deadlock detected/, 'nobody fell, and no deadlock');

#
# Without preload
#

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
my ($status, $answer, $notices) = try_psql($node, join(';', (cached_sql($count)) x 3));
is($answer, "3\n3\n3", 'without preload there is an answer');
is(scalar(() = $notices =~ /NOTICE:  results are not cached, as trace_ext is not preloaded/g), 1, 'a NOTICE once a session');
like($notices, qr/HINT:  .*shared_preload_libraries/, 'with a hint');
like((try_psql($node, cached_sql('SELECT 1 + random()::bigint')))[2], qr/volatile function random/, 'what is refused is refused');
is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.cache_stats'), '0', 'no statistics');
is($node->safe_psql('postgres', "SELECT trace_ext.cache_invalidate('%'), trace_ext.cache_reset()"), '0|0', 'nothing to drop');

$node->stop;
done_testing();
