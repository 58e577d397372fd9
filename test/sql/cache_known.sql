-- What is cached without a ttl, and what is not: a cached answer is what its query
-- returns later on as well. Each expression is asked now, and again in a later
-- transaction; what is not known to stay right has to be refused.
SET client_min_messages = error;
CREATE SCHEMA cache_known;
SET search_path = cache_known, public;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE inner_pair AS (a int, at timestamptz);
CREATE TYPE outer_pair AS (p inner_pair, n int);
CREATE TYPE timerange AS RANGE (subtype = time);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN moment AS timestamptz;
CREATE TABLE r (a int, b text);
CREATE TABLE t (id int, ts timestamptz, d date, m mood, p positive, word text, pair inner_pair, j jsonb, body text, owner regclass);
INSERT INTO t VALUES (1, '2020-01-02 03:04:05+00', '2020-01-02', 'sad', 7, 'now', '(1,2020-01-01)', '{"d": "now", "a": 1}', 'the dogs ran', 'r');
CREATE VIEW frozen AS SELECT 'now'::timestamptz AS at;
CREATE FUNCTION stable_now() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN now/**/(); END $$;
CREATE FUNCTION stable_plain() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION same_int(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION add_stable(int, int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN $1 + $2; END $$;
CREATE OPERATOR <+> (leftarg = int, rightarg = int, function = add_stable);
CREATE AGGREGATE sum_stable(int) (sfunc = add_stable, stype = int, initcond = '0');
CREATE CAST (text AS mood) WITH INOUT AS ASSIGNMENT;

CREATE TABLE asked (nr serial PRIMARY KEY, kept boolean, query text, direct text, cached text, verdict text);

-- Time, in all its disguises
INSERT INTO asked (kept, query) SELECT false, q FROM unnest(ARRAY[
	$q$SELECT now()$q$, $q$SELECT now/**/()$q$, $q$SELECT pg_catalog."now"()$q$, $q$SELECT transaction_timestamp()$q$, $q$SELECT statement_timestamp()$q$,
	$q$SELECT CURRENT_TIMESTAMP$q$, $q$SELECT current_timestamp(3)$q$, $q$SELECT localtimestamp$q$, $q$SELECT localtime(2)$q$, $q$SELECT current_time$q$, $q$SELECT current_date$q$,
	$q$SELECT 'now'::timestamptz$q$, $q$SELECT $$now$$::timestamptz$q$, $q$SELECT $x$now$x$::timestamp$q$, $q$SELECT E'n\x6fw'::timestamptz$q$, $q$SELECT E'\156ow'::date$q$,
	$q$SELECT U&'n\006fw'::timestamptz$q$, $q$SELECT U&'n!006fw' UESCAPE '!'::timestamptz$q$, $q$SELECT ' now '::timestamptz$q$, $q$SELECT 'NOW'::timestamptz$q$, $q$SELECT ('now')::timestamptz$q$,
	$q$SELECT 'no'
		'w'::timestamptz$q$,
	$q$SELECT timestamptz 'now'$q$, $q$SELECT timestamp with time zone 'now'$q$, $q$SELECT timestamptz(3) 'now'$q$, $q$SELECT "timestamptz"('now')$q$, $q$SELECT CAST('now' AS timestamp)$q$, $q$SELECT time 'now'$q$,
	$q$SELECT timetz 'now'$q$, $q$SELECT timetz '10:00'$q$, $q$SELECT 'today'::date$q$, $q$SELECT 'Tomorrow'::date$q$, $q$SELECT 'YESTERDAY'::timestamptz$q$, $q$SELECT 'today 10:00'::timestamptz$q$, $q$SELECT '10:00 today'::timestamp$q$,
	$q$SELECT 'now'::text::timestamptz$q$, $q$SELECT ('n' || 'ow')::timestamptz$q$, $q$SELECT word::timestamptz FROM t$q$, $q$SELECT word::date FROM t$q$, $q$SELECT word::varchar(5)::timestamp FROM t$q$,
	$q$SELECT s.x::timestamptz FROM (SELECT 'now' AS x) s$q$, $q$WITH w AS (SELECT 'today' AS x) SELECT x::date FROM w$q$, $q$SELECT x::timestamptz FROM (VALUES ('now')) v(x)$q$, $q$SELECT (SELECT word FROM t)::timestamptz$q$,
	$q$SELECT '{now}'::timestamptz[]$q$, $q$SELECT '{2020-01-01,today}'::text[]::date[]$q$, $q$SELECT ARRAY['now']::timestamptz[]$q$, $q$SELECT ARRAY['now', ts] FROM t$q$, $q$SELECT string_to_array('now', ',')::timestamptz[]$q$,
	$q$SELECT '[now,infinity)'::tstzrange$q$, $q$SELECT '{[today,]}'::datemultirange$q$, $q$SELECT tstzrange('now', 'infinity')$q$, $q$SELECT '[now,]'::timerange$q$, $q$SELECT tsrange(localtimestamp, NULL)$q$,
	$q$SELECT '(1,now)'::inner_pair$q$, $q$SELECT '(1,"n\ow")'::inner_pair$q$, $q$SELECT '("(1,now)",2)'::outer_pair$q$, $q$SELECT ROW(1, 'now')::inner_pair$q$, $q$SELECT '(1,now)'::text::inner_pair$q$, $q$SELECT '{"(1,now)"}'::inner_pair[]$q$,
	$q$SELECT 'now'::moment$q$, $q$SELECT CAST(word AS moment) FROM t$q$,
	$q$SELECT d FROM jsonb_to_record('{"d": "now"}') AS x(d timestamptz)$q$, $q$SELECT d FROM json_to_recordset('[{"d": "now"}]') AS x(d date)$q$, $q$SELECT x.d FROM t, jsonb_to_record(j) AS x(d timestamp)$q$,
	$q$SELECT at FROM jsonb_populate_record(NULL::inner_pair, '{"at": "now"}')$q$, $q$SELECT (jsonb_populate_record(NULL::outer_pair, '{"p": {"at": "now"}}')).p.at$q$, $q$SELECT at FROM json_populate_recordset(NULL::inner_pair, '[{"at": "now"}]')$q$,
	$q$SELECT a FROM xmltable('/r/a' PASSING xmlparse(DOCUMENT '<r><a>now</a></r>') COLUMNS a timestamptz PATH '.')$q$, $q$SELECT jsonb_path_query_tz('"2020-01-01"', '$.datetime() < "2020-01-02 10:00+01".datetime()')$q$,
	$q$SELECT count(*) FROM t WHERE ts < 'now'$q$, $q$SELECT count(*) FROM t WHERE 'now' > ts$q$, $q$SELECT count(*) FROM t WHERE ts IN ('2020-01-01', 'now')$q$, $q$SELECT count(*) FROM t WHERE ts BETWEEN '2020-01-01' AND 'tomorrow'$q$,
	$q$SELECT greatest(ts, 'now') FROM t$q$, $q$SELECT coalesce(NULL, ts, 'now') FROM t$q$, $q$SELECT CASE WHEN id = 1 THEN 'now' ELSE ts END FROM t$q$, $q$SELECT nullif(ts, 'now') FROM t$q$, $q$SELECT (ts, d) < ('now', 'today') FROM t$q$,
	$q$SELECT ts FROM t UNION SELECT 'now'$q$, $q$SELECT ts FROM t ORDER BY ts < 'now'$q$, $q$SELECT count(*) FILTER (WHERE ts < 'now') FROM t$q$, $q$SELECT sum(id) OVER (ORDER BY d = 'today') FROM t$q$, $q$SELECT id FROM t LIMIT extract(day FROM now())$q$,
	$q$SELECT id FROM t JOIN r ON t.ts < 'now'$q$, $q$SELECT max(ts) FROM t GROUP BY id HAVING max(ts) < 'now'$q$, $q$SELECT EXISTS (SELECT FROM t WHERE ts < 'now')$q$, $q$SELECT ts - 'now' FROM t$q$, $q$SELECT date_trunc('day', 'now'::timestamp)$q$,
	$q$SELECT 'now' AT TIME ZONE 'UTC'$q$, $q$SELECT age('2020-01-01'::timestamptz)$q$, $q$SELECT age(ts) FROM t$q$, $q$SELECT time '10:00'::timetz$q$, $q$SELECT make_interval(secs => extract(epoch FROM now()))$q$, $q$SELECT to_char(now(), 'US')$q$, $q$SELECT stable_now()$q$]) q;
-- What else is not known to stay: catalogs, names, sessions, domains, other people's functions
INSERT INTO asked (kept, query) SELECT false, q FROM unnest(ARRAY[
	$q$SELECT owner::text FROM t$q$, $q$SELECT 'x' || owner FROM t$q$, $q$SELECT concat(owner) FROM t$q$, $q$SELECT format('%s', owner) FROM t$q$, $q$SELECT to_jsonb(t) FROM t$q$, $q$SELECT to_json(ARRAY[owner]) FROM t$q$, $q$SELECT row_to_json(x) FROM (SELECT owner FROM t) x$q$,
	$q$SELECT ARRAY[owner]::text FROM t$q$, $q$SELECT array_to_string(ARRAY[owner], ',') FROM t$q$, $q$SELECT (id, owner)::text FROM t$q$, $q$SELECT string_agg(owner::text, ',') FROM t$q$, $q$SELECT jsonb_agg(owner) FROM t$q$, $q$SELECT quote_literal(owner) FROM t$q$, $q$SELECT xmlelement(NAME a, owner)::text FROM t$q$,
	$q$SELECT 'r'::text::regclass$q$, $q$SELECT to_regclass('r')$q$, $q$SELECT format_type(23, NULL)$q$, $q$SELECT pg_get_viewdef('frozen'::regclass)$q$, $q$SELECT obj_description('t'::regclass)$q$, $q$SELECT has_table_privilege('t', 'SELECT')$q$,
	$q$SELECT xmax FROM t$q$, $q$SELECT cmin FROM t$q$, $q$SELECT xmax::text FROM (SELECT xmax FROM t) x$q$,
	$q$SELECT session_user$q$, $q$SELECT current_schema$q$, $q$SELECT current_schemas(true)$q$, $q$SELECT pg_backend_pid()$q$, $q$SELECT current_setting('Time' || 'Zone')$q$, $q$SELECT pg_client_encoding()$q$, $q$SELECT inet_client_addr()$q$, $q$SELECT pg_my_temp_schema()$q$,
	$q$SELECT 5::positive$q$, $q$SELECT p::int::positive FROM t$q$, $q$SELECT NULL::positive$q$, $q$SELECT '{1}'::positive[]$q$,
	$q$SELECT stable_plain()$q$, $q$SELECT 1 <+> 2$q$, $q$SELECT sum_stable(id) FROM t$q$, $q$SELECT id FROM t WHERE id = ANY (ARRAY[stable_plain()])$q$, $q$SELECT * FROM stable_plain()$q$, $q$SELECT count(*) FROM pg_class$q$, $q$SELECT pg_column_size(ts) FROM t$q$,
	$q$SELECT x.v FROM trace_ext.cached('SELECT 1', '1 hour') AS x(v int)$q$]) q;
-- What is
INSERT INTO asked (kept, query) SELECT true, q FROM unnest(ARRAY[
	$q$SELECT '2020-01-01'::timestamptz$q$, $q$SELECT timestamptz '2020-01-01T00:00:00Z'$q$, $q$SELECT date 'Jan 5, 2020'$q$, $q$SELECT 'infinity'::timestamptz, '-infinity'::date, 'epoch'::timestamp$q$, $q$SELECT '44 BC-03-15'::text$q$, $q$SELECT '0044-03-15 BC'::date$q$, $q$SELECT time '10:00 PM'$q$,
	$q$SELECT '{2020-01-01,NULL}'::date[]$q$, $q$SELECT '[2020-01-01,infinity)'::tstzrange$q$, $q$SELECT 'empty'::daterange$q$, $q$SELECT '(1,2020-01-01)'::inner_pair$q$, $q$SELECT 'now', 'today'::text, 'now'::name$q$, $q$SELECT word = 'now' FROM t$q$, $q$SELECT interval '1 day'$q$, $q$SELECT word::int FROM t WHERE false$q$,
	$q$SELECT at FROM frozen$q$, $q$SELECT count(*) FROM t WHERE ts > '2020-01-01' AND d < '2020-02-01'$q$, $q$SELECT ts + interval '1 day', ts::date, d::timestamptz, extract(year FROM ts), date_trunc('month', ts), ts AT TIME ZONE 'Europe/Paris' FROM t$q$, $q$SELECT to_char(ts, 'YYYY-MM-DD HH24'), ts::text, d || '' FROM t$q$,
	$q$SELECT generate_series(timestamptz '2020-01-01', '2020-01-03', '1 day')$q$, $q$SELECT to_date('2020-01-02', 'YYYY-MM-DD'), to_timestamp(0), to_timestamp('2020', 'YYYY')$q$, $q$SELECT m, m::text, 'ok'::mood, word = 'x' FROM t$q$, $q$SELECT enum_range(NULL::mood)$q$, $q$SELECT p, p + 1 FROM t$q$, $q$SELECT pair, (pair).at FROM t$q$,
	$q$SELECT a FROM jsonb_to_record('{"a": 1}') AS x(a int)$q$, $q$SELECT a, b FROM jsonb_populate_record(NULL::r, '{"a": 1}')$q$, $q$SELECT to_jsonb(x), row_to_json(x) FROM (SELECT id, ts, m FROM t) x$q$, $q$SELECT json_agg(x ORDER BY x) FROM (SELECT id FROM t) x$q$, $q$SELECT j ->> 'd', j #> '{a}', j @> '{"a": 1}' FROM t$q$,
	$q$SELECT owner, tableoid::regclass, owner = 'r'::regclass FROM t$q$, $q$SELECT ctid, xmin, tableoid FROM t$q$, $q$SELECT count(*) FROM t WHERE to_tsvector('english', body) @@ to_tsquery('english', 'dog')$q$, $q$SELECT to_tsvector(body) FROM t$q$, $q$SELECT current_user, current_database(), current_catalog$q$,
	$q$SELECT current_setting('TimeZone')$q$, $q$SELECT same_int(3), lower('A'), md5('x'), 1 / 3.0, sqrt(2), '1'::int, 'x'::bytea$q$, $q$SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id), string_agg(word, ','), array_agg(ts) FROM t$q$, $q$SELECT format('%s', ts), concat(d, m), array_to_string(ARRAY[d], ',') FROM (SELECT ts, d, m FROM t) x$q$,
	$q$SELECT row_number() OVER w, lag(id) OVER w FROM t WINDOW w AS (PARTITION BY m ORDER BY ts RANGE interval '1 day' PRECEDING)$q$, $q$SELECT pg_typeof(ts), pg_typeof(1) FROM t$q$, $q$SELECT GROUPING(id), count(*) FROM t GROUP BY ROLLUP (id)$q$, $q$WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < 3) SEARCH DEPTH FIRST BY n SET o SELECT n FROM x$q$]) q;

-- The rows of a cached query as one text, whatever columns it has: the error says which.
CREATE FUNCTION ask(query text, ttl text DEFAULT 'NULL') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	tries text[];
	answer text;
	kind text;
	detail text;
BEGIN
	FOR i IN 1 .. 12 LOOP
		BEGIN
			EXECUTE format('SELECT string_agg(q::text, E''\n'') FROM trace_ext.cached(%L, %s) AS q(%s)', query, ttl,
				(SELECT string_agg(format('c%s %s', o, x), ', ') FROM unnest(coalesce(tries, '{int}')) WITH ORDINALITY u(x, o))) INTO answer;
			RETURN coalesce(answer, 'nothing');
		EXCEPTION WHEN datatype_mismatch THEN
			GET STACKED DIAGNOSTICS detail = MESSAGE_TEXT;
			IF detail ~ 'returns \d+ columns' THEN
				tries := array_fill('int'::text, ARRAY[substring(detail FROM 'returns (\d+) columns')::int]);
			ELSE
				tries := coalesce(tries, '{int}');
				tries[substring(detail FROM 'column (\d+)')::int] := substring(detail FROM 'is of type (.*), but');
			END IF;
		WHEN OTHERS THEN
			RETURN SQLERRM;
		END;
	END LOOP;
	RETURN 'too many columns';
END $$;
CREATE FUNCTION ask_directly(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE format('SELECT string_agg(q::text, E''\n'') FROM (%s) q', query) INTO answer;
	RETURN coalesce(answer, 'nothing');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END $$;
-- A row type alone is unpacked by one of them and not by the other
CREATE FUNCTION judge(cached text, direct text, kept boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE
		WHEN cached = 'cannot cache this query without a ttl' THEN CASE WHEN kept THEN 'REFUSED' ELSE 'refused' END
		WHEN cached IS DISTINCT FROM direct AND cached IS DISTINCT FROM '(' || direct || ')' THEN 'WRONG: ' || cached || ' instead of ' || direct
		WHEN kept THEN 'kept' ELSE 'KEPT' END
$$;
CREATE PROCEDURE ask_all() LANGUAGE plpgsql AS $$
DECLARE
	a asked;
BEGIN
	FOR a IN SELECT * FROM asked ORDER BY nr LOOP
		UPDATE asked SET verdict = judge(ask(a.query), ask_directly(a.query), a.kept) WHERE nr = a.nr;
	END LOOP;
END $$;
CALL ask_all();
SELECT verdict, count(*) FROM asked WHERE verdict IN ('kept', 'refused') GROUP BY 1 ORDER BY 1;
SELECT verdict, query FROM asked WHERE verdict NOT IN ('kept', 'refused') ORDER BY nr;
SELECT pg_sleep(0.01);
CALL ask_all();
SELECT verdict, count(*) FROM asked WHERE verdict IN ('kept', 'refused') GROUP BY 1 ORDER BY 1;
SELECT verdict, query FROM asked WHERE verdict NOT IN ('kept', 'refused') ORDER BY nr;

-- What a query means is changed under its cached result. Asked before, and after in a
-- later transaction, where the answer has to be the query's, its errors included.
CREATE TABLE altered (nr serial PRIMARY KEY, query text, change text, undo text);
INSERT INTO altered (query, change, undo) VALUES
	('SELECT (jsonb_populate_record(NULL::r, ''{"a": 1, "c": 2}'')).*', 'ALTER TABLE r ADD COLUMN c int', 'ALTER TABLE r DROP COLUMN c'),
	('SELECT a, b FROM jsonb_populate_record(NULL::r, ''{"a": 1}'')', 'ALTER TABLE r ALTER COLUMN a TYPE text', 'ALTER TABLE r ALTER COLUMN a TYPE int USING a::int'),
	('SELECT NULL::r IS NULL, to_jsonb(NULL::r)', 'ALTER TABLE r RENAME COLUMN b TO bb', 'ALTER TABLE r RENAME COLUMN bb TO b'),
	('SELECT to_jsonb(NULL::r), to_jsonb(ROW(1, ''x'')::r)', 'ALTER TABLE r RENAME COLUMN b TO bb', 'ALTER TABLE r RENAME COLUMN bb TO b'),
	('SELECT pair FROM t', 'ALTER TYPE inner_pair RENAME ATTRIBUTE a TO b', 'ALTER TYPE inner_pair RENAME ATTRIBUTE b TO a'),
	('SELECT to_jsonb(pair) FROM t', 'ALTER TYPE inner_pair RENAME ATTRIBUTE a TO b', 'ALTER TYPE inner_pair RENAME ATTRIBUTE b TO a'),
	('SELECT to_jsonb(ROW(ROW(1, ''2020-01-01'')::inner_pair, 2)::outer_pair)', 'ALTER TYPE inner_pair RENAME ATTRIBUTE a TO b', 'ALTER TYPE inner_pair RENAME ATTRIBUTE b TO a'),
	('SELECT to_jsonb(ARRAY[ROW(ROW(1, ''2020-01-01''), 2)::outer_pair])', 'ALTER TYPE outer_pair ADD ATTRIBUTE x int', 'ALTER TYPE outer_pair DROP ATTRIBUTE x'),
	('SELECT (pair).a FROM t', 'ALTER TYPE inner_pair RENAME ATTRIBUTE a TO b', 'ALTER TYPE inner_pair RENAME ATTRIBUTE b TO a'),
	('SELECT ''sad''::mood', 'ALTER TYPE mood RENAME VALUE ''sad'' TO ''blue''', 'ALTER TYPE mood RENAME VALUE ''blue'' TO ''sad'''),
	('SELECT m::text FROM t', 'ALTER TYPE mood RENAME VALUE ''sad'' TO ''blue''', 'ALTER TYPE mood RENAME VALUE ''blue'' TO ''sad'''),
	('SELECT ''ok''::mood', 'ALTER TYPE mood RENAME TO moods', 'ALTER TYPE moods RENAME TO mood'),
	('SELECT NULL::mood', 'DROP TYPE IF EXISTS mood_2; ALTER TYPE mood RENAME TO mood_2; CREATE TYPE mood AS ENUM (''other'')', 'DROP TYPE mood; ALTER TYPE mood_2 RENAME TO mood'),
	('SELECT p FROM t', 'ALTER DOMAIN positive ADD CONSTRAINT small CHECK (VALUE < 9)', 'ALTER DOMAIN positive DROP CONSTRAINT small'),
	('SELECT NULL::int::positive', 'ALTER DOMAIN positive SET NOT NULL', 'ALTER DOMAIN positive DROP NOT NULL'),
	('SELECT jsonb_populate_record(NULL::with_domain, ''{"p": 20}'')', 'ALTER DOMAIN positive ADD CONSTRAINT small CHECK (VALUE < 9)', 'ALTER DOMAIN positive DROP CONSTRAINT small'),
	('SELECT owner FROM t', 'ALTER TABLE r RENAME TO rr', 'ALTER TABLE rr RENAME TO r'),
	('SELECT ''r''::regclass', 'ALTER TABLE r RENAME TO rr', 'ALTER TABLE rr RENAME TO r'),
	('SELECT count(*) FROM r', 'CREATE TABLE cache_first.r AS SELECT 1 UNION SELECT 2', 'DROP TABLE cache_first.r'),
	('SELECT count(*) FROM r', 'CREATE VIEW cache_first.r AS SELECT generate_series(1, 5)', 'DROP VIEW cache_first.r'),
	('SELECT ''r''::regclass::oid', 'CREATE TABLE cache_first.r ()', 'DROP TABLE cache_first.r'),
	('SELECT NULL::mood', 'CREATE TYPE cache_first.mood AS ENUM (''a'')', 'DROP TYPE cache_first.mood'),
	('SELECT same_int(1)', 'CREATE FUNCTION cache_first.same_int(int) RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT 7''', 'DROP FUNCTION cache_first.same_int'),
	('SELECT same_int(1)', 'CREATE OR REPLACE FUNCTION same_int(int) RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT 8''', 'CREATE OR REPLACE FUNCTION same_int(int) RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT $1'''),
	('SELECT 1 <-> 2', 'CREATE OPERATOR cache_first.<-> (leftarg = int, rightarg = int, function = int4pl)', 'DROP OPERATOR cache_first.<-> (int, int)'),
	('SELECT ''a''::name <-> ''b''::name', 'CREATE CAST (name AS int) WITH FUNCTION cache_known.length_of(name) AS IMPLICIT', 'DROP CAST (name AS int)'),
	('SELECT length(to_tsvector(''words'', ''the dogs''))', 'ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH simple', 'ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH english_stem'),
	('SELECT at FROM frozen', 'CREATE OR REPLACE VIEW frozen AS SELECT timestamptz ''2000-01-01'' AS at', 'CREATE OR REPLACE VIEW frozen AS SELECT timestamptz ''2001-01-01'' AS at'),
	('SELECT count(*) FROM t', 'ALTER TABLE t ENABLE ROW LEVEL SECURITY', 'ALTER TABLE t DISABLE ROW LEVEL SECURITY'),
	('SELECT current_user', 'ALTER ROLE cache_known_user RENAME TO cache_known_other', 'ALTER ROLE cache_known_other RENAME TO cache_known_user');
CREATE SCHEMA cache_first;
CREATE TEXT SEARCH CONFIGURATION words (COPY = pg_catalog.english);
CREATE FUNCTION length_of(name) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT length($1::text)';
CREATE OPERATOR <-> (leftarg = int, rightarg = int, function = int4mi);
CREATE TABLE with_domain (p positive);
CREATE ROLE cache_known_user;
GRANT trace_ext_reader TO cache_known_user;
SET search_path = cache_first, cache_known, public;
CREATE PROCEDURE compare(a altered, step text) LANGUAGE plpgsql AS $$
DECLARE
	cached text := ask(a.query);
	direct text := ask_directly(a.query);
BEGIN
	IF judge(cached, direct, true) ~ 'WRONG' THEN
		RAISE EXCEPTION '% %: cached %, but directly %', step, a.query, cached, direct;
	END IF;
END $$;
CREATE PROCEDURE alter_all() LANGUAGE plpgsql AS $$
DECLARE
	a altered;
BEGIN
	FOR a IN SELECT * FROM altered ORDER BY nr LOOP
		CALL compare(a, 'before');
		COMMIT;
		CALL compare(a, 'once more before');
		EXECUTE a.change;
		CALL compare(a, 'in the transaction of');
		COMMIT;
		CALL compare(a, 'after');
		COMMIT;
		CALL compare(a, 'once more after');
		EXECUTE a.undo;
		COMMIT;
		CALL compare(a, 'afterwards');
		COMMIT;
	END LOOP;
END $$;
CALL alter_all();

-- Settings: each value has its own answer, whoever asks first, with a ttl too
CREATE TABLE setting (nr serial PRIMARY KEY, query text, ttl text, name text, one text, other text);
INSERT INTO setting (query, ttl, name, one, other) VALUES
	('SELECT ts::text FROM t', 'NULL', 'TimeZone', 'UTC', 'Asia/Kolkata'),
	('SELECT to_jsonb(x) FROM (SELECT ts FROM t) x', 'NULL', 'TimeZone', 'UTC', 'Asia/Kolkata'),
	('SELECT d::text FROM t', 'NULL', 'DateStyle', 'ISO, MDY', 'German'),
	('SELECT timestamptz ''01/02/2020''', 'NULL', 'DateStyle', 'ISO, MDY', 'ISO, DMY'),
	('SELECT to_char(12, ''L99'') || body::tsvector::text || (0.1::float8 + 0.2) FROM t', 'NULL', 'extra_float_digits', '0', '1'),
	('SELECT to_tsvector(body) FROM t', 'NULL', 'default_text_search_config', 'simple', 'english'),
	('SELECT NULL = 1 - id + id FROM t', 'NULL', 'transform_null_equals', 'on', 'off'),
	('SELECT id = NULL FROM t', 'NULL', 'transform_null_equals', 'on', 'off'),
	('SELECT interval ''90 minutes'' || ''''', 'NULL', 'IntervalStyle', 'postgres', 'iso_8601'),
	('SELECT ''a\nb''', 'NULL', 'standard_conforming_strings', 'on', 'off'),
	('SELECT current_setting(''work_mem'')', 'NULL', 'work_mem', '4MB', '5MB'),
	('SELECT current_setting(''application_name'')', 'NULL', 'application_name', 'a', 'b'),
	('SELECT current_setting(''cache_known.tenant'', true)', 'NULL', 'cache_known.tenant', 'a', 'b'),
	('SELECT current_setting(''cache_known.'' || ''tenant'')', '''1 hour''', 'cache_known.tenant', 'a', 'b'),
	('SELECT setting_of(''work_mem'')', '''1 hour''', 'work_mem', '4MB', '5MB'),
	('SELECT setting_of(''cache_known.tenant'')', '''1 hour''', 'cache_known.tenant', 'a', 'b'),
	('SELECT setting_of(''application_name'')', '''1 hour''', 'application_name', 'a', 'b'),
	('SELECT setting FROM pg_settings WHERE name = ''work_mem''', '''1 hour''', 'work_mem', '4MB', '5MB'),
	('SELECT current_schema', '''1 hour''', 'search_path', 'cache_known, cache_first', 'cache_first, cache_known'),
	('SELECT count(*) FROM many WHERE a @> ''{1}''', 'NULL', 'gin_fuzzy_search_limit', '0', '2');
CREATE FUNCTION setting_of(name text) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN current_setting(name, true); END $$;
CREATE TABLE many (a int[]);
INSERT INTO many SELECT ARRAY[1, i] FROM generate_series(1, 3000) i;
CREATE INDEX ON many USING gin (a);
SET enable_seqscan = off;
SET jit = off;
SET escape_string_warning = off;
CREATE PROCEDURE set_all() LANGUAGE plpgsql AS $$
DECLARE
	s setting;
	value text;
	cached text;
	direct text;
BEGIN
	FOR s IN SELECT * FROM setting ORDER BY nr LOOP
		FOREACH value IN ARRAY ARRAY[s.one, s.other, s.one, s.other] LOOP
			PERFORM set_config(s.name, value, true);
			cached := ask(s.query, s.ttl);
			direct := ask_directly(s.query);
			IF s.name = 'gin_fuzzy_search_limit' AND value <> '0' THEN
				direct := CASE WHEN trim('()' FROM cached)::int < 3000 THEN cached ELSE 'fewer than 3000' END;
			END IF;
			IF cached IS DISTINCT FROM direct AND cached IS DISTINCT FROM '(' || direct || ')' THEN
				RAISE WARNING '% with % = %: cached %, but directly %', s.query, s.name, value, cached, direct;
			END IF;
		END LOOP;
		COMMIT;
	END LOOP;
END $$;
SET client_min_messages = warning;
CALL set_all();
RESET enable_seqscan;

-- A setting that another session never had is none, not an empty one
SELECT v IS NULL AS missing FROM trace_ext.cached('SELECT current_setting(''cache_known.unheard'', true)') AS t(v text);
BEGIN;
SET LOCAL cache_known.unheard = 'x';
COMMIT;
SELECT v IS NULL AS missing FROM trace_ext.cached('SELECT current_setting(''cache_known.unheard'', true)') AS t(v text);

SET client_min_messages = error;
DROP SCHEMA cache_known, cache_first CASCADE;
DROP OWNED BY cache_known_user;
DROP ROLE cache_known_user;
