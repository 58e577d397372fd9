# 034_job_kills.pl
#		What baselines, anomalies and alerts come to does not depend on whether their
#		backend was killed on the way, by an administrator or by the kernel.
#
# The same store, copied: once they run undisturbed, once they are killed again and
# again at random moments, then run to the end.

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

my $seed = seed_random();
my $node = new_node('job_kills', restart_after_crash => 'on', 'trace_ext.workers' => 'off');
my $dir = PostgreSQL::Test::Utils::tempdir();

# Calls of five operations over six hours, of which some of the last are slow, fail, or
# ask the same again; the rules, and the jobs' steps, each a transaction as the worker
# has it, at a time that does not pass.
$node->safe_psql('postgres', 'CREATE DATABASE undisturbed');
$node->safe_psql('undisturbed', q{
	CREATE EXTENSION trace_ext;
	SET trace_ext.fold_threshold = 0;
	INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns, attributes)
	SELECT md5('t' || i / 10)::uuid, md5('e' || i)::uuid, CASE WHEN i % 10 > 0 THEN md5('e' || i - i % 10)::uuid END,
		   '2025-03-01 00:00+00'::timestamptz + i * interval '1.2 s',
		   CASE WHEN i % 10 = 0 THEN 'HttpRequest' WHEN i % 97 = 0 THEN 'Error' WHEN i / 10 % 40 = 0 OR i % 10 = 1 THEN 'DatabaseQuery' ELSE 'FunctionCall' END::trace_ext.event_kind,
		   CASE WHEN i / 10 % 40 = 0 AND i % 10 > 0 THEN 'SELECT * FROM t WHERE id = ' || i ELSE 'op' || i % 5 END,
		   's' || i % 3, CASE WHEN i > 15000 AND i % 53 = 0 THEN 900000000 ELSE 10000000 + i % 7 * 100000 END, '{}'
	  FROM generate_series(0, 17999) i;
	INSERT INTO trace_ext.findings (id, kind, variable, severity, confidence, confirmed, occurrences)
	VALUES (md5('f')::uuid, 'lost update', 'x', 'CRITICAL', 1, true, 1);
	SELECT trace_ext.fold();
	CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
	BEGIN
		WHILE trace_ext_internal.baseline_step('2025-03-01 05:10+00') LOOP COMMIT; END LOOP;
		COMMIT;
		WHILE trace_ext_internal.anomaly_step() > 0 LOOP COMMIT; END LOOP;
		COMMIT;
		FOR i IN 1 .. 3 LOOP
			PERFORM trace_ext_internal.evaluate_alerts('2025-03-01 06:00+00');
			COMMIT;
		END LOOP;
	END $$;
});
$node->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE undisturbed") foreach qw(untouched killed);

# All that they keep, but for when they looked; and what is left to do.
sub outcome
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT to_jsonb(a) FROM trace_ext.anomalies a ORDER BY id;
		SELECT to_jsonb(p) FROM trace_ext.anomaly_parts p ORDER BY anomaly_id, trace_id;
		SELECT to_jsonb(b) - 'computed_at' FROM trace_ext.baseline_metrics b ORDER BY service_name, kind, operation;
		SELECT name, state, value FROM trace_ext.alerts ORDER BY name;
		SELECT name, was, state FROM trace_ext.alert_history ORDER BY id;
		SELECT count(*) FROM trace_ext.anomaly_queue;
		SELECT count(*) FROM trace_ext.baseline_deltas;
		SELECT from_hour, until_hour FROM trace_ext.baseline_state;});
}

my $started = time();
$node->safe_psql('undisturbed', 'CALL work()');
my $takes = time() - $started;
my $expected = outcome('undisturbed');
note sprintf('undisturbed: %.1f s, %d lines', $takes, scalar(split(/\n/, $expected)));
cmp_ok($node->safe_psql('undisturbed', 'SELECT count(*) FROM trace_ext.anomalies'), '>', 3, 'there is something to find');
like($expected, qr/^critical finding\|firing/m, 'and to alert');

# Six times, and as often as it takes for one that was in mid-run: a run may end before, as
# the machine is less busy than it was, and leaves nothing to do for the next one of its store.
my $hits = 0;
my @kills = ('pg_terminate_backend()', 'kill -9');
for (my $n = 0; $n < 6 || ($n < 40 && !$hits); $n++)
{
	my $how = $kills[ $n % 2 ];
	$node->safe_psql('postgres', $_) foreach $n >= 6 ? ('DROP DATABASE killed', 'CREATE DATABASE killed TEMPLATE untouched') : ();
	my ($out, $err) = ('', '');
	my $wait = rand($takes * 0.4);
	# Within the server, as the run takes tenths of a second only.
	my $killer = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', sprintf(q{
		DO $$
		DECLARE
			victim int;
		BEGIN
			FOR i IN 1 .. 4000 LOOP
				SELECT pid INTO victim FROM pg_stat_activity WHERE application_name = 'victim' AND query = 'CALL work()' AND state = 'active';
				EXIT WHEN victim IS NOT NULL;
				PERFORM pg_stat_clear_snapshot(), pg_sleep(0.002);
			END LOOP;
			PERFORM pg_sleep(%s);
			%s
		END
		$$}, $wait, $how eq 'kill -9' ? q{EXECUTE format('COPY (SELECT) TO PROGRAM %L', 'kill -9 ' || victim);} : 'PERFORM pg_terminate_backend(victim);') ],
		'<', \undef, '>', \my $ignored, '2>', \my $complaints);
	my $victim = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('killed') . " application_name=victim", '-c', 'CALL work()' ],
		'<', \undef, '>', \$out, '2>', \$err);
	$victim->finish;
	$killer->finish;
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
	$hits++ if $err =~ /terminat|closed the connection|reset/;
	note "$how: " . ($err =~ /(.*)/)[0];
}
cmp_ok($hits, '>', 0, "killed in mid-run $hits times");
$node->safe_psql('killed', 'CALL work()');
is(outcome('killed'), $expected, 'killed again and again, then run: the same');
$node->safe_psql('killed', 'CALL work()');
is(outcome('killed'), $expected, 'once more: still the same');
is($node->safe_psql('killed', 'SELECT * FROM trace_ext.verify_summaries()'), '', 'and exact');

$node->stop;
done_testing();
