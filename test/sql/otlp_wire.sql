-- ingest_otlp() of bodies that are damaged, hostile, or made at random: no crash, and what is sound in them goes in.
\getenv abs_srcdir PG_ABS_SRCDIR
\set encode :abs_srcdir '/otlp_encode.sql'
\set data :abs_srcdir '/data/otlp'
\set ECHO none
\i :encode
\set ECHO all
SET client_min_messages = warning;
SET search_path = trace_ext;
TRUNCATE events, ingest_errors;
CREATE TEMP TABLE bodies AS
SELECT name, pg_read_binary_file(:'data' || '/' || name) AS body FROM unnest(ARRAY['go-proto-3.bin', 'python-proto-3.bin', 'python-json-5.json', 'python-json-6.json', 'node-proto-4.bin.gz', 'python-json-3.json.gz']) AS name;
INSERT INTO bodies SELECT 'logs in protobuf', pg_temp.wire(convert_from(body, 'UTF8')::jsonb) FROM bodies WHERE name = 'python-json-6.json';
-- What became of a body: an error that says so, or how many spans were refused; nothing of it stays.
CREATE FUNCTION pg_temp.outcome(body bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer record;
BEGIN
    SELECT * INTO answer FROM trace_ext.ingest_otlp(body);
    RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = CASE WHEN answer.rejected > 0 THEN 'some refused' WHEN answer.inserted > 0 THEN 'all taken' ELSE 'nothing in it' END;
EXCEPTION
    WHEN raise_exception THEN RETURN SQLERRM;
    WHEN invalid_text_representation OR invalid_binary_representation OR program_limit_exceeded THEN RETURN 'error';
END $$;

-- Cut off at each byte: there is nothing, or it is an error, as the frame is broken.
SELECT name, outcome, count(*) FROM (SELECT name COLLATE "C", pg_temp.outcome(substr(body, 1, n)) COLLATE "C" AS outcome FROM bodies, generate_series(0, length(body) - 1) n) o GROUP BY 1, 2 ORDER BY 1, 2;
-- A span that is cut off, in a frame that is sound, is refused alone.
CREATE FUNCTION pg_temp.framed(VARIADIC spans bytea[]) RETURNS bytea LANGUAGE sql AS $$
    SELECT pg_temp.f_bytes(1, pg_temp.f_bytes(2, string_agg(pg_temp.f_bytes(2, s), '' ORDER BY n))) FROM unnest(spans) WITH ORDINALITY a (s, n) $$;
CREATE FUNCTION pg_temp.least(n int) RETURNS bytea LANGUAGE sql AS $$
    SELECT pg_temp.span(jsonb_build_object('traceId', lpad(n::text, 32, '0'), 'spanId', lpad(n::text, 16, '0'), 'startTimeUnixNano', 1)) $$;
CREATE TEMP TABLE whole AS
SELECT pg_temp.span(s) AS span FROM (SELECT convert_from(body, 'UTF8')::jsonb AS request FROM bodies WHERE name = 'python-json-5.json') b,
    jsonb_path_query(request, '$.resourceSpans[*].scopeSpans[*].spans[*]') s;
SELECT i.rejected, min(i.inserted + i.duplicates) AS least, max(i.inserted + i.duplicates) AS most, count(*) FROM whole, generate_series(0, length(span)) n, ingest_otlp(pg_temp.framed(substr(span, 1, n), pg_temp.least(1))) i
 GROUP BY 1 ORDER BY 1;
SELECT reason, count(*) > 0 AS some FROM ingest_errors GROUP BY 1 ORDER BY 1;
TRUNCATE events, ingest_errors;

-- Lengths and numbers that lie, in a span between two good ones.
SELECT what, i.inserted, i.duplicates, i.rejected
  FROM (VALUES (1, 'length beyond the span', '\x2a7f41'::bytea), (2, 'length of 2^63', '\x2affffffffffffffff7f'), (3, 'length of 2^64 - 1', '\x2affffffffffffffffff01'), (4, 'varint of 11 bytes', '\x3080808080808080808080'),
               (5, 'varint beyond 64 bits', '\x30ffffffffffffffffff02'), (6, 'field 0', '\x0000'), (7, 'tag beyond 32 bits', '\x808080801000'), (8, 'group', '\x33'), (9, 'end of a group', '\x34'), (10, 'wire type 7', '\x37'),
               (11, 'fixed length cut off', '\x39000000'), (12, 'id of 15 bytes', '\x0a0f000000000000000000000000000001'), (13, 'status cut off', '\x7a0118'), (14, 'event cut off', '\x5a0209ff'), (15, 'link cut off', '\x6a020a10'),
               (16, 'key that is no UTF-8', '\x4a030a01ff'), (17, 'attribute cut off', '\x4a02120a'), (18, 'value cut off', '\x4a031201ff'), (19, 'surrogate in UTF-8', '\x2a03eda080'), (20, 'overlong UTF-8', '\x2a02c080'),
               -- What protobuf allows.
               (21, 'unknown field', '\xfa7f0161'), (22, 'another wire type', '\x2801'), (23, 'varint that is longer than it need be', '\x30828000'), (24, 'the last of two', '\x2a01612a0162'), (25, 'status in two parts', '\x7a0218027a03120161')) v (n, what, extra),
       LATERAL (SELECT pg_temp.least(2) || extra AS span) s, LATERAL ingest_otlp(pg_temp.framed(pg_temp.least(1), span, pg_temp.least(3))) i
 ORDER BY n;
SELECT substr(event, 63) AS behind, reason FROM ingest_errors ORDER BY id;
SELECT kind, name, attributes #- '{otlp,resource}' #- '{otlp,scope}' AS attributes FROM events WHERE span_id = '0000000000000002' ORDER BY 1, 2;
TRUNCATE events, ingest_errors;
-- The resource behind its spans, and in two parts, as protobuf has it; a resource that is no UTF-8 refuses its spans.
SELECT i.* FROM ingest_otlp(pg_temp.f_bytes(1, pg_temp.f_bytes(1, pg_temp.pairs(1, '[{"key": "service.name", "value": {"stringValue": "late"}}]')) || pg_temp.f_bytes(2, pg_temp.f_bytes(2, pg_temp.least(1)))
    || pg_temp.f_bytes(1, pg_temp.pairs(1, '[{"key": "process.pid", "value": {"intValue": 7}}]')))) i;
SELECT service_name, process_id FROM events;
SELECT i.* FROM ingest_otlp(pg_temp.f_bytes(1, pg_temp.f_bytes(1, '\x0a030a01ff') || pg_temp.f_bytes(2, pg_temp.f_bytes(2, pg_temp.least(4)))) || pg_temp.framed(pg_temp.least(5))) i;
SELECT "position", trace_id, reason FROM ingest_errors;
TRUNCATE events, ingest_errors;
-- Many empty spans and attributes: few bytes are many of them, but not in memory.
SELECT i.* FROM ingest_otlp(pg_temp.f_bytes(1, pg_temp.f_bytes(2, decode(repeat('1200', 300000), 'hex')))) i;
SELECT count(*) FROM ingest_errors;
SELECT i.* FROM ingest_otlp(pg_temp.framed(decode(repeat('4a00', 300000), 'hex'))) i;
SELECT reason FROM ingest_errors WHERE reason ~ 'values';
TRUNCATE events, ingest_errors;

--
-- At random: bytes changed, left out, repeated, or taken from elsewhere
--
CREATE TEMP TABLE seed AS SELECT (random() * 2 - 1)::numeric(8, 7)::double precision AS seed;
SELECT setseed(seed) IS NOT NULL AS seeded FROM seed;
CREATE FUNCTION pg_temp.mutated(body bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    at int;
    len int;
BEGIN
    FOR i IN 0 .. (random() * random() * 6)::int LOOP
        at := floor(random() * length(body));
        len := least(floor(random() * random() * 20)::int, length(body) - at);
        CASE floor(random() * 6)::int
            WHEN 0 THEN body := set_byte(body, at, floor(random() * 256)::int);
            WHEN 1 THEN body := set_bit(body, at * 8 + floor(random() * 8)::bigint, 1 - get_bit(body, at * 8));
            WHEN 2 THEN body := substr(body, 1, at) || substr(body, at + len + 1);
            WHEN 3 THEN body := substr(body, 1, at + len) || substr(body, at + 1);
            WHEN 4 THEN body := set_byte(body, at, (ARRAY[0, 127, 128, 255, 34, 92, 123, 125])[ceil(random() * 8)]);
            ELSE body := overlay(body PLACING substr(body, floor(random() * length(body))::int + 1, len) FROM at + 1);
        END CASE;
    END LOOP;
    RETURN body;
END $$;
CREATE TEMP TABLE tried AS
SELECT name, pg_temp.outcome(pg_temp.mutated(body)) AS outcome FROM bodies, generate_series(1, 1500) WHERE name !~ 'gz$' OR generate_series % 10 = 0;
SELECT name, count(*) FILTER (WHERE outcome = 'error') > 0 AS errors, count(*) FILTER (WHERE outcome IN ('all taken', 'some refused')) > 0 AS taken FROM tried WHERE name !~ 'gz$' GROUP BY 1 ORDER BY min(name COLLATE "C");
SELECT count(*) FROM tried WHERE outcome NOT IN ('error', 'all taken', 'some refused', 'nothing in it');
SELECT count(*) FROM events;

--
-- At random: requests in JSON, as text and as jsonb, and in protobuf give the same rows.
--
CREATE FUNCTION pg_temp.one_of(VARIADIC what text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT what[ceil(random() * cardinality(what))] $$;
CREATE FUNCTION pg_temp.any_of(depth int) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    CASE floor(random() * CASE WHEN depth > 2 THEN 7 ELSE 9 END)::int
        WHEN 0 THEN RETURN jsonb_build_object('stringValue', pg_temp.one_of('', 'a', 'ü€😀', 'GET', '/a?b', '"', E'\n', '850', '{"a": 1}', '{', '@bytes', 'Read', 'acquire', repeat('long ', 100)));
        WHEN 1 THEN RETURN jsonb_build_object('intValue', pg_temp.one_of('0', '1', '-1', '200', '404', '503', '9223372036854775807', '-9223372036854775808')::numeric);
        WHEN 2 THEN RETURN jsonb_build_object('intValue', pg_temp.one_of('0', '7', '-9223372036854775808'));
        WHEN 3 THEN RETURN jsonb_build_object('doubleValue', CASE WHEN random() < 0.8 THEN to_jsonb(pg_temp.one_of('0', '1.5', '5', '-1e300', '1e-300', '123456789012345680000', '0.1')::numeric) ELSE to_jsonb(pg_temp.one_of('NaN', 'Infinity', '-Infinity')) END);
        WHEN 4 THEN RETURN jsonb_build_object('boolValue', random() < 0.5);
        WHEN 5 THEN RETURN jsonb_build_object('bytesValue', translate(encode(substr(decode(md5(random()::text), 'hex'), 1, floor(random() * 17)::int), 'base64'), E'\n', ''));
        WHEN 6 THEN RETURN '{}';
        WHEN 7 THEN RETURN jsonb_build_object('arrayValue', jsonb_build_object('values', (SELECT coalesce(jsonb_agg(pg_temp.any_of(depth + 1)), '[]') FROM generate_series(1, floor(random() * 3 + depth * 0)::int))));
        ELSE RETURN jsonb_build_object('kvlistValue', jsonb_build_object('values', pg_temp.pairs_of(depth + 1, 'x', 'y', '@bytes', '@pairs', '')));
    END CASE;
END $$;
CREATE FUNCTION pg_temp.pairs_of(depth int, VARIADIC keys text[]) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('key', k, 'value', pg_temp.any_of(depth))), '[]') FROM unnest(keys) k WHERE random() < 0.4);
END $$;
CREATE FUNCTION pg_temp.ns() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT (1795785303594975307 + floor(random() * 5000) - CASE WHEN random() < 0.1 THEN 1795785303594975307 ELSE 0 END)::numeric::text $$;
CREATE FUNCTION pg_temp.hex(len int) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT left(md5(floor(random() * 40)::text) || md5('x'), len) $$;
CREATE FUNCTION pg_temp.a_span() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('traceId', pg_temp.hex(32), 'spanId', left(md5(random()::text), 16), 'parentSpanId', CASE WHEN random() < 0.7 THEN pg_temp.hex(16) END, 'name', pg_temp.one_of('n', 'GET', ''),
        'kind', floor(random() * 7), 'startTimeUnixNano', pg_temp.ns(), 'endTimeUnixNano', pg_temp.ns(), 'flags', CASE WHEN random() < 0.5 THEN pg_temp.one_of('1', '257', '769', '4294967295')::numeric END,
        'traceState', pg_temp.one_of('', 'a=b'), 'droppedAttributesCount', floor(random() * 2), 'status', CASE WHEN random() < 0.5 THEN jsonb_build_object('code', floor(random() * 3), 'message', pg_temp.one_of('', 'm')) END,
        'attributes', pg_temp.pairs_of(0, 'http.method', 'http.request.method', 'http.route', 'url.path', 'http.target', 'http.status_code', 'http.response.status_code', 'db.system', 'db.statement', 'db.query.text', 'db.name',
                                       'db.response.returned_rows', 'code.filepath', 'code.lineno', 'error.type', 'other', 'a', 'b'),
        'events', (SELECT jsonb_agg(jsonb_build_object('timeUnixNano', pg_temp.ns(), 'name', pg_temp.one_of('exception', 'trace_ext.state', 'trace_ext.lock', 'other', ''), 'attributes', pg_temp.pairs_of(0, 'exception.type',
                       'exception.message', 'exception.stacktrace', 'trace_ext.value', 'trace_ext.old_value', 'trace_ext.lock.type', 'code.file.path', 'other') || CASE WHEN random() < 0.9 THEN '[{"key": "trace_ext.variable",
                       "value": {"stringValue": "v"}}, {"key": "trace_ext.access", "value": {"stringValue": "Write"}}, {"key": "trace_ext.lock.id", "value": {"stringValue": "l"}}, {"key": "trace_ext.lock.op", "value": {"stringValue": "release"}}]' ELSE '[]'::jsonb END))
                     FROM generate_series(1, floor(random() * 4)::int)),
        'links', (SELECT jsonb_agg(jsonb_build_object('traceId', pg_temp.hex(32), 'spanId', pg_temp.hex(16), 'attributes', pg_temp.pairs_of(1, 'a', 'b'), 'flags', 257)) FROM generate_series(1, floor(random() * 2)::int)))) $$;
CREATE FUNCTION pg_temp.a_log() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('traceId', pg_temp.hex(32), 'spanId', CASE WHEN random() < 0.8 THEN left(md5(random()::text), 16) END, 'timeUnixNano', pg_temp.ns(), 'observedTimeUnixNano', pg_temp.ns(), 'severityNumber', floor(random() * 24),
        'severityText', pg_temp.one_of('', 'INFO'), 'eventName', pg_temp.one_of('', 'exception', 'other', 'trace_ext.state'), 'body', pg_temp.any_of(0), 'flags', floor(random() * 2),
        'attributes', pg_temp.pairs_of(0, 'exception.type', 'exception.stacktrace', 'event.name', 'other') || '[{"key": "trace_ext.variable", "value": {"stringValue": "v"}}, {"key": "trace_ext.access", "value": {"stringValue": "Write"}}]')) $$;
CREATE FUNCTION pg_temp.group_of(records jsonb, scopes text, list text) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_build_object('resource', jsonb_build_object('attributes', pg_temp.pairs_of(0, 'service.name', 'service.instance.id', 'process.pid', 'host.name', 'other')), 'schemaUrl', pg_temp.one_of('', 'https://schema'),
        scopes, jsonb_build_array(jsonb_build_object('scope', jsonb_build_object('name', pg_temp.one_of('', 'lib'), 'version', '1', 'attributes', pg_temp.pairs_of(0, 'x')), list, records))) $$;
CREATE TEMP TABLE made AS
SELECT n, CASE WHEN n % 3 > 0 THEN jsonb_build_object('resourceSpans', jsonb_build_array(pg_temp.group_of((SELECT jsonb_agg(pg_temp.a_span()) FROM generate_series(1, 3 + n * 0)), 'scopeSpans', 'spans')))
               ELSE jsonb_build_object('resourceLogs', jsonb_build_array(pg_temp.group_of((SELECT jsonb_agg(pg_temp.a_log()) FROM generate_series(1, 3 + n * 0)), 'scopeLogs', 'logRecords'))) END AS request
  FROM generate_series(1, 200) n;
CREATE TEMP TABLE answers AS SELECT n, i.* FROM made, ingest_otlp(request::text) i;
CREATE TEMP TABLE rows_of_text AS TABLE events;
CREATE TEMP TABLE errors_of_text AS SELECT "position", reason, trace_id, event_id FROM ingest_errors WHERE event_id IS NOT NULL;
CREATE TEMP TABLE sources_of_text AS SELECT id FROM otlp_resources UNION ALL SELECT id FROM otlp_scopes;
CREATE TEMP TABLE links_of_text AS TABLE trace_links;
TRUNCATE events, ingest_errors, otlp_resources, otlp_scopes, trace_links;
SELECT sum(inserted) > 500 AS inserted, sum(duplicates) < 10 AS duplicates, sum(rejected) BETWEEN 1 AND 200 AS rejected FROM answers;
SELECT seed, reason FROM seed, errors_of_text WHERE reason !~ 'trace_ext.[a-z.]+: missing$|imeUnixNano: missing$';
SELECT seed, n, a, i FROM seed, made JOIN answers a USING (n), ingest_otlp(pg_temp.wire(request)) i WHERE (i.inserted, i.rejected) <> (a.inserted, a.rejected);
SELECT seed, d.* FROM seed, (TABLE events EXCEPT ALL TABLE rows_of_text) d;
SELECT seed, d.* FROM seed, (TABLE rows_of_text EXCEPT ALL TABLE events) d;
SELECT seed, d.* FROM seed, (SELECT id FROM otlp_resources UNION ALL SELECT id FROM otlp_scopes EXCEPT ALL TABLE sources_of_text) d;
SELECT seed, d.* FROM seed, (TABLE trace_links EXCEPT ALL TABLE links_of_text) d;
TRUNCATE events;
SELECT seed, n, a, i FROM seed, made JOIN answers a USING (n), ingest_otlp(request) i WHERE (i.inserted, i.rejected) <> (a.inserted, a.rejected);
SELECT seed, d.* FROM seed, (TABLE events EXCEPT ALL TABLE rows_of_text) d;
-- Each event but a first one, and those of log records, follows another of its span.
SELECT seed, e.* FROM seed, rows_of_text e WHERE span_id IS NOT NULL AND NOT (attributes -> 'otlp' ? 'resource') AND NOT EXISTS (SELECT FROM rows_of_text p WHERE (p.trace_id, p.id, p.span_id) = (e.trace_id, e.parent_id, e.span_id));
SELECT count(*) FROM verify_summaries();
TRUNCATE events, ingest_errors, otlp_resources, otlp_scopes, trace_links;
