# 029_quota.pl
#		trace_ext.ingest_quota: no second of a role has more events than its quota, in all its
#		sessions together, and no role gets rid of its own.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use TraceExtTest;

my $node = new_node('quota', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off');
$node->safe_psql('postgres', q{
	CREATE ROLE a LOGIN IN ROLE trace_ext_writer; CREATE ROLE b LOGIN IN ROLE trace_ext_writer;
	CREATE ROLE c LOGIN; CREATE ROLE free LOGIN IN ROLE trace_ext_writer; GRANT free TO a;
	ALTER ROLE a SET trace_ext.ingest_quota = 100; ALTER ROLE b SET trace_ext.ingest_quota = 100; ALTER ROLE c SET trace_ext.ingest_quota = 100;
	-- A batch of events that are new each time, or the same where it has a seed.
	CREATE FUNCTION public.batch(n int, seed text DEFAULT random()::text) RETURNS text LANGUAGE sql VOLATILE AS $$
		SELECT '[' || string_agg(format('{"id": "%s", "trace_id": "%s", "timestamp": "2026-01-02T03:04:05Z", "kind": "Custom"}', md5(seed || i), md5(seed)), ',') || ']'
		  FROM generate_series(1, n) i $$;
	CREATE FUNCTION public.spans(n int) RETURNS text LANGUAGE sql VOLATILE AS $$
		SELECT '{"resourceSpans": [{"scopeSpans": [{"spans": [' || string_agg(format('{"traceId": "%s", "spanId": "%s", "startTimeUnixNano": 1795785303594975307}',
			md5(random()::text), left(md5(random()::text), 16)), ',') || ']}]}]}' FROM generate_series(1, n) i $$;
	CREATE FUNCTION public.send(batch text) RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER AS 'SELECT inserted FROM trace_ext.ingest_events(batch)';
});

# as ROLE, SQL: rows of it, or its SQLSTATE and message.
sub as
{
	my ($role, $sql, %options) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql", extra_params => [ '-U', $role ], on_error_stop => 0, %options);
	$err =~ s/^LOCATION.*\n?//mg;
	return $err eq '' ? $out : "$out\n$err";
}

sub events { my ($n) = @_; return "SELECT inserted FROM trace_ext.ingest_events(public.batch($n));\n"; }
my $refused = qr/ERROR:  53400: more events than trace_ext.ingest_quota of role "\w+": 100 a second/;

# Between two sections the windows are empty again.
sub rest { sleep 1.3 }

# What has to come within the second of what came before it is sent in its session: a new one may take longer than
# that to begin where the machine is busy.

# One role.
my $said = as('a', events(60) . events(60));
like($said, qr/^60$/m, 'within the quota');
like($said, $refused, 'beyond it');
like($said, qr/DETAIL:  60 came within a second, and 60 with this batch, of which none are stored/, 'it says how many came');
my ($seconds) = $said =~ /HINT:  Send the batch again in ([0-9.]+) seconds/;
cmp_ok($seconds, '>', 0, "when to come back: $seconds s");
cmp_ok($seconds, '<=', 1.2, 'within the window');
sleep $seconds;
like(as('a', events(60)), qr/^60$/, 'then it fits');
is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.events'), '120', 'nothing of the refused batch was stored');
is($node->safe_psql('postgres', 'SELECT refused_by_quota FROM trace_ext.status'), '60', 'status');
is($node->safe_psql('postgres', q{SELECT string_agg(name || ' ' || value, ', ' ORDER BY name) FROM trace_ext.metrics WHERE name LIKE 'trace_ext_quota%'}),
	'trace_ext_quota_refused_batches_total 1, trace_ext_quota_refused_events_total 60', 'metrics');

# Of others nothing is taken.
is(as('free', events(1000)), '1000', 'a role without one');
$said = as('b', events(100) . events(1));
like($said, qr/^100$/m, 'another role');
like($said, $refused, 'a full window takes no single event');

# What counts: duplicates, spans, what is refused, what is rolled back.
# counts_ok SQL, ROWS, NAME, [MORE]: that fills the window, so that no more is taken.
sub counts_ok
{
	my ($sql, $rows, $name, %more) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	rest();
	my @more = (events => events(1), map { ($_ => $more{$_}) } sort keys %more);
	while (my ($what, $one) = splice(@more, 0, 2))
	{
		my $answer = as('a', "$sql\n$one");
		like($answer, qr/^\Q$rows\E\n/, $name);
		like($answer, $refused, "$name: counts for $what");
		rest() if @more;
	}
}
counts_ok("SELECT inserted FROM trace_ext.ingest_events(public.batch(50, 'x'));\nSELECT duplicates FROM trace_ext.ingest_events(public.batch(50, 'x'));", "50\n50", 'duplicates pass');
counts_ok("BEGIN;\n" . events(100) . 'ROLLBACK;', '100', 'a batch that is rolled back');
counts_ok('SELECT inserted FROM trace_ext.ingest_otlp(public.spans(100));', '100', 'spans',
	'spans' => 'SELECT inserted FROM trace_ext.ingest_otlp(public.spans(1));',
	'spans in bytes' => "SELECT inserted FROM trace_ext.ingest_otlp(convert_to(public.spans(1), 'UTF8'));",
	'events of jsonb' => 'SELECT inserted FROM trace_ext.ingest_events(public.batch(1)::jsonb);');
is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.otlp_resources'), '1', 'one resource so far');
counts_ok("SELECT rejected FROM trace_ext.ingest_events('[' || repeat('1,', 99) || '1]');", '100', 'refused events',
	'those that would be refused' => "SELECT rejected FROM trace_ext.ingest_events('[1]');");
is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.ingest_errors'), '200', 'and are not kept either');
is(as('a', "SELECT inserted FROM trace_ext.ingest_events('[]');"), '0', 'an empty batch passes');

# A batch that is larger than the quota passes alone, and is paid for after it.
rest();
$said = as('a', events(250) . events(1) . events(100) . "SELECT pg_sleep(1.3);\n" . events(1));
like($said, qr/^250\n/, 'a batch larger than the quota');
my @waits = $said =~ /$refused.*?again in ([0-9.]+) seconds/sg;
is(scalar(@waits), 3, 'nothing after it, also when a second has passed');
cmp_ok($waits[1], '>', 1.3, "for as long as the quota needs for it: $waits[1] s");
cmp_ok($waits[1], '<=', 2.5, 'not longer');
# It was sent more than 1.3 s before its session ended.
sleep 1.3;
$said = as('a', events(1) . events(250));
like($said, qr/^1$/m, 'then it sends again');
like($said, $refused, 'a large one needs an empty window');

# Sessions together; those that are refused try again. In no second there are more than 100.
rest();
# Of each batch it is known after when it came, and before when.
$node->safe_psql('postgres', 'CREATE TABLE sent (after timestamptz, before timestamptz, n int); GRANT ALL ON sent TO PUBLIC');
my $begin = time;
my @children;
for (1 .. 4)
{
	my ($out, $err);
	my $in = join('', map { "SELECT clock_timestamp() AS after \\gset\nSELECT inserted FROM trace_ext.ingest_events(public.batch(7)) \\gset\n\\if :{?inserted}\nINSERT INTO sent VALUES (:'after', clock_timestamp(), 7);\n\\endif\n\\unset inserted\nSELECT pg_sleep(0.02);\n" } 1 .. 150);
	push @children, { in => $in, h => IPC::Run::start([ 'psql', '-XAtq', '-U', 'a', '-h', $node->host, '-p', $node->port, '-d', 'postgres' ], '<', \$in, '>', \$out, '2>', \$err) };
}
$_->{h}->finish for @children;
my $took = time - $begin;
my ($all, $most) = split /\|/, $node->safe_psql('postgres', q{
	SELECT sum(n), (SELECT max(s) FROM (SELECT (SELECT sum(i.n) FROM sent i WHERE i.after >= f.after AND i.before <= f.after + interval '0.9 seconds') AS s FROM sent f) w) FROM sent});
cmp_ok($most, '<=', 100, "four sessions at once: at most $most in any second");
cmp_ok($all, '<=', 100 * ($took + 1), "$all in all, in $took s");
cmp_ok($all, '>=', 50 * ($took - 1), 'and the quota is used');

# A backend that dies takes nothing with it, and leaves no lock behind.
rest();
{
	# For five seconds.
	my ($in, $out, $err) = (events(500), '', '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-U', 'a', '-h', $node->host, '-p', $node->port, '-d', 'postgres' ], '<', \$in, '>', \$out, '2>', \$err);
	$session->pump until $out =~ /\n/;
	is($out, "500\n", 'a full window');
	$node->safe_psql('postgres', 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $$a$$');
	$in .= "SELECT 1;\n\\q\n";
	eval { $session->finish };
	like(as('a', events(1)), $refused, 'is full for other sessions');
}

# No role lifts its own quota.
my $denied = qr/42501: permission denied to set parameter "trace_ext.ingest_quota"/;
like(as('a', 'SET trace_ext.ingest_quota = 0;'), $denied, 'SET');
like(as('a', 'RESET trace_ext.ingest_quota;'), $denied, 'RESET');
like(as('a', "SELECT set_config('trace_ext.ingest_quota', '0', false);"), $denied, 'set_config()');
like(as('a', 'ALTER ROLE a SET trace_ext.ingest_quota = 0;'), $denied, 'ALTER ROLE SET');
like(as('a', 'ALTER ROLE a RESET trace_ext.ingest_quota;'), $denied, 'ALTER ROLE RESET');
is(as('a', 'ALTER ROLE a RESET ALL;'), '', 'ALTER ROLE RESET ALL leaves it');
like(as('a', "CREATE FUNCTION pg_temp.f() RETURNS bigint LANGUAGE sql SET trace_ext.ingest_quota = 0 AS 'SELECT inserted FROM trace_ext.ingest_events(public.batch(1))';\nSELECT pg_temp.f();"), $denied, 'a function');
for (1 .. 100)
{
	last if as('a', events(1)) eq '1';
	sleep 0.2;
}
rest();
like(as('a', events(100) . "RESET ALL;\nDISCARD ALL;\n" . events(1)), $refused, 'RESET ALL, DISCARD ALL');
rest();
like(as('a', events(100) . "SET ROLE free;\n" . events(1)), $refused, 'SET ROLE');
like(as('a', 'SET SESSION AUTHORIZATION free;'), qr/42501/, 'SET SESSION AUTHORIZATION');
{
	local $ENV{PGOPTIONS} = '-c trace_ext.ingest_quota=0';
	my ($ret, $out, $err) = $node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'a' ]);
	like($err, qr/permission denied to set parameter "trace_ext.ingest_quota"/, 'options of the connection');
}
is(as('a', 'SELECT rolconfig FROM pg_roles WHERE rolname = $$a$$;'), '{trace_ext.ingest_quota=100}', 'it is as it was');

# Through a function of an owner who may insert.
rest();
like(as('c', events(1)), qr/42501: permission denied/, 'a role without the right to insert');
$said = as('c', "SELECT public.send(public.batch(100));\nSELECT public.send(public.batch(1));");
like($said, qr/^100$/m, 'through a function it may');
like($said, $refused, 'within its quota');

# More roles than there are windows: the one used least lately gives way, the latest stay.
$node->safe_psql('postgres', 'DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format($f$CREATE ROLE r%s LOGIN IN ROLE trace_ext_writer$f$, i); END LOOP; END $$');
$node->safe_psql('postgres', "SET trace_ext.ingest_quota = 1;\n" . join('', map { "SET SESSION AUTHORIZATION r$_;\n" . events(1) } 1 .. 300) . "SET SESSION AUTHORIZATION r300;");
like($node->safe_psql('postgres', "SELECT count(*) FROM trace_ext.events"), qr/^\d+$/, '300 roles');
my ($ret, $out, $err) = $node->psql('postgres', "SET trace_ext.ingest_quota = 100;\nSET SESSION AUTHORIZATION r300;\n" . events(100) . events(1));
like($err, qr/ingest_quota of role "r300"/, 'the last one has a window of its own');

# Not preloaded: refused where it is set, and said.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
like(as('postgres', "SELECT count(*) >= 0 FROM trace_ext.events WHERE trace_ext.operation(kind, name) IS NOT NULL;\nLOAD 'trace_ext';\nSET trace_ext.ingest_quota = 10;"),
	qr/55000: invalid value for parameter "trace_ext.ingest_quota": 10\nDETAIL:  There are no quotas where the server does not preload the library/, 'without preload it is refused');
like(as('a', events(1000)), qr/WARNING:  55000: invalid value for parameter "trace_ext.ingest_quota": 100\n(.*\n)*/, 'a role that has one is told');
is($node->safe_psql('postgres', 'SELECT refused_by_quota IS NULL FROM trace_ext.status'), 't', 'status');

$node->stop;
done_testing();
