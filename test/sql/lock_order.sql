-- Locks that are taken in opposite orders: deadlocks that have not happened yet.
\set ECHO none
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
\getenv inputdir PG_ABS_SRCDIR
\set programs :inputdir '/data/programs.sql'
SET client_min_messages = warning;
\i :programs

-- An acquire says where it is, if the line does (loc=).
ALTER FUNCTION pg_temp.attributes_of(text, text, text) RENAME TO attributes_without_loc;
CREATE FUNCTION pg_temp.attributes_of(op text, name text, line text) RETURNS jsonb LANGUAGE sql AS
$$ SELECT pg_temp.attributes_without_loc(op, name, line) ||
          jsonb_strip_nulls(jsonb_build_object('location', CASE op WHEN 'acq' THEN pg_temp.option_of(line, 'loc') END)) $$;
-- What detect() finds in a program alone: the locks, the two acquires, how often.
CREATE FUNCTION pg_temp.detected(this int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM trace_ext.detect();
    RETURN coalesce((
        SELECT string_agg(format('%s: %s-%s, %s', f.variable, a.label, b.label, f.occurrences), '; ' ORDER BY f.variable, a.label, b.label)
          FROM trace_ext.findings f
          JOIN program_events a ON a.run = this AND a.id = f.event1_id
          JOIN program_events b ON b.run = this AND b.id = f.event2_id
         WHERE f.kind = 'lock order'), 'none');
END $$;
CREATE FUNCTION pg_temp.lock_orders(program text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
    RETURN pg_temp.detected(pg_temp.load_program(program));
END $$;

-- Two threads, opposite orders. Nothing happened: the one was done before the other began.
SELECT pg_temp.lock_orders($$
    a - T1 acq x loc=app.py:10
    b - T1 acq y loc=app.py:11
    c - T1 rel y
    d - T1 rel x
    e - T2 acq y loc=app.py:20
    f - T2 acq x loc=app.py:21
    g - T2 rel x
    h - T2 rel y$$);
SELECT kind, variable, location1, location2, severity, confidence, confirmed, occurrences, last_seen - first_seen AS apart,
       regexp_replace(evidence, 'trace [0-9a-f]{8}', 'trace ########', 'g') AS evidence
  FROM trace_ext.global_races() \gx
-- The same order.
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    b - T1 acq y
    c - T1 rel y
    d - T1 rel x
    e - T2 acq x
    f - T2 acq y
    g - T2 rel x
    h - T2 rel y$$);
-- Rows of tables: told once for the code that takes them in any order, by their tables.
SELECT pg_temp.lock_orders($$
    a - T1 acq row:s.t[1] loc=pay
    b - T1 acq row:s.t[2] loc=pay
    c - T1 rel row:s.t[2]
    d - T1 rel row:s.t[1]
    e - T2 acq row:s.t[2] loc=pay
    f - T2 acq row:s.t[1] loc=pay
    g - T2 rel row:s.t[1]
    h - T2 rel row:s.t[2]
    i - T1 acq row:s.t[3] loc=pay
    j - T1 acq row:s.t[4] loc=pay
    k - T1 rel row:s.t[4]
    l - T1 rel row:s.t[3]
    m - T2 acq row:s.t[4] loc=pay
    n - T2 acq row:s.t[3] loc=pay
    o - T2 rel row:s.t[3]
    p - T2 rel row:s.t[4]$$);
-- In one order: not at all. Of two tables, one named with a bracket; and what only begins as a row does.
SELECT pg_temp.lock_orders($$
    a - T1 acq row:s.t[1]
    b - T1 acq row:s.t[2]
    c - T1 rel row:s.t[2]
    d - T1 rel row:s.t[1]
    e - T2 acq row:s.t[1]
    f - T2 acq row:s.t[2]
    g - T2 rel row:s.t[2]
    h - T2 rel row:s.t[1]$$);
SELECT pg_temp.lock_orders($$
    a - T1 acq row:s."t[1]"[1]
    b - T1 acq row:s.u[[]
    c - T1 rel row:s.u[[]
    d - T1 rel row:s."t[1]"[1]
    e - T2 acq row:s.u[[]
    f - T2 acq row:s."t[1]"[1]
    g - T2 rel row:s."t[1]"[1]
    h - T2 rel row:s.u[[]
    i - T1 acq row:
    j - T1 acq row:[x
    k - T1 rel row:[x
    l - T1 rel row:
    m - T2 acq row:[x
    n - T2 acq row:
    o - T2 rel row:
    p - T2 rel row:[x$$);
-- Not one under the other.
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    b - T1 rel x
    c - T1 acq y
    d - T1 rel y
    e - T2 acq y
    f - T2 acq x
    g - T2 rel x
    h - T2 rel y$$);
-- Under one gate.
SELECT pg_temp.lock_orders($$
    o - T1 acq gate
    a - T1 acq x
    b - T1 acq y
    c - T1 rel y
    d - T1 rel x
    p - T1 rel gate
    q - T2 acq gate
    e - T2 acq y
    f - T2 acq x
    g - T2 rel x
    h - T2 rel y
    r - T2 rel gate$$);
-- A gate that is let go before is none; nor is one that both share.
SELECT pg_temp.lock_orders($$
    o - T1 acq gate
    a - T1 acq x
    p - T1 rel gate
    b - T1 acq y
    c - T1 rel y
    d - T1 rel x
    q - T2 acq gate
    e - T2 acq y
    r - T2 rel gate
    f - T2 acq x
    g - T2 rel x
    h - T2 rel y$$);
SELECT pg_temp.lock_orders($$
    o - T1 acq gate type=RWLock-Read
    a - T1 acq x
    b - T1 acq y
    c - T1 rel y
    d - T1 rel x
    p - T1 rel gate type=RWLock-Read
    q - T2 acq gate type=RWLock-Read
    e - T2 acq y
    f - T2 acq x
    g - T2 rel x
    h - T2 rel y
    r - T2 rel gate type=RWLock-Read$$);
-- But one that one of them takes as a writer is.
SELECT pg_temp.lock_orders($$
    o - T1 acq gate type=RWLock-Read
    a - T1 acq x
    b - T1 acq y
    c - T1 rel y
    d - T1 rel x
    p - T1 rel gate type=RWLock-Read
    q - T2 acq gate type=RWLock-Write
    e - T2 acq y
    f - T2 acq x
    g - T2 rel x
    h - T2 rel y
    r - T2 rel gate type=RWLock-Write$$);

-- Ordered by a spawn.
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    b a T1 acq y
    c b T1 rel y
    d c T1 rel x
    s d T1 spawn job
    e s T2 acq y task=job
    f e T2 acq x task=job
    g f T2 rel x task=job
    h g T2 rel y task=job$$);
-- Spawned before: not ordered.
SELECT pg_temp.lock_orders($$
    s - T1 spawn job
    a s T1 acq x
    b a T1 acq y
    c b T1 rel y
    d c T1 rel x
    e s T2 acq y task=job
    f e T2 acq x task=job
    g f T2 rel x task=job
    h g T2 rel y task=job$$);
-- Ordered by an await.
SELECT pg_temp.lock_orders($$
    s - T1 spawn job
    e s T2 acq y task=job
    f e T2 acq x task=job
    g f T2 rel x task=job
    h g T2 rel y task=job
    w s T1 await job
    a w T1 acq x
    b a T1 acq y
    c b T1 rel y
    d c T1 rel x$$);
-- Ordered by a message: the caller is done before it calls. Locks that all share, else they were two.
SELECT pg_temp.lock_orders($$
    r - web/i1/T1 req GET_/a span=s1
    a r web/i1/T1 acq redis:x
    b a web/i1/T1 acq redis:y
    c b web/i1/T1 rel redis:y
    d c web/i1/T1 rel redis:x
    m d web/i1/T1 req GET_/b span=s1
    n - api/i2/T1 req GET_/b span=s2 up=s1
    e n api/i2/T1 acq redis:y
    f e api/i2/T1 acq redis:x
    g f api/i2/T1 rel redis:x
    h g api/i2/T1 rel redis:y$$);
SELECT pg_temp.lock_orders($$
    r - web/i1/T1 req GET_/a span=s1
    m r web/i1/T1 req GET_/b span=s1
    a m web/i1/T1 acq redis:x
    b a web/i1/T1 acq redis:y
    c b web/i1/T1 rel redis:y
    d c web/i1/T1 rel redis:x
    n - api/i2/T1 req GET_/b span=s2 up=s1
    e n api/i2/T1 acq redis:y
    f e api/i2/T1 acq redis:x
    g f api/i2/T1 rel redis:x
    h g api/i2/T1 rel redis:y$$);
-- Locks of one name in two processes are two.
SELECT pg_temp.lock_orders($$
    a - web/i1/T1 acq x
    b a web/i1/T1 acq y
    c b web/i1/T1 rel y
    d c web/i1/T1 rel x
    e - api/i2/T1 acq y
    f e api/i2/T1 acq x
    g f api/i2/T1 rel x
    h g api/i2/T1 rel y$$);

-- Three locks, three threads.
SELECT pg_temp.lock_orders($$
    a - T1 acq x loc=app.py:10
    b - T1 acq y loc=app.py:11
    c - T1 rel y
    d - T1 rel x
    e - T2 acq y loc=app.py:20
    f - T2 acq z loc=app.py:21
    g - T2 rel z
    h - T2 rel y
    i - T3 call close_all
    j i T3 acq z
    k j T3 acq x
    l k T3 rel x
    m l T3 rel z$$);
SELECT kind, variable, location1, location2, regexp_replace(evidence, 'trace [0-9a-f]{8}', 'trace ########', 'g') AS evidence
  FROM trace_ext.global_races() \gx
-- Three locks, but two threads: one of them would wait for itself.
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    b - T1 acq y
    c - T1 rel y
    d - T1 rel x
    e - T2 acq y
    f - T2 acq z
    g - T2 rel z
    h - T2 rel y
    j - T2 acq z
    k - T2 acq x
    l - T2 rel x
    m - T2 rel z$$);
-- Four, as philosophers do; five are not looked for.
SELECT pg_temp.lock_orders($$
    a - T1 acq f1
    b - T1 acq f2
    c - T1 rel f2
    d - T1 rel f1
    e - T2 acq f2
    f - T2 acq f3
    g - T2 rel f3
    h - T2 rel f2
    i - T3 acq f3
    j - T3 acq f4
    k - T3 rel f4
    l - T3 rel f3
    m - T4 acq f4
    n - T4 acq f1
    o - T4 rel f1
    p - T4 rel f4$$);
-- Two locks of three in a row, taken back to front: each two of them, but not those under the third.
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    b - T1 acq y
    c - T1 acq z
    d - T1 rel z
    e - T1 rel y
    f - T1 rel x
    g - T2 acq z
    h - T2 acq y
    i - T2 acq x
    j - T2 rel x
    k - T2 rel y
    l - T2 rel z$$);

-- Readers do not wait for each other.
SELECT pg_temp.lock_orders($$
    a - T1 acq x type=RWLock-Read
    b - T1 acq y type=RWLock-Read
    c - T1 rel y type=RWLock-Read
    d - T1 rel x type=RWLock-Read
    e - T2 acq y type=RWLock-Read
    f - T2 acq x type=RWLock-Read
    g - T2 rel x type=RWLock-Read
    h - T2 rel y type=RWLock-Read$$);
-- Nor if only one of the locks is shared by both; but each reads what the other one writes.
SELECT pg_temp.lock_orders($$
    a - T1 acq x type=RWLock-Read
    b - T1 acq y type=Mutex
    c - T1 rel y type=Mutex
    d - T1 rel x type=RWLock-Read
    e - T2 acq y type=Mutex
    f - T2 acq x type=RWLock-Read
    g - T2 rel x type=RWLock-Read
    h - T2 rel y type=Mutex$$);
SELECT pg_temp.lock_orders($$
    a - T1 acq x type=RWLock-Read
    b - T1 acq y type=RWLock-Write
    c - T1 rel y type=RWLock-Write
    d - T1 rel x type=RWLock-Read
    e - T2 acq y type=RWLock-Read
    f - T2 acq x type=RWLock-Write
    g - T2 rel x type=RWLock-Write
    h - T2 rel y type=RWLock-Read$$);
SELECT regexp_replace(evidence, 'trace [0-9a-f]{8}', 'trace ########', 'g') AS evidence FROM trace_ext.global_races();
-- A semaphore lets in more than one.
SELECT pg_temp.lock_orders($$
    a - T1 acq x type=Semaphore
    b - T1 acq y
    c - T1 rel y
    d - T1 rel x type=Semaphore
    e - T2 acq y
    f - T2 acq x type=Semaphore
    g - T2 rel x type=Semaphore
    h - T2 rel y$$);

-- One thread alone, both orders.
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    b - T1 acq y
    c - T1 rel y
    d - T1 rel x
    e - T1 acq y
    f - T1 acq x
    g - T1 rel x
    h - T1 rel y$$);
-- A lock that is held already is not waited for.
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    b - T1 acq y
    c - T1 acq x
    d - T1 rel x
    e - T1 rel y
    f - T1 rel x
    g - T2 acq x
    h - T2 acq y
    i - T2 rel y
    j - T2 rel x$$);
-- A lock that another thread lets go is no longer held.
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    b - T2 rel x
    c - T1 acq y
    d - T1 rel y
    e - T2 acq y
    f - T2 acq x
    g - T2 rel x
    h - T2 rel y$$);
-- It did happen: both wait, and neither comes any further.
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    e - T2 acq y
    b - T1 acq y
    f - T2 acq x$$);
-- In a loop: once. And with messages in between, only the turn that is not ordered.
SELECT pg_temp.lock_orders($$
    s - T1 spawn job
    a s T1 acq x
    b a T1 acq y loc=app.py:2
    c b T1 rel y
    d c T1 rel x
    a2 d T1 acq x
    b2 a2 T1 acq y loc=app.py:2
    c2 b2 T1 rel y
    d2 c2 T1 rel x
    e s T2 acq y task=job
    f e T2 acq x task=job loc=app.py:3
    g f T2 rel x task=job
    h g T2 rel y task=job$$);
SELECT pg_temp.lock_orders($$
    a - T1 acq x
    b a T1 acq y loc=app.py:2
    c b T1 rel y
    d c T1 rel x
    s d T1 spawn job
    a2 s T1 acq x
    b2 a2 T1 acq y loc=app.py:2
    c2 b2 T1 rel y
    d2 c2 T1 rel x
    e s T2 acq y task=job
    f e T2 acq x task=job loc=app.py:3
    g f T2 rel x task=job
    h g T2 rel y task=job$$);

-- Across traces that ran at the same time; delivered one after the other, and without
-- any access.
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
SELECT pg_temp.load_program($$
    trace A
    r - T1 req POST_/transfer at=1
    a r T1 acq x at=2 loc=app.py:10
    b a T1 acq y at=3 loc=app.py:11
    c b T1 rel y at=4
    d c T1 rel x at=5
    s d T1 resp 200 at=9
    trace B
    t - T2 req POST_/close at=5
    e t T2 acq y at=6 loc=app.py:20
    f e T2 acq x at=7 loc=app.py:21
    g f T2 rel x at=8
    h g T2 rel y at=8$$) AS run \gset
CREATE TEMP TABLE two AS SELECT * FROM trace_ext.events;
DELETE FROM trace_ext.events WHERE trace_id = (SELECT DISTINCT trace_id FROM program_events WHERE run = :run AND trace = 'B');
SELECT pg_temp.detected(:run);
INSERT INTO trace_ext.events SELECT * FROM two ON CONFLICT DO NOTHING;
SELECT pg_temp.detected(:run);
SELECT location1, location2, occurrences, regexp_replace(evidence, 'trace [0-9a-f]{8}', 'trace ########', 'g') AS evidence
  FROM trace_ext.findings \gx
-- Delivered twice, and looked at again.
INSERT INTO trace_ext.events SELECT * FROM two ON CONFLICT DO NOTHING;
INSERT INTO trace_ext.detect_queue SELECT DISTINCT trace_id FROM two;
SELECT pg_temp.detected(:run);
INSERT INTO trace_ext.detect_queue SELECT trace_id FROM two LIMIT 1;
SELECT pg_temp.detected(:run);
-- A trace loses the order: nothing is left.
SET trace_ext.lateness = 0;
DELETE FROM trace_ext.events WHERE id = (SELECT id FROM program_events WHERE run = :run AND label = 'e');
SELECT pg_temp.detected(:run);
SELECT count(*) AS left_over FROM trace_ext.race_pairs;
RESET trace_ext.lateness;
-- Others do the same with the same locks: one finding, two pairs of traces. They are of
-- another time.
INSERT INTO trace_ext.events SELECT * FROM two ON CONFLICT DO NOTHING;
INSERT INTO trace_ext.events SELECT (jsonb_populate_record(e, jsonb_build_object('trace_id', md5(e.trace_id::text),
                                                                                 'timestamp', e."timestamp" + interval '1 h'))).* FROM two e;
SELECT pg_temp.detected(:run);
-- They did not run at the same time.
SELECT pg_temp.lock_orders($$
    trace A
    a - T1 acq x at=2
    b a T1 acq y at=3
    c b T1 rel y at=4
    d c T1 rel x at=5
    trace B
    e - T2 acq y at=500
    f e T2 acq x at=501
    g f T2 rel x at=502
    h g T2 rel y at=503$$);
-- Three locks, three traces; find_races() shows accesses only.
SELECT pg_temp.lock_orders($$
    trace A
    a - T1 acq x at=1
    b a T1 acq y at=2
    c b T1 rel y at=3
    d c T1 rel x at=20
    trace B
    e - T2 acq y at=4
    f e T2 acq z at=5
    g f T2 rel z at=6
    h g T2 rel y at=20
    trace C
    i - T3 acq z at=7
    j i T3 acq x at=8
    k j T3 rel x at=9
    l k T3 rel z at=20$$);
SELECT count(*) AS races FROM (SELECT DISTINCT trace_id FROM trace_ext.events) t, trace_ext.find_races(t.trace_id);

-- Random programs, against the definition: threads that take what is free, in one trace
-- or each in its own, delivered in two parts.
SELECT setseed(0.42);
CREATE TEMP TABLE steps (program int, n int, thread int, held text[], op text, name text);
CREATE FUNCTION pg_temp.make_program(program int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    nthreads int := 3 + floor(random() * 4);
    nlocks int := 3 + floor(random() * 3);
    most int := CASE WHEN random() < 0.8 THEN 2 ELSE 3 END;
    held text[] := array_fill(''::text, ARRAY[nthreads]);
    is_held boolean[] := array_fill(false, ARRAY[nlocks]);
    t int;
    l int;
BEGIN
    FOR done IN 1 .. 60 + floor(random() * 60) LOOP
        t := 1 + floor(random() * nthreads);
        IF random() < 0.6 AND length(held[t]) < most THEN
            l := 1 + floor(random() * nlocks);
            CONTINUE WHEN is_held[l];
            INSERT INTO steps VALUES (program, done, t, string_to_array(held[t], NULL), 'acq', l);
            is_held[l] := true;
            held[t] := held[t] || l;
        ELSE
            CONTINUE WHEN held[t] = '';
            l := right(held[t], 1)::int;
            is_held[l] := false;
            held[t] := left(held[t], -1);
            INSERT INTO steps VALUES (program, done, t, NULL, 'rel', l);
        END IF;
    END LOOP;
END $$;
SELECT count(pg_temp.make_program(p)) AS programs FROM generate_series(1, 200) p;
CREATE TEMP TABLE wants AS
SELECT s.*, h.name AS under, CASE WHEN program % 2 = 0 THEN 0 ELSE thread END AS trace, t.first, t.last
  FROM steps s, unnest(s.held) AS h (name), LATERAL (SELECT min(m.n) AS first, max(m.n) AS last FROM steps m
                                                      WHERE m.program = s.program AND (s.program % 2 = 0 OR m.thread = s.thread)) t
 WHERE op = 'acq';
ANALYZE wants;
CREATE TEMP TABLE wanted AS
WITH RECURSIVE way AS (
    SELECT program, ARRAY[under] AS locks, ARRAY[thread] AS threads, ARRAY[trace] AS traces, ARRAY[first] AS firsts, ARRAY[last] AS lasts,
           held, name, 1 AS length
      FROM wants
    UNION
    SELECT w.program, w.locks || a.under, w.threads || a.thread, w.traces || a.trace, w.firsts || a.first, w.lasts || a.last,
           w.held || a.held, a.name, w.length + 1
      FROM way w JOIN wants a ON a.program = w.program AND a.under = w.name
     WHERE w.length < 4 AND a.thread <> ALL (w.threads) AND NOT a.held && w.held
       AND a.under > w.locks[1] AND a.name >= w.locks[1] AND a.under <> ALL (w.locks)
       AND a.first <= ALL (w.lasts) AND a.last >= ALL (w.firsts)
)
SELECT DISTINCT program, array_to_string(locks, ', ') AS variable, md5(program || ' ' || traces[1])::uuid AS a, md5(program || ' ' || traces[2])::uuid AS b
  FROM way WHERE length > 1 AND name = locks[1];
UPDATE wanted SET a = least(a, b), b = greatest(a, b);
SELECT length(variable) / 3 + 1 AS locks, count(*) > 3 AS enough FROM wanted GROUP BY 1 ORDER BY 1;

TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
CREATE TEMP TABLE deliveries AS SELECT *, floor(random() * 2) AS part FROM steps;
CREATE FUNCTION pg_temp.deliver(which int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
    SELECT md5(program || ' ' || CASE WHEN program % 2 = 0 THEN 0 ELSE thread END)::uuid, md5(program || ' ' || n)::uuid,
           '2030-01-01 00:00+00'::timestamptz + program * interval '1 minute' + n * interval '1 ms',
           (CASE op WHEN 'acq' THEN 'LockAcquire' ELSE 'LockRelease' END)::trace_ext.event_kind,
           name, 'svc', 'i1', program, 'T' || thread, '{}'
      FROM deliveries WHERE part = which;
    RETURN trace_ext.detect();
END $$;
SELECT pg_temp.deliver(d) > 0 AS delivered FROM generate_series(0, 1) d;
SELECT *
  FROM (SELECT variable, a, b, count(*) AS wanted FROM wanted GROUP BY 1, 2, 3) w
  FULL JOIN (SELECT f.variable, p.trace1 AS a, p.trace2 AS b, p.occurrences AS found FROM trace_ext.race_pairs p JOIN trace_ext.findings f ON f.id = p.finding_id
              WHERE f.kind = 'lock order' AND p.trace1 IS NOT NULL) f USING (variable, a, b)
 WHERE found IS DISTINCT FROM 1 OR wanted IS NULL LIMIT 5;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
