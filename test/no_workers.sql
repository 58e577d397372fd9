-- For tests that look at what no worker has done yet: sends all workers away, until workers_back.sql.
SELECT current_setting('shared_preload_libraries') ~ 'trace_ext' AS workers_may_be \gset
\if :workers_may_be
ALTER SYSTEM SET trace_ext.workers = off;
SELECT pg_reload_conf() \g /dev/null
DO $$
BEGIN
    FOR i IN 1 .. 300 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'trace_ext worker%' AND datname = current_database());
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
\endif
