-- Small programs whose accesses are labelled, after the classes that collections of
-- data races have: threads, locks, atomics, tasks, event loops, services.
--
-- In the words of programs.sql; the last word of an access says what it is:
--   racy    some other access of the variable can happen at the same time
--   hidden  so it can, but in this run a lock happened to be handed over in between
--   safe    neither
CREATE TEMP TABLE labelled (class text, name text, program text);
INSERT INTO labelled VALUES
('threads', 'joined', $$
    a - T1 w x safe
    b a T1 spawn T2
    c b T2 r x safe
    d c T2 w x safe
    e b T1 await T2
    f e T1 w x safe $$),
('threads', 'never joined', $$
    a - T1 w x safe
    b a T1 spawn T2
    c b T2 w x racy
    d b T1 r x racy $$),
('threads', 'two children, both joined', $$
    a - T1 w x safe
    b a T1 spawn T2
    c b T1 spawn T3
    d b T2 w x racy
    e c T3 w x racy
    f c T1 await T2
    g f T1 await T3
    h g T1 r x safe $$),
('threads', 'one of two children joined', $$
    a - T1 spawn T2
    b a T1 spawn T3
    c a T2 w x safe
    d b T3 w y racy
    e b T1 await T2
    f e T1 r x safe
    g f T1 r y racy $$),
('threads', 'written again after the start', $$
    a - T1 w x safe
    b a T1 spawn T2
    c b T1 w x racy
    d b T2 r x racy $$),
('threads', 'one after the other', $$
    a - T1 spawn T2
    b a T2 w x safe
    c a T1 await T2
    d c T1 spawn T3
    e d T3 w x safe
    f d T1 await T3
    g f T1 w x safe $$),
('threads', 'joined through a child', $$
    a - T1 spawn T2
    b a T2 spawn T3
    c b T3 w x safe
    d b T2 await T3
    e a T1 await T2
    f e T1 r x safe $$),
('threads', 'grandchild left behind', $$
    a - T1 spawn T2
    b a T2 spawn T3
    c b T2 w y safe
    d b T3 w x racy
    e a T1 await T2
    f e T1 r y safe
    g f T1 w x racy $$),
('threads', 'read by all, written before', $$
    a - T1 w x safe
    b a T1 spawn T2
    c b T1 spawn T3
    d b T2 r x safe
    e c T3 r x safe
    f c T1 r x safe $$),
('threads', 'own variable of each', $$
    a - T1 spawn T2
    b a T2 w x.2 safe
    c a T1 w x.1 safe
    d b T2 w x.2 safe $$),
('locks', 'one lock for all', $$
    a - T1 acq L
    b - T1 r x safe
    c - T1 w x safe
    d - T1 rel L
    e - T2 acq L
    f - T2 w x safe
    g - T2 rel L $$),
('locks', 'one side without', $$
    a - T2 w x racy
    b - T1 acq L
    c - T1 w x racy
    d - T1 rel L $$),
('locks', 'two locks', $$
    a - T1 acq L
    b - T2 acq M
    c - T1 w x racy
    d - T2 w x racy
    e - T1 rel L
    f - T2 rel M $$),
('locks', 'two locks, one after the other', $$
    a - T1 acq L
    b - T1 w x racy
    c - T1 rel L
    d - T2 acq M
    e - T2 w x racy
    f - T2 rel M $$),
('locks', 'readers and a writer', $$
    a - T1 acq L type=RwLock::Write
    b - T1 w x safe
    c - T1 rel L type=RwLock::Write
    d - T2 acq L type=RwLock::Read
    e - T3 acq L type=RwLock::Read
    f - T2 r x safe
    g - T3 r x safe
    h - T2 rel L type=RwLock::Read
    i - T3 rel L type=RwLock::Read
    j - T1 acq L type=RwLock::Write
    k - T1 w x safe
    l - T1 rel L type=RwLock::Write $$),
('locks', 'writers under a read lock', $$
    a - T1 acq L type=RWLock-Read
    b - T2 acq L type=RWLock-Read
    c - T1 w x racy
    d - T2 w x racy
    e - T1 rel L type=RWLock-Read
    f - T2 rel L type=RWLock-Read $$),
('locks', 'inner release', $$
    a - T1 acq L
    b - T1 acq L
    c - T1 rel L
    d - T2 acq L
    e - T1 w x safe
    f - T1 rel L
    g - T2 w x safe
    h - T2 rel L $$),
('locks', 'written after the release', $$
    a - T1 acq L
    b - T1 w y safe
    c - T1 rel L
    d - T1 w x racy
    e - T2 acq L
    f - T2 r y safe
    g - T2 rel L
    h - T2 r x racy $$),
('locks', 'handed over with a flag', $$
    a - T1 w x safe
    b - T1 acq L
    c - T1 w ready new=true safe
    d - T1 rel L
    e - T2 acq L
    f - T2 r ready new=true safe
    g - T2 rel L
    h - T2 r x safe $$),
('locks', 'handed over by chance', $$
    a - T1 w x hidden
    b - T1 acq L
    c - T1 w y safe
    d - T1 rel L
    e - T2 acq L
    f - T2 w y safe
    g - T2 rel L
    h - T2 w x hidden $$),
('locks', 'checked without, written under it', $$
    a - T1 r x hidden
    b - T2 r x racy
    c - T1 acq L
    d - T1 w x racy
    e - T1 rel L
    f - T2 acq L
    g - T2 w x hidden
    h - T2 rel L $$),
('locks', 'outer and inner', $$
    a - T1 acq L
    b - T1 acq M
    c - T1 w x safe
    d - T1 rel M
    e - T1 rel L
    f - T2 acq M
    g - T2 w x safe
    h - T2 rel M $$),
('locks', 'the client says which are held', $$
    a - T1 w x locks=m,n safe
    b - T2 w x locks=m safe
    c - T1 w y locks=m racy
    d - T2 w y locks=n racy $$),
('locks', 'same name, two processes', $$
    a - svc/i1/1/T1 acq L
    b - svc/i1/2/T2 acq L
    c - svc/i1/1/T1 w x racy
    d - svc/i1/2/T2 w x racy
    e - svc/i1/1/T1 rel L
    f - svc/i1/2/T2 rel L $$),
('locks', 'shared by all processes', $$
    a - svc/i1/1/T1 acq redis:L
    b - svc/i1/1/T1 w x safe
    c - svc/i1/1/T1 rel redis:L
    d - svc/i2/2/T2 acq redis:L
    e - svc/i2/2/T2 w x safe
    f - svc/i2/2/T2 rel redis:L $$),
('locks', 'left open by an earlier request', $$
    trace A
    a - T1 acq L at=1
    trace B
    b - T1 do work at=10
    c - T1 w x racy
    d - T2 acq L
    e - T2 w x racy
    f - T2 rel L $$),
('locks', 'wait and notify', $$
    a - T1 acq L
    b - T1 rel L
    c - T2 acq L
    d - T2 w ready new=true safe
    e - T2 w item safe
    f - T2 rel L
    g - T1 acq L
    h - T1 r ready new=true safe
    i - T1 r item safe
    j - T1 rel L $$),
('locks', 'asked for while it is held', $$
    a - T1 acq L
    b - T2 acq L
    c - T1 w x safe
    d - T1 rel L
    e - T2 w x safe
    f - T2 rel L $$),
('atomics', 'two counters', $$
    a - T1 rmw n safe
    b - T2 rmw n safe
    c - T1 ar n safe $$),
('atomics', 'published', $$
    a - T1 w x safe
    b - T1 aw ready order=Release safe
    c - T2 ar ready order=Acquire safe
    d - T2 r x safe $$),
('atomics', 'published, relaxed', $$
    a - T1 w x racy
    b - T1 aw ready order=Relaxed safe
    c - T2 ar ready order=Relaxed safe
    d - T2 r x racy $$),
('atomics', 'published by fences', $$
    a - T1 w x safe
    b - T1 fence Release
    c - T1 aw ready order=Relaxed safe
    d - T2 ar ready order=Relaxed safe
    e - T2 fence Acquire
    f - T2 r x safe $$),
('atomics', 'only one fence', $$
    a - T1 w x racy
    b - T1 fence Release
    c - T1 aw ready order=Relaxed safe
    d - T2 ar ready order=Relaxed safe
    e - T2 r x racy $$),
('atomics', 'atomic on one side', $$
    a - T1 aw x racy
    b - T2 w x racy $$),
('atomics', 'read only, atomic or not', $$
    a - T1 r x safe
    b - T2 ar x safe $$),
('atomics', 'handed on by a third', $$
    a - T1 w x safe
    b - T1 aw ready order=Release safe
    c - T2 rmw ready order=Relaxed safe
    d - T3 ar ready order=Acquire safe
    e - T3 r x safe $$),
('atomics', 'looked too early', $$
    a - T2 ar ready order=Acquire safe
    b - T2 r x racy
    c - T1 w x racy
    d - T1 aw ready order=Release safe $$),
('atomics', 'barrier', $$
    a - T1 w x safe
    b - T2 w y safe
    c - T1 rmw arrived order=AcqRel safe
    d - T2 rmw arrived order=AcqRel safe
    e - T1 ar arrived order=Acquire safe
    f - T1 r y safe
    g - T2 r x safe $$),
('atomics', 'went on before the barrier', $$
    a - T1 w x safe
    b - T1 rmw arrived order=AcqRel safe
    c - T1 r y racy
    d - T2 w y racy
    e - T2 rmw arrived order=AcqRel safe
    f - T2 r x safe $$),
('tasks', 'changes threads with a lock', $$
    a - T1 acq L task=one
    b a T2 w x task=one safe
    c b T2 rel L task=one
    d - T1 acq L task=two
    e d T1 w x task=two safe
    f e T3 rel L task=two $$),
('tasks', 'gathered', $$
    a - loop spawn one task=main
    b a loop spawn two task=main
    c a loop w x.one task=one safe
    d b loop w x.two task=two safe
    e a loop await one task=main
    f e loop await two task=main
    g f loop r x.one task=main safe
    h g loop r x.two task=main safe $$),
('tasks', 'gathered, one cell', $$
    a - loop spawn one task=main
    b a loop spawn two task=main
    c a loop r x task=one racy
    d b loop r x task=two racy
    e c loop w x task=one racy
    f d loop w x task=two racy $$),
('tasks', 'background job outlives its request', $$
    a - T1 req POST_/orders
    b a T1 spawn mail
    c b W1 r order racy
    d b T1 w order racy
    e d T1 resp 200 $$),
('event loop', 'two requests read, wait, write', $$
    trace A
    a - MainThread req POST_/buy at=1
    b a MainThread r stock new=1 at=2 racy
    trace B
    c - MainThread req POST_/buy at=3
    d c MainThread r stock new=1 at=4 racy
    trace A
    e b MainThread w stock new=0 at=5 racy
    trace B
    f d MainThread w stock new=0 at=6 racy $$),
('event loop', 'two requests, one asyncio lock', $$
    trace A
    a - MainThread req POST_/buy at=1
    b a MainThread acq stock.lock at=2
    c b MainThread r stock at=3 safe
    trace B
    d - MainThread req POST_/buy at=4
    e d MainThread acq stock.lock at=5
    trace A
    f c MainThread w stock at=6 safe
    g f MainThread rel stock.lock at=7
    trace B
    h e MainThread r stock at=8 safe
    i h MainThread w stock at=9 safe
    j i MainThread rel stock.lock at=10 $$),
('event loop', 'two coroutines of one request', $$
    a - MainThread call handler
    b a MainThread call fetch
    c a MainThread call fetch
    d b MainThread r total racy
    e c MainThread r total racy
    f d MainThread w total racy
    g e MainThread w total racy $$),
('event loop', 'one coroutine', $$
    a - MainThread call handler
    b a MainThread r total safe
    c b MainThread call fetch
    d c MainThread w total safe
    e d MainThread r total safe $$),
('event loop', 'cache filled by each', $$
    trace A
    a - MainThread req GET_/user at=1
    b a MainThread r cache.user7 at=2 racy
    trace B
    c - MainThread req GET_/user at=3
    d c MainThread r cache.user7 at=4 racy
    trace A
    e b MainThread w cache.user7 at=5 racy
    f e MainThread resp 200 at=6
    trace B
    g d MainThread w cache.user7 at=7 racy
    h g MainThread resp 200 at=8 $$),
('pools', 'a thread serves two requests in turn', $$
    trace A
    a - P1 w x at=1 safe
    b - P2 do other at=9
    trace B
    c - P1 w x at=3 safe
    d - P1 do other at=8 $$),
('pools', 'two threads serve two requests', $$
    trace A
    a - P1 req POST_/x at=1
    b a P1 w x at=2 racy
    c b P1 resp 200 at=7
    trace B
    d - P2 req POST_/x at=3
    e d P2 w x at=4 racy
    f e P2 resp 200 at=8 $$),
('pools', 'the same thread id in two processes', $$
    trace A
    a - api/i1/10/ThreadPoolExecutor-0_0 w x at=1 racy
    b - api/i1/10/ThreadPoolExecutor-0_0 do other at=5
    trace B
    c - api/i1/11/ThreadPoolExecutor-0_0 w x at=3 racy
    d - api/i1/11/ThreadPoolExecutor-0_0 do other at=8 $$),
('pools', 'hours apart', $$
    trace A
    a - P1 w x at=1 safe
    trace B
    b - P2 w x at=21600000 safe $$),
('pools', 'a third request hands the lock on', $$
    trace A
    a - P1 acq L at=1
    b - P1 w x at=2 safe
    c - P1 rel L at=3
    d - P1 do other at=20
    trace B
    e - P2 acq L at=4
    f - P2 acq M at=5
    g - P2 rel M at=6
    h - P2 rel L at=7
    trace C
    i - P3 do other at=1
    j - P3 acq M at=8
    k - P3 w y at=9 safe
    l - P3 rel M at=10 $$),
('services', 'call and answer', $$
    a - api/i1/T1 w x span=s1 safe
    b a api/i1/T1 req POST_http://stock/reserve span=s1
    c - stock/i2/T1 req POST_/reserve span=s2 up=s1
    d c stock/i2/T1 w x span=s2 safe
    e d stock/i2/T1 resp 200 span=s2
    f b api/i1/T1 resp 200 span=s1
    g f api/i1/T1 r x span=s1 safe $$),
('services', 'does not wait for the answer', $$
    a - api/i1/T1 req POST_http://stock/reserve span=s1
    b - stock/i2/T1 req POST_/reserve span=s2 up=s1
    c b stock/i2/T1 w x span=s2 racy
    d a api/i1/T1 w x span=s1 racy
    e c stock/i2/T1 resp 200 span=s2 $$),
('services', 'two calls at once', $$
    a - api/i1/T1 w x span=s1 safe
    b a api/i1/T1 req POST_http://stock/a span=s1
    c b api/i1/T1 req POST_http://price/b span=s1
    d - stock/i2/T1 req POST_/a span=s2 up=s1
    e - price/i3/T1 req POST_/b span=s3 up=s1
    f d stock/i2/T1 w x span=s2 racy
    g e price/i3/T1 w x span=s3 racy
    h f stock/i2/T1 resp 200 span=s2
    i g price/i3/T1 resp 200 span=s3 $$),
('services', 'two requests on one row', $$
    trace A
    a - api/i1/T1 req POST_/transfer at=1
    b a api/i1/T1 r balance new=100 at=2 racy
    trace B
    c - api/i2/T1 req POST_/transfer at=3
    d c api/i2/T1 r balance new=100 at=4 racy
    e d api/i2/T1 w balance old=100 new=70 at=5 racy
    trace A
    f b api/i1/T1 w balance old=70 new=90 at=6 racy $$),
('services', 'two requests on one row, locked in the database', $$
    trace A
    a - api/i1/T1 acq db:row at=1
    b - api/i1/T1 r balance new=100 at=2 safe
    trace B
    c - api/i2/T1 do start at=3
    trace A
    d - api/i1/T1 w balance old=100 new=70 at=4 safe
    e - api/i1/T1 rel db:row at=5
    trace B
    f - api/i2/T1 acq db:row at=6
    g - api/i2/T1 r balance new=70 at=7 safe
    h - api/i2/T1 w balance old=70 new=60 at=8 safe
    i - api/i2/T1 rel db:row at=9 $$),
('clocks', 'the client orders', $$
    a - api/i1/T1 w x clock={"api#i1":1} safe
    b - job/i2/T1 w x clock={"api#i1":1,"job#i2":1} safe $$),
('clocks', 'the client says they are concurrent', $$
    a - api/i1/T1 w x clock={"api#i1":1} racy
    b - job/i2/T1 w x clock={"job#i2":1} racy $$);
