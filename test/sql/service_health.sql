-- service_health(): which service is ill, since when, and why.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null -
-- As many events within an hour, each with an own trace; the first of them fail.
CREATE PROCEDURE plain.hour(service text, kind event_kind, name text, at timestamptz, calls int, ms float = NULL, failed int = 0, seconds int = 60)
LANGUAGE sql AS $$
    INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns, attributes)
    SELECT md5(concat(service, at, i))::uuid, md5(concat(kind, service, at, i))::uuid, at + i * interval '1 second' * seconds / nullif(calls, 0), kind, name, service, (ms * 1000000)::bigint,
           CASE WHEN kind = 'HttpResponse' THEN jsonb_build_object('status', CASE WHEN i <= failed THEN 503 ELSE 200 END) END
      FROM generate_series(1, calls) i;
$$;
CREATE VIEW plain.health AS SELECT * FROM service_health_at('2001-02-03 10:20:00+00', '60 min');

DO $$
DECLARE
    h timestamptz;
BEGIN
    FOR h IN SELECT generate_series('2001-02-02 12:00:00+00', '2001-02-03 10:00:00+00', interval '1 hour') LOOP
        -- All is well.
        CALL plain.hour('well', 'HttpRequest', 'GET /', h, 40, seconds => 1200);
        CALL plain.hour('well', 'HttpResponse', '200', h, 40, 20, seconds => 1200);
        -- One query is slow since 7:00.
        CALL plain.hour('slow', 'HttpRequest', 'GET /a', h, 30, seconds => 1200);
        CALL plain.hour('slow', 'HttpResponse', '200', h, 30, CASE WHEN h >= '2001-02-03 07:00:00+00' THEN 700 ELSE 100 END, seconds => 1200);
        CALL plain.hour('slow', 'DatabaseQuery', 'SELECT a FROM t WHERE id = 1', h, 30, CASE WHEN h >= '2001-02-03 07:00:00+00' THEN 640 ELSE 40 END, seconds => 1200);
        -- Ten queries a request since 9:00.
        CALL plain.hour('many', 'HttpRequest', 'GET /n', h, 25, seconds => 1200);
        CALL plain.hour('many', 'HttpResponse', '200', h, 25, CASE WHEN h >= '2001-02-03 09:00:00+00' THEN 100 ELSE 40 END, seconds => 1200);
        CALL plain.hour('many', 'DatabaseQuery', 'SELECT b FROM t WHERE id = 1', h, CASE WHEN h >= '2001-02-03 09:00:00+00' THEN 250 ELSE 25 END, 7, seconds => 1200);
        -- It waits for another one.
        CALL plain.hour('caller', 'HttpResponse', '200', h, 10, CASE WHEN h >= '2001-02-03 09:00:00+00' THEN 90 ELSE 30 END, seconds => 1200);
        -- It fails since 10:00.
        CALL plain.hour('failing', 'HttpResponse', 'x', h, 40, 10, CASE WHEN h >= '2001-02-03 10:00:00+00' THEN 12 ELSE 0 END, seconds => 1200);
        CALL plain.hour('failing', 'Error', 'Timeout', h, CASE WHEN h >= '2001-02-03 10:00:00+00' THEN 12 ELSE 0 END, seconds => 1200);
        -- Workers without HTTP.
        CALL plain.hour('worker', 'FunctionCall', 'job', h, 10, 5, seconds => 1200);
        CALL plain.hour('worker', 'Error', 'Oops', h, CASE WHEN h = '2001-02-03 09:00:00+00' THEN 1 ELSE 0 END);
        CALL plain.hour('counter', 'Custom', 'tick', h, 3, seconds => 1200);
        CALL plain.hour(NULL, 'Custom', 'tick', h, 3, seconds => 1200);
        IF h < '2001-02-03 05:00:00+00' THEN
            CALL plain.hour('dead', 'HttpRequest', 'GET /d', h, 10, seconds => 1200);
        END IF;
        -- It died within the hour, at 10:05; the other one always pauses.
        CALL plain.hour('dying', 'HttpRequest', 'GET /d', h, 60, seconds => CASE WHEN h >= '2001-02-03 10:00:00+00' THEN 300 ELSE 3600 END);
        CALL plain.hour('rare', 'HttpRequest', 'GET /r', h, 1, seconds => 1);
    END LOOP;
END $$;
SELECT service_name, status, requests, errors, error_rate, p50_ms, p95_ms, p99_ms, per_second, change_p95, change_errors FROM plain.health;
SELECT service_name, status, last_seen, since, counted_from, reasons FROM plain.health;
CREATE TEMP TABLE outstanding AS SELECT * FROM plain.health;
CALL plain.fold();
SELECT count(*) FROM (SELECT * FROM outstanding EXCEPT ALL SELECT * FROM plain.health) d;

-- By settings.
SET trace_ext.health_degraded_error_rate = 0.5;
SELECT service_name, status FROM plain.health WHERE service_name IN ('failing', 'worker');
SET trace_ext.health_degraded_error_rate = 0.1;
SET trace_ext.health_critical_error_rate = 0.9;
SELECT service_name, status FROM plain.health WHERE service_name IN ('failing', 'worker');
RESET trace_ext.health_degraded_error_rate;
RESET trace_ext.health_critical_error_rate;
SET trace_ext.health_critical_growth = 8;
SELECT service_name, status FROM plain.health WHERE service_name IN ('slow', 'many');
SET trace_ext.health_degraded_growth = 8;
SELECT service_name, status FROM plain.health WHERE service_name IN ('slow', 'many');
RESET trace_ext.health_degraded_growth;
RESET trace_ext.health_critical_growth;
SET trace_ext.health_silence = '6 h';
SELECT service_name, status FROM plain.health WHERE service_name IN ('dead', 'dying');
SET trace_ext.health_silence = '5 s';
SELECT service_name, status FROM plain.health WHERE service_name IN ('dead', 'dying', 'rare');
RESET trace_ext.health_silence;
SET trace_ext.health_degraded_error_rate = 1.1;
SET trace_ext.health_critical_growth = 0.5;

-- A clock that is ahead does not keep a service alive, and what is over for a day is not missed.
INSERT INTO events (trace_id, id, "timestamp", kind, service_name) VALUES (plain.id('f'), plain.id('1'), '2100-01-01 00:00:00+00', 'Custom', 'dead');
SELECT service_name, status, last_seen FROM plain.health WHERE service_name = 'dead';
CALL plain.fold();
SELECT last_seen <= clock_timestamp() AS capped FROM service_seen WHERE service_name = 'dead';
SELECT service_name, status FROM service_health_at('2001-02-05 10:20:00+00', '60 min');
SELECT count(*) FROM service_health();
SELECT service_name, requests FROM service_health('200 years'::interval / 2) WHERE service_name = 'well';

-- With a reader's rights.
CREATE ROLE regress_health IN ROLE trace_ext_reader;
SET ROLE regress_health;
SELECT count(*) FROM trace_ext.service_health('1 day');
RESET ROLE;
DROP ROLE regress_health;
\set VERBOSITY terse
SELECT * FROM service_health(NULL);
SELECT * FROM service_health('-5 min');
SELECT * FROM service_health('0');
TRUNCATE events;
SELECT * FROM service_health();
DROP SCHEMA plain CASCADE;
