-- ingest_events(): batches as clients post them, delivered once and again.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set captured :abs_srcdir '/data/express-banking.json'
\set ECHO none
\i :plain
\set ECHO all

--
-- What a real client sent
--
CREATE TABLE batch AS SELECT pg_read_file(:'captured') AS body;
SELECT i.* FROM batch, ingest_events(body) i;
SELECT count_events(), count_traces();
SELECT * FROM plain.differences();

-- Each event is in its row, and nothing of it is lost.
CREATE VIEW sent AS
SELECT e FROM batch, jsonb_array_elements(body::jsonb -> 'events') e;
SELECT kind, count(*) FROM events GROUP BY kind ORDER BY kind;
SELECT k AS sent, count(*) FROM sent, jsonb_object_keys(e -> 'kind') k GROUP BY k ORDER BY k;
SELECT count(*) AS not_as_sent
  FROM sent
  LEFT JOIN events s ON s.id = (e ->> 'id')::uuid AND s.trace_id = (e ->> 'trace_id')::uuid
 WHERE (s.parent_id, s."timestamp", s.kind::text, s.service_name, s.instance_id, s.process_id, s.thread_id,
        s.environment, s.span_id, s.upstream_span_id, s.duration_ns, s.tags, s.causality_vector::jsonb, to_jsonb(s.lock_set))
       IS DISTINCT FROM
       ((e ->> 'parent_id')::uuid, (e ->> 'timestamp')::timestamptz, (SELECT k FROM jsonb_object_keys(e -> 'kind') k),
        e #>> '{metadata,service_name}', e #>> '{metadata,instance_id}', (e #>> '{metadata,process_id}')::int,
        e #>> '{metadata,thread_id}', e #>> '{metadata,environment}', e #>> '{metadata,distributed_span_id}',
        e #>> '{metadata,upstream_span_id}', (e #>> '{metadata,duration_ns}')::bigint, e #> '{metadata,tags}',
        (SELECT coalesce(jsonb_object_agg(c ->> 0, c -> 1), '{}') FROM jsonb_array_elements(e -> 'causality_vector') c),
        e -> 'lock_set');
-- The fields of the kind are in name and attributes.
SELECT count(*) AS not_as_sent
  FROM sent
  JOIN events s ON s.id = (e ->> 'id')::uuid AND s.trace_id = (e ->> 'trace_id')::uuid
 CROSS JOIN LATERAL (SELECT e -> 'kind' -> s.kind::text AS fields) f
 WHERE fields IS DISTINCT FROM
       CASE s.kind
           WHEN 'StateChange'  THEN s.attributes || jsonb_build_object('variable', s.name)
           WHEN 'HttpRequest'  THEN s.attributes || jsonb_build_object('method', split_part(s.name, ' ', 1), 'url', split_part(s.name, ' ', 2))
           WHEN 'HttpResponse' THEN s.attributes
           WHEN 'FunctionCall' THEN s.attributes || jsonb_build_object('function_name', s.name)
       END;

--
-- Redelivery changes nothing, whole, in part, bare or as jsonb
--
CREATE TABLE before_redelivery AS SELECT * FROM trace_summaries;
SELECT i.* FROM batch, ingest_events(body) i;
SELECT i.* FROM batch, ingest_events(body::jsonb) i;
SELECT i.* FROM batch, ingest_events(body::jsonb -> 'events') i;
SELECT i.* FROM batch, ingest_events((body::jsonb -> 'events')::text) i;
SELECT i.* FROM batch, ingest_events(jsonb_build_array(body::jsonb -> 'events' -> 0, body::jsonb -> 'events' -> 0)) i;
(SELECT * FROM trace_summaries EXCEPT ALL SELECT * FROM before_redelivery)
UNION ALL
(SELECT * FROM before_redelivery EXCEPT ALL SELECT * FROM trace_summaries);
SELECT * FROM plain.differences();

-- Half of it was there: the rest goes in, by both overloads.
DELETE FROM events WHERE kind = 'StateChange' AND attributes ->> 'access_type' = 'Read';
SELECT count_events() AS left_over;
SELECT i.* FROM batch, ingest_events(body) i;
DELETE FROM events WHERE kind = 'StateChange' AND attributes ->> 'access_type' = 'Write';
SELECT i.* FROM batch, ingest_events(body::jsonb) i;
SELECT * FROM plain.differences();
(SELECT * FROM trace_summaries EXCEPT ALL SELECT * FROM before_redelivery)
UNION ALL
(SELECT * FROM before_redelivery EXCEPT ALL SELECT * FROM trace_summaries);

--
-- Shapes of a batch
--
TRUNCATE events;
CREATE FUNCTION event(id text, trace text = 'a1', kind text = '"Custom"', rest text = '') RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format('{"id": "%s", "trace_id": "%s", "timestamp": "2001-02-03T04:05:06.000007Z", "kind": %s%s}',
                  plain.id(id), plain.id(trace), kind, rest)
$$;
SELECT * FROM ingest_events('{"events": []}');
SELECT * FROM ingest_events('[]');
SELECT * FROM ingest_events('[]'::jsonb);
SELECT * FROM ingest_events(E' \n\t{ "events" :[\r\n] } \n');
SELECT * FROM ingest_events('{"source": "sdk", "n": [1, {"events": 2}], "events": [' || event('1') || '], "more": null}');
SELECT * FROM ingest_events('[' || event('2') || ', ' || event('3') || ']');
-- Twice the same in one batch: the second is a duplicate. The same id in another trace, or at another time, is another event.
SELECT * FROM ingest_events('[' || event('4') || ',' || event('4') || ',' || event('4', 'a2') || ','
                            || replace(event('4'), '000007Z', '000008Z') || ']');
SELECT trace_id, id, "timestamp" AT TIME ZONE 'UTC' AS utc FROM events ORDER BY 1, 2, 3;
-- A prepared statement sends text as well.
PREPARE send AS SELECT * FROM ingest_events($1);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'send';
EXECUTE send('[]');
DEALLOCATE send;
-- NULL is no batch: nothing happens.
SELECT * FROM ingest_events(NULL::jsonb);
SELECT * FROM ingest_events(NULL::text);

--
-- Kinds: what becomes the name, what stays in attributes
--
TRUNCATE events;
CREATE TABLE kinds (n int GENERATED ALWAYS AS IDENTITY, kind text);
INSERT INTO kinds (kind) VALUES
    ('{"FunctionCall": {"function_name": "f", "module": "m", "args": [1, {"a": null}], "file": "f.js", "line": 7}}'),
    ('{"StateChange": {"variable": "x", "old_value": null, "new_value": {"b": 1}, "location": "f.js:1", "access_type": "AtomicRMW"}}'),
    ('{"LockAcquire": {"lock_id": "l", "lock_type": "Mutex", "location": "f.js:2"}}'),
    ('{"LockRelease": {"lock_id": "l", "lock_type": "Mutex", "location": "f.js:3"}}'),
    ('{"HttpRequest": {"method": "GET", "url": "/a?b=c d", "headers": {"h": "1"}, "body": null}}'),
    ('{"HttpRequest": {"url": "/only"}}'),
    ('{"HttpResponse": {"status": 503, "headers": {}, "body": {"e": 1}, "duration_ms": 4}}'),
    ('{"DatabaseQuery": {"query": "SELECT 1", "database": "d", "duration_ms": 1.5}}'),
    ('{"DatabaseResult": {"rows_affected": 3}}'),
    ('{"AsyncSpawn": {"task_id": "t", "spawned_by": "main"}}'),
    ('{"AsyncAwait": {"future_id": "t", "awaited_at": "f.js:4"}}'),
    ('{"MemoryFence": {"ordering": "SeqCst", "location": "f.js:5"}}'),
    ('{"Error": {"error_type": "TypeError", "message": "no", "stack_trace": ["a", "b"]}}'),
    ('{"Custom": {"name": "c", "data": {"x": [1, 2]}}}'),
    ('{"Custom": null}'), ('{"Custom": {}}'), ('"Custom"'), ('{"Custom": {"unknown": true}}');
SELECT i.* FROM (SELECT json_build_object('events', json_agg(event(n::text, 'a1', kind)::json))::text AS body FROM kinds) b, ingest_events(body) i;
SELECT kind, name, attributes FROM events ORDER BY id;
-- jsonb gives the same rows.
CREATE TABLE by_text AS SELECT * FROM events;
TRUNCATE events;
SELECT i.* FROM (SELECT jsonb_build_object('events', jsonb_agg(event(n::text, 'a1', kind)::jsonb)) AS body FROM kinds) b, ingest_events(body) i;
(SELECT * FROM events EXCEPT SELECT * FROM by_text) UNION ALL (SELECT * FROM by_text EXCEPT SELECT * FROM events);
SELECT * FROM plain.differences();

--
-- Ids and times as they come
--
TRUNCATE events;
CREATE TABLE forms (n int GENERATED ALWAYS AS IDENTITY, field text, value text);
INSERT INTO forms (field, value) VALUES
    ('trace_id', 'ABCDEFAB-CDEF-ABCD-EFAB-CDEFABCDEFAB'), ('trace_id', 'abcdefabcdefabcdefabcdefabcdefab'),
    ('trace_id', 'AbCdEfAbCdEfAbCdEfAbCdEfAbCdEfAb'), ('parent_id', 'ABCDEFABCDEFABCDEFABCDEFABCDEFAB'),
    ('timestamp', '2001-02-03T04:05:06Z'), ('timestamp', '2001-02-03T04:05:06.5Z'),
    ('timestamp', '2001-02-03t04:05:06.123456z'), ('timestamp', '2001-02-03 04:05:06.123456+00:00'),
    ('timestamp', '2001-02-03T04:05:06.123456789Z'), ('timestamp', '2001-02-03T04:05:06.1234567899999Z'),
    ('timestamp', '2001-02-03T04:05:06.000000001Z'),
    ('timestamp', '2001-02-03T04:05:06+05:30'), ('timestamp', '2001-02-03T04:05:06-0800'),
    ('timestamp', '2001-02-03T04:05:06+02'), ('timestamp', '2001-12-31T23:59:60Z'), ('timestamp', '1998-12-31T23:59:60.5+00:00'),
    ('timestamp', '2000-02-29T23:59:59.999999Z'), ('timestamp', '0001-01-01T00:00:00Z'), ('timestamp', '9999-12-31T23:59:59.999999Z');
SELECT i.*
  FROM (SELECT jsonb_agg(event(n::text)::jsonb || jsonb_build_object(field, value))::text AS body FROM forms) b, ingest_events(body) i;
SELECT f.value, CASE field WHEN 'trace_id' THEN trace_id::text WHEN 'parent_id' THEN parent_id::text
                           ELSE to_char("timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') END AS stored, attributes
  FROM forms f JOIN events ON id = plain.id(n::text) ORDER BY n;
SELECT * FROM plain.differences();

--
-- Everything but ids, time and kind may be missing or null
--
TRUNCATE events;
SELECT * FROM ingest_events('[' || event('1') || ', ' || event('2', 'a1', '"Custom"', ', "parent_id": null, "metadata": null, "causality_vector": null, "lock_set": null')
    || ', ' || event('3', 'a1', '"Custom"', ', "metadata": {"service_name": null, "process_id": null, "duration_ns": null, "tags": null, "thread_id": null}, "unknown": {"a": [1]}')
    || ', ' || event('4', 'a1', '"Custom"', ', "metadata": {"process_id": 2147483647, "duration_ns": 9223372036854775807, "thread_id": 7, "tags": {}}, "lock_set": ["b", "a", "b"], "causality_vector": {"b": 2, "a": 1}')
    || ', ' || event('5', 'a1', '"Custom"', ', "metadata": {"process_id": 0, "duration_ns": 1e3, "instance_id": 1.50, "environment": true}, "lock_set": [], "causality_vector": []')
    || ']');
SELECT id, service_name, process_id, thread_id, instance_id, environment, duration_ns, tags, lock_set, causality_vector FROM events ORDER BY id;
-- Text of other scripts and escapes, where the database can hold it.
SELECT * FROM ingest_events('[' || event('6', 'a2', '{"Custom": {"name": "a\"\\\/\b\f\n\r\tz\u0041"}}') || ']');
SELECT to_json(name) FROM events WHERE id = plain.id('6');

--
-- A batch is one statement: all of it or, where it fails, nothing
--
CREATE FUNCTION refuse_x() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'x is refused by a trigger of the user'; END $$;
CREATE TRIGGER refuse_x BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.name = 'x') EXECUTE FUNCTION refuse_x();
SELECT message FROM plain.outcome($$SELECT ingest_events('[' || event('7') || ', {}, ' || event('8', 'a1', '{"Custom": {"name": "x"}}') || ']')$$);
DROP TRIGGER refuse_x ON events;
SELECT count(*) AS stored FROM events WHERE id IN (plain.id('7'), plain.id('8'));
SELECT count(*) AS errors FROM ingest_errors;
-- In a transaction that is rolled back nothing stays, neither events nor errors.
BEGIN;
SELECT * FROM ingest_events('[' || event('7') || ', {}]');
SELECT * FROM plain.differences();
ROLLBACK;
SELECT count(*) AS errors FROM ingest_errors;
SELECT * FROM plain.differences();

SELECT * FROM verify_summaries();
TRUNCATE events;
DROP VIEW sent;
DROP TABLE batch, before_redelivery, kinds, by_text, forms;
DROP FUNCTION event, refuse_x;
DROP SCHEMA plain CASCADE;
