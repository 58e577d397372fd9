SELECT count(*) FROM (
    SELECT caller.service, callee.service, e.link_type, count(*), count(DISTINCT e.trace_id), count(*) FILTER (WHERE callee.status = 'ERROR')
      FROM trace_ext.distributed_edges e
      JOIN trace_ext.distributed_spans caller ON caller.trace_id = e.trace_id AND caller.span_id = e.from_span
      JOIN trace_ext.distributed_spans callee ON callee.trace_id = e.trace_id AND callee.span_id = e.to_span
     WHERE caller.service <> callee.service
     GROUP BY caller.service, callee.service, e.link_type) AS calls;
