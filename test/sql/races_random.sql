-- Thousands of small random programs, against an oracle that knows the rules of
-- happens-before only by their definition: it takes the transitive closure of all
-- edges as bit masks, and compares all pairs of accesses.
SET client_min_messages = warning;
\set programs 1500
\set seed 0.42
SELECT setseed(:seed);
-- Seed :seed, :programs programs.

TRUNCATE trace_ext.events;

CREATE TEMP TABLE steps (
    program int, n int, thread int, op text, name text,
    shared boolean,             -- mode of a lock
    outermost boolean,          -- a release that gives the lock to others
    acquires boolean, releases boolean,     -- what an atomic access or fence does
    client_lock boolean);

-- A well-formed program: locks are taken when free, threads run between spawn and
-- await; some locks stay open at the end, and some threads are never awaited.
CREATE FUNCTION pg_temp.make_program(program int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    nthreads int := 2 + floor(random() * 4);
    nsteps int := 30 + floor(random() * 30);
    nvars int := 1 + floor(random() * 3);
    nlocks int := 1 + floor(random() * 2);
    spawned int := 1;
    alive boolean[] := array_fill(true, ARRAY[nthreads]);
    held text[] := array_fill(''::text, ARRAY[nthreads]);       -- stack of 'lock mode' pairs, as '1x1x2s'
    holders int[] := array_fill(0, ARRAY[nlocks]);              -- -1 exclusive, else number of shared holds
    t int;
    l int;
    other int;
    dice float8;
    is_shared boolean;
    done int := 0;
    atomic_op text;
    strong boolean;
BEGIN
    WHILE done < nsteps LOOP
        t := 1 + floor(random() * spawned);
        CONTINUE WHEN NOT alive[t];
        dice := random();
        IF dice < 0.12 AND spawned < nthreads THEN
            spawned := spawned + 1;
            INSERT INTO steps VALUES (program, done, t, 'spawn', spawned);
        ELSIF dice < 0.16 THEN
            other := 2 + floor(random() * (spawned - 1));
            CONTINUE WHEN spawned < 2 OR other = t OR NOT alive[other] OR held[other] <> '';
            alive[other] := false;
            INSERT INTO steps VALUES (program, done, t, 'await', other);
        ELSIF dice < 0.30 THEN
            l := 1 + floor(random() * nlocks);
            IF held[t] LIKE '%' || l || 'x%' THEN
                CONTINUE WHEN random() < 0.5;
                held[t] := held[t] || l || 'x';         -- re-entry
                INSERT INTO steps VALUES (program, done, t, 'acq', 'L' || l, false);
            ELSE
                is_shared := random() < 0.4;
                CONTINUE WHEN held[t] LIKE '%' || l || 's%' OR holders[l] < 0 OR (NOT is_shared AND holders[l] > 0);
                holders[l] := CASE WHEN is_shared THEN holders[l] + 1 ELSE -1 END;
                held[t] := held[t] || l || CASE WHEN is_shared THEN 's' ELSE 'x' END;
                INSERT INTO steps VALUES (program, done, t, 'acq', 'L' || l, is_shared);
            END IF;
        ELSIF dice < 0.45 THEN
            CONTINUE WHEN held[t] = '';
            l := left(right(held[t], 2), 1)::int;
            is_shared := right(held[t], 1) = 's';
            held[t] := left(held[t], -2);
            INSERT INTO steps VALUES (program, done, t, 'rel', 'L' || l, is_shared, held[t] NOT LIKE '%' || l || 'x%');
            IF is_shared THEN
                holders[l] := holders[l] - 1;
            ELSIF held[t] NOT LIKE '%' || l || 'x%' THEN
                holders[l] := 0;
            END IF;
        ELSIF dice < 0.62 THEN
            atomic_op := (ARRAY['ar', 'aw', 'rmw', 'fence'])[1 + floor(random() * 4)];
            strong := random() < 0.5;
            INSERT INTO steps VALUES (program, done, t, atomic_op, 'F' || floor(random() * 2), NULL, NULL,
                                      atomic_op <> 'aw' AND (strong OR random() < 0.2),
                                      atomic_op <> 'ar' AND (strong OR random() < 0.2));
        ELSE
            INSERT INTO steps VALUES (program, done, t, CASE WHEN random() < 0.4 THEN 'w' ELSE 'r' END,
                                      CASE WHEN random() < 0.1 THEN 'F0' ELSE 'V' || floor(random() * nvars) END,
                                      NULL, NULL, false, false, random() < 0.15);
        END IF;
        done := done + 1;
    END LOOP;
END $$;

CREATE TEMP TABLE wanted (program int, a int, b int);

-- Everything before step j, as a mask, is what its direct predecessors have before
-- them, and they themselves.
CREATE FUNCTION pg_temp.oracle(which int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before bigint[] := '{}';
    s steps[] := ARRAY(SELECT x FROM steps x WHERE program = which ORDER BY n);
    mask bigint;
    fenced boolean;
BEGIN
    FOR j IN 1..cardinality(s) LOOP
        mask := 0;
        FOR i IN 1..j - 1 LOOP
            CONTINUE WHEN mask & (1::bigint << i) <> 0;
            IF s[i].thread = s[j].thread
               OR (s[i].op = 'spawn' AND s[i].name::int = s[j].thread)
               OR (s[j].op = 'await' AND s[i].thread = s[j].name::int)
               OR (s[j].op = 'await' AND s[i].op = 'spawn' AND s[i].name = s[j].name)
               OR (s[j].op = 'acq' AND s[i].op = 'rel' AND s[i].name = s[j].name AND s[i].outermost
                   AND NOT (s[i].shared AND s[j].shared))
               OR pg_temp.synchronizes(s, i, j)
            THEN
                mask := mask | before[i] | (1::bigint << i);
            END IF;
        END LOOP;
        before[j] := mask;
    END LOOP;
    INSERT INTO wanted
    SELECT which, i, j
      FROM generate_subscripts(s, 1) j, generate_series(1, j - 1) i
     WHERE s[i].name = s[j].name AND s[i].thread <> s[j].thread
       AND s[i].op IN ('r', 'w', 'ar', 'aw', 'rmw') AND s[j].op IN ('r', 'w', 'ar', 'aw', 'rmw')
       AND (s[i].op IN ('w', 'aw', 'rmw') OR s[j].op IN ('w', 'aw', 'rmw'))
       AND NOT (s[i].op IN ('ar', 'aw', 'rmw') AND s[j].op IN ('ar', 'aw', 'rmw'))
       AND NOT coalesce(s[i].client_lock AND s[j].client_lock, false)
       AND before[j] & (1::bigint << i) = 0;
END $$;

-- C11: i is a release-write or a release fence before an atomic write; j is an
-- acquire-read or an acquire fence after an atomic read; the read comes after the write.
CREATE FUNCTION pg_temp.synchronizes(s steps[], i int, j int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT coalesce(s[i].releases, false) OR NOT coalesce(s[j].acquires, false) THEN
        RETURN false;
    END IF;
    FOR w IN i..j - 1 LOOP
        CONTINUE WHEN s[w].op NOT IN ('aw', 'rmw') OR s[w].thread <> s[i].thread
                   OR NOT (w = i OR (s[i].op = 'fence' AND w > i));
        FOR r IN w + 1..j LOOP
            IF s[r].op IN ('ar', 'rmw') AND s[r].name = s[w].name AND s[r].thread = s[j].thread
               AND (r = j OR s[j].op = 'fence') THEN
                RETURN true;
            END IF;
        END LOOP;
    END LOOP;
    RETURN false;
END $$;

SELECT count(pg_temp.make_program(p)) AS programs FROM generate_series(1, :programs) p;
CREATE INDEX ON steps (program);
ANALYZE steps;
SELECT count(pg_temp.oracle(p)) AS programs FROM generate_series(1, :programs) p;
SELECT count(*) > 10 * :programs AS enough_pairs, count(DISTINCT program) > 0.8 * :programs AS enough_programs_that_race FROM wanted;

-- Odd programs: parents, as a client that chains events sends them, and tasks with
-- ids of their own. Even programs: no parents, tasks are named by their threads.
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id,
                              thread_id, attributes, lock_set)
SELECT md5('program ' || program)::uuid, md5(program || ' ' || n)::uuid,
       CASE WHEN program % 2 = 1 THEN md5(program || ' ' || coalesce(
           lag(n) OVER (PARTITION BY program, thread ORDER BY n),
           (SELECT x.n FROM steps x WHERE x.program = s.program AND x.op = 'spawn' AND x.name = s.thread::text)))::uuid END,
       '2030-01-01 00:00+00'::timestamptz + program * interval '1 minute' + n * interval '1 ms',
       (CASE op WHEN 'spawn' THEN 'AsyncSpawn' WHEN 'await' THEN 'AsyncAwait' WHEN 'acq' THEN 'LockAcquire'
                WHEN 'rel' THEN 'LockRelease' WHEN 'fence' THEN 'MemoryFence' ELSE 'StateChange' END)::trace_ext.event_kind,
       CASE WHEN op IN ('spawn', 'await') THEN CASE WHEN program % 2 = 1 THEN 'task ' ELSE 'T' END || name
            WHEN op = 'fence' THEN ordering
            WHEN op IN ('acq', 'rel') THEN name
            ELSE program || '.' || name END,
       'svc', 'i1', program, 'T' || thread,
       jsonb_strip_nulls(jsonb_build_object(
           'access_type', CASE op WHEN 'r' THEN 'Read' WHEN 'w' THEN 'Write' WHEN 'ar' THEN 'AtomicRead'
                                  WHEN 'aw' THEN 'AtomicWrite' WHEN 'rmw' THEN 'AtomicRMW' END,
           'lock_type', CASE WHEN op IN ('acq', 'rel') THEN CASE WHEN shared THEN 'RwLock::Read' ELSE 'RwLock::Write' END END,
           'ordering', ordering)),
       CASE WHEN client_lock THEN ARRAY['client'] END
  FROM (SELECT *, CASE WHEN op IN ('ar', 'aw', 'rmw', 'fence') THEN
                       CASE WHEN acquires AND releases THEN 'AcqRel' WHEN acquires THEN 'Acquire'
                            WHEN releases THEN 'Release' ELSE 'Relaxed' END END AS ordering
          FROM steps) s
 ORDER BY md5(program || ' ' || n);

ANALYZE trace_ext.events;
CREATE TEMP TABLE ids AS SELECT md5(program || ' ' || n)::uuid AS id, program, n + 1 AS nth FROM steps;
CREATE INDEX ON ids (id);
ANALYZE ids;
CREATE TEMP TABLE found AS
SELECT a.program, a.nth AS a, b.nth AS b
  FROM generate_series(1, :programs) p, trace_ext.find_races(md5('program ' || p)::uuid, 1000000) r
  JOIN ids a ON a.id = r.event1_id JOIN ids b ON b.id = r.event2_id;

-- No pair missing, none too many, none twice.
SELECT program, a, b, 'missing' AS wrong FROM (SELECT * FROM wanted EXCEPT SELECT * FROM found) x
UNION ALL
SELECT program, a, b, 'not a race' FROM (SELECT * FROM found EXCEPT SELECT * FROM wanted) x
UNION ALL
SELECT program, a, b, 'twice' FROM found GROUP BY 1, 2, 3 HAVING count(*) > 1
 LIMIT 10;

CREATE INDEX ON wanted (program);
-- Counts without walking the pairs, and the audit trail's view of the same.
SELECT count(*) AS wrong_counts
  FROM generate_series(1, 500) p
  LEFT JOIN (SELECT program, count(*) AS n FROM wanted GROUP BY program) w ON w.program = p
 WHERE trace_ext.count_races(md5('program ' || p)::uuid) <> coalesce(w.n, 0);
SELECT count(*) AS wrong_marks
  FROM generate_series(1, 500) p, unnest('{V0,V1,V2,F0}'::text[]) v,
       trace_ext.audit_trail(md5('program ' || p)::uuid, p || '.' || v) t JOIN ids ON ids.id = t.event_id
 WHERE t.in_race <> EXISTS (SELECT FROM wanted w WHERE w.program = ids.program AND ids.nth IN (w.a, w.b));
