-- demo.sql: what "make demo" shows. To run it again, from the top of the source:
-- use the command that "make demo" ends with, and add -f test/demo.sql
\set ON_ERROR_STOP on
\set QUIET on
\pset footer off
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS trace_ext;
SET search_path = trace_ext, public;

-- What a client of a small banking service posted, byte for byte.
\set batch `cat test/data/express-banking.json`

\echo
\echo '1. Load the batch that a client posted: SELECT * FROM ingest_events(:''batch'')'
SELECT * FROM ingest_events(:'batch');

\echo '2. How much is stored, at the same cost at 100 million events: count_events(), count_traces()'
SELECT count_events() AS events, count_traces() AS traces;

\echo '3. The newest traces, and how long each took: SELECT ... FROM list_traces()'
SELECT left(trace_id::text, 8) AS trace,
       to_char(first_timestamp, 'HH24:MI:SS.MS') AS started,
       root_service AS service,
       root_name AS request,
       event_count AS events,
       access_count AS accesses,
       round(duration_ms::numeric, 1) AS ms,
       repeat('█', ceil(24 * duration_ms / max(duration_ms) OVER ())::int) AS duration
FROM list_traces()
ORDER BY last_timestamp DESC, trace_id DESC;

-- The one with most to show; the first of equals.
SELECT trace_id, root_name
FROM trace_summaries
ORDER BY event_count DESC, first_timestamp LIMIT 1 \gset

\echo '4. One trace,' :root_name', each event after the one that caused it: SELECT ... FROM events'
\echo '   ("step" is the time since the cause; where it is negative, clocks alone would tell it in the wrong order)'
WITH RECURSIVE tree AS (
    SELECT id, kind, name, attributes, "timestamp", 0 AS depth,
           NULL::timestamptz AS caused_at, ARRAY[ROW("timestamp", id)] AS path
    FROM events
    WHERE trace_id = :'trace_id' AND parent_id IS NULL
    UNION ALL
    SELECT e.id, e.kind, e.name, e.attributes, e."timestamp", t.depth + 1,
           t."timestamp", t.path || ROW(e."timestamp", e.id)
    FROM tree t JOIN events e ON e.trace_id = :'trace_id' AND e.parent_id = t.id
)
SELECT row_number() OVER (ORDER BY path) AS "#",
       to_char("timestamp", 'SS.US') AS at,
       round(extract(epoch FROM "timestamp" - caused_at) * 1000, 2) AS step_ms,
       kind,
       name,
       attributes ->> 'access_type' AS access,
       CASE WHEN attributes ? 'old_value' THEN (attributes ->> 'old_value') || ' -> ' ELSE '' END
           || (attributes ->> 'new_value') AS value
FROM tree
ORDER BY path;

\echo '5. The same as a person looks at it: SELECT waterfall(''ID'')'
SELECT waterfall(:'trace_id');

SELECT count_variable_races('accounts.alice.balance') AS races \gset
\echo '6. Which two requests raced on a balance, proved by the values: SELECT ... FROM find_variable_races(''accounts.alice.balance'')'
\echo '   (the first of' :races 'pairs that nothing orders; "count_variable_races" tells how many there are)'
\pset format wrapped
\pset columns 118
SELECT kind, severity, confidence, evidence
FROM find_variable_races('accounts.alice.balance') LIMIT 1 \gx
\pset format aligned

\getenv page PAGE
\if :{?page}
SELECT event1_trace_id AS losing FROM find_variable_races('accounts.alice.balance') LIMIT 1 \gset
\echo '7. The request that lost, as one page to hand to a colleague, for any browser: SELECT trace_html(''ID'')'
SELECT trace_html(:'losing') \g (format=unaligned tuples_only=on) :page
\echo '   written to' :page
\echo
\endif

\echo '8. The same batch once more, as after a lost answer: nothing is stored twice'
-- Two statements: the second sees what the first did.
SELECT * FROM ingest_events(:'batch') \gset
SELECT :inserted AS inserted, :duplicates AS duplicates, :rejected AS rejected,
       count_events() AS events, count_traces() AS traces;

\echo '9. Stored counts and summaries against recomputed ones; a row here would be an error: verify_summaries()'
\pset footer on
SELECT * FROM verify_summaries();

-- In their first moments the workers fold what was sent and make partitions.
DO $$
BEGIN
    FOR i IN 1 .. 100 LOOP
        EXIT WHEN (SELECT worker_state IN ('waiting', 'asleep') AND summary_backlog = 0 FROM status);
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;

\pset footer off
\echo '10. The same question twice, and once more after a write: SELECT ... FROM cached(''SELECT ... FROM event_counts'')'
\echo '   (the second answer is the kept one; the write makes it stale when it commits, and no sooner)'
SELECT 'first' AS asked, n AS "StateChange events" FROM cached('SELECT sum(event_count) FROM event_counts WHERE kind = ''StateChange''') AS t (n numeric);
SELECT 'again' AS asked, n AS "StateChange events" FROM cached('SELECT sum(event_count) FROM event_counts WHERE kind = ''StateChange''') AS t (n numeric);
INSERT INTO events (trace_id, id, "timestamp", kind, name, attributes)
VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'StateChange', 'demo', '{"access_type": "Write"}') RETURNING id \gset
SELECT 'after a write' AS asked, n AS "StateChange events" FROM cached('SELECT sum(event_count) FROM event_counts WHERE kind = ''StateChange''') AS t (n numeric);
-- So that whoever looks around finds what the client sent.
DELETE FROM events WHERE name = 'demo' AND id = :'id';
SELECT 'without it' AS asked, n AS "StateChange events" FROM cached('SELECT sum(event_count) FROM event_counts WHERE kind = ''StateChange''') AS t (n numeric);
SELECT query, row_count, exact, round(cost_ms::numeric, 2) AS cost_ms FROM cache_entries WHERE query LIKE '%event_counts%';
SELECT local_hits, misses, stores FROM cache_stats;

\echo '11. Second act: a table of your own. SELECT watch(''demo_accounts'', ''{balance}'')'
\echo '   (then two sessions pay 10 and 20 at a time, ten times each; each reads the balance, thinks, and writes: test/demo_pay.sql)'
DROP TABLE IF EXISTS public.demo_accounts;
CREATE TABLE public.demo_accounts (id int PRIMARY KEY, balance int);
INSERT INTO public.demo_accounts VALUES (1, 1000), (2, 1000);
SELECT watch('public.demo_accounts', '{balance}') \g /dev/null
\! for i in 10 20; do PGAPPNAME=shop "${BINDIR:+$BINDIR/}psql" -X -q -d demo -v amount=$i -v right=false -c '\o /dev/null' -c 'SELECT pg_sleep(0.2)' -c '\o' $(printf -- '-f test/demo_pay.sql %.0s' 1 2 3 4 5 6 7 8 9 10) & done; wait
SELECT 700 AS should_be, balance AS is FROM public.demo_accounts WHERE id = 1;
-- The workers would do this within seconds; here nobody waits for them.
DO $$
BEGIN
    FOR i IN 1 .. 100 LOOP
        EXIT WHEN NOT trace_ext_internal.watch_waiting();
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;
CALL detect_all() \g /dev/null
\echo '   What was lost, and by whom: SELECT ... FROM findings'
\pset format wrapped
SELECT kind, occurrences, confidence, evidence FROM findings WHERE variable = 'public.demo_accounts[1].balance' AND kind = 'lost update' \gx
\pset format aligned
\echo '12. The cure: UPDATE ... SET balance = balance - 10. The same two sessions, on the second account'
\! for i in 10 20; do PGAPPNAME=shop "${BINDIR:+$BINDIR/}psql" -X -q -d demo -v amount=$i -v right=true -c '\o /dev/null' -c 'SELECT pg_sleep(0.2)' -c '\o' $(printf -- '-f test/demo_pay.sql %.0s' 1 2 3 4 5 6 7 8 9 10) & done; wait
SELECT 700 AS should_be, balance AS is FROM public.demo_accounts WHERE id = 2;
DO $$
BEGIN
    FOR i IN 1 .. 100 LOOP
        EXIT WHEN NOT trace_ext_internal.watch_waiting();
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;
CALL detect_all() \g /dev/null
SELECT count(*) AS findings FROM findings WHERE variable = 'public.demo_accounts[2].balance';
