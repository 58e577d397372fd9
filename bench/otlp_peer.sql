-- The same events.
\set i :i + 1
SELECT i.* FROM bench.requests r, trace_ext.ingest_events(r.events) i WHERE r.n = :i;
