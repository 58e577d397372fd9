-- What made a trace take as long as it did.

CREATE FUNCTION critical_path(trace_id uuid, max_rows bigint = 10000, adjust boolean = false)
    RETURNS TABLE (
    ordinal int, event_id uuid, kind event_kind, name text, service_name text,
    from_ms double precision, to_ms double precision, contribution_ms double precision, percent double precision, activity text)
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_critical_path_of';
COMMENT ON FUNCTION critical_path(uuid, bigint, boolean) IS
    'the chain that decided how long a trace took, from its begin to its end without a hole: what each part of the time went by with, in milliseconds since the trace began, and in percent; '
    'activity is work, wait for lock (the event is what the holder did, in another trace maybe), wait for task, network or gap (nothing says what was done). Time that no event covers goes to the event after which it passed; adjust: shifts times by the clock offsets between instances. '
    'Shows the longest max_rows, in the order of time, and says so; no rows, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION critical_path(trace_id text, max_rows bigint = 10000, adjust boolean = false)
    RETURNS TABLE (
    ordinal int, event_id uuid, kind event_kind, name text, service_name text,
    from_ms double precision, to_ms double precision, contribution_ms double precision, percent double precision, activity text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT * FROM trace_ext.critical_path($1::uuid, $2, $3);
    END;
COMMENT ON FUNCTION critical_path(text, bigint, boolean) IS 'the same, with the id as text';
