-- A trace to look at: waterfall().
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set lines :abs_srcdir '/data/lines.sql'
\set checkout :abs_srcdir '/data/checkout.sql'
\set file :abs_srcdir '/data/express-banking.json'
\set otlp :abs_srcdir '/data/otlp'
\set ECHO none
\i :plain
\i :lines
\i :checkout
\set ECHO all
SET client_min_messages = notice;
SET timezone = 'UTC';
SET search_path = trace_ext, public;
\set VERBOSITY default
\set SHOW_CONTEXT never

-- How many columns a terminal gives a line, by rules of its own: enough for what is sent here.
CREATE FUNCTION pg_temp.columns(line text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(sum(CASE WHEN c BETWEEN 768 AND 879 THEN 0
                    WHEN c BETWEEN 4352 AND 4447 OR c BETWEEN 11904 AND 42191 OR c BETWEEN 44032 AND 55203 OR c BETWEEN 65281 AND 65376 OR c BETWEEN 127744 AND 129791 THEN 2 ELSE 1 END), 0)
      FROM (SELECT ascii(x) AS c FROM regexp_split_to_table(line, '') AS x WHERE x <> '') AS characters $$;
-- Characters that a terminal would obey, or that are not seen.
CREATE FUNCTION pg_temp.obeyed(line text) RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT line ~ U&'[\0001-\001F\007F-\009F\00AD\061C\200B-\200F\2028-\202E\2060-\206F\FE00-\FE0F\FEFF\FFF9-\FFFB]' $$;
-- What is wrong with the lines of a trace at a width: nothing.
CREATE FUNCTION pg_temp.bad_lines(trace uuid, width int) RETURNS SETOF text LANGUAGE sql AS
$$ SELECT line FROM trace_ext.waterfall(trace, width) AS line WHERE pg_temp.columns(line) > width - 2 OR pg_temp.obeyed(line) OR line ~ '\s$' $$;

-- Three services and an error; points as clients chain them; at 100 columns, at 80, without accesses.
SELECT * FROM waterfall('000000c0-0000-0000-0000-000000000000');
\set batch `cat "$PG_ABS_SRCDIR/data/express-banking.json"`
SELECT * FROM ingest_events(:'batch');
SELECT trace_id AS transfer FROM trace_summaries WHERE root_name = 'POST /api/transfer' AND event_count = 16 ORDER BY trace_id DESC LIMIT 1 \gset
SELECT * FROM waterfall(:'transfer');
SELECT * FROM waterfall(:'transfer', 80);
SELECT * FROM waterfall(:'transfer', 80, accesses => false);
-- With the escapes of a terminal, of which the text is the same.
SELECT replace(w, E'\033', '^') AS colored FROM waterfall(:'transfer', accesses => false, color => true) AS w;
SELECT count(*) FROM (SELECT regexp_replace(w, E'\033\\[[0-9;]*m', '', 'g') FROM waterfall(:'transfer', color => true) AS w EXCEPT SELECT * FROM waterfall(:'transfer')) AS differences;

-- Spans of OpenTelemetry: events in their span, messages to other traces, errors with what they say.
CREATE TEMP TABLE bodies AS SELECT name COLLATE "C", pg_read_binary_file(:'otlp' || '/' || name) AS body FROM pg_ls_dir(:'otlp') AS name WHERE name !~ '[.]txt$';
SELECT sum(inserted) > 500 AS loaded FROM bodies, ingest_otlp(body);
SELECT trace_id AS message FROM trace_links ORDER BY trace_id DESC LIMIT 1 \gset
SELECT linked_trace_id AS sender FROM trace_links WHERE trace_id = :'message' \gset
SELECT * FROM waterfall(:'sender');
SELECT * FROM waterfall(:'message');
SELECT trace_id AS outliving FROM trace_summaries WHERE error_count = 6 ORDER BY trace_id LIMIT 1 \gset
SELECT * FROM waterfall(:'outliving');
SELECT * FROM waterfall(:'outliving', 40);
-- A lost update, from both sides.
SELECT r.event1_trace_id AS lost, r.event2_trace_id AS winning FROM trace_summaries t, find_races(t.trace_id) r
 WHERE t.root_service = 'bank' AND r.kind = 'lost update' ORDER BY r.event1_trace_id, r.event2_trace_id LIMIT 1 \gset
SELECT * FROM waterfall(:'lost');
SELECT * FROM waterfall(:'winning');
-- All that was captured, at all widths.
SELECT width, count(*) AS traces, (SELECT count(*) FROM trace_summaries t, pg_temp.bad_lines(t.trace_id, width)) AS bad FROM unnest(ARRAY[40, 57, 80, 100, 240]) AS width, trace_summaries GROUP BY width ORDER BY width;

-- Locks that are waited for, chains, what outlives, what is missing, no duration at all.
SELECT pg_temp.make('1a', $$
    1 - 0  req  GET_/pay    bank/a 30
    2 1 1  call pay         bank/a 28
    3 2 2  lock alice       bank/a
    4 3 3  read balance     bank/a
    5 4 9  write balance    bank/a
    6 5 10 unlock alice     bank/a
    7 6 11 call mail        bank/a 2
    8 1 1  call audit       bank/b 50
    9 8 2  lock alice       bank/b
    10 9 20 unlock alice    bank/b
    11 99 12 call lost      bank/c 1
    12 1 25 resp 200        bank/a $$) AS id \gset
SELECT * FROM waterfall(:'id');
SELECT pg_temp.make('1b', $$
    1 - 0  call first  a/a
    2 1 0  call second a/a
    3 2 0  do   third  a/a
    4 3 0  call fourth a/a $$) AS id \gset
SELECT * FROM waterfall(:'id');
-- A single point, accesses that have no parents, a name that is missing.
SELECT pg_temp.make('1c', '1 - 0 do - - -') AS id \gset
SELECT * FROM waterfall(:'id');
SELECT pg_temp.make('1d', $$
    1 - 0 read  x a/a
    2 - 1 write x a/b
    3 - 2 read  x a/a $$) AS id \gset
SELECT * FROM waterfall(:'id');
-- A cycle of parents.
SELECT pg_temp.make('1e', $$
    1 2 0 call one a/a 3
    2 1 1 call two a/a 1 $$) AS id \gset
SELECT * FROM waterfall(:'id');
-- From microseconds to years.
SELECT count(pg_temp.make('2' || to_hex(n), format('1 - 0 call x a/a %s', '0.001'::numeric * 10 ^ n))) FROM generate_series(0, 14) AS n;
SELECT w FROM generate_series(0, 14) AS n, waterfall('0000002' || to_hex(n) || '-0000-0000-0000-000000000000') AS w WHERE w !~ 'critical' AND n % 2 = 0;

-- Names that would be obeyed by a terminal, or are long, wide, empty or of the other direction.
CREATE TEMP TABLE hostile (n serial, name text);
INSERT INTO hostile (name) VALUES
    ('root ' || repeat('x', 300)), (E'\x1b[31mred\x1b[0m\x1b]0;title\x07'), (E'one\nline\r\n\ttabbed  twice'),
    (U&'abc \202E gnp.exe \200F mark \2066 isolate'), ('日本語の名前がとても長い場合はどうなりますか日本語の名前がとても長い場合'),
    (U&'\+01F468\200D\+01F469\200D\+01F467 family \2764\FE0F heart'), ('zalgo h' || repeat(U&'\0301\0302\0303\0304', 500) || 'i'),
    (U&'zero\200B\200B\FEFFwidth\00ADsoft'), (repeat('M', 1000000)), (U&'\0085 c1 \009B31m csi \2028 separated \2029'), (''), (' '),
    ('<script>alert(1)</script> ]]> "quotes'' & \\ $$ %s'), ('שלום עולם'), (U&'\FFFE\FDD0 \+01FFFF \FFFB \E000'), (repeat('日', 400000)), (repeat(U&'\0301', 100000));
CREATE FUNCTION pg_temp.hostile_trace(trace uuid, kinds event_kind[]) RETURNS uuid LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, thread_id, duration_ns, attributes)
    SELECT trace, md5(trace || n::text)::uuid, CASE WHEN n > 1 THEN md5(trace || (1 + n % greatest(n / 3, 1))::text)::uuid END, '2002-01-01 00:00+00'::timestamptz + n * interval '1 ms',
           kinds[1 + n % cardinality(kinds)], coalesce(nullif(left(name, CASE WHEN kinds[1 + n % cardinality(kinds)] = 'StateChange' THEN 200 ELSE 2000000 END), ''), CASE WHEN kinds[1 + n % cardinality(kinds)] = 'StateChange' THEN 'v' END), left(name, 60), left(name, 100), n * 1000000,
           jsonb_build_object('access_type', 'Write', 'old_value', left(name, 500), 'new_value', left(name, 501) || '!', 'location', left(name, 5000), 'message', name) FROM hostile;
    SELECT trace $$;
\pset format unaligned
SELECT count(pg_temp.hostile_trace('00000000-0000-4000-8000-00000000bad0', '{FunctionCall}'));
SELECT * FROM waterfall('00000000-0000-4000-8000-00000000bad0');
SELECT count(pg_temp.hostile_trace('00000000-0000-4000-8000-00000000bad1', '{FunctionCall,StateChange,StateChange,Error,Custom,LockAcquire}'));
SELECT * FROM waterfall('00000000-0000-4000-8000-00000000bad1', 120);
\pset format aligned
SELECT width, count(*) FILTER (WHERE b IS NOT NULL) AS bad FROM generate_series(40, 200, 8) AS width,
       unnest(ARRAY['00000000-0000-4000-8000-00000000bad0', '00000000-0000-4000-8000-00000000bad1']::uuid[]) AS t LEFT JOIN LATERAL pg_temp.bad_lines(t, width) AS b ON true GROUP BY width HAVING count(b) > 0;
-- A client without these characters gets ASCII and no error.
SET client_encoding = LATIN1;
SELECT * FROM waterfall(:'outliving');
SELECT count(*) > 20 AS shown, count(*) FILTER (WHERE w ~ '[^ -~]') AS beyond_ascii FROM waterfall('00000000-0000-4000-8000-00000000bad1') AS w;
SET client_encoding = UTF8;

-- Random trees with random names: all lines fit, and each span has its line.
\set seed 0.83
SELECT setseed(:seed);
-- Seed :seed.
CREATE TEMP TABLE random_events AS
SELECT ('000000dd-0000-4000-8000-' || lpad(t::text, 12, '0'))::uuid AS trace, n, floor(random() * n)::int AS parent, (random() * 1000)::int AS at, (random() ^ 4 * 1e9)::bigint AS took,
       (SELECT string_agg(substr(U&'abc \4E2D\6587\001B\0301\202E\00E4\+01F600\0009\200B.,', 1 + floor(random() * 16)::int, 1), '') FROM generate_series(1, (random() * 40)::int + n - n)) AS name
  FROM generate_series(1, 30) AS t, generate_series(1, 40) AS n;
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, thread_id, duration_ns)
SELECT trace, md5(trace || n::text)::uuid, CASE WHEN parent > 0 THEN md5(trace || parent::text)::uuid END, '2003-01-01 00:00+00'::timestamptz + at * interval '1 ms', 'FunctionCall', 'f' || n || ' ' || coalesce(name, ''), 's' || n % 3, 'th' || n, took
  FROM random_events;
SELECT width, count(DISTINCT trace) AS traces, sum((SELECT count(*) FROM pg_temp.bad_lines(trace, width))) AS bad,
       min((SELECT count(DISTINCT m[1]) FROM waterfall(trace, width) AS w, regexp_match(w, '^(?:s\d|    ).*?\m(f\d+)[ …]') AS m)) AS spans
  FROM (SELECT DISTINCT trace FROM random_events) AS t, unnest(ARRAY[60, 100]) AS width GROUP BY width ORDER BY width;

-- More than is shown: what is left out is said, and errors are not.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, thread_id, duration_ns)
SELECT 'b16b16b1-0000-4000-8000-000000000000', md5(n::text)::uuid, CASE WHEN n > 1 THEN md5((n / 10)::text)::uuid END, '2004-01-01 00:00+00'::timestamptz + n * interval '1 us',
       (CASE WHEN n = 17777 THEN 'Error' ELSE 'FunctionCall' END)::event_kind, 'f' || n, 'big', 'th', CASE WHEN n <> 17777 THEN 1000000000 / n END FROM generate_series(1, 20000) AS n WHERE n > 9 OR n = 1;
SELECT count(*) AS lines, count(*) FILTER (WHERE w ~ '! f17777') AS error_shown FROM waterfall('b16b16b1-0000-4000-8000-000000000000') AS w;
SELECT w FROM waterfall('b16b16b1-0000-4000-8000-000000000000') WITH ORDINALITY AS l (w, n) WHERE n <= 5 OR w ~ 'left out|f17777' ORDER BY n;
SELECT count(*) AS bad FROM pg_temp.bad_lines('b16b16b1-0000-4000-8000-000000000000', 80);
-- Many accesses of one span; deeper than is drawn.
SELECT count(*) FROM (SELECT pg_temp.make('3a', '1 - 0 call busy a/a 200' || string_agg(format(E'\n%s 1 %s write v%s a/a', n, n, n), '')) FROM generate_series(2, 150) n) t;
SELECT * FROM waterfall('0000003a-0000-0000-0000-000000000000', 80);
SELECT count(*) FROM (SELECT pg_temp.make('3b', '1 - 0 call top a/a 200' || string_agg(format(E'\n%s %s %s call deep%s a/a %s', n, n - 1, n, n, 200 - n), '')) FROM generate_series(2, 40) n) t;
SELECT * FROM waterfall('0000003b-0000-0000-0000-000000000000', 80);

-- NULL, what is unknown, widths that are none.
SELECT * FROM waterfall(NULL::uuid);
SELECT * FROM waterfall('00000000-0000-0000-0000-000000000099');
SELECT count(*) = (SELECT count(*) FROM waterfall(:'transfer')) AS usual FROM waterfall(:'transfer', NULL, NULL, NULL);
SELECT * FROM waterfall(:'transfer', 39);
SELECT * FROM waterfall(:'transfer', 1001);
SELECT * FROM waterfall(NULL::uuid, -1);
SELECT * FROM waterfall('no id');
SELECT * FROM waterfall(NULL::text);
-- The begin of an id is enough, as it is shown.
SELECT count(*) AS differences FROM (SELECT * FROM waterfall(left(:'transfer', 8)) EXCEPT ALL SELECT * FROM waterfall(:'transfer')) AS d;
SELECT * FROM waterfall('000000dd');
SELECT * FROM waterfall('fffffff0');
-- Readers may look.
SET ROLE trace_ext_reader;
SELECT count(*) > 3 AS shown FROM waterfall(:'transfer');
RESET ROLE;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
