# 004_two_phase.pl
#		Prepared transactions: what they changed counts when they are committed,
#		also after a restart, and holds up nobody until then.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

seed_random();
my $node = new_node(
	'two_phase',
	max_prepared_transactions => 10,
	lock_timeout => '10s',
	'trace_ext.fold_threshold' => 0);
my $ids = 0;

sub rows
{
	my ($n) = @_;
	return [ map { event_row(uuid(1, int(rand(10))), uuid(2, ++$ids), sprintf('2026-03-01 %02d:00:00.%06d+00', int(rand(24)), int(rand(1000000)))) } 1 .. $n ];
}

sub counts
{
	return $node->safe_psql('postgres', 'SELECT trace_ext.count_events() || \' \' || count(*) FROM trace_ext.events');
}

# Every way to change events, in one transaction.
sub changes
{
	return join("\n",
		insert_sql(rows(5)), copy_sql(rows(5)), ingest_sql(rows(5)),
		'SAVEPOINT a;', insert_sql(rows(5)), 'ROLLBACK TO a;', insert_sql(rows(2)), 'RELEASE a;',
		"UPDATE trace_ext.events SET trace_id = '00000001-0000-4000-8000-0000000000aa' WHERE id = '" . uuid(2, 1) . "';",
		"DELETE FROM trace_ext.events WHERE id = '" . uuid(2, 2) . "';");
}

$node->safe_psql('postgres', insert_sql(rows(20)));

# Committed.
$node->safe_psql('postgres', 'BEGIN; ' . changes() . " PREPARE TRANSACTION 'one';");
is(counts(), '20 20', 'nobody sees what is prepared');
exact_ok($node, 'exact beside a prepared transaction');

# Others write and fold meanwhile; an unlocked row of a shared trace.
$node->safe_psql('postgres', insert_sql(rows(10)) . ' SELECT trace_ext.fold();');
is(counts(), '30 30', 'others write and fold beside it');
is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.summary_deltas'), '0', 'the fold beside it took what it saw');
exact_ok($node, 'exact after a fold beside it');

$node->restart;
is(counts(), '30 30', 'nobody sees what is prepared after a restart');
exact_ok($node, 'exact after a restart');
crash($node);
exact_ok($node, 'exact after a crash');

$node->safe_psql('postgres', "COMMIT PREPARED 'one';");
is(counts(), '46 46', 'what was prepared counts when it is committed');
exact_ok($node, 'exact after COMMIT PREPARED');
$node->safe_psql('postgres', 'SELECT trace_ext.fold();');
exact_ok($node, 'exact after a fold of it');

# Rolled back, across a restart as well.
my $before = answers($node);
$node->safe_psql('postgres', 'BEGIN; ' . "UPDATE trace_ext.events SET service_name = 'gone';" . " PREPARE TRANSACTION 'two';");
$node->restart;
$node->safe_psql('postgres', 'SELECT trace_ext.fold();');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'two';");
is(answers($node), $before, 'ROLLBACK PREPARED leaves nothing');
exact_ok($node, 'exact after ROLLBACK PREPARED');

# What no statement trigger appended: logical replication and its like fire row
# triggers alone.
$node->safe_psql('postgres', join("\n", 'ALTER TABLE trace_ext.events DISABLE TRIGGER trace_ext_append;',
	'ALTER TABLE trace_ext.events_default DISABLE TRIGGER trace_ext_append;',
	'BEGIN;', insert_sql(rows(5)), "PREPARE TRANSACTION 'three';",
	"COMMIT PREPARED 'three';",
	'BEGIN;', insert_sql(rows(5)), 'SAVEPOINT a;', insert_sql(rows(5)), 'ROLLBACK TO a;', insert_sql(rows(5)), 'COMMIT;',
	'ALTER TABLE trace_ext.events ENABLE ALWAYS TRIGGER trace_ext_append;',
	'ALTER TABLE trace_ext.events_default ENABLE ALWAYS TRIGGER trace_ext_append;'));
exact_ok($node, 'exact where deltas were appended before PREPARE and COMMIT');

# A prepared transaction that has folded holds the fold lock.
$node->safe_psql('postgres', 'BEGIN; ' . insert_sql(rows(5)) . " SELECT trace_ext.fold(); PREPARE TRANSACTION 'four';");
$before = counts();
$node->safe_psql('postgres', "SET trace_ext.fold_threshold = 1; $_") for (insert_sql(rows(5)), copy_sql(rows(5)), ingest_sql(rows(5)));
is($node->safe_psql('postgres', 'SELECT trace_ext_internal.fold_if_free()'), '0', 'fold_if_free() waits for no prepared transaction');
exact_ok($node, 'writers go on beside a prepared fold, and all is exact');
my ($status, $out, $err) = try_psql($node, "SET lock_timeout = '300ms'; SELECT trace_ext.fold()");
like($err, qr/lock timeout/, 'fold() waits for it, as it says');
$node->restart;
($status, $out, $err) = try_psql($node, "SET lock_timeout = '300ms'; SELECT trace_ext.fold()");
like($err, qr/lock timeout/, 'also after a restart');
exact_ok($node, 'exact beside a prepared fold after a restart');
$node->safe_psql('postgres', "COMMIT PREPARED 'four'; SELECT trace_ext.fold();");
exact_ok($node, 'exact after a prepared fold was committed');

$node->safe_psql('postgres', 'BEGIN; ' . insert_sql(rows(5)) . " SELECT trace_ext.fold(); PREPARE TRANSACTION 'five';");
$node->safe_psql('postgres', insert_sql(rows(5)));
$node->safe_psql('postgres', "ROLLBACK PREPARED 'five'; SELECT trace_ext.fold();");
exact_ok($node, 'exact after a prepared fold was rolled back');

# A writing transaction that had it folded has no lock on folding.
$node->safe_psql('postgres', 'SET trace_ext.fold_threshold = 1; BEGIN; ' . insert_sql(rows(5)) . insert_sql(rows(5)) . " PREPARE TRANSACTION 'six';");
($status, $out, $err) = try_psql($node, "SET lock_timeout = '5s'; SELECT trace_ext.fold()");
is($err, '', 'a prepared writer holds up no fold');
$node->safe_psql('postgres', "COMMIT PREPARED 'six'");
exact_ok($node, 'exact after it');

# Partitions made and dropped in prepared transactions.
$node->safe_psql('postgres', "BEGIN; CALL trace_ext.maintain_partitions(); PREPARE TRANSACTION 'seven';");
$node->restart;
$node->safe_psql('postgres', "COMMIT PREPARED 'seven';");
exact_ok($node, 'exact after partitions were made in a prepared transaction');
$node->safe_psql('postgres', "BEGIN; DROP TABLE trace_ext.events_p20260301; PREPARE TRANSACTION 'eight';");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'eight';");
exact_ok($node, 'exact after the drop of a partition was prepared and rolled back');
$node->safe_psql('postgres', "BEGIN; TRUNCATE trace_ext.events_p20260301; PREPARE TRANSACTION 'nine';");
$node->restart;
$node->safe_psql('postgres', "COMMIT PREPARED 'nine';");
is(counts(), '0 0', 'a prepared TRUNCATE counts when it is committed');
exact_ok($node, 'exact after a prepared TRUNCATE');

$node->stop;
done_testing();
