-- Links from consumers to producers, between traces of OpenTelemetry: order, edges, calls between services.
\set ECHO none
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = iso;
SET search_path = trace_ext;
SET trace_ext.lateness = 0;
SELECT coalesce(current_setting('test.seed', true), floor(random() * 1e9)::text) AS seed \gset
TRUNCATE events, ingest_errors, findings, race_pairs, detect_queue;

-- A span of {"trace", "name", "parent", "start", "end" (ms), "kind", "writes": [times], "links": [[trace, name], ...], "service"}.
CREATE FUNCTION pg_temp.request(s jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object(
        'resource', jsonb_build_object('attributes', jsonb_build_array(jsonb_build_object('key', 'service.name', 'value', jsonb_build_object('stringValue', s -> 'service')))),
        'scopeSpans', jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(jsonb_build_object(
            'traceId', md5(s ->> 'trace'), 'spanId', left(md5(s ->> 'name'), 16), 'parentSpanId', left(md5(s ->> 'parent'), 16), 'name', s -> 'name', 'kind', coalesce(s -> 'kind', '1'),
            'startTimeUnixNano', (1795785303000000123 + (s ->> 'start')::numeric * 1000000)::text, 'endTimeUnixNano', (1795785303000000123 + (s ->> 'end')::numeric * 1000000)::text,
            'status', jsonb_build_object('code', coalesce(s -> 'status', '0')),
            'links', (SELECT coalesce(jsonb_agg(jsonb_build_object('traceId', md5(l ->> 0), 'spanId', left(md5(l ->> 1), 16))), '[]') FROM jsonb_array_elements(s -> 'links') l),
            'events', (SELECT coalesce(jsonb_agg(jsonb_build_object('timeUnixNano', (1795785303000000123 + t::numeric * 1000000)::text, 'name', 'trace_ext.state', 'attributes', jsonb_build_array(
                           jsonb_build_object('key', 'trace_ext.variable', 'value', jsonb_build_object('stringValue', 'x')),
                           jsonb_build_object('key', 'trace_ext.access', 'value', jsonb_build_object('stringValue', 'Write'))))), '[]') FROM jsonb_array_elements(s -> 'writes') t)))))))) $$;
CREATE TEMP TABLE sent (n int GENERATED ALWAYS AS IDENTITY, span jsonb);
-- A request writes, publishes, and writes again while the consumer runs in a trace of its own.
INSERT INTO sent (span) VALUES
    ('{"trace": "a", "name": "request", "start": 0, "end": 100, "kind": 2, "writes": [5, 50], "service": "shop"}'),
    ('{"trace": "a", "name": "publish", "parent": "request", "start": 10, "end": 12, "kind": 4, "service": "shop"}'),
    ('{"trace": "b", "name": "process", "start": 20, "end": 40, "kind": 5, "writes": [30], "links": [["a", "publish"]], "service": "mail"}'),
    -- Links of other kinds, and to what is no producer, order nothing and call nobody.
    ('{"trace": "c", "name": "batch", "start": 20, "end": 40, "kind": 1, "writes": [31], "links": [["a", "publish"]], "service": "report"}'),
    ('{"trace": "d", "name": "follow", "start": 20, "end": 40, "kind": 5, "writes": [32], "links": [["a", "request"], ["nowhere", "nothing"]], "service": "report"}');
CREATE FUNCTION pg_temp.name_of(event uuid) RETURNS text LANGUAGE sql AS $$ SELECT f.name || CASE WHEN e.id = f.id THEN '' ELSE ' ' || substr(e.id::text, 28, 1) END
    FROM trace_ext.events e JOIN trace_ext.events f ON (f.trace_id, f.span_id) = (e.trace_id, e.span_id) AND f.duration_ns IS NOT NULL WHERE e.id = event $$;
CREATE VIEW pg_temp.races AS
SELECT pg_temp.name_of(event1_id) AS first, pg_temp.name_of(event2_id) AS second, count(*) OVER (PARTITION BY event1_id, event2_id) AS times FROM (SELECT DISTINCT t.trace_id FROM trace_ext.events t) t, find_races(t.trace_id);
CREATE FUNCTION pg_temp.answers() RETURNS TABLE (what text, answer text) LANGUAGE sql AS $$
    SELECT 'races', string_agg(DISTINCT first || ' - ' || second, ', ' ORDER BY first || ' - ' || second) FROM pg_temp.races
    UNION ALL SELECT 'found', sum(occurrences)::text FROM trace_ext.findings
    UNION ALL SELECT 'calls', string_agg(format('%s > %s by %s %s in %s', from_service, to_service, link_type, call_count, trace_count), ', ' ORDER BY from_service, to_service) FROM trace_ext.service_calls
    UNION ALL SELECT 'map', string_agg(format('%s > %s %s %s ms', from_service, to_service, calls, round(p50_ms)), ', ' ORDER BY from_service, to_service) FROM trace_ext.service_map(NULL, NULL)
    UNION ALL SELECT 'wrong', string_agg(v::text, ' ') FROM trace_ext.verify_summaries() v $$;
SELECT i.* FROM sent, ingest_otlp(pg_temp.request(span)) i ORDER BY n;
SELECT count(*) > 0 AS detected FROM detect();
SELECT * FROM pg_temp.answers();
SELECT pg_temp.name_of(from_event_id), pg_temp.name_of(to_event_id), edge_type, c.trace_id = md5('b')::uuid AS of_consumer FROM causal_edges c WHERE edge_type = 'AsyncAwait' ORDER BY 2, 1;
SELECT (SELECT name FROM events WHERE span_id = from_span AND duration_ns IS NOT NULL), (SELECT name FROM events WHERE span_id = to_span AND duration_ns IS NOT NULL), link_type, first_event FROM distributed_edges ORDER BY 2, 1;
SELECT s.n, d.* FROM sent s, service_dependencies(md5(span ->> 'trace')::uuid) d WHERE span ->> 'name' IN ('request', 'process', 'batch', 'follow') ORDER BY n;

-- The consumer first, the producer late; folded and detected in between or not. Each time the same.
CREATE TEMP TABLE at_once AS SELECT * FROM pg_temp.answers();
CREATE FUNCTION pg_temp.in_order(names text[], meanwhile boolean) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
    FOREACH name IN ARRAY names LOOP
        PERFORM trace_ext.ingest_otlp(pg_temp.request(span)) FROM sent WHERE span ->> 'name' = name;
        IF meanwhile THEN
            PERFORM trace_ext.fold(), trace_ext.detect();
        END IF;
        RETURN QUERY SELECT format('%s: %s', name, v) FROM trace_ext.verify_summaries() v;
    END LOOP;
    PERFORM trace_ext.detect();
    RETURN QUERY SELECT format('%s: %s', d.what, d.answer) FROM (SELECT * FROM pg_temp.answers() EXCEPT TABLE at_once) d;
END
$$;
SELECT o, b, f FROM (VALUES (ARRAY['process', 'batch', 'follow', 'publish', 'request']), (ARRAY['publish', 'process', 'request', 'follow', 'batch']), (ARRAY['process', 'request', 'publish', 'batch', 'follow'])) v (o),
       (VALUES (false), (true)) b (b), pg_temp.in_order(o, b) f;

-- What leaves takes its calls and its order along: a link, a consumer, a producer; and comes back.
DELETE FROM trace_links WHERE trace_id = md5('b')::uuid;
SELECT count(*) > 0 AS detected FROM detect();
SELECT * FROM pg_temp.answers();
-- Delivered again: only the link is new.
SELECT i.* FROM sent, ingest_otlp(pg_temp.request(span)) i WHERE span ->> 'name' = 'process';
SELECT count(*) > 0 AS detected FROM detect();
SELECT * FROM pg_temp.answers() EXCEPT TABLE at_once;
DELETE FROM events WHERE trace_id = md5('a')::uuid;
SELECT * FROM pg_temp.answers() WHERE what IN ('calls', 'map', 'wrong');
SELECT fold() > 0 AS folded;
SELECT * FROM pg_temp.answers() WHERE what IN ('calls', 'map', 'wrong');
SELECT i.* FROM sent, ingest_otlp(pg_temp.request(span)) i WHERE span ->> 'trace' = 'a' ORDER BY n;
SELECT * FROM pg_temp.answers() WHERE what IN ('calls', 'map', 'wrong');
SELECT fold() > 0 AS folded, (SELECT count(*) > 0 FROM detect()) AS detected;
SELECT * FROM pg_temp.answers() EXCEPT TABLE at_once;
UPDATE trace_links SET linked_span_id = left(md5('request'), 16) WHERE trace_id = md5('b')::uuid;
SELECT * FROM pg_temp.answers() WHERE what IN ('calls', 'wrong');
UPDATE trace_links SET linked_span_id = left(md5('publish'), 16) WHERE trace_id = md5('b')::uuid;
SELECT * FROM pg_temp.answers() WHERE what IN ('calls', 'wrong');
SELECT fold() > 0 AS folded;
TRUNCATE trace_links;
SELECT * FROM pg_temp.answers() WHERE what IN ('calls', 'wrong');
SELECT fold() > 0 AS folded;
SELECT * FROM pg_temp.answers() WHERE what IN ('calls', 'wrong');
SELECT rebuild_summaries() IS NOT NULL AS rebuilt;
SELECT * FROM pg_temp.answers() WHERE what IN ('calls', 'wrong');

--
-- A consumer in the trace of its producer, which it names as its parent and in a link, is called once.
--
TRUNCATE events, findings, race_pairs, detect_queue;
SELECT count(*) AS links_left FROM trace_links;
SELECT i.* FROM (VALUES ('{"trace": "a", "name": "publish", "start": 10, "end": 12, "kind": 4, "service": "shop"}'::jsonb),
    ('{"trace": "a", "name": "process", "parent": "publish", "start": 20, "end": 40, "kind": 5, "links": [["a", "publish"]], "service": "mail", "status": 2}')) v (span), ingest_otlp(pg_temp.request(span)) i;
SELECT * FROM service_calls;
SELECT from_service, to_service, link_type, call_count, error_count FROM service_dependencies(md5('a')::uuid);
SELECT * FROM verify_summaries();
SELECT count(*) FROM causal_edges WHERE edge_type = 'AsyncAwait';
SELECT count(*) FROM distributed_edges;

--
-- Random producers and consumers in random traces, some linked to many: against a query over all spans, in random batches, with deletes.
--
TRUNCATE events, findings, race_pairs, detect_queue, sent;
CREATE VIEW pg_temp.plainly AS
SELECT p.service_name AS from_service, c.service_name AS to_service, count(*) AS call_count, count(DISTINCT c.trace_id) AS trace_count
  FROM (SELECT DISTINCT trace_id, span_id, linked_trace_id, linked_span_id FROM trace_links) l JOIN events c ON (c.trace_id, c.span_id) = (l.trace_id, l.span_id) AND c.kind = 'AsyncAwait'
  JOIN events p ON (p.trace_id, p.span_id) = (l.linked_trace_id, l.linked_span_id) AND p.kind = 'AsyncSpawn'
 WHERE p.service_name <> c.service_name GROUP BY 1, 2;
CREATE TEMP TABLE seen (pairs bigint, calls bigint);
CREATE PROCEDURE pg_temp.try(seed text, rounds int) LANGUAGE plpgsql AS $$
DECLARE
    difference text;
BEGIN
    PERFORM setseed(seed::int / 1e9);
    INSERT INTO sent (span)
    SELECT jsonb_build_object('trace', 't' || (n % 40), 'name', 's' || n, 'start', n, 'end', n + 5, 'kind', CASE WHEN n % 2 = 0 THEN 4 ELSE 5 END, 'service', 'v' || floor(random() * 4),
               'links', CASE WHEN n % 2 = 1 THEN (SELECT coalesce(jsonb_agg(jsonb_build_array('t' || (m % 40), 's' || m)), '[]') FROM (SELECT DISTINCT floor(random() * 100)::int * CASE WHEN random() < 0.9 THEN 2 ELSE 1 END AS m FROM generate_series(1, 1 + (n * 7) % 4)) x) ELSE '[]' END)
      FROM generate_series(1, 200) n;
    FOR round IN 1 .. rounds LOOP
        IF random() < 0.2 THEN
            DELETE FROM trace_ext.events WHERE trace_id = ANY (SELECT md5('t' || floor(random() * 40))::uuid FROM generate_series(1, 2));
        ELSIF random() < 0.1 THEN
            DELETE FROM trace_ext.trace_links WHERE linked_trace_id = md5('t' || floor(random() * 40))::uuid;
        ELSE
            PERFORM trace_ext.ingest_otlp(pg_temp.request(span)) FROM (SELECT span FROM sent ORDER BY random() LIMIT 1 + 15 * random()) s;
        END IF;
        IF random() < 0.3 THEN
            PERFORM trace_ext.fold();
        END IF;
        SELECT string_agg(d::text, E'\n') INTO difference FROM (
            (SELECT 'missing', p.* FROM pg_temp.plainly p EXCEPT SELECT 'missing', from_service, to_service, call_count, trace_count FROM trace_ext.service_calls)
            UNION ALL (SELECT 'new', from_service, to_service, call_count, trace_count FROM trace_ext.service_calls EXCEPT SELECT 'new', p.* FROM pg_temp.plainly p)
            UNION ALL SELECT 'verify ' || v.item, v.key, v.stored::text, 0, 0 FROM trace_ext.verify_summaries() v) d;
        IF difference IS NOT NULL THEN
            RAISE EXCEPTION E'round %, test.seed = %\n%', round, seed, difference;
        END IF;
        INSERT INTO seen SELECT count(*), sum(call_count) FROM trace_ext.service_calls;
    END LOOP;
END
$$;
CALL pg_temp.try(:'seed', 80);
-- The most there were: what is deleted last leaves few, now and then.
SELECT max(pairs) > 5 AS many, max(calls) > 30 AS calls FROM seen;
TRUNCATE events, findings, race_pairs, detect_queue;
SELECT count(*) AS deltas FROM summary_deltas;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
