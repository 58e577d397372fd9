-- service_health(): which service is ill, since when, and why.
--
-- From the rollups of the last 24 hours, by the hour, and of the operations of those
-- services that are ill.

CREATE FUNCTION trace_ext_internal.percent_text(share double precision) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN trace_ext_internal.number_text(share * 100) || ' %';
COMMENT ON FUNCTION trace_ext_internal.percent_text(double precision) IS 'a share from 0 to 1 in per cent';

CREATE FUNCTION trace_ext_internal.rate_text(per_second double precision) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN per_second >= 1 THEN trace_ext_internal.number_text(per_second) || ' requests a second'
                WHEN per_second * 60 >= 2 THEN trace_ext_internal.number_text(per_second * 60) || ' requests a minute'
                ELSE trace_ext_internal.number_text(per_second * 3600) || ' requests an hour' END;
COMMENT ON FUNCTION trace_ext_internal.rate_text(double precision) IS 'requests a second in the unit that fits';

-- STABLE, as the text of an enum is: so the planner puts it in place of the call.
CREATE FUNCTION trace_ext_internal.operation_text(kind event_kind, operation text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN kind || ' ' || CASE WHEN length(operation) > 80 THEN left(operation, 77) || '...' ELSE coalesce(operation, '(no name)') END;
COMMENT ON FUNCTION trace_ext_internal.operation_text(event_kind, text) IS 'an operation within a sentence';

-- What its errors are, and where the time of a request went that it did not take while the service was well:
-- in those of the last 24 hours that are before it fell ill.
CREATE FUNCTION trace_ext_internal.health_causes(
    service text, its_hours timestamptz[], from_hour timestamptz, requests double precision,
    before_until timestamptz, requests_before double precision, failing boolean, slow boolean) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan SET enable_sort = off
    SET enable_bitmapscan = off
    AS $$
#variable_conflict use_column
BEGIN
    RETURN (
        -- By hour and kind, as the index has them: a service may have a thousand variables, which take no time,
        -- and its rows of an hour are found among those of all services. On a router each node has one.
        WITH hours AS MATERIALIZED (
            SELECT DISTINCT h.hour FROM unnest(its_hours) AS h (hour) WHERE h.hour >= from_hour OR h.hour < before_until
        ), wanted AS MATERIALIZED (
            SELECT DISTINCT h.hour, b.kind
              FROM hours h CROSS JOIN LATERAL (
                   SELECT c.kind FROM trace_ext.count_base c WHERE c.hour = h.hour AND c.service_name = service AND c.kind = 'Error' AND failing
                   UNION ALL
                   SELECT c.kind FROM trace_ext.count_base c
                    WHERE c.hour = h.hour AND c.service_name = service AND c.kind NOT IN ('HttpRequest', 'HttpResponse') AND (c.kind <> 'Error' OR NOT failing)
                      AND slow AND trace_ext.total_count(c.latency) <> 0) AS b
        ), counted AS MATERIALIZED (
            SELECT l.kind, l.operation,
                   sum(l.calls) FILTER (WHERE l.hour >= from_hour) AS calls,
                   trace_ext.merge(l.latency) FILTER (WHERE l.hour >= from_hour) AS latency,
                   sum(l.calls) FILTER (WHERE l.hour < before_until) AS calls_before,
                   trace_ext.merge(l.latency) FILTER (WHERE l.hour < before_until) AS latency_before
              FROM (SELECT b.hour, b.kind, b.operation, b.event_count AS calls, b.latency
                      FROM wanted w CROSS JOIN LATERAL (
                           SELECT * FROM trace_ext.operation_base o WHERE o.hour = w.hour AND o.service_name = service AND o.kind = w.kind OFFSET 0) AS b
                    UNION ALL
                    SELECT d.hour, d.kind, trace_ext_internal.counted_as(d.service_name, d.operation), d.event_count, d.latency FROM trace_ext.count_deltas d
                     WHERE d.service_name = service AND d.hour IN (SELECT h.hour FROM hours h)
                       AND ((failing AND d.kind = 'Error') OR (slow AND d.kind NOT IN ('HttpRequest', 'HttpResponse') AND d.latency IS NOT NULL))) AS l
             GROUP BY l.kind, l.operation
        ), failures AS (
            SELECT c.kind, c.operation, c.calls, c.calls_before FROM counted c
             WHERE failing AND c.kind = 'Error' AND c.calls > 0
             ORDER BY c.calls DESC, c.operation LIMIT 3
        ), per_request AS (
            SELECT c.kind, c.operation, c.calls / requests AS calls, c.calls_before / requests_before AS calls_before,
                   trace_ext.total_sum(c.latency)::double precision / 1e6 / requests AS ms,
                   coalesce(trace_ext.total_sum(c.latency_before)::double precision / 1e6 / requests_before, 0) AS ms_before,
                   trace_ext.quantile(c.latency, 0.95) / 1e6 AS p95, trace_ext.quantile(c.latency_before, 0.95) / 1e6 AS p95_before
              FROM counted c
             WHERE slow AND c.kind NOT IN ('HttpRequest', 'HttpResponse') AND trace_ext.total_count(c.latency) > 0
        ), slower AS (
            SELECT p.*, p.ms - p.ms_before AS more FROM per_request p
             WHERE p.ms > p.ms_before * 1.2 AND p.ms - p.ms_before > 0.1 * (SELECT max(q.ms - q.ms_before) FROM per_request q)
             ORDER BY p.ms - p.ms_before DESC, p.kind, p.operation LIMIT 3
        )
        SELECT array_agg(s.sentence ORDER BY s.part, s.weight DESC, s.sentence)
          FROM (SELECT 1 AS part, f.calls::double precision AS weight,
                       format('%s: %s, %s', trace_ext_internal.operation_text(f.kind, f.operation), f.calls,
                              CASE WHEN coalesce(f.calls_before, 0) = 0 THEN 'none while well'
                                   ELSE trace_ext_internal.number_text(100 * f.calls::double precision / requests) || ' of 100 requests, ' ||
                                        trace_ext_internal.number_text(100 * f.calls_before / requests_before) || ' while well' END) AS sentence FROM failures f
                UNION ALL
                SELECT 2, s.more,
                       format('%s more a request in %s: %s', trace_ext_internal.duration_text(s.more), trace_ext_internal.operation_text(s.kind, s.operation),
                              CASE WHEN s.calls_before IS NULL THEN 'not called while well'
                                   WHEN s.calls > 1.5 * s.calls_before THEN format('%s calls a request, %s while well',
                                        trace_ext_internal.number_text(s.calls), trace_ext_internal.number_text(s.calls_before))
                                   -- The slowest of the hours while it was well may have been as slow.
                                   WHEN s.p95 <= 1.2 * s.p95_before THEN format('mean %s, %s while well',
                                        trace_ext_internal.duration_text(s.ms / s.calls), trace_ext_internal.duration_text(s.ms_before / s.calls_before))
                                   ELSE format('p95 %s, %s while well', trace_ext_internal.duration_text(s.p95), coalesce(trace_ext_internal.duration_text(s.p95_before), 'none')) END)
                  FROM slower s
                UNION ALL
                SELECT 3, 0, 'no operation of its own takes longer: look at what it calls'
                 WHERE slow AND requests_before > 0 AND NOT EXISTS (SELECT FROM slower)) AS s);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.health_causes(text, timestamptz[], timestamptz, double precision, timestamptz, double precision, boolean, boolean) IS
    'why a service is ill, in sentences: its errors by operation, and the operations that take more of a request than in the hours before; NULL where nothing shows';

-- When services were seen last, what is not folded included.
CREATE FUNCTION trace_ext_internal.services_seen(at timestamptz) RETURNS TABLE (service_name text, last_seen timestamptz)
    LANGUAGE sql STABLE ROWS 30
    BEGIN ATOMIC
    SELECT s.service_name, max(s.last_seen)
      FROM (SELECT b.service_name, b.last_seen FROM trace_ext.service_seen b
            UNION ALL
            SELECT u.service_name, least(d.last_timestamp, services_seen.at)
              FROM trace_ext.summary_deltas d, LATERAL unnest(d.services) AS u (service_name)
             WHERE d.event_count > 0) AS s
     GROUP BY s.service_name;
    END;
COMMENT ON FUNCTION trace_ext_internal.services_seen(timestamptz) IS 'when each service was seen last: the rows of service_seen and what is outstanding';

CREATE FUNCTION trace_ext_internal.service_health_at(at timestamptz, within interval)
    RETURNS TABLE (service_name text, status text, requests bigint, errors bigint, error_rate double precision,
                   p50_ms double precision, p95_ms double precision, p99_ms double precision, per_second double precision,
                   change_p95 double precision, change_errors double precision, last_seen timestamptz, reasons text[],
                   since timestamptz, counted_from timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan SET enable_sort = off
    AS $$
#variable_conflict use_column
DECLARE
    degraded_rate double precision;
    critical_rate double precision;
    degraded_growth double precision;
    critical_growth double precision;
    silence interval;
    -- The 95th percentile of fewer is one of the greatest values; and of so few, nothing can be said.
    enough_for_p95 constant bigint := 20;
    enough_for_p50 constant bigint := 5;
    -- Where requests come by chance, one in 3,000 pauses is so long.
    enough_to_miss constant int := 8;
    w record;
    looked_from timestamptz;
BEGIN
    SELECT h.* INTO w FROM trace_ext_internal.hours_back(at, within, 'within') h;
    -- That has loaded the library, which defines the settings.
    degraded_rate := current_setting('trace_ext.health_degraded_error_rate');
    critical_rate := current_setting('trace_ext.health_critical_error_rate');
    degraded_growth := current_setting('trace_ext.health_degraded_growth');
    critical_growth := current_setting('trace_ext.health_critical_growth');
    silence := current_setting('trace_ext.health_silence');
    looked_from := least(w.before_from, w.from_hour - interval '24 hours');
    RETURN QUERY
    WITH by_hour AS MATERIALIZED (
        SELECT k.service_name, k.hour, sum(k.event_count) AS events,
               sum(k.event_count) FILTER (WHERE k.kind = 'HttpRequest') AS http_requests,
               sum(k.event_count) FILTER (WHERE k.kind = 'HttpResponse') AS http_responses,
               sum(k.error_count) FILTER (WHERE k.kind = 'HttpResponse') AS http_errors,
               sum(k.event_count) FILTER (WHERE k.kind = 'Error') AS error_events,
               trace_ext.merge(k.latency) FILTER (WHERE k.kind IN ('HttpRequest', 'HttpResponse') AND trace_ext.total_count(k.latency) <> 0) AS http_latency
          -- As kind_latencies, which would add up twice.
          FROM (SELECT b.service_name, b.hour, b.kind, b.event_count, b.error_count, b.latency FROM trace_ext.count_base b
                UNION ALL
                SELECT d.service_name, d.hour, d.kind, d.event_count, d.error_count, d.latency FROM trace_ext.count_deltas d) AS k
         WHERE k.hour >= looked_from AND k.hour < w.until_hour AND k.service_name IS NOT NULL
         GROUP BY k.service_name, k.hour
        HAVING sum(k.event_count) > 0
    ), without_http AS MATERIALIZED (
        SELECT array_agg(s.service_name) AS names
          FROM (SELECT h.service_name FROM by_hour h GROUP BY h.service_name HAVING coalesce(sum(trace_ext.total_count(h.http_latency)), 0) <= 0) AS s
    ), other_by_hour AS (
        SELECT k.service_name, k.hour, trace_ext.merge(k.latency) AS other_latency
          FROM (SELECT b.service_name, b.hour, b.kind, b.latency FROM trace_ext.count_base b
                 WHERE b.hour >= looked_from AND b.hour < w.until_hour AND (SELECT n.names IS NOT NULL FROM without_http n) AND b.service_name = ANY ((SELECT n.names FROM without_http n)::text[])
                UNION ALL
                SELECT d.service_name, d.hour, d.kind, d.latency FROM trace_ext.count_deltas d
                 WHERE d.hour >= looked_from AND d.hour < w.until_hour AND (SELECT n.names IS NOT NULL FROM without_http n) AND d.service_name = ANY ((SELECT n.names FROM without_http n)::text[])) AS k
         WHERE k.kind NOT IN ('HttpRequest', 'HttpResponse') AND trace_ext.total_count(k.latency) <> 0
         GROUP BY k.service_name, k.hour
    ), manner AS (
        SELECT h.*, o.other_latency, sum(h.http_requests) OVER s > 0 AS by_requests, sum(h.http_responses) OVER s > 0 AS by_responses,
               sum(trace_ext.total_count(h.http_latency)) OVER s > 0 AS http_durations,
               sum(trace_ext.total_count(o.other_latency)) OVER s > 0 AS other_durations
          FROM by_hour h LEFT JOIN other_by_hour o USING (service_name, hour) WINDOW s AS (PARTITION BY h.service_name)
    ), judged AS (
        SELECT m.service_name, m.hour, m.events,
               coalesce(CASE WHEN m.by_requests THEN m.http_requests WHEN m.by_responses THEN m.http_responses
                             WHEN m.other_durations THEN trace_ext.total_count(m.other_latency) ELSE m.events END, 0) AS requests,
               coalesce(CASE WHEN m.by_responses THEN m.http_errors ELSE m.error_events END, 0) AS errors,
               CASE WHEN m.http_durations THEN m.http_latency ELSE m.other_latency END AS latency
          FROM manner m
    ), hours AS MATERIALIZED (
        SELECT j.*, j.hour >= w.from_hour AS is_now, j.hour >= w.before_from AND j.hour < w.from_hour AS is_before,
               least((j.errors / nullif(j.requests, 0))::double precision, CASE WHEN j.requests > 0 THEN 1 END) AS error_rate,
               CASE WHEN trace_ext.total_count(j.latency) >= enough_for_p95 THEN trace_ext.quantile(j.latency, 0.95) END AS p95,
               CASE WHEN trace_ext.total_count(j.latency) >= enough_for_p50 THEN trace_ext.quantile(j.latency, 0.5) END AS p50
          FROM judged j
    ), summed AS MATERIALIZED (
        SELECT h.service_name,
               coalesce(sum(h.requests) FILTER (WHERE h.is_now), 0)::bigint AS requests,
               coalesce(sum(h.errors) FILTER (WHERE h.is_now), 0)::bigint AS errors,
               trace_ext.merge(h.latency) FILTER (WHERE h.is_now) AS latency,
               sum(h.requests) FILTER (WHERE h.is_before)::double precision AS requests_before,
               sum(h.errors) FILTER (WHERE h.is_before)::double precision AS errors_before,
               trace_ext.quantile(trace_ext.merge(h.latency) FILTER (WHERE h.is_before), 0.95) AS p95_before,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY h.p95) FILTER (WHERE NOT h.is_now) AS usual_p95,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY h.p50) FILTER (WHERE NOT h.is_now) AS usual_p50,
               bool_or(h.is_now) AS is_there, sum(h.requests) AS all_requests, min(h.hour) AS first_hour, max(h.hour) AS last_hour
          FROM hours h GROUP BY h.service_name
    ), measured AS MATERIALIZED (
        SELECT s.*, CASE WHEN s.requests > 0 THEN least(s.errors / s.requests::double precision, 1) END AS error_rate,
               CASE WHEN s.requests_before > 0 THEN least(s.errors_before / s.requests_before, 1) END AS error_rate_before,
               trace_ext.quantiles(s.latency, '{0.5, 0.95, 0.99}') AS q,
               coalesce(trace_ext.total_count(s.latency) >= enough_for_p95 AND s.usual_p95 > 0, false) AS by_p95,
               coalesce(trace_ext.total_count(s.latency) >= enough_for_p50 AND s.usual_p50 > 0, false) AS by_p50,
               least(seen.last_seen, s.last_hour + interval '1 hour', at) AS last_seen,
               greatest(extract(epoch FROM least(seen.last_seen, s.last_hour + interval '1 hour', at) - s.first_hour), 3600)::double precision AS seconds_seen
          FROM summed s LEFT JOIN trace_ext_internal.services_seen(at) seen USING (service_name)
    ), found AS MATERIALIZED (
        SELECT m.*, g.growth,
               at - m.last_seen >= silence
               AND (NOT m.is_there OR extract(epoch FROM at - m.last_seen) * m.all_requests / m.seconds_seen >= enough_to_miss) AS is_silent,
               coalesce(m.error_rate >= degraded_rate AND m.errors > 0, false) AS is_failing,
               coalesce(g.growth >= degraded_growth, false) AS is_slow
          FROM measured m, LATERAL (
               SELECT CASE WHEN m.by_p95 AND m.q[2] >= 1e6 THEN m.q[2] / m.usual_p95 WHEN NOT m.by_p95 AND m.by_p50 AND m.q[1] >= 1e6 THEN m.q[1] / m.usual_p50 END AS growth) AS g
    ), began AS (
        -- Of the hours in a row that end with the last that is ill.
        SELECT i.service_name, min(i.hour) FILTER (WHERE i.is_ill) AS hour
          FROM (SELECT i.*, max(i.hour) FILTER (WHERE NOT i.is_ill AND i.hour < i.last_ill) OVER (PARTITION BY i.service_name) AS last_well
                  FROM (SELECT h.service_name, h.hour, e.is_ill, max(h.hour) FILTER (WHERE e.is_ill) OVER (PARTITION BY h.service_name) AS last_ill
                          FROM hours h JOIN found f USING (service_name), LATERAL (
                               SELECT (f.is_failing AND coalesce(h.error_rate >= degraded_rate AND h.errors > 0, false))
                                      OR (f.is_slow AND coalesce(CASE WHEN f.by_p95 THEN h.p95 >= degraded_growth * f.usual_p95 ELSE h.p50 >= degraded_growth * f.usual_p50 END, false)) AS is_ill) AS e
                         WHERE f.is_failing OR f.is_slow) AS i) AS i
         WHERE i.last_well IS NULL OR i.hour > i.last_well
         GROUP BY i.service_name
    ), dated AS (
        SELECT f.*, least(b.hour, w.from_hour) AS well_until, coalesce(b.hour, w.from_hour) AS began,
               CASE WHEN f.is_silent THEN 'silent'
                    WHEN (f.is_failing AND f.error_rate >= critical_rate) OR (f.is_slow AND f.growth >= critical_growth) THEN 'critical'
                    WHEN f.is_failing OR f.is_slow THEN 'degraded' ELSE 'healthy' END AS status
          FROM found f LEFT JOIN began b USING (service_name)
    ), told AS (
        SELECT d.*,
               CASE WHEN d.is_silent THEN ARRAY[format('nothing for %s, since %s; before that %s',
                    trace_ext_internal.duration_text(1000 * extract(epoch FROM at - d.last_seen)::double precision), to_char(d.last_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
                    trace_ext_internal.rate_text(d.all_requests::double precision / d.seconds_seen))] END
               || CASE WHEN d.is_failing THEN ARRAY[format('error rate %s (%s of %s)%s', trace_ext_internal.percent_text(d.error_rate), d.errors, d.requests,
                    coalesce('; ' || trace_ext_internal.percent_text(d.error_rate_before) || ' in the '
                             || trace_ext_internal.duration_text(1000 * extract(epoch FROM w.from_hour - w.before_from)::double precision) || ' before', ''))] END
               || CASE WHEN d.is_slow THEN ARRAY[CASE WHEN d.by_p95
                    THEN format('p95 %s, usually %s', trace_ext_internal.duration_text(d.q[2] / 1e6), trace_ext_internal.duration_text(d.usual_p95 / 1e6))
                    ELSE format('median %s, usually %s', trace_ext_internal.duration_text(d.q[1] / 1e6), trace_ext_internal.duration_text(d.usual_p50 / 1e6)) END] END
               || CASE WHEN (d.is_failing OR d.is_slow) AND d.requests > 0 THEN
                    trace_ext_internal.health_causes(d.service_name, ARRAY(SELECT h.hour FROM hours h WHERE h.service_name = d.service_name), w.from_hour, d.requests, d.well_until,
                        (SELECT nullif(sum(h.requests), 0) FROM hours h WHERE h.service_name = d.service_name AND h.hour < d.well_until)::double precision,
                        d.is_failing, d.is_slow) END AS reasons
          FROM dated d
    )
    SELECT t.service_name, t.status, t.requests, t.errors, trace_ext_internal.rounded(t.error_rate),
           trace_ext_internal.ms(t.q[1]), trace_ext_internal.ms(t.q[2]), trace_ext_internal.ms(t.q[3]), trace_ext_internal.rounded(t.requests / w.seconds),
           trace_ext_internal.rounded(t.q[2] / nullif(t.p95_before, 0) - 1), trace_ext_internal.rounded(t.error_rate - t.error_rate_before),
           t.last_seen, coalesce(t.reasons, '{}'),
           CASE t.status WHEN 'silent' THEN t.last_seen WHEN 'healthy' THEN NULL ELSE t.began END, w.from_hour
      FROM told t
     ORDER BY array_position('{critical,silent,degraded,healthy}', t.status), t.service_name;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.service_health_at(timestamptz, interval) IS 'service_health() as of a time';

CREATE FUNCTION service_health(within interval = '60 min')
    RETURNS TABLE (service_name text, status text, requests bigint, errors bigint, error_rate double precision,
                   p50_ms double precision, p95_ms double precision, p99_ms double precision, per_second double precision,
                   change_p95 double precision, change_errors double precision, last_seen timestamptz, reasons text[],
                   since timestamptz, counted_from timestamptz)
    LANGUAGE sql STABLE ROWS 30
    BEGIN ATOMIC
    SELECT * FROM trace_ext_internal.service_health_at(now(), within);
    END;
COMMENT ON FUNCTION service_health(interval) IS
    'how each service is that was seen within the time, or in the 24 hours before it: critical, silent, degraded or healthy, in this order; reasons says in sentences why, since as of which hour. '
    'It counts whole hours as operations() does, from counted_from on. Requests are events HttpRequest, of services without any HttpResponse, else events with a duration, else all; '
    'errors are responses with status 500 or above, of services without responses events Error; latency is that of requests and responses, else of all that has a duration. '
    'Failing: an error rate of trace_ext.health_degraded_error_rate, or health_critical_error_rate. Slow: a 95th percentile (of fewer than 20 values the median, of fewer than 5 nothing) of at least 1 ms '
    'that is health_degraded_growth, or health_critical_growth, times as long as in the median hour of the 24 before. Silent: no event for health_silence, and none in all of the time, or where eight requests were to be expected. '
    'change_p95 (1: twice as long) and change_errors (difference of the rates) compare with as many hours before. last_seen is the last event of the last trace that it took part in';
