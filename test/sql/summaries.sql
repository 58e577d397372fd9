-- trace_summaries: late roots, moves, deletes, savepoints; folded and not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

CREATE PROCEDURE put(trace text, id text, parent text, at text, kind event_kind = 'Custom', name text = NULL, service text = NULL, attributes jsonb = NULL)
LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, attributes)
    VALUES (plain.id(trace), plain.id(id), plain.id(parent), ('2001-02-03 ' || at || '+00')::timestamptz, kind, name, service, attributes)
$$;
-- What is seen, before a fold and after it: the same.
CREATE VIEW seen AS
SELECT left(trace_id::text, 8) AS trace, event_count AS events, to_char(first_timestamp, 'HH24:MI:SS.US') AS first, to_char(last_timestamp, 'HH24:MI:SS.US') AS last,
       duration_ms, services, service_count AS n, error_count AS errors, access_count AS accesses, root_name, root_service
  FROM trace_summaries ORDER BY trace_id;

--
-- The root arrives late; of several roots the first counts
--
CALL put('a1', '2', '1', '10:00:01', 'StateChange', 'x', 'bank', '{"access_type": "Read"}');
SELECT * FROM seen;
CALL put('a1', '3', '1', '10:00:00.5', 'Error', 'no', 'cart');
CALL plain.fold();
CALL put('a1', '1', NULL, '10:00:00', 'HttpRequest', 'GET /', 'api');
SELECT * FROM seen;
CALL plain.fold();
SELECT * FROM seen;
-- A later root changes nothing, an earlier one does, one at the same instant by its id.
CALL put('a1', '9', NULL, '10:00:02', 'Custom', 'later', 'later');
SELECT root_name, root_service FROM seen;
CALL put('a1', '8', NULL, '09:59:59', 'Custom', 'earlier', NULL);
SELECT root_name, root_service FROM seen;
CALL plain.fold();
CALL put('a1', '7', NULL, '09:59:59', 'Custom', NULL, 'smaller id');
SELECT root_name, root_service FROM seen;
CALL plain.fold();
SELECT root_name, root_service FROM seen;
SELECT * FROM plain.differences();
DELETE FROM events WHERE id IN (plain.id('7'), plain.id('8'));
SELECT root_name, root_service FROM seen;
CALL plain.fold();
SELECT root_name, root_service FROM seen;
-- It stops being a root, and becomes one again.
UPDATE events SET parent_id = plain.id('0') WHERE parent_id IS NULL;
SELECT root_name, root_service FROM seen;
CALL plain.fold();
UPDATE events SET parent_id = NULL WHERE id = plain.id('3');
SELECT * FROM seen;
SELECT * FROM plain.differences();

--
-- Errors: of the server, not of the client
--
TRUNCATE events;
SELECT kind, attributes, is_error(kind, attributes), is_error(kind, attributes) = plain.is_error(kind, attributes) AS as_expected
  FROM (VALUES ('Error'::event_kind, NULL), ('Error', '{}'), ('HttpResponse', NULL), ('HttpResponse', '{}'), ('HttpResponse', '{"status": 499}'),
               ('HttpResponse', '{"status": 499.5}'), ('HttpResponse', '{"status": 500}'), ('HttpResponse', '{"status": 5e2}'), ('HttpResponse', '{"status": 599}'),
               ('HttpResponse', '{"status": 1e100}'), ('HttpResponse', '{"status": -500}'), ('HttpResponse', '{"status": "500"}'), ('HttpResponse', '{"status": null}'),
               ('HttpResponse', '{"status": [500]}'), ('HttpResponse', '[500]'), ('HttpResponse', '500'), ('HttpRequest', '{"status": 500}'), ('Custom', '{"status": 500}')) v (kind, a),
       LATERAL (SELECT a::jsonb) j (attributes);
SELECT is_error(NULL, '{}'), is_error(NULL, NULL);
CALL put('a1', '1', NULL, '10:00:00', 'HttpResponse', '200', 'api', '{"status": 200}');
SELECT events, errors FROM seen;
UPDATE events SET attributes = '{"status": 502}';
SELECT events, errors FROM seen;
SELECT event_count, error_count FROM event_counts;
CALL plain.fold();
UPDATE events SET attributes = '{"status": 404}';
SELECT events, errors FROM seen;
SELECT event_count, error_count FROM event_counts;
SELECT * FROM plain.differences();

--
-- Services: distinct, ascending, never NULL
--
TRUNCATE events;
CALL put('a1', '1', NULL, '10:00:00');
SELECT services, n FROM seen;
CALL put('a1', '2', '1', '10:00:01', 'Custom', NULL, 'm');
CALL put('a1', '3', '1', '10:00:02', 'Custom', NULL, 'a');
CALL plain.fold();
CALL put('a1', '4', '1', '10:00:03', 'Custom', NULL, 'z');
CALL put('a1', '5', '1', '10:00:04', 'Custom', NULL, 'm');
CALL put('a1', '6', '1', '10:00:04', 'Custom', NULL, '');
SELECT services, n FROM seen;
CALL plain.fold();
SELECT services, n FROM seen;
DELETE FROM events WHERE service_name = 'a' OR id = plain.id('5');
SELECT services, n FROM seen;
UPDATE events SET service_name = 'k' WHERE service_name = 'z';
SELECT services, n FROM seen;
INSERT INTO events (trace_id, id, "timestamp", kind, service_name)
SELECT plain.id('a2'), plain.id(i::text), '2001-02-03+00', 'Custom', 's' || lpad((i * 37 % 100)::text, 3, '0') FROM generate_series(1, 1000) i;
SELECT n, services[1], services[100] FROM seen WHERE trace = '000000a2';
SELECT * FROM plain.differences();

--
-- Duration: of one event none; microseconds; across years
--
TRUNCATE events;
CALL put('a1', '1', NULL, '10:00:00');
SELECT duration_ms FROM seen;
CALL put('a1', '2', '1', '10:00:00.000001');
SELECT duration_ms FROM seen;
CALL put('a1', '3', '1', '10:01:00.1234');
SELECT duration_ms FROM seen;
UPDATE events SET "timestamp" = "timestamp" + interval '10 years' WHERE id = plain.id('3');
SELECT duration_ms FROM seen;
SELECT * FROM plain.differences();

--
-- The first, the last, the root and then every event goes
--
TRUNCATE events;
CALL put('a1', '1', NULL, '10:00:00', 'HttpRequest', 'root', 'api');
CALL put('a1', '2', '1', '10:00:01', 'Custom', NULL, 'bank');
CALL put('a1', '3', '1', '10:00:02', 'Custom', NULL, 'cart');
CALL put('a1', '4', '1', '10:00:03', 'Custom', NULL, 'cart');
CALL put('a1', '5', '1', '09:00:00', 'Custom', NULL, 'cart');
CALL plain.fold();
DELETE FROM events WHERE id = plain.id('5');        -- first
SELECT * FROM seen;
DELETE FROM events WHERE id = plain.id('4');        -- last
SELECT * FROM seen;
CALL plain.fold();
DELETE FROM events WHERE id = plain.id('1');        -- root
SELECT * FROM seen;
DELETE FROM events;
SELECT * FROM seen;
SELECT count_events(), count_traces(), (SELECT count(*) FROM list_traces()) AS listed;
-- It comes again before a fold has seen that it was gone.
CALL put('a1', '1', NULL, '11:00:00', 'Custom', 'again', 'api');
SELECT * FROM seen;
SELECT count_events(), count_traces(), (SELECT count(*) FROM list_traces()) AS listed;
CALL plain.fold();
SELECT * FROM seen;
-- Gone and back in one statement, and in one transaction.
WITH gone AS (DELETE FROM events RETURNING *)
INSERT INTO events (trace_id, id, "timestamp", kind, name) SELECT trace_id, plain.id('2'), "timestamp", kind, 'exchanged' FROM gone;
SELECT * FROM seen;
BEGIN;
DELETE FROM events;
CALL put('a1', '3', NULL, '12:00:00', 'Custom', 'in one transaction');
SELECT * FROM seen;
COMMIT;
SELECT * FROM seen;
SELECT * FROM plain.differences();

--
-- An event moves to another trace
--
TRUNCATE events;
CALL put('a1', '1', NULL, '10:00:00', 'HttpRequest', 'one', 'api');
CALL put('a1', '2', '1', '10:00:05', 'StateChange', 'x', 'bank', '{"access_type": "Write"}');
CALL put('a2', '1', NULL, '10:00:01', 'HttpRequest', 'two', 'cart');
CALL plain.fold();
UPDATE events SET trace_id = plain.id('a2') WHERE id = plain.id('2');
SELECT * FROM seen;
UPDATE events SET trace_id = plain.id('a3');        -- all of both to a third
SELECT * FROM seen;
SELECT count_traces();
CALL plain.fold();
SELECT * FROM seen;
UPDATE events SET id = plain.id('0'), "timestamp" = "timestamp" - interval '1 day' WHERE name = 'two';
SELECT * FROM seen;
SELECT * FROM plain.differences();

--
-- Savepoints and rollback: a delta is a row, it goes with them
--
TRUNCATE events;
CALL put('a1', '1', NULL, '10:00:00', 'HttpRequest', 'root', 'api');
BEGIN;
CALL put('a1', '2', '1', '10:00:01');
SAVEPOINT one;
CALL put('a1', '3', '1', '10:00:02');
CALL put('a2', '1', NULL, '10:00:00');
SAVEPOINT two;
DELETE FROM events WHERE trace_id = plain.id('a1');
SELECT trace, events FROM seen;
ROLLBACK TO two;
SELECT trace, events FROM seen;
SELECT * FROM plain.differences();
CALL plain.fold();
CALL put('a2', '2', '1', '10:00:03');
SELECT trace, events FROM seen;
ROLLBACK TO one;
SELECT trace, events FROM seen;
SELECT count_events(), count_traces(), (SELECT count(*) FROM list_traces()) AS listed;
RELEASE one;
COMMIT;
SELECT trace, events FROM seen;
BEGIN;
DELETE FROM events;
CALL plain.fold();
SELECT * FROM seen;
ROLLBACK;
SELECT trace, events FROM seen;
SELECT * FROM plain.differences();
-- A cursor goes on in its own snapshot.
BEGIN;
DECLARE c CURSOR FOR SELECT trace, events FROM seen;
DECLARE n CURSOR FOR SELECT count_events(), count_traces(), l.event_count FROM list_traces() l;
CALL put('a1', '4', '1', '10:00:04');
CALL plain.fold();
CALL put('a3', '1', NULL, '10:00:04');
FETCH ALL FROM c;
FETCH ALL FROM n;
SELECT trace, events FROM seen;
COMMIT;

--
-- More traces in one statement than are kept in memory until its end
--
TRUNCATE events;
INSERT INTO events (trace_id, id, "timestamp", kind, service_name)
SELECT plain.id(to_hex(i % 25000)), plain.id(i::text), '2001-02-03+00'::timestamptz + i * interval '1 second', 'Custom', 's' || i % 5
  FROM generate_series(1, 50000) i;
SELECT count_events(), count_traces(), (SELECT sum(event_count) FROM trace_summaries) AS in_summaries;
SELECT * FROM verify_summaries();
BEGIN;
DELETE FROM events WHERE id < plain.id('30000');
SELECT count_events() = (SELECT count(*) FROM events) AS events_exact, count_traces() = (SELECT count(DISTINCT trace_id) FROM events) AS traces_exact;
ROLLBACK;
SELECT * FROM verify_summaries();

--
-- verify_summaries() finds what is wrong, rebuild_summaries() mends it
--
TRUNCATE events;
CALL put('a1', '1', NULL, '10:00:00', 'HttpRequest', 'root', 'api');
CALL put('a2', '1', NULL, '10:00:00', 'HttpRequest', 'root', 'api');
CALL plain.fold();
UPDATE trace_ext.summary_base SET event_count = 7 WHERE trace_id = plain.id('a1');
DELETE FROM trace_ext.summary_base WHERE trace_id = plain.id('a2');
UPDATE trace_ext.count_base SET error_count = 1;
UPDATE trace_ext.totals SET event_count = event_count + 1, trace_count = trace_count + 2;
INSERT INTO trace_ext.count_deltas VALUES ('2001-02-03 10:00:00+00', 'api', 'Custom', 'x', 1, 0, 0);
SELECT item, key, CASE jsonb_typeof(stored) WHEN 'object' THEN stored -> 'event_count' ELSE stored END AS stored,
       CASE jsonb_typeof(recomputed) WHEN 'object' THEN recomputed -> 'event_count' ELSE recomputed END AS recomputed
  FROM verify_summaries() ORDER BY 1, 2;
SELECT DISTINCT what FROM plain.differences() ORDER BY 1;
SELECT rebuild_summaries();
SELECT * FROM verify_summaries();
SELECT * FROM plain.differences();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM plain.outcome('SELECT trace_ext.rebuild_summaries()');
ROLLBACK;

SELECT * FROM verify_summaries();
TRUNCATE events;
DROP VIEW seen;
DROP PROCEDURE put;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
