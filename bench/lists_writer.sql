-- A batch of 100 events of new traces, as of now.
\set n random(0, :events - 101)
\set salt random(1, 1000000000)
INSERT INTO trace_ext.events
SELECT md5(e.trace_id::text || :salt)::uuid, md5(e.id::text || :salt)::uuid, md5(e.parent_id::text || :salt)::uuid,
       now() + (e.n - :n) * interval '1 microsecond', e.kind, e.name, e.service_name, e.instance_id, e.process_id,
       e.thread_id, e.environment, e.span_id, e.upstream_span_id, e.duration_ns, e.attributes, e.tags,
       e.causality_vector, e.lock_set
  FROM bench.sample e WHERE e.n BETWEEN :n AND :n + 99;
