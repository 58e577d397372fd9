-- Two days of 30 services, of which five fall ill at the end: each is named by the first
-- question that a person would ask.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set week :abs_srcdir '/../bench/week.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;
\set now '\'2026-03-08 10:20:00+00\''
\set hours 52
\set per_hour 120
\o /dev/null
\i :week
DO $$
BEGIN
    WHILE trace_ext_internal.baseline_step('2026-03-08 09:20:00+00') LOOP END LOOP;
    WHILE trace_ext_internal.anomaly_step() > 0 LOOP END LOOP;
END $$;
\o
\set ECHO all

-- Who is ill, since when, and why? A slow deploy, a convoy, errors, and one that is dead.
SELECT service_name, status, date_trunc('hour', since) AS since FROM service_health_at(:now, '60 min') WHERE status <> 'healthy';
SELECT service_name, unnest(reasons) AS reason FROM service_health_at(:now, '60 min') WHERE status <> 'healthy';
-- What changed since yesterday? One query has become thirty.
SELECT service_name, operation, round(change_calls::numeric) AS more FROM operations_at(:now, '24 hours', NULL, 1000)
 WHERE kind <> 'HttpResponse' ORDER BY abs(change_calls) DESC NULLS LAST LIMIT 1;
-- What is waited for?
SELECT lock, service_name, waits > 5 AS often FROM lock_contention_at(:now, '3 hours', 50, 20000) LIMIT 1;
-- What is unusual? Of each kind what occurred most.
SELECT DISTINCT ON (kind) kind, service_name, operation, occurrences > 20 AS often FROM anomalies WHERE service_name <> 'gateway' ORDER BY kind, occurrences DESC;
SELECT evidence FROM anomalies WHERE operation IN ('stock', 'SELECT price FROM prices WHERE sku = $1', 'CardProviderTimeout', 'SELECT * FROM checkout WHERE id = $1') ORDER BY kind, service_name, operation;

TRUNCATE events, anomalies, anomaly_parts, anomaly_queue;
UPDATE announcements SET total = 0, ids = '{}';
DROP SCHEMA week CASCADE;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
