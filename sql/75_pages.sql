-- Pages: one file of HTML that asks nobody for anything.

CREATE FUNCTION trace_html(trace_id uuid) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_trace_html';
COMMENT ON FUNCTION trace_html(uuid) IS
    'a trace as a page for a browser, in one file of 1 MB at most: who raced, drawn as two lanes; what happened, as bars that fold and zoom, with the attributes of events; the critical path, '
    'a flame graph, which service called which, and what is odd; says what is left out; NULL, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION trace_html(trace_id text) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.trace_html($1::uuid);
    END;
COMMENT ON FUNCTION trace_html(text) IS 'the same, with the id as text';
