-- demo_router.sql: what "make demo-router" shows before it stops a node.
-- Wanted as variables of psql: where, the directory of the sockets; port.
\set ECHO none
\echo
\echo '1. A router is a database with another extension: CREATE EXTENSION trace_ext_router CASCADE; SELECT add_node(''north'', ''host=... dbname=traces'')'
CREATE EXTENSION trace_ext_router CASCADE;
SET search_path = trace_ext, public;
SELECT add_node(name, format('host=%s/%s port=%s dbname=traces user=postgres', :'where', name, :'port'))
  FROM unnest('{north,east,south}'::text[]) WITH ORDINALITY AS n (name, i) ORDER BY i \g /dev/null
\echo '   SELECT ... FROM nodes'
SELECT name, state, events, traces, version FROM nodes;

\set batch `cat test/data/express-banking.json`
\echo '2. The batch that a client of a small banking service posted goes to the router as it would to a store: SELECT * FROM ingest_events(:''batch'')'
SELECT * FROM ingest_events(:'batch');

\echo '3. A trace is on one node; traces are spread: SELECT name, events, traces FROM nodes'
SELECT name, events, traces FROM nodes;

\echo '4. Counts are sums over the nodes: count_events(), count_traces()'
SELECT count_events() AS events, count_traces() AS traces;

\echo '5. One list, newest first, from all of them; node_of() says where each is: SELECT ... FROM list_traces()'
SELECT left(trace_id::text, 8) AS trace, to_char(first_timestamp AT TIME ZONE 'UTC', 'HH24:MI:SS.MS') AS started, root_name AS request, event_count AS events,
       round(duration_ms::numeric, 1) AS ms, node_of(trace_id, first_timestamp) AS node
  FROM list_traces();

\echo '6. Two requests that raced are on two nodes, and the lost update is named all the same: SELECT ... FROM find_variable_races(''accounts.alice.balance'')'
SELECT node_of(event1_trace_id, event1_timestamp) AS node1, node_of(event2_trace_id, event2_timestamp) AS node2
  FROM find_variable_races('accounts.alice.balance') LIMIT 1 \gset
\pset format wrapped
\pset columns 118
SELECT kind, severity, confidence, :'node1' AS "first access on", :'node2' AS "second access on", evidence
  FROM find_variable_races('accounts.alice.balance') LIMIT 1 \gx
\pset format aligned

\echo '7. The detector runs on the router and keeps its findings there: SELECT detect()'
SELECT detect() AS traces;
SELECT kind, severity, count(*) AS findings, sum(occurrences) AS occurrences FROM findings GROUP BY 1, 2 ORDER BY 2, 1;
