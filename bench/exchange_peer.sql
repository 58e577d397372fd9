-- The samples of services alone, from events.
SELECT e.service_name, b.bound, count(*) FILTER (WHERE e.duration_ns <= b.bound), sum(e.duration_ns), count(*)
  FROM trace_ext.events e, (SELECT 1::bigint << i AS bound FROM generate_series(19, 35) i) b
 WHERE e.duration_ns >= 0 AND e.kind IN ('HttpRequest', 'HttpResponse')
 GROUP BY e.service_name, b.bound;
