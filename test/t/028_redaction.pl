# 028_redaction.pl
#		Redaction rules reach every session, survive a dump, end when they are cancelled, and need no
#		encoding of their own.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use TraceExtTest;

my $node = new_node('redaction', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off');
my $dir = PostgreSQL::Test::Utils::tempdir();

my $number = 0;
# event TEXT: an event of its own with that name.
sub event
{
	my ($name, $db) = @_;
	$number++;
	return sprintf(q{SELECT rejected FROM trace_ext.ingest_events('[{"id": "%032x", "trace_id": "%032x", "timestamp": "2026-01-02T03:04:05Z", "kind": {"Custom": {"name": "%s"}}}]');}, $number, $number, $name);
}
sub names { my ($db) = @_; return $node->safe_psql($db // 'postgres', q{SELECT string_agg(name, ', ' ORDER BY id) FROM trace_ext.events}); }

# A session that has read the rules hears of a change, also within a transaction whose snapshot is older.
my $other = $node->background_psql('postgres', on_error_die => 1);
$other->query_safe(event('secret 1'));
$node->safe_psql('postgres', q{INSERT INTO trace_ext.redaction_rules (name, pattern) VALUES ('s', 'secret')});
$other->query_safe(event('secret 2'));
$node->safe_psql('postgres', q{UPDATE trace_ext.redaction_rules SET enabled = false});
$other->query_safe(event('secret 3'));
$other->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM trace_ext.events;');
$node->safe_psql('postgres', q{UPDATE trace_ext.redaction_rules SET enabled = true WHERE name = 's'});
$other->query_safe(event('secret 4'));
$other->query_safe('COMMIT;');
$other->query_safe(event('secret 5'));
$node->safe_psql('postgres', q{BEGIN; TRUNCATE trace_ext.redaction_rules; } . event('secret 6') . q{ ROLLBACK;});
$other->query_safe(event('secret 7'));
is(names(), 'secret 1, [redacted] 2, secret 3, [redacted] 4, [redacted] 5, [redacted] 7', 'another session follows each change');
$other->quit;

# A pattern that takes for ever ends with its query, and nothing is stored.
$node->safe_psql('postgres', q{UPDATE trace_ext.redaction_rules SET pattern = '^(x+)(x+)(x+)\1\2\3$' WHERE name = 's'; TRUNCATE trace_ext.events});
my $started = time;
my ($ret, $out, $err) = $node->psql('postgres', q{SET statement_timeout = '500ms'; SELECT trace_ext.ingest_events(format('[{"id": "%s", "trace_id": "%s", "timestamp": "2026-01-02T03:04:05Z", "kind": {"Custom": {"name": "%s"}}}]', md5('1'), md5('2'), repeat('x', 1000001)))});
like($err, qr/canceling statement due to statement timeout/, 'a long search can be cancelled');
cmp_ok(time - $started, '<', 60, 'within seconds');
is(names(), '', 'and nothing is stored');
# A long text that matches often.
$node->safe_psql('postgres', q{UPDATE trace_ext.redaction_rules SET pattern = 'x' WHERE name = 's'});
is($node->safe_psql('postgres', q{SELECT trace_ext.ingest_events(format('[{"id": "%s", "trace_id": "%s", "timestamp": "2026-01-02T03:04:05Z", "kind": {"Custom": {"name": "%s"}}}]', md5('1'), md5('2'), repeat('xü', 300000)))}), '(1,0,0)', '300,000 matches');
is($node->safe_psql('postgres', q{SELECT name = repeat('[redacted]ü', 300000) FROM trace_ext.events}), 't', 'are all masked');

# The key of hashes, which none but superusers see.
$node->append_conf('postgresql.conf', "trace_ext.redaction_key = 'key'");
$node->reload;
$node->safe_psql('postgres', q{TRUNCATE trace_ext.events; UPDATE trace_ext.redaction_rules SET action = 'hash', pattern = NULL, path = 'Custom' WHERE name = 's'; } . event('The quick brown fox jumps over the lazy dog'));
is(names(), 'sha256:f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8', 'HMAC-SHA-256');
$node->safe_psql('postgres', 'CREATE ROLE someone LOGIN');
($ret, $out, $err) = $node->psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name LIKE 'trace_ext.redaction%'; SHOW trace_ext.redaction_key}, extra_params => [ '-U', 'someone' ]);
is($out, '0', 'the key is not among the settings');
like($err, qr/(must be superuser|permission denied|must have privileges)/, 'nor shown');

# A dump has the rules, and the shipped ones once, as they were.
$node->safe_psql('postgres', q{UPDATE trace_ext.redaction_rules SET enabled = true WHERE name = 'card numbers'; DELETE FROM trace_ext.redaction_rules WHERE name = 's';
	INSERT INTO trace_ext.redaction_rules (name, path, action, pattern, service, keep, comment) VALUES (E'it''s "mine"\\\\n', '**.a|b', 'truncate', E'\\\\d+''', 'shop', 7, 'c')});
my $rules = 'SELECT name, path, action, pattern, service, keep, luhn, enabled, comment FROM trace_ext.redaction_rules ORDER BY name';
my $before = $node->safe_psql('postgres', $rules);
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('postgres') ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), "$dir/dump" ], 'restore');
is($node->safe_psql('restored', $rules), $before, 'all rules as they were');
$node->safe_psql('restored', q{TRUNCATE trace_ext.events; } . event('4111111111111111'));
is(names('restored'), '[redacted]', 'and they are followed');

# Rules that cannot be followed, which only who gets around the trigger can make, stop what would not be redacted.
$node->safe_psql('postgres', q{ALTER TABLE trace_ext.redaction_rules DISABLE TRIGGER trace_ext_judge; INSERT INTO trace_ext.redaction_rules (name, pattern) VALUES ('broken', '(')});
($ret, $out, $err) = $node->psql('postgres', event('x'));
like($err, qr/redaction rule "broken" cannot be followed/, 'a broken rule');
($ret, $out, $err) = $node->psql('postgres', event('x'));
like($err, qr/redaction rule "broken" cannot be followed/, 'stays one');
$node->safe_psql('postgres', q{DELETE FROM trace_ext.redaction_rules WHERE name = 'broken'; ALTER TABLE trace_ext.redaction_rules ENABLE ALWAYS TRIGGER trace_ext_judge});
is($node->safe_psql('postgres', event('x')), '0', 'until it is gone');

# Other encodings.
for my $encoding ('LATIN1', 'EUC_JP', 'SQL_ASCII')
{
	my $db = lc $encoding;
	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING '$encoding' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($db, q{CREATE EXTENSION trace_ext; UPDATE trace_ext.redaction_rules SET enabled = true; INSERT INTO trace_ext.redaction_rules (name, path, action, keep) VALUES ('t', '**.kept', 'truncate', 2)});
	my $text = $encoding eq 'EUC_JP' ? '\u3042\u3044\u3046' : $encoding eq 'LATIN1' ? '\u00e4\u00f6\u00fc' : 'abc';
	is($node->safe_psql($db, qq{SELECT trace_ext.ingest_otlp('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "30f6020551724ead9ff897d93b4c6b88", "spanId": "0102030405060708", "startTimeUnixNano": 1,
		"name": "$text a\@b.example $text", "attributes": [{"key": "kept", "value": {"stringValue": "$text"}}]}]}]}]}')}), '(1,0,0)', "$encoding");
	is($node->safe_psql($db, qq{SELECT name = ('"$text [redacted] $text"'::jsonb #>> '{}'), length(attributes -> 'otlp' -> 'attributes' ->> 'kept') FROM trace_ext.events}), 't|2', 'redacted by characters');
}

$node->stop;
done_testing();
