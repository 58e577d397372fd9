-- What an operator looks at first.

-- What to do where workers do not work, in the words of an operator.
CREATE FUNCTION trace_ext_internal.worker_advice(state text) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE
        WHEN NOT trace_ext_internal.preloaded() THEN
            'no workers: add trace_ext to shared_preload_libraries and restart the server; until then call run_job(), and writers have deltas folded'
        WHEN pg_is_in_recovery() THEN 'no workers: this is a standby, they start when it is promoted'
        WHEN state = 'not running' THEN 'no launcher: max_worker_processes was too small when the server started; increase it and restart the server'
        WHEN state = 'off' THEN 'no workers: trace_ext.workers is off'
        WHEN state = 'no slot' THEN 'no background worker slot is free: increase max_worker_processes and restart the server'
        WHEN state = 'failed' THEN 'the worker fails: see its error in workers() and the server log'
        END;
    END;
COMMENT ON FUNCTION trace_ext_internal.worker_advice(text) IS 'what an operator has to do in a state of workers; NULL: nothing';

CREATE VIEW status AS
WITH worker AS MATERIALIZED (
    SELECT * FROM trace_ext.workers()
), mine AS MATERIALIZED (
    SELECT coalesce((SELECT w.state FROM worker w WHERE w.kind = 'launcher' AND w.state <> 'running'),
                    (SELECT w.state FROM worker w WHERE w.kind = 'worker' AND w.database = current_database()), 'none') AS state
), job AS MATERIALIZED (
    SELECT * FROM trace_ext.jobs
), backlog AS MATERIALIZED (
    SELECT * FROM trace_ext_internal.partition_backlog()
)
SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname IN ('trace_ext', 'trace_ext_router')) AS version,
       trace_ext.count_events() AS events,
       trace_ext.count_traces() AS traces,
       (SELECT count(*) FROM trace_ext.summary_deltas) AS summary_backlog,
       (SELECT count(*) FROM trace_ext.count_deltas) AS count_backlog,
       (SELECT count(*) FROM trace_ext.partitions WHERE NOT is_default) AS partitions,
       (SELECT max(upper_bound) FROM trace_ext.partitions) AS partitioned_until,
       (SELECT b.events_in_default FROM backlog b) AS events_in_default,
       (SELECT b.far_events FROM backlog b) AS far_events,
       (SELECT b.oldest_far_event FROM backlog b) AS oldest_far_event,
       (SELECT b.newest_far_event FROM backlog b) AS newest_far_event,
       (SELECT b.partitions_to_make FROM backlog b) AS partitions_to_make,
       (SELECT b.advice FROM backlog b) AS partition_advice,
       trace_ext_internal.retention_backlog() AS traces_to_leave,
       (SELECT count(*) FROM trace_ext.ingest_errors) AS rejected_events,
       (SELECT reason FROM trace_ext.ingest_errors ORDER BY id DESC LIMIT 1) AS last_rejection,
       (SELECT received_at FROM trace_ext.ingest_errors ORDER BY id DESC LIMIT 1) AS last_rejection_at,
       (SELECT q.refused_events FROM trace_ext_internal.quota_counters() q) AS refused_by_quota,
       trace_ext_internal.preloaded() AS preloaded,
       (SELECT state FROM mine) AS worker_state,
       (SELECT trace_ext_internal.worker_advice(state) FROM mine) AS worker_advice,
       (SELECT w.error FROM worker w WHERE w.kind = 'worker' AND w.database = current_database()) AS worker_error,
       (SELECT string_agg(w.job, ', ' ORDER BY w.job) FROM worker w WHERE w.database = current_database() AND w.state = 'busy') AS running_jobs,
       trace_ext_internal.fold_lag() AS fold_lag,
       (SELECT last_success FROM job WHERE name = 'fold') AS last_fold,
       (SELECT detected_at FROM trace_ext.detect_state) AS last_detection,
       (SELECT count(*) FROM trace_ext.detect_queue) AS detect_queue,
       (SELECT greatest(clock_timestamp() - min(q.queued_at), interval '0') FROM trace_ext.detect_queue q) AS detect_lag,
       (SELECT count(*) FROM trace_ext.anomalies a WHERE a.status = 'open') AS anomalies_open,
       (SELECT count(*) FROM trace_ext.anomaly_queue) AS anomaly_queue,
       (SELECT nullif(s.until_hour, '-infinity') FROM trace_ext.baseline_state s) AS baselines_until,
       (SELECT string_agg(name, ', ' ORDER BY name) FROM job WHERE attempts > 0) AS failing_jobs,
       (SELECT name || ': ' || last_error FROM job WHERE last_error IS NOT NULL ORDER BY last_error_at DESC LIMIT 1) AS last_job_error,
       (SELECT max(last_error_at) FROM job) AS last_job_error_at,
       (SELECT count(*)::int FROM trace_ext.alert_states a WHERE a.state = 'firing') AS alerts_firing,
       CASE WHEN NOT trace_ext_internal.preloaded() THEN 'not preloaded'
            WHEN (SELECT c.size = 0 FROM trace_ext.cache_stats c) THEN 'off: trace_ext.cache_size is 0'
            ELSE current_setting('trace_ext.cache_mode') END AS cache_state,
       (SELECT c.hit_ratio FROM trace_ext.cache_stats c) AS cache_hit_ratio,
       (SELECT c.bytes FROM trace_ext.cache_stats c) AS cache_bytes,
       (SELECT count(*) FROM trace_ext.cache_failures f WHERE f.database = current_database() AND f.state <> 'closed') AS cache_open_failures,
       (SELECT count(*) FROM trace_ext.watched_tables) AS watched_tables,
       (SELECT w.buffer_full + w.too_many_rows + w.too_much_memory + w.not_covered + w.errors FROM trace_ext_internal.watch_counts() w) AS watch_dropped,
       r.state AS receiver_state,
       r.address AS receiver_address,
       r.error AS receiver_error,
       r.connections AS receiver_connections,
       r.bodies AS receiver_bodies,
       r.bytes AS receiver_bytes,
       r.spans AS receiver_spans,
       r.log_records AS receiver_log_records,
       r.events AS receiver_events,
       r.rejected AS receiver_rejected,
       r.refused AS receiver_refused,
       make_interval(secs => r.p99) AS receiver_p99
  FROM trace_ext_internal.receiver() r;
COMMENT ON VIEW status IS 'one row: is the store well?';
COMMENT ON COLUMN status.version IS 'version of the extension in this database';
COMMENT ON COLUMN status.events IS 'exact number of events';
COMMENT ON COLUMN status.traces IS 'exact number of traces';
COMMENT ON COLUMN status.summary_backlog IS 'summary deltas that fold() has not folded; thousands are normal';
COMMENT ON COLUMN status.count_backlog IS 'count deltas that fold() has not folded';
COMMENT ON COLUMN status.partitions IS 'partitions of events beside the default one';
COMMENT ON COLUMN status.partitioned_until IS 'events from here on go to events_default; maintain_partitions() moves it on';
COMMENT ON COLUMN status.events_in_default IS 'events for which no partition was made; exact where they take up to 8 MB, estimated above that';
COMMENT ON COLUMN status.far_events IS
    'those of them that get none, for they are older than trace_ext.partition_reach or farther ahead than trace_ext.partitions_ahead: mostly of clients whose clocks are wrong';
COMMENT ON COLUMN status.oldest_far_event IS 'time of the first of these';
COMMENT ON COLUMN status.newest_far_event IS 'time of the last of these';
COMMENT ON COLUMN status.partitions_to_make IS 'partitions that maintain_partitions() has left to make';
COMMENT ON COLUMN status.partition_advice IS 'why it cannot make them, and what to do; NULL: it can';
COMMENT ON COLUMN status.traces_to_leave IS 'traces over the limits of retention, at least: those that are too old are counted up to 10,000';
COMMENT ON COLUMN status.rejected_events IS 'rows in ingest_errors';
COMMENT ON COLUMN status.last_rejection IS 'why the last of them was rejected';
COMMENT ON COLUMN status.last_rejection_at IS 'when';
COMMENT ON COLUMN status.refused_by_quota IS
    'events in batches that were refused because of trace_ext.ingest_quota, since the server started, in all databases; NULL without preload';
COMMENT ON COLUMN status.preloaded IS 'whether the server preloads the library, as background workers need';
COMMENT ON COLUMN status.worker_state IS
    'of the worker of this database: busy, waiting, asleep (none is needed at the moment), starting, failed, no slot, off, kept out; none where there are no workers';
COMMENT ON COLUMN status.worker_advice IS 'what to do about it; NULL: nothing';
COMMENT ON COLUMN status.worker_error IS 'why the worker failed';
COMMENT ON COLUMN status.running_jobs IS 'jobs that workers run right now';
COMMENT ON COLUMN status.fold_lag IS 'how long outstanding deltas have waited at most';
COMMENT ON COLUMN status.last_fold IS 'end of the last run of the job fold that ended well';
COMMENT ON COLUMN status.last_detection IS 'end of the last detect()';
COMMENT ON COLUMN status.detect_queue IS 'traces that detect() has not looked at yet';
COMMENT ON COLUMN status.detect_lag IS 'how long the first of them has waited; up to trace_ext.lateness is normal; 0: none waits';
COMMENT ON COLUMN status.anomalies_open IS 'anomalies that nobody has decided about';
COMMENT ON COLUMN status.anomaly_queue IS 'traces that the job anomalies has not looked at yet';
COMMENT ON COLUMN status.baselines_until IS
    'end of the last hour that baselines have: at most 1 hour and 5 minutes ago where they are up to date; NULL: there are none yet';
COMMENT ON COLUMN status.failing_jobs IS 'jobs whose last run failed';
COMMENT ON COLUMN status.last_job_error IS 'the last error of a job';
COMMENT ON COLUMN status.last_job_error_at IS 'when that was';
COMMENT ON COLUMN status.alerts_firing IS 'alerts that fire; see alerts';
COMMENT ON COLUMN status.cache_state IS 'trace_ext.cache_mode, or why there is no result cache';
COMMENT ON COLUMN status.cache_hit_ratio IS 'calls that the result cache answered, by all calls, of all databases';
COMMENT ON COLUMN status.cache_bytes IS 'memory that cached results take';
COMMENT ON COLUMN status.receiver_state IS 'of the receiver for OpenTelemetry, which is one of the whole server, as are its numbers: off, starting, listening, failed, standby (there is none before it is promoted), or not preloaded';
COMMENT ON COLUMN status.receiver_address IS 'where it listens';
COMMENT ON COLUMN status.receiver_error IS 'why it failed, or why it could not store the last body';
COMMENT ON COLUMN status.receiver_connections IS 'connections that are open';
COMMENT ON COLUMN status.receiver_bodies IS 'bodies that it has stored, since the server started';
COMMENT ON COLUMN status.receiver_bytes IS 'their bytes, as they came';
COMMENT ON COLUMN status.receiver_spans IS 'spans in them';
COMMENT ON COLUMN status.receiver_log_records IS 'log records in them';
COMMENT ON COLUMN status.receiver_events IS 'events in bodies of event JSON';
COMMENT ON COLUMN status.receiver_rejected IS 'of these spans, log records and events those that were rejected; see ingest_errors';
COMMENT ON COLUMN status.receiver_refused IS 'requests that it has refused, by reason';
COMMENT ON COLUMN status.receiver_p99 IS 'time that 99 of 100 bodies took at most from their last byte to their answer, of the last few thousand';
COMMENT ON COLUMN status.cache_open_failures IS 'cached queries that kept failing and are not tried for a while; see cache_failures';
COMMENT ON COLUMN status.watched_tables IS 'tables of this database that are watched; see watched_tables';
COMMENT ON COLUMN status.watch_dropped IS 'accesses to watched tables, and statements, that were not taken since the server started, of all databases; NULL without preload';
