-- cached(): what it returns is what its query returns, with the cache and without
-- it; and what it refuses, with the reason. Whether an answer came from the cache
-- is none of this file's business: it runs without preload as well, and then each
-- session is told so once.
SET client_min_messages = warning;
SET search_path = cache_test, public;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
CREATE SCHEMA cache_test;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE item (
	id int PRIMARY KEY, name text, price numeric(10, 2), at timestamptz, tags text[], data jsonb,
	mood mood, size positive, pair pair, raw bytea, code char(5), short varchar(8), span interval, part int4range, net inet);
INSERT INTO item
SELECT i, CASE WHEN i % 3 > 0 THEN 'name ' || i END, i * 1.25, '2026-01-02 03:04:05+00'::timestamptz + i * interval '1 hour',
       CASE WHEN i % 2 = 0 THEN ARRAY['a', NULL, i::text] END, jsonb_build_object('n', i, 'none', NULL),
       (ARRAY['sad', 'ok', 'happy']::mood[])[1 + i % 3], i, ROW(i, 'p' || i)::pair, decode(lpad(to_hex(i), 4, '0'), 'hex'),
       'c' || i, 's' || i, i * interval '1 minute', int4range(i, i + 10), ('10.0.0.' || i)::inet
  FROM generate_series(1, 12) i;

-- A result is asked for three times: computed, from shared memory, from the
-- session's copy. All three and the query itself must agree, to the byte, in
-- order; the function says so, or what differs.
CREATE FUNCTION agrees(query text, columns text, VARIADIC arguments text[] = '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	all_rows CONSTANT text := 'SELECT count(*), string_agg(q::text, E''\n'' ORDER BY nr) FROM (SELECT q, row_number() OVER () AS nr FROM %s) x';
	plain text := query;
	n bigint;
	direct text;
	answer text;
BEGIN
	FOR i IN 1 .. cardinality(arguments) LOOP
		plain := replace(plain, '$' || i, '(' || arguments[i] || ')');
	END LOOP;
	EXECUTE format(all_rows, '(' || plain || ') q') INTO n, direct;
	FOR round IN 1 .. 3 LOOP
		EXECUTE format(all_rows, format('trace_ext.cached(%L, %s) AS q(%s)', query, array_to_string('NULL'::text || arguments, ', '), columns)) INTO n, answer;
		IF answer IS DISTINCT FROM direct THEN
			RETURN format('round %s: %s instead of %s', round, left(answer, 200), left(direct, 200));
		END IF;
	END LOOP;
	RETURN format('%s rows agree', n);
END $$;

-- Types, order, NULLs
SELECT * FROM trace_ext.cached('SELECT id, name, price, at, tags FROM cache_test.item ORDER BY id DESC LIMIT 3')
	AS t(id int, name text, price numeric(10, 2), at timestamptz, tags text[]);
SELECT * FROM trace_ext.cached('SELECT id, name, price, at, tags FROM cache_test.item ORDER BY id DESC LIMIT 3')
	AS t(id int, name text, price numeric(10, 2), at timestamptz, tags text[]);
SELECT agrees('SELECT * FROM cache_test.item ORDER BY id', 'id int, name text, price numeric(10, 2), at timestamptz, tags text[], data jsonb,
	mood cache_test.mood, size cache_test.positive, pair cache_test.pair, raw bytea, code char(5), short varchar(8), span interval, part int4range, net inet');
SELECT agrees('SELECT item FROM cache_test.item ORDER BY id', 'i cache_test.item');
SELECT agrees('SELECT name FROM cache_test.item ORDER BY name COLLATE "C" DESC NULLS FIRST', 'name text');
SELECT agrees('SELECT NULL::int, NULL::text, NULL::jsonb', 'a int, b text, c jsonb');
SELECT agrees('SELECT true, 1::smallint, 2::bigint, 3.5::real, ''NaN''::float8, ''infinity''::date, ''x''::"char", ''{}''::int[], ''00000000-0000-0000-0000-000000000001''::uuid',
	'a bool, b smallint, c bigint, d real, e float8, f date, g "char", h int[], i uuid');
SELECT agrees('SELECT ARRAY[ROW(1, ''a'')::cache_test.pair, NULL]', 'a cache_test.pair[]');
-- No rows, no columns, one of many
SELECT agrees('SELECT id FROM cache_test.item WHERE id < 0', 'id int');
SELECT agrees('SELECT * FROM cache_test.item WHERE false', 'id int, name text, price numeric(10, 2), at timestamptz, tags text[], data jsonb,
	mood cache_test.mood, size cache_test.positive, pair cache_test.pair, raw bytea, code char(5), short varchar(8), span interval, part int4range, net inet');
SELECT agrees('SELECT i FROM generate_series(1, 5000) i', 'i int');
-- Wide: many columns, values that are compressed and stored out of line
SELECT agrees('SELECT ' || string_agg(i || ' AS c' || i, ', '), string_agg('c' || i || ' int', ', ')) FROM generate_series(1, 1000) i;
CREATE TABLE wide (id int, packed text, plain text);
ALTER TABLE wide ALTER plain SET STORAGE EXTERNAL;
INSERT INTO wide SELECT i, repeat('x', 100000), (SELECT string_agg(md5((i * 1000 + j)::text), '') FROM generate_series(1, 300) j) FROM generate_series(1, 20) i;
SELECT agrees('SELECT * FROM cache_test.wide ORDER BY id', 'id int, packed text, plain text');
SELECT agrees('SELECT ROW(id, plain)::cache_test.pair, ARRAY[plain, packed] FROM cache_test.wide ORDER BY id', 'p cache_test.pair, a text[]');
SELECT id, length(packed), length(plain) FROM trace_ext.cached('SELECT * FROM cache_test.wide WHERE id < 3 ORDER BY id') AS t(id int, packed text, plain text);
DROP TABLE wide;
-- Longer than an entry may be
SELECT count(*), sum(length(v)) FROM trace_ext.cached('SELECT repeat(i::text, 1000) FROM generate_series(1000, 2999) i') AS t(v text);
SELECT count(*), sum(length(v)) FROM trace_ext.cached('SELECT repeat(i::text, 1000) FROM generate_series(1000, 2999) i') AS t(v text);

-- Sorts of queries
CREATE VIEW cheap AS SELECT id, name FROM item WHERE price < 5;
CREATE MATERIALIZED VIEW dear AS SELECT id FROM item WHERE price > 10;
CREATE TABLE kind (mood mood, word text);
INSERT INTO kind VALUES ('ok', 'fine'), ('sad', 'blue');
CREATE TABLE parted (k int, v int) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
INSERT INTO parted SELECT i, i * i FROM generate_series(0, 19) i;
CREATE TABLE grown (extra int) INHERITS (kind);
INSERT INTO grown VALUES ('happy', 'green', 7);
-- What the caller answers for
SET trace_ext.cache_trusted_functions = 'cache_test.total', 'cache_test.named';
CREATE FUNCTION total(lowest int) RETURNS numeric LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT sum(price) FROM cache_test.item WHERE id >= lowest); END $$;
CREATE FUNCTION named(text) RETURNS SETOF item LANGUAGE sql STABLE AS $$ SELECT * FROM cache_test.item WHERE name = $1 $$;
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 2 * $1 $$;
SELECT agrees('SELECT * FROM cache_test.cheap ORDER BY id', 'id int, name text');
SELECT agrees('TABLE cache_test.dear ORDER BY id', 'id int');
SELECT agrees('SELECT mood, word FROM cache_test.kind ORDER BY 1', 'm cache_test.mood, w text');
SELECT agrees('SELECT mood, word FROM ONLY cache_test.kind ORDER BY 1', 'm cache_test.mood, w text');
SELECT agrees('SELECT tableoid::regclass, count(*) FROM cache_test.parted GROUP BY 1 ORDER BY 1', 't regclass, n bigint');
SELECT agrees('SELECT i.id, k.word FROM cache_test.item i LEFT JOIN cache_test.kind k USING (mood) ORDER BY 1, 2', 'id int, w text');
SELECT agrees('WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n, (SELECT name FROM cache_test.item WHERE id = n) FROM r', 'n int, name text');
SELECT agrees('SELECT mood, count(*), sum(price), rank() OVER (ORDER BY sum(price)) FROM cache_test.item GROUP BY GROUPING SETS ((mood), ()) ORDER BY 1, 2', 'm cache_test.mood, n bigint, s numeric, r bigint');
SELECT agrees('SELECT id FROM cache_test.item EXCEPT SELECT id FROM cache_test.dear ORDER BY 1', 'id int');
SELECT agrees('VALUES (1, ''a''), (2, NULL)', 'a int, b text');
SELECT agrees('SELECT cache_test.total(3), cache_test.twice(4)', 'a numeric, b int');
SELECT agrees('SELECT id FROM cache_test.named(''name 4'')', 'id int');
SELECT agrees('SELECT id FROM cache_test.item TABLESAMPLE bernoulli (50) REPEATABLE (7) ORDER BY 1', 'id int');
SELECT agrees('SELECT current_user = ''nobody'', current_database() = current_catalog, ''Ä'' || chr(228)', 'a bool, b bool, d text');
SELECT * FROM trace_ext.cached('SELECT session_user = current_user, current_schema()', '1 hour') AS t(a bool, c name);
SELECT agrees('SELECT to_char(at, ''YYYY-MM-DD HH24:MI TZ''), at::text, span::text FROM cache_test.item ORDER BY id', 'a text, b text, c text');
-- A ; at the end, a comment, other spelling
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.item;') AS t(n bigint);
SELECT n FROM trace_ext.cached('/* all */ select  COUNT( * ) from item -- of them') AS t(n bigint);
-- Called once a row, called twice in one query, in a cursor, in a view, in PL/pgSQL
SELECT i, n FROM generate_series(1, 4) i, LATERAL trace_ext.cached('SELECT count(*) FROM cache_test.item WHERE id > $1', NULL, i * 3) AS t(n bigint) ORDER BY i;
SELECT a.n, b.n FROM trace_ext.cached('SELECT count(*) FROM cache_test.item') AS a(n bigint), trace_ext.cached('SELECT count(*) FROM cache_test.item') AS b(n bigint);
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT * FROM trace_ext.cached('SELECT id FROM cache_test.item ORDER BY 1 LIMIT 3') AS t(id int);
FETCH LAST FROM c;
FETCH FIRST FROM c;
COMMIT;
CREATE VIEW as_view AS SELECT * FROM trace_ext.cached('SELECT max(id) FROM cache_test.item') AS t(id int);
TABLE as_view;
INSERT INTO item (id) VALUES (99);
TABLE as_view;
DELETE FROM item WHERE id = 99;
TABLE as_view;
PREPARE ask(int) AS SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.item WHERE id > $1', NULL, $1) AS t(n bigint);
EXECUTE ask(5);
EXECUTE ask(9);

-- Arguments
SELECT agrees('SELECT id FROM cache_test.item WHERE id BETWEEN $1 AND $2 ORDER BY 1', 'id int', '3', '5');
SELECT agrees('SELECT id FROM cache_test.item WHERE id BETWEEN $1 AND $2 ORDER BY 1', 'id int', '3', '6');
SELECT agrees('SELECT id FROM cache_test.item WHERE name = $1', 'id int', '''name 7''::text');
SELECT agrees('SELECT id FROM cache_test.item WHERE name = $1', 'id int', 'NULL::text');
SELECT agrees('SELECT $1', 'a numeric', '1.50::numeric');
SELECT agrees('SELECT $1', 'a numeric', '1.5::numeric');
SELECT agrees('SELECT $1 IS NULL, $2', 'a bool, b text', 'NULL::int', '''''::text');
SELECT agrees('SELECT count(*) FROM cache_test.item WHERE id = ANY ($1)', 'n bigint', '''{1,2,77}''::int[]');
SELECT agrees('SELECT $1', 'a cache_test.pair', '''(1,x)''::cache_test.pair');
SELECT agrees('SELECT length($1), md5($1)', 'l int, m text', 'repeat(''long'', 50000)');
-- An argument of one value and two types is two
SELECT v FROM trace_ext.cached('SELECT pg_typeof($1)::text', '1 hour', 1) AS t(v text)
UNION ALL SELECT v FROM trace_ext.cached('SELECT pg_typeof($1)::text', '1 hour', 1::bigint) AS t(v text)
UNION ALL SELECT v FROM trace_ext.cached('SELECT pg_typeof($1)::text', '1 hour', '1'::text) AS t(v text);
-- A literal of no type is text
SELECT v FROM trace_ext.cached('SELECT $1 || $2', NULL, 'a', 'b') AS t(v text);
-- As an array
SELECT id FROM trace_ext.cached('SELECT id FROM cache_test.item WHERE id BETWEEN $1 AND $2 ORDER BY 1', NULL, VARIADIC ARRAY[2, 4]) AS t(id int);
SELECT v FROM trace_ext.cached('SELECT $1 || $2', NULL, VARIADIC ARRAY['x', 'y']) AS t(v text);
SELECT v FROM trace_ext.cached('SELECT 1', NULL, VARIADIC '{}'::int[]) AS t(v int);
SELECT v FROM trace_ext.cached('SELECT 1', NULL, VARIADIC NULL::int[]) AS t(v int);
SELECT v FROM trace_ext.cached('SELECT $1 + coalesce($2, 10)', NULL, VARIADIC ARRAY[2, NULL]) AS t(v int);
-- Fewer, more
SELECT v FROM trace_ext.cached('SELECT $1 + $2', NULL, 1) AS t(v int);
SELECT v FROM trace_ext.cached('SELECT $1', NULL, 1, 2) AS t(v int);
SELECT v FROM trace_ext.cached('SELECT $1') AS t(v int);

-- With a ttl
SELECT v FROM trace_ext.cached('SELECT 1', '1 second') AS t(v int);
SELECT v FROM trace_ext.cached('SELECT 1', '1 month 2 days') AS t(v int);
SELECT a.v = b.v AS same FROM trace_ext.cached('SELECT now() <= clock_timestamp()', NULL) AS a(v bool), trace_ext.cached('SELECT true') AS b(v bool);
SELECT v FROM trace_ext.cached('SELECT current_date > ''2020-01-01''', '1 hour') AS t(v bool);
SELECT v FROM trace_ext.cached('SELECT 1', '0') AS t(v int);
SELECT v FROM trace_ext.cached('SELECT 1', '-1 second') AS t(v int);
SELECT v FROM trace_ext.cached('SELECT 1', 'soon') AS t(v int);

-- Errors of the call
SELECT * FROM trace_ext.cached('SELECT 1');
SELECT trace_ext.cached('SELECT 1');
SELECT * FROM trace_ext.cached(NULL) AS t(v int);
SELECT * FROM trace_ext.cached(NULL::text, '1 hour', 1) AS t(v int);
SELECT * FROM trace_ext.cached('SELECT 1, 2') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT 1') AS t(v int, w int);
SELECT * FROM trace_ext.cached('SELECT 1') AS t(v bigint);
SELECT * FROM trace_ext.cached('SELECT name FROM cache_test.item') AS t(v varchar(3));
SELECT * FROM trace_ext.cached('SELECT price FROM cache_test.item') AS t(v numeric(4, 1));
SELECT count(*) FROM trace_ext.cached('SELECT price FROM cache_test.item') AS t(v numeric);
SELECT * FROM trace_ext.cached('SELECT 1') AS t(v no_such_type);
-- Errors of the query are the query's
SELECT * FROM trace_ext.cached('SELEC 1') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT * FROM no_such_table') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT no_such_function(1)') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT 1 / (id - id) FROM cache_test.item') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT name::int FROM cache_test.item ORDER BY id') AS t(v int);
-- Not one SELECT
SELECT * FROM trace_ext.cached('') AS t(v int);
SELECT * FROM trace_ext.cached('-- nothing') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT 1; SELECT 2') AS t(v int);
SELECT * FROM trace_ext.cached('DELETE FROM cache_test.item') AS t(v int);
SELECT * FROM trace_ext.cached('INSERT INTO cache_test.item (id) VALUES (100) RETURNING id') AS t(v int);
SELECT * FROM trace_ext.cached('EXPLAIN SELECT 1') AS t(v text);
SELECT * FROM trace_ext.cached('SHOW TimeZone') AS t(v text);
SELECT * FROM trace_ext.cached('TRUNCATE cache_test.item') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT 1 AS a INTO cache_test.made') AS t(v int);
SELECT count(*) FROM item;

-- Refused: what writes or locks
SELECT * FROM trace_ext.cached('WITH gone AS (DELETE FROM cache_test.item RETURNING id) SELECT id FROM gone') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT id FROM cache_test.item FOR UPDATE') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT id FROM (SELECT id FROM cache_test.item FOR SHARE) x') AS t(v int);
-- Refused: what is volatile, wherever it hides
CREATE SEQUENCE counter;
CREATE FUNCTION noisy() RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT 1 $$;
CREATE VIEW noisy_view AS SELECT id, noisy() AS n FROM item;
CREATE AGGREGATE noisy_sum(int) (sfunc = int4pl, stype = int, initcond = '0');
SELECT * FROM trace_ext.cached('SELECT random()') AS t(v float8);
SELECT * FROM trace_ext.cached('SELECT clock_timestamp()', '1 hour') AS t(v timestamptz);
SELECT * FROM trace_ext.cached('SELECT nextval(''cache_test.counter'')') AS t(v bigint);
SELECT * FROM trace_ext.cached('SELECT cache_test.noisy()') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT id FROM cache_test.item WHERE id > cache_test.noisy()') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT n FROM cache_test.noisy_view') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT id FROM cache_test.item ORDER BY random()') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT 1 LIMIT cache_test.noisy()') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT (SELECT cache_test.noisy() WHERE id > 0) FROM cache_test.item') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT * FROM generate_series(1, cache_test.noisy())') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT id FROM cache_test.item TABLESAMPLE system (50)') AS t(v int);
-- It is volatile no more, which is not enough; unless the caller answers for it
SELECT v FROM trace_ext.cached('SELECT cache_test.noisy_sum(id) FROM cache_test.item') AS t(v int);
ALTER FUNCTION noisy() STABLE;
SELECT v FROM trace_ext.cached('SELECT cache_test.noisy()') AS t(v int);
SET trace_ext.cache_trusted_functions = 'noisy';
SET trace_ext.cache_trusted_functions = 'cache_test.noisy,,';
SET trace_ext.cache_trusted_functions = 'other.*', 'cache_test.noisyx';
SELECT v FROM trace_ext.cached('SELECT cache_test.noisy()') AS t(v int);
SET trace_ext.cache_trusted_functions = 'cache_test.*';
SELECT v FROM trace_ext.cached('SELECT cache_test.noisy()') AS t(v int);
SET trace_ext.cache_trusted_functions = 'cache_test.total', 'cache_test.named', 'cache_test.noisy';
ALTER FUNCTION noisy() VOLATILE;
SELECT v FROM trace_ext.cached('SELECT cache_test.noisy()') AS t(v int);
-- Refused: what only this session has, or is elsewhere
CREATE TEMP TABLE mine (id int);
INSERT INTO mine VALUES (1);
SELECT * FROM trace_ext.cached('SELECT id FROM mine') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT id FROM mine', '1 hour') AS t(v int);
DROP TABLE mine;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far (id int) SERVER nowhere;
SELECT * FROM trace_ext.cached('SELECT id FROM cache_test.far', '1 hour') AS t(v int);
-- Refused: rows of no named type
SELECT * FROM trace_ext.cached('SELECT ROW(1, 2)') AS t(v record);
SELECT * FROM trace_ext.cached('SELECT ARRAY[ROW(1, 2)]') AS t(v record[]);
-- Refused without a ttl: what changes without a write that is seen
CREATE FUNCTION days() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN extract(day FROM now()); END $$;
CREATE FUNCTION deep() RETURNS int LANGUAGE sql STABLE AS $$ SELECT cache_test.days() $$;
SELECT * FROM trace_ext.cached('SELECT now()') AS t(v timestamptz);
SELECT * FROM trace_ext.cached('SELECT current_timestamp') AS t(v timestamptz);
SELECT * FROM trace_ext.cached('SELECT current_date') AS t(v date);
SELECT * FROM trace_ext.cached('SELECT id FROM cache_test.item WHERE at > now() - interval ''1 hour''') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT timestamptz ''now''') AS t(v timestamptz);
SELECT * FROM trace_ext.cached('SELECT date ''today''') AS t(v date);
SELECT * FROM trace_ext.cached('SELECT age(at) FROM cache_test.item') AS t(v interval);
SELECT * FROM trace_ext.cached('SELECT cache_test.days()') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT cache_test.deep()') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT last_value FROM cache_test.counter') AS t(v bigint);
SELECT * FROM trace_ext.cached('SELECT count(*) FROM pg_catalog.pg_class') AS t(v bigint);
SELECT * FROM trace_ext.cached('SELECT x.n FROM trace_ext.cached(''SELECT 1'') AS x(n int)') AS t(v int);
SELECT * FROM trace_ext.cached('SELECT table_name::text FROM information_schema.tables') AS t(v text);
SELECT * FROM trace_ext.cached('SELECT pg_relation_size(''cache_test.item'')') AS t(v bigint);
SELECT * FROM trace_ext.cached('SELECT has_table_privilege(''cache_test.item'', ''SELECT'')') AS t(v bool);
SELECT * FROM trace_ext.cached('SELECT $1::regclass', NULL, 'item'::text) AS t(v regclass);
SELECT * FROM trace_ext.cached('SELECT current_schemas(true)') AS t(v name[]);
-- The same with a ttl
SELECT count(*) FROM trace_ext.cached('SELECT now(), cache_test.deep(), date ''today''', '1 hour') AS t(a timestamptz, b int, c date);
SELECT v > 100 AS many FROM trace_ext.cached('SELECT count(*) FROM pg_catalog.pg_class', '1 minute') AS t(v bigint);
SELECT v FROM trace_ext.cached('SELECT last_value FROM cache_test.counter', '1 minute') AS t(v bigint);
-- With cache_mode off nothing is refused
SET trace_ext.cache_mode = off;
SELECT v < now() + interval '1 second' AS passed FROM trace_ext.cached('SELECT now()') AS t(v timestamptz);
RESET trace_ext.cache_mode;

-- Writes are seen at once, by every way to write, in and after the transaction
CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql AS $$ SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.item') AS t(n bigint) $$;
SELECT counted();
INSERT INTO item (id) VALUES (50);
SELECT counted();
BEGIN;
DELETE FROM item WHERE id = 50;
SELECT counted();
SAVEPOINT a;
INSERT INTO item (id) VALUES (51), (52);
SELECT counted();
ROLLBACK TO a;
SELECT counted();
ROLLBACK;
SELECT counted();
COPY item (id) FROM stdin;
60
61
\.
SELECT counted();
WITH gone AS (DELETE FROM item WHERE id >= 50 RETURNING id) SELECT count(*) FROM gone;
SELECT counted();
MERGE INTO item USING (VALUES (1), (70)) v(id) ON item.id = v.id WHEN NOT MATCHED THEN INSERT (id) VALUES (v.id);
SELECT counted();
DELETE FROM item WHERE id = 70;
SELECT counted();
-- What a query means changes: another table, another view, another function
CREATE SCHEMA cache_other;
CREATE TABLE cache_other.item AS SELECT * FROM item LIMIT 1;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM item') AS t(n bigint);
SET search_path = cache_other, cache_test, public;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM item') AS t(n bigint);
SET search_path = cache_test, public;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM item') AS t(n bigint);
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.cheap') AS t(n bigint);
CREATE OR REPLACE VIEW cheap AS SELECT id, name FROM item WHERE price < 2;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.cheap') AS t(n bigint);
SELECT v FROM trace_ext.cached('SELECT cache_test.total(1)') AS t(v numeric);
CREATE OR REPLACE FUNCTION total(lowest int) RETURNS numeric LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN -1; END $$;
SELECT v FROM trace_ext.cached('SELECT cache_test.total(1)') AS t(v numeric);
ALTER TYPE mood RENAME VALUE 'sad' TO 'gloomy';
SELECT v FROM trace_ext.cached('SELECT mood::text FROM cache_test.item ORDER BY id LIMIT 3') AS t(v text);
ALTER TABLE item RENAME TO things;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.item') AS t(n bigint);
ALTER TABLE things RENAME TO item;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.item') AS t(n bigint);
ALTER TABLE item DROP COLUMN name CASCADE;
SELECT n FROM trace_ext.cached('SELECT count(name) FROM cache_test.item') AS t(n bigint);
DROP MATERIALIZED VIEW dear;
ALTER TABLE item ALTER price TYPE float8;
SELECT v FROM trace_ext.cached('SELECT price FROM cache_test.item WHERE id = 1') AS t(v numeric(10, 2));
SELECT v FROM trace_ext.cached('SELECT price FROM cache_test.item WHERE id = 1') AS t(v float8);
-- A child of a table that is this session's alone
CREATE TEMP TABLE heir () INHERITS (cache_other.item);
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_other.item') AS t(n bigint);
INSERT INTO heir (id) VALUES (1), (2);
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_other.item') AS t(n bigint);
DROP TABLE heir;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_other.item') AS t(n bigint);
-- Settings that change what is printed
SELECT v FROM trace_ext.cached('SELECT at::text FROM cache_test.item WHERE id = 1') AS t(v text);
SET TimeZone = 'Asia/Kolkata';
SELECT v FROM trace_ext.cached('SELECT at::text FROM cache_test.item WHERE id = 1') AS t(v text);
SET DateStyle = 'German, DMY';
SELECT v FROM trace_ext.cached('SELECT at::text FROM cache_test.item WHERE id = 1') AS t(v text);
SET IntervalStyle = 'iso_8601';
SELECT v FROM trace_ext.cached('SELECT (interval ''90 minutes'')::text') AS t(v text);
SET extra_float_digits = 0;
SELECT v FROM trace_ext.cached('SELECT (0.1::float8 + 0.2)::text') AS t(v text);
RESET extra_float_digits;
SELECT v FROM trace_ext.cached('SELECT (0.1::float8 + 0.2)::text') AS t(v text);
SET bytea_output = 'escape';
SELECT v FROM trace_ext.cached('SELECT raw::text FROM cache_test.item WHERE id = 1') AS t(v text);
RESET bytea_output;
SELECT v FROM trace_ext.cached('SELECT raw::text FROM cache_test.item WHERE id = 1') AS t(v text);
SET cache_test.tenant = 'a';
SELECT v FROM trace_ext.cached('SELECT current_setting(''cache_test.tenant'')') AS t(v text);
SET cache_test.tenant = 'b';
SELECT v FROM trace_ext.cached('SELECT current_setting(''cache_test.tenant'')') AS t(v text);
RESET TimeZone;
RESET DateStyle;
RESET IntervalStyle;

-- Rights: each call has those of its caller
CREATE ROLE cache_test_reader;
CREATE ROLE cache_test_other;
GRANT trace_ext_reader TO cache_test_reader;
GRANT USAGE ON SCHEMA cache_test TO cache_test_reader, cache_test_other;
GRANT SELECT ON item TO cache_test_reader;
SET ROLE cache_test_reader;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.item') AS t(n bigint);
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.kind') AS t(n bigint);
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.kind', '1 hour') AS t(n bigint);
SELECT trace_ext.cache_reset();
SELECT trace_ext.cache_refresh();
RESET ROLE;
REVOKE SELECT ON item FROM cache_test_reader;
SET ROLE cache_test_reader;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.item') AS t(n bigint);
SELECT n FROM trace_ext.cached('SELECT count(*) FROM cache_test.item', '1 hour') AS t(n bigint);
SET ROLE cache_test_other;
SELECT n FROM trace_ext.cached('SELECT 1') AS t(n int);
SELECT count(*) FROM trace_ext.cache_entries;
RESET ROLE;
-- Rows that a policy hides, by role and by setting
CREATE TABLE account (tenant text, balance int);
INSERT INTO account VALUES ('a', 1), ('a', 2), ('b', 10);
ALTER TABLE account ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON account USING (tenant = current_setting('cache_test.tenant'));
GRANT SELECT ON account TO cache_test_reader, cache_test_other;
GRANT trace_ext_reader TO cache_test_other;
CREATE FUNCTION balance() RETURNS bigint LANGUAGE sql AS $$ SELECT n FROM trace_ext.cached('SELECT sum(balance) FROM cache_test.account') AS t(n bigint) $$;
SELECT balance();
SET ROLE cache_test_reader;
SELECT balance();
SET cache_test.tenant = 'a';
SELECT balance();
SET ROLE cache_test_other;
SELECT balance();
SET cache_test.tenant = 'b';
SELECT balance();
RESET ROLE;
CREATE POLICY by_role ON account AS RESTRICTIVE TO cache_test_other USING (balance < 5);
SET ROLE cache_test_other;
SELECT balance();
SET ROLE cache_test_reader;
SELECT balance();
RESET ROLE;
SELECT balance();
SET row_security = off;
SET ROLE cache_test_reader;
SELECT balance();
RESET ROLE;
RESET row_security;

-- What there is to look at
SELECT pg_typeof(trace_ext.cache_invalidate('%no such query%'));
SELECT count(*) <= 1 AS one_row_at_most FROM trace_ext.cache_stats;
SELECT count(*) >= 0 AS readable FROM trace_ext.cache_failures;

SET client_min_messages = error;
DROP SCHEMA cache_test, cache_other CASCADE;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
DROP OWNED BY cache_test_reader, cache_test_other;
DROP ROLE cache_test_reader, cache_test_other;

-- Settings are told apart whichever way they are set and taken back; also one that is set before the library that defines it is loaded.
\c -
SELECT trace_ext_internal.settings_key() AS a \gset
SET plpgsql.print_strict_params = on;
SET cache_test.one = 'x';
SELECT trace_ext_internal.settings_key() AS b \gset
DO LANGUAGE plpgsql $$ BEGIN NULL; END $$;
SELECT trace_ext_internal.settings_key() AS c \gset
SET plpgsql.print_strict_params = off;
SELECT trace_ext_internal.settings_key() AS d \gset
SET cache_test.one = 'y';
SELECT trace_ext_internal.settings_key() AS e \gset
BEGIN;
SET LOCAL enable_seqscan = off;
SELECT trace_ext_internal.settings_key() AS f \gset
SAVEPOINT s;
SELECT set_config('enable_indexscan', 'off', true);
SELECT trace_ext_internal.settings_key() AS g \gset
ROLLBACK TO s;
SELECT trace_ext_internal.settings_key() AS h \gset
COMMIT;
SELECT trace_ext_internal.settings_key() AS i \gset
SELECT :a <> :b AS set, :c <> :d AS turned_off, :d <> :e AS another_value, :e <> :f AS local, :f <> :g AS by_function, :h = :f AS taken_back, :i = :e AS ended;
