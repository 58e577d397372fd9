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
