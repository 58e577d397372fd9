# 042_router_links.pl
#		Links of OpenTelemetry from one node of a router to another.
#
# A consumer is mostly of another trace than its producer, so they may be on two nodes. What follows of
# a link (calls between services, edges, what came before what) is what a single store says,
# whichever of the two came first, which of them goes, and where an epoch begins between them.

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

my $REQUESTS = $ENV{TEST_TRACES} // 40;

seed_random();
my $node = new_node('router', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off', fsync => 'off', max_connections => 60,
	log_line_prefix => '%d %x ', 'trace_ext.fold_threshold' => 0);
my %router_of = (r2 => [ 'b1', 'b2' ], r3 => [ 'c1', 'c2' ]);
my @stores = qw(b1 b2 c1 c2 c3);
my @routers = sort keys %router_of;
make_store($node, $_) foreach 'store', @stores;
foreach my $router (@routers)
{
	make_router($node, $router, map { [ $node, $_ ] } @{ $router_of{$router} });
}

#
# Messages: a request sends one or more, each of which starts a trace, or a span of one, elsewhere
#

sub hex_id { return join '', map { sprintf '%08x', rand(2**32) } 1 .. $_[0] }
sub pick { return $_[ int(rand(@_)) ] }

my @services = qw(shop bank mail);

# A span as [service, JSON]; %of: trace, id, parent, kind, start and lasting in microseconds, links: list of [trace, span].
sub span
{
	my ($service, %of) = @_;
	my $access = sprintf '{"timeUnixNano": "%d000", "name": "trace_ext.state", "attributes": [{"key": "trace_ext.variable", "value": {"stringValue": "stock.%d"}}, '
	  . '{"key": "trace_ext.access", "value": {"stringValue": "%s"}}, {"key": "trace_ext.value", "value": {"stringValue": "%d"}}]}',
	  $of{start} + int($of{lasting} / 2), int(rand(3)), pick('Read', 'Write'), int(rand(9));
	return [ $service, sprintf('{"traceId": "%s", "spanId": "%s", "parentSpanId": "%s", "name": "%s", "kind": %d, "startTimeUnixNano": "%d000", "endTimeUnixNano": "%d000", '
			. '"links": [%s], "events": [%s], "status": {"code": %d}}', $of{trace}, $of{id}, $of{parent} // '', $of{name}, $of{kind}, $of{start}, $of{start} + $of{lasting},
			join(', ', map { qq[{"traceId": "$_->[0]", "spanId": "$_->[1]"}] } @{ $of{links} // [] }), $access, rand() < 0.1 ? 2 : 1) ];
}

# The spans around a time, in microseconds.
sub messages
{
	my ($requests, $around) = @_;
	my (@spans, @sent);
	foreach my $n (1 .. $requests)
	{
		my $at = $around + int(($n - $requests / 2) * 20_000) + int(rand(20_000));
		my ($trace, $root, $service) = (hex_id(4), hex_id(2), pick(@services));
		push @spans, span($service, trace => $trace, id => $root, name => 'GET /', kind => 2, start => $at, lasting => 60_000 + int(rand(20_000)));
		foreach (1 .. 1 + int(rand(2)))
		{
			my $producer = hex_id(2);
			push @spans, span($service, trace => $trace, id => $producer, parent => $root, name => 'send', kind => pick(4, 4, 4, 3), start => $at + 5_000, lasting => 1_000 + int(rand(2_000)));
			push @sent, [ $trace, $producer ];
		}
		# It takes messages of before, of its own, one that is not there, or none.
		my @links = map { pick(@sent) } 1 .. int(rand(3));
		push @links, [ hex_id(4), hex_id(2) ] if rand() < 0.1;
		my $own = rand() < 0.5 ? $trace : hex_id(4);
		my $other = pick(@services);
		push @spans, span($other, trace => $own, id => hex_id(2), ($own eq $trace ? (parent => pick($root, undef)) : ()), name => 'take', kind => pick(5, 5, 5, 1),
			start => $at + 10_000 + int(rand(500_000)), lasting => 2_000 + int(rand(4_000)), links => \@links);
	}
	return @spans;
}

# As requests of some spans each.
sub send_spans
{
	my ($db, @spans) = @_;
	my $sql = '';
	while (@spans)
	{
		my %of;
		push @{ $of{ $_->[0] } }, $_->[1] foreach splice(@spans, 0, 1 + int(rand(40)));
		$sql .= 'SELECT trace_ext.ingest_otlp($json${"resourceSpans": [' . join(', ', map {
			sprintf '{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "%s"}}]}, "scopeSpans": [{"scope": {"name": "lib"}, "spans": [%s]}]}', $_, join(', ', @{ $of{$_} })
		} sort keys %of) . ']}$json$::jsonb);' . "\n";
	}
	$node->safe_psql($db, $sql);
	return;
}

my $edge = int(time / 3600) * 3600 - 7200;
my $edge_text = RouterTest::time_text($edge * 1e6);
my @spans = (messages($REQUESTS, $edge * 1_000_000), messages(int($REQUESTS / 2), ($edge + 3600) * 1_000_000));
my ($early, $late) = ([], []);
push @{ ($_->[1] =~ /"endTimeUnixNano": "(\d+)000"/)[0] < $edge * 1_000_000 ? $early : $late }, $_ foreach @spans;

send_spans('store', @spans);
send_spans('r2', shuffled(@spans));
send_spans('r3', shuffled(@$early));
$node->safe_psql('r3', sprintf(q{SELECT trace_ext.add_node('c3', $c$%s$c$, '%s')}, conninfo($node, 'c3'), $edge_text));
send_spans('r3', shuffled(@$late));
my $crossing = $node->safe_psql('r2', q{SELECT count(*) FROM trace_ext.trace_links l JOIN trace_ext.events e ON e.trace_id = l.linked_trace_id AND e.span_id = l.linked_span_id AND e.kind = 'AsyncSpawn'
	WHERE trace_ext.node_of(l.trace_id, l."timestamp") <> trace_ext.node_of(e.trace_id, e."timestamp")});
cmp_ok($crossing, '>', $REQUESTS / 10, "$crossing links lead from one node to the other");

sub compare
{
	my ($what, $questions) = @_;
	# Before any of it is folded, and after.
	my %calls = map { $_ => $questions->{$_} } grep { /^(service_calls|service_map|grafana_edges|service_dot|distributed_edges|causal_edges)$/ } keys %$questions;
	$calls{'hours'} = q{SELECT date_trunc('hour', "timestamp", 'UTC') AS hour, s.from_service, s.to_service, s.link_type, s.calls, s.errors FROM (SELECT DISTINCT date_trunc('hour', e."timestamp") AS "timestamp" FROM trace_ext.events e) h,
		LATERAL trace_ext.service_map(h."timestamp", h."timestamp" + interval '1 ms') s};
	my $answers = ask($node, 'store', \%calls);
	is(join(', ', map { "$_: $answers->{$_}[1]" } grep { $answers->{$_}[0] =~ /^ERROR|^0 rows/ } sort keys %$answers), '', "$what: the store answers");
	same_answers_ok(ask($node, $_, \%calls), $answers, "$what, $_, outstanding") foreach @routers;
	$node->safe_psql($_, 'SELECT trace_ext.fold()') foreach 'store', @stores;
	same_answers_ok(ask($node, $_, \%calls), $answers, "$what, $_, folded") foreach @routers;
	return;
}

my $questions = questions($node, 'store', $edge_text);
compare('all', $questions);
foreach my $db ('store', @routers)
{
	is((try_psql($node, 'CALL trace_ext.detect_all()', db => $db))[2], '', "$db: races are looked for");
}
my %most = map { $_ => $questions->{$_} } grep { !/^(report|service_health|verify)/ } keys %$questions;
my $answers = ask($node, 'store', \%most);
same_answers_ok(ask($node, 'r3', \%most), $answers, 'r3, all questions');
cmp_ok($node->safe_psql('store', q{SELECT count(*) FROM trace_ext.service_calls WHERE link_type = 'MessageQueue'}), '>', 0, 'there are calls by links');

# A producer goes, and a consumer, and a link: whoever is left on the other node knows.
foreach my $db ('store', @routers)
{
	$node->safe_psql($db, q{DELETE FROM trace_ext.events WHERE kind = 'AsyncSpawn' AND id < '60000000-0000-0000-0000-000000000000'});
}
compare('without some producers', $questions);
foreach my $db ('store', @routers)
{
	$node->safe_psql($db, q{DELETE FROM trace_ext.events WHERE kind = 'AsyncAwait' AND id > 'b0000000-0000-0000-0000-000000000000'});
}
compare('without some consumers', $questions);
# And are sent again.
send_spans($_, shuffled(@spans)) foreach 'store', @routers;
compare('sent again', $questions);
is(join('', map { $node->safe_psql($_, 'SELECT * FROM trace_ext.verify_summaries()') } @stores), '', 'sums are exact on each node');

# A reader is told as well, and a node that is asked checks what it is given.
is($node->safe_psql('r3', 'SET ROLE trace_ext_reader; SELECT md5(string_agg(c::text, $$,$$ ORDER BY c::text)) FROM trace_ext.service_calls c'),
	$node->safe_psql('store', 'SET ROLE trace_ext_reader; SELECT md5(string_agg(c::text, $$,$$ ORDER BY c::text)) FROM trace_ext.service_calls c'), 'a reader is told the same');
foreach ([ q{producers_of(ARRAY[NULL]::uuid[], '{}')}, qr/must not be null/ ], [ q{producers_of(ARRAY[gen_random_uuid()], '{}')}, qr/1 and 0 elements/ ],
	[ q{linked_calls('{}', ARRAY[gen_random_uuid()], '{}')}, qr/1 and 0 elements/ ], [ q{linked_calls('{}', ARRAY[gen_random_uuid()], ARRAY[NULL]::text[])}, qr/must not be null/ ])
{
	my (undef, undef, $err) = try_psql($node, "SELECT trace_ext_internal.$_->[0]", db => 'b1');
	like($err, $_->[1], $_->[0]);
}
is($node->safe_psql('b1', q{SELECT trace_ext_internal.producers_of(ARRAY[gen_random_uuid()], ARRAY[gen_random_uuid()]), (SELECT count(*) FROM trace_ext_internal.linked_calls(ARRAY[gen_random_uuid()], '{}', '{}'))}), '{NULL}|0', 'what is not there has none');

done_testing();
