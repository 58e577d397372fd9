SELECT service_name, kind, trace_ext.operation(kind, name) AS operation,
       count(*) FILTER (WHERE "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours') AS calls,
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ns) FILTER (WHERE "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours'),
       count(*) FILTER (WHERE "timestamp" < timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours') AS calls_before,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ns) FILTER (WHERE "timestamp" < timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours')
  FROM trace_ext.events WHERE "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '4 hours' GROUP BY 1, 2, 3 ORDER BY sum(duration_ns) DESC NULLS LAST LIMIT 50;
