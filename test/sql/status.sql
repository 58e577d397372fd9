-- status: one row, whatever the store holds.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

SELECT events, traces, events_in_default, rejected_events, last_rejection, last_rejection_at, version = (SELECT extversion FROM pg_extension WHERE extname = 'trace_ext') AS version
  FROM status;
SELECT preloaded = (current_setting('shared_preload_libraries') ~ '\mtrace_ext\M') AS preloaded FROM status;

-- Inside one transaction nobody else folds what is outstanding.
BEGIN;
SELECT fold() >= 0 AS folded;
SELECT summary_backlog, count_backlog FROM status;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('a' || i % 3), plain.id(i::text), '1990-01-01+00', 'Custom' FROM generate_series(1, 10) i;
SELECT summary_backlog, count_backlog, events, traces, events_in_default FROM status;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('a1'), plain.id((10 + i)::text), '1990-01-01+00', 'Custom' FROM generate_series(1, 10) i;
SELECT summary_backlog, count_backlog, events, traces, events_in_default FROM status;
SELECT fold() AS folded;
SELECT summary_backlog, count_backlog, events, traces, events_in_default FROM status;
SELECT fold() AS folded_again, fold_if_free() AS and_again;
COMMIT;

-- Rejections: how many, and the last one.
SELECT rejected FROM ingest_events('[{}, {"id": 1}, 7]');
SELECT rejected_events, last_rejection, last_rejection_at BETWEEN now() - interval '1 hour' AND now() AS just_now FROM status;
TRUNCATE ingest_errors;
SELECT rejected_events, last_rejection, last_rejection_at FROM status;

-- Partitions.
SELECT partitions AS before FROM status \gset
CREATE TABLE far PARTITION OF events FOR VALUES FROM ('4000-01-01+00') TO ('4000-02-01+00');
SELECT partitions - :before AS came, partitioned_until FROM status;
CREATE TABLE farther PARTITION OF events FOR VALUES FROM ('4000-02-01+00') TO (MAXVALUE);
SELECT partitions - :before AS came, partitioned_until FROM status;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('1'), '4000-01-01+00', 'Custom');
SELECT events, events_in_default FROM status;
DROP TABLE far, farther;
SELECT partitions - :before AS came, events FROM status;
TRUNCATE events;
SELECT count(*) AS rows, min(events) AS events, min(traces) AS traces, min(events_in_default) AS in_default FROM status;

SELECT * FROM verify_summaries();
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
