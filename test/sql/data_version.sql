-- data_version(): another one once what can be seen changed, and the same until then.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
-- Whether it is another one than when it was asked last.
CREATE TEMP TABLE last (version text);
INSERT INTO last VALUES (data_version());
GRANT ALL ON last TO PUBLIC;
CREATE FUNCTION plain.moved() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now_it_is constant text := trace_ext.data_version();
    it_was constant text := (SELECT version FROM last);
BEGIN
    UPDATE last SET version = now_it_is;
    RETURN CASE WHEN it_was = now_it_is THEN 'the same' ELSE 'another' END;
END $$;
SELECT data_version() ~ '^[0-9a-f]{16}-[0-9a-f]{16}$' AS looks_right, data_version() = data_version() AS stands;

-- Events: each statement that changes something.
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name)
SELECT plain.id(t::text), plain.id(e::text), '2001-01-01 12:00:00+00', 'Custom', 'n', 'api' FROM generate_series(1, 3) t, generate_series(1, 3) e;
SELECT plain.moved(), plain.moved();
UPDATE events SET tags = '{"a": 1}' WHERE trace_id = plain.id('1') AND id = plain.id('1');
SELECT plain.moved();
UPDATE events SET attributes = '{}';
SELECT plain.moved();
UPDATE events SET service_name = 'bank' WHERE trace_id = plain.id('1');
SELECT plain.moved();
DELETE FROM events WHERE trace_id = plain.id('2');
SELECT plain.moved();
COPY events (trace_id, id, "timestamp", kind) FROM stdin;
00000009-0000-0000-0000-000000000000	00000001-0000-0000-0000-000000000000	2001-01-01 12:00:00+00	Custom
\.
SELECT plain.moved();
SELECT inserted FROM ingest_events('[{"id": "00000000-0000-0000-0000-00000000000a", "trace_id": "00000000-0000-0000-0000-00000000000a",
    "timestamp": "2001-01-01T12:00:00Z", "kind": {"Custom": {"name": "n", "data": {}}}}]');
SELECT plain.moved();
-- Those that change nothing.
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('9'), plain.id('1'), '2001-01-01 12:00:00+00', 'Custom') ON CONFLICT DO NOTHING;
UPDATE events SET tags = tags, name = name, service_name = service_name;
DELETE FROM events WHERE trace_id = plain.id('ff');
SELECT plain.moved();
-- What is maintained for it.
SELECT fold() > 0 AS folded;
SELECT plain.moved();
SELECT fold(), detect() >= 0 AS detected;
SELECT plain.moved();
CALL maintain_partitions();
SELECT plain.moved();
SELECT count(*) AS left FROM version_deltas;

-- Rollback, in whole or in part; the own writes of a transaction; a version that was comes back with what was.
BEGIN;
DELETE FROM events;
SELECT plain.moved();
ROLLBACK;
SELECT plain.moved();
BEGIN;
SAVEPOINT a;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('9'), plain.id('2'), '2001-01-01 12:00:00+00', 'Custom');
SELECT data_version() <> version AS own_write FROM last;
ROLLBACK TO a;
SELECT plain.moved();
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('9'), plain.id('2'), '2001-01-01 12:00:00+00', 'Custom');
SAVEPOINT b;
UPDATE findings SET status = status;
DELETE FROM events WHERE trace_id = plain.id('9');
ROLLBACK TO b;
SELECT plain.moved();
SELECT fold() > 0 AS folded;
SELECT plain.moved();
COMMIT;
SELECT plain.moved();

-- Partitions: with rows they come and go; empty ones do nothing, nor does moving rows to where they belong.
CREATE TABLE came (LIKE trace_ext.events INCLUDING ALL);
ALTER TABLE trace_ext.events ATTACH PARTITION came FOR VALUES FROM ('2002-01-01 00:00:00+00') TO ('2002-01-02 00:00:00+00');
SELECT plain.moved();
ALTER TABLE trace_ext.events DETACH PARTITION came;
SELECT plain.moved();
INSERT INTO came (trace_id, id, "timestamp", kind) VALUES (plain.id('8'), plain.id('8'), '2002-01-01 00:00:00+00', 'Custom');
SELECT plain.moved();
ALTER TABLE trace_ext.events ATTACH PARTITION came FOR VALUES FROM ('2002-01-01 00:00:00+00') TO ('2002-01-02 00:00:00+00');
SELECT plain.moved();
ALTER TABLE trace_ext.events DETACH PARTITION came;
SELECT plain.moved();
ALTER TABLE trace_ext.events ATTACH PARTITION came FOR VALUES FROM ('2002-01-01 00:00:00+00') TO ('2002-01-02 00:00:00+00');
SELECT plain.moved();
TRUNCATE came;
SELECT plain.moved();
DROP TABLE came;
SELECT plain.moved();
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('7'), plain.id(d::text), now() + d * interval '1 day', 'Custom' FROM generate_series(40, 42) d;
SELECT plain.moved();
CALL maintain_partitions();
SELECT plain.moved();
TRUNCATE trace_ext.events;
SELECT plain.moved();

-- What is found and decided: anything that is not as it was.
INSERT INTO findings (id, kind, variable, severity, confidence, confirmed, occurrences) VALUES (plain.id('f'), 'lost update', 'v', 'CRITICAL', 1, true, 1);
SELECT plain.moved();
SELECT set_finding_status(plain.id('f'), 'ignored');
SELECT plain.moved();
SELECT set_finding_status(plain.id('f'), 'ignored');
SELECT plain.moved();
DELETE FROM findings;
SELECT plain.moved();
SELECT rejected FROM ingest_events('[1, 2]');
SELECT plain.moved();
TRUNCATE ingest_errors;
SELECT plain.moved();
INSERT INTO alert_rules (name, metric, threshold) VALUES ('many', 'per_second', 1e9);
SELECT plain.moved();
UPDATE alert_rules SET threshold = 1e8 WHERE name = 'many';
SELECT plain.moved();
-- Each rule that is judged for the first time has a state from then on, and the same as long as nothing happens.
CALL job_alerts();
SELECT plain.moved();
CALL job_alerts();
SELECT plain.moved();
SELECT evaluate_alerts(clock_timestamp() + interval '1 minute');
SELECT plain.moved();
UPDATE alert_rules SET comparison = '<' WHERE name = 'many';
SELECT plain.moved();
CALL job_alerts();
SELECT plain.moved();
DELETE FROM alert_rules WHERE name = 'many';
SELECT plain.moved();
TRUNCATE anomalies, baseline_metrics, alert_states;
SELECT plain.moved();
-- Many rows of one statement are one change.
SELECT fold();
INSERT INTO findings (id, kind, variable, severity, confidence, confirmed, occurrences)
SELECT plain.id(i::text), 'lost update', 'v' || i, 'CRITICAL', 1, true, 1 FROM generate_series(1, 100) i;
SELECT count(*) AS stamps FROM version_deltas;
DELETE FROM findings;
SELECT plain.moved();

-- A role: what it may see, and through which policies.
CREATE ROLE regress_version_a;
CREATE ROLE regress_version_b;
GRANT trace_ext_reader TO regress_version_a, regress_version_b;
GRANT USAGE ON SCHEMA plain, trace_ext TO regress_version_a, regress_version_b;
SELECT data_version() AS mine \gset
SET ROLE regress_version_a;
SELECT data_version() AS a \gset
SELECT plain.moved(), split_part(:'a', '-', 1) = split_part(:'mine', '-', 1) AS same_events;
SET ROLE regress_version_b;
SELECT data_version() <> :'a' AS another_role;
RESET ROLE;
-- Rights come and go, of a role or of one that it belongs to.
REVOKE SELECT ON findings FROM trace_ext_reader;
SET ROLE regress_version_a;
SELECT plain.moved();
RESET ROLE;
GRANT SELECT (id) ON findings TO regress_version_a;
SET ROLE regress_version_a;
SELECT plain.moved();
RESET ROLE;
REVOKE SELECT (id) ON findings FROM regress_version_a;
GRANT SELECT ON findings TO trace_ext_reader;
SET ROLE regress_version_a;
SELECT plain.moved(), data_version() = :'a' AS as_before;
-- Settings are no part of it, but where a policy holds for the role, which may read them.
SET plain.tenant = 'api';
SELECT plain.moved();
RESET ROLE;
CREATE POLICY tenant ON events TO regress_version_a USING (service_name = current_setting('plain.tenant', true));
SET ROLE regress_version_a;
SELECT plain.moved();
RESET ROLE;
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
SELECT data_version() = :'mine' AS owner_sees_all;
SET ROLE regress_version_a;
SELECT plain.moved(), plain.moved();
SET plain.tenant = 'bank';
SELECT plain.moved();
SET plain.tenant = 'api';
SELECT plain.moved();
RESET ROLE;
ALTER POLICY tenant ON events USING (service_name = 'x' || current_setting('plain.tenant', true));
SET ROLE regress_version_a;
SELECT plain.moved();
RESET ROLE;
INSERT INTO events (trace_id, id, "timestamp", kind, service_name) VALUES (plain.id('1'), plain.id('1'), '2001-01-01 12:00:00+00', 'Custom', 'xapi');
SET ROLE regress_version_a;
SELECT plain.moved();
RESET ROLE;
ALTER TABLE events DISABLE ROW LEVEL SECURITY;
DROP POLICY tenant ON events;
RESET plain.tenant;
-- Who may send events is told nothing.
SET ROLE trace_ext_writer;
SELECT data_version();
RESET ROLE;
REVOKE USAGE ON SCHEMA trace_ext, plain FROM regress_version_a, regress_version_b;
DROP OWNED BY regress_version_a, regress_version_b;
DROP ROLE regress_version_a, regress_version_b;

-- A trigger of ours on a table of somebody else does no harm; called by itself it is refused.
SELECT note_version();

-- What it reads does not grow with what is stored.
CREATE FUNCTION plain.pages() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT trace_ext.data_version()' INTO plan;
    RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END $$;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT gen_random_uuid(), gen_random_uuid(), '2001-01-01 12:00:00+00', 'Custom' FROM generate_series(1, 1000);
SELECT fold(), plain.pages() > 0 AS warm;
SELECT plain.pages() AS few \gset
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT gen_random_uuid(), gen_random_uuid(), '2001-01-01 12:00:00+00', 'Custom' FROM generate_series(1, 20000);
SELECT fold();
-- The least of three: a first one may read the catalog anew.
SELECT min(plain.pages() + 0 * n) AS many FROM generate_series(1, 3) n \gset
SELECT :few AS few, :many AS many WHERE :many - :few >= 10;
SELECT * FROM verify_summaries();
DROP TABLE last;
DROP SCHEMA plain CASCADE;
TRUNCATE trace_ext.events;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
