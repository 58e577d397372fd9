# 021_detect_beside.pl
#		Several detect() beside writers, some cut short in the middle of a step, and
#		beside partitions that come and go: none fails, nothing is counted twice.
#
# Traces that overlap grow under the eyes of three sessions that detect all the
# time.  In the end the findings are those of one detect() over all events.  Nothing
# is deleted: what a deleted event ordered is a known limit (docs/races.md).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

my $SECONDS = 10;
my $PER_SECOND = 300;

my $seed = seed_random();
my $node = new_node('detect_beside', deadlock_timeout => '100ms', 'trace_ext.lateness' => 0,
	'trace_ext.fold_threshold' => 50, 'trace_ext.horizon' => '365d');
my $dir = PostgreSQL::Test::Utils::tempdir();

sub script
{
	my ($name, $sql) = @_;
	append_to_file("$dir/$name", $sql);
	return "$dir/$name";
}

# One event of one of 300 requests that follow each other by 100 ms and take a
# second; atomic updates order some of them, and values are such that some updates
# are provably lost.
my $write = script('write', q{
\set trace random(1, 300)
\set what random(1, 10)
\set at random(0, 1000)
\set name random(1, 4)
\set value random(1, 3)
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes, lock_set)
VALUES (md5(:trace::text)::uuid, gen_random_uuid(),
		'2026-03-01 00:00+00'::timestamptz + :trace * interval '100 ms' + :at * interval '1 ms', 'StateChange',
		CASE WHEN :what < 3 THEN 'f' ELSE 'v' END || :name, 'svc', 'i1', 1, 'ctx ' || :trace,
		jsonb_build_object('access_type', CASE WHEN :what < 3 THEN 'AtomicRMW' WHEN :what < 8 THEN 'Read' ELSE 'Write' END,
						   'location', 'f:' || :what, 'old_value', :value, 'new_value', :at % 4),
		CASE WHEN :what = 4 THEN ARRAY['L' || :name] END);
});
my $detect = script('detect', "SELECT trace_ext.detect();\n");
# Cut short at some moment of a step: what earlier steps did stays, the rest is queued.
my $cut_short = script('cut_short', q{
\set ms random(1, 60)
BEGIN;
SELECT trace_ext_internal.detect_step('infinity');
\if :ms > 30
ROLLBACK;
\else
COMMIT;
\endif
});
# A partition of another year comes, is filled and goes.
my $partition = script('partition', q{
CREATE TABLE trace_ext.events_old PARTITION OF trace_ext.events FOR VALUES FROM ('1999-01-01 00:00+00') TO ('2000-01-01 00:00+00');
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, attributes)
SELECT gen_random_uuid(), gen_random_uuid(), '1999-03-01 00:00+00', 'LockAcquire', 'L', '{}' FROM generate_series(1, 20);
SELECT trace_ext.fold();
DROP TABLE trace_ext.events_old;
\sleep 500 ms
});

sub pgbench
{
	my @arguments = @_;
	return [ 'pgbench', '-n', '-T', $SECONDS, '-h', $node->host, '-p', $node->port, @arguments, 'postgres' ];
}

my @runs = (
	pgbench('-c', 3, '-R', $PER_SECOND, '--random-seed', $seed, '-f', $write),
	pgbench('-c', 3, '-f', $detect),
	pgbench('-c', 1, '-f', $cut_short),
	pgbench('-c', 1, '-f', $partition));
# Killed in the middle, too.
my $killer = psql_child(sub {
	for (1 .. $SECONDS * 4)
	{
		$node->psql('postgres', "SET statement_timeout = '" . int(1 + rand(40)) . "ms'; SELECT trace_ext_internal.detect_step('infinity')", on_error_stop => 0);
		select(undef, undef, undef, 0.2);
	}
});
my @outputs = map { '' } @runs;
my @children = map { IPC::Run::start($runs[$_], '<', \undef, '>&', \$outputs[$_]) } 0 .. $#runs;

foreach my $i (0 .. $#children)
{
	ok(IPC::Run::finish($children[$i]), "pgbench $i: no error") or diag $outputs[$i];
	note join(' ', $outputs[$i] =~ /^(number of transactions actually processed: \d+)/m);
}
waitpid($killer, 0);
unlike($outputs[1], qr/processed: 0\b/, 'detect() ran beside');

my $answer = q{SELECT count(*) || ' findings, ' || sum(occurrences) || ' pairs: ' ||
	md5(string_agg(f::text, E'\n' ORDER BY f.id)) FROM trace_ext.findings f};

$node->safe_psql('postgres', 'SELECT trace_ext.detect()');
my $beside = $node->safe_psql('postgres', $answer);
$node->safe_psql('postgres', 'CREATE TABLE beside AS SELECT * FROM trace_ext.findings');
note $beside;

$node->safe_psql('postgres', q{
	TRUNCATE trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
	INSERT INTO trace_ext.detect_queue SELECT DISTINCT trace_id FROM trace_ext.events;
	SELECT trace_ext.detect()});
is($beside, $node->safe_psql('postgres', $answer), 'the findings are those of one detect() over all')
  or diag $node->safe_psql('postgres', q{
	SELECT * FROM (SELECT 'beside', * FROM beside EXCEPT SELECT 'beside', * FROM trace_ext.findings) a
	UNION ALL
	SELECT * FROM (SELECT 'alone', * FROM trace_ext.findings EXCEPT SELECT 'alone', * FROM beside) b ORDER BY 2 LIMIT 4});
cmp_ok(($beside =~ /, (\d+) pairs/)[0], '>', 1000, 'there was something to find');
is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.detect_queue'), 0, 'the queue is empty');
exact_ok($node, 'summaries are exact as well');

done_testing();
