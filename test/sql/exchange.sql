-- Traces out: what came in by OpenTelemetry is equal, others are valid; test/t/027_exchange.pl judges them with the formats' own parsers.
\getenv abs_srcdir PG_ABS_SRCDIR
\set data :abs_srcdir '/data/otlp'
SET timezone = 'UTC';
SET client_min_messages = warning;
TRUNCATE trace_ext.events, trace_ext.trace_links, trace_ext.otlp_resources, trace_ext.otlp_scopes;
SET client_min_messages = notice;
-- What OpenTelemetry takes for the same: numbers as strings, what is empty or zero as missing, attributes by their key.
CREATE FUNCTION pg_temp.canonical(j jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE jsonb_typeof(j)
        WHEN 'object' THEN coalesce((SELECT jsonb_object_agg(k, c) FROM (SELECT k, pg_temp.canonical(v) AS c FROM jsonb_each(j) AS m (k, v) OFFSET 0) AS m WHERE c IS NOT NULL OR k ~ 'Value$'), CASE WHEN j ? 'key' THEN j END)
        WHEN 'array' THEN (SELECT jsonb_agg(pg_temp.canonical(v) ORDER BY v ->> 'key' COLLATE "C", v ->> 'spanId', n) FROM jsonb_array_elements(j) WITH ORDINALITY AS e (v, n))
        WHEN 'number' THEN CASE WHEN j <> '0' THEN to_jsonb(trim_scale(j::numeric)::text) END
        WHEN 'string' THEN CASE WHEN j NOT IN ('""', '"0"') THEN j END
        WHEN 'boolean' THEN to_jsonb(j::text) END;
END $$;
-- Records with their resource and scope: groups may be in any order, and in more than one part.
CREATE FUNCTION pg_temp.records(request jsonb) RETURNS TABLE (resource jsonb, scope jsonb, record jsonb) LANGUAGE sql AS $$
    SELECT a.resource, b.scope, pg_temp.canonical(e)
      FROM (SELECT r, pg_temp.canonical(r - 'scopeSpans' - 'scopeLogs') AS resource FROM (SELECT * FROM jsonb_array_elements(request -> 'resourceSpans') UNION ALL SELECT * FROM jsonb_array_elements(request -> 'resourceLogs')) AS g (r) OFFSET 0) AS a,
           LATERAL (SELECT s, pg_temp.canonical(s - 'spans' - 'logRecords') AS scope FROM jsonb_array_elements(coalesce(r -> 'scopeSpans', r -> 'scopeLogs')) AS g (s) OFFSET 0) AS b,
           LATERAL jsonb_array_elements(coalesce(s -> 'spans', s -> 'logRecords')) AS c (e)
     WHERE e ->> 'traceId' <> '' $$;
CREATE FUNCTION pg_temp.differences(came jsonb, went jsonb) RETURNS SETOF text LANGUAGE sql AS $$
    WITH c AS MATERIALIZED (SELECT r::text AS record FROM pg_temp.records(came) r), w AS MATERIALIZED (SELECT r::text AS record FROM pg_temp.records(went) r)
    (SELECT 'missing ' || record FROM c EXCEPT SELECT 'missing ' || record FROM w) UNION ALL (SELECT 'too much ' || record FROM w EXCEPT SELECT 'too much ' || record FROM c) $$;

-- The captured bodies in JSON, one by one. What cannot be stored has become U+FFFD.
CREATE FUNCTION pg_temp.round_trip(body text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
BEGIN
    DELETE FROM trace_ext.events;
    PERFORM trace_ext.ingest_otlp(body);
    SELECT array_agg(DISTINCT trace_id) INTO ids FROM trace_ext.events;
    RETURN QUERY SELECT pg_temp.differences(regexp_replace(body, '\\u(0000|d800)', '\ufffd', 'gi')::jsonb, trace_ext.export_otlp(ids));
END $$;
SELECT name, d.* FROM (SELECT f COLLATE "C" AS name, pg_read_file(:'data' || '/' || f) AS body FROM pg_ls_dir(:'data') f WHERE f LIKE '%.json') b, pg_temp.round_trip(body) d ORDER BY name;
-- The comparison does find what differs.
SELECT left(d, 8), count(*) FROM pg_temp.differences('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "01", "name": "a", "kind": 1}]}]}]}', '{"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [{"traceId": "01", "name": "b", "kind": "1"}]}]}]}') d GROUP BY 1;
SELECT * FROM pg_temp.differences('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "01", "kind": 1, "events": [], "attributes": [{"key": "b", "value": {"intValue": "1"}}, {"key": "a", "value": {"doubleValue": 2.0}}]}]}]}]}',
                                  '{"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [{"traceId": "01", "name": "", "kind": 1, "attributes": [{"key": "a", "value": {"doubleValue": 2}}, {"key": "b", "value": {"intValue": 1}}]}]}]}]}');

-- One span with all that there is, two log records, and one span without a name whose column has one.
DELETE FROM trace_ext.events;
\set all '{"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "s"}}], "droppedAttributesCount": 1}, "schemaUrl": "r", "scopeSpans": [{"scope": {"name": "n", "version": "v", "attributes": [{"key": "k", "value": {"boolValue": false}}], "droppedAttributesCount": 2}, "schemaUrl": "c", "spans": [{"traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0001020304050607", "parentSpanId": "08090a0b0c0d0e0f", "traceState": "a=1", "flags": 769, "name": "n", "kind": 2, "startTimeUnixNano": "1795785303594975307", "endTimeUnixNano": "1795785303594975309", "attributes": [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "9223372036854775807"}, {"doubleValue": 5.0}, {"doubleValue": "NaN"}, {"doubleValue": "-0"}, {}, {"kvlistValue": {"values": [{"key": "@bytes", "value": {"stringValue": "x"}}]}}]}}}, {"key": "b", "value": {"bytesValue": "AP8Q"}}], "droppedAttributesCount": 3, "events": [{"timeUnixNano": "1795785303594975308", "name": "e", "droppedAttributesCount": 4}, {"name": "no time"}], "droppedEventsCount": 5, "links": [{"traceId": "01000000000000000000000000000000", "spanId": "0100000000000000", "traceState": "t", "attributes": [{"key": "l", "value": {"intValue": "1"}}], "droppedAttributesCount": 6, "flags": 257}], "droppedLinksCount": 7, "status": {"message": "m", "code": 2}}, {"traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0101020304050607", "kind": 3, "startTimeUnixNano": "1795785303594975307", "attributes": [{"key": "db.system", "value": {"stringValue": "x"}}, {"key": "db.statement", "value": {"stringValue": "SELECT 1"}}]}]}]}]}'
\set logs '{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1795785303594975307", "observedTimeUnixNano": "18446744073709551615", "severityNumber": 9, "severityText": "INFO", "body": {"kvlistValue": {"values": [{"key": "b", "value": {"intValue": "1"}}]}}, "traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0001020304050607", "eventName": "exception", "attributes": [{"key": "exception.type", "value": {"stringValue": "E"}}]}, {"observedTimeUnixNano": "1", "traceId": "000102030405060708090a0b0c0d0e0f"}]}]}]}'
SELECT * FROM trace_ext.ingest_otlp(:'all'::jsonb);
SELECT * FROM trace_ext.ingest_otlp(:'logs'::jsonb);
SELECT * FROM pg_temp.differences(:'all'::jsonb || :'logs', trace_ext.export_otlp('00010203-0405-0607-0809-0a0b0c0d0e0f'));
SELECT jsonb_pretty(trace_ext.export_otlp('00010203-0405-0607-0809-0a0b0c0d0e0f') #> '{resourceSpans,0,scopeSpans,0,spans,0}');
SELECT jsonb_pretty(trace_ext.export_jaeger('00010203-0405-0607-0809-0a0b0c0d0e0f') #> '{data,0}');
SELECT jsonb_pretty(trace_ext.export_zipkin('00010203-0405-0607-0809-0a0b0c0d0e0f'));
SELECT jsonb_pretty(trace_ext.export_chrome('00010203-0405-0607-0809-0a0b0c0d0e0f') - 'displayTimeUnit');
-- A resource that an administrator deleted: what columns say.
DELETE FROM trace_ext.otlp_resources;
DELETE FROM trace_ext.otlp_scopes;
SELECT trace_ext.export_otlp('00010203-0405-0607-0809-0a0b0c0d0e0f') #> '{resourceSpans,0,resource}' AS resource, trace_ext.export_otlp('00010203-0405-0607-0809-0a0b0c0d0e0f') #> '{resourceSpans,0,scopeSpans,0,scope}' AS scope;

-- Events that never were spans: a request that is answered, calls one of which fails, an access, a lock, in microseconds and below.
DELETE FROM trace_ext.events;
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, duration_ns, attributes, tags) VALUES
    (md5('t')::uuid, md5('1')::uuid, NULL, '2026-11-30 12:00:00', 'HttpRequest', 'POST /api/<b>?x="1"', 'web', 'w-1', 7, 'th', NULL, '{"headers": {"a": "b"}}', '{"t": 1}'),
    (md5('t')::uuid, md5('2')::uuid, md5('1')::uuid, '2026-11-30 12:00:00.001', 'FunctionCall', 'pay', 'web', 'w-1', 7, 'th', 5000123, '{"file": "a.js", "line": 3, "args": [1, {"@bytes": "x"}]}', NULL),
    (md5('t')::uuid, md5('3')::uuid, md5('2')::uuid, '2026-11-30 12:00:00.002', 'StateChange', 'balance', 'web', 'w-1', 7, 'th', NULL, '{"access_type": "Write", "old_value": 1, "new_value": {"b": 2}, "location": "a.js:4"}', NULL),
    (md5('t')::uuid, md5('4')::uuid, md5('2')::uuid, '2026-11-30 12:00:00.003', 'Error', 'Boom', 'web', 'w-1', 7, 'th', NULL, '{"message": "it broke", "stack_trace": ["a", "b"]}', NULL),
    (md5('t')::uuid, md5('5')::uuid, md5('1')::uuid, '2026-11-30 12:00:00.01', 'HttpResponse', '500', 'web', 'w-1', 7, 'th', NULL, '{"status": 500}', NULL);
SELECT trace_ext.export_otlp(md5('t')::uuid);
SELECT s ->> 'operationName' AS name, s ->> 'duration' AS us, s -> 'references' AS refs, jsonb_array_length(s -> 'logs') AS logs, s -> 'tags' @> '[{"key": "error", "type": "bool", "value": true}]' AS error
  FROM jsonb_array_elements(trace_ext.export_jaeger(md5('t')::uuid) #> '{data,0,spans}') s;
-- It goes in again: the same kinds, accesses and errors.
CREATE TEMP TABLE exported AS SELECT trace_ext.export_otlp(md5('t')::uuid) AS d;
DELETE FROM trace_ext.events;
SELECT * FROM trace_ext.ingest_otlp((SELECT d FROM exported));
SELECT kind, name, duration_ns, attributes ->> 'access_type' AS access, attributes -> 'new_value' AS value, attributes ->> 'location' AS location, attributes ->> 'message' AS message
  FROM trace_ext.events ORDER BY "timestamp", id;
SELECT * FROM pg_temp.differences((SELECT d FROM exported), trace_ext.export_otlp(md5('t')::uuid));

-- A task that a span of OpenTelemetry began, and an event of another client awaits: the await is the span's end in pictures, and a span of its own here.
SELECT * FROM trace_ext.ingest_otlp('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "send", "kind": 4, "startTimeUnixNano": "1796040000000000000", "endTimeUnixNano": "1796040000001000000"}]}]}]}'::jsonb);
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name)
SELECT trace_id, md5('await')::uuid, id, "timestamp" + interval '5 ms', 'AsyncAwait', name FROM trace_ext.events WHERE kind = 'AsyncSpawn' AND trace_id = '0af76519-16cd-43dd-8448-eb211c80319c';
SELECT s ->> 'name' AS name, s ->> 'kind' AS kind, s ->> 'parentSpanId' AS parent FROM jsonb_array_elements(jsonb_path_query_array(trace_ext.export_otlp('0af76519-16cd-43dd-8448-eb211c80319c'), '$.resourceSpans[*].scopeSpans[*].spans[*]')) s ORDER BY 2;

-- Several traces, each once; what is not there, and nothing at all.
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name) VALUES (md5('u')::uuid, md5('1')::uuid, '2026-11-30 12:00:00', 'Custom', 'x');
SELECT jsonb_array_length(trace_ext.export_jaeger(ARRAY[md5('t'), md5('u'), md5('t'), NULL, md5('gone')]::uuid[]) -> 'data') AS traces;
SELECT trace_ext.export_otlp(md5('gone')) IS NULL AS otlp, trace_ext.export_jaeger(md5('gone')) IS NULL AS jaeger;
SELECT trace_ext.export_otlp('{}'::uuid[]) AS otlp, trace_ext.export_jaeger('{}'::uuid[]) AS jaeger, trace_ext.export_zipkin('{}'::uuid[]) AS zipkin, trace_ext.export_chrome('{NULL}'::uuid[]) AS chrome;
SELECT trace_ext.export_otlp(NULL::uuid), trace_ext.export_zipkin(NULL::text), trace_ext.export_chrome(NULL::uuid[]);
SELECT trace_ext.export_chrome('no id');

--
-- traceparent, as the specification's own examples have it
--
SELECT h AS header, p.* FROM unnest(ARRAY['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff',
    ' 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' || E'\t', 'cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-will-be-like',
    'fe-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-']) AS h, trace_ext.parse_traceparent(h) p;
-- Malformed: as if it were not there.
SELECT h AS header FROM unnest(ARRAY['', '00', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011',
    '00-00000000000000000000000000000000-b7ad6b7169203331-01', '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01', 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333x-01', '00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what',
    '00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01', '0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', E'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n00', U&'00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\0661-01', repeat('0', 1000000)]) AS h, trace_ext.parse_traceparent(h) p
 WHERE p IS DISTINCT FROM (NULL::int, NULL::uuid, NULL::text, NULL::int, NULL::boolean);
SELECT trace_ext.parse_traceparent(NULL);
SELECT trace_ext.format_traceparent('0af76519-16cd-43dd-8448-eb211c80319c', 'b7ad6b7169203331'), trace_ext.format_traceparent('0af76519-16cd-43dd-8448-eb211c80319c', 'B7AD6B7169203331', false);
SELECT count(*) FROM generate_series(1, 1000) i, LATERAL (SELECT md5('t' || i)::uuid AS t, left(md5('s' || i), 16) AS s, i % 2 = 0 AS b) x, trace_ext.parse_traceparent(trace_ext.format_traceparent(t, s, b)) p WHERE (p.version, p.trace_id, p.span_id, p.sampled) = (0, t, s, b);
SELECT trace_ext.format_traceparent('0af76519-16cd-43dd-8448-eb211c80319c', 'x');
SELECT trace_ext.format_traceparent('0af76519-16cd-43dd-8448-eb211c80319c', '0000000000000000');
SELECT trace_ext.format_traceparent('00000000-0000-0000-0000-000000000000', 'b7ad6b7169203331');
SELECT trace_ext.format_traceparent(NULL::uuid, 'b7ad6b7169203331');
TRUNCATE trace_ext.events, trace_ext.trace_links, trace_ext.otlp_resources, trace_ext.otlp_scopes;
