-- What caused what in a trace.
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
CREATE FUNCTION pg_temp.causes(trace uuid) RETURNS TABLE (seq bigint, id text, kind event_kind, name text, strand int, causes text, step_ms float8) LANGUAGE sql AS
$$ SELECT seq, ltrim(substr(event_id::text, 5, 4), '0'), kind, name, strand, (SELECT string_agg(ltrim(substr(c::text, 5, 4), '0'), ' ' ORDER BY n) FROM unnest(causes) WITH ORDINALITY AS u (c, n)), step_ms FROM trace_ext.causal_order(trace) $$;

-- Parent, the event before in the strand, spawn and await, the hand-over of a lock; a clock that steps back.
SELECT * FROM pg_temp.causes(pg_temp.make('a1', $$
    1 - 0 call main s/t
    2 1 1 spawn task1 s/t
    3 2 3 read x s/task1
    4 3 9 write x s/task1
    5 2 10 await task1 s/t
    6 5 20 lock m s/t
    7 6 25 unlock m s/t
    8 - 12 call other s/u
    9 8 22 lock m s/u
    10 9 30 unlock m s/u
    11 7 24 call late s/t $$));
-- Messages between spans: to the callee, and back.
SELECT * FROM pg_temp.causes(pg_temp.make('a2', $$
    1 - 0 call main s/t - s1
    2 1 1 req GET_http://r/x s/t - s1
    3 - 5 req GET_/x r/u - s2 s1
    4 3 6 query SELECT_1 r/u 2 s2 s1
    5 4 8 resp 200 r/u - s2 s1
    6 2 12 resp 200 s/t - s1 $$));
-- An end that comes after what it contains: its begin counts.
SELECT * FROM pg_temp.causes(pg_temp.make('a3', $$
    1 - 20 call f s/t 20!
    2 1 5 read x s/t $$));
-- Cycles, orphans, ids that occur twice, nothing linked.
SELECT * FROM pg_temp.causes(pg_temp.make('a4', $$
    1 2 0 call a s/t
    2 1 1 call b s/t
    3 9 2 call c s/u
    4 3 3 call d s/u
    4 3 4 call d s/v
    5 - 5 call e s/w $$));

-- Every cause comes before its effect, and every parent is one, in all traces at hand.
\set captured `cat :file`
SELECT inserted FROM ingest_events(:'captured'::text);
WITH o AS (SELECT s.trace_id, c.* FROM trace_summaries s, LATERAL causal_order(s.trace_id) c)
SELECT count(*) > 100 AS events,
       count(*) FILTER (WHERE EXISTS (SELECT FROM unnest(o.causes) AS id WHERE NOT EXISTS (SELECT FROM o b WHERE b.trace_id = o.trace_id AND b.event_id = id AND b.seq < o.seq))) AS with_a_later_cause,
       count(*) FILTER (WHERE e.parent_id <> ALL (o.causes) AND e.parent_id <> e.id AND EXISTS (SELECT FROM events p WHERE p.trace_id = e.trace_id AND p.id = e.parent_id)) AS without_their_parent
  FROM o JOIN events e ON e.trace_id = o.trace_id AND e.id = o.event_id AND e."timestamp" = o."timestamp" WHERE o.trace_id <> plain.id('a4');

SELECT count(*) FROM causal_order(NULL::uuid);
SELECT count(*) FROM causal_order('000000ff-0000-0000-0000-000000000000');
SELECT count(*) FROM causal_order('000000c0-0000-0000-0000-000000000000'::text, 2);
SELECT count(*) FROM causal_order('000000c0-0000-0000-0000-000000000000', NULL);
SELECT count(*) FROM causal_order('000000c0-0000-0000-0000-000000000000', -1);
TRUNCATE events;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
