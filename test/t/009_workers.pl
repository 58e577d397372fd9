# 009_workers.pl
#		Background workers do the work by themselves, survive what can happen to a
#		server, and are in nobody's way.

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
my $ids = 0;

sub rows
{
	my ($n) = @_;
	return [ map { event_row(uuid(1, int(rand(50))), uuid(2, ++$ids), sprintf('2026-03-%02d %02d:00:00.%06d+00', 1 + int(rand(3)), int(rand(24)), int(rand(1000000)))) } 1 .. $n ];
}

my %settings = (
	shared_preload_libraries => 'trace_ext',
	restart_after_crash => 'on',
	max_worker_processes => 12,
	'trace_ext.naptime' => '2s');

my $node = new_node('workers', %settings, init => [ allows_streaming => 1 ]);

# becomes SQL, NAME, [DATABASE], [EXPECTED]
sub becomes
{
	my ($sql, $name, $db, $expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return if ok($node->poll_query_until($db // 'postgres', $sql, $expected // 't'), $name);
	diag($node->safe_psql($db // 'postgres', 'SELECT * FROM trace_ext.workers(); SELECT name, attempts, next_run, last_error FROM trace_ext.jobs; SELECT * FROM trace_ext.job_runs ORDER BY id DESC LIMIT 10'));
}

sub scalar_sql
{
	my ($sql, $db) = @_;
	return $node->safe_psql($db // 'postgres', $sql);
}

my $folded = 'SELECT summary_backlog + count_backlog = 0 FROM trace_ext.status';

# The worker folds what is written next: it is alive.
sub works_ok
{
	my ($name, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	scalar_sql(insert_sql(rows(20)), $db);
	becomes($folded, "$name: it folds", $db);
}

sub worker_pid
{
	my ($db) = @_;
	$db //= 'postgres';
	return scalar_sql("SELECT pid FROM trace_ext.workers() WHERE kind = 'worker' AND database = '$db'");
}

# A worker may be asleep; a write brings one.
sub live_worker
{
	my ($db) = @_;
	$db //= 'postgres';
	scalar_sql(insert_sql(rows(1)), $db);
	$node->poll_query_until('postgres', "SELECT count(pid) = 1 FROM trace_ext.workers() WHERE kind = 'worker' AND database = '$db'");
	return worker_pid($db);
}

# seconds CODE: how long it takes.
sub seconds
{
	my ($code) = @_;
	my $begin = time();
	$code->();
	return time() - $begin;
}

# server_logged REGEX
sub log_like
{
	my ($regex, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return like(slurp_file($node->logfile), $regex, $name);
}

#
# It works by itself
#

scalar_sql(insert_sql(rows(200)));
becomes($folded, 'what is written is folded');
becomes("SELECT count(*) > 0 FROM trace_ext.partitions WHERE NOT is_default AND lower_bound <= now() AND upper_bound > now()", 'a partition for now is made');
becomes("SELECT last_detection IS NOT NULL FROM trace_ext.status", 'races are looked for');
scalar_sql('SET trace_ext.fold_threshold = 0;' . insert_sql(rows(1)));
# What refreshes the cache has nothing to do until somebody uses that.
becomes("SELECT count(*) >= 5 AND bool_and(last_success IS NOT NULL) FROM trace_ext.jobs WHERE name NOT IN ('cache_refresh', 'watch')", 'each job has run');
is(scalar_sql("SELECT worker_advice FROM trace_ext.status"), '', 'status has no advice');
exact_ok($node, 'exact');

# A lost update is found without being asked for.
my @race = map { "('" . uuid(7, $_->[0]) . "', '" . uuid(8, $_->[1]) . "', '$_->[2]', 'StateChange', 'x', 'api', 't$_->[0]', '{\"access_type\": \"$_->[3]\", \"old_value\": $_->[4], \"new_value\": $_->[5], \"location\": \"l\"}')" } (
	[ 1, 1, '2026-03-01 00:00:01+00', 'Read', 'null', 1000 ],
	[ 2, 2, '2026-03-01 00:00:02+00', 'Read', 'null', 1000 ],
	[ 1, 3, '2026-03-01 00:00:03+00', 'Write', 1000, 900 ],
	[ 2, 4, '2026-03-01 00:00:04+00', 'Write', 1000, 800 ]);
scalar_sql('INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, thread_id, attributes) VALUES ' . join(', ', @race));
becomes("SELECT count(*) > 0 FROM trace_ext.findings WHERE variable = 'x'", 'a finding appears by itself');

#
# Notifications
#

becomes('SELECT summary_backlog = 0 AND (SELECT bool_and(total = 0) FROM trace_ext.announcements) FROM trace_ext.status', 'what was written before has been announced');
{
	my $out = hear($node, 'LISTEN trace_ext_traces; LISTEN trace_ext_summaries;', insert_sql([ event_row(uuid(11, 1), uuid(12, 1), '2026-03-01 00:00:00+00') ]),
		qr/"trace_ext_traces" with.*"trace_ext_summaries" with|"trace_ext_summaries" with.*"trace_ext_traces" with/s);
	my ($payload) = $out =~ /"trace_ext_traces" with payload "(.*)" received/;
	like($payload // '', qr/"count": 1\b.*"trace_ids": \["${\ uuid(11, 1)}"\]/, 'a new trace is announced');
	is(length($payload // '') > 0 ? scalar_sql("SELECT jsonb_typeof('$payload'::jsonb)") : '', 'object', 'the payload is JSON');
	like($out, qr/"trace_ext_summaries" with payload/, 'a summary that changed is announced');
}

# Throttled: many writes, few messages.
{
	my $sent = scalar_sql("SELECT sent FROM trace_ext.announcements WHERE channel = 'trace_ext_summaries'");
	my $begin = time();
	# For four seconds, and longer where the worker has not had its turn.
	my $again = "SELECT sent >= $sent + 2 FROM trace_ext.announcements WHERE channel = 'trace_ext_summaries'";
	while (time() < $begin + 4 || (time() < $begin + 60 && scalar_sql($again) ne 't'))
	{
		scalar_sql(insert_sql(rows(5)));
		sleep(0.1);
	}
	becomes("SELECT total = 0 FROM trace_ext.announcements WHERE channel = 'trace_ext_summaries'", 'all is announced');
	my $n = scalar_sql("SELECT sent FROM trace_ext.announcements WHERE channel = 'trace_ext_summaries'") - $sent;
	my $most = int(time() - $begin) + 2;
	cmp_ok($n, '<=', $most, "$n messages, one a second at most");
	cmp_ok($n, '>=', 2, 'and not only one');
}

#
# Never in the way
#

# The least of three: what a worker holds up, it holds up each time.
my %least;
for my $i (1 .. 3)
{
	scalar_sql('CREATE DATABASE busy');
	scalar_sql('CREATE EXTENSION trace_ext', 'busy');
	works_ok("new database $i", 'busy');
	live_worker('busy');
	my @commands = (
		'CREATE DATABASE copied TEMPLATE busy', 'ALTER DATABASE busy RENAME TO renamed', 'ALTER DATABASE renamed RENAME TO busy', 'DROP DATABASE busy');
	for my $sql (@commands)
	{
		live_worker('busy') if $sql =~ /(TEMPLATE|DATABASE) busy/;
		my $took = seconds(sub { scalar_sql($sql) });
		$least{$sql} = $took if $took < ($least{$sql} // $took + 1);
	}
	is($node->safe_psql('copied', 'SELECT count(*) FROM trace_ext.verify_summaries()'), '0', 'the copy is exact');
	works_ok('the copy', 'copied');
	scalar_sql('DROP DATABASE copied');
}
cmp_ok($least{$_}, '<', 4, "$_ is not held up") foreach sort keys %least;
is(scalar_sql("SELECT count(*) FROM trace_ext.workers() WHERE database IN ('busy', 'copied', 'renamed') AND pid IS NOT NULL"), '0', 'no worker is left of them');

# While a job runs there that takes 1,000 seconds.
scalar_sql('CREATE DATABASE busy');
scalar_sql(q{CREATE EXTENSION trace_ext; CREATE PROCEDURE slow() LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1000); END $$;
	SELECT trace_ext.add_job('slow', 'slow', '1 s', timeout => '0');}, 'busy');
becomes("SELECT count(*) = 1 FROM trace_ext.workers() WHERE kind = 'job' AND job = 'slow' AND state = 'busy'", 'a job of a user runs', 'busy');
works_ok('beside it', 'busy');
cmp_ok(seconds(sub { scalar_sql('DROP EXTENSION trace_ext', 'busy') }), '<', 60, 'DROP EXTENSION is not held up');
scalar_sql(q{CREATE EXTENSION trace_ext; SELECT trace_ext.add_job('slow', 'slow', '1 s', timeout => '0');}, 'busy');
becomes("SELECT count(*) = 1 FROM trace_ext.workers() WHERE kind = 'job' AND job = 'slow' AND state = 'busy'", 'it runs again', 'busy');
cmp_ok(seconds(sub { scalar_sql('DROP DATABASE busy') }), '<', 60, 'DROP DATABASE is not held up');

# A rollback: the worker comes back.
scalar_sql('BEGIN; DROP EXTENSION trace_ext; ROLLBACK;');
works_ok('after DROP EXTENSION was rolled back');

#
# Jobs of users
#

scalar_sql(q{
	CREATE ROLE tenant LOGIN; CREATE SCHEMA tenant AUTHORIZATION tenant; GRANT USAGE ON SCHEMA trace_ext TO tenant;
	GRANT EXECUTE ON FUNCTION trace_ext.add_job TO tenant;
	SET SESSION AUTHORIZATION tenant;
	CREATE TABLE tenant.log (n int GENERATED ALWAYS AS IDENTITY, who text, session text, at timestamptz DEFAULT clock_timestamp());
	CREATE PROCEDURE tenant.tick() LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO tenant.log (who, session) VALUES (current_user, session_user); COMMIT;
		RESET SESSION AUTHORIZATION; RESET ROLE;
		INSERT INTO tenant.log (who, session) VALUES (current_user, session_user);
	END $$;
	CREATE PROCEDURE tenant.fails() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO tenant.log (who) VALUES ('fails'); RAISE EXCEPTION 'as it must'; END $$;
	CREATE PROCEDURE tenant.hangs() LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1000); END $$;
	CREATE TABLE tenant.locked ();
	CREATE PROCEDURE tenant.waits() LANGUAGE plpgsql AS $$ BEGIN LOCK TABLE tenant.locked; END $$;
	CREATE PROCEDURE tenant.eats() LANGUAGE plpgsql AS $$ BEGIN RAISE out_of_memory; END $$;
	SELECT trace_ext.add_job('tick', 'tenant.tick', '200 ms');});
becomes('SELECT count(*) >= 4 FROM tenant.log', 'a job of a user runs and commits');
is(scalar_sql('SELECT DISTINCT who, session FROM tenant.log'), 'tenant|tenant', 'with the rights of its owner only');
is(scalar_sql(q{SELECT count(*) FROM (SELECT lead(started_at) OVER (ORDER BY id) - started_at AS pause FROM trace_ext.job_runs WHERE job = 'tick') r WHERE pause < '200 ms'}), '0',
	'not more often than it should');
scalar_sql(q{DELETE FROM trace_ext.jobs WHERE name = 'tick';
	SET SESSION AUTHORIZATION tenant;
	SELECT trace_ext.add_job('fails', 'tenant.fails', '1 hour', max_attempts => 3, backoff => '200 ms');
	SELECT trace_ext.add_job('hangs', 'tenant.hangs', '1 hour', timeout => '500 ms', max_attempts => 1);});
becomes(q{SELECT failures = 3 AND next_run > now() + interval '50 min' FROM trace_ext.jobs WHERE name = 'fails'}, 'a job that fails is tried three times, then waits for its interval');
is(scalar_sql(q{SELECT string_agg(state || ' ' || attempt || ' ' || error, ', ' ORDER BY id) FROM trace_ext.job_runs WHERE job = 'fails'}),
	join(', ', map { "failed $_ as it must" } 1 .. 3), 'each attempt and its error is written down');
is(scalar_sql(q{SELECT count(*) FROM tenant.log WHERE who = 'fails'}), '0', 'what it did is undone');
like(scalar_sql('SELECT failing_jobs, last_job_error FROM trace_ext.status'), qr/fails/, 'status says so');
becomes(q{SELECT last_error ~ 'statement timeout' FROM trace_ext.jobs WHERE name = 'hangs'}, 'a job that hangs is ended by its timeout');

# A lock that somebody holds, and memory that is not to be had.
my ($locker_in, $locker_out) = ('', '');
my $locker = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$locker_in, '>', \$locker_out);
$locker_in .= "BEGIN; LOCK TABLE tenant.locked; SELECT 'locked';\n";
$locker->pump until $locker_out =~ /locked/;
scalar_sql(q{SET SESSION AUTHORIZATION tenant;
	SELECT trace_ext.add_job('waits', 'tenant.waits', '1 hour', timeout => '500 ms', max_attempts => 1);
	SELECT trace_ext.add_job('eats', 'tenant.eats', '1 hour', max_attempts => 1);});
becomes(q{SELECT last_error ~ 'statement timeout' FROM trace_ext.jobs WHERE name = 'waits'}, 'a job that waits for a lock is ended by its timeout');
$locker_in .= "COMMIT;\n\\q\n";
$locker->finish;
becomes(q{SELECT last_error = 'out_of_memory' FROM trace_ext.jobs WHERE name = 'eats'}, 'a job that runs out of memory fails');
scalar_sql('DROP PROCEDURE tenant.fails()');
scalar_sql(q{SELECT trace_ext.alter_job('fails', enabled => true)});
becomes(q{SELECT last_error ~ 'does not exist' FROM trace_ext.jobs WHERE name = 'fails'}, 'a job whose procedure was dropped says so');
works_ok('after all that');

# Two at once exclude each other.
scalar_sql(q{SET SESSION AUTHORIZATION tenant; SELECT trace_ext.add_job('long', 'tenant.hangs', '1 hour', timeout => '10 min');});
becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'trace_ext job' AND wait_event = 'PgSleep'}, 'a long job runs');
is(scalar_sql(q{SELECT (trace_ext.run_job('long')).state}), 'skipped', 'run_job() does not run it a second time');
cmp_ok(scalar_sql(q{SELECT skipped FROM trace_ext.jobs WHERE name = 'long'}), '>=', 1, 'which is counted');

# A transaction that keeps a job to itself holds up no other.
$locker_in = $locker_out = '';
$locker = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$locker_in, '>', \$locker_out);
$locker_in .= "BEGIN; SELECT trace_ext.alter_job('retention', timeout => '20 min'); SELECT trace_ext.alter_job('detect', priority => 81); SELECT 'locked';\n";
$locker->pump until $locker_out =~ /locked/;
scalar_sql(q{UPDATE trace_ext.jobs SET next_run = NULL WHERE name = 'partitions'});
works_ok('while others keep jobs locked');
becomes(q{SELECT last_success > now() - interval '1 min' AND next_run > now() FROM trace_ext.jobs WHERE name = 'partitions'}, 'another job runs meanwhile');
$locker_in .= "COMMIT;\n\\q\n";
$locker->finish;

# Ended by an administrator.
scalar_sql(q{SELECT pg_terminate_backend(pid) FROM trace_ext.workers() WHERE job = 'long'});
becomes(q{SELECT r.state = 'lost' AND j.failures = 1 FROM trace_ext.job_runs r JOIN trace_ext.jobs j ON j.name = r.job WHERE r.job = 'long' ORDER BY r.id LIMIT 1}, 'a job whose process is ended is lost, and has failed');
scalar_sql(q{SELECT trace_ext.drop_job(name) FROM trace_ext.jobs WHERE NOT builtin});

#
# Survives
#

for my $what ('launcher', 'worker')
{
	my $pid = $what eq 'worker' ? live_worker() : scalar_sql("SELECT pid FROM trace_ext.workers() WHERE kind = 'launcher'");
	scalar_sql("SELECT pg_terminate_backend($pid)");
	works_ok("after pg_terminate_backend() of the $what");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM trace_ext.workers() WHERE kind = 'launcher' AND state = 'running'");
	$pid = $what eq 'worker' ? live_worker() : scalar_sql("SELECT pid FROM trace_ext.workers() WHERE kind = 'launcher'");
	kill_9($pid);
	# All backends go, and the server comes back by itself.
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	sleep(0.2) while try_psql($node, "SELECT 1 / (pg_postmaster_start_time() IS NOT NULL)::int FROM trace_ext.workers() WHERE kind = 'launcher' AND pid <> $pid") && time() < $deadline;
	becomes("SELECT count(*) = 1 FROM trace_ext.workers() WHERE kind = 'launcher' AND pid <> $pid AND state = 'running'", "kill -9 of the $what: there is a launcher again");
	works_ok("after kill -9 of the $what");
}
exact_ok($node, 'exact after kills');

# In the middle of a run.
scalar_sql(q{CREATE PROCEDURE tenant.mine() LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(CASE WHEN (SELECT count(*) FROM tenant.log WHERE who = 'mine') = 0 THEN 1000 ELSE 0 END); END $$;
	ALTER PROCEDURE tenant.mine() OWNER TO tenant;
	SELECT trace_ext.add_job('mine', 'tenant.mine', '1 s');});
becomes(q{SELECT count(*) = 1 FROM trace_ext.workers() WHERE job = 'mine' AND state = 'busy'}, 'a job runs');
scalar_sql(q{INSERT INTO tenant.log (who) VALUES ('mine')});
scalar_sql(insert_sql(rows(50)));
crash($node);
becomes(q{SELECT state = 'lost' FROM trace_ext.job_runs WHERE job = 'mine' ORDER BY id LIMIT 1}, 'kill -9 of the postmaster: the run is lost, and written down as such');
becomes(q{SELECT last_success IS NOT NULL FROM trace_ext.jobs WHERE name = 'mine'}, 'and runs again');
works_ok('after kill -9 of the postmaster');
is(scalar_sql(q{SELECT count(*) FROM trace_ext.job_runs WHERE state = 'running' AND started_at < now() - interval '1 min'}), '0', 'no run is left as running');
exact_ok($node, 'exact after a crash');
scalar_sql(q{SELECT trace_ext.drop_job('mine')});

# The clock was set back: what is due in a year is due now.
scalar_sql(q{UPDATE trace_ext.jobs SET next_run = now() + interval '1 year', last_started = now() + interval '1 year'});
scalar_sql(q{SELECT trace_ext_internal.wake_worker()});
works_ok('after the clock was set back');
becomes(q{SELECT bool_and(next_run < now() + interval '2 hours') FROM trace_ext.jobs WHERE condition IS NULL}, 'all other jobs have run as well');

# A broken database does not stop the others.
scalar_sql('CREATE DATABASE broken');
scalar_sql('CREATE EXTENSION trace_ext', 'broken');
works_ok('before it breaks', 'broken');
scalar_sql(q{ALTER TABLE trace_ext.job_runs RENAME TO hidden;}, 'broken');
scalar_sql(q{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Custom')}, 'broken');
becomes(q{SELECT state = 'failed' AND error ~ 'job_runs' AND failures > 1 FROM trace_ext.workers() WHERE database = 'broken' AND kind = 'worker'}, 'a broken database is shown, with its error');
works_ok('beside a broken database');
scalar_sql(q{ALTER TABLE trace_ext.hidden RENAME TO job_runs;}, 'broken');
becomes($folded, 'mended, it goes on', 'broken');

# A job that fails does not stop the others; it shows in status.
scalar_sql(q{ALTER TABLE trace_ext.detect_state RENAME TO hidden; SELECT trace_ext.alter_job('detect', backoff => '200 ms', max_backoff => '500 ms')}, 'broken');
scalar_sql(q{ALTER TABLE trace_ext.hidden RENAME TO detect_state;
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
	CREATE TRIGGER refuse BEFORE UPDATE ON trace_ext.detect_state FOR EACH ROW EXECUTE FUNCTION refuse();}, 'broken');
works_ok('beside a failing job', 'broken');
becomes(q{SELECT failures > 1 AND last_error = 'refused' FROM trace_ext.jobs WHERE name = 'detect'}, 'the failing job shows its error', 'broken');
scalar_sql('DROP TRIGGER refuse ON trace_ext.detect_state', 'broken');
becomes(q{SELECT attempts = 0 FROM trace_ext.jobs WHERE name = 'detect'}, 'mended, it runs', 'broken');
scalar_sql('DROP DATABASE broken');

#
# Settings
#

# SIGHUP switches workers off and on.
scalar_sql('ALTER SYSTEM SET trace_ext.workers = off');
$node->reload;
becomes("SELECT count(pid) = 0 FROM trace_ext.workers() WHERE kind <> 'launcher'", 'switched off: the workers leave');
like(scalar_sql('SELECT worker_advice FROM trace_ext.status'), qr/trace_ext.workers is off/, 'status says why');
scalar_sql('SET trace_ext.fold_threshold = 0;' . insert_sql(rows(10)));
sleep(1.5);
cmp_ok(scalar_sql('SELECT summary_backlog FROM trace_ext.status'), '>', 0, 'nobody folds');
scalar_sql('ALTER SYSTEM RESET trace_ext.workers');
$node->reload;
becomes($folded, 'switched on: it goes on');

# Settings of the database reach its worker.
scalar_sql(q{ALTER DATABASE postgres SET trace_ext.retention_age = '1 day'});
scalar_sql(q{SELECT trace_ext.alter_job('retention', next_run => now())});
becomes('SELECT count_traces = 0 FROM trace_ext.count_traces()', 'retention by a setting of the database: what is old leaves');
exact_ok($node, 'exact after retention');
scalar_sql(q{ALTER DATABASE postgres RESET trace_ext.retention_age});

#
# Idle
#

# Until it is asleep, with the next job far away.
becomes("SELECT state = 'asleep' FROM trace_ext.workers() WHERE kind = 'worker' AND database = 'postgres'", 'a worker without work goes to sleep');
my $launcher = scalar_sql("SELECT pid FROM trace_ext.workers() WHERE kind = 'launcher'");
my $cpu = sub { my @f = split(/ /, slurp_file("/proc/$launcher/stat")); return $f[13] + $f[14] };
SKIP:
{
	skip 'there is no /proc', 1 unless -r "/proc/$launcher/stat";
	my $before = $cpu->();
	sleep(5);
	cmp_ok($cpu->() - $before, '<=', 5, 'the launcher takes less than 1 % of a CPU');
}
works_ok('woken from its sleep');

#
# A standby, and its promotion
#

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'trace_ext%'"), '0', 'no worker on a standby');
like($standby->safe_psql('postgres', 'SELECT worker_advice FROM trace_ext.status'), qr/standby/, 'status says why');
$node->safe_psql('postgres', 'SELECT trace_ext.alter_job(\'fold\', enabled => false); SET trace_ext.fold_threshold = 0;' . insert_sql(rows(20)));
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
$node->stop('fast');
$standby->promote;
$standby->safe_psql('postgres', 'SELECT trace_ext.alter_job(\'fold\', enabled => true)');
ok($standby->poll_query_until('postgres', $folded), 'promotion starts the work');
exact_ok($standby, 'exact after promotion');
my $took = seconds(sub { $standby->stop('fast') });
cmp_ok($took, '<', 60, 'fast shutdown is not held up');

#
# No slot
#

$node->append_conf('postgresql.conf', "max_worker_processes = 2\n");
$node->start;
# The launcher of logical replication and ours have them all.
becomes("SELECT state = 'no slot' FROM trace_ext.workers() WHERE kind = 'worker' AND database = 'postgres'", 'no slot for a worker is shown');
like(scalar_sql('SELECT worker_advice FROM trace_ext.status'), qr/max_worker_processes/, 'status names the setting');
log_like(qr/no background worker slot is free for database "postgres".*\n.*HINT:.*max_worker_processes/, 'so does the log');
scalar_sql('SET trace_ext.fold_threshold = 1;' . insert_sql(rows(10)) . insert_sql(rows(10)));
exact_ok($node, 'exact without workers');
$node->append_conf('postgresql.conf', "max_worker_processes = 12\n");
$node->restart;
scalar_sql('SELECT trace_ext.alter_job(\'fold\', enabled => true)');
works_ok('with slots again');

$node->stop('fast');
done_testing();
