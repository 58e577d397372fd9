-- What Prometheus scrapes of services: counters and histograms, by few labels.
--
-- Counters never go back: what leaves is still counted (gone_totals), and what a statement took
-- away is counted until a fold has moved it there.

CREATE FUNCTION trace_ext_internal.service_metrics()
    RETURNS TABLE (name text, type text, help text, suffix text, service text, le text, place int, value double precision)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    -- Each service has a series for each bound: more of them are together.
    most_services constant int := 50;
BEGIN
    RETURN QUERY
    WITH part AS MATERIALIZED (
        SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.kind_totals
        UNION ALL
        SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.gone_totals
        UNION ALL
        SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.count_deltas WHERE event_count >= 0
    ), ranked AS MATERIALIZED (
        SELECT p.service_name, row_number() OVER (ORDER BY sum(p.event_count) DESC, p.service_name) AS rank FROM part p GROUP BY p.service_name
    ), part_of AS MATERIALIZED (
        SELECT CASE WHEN r.rank <= most_services THEN coalesce(p.service_name, '') ELSE 'other' END AS service, p.kind, p.event_count, p.error_count, p.latency
          FROM part p JOIN ranked r ON r.service_name IS NOT DISTINCT FROM p.service_name
    ), kind AS MATERIALIZED (
        SELECT p.service, p.kind, sum(p.event_count)::double precision AS events, sum(p.error_count)::double precision AS errors,
               trace_ext.merge(p.latency) FILTER (WHERE trace_ext.total_count(p.latency) <> 0) AS latency
          FROM part_of p GROUP BY p.service, p.kind
    ), service AS MATERIALIZED (
        SELECT k.service, sum(k.events) AS events, sum(k.errors) AS errors,
               -- As service_health(): requests, or what a service without them does.
               coalesce(trace_ext.merge(k.latency) FILTER (WHERE k.kind IN ('HttpRequest', 'HttpResponse')), trace_ext.merge(k.latency), '{}') AS latency
          FROM kind k GROUP BY k.service
    ), bound AS MATERIALIZED (
        SELECT b.exponent, trim_scale((1::bigint << b.exponent) / 1e9)::text AS le FROM generate_series(19, 35) AS b (exponent)
    )
    SELECT 'trace_ext_service_events_total', 'counter', 'Events received, by service', '', s.service, NULL::text, 0, s.events FROM service s
    UNION ALL
    SELECT 'trace_ext_service_errors_total', 'counter', 'Errors among them', '', s.service, NULL, 0, s.errors FROM service s
    UNION ALL
    -- Bounds at powers of two of nanoseconds, half a millisecond to half a minute: there buckets end, so counts are exact.
    SELECT 'trace_ext_service_duration_seconds', 'histogram', 'How long requests took; of a service without any, how long its operations took', x.suffix, s.service, x.le, x.place, x.value
      FROM service s, LATERAL (
           SELECT '_bucket' AS suffix, b.le, b.exponent AS place, trace_ext.count_below(s.latency, 1::bigint << b.exponent)::double precision AS value FROM bound b
           UNION ALL SELECT '_bucket', '+Inf', 97, trace_ext.total_count(s.latency)
           UNION ALL SELECT '_sum', NULL, 98, (trace_ext.total_sum(s.latency) / 1e9)::double precision
           UNION ALL SELECT '_count', NULL, 99, trace_ext.total_count(s.latency)) AS x
     WHERE trace_ext.total_count(s.latency) > 0;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.service_metrics() IS
    'samples of services: counters, and a histogram of latency for each; of more than 50 services those with most events, and the rest as "other"';
