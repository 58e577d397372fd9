-- DROP EXTENSION leaves nothing behind, and CREATE EXTENSION starts anew, in
-- one session that has used the library before.
SET client_min_messages = warning;
SELECT count(*) >= 0 AS used FROM trace_ext.events;
SELECT * FROM trace_ext.ingest_events('[{"id": "00000001-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T00:00:00Z", "kind": "Error"}]');
CALL trace_ext.maintain_partitions();

-- Everything in the database that is not the system's, by name.
CREATE FUNCTION objects() RETURNS TABLE (object text) LANGUAGE sql AS $$
    SELECT pg_describe_object(d.classid, d.objid, 0)
      FROM (SELECT 'pg_class'::regclass AS classid, oid AS objid FROM pg_class
            UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type
            UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc
            UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
            UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
            UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
            UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast
            UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
            UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger
            UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger
            UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspname !~ '^pg_'
            UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension) d
     WHERE d.objid >= 16384 AND pg_describe_object(d.classid, d.objid, 0) !~ 'public\.|\mobjects\M|in schema pg_toast|pg_temp|pg_toast'
$$;
DROP EXTENSION trace_ext CASCADE;
-- The schema goes as well: the script made it, so it is a member.
SELECT object FROM objects() WHERE object ~ 'trace_ext|event|vclock|histogram|summar' ORDER BY 1;

-- The same session, new oids.
CREATE EXTENSION trace_ext;
SELECT trace_ext.count_events(), trace_ext.count_traces();
SELECT * FROM trace_ext.ingest_events('[{"id": "00000001-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T00:00:00Z", "kind": "Error"}]');
SELECT * FROM trace_ext.ingest_events('[{"id": "00000001-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T00:00:00Z", "kind": "Error"}, {}]'::jsonb);
SELECT trace_ext.count_events(), trace_ext.count_traces();
SELECT event_count, error_count FROM trace_ext.list_traces();
SELECT trace_ext.is_error('Error', NULL);
DELETE FROM trace_ext.events;
SELECT trace_ext.count_events(), trace_ext.count_traces();
SELECT * FROM trace_ext.verify_summaries();

-- With events that wait to be counted, in a transaction that is rolled back, and with partitions of all kinds.
BEGIN;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Custom');
DROP EXTENSION trace_ext;
CREATE EXTENSION trace_ext;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Error');
SELECT trace_ext.count_events(), (SELECT sum(error_count) FROM trace_ext.list_traces()) AS errors;
ROLLBACK;
SELECT trace_ext.count_events();
CALL trace_ext.maintain_partitions();
CREATE TABLE trace_ext.mine PARTITION OF trace_ext.events FOR VALUES FROM ('2001-01-01') TO ('2002-01-01');
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), '2001-02-03', 'Custom');
DROP EXTENSION trace_ext;
SELECT object FROM objects() WHERE object ~ 'trace_ext|event|vclock|histogram|summar' ORDER BY 1;
-- DDL goes on without it.
CREATE TABLE unrelated (a int PRIMARY KEY);
DROP TABLE unrelated;

-- It has one place.
CREATE SCHEMA elsewhere;
CREATE EXTENSION trace_ext SCHEMA elsewhere;
DROP SCHEMA elsewhere;
CREATE EXTENSION trace_ext;
ALTER EXTENSION trace_ext SET SCHEMA public;
SELECT * FROM trace_ext.verify_summaries();
DROP FUNCTION objects;
