# 043_receiver_steps.pl
#		A long body is stored in steps, between which others are served; what is stored in steps is what
#		would be stored at once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use POSIX ();
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
my $json = 'application/json';
my $proto = 'application/x-protobuf';
my $node = new_node('steps', shared_preload_libraries => 'trace_ext', restart_after_crash => 'on', 'trace_ext.workers' => 'off', 'trace_ext.otlp_listen' => "127.0.0.1:$port");

sub sql { return $node->safe_psql('postgres', @_) }

sub listens_ok { ok($node->poll_query_until('postgres', q{SELECT receiver_state = 'listening' FROM trace_ext.status}), shift) }

sub stored { my ($first, $last) = @_; return sql(sprintf("SELECT count(*) FROM trace_ext.events WHERE trace_id BETWEEN '%032x' AND '%032x'", $first, $last)) }

# A request of so many spans, each of its own trace, from number "first" on.
sub long_body { my ($first, $n) = @_; return field(0x0a, field(0x12, join('', map { field(0x12, span_fields($_)) } $first .. $first + $n - 1))) }

# Posts a body from another process, which writes the status and when the answer came to a pipe.
sub post_beside
{
	my (@request) = @_;
	pipe(my $read, my $write) or die;
	my $pid = psql_child(sub { my ($status, undef, $body) = post_long(@request); syswrite($write, join(' ', $status, time(), unpack('H*', $body)) . "\n") });
	close($write);
	return sub { my $line = <$read> // '0 0 '; waitpid($pid, 0); chomp($line); return split(/ /, $line, -1) };
}

# As post(), with patience.
sub post_long
{
	my $socket = dial() or return (0, '', '');
	put($socket, request(@_)) or note('cut while sending');
	return answer($socket, 180);
}

sub begins_ok
{
	my ($first, $n, $name) = @_;
	ok($node->poll_query_until('postgres', sprintf("SELECT count(*) BETWEEN 1 AND %d FROM trace_ext.events WHERE trace_id BETWEEN '%032x' AND '%032x'", $n - 1, $first, $first + $n)), $name);
}

listens_ok('it listens');

#
# Others are served
#
my $serial = 900_000_000;
for my $case ([ 'protobuf', 1_000_000, 40_000, 0 ], [ 'protobuf with gzip', 2_000_000, 40_000, 1 ])
{
	my ($name, $first, $n, $packed) = @$case;
	my $body = long_body($first, $n);
	my $begin = time();
	my $long = post_beside('/v1/traces', $proto, $packed ? zip($body) : $body, $packed ? ('Content-Encoding' => 'gzip') : ());
	begins_ok($first, $n, "$name: some of $n spans are there before the others");
	my @waits;
	my @at;
	for my $i (1 .. 5)
	{
		my $sent = time();
		my ($status) = post($i % 2 ? '/v1/traces' : '/events', $i % 2 ? $proto : $json, $i % 2 ? proto_span(++$serial) : '[]');
		push @at, time();
		push @waits, $at[-1] - $sent;
		is($status, 200, "$name: another client is answered");
	}
	my ($status, $answered, $answer) = $long->();
	is($status, 200, "$name: and the long body after that");
	is($answer, '', 'as a full success');
	my @later = grep { $_ > $answered } @at;
	is(scalar(@later), 0, 'none of five short bodies, one after the other, waited for its end');
	my $took = $answered - $begin;
	my ($longest) = sort { $b <=> $a } @waits;
	cmp_ok($longest, '<', $took / 3, sprintf('the longest of them waited %.2f s of %.1f s', $longest, $took));
	is(stored($first, $first + $n - 1), $n, 'all of it is there');
}

# Two long ones, and short ones beside: all are answered.
{
	my ($n, @firsts) = (12_000, 3_000_000, 4_000_000);
	my @long = map { post_beside('/v1/traces', $proto, long_body($_, $n)) } @firsts;
	begins_ok($firsts[0], 2_000_000, 'two long bodies are begun');
	is((post('/v1/traces', $proto, proto_span(++$serial)))[0], 200, 'a short one beside them');
	is(join(',', map { ($_->())[0] } @long), '200,200', 'both are answered');
	is(stored($_, $_ + $n - 1), $n, 'and all of it is there') for @firsts;
}

#
# What can never go in leaves nothing
#
for my $case (
	[ 'what follows the last span is no protobuf', 400, qr/not valid protobuf/, '/v1/traces', $proto, long_body(5_000_000, 6000) . "\x0a\x7f" ],
	[ 'an array of spans does not end', 400, qr/no request of OpenTelemetry/, '/v1/traces', $json,
		'{"resourceSpans":[{"scopeSpans":[{"spans":[' . join(',', map { sprintf('{"traceId":"%032x","spanId":"%016x","startTimeUnixNano":"1767225600000000000"}', 5_000_000 + $_, $_) } 1 .. 6000) ],
	[ 'an array of events does not end', 400, qr/does not end|closing/, '/events', $json,
		'[' . join(',', map { sprintf('{"id":"%032x","trace_id":"%032x","timestamp":"2026-01-01T00:00:00Z","kind":{"Custom":{"name":"x","data":1}},"metadata":{}}', $_, 5_000_000 + $_) } 1 .. 6000) ],
	[ 'more records than there can be', 413, qr/more than 400000 records/, '/v1/traces', $proto, long_body(5_000_000, 6000) . field(0x0a, field(0x12, "\x12\x00" x 400_000)) ],
	[ 'more resources than there can be', 413, qr/more than 100000 resources and scopes/, '/v1/traces', $proto, long_body(5_000_000, 6000) . "\x0a\x00" x 100_000 ])
{
	my ($name, $expected, $text, $path, $type, $body) = @$case;
	my ($status, undef, $answer) = post_long($path, $type, $body);
	is($status, $expected, "$name: refused");
	like($answer, $text, 'for that reason');
	is(stored(5_000_000, 5_999_999), 0, 'and none of it is stored');
}

#
# The same as at once
#
# A body of many resources and scopes, with and without records, of logs as well, of records that are refused, of
# links, of one record that is more than a step, and of more refused ones than are kept.
sub any_body
{
	my ($base) = @_;
	my $n = $base;
	my $text = sub { my ($key, $value) = @_; field(0x0a, $key) . field(0x12, field(0x0a, $value)) };
	my $record = sub {
		my ($rich) = @_;
		my $what = $rich ? 3 : int(rand(20));
		$n++;
		return field(0x12, field(0x0a, pack('H32', sprintf('%032x', $n)))) if $what == 0;    # no id of its own
		return field(0x12, "\x09" . pack('Q<', 1767225600000000000) . field(0x4a, pack('H32', sprintf('%032x', $n))) . field(0x62, "log $n")) if $what == 1;
		my $more = join('', map { field(0x4a, $text->("k$_", "v$n")) } 1 .. int(rand(4)));
		$more .= field(0x6a, field(0x0a, pack('H32', sprintf('%032x', $base + 1 + int(rand(500))))) . field(0x12, pack('H16', sprintf('%016x', 1 + $_)))) for 1 .. ($what == 2 ? 60 : 0);
		$more .= field(0x5a, "\x09" . pack('Q<', 1767225600000000000 + $_) . field(0x12, "event $_")) for 1 .. ($rich ? 9000 : int(rand(3)));
		return field(0x12, span_fields($n) . field(0x2a, "span $n") . $more);
	};
	my @groups;
	while ($n < $base + 9000)
	{
		my $scopes = join('', map {
			my $scope = rand() < 0.8 ? field(0x0a, field(0x0a, "scope " . int(rand(30)))) : '';
			my $records = join('', map { $record->($n == $base + 5000) } 1 .. (rand() < 0.3 ? 0 : rand() < 0.1 ? int(rand(1500)) : int(rand(60))));
			field(0x12, rand() < 0.5 ? $scope . $records : $records . $scope)
		} 1 .. int(rand(5)));
		my $resource = rand() < 0.9 ? field(0x0a, field(0x0a, $text->('service.name', 'service ' . int(rand(40))))) : '';
		push @groups, field(0x0a, rand() < 0.5 ? $resource . $scopes : $scopes . $resource);
	}
	push @groups, field(0x0a, field(0x12, join('', map { field(0x12, field(0x0a, pack('H32', sprintf('%032x', $n + $_)))) } 1 .. 1500)));
	return join('', @groups);
}

my $all = q{SELECT (SELECT count(*) || ' events ' || md5(string_agg(e::text, E'\n' ORDER BY trace_id, id)) FROM trace_ext.events e), (SELECT count(*) || ' resources ' || md5(string_agg(r::text, E'\n' ORDER BY id)) FROM trace_ext.otlp_resources r),
	(SELECT count(*) || ' scopes ' || md5(string_agg(s::text, E'\n' ORDER BY id)) FROM trace_ext.otlp_scopes s), (SELECT count(*) || ' links ' || md5(string_agg(l::text, E'\n' ORDER BY trace_id, span_id, linked_trace_id, linked_span_id)) FROM trace_ext.trace_links l),
	(SELECT count(*) || ' refused ' || md5(string_agg((position, event_id, trace_id, reason, event)::text, E'\n' ORDER BY position)) FROM trace_ext.ingest_errors)};
my $empty = 'TRUNCATE trace_ext.events, trace_ext.otlp_resources, trace_ext.otlp_scopes, trace_ext.trace_links, trace_ext.ingest_errors';
for my $round (1 .. 2)
{
	my $body = any_body(7_000_000);
	my $hex = unpack('H*', $body);
	sql($empty);
	my $counts = sql("SELECT inserted + duplicates, rejected FROM trace_ext.ingest_otlp('\\x$hex'::bytea)");
	my $at_once = sql($all);
	sql($empty);
	my ($status, undef, $answer) = post_long('/v1/traces', $proto, $round == 1 ? $body : zip($body), $round == 1 ? () : ('Content-Encoding' => 'gzip'));
	my (undef, $rejected) = split(/\|/, $counts);
	is($status, 200, length($body) . " bytes of a drawn body, of which $counts records are taken and refused");
	like($answer, qr/(?<!\d)$rejected of \d+ spans were rejected, the first because of its spanId: missing/, 'the client is told how many were refused');
	is(sql($all), $at_once, 'in steps the same is stored as at once');
	like($at_once, qr/^\d{5} events .*\|[1-9]\d* resources .*\|[1-9]\d* scopes .*\|[1-9]\d* links .*\|1000 refused /, 'which is all there can be');
	my ($resent) = post_long('/v1/traces', $proto, $body);
	is($resent, 200, 'sent again');
	is(sql("SELECT count(*) FROM trace_ext.events"), (split(/ /, $at_once))[0], 'nothing is there twice');
}
{
	# Event JSON, with refused ones.
	my $events = '[' . join(',', map { $_ % 97 == 0 ? '{"id":1}' : sprintf('{"id":"%032x","trace_id":"%032x","timestamp":"2026-01-01T00:00:00Z","kind":{"Custom":{"name":"x","data":%d}},"metadata":{}}', $_, 8_000_000 + $_ % 300, $_) } 1 .. 7000) . ']';
	my ($status, undef, $answer) = post_long('/events', $json, $events);
	my $message = '"message":"72 of 7000 events were rejected, the first because of its id: not a string with a UUID"';
	is("$status $answer", qq(200 {"inserted":6928,"duplicates":0,"rejected":72,$message}), 'events are counted over all steps');
	is(stored(8_000_000, 8_000_299), 6928, 'and stored');
	is((post_long('/events', $json, $events))[2], qq({"inserted":0,"duplicates":6928,"rejected":72,$message}), 'as they are when they are sent again');
}

#
# Broken off
#
{
	my ($first, $n) = (10_000_000, 30_000);
	my $body = long_body($first, $n);
	my $long = post_beside('/v1/traces', $proto, $body);
	begins_ok($first, $n, 'a long body is stored in part');
	my $pid = sql('SELECT pid FROM trace_ext_internal.receiver()');
	sql("SELECT pg_terminate_backend($pid)");
	is(($long->())[0], 503, 'the receiver is asked to go: the client is told to come again');
	my $part = stored($first, $first + $n - 1);
	cmp_ok($part, '<', $n, "$part of $n spans are there");
	ok($node->poll_query_until('postgres', "SELECT pid <> $pid AND state = 'listening' FROM trace_ext_internal.receiver()"), 'another receiver');
	is((post_long('/v1/traces', $proto, $body))[0], 200, 'sent again');
	is(stored($first, $first + $n - 1), $n, 'all of it is there once');
}
{
	# A step that fails: an operator's trigger that refuses what comes late in the body.
	my ($first, $n) = (11_000_000, 6_000);
	sql(sprintf(q{CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.trace_id = '%032x' THEN RAISE EXCEPTION USING ERRCODE = 'lock_not_available', MESSAGE = 'not now'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER a_refuse BEFORE INSERT ON trace_ext.events FOR EACH ROW EXECUTE FUNCTION public.refuse()}, $first + $n - 1));
	my $body = long_body($first, $n);
	is((post_long('/v1/traces', $proto, $body))[0], 503, 'a step that fails for now refuses the body for now');
	is((post('/v1/traces', $proto, proto_span(++$serial)))[0], 200, 'and no other one');
	sql('DROP TRIGGER a_refuse ON trace_ext.events');
	is((post_long('/v1/traces', $proto, $body))[0], 200, 'then it is taken');
	is(stored($first, $first + $n - 1), $n, 'all of it');
}

#
# A quota is asked once
#
sql(q{ALTER ROLE trace_ext_receiver SET trace_ext.ingest_quota = 1000});
{
	my $pid = sql('SELECT pid FROM trace_ext_internal.receiver()');
	sql("SELECT pg_terminate_backend($pid)");
	ok($node->poll_query_until('postgres', "SELECT pid <> $pid AND state = 'listening' FROM trace_ext_internal.receiver()"), 'another receiver, with a quota');
	my ($first, $n) = (12_000_000, 9_000);
	is((post_long('/v1/traces', $proto, long_body($first, $n)))[0], 200, 'a body of nine times the quota is let in where nothing else came');
	is(stored($first, $first + $n - 1), $n, 'with all its steps');
	my ($status, $head) = post('/v1/traces', $proto, proto_span(++$serial));
	my ($seconds) = $head =~ /^retry-after: (\d+)\r$/im;
	is($status, 429, 'the next one is not');
	cmp_ok($seconds // 0, '<=', 10, "but in $seconds s");
}

unlike(slurp_file($node->logfile), qr/TRAP|PANIC|terminated by signal/, 'nothing died');
is(sql("SELECT count(*) FROM pg_ls_tmpdir() WHERE name LIKE '%.otlp'"), 0, 'no file is left');
$node->stop;
done_testing();
