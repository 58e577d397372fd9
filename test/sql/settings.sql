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
-- Whatever the server reads and says its units is taken, whatever IntervalStyle; a bare number is not.
SELECT left(value, 20) AS value, pg_temp.readable(value), pg_temp.taken('retention_age', value) AS age, pg_temp.taken('partition_interval', value) AS width, pg_temp.taken('partition_reach', value) AS reach
  FROM unnest(ARRAY['30 m', '60m', '120 mins', '1.5 days', '1.5d', 'P1D', 'PT36H', 'P1DT12H', 'p1w', 'P1.5D', '1 day 12:00', '@ 1 day', '1 decade', '1d12h', '+1 day', '+12:00',
                    '1 day -1 hour', 'P1DT-1H', '-1 days ago',
                    '30', '1.5', '1 day 30', '30 1 day', '1-2', '1 2:03', '+30', 'P1', 'P0001-02-03', 'P1-2', '-1 day 36 hours', 'day', '1 fortnight', 'x', 'P', '12:00 pm', '1 day infinity',
                    repeat('1', 300) || ' days', '1 day' || repeat(' ', 300)]) WITH ORDINALITY AS given (value, n) ORDER BY n;
-- Infinity is an interval from 17 on, but not one to wait for.
SELECT pg_temp.taken('retention_age', 'infinity') AS age, pg_temp.taken('partition_interval', 'infinity') AS width, pg_temp.taken('partition_reach', 'infinity') AS reach;
SET intervalstyle = sql_standard;
SELECT value, pg_temp.readable(value), pg_temp.taken('retention_age', value) AS age FROM unnest(ARRAY['-1 day 36 hours ago', ' -1 day ago', '1 day 36 hours']) AS value;
RESET intervalstyle;
SET trace_ext.retention_age = '-1 day';
SET trace_ext.retention_age = '30';
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
-- An argument that is NULL has its default; the first pause is not longer than the longest.
BEGIN;
CREATE PROCEDURE public.regress_nothing() LANGUAGE sql AS 'SELECT';
SELECT trace_ext.add_job('x', 'public.regress_nothing', '1 hour', NULL, NULL, NULL, NULL, NULL, NULL);
SELECT trace_ext.add_job('y', 'public.regress_nothing', '1 hour');
SELECT trace_ext.add_job('long', 'public.regress_nothing', '1 hour', backoff => '5 min');
SELECT trace_ext.add_job('short', 'public.regress_nothing', '1 hour', max_backoff => '0.5 s');
SELECT name, timeout, max_attempts, backoff, max_backoff, priority, enabled FROM trace_ext.jobs WHERE NOT builtin ORDER BY name;
SELECT trace_ext.alter_job('x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT trace_ext.alter_job('x', backoff => '1 min');
SAVEPOINT before;
SELECT trace_ext.alter_job('x', max_backoff => '59 s');
ROLLBACK TO before;
SELECT trace_ext.alter_job('x', backoff => '2 min');
ROLLBACK TO before;
SELECT trace_ext.alter_job('x', backoff => '2 min', max_backoff => '2 min');
SELECT trace_ext.add_job('z', 'public.regress_nothing', '1 hour', backoff => '2 min', max_backoff => '1 min');
ROLLBACK;
SELECT trace_ext.alter_job(NULL, enabled => true);
SELECT trace_ext.run_job(NULL);
SELECT trace_ext.drop_job(NULL);
-- One farther ahead than its interval would be due at once.
SELECT trace_ext.alter_job('retention', next_run => 'infinity');
SELECT trace_ext.alter_job('retention', next_run => '-infinity');
SELECT trace_ext.alter_job('retention', next_run => '2999-01-01 00:00:00+00');
BEGIN;
SELECT trace_ext.alter_job('retention', "interval" => '2 days', next_run => now() + interval '1 day');
SELECT trace_ext_internal.job_due_at(j) > now() + interval '23 hours' AS later FROM trace_ext.jobs j WHERE name = 'retention';
ROLLBACK;

-- Prefixes of locks are between commas: what is judged is what is used.
SELECT value, pg_temp.taken('global_locks', value) FROM unnest(ARRAY['', ' ', 'a', 'a b', ' a ,b c , d', ',', 'a,', 'a, ', 'a,,b', ' ,a', E'a\n']) WITH ORDINALITY AS given (value, n) ORDER BY n;
