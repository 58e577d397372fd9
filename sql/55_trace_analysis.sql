-- All that there is to say of a trace.

CREATE FUNCTION trace_analysis(trace_id uuid, max_rows bigint = 1000) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_trace_analysis';
COMMENT ON FUNCTION trace_analysis(uuid, bigint) IS
    'a trace in one document: summary, tree, critical_path, anomalies, races, race_count and dependencies, each with the columns of the function of that name, at most max_rows; NULL, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION trace_analysis(trace_id text, max_rows bigint = 1000) RETURNS jsonb
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.trace_analysis($1::uuid, $2);
    END;
COMMENT ON FUNCTION trace_analysis(text, bigint) IS 'the same, with the id as text';
