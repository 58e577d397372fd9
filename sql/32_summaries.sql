-- Summaries of traces: exact at every moment, inside every snapshot.

-- What a summary says, computed from the events alone. fold() uses it for
-- traces that lost events, rebuild_summaries() and verify_summaries() for all.
CREATE VIEW summary_recomputed AS
SELECT trace_id,
       count(*) AS event_count,
       count(*) FILTER (WHERE trace_ext.is_error(kind, CASE WHEN kind = 'HttpResponse' THEN attributes END)) AS error_count,
       count(*) FILTER (WHERE kind = 'StateChange') AS access_count,
       min("timestamp") AS first_timestamp,
       max("timestamp") AS last_timestamp,
       min(lower(trace_ext.event_extent("timestamp", duration_ns, stamped_at_end))) AS started_at,
       max(upper(trace_ext.event_extent("timestamp", duration_ns, stamped_at_end))) AS ended_at,
       trace_ext_internal.text_set(service_name) AS services,
       min("timestamp") FILTER (WHERE parent_id IS NULL OR parent_id = id) AS root_timestamp,
       (trace_ext_internal.earliest("timestamp", id, id::text) FILTER (WHERE parent_id IS NULL OR parent_id = id))::uuid AS root_id,
       trace_ext_internal.earliest("timestamp", id, name) FILTER (WHERE parent_id IS NULL OR parent_id = id) AS root_name,
       trace_ext_internal.earliest("timestamp", id, service_name) FILTER (WHERE parent_id IS NULL OR parent_id = id) AS root_service
  FROM trace_ext.events
 GROUP BY trace_id;
COMMENT ON VIEW summary_recomputed IS 'summaries computed from all events; slow, for checks and repair';

-- In C: the planner, who sees no further, would plan for every partition.
CREATE FUNCTION trace_ext_internal.recompute_summary(trace_id uuid) RETURNS SETOF summary_recomputed
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 1 COST 100
    AS 'MODULE_PATHNAME', 'tex_recompute_summary';
COMMENT ON FUNCTION trace_ext_internal.recompute_summary(uuid) IS
    'the summary of one trace, computed from its events; no row where it has none';

CREATE FUNCTION trace_ext_internal.trace_range(ids uuid[], OUT first_timestamp timestamptz, OUT last_timestamp timestamptz)
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'tex_trace_range';
COMMENT ON FUNCTION trace_ext_internal.trace_range(uuid[]) IS
    'a range of time that has all events of some traces that the snapshot sees; infinity and -infinity where there are none. '
    'Given as constants it keeps a query of events out of all other partitions';

-- Whoever reads the events of many traces reads neighbours in time by one query, with
-- times as constants: it is not planned for other partitions, nor does it look for each
-- trace in each of many.
CREATE FUNCTION trace_ext_internal.neighbours(ids uuid[], most bigint, OUT few uuid[], OUT low timestamptz, OUT high timestamptz) RETURNS SETOF record
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT p.few, r.first_timestamp, r.last_timestamp
      FROM (SELECT array_agg(n.id) AS few
              FROM (SELECT i.id, (row_number() OVER (ORDER BY b.first_timestamp) - 1) / most AS part
                      FROM unnest(ids) AS i (id) LEFT JOIN trace_ext.summary_base b ON b.trace_id = i.id) AS n
             GROUP BY n.part) AS p,
           LATERAL trace_ext_internal.trace_range(p.few) AS r
     WHERE r.first_timestamp <= r.last_timestamp;
    END;
COMMENT ON FUNCTION trace_ext_internal.neighbours(uuid[], bigint) IS
    'some traces in groups of neighbours in time, of at most so many, each with a range of time that has all their events; without groups that have none';

-- A table that is emptied all the time has no statistics to plan by: vacuum says
-- 0 rows, and the planner would compare each base row with each delta. The
-- function says how many to expect. With SET it is not inlined.
CREATE FUNCTION trace_ext_internal.outstanding_deltas() RETURNS SETOF summary_deltas
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 2000
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT * FROM trace_ext.summary_deltas;
    END;
COMMENT ON FUNCTION trace_ext_internal.outstanding_deltas() IS 'the rows of summary_deltas';

-- Base rows that no delta is outstanding for; base and deltas merged; and traces
-- that lost events, computed anew.
CREATE VIEW trace_summaries AS
WITH deltas AS MATERIALIZED (SELECT * FROM trace_ext_internal.outstanding_deltas())
SELECT trace_id, event_count, first_timestamp, last_timestamp,
       trace_ext_internal.duration_ms(started_at, ended_at) AS duration_ms,
       services, cardinality(services) AS service_count,
       error_count, access_count, root_name, root_service, started_at, ended_at
  FROM (SELECT * FROM trace_ext.summary_base b
         WHERE NOT EXISTS (SELECT FROM deltas d WHERE d.trace_id = b.trace_id)
        UNION ALL
        SELECT trace_id, event_count, error_count, access_count, first_timestamp, last_timestamp, started_at, ended_at, services,
               root_timestamp, root_id, root_name, root_service
          FROM (SELECT trace_id,
                       bool_or(recompute) AS recompute,
                       sum(event_count)::bigint AS event_count,
                       sum(error_count)::bigint AS error_count,
                       sum(access_count)::bigint AS access_count,
                       min(first_timestamp) AS first_timestamp,
                       max(last_timestamp) AS last_timestamp,
                       min(started_at) AS started_at,
                       max(ended_at) AS ended_at,
                       trace_ext_internal.text_set(services) AS services,
                       min(root_timestamp) AS root_timestamp,
                       trace_ext_internal.earliest(root_timestamp, root_id, root_id::text)::uuid AS root_id,
                       trace_ext_internal.earliest(root_timestamp, root_id, root_name) AS root_name,
                       trace_ext_internal.earliest(root_timestamp, root_id, root_service) AS root_service
                  FROM (SELECT * FROM deltas
                        UNION ALL
                        SELECT b.*, false FROM trace_ext.summary_base b
                         WHERE b.trace_id IN (SELECT d.trace_id FROM deltas d)) AS parts
                 GROUP BY trace_id) AS merged
         WHERE NOT recompute
        UNION ALL
        SELECT stale.trace_id, r.event_count, r.error_count, r.access_count, r.first_timestamp, r.last_timestamp, r.started_at, r.ended_at, r.services,
               r.root_timestamp, r.root_id, r.root_name, r.root_service
          FROM (SELECT DISTINCT trace_id FROM deltas WHERE recompute) AS stale,
               LATERAL trace_ext_internal.recompute_summary(stale.trace_id) AS r) AS summaries;
COMMENT ON VIEW trace_summaries IS 'one row a trace, exact inside every snapshot';
COMMENT ON COLUMN trace_summaries.trace_id IS 'the trace';
COMMENT ON COLUMN trace_summaries.event_count IS 'number of its events';
COMMENT ON COLUMN trace_summaries.first_timestamp IS 'time of its first event';
COMMENT ON COLUMN trace_summaries.last_timestamp IS 'time of its last event';
COMMENT ON COLUMN trace_summaries.duration_ms IS 'how long it lasted: ended_at - started_at, in milliseconds';
COMMENT ON COLUMN trace_summaries.services IS 'its services, ascending; {} where no event names one';
COMMENT ON COLUMN trace_summaries.service_count IS 'number of its services';
COMMENT ON COLUMN trace_summaries.error_count IS 'number of its events for which is_error(kind, attributes)';
COMMENT ON COLUMN trace_summaries.access_count IS 'number of its accesses (events of kind StateChange)';
COMMENT ON COLUMN trace_summaries.root_name IS
    'name of its root: of the events without a parent other than themselves, the first by (timestamp, id); NULL until one arrives';
COMMENT ON COLUMN trace_summaries.root_service IS 'service_name of its root';
COMMENT ON COLUMN trace_summaries.started_at IS 'when the first of its events began: an event lasts event_extent("timestamp", duration_ns, stamped_at_end)';
COMMENT ON COLUMN trace_summaries.ended_at IS 'when the last of its events ended';

CREATE VIEW event_counts AS
SELECT hour, service_name, kind, sum(event_count)::bigint AS event_count, sum(error_count)::bigint AS error_count
  FROM (SELECT hour, service_name, kind, event_count, error_count FROM trace_ext.count_base
        UNION ALL
        SELECT hour, service_name, kind, event_count, error_count FROM trace_ext.count_deltas) AS parts
 GROUP BY hour, service_name, kind
HAVING sum(event_count) <> 0;
COMMENT ON VIEW event_counts IS 'events by hour, service and kind, exact inside every snapshot';
COMMENT ON COLUMN event_counts.hour IS 'begin of the hour (hours of UTC)';
COMMENT ON COLUMN event_counts.service_name IS 'the service; NULL for events that name none';
COMMENT ON COLUMN event_counts.kind IS 'the kind';
COMMENT ON COLUMN event_counts.event_count IS 'number of events';
COMMENT ON COLUMN event_counts.error_count IS 'number of those for which is_error(kind, attributes)';

-- Which row an operation is counted in: its own, until a fold found that its service has
-- more than trace_ext.max_operations. What was counted in "(other)" stays there.
CREATE FUNCTION trace_ext_internal.counted_as(service_name text, operation text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN operation IS NULL OR operation = '(other)'
                     OR NOT EXISTS (SELECT FROM trace_ext.operation_names n
                                     WHERE n.service_key = coalesce('=' || service_name, '') AND n.operation = '(other)')
                     OR EXISTS (SELECT FROM trace_ext.operation_names n
                                 WHERE n.service_key = coalesce('=' || service_name, '') AND n.operation = counted_as.operation)
                THEN operation ELSE '(other)' END;
COMMENT ON FUNCTION trace_ext_internal.counted_as(text, text) IS 'the operation that an operation of a service is counted as: itself, or "(other)"';

CREATE VIEW latencies AS
SELECT hour, service_name, kind, operation, sum(event_count)::bigint AS calls, sum(error_count)::bigint AS errors,
       coalesce(trace_ext.merge(latency), '{}') AS latency, sum(write_count)::bigint AS writes
  FROM (SELECT hour, service_name, kind, operation, event_count, error_count, latency, write_count FROM trace_ext.operation_base
        UNION ALL
        SELECT hour, service_name, kind, trace_ext_internal.counted_as(service_name, operation), event_count, error_count, latency, write_count
          FROM trace_ext.count_deltas) AS parts
 GROUP BY hour, service_name, kind, operation
HAVING sum(event_count) <> 0;
COMMENT ON VIEW latencies IS 'events and how long they took, by hour, service, kind and operation, exact inside every snapshot';
COMMENT ON COLUMN latencies.hour IS 'begin of the hour (hours of UTC)';
COMMENT ON COLUMN latencies.service_name IS 'the service; NULL for events that name none';
COMMENT ON COLUMN latencies.kind IS 'the kind';
COMMENT ON COLUMN latencies.operation IS
    'operation(kind, name); NULL for events without a name; "(other)" for what a service has beyond trace_ext.max_operations';
COMMENT ON COLUMN latencies.calls IS 'number of events';
COMMENT ON COLUMN latencies.errors IS 'number of those for which is_error(kind, attributes)';
COMMENT ON COLUMN latencies.latency IS 'duration_ns of those that have one, as a histogram';
COMMENT ON COLUMN latencies.writes IS 'number of those that are accesses that write';

CREATE VIEW total_latencies AS
SELECT service_name, kind, operation, sum(event_count)::bigint AS calls, sum(error_count)::bigint AS errors,
       coalesce(trace_ext.merge(latency), '{}') AS latency, sum(write_count)::bigint AS writes
  FROM (SELECT service_name, kind, operation, event_count, error_count, latency, write_count FROM trace_ext.operation_totals
        UNION ALL
        SELECT service_name, kind, trace_ext_internal.counted_as(service_name, operation), event_count, error_count, latency, write_count
          FROM trace_ext.count_deltas) AS parts
 GROUP BY service_name, kind, operation
HAVING sum(event_count) <> 0;
COMMENT ON VIEW total_latencies IS
    'events and how long they took, by service, kind and operation, over all hours: the sum of latencies, exact inside every snapshot, at the same cost however many hours there are';
COMMENT ON COLUMN total_latencies.service_name IS 'the service; NULL for events that name none';
COMMENT ON COLUMN total_latencies.kind IS 'the kind';
COMMENT ON COLUMN total_latencies.operation IS 'as in latencies';
COMMENT ON COLUMN total_latencies.calls IS 'number of events';
COMMENT ON COLUMN total_latencies.errors IS 'number of those for which is_error(kind, attributes)';
COMMENT ON COLUMN total_latencies.latency IS
    'duration_ns of those that have one, as a histogram; once events have left, its least and greatest value are ends of buckets';
COMMENT ON COLUMN total_latencies.writes IS 'number of those that are accesses that write';

CREATE VIEW kind_latencies AS
SELECT hour, service_name, kind, sum(event_count)::bigint AS calls, sum(error_count)::bigint AS errors,
       coalesce(trace_ext.merge(latency), '{}') AS latency
  FROM (SELECT hour, service_name, kind, event_count, error_count, latency FROM trace_ext.count_base
        UNION ALL
        SELECT hour, service_name, kind, event_count, error_count, latency FROM trace_ext.count_deltas) AS parts
 GROUP BY hour, service_name, kind
HAVING sum(event_count) <> 0;
COMMENT ON VIEW kind_latencies IS 'events and how long they took, by hour, service and kind, exact inside every snapshot';
COMMENT ON COLUMN kind_latencies.hour IS 'begin of the hour (hours of UTC)';
COMMENT ON COLUMN kind_latencies.service_name IS 'the service; NULL for events that name none';
COMMENT ON COLUMN kind_latencies.kind IS 'the kind';
COMMENT ON COLUMN kind_latencies.calls IS 'number of events';
COMMENT ON COLUMN kind_latencies.errors IS 'number of those for which is_error(kind, attributes)';
COMMENT ON COLUMN kind_latencies.latency IS 'duration_ns of those that have one, as a histogram';

-- Of traces with deltas the services are known before (the base) and after, and the
-- difference is added. Plans as in count_traces().
CREATE FUNCTION trace_ext_internal.traces_of_services() RETURNS TABLE (service_name text, trace_count bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
    AS $$
BEGIN
    RETURN QUERY
    SELECT p.service_name, sum(p.traces)::bigint
      FROM (SELECT t.service_name, t.trace_count AS traces FROM trace_ext.service_traces t
            UNION ALL
            SELECT s.service_name, c.traces
              FROM (SELECT d.trace_id, bool_or(d.recompute) AS recompute, trace_ext_internal.text_set(d.services) AS services
                      FROM trace_ext.summary_deltas d GROUP BY d.trace_id) AS m
              LEFT JOIN LATERAL (SELECT b.services FROM trace_ext.summary_base b WHERE b.trace_id = m.trace_id) AS known ON true
              LEFT JOIN LATERAL (SELECT r.services FROM trace_ext_internal.recompute_summary(m.trace_id) r WHERE m.recompute) AS again ON true,
                   LATERAL (VALUES (CASE WHEN m.recompute THEN again.services
                                         WHEN known.services IS NULL THEN m.services
                                         ELSE trace_ext_internal.text_set_union(known.services, m.services) END, 1),
                                   (known.services, -1)) AS c (services, traces),
                   LATERAL unnest(c.services) AS s (service_name)) AS p
     GROUP BY p.service_name;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.traces_of_services() IS
    'in how many traces each service takes part, exact in the caller''s snapshot; costs the same at every size';

-- What is counted of events, in one place: for all of them, those of a partition that
-- comes or goes, or those of an hour.
CREATE FUNCTION trace_ext_internal.count_query(source text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
    RETURN format($q$
SELECT date_bin('1 hour', "timestamp", '2000-01-01 00:00:00+00') AS hour, service_name, kind,
       trace_ext.operation(kind, name) AS operation,
       count(*) AS event_count,
       count(*) FILTER (WHERE trace_ext.is_error(kind, CASE WHEN kind = 'HttpResponse' THEN attributes END)) AS error_count,
       count(*) FILTER (WHERE kind = 'StateChange' AND attributes ->> 'access_type' IN ('Write', 'AtomicWrite', 'AtomicRMW')) AS write_count,
       trace_ext.histogram_agg(duration_ns) FILTER (WHERE duration_ns >= 0) AS latency
  FROM %s
 GROUP BY 1, 2, 3, 4 $q$, source);
COMMENT ON FUNCTION trace_ext_internal.count_query(text) IS
    'a query that counts events of a source, which has the columns of events: the columns of count_deltas';

DO $$ BEGIN EXECUTE 'CREATE VIEW trace_ext.counts_recomputed AS ' || trace_ext_internal.count_query('trace_ext.events'); END $$;
COMMENT ON VIEW counts_recomputed IS 'counts and latencies computed from all events; slow, for checks and repair';

CREATE FUNCTION trace_ext_internal.require_read_committed(what text) RETURNS void
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_require_read_committed';
COMMENT ON FUNCTION trace_ext_internal.require_read_committed(text) IS 'fails where the transaction keeps one snapshot';

CREATE FUNCTION trace_ext_internal.fold_lock(wait boolean) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_fold_lock';
COMMENT ON FUNCTION trace_ext_internal.fold_lock(boolean) IS
    'lets one transaction fold at a time, until it ends; without wait, false where another one does or a partition is locked';

-- One statement, so that one snapshot sees the deltas it takes, the base and
-- the events it recomputes from. Its caller holds the fold lock. Nested loops
-- and indexes, because base and events are large and are to be probed, whatever
-- the planner thinks of the number of deltas, or thought when it kept a plan.
--
-- It takes no more than "most" deltas, so that memory and the time that partitions
-- are locked stay bounded. Deltas add up, so any part of them may be folded. But a
-- trace that is read again brings the effect of all its deltas, so these go with
-- it, wherever they are. IS TRUE keeps the tests on a few traces hashed: the planner
-- would make joins of them, and has only nested loops for that here.
CREATE FUNCTION trace_ext_internal.fold_deltas(most bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
    AS $$
DECLARE
    most_operations constant int := current_setting('trace_ext.max_operations')::int;
    folded bigint;
    came bigint;
    came_ids uuid[];
    changed bigint;
    changed_ids uuid[];
BEGIN
    WITH chunk AS MATERIALIZED (
        SELECT ctid AS place, trace_id FROM trace_ext.summary_deltas LIMIT most
    ), marked AS MATERIALIZED (
        SELECT DISTINCT trace_id FROM trace_ext.summary_deltas
         WHERE recompute AND (trace_id IN (SELECT trace_id FROM chunk)) IS TRUE
    ), taken AS (
        DELETE FROM trace_ext.summary_deltas
         WHERE ctid = ANY (ARRAY(SELECT place FROM chunk
                                  WHERE (trace_id IN (SELECT trace_id FROM marked)) IS NOT TRUE))
        RETURNING *
    ), replaced_deltas AS (
        DELETE FROM trace_ext.summary_deltas
         WHERE EXISTS (SELECT FROM marked) AND (trace_id IN (SELECT trace_id FROM marked)) IS TRUE
        RETURNING 1
    ), merged AS MATERIALIZED (
        SELECT trace_id,
               sum(event_count)::bigint AS event_count,
               sum(error_count)::bigint AS error_count,
               sum(access_count)::bigint AS access_count,
               min(first_timestamp) AS first_timestamp,
               max(last_timestamp) AS last_timestamp,
               min(started_at) AS started_at,
               max(ended_at) AS ended_at,
               trace_ext_internal.text_set(services) AS services,
               min(root_timestamp) AS root_timestamp,
               trace_ext_internal.earliest(root_timestamp, root_id, root_id::text)::uuid AS root_id,
               trace_ext_internal.earliest(root_timestamp, root_id, root_name) AS root_name,
               trace_ext_internal.earliest(root_timestamp, root_id, root_service) AS root_service
          FROM taken GROUP BY trace_id
    ), recomputed AS MATERIALIZED (
        SELECT m.trace_id AS stale_id, r.*
          FROM marked m LEFT JOIN LATERAL trace_ext_internal.recompute_summary(m.trace_id) r ON true
    ), added AS (
        -- xmax tells an inserted row (0) from one that was there.
        INSERT INTO trace_ext.summary_base AS b
        SELECT trace_id, event_count, error_count, access_count, first_timestamp, last_timestamp, started_at, ended_at, services,
               root_timestamp, root_id, root_name, root_service
          FROM merged
        ON CONFLICT (trace_id) DO UPDATE SET
               event_count = b.event_count + excluded.event_count,
               error_count = b.error_count + excluded.error_count,
               access_count = b.access_count + excluded.access_count,
               first_timestamp = least(b.first_timestamp, excluded.first_timestamp),
               last_timestamp = greatest(b.last_timestamp, excluded.last_timestamp),
               started_at = least(b.started_at, excluded.started_at),
               ended_at = greatest(b.ended_at, excluded.ended_at),
               services = trace_ext_internal.text_set_union(b.services, excluded.services),
               (root_timestamp, root_id, root_name, root_service) =
                   (SELECT n.* FROM (VALUES (b.root_timestamp, b.root_id, b.root_name, b.root_service),
                                            (excluded.root_timestamp, excluded.root_id, excluded.root_name, excluded.root_service))
                                    AS n (t, i, name, service)
                     ORDER BY n.t NULLS LAST, n.i LIMIT 1)
        RETURNING b.trace_id, b.xmax = 0 AS is_new, b.services
    ), replaced AS (
        INSERT INTO trace_ext.summary_base AS b
        SELECT trace_id, event_count, error_count, access_count, first_timestamp, last_timestamp, started_at, ended_at, services,
               root_timestamp, root_id, root_name, root_service
          FROM recomputed WHERE trace_id IS NOT NULL
        ON CONFLICT (trace_id) DO UPDATE SET
               (event_count, error_count, access_count, first_timestamp, last_timestamp, started_at, ended_at, services,
                root_timestamp, root_id, root_name, root_service) =
               ROW (excluded.event_count, excluded.error_count, excluded.access_count,
                    excluded.first_timestamp, excluded.last_timestamp, excluded.started_at, excluded.ended_at, excluded.services,
                    excluded.root_timestamp, excluded.root_id, excluded.root_name, excluded.root_service)
        RETURNING b.trace_id, b.xmax = 0 AS is_new, b.services
    ), gone AS (
        DELETE FROM trace_ext.summary_base b USING recomputed r
         WHERE b.trace_id = r.stale_id AND r.trace_id IS NULL
        RETURNING b.trace_id
    ), serving AS (
        -- The services that a trace has now, without those that the snapshot has, which is before.
        INSERT INTO trace_ext.service_traces AS t
        SELECT s.service_name, sum(n.one)
          FROM (SELECT services, 1 AS one FROM added UNION ALL SELECT services, 1 FROM replaced
                UNION ALL
                SELECT b.services, -1
                  FROM (SELECT trace_id FROM added WHERE NOT is_new UNION ALL SELECT trace_id FROM replaced WHERE NOT is_new
                        UNION ALL SELECT trace_id FROM gone) AS known
                  JOIN trace_ext.summary_base b ON b.trace_id = known.trace_id) AS n,
               LATERAL unnest(n.services) AS s (service_name)
         GROUP BY s.service_name HAVING sum(n.one) <> 0
        ON CONFLICT (service_name) DO UPDATE SET trace_count = t.trace_count + excluded.trace_count
    ), queued AS (
        -- Whoever detects races looks at these again.
        INSERT INTO trace_ext.detect_queue (trace_id, first_timestamp)
        SELECT trace_id, first_timestamp FROM merged UNION ALL SELECT stale_id, first_timestamp FROM recomputed
    ), suspected AS (
        -- And so does whoever looks for what is unusual.
        INSERT INTO trace_ext.anomaly_queue (trace_id)
        SELECT trace_id FROM merged UNION ALL SELECT stale_id FROM recomputed
    ), calling AS (
        -- Nobody calls himself, and a trace that only gained events had no calls to lose. But consumers call
        -- across traces: those of a trace that changed, and those that are linked to it.
        INSERT INTO trace_ext.calls_queue
        SELECT trace_id FROM added WHERE cardinality(added.services) > 1 OR EXISTS (SELECT FROM trace_ext.trace_links l WHERE l.trace_id = added.trace_id)
        UNION ALL SELECT stale_id FROM recomputed
        UNION ALL SELECT l.trace_id FROM merged m JOIN trace_ext.trace_links l ON l.linked_trace_id = m.trace_id
        UNION ALL SELECT l.trace_id FROM recomputed r JOIN trace_ext.trace_links l ON l.linked_trace_id = r.stale_id
        ON CONFLICT DO NOTHING
    ), taken_counts AS (
        DELETE FROM trace_ext.count_deltas
         WHERE ctid = ANY (ARRAY(SELECT ctid FROM trace_ext.count_deltas LIMIT most))
        RETURNING *
    ), unknown_operations AS (
        -- In the order of names, after those that the service has already.
        SELECT u.service_key, u.operation,
               (SELECT count(*) FROM trace_ext.operation_names n WHERE n.service_key = u.service_key)
               + row_number() OVER (PARTITION BY u.service_key ORDER BY u.operation) AS place
          FROM (SELECT DISTINCT coalesce('=' || service_name, '') AS service_key, operation
                  FROM taken_counts WHERE operation <> '(other)') AS u
         WHERE NOT EXISTS (SELECT FROM trace_ext.operation_names n
                            WHERE n.service_key = u.service_key AND n.operation IN (u.operation, '(other)'))
    ), named AS (
        INSERT INTO trace_ext.operation_names
        SELECT service_key, CASE WHEN place <= most_operations THEN operation ELSE '(other)' END
          FROM unknown_operations WHERE place <= most_operations + 1
    ), operation_sums AS MATERIALIZED (
        SELECT t.hour, t.service_name, t.kind,
               CASE WHEN u.place > most_operations THEN '(other)' WHEN u.place IS NOT NULL THEN t.operation
                    ELSE trace_ext_internal.counted_as(t.service_name, t.operation) END AS operation,
               sum(t.event_count) AS event_count, sum(t.error_count) AS error_count, sum(t.write_count) AS write_count,
               coalesce(trace_ext.merge(t.latency), '{}') AS latency
          FROM (SELECT hour, service_name, kind, operation, sum(event_count) AS event_count, sum(error_count) AS error_count,
                       sum(write_count) AS write_count, trace_ext.merge(latency) AS latency
                  FROM taken_counts GROUP BY hour, service_name, kind, operation) AS t
          LEFT JOIN unknown_operations u ON u.service_key = coalesce('=' || t.service_name, '') AND u.operation = t.operation
         GROUP BY t.hour, t.service_name, t.kind, 4
    ), late AS (
        -- Of hours that baselines hold already.
        INSERT INTO trace_ext.baseline_deltas
        SELECT d.service_name, d.kind, d.operation, d.latency
          FROM operation_sums d, trace_ext.baseline_state s
         WHERE d.hour >= s.from_hour AND d.hour < s.until_hour AND d.latency OPERATOR(trace_ext.<>) '{}'
    ), counted_operations AS (
        INSERT INTO trace_ext.operation_base AS b
        SELECT * FROM operation_sums
        ON CONFLICT (hour, service_name, kind, operation) DO UPDATE SET
               event_count = b.event_count + excluded.event_count,
               error_count = b.error_count + excluded.error_count,
               write_count = b.write_count + excluded.write_count,
               latency = b.latency OPERATOR(trace_ext.+) excluded.latency
    ), counted_in_all AS (
        INSERT INTO trace_ext.operation_totals AS b
        SELECT service_name, kind, operation, sum(event_count), sum(error_count), sum(write_count), trace_ext.merge(latency)
          FROM operation_sums GROUP BY service_name, kind, operation
        ON CONFLICT (service_name, kind, operation) DO UPDATE SET
               event_count = b.event_count + excluded.event_count,
               error_count = b.error_count + excluded.error_count,
               write_count = b.write_count + excluded.write_count,
               latency = b.latency OPERATOR(trace_ext.+) excluded.latency
    ), seen AS (
        -- A clock that is ahead must not keep a service from ever being silent.
        INSERT INTO trace_ext.service_seen AS b
        SELECT s.service_name, max(least(t.last_timestamp, clock_timestamp()))
          FROM (SELECT services, last_timestamp FROM taken UNION ALL SELECT services, last_timestamp FROM recomputed) AS t,
               LATERAL unnest(t.services) AS s (service_name)
         WHERE t.last_timestamp IS NOT NULL
         GROUP BY s.service_name
        ON CONFLICT (service_name) DO UPDATE SET last_seen = greatest(b.last_seen, excluded.last_seen)
    ), kind_sums AS MATERIALIZED (
        SELECT hour, service_name, kind, sum(event_count) AS event_count, sum(error_count) AS error_count, coalesce(trace_ext.merge(latency), '{}') AS latency
          FROM taken_counts GROUP BY hour, service_name, kind
    ), kinds_in_all AS (
        INSERT INTO trace_ext.kind_totals AS b
        SELECT service_name, kind, sum(event_count), sum(error_count), trace_ext.merge(latency) FROM kind_sums GROUP BY service_name, kind
        ON CONFLICT (service_name, kind) DO UPDATE SET
               event_count = b.event_count + excluded.event_count,
               error_count = b.error_count + excluded.error_count,
               latency = b.latency OPERATOR(trace_ext.+) excluded.latency
    ), left_counts AS (
        INSERT INTO trace_ext.gone_totals AS b
        SELECT service_name, kind, -sum(event_count), -sum(error_count), '{}'::trace_ext.histogram OPERATOR(trace_ext.-) coalesce(trace_ext.merge(latency), '{}')
          FROM taken_counts WHERE event_count < 0 GROUP BY service_name, kind
        ON CONFLICT (service_name, kind) DO UPDATE SET
               event_count = b.event_count + excluded.event_count,
               error_count = b.error_count + excluded.error_count,
               latency = b.latency OPERATOR(trace_ext.+) excluded.latency
    ), counted AS (
        INSERT INTO trace_ext.count_base AS b
        SELECT * FROM kind_sums
        ON CONFLICT (hour, service_name, kind) DO UPDATE SET
               event_count = b.event_count + excluded.event_count,
               error_count = b.error_count + excluded.error_count,
               latency = b.latency OPERATOR(trace_ext.+) excluded.latency
        RETURNING 1
    ), taken_stamps AS (
        DELETE FROM trace_ext.version_deltas
         WHERE ctid = ANY (ARRAY(SELECT ctid FROM trace_ext.version_deltas LIMIT most))
        RETURNING stamp
    ), summed AS (
        UPDATE trace_ext.totals SET
               version = version # coalesce((SELECT bit_xor(stamp) FROM taken_stamps), 0),
               event_count = event_count + (SELECT coalesce(sum(event_count), 0) FROM taken_counts),
               trace_count = trace_count + (SELECT count(*) FROM added WHERE is_new)
                                         + (SELECT count(*) FROM replaced WHERE is_new)
                                         - (SELECT count(*) FROM gone)
        RETURNING 1
    ), touched AS MATERIALIZED (
        SELECT trace_id, is_new FROM added UNION ALL SELECT trace_id, is_new FROM replaced
    )
    -- In the same statement: what is announced is what was folded.
    SELECT (SELECT count(*) FROM taken) + (SELECT count(*) FROM replaced_deltas),
           (SELECT count(*) FROM touched WHERE is_new), ARRAY(SELECT trace_id FROM touched WHERE is_new LIMIT 100),
           (SELECT count(*) FROM touched), ARRAY(SELECT trace_id FROM touched LIMIT 100)
      INTO folded, came, came_ids, changed, changed_ids;
    PERFORM trace_ext_internal.announce('trace_ext_traces', came, came_ids);
    PERFORM trace_ext_internal.announce('trace_ext_summaries', changed, changed_ids);
    RETURN folded;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.fold_deltas(bigint) IS
    'folds up to so many deltas of summaries, and of counts (NULL: all), in one statement; the caller holds the fold lock; returns the number of summary deltas folded';

CREATE FUNCTION trace_ext_internal.fold_all() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    -- 100 pages hold no more than 20,000 deltas.
    parts constant bigint := greatest(pg_relation_size('trace_ext.summary_deltas'), pg_relation_size('trace_ext.count_deltas'))
                             / current_setting('block_size')::bigint / 100;
    folded bigint := 0;
BEGIN
    FOR part IN 1 .. parts LOOP
        folded := folded + trace_ext_internal.fold_deltas(20000);
    END LOOP;
    -- All that is left, so that nothing is that was there before.
    RETURN folded + trace_ext_internal.fold_deltas(NULL);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.fold_all() IS 'folds all that is outstanding, part by part; the caller holds the fold lock';

CREATE FUNCTION fold() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    folded bigint;
BEGIN
    PERFORM trace_ext_internal.fold_lock(true);
    folded := trace_ext_internal.fold_all();
    -- For a while: until then everybody waits who wants to fold, or to change a partition.
    PERFORM trace_ext_internal.take_calls('1 s');
    RETURN folded;
END
$$;
COMMENT ON FUNCTION fold() IS
    'adds outstanding deltas to their base rows, and calls to their rollups for a second; waits for another fold; returns the number of summary deltas folded. '
    'Changes no answer, only its cost. In a REPEATABLE READ or SERIALIZABLE transaction it fails with a serialization error where another fold committed after the snapshot';

CREATE FUNCTION trace_ext_internal.fold_if_free() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF trace_ext_internal.fold_lock(false) THEN
        RETURN trace_ext_internal.fold_all();
    END IF;
    RETURN 0;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.fold_if_free() IS
    'folds as fold() does, but leaves calls queued, and does nothing and returns 0 where another transaction folds: waits for nobody';

CREATE FUNCTION trace_ext_internal.fold_step() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    step constant int := 20000;
BEGIN
    RETURN trace_ext_internal.fold_deltas(step) >= step OR (SELECT count(*) FROM (SELECT FROM trace_ext.count_deltas LIMIT step) AS rest) = step;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.fold_step() IS
    'folds what can be folded in about half a second; the caller holds the fold lock; returns whether there is as much again';

CREATE FUNCTION verify_summaries()
    RETURNS TABLE (item text, key text, stored jsonb, recomputed jsonb)
    LANGUAGE sql STABLE SET jit = off
    BEGIN ATOMIC
    WITH counts AS MATERIALIZED (SELECT * FROM trace_ext.counts_recomputed)
    SELECT 'trace_summaries', coalesce(s.trace_id, r.trace_id)::text, to_jsonb(s), to_jsonb(r)
      FROM trace_ext.trace_summaries s
      FULL JOIN (SELECT trace_id, event_count, first_timestamp, last_timestamp,
                        trace_ext_internal.duration_ms(started_at, ended_at) AS duration_ms,
                        services, cardinality(services) AS service_count,
                        error_count, access_count, root_name, root_service, started_at, ended_at
                   FROM trace_ext.summary_recomputed) r ON s.trace_id = r.trace_id
     WHERE ROW(s.*) IS DISTINCT FROM ROW(r.*)
    UNION ALL
    SELECT 'event_counts', concat_ws(' ', coalesce(s.hour, r.hour), coalesce(s.service_name, r.service_name, '(none)'), coalesce(s.kind, r.kind)),
           to_jsonb(s), to_jsonb(r)
      FROM (SELECT hour, service_name, kind, calls AS event_count, errors AS error_count, latency FROM trace_ext.kind_latencies) s
      FULL JOIN (SELECT hour, service_name, kind, sum(event_count)::bigint AS event_count, sum(error_count)::bigint AS error_count,
                        coalesce(trace_ext.merge(latency), '{}') AS latency
                   FROM counts GROUP BY hour, service_name, kind) r
           ON s.hour = r.hour AND s.kind = r.kind AND coalesce('=' || s.service_name, '') = coalesce('=' || r.service_name, '')
     WHERE s.hour IS NULL OR r.hour IS NULL OR s.latency OPERATOR(trace_ext.<>) r.latency
        OR (s.event_count, s.error_count) IS DISTINCT FROM (r.event_count, r.error_count)
    UNION ALL
    SELECT 'latencies', concat_ws(' ', coalesce(s.hour, r.hour), coalesce(s.service_name, r.service_name, '(none)'), coalesce(s.kind, r.kind), coalesce(s.operation, r.operation, '(none)')),
           to_jsonb(s), to_jsonb(r)
      FROM trace_ext.latencies s
      FULL JOIN (SELECT hour, service_name, kind, trace_ext_internal.counted_as(service_name, operation) AS operation,
                        sum(event_count)::bigint AS calls, sum(error_count)::bigint AS errors,
                        coalesce(trace_ext.merge(latency), '{}') AS latency, sum(write_count)::bigint AS writes
                   FROM counts GROUP BY 1, 2, 3, 4) r
           ON s.hour = r.hour AND s.kind = r.kind AND coalesce('=' || s.service_name, '') = coalesce('=' || r.service_name, '')
              AND coalesce('=' || s.operation, '') = coalesce('=' || r.operation, '')
     WHERE s.hour IS NULL OR r.hour IS NULL OR s.latency OPERATOR(trace_ext.<>) r.latency
        OR (s.calls, s.errors, s.writes) IS DISTINCT FROM (r.calls, r.errors, r.writes)
    UNION ALL
    SELECT 'total_latencies', concat_ws(' ', coalesce(s.service_name, r.service_name, '(none)'), coalesce(s.kind, r.kind), coalesce(s.operation, r.operation, '(none)')),
           to_jsonb(s), to_jsonb(r)
      FROM trace_ext.total_latencies s
      FULL JOIN (SELECT service_name, kind, trace_ext_internal.counted_as(service_name, operation) AS operation,
                        sum(event_count)::bigint AS calls, sum(error_count)::bigint AS errors,
                        coalesce(trace_ext.merge(latency), '{}') AS latency, sum(write_count)::bigint AS writes
                   FROM counts GROUP BY 1, 2, 3) r
           ON s.kind = r.kind AND coalesce('=' || s.service_name, '') = coalesce('=' || r.service_name, '')
              AND coalesce('=' || s.operation, '') = coalesce('=' || r.operation, '')
     WHERE s.kind IS NULL OR r.kind IS NULL OR s.latency OPERATOR(trace_ext.<>) r.latency
        OR (s.calls, s.errors, s.writes) IS DISTINCT FROM (r.calls, r.errors, r.writes)
    UNION ALL
    SELECT 'kind_totals', concat_ws(' ', coalesce(s.service_name, r.service_name, '(none)'), coalesce(s.kind, r.kind)), to_jsonb(s), to_jsonb(r)
      FROM (SELECT service_name, kind, sum(event_count)::bigint AS calls, sum(error_count)::bigint AS errors, coalesce(trace_ext.merge(latency), '{}') AS latency
              FROM (SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.kind_totals
                    UNION ALL SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.count_deltas) AS parts
             GROUP BY service_name, kind HAVING sum(event_count) <> 0) s
      FULL JOIN (SELECT service_name, kind, sum(event_count)::bigint AS calls, sum(error_count)::bigint AS errors, coalesce(trace_ext.merge(latency), '{}') AS latency
                   FROM counts GROUP BY 1, 2) r
           ON s.kind = r.kind AND coalesce('=' || s.service_name, '') = coalesce('=' || r.service_name, '')
     WHERE s.kind IS NULL OR r.kind IS NULL OR s.latency OPERATOR(trace_ext.<>) r.latency OR (s.calls, s.errors) IS DISTINCT FROM (r.calls, r.errors)
    UNION ALL
    SELECT 'count_events()', '', to_jsonb(trace_ext.count_events()), to_jsonb(count(*))
      FROM trace_ext.events HAVING count(*) <> trace_ext.count_events()
    UNION ALL
    SELECT 'count_traces()', '', to_jsonb(trace_ext.count_traces()), to_jsonb(count(DISTINCT trace_id))
      FROM trace_ext.events HAVING count(DISTINCT trace_id) <> trace_ext.count_traces()
    UNION ALL
    SELECT 'services', coalesce(s.service_name, r.service_name), to_jsonb(s), to_jsonb(r)
      FROM (SELECT service_name, trace_count FROM trace_ext_internal.traces_of_services() WHERE trace_count <> 0) s
      FULL JOIN (SELECT service_name, count(DISTINCT trace_id) AS trace_count
                   FROM trace_ext.events WHERE service_name IS NOT NULL GROUP BY service_name) r ON s.service_name = r.service_name
     WHERE s.trace_count IS DISTINCT FROM r.trace_count
    UNION ALL
    SELECT * FROM trace_ext_internal.verify_calls();
    END;
COMMENT ON FUNCTION verify_summaries() IS
    'computes all summaries and counts from the events and returns those that differ from what is stored: no row means exact. Reads every event';

CREATE FUNCTION rebuild_summaries() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
BEGIN
    PERFORM trace_ext_internal.require_read_committed('rebuild_summaries()');
    LOCK TABLE trace_ext.events IN SHARE MODE;
    PERFORM trace_ext_internal.fold_lock(true);

    DELETE FROM trace_ext.summary_deltas;
    DELETE FROM trace_ext.count_deltas;
    DELETE FROM trace_ext.summary_base;
    DELETE FROM trace_ext.count_base;
    DELETE FROM trace_ext.operation_base;
    DELETE FROM trace_ext.operation_totals;
    DELETE FROM trace_ext.kind_totals;
    DELETE FROM trace_ext.service_seen;
    DELETE FROM trace_ext.service_traces;
    DELETE FROM trace_ext.operation_names;
    UPDATE trace_ext.totals SET event_count = 0, trace_count = 0;
    INSERT INTO trace_ext.summary_base SELECT * FROM trace_ext.summary_recomputed;
    INSERT INTO trace_ext.service_seen
    SELECT s.service_name, max(least(b.last_timestamp, clock_timestamp()))
      FROM trace_ext.summary_base b, LATERAL unnest(b.services) AS s (service_name) GROUP BY s.service_name;
    UPDATE trace_ext.totals SET trace_count = (SELECT count(*) FROM trace_ext.summary_base);
    INSERT INTO trace_ext.service_traces
    SELECT s.service_name, count(*) FROM trace_ext.summary_base b, LATERAL unnest(b.services) AS s (service_name) GROUP BY s.service_name;
    -- As deltas: what is made of them is written down once, in the fold.
    INSERT INTO trace_ext.count_deltas
    SELECT hour, service_name, kind, operation, event_count, error_count, write_count, latency FROM trace_ext.counts_recomputed;
    PERFORM trace_ext_internal.fold_deltas(NULL);
    PERFORM trace_ext_internal.rebuild_calls();
    -- Who calls this has a reason to think that something was wrong.
    PERFORM trace_ext_internal.append_stamp();
END
$$;
COMMENT ON FUNCTION rebuild_summaries() IS
    'computes all summaries and counts anew from the events; writers wait. For repair, and after data was restored with triggers disabled';

CREATE FUNCTION list_traces(
    page_size bigint = 20, page bigint = 1, min_events bigint = 1, service text = NULL,
    search text = NULL, before timestamptz = NULL, before_id uuid = NULL,
    since timestamptz = NULL, until timestamptz = NULL, min_duration_ms double precision = NULL,
    errors_only boolean = NULL, name text = NULL, variable text = NULL)
    RETURNS SETOF trace_summaries
    LANGUAGE c STABLE ROWS 20
    AS 'MODULE_PATHNAME', 'tex_list_traces';
COMMENT ON FUNCTION list_traces(bigint, bigint, bigint, text, text, timestamptz, uuid, timestamptz, timestamptz, double precision, boolean, text, text) IS
    'traces, newest first: by last_timestamp, then trace_id, descending. page_size 1 to 10000; page from 1, '
    'or the traces after one already seen: before and before_id take its last_timestamp and trace_id. Only traces with '
    'min_events events or more, in which service took part, whose id starts with search (hex digits, hyphens as you like), '
    'that ran at some time from since to until (both included: started_at <= until, ended_at >= since), lasted min_duration_ms or longer, '
    'have an error (errors_only), whose root_name is like name (a pattern as LIKE takes it: POST /api/orders, POST /api%, %checkout%), '
    'that accessed variable. NULL asks for nothing. A page costs the same at every size, as does a filter, however few traces pass; but where few '
    'pass service, min_events or a name that begins with % or _, the others are walked';

CREATE FUNCTION list_traces_total(
    min_events bigint = 1, service text = NULL, search text = NULL,
    since timestamptz = NULL, until timestamptz = NULL, min_duration_ms double precision = NULL,
    errors_only boolean = NULL, name text = NULL, variable text = NULL)
    RETURNS bigint
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'tex_list_traces_total';
COMMENT ON FUNCTION list_traces_total(bigint, text, text, timestamptz, timestamptz, double precision, boolean, text, text) IS
    'exact number of traces that list_traces() has on all pages for the same filters. Without a filter it is count_traces(); '
    'else it counts what passes, so it costs the more the more that is, and of a variable all its accesses';

CREATE FUNCTION trace_events(
    trace_id uuid, page_size bigint = 100, page bigint = 1, after_timestamp timestamptz = NULL,
    after_id uuid = NULL, kinds event_kind[] = NULL, service text = NULL)
    RETURNS SETOF events
    LANGUAGE c STABLE ROWS 100
    AS 'MODULE_PATHNAME', 'tex_trace_events';
COMMENT ON FUNCTION trace_events(uuid, bigint, bigint, timestamptz, uuid, event_kind[], text) IS
    'the events of a trace, by (timestamp, id). page_size 1 to 10000; page from 1, or the events after one already seen: '
    'after_timestamp and after_id take its timestamp and id. Only events of some kinds, of a service. '
    'Costs the same with any number of partitions; no row for an unknown trace';
