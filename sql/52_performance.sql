-- performance_metrics(): the whole store in one document, without reading its events.
--
-- Counts and percentiles are sums over all hours that are kept as such. The slowest
-- events are found by an index, in the partitions of those hours that the rollups say
-- have them. What each minute brought is told by the traces that ended in it.

-- The n groups of hour, service and kind whose slowest events are the slowest have among
-- them the n slowest events: for any event of another group, each of the n has one
-- that took as long. The maximum of a group that lost events may be too high; so what
-- was found is right if no group that was left out can have more, else more groups
-- are taken.
CREATE FUNCTION trace_ext_internal.slowest_events(n bigint)
    RETURNS TABLE (trace_id uuid, id uuid, "timestamp" timestamptz, kind event_kind, name text, service_name text, duration_ns bigint)
    LANGUAGE plpgsql STABLE ROWS 50 SET search_path = pg_catalog, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
    AS $$
DECLARE
    groups bigint := n;
    ranges text;
    rest bigint;            -- the most that an event of a group that was left out can have taken
    least_found bigint;
    found bigint;
BEGIN
    LOOP
        WITH best AS MATERIALIZED (
            SELECT g.hour, g.longest
              FROM ((SELECT b.hour, trace_ext.maximum(b.latency) AS longest FROM trace_ext.count_base b
                      WHERE trace_ext.maximum(b.latency) >= 0 ORDER BY trace_ext.maximum(b.latency) DESC LIMIT groups + 1)
                    UNION ALL
                    SELECT d.hour, max(trace_ext.maximum(d.latency)) FROM trace_ext.count_deltas d
                     WHERE trace_ext.maximum(d.latency) >= 0 GROUP BY d.hour, d.service_name, d.kind) AS g
             ORDER BY g.longest DESC LIMIT groups + 1
        ), taken AS (
            SELECT DISTINCT b.hour FROM (SELECT * FROM best ORDER BY longest DESC LIMIT groups) AS b
        ), islands AS (
            SELECT min(t.hour) AS low, max(t.hour) + interval '1 hour' AS high
              FROM (SELECT t.hour, t.hour - row_number() OVER (ORDER BY t.hour) * interval '1 hour' AS island FROM taken t) AS t
             GROUP BY t.island
        )
        SELECT (SELECT string_agg(format('("timestamp" >= %L AND "timestamp" < %L)', i.low, i.high), ' OR ') FROM islands i),
               (SELECT b.longest FROM best b ORDER BY b.longest DESC OFFSET groups LIMIT 1)
          INTO ranges, rest;
        IF ranges IS NULL THEN
            RETURN;
        END IF;
        EXECUTE format('SELECT min(t.duration_ns), count(*)
                          FROM (SELECT duration_ns FROM trace_ext.events WHERE duration_ns >= 0 AND (%s) ORDER BY duration_ns DESC LIMIT $1) AS t', ranges)
           INTO least_found, found USING n;
        EXIT WHEN rest IS NULL OR (found >= n AND least_found >= rest);
        groups := groups * 4;
    END LOOP;
    RETURN QUERY EXECUTE format('
        SELECT trace_id, id, "timestamp", kind, name, service_name, duration_ns
          FROM (SELECT * FROM trace_ext.events WHERE duration_ns >= 0 AND (%s) ORDER BY duration_ns DESC LIMIT $1) AS t
         ORDER BY duration_ns DESC, "timestamp" DESC, trace_id, id', ranges) USING n;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.slowest_events(bigint) IS 'the n events that took longest, longest first; of some that took equally long, any';

CREATE FUNCTION trace_ext_internal.throughput(at timestamptz) RETURNS TABLE (minute timestamptz, traces bigint, events bigint)
    LANGUAGE sql STABLE ROWS 60 SET search_path = pg_catalog, pg_temp SET jit = off
    BEGIN ATOMIC
    WITH ended AS MATERIALIZED (
        SELECT date_bin('1 minute', t.last_timestamp, '2000-01-01 00:00:00+00') AS minute, count(*) AS traces, sum(t.event_count)::bigint AS events
          FROM trace_ext.trace_summaries t
         WHERE t.last_timestamp >= date_bin('1 minute', at, '2000-01-01 00:00:00+00') - interval '59 minutes' AND t.last_timestamp <= at
         GROUP BY 1
    )
    SELECT m.minute, coalesce(e.traces, 0), coalesce(e.events, 0)
      FROM generate_series(0, 59) AS s (back)
     CROSS JOIN LATERAL (SELECT date_bin('1 minute', at, '2000-01-01 00:00:00+00') - s.back * interval '1 minute' AS minute) AS m
      LEFT JOIN ended e USING (minute)
     ORDER BY m.minute;
    END;
COMMENT ON FUNCTION trace_ext_internal.throughput(timestamptz) IS 'the traces that ended in each of the last 60 minutes, and the events of these';

-- A bare expression, which the planner puts in place of the call.
CREATE FUNCTION trace_ext_internal.latency_json(calls bigint, errors bigint, latency histogram) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN jsonb_build_object('events', calls, 'errors', errors, 'error_rate', trace_ext_internal.rounded(errors / nullif(calls, 0)::double precision),
                              'with_duration', trace_ext.total_count(latency),
                              'total_ms', trace_ext_internal.ms(trace_ext.total_sum(latency)::double precision), 'mean_ms', trace_ext_internal.ms(trace_ext.mean(latency)),
                              'p50_ms', trace_ext_internal.ms(trace_ext.quantile(latency, 0.5)), 'p95_ms', trace_ext_internal.ms(trace_ext.quantile(latency, 0.95)),
                              'p99_ms', trace_ext_internal.ms(trace_ext.quantile(latency, 0.99)), 'max_ms', trace_ext.maximum(latency) / 1e6::double precision);
COMMENT ON FUNCTION trace_ext_internal.latency_json(bigint, bigint, histogram) IS 'counts and percentiles as an object';

CREATE FUNCTION trace_ext_internal.performance_metrics_at(at timestamptz, n bigint) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan SET enable_sort = off
    AS $$
DECLARE
    first_hour constant timestamptz := (SELECT least((SELECT min(b.hour) FROM trace_ext.count_base b), (SELECT min(d.hour) FROM trace_ext.count_deltas d)));
    last_hour constant timestamptz := (SELECT greatest((SELECT max(b.hour) FROM trace_ext.count_base b), (SELECT max(d.hour) FROM trace_ext.count_deltas d)));
    seconds double precision;
    traces constant bigint := trace_ext.count_traces();
    slowest jsonb;
    minutes jsonb;
    recent jsonb;
BEGIN
    PERFORM trace_ext_internal.require_between(n, 1, 1000, 'n');
    -- Up to now, or to the end of the last hour that is stored.
    seconds := greatest(extract(epoch FROM CASE WHEN last_hour + interval '1 hour' > at AND last_hour < at THEN at ELSE last_hour + interval '1 hour' END - first_hour), 1);
    SELECT jsonb_agg(jsonb_build_object('trace_id', s.trace_id, 'event_id', s.id, 'timestamp', s."timestamp", 'kind', s.kind, 'name', left(s.name, 200),
                                        'service_name', s.service_name, 'duration_ms', s.duration_ns / 1e6::double precision))
      INTO slowest FROM trace_ext_internal.slowest_events(n) s;
    SELECT jsonb_agg(jsonb_build_object('minute', t.minute, 'traces', t.traces, 'events', t.events) ORDER BY t.minute),
           jsonb_build_object('traces', sum(t.traces), 'events', sum(t.events),
                              'traces_per_second', trace_ext_internal.rounded(sum(t.traces)::double precision / extract(epoch FROM at - min(t.minute))::double precision),
                              'events_per_second', trace_ext_internal.rounded(sum(t.events)::double precision / extract(epoch FROM at - min(t.minute))::double precision))
      INTO minutes, recent FROM trace_ext_internal.throughput(at) t;
    RETURN (
        -- As they stand, not added up: that is done below, once for each question.
        WITH part AS MATERIALIZED (
            SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.kind_totals
            UNION ALL
            SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.count_deltas
        ), operation AS MATERIALIZED (
            -- Many have no duration.
            SELECT p.service_name, p.kind, p.operation, sum(p.event_count)::bigint AS calls, sum(p.error_count)::bigint AS errors, trace_ext.merge(p.latency) AS latency
              FROM (SELECT service_name, kind, operation, event_count, error_count, latency FROM trace_ext.operation_totals WHERE trace_ext.total_count(latency) <> 0
                    UNION ALL
                    SELECT service_name, kind, trace_ext_internal.counted_as(service_name, operation), event_count, error_count, latency
                      FROM trace_ext.count_deltas WHERE latency IS NOT NULL) AS p
             GROUP BY p.service_name, p.kind, p.operation
        )
        SELECT jsonb_build_object(
            'as_of', at,
            'overall', (SELECT trace_ext_internal.latency_json(a.calls, a.errors, a.latency)
                               || jsonb_build_object('traces', traces, 'first_hour', first_hour, 'last_hour', last_hour,
                                                     'events_per_second', trace_ext_internal.rounded(a.calls / seconds),
                                                     'traces_per_second', trace_ext_internal.rounded(traces / seconds))
                          FROM (SELECT coalesce(sum(p.event_count), 0)::bigint AS calls, coalesce(sum(p.error_count), 0)::bigint AS errors, coalesce(trace_ext.merge(p.latency), '{}') AS latency
                                  FROM part p) AS a),
            'by_kind', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', k.kind) || trace_ext_internal.latency_json(k.calls, k.errors, k.latency) ORDER BY k.calls DESC, k.kind), '[]')
                          FROM (SELECT p.kind, sum(p.event_count)::bigint AS calls, sum(p.error_count)::bigint AS errors, coalesce(trace_ext.merge(p.latency), '{}') AS latency
                                  FROM part p GROUP BY p.kind HAVING sum(p.event_count) <> 0) AS k),
            'by_service', (SELECT coalesce(jsonb_agg(jsonb_build_object('service_name', s.service_name) || trace_ext_internal.latency_json(s.calls, s.errors, s.latency) ORDER BY s.calls DESC, s.service_name), '[]')
                             FROM (SELECT p.service_name, sum(p.event_count)::bigint AS calls, sum(p.error_count)::bigint AS errors, coalesce(trace_ext.merge(p.latency), '{}') AS latency
                                     FROM part p GROUP BY p.service_name HAVING sum(p.event_count) <> 0 ORDER BY 2 DESC, 1 LIMIT n) AS s),
            'slowest_operations', (SELECT coalesce(jsonb_agg(jsonb_build_object('service_name', s.service_name, 'kind', s.kind, 'operation', s.operation)
                                                             || trace_ext_internal.latency_json(s.calls, s.errors, s.latency) ORDER BY s.p95 DESC, s.calls DESC, s.service_name, s.kind, s.operation), '[]')
                                     FROM (SELECT o.*, trace_ext.quantile(o.latency, 0.95) AS p95 FROM operation o WHERE trace_ext.total_count(o.latency) > 0
                                            ORDER BY p95 DESC, o.calls DESC, o.service_name, o.kind, o.operation LIMIT n) AS s),
            'slowest_events', coalesce(slowest, '[]'),
            'last_60_minutes', recent,
            'throughput', minutes));
END
$$;
COMMENT ON FUNCTION trace_ext_internal.performance_metrics_at(timestamptz, bigint) IS 'performance_metrics() as of a time';

CREATE FUNCTION performance_metrics(n bigint = 50) RETURNS jsonb
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext_internal.performance_metrics_at(now(), n);
    END;
COMMENT ON FUNCTION performance_metrics(bigint) IS
    'the whole store in one document: overall, by_kind, by_service (the n with most events), slowest_operations (n, by 95th percentile), slowest_events (n), throughput and last_60_minutes. '
    'Counts are exact, percentiles within 2.2 %; once events have left, max_ms of what they were counted in is the end of a bucket, up to 4.5 % too much. Overall, events and traces a second are those of all the time that '
    'is stored, from first_hour to last_hour. throughput counts for each minute the traces whose last event is in it, and all events of these. n from 1 to 1000. Costs the same at every size, but for the traces of the last hour';
