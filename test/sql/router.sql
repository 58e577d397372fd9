-- A router over stores, all of them databases of this server: the same answers as of one
-- store with the same events, whatever the nodes, an epoch that begins among the events
-- and a node that is drained.
\set ECHO none
\getenv source PG_ABS_SRCDIR
\set no_workers :source '/no_workers.sql'
\set router_events :source '/router_events.sql'
\set router_answers :source '/router_answers.sql'
\i :no_workers
\set ECHO all
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE trace_ext_n1;
CREATE DATABASE trace_ext_n2;
CREATE DATABASE trace_ext_n3;
CREATE DATABASE trace_ext_router;
\set connection 'port=' :PORT ' user=' :USER ' host=' :HOST ' dbname='
\c trace_ext_n1
CREATE EXTENSION trace_ext;
\c trace_ext_n2
CREATE EXTENSION trace_ext;
\c trace_ext_n3
CREATE EXTENSION trace_ext;

-- One or the other.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION trace_ext_router CASCADE;
\c trace_ext_router
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = iso;
CREATE EXTENSION trace_ext_router CASCADE;
CREATE EXTENSION trace_ext;
SET search_path = trace_ext, public;

\set VERBOSITY terse

-- Without a node there is nothing to ask.
SELECT count_events();
SELECT add_node('N 1', :'connection' || 'trace_ext_n1');
SELECT add_node('n1', 'postgresql://localhost/trace_ext_n1');
SELECT add_node('n0', :'connection' || 'trace_ext_router');
SELECT add_node('n1', :'connection' || 'trace_ext_n1');
SELECT add_node('n1', :'connection' || 'trace_ext_n2');
SELECT add_node('n2', :'connection' || 'trace_ext_n1');
SELECT add_node('n2', :'connection' || 'trace_ext_n2');
SELECT name, state, epochs, events, traces, version = (SELECT extversion FROM pg_extension WHERE extname = 'trace_ext_router') AS same, last_error, round_trip_ms > 0 AS told FROM nodes;

-- Where an event is, anybody can know.
SELECT count(*) FILTER (WHERE node_of(t, now()) = (ARRAY['n1', 'n2'])[1 + r]) AS right, count(*) AS of
  FROM (SELECT t, CASE WHEN satisfies_hash_partition('trace_ext_internal.events_epoch_1'::regclass, 2, 0, t) THEN 0 ELSE 1 END AS r
          FROM (SELECT md5(n::text)::uuid AS t FROM generate_series(1, 1000) n) AS ids) AS x;

-- The same events there and here.
\set ECHO none
\i :router_events
\set ECHO all
\set edge '2026-03-01 10:00:02.02+00'
INSERT INTO events SELECT * FROM sample() WHERE "timestamp" < :'edge';
SELECT add_node('n3', :'connection' || 'trace_ext_n3', '2026-03-01 10:00:01+00');
SELECT add_node('n3', :'connection' || 'trace_ext_n3', :'edge');
SELECT drain_node('n1', '2026-03-01 10:00:03.5+00');
INSERT INTO events SELECT * FROM sample() WHERE "timestamp" >= :'edge';
SELECT drain_node('n2'), drain_node('n3');
-- Again: what is there conflicts, and is left out if that is asked for.
INSERT INTO events SELECT * FROM sample() WHERE trace_id = md5('t7')::uuid;
INSERT INTO events SELECT * FROM sample() ON CONFLICT DO NOTHING;
SELECT name, state, epochs, events, traces FROM nodes;
SELECT epoch, starts_at AT TIME ZONE 'UTC' AS starts_at, nodes FROM trace_ext_internal.shard_epochs ORDER BY epoch;
SELECT cardinality(trace_ext_internal.straddlers()) > 0 AS some_straddle;
SELECT detect();
\set ECHO none
\i :router_answers
\set router :answers
\set ECHO all
\c :home
SET client_min_messages = warning;
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue, trace_ext.trace_links, trace_ext.otlp_resources, trace_ext.otlp_scopes;
\set ECHO none
\i :router_events
\set ECHO all
INSERT INTO trace_ext.events SELECT * FROM public.sample();
SELECT trace_ext.detect();
\set ECHO none
\i :router_answers
\set ECHO all
-- When traces ran, told by keys, is what the view says; of what is not there, nothing; and what the transaction wrote may be of any.
SELECT count(*) > 10 AS some, count(*) FILTER (WHERE t.line IS DISTINCT FROM concat_ws(',', s.trace_id, s.first_timestamp, s.last_timestamp, s.started_at, s.ended_at)) AS others
  FROM trace_ext.trace_summaries s LEFT JOIN LATERAL unnest(trace_ext_internal.times_told(ARRAY[NULL, s.trace_id, md5('none')::uuid])) AS t (line) ON true;
SELECT trace_ext_internal.times_told('{}') AS of_none, trace_ext_internal.times_told(NULL) IS NULL AS of_null;
BEGIN;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (md5('x')::uuid, md5('x')::uuid, '2026-03-01 12:00:00+00', 'Custom');
SELECT count(*) FILTER (WHERE l LIKE ',%,infinity,-infinity') AS of_any, count(*) FILTER (WHERE l LIKE md5('x')::uuid || ',%') AS of_one
  FROM unnest(trace_ext_internal.times_told(ARRAY[md5('x')::uuid])) l;
ROLLBACK;
SELECT s.key AS differs FROM json_each_text(:'answers') s JOIN json_each_text(:'router') r USING (key) WHERE s.value <> r.value;
SELECT count(*) AS questions, count(DISTINCT value) > 30 AS with_answers FROM json_each_text(:'answers');

-- Batches: redelivery is counted, what is refused is kept here.
\c trace_ext_router
SET client_min_messages = warning;
SET search_path = trace_ext, public;
\set VERBOSITY terse
CREATE FUNCTION public.batch(n int) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_agg(jsonb_build_object('id', md5('b' || i)::uuid, 'trace_id', md5('bt' || i % 10)::uuid, 'timestamp', '2026-03-01T11:00:00Z', 'kind', '{"Custom": {"name": "x", "data": {}}}'::jsonb,
                                        'metadata', '{"thread_id": "t", "process_id": 1, "service_name": "s", "environment": "e", "tags": {}}'::jsonb))
      FROM generate_series(1, n) i $$;
SELECT * FROM ingest_events(public.batch(50));
SELECT * FROM ingest_events(public.batch(60) || '[{"id": "none"}]');
SELECT "position", reason FROM ingest_errors;
-- Nodes are asked what is given for each, a query that is NULL not at all; more statements than plans are kept of.
SELECT * FROM trace_ext_internal.ask_each(NULL, NULL);
SELECT * FROM trace_ext_internal.ask_each('{}', '{}');
SELECT * FROM trace_ext_internal.ask_each('{NULL}', '{SELECT NULL}');
SELECT * FROM trace_ext_internal.ask_each('{n2,n3,n2}', ARRAY['SELECT ''a''::text', NULL]);
SELECT count(*), count(DISTINCT a.answer) FROM generate_series(1, 40) i, LATERAL trace_ext_internal.ask_each(array_fill('n2'::text, ARRAY[i]), array_fill('SELECT ' || quote_literal(i) || '::text', ARRAY[i])) a;
-- What a transaction wrote it sees, and takes back.
BEGIN;
DELETE FROM events WHERE "timestamp" >= '2026-03-01 11:00:00+00';
SELECT count_events();
SAVEPOINT a;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (md5('x')::uuid, md5('x')::uuid, '2026-03-01 12:00:00+00', 'Custom');
SELECT count_events(), (SELECT count(*) FROM list_traces(10, search => md5('x')));
ROLLBACK TO a;
SELECT count_events();
ROLLBACK;
SELECT count_events();

-- Refused, in words of ours.
UPDATE events SET trace_id = id;
TRUNCATE events;
BEGIN;
SELECT count(*) FROM events;
PREPARE TRANSACTION 'router';
ROLLBACK;
SELECT watch('pg_class');
CALL maintain_partitions();
SELECT remove_node('n2');
SELECT remove_node('n1');
SELECT remove_node('n9');

-- Nothing is kept of what nodes have, unless it may be old; and it says why.
SELECT * FROM cached('SELECT trace_ext.count_events()') AS c (n bigint);
SELECT * FROM cached('SELECT count(*) FROM trace_ext.events') AS c (n bigint);
SELECT * FROM cached('SELECT count(*) FROM trace_ext.find_variable_races(''v3'')') AS c (n bigint);

-- What a router does not offer says so by its name, with the reason.
CREATE FUNCTION pg_temp.said(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE call;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT p.oid::regprocedure AS refused,
       pg_temp.said(format('%s trace_ext.%I(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.proname,
                           (SELECT string_agg(format('NULL::%s', format_type(a.type, NULL)), ', ' ORDER BY a.n)
                              FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY AS a (type, n)))) AS said
  FROM pg_proc p
 WHERE p.pronamespace = 'trace_ext'::regnamespace AND obj_description(p.oid, 'pg_proc') LIKE 'not offered by the router: %'
 ORDER BY p.proname, 1;
-- All of them are comments of a function that refuses, and nothing else refuses.
SELECT count(*) AS unlike FROM pg_proc p
 WHERE p.pronamespace = 'trace_ext'::regnamespace
   AND (p.prosrc LIKE '%is not offered by the router%') <> coalesce(obj_description(p.oid, 'pg_proc') LIKE 'not offered by the router: %', false);
\set VERBOSITY default
UPDATE events SET trace_id = NULL;
UPDATE events SET "timestamp" = now() WHERE false;
TRUNCATE events;
BEGIN;
DELETE FROM events WHERE trace_id = md5('none')::uuid;
PREPARE TRANSACTION 'refused';
ROLLBACK;
BEGIN;
SELECT count(*) FROM trace_ext.events WHERE trace_id = md5('none')::uuid;
PREPARE TRANSACTION 'refused';
ROLLBACK;
DELETE FROM events WHERE md5(id::text) < '1';
\set VERBOSITY terse

-- One that is empty can leave. Late events of its part are refused.
DELETE FROM events WHERE "timestamp" < '2026-03-01 10:00:03.5+00';
SELECT remove_node('n1');
SELECT name FROM nodes;
INSERT INTO events SELECT * FROM sample() WHERE "timestamp" < :'edge';
SELECT * FROM verify_summaries();
SELECT count_events() = (SELECT count(*) FROM events) AS right;

-- Rights are those of a store; what asks nodes anything is nobody's.
CREATE ROLE router_reader IN ROLE trace_ext_reader;
CREATE ROLE router_writer IN ROLE trace_ext_writer;
SET ROLE router_reader;
SELECT count_events() = (SELECT count(*) FROM trace_ext.events) AS right;
SELECT count(*) FROM trace_ext.list_traces(5);
SELECT count(*) > 0 AS told FROM trace_ext.nodes;
SELECT umoptions FROM pg_user_mappings WHERE srvname LIKE 'trace_ext%' GROUP BY 1;
SELECT * FROM trace_ext.node_connections();
SELECT * FROM trace_ext_internal.ask_nodes('SELECT 1::text');
SELECT * FROM trace_ext_internal.calls_n2;
SELECT trace_ext.add_node('n4', 'host=x');
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (md5('y')::uuid, md5('y')::uuid, '2026-03-01 12:00:00+00', 'Custom');
-- Policies on events count.
SELECT trace_id AS one_trace FROM trace_ext.list_traces(1) \gset
SELECT count(*) > 0 AS told FROM trace_ext.trace_tree(:'one_trace');
RESET ROLE;
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
SET ROLE router_reader;
SELECT count(*) FROM trace_ext.trace_tree(:'one_trace');
RESET ROLE;
ALTER TABLE events DISABLE ROW LEVEL SECURITY;
SET ROLE router_writer;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (md5('y')::uuid, md5('y')::uuid, '2026-03-01 12:00:00+00', 'Custom');
SELECT count(*) FROM trace_ext.events;
RESET ROLE;

-- A node that cannot be reached: named, or left out with a warning that names it.
ALTER SERVER trace_ext_n3 OPTIONS (SET dbname 'trace_ext_nowhere');
\c trace_ext_router
SET client_min_messages = warning;
SET search_path = trace_ext, public;
DO $$ BEGIN PERFORM trace_ext.count_events(); EXCEPTION WHEN connection_exception THEN RAISE WARNING '%', SQLERRM; END $$;
SET trace_ext.node_down = partial;
SELECT count_events() > 0 AS some;
SELECT name, state FROM nodes;
SELECT count(*) > 0 AS some FROM events;
SELECT count(*) > 0 AS some FROM cross_trace_index;
\set VERBOSITY terse
DO $$ BEGIN PERFORM trace_ext.detect(); EXCEPTION WHEN OTHERS THEN RAISE WARNING 'detect() failed'; END $$;
RESET trace_ext.node_down;

\c :home
DROP DATABASE trace_ext_router WITH (FORCE);
DROP DATABASE trace_ext_n1 WITH (FORCE);
DROP DATABASE trace_ext_n2 WITH (FORCE);
DROP DATABASE trace_ext_n3 WITH (FORCE);
DROP ROLE router_reader, router_writer;
DROP FUNCTION public.sample();
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
\set ECHO none
\set workers_back :source '/workers_back.sql'
\i :workers_back
