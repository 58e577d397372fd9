-- The events that the spans became, as event JSON of the same bodies: fields that a column holds are given back to their kind.
UPDATE bench.requests r SET events = e.events
  FROM (SELECT s.body, jsonb_build_object('events', jsonb_agg(jsonb_build_object('id', e.id, 'trace_id', e.trace_id, 'parent_id', e.parent_id, 'timestamp', e."timestamp",
                   'kind', jsonb_build_object(e.kind, coalesce(e.attributes #- '{otlp,resource}' #- '{otlp,scope}', '{}') || jsonb_strip_nulls(CASE e.kind
                       WHEN 'StateChange' THEN jsonb_build_object('variable', e.name)
                       WHEN 'FunctionCall' THEN jsonb_build_object('function_name', e.name)
                       WHEN 'HttpRequest' THEN jsonb_build_object('method', split_part(e.name, ' ', 1), 'url', split_part(e.name, ' ', 2))
                       WHEN 'DatabaseQuery' THEN jsonb_build_object('query', e.name)
                       WHEN 'AsyncSpawn' THEN jsonb_build_object('task_id', e.name)
                       WHEN 'AsyncAwait' THEN jsonb_build_object('future_id', e.name)
                       WHEN 'Error' THEN jsonb_build_object('error_type', e.name)
                       WHEN 'Custom' THEN jsonb_build_object('name', e.name)
                       WHEN 'LockAcquire' THEN jsonb_build_object('lock_id', e.name)
                       WHEN 'LockRelease' THEN jsonb_build_object('lock_id', e.name)
                       ELSE '{}' END)),
                   'metadata', jsonb_build_object('thread_id', e.thread_id, 'process_id', e.process_id, 'service_name', e.service_name, 'environment', e.environment,
                       'duration_ns', e.duration_ns, 'instance_id', e.instance_id, 'distributed_span_id', e.span_id, 'upstream_span_id', e.upstream_span_id)) ORDER BY s.n, e.id))::text AS events
          FROM bench.sent s JOIN trace_ext.events e ON e.trace_id = s.trace::uuid AND e.span_id = s.id GROUP BY s.body) AS e
 WHERE e.body = r.n;
VACUUM ANALYZE bench.requests;
