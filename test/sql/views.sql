-- The views that derive: what each shows of a trace of three services.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

CREATE TABLE sent (n int, trace text, span text, upstream text, service text, parent text, kind event_kind, name text, attributes jsonb);
INSERT INTO sent VALUES
    (1, 'a1', 'sp-a', NULL, 'api', NULL, 'HttpRequest', 'POST /pay', '{}'),
    (2, 'a1', 'sp-a', NULL, 'api', '1', 'FunctionCall', 'pay', '{"module": "m"}'),
    (3, 'a1', 'sp-b', 'sp-a', 'bank', '2', 'HttpRequest', 'POST /debit', '{}'),
    (4, 'a1', 'sp-b', 'sp-a', 'bank', '3', 'StateChange', 'balance', '{"access_type": "Read", "new_value": 100, "location": "b.js:1"}'),
    (5, 'a1', 'sp-b', 'sp-a', 'bank', '4', 'StateChange', 'balance', '{"access_type": "AtomicWrite", "old_value": 100, "new_value": {"v": 50}, "location": "b.js:2"}'),
    (6, 'a1', 'sp-b', 'sp-a', 'bank', '5', 'HttpResponse', '500', '{"status": 500}'),
    (7, 'a1', 'sp-q', 'sp-b', 'ledger', '5', 'DatabaseQuery', 'SELECT 1', '{}'),
    (8, 'a1', 'sp-q', 'sp-b', 'ledger', '7', 'DatabaseResult', NULL, '{"rows_affected": 1}'),
    (9, 'a1', 'sp-m', 'sp-a', 'mail', '2', 'AsyncSpawn', 'send', '{}'),
    (10, 'a1', 'sp-m', 'sp-a', 'mail', '9', 'AsyncAwait', 'send', '{}'),
    (11, 'a1', 'sp-s', 'sp-a', 'api', '2', 'Custom', 'same service', '{}'),
    (12, 'a1', 'sp-a', NULL, 'api', '1', 'HttpResponse', '200', '{"status": 200}'),
    (13, 'a2', 'sp-a', NULL, 'api', NULL, 'FunctionCall', 'other trace, same span id', '{}'),
    (14, 'a2', 'sp-b', 'sp-a', 'bank', '99', 'LockAcquire', 'lock', '{}'),
    (15, 'a2', NULL, NULL, NULL, '98', 'MemoryFence', 'SeqCst', NULL),
    (16, 'a2', 'sp-o', 'sp-missing', 'bank', '98', 'Error', 'orphan', NULL),
    (17, 'a2', NULL, NULL, 'cart', NULL, 'StateChange', 'balance', '{"access_type": "Write"}');
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, span_id, upstream_span_id, attributes, lock_set)
SELECT plain.id(trace), plain.id(n::text), plain.id(parent), '2001-02-03 00:00:00+00'::timestamptz + n * interval '1 second', kind, name, service,
       service || '-1', 7, 't1', span, upstream, attributes, CASE WHEN kind = 'StateChange' THEN '{l}'::text[] END
  FROM sent;

SELECT variable, left(trace_id::text, 8) AS trace, left(event_id::text, 8) AS event, "timestamp", service_name, instance_id, process_id, thread_id,
       access_type, old_value, value, location, lock_set
  FROM cross_trace_index ORDER BY "timestamp";
SELECT left(id::text, 8) AS id, left(trace_id::text, 8) AS trace, "timestamp", variable, access_type, old_value, new_value, location, thread_id, service_name
  FROM state_changes ORDER BY "timestamp";
SELECT left(trace_id::text, 8) AS trace, left(from_event_id::text, 8) AS "from", left(to_event_id::text, 8) AS "to", edge_type
  FROM causal_edges ORDER BY to_event_id;
SELECT left(trace_id::text, 8) AS trace, left(root_event_id::text, 8) AS root, "timestamp", name, service_name FROM trace_roots ORDER BY root_event_id;
SELECT left(trace_id::text, 8) AS trace, span_id, service, instance, to_char(first_event, 'MI:SS') AS first, to_char(last_event, 'MI:SS') AS last,
       parent_span_id, name, status
  FROM distributed_spans ORDER BY trace_id, span_id;
SELECT from_span, to_span, link_type, left(trace_id::text, 8) AS trace, to_char(first_event, 'MI:SS') AS first FROM distributed_edges ORDER BY trace_id, first_event;
SELECT * FROM service_calls ORDER BY from_service, to_service, link_type;
SELECT * FROM services ORDER BY service_name;
SELECT * FROM event_counts ORDER BY service_name, kind;
SELECT left(trace_id::text, 8) AS trace, event_count, services, error_count, access_count, root_name, root_service FROM trace_summaries ORDER BY trace_id;

-- An access is found by an index, over all traces.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE FUNCTION uses_index(query text, index text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    line text;
    found boolean := false;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        found := found OR line ~ ('Index.* Scan.* using .*' || index);
    END LOOP;
    RETURN found;
END $$;
SELECT uses_index($$SELECT * FROM trace_ext.cross_trace_index WHERE variable = 'balance' ORDER BY "timestamp"$$, '_name_timestamp_idx') AS by_variable,
       uses_index($$SELECT * FROM trace_ext.events WHERE trace_id = plain.id('a1')$$, '_pkey') AS by_trace;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- Nothing is stored: what changes in events changes there at once.
UPDATE events SET name = 'other' WHERE id = plain.id('4');
DELETE FROM events WHERE id = plain.id('17');
SELECT variable, access_type FROM cross_trace_index ORDER BY "timestamp";
UPDATE events SET attributes = '{"status": 404}' WHERE id = plain.id('6');
SELECT status FROM distributed_spans WHERE trace_id = plain.id('a1') AND span_id = 'sp-b';

SELECT * FROM plain.differences();
SELECT * FROM verify_summaries();
TRUNCATE events;
-- A client whose times step backwards: the request is what the rest hangs under.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, span_id, upstream_span_id, attributes)
SELECT plain.id('a3'), plain.id('a3' || n), plain.id('a3' || parent), '2001-02-03 01:00:00+00'::timestamptz + us * interval '1 us', kind, name, 's', 's-1', span,
       upstream, '{"access_type": "Read"}'
  FROM (VALUES (1, NULL, 0, 'HttpRequest'::event_kind, 'POST /pay', 'x-a', NULL),
               (2, '1', 5000, 'HttpRequest', 'POST /debit', 'x-b', 'x-a'),
               (3, '2', 4300, 'FunctionCall', 'debit', 'x-b', 'x-a'),
               (4, '3', 2000, 'StateChange', 'balance', 'x-b', 'x-a'),
               -- No parents at all.
               (5, NULL, 9000, 'HttpRequest', 'POST /mail', 'x-c', 'x-a'),
               (6, NULL, 8700, 'FunctionCall', 'mail', 'x-c', 'x-a'),
               -- A consumer that calls somebody by HTTP.
               (7, '1', 11000, 'Custom', 'consume', 'x-d', 'x-a'),
               (8, '7', 11001, 'HttpRequest', 'GET /rate', 'x-d', 'x-a')) AS e (n, parent, us, kind, name, span, upstream);
SELECT from_span, to_span, link_type FROM distributed_edges WHERE trace_id = plain.id('a3') ORDER BY to_span;
DELETE FROM events WHERE trace_id = plain.id('a3');

DROP TABLE sent;
DROP FUNCTION uses_index;
DROP SCHEMA plain CASCADE;
