# 035_receiver_memory.pl
#		What the receiver has for itself stays within 64 MiB, whatever is sent at once; and others do
#		not pay for the time that long bodies take.

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
plan skip_all => 'there is no /proc/PID/smaps_rollup here' if !-e '/proc/self/smaps_rollup';

seed_random();
$SIG{PIPE} = 'IGNORE';

my $port = PostgreSQL::Test::Cluster::get_free_port();
http_port($port);
my $dir = PostgreSQL::Test::Utils::tempdir();
my $json = 'application/json';
my $proto = 'application/x-protobuf';
my $limit = 64 * 1024;
my $most = 16 * 1024 * 1024;
# The settings of an operator whose sessions may take more, and who logs parameters.
my $node = new_node('memory', shared_preload_libraries => 'trace_ext, auto_explain', 'auto_explain.log_min_duration' => 0, 'trace_ext.workers' => 'off', 'trace_ext.otlp_listen' => "127.0.0.1:$port", work_mem => '256MB', jit_above_cost => 0);

sub sql { return $node->safe_psql('postgres', @_) }

sub listens_ok { ok($node->poll_query_until('postgres', q{SELECT receiver_state = 'listening' FROM trace_ext.status}), shift) }

# What the receiver has that is not shared memory, in kB: its part of pages that it shares with the postmaster included.
sub own_memory
{
	my ($pid) = @_;
	open(my $file, '<', "/proc/$pid/smaps_rollup") or return 0;
	my %kb = map { /^(\w+): +(\d+) kB/ ? ($1 => $2) : () } <$file>;
	return ($kb{Pss} // 0) - ($kb{Pss_Shmem} // 0);
}

# most_memory CODE: the most that it has while that runs, asked all the time by another process.
sub most_memory
{
	my ($code) = @_;
	my $pid = sql('SELECT pid FROM trace_ext_internal.receiver()');
	pipe(my $read, my $write) or die;
	my $child = psql_child(sub {
		my ($peak, $go) = (0, 1);
		local $SIG{TERM} = sub { $go = 0 };
		while ($go)
		{
			my $now = own_memory($pid);
			$peak = $now if $now > $peak;
			sleep(0.003);
		}
		syswrite($write, "$peak\n");
	});
	$code->();
	kill('TERM', $child);
	waitpid($child, 0);
	my $peak = <$read>;
	chomp($peak);
	return $peak;
}

# Bodies of about that many bytes, of spans of 5 to a trace. "n" is another one for each.
sub fill
{
	my ($bytes, $span) = @_;
	my @spans;
	my $size = 0;
	for (my $i = 0; $size < $bytes - 2048 - (@spans ? length $spans[0] : 0); $i++)
	{
		push @spans, $span->($i);
		$size += 1 + length $spans[-1];
	}
	return @spans;
}

sub ids { my ($n, $i) = @_; return (sprintf('%08x%024x', $n, 1 + int($i / 5)), sprintf('%016x', $i + 1)) }

my @values = map { join('', map { chr(97 + int(rand(26))) } 1 .. 60) } 1 .. 100;

sub proto_body
{
	my ($n) = @_;
	my @spans = fill($most, sub {
		my ($i) = @_;
		my ($trace, $span) = ids($n, $i);
		return field(0x12, field(0x0a, pack('H32', $trace)) . field(0x12, pack('H16', $span)) . field(0x2a, "step $i") . "\x39" . pack('Q<', 1767225600000000000 + $i)
			  . "\x41" . pack('Q<', 1767225600001000000 + $i) . join('', map { field(0x4a, field(0x0a, "key.$_") . field(0x12, field(0x0a, $values[($i * $_) % 100]))) } 1 .. 8));
	});
	return (field(0x0a, field(0x12, join('', @spans))), scalar @spans);
}

sub json_body
{
	my ($n) = @_;
	my @spans = fill($most, sub {
		my ($i) = @_;
		my ($trace, $span) = ids($n, $i);
		return sprintf('{"traceId":"%s","spanId":"%s","name":"step %d","startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":[%s]}', $trace, $span, $i, 1767225600000000000 + $i, 1767225600001000000 + $i,
			join(',', map { qq({"key":"key.$_","value":{"stringValue":"$values[($i * $_) % 100]"}}) } 1 .. 4));
	});
	return ('{"resourceSpans":[{"scopeSpans":[{"spans":[' . join(',', @spans) . ']}]}]}', scalar @spans);
}

sub events_body
{
	my ($n) = @_;
	my @events = fill($most, sub {
		my ($i) = @_;
		my ($trace, $span) = ids($n, $i);
		return sprintf('{"id":"%08x%s%08x","trace_id":"%s","timestamp":"2026-01-02T03:04:05Z","kind":{"FunctionCall":{"function_name":"f%d","module":"m","args":{"a":"%s","b":"%s"}}},"metadata":{"service_name":"s"}}',
			$n, $span, $i, $trace, $i % 50, @values[ $i % 100, ($i * 7) % 100 ]);
	});
	return ('{"events":[' . join(',', @events) . ']}', scalar @events);
}

# Spans as long and as rich as they may be, which take most while they are read.
sub rich_body
{
	my ($n) = @_;
	my $attributes = join('', map { field(0x4a, field(0x0a, "a$_") . field(0x12, field(0x32, field(0x0a, field(0x0a, 'k') . field(0x12, field(0x0a, $values[$_ % 100])))))) } 1 .. 8300);
	my @spans = fill($most, sub { my ($trace, $span) = ids($n, shift); return field(0x12, field(0x0a, pack('H32', $trace)) . field(0x12, pack('H16', $span)) . "\x39" . pack('Q<', 1767225600000000000) . $attributes) });
	return (field(0x0a, field(0x12, join('', @spans))), scalar @spans);
}

# Sends all of them at once, each by a process of its own; their statuses, in the order given.
sub send_all
{
	my @children = map {
		my ($path, $type, $body, %headers) = @$_;
		psql_child(sub { my ($status) = post($path, $type, $body, %headers); POSIX::_exit($status == 200 ? 0 : $status == 503 ? 53 : $status == 413 ? 13 : 1) })
	} @_;
	return join(',', map { waitpid($_, 0); $? >> 8 } @children);
}

listens_ok('it listens');
for my $case (
	[ 'protobuf, protobuf with gzip, JSON', [ '/v1/traces', $proto, proto_body(1) ], [ '/v1/traces', $proto, proto_body(2), 1 ], [ '/v1/traces', $json, json_body(3) ] ],
	[ 'JSON with gzip, events, long spans of many values', [ '/v1/traces', $json, json_body(4), 1 ], [ '/events', $json, events_body(5) ], [ '/v1/traces', $proto, rich_body(6), 1 ] ])
{
	my ($name, @bodies) = @$case;
	my $sizes = join(', ', map { length $_->[2] } @bodies);
	my $count = 0;
	$count += $_->[3] for @bodies;
	my @requests = map { my ($path, $type, $body, undef, $packed) = @$_; [ $path, $type, $packed ? zip($body) : $body, $packed ? ('Content-Encoding' => 'gzip') : () ] } @bodies;
	sql('TRUNCATE trace_ext.events');
	my $statuses;
	my $peak = most_memory(sub { $statuses = send_all(@requests) });
	is($statuses, '0,0,0', "$name of $sizes bytes at once: taken");
	is(sql('SELECT count(*), count(DISTINCT (trace_id, id)) FROM trace_ext.events'), "$count|$count", 'all of it is there');
	cmp_ok($peak, '<=', $limit, "within its memory: $peak kB");
	cmp_ok($peak, '>', 8 * 1024, 'which was looked at while they were stored');
}
sql('TRUNCATE trace_ext.events');
cmp_ok(own_memory(sql('SELECT pid FROM trace_ext_internal.receiver()')), '<', 16 * 1024, 'and less again: ' . own_memory(sql('SELECT pid FROM trace_ext_internal.receiver()')) . ' kB');
is(sql('SELECT buffered FROM trace_ext_internal.receiver()'), 0, 'no body is kept');
is(sql("SELECT count(*) FROM pg_ls_tmpdir()"), 0, 'nor a file');

# Long heads and bodies on all connections, beside three long bodies.
{
	my @bodies = map { [ '/v1/traces', $proto, (rich_body($_))[0] ] } 11 .. 13;
	my @sockets;
	my $statuses;
	my $peak = most_memory(sub {
		@sockets = map { dial() } 1 .. 480;
		put($_, request('/v1/traces', $json, ' ' x 20_000, 'Content-Length' => 900_000, 'X-Long' => 'x' x 11_000)) for @sockets;
		$statuses = send_all(@bodies);
	});
	like($statuses, qr/^(0|53),(0|53),(0|53)$/, "beside 480 other requests: taken, or refused for now: $statuses");
	cmp_ok($peak, '<=', $limit, "within its memory: $peak kB");
	@sockets = ();
}

# A long body in chunks of any size, its blocks between those of others, arrives as it was sent.
{
	my ($body, $count) = json_body(20);
	my ($at, @chunks) = (0);
	while ($at < length $body)
	{
		my $n = rand() < 0.5 ? 1 + int(rand(20)) : 1 + int(rand(60_000));
		push @chunks, substr($body, $at, $n);
		$at += $n;
	}
	my ($other, $others) = json_body(21);
	sql('TRUNCATE trace_ext.events');
	is(send_all([ '/v1/traces', $json, chunked(@chunks), 'Transfer-Encoding' => 'chunked' ], [ '/v1/traces', $json, $other ]), '0,0', scalar(@chunks) . ' chunks beside another body');
	is(sql('SELECT count(*), count(*) FILTER (WHERE name ~ $$^step [0-9]+$$) FROM trace_ext.events'), ($count + $others) . '|' . ($count + $others), 'all of it is there');
}

# A client whose body was under way while others were stored is not told that he was slow.
sql(q{CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(10.5); RETURN NULL; END $$;
	CREATE TRIGGER a_slow BEFORE INSERT ON trace_ext.events FOR EACH STATEMENT EXECUTE FUNCTION public.slow()});
{
	my ($waits, $stores) = (dial(), dial());
	my $body = '{' . ' ' x 100 . '}';
	put($waits, request('/v1/traces', $json, '{' . ' ' x 50, 'Content-Length' => length $body));
	put($stores, request('/v1/traces', $json, json_span(1)));
	is((answer($stores))[0], 200, 'a body whose storing takes longer than a request may take to come');
	put($waits, ' ' x 50 . '}');
	is((answer($waits))[0], 200, 'one that began before it is taken');
}
sql('DROP TRIGGER a_slow ON trace_ext.events');

# The disk is full, or not to be had: bodies that would go there are refused for now.
# (The file is opened once, so this is of a receiver that has not yet needed it.)
{
	my $tmp = $node->data_dir . '/base/pgsql_tmp';
	my $pid = sql('SELECT pid FROM trace_ext_internal.receiver()');
	sql("SELECT pg_terminate_backend($pid)");
	ok($node->poll_query_until('postgres', "SELECT pid <> $pid AND state = 'listening' FROM trace_ext_internal.receiver()"), 'another receiver');
	rename($tmp, "$tmp.away") or die;
	is((post('/v1/traces', $json, (json_body(30))[0]))[0], 503, 'without a place for it a long body is refused');
	is((post('/v1/traces', $json, json_span(2)))[0], 200, 'a short one needs none');
	rename("$tmp.away", $tmp) or die;
	is((post('/v1/traces', $json, '{' . ' ' x (2 * 1024 * 1024) . '}'))[0], 200, 'with it, it is taken');
}

#
# When to come back
#
sql(q{ALTER ROLE trace_ext_receiver SET trace_ext.ingest_quota = 100});
{
	my $pid = sql('SELECT pid FROM trace_ext_internal.receiver()');
	sql("SELECT pg_terminate_backend($pid)");
	ok($node->poll_query_until('postgres', "SELECT pid <> $pid AND state = 'listening' FROM trace_ext_internal.receiver()"), 'another receiver, with a quota');
}
my $serial = 1_000_000;
sub spans { my ($n) = @_; return join('', map { proto_span(++$serial) } 1 .. $n) }
for my $case ([ 60, 60, 1, 2 ], [ 250, 60, 2, 3 ], [ 420, 420, 4, 5 ])
{
	my ($first, $second, $least, $most_seconds) = @$case;
	my $body = spans($second);
	sleep(1.2);
	is((post('/v1/traces', $proto, spans($first)))[0], 200, "$first spans");
	my ($status, $head) = post('/v1/traces', $proto, $body);
	my $refused = time();
	is($status, 429, "$second more are too many");
	my ($seconds) = $head =~ /^retry-after: (\d+)\r$/im;
	cmp_ok($seconds // 0, '>=', $least, "come back after $seconds s");
	cmp_ok($seconds, '<=', $most_seconds, 'not much later than needed');
	# It is rounded up to seconds, so to be refused for certain is to ask more than one before it.
	if ($seconds > 2)
	{
		sleep(1);
		my ($early) = post('/v1/traces', $proto, $body);
		is($early, 429, 'before that it is refused') if time() - $refused < $seconds - 1;
		next if $early == 200;
	}
	sleep($refused + $seconds - time()) if $refused + $seconds > time();
	is((post('/v1/traces', $proto, $body))[0], 200, 'then it is taken');
	sleep($second / 100) if $second > 100;
}

unlike(slurp_file($node->logfile), qr/TRAP|PANIC|terminated by signal/, 'nothing died');
$node->stop;
done_testing();
