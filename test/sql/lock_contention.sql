-- lock_contention(): what waits for which lock.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE PROCEDURE plain.acquire(trace text, lock text, service text, thread text, at timestamptz, ms float)
LANGUAGE sql AS $$
    INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, thread_id, duration_ns)
    VALUES (plain.id(trace), gen_random_uuid(), at, 'LockAcquire', lock, service, thread, (ms * 1000000)::bigint);
$$;
CALL plain.acquire('a1', 'stock', 'shop', 't1', '2001-02-03 09:10:00+00', 10);
CALL plain.acquire('a2', 'stock', 'shop', 't2', '2001-02-03 10:05:00+00', 30);
CALL plain.acquire('a3', 'stock', 'shop', 't2', '2001-02-03 10:06:00+00', 20);
CALL plain.acquire('a4', 'stock', 'shop', 't3', '2001-02-03 10:07:00+00', 0);
CALL plain.acquire('a5', 'stock', 'shop', 't4', '2001-02-03 10:07:00+00', NULL);
CALL plain.acquire('a6', 'row.1', 'bank', 't1', '2001-02-03 10:08:00+00', 70);
CALL plain.acquire('a7', 'row.2', 'bank', NULL, '2001-02-03 10:09:00+00', 1);
CALL plain.acquire('a8', 'row.2', NULL, NULL, '2001-02-03 10:09:00+00', 1);
CALL plain.acquire('a9', 'free', 'bank', 't1', '2001-02-03 10:10:00+00', 0);
CALL plain.acquire('aa', 'never', 'bank', 't1', '2001-02-03 10:10:00+00', NULL);
-- Before the window, and after it.
CALL plain.acquire('ab', 'stock', 'shop', 't5', '2001-02-03 08:59:59+00', 1000);
CALL plain.acquire('ac', 'stock', 'shop', 't6', '2001-02-03 11:00:00+00', 1000);
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns) VALUES (plain.id('a1'), plain.id('1'), '2001-02-03 10:00:00+00', 'FunctionCall', 'stock', 'shop', 99000000);
SELECT * FROM lock_contention_at('2001-02-03 10:20:00+00', '1 hour', 50, 100);
CREATE TEMP TABLE outstanding AS SELECT * FROM lock_contention_at('2001-02-03 10:20:00+00', '1 hour', 50, 100);
CALL plain.fold();
SELECT count(*) FROM (SELECT * FROM outstanding EXCEPT ALL SELECT * FROM lock_contention_at('2001-02-03 10:20:00+00', '1 hour', 50, 100)) d;
-- Where too many waited, holders are not told, but the worst trace is.
SELECT lock, service_name, waits, holders, worst_trace FROM lock_contention_at('2001-02-03 10:20:00+00', '1 hour', 2, 5);
SELECT lock, service_name, waits, holders, worst_trace FROM lock_contention_at('2001-02-03 10:20:00+00', '1 hour', 2, 6);
-- The percentile is of those that waited.
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
SELECT plain.id('c'), gen_random_uuid(), '2001-02-03 10:00:00+00', 'LockAcquire', 'often', 'shop', CASE WHEN i <= 1000 THEN 0 ELSE (i - 1000) * 1000000 END FROM generate_series(1, 1100) i;
SELECT lock, acquires, waits, wait_ms, p95_wait_ms BETWEEN 92.9 AND 97.1 AS p95 FROM lock_contention_at('2001-02-03 10:20:00+00', '1 hour', 1, 100);
-- Of more than ten locks, the ten worst are looked at.
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
SELECT plain.id('d'), gen_random_uuid(), now(), 'LockAcquire', 'lock ' || chr(64 + i), 'shop', i * 1000000 FROM generate_series(1, 12) i;
SELECT lock, waits, wait_ms, holders, worst_trace FROM lock_contention();
\set VERBOSITY terse
SELECT * FROM lock_contention(NULL);
SELECT * FROM lock_contention('-1 hour');
SELECT * FROM lock_contention(page_size => 0);
TRUNCATE events;
SELECT * FROM lock_contention();
DROP SCHEMA plain CASCADE;
