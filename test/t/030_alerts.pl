# 030_alerts.pl
#		Alerts fire and are resolved by themselves, listeners hear of it or can ask for
#		what they missed, and a crash, a second database and a standby change nothing of it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use TraceExtTest;

my $node = new_node('alerts', shared_preload_libraries => 'trace_ext', restart_after_crash => 'on', max_worker_processes => 12,
	'trace_ext.naptime' => '2s', init => [ allows_streaming => 1 ]);

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }

sub becomes
{
	my ($query, $name, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return if ok($node->poll_query_until($db // 'postgres', $query), $name);
	diag(sql('SELECT * FROM trace_ext.alerts; SELECT name, attempts, next_run, last_error FROM trace_ext.jobs; SELECT * FROM trace_ext.workers()', $db));
}

sub finding
{
	my ($id, $status) = @_;
	return "INSERT INTO trace_ext.findings (id, kind, variable, severity, confidence, confirmed, occurrences, status)
		VALUES ('" . uuid(1, $id) . "', 'lost update', 'x$id', 'CRITICAL', 1, true, 1, '$status')";
}

sub state_of { return sql("SELECT state FROM trace_ext.alerts WHERE name = '$_[0]'", $_[1]); }

# Sooner than every 15 s.
sql(q{SELECT trace_ext.alter_job('alerts', "interval" => '1 s')});

#
# A finding: it fires at once, and a listener hears of it
#

becomes("SELECT count(*) = 2 AND bool_and(evaluated_at IS NOT NULL) FROM trace_ext.alerts", 'the rules that came with the extension are judged');
my $out = hear($node, 'LISTEN trace_ext_alerts;', finding(1, 'open'), qr/"trace_ext_alerts" with payload/);
my ($payload) = $out =~ /"trace_ext_alerts" with payload "(.*)" received/;
is(sql("SELECT p ->> 'count', p #>> '{alerts,0,name}', p #>> '{alerts,0,state}' FROM (SELECT '" . ($payload // '{}') . "'::jsonb) AS j (p)"),
	'1|critical finding|firing', 'a listener hears of what fires');
my $heard = sql("SELECT '" . ($payload // '{}') . "'::jsonb ->> 'id'");
is(sql("SELECT count(*) FROM trace_ext.sent_announcements WHERE id = $heard AND payload = '$payload'"), '1', 'by the id and payload that are kept');
is(sql('SELECT alerts_firing FROM trace_ext.status'), '1', 'status counts it');

#
# At rest: it fires as long as nobody acts, and needs no process for that
#

$node->poll_query_until('postgres', "SELECT state = 'asleep' FROM trace_ext.workers() WHERE kind = 'worker' AND database = 'postgres'");
my $judged = sql("SELECT last_started FROM trace_ext.jobs WHERE name = 'alerts'");
sleep(5);
is(sql("SELECT last_started FROM trace_ext.jobs WHERE name = 'alerts'"), $judged, 'a database at rest is not looked at, whatever fires');
is(state_of('critical finding'), 'firing', 'and it fires');
sql("SELECT trace_ext.set_finding_status('" . uuid(1, 1) . "', 'acknowledged')");
becomes("SELECT state = 'resolved' FROM trace_ext.alerts WHERE name = 'critical finding'", 'a decision wakes who resolves it');
becomes("SELECT count(*) > 0 FROM trace_ext.changes_since('trace_ext_alerts', $heard)", 'which is announced');
is(sql("SELECT string_agg((p #>> '{alerts,0,name}') || ' ' || (p #>> '{alerts,0,state}'), ', ' ORDER BY id) FROM trace_ext.changes_since('trace_ext_alerts', $heard) AS c (id, at, p)"),
	'critical finding resolved', 'a listener that was away asks for it');

#
# Errors that clients send, while it is so
#

sql(q{INSERT INTO trace_ext.alert_rules (name, metric, service, threshold, hold) VALUES ('pay fails', 'error_rate', 'pay', 0.2, '3 s'), ('shop fails', 'error_rate', 'shop', 0.2, '3 s')});
becomes("SELECT count(*) = 2 FROM trace_ext.alerts WHERE name LIKE '% fails' AND evaluated_at IS NOT NULL", 'new rules are judged');
my $send = q{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, service_name)
	SELECT gen_random_uuid(), gen_random_uuid(), now(), CASE WHEN i % 3 = 0 THEN 'Error' ELSE 'Custom' END::trace_ext.event_kind, CASE WHEN i % 3 = 1 THEN 'shop' ELSE 'pay' END
	  FROM generate_series(1, 30) i};
sql($send);
becomes("SELECT state IN ('pending', 'firing') FROM trace_ext.alerts WHERE name = 'pay fails'", 'what fails is noticed');
becomes("SELECT state = 'firing' FROM trace_ext.alerts WHERE name = 'pay fails'", 'and fires after a while');
is(state_of('shop fails'), 'inactive', 'what does not fail does not');
is(sql("SELECT string_agg(state::text, ', ' ORDER BY id) FROM trace_ext.alert_history WHERE name = 'pay fails'"), 'pending, firing', 'the history has it');
cmp_ok(sql("SELECT extract(epoch FROM max(at) FILTER (WHERE state = 'firing') - max(at) FILTER (WHERE state = 'pending')) FROM trace_ext.alert_history WHERE name = 'pay fails'"),
	'>=', 3, 'not before its time');

#
# A crash
#

my $since = sql("SELECT since FROM trace_ext.alerts WHERE name = 'pay fails'");
crash($node);
is(sql("SELECT state, since FROM trace_ext.alerts WHERE name = 'pay fails'"), "firing|$since", 'after a crash it fires as before');
$judged = sql("SELECT evaluated_at FROM trace_ext.alerts WHERE name = 'pay fails'");
becomes("SELECT evaluated_at > '$judged' FROM trace_ext.alerts WHERE name = 'pay fails'", 'and is judged again');
is(sql("SELECT state, since FROM trace_ext.alerts WHERE name = 'pay fails'"), "firing|$since", 'to the same');
sql(q{DELETE FROM trace_ext.alert_rules WHERE name = 'pay fails'});
becomes("SELECT state = 'resolved' FROM trace_ext.alerts WHERE name = 'pay fails'", 'it is resolved when its rule is gone');

#
# Another database
#

sql('CREATE DATABASE second');
sql(q{CREATE EXTENSION trace_ext; SELECT trace_ext.alter_job('alerts', "interval" => '1 s'); } . finding(2, 'open'), 'second');
becomes("SELECT state = 'firing' FROM trace_ext.alerts WHERE name = 'critical finding'", 'another database has its own', 'second');
isnt(state_of('critical finding'), 'firing', 'and this one is not concerned');
becomes("SELECT count(*) = 1 FROM trace_ext.changes_since('trace_ext_alerts', NULL)", 'it has announcements of its own', 'second');
is(sql("SELECT count(*) FILTER (WHERE payload ? 'gap'), count(*) FILTER (WHERE payload #>> '{alerts,0,state}' = 'firing') FROM trace_ext.changes_since('trace_ext_alerts', $heard)", 'second'),
	'1|1', 'who comes from the other one is told, and gets what is there');

#
# A rule of a database that is restored
#

sql(q{UPDATE trace_ext.alert_rules SET threshold = 0.5 WHERE name = 'error rate'}, 'second');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/second';
command_ok([ 'pg_dump', '-d', $node->connstr('second'), '-Fc', '-f', $dump ], 'pg_dump');
sql('CREATE DATABASE third');
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('third'), $dump ], 'pg_restore');
is(sql("SELECT threshold FROM trace_ext.alert_rules WHERE name = 'error rate'", 'third'), '0.5', 'the rule is the changed one');
is(sql('SELECT string_agg(what || name, $$, $$ ORDER BY id) FROM trace_ext.admin_log', 'third'), sql('SELECT string_agg(what || name, $$, $$ ORDER BY id) FROM trace_ext.admin_log', 'second'),
	'the log is what it was');

#
# A standby
#

sql(finding(3, 'open'));
becomes("SELECT state = 'firing' FROM trace_ext.alerts WHERE name = 'critical finding'", 'it fires again');
becomes("SELECT total = 0 FROM trace_ext.announcements WHERE channel = 'trace_ext_alerts'", 'and is announced');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', 'SELECT state FROM trace_ext.alerts WHERE name = $$critical finding$$; SELECT alerts_firing FROM trace_ext.status'), "firing\n1", 'a standby shows what fires');
my $last = $standby->safe_psql('postgres', "SELECT max(id) FROM trace_ext.changes_since('trace_ext_alerts', $heard)");
cmp_ok($last, '>', $heard, 'and what was announced');
$node->stop('fast');
$standby->promote;
$standby->safe_psql('postgres', "UPDATE trace_ext.findings SET status = 'ignored'");
ok($standby->poll_query_until('postgres', "SELECT state = 'resolved' FROM trace_ext.alerts WHERE name = 'critical finding'"), 'promoted, it resolves');
ok($standby->poll_query_until('postgres', "SELECT count(*) = 1 AND bool_and(NOT payload ? 'gap') FROM trace_ext.changes_since('trace_ext_alerts', $last)"),
	'and who listened to the old one has missed nothing');
$standby->stop;
done_testing();
