-- Baselines: how long the calls of each operation take as a rule, by the rollups of
-- the last days.
--
-- A baseline is a sum of whole hours, [from_hour, until_hour), the same for all
-- operations. Histograms add up and subtract exactly, so an hour that is over is
-- added once, and subtracted once when it is older than trace_ext.baseline_window:
-- a baseline costs nothing while its hours stay. What changes in an hour that is
-- in them already, by late events, deletes and retention, is a delta.
--
-- Invariant: in every snapshot, baselines + baseline_deltas = the rows of
-- operation_base of [from_hour, until_hour), of each operation. Only who holds the
-- fold lock moves these bounds, and only who holds it changes operation_base.
--
-- The hour of an event is never in the baseline that it is judged by: of the current
-- hour that is so by itself, for late events see baselines_of().

CREATE TABLE baseline_metrics (
    service_name  text,
    kind          event_kind       NOT NULL,
    operation     text             NOT NULL,
    count         bigint           GENERATED ALWAYS AS (trace_ext.total_count(latency)) STORED,
    mean_ms       double precision GENERATED ALWAYS AS (trace_ext.mean(latency) / 1e6) STORED,
    p50_ms        double precision GENERATED ALWAYS AS (trace_ext.quantile(latency, 0.5) / 1e6) STORED,
    p95_ms        double precision GENERATED ALWAYS AS (trace_ext.quantile(latency, 0.95) / 1e6) STORED,
    p99_ms        double precision GENERATED ALWAYS AS (trace_ext.quantile(latency, 0.99) / 1e6) STORED,
    computed_at   timestamptz      NOT NULL,
    latency       histogram        NOT NULL,
    UNIQUE NULLS NOT DISTINCT (service_name, kind, operation)
);
-- Most rows change each hour, and no indexed column of them does.
ALTER TABLE baseline_metrics SET (fillfactor = 50);
COMMENT ON TABLE baseline_metrics IS
    'how long calls of an operation took in the completed hours of the last trace_ext.baseline_window; the job baselines keeps it. '
    'Operations without a duration are not in it, nor is what a service has beyond trace_ext.max_operations';
COMMENT ON COLUMN baseline_metrics.service_name IS 'the service; NULL for events that name none';
COMMENT ON COLUMN baseline_metrics.kind IS 'the kind';
COMMENT ON COLUMN baseline_metrics.operation IS 'operation(kind, name)';
COMMENT ON COLUMN baseline_metrics.count IS 'number of calls that have a duration';
COMMENT ON COLUMN baseline_metrics.mean_ms IS 'their mean, in milliseconds';
COMMENT ON COLUMN baseline_metrics.p50_ms IS 'half of them took this long at most, in milliseconds, within 2.2 %';
COMMENT ON COLUMN baseline_metrics.p95_ms IS '95 of 100 took this long at most';
COMMENT ON COLUMN baseline_metrics.p99_ms IS '99 of 100 took this long at most';
COMMENT ON COLUMN baseline_metrics.computed_at IS 'when hours or late events last changed it';
COMMENT ON COLUMN baseline_metrics.latency IS 'all of them, as a histogram';

CREATE TABLE baseline_state (
    from_hour    timestamptz NOT NULL,
    until_hour   timestamptz NOT NULL,
    computed_at  timestamptz
);
INSERT INTO baseline_state VALUES ('-infinity', '-infinity', NULL);
ALTER TABLE baseline_state SET (fillfactor = 10);
COMMENT ON TABLE baseline_state IS 'one row: which hours baselines are of';
COMMENT ON COLUMN baseline_state.from_hour IS 'the first of them';
COMMENT ON COLUMN baseline_state.until_hour IS 'the first hour that is not in them any more; -infinity: none is';
COMMENT ON COLUMN baseline_state.computed_at IS 'when they last had all hours that they should have';

-- No index: all of it is taken.
CREATE TABLE baseline_deltas (
    service_name  text,
    kind          event_kind  NOT NULL,
    operation     text,
    latency       histogram   NOT NULL
);
ALTER TABLE baseline_deltas SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE baseline_deltas IS 'what came to hours that baselines have already, or left them; what left is negative';

-- Beside folds, hours only go: with their partition, or with all events.
CREATE FUNCTION trace_ext_internal.forget_hours() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO trace_ext.baseline_deltas
    SELECT g.service_name, g.kind, g.operation, '{}'::trace_ext.histogram OPERATOR(trace_ext.-) g.latency
      FROM gone g, trace_ext.baseline_state s
     WHERE g.hour >= s.from_hour AND g.hour < s.until_hour AND g.latency OPERATOR(trace_ext.<>) '{}';
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.forget_hours() IS 'statement trigger on operation_base: has baselines forget rows that are deleted';
CREATE TRIGGER trace_ext_forget AFTER DELETE ON operation_base
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.forget_hours();
COMMENT ON TRIGGER trace_ext_forget ON operation_base IS 'has baselines forget rows that are deleted';

CREATE FUNCTION trace_ext_internal.forget_baselines() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    UPDATE trace_ext.baseline_state SET from_hour = '-infinity', until_hour = '-infinity', computed_at = NULL;
    DELETE FROM trace_ext.baseline_metrics;
    DELETE FROM trace_ext.baseline_deltas;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.forget_baselines() IS 'statement trigger on operation_base: empties baselines with it';
CREATE TRIGGER trace_ext_forget_all AFTER TRUNCATE ON operation_base
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.forget_baselines();
COMMENT ON TRIGGER trace_ext_forget_all ON operation_base IS 'empties baselines with it';

-- An hour is over five minutes after its end: nearly all of its events are there by
-- then, and those that come in its last seconds are judged by baselines without it.
CREATE FUNCTION trace_ext_internal.baseline_hours(at timestamptz, OUT from_hour timestamptz, OUT until_hour timestamptz)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    AS $$
    SELECT date_bin('1 hour', trace_ext_internal.shifted(e.at, - current_setting('trace_ext.baseline_window')::interval), o.origin),
           date_bin('1 hour', e.at, o.origin)
      FROM (SELECT trace_ext_internal.shifted(baseline_hours.at, interval '-5 minutes') AS at) AS e,
           (SELECT '2000-01-01 00:00:00+00'::timestamptz AS origin) AS o
    $$;
COMMENT ON FUNCTION trace_ext_internal.baseline_hours(timestamptz) IS 'the hours that baselines are to have at a time: [from_hour, until_hour)';

-- Up to which hour some rows of operation_base reach; the rest is for the next step.
CREATE FUNCTION trace_ext_internal.hours_of_rows(from_hour timestamptz, until_hour timestamptz, most int) RETURNS timestamptz
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
BEGIN
    RETURN least(until_hour, trace_ext_internal.shifted(
                 (SELECT o.hour FROM trace_ext.operation_base o
                   WHERE o.hour >= hours_of_rows.from_hour AND o.hour < hours_of_rows.until_hour
                   ORDER BY o.hour OFFSET most LIMIT 1), '1 hour'));
END
$$;
COMMENT ON FUNCTION trace_ext_internal.hours_of_rows(timestamptz, timestamptz, int) IS
    'the end of the hour that has the most-th row of a range of hours; the end of the range where it has fewer';

CREATE FUNCTION trace_ext_internal.baseline_step(at timestamptz) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    most constant int := 20000;
    has trace_ext.baseline_state;
    wants record;
    came_until timestamptz;
    gone_until timestamptz;
    deltas bigint;
BEGIN
    -- In C: the call loads the library, which defines the settings.
    PERFORM trace_ext_internal.require_read_committed('baselines');
    SELECT * INTO has FROM trace_ext.baseline_state FOR UPDATE;
    SELECT * INTO wants FROM trace_ext_internal.baseline_hours(at);
    -- Who folds now knows the old bounds: the next run moves them.
    IF (has.from_hour, has.until_hour) IS DISTINCT FROM (wants.from_hour, wants.until_hour) AND trace_ext_internal.fold_lock(false) THEN
        -- As after a fold, another one of an older snapshot fails: it does not know the new bounds.
        UPDATE trace_ext.totals SET event_count = event_count;
        -- A first time, a longer window, or a clock that was set back.
        IF wants.from_hour NOT BETWEEN has.from_hour AND has.until_hour OR wants.until_hour < has.until_hour OR has.until_hour = '-infinity' THEN
            DELETE FROM trace_ext.baseline_metrics;
            DELETE FROM trace_ext.baseline_deltas;
            has.from_hour := wants.from_hour;
            has.until_hour := wants.from_hour;
        END IF;
        came_until := trace_ext_internal.hours_of_rows(has.until_hour, wants.until_hour, most);
        gone_until := trace_ext_internal.hours_of_rows(has.from_hour, wants.from_hour, most);
    END IF;
    WITH taken AS (
        DELETE FROM trace_ext.baseline_deltas
         WHERE ctid = ANY (ARRAY(SELECT ctid FROM trace_ext.baseline_deltas LIMIT most)) RETURNING *
    ), changes AS (
        SELECT service_name, kind, operation, latency AS came, NULL::trace_ext.histogram AS gone FROM taken
        UNION ALL
        SELECT service_name, kind, operation, latency, NULL FROM trace_ext.operation_base
         WHERE hour >= has.until_hour AND hour < came_until AND latency OPERATOR(trace_ext.<>) '{}'
        UNION ALL
        SELECT service_name, kind, operation, NULL, latency FROM trace_ext.operation_base
         WHERE hour >= has.from_hour AND hour < gone_until AND latency OPERATOR(trace_ext.<>) '{}'
    ), changed AS (
        INSERT INTO trace_ext.baseline_metrics AS b (service_name, kind, operation, computed_at, latency)
        SELECT service_name, kind, operation, at,
               coalesce(trace_ext.merge(came), '{}') OPERATOR(trace_ext.-) coalesce(trace_ext.merge(gone), '{}')
          FROM changes WHERE operation <> '(other)' GROUP BY service_name, kind, operation
        ON CONFLICT (service_name, kind, operation) DO UPDATE SET
               latency = b.latency OPERATOR(trace_ext.+) excluded.latency, computed_at = excluded.computed_at
    )
    SELECT count(*) INTO deltas FROM taken;
    DELETE FROM trace_ext.baseline_metrics WHERE count = 0 AND latency OPERATOR(trace_ext.=) '{}';
    UPDATE trace_ext.baseline_state
       SET from_hour = coalesce(gone_until, has.from_hour), until_hour = coalesce(came_until, has.until_hour),
           computed_at = CASE WHEN (gone_until, came_until) IS NOT DISTINCT FROM (wants.from_hour, wants.until_hour)
                                OR (has.from_hour, has.until_hour) IS NOT DISTINCT FROM (wants.from_hour, wants.until_hour)
                              THEN at ELSE computed_at END;
    RETURN coalesce(deltas = most OR came_until < wants.until_hour OR gone_until < wants.from_hour, false);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.baseline_step(timestamptz) IS
    'brings baselines up to a time, some 20,000 rows of rollups at once; waits for no fold; returns whether there is more to do';

-- The baseline to judge an event of an hour by. What is stored will do where it ends
-- before the hour and is not much older. A late event, or one for which the job has not
-- run yet, gets the sum of the hours before its own.
-- By one query for many: what each is judged by is found by an index, twice, so that it finds the
-- rows without a service as well.
CREATE FUNCTION trace_ext_internal.baselines_of(service_names text[], kinds event_kind[], operations text[], hours timestamptz[],
                                                OUT n bigint, OUT calls bigint, OUT p50_ms double precision, OUT p99_ms double precision)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    -- A plan for each call would take longer than the call.
    SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    baseline_window constant interval := current_setting('trace_ext.baseline_window');
    first_hour constant timestamptz := (SELECT min(b.hour) FROM trace_ext.operation_base b);
BEGIN
    RETURN QUERY
    WITH wanted AS MATERIALIZED (
        SELECT u.service_name, u.kind, u.operation, u.hour, u.n,
               s.until_hour <= u.hour AND s.until_hour >= trace_ext_internal.shifted(u.hour, '-1 hour') AS is_stored
          FROM unnest(service_names, kinds, operations, hours) WITH ORDINALITY AS u (service_name, kind, operation, hour, n),
               trace_ext.baseline_state s
         WHERE u.operation <> '(other)'
    )
    SELECT w.n, m.count, m.p50_ms, m.p99_ms
      FROM wanted w, LATERAL (
           SELECT b.count, b.p50_ms, b.p99_ms FROM trace_ext.baseline_metrics b
            WHERE b.service_name = w.service_name AND b.kind = w.kind AND b.operation = w.operation
           UNION ALL
           SELECT b.count, b.p50_ms, b.p99_ms FROM trace_ext.baseline_metrics b
            WHERE w.service_name IS NULL AND b.service_name IS NULL AND b.kind = w.kind AND b.operation = w.operation) AS m
     WHERE w.is_stored
    UNION ALL
    -- Of late events: the hours before theirs are added up.
    SELECT s.n, trace_ext.total_count(s.latency), trace_ext.quantile(s.latency, 0.5) / 1e6, trace_ext.quantile(s.latency, 0.99) / 1e6
      FROM (SELECT w.n, trace_ext.merge(o.latency) AS latency
              FROM wanted w,
                   generate_series(1, ceil(extract(epoch FROM least(baseline_window, w.hour - first_hour)) / 3600)::int) AS back,
                   LATERAL (SELECT trace_ext_internal.shifted(w.hour, back * interval '-1 hour') AS hour) AS h,
                   LATERAL (SELECT b.latency FROM trace_ext.operation_base b
                             WHERE b.hour = h.hour AND b.service_name = w.service_name AND b.kind = w.kind AND b.operation = w.operation
                            UNION ALL
                            SELECT b.latency FROM trace_ext.operation_base b
                             WHERE w.service_name IS NULL AND b.hour = h.hour AND b.service_name IS NULL
                               AND b.kind = w.kind AND b.operation = w.operation) AS o
             WHERE NOT w.is_stored
             GROUP BY w.n) AS s;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.baselines_of(text[], event_kind[], text[], timestamptz[]) IS
    'the baselines that events of some hours are judged by, each with the number of what it is of; without those that have none';

CREATE FUNCTION trace_ext_internal.baselines_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN EXISTS (SELECT FROM trace_ext.baseline_deltas) THEN '-infinity'
                WHEN EXISTS (SELECT FROM trace_ext.operation_base) OR EXISTS (SELECT FROM trace_ext.baseline_metrics)
                -- One far ahead is of a clock that was set back since.
                THEN CASE WHEN s.until_hour > clock_timestamp() THEN '-infinity'
                          ELSE s.until_hour + interval '1 hour 5 minutes' END END
      FROM trace_ext.baseline_state s;
    END;
COMMENT ON FUNCTION trace_ext_internal.baselines_needed() IS 'when baselines are to have another hour; at once where late events wait for them';

CREATE PROCEDURE job_baselines(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    again := trace_ext_internal.baseline_step(clock_timestamp());
END
$$;
COMMENT ON PROCEDURE job_baselines(boolean) IS
    'one step of bringing baseline_metrics up to date: adds hours that are over, takes away those older than trace_ext.baseline_window; returns whether there may be more to do';

INSERT INTO jobs (name, procedure, owner, builtin, "interval", timeout, priority, condition) VALUES
    ('baselines', 'trace_ext.job_baselines', current_user, true, '60 s', '10 min', 85, 'trace_ext_internal.baselines_needed');
