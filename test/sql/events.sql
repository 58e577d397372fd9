-- Plain SQL writes events as well: every statement, through the parent and
-- straight into a partition, keeps all derived data exact.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all

CREATE TABLE trace_ext.events_p2001 PARTITION OF trace_ext.events
    FOR VALUES FROM ('2001-01-01 00:00:00+00') TO ('2002-01-01 00:00:00+00');
-- A result that differs is a row below; in between the store is to be this full.
CREATE VIEW so_far AS SELECT count_events() AS events, count_traces() AS traces, (SELECT count(*) FROM plain.differences()) AS differences;

--
-- INSERT
--
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name)
VALUES (plain.id('a1'), plain.id('1'), '2001-02-03 04:05:06+00', 'FunctionCall', 'f', 'api');
SELECT * FROM so_far;
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, attributes)
VALUES (plain.id('a1'), plain.id('2'), plain.id('1'), '2001-02-03 04:05:07+00', 'HttpResponse', NULL, 'bank', '{"status": 500}'),
       (plain.id('a2'), plain.id('1'), NULL, '2010-02-03 04:05:07+00', 'Error', NULL, NULL, NULL),
       (plain.id('a1'), plain.id('3'), plain.id('1'), '2010-02-03 04:05:07+00', 'StateChange', 'v', 'api', '{"access_type": "Read"}');
SELECT * FROM so_far;
INSERT INTO events (trace_id, id, "timestamp", kind)
SELECT plain.id('b' || i % 7), plain.id(i::text), '2000-12-31 12:00:00+00'::timestamptz + i * interval '10 minutes', 'Custom'
  FROM generate_series(1, 500) i;
SELECT * FROM so_far;
INSERT INTO events SELECT * FROM events WHERE false;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('a3'), plain.id('1'), '2001-03-01 00:00:00+00', 'Custom')
RETURNING tableoid::regclass, trace_id;
WITH one AS (INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('a4'), plain.id('1'), '2001-03-01+00', 'Custom') RETURNING *),
     two AS (INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('a5'), id, "timestamp", kind FROM one RETURNING *)
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('a4'), plain.id('2'), "timestamp", kind FROM two;
SELECT * FROM so_far;

--
-- COPY
--
COPY events (trace_id, id, "timestamp", kind, name, service_name, tags, causality_vector, lock_set) FROM stdin;
000000c1-0000-0000-0000-000000000000	00000001-0000-0000-0000-000000000000	2001-02-03 04:05:06+00	FunctionCall	f	api	{"a": 1}	{"a": 1}	{l,m}
000000c1-0000-0000-0000-000000000000	00000002-0000-0000-0000-000000000000	2011-02-03 04:05:06+00	Error	\N	\N	\N	\N	\N
\.
SELECT * FROM so_far;
-- One bad line takes the others with it.
COPY events (trace_id, id, "timestamp", kind) FROM stdin;
000000c2-0000-0000-0000-000000000000	00000001-0000-0000-0000-000000000000	2001-02-03 04:05:06+00	Custom
000000c2-0000-0000-0000-000000000000	00000002-0000-0000-0000-000000000000	2001-02-03 04:05:06+00	Nonsense
\.
SELECT * FROM so_far;

--
-- Straight into a partition, with columns in an order of its own too
--
INSERT INTO events_p2001 (trace_id, id, "timestamp", kind, service_name)
VALUES (plain.id('d1'), plain.id('1'), '2001-02-03 04:05:06+00', 'Custom', 'cart');
INSERT INTO events_default (trace_id, id, "timestamp", kind, service_name)
VALUES (plain.id('d1'), plain.id('1'), '2003-02-03 04:05:06+00', 'Custom', 'cart');
COPY events_p2001 (trace_id, id, "timestamp", kind) FROM stdin;
000000d2-0000-0000-0000-000000000000	00000001-0000-0000-0000-000000000000	2001-02-03 04:05:06+00	Custom
\.
SELECT * FROM so_far;
CREATE TABLE shuffled (
    lock_set text[], dropped int, attributes jsonb, kind event_kind NOT NULL, service_name text, "timestamp" timestamptz NOT NULL,
    name text, id uuid NOT NULL, parent_id uuid, trace_id uuid NOT NULL, instance_id text, process_id int, thread_id text,
    environment text, span_id text, upstream_span_id text, duration_ns bigint, tags jsonb, stamped_at_end boolean, causality_vector vclock,
    CONSTRAINT events_timestamp_is_finite CHECK (isfinite("timestamp")),
    CONSTRAINT events_variable_is_short CHECK (kind <> 'StateChange' OR octet_length(name) <= 1024),
    CONSTRAINT events_service_name_is_short CHECK (octet_length(service_name) <= 512),
    CONSTRAINT events_access_type_is_known CHECK (kind <> 'StateChange' OR coalesce(attributes ->> 'access_type', '') IN
        ('Read', 'Write', 'AtomicRead', 'AtomicWrite', 'AtomicRMW')),
    CONSTRAINT events_access_has_variable CHECK (kind <> 'StateChange' OR coalesce(name, '') <> ''));
ALTER TABLE shuffled DROP COLUMN dropped;
ALTER TABLE events ATTACH PARTITION shuffled FOR VALUES FROM ('1995-01-01 00:00:00+00') TO ('1996-01-01 00:00:00+00');
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, attributes)
VALUES (plain.id('d3'), plain.id('1'), '1995-02-03 04:05:06+00', 'HttpResponse', '501', 'cart', '{"status": 501}'),
       (plain.id('d3'), plain.id('2'), '2001-02-03 04:05:06+00', 'StateChange', 'x', 'api', '{"access_type": "Write"}'),
       (plain.id('d3'), plain.id('3'), '1995-02-03 04:05:07+00', 'StateChange', 'x', 'shop', '{"access_type": "Write"}');
INSERT INTO shuffled (trace_id, id, "timestamp", kind, service_name) VALUES (plain.id('d3'), plain.id('4'), '1995-02-03 04:05:05+00', 'Error', 'bank');
UPDATE events SET "timestamp" = "timestamp" + interval '6 years' WHERE trace_id = plain.id('d3') AND id = plain.id('3');
SELECT event_count, error_count, access_count, services, root_name, root_service FROM trace_summaries WHERE trace_id = plain.id('d3');
SELECT * FROM so_far;

--
-- ON CONFLICT, with and without a target
--
INSERT INTO events SELECT * FROM events WHERE trace_id = plain.id('d3') ON CONFLICT DO NOTHING;
INSERT INTO events SELECT * FROM events WHERE trace_id = plain.id('d3') ON CONFLICT (trace_id, id, "timestamp") DO NOTHING;
INSERT INTO events_p2001 SELECT * FROM events_p2001 ON CONFLICT DO NOTHING;
SELECT * FROM so_far;
INSERT INTO events AS e (trace_id, id, "timestamp", kind, service_name)
VALUES (plain.id('d3'), plain.id('1'), '1995-02-03 04:05:06+00', 'Error', 'late'),
       (plain.id('d4'), plain.id('1'), '1995-02-03 04:05:06+00', 'Error', 'late')
ON CONFLICT (trace_id, id, "timestamp") DO UPDATE SET kind = excluded.kind, service_name = excluded.service_name;
SELECT * FROM so_far;
SELECT services, error_count FROM trace_summaries WHERE trace_id IN (plain.id('d3'), plain.id('d4')) ORDER BY trace_id;

--
-- UPDATE and DELETE
--
UPDATE events SET service_name = 'renamed' WHERE service_name = 'api';
SELECT * FROM so_far;
UPDATE events SET trace_id = plain.id('e1') WHERE trace_id = plain.id('b1') AND id < plain.id('100');
SELECT * FROM so_far;
UPDATE events SET "timestamp" = "timestamp" + interval '1 year' WHERE trace_id = plain.id('b2');    -- out of the partition
SELECT * FROM so_far;
UPDATE events SET "timestamp" = "timestamp" - interval '1 year' WHERE trace_id = plain.id('b2');    -- and back
SELECT * FROM so_far;
UPDATE events_p2001 SET kind = 'Error' WHERE trace_id = plain.id('b3');
SELECT * FROM so_far;
UPDATE events SET duration_ns = 1, tags = '{}', span_id = 's', lock_set = '{}';                        -- nothing that counts
SELECT * FROM so_far;
MERGE INTO events e USING (VALUES (plain.id('b4'), true), (plain.id('b5'), false), (plain.id('f1'), NULL)) v (trace_id, gone) ON e.trace_id = v.trace_id
 WHEN MATCHED AND gone THEN DELETE
 WHEN MATCHED THEN UPDATE SET name = 'merged'
 WHEN NOT MATCHED THEN INSERT (trace_id, id, "timestamp", kind) VALUES (v.trace_id, v.trace_id, '2001-01-01+00', 'Custom');
SELECT * FROM so_far;
DELETE FROM events WHERE trace_id = plain.id('d3') AND id = plain.id('2');
DELETE FROM events_p2001 WHERE trace_id = plain.id('b6') AND "timestamp" < '2001-01-02+00';
DELETE FROM ONLY events;
SELECT * FROM so_far;
DELETE FROM events WHERE trace_id = plain.id('d1');
SELECT * FROM so_far;

--
-- Constraints: what would break a view or an index is refused, whichever way it comes
--
CREATE VIEW refused AS
SELECT n, o.state, o.message
  FROM (VALUES (1, $$(trace_id, id, "timestamp", kind) VALUES (NULL, plain.id('1'), now(), 'Custom')$$),
               (2, $$(trace_id, id, "timestamp", kind) VALUES (plain.id('1'), NULL, now(), 'Custom')$$),
               (3, $$(trace_id, id, "timestamp", kind) VALUES (plain.id('1'), plain.id('1'), NULL, 'Custom')$$),
               (4, $$(trace_id, id, "timestamp", kind) VALUES (plain.id('1'), plain.id('1'), now(), NULL)$$),
               (5, $$(trace_id, id, "timestamp", kind) VALUES (plain.id('1'), plain.id('1'), 'infinity', 'Custom')$$),
               (6, $$(trace_id, id, "timestamp", kind) VALUES (plain.id('1'), plain.id('1'), '-infinity', 'Custom')$$),
               (7, $$(trace_id, id, "timestamp", kind, service_name) VALUES (plain.id('1'), plain.id('1'), now(), 'Custom', repeat('s', 513))$$),
               (8, $$(trace_id, id, "timestamp", kind, name, attributes) VALUES (plain.id('1'), plain.id('1'), now(), 'StateChange', repeat('x', 1025), '{"access_type": "Read"}')$$),
               (9, $$(trace_id, id, "timestamp", kind, name, attributes) VALUES (plain.id('1'), plain.id('1'), now(), 'StateChange', 'x', '{"access_type": "read"}')$$),
               (11, $$(trace_id, id, "timestamp", kind, name) VALUES (plain.id('1'), plain.id('1'), now(), 'StateChange', 'x')$$),
               (12, $$(trace_id, id, "timestamp", kind, attributes) VALUES (plain.id('1'), plain.id('1'), now(), 'StateChange', '{"access_type": "Read"}')$$),
               (10, $$SELECT * FROM trace_ext.events WHERE trace_id = plain.id('d4')$$)) v (n, rest),
       plain.outcome('INSERT INTO trace_ext.events ' || rest) o;
SELECT n, state, regexp_replace(message, 'relation "events_\w+"', 'relation "(partition)"') AS message FROM refused ORDER BY n;
-- A long name is refused for variables only, which are indexed.
INSERT INTO events (trace_id, id, "timestamp", kind, name) VALUES (plain.id('f2'), plain.id('1'), '2001-01-01+00', 'DatabaseQuery', repeat('x', 100000));
SELECT * FROM so_far;
-- A statement that fails in its last row leaves nothing, alone or in a subtransaction.
INSERT INTO events (trace_id, id, "timestamp", kind)
SELECT plain.id('f3'), plain.id((10 / (4 - i))::text), '2001-01-01+00', 'Custom' FROM generate_series(1, 4) i;
BEGIN;
SAVEPOINT s;
INSERT INTO events (trace_id, id, "timestamp", kind)
SELECT plain.id('f3'), plain.id((10 / (4 - i))::text), '2001-01-01+00', 'Custom' FROM generate_series(1, 4) i;
ROLLBACK TO s;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('f3'), plain.id('1'), '2001-01-01+00', 'Custom');
SELECT * FROM so_far;
COMMIT;
SELECT * FROM so_far;

-- It fails late, after its first rows were noted: they are forgotten with it.
CREATE FUNCTION fail_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'too late'; END $$;
CREATE TRIGGER zz_fail_late AFTER INSERT ON events FOR EACH ROW WHEN (NEW.name = 'fail') EXECUTE FUNCTION fail_late();
BEGIN;
SAVEPOINT s;
INSERT INTO events (trace_id, id, "timestamp", kind, name)
SELECT plain.id('f8'), plain.id(i::text), '2001-01-01+00', 'Custom', CASE WHEN i = 3 THEN 'fail' END FROM generate_series(1, 4) i;
ROLLBACK TO s;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('f9'), plain.id('1'), '2001-01-01+00', 'Custom');
SELECT * FROM so_far;
COMMIT;
SELECT * FROM so_far;
DROP TRIGGER zz_fail_late ON events;
-- Triggers of the user see and may change rows; what is stored counts.
CREATE FUNCTION to_other_trace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name = 'drop me' THEN RETURN NULL; END IF;
    NEW.trace_id := plain.id('f4');
    RETURN NEW;
END $$;
CREATE TRIGGER to_other_trace BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION to_other_trace();
CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name IS DISTINCT FROM 'echo' THEN
        INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name) VALUES (NEW.trace_id, NEW.id, NEW."timestamp" + interval '1 year', 'Custom', 'echo');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER echo AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION echo();
INSERT INTO events (trace_id, id, "timestamp", kind, name)
VALUES (plain.id('f5'), plain.id('1'), '2001-01-01+00', 'Custom', 'stay'), (plain.id('f5'), plain.id('2'), '2001-01-01+00', 'Custom', 'drop me');
SELECT event_count FROM trace_summaries WHERE trace_id IN (plain.id('f4'), plain.id('f5'));
SELECT * FROM so_far;
DROP TRIGGER echo ON events;
DROP TRIGGER to_other_trace ON events;

-- What a replication worker applies counts as well: it fires ALWAYS triggers only.
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('f6'), plain.id('1'), '2001-01-01+00', 'Custom');
INSERT INTO events_p2001 (trace_id, id, "timestamp", kind) VALUES (plain.id('f6'), plain.id('2'), '2001-01-01+00', 'Custom');
DELETE FROM events WHERE trace_id = plain.id('f3');
COMMIT;
SELECT * FROM so_far;

--
-- TRUNCATE
--
BEGIN;
TRUNCATE events;
SELECT * FROM so_far;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('f7'), plain.id('1'), '2001-01-01+00', 'Custom');
SELECT * FROM so_far;
ROLLBACK;
SELECT * FROM so_far;
TRUNCATE events;
SELECT * FROM so_far;
SELECT * FROM trace_summaries;
SELECT * FROM event_counts;

SELECT * FROM verify_summaries();
DROP VIEW so_far, refused;
DROP TABLE shuffled, events_p2001;
DROP FUNCTION to_other_trace, echo, fail_late;
DROP SCHEMA plain CASCADE;
SELECT * FROM verify_summaries();
