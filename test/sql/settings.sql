-- Settings and arguments that decide what jobs do are judged where they are given.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT trace_ext.count_events() IS NOT NULL AS loaded;

-- What a setting takes, the job that goes by it can read: a value taken here and refused there would end retention.
CREATE FUNCTION pg_temp.taken(name text, value text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('trace_ext.' || name, value, true);
    RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END $$;
CREATE FUNCTION pg_temp.readable(value text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN value::interval IS NOT NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN false;
END $$;
CREATE TEMP TABLE intervals AS
SELECT number || gap || unit || more AS value
  FROM unnest(ARRAY['1', '48', '1.5', '-1', '1000000000', '999999999999', '']) AS number, unnest(ARRAY['', ' ']) AS gap,
       unnest(ARRAY['s', 'ss', 'ms', 'mss', 'h', 'hs', 'hours', 'd', 'ds', 'days', 'ws', 'weeks', 'months', 'ys', 'years', ':00', ':5', ':+5', ': 5', ':00:nan', ':00:0x10', ':30:30']) AS unit,
       unnest(ARRAY['', ' 2 days', '3hours', ' 1:00', ' 30', ' ago']) AS more;
SELECT name, count(*) FILTER (WHERE taken) > 20 AS some_taken, count(*) FILTER (WHERE NOT taken) > 20 AS some_refused,
       (array_agg(value ORDER BY value) FILTER (WHERE taken AND NOT pg_temp.readable(value)))[1:5] AS unreadable
  FROM (SELECT name, value, pg_temp.taken(name, value) AS taken
          FROM intervals, unnest(ARRAY['retention_age', 'partition_interval', 'partition_reach']) AS name) AS judged
 GROUP BY name ORDER BY name;
SET trace_ext.retention_age = '1 day 2 days';
SET trace_ext.partition_reach = '500000000 years';

-- Jobs.
CREATE PROCEDURE pg_temp.nothing() LANGUAGE sql AS 'SELECT';
SELECT trace_ext.add_job(NULL, 'pg_temp.nothing', '1 hour');
SELECT trace_ext.add_job('', 'pg_temp.nothing', '1 hour');
SELECT trace_ext.add_job('x', NULL, '1 hour');
SELECT trace_ext.add_job('x', 'pg_temp.nothing', NULL);
SELECT trace_ext.add_job('fold', 'pg_temp.nothing', '1 hour');
SELECT trace_ext.alter_job('fold', max_attempts => 0);
SELECT trace_ext.alter_job('fold', backoff => '0');
-- One farther ahead than its interval would be due at once.
SELECT trace_ext.alter_job('retention', next_run => 'infinity');
SELECT trace_ext.alter_job('retention', next_run => '-infinity');
SELECT trace_ext.alter_job('retention', next_run => '2999-01-01 00:00:00+00');
BEGIN;
SELECT trace_ext.alter_job('retention', "interval" => '2 days', next_run => now() + interval '1 day');
SELECT trace_ext_internal.job_due_at(j) > now() + interval '23 hours' AS later FROM trace_ext.jobs j WHERE name = 'retention';
ROLLBACK;
