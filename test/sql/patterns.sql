-- Kinds of harm, what values confirm or refute, and the sentence.
\getenv inputdir PG_ABS_SRCDIR
\set programs :inputdir '/data/programs.sql'
SET client_min_messages = warning;
\i :programs

-- Lost update, confirmed: what was read is not what the write found.
SELECT * FROM pg_temp.kinds_of($$
    trace A
    a - T1 req POST_/transfer at=1
    b a T1 r x new=1000 at=2 loc=app.py:83
    c b T1 w x old=900 new=800 at=6 loc=app.py:91
    trace B
    d - T2 req POST_/transfer at=3
    e d T2 w x old=1000 new=900 at=4 loc=app.py:91
    f e T2 resp 200 at=9$$) \gx
-- Both replaced the same value. But neither saw what the other wrote: each may have
-- a variable of its own. The requests have unequal numbers of events.
SELECT pair, kind, severity, confidence FROM pg_temp.kinds_of($$
    trace A
    a - T1 r x new=1000 at=1
    b a T1 do something at=2
    c b T1 do more at=3
    d c T1 w x old=1000 new=800 at=6
    trace B
    e - T2 w x old=1000 new=900 at=4
    f e T2 do end at=9$$);
-- Here somebody saw what the other one wrote: they do share the variable.
SELECT pair, kind, severity, confidence FROM pg_temp.kinds_of($$
    trace A
    a - T1 r x new=1000 at=1
    d a T1 w x old=1000 new=800 at=6
    trace B
    e - T2 w x old=1000 new=900 at=4
    f e T2 do end at=9
    trace C
    g - T3 r x new=900 at=5
    h g T3 do end at=7$$);
-- The same without the reads, and without a lock in sight.
SELECT pair, kind, confidence, evidence FROM pg_temp.kinds_of($$
    a - T1 w x old=1000 new=900
    b - T2 w x old=1000 new=800$$);
-- Not confirmed: clocks are off, the first write found what the second wrote.
SELECT pair, kind, confidence FROM pg_temp.kinds_of($$
    a - T1 w x old=800 new=900
    b - T2 w x old=1000 new=800$$);
-- Not confirmed: equal values prove nothing.
SELECT pair, kind, confidence, evidence FROM pg_temp.kinds_of($$
    a - T1 r x new=1000
    b - T2 w x new=1000
    c - T1 w x old=1000 new=800$$);
-- Not confirmed: objects may have been serialised late.
SELECT pair, kind, confidence FROM pg_temp.kinds_of($$
    a - T1 r x new={"v":1}
    b - T2 w x new={"v":2}
    c - T1 w x old={"v":2} new={"v":3}$$);
-- Not confirmed: the value found is not the one that the remote write put there.
SELECT pair, kind, confidence FROM pg_temp.kinds_of($$
    a - T1 r x new=1
    b - T2 w x new=2
    d - T3 w x new=3
    c - T1 w x old=3 new=4$$);
-- Ordered by a lock, but lost all the same: the lock was let go in between.
SELECT pair, kind, confidence, evidence FROM pg_temp.kinds_of($$
    p - T1 acq L type=Mutex
    a - T1 r x new=1000
    q - T1 rel L type=Mutex
    r - T2 acq L type=Mutex
    b - T2 w x old=1000 new=900
    s - T2 rel L type=Mutex
    t - T1 acq L type=Mutex
    c - T1 w x old=900 new=800
    u - T1 rel L type=Mutex$$);
-- Under one hold of the lock nothing is wrong.
SELECT * FROM pg_temp.kinds_of($$
    p - T1 acq L type=Mutex
    a - T1 r x new=1000
    c - T1 w x old=1000 new=900
    q - T1 rel L type=Mutex
    r - T2 acq L type=Mutex
    d - T2 r x new=900
    b - T2 w x old=900 new=800
    s - T2 rel L type=Mutex$$);
-- A call that the trace itself made and awaited is no remote access.
SELECT * FROM pg_temp.kinds_of($$
    a - T1 r x new=1000
    s a T1 spawn job
    b s T2 w x old=1000 new=900
    j s T1 await job
    c j T1 w x old=900 new=800$$);

-- Non-repeatable read: confirmed, not confirmed, refuted.
SELECT pair, kind, severity, confidence, evidence FROM pg_temp.kinds_of($$
    a - T1 r x new=1
    b - T2 w x new=2
    c - T1 r x new=2$$);
SELECT pair, kind, severity, confidence FROM pg_temp.kinds_of($$
    a - T1 r x
    b - T2 w x new=2
    c - T1 r x$$);
SELECT pair, kind, severity, confidence FROM pg_temp.kinds_of($$
    a - T1 r x new=1
    b - T2 w x new=2
    c - T1 r x new=1$$);
-- Own write overwritten.
SELECT pair, kind, severity, confidence, evidence FROM pg_temp.kinds_of($$
    a - T1 w x old=0 new=1
    b - T2 w x old=1 new=2
    c - T1 r x new=2$$);
-- Intermediate read.
SELECT pair, kind, severity, confidence, evidence FROM pg_temp.kinds_of($$
    a - T1 w x old=0 new=1
    b - T2 r x new=1
    c - T1 w x old=1 new=2$$);
-- Aborted read.
SELECT pair, kind, severity, confidence, evidence FROM pg_temp.kinds_of($$
    trace A
    a - T1 req POST_/order at=1
    b a T1 w stock old=5 new=4 at=2
    c b T1 resp 500 at=9
    trace B
    d - T2 req GET_/stock at=3
    e d T2 r stock new=4 at=5$$);
SELECT pair, kind FROM pg_temp.kinds_of($$
    trace A
    b - T1 w stock old=5 new=4 at=2
    c b T1 resp 409 at=9
    trace B
    e - T2 r stock new=4 at=5$$);
-- Check then act.
SELECT pair, kind, severity, confidence, evidence FROM pg_temp.kinds_of($$
    a - T1 r seats new=1
    b - T2 w seats old=1 new=0
    c - T1 w booking new="alice"$$);
-- Not, if the act came first.
SELECT pair, kind, severity FROM pg_temp.kinds_of($$
    a - T1 r seats new=1
    c - T1 w booking new="alice"
    b - T2 w seats old=1 new=0$$);

-- Confidence: events that order were seen (0.9), none were (0.8), in two processes
-- (0.1 and 0.2 less), a parent is missing (0.1 less).
SELECT pair, confidence FROM pg_temp.kinds_of($$
    a - T1 w x
    b - T2 w x
    p - T1 acq L type=Mutex$$);
SELECT pair, confidence FROM pg_temp.kinds_of($$
    a - T1 w x
    b - T2 w x$$);
SELECT pair, confidence FROM pg_temp.kinds_of($$
    a - svc/i/1/T1 w x
    b - svc/i/2/T2 w x
    p - svc/i/1/T1 acq L type=Mutex$$);
SELECT pair, confidence FROM pg_temp.kinds_of($$
    a - T1 w x parent_id=00000000-0000-0000-0000-000000000001
    b - T2 w x
    p - T1 acq L type=Mutex$$);

-- Long names and values are shortened in the sentence, whole in the columns.
SELECT pg_temp.load_program('a - T1 w long new="' || repeat('é', 3000) || '" loc=' || repeat('/dir', 500) || E'\n'
                            'b - T2 w long new=2') > 0 AS loaded;
SELECT length(evidence) < 800 AS short, length(event1_value #>> '{}'), length(event1_location)
  FROM trace_ext.find_variable_races('long');

-- A captured run of a banking demo: one confirmed lost update, named with both
-- requests, lines and values.
\set file :inputdir '/data/express-banking.json'
\set content `cat :file`
SELECT * FROM trace_ext.ingest_events(:'content');
SELECT * FROM trace_ext.find_variable_races('accounts.alice.balance') LIMIT 1 \gx
SELECT kind, severity, confidence, count(*) FROM trace_ext.find_variable_races('accounts.alice.balance')
 GROUP BY 1, 2, 3 ORDER BY 4;
SELECT kind, confidence, event2_trace_id, event2_value FROM trace_ext.find_races('812931f5-f8a0-44b3-80b9-7fdcd51f9f8a')
 WHERE confidence = 1;

-- The same requests one after the other: nothing.
BEGIN;
UPDATE trace_ext.events SET "timestamp" = "timestamp" + s.nth * interval '1 second'
  FROM (SELECT trace_id, row_number() OVER (ORDER BY min("timestamp")) AS nth FROM trace_ext.events GROUP BY trace_id) s
 WHERE events.trace_id = s.trace_id;
SELECT count(*) FROM trace_ext.find_variable_races('accounts.alice.balance');
SELECT count(*) FROM (SELECT DISTINCT trace_id FROM trace_ext.events WHERE service_name = 'banking-api') t,
       trace_ext.find_races(t.trace_id);
ROLLBACK;

-- Threads of one name: the sentence says of which service, or of which instance of it. Without need neither.
SELECT evidence FROM pg_temp.kinds_of($$
    a - cart/one/main w x
    b - stock/one/main w x $$);
SELECT evidence FROM pg_temp.kinds_of($$
    a - cart/one/main w x
    b - cart/two/main w x $$);
SELECT evidence FROM pg_temp.kinds_of($$
    a - cart/one/T1 w x
    b - stock/one/T2 w x $$);
-- What the sentence says of locks, and of branches of one thread.
SELECT pair, evidence FROM pg_temp.kinds_of($$
    a - T2 w x
    b - T1 acq L
    c - T1 w x
    d - T1 rel L $$);
SELECT pair, evidence FROM pg_temp.kinds_of($$
    a - T1 acq L
    b - T2 acq M
    c - T1 r x
    d - T2 w x
    e - T1 rel L
    f - T2 rel M $$);
SELECT pair, evidence FROM pg_temp.kinds_of($$
    a - T1 acq L type=RwLock::Read
    b - T2 acq L type=RwLock::Read
    c - T1 w x
    d - T2 w x
    e - T1 rel L type=RwLock::Read
    f - T2 rel L type=RwLock::Read $$);
SELECT pair, evidence FROM pg_temp.kinds_of($$
    a - T1 w x locks=a,b,c,d,e
    b - T2 w x locks=f $$);
SELECT pair, evidence FROM pg_temp.kinds_of($$
    a - MainThread call handler
    b a MainThread call fetch
    c a MainThread call fetch
    d b MainThread r total new=1
    e c MainThread w total new=2
    f d MainThread w total new=2 $$);
SELECT pair, evidence FROM pg_temp.kinds_of($$
    a - svc/i1/1/T1 acq L
    b - svc/i1/2/T2 acq L
    c - svc/i1/1/T1 w x
    d - svc/i1/2/T2 w x
    e - svc/i1/1/T1 rel L
    f - svc/i1/2/T2 rel L $$);

-- A lease that ran out: two held the lock at once, so it kept nobody apart, and the
-- values prove the loss.
SELECT pair, kind, confidence, evidence FROM pg_temp.kinds_of($$
    trace A
    p - T1 acq redis:x type=Mutex at=1
    a - T1 r x new=100 at=2
    trace B
    q - T2 acq redis:x type=Mutex at=4
    b - T2 r x new=100 at=5
    c - T2 w x old=100 new=90 at=6
    r - T2 rel redis:x type=Mutex at=7
    trace A
    d - T1 w x old=90 new=80 at=8
    s - T1 rel redis:x type=Mutex at=9$$);
-- Threads of one trace that hold at once what they call exclusive; no values.
SELECT pair, kind, confidence, evidence FROM pg_temp.kinds_of($$
    p - T1 acq L type=Mutex at=1
    a - T1 w x at=2
    q - T2 acq L type=Mutex at=3
    b - T2 w x at=4
    r - T2 rel L type=Mutex at=5
    s - T1 rel L type=Mutex at=6$$);
-- The same, but the second one acts only when the first has released: it waited.
SELECT pair, kind, confidence FROM pg_temp.kinds_of($$
    p - T1 acq L type=Mutex at=1
    a - T1 w x at=2
    q - T2 acq L type=Mutex at=3
    s - T1 rel L type=Mutex at=6
    b - T2 w x at=7
    r - T2 rel L type=Mutex at=8$$);
-- Two hosts whose clocks may differ by more than that: the lock seems to order
-- them, but values do not depend on it.
SELECT pair, kind, confidence, evidence FROM pg_temp.kinds_of($$
    trace A
    p - s/i1/T1 acq redis:x type=Mutex at=1
    a - s/i1/T1 r x new=100 at=2
    trace B
    q - s/i2/T2 acq redis:x type=Mutex at=4
    b - s/i2/T2 r x new=100 at=5
    c - s/i2/T2 w x old=100 new=90 at=6
    r - s/i2/T2 rel redis:x type=Mutex at=7
    trace A
    d - s/i1/T1 w x old=90 new=80 at=8
    s - s/i1/T1 rel redis:x type=Mutex at=9$$);
-- On another host the clock may be off by more than that.
SELECT pair, kind, confidence FROM pg_temp.kinds_of($$
    p - s/i1/T1 acq redis:x type=Mutex at=1
    a - s/i1/T1 w x at=2
    q - s/i2/T2 acq redis:x type=Mutex at=3
    b - s/i2/T2 w x at=4
    r - s/i2/T2 rel redis:x type=Mutex at=5
    s - s/i1/T1 rel redis:x type=Mutex at=6$$);
-- A third one waited for both: it is ordered after them.
SELECT pair, kind FROM pg_temp.kinds_of($$
    p - T1 acq L type=Mutex at=1
    a - T1 w x at=2
    q - T2 acq L type=Mutex at=3
    b - T2 w x at=4
    r - T2 rel L type=Mutex at=5
    s - T1 rel L type=Mutex at=6
    t - T3 acq L type=Mutex at=7
    c - T3 w x at=8
    u - T3 rel L type=Mutex at=9$$);

-- What is not proved lost: the value is there still, was no change, came from
-- somebody unknown, was not said, or came back.
CREATE TEMP TABLE unproved (n int GENERATED ALWAYS AS IDENTITY, what text, program text);
INSERT INTO unproved (what, program) VALUES
('a retry writes the same', 'a - T1 r x new="new"
    b - T2 w x old="new" new="paid"
    c - T1 w x old="paid" new="paid"'),
('both write the same', 'a - T1 w x old=1 new=2
    b - T2 w x old=1 new=2'),
('the same number, spelled otherwise', 'a - T1 r x new=0
    b - T2 w x old=0 new=1
    c - T1 w x old=1.0 new=1.00'),
('the remote write changed nothing', 'a - T1 r x new=1
    b - T2 w x old=2 new=2
    c - T1 w x old=2 new=3'),
('an unrecorded write in between', 'a - T1 w x old=1 new=2
    b - T2 w x old=3 new=4'),
('an unknown old value', 'a - T1 r x new=1
    b - T2 w x new=2
    c - T1 w x new=3'),
('an unknown remote value', 'a - T1 r x new=1
    b - T2 w x old=1
    c - T1 w x old=2 new=3'),
('null', 'a - T1 r x new=null
    b - T2 w x old=null new=2
    c - T1 w x old=null new=3'),
('there and back again', 'a - T1 r x new=1
    b - T2 w x old=1 new=2
    d - T2 w x old=2 new=1
    c - T1 w x old=1 new=3');
SELECT what, k.pair, k.confidence FROM unproved, LATERAL pg_temp.kinds_of(program) k WHERE k.confidence = 1;

-- Flags that each request has for itself, set and reset: no proof of anything.
SELECT pair, kind, confidence, evidence FROM pg_temp.kinds_of($$
    trace A
    a - T1 w flag old=false new=true at=1
    b a T1 w flag old=true new=false at=6
    trace B
    c - T2 w flag old=false new=true at=2
    d c T2 r flag new=true at=4
    e d T2 w flag old=true new=false at=5$$);
SELECT pair, kind, confidence, evidence FROM pg_temp.kinds_of($$
    trace A
    a - T1 r total new=0 at=1
    b a T1 w total old=0 new=5 at=4
    trace B
    c - T2 r total new=0 at=2
    d c T2 w total old=0 new=7 at=3
    e d T2 r total new=7 at=5$$);
