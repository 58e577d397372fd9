-- ingest_otlp(): what SDKs of OpenTelemetry send becomes events.
\getenv abs_srcdir PG_ABS_SRCDIR
\set wire :abs_srcdir '/otlp_encode.sql'
\set data :abs_srcdir '/data/otlp'
\set VERBOSITY default
\set ECHO none
\i :wire
\set ECHO all
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = iso;
SET search_path = trace_ext;
TRUNCATE events, ingest_errors, otlp_resources, otlp_scopes;

--
-- Bodies of four SDKs: each goes in, once.
--
CREATE TEMP TABLE bodies AS
SELECT name COLLATE "C", pg_read_binary_file(:'data' || '/' || name) AS body FROM pg_ls_dir(:'data') AS name WHERE name !~ '[.]txt$';
CREATE TEMP TABLE answers AS
SELECT name, first.inserted, first.duplicates, first.rejected FROM (SELECT * FROM bodies ORDER BY name) b, ingest_otlp(body) first;
SELECT a.name, a.inserted, a.duplicates, a.rejected, again.inserted AS again, again.duplicates = a.inserted + a.duplicates AS all_there, again.rejected
  FROM answers a JOIN bodies USING (name), ingest_otlp(body) again ORDER BY a.name;
SELECT reason, count(*), count(event) FROM ingest_errors GROUP BY reason;
SELECT left(event, 100) AS event FROM ingest_errors LIMIT 1;
SELECT service_name, kind, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM verify_summaries();
-- Each resource is there once, and each one that events name.
SELECT count(*) AS resources, count(DISTINCT (attributes, schema_url)) AS different FROM otlp_resources;
SELECT count(*) AS scopes, count(DISTINCT (name, version, attributes, schema_url)) AS different FROM otlp_scopes;
SELECT count(*) AS without FROM events e
 WHERE (attributes -> 'otlp' ? 'resource' AND NOT EXISTS (SELECT FROM otlp_resources r WHERE r.id = (e.attributes -> 'otlp' ->> 'resource')::bigint))
    OR (attributes -> 'otlp' ? 'scope' AND NOT EXISTS (SELECT FROM otlp_scopes s WHERE s.id = (e.attributes -> 'otlp' ->> 'scope')::bigint));
-- A consumer names the span that its message came from.
SELECT c.name AS consumer, p.name AS producer, c.kind, p.kind, l.attributes, c."timestamp" >= p."timestamp" AS later
  FROM trace_links l JOIN events c ON (c.trace_id, c.span_id, c."timestamp") = (l.trace_id, l.span_id, l."timestamp") AND c.kind = 'AsyncAwait'
       LEFT JOIN events p ON (p.trace_id, p.span_id) = (l.linked_trace_id, l.linked_span_id) AND p.kind = 'AsyncSpawn' ORDER BY c."timestamp";

--
-- One trace of two services, event by event: what follows what
--
CREATE FUNCTION pg_temp.listing(trace uuid) RETURNS TABLE (n bigint, follows bigint, kind event_kind, name text, service text, thread_is_span bool, upstream text, ms numeric, ns text, fields jsonb)
    LANGUAGE sql AS $$
    WITH numbered AS (SELECT row_number() OVER (ORDER BY e."timestamp", e.attributes -> 'timestamp_ns', e.id) AS n, e.* FROM trace_ext.events e WHERE trace_id = trace)
    SELECT a.n, p.n, a.kind, left(a.name, 60), a.service_name, a.thread_id = a.span_id, (SELECT min(u.name) FROM numbered u WHERE u.span_id = a.upstream_span_id AND u.duration_ns IS NOT NULL),
           round(a.duration_ns / 1e6, 2), a.attributes ->> 'timestamp_ns', (a.attributes - 'otlp' - 'timestamp_ns' - 'stack_trace') || jsonb_build_object('otlp', a.attributes -> 'otlp' -> 'attributes')
      FROM numbered a LEFT JOIN numbered p ON p.id = a.parent_id ORDER BY a.n $$;
\pset format unaligned
SELECT * FROM pg_temp.listing('7bb3f249-81d9-fbc5-f2e9-761b1907d567');
SELECT * FROM pg_temp.listing('d23b6204-80d2-f16f-ff3f-5d8ec9b1b983');
\pset format aligned
SELECT instance_id, process_id, environment, stamped_at_end FROM events WHERE trace_id = '7bb3f249-81d9-fbc5-f2e9-761b1907d567' GROUP BY 1, 2, 3, 4 ORDER BY 1;
-- A lost update is found at once.
SELECT DISTINCT r.kind, r.variable, r.confidence FROM events e, find_races(e.trace_id) r WHERE e.service_name = 'bank' AND e.kind = 'StateChange' AND r.kind = 'lost update';

--
-- Other batches, and the other encoding, give the same rows.
--
CREATE TEMP TABLE as_they_came AS TABLE events;
CREATE FUNCTION pg_temp.differences() RETURNS TABLE (what text, kind event_kind, name text, attributes jsonb) LANGUAGE sql AS $$
    SELECT 'missing', d.kind, d.name, d.attributes FROM (TABLE as_they_came EXCEPT ALL TABLE trace_ext.events) d
    UNION ALL SELECT 'new', d.kind, d.name, d.attributes FROM (TABLE trace_ext.events EXCEPT ALL TABLE as_they_came) d $$;
-- A span a request, the last first.
CREATE TEMP TABLE requests AS
SELECT name, convert_from(body, 'UTF8')::json AS request FROM bodies WHERE name ~ '[.]json$' AND name <> 'node-json-1.json' ORDER BY name;
CREATE TEMP TABLE others AS SELECT name, body FROM bodies WHERE name NOT IN (SELECT name FROM requests);
DELETE FROM events;
SELECT sum(i.inserted) > 100 AS inserted, sum(duplicates) AS duplicates, sum(rejected) AS rejected
  FROM (SELECT json_build_object('resourceSpans', json_build_array(json_build_object('schemaUrl', r -> 'schemaUrl', 'scopeSpans',
               json_build_array(json_build_object('schemaUrl', c -> 'schemaUrl', 'spans', json_build_array(s), 'scope', c -> 'scope')), 'resource', r -> 'resource'))) AS request
          FROM requests, json_array_elements(request -> 'resourceSpans') r, json_array_elements(r -> 'scopeSpans') c, json_array_elements(c -> 'spans') WITH ORDINALITY a (s, n)
         ORDER BY name DESC, n DESC) x, ingest_otlp(request) i;
SELECT sum(i.inserted) > 100 AS inserted, sum(duplicates) AS duplicates, sum(rejected) AS rejected FROM others, ingest_otlp(body) i;
SELECT i.* FROM bodies, ingest_otlp(body) i WHERE name = 'python-json-6.json';
SELECT * FROM pg_temp.differences();
-- In protobuf, and by the door for jsonb.
DELETE FROM events;
SELECT sum(i.inserted) > 100 AS inserted, sum(duplicates) AS duplicates, sum(rejected) AS rejected FROM requests, ingest_otlp(pg_temp.wire(request::jsonb)) i;
SELECT sum(i.inserted) AS inserted, sum(duplicates) > 100 AS duplicates, sum(rejected) AS rejected FROM requests, ingest_otlp(request::jsonb) i;
SELECT sum(i.inserted) > 100 AS inserted, sum(duplicates) AS duplicates, sum(rejected) AS rejected FROM others, ingest_otlp(body) i;
SELECT * FROM pg_temp.differences();
TRUNCATE events, ingest_errors;
SELECT count(*) AS links_are_gone FROM trace_links;

--
-- What maps to what, in both encodings: one span each
--
CREATE FUNCTION pg_temp.attributes(pairs jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('key', key, 'value', CASE jsonb_typeof(value)
               WHEN 'string' THEN jsonb_build_object('stringValue', value) WHEN 'boolean' THEN jsonb_build_object('boolValue', value)
               WHEN 'number' THEN CASE WHEN value::text ~ '[.]' THEN jsonb_build_object('doubleValue', value) ELSE jsonb_build_object('intValue', value) END
               ELSE value END)), '[]') FROM jsonb_each(pairs) $$;
CREATE FUNCTION pg_temp.request(spans jsonb, resource jsonb DEFAULT '{"service.name": "s"}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('resource', jsonb_build_object('attributes', pg_temp.attributes(resource)),
        'scopeSpans', jsonb_build_array(jsonb_build_object('scope', jsonb_build_object('name', 'lib'), 'spans', spans))))) $$;
CREATE FUNCTION pg_temp.a_span(fields jsonb, pairs jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('traceId', md5('mapping'), 'spanId', left(md5(fields::text || pairs::text), 16), 'name', 'n', 'kind', 1, 'startTimeUnixNano', '1795785303594975307',
        'endTimeUnixNano', '1795785303595975999', 'attributes', pg_temp.attributes(pairs)) || fields $$;
-- The events of a span, without what they all have, by way of JSON; by way of protobuf they are the same, or that is said.
CREATE FUNCTION pg_temp.mapped(span jsonb, resource jsonb DEFAULT '{"service.name": "s"}') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    by_json text[];
    by_wire text[];
    request constant jsonb := pg_temp.request(jsonb_build_array(span), resource);
BEGIN
    PERFORM trace_ext.ingest_otlp(request);
    SELECT array_agg(format('%s %s%s', kind, name, ' ' || (attributes #- '{otlp,resource}' #- '{otlp,scope}')::text) ORDER BY "timestamp", id) INTO by_json FROM trace_ext.events;
    by_json := by_json || ARRAY(SELECT 'refused: ' || reason FROM trace_ext.ingest_errors);
    CREATE TEMP TABLE earlier AS TABLE trace_ext.events;
    DELETE FROM trace_ext.events;
    DELETE FROM trace_ext.ingest_errors;
    PERFORM trace_ext.ingest_otlp(pg_temp.wire(request));
    SELECT array_agg(format('%s %s%s', kind, name, ' ' || (attributes #- '{otlp,resource}' #- '{otlp,scope}')::text) ORDER BY "timestamp", id) INTO by_wire FROM trace_ext.events;
    by_wire := by_wire || ARRAY(SELECT 'refused: ' || reason FROM trace_ext.ingest_errors);
    IF by_wire IS DISTINCT FROM by_json OR EXISTS (TABLE earlier EXCEPT TABLE trace_ext.events) THEN
        by_json := by_json || 'but in protobuf: '::text || by_wire;
    END IF;
    DROP TABLE earlier;
    DELETE FROM trace_ext.events;
    DELETE FROM trace_ext.ingest_errors;
    RETURN QUERY SELECT unnest(by_json);
END $$;
\pset format unaligned
\pset tuples_only
-- HTTP: either generation; route before path before address, without the query; without a status, and with a status that is text.
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 2}', '{"http.request.method": "GET", "url.path": "/a/7", "url.query": "b=1", "http.response.status_code": 200}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 2}', '{"http.request.method": "GET", "url.path": "/a/7", "http.route": "/a/:n?", "http.response.status_code": 200}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 3, "name": "GET"}', '{"http.request.method": "GET", "url.full": "http://h/a/7?b=1"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 2}', '{"http.method": "POST", "http.target": "/a/7?b=1", "http.status_code": "404"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 3}', '{"http.method": "POST", "http.url": "http://h/a/7#b"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 3}', '{"http.method": "POST"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 1}', '{"http.method": "POST", "http.url": "http://h/a/7"}'));
-- Databases.
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 3}', '{"db.system.name": "postgresql", "db.query.text": "select 1", "db.namespace": "shop", "db.response.returned_rows": 3}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 3}', '{"db.system": "sqlite", "db.statement": "select 2", "db.name": "shop"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 3, "name": "pg.connect"}', '{"db.system": "postgresql"}'));
-- Messages, and any other span.
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 4, "name": "orders publish"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 5, "name": "orders process"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 0, "name": "f"}', '{"code.file.path": "a.py", "code.line.number": 7}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 2, "name": "grpc"}', '{"code.filepath": "b.py", "code.lineno": 8}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 77, "name": ""}'));
-- Errors: the status where no exception tells it; a client's error is none.
SELECT pg_temp.mapped(pg_temp.a_span('{"status": {"code": 2, "message": "no funds"}}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"status": {"code": 2}}', '{"error.type": "Timeout"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"status": {"code": 1}}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 3, "status": {"code": 2}}', '{"http.request.method": "GET", "http.response.status_code": 409}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 3, "status": {"code": 2}}', '{"http.request.method": "GET", "http.response.status_code": 503}'));
SELECT pg_temp.mapped(pg_temp.a_span(jsonb_build_object('status', '{"code": 2, "message": "no funds"}'::jsonb, 'events', jsonb_build_array(jsonb_build_object('name', 'exception',
    'timeUnixNano', 1795785303594999999, 'attributes', pg_temp.attributes('{"exception.type": "E", "exception.message": "m", "exception.stacktrace": "a\n b\n", "exception.escaped": true}'))))));
SELECT pg_temp.mapped(pg_temp.a_span(jsonb_build_object('events', jsonb_build_array(jsonb_build_object('name', 'exception', 'timeUnixNano', 1795785303594999999,
    'attributes', pg_temp.attributes('{"exception.message": "", "exception.type": 7}'))))));
-- Accesses and locks, and where in the code: by the event, else by the span.
CREATE FUNCTION pg_temp.with_event(name text, pairs jsonb, span_pairs jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT pg_temp.a_span(jsonb_build_object('events', jsonb_build_array(jsonb_build_object('name', name, 'timeUnixNano', 1795785303594999999, 'attributes', pg_temp.attributes(pairs)))), span_pairs) $$;
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.state', '{"trace_ext.variable": "v", "trace_ext.access": "Write", "trace_ext.value": "{\"a\": [1, \"b\"]}", "trace_ext.old_value": "1e3", "code.file.path": "a.py", "code.line.number": 3}', '{"code.filepath": "of the span"}'));
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.state', '{"trace_ext.variable": "v", "trace_ext.access": "Read", "trace_ext.value": "850", "k": 1}', '{"code.filepath": "s.py", "code.lineno": 4}'));
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.state', '{"trace_ext.variable": "v", "trace_ext.access": "AtomicRMW", "trace_ext.value": "no JSON", "trace_ext.old_value": 7}'));
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.lock', '{"trace_ext.lock.id": "l", "trace_ext.lock.op": "acquire", "trace_ext.lock.type": "mutex"}', '{"code.filepath": "s.py"}'));
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.lock', '{"trace_ext.lock.id": "l", "trace_ext.lock.op": "release"}'));
SELECT pg_temp.mapped(pg_temp.with_event('cache miss', '{"key": "k"}'));
-- What is none of these refuses the span, with the path.
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.state', '{"trace_ext.access": "Read"}'));
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.state', '{"trace_ext.variable": "v", "trace_ext.access": "read"}'));
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.state', jsonb_build_object('trace_ext.variable', repeat('v', 1025), 'trace_ext.access', 'Read')));
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.lock', '{"trace_ext.lock.op": "acquire"}'));
SELECT pg_temp.mapped(pg_temp.with_event('trace_ext.lock', '{"trace_ext.lock.id": "l", "trace_ext.lock.op": "try"}'));
-- Values of all types, and what would be taken for a mark; the last of two of one key.
SELECT pg_temp.mapped(pg_temp.a_span('{}', '{"s": "", "t": true, "i": 9223372036854775807, "j": -9223372036854775808, "d": 5.0, "e": 0.1, "f": 10000000000000000000000.0, "g": -0.0, "none": {},
    "NaN": {"doubleValue": "NaN"}, "inf": {"doubleValue": "-Infinity"}, "b": {"bytesValue": "AP8Q"}, "no bytes": {"bytesValue": ""}, "a": {"arrayValue": {"values": [{"intValue": 1}, {}, {"arrayValue": {}}]}},
    "o": {"kvlistValue": {"values": [{"key": "x", "value": {"stringValue": "y"}}, {"key": "", "value": {}}]}}, "empty": {"kvlistValue": {}},
    "like a mark": {"kvlistValue": {"values": [{"key": "@bytes", "value": {"stringValue": "y"}}]}}}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"attributes": [{"key": "a", "value": {"intValue": 1}}, {"key": "a", "value": {"intValue": 2}}, {"value": {"intValue": 3}}, {"key": "b"}]}'));
SELECT ingest_otlp('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "000000000000000000000000000000a1", "spanId": "00000000000000a1", "startTimeUnixNano": 1, "attributes": [{"key": "zero", "value": {"doubleValue": -0.0}},
    {"key": "least", "value": {"doubleValue": 5e-324}}, {"key": "whole", "value": {"intValue": "1e3"}}, {"key": "other alphabet", "value": {"bytesValue": "_-8"}}, {"key": "spelled", "value": {"doubleValue": "1.5"}}]}]}]}]}');
SELECT attributes #>> '{otlp,attributes,zero}', length(attributes #>> '{otlp,attributes,least}'), (attributes #>> '{otlp,attributes,least}')::float8 AS least, attributes #- '{otlp,attributes,least}' #- '{otlp,resource}' #- '{otlp,scope}' FROM events;
TRUNCATE events;
-- All else that a span has.
SELECT pg_temp.mapped(pg_temp.a_span('{"traceState": "a=1", "flags": 257, "droppedAttributesCount": 1, "droppedEventsCount": 2, "droppedLinksCount": 4294967295, "links": [{"traceId": "000000000000000000000000000000a1",
    "spanId": "00000000000000a1", "traceState": "b=2", "attributes": [{"key": "k", "value": {"boolValue": false}}], "droppedAttributesCount": 3, "flags": 768}, {}],
    "events": [{"name": "later", "timeUnixNano": 1795785303594975309, "droppedAttributesCount": 5}, {"name": "earlier", "timeUnixNano": 1795785303594975308}, {"name": "no time"}]}'));
SELECT linked_trace_id, linked_span_id, attributes FROM trace_links;
DELETE FROM trace_links;
-- Times: no end, an end before the start, 2^63 ns and more.
SELECT pg_temp.mapped(pg_temp.a_span('{"endTimeUnixNano": 0}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"kind": 2, "endTimeUnixNano": 7}', '{"http.method": "GET"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"startTimeUnixNano": "9223372036854775808", "endTimeUnixNano": "18446744073709551615"}'));
SELECT pg_temp.mapped(pg_temp.a_span('{"startTimeUnixNano": 1, "endTimeUnixNano": "18446744073709551615"}'));
\pset tuples_only off
\pset format aligned
SELECT ingest_otlp(pg_temp.request(jsonb_build_array(pg_temp.a_span('{"spanId": "00000000000000b1", "startTimeUnixNano": "18446744073709551615", "endTimeUnixNano": "18446744073709551615"}'),
    pg_temp.a_span('{"spanId": "00000000000000b2", "endTimeUnixNano": 0}'), pg_temp.a_span('{"spanId": "00000000000000b3", "endTimeUnixNano": 7}'), pg_temp.a_span('{"spanId": "00000000000000b4"}'))));
SELECT span_id, "timestamp", duration_ns FROM events ORDER BY 1;
TRUNCATE events;
-- Who: an instance without a name is its pod or host, and its process.
SELECT ingest_otlp(pg_temp.request(jsonb_build_array(pg_temp.a_span('{}')), r)) FROM (VALUES ('{"service.name": "s", "service.instance.id": "i", "process.pid": 7, "deployment.environment": "old"}'::jsonb)) v (r);
SELECT service_name, instance_id, process_id, environment FROM events;
TRUNCATE events;
SELECT ingest_otlp(pg_temp.request(jsonb_build_array(pg_temp.a_span('{}')), '{"host.name": "h", "process.pid": 7}'));
SELECT service_name, instance_id, process_id, environment FROM events;
TRUNCATE events;
SELECT ingest_otlp(pg_temp.request(jsonb_build_array(pg_temp.a_span('{}')), '{"host.name": "h", "k8s.pod.name": "pod", "process.pid": -7, "deployment.environment.name": "new", "deployment.environment": "old"}'));
SELECT service_name, instance_id, process_id, environment FROM events;
TRUNCATE events;
-- Who called: the parent, where it is remote; by the flags, else by the kind.
SELECT ingest_otlp(pg_temp.request(jsonb_agg(pg_temp.a_span(jsonb_build_object('spanId', lpad(n::text, 16, '0'), 'parentSpanId', '00000000000000ff', 'kind', kind, 'flags', flags)))))
  FROM (VALUES (1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 5, 0), (5, 1, 768), (6, 2, 256), (7, 2, 768)) v (n, kind, flags);
SELECT span_id, upstream_span_id, parent_id FROM events ORDER BY 1;
TRUNCATE events;
-- A span that is its own parent is a root.
SELECT ingest_otlp(pg_temp.request(jsonb_build_array(pg_temp.a_span('{"spanId": "00000000000000c1", "parentSpanId": "00000000000000c1"}'))));
SELECT parent_id, attributes -> 'own_parent' AS own FROM events;
TRUNCATE events;

-- Log records: with and without a name, a span and a time.
SELECT ingest_otlp(jsonb_build_object('resourceLogs', jsonb_build_array(jsonb_build_object('scopeLogs', jsonb_build_array(jsonb_build_object('logRecords',
    '[{"traceId": "000000000000000000000000000000d1", "spanId": "00000000000000d1", "timeUnixNano": 2000, "eventName": "e", "body": {"stringValue": "text"}, "severityText": "INFO", "flags": 1},
      {"traceId": "000000000000000000000000000000d1", "spanId": "00000000000000d1", "timeUnixNano": 3000, "eventName": "e", "body": {"stringValue": "text"}, "severityText": "INFO", "flags": 1},
      {"traceId": "000000000000000000000000000000d1", "observedTimeUnixNano": "4001", "body": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1}}]}}, "severityNumber": 9},
      {"traceId": "000000000000000000000000000000d1", "timeUnixNano": 5000, "attributes": [{"key": "event.name", "value": {"stringValue": "old"}}], "droppedAttributesCount": 2},
      {"traceId": "000000000000000000000000000000d1", "timeUnixNano": 6000, "body": {"stringValue": "failed"}, "attributes": [{"key": "exception.type", "value": {"stringValue": "E"}}]},
      {"traceId": "000000000000000000000000000000d1"}, {"timeUnixNano": 1}]'::jsonb))))));
SELECT "timestamp", kind, name, span_id, parent_id, attributes #- '{otlp,resource}' #- '{otlp,scope}' AS attributes FROM events ORDER BY 1;
SELECT reason FROM ingest_errors ORDER BY id;
TRUNCATE events, ingest_errors;

--
-- A bad span is refused alone.
--
CREATE FUNCTION pg_temp.refused(span text) RETURNS TABLE (inserted bigint, rejected bigint, reason text) LANGUAGE plpgsql AS $$
BEGIN
    -- Between two good ones.
    SELECT i.inserted, i.rejected INTO inserted, rejected FROM trace_ext.ingest_otlp(replace(pg_temp.request(jsonb_build_array(pg_temp.a_span('{"name": "before"}'), 'SPAN'::text,
        pg_temp.a_span('{"name": "behind"}')))::text, '"SPAN"', span)) i;
    SELECT e.reason INTO reason FROM trace_ext.ingest_errors e WHERE "position" = 2;
    TRUNCATE trace_ext.events, trace_ext.ingest_errors;
    RETURN NEXT;
END $$;
SELECT span, r.* FROM unnest(ARRAY['{}', '7', 'null', '[]', '{"traceId": "00000000000000000000000000000000"}', '{"traceId": "00000000000000000000000000000a1"}', '{"traceId": "0000000000000000000000000000000g"}', '{"traceId": 7}',
    '{"traceId": "000000000000000000000000000000A1"}', '{"traceId": "000000000000000000000000000000a1", "spanId": "00000000000000a1"}', '{"spanId": "000000000000000000"}', '{"parentSpanId": "x"}', '{"name": 1}',
    '{"kind": "SERVER"}', '{"kind": -1}', '{"flags": 4294967296}', '{"startTimeUnixNano": "18446744073709551616"}', '{"startTimeUnixNano": 1.5}', '{"startTimeUnixNano": "-1"}', '{"startTimeUnixNano": ""}',
    '{"attributes": {}}', '{"attributes": [7]}', '{"attributes": [{"key": "a", "value": {"intValue": "9223372036854775808"}}]}', '{"attributes": [{"key": "a", "value": {"doubleValue": 1e999}}]}',
    '{"attributes": [{"key": "a", "value": {"boolValue": 1}}]}', '{"attributes": [{"key": "a", "value": {"bytesValue": "?"}}]}', '{"attributes": [{"key": "a", "value": {"arrayValue": {"values": [{"stringValue": 7}]}}}]}',
    '{"events": [{}, {"name": 7}]}', '{"events": [{"attributes": [{"key": "k", "value": []}]}]}', '{"links": [{"traceId": "a"}]}', '{"status": 2}', '{"name": "\q"}', '{"name": "\u12"}', E'{"name": "a\tb"}',
    '{"name": "a" "b"}', '{"name": "a",}', '{"name"}', '{"name": }', '{]']) WITH ORDINALITY a (span, n), pg_temp.refused(span) r ORDER BY n;
-- Null is what is missing, and numbers may be strings.
SELECT r.* FROM pg_temp.refused(replace(pg_temp.a_span('{"kind": "2", "flags": "257", "startTimeUnixNano": 1e3, "droppedAttributesCount": null, "parentSpanId": null, "attributes": null, "events": null, "links": null, "status": null, "new": [{"a": "]"}]}')::text, '1000', '1.0e3')) r;
-- A resource that cannot be read refuses its own spans.
SELECT i.* FROM ingest_otlp(jsonb_build_object('resourceSpans', (pg_temp.request(jsonb_build_array(pg_temp.a_span('{}'), pg_temp.a_span('{"name": "m"}')), jsonb_build_object('service.name', repeat('s', 513))) -> 'resourceSpans') ||
    (pg_temp.request(jsonb_build_array(pg_temp.a_span('{"name": "good"}'))) -> 'resourceSpans'))) i;
SELECT "position", event_id IS NOT NULL AS has_id, trace_id, reason FROM ingest_errors ORDER BY 1;
TRUNCATE events, ingest_errors;
-- No more than 1,000 refused ones of a body are kept.
SELECT i.* FROM ingest_otlp(pg_temp.request((SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 1500)))) i;
SELECT count(*) FROM ingest_errors;
TRUNCATE ingest_errors;
SELECT i.* FROM ingest_otlp(pg_temp.request(jsonb_build_array(pg_temp.a_span(jsonb_build_object('events', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 100001)))), pg_temp.a_span('{}')))) i;
SELECT "position", reason FROM ingest_errors;
TRUNCATE events, ingest_errors;
SET trace_ext.max_field_size = 1024;
SELECT r.* FROM pg_temp.refused(pg_temp.a_span('{}', jsonb_build_object('long', repeat('x', 1025)))::text) r;
RESET trace_ext.max_field_size;

--
-- What is no request at all
--
CREATE FUNCTION pg_temp.answer(body bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT i::text FROM trace_ext.ingest_otlp(body) i);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT body, pg_temp.answer(convert_to(body, 'UTF8')) FROM unnest(ARRAY['', '{}', ' {"resourceSpans": []}', '{"resourceSpans": null}', '{"resourceSpans": [{}, {"scopeSpans": [{}, {"spans": []}]}]}', '{"resourceLogs": []}',
    '{"resourceSpans": [], "resourceLogs": [], "more": {}}', '{"events": []}', '{"resourceMetrics": []}', '{"resourceSpans": {}}', '{"resourceSpans": [7]}', '{"resourceSpans": [{}', '{"resourceSpans": [{"scopeSpans": [{"spans": [}]}]}',
    '{"resourceSpans": []} x', '[]', '{"a"}', '{"a: 1}', '{', 'x', '{"resourceSpans": [}]}']) WITH ORDINALITY a (body, n) ORDER BY n;
SELECT pg_temp.answer('\xefbbbf7b7d') AS byte_order_mark, pg_temp.answer('\x0a') AS cut_off, pg_temp.answer('\x0a00') AS empty, pg_temp.answer('\x0b') AS "group", pg_temp.answer('\x02') AS no_field,
       pg_temp.answer('\x1f8b') AS no_gzip, pg_temp.answer('\x0affffffff07') AS hostile_length, pg_temp.answer('\x0a80808080808080808080') AS endless_varint, pg_temp.answer('\xa8ff0fff') AS unknown_cut,
       pg_temp.answer('\xa8ff0f7f') AS unknown;
SELECT ingest_otlp(''::text);
SELECT ingest_otlp('{"resourceSpans": [{]}');
SELECT i FROM ingest_otlp(NULL::bytea) i;
-- Longer than it may be: as it is, and when it is unpacked.
SET trace_ext.otlp_max_size = '2kB';
SELECT name, length(body), pg_temp.answer(body) FROM bodies WHERE name IN ('python-json-1.json.gz', 'python-json-3.json.gz', 'python-proto-1.bin', 'go-proto-1.bin') ORDER BY 1;
SELECT ingest_otlp((SELECT json_build_object('a', repeat('x', 3000))));
RESET trace_ext.otlp_max_size;
-- Gzip that is damaged, cut off, in two members, and with something behind it.
SELECT pg_temp.answer(set_byte(body, 500, get_byte(body, 500) # 1)) AS damaged, pg_temp.answer(substr(body, 1, 500)) AS cut_off, pg_temp.answer(body || '\x00') AS behind, pg_temp.answer(body || body) AS two
  FROM bodies WHERE name = 'python-json-3.json.gz';
SELECT pg_temp.answer(body || body) AS two FROM bodies WHERE name = 'node-proto-3.bin.gz';
TRUNCATE events;

-- Text: U+0000, lone surrogates and U+FFFD are stored as U+FFFD, in either encoding and the same; bad UTF-8 refuses its span.
SELECT ingest_otlp(replace(pg_temp.request(jsonb_build_array(pg_temp.a_span('{"name": "NAME", "spanId": "00000000000000e1"}')))::text, 'NAME', '\u0000\ud800a\udc00\ud83d\ude00\ud83d\n\/'));
SELECT name, ascii(name) FROM events;
TRUNCATE events;
SELECT ingest_otlp(decode(replace(encode(pg_temp.wire(pg_temp.request(jsonb_build_array(pg_temp.a_span('{"name": "NAME", "spanId": "00000000000000e1"}')))), 'hex'), encode('NAME', 'hex'), '00416100'), 'hex'));
SELECT name FROM events;
TRUNCATE events;
SELECT ingest_otlp(decode(replace(encode(pg_temp.wire(pg_temp.request(jsonb_build_array(pg_temp.a_span('{"name": "NAME", "spanId": "00000000000000e1"}'), pg_temp.a_span('{"name": "good"}')))), 'hex'), encode('NAME', 'hex'), '41ff6100'), 'hex'));
SELECT ingest_otlp(decode(replace(encode(convert_to(pg_temp.request(jsonb_build_array(pg_temp.a_span('{"name": "NAME", "spanId": "00000000000000e1"}'), pg_temp.a_span('{"name": "good"}')))::text, 'UTF8'), 'hex'), encode('NAME', 'hex'), '41c3'), 'hex'));
SELECT event_id, trace_id, reason, left(event, 30) AS event FROM ingest_errors ORDER BY id;
TRUNCATE events, ingest_errors;

-- Nesting: 100 levels go in, 10,000 refuse their span.
CREATE FUNCTION pg_temp.nested_json(levels int) RETURNS text LANGUAGE sql AS $$
    SELECT replace(pg_temp.request(jsonb_build_array(pg_temp.a_span('{}', '{"deep": "DEEP"}'), pg_temp.a_span('{"name": "good"}')))::text, '{"stringValue": "DEEP"}',
        repeat('{"arrayValue":{"values":[', levels) || '{}' || repeat(']}}', levels)) $$;
CREATE FUNCTION pg_temp.nested_wire(levels int) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    value bytea := '';
BEGIN
    FOR i IN 1 .. levels LOOP
        value := pg_temp.f_bytes(5, pg_temp.f_bytes(1, value));
    END LOOP;
    RETURN pg_temp.f_bytes(1, pg_temp.f_bytes(2, pg_temp.f_bytes(2, pg_temp.span(pg_temp.a_span('{}')) || pg_temp.f_bytes(9, '\x0a0464656570' || pg_temp.f_bytes(2, value))) ||
        pg_temp.f_bytes(2, pg_temp.span(pg_temp.a_span('{"name": "good"}')))));
END $$;
SELECT levels, j AS json, w AS wire FROM unnest(ARRAY[100, 101, 10000]) levels, ingest_otlp(pg_temp.nested_json(levels)) j, ingest_otlp(pg_temp.nested_wire(levels)) w ORDER BY 1;
SELECT "position", reason FROM ingest_errors ORDER BY id;
TRUNCATE events, ingest_errors;
-- The depth that jsonb takes is a bound of the cast, not ours.
SELECT i FROM ingest_otlp(('{"resourceSpans": [], "x": ' || repeat('[', 1000) || repeat(']', 1000) || '}')::jsonb) i;

-- A writer sends, and sees why his own were refused; he reads none of it.
CREATE ROLE otlp_writer IN ROLE trace_ext_writer;
SET SESSION AUTHORIZATION otlp_writer;
SELECT i.* FROM ingest_otlp('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "000000000000000000000000000000f1", "spanId": "00000000000000f1", "startTimeUnixNano": 1, "links": [{"traceId": "000000000000000000000000000000f2", "spanId": "00000000000000f2"}]}, {}]}]}]}') i;
SELECT "position", reason FROM my_ingest_errors;
SELECT count(*) FROM otlp_resources;
RESET SESSION AUTHORIZATION;
SELECT count(*) AS links FROM trace_links;
DROP ROLE otlp_writer;

-- Links leave with their trace.
CALL maintain_partitions();
SET trace_ext.retention_age = '10 years';
CALL job_retention(NULL);
SELECT count(*) AS events FROM events;
SELECT count(*) AS links FROM trace_links;
-- Of a partition that was dropped: a link from before the oldest one leaves, unless its span is there.
SELECT i.* FROM ingest_otlp(pg_temp.request(jsonb_build_array(pg_temp.a_span(jsonb_build_object('startTimeUnixNano', ((extract(epoch FROM now()) - 3 * 365 * 86400) * 1000000)::bigint * 1000, 'links', '[{"traceId": "000000000000000000000000000000a1",
    "spanId": "00000000000000a1"}]'::jsonb))))) i;
INSERT INTO trace_links VALUES (gen_random_uuid(), '0000000000000001', gen_random_uuid(), '0000000000000001', '2001-02-03');
CALL job_retention(NULL);
SELECT count(*) AS links, count(e.id) AS with_span FROM trace_links l LEFT JOIN events e USING (trace_id, span_id, "timestamp");
RESET trace_ext.retention_age;
TRUNCATE events, ingest_errors, otlp_resources, otlp_scopes, trace_links;
