-- What caused what in a trace.

CREATE FUNCTION causal_order(trace_id uuid, max_rows bigint = 10000)
    RETURNS TABLE (
    seq bigint, event_id uuid, "timestamp" timestamptz, kind event_kind, name text, service_name text,
    strand int, causes uuid[], step_ms double precision)
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_causal_order';
COMMENT ON FUNCTION causal_order(uuid, bigint) IS
    'the events of a trace, causes first, else by time: strand (numbered in the trace), direct causes (parent, the event before in the strand, spawn, await, hand-over of a lock, message, client clock), '
    'milliseconds since the latest cause began, NULL without a cause, negative where clocks contradict. Shows at most max_rows and says so; no rows, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION causal_order(trace_id text, max_rows bigint = 10000)
    RETURNS TABLE (
    seq bigint, event_id uuid, "timestamp" timestamptz, kind event_kind, name text, service_name text,
    strand int, causes uuid[], step_ms double precision)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT * FROM trace_ext.causal_order($1::uuid, $2);
    END;
COMMENT ON FUNCTION causal_order(text, bigint) IS 'the same, with the id as text';
