# 037_watch_replicas.pl
#		Watched tables beside replication: a standby takes nothing, and no statement there notices; what a
#		subscription applies is written like anything else.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

my @settings = (shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off');
my $primary = new_node('primary', @settings, init => [ allows_streaming => 'logical' ]);
my $counts = 'SELECT taken, errors, not_covered FROM trace_ext_internal.watch_counts()';

# The writes of what was stored, in their order.
sub writes
{
	my ($node) = @_;
	$node->safe_psql('postgres', q{DO $$ BEGIN WHILE (SELECT inserted + duplicates > 0 FROM trace_ext_internal.store_watched()) LOOP END LOOP; END $$});
	return $node->safe_psql('postgres', q{
		WITH gone AS (DELETE FROM trace_ext.events WHERE kind IN ('StateChange', 'DatabaseQuery') RETURNING *)
		SELECT name, attributes ->> 'access_type', attributes ->> 'old_value', attributes ->> 'new_value', attributes ->> 'location' FROM gone WHERE kind = 'StateChange' ORDER BY id});
}

$primary->safe_psql('postgres', q{
	CREATE TABLE accounts (id int PRIMARY KEY, balance int);
	INSERT INTO accounts VALUES (1, 1000), (2, 1000);
	CREATE FUNCTION balance_of(a int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT balance FROM accounts WHERE id = a); END $$;
	SELECT trace_ext.watch('accounts')});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

is($standby->safe_psql('postgres', q{SELECT "table", columns, reads FROM trace_ext.watched_tables}), 'accounts|{balance}|0', 'the standby knows what is watched');
is($standby->safe_psql('postgres', q{
	SELECT balance FROM accounts WHERE id = 1;
	BEGIN ISOLATION LEVEL REPEATABLE READ;
	DECLARE c CURSOR FOR SELECT balance FROM accounts ORDER BY id;
	FETCH ALL FROM c;
	SAVEPOINT a;
	SELECT balance_of(2);
	ROLLBACK TO a;
	COMMIT;
	PREPARE p AS SELECT sum(balance) FROM accounts;
	EXECUTE p; EXECUTE p}), "1000\n1000\n1000\n1000\n2000\n2000", 'it reads as ever');
is($standby->safe_psql('postgres', $counts), '0|0|0', 'and takes nothing');
is($standby->safe_psql('postgres', 'SELECT trace_ext_internal.watch_waiting()'), 'f', 'nor does anything wait');
my ($ret, $out, $err) = $standby->psql('postgres', q{SELECT trace_ext.unwatch('accounts')});
like($err, qr/read-only transaction|during recovery/, 'what is watched is decided on the primary');

# Promoted it takes what it does, in a session that was there before as well.
my $session = $standby->background_psql('postgres', on_error_stop => 0);
is($session->query_safe('SELECT balance FROM accounts WHERE id = 1'), 1000, 'a session of the standby');
$standby->promote;
$session->query_safe('UPDATE accounts SET balance = balance + 1 WHERE id = 1');
$session->quit;
is(writes($standby), 'public.accounts[1].balance|AtomicRMW|1000|1001|UPDATE accounts SET balance = balance + $1 WHERE id = $2', 'promoted it takes what is done');
$standby->stop;

# What a subscription applies: each change, committed as it comes; the first copy as well.
my $subscriber = new_node('subscriber', @settings, wal_retrieve_retry_interval => '100ms');
$subscriber->safe_psql('postgres', q{CREATE TABLE accounts (id int PRIMARY KEY, balance int); SELECT trace_ext.watch('accounts')});
$primary->safe_psql('postgres', 'CREATE PUBLICATION accounts FOR TABLE accounts');
my $connection = $primary->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION accounts CONNECTION '$connection' PUBLICATION accounts");
$subscriber->wait_for_subscription_sync($primary, 'accounts');
is(writes($subscriber), join("\n", map { "public.accounts[$_].balance|Write||1000|logical replication" } 1, 2), 'the first copy is written');
writes($primary);
$primary->safe_psql('postgres', q{
	UPDATE accounts SET balance = 5 WHERE id = 1;
	BEGIN; UPDATE accounts SET balance = 6 WHERE id = 1; SAVEPOINT a; UPDATE accounts SET balance = 7 WHERE id = 1; ROLLBACK TO a; INSERT INTO accounts VALUES (3, 3); COMMIT;
	BEGIN; UPDATE accounts SET balance = 8 WHERE id = 1; ROLLBACK;
	DELETE FROM accounts WHERE id = 2});
$primary->wait_for_catchup('accounts');
is(writes($subscriber), join("\n",
		'public.accounts[1].balance|Write|1000|5|logical replication',
		'public.accounts[1].balance|Write|5|6|logical replication',
		'public.accounts[3].balance|Write||3|logical replication',
		'public.accounts[2].balance|Write|1000||logical replication'), 'what is applied is written');
is($subscriber->safe_psql('postgres', 'SELECT errors + not_covered FROM trace_ext_internal.watch_counts()'), 0, 'without an error');
# A change that is applied over what a session of the subscriber had read is what it loses.
my $reader = $subscriber->background_psql('postgres', on_error_stop => 0);
$reader->query_safe('BEGIN');
$reader->query_safe('SELECT balance FROM accounts WHERE id = 3');
$primary->safe_psql('postgres', 'UPDATE accounts SET balance = 33 WHERE id = 3');
$primary->wait_for_catchup('accounts');
$reader->query_safe('UPDATE accounts SET balance = 4 WHERE id = 3');
$reader->query_safe('COMMIT');
$reader->quit;
$subscriber->safe_psql('postgres', q{SET trace_ext.lateness = 0; SELECT trace_ext_internal.store_watched(); SELECT trace_ext.fold(); CALL trace_ext.detect_all()});
is($subscriber->safe_psql('postgres', 'SELECT kind, variable, confidence FROM trace_ext.findings'), 'lost update|public.accounts[3].balance|1', 'a lost update between a session and the subscription is found');

$subscriber->stop;
$primary->stop;
done_testing();
