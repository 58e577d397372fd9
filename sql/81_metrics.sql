-- What Prometheus scrapes: a view of samples, and its text form.

CREATE FUNCTION trace_ext_internal.bytes_on_disk(relation oid) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_bytes_on_disk';
COMMENT ON FUNCTION trace_ext_internal.bytes_on_disk(oid) IS
    'what a table takes, as pg_total_relation_size() says, without opening it and its indexes; NULL where there is none';

-- One row a sample. Labels come from bounded sets only: jobs, channels, states.
--
-- Planned by whoever scrapes, mostly anew each time: so samples of one row stand in
-- lists of values. A branch of UNION ALL for each made of it a query three times as dear.
CREATE VIEW metrics AS
WITH worker AS MATERIALIZED (
    SELECT * FROM trace_ext.workers()
), part AS MATERIALIZED (
    SELECT * FROM trace_ext.partitions
), receiver AS MATERIALIZED (
    SELECT * FROM trace_ext_internal.receiver()
)
SELECT * FROM (
    SELECT m.* FROM (VALUES
         ('trace_ext_events', 'gauge', 'Events stored', '{}'::jsonb, trace_ext.count_events()::double precision),
         ('trace_ext_traces', 'gauge', 'Traces stored', '{}', trace_ext.count_traces()),
         ('trace_ext_outstanding_deltas', 'gauge', 'Deltas that are not folded yet', '{"of": "summaries"}', (SELECT count(*) FROM trace_ext.summary_deltas)),
         ('trace_ext_outstanding_deltas', 'gauge', 'Deltas that are not folded yet', '{"of": "counts"}', (SELECT count(*) FROM trace_ext.count_deltas)),
         ('trace_ext_fold_lag_seconds', 'gauge', 'Time that outstanding deltas may have waited; 0 without any', '{}', extract(epoch FROM trace_ext_internal.fold_lag())),
         ('trace_ext_traces_examined_total', 'counter', 'Traces that detect() has looked at, each time counted', '{}', (SELECT traces_examined FROM trace_ext.detect_state)),
         ('trace_ext_anomaly_traces_total', 'counter', 'Traces that the job anomalies has looked at, each time counted', '{}', (SELECT traces_examined FROM trace_ext.anomaly_state)),
         ('trace_ext_baselines', 'gauge', 'Operations that have a baseline', '{}', (SELECT count(*) FROM trace_ext.baseline_metrics)),
         ('trace_ext_baseline_age_seconds', 'gauge', 'How long ago the last hour ended that baselines have; up to 3900 is normal', '{}',
              (SELECT extract(epoch FROM clock_timestamp() - until_hour) FROM trace_ext.baseline_state WHERE isfinite(until_hour))),
         ('trace_ext_partitions', 'gauge', 'Partitions of events beside the default one', '{}', (SELECT count(*) FROM part WHERE NOT is_default)),
         ('trace_ext_partitioned_seconds', 'gauge', 'Time ahead of now for which partitions are ready', '{}',
              (SELECT greatest(extract(epoch FROM max(upper_bound) - now()), 0) FROM part WHERE isfinite(upper_bound))),
         ('trace_ext_events_bytes', 'gauge', 'Size of events and their indexes on disk', '{}', (SELECT coalesce(sum(trace_ext_internal.bytes_on_disk(part.part)), 0) FROM part)),
         ('trace_ext_ingest_errors', 'gauge', 'Rejected events that are kept', '{}', (SELECT count(*) FROM trace_ext.ingest_errors)),
         ('trace_ext_preloaded', 'gauge', '1 where the server preloads the library', '{}', trace_ext_internal.preloaded()::int),
         ('trace_ext_launcher_up', 'gauge', '1 while the launcher runs', '{}', (SELECT count(*) FROM worker WHERE kind = 'launcher' AND state = 'running')),
         ('trace_ext_alerts_failing', 'gauge', 'Alerts that could not be evaluated', '{}', (SELECT count(*) FROM trace_ext.alert_states WHERE error IS NOT NULL)),
         ('trace_ext_watched_tables', 'gauge', 'Tables that are watched', '{}', (SELECT count(*) FROM trace_ext.watched_tables))) AS m (name, type, help, labels, value)
    UNION ALL SELECT m.* FROM (SELECT count(*) AS n, min(queued_at) AS since FROM trace_ext.detect_queue) AS q, LATERAL (VALUES
         ('trace_ext_detect_queue', 'gauge', 'Traces that detect() has not looked at yet', '{}'::jsonb, q.n::double precision),
         ('trace_ext_detect_lag_seconds', 'gauge', 'How long the first of these traces has waited; 0 where none does', '{}',
              coalesce(extract(epoch FROM greatest(clock_timestamp() - q.since, interval '0')), 0))) AS m
    UNION ALL SELECT m.* FROM (SELECT count(*) AS n, min(queued_at) AS since FROM trace_ext.anomaly_queue) AS q, LATERAL (VALUES
         ('trace_ext_anomaly_queue', 'gauge', 'Traces that the job anomalies has not looked at yet', '{}'::jsonb, q.n::double precision),
         ('trace_ext_anomaly_lag_seconds', 'gauge', 'How long the first of these traces has waited; 0 where none does', '{}',
              coalesce(extract(epoch FROM greatest(clock_timestamp() - q.since, interval '0')), 0))) AS m
    UNION ALL SELECT 'trace_ext_findings', 'gauge', 'Findings, by severity and status',
              jsonb_build_object('severity', severity, 'status', status), count(*) FROM trace_ext.findings GROUP BY severity, status
    UNION ALL SELECT 'trace_ext_anomalies', 'gauge', 'Anomalies, by kind, severity and status',
              jsonb_build_object('kind', kind, 'severity', severity, 'status', status), count(*) FROM trace_ext.anomalies GROUP BY kind, severity, status
    UNION ALL SELECT m.* FROM trace_ext_internal.partition_backlog() AS b, LATERAL (VALUES
         ('trace_ext_partitions_to_make', 'gauge', 'Partitions left to make', '{}'::jsonb, b.partitions_to_make::double precision),
         ('trace_ext_events_in_default', 'gauge', 'Events without a partition of their time; estimated where they are many', '{}', b.events_in_default),
         ('trace_ext_far_events', 'gauge', 'Events whose time is too far from now for a partition', '{}', b.far_events)) AS m
    UNION ALL SELECT m.* FROM trace_ext_internal.quota_counters() AS q, LATERAL (VALUES
         ('trace_ext_quota_refused_batches_total', 'counter', 'Batches refused because of trace_ext.ingest_quota, of all databases', '{}'::jsonb, q.refused_batches::double precision),
         ('trace_ext_quota_refused_events_total', 'counter', 'Events in these batches', '{}', q.refused_events)) AS m
    UNION ALL SELECT 'trace_ext_worker_state', 'gauge', '1 for the state that the worker of this database is in',
              jsonb_build_object('state', s.state), (s.state = coalesce((SELECT w.state FROM worker w WHERE w.kind = 'worker' AND w.database = current_database()), 'none'))::int
              FROM unnest(ARRAY['none', 'not looked at yet', 'starting', 'waiting', 'busy', 'asleep', 'failed', 'no slot', 'kept out', 'off']) AS s (state)
    UNION ALL SELECT m.* FROM trace_ext_internal.watch_counts() AS c, LATERAL (VALUES
         ('trace_ext_watch_accesses_total', 'counter', 'Accesses to watched tables that were taken, and stored, of all databases', '{"step": "taken"}'::jsonb, coalesce(c.taken, 0)::double precision),
         ('trace_ext_watch_accesses_total', 'counter', 'Accesses to watched tables that were taken, and stored, of all databases', '{"step": "stored"}', coalesce(c.stored, 0)),
         ('trace_ext_watch_dropped_total', 'counter', 'Accesses to watched tables, or statements, that were not taken, of all databases', '{"reason": "buffer full"}', coalesce(c.buffer_full, 0)),
         ('trace_ext_watch_dropped_total', 'counter', 'Accesses to watched tables, or statements, that were not taken, of all databases', '{"reason": "too many rows"}', coalesce(c.too_many_rows, 0)),
         ('trace_ext_watch_dropped_total', 'counter', 'Accesses to watched tables, or statements, that were not taken, of all databases', '{"reason": "too much memory"}', coalesce(c.too_much_memory, 0)),
         ('trace_ext_watch_dropped_total', 'counter', 'Accesses to watched tables, or statements, that were not taken, of all databases', '{"reason": "not covered"}', coalesce(c.not_covered, 0)),
         ('trace_ext_watch_dropped_total', 'counter', 'Accesses to watched tables, or statements, that were not taken, of all databases', '{"reason": "error"}', coalesce(c.errors, 0)),
         ('trace_ext_watch_bad_requests_total', 'counter', 'Statements with a malformed traceparent', '{}', coalesce(c.bad_requests, 0))) AS m
    UNION ALL SELECT m.name, m.type, m.help, jsonb_build_object('job', j.name), m.value FROM trace_ext.jobs AS j, LATERAL (VALUES
         ('trace_ext_job_enabled', 'gauge', '1 where the job runs by itself', enabled::int),
         ('trace_ext_job_runs_total', 'counter', 'Runs that ended, well or not', runs),
         ('trace_ext_job_failures_total', 'counter', 'Runs that failed, timed out or were lost', failures),
         ('trace_ext_job_skipped_total', 'counter', 'Runs that were not begun, or gave way to a lock', skipped),
         ('trace_ext_job_seconds_total', 'counter', 'Time spent in runs', extract(epoch FROM total_time)),
         ('trace_ext_job_failed_attempts', 'gauge', 'Failed attempts in a row', attempts),
         ('trace_ext_job_last_duration_seconds', 'gauge', 'How long the last run took that ended well', extract(epoch FROM last_duration)),
         ('trace_ext_job_last_success_timestamp_seconds', 'gauge', 'End of the last run that ended well', extract(epoch FROM last_success))) AS m (name, type, help, value)
    UNION ALL SELECT 'trace_ext_alerts', 'gauge', 'Alerts, by state', jsonb_build_object('state', s.state),
              (SELECT count(*) FROM trace_ext.alert_states a WHERE a.state = s.state)
              FROM unnest(enum_range(NULL::trace_ext.alert_state)) AS s (state)
    UNION ALL SELECT m.name, m.type, m.help, jsonb_build_object('channel', a.channel), m.value FROM trace_ext.announcements AS a, LATERAL (VALUES
         ('trace_ext_notifications_total', 'counter', 'Notifications sent', a.sent),
         ('trace_ext_notifications_dropped_total', 'counter', 'Notifications not sent because nobody read them', a.dropped)) AS m (name, type, help, value)
    UNION ALL SELECT m.* FROM trace_ext_internal.cache_counters() AS c, LATERAL (VALUES
         ('trace_ext_cache_hits_total', 'counter', 'Calls answered from the result cache, of all databases', '{"level": "local"}'::jsonb, local_hits::double precision),
         ('trace_ext_cache_hits_total', 'counter', 'Calls answered from the result cache, of all databases', '{"level": "shared"}', shared_hits),
         ('trace_ext_cache_hits_total', 'counter', 'Calls answered from the result cache, of all databases', '{"level": "stale"}', stale_hits),
         ('trace_ext_cache_misses_total', 'counter', 'Calls that computed their result', '{}', misses),
         ('trace_ext_cache_bypasses_total', 'counter', 'Calls that kept away from the cache', '{}', bypasses),
         ('trace_ext_cache_waits_total', 'counter', 'Calls that waited for another one''s computation', '{}', waits),
         ('trace_ext_cache_evictions_total', 'counter', 'Results dropped to make room', '{}', evictions),
         ('trace_ext_cache_invalidations_total', 'counter', 'Results found out of date, or dropped on demand', '{}', invalidations),
         ('trace_ext_cache_refreshes_total', 'counter', 'Results computed anew before they were too old', '{}', refreshes),
         ('trace_ext_cache_failures_total', 'counter', 'Computations that failed', '{}', failures),
         ('trace_ext_cache_saved_seconds_total', 'counter', 'Time that answered calls would have taken', '{}', saved_us / 1e6),
         ('trace_ext_cache_entries', 'gauge', 'Results in the cache', '{}', entries),
         ('trace_ext_cache_bytes', 'gauge', 'Memory that they take', '{}', bytes),
         ('trace_ext_cache_size_bytes', 'gauge', 'Memory that there is for them', '{}', size)) AS m
    UNION ALL SELECT m.* FROM receiver, LATERAL (VALUES
         ('trace_ext_receiver_up', 'gauge', '1 while the receiver listens', '{}'::jsonb, (state = 'listening')::int::double precision),
         ('trace_ext_receiver_connections', 'gauge', 'Connections to the receiver', '{}', connections),
         ('trace_ext_receiver_buffered_bytes', 'gauge', 'Bytes of bodies that are not stored yet, in memory and on disk', '{}', buffered),
         ('trace_ext_receiver_bytes_total', 'counter', 'Bytes of stored bodies, as they came', '{}', bytes),
         ('trace_ext_receiver_rejected_total', 'counter', 'Those of them that were rejected', '{}', rejected),
         ('trace_ext_receiver_batches_total', 'counter', 'Transactions that stored bodies', '{}', batches),
         ('trace_ext_receiver_seconds_total', 'counter', 'Time that stored bodies took, from their last byte to their answer', '{}', seconds),
         ('trace_ext_receiver_p99_seconds', 'gauge', 'Time that 99 of 100 bodies took at most, of the last few thousand', '{}', p99),
         ('trace_ext_receiver_bodies_total', 'counter', 'Bodies stored', '{"door": "traces"}', trace_bodies),
         ('trace_ext_receiver_records_total', 'counter', 'Spans, log records and events in stored bodies', '{"door": "traces"}', spans),
         ('trace_ext_receiver_bodies_total', 'counter', 'Bodies stored', '{"door": "logs"}', log_bodies),
         ('trace_ext_receiver_records_total', 'counter', 'Spans, log records and events in stored bodies', '{"door": "logs"}', log_records),
         ('trace_ext_receiver_bodies_total', 'counter', 'Bodies stored', '{"door": "events"}', event_bodies),
         ('trace_ext_receiver_records_total', 'counter', 'Spans, log records and events in stored bodies', '{"door": "events"}', events)) AS m
    UNION ALL SELECT 'trace_ext_receiver_refused_total', 'counter', 'Requests refused, by reason', jsonb_build_object('reason', x.reason), x.n::double precision
              FROM receiver, LATERAL jsonb_each_text(refused) AS x (reason, n)
) AS samples
WHERE value IS NOT NULL;
COMMENT ON VIEW metrics IS 'samples for monitoring: name, type, help, labels and value';
COMMENT ON COLUMN metrics.name IS 'name of the metric';
COMMENT ON COLUMN metrics.type IS 'counter or gauge';
COMMENT ON COLUMN metrics.help IS 'what it says';
COMMENT ON COLUMN metrics.labels IS 'labels of the sample, as an object';
COMMENT ON COLUMN metrics.value IS 'its value';

CREATE FUNCTION trace_ext_internal.metric_labels(labels jsonb) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_metric_labels';
COMMENT ON FUNCTION trace_ext_internal.metric_labels(jsonb) IS 'labels as Prometheus writes them';

CREATE FUNCTION prometheus_metrics() RETURNS SETOF text
    LANGUAGE c VOLATILE ROWS 1000 SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 SET jit = off
    AS 'MODULE_PATHNAME', 'tex_prometheus_metrics';
COMMENT ON FUNCTION prometheus_metrics() IS
    'the view metrics, and of each service counters and a histogram of its latency, in the text format of Prometheus, a line a row; of more than 50 services those with most events, the others as "other"';
