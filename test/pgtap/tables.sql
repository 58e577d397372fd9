-- The contract of tables, views and types: names and types that clients use.
\set QUIET 1
BEGIN;
SET client_min_messages = warning;
SELECT plan(48);

SELECT has_extension('trace_ext');
SELECT has_schema('trace_ext');

-- Types
SELECT enum_has_labels('trace_ext', 'event_kind',
    ARRAY['FunctionCall', 'AsyncSpawn', 'AsyncAwait', 'StateChange', 'LockAcquire', 'LockRelease', 'MemoryFence',
          'HttpRequest', 'HttpResponse', 'DatabaseQuery', 'DatabaseResult', 'Error', 'Custom']);
SELECT enum_has_labels('trace_ext', 'access_type', ARRAY['Read', 'Write', 'AtomicRead', 'AtomicWrite', 'AtomicRMW']);
SELECT enum_has_labels('trace_ext', 'link_type', ARRAY['HttpCall', 'GrpcCall', 'MessageQueue', 'DatabaseQuery', 'Custom']);
SELECT has_type('trace_ext', 'vclock', 'type vclock');
SELECT has_type('trace_ext', 'histogram', 'type histogram');

-- "name type" of all columns of a relation, in their order, on one line.
CREATE FUNCTION pg_temp.columns_of(relation text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(attname || ' ' || replace(format_type(atttypid, atttypmod), 'trace_ext.', ''), ', ' ORDER BY attnum)
      FROM pg_attribute WHERE attrelid = ('trace_ext.' || relation)::regclass AND attnum > 0 AND NOT attisdropped
$$;

SELECT is(pg_temp.columns_of('events'),
    'trace_id uuid, id uuid, parent_id uuid, timestamp timestamp with time zone, kind event_kind, name text, service_name text, '
    'instance_id text, process_id integer, thread_id text, environment text, span_id text, upstream_span_id text, duration_ns bigint, '
    'attributes jsonb, tags jsonb, causality_vector vclock, lock_set text[], stamped_at_end boolean', 'columns of events');
SELECT is(pg_temp.columns_of('cross_trace_index'),
    'variable text, trace_id uuid, event_id uuid, timestamp timestamp with time zone, service_name text, instance_id text, process_id integer, '
    'thread_id text, access_type access_type, old_value jsonb, value jsonb, location text, lock_set text[], new_value jsonb', 'columns of cross_trace_index');
SELECT is(pg_temp.columns_of('trace_summaries'),
    'trace_id uuid, event_count bigint, first_timestamp timestamp with time zone, last_timestamp timestamp with time zone, '
    'duration_ms double precision, services text[], service_count integer, error_count bigint, access_count bigint, root_name text, root_service text, started_at timestamp with time zone, ended_at timestamp with time zone',
    'columns of trace_summaries');
SELECT is(pg_temp.columns_of('event_counts'),
    'hour timestamp with time zone, service_name text, kind event_kind, event_count bigint, error_count bigint', 'columns of event_counts');
SELECT is(pg_temp.columns_of('distributed_spans'),
    'trace_id uuid, span_id text, service text, instance text, first_event timestamp with time zone, last_event timestamp with time zone, '
    'parent_span_id text, name text, status text, service_name text, instance_id text', 'columns of distributed_spans');
SELECT matches(pg_temp.columns_of('distributed_edges'), '^from_span text, to_span text, link_type link_type', 'columns of distributed_edges');
SELECT is(pg_temp.columns_of('ingest_errors'),
    'id bigint, received_at timestamp with time zone, role_name name, position integer, event_id text, trace_id text, reason text, event text',
    'columns of ingest_errors');
SELECT is(pg_temp.columns_of('causal_edges'), 'trace_id uuid, from_event_id uuid, to_event_id uuid, edge_type text', 'columns of causal_edges');
SELECT is(pg_temp.columns_of('trace_roots'),
    'trace_id uuid, root_event_id uuid, timestamp timestamp with time zone, name text, service_name text', 'columns of trace_roots');
SELECT is(pg_temp.columns_of('service_calls'),
    'from_service text, to_service text, link_type link_type, call_count bigint, trace_count bigint, error_count bigint', 'columns of service_calls');
SELECT is(pg_get_function_result('trace_ext.service_map'::regproc),
    'TABLE(from_service text, to_service text, link_type trace_ext.link_type, calls bigint, errors bigint, p50_ms double precision, p95_ms double precision)', 'columns of service_map()');
SELECT has_view('trace_ext', v, 'view ' || v)
  FROM unnest(ARRAY['trace_summaries', 'event_counts', 'causal_edges', 'trace_roots', 'state_changes', 'services', 'service_calls', 'status']) v;
SELECT columns_are('trace_ext', 'status', ARRAY['version', 'events', 'traces', 'summary_backlog', 'count_backlog', 'partitions', 'partitioned_until',
    'events_in_default', 'far_events', 'oldest_far_event', 'newest_far_event', 'partitions_to_make', 'partition_advice', 'traces_to_leave', 'rejected_events', 'last_rejection', 'last_rejection_at', 'refused_by_quota', 'preloaded', 'worker_state', 'worker_advice', 'worker_error',
    'running_jobs', 'fold_lag', 'last_fold', 'last_detection', 'detect_queue', 'detect_lag', 'anomalies_open', 'anomaly_queue', 'baselines_until', 'failing_jobs', 'last_job_error', 'last_job_error_at', 'alerts_firing',
    'cache_state', 'cache_hit_ratio', 'cache_bytes', 'cache_open_failures', 'watched_tables', 'watch_dropped',
    'receiver_state', 'receiver_address', 'receiver_error', 'receiver_connections', 'receiver_bodies', 'receiver_bytes', 'receiver_spans', 'receiver_log_records',
    'receiver_events', 'receiver_rejected', 'receiver_refused', 'receiver_p99']);

SELECT is(pg_temp.columns_of('job_runs'),
    'id bigint, job name, started_at timestamp with time zone, finished_at timestamp with time zone, state run_state, attempt integer, error text', 'columns of job_runs');
SELECT columns_are('trace_ext', 'jobs', ARRAY['name', 'procedure', 'owner', 'owner_id', 'builtin', 'enabled', 'interval', 'timeout', 'max_attempts', 'backoff', 'max_backoff',
    'priority', 'condition', 'next_run', 'attempts', 'runs', 'failures', 'skipped', 'total_time', 'last_started', 'last_duration', 'last_success', 'last_error', 'last_error_at']);
SELECT is(pg_temp.columns_of('alert_rules'),
    'name text, metric text, service text, comparison text, threshold double precision, hold interval, enabled boolean, is_default boolean', 'columns of alert_rules');
SELECT columns_are('trace_ext', 'alerts', ARRAY['name', 'metric', 'service', 'state', 'value', 'comparison', 'threshold', 'hold', 'since', 'true_since', 'enabled',
    'evaluated_at', 'error', 'summary']);
SELECT columns_are('trace_ext', 'alert_history', ARRAY['id', 'name', 'metric', 'service', 'was', 'state', 'at', 'since', 'value', 'comparison', 'threshold', 'reason']);
SELECT is(pg_temp.columns_of('admin_log'),
    'id bigint, at timestamp with time zone, role_name name, logged_in_as name, what text, name text, before jsonb, after jsonb', 'columns of admin_log');
SELECT enum_has_labels('trace_ext', 'alert_state', ARRAY['inactive', 'pending', 'firing', 'resolved']);
SELECT is(pg_temp.columns_of('baseline_metrics'),
    'service_name text, kind event_kind, operation text, count bigint, mean_ms double precision, p50_ms double precision, p95_ms double precision, '
    'p99_ms double precision, computed_at timestamp with time zone, latency histogram', 'columns of baseline_metrics');
SELECT is(pg_temp.columns_of('anomalies'),
    'id uuid, kind text, severity text, service_name text, operation text, occurrences bigint, first_seen timestamp with time zone, last_seen timestamp with time zone, '
    'sample_trace_id uuid, sample_event_id uuid, actual_ms double precision, expected_ms double precision, score double precision, evidence text, '
    'status anomaly_status, decided_at timestamp with time zone', 'columns of anomalies');
SELECT enum_has_labels('trace_ext', 'anomaly_status', ARRAY['open', 'acknowledged', 'ignored', 'resolved']);
SELECT is(pg_temp.columns_of('metrics'), 'name text, type text, help text, labels jsonb, value double precision', 'columns of metrics');

-- events: partitioned by time, one key that finds a trace and makes redelivery harmless
SELECT is((SELECT pg_get_partkeydef('trace_ext.events'::regclass)), 'RANGE ("timestamp")', 'events is partitioned by range of time');
SELECT col_is_pk('trace_ext', 'events', ARRAY['trace_id', 'id', 'timestamp'], 'key of events');
SELECT ok(EXISTS (SELECT FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
                   WHERE inhparent = 'trace_ext.events'::regclass AND pg_get_expr(relpartbound, c.oid) = 'DEFAULT'), 'events has a default partition');
SELECT is((SELECT count(*) FROM pg_index WHERE indrelid = 'trace_ext.events'::regclass), 5::bigint, 'events has few indexes');
SELECT set_eq($$SELECT attname::text FROM pg_attribute WHERE attrelid = 'trace_ext.events'::regclass AND attnum > 0 AND attnotnull$$,
    ARRAY['trace_id', 'id', 'timestamp', 'kind'], 'what an event must have');

-- Restore: what clients sent is dumped, what derives from it is rebuilt
CREATE FUNCTION pg_temp.dumped() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'trace_ext'
$$;
SELECT set_has('SELECT pg_temp.dumped()', $$VALUES ('trace_ext.events_default'), ('trace_ext.ingest_errors'), ('trace_ext.ingest_errors_id_seq'),
    ('trace_ext.alert_rules'), ('trace_ext.alert_rules_removed'), ('trace_ext.admin_log'), ('trace_ext.admin_log_id_seq'), ('trace_ext.anomalies'), ('trace_ext.anomaly_parts'),
    ('trace_ext.trace_links'), ('trace_ext.otlp_resources'), ('trace_ext.otlp_scopes')$$, 'what a dump contains');
SELECT set_hasnt('SELECT pg_temp.dumped()', $$VALUES ('trace_ext.summary_base'), ('trace_ext.summary_deltas'), ('trace_ext.count_base'), ('trace_ext.count_deltas'),
    ('trace_ext.version_deltas'), ('trace_ext.service_traces'),
    ('trace_ext.totals'), ('trace_ext.partitions'), ('trace_ext.baseline_metrics'), ('trace_ext.baseline_state'), ('trace_ext.anomaly_queue')$$, 'and what it does not');

-- Every table and view, and every column of those that users read, says what it is.
SELECT is_empty($$SELECT relname FROM pg_class WHERE relnamespace = 'trace_ext'::regnamespace AND relkind IN ('r', 'p', 'v')
                     AND obj_description(oid, 'pg_class') IS NULL$$, 'every table and view has a comment');
SELECT is_empty($$SELECT attrelid::regclass, attname FROM pg_attribute
                   WHERE attrelid IN ('trace_ext.trace_summaries'::regclass, 'trace_ext.event_counts'::regclass, 'trace_ext.status'::regclass,
                                      'trace_ext.ingest_errors'::regclass, 'trace_ext.partitions'::regclass, 'trace_ext.alert_rules'::regclass,
                                      'trace_ext.baseline_metrics'::regclass, 'trace_ext.anomalies'::regclass,
                                      'trace_ext.alerts'::regclass, 'trace_ext.alert_history'::regclass, 'trace_ext.admin_log'::regclass,
                                      'trace_ext.trace_links'::regclass, 'trace_ext.otlp_resources'::regclass, 'trace_ext.otlp_scopes'::regclass)
                     AND attnum > 0 AND col_description(attrelid, attnum) IS NULL$$, 'every column of them has a comment');
SELECT is_empty($$SELECT typname FROM pg_type WHERE typnamespace = 'trace_ext'::regnamespace AND typrelid = 0 AND typcategory <> 'A'
                     AND obj_description(oid, 'pg_type') IS NULL$$, 'every type has a comment');

SELECT * FROM finish(true);
ROLLBACK;
