# 008_upgrade.pl
#		pg_upgrade keeps counts, summaries, partitions and their triggers.
#
# From one cluster to another of the same version: what matters is that objects
# are made by their definitions, and the data files and oids stay.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

seed_random();

my $new = PostgreSQL::Test::Cluster->new('new');
my $bindir = $new->config_data('--bindir');
plan skip_all => "there is no pg_upgrade in $bindir" unless -x "$bindir/pg_upgrade";
my $old = PostgreSQL::Test::Cluster->new('old');
my $ids = 0;

sub rows
{
	my ($n, $days) = @_;
	return [ map { event_row(uuid(1, int(rand(30))), uuid(2, ++$ids), sprintf('2026-03-%02d %02d:00:00.%06d+00', 1 + int(rand($days)), int(rand(24)), int(rand(1000000)))) } 1 .. $n ];
}

$_->init for ($old, $new);
$_->append_conf('postgresql.conf', "trace_ext.partition_reach = '1000 years'\n") for ($old, $new);
$old->append_conf('postgresql.conf', "trace_ext.fold_threshold = 0\n");
$old->start;
$old->safe_psql('postgres', join("\n",
	'CREATE EXTENSION trace_ext;',
	copy_sql(rows(300, 3)), 'CALL trace_ext.maintain_partitions();',
	q{CREATE TABLE trace_ext.events_mine PARTITION OF trace_ext.events
		FOR VALUES FROM ('2026-03-04 10:30+00') TO ('2026-03-05 11:30+00');
	CREATE TABLE trace_ext.events_gone PARTITION OF trace_ext.events
		FOR VALUES FROM ('2027-01-01') TO ('2027-02-01');
	DROP TABLE trace_ext.events_gone;},
	insert_sql(rows(100, 6)), 'SELECT trace_ext.fold();',
	ingest_sql(rows(100, 6)), q{SELECT trace_ext.ingest_events('[{"id": 1}]');
	DELETE FROM trace_ext.events WHERE kind = 'Error';}));
exact_ok($old, 'exact before');
my $before = answers($old);
my $triggers = q{SELECT tgrelid::regclass, tgname, tgenabled, tgfoid::regproc FROM pg_trigger ORDER BY 1, 2, 3, 4};
my $triggers_before = $old->safe_psql('postgres', $triggers);
my $members = q{SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' ORDER BY 1};
my $members_before = $old->safe_psql('postgres', $members);
my $partitions = 'SELECT part::regclass, is_default, lower_bound, upper_bound FROM trace_ext.partitions ORDER BY 1';
my $partitions_before = $old->safe_psql('postgres', $partitions);
cmp_ok($old->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.summary_deltas'), '>', 0, 'deltas are outstanding');
$old->stop;

{
	# It writes its logs below the new data directory from 15 on; runs in one of ours.
	my $dir = PostgreSQL::Test::Utils::tempdir();
	chdir($dir) or die $!;
	command_ok(
		[
			'pg_upgrade', '--no-sync',
			'-d', $old->data_dir, '-D', $new->data_dir,
			'-b', $bindir, '-B', $bindir,
			'-s', $new->host, '-p', $old->port, '-P', $new->port
		],
		'pg_upgrade');
}

$new->start;
is(answers($new), $before, 'equal answers');
exact_ok($new, 'exact after');
is($new->safe_psql('postgres', $triggers), $triggers_before, 'equal triggers');
is($new->safe_psql('postgres', $members), $members_before, 'equal members of the extension');
is($new->safe_psql('postgres', $partitions), $partitions_before, 'the partitions are known as before');
$new->safe_psql('postgres', 'SELECT trace_ext.fold()');
is(answers($new), $before, 'equal answers after a fold');

$new->safe_psql('postgres', join("\n",
	copy_sql(rows(20, 1), 'trace_ext.events_p20260301'), insert_sql(rows(20, 6)), ingest_sql(rows(20, 6)),
	q{DELETE FROM trace_ext.events_p20260302 WHERE kind = 'Custom';
	UPDATE trace_ext.events SET "timestamp" = "timestamp" + interval '1 day' WHERE kind = 'StateChange';}));
exact_ok($new, 'exact after writes, some straight into partitions');
$new->safe_psql('postgres', 'CALL trace_ext.maintain_partitions();');
exact_ok($new, 'exact after maintain_partitions()');
$new->safe_psql('postgres', 'TRUNCATE trace_ext.events_p20260303;');
exact_ok($new, 'exact after a partition is truncated');
$new->safe_psql('postgres', 'DROP TABLE trace_ext.events_mine;');
exact_ok($new, 'exact after a partition is dropped');

$new->stop;
done_testing();
