-- Each rule of happens-before, ordered and unordered; and the small traces that
-- detectors get wrong. "none" or the racing pairs by label.
\getenv inputdir PG_ABS_SRCDIR
\set programs :inputdir '/data/programs.sql'
\set QUIET on
SET client_min_messages = warning;
\i :programs
CREATE TEMP TABLE cases (n int GENERATED ALWAYS AS IDENTITY, name text, expected text, program text);
INSERT INTO cases (name, expected, program) VALUES
('two threads, nothing between them', 'a-b', $$
    a - T1 w x
    b - T2 w x$$),
('two reads', 'none', $$
    a - T1 r x
    b - T2 r x$$),
('two variables', 'none', $$
    a - T1 w x
    b - T2 w y$$),
('rule 1: one thread', 'none', $$
    a - T1 w x
    b - T1 w x$$),
('rule 2: child on another thread', 'none', $$
    a - T1 w x
    b a T2 w x
    c a T1 do more$$),
('rule 2: siblings', 'b-c', $$
    a - T1 w x
    b a T2 w x
    c a T1 w x$$),
('rule 3: spawn, task named by thread', 'none', $$
    a - T1 w x
    s a T1 spawn job
    b - job w x$$),
('rule 3: spawn after the access only', 'c-b', $$
    a - T1 w x
    s a T1 spawn job
    c s T1 w x
    b - job w x$$),
('rule 3: task named by tag', 'none', $$
    a - T1 w x
    s a T1 spawn job
    b - T2 w x task=job$$),
('rule 4: join by await', 'none', $$
    s - T1 spawn job
    b s T2 w x
    j s T1 await job
    a j T1 w x$$),
('rule 4: before the await', 'a-b', $$
    s - T1 spawn job
    a s T1 w x
    b s T2 w x
    j a T1 await job$$),
('rule 4: await of another task', 'b-a', $$
    s - T1 spawn job
    u s T1 spawn other
    b s T2 w x
    o u T3 do nothing
    j u T1 await other
    a j T1 w x$$),
('rule 4: a task without events', 'c-a', $$
    s - T1 spawn job
    c s T1 w x
    j - T2 await job
    a j T2 w x$$),
('rule 4: tasks of one thread id, told apart by parents', 'b-c', $$
    s - T1 spawn job
    b s T1 w x
    c s T1 w x
    j b T1 await job
    d j T1 w x$$),
('rule 5: hand-over of a lock', 'none', $$
    a - T1 w x
    p - T1 acq L type=Mutex
    q - T1 rel L type=Mutex
    r - T2 acq L type=Mutex
    s - T2 rel L type=Mutex
    b - T2 w x$$),
('rule 5: hand-over in the other direction', 'b-a', $$
    p - T1 acq L type=Mutex
    q - T1 rel L type=Mutex
    b - T1 w x
    r - T2 acq L type=Mutex
    a - T2 w x
    s - T2 rel L type=Mutex$$),
('rule 5: two locks', 'a-b', $$
    p - T1 acq L type=Mutex
    a - T1 w x
    q - T1 rel L type=Mutex
    r - T2 acq M type=Mutex
    b - T2 w x
    s - T2 rel M type=Mutex$$),
('rule 5: shared, then exclusive', 'none', $$
    p - T1 acq L type=RWLock-Read
    a - T1 r x
    q - T1 rel L type=RWLock-Read
    r - T2 acq L type=RwLock::Write
    b - T2 w x
    s - T2 rel L type=RwLock::Write$$),
('rule 5: exclusive, then shared', 'none', $$
    p - T1 acq L type=RwLock::Write
    a - T1 w x
    q - T1 rel L type=RwLock::Write
    r - T2 acq L type=RwLock::Read
    b - T2 r x
    s - T2 rel L type=RwLock::Read$$),
('rule 5: writers under a read lock', 'a-b', $$
    p - T1 acq L type=RWLock-Read
    a - T1 w x
    q - T1 rel L type=RWLock-Read
    r - T2 acq L type=RwLock::Read
    b - T2 w x
    s - T2 rel L type=RwLock::Read$$),
('a type that only contains the letters of read', 'none', $$
    p - T1 acq L type=ThreadLock
    a - T1 w x
    q - T1 rel L type=ThreadLock
    r - T2 acq L type=ThreadLock
    b - T2 w x
    s - T2 rel L type=ThreadLock$$),
('inner release of a re-entrant lock', 'none', $$
    p - T1 acq L type=Mutex
    q - T1 acq L type=Mutex
    r - T1 rel L type=Mutex
    a - T1 w x at=10
    s - T1 rel L type=Mutex at=20
    t - T2 acq L type=Mutex at=21
    b - T2 w x at=22
    u - T2 rel L type=Mutex at=23$$),
('inner release hands nothing on', 'a-b', $$
    a - T1 w x
    p - T1 acq L type=Mutex
    q - T1 acq L type=Mutex
    r - T1 rel L type=Mutex
    t - T2 acq L type=Mutex
    b - T2 w x$$),
('an acquire recorded when asked for', 'none', $$
    y - T1 w x
    p - T1 acq L type=Mutex at=2
    r - T2 acq L type=Mutex at=3
    q - T1 rel L type=Mutex at=9
    b - T2 w x at=10
    s - T2 rel L type=Mutex at=11$$),
('a lock of one name in two processes', 'a-b', $$
    p - svc/i1/1/T1 acq L type=Mutex
    a - svc/i1/1/T1 w x
    q - svc/i1/1/T1 rel L type=Mutex
    r - svc/i1/2/T1 acq L type=Mutex
    b - svc/i1/2/T1 w x
    s - svc/i1/2/T1 rel L type=Mutex$$),
('a global lock in two services', 'none', $$
    p - one/i1/1/T1 acq redis:L type=Mutex
    a - one/i1/1/T1 w x
    q - one/i1/1/T1 rel redis:L type=Mutex
    r - two/i1/2/T1 acq redis:L type=Mutex
    b - two/i1/2/T1 w x
    s - two/i1/2/T1 rel redis:L type=Mutex$$),
('one thread name in two processes', 'a-b', $$
    a - svc/i1/1/main w x
    b - svc/i1/2/main w x$$),
('rule 6: call between services, with response', 'none', $$
    a - web/w1/T1 w x span=s1
    p a web/w1/T1 req POST_http://stock/reserve span=s1
    q - stock/k1/T1 req POST_/reserve span=s2 up=s1
    b q stock/k1/T1 w x span=s2 up=s1
    r b stock/k1/T1 resp 200 span=s2 up=s1
    s p web/w1/T1 resp 200 span=s1
    c s web/w1/T1 w x span=s1$$),
('rule 6: what the caller does meanwhile', 'c-b', $$
    p - web/w1/T1 req POST_http://stock/reserve span=s1
    q - stock/k1/T1 req POST_/reserve span=s2 up=s1
    c p web/w1/T1 w x span=s1
    b q stock/k1/T1 w x span=s2 up=s1
    r b stock/k1/T1 resp 200 span=s2 up=s1
    s c web/w1/T1 resp 200 span=s1$$),
('rule 6: two calls, matched by name', 'none', $$
    o - web/w1/T1 req GET_/shop span=s1
    p o web/w1/T1 req POST_http://pay/charge span=s1
    a p web/w1/T1 w x span=s1
    t a web/w1/T1 req POST_http://stock/reserve span=s1
    q - stock/k1/T1 req POST_/reserve span=s2 up=s1
    b q stock/k1/T1 w x span=s2 up=s1$$),
('rule 7: release store, acquire load', 'none', $$
    a - T1 w x
    p - T1 aw flag order=Release
    q - T2 ar flag order=Acquire
    b - T2 r x$$),
('rule 7: without an ordering, the strong one', 'none', $$
    a - T1 w x
    p - T1 aw flag
    q - T2 ar flag
    b - T2 r x$$),
('rule 7: relaxed load', 'a-b', $$
    a - T1 w x
    p - T1 aw flag order=Release
    q - T2 ar flag order=Relaxed
    b - T2 r x$$),
('rule 7: relaxed store', 'a-b', $$
    a - T1 w x
    p - T1 aw flag order=relaxed
    q - T2 ar flag order=memory_order_acquire
    b - T2 r x$$),
('rule 7: load before the store', 'b-a', $$
    q - T2 ar flag order=Acquire
    b - T2 r x
    a - T1 w x
    p - T1 aw flag order=Release$$),
('rule 7: fences around relaxed accesses', 'none', $$
    a - T1 w x
    f - T1 fence Release
    p - T1 aw flag order=Relaxed
    q - T2 ar flag order=Relaxed
    g - T2 fence Acquire
    b - T2 r x$$),
('rule 7: release fence after the store', 'a-b', $$
    a - T1 w x
    p - T1 aw flag order=Relaxed
    f - T1 fence Release
    q - T2 ar flag order=Relaxed
    g - T2 fence Acquire
    b - T2 r x$$),
('rule 7: acquire fence before the load', 'a-b', $$
    a - T1 w x
    f - T1 fence Release
    p - T1 aw flag order=Relaxed
    g - T2 fence Acquire
    q - T2 ar flag order=Relaxed
    b - T2 r x$$),
('two fetch-adds', 'none', $$
    a - T1 rmw x order=Relaxed
    b - T2 rmw x order=Relaxed$$),
('a fetch-add and a plain write', 'a-b', $$
    a - T1 rmw x order=Relaxed
    b - T2 w x$$),
('read against atomic read', 'none', $$
    a - T1 r x
    b - T2 ar x$$),
('rule 8: the client''s clock', 'none', $$
    a - T1 w x clock={"c":1}
    b - T2 w x clock={"c":2}$$),
('rule 8: clocks that say concurrent', 'a-b', $$
    a - T1 w x clock={"svc#i1":1}
    b - other/i2/T2 w x clock={"other#i2":1}$$),
('rule 8: a component counted on by two tasks', 'a-b a-c', $$
    z - T1 do start clock={"svc#i1":1}
    a z T1 w x clock={"svc#i1":2}
    b z T2 w x clock={"svc#i1":2}
    c b T2 w x clock={"svc#i1":3}$$),
('rule 8: never across traces', 'a-b', $$
    trace A
    a - T1 w x clock={"c":1}
    e - T1 do end at=9
    trace B
    b - T2 w x clock={"c":2} at=5$$),
('the client''s own lock set', 'none', $$
    a - T1 w x locks=L,K
    b - T2 w x locks=M,L$$),
('the client''s own lock set, nothing in common', 'a-b', $$
    a - T1 w x locks=L
    b - T2 w x locks=M$$),
('a child that arrives before its parent', 'none', $$
    a - T1 w x at=5
    s a T1 spawn job at=6
    b s T2 w x at=5
    c b T2 w x at=4$$),
('timestamps that step back inside a thread', 'none', $$
    a - T1 w x at=10
    p a T1 acq L type=Mutex at=9
    b p T1 w x at=11
    q b T1 rel L type=Mutex at=10
    r - T2 acq L type=Mutex at=12
    c r T2 w x at=12
    s c T2 rel L type=Mutex at=13$$),
('a task that changes threads while it holds a lock', 'none', $$
    p - T1 acq L type=Mutex
    a p T2 w x at=10
    q a T3 rel L type=Mutex at=11
    r - T9 acq L type=Mutex at=5
    b r T9 w x at=12
    s b T9 rel L type=Mutex at=13$$),
('one pool thread serving two traces in turn', 'none', $$
    trace A
    a - pool-1 w x at=1
    e a other do late at=20
    trace B
    b - pool-1 w x at=10$$),
('an event loop that interleaves two traces', 'a-b b-c', $$
    trace A
    a - main w x at=1
    c a main w x at=20
    trace B
    b - main w x at=10$$),
('an acquire leaked by an earlier trace', 'b-c', $$
    trace A
    p - T1 acq L type=Mutex at=1
    trace B
    b - T1 w x at=10
    d b T1 do end at=30
    trace C
    r - T2 acq L type=Mutex at=11
    c r T2 w x at=12
    s c T2 rel L type=Mutex at=13$$),
('two traces, one lock', 'none', $$
    trace A
    p - T1 acq L type=Mutex at=1
    a p T1 w x at=2
    q a T1 rel L type=Mutex at=3
    e q T1 do end at=30
    trace B
    r - T2 acq L type=Mutex at=4
    b r T2 w x at=5
    s b T2 rel L type=Mutex at=6$$),
('order between two traces through a third', 'none', $$
    trace A
    a - T1 w x at=1
    p a T1 acq L type=Mutex at=2
    q p T1 rel L type=Mutex at=3
    e q T1 do end at=30
    trace B
    h - T2 acq L type=Mutex at=4
    i h T2 r x at=5
    j i T2 acq M type=Mutex at=6
    k j T2 rel L type=Mutex at=7
    l k T2 rel M type=Mutex at=8
    trace C
    r - T3 acq M type=Mutex at=9
    b r T3 w x at=10
    s b T3 rel M type=Mutex at=11$$),
('traces one after the other', 'none', $$
    trace A
    a - T1 w x at=1
    trace B
    b - T2 w x at=2$$),
('clocks of two hosts: within the skew', 'a-b', $$
    trace A
    a - svc/h1/T1 w x at=1
    trace B
    b - svc/h2/T1 w x at=45$$),
('clocks of two hosts: beyond the skew', 'none', $$
    trace A
    a - svc/h1/T1 w x at=1
    trace B
    b - svc/h2/T1 w x at=95$$),
('a trace that overlaps by other events than accesses', 'a-b', $$
    trace A
    a - T1 w x at=1
    e a T1 do end at=1000000
    trace B
    b - T2 w x at=900000$$),
('a cycle of parents', 'a-c b-c', $$
    a b T1 w x
    b a T1 w x
    c - T2 w x$$),
('its own parent', 'a-b', $$
    a a T1 w x
    b - T2 w x$$),
('tasks with a common thread id race', 'b-c', $$
    a - ctx do start
    b a ctx w x
    c a ctx w x$$);

SELECT name, got, CASE WHEN got = expected THEN '' ELSE 'expected ' || expected END AS wrong
  FROM (SELECT n, name, expected, pg_temp.races_of(program) AS got FROM cases ORDER BY n OFFSET 0) AS c ORDER BY n;

-- The same under settings.
CREATE FUNCTION pg_temp.with_setting(setting text, setting_value text, program text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before text := current_setting('trace_ext.' || setting);
    races text;
BEGIN
    PERFORM set_config('trace_ext.' || setting, setting_value, true);
    races := pg_temp.races_of(program);
    PERFORM set_config('trace_ext.' || setting, before, true);
    RETURN races;
END $$;
CREATE TEMP TABLE settings (n int GENERATED ALWAYS AS IDENTITY, setting text, setting_values text[], expected text[], program text);
INSERT INTO settings (setting, setting_values, expected, program) VALUES
('thread_kind', '{auto,os,task}', '{b-c,none,none}', $$
    a - ctx do start
    b a ctx w x
    c a ctx w x$$),
('thread_kind', '{auto,os,task}', '{a-b b-c,none,a-b b-c}', $$
    trace A
    a - main w x at=1
    c a main w x at=20
    trace B
    b - main w x at=10$$),
('variable_scope', '{global,service,instance}', '{a-b a-c b-c,a-b,none}', $$
    a - one/i1/T1 w x
    b - one/i2/T1 w x
    c - two/i1/T1 w x$$),
('clock_skew', '{50ms,93ms,94ms}', '{none,none,a-b}', $$
    trace A
    a - svc/h1/T1 w x at=1
    trace B
    b - svc/h2/T1 w x at=95$$),
('global_locks', '{redis:,"X, L","","X L"," X ,L "}', '{a-b,none,a-b,a-b,none}', $$
    p - svc/i1/1/T1 acq L type=Mutex
    a - svc/i1/1/T1 w x
    q - svc/i1/1/T1 rel L type=Mutex
    r - svc/i1/2/T1 acq L type=Mutex
    b - svc/i1/2/T1 w x
    s - svc/i1/2/T1 rel L type=Mutex$$),
('potential_races', '{off,on}', '{none,a-b}', $$
    a - T1 w x
    p - T1 acq L type=Mutex
    q - T1 rel L type=Mutex
    r - T2 acq L type=Mutex
    s - T2 rel L type=Mutex
    b - T2 w x$$);
SELECT setting, value, got, CASE WHEN got = expected THEN '' ELSE 'expected ' || expected END AS wrong
  FROM (SELECT s.n, i, setting, setting_values[i] AS value, expected[i] AS expected,
               pg_temp.with_setting(setting, setting_values[i], program) AS got
          FROM settings s, generate_subscripts(setting_values, 1) i ORDER BY s.n, i OFFSET 0) c ORDER BY n, i;

-- Arguments.
SELECT count(*) FROM trace_ext.find_races('00000000-0000-0000-0000-000000000000');
SELECT count(*) FROM trace_ext.find_races(NULL);
SELECT count(*) FROM trace_ext.find_variable_races('no such variable');
SELECT * FROM trace_ext.find_races('00000000-0000-0000-0000-000000000000', -1);

-- The number of pairs is exact where the list is cut.
SELECT pg_temp.load_program($$
    a - T1 w many
    b - T2 w many
    c - T3 w many
    d - T4 w many
    e - T5 r many$$) AS run \gset
SELECT trace_id FROM program_events WHERE run = :run LIMIT 1 \gset
SET client_min_messages = notice;
SELECT count(*) FROM trace_ext.find_races(:'trace_id', 3);
SELECT count(*) FROM trace_ext.find_variable_races('many', max_pairs => 4);
SELECT count(*) FROM trace_ext.find_variable_races('many', max_pairs => 10);
SELECT trace_ext.count_races(:'trace_id'), trace_ext.count_variable_races('many');
SELECT trace_ext.count_variable_races('many', '2031-01-01');

-- Where a trace has very many strands, it is counted by what the clock covers. A strand's own accesses
-- are no races of its, also where its clock has just as many entries as are looked at.
SET client_min_messages = warning;
SET trace_ext.thread_kind = os;
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, thread_id, attributes)
SELECT md5('many strands')::uuid, md5(part || i)::uuid, CASE part WHEN 'join' THEN md5('one' || i)::uuid END,
       start + i * interval '1 ms', kind::trace_ext.event_kind, 'x',
       CASE part WHEN 'one' THEN 'T' || i ELSE 'all' END, '{"access_type": "Write"}'
  FROM (VALUES ('one', timestamptz '2030-01-01 00:00:00+00', 'StateChange', 130),
               ('join', '2030-01-01 00:00:01+00', 'FunctionCall', 8),
               ('all', '2030-01-01 00:00:02+00', 'StateChange', 3)) p (part, start, kind, n),
       generate_series(1, n) i;
SELECT trace_ext.count_races(md5('many strands')::uuid) AS counted,
       (SELECT count(*) FROM trace_ext.find_races(md5('many strands')::uuid, 100000)) AS found,
       130 * 129 / 2 + 3 * (130 - 8) AS expected;
RESET trace_ext.thread_kind;
