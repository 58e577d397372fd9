# 031_analysis_cancel.pl
#		Whatever is asked about a trace gives way at once when it is cancelled.
#
# At random moments of each function, over traces that keep it busy.  How long it went
# on after its timeout is printed; on an idle machine that is a few milliseconds.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

# A machine that runs other tests beside may take ten times as long as an idle one.
my $LONGEST_MS = 1000;
my $MOMENTS = 6;

my $seed = seed_random();
my $node = new_node('analysis_cancel', fsync => 'off');

# A long chain of parents; and calls of services that wait for locks, answer, fail and
# ask the same again, some thousand under each parent.
$node->safe_psql('postgres', q{
	SET trace_ext.fold_threshold = 0;
	INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns)
	SELECT md5('chain')::uuid, md5('chain' || i)::uuid, md5('chain' || i - 1)::uuid, '2025-01-01 00:00+00'::timestamptz + i * interval '10 us',
		   'FunctionCall', 'f' || i % 50, 's' || i % 10, CASE WHEN i % 3 = 0 THEN 50000 END
	  FROM generate_series(1, 120000) i;
	INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id, span_id, upstream_span_id,
								  duration_ns, attributes)
	SELECT md5(t)::uuid, md5(t || i)::uuid, CASE WHEN i % 1000 > 0 THEN md5(t || (i - i % 1000))::uuid END,
		   '2025-01-02 00:00+00'::timestamptz + i * interval '50 us',
		   (ARRAY['HttpRequest', 'LockAcquire', 'DatabaseQuery', 'DatabaseQuery', 'LockRelease', 'AsyncSpawn', 'AsyncAwait', 'HttpResponse'])[1 + i % 8]::trace_ext.event_kind,
		   CASE i % 8 WHEN 1 THEN 'L' || i % 5 WHEN 4 THEN 'L' || i % 5 WHEN 5 THEN 'task' || i / 8 WHEN 6 THEN 'task' || i / 8 ELSE 'GET /' || i % 40 END,
		   's' || i % 7, 'i' || i % 7, 'T' || i % 64, 'span' || i / 8 || t, 'span' || i / 16 || t, 20000 + i % 977 * 1000,
		   CASE WHEN i % 8 = 7 THEN jsonb_build_object('status', 200 + i % 4 * 100) END
	  FROM unnest(ARRAY['calls', 'others']) t, generate_series(0, 59999) i;
	SELECT trace_ext.fold();
	VACUUM ANALYZE trace_ext.events;
});

my ($chain, $calls, $others) = map { "md5('$_')::uuid" } qw(chain calls others);
my $longest = 0;
for my $query (
	"causal_order($chain, 1000000)", "critical_path($chain, 1000000)", "trace_tree($chain, 1000000)", "trace_anomalies($chain)",
	"trace_analysis($chain)", "find_similar_traces($chain)", "trace_events($chain, 10000, 12)",
	"causal_order($calls)", "critical_path($calls)", "trace_tree($calls, merge => true)", "trace_anomalies($calls)", "service_dependencies($calls)",
	"compare_traces($calls, $others)", "clock_offsets($calls)", "trace_analysis($calls)")
{
	my ($name) = $query =~ /^(\w+)/;

	$name .= ' of ' . ($query =~ /\Q$calls\E/ ? 'calls' : 'a chain');
	my $worst = gives_way_ok($node, $name, "SELECT count(*) FROM trace_ext.$query", $MOMENTS, $LONGEST_MS) // 0;
	$longest = $worst if $worst > $longest;
}
note sprintf('at worst after %.1f ms', $longest);

$node->stop;
done_testing();
