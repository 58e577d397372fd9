# TraceExtHttp.pm
#		A client of the receiver that does to the byte what a test says, and requests of spans.
package TraceExtHttp;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IO::Compress::Gzip qw(gzip $GzipError);
use IO::Select;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(has_receiver http_port dial put answer request chunked post zip varint field json_span proto_span span_fields);

my $port;

# Is the receiver's library installed?
sub has_receiver
{
	my $dir = `pg_config --pkglibdir`;
	chomp($dir);
	return -e "$dir/trace_ext_otlp.so";
}

# Where it listens.
sub http_port { ($port) = @_; return }

# What came after the answer that was read last, by socket.
my %rest;

sub dial
{
	my ($to) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to // $port, Proto => 'tcp');

	# Where nobody listens, one in ten thousand has the port for its own, and is connected to itself.
	return undef if defined $socket && $socket->sockport == $socket->peerport;
	# It may have the address of one that is gone.
	delete $rest{$socket} if defined $socket;
	return $socket;
}

# Sends all of it, while answers may come; false where the other side has closed.
sub put
{
	my ($socket, $bytes) = @_;
	my $at = 0;

	while ($at < length $bytes)
	{
		my $n = syswrite($socket, $bytes, 65536, $at);
		return 0 unless $n;
		$at += $n;
	}
	return 1;
}

# The next answer on a connection: status, header, body; status 0 where it was closed or none came in time.
sub answer
{
	my ($socket, $seconds) = @_;
	my $until = time() + ($seconds // $PostgreSQL::Test::Utils::timeout_default);
	my $bytes = delete $rest{$socket} // '';

	while (1)
	{
		if ($bytes =~ /^HTTP\/1\.1 (\d+) [^\r]*\r\n((?:[^\r\n]+\r\n)*)\r\n/)
		{
			my ($status, $head, $end) = ($1, $2, $+[0]);
			my ($length) = $head =~ /^content-length: *(\d+)/im;
			if ($status == 100)
			{
				substr($bytes, 0, $end, '');
				next;
			}
			if (length($bytes) >= $end + ($length // 0))
			{
				$rest{$socket} = substr($bytes, $end + ($length // 0));
				return ($status, $head, substr($bytes, $end, $length // 0));
			}
		}
		my $left = $until - time();
		return (0, '', $bytes) if $left <= 0 || !IO::Select->new($socket)->can_read($left);
		return (0, '', $bytes) unless sysread($socket, $bytes, 65536, length $bytes);
	}
}

# The bytes of a request.
sub request
{
	my ($path, $type, $body, %headers) = @_;
	my $method = delete $headers{method} // 'POST';
	my $head = "$method $path HTTP/1.1\r\nHost: localhost\r\n";

	$headers{'Content-Type'} //= $type if defined $type;
	$headers{'Content-Length'} //= length $body if !exists $headers{'Transfer-Encoding'};
	$head .= "$_: $headers{$_}\r\n" for grep { defined $headers{$_} } sort keys %headers;
	return "$head\r\n$body";
}

sub chunked { return join('', map { sprintf("%x\r\n%s\r\n", length $_, $_) } @_) . "0\r\n\r\n" }

# One request on a connection of its own.
sub post
{
	my $socket = dial() or return (0, '', '');
	put($socket, request(@_)) or note('cut while sending');
	return answer($socket);
}

sub zip { my $packed; gzip(\$_[0], \$packed) or die $GzipError; return $packed }

sub varint { my ($n) = @_; my $s = ''; while ($n >= 128) { $s .= chr($n & 127 | 128); $n >>= 7 } return $s . chr($n) }

sub field { my ($tag, $bytes) = @_; return chr($tag) . varint(length $bytes) . $bytes }

# A request of one span of its own trace, in JSON and in protobuf.
sub json_span
{
	my ($n, $name) = @_;
	return sprintf('{"resourceSpans":[{"resource":{},"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":"%s","kind":1,"startTimeUnixNano":"1767225600000000000","endTimeUnixNano":"1767225600001000000"}]}]}]}',
		$n, $n, $name // 'span');
}

sub proto_span
{
	my ($n, $name) = @_;
	my $span = field(0x0a, pack('H32', sprintf('%032x', $n))) . field(0x12, pack('H16', sprintf('%016x', $n))) . field(0x2a, $name // 'span')
	  . "\x39" . pack('Q<', 1767225600000000000) . "\x41" . pack('Q<', 1767225600001000000);
	return field(0x0a, field(0x12, field(0x12, $span)));
}

# What a span of its own trace has at least.
sub span_fields { my ($n) = @_; return field(0x0a, pack('H32', sprintf('%032x', $n))) . field(0x12, pack('H16', sprintf('%016x', $n))) . "\x39" . pack('Q<', 1767225600000000000) }

1;
