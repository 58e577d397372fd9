SELECT service_name, kind, count(*), avg(duration_ns)::bigint FROM trace_ext.events GROUP BY 1, 2 ORDER BY 1, 2;
