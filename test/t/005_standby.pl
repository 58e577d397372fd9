# 005_standby.pl
#		A hot standby answers as its primary does, refuses to ingest, and is exact
#		and writable after promotion.

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
	return [ map { event_row(uuid(1, int(rand(50))), uuid(2, ++$ids), sprintf('2026-03-%02d %02d:00:00.%06d+00', 1 + int(rand(3)), int(rand(24)), int(rand(1000000)))) } 1 .. $n ];
}

my $primary = new_node('primary', init => [ allows_streaming => 1 ]);
$primary->safe_psql('postgres', copy_sql(rows(500)) . ' CALL trace_ext.maintain_partitions(); SELECT trace_ext.fold();');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub same_ok
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	is(answers($standby), answers($primary), "$name: the standby answers as the primary");
	exact_ok($standby, "$name: the standby is exact");
	is( $standby->safe_psql('postgres', 'SELECT events, traces, summary_backlog FROM trace_ext.status'),
		$primary->safe_psql('postgres', 'SELECT events, traces, summary_backlog FROM trace_ext.status'),
		"$name: equal status");
}

$primary->append_conf('postgresql.conf', 'trace_ext.fold_threshold = 0');
$primary->reload;
same_ok('folded');
$primary->safe_psql('postgres', join("\n", insert_sql(rows(50)), copy_sql(rows(50)), ingest_sql(rows(50))));
same_ok('with deltas outstanding');
$primary->safe_psql('postgres', q{DELETE FROM trace_ext.events WHERE kind = 'Error';
	UPDATE trace_ext.events SET "timestamp" = "timestamp" + interval '1 day' WHERE kind = 'Custom';});
same_ok('with traces to be read again');
$primary->safe_psql('postgres', 'DROP TABLE trace_ext.events_p20260302; TRUNCATE trace_ext.events_p20260303; SELECT trace_ext.fold();');
same_ok('after DROP and TRUNCATE of partitions');

# What writes is refused, by an error that says so.
for my $sql (
	ingest_sql(rows(1)), insert_sql(rows(1)), copy_sql(rows(1)),
	q{SELECT trace_ext.ingest_events('[{}]')},
	'SELECT trace_ext.fold()', 'SELECT trace_ext_internal.fold_if_free()', 'SELECT trace_ext.rebuild_summaries()',
	'CALL trace_ext.maintain_partitions()')
{
	my ($status, $out, $err) = try_psql($standby, $sql);
	isnt($status, 0, 'refused: ' . substr($sql, 0, 40));
	like($err, qr/ERROR:  cannot .*(read-only transaction|during recovery)/, 'and why: ' . substr($sql, 0, 40));
}
is($standby->safe_psql('postgres', 'SELECT trace_ext.ingest_events(\'{"events": []}\')'), '(0,0,0)', 'an empty batch writes nothing');

# Promoted with deltas outstanding.
$primary->safe_psql('postgres', insert_sql(rows(50)));
same_ok('before promotion');
my $before = answers($primary);
$primary->stop;
$standby->promote;
is(answers($standby), $before, 'equal answers after promotion');
$standby->safe_psql('postgres', join("\n", insert_sql(rows(50)), copy_sql(rows(50)), ingest_sql(rows(50)), 'DELETE FROM trace_ext.events WHERE kind = \'Error\';'));
exact_ok($standby, 'exact after writes to the promoted');
$standby->safe_psql('postgres', 'SELECT trace_ext.fold(); CALL trace_ext.maintain_partitions();');
exact_ok($standby, 'exact after a fold and maintain_partitions()');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.summary_deltas WHERE NOT recompute'), '0', 'nothing is outstanding');

$standby->stop;
done_testing();
