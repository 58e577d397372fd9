-- What is odd about a trace.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set lines :abs_srcdir '/data/lines.sql'
\set checkout :abs_srcdir '/data/checkout.sql'
\set file :abs_srcdir '/data/express-banking.json'
\set ECHO none
\i :plain
\i :lines
\i :checkout
\set ECHO all
SET client_min_messages = notice;
SET timezone = 'UTC';
CREATE FUNCTION pg_temp.odd(trace uuid) RETURNS TABLE (id text, kind text, severity text, operation text, actual_ms float8, expected_ms float8, score numeric, evidence text) LANGUAGE sql AS
$$ SELECT ltrim(substr(event_id::text, 5, 4), '0'), kind, severity, operation, actual_ms, expected_ms, round(score::numeric, 3), evidence FROM trace_ext.trace_anomalies(trace) $$;
\x on
SELECT * FROM trace_anomalies('000000c0-0000-0000-0000-000000000000');
\x off
\pset format unaligned
-- Nothing about a good one.
SELECT * FROM pg_temp.odd('000000c1-0000-0000-0000-000000000000') WHERE kind <> 'clock contradiction' AND kind <> 'long gap';
-- Errors: where they begin, and whether they came through.
SELECT * FROM pg_temp.odd(pg_temp.make('a1', $$
    1 - 0 req GET_/ s/t
    2 1 1 req GET_http://r/x s/t
    3 2 2 call f r/u 6
    4 3 3 err Broken r/u
    5 2 8 resp 500 s/t
    6 1 9 resp 500 s/t $$));
SELECT * FROM pg_temp.odd(pg_temp.make('a2', $$
    1 - 0 req GET_/ s/t
    2 1 1 req GET_http://r/x s/t
    3 2 8 resp 503 s/t
    4 1 9 resp 200 s/t $$));
SELECT * FROM pg_temp.odd(pg_temp.make('a3', '1 - 0 err Alone s/t'));
-- Queries: five under one, though they chain; four are few, and others.
SELECT * FROM pg_temp.odd(pg_temp.make('a4', $$
    1 - 0 call f s/t 20
    2 1 1 query SELECT_1 s/t 1
    3 2 3 query SELECT_2 s/t 1
    4 3 5 query SELECT_3 s/t 1
    5 4 7 query SELECT_4 s/t 1
    6 5 9 query SELECT_'x' s/t 1
    7 1 11 call g s/t 8
    8 7 11 query SELECT_1 s/t 1
    9 7 13 query SELECT_2 s/t 1
    10 7 14 query SELECT_3 s/t 1
    11 7 15 query SELECT_4 s/t 1
    12 7 16 query SELECT_n s/t 1 $$));
SELECT * FROM pg_temp.odd(pg_temp.make('a5', $$
    1 - 0 call f s/t 20
    2 1 1 query SELECT_1 s/t 1
    3 1 3 query SELECT_2 s/t 1
    4 1 5 query SELECT_3 s/t 1
    5 1 7 query SELECT_4 s/t 1
    6 1 9 query SELECT_5 s/t 1 $$));
-- Tries: three, of which two failed; the last one as well.
SELECT * FROM pg_temp.odd(pg_temp.make('a6', $$
    1 - 0 req GET_/ s/t
    2 1 1 req GET_x s/t
    3 2 2 resp 500 s/t
    4 1 3 req GET_x s/t
    5 4 4 resp 500 s/t
    6 1 5 req GET_x s/t
    7 6 6 resp 500 s/t
    8 1 7 resp 200 s/t $$));
-- Locks: within a trace; where both share it nobody waits; nor where it is free.
SELECT * FROM pg_temp.odd(pg_temp.make('a7', $$
    1 - 0 call f s/t 100
    2 1 1 lock m s/t
    3 1 60 unlock m s/t
    4 1 2 call g s/u 90
    5 4 3 lock m s/u
    6 4 70 unlock m s/u
    7 4 80 lock m s/u
    8 4 81 unlock m s/u $$)) WHERE kind = 'lock wait';
-- Parents that are missing, each once; clocks; gaps.
SELECT * FROM pg_temp.odd(pg_temp.make('a8', $$
    1 - 0 call f s/t
    2 77 1 call g s/t
    3 77 2 call h s/t
    4 78 3 call i s/t $$));
SELECT * FROM pg_temp.odd(pg_temp.make('a9', $$
    1 - 100 call f s/t
    2 1 80 call g s/t
    3 2 70 call h r/t
    4 3 500 call i r/t $$));

\set captured `cat :file`
SELECT inserted FROM ingest_events(:'captured'::text);
SELECT kind, severity, evidence FROM trace_anomalies('30f60205-5172-4ead-9ff8-97d93b4c6b88');
\pset format aligned

SELECT count(*) FROM trace_anomalies(NULL::uuid);
SELECT count(*) FROM trace_anomalies('000000ff-0000-0000-0000-000000000000');
SELECT count(*) FROM trace_anomalies('000000c0-0000-0000-0000-000000000000'::text, 2);
SELECT count(*) FROM trace_anomalies('000000c0-0000-0000-0000-000000000000', NULL);
SELECT count(*) FROM trace_anomalies('000000c0-0000-0000-0000-000000000000', -1);
TRUNCATE events;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
