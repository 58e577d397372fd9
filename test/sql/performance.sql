-- performance_metrics(): the whole store in one document; slowest events, throughput.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT performance_metrics() - 'throughput' - 'as_of' AS empty_store;
CREATE TABLE perf_1 PARTITION OF events FOR VALUES FROM ('2001-02-01 00:00:00+00') TO ('2001-02-02 00:00:00+00');
CREATE TABLE perf_2 PARTITION OF events FOR VALUES FROM ('2001-02-02 00:00:00+00') TO ('2001-02-03 00:00:00+00');
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns, attributes)
VALUES (plain.id('a1'), plain.id('1'), '2001-02-01 10:00:00+00', 'FunctionCall', 'f 1', 'api', 1000000, NULL),
       (plain.id('a1'), plain.id('2'), '2001-02-01 10:00:01+00', 'FunctionCall', 'f 2', 'api', 3000000, NULL),
       (plain.id('a1'), plain.id('3'), '2001-02-01 10:30:00+00', 'DatabaseQuery', 'SELECT 1', 'bank', 8000000, NULL),
       (plain.id('a2'), plain.id('4'), '2001-02-02 10:18:30+00', 'HttpResponse', '500', 'api', 2000000, '{"status": 500}'),
       (plain.id('a2'), plain.id('5'), '2001-02-02 10:19:10+00', 'Custom', 'c', NULL, 0, NULL),
       (plain.id('a3'), plain.id('6'), '2001-02-02 10:19:40+00', 'Custom', 'c', 'api', -5, NULL),
       (plain.id('a4'), plain.id('7'), '2001-02-02 10:20:00+00', 'Custom', 'c', 'api', NULL, NULL);
CREATE VIEW plain.performance AS SELECT performance_metrics_at('2001-02-02 10:20:00+00', 3) AS p;
SELECT jsonb_pretty(p - 'throughput') FROM plain.performance;
SELECT t FROM plain.performance, jsonb_array_elements(p -> 'throughput') t WHERE (t -> 'traces')::int > 0;
SELECT jsonb_array_length(p -> 'throughput') AS minutes, min(t ->> 'minute'), max(t ->> 'minute') FROM plain.performance, jsonb_array_elements(p -> 'throughput') t GROUP BY 1;
CREATE TEMP TABLE outstanding AS SELECT * FROM plain.performance;
CALL plain.fold();
SELECT count(*) FROM plain.performance NATURAL JOIN outstanding;

-- The slowest events are those that all events have, at random; after deletes too, which leave maxima that are too high.
SELECT setseed(0.4);
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
SELECT md5('t' || i / 5)::uuid, md5('e' || i)::uuid, '2001-01-31 12:00:00+00'::timestamptz + random() * interval '60 hours',
       (ARRAY['FunctionCall', 'DatabaseQuery', 'Custom'])[1 + i % 3]::event_kind, 'n' || i % 7, 's' || i % 4, (exp(random() * 20) * 10)::bigint
  FROM generate_series(1, 3000) i;
CREATE FUNCTION plain.slowest_differ(n int) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM ((SELECT duration_ns FROM slowest_events(n) EXCEPT ALL (SELECT duration_ns FROM events WHERE duration_ns >= 0 ORDER BY 1 DESC LIMIT n))
                          UNION ALL ((SELECT duration_ns FROM events WHERE duration_ns >= 0 ORDER BY 1 DESC LIMIT n) EXCEPT ALL SELECT duration_ns FROM slowest_events(n))) d
$$;
SELECT n, plain.slowest_differ(n) FROM unnest('{1, 2, 7, 50, 300, 3000, 5000}'::int[]) n;
CALL plain.fold();
SELECT n, plain.slowest_differ(n) FROM unnest('{1, 2, 7, 50, 300, 3000, 5000}'::int[]) n;
DELETE FROM events WHERE id IN (SELECT id FROM (SELECT id FROM events WHERE duration_ns >= 0 ORDER BY duration_ns DESC LIMIT 400) d WHERE random() < 0.7);
SELECT n, plain.slowest_differ(n) FROM unnest('{1, 2, 7, 50, 300, 3000, 5000}'::int[]) n;
CALL plain.fold();
SELECT n, plain.slowest_differ(n) FROM unnest('{1, 2, 7, 50, 300, 3000, 5000}'::int[]) n;
INSERT INTO events (trace_id, id, "timestamp", kind, duration_ns) VALUES (plain.id('a9'), plain.id('9'), '2001-02-01 00:00:00+00', 'Custom', 9223372036854775807);
SELECT trace_id, duration_ns FROM slowest_events(1);
UPDATE events SET duration_ns = 6 WHERE id = plain.id('9');
SELECT n, plain.slowest_differ(n) FROM unnest('{1, 2, 7, 50, 300, 3000, 5000}'::int[]) n;
DROP TABLE perf_1;
SELECT n, plain.slowest_differ(n) FROM unnest('{1, 2, 7, 50, 300, 3000, 5000}'::int[]) n;
WITH performance AS MATERIALIZED (SELECT * FROM plain.performance)
SELECT (p #>> '{overall,events}')::int = (SELECT count(*) FROM events) AS events, (p #>> '{overall,traces}')::int = (SELECT count(DISTINCT trace_id) FROM events) AS traces,
       abs((p #>> '{overall,p95_ms}')::float * 1e6 / (SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ns) FROM events WHERE duration_ns >= 0) - 1) < 0.022 AS p95,
       (p #>> '{by_service,0,total_ms}')::float * 1e6 / (SELECT sum(duration_ns) FROM events WHERE service_name = p #>> '{by_service,0,service_name}') BETWEEN 0.999999 AND 1.000001 AS total
  FROM performance;

-- Only partitions that can have what is slowest are opened.
CALL plain.fold();
BEGIN;
SELECT count(*) FROM slowest_events(1);
SELECT count(DISTINCT l.relation) AS partitions FROM pg_locks l JOIN pg_inherits i ON i.inhrelid = l.relation WHERE l.pid = pg_backend_pid() AND i.inhparent = 'trace_ext.events'::regclass;
COMMIT;
\set VERBOSITY terse
SELECT performance_metrics(0);
SELECT performance_metrics(NULL);
SELECT performance_metrics(1001);
SELECT jsonb_array_length(performance_metrics(2) -> 'slowest_events');
TRUNCATE events;
DROP TABLE perf_2;
SELECT * FROM slowest_events(10);
DROP SCHEMA plain CASCADE;
