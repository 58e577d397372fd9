-- What panels of Grafana take; grafana/ has a dashboard of them.

CREATE FUNCTION grafana_trace(trace_id uuid)
    RETURNS TABLE ("traceID" text, "spanID" text, "parentSpanID" text, "operationName" text, "serviceName" text,
                   "startTime" double precision, duration double precision, tags jsonb, "serviceTags" jsonb, logs jsonb, "references" jsonb,
                   kind text, "statusCode" int, "statusMessage" text, "instrumentationLibraryName" text, "instrumentationLibraryVersion" text, "traceState" text)
    LANGUAGE c STABLE ROWS 100 AS 'MODULE_PATHNAME', 'tex_grafana_trace';
COMMENT ON FUNCTION grafana_trace(uuid) IS
    'the spans of a trace as the trace panel takes them, in its format "table": times in milliseconds, tags, serviceTags and fields as [{key, value}], logs as [{timestamp, name, fields}]. No rows, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION grafana_trace(trace_id text)
    RETURNS TABLE ("traceID" text, "spanID" text, "parentSpanID" text, "operationName" text, "serviceName" text,
                   "startTime" double precision, duration double precision, tags jsonb, "serviceTags" jsonb, logs jsonb, "references" jsonb,
                   kind text, "statusCode" int, "statusMessage" text, "instrumentationLibraryName" text, "instrumentationLibraryVersion" text, "traceState" text)
    LANGUAGE sql STABLE ROWS 100
    BEGIN ATOMIC
    -- A dashboard asks before anything is chosen.
    SELECT * FROM trace_ext.grafana_trace(trace_ext_internal.trace_named(nullif(btrim($1), '')));
    END;
COMMENT ON FUNCTION grafana_trace(text) IS 'the same, with the id as text, of which the first 8 digits are enough; no rows for none';

CREATE FUNCTION grafana_edges(since timestamptz = now() - interval '1 hour', until timestamptz = now())
    RETURNS TABLE (id text, source text, target text, mainstat text, secondarystat text, thickness double precision,
                   "detail__calls" bigint, "detail__errors" bigint, "detail__p50_ms" double precision, "detail__p95_ms" double precision, "detail__type" text)
    LANGUAGE sql STABLE ROWS 100
    BEGIN ATOMIC
    SELECT coalesce(m.from_service, '(no name)') || ' > ' || coalesce(m.to_service, '(no name)') || ' ' || m.link_type, coalesce(m.from_service, '(no name)'), coalesce(m.to_service, '(no name)'),
           m.calls || CASE m.calls WHEN 1 THEN ' call' ELSE ' calls' END,
           coalesce('p95 ' || trace_ext_internal.duration_text(m.p95_ms), ''),
           1 + 4 * m.calls / max(m.calls) OVER ()::double precision,
           m.calls, m.errors, m.p50_ms, m.p95_ms, m.link_type::text
      FROM trace_ext.service_map(since, until) m WHERE m.calls > 0;
    END;
COMMENT ON FUNCTION grafana_edges(timestamptz, timestamptz) IS
    'which service called which, as the node graph panel takes edges: service_map(), which counts whole hours';

CREATE FUNCTION grafana_nodes(since timestamptz = now() - interval '1 hour', until timestamptz = now())
    RETURNS TABLE (id text, title text, subtitle text, mainstat text, secondarystat text, "arc__ok" double precision, "arc__errors" double precision,
                   "detail__events" bigint, "detail__errors" bigint, "detail__p95_ms" double precision)
    LANGUAGE sql STABLE ROWS 30
    BEGIN ATOMIC
    WITH service AS (
        SELECT coalesce(k.service_name, '(no name)') AS id, sum(k.calls)::bigint AS events, least(sum(k.errors), sum(k.calls))::bigint AS errors,
               trace_ext.quantile(coalesce(trace_ext.merge(k.latency) FILTER (WHERE k.kind IN ('HttpRequest', 'HttpResponse') AND trace_ext.total_count(k.latency) > 0),
                                           trace_ext.merge(k.latency)), 0.95) / 1e6 AS p95
          FROM trace_ext.kind_latencies k
         WHERE k.hour >= coalesce(date_bin('1 hour', grafana_nodes.since, '2000-01-01 00:00:00+00'), '-infinity') AND k.hour <= coalesce(grafana_nodes.until, 'infinity')
         GROUP BY coalesce(k.service_name, '(no name)')
    ), called AS (
        -- An edge without its nodes is not drawn, nor is any other then.
        SELECT e.source AS id FROM trace_ext.grafana_edges(grafana_nodes.since, grafana_nodes.until) e
        UNION
        SELECT e.target FROM trace_ext.grafana_edges(grafana_nodes.since, grafana_nodes.until) e
    )
    SELECT n.id, n.id, coalesce('p95 ' || trace_ext_internal.duration_text(s.p95), ''),
           coalesce(s.events, 0) || CASE s.events WHEN 1 THEN ' event' ELSE ' events' END, coalesce(s.errors, 0) || CASE s.errors WHEN 1 THEN ' error' ELSE ' errors' END,
           1 - coalesce(s.errors / nullif(s.events, 0)::double precision, 0), coalesce(s.errors / nullif(s.events, 0)::double precision, 0),
           coalesce(s.events, 0), coalesce(s.errors, 0), s.p95
      FROM (SELECT id FROM service UNION SELECT id FROM called) AS n LEFT JOIN service s USING (id)
     ORDER BY n.id;
    END;
COMMENT ON FUNCTION grafana_nodes(timestamptz, timestamptz) IS
    'services as the node graph panel takes nodes, in whole hours: all that there are, and all that grafana_edges() names';
