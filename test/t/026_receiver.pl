# 026_receiver.pl
#		The receiver takes what is sent over HTTP, answers everything, loses nothing that it has
#		acknowledged, and can be held up by nobody.

use strict;
use warnings FATAL => 'all';

use File::Basename;
use FindBin;
use lib $FindBin::RealBin;

use IO::Select;
use IO::Socket::INET;
use List::Util qw(max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use TraceExtHttp;
use TraceExtTest;

plan skip_all => 'the receiver is not built: libmicrohttpd is missing' if !has_receiver();

seed_random();
$SIG{PIPE} = 'IGNORE';

my $port = PostgreSQL::Test::Cluster::get_free_port();
http_port($port);
my $dir = PostgreSQL::Test::Utils::tempdir();
my $data = "$FindBin::RealBin/../data/otlp";
my $json = 'application/json';
my $proto = 'application/x-protobuf';
my $node = new_node('receiver', shared_preload_libraries => 'trace_ext', restart_after_crash => 'on', 'trace_ext.workers' => 'off',
	'trace_ext.otlp_listen' => "127.0.0.1:$port", init => [ allows_streaming => 1 ]);

#
# A client
#

sub sql { return $node->safe_psql('postgres', @_) }

sub becomes
{
	my ($sql, $name, $expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return if ok($node->poll_query_until('postgres', $sql, $expected // 't'), $name);
	diag(sql('SELECT * FROM trace_ext_internal.receiver()'));
}

sub listens_ok { becomes(q{SELECT receiver_state = 'listening' FROM trace_ext.status}, shift) }

sub is_stored { my ($n) = @_; return sql(sprintf("SELECT count(*) FROM trace_ext.events WHERE trace_id = '%032x'", $n)) }

my $serial = 1000;

#
# It works
#

listens_ok('it listens once there is the extension');
is(sql(q{SELECT usename, application_name, datname, backend_type FROM pg_stat_activity WHERE backend_type = 'trace_ext receiver'}),
	'trace_ext_receiver|trace_ext receiver|postgres|trace_ext receiver', 'it is seen in pg_stat_activity');
is(sql(q{SELECT rolsuper, rolcreaterole, rolconnlimit, (SELECT string_agg(r::regrole::text, ', ') FROM (SELECT roleid FROM pg_auth_members WHERE member = a.oid) m (r)) FROM pg_authid a WHERE rolname = 'trace_ext_receiver'}),
	'f|f|0|trace_ext_writer', 'its role is a writer and nothing else');
{
	my ($ret, $out, $err) = $node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'trace_ext_receiver' ]);
	like($err, qr/too many connections for role/, 'no client logs in as that role');
}

# The captured bodies, with their headers; those that came chunked, chunked.
{
	my (%statuses, @direct);
	my $socket = dial();
	for my $round (1, 2)
	{
		for my $txt (sort glob("$data/*.txt"))
		{
			my ($file) = grep { !/\.txt$/ } glob($txt =~ s/\.txt$/.*/r);
			my ($line) = split /\n/, slurp_file($txt);
			my ($first, @headers) = map { s/^\s+|\s+$//gr } split /\|/, $line;
			my ($path) = $first =~ /^POST (\S+)/;
			my %headers = map { /^([\w-]+): (.*)/ ? ($1 => $2) : () } @headers;
			delete $headers{$_} for grep { /^(host|content-length)$/i } keys %headers;
			my ($type) = map { delete $headers{$_} } grep { /^content-type$/i } keys %headers;
			my $body = slurp_file($file);
			push @direct, $file if $round == 1;
			$body = chunked(unpack('(a1000)*', $body)) if exists $headers{'Transfer-Encoding'};
			put($socket, request($path, $type, $body, %headers));
			my ($status, $head, $answer) = answer($socket);
			$statuses{$status}++;
			my ($answered) = $head =~ /^content-type: *([^\r]+)/im;
			is($status == 200 && $type =~ /^\Q$answered\E/, 1, "$path " . ($file =~ s/.*\///r) . ": $status $type") if $round == 1;
			next if $path eq '/v1/logs' && $answer =~ /^\{"partialSuccess":\{"rejectedLogRecords":"1","errorMessage":"1 of 4 log records were rejected, the first because of its traceId/;
			diag("$file: $answer") if $answer ne ($type =~ /json/ ? '{}' : '');
		}
	}
	is(join(',', %statuses), '200,' . 2 * @direct, 'all of them, twice, on one connection');
	my $received = sql('SELECT count(*), count(DISTINCT (trace_id, id)), md5(string_agg(md5(e::text), $$$$ ORDER BY trace_id, id)) FROM trace_ext.events e');
	$node->safe_psql('postgres', 'CREATE DATABASE direct');
	$node->safe_psql('direct', 'CREATE EXTENSION trace_ext');
	$node->safe_psql('direct', join("\n", map { "SELECT trace_ext.ingest_otlp(pg_read_binary_file('$_'));" } @direct));
	is($node->safe_psql('direct', 'SELECT count(*), count(DISTINCT (trace_id, id)), md5(string_agg(md5(e::text), $$$$ ORDER BY trace_id, id)) FROM trace_ext.events e'),
		$received, "the same events as ingest_otlp() makes, once each: $received");
}

# The door for event JSON.
{
	my $batch = slurp_file("$data/../express-banking.json");
	my ($status, $head, $body) = post('/events', $json, $batch);
	is("$status $body", '200 {"inserted":86,"duplicates":0,"rejected":0}', 'event JSON');
	($status, $head, $body) = post('/events', "$json; charset=utf-8", zip($batch), 'Content-Encoding' => 'gzip');
	is("$status $body", '200 {"inserted":0,"duplicates":86,"rejected":0}', 'the same with gzip, again');
	($status, $head, $body) = post('/events', $json, '[{"id": "x"}]');
	like("$status $body", qr/^200 \{"inserted":0,"duplicates":0,"rejected":1,"message":"1 of 1 events were rejected, the first because of its /, 'an event that is none');
}

#
# Answers
#

# NAME, STATUS, ANSWER, request...
my @partial = ('{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","spanId":"01","name":"x"},'
	  . '{"traceId":"000000000000000000000000000000aa","spanId":"00000000000000aa","name":"good","startTimeUnixNano":"1767225600000000000","endTimeUnixNano":"1767225600001000000"}]}]}]}');
for my $case (
	[ 'an empty request', 200, qr/^\{\}$/, '/v1/traces', $json, '{}' ],
	[ 'an empty request of logs', 200, qr/^\{\}$/, '/v1/logs', $json, '{"resourceLogs":[]}' ],
	[ 'an empty request of protobuf', 200, qr/^$/, '/v1/traces', $proto, '' ],
	[ 'no body at all', 200, qr/^\{\}$/, '/v1/traces', $json, '' ],
	[ 'an empty request with gzip', 200, qr/^$/, '/v1/logs', $proto, zip(''), 'Content-Encoding' => 'gzip' ],
	[ 'parameters of the type', 200, qr/^\{\}$/, '/v1/traces', 'Application/JSON ; charset="UTF-8"', json_span(1) ],
	[ 'identity', 200, qr/^$/, '/v1/traces', $proto, proto_span(2), 'Content-Encoding' => 'identity' ],
	[ 'white space before JSON', 200, qr/^\{\}$/, '/v1/traces', $json, "\n\t " . json_span(3) ],
	[ 'a byte order mark', 200, qr/^\{\}$/, '/v1/traces', $json, "\xEF\xBB\xBF" . json_span(4) ],
	[ 'partial success in JSON', 200, qr/^\{"partialSuccess":\{"rejectedSpans":"1","errorMessage":"1 of 2 spans were rejected, the first because of its traceId: [^"]+"\}\}$/, '/v1/traces', $json, $partial[0] ],
	[ 'partial success in protobuf', 200, qr/^\x0a(.)\x08\x01\x12(.)1 of 2 spans were rejected, the first because of its name: .+$/s, '/v1/traces', $proto, proto_span(5) . proto_span(6, "\xff") ],
	[ 'no JSON', 400, qr/^\{"code":3,"message":"[^"]+"\}$/, '/v1/traces', $json, '{"resourceSpans":[' ],
	[ 'no protobuf', 400, qr/^\x08\x03\x12/, '/v1/traces', $proto, "\x0a\x05ab" ],
	[ 'JSON that is called protobuf', 400, qr/^\x08\x03\x12.the body is not protobuf/s, '/v1/traces', $proto, json_span(7) ],
	[ 'protobuf that is called JSON', 400, qr/"the body is not JSON, as its type says"/, '/v1/traces', $json, proto_span(8) ],
	[ 'protobuf that is called JSON, with gzip', 400, qr/"the body is not JSON, as its type says"/, '/v1/traces', $json, zip(proto_span(8)), 'Content-Encoding' => 'gzip' ],
	[ 'what is called gzip', 400, qr/"the body is not gzip, as its type says"/, '/v1/traces', $json, json_span(9), 'Content-Encoding' => 'gzip' ],
	[ 'gzip that is cut off', 400, qr/^\x08\x03\x12.the body cannot be unpacked: It is cut off/s, '/v1/traces', $proto, substr(zip(proto_span(9)), 0, 30), 'Content-Encoding' => 'gzip' ],
	[ 'no batch of events', 400, qr/"this is not a batch of events/, '/events', $json, '{"a": 1}' ],
	[ 'events that are not UTF-8', 400, qr/"invalid byte sequence/, '/events', $json, "[\"\xff\"]" ],
	[ 'no body of events', 400, qr/"the body is not JSON/, '/events', $json, '' ],
	[ 'a short body of long rows', 413, qr/take more than 64 MB of memory/, '/v1/traces', $proto, field(0x0a, field(0x0a, field(0x0a, field(0x0a, 'service.instance.id') . field(0x12, field(0x0a, 'x' x 60_000)))) . field(0x12, join('', map { field(0x12, span_fields(500_000 + $_)) } 1 .. 1500))) ],
	[ 'more records than there can be', 413, qr/more than 400000 records/, '/events', $json, '[' . '1,' x 500_000 . '1]' ],
	[ 'more empty spans than there can be', 413, qr/more than 400000 records/, '/v1/traces', $json, '{"resourceSpans":[{"scopeSpans":[{"spans":[' . '{},' x 500_000 . '{}]}]}]}' ],
	[ 'more scopes than there can be', 413, qr/more than 100000 scopes/, '/v1/traces', $json, '{"resourceSpans":[{"scopeSpans":[' . '{},' x 200_000 . '{}]}]}' ],
	[ 'more resources than there can be', 413, qr/more than 100000 resources and scopes/, '/v1/traces', $proto, "\x0a\x00" x 200_000 ],
	[ 'a long resource', 413, qr/resource and links of the body take more than 8 MB/, '/v1/traces', $proto, field(0x0a, field(0x0a, join('', map { field(0x0a, field(0x0a, "k$_") . field(0x12, field(0x0a, 'x' x 100_000))) } 1 .. 100)) . field(0x12, field(0x12, span_fields(700)))) ],
	[ 'many links', 200, qr/^$/, '/v1/traces', $proto, zip(field(0x0a, field(0x12, join('', map { field(0x12, span_fields(700 + $_) . field(0x6a, field(0x0a, "\1" x 16) . field(0x12, "\2" x 8)) x 10_000) } 1 .. 5)))), 'Content-Encoding' => 'gzip' ],
	[ 'a long span', 200, qr/^.{4,8}\x12.1 of 2 spans were rejected, the first because of its span: longer than 2097152 bytes$/s, '/v1/traces', $proto, proto_span(12) . proto_span(13, 'x' x (2 * 1024 * 1024)) ],
	[ 'a long event', 200, qr/"inserted":0,"duplicates":0,"rejected":1,.*event: longer than 2097152 bytes/, '/events', $json, '[{"id": "' . 'x' x (2 * 1024 * 1024) . '"}]' ],
	[ 'an event of many values', 200, qr/"rejected":1,.*a: more than 25000 values/, '/events', $json, '[{"a": [' . '1,' x 30_000 . '1]}]' ],
	[ 'a span of many values', 200, qr/more than 25000 values, events and links$/, '/v1/traces', $proto, field(0x0a, field(0x12, field(0x12, span_fields(14) . "\x5a\x00" x 25_001))) ],
	[ 'a reason that is cut between characters', 200, qr/^\x0a..\x08\x01\x12..(?:1 of 1 spans were rejected, the first because of its )(?:[ -~]|\xC3\xA9)+$/s, '/v1/traces', $proto, field(0x0a, field(0x12, field(0x12, span_fields(15) . field(0x4a, field(0x0a, "\xC3\xA9" x 120) . field(0x12, field(0x0a, "\xff")))))) ],
	[ 'events in protobuf', 415, qr/"code":3/, '/events', $proto, proto_span(9) ],
	[ 'another type', 415, qr/"code":3/, '/v1/traces', 'text/plain', json_span(9) ],
	[ 'no type', 415, qr/"code":3/, '/v1/traces', undef, json_span(9) ],
	[ 'another charset', 415, qr/"code":3/, '/v1/traces', "$json; charset=utf-16", json_span(9) ],
	[ 'another coding', 415, qr/"code":3/, '/v1/traces', $json, json_span(9), 'Content-Encoding' => 'br' ],
	[ 'another path', 404, qr/"code":5/, '/v1/metrics', $json, '{}' ],
	[ 'another method', 405, qr/"code":12/, '/v1/traces', $json, '{}', method => 'PUT' ],
	[ 'GET', 405, qr/"code":12/, '/v1/traces', $json, '', method => 'GET' ],
	[ 'too large', 413, qr/"code":8/, '/v1/traces', $json, ' ' x (17 * 1024 * 1024) ],
	[ 'too large, in chunks', 413, qr/^\x08\x08\x12/, '/v1/traces', $proto, chunked(("\0" x 1048576) x 17), 'Transfer-Encoding' => 'chunked' ],
	[ 'too large when unpacked', 413, qr/longer than/, '/v1/traces', $json, zip(' ' x (200 * 1024 * 1024)), 'Content-Encoding' => 'gzip' ],
	[ 'a bomb of events', 413, qr/longer than/, '/events', $json, zip('[' . ' ' x (200 * 1024 * 1024)), 'Content-Encoding' => 'gzip' ])
{
	my ($name, $status, $like, @request) = @$case;
	my ($got, $head, $body) = post(@request);
	is($got, $status, "$name: $status");
	like($body, $like, "$name: the answer");
}
{
	my ($status, $head, $body) = post('/v1/traces', $proto, proto_span(10) . proto_span(11, "\xff"));
	my ($outer, $inner) = unpack('x C x3 C', $body);
	is("$outer $inner", (length($body) - 2) . ' ' . (length($body) - 6), 'lengths in a partial success');
}
is(sql('SELECT string_agg(is_there::text, $$$$ ORDER BY n) FROM (SELECT n, (SELECT count(*) FROM trace_ext.events WHERE trace_id = lpad(to_hex(n), 32, $$0$$)::uuid) AS is_there FROM generate_series(1, 15) n) x'),
	'111110000101000', 'what was accepted is there, once; the rest is not');

# Headers of answers.
like((post('/v1/traces', $json, '{}', method => 'PUT'))[1], qr/^allow: POST\r$/im, 'which method is allowed');

#
# HTTP
#

# One connection: chunks of any size, a request in pieces, many at once.
{
	my $socket = dial();
	put($socket, request('/v1/traces', $json, chunked(split //, json_span(20)), 'Transfer-Encoding' => 'chunked'));
	is((answer($socket))[0], 200, 'chunks of a byte');
	for my $part (split /(?=[:{])/, request('/v1/traces', $json, json_span(21)))
	{
		put($socket, $part);
		sleep(0.002);
	}
	is((answer($socket))[0], 200, 'a request in pieces, on the same connection');
	put($socket, join('', map { request('/v1/traces', $_ % 2 ? $json : $proto, $_ % 2 ? json_span($_) : proto_span($_)) } 30 .. 49));
	is(join(',', map { (answer($socket))[0] } 30 .. 49), join(',', (200) x 20), '20 requests at once');
	put($socket, request('/v1/traces', $json, '', 'Content-Length' => length json_span(50), Expect => '100-continue'));
	sleep(0.2);
	put($socket, json_span(50));
	is((answer($socket))[0], 200, 'a client that asks before it sends');
	is(sql('SELECT count(DISTINCT trace_id), count(*) FROM trace_ext.events WHERE trace_id BETWEEN lpad(to_hex(20), 32, $$0$$)::uuid AND lpad(to_hex(50), 32, $$0$$)::uuid'), '23|23', 'all of that is there');
	put($socket, request('/v1/traces', $json, '', 'Content-Length' => 20 * 1024 * 1024, Expect => '100-continue'));
	is((answer($socket))[0], 413, 'who asks whether it may be 20 MB is told at once');
}
# What is no HTTP at all gets no answer; nobody else is harmed.
for my $garbage ("GARBAGE\r\n\r\n", "\0\1\2\3\r\n\r\n", join('', map { chr(int(rand(256))) } 1 .. 10_000), request('/v1/traces', $json, '{}', 'X-Long' => 'x' x 100_000))
{
	my $socket = dial();
	put($socket, $garbage);
	my ($status) = answer($socket, 15);
	is($status == 0 || $status >= 400, 1, 'garbage: ' . substr($garbage =~ s/[^ -~]/./gr, 0, 60) . "... $status");
	is((post('/v1/traces', $json, '{}'))[0], 200, 'others are served');
}
for my $garbage ("POST /v1/traces HTTP/9.9\r\n\r\n",
	request('/v1/traces', $json, "zz\r\nabc\r\n", 'Transfer-Encoding' => 'chunked'), request('/v1/traces', $json, "ffffffffffffffffffff\r\nabc\r\n", 'Transfer-Encoding' => 'chunked'),
	request('/v1/traces', $json, chunked('{}'), 'Transfer-Encoding' => 'chunked', 'Content-Length' => 3), "POST /v1/traces HTTP/1.1\r\nContent-Type: $json\r\nContent-Length: 2\r\n\r\n{}",
	request('/v1/traces', $json, 'abc', 'Content-Length' => '-1'), request('/v1/traces', $json, 'abc', 'Content-Length' => '99999999999999999999999'))
{
	my $socket = dial();
	put($socket, $garbage);
	my ($status) = answer($socket);
	cmp_ok($status, '>=', 400, 'garbage: ' . substr($garbage =~ s/[^ -~]/./gr, 0, 60) . "... $status");
	is((post('/v1/traces', $json, '{}'))[0], 200, 'others are served');
}

# Where a request ends is never in doubt: what two readers could tell apart differently is refused, and nothing after it is read.
{
	my $inner = request('/v1/traces', $json, json_span(100));
	my $head = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: $json\r\n";
	my $length = length $inner;
	my %doubtful = (
		'two different lengths' => "${head}Content-Length: 0\r\nContent-Length: $length\r\n\r\n$inner",
		'the same length twice' => "${head}Content-Length: $length\r\nContent-Length: $length\r\n\r\n$inner",
		'a list of lengths' => "${head}Content-Length: 0, $length\r\n\r\n$inner",
		'a length with a sign' => "${head}Content-Length: +0\r\n\r\n$inner",
		'a length in hexadecimal' => "${head}Content-Length: 0x0\r\n\r\n$inner",
		'a length and chunks' => "${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$inner",
		'chunks and a length' => "${head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$inner",
		'a space behind the name of the length' => "${head}Content-Length : $length\r\n\r\n$inner",
		'a tab behind the name of the coding' => "${head}Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n$inner",
		'chunks of HTTP/1.0' => ($head =~ s/1\.1/1.0/r) . "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$inner",
		'a coding that is not known' => "${head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n$inner",
		'two codings' => "${head}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n$inner",
		'two headers of codings' => "${head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n$inner",
		'a refused body that comes unasked' => "PATCH /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: $json\r\nExpect: 100-continue\r\nContent-Length: $length\r\n\r\n$inner");
	for my $name (sort keys %doubtful)
	{
		my $socket = dial();
		put($socket, $doubtful{$name});
		my ($status) = answer($socket, 15);
		cmp_ok($status, '>=', 400, "$name: $status");
		is((answer($socket, 15))[0], 0, "$name: nothing more is answered");
	}
	is(is_stored(100), 0, 'none of the hidden requests was taken');
}
# A page that a browser shows.
is((post('/v1/traces', $json, json_span(101), Origin => 'http://example.com'))[0], 403, 'a page of a browser may not send');
is((post('/v1/traces', $json, '', method => 'OPTIONS', Origin => 'http://example.com', 'Access-Control-Request-Method' => 'POST'))[0], 403, 'nor ask whether it may');
is(is_stored(101), 0, 'nothing of it is there');

# 200 connections at once, half of which say nothing.
{
	my @sockets = map { dial() } 1 .. 200;
	is(scalar(grep { defined } @sockets), 200, '200 connections');
	put($sockets[$_], request('/v1/traces', $_ % 4 ? $json : $proto, $_ % 4 ? json_span(1000 + $_) : proto_span(1000 + $_))) for grep { $_ % 2 } 0 .. 199;
	is(scalar(grep { (answer($sockets[$_]))[0] == 200 } grep { $_ % 2 } 0 .. 199), 100, 'each request is answered');
	is(sql('SELECT receiver_connections >= 200 FROM trace_ext.status'), 't', 'they are counted');
	is(sql('SELECT count(*) FROM trace_ext.events WHERE trace_id BETWEEN lpad(to_hex(1000), 32, $$0$$)::uuid AND lpad(to_hex(1199), 32, $$0$$)::uuid'), 100, 'and stored');
}
# More than it serves.
{
	my @sockets = map { dial() } 1 .. 540;
	put($sockets[539], request('/v1/traces', $json, '{}'));
	my ($status, $head) = answer($sockets[539]);
	is($status, 503, 'one connection too many');
	like($head, qr/^retry-after: 1\r$/im, 'come again');
	@sockets = ();
	becomes('SELECT receiver_connections < 10 FROM trace_ext.status', 'they are gone');
	is((post('/v1/traces', $json, '{}'))[0], 200, 'then others are served');
}

# Those that are idle give way.
{
	my @sockets = map { dial() } 1 .. 480;
	put($_, request('/v1/traces', $json, '{}')) for @sockets;
	is(scalar(grep { (answer($_))[0] == 200 } @sockets), 480, 'nearly as many as it serves');
	my @others = map { dial() } 1 .. 60;
	put($_, request('/v1/traces', $json, '{}')) for @others;
	is(scalar(grep { (answer($_))[0] == 200 } @others), 60, 'those that have nothing to say give way to others');
	is((answer($sockets[0], 0.1))[2], '', 'without a word');
	put($sockets[479], request('/v1/traces', $json, '{}'));
	is((answer($sockets[479]))[0], 200, 'not the one that spoke last');
	@sockets = ();
	becomes('SELECT receiver_connections < 10 FROM trace_ext.status', 'they are gone');
}

# The slow: of a head, of a body, of a body that is refused anyway, of reading; and one that is silent.
{
	my $begin = time();
	my %slow = (
		head => [ dial(), "POST /v1/traces HTTP/1.1\r\nX-Slow: " ],
		body => [ dial(), request('/v1/traces', $json, '', 'Content-Length' => 10000) ],
		chunks => [ dial(), request('/v1/traces', $json, '', 'Transfer-Encoding' => 'chunked') ],
		large => [ dial(), request('/v1/traces', $json, '', 'Content-Length' => 20000000) ],
		second => [ dial(), request('/v1/traces', $json, '{}') . "POST /v1/traces HTTP/1.1\r\nX-Slow: " ]);
	my $silent = dial();
	my (%status, %cut);
	put($_->[0], $_->[1]) for values %slow;
	is((answer($slow{second}[0]))[0], 200, 'the first of two requests');
	# What this loop itself was late by, where the machine is busy with something else.
	my ($late, $round) = (0, time());
	while (keys %cut < keys %slow && time() < $begin + 20 + $late)
	{
		$late += max(0, time() - $round - 0.5);
		$round = time();
		for my $name (grep { !exists $cut{$_} } keys %slow)
		{
			my $socket = $slow{$name}[0];
			put($socket, $name eq 'chunks' ? "1\r\n \r\n" : ' ');
			next unless IO::Select->new($socket)->can_read(0);
			($status{$name}) = answer($socket, 1);
			$cut{$name} = time() - $begin;
		}
		sleep(0.1);
		is((post('/v1/traces', $json, '{}'))[0], 200, 'others are served meanwhile') if int(time() - $begin) == 5 && !$status{others}++;
	}
	is("$_ $status{$_}", "$_ " . ($_ eq 'large' ? 413 : 408), sprintf('slow client: %s, cut after %.1f s', $_, $cut{$_} // 0)) for sort keys %slow;
	cmp_ok($cut{$_} // 99, '<', 12 + $late, "$_ in time") for sort keys %slow;
	is((answer($silent, 12))[0], 408, 'one that says nothing');
	becomes('SELECT receiver_connections < 10 FROM trace_ext.status', 'none of them is left');
	cmp_ok(sql(q{SELECT (receiver_refused ->> 'slow')::int FROM trace_ext.status}), '>=', 4, 'counted');
}

# Bodies that fill its memory.
{
	my @sockets = map { dial() } 1 .. 4;
	for my $socket (@sockets[ 0 .. 2 ])
	{
		put($socket, request('/v1/traces', $json, '{' . ' ' x (16 * 1024 * 1024 - 1000), 'Content-Length' => 16 * 1024 * 1024 - 100));
	}
	becomes('SELECT buffered > 45 * 1024 * 1024 FROM trace_ext_internal.receiver()', 'three bodies of 16 MB are under way');
	put($sockets[3], request('/v1/traces', $json, '{' . ' ' x (4 * 1024 * 1024) . '}'));
	my ($status, $head) = answer($sockets[3]);
	is($status, 503, 'a fourth is refused');
	like($head, qr/^retry-after: 1\r$/im, 'for now');
	put($_, ' ' x 898 . '}') for @sockets[ 0 .. 2 ];
	is(join(',', map { (answer($_))[0] } @sockets[ 0 .. 2 ]), '200,200,200', 'the three are taken');
	is(sql('SELECT buffered FROM trace_ext_internal.receiver()'), 0, 'the memory is free');
	my ($rss) = slurp_file('/proc/' . sql('SELECT pid FROM trace_ext_internal.receiver()') . '/status') =~ /RssAnon:\s+(\d+)/;
	cmp_ok($rss, '<', 64 * 1024, "its own memory after all that: $rss kB");
}

#
# The database
#

# A lock: bodies wait 3 s at most, and a bad one among others is refused alone.
{
	my $locker = $node->background_psql('postgres');
	$locker->query_safe('BEGIN; LOCK TABLE trace_ext.events IN EXCLUSIVE MODE');
	my ($status, $head, $body) = post('/v1/traces', $json, json_span(60));
	is("$status $body", '503 {"code":14,"message":"the database cannot take it now"}', 'a lock that is held for long');
	like($head, qr/^retry-after: 1\r$/im, 'is waited for by the client');
	# On a busy machine the three seconds may be over before all of this is done; then once more.
	my ($batches, $status_of_first, @statuses);
	for (1 .. 10)
	{
		my @sockets = map { dial() } 1 .. 6;
		my $first = dial();
		$batches = sql('SELECT batches FROM trace_ext_internal.receiver()');
		put($first, request('/v1/traces', $json, json_span(61)));
		becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'trace_ext receiver' AND wait_event_type = 'Lock'}, 'it waits for a lock');
		put($sockets[$_], request('/v1/traces', $json, $_ == 2 ? 'x' : json_span(62 + $_))) for 0 .. 5;
		$locker->query_safe('COMMIT');
		($status_of_first) = answer($first);
		@statuses = map { (answer($_))[0] } @sockets;
		last if $status_of_first != 503;
		sql('DELETE FROM trace_ext.events WHERE trace_id BETWEEN lpad(to_hex(60), 32, $$0$$)::uuid AND lpad(to_hex(70), 32, $$0$$)::uuid');
		$locker->query_safe('BEGIN; LOCK TABLE trace_ext.events IN EXCLUSIVE MODE');
	}
	$locker->quit;
	is($status_of_first, 200, 'a lock that is given up');
	is(join(',', @statuses), '200,200,400,200,200,200', 'those that waited; a bad body takes none with it');
	is(sql('SELECT batches FROM trace_ext_internal.receiver()') - $batches, 2, 'in one transaction');
	is(sql('SELECT count(*) FROM trace_ext.events WHERE trace_id BETWEEN lpad(to_hex(60), 32, $$0$$)::uuid AND lpad(to_hex(70), 32, $$0$$)::uuid'), 6, 'what was accepted is there');
}
# What fails at commit fails all of it, and is not lost.
{
	sql(q{CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING errcode = '40001'; END $$;
		CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON trace_ext.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.no()});
	is((post('/v1/traces', $json, json_span(80)))[0], 503, 'a commit that fails');
	sql('DROP TRIGGER at_commit ON trace_ext.events');
	is((post('/v1/traces', $json, json_span(80)))[0], 200, 'and one that does not');
	is(is_stored(80), 1, 'it is there');
}
for my $case (
	[ '53100', 503 ], [ '53200', 503 ], [ '53400', 429 ], [ '40P01', 503 ], [ '57P01', 503 ], [ '08006', 503 ], [ '25006', 503 ], [ '42501', 503 ], [ 'XX002', 503 ],
	[ '22003', 400 ], [ '23514', 400 ], [ 'P0001', 400 ], [ '54000', 413 ], [ 'XX000', 500 ])
{
	my ($state, $expected) = @$case;
	sql(qq{CREATE OR REPLACE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'no' USING errcode = '$state'; END \$\$;
		CREATE TRIGGER a_no BEFORE INSERT ON trace_ext.events FOR EACH STATEMENT EXECUTE FUNCTION public.no()});
	my ($status, $head) = post('/v1/traces', $json, json_span(81));
	is($status, $expected, "SQLSTATE $state");
	like($head, qr/^retry-after: 1\r$/im, 'with a time to come again') if $status == 503 || $status == 429;
	sql('DROP TRIGGER a_no ON trace_ext.events');
}
# An extension that is gone for a while, and a right.
sql('REVOKE trace_ext_writer FROM trace_ext_receiver');
is((post('/v1/traces', $json, json_span(82)))[0], 503, 'without the right to send');
sql('GRANT trace_ext_writer TO trace_ext_receiver');
is((post('/v1/traces', $json, json_span(82)))[0], 200, 'with it again');
# A redaction rule that cannot be followed, which only who gets around the trigger can make, is no fault of a body.
sql(q{ALTER TABLE trace_ext.redaction_rules DISABLE TRIGGER trace_ext_judge; INSERT INTO trace_ext.redaction_rules (name, pattern) VALUES ('broken', '('); ALTER TABLE trace_ext.redaction_rules ENABLE ALWAYS TRIGGER trace_ext_judge});
is((post('/v1/traces', $json, json_span(87)))[0], 503, 'a rule that cannot be followed');
sql(q{DELETE FROM trace_ext.redaction_rules WHERE name = 'broken'});
is((post('/v1/traces', $json, json_span(87)))[0], 200, 'and without it');
# Somebody cancels it.
{
	my $locker = $node->background_psql('postgres');
	$locker->query_safe('BEGIN; LOCK TABLE trace_ext.events IN EXCLUSIVE MODE');
	my $socket = dial();
	put($socket, request('/v1/traces', $json, json_span(83)));
	becomes(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'trace_ext receiver' AND wait_event_type = 'Lock'}, 'it is cancelled');
	is((answer($socket))[0], 503, 'its client may come again');
	# SIGTERM while it waits, with a body under way on another connection.
	my ($waits, $sends) = (dial(), dial());
	put($waits, request('/v1/traces', $json, json_span(84)));
	put($sends, request('/v1/traces', $json, '{', 'Content-Length' => length json_span(85)));
	becomes(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'trace_ext receiver' AND wait_event_type = 'Lock'}, 'it is asked to go');
	is((answer($waits))[0], 503, 'what it has taken is answered');
	put($sends, substr(json_span(85), 1));
	is((answer($sends))[0], 503, 'so is what was under way');
	$locker->query_safe('COMMIT');
	$locker->quit;
	listens_ok('another one comes');
	is((post('/v1/traces', $json, json_span(84)))[0], 200, 'and takes it');
}
# Nobody is kept from his database.
$node->safe_psql('postgres', q{ALTER SYSTEM SET trace_ext.otlp_database = 'direct'; SELECT pg_reload_conf()});
becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'trace_ext receiver' AND datname = 'direct'}, 'another database, without a restart');
listens_ok('it listens there');
is((post('/v1/traces', $json, json_span(90)))[0], 200, 'and takes bodies');
is($node->safe_psql('direct', 'SELECT count(*) FROM trace_ext.events WHERE trace_id = lpad(to_hex(90), 32, $$0$$)::uuid'), 1, 'for that one');
{
	my $begin = time();
	$node->safe_psql('postgres', 'DROP DATABASE direct');
	cmp_ok(time() - $begin, '<', 60, 'DROP DATABASE does not wait for it');
}
becomes(q{SELECT receiver_state = 'failed' AND receiver_error LIKE '%direct%' FROM trace_ext.status}, 'then it says what it lacks');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET trace_ext.otlp_database; SELECT pg_reload_conf()});
listens_ok('and comes back with the setting');

#
# Nothing acknowledged is lost, nothing is counted twice
#

{
	my @children;
	for my $child (1 .. 3)
	{
		push @children, psql_child(sub {
			my $until = time() + 18;
			my $stored = 0;
			open(my $log, '>', "$dir/sent.$child") or die;
			$log->autoflush(1);
			# Until the last restart is over, and as many as there have to be.
			for (my $n = $child * 1_000_000; time() < $until || ($stored < 200 && time() < $until + 100); $n++)
			{
				my $status = 0;
				while ($status != 200 && time() < $until + 110)
				{
					($status) = post('/v1/traces', $n % 2 ? $json : $proto, $n % 2 ? json_span($n) : proto_span($n));
					sleep($status == 200 ? 0.001 : 0.1);
				}
				print $log "$n\n" if $status == 200;
				$stored += $status == 200;
			}
		});
	}
	sleep(3);
	kill_9(sql(q{SELECT pid FROM trace_ext_internal.receiver()}));
	sleep(5);
	crash($node);
	sleep(4);
	sql(q{SELECT pg_terminate_backend(pid) FROM trace_ext_internal.receiver()}) if $node->poll_query_until('postgres', q{SELECT receiver_state = 'listening' FROM trace_ext.status});
	sleep(3);
	$node->restart;
	waitpid($_, 0) for @children;
	my @sent = map { split /\n/, slurp_file($_) } glob("$dir/sent.*");
	cmp_ok(scalar(@sent), '>', 500, 'acknowledged beside two crashes and two restarts: ' . @sent);
	is(sql('CREATE TEMP TABLE sent (n int); INSERT INTO sent VALUES ' . join(',', map { "($_)" } @sent)
			. '; SELECT count(*) FROM sent WHERE NOT EXISTS (SELECT FROM trace_ext.events WHERE trace_id = lpad(to_hex(n), 32, $$0$$)::uuid)'), 0, 'all of it is there');
	is(sql('SELECT count(*) - count(DISTINCT trace_id) FROM trace_ext.events WHERE trace_id >= lpad(to_hex(1000000), 32, $$0$$)::uuid AND trace_id < lpad(to_hex(9000000), 32, $$0$$)::uuid'), 0, 'once');
	exact_ok($node, 'and counted once');
}

#
# Who may send, and where
#

sub set
{
	my (%settings) = @_;
	sql(join('; ', map { defined $settings{$_} ? "ALTER SYSTEM SET trace_ext.otlp_$_ = '$settings{$_}'" : "ALTER SYSTEM RESET trace_ext.otlp_$_" } sort keys %settings));
	sql('SELECT pg_reload_conf()');
}

sub write_token
{
	my ($text, $mode) = @_;
	open(my $file, '>', "$dir/token") or die;
	print $file $text;
	close($file);
	chmod($mode // 0600, "$dir/token");
}

listens_ok('it listens');
set(listen => "0.0.0.0:$port");
becomes(q{SELECT receiver_state = 'failed' AND receiver_error LIKE '%no token is asked for' FROM trace_ext.status}, 'an address for all without a token');
like(slurp_file($node->logfile), qr/FATAL:  the receiver of trace_ext cannot start: "0\.0\.0\.0:\d+" can be reached from other machines, and no token is asked for/, 'the log says so');
is(dial(), undef, 'nobody listens');
write_token("s3cret\n", 0644);
set(token_file => "$dir/token");
becomes(q{SELECT receiver_state = 'failed' AND receiver_error LIKE '%others may read it%' FROM trace_ext.status}, 'a token that all may read');
write_token("s3cret\n");
set(token_file => "$dir/token");
listens_ok('a token of its own');
is((post('/v1/traces', $json, '{}'))[0], 401, 'no token');
like((post('/v1/traces', $json, '{}'))[1], qr/^www-authenticate: Bearer\r$/im, 'is asked for');
is((post('/v1/traces', $proto, '', Authorization => $_))[0], 401, "wrong token: $_")
  for 'Bearer s3cre', 'Bearer s3crets3cret', 'Bearer s3creT', 'Bearer', 'Bearer ', 'Basic s3cret', 's3cret', '';
is((post('/v2', $json, '{}', method => 'GET'))[0], 401, 'nothing is told without it');
like((post('/v1/traces', $json, '{}'))[1], qr/^connection: close\r$/im, 'who has none does not keep his connection');
is((post('/v1/traces', $json, '{}', Authorization => 'Bearer s3cret', Origin => 'http://example.com'))[0], 200, 'with it a page may send');
is((post('/v1/traces', $json, '{}', Authorization => $_))[0], 200, "the token: $_") for 'Bearer s3cret', 'bearer  s3cret ';
write_token('other');
set(token_file => "$dir/token");
my $tries = 0;
sleep(0.1) while (post('/v1/traces', $json, '{}', Authorization => 'Bearer other'))[0] != 200 && ++$tries < 100;
is((post('/v1/traces', $json, '{}', Authorization => 'Bearer other'))[0], 200, 'another token, read again');
is((post('/v1/traces', $json, '{}', Authorization => 'Bearer s3cret'))[0], 401, 'the old one is none');
unlink("$dir/token");
sql('SELECT pg_reload_conf()');
sleep(0.5);
is((post('/v1/traces', $json, '{}', Authorization => 'Bearer other'))[0], 200, 'a token file that is gone leaves the old one');
my $pid = sql('SELECT pid FROM trace_ext_internal.receiver()');
sql('SELECT pg_reload_conf()');
sleep(1);
is(sql('SELECT pid FROM trace_ext_internal.receiver()'), $pid, 'a reload that changes nothing leaves the process');
set(token_file => undef, listen => "127.0.0.1:$port");
listens_ok('for this machine alone');
becomes("SELECT pid <> $pid FROM trace_ext_internal.receiver()", 'by another process');
sql(q{SELECT pg_reload_conf() FROM trace_ext_internal.receiver()});
$tries = 0;
sleep(0.1) while (post('/v1/traces', $json, '{}'))[0] != 200 && ++$tries < 100;
is((post('/v1/traces', $json, '{}'))[0], 200, 'without a token');

set(token_file => "$dir/token");
becomes(q{SELECT receiver_state = 'failed' AND receiver_error LIKE '%cannot be used: No such file or directory' FROM trace_ext.status}, 'a token that is not there is no reason to go on without one');
is(dial(), undef, 'nobody listens');
set(token_file => undef);
listens_ok('without a token again');
set(role => 'nobody');
becomes(q{SELECT receiver_state = 'failed' AND receiver_error LIKE '%"nobody"%' FROM trace_ext.status}, 'a role that is not there');
sql('CREATE ROLE boss SUPERUSER LOGIN; CREATE ROLE stranger LOGIN');
set(role => 'boss');
becomes(q{SELECT receiver_state = 'failed' AND receiver_error LIKE '%is a superuser%' FROM trace_ext.status}, 'a superuser');
set(role => 'stranger');
becomes(q{SELECT receiver_state = 'failed' AND receiver_error LIKE '%may not send events' FROM trace_ext.status}, 'a role without the right');
set(role => undef);
listens_ok('its own role');

{
	my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1, Proto => 'tcp');
	my $taken = $other->sockport;
	set(listen => "127.0.0.1:$taken");
	becomes(q{SELECT receiver_state = 'failed' AND receiver_error LIKE '%Address already in use' FROM trace_ext.status}, 'a port that is taken');
	sleep(7);
	my $tries = () = slurp_file($node->logfile) =~ /cannot listen on "127\.0\.0\.1:$taken"/g;
	cmp_ok($tries, '<=', 4, "it is not tried all the time: $tries times in 7 s");
	close($other);
	listens_ok('and it comes by itself once the port is free');
}
like((try_psql($node, "ALTER SYSTEM SET trace_ext.otlp_listen = '$_'"))[2], qr/invalid value for parameter "trace_ext.otlp_listen"/, "no address: $_")
  for '127.0.0.1:x', '127.0.0.1', '4318', ':4318', '127.0.0.1:0', '127.0.0.1:65536', '::1:4318', '[::1:4318', '127.0.0.1:4318 ';
# All libraries but that one: 18 looks for those of extensions there too.
my $libdir = `pg_config --pkglibdir`;
chomp($libdir);
my $without = PostgreSQL::Test::Utils::tempdir();
symlink($_, "$without/" . basename($_)) for grep { !/trace_ext_otlp/ } glob("$libdir/*.so");
sql(qq{ALTER SYSTEM SET dynamic_library_path = '$without'});
set(listen => "127.0.0.1:$port");
becomes(q{SELECT receiver_state = 'failed' AND receiver_error LIKE '%is the library trace_ext_otlp installed?%' FROM trace_ext.status}, 'without its library');
like(slurp_file($node->logfile), qr/WARNING:  the receiver of trace_ext did not start/, 'the log says so');
sql('ALTER SYSTEM RESET dynamic_library_path');
set(listen => '');
becomes(q{SELECT receiver_state = 'off' AND receiver_error IS NULL FROM trace_ext.status}, 'off');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'trace_ext receiver'}), 0, 'without a process');
set(listen => "127.0.0.1:$port");
listens_ok('on again');
is(sql(q{SELECT count(*) FROM trace_ext.prometheus_metrics() m WHERE m LIKE 'trace_ext_receiver_%'}) > 20, 1, 'its metrics');

# A standby has none until it is promoted.
{
	$node->backup('copy');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	my $its_port = PostgreSQL::Test::Cluster::get_free_port();
	$standby->init_from_backup($node, 'copy', has_streaming => 1);
	$standby->append_conf('postgresql.auto.conf', "trace_ext.otlp_listen = '127.0.0.1:$its_port'\n");
	$standby->start;
	sleep(2);
	is(dial($its_port), undef, 'a standby has no receiver');
	is($standby->safe_psql('postgres', 'SELECT receiver_state FROM trace_ext.status'), 'standby', 'and says so');
	$standby->promote;
	ok($standby->poll_query_until('postgres', q{SELECT receiver_state = 'listening' FROM trace_ext.status}), 'it has one when it is promoted');
	my $socket = dial($its_port);
	put($socket, request('/v1/traces', $json, json_span(99)));
	is((answer($socket))[0], 200, 'which takes bodies');
	$standby->stop;
}

unlike(slurp_file($node->logfile), qr/TRAP|PANIC|terminated by signal (?!9)/, 'nothing died but what was killed');
$node->stop;
done_testing();
