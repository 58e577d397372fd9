# 007_concurrency.pl
#		Exact at every moment, whoever writes, folds, moves or drops beside.
#
# Writers share traces, deliver the same batches at the same time, update and
# delete; others loop over fold(), maintain_partitions() and checks.  Each check
# is one snapshot that must be exact, at every isolation level.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use TraceExtTest;

my $SECONDS = 15;

my $seed = seed_random();
my $node = new_node(
	'concurrency',
	max_connections => 60,
	autovacuum_naptime => '1s',
	deadlock_timeout => '100ms',
	'trace_ext.fold_threshold' => 200);
my $dir = PostgreSQL::Test::Utils::tempdir();

#
# Scripts for pgbench.  Keys are taken in one order, as any client has to that
# changes several rows in a transaction.
#

sub script
{
	my ($name, $sql) = @_;
	append_to_file("$dir/$name", $sql);
	return "$dir/$name";
}

my $trace = q{format('00000001-0000-4000-8000-%s', lpad(:trace::text, 12, '0'))::uuid};
my $time = q{'2026-03-01 00:00+00'::timestamptz + random() * interval '3 days'};
my $kind = q{((enum_range(NULL::trace_ext.event_kind))[1 + (random() * 12)::int])};
my $access = q{'{"access_type": "Read", "status": 503}'};
my $service = q{(ARRAY[NULL, 'api', 'bank', 'mail'])[1 + (random() * 3)::int]};
my $parent = q{CASE WHEN random() < 0.8 THEN gen_random_uuid() END};

my %scripts = (
	single => script('single', qq{
\\set trace random(1, 50)
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, attributes)
VALUES ($trace, gen_random_uuid(), $parent, $time, $kind, 'name', $service, $access);
}),
	multi => script('multi', qq{
\\set trace random(1, 50)
BEGIN;
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, attributes)
SELECT $trace, gen_random_uuid(), $parent, $time, $kind, 'name', $service, $access FROM generate_series(1, 30);
SAVEPOINT s;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES ($trace, gen_random_uuid(), $time, 'Custom');
ROLLBACK TO s;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES ($trace, gen_random_uuid(), $time, 'Error');
END;
}),
	rollback => script('rollback', qq{
\\set trace random(1, 60)
BEGIN;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind)
SELECT $trace, gen_random_uuid(), $time, 'Custom' FROM generate_series(1, 10);
SELECT * FROM trace_ext.list_traces();
ROLLBACK;
}),
	# Batches of 20 events out of 2,000: most have been delivered before, or are
	# delivered by somebody else right now.
	ingest => script('ingest', q{
\set batch random(1, 200)
SELECT trace_ext.ingest_events(jsonb_agg(jsonb_build_object(
	'id', format('00000003-0000-4000-8000-%s', lpad(n::text, 12, '0')),
	'trace_id', format('00000001-0000-4000-8000-%s', lpad((n % 30)::text, 12, '0')),
	'timestamp', to_char('2026-03-02 00:00'::timestamp + n * interval '1 minute', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
	'kind', '{"Custom": {"name": "redelivered", "data": {}}}'::jsonb) ORDER BY random()))
FROM generate_series(:batch * 10, :batch * 10 + 19) n;
}),
	update => script('update', qq{
\\set trace random(1, 50)
UPDATE trace_ext.events SET "timestamp" = $time, service_name = $service
 WHERE (trace_id, id, "timestamp") IN
	   (SELECT trace_id, id, "timestamp" FROM trace_ext.events WHERE trace_id = $trace AND name = 'name' ORDER BY id LIMIT 1);
}),
	move => script('move', qq{
\\set trace random(1, 50)
WITH one AS (SELECT trace_id, id FROM trace_ext.events WHERE trace_id = $trace AND name = 'name' LIMIT 1)
UPDATE trace_ext.events e SET trace_id = '00000001-0000-4000-8000-000000000077', name = 'moved'
  FROM one WHERE e.trace_id = one.trace_id AND e.id = one.id;
}),
	delete => script('delete', qq{
\\set trace random(1, 50)
WITH few AS (SELECT trace_id, id FROM trace_ext.events WHERE trace_id = $trace AND name = 'name' LIMIT 5)
DELETE FROM trace_ext.events e USING few WHERE e.trace_id = few.trace_id AND e.id = few.id;
}),
	copy => script('copy', q{
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind)
SELECT format('00000001-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid, gen_random_uuid(), '2026-03-09 12:00+00', 'Custom'
  FROM generate_series(1, 40) n;
}),
	fold => script('fold', "SELECT trace_ext.fold();\n\\sleep 20 ms\n"),
	maintain => script('maintain', "CALL trace_ext.maintain_partitions();\n\\sleep 100 ms\n"));

# Starts pgbench; finish() waits for it.
sub pgbench
{
	my ($seconds, $clients, @names) = @_;
	my $run = { name => join(' ', @names), out => '', err => '' };

	$run->{harness} = IPC::Run::start(
		[
			'pgbench', '-n', '-c', $clients, '-T', $seconds, "--random-seed=" . ($seed % 1000000),
			(map { ('-f', $scripts{$_}) } @names),
			$node->connstr('postgres')
		],
		'>', \$run->{out}, '2>', \$run->{err});
	return $run;
}

# No error is expected of anybody: no deadlock above all, which pgbench counts as
# a failure without saying more.  One serialization failure is PostgreSQL's own:
# of a row that an UPDATE moves to another partition while it is waited for.
sub finish_ok
{
	my ($run) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ok = $run->{harness}->finish;
	my ($done) = $run->{out} =~ /number of transactions actually processed: (\d+)/;

	is(join("\n", grep { /error|aborted/i } split(/\n/, $run->{err})), '', "$run->{name}: no error");
	like($run->{out}, qr/number of failed transactions: 0 /, "$run->{name}: no failure") unless $run->{name} =~ /update/;
	ok($ok, "$run->{name}: went on to the end, with " . ($done // 0) . ' transactions');
}

# Checks in a loop, until the time is over, at one isolation level; a snapshot
# is looked at twice, as it must not change by what others fold meanwhile.  What
# version it has, and of what, goes to a file: see versions_ok().
sub watch
{
	my ($level, $until) = @_;
	my $checks = 0;
	my @found;
	my $version = q{SELECT concat_ws(' ', 'version', trace_ext.data_version(),
		(SELECT coalesce(md5(string_agg(e::text, E'\n' ORDER BY e.trace_id, e.id, e."timestamp")), 'nothing') FROM trace_ext.events e));};

	while (time() < $until && @found < 3)
	{
		my ($status, $out, $err) = try_psql($node, qq{
			BEGIN ISOLATION LEVEL $level;
			SELECT item, key, stored, recomputed FROM trace_ext.verify_summaries() LIMIT 3;
			$version
			SELECT pg_sleep(0.05) IS NULL WHERE false;
			$version
			SELECT item, key, stored, recomputed FROM trace_ext.verify_summaries() LIMIT 3;
			COMMIT;});
		append_to_file("$dir/versions", "$1\n") while $out =~ s/^version (.*)\n?//m;
		push @found, "status $status: $out $err" if $status != 0 || $out ne '' || $err ne '';
		$checks++;
	}
	return "$checks checks, " . (@found ? join("\n", @found) : 'all exact');
}

sub watcher
{
	my ($level, $until) = @_;
	(my $file = "$dir/$level") =~ s/ /_/g;
	return { level => $level, file => $file,
		pid => psql_child(sub { append_to_file($file, watch($level, $until)) }) };
}

sub watched_ok
{
	my ($watcher) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	waitpid($watcher->{pid}, 0);
	my $result = -e $watcher->{file} ? slurp_file($watcher->{file}) : 'died';
	unlink $watcher->{file};
	like($result, qr/^[1-9]\d* checks, all exact$/, "$watcher->{level}: exact at every moment");
}

# Whoever asked, at whatever level, before or after a fold: one version is of one
# content.  (The same content may have two: written, and taken back by somebody else.)
sub versions_ok
{
	my %content_of;
	my $asked = 0;
	my @differ;

	for my $line (split(/\n/, slurp_file("$dir/versions")))
	{
		my ($version, $content) = split(/ /, $line);
		push @differ, $version if ($content_of{$version} //= $content) ne $content;
		$asked++;
	}
	is(join(' ', @differ), '', 'a version is of one content: ' . scalar(keys %content_of) . " versions, asked $asked times");
	cmp_ok($asked, '>', keys %content_of, 'some were asked twice');
	cmp_ok(scalar(keys %content_of), '>', 2, 'and it changed');
}

#
# Everybody at once
#

{
	my $until = time() + $SECONDS;
	my @runs = (
		pgbench($SECONDS, 8, qw(single multi rollback ingest ingest update move delete copy)),
		pgbench($SECONDS, 1, 'fold'),
		pgbench($SECONDS, 1, 'maintain'));
	my @watchers = map { watcher($_, $until) } ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');

	watched_ok($_) for @watchers;
	finish_ok($_) for @runs;
	versions_ok();
}
exact_ok($node, 'exact at the end');
{
	my $version = $node->safe_psql('postgres', 'SELECT trace_ext.data_version()');
	$node->safe_psql('postgres', 'SELECT trace_ext.fold(); VACUUM');
	is($node->safe_psql('postgres', 'SELECT trace_ext.data_version()'), $version, 'the version stands when nobody writes');
}
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM trace_ext.events WHERE name = 'redelivered'}), '>', 0, 'batches were delivered');
is($node->safe_psql('postgres', q{
	SELECT count(*) - count(DISTINCT id) FROM trace_ext.events WHERE name = 'redelivered'}), '0', 'what was delivered several times is there once');

#
# Partitions that come and go while writers run
#

{
	my $seconds = 8;
	my $until = time() + $seconds;
	my @runs = (pgbench($seconds, 4, qw(single multi ingest delete copy)), pgbench($seconds, 1, 'fold'), pgbench($seconds, 1, 'maintain'));
	my $rounds = 0;
	my @errors;

	while (time() < $until)
	{
		for my $sql (
			q{TRUNCATE trace_ext.events_p20260301},
			q{DROP TABLE trace_ext.events_p20260302},
			q{ALTER TABLE trace_ext.events DETACH PARTITION trace_ext.events_p20260303; DROP TABLE trace_ext.events_p20260303},
			q{TRUNCATE trace_ext.events_default},
			q{TRUNCATE trace_ext.events_p20260301, trace_ext.events_p20260309},
			q{CALL trace_ext.maintain_partitions()},
			q{CALL trace_ext.maintain_partitions()})
		{
			my ($status, $out, $err) = try_psql($node, $sql);
			# A partition that no row has asked for since is not there.
			push @errors, "$sql: $err" if $status != 0 && $err !~ /does not exist/;
		}
		$rounds++;
	}
	finish_ok($_) for @runs;
	is(join("\n", @errors), '', 'partitions came and went without an error');
	cmp_ok($rounds, '>', 0, "partitions came and went, $rounds times");
	exact_ok($node, 'exact after partitions came and went');
}

# DROP, TRUNCATE and the maintainer lock events and its default partition in one
# order, however often they meet.
{
	$scripts{drop} = script('drop', q{
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), '2026-05-01 12:00+00', 'Custom');
DROP TABLE IF EXISTS trace_ext.events_p20260501;
});
	$scripts{truncate} = script('truncate', q{
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), '2026-05-02 12:00+00', 'Custom');
TRUNCATE trace_ext.events_default;
});
	$scripts{maintain_fast} = script('maintain_fast', 'CALL trace_ext.maintain_partitions();');
	my @runs = map { pgbench(4, 1, $_) } qw(drop truncate maintain_fast fold);
	finish_ok($_) for @runs;
	exact_ok($node, 'exact after partitions were made and dropped side by side');
}

# A partition that was detached keeps its name; its range may be asked for again.
{
	$node->safe_psql('postgres', q{
		INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), '2026-04-01 12:00+00', 'Custom');
		CALL trace_ext.maintain_partitions();
		ALTER TABLE trace_ext.events DETACH PARTITION trace_ext.events_p20260401;
		INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), '2026-04-01 12:00+00', 'Custom');
		CALL trace_ext.maintain_partitions();});
	is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.events_default'), '0', 'a detached partition is in nobody\'s way');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.events_p20260401'), '1', 'and keeps its rows');
	exact_ok($node, 'exact with a detached partition beside');
}

# Two that truncate, and fold, at the same time, as a parallel restore does.
{
	$node->safe_psql('postgres', 'CALL trace_ext.maintain_partitions()');
	my @parts = split(/\n/, $node->safe_psql('postgres', q{
		SELECT part::regclass FROM trace_ext.partitions WHERE NOT is_default ORDER BY lower_bound DESC LIMIT 4}));
	for my $n (0 .. $#parts)
	{
		$scripts{"truncate$n"} = script("truncate$n", qq{
BEGIN;
TRUNCATE $parts[$n];
SELECT trace_ext_internal.fold_if_free();
END;
});
	}
	$scripts{both} = script('both', "TRUNCATE $parts[0], $parts[2], $parts[1];\n");
	my @runs = map { pgbench(3, 1, @$_) } (map { [ "truncate$_", 'single' ] } 0 .. $#parts), ['both'], ['fold'];
	finish_ok($_) for @runs;
	exact_ok($node, 'exact after partitions were truncated side by side');
}

#
# A statement that waits for rows to move must see them where they are then
#

{
	my $day = $node->safe_psql('postgres', q{SELECT (now() AT TIME ZONE 'UTC' - interval '2 days')::date});
	$node->safe_psql('postgres', qq{
		DELETE FROM trace_ext.events;
		INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name)
		SELECT '00000004-0000-4000-8000-000000000000', gen_random_uuid(), '$day 00:00+00'::timestamptz + n * interval '1 hour', 'Custom', 'n' || n
		  FROM generate_series(1, 6) n;});
	my $mover = $node->background_psql('postgres');
	$mover->query_safe('BEGIN; CALL trace_ext.maintain_partitions();');
	my %waiting = (
		q{DELETE FROM trace_ext.events WHERE name = 'n1'} => undef,
		q{UPDATE trace_ext.events SET service_name = 'waited' WHERE name = 'n2'} => undef,
		qq{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), '$day 10:00+00', 'Custom')} => undef,
		insert_sql([ event_row(uuid(4, 1), uuid(4, 1), "$day 11:00:00+00") ]) => undef,
		copy_sql([ event_row(uuid(4, 1), uuid(4, 2), "$day 11:00:00+00") ]) => undef,
		ingest_sql([ event_row(uuid(4, 1), uuid(4, 3), "$day 11:00:00+00") ]) => undef);
	for my $sql (keys %waiting)
	{
		my $run = { out => '', err => '' };
		my $file = script('waiting' . scalar(grep { defined } values %waiting), "$sql\n;\n");
		$run->{harness} = IPC::Run::start(
			[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $file ],
			'>', \$run->{out}, '2>', \$run->{err});
		$waiting{$sql} = $run;
	}
	ok($node->poll_query_until('postgres',
		"SELECT count(DISTINCT pid) = 6 FROM pg_locks WHERE NOT granted"), 'six statements wait for the rows to move');
	$mover->query_safe('COMMIT;');
	$mover->quit;
	for my $sql (sort keys %waiting)
	{
		$waiting{$sql}{harness}->finish;
		is($waiting{$sql}{err}, '', 'waited, and went on: ' . substr($sql, 0, 40));
	}
	is($node->safe_psql('postgres', q{SELECT count(*) FROM trace_ext.events WHERE name = 'n1'}), '0', 'what was deleted while it moved is gone');
	is($node->safe_psql('postgres', q{SELECT service_name FROM trace_ext.events WHERE name = 'n2'}), 'waited', 'what was updated while it moved is new');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.events'), '9', 'what was inserted meanwhile is there');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.events_default'), '0', 'and in its partition');
	exact_ok($node, 'exact after rows moved under statements that waited');
}

#
# Cancelled in the middle: nothing half
#

{
	my $before = answers($node);
	my $many = q{SELECT gen_random_uuid(), gen_random_uuid(), '2027-01-01 00:00+00'::timestamptz, 'Custom'::trace_ext.event_kind FROM generate_series(1, 3000000)};
	my $batch = q{SELECT trace_ext.ingest_events((SELECT jsonb_agg(jsonb_build_object(
		'id', gen_random_uuid(), 'trace_id', gen_random_uuid(), 'timestamp', '2027-01-01T00:00:00Z',
		'kind', '{"Custom": {"name": "n", "data": {}}}'::jsonb)) FROM generate_series(1, 300000)))};
	$node->safe_psql('postgres', qq{COPY (SELECT * FROM ($many) m LIMIT 300000) TO '$dir/many.copy'});

	for my $statement (
		[ 'INSERT' => "INSERT INTO trace_ext.events (trace_id, id, \"timestamp\", kind) $many" ],
		[ 'COPY' => "COPY trace_ext.events (trace_id, id, \"timestamp\", kind) FROM '$dir/many.copy'" ],
		[ 'ingest_events()' => $batch ])
	{
		my ($name, $sql) = @$statement;
		for my $timeout (300, 900)
		{
			my ($status, $out, $err) = try_psql($node, "SET statement_timeout = $timeout; $sql");
			like($err, qr/canceling statement due to statement timeout/, "$name: cancelled after $timeout ms");
			is(answers($node), $before, "$name: nothing is there after that");
		}
	}
	# In a transaction that goes on.
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query(qq{BEGIN;
		INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), '2027-01-01', 'Custom');
		SAVEPOINT s; SET LOCAL statement_timeout = 300;
		INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) $many;
		ROLLBACK TO s; COMMIT;});
	$session->quit;
	is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.events'), '10', 'what was before the savepoint is there');
	exact_ok($node, 'exact after a statement was cancelled behind a savepoint');

	# A fold, held up at its last step, the total, when all else is done.
	$node->safe_psql('postgres', qq{SET trace_ext.fold_threshold = 0;
		INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) SELECT * FROM ($many) m LIMIT 10000;
		DELETE FROM trace_ext.events WHERE id < '10000000-0000-4000-8000-000000000000';});
	$before = answers($node);
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN; SELECT * FROM trace_ext.totals FOR UPDATE');
	my ($status, $out, $err) = try_psql($node, 'SET statement_timeout = 1000; SELECT trace_ext.fold()');
	like($err, qr/statement timeout/, 'fold() cancelled by its timeout');
	is(answers($node), $before, 'a fold() that ran out of time changes nothing');

	my $folder = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT trace_ext.fold()' ], '2>', \$err, '>', \$out);
	$node->poll_query_until('postgres', q{SELECT count(pg_cancel_backend(pid)) > 0 FROM pg_stat_activity
		WHERE query = 'SELECT trace_ext.fold()' AND wait_event = 'transactionid'});
	$folder->finish;
	like($err, qr/canceling statement due to user request/, 'fold() cancelled by pg_cancel_backend()');
	is(answers($node), $before, 'a fold() that was cancelled changes nothing');
	$holder->query_safe('COMMIT');
	$holder->quit;
	exact_ok($node, 'exact after fold() was cancelled');
	$node->safe_psql('postgres', 'SELECT trace_ext.fold()');
	is(answers($node), $before, 'a whole fold() changes no answer');
	exact_ok($node, 'exact after all');
}

#
# What was left for long is folded in steps that commit, so that DDL, and the writers behind it, wait for one of them
#
{
	my $insert = q{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) SELECT gen_random_uuid(), gen_random_uuid(), '2027-01-01', 'Custom' FROM generate_series(1, %d)};
	$node->safe_psql('postgres', 'TRUNCATE trace_ext.events; SELECT trace_ext.fold(); SET trace_ext.fold_threshold = 0; ' . sprintf($insert, 45_000));
	is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.summary_base'), 0, 'nothing is folded');
	$node->safe_psql('postgres', sprintf($insert, 1000));
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM trace_ext.summary_deltas'), 'a writer has all of it folded');
	cmp_ok($node->safe_psql('postgres', 'SELECT count(DISTINCT xmin::text) FROM trace_ext.summary_base'), '>', 2, 'by more than two transactions');
	exact_ok($node, 'exact after that');
}

my $log = slurp_file($node->logfile);
unlike($log, qr/deadlock detected/, 'no deadlock, not even of a worker');
unlike($log, qr/terminated by signal|PANIC|TRAP:/, 'no process fell');
is(join("\n", grep { /ERROR:/ && !/canceling (statement|autovacuum task)|does not exist|already moved to another partition/ } split(/\n/, $log)), '', 'no error of anybody');

$node->stop;
done_testing();
