-- What Grafana's panels take: names and types of columns, edges only between nodes that are there.
SET timezone = 'UTC';
TRUNCATE trace_ext.events, trace_ext.trace_links, trace_ext.otlp_resources, trace_ext.otlp_scopes;
SELECT p.oid::regprocedure AS function, n.name, format_type(n.type, NULL) AS type FROM pg_proc p, unnest(p.proargnames, p.proallargtypes, p.proargmodes) AS n (name, type, mode)
 WHERE p.oid IN ('trace_ext.grafana_trace(uuid)'::regprocedure, 'trace_ext.grafana_nodes(timestamptz, timestamptz)'::regprocedure, 'trace_ext.grafana_edges(timestamptz, timestamptz)'::regprocedure) AND n.mode = 't';
SELECT * FROM trace_ext.grafana_nodes(NULL, NULL);
SELECT * FROM trace_ext.grafana_edges(NULL, NULL);
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns, attributes) VALUES
    (md5('t')::uuid, md5('1')::uuid, NULL, '2026-11-30 12:00:00', 'HttpRequest', 'GET /', 'web', 10000000, NULL),
    (md5('t')::uuid, md5('2')::uuid, md5('1')::uuid, '2026-11-30 12:00:00.001', 'HttpRequest', 'GET /stock', 'stock "<b>"', 5000123, '{"headers": {"a": 1}}'),
    (md5('t')::uuid, md5('3')::uuid, md5('2')::uuid, '2026-11-30 12:00:00.002', 'Error', 'Boom', 'stock "<b>"', NULL, '{"message": "it broke"}'),
    (md5('t')::uuid, md5('4')::uuid, md5('1')::uuid, '2026-11-30 12:00:00.003', 'DatabaseQuery', 'SELECT 1', NULL, 1000, NULL);
\x on
SELECT * FROM trace_ext.grafana_trace(md5('t')::uuid);
\x off
SELECT count(*) FROM trace_ext.grafana_trace(md5('gone')::uuid);
-- Before anything is chosen.
SELECT count(*) FROM trace_ext.grafana_trace('');
SELECT count(*) FROM trace_ext.grafana_trace(NULL::uuid);
SELECT * FROM trace_ext.grafana_nodes(NULL, NULL);
SELECT * FROM trace_ext.grafana_edges(NULL, NULL);
SELECT * FROM trace_ext.grafana_edges('2026-11-30 13:00:00', NULL);
SELECT e.id FROM trace_ext.grafana_edges(NULL, NULL) e WHERE NOT EXISTS (SELECT FROM trace_ext.grafana_nodes(NULL, NULL) n WHERE n.id = e.source) OR NOT EXISTS (SELECT FROM trace_ext.grafana_nodes(NULL, NULL) n WHERE n.id = e.target);
TRUNCATE trace_ext.events;
