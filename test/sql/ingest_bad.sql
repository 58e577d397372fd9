-- Bad events are refused one by one, with a reason that names the field; the
-- rest of the batch goes in. What is no batch at all is one clear error.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all

-- A good event as JSON text, one field of which can be replaced or, by NULL, left out.
CREATE FUNCTION event(id text, field text = '', value text = NULL) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT '{' || string_agg(format('"%s": %s', f, CASE WHEN f = field THEN value ELSE good END), ', ' ORDER BY n) || '}'
      FROM (VALUES (1, 'id', format('"%s"', plain.id(id))), (2, 'trace_id', format('"%s"', plain.id('a1'))),
                   (3, 'parent_id', 'null'), (4, 'timestamp', '"2001-02-03T04:05:06Z"'),
                   (5, 'kind', '{"Custom": {"name": "c"}}'), (6, 'metadata', '{"service_name": "s"}'),
                   (7, 'causality_vector', '[]'), (8, 'lock_set', '[]')) v (n, f, good)
     WHERE f <> field OR value IS NOT NULL
$$;

--
-- Each field: missing, malformed, out of range
--
CREATE TABLE bad (n int GENERATED ALWAYS AS IDENTITY, field text, value text, text_only boolean DEFAULT false);
INSERT INTO bad (field, value) VALUES
    ('id', NULL), ('id', 'null'), ('id', '7'), ('id', '""'), ('id', '"not-a-uuid"'), ('id', '{}'),
    ('id', '"00000001-0000-0000-0000-00000000000"'), ('id', '"00000001-0000-0000-0000-0000000000000"'),
    ('id', '"0000000g-0000-0000-0000-000000000000"'), ('id', '"{00000001-0000-0000-0000-000000000000}"'),
    ('id', '"00000001000000000-000-0000-000000000"'), ('id', '" 0000001-0000-0000-0000-000000000000"'),
    ('trace_id', NULL), ('trace_id', 'true'), ('trace_id', '"x"'), ('trace_id', '["000000a1-0000-0000-0000-000000000000"]'),
    ('parent_id', '"x"'), ('parent_id', '0'), ('parent_id', '""'),
    ('timestamp', NULL), ('timestamp', 'null'), ('timestamp', '981173106'), ('timestamp', '""'), ('timestamp', '"now"'),
    ('timestamp', '"infinity"'), ('timestamp', '"-infinity"'), ('timestamp', '"yesterday"'), ('timestamp', '"2001-02-03"'),
    ('timestamp', '"2001-02-03T04:05:06"'), ('timestamp', '"2001-02-03T04:05Z"'), ('timestamp', '"2001-02-30T04:05:06Z"'),
    ('timestamp', '"2001-02-29T00:00:00Z"'), ('timestamp', '"1900-02-29T00:00:00Z"'), ('timestamp', '"2001-13-01T00:00:00Z"'),
    ('timestamp', '"2001-00-01T00:00:00Z"'), ('timestamp', '"2001-01-00T00:00:00Z"'), ('timestamp', '"2001-02-03T24:00:00Z"'),
    ('timestamp', '"2001-02-03T04:60:00Z"'), ('timestamp', '"2001-02-03T04:05:61Z"'), ('timestamp', '"2001-02-03T04:05:06.Z"'),
    ('timestamp', '"2001-02-03T04:05:06,5Z"'), ('timestamp', '"2001-02-03T04:05:06+16:00"'), ('timestamp', '"2001-02-03T04:05:06+05:"'),
    ('timestamp', '"2001-02-03T04:05:06+5"'), ('timestamp', '"2001-02-03T04:05:06 Europe/Berlin"'), ('timestamp', '"0000-01-01T00:00:00Z"'),
    ('timestamp', '"20001-01-01T00:00:00Z"'), ('timestamp', '"-001-01-01T00:00:00Z"'), ('timestamp', '"2001-02-03T04:05:06ZZ"'),
    ('kind', NULL), ('kind', 'null'), ('kind', '1'), ('kind', '[]'), ('kind', '["Custom"]'), ('kind', '{}'), ('kind', '""'),
    ('kind', '"custom"'), ('kind', '"Nonsense"'), ('kind', '{"Nonsense": {}}'), ('kind', '{"Custom": {}, "Error": {}}'),
    ('kind', '{"Custom": 1}'), ('kind', '{"Custom": []}'), ('kind', '{"Custom": {"name": {}}}'), ('kind', '{"Custom": {"name": ["c"]}}'),
    ('kind', '"StateChange"'), ('kind', '{"StateChange": {"access_type": "Read"}}'),
    ('kind', '{"StateChange": {"variable": null, "access_type": "Read"}}'),
    ('kind', '{"StateChange": {"variable": "x"}}'), ('kind', '{"StateChange": {"variable": "x", "access_type": null}}'),
    ('kind', '{"StateChange": {"variable": "x", "access_type": "read"}}'), ('kind', '{"StateChange": {"variable": "x", "access_type": ""}}'),
    ('kind', '{"StateChange": {"variable": "x", "access_type": 1}}'), ('kind', '{"StateChange": {"variable": {}, "access_type": "Read"}}'),
    ('kind', format('{"StateChange": {"variable": "%s", "access_type": "Read"}}', repeat('x', 1025))),
    ('kind', '{"LockAcquire": {"lock_type": "Mutex"}}'), ('kind', '{"LockRelease": {}}'), ('kind', '{"LockAcquire": {"lock_id": []}}'),
    ('kind', '{"HttpRequest": {"method": {}, "url": "/"}}'), ('kind', '{"HttpRequest": {"method": "GET", "url": []}}'),
    ('kind', '{"HttpResponse": {"status": [200]}}'),
    ('metadata', '1'), ('metadata', '[]'), ('metadata', '"s"'),
    ('metadata', '{"service_name": {}}'), ('metadata', '{"service_name": ["s"]}'), ('metadata', format('{"service_name": "%s"}', repeat('s', 513))),
    ('metadata', '{"instance_id": {}}'), ('metadata', '{"thread_id": []}'), ('metadata', '{"environment": {}}'),
    ('metadata', '{"distributed_span_id": {}}'), ('metadata', '{"upstream_span_id": []}'), ('metadata', '{"tags": []}'), ('metadata', '{"tags": "x"}'),
    ('metadata', '{"process_id": "7"}'), ('metadata', '{"process_id": -1}'), ('metadata', '{"process_id": 2147483648}'),
    ('metadata', '{"process_id": 1.5}'), ('metadata', '{"process_id": true}'),
    ('metadata', '{"duration_ns": "1"}'), ('metadata', '{"duration_ns": -1}'), ('metadata', '{"duration_ns": 9223372036854775808}'),
    ('metadata', '{"duration_ns": 1e30}'), ('metadata', '{"duration_ns": -0.6}'),
    ('causality_vector', '1'), ('causality_vector', '"a"'), ('causality_vector', '{"a": -1}'), ('causality_vector', '{"a": 1.5}'),
    ('causality_vector', '{"a": 9223372036854775808}'), ('causality_vector', '{"a": "1"}'), ('causality_vector', '["a", 1]'),
    ('causality_vector', '[["a"]]'), ('causality_vector', '[["a", 1, 2]]'), ('causality_vector', '[["a", 1], ["a", 2]]'), ('causality_vector', '[[1, "a"]]'),
    ('lock_set', '1'), ('lock_set', '{}'), ('lock_set', '"l"'), ('lock_set', '[1]'), ('lock_set', '["l", null]'), ('lock_set', '[["l"]]');
-- What jsonb cannot hold comes as text only.
INSERT INTO bad (field, value, text_only) VALUES
    ('kind', '{"Custom": {"name": "a\u0000b"}}', true), ('kind', '{"Custom": {"data": {"deep": ["\u0000"]}}}', true),
    ('kind', '{"Custom": {"\u0000": 1}}', true), ('metadata', '{"tags": {"t": "\u0000"}}', true), ('id', '"\u0000"', true),
    ('kind', '{"Custom": {"name": "\ud83d"}}', true), ('kind', '{"Custom": {"name": "\ude00"}}', true),
    ('kind', '{"Custom": {"name": "\ud83d\ud83d"}}', true), ('kind', '{"Custom": {"name": "\ud83dx"}}', true),
    ('kind', '{"Custom": {"name": "\u12"}}', true), ('kind', '{"Custom": {"name": "\x41"}}', true),
    ('kind', E'{"Custom": {"name": "a\tb"}}', true), ('kind', E'{"Custom": {"name": "a\nb"}}', true),
    ('kind', '{"Custom": {"data": 1e999999}}', true), ('kind', '{"Custom": {"data": 01}}', true), ('kind', '{"Custom": {"data": .5}}', true),
    ('kind', '{"Custom": {"data": 1.}}', true), ('kind', '{"Custom": {"data": +1}}', true), ('kind', '{"Custom": {"data": NaN}}', true),
    ('kind', '{"Custom": {"data": -Infinity}}', true), ('kind', '{"Custom": {"data": True}}', true), ('kind', '{"Custom": {"data": nul}}', true),
    ('kind', '{"Custom": {"data": [1, ]}}', true), ('kind', '{"Custom": {"data": [1 2]}}', true), ('kind', '{"Custom": {"data": {"a" 1}}}', true),
    ('kind', '{"Custom": {"data": {"a": 1,}}}', true), ('kind', '{"Custom": {"data": {a: 1}}}', true), ('kind', '{"Custom": {"data": {1: 1}}}', true),
    ('kind', '{"Custom": {"data": [}}}', true), ('kind', '{"Custom": {"data": {]}}', true), ('kind', '{"Custom": {"data": (1)}}', true),
    ('kind', '{"Custom": {"data": ''x''}}', true), ('kind', '', true);

-- All of them in one batch, each followed by a good one, which goes in.
SELECT i.inserted, i.duplicates, i.rejected, (SELECT count(*) FROM bad) AS bad
  FROM (SELECT '{"events": [' || string_agg(event(n::text, field, value) || ', ' || event((n + 1000)::text), ', ' ORDER BY n) || ']}' AS body
          FROM bad) b, ingest_events(body) i;
SELECT left(coalesce(field || ': ' || value, field), 72) AS sent, reason
  FROM ingest_errors e JOIN bad ON e."position" = 2 * n - 1 ORDER BY n;
-- Each reason begins with the field, or the path to it.
SELECT field, value, reason FROM ingest_errors e JOIN bad ON e."position" = 2 * n - 1
 WHERE reason !~ ('^(' || field || '|kind\.[A-Za-z]+|metadata\.)[a-z_.]*');
-- What is kept of it names it, as far as it can be read.
SELECT count(*) AS not_kept FROM ingest_errors e JOIN bad ON e."position" = 2 * n - 1
 WHERE event IS DISTINCT FROM event(n::text, field, value)
    OR trace_id IS DISTINCT FROM (CASE WHEN value = '"\u0000"' THEN NULL      -- broke off before it
                                       WHEN field <> 'trace_id' THEN plain.id('a1')::text
                                       WHEN value LIKE '"%' THEN trim('"' FROM value) END)
    OR (event_id IS DISTINCT FROM plain.id(n::text)::text AND field <> 'id');
SELECT count(*) AS stored FROM events WHERE id < plain.id('1000');
SELECT * FROM plain.differences();

-- As jsonb, what it can hold: the same reasons.
CREATE TABLE by_text AS SELECT "position", event_id, trace_id, reason FROM ingest_errors;
TRUNCATE events;
TRUNCATE ingest_errors RESTART IDENTITY;
SELECT i.*
  FROM (SELECT jsonb_agg(e ORDER BY n, good) AS body
          FROM (SELECT n, false AS good, event(n::text, field, value)::jsonb AS e FROM bad WHERE NOT text_only
                UNION ALL
                SELECT n, true, event((n + 1000)::text)::jsonb FROM bad WHERE NOT text_only) v) b, ingest_events(body) i;
SELECT "position", t.event_id AS text_id, j.event_id AS jsonb_id, t.reason AS by_text, j.reason AS by_jsonb
  FROM by_text t JOIN ingest_errors j USING ("position")
 WHERE (t.event_id, t.trace_id, t.reason) IS DISTINCT FROM (j.event_id, j.trace_id, j.reason) ORDER BY 1;

--
-- Elements that are no events
--
TRUNCATE events;
TRUNCATE ingest_errors RESTART IDENTITY;
SELECT * FROM ingest_events('[null, 1, "x", 1 2, true, [], {}, [{}], ' || event('1') || ']');
SELECT * FROM ingest_events(('[null, 1, "x", true, [], {}, [{}], ' || event('2') || ']')::jsonb);
SELECT "position", event_id, trace_id, reason, event FROM ingest_errors ORDER BY id;

--
-- Too deep and too long
--
TRUNCATE ingest_errors RESTART IDENTITY;
CREATE TABLE huge (n int, field text, value text);
INSERT INTO huge VALUES
    (1, 'kind', '{"Custom": {"data": ' || repeat('[', 10000) || repeat(']', 10000) || '}}'),
    (2, 'kind', '{"Custom": {"data": ' || repeat('{"a": ', 10000) || '1' || repeat('}', 10000) || '}}'),
    (3, 'lock_set', repeat('[', 10000) || repeat(']', 10000)),
    (4, 'metadata', '{"tags": ' || repeat('[{"a": ', 5000) || '1' || repeat('}]', 5000) || '}'),
    (5, 'kind', '{"Custom": {"name": "' || repeat('x', 10 * 1024 * 1024) || '"}}'),
    (6, 'kind', '{"Custom": {"' || repeat('k', 10 * 1024 * 1024) || '": 1}}'),
    (7, 'metadata', '{"tags": {"a": ["' || repeat('x', 10 * 1024 * 1024) || '"]}}'),
    (8, 'metadata', '{"duration_ns": ' || repeat('9', 1000000) || '}'),
    (9, 'id', '"' || repeat('0', 10 * 1024 * 1024) || '"'),
    (10, 'trace_id', '"' || repeat('x', 1000000) || '"');
SELECT i.* FROM (SELECT '[' || string_agg(event(n::text, field, value) || ',' || event((n + 100)::text), ',' ORDER BY n) || ']' AS body FROM huge) b,
       ingest_events(body) i;
SELECT "position", left(event_id, 20) AS event_id, left(trace_id, 20) AS trace_id, length(reason) < 600 AS short, left(reason, 100) AS reason,
       octet_length(event) AS kept
  FROM ingest_errors ORDER BY id;
-- As jsonb they are refused alone as well; jsonb itself limits depth by the stack.
TRUNCATE ingest_errors RESTART IDENTITY;
SELECT i.* FROM (SELECT jsonb_build_array(event('21', 'kind', '{"Custom": {"data": ' || repeat('[', 500) || repeat(']', 500) || '}}')::jsonb,
                                          event('22', 'kind', '{"Custom": {"name": "' || repeat('x', 10 * 1024 * 1024) || '"}}')::jsonb,
                                          event('23', 'metadata', '{"tags": {"' || repeat('x', 2 * 1024 * 1024) || '": 1}}')::jsonb,
                                          event('24')::jsonb) AS body) b, ingest_events(body) i;
SELECT "position", event_id, trace_id, left(reason, 100) AS reason, octet_length(event) AS kept FROM ingest_errors ORDER BY id;

-- The limits are settings; what is just within goes in.
TRUNCATE ingest_errors RESTART IDENTITY;
SELECT inserted, rejected FROM ingest_events('[' || event('31', 'kind', '{"Custom": {"data": ' || repeat('[', 50) || repeat(']', 50) || '}}') || ','
                                                 || event('32', 'kind', '{"Custom": {"name": "' || repeat('x', 1024 * 1024) || '"}}') || ']');
SET trace_ext.max_nesting = 8;
SET trace_ext.max_field_size = '2kB';
SELECT inserted, rejected FROM ingest_events('[' || event('33', 'kind', '{"Custom": {"data": ' || repeat('[', 50) || repeat(']', 50) || '}}') || ','
                                                 || event('34', 'kind', '{"Custom": {"name": "' || repeat('x', 2049) || '"}}') || ','
                                                 || event('35', 'kind', '{"Custom": {"name": "' || repeat('x', 2048) || '"}}') || ']');
SELECT "position", event_id, reason FROM ingest_errors ORDER BY id;
RESET trace_ext.max_nesting;
RESET trace_ext.max_field_size;

--
-- No batch at all: one error, and nothing is stored
--
TRUNCATE events;
TRUNCATE ingest_errors RESTART IDENTITY;
SELECT body, o.state, o.message
  FROM unnest(ARRAY['', '   ', 'null', '1', '"abc"', 'true', '{}', '{"event": []}', '{"events": {}}', '{"events": null}', '{"events": 1}',
                    '{"a": {"events": []}}', '{"events": [', '[', '{', '[{]', '[1,]', '[,]', '[] []', '{"events": []', 'x', '"abc',
                    '{"events": [] "a": 1}', '{"events": [],}']) WITH ORDINALITY u (body, n),
       plain.outcome(format('SELECT trace_ext.ingest_events(%L::text)', body)) o
 ORDER BY n;
SELECT body, o.* FROM unnest(ARRAY['null', '1', '"abc"', '{}', '{"events": {}}', '{"events": null}']) WITH ORDINALITY u (body, n),
       plain.outcome(format('SELECT trace_ext.ingest_events(%L::jsonb)', body)) o
 ORDER BY n;
\set VERBOSITY default
SELECT ingest_events('{"event": []}');
SELECT ingest_events('{"events": 1}'::jsonb);
-- Events before the place where a batch breaks off are not stored.
SELECT message FROM plain.outcome(format('SELECT trace_ext.ingest_events(%L)', '[' || event('1') || ', ' || event('2')));
SELECT count(*) AS stored, (SELECT count(*) FROM ingest_errors) AS errors FROM events;

-- Who sent it, and when.
SELECT rejected FROM ingest_events('[{}]');
SELECT role_name = session_user AS by_me, received_at = (SELECT max(received_at) FROM ingest_errors) AS then FROM ingest_errors;

SELECT * FROM plain.differences();
SELECT * FROM verify_summaries();
TRUNCATE events, ingest_errors;
DROP TABLE bad, by_text, huge;
DROP FUNCTION event;
DROP SCHEMA plain CASCADE;
