-- What a user is promised, one short example each.
\set QUIET 1
BEGIN;
SET client_min_messages = warning;
SET LOCAL search_path = public, trace_ext, trace_ext_internal;
SET LOCAL timezone = 'UTC';
TRUNCATE trace_ext.events;
SELECT plan(35);

CREATE FUNCTION pg_temp.event(id int, trace int, at text, kind jsonb, service text = 'api', parent int = NULL) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('id', lpad(id::text, 32, '0'), 'trace_id', lpad(trace::text, 32, '0'), 'parent_id', lpad(parent::text, 32, '0'),
                              'timestamp', '2001-02-03T' || at || 'Z', 'kind', kind, 'metadata', jsonb_build_object('service_name', service))
$$;
CREATE FUNCTION pg_temp.trace(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;

-- An empty store
SELECT is(count_events(), 0::bigint, 'nothing is counted in an empty store');
SELECT is(count_traces(), 0::bigint, 'nor a trace');
SELECT is_empty('SELECT * FROM list_traces()', 'nor listed');

-- Sent once, sent again
CREATE TEMP TABLE batch AS
SELECT jsonb_build_object('events', jsonb_build_array(
    pg_temp.event(1, 1, '10:00:00', '{"HttpRequest": {"method": "POST", "url": "/pay"}}'),
    pg_temp.event(2, 1, '10:00:01', '{"StateChange": {"variable": "balance", "new_value": 1, "access_type": "Write"}}', 'bank', 1),
    pg_temp.event(3, 1, '10:00:02.5', '{"HttpResponse": {"status": 500}}', 'api', 1),
    pg_temp.event(4, 2, '10:00:01', '{"FunctionCall": {"function_name": "f"}}', 'cart'))) AS body;
SELECT results_eq('SELECT i.* FROM batch, ingest_events(body) i', $$VALUES (4::bigint, 0::bigint, 0::bigint)$$, 'a batch goes in');
SELECT results_eq('SELECT i.* FROM batch, ingest_events(body) i', $$VALUES (0::bigint, 4::bigint, 0::bigint)$$, 'once');
SELECT results_eq('SELECT i.* FROM batch, ingest_events(body::text) i', $$VALUES (0::bigint, 4::bigint, 0::bigint)$$, 'by whichever overload');
SELECT is(count_events(), 4::bigint, 'each event counts once');
SELECT is(count_traces(), 2::bigint, 'each trace too');

-- The summary of a trace
SELECT results_eq($$SELECT event_count, duration_ms, services, service_count, error_count, access_count, root_name, root_service
                      FROM trace_summaries WHERE trace_id = pg_temp.trace(1)$$,
    $$VALUES (3::bigint, 2500::double precision, '{api,bank}'::text[], 2, 1::bigint, 1::bigint, 'POST /pay', 'api')$$, 'a summary');
SELECT results_eq('SELECT trace_id, event_count FROM list_traces()',
    $$VALUES (pg_temp.trace(1), 3::bigint), (pg_temp.trace(2), 1::bigint)$$, 'the list is newest first');
SELECT results_eq('SELECT trace_id FROM list_traces(1, 2)', $$VALUES (pg_temp.trace(2))$$, 'by page');
SELECT results_eq($$SELECT trace_id FROM list_traces(before => '2001-02-03 10:00:02.5', before_id => pg_temp.trace(1))$$, $$VALUES (pg_temp.trace(2))$$, 'or by keyset');
SELECT results_eq('SELECT trace_id FROM list_traces(min_events => 2)', $$VALUES (pg_temp.trace(1))$$, 'with enough events');
SELECT results_eq($$SELECT trace_id FROM list_traces(service => 'cart')$$, $$VALUES (pg_temp.trace(2))$$, 'of a service');
SELECT results_eq($$SELECT trace_id FROM list_traces(search => '00000000-0000-0000-0000-000000000002')$$, $$VALUES (pg_temp.trace(2))$$, 'or by its id');
SELECT results_eq($$SELECT service_name, kind::text, event_count, error_count FROM event_counts WHERE service_name = 'api' ORDER BY kind$$,
    $$VALUES ('api', 'HttpRequest', 1::bigint, 0::bigint), ('api', 'HttpResponse', 1, 1)$$, 'counts by hour, service and kind');
SELECT results_eq('SELECT variable, access_type::text, value, service_name FROM cross_trace_index', $$VALUES ('balance', 'Write', '1'::jsonb, 'bank')$$, 'an access');

-- A bad event is refused alone
SELECT results_eq($$SELECT * FROM ingest_events(jsonb_build_array(pg_temp.event(5, 3, '10:00:00', '{"Nonsense": {}}'), pg_temp.event(6, 3, '10:00:00', '"Custom"')))$$,
    $$VALUES (1::bigint, 0::bigint, 1::bigint)$$, 'the other one goes in');
SELECT results_eq('SELECT "position", reason FROM ingest_errors ORDER BY id DESC LIMIT 1',
    $$VALUES (1, 'kind: unknown kind "Nonsense", not one of ' || array_to_string(enum_range(NULL::event_kind), ', '))$$, 'the reason names the field, and what is allowed');
SELECT throws_ok($$SELECT ingest_events('{"spans": []}')$$, '22P02', 'this is not a batch of events', 'what is no batch is an error');

-- Plain SQL writes as well, and all of it stays exact
SELECT lives_ok($$INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (pg_temp.trace(4), pg_temp.trace(1), '2001-02-03 11:00', 'Error')$$, 'INSERT');
SELECT is((SELECT error_count FROM trace_summaries WHERE trace_id = pg_temp.trace(4)), 1::bigint, 'is seen at once');
SAVEPOINT s;
DELETE FROM events WHERE trace_id = pg_temp.trace(1);
SELECT is(count_traces(), 3::bigint, 'so is DELETE');
ROLLBACK TO s;
SELECT is(count_traces(), 4::bigint, 'and its rollback');
UPDATE events SET trace_id = pg_temp.trace(2) WHERE trace_id = pg_temp.trace(4);
SELECT is((SELECT event_count FROM trace_summaries WHERE trace_id = pg_temp.trace(2)), 2::bigint, 'an event moves to another trace');
SELECT is_empty($$SELECT * FROM trace_summaries WHERE trace_id = pg_temp.trace(4)$$, 'its old one is gone');
SELECT is_empty('SELECT * FROM verify_summaries()', 'nothing differs from the events');

-- Folding changes no answer
CREATE TEMP TABLE before AS SELECT * FROM trace_summaries;
SELECT cmp_ok(fold(), '>', 0::bigint, 'deltas are folded');
SELECT is(fold(), 0::bigint, 'once');
SELECT bag_eq('SELECT * FROM trace_summaries', 'SELECT * FROM before', 'summaries are the same');
SELECT bag_eq('SELECT * FROM list_traces()', 'SELECT * FROM before', 'the list too');

-- Repair
DELETE FROM summary_base WHERE trace_id = pg_temp.trace(1);
SELECT isnt_empty('SELECT * FROM verify_summaries()', 'damage is found');
SELECT lives_ok('SELECT rebuild_summaries()', 'and mended');
SELECT is_empty('SELECT * FROM verify_summaries()', 'by a rebuild');
TRUNCATE events;
SELECT results_eq('SELECT count_events(), count_traces(), count(*) FROM list_traces()', $$VALUES (0::bigint, 0::bigint, 0::bigint)$$, 'TRUNCATE empties all');

SELECT * FROM finish(true);
ROLLBACK;
