# 033_pictures.pl
#		Pictures and pages, read by the programs that read them: xmllint, dot, an HTML parser, speedscope, and a
#		browser, which also says whether texts overlap and whether the page can be used by keys.
#
# A program that is not there is told of, and the rest is tried. TRACE_EXT_TOOLS=all: it must be there.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(time);

my $node = new_node('pictures', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $data = "$FindBin::RealBin/../data";

# tool NAME...: the path of the first of these programs that is installed; undef, and a word about it, if none is.
sub tool
{
	foreach my $name (@_)
	{
		foreach my $path (split(/:/, $ENV{PATH}))
		{
			return "$path/$name" if -x "$path/$name";
		}
	}
	fail("$_[0] is installed") if ($ENV{TRACE_EXT_TOOLS} // '') eq 'all';
	diag("$_[0] is not installed: what it would read is not tried");
	return undef;
}

# output COMMAND...: what it prints, both ways, and whether it succeeded in time.
sub output
{
	my ($out, $err) = ('', '');
	my $done = eval { IPC::Run::run([@_], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)) };
	return ($done, $out, $err);
}

sub slurp { return PostgreSQL::Test::Utils::slurp_file($_[0]); }

sub spew
{
	my ($name, $text) = @_;
	open(my $file, '>:raw', "$dir/$name") or die "$dir/$name: $!";
	print $file $text;
	close($file);
	return "$dir/$name";
}

#
# What is drawn: captured traces, hostile names, an array, a trace of 200,000 events
#
my @hostile = ('<script>alert(1)</script>', ']]><svg onload=alert(1)>', q{"'`; } . '} x [label=', '&lt;b&gt; &bogus;', "one\ntwo\r\nthree", "\e[31mred\a",
	"abc\x{202e}def\x{2067}ghi", "\x{fffe}\x{fdd0}", '</style></title></p></samp></body><script>', "\x{5d0}\x{5d1}\x{5d2} \x{645}\x{631}\x{62d}\x{628}\x{627}", "Z" . "\x{301}" x 100, "\x{6f22}" x 200, 'W' x 1000000);
my $load = "SELECT inserted FROM trace_ext.ingest_events(pg_read_file('$data/express-banking.json'));\n"
  . "SELECT sum(i.inserted) FROM (SELECT pg_read_binary_file('$data/otlp/' || f) AS body FROM pg_ls_dir('$data/otlp') f WHERE f !~ '[.]txt\$') b, trace_ext.ingest_otlp(body) i;\n";
for my $n (0 .. $#hostile)
{
	my $text = join(' || ', map { sprintf('chr(%d)', $_) } unpack('W*', length $hostile[$n] > 1000 ? '' : $hostile[$n])) || "repeat('W', 1000000)";
	$load .= qq{INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id, duration_ns, attributes)
		SELECT ('000000aa-0000-0000-000' || t || '-' || lpad('$n', 12, '0'))::uuid, ('000000a' || e || '-0000-0000-000' || t || '-' || lpad('$n', 12, '0'))::uuid,
			   CASE WHEN e > 1 THEN ('000000a1-0000-0000-000' || t || '-' || lpad('$n', 12, '0'))::uuid END, '2001-01-01+00'::timestamptz + $n * interval '1 hour' + (t + 2 * e) * interval '1 ms',
			   (ARRAY['HttpRequest', 'StateChange', 'StateChange', 'Error', 'DatabaseQuery'])[e]::trace_ext.event_kind, CASE WHEN e IN (2, 3) THEN left(x, 200) ELSE x END, left(x, 100), x, 't' || t,
			   CASE WHEN e IN (1, 5) THEN 20000000 END,
			   CASE WHEN e IN (2, 3) THEN jsonb_build_object('access_type', CASE e WHEN 2 THEN 'Read' ELSE 'Write' END, 'new_value', left(x, 200), 'location', left(x, 200)) ELSE jsonb_build_object(left(x, 900), x) END
		  FROM (SELECT $text AS x) x, generate_series(1, 2) t, generate_series(1, 5) e;\n};
}
$load .= q{
	INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns)
	SELECT '000000bb-0000-0000-0000-000000000000', lpad(i::text, 32, '0')::uuid, CASE WHEN i > 1 THEN lpad((i / 4 + (i < 4)::int)::text, 32, '0')::uuid END, '2002-01-01+00'::timestamptz + i * interval '1 ms',
		   'FunctionCall', 'computeThePriceOfItem' || i % 100, 's' || i % 10, CASE WHEN i = 1 THEN 300000000000 ELSE 1000000 END FROM generate_series(1, 200000) i;
	SELECT trace_ext.fold(); SELECT trace_ext.detect();};
$node->safe_psql('postgres', $load);

my %files;
my %queries = (
	race => "SELECT trace_ext.race_svg(id) FROM trace_ext.findings WHERE event1_trace_id::text NOT LIKE '000000%' ORDER BY confidence DESC, id LIMIT 12",
	race_hostile => "SELECT trace_ext.race_svg(id) FROM trace_ext.findings WHERE event1_trace_id::text LIKE '000000aa%' ORDER BY kind, variable COLLATE \"C\" LIMIT 15",
	trace => "SELECT trace_ext.trace_svg(trace_id) FROM trace_ext.trace_summaries WHERE event_count < 1000 AND trace_id::text NOT LIKE '000000%' ORDER BY event_count DESC, trace_id LIMIT 12",
	trace_hostile => "SELECT trace_ext.trace_svg(trace_id) FROM trace_ext.trace_summaries WHERE trace_id::text LIKE '000000aa%' ORDER BY trace_id",
	trace_long => "SELECT trace_ext.trace_svg('000000bb-0000-0000-0000-000000000000')",
	flame => "SELECT trace_ext.flame_svg(array_agg(trace_id ORDER BY trace_id)) FROM trace_ext.trace_summaries WHERE event_count < 1000",
	flame_long => "SELECT trace_ext.flame_svg('000000bb-0000-0000-0000-000000000000')",
	dot => "SELECT trace_ext.trace_dot(array_agg(trace_id ORDER BY trace_id)) FROM trace_ext.trace_summaries WHERE event_count < 1000 AND trace_id::text NOT LIKE '000000%'",
	dot_hostile => "SELECT trace_ext.trace_dot(trace_id) FROM trace_ext.trace_summaries WHERE trace_id::text LIKE '000000aa%' ORDER BY trace_id",
	dot_services => "SELECT trace_ext.service_dot('100 years')",
	folded => "SELECT trace_ext.folded(array_agg(trace_id ORDER BY trace_id)) FROM trace_ext.trace_summaries",
	page => "SELECT trace_ext.trace_html(event2_trace_id) FROM trace_ext.findings WHERE confirmed AND event1_trace_id::text NOT LIKE '000000%' ORDER BY id LIMIT 3",
	page_hostile => "SELECT trace_ext.trace_html(trace_id) FROM trace_ext.trace_summaries WHERE trace_id::text LIKE '000000aa%' ORDER BY trace_id",
	page_long => "SELECT trace_ext.trace_html('000000bb-0000-0000-0000-000000000000')",
	page_report => "SELECT trace_ext.report_html('100 years')",
	page_report_captured => "SELECT trace_ext.report_html(now() - '2025-01-01+00')");
foreach my $name (sort keys %queries)
{
	my $from = time();
	# As the docs have it: one file an answer.
	$node->safe_psql('postgres', "CREATE TABLE drawn_$name AS SELECT row_number() OVER () AS n, q.* FROM ($queries{$name}) AS q (picture)");
	my $n = $node->safe_psql('postgres', "SELECT count(*) FROM drawn_$name");
	$files{$name} = [ map { "$dir/$name.$_" } 1 .. $n ];
	$node->safe_psql('postgres', join("\n", map { "SELECT picture FROM drawn_$name WHERE n = $_ \\g (format=unaligned tuples_only=on) $dir/$name.$_" } 1 .. $n));
	my $bytes = 0;
	$bytes += -s $_ for @{$files{$name}};
	note(sprintf('%s: %d files, %d bytes, %.2f s', $name, $n, $bytes, time() - $from));
}
cmp_ok(scalar @{$files{race}}, '>=', 10, 'captured races are drawn');
cmp_ok(scalar @{$files{race_hostile}}, '>=', 10, 'races of hostile names are drawn');

#
# xmllint
#
SKIP:
{
	my $xmllint = tool('xmllint') or skip('no xmllint', 1);
	my @svg = map { @{$files{$_}} } grep { /^(race|trace|flame)/ } sort keys %files;
	my ($done, $out, $err) = output($xmllint, '--noout', '--nonet', @svg);
	ok($done && $err eq '', scalar(@svg) . ' pictures are XML') or diag(substr($err, 0, 2000));
}

#
# dot
#
SKIP:
{
	my $dot = tool('dot') or skip('no graphviz', 1);
	my @graphs = map { @{$files{$_}} } grep { /^dot/ } sort keys %files;
	my @bad;
	foreach my $file (@graphs)
	{
		my ($done, $out, $err) = output($dot, '-Tsvg', $file);
		push(@bad, "$file: $err") unless $done && $out =~ m{</svg>} && $err !~ /error|warning: (?!.*(?:size|font|triangulation))/i;
		push(@bad, "$file has an element of a client's") if $out =~ /<script|<[^<>]*onload=/i;
	}
	is("@bad", '', scalar(@graphs) . ' graphs are drawn by dot');
}

#
# Folded stacks, as flamegraph.pl and speedscope take them apart
#
{
	my %sums;
	my $bad = 0;
	foreach my $line (split(/\n/, slurp($files{folded}[0])))
	{
		$line =~ /^(.*) (\d+)$/ or $bad++;
		my @frames = split(/;/, $1 // '', -1);
		$bad++ if grep { $_ eq '' } @frames;
		$sums{$frames[0]} += $2;
	}
	is($bad, 0, 'folded stacks are frames and a number');
	cmp_ok(scalar keys %sums, '>=', 10, 'and begin with services');
}

#
# An HTML parser: elements nest, and texts are what clients sent
#
SKIP:
{
	my $python = tool('python3') or skip('no python3', 1);
	my $parser = spew('parse.py', <<'PYTHON');
import sys
from html.parser import HTMLParser
VOID = {'meta', 'link', 'br'}
class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.stack, self.faults, self.text, self.count, self.rows = [], [], [], {}, 0
    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        for name, value in attrs:
            if name.startswith('on') or (name in ('src', 'href', 'action', 'style') and value and ('javascript' in value or '//' in value)):
                self.faults.append('%s %s=%s' % (tag, name, value[:40]))
        if tag not in VOID: self.stack.append(tag)
    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID: self.stack.pop()
    def handle_endtag(self, tag):
        if not self.stack or self.stack[-1] != tag: self.faults.append('%s ends within %s' % (tag, self.stack[-3:]))
        else: self.stack.pop()
    def handle_comment(self, data): self.faults.append('comment')
    def handle_data(self, data): self.text.append(data)
for path in sys.argv[1:]:
    source = open(path, encoding='utf-8', errors='strict').read()
    page = Page(); page.feed(source); page.close()
    if page.stack: page.faults.append('open: %s' % page.stack)
    if page.count.get('script') != 1: page.faults.append('%s scripts' % page.count.get('script'))
    if len(source.encode()) > 1000001: page.faults.append('%d bytes' % len(source.encode()))
    text = ''.join(page.text)
    if 'page_hostile.1' == path.split('/')[-1] and '<script>alert(1)</script>' not in text: page.faults.append('the text of a client is gone')
    for fault in page.faults[:5]: print(path.split('/')[-1], fault)
PYTHON
	my @pages = map { @{$files{$_}} } grep { /^page/ } sort keys %files;
	my ($done, $out, $err) = output($python, $parser, @pages);
	is($out . $err, '', scalar(@pages) . ' pages are HTML whose elements nest');
}

#
# A browser: nothing is said in its console; texts are inside of their picture and do not overlap; keys work
#
SKIP:
{
	my $browser = tool('chromium', 'chromium-browser', 'google-chrome') or skip('no browser', 6);
	my @options = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', "--user-data-dir=$dir/browser", '--enable-logging=stderr', '--virtual-time-budget=4000', '--dump-dom');
	local $ENV{HOME} = $dir;

	my $page = slurp($files{page}[0]);
	my $driver = <<'SCRIPT';
<script>
var said = [], wf = document.querySelector('.wf'), rows = Array.prototype.slice.call(wf.querySelectorAll('p'));
function key(k, more) { document.activeElement.dispatchEvent(new KeyboardEvent('keydown', Object.assign({key: k, bubbles: true, cancelable: true}, more || {}))); }
function seen() { return rows.filter(function(e) { return e.offsetHeight > 0; }).length; }
function say(what, ok) { if (!ok) said.push(what); }
rows[0].focus();
say('all rows are seen', seen() === rows.length && rows.length > 3);
key('ArrowDown'); say('down', document.activeElement === rows[1]);
key('ArrowUp'); say('up', document.activeElement === rows[0]);
say('details on focus', !document.hasFocus() || getComputedStyle(rows[0].querySelector('samp')).display === 'block');
key('ArrowLeft'); say('fold', seen() === 1 && rows[0].getAttribute('aria-expanded') === 'false');
key('ArrowRight'); say('unfold', seen() === rows.length);
var bar = rows[0].querySelector('i'), width = function() { return parseFloat(getComputedStyle(bar, '::before').width); }, was = width();
key('+'); say('zoom', Math.abs(width() / was - 1.5) < 0.01);
key('0'); say('whole', Math.abs(width() - was) < 0.1);
key('End'); say('end', document.activeElement === rows[rows.length - 1]);
key('Home'); say('home', document.activeElement === rows[0]);
document.querySelector('[data-do=fold]').click(); say('fold all', seen() < rows.length);
document.querySelector('[data-do=unfold]').click(); say('unfold all', seen() === rows.length);
say('a scale', wf.querySelectorAll('.ax span').length > 2);
// What is drawn at the begin has its middle there, and its corners are turned outwards.
rows[1].classList.add('m', 'x'); rows[1].style.setProperty('--x', 0); var point = getComputedStyle(rows[1].querySelector('i'), '::before');
say('a point at the begin is whole', parseFloat(point.width) === 6 && parseFloat(point.left) + parseFloat(point.marginLeft) >= 6 * (Math.SQRT2 - 1) / 2);
say('no scroll to the side', document.documentElement.scrollWidth <= document.documentElement.clientWidth);
document.title = 'said:' + said.join(',') + ';' + (document.hasFocus() ? 'focus' : '');
</script></body>
SCRIPT
	$page =~ s{</body>}{$driver};
	# A browser without a screen does not always give its page the focus, and without it nothing is shown for it.
	my ($done, $out, $err);
	for (1 .. 5)
	{
		($done, $out, $err) = output($browser, @options, '--window-size=800,900', 'file://' . spew('driven.html', $page));
		last if !$done || $out =~ /<title>said:.*;focus<\/title>/;
	}
	skip('the browser does not start: ' . substr($err, -300), 6) unless $done;
	like($out, qr/<title>said:;(focus)?<\/title>/, 'a page is used by keys') or diag(($out =~ /<title>(.*?)<\/title>/)[0] // substr($err, -1000));
	unlike($err, qr/CONSOLE/, 'and says nothing in the console');

	# Of what was captured all columns of all tables are in sight.
	my $report = slurp($files{page_report_captured}[0]) =~ s{</body>}{<script>
var tables = [], wide = [];
Array.prototype.forEach.call(document.querySelectorAll('.scroll'), function(e) { tables.push(e); if (e.scrollWidth > e.clientWidth) wide.push(e.textContent.slice(0, 60) + ': ' + e.scrollWidth); });
document.title = (tables.length > 4) + ' wide:' + wide.join(';') + '.';
</script></body>}r;
	($done, $out, $err) = output($browser, @options, '--window-size=800,900', 'file://' . spew('tables.html', $report));
	like($out, qr/<title>true wide:\.<\/title>/, 'the tables of a report fit 800 pixels') or diag(($out =~ /<title>(.*?)<\/title>/s)[0] // substr($err, -1000));

	# All pictures in one page; the box of each text, as the browser draws it.
	my $all = '<!DOCTYPE html><meta charset="utf-8"><title></title>' . join('', map { slurp($_) } map { @{$files{$_}} } grep { /^(race|trace|flame)/ } sort keys %files) . <<'SCRIPT';
<script>
var said = [], texts = 0;
Array.prototype.forEach.call(document.querySelectorAll('svg.tx'), function(svg, n) {
	var view = svg.viewBox.baseVal, boxes = Array.prototype.map.call(svg.querySelectorAll('text'), function(t) { var b = t.getBBox(); texts++; return {x: b.x, y: b.y + 2, r: b.x + b.width, d: b.y + b.height - 2, t: t.textContent}; });
	boxes.forEach(function(b, i) {
		if (b.x < view.x - 1 || b.r > view.x + view.width + 1 || b.d > view.y + view.height + 1) said.push(n + ' runs out: ' + b.t.slice(0, 40));
		for (var j = 0; j < i; j++) { var c = boxes[j]; if (b.x + 1 < c.r && c.x + 1 < b.r && b.y < c.d && c.y < b.d) { said.push(n + ' overlaps: ' + b.t.slice(0, 40) + ' / ' + c.t.slice(0, 40)); break; } }
	});
});
document.title = texts + ' texts:' + said.slice(0, 5).join(';') + '.';
</script>
SCRIPT
	($done, $out, $err) = output($browser, @options, '--window-size=1600,1200', 'file://' . spew('all.html', $all));
	my ($title) = $out =~ /<title>(.*?)<\/title>/s;
	like($title // '', qr/^\d{3,} texts:\.$/, 'no text runs out of its picture or into another one') or diag($title // substr($err, -1000));
	unlike($out, qr/alert\(1\)<\/script>/, 'no script of a client');
	unlike($err, qr/CONSOLE/, 'and nothing in the console');
}

#
# speedscope, from npm, reads folded stacks and adds them up as they are
#
SKIP:
{
	my $browser = tool('chromium', 'chromium-browser', 'google-chrome') or skip('no browser', 2);
	my $npm = tool('npm') or skip('no npm', 2);
	local $ENV{HOME} = $dir;
	my $release = "$dir/speedscope/node_modules/speedscope/dist/release";
	if (system("timeout 120 '$npm' install --prefix '$dir/speedscope' --ignore-scripts --no-audit --no-fund speedscope\@1.25.0 >'$dir/npm.log' 2>&1") != 0 || !-e "$release/index.html")
	{
		diag('SKIPPED: speedscope cannot be fetched here: ' . slurp("$dir/npm.log"));
		skip('no speedscope', 2);
	}
	my $folded = slurp($files{folded}[0]);
	my $script = spew('speedscope.js', 'speedscope.loadFileFromBase64("stacks.txt", "' . encode_base64($folded, '') . '")');
	my ($done, $out, $err) = output($browser, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', "--user-data-dir=$dir/browser", '--allow-file-access-from-files',
		'--virtual-time-budget=20000', '--dump-dom', "file://$release/index.html#localProfilePath=$script&view=sandwich");
	like($out, qr{<title>stacks[.]txt - speedscope</title>}, 'speedscope takes folded stacks') or diag(substr($err, -1000));
	# Its table: in all, of its own, name; those with most of their own first.
	my ($table) = $out =~ /Symbol Name(.*)/s;
	my @seen = ($table // '') =~ />([\d,]+) \([^()<>]*%\)</g;
	my %own;
	foreach my $line (split(/\n/, $folded))
	{
		my ($frame, $n) = $line =~ /([^;]*) (\d+)$/;
		$own{$frame} += $n;
	}
	my @own = (sort { $b <=> $a } values %own)[0 .. 4];
	is(join(' ', map { $seen[2 * $_ + 1] // '' } 0 .. 4), join(' ', map { scalar reverse(join(',', unpack('(A3)*', scalar reverse($_)))) } @own), 'and adds up what was in each');
}

#
# In a database of another encoding a file is ASCII
#
$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$node->safe_psql('latin', q{
	CREATE EXTENSION trace_ext;
	INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, duration_ns, attributes) VALUES
		('000000cc-0000-0000-0000-000000000000', '000000c1-0000-0000-0000-000000000000', '2001-01-01+00', 'FunctionCall', 'caf' || chr(233) || ' <' || chr(128) || '>', 'd' || chr(252), 5000000, jsonb_build_object('k', chr(233)));});
foreach my $function ('trace_svg', 'flame_svg', 'trace_dot', 'trace_html')
{
	my $picture = $node->safe_psql('latin', "SELECT trace_ext.$function('000000cc-0000-0000-0000-000000000000')");
	unlike($picture, qr/[^\n -~]/, "$function is ASCII in LATIN1");
	like($picture, qr/caf&#233; &lt;/, 'and has the name all the same');
}
is($node->safe_psql('latin', "SET client_encoding = utf8; SELECT trace_ext.folded('000000cc-0000-0000-0000-000000000000')"), "d\303\274;caf\303\251 <?> 5000", 'folded stacks are in the encoding of the database');

$node->stop;
done_testing();
