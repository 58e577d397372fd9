-- A request that a service reports in four statements, in one transaction: five
-- events each, of one trace drawn from a pool of 64. All writers draw from the
-- same pool (shared = 1), or each one from its own. The table is found by
-- search_path.
\set pool CASE WHEN :shared = 1 THEN 0 ELSE :client_id + 1 END
\set n1 random(0, :events - 6)
\set n2 random(0, :events - 6)
\set n3 random(0, :events - 6)
\set n4 random(0, :events - 6)
BEGIN;
INSERT INTO events
SELECT bench.id(:pool * 64 + :n1 % 64, 'pool'), gen_random_uuid(), e.parent_id, now(), e.kind, e.name, e.service_name,
       e.instance_id, e.process_id, e.thread_id, e.environment, e.span_id, e.upstream_span_id, e.duration_ns,
       e.attributes, e.tags, e.causality_vector, e.lock_set
  FROM bench.sample e WHERE e.n BETWEEN :n1 AND :n1 + 4;
INSERT INTO events
SELECT bench.id(:pool * 64 + :n2 % 64, 'pool'), gen_random_uuid(), e.parent_id, now(), e.kind, e.name, e.service_name,
       e.instance_id, e.process_id, e.thread_id, e.environment, e.span_id, e.upstream_span_id, e.duration_ns,
       e.attributes, e.tags, e.causality_vector, e.lock_set
  FROM bench.sample e WHERE e.n BETWEEN :n2 AND :n2 + 4;
INSERT INTO events
SELECT bench.id(:pool * 64 + :n3 % 64, 'pool'), gen_random_uuid(), e.parent_id, now(), e.kind, e.name, e.service_name,
       e.instance_id, e.process_id, e.thread_id, e.environment, e.span_id, e.upstream_span_id, e.duration_ns,
       e.attributes, e.tags, e.causality_vector, e.lock_set
  FROM bench.sample e WHERE e.n BETWEEN :n3 AND :n3 + 4;
INSERT INTO events
SELECT bench.id(:pool * 64 + :n4 % 64, 'pool'), gen_random_uuid(), e.parent_id, now(), e.kind, e.name, e.service_name,
       e.instance_id, e.process_id, e.thread_id, e.environment, e.span_id, e.upstream_span_id, e.duration_ns,
       e.attributes, e.tags, e.causality_vector, e.lock_set
  FROM bench.sample e WHERE e.n BETWEEN :n4 AND :n4 + 4;
COMMIT;
