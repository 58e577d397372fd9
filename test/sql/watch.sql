-- Watched tables: what is taken of what statements read and write, and what values prove.
-- Without preload there is nothing to try but what it says.
SELECT current_setting('shared_preload_libraries') ~ 'trace_ext' AS preloaded \gset
\if :preloaded
\else
CREATE TABLE public.unwatched (id int PRIMARY KEY);
SELECT trace_ext.watch('unwatched');
DROP TABLE public.unwatched;
\quit
\endif
\set ECHO none
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET trace_ext.lateness = 0;
SET application_name = 'regress_watch';
CREATE SCHEMA w;
CREATE TABLE w.accounts (id int PRIMARY KEY, owner text, balance numeric, seen boolean, version int DEFAULT 0);
INSERT INTO w.accounts VALUES (1, 'ann', 1000, true), (2, 'bob', 1000, NULL), (3, 'cy', 1000, false);

-- What was taken since the last call, in the order of the backend.
CREATE FUNCTION w.taken(OUT kind text, OUT access text, OUT name text, OUT old jsonb, OUT new jsonb, OUT rest text) RETURNS SETOF record
    LANGUAGE plpgsql AS $$
BEGIN
    WHILE (SELECT inserted > 0 FROM trace_ext_internal.store_watched()) LOOP END LOOP;
    RETURN QUERY
        SELECT e.kind::text, e.attributes ->> 'access_type', e.name, e.attributes -> 'old_value', e.attributes -> 'new_value',
               nullif(concat_ws(' ', e.attributes ->> 'lock_type', 'row_lock: ' || (e.attributes ->> 'row_lock'), 'incomplete: ' || (e.attributes ->> 'incomplete')), '')
          FROM trace_ext.events e WHERE e.service_name = 'regress_watch'
         ORDER BY e.id;
    DELETE FROM trace_ext.events WHERE service_name = 'regress_watch';
END
$$;

SELECT count(*) AS left_by_others FROM w.taken() \gset

-- Who may watch what, and how it is said.
SELECT coalesce(max(id), 0) AS logged FROM trace_ext.admin_log \gset
SELECT trace_ext.watch('w.accounts', '{balance}');
SELECT * FROM trace_ext.watched_tables WHERE "table"::text ~ '^w2?\.';
SELECT trace_ext.watch(NULL);
SELECT trace_ext.watch('w.accounts', '{nothing}');
SELECT trace_ext.watch('w.accounts', '{balance,balance}');
SELECT trace_ext.watch('w.accounts', '{}');
SELECT trace_ext.watch('w.accounts', key => '{}');
SELECT trace_ext.watch('w.accounts', "values" => 'secret');
SELECT trace_ext.watch('pg_class');
SELECT trace_ext.watch('trace_ext.events');
SELECT trace_ext.watch('trace_ext.watched_tables');
CREATE TABLE w.keyless (a int, b int);
SELECT trace_ext.watch('w.keyless');
SELECT trace_ext.watch('w.keyless', key => '{a}');
SELECT trace_ext.unwatch('w.keyless'), trace_ext.unwatch('w.keyless');
CREATE TEMP TABLE passing (id int PRIMARY KEY);
SELECT trace_ext.watch('passing');
-- Who did is logged, with what was before and after; not what failed, changed nothing, or was rolled back.
SELECT trace_ext.watch('w.accounts', '{balance}');
BEGIN; SELECT trace_ext.unwatch('w.accounts'); ROLLBACK;
SELECT trace_ext.watch('w.accounts', '{balance,owner}', "values" => 'hash');
SELECT trace_ext.watch('w.accounts', '{balance}');
SELECT role_name = current_user AS mine, logged_in_as = session_user AS i_am, at BETWEEN now() - interval '1 min' AND clock_timestamp() AS just_now, what, name, before, after
  FROM trace_ext.admin_log WHERE id > :logged ORDER BY id;

-- Reads: the columns that a statement names, of the rows that it is given.
SELECT owner FROM w.accounts WHERE id = 1;
SELECT count(*) FROM w.accounts;
SELECT balance FROM w.accounts WHERE id = 1;
SELECT id FROM w.accounts WHERE balance > 5000;
SELECT a.owner FROM w.accounts a JOIN w.accounts b ON a.balance = b.balance AND a.id < b.id WHERE a.id = 2;
SELECT * FROM w.taken();
-- In functions, cursors, prepared statements, CTEs, views, subqueries.
CREATE FUNCTION w.balance_of(int) RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT balance FROM w.accounts WHERE id = $1); END $$;
CREATE FUNCTION w.sql_balance_of(int) RETURNS numeric LANGUAGE sql VOLATILE AS $$ SELECT balance FROM w.accounts WHERE id = $1 $$;
CREATE VIEW w.rich AS SELECT id, balance FROM w.accounts WHERE balance > 10;
SELECT w.balance_of(1), w.sql_balance_of(2);
BEGIN; DECLARE c CURSOR FOR SELECT balance FROM w.accounts ORDER BY id; FETCH 2 FROM c; COMMIT;
PREPARE p (int) AS SELECT balance FROM w.accounts WHERE id = $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE p (3); EXECUTE p (2);
RESET plan_cache_mode;
WITH c AS MATERIALIZED (SELECT balance FROM w.accounts WHERE id = 1) SELECT * FROM c;
SELECT balance FROM w.rich WHERE id = 2;
SELECT 1 AS one WHERE 1000 = (SELECT balance FROM w.accounts WHERE id = 3);
EXPLAIN (COSTS OFF) SELECT balance FROM w.accounts WHERE id = 3;
SELECT * FROM w.taken() WHERE kind = 'StateChange';

-- An index-only scan, if the key is in the index; a parallel plan: not taken, and counted.
CREATE INDEX with_key ON w.accounts (balance) INCLUDE (id);
VACUUM ANALYZE w.accounts;
SET enable_seqscan = off; SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT balance FROM w.accounts WHERE balance = 1000;
SELECT count(balance) FROM w.accounts WHERE balance = 1000;
SELECT not_covered AS before FROM trace_ext_internal.watch_counts() \gset
DROP INDEX w.with_key;
CREATE INDEX without_key ON w.accounts (balance);
VACUUM w.accounts;
SELECT count(balance) FROM w.accounts WHERE balance = 1000;
SELECT not_covered - :before AS index_only FROM trace_ext_internal.watch_counts();
RESET enable_seqscan; RESET enable_bitmapscan;
DROP INDEX w.without_key;
CREATE TABLE w.many (id int PRIMARY KEY, v int) WITH (parallel_workers = 2);
INSERT INTO w.many SELECT i, 0 FROM generate_series(1, 1000) i;
SELECT trace_ext.watch('w.many');
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT count(*) FROM w.many WHERE v = 1;
SELECT count(*) FROM w.many WHERE v = 1;
SELECT dropped FROM trace_ext.watched_tables WHERE "table" = 'w.many'::regclass;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
SELECT trace_ext.unwatch('w.many');
SELECT * FROM w.taken() WHERE kind = 'StateChange';

-- Writes: what is set, with old and new value.
INSERT INTO w.accounts VALUES (4, 'dee', 'NaN');
UPDATE w.accounts SET owner = 'eve' WHERE id = 4;
UPDATE w.accounts SET balance = 5 WHERE id = 4;
UPDATE w.accounts SET balance = balance - 1, owner = owner WHERE id = 4;
UPDATE w.accounts SET balance = NULL WHERE id = 4;
UPDATE w.accounts SET balance = 5, id = 5 WHERE id = 4;
DELETE FROM w.accounts WHERE id = 5;
SELECT * FROM w.taken() WHERE kind = 'StateChange';
-- What is computed from itself in one statement loses nothing; from a subquery it may.
UPDATE w.accounts a SET balance = a.balance + d.more FROM (VALUES (1, 10), (2, 20)) AS d (id, more) WHERE a.id = d.id;
UPDATE w.accounts SET balance = (SELECT b.balance FROM w.accounts b WHERE b.id = 3) WHERE id = 1;
UPDATE w.accounts SET (balance, owner) = (SELECT balance * 2, 'x') WHERE id = 3;
INSERT INTO w.accounts VALUES (1, 'ann', 7) ON CONFLICT (id) DO UPDATE SET balance = w.accounts.balance + EXCLUDED.balance;
INSERT INTO w.accounts VALUES (1, 'ann', 8) ON CONFLICT (id) DO UPDATE SET balance = EXCLUDED.balance;
INSERT INTO w.accounts VALUES (1, 'ann', 9) ON CONFLICT DO NOTHING;
MERGE INTO w.accounts a USING (VALUES (1, 5), (9, 5)) AS s (id, more) ON a.id = s.id
 WHEN MATCHED THEN UPDATE SET balance = a.balance + s.more WHEN NOT MATCHED THEN INSERT (id, balance) VALUES (s.id, s.more);
MERGE INTO w.accounts a USING (VALUES (1, 5), (9, 5)) AS s (id, more) ON a.id = s.id
 WHEN MATCHED AND s.id = 9 THEN DELETE WHEN MATCHED THEN UPDATE SET balance = s.more;
WITH moved AS (UPDATE w.accounts SET balance = balance + 1 WHERE id = 2 RETURNING balance) SELECT * FROM moved;
COPY w.accounts (id, balance) FROM stdin;
10	42
\.
SELECT * FROM w.taken() WHERE kind = 'StateChange';
-- A trigger changes what is not set; a foreign key's cascade writes as well, and its checks read nothing.
CREATE TABLE w.orders (id int PRIMARY KEY, account int REFERENCES w.accounts ON UPDATE CASCADE ON DELETE CASCADE, total numeric);
SELECT trace_ext.watch('w.orders');
CREATE FUNCTION w.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.balance := NEW.balance + 1; RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE UPDATE ON w.accounts FOR EACH ROW EXECUTE FUNCTION w.stamp();
INSERT INTO w.orders VALUES (1, 10, 5);
UPDATE w.accounts SET owner = 'kim' WHERE id = 10;
DROP TRIGGER stamp ON w.accounts;
DELETE FROM w.accounts WHERE id = 10;
SELECT * FROM w.taken() WHERE kind = 'StateChange';
SELECT trace_ext.unwatch('w.orders');

-- Row locks: held to the end of the transaction.
BEGIN;
SELECT balance FROM w.accounts WHERE id = 2 FOR UPDATE;
SELECT owner FROM w.accounts WHERE id = 3 FOR SHARE;
COMMIT;
SELECT kind, access, name, new, rest FROM w.taken();

-- RETURNING of an UPDATE reads what it leaves as it is, in the version that it has locked; not what it sets, or a trigger may.
UPDATE w.accounts SET owner = 'lou' WHERE id = 2 RETURNING id, balance;
UPDATE w.accounts a SET owner = 'lou' FROM (VALUES (3)) AS v (id) WHERE a.id = v.id RETURNING a;
UPDATE w.accounts SET owner = 'lou' WHERE balance > 0 AND id = 2 RETURNING id;
UPDATE w.accounts SET balance = 21 WHERE id = 2 RETURNING *;
UPDATE w.accounts SET id = 22 WHERE id = 2 RETURNING balance;
UPDATE w.accounts SET id = 2 WHERE id = 22 RETURNING balance;
WITH u AS (UPDATE w.accounts SET owner = 'ann' WHERE id = 2 RETURNING balance + 1 AS more) SELECT more FROM u;
CREATE TRIGGER stamp BEFORE UPDATE ON w.accounts FOR EACH ROW EXECUTE FUNCTION w.stamp();
UPDATE w.accounts SET owner = 'bob' WHERE id = 2 RETURNING balance;
DROP TRIGGER stamp ON w.accounts;
UPDATE w.accounts SET balance = 1021 WHERE id = 2;
UPDATE w.accounts SET owner = 'x' WHERE id = 3;
SELECT access, name, old, new, rest FROM w.taken() WHERE kind = 'StateChange';

-- What was rolled back never happened.
BEGIN; UPDATE w.accounts SET balance = 1 WHERE id = 2; ROLLBACK;
BEGIN;
UPDATE w.accounts SET balance = 2 WHERE id = 2;
SAVEPOINT a;
UPDATE w.accounts SET balance = 3 WHERE id = 2;
SAVEPOINT b;
UPDATE w.accounts SET balance = 4 WHERE id = 2;
RELEASE b;
ROLLBACK TO a;
UPDATE w.accounts SET balance = 5 WHERE id = 2;
SAVEPOINT c;
UPDATE w.accounts SET balance = 6 WHERE id = 2;
RELEASE c;
COMMIT;
DO $$
BEGIN
    UPDATE w.accounts SET balance = 7 WHERE id = 2;
    BEGIN
        UPDATE w.accounts SET balance = 8 WHERE id = 2;
        PERFORM 1 / 0;
    EXCEPTION WHEN division_by_zero THEN
        UPDATE w.accounts SET balance = 9 WHERE id = 2;
    END;
END $$;
SELECT * FROM w.taken() WHERE kind = 'StateChange';

-- More rows than the limit: not taken, and counted.
SET trace_ext.watch_max_rows = 2;
SELECT dropped FROM trace_ext.watched_tables WHERE "table" = 'w.accounts'::regclass;
SELECT count(balance) FROM w.accounts;
SELECT dropped FROM trace_ext.watched_tables WHERE "table" = 'w.accounts'::regclass;
-- A write after such a gap says so within its transaction.
BEGIN; SELECT count(balance) FROM w.accounts; UPDATE w.accounts SET balance = 1000 WHERE id = 1; COMMIT;
SELECT * FROM w.taken() WHERE kind = 'StateChange';
RESET trace_ext.watch_max_rows;
-- A session may leave its own out, unless that is forced.
SET trace_ext.watch = off;
SELECT balance FROM w.accounts WHERE id = 1;
UPDATE w.accounts SET balance = 1001 WHERE id = 1;
SET trace_ext.watch_always = on;
UPDATE w.accounts SET balance = 1002 WHERE id = 1;
RESET trace_ext.watch; RESET trace_ext.watch_always;
SET trace_ext.watch_untraced = off;
UPDATE w.accounts SET balance = 1003 WHERE id = 1;
RESET trace_ext.watch_untraced;
SELECT * FROM w.taken() WHERE kind = 'StateChange';

-- Values: of each type, long ones, ones out of line; hashed; none.
CREATE TABLE w.kinds (a int, b text COLLATE "C", n float8, t timestamptz, j jsonb, l text, PRIMARY KEY (a, b));
ALTER TABLE w.kinds ALTER l SET STORAGE EXTERNAL;
SELECT trace_ext.watch('w.kinds');
INSERT INTO w.kinds VALUES (1, 'x', 1e300, '2001-02-03', '{"k": 1}', repeat('l', 300)), (2, 'a,"b]\', '-Infinity', NULL, '5', repeat('l', 256)), (3, repeat('k', 1000), 0, NULL, NULL, '');
INSERT INTO w.kinds (a, b, l) VALUES (4, '', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i));
SELECT name, left(new::text, 40) ~ '^"toasted' AS toasted, CASE WHEN new::text !~ '^"toasted' THEN left(new::text, 60) END AS new, CASE WHEN new::text !~ '^"toasted' THEN length(new::text) END AS length FROM w.taken() WHERE kind = 'StateChange';
-- How a session has values printed makes no difference.
SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = 0; SET IntervalStyle = iso_8601; SET bytea_output = escape; SET quote_all_identifiers = on;
CREATE TABLE w.printed (t timestamptz PRIMARY KEY, d date, f float8, i interval, b bytea, a timestamptz[]);
SELECT trace_ext.watch('w.printed');
INSERT INTO w.printed VALUES ('2001-02-03 04:05:06+00', '2001-02-03', 0.1::float8 + 0.2, '1 day 2 hours', 'abc', '{2001-02-03 04:05:06+00}');
SELECT name, new FROM w.taken() WHERE kind = 'StateChange';
SELECT t, d, f, i, b FROM w.printed;
RESET DateStyle; SET TimeZone = 'UTC'; RESET extra_float_digits; RESET IntervalStyle; RESET bytea_output; RESET quote_all_identifiers;
-- An error on the way is nothing to the user, and counted.
CREATE TYPE w.bad;
CREATE FUNCTION w.bad_in(cstring) RETURNS w.bad LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION w.bad_out(w.bad) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'shell_out';
CREATE TYPE w.bad (INPUT = w.bad_in, OUTPUT = w.bad_out, INTERNALLENGTH = 4, PASSEDBYVALUE);
CREATE TABLE w.unprintable (id int PRIMARY KEY, v w.bad);
SELECT trace_ext.watch('w.unprintable');
SELECT errors AS before FROM trace_ext_internal.watch_counts() \gset
INSERT INTO w.unprintable VALUES (1, '1'), (2, NULL);
BEGIN; SAVEPOINT a; UPDATE w.unprintable SET v = '2'; SELECT count(v) FROM w.unprintable; RELEASE a; UPDATE w.accounts SET balance = balance; COMMIT;
SELECT errors - :before AS errors FROM trace_ext_internal.watch_counts();
SELECT count(*) FROM w.unprintable;
SELECT name, old, new, rest FROM w.taken() WHERE kind = 'StateChange';
SELECT trace_ext.watch('w.accounts', '{balance}', "values" => 'hash');
UPDATE w.accounts SET balance = 77 WHERE id = 1;
UPDATE w.accounts SET balance = 77 WHERE id = 1;
UPDATE w.accounts SET balance = 77 WHERE id = 2;
WITH t AS (SELECT * FROM w.taken())
SELECT kind, access, name, length(new #>> '{}') AS length, count(*), count(DISTINCT new) AS different FROM t GROUP BY kind, access, name, length ORDER BY 1, 2, 3;
UPDATE w.accounts SET balance = 78 WHERE id IN (1, 2);
SELECT count(DISTINCT new) AS different FROM w.taken();
SELECT trace_ext.watch('w.accounts', '{balance}', "values" => 'none');
UPDATE w.accounts SET balance = 78 WHERE id = 1;
SELECT * FROM w.taken();

-- Renamed, with a column dropped and one added, it is watched as before.
SELECT trace_ext.watch('w.accounts');
ALTER TABLE w.accounts RENAME COLUMN balance TO credit;
ALTER TABLE w.accounts DROP COLUMN seen;
ALTER TABLE w.accounts ADD COLUMN "Added" int;
ALTER TABLE w.accounts RENAME TO "Accounts";
ALTER SCHEMA w RENAME TO w2;
SELECT "table", columns, key FROM trace_ext.watched_tables WHERE "table"::text ~ '^w2?\.' ORDER BY 1;
UPDATE w2."Accounts" SET credit = 1, "Added" = 2 WHERE id = 1;
ALTER SCHEMA w2 RENAME TO w;
ALTER TABLE w."Accounts" RENAME TO accounts;
ALTER TABLE w.accounts RENAME COLUMN credit TO balance;
SELECT * FROM w.taken() WHERE kind = 'StateChange';
-- A table whose key is gone is not watched any more, and nothing fails.
SELECT trace_ext.watch('w.kinds', '{n}', '{t}');
ALTER TABLE w.kinds DROP COLUMN t;
UPDATE w.kinds SET n = 1;
SELECT "table", columns FROM trace_ext.watched_tables WHERE "table"::text ~ '^w2?\.' ORDER BY 1;
SELECT trace_ext.unwatch('w.kinds');
SELECT * FROM w.taken() WHERE kind = 'StateChange';

-- Partitions, attached later too: rows are those of the table, wherever they are.
CREATE TABLE w.parts (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE w.parts1 PARTITION OF w.parts FOR VALUES FROM (0) TO (10);
SELECT trace_ext.watch('w.parts');
CREATE TABLE w.parts2 (dropped int, v int, id int NOT NULL);
ALTER TABLE w.parts2 DROP COLUMN dropped;
ALTER TABLE w.parts ATTACH PARTITION w.parts2 FOR VALUES FROM (10) TO (20);
INSERT INTO w.parts VALUES (1, 1), (11, 11);
SELECT v FROM w.parts WHERE id IN (1, 11) ORDER BY id;
UPDATE w.parts SET v = v + 1 WHERE id IN (1, 11);
UPDATE w.parts SET id = 12 WHERE id = 1;
SELECT v FROM w.parts WHERE id = 11 FOR UPDATE;
UPDATE w.parts2 SET v = 0;
ALTER TABLE w.parts DETACH PARTITION w.parts2;
UPDATE w.parts2 SET v = 1;
SELECT kind, access, name, old, new FROM w.taken() WHERE kind <> 'DatabaseQuery';
SELECT "table" FROM trace_ext.watched_tables WHERE "table"::text ~ '^w2?\.' ORDER BY 1;

-- What RETURNING tells and is not taken leaves a gap: what is written after it proves nothing.
CREATE TABLE w.told (id int PRIMARY KEY, a int, b int) PARTITION BY RANGE (id);
CREATE TABLE w.told1 PARTITION OF w.told FOR VALUES FROM (0) TO (10);
CREATE TABLE w.told2 PARTITION OF w.told FOR VALUES FROM (10) TO (20);
CREATE TABLE w.before (id int PRIMARY KEY, a int, b int);
CREATE FUNCTION w.as_it_is() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER as_it_is BEFORE UPDATE ON w.before FOR EACH ROW EXECUTE FUNCTION w.as_it_is();
INSERT INTO w.told VALUES (1, 1, 1);
INSERT INTO w.before VALUES (1, 1, 1);
SELECT trace_ext.watch('w.told'), trace_ext.watch('w.before');
SELECT not_covered AS before FROM trace_ext_internal.watch_counts() \gset
BEGIN; UPDATE w.told SET a = 2 WHERE id = 1 RETURNING b; UPDATE w.told SET b = 2 WHERE id = 1; COMMIT;
BEGIN; UPDATE w.before SET a = 2 WHERE id = 1 RETURNING b; UPDATE w.before SET b = 2 WHERE id = 1; COMMIT;
BEGIN; UPDATE w.told SET a = 3 WHERE id = 1 RETURNING id, a; UPDATE w.told SET b = 3 WHERE id = 1; COMMIT;
SELECT not_covered - :before AS not_covered FROM trace_ext_internal.watch_counts();
SELECT inserted FROM trace_ext_internal.store_watched();
SELECT name, attributes -> 'old_value' AS old, attributes -> 'new_value' AS new, attributes ->> 'incomplete' AS incomplete
  FROM trace_ext.events WHERE kind = 'StateChange' AND name ~ '^w\.(told|before)' ORDER BY "timestamp", id;

-- Dropping the extension leaves the tables.
DROP SCHEMA w CASCADE;
SELECT * FROM trace_ext.watched_tables WHERE "table"::text ~ '^w2?\.';
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
