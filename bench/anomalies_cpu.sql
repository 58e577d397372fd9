-- anomalies_cpu.sql: CPU of a server process that takes all batches, and after each 40 of them
-- folds and looks for anomalies: seconds of ingest_events(), of fold(), and of the job's steps.
\set QUIET on
SET client_min_messages = warning;
SET trace_ext.fold_threshold = 0;
SET trace_ext.slow_factor = 1.01;

CREATE TABLE bench.spent (what text, ns bigint);

CREATE FUNCTION bench.cpu() RETURNS bigint LANGUAGE sql VOLATILE
    RETURN split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint;

CREATE PROCEDURE bench.take_and_look() LANGUAGE plpgsql AS $$
DECLARE
    batches constant int := (SELECT count(*) FROM bench.batches);
    body text;
    before bigint;
    looked_at int;
BEGIN
    FOR i IN 0 .. batches - 1 LOOP
        body := (SELECT b.body FROM bench.batches b WHERE b.n = i);
        before := bench.cpu();
        PERFORM trace_ext.ingest_events(body);
        INSERT INTO bench.spent VALUES ('ingest', bench.cpu() - before);
        COMMIT;
        CONTINUE WHEN i % 40 <> 39 AND i < batches - 1;
        before := bench.cpu();
        PERFORM trace_ext.fold();
        INSERT INTO bench.spent VALUES ('fold', bench.cpu() - before);
        COMMIT;
        LOOP
            before := bench.cpu();
            looked_at := trace_ext_internal.anomaly_step();
            INSERT INTO bench.spent VALUES ('anomalies', bench.cpu() - before);
            COMMIT;
            EXIT WHEN looked_at = 0;
        END LOOP;
    END LOOP;
END
$$;
CALL bench.take_and_look();
SELECT string_agg(round(s.ns / 1e9, 3)::text, ' ' ORDER BY s.what DESC) FROM (SELECT what, sum(ns) AS ns FROM bench.spent GROUP BY what) s;
DROP PROCEDURE bench.take_and_look();
DROP FUNCTION bench.cpu();
DROP TABLE bench.spent;
