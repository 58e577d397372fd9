-- operations(): each operation within whole hours, against as many hours before; total_latencies.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE PROCEDURE plain.calls(service text, kind event_kind, name text, at timestamptz, ns bigint[])
LANGUAGE sql AS $$
    INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
    SELECT gen_random_uuid(), gen_random_uuid(), at, kind, name, service, n FROM unnest(ns) n;
$$;
CREATE FUNCTION plain.ms(variadic ms int[]) RETURNS bigint[] LANGUAGE sql AS $$ SELECT array_agg(m * 1000000::bigint) FROM unnest(ms) m $$;

-- Which hours: those that the time touches, and as many before them; hours of UTC, in whatever zone, over a change of the clock too.
SELECT * FROM hours_back('2001-02-03 10:20:00+00', '1 hour', 'since');
SELECT before_from, from_hour, until_hour FROM hours_back('2001-02-03 10:00:00+00', '1 hour', 'since');
SELECT before_from, from_hour, until_hour FROM hours_back('2001-02-03 10:59:59+00', '10 min', 'since');
SELECT before_from, from_hour, until_hour FROM hours_back('2001-02-03 10:20:00+00', '1 day', 'since');
SET timezone = 'Europe/Berlin';
SELECT before_from AT TIME ZONE 'UTC' AS before_from, from_hour AT TIME ZONE 'UTC' AS from_hour FROM hours_back('2001-03-26 10:20:00+00', '1 day', 'since');
SET timezone = 'Asia/Kolkata';
SELECT before_from AT TIME ZONE 'UTC' AS before_from, from_hour AT TIME ZONE 'UTC' AS from_hour FROM hours_back('2001-03-26 10:20:00+00', '1 hour', 'since');
SET timezone = 'UTC';

-- Before: 8:00 to 9:00 (nothing was stored at 7:00). Now: 9:00 to 10:20.
CALL plain.calls('api', 'DatabaseQuery', 'SELECT 1', '2001-02-03 08:30:00+00', plain.ms(10, 10, 10));
CALL plain.calls('api', 'FunctionCall', 'gone', '2001-02-03 08:30:00+00', plain.ms(5));
CALL plain.calls('api', 'Error', 'oops', '2001-02-03 08:30:00+00', '{NULL}');
CALL plain.calls('api', 'DatabaseQuery', 'SELECT 2', '2001-02-03 09:10:00+00', plain.ms(20, 20, 20, 40));
CALL plain.calls('api', 'StateChange', NULL, '2001-02-03 10:10:00+00', '{}');
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, attributes)
SELECT plain.id('a'), plain.id(i::text), '2001-02-03 10:10:00+00', 'StateChange', 'v', 'api', '{"access_type": "Write"}' FROM generate_series(1, 9) i;
CALL plain.calls('bank', 'FunctionCall', 'transfer', '2001-02-03 10:19:00+00', plain.ms(100));
CALL plain.calls(NULL, 'Custom', NULL, '2001-02-03 10:19:00+00', '{NULL, 100000000}');
CALL plain.calls('later', 'Custom', 'x', '2001-02-03 11:00:00+00', plain.ms(1));
SELECT service_name, kind, operation, calls, errors, error_rate, p50_ms, p95_ms, p99_ms, max_ms, total_ms, share FROM operations_at('2001-02-03 10:20:00+00', '1 hour', NULL, 50);
SELECT service_name, operation, calls, change_calls, change_errors, change_p95, counted_from, compared_from FROM operations_at('2001-02-03 10:20:00+00', '1 hour', NULL, 50);
CREATE TEMP TABLE outstanding AS SELECT * FROM operations_at('2001-02-03 10:20:00+00', '1 hour', NULL, 50);
CALL plain.fold();
SELECT count(*) FROM (SELECT * FROM outstanding EXCEPT ALL SELECT * FROM operations_at('2001-02-03 10:20:00+00', '1 hour', NULL, 50)) d;
-- Of one service; the share is of all.
SELECT service_name, operation, calls, share FROM operations_at('2001-02-03 10:20:00+00', '1 hour', 'bank', 50);
SELECT service_name, operation, calls, share FROM operations_at('2001-02-03 10:20:00+00', '1 hour', '', 50);
SELECT service_name, operation, calls FROM operations_at('2001-02-03 10:20:00+00', '1 hour', NULL, 2);
-- What fails more often.
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, attributes)
SELECT plain.id('b'), plain.id(i::text), CASE WHEN i <= 10 THEN '2001-02-03 08:10:00+00' ELSE '2001-02-03 09:10:00+00' END::timestamptz, 'HttpResponse', 'r', 'api',
       jsonb_build_object('status', CASE WHEN i IN (1, 11, 12, 13) THEN 500 ELSE 200 END) FROM generate_series(1, 20) i;
SELECT calls, errors, error_rate, change_errors FROM operations_at('2001-02-03 10:20:00+00', '1 hour', NULL, 50) WHERE kind = 'HttpResponse';
-- The public function has the clock's hour.
CALL plain.calls('now', 'FunctionCall', 'f 1', now(), plain.ms(7));
SELECT service_name, operation, calls, p50_ms, change_calls, counted_from = date_bin('1 hour', now() - interval '5 min', '2000-01-01 00:00+00') AS hour FROM operations('5 min');

-- Over all hours: the sum of latencies, however events come and go.
CREATE VIEW plain.total_differences AS
SELECT service_name, kind, operation, calls, errors, writes, latency FROM total_latencies
EXCEPT ALL
SELECT service_name, kind, operation, sum(calls)::bigint, sum(errors)::bigint, sum(writes)::bigint, merge(latency) FROM latencies GROUP BY 1, 2, 3;
SELECT service_name, kind, operation, calls, errors, writes, total_sum(latency) AS ns FROM total_latencies ORDER BY 1, 2, 3;
SELECT count(*) FROM plain.total_differences;
DELETE FROM events WHERE service_name = 'bank' OR kind = 'Error';
SELECT count(*) FROM plain.total_differences;
CALL plain.fold();
SELECT count(*) FROM plain.total_differences;
SELECT * FROM verify_summaries();
CREATE TABLE plain.hours (LIKE events INCLUDING ALL);
BEGIN;
WITH moved AS (DELETE FROM events WHERE "timestamp" >= '2001-02-03 08:20:00+00' AND "timestamp" < '2001-02-03 10:15:00+00' RETURNING *)
INSERT INTO plain.hours SELECT * FROM moved;
ALTER TABLE events ATTACH PARTITION plain.hours FOR VALUES FROM ('2001-02-03 08:20:00+00') TO ('2001-02-03 10:15:00+00');
COMMIT;
SELECT count(*) FROM plain.total_differences;
CALL plain.fold();
SELECT service_name FROM service_seen ORDER BY 1;
ALTER TABLE events DETACH PARTITION plain.hours;
SELECT count(*) FROM plain.total_differences;
SELECT service_name, kind, operation, calls, errors, writes, total_sum(latency) AS ns FROM total_latencies ORDER BY 1, 2, 3;
CALL plain.fold();
SELECT * FROM plain.differences();
SELECT * FROM verify_summaries();
DROP TABLE plain.hours;
CREATE TEMP TABLE kept AS SELECT service_name, kind, operation, event_count, error_count, write_count, latency FROM operation_totals WHERE event_count <> 0;
SELECT rebuild_summaries();
SELECT count(*) AS rows, (SELECT count(*) FROM (SELECT * FROM kept EXCEPT ALL SELECT * FROM operation_totals) d) AS differences FROM kept;
UPDATE operation_totals SET event_count = event_count + 1 WHERE service_name = 'later';
SELECT item, key FROM verify_summaries();
TRUNCATE events;
SELECT (SELECT count(*) FROM operation_totals), (SELECT count(*) FROM service_seen);

-- What is no argument.
\set VERBOSITY terse
SELECT * FROM operations(NULL);
SELECT * FROM operations('-1 hour');
SELECT * FROM operations('0');
SELECT * FROM operations('101 years');
SELECT * FROM operations(page_size => 0);
SELECT * FROM operations(page_size => 10001);
SELECT * FROM operations(page_size => NULL);
SELECT count(*) FROM operations('100 years', page_size => 10000::bigint, service => 'x'::varchar);
DROP SCHEMA plain CASCADE;
