-- What to look at first: bar(), sparkline(), top, races(), report(), incident().
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set no_workers :abs_srcdir '/no_workers.sql'
\set otlp :abs_srcdir '/data/otlp'
\set ECHO none
\i :plain
\i :no_workers
-- What was captured is not far off, whatever day it is.
SET trace_ext.partition_reach = '1000 years';
\set ECHO all
SET client_min_messages = notice;
SET timezone = 'UTC';
SET datestyle = iso;
SET search_path = trace_ext, public;
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT fold() >= 0 AS folded;
DELETE FROM findings;
DELETE FROM anomalies;
TRUNCATE alert_states, alert_samples, alert_counters, alert_services;

-- Bars
SELECT v, '[' || bar(v, 8, 4) || ']' AS bar FROM unnest(ARRAY[-1, 0, 0.001, 1, 2.5, 4, 7.9, 8, 9, 'Infinity', '-Infinity', 'NaN', NULL]::float8[]) AS v;
SELECT '[' || bar(1, 0, 4) || ']' AS no_max, '[' || bar(1, -3, 4) || ']' AS below, bar(1, 'NaN', 4) IS NULL AS nan, '[' || bar('Infinity', 'Infinity', 4) || ']' AS endless, '[' || bar(1, 'Infinity', 4) || ']' AS tiny;
SELECT bar(1, 1, 0);
SELECT bar(1, 1, 1001);
SELECT length(bar(1, 1, 1000));
-- As long as the value says, to an eighth, for any.
SELECT count(*) FROM generate_series(1, 800) AS v
 WHERE 8 * length(rtrim(bar(v, 800, 100), '▏▎▍▌▋▊▉')) + coalesce(array_position(ARRAY['▏', '▎', '▍', '▌', '▋', '▊', '▉'], right(bar(v, 800, 100), 1)), 0) <> v;

-- Sparklines
SELECT sparkline('{0,1,2,3,4,5,6,7}'), sparkline('{-3,0,4}') AS below_zero, sparkline('{5,5,5}') AS equal, sparkline('{0,0}') AS zero, '[' || sparkline('{}') || ']' AS none, sparkline(NULL) IS NULL AS unknown;
SELECT '[' || sparkline('{1,NULL,NaN,Infinity,-Infinity,2}') || ']' AS odd, sparkline('{-1.7e308,0,1.7e308}') AS huge, length(sparkline(array_fill(1::float8, ARRAY[100000]))) AS long, sparkline('{{0,7},{7,0}}') AS of_two_dimensions;
SET client_encoding = LATIN1;
SELECT bar(2.6, 8, 4), sparkline('{0,1,2,3,4,5,6,7}');
RESET client_encoding;

-- Columns: clean, and as wide as said.
SELECT '[' || trace_ext_internal.cell(v, 8) || ']' AS left, '[' || trace_ext_internal.cell(v, -8) || ']' AS right
  FROM unnest(ARRAY['abc', 'exactly8', 'more than 8', '日本語日本語', E'a\x1b[0m\nb', NULL, '']) AS v;
SELECT '[' || w || ']' FROM trace_ext_internal.wrap(E'words that\n are  wrapped at blanks 日本語日本語日本語 and_one_that_is_far_too_long', 16) AS w;

-- Nothing is stored.
SELECT * FROM top;
SELECT * FROM races();
SELECT line FROM report() AS line WHERE line !~ 'report of|workers|rejected';

-- Findings of captured traces, as they looked a little later.
SELECT sum(inserted) > 500 AS loaded FROM (SELECT pg_read_binary_file(:'otlp' || '/' || name) AS body FROM pg_ls_dir(:'otlp') AS name WHERE name !~ '[.]txt$') AS b, ingest_otlp(body);
SELECT detect() > 50 AS detected;
SELECT * FROM trace_ext_internal.races_at('2026-11-27 13:30+00', '1 hour');
SELECT line FROM trace_ext_internal.report_at('2026-11-27 13:30+00', '1 hour') AS line WHERE line !~ 'workers|rejected';
-- A blank line stands before a head, and nowhere else, also where a service is well.
SELECT n, line, next FROM (SELECT n, line, lead(line) OVER (ORDER BY n) AS next FROM trace_ext_internal.report_at('2026-11-27 13:30+00', '1 hour') WITH ORDINALITY AS r (line, n)) r WHERE line = '' AND next !~ '  SELECT \* FROM ' OR line ~ '^\s+$';
SELECT max(length(line)) <= 78 AS fits FROM unnest('{1 hour,30 days,60 days}'::interval[]) AS span, trace_ext_internal.report_at('2026-11-27 13:30+00', span) AS line;
-- The same with what is ignored left out.
SELECT set_finding_status(id, 'ignored') FROM findings WHERE kind = 'lost update' AND location1 LIKE '%bank3.py%';
SELECT count(*) FROM trace_ext_internal.races_at('2026-11-27 13:30+00', '1 hour') WHERE places LIKE 'bank3%' AND kind = 'lost update';

-- One page each: between requests, between threads of a request, by a short id, after its traces have left.
SELECT id AS between_requests FROM findings WHERE kind = 'lost update' AND location1 = 'Shop.java:20' \gset
SELECT id AS between_threads FROM findings WHERE kind = 'lost update' AND location1 LIKE '%bank3.py%' \gset
SELECT * FROM incident(:'between_requests'::uuid);
SELECT * FROM incident(:'between_threads'::uuid);
SELECT count(*) AS differences FROM (SELECT * FROM incident(:'between_requests'::uuid) EXCEPT ALL SELECT * FROM incident(left(:'between_requests', 8))) AS d;
SELECT max(length(line)) <= 78 AS fits, count(*) > 200 AS lines FROM findings f, incident(f.id) AS line;
DELETE FROM events WHERE trace_id IN (SELECT unnest(ARRAY[event1_trace_id, event2_trace_id]) FROM findings WHERE id = :'between_requests');
SELECT line FROM incident(:'between_requests'::uuid) AS line WHERE line ~ '^who|left the store|trace |values';
-- Each kind has a cure of its own.
SELECT count(*), count(DISTINCT trace_ext_internal.cure_text(kind)) FROM unnest(ARRAY['lost update', 'write-write', 'read-write', 'non-repeatable read', 'intermediate read', 'own write overwritten', 'aborted read', 'check-then-act', 'write skew', 'potential race', 'lock order', 'another']) AS kind;
-- Locks in opposite orders have no values.
INSERT INTO findings (id, kind, variable, location1, location2, severity, confidence, confirmed, occurrences, first_seen, last_seen, evidence)
VALUES ('aaaaaaaa-0000-4000-8000-000000000001', 'lock order', E'a\nb \x1b[31m' || repeat('x', 200), NULL, '/src/b.c:2', 'WARNING', 0.7, false, 3, '2001-01-01', '2001-01-02', repeat('long sentence ', 40)),
       ('aaaaaaaa-0000-4000-8000-000000000002', 'lost update', '日本語', '/src/日本語/' || repeat('深', 60) || '.c:1', '/src/b.c:2', 'CRITICAL', 1, true, 0, NULL, NULL, NULL);
SELECT * FROM incident('aaaaaaaa-0000-4000-8000-000000000001');
SELECT * FROM incident('aaaaaaaa-0000-4000-8000-000000000002');
SELECT * FROM trace_ext_internal.races_at('2001-01-03 00:00+00', '3 days');
SELECT trace_ext_internal.places_text(a, b) FROM (VALUES ('/x/a.c:1', '/y/a.c:2'), ('a.c:1', 'a.c:1'), ('a.c', 'b.c'), ('a:1', 'b:1'), (NULL, 'b:1'), ('a:1', NULL), (NULL, NULL), ('src/', 'src/'), ('m.go:9:1', 'm.go:9:7')) AS p (a, b);
-- Unknown, none, not one.
SELECT * FROM incident('00000000-0000-0000-0000-000000000000');
SELECT * FROM incident(NULL::uuid);
SELECT * FROM incident(NULL::text);
SELECT * FROM incident('aaaaaaaa');
SELECT * FROM incident('bbbbbbbb');
SELECT * FROM incident('no id');
DELETE FROM findings WHERE id::text LIKE 'aaaaaaaa%';
SELECT * FROM races(NULL);
SELECT * FROM races('-1 hour');
SELECT * FROM report('infinity'::text::interval) WHERE false;
SELECT * FROM report('0');
SELECT span, trace_ext_internal.span_text(span) = span::text AS as_it_is, trace_ext_internal.span_text(span), trace_ext_internal.span_text(span)::interval = span AS equal
  FROM unnest('{1 hour,24 hours,1 day,2 days,90 min,30 s,1.5 s,1 mon,1 year}'::interval[]) AS span;
SELECT past, trace_ext_internal.ago_text(past, '2001-01-03 00:00+00') FROM unnest('{2001-01-03 00:00:01+00,2001-01-02 23:59:50+00,2001-01-02 23:59:00+00,2001-01-02 22:30+00,2001-01-02 12:00+00,2000-12-31 00:00+00,-infinity,infinity}'::timestamptz[]) AS past;

-- top: five minutes of three services, sampled every 15 seconds; one has no requests, one was quiet for half of it.
TRUNCATE events, findings;
TRUNCATE alert_samples, alert_counters, alert_services;
DO $$
DECLARE
    at timestamptz := '2001-02-03 04:00:00+00';
    previous timestamptz;
BEGIN
    FOR i IN 0..24 LOOP
        INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns, attributes)
        SELECT md5(format('%s %s', i, k))::uuid, md5(format('%s %s %s', i, k, x))::uuid, CASE WHEN x > 1 THEN md5(format('%s %s 1', i, k))::uuid END, at - interval '1 s',
               (CASE x WHEN 1 THEN 'HttpRequest' WHEN 2 THEN 'FunctionCall' ELSE 'HttpResponse' END)::trace_ext.event_kind,
               CASE x WHEN 1 THEN CASE k WHEN 1 THEN 'GET /slow' ELSE 'GET /fast' END WHEN 2 THEN 'work' ELSE '200' END, CASE x WHEN 2 THEN 'worker' ELSE 'shop' END,
               CASE x WHEN 1 THEN CASE k WHEN 1 THEN 100000000 ELSE 10000000 END WHEN 2 THEN 5000000 END, CASE x WHEN 3 THEN jsonb_build_object('status', CASE WHEN k = 2 THEN 500 ELSE 200 END) END
          FROM generate_series(1, 5 + i) AS k, generate_series(1, 3) AS x;
        IF i > 12 THEN
            INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
            SELECT md5(format('%s late', i))::uuid, md5(format('%s late', i))::uuid, at, 'Custom', 'tick', E'late \x1b[31m and very long name of it', NULL;
        END IF;
        PERFORM trace_ext_internal.sample_counts(at, previous);
        previous := at;
        at := at + interval '15 s';
    END LOOP;
END
$$;
SELECT * FROM trace_ext_internal.top_at('2001-02-03 04:06:05+00');
-- A while later nothing came any more; then nobody samples, and the hour tells; then nobody was there.
SELECT * FROM trace_ext_internal.top_at('2001-02-03 04:08:00+00');
SELECT * FROM trace_ext_internal.top_at('2001-02-03 04:20:00+00');
SELECT * FROM trace_ext_internal.top_at('2001-02-04 04:20:00+00');
-- What top says is what was stored, within a slot.
SELECT round(count(*) / 300.0, 1) AS per_second, round(100.0 * count(*) FILTER (WHERE is_error(kind, attributes)) / count(*), 1) AS percent FROM events WHERE kind = 'HttpResponse' AND "timestamp" > '2001-02-03 04:01:00+00';

-- Readers may look at all of it.
SET ROLE trace_ext_reader;
SELECT count(*) FROM top;
SELECT count(*) > 10 AS report FROM report();
SELECT count(*) FROM races();
SELECT count(*) FROM incident('00000000-0000-0000-0000-000000000000');
SELECT bar(1, 2, 4), sparkline('{1,2}');
RESET ROLE;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
