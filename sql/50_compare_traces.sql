-- How a trace differs from another one.

CREATE FUNCTION compare_traces(a uuid, b uuid, max_rows bigint = 10000)
    RETURNS TABLE (
    path text, kind event_kind, name text, service_name text, count_a bigint, count_b bigint,
    ms_a double precision, ms_b double precision, difference_ms double precision)
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_compare_traces';
COMMENT ON FUNCTION compare_traces(uuid, uuid, bigint) IS
    'two traces step by step: events of the same kind, name (but for numbers, ids and literals) and service that the same steps enclose are one; how many there are and how long they lasted in all, NULL where a trace has none; '
    'difference_ms is b less a, what is missing counted as nothing; what differs most comes first. Shows at most max_rows and says so; no rows, and a NOTICE, where one of the traces is not stored';

CREATE FUNCTION compare_traces(a text, b text, max_rows bigint = 10000)
    RETURNS TABLE (
    path text, kind event_kind, name text, service_name text, count_a bigint, count_b bigint,
    ms_a double precision, ms_b double precision, difference_ms double precision)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT * FROM trace_ext.compare_traces($1::uuid, $2::uuid, $3);
    END;
COMMENT ON FUNCTION compare_traces(text, text, bigint) IS 'the same, with the ids as text';

-- Of those that list_traces() lists cheaply: before this one, and the newest.
CREATE FUNCTION find_similar_traces(trace_id uuid, "limit" bigint = 10) RETURNS SETOF trace_summaries
    LANGUAGE sql STABLE ROWS 10 SET jit = off
    BEGIN ATOMIC
    WITH this AS MATERIALIZED (
        SELECT s.*, regexp_replace(split_part(s.root_name, '?', 1), '[0-9A-Fa-f]{8}[0-9A-Fa-f-]*|[0-9]+', '{}', 'g') AS like_name
          FROM trace_ext.trace_summaries s WHERE s.trace_id = $1
    ), near AS MATERIALIZED (
        SELECT l.* FROM this t, LATERAL trace_ext.list_traces(page_size => 1000, before => t.last_timestamp, before_id => t.trace_id) l
        UNION
        SELECT l.* FROM this t, LATERAL trace_ext.list_traces(page_size => 1000) l
    )
    SELECT n.*
      FROM near n, this t
     WHERE n.trace_id <> t.trace_id AND n.root_service IS NOT DISTINCT FROM t.root_service
       AND regexp_replace(split_part(n.root_name, '?', 1), '[0-9A-Fa-f]{8}[0-9A-Fa-f-]*|[0-9]+', '{}', 'g') IS NOT DISTINCT FROM t.like_name
     ORDER BY n.services = t.services DESC, n.error_count = 0 DESC,
              round(abs(ln(n.event_count::double precision / t.event_count)) * 4), abs(extract(epoch FROM n.started_at - t.started_at)), n.trace_id
     LIMIT "limit";
    END;
COMMENT ON FUNCTION find_similar_traces(uuid, bigint) IS
    'traces to compare one with: the same root name (but for numbers and ids) and service, of 1,000 before it and the 1,000 newest; first those with the same services, without an error, of about as many events, near in time. Costs the same at every size';

CREATE FUNCTION find_similar_traces(trace_id text, "limit" bigint = 10) RETURNS SETOF trace_summaries
    LANGUAGE sql STABLE ROWS 10
    BEGIN ATOMIC
    SELECT * FROM trace_ext.find_similar_traces($1::uuid, $2);
    END;
COMMENT ON FUNCTION find_similar_traces(text, bigint) IS 'the same, with the id as text';
