-- How much of what races is found, and how much that does not is accused.
\getenv inputdir PG_ABS_SRCDIR
\set programs :inputdir '/data/programs.sql'
\set labelled :inputdir '/data/labelled.sql'
SET client_min_messages = warning;
\i :programs
\i :labelled

-- An access, by its label in its program.
CREATE TEMP TABLE lines AS
SELECT class, name AS program, split_part(line, ' ', 1) AS label, regexp_substr(line, '\w+$') AS truth
  FROM labelled, regexp_split_to_table(program, '\s*\n\s*') AS l (untrimmed), btrim(untrimmed) AS line
 WHERE split_part(line, ' ', 4) IN ('r', 'w', 'ar', 'aw', 'rmw');
SELECT count(DISTINCT program) AS programs, count(*) FILTER (WHERE truth = 'racy') AS racy,
       count(*) FILTER (WHERE truth = 'hidden') AS hidden, count(*) FILTER (WHERE truth = 'safe') AS safe,
       count(*) FILTER (WHERE truth NOT IN ('racy', 'hidden', 'safe')) AS unlabelled
  FROM lines;

CREATE FUNCTION pg_temp.accused() RETURNS TABLE (program text, label text) LANGUAGE sql AS $$
    SELECT DISTINCT l.name, lab.label
      FROM labelled l, pg_temp.races_of(l.program) pairs, regexp_split_to_table(pairs, '[ -]') AS lab (label)
     WHERE pairs <> 'none' $$;
CREATE TEMP TABLE accused AS SELECT 'confirmed' AS tier, * FROM pg_temp.accused();
SET trace_ext.potential_races = on;
INSERT INTO accused SELECT 'with potential', * FROM pg_temp.accused();

-- Misses and false alarms, line by line.
SELECT tier, class, l.program, l.label, truth, a.label IS NOT NULL AS accused
  FROM (VALUES ('confirmed'), ('with potential')) t (tier) CROSS JOIN lines l LEFT JOIN accused a USING (tier, program, label)
 WHERE (truth = 'racy' OR (truth = 'hidden' AND tier = 'with potential')) <> (a.label IS NOT NULL)
 ORDER BY tier, class, program, label;

SELECT tier, count(*) FILTER (WHERE truth <> 'safe' AND a.label IS NOT NULL) AS found,
       count(*) FILTER (WHERE truth <> 'safe') AS to_find,
       count(*) FILTER (WHERE truth = 'safe' AND a.label IS NOT NULL) AS false_alarms,
       count(*) FILTER (WHERE truth = 'safe') AS safe,
       round(count(*) FILTER (WHERE truth <> 'safe' AND a.label IS NOT NULL) / count(a.label)::numeric, 2) AS precision,
       round(count(*) FILTER (WHERE truth <> 'safe' AND a.label IS NOT NULL) / count(*) FILTER (WHERE truth <> 'safe')::numeric, 2) AS recall
  FROM (VALUES ('confirmed'), ('with potential')) t (tier) CROSS JOIN lines l LEFT JOIN accused a USING (tier, program, label)
 GROUP BY tier ORDER BY tier;
