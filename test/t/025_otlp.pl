# 025_otlp.pl
#		ingest_otlp() keeps within its bounds when a body is a bomb, survives a dump, and reads what
#		the official generated code of OpenTelemetry writes.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use IO::Compress::Gzip qw(gzip $GzipError);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

my $node = new_node('otlp', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $data = "$FindBin::RealBin/../data/otlp";

# write_file NAME, BYTES: a file that the server can read; returns its path.
sub write_file
{
	my ($name, $bytes) = @_;
	open(my $file, '>:raw', "$dir/$name") or die "$dir/$name: $!";
	print $file $bytes;
	close($file);
	return "$dir/$name";
}

# The memory of a backend grows by less than the limit, times what its buffers take beyond it.
sub peak_kb
{
	return q{(SELECT (regexp_match(pg_read_file('/proc/' || pg_backend_pid() || '/status'), 'VmHWM:\s+(\d+)'))[1]::int)};
}

# Bombs: 1 GB of zeros, and 1 GB of spaces before a request, in 1 MB.
for my $fill ("\0", ' ')
{
	my $unpacked = $fill x (64 * 1024 * 1024);
	my $packed;
	my $gzip = IO::Compress::Gzip->new(\$packed) or die $GzipError;
	$gzip->write($unpacked) for 1 .. 16;
	$gzip->close;
	my $path = write_file('bomb', $packed);
	my ($ret, $out, $err) = $node->psql('postgres',
		"\\set ON_ERROR_STOP off\nSELECT trace_ext.ingest_otlp('{}');\nSELECT " . peak_kb() . " AS before \\gset\n"
		. "SELECT trace_ext.ingest_otlp(pg_read_binary_file('$path'));\nSELECT " . peak_kb() . " - :before");
	like($err, qr/longer than trace_ext.otlp_max_size \(67108864 bytes\) when it is unpacked/, 'a bomb is refused: ' . length($packed) . ' bytes');
	my ($grown) = $out =~ /(\d+)\s*\z/;
	cmp_ok($grown, '<', 200 * 1024, "its backend grew by $grown kB");
}
# A body within the limit that would be a million events.
{
	my $span = "\x0a\x10" . ("\1" x 16) . "\x12\x08" . ("\1" x 8) . "\x39" . ("\1" x 8) . "\x5a\x00" x 90_000;
	my $spans = '';
	$spans .= "\x12" . varint(length $span) . $span for 1 .. 12;
	my $scopes = "\x12" . varint(length $spans) . $spans;
	my $path = write_file('many', "\x0a" . varint(length $scopes) . $scopes);
	my ($ret, $out, $err) = $node->psql('postgres', "SELECT trace_ext.ingest_otlp(pg_read_binary_file('$path'))");
	like($err, qr/the body has more than 1000000 events/, 'a body of more than a million events is refused');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.events'), '0', 'and nothing of it stays');
}

sub varint
{
	my ($n) = @_;
	my $bytes = '';
	while ($n > 127)
	{
		$bytes .= chr($n & 127 | 128);
		$n >>= 7;
	}
	return $bytes . chr($n);
}

# Four writers who bring the same bodies at the same time, in opposite orders.
my @bodies = map { "$data/$_" } grep { !/^[.]|[.]txt$/ } sort(slurp_dir($data));
sub ingest_all
{
	return join("\n", map { "SELECT trace_ext.ingest_otlp(pg_read_binary_file('$_'));" } @_);
}
{
	my @writers = map { my $order = $_; psql_child(sub { $node->safe_psql('postgres', ingest_all(@$order)) }) } (\@bodies, [ reverse @bodies ], \@bodies, [ reverse @bodies ]);
	my $failed = 0;
	waitpid($_, 0) == $_ && $? == 0 or $failed++ for @writers;
	is($failed, 0, 'four writers of the same bodies at the same time');
	is($node->safe_psql('postgres', 'SELECT count(*) > 500, count(DISTINCT (trace_id, id)) = count(*) FROM trace_ext.events'), 't|t', 'each event is there once');
	exact_ok($node, 'counts are exact');
}

# A dump brings resources, scopes and links, also where they are already.
my $sums = q{SELECT (SELECT count(*) || md5(string_agg(e::text, ' ' ORDER BY trace_id, id)) FROM trace_ext.events e), (SELECT md5(string_agg(r::text, ' ' ORDER BY id)) FROM trace_ext.otlp_resources r),
	(SELECT md5(string_agg(s::text, ' ' ORDER BY id)) FROM trace_ext.otlp_scopes s), (SELECT count(*) || md5(string_agg(l::text, ' ' ORDER BY l::text)) FROM trace_ext.trace_links l)};
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$dir/dump.sql" ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', "$dir/dump.sql" ], 'restored');
is($node->safe_psql('restored', $sums), $node->safe_psql('postgres', $sums), 'what came in is there again');
$node->safe_psql('postgres', 'CREATE DATABASE used');
$node->safe_psql('used', "CREATE EXTENSION trace_ext; " . ingest_all(@bodies[ 0 .. 9 ]) . ' TRUNCATE trace_ext.events;');
$node->safe_psql('used', ingest_all($bodies[0]) . ' DELETE FROM trace_ext.events;');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('used'), '-f', "$dir/dump.sql" ], 'restored where some are');
is($node->safe_psql('used', $sums), $node->safe_psql('postgres', $sums), 'each is there once');

# Databases of other encodings: what they lack is a question mark, and refuses nothing.
for my $encoding ('LATIN1', 'SQL_ASCII')
{
	my $db = lc $encoding;
	my $span = '{"traceId": "%032d", "spanId": "%016d", "startTimeUnixNano": 1, "name": "%s", "kind": %s}';
	my $body = '{"resourceSpans": [{"scopeSpans": [{"spans": [' . join(', ', sprintf($span, 1, 1, "\xC3\xA9\xE2\x82\xAC\\u00e9\\u20ac", 1), sprintf($span, 2, 2, "\xE2\x82\xAC", '"bad"'),
		sprintf($span, 3, 3, "\xC3", 1)) . ']}]}]}';
	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING '$encoding' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
	is($node->safe_psql($db, "CREATE EXTENSION trace_ext; SELECT trace_ext.ingest_otlp('\\x" . unpack('H*', $body) . "'::bytea)"), '(1,0,2)', "$encoding");
	my ($e, $euro) = $encoding eq 'LATIN1' ? ('e9', '3f') : ('c3a9', 'e282ac');
	is($node->safe_psql($db, q{SELECT encode(name::bytea, 'hex') FROM trace_ext.events}), "$e$euro$e$euro", "its characters");
	is($node->safe_psql($db, q{SELECT string_agg(reason, ', ' ORDER BY id), count(encode(event::bytea, 'hex')) FROM trace_ext.ingest_errors}), 'kind: not a number, name: not valid UTF-8|2', 'what is refused');
	is($node->safe_psql($db, ingest_all(@bodies) . ' SELECT count(*) > 500 FROM trace_ext.events') =~ s/.*\n//sr, 't', 'the bodies of the SDKs');
}

# What the official code writes.
SKIP:
{
	my $venv = $ENV{OTLP_VENV} // "$dir/venv";
	my $log = "$dir/pip.log";
	if (!-x "$venv/bin/python" && (system("python3 -m venv '$venv' >'$log' 2>&1") != 0
			|| system("'$venv/bin/pip' install --quiet opentelemetry-proto >>'$log' 2>&1") != 0))
	{
		diag('SKIPPED: opentelemetry-proto cannot be installed here: ' . slurp_file($log));
		skip 'no opentelemetry-proto', 5;
	}
	my $seed = $ENV{SEED} // int(rand(2**31));
	my $made = "$dir/official";
	mkdir $made;
	is(system("$venv/bin/python", "$FindBin::RealBin/../otlp_official.py", $seed, 200, $made), 0, "200 requests, seed $seed");
	$node->safe_psql('postgres', 'TRUNCATE trace_ext.events, trace_ext.ingest_errors, trace_ext.otlp_resources, trace_ext.otlp_scopes');
	is($node->safe_psql('postgres', ingest_all(map { "$made/$_.bin" } 0 .. 199) =~ s/SELECT (trace_ext[^;]*);/INSERT INTO answers SELECT * FROM $1;/gr =~ s/^/CREATE TABLE answers (inserted bigint, duplicates bigint, rejected bigint);\n/r
			. "\nSELECT sum(inserted) > 500, sum(duplicates), sum(rejected) FROM answers"), 't|0|0', 'all of them go in');
	is($node->safe_psql('postgres', qq{
		CREATE TABLE sent (trace_id uuid, span_id text, parent text, start numeric, duration bigint, name text, events int, links int);
		COPY sent FROM '$made/spans.csv' (FORMAT csv);
		SELECT count(*) > 200, count(e.id), count(*) FILTER (WHERE e.events = s.events AND e.links = s.links)
		  FROM sent s LEFT JOIN LATERAL (SELECT e.id, (SELECT count(*) FROM trace_ext.events o WHERE (o.trace_id, o.span_id) = (s.trace_id, s.span_id) AND o.duration_ns IS NULL) AS events,
				(SELECT count(*) FROM trace_ext.trace_links l WHERE (l.trace_id, l.span_id) = (s.trace_id, s.span_id)) AS links
			FROM trace_ext.events e WHERE e.trace_id = s.trace_id AND e.span_id = s.span_id AND e.duration_ns = s.duration AND coalesce(e.name, '') = coalesce(s.name, '')
			 AND extract(epoch FROM e."timestamp")::numeric(20, 6) * 1000000000 + coalesce((e.attributes ->> 'timestamp_ns')::int, 0) = s.start
			 AND left(replace(e.parent_id::text, '-', ''), 16) IS NOT DISTINCT FROM nullif(s.parent, '')) e ON true}) =~ s/^t\|(\d+)\|\1$/equal/r, 'equal', 'each span is what was sent');
	$node->safe_psql('postgres', 'CREATE TABLE of_wire AS TABLE trace_ext.events; TRUNCATE trace_ext.events;');
	$node->safe_psql('postgres', ingest_all(map { "$made/$_.json" } 0 .. 199));
	is($node->safe_psql('postgres', '(TABLE of_wire EXCEPT ALL TABLE trace_ext.events) UNION ALL (TABLE trace_ext.events EXCEPT ALL TABLE of_wire)'), '', 'the same in JSON');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.ingest_errors'), '0', 'nothing was refused');
}

$node->stop;
done_testing();
