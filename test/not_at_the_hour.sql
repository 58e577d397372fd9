-- For tests of what is of the last hours or days: none of these ends, by the clock of UTC, in the next
-- minute. Included by tests, is none itself.
SELECT pg_sleep(CASE WHEN rest > 60 THEN 0 ELSE rest + 1 END)
  FROM (SELECT 3600 - extract(epoch FROM now())::numeric % 3600 AS rest) AS r \g /dev/null
