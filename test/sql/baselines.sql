-- baseline_metrics: the sum of completed hours, however they come, change and go.
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

CREATE PROCEDURE plain.calls(n int, at timestamptz, ms double precision, operation text = 'transfer', service text = 'bank') LANGUAGE sql AS $$
    INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
    SELECT gen_random_uuid(), gen_random_uuid(), at + i * interval '1 second', 'FunctionCall', operation, service, (ms * 1e6)::bigint
      FROM generate_series(1, n) i;
$$;
-- As a job does, to the end.
CREATE PROCEDURE plain.baselines(at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM fold();
    WHILE baseline_step(at) LOOP END LOOP;
END $$;
CREATE VIEW plain.shown AS SELECT service_name, operation, count, round(mean_ms) AS mean, round(p50_ms) AS p50, round(p99_ms) AS p99 FROM baseline_metrics;
-- What is in them and should not be (-), or should be and is not (+): no row means exact.
CREATE FUNCTION plain.wrong_baselines() RETURNS TABLE (side text, operation text, count bigint) LANGUAGE sql STABLE AS $$
    WITH has AS (
        SELECT service_name, kind, b.operation, latency FROM baseline_metrics b
    ), should AS (
        SELECT service_name, kind, l.operation, merge(latency) AS latency FROM latencies l, baseline_state s
         WHERE hour >= from_hour AND hour < until_hour AND l.operation <> '(other)' GROUP BY 1, 2, 3 HAVING merge(latency) <> '{}'
    )
    SELECT '-', d.operation, total_count(latency) FROM (SELECT * FROM has EXCEPT ALL SELECT * FROM should) d
    UNION ALL
    SELECT '+', d.operation, total_count(latency) FROM (SELECT * FROM should EXCEPT ALL SELECT * FROM has) d
$$;

-- Nothing to do in an empty store.
CALL plain.baselines('2001-02-03 04:00+00');
SELECT * FROM plain.shown;
SELECT baselines_needed() IS NULL AS at_rest, baselines_until FROM status;

-- An hour counts when it is over, and five minutes more.
CALL plain.calls(100, '2001-02-03 04:00+00', 10);
CALL plain.calls(100, '2001-02-03 04:30+00', 30);
CALL plain.calls(10, '2001-02-03 04:30+00', 5, 'other service', NULL);
CALL plain.calls(10, '2001-02-03 04:30+00', NULL, 'no duration');
CALL plain.calls(10, '2001-02-03 04:30+00', 1, NULL);
CALL plain.baselines('2001-02-03 04:59+00');
SELECT * FROM plain.shown;
CALL plain.baselines('2001-02-03 05:04:59+00');
SELECT * FROM plain.shown;
CALL plain.baselines('2001-02-03 05:05+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
SELECT count, mean_ms, p50_ms, p95_ms, p99_ms, computed_at FROM baseline_metrics WHERE operation = 'transfer';
SELECT from_hour, until_hour, computed_at FROM baseline_state;
SELECT baselines_until FROM status;
SELECT * FROM plain.wrong_baselines();
-- Nothing changes: nothing is written.
SELECT baselines_needed() <= '2001-02-03 06:05+00' AS due_then;
SELECT ctid AS place FROM baseline_metrics WHERE operation = 'transfer' \gset
CALL plain.baselines('2001-02-03 05:50+00');
SELECT ctid = :'place' AS untouched FROM baseline_metrics WHERE operation = 'transfer';

-- Late events, moved and deleted ones, also where an hour is in them already.
CALL plain.calls(50, '2001-02-03 04:10+00', 10);
CALL plain.calls(50, '2001-02-03 05:10+00', 10);
SELECT fold() > 0 AS folded;
SELECT count(*) FROM baseline_deltas;
SELECT baselines_needed();
CALL plain.baselines('2001-02-03 05:50+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
DELETE FROM events WHERE duration_ns = 30000000;
UPDATE events SET name = 'transfer' WHERE name = 'other service';
CALL plain.baselines('2001-02-03 05:50+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
SELECT * FROM plain.wrong_baselines();
-- The next hour comes; a week later the first leaves.
CALL plain.baselines('2001-02-03 06:10+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
CALL plain.baselines('2001-02-10 05:04+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
CALL plain.baselines('2001-02-10 05:05+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
SELECT * FROM plain.wrong_baselines();
CALL plain.baselines('2001-02-10 06:05+00');
SELECT * FROM plain.shown;
-- A clock that is set back, and a window that changes.
CALL plain.baselines('2001-02-03 06:10+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
SET trace_ext.baseline_window = '1 hour';
CALL plain.baselines('2001-02-03 06:10+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
SELECT * FROM plain.wrong_baselines();
RESET trace_ext.baseline_window;
CALL plain.baselines('2001-02-03 06:10+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
SELECT * FROM plain.wrong_baselines();

-- The baseline of an event: hours before its own, whenever it comes.
SELECT hour, calls, round(p50_ms) AS p50 FROM unnest(ARRAY['2001-02-03 04:00+00', '2001-02-03 05:00+00', '2001-02-03 06:00+00', '2001-02-03 07:00+00', '2001-02-03 08:00+00',
       '2001-02-10 04:00+00', '2001-02-10 05:00+00', '2001-02-10 06:00+00']::timestamptz[]) AS hour
  LEFT JOIN LATERAL baselines_of('{bank}', '{FunctionCall}', '{transfer}', ARRAY[hour]) ON true;
SELECT n, calls, p50_ms FROM baselines_of('{NULL,NULL,bank,bank}', '{FunctionCall,FunctionCall,FunctionCall,FunctionCall}', '{transfer,transfer,(other),NULL}',
       '{2001-02-03 06:00+00,2001-02-03 05:00+00,2001-02-03 06:00+00,2001-02-03 06:00+00}') ORDER BY n;
SELECT * FROM baselines_of('{bank,bank}', '{FunctionCall,FunctionCall}', '{transfer,transfer}', ARRAY['4713-11-24 00:00+00 BC', '294276-12-31 23:00+00']::timestamptz[]) ORDER BY n;
SELECT * FROM baselines_of('{}', '{}', '{}', '{}');

-- Partitions come and go, summaries are rebuilt, and the store is emptied.
CREATE TABLE plain.p2001 (LIKE events INCLUDING CONSTRAINTS);
INSERT INTO plain.p2001 SELECT gen_random_uuid(), gen_random_uuid(), NULL, '2001-02-02 23:30+00', 'FunctionCall', 'transfer', 'bank' FROM generate_series(1, 70);
UPDATE plain.p2001 SET duration_ns = 7000000;
ALTER TABLE events ATTACH PARTITION plain.p2001 FOR VALUES FROM ('2001-02-02 12:30+00') TO ('2001-02-03 00:00+00');
CALL plain.baselines('2001-02-03 06:10+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
SELECT * FROM plain.wrong_baselines();
DROP TABLE plain.p2001;
CALL plain.baselines('2001-02-03 06:10+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
SELECT * FROM plain.wrong_baselines();
SELECT rebuild_summaries();
CALL plain.baselines('2001-02-03 06:10+00');
SELECT * FROM plain.shown ORDER BY 1, 2;
SELECT * FROM plain.wrong_baselines();
TRUNCATE events;
SELECT * FROM plain.shown;
SELECT from_hour, until_hour, computed_at FROM baseline_state;
SELECT count(*) FROM baseline_deltas;
CALL plain.calls(5, '2001-02-03 05:10+00', 10);
CALL plain.baselines('2001-02-03 06:10+00');
SELECT * FROM plain.shown;

-- What a service has beyond trace_ext.max_operations has no baseline.
SET trace_ext.max_operations = 2;
CALL plain.calls(5, '2001-02-03 05:10+00', 10, 'a');
CALL plain.calls(5, '2001-02-03 05:10+00', 10, 'b');
CALL plain.calls(5, '2001-02-03 05:10+00', 10, 'c');
CALL plain.baselines('2001-02-03 06:10+00');
SELECT service_name, operation, calls FROM latencies ORDER BY 2;
SELECT * FROM plain.shown ORDER BY 1, 2;
RESET trace_ext.max_operations;
TRUNCATE events;

-- Many rows: in steps, each of which is kept.
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
SELECT gen_random_uuid(), gen_random_uuid(), '2001-02-03 00:00+00'::timestamptz + h * interval '1 hour', 'FunctionCall', 'o' || o / 26 || chr(97 + o % 26), 'bank', 1000000
  FROM generate_series(0, 99) h, generate_series(1, 260) o;
SELECT fold() > 0 AS folded;
SELECT baseline_step('2001-02-10 00:10+00') AS again;
SELECT until_hour, (SELECT count(*) FROM plain.wrong_baselines()) AS wrong FROM baseline_state;
SELECT baseline_step('2001-02-10 00:10+00') AS again;
SELECT baseline_step('2001-02-10 00:10+00') AS again;
SELECT from_hour, until_hour, (SELECT count(*) FROM plain.wrong_baselines()) AS wrong, (SELECT sum(count) FROM baseline_metrics) AS calls FROM baseline_state;
TRUNCATE events;

-- Anything, in any order.
\set seed 0.31
SELECT setseed(:seed);
-- Seed :seed.
CREATE FUNCTION plain.storm(rounds int) RETURNS TABLE (round int, side text, operation text, count bigint) LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := '2001-02-03 00:00+00';
BEGIN
    FOR round IN 1 .. rounds LOOP
        at := at + random() * interval '4 hours' - random() * interval '1 hour';
        INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
        SELECT gen_random_uuid(), gen_random_uuid(), at + interval '30 minutes' - random() * interval '20 hours', 'FunctionCall', (ARRAY['a', 'b', 'c', NULL])[1 + i % 4],
               CASE WHEN i % 3 > 0 THEN 's' END, random() * 1e9
          FROM generate_series(1, 20) i;
        IF random() < 0.3 THEN
            DELETE FROM events WHERE ctid IN (SELECT e.ctid FROM events e ORDER BY random() LIMIT 15);
        END IF;
        IF random() < 0.1 THEN
            UPDATE events SET "timestamp" = "timestamp" - interval '2 hours', duration_ns = duration_ns / 2 WHERE random() < 0.1;
        END IF;
        IF random() < 0.05 THEN
            PERFORM rebuild_summaries();
        END IF;
        IF random() < 0.03 THEN
            TRUNCATE events;
        END IF;
        PERFORM set_config('trace_ext.baseline_window', (ARRAY['12 hours', '12 hours', '12 hours', '5 hours'])[1 + floor(random() * 4)::int], true);
        CALL plain.baselines(at);
        RETURN QUERY SELECT storm.round, w.* FROM plain.wrong_baselines() w;
    END LOOP;
END $$;
SELECT * FROM plain.storm(80);

-- The setting is judged as others that are intervals.
\set VERBOSITY default
SET trace_ext.baseline_window = '7';
SET trace_ext.baseline_window = '30 minutes';
SET trace_ext.baseline_window = '-1 day';
SET trace_ext.baseline_window = '2 years';
SET trace_ext.baseline_window = 'P7D';
SHOW trace_ext.baseline_window;
RESET trace_ext.baseline_window;

TRUNCATE events;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
