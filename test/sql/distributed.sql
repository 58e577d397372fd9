-- events as a distributed table of Citus is refused, whatever writes. A stand-in of Citus'
-- metadata tells: a table of that name in pg_catalog, with and without its index.
SET client_min_messages = warning;
TRUNCATE trace_ext.events;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name)
SELECT md5('distributed')::uuid, md5(i::text)::uuid, '2026-03-01 10:00+00', 'Custom', 'before' FROM generate_series(1, 3) i;

-- A table of that name elsewhere is nobody's metadata.
CREATE TABLE public.pg_dist_partition (logicalrelid regclass NOT NULL, partmethod "char");
INSERT INTO public.pg_dist_partition VALUES ('trace_ext.events', 'h');
SET search_path = public;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name)
VALUES (md5('distributed')::uuid, md5('4')::uuid, '2026-03-01 10:00+00', 'Custom', 'before');
RESET search_path;
DROP TABLE public.pg_dist_partition;

SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass NOT NULL, partmethod "char" NOT NULL, partkey text);
RESET allow_system_table_mods;
CREATE TABLE other (a int);
-- Citus is there, and has distributed something else.
INSERT INTO pg_catalog.pg_dist_partition VALUES ('other', 'h', NULL);
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name)
VALUES (md5('distributed')::uuid, md5('5')::uuid, '2026-03-01 10:00+00', 'Custom', 'before');
SELECT trace_ext.count_events();

-- Now events.
INSERT INTO pg_catalog.pg_dist_partition VALUES ('trace_ext.events', 'h', NULL);
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name)
VALUES (md5('distributed')::uuid, md5('6')::uuid, '2026-03-01 10:00+00', 'Custom', 'after');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
SELECT * FROM trace_ext.ingest_events('[{"id": "00000000-0000-0000-0000-000000000001", "trace_id": "00000000-0000-0000-0000-000000000002",
  "timestamp": "2026-03-01T10:00:00Z", "kind": {"Custom": {"name": "after"}}}]');
SELECT * FROM trace_ext.ingest_otlp('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "00000000000000000000000000000001",
  "spanId": "0000000000000001", "name": "after", "startTimeUnixNano": "1772359200000000000", "endTimeUnixNano": "1772359200000000000"}]}]}]}'::jsonb);
-- Sent again, which would be three duplicates.
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name)
SELECT trace_id, id, "timestamp", kind, name FROM trace_ext.events ON CONFLICT DO NOTHING;
UPDATE trace_ext.events SET name = 'after';
DELETE FROM trace_ext.events;
TRUNCATE trace_ext.events;
TRUNCATE trace_ext.events_default;
-- A partition by its name, as Citus writes to a shard.
COPY trace_ext.events_default (trace_id, id, "timestamp", kind, name) FROM STDIN;
00000000-0000-0000-0000-000000000002	00000000-0000-0000-0000-000000000001	1990-03-01 10:00+00	Custom	after
\.
-- One that writes and may not look into the metadata.
CREATE ROLE distributed_writer IN ROLE trace_ext_writer;
REVOKE ALL ON pg_catalog.pg_dist_partition FROM PUBLIC;
SET ROLE distributed_writer;
SELECT * FROM trace_ext.ingest_events('[{"id": "00000000-0000-0000-0000-000000000001", "trace_id": "00000000-0000-0000-0000-000000000002",
  "timestamp": "2026-03-01T10:00:00Z", "kind": {"Custom": {"name": "after"}}}]');
RESET ROLE;
-- Nothing of it was done, and what was there can be read.
SELECT count(*), min(name), max(name) FROM trace_ext.events;
SELECT trace_ext.count_events(), trace_ext.count_traces();
SELECT * FROM trace_ext.verify_summaries();

-- As Citus has it, with an index.
SET allow_system_table_mods = on;
CREATE UNIQUE INDEX pg_dist_partition_logical_relid_index ON pg_catalog.pg_dist_partition (logicalrelid);
RESET allow_system_table_mods;
DELETE FROM trace_ext.events;
-- A table of its own again: so is the next statement, in the same session.
DELETE FROM pg_catalog.pg_dist_partition WHERE logicalrelid = 'trace_ext.events'::regclass;
DELETE FROM trace_ext.events WHERE id = md5('5')::uuid;
SELECT trace_ext.count_events();
SET allow_system_table_mods = on;
DROP TABLE pg_catalog.pg_dist_partition;
RESET allow_system_table_mods;
DELETE FROM trace_ext.events;
SELECT trace_ext.count_events();
SELECT * FROM trace_ext.verify_summaries();
DROP TABLE other;
DROP ROLE distributed_writer;
