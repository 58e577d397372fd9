-- Pages: one file of HTML that asks nobody for anything.

CREATE FUNCTION trace_html(trace_id uuid) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_trace_html';
COMMENT ON FUNCTION trace_html(uuid) IS
    'a trace as a page for a browser, in one file of 1 MB at most: who raced, drawn as two lanes; what happened, as bars that fold and zoom, with the attributes of events; the critical path, '
    'a flame graph, which service called which, and what is odd; says what is left out; NULL, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION trace_html(trace_id text) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.trace_html(trace_ext_internal.trace_named($1));
    END;
COMMENT ON FUNCTION trace_html(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

-- The queries of the page name operators by their signs alone.
CREATE FUNCTION report_html(within interval = '1 hour') RETURNS text
    LANGUAGE c STABLE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'tex_report_html';
COMMENT ON FUNCTION report_html(interval) IS
    'how the services are as a page for a browser, in one file: health, which calls which, races, the worst of them drawn, alerts, anomalies, where the time went, requests that failed, and upkeep; '
    'of each section the worst, and what to call for more';
