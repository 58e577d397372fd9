-- prometheus_metrics() is what a scraper accepts, and what its linter has no words about.
CREATE TEMP TABLE lines AS SELECT n, line FROM trace_ext.prometheus_metrics() WITH ORDINALITY AS m (line, n);
CREATE TEMP TABLE samples AS
SELECT n, (regexp_match(line, '^([a-z_][a-z0-9_]*)(\{.*\})? (\S+)$'))[1] AS name,
       (regexp_match(line, '^([a-z_][a-z0-9_]*)(\{.*\})? (\S+)$'))[2] AS labels,
       (regexp_match(line, '^([a-z_][a-z0-9_]*)(\{.*\})? (\S+)$'))[3] AS value
  FROM lines WHERE line !~ '^#';
SELECT count(*) > 20 AS many FROM samples;

-- Each line is one of three. Of a histogram the samples are not called as their metric.
UPDATE samples s SET name = h.name
  FROM (SELECT (regexp_match(line, '^# TYPE (\S+) histogram$'))[1] AS name FROM lines) AS h
 WHERE s.name ~ ('^' || h.name || '_(bucket|sum|count)$');
SELECT line FROM lines WHERE line !~ '^# HELP [a-z_]+ .' AND line !~ '^# TYPE [a-z_]+ (counter|gauge|histogram)$'
   AND line !~ '^[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*"(,|\}))+)? (-?[0-9.]+(e[-+]?[0-9]+)?|[-+]Inf|NaN)$';
-- HELP and TYPE once, before the samples of their metric, which stand together; no sample twice.
SELECT s.name FROM (SELECT DISTINCT name FROM samples) s
 WHERE (SELECT count(*) FROM lines l WHERE l.line LIKE '# HELP ' || s.name || ' %') <> 1
    OR (SELECT count(*) FROM lines l WHERE l.line LIKE '# TYPE ' || s.name || ' %') <> 1
    OR (SELECT max(l.n) FROM lines l WHERE l.line LIKE '# % ' || s.name || ' %') <> (SELECT min(x.n) - 1 FROM samples x WHERE x.name = s.name)
    OR (SELECT max(x.n) - min(x.n) + 1 <> count(*) FROM samples x WHERE x.name = s.name);
SELECT name, labels FROM samples GROUP BY 1, 2 HAVING count(*) > 1;

-- Names: no type in them, _total for counters alone, no endings of histograms, units in full.
SELECT DISTINCT m.name, m.type FROM trace_ext.metrics m
 WHERE m.name ~ '_(counter|gauge|histogram|summary)(_|$)'
    OR (m.type = 'counter') <> (m.name ~ '_total$')
    OR m.name ~ '_(bucket|count|sum)$'
    OR m.name ~ '_(ms|us|ns|milliseconds|kb|kilobytes|mb|percent|minutes|hours)(_|$)';

-- Bytes are those of PostgreSQL's own function: with what is out of line, of unlogged tables, of what has no files, of none.
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, attributes)
SELECT md5('bytes')::uuid, md5('bytes' || i)::uuid, '2001-01-01+00', 'Custom', jsonb_build_object('data', (SELECT string_agg(md5(i || ' ' || n), '') FROM generate_series(1, 2000) n)) FROM generate_series(1, 20) i;
CREATE UNLOGGED TABLE sized (id int PRIMARY KEY, what text);
INSERT INTO sized SELECT i, repeat('x', 500) FROM generate_series(1, 3000) i;
VACUUM sized;
SELECT count(*) > 0 AS some, bool_and(trace_ext_internal.bytes_on_disk(c.oid) = pg_total_relation_size(c.oid)) AS equal, max(pg_relation_size(reltoastrelid)) > 100000 AS toasted
  FROM pg_class c WHERE c.oid IN (SELECT part FROM trace_ext.partitions UNION ALL VALUES ('sized'::regclass), ('trace_ext.events'::regclass), ('trace_ext.metrics'::regclass), ('pg_class'::regclass));
SELECT trace_ext_internal.bytes_on_disk(0) AS of_none, trace_ext_internal.bytes_on_disk(NULL) AS unknown;
SELECT value = (SELECT sum(pg_total_relation_size(part)) FROM trace_ext.partitions) AS equal FROM trace_ext.metrics WHERE name = 'trace_ext_events_bytes';
DROP TABLE sized;
TRUNCATE trace_ext.events;
