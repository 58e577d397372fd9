# 044_watch_apart.pl
#		Traces of watched tables that met no other one are not looked at: what is found is the same as where
#		all are.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

my $seed = seed_random();
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('apart', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off',
	'trace_ext.watch_buffer' => '64MB', 'trace_ext.lateness' => 0);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{
	CREATE TABLE rows (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL);
	INSERT INTO rows SELECT i, 0, 0 FROM generate_series(1, 300) i;
	SELECT trace_ext.watch('rows');
});

# What sessions do: each statement by itself or in a transaction, which reads one row and writes it or another one.
my %scripts = (
	apart => "BEGIN;\nSELECT a FROM rows WHERE id = :i;\n\\sleep :n ms\nUPDATE rows SET a = :v WHERE id = :i;\nCOMMIT;\n",
	alone => "SELECT a FROM rows WHERE id = :i;\n\\sleep :n ms\nUPDATE rows SET a = :v WHERE id = :i;\n",
	check => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT a FROM rows WHERE id = :i;\n\\sleep :n ms\nUPDATE rows SET b = :v WHERE id = :k;\nCOMMIT;\n",
	skew => "BEGIN;\nSELECT 1;\nSELECT a FROM rows WHERE id = :i;\nSELECT a FROM rows WHERE id = :k;\n\\sleep :n ms\nUPDATE rows SET a = :v WHERE id = :k;\nCOMMIT;\n",
	computed => "UPDATE rows SET a = a + 1 WHERE id = :i;\n",
	read => "SELECT a, b FROM rows WHERE id = :i;\n",
	locked => "BEGIN;\nSELECT a FROM rows WHERE id = :i FOR UPDATE;\nUPDATE rows SET a = :v WHERE id = :i;\nCOMMIT;\n");
foreach my $name (keys %scripts)
{
	open(my $file, '>', "$dir/$name") or die;
	# Some rows are used far more often than others, and a few requests say who they are.
	print $file "\\set i random_exponential(1, 300, 4)\n\\set k random_exponential(1, 300, 4)\n\\set v random(1, 1000)\n\\set t random(1, 30)\n\\set n random(1, 10)\n",
		"\\if :n = 1\nSELECT set_config('trace_ext.traceparent', format('00-%s-%s-01', md5('$seed' || :t), left(md5(:t::text), 16)), false);\n",
		"\\elif :n = 2\nRESET trace_ext.traceparent;\n\\endif\n$scripts{$name}";
	close($file);
}

# Runs clients of either kind, and calls something meanwhile.
sub run_clients
{
	my ($meanwhile) = @_;
	my @clients;
	foreach my $untraced ('session', 'transaction', 'transaction', 'transaction')
	{
		local $ENV{PGOPTIONS} = "-c trace_ext.watch_untraced=$untraced";
		push @clients, IPC::Run::start(['pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 2, '-t', 60, '--max-tries', 1,
			'--random-seed', int(rand(1000000)), (map { ('-f', "$dir/$_") } sort keys %scripts), 'postgres'], '>', '/dev/null', '2>', '/dev/null');
	}
	$meanwhile->();
	$_->finish foreach @clients;
	return;
}

my $store = 'DO $$ BEGIN WHILE (SELECT inserted + duplicates > 0 FROM trace_ext_internal.store_watched()) LOOP END LOOP; END $$';
my $apart = 'SELECT cardinality(trace_ext_internal.traces_apart(ARRAY(SELECT trace_id FROM trace_ext.summary_base)))';

my ($found, $all, $many) = (0, 0, 0);
for my $round (1 .. 3)
{
	sql('TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue');
	my $keeper = $node->background_psql('postgres', on_error_stop => 0);
	$keeper->query_safe($store);
	# Looked at in steps, as the worker does; in the last round another process has taken some in between.
	run_clients(sub {
		foreach (1 .. 3)
		{
			$keeper->query_safe($store);
			$keeper->query_safe('CALL trace_ext.detect_all()');
			sql($store) if $round == 3;
		}
	});
	$keeper->query_safe($store);
	$keeper->query_safe('SELECT trace_ext.fold()');
	$many += $keeper->query_safe($apart);
	$all += sql('SELECT count(*) FROM trace_ext.summary_base WHERE access_count > 0');
	is(sql($apart), 0, 'who did not store them knows of none');
	$keeper->query_safe('CALL trace_ext.detect_all()');
	$found += sql('SELECT sum(occurrences) FROM trace_ext.findings');
	# As whoever knows nothing finds it.
	sql(q{
		DROP TABLE IF EXISTS known, known_pairs;
		CREATE TABLE known AS TABLE trace_ext.findings;
		CREATE TABLE known_pairs AS SELECT finding_id, trace1, trace2, occurrences FROM trace_ext.race_pairs;
		TRUNCATE trace_ext.findings, trace_ext.race_pairs;
		INSERT INTO trace_ext.detect_queue (trace_id, first_timestamp) SELECT trace_id, first_timestamp FROM trace_ext.summary_base});
	sql('CALL trace_ext.detect_all()');
	is(sql('(TABLE known EXCEPT ALL TABLE trace_ext.findings) UNION ALL (TABLE trace_ext.findings EXCEPT ALL TABLE known)'), '', "round $round: the same is found") or diag("seed $seed");
	is(sql(q{
		SELECT count(*) FROM (
			(TABLE known_pairs EXCEPT ALL SELECT finding_id, trace1, trace2, occurrences FROM trace_ext.race_pairs) UNION ALL
			(SELECT finding_id, trace1, trace2, occurrences FROM trace_ext.race_pairs EXCEPT ALL TABLE known_pairs)) d}), 0, 'between the same traces') or diag("seed $seed");
	$keeper->quit;
}
cmp_ok($found, '>', 0, "there was something to find: $found");
cmp_ok($many, '>', $all / 10, "and what was not looked at: $many of $all traces");

# What somebody else sends to a trace, or under the name of a variable of a row, is looked at.
sub of_row
{
	my ($id) = @_;
	sql("SET trace_ext.watch_untraced = transaction; UPDATE rows SET a = 5000 WHERE id = $id");
	return;
}
sql('TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue');
my $keeper = $node->background_psql('postgres', on_error_stop => 0);
$keeper->query_safe($store);
of_row($_) foreach (1, 2);
$keeper->query_safe($store);
$keeper->query_safe('SELECT trace_ext.fold()');
is($keeper->query_safe($apart), 2, 'two traces met no other one');
sql(q{
	INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name)
	SELECT trace_id, gen_random_uuid(), "timestamp", 'Custom', 'x'
	  FROM trace_ext.events WHERE name = 'public.rows[1].a'});
sql('SELECT trace_ext.fold()');
is($keeper->query_safe($apart), 1, 'but one of which somebody else knows more is looked at');
sql(q{
	INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, attributes)
	SELECT gen_random_uuid(), gen_random_uuid(), "timestamp", 'StateChange', 'public.rows[2].a', 'other', '{"access_type": "Write", "new_value": 1}'
	  FROM trace_ext.events WHERE name = 'public.rows[2].a'});
sql('SELECT trace_ext.fold()');
is($keeper->query_safe($apart), 0, 'and one beside which somebody else accessed something');
# A transaction that fails after it stored some knows of none.
of_row(3);
$keeper->query("BEGIN; $store; ROLLBACK");
$keeper->query_safe($store);
$keeper->query_safe('SELECT trace_ext.fold()');
is($keeper->query_safe($apart), 0, 'what was stored after a failure is looked at');
is(sql(q{SELECT count(*) FROM trace_ext.events WHERE name = 'public.rows[3].a'}), 1, 'and there once');
$keeper->quit;

$node->stop;
done_testing();
