-- What happened in a trace: its tree, and how long what is answered lasted.
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
CREATE FUNCTION pg_temp.tree(trace uuid) RETURNS TABLE (depth int, label text, start_ms float8, duration_ms float8, self_ms float8, child_count int, status text) LANGUAGE sql AS
$$ SELECT depth, label, start_ms, duration_ms, self_ms, child_count, status FROM trace_ext.trace_tree(trace) $$;

-- A nested one through three services, with the clock of one ahead, and then adjusted.
SELECT * FROM pg_temp.tree('000000c0-0000-0000-0000-000000000000');
SELECT ordinal, event_id, parent_id, kind, name, service_name, start_ms FROM trace_tree('000000c0-0000-0000-0000-000000000000', adjust => true) WHERE service_name = 'payment' AND kind = 'HttpRequest';
SELECT * FROM clock_offsets('000000c0-0000-0000-0000-000000000000');
-- Stored times stay.
SELECT min(start_ms) FROM trace_tree('000000c0-0000-0000-0000-000000000000') WHERE service_name = 'payment';

-- What a client captured: a chain reads as a list.
\set captured `cat :file`
SELECT inserted FROM ingest_events(:'captured'::text);
SELECT * FROM pg_temp.tree('30f60205-5172-4ead-9ff8-97d93b4c6b88');

-- Answers: at the end of a chain; beside the request; nested, interleaved, of one parent; by how long it took; in no tree at all; missing; before its request by the clock.
SELECT * FROM pg_temp.tree(pg_temp.make('a1', $$
    1 - 0 req GET_/ s/t
    2 1 1 query SELECT_1 s/t
    3 2 4 result - s/t
    4 3 5 req GET_/inner s/t
    5 4 6 call f s/t
    6 5 9 resp 200 s/t
    7 6 10 resp 500 s/t $$));
SELECT * FROM pg_temp.tree(pg_temp.make('a2', $$
    1 - 0 req GET_/ s/t
    2 1 1 req GET_a s/t
    3 1 2 req GET_b s/t
    4 2 5 resp 201 s/t
    5 3 8 resp 202 s/t
    6 1 9 query SELECT_1 s/t
    7 1 11 result - s/t
    8 1 20 resp 200 s/t $$));
SELECT * FROM pg_temp.tree(pg_temp.make('a3', $$
    1 - 0 req GET_/a s/t
    2 - 3 req GET_/b s/t
    3 - 9 resp 201 s/t 9!
    4 - 12 resp 202 s/t $$));
SELECT * FROM pg_temp.tree(pg_temp.make('a4', $$
    1 - 0 req GET_/a s/t
    2 1 1 query SELECT_1 s/t
    3 - 2 resp 200 r/u $$));
SELECT * FROM pg_temp.tree(pg_temp.make('a5', $$
    1 - 5 req GET_/a s/t
    2 1 3 resp 200 s/t $$));
-- The same span by several threads; a request of one service is not answered by another one.
SELECT * FROM pg_temp.tree(pg_temp.make('a6', $$
    1 - 0 req GET_/a s/t - s1
    2 - 1 req GET_/a r/t - s2 s1
    3 - 4 resp 200 r/u - s2 s1
    4 - 6 resp 200 s/u - s1 $$));
-- Tasks and locks, by their names; re-entrant, by another thread, and left open.
SELECT * FROM pg_temp.tree(pg_temp.make('a7', $$
    1 - 0 call main s/t 30
    2 1 1 spawn task1 s/t
    3 1 2 spawn task2 s/t
    4 1 9 await task2 s/t
    5 1 12 await task1 s/t
    6 1 13 lock m s/t
    7 1 14 lock m s/t
    8 1 15 unlock m s/t
    9 1 17 unlock m s/t
    10 1 18 lock n s/t
    11 1 19 unlock n s/v
    12 1 20 lock o s/t
    13 1 21 await task1 s/t $$));
-- Both say how long: the time is the request's, and counted once.
SELECT * FROM pg_temp.tree(pg_temp.make('a8', $$
    1 - 0 req GET_/ s/t 10
    2 1 10 resp 200 s/t 10! $$));

-- Time of its own: what no child covers, though they overlap, reach out, or lie outside.
SELECT * FROM pg_temp.tree(pg_temp.make('b1', $$
    1 - 10 call f s/t 100
    2 1 20 call a s/u 20
    3 1 30 call b s/v 20
    4 1 100 call c s/w 50
    5 1 0 call d s/x 15
    6 1 170 call e s/y 5
    7 2 25 call g s/u 5 $$));

-- Cycles, a cycle of one, orphans, an id that occurs twice, no parent links, one event.
SELECT * FROM pg_temp.tree(pg_temp.make('c3', $$
    1 3 0 call a s/t
    2 1 1 call b s/t
    3 2 2 call c s/t
    4 4 3 call own s/t
    5 9 4 err Broken s/t
    6 9 5 call orphan s/t
    7 6 6 call below s/t $$));
SELECT * FROM pg_temp.tree(pg_temp.make('c4', $$
    1 - 0 call a s/t
    2 1 1 call b s/t
    2 1 5 call b s/t
    3 2 6 call c s/t $$));
SELECT * FROM pg_temp.tree(pg_temp.make('c5', $$
    1 - 0 call a s/t
    2 - 1 write x s/t
    3 - 2 call - s/u $$));
SELECT * FROM pg_temp.tree(pg_temp.make('c6', '1 - 0 do - s/t'));
-- Ten years of nothing; the ends of time.
SELECT pg_temp.make('c7', $$
    1 - 0 call a s/t
    2 1 315576000000 call b s/t $$) AS t \gset
SELECT label, start_ms FROM trace_tree(:'t');
INSERT INTO events (trace_id, id, "timestamp", kind, duration_ns) VALUES (plain.id('c8'), plain.id('1'), '4714-11-24 00:00:00+00 BC', 'Custom', 0), (plain.id('c8'), plain.id('2'), '294276-12-31 23:59:59.999999+00', 'Custom', 9223372036854775807);
SELECT label, start_ms, duration_ms FROM trace_tree(plain.id('c8'));

-- Deeper than it is drawn; names that are long, or have lines.
SELECT pg_temp.make('d1', (SELECT string_agg(format('%s %s %s call f%s s/t%s 1', n, coalesce((n - 1)::text, '-'), n, n, n), E'\n') FROM generate_series(1, 20) n)) AS t \gset
SELECT depth, label FROM trace_tree(:'t') WHERE depth > 11;
INSERT INTO events (trace_id, id, "timestamp", kind, name) VALUES (plain.id('d2'), plain.id('1'), '2001-01-01+00', 'DatabaseQuery', E'SELECT 1,\n\t2' || repeat('ü', 100));
SELECT label, length(name) FROM trace_tree(plain.id('d2'));
-- Tree, chain and tree again.
SELECT pg_temp.make('d3', $$
    1 - 0 call root s/t 100
    2 1 1 read x s/t
    3 2 2 read y s/t
    4 3 3 call f s/t 10
    5 4 4 query q1 s/t 1
    6 4 6 query q2 s/t 1
    7 1 50 call g s/t 5 $$) AS t \gset
SELECT depth, label FROM trace_tree(:'t');

-- Other traces of the request: by the span that called, and on; by a span that they share. Not another request's.
SELECT count(*) FROM (VALUES (pg_temp.make('e1', $$
    1 - 0 req GET_/ front/t 100 p1
    2 1 10 req GET_http://back/x front/t 80 p1 $$)),
    (pg_temp.make('e2', $$
    1 - 20 req GET_/x back/t 50 p2 p1
    2 1 30 query SELECT_1 back/t 5 p2 p1 $$)),
    (pg_temp.make('e3', $$
    1 - 40 do consume queue/t 20 p3 p2 $$)),
    (pg_temp.make('e4', $$
    1 - 50 do log front/u 1 p1 $$)),
    (pg_temp.make('e5', $$
    1 - 20 req GET_/x back/t 50 p8 p9 $$))) AS made;
SELECT depth, label, start_ms, parent_id IS NULL AS no_parent FROM trace_tree(plain.id('e1'), merge => true);
SELECT depth, label FROM trace_tree(plain.id('e1'));
-- In one trace as well.
SELECT pg_temp.make('e6', $$
    1 - 0 req GET_http://back/x front/t 80 p1
    2 - 20 req GET_/x back/t 50 p2 p1 $$, '2002-01-01') AS t \gset
SELECT depth, label FROM trace_tree(:'t', merge => true);

-- How many rows; which trace.
SELECT ordinal FROM trace_tree('000000c0-0000-0000-0000-000000000000', 2);
SELECT count(*) FROM trace_tree('000000c0-0000-0000-0000-000000000000', 0);
SELECT count(*) FROM trace_tree('000000c0-0000-0000-0000-000000000000', NULL, NULL, NULL);
SELECT count(*) FROM trace_tree('000000c0-0000-0000-0000-000000000000', -1);
SELECT count(*) FROM trace_tree(NULL::uuid);
SELECT count(*) FROM trace_tree('000000ff-0000-0000-0000-000000000000');
SELECT count(*) FROM clock_offsets(NULL::uuid);
SELECT count(*) FROM clock_offsets('000000ff-0000-0000-0000-000000000000'::text);
-- What is not committed, and what is taken back.
BEGIN;
INSERT INTO events (trace_id, id, "timestamp", kind, name) VALUES (plain.id('f1'), plain.id('1'), '2001-01-01+00', 'Custom', 'mine');
SELECT label FROM trace_tree(plain.id('f1'));
ROLLBACK;
SELECT label FROM trace_tree(plain.id('f1'));
TRUNCATE events;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
