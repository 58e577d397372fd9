-- Which service called which: rollups over all traces, exact inside every snapshot.
-- Before the summaries, whose checks and repair have these in them.
--
-- The calls of a trace cannot be told from what one statement changed, as a parent that
-- arrives last makes calls of events that were there. So fold_deltas() queues the traces
-- that changed, take_calls() computes their calls anew and adds the difference to what
-- they had added before, and readers do the same for traces that are still outstanding.

CREATE TABLE calls_queue (
    trace_id  uuid PRIMARY KEY
);
COMMENT ON TABLE calls_queue IS 'traces that were folded since their calls were computed; only who holds the fold lock writes it';
COMMENT ON COLUMN calls_queue.trace_id IS 'the trace';

CREATE TABLE trace_call_rows (
    trace_id  uuid  PRIMARY KEY,
    calls     bytea NOT NULL
);
COMMENT ON TABLE trace_call_rows IS 'what each trace with calls between services has added to the rollups, so that it can be taken back';
COMMENT ON COLUMN trace_call_rows.trace_id IS 'the trace';
COMMENT ON COLUMN trace_call_rows.calls IS 'its calls, packed: trace_ext_internal.sum_calls(ARRAY[calls], ''{}'') shows them';

CREATE TABLE call_base (
    hour          timestamptz NOT NULL,
    from_service  text        NOT NULL,
    to_service    text        NOT NULL,
    link_type     link_type   NOT NULL,
    calls         bigint      NOT NULL,
    errors        bigint      NOT NULL,
    latency       histogram   NOT NULL,
    PRIMARY KEY (hour, from_service, to_service, link_type)
);
COMMENT ON TABLE call_base IS 'calls by hour as far as they are added up; call service_map() instead';
COMMENT ON COLUMN call_base.hour IS 'begin of the hour (hours of UTC) that the called span began in';
COMMENT ON COLUMN call_base.from_service IS 'the service that called';
COMMENT ON COLUMN call_base.to_service IS 'the service that was called';
COMMENT ON COLUMN call_base.link_type IS 'what carried the calls';
COMMENT ON COLUMN call_base.calls IS 'number of calls';
COMMENT ON COLUMN call_base.errors IS 'number of those that failed';
COMMENT ON COLUMN call_base.latency IS 'how long they took';

-- Apart from the hours: a trace that calls in two of them is one trace.
CREATE TABLE call_totals (
    from_service  text        NOT NULL,
    to_service    text        NOT NULL,
    link_type     link_type   NOT NULL,
    calls         bigint      NOT NULL,
    errors        bigint      NOT NULL,
    traces        bigint      NOT NULL,
    PRIMARY KEY (from_service, to_service, link_type)
);
COMMENT ON TABLE call_totals IS 'calls of all times as far as they are added up; read service_calls instead';
COMMENT ON COLUMN call_totals.from_service IS 'the service that called';
COMMENT ON COLUMN call_totals.to_service IS 'the service that was called';
COMMENT ON COLUMN call_totals.link_type IS 'what carried the calls';
COMMENT ON COLUMN call_totals.calls IS 'number of calls';
COMMENT ON COLUMN call_totals.errors IS 'number of those that failed';
COMMENT ON COLUMN call_totals.traces IS 'number of traces with such calls';

-- The queue is emptied all the time, and the rollups have few rows that are rewritten.
ALTER TABLE calls_queue SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE call_base SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE call_totals SET (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);

CREATE FUNCTION trace_ext_internal.trace_calls(trace_id uuid) RETURNS bytea
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 10000
    AS 'MODULE_PATHNAME', 'tex_trace_calls';
COMMENT ON FUNCTION trace_ext_internal.trace_calls(uuid) IS
    'the calls between services in one trace, computed from its events and packed; NULL where there are none';

CREATE FUNCTION trace_ext_internal.sum_calls(added bytea[], taken bytea[])
    RETURNS TABLE (hour timestamptz, from_service text, to_service text, link_type link_type, calls bigint, errors bigint, traces bigint,
                   latency histogram)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 10
    AS 'MODULE_PATHNAME', 'tex_sum_calls';
COMMENT ON FUNCTION trace_ext_internal.sum_calls(bytea[], bytea[]) IS
    'what packed calls of traces come to, without those that are taken; a trace counts in the first of its hours';

CREATE FUNCTION trace_ext_internal.outstanding_calls()
    RETURNS TABLE (hour timestamptz, from_service text, to_service text, link_type link_type, calls bigint, errors bigint, traces bigint,
                   latency histogram)
    LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 COST 10000
    AS 'MODULE_PATHNAME', 'tex_outstanding_calls';
COMMENT ON FUNCTION trace_ext_internal.outstanding_calls() IS
    'by how much the rollups of calls differ from what the snapshot sees: computes the calls of the traces that are outstanding';

CREATE VIEW service_calls AS
SELECT from_service, to_service, link_type, sum(calls)::bigint AS call_count, sum(traces)::bigint AS trace_count,
       sum(errors)::bigint AS error_count
  FROM (SELECT from_service, to_service, link_type, calls, traces, errors FROM trace_ext.call_totals
        UNION ALL
        SELECT from_service, to_service, link_type, calls, traces, errors FROM trace_ext_internal.outstanding_calls()) AS parts
 GROUP BY from_service, to_service, link_type
HAVING sum(calls) <> 0;
COMMENT ON VIEW service_calls IS
    'which service called which, how often, in how many traces and with how many failures, exact inside every snapshot; from the rollups. '
    'A call is a span of one service that a span of another one called, or a span CONSUMER that is linked to a span PRODUCER of another one, in whatever trace; or, where no spans say so, an event whose parent is of another service';
COMMENT ON COLUMN service_calls.from_service IS 'the service that called';
COMMENT ON COLUMN service_calls.to_service IS 'the service that was called';
COMMENT ON COLUMN service_calls.link_type IS 'what carried the calls: by the request that started the called span';
COMMENT ON COLUMN service_calls.call_count IS 'number of calls';
COMMENT ON COLUMN service_calls.trace_count IS 'number of traces with such calls';
COMMENT ON COLUMN service_calls.error_count IS 'number of calls in which an event of the called span is an error';

CREATE FUNCTION service_map(since timestamptz = now() - interval '1 hour', until timestamptz = now())
    RETURNS TABLE (from_service text, to_service text, link_type link_type, calls bigint, errors bigint, p50_ms double precision,
                   p95_ms double precision)
    LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 100
    BEGIN ATOMIC
    SELECT m.from_service, m.to_service, m.link_type, m.calls, m.errors, m.quantiles[1] / 1e6, m.quantiles[2] / 1e6
      FROM (SELECT p.from_service, p.to_service, p.link_type, sum(p.calls)::bigint AS calls, sum(p.errors)::bigint AS errors,
                   trace_ext.quantiles(trace_ext.merge(p.latency), ARRAY[0.5, 0.95]) AS quantiles
              FROM (SELECT b.hour, b.from_service, b.to_service, b.link_type, b.calls, b.errors, b.latency FROM trace_ext.call_base b
                    UNION ALL
                    SELECT o.hour, o.from_service, o.to_service, o.link_type, o.calls, o.errors, o.latency
                      FROM trace_ext_internal.outstanding_calls() o) AS p
             WHERE p.hour >= coalesce(date_bin('1 hour', service_map.since, '2000-01-01 00:00:00+00'), '-infinity')
               AND p.hour <= coalesce(service_map.until, 'infinity')
             GROUP BY p.from_service, p.to_service, p.link_type) AS m
     WHERE m.calls <> 0
     ORDER BY m.calls DESC, m.from_service, m.to_service, m.link_type;
    END;
COMMENT ON FUNCTION service_map(timestamptz, timestamptz) IS
    'which service called which, how often, how often in vain and how long it took, exact inside every snapshot, the most calls first: calls that began '
    'in the hours (of UTC) from the one that since is in to the one that until is in; NULL: no bound. A call takes from the first start '
    'to the last end of the called span, or of the called event; quantiles are within 2.2 %. Reads rollups, so it costs what these hours have, not their events';

--
-- Links
--

-- Whoever changes links has their traces looked at again: calls, and who races. What ingest_otlp() inserts comes
-- with events, and a consumer is found from the producer's trace by the index.
CREATE FUNCTION trace_ext_internal.note_links() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        INSERT INTO trace_ext.summary_deltas (trace_id, event_count, error_count, access_count, recompute)
        SELECT DISTINCT o.trace_id, 0, 0, 0, true FROM old_links o;
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        INSERT INTO trace_ext.summary_deltas (trace_id, event_count, error_count, access_count, recompute)
        SELECT DISTINCT n.trace_id, 0, 0, 0, true FROM new_links n;
    ELSIF TG_OP = 'TRUNCATE' THEN
        INSERT INTO trace_ext.summary_deltas (trace_id, event_count, error_count, access_count, recompute)
        SELECT DISTINCT l.trace_id, 0, 0, 0, true FROM trace_ext.trace_links l;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.note_links() IS 'statement trigger on trace_links: has the traces of links that change looked at again';
CREATE TRIGGER trace_ext_note_insert AFTER INSERT ON trace_links
    REFERENCING NEW TABLE AS new_links FOR EACH STATEMENT WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.note_links();
CREATE TRIGGER trace_ext_note_update AFTER UPDATE ON trace_links
    REFERENCING OLD TABLE AS old_links NEW TABLE AS new_links FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.note_links();
CREATE TRIGGER trace_ext_note_delete AFTER DELETE ON trace_links
    REFERENCING OLD TABLE AS old_links FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.note_links();
CREATE TRIGGER trace_ext_note_truncate BEFORE TRUNCATE ON trace_links
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.note_links();
COMMENT ON TRIGGER trace_ext_note_insert ON trace_links IS 'has the traces of links that a dump brings looked at again';
COMMENT ON TRIGGER trace_ext_note_update ON trace_links IS 'has the traces of links that change looked at again';
COMMENT ON TRIGGER trace_ext_note_delete ON trace_links IS 'has the traces of links that leave looked at again';
COMMENT ON TRIGGER trace_ext_note_truncate ON trace_links IS 'has the traces of all links looked at again';

--
-- Adding up
--

-- In the order they were folded in, so that neighbours in time are read together; what
-- this transaction has taken already is passed over faster than in the index, too.
CREATE FUNCTION trace_ext_internal.next_calls(most int) RETURNS tid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_indexscan = off SET enable_indexonlyscan = off SET enable_bitmapscan = off SET jit = off
    AS $$
BEGIN
    RETURN ARRAY(SELECT ctid FROM trace_ext.calls_queue LIMIT most);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.next_calls(int) IS 'where in calls_queue the traces are that are taken next: up to so many';

-- One statement, so that one snapshot sees the events and what was added before, and
-- nobody sees a trace that is neither queued nor added up. Its caller holds the fold
-- lock, so that the queue is as it was a moment ago. Nested loops and indexes, because
-- the rows of all traces are many and are to be probed.
CREATE FUNCTION trace_ext_internal.take_some_calls(most int) RETURNS int
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
    AS $$
DECLARE
    places constant tid[] := trace_ext_internal.next_calls(most);
    empty_from timestamptz;
    empty_to timestamptz;
    any_empty boolean;
BEGIN
    IF cardinality(places) = 0 THEN
        RETURN 0;
    END IF;
    WITH taken AS MATERIALIZED (
        DELETE FROM trace_ext.calls_queue WHERE ctid = ANY (places) RETURNING trace_id
    ), looked_at AS MATERIALIZED (
        SELECT t.trace_id, r.calls AS known, trace_ext_internal.trace_calls(t.trace_id) AS calls
          FROM taken t LEFT JOIN trace_ext.trace_call_rows r ON r.trace_id = t.trace_id
    ), changed AS MATERIALIZED (
        SELECT trace_id, known, calls FROM looked_at WHERE calls IS DISTINCT FROM known
    ), kept AS (
        INSERT INTO trace_ext.trace_call_rows AS r
        SELECT trace_id, calls FROM changed WHERE calls IS NOT NULL
        ON CONFLICT (trace_id) DO UPDATE SET calls = excluded.calls
    ), gone AS (
        DELETE FROM trace_ext.trace_call_rows r USING changed c WHERE r.trace_id = c.trace_id AND c.calls IS NULL
    ), sums AS MATERIALIZED (
        SELECT * FROM trace_ext_internal.sum_calls(ARRAY(SELECT calls FROM changed), ARRAY(SELECT known FROM changed))
    ), hours AS (
        INSERT INTO trace_ext.call_base AS b
        SELECT hour, from_service, to_service, link_type, calls, errors, latency FROM sums
        ON CONFLICT (hour, from_service, to_service, link_type) DO UPDATE SET
               calls = b.calls + excluded.calls,
               errors = b.errors + excluded.errors,
               latency = b.latency OPERATOR(trace_ext.+) excluded.latency
        RETURNING hour, calls
    ), totals AS (
        INSERT INTO trace_ext.call_totals AS t
        SELECT from_service, to_service, link_type, sum(calls), sum(errors), sum(traces) FROM sums
         GROUP BY from_service, to_service, link_type
        ON CONFLICT (from_service, to_service, link_type) DO UPDATE SET
               calls = t.calls + excluded.calls,
               errors = t.errors + excluded.errors,
               traces = t.traces + excluded.traces
        RETURNING calls
    )
    SELECT (SELECT min(hour) FROM hours WHERE calls = 0), (SELECT max(hour) FROM hours WHERE calls = 0),
           EXISTS (SELECT FROM totals WHERE calls = 0)
      INTO empty_from, empty_to, any_empty;
    IF empty_from IS NOT NULL THEN
        DELETE FROM trace_ext.call_base WHERE calls = 0 AND hour BETWEEN empty_from AND empty_to;
    END IF;
    IF any_empty THEN
        DELETE FROM trace_ext.call_totals WHERE calls = 0;
    END IF;
    RETURN cardinality(places);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.take_some_calls(int) IS
    'computes the calls of up to so many queued traces (NULL: all) and adds to the rollups what changed; the caller holds the fold lock; returns how many it took';

CREATE FUNCTION trace_ext_internal.take_calls(budget interval) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    -- Each batch rewrites rows of the rollups, so a long transaction makes few of them.
    at_once constant int := CASE WHEN budget IS NULL THEN 2000 ELSE 200 END;
    ends constant timestamptz := clock_timestamp() + budget;
BEGIN
    WHILE trace_ext_internal.take_some_calls(at_once) = at_once LOOP
        IF clock_timestamp() >= ends THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.take_calls(interval) IS
    'adds up calls of queued traces for about so long (NULL: of all); the caller holds the fold lock; returns whether there may be more';

CREATE FUNCTION trace_ext_internal.take_calls_if_free() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN EXISTS (SELECT FROM trace_ext.calls_queue)
           AND trace_ext_internal.fold_lock(false) AND trace_ext_internal.take_calls('0.5 s');
END
$$;
COMMENT ON FUNCTION trace_ext_internal.take_calls_if_free() IS
    'one step of adding up calls, of half a second, if nobody folds; returns whether there may be more';

--
-- Checks and repair
--

CREATE FUNCTION trace_ext_internal.verify_calls()
    RETURNS TABLE (item text, key text, stored jsonb, recomputed jsonb)
    LANGUAGE sql STABLE SET jit = off
    BEGIN ATOMIC
    -- What takes long, once.
    WITH traces AS MATERIALIZED (
        SELECT t.trace_id, trace_ext_internal.trace_calls(t.trace_id) AS calls
          FROM (SELECT e.trace_id FROM trace_ext.events e UNION SELECT r.trace_id FROM trace_ext.trace_call_rows r) AS t
    ), sums AS MATERIALIZED (
        SELECT * FROM trace_ext_internal.sum_calls(ARRAY(SELECT traces.calls FROM traces), '{}')
    ), outstanding AS MATERIALIZED (
        SELECT * FROM trace_ext_internal.outstanding_calls()
    ), stored_totals AS (
        SELECT from_service, to_service, link_type, sum(calls)::bigint AS call_count, sum(traces)::bigint AS trace_count, sum(errors)::bigint AS error_count
          FROM (SELECT from_service, to_service, link_type, calls, traces, errors FROM trace_ext.call_totals
                UNION ALL SELECT from_service, to_service, link_type, calls, traces, errors FROM outstanding) AS parts
         GROUP BY from_service, to_service, link_type HAVING sum(calls) <> 0
    ), totals AS (
        SELECT from_service, to_service, link_type, sum(calls)::bigint AS call_count, sum(traces)::bigint AS trace_count, sum(errors)::bigint AS error_count
          FROM sums GROUP BY from_service, to_service, link_type
    ), stored_hours AS (
        SELECT hour, from_service, to_service, link_type, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors, trace_ext.merge(latency) AS latency
          FROM (SELECT hour, from_service, to_service, link_type, calls, errors, latency FROM trace_ext.call_base
                UNION ALL SELECT hour, from_service, to_service, link_type, calls, errors, latency FROM outstanding) AS parts
         GROUP BY hour, from_service, to_service, link_type HAVING sum(calls) <> 0
    ), hours AS (
        SELECT hour, from_service, to_service, link_type, calls, errors, latency FROM sums
    )
    SELECT 'service_calls', concat_ws(' ', coalesce(s.from_service, r.from_service), coalesce(s.to_service, r.to_service),
                                      coalesce(s.link_type, r.link_type)), to_jsonb(s), to_jsonb(r)
      FROM stored_totals s
      FULL JOIN totals r ON s.from_service = r.from_service AND s.to_service = r.to_service AND s.link_type = r.link_type
     WHERE ROW(s.*) IS DISTINCT FROM ROW(r.*)
    UNION ALL
    -- The operator by its schema: a dump of this could not name it in IS DISTINCT FROM.
    SELECT 'service_map()', concat_ws(' ', coalesce(s.hour, r.hour), coalesce(s.from_service, r.from_service),
                                      coalesce(s.to_service, r.to_service), coalesce(s.link_type, r.link_type)), to_jsonb(s), to_jsonb(r)
      FROM stored_hours s
      FULL JOIN hours r ON s.hour = r.hour AND s.from_service = r.from_service AND s.to_service = r.to_service AND s.link_type = r.link_type
     WHERE ROW(s.calls, s.errors) IS DISTINCT FROM ROW(r.calls, r.errors) OR (s.latency OPERATOR(trace_ext.=) r.latency) IS NOT TRUE
    UNION ALL
    -- What would be taken back wrongly later on.
    SELECT 'trace_call_rows', t.trace_id::text, to_jsonb(r.calls), to_jsonb(t.calls)
      FROM traces t LEFT JOIN trace_ext.trace_call_rows r ON r.trace_id = t.trace_id
     WHERE t.calls IS DISTINCT FROM r.calls
       AND NOT EXISTS (SELECT FROM trace_ext.calls_queue q WHERE q.trace_id = t.trace_id)
       AND NOT EXISTS (SELECT FROM trace_ext.summary_deltas d WHERE d.trace_id = t.trace_id)
       AND NOT EXISTS (SELECT FROM trace_ext.trace_links l JOIN trace_ext.summary_deltas d ON d.trace_id = l.linked_trace_id WHERE l.trace_id = t.trace_id);
    END;
COMMENT ON FUNCTION trace_ext_internal.verify_calls() IS
    'computes the calls of all traces and returns what differs from what is stored; a part of verify_summaries()';

CREATE FUNCTION trace_ext_internal.forget_calls() RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    DELETE FROM trace_ext.calls_queue;
    DELETE FROM trace_ext.trace_call_rows;
    DELETE FROM trace_ext.call_base;
    DELETE FROM trace_ext.call_totals;
    END;
COMMENT ON FUNCTION trace_ext_internal.forget_calls() IS 'empties the rollups of calls; the caller holds the fold lock';

CREATE FUNCTION trace_ext_internal.rebuild_calls() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM trace_ext_internal.forget_calls();
    INSERT INTO trace_ext.calls_queue SELECT trace_id FROM trace_ext.summary_base;
    PERFORM trace_ext_internal.take_calls(NULL);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.rebuild_calls() IS
    'computes all calls anew; the caller holds the fold lock, and summary_base is right; a part of rebuild_summaries()';
