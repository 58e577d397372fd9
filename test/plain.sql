-- What the maintained results must be, by plain queries over events that share
-- nothing with the extension's own SQL: included by tests, is none itself.
--
-- Leaves an empty store, so that a test does not see what another one left.
SET client_min_messages = warning;
SET search_path = public, trace_ext, trace_ext_internal;
-- Folds only where a test calls fold(): deltas stay outstanding until then.
SET trace_ext.fold_threshold = 0;

TRUNCATE trace_ext.events;
TRUNCATE trace_ext.ingest_errors RESTART IDENTITY;
DROP SCHEMA IF EXISTS plain CASCADE;
CREATE SCHEMA plain;

CREATE FUNCTION plain.is_error(kind trace_ext.event_kind, attributes jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN kind = 'Error' THEN true
        WHEN kind = 'HttpResponse' AND jsonb_typeof(attributes -> 'status') = 'number'
        THEN (attributes ->> 'status')::numeric >= 500
        ELSE false END
$$;

-- How long an event lasted, as an interval.
CREATE FUNCTION plain.lasted(duration_ns bigint) RETURNS interval
LANGUAGE sql IMMUTABLE AS $$
    SELECT round(greatest(coalesce(duration_ns, 0), 0) / 1000.0)::bigint * interval '1 microsecond'
$$;

CREATE VIEW plain.trace_summaries AS
SELECT trace_id,
       count(*) AS event_count,
       min("timestamp") AS first_timestamp,
       max("timestamp") AS last_timestamp,
       (extract(epoch FROM max(CASE WHEN stamped_at_end THEN "timestamp" ELSE "timestamp" + plain.lasted(duration_ns) END)
                         - min(CASE WHEN stamped_at_end THEN "timestamp" - plain.lasted(duration_ns) ELSE "timestamp" END))
        * 1000)::double precision AS duration_ms,
       coalesce(array_agg(DISTINCT service_name ORDER BY service_name)
                FILTER (WHERE service_name IS NOT NULL), '{}') AS services,
       count(DISTINCT service_name)::int AS service_count,
       count(*) FILTER (WHERE plain.is_error(kind, attributes)) AS error_count,
       count(*) FILTER (WHERE kind = 'StateChange') AS access_count,
       (array_agg(name ORDER BY "timestamp", id) FILTER (WHERE parent_id IS NULL OR parent_id = id))[1] AS root_name,
       (array_agg(service_name ORDER BY "timestamp", id) FILTER (WHERE parent_id IS NULL OR parent_id = id))[1] AS root_service,
       min(CASE WHEN stamped_at_end THEN "timestamp" - plain.lasted(duration_ns) ELSE "timestamp" END) AS started_at,
       max(CASE WHEN stamped_at_end THEN "timestamp" ELSE "timestamp" + plain.lasted(duration_ns) END) AS ended_at
  FROM trace_ext.events
 GROUP BY trace_id;

CREATE VIEW plain.event_counts AS
SELECT date_trunc('hour', "timestamp", 'UTC') AS hour, service_name, kind,
       count(*) AS event_count,
       count(*) FILTER (WHERE plain.is_error(kind, attributes)) AS error_count
  FROM trace_ext.events
 GROUP BY 1, 2, 3;

CREATE VIEW plain.latencies AS
SELECT date_trunc('hour', "timestamp", 'UTC') AS hour, service_name, kind, trace_ext.operation(kind, name) AS operation,
       count(*) AS calls,
       count(*) FILTER (WHERE plain.is_error(kind, attributes)) AS errors,
       count(*) FILTER (WHERE kind = 'StateChange' AND (attributes ->> 'access_type') IN ('Write', 'AtomicWrite', 'AtomicRMW')) AS writes,
       count(*) FILTER (WHERE duration_ns >= 0) AS durations,
       coalesce(sum(duration_ns) FILTER (WHERE duration_ns >= 0), 0) AS ns,
       coalesce(trace_ext.histogram_agg(duration_ns) FILTER (WHERE duration_ns >= 0)::jsonb -> 'buckets', '{}') AS buckets
  FROM trace_ext.events
 GROUP BY 1, 2, 3, 4;

-- One row a call between services: spans that spans of others call, and events whose
-- parent is of another service where no such spans say so.
CREATE VIEW plain.calls AS
WITH spans AS (
    SELECT trace_id, span_id,
           (array_agg(service_name ORDER BY "timestamp", id))[1] AS service,
           bool_or(plain.is_error(kind, attributes)) AS failed,
           min(CASE WHEN stamped_at_end THEN "timestamp" - plain.lasted(duration_ns) ELSE "timestamp" END) AS started_at,
           max(CASE WHEN stamped_at_end THEN "timestamp" ELSE "timestamp" + plain.lasted(duration_ns) END) AS ended_at
      FROM trace_ext.events WHERE span_id IS NOT NULL GROUP BY trace_id, span_id
), ranked AS (
    SELECT trace_id, upstream_span_id, span_id, kind, "timestamp", id,
           CASE WHEN EXISTS (SELECT FROM trace_ext.events p WHERE p.trace_id = e.trace_id AND p.id = e.parent_id AND p.id <> e.id
                                AND p.span_id = e.span_id) THEN 2
                WHEN kind = 'HttpRequest' THEN 0 ELSE 1 END AS standing
      FROM trace_ext.events e WHERE span_id IS NOT NULL AND upstream_span_id IS NOT NULL
), edges AS (
    SELECT trace_id, upstream_span_id, span_id, (array_agg(kind ORDER BY standing, "timestamp", id))[1] AS kind
      FROM ranked GROUP BY trace_id, upstream_span_id, span_id
), span_calls AS (
    SELECT e.trace_id, e.span_id, caller.service AS from_service, called.service AS to_service, e.kind, called.failed,
           called.started_at, called.ended_at
      FROM edges e
      JOIN spans caller ON caller.trace_id = e.trace_id AND caller.span_id = e.upstream_span_id
      JOIN spans called ON called.trace_id = e.trace_id AND called.span_id = e.span_id
     WHERE caller.service <> called.service
), parent_calls AS (
    SELECT e.trace_id, p.service_name AS from_service, e.service_name AS to_service, e.kind, plain.is_error(e.kind, e.attributes) AS failed,
           CASE WHEN stamped_at_end THEN "timestamp" - plain.lasted(duration_ns) ELSE "timestamp" END AS started_at,
           CASE WHEN stamped_at_end THEN "timestamp" ELSE "timestamp" + plain.lasted(duration_ns) END AS ended_at
      FROM trace_ext.events e,
           LATERAL (SELECT service_name FROM trace_ext.events p WHERE p.trace_id = e.trace_id AND p.id = e.parent_id
                     ORDER BY p."timestamp" LIMIT 1) AS p
     WHERE e.parent_id <> e.id AND p.service_name <> e.service_name
       AND NOT EXISTS (SELECT FROM span_calls s WHERE s.trace_id = e.trace_id AND s.span_id = e.span_id
                          AND s.from_service = p.service_name AND s.to_service = e.service_name)
)
SELECT trace_id, from_service, to_service, failed, started_at, extract(epoch FROM ended_at - started_at) * 1000000000 AS duration_ns,
       CASE kind WHEN 'HttpRequest' THEN 'HttpCall' WHEN 'HttpResponse' THEN 'HttpCall' WHEN 'DatabaseQuery' THEN 'DatabaseQuery'
                 WHEN 'AsyncSpawn' THEN 'MessageQueue' WHEN 'AsyncAwait' THEN 'MessageQueue' ELSE 'Custom' END AS link_type
  FROM (SELECT trace_id, from_service, to_service, kind, failed, started_at, ended_at FROM span_calls
        UNION ALL SELECT * FROM parent_calls) AS calls;

-- Maintained against plain, by EXCEPT ALL both ways: no row means exact.
-- STABLE, so that all of it sees the snapshot of the caller.
CREATE FUNCTION plain.differences() RETURNS TABLE (what text, side text, difference text)
LANGUAGE sql STABLE AS $$
    WITH calls AS MATERIALIZED (
        SELECT * FROM plain.calls
    ), maintained AS MATERIALIZED (
        SELECT 'trace_summaries' AS what, to_jsonb(s) AS result FROM trace_ext.trace_summaries s
        UNION ALL
        SELECT 'event_counts', to_jsonb(c) FROM trace_ext.event_counts c
        UNION ALL
        SELECT 'latencies', to_jsonb(l) FROM (SELECT hour, service_name, kind, operation, calls, errors, writes, total_count(latency) AS durations,
                                                     total_sum(latency) AS ns, coalesce(latency::jsonb -> 'buckets', '{}') AS buckets FROM trace_ext.latencies) l
        UNION ALL
        SELECT 'kind_latencies', to_jsonb(l) FROM (SELECT hour, service_name, kind, calls, errors, total_count(latency) AS durations, total_sum(latency) AS ns
                                                     FROM trace_ext.kind_latencies) l
        UNION ALL
        SELECT 'total_latencies', to_jsonb(l) FROM (SELECT service_name, kind, operation, calls, errors, writes, total_count(latency) AS durations, total_sum(latency) AS ns
                                                      FROM trace_ext.total_latencies) l
        UNION ALL
        SELECT 'list_traces', to_jsonb(l) FROM trace_ext.list_traces(10000) WITH ORDINALITY l
        UNION ALL
        SELECT 'count_events', to_jsonb(trace_ext.count_events())
        UNION ALL
        SELECT 'count_traces', to_jsonb(trace_ext.count_traces())
        UNION ALL
        SELECT 'services', to_jsonb(s) FROM trace_ext.services s
        UNION ALL
        SELECT 'service_calls', to_jsonb(c) FROM trace_ext.service_calls c
        UNION ALL
        SELECT 'calls_by_hour', to_jsonb(c) - 'latency'
                                || jsonb_build_object('sum', trace_ext.total_sum(c.latency), 'buckets', c.latency::jsonb -> 'buckets')
          FROM (SELECT hour, from_service, to_service, link_type, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors,
                       trace_ext.merge(latency) AS latency
                  FROM (SELECT hour, from_service, to_service, link_type, calls, errors, latency FROM trace_ext.call_base
                        UNION ALL
                        SELECT hour, from_service, to_service, link_type, calls, errors, latency FROM trace_ext_internal.outstanding_calls()) AS parts
                 GROUP BY hour, from_service, to_service, link_type HAVING sum(calls) <> 0) AS c
        UNION ALL
        SELECT 'service_map', to_jsonb(m) - '{p50_ms,p95_ms}'::text[] FROM trace_ext.service_map(NULL, NULL) m
    ), recomputed AS MATERIALIZED (
        SELECT 'trace_summaries' AS what, to_jsonb(s) AS result FROM plain.trace_summaries s
        UNION ALL
        SELECT 'event_counts', to_jsonb(c) FROM plain.event_counts c
        UNION ALL
        SELECT 'latencies', to_jsonb(l) FROM plain.latencies l
        UNION ALL
        SELECT 'kind_latencies', to_jsonb(l) FROM (SELECT hour, service_name, kind, sum(calls) AS calls, sum(errors) AS errors, sum(durations) AS durations, sum(ns) AS ns
                                                     FROM plain.latencies GROUP BY 1, 2, 3) l
        UNION ALL
        SELECT 'total_latencies', to_jsonb(l) FROM (SELECT service_name, kind, operation, sum(calls) AS calls, sum(errors) AS errors, sum(writes) AS writes,
                                                           sum(durations) AS durations, sum(ns) AS ns FROM plain.latencies GROUP BY 1, 2, 3) l
        UNION ALL
        SELECT 'list_traces', to_jsonb(l)
          FROM (SELECT *, row_number() OVER (ORDER BY last_timestamp DESC, trace_id DESC) AS ordinality
                  FROM plain.trace_summaries) l
        UNION ALL
        SELECT 'count_events', to_jsonb(count(*)) FROM trace_ext.events
        UNION ALL
        SELECT 'count_traces', to_jsonb(count(DISTINCT trace_id)) FROM trace_ext.events
        UNION ALL
        SELECT 'services', to_jsonb(s)
          FROM (SELECT service_name, count(*) AS event_count, count(*) FILTER (WHERE plain.is_error(kind, attributes)) AS error_count,
                       min(date_trunc('hour', "timestamp", 'UTC')) AS first_hour, max(date_trunc('hour', "timestamp", 'UTC')) AS last_hour,
                       count(DISTINCT trace_id) AS trace_count
                  FROM trace_ext.events WHERE service_name IS NOT NULL GROUP BY service_name) s
        UNION ALL
        SELECT 'service_calls', to_jsonb(c)
          FROM (SELECT from_service, to_service, link_type, count(*) AS call_count, count(DISTINCT trace_id) AS trace_count,
                       count(*) FILTER (WHERE failed) AS error_count
                  FROM calls GROUP BY from_service, to_service, link_type) AS c
        UNION ALL
        SELECT 'calls_by_hour', to_jsonb(c) - 'latency' || jsonb_build_object('buckets', c.latency::jsonb -> 'buckets')
          FROM (SELECT date_trunc('hour', started_at, 'UTC') AS hour, from_service, to_service, link_type, count(*) AS calls,
                       count(*) FILTER (WHERE failed) AS errors, sum(duration_ns)::bigint AS sum,
                       trace_ext.histogram_agg(duration_ns::bigint) AS latency
                  FROM calls GROUP BY 1, 2, 3, 4) AS c
        UNION ALL
        SELECT 'service_map', to_jsonb(c)
          FROM (SELECT from_service, to_service, link_type, count(*) AS calls, count(*) FILTER (WHERE failed) AS errors
                  FROM calls GROUP BY from_service, to_service, link_type) AS c
    )
    SELECT what, 'maintained', result::text
      FROM (SELECT * FROM maintained EXCEPT ALL SELECT * FROM recomputed) AS too_much
    UNION ALL
    SELECT what, 'plain', result::text
      FROM (SELECT * FROM recomputed EXCEPT ALL SELECT * FROM maintained) AS too_little
    ORDER BY 1, 3, 2
$$;

-- An id of few characters, for readable tests: 'a1' is 000000a1-0000-….
CREATE FUNCTION plain.id(text) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$ SELECT rpad(lpad($1, 8, '0'), 32, '0')::uuid $$;

-- Folds, and says nothing: how much there was to fold is a worker's business too.
CREATE PROCEDURE plain.fold()
LANGUAGE plpgsql AS $$ BEGIN PERFORM trace_ext.fold(); END $$;

-- The outcome of a statement that is to fail, in one line and without what a
-- version of PostgreSQL words in its own way.
CREATE FUNCTION plain.outcome(statement text, OUT state text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    message := 'done';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END $$;

-- Tests leave partitions, and some have to begin without, or leave none.
CREATE PROCEDURE plain.drop_partitions()
LANGUAGE plpgsql AS $$
DECLARE
    p regclass;
BEGIN
    FOR p IN SELECT part::regclass FROM trace_ext.partitions WHERE NOT is_default LOOP
        EXECUTE format('DROP TABLE %s', p);
    END LOOP;
END $$;

-- How each statement of plain.tried (n, statement), which a test makes, ends for a role.
CREATE FUNCTION plain.try(role name) RETURNS TABLE (n int, state text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    RETURN QUERY SELECT t.n, coalesce(o.state, '') FROM plain.tried t, LATERAL plain.outcome(t.statement) o ORDER BY t.n;
    RESET ROLE;
END $$;
