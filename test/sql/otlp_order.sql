-- What came before what in traces of OpenTelemetry: by the intervals of their spans.
\set ECHO none
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\getenv abs_srcdir PG_ABS_SRCDIR
\set data :abs_srcdir '/data/otlp'
SET client_min_messages = warning;
SET timezone = 'UTC';
SET search_path = trace_ext;
SELECT coalesce(current_setting('test.seed', true), floor(random() * 1e9)::text) AS seed,
       coalesce(current_setting('test.traces', true), '100') AS traces \gset
\set ECHO all
TRUNCATE events, ingest_errors, otlp_resources, otlp_scopes;

-- A span of {"name", "parent", "start", "end", "kind", "events": [[time, access, value], ...]}, whose times are in nanoseconds after base;
-- its id and its parent's are made of their names, or are those given.
CREATE FUNCTION pg_temp.span(trace text, s jsonb, base numeric DEFAULT 1795785303000000123) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('traceId', md5(trace), 'spanId', left(md5(s ->> 'name'), 16), 'parentSpanId', left(md5(s ->> 'parent'), 16), 'name', s ->> 'name', 'kind', coalesce((s ->> 'kind')::int, 1),
        'startTimeUnixNano', (base + (s ->> 'start')::numeric)::text, 'endTimeUnixNano', (base + (s ->> 'end')::numeric)::text, 'events',
        (SELECT coalesce(jsonb_agg(jsonb_build_object('timeUnixNano', (base + (e ->> 0)::numeric)::text) ||
             CASE WHEN e ->> 1 IN ('acquire', 'release')
                  THEN jsonb_build_object('name', 'trace_ext.lock', 'attributes', jsonb_build_array(
                           jsonb_build_object('key', 'trace_ext.lock.id', 'value', jsonb_build_object('stringValue', e ->> 2)),
                           jsonb_build_object('key', 'trace_ext.lock.op', 'value', jsonb_build_object('stringValue', e ->> 1))))
                  ELSE jsonb_build_object('name', 'trace_ext.state', 'attributes', jsonb_build_array(
                           jsonb_build_object('key', 'trace_ext.variable', 'value', jsonb_build_object('stringValue', coalesce(e ->> 3, trace))),
                           jsonb_build_object('key', 'trace_ext.access', 'value', jsonb_build_object('stringValue', e ->> 1)),
                           jsonb_build_object('key', 'trace_ext.value', 'value', jsonb_build_object('stringValue', e ->> 2)))) END ORDER BY n), '[]')
           FROM jsonb_array_elements(s -> 'events') WITH ORDINALITY a (e, n))) $$;
CREATE FUNCTION pg_temp.request(spans jsonb, service text DEFAULT 's') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('resource', jsonb_build_object('attributes', jsonb_build_array(
               jsonb_build_object('key', 'service.name', 'value', jsonb_build_object('stringValue', service)))),
           'scopeSpans', jsonb_build_array(jsonb_build_object('spans', spans))))) $$;
CREATE FUNCTION pg_temp.ingest(trace text, spans jsonb, base numeric DEFAULT 1795785303000000123, service text DEFAULT 's') RETURNS bigint LANGUAGE sql AS $$
    SELECT inserted FROM trace_ext.ingest_otlp(pg_temp.request((SELECT jsonb_agg(pg_temp.span(trace, s, base)) FROM jsonb_array_elements(spans) s), service)) $$;
-- An event as the name of its span and its place in it.
CREATE FUNCTION pg_temp.label(trace uuid, event uuid) RETURNS text LANGUAGE sql AS $$
    SELECT (SELECT f.name FROM trace_ext.events f WHERE (f.trace_id, f.span_id) = (e.trace_id, e.span_id) AND f.duration_ns IS NOT NULL) || substr(e.id::text, 28, 1) || CASE WHEN substr(e.id::text, 20, 1) = '7' THEN '$' ELSE '' END
      FROM trace_ext.events e WHERE (e.trace_id, e.id) = (trace, event) $$;
-- The events in their order, each with its strand and its causes.
CREATE FUNCTION pg_temp.ordered(trace text) RETURNS TABLE (seq bigint, event text, strand int, causes text) LANGUAGE sql AS $$
    SELECT seq, pg_temp.label(md5(trace)::uuid, event_id), strand, (SELECT string_agg(pg_temp.label(md5(trace)::uuid, c), ' ' ORDER BY pg_temp.label(md5(trace)::uuid, c)) FROM unnest(causes) c)
      FROM trace_ext.causal_order(md5(trace)::uuid) ORDER BY seq $$;
CREATE FUNCTION pg_temp.races(trace text) RETURNS TABLE (first text, second text, kind text) LANGUAGE sql AS $$
    SELECT pg_temp.label(event1_trace_id, event1_id), pg_temp.label(event2_trace_id, event2_id), kind FROM trace_ext.find_races(md5(trace)::uuid) ORDER BY 1, 2, 3 $$;

--
-- In line, beside each other, too late, in between
--
SELECT pg_temp.ingest('line', '[{"name": "p", "start": 0, "end": 90000000, "events": [[1000000, "Write", 1], [30000000, "Write", 2], [80000000, "Write", 3]]},
    {"name": "a", "parent": "p", "start": 2000000, "end": 20000000, "events": [[3000000, "Write", 4]]},
    {"name": "b", "parent": "p", "start": 20000000, "end": 29000000, "kind": 3, "events": [[21000000, "Write", 5]]},
    {"name": "c", "parent": "p", "start": 40000000, "end": 50000000, "events": [[41000000, "Write", 6]]},
    {"name": "d", "parent": "p", "start": 45000000, "end": 60000000, "kind": 2, "events": [[46000000, "Write", 7]]},
    {"name": "e", "parent": "p", "start": 85000000, "end": 92000000, "events": [[91000000, "Write", 8]]}]');
SELECT * FROM pg_temp.ordered('line');
SELECT * FROM pg_temp.races('line');
-- e outlives p by more than 2 ms, so g, which comes after p, waits neither for it nor for what it called, though that ended in time.
SELECT pg_temp.ingest('late', '[{"name": "o", "start": 0, "end": 200000000}, {"name": "p", "parent": "o", "start": 0, "end": 90000000},
    {"name": "e", "parent": "p", "start": 85000000, "end": 92000001, "events": [[91000000, "Write", 8]]},
    {"name": "f", "parent": "e", "start": 86000000, "end": 87000000, "events": [[86000000, "Write", 8]]},
    {"name": "g", "parent": "o", "start": 100000000, "end": 110000000, "events": [[101000000, "Write", 9]]}]');
SELECT * FROM pg_temp.races('late');
-- The parent has an event while its only child runs: the two race, and nothing else.
SELECT pg_temp.ingest('between', '[{"name": "p", "start": 0, "end": 90000000, "events": [[1000000, "Write", 1], [5000000, "Write", 2], [9000000, "Write", 3]]},
    {"name": "a", "parent": "p", "start": 2000000, "end": 8000000, "events": [[3000000, "Write", 4]]}]');
SELECT * FROM pg_temp.races('between');

--
-- Times in nanoseconds: children half a microsecond apart are in line, those that overlap by one nanosecond are not.
--
SELECT pg_temp.ingest('apart', '[{"name": "p", "start": 0, "end": 90000}, {"name": "a", "parent": "p", "start": 100, "end": 1700, "events": [[1699, "Write", 1]]}, {"name": "b", "parent": "p", "start": 1700, "end": 2900, "events": [[1700, "Write", 2]]}]');
SELECT count(*) FROM find_races(md5('apart'));
SELECT pg_temp.ingest('a ns', '[{"name": "p", "start": 0, "end": 90000}, {"name": "a", "parent": "p", "start": 100, "end": 1701, "events": [[1699, "Write", 1]]}, {"name": "b", "parent": "p", "start": 1700, "end": 2900, "events": [[1700, "Write", 2]]}]');
SELECT count(*) FROM find_races(md5('a ns'));

--
-- A lock of the parent protects what its children do, one after the other.
--
SELECT pg_temp.ingest(t, format('[{"name": "p%1$s", "start": %2$s, "end": %3$s, "events": [[%4$s, "acquire", "l"], [%5$s, "release", "l"]]},
    {"name": "r%1$s", "parent": "p%1$s", "start": %6$s, "end": %7$s, "events": [[%6$s, "Read", 1, "held"]]}, {"name": "w%1$s", "parent": "p%1$s", "start": %7$s, "end": %8$s, "events": [[%8$s, "Write", 2, "held"]]}]',
    t, at, at + 40000000, at + 20000000 * late + 1000000, at + 20000000 * late + 10000000, at + 20000000 * late + 2000000, at + 20000000 * late + 3000000, at + 20000000 * late + 9000000)::jsonb)
  FROM (VALUES ('held 1', 0, 0), ('held 2', 5000000, 1)) v (t, at, late);
SELECT count(*) FROM find_races(md5('held 1'));
SET trace_ext.potential_races = on;
SELECT count(*) FROM find_races(md5('held 1'));
RESET trace_ext.potential_races;

--
-- A clock of milliseconds, as Node has it: starts are cut off, all else follows exactly.
--
-- p writes, calls a and then b, and writes again; a and b seem to begin 0.4 and 0.9 ms early.
SELECT pg_temp.ingest('node', '[{"name": "p", "start": 0, "end": 9123456, "events": [[1300000, "Write", 1], [5000000, "Write", 2]]},
    {"name": "a", "parent": "p", "start": 1000000, "end": 3500000, "events": [[1100000, "Write", 3]]}, {"name": "b", "parent": "p", "start": 3000000, "end": 5010000, "events": [[3200000, "Write", 4]]}]', 1795785303000000000);
SELECT * FROM pg_temp.ordered('node');
SELECT count(*) FROM find_races(md5('node'));
-- The same half a microsecond later, by a clock that is taken at its word.
SELECT pg_temp.ingest('exact', '[{"name": "p", "start": 0, "end": 9123456, "events": [[1300000, "Write", 1], [5000000, "Write", 2]]},
    {"name": "a", "parent": "p", "start": 1000000, "end": 3500000, "events": [[1100000, "Write", 3]]}, {"name": "b", "parent": "p", "start": 3000000, "end": 5010000, "events": [[3200000, "Write", 4]]}]', 1795785303000000500);
SELECT count(*) FROM find_races(md5('exact'));
-- So where all is in whole milliseconds.
SELECT pg_temp.ingest('whole', '[{"name": "p", "start": 0, "end": 9000000, "events": [[2000000, "Write", 1], [5000000, "Write", 2]]},
    {"name": "a", "parent": "p", "start": 1000000, "end": 4000000, "events": [[1000000, "Write", 3]]}, {"name": "b", "parent": "p", "start": 3000000, "end": 6000000, "events": [[3000000, "Write", 4]]}]', 1795785303000000000);
SELECT count(*) FROM find_races(md5('whole'));

--
-- A parent that was not recorded: what it called one after the other is in line. It comes after all, and one of the two outlives it.
--
SELECT pg_temp.ingest('gateway', '[{"name": "a", "parent": "p", "start": 0, "end": 20000000, "kind": 2, "events": [[1000000, "Write", 1]]}, {"name": "b", "parent": "p", "start": 30000000, "end": 40000000, "kind": 2, "events": [[31000000, "Write", 2]]}]');
SELECT count(*) FROM find_races(md5('gateway'));
SELECT pg_temp.ingest('gateway', '[{"name": "p", "start": 0, "end": 10000000}]');
SELECT count(*) FROM find_races(md5('gateway'));

--
-- Spans of one id in two traces are two, whatever threads are taken to be; so are producers and consumers of one name.
--
SELECT pg_temp.ingest(t, '[{"name": "p", "start": 0, "end": 20000000, "events": [[1000000, "Write", 1, "both"]]}, {"name": "jobs", "parent": "p", "start": 30000000, "end": 40000000, "kind": 4}, {"name": "work", "parent": "p", "start": 50000000, "end": 60000000, "kind": 5}]',
    1795785303000000123 + n) FROM (VALUES ('one', 0), ('two', 30000000)) v (t, n);
SELECT count(*) FROM find_races(md5('one'));
SET trace_ext.thread_kind = os;
SELECT count(*) FROM find_races(md5('one'));
SELECT count(*) FROM find_races(md5('line'));
RESET trace_ext.thread_kind;

--
-- Log records are of their span by time, whenever they come.
--
SELECT inserted, rejected FROM ingest_otlp(jsonb_build_object('resourceLogs', jsonb_build_array(jsonb_build_object('resource', jsonb_build_object('attributes', jsonb_build_array(
    jsonb_build_object('key', 'service.name', 'value', jsonb_build_object('stringValue', 's')))), 'scopeLogs', jsonb_build_array(jsonb_build_object('logRecords', (
    SELECT jsonb_agg(jsonb_build_object('traceId', md5('logs'), 'spanId', left(md5('p'), 16), 'timeUnixNano', (1795785303000000123 + t)::text, 'eventName', 'trace_ext.state', 'attributes', jsonb_build_array(
        jsonb_build_object('key', 'trace_ext.variable', 'value', jsonb_build_object('stringValue', 'logs')), jsonb_build_object('key', 'trace_ext.access', 'value', jsonb_build_object('stringValue', 'Write')))))
      FROM unnest(ARRAY[1000000, 2000000, 9000000]) t)))))));
SELECT pg_temp.ingest('logs', '[{"name": "a", "parent": "p", "start": 3000000, "end": 4000000, "events": [[3000000, "Write", 1]]}]');
SELECT count(*), count(*) FILTER (WHERE strand = 1) AS one_strand FROM causal_order(md5('logs'));
SELECT count(*) FROM find_races(md5('logs'));
SELECT pg_temp.ingest('logs', '[{"name": "p", "start": 0, "end": 10000000, "events": [[3500000, "Write", 1]]}]');
SELECT * FROM pg_temp.races('logs');

--
-- A tree has what begins at one time in that order: the parent's event, then the child.
--
SELECT pg_temp.ingest('tree', '[{"name": "p", "start": 0, "end": 90000, "events": [[1000, "Write", 1]]}, {"name": "a", "parent": "p", "start": 1000, "end": 1000}, {"name": "b", "parent": "p", "start": 1000, "end": 1000}, {"name": "c", "parent": "p", "start": 1000, "end": 2000}]');
SELECT pg_temp.label(md5('tree')::uuid, event_id) FROM trace_tree(md5('tree')) ORDER BY ordinal;

--
-- The captured programs: a race is a lost update that values prove, a lock leaves nothing. In two-services-1 three requests read 10
-- and wrote 20, each over the 20 of another: whether they added 10 or set it to 20, no value tells.
--
TRUNCATE events;
CREATE TEMP TABLE bodies AS
SELECT name COLLATE "C", pg_read_binary_file(:'data' || '/' || name) AS body FROM pg_ls_dir(:'data') AS name WHERE name !~ '[.]txt$';
CREATE FUNCTION pg_temp.found(body bytea) RETURNS TABLE (locks boolean, lost_updates bigint, sure boolean, others bigint) LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
    PERFORM trace_ext.ingest_otlp(body);
    PERFORM trace_ext.detect();
    SELECT count(*) > 0 INTO locks FROM trace_ext.events WHERE kind = 'LockAcquire';
    SELECT count(*) FILTER (WHERE kind = 'lost update'), bool_or(confidence = 1), count(*) FILTER (WHERE kind <> 'lost update') INTO lost_updates, sure, others FROM trace_ext.findings;
    RETURN NEXT;
END
$$;
SELECT name, f.* FROM (SELECT * FROM bodies ORDER BY name) b, pg_temp.found(body) f WHERE locks OR lost_updates + others > 0 ORDER BY name;

--
-- All of them, span by span, in random batches, in any order, some twice, with detection in between: the same findings as at once.
--
TRUNCATE events, findings, race_pairs, detect_queue;
SET trace_ext.lateness = 0;
SELECT sum(inserted) > 400 AS inserted, sum(rejected) AS rejected FROM (SELECT * FROM bodies ORDER BY name) b, ingest_otlp(body);
SELECT count(*) > 0 AS detected FROM detect();
CREATE TEMP TABLE at_once AS TABLE findings;
SELECT kind, count(*) FROM at_once GROUP BY kind ORDER BY kind;
-- Of JSON each span is a request; of the others the rows of each span stand for it.
CREATE TEMP TABLE units AS
SELECT row_number() OVER () AS n, u.* FROM (
    SELECT jsonb_build_object('resource', r -> 'resource', 'schemaUrl', r -> 'schemaUrl', 'scopeSpans', jsonb_build_array(jsonb_build_object('scope', c -> 'scope', 'schemaUrl', c -> 'schemaUrl', 'spans', jsonb_build_array(s)))) AS resource_spans, NULL::uuid AS trace_id, NULL AS span_id
      FROM (SELECT convert_from(body, 'UTF8')::jsonb AS request FROM bodies WHERE name ~ '[.]json$' AND name NOT IN ('node-json-1.json', 'python-json-6.json')) b,
           jsonb_array_elements(request -> 'resourceSpans') r, jsonb_array_elements(r -> 'scopeSpans') c, jsonb_array_elements(c -> 'spans') s
    UNION ALL SELECT NULL, trace_id, span_id FROM (SELECT DISTINCT trace_id, span_id FROM events) e) u;
CREATE TEMP TABLE all_events AS TABLE events;
CREATE PROCEDURE pg_temp.split(seed text, rounds int) LANGUAGE plpgsql AS $$
DECLARE
    batch record;
    difference text;
BEGIN
    PERFORM setseed(seed::int / 1e9);
    FOR round IN 1 .. rounds LOOP
        TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
        FOR batch IN SELECT array_agg(n) AS units FROM (
                SELECT n, floor(random() * (5 + 40 * random()))::int AS b FROM units CROSS JOIN generate_series(1, 2) copy WHERE copy = 1 OR random() < 0.2) u GROUP BY b ORDER BY random() LOOP
            PERFORM trace_ext.ingest_otlp(jsonb_build_object('resourceSpans', jsonb_agg(resource_spans ORDER BY random()))) FROM units WHERE n = ANY (batch.units) AND resource_spans IS NOT NULL;
            INSERT INTO trace_ext.events SELECT e.* FROM units u JOIN all_events e USING (trace_id, span_id) WHERE n = ANY (batch.units) ORDER BY random() ON CONFLICT DO NOTHING;
            IF random() < 0.3 THEN
                PERFORM trace_ext.detect();
            END IF;
        END LOOP;
        PERFORM trace_ext.detect();
        SELECT string_agg(d::text, E'\n') INTO difference FROM (
            (SELECT 'missing', a.* FROM at_once a EXCEPT ALL SELECT 'missing', f.* FROM trace_ext.findings f)
            UNION ALL (SELECT 'new', f.* FROM trace_ext.findings f EXCEPT ALL SELECT 'new', a.* FROM at_once a)) d;
        IF difference IS NOT NULL THEN
            RAISE EXCEPTION E'round %, test.seed = %\n%', round, seed, difference;
        END IF;
    END LOOP;
END
$$;
CALL pg_temp.split(:'seed', 6);
SELECT (SELECT count(*) FROM (TABLE all_events EXCEPT TABLE events) d) AS missing, (SELECT count(*) FROM (TABLE events EXCEPT TABLE all_events) d) AS new;

--
-- Random trees of spans, against the rule as it is said: what happens before what, by the causes and by the races.
--
TRUNCATE events, findings, race_pairs, detect_queue;
CREATE TEMP TABLE spans (trace text, name text, parent text, started numeric, said_end numeric, kind int, ended numeric);
CREATE TEMP TABLE nodes (trace text, name text, k int, t numeric);      -- k: 0 the start, 99 the end
CREATE PROCEDURE pg_temp.plant(seed text, traces int) LANGUAGE plpgsql AS $$
DECLARE
    n int;
    unit numeric;
    parent record;
    s numeric;
    e numeric;
    times numeric[];
BEGIN
    PERFORM setseed(seed::int / 1e9);
    FOR t IN 1 .. traces LOOP
        n := 2 + floor(random() * 8);
        unit := (ARRAY[1, 700, 300000, 1100000])[1 + floor(random() * 4)];
        FOR i IN 1 .. n LOOP
            SELECT * INTO parent FROM spans WHERE trace = 't' || t ORDER BY random() * (CASE WHEN name = 's1' THEN 3 ELSE 1 END) DESC LIMIT 1;
            s := coalesce(parent.started, 0) + unit * floor(random() * 14 - CASE WHEN random() < 0.1 THEN 3 ELSE 0 END);
            e := s + unit * floor(random() * CASE WHEN i = 1 THEN 40 ELSE 8 END);
            SELECT array_agg(at ORDER BY at) INTO times
              FROM (SELECT s + least(floor(random() * ((e - s) / unit + 1)), (e - s) / unit) * unit + CASE WHEN random() < 0.03 THEN 2 * unit ELSE 0 END AS at FROM generate_series(1, floor(random() * 4)::int)) x;
            INSERT INTO spans VALUES ('t' || t, 's' || i, CASE WHEN i = 1 OR random() < 0.03 THEN NULL WHEN random() < 0.05 THEN 'lost' ELSE parent.name END, s, e, 1 + floor(random() * 5),
                greatest(e, times[cardinality(times)]));
            INSERT INTO nodes VALUES ('t' || t, 's' || i, 0, s), ('t' || t, 's' || i, 99, NULL);
            INSERT INTO nodes SELECT 't' || t, 's' || i, k, at FROM unnest(times) WITH ORDINALITY a (at, k);
        END LOOP;
    END LOOP;
END
$$;
CALL pg_temp.plant(:'seed', :traces);
CREATE INDEX ON nodes (trace, name);
CREATE INDEX ON spans (trace, parent);
ANALYZE spans, nodes;
-- The rule. Of children that begin and end at once, the one with the lower id comes first.
CREATE TEMP TABLE children AS
SELECT c.*, p.name IS NULL OR c.ended <= p.said_end + 2000000 AS joins,
       NOT EXISTS (SELECT FROM spans o WHERE (o.trace, o.parent) = (c.trace, c.parent) AND o.name <> c.name AND o.started < c.ended AND c.started < o.ended) AS alone
  FROM spans c LEFT JOIN spans p ON (p.trace, p.name) = (c.trace, c.parent) WHERE c.parent IS NOT NULL;
CREATE TEMP TABLE edges AS
-- the chain of a span,
SELECT trace, name AS a, k AS ak, name AS b, lead(k) OVER (PARTITION BY trace, name ORDER BY k) AS bk FROM nodes
-- the parent's events before the start of a child,
UNION SELECT c.trace, p.name, p.k, c.name, 0 FROM children c JOIN nodes p ON (p.trace, p.name) = (c.trace, c.parent) WHERE p.k = 0 OR p.t <= c.started
-- those after its end, if it joins,
UNION SELECT c.trace, c.name, 99, p.name, p.k FROM children c JOIN nodes p ON (p.trace, p.name) = (c.trace, c.parent) WHERE c.joins AND (p.k = 99 OR p.k > 0 AND p.t >= c.ended AND p.t > c.started)
-- and siblings, of which one stands in line.
UNION SELECT a.trace, a.name, 99, b.name, 0 FROM children a JOIN children b ON (a.trace, a.parent) = (b.trace, b.parent) AND a.name <> b.name
 WHERE a.ended <= b.started AND (a.started, a.ended, left(md5(a.name), 16)) < (b.started, b.ended, left(md5(b.name), 16)) AND a.joins AND (a.alone OR b.alone AND b.joins);
CREATE TEMP TABLE expected AS
WITH RECURSIVE before AS (
    SELECT * FROM edges WHERE bk IS NOT NULL
    UNION SELECT b.trace, b.a, b.ak, e.b, e.bk FROM before b JOIN edges e ON (e.trace, e.a, e.ak) = (b.trace, b.b, b.bk) WHERE e.bk IS NOT NULL)
SELECT trace, a || ak AS a, b || bk AS b FROM before WHERE ak < 99 AND bk < 99;
-- They come in any order.
DO $$
DECLARE
    batch jsonb;
BEGIN
    FOR batch IN SELECT jsonb_agg(pg_temp.span(s.trace, jsonb_build_object('name', s.name, 'parent', s.parent, 'start', s.started, 'end', s.said_end, 'kind', s.kind, 'events',
                        (SELECT coalesce(jsonb_agg(jsonb_build_array(t, 'Write', k) ORDER BY k), '[]') FROM nodes n WHERE (n.trace, n.name) = (s.trace, s.name) AND k BETWEEN 1 AND 98))) ORDER BY random())
                   FROM spans s GROUP BY floor(random() * 20) LOOP
        PERFORM trace_ext.ingest_otlp(pg_temp.request(batch));
    END LOOP;
END
$$;
SELECT (SELECT count(*) FROM spans) = (SELECT count(*) FROM events WHERE duration_ns IS NOT NULL) AS all_there;
CREATE TEMP TABLE labels AS
SELECT e.trace_id, e.id, f.name || ('x' || substr(e.id::text, 25, 4))::bit(16)::int AS label FROM events e JOIN events f ON (f.trace_id, f.span_id) = (e.trace_id, e.span_id) AND f.duration_ns IS NOT NULL;
CREATE UNIQUE INDEX ON labels (trace_id, id);
ANALYZE labels;
CREATE TEMP TABLE causes AS
SELECT t.trace, c.label AS a, l.label AS b FROM (SELECT DISTINCT trace, md5(trace)::uuid AS id FROM spans) t, causal_order(t.id) o, unnest(o.causes) AS cause, labels c, labels l
 WHERE (c.trace_id, c.id) = (t.id, cause) AND (l.trace_id, l.id) = (t.id, o.event_id);
CREATE INDEX ON causes (trace, a);
ANALYZE causes;
CREATE TEMP TABLE said AS
WITH RECURSIVE before AS (TABLE causes UNION SELECT b.trace, b.a, c.b FROM before b JOIN causes c ON (c.trace, c.a) = (b.trace, b.b))
TABLE before;
SELECT count(*) > 10 * :traces AS many FROM expected;
SELECT :'seed' AS seed, what, trace, a, b FROM (
    (SELECT 'not ordered' AS what, * FROM expected EXCEPT ALL SELECT 'not ordered', * FROM said)
    UNION ALL (SELECT 'ordered', * FROM said EXCEPT ALL SELECT 'ordered', * FROM expected)) d ORDER BY 3, 2, 4, 5 LIMIT 10;
-- Who of the two accessed what, nothing orders: these race.
CREATE TEMP TABLE concurrent AS
SELECT a.trace, least(a.name || a.k, b.name || b.k) AS a, greatest(a.name || a.k, b.name || b.k) AS b FROM nodes a JOIN nodes b ON a.trace = b.trace AND a.name < b.name
 WHERE a.k BETWEEN 1 AND 98 AND b.k BETWEEN 1 AND 98 AND NOT EXISTS (SELECT FROM expected e WHERE e.trace = a.trace AND ((e.a, e.b) = (a.name || a.k, b.name || b.k) OR (e.b, e.a) = (a.name || a.k, b.name || b.k)));
CREATE TEMP TABLE raced AS
SELECT t.trace, least(c.label, l.label) AS a, greatest(c.label, l.label) AS b FROM (SELECT DISTINCT trace, md5(trace)::uuid AS id FROM spans) t, find_races(t.id, 10000) r, labels c, labels l
 WHERE (c.trace_id, c.id) = (t.id, r.event1_id) AND (l.trace_id, l.id) = (t.id, r.event2_id);
SELECT count(*) > :traces AS many FROM concurrent;
SELECT :'seed' AS seed, what, trace, a, b FROM (
    (SELECT 'no race' AS what, * FROM concurrent EXCEPT ALL SELECT 'no race', * FROM raced)
    UNION ALL (SELECT 'race', * FROM raced EXCEPT ALL SELECT 'race', * FROM concurrent)) d ORDER BY 3, 2, 4, 5 LIMIT 10;
TRUNCATE events, findings, race_pairs, detect_queue;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
