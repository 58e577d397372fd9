# 003_preload.pl
#		The extension answers the same whether it is preloaded or not, and its
#		settings are checked either way.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

seed_random();
my $node = new_node('preload');

sub preloaded
{
	my ($value) = @_;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$value'\n");
	$node->restart;
}

my $ids = 0;

# The same for both databases.
my @rows = map {
	event_row(uuid(1, int(rand(20))), uuid(2, ++$ids), sprintf('2026-03-%02d %02d:00:00.%06d+00', 1 + int(rand(2)), int(rand(24)), int(rand(1000000))))
} 1 .. 300;

sub load
{
	my ($db) = @_;
	$node->safe_psql($db, join("\n",
		'SET trace_ext.fold_threshold = 10;',
		insert_sql([ @rows[ 0 .. 99 ] ]),
		copy_sql([ @rows[ 100 .. 199 ] ]),
		ingest_sql([ @rows[ 150 .. 299 ] ]),
		'DELETE FROM trace_ext.events WHERE kind = \'Error\';'));
	# In a session of its own that has not used the library before.
	$node->safe_psql($db, 'CALL trace_ext.maintain_partitions();');
	$node->safe_psql($db, 'SELECT trace_ext.fold();');
}

#
# Settings
#

my @settings = split(/\n/, $node->safe_psql('postgres',
	"SELECT trace_ext.count_events(); SELECT name || '=' || boot_val FROM pg_settings WHERE name LIKE 'trace\\_ext.%' AND context = 'user' ORDER BY name"));
shift @settings;
cmp_ok(scalar(@settings), '>=', 5, 'the settings are known once the library is loaded');

sub settings_ok
{
	my ($how, $load) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for my $bad (
		[ 'fold_threshold', '-1', qr/outside the valid range/ ],
		[ 'fold_threshold', 'many', qr/invalid value for parameter "trace_ext.fold_threshold"/ ],
		[ 'max_field_size', '1', qr/outside the valid range/ ],
		[ 'max_nesting', '1000000', qr/outside the valid range/ ],
		[ 'partitions_ahead', '-1', qr/outside the valid range/ ],
		[ 'foo', '1', qr/invalid configuration parameter name "trace_ext.foo"|unrecognized configuration parameter "trace_ext.foo"/ ])
	{
		my ($name, $value, $error) = @$bad;
		my ($status, $out, $err) = try_psql($node, "$load SET trace_ext.$name = '$value'");
		like($err, $error, "$how: SET trace_ext.$name = '$value' is refused");
		($status, $out, $err) = try_psql($node, "$load ALTER SYSTEM SET trace_ext.$name = '$value'");
		like($err, $error, "$how: ALTER SYSTEM SET trace_ext.$name = '$value' is refused");
	}
	my ($status, $out, $err) = try_psql($node, "$load SET trace_ext.partition_interval = '1 day'; SHOW trace_ext.partition_interval");
	is($out =~ s/^.*\n(?=.)//sr, '1 day', "$how: a good value is taken");

	# An interval that means nothing is refused.
	for my $interval ('soon', '1 month', '10 minutes', '-1 day', '0')
	{
		($status, $out, $err) = try_psql($node, "$load SET trace_ext.partition_interval = '$interval'; CALL trace_ext.maintain_partitions()");
		isnt($status, 0, "$how: partition_interval '$interval' is refused");
		like($err, qr/partition_interval|invalid input syntax for type interval/, "$how: and why");
	}

	# For all sessions to come, also before they use the library.
	$node->safe_psql('postgres', "$load ALTER SYSTEM SET trace_ext.max_field_size = '2kB'");
	$node->reload;
	my $long = 'x' x 3000;
	is( $node->safe_psql('postgres', ingest_sql([ [ uuid(5, 1), uuid(5, 1), undef, '2026-03-01 00:00:00+00', 'Custom', $long, undef, undef ] ])),
		'0|0|1', "$how: ALTER SYSTEM reaches a new session");
	is($node->safe_psql('postgres', 'SET trace_ext.max_field_size = \'4kB\'; ' . ingest_sql([ [ uuid(5, 1), uuid(5, 1), undef, '2026-03-01 00:00:00+00', 'Custom', $long, undef, undef ] ])),
		'1|0|0', "$how: a session sets its own before it uses the library");
	$node->safe_psql('postgres', 'DELETE FROM trace_ext.events;');
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET trace_ext.max_field_size');
	$node->reload;
}

is($node->safe_psql('postgres', 'SELECT preloaded FROM trace_ext.status'), 'f', 'status says that it is not preloaded');
settings_ok('not preloaded', "LOAD 'trace_ext';");
load('postgres');
exact_ok($node, 'not preloaded: exact');

preloaded('trace_ext');
is($node->safe_psql('postgres', 'SELECT preloaded FROM trace_ext.status'), 't', 'status says that it is preloaded');
is( $node->safe_psql('postgres',
		"SELECT name || '=' || boot_val FROM pg_settings WHERE name LIKE 'trace\\_ext.%' AND context = 'user' ORDER BY name"),
	join("\n", @settings), 'preloaded: the same settings are known before first use');
exact_ok($node, 'preloaded: what was written without is exact');

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION trace_ext');
settings_ok('preloaded', '');
load('other');
$node->safe_psql('postgres', 'TRUNCATE trace_ext.events, trace_ext.ingest_errors');
load('postgres');
is(answers($node, 'other'), answers($node), 'equal answers');
exact_ok($node, 'preloaded: exact', 'other');

# With others beside it, in any spelling.
preloaded(' "plpgsql" , trace_ext');
is($node->safe_psql('postgres', 'SELECT preloaded FROM trace_ext.status'), 't', 'status finds it among others');
my $before = answers($node, 'other');
preloaded('');
is(answers($node, 'other'), $before, 'not preloaded again: equal answers');
$node->safe_psql('other', insert_sql([ event_row(uuid(6, 1), uuid(6, 1), '2026-03-01 00:00:00+00') ]));
exact_ok($node, 'not preloaded again: exact', 'other');

# A writer asks for a fold at commit: when the rows of one part of a statement are there
# before the deltas of another.
my @changes = (
	q{WITH gone AS (DELETE FROM trace_ext.events WHERE id = (SELECT min(id::text)::uuid FROM trace_ext.events) RETURNING *),
		   came AS (INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, attributes)
					SELECT trace_id, gen_random_uuid(), parent_id, "timestamp", kind, name, attributes FROM gone),
		   more AS (INSERT INTO trace_ext.events_p20260301 (trace_id, id, "timestamp", kind)
					SELECT trace_id, gen_random_uuid(), '2026-03-01 12:00+00', 'Custom' FROM trace_ext.events)
	  SELECT count(*) FROM gone},
	q{WITH gone AS (DELETE FROM trace_ext.events_p20260301 WHERE id::text < '00000002-0000-4000-8000-00000000004f'),
		   came AS (INSERT INTO trace_ext.events_p20260302 (trace_id, id, "timestamp", kind)
					SELECT trace_id, gen_random_uuid(), '2026-03-02 12:00+00', 'Custom' FROM trace_ext.events_p20260301)
	  UPDATE trace_ext.events SET service_name = 'new' WHERE service_name = 'api'},
	q{BEGIN; DELETE FROM trace_ext.events WHERE service_name = 'new'; INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind)
		SELECT trace_id, gen_random_uuid(), '2026-03-02 12:00+00', 'Error' FROM trace_ext.events; COMMIT});

sub change_all
{
	my ($how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->safe_psql('other', 'TRUNCATE trace_ext.events, trace_ext.ingest_errors');
	load('other');
	exact_ok($node, "$how: exact", 'other');
	for my $sql (@changes)
	{
		$node->safe_psql('other', "SET trace_ext.fold_threshold = 1; $sql");
		exact_ok($node, "$how, exact after: " . substr($sql, 0, 50), 'other');
	}
}

sub outstanding { return $node->safe_psql('other', 'SELECT (SELECT count(*) FROM trace_ext.summary_deltas) + (SELECT count(*) FROM trace_ext.count_deltas)'); }

my $single = 3;
sub insert_one { $node->safe_psql('other', 'SET trace_ext.fold_threshold = 1; ' . insert_sql([ event_row(uuid(6, 1), uuid(6, ++$single), '2026-03-01 00:00:00+00') ])); }

# Where no background worker is to be had, deltas stay for whoever finds one later.
$node->append_conf('postgresql.conf', "max_worker_processes = 0\n");
$node->restart;
change_all('no worker');
$node->safe_psql('other', insert_sql([ event_row(uuid(6, 1), uuid(6, $_), '2026-03-01 00:00:00+00') ])) for 2 .. 3;
exact_ok($node, 'no worker: exact after single inserts', 'other');
cmp_ok($node->safe_psql('other', 'SELECT trace_ext.fold()'), '>', 0, 'no worker: fold() folds what writers left');
is(outstanding(), '0', 'no worker: all of it');
insert_one();
is(outstanding(), '2', 'no worker: a writer commits and folds nothing');
$node->safe_psql('other', 'BEGIN ISOLATION LEVEL SERIALIZABLE; SET trace_ext.fold_threshold = 1; '
	  . insert_sql([ event_row(uuid(6, 2), uuid(6, 100), '2026-03-01 00:00:00+00') ]) . ' COMMIT');
is(outstanding(), '4', 'no worker: nor does one that keeps a snapshot');
# Whatever a fold would fail with, it is not the writer's.
$node->safe_psql('other', 'ALTER TABLE trace_ext.summary_base ADD CONSTRAINT broken CHECK (false) NOT VALID');
insert_one();
is(outstanding(), '6', 'no worker: a writer commits where a fold fails');
my (undef, undef, $why) = try_psql($node, 'SELECT trace_ext.fold()', db => 'other');
like($why, qr/violates check constraint "broken"/, 'as it does');
$node->safe_psql('other', 'ALTER TABLE trace_ext.summary_base DROP CONSTRAINT broken');
exact_ok($node, 'no worker: exact with what is outstanding', 'other');
$node->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$node->restart;
is(outstanding(), '6', 'with a worker: nobody folds before somebody writes');
insert_one();
ok($node->poll_query_until('other', 'SELECT count(*) = 0 FROM trace_ext.summary_deltas'), 'with a worker: it folds, also what was left');
exact_ok($node, 'with a worker: exact', 'other');
change_all('with a worker');

# A misspelt setting in the file keeps no server from starting.
$node->append_conf('postgresql.conf', "trace_ext.foo = 1\ntrace_ext.max_nesting = 7\n");
$node->restart;
is($node->safe_psql('postgres', 'SELECT trace_ext.count_events() > 0'), 't', 'wrong settings in the file: the server and the extension go on');

$node->stop;
done_testing();
