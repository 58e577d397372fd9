-- Traces that are long: a chain of 100,000 events, each the parent of the next, and a tree of 20,000.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET client_min_messages = notice;
-- Of what is cancelled, the queries that read are not told.
\set SHOW_CONTEXT never
SET work_mem = '64MB';
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id)
SELECT plain.id('a1'), md5('c' || i)::uuid, md5('c' || nullif(i - 1, 0))::uuid, '2001-01-01 00:00:00+00'::timestamptz + i * interval '1 ms',
       'FunctionCall', 'f' || i % 10, 's' || i % 2, 'i', 't' FROM generate_series(1, 100000) i;
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id, duration_ns)
SELECT plain.id('a2'), md5('t' || i)::uuid, md5('t' || nullif(i / 8, 0))::uuid, '2001-01-02 00:00:00+00'::timestamptz + i * interval '1 ms',
       CASE WHEN i % 4 = 1 THEN 'DatabaseQuery' WHEN i % 1000 = 2 THEN 'Error' ELSE 'FunctionCall' END::event_kind, 'f' || i % 10, 's' || i % 5, 'i', 't' || i % 7, 100000000000 / i
  FROM generate_series(1, 20000) i;
SELECT fold() > 0 AS folded;

SELECT count(*), max(depth), max(ordinal), max(length(label)) < 200 AS short FROM trace_tree(plain.id('a1'), 2000000);
SELECT count(*), max(depth), round(sum(self_ms)) > 0 AS own FROM trace_tree(plain.id('a2'), 200000);
SELECT count(*), max(seq), count(*) FILTER (WHERE cardinality(causes) = 0) AS without_cause FROM causal_order(plain.id('a1'));
SELECT count(*), round(sum(contribution_ms)) AS ms FROM critical_path(plain.id('a1'));
SELECT round(sum(contribution_ms)::numeric, 3) = (SELECT duration_ms FROM trace_summaries WHERE trace_id = plain.id('a2')) AS adds_up FROM critical_path(plain.id('a2'), 1000000);
SELECT * FROM service_dependencies(plain.id('a1'));
SELECT count(*) FROM service_dependencies(plain.id('a2'));
SELECT count(*) > 1000 AS many, max(length(path)) < 2000 AS short FROM compare_traces(plain.id('a1'), plain.id('a2'), 1000000);
SELECT kind, count(*) > 0 AS some FROM trace_anomalies(plain.id('a2'), 100000) GROUP BY kind ORDER BY kind;
SELECT count(*) FROM trace_anomalies(plain.id('a1'));
SELECT jsonb_array_length(d -> 'tree') AS tree, jsonb_array_length(d -> 'critical_path') AS path, d -> 'summary' -> 'event_count' AS events FROM trace_analysis(plain.id('a2')) d;

-- All of it answers a cancel.
SELECT clock_timestamp() AS started \gset
SET statement_timeout = '10 ms';
SELECT count(*) FROM trace_tree(plain.id('a1'), 1000000);
SELECT count(*) FROM causal_order(plain.id('a1'), 1000000);
SELECT count(*) FROM critical_path(plain.id('a1'), 1000000);
SELECT count(*) FROM service_dependencies(plain.id('a1'));
SELECT count(*) FROM compare_traces(plain.id('a1'), plain.id('a1'));
SELECT count(*) FROM trace_anomalies(plain.id('a1'));
SELECT count(*) FROM clock_offsets(plain.id('a1'));
SELECT trace_analysis(plain.id('a1'));
RESET statement_timeout;
SELECT clock_timestamp() - :'started' < interval '8 s' AS soon;
TRUNCATE events;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
