-- Which service called which in a trace.

CREATE FUNCTION service_dependencies(trace_id uuid, max_rows bigint = 1000)
    RETURNS TABLE (from_service text, to_service text, link_type link_type, call_count bigint, error_count bigint, total_ms double precision)
    LANGUAGE c STABLE ROWS 10 AS 'MODULE_PATHNAME', 'tex_service_dependencies';
COMMENT ON FUNCTION service_dependencies(uuid, bigint) IS
    'calls from one service to another in a trace, by spans, and by parents where there are no spans: how many, how many failed, and how long the called ones took in all; the longest first. '
    'No rows, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION service_dependencies(trace_id text, max_rows bigint = 1000)
    RETURNS TABLE (from_service text, to_service text, link_type link_type, call_count bigint, error_count bigint, total_ms double precision)
    LANGUAGE sql STABLE ROWS 10
    BEGIN ATOMIC
    SELECT * FROM trace_ext.service_dependencies($1::uuid, $2);
    END;
COMMENT ON FUNCTION service_dependencies(text, bigint) IS 'the same, with the id as text';
