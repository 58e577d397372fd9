-- The next body.
\set i :i + 1
SELECT i.* FROM bench.requests r, trace_ext.ingest_otlp(r.wire) i WHERE r.n = :i;
