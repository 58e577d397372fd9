-- What a store and a router answer to the same questions, of the same events: each answer's
-- hash as JSON in :answers. What depends on when it is asked is left out.
SET search_path = trace_ext, public;
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = iso;
-- One in eight, for what is asked of each.
CREATE TEMP TABLE few AS SELECT trace_id FROM trace_summaries WHERE trace_id < '20000000-0000-0000-0000-000000000000';
CREATE TEMP TABLE questions (n int GENERATED ALWAYS AS IDENTITY, question text);
INSERT INTO questions (question) VALUES
    ('SELECT count_events(), count_traces()'),
    ('SELECT * FROM event_counts'),
    ('SELECT hour, service_name, kind, operation, calls, errors, latency::text, writes FROM latencies'),
    ('SELECT service_name, kind, operation, calls, errors, latency::text, writes FROM total_latencies'),
    ('SELECT hour, service_name, kind, calls, errors, latency::text FROM kind_latencies'),
    ('SELECT * FROM services'), ('SELECT * FROM trace_summaries'),
    ('SELECT * FROM list_traces()'), ('SELECT * FROM list_traces(7, 3)'), ('SELECT * FROM list_traces(10, 1, 9, ''svc1'')'),
    ('SELECT * FROM list_traces(20, search => ''a'')'), ('SELECT * FROM list_traces(20, variable => ''v3'')'),
    ('SELECT * FROM list_traces(20, errors_only => true, min_duration_ms => 20)'),
    ('SELECT * FROM list_traces(20, name => ''GET%'', since => ''2026-03-01 10:00:01+00'', until => ''2026-03-01 10:00:02+00'')'),
    ('SELECT l.* FROM (SELECT last_timestamp, trace_id FROM list_traces(5, 4) ORDER BY 1 LIMIT 1) AS k, LATERAL list_traces(5, before => k.last_timestamp, before_id => k.trace_id) l'),
    ('SELECT list_traces_total(), list_traces_total(variable => ''v3''), list_traces_total(service => ''svc1''), list_traces_total(errors_only => true)'),
    ('SELECT t.trace_id, e.* FROM few t, trace_events(t.trace_id) e'),
    ('SELECT t.trace_id, e.* FROM few t, trace_tree(t.trace_id) e'),
    ('SELECT t.trace_id, e.* FROM few t, critical_path(t.trace_id) e'),
    ('SELECT t.trace_id, e.* FROM few t, causal_order(t.trace_id) e'),
    ('SELECT t.trace_id, e.* FROM few t, service_dependencies(t.trace_id) e'),
    ('SELECT t.trace_id, e.* FROM few t, waterfall(t.trace_id) e'),
    ('SELECT t.trace_id, export_otlp(t.trace_id) FROM few t'),
    ('SELECT t.trace_id, trace_svg(t.trace_id) FROM list_traces() t'),
    ('SELECT t.trace_id, e.* FROM few t, find_races(t.trace_id) e'),
    ('SELECT t.trace_id, count_races(t.trace_id) FROM few t'),
    ('SELECT * FROM find_variable_races(''v3'')'), ('SELECT count_variable_races(''w1'')'),
    ('SELECT * FROM find_variable_races(''v1'', ''2026-03-01 10:00:02+00'')'),
    ('SELECT from_service, to_service, link_type, calls, errors FROM service_map(''-infinity'', ''infinity'')'), ('SELECT * FROM service_calls'),
    ('SELECT * FROM system_hotspots(20)'), ('SELECT analyze_global() - ''as_of'''),
    ('SELECT * FROM cross_trace_index'), ('SELECT * FROM causal_edges'), ('SELECT * FROM distributed_spans'), ('SELECT * FROM distributed_edges'),
    ('SELECT id, kind, variable, location1, location2, severity, confidence, occurrences, first_seen, last_seen, event1_id, event2_id, evidence FROM findings'),
    ('SELECT finding_id, trace1, trace2, occurrences FROM race_pairs'),
    ('SELECT * FROM global_races()'), ('SELECT * FROM verify_summaries()');
-- Their rows in any order.
CREATE FUNCTION pg_temp.hash_of(question text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hash text;
BEGIN
    EXECUTE format('SELECT md5(coalesce(string_agg(q::text, E''\n'' ORDER BY q::text COLLATE "C"), '''')) FROM (%s) AS q', question) INTO hash;
    RETURN hash;
END
$$;
SELECT json_object_agg(question, pg_temp.hash_of(question) ORDER BY n) AS answers FROM questions \gset
DROP TABLE questions, few;
