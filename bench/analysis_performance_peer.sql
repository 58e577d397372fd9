SELECT count(*), count(DISTINCT trace_id), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ns), max(duration_ns) FROM trace_ext.events;
SELECT kind, count(*), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ns), max(duration_ns) FROM trace_ext.events GROUP BY kind;
SELECT service_name, count(*), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ns), max(duration_ns) FROM trace_ext.events GROUP BY service_name;
SELECT trace_id, id, kind, name, service_name, duration_ns FROM trace_ext.events WHERE duration_ns IS NOT NULL ORDER BY duration_ns DESC LIMIT 50;
SELECT date_trunc('minute', "timestamp") AS minute, count(*), count(DISTINCT trace_id) FROM trace_ext.events WHERE "timestamp" > timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '1 hour' GROUP BY 1;
