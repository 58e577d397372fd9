-- ingest_events(text) and ingest_events(jsonb) answer the same; settings are judged when they are set.
SET client_min_messages = warning;
SET datestyle = iso;
SET timezone = 'UTC';
CREATE FUNCTION pg_temp.event(n int, extra text) RETURNS text LANGUAGE sql AS $$
    SELECT format('{"events": [{"id": "%s", "trace_id": "%s", "timestamp": "2026-11-20T10:00:00Z", %s}]}',
                  md5('doors' || n)::uuid, md5('doors')::uuid, extra) $$;
CREATE FUNCTION pg_temp.stored(batch text, as_jsonb boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    BEGIN
        IF as_jsonb THEN
            SELECT i::text INTO answer FROM trace_ext.ingest_events(batch::jsonb) i;
        ELSE
            SELECT i::text INTO answer FROM trace_ext.ingest_events(batch) i;
        END IF;
        answer := answer || coalesce((SELECT string_agg(e::text, '|') FROM trace_ext.events e WHERE trace_id = md5('doors')::uuid), '') ||
            coalesce((SELECT string_agg(reason, '|') FROM trace_ext.my_ingest_errors), '');
        RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = answer;
    EXCEPTION WHEN raise_exception THEN
        RETURN SQLERRM;
    END;
END $$;
CREATE TEMP TABLE seed AS SELECT (random() * 2 - 1)::numeric(8, 7)::double precision AS seed;
SELECT setseed(seed) IS NOT NULL AS seeded FROM seed;
CREATE TEMP TABLE sent AS
SELECT n, pg_temp.event(n, format('"kind": {%s: {"name": %s, "variable": %s, "access_type": %s, %s: 1}}, "parent_id": %s, "metadata": {"duration_ns": %s, "process_id": %s, "tags": %s}',
    (ARRAY['"Custom"', '"StateChange"', '"custom"'])[ceil(random() * 3)], x.string, x.string, (ARRAY['"Read"', '"read"', 'null'])[ceil(random() * 3)], x.string,
    CASE WHEN random() < 0.3 THEN to_json(md5('doors' || n)::uuid)::text ELSE 'null' END, x.number, (ARRAY['1', '1.0', '1.5', '"1"'])[ceil(random() * 4)], x.tags)) AS batch
  FROM generate_series(1, 400) n,
       LATERAL (SELECT (ARRAY['"caf\u00e9"', '"a"', '""', '"\ud83d\ude00"', '"tab\t"', '"\u20ac"'])[ceil(random() * 6 + n * 0)] AS string,
                       (ARRAY['1234.25', '1e3', '1.5e3', '-1', '-0.4', '0.5', '1e30', '"NaN"', 'null', '9223372036854775807', '9223372036854775807.4', '1e-3', '9223372036854775807.5'])[ceil(random() * 13)] AS number,
                       (ARRAY['{}', '[]', '{"\u00e9": 1}', 'null'])[ceil(random() * 4)] AS tags) x;
SELECT seed, batch, pg_temp.stored(batch, false), pg_temp.stored(batch, true) FROM sent, seed
 WHERE pg_temp.stored(batch, false) IS DISTINCT FROM pg_temp.stored(batch, true);

-- Limits hold at both doors, with the same reason; a number by its value, not its spelling.
SELECT what, pg_temp.stored(batch, false) = pg_temp.stored(batch, true) AS same, right(pg_temp.stored(batch, false), 75) AS answer
  FROM (SELECT n, what, pg_temp.event(1000, format('"kind": {"Custom": {"a": 1, %s: %s}}, "metadata": {"duration_ns": %s}', key, value, duration)) AS batch
          FROM (VALUES (1, 'below 0', '"b"', '1', '-0.4'), (2, 'hardly below 0', '"b"', '1', '-1e-300'), (3, 'a half', '"b"', '1', '2.5'),
                       (4, 'too large', '"b"', '1', '9223372036854775807.5'), (5, 'large exponent', '"b"', '1e401', '1'), (6, 'small exponent', '"b"', '1e-401', '1'),
                       (7, 'digits', '"b"', repeat('7', 401), '1'), (8, 'just within', '"b"', repeat('7', 400), '1'), (9, 'a long zero', '"b"', '1', '1.' || repeat('0', 500)),
                       (10, 'key', to_json(repeat('k', 2000000))::text, '1', '1'), (11, 'value', '"b"', to_json(repeat('k', 2000000))::text, '1')) v (n, what, key, value, duration)) p
 ORDER BY n;
-- However "events" is spelled; events that come under a second one are not lost in silence.
SELECT inserted, rejected FROM trace_ext.ingest_events('{"\u0065vents": [{}]}');
SELECT inserted, rejected FROM trace_ext.ingest_events('{"\u0065vents": [{}]}'::jsonb);
SELECT trace_ext.ingest_events('{"events": [], "events": [{}]}');
DELETE FROM trace_ext.ingest_errors;
-- Of a key that occurs twice the last counts, however either is spelled. Of what came before, jsonb has no more to judge.
SELECT what, pg_temp.stored(batch, false) = pg_temp.stored(batch, true) AS same, right(pg_temp.stored(batch, false), 75) AS as_text, left(pg_temp.stored(batch, true), 7) AS as_jsonb
  FROM (SELECT n, what, pg_temp.event(1000, extra) AS batch
          FROM (VALUES (1, 'id', '"id": "x", "id": "00000000-0000-0000-0000-0000000000aa", "kind": "Custom"'), (2, 'id, bad at last', '"kind": "Custom", "id": "x"'),
                       (3, 'kind', '"kind": {"Custom": {"name": "a"}}, "kind": {"FunctionCall": {"function_name": "b"}}'), (4, 'in kind', '"kind": {"Custom": {"name": "a"}, "Custom": {"name": "b"}}'),
                       (5, 'name', '"kind": {"Custom": {"name": "a", "n\u0061me": "b", "data": {"x": 1, "x": [{"y": 1, "y": 2}]}}}'),
                       (6, 'metadata', '"kind": "Custom", "metadata": {"service_name": "a", "thread_id": "t"}, "metadata": {"service_name": "b"}'),
                       (7, 'in metadata', '"kind": "Custom", "metadata": {"tags": {"a": 1, "a": 2}, "service_name": "a", "service_name": null}'),
                       (8, 'vector', '"kind": "Custom", "causality_vector": {"a": 1, "a": 2}'), (9, 'unknown', '"kind": "Custom", "what": 1, "what": 2'),
                       (10, 'too deep at first', format('"kind": {"Custom": {"data": %s, "data": 1}}', repeat('[', 200) || repeat(']', 200))),
                       (11, 'too large at first', '"kind": {"Custom": {"data": 1e500, "data": 1}}')) v (n, what, extra)) p
 ORDER BY n;
DELETE FROM trace_ext.ingest_errors;

SELECT inserted, rejected FROM trace_ext.ingest_events(pg_temp.event(1, '"kind": "Custom", "parent_id": "' || md5('doors1')::uuid || '", "metadata": {"duration_ns": 1234.25}'));
SELECT parent_id, duration_ns, attributes FROM trace_ext.events WHERE trace_id = md5('doors')::uuid;
-- Columns that come and go.
ALTER TABLE trace_ext.events ADD COLUMN x int DEFAULT 7;
SELECT inserted, rejected FROM trace_ext.ingest_events(pg_temp.event(2, '"kind": "Custom"'));
SELECT x FROM trace_ext.events WHERE id = md5('doors2')::uuid;
ALTER TABLE trace_ext.events DROP COLUMN x;
SELECT inserted, rejected FROM trace_ext.ingest_events(pg_temp.event(3, '"kind": "Custom"'));
SELECT event_count FROM trace_ext.trace_summaries WHERE trace_id = md5('doors')::uuid;
SELECT count(*) FROM trace_ext.verify_summaries();
-- A writer sees why its own were refused, and nobody else's.
SELECT rejected FROM trace_ext.ingest_events(pg_temp.event(4, '"kind": "custom"'));
CREATE ROLE doors_writer IN ROLE trace_ext_writer;
SET SESSION AUTHORIZATION doors_writer;
SELECT rejected FROM trace_ext.ingest_events('[{"id": 1}]');
SELECT "position", reason FROM trace_ext.my_ingest_errors;
RESET SESSION AUTHORIZATION;
DELETE FROM trace_ext.ingest_errors;
DELETE FROM trace_ext.events WHERE trace_id = md5('doors')::uuid;
DROP ROLE doors_writer;

-- Settings.
CREATE FUNCTION pg_temp.judged(name text, value text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('trace_ext.' || name, value, true);
    RETURN 'taken';
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN 'refused';
END $$;
SELECT name, value, pg_temp.judged(name, value) FROM (VALUES
    ('retention_age', '30'), ('retention_age', '0'), ('retention_age', '0 days'), ('retention_age', '-1 day'), ('retention_age', '30 days ago'),
    ('retention_age', '10000000 years'), ('retention_age', 'soon'), ('retention_age', '1 month -10 days'), ('retention_age', '1 day 5'),
    ('retention_age', 'infinity'), ('retention_age', 'nan days'), ('retention_age', '0x10 days'), ('retention_age', '1.5 days'), ('retention_age', ''), ('retention_age', '30 days'),
    ('retention_age', '1 year 2 mons'), ('retention_age', '36:30:00'), ('retention_age', '90 min'),
    ('partition_interval', '1'), ('partition_interval', '0 hours'), ('partition_interval', '-1 day'), ('partition_interval', '90 min'),
    ('partition_interval', '1 month'), ('partition_interval', ''), ('partition_interval', '1 week'), ('partition_interval', '06:00'),
    ('global_locks', 'redis:,,db:'), ('global_locks', ','), ('global_locks', ''), ('global_locks', 'a, b'),
    ('clock_skew', '-1'), ('clock_skew', '1 day'), ('horizon', '0'), ('lateness', '-1'), ('thread_kind', 'threads'), ('variable_scope', 'x')) v (name, value);
\set VERBOSITY terse
SELECT trace_ext.alter_job('fold', "interval" => '0');
SELECT trace_ext.alter_job('fold', "interval" => '10000000 years');
SELECT trace_ext.alter_job('fold', timeout => '-1 s');

-- An event that is its own parent is a root whichever way it came: the same batch, sent and inserted, has the same summary, roots, edges and spans.
CREATE TEMP TABLE both_doors AS
SELECT n, md5('own' || n)::uuid AS id, md5('own' || parent)::uuid AS parent_id, '2026-11-20 10:00:00+00'::timestamptz + n * interval '1 millisecond' AS "timestamp",
       kind, name, service, span, upstream
  FROM (VALUES (1, 1, 'HttpRequest', 'POST /first', 'web', 's1', NULL), (2, 1, 'FunctionCall', 'f', 'web', 's1', NULL),
               (3, NULL, 'FunctionCall', 'second root', 'web', 's1', NULL), (4, 4, 'AsyncSpawn', 'callee', 'db', 's2', 's1'),
               (5, 4, 'HttpResponse', '200', 'db', 's2', 's1'), (6, 99, 'DatabaseQuery', 'orphan', 'db', 's3', 's2')) v (n, parent, kind, name, service, span, upstream);
SELECT i.* FROM (SELECT jsonb_agg(jsonb_build_object('id', id, 'trace_id', md5('sent')::uuid, 'parent_id', parent_id, 'timestamp', to_char("timestamp", 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'kind', jsonb_build_object(kind, CASE kind WHEN 'HttpRequest' THEN '{"method": "POST", "url": "/first"}' WHEN 'HttpResponse' THEN '{"status": 200}' WHEN 'FunctionCall' THEN jsonb_build_object('function_name', name)
                                               WHEN 'AsyncSpawn' THEN '{"task_id": "callee"}' ELSE jsonb_build_object('query', name) END),
    'metadata', jsonb_build_object('service_name', service, 'distributed_span_id', span, 'upstream_span_id', upstream))) AS batch FROM both_doors) b, trace_ext.ingest_events(batch) i;
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, span_id, upstream_span_id)
SELECT md5('inserted')::uuid, id, parent_id, "timestamp", kind::trace_ext.event_kind, name, service, span, upstream FROM both_doors;
CREATE FUNCTION pg_temp.seen(trace text) RETURNS TABLE (what text, shown text) LANGUAGE sql AS $$
    SELECT 'summary', (to_jsonb(t) - 'trace_id')::text FROM trace_ext.trace_summaries t WHERE trace_id = md5(trace)::uuid
    UNION ALL SELECT 'listed', (to_jsonb(t) - 'trace_id')::text FROM trace_ext.list_traces(1000) t WHERE trace_id = md5(trace)::uuid
    UNION ALL SELECT 'root', (to_jsonb(t) - 'trace_id')::text FROM trace_ext.trace_roots t WHERE trace_id = md5(trace)::uuid
    UNION ALL SELECT 'edge', (to_jsonb(t) - 'trace_id')::text FROM trace_ext.causal_edges t WHERE trace_id = md5(trace)::uuid
    UNION ALL SELECT 'span', (to_jsonb(t) - 'trace_id')::text FROM trace_ext.distributed_spans t WHERE trace_id = md5(trace)::uuid
    UNION ALL SELECT 'call', (to_jsonb(t) - 'trace_id')::text FROM trace_ext.distributed_edges t WHERE trace_id = md5(trace)::uuid
    UNION ALL SELECT 'orders', t::text FROM trace_ext_internal.traces_that_order(ARRAY[md5(trace)::uuid]) t WHERE t <> md5(trace)::uuid
    UNION ALL SELECT 'misses', cardinality(trace_ext_internal.traces_that_miss_a_parent(ARRAY[md5(trace)::uuid]))::text $$;
SELECT what, count(*) FROM pg_temp.seen('sent') GROUP BY what ORDER BY what;
SELECT root_name, root_service FROM trace_ext.trace_summaries WHERE trace_id IN (md5('sent')::uuid, md5('inserted')::uuid);
SELECT name FROM trace_ext.trace_roots WHERE trace_id = md5('inserted')::uuid ORDER BY "timestamp";
CREATE TEMP VIEW unlike AS
(SELECT * FROM pg_temp.seen('sent') EXCEPT ALL SELECT * FROM pg_temp.seen('inserted'))
UNION ALL (SELECT * FROM pg_temp.seen('inserted') EXCEPT ALL SELECT * FROM pg_temp.seen('sent'));
SELECT * FROM unlike;
SELECT * FROM trace_ext.verify_summaries();
SELECT trace_ext.fold() >= 0 AS folded;
SELECT * FROM unlike;
-- Computed again from what is left.
DELETE FROM trace_ext.events WHERE id = md5('own2')::uuid;
SELECT * FROM unlike;
UPDATE trace_ext.events SET parent_id = id WHERE id = md5('own6')::uuid;
UPDATE trace_ext.events SET parent_id = md5('own2')::uuid WHERE id = md5('own1')::uuid;
SELECT root_name, root_service FROM trace_ext.trace_summaries WHERE trace_id IN (md5('sent')::uuid, md5('inserted')::uuid);
SELECT * FROM unlike;
SELECT trace_ext.fold() >= 0 AS folded;
SELECT * FROM unlike;
SELECT * FROM trace_ext.verify_summaries();
DELETE FROM trace_ext.events;
DELETE FROM trace_ext.ingest_errors;
-- What a client says itself stays as it was sent.
SELECT inserted, rejected FROM trace_ext.ingest_events(pg_temp.event(1, '"kind": {"Custom": {"own_parent": true}}, "metadata": {"own_parent": true}'));
SELECT inserted, rejected FROM trace_ext.ingest_events(pg_temp.event(2, '"kind": {"Custom": {"own_parent": false}}, "parent_id": "' || md5('other')::uuid || '"'));
SELECT parent_id, attributes, tags FROM trace_ext.events WHERE trace_id = md5('doors')::uuid ORDER BY id;
DELETE FROM trace_ext.events;

-- Another encoding: what it has is stored, what it lacks is refused alone.
\set before :DBNAME
CREATE DATABASE doors_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c doors_latin1
SET client_min_messages = warning;
CREATE EXTENSION trace_ext;
CREATE FUNCTION pg_temp.event(s text, id int) RETURNS text LANGUAGE sql AS $$
    SELECT format('{"id": "%s", "trace_id": "%s", "timestamp": "2026-11-20T10:00:00Z", "kind": {"Custom": {"name": "%s", "%s": 1}}}', md5(id::text)::uuid, md5('')::uuid, s, s) $$;
SELECT i.* FROM trace_ext.ingest_events(format('[%s, %s, %s]', pg_temp.event('caf\u00e9', 1), pg_temp.event('\u20ac', 2), pg_temp.event('\ud83d\ude00', 3))) i;
SELECT i.* FROM trace_ext.ingest_events(format('[%s]', pg_temp.event('caf\u00e9', 1))::jsonb) i;
SELECT reason FROM trace_ext.my_ingest_errors;
\c :before
DROP DATABASE doors_latin1;
