-- The next batch of this client: of batch n, n % clients is the client.
\set i :i + 1
\set n :i * :clients + :client_id
SELECT i.* FROM bench.batches b, trace_ext.ingest_events(b.body) i WHERE b.n = :n;
