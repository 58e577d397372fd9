# 039_router.pl
#		A router answers what a single store with the same events answers.
#
# The same random events go to a store and to routers of one, two and three nodes: in other
# batches, in another order, some of them twice, by every way in. The third node is added when half
# of the events are there, from a time on that traces run over. Then every question is asked of all
# of them, also after changes. All are databases of one cluster: what a node does that is
# down, slow or refuses is in 040_router_down.pl.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use TraceExtTest;
use RouterTest;

my $TRACES = $ENV{TEST_TRACES} // 150;

seed_random();
my $node = new_node('router', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off', fsync => 'off', max_connections => 60,
	log_line_prefix => '%d %x ', 'trace_ext.fold_threshold' => 0);
my $dir = PostgreSQL::Test::Utils::tempdir();
my @stores = qw(a1 b1 b2 c1 c2 c3);
my %router_of = (r1 => ['a1'], r2 => [ 'b1', 'b2' ], r3 => [ 'c1', 'c2' ]);
my @routers = sort keys %router_of;

sub detect_all
{
	is((try_psql($node, 'CALL trace_ext.detect_all()', db => $_))[2], '', "$_: races are looked for") foreach @_;
}

#
# The same events, in other ways
#

make_store($node, $_) foreach 'store', @stores;
foreach my $router (@routers)
{
	make_router($node, $router, map { [ $node, $_ ] } @{ $router_of{$router} });
}

# The edge is a midnight: one of a partition of the stores, and of an epoch of the last router.
my $edge = int(time / 86400) * 86400;
$edge -= 86400 if time - $edge < 7200;
my $trace;
my $edge_text = RouterTest::time_text($edge * 1e6);
my @before = @{ random_events($TRACES, $edge - 7 * 86400 - 3000, $edge) };
my @after = @{ random_events($TRACES, time - 1800) };
my ($early, $late) = ([], []);
push @{ ($_ =~ /"timestamp": "([^"]*)"/)[0] lt $edge_text ? $early : $late }, $_ foreach @before, @after;
my $all = @before + @after;
my $bad = '{"id": "7", "kind": "Error"}';

is(send_batches($node, 'store', 1000, @$early, @$late, $bad), "$all|0|1", "store: $all events");
is(send_batches($node, 'store', 100, ($bad) x 6), '0|0|6', 'and what is none');
# Seven slices by time, whatever they cut, and after each a look for races.
my @by_time = map { $_->[1] } sort { $a->[0] cmp $b->[0] } map { [ /"timestamp": "([^"]*)"/, $_ ] } @$early, @$late;
my ($inserted, $duplicates, $rejected) = (0, 0, 0);
foreach my $slice (0 .. 6)
{
	my @slice = @by_time[ int($slice * $all / 7) .. int(($slice + 1) * $all / 7) - 1 ];
	my @said = split /\|/, send_batches($node, 'r1', 300, shuffled(@slice), @slice[ 0 .. 9 ], $bad);
	$inserted += $said[0];
	$duplicates += $said[1];
	$rejected += $said[2];
	detect_all('r1');
}
is("$inserted|$duplicates|$rejected", "$all|70|7", 'one node: in slices by time, in any order within, some of it once more');

# By COPY and INSERT, half each, and then again by ingest.
$node->safe_psql('store', "COPY (SELECT * FROM trace_ext.events ORDER BY md5(id::text || 'x') LIMIT $all / 2) TO '$dir/half'");
$node->safe_psql('store', "COPY (SELECT * FROM trace_ext.events ORDER BY md5(id::text || 'x') OFFSET $all / 2) TO '$dir/other'");
$node->safe_psql('r2', "COPY trace_ext.events FROM '$dir/half'");
detect_all('r2');
$node->safe_psql('r2', "CREATE TABLE public.sent (LIKE trace_ext.events); COPY public.sent FROM '$dir/other';
	INSERT INTO trace_ext.events SELECT * FROM public.sent; INSERT INTO trace_ext.events SELECT * FROM public.sent ON CONFLICT DO NOTHING; DROP TABLE public.sent;");
is(send_batches($node, 'r2', 1000, shuffled(@$early), ($bad) x 7), sprintf('0|%d|7', scalar @$early), 'two nodes: by COPY and INSERT, then the same by ingest_events()');

is(send_batches($node, 'r3', 500, shuffled(@$early), @$early[ 0 .. 49 ]), sprintf('%d|50|0', scalar @$early), 'two of three nodes: what is before the edge');
$node->safe_psql('r3', sprintf(q{SELECT trace_ext.add_node('c3', $c$%s$c$, '%s')}, conninfo($node, 'c3'), $edge_text));
is(send_batches($node, 'r3', 700, shuffled(@$late), @$early[ 50 .. 99 ], ($bad) x 7), sprintf('%d|50|7', scalar @$late), 'three nodes: what is after it, and some from before once more');
cmp_ok($node->safe_psql('c3', 'SELECT count(*) FROM trace_ext.events'), '>', 0, 'the third node has its part');
my $straddlers = $node->safe_psql('store', sprintf(q{SELECT count(*) FROM (SELECT FROM trace_ext.events GROUP BY trace_id
	HAVING min("timestamp") < '%1$s' AND max("timestamp") >= '%1$s') s}, $edge_text));
cmp_ok($straddlers, '>', 0, "$straddlers traces run over the edge");

#
# All answers
#

sub compare_all
{
	my ($what, $questions, @routers) = @_;
	# What is folded and what is outstanding has quantiles of different grain.
	$node->safe_psql($_, 'SELECT trace_ext.fold()') foreach 'store', @stores;
	my $answers = ask($node, 'store', $questions);
	my @failed = grep { $answers->{$_}[0] =~ /^ERROR/ } sort keys %$answers;
	is(join(', ', map { "$_: $answers->{$_}[1]" } @failed), '', "$what: the store answers all");
	foreach my $router (@routers)
	{
		# What is asked of single traces takes the longest: the last router is asked all of it.
		my @names = grep { $router eq 'r3' || !/[0-9a-f]{12}$/ || /$trace$/ } keys %$questions;
		my %part;
		@part{@names} = @$questions{@names};
		same_answers_ok(ask($node, $router, \%part), { map { $_ => $answers->{$_} } @names }, "$what, $router of " . scalar(@{ $router_of{$router} }) . ' nodes at first');
	}
}

detect_all('store', @routers);
my $questions = questions($node, 'store', $edge_text);
($trace) = $questions->{'compare_traces'} =~ /\('([^']*)'/;
is(join(', ', not_covered($node, 'store', $questions)), '', 'every function is asked, or there is a reason not to');
compare_all('all', $questions, @routers);

sub exact_everywhere
{
	my ($what) = @_;
	is(join('', map { $node->safe_psql($_, "SELECT '$_', * FROM trace_ext.verify_summaries()") } @stores), '', "$what: sums are exact on each node");
}
exact_everywhere('all');

#
# What nodes are asked
#

# remote DATABASE, SQL: [node, statement] of each statement on events that nodes were sent while the router answered. Events of
# traces come packed: those calls name their traces.
sub remote
{
	my ($db, $sql) = @_;
	my $offset = -s $node->logfile;
	$node->safe_psql($db, $sql);
	my $log = slurp_file($node->logfile, $offset);
	my $nodes = join '|', @stores;
	my @sent;
	while ($log =~ /^($nodes) \d+ LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)(?:\n\1 \d+ DETAIL:  [Pp]arameters: (.*(?:\n\t.*)*))?/gm)
	{
		my @statement = ($1, $2);
		# What is asked is a parameter, which the log quotes as a literal.
		my %parameters = defined $3 ? $3 =~ /\$(\d+) = ('(?:[^']|'')*')/g : ();
		$statement[1] =~ s/\$(\d+)/$parameters{$1} \/\/ "\$$1"/ge;
		push @sent, \@statement if $statement[1] =~ /FROM trace_ext_internal\.(?:events_of_epoch_\d|packed_events\()/;
	}
	return @sent;
}

# What these return, in bytes of text.
sub bytes_of
{
	my $bytes = 0;
	foreach (@_)
	{
		my ($db, $sql) = @$_;
		my ($select) = $sql =~ /^DECLARE \w+ CURSOR FOR\s+(.*)/s or next;
		next if $select =~ /\$\d/;
		$bytes += $node->safe_psql($db, "SELECT coalesce(sum(length(x::text)), 0) FROM ($select) x");
	}
	return $bytes;
}

foreach my $question ("find_races('$trace')", "trace_events('$trace')", "waterfall('$trace')", "audit_trail('$trace', 'shop.v1')",
	"trace_analysis('$trace')", "find_variable_races('shop.v1', '$edge_text')")
{
	my @sent = remote('r3', "SELECT * FROM trace_ext.$question");
	my @statements = map { $_->[1] } @sent;
	my @by_time = grep { !/packed_events\(''\{[0-9a-f,-]+\}''/ } @statements;
	my @unbounded = grep { !/"timestamp" =/ && (!/"timestamp" >/ || !/"timestamp" </) } @by_time;
	@unbounded = grep { !/"timestamp" >/ } @by_time if $question =~ /^find_var/;
	ok(@sent > 0, "$question asks nodes for events");
	is(join("\n", @unbounded), '', "$question: each question that a node is asked has bounds of time, or names traces");
}

# Of a trace, or of it and what ran beside it, not of all that there is.
my $stored = $node->safe_psql('store', 'SELECT sum(length(e::text)) FROM trace_ext.events e');
foreach my $question ("find_races('$trace')", "trace_events('$trace')", "waterfall('$trace')")
{
	my $moved = bytes_of(remote('r3', "SELECT * FROM trace_ext.$question"));
	cmp_ok($moved, '>', 0, "$question: something is moved");
	cmp_ok($moved, '<', ($question =~ /trace_events/ ? 0.1 : 0.5) * $stored, "$question: $moved bytes of $stored");
}

#
# Changes
#

my @around = map { RouterTest::time_text($edge * 1e6 + $_) } -20_000, 20_000;
my $changes = qq{
	DELETE FROM trace_ext.events WHERE trace_id = '$trace';
	DELETE FROM trace_ext.events WHERE id < '10000000-0000-0000-0000-000000000000';
	DELETE FROM trace_ext.events WHERE "timestamp" BETWEEN '$around[0]' AND '$around[1]';
	UPDATE trace_ext.events SET service_name = 'renamed', kind = 'Custom' WHERE id > 'f0000000-0000-0000-0000-000000000000';};
$node->safe_psql($_, $changes) foreach 'store', @routers;
my %fewer = map { $_ => $questions->{$_} } grep { /^(events|causal|cross|distributed|event_counts|services|state_changes|trace_|count|list|one|accesses|find_variable|status|throughput|request_log|service_calls|service_map)/ && !/[0-9a-f]{12}$/ } keys %$questions;
# Where something was taken away from a histogram its ends are those of buckets, in a store of all and in a node of some.
$fewer{"$_, added up"} = "SELECT service_name, kind, calls, errors, trace_ext.total_count(latency), trace_ext.total_sum(latency) FROM trace_ext.$_" foreach qw(latencies kind_latencies total_latencies);
compare_all('after DELETE and UPDATE', \%fewer, 'r2', 'r3');
exact_everywhere('after DELETE and UPDATE');

# A change is seen by who made it, and by nobody once it is taken back.
my $count = $node->safe_psql('store', 'SELECT trace_ext.count_events(), trace_ext.count_traces()');
is($node->safe_psql('r3', q{BEGIN; DELETE FROM trace_ext.events WHERE service_name = 'bank'; SELECT trace_ext.count_events() = (SELECT count(*) FROM trace_ext.events);
	ROLLBACK; SELECT trace_ext.count_events(), trace_ext.count_traces();}), "t\n$count", 'own changes count, until they are taken back');

my $delete = "BEGIN; DELETE FROM trace_ext.events WHERE %s; SELECT trace_ext.count_events(), (SELECT count(*) FROM trace_ext.events WHERE %s); ROLLBACK;";
foreach my $condition (q{"timestamp" < (SELECT now() - interval '6 days')}, "trace_id = '$trace'", "service_name = 'bank' AND kind = 'StateChange'", 'true')
{
	my $left = $node->safe_psql('store', "SELECT count(*) FROM trace_ext.events WHERE NOT ($condition)");
	is($node->safe_psql('r3', sprintf($delete, $condition, $condition)), "$left|0", "$condition: is deleted, and nothing else");
}
foreach my $condition ("md5(id::text) < '1'", q{"timestamp" < now() - interval '6 days'})
{
	my (undef, undef, $message) = try_psql($node, sprintf($delete, $condition, $condition), db => 'r3');
	like($message, qr/only by conditions that its nodes can judge/, "$condition: is refused, with a hint how to write it");
}
foreach (["UPDATE trace_ext.events SET trace_id = md5('x')::uuid WHERE service_name = 'bank'", qr/trace_id/, 'an event cannot move to another node'],
	["TRUNCATE trace_ext.events", qr/truncate/, 'nor are all of them emptied'],
	["BEGIN; DELETE FROM trace_ext.events WHERE service_name = 'bank'; PREPARE TRANSACTION 'p';", qr/prepare/i, 'nor is a transaction over nodes prepared'])
{
	my ($sql, $says, $what) = @$_;
	my (undef, undef, $err) = try_psql($node, $sql, db => 'r3');
	like($err, $says, $what);
}

# Each node has retention of its own, which comes again for a partition that is just being analysed.
foreach my $db ('store', @stores)
{
	$node->safe_psql($db, q{CALL trace_ext.maintain_partitions(); SET trace_ext.retention_age = '3 days';
		DO $$ DECLARE again boolean; BEGIN LOOP CALL trace_ext.job_retention(again); EXIT WHEN NOT again; END LOOP; END $$});
}
$node->safe_psql($_, 'SELECT trace_ext.fold()') foreach 'store', @stores;
cmp_ok($node->safe_psql('store', 'SELECT count(*) FROM trace_ext.events'), '<', (split /\|/, $count)[0], 'retention takes what is old');
compare_all('after retention', { map { $_ => $fewer{$_} } qw(events event_counts trace_summaries count_events count_traces services), 'list_traces 10000' }, @routers);
exact_everywhere('after retention');

#
# Names, clocks, locks and values of all shapes come from a node as they are there
#

make_store($node, $_) foreach qw(plain far);
make_router($node, 'near', [ $node, 'far' ]);
foreach my $db ('plain', 'near')
{
	$node->safe_psql($db, q{
		INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes, causality_vector, lock_set, duration_ns, tags)
		SELECT md5('t' || t)::uuid, md5(format('%s %s', t, n))::uuid, CASE WHEN n > 1 THEN md5(format('%s %s', t, n - 1))::uuid END, timestamptz '2026-03-02 10:00Z' + (n * 10 + t) * interval '1 ms',
			(ARRAY['FunctionCall', 'LockAcquire', 'StateChange', 'StateChange', 'LockRelease', 'Error'])[n]::trace_ext.event_kind, (ARRAY['prüfe', 'schloß', 'größe', 'größe', 'schloß', 'Fehler: ü'])[n], 'Zürich', 'räum', t, 'fädchen',
			(ARRAY['{"file": "prüfe.js", "line": 7}', '{"lock_type": "Semaphore", "location": "a.js:1"}', '{"access_type": "Read", "new_value": {"ö": [1, 2.50, null, true, "ä"]}, "location": "lies.js:1"}',
				format('{"access_type": "Write", "old_value": {"ö": [1, 2.50, null, true, "ä"]}, "new_value": "ö%s", "location": "schreib.js:2"}', t), '{"lock_type": "Semaphore"}', '{"message": "ü"}'])[n]::jsonb,
			format('{"Zürich-%s": %s}', t, n)::jsonb, ARRAY['schloß', 'tür'], n * 1000, '{"task_id": "täsk"}'
		  FROM generate_series(1, 2) t, generate_series(1, 6) n});
}
my %shapes = map { $_ => "ordered SELECT * FROM trace_ext.$_" } map({ "$_(md5('t1')::uuid)" } qw(find_races trace_tree waterfall trace_anomalies causal_order)), "find_variable_races('größe')";
my ($plain, $near) = map { ask($node, $_, \%shapes) } qw(plain near);
same_answers_ok($near, $plain, 'of all shapes');
like($plain->{"find_variable_races('größe')"}[1], qr/ö[12]/, 'there is a race to be told');

#
# What is offered
#

my $signatures = q{SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'trace_ext'::regnamespace ORDER BY 1};
my $views = q{SELECT c.oid::regclass, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE relnamespace = 'trace_ext'::regnamespace AND relkind IN ('r', 'v', 'p') AND NOT relispartition GROUP BY 1 ORDER BY 1};
foreach (['function', $signatures], ['table and view', $views])
{
	my ($what, $sql) = @$_;
	my %has = map { $_ => 1 } split /\n/, $node->safe_psql('r1', $sql);
	is(join("\n", grep { !$has{$_} } split /\n/, $node->safe_psql('store', $sql)), '', "a router has each $what of a store, under the same name");
}
# Where it does something else than to ask, it takes the same.
my $decide = q{SELECT trace_ext.set_anomaly_status(gen_random_uuid(), NULL::trace_ext.anomaly_status), trace_ext.set_anomaly_status(NULL, 'open'::trace_ext.anomaly_status),
	trace_ext.set_anomaly_status(gen_random_uuid(), 'open')};
is($node->safe_psql('r3', $decide), $node->safe_psql('store', $decide), 'who decides about an anomaly that is not there is told so');

done_testing();
