# 020_race_cancel.pl
#		Race detection gives way at once when it is cancelled.
#
# At random moments of each function, over traces that keep it busy: what reads,
# what sorts, what orders and what counts.  The statement timeout raises the same
# interrupt as pg_cancel_backend(), and its delay is known to the millisecond.

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
my $MOMENTS = 10;

my $seed = seed_random();
my $node = new_node('race_cancel', fsync => 'off', 'trace_ext.lateness' => 0);

# A trace of locks, a long chain of parents that runs backwards in time, a variable
# that nothing orders, and many traces that overlap.
$node->safe_psql('postgres', q{
	CREATE FUNCTION event(trace text, i int, parent int, at interval, kind trace_ext.event_kind, name text, thread text)
	RETURNS trace_ext.events LANGUAGE sql AS $$
		SELECT md5(trace)::uuid, md5(trace || i)::uuid, md5(trace || parent)::uuid, '2025-01-01 00:00+00'::timestamptz + at,
			   kind, name, 'svc', 'i1', 1, thread, NULL, NULL, NULL, NULL::bigint,
			   CASE kind WHEN 'StateChange' THEN '{"access_type": "Write", "new_value": 1}'::jsonb END,
			   NULL::jsonb, NULL::trace_ext.vclock, NULL::text[], NULL::boolean $$;
	INSERT INTO trace_ext.events
	SELECT e.* FROM generate_series(0, 79999) i,
		   event('locked', i, NULL, i * interval '10 us',
				 (ARRAY['LockAcquire', 'StateChange', 'StateChange', 'LockRelease'])[1 + i % 4]::trace_ext.event_kind,
				 CASE WHEN i % 4 IN (0, 3) THEN 'L' ELSE 'locked' END, 'T' || (i / 4) * 7919 % 64) e;
	INSERT INTO trace_ext.events
	SELECT e.* FROM generate_series(1, 200000) i,
		   event('chain', i, i - 1, '1 day'::interval - i * interval '10 us',
				 CASE WHEN i % 10 = 0 THEN 'StateChange' ELSE 'FunctionCall' END::trace_ext.event_kind, 'chain', 'T' || i % 4) e;
	INSERT INTO trace_ext.events
	SELECT e.* FROM generate_series(1, 60000) i,
		   event('open', i, NULL, '2 days'::interval + i * interval '10 us', 'StateChange', 'open', 'T' || i % 64) e;
	INSERT INTO trace_ext.events
	SELECT e.* FROM generate_series(1, 50000) i,
		   event('many ' || i / 20, i, NULL, '3 days'::interval + i * interval '10 us' + i % 20 * interval '1 ms', 'StateChange',
				 'many' || i % 1000, 'ctx ' || i / 20) e;
	SELECT trace_ext.fold();
	VACUUM ANALYZE trace_ext.events;
});

sub cancels_ok
{
	my ($name, $query, $moments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(defined gives_way_ok($node, $name, $query, $moments // $MOMENTS, $LONGEST_MS), "$name took long enough");
}

cancels_ok('find_races() of a trace of locks', q{SELECT count(*) FROM trace_ext.find_races(md5('locked')::uuid)});
cancels_ok('find_races() of a chain of parents', q{SELECT count(*) FROM trace_ext.find_races(md5('chain')::uuid)});
cancels_ok('find_variable_races()', q{SELECT count(*) FROM trace_ext.find_variable_races('open', NULL, 100000)});
cancels_ok('audit_trail()', q{SELECT count(*) FROM trace_ext.audit_trail(md5('open')::uuid, 'open')});
cancels_ok('detect()', 'SELECT trace_ext.detect()', 5);

done_testing();
