-- The next batch of this client, one INSERT a table.
\set i :i + 1
\set n :i * :clients + :client_id
BEGIN;
INSERT INTO peer.events (id, trace_id, parent_id, "timestamp", kind, metadata, causality_vector, lock_set)
SELECT u.id, u.trace_id, u.parent_id, u."timestamp", u.kind::jsonb, u.metadata::jsonb, u.vector::jsonb, u.lock_set::jsonb
  FROM bench.peer_batches b,
       unnest(b.id, b.trace_id, b.parent_id, b."timestamp", b.kind, b.metadata, b.vector, b.lock_set)
       AS u (id, trace_id, parent_id, "timestamp", kind, metadata, vector, lock_set)
 WHERE b.n = :n
ON CONFLICT DO NOTHING;
INSERT INTO peer.causal_edges
SELECT u.*, 'DirectCall' FROM bench.peer_batches b, unnest(b.edge_from, b.edge_to) AS u WHERE b.n = :n
ON CONFLICT DO NOTHING;
INSERT INTO peer.trace_roots
SELECT u.* FROM bench.peer_batches b, unnest(b.root_trace, b.root_event) AS u WHERE b.n = :n
ON CONFLICT DO NOTHING;
INSERT INTO peer.cross_trace_index
SELECT u.* FROM bench.peer_batches b,
       unnest(b.access_event, b.access_variable, b.access_trace, b.access_time, b.access_type, b.access_location) AS u
 WHERE b.n = :n
ON CONFLICT DO NOTHING;
COMMIT;
