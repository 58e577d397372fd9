-- What is hot, and the whole system at a glance: from rollups, without reading an event.

-- A name of events that answer (a status, or nothing) or give back tells of no work.
CREATE FUNCTION system_hotspots(n bigint = 10)
    RETURNS TABLE (what text, name text, service_name text, count bigint, writers bigint, waits bigint, total_ms double precision, findings bigint)
    LANGUAGE plpgsql STABLE ROWS 50 SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan SET enable_sort = off
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM trace_ext_internal.require_between(n, 1, 1000, 'n');
    RETURN QUERY
    WITH racing AS MATERIALIZED (
        SELECT trace_ext.operation('StateChange'::trace_ext.event_kind, f.variable) AS variable, count(*) AS findings
          FROM trace_ext.findings f WHERE f.status = 'open' AND f.occurrences > 0 GROUP BY 1
    ), outstanding AS MATERIALIZED (
        SELECT d.kind, trace_ext_internal.counted_as(d.service_name, d.operation) AS operation, d.service_name, d.event_count, d.write_count, d.latency FROM trace_ext.count_deltas d
    ), sums AS NOT MATERIALIZED (
        -- As total_latencies, but that most rows stand as they are: nothing is outstanding for them.
        SELECT o.kind, o.operation, o.service_name, o.event_count, o.write_count, o.latency
          FROM trace_ext.operation_totals o
         WHERE o.operation IS NOT NULL
           AND ((SELECT NOT EXISTS (SELECT FROM outstanding))
                OR (o.kind, o.operation, coalesce(o.service_name, '')) NOT IN (SELECT d.kind, d.operation, coalesce(d.service_name, '') FROM outstanding d WHERE d.operation IS NOT NULL))
        UNION ALL
        SELECT t.kind, t.operation, t.service_name, sum(t.event_count)::bigint, sum(t.write_count)::bigint, trace_ext.merge(t.latency)
          FROM (SELECT o.kind, o.operation, o.service_name, o.event_count, o.write_count, o.latency FROM trace_ext.operation_totals o
                 WHERE (SELECT EXISTS (SELECT FROM outstanding))
                   AND EXISTS (SELECT FROM outstanding d WHERE d.kind = o.kind AND d.operation = o.operation AND coalesce(d.service_name, '') = coalesce(o.service_name, ''))
                UNION ALL
                SELECT d.kind, d.operation, d.service_name, d.event_count, d.write_count, d.latency FROM outstanding d) AS t
         WHERE t.operation IS NOT NULL
         GROUP BY t.kind, t.operation, t.service_name
    )
    -- The first of each kind, each found by itself: to collect them all, or to rank them, would take longer.
    SELECT h.what, h.name, h.service_name, h.count, h.writers, h.waits, trace_ext_internal.ms(h.ns),
           CASE h.what WHEN 'variable' THEN coalesce((SELECT f.findings FROM racing f WHERE f.variable = h.name), 0) END
      FROM (SELECT k.place, r.* , k.what
              FROM (VALUES (1, 'variable', '{StateChange}'::trace_ext.event_kind[]),
                           (3, 'operation', '{FunctionCall,AsyncSpawn,AsyncAwait,HttpRequest,Error,Custom}'),
                           (4, 'query', '{DatabaseQuery}'), (5, 'lock', '{LockAcquire}')) AS k (place, what, kinds)
             CROSS JOIN LATERAL (
                   SELECT s.operation AS name, s.service_name, s.event_count AS count,
                          CASE s.kind WHEN 'StateChange' THEN s.write_count END AS writers,
                          CASE s.kind WHEN 'LockAcquire' THEN coalesce(trace_ext.total_count(s.latency) - trace_ext.count_below(s.latency, 0), 0) END AS waits,
                          CASE WHEN trace_ext.total_count(s.latency) > 0 THEN trace_ext.total_sum(s.latency)::double precision END AS ns
                     FROM sums s WHERE s.kind = ANY (k.kinds) AND s.event_count <> 0
                    ORDER BY ns DESC NULLS LAST, s.event_count DESC, s.service_name, s.operation LIMIT n) AS r
            UNION ALL
            SELECT 2, c.*
              FROM (SELECT c.from_service || ' -> ' || c.to_service || ' (' || c.link_type || ')' AS name, c.from_service, c.call_count::bigint, NULL::bigint, NULL::bigint, NULL::double precision, 'call'
                      FROM trace_ext.service_calls c ORDER BY c.call_count DESC, c.from_service, 1 LIMIT n) AS c) AS h
     ORDER BY h.place, h.ns DESC NULLS LAST, h.count DESC, h.service_name, h.name;
END
$$;
COMMENT ON FUNCTION system_hotspots(bigint) IS
    'where most happens in all that is stored: n variables, calls from service to service, operations, queries and locks each, by the time they took in all, else by their number. '
    'Names are templates, as operation() makes them. writers: accesses that write; waits: acquires that took any time, total_ms then what they waited; '
    'findings: open ones on variables of this name, in whatever service. n from 1 to 1000';

CREATE FUNCTION analyze_global() RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan SET enable_sort = off
    AS $$
BEGIN
    RETURN (
        WITH finding AS MATERIALIZED (
            SELECT * FROM trace_ext.findings f WHERE f.status <> 'ignored' AND f.occurrences > 0
        ), operation AS MATERIALIZED (
            SELECT p.service_name, sum(p.event_count) AS calls, sum(p.error_count) AS errors
              FROM (SELECT o.service_name, o.kind, o.operation, o.event_count, o.error_count FROM trace_ext.operation_totals o
                    UNION ALL
                    SELECT d.service_name, d.kind, trace_ext_internal.counted_as(d.service_name, d.operation), d.event_count, d.error_count FROM trace_ext.count_deltas d) AS p
             GROUP BY p.service_name, p.kind, p.operation HAVING sum(p.event_count) <> 0
        )
        SELECT jsonb_build_object(
            'as_of', now(),
            'counts', (SELECT jsonb_build_object('events', trace_ext.count_events(), 'traces', trace_ext.count_traces(), 'errors', coalesce(sum(o.errors), 0),
                                                 'services', count(DISTINCT o.service_name), 'operations', count(*),
                                                 'findings', (SELECT count(*) FROM finding), 'racing_variables', (SELECT count(DISTINCT f.variable) FROM finding f WHERE f.kind <> 'lock order'))
                         FROM operation o),
            'findings', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', k.kind, 'severity', k.severity, 'findings', k.findings, 'occurrences', k.occurrences, 'last_seen', k.last_seen)
                                                   ORDER BY array_position(ARRAY['CRITICAL', 'WARNING', 'INFO'], k.severity), k.findings DESC, k.kind), '[]')
                           FROM (SELECT f.kind, f.severity, count(*) AS findings, sum(f.occurrences) AS occurrences, max(f.last_seen) AS last_seen
                                   FROM finding f GROUP BY f.kind, f.severity) AS k),
            'racing_variables', (SELECT coalesce(jsonb_agg(jsonb_build_object('variable', v.variable, 'severity', (ARRAY['CRITICAL', 'WARNING', 'INFO'])[v.rank],
                                                                              'findings', v.findings, 'occurrences', v.occurrences, 'last_seen', v.last_seen)
                                                           ORDER BY v.rank, v.occurrences DESC, v.variable), '[]')
                                   FROM (SELECT f.variable, min(array_position(ARRAY['CRITICAL', 'WARNING', 'INFO'], f.severity)) AS rank,
                                                count(*) AS findings, sum(f.occurrences) AS occurrences, max(f.last_seen) AS last_seen
                                           FROM finding f WHERE f.kind <> 'lock order' GROUP BY f.variable ORDER BY 2, 4 DESC, 1 LIMIT 20) AS v),
            'anomalies', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', k.kind, 'severity', k.severity, 'anomalies', k.anomalies, 'occurrences', k.occurrences, 'last_seen', k.last_seen)
                                                    ORDER BY array_position(ARRAY['CRITICAL', 'WARNING', 'INFO'], k.severity), k.anomalies DESC, k.kind), '[]')
                            FROM (SELECT a.kind, a.severity, count(*) AS anomalies, sum(a.occurrences) AS occurrences, max(a.last_seen) AS last_seen
                                    FROM trace_ext.anomalies a WHERE a.status <> 'ignored' AND a.occurrences > 0 GROUP BY a.kind, a.severity) AS k),
            'alerts', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', a.name, 'state', a.state, 'since', a.since, 'summary', a.summary) ORDER BY array_position(ARRAY['firing', 'pending', 'resolved'], a.state::text), a.name), '[]')
                         FROM trace_ext.alerts a WHERE a.state <> 'inactive'),
            'hot_spots', (SELECT coalesce(jsonb_object_agg(h.what, h.spots), '{}')
                            FROM (SELECT s.what, jsonb_agg(jsonb_strip_nulls(to_jsonb(s) - 'what' - 'ordinality') ORDER BY s.ordinality) AS spots
                                    FROM trace_ext.system_hotspots(5) WITH ORDINALITY s GROUP BY s.what) AS h)));
END
$$;
COMMENT ON FUNCTION analyze_global() IS
    'the whole system in one document: counts; findings and anomalies that are not ignored, by kind and severity; the 20 worst of the variables that race; alerts that are pending, fire or were resolved lately; hot_spots, five of each kind as of system_hotspots(). Reads no event';
