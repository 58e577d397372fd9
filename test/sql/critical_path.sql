-- What made a trace take as long as it did.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
\set traces 1000
\set seed 0.42
SELECT setseed(:seed);

-- 1,000 random traces against the definition at the head of critical_path.c, in plain SQL. What lasts how long, what caused
-- what and in which sequence is taken from trace_tree() and causal_order(), which have tests of their own.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, duration_ns, stamped_at_end)
SELECT md5('r' || t)::uuid, md5(t || ' ' || n)::uuid,
       CASE WHEN r[1] < 0.75 THEN md5(t || ' ' || (1 + floor(r[2] * CASE WHEN r[1] < 0.72 THEN n - 1 ELSE size END))::int)::uuid END,
       '2001-01-01 00:00:00+00'::timestamptz + t * interval '1 hour' + floor(r[3] * 30) * interval '1 ms',
       kind, CASE WHEN kind = 'AsyncSpawn' THEN 'task' || n WHEN kind = 'AsyncAwait' THEN 'task' || (1 + floor(r[4] * size))::int
                  WHEN kind IN ('LockAcquire', 'LockRelease') THEN 'l' || floor(r[4] * 2) ELSE 'n' END,
       's', 'i' || floor(r[5] * 1.5), 1, 't' || floor(r[6] * 3),
       CASE WHEN r[7] < 0.6 THEN floor(r[8] * 20) * 1000000 END, r[9] < 0.3
  FROM (SELECT t, n, size, r, ('{FunctionCall,FunctionCall,FunctionCall,HttpRequest,HttpRequest,AsyncSpawn,AsyncAwait,LockAcquire,LockRelease,Custom}'::text[])[1 + floor(r[10] * 10)::int]::event_kind AS kind
          FROM (SELECT t, 1 + t % 15 AS size FROM generate_series(1, :traces) t) s, LATERAL generate_series(1, size) n,
               LATERAL (SELECT array_agg(random() + 0 * (t + n + i)) AS r FROM generate_series(1, 10) i) x) y;

CREATE TEMP TABLE ev AS
SELECT s.trace_id AS tr, o.seq::int AS pos, t.event_id, t.kind, t.name, round(t.start_ms * 1000)::bigint AS s, round((t.start_ms + t.duration_ms) * 1000)::bigint AS f,
       o.strand, e.instance_id AS inst, e.thread_id AS thread, row_number() OVER (PARTITION BY s.trace_id ORDER BY e."timestamp", e.id) AS by_time, coalesce(e.duration_ns, 0) > 0 AS timed, CASE WHEN t.status <> 'cycle' AND t.depth > 0 THEN t.parent_id END AS parent_id,
       NULL::int AS parent, NULL::int AS enc, NULL::int AS answered_spawn, NULL::int AS handover
  FROM trace_summaries s CROSS JOIN LATERAL trace_tree(s.trace_id) t JOIN LATERAL causal_order(s.trace_id) o ON o.event_id = t.event_id
  JOIN events e ON e.id = t.event_id AND e.trace_id = s.trace_id;
CREATE INDEX ON ev (tr, pos);
UPDATE ev SET parent = p.pos FROM ev p WHERE p.tr = ev.tr AND p.event_id = ev.parent_id;
CREATE TEMP TABLE cause AS
SELECT s.trace_id AS tr, e.pos AS e, c.pos AS c
  FROM trace_summaries s CROSS JOIN LATERAL causal_order(s.trace_id) o CROSS JOIN unnest(o.causes) AS id
  JOIN ev c ON c.tr = s.trace_id AND c.event_id = id JOIN ev e ON e.tr = s.trace_id AND e.event_id = o.event_id;
CREATE INDEX ON cause (tr, e);
UPDATE ev SET handover = (
    SELECT r.pos FROM ev r
     WHERE r.tr = ev.tr AND r.kind = 'LockRelease' AND r.name = ev.name AND r.inst = ev.inst AND r.thread <> ev.thread
       AND r.f BETWEEN ev.s - 1000 AND CASE WHEN ev.timed THEN ev.f ELSE coalesce((SELECT n.s FROM ev n WHERE n.tr = ev.tr AND (n.inst, n.thread) = (ev.inst, ev.thread) AND n.by_time > ev.by_time ORDER BY n.by_time LIMIT 1), ev.f) END
     ORDER BY r.f DESC, r.s DESC, r.pos DESC LIMIT 1)
 WHERE kind = 'LockAcquire';
-- It lasts as long as it waited.
UPDATE ev SET f = greatest(s, coalesce((SELECT r.f FROM ev r WHERE r.tr = ev.tr AND r.pos = ev.handover), s)) WHERE kind = 'LockAcquire' AND NOT timed;
UPDATE ev SET f = s WHERE kind = 'AsyncSpawn' AND NOT timed;
-- What came before an acquire, or let it go on.
DELETE FROM cause USING ev e, ev c
 WHERE e.tr = cause.tr AND e.pos = cause.e AND c.tr = cause.tr AND c.pos = cause.c AND e.kind = 'LockAcquire' AND c.kind = 'LockRelease' AND c.name = e.name AND c.inst = e.inst AND c.thread <> e.thread;
UPDATE ev SET enc = x.enc
  FROM (WITH RECURSIVE up AS (
            SELECT tr, pos, f, pos AS at, 0 AS n FROM ev
            UNION ALL
            SELECT up.tr, up.pos, up.f, a.parent, n + 1 FROM up JOIN ev a ON a.tr = up.tr AND a.pos = up.at WHERE a.parent < a.pos)
        SELECT DISTINCT ON (up.tr, up.pos) up.tr, up.pos, a.pos AS enc FROM up JOIN ev a ON a.tr = up.tr AND a.pos = up.at
         WHERE n > 0 AND a.f > a.s AND a.f >= up.f ORDER BY up.tr, up.pos, n) x
 WHERE x.tr = ev.tr AND x.pos = ev.pos;
UPDATE ev SET answered_spawn = s.pos FROM ev s
 WHERE ev.kind = 'AsyncAwait' AND s.tr = ev.tr AND s.kind = 'AsyncSpawn' AND s.name = ev.name AND s.pos < ev.pos
   AND NOT EXISTS (SELECT FROM ev b WHERE b.tr = ev.tr AND b.kind = 'AsyncAwait' AND b.name = ev.name AND b.pos < ev.pos AND b.pos > s.pos);
CREATE TEMP VIEW waited AS
SELECT a.tr, a.e, a.c FROM cause a JOIN ev e ON e.tr = a.tr AND e.pos = a.e JOIN ev c ON c.tr = a.tr AND c.pos = a.c
 WHERE e.kind = 'AsyncAwait' AND c.strand <> e.strand AND e.parent IS DISTINCT FROM a.c AND e.answered_spawn IS DISTINCT FROM a.c;
ANALYZE ev;
ANALYZE cause;

CREATE TEMP TABLE oracle AS
WITH RECURSIVE traces AS (
    SELECT tr, min(s) AS t0, max(f) AS t1 FROM ev GROUP BY tr
), walk AS (
    -- e: where the walk is, NULL in the trace; came: what it came back from; was and gone: entered, left for good.
    SELECT tr, 0 AS n, NULL::int AS e, t1 AS at, t1, t0, NULL::int AS came, false AS at_begin, '{}'::int[] AS was, '{}'::int[] AS gone,
           NULL::int AS acquire, NULL::bigint AS since, NULL::int AS owner, NULL::text AS activity, NULL::bigint AS given_from, NULL::bigint AS given_to, false AS done
      FROM traces
    UNION ALL
    SELECT w.tr, w.n + 1, y.e, greatest(least(y.at, w.at), y.since), w.t1, w.t0, y.came, y.at_begin,
           y.was, y.gone, y.acquire, y.since, CASE WHEN y.waits THEN coalesce(y.owner, y.acquire) ELSE y.owner END,
           CASE WHEN y.waits THEN 'wait for lock' ELSE y.activity END,
           greatest(y.given_from, coalesce(y.since, y.given_from)), w.at, y.done
      FROM walk w
      LEFT JOIN ev c ON c.tr = w.tr AND c.pos = w.e
      LEFT JOIN LATERAL (SELECT c.kind = 'HttpRequest' AND (NOT EXISTS (SELECT FROM ev k WHERE k.tr = w.tr AND k.parent = w.e AND k.inst = c.inst)
                                                            OR EXISTS (SELECT FROM ev k WHERE k.tr = w.tr AND k.pos = c.parent AND k.inst = c.inst)) AS sending) snd ON true
      -- Step 1.
      LEFT JOIN LATERAL (
          SELECT x.*, coalesce(x.pos = c.handover, false) AND w.acquire IS NULL AS begins
            FROM ev x
           WHERE NOT w.at_begin AND x.tr = w.tr AND NOT x.pos = ANY (w.was)
             AND CASE WHEN w.e IS NULL THEN x.enc IS NULL AND (x.f <= w.at OR x.s < w.at)
                      ELSE (x.enc = w.e OR x.pos = c.handover OR EXISTS (SELECT FROM waited d WHERE d.tr = w.tr AND d.e = w.e AND d.c = x.pos)) AND x.f BETWEEN c.s AND w.at END
           ORDER BY x.f DESC, x.s DESC, x.pos DESC LIMIT 1) x ON true
      -- Step 3.
      LEFT JOIN LATERAL (
          SELECT b.*, lead(b.arrives) OVER o AS second
            FROM (SELECT p.pos, p.f, p.s, p.kind, p.strand, p.inst, p.enc, coalesce(p.pos = c.handover, false) AND w.acquire IS NULL AS begins, p.f <= w.at AS finished,
                         CASE WHEN p.f <= w.at THEN p.f
                              ELSE greatest(least(p.s, w.at), (SELECT max(q.f) FROM ev q WHERE q.tr = w.tr AND q.enc = p.pos AND NOT q.pos = ANY (w.was) AND q.f BETWEEN p.s AND w.at)) END AS arrives
                    FROM ev p
                   WHERE w.at_begin AND p.tr = w.tr AND (p.pos IN (SELECT a.c FROM cause a WHERE a.tr = w.tr AND a.e = w.e) OR (p.pos = c.handover AND p.f <= w.at))
                     AND CASE WHEN p.f <= w.at THEN NOT p.pos = ANY (w.was) ELSE NOT p.pos = ANY (w.gone) END) b
          WINDOW o AS (ORDER BY b.arrives DESC, b.finished DESC, b.s DESC, b.pos DESC)
           ORDER BY b.arrives DESC, b.finished DESC, b.s DESC, b.pos DESC LIMIT 1) b ON true
      LEFT JOIN ev around ON around.tr = w.tr AND around.pos = c.enc
      CROSS JOIN LATERAL (
          -- Back to the acquire whose wait was walked through.
          SELECT w.acquire AS e, w.since AS at, NULL::int AS came, true AS at_begin, w.was || w.acquire AS was, w.gone || w.acquire AS gone, NULL::int AS acquire, NULL::bigint AS since,
                 NULL::int AS owner, NULL::text AS activity, w.at AS given_from, false AS done, false AS waits
           WHERE w.acquire IS NOT NULL AND w.at <= w.since
          UNION ALL
          SELECT x.pos, least(x.f, w.at), NULL, false, w.was || x.pos, w.gone, CASE WHEN x.begins THEN w.e ELSE w.acquire END, CASE WHEN x.begins THEN c.s ELSE w.since END,
                 CASE WHEN w.e IS NULL OR (c.kind <> 'AsyncAwait' AND x.f = x.s AND x.strand = c.strand AND x.inst = c.inst) THEN x.pos ELSE w.e END,
                 CASE WHEN w.e IS NULL THEN 'gap' WHEN c.kind = 'AsyncAwait' THEN 'wait for task' WHEN x.inst <> c.inst AND sending THEN 'network' ELSE 'work' END,
                 least(x.f, w.at), false, w.acquire IS NOT NULL
           WHERE NOT (w.acquire IS NOT NULL AND w.at <= w.since) AND NOT w.at_begin AND x.pos IS NOT NULL
          UNION ALL
          SELECT w.e, CASE WHEN w.e IS NULL THEN coalesce(w.since, w.t0) ELSE c.s END, w.came, w.e IS NOT NULL, w.was, CASE WHEN w.e IS NULL THEN w.gone ELSE w.gone || w.e END, w.acquire, w.since,
                 w.e, CASE WHEN w.e IS NULL THEN 'gap' WHEN c.kind = 'AsyncAwait' THEN 'wait for task'
                           WHEN sending AND (SELECT k.inst FROM ev k WHERE k.tr = w.tr AND k.pos = w.came) <> c.inst THEN 'network' ELSE 'work' END,
                 CASE WHEN w.e IS NULL THEN w.t0 ELSE c.s END, w.e IS NULL AND w.acquire IS NULL, w.acquire IS NOT NULL
           WHERE NOT (w.acquire IS NOT NULL AND w.at <= w.since) AND NOT w.at_begin AND x.pos IS NULL
          UNION ALL
          SELECT CASE WHEN b.pos IS NOT NULL THEN b.pos WHEN NOT c.enc = ANY (w.gone) THEN c.enc END, CASE WHEN b.finished THEN b.f ELSE w.at END,
                 CASE WHEN b.finished THEN NULL ELSE w.e END, false,
                 CASE WHEN b.pos IS NOT NULL THEN w.was || b.pos WHEN NOT c.enc = ANY (w.gone) THEN w.was || c.enc ELSE w.was END, w.gone,
                 CASE WHEN b.finished AND b.begins THEN w.e ELSE w.acquire END, CASE WHEN b.finished AND b.begins THEN greatest(b.second, w.t0) ELSE w.since END,
                 CASE WHEN b.begins THEN w.e
                      WHEN c.kind = 'AsyncAwait' AND (b.strand <> c.strand OR NOT EXISTS (SELECT FROM waited d WHERE d.tr = w.tr AND d.e = w.e)) THEN w.e
                      WHEN b.inst <> c.inst OR b.f = b.s OR (b.kind = 'AsyncSpawn' AND b.strand <> c.strand) THEN b.pos WHEN around.s <= b.f THEN around.pos ELSE b.pos END,
                 CASE WHEN c.kind = 'AsyncAwait' AND (b.strand <> c.strand OR NOT EXISTS (SELECT FROM waited d WHERE d.tr = w.tr AND d.e = w.e)) THEN 'wait for task'
                      WHEN b.kind = 'AsyncSpawn' AND b.strand <> c.strand THEN 'wait for task' WHEN b.inst <> c.inst THEN 'network' WHEN b.f = b.s THEN CASE WHEN b.enc IS NULL THEN 'gap' ELSE 'work' END WHEN around.s <= b.f THEN 'work' ELSE 'gap' END,
                 CASE WHEN b.finished THEN b.f ELSE w.at END, false, w.acquire IS NOT NULL OR (b.finished AND b.begins)
           WHERE NOT (w.acquire IS NOT NULL AND w.at <= w.since) AND w.at_begin) y
     WHERE NOT w.done
)
SELECT tr, n, owner, activity, given_from, given_to FROM walk WHERE given_from < given_to;
-- What touches what was given before is one.
CREATE TEMP TABLE expected AS
SELECT tr, owner, activity, min(given_from) AS given_from, max(given_to) AS given_to
  FROM (SELECT *, count(*) FILTER (WHERE starts) OVER (PARTITION BY tr ORDER BY n) AS run
          FROM (SELECT *, (owner, activity) IS DISTINCT FROM (lag(owner) OVER w, lag(activity) OVER w) AS starts FROM oracle WINDOW w AS (PARTITION BY tr ORDER BY n)) a) b
 GROUP BY tr, run, owner, activity;
CREATE TEMP TABLE found AS
SELECT s.trace_id AS tr, p.ordinal, e.pos AS owner, p.activity, round(p.from_ms * 1000)::bigint AS given_from, round(p.to_ms * 1000)::bigint AS given_to, p.contribution_ms
  FROM trace_summaries s CROSS JOIN LATERAL critical_path(s.trace_id) p LEFT JOIN ev e ON e.tr = s.trace_id AND e.event_id = p.event_id;

-- No row, or the seed.
SELECT :seed AS seed, 'missing' AS what, x.* FROM (SELECT * FROM expected EXCEPT ALL SELECT tr, owner, activity, given_from, given_to FROM found) x (tr) LIMIT 5;
SELECT :seed AS seed, 'too much' AS what, x.* FROM (SELECT tr, owner, activity, given_from, given_to FROM found EXCEPT ALL SELECT * FROM expected) x (tr) LIMIT 5;
-- They add up, without a hole.
SELECT :seed AS seed, s.trace_id, s.duration_ms FROM trace_summaries s
 WHERE round(s.duration_ms * 1000) <> (SELECT coalesce(sum(given_to - given_from), 0) FROM found f WHERE f.tr = s.trace_id)
    OR EXISTS (SELECT FROM (SELECT given_from, lag(given_to) OVER (ORDER BY ordinal) AS before FROM found f WHERE f.tr = s.trace_id) g WHERE before <> given_from);
SELECT count(DISTINCT tr) > :traces * 0.9 AS traces, count(*) > 3 * :traces AS steps,
       (SELECT string_agg(DISTINCT activity, ', ' ORDER BY activity) FROM found) AS activities FROM found;

-- By hand. A chain of points; calls one after the other and side by side; a task that outlives who began it; a gap of ten years.
\set lines :abs_srcdir '/data/lines.sql'
\set checkout :abs_srcdir '/data/checkout.sql'
\set file :abs_srcdir '/data/express-banking.json'
TRUNCATE events;
\set ECHO none
\i :lines
\i :checkout
\set ECHO all
SET client_min_messages = notice;
CREATE FUNCTION pg_temp.path(trace uuid) RETURNS TABLE (ordinal int, id text, kind event_kind, name text, from_ms float8, to_ms float8, contribution_ms float8, percent float8, activity text) LANGUAGE sql AS
$$ SELECT ordinal, ltrim(substr(event_id::text, 5, 4), '0'), kind, name, from_ms, to_ms, contribution_ms, percent, activity FROM trace_ext.critical_path(trace) $$;
\set captured `cat :file`
SELECT inserted FROM ingest_events(:'captured'::text);
SELECT kind, name, service_name, from_ms, to_ms, contribution_ms, percent, activity FROM critical_path('30f60205-5172-4ead-9ff8-97d93b4c6b88');
SELECT * FROM pg_temp.path(pg_temp.make('a1', $$
    1 - 0 call root s/t 100
    2 1 10 call first s/t 15
    3 1 30 call second s/t 60
    4 1 40 call beside s/u 20
    5 3 50 query SELECT_1 s/t 30 $$));
SELECT * FROM pg_temp.path(pg_temp.make('a2', $$
    1 - 0 call root s/t 20
    2 1 5 spawn task1 s/t
    3 2 8 call work s/task1 50
    4 1 60 await task1 s/t $$));
SELECT * FROM pg_temp.path(pg_temp.make('a3', $$
    1 - 0 spawn task1 s/t
    2 1 5 write x s/t
    3 2 30 await task1 s/t
    4 3 40 write y s/t $$));
SELECT * FROM pg_temp.path(pg_temp.make('a4', $$
    1 - 0 call a s/t
    2 1 315576000000 call b s/t $$));
-- Nothing linked; one event that took time, and one that took none.
SELECT * FROM pg_temp.path(pg_temp.make('a5', $$
    1 - 0 call a s/t 10
    2 - 5 call b s/u 20
    3 - 40 call c s/v 5 $$));
SELECT * FROM pg_temp.path(pg_temp.make('a6', '1 - 0 call a s/t 10'));
SELECT * FROM pg_temp.path(pg_temp.make('a7', '1 - 0 call a s/t'));
-- Through three services and a lock that another trace held.
SELECT * FROM pg_temp.path('000000c0-0000-0000-0000-000000000000') WHERE contribution_ms > 5;
SELECT ordinal, kind, name, from_ms, to_ms, activity FROM critical_path('000000c0-0000-0000-0000-000000000000', adjust => true) WHERE contribution_ms > 5 AND from_ms > 1420;
-- The ends of time.
INSERT INTO events (trace_id, id, "timestamp", kind, duration_ns) VALUES (plain.id('c8'), plain.id('1'), '4714-11-24 00:00:00+00 BC', 'Custom', 0), (plain.id('c8'), plain.id('2'), '294276-12-31 23:59:59.999999+00', 'Custom', 9223372036854775807);
SELECT * FROM pg_temp.path(plain.id('c8'));
SELECT count(*) FROM trace_anomalies(plain.id('c8'));

SELECT count(*) FROM critical_path(NULL::uuid);
SELECT count(*) FROM critical_path('000000ff-0000-0000-0000-000000000000');
SELECT count(*) FROM critical_path('000000c0-0000-0000-0000-000000000000'::text, 2);
SELECT count(*) FROM critical_path('000000c0-0000-0000-0000-000000000000', NULL);
SELECT count(*) FROM critical_path('000000c0-0000-0000-0000-000000000000', -1);
TRUNCATE events;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
