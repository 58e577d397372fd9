-- How lock types are read: two threads take turns under a lock and write. Where
-- the type keeps them apart that is no race, where it does not it is one.
\getenv inputdir PG_ABS_SRCDIR
\set programs :inputdir '/data/programs.sql'
\set QUIET on
SET client_min_messages = warning;
\i :programs
CREATE TEMP TABLE spellings (n int GENERATED ALWAYS AS IDENTITY, language text, lock_type text, excludes boolean);
INSERT INTO spellings (language, lock_type, excludes) VALUES
('any', 'Mutex', true), ('any', 'ThreadLock', true), ('any', 'SpreadLock', true), ('any', 'ReadyLock', true),
('any', 'readylock', true), ('any', 'ShareholderLock', true), ('any', 'Java''s lock', true), ('any', 'S3Lock', true),
('any', 'Spinlock', true), ('any', 'redlock', true), ('any', 'RedLock', true), ('any', '', true),
('any', 'RWLock', true), ('any', 'RWLock-Read', false), ('any', 'RWLock-Write', true), ('any', 'rwlock:r', false),
('any', 'rwlock:w', true), ('any', 'READLOCK', false), ('any', 'writelock', true), ('any', 'shared', false),
('any', 'exclusive', true), ('any', 'read/write lock', true), ('any', 'multi-reader single-writer lock', true),
('any', 'multi-reader single-writer lock (read)', false), ('any', 'shared=false', true), ('any', 'exclusive=false', false),
('any', 'non-exclusive', false), ('any', 'RW-Lock, écriture', true),
('Java', 'ReentrantLock', true), ('Java', 'ReentrantReadWriteLock', true),
('Java', 'java.util.concurrent.locks.ReentrantReadWriteLock$WriteLock', true),
('Java', 'ReentrantReadWriteLock.ReadLock', false), ('Java', 'ReentrantReadWriteLock.WriteLock', true),
('Java', 'readWriteLock.readLock', false), ('Java', 'readWriteLock.writeLock', true),
('Java', 'StampedLock.readLock', false), ('Java', 'StampedLock.tryOptimisticRead', false),
('Java', 'StampedLock.writeLock', true), ('Java', 'StampedLock', true), ('Java', 'java.util.concurrent.Semaphore', false),
('Java', 'Semaphore(1, true)', true), ('Java', 'FileLock(shared=true)', false), ('Java', 'RedissonLock', true),
('Java', 'org.redisson.api.RLock', true), ('Java', 'RedissonReadLock', false), ('Java', 'RedissonWriteLock', true),
('Java', 'InterProcessSemaphoreMutex', true), ('Java', 'synchronized', true),
('Go', 'sync.Mutex', true), ('Go', 'sync.RWMutex', true), ('Go', 'sync.RWMutex.Lock', true),
('Go', 'sync.RWMutex.RLock', false), ('Go', 'RLock', false), ('Go', 'mu.RUnlock', false), ('Go', 'RWMutex.TryRLock', false),
('Go', 'sync.RWMutex.RLocker', false), ('Go', 'semaphore.Weighted(10)', false), ('Go', 'rlock', false),
('Python', 'threading.Lock', true), ('Python', 'threading.RLock', true), ('Python', '_thread.RLock', true),
('Python', 'multiprocessing.RLock', true), ('Python', 'asyncio.Lock', true), ('Python', 'asyncio.Semaphore(3)', false),
('Python', 'threading.BoundedSemaphore(1)', true), ('Python', 'BoundedSemaphore(value=4)', false),
('Python', 'fcntl.LOCK_EX', true), ('Python', 'fcntl.LOCK_SH', false), ('Python', 'LOCK_EX|LOCK_NB', true),
('Python', 'LOCK_SH | LOCK_NB', false), ('Python', 'Semaphore', false),
('Rust', 'RwLock::read', false), ('Rust', 'RwLock::Write', true), ('Rust', 'std::sync::RwLockReadGuard', false),
('Rust', 'RwLockWriteGuard', true), ('Rust', 'RwLock::try_read', false), ('Rust', 'parking_lot::Mutex', true),
('Rust', 'OwnedRwLockReadGuard', false), ('Rust', 'tokio::sync::Semaphore(8)', false),
('C', 'pthread_mutex_t', true), ('C', 'pthread_rwlock_rdlock', false), ('C', 'pthread_rwlock_wrlock', true),
('C', 'rwlock_tryrdlock', false), ('C', 'F_RDLCK', false), ('C', 'F_WRLCK', true), ('C', 'AcquireSRWLockShared', false),
('C', 'AcquireSRWLockExclusive', true), ('C', 'LOCKFILE_EXCLUSIVE_LOCK', true), ('C', 'down_read(&rw_semaphore)', false),
('C', 'sem_t', false), ('C', 'os_unfair_lock', true), ('C', 'LW_SHARED', false), ('C', 'LW_EXCLUSIVE', true),
('C++', 'std::unique_lock<std::shared_mutex>', true), ('C++', 'unique_lock<shared_mutex>', true),
('C++', 'std::shared_lock<std::shared_mutex>', false), ('C++', 'lock_guard<shared_timed_mutex>', true),
('C++', 'shared_mutex::lock_shared', false), ('C++', 'shared_mutex::lock', true), ('C++', 'std::scoped_lock', true),
('C++', 'absl::ReaderMutexLock', false), ('C++', 'absl::WriterMutexLock', true), ('C++', 'QReadLocker', false),
('C++', 'QWriteLocker', true), ('C++', 'folly::SharedMutex::ReadHolder', false),
('C++', 'boost::upgrade_to_unique_lock', true), ('C++', 'std::binary_semaphore', true),
('C++', 'std::counting_semaphore<4>', false), ('C++', 'std::counting_semaphore<1>', true),
('C#', 'ReaderWriterLockSlim', true), ('C#', 'ReaderWriterLockSlim.EnterReadLock', false),
('C#', 'ReaderWriterLockSlim.EnterWriteLock', true), ('C#', 'EnterWriteLock', true),
('C#', 'ReaderWriterLockSlim.EnterUpgradeableReadLock', false), ('C#', 'AcquireReaderLock', false),
('C#', 'AsyncReaderWriterLock.WriterLockAsync', true), ('C#', 'SemaphoreSlim(1, 1)', true),
('C#', 'SemaphoreSlim(0, 3)', false), ('C#', 'Monitor', true),
('JavaScript', 'async-mutex', true), ('JavaScript', 'navigator.locks (mode: shared)', false),
('JavaScript', 'rwlock.readLock', false), ('JavaScript', 'rwlock.writeLock', true), ('JavaScript', 'Semaphore:5', false),
('Ruby', 'Thread::Mutex', true), ('Ruby', 'Monitor', true), ('Ruby', 'ReadWriteLock#acquire_read_lock', false),
('Ruby', 'ReentrantReadWriteLock#with_write_lock', true), ('Ruby', 'File::LOCK_SH', false), ('Ruby', 'File::LOCK_EX', true),
('Swift', 'NSRecursiveLock', true), ('Swift', 'DispatchSemaphore(value: 2)', false), ('Kotlin', 'Mutex.withLock', true),
('Delphi', 'TMultiReadExclusiveWriteSynchronizer.BeginRead', false),
('Delphi', 'TMultiReadExclusiveWriteSynchronizer.BeginWrite', true),
('PostgreSQL', 'AccessShareLock', false), ('PostgreSQL', 'RowShareLock', false), ('PostgreSQL', 'RowExclusiveLock', false),
('PostgreSQL', 'ShareLock', false), ('PostgreSQL', 'ShareUpdateExclusiveLock', true),
('PostgreSQL', 'ShareRowExclusiveLock', true), ('PostgreSQL', 'ExclusiveLock', true),
('PostgreSQL', 'AccessExclusiveLock', true), ('PostgreSQL', 'accessexclusivelock', true),
('PostgreSQL', 'accesssharelock', false), ('PostgreSQL', 'SHARE ROW EXCLUSIVE', true), ('PostgreSQL', 'ROW EXCLUSIVE', false),
('PostgreSQL', 'FOR UPDATE', true), ('PostgreSQL', 'FOR NO KEY UPDATE', true), ('PostgreSQL', 'FOR SHARE', false),
('PostgreSQL', 'FOR KEY SHARE', false), ('PostgreSQL', 'pg_advisory_lock', true),
('PostgreSQL', 'pg_advisory_xact_lock_shared', false),
('MySQL', 'LOCK IN SHARE MODE', false), ('MySQL', 'S', false), ('MySQL', 'X', true), ('MySQL', 'IS', false),
('MySQL', 'IX', false), ('MySQL', 'S,REC_NOT_GAP', false), ('MySQL', 'X,REC_NOT_GAP', true),
('MySQL', 'X,INSERT_INTENTION', false), ('MySQL', 'LOCK TABLES t READ', false), ('MySQL', 'LOCK TABLES t WRITE', true),
('MySQL', 'INTENTION_EXCLUSIVE', false), ('MySQL', 'SHARED_READ', false), ('MySQL', 'SHARED_NO_READ_WRITE', true),
('SQL Server', 'UPDLOCK', true), ('SQL Server', 'Sch-S', false), ('SQL Server', 'Sch-M', true), ('SQL Server', 'SIX', true);
SELECT count(*) AS spellings, count(DISTINCT language) - 1 AS languages FROM spellings;

-- Those that are read wrongly: there must be none.
CREATE TEMP TABLE verdicts AS
SELECT s.*, pg_temp.load_program(format($$
    p - T1 acq L
    a - T1 w v%1$s old=0 new=1
    q - T1 rel L
    r - T2 acq L
    b - T2 w v%1$s old=1 new=2
    s - T2 rel L$$, n)) AS run FROM spellings s;
UPDATE trace_ext.events e SET attributes = attributes || jsonb_build_object('lock_type', v.lock_type)
  FROM verdicts v JOIN program_events p USING (run) WHERE p.id = e.id AND p.trace_id = e.trace_id AND e.kind IN ('LockAcquire', 'LockRelease');
SELECT language, lock_type, excludes, r.races
  FROM verdicts, LATERAL trace_ext.count_variable_races('v' || verdicts.n) AS r (races)
 WHERE excludes <> (r.races = 0) ORDER BY verdicts.n;

-- A semaphore by which one thread lets another go on orders the two, though it
-- keeps nobody out.
SELECT pg_temp.races_of($$
    a - T1 w x
    p - T1 rel S type=Semaphore
    q - T2 acq S type=Semaphore
    b - T2 w x
    c - T1 w y
    r - T1 rel S type=Semaphore
    s - T2 acq S type=Semaphore
    d - T2 w y$$) AS signalled;
SELECT pg_temp.races_of($$
    p - T1 acq S type=Semaphore
    a - T1 w x
    q - T1 rel S type=Semaphore
    r - T2 acq S type=Semaphore
    b - T2 w x
    s - T2 rel S type=Semaphore$$) AS let_in_both;
