# 006_logical.pl
#		Events that logical replication applies are counted as any others.
#
# The apply worker runs in the role "replica", in which ordinary triggers do not
# fire, and fires row triggers alone; initial copies go another way.  The
# subscriber has partitions of its own.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

seed_random();
my $ids = 0;

sub rows
{
	my ($n) = @_;
	return [ map { event_row(uuid(1, int(rand(30))), uuid(2, ++$ids), sprintf('2026-03-%02d %02d:00:00.%06d+00', 1 + int(rand(3)), int(rand(24)), int(rand(1000000)))) } 1 .. $n ];
}

my @settings = (init => [ allows_streaming => 'logical' ], wal_retrieve_retry_interval => '100ms');
my $publisher = new_node('publisher', @settings);

sub same_events_ok
{
	my ($name, $subscriber) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$publisher->wait_for_catchup('events');
	is(answers($subscriber), answers($publisher), "$name: equal answers");
	exact_ok($subscriber, "$name: the subscriber is exact");
}

# Changes of all sorts, each in transactions and savepoints.
sub change
{
	my ($n) = @_;
	$publisher->safe_psql('postgres', join("\n",
		insert_sql(rows(20)), copy_sql(rows(20)), ingest_sql(rows(20)),
		'BEGIN;', insert_sql(rows(5)), 'SAVEPOINT a;', insert_sql(rows(5)), 'ROLLBACK TO a;', copy_sql(rows(5)),
		'DELETE FROM trace_ext.events WHERE kind = \'Error\';', 'COMMIT;',
		"UPDATE trace_ext.events SET trace_id = '" . uuid(1, 100 + $n) . "' WHERE id < '" . uuid(2, 10) . "';",
		'UPDATE trace_ext.events SET "timestamp" = "timestamp" + interval \'1 day\' WHERE kind = \'Custom\';',
		'UPDATE trace_ext.events SET tags = \'{"a": 1}\' WHERE kind = \'HttpRequest\';',
		'DELETE FROM trace_ext.events WHERE kind = \'StateChange\';'));
}

# One subscriber with other partitions.
sub run_through
{
	my ($name, $via_root) = @_;
	my $subscriber = new_node("subscriber_$name", @settings, 'trace_ext.fold_threshold' => 50);

	$publisher->safe_psql('postgres', join("\n",
		'TRUNCATE trace_ext.events;', copy_sql(rows(300)), insert_sql(rows(10)),
		'CALL trace_ext.maintain_partitions();', insert_sql(rows(10)),
		"CREATE PUBLICATION events FOR TABLE trace_ext.events WITH (publish_via_partition_root = $via_root);"));

	# Via the root any partitions will do; else names have to be the same.
	if ($via_root eq 'true')
	{
		$subscriber->safe_psql('postgres', q{
			CREATE TABLE trace_ext.events_mine PARTITION OF trace_ext.events
				FOR VALUES FROM ('2026-03-01 10:30+00') TO ('2026-03-02 20:15+00');});
	}
	else
	{
		$subscriber->safe_psql('postgres', copy_sql(rows(100))
			  . 'CALL trace_ext.maintain_partitions(); TRUNCATE trace_ext.events;');
	}
	$subscriber->safe_psql('postgres',
		"CREATE SUBSCRIPTION events CONNECTION '" . ($publisher->connstr('postgres') =~ s/'/''/gr) . "' PUBLICATION events");
	$subscriber->wait_for_subscription_sync($publisher, 'events');
	same_events_ok("$name, initial copy", $subscriber);

	for my $n (1 .. 3)
	{
		change($n);
		same_events_ok("$name, changes $n", $subscriber);
	}
	$subscriber->safe_psql('postgres', 'SELECT trace_ext.fold()');
	same_events_ok("$name, folded", $subscriber);

	# Published as its root: of a partition alone PostgreSQL says nothing then.
	$publisher->safe_psql('postgres', 'TRUNCATE trace_ext.events_p20260302') if $via_root eq 'false';
	same_events_ok("$name, partition truncated", $subscriber);
	$publisher->safe_psql('postgres', 'TRUNCATE trace_ext.events; ' . insert_sql(rows(10)));
	same_events_ok("$name, truncated", $subscriber);

	# The subscriber's own writes and partitions.
	$subscriber->safe_psql('postgres', insert_sql([ event_row(uuid(7, 1), uuid(7, 1), '2026-03-01 00:00:00+00') ]));
	# Leaves go to those of their name, so a partition that the publisher has not
	# would be in the way of its default partition.
	$subscriber->safe_psql('postgres', 'CALL trace_ext.maintain_partitions();') if $via_root eq 'true';
	change(4);
	$publisher->wait_for_catchup('events');
	is( $subscriber->safe_psql('postgres', 'SELECT trace_ext.count_events()'),
		$publisher->safe_psql('postgres', 'SELECT trace_ext.count_events() + 1'), "$name: the subscriber's own event is there as well");
	exact_ok($subscriber, "$name: exact with events of its own");

	# From 17 on the apply worker warns so of any partition with a row trigger.
	is( join("\n", grep { /ERROR:|WARNING:/ && !/resource was not closed: relation/ } split(/\n/, slurp_file($subscriber->logfile))),
		'', "$name: the apply worker met no error");
	$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION events');
	$publisher->safe_psql('postgres', 'DROP PUBLICATION events');
	$subscriber->stop;
}

run_through('root', 'true');
run_through('leaves', 'false');

# The apply worker's deltas are written at its commit, and by nobody before: the cache
# has to look at what was written after that.
{
	my $subscriber = new_node('subscriber_cache', @settings, shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off',
		'trace_ext.fold_threshold' => 0);
	my $deltas = 'SELECT count(*) FROM trace_ext.summary_deltas';
	my $cached = "SELECT n FROM trace_ext.cached('$deltas') AS c(n bigint)";

	$publisher->safe_psql('postgres', 'TRUNCATE trace_ext.events; CREATE PUBLICATION events FOR TABLE trace_ext.events WITH (publish_via_partition_root = true)');
	$subscriber->safe_psql('postgres',
		"CREATE SUBSCRIPTION events CONNECTION '" . ($publisher->connstr('postgres') =~ s/'/''/gr) . "' PUBLICATION events");
	$subscriber->wait_for_subscription_sync($publisher, 'events');
	for my $n (1 .. 3)
	{
		is($subscriber->safe_psql('postgres', "$cached; $cached"), ($n - 1) . "\n" . ($n - 1), "cached beside $n");
		$publisher->safe_psql('postgres', insert_sql(rows(1)));
		$publisher->wait_for_catchup('events');
		is($subscriber->safe_psql('postgres', $deltas), $n, "the delta of row $n was appended");
		is($subscriber->safe_psql('postgres', $cached), $n, "and the cache knows of it");
	}
	is($subscriber->safe_psql('postgres', 'SELECT local_hits + shared_hits >= 3 FROM trace_ext.cache_stats'), 't', 'it was a cached result that became stale');
	$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION events');
	$subscriber->stop;
}

$publisher->stop;
done_testing();
