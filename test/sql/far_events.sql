-- Events whose time is far from now: they get no partition, are counted, and stop
-- nothing, up to the ends of time.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
-- What the tests before left may have had partitions made.
TRUNCATE events;
CALL plain.drop_partitions();
\getenv not_at_the_hour PG_ABS_SRCDIR
\set not_at_the_hour :not_at_the_hour '/not_at_the_hour.sql'
\i :not_at_the_hour
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

CREATE VIEW far AS SELECT events_in_default, far_events, oldest_far_event, newest_far_event, partitions_to_make, partition_advice FROM status;
CREATE FUNCTION partitions() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM trace_ext.partitions WHERE NOT is_default $$;
CREATE FUNCTION put(of text, times timestamptz[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind)
    SELECT md5(of || n)::uuid, md5(of || n)::uuid, t, 'Custom' FROM unnest(times) WITH ORDINALITY u (t, n) $$;
TRUNCATE events;
CALL maintain_partitions();
SELECT partitions() AS before \gset

-- The first and the last hour that there are, and what is older than a year.
SELECT put('ends', ARRAY['4714-11-24 00:00:00+00 BC', '4713-01-01 00:30:00+00 BC', '1970-01-01', '294276-12-31 23:59:59.999999+00', '294276-12-31 00:00:00+00']::timestamptz[]);
SELECT put('scattered', ARRAY(SELECT '1970-01-01 00:00+00'::timestamptz + i * interval '10 days' FROM generate_series(1, 2000) i));
CALL maintain_partitions();
SELECT partitions() - :before AS made;
SELECT * FROM far;
SELECT hour, sum(event_count) FROM event_counts WHERE hour < '1970-01-01' OR hour > '9999-01-01' GROUP BY 1 ORDER BY 1;
SELECT * FROM verify_summaries();
SELECT o.state FROM plain.outcome($$SELECT public.put('never', ARRAY['infinity']::timestamptz[])$$) o;
SELECT o.state FROM plain.outcome($$SELECT public.put('never', ARRAY['-infinity']::timestamptz[])$$) o;
-- A partition of the last hour comes and goes; so do open ends.
DELETE FROM events WHERE "timestamp" > '294276-01-01';
CREATE TABLE last_hour PARTITION OF events FOR VALUES FROM ('294276-12-31 23:30:00+00') TO ('294276-12-31 23:59:00+00');
SELECT put('last', ARRAY['294276-12-31 23:10:00+00', '294276-12-31 23:40:00+00', '294276-12-31 23:59:30+00']::timestamptz[]);
DROP TABLE last_hour;
SELECT * FROM verify_summaries();
-- Retention of more time than there is.
SET trace_ext.retention_age = '200000 years';
CALL job_retention();
RESET trace_ext.retention_age;

-- Within reach days get their partitions, 32 a call, the newest first.
TRUNCATE events;
SELECT put('days', ARRAY(SELECT now() - i * interval '2 days' FROM generate_series(1, 50) i));
CALL maintain_partitions();
SELECT partitions() - :before AS made, events_in_default, far_events, partitions_to_make FROM far;
CALL maintain_partitions();
SELECT partitions() - :before AS made, events_in_default, far_events, partitions_to_make FROM far;
-- Reach is a setting, and all of time is a reach.
SELECT put('old', ARRAY['4714-11-24 00:00:00+00 BC', '2001-02-03']::timestamptz[]);
SET trace_ext.partition_reach = '1000000 years';
CALL maintain_partitions();
SELECT partitions() - :before AS made, events_in_default, far_events, partitions_to_make FROM far;
SELECT * FROM verify_summaries();
SET trace_ext.partition_reach = '-1 day';
SELECT partition_advice FROM far;
SELECT o.state, o.message FROM plain.outcome('CALL trace_ext.maintain_partitions()') o;
RESET trace_ext.partition_reach;

-- Many of two days that a partition separates: they stay, and status says so.
TRUNCATE events;
INSERT INTO events (trace_id, id, "timestamp", kind)
SELECT md5('many' || i)::uuid, md5('many' || i)::uuid, date_trunc('day', now()) - CASE WHEN i % 2 = 0 THEN interval '201 days' ELSE interval '203 days' END, 'Custom'
  FROM generate_series(1, 5002) i;
\set ECHO none
SELECT format('CREATE TABLE trace_ext.separates PARTITION OF trace_ext.events FOR VALUES FROM (%L) TO (%L)', date_trunc('day', now()) - interval '202 days',
              date_trunc('day', now()) - interval '201 days') \gexec
\set ECHO all
CALL maintain_partitions();
SELECT events_in_default, far_events, partitions_to_make, partition_advice FROM far;
SELECT * FROM verify_summaries();

SET client_min_messages = error;
TRUNCATE events;
\set ECHO none
CALL plain.drop_partitions();
\set ECHO all
DROP VIEW far;
DROP FUNCTION partitions;
DROP FUNCTION put;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
