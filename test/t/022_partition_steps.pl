# 022_partition_steps.pl
#		Partitions are made in steps: who reads or writes waits for a moment, whatever
#		waits in the default partition, and what is done stays when a step is killed.

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

# Moved in one transaction this many rows take over three seconds.
my $ROWS = 200000;
# What nobody may wait longer than who has nothing to do with it; some milliseconds where
# the machine has nothing else to do.
my $WAIT_MS = 1000;

my $node = new_node('partition_steps', 'trace_ext.fold_threshold' => 0, autovacuum => 'off', timezone => 'UTC', 'trace_ext.partition_reach' => '1 year');
my $dir = PostgreSQL::Test::Utils::tempdir();

sub load_sql
{
	my ($mark, $n, $time) = @_;
	return qq{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind)
		SELECT md5('$mark ' || i / 10)::uuid, md5('$mark ' || i)::uuid, $time, 'Custom' FROM generate_series(0, $n - 1) i;};
}

sub value
{
	my ($sql, $db) = @_;
	return $node->safe_psql($db // 'postgres', $sql);
}

# pgbench that runs one statement over and over, and logs how long each took.
my %bystanders = (
	read => 'SELECT count(*) FROM (SELECT FROM trace_ext.events LIMIT 1000) AS first_ones',
	write => q{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Custom')},
	status => 'SELECT events_in_default FROM trace_ext.status',
	other => q{UPDATE other SET n = n + 1});
$node->safe_psql('postgres', 'CREATE TABLE other AS SELECT 1 AS n');
append_to_file("$dir/$_.sql", "$bystanders{$_};\n") foreach keys %bystanders;

# The longest wait of each bystander, in ms, while CODE runs.
sub worst_waits
{
	my ($code) = @_;
	my (%runs, %worst);

	unlink glob("$dir/*.log.*");
	foreach my $name (sort keys %bystanders)
	{
		$runs{$name} = IPC::Run::start(
			[ 'pgbench', '-n', '-l', "--log-prefix=$dir/$name.log", '-T', 5, '-h', $node->host, '-p', $node->port, '-f', "$dir/$name.sql", 'postgres' ],
			'>', \my $out, '2>', \my $err);
	}
	sleep(1);
	$code->();
	$runs{$_}->finish foreach keys %runs;
	foreach my $name (keys %bystanders)
	{
		my ($longest) = sort { $b <=> $a } map { (split)[2] / 1000 } map { split /\n/, slurp_file($_) } glob("$dir/$name.log.*");
		$worst{$name} = $longest;
	}
	return \%worst;
}

sub nobody_waits
{
	my ($what, $code) = @_;
	my $worst = worst_waits($code);
	my $of_other = delete $worst->{other};
	note(sprintf('%s: the longest of who has nothing to do with it took %.0f ms', $what, $of_other));
	foreach my $name (sort keys %$worst)
	{
		note(sprintf('%s: the longest %s took %.0f ms', $what, $name, $worst->{$name}));
		cmp_ok($worst->{$name}, '<', $WAIT_MS + $of_other, "$what: no $name waited long");
	}
}

#
# Many rows of today, all of one moment; the default partition turns into today's
#
away_from_midnight(120);
$node->safe_psql('postgres', load_sql('today', $ROWS, 'now()') . load_sql('far', 500, "now() - interval '3 years' - i * interval '1 day'") . 'SELECT trace_ext.fold();');
nobody_waits('today', sub { $node->safe_psql('postgres', 'CALL trace_ext.maintain_partitions()') });
is(value('SELECT count(*) FROM trace_ext.events_default'), 500, 'only what is far off is left in the default partition');
is(value('SELECT partitions, far_events, partitions_to_make FROM trace_ext.status'), '4|500|0', 'and status says so');
exact_ok($node, 'exact after the default partition turned');
is(value(q{SELECT (SELECT oid FROM pg_class WHERE oid = 'trace_ext.events_default'::regclass) = objid FROM pg_depend
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND objid = 'trace_ext.events_default'::regclass}), 't',
	'the new default partition is a member of the extension');

#
# Rows of past days: many, and few in between
#
$node->safe_psql('postgres', load_sql('past', $ROWS, "now() - interval '20 days' + i * interval '1 s'") . 'SELECT trace_ext.fold();');
nobody_waits('past', sub { $node->safe_psql('postgres', 'CALL trace_ext.maintain_partitions()') });
is(value('SELECT count(*) FROM trace_ext.events_default'), 500, 'they have their partition');
exact_ok($node, 'exact after a past was loaded');

$node->safe_psql('postgres', q{TRUNCATE trace_ext.events;} . load_sql('far', 500, "now() - interval '3 years' - i * interval '1 day'"));
$node->safe_psql('postgres', load_sql('days', 40000, "now() - (30 + i % 20) * interval '1 day'") . 'SELECT trace_ext.fold();');
nobody_waits('days', sub { $node->safe_psql('postgres', 'CALL trace_ext.maintain_partitions()') });
is(value('SELECT count(*) FROM trace_ext.events_default'), 500, 'days of 2,000 events have theirs');
exact_ok($node, 'exact after many days');

#
# A statement that waits while the default partition turns goes on in the right one
#
$node->safe_psql('postgres', load_sql('turn', 5000, "date_trunc('day', now()) - interval '5 days' + i * interval '1 s'") . 'SELECT trace_ext.fold();');
my $mover = $node->background_psql('postgres');
$mover->query_safe('BEGIN; CALL trace_ext.maintain_partitions();');
my $columns = '(trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), ';
my @waiting = map {
	my %run = (err => '', out => '');
	$run{harness} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', $_ ], '>', \$run{out}, '2>', \$run{err});
	\%run
} ("INSERT INTO trace_ext.events $columns now() - interval '5 days', 'Error')",
	"INSERT INTO trace_ext.events_default $columns '1990-01-01', 'Error')",
	"UPDATE trace_ext.events SET service_name = 'waited' WHERE trace_id = md5('turn 7')::uuid",
	"DELETE FROM trace_ext.events WHERE trace_id = md5('turn 8')::uuid AND \"timestamp\" > now() - interval '6 days'",
	"SELECT count(*) FROM trace_ext.events WHERE \"timestamp\" < now() - interval '4 days' AND trace_id = md5('turn 9')::uuid");
ok($node->poll_query_until('postgres', 'SELECT count(DISTINCT pid) = 5 FROM pg_locks WHERE NOT granted'), 'five statements wait');
$mover->query_safe('COMMIT');
$mover->quit;
$_->{harness}->finish foreach @waiting;
is(join('', map { $_->{err} } @waiting), '', 'they go on');
is($waiting[4]{out}, "10\n", 'one reads what turned');
is(value(q{SELECT count(*) FROM trace_ext.events_default WHERE "timestamp" < '1991-01-01'}), 1, 'one writes to the new default partition');
is(value(q{SELECT count(*) FROM trace_ext.events_default WHERE "timestamp" > now() - interval '6 days'}), 0, 'none to it that is of another');
is(value(q{SELECT count(*) || ' ' || count(*) FILTER (WHERE service_name = 'waited') FROM trace_ext.events WHERE trace_id IN (md5('turn 7')::uuid, md5('turn 8')::uuid)}),
	'10 10', 'one updates and one deletes what turned');
exact_ok($node, 'exact after statements waited');

#
# A dump of it comes back
#
my $dump = "$dir/dump.sql";
$node->safe_psql('postgres', 'CREATE DATABASE copied');
command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'postgres' ], 'dumped');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-f', $dump, 'copied' ], 'restored');
is(answers($node, 'copied'), answers($node, 'postgres'), 'all of it is there');

#
# One step after the other is committed: a kill undoes one at most
#
$node->safe_psql('postgres', 'TRUNCATE trace_ext.events;' . load_sql('scattered', 300, "now() - (60 + i) * interval '1 day'"));
my $before = value('SELECT count(*) FROM trace_ext.partitions');
my $maintainer = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $maintainer->query_safe('SELECT pg_backend_pid()');
$maintainer->query_until(qr/called/, "\\echo called\nCALL trace_ext.maintain_partitions();\n");
ok($node->poll_query_until('postgres', "SELECT count(*) > $before + 3 FROM trace_ext.partitions"), 'steps are seen before the call ends');
value("SELECT pg_terminate_backend($pid)");
eval { $maintainer->quit; };
my $kept = value('SELECT count(*) FROM trace_ext.partitions');
cmp_ok($kept, '>', $before + 3, 'what was done stays');
exact_ok($node, 'exact after a kill');
$node->safe_psql('postgres', 'CALL trace_ext.maintain_partitions()');
cmp_ok(value('SELECT count(*) FROM trace_ext.partitions'), '<=', $kept + 32, 'a call makes 32 at most for rows that wait');
exact_ok($node, 'and after the rest');

#
# Who holds events up is not waited for in a queue
#
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT count(*) FROM trace_ext.events');
$maintainer = $node->background_psql('postgres', on_error_stop => 0);
$maintainer->query_until(qr/called/, "\\echo called\nCALL trace_ext.maintain_partitions();\n\\echo ended\n");
sleep(0.5);
my $began = time();
value('SELECT count(*) FROM other') foreach 1 .. 5;
my $of_other = time() - $began;
$began = time();
value('SELECT count(*) FROM trace_ext.events') foreach 1 .. 5;
cmp_ok(time() - $began, '<', $of_other + 5 * $WAIT_MS / 1000, 'readers pass beside one that is waited for');
$before = value('SELECT count(*) FROM trace_ext.partitions');
$holder->query_safe('COMMIT');
ok($node->poll_query_until('postgres', "SELECT count(*) > $before FROM trace_ext.partitions"), 'the partitions are made once he is gone');
$maintainer->query_until(qr/ended/, "\n");
$maintainer->quit;

#
# TRUNCATE frees what derives as well; beside a reader it deletes
#
$node->safe_psql('postgres', 'SELECT trace_ext.fold(); TRUNCATE trace_ext.events');
is(value(q{SELECT pg_relation_size('trace_ext.summary_base') + pg_relation_size('trace_ext.summary_deltas')
	+ pg_relation_size('trace_ext.count_base') + pg_relation_size('trace_ext.count_deltas')}), 0, 'TRUNCATE leaves no page of summaries and counts');
exact_ok($node, 'exact after TRUNCATE');
$node->safe_psql('postgres', load_sql('again', 100, 'now()') . 'SELECT trace_ext.fold()');
$holder->query_safe('BEGIN; SELECT count(*) FROM trace_ext.summary_base');
$node->safe_psql('postgres', 'TRUNCATE trace_ext.events');
is($holder->query_safe('SELECT count(*) FROM trace_ext.trace_summaries'), 0, 'TRUNCATE does not wait for one who reads summaries');
$holder->query_safe('COMMIT');
$holder->quit;
exact_ok($node, 'exact after TRUNCATE beside a reader');

$node->stop;
done_testing();
