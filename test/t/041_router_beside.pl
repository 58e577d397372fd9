# 041_router_beside.pl
#		The same events sent to a router by several clients at once.
#
# postgres_fdw has one snapshot a transaction on a node, in which ON CONFLICT DO NOTHING fails
# where another client has committed the same event since; and a wait for each other over two nodes is seen by
# neither. So: no sender gets an error, each event is inserted once, and none waits for ever.

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

my $CLIENTS = 4;

seed_random();
my $node = new_node('router', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off', fsync => 'off', max_connections => 60,
	statement_timeout => '60s');
my $dir = PostgreSQL::Test::Utils::tempdir();
make_store($node, $_) foreach qw(store n1 n2 n3);
make_router($node, 'r', map { [ $node, $_ ] } qw(n1 n2 n3));

sub exact
{
	my ($what) = @_;
	is(join('', map { $node->safe_psql($_, 'SELECT * FROM trace_ext.verify_summaries()') } qw(n1 n2 n3)), '', "$what: sums are exact on each node");
}

#
# One waits for the other, and finds what that committed
#

my @events = @{ random_events(30, time - 3600) };
my $all = @events;
my $send = sub { 'SELECT inserted, duplicates, rejected FROM trace_ext.ingest_events($json$' . json_batch(@_) . '$json$::text)' };
my $first = $node->background_psql('r', on_error_stop => 0);
my $second = $node->background_psql('r', on_error_stop => 0);
$first->query_safe('BEGIN');
is($first->query($send->(@events)), "$all|0|0", 'a client has sent, and not committed');
# Its snapshots on the nodes are of before.
$second->query_safe('BEGIN; SELECT count(*) FROM trace_ext.events');
my $more = int($all / 3);
my @some = shuffled(@events[ 0 .. $more - 1 ], @{ random_events(5, time - 1800) });
$second->query_until(qr/sent/, "\\echo sent\n" . $send->(@some) . ";\n");
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'speculative token')}), 'another one waits for it');
$first->query_safe('COMMIT');
my $new = @some - $more;
is($second->query('SELECT 1') =~ s/\n?1$//r, "$new|$more|0", 'when it commits, what both sent are duplicates');
is($second->query('COMMIT; SELECT 1'), '1', 'and what is new is stored');
is($second->{stderr}, '', 'without an error');
is($node->safe_psql('r', 'SELECT trace_ext.count_events()'), $all + $new, 'each event once');
# Taken back, it is nobody's duplicate.
my @third = @{ random_events(20, time - 900) };
$first->query_safe('BEGIN');
$first->query_safe($send->(@third));
$second->query_until(qr/again/, "\\echo again\n" . $send->(@third) . ";\n");
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'});
$first->query_safe('ROLLBACK');
is($second->query('SELECT 1') =~ s/\n?1$//r, @third . '|0|0', 'what a client takes back, the other one stores');
$first->quit;
$second->quit;
exact('one after the other');
$node->safe_psql('store', $send->(@events, @some));
is($node->safe_psql('r', sprintf(q{SELECT md5(string_agg(e::text, '' ORDER BY id)) FROM trace_ext.events e WHERE id IN (SELECT (j ->> 'id')::uuid FROM jsonb_array_elements($json$[%s]$json$) j)}, join(', ', @events, @some))),
	$node->safe_psql('store', q{SELECT md5(string_agg(e::text, '' ORDER BY id)) FROM trace_ext.events e}), 'rows are those that a store has, whichever way they went');

#
# All at once
#

# Each client sends all of it, cut and ordered in its own way.
sub send_at_once
{
	my ($what, $write, @files) = @_;
	my (@clients, @out, @err);
	my $began = time;
	foreach my $n (0 .. $CLIENTS - 1)
	{
		$write->("$dir/send$n", $n);
		push @clients, IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('r'), '-f', "$dir/send$n" ], '>', \$out[$n], '2>', \$err[$n]);
	}
	$clients[$_]->finish foreach 0 .. $#clients;
	is(join('', @err), '', "$what: no client has an error");
	my ($inserted, $duplicates, $rejected) = (0, 0, 0);
	foreach (map { split /\n/ } @out)
	{
		my @said = split /\|/;
		$inserted += $said[0];
		$duplicates += $said[1];
		$rejected += $said[2];
	}
	note(sprintf('%.1f s', time - $began));
	return ($inserted, $duplicates, $rejected);
}

foreach my $round (1 .. 3)
{
	my $before = $node->safe_psql('r', 'SELECT trace_ext.count_events()');
	my @batch = @{ random_events(40, time - 7200) };
	my @said = send_at_once("round $round", sub {
		my ($file) = @_;
		my @left = shuffled(@batch);
		my @statements;
		push @statements, $send->(splice(@left, 0, 50 + int(rand(600)))) while @left;
		# UTF-8 already.
		open my $f, '>', $file or die $!;
		print $f "$_;\n" foreach @statements;
		close $f;
	});
	is("@said", join(' ', scalar @batch, ($CLIENTS - 1) * @batch, 0), "round $round: each event is inserted once, and a duplicate for the others");
	is($node->safe_psql('r', 'SELECT trace_ext.count_events()'), $before + @batch, 'and is there once');
	exact("round $round");
}

#
# Spans of OpenTelemetry, with links, resources and scopes
#

sub spans
{
	my ($n) = @_;
	my $at = int(time - 600) * 1_000_000_000;
	my @spans;
	foreach (1 .. $n)
	{
		my $start = $at + int(rand(3e11));
		push @spans, sprintf('{"traceId": "%s", "spanId": "%s", "name": "n%d", "kind": %d, "startTimeUnixNano": "%d", "endTimeUnixNano": "%d", "links": [{"traceId": "%s", "spanId": "%s"}]}',
			(map { join '', map { sprintf '%08x', rand(2**32) } 1 .. $_ } 4, 2), $_ % 5, 1 + int(rand(5)), $start, $start + int(rand(1e8)), map { join '', map { sprintf '%08x', rand(2**32) } 1 .. $_ } 4, 2);
	}
	return @spans;
}

foreach my $round (1 .. 2)
{
	my $before = $node->safe_psql('r', 'SELECT trace_ext.count_events()');
	my @links = split /\|/, $node->safe_psql('r', 'SELECT (SELECT count(*) FROM trace_ext.trace_links), (SELECT count(*) FROM trace_ext.otlp_resources)');
	my @spans = spans(60);
	my @said = send_at_once("spans $round", sub {
		my ($file) = @_;
		my @left = shuffled(@spans);
		my @statements;
		while (@left)
		{
			my @part = splice(@left, 0, 10 + int(rand(40)));
			push @statements, sprintf(q{SELECT inserted, duplicates, rejected FROM trace_ext.ingest_otlp($json${"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "s%d"}}]},
				"scopeSpans": [{"scope": {"name": "l%d"}, "spans": [%s]}]}]}$json$::jsonb)}, $round, $round, join(', ', @part));
		}
		open my $f, '>', $file or die $!;
		print $f "$_;\n" foreach @statements;
		close $f;
	});
	my $new = $node->safe_psql('r', 'SELECT trace_ext.count_events()') - $before;
	cmp_ok($new, '>=', 60, "spans $round: are there");
	is("@said", join(' ', $new, ($CLIENTS - 1) * $new, 0), 'each event is inserted once');
	is($node->safe_psql('r', 'SELECT (SELECT count(*) FROM trace_ext.trace_links), (SELECT count(*) FROM trace_ext.otlp_resources)'), ($links[0] + 60) . '|' . ($links[1] + 1), 'and so are links and resources');
	exact("spans $round");
}

#
# Two clients that wait for each other, each on another node: nobody sees it, so one of them gives up, and sends again
#

make_store($node, $_) foreach qw(x1 x2);
$node->safe_psql('postgres', 'CREATE DATABASE x TEMPLATE empty_router');
$node->safe_psql('x', sprintf(q{SELECT trace_ext.add_node('%s', $c$host=%s port=%d dbname=%s user=postgres options='-c lock_timeout=2s'$c$)}, $_, $node->host, $node->port, $_)) foreach qw(x1 x2);
my %batch_of;
foreach my $event (@{ random_events(60, time - 600) })
{
	my ($trace) = $event =~ /"trace_id": "([0-9a-f-]{36})"/;
	push @{ $batch_of{ $node->safe_psql('x', "SELECT trace_ext.node_of('$trace', now())") } }, $event;
}
is(join(' ', sort keys %batch_of), 'x1 x2', 'there are events for both nodes');
my @in_turn = ([ 'x1', 'x2' ], [ 'x2', 'x1' ]);
my @clients = map { $node->background_psql('x', on_error_stop => 0) } @in_turn;
foreach my $i (0, 1)
{
	$clients[$i]->query_safe("\\set VERBOSITY verbose\nBEGIN");
	$clients[$i]->query_safe($send->(@{ $batch_of{ $in_turn[$i][0] } }));
}
$clients[0]->query_until(qr/sent/, "\\echo sent\n" . $send->(@{ $batch_of{ $in_turn[0][1] } }) . ";\n");
my $began = time;
$clients[1]->query($send->(@{ $batch_of{ $in_turn[1][1] } }));
$clients[0]->query('SELECT 1');
cmp_ok(time - $began, '<', 30, 'neither waits for ever');
my @gave_up = grep { $clients[$_]->{stderr} =~ /ERROR:  40001: another transaction holds what this one stores on node "x[12]".*HINT:  Roll back/s } 0, 1;
cmp_ok(@gave_up, '>=', 1, 'one of them gives up, as what is to be tried again');
$_->query('COMMIT') foreach @clients;
$_->quit foreach @clients;
$node->safe_psql('x', $send->(map { @{ $batch_of{$_} } } qw(x1 x2)));
is($node->safe_psql('x', 'SELECT trace_ext.count_events()'), scalar(map { @{ $batch_of{$_} } } qw(x1 x2)), 'and sends again: each event is there once');

done_testing();
