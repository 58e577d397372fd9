-- Undoes no_workers.sql.
\if :workers_may_be
ALTER SYSTEM RESET trace_ext.workers;
SELECT pg_reload_conf() \g /dev/null
\endif
