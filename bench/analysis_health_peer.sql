SELECT service_name,
       count(*) FILTER (WHERE kind = 'HttpRequest' AND "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours') AS requests,
       count(*) FILTER (WHERE kind = 'HttpResponse' AND (attributes ->> 'status')::int >= 500 AND "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours') AS errors,
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ns) FILTER (WHERE kind = 'HttpResponse' AND "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours'),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ns) FILTER (WHERE kind = 'HttpResponse' AND "timestamp" < timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours'),
       max("timestamp") AS last_seen
  FROM trace_ext.events WHERE "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '26 hours' GROUP BY service_name;
SELECT service_name, date_trunc('hour', "timestamp") AS hour, count(*) FILTER (WHERE (attributes ->> 'status')::int >= 500) AS errors,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ns)
  FROM trace_ext.events WHERE kind = 'HttpResponse' AND "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '26 hours' GROUP BY 1, 2;
SELECT service_name, name, count(*) FILTER (WHERE "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours') AS now, count(*) FILTER (WHERE "timestamp" < timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '2 hours') AS before
  FROM trace_ext.events WHERE kind = 'Error' AND "timestamp" >= timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '26 hours' GROUP BY 1, 2;
