# 002_restore.pl
#		A dump gives back equal events, counts and summaries, nothing counted twice.
#
# Partitions are no members of the extension, so a dump makes them again, while
# CREATE EXTENSION and the event triggers have already given them what the dump
# is about to give.  So every way to dump and restore is gone through, each with
# a silent pg_restore, and each restored database has to go on exactly.
#
# The server restored into has workers, and other databases that keep them busy; the
# one dumped from has none, so that deltas are outstanding in the dump.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

seed_random();
my $source = new_node('source', 'trace_ext.fold_threshold' => 0);
my $node = new_node('restore', shared_preload_libraries => 'trace_ext', max_worker_processes => 16, 'trace_ext.naptime' => '1s',
	'trace_ext.fold_threshold' => 0);
my $dir = PostgreSQL::Test::Utils::tempdir();
my ($ids, $databases) = (0, 0);

sub rows
{
	my ($n, $day, $traces) = @_;
	return [
		map {
			event_row(uuid(1, int(rand($traces))), uuid(2, ++$ids),
				sprintf('%s %02d:%02d:%02d.%06d+00', $day, int(rand(24)), int(rand(60)), int(rand(60)), int(rand(1000000))))
		} 1 .. $n
	];
}

#
# What is dumped
#

sub fill
{
	my ($db) = @_;
	$source->safe_psql($db, join("\n",
		# Partitions made ahead, and of an old range.
		copy_sql(rows(300, '2020-02-29', 60)),
		"SET trace_ext.partition_reach = '100 years'; CALL trace_ext.maintain_partitions();",
		'INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), now(), \'Custom\');',
		# By a user: bounds within an hour, columns in another order, names of
		# his own for the key, the index and the table.
		q{CREATE TABLE public."Odd, Partition" (LIKE trace_ext.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
		ALTER TABLE public."Odd, Partition" DROP COLUMN tags, ADD COLUMN tags jsonb;
		ALTER TABLE trace_ext.events ATTACH PARTITION public."Odd, Partition"
			FOR VALUES FROM ('2021-03-01 10:17:31.5+00') TO ('2021-03-01 12:01:02+00');
		CREATE TABLE trace_ext.events_named (LIKE trace_ext.events INCLUDING CONSTRAINTS,
			CONSTRAINT key_of_mine PRIMARY KEY (trace_id, id, "timestamp"));
		CREATE INDEX index_of_mine ON trace_ext.events_named (name, "timestamp") WHERE kind = 'StateChange';
		CREATE INDEX another_index ON trace_ext.events_named (service_name);
		ALTER TABLE trace_ext.events ATTACH PARTITION trace_ext.events_named
			FOR VALUES FROM ('2021-03-01 12:01:02+00') TO ('2021-03-02 00:00+00');
		CREATE TABLE trace_ext.events_renamed PARTITION OF trace_ext.events
			FOR VALUES FROM ('2021-04-01 00:00+00') TO ('2021-05-01 00:00+00');
		ALTER TABLE trace_ext.events_renamed RENAME TO events_april;
		CREATE TABLE trace_ext.events_early PARTITION OF trace_ext.events
			FOR VALUES FROM (MINVALUE) TO ('1999-01-01 00:00+00');
		CREATE ROLE restore_reader;
		GRANT SELECT ON trace_ext.events_april, trace_ext.events TO restore_reader;
		COMMENT ON TABLE trace_ext.events_april IS 'April';},
		copy_sql(rows(100, '2021-03-01', 60)),
		insert_sql(rows(100, '2021-04-30', 60)),
		insert_sql(rows(50, '1998-12-31', 60)),
		# Rows that wait in the default partition.
		ingest_sql(rows(200, '2033-05-05', 60)),
		q{SELECT trace_ext.ingest_events('[{"id": "none"}, {"id": 7}, null]');
		SELECT trace_ext.fold();},
		# Outstanding.
		copy_sql(rows(100, '2020-02-29', 80)),
		q{DELETE FROM trace_ext.events WHERE trace_id IN (SELECT trace_id FROM trace_ext.events ORDER BY 1 LIMIT 1);
		UPDATE trace_ext.events SET trace_id = '00000001-0000-4000-8000-0000000000ff' WHERE id < '00000002-0000-4000-8000-00000000000f';}));
}

fill('postgres');
cmp_ok($source->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.summary_deltas'), '>', 0, 'deltas are outstanding');
exact_ok($source, 'exact before the dump');

# md5 over a row needs its columns in one order, which a restore keeps.
# Jobs are configuration: what was changed of ours, and those of users.
$source->safe_psql('postgres', q{
	SELECT trace_ext.alter_job('fold', "interval" => '7 s', priority => 77), trace_ext.alter_job('retention', enabled => false);
	CREATE PROCEDURE nightly() LANGUAGE sql AS 'SELECT 1';
	SELECT trace_ext.add_job('nightly', 'nightly', '1 day', timeout => '2 hours');
	SELECT trace_ext.run_job('fold'), trace_ext.run_job('nightly');});
my $jobs = 'SELECT name, procedure, owner, builtin, enabled, "interval", timeout, max_attempts, backoff, max_backoff, priority, condition FROM trace_ext.jobs ORDER BY name';
my $original_jobs = $source->safe_psql('postgres', $jobs);

# Alert rules, of which one is changed, one is gone and one is new; and the log of who did what.
$source->safe_psql('postgres', q{
	UPDATE trace_ext.alert_rules SET hold = '1 min' WHERE name = 'error rate';
	DELETE FROM trace_ext.alert_rules WHERE name = 'critical finding';
	INSERT INTO trace_ext.alert_rules (name, metric, service, threshold) VALUES (E'it''s "mine"\\n', 'silent', 'pay', 60);});
my $rules = 'SELECT * FROM trace_ext.alert_rules ORDER BY name; SELECT id, at, role_name, logged_in_as, what, name, before, after FROM trace_ext.admin_log ORDER BY id';
my $original_rules = $source->safe_psql('postgres', $rules);
like($original_rules, qr/alert rule\|critical finding/, 'the log is not empty');

my $original = answers($source);
my $original_version = $source->safe_psql('postgres', 'SELECT trace_ext.data_version()');

#
# Checks of a restored database
#

# One primary key, one index on variables, one of each trigger, each ALWAYS.
my $anatomy = q{
	SELECT CASE WHEN c.relname LIKE 'events\_p%' THEN 'made' ELSE c.relname END, pg_get_expr(c.relpartbound, c.oid),
		   (SELECT string_agg(i.indexrelid::regclass || ' ' || i.indisprimary || ' ' ||
							  coalesce((SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = i.indexrelid), '-'), ', '
							  ORDER BY i.indexrelid::regclass::text)
			  FROM pg_index i WHERE i.indrelid = c.oid),
		   (SELECT string_agg(t.tgname || ' ' || t.tgenabled::text, ', ' ORDER BY t.tgname) FROM pg_trigger t
			 WHERE t.tgrelid = c.oid),
		   c.relacl::text, obj_description(c.oid)
	  FROM pg_class c JOIN pg_inherits h ON h.inhrelid = c.oid
	 WHERE h.inhparent = 'trace_ext.events'::regclass ORDER BY 1, 2};
my $original_anatomy = $source->safe_psql('postgres', $anatomy);
my $partitions = () = $original_anatomy =~ /FOR VALUES|DEFAULT/g;

sub fresh_database
{
	my ($with_extension) = @_;
	my $db = 'restored' . ++$databases;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$node->safe_psql($db, 'CREATE EXTENSION trace_ext') if $with_extension;
	return $db;
}

# Runs a client program; it must succeed and say nothing.
sub silent_ok
{
	my ($name, @command) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run(\@command, '>', \$out, '2>', \$err);

	ok($ok, "$name: exit status");
	$err = join("\n", grep { !/NOTICE:/ } split(/\n/, $err));
	return is($err, '', "$name: no complaint");
}

sub goes_on_ok
{
	my ($name, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->safe_psql($db, join("\n",
		insert_sql(rows(20, '2021-03-01', 20)),
		copy_sql(rows(20, '2021-04-01', 20), 'trace_ext.events_april'),
		ingest_sql(rows(20, '2033-05-05', 20)),
		q{DELETE FROM trace_ext.events_named WHERE kind = 'Custom';
		UPDATE trace_ext.events SET "timestamp" = '1990-01-01 00:00+00' WHERE kind = 'Error';}));
	exact_ok($node, "$name: exact after writes", $db);
	$node->safe_psql($db, 'CALL trace_ext.maintain_partitions();');
	exact_ok($node, "$name: exact after maintain_partitions()", $db);
	$node->safe_psql($db, 'DROP TABLE public."Odd, Partition";');
	exact_ok($node, "$name: exact after a partition is dropped", $db);
	$node->safe_psql($db, 'TRUNCATE trace_ext.events_april;');
	exact_ok($node, "$name: exact after a partition is truncated", $db);
	$node->safe_psql($db, 'ALTER TABLE trace_ext.events DETACH PARTITION trace_ext.events_named;');
	exact_ok($node, "$name: exact after a partition is detached", $db);
	$node->safe_psql($db, q{INSERT INTO trace_ext.events_named (trace_id, id, "timestamp", kind)
		VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Custom');});
	exact_ok($node, "$name: a detached partition is not counted", $db);
}

sub restored_ok
{
	my ($name, $db, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(answers($node, $db), $original, "$name: equal answers");
	exact_ok($node, "$name: exact", $db);
	my $version = $node->safe_psql($db, 'SELECT trace_ext.data_version()');
	isnt($version, $original_version, "$name: a version of its own");
	is($node->safe_psql($db, $anatomy), $original_anatomy, "$name: partitions are the same") unless $options{rows_only};
	$node->safe_psql($db, 'SELECT trace_ext.fold()');
	is(answers($node, $db), $original, "$name: equal answers after a fold");
	is($node->safe_psql($db, 'SELECT trace_ext.data_version()'), $version, "$name: which stands");
	is($node->safe_psql($db, 'SELECT nextval(\'trace_ext.ingest_errors_id_seq\') > max(id) FROM trace_ext.ingest_errors'),
		't', "$name: the sequence goes on");
	is($node->safe_psql($db, $jobs), $original_jobs, "$name: the same jobs");
	is($node->safe_psql($db, $rules), $original_rules, "$name: the same alert rules, and nothing new in the log");
	is($node->safe_psql($db, "SELECT (trace_ext.run_job('nightly')).state"), 'succeeded', "$name: they run") unless $options{rows_only};
	goes_on_ok($name, $db) if $options{goes_on};
}

#
# The ways, beside databases whose workers have something to do
#

$node->safe_psql('postgres', 'CREATE ROLE restore_reader');
for my $busy (qw(busy1 busy2 busy3))
{
	$node->safe_psql('postgres', "CREATE DATABASE $busy");
	$node->safe_psql($busy, 'CREATE EXTENSION trace_ext;' . insert_sql(rows(50, '2026-03-01', 20)));
}

my @from = (-d => $source->connstr('postgres'));
my $to = sub { return (-d => $node->connstr($_[0])) };
my $db;

silent_ok('pg_dump -Fc', 'pg_dump', @from, '-Fc', -f => "$dir/custom");
silent_ok('pg_restore', 'pg_restore', $to->($db = fresh_database()), "$dir/custom");
restored_ok('pg_restore', $db, goes_on => 1);

silent_ok('pg_restore --single-transaction', 'pg_restore', '--single-transaction', $to->($db = fresh_database()), "$dir/custom");
restored_ok('pg_restore --single-transaction', $db);

silent_ok('pg_dump -Fd --jobs', 'pg_dump', @from, '-Fd', '--jobs=3', -f => "$dir/directory");
for my $round (1 .. 3)
{
	silent_ok("pg_restore --jobs $round", 'pg_restore', '--jobs=3', $to->($db = fresh_database()), "$dir/directory");
	restored_ok("pg_restore --jobs $round", $db, goes_on => $round == 1);
}

silent_ok('pg_dump -Fp', 'pg_dump', @from, -f => "$dir/plain");
silent_ok('psql -f', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-o', "$dir/ignored", $to->($db = fresh_database()), -f => "$dir/plain");
restored_ok('psql -f', $db);

# The parameter of the server that parallel restores are tuned with.
$node->append_conf('postgresql.conf', "wal_level = minimal\nmax_wal_senders = 0\n");
$node->restart;
silent_ok('pg_restore --jobs, wal_level = minimal', 'pg_restore', '--jobs=3', $to->($db = fresh_database()), "$dir/directory");
restored_ok('pg_restore --jobs, wal_level = minimal', $db);

silent_ok('pg_dump --load-via-partition-root', 'pg_dump', @from, '-Fd', '--load-via-partition-root', -f => "$dir/root");
silent_ok('pg_restore, via the root', 'pg_restore', $to->($db = fresh_database()), "$dir/root");
restored_ok('pg_restore, via the root', $db, goes_on => 1);
silent_ok('pg_restore --jobs, via the root', 'pg_restore', '--jobs=3', $to->($db = fresh_database()), "$dir/root");
restored_ok('pg_restore --jobs, via the root', $db);

silent_ok('pg_dump --inserts', 'pg_dump', @from, '-Fc', '--rows-per-insert=7', -f => "$dir/inserts");
silent_ok('pg_restore, inserts', 'pg_restore', $to->($db = fresh_database()), "$dir/inserts");
restored_ok('pg_restore, inserts', $db);

# Rows alone, into a database that has other partitions.
silent_ok('pg_dump --data-only', 'pg_dump', @from, '-Fc', '--data-only', '--load-via-partition-root', -f => "$dir/data");
silent_ok('pg_restore --data-only', 'pg_restore', '--data-only', $to->($db = fresh_database(1)), "$dir/data");
restored_ok('pg_restore --data-only', $db, rows_only => 1);

# The three sections one by one, as those who mend between them do.
$db = fresh_database();
silent_ok("pg_restore --section=$_", 'pg_restore', "--section=$_", $to->($db), "$dir/custom") for qw(pre-data data post-data);
restored_ok('pg_restore by sections', $db);

# A dump of the restored is the same again.
silent_ok('pg_dump of the restored', 'pg_dump', $to->($db), '-Fc', -f => "$dir/again");
silent_ok('pg_restore of the restored', 'pg_restore', $to->($db = fresh_database()), "$dir/again");
restored_ok('restored twice', $db);

# --clean drops what is there first.  Of every partitioned table with a primary
# key PostgreSQL says that it cannot drop the key of a partition by itself.
IPC::Run::run([ 'pg_restore', '--clean', '--if-exists', $to->($db), "$dir/custom" ], '2>', \my $complaints);
is(join("\n", grep { /ERROR:/ && !/cannot drop inherited constraint/ } split(/\n/, $complaints)), '', 'pg_restore --clean: no other complaint');
restored_ok('pg_restore --clean', $db);
my $cleaned = $db;

#
# What workers, clients and the database's owner made before the dump arrives
#

# Other tables of the dump take their time: workers look for something to do meanwhile.
{
	my $slow = slurp_file("$dir/plain");
	$slow =~ s/^(?=ALTER TABLE ONLY trace_ext\.events ATTACH PARTITION)/SELECT pg_sleep(2);\n/m or die 'no partition in the dump';
	$slow =~ s/^(?=COPY trace_ext\.events_default )/SELECT pg_sleep(2);\n/m or die 'no default partition in the dump';
	append_to_file("$dir/slow", $slow);
	silent_ok('psql -f, slowly', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-o', "$dir/ignored", $to->($db = fresh_database()), -f => "$dir/slow");
	restored_ok('psql -f, slowly', $db);
}
silent_ok("pg_dump --schema-only", 'pg_dump', @from, '-Fc', '--schema-only', -f => "$dir/schema");
silent_ok("pg_dump --data-only, by partition", 'pg_dump', @from, '-Fc', '--data-only', -f => "$dir/by_partition");
$db = fresh_database();
silent_ok('pg_restore of the schema', 'pg_restore', '-e', $to->($db), "$dir/schema");
sleep(3);
silent_ok('pg_restore of the data', 'pg_restore', '-e', '--jobs=3', $to->($db), "$dir/by_partition");
restored_ok('pg_restore of schema, then data', $db);

# Weeks arrive, and no row beside them, where days were made, by hand or by a worker, and are in use. The
# names of weeks are those of Mondays: one that a day has must become free.
$source->safe_psql('postgres', 'CREATE DATABASE weekly');
$source->safe_psql('postgres', "ALTER DATABASE weekly SET trace_ext.partition_interval = '1 week'");
$source->safe_psql('weekly', 'CREATE EXTENSION trace_ext; CALL trace_ext.maintain_partitions();'
	. q{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) SELECT md5('w' || i / 10)::uuid, md5('w' || i)::uuid, now() + i * interval '1 hour', 'Custom' FROM generate_series(0, 500) i;
	SELECT trace_ext.ingest_events('[{"id": "none"}]')});
my $weekly = answers($source, 'weekly');
silent_ok('pg_dump of weeks', 'pg_dump', -d => $source->connstr('weekly'), '-Fc', -f => "$dir/weekly");
$db = fresh_database(1);
$node->safe_psql($db, 'CALL trace_ext.maintain_partitions()');
silent_ok('weeks over empty days', 'pg_restore', '-e', $to->($db), "$dir/weekly");
is(answers($node, $db), $weekly, 'weeks over empty days: equal answers');
exact_ok($node, 'weeks over empty days: exact', $db);

$db = fresh_database(1);
# A day at a time: the first day of the week has the name that the week comes with.
$node->safe_psql($db, q{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) SELECT md5('l' || i)::uuid, md5('l' || i)::uuid, now() + i * interval '1 hour', 'Custom' FROM generate_series(-400, 800) i;
	SELECT trace_ext.ingest_events('[{"id": "mine"}]')});
$node->safe_psql($db, 'SET trace_ext.partitions_ahead = 9; CALL trace_ext.maintain_partitions()');
cmp_ok($node->safe_psql($db, 'SELECT count(*) FROM trace_ext.partitions WHERE automatic'), '>', 10, 'days were made, and are in use');
silent_ok('weeks over days in use', 'pg_restore', '-e', $to->($db), "$dir/weekly");
exact_ok($node, 'weeks over days in use: exact', $db);
is($node->safe_psql($db, 'SELECT count(*), count(DISTINCT id) FROM trace_ext.events'), '1702|1702', 'weeks over days in use: every row, once');
is($node->safe_psql($db, q{SELECT count(*) FROM trace_ext.partitions WHERE upper_bound - lower_bound = interval '7 days'}),
	$source->safe_psql('weekly', q{SELECT count(*) FROM trace_ext.partitions WHERE upper_bound - lower_bound = interval '7 days'}), 'the weeks are there');
is($node->safe_psql($db, 'SELECT count(DISTINCT id) FROM trace_ext.ingest_errors'), '2', 'rejected events of both are there');

# Rows of the default partition come by its name. Empty partitions of their time give way; where one is in use,
# they are refused, and come with the rows of events.
{
	$source->safe_psql('postgres', 'CREATE DATABASE unparted');
	$source->safe_psql('unparted', q{CREATE EXTENSION trace_ext; INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind)
		SELECT md5('u' || i / 10)::uuid, md5('u' || i)::uuid, now() + i * interval '1 hour', 'Custom' FROM generate_series(-100, 200) i});
	my $unparted = answers($source, 'unparted');
	my @dump = ('pg_dump', -d => $source->connstr('unparted'), '-Fc');
	silent_ok('pg_dump of a default partition', @dump, -f => "$dir/copied");
	silent_ok('pg_dump --inserts of a default partition', @dump, '--inserts', -f => "$dir/inserted");
	silent_ok('pg_dump via the root of a default partition', @dump, '--load-via-partition-root', -f => "$dir/rooted");
	for my $how ([ 'copied' ], [ 'inserted' ], [ 'copied', '--single-transaction' ], [ 'copied', '--jobs=2' ], [ 'rooted' ])
	{
		my ($form, @options) = @$how;
		$node->safe_psql($db = fresh_database(1), 'CALL trace_ext.maintain_partitions()');
		silent_ok("default rows over empty days, @$how", 'pg_restore', '-e', @options, $to->($db), "$dir/$form");
		is(answers($node, $db), $unparted, "default rows over empty days, @$how: equal answers");
		exact_ok($node, "default rows over empty days, @$how: exact", $db);
		$node->safe_psql($db, 'CALL trace_ext.maintain_partitions()');
		is(answers($node, $db), $unparted, "default rows over empty days, @$how: equal answers in partitions");
	}
	my $use = q{CALL trace_ext.maintain_partitions(); INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Custom')};
	$node->safe_psql($db = fresh_database(1), $use);
	silent_ok('default rows over days in use, via the root', 'pg_restore', '-e', $to->($db), "$dir/rooted");
	is($node->safe_psql($db, 'SELECT count(*) FROM trace_ext.events'), 302, 'default rows over days in use, via the root: every row');
	for my $form (qw(copied inserted))
	{
		$node->safe_psql($db = fresh_database(1), $use);
		IPC::Run::run([ 'pg_restore', $to->($db), "$dir/$form" ], '2>', \my $refused);
		like($refused, qr/violates partition constraint/, "default rows over days in use, $form: refused, aloud");
		# As docs/operations.md has it.
		IPC::Run::run([ 'sh', '-c', qq{pg_restore -a -t events_default -f - $dir/$form | sed 's/^\\(COPY\\|INSERT INTO\\) trace_ext.events_default /\\1 trace_ext.events /' | psql -Xq -d '} . $node->connstr($db) . q{'} ], '>', \my $ignored, '2>', \my $known);
		is($node->safe_psql($db, 'SELECT count(*), count(DISTINCT id) FROM trace_ext.events'), '302|302', "default rows over days in use, $form: every row, once");
		exact_ok($node, "default rows over days in use, $form: exact", $db);
	}
}

# Whoever does not own events cannot have workers wait, whatever he sets.
$node->safe_psql($db = fresh_database(1), 'CREATE ROLE pretender LOGIN IN ROLE trace_ext_writer');
for my $who ([ 'pretender', 'f' ], [ $node->safe_psql('postgres', 'SELECT current_user'), 't' ])
{
	my $session = $node->background_psql($db, on_error_die => 1, extra_params => [ '-U', $who->[0] ]);
	$session->query_safe(q{SET check_function_bodies = off; SET search_path = ''; INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Custom');});
	is($node->safe_psql($db, 'SELECT trace_ext_internal.restoring()'), $who->[1], "workers wait for $who->[0]: $who->[1]");
	$session->quit;
}

# A worker that had begun before the restore did makes nothing any more.
{
	my $session = $node->background_psql($db = fresh_database(1), on_error_die => 1);
	$session->query_safe(q{SET check_function_bodies = off; SET search_path = ''; INSERT INTO trace_ext.events_default (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Custom');});
	is($node->safe_psql($db, 'SELECT trace_ext_internal.partition_step(true, true)'), 'done', 'a job makes no partition beside a restore');
	is($node->safe_psql($db, 'SELECT trace_ext_internal.partition_step(true, false)'), 'made', 'there was one to make, and who asks for it by hand gets it');
	$session->quit;
}

# A user's own partition wins over an empty one as well, but takes no rows.
$node->safe_psql($db = fresh_database(1), 'CALL trace_ext.maintain_partitions()');
$node->safe_psql($db, q{DO $$ BEGIN EXECUTE format('CREATE TABLE mine PARTITION OF trace_ext.events FOR VALUES FROM (%L) TO (%L)', now(), now() + interval '36 hours'); END $$});
is($node->safe_psql($db, q{SELECT count(*) FROM pg_inherits WHERE inhrelid = 'mine'::regclass}), '1', 'a partition of a user takes the place of empty ones');
exact_ok($node, 'a partition of a user: exact', $db);

# Findings that detect() found again before the dump's arrive.
$source->safe_psql('postgres', 'CREATE DATABASE found');
my @race = map { "('" . uuid(7, $_->[0]) . "', '" . uuid(8, $_->[1]) . "', '2026-03-01 00:00:0$_->[1]+00', 'StateChange', '$_->[5]', 'api', 't$_->[0]', '{\"access_type\": \"$_->[2]\", \"old_value\": $_->[3], \"new_value\": $_->[4], \"location\": \"l\"}')" } (
	[ 1, 1, 'Read', 'null', 1000, 'x' ], [ 2, 2, 'Read', 'null', 1000, 'x' ],
	[ 1, 3, 'Write', 1000, 900, 'x' ], [ 2, 4, 'Write', 900, 800, 'x' ],
	[ 1, 5, 'Write', 1, 2, 'y' ], [ 2, 6, 'Write', 2, 3, 'y' ],
	# The third leaves, and with it half of what is known of z; of the others, all of what is known of w.
	[ 1, 7, 'Write', 1, 2, 'z' ], [ 2, 7, 'Write', 2, 3, 'z' ], [ 3, 7, 'Write', 3, 4, 'z' ],
	[ 3, 8, 'Write', 1, 2, 'w' ], [ 4, 8, 'Write', 2, 3, 'w' ]);
$source->safe_psql('found', 'CREATE EXTENSION trace_ext; INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, thread_id, attributes) VALUES ' . join(', ', @race));
$source->safe_psql('found', q{SELECT trace_ext.detect(); UPDATE trace_ext.findings SET status = CASE variable WHEN 'x' THEN 'acknowledged' ELSE 'ignored' END::trace_ext.finding_status});
my $findings = 'SELECT id, kind, variable, occurrences, status, confidence, first_seen, last_seen, evidence FROM trace_ext.findings ORDER BY id';
# As retention has it: detect() is not asked to look, and what two traces added that have both left is added up.
$source->safe_psql('found', "DELETE FROM trace_ext.events WHERE thread_id IN ('t3', 't4'); SELECT trace_ext.fold(); DELETE FROM trace_ext.detect_queue; SELECT trace_ext.detect()");
my $pairs = 'SELECT * FROM trace_ext.race_pairs ORDER BY finding_id, trace1, trace2, event1_trace_id';
my $original_pairs = $source->safe_psql('found', $pairs);
my $original_findings = $source->safe_psql('found', $findings);
like($original_findings, qr/acknowledged[^Z]*ignored|ignored[^Z]*acknowledged/, 'findings were judged');
silent_ok('pg_dump of findings', 'pg_dump', -d => $source->connstr('found'), '-Fc', -f => "$dir/found");
silent_ok('pg_restore of findings', 'pg_restore', '-e', $to->($db = fresh_database()), "$dir/found");
$node->safe_psql($db, 'SELECT trace_ext.detect()');
is($node->safe_psql($db, $findings), $original_findings, 'findings are equal after detect()');

is($node->safe_psql($db, $pairs), $original_pairs, 'what was added up of them is too');
# Half of it is looked at again, which must not count anew what it added before, nor forget what has left.
$node->safe_psql($db, q{INSERT INTO trace_ext.detect_queue (trace_id, queued_at) SELECT DISTINCT ON (trace_id) trace_id, now() FROM trace_ext.events ORDER BY trace_id LIMIT 1; SELECT trace_ext.detect()});
is($node->safe_psql($db, $findings), $original_findings, 'also after one of the traces is looked at again');

silent_ok('pg_restore of the rest', 'pg_restore', '-e', '--section=pre-data', $to->($db = fresh_database()), "$dir/found");
my ($list) = run_command([ 'pg_restore', '-l', "$dir/found" ]);
append_to_file("$dir/findings.list", join("\n", grep { /TABLE DATA trace_ext (findings|race_pairs) / } split(/\n/, $list)) . "\n");
append_to_file("$dir/others.list", join("\n", grep { /TABLE DATA|SEQUENCE SET/ && !/TABLE DATA trace_ext (findings|race_pairs) / } split(/\n/, $list)) . "\n");
silent_ok('pg_restore of other data', 'pg_restore', '-e', '-L', "$dir/others.list", $to->($db), "$dir/found");
$node->safe_psql($db, 'SELECT trace_ext.detect()');
silent_ok('pg_restore of findings, found already', 'pg_restore', '-e', '-L', "$dir/findings.list", $to->($db), "$dir/found");
is($node->safe_psql($db, $findings), $original_findings, 'findings that were found already have the status of the dump, and what traces that have left added');
is($node->safe_psql($db, 'SELECT finding_id, trace1, trace2, occurrences FROM trace_ext.race_pairs ORDER BY 1, 2, 3, event1_trace_id'),
	$source->safe_psql('found', 'SELECT finding_id, trace1, trace2, occurrences FROM trace_ext.race_pairs ORDER BY 1, 2, 3, event1_trace_id'), 'each pair counts once');

# Anomalies that were found again before the dump's arrive. The first trace has left, so what it added is known from the dump alone.
$source->safe_psql('postgres', 'CREATE DATABASE slow');
$source->safe_psql('slow', 'CREATE EXTENSION trace_ext');
$source->safe_psql('slow', q{INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
	SELECT md5(i::text)::uuid, md5(i::text)::uuid, '2026-03-01 00:00+00'::timestamptz + i * interval '1 s', 'FunctionCall'::trace_ext.event_kind, 'pay', 'bank', 10000000 FROM generate_series(1, 200) i
	UNION ALL SELECT md5('slow' || i)::uuid, md5('slow' || i)::uuid, '2026-03-01 01:00+00'::timestamptz + i * interval '1 s', 'FunctionCall', 'pay', 'bank', i * 1000000000::bigint FROM generate_series(1, 4) i});
my $look = q{SELECT trace_ext.fold(); DO $$ BEGIN WHILE trace_ext_internal.baseline_step('2026-03-01 01:30+00') LOOP END LOOP; WHILE trace_ext_internal.anomaly_step() > 0 LOOP END LOOP; END $$};
my $anomalies = 'SELECT * FROM trace_ext.anomalies ORDER BY id';
my $parts = 'SELECT * FROM trace_ext.anomaly_parts ORDER BY anomaly_id, trace_id';
my $baselines = 'SELECT service_name, operation, latency FROM trace_ext.baseline_metrics';
$source->safe_psql('slow', $look);
# As retention has it.
$source->safe_psql('slow', "DELETE FROM trace_ext.events WHERE duration_ns = 1000000000; SELECT trace_ext.fold(); DELETE FROM trace_ext.anomaly_queue WHERE trace_id = md5('slow1')::uuid; SELECT trace_ext_internal.sweep_anomaly_parts(100)");
$source->safe_psql('slow', "SELECT trace_ext.set_anomaly_status(id, 'acknowledged') FROM trace_ext.anomalies");
my ($original_anomalies, $original_parts) = map { $source->safe_psql('slow', $_) } ($anomalies, $parts);
like($original_anomalies, qr/^[^\n]*\|4\|[^\n]*acknowledged/, 'an anomaly of four traces, one of which has left');
is($source->safe_psql('slow', 'SELECT count(*) FILTER (WHERE trace_id IS NULL), count(*) FROM trace_ext.anomaly_parts'), '1|4', 'what it had added is in a row of its own');
silent_ok('pg_dump of anomalies', 'pg_dump', -d => $source->connstr('slow'), '-Fc', -f => "$dir/slow");
silent_ok('pg_restore of anomalies', 'pg_restore', '-e', $to->($db = fresh_database()), "$dir/slow");
is($node->safe_psql($db, $anomalies), $original_anomalies, 'anomalies are restored');
$node->safe_psql($db, $look);
is($node->safe_psql($db, $anomalies), $original_anomalies, 'and are equal after all traces were looked at again');
is($node->safe_psql($db, $parts), $original_parts, 'as is what each trace adds');
is($node->safe_psql($db, $baselines), $source->safe_psql('slow', $baselines), 'baselines are made anew from the rollups');
($list) = run_command([ 'pg_restore', '-l', "$dir/slow" ]);
for my $order ([ 'anomalies', 'anomaly_parts' ], [ 'anomaly_parts', 'anomalies' ])
{
	my $name = "@$order";
	$name =~ s/ /-/;
	append_to_file("$dir/$name.list", join("\n", map { my $table = $_; grep { /TABLE DATA trace_ext $table / } split(/\n/, $list) } @$order) . "\n");
	append_to_file("$dir/$name.others", join("\n", grep { /TABLE DATA|SEQUENCE SET/ && !/TABLE DATA trace_ext (anomalies|anomaly_parts) / } split(/\n/, $list)) . "\n");
	silent_ok('pg_restore of the rest', 'pg_restore', '-e', '--section=pre-data', $to->($db = fresh_database()), "$dir/slow");
	silent_ok('pg_restore of other data', 'pg_restore', '-e', '-L', "$dir/$name.others", $to->($db), "$dir/slow");
	$node->safe_psql($db, $look);
	is($node->safe_psql($db, 'SELECT occurrences FROM trace_ext.anomalies'), '3', 'three occurrences are found again');
	silent_ok("pg_restore of $name, found already", 'pg_restore', '-e', '-L', "$dir/$name.list", $to->($db), "$dir/slow");
	is($node->safe_psql($db, $anomalies), $original_anomalies, "$name: status and counts are those of the dump, nothing counts twice");
	$node->safe_psql($db, "INSERT INTO trace_ext.anomaly_queue SELECT trace_id FROM trace_ext.events; $look");
	is($node->safe_psql($db, $anomalies), $original_anomalies, "$name: also after all traces are looked at again");
}

#
# Another cluster, with the roles
#

my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->start;
silent_ok('pg_dumpall', 'pg_dumpall', -d => $source->connstr('postgres'), -f => "$dir/all");
# The two roles of initdb are there already.
my $all = slurp_file("$dir/all");
$all =~ s/^CREATE ROLE "?\Q$_\E"?;$//m for split(/\n/, $other->safe_psql('postgres', 'SELECT rolname FROM pg_roles'));
append_to_file("$dir/all.mended", $all);
silent_ok('psql -f of pg_dumpall', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-o', "$dir/ignored", -d => $other->connstr('postgres'), -f => "$dir/all.mended");
is(answers($other), $original, 'pg_dumpall: equal answers');
exact_ok($other, 'pg_dumpall: exact');
is($other->safe_psql('postgres', $anatomy), $original_anatomy, 'pg_dumpall: partitions are the same');
$other->stop;

#
# Nothing stays behind, but the empty schema, which PostgreSQL made and keeps
#

my $remains = q{
	SELECT 'event trigger', evtname FROM pg_event_trigger
	UNION ALL SELECT 'class', oid::regclass::text FROM pg_class WHERE oid >= 16384 AND relkind <> 't' AND relname NOT LIKE 'pg\_toast%'
	UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc WHERE oid >= 16384
	UNION ALL SELECT 'type', oid::regtype::text FROM pg_type WHERE oid >= 16384
	UNION ALL SELECT 'trigger', tgname FROM pg_trigger
	UNION ALL SELECT 'cast', castsource::regtype::text FROM pg_cast WHERE oid >= 16384
	UNION ALL SELECT 'operator', oid::regoperator::text FROM pg_operator WHERE oid >= 16384};
for my $what ([ $source, 'postgres' ], [ $node, $cleaned ])
{
	my ($server, $database) = @$what;
	my $name = $server->name . ", $database";
	$server->safe_psql($database, 'DROP EXTENSION trace_ext; DROP PROCEDURE nightly()');
	is($server->safe_psql($database, $remains), '', "$name: DROP EXTENSION leaves nothing behind");
	$server->safe_psql($database, 'CREATE EXTENSION trace_ext; ' . insert_sql(rows(20, '2021-03-01', 20)) . ' CALL trace_ext.maintain_partitions();');
	exact_ok($server, "$name: exact after CREATE EXTENSION", $database);
}
# In one session, which knows the objects of before.
$node->safe_psql('postgres', join("\n", map {
	'DROP EXTENSION trace_ext; CREATE EXTENSION trace_ext;' . insert_sql(rows(20, '2021-03-01', 20)) . ingest_sql(rows(20, '2021-03-01', 20))
	  . 'SELECT trace_ext.fold(); SELECT * FROM trace_ext.list_traces(); CALL trace_ext.maintain_partitions();' } 1 .. 2));
exact_ok($node, 'exact after DROP and CREATE in one session');

$_->stop for ($source, $node);
done_testing();
