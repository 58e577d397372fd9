-- The type vclock: input, output, both orders, merge, and every refusal.
SET search_path = public, trace_ext, trace_ext_internal;
SET client_min_messages = warning;

--
-- Input and output: both shapes, sorted by bytes, 0 is absent
--
SELECT t AS input, t::vclock AS clock
FROM (VALUES ('{}'), ('[]'), (' { } '), (E'\n[\t]\r'),
             ('{"service#1": 3, "b": 1}'),
             ('[["service#1", 3], ["b", 1]]'),
             ('{"a":0}'), ('[["a",0],["b",2],["c",0]]'),
             ('{"b":1,"a":1,"ab":1,"B":1,"a b":1}'),
             ('{"a":9223372036854775807}'), ('{"a":127,"b":128,"c":16384}'),
             ('{"\"\\\/\b\f\n\r\t":1}'), ('{"\u0041\u000a\u001f":1}')) v (t);

-- Escapes beyond ASCII depend on the encoding of the database.
CREATE FUNCTION in_utf8(input text, same text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    RETURN getdatabaseencoding() <> 'UTF8' OR input::vclock = same::vclock;
END $$;
SELECT in_utf8('{"\u00e9": 1}', E'{"\303\251": 1}') AS two_bytes,
       in_utf8('{"\ud83D\uDe00": 1}', E'{"\360\237\230\200": 1}') AS surrogate_pair;

-- Compact: 1 byte of header, then length, name and a varint for each component.
CREATE TABLE clocks (id int GENERATED ALWAYS AS IDENTITY, clock vclock);
INSERT INTO clocks (clock) VALUES
    ('{}'), ('{"a": 127}'), ('{"a": 128}'), ('{"a": 9223372036854775807}'),
    ('[["85d38193-5112-4ed0-971b-942deacab8b7", 1]]');
SELECT clock, pg_column_size(clock) FROM clocks ORDER BY id;
SELECT typstorage, typalign, typlen, typbyval FROM pg_type WHERE oid = 'vclock'::regtype;

-- The longest component and the most of them.
SELECT vclock_get(format('{"%s": 7}', repeat('x', 255))::vclock, repeat('x', 255));
SELECT vclock_get(json_object_agg('c' || i, i)::vclock, 'c4096')
FROM generate_series(1, 4096) i;

--
-- Refused input
--
CREATE FUNCTION refusal(input text, source regtype DEFAULT 'text',
                        OUT state text, OUT message text, OUT detail text)
LANGUAGE plpgsql AS $$
BEGIN
    IF source = 'jsonb'::regtype THEN
        message := 'accepted: ' || input::jsonb::vclock::text;
    ELSE
        message := 'accepted: ' || input::vclock::text;
    END IF;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
        message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
END $$;

\x on
-- Malformed
SELECT left(t, 40) AS input, r.* FROM (VALUES
    (''), (' '), ('null'), ('1'), ('"a"'), ('x'), ('{'), ('['), ('{]'), ('[}'),
    ('{"a"'), ('{"a":'), ('{"a" 1}'), ('{"a":1'), ('{"a":1,}'), ('{"a":1 "b":2}'),
    ('{,}'), ('{a:1}'), ('{"a":1}}'), ('{"a":1} x'), ('{"a":{}}'), ('{"a":[]}'),
    ('{"a":"3"}'), ('[["a",1],]'), ('["a",1]'), ('[["a"]]'), ('[["a",1,2]]'),
    ('[[1,"a"]]'), ('[[]]'), ('[{"a":1}]'), ('[["a",1]'), ('{"a'),
    (E'{"a\n":1}'), (E'{"a":1}\x01'), ('{"\x":1}'), ('{"a\'), ('{"\u12":1}'),
    ('{"\u00g0":1}'), ('{"\u0000":1}'), ('{"\ud800":1}'), ('{"\ud800\u0041":1}'),
    ('{"\udc00":1}'), (repeat('[', 100000))) v (t),
    LATERAL refusal(t) r;

-- Counts
SELECT t AS input, r.* FROM (VALUES
    ('{"a":-1}'), ('[["a",-9223372036854775808]]'), ('{"a":1.0}'), ('{"a":1e2}'),
    ('{"a":-0.5}'), ('{"a":01}'), ('{"a":+1}'), ('{"a":-}'), ('{"a":0x1}'),
    ('{"a":1_000}'), ('{"a":null}'), ('{"a":true}'), ('{"a":NaN}'),
    ('{"a":9223372036854775808}'), ('{"a":99999999999999999999999999}'),
    ('[["a",1],["b",-1]]')) v (t),
    LATERAL refusal(t) r;

-- Components: empty, over-long, repeated (also by an escape, also with count 0), too many
SELECT left(t, 40) AS input, r.* FROM (VALUES
    ('{"":1}'), ('[["",1]]'), ('{"a":1,"b":2,"a":3}'), ('{"a":1,"\u0061":1}'),
    ('[["a",1],["a",1]]'), ('{"a":0,"a":1}'),
    (format('{"%s":1}', repeat('x', 256))),
    ((SELECT json_object_agg('c' || i, 0)::text FROM generate_series(1, 4097) i))) v (t),
    LATERAL refusal(t) r;

-- From jsonb, which has dropped repeated keys already
SELECT t AS input, r.* FROM (VALUES
    ('null'), ('1'), ('"a"'), ('["a",1]'), ('[1]'), ('[["a",1],["b"]]'),
    ('[["a",1,2]]'), ('[[1,"a"]]'), ('[{"a":1}]'), ('[["a",[1]]]'), ('{"a":{}}'),
    ('{"a":"3"}'), ('{"a":null}'), ('{"a":-1}'), ('{"a":1.5}'), ('{"a":1.0}'),
    ('{"a":1e2}'), ('{"a":1e30}'), ('{"a":9223372036854775808}'), ('{"":1}'),
    ('[["a",1],["a",2]]'), ('{"a":1,"a":2}'), ('{}'), ('[]'), ('[["b",2],["a",0]]')) v (t),
    LATERAL refusal(t, 'jsonb') r;
\x off
SELECT state, message FROM refusal('{"a":' || repeat('9', 100000) || '}', 'jsonb');
SELECT state, message, detail FROM refusal(format('[["%s",1]]', repeat('x', 256)), 'jsonb');
SELECT state, message, detail
FROM refusal((SELECT jsonb_object_agg('c' || i, i)::text FROM generate_series(1, 4097) i), 'jsonb');

-- From 16 on, a caller may ask for a refusal without an error.
CREATE FUNCTION soft_errors_work() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    result boolean := true;
BEGIN
    IF current_setting('server_version_num')::int >= 160000 THEN
        EXECUTE $q$
            SELECT pg_input_is_valid('{"a":1}', 'vclock')
               AND NOT pg_input_is_valid('{"a":-1}', 'vclock')
               AND NOT pg_input_is_valid('{"\ud800":1}', 'vclock')
               AND (SELECT sql_error_code = '22030'
                    FROM pg_input_error_info('{"a":1,"a":1}', 'vclock')) $q$
        INTO result;
    END IF;
    RETURN result;
END $$;
SELECT soft_errors_work();

--
-- Casts
--
SELECT '[["b", 2], ["a", 1]]'::jsonb::vclock, '{"b": 2, "a": 1}'::json::vclock,
       '{"b":2,"a":1}'::vclock::jsonb, '{"b":2,"a":1}'::vclock::json;
SELECT to_jsonb(c) FROM (SELECT '{"a":1}'::vclock AS clock) c;
-- On assignment, and not where nobody asked
INSERT INTO clocks (clock) VALUES ('[["a",1]]'::jsonb), ('{"a":2}'::json);
SELECT clock FROM clocks ORDER BY id DESC LIMIT 2;
SELECT '{"a":1}'::jsonb || '{"b":2}' AS jsonb_keeps_its_own;
SELECT vclock_merge('{"a":1}'::jsonb, '{"b":2}'::jsonb);
SELECT '{"a":1,"a":2}'::json::vclock;

--
-- Operators
--
SELECT a, b, a < b AS before, a > b AS after, a <= b AS before_eq, a >= b AS after_eq,
       a || b AS concurrent, a = b AS eq, a <> b AS ne, a + b AS merged
FROM (VALUES ('{}', '{}'), ('{}', '{"a":1}'), ('{"a":1}', '{}'),
             ('{"a":1}', '{"a":1}'), ('{"a":1}', '{"a":2}'), ('{"a":1}', '{"b":1}'),
             ('{"a":1,"b":2}', '{"a":2,"b":1}'), ('{"a":1}', '{"a":1,"b":1}'),
             ('{"a":2}', '{"a":1,"b":1}'), ('{"b":1}', '{"a":1,"b":1,"c":1}'),
             ('{"a":1,"c":1}', '{"b":1}'), ('{"a":0}', '{}'),
             ('{"a":300}', '{"a":9223372036854775807}')) v (x, y),
     LATERAL (SELECT x::vclock AS a, y::vclock AS b) c;
SELECT a, b, a #<# b AS lt, a #<=# b AS le, a #>=# b AS ge, a #># b AS gt,
       sign(vclock_cmp(a, b)) AS cmp
FROM (VALUES ('{}', '{"a":1}'), ('{"a":1}', '{"a":1}'), ('{"a":1}', '{"b":1}'),
             ('{"a":2}', '{"a":10}'), ('{"a":1,"b":9}', '{"a":2}')) v (x, y),
     LATERAL (SELECT x::vclock AS a, y::vclock AS b) c;
SELECT c AS component, vclock_get('{"b":5,"d":7}', c)
FROM unnest(ARRAY['a', 'b', 'bb', 'c', 'd', 'e', '']) c;
SELECT NULL::vclock < '{}' AS lt, '{}'::vclock || NULL::vclock AS concurrent,
       NULL::vclock + '{}' AS merged, vclock_get(NULL, 'a') AS count;
-- The partial order must not be taken for a sort order.
SELECT clock FROM clocks ORDER BY clock USING <;

--
-- Laws, over a random sample and against plain SQL
--
SELECT setseed(0.42);
CREATE TABLE sample AS
SELECT i, components, components::vclock AS clock
FROM (SELECT i, (SELECT coalesce(jsonb_object_agg(name, floor(random() * 4)::int), '{}')
                 FROM unnest(ARRAY['a', 'b', 'b2', 'c#1', '"\']) name
                 WHERE random() < 0.6 AND i > 0) AS components
      FROM generate_series(1, 60) i) s;

-- What the order of two clocks is, from the definition.
CREATE FUNCTION plain_order(a jsonb, b jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN less AND greater THEN '||' WHEN less THEN '<'
                WHEN greater THEN '>' ELSE '=' END
    FROM (SELECT coalesce(bool_or(x < y), false) AS less,
                 coalesce(bool_or(x > y), false) AS greater
          FROM (SELECT coalesce((a ->> k)::bigint, 0) AS x,
                       coalesce((b ->> k)::bigint, 0) AS y
                FROM (SELECT jsonb_object_keys(a) UNION SELECT jsonb_object_keys(b)) u (k)) c) o
$$;
CREATE FUNCTION plain_merge(a jsonb, b jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT coalesce(jsonb_object_agg(k, n), '{}')
    FROM (SELECT key AS k, max(value::bigint) AS n
          FROM (SELECT * FROM jsonb_each_text(a) UNION ALL
                SELECT * FROM jsonb_each_text(b)) e
          GROUP BY key HAVING max(value::bigint) > 0) m
$$;
CREATE TABLE pairs AS
SELECT x.components AS a_components, y.components AS b_components,
       x.clock AS a, y.clock AS b, plain_order(x.components, y.components) AS plain
FROM sample x, sample y;

-- Each relation occurs, and each operator says what the definition says.
SELECT plain, count(*) > 50 AS occurs FROM pairs GROUP BY plain ORDER BY plain COLLATE "C";
SELECT count(*) AS wrong FROM pairs
WHERE (a < b) <> (plain = '<') OR (a > b) <> (plain = '>')
   OR (a <= b) <> (plain IN ('<', '=')) OR (a >= b) <> (plain IN ('>', '='))
   OR (a || b) <> (plain = '||') OR (a = b) <> (plain = '=') OR (a <> b) <> (plain <> '=')
   OR (a + b)::jsonb <> plain_merge(a_components, b_components);
-- Equality, sort order, hashes and bytes agree; the sort order extends the vector order.
SELECT count(*) AS wrong FROM pairs
WHERE (vclock_cmp(a, b) = 0) <> (a = b)
   OR sign(vclock_cmp(a, b)) <> -sign(vclock_cmp(b, a))
   OR (a #<# b) <> (vclock_cmp(a, b) < 0) OR (a #<=# b) <> (vclock_cmp(a, b) <= 0)
   OR (a #># b) <> (vclock_cmp(a, b) > 0) OR (a #>=# b) <> (vclock_cmp(a, b) >= 0)
   OR (a < b AND NOT a #<# b)
   OR (a = b) <> (a::text = b::text) OR (a = b) <> (vclock_send(a) = vclock_send(b))
   OR (a = b AND vclock_hash(a) <> vclock_hash(b))
   OR (a = b AND vclock_hash_extended(a, 7) <> vclock_hash_extended(b, 7));
SELECT count(DISTINCT vclock_hash(clock)) = count(DISTINCT clock) AS hashes_differ,
       bool_and(vclock_hash_extended(clock, 0) <> vclock_hash_extended(clock, 1)) AS seed_counts
FROM sample;
-- Merge is commutative, idempotent and the least upper bound.
SELECT count(*) AS wrong FROM pairs
WHERE a + b <> b + a OR a + a <> a OR NOT (a <= a + b AND b <= a + b)
   OR (a <= b) <> (a + b = b) OR a + '{}' <> a;
SELECT count(*) AS wrong
FROM sample x, sample y, sample z
WHERE (x.clock + y.clock) + z.clock <> x.clock + (y.clock + z.clock)
   OR (x.clock < y.clock AND y.clock < z.clock AND NOT x.clock < z.clock)
   OR (x.clock #<=# y.clock AND y.clock #<=# z.clock AND NOT x.clock #<=# z.clock)
   OR (x.clock <= z.clock AND y.clock <= z.clock AND NOT x.clock + y.clock <= z.clock);
-- What is written is read again, by text and by JSON of both shapes.
SELECT count(*) AS wrong FROM sample
WHERE clock::text::vclock <> clock OR clock::text::vclock::text <> clock::text
   OR clock::jsonb::vclock <> clock OR clock::json::vclock <> clock
   OR clock::jsonb <> plain_merge(components, '{}')
   OR clock <> (SELECT coalesce(jsonb_agg(jsonb_build_array(key, value)), '[]')
                FROM jsonb_each(components))::vclock;
SELECT count(*) AS wrong FROM sample, jsonb_each_text(components) e
WHERE vclock_get(clock, e.key) <> e.value::bigint;

--
-- DISTINCT, GROUP BY, ORDER BY, indexes, joins
--
SELECT count(DISTINCT clock) = count(DISTINCT clock::text) AS distinct_works,
       count(DISTINCT clock) < count(*) AS sample_repeats FROM sample;
SELECT count(*) AS wrong
FROM (SELECT clock, lag(clock) OVER (ORDER BY clock) AS previous FROM sample) s
WHERE previous #># clock OR clock < previous;
CREATE TABLE keyed AS SELECT DISTINCT clock FROM sample;
ALTER TABLE keyed ADD PRIMARY KEY (clock);
CREATE INDEX keyed_hash ON keyed USING hash (clock);
INSERT INTO keyed SELECT clock FROM sample ON CONFLICT DO NOTHING;
SELECT count(*) = (SELECT count(DISTINCT clock) FROM sample) AS unique_works FROM keyed;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) AS wrong FROM sample s
WHERE NOT EXISTS (SELECT FROM keyed k WHERE k.clock = s.clock);
EXPLAIN (COSTS OFF) SELECT clock FROM keyed WHERE clock #<# '{"a":2}' ORDER BY clock;
SELECT count(*) = (SELECT count(DISTINCT clock) FROM sample WHERE vclock_cmp(clock, '{"a":2}') < 0) AS range_scan_works
FROM keyed WHERE clock #<# '{"a":2}';
RESET enable_seqscan;
RESET enable_bitmapscan;
-- Each kind of join finds the same.
CREATE FUNCTION join_count(method text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    result bigint;
    plan json;
BEGIN
    PERFORM set_config('enable_' || m, (m = replace(lower(method), ' ', ''))::text, true)
    FROM unnest(ARRAY['hashjoin', 'mergejoin', 'nestloop']) m;
    EXECUTE 'EXPLAIN (FORMAT JSON) SELECT count(*) FROM sample x JOIN sample y ON x.clock = y.clock'
    INTO plan;
    IF plan::text NOT LIKE '%"Node Type": "' || method || '"%' THEN
        RAISE 'no % in %', method, plan;
    END IF;
    SELECT count(*) INTO result FROM sample x JOIN sample y ON x.clock = y.clock;
    RETURN result;
END $$;
BEGIN;
SELECT join_count('Hash Join') = count(*) AS hash FROM pairs WHERE plain = '=';
SELECT join_count('Merge Join') = count(*) AS merge FROM pairs WHERE plain = '=';
SELECT join_count('Nested Loop') = count(*) AS nested FROM pairs WHERE plain = '=';
COMMIT;
-- Statistics follow the sort order; the estimators read them.
ANALYZE sample;
SELECT array_length(histogram_bounds, 1) > 1 OR array_length(most_common_vals, 1) > 1 AS has_statistics
FROM pg_stats WHERE tablename = 'sample' AND attname = 'clock';
SELECT count(*) > 0 AS found FROM sample WHERE clock #>=# '{"a":1}' AND clock #<=# '{"a":3}' AND clock <> '{"a":2}';
CREATE TABLE parted (clock vclock) PARTITION BY HASH (clock);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT clock FROM sample;
SELECT count(DISTINCT tableoid), count(*) FROM parted;

--
-- merge(vclock)
--
SELECT merge(clock) FROM (VALUES ('{"a":1,"b":5}'::vclock), (NULL), ('{"a":3}'), ('{"c":1}')) v (clock);
SELECT merge(clock) IS NULL AS over_nothing FROM sample WHERE false;
SELECT merge(NULL::vclock) IS NULL AS over_null, merge('{}'::vclock) AS over_empty;
SELECT merge(clock) = (SELECT jsonb_object_agg(key, m)::vclock
                       FROM (SELECT key, max(value::bigint) AS m
                             FROM sample, jsonb_each_text(components) GROUP BY key) p) AS like_plain_sql
FROM sample;
-- As a window function the state goes on after a result.
SELECT i, merge(clock) OVER (ORDER BY i)
FROM (VALUES (1, '{"a":1}'::vclock), (2, '{"b":1}'), (3, '{"a":2}')) v (i, clock);
-- In parallel, with many components and groups without a clock.
CREATE TABLE many AS
SELECT i % 3 AS g,
       CASE WHEN i % 3 <> 2 THEN format('{"c%s":%s,"all":%s}', i % 500, i, i)::vclock END AS clock
FROM generate_series(1, 30000) i;
ALTER TABLE many SET (parallel_workers = 2);
ANALYZE many;
CREATE TABLE serially AS SELECT g, merge(clock) AS clock FROM many GROUP BY g;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT merge(clock) FROM many;
SELECT vclock_get(merge(clock), 'all'), vclock_get(merge(clock), 'c7') FROM many;
SELECT g, p.clock IS NOT DISTINCT FROM s.clock AS same, vclock_get(p.clock, 'all')
FROM serially s JOIN (SELECT g, merge(clock) AS clock FROM many GROUP BY g) p USING (g)
ORDER BY g;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
-- The limit holds for what is merged, too.
CREATE TABLE halves AS
SELECT i % 2 AS half, json_object_agg('c' || i, i)::vclock AS clock
FROM generate_series(1, 4097) i GROUP BY 1;
SELECT merge(clock) FROM halves;
SELECT x.clock + y.clock FROM halves x, halves y WHERE x.half < y.half;

--
-- Binary
--
SELECT vclock_send('{}'), vclock_send('{"ab":258,"c":1}');
CREATE TABLE received (LIKE sample);
\copy sample to 'results/vclock.copy' (format binary)
\copy received from 'results/vclock.copy' (format binary)
SELECT count(*) AS wrong FROM sample s FULL JOIN received r USING (i)
WHERE s.clock IS DISTINCT FROM r.clock OR vclock_send(s.clock) <> vclock_send(r.clock);

-- A column of bytes is sent as it is, so any message can be made.
CREATE TABLE wire (message bytea);
CREATE TABLE arrived (clock vclock);
CREATE FUNCTION message_of(VARIADIC components text[]) RETURNS bytea LANGUAGE sql AS $$
    SELECT '\x01' || int4send(count(*)::int)
        || coalesce(string_agg(int4send(octet_length(split_part(c, ':', 1)))
                               || convert_to(split_part(c, ':', 1), 'SQL_ASCII')
                               || int8send(split_part(c, ':', 2)::bigint), '' ORDER BY i), '')
    FROM unnest(components) WITH ORDINALITY u (c, i)
$$;
\set send '\\copy wire to ''results/vclock.copy'' (format binary)'
\set receive '\\copy arrived from ''results/vclock.copy'' (format binary)'
-- Unsorted and with a count of 0: read, and put into the one stored form
INSERT INTO wire VALUES (message_of('b:2', 'z:0', 'a:1'));
:send
:receive
SELECT clock, clock = '{"a":1,"b":2}' AS canonical FROM arrived;
-- Another version
UPDATE wire SET message = '\x0200000000';
:send
:receive
\set VERBOSITY sqlstate
:receive
\set VERBOSITY default
-- Nothing at all
UPDATE wire SET message = '';
:send
:receive
-- Fewer than no components
UPDATE wire SET message = '\x01ffffffff';
:send
:receive
\set VERBOSITY sqlstate
:receive
\set VERBOSITY default
-- More components than bytes
UPDATE wire SET message = '\x017fffffff';
:send
:receive
-- A negative length, and one beyond the end
UPDATE wire SET message = '\x0100000001ffffffff';
:send
:receive
UPDATE wire SET message = '\x01000000017fffffff61';
:send
:receive
-- Cut short, and too long
UPDATE wire SET message = substr(message_of('a:1'), 1, 13);
:send
:receive
UPDATE wire SET message = message_of('a:1') || '\x00';
:send
:receive
-- The rules for components and counts
UPDATE wire SET message = message_of('a:-1');
:send
:receive
\set VERBOSITY sqlstate
:receive
\set VERBOSITY default
UPDATE wire SET message = message_of('a:1', 'b:1', 'a:2');
:send
:receive
UPDATE wire SET message = message_of(':1');
:send
:receive
UPDATE wire SET message = message_of(repeat('x', 256) || ':1');
:send
:receive
UPDATE wire SET message = message_of(VARIADIC ARRAY(SELECT i || ':1' FROM generate_series(1, 4097) i));
:send
:receive
-- A zero byte is no text.
UPDATE wire SET message = '\x01000000010000000261000000000000000001';
:send
-- The message names the encoding.
\set VERBOSITY sqlstate
:receive
\set VERBOSITY default
SELECT count(*) AS still_one FROM arrived;

--
-- Mutated input: each text is either read or refused with an error of the type's
-- own, as the server's own JSON parser and plain SQL say it should be.
--
CREATE FUNCTION plain_is_clock(input text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    tree json;
    ok boolean;
BEGIN
    tree := input::json;
    IF json_typeof(tree) NOT IN ('object', 'array') THEN
        RETURN false;
    END IF;
    IF json_typeof(tree) = 'array' THEN
        SELECT bool_and(json_typeof(e) = 'array') INTO ok FROM json_array_elements(tree) e;
        IF NOT coalesce(ok, true) THEN
            RETURN false;
        END IF;
        SELECT bool_and(json_array_length(e) = 2 AND coalesce(json_typeof(e -> 0) = 'string', false))
        INTO ok FROM json_array_elements(tree) e;
        IF NOT coalesce(ok, true) THEN
            RETURN false;
        END IF;
    END IF;
    SELECT bool_and(octet_length(name) BETWEEN 1 AND 255
                    AND CASE WHEN count::text ~ '^(0|[1-9][0-9]*)$'
                             THEN count::text::numeric < 2::numeric ^ 63 ELSE false END)
           AND count(*) = count(DISTINCT name)
    INTO ok
    FROM (SELECT key AS name, value AS count
          FROM json_each(CASE json_typeof(tree) WHEN 'object' THEN tree ELSE '{}' END)
          UNION ALL
          SELECT e ->> 0, e -> 1
          FROM json_array_elements(CASE json_typeof(tree) WHEN 'array' THEN tree ELSE '[]' END) e) c;
    RETURN coalesce(ok, true);
EXCEPTION WHEN data_exception OR program_limit_exceeded OR feature_not_supported THEN
    RETURN false;
END $$;
CREATE FUNCTION mutate(input text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    pieces text[] := ARRAY['{', '}', '[', ']', '"', ',', ':', '\', '\u', '\u0041', '\u0000',
                           '\ud83d', '\ude00', '\n', ' ', E'\t', E'\n', '0', '1', '9', '-', '.',
                           'e', '+', 'a', 'b', '"a":1', '["a",1]', ',["c",2]', 'null',
                           '9223372036854775807', '9223372036854775808', '""'];
    at int;
BEGIN
    IF getdatabaseencoding() = 'UTF8' THEN
        pieces := pieces || ARRAY[chr(233), chr(128512)];
    END IF;
    FOR i IN 1 .. 1 + floor(random() * 3) LOOP
        at := 1 + floor(random() * (length(input) + 1));
        input := overlay(input PLACING CASE WHEN random() < 0.7
                                            THEN pieces[1 + floor(random() * array_length(pieces, 1))]
                                            ELSE '' END
                         FROM at FOR floor(random() * 3)::int);
    END LOOP;
    RETURN input;
END $$;
SELECT setseed(0.7);
CREATE TABLE mutated AS
SELECT input, r.*
FROM (SELECT mutate((ARRAY['{"a": 1, "b": 22}', '[["a", 1], ["b", 22]]', '{"\u0061\n": 3}', '{}', '[]',
                           '[["c", 0]]', '{"service#1": 9223372036854775807}'])[1 + i % 7]) AS input
      FROM generate_series(1, 20000) i OFFSET 0) m, refusal(input) r;
SELECT DISTINCT state FROM mutated
WHERE state NOT IN ('22P02', '22003', '22030') AND getdatabaseencoding() = 'UTF8';
SELECT count(*) AS wrong FROM mutated WHERE (state IS NULL) <> plain_is_clock(input);
SELECT count(*) FILTER (WHERE state IS NULL) > 500 AS many_read,
       count(*) FILTER (WHERE state IS NOT NULL) > 5000 AS many_refused
FROM mutated;
SELECT count(*) AS wrong FROM mutated
WHERE CASE WHEN state IS NULL
           THEN substr(message, 11)::vclock::text <> substr(message, 11)
                OR input::jsonb::vclock::text <> substr(message, 11) END;

--
-- The catalog: classes are valid, functions are what planners may rely on,
-- operators know each other, and all is explained.
--
SELECT am.amname, amvalidate(c.oid) AS valid, opcdefault
FROM pg_opclass c JOIN pg_am am ON am.oid = opcmethod
WHERE opcintype = 'vclock'::regtype ORDER BY 1;
SELECT proname FROM pg_proc
WHERE pronamespace = 'trace_ext'::regnamespace AND proname LIKE '%vclock%'
  AND (provolatile <> 'i' OR proparallel <> 's'
       OR NOT proisstrict AND proname NOT IN ('vclock_merge_step', 'vclock_merge_combine', 'vclock_merge_final'));
SELECT o.oprname, c.oprname AS commutator, n.oprname AS negator,
       o.oprrest, o.oprjoin, o.oprcanhash, o.oprcanmerge
FROM pg_operator o
     LEFT JOIN pg_operator c ON c.oid = o.oprcom
     LEFT JOIN pg_operator n ON n.oid = o.oprnegate
WHERE o.oprleft = 'vclock'::regtype ORDER BY o.oprname COLLATE "C";
SELECT castsource::regtype, casttarget::regtype, castcontext, castmethod
FROM pg_cast WHERE 'vclock'::regtype IN (castsource, casttarget)
ORDER BY castsource::regtype::text, casttarget::regtype::text;
-- Parts of operator classes and the array type cannot have a comment.
SELECT count(*) > 45 AS objects,
       string_agg(i.identity, ', ') FILTER (WHERE obj_description(d.objid, d.classid::regclass::name) IS NULL)
           AS without_comment
FROM pg_depend d
     JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid,
     LATERAL pg_identify_object(d.classid, d.objid, 0) i
WHERE e.extname = 'trace_ext' AND d.deptype = 'e' AND i.identity LIKE '%vclock%'
  AND i.identity NOT LIKE '%[]';

DROP TABLE clocks, sample, pairs, keyed, parted, many, serially, halves, received, wire, arrived, mutated;
DROP FUNCTION in_utf8, refusal, soft_errors_work, plain_order, plain_merge, join_count,
    message_of, plain_is_clock, mutate;
