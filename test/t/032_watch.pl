# 032_watch.pl
#		Watched tables: random transactions against an oracle, a full ring, a killed backend, a dump,
#		the worker, and the roles that may watch.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

my $seed = seed_random();
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('watch', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off',
	'trace_ext.watch_buffer' => '64MB', restart_after_crash => 'on');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub counts { return sql("SELECT $_[0] FROM trace_ext_internal.watch_counts()") }

sub store_all
{
	sql(q{DO $$ BEGIN WHILE (SELECT inserted + duplicates > 0 FROM trace_ext_internal.store_watched()) LOOP END LOOP; END $$});
	return;
}

# Random programs: each transaction reads, locks and writes a few rows, and writes down what it did. The
# numbers of writes of a row ascend as they are done, each under the row's lock, so in the order of their commits.
sql(q{
	CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
	INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 4) i;
	CREATE SEQUENCE steps CACHE 1;
	CREATE TABLE log (step bigint, tx bigint, id int, kind text, old int, new int);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO log VALUES (nextval('steps'), txid_current(), NEW.id, current_setting('test.kind', true), OLD.balance, NEW.balance);
		RETURN NULL;
	END $$;
	CREATE TRIGGER note AFTER UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION note();
	SELECT trace_ext.watch('accounts');
	CREATE FUNCTION program(seed float8) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		known int[] := '{1000,1000,1000,1000}';
		r int;
		v int;
	BEGIN
		PERFORM setseed(seed);
		FOR i IN 1 .. 1 + floor(random() * 6) LOOP
			r := 1 + floor(random() * 4);
			CASE floor(random() * 5)
			WHEN 0, 1 THEN
				SELECT balance INTO v FROM accounts WHERE id = r;
				known[r] := v;
				INSERT INTO log VALUES (nextval('steps'), txid_current(), r, 'read', NULL, v);
				PERFORM pg_sleep(random() * 0.002);
			WHEN 2 THEN
				PERFORM set_config('test.kind', 'set', true);
				UPDATE accounts SET balance = known[r] + floor(random() * 5) - 2 WHERE id = r;
			WHEN 3 THEN
				PERFORM set_config('test.kind', 'computed', true);
				UPDATE accounts SET balance = balance + 1 WHERE id = r;
			ELSE
				SELECT balance INTO v FROM accounts WHERE id = r FOR UPDATE;
				known[r] := v;
				INSERT INTO log VALUES (nextval('steps'), txid_current(), r, 'locked', NULL, v);
			END CASE;
			-- What is rolled back to a savepoint never happened.
			IF random() < 0.1 THEN
				BEGIN
					PERFORM set_config('test.kind', 'set', true);
					UPDATE accounts SET balance = -1 WHERE id = r;
					RAISE EXCEPTION 'no';
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END IF;
		END LOOP;
		IF random() < 0.1 THEN
			RAISE EXCEPTION 'rolled back';
		END IF;
	END $$;
});
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	open(my $file, '>', "$dir/$level") or die;
	# Programs differ by client and run; what they do meets whom it meets.
	print $file "\\set s random(0, 1000000000)\nBEGIN ISOLATION LEVEL $level;\nSELECT program(:s / 1000000000.0);\nCOMMIT;\n";
	close($file);
}
sub lost_by_the_log
{
	return sql(q{
		WITH steps AS (
			SELECT *, kind IN ('set', 'computed') AS writes,
				   lag(kind) OVER own AS kind_before, lag(new) OVER own AS known
			  FROM log WINDOW own AS (PARTITION BY tx, id ORDER BY step)
		), writes AS (
			SELECT *, lag(tx) OVER chain AS tx_before, lag(old) OVER chain AS old_before, lag(new) OVER chain AS new_before
			  FROM steps WHERE writes WINDOW chain AS (PARTITION BY id ORDER BY step)
		)
		SELECT id, count(*) FROM writes
		 WHERE kind = 'set' AND kind_before IN ('read', 'locked') AND known <> old
		   AND tx_before <> tx AND new_before = old AND new_before <> old_before
		 GROUP BY id ORDER BY id});
}

for my $round (1 .. 2)
{
	sql('TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue, log');
	local $ENV{PGOPTIONS} = '-c trace_ext.watch_untraced=transaction';
	# Each client ends at the first transaction that fails, so there are many short ones; and more
	# where by chance none lost an update.
	for (my $n = 1; $n <= 10 || ($n <= 200 && lost_by_the_log() eq ''); $n++)
	{
		my @clients = map {
			my $level = (('READ COMMITTED') x 3, 'REPEATABLE READ', 'SERIALIZABLE')[int(rand(5))];
			my @command = ('pgbench', '-n', '-h', $node->host, '-p', $node->port, '-t', 6, '--random-seed', int(rand(1000000)), '-f', "$dir/$level", 'postgres');
			my $pid = fork();
			die "fork: $!" unless defined $pid;
			if ($pid == 0)
			{
				open(STDOUT, '>', '/dev/null');
				open(STDERR, '>', '/dev/null');
				exec(@command);
			}
			$pid;
		} 1 .. 6;
		waitpid($_, 0) foreach @clients;
	}
	store_all();
	sql('SET trace_ext.lateness = 0; SELECT trace_ext.fold(); CALL trace_ext.detect_all()');
	my $expected = lost_by_the_log();
	my $found = sql(q{
		SELECT substring(variable FROM '\[(\d+)\]')::int, sum(occurrences) FROM trace_ext.findings
		 WHERE kind = 'lost update' GROUP BY 1 ORDER BY 1});
	isnt($expected, '', "round $round: updates were lost");
	is($found, $expected, "round $round: those that values prove are found, and no other") or diag("seed $seed");
	is(sql(q{SELECT count(*) FROM trace_ext.findings WHERE kind NOT IN ('lost update', 'non-repeatable read', 'lock order') OR (kind <> 'lock order' AND confidence NOT IN (1, 0.7))}), 0,
		'plain pairs are no races');
	# What was written is what is stored.
	is(sql(q{
		SELECT count(*) FROM (
			SELECT name, (attributes ->> 'old_value')::int, (attributes ->> 'new_value')::int, attributes ->> 'access_type' = 'AtomicRMW' FROM trace_ext.events
			 WHERE kind = 'StateChange' AND attributes ->> 'access_type' <> 'Read'
			EXCEPT ALL
			SELECT format('public.accounts[%s].balance', id), old, new, kind = 'computed' FROM log WHERE kind IN ('set', 'computed')) d}), 0, 'no write is invented');
	is(sql(q{SELECT count(*) FILTER (WHERE kind = 'StateChange' AND attributes ->> 'access_type' = 'Read') - (SELECT count(*) FROM log WHERE kind IN ('read', 'locked')),
					count(*) FILTER (WHERE kind = 'StateChange' AND attributes ->> 'access_type' <> 'Read') - (SELECT count(*) FROM log WHERE kind IN ('set', 'computed'))
			   FROM trace_ext.events}), '0|0', 'no access is missing');
	is(sql('SELECT * FROM trace_ext.verify_summaries()'), '', 'summaries are exact');
}
is(counts('buffer_full + errors + not_covered + too_much_memory'), 0, 'nothing was dropped');

# Prepared transactions: what they did happened when they have committed, across a restart; else never.
$node->append_conf('postgresql.conf', "max_prepared_transactions = 4\ntrace_ext.watch_buffer = '256kB'\n");
$node->restart;
sql('TRUNCATE trace_ext.events');
sql(q{BEGIN; SELECT set_config('test.kind', 'set', true); UPDATE accounts SET balance = 5 WHERE id = 1; PREPARE TRANSACTION 'p'});
sql(q{BEGIN; SELECT set_config('test.kind', 'set', true); UPDATE accounts SET balance = 6 WHERE id = 2; PREPARE TRANSACTION 'q'});
sql(q{BEGIN; SELECT balance FROM accounts WHERE id = 3; PREPARE TRANSACTION 'r'});
store_all();
my $stored = q{SELECT string_agg(substring(name FROM '\d+') || ': ' || (attributes ->> 'new_value'), ', ' ORDER BY name) FROM trace_ext.events WHERE kind = 'StateChange' AND attributes ->> 'access_type' <> 'Read'};
is(sql($stored), '', 'a prepared transaction has not happened yet');
is(sql('SELECT count(*) FROM trace_ext_internal.watch_prepared'), 3, 'and is remembered');
$node->restart;
sql(q{COMMIT PREPARED 'p'});
sql(q{ROLLBACK PREPARED 'q'});
sql(q{COMMIT PREPARED 'r'});
store_all();
is(sql($stored), '1: 5', 'it happened when it committed, and not when it was rolled back');
is(sql('SELECT count(*) FROM trace_ext_internal.watch_prepared'), 0, 'and is forgotten');

# A full ring drops and counts; a transaction that takes too much as well; users notice nothing.
sql(q{SELECT set_config('test.kind', 'set', false); } . 'UPDATE accounts SET balance = balance + 1;' x 500);
is(sql('SELECT balance FROM accounts WHERE id = 1'), 505, 'all updates are there');
cmp_ok(counts('buffer_full'), '>', 0, 'a full ring drops: ' . counts('buffer_full, taken'));
my $before = counts('too_much_memory');
sql(q{CREATE TABLE big (id int PRIMARY KEY, v text); SELECT trace_ext.watch('big'); INSERT INTO big SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i;});
is(sql('SELECT count(*) FROM big'), 20000, 'so are all rows of a large transaction');
cmp_ok(counts('too_much_memory'), '>', $before + 10000, 'which is dropped: ' . counts('too_much_memory'));
store_all();
sql('UPDATE accounts SET balance = 0 WHERE id = 2');
cmp_ok(counts('taken'), '>', 0, 'there is room again');
store_all();

# kill -9 under load: what is stored is whole.
sql('TRUNCATE trace_ext.events');
open(my $script, '>', "$dir/load") or die;
print $script "\\set i random(1, 4)\nBEGIN;\nSELECT balance FROM accounts WHERE id = :i;\nUPDATE accounts SET balance = balance + 1 WHERE id = :i;\nCOMMIT;\n";
close($script);
my $load = IPC::Run::start(['pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 4, '-T', 60, '-f', "$dir/load", 'postgres'],
	'>', '/dev/null', '2>', '/dev/null');
sleep 1;
# One step: beside clients that go on, there is always more.
sql('SELECT trace_ext_internal.store_watched()');
my $busy = q{FROM pg_stat_activity WHERE query ~ '^(SELECT balance|UPDATE accounts)' AND pid <> pg_backend_pid()};
$node->poll_query_until('postgres', "SELECT count(*) > 0 $busy") or die 'there is no load';
kill('KILL', sql("SELECT pid $busy LIMIT 1"));
$load->finish;
$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
store_all();
sql('UPDATE accounts SET balance = 1 WHERE id = 3');
store_all();
is(sql(q{SELECT count(*) FROM trace_ext.events WHERE kind = 'StateChange' AND parent_id NOT IN (SELECT id FROM trace_ext.events)}), 0, 'no access is without its statement');
is(sql(q{SELECT attributes ->> 'new_value' FROM trace_ext.events WHERE name = 'public.accounts[3].balance' ORDER BY "timestamp" DESC LIMIT 1}), 1, 'and what comes after it is taken');

# A dump brings what is watched, whatever numbers the columns have there.
sql(q{
	CREATE SCHEMA "Shop"; CREATE TABLE "Shop"."It's" (gone int, "the key" int, v int, w int, PRIMARY KEY ("the key"));
	ALTER TABLE "Shop"."It's" DROP COLUMN gone;
	SELECT trace_ext.watch('"Shop"."It''s"', '{v}');
});
$node->command_ok(['pg_dump', '-h', $node->host, '-p', $node->port, '-f', "$dir/dump", 'postgres'], 'dump');
sql('CREATE DATABASE restored');
$node->command_ok(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-d', 'restored', '-f', "$dir/dump"], 'restore');
is($node->safe_psql('restored', q{SELECT "table", columns, key FROM trace_ext.watched_tables ORDER BY 1}),
	qq{"Shop"."It's"|{v}|{"the key"}\naccounts|{balance}|{id}\nbig|{v}|{id}}, 'it is watched there');
$node->safe_psql('restored', q{INSERT INTO "Shop"."It's" VALUES (7, 8, 9); SELECT trace_ext_internal.store_watched()});
is($node->safe_psql('restored', q{SELECT attributes -> 'new_value' FROM trace_ext.events WHERE name = '"Shop"."It''s"[7].v'}), 8, 'and taken');

# Roles: the owner may; who administers the extension may, if he may read; others may not.
sql(q{
	CREATE ROLE shop LOGIN IN ROLE trace_ext_writer; CREATE ROLE other LOGIN IN ROLE trace_ext_writer, trace_ext_reader; CREATE ROLE admin LOGIN IN ROLE trace_ext_admin;
	GRANT CREATE ON SCHEMA public TO shop;
	SET ROLE shop;
	CREATE TABLE stock (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
	CREATE TABLE hidden (id int PRIMARY KEY, n int);
	ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
	SELECT trace_ext.watch('stock');
	CREATE TABLE stock1 PARTITION OF stock FOR VALUES FROM (0) TO (10);
	CREATE TABLE stock2 (id int NOT NULL, n int);
	ALTER TABLE stock ATTACH PARTITION stock2 FOR VALUES FROM (10) TO (20);
	INSERT INTO stock VALUES (1, 1), (11, 11);
});
sub fails_with
{
	my ($role, $sql, $reason, $what) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "SET ROLE $role; $sql");
	like($err, $reason, $what);
	return;
}
fails_with('other', q{SELECT trace_ext.watch('stock')}, qr/permission denied for table public.stock/, 'not a table of others');
fails_with('other', q{SELECT trace_ext.unwatch('stock')}, qr/permission denied for table public.stock/, 'nor unwatch it');
fails_with('admin', q{SELECT trace_ext.watch('stock')}, qr/permission denied for table public.stock/, 'nor an administrator who may not read it');
fails_with('other', q{SELECT trace_ext_internal.store_watched()}, qr/permission denied for function/, 'what the worker does is not for others');
sql('GRANT SELECT ON stock, hidden TO admin');
is(sql(q{SET ROLE admin; SELECT trace_ext.watch('stock', '{n}')}), '', 'one who may read it may watch it');
is(sql(q{SELECT watched_by FROM trace_ext.watched_tables WHERE "table" = 'stock'::regclass}), 'admin', 'and it says who does');
fails_with('admin', q{SELECT trace_ext.watch('hidden')}, qr/row security/, 'but not where rows are kept from him');
is(sql(q{SET ROLE admin; SELECT trace_ext.watch('hidden', "values" => 'none')}), '', 'unless no values are taken');

# The worker stores by itself, and finds.
$node->append_conf('postgresql.conf', "trace_ext.workers = on\ntrace_ext.lateness = 0\n");
$node->restart;
my $one = $node->background_psql('postgres', on_error_stop => 0);
$one->query_safe('BEGIN');
$one->query_safe('SELECT n FROM stock WHERE id = 1');
sql('UPDATE stock SET n = 7 WHERE id = 1');
$one->query_safe('UPDATE stock SET n = 8 WHERE id = 1');
$one->query_safe('COMMIT');
$one->quit;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM trace_ext.findings WHERE variable = 'public.stock[1].n' AND kind = 'lost update'}), 'the worker finds it');

$node->stop;
done_testing();
