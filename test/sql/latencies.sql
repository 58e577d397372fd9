-- latencies, kind_latencies: exact however events came and went, within
-- trace_ext.max_operations.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE PROCEDURE plain.calls(service text, names text[], at timestamptz = '2001-02-03 04:05:06+00', ns bigint = 1000000)
LANGUAGE sql AS $$
    INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
    SELECT gen_random_uuid(), gen_random_uuid(), at, 'FunctionCall', n, service, ns FROM unnest(names) n;
$$;
CREATE VIEW plain.shown AS
SELECT hour, service_name, operation, calls, total_count(latency) AS durations, total_sum(latency) AS ns FROM latencies;

-- What differs from call to call is no operation of its own; nothing is lost that has no name or duration.
CALL plain.calls('api', ARRAY['get 1', 'get 2', 'put', NULL]);
CALL plain.calls('api', ARRAY['put'], ns => NULL);
CALL plain.calls('api', ARRAY['put'], ns => -5);
CALL plain.calls(NULL, ARRAY['put'], ns => 0);
SELECT * FROM plain.shown ORDER BY 2, 3;
SELECT hour, service_name, kind, calls, errors, quantile(latency, 0.5) FROM kind_latencies ORDER BY 2;
SELECT * FROM plain.differences();
CALL plain.fold();
SELECT * FROM plain.shown ORDER BY 2, 3;
SELECT * FROM plain.differences();
SELECT * FROM verify_summaries();

-- An update of what only counts show does not have the trace read again.
UPDATE events SET parent_id = plain.id('0');
CALL plain.fold();
UPDATE events SET duration_ns = duration_ns, tags = '{}';
SELECT count(*) FROM summary_deltas;
SELECT count(*) FROM count_deltas;
UPDATE events SET name = 'post 9' WHERE name = 'get 1';
SELECT bool_or(recompute) FROM summary_deltas;
SELECT * FROM plain.shown ORDER BY 2, 3;
SELECT * FROM plain.differences();
CALL plain.fold();
SELECT * FROM verify_summaries();

-- More operations than a service may have: the first by name have rows of their own, and what
-- is counted in "(other)" stays there and goes from there.
TRUNCATE events;
SET trace_ext.max_operations = 3;
CALL plain.calls('api', ARRAY['e', 'd', 'c', 'b', 'a', 'a', NULL]);
CALL plain.calls('bank', ARRAY['c', 'b', 'a']);
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;        -- before a fold has found out
CALL plain.fold();
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;
SELECT * FROM verify_summaries();
CALL plain.calls('api', ARRAY['a', 'e', 'f', '(other)']);
CALL plain.calls('bank', ARRAY['(other)']);
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;
SELECT * FROM verify_summaries();
CALL plain.fold();
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;
CALL plain.calls('bank', ARRAY['d']);                                      -- "(other)" is the name of an operation of it
DELETE FROM events WHERE name IN ('e', 'b');
SET trace_ext.max_operations = 100;
CALL plain.calls('api', ARRAY['g']);                                       -- where "(other)" has been, it stays
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;
SELECT * FROM verify_summaries();
CALL plain.fold();
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;
SELECT * FROM verify_summaries();
DELETE FROM events WHERE service_name = 'api';
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;
SELECT * FROM verify_summaries();
CALL plain.calls('api', ARRAY['a', 'b', 'c', 'd', 'e']);
SELECT rebuild_summaries();
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;
SELECT * FROM verify_summaries();
SELECT service_key, operation FROM operation_names ORDER BY 1, 2;
RESET trace_ext.max_operations;

-- Partitions that come, are cut within an hour, and go.
TRUNCATE events;
CALL plain.calls('api', ARRAY['f 1'], '2001-02-03 04:29:59+00', 100);
CALL plain.calls('api', ARRAY['f 2'], '2001-02-03 04:30:00+00', 200);
CALL plain.calls('api', ARRAY['f 3'], '2001-02-03 06:10:00+00', 300);
CALL plain.calls('api', ARRAY['f 4'], '2001-02-03 06:30:00+00', 400);
CREATE TABLE plain.half (LIKE events INCLUDING ALL);
BEGIN;
WITH moved AS (DELETE FROM events WHERE "timestamp" >= '2001-02-03 04:30:00+00' AND "timestamp" < '2001-02-03 06:30:00+00' RETURNING *)
INSERT INTO plain.half SELECT * FROM moved;
ALTER TABLE events ATTACH PARTITION plain.half FOR VALUES FROM ('2001-02-03 04:30:00+00') TO ('2001-02-03 06:30:00+00');
SELECT * FROM plain.differences();
COMMIT;
SELECT * FROM plain.shown ORDER BY 1;
CALL plain.fold();
SELECT * FROM plain.shown ORDER BY 1;
SELECT * FROM verify_summaries();
ALTER TABLE events DETACH PARTITION plain.half;
SELECT * FROM plain.shown ORDER BY 1;
SELECT * FROM plain.differences();
SELECT * FROM verify_summaries();
ALTER TABLE events ATTACH PARTITION plain.half FOR VALUES FROM ('2001-02-03 04:30:00+00') TO ('2001-02-03 06:30:00+00');
SELECT * FROM plain.shown ORDER BY 1;
TRUNCATE plain.half;
SELECT * FROM plain.shown ORDER BY 1;
SELECT * FROM verify_summaries();
-- Names that are no longer used make room, and "(other)" once nothing is counted there.
SET trace_ext.max_operations = 2;
CALL plain.calls('api', ARRAY['g', 'h', 'i'], '2001-02-03 05:00:00+00');
CALL plain.fold();
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;
ALTER TABLE events DETACH PARTITION plain.half;
CALL plain.calls('api', ARRAY['i'], '2001-02-03 05:00:00+00');
CALL plain.fold();
SELECT service_name, operation, calls FROM latencies ORDER BY 1, 2;
SELECT * FROM verify_summaries();
RESET trace_ext.max_operations;
TRUNCATE events;
SELECT count(*) FROM latencies;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
