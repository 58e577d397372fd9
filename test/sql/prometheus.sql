-- Counters and histograms of services: exact, by few labels, and never going back.
SET timezone = 'UTC';
TRUNCATE trace_ext.events;
CREATE TEMP VIEW sample AS
SELECT (regexp_match(line, '^(\S+?)(\{.*\})? (\S+)$'))[1] AS name, (regexp_match(line, 'service="(([^"\\]|\\.)*)"'))[1] AS service,
       (regexp_match(line, 'le="([^"]*)"'))[1] AS le, (regexp_match(line, '(\S+)$'))[1]::double precision AS value, n
  FROM trace_ext.prometheus_metrics() WITH ORDINALITY AS m (line, n) WHERE line LIKE 'trace_ext_service%';
CREATE FUNCTION pg_temp.add_events(service text, kind trace_ext.event_kind, n int, at timestamptz, step_ns bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
    SELECT md5(coalesce(service, 'none') || at || i % 10)::uuid, md5(coalesce(service, 'none') || kind || at || i)::uuid, at + i * interval '1 ms', kind, 'GET /', service, i * step_ns FROM generate_series(1, n) i $$;

-- Nothing is there: no series, and none of nothing.
SELECT * FROM pg_temp.sample;

SELECT pg_temp.add_events('web', 'HttpRequest', 100, '2001-01-01', 1000000), pg_temp.add_events('web', 'FunctionCall', 50, '2001-01-01', 1000),
       pg_temp.add_events('jobs', 'FunctionCall', 10, '2001-01-02', 1073741824), pg_temp.add_events(NULL, 'FunctionCall', 3, '2001-01-02', 5);
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, service_name) VALUES (md5('e')::uuid, md5('e')::uuid, '2001-01-01', 'Error', 'web');
SELECT name, service, le, value FROM pg_temp.sample WHERE service = 'jobs' ORDER BY n;

-- Of each bound as many as there are; they rise; the last one is the count.
CREATE FUNCTION pg_temp.wrong() RETURNS TABLE (service text, le text, value double precision) LANGUAGE sql AS $$
    SELECT s.service, s.le, s.value FROM pg_temp.sample s
     WHERE s.name LIKE '%_bucket' AND s.value <> (SELECT count(*) FROM trace_ext.events e WHERE e.service_name IS NOT DISTINCT FROM nullif(s.service, '') AND e.duration_ns / 1e9 <= s.le::double precision
                                                     AND (e.kind = 'HttpRequest' OR NOT EXISTS (SELECT FROM trace_ext.events o WHERE o.service_name IS NOT DISTINCT FROM e.service_name AND o.kind = 'HttpRequest'))) $$;
SELECT * FROM pg_temp.wrong();
SELECT b.* FROM (SELECT service, le, value, lag(value) OVER (PARTITION BY service ORDER BY n) AS before FROM pg_temp.sample WHERE name LIKE '%_bucket') b WHERE b.value < b.before;
SELECT c.service, c.value = i.value AS equal, round(s.value::numeric, 6) AS seconds
  FROM pg_temp.sample c JOIN pg_temp.sample i ON i.service IS NOT DISTINCT FROM c.service AND i.le = '+Inf' JOIN pg_temp.sample s ON s.service IS NOT DISTINCT FROM c.service AND s.name LIKE '%_sum'
 WHERE c.name LIKE '%_count' ORDER BY c.service;
SELECT trace_ext.fold() >= 0 AS folded;
SELECT * FROM pg_temp.wrong();

-- What leaves stays counted, by whatever way it leaves and at each moment.
CREATE TEMP TABLE before AS SELECT name, service, le, value FROM pg_temp.sample;
CREATE TEMP VIEW changed AS
SELECT 'was', * FROM (SELECT * FROM before EXCEPT SELECT name, service, le, value FROM pg_temp.sample) b UNION ALL SELECT 'is', * FROM (SELECT name, service, le, value FROM pg_temp.sample EXCEPT SELECT * FROM before) a;
DELETE FROM trace_ext.events WHERE service_name = 'web' AND duration_ns > 50000000;
SELECT * FROM pg_temp.changed;
SELECT trace_ext.fold() >= 0 AS folded;
SELECT * FROM pg_temp.changed;
CREATE TABLE trace_ext.events_p2001 PARTITION OF trace_ext.events FOR VALUES FROM ('2001-01-05') TO ('2001-01-06');
SELECT pg_temp.add_events('web', 'HttpRequest', 7, '2001-01-05', 1000000);
TRUNCATE before;
INSERT INTO before SELECT name, service, le, value FROM pg_temp.sample;
DROP TABLE trace_ext.events_p2001;
SELECT * FROM pg_temp.changed;
SELECT * FROM trace_ext.verify_summaries();
-- A sum begins anew where everything has left.
TRUNCATE trace_ext.events;
SELECT * FROM pg_temp.sample;

-- Names of services may be anything.
SELECT count(pg_temp.add_events(s, 'HttpRequest', 1, '2001-01-01', 5000000)) FROM unnest(ARRAY[E'a"b', E'a\\b', E'a\nb', '<script>', E'\u202eabc', E'\x1b[31m', 'other', '', '{le="1"}']) s;
SELECT line FROM trace_ext.prometheus_metrics() AS m (line) WHERE line LIKE 'trace_ext_service_events%';
SELECT * FROM trace_ext.prometheus_metrics() AS m (line) WHERE line ~ '[\n\r]';
-- More than 50 services: the first 50, and the others together, one of them called so.
TRUNCATE trace_ext.events;
SELECT count(pg_temp.add_events('s' || lpad(s::text, 3, '0'), 'HttpRequest', 100 - s, '2001-01-01', 5000000)) FROM generate_series(1, 70) s;
SELECT count(pg_temp.add_events('other', 'HttpRequest', 99, '2001-01-01', 5000000));
SELECT count(DISTINCT service), count(*) FILTER (WHERE name LIKE '%_bucket') = 18 * count(DISTINCT service) AS buckets, sum(value) FILTER (WHERE name LIKE '%events_total') = (SELECT count(*) FROM trace_ext.events) AS all_of_them FROM pg_temp.sample;
SELECT service, value FROM pg_temp.sample WHERE name LIKE '%events_total' ORDER BY value DESC, service LIMIT 2;
-- The same as one query over what is kept says, whatever is outstanding, and whatever services are called.
CREATE TEMP VIEW reference AS
SELECT name || suffix AS name, service, le, value FROM (
    WITH part AS MATERIALIZED (
        SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.kind_totals
        UNION ALL
        SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.gone_totals
        UNION ALL
        SELECT service_name, kind, event_count, error_count, latency FROM trace_ext.count_deltas WHERE event_count >= 0
    ), ranked AS MATERIALIZED (
        SELECT p.service_name, row_number() OVER (ORDER BY sum(p.event_count) DESC, p.service_name) AS rank FROM part p GROUP BY p.service_name
    ), part_of AS MATERIALIZED (
        SELECT CASE WHEN r.rank <= 50 THEN coalesce(p.service_name, '') ELSE 'other' END AS service, p.kind, p.event_count, p.error_count, p.latency
          FROM part p JOIN ranked r ON r.service_name IS NOT DISTINCT FROM p.service_name
    ), kind AS MATERIALIZED (
        SELECT p.service, p.kind, sum(p.event_count)::double precision AS events, sum(p.error_count)::double precision AS errors,
               trace_ext.merge(p.latency) FILTER (WHERE trace_ext.total_count(p.latency) <> 0) AS latency
          FROM part_of p GROUP BY p.service, p.kind
    ), service AS MATERIALIZED (
        SELECT k.service, sum(k.events) AS events, sum(k.errors) AS errors,
               coalesce(trace_ext.merge(k.latency) FILTER (WHERE k.kind IN ('HttpRequest', 'HttpResponse')), trace_ext.merge(k.latency), '{}') AS latency
          FROM kind k GROUP BY k.service
    ), bound AS MATERIALIZED (
        SELECT b.exponent, trim_scale((1::bigint << b.exponent) / 1e9)::text AS le FROM generate_series(19, 35) AS b (exponent)
    )
    SELECT 'trace_ext_service_events_total', 'counter', 'Events received, by service', '', s.service, NULL::text, 0, s.events FROM service s
    UNION ALL
    SELECT 'trace_ext_service_errors_total', 'counter', 'Errors among them', '', s.service, NULL, 0, s.errors FROM service s
    UNION ALL
    SELECT 'trace_ext_service_duration_seconds', 'histogram', 'How long requests took; of a service without any, how long its operations took', x.suffix, s.service, x.le, x.place, x.value
      FROM service s, LATERAL (
           SELECT '_bucket' AS suffix, b.le, b.exponent AS place, trace_ext.count_below(s.latency, 1::bigint << b.exponent)::double precision AS value FROM bound b
           UNION ALL SELECT '_bucket', '+Inf', 97, trace_ext.total_count(s.latency)
           UNION ALL SELECT '_sum', NULL, 98, (trace_ext.total_sum(s.latency) / 1e9)::double precision
           UNION ALL SELECT '_count', NULL, 99, trace_ext.total_count(s.latency)) AS x
     WHERE trace_ext.total_count(s.latency) > 0) AS r (name, type, help, suffix, service, le, place, value);
CREATE TEMP VIEW differs AS
SELECT 'more', * FROM (SELECT name, service, le, value FROM pg_temp.sample EXCEPT ALL SELECT name, service, le, value FROM reference) a
UNION ALL SELECT 'less', * FROM (SELECT name, service, le, value FROM reference EXCEPT ALL SELECT name, service, le, value FROM pg_temp.sample) b;
SELECT * FROM differs;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, service_name, duration_ns)
SELECT md5('r' || i)::uuid, md5('r' || i)::uuid, '2001-01-03', (CASE i % 3 WHEN 0 THEN 'Error' WHEN 1 THEN 'HttpResponse' ELSE 'FunctionCall' END)::trace_ext.event_kind,
       CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'other' WHEN 3 THEN 's001' ELSE 'new' END, CASE WHEN i % 3 > 0 THEN 9223372036854775807 - i * 1000000007::bigint END FROM generate_series(1, 400) i;
SELECT * FROM differs;
SELECT trace_ext.fold() >= 0 AS folded;
DELETE FROM trace_ext.events WHERE service_name = 's001' OR service_name IS NULL AND kind = 'HttpResponse';
SELECT * FROM differs;
SELECT trace_ext.fold() >= 0 AS folded;
SELECT count(*) > 1000 AS samples, count(*) FILTER (WHERE name LIKE '%_sum' AND value > 1e11) AS long FROM pg_temp.sample;
SELECT * FROM differs;
TRUNCATE trace_ext.events;
