-- Undoes no_workers.sql.
ALTER SYSTEM RESET trace_ext.workers;
SELECT pg_reload_conf() \g /dev/null
