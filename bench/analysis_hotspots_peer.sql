SELECT service_name, name, count(*), count(*) FILTER (WHERE attributes ->> 'access_type' <> 'Read') AS writers FROM trace_ext.events WHERE kind = 'StateChange' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10;
SELECT service_name, kind, name, count(*), sum(duration_ns) FROM trace_ext.events WHERE kind IN ('FunctionCall', 'HttpRequest', 'AsyncSpawn', 'AsyncAwait', 'Error', 'Custom') GROUP BY 1, 2, 3 ORDER BY 5 DESC NULLS LAST, 4 DESC LIMIT 10;
SELECT service_name, name, count(*), sum(duration_ns) FROM trace_ext.events WHERE kind = 'DatabaseQuery' GROUP BY 1, 2 ORDER BY 4 DESC NULLS LAST, 3 DESC LIMIT 10;
SELECT service_name, name, count(*), count(*) FILTER (WHERE duration_ns > 0) AS waits, sum(duration_ns) FROM trace_ext.events WHERE kind = 'LockAcquire' GROUP BY 1, 2 ORDER BY 5 DESC NULLS LAST, 3 DESC LIMIT 10;
SELECT * FROM trace_ext.service_calls ORDER BY call_count DESC LIMIT 10;
