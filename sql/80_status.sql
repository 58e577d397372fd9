-- What an operator looks at first.

CREATE FUNCTION preloaded() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT 'trace_ext' = ANY (string_to_array(replace(replace(current_setting('shared_preload_libraries'), ' ', ''), '"', ''), ','));
    END;
COMMENT ON FUNCTION preloaded() IS 'whether shared_preload_libraries names trace_ext';

CREATE VIEW status AS
SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'trace_ext') AS version,
       trace_ext.count_events() AS events,
       trace_ext.count_traces() AS traces,
       (SELECT count(*) FROM trace_ext.summary_deltas) AS summary_backlog,
       (SELECT count(*) FROM trace_ext.count_deltas) AS count_backlog,
       (SELECT count(*) FROM trace_ext.partitions WHERE NOT is_default) AS partitions,
       (SELECT max(upper_bound) FROM trace_ext.partitions) AS partitioned_until,
       (SELECT count(*) FROM (SELECT FROM trace_ext.events_default LIMIT 100000) AS waiting) AS events_in_default,
       (SELECT count(*) FROM trace_ext.ingest_errors) AS rejected_events,
       (SELECT reason FROM trace_ext.ingest_errors ORDER BY id DESC LIMIT 1) AS last_rejection,
       (SELECT received_at FROM trace_ext.ingest_errors ORDER BY id DESC LIMIT 1) AS last_rejection_at,
       trace_ext.preloaded() AS preloaded;
COMMENT ON VIEW status IS 'one row: is the store well?';
COMMENT ON COLUMN status.version IS 'version of the extension in this database';
COMMENT ON COLUMN status.events IS 'exact number of events';
COMMENT ON COLUMN status.traces IS 'exact number of traces';
COMMENT ON COLUMN status.summary_backlog IS 'summary deltas that fold() has not folded; thousands are normal';
COMMENT ON COLUMN status.count_backlog IS 'count deltas that fold() has not folded';
COMMENT ON COLUMN status.partitions IS 'partitions of events beside the default one';
COMMENT ON COLUMN status.partitioned_until IS 'events from here on go to events_default; maintain_partitions() moves it on';
COMMENT ON COLUMN status.events_in_default IS 'events for which no partition was made; at most 100000 are counted';
COMMENT ON COLUMN status.rejected_events IS 'rows in ingest_errors';
COMMENT ON COLUMN status.last_rejection IS 'why the last of them was rejected';
COMMENT ON COLUMN status.last_rejection_at IS 'when';
COMMENT ON COLUMN status.preloaded IS 'whether the server preloads the library, as background workers need';
