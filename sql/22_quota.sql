-- trace_ext.ingest_quota: how many events a role may send in a second.

CREATE FUNCTION trace_ext_internal.quota_counters(OUT refused_batches bigint, OUT refused_events bigint) RETURNS SETOF record
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'tex_quota_counters';
COMMENT ON FUNCTION trace_ext_internal.quota_counters() IS
    'what ingest functions refused since the server started because of trace_ext.ingest_quota, in all databases; no row where the library is not preloaded';
