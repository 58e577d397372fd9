-- Random programs in which each thread serves several traces in turn, against an
-- oracle that takes the transitive closure of thread order and lock hand-over. Some
-- traces touch no variable at all and still order others by the locks they take. Another
-- oracle has the definition of opposite lock orders.
\set ECHO none
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET client_min_messages = warning;
\set programs 300
\set seed 0.17
SELECT setseed(:seed);
-- Seed :seed, :programs programs.

TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;

CREATE TEMP TABLE steps (program int, n int, thread int, part int, op text, name text);

-- Locks are taken when free and given back last first; a thread goes on to its next
-- trace only where it holds none.
CREATE FUNCTION pg_temp.make_program(program int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    nthreads int := 3 + floor(random() * 4);
    nlocks int := 1 + floor(random() * 4);
    nvars int := 1 + floor(random() * 5);
    nsteps int := 25 + floor(random() * 35);
    cuts float8 := CASE WHEN random() < 0.5 THEN 0.15 ELSE 0 END;
    locks_only boolean[] := ARRAY(SELECT random() < 0.4 FROM generate_series(1, nthreads));
    part int[] := array_fill(0, ARRAY[nthreads]);
    held text[] := array_fill(''::text, ARRAY[nthreads]);
    is_held boolean[] := array_fill(false, ARRAY[nlocks]);
    done int := 0;
    t int;
    l int;
    dice float8;
BEGIN
    WHILE done < nsteps LOOP
        t := 1 + floor(random() * nthreads);
        dice := random();
        IF held[t] = '' AND random() < cuts THEN
            part[t] := part[t] + 1;
        END IF;
        IF dice < 0.25 THEN
            l := 1 + floor(random() * nlocks);
            CONTINUE WHEN is_held[l];
            is_held[l] := true;
            held[t] := held[t] || l;
            INSERT INTO steps VALUES (program, done, t, part[t], 'acq', 'L' || l);
        ELSIF dice < 0.5 THEN
            CONTINUE WHEN held[t] = '';
            l := right(held[t], 1)::int;
            is_held[l] := false;
            held[t] := left(held[t], -1);
            INSERT INTO steps VALUES (program, done, t, part[t], 'rel', 'L' || l);
        ELSE
            CONTINUE WHEN locks_only[t];
            INSERT INTO steps VALUES (program, done, t, part[t], CASE WHEN random() < 0.4 THEN 'w' ELSE 'r' END,
                                      program || '.V' || floor(random() * nvars));
        END IF;
        done := done + 1;
    END LOOP;
END $$;

CREATE TEMP TABLE wanted (program int, variable text, a int, b int);

-- Everything before step j, as a mask, is what its direct predecessors have before
-- them, and they themselves.
CREATE FUNCTION pg_temp.oracle(which int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before bigint[] := '{}';
    s steps[] := ARRAY(SELECT x FROM steps x WHERE program = which ORDER BY n);
    mask bigint;
BEGIN
    FOR j IN 1..cardinality(s) LOOP
        mask := 0;
        FOR i IN 1..j - 1 LOOP
            IF s[i].thread = s[j].thread OR (s[i].op = 'rel' AND s[j].op = 'acq' AND s[i].name = s[j].name) THEN
                mask := mask | before[i] | (1::bigint << i);
            END IF;
        END LOOP;
        before[j] := mask;
    END LOOP;
    INSERT INTO wanted
    WITH spans AS (SELECT thread, part, min(n) AS first, max(n) AS last FROM steps WHERE program = which GROUP BY 1, 2)
    SELECT which, s[i].name, i, j
      FROM generate_subscripts(s, 1) j, generate_series(1, j - 1) i, spans x, spans y
     WHERE s[i].name = s[j].name AND s[i].thread <> s[j].thread
       AND s[i].op IN ('r', 'w') AND s[j].op IN ('r', 'w') AND 'w' IN (s[i].op, s[j].op)
       AND before[j] & (1::bigint << i) = 0
       AND (x.thread, x.part) = (s[i].thread, s[i].part) AND (y.thread, y.part) = (s[j].thread, s[j].part)
       AND x.first <= y.last AND y.first <= x.last;
END $$;

SELECT count(pg_temp.make_program(p)) AS programs FROM generate_series(1, :programs) p;
CREATE INDEX ON steps (program);
ANALYZE steps;
SELECT count(pg_temp.oracle(p)) AS programs FROM generate_series(1, :programs) p;
SELECT count(*) > 5 * :programs AS enough_pairs, count(DISTINCT program) > 0.5 * :programs AS enough_programs_that_race FROM wanted;

-- In three deliveries, each followed by detect(), whatever belongs together.
SET trace_ext.horizon = '365 d';
CREATE TEMP TABLE ids AS
SELECT program, n + 1 AS nth, md5(program || ' ' || thread || ' ' || part)::uuid AS trace_id, md5(program || ' ' || n)::uuid AS id,
       1 + floor(random() * 3) AS delivery
  FROM steps;
CREATE INDEX ON ids (id);
CREATE INDEX ON ids (program, nth);
ANALYZE ids;
CREATE FUNCTION pg_temp.deliver(which int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
    SELECT i.trace_id, i.id, '2030-01-01 00:00+00'::timestamptz + program * interval '1 minute' + n * interval '1 ms',
           (CASE op WHEN 'acq' THEN 'LockAcquire' WHEN 'rel' THEN 'LockRelease' ELSE 'StateChange' END)::trace_ext.event_kind,
           name, 'svc', 'i1', program, 'T' || thread,
           CASE WHEN op IN ('r', 'w') THEN jsonb_build_object('access_type', CASE op WHEN 'r' THEN 'Read' ELSE 'Write' END) ELSE '{}' END
      FROM steps s JOIN ids i USING (program) WHERE i.nth = s.n + 1 AND i.delivery = which;
    RETURN trace_ext.detect();
END $$;
SELECT pg_temp.deliver(d) > 0 AS delivered FROM generate_series(1, 3) d;
ANALYZE trace_ext.events;

CREATE TEMP TABLE found AS
SELECT DISTINCT a.program, r.variable, a.nth AS a, b.nth AS b
  FROM (SELECT DISTINCT trace_id FROM ids) t, trace_ext.find_races(t.trace_id, 1000000) r
  JOIN ids a ON a.id = r.event1_id JOIN ids b ON b.id = r.event2_id;
SELECT *, 'missing' AS wrong FROM (SELECT * FROM wanted EXCEPT SELECT * FROM found) x
UNION ALL
SELECT *, 'not a race' FROM (SELECT * FROM found EXCEPT SELECT * FROM wanted) x
 LIMIT 10;

SELECT count(*) AS wrong_counts
  FROM (SELECT DISTINCT name FROM steps WHERE op IN ('r', 'w')) s
  LEFT JOIN (SELECT variable, count(*) AS n FROM wanted GROUP BY 1) w ON w.variable = s.name
 WHERE trace_ext.count_variable_races(s.name) <> coalesce(w.n, 0);
SELECT count(*) AS wrong_findings
  FROM (SELECT variable, count(*) AS n FROM wanted GROUP BY 1) w
  FULL JOIN (SELECT variable, sum(occurrences) AS n FROM trace_ext.findings WHERE kind <> 'lock order' GROUP BY 1) f USING (variable)
 WHERE w.n IS DISTINCT FROM f.n;

-- Lock orders, by their definition: a cycle of wants, each under what the next one
-- wants, of threads that hold no lock in common, in traces that ran at one time.
CREATE TEMP TABLE wants AS
SELECT s.program, s.n, s.thread, i.trace_id, s.name AS wanted, t.first, t.last,
       ARRAY(SELECT h.name FROM steps h WHERE h.program = s.program AND h.thread = s.thread AND h.n < s.n
              GROUP BY h.name HAVING count(*) FILTER (WHERE h.op = 'acq') > count(*) FILTER (WHERE h.op = 'rel')) AS held
  FROM steps s JOIN ids i ON i.program = s.program AND i.nth = s.n + 1,
       LATERAL (SELECT min(m.n) AS first, max(m.n) AS last FROM steps m WHERE (m.program, m.thread, m.part) = (s.program, s.thread, s.part)) t
 WHERE s.op = 'acq';
DELETE FROM wants WHERE held = '{}';
CREATE TEMP TABLE arcs AS SELECT w.*, h.name AS under FROM wants w, unnest(held) AS h (name) WHERE h.name <> wanted;
ANALYZE arcs;
CREATE TEMP TABLE lock_orders AS
WITH RECURSIVE way AS (
    SELECT program, ARRAY[under] AS locks, ARRAY[thread] AS threads, ARRAY[trace_id] AS traces, ARRAY[first] AS firsts, ARRAY[last] AS lasts,
           held, wanted, 1 AS length
      FROM arcs
    UNION ALL
    SELECT w.program, w.locks || a.under, w.threads || a.thread, w.traces || a.trace_id, w.firsts || a.first, w.lasts || a.last,
           w.held || a.held, a.wanted, w.length + 1
      FROM way w JOIN arcs a ON a.program = w.program AND a.under = w.wanted
     WHERE w.length < 4 AND a.thread <> ALL (w.threads) AND NOT a.held && w.held
       AND a.under > w.locks[1] AND a.wanted >= w.locks[1] AND NOT a.under = ANY (w.locks)
       AND a.first <= ALL (w.lasts) AND a.last >= ALL (w.firsts)
)
SELECT DISTINCT program, array_to_string(locks, ', ') AS variable, least(traces[1], traces[2]) AS a, greatest(traces[1], traces[2]) AS b
  FROM way WHERE length > 1 AND wanted = locks[1];
SELECT count(*) > 0.07 * :programs AS enough,
       count(*) FILTER (WHERE NOT EXISTS (SELECT FROM trace_ext.events e WHERE e.trace_id IN (a, b) AND e.kind = 'StateChange')) > 5 AS enough_without_accesses
  FROM lock_orders;
SELECT count(*) AS wrong_lock_orders
  FROM (SELECT variable, count(*) AS n FROM lock_orders GROUP BY 1) w
  FULL JOIN (SELECT variable, sum(occurrences) AS n FROM trace_ext.findings WHERE kind = 'lock order' GROUP BY 1) f USING (variable)
 WHERE w.n IS DISTINCT FROM f.n;
SELECT count(*) AS wrong_pairs
  FROM (SELECT variable, a, b FROM lock_orders) w
  FULL JOIN (SELECT f.variable, p.trace1 AS a, p.trace2 AS b FROM trace_ext.race_pairs p JOIN trace_ext.findings f ON f.id = p.finding_id
              WHERE f.kind = 'lock order' AND p.trace1 IS NOT NULL) f USING (variable, a, b)
 WHERE w.variable IS NULL OR f.variable IS NULL;

-- A trace that only hands a lock on, and comes last: what it orders is no finding any more.
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
CREATE FUNCTION pg_temp.event(trace text, ms int, kind trace_ext.event_kind, name text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
    SELECT md5(trace)::uuid, md5(trace || ms)::uuid, '2031-01-01 00:00+00'::timestamptz + ms * interval '1 ms', kind, name,
           'svc', 'i1', 1, trace, CASE kind WHEN 'StateChange' THEN '{"access_type": "Write"}'::jsonb ELSE '{}' END $$;
SELECT count(pg_temp.event(trace, ms, kind::trace_ext.event_kind, name))
  FROM (VALUES ('first', 1, 'LockAcquire', 'L'), ('first', 2, 'StateChange', 'x'), ('first', 3, 'LockRelease', 'L'),
               ('last', 0, 'Custom', 'start'), ('last', 8, 'LockAcquire', 'M'), ('last', 9, 'StateChange', 'x'),
               ('last', 10, 'LockRelease', 'M')) v (trace, ms, kind, name);
SELECT trace_ext.detect();
SELECT kind, variable, occurrences FROM trace_ext.findings;
SELECT count(pg_temp.event(trace, ms, kind::trace_ext.event_kind, name))
  FROM (VALUES ('between', 4, 'LockAcquire', 'L'), ('between', 5, 'LockAcquire', 'M'), ('between', 6, 'LockRelease', 'M'),
               ('between', 7, 'LockRelease', 'L')) v (trace, ms, kind, name);
SELECT count(*) AS unfolded FROM trace_ext.find_races(md5('first')::uuid);
SELECT trace_ext.detect();
SELECT count(*) AS findings FROM trace_ext.findings;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
