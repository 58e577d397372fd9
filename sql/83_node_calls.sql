-- What a router of trace_ext_router asks of this store, as one of its nodes. It is an
-- ordinary client: all of it runs with the rights of the account that it connects as.

CREATE FUNCTION trace_ext_internal.asked(call text, query text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT COST 1 AS 'MODULE_PATHNAME', 'tex_asked';
COMMENT ON FUNCTION trace_ext_internal.asked(text, text) IS
    'keeps the query for answers(), and is true; said to be IMMUTABLE so that postgres_fdw sends it';

CREATE FUNCTION trace_ext_internal.asked_query() RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_asked_query';
COMMENT ON FUNCTION trace_ext_internal.asked_query() IS 'the query that asked() kept, once';

CREATE FUNCTION trace_ext_internal.answers(call text) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
BEGIN
    RETURN QUERY EXECUTE trace_ext_internal.asked_query();
END
$$;
COMMENT ON FUNCTION trace_ext_internal.answers(text) IS 'the rows of the query that asked() kept, of one column of text';

-- A column of text: else postgres_fdw would not send a text. OFFSET: the condition is computed here, before answers() is called for the row.
CREATE VIEW trace_ext_internal.node_calls AS
SELECT a.call, r.answer
  FROM (SELECT ''::text AS call OFFSET 0) AS a, LATERAL trace_ext_internal.answers(a.call) AS r (answer);
COMMENT ON VIEW trace_ext_internal.node_calls IS 'WHERE asked(call, query): the rows of the query; how a router calls a function here';

-- postgres_fdw names rows by their place where it has to judge a condition itself. A place is one in a partition, so
-- another row of another partition may have the same: it must not come to that. (STABLE: a view with VOLATILE columns computes them
-- although nobody asks for them.)
CREATE FUNCTION trace_ext_internal.refuse_place() RETURNS tid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'a router changes and deletes events only by conditions that its nodes can judge' USING ERRCODE = 'feature_not_supported',
          DETAIL = 'Functions that depend on settings or the time, and functions of your own, are not sent to nodes.',
          HINT = 'Write what does not depend on the event as a query of its own, as in "timestamp" < (SELECT now() - interval ''30 days''), or name events by trace_id and id.';
END
$$;
COMMENT ON FUNCTION trace_ext_internal.refuse_place() IS 'stands for the place of a row, by which a router must not name it';

CREATE FUNCTION trace_ext_internal.rows_in_place() RETURNS boolean
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_rows_in_place';
COMMENT ON FUNCTION trace_ext_internal.rows_in_place() IS
    'true, or error 40001 where events have moved to a partition that is younger than the snapshot, in which a query by time would miss them';

-- Part of events, under a name of its own: one node may be in several epochs of a router.
CREATE FUNCTION trace_ext_internal.make_epoch(epoch int, low timestamptz, high timestamptz) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    part constant text := format('trace_ext_internal.events_of_epoch_%s', epoch);
BEGIN
    EXECUTE format('CREATE OR REPLACE VIEW %s AS SELECT *, trace_ext_internal.refuse_place() AS ctid FROM trace_ext.events WHERE "timestamp" >= %L AND "timestamp" < %L AND trace_ext_internal.rows_in_place()', part, low, high);
    EXECUTE format('COMMENT ON VIEW %s IS %L', part, 'events of an epoch of a router, which reads and writes them here');
    EXECUTE format('GRANT SELECT ON %s TO trace_ext_reader', part);
    EXECUTE format('GRANT INSERT ON %s TO trace_ext_writer', part);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO trace_ext_admin', part);
    RETURN part;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.make_epoch(int, timestamptz, timestamptz) IS
    'makes the view of the events of an epoch of a router, or gives it other bounds';

-- What a router reads as its count_deltas: here it is known which operations are "(other)".
CREATE VIEW trace_ext_internal.node_count_deltas AS
SELECT d.hour, d.service_name, d.kind, trace_ext_internal.counted_as(d.service_name, d.operation) AS operation, d.event_count, d.error_count,
       d.write_count, d.latency
  FROM trace_ext.count_deltas d;
COMMENT ON VIEW trace_ext_internal.node_count_deltas IS 'count_deltas, each operation as it will be counted';

-- A transaction of a router has one snapshot here. Where others committed the same events since, ON CONFLICT DO NOTHING
-- fails, though it would do no more than to leave them out.
CREATE FUNCTION trace_ext_internal.not_stored(rows jsonb) RETURNS jsonb
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_not_stored';
COMMENT ON FUNCTION trace_ext_internal.not_stored(jsonb) IS 'those of some rows of events that are not stored now, whatever the snapshot of the transaction';

CREATE FUNCTION trace_ext_internal.insert_again(rows jsonb, columns text[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    names constant text := (SELECT string_agg(quote_ident(u.name), ', ' ORDER BY u.n) FROM unnest(columns) WITH ORDINALITY AS u (name, n));
    inserted bigint;
BEGIN
    -- Each time that it fails another client has committed.
    FOR i IN 1 .. 100 LOOP
        BEGIN
            rows := trace_ext_internal.not_stored(rows);
            EXECUTE format('INSERT INTO trace_ext.events (%1$s) SELECT %1$s FROM jsonb_populate_recordset(NULL::trace_ext.events, $1) '
                           'ORDER BY trace_id, id, "timestamp" ON CONFLICT DO NOTHING', names) USING rows;
            GET DIAGNOSTICS inserted = ROW_COUNT;
            RETURN inserted;
        EXCEPTION
            WHEN serialization_failure THEN
                NULL;
            WHEN lock_not_available THEN
                -- As tex_waited_too_long() has it.
                RAISE EXCEPTION 'another transaction holds what this one stores' USING ERRCODE = 'serialization_failure',
                      DETAIL = 'It was waited for as long as the connection has it. The other one may wait for this one on another node.',
                      HINT = 'Roll back, and send all batches of the transaction again.';
        END;
    END LOOP;
    RAISE EXCEPTION 'others go on storing the same events' USING ERRCODE = 'serialization_failure', HINT = 'Send the batch again.';
END
$$;
COMMENT ON FUNCTION trace_ext_internal.insert_again(jsonb, text[]) IS
    'inserts rows of events that are not there, whatever others do with the same at this moment; returns how many were not';

-- In which partition of an epoch a trace is; a router asks nodes by it which of their links lead elsewhere.
CREATE FUNCTION trace_ext_internal.hash_bucket(trace_id uuid, buckets int) RETURNS int
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_hash_bucket';
COMMENT ON FUNCTION trace_ext_internal.hash_bucket(uuid, int) IS 'the remainder that a partition by HASH of a trace id has';

CREATE FUNCTION trace_ext_internal.times_told(ids uuid[]) RETURNS text[]
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'tex_times_told';
COMMENT ON FUNCTION trace_ext_internal.times_told(uuid[]) IS
    'of some traces "trace,first,last,started,ended", as wide as their events can be; without a trace: when events may be stamped that are not counted yet';

CREATE FUNCTION trace_ext_internal.producers_of(ids uuid[], starts uuid[]) RETURNS text[]
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'tex_producers_of';
COMMENT ON FUNCTION trace_ext_internal.producers_of(uuid[], uuid[]) IS
    'the service of each span that begins with an event of a trace, if it is a producer''s; else NULL';

CREATE FUNCTION trace_ext_internal.linked_calls(ids uuid[], starts uuid[], services text[])
    RETURNS TABLE (hour timestamptz, from_service text, to_service text, link_type link_type, calls bigint, errors bigint, traces bigint,
                   latency histogram)
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'tex_linked_calls';
COMMENT ON FUNCTION trace_ext_internal.linked_calls(uuid[], uuid[], text[]) IS
    'by how much the calls of some traces differ, once it is known of which services the producers are whose spans begin with these events, of traces that are not here';

CREATE FUNCTION trace_ext_internal.packed_events(ids uuid[]) RETURNS SETOF text
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'tex_packed_events';
COMMENT ON FUNCTION trace_ext_internal.packed_events(uuid[]) IS
    'the events of some traces, as far as the detector and what analyses a trace need them, in chunks of a form of our own (src/history/packed_rows.h)';

CREATE FUNCTION trace_ext_internal.keep_sources(resources jsonb, scopes jsonb, links jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO trace_ext.otlp_resources SELECT * FROM jsonb_populate_recordset(NULL::trace_ext.otlp_resources, resources) ON CONFLICT DO NOTHING;
    INSERT INTO trace_ext.otlp_scopes SELECT * FROM jsonb_populate_recordset(NULL::trace_ext.otlp_scopes, scopes) ON CONFLICT DO NOTHING;
    BEGIN
        -- Where the span is there already, its trace has to be looked at again.
        WITH new AS (
            INSERT INTO trace_ext.trace_links SELECT * FROM jsonb_populate_recordset(NULL::trace_ext.trace_links, links) ON CONFLICT DO NOTHING
            RETURNING trace_id, span_id, "timestamp")
        INSERT INTO trace_ext.summary_deltas (trace_id, event_count, error_count, access_count, recompute)
        SELECT DISTINCT n.trace_id, 0, 0, 0, true FROM new n
         WHERE EXISTS (SELECT FROM trace_ext.events e WHERE e.trace_id = n.trace_id AND e.id = trace_ext_internal.otlp_start_id(n.trace_id, n.span_id)
                          AND e."timestamp" = n."timestamp");
    EXCEPTION WHEN serialization_failure THEN
        -- Somebody else has just stored one of them, with all that follows from it.
        IF jsonb_array_length(links) > 1 THEN
            PERFORM trace_ext_internal.keep_sources('[]', '[]', jsonb_build_array(l.value)) FROM jsonb_array_elements(links) l;
        END IF;
    END;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_sources(jsonb, jsonb, jsonb) IS
    'stores resources, scopes and links of OpenTelemetry that a router read, those that are there already left out';

-- A router that this store is a node of looks for races in its stead: it reads the queue, and takes out what it has read.
CREATE FUNCTION trace_ext_internal.queued_traces(most int) RETURNS SETOF detect_queue
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT q.* FROM trace_ext.detect_queue q ORDER BY q.first_timestamp LIMIT most;
    END;
COMMENT ON FUNCTION trace_ext_internal.queued_traces(int) IS 'the first rows of detect_queue';

CREATE FUNCTION trace_ext_internal.forget_queued(ids uuid[], since timestamptz[]) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    BEGIN ATOMIC
    WITH gone AS (
        DELETE FROM trace_ext.detect_queue q USING unnest(ids, since) AS t (id, at) WHERE q.trace_id = t.id AND q.queued_at = t.at RETURNING 1
    )
    SELECT count(*) FROM gone;
    END;
COMMENT ON FUNCTION trace_ext_internal.forget_queued(uuid[], timestamptz[]) IS 'takes rows out of detect_queue, by trace and since when they are in it';
