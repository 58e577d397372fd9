-- Retention: the oldest traces leave, whole partitions where possible, and what is
-- left is exact.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\getenv not_at_the_hour PG_ABS_SRCDIR
\set not_at_the_hour :not_at_the_hour '/not_at_the_hour.sql'
\i :not_at_the_hour
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
-- Errors of jobs are in their rows as well.
SET client_min_messages = error;
\set VERBOSITY terse
SELECT count(*) AS before FROM partitions \gset

-- A trace each hour of twelve days, up to now; two events each, a minute apart, but one trace a day of the last seven goes on over midnight for 45 minutes.
CREATE FUNCTION plain.fill() RETURNS void LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, service_name)
    SELECT md5('trace ' || i)::uuid, md5('event ' || i || ' ' || n)::uuid, at, 'Custom', 's' || n
      FROM generate_series(0, 287) i, generate_series(0, 1) n,
           LATERAL (SELECT date_trunc('hour', now()) - interval '30 min' - i * interval '1 hour') AS b (began),
           LATERAL (SELECT began + n * CASE WHEN extract(hour FROM began) = 23 AND i < 7 * 24 THEN interval '45 min' ELSE interval '1 min' END) AS t (at)
     WHERE at <= now()
$$;
CREATE FUNCTION plain.left_over() RETURNS TABLE (traces boolean, oldest interval, exact boolean) LANGUAGE sql AS $$
    SELECT trace_ext.count_traces() > 0, date_trunc('hour', now() - min(last_timestamp)),
           NOT EXISTS (SELECT FROM plain.differences()) AND NOT EXISTS (SELECT FROM trace_ext.verify_summaries()) FROM trace_ext.trace_summaries
$$;

-- Nothing is set, nothing leaves.
SELECT plain.fill();
SELECT count_traces() AS before_all \gset
SELECT state, error FROM run_job('retention');
SELECT count_traces() = :before_all AS all_there;

-- By age: partitions that are older are dropped; rows in the default one are deleted.
CALL maintain_partitions();
SET trace_ext.retention_age = '9 days';
SELECT count(*) AS old FROM trace_summaries WHERE last_timestamp < date_trunc('day', now() - interval '9 days') \gset
SELECT fold() >= 0 AS folded;
SELECT traces_to_leave >= :old AND traces_to_leave <= :old + 24 AS left_is_known FROM status;
SELECT state, error FROM run_job('retention');
SELECT count_traces() = :before_all - :old AS only_whole_partitions;
SELECT part::regclass FROM partitions WHERE NOT is_default AND upper_bound <= now() - interval '9 days';
SELECT exact FROM plain.left_over();
-- Where partitions are long beside the age, their rows are deleted.
SET trace_ext.retention_age = '10 hours';
SELECT state, error FROM run_job('retention');
SELECT traces, oldest <= interval '11 hours 15 min' AS young, exact FROM plain.left_over();
SET trace_ext.retention_age = 'soon';
SET trace_ext.retention_age = '-1 day';
RESET trace_ext.retention_age;

-- A trace that goes on in the next partition is not torn apart.
TRUNCATE events;
SELECT plain.fill();
SELECT count(*) AS with_two FROM trace_summaries WHERE event_count = 2 \gset
SELECT count_traces() AS all_traces \gset
SET trace_ext.retention_traces = 100;
SELECT state, error FROM run_job('retention');
SELECT count_traces(), (SELECT count(*) FROM trace_summaries WHERE event_count = 1) <= 1 AS whole, exact FROM plain.left_over();
SELECT count(*) FROM (SELECT trace_id FROM trace_summaries ORDER BY last_timestamp DESC, trace_id DESC LIMIT 100) newest
 WHERE trace_id NOT IN (SELECT md5('trace ' || i)::uuid FROM generate_series(0, 287) i WHERE i < 150);
-- Again changes nothing.
SELECT state FROM run_job('retention');
SELECT count_traces();
-- Of traces with equal times, as many as may stay do.
TRUNCATE events;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT gen_random_uuid(), gen_random_uuid(), now(), 'Custom' FROM generate_series(1, 1500);
SELECT state, error FROM run_job('retention');
SELECT count_traces(), exact FROM plain.left_over();
RESET trace_ext.retention_traces;

-- By size.
TRUNCATE events;
INSERT INTO events (trace_id, id, "timestamp", kind, name) SELECT gen_random_uuid(), gen_random_uuid(), now() - i * interval '1 min', 'Custom', repeat('x', 200) FROM generate_series(1, 6000) i;
CALL maintain_partitions();
SET trace_ext.retention_size = '1MB';
SELECT events_size() > 1024 * 1024 AS too_large;
SELECT state, error FROM run_job('retention');
SELECT events_size() BETWEEN 900 * 1024 AND 1024 * 1024 AS just_right, exact FROM plain.left_over();
RESET trace_ext.retention_size;

-- Findings stay, and what was rejected leaves by age.
INSERT INTO findings (id, kind, variable, severity, confidence, confirmed, occurrences, event1_trace_id)
SELECT plain.id('f1'), 'lost update', 'x', 'CRITICAL', 1, true, 1, trace_id FROM trace_summaries ORDER BY last_timestamp LIMIT 1;
SELECT rejected FROM ingest_events('[{}]');
UPDATE ingest_errors SET received_at = now() - interval '2 hours';
SELECT rejected FROM ingest_events('[{}]');
SET trace_ext.retention_age = '1 hour';
SET trace_ext.retention_traces = 1;
SELECT state, error FROM run_job('retention');
SELECT detect() >= 0 AS detected;
SELECT count_traces(), (SELECT count(*) FROM findings WHERE id = plain.id('f1')) AS findings, (SELECT count(*) FROM ingest_errors) AS errors, exact FROM plain.left_over();
RESET trace_ext.retention_age;
RESET trace_ext.retention_traces;

-- A backlog is folded in steps of their own before anything leaves.
TRUNCATE events;
SET trace_ext.fold_threshold = 0;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT md5('backlog ' || i)::uuid, md5('backlog ' || i)::uuid, now() - interval '1 hour', 'Custom' FROM generate_series(1, 45000) i;
SET trace_ext.retention_traces = 44990;
CREATE TABLE plain.steps (n serial, again boolean, deltas bigint, traces bigint);
DO $$
DECLARE
    again boolean;
BEGIN
    LOOP
        CALL trace_ext.job_retention(again);
        INSERT INTO plain.steps (again, deltas, traces) SELECT again, count(*), trace_ext.count_traces() FROM trace_ext.summary_deltas;
        COMMIT;
        EXIT WHEN NOT again;
    END LOOP;
END $$;
SELECT n, again, deltas, traces FROM plain.steps ORDER BY n;
SELECT * FROM verify_summaries();
RESET trace_ext.retention_traces;
RESET trace_ext.fold_threshold;

-- Retention needs to see what was committed.
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL job_retention();
ROLLBACK;

SET client_min_messages = warning;
DELETE FROM findings;
TRUNCATE events, ingest_errors;
TRUNCATE job_runs;
CALL plain.drop_partitions();
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
