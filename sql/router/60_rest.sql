-- What else the store offers: over nodes where the answer is exact, else refused by name.

-- Ids follow from kind, service and operation, so an anomaly is the same on all nodes.
ALTER TABLE anomalies RENAME TO anomalies_of_nodes;
INSERT INTO trace_ext_internal.shard_tables VALUES ('trace_ext.anomalies_of_nodes', 'trace_ext.anomalies');
CREATE VIEW anomalies AS
SELECT DISTINCT ON (a.id) a.id, a.kind, a.severity, a.service_name, a.operation, sum(a.occurrences) OVER w::bigint AS occurrences,
       min(a.first_seen) OVER w AS first_seen, max(a.last_seen) OVER w AS last_seen, a.sample_trace_id, a.sample_event_id,
       a.actual_ms, a.expected_ms, a.score, a.evidence, a.status, a.decided_at
  FROM trace_ext.anomalies_of_nodes a
WINDOW w AS (PARTITION BY a.id)
 ORDER BY a.id, trace_ext_internal.urgency(a.severity) DESC, a.score DESC NULLS LAST, a.last_seen DESC;
COMMENT ON TABLE anomalies_of_nodes IS 'anomalies that each node found, by its own baselines';
COMMENT ON VIEW anomalies IS 'what is unusual: what nodes found, each by the baselines of its own events, together; set_anomaly_status() decides about a row';

CREATE OR REPLACE FUNCTION set_anomaly_status(id uuid, status text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET trace_ext.node_down = 'error'
    AS $$
BEGIN
    RETURN (SELECT bool_or(a.answer::boolean) FROM trace_ext_internal.ask_nodes(format('SELECT trace_ext.set_anomaly_status(%L::uuid, %L::text)::text', id, status)) a);
END
$$;
-- As a store has it: NULL is no status of an anomaly that there is, and nothing to one that there is not.
CREATE OR REPLACE FUNCTION set_anomaly_status(id uuid, status anomaly_status) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET trace_ext.node_down = 'error'
    AS $$
BEGIN
    RETURN (SELECT bool_or(a.answer::boolean) FROM trace_ext_internal.ask_nodes(format('SELECT trace_ext.set_anomaly_status(%L::uuid, %L::trace_ext.anomaly_status)::text', id, status)) a);
END
$$;

CREATE OR REPLACE FUNCTION verify_summaries()
    RETURNS TABLE (item text, key text, stored jsonb, recomputed jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN QUERY
    SELECT r.row ->> 0, concat_ws(': ', r.node, r.row ->> 1), r.row -> 2, r.row -> 3
      FROM (SELECT a.node, a.answer::jsonb AS row FROM trace_ext_internal.ask_nodes(
            'SELECT jsonb_build_array(v.item, v.key, v.stored, v.recomputed)::text FROM trace_ext.verify_summaries() v') a OFFSET 0) AS r;
END
$$;

-- Beside this transaction, as it needs snapshots of its own.
CREATE FUNCTION trace_ext_internal.command_nodes(command text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    n text;
    dblink_schema constant text := (SELECT quote_ident(s.nspname) FROM pg_extension e JOIN pg_namespace s ON s.oid = e.extnamespace WHERE e.extname = 'dblink');
BEGIN
    FOR n IN SELECT s.name FROM trace_ext_internal.shard_nodes s ORDER BY s.name LOOP
        EXECUTE format('SELECT FROM %s.dblink(%L, %L) AS f (answer text)', dblink_schema, 'trace_ext_' || n, command);
    END LOOP;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.command_nodes(text) IS 'has each node run a command in a transaction of its own, one node after the other';

CREATE OR REPLACE FUNCTION rebuild_summaries() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM trace_ext_internal.command_nodes('SELECT trace_ext.rebuild_summaries()');
END
$$;

CREATE OR REPLACE FUNCTION trace_ext_internal.content_version() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- And what the router itself keeps.
    RETURN (SELECT hashtextextended(string_agg(a.node || ' ' || a.answer, ',' ORDER BY a.node), 0)
              FROM trace_ext_internal.ask_nodes('SELECT trace_ext_internal.content_version()::text') a)
         # (SELECT t.version # coalesce((SELECT bit_xor(d.stamp) FROM trace_ext.version_deltas d), 0) FROM trace_ext.totals t);
END
$$;

CREATE OR REPLACE FUNCTION trace_ext_internal.fold_lag(at timestamptz = clock_timestamp()) RETURNS interval
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, MDY'
    AS $$
BEGIN
    RETURN (SELECT max(a.answer::interval) FROM trace_ext_internal.ask_nodes(format('SELECT trace_ext_internal.fold_lag(%L)::text', at)) a);
END
$$;

--
-- Metrics, with a label of the node where they are a node's
--

ALTER VIEW metrics RENAME TO router_metrics;
ALTER VIEW router_metrics SET SCHEMA trace_ext_internal;
CREATE VIEW metrics AS
WITH node AS MATERIALIZED (
    SELECT n.*, jsonb_build_object('node', n.name) AS label FROM trace_ext_internal.node_states() n
)
SELECT m.name, m.type, m.help, m.labels, m.value FROM trace_ext_internal.router_metrics m
 WHERE m.name NOT IN ('trace_ext_events_bytes', 'trace_ext_events_in_default', 'trace_ext_partitions', 'trace_ext_partitioned_seconds')
UNION ALL SELECT 'trace_ext_node_up', 'gauge', 'Whether the node answers', n.label, (n.state <> 'down')::int FROM node n
UNION ALL SELECT 'trace_ext_node_events', 'gauge', 'Events of the node', n.label, n.events FROM node n WHERE n.events IS NOT NULL
UNION ALL SELECT 'trace_ext_node_traces', 'gauge', 'Traces that the node has events of', n.label, n.traces FROM node n WHERE n.traces IS NOT NULL
UNION ALL SELECT 'trace_ext_node_fold_lag_seconds', 'gauge', 'Time that deltas of the node may have waited', n.label, extract(epoch FROM n.fold_lag) FROM node n WHERE n.fold_lag IS NOT NULL
UNION ALL SELECT 'trace_ext_node_round_trip_seconds', 'gauge', 'How long a call of the node takes that does nothing', n.label, n.round_trip_ms / 1000 FROM node n WHERE n.round_trip_ms IS NOT NULL;
COMMENT ON VIEW metrics IS 'one row a sample for Prometheus: those of the whole, and those of each node with its name as a label';
COMMENT ON COLUMN metrics.name IS 'the metric';
COMMENT ON COLUMN metrics.type IS 'counter or gauge';
COMMENT ON COLUMN metrics.help IS 'what it says';
COMMENT ON COLUMN metrics.labels IS 'labels of the sample, as an object';
COMMENT ON COLUMN metrics.value IS 'its value';

--
-- Jobs: what is a node's, its own workers do
--

DELETE FROM jobs WHERE name IN ('fold', 'calls', 'partitions', 'retention', 'baselines', 'anomalies', 'watch');

CREATE OR REPLACE FUNCTION trace_ext_internal.detect_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT '-infinity'::timestamptz WHERE EXISTS (SELECT FROM trace_ext_internal.shard_nodes) $$;

CREATE OR REPLACE PROCEDURE job_detect(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM trace_ext.detect_queue q WHERE NOT q.waits) THEN
        PERFORM trace_ext_internal.read_queues();
    END IF;
    again := (SELECT s.taken > 0 FROM trace_ext_internal.detect_step('infinity') s);
END
$$;

DO $$
DECLARE
    refused constant jsonb := jsonb_build_object(
        'maintain_partitions', 'each node makes its own partitions',
        'job_partitions', 'each node makes its own partitions',
        'job_fold', 'each node folds what is its own',
        'job_calls', 'each node adds up calls of its own',
        'job_retention', 'each node has its own retention',
        'job_baselines', 'each node has baselines of its own events',
        'job_anomalies', 'each node looks for anomalies in its own events',
        'job_watch', 'tables are watched in the database that they are in, a node or a store',
        'watch', 'tables are watched in the database that they are in, a node or a store',
        'unwatch', 'tables are watched in the database that they are in, a node or a store');
    f record;
BEGIN
    FOR f IN SELECT p.oid, p.proname, p.prokind, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
               FROM pg_proc p WHERE p.pronamespace = 'trace_ext'::regnamespace AND refused ? p.proname LOOP
        EXECUTE format('CREATE OR REPLACE %s trace_ext.%I(%s) %s LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %L',
                       CASE f.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, f.proname, f.arguments, coalesce('RETURNS ' || f.result, ''),
                       format('BEGIN RAISE EXCEPTION %L USING ERRCODE = ''feature_not_supported''; END',
                              format('%s() is not offered by the router: %s', f.proname, refused ->> f.proname)));
        EXECUTE format('COMMENT ON ROUTINE trace_ext.%I(%s) IS %L', f.proname, pg_get_function_identity_arguments(f.oid),
                       'not offered by the router: ' || (refused ->> f.proname));
    END LOOP;
END
$$;

-- What writes down what it finds, or what it is told, does so with all nodes or fails, whatever is asked for.
-- (detect_all() commits on its way, so it can have no setting; all that it calls has.)
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid FROM pg_proc p
              WHERE p.pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace)
                AND p.proname IN ('ingest_events', 'ingest_otlp', 'send_link', 'send_source', 'add_node', 'drain_node', 'remove_node', 'begin_epoch',
                                  'detect', 'detect_step', 'read_queues', 'job_detect', 'job_alerts', 'job_notify',
                                  'evaluate_alerts', 'evaluate_alert', 'sample_counts', 'set_anomaly_status', 'set_finding_status') LOOP
        EXECUTE format('ALTER ROUTINE %s SET trace_ext.node_down = ''error''', f);
    END LOOP;
END
$$;
