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
use Time::HiRes qw(sleep);
use TraceExtTest;

my $seed = seed_random();
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('watch', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off',
	'trace_ext.watch_buffer' => '64MB', restart_after_crash => 'on', track_commit_timestamp => 'on', deadlock_timeout => '20ms');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub counts { return sql("SELECT $_[0] FROM trace_ext_internal.watch_counts()") }

sub store_all
{
	sql(q{DO $$ BEGIN WHILE (SELECT inserted + duplicates > 0 FROM trace_ext_internal.store_watched()) LOOP END LOOP; END $$});
	return;
}

# Random programs: each transaction reads, locks and writes a few rows, and writes down what it did. The
# numbers of writes of a row ascend as they are done, each under the row's lock, so in the order of their commits.
# Of a read the snapshot is written down, and of a transaction when it had done all but commit.
sql(q{
	CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
	INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 4) i;
	CREATE SEQUENCE steps CACHE 1;
	CREATE TABLE log (step bigint, tx bigint, id int, kind text, old int, new int, snapshot pg_snapshot,
					  pid int DEFAULT pg_backend_pid(), at timestamptz DEFAULT clock_timestamp(), level text DEFAULT current_setting('transaction_isolation'));
	CREATE INDEX ON log (tx, id, step);
	CREATE INDEX ON log (id, step);
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
		seen pg_snapshot;
	BEGIN
		PERFORM setseed(seed);
		FOR i IN 1 .. 1 + floor(random() * 6) LOOP
			r := 1 + floor(random() * 4);
			CASE floor(random() * 5)
			WHEN 0, 1 THEN
				SELECT balance, pg_current_snapshot() INTO v, seen FROM accounts WHERE id = r;
				known[r] := v;
				INSERT INTO log VALUES (nextval('steps'), txid_current(), r, 'read', NULL, v, seen);
				PERFORM pg_sleep(random() * 0.01);
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
			RAISE EXCEPTION 'rolled back' USING ERRCODE = 'serialization_failure';
		END IF;
		INSERT INTO log VALUES (nextval('steps'), txid_current(), NULL, 'end');
	END $$;

	-- What was read and then changed by another transaction that committed before, while something else was
	-- written: x, by the two transactions. Of two that commit at once it is not known who was first:
	-- so what is certain, and what may be.
	CREATE VIEW checks AS
	WITH ended AS (
		SELECT tx, pid, at, level, pg_xact_commit_timestamp((tx % (2::bigint ^ 32)::bigint)::text::xid) AS committed_at FROM log WHERE kind = 'end'
	), writes AS (
		SELECT l.*, row_number() OVER (PARTITION BY id ORDER BY step) AS n FROM log l WHERE kind IN ('set', 'computed')
	), reads AS (
		SELECT l.*, lead(step, 1, 9223372036854775807) OVER (PARTITION BY tx, id ORDER BY step) AS until FROM log l WHERE kind IN ('read', 'locked')
	), lost AS (
		SELECT DISTINCT s.tx, w.tx AS other
		  FROM (SELECT l.*, lag(kind) OVER own AS kind_before, lag(new) OVER own AS known FROM log l WINDOW own AS (PARTITION BY tx, id ORDER BY step)) s
		  JOIN writes w ON w.id = s.id AND w.new = s.old
		 WHERE s.kind = 'set' AND s.kind_before IN ('read', 'locked') AND s.known <> s.old
	), checked AS (
		SELECT r.*, e.level AS own_level, k.n AS so_far, k.new AS left_there
		  FROM reads r JOIN ended e USING (tx)
		  JOIN writes k ON k.id = r.id
		  JOIN ended ke ON ke.tx = k.tx
		  LEFT JOIN writes k2 ON k2.id = r.id AND k2.n = k.n + 1
		  LEFT JOIN ended k2e ON k2e.tx = k2.tx
		 WHERE r.kind = 'read' AND NOT EXISTS (SELECT FROM writes w WHERE w.tx = r.tx AND w.id = r.id)
		   -- The last change before the commit, or one of those that may be.
		   AND ke.at < e.committed_at AND (k2e.committed_at IS NULL OR k2e.committed_at > e.at)
	), options AS (
		SELECT c.*, w.tx AS other, w.step AS changed, oe.level AS other_level,
			   EXISTS (SELECT FROM writes y JOIN log o ON o.tx = w.tx AND o.id = y.id AND o.kind = 'read' AND o.step < w.step
						WHERE y.tx = c.tx AND y.step > c.step AND y.step < c.until AND y.old <> y.new
						  AND NOT EXISTS (SELECT FROM log l WHERE l.tx = w.tx AND l.id = y.id AND l.kind <> 'read')) AS skew
		  FROM checked c
		  JOIN LATERAL (SELECT w.* FROM writes w WHERE w.id = c.id AND w.n <= c.so_far AND w.old = c.new AND w.new <> w.old ORDER BY w.n DESC LIMIT 1) w ON true
		  JOIN ended oe ON oe.tx = w.tx
		 WHERE c.left_there <> c.new
		   AND EXISTS (SELECT FROM writes y WHERE y.tx = c.tx AND y.step > c.step AND y.step < c.until AND y.old <> y.new)
		   AND NOT EXISTS (SELECT FROM lost l WHERE l.tx = c.tx AND l.other = w.tx)
	), kinds AS (
		SELECT *, CASE WHEN skew THEN 'write skew' ELSE 'check-then-act' END AS kind FROM (SELECT tx, id, step, snapshot, other, own_level, other_level, skew FROM options) o
		 WHERE own_level <> 'serializable' OR (skew AND other_level <> 'serializable')
	)
	SELECT k.tx, k.other, k.id, k.kind, bool_or(pg_visible_in_snapshot(k.other::text::xid8, k.snapshot)) AS was_seen,
		   bool_or((SELECT count(*) FROM checked c WHERE c.tx = k.tx AND c.id = k.id AND c.step = k.step) = 1) AS certain
	  FROM kinds k GROUP BY 1, 2, 3, 4;

	-- The same as they were found: transactions are known by their backend and the time before their commit.
	CREATE VIEW found_checks AS
	WITH traces AS (
		SELECT t.trace_id, l.tx
		  FROM (SELECT DISTINCT trace_id, split_part(attributes ->> 'transaction', '/', 1)::int AS pid,
					   timestamptz '2000-01-01 00:00+00' + split_part(attributes ->> 'transaction', '/', 2)::bigint * interval '1 us' AS at
				  FROM trace_ext.events WHERE kind = 'StateChange') t
		  JOIN log l ON l.kind = 'end' AND l.pid = t.pid AND t.at BETWEEN l.at AND pg_xact_commit_timestamp((l.tx % (2::bigint ^ 32)::bigint)::text::xid)
	)
	SELECT DISTINCT a.tx, b.tx AS other, substring(f.variable FROM '\[(\d+)\]')::int AS id, f.kind
	  FROM trace_ext.findings f JOIN trace_ext.race_pairs p ON p.finding_id = f.id
	  JOIN trace_ext.events e ON e.id = p.event1_id AND e.trace_id = p.event1_trace_id
	  -- Which was the read: the two may have happened at once.
	  JOIN traces a ON a.trace_id = CASE e.attributes ->> 'access_type' WHEN 'Read' THEN p.event1_trace_id ELSE p.event2_trace_id END
	  JOIN traces b ON b.trace_id = CASE e.attributes ->> 'access_type' WHEN 'Read' THEN p.event2_trace_id ELSE p.event1_trace_id END
	 WHERE f.kind IN ('check-then-act', 'write skew');
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
			SELECT *, count(*) FILTER (WHERE new <> old)
					  OVER (PARTITION BY id ORDER BY step ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS changes_before
			  FROM steps WHERE writes
		), changes AS (
			SELECT id, tx, new, row_number() OVER (PARTITION BY id ORDER BY step) AS n FROM writes WHERE new <> old
		)
		SELECT w.id, count(*) FROM writes w JOIN changes c ON c.id = w.id AND c.n = w.changes_before
		 WHERE w.kind = 'set' AND w.kind_before IN ('read', 'locked') AND w.known <> w.old AND c.tx <> w.tx AND c.new = w.old
		 GROUP BY w.id ORDER BY w.id});
}

sub shows_all
{
	return lost_by_the_log() ne '' && sql('SELECT count(DISTINCT kind) FROM checks WHERE certain') == 2;
}

my %checks;
my $all_apart = 0;
for my $round (1 .. 2)
{
	sql('TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue, log');
	my $keeper = $node->background_psql('postgres', on_error_stop => 0);
	my $store = 'DO $$ BEGIN WHILE (SELECT inserted + duplicates > 0 FROM trace_ext_internal.store_watched()) LOOP END LOOP; END $$';
	$keeper->query_safe($_) foreach ('SET trace_ext.lateness = 0', $store);
	local $ENV{PGOPTIONS} = '-c trace_ext.watch_untraced=transaction';
	# Each client ends at the first transaction that fails, so there are many short ones; and more
	# where by chance they did nothing that is to be found.
	for (my $n = 1; $n <= 6 || ($n <= 200 && !shows_all()); $n++)
	{
		my @clients = map {
			my $level = (('READ COMMITTED') x 3, 'REPEATABLE READ', 'SERIALIZABLE')[int(rand(5))];
			my @command = ('pgbench', '-n', '-h', $node->host, '-p', $node->port, '-t', 15, '--random-seed', int(rand(1000000)), '-f', "$dir/$level", 'postgres');
			my $pid = fork();
			die "fork: $!" unless defined $pid;
			if ($pid == 0)
			{
				open(STDOUT, '>', '/dev/null');
				open(STDERR, '>', '/dev/null');
				exec(@command);
			}
			$pid;
		} 1 .. 8;
		$keeper->query_safe($store);
		waitpid($_, 0) foreach @clients;
	}
	# The session that stored them does not look at these, of which it knows that they met no other one.
	$keeper->query_safe($_) foreach ($store, 'SELECT trace_ext.fold()');
	$all_apart += $keeper->query_safe('SELECT cardinality(trace_ext_internal.traces_apart(ARRAY(SELECT trace_id FROM trace_ext.summary_base)))');
	$keeper->query_safe('CALL trace_ext.detect_all()');
	$keeper->quit;
	my $expected = lost_by_the_log();
	my $found = sql(q{
		SELECT substring(variable FROM '\[(\d+)\]')::int, sum(occurrences) FROM trace_ext.findings
		 WHERE kind = 'lost update' GROUP BY 1 ORDER BY 1});
	isnt($expected, '', "round $round: updates were lost");
	is($found, $expected, "round $round: those that values prove are found, and no other") or diag("seed $seed");
	is(sql(q{SELECT count(*) FROM trace_ext.findings WHERE kind NOT IN ('lost update', 'non-repeatable read', 'lock order', 'check-then-act', 'write skew')
				 OR (kind IN ('lost update', 'non-repeatable read') AND confidence NOT IN (1, 0.7))}), 0,
		'plain pairs are no races');
	sql('DROP TABLE IF EXISTS expected, found; ANALYZE log; CREATE TABLE expected AS TABLE checks; CREATE TABLE found AS TABLE found_checks');
	$checks{$_} += sql("SELECT count(*) FROM expected WHERE certain AND kind = '$_'") foreach ('check-then-act', 'write skew');
	is(sql('SELECT tx, other, id, kind FROM expected WHERE certain EXCEPT SELECT * FROM found ORDER BY 1, 2, 3, 4'), '', 'who went by what another one changed is found') or diag("seed $seed");
	is(sql('SELECT * FROM found EXCEPT SELECT tx, other, id, kind FROM expected WHERE NOT was_seen ORDER BY 1, 2, 3, 4'), '', 'and nobody else') or diag("seed $seed");
	# Looked at again in another order, and fewer at a time, it is the same.
	sql(q{
		DROP TABLE IF EXISTS known;
		CREATE TABLE known AS TABLE trace_ext.findings;
		TRUNCATE trace_ext.findings, trace_ext.race_pairs;
		UPDATE trace_ext.detect_state SET at_once = 10;
		INSERT INTO trace_ext.detect_queue (trace_id, first_timestamp) SELECT trace_id, now() - random() * interval '1 day' FROM trace_ext.summary_base});
	sql('SET trace_ext.lateness = 0; CALL trace_ext.detect_all()');
	is(sql('(TABLE known EXCEPT ALL TABLE trace_ext.findings) UNION ALL (TABLE trace_ext.findings EXCEPT ALL TABLE known)'), '', 'findings are those of the events, whatever is looked at together');
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
# Where all of them met, which is up to chance, none: 044_watch_apart.pl has some for sure.
note("$all_apart traces were not looked at");
cmp_ok($checks{$_}, '>', 0, "$_: $checks{$_} of them were certain") foreach sort keys %checks;

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
# At one look all of them may be about to commit.
my $victim = '';
for (1 .. 1000)
{
	last if ($victim = sql("SELECT pid $busy LIMIT 1")) ne '';
	sleep(0.1);
}
kill_9($victim);
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
