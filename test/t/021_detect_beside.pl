# 021_detect_beside.pl
#		Several detect() beside writers: none fails, nothing is counted twice.
#
# Traces that overlap grow under the eyes of three sessions that detect all the
# time.  In the end the findings are those of one detect() over all events.

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
# second; values are such that some updates are provably lost.
my $write = script('write', q{
\set trace random(1, 300)
\set what random(1, 10)
\set at random(0, 1000)
\set name random(1, 4)
\set value random(1, 3)
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
VALUES (md5(:trace::text)::uuid, gen_random_uuid(),
		'2026-03-01 00:00+00'::timestamptz + :trace * interval '100 ms' + :at * interval '1 ms',
		(CASE WHEN :what < 3 THEN 'LockAcquire' WHEN :what < 5 THEN 'LockRelease' ELSE 'StateChange' END)::trace_ext.event_kind,
		CASE WHEN :what < 5 THEN 'L' || :name ELSE 'v' || :name END, 'svc', 'i1', 1, 'ctx ' || :trace,
		CASE WHEN :what < 5 THEN '{}'::jsonb
			 ELSE jsonb_build_object('access_type', CASE WHEN :what < 8 THEN 'Read' ELSE 'Write' END,
									 'location', 'f:' || :what, 'old_value', :value, 'new_value', :at % 4) END);
});
my $delete = script('delete', q{
\set trace random(1, 300)
DELETE FROM trace_ext.events
 WHERE trace_id = md5(:trace::text)::uuid
   AND id = (SELECT min(id::text)::uuid FROM trace_ext.events WHERE trace_id = md5(:trace::text)::uuid);
});
my $detect = script('detect', "SELECT trace_ext.detect();\n");

sub pgbench
{
	my @arguments = @_;
	return [ 'pgbench', '-n', '-T', $SECONDS, '-h', $node->host, '-p', $node->port, @arguments, 'postgres' ];
}

my @runs = (
	pgbench('-c', 3, '-R', $PER_SECOND, '--random-seed', $seed, '-f', $write),
	pgbench('-c', 1, '-R', 5, '--random-seed', $seed, '-f', $delete),
	pgbench('-c', 3, '-f', $detect));
my @outputs = map { '' } @runs;
my @children = map { IPC::Run::start($runs[$_], '<', \undef, '>&', \$outputs[$_]) } 0 .. $#runs;

foreach my $i (0 .. $#children)
{
	ok(IPC::Run::finish($children[$i]), "pgbench $i: no error") or diag $outputs[$i];
	note join(' ', $outputs[$i] =~ /^(number of transactions actually processed: \d+)/m);
}
unlike($outputs[2], qr/processed: 0\b/, 'detect() ran beside');

my $answer = q{SELECT count(*) || ' findings, ' || sum(occurrences) || ' pairs: ' ||
	md5(string_agg(f::text, E'\n' ORDER BY f.id)) FROM trace_ext.findings f};

$node->safe_psql('postgres', 'SELECT trace_ext.detect()');
my $beside = $node->safe_psql('postgres', $answer);
note $beside;

$node->safe_psql('postgres', q{
	TRUNCATE trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
	INSERT INTO trace_ext.detect_queue SELECT DISTINCT trace_id FROM trace_ext.events;
	SELECT trace_ext.detect()});
is($beside, $node->safe_psql('postgres', $answer), 'the findings are those of one detect() over all');
cmp_ok(($beside =~ /, (\d+) pairs/)[0], '>', 1000, 'there was something to find');
is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.detect_queue'), 0, 'the queue is empty');
exact_ok($node, 'summaries are exact as well');

done_testing();
