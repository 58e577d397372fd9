-- What is odd about a trace.

CREATE FUNCTION trace_anomalies(trace_id uuid, max_rows bigint = 1000)
    RETURNS TABLE (
    event_id uuid, kind text, severity text, service_name text, operation text,
    actual_ms double precision, expected_ms double precision, score double precision, evidence text)
    LANGUAGE c STABLE ROWS 10 AS 'MODULE_PATHNAME', 'tex_trace_anomalies';
COMMENT ON FUNCTION trace_anomalies(uuid, bigint) IS
    'what is odd about a trace, the worst first: slow against its baseline, error, lock wait, repeated query, retry storm, missing parent, clock contradiction, long gap; severity CRITICAL, WARNING or INFO; '
    'actual_ms and expected_ms where it is about a time; score is the part of the trace, or how many there are; evidence is a sentence to act on. No rows, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION trace_anomalies(trace_id text, max_rows bigint = 1000)
    RETURNS TABLE (
    event_id uuid, kind text, severity text, service_name text, operation text,
    actual_ms double precision, expected_ms double precision, score double precision, evidence text)
    LANGUAGE sql STABLE ROWS 10
    BEGIN ATOMIC
    SELECT * FROM trace_ext.trace_anomalies($1::uuid, $2);
    END;
COMMENT ON FUNCTION trace_anomalies(text, bigint) IS 'the same, with the id as text';
