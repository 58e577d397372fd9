-- operations(): what the services did within some hours, and how that changed.
--
-- Rollups are by the hour, so a window of time is answered by the hours that it
-- touches, the current one as far as it has come. The window before has as many whole
-- hours. What is compared are rates, as the two differ in length.

CREATE FUNCTION trace_ext_internal.hours_back(
    at timestamptz, span interval, argument text,
    OUT before_from timestamptz, OUT from_hour timestamptz, OUT until_hour timestamptz,
    OUT seconds double precision, OUT seconds_before double precision)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan SET enable_sort = off
    AS $$
DECLARE
    origin constant timestamptz := '2000-01-01 00:00:00+00';
    this_hour constant timestamptz := date_bin('1 hour', at, origin);
    first_hour constant timestamptz := (SELECT least((SELECT min(b.hour) FROM trace_ext.count_base b), (SELECT min(d.hour) FROM trace_ext.count_deltas d)));
BEGIN
    IF span IS NULL OR NOT isfinite(span) OR span <= interval '0' OR span > interval '100 years' THEN
        RAISE EXCEPTION '% must be a positive interval of at most 100 years', argument USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Say for example ''1 hour'' or ''7 days''.';
    END IF;
    from_hour := date_bin('1 hour', trace_ext_internal.shifted(at, -span), origin);
    until_hour := this_hour + interval '1 hour';
    -- Hours have one length, days of the session's zone have not.
    before_from := from_hour - make_interval(hours => (extract(epoch FROM until_hour - from_hour) / 3600)::int);
    -- As long as anything has been stored at all.
    seconds := nullif(extract(epoch FROM at - least(greatest(from_hour, first_hour), this_hour)), 0);
    seconds_before := nullif(greatest(extract(epoch FROM from_hour - greatest(before_from, first_hour)), 0), 0);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.hours_back(timestamptz, interval, text) IS
    'the hours that the time from "at" back touches, [from_hour, until_hour), and as many before them, from before_from on; how many seconds of each have passed, since the first hour that is stored; NULL for none';

CREATE FUNCTION trace_ext_internal.ms(ns double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN round((ns / 1e6)::numeric, CASE WHEN abs(ns) < 1e6 THEN 6 ELSE 3 END)::double precision;
COMMENT ON FUNCTION trace_ext_internal.ms(double precision) IS 'nanoseconds in milliseconds, to the microsecond; below one, to the nanosecond';

CREATE FUNCTION trace_ext_internal.rounded(value double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN round(value::numeric, 6)::double precision;
COMMENT ON FUNCTION trace_ext_internal.rounded(double precision) IS 'a rate, a share or a change, to the millionth';

CREATE FUNCTION trace_ext_internal.require_between(value bigint, low bigint, high bigint, argument text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF value IS NULL OR value < low OR value > high THEN
        RAISE EXCEPTION '% must be between % and %', argument, low, high USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.require_between(bigint, bigint, bigint, text) IS 'fails where an argument is not within its bounds, or NULL';

CREATE FUNCTION trace_ext_internal.operations_at(at timestamptz, since interval, service text, page_size bigint)
    RETURNS TABLE (service_name text, kind event_kind, operation text, calls bigint, errors bigint, error_rate double precision,
                   p50_ms double precision, p95_ms double precision, p99_ms double precision, max_ms double precision,
                   total_ms double precision, share double precision,
                   change_calls double precision, change_errors double precision, change_p95 double precision,
                   counted_from timestamptz, compared_from timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan SET enable_sort = off
    AS $$
#variable_conflict use_column
DECLARE
    w record;
    total numeric;
BEGIN
    PERFORM trace_ext_internal.require_between(page_size, 1, 10000, 'page_size');
    SELECT h.* INTO w FROM trace_ext_internal.hours_back(at, since, 'since') h;
    total := (SELECT nullif(sum(trace_ext.total_sum(k.latency)), 0) FROM trace_ext.kind_latencies k
               WHERE k.hour >= w.from_hour AND k.hour < w.until_hour);
    RETURN QUERY
    -- As latencies, but without adding up twice, and nothing where there is no duration.
    WITH part AS (
        SELECT b.hour, b.service_name, b.kind, b.operation, b.event_count AS calls, b.error_count AS errors,
               CASE WHEN trace_ext.total_count(b.latency) <> 0 THEN b.latency END AS latency
          FROM trace_ext.operation_base b
         WHERE b.hour >= w.before_from AND b.hour < w.until_hour AND (operations_at.service IS NULL OR b.service_name = operations_at.service)
        UNION ALL
        SELECT d.hour, d.service_name, d.kind, trace_ext_internal.counted_as(d.service_name, d.operation), d.event_count, d.error_count, d.latency
          FROM trace_ext.count_deltas d
         WHERE d.hour >= w.before_from AND d.hour < w.until_hour AND (operations_at.service IS NULL OR d.service_name = operations_at.service)
    ), counted AS MATERIALIZED (
        SELECT l.service_name, l.kind, l.operation,
               coalesce(sum(l.calls) FILTER (WHERE l.hour >= w.from_hour), 0)::bigint AS calls,
               coalesce(sum(l.errors) FILTER (WHERE l.hour >= w.from_hour), 0)::bigint AS errors,
               trace_ext.merge(l.latency) FILTER (WHERE l.hour >= w.from_hour) AS latency,
               (sum(l.calls) FILTER (WHERE l.hour < w.from_hour))::double precision AS calls_before,
               (sum(l.errors) FILTER (WHERE l.hour < w.from_hour))::double precision AS errors_before,
               trace_ext.merge(l.latency) FILTER (WHERE l.hour < w.from_hour) AS latency_before
          FROM part l
         GROUP BY l.service_name, l.kind, l.operation
        HAVING sum(l.calls) <> 0
    ), longest AS (
        -- Percentiles of these alone.
        SELECT c.*, CASE WHEN trace_ext.total_count(c.latency) > 0 THEN trace_ext.total_sum(c.latency) END AS ns
          FROM counted c
         ORDER BY ns DESC NULLS LAST, c.calls DESC, c.service_name, c.kind, c.operation
         LIMIT page_size
    ), measured AS (
        SELECT c.*, c.errors / nullif(c.calls, 0)::double precision AS error_rate,
               trace_ext.quantiles(c.latency, '{0.5, 0.95, 0.99}') AS q, trace_ext.quantile(c.latency_before, 0.95) AS p95_before
          FROM longest c
    )
    SELECT m.service_name, m.kind, m.operation, m.calls, m.errors, trace_ext_internal.rounded(m.error_rate),
           trace_ext_internal.ms(m.q[1]), trace_ext_internal.ms(m.q[2]), trace_ext_internal.ms(m.q[3]),
           trace_ext.maximum(m.latency) / 1e6::double precision, trace_ext_internal.ms(m.ns::double precision), trace_ext_internal.rounded((m.ns / total)::double precision),
           trace_ext_internal.rounded((m.calls / w.seconds) / (m.calls_before / w.seconds_before) - 1),
           trace_ext_internal.rounded(m.error_rate - m.errors_before / m.calls_before),
           trace_ext_internal.rounded(m.q[2] / nullif(m.p95_before, 0) - 1),
           w.from_hour, w.before_from
      FROM measured m
     ORDER BY m.ns DESC NULLS LAST, m.calls DESC, m.service_name, m.kind, m.operation;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.operations_at(timestamptz, interval, text, bigint) IS 'operations() as of a time';

CREATE FUNCTION operations(since interval = '1 hour', service text = NULL, page_size bigint = 50)
    RETURNS TABLE (service_name text, kind event_kind, operation text, calls bigint, errors bigint, error_rate double precision,
                   p50_ms double precision, p95_ms double precision, p99_ms double precision, max_ms double precision,
                   total_ms double precision, share double precision,
                   change_calls double precision, change_errors double precision, change_p95 double precision,
                   counted_from timestamptz, compared_from timestamptz)
    LANGUAGE sql STABLE ROWS 50
    BEGIN ATOMIC
    SELECT * FROM trace_ext_internal.operations_at(now(), since, service, page_size);
    END;
COMMENT ON FUNCTION operations(interval, text, bigint) IS
    'what each operation did, the one that took most time in all first; those without a duration last. It counts whole hours: those that the time since touches, '
    'from counted_from on (at 10:20, ''1 hour'' begins at 9:00), and compares them with as many hours before, from compared_from on. error_rate and share (of the time of all operations '
    'of all services; one that waits for another counts its time as well) are from 0 to 1. change_calls is how calls a second changed (0.5: half more, -1: none left), '
    'change_errors the difference of the error rates, change_p95 how the 95th percentile changed (1: twice as long); NULL where there was nothing before. '
    'Operations that are gone have 0 calls. Percentiles are within 2.2 %. page_size 1 to 10000';
