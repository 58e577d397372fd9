-- All that there is to say of a trace, in one document.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set lines :abs_srcdir '/data/lines.sql'
\set checkout :abs_srcdir '/data/checkout.sql'
\set file :abs_srcdir '/data/express-banking.json'
\set ECHO none
\i :plain
\i :lines
\i :checkout
\set ECHO all
SET client_min_messages = notice;
SET timezone = 'UTC';
\set captured `cat :file`
SELECT inserted FROM ingest_events(:'captured'::text);
SELECT key, jsonb_typeof(value), CASE jsonb_typeof(value) WHEN 'array' THEN jsonb_array_length(value) END AS length
  FROM jsonb_each(trace_analysis('30f60205-5172-4ead-9ff8-97d93b4c6b88')) ORDER BY key COLLATE "C";
SELECT trace_analysis('30f60205-5172-4ead-9ff8-97d93b4c6b88') -> 'summary' AS summary;
-- It says what its parts say, of every trace at hand.
CREATE FUNCTION pg_temp.differs(part text, function text, trace uuid) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT value FROM jsonb_array_elements(trace_ext.trace_analysis($1, 100000) -> %L) EXCEPT SELECT to_jsonb(f) FROM trace_ext.%I($1) f) d', part, function) INTO n USING trace;
    EXECUTE format('SELECT $2 + count(*) FROM (SELECT to_jsonb(f) FROM trace_ext.%I($1) f EXCEPT SELECT value FROM jsonb_array_elements(trace_ext.trace_analysis($1, 100000) -> %L)) d', function, part) INTO n USING trace, n;
    RETURN n;
END $$;
SELECT part, count(*) AS traces, sum(pg_temp.differs(part, function, trace_id)) AS differences
  FROM trace_summaries, (VALUES ('tree', 'trace_tree'), ('critical_path', 'critical_path'), ('anomalies', 'trace_anomalies'), ('dependencies', 'service_dependencies'), ('races', 'find_races')) AS p (part, function)
 GROUP BY part ORDER BY part;
SELECT count(*) AS differences FROM trace_summaries s, LATERAL trace_analysis(s.trace_id) d
 WHERE (d -> 'race_count')::bigint <> count_races(s.trace_id) OR NOT to_jsonb(s) @> ((d -> 'summary') || jsonb_build_object('trace_id', s.trace_id));

SELECT jsonb_array_length(trace_analysis('000000c0-0000-0000-0000-000000000000', 3) -> 'tree') AS few;
SELECT trace_analysis(NULL::uuid), trace_analysis('000000ff-0000-0000-0000-000000000000');
SELECT trace_analysis('000000c0-0000-0000-0000-000000000000'::text, NULL) IS NOT NULL AS as_text;
SELECT trace_analysis('000000c0-0000-0000-0000-000000000000', -1);
TRUNCATE events;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
