-- Rights by what a role does; nothing to PUBLIC. Roles belong to the cluster,
-- so they may be there already, and DROP EXTENSION leaves them.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['trace_ext_reader', 'trace_ext_writer', 'trace_ext_admin'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;       -- another database, or another session right now, made it
        END;
    END LOOP;
    -- The receiver's, which may send and nothing else. No client can log in as it; a background worker can, for which the limit does not hold.
    BEGIN
        CREATE ROLE trace_ext_receiver LOGIN CONNECTION LIMIT 0 IN ROLE trace_ext_writer;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
    END;
END
$$;

REVOKE ALL ON ALL ROUTINES IN SCHEMA trace_ext, trace_ext_internal FROM PUBLIC;

GRANT USAGE ON SCHEMA trace_ext, trace_ext_internal TO trace_ext_reader, trace_ext_writer, trace_ext_admin;

-- Readers: every table and view, and the functions that only read.
GRANT SELECT ON ALL TABLES IN SCHEMA trace_ext TO trace_ext_reader, trace_ext_admin;
-- Queries of others may tell secrets.
REVOKE SELECT ON cache_kept FROM trace_ext_reader;
-- So is what administrators did theirs to know.
REVOKE SELECT ON admin_log FROM trace_ext_reader;
-- And rules say where secrets are to be looked for.
REVOKE SELECT ON redaction_rules FROM trace_ext_reader;

-- Writers: send events, by any way there is. Triggers do the rest as the owner.
GRANT INSERT ON events TO trace_ext_writer;
GRANT SELECT ON my_ingest_errors TO trace_ext_writer;

-- Who is asked by a router is asked as a reader or more.
GRANT SELECT ON trace_ext_internal.node_calls TO trace_ext_reader, trace_ext_admin;

-- Admins: mend and clear what was sent.
GRANT INSERT, UPDATE, DELETE, TRUNCATE ON events TO trace_ext_admin;
DO $$
BEGIN
    -- A router has none: its partitions are on nodes.
    IF to_regclass('trace_ext.events_default') IS NOT NULL THEN
        GRANT INSERT ON trace_ext.events_default TO trace_ext_writer;
        GRANT INSERT, UPDATE, DELETE, TRUNCATE ON trace_ext.events_default TO trace_ext_admin;
    END IF;
END
$$;
GRANT DELETE, TRUNCATE ON ingest_errors, trace_links, otlp_resources, otlp_scopes TO trace_ext_admin;
GRANT UPDATE ON findings TO trace_ext_admin;
GRANT INSERT, UPDATE, DELETE ON alert_rules, redaction_rules TO trace_ext_admin;
GRANT UPDATE (status, decided_at) ON anomalies TO trace_ext_admin;

-- Types and their operators are of no use to an attacker and needed by all.
DO $$
DECLARE
    f record;
    for_admin constant text[] := ARRAY['fold', 'fold_if_free', 'rebuild_summaries', 'maintain_partitions', 'partition_step',
        'detect', 'detect_step', 'detect_all', 'set_finding_status', 'cache_reset', 'cache_refresh',
        'add_job', 'alter_job', 'drop_job', 'run_job', 'job_fold', 'job_detect', 'job_partitions', 'job_retention', 'job_notify', 'job_cache_refresh', 'job_alerts', 'set_anomaly_status', 'job_baselines', 'job_anomalies', 'job_calls', 'job_watch', 'make_epoch', 'keep_sources', 'insert_again', 'not_stored', 'queued_traces', 'forget_queued', 'read_queues', 'add_node', 'drain_node', 'remove_node', 'node_connections'];
    -- Of those that are not IMMUTABLE; a writer reads nothing of others, and may be told nothing of them.
    for_writer constant text[] := ARRAY['cached', 'cache_keep', 'cache_forget', 'cache_invalidate', 'watch', 'unwatch'];
    for_owner constant text[] := ARRAY['fold_lock', 'fold_deltas', 'require_read_committed', 'count_rows', 'forget_range', 'adopt_partition',
        'reconcile_partitions', 'make_partition', 'make_by_moving', 'make_by_turning', 'move_rows', 'attach_partition', 'partition_table',
        'partition_settings', 'partition_begin', 'default_rows', 'partition_work',
        'partition_name', 'trust_check', 'dump_rows', 'next_partition', 'partition_way', 'free_range', 'waiting_rows', 'waiting_ends',
        'default_partition', 'partition_step_rows', 'most_partitions',
        'comment_default', 'lock_derived', 'event_columns', 'dissolve_partition', 'make_room', 'give_up_name', 'restoring', 'restore_default', 'restores_default', 'partitions_needed', 'keep_finding', 'keep_race_pair', 'keep_ingest_error', 'keep_otlp', 'note_links', 'check_redaction_rule', 'judge_redaction_rule', 'redaction_changed', 'keep_redaction_rule', 'note_truncate', 'forget_all', 'partitions_changed', 'restore_partition',
        'note_event', 'append_deltas', 'pairs_of_traces', 'traces_between', 'traces_that_order', 'rivals_of', 'refresh_findings', 'examine_traces',
        'examine_batch', 'examine_halves', 'first_queued', 'take_detect_queue', 'traces_that_miss_a_parent', 'traces_within', 'traces_that_nest_locks', 'traces_to_compare', 'merge_times', 'sweep_race_pairs', 'fold_all', 'fold_step', 'next_calls', 'take_some_calls', 'take_calls', 'take_calls_if_free', 'forget_calls', 'rebuild_calls', 'calls_needed', 'announce', 'keep_job', 'try_job_lock', 'call_job',
        'judge_job', 'judge_backoff', 'job_due_at', 'follow_owners', 'job_owner', 'no_owner', 'claim_job', 'job_pause', 'finish_job', 'trim_job_runs', 'close_lost_runs', 'caller', 'require_job', 'wake_worker',
        'fold_needed', 'detect_needed', 'retention_excess', 'expired_partition', 'expired_traces', 'traces_of_partition', 'announce_findings', 'notify_due_at',
        'notify_needed', 'notify_payload', 'next_announcement_id', 'keep_announcement',
        'judge_alert_rule', 'keep_alert_rule', 'note_alert_rule', 'remove_alert_rule', 'sample_counts', 'find_services', 'alert_value', 'lately', 'note_transition',
        'trim_alert_history', 'end_lost_alerts', 'evaluate_alert', 'evaluate_alerts', 'alert_due_at', 'alerts_needed', 'wake_for_alerts', 'keep_admin_log', 'caller_restores', 'log_change', 'trim_admin_log', 'cache_wanted', 'cache_refresh_needed', 'know_kept_role', 'roles_with_kept', 'note_kept', 'forget_hours', 'forget_baselines', 'hours_of_rows', 'baseline_step', 'baselines_needed', 'baseline_hours', 'released_beside', 'anomalies_of', 'refresh_anomalies', 'examine_anomalies', 'sweep_anomaly_parts', 'append_stamp', 'note_version', 'take_anomaly_queue', 'anomaly_step', 'anomalies_needed', 'nothing_found_yet', 'keep_anomaly', 'keep_anomaly_part', 'add_up_anomalies', 'watch_row', 'watch_forget', 'judge_watch', 'watch_columns', 'unwatch_table', 'watch_trigger', 'store_watched', 'watch_waiting', 'watch_needed', 'watch_known', 'watch_left', 'traces_apart', 'watched_as', 'log_watch',
        'ask_each', 'nodes_down', 'nodes_to_ask', 'ask_nodes', 'attach_epoch', 'detach_epoch', 'begin_epoch', 'connection_options', 'connect_node', 'make_node_tables', 'judge_node', 'require_node', 'refuse_removed', 'refuse_update', 'refuse_truncate',
        'ask_about', 'calls_over_nodes',
        'load_summaries', 'known_to_miss_a_parent', 'first_known_queued', 'examine_known_traces', 'refresh_known_findings', 'sweep_known_pairs',
        'send_link', 'send_source',
        'command_nodes'];
BEGIN
    FOR f IN SELECT p.oid::regprocedure AS signature, p.proname, p.provolatile = 'i' AND NOT p.prosecdef AS is_pure
               FROM pg_proc p WHERE p.pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace)
    LOOP
        IF f.proname = ANY (for_owner) THEN
            CONTINUE;
        ELSIF f.proname IN ('ingest_events', 'ingest_otlp') THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO trace_ext_writer, trace_ext_admin', f.signature);
        ELSIF f.proname = ANY (for_admin) THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO trace_ext_admin', f.signature);
        ELSIF f.is_pure OR f.proname = ANY (for_writer) THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO trace_ext_reader, trace_ext_writer, trace_ext_admin', f.signature);
        ELSE
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO trace_ext_reader, trace_ext_admin', f.signature);
        END IF;
    END LOOP;
END
$$;

-- A partition that its owner makes or attaches gets a clone of the trigger of a watched table: then he must
-- be allowed to name its function. It can be called as a trigger only, and tells nothing.
GRANT EXECUTE ON FUNCTION trace_ext_internal.watch_row() TO PUBLIC;
