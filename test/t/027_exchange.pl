# 027_exchange.pl
#		What goes out is what its format is, by the parsers of others: the official code of
#		OpenTelemetry, promtool, Perfetto's trace processor, Jaeger's and Zipkin's own loaders, and checks of Jaeger's, Zipkin's and
#		Chrome's JSON (exchange_check.py).  What cannot be fetched here is said, and the others run.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

my $node = new_node('exchange', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $test = "$FindBin::RealBin/..";
my $data = "$test/data/otlp";
my $seed = $ENV{SEED} // int(rand(2**31));
my @bodies = map { "$data/$_" } grep { !/^[.]|[.]txt$/ } sort(slurp_dir($data));
diag("seed $seed");

sub write_file
{
	my ($path, $text) = @_;
	open(my $file, '>', $path) or die "$path: $!";
	print $file $text, "\n";
	close($file);
	return $path;
}

sub ingest_all
{
	return join("\n", map { "SELECT trace_ext.ingest_otlp(pg_read_binary_file('$_'));" } @_);
}

# export FORMAT, NAME: all traces that there are, into a file; returns its path.
sub export
{
	my ($format, $name) = @_;
	return write_file("$dir/$name.$format.json", $node->safe_psql('postgres', "SELECT trace_ext.export_$format((SELECT coalesce(array_agg(DISTINCT trace_id), '{}') FROM trace_ext.events))"));
}

my $empty = 'TRUNCATE trace_ext.events, trace_ext.ingest_errors, trace_ext.trace_links, trace_ext.otlp_resources, trace_ext.otlp_scopes;';

# check_formats NAME: all formats of what is stored.
sub check_formats
{
	my ($name) = @_;
	my $events = write_file("$dir/$name.events.json", $node->safe_psql('postgres', q{SELECT jsonb_agg(jsonb_build_object('trace_id', trace_id, 'id', id, 'kind', kind,
		'otlp', trace_id IN (SELECT trace_id FROM trace_ext.events WHERE attributes ? 'otlp'))) FROM trace_ext.events}));
	my $log = "$dir/$name.log";
	my $paths = join(' ', map { "'$_'" } $events, map { export($_, $name) } qw(otlp jaeger zipkin chrome));
	is(system("python3 '$test/exchange_check.py' $paths >'$log' 2>&1"), 0, "$name: all formats") or diag(slurp_file($log));
	note(slurp_file($log));
}

# Each captured body alone, and all together.
my @pairs;
for my $body (@bodies)
{
	my ($name) = $body =~ m{([^/]+)$};
	my $export = 'SELECT trace_ext.export_otlp((SELECT array_agg(DISTINCT trace_id) FROM trace_ext.events))';
	push @pairs, '--' if @pairs;
	push @pairs, write_file("$dir/$name.out", (split /\n/, $node->safe_psql('postgres', "$empty " . ingest_all($body) . "\n$export"))[-1]), $body;
}
$node->safe_psql('postgres', ingest_all(@bodies));
push @pairs, '--', export('otlp', 'bodies'), @bodies;
check_formats('bodies');

# Event JSON, and whatever can be stored.
$node->safe_psql('postgres', "$empty SELECT trace_ext.ingest_events(pg_read_file('$test/data/express-banking.json'))");
check_formats('events');
my $races = q{SELECT count(*), count(DISTINCT name), string_agg(DISTINCT name, ',' ORDER BY name) FROM trace_ext.events WHERE kind = 'StateChange'};
my $before = $node->safe_psql('postgres', $races);
my $again = export('otlp', 'events');
$node->safe_psql('postgres', "$empty SELECT trace_ext.ingest_otlp(pg_read_file('$again'))");
is($node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.ingest_errors'), '0', 'an export goes in again');
is($node->safe_psql('postgres', $races), $before, 'with all accesses');

$node->safe_psql('postgres', "$empty\n\\set seed $seed\n\\i $test/hostile_events.sql");
check_formats('hostile');
my $hostile = "$dir/hostile.otlp.json";
$node->safe_psql('postgres', "$empty SELECT trace_ext.ingest_otlp(pg_read_file('$hostile'))");
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT reason, ', ') FROM trace_ext.ingest_errors}), '', 'what was hostile goes in again');

# Strings that no JSON has: lone surrogates and NUL, in an invalid body.
$node->safe_psql('postgres', "$empty SELECT trace_ext.ingest_otlp('" . '{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "startTimeUnixNano": "5", "name": "\\ud800a\\u0000", "kind": 2,
	"attributes": [{"key": "http.request.method", "value": {"stringValue": "GET\\udfff"}}]}]}]}]}' . "'::text)");
check_formats('surrogates');

# By the official code: equal.
SKIP:
{
	my $venv = $ENV{OTLP_VENV} || "$dir/venv";
	my $log = "$dir/pip.log";
	if (!-x "$venv/bin/python" && (system("python3 -m venv '$venv' >'$log' 2>&1") != 0
			|| system("'$venv/bin/pip' install --quiet opentelemetry-proto perfetto >>'$log' 2>&1") != 0))
	{
		diag('SKIPPED: opentelemetry-proto and perfetto cannot be installed here: ' . slurp_file($log));
		skip 'no opentelemetry-proto', 4;
	}
	my $made = "$dir/official";
	mkdir $made;
	is(system("$venv/bin/python", "$test/otlp_official.py", $seed, 150, $made, 'all'), 0, "150 requests, seed $seed");
	for my $encoding ('bin', 'json')
	{
		my @made = map { "$made/$_.$encoding" } 0 .. 149;
		$node->safe_psql('postgres', "$empty " . ingest_all(@made));
		push @pairs, '--', export('otlp', "official-$encoding"), @made;
	}
	check_formats('official');
	is(system("'$venv/bin/python' '$test/otlp_equal.py' " . join(' ', map { "'$_'" } @pairs) . " >'$dir/equal.log' 2>&1"), 0, 'what came in goes out equal, by the official parser') or diag(slurp_file("$dir/equal.log"));
	note(slurp_file("$dir/equal.log"));
	# The document of hostile names is what the official parser takes, without any unknown field.
	is(system("'$venv/bin/python' '$test/otlp_equal.py' '$hostile' '$hostile' >'$dir/equal.log' 2>&1"), 0, 'as is what never was OpenTelemetry') or diag(slurp_file("$dir/equal.log"));

	# Perfetto's own loader. Its program is fetched at the first use.
	my $perfetto = "$dir/perfetto.py";
	write_file($perfetto, <<'PY');
import json, sys
from perfetto.trace_processor import TraceProcessor, TraceProcessorConfig
for path in sys.argv[1:]:
    tp = TraceProcessor(trace=path)
    events = json.load(open(path))['traceEvents']
    slices = next(iter(tp.query('select count(*) as n from slice'))).n
    errors = [(r.name, r.value) for r in tp.query("select name, value from stats where severity = 'error' and value > 0")]
    flows = next(iter(tp.query('select count(*) as n from flow'))).n
    wanted = sum(e['ph'] in 'Xbi' for e in events)
    print(path, slices, wanted, flows, errors)
    assert slices == wanted and not errors, (slices, wanted, errors)
    tp.close()
PY
	if (system("timeout 30 '$venv/bin/python' '$perfetto' '$dir/events.chrome.json' >'$dir/perfetto.log' 2>&1") != 0 && slurp_file("$dir/perfetto.log") =~ /curl|URLError|urlopen|download|ModuleNotFound/i)
	{
		diag('SKIPPED: Perfetto\'s trace processor cannot be fetched here');
		skip 'no trace processor', 1;
	}
	is(system("timeout 180 '$venv/bin/python' '$perfetto' '$dir/events.chrome.json' '$dir/bodies.chrome.json' '$dir/hostile.chrome.json' >'$dir/perfetto.log' 2>&1"), 0, 'Perfetto loads all slices') or diag(slurp_file("$dir/perfetto.log"));
}

# What a document has, to be compared with what the loaders below found in it.
my @documents = grep { -e "$dir/$_.jaeger.json" } qw(bodies events hostile);
sub sums
{
	my ($python) = @_;
	my $sums = "$dir/sums.py";
	write_file($sums, "import json, sys\nfor name in sys.argv[1:]:\n    d = json.load(open(name))\n    $python");
	return sub { my ($format) = @_; return scalar `python3 '$sums' @{[map { "'$dir/$_.$format.json'" } @documents]}` };
}

# By the types of Jaeger, from Go's proxy.
SKIP:
{
	my $go = (grep { -x } map { "$_/go" } split /:/, $ENV{PATH})[0];
	my $made = "$dir/jaeger";
	mkdir $made;
	write_file("$made/main.go", slurp_file("$test/jaeger_load.go"));
	write_file("$made/go.mod", "module load\n\ngo 1.21\n");
	local %ENV = (%ENV, GOPATH => "$dir/go", GOCACHE => "$dir/go-cache", GOFLAGS => '-mod=mod -modcacherw', GOTOOLCHAIN => 'local', CGO_ENABLED => '0');
	if (!$go || system("cd '$made' && (timeout 90 '$go' get github.com/jaegertracing/jaeger/model/json\@v1.62.0 && timeout 180 '$go' build -o load .) >'$dir/go.log' 2>&1") != 0)
	{
		diag("SKIPPED: Jaeger's Go module cannot be built here: " . ($go ? slurp_file("$dir/go.log") : 'there is no Go'));
		skip 'no Jaeger', 1;
	}
	my $wanted = sums('spans = [s for t in d["data"] for s in t["spans"]]; print(len(d["data"]), len(spans), sum(len(s["logs"]) for s in spans), sum(len(s["references"]) for s in spans), sum(s["duration"] for s in spans))')->('jaeger');
	is(scalar `timeout 180 '$made/load' @{[map { "'$dir/$_.jaeger.json'" } @documents]}`, $wanted, 'Jaeger takes its documents, and finds all in them');
}

# By the decoder of Zipkin's server, from Maven.
SKIP:
{
	my %path = map { my $program = $_; ($program => (grep { -x } map { "$_/$program" } split /:/, $ENV{PATH})[0]) } qw(mvn java);
	my $jar = $ENV{ZIPKIN_JAR} // "$dir/zipkin-3.4.3.jar";
	if (!-e $jar && $path{mvn})
	{
		system("timeout 180 '$path{mvn}' -q -B -Dmaven.repo.local='$dir/m2' dependency:copy -Dartifact=io.zipkin.zipkin2:zipkin:3.4.3 -DoutputDirectory='$dir' >'$dir/mvn.log' 2>&1");
	}
	if (!-e $jar || !$path{java})
	{
		diag("SKIPPED: Zipkin's decoder cannot be had here: " . (-e "$dir/mvn.log" ? slurp_file("$dir/mvn.log") : 'there is no Maven or no Java'));
		skip 'no Zipkin', 1;
	}
	my $wanted = sums('print(len({s["traceId"] for s in d}), len(d), sum(len(s.get("annotations", [])) for s in d), sum("parentId" in s for s in d), sum(s.get("duration", 0) for s in d))')->('zipkin');
	is(scalar `timeout 240 '$path{java}' -cp '$jar' '$test/ZipkinLoad.java' @{[map { "'$dir/$_.zipkin.json'" } @documents]} 2>&1`, $wanted, 'Zipkin takes its documents, and finds all in them');
}

# What is scraped, of services of any name.
$node->safe_psql('postgres', "$empty\n\\set seed $seed\n\\i $test/hostile_events.sql");
$node->safe_psql('postgres', 'SELECT trace_ext.fold()');
SKIP:
{
	my $promtool = $ENV{PROMTOOL} // (grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH})[0];
	if (!$promtool)
	{
		system("cd '$dir' && apt-get download prometheus >apt.log 2>&1 && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xf - ./usr/bin/promtool >>apt.log 2>&1");
		$promtool = "$dir/usr/bin/promtool";
	}
	if (!-x $promtool)
	{
		diag('SKIPPED: promtool, of the package prometheus, cannot be fetched here');
		skip 'no promtool', 2;
	}
	write_file("$dir/metrics.txt", $node->safe_psql('postgres', 'SELECT * FROM trace_ext.prometheus_metrics()'));
	is(system("'$promtool' check metrics <'$dir/metrics.txt' >'$dir/promtool.log' 2>&1"), 0, 'promtool has no words about the metrics') or diag(slurp_file("$dir/promtool.log"));
	like(slurp_file("$dir/metrics.txt"), qr/_bucket\{le="\+Inf",service="/, 'of services as well');
}

# The dashboard: each panel's query runs, in the range of what is there.
{
	my $dashboard = decode_json(slurp_file("$test/../grafana/trace_ext.json"));
	my $trace = $node->safe_psql('postgres', 'SELECT trace_id FROM trace_ext.events LIMIT 1');
	my %variables = (service => join(', ', map { "'" . s/'/''/gr . "'" } split /\n/, $node->safe_psql('postgres', q{SELECT service_name FROM trace_ext.services WHERE service_name !~ '[\n\r]' ORDER BY 1})), trace_id => "'$trace'");
	my $queries = 0;
	my %ids;
	for my $panel (@{ $dashboard->{panels} })
	{
		ok(!$ids{ $panel->{id} }++, "panel $panel->{id} has an id of its own") if $ids{ $panel->{id} };
		for my $target (@{ $panel->{targets} // [] })
		{
			my $sql = $target->{rawSql};
			unlike($sql =~ s/\$\{(service|trace_id):sqlstring\}|\$__timeFilter\(|\$__time(From|To)\(\)//gr, qr/\$/, "$panel->{title}: no macro that is not known");
			$sql =~ s/\$\{(\w+):sqlstring\}/$variables{$1}/g;
			$sql =~ s/\$__timeFilter\(([^)]*)\)/$1 BETWEEN '1990-01-01T00:00:00Z' AND '2600-01-01T00:00:00Z'/g;
			$sql =~ s/\$__timeFrom\(\)/'2026-01-01T00:00:00Z'/g;
			$sql =~ s/\$__timeTo\(\)/'2027-01-01T00:00:00Z'/g;
			my ($ret, $out, $err) = $node->psql('postgres', "SET ROLE trace_ext_reader;\n$sql");
			is($ret, 0, "$panel->{title}: its query runs for a reader") or diag("$sql\n$err");
			# Operations and requests depend on what was made up; these are always there.
			isnt($out, '', "$panel->{title}: and finds something") if $panel->{type} =~ /^(stat|nodeGraph|traces)$/ && $target->{refId} ne 'edges';
			$queries++;
		}
	}
	cmp_ok($queries, '>', 10, "$queries queries");
	like($node->safe_psql('postgres', $_->{query}), qr/./, "variable $_->{name}") for grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} };
}

# The same file by Grafana's own types, from npm: nothing in it that they do not know, and each value of its type.
SKIP:
{
	my $types = "$dir/grafana/node_modules/\@grafana/schema/dist/esm/raw";
	my %options = (stat => 'stat/panelcfg/x/Stat', table => 'table/panelcfg/x/Table', timeseries => 'timeseries/panelcfg/x/TimeSeries', nodeGraph => 'nodegraph/panelcfg/x/NodeGraph');
	if (system("timeout 120 npm install --prefix '$dir/grafana' --ignore-scripts --no-audit --no-fund typescript\@5.4.5 \@grafana/schema\@11.6.0 >'$dir/grafana.log' 2>&1") != 0 || !-d $types)
	{
		diag("SKIPPED: Grafana's types cannot be fetched here: " . slurp_file("$dir/grafana.log"));
		skip 'no types of Grafana', 2;
	}
	my $dashboard = decode_json(slurp_file("$test/../grafana/trace_ext.json"));
	my $json = JSON::PP->new->canonical->pretty->allow_nonref;
	my @panels = grep { $options{ $_->{type} } } @{ $dashboard->{panels} };
	# Grafana writes these two itself, and has no types for them.
	for my $variable (@{ $dashboard->{templating}{list} })
	{
		delete $variable->{definition};
		delete $variable->{current} unless %{ $variable->{current} };
	}
	my $check = sub {
		my ($source) = map { s/"mode" : "(absolute|percentage)"/'"mode" : ThresholdsMode.' . ucfirst($1)/ger } $json->encode($_[0]);
		write_file("$dir/grafana/dashboard.ts", join("\n", "import { Dashboard, ThresholdsMode } from '$types/dashboard/x/dashboard_types.gen';",
			(map { "import type { Options as $_ } from '$types/composable/$options{$_}PanelCfg_types.gen';" } sort keys %options), "export const dashboard: Dashboard = $source;",
			map { 'export const options' . $_->{id} . ": Partial<$_->{type}> = " . $json->encode($_->{options} // {}) . ';' } @panels));
		return system("cd '$dir/grafana' && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --moduleResolution node --target es2020 dashboard.ts >'$dir/tsc.log' 2>&1");
	};
	is($check->($dashboard), 0, 'the dashboard is one by the types of Grafana') or diag(slurp_file("$dir/tsc.log"));
	$dashboard->{panels}[0]{collapsed} = 'perhaps';
	isnt($check->($dashboard), 0, 'which see what is wrong with one');
}

$node->stop;
done_testing();
