-- What happened in a trace: its events as a tree.

CREATE FUNCTION trace_ext_internal.linked_traces(from_time timestamptz, to_time timestamptz, spans text[], most_events bigint) RETURNS uuid[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    few uuid[];
    low timestamptz;
    high timestamptz;
    linked uuid[] := '{}';
    beside uuid[];
    events bigint;
BEGIN
    SELECT array_agg(t.trace_id), sum(t.event_count) INTO beside, events FROM trace_ext_internal.traces_between(from_time, to_time) t;
    IF events > most_events THEN
        RETURN NULL;
    END IF;
    FOR few, low, high IN SELECT n.few, n.low, n.high FROM trace_ext_internal.neighbours(beside, 250) n LOOP
        EXECUTE $q$
            SELECT $5 || array_agg(DISTINCT trace_id) FROM trace_ext.events
             WHERE trace_id = ANY ($1) AND "timestamp" >= $2 AND "timestamp" <= $3
               AND (upstream_span_id = ANY ($4) OR span_id = ANY ($4))
            $q$ INTO linked USING few, low, high, spans, linked;
    END LOOP;
    RETURN linked;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.linked_traces(timestamptz, timestamptz, text[], bigint) IS
    'traces that ran within a time and have, or were called by, one of some spans; NULL if those that ran have more events than may be read';

CREATE FUNCTION trace_tree(trace_id uuid, max_rows bigint = 10000, merge boolean = false, adjust boolean = false)
    RETURNS TABLE (
    ordinal int, depth int, event_id uuid, parent_id uuid, kind event_kind, name text, service_name text,
    start_ms double precision, duration_ms double precision, self_ms double precision, child_count int, status text, label text)
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_trace_tree';
COMMENT ON FUNCTION trace_tree(uuid, bigint, boolean, boolean) IS
    'the events of a trace as a tree, depth first, children by start: depth by parent links (a root has 0), milliseconds since the trace began, how long it lasted and how long none of its children did; '
    'status ok, error, orphan (its parent is not stored) or cycle (its parent link was cut); label is the line to read, which draws a chain of points as a list; '
    'merge: hangs what other traces did for a span of this one, and roots that a span of it called, under the event that called; adjust: shifts times by the clock offsets between instances. '
    'Shows at most max_rows and says so; no rows, and a NOTICE, for a trace that is not stored';

-- For drivers that send every string as text or varchar.
CREATE FUNCTION trace_tree(trace_id text, max_rows bigint = 10000, merge boolean = false, adjust boolean = false)
    RETURNS TABLE (
    ordinal int, depth int, event_id uuid, parent_id uuid, kind event_kind, name text, service_name text,
    start_ms double precision, duration_ms double precision, self_ms double precision, child_count int, status text, label text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT * FROM trace_ext.trace_tree($1::uuid, $2, $3, $4);
    END;
COMMENT ON FUNCTION trace_tree(text, bigint, boolean, boolean) IS 'the same, with the id as text';

CREATE FUNCTION clock_offsets(trace_id uuid, max_rows bigint = 1000)
    RETURNS TABLE (from_instance text, to_instance text, clock_offset_ms double precision, pairs bigint)
    LANGUAGE c STABLE ROWS 10 AS 'MODULE_PATHNAME', 'tex_clock_offsets';
COMMENT ON FUNCTION clock_offsets(uuid, bigint) IS
    'how far the clock of an instance (service#instance) that was called is ahead of the caller''s, as NTP estimates it from the best of the pairs of calls and answers between the two';

CREATE FUNCTION clock_offsets(trace_id text, max_rows bigint = 1000)
    RETURNS TABLE (from_instance text, to_instance text, clock_offset_ms double precision, pairs bigint)
    LANGUAGE sql STABLE ROWS 10
    BEGIN ATOMIC
    SELECT * FROM trace_ext.clock_offsets($1::uuid, $2);
    END;
COMMENT ON FUNCTION clock_offsets(text, bigint) IS 'the same, with the id as text';
