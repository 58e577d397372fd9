-- Partitions that come, go and are emptied, by maintain_partitions() and by the
-- user's own DDL: counts and summaries stay exact.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv not_at_the_hour PG_ABS_SRCDIR
\set not_at_the_hour :not_at_the_hour '/not_at_the_hour.sql'
\i :not_at_the_hour
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

CREATE VIEW so_far AS SELECT count_events() AS events, count_traces() AS traces, (SELECT count(*) FROM plain.differences()) AS differences;
CREATE VIEW stored AS
SELECT tableoid::regclass AS partition, count(*) FROM events GROUP BY tableoid ORDER BY tableoid::regclass::text COLLATE "C";
-- 3 traces, one after the other, and one that spans them all: an event every half hour.
CREATE PROCEDURE fill(day date, days int) LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, service_name)
    SELECT plain.id(CASE WHEN i % 2 = 0 THEN 'aa' ELSE 'a' || 1 + 3 * i / (48 * days) END), plain.id(i::text), CASE WHEN i > 2 THEN plain.id('1') END,
           day::timestamp AT TIME ZONE 'UTC' + i * interval '30 minutes', CASE i % 5 WHEN 0 THEN 'Error' ELSE 'Custom' END::trace_ext.event_kind, 's' || i % 3
      FROM generate_series(0, 48 * days - 1) i
$$;
CREATE FUNCTION ranges(pattern text) RETURNS TABLE (partition regclass, bound text) LANGUAGE sql STABLE AS $$
    SELECT c.oid::regclass, pg_get_expr(relpartbound, c.oid) FROM pg_class c JOIN pg_inherits i ON c.oid = inhrelid
     WHERE inhparent = 'trace_ext.events'::regclass AND relname ~ pattern ORDER BY relname COLLATE "C"
$$;

--
-- maintain_partitions(): partitions for now, ahead, and for what waits in the default one
--
-- What is of 2001 is not far off here.
SET trace_ext.partitions_ahead = 2;
SET trace_ext.partition_reach = '1000 years';
CALL maintain_partitions();
SELECT count(*) FILTER (WHERE lower_bound <= now() AND upper_bound > now()) AS for_now,
       max(upper_bound) > now() + interval '2 days' AS ahead
  FROM trace_ext.partitions WHERE NOT is_default;
CALL fill('2001-02-03', 2);
SELECT * FROM stored;
CALL maintain_partitions();
SELECT * FROM stored;
SELECT * FROM ranges('2001');
SELECT obj_description('events_p20010203'::regclass);
SELECT * FROM so_far;
-- Again: nothing changes. What comes now goes there at once.
CALL maintain_partitions();
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('900'), '2001-02-03 12:34:56+00', 'Custom'),
                                                            (plain.id('a9'), plain.id('900'), '2001-02-05 12:34:56+00', 'Custom');
SELECT * FROM stored;
SELECT * FROM so_far;
-- The partition is as good as the ones that were there: same indexes, triggers and constraints.
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'events_p20010203'::regclass ORDER BY 1;
SELECT tgname, tgenabled, pg_get_triggerdef(oid) LIKE '%trace_ext.events_p20010203%' AS own FROM pg_trigger WHERE tgrelid = 'events_p20010203'::regclass
EXCEPT
SELECT tgname, tgenabled, true FROM pg_trigger WHERE tgrelid = 'events_default'::regclass;
SELECT conname FROM pg_constraint WHERE conrelid = 'events'::regclass AND contype = 'c'
EXCEPT
SELECT conname FROM pg_constraint WHERE conrelid = 'events_p20010203'::regclass;
-- The interval changes: partitions of another length are made between those that are there, and once.
SET trace_ext.partition_interval = '6 hours';
CALL maintain_partitions();
SELECT * FROM ranges('2001');
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('a9'), plain.id('901'), '2001-02-05 02:00:00+00', 'Custom');
SET trace_ext.partition_interval = '7 days';
CALL maintain_partitions();
CALL maintain_partitions();
SELECT * FROM ranges('2001');
SELECT * FROM stored;
SELECT * FROM so_far;
SELECT setting, o.state, o.message
  FROM unnest(ARRAY['30 minutes', '0', '-1 day', '1 month', '1 year', '90 minutes', '1 day 1 second', 'x', '']) setting,
       plain.outcome(format('SET trace_ext.partition_interval = %L; CALL trace_ext.maintain_partitions()', setting)) o;
RESET trace_ext.partition_interval;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM plain.outcome('CALL trace_ext.maintain_partitions()');
ROLLBACK;
SELECT * FROM so_far;

--
-- TRUNCATE of one, of the default one, of all; undone, and for good
--
CALL fill('2001-03-01', 2);
SELECT * FROM stored;
BEGIN;
TRUNCATE events_p20010203;
SELECT * FROM so_far;
CALL plain.fold();
SELECT * FROM so_far;
ROLLBACK;
SELECT * FROM so_far;
TRUNCATE events_p20010203;
SELECT * FROM so_far;
TRUNCATE events_default;
SELECT * FROM so_far;
SELECT left(trace_id::text, 8) AS trace, event_count, first_timestamp, last_timestamp, services, error_count FROM trace_summaries ORDER BY 1;
BEGIN;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('902'), '2001-02-03 02:00:00+00', 'Custom'),
                                                            (plain.id('b1'), plain.id('902'), '2001-02-03 02:00:00+00', 'Custom');
TRUNCATE events_p20010203, events_default;
SELECT * FROM so_far;
COMMIT;
SELECT * FROM so_far;
TRUNCATE ONLY events_p20010204;
SELECT * FROM so_far;
SELECT o.state, o.message FROM plain.outcome('TRUNCATE ONLY trace_ext.events') o;
TRUNCATE events;
SELECT * FROM so_far;
SELECT * FROM plain.differences();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM plain.outcome('TRUNCATE trace_ext.events_p20010204');
SELECT * FROM plain.outcome('TRUNCATE trace_ext.events');
ROLLBACK;

--
-- DROP and DETACH
--
CALL fill('2001-02-03', 2);
CALL plain.fold();
BEGIN;
DROP TABLE events_p20010203;
SELECT * FROM so_far;
ROLLBACK;
SELECT * FROM so_far;
DROP TABLE events_p20010203;
SELECT * FROM so_far;
SELECT left(trace_id::text, 8) AS trace, event_count, first_timestamp, last_timestamp, root_service FROM trace_summaries ORDER BY 1;
BEGIN;
ALTER TABLE events DETACH PARTITION events_p20010204;
SELECT * FROM so_far;
ROLLBACK;
SELECT * FROM so_far;
ALTER TABLE events DETACH PARTITION events_p20010204;
SELECT * FROM so_far;
-- A table of its own now: what happens to it does not count.
SELECT count(*) FROM events_p20010204;
INSERT INTO events_p20010204 (trace_id, id, "timestamp", kind) VALUES (plain.id('c1'), plain.id('1'), '2001-02-04 12:00:01+00', 'Custom');
UPDATE events_p20010204 SET service_name = 'archived' WHERE id < plain.id('60');
DELETE FROM events_p20010204 WHERE id = plain.id('61');
SELECT * FROM so_far;
BEGIN;
TRUNCATE events_p20010204;
SELECT * FROM so_far;
ROLLBACK;
-- And back, with all its rows; then again, changed in between.
ALTER TABLE events ATTACH PARTITION events_p20010204 FOR VALUES FROM ('2001-02-04 00:00:00+00') TO ('2001-02-05 00:00:00+00');
SELECT * FROM so_far;
SELECT left(trace_id::text, 8) AS trace, event_count, services FROM trace_summaries ORDER BY 1;
INSERT INTO events_p20010204 (trace_id, id, "timestamp", kind) VALUES (plain.id('c2'), plain.id('1'), '2001-02-04 12:00:01+00', 'Custom');
UPDATE events SET service_name = 'back' WHERE trace_id = plain.id('c1');
SELECT * FROM so_far;
-- While it is away its time goes to the default partition; a new partition is made for it beside the one that left.
ALTER TABLE events DETACH PARTITION events_p20010204;
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('c3'), plain.id('1'), '2001-02-04 12:00:01+00', 'Custom');
CALL maintain_partitions();
SELECT * FROM ranges('20010204');
SELECT * FROM stored;
SELECT * FROM so_far;
DROP TABLE events_p20010204;
SELECT * FROM so_far;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM plain.outcome('ALTER TABLE trace_ext.events DETACH PARTITION trace_ext.events_default');
SELECT * FROM plain.outcome('DROP TABLE trace_ext.events_default');
ROLLBACK;
-- The default partition can leave and return as well.
CALL fill('2001-06-01', 1);
ALTER TABLE events DETACH PARTITION events_default;
SELECT * FROM so_far;
ALTER TABLE events ATTACH PARTITION events_default DEFAULT;
SELECT * FROM so_far;

--
-- Partitions of the user's own, with bounds that cut hours and traces
--
TRUNCATE events;
CALL fill('2001-07-01', 3);
CALL plain.fold();
CREATE TABLE mine (LIKE events INCLUDING ALL);
INSERT INTO mine SELECT * FROM events WHERE "timestamp" >= '2001-07-01 22:15:00+00' AND "timestamp" < '2001-07-02 03:45:00+00';
SELECT o.state FROM plain.outcome($$ALTER TABLE trace_ext.events ATTACH PARTITION mine FOR VALUES FROM ('2001-07-01 22:15:00+00') TO ('2001-07-02 03:45:00+00')$$) o;
SELECT * FROM so_far;
BEGIN;
DELETE FROM events WHERE "timestamp" >= '2001-07-01 22:15:00+00' AND "timestamp" < '2001-07-02 03:45:00+00';
SELECT * FROM so_far;
ALTER TABLE events ATTACH PARTITION mine FOR VALUES FROM ('2001-07-01 22:15:00+00') TO ('2001-07-02 03:45:00+00');
COMMIT;
SELECT * FROM stored;
SELECT * FROM so_far;
-- maintain_partitions() fills what is left around it.
CALL maintain_partitions();
SELECT * FROM ranges('200107|mine');
SELECT * FROM stored;
SELECT * FROM so_far;
TRUNCATE mine;
SELECT * FROM so_far;
SELECT * FROM plain.differences();
CALL fill('2001-07-04', 1);
DROP TABLE mine;
SELECT * FROM so_far;
CREATE TABLE mine PARTITION OF events FOR VALUES FROM ('2001-07-01 22:15:00+00') TO ('2001-07-02 03:45:00+00');
INSERT INTO mine (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('903'), '2001-07-01 22:15:00+00', 'Error');
SELECT * FROM so_far;
ALTER TABLE mine RENAME TO my_own;
ALTER TABLE my_own SET SCHEMA plain;
INSERT INTO plain.my_own (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('904'), '2001-07-01 22:15:00+00', 'Error');
SELECT * FROM so_far;
ALTER TABLE events DETACH PARTITION plain.my_own;
SELECT * FROM so_far;
DROP TABLE plain.my_own;
-- Open ends.
CREATE TABLE olden PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2000-01-01 00:00:00+00');
CREATE TABLE future PARTITION OF events FOR VALUES FROM ('3000-01-01 00:00:00+00') TO (MAXVALUE);
INSERT INTO events (trace_id, id, "timestamp", kind)
SELECT plain.id('a' || n % 2), plain.id('90' || n), t::timestamptz, 'Error' FROM unnest(ARRAY['1000-01-01+00', '4000-01-01+00', '1000-01-01 00:30+00', '4000-01-01+00']) WITH ORDINALITY u (t, n);
SELECT * FROM so_far;
TRUNCATE olden;
SELECT * FROM so_far;
DROP TABLE future;
SELECT * FROM so_far;
DROP TABLE olden;
-- Several in one statement, in a schema made with it, and by DROP SCHEMA.
CREATE SCHEMA parts
    CREATE TABLE one PARTITION OF trace_ext.events FOR VALUES FROM ('2001-08-01+00') TO ('2001-09-01+00')
    CREATE TABLE two PARTITION OF trace_ext.events FOR VALUES FROM ('2001-09-01+00') TO ('2001-10-01+00');
CALL fill('2001-08-30', 4);
INSERT INTO parts.one (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('905'), '2001-08-01 22:15:00+00', 'Error');
SELECT * FROM so_far;
CREATE TABLE unrelated ();
DROP TABLE unrelated;
SELECT * FROM so_far;
TRUNCATE parts.one;
SELECT * FROM so_far;
DROP SCHEMA parts CASCADE;
SELECT * FROM so_far;
-- Found by what happened, not by a name that means another table now; among temporary tables as well.
SET search_path = parts, trace_ext, public;
CREATE SCHEMA parts;
CREATE TABLE events PARTITION OF events FOR VALUES FROM ('2001-08-01+00') TO ('2001-09-01+00');
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('906'), '2001-08-01 22:15:00+00', 'Error');
SELECT * FROM so_far;
CREATE TEMP TABLE events_of_mine (LIKE trace_ext.events);
CREATE TABLE partitions (part oid, PRIMARY KEY (part));
DROP TABLE events_of_mine, partitions, parts.events;
SELECT * FROM so_far;
SET search_path = public, trace_ext, trace_ext_internal;
DROP SCHEMA parts;
-- Partitions of other tables are none of ours, and tables that are none ask for nothing of ours.
CREATE TABLE other (n int) PARTITION BY LIST (n);
CREATE TABLE other_one PARTITION OF other FOR VALUES IN (1);
ALTER TABLE other DETACH PARTITION other_one;
BEGIN;
CREATE TEMP TABLE passing (n int PRIMARY KEY);
ALTER TABLE passing ADD m int;
CREATE TABLE staying AS SELECT 1 AS n;
ALTER TABLE staying RENAME TO stayed;
DROP TABLE passing, stayed;
SELECT relation::regclass, mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
 WHERE pid = pg_backend_pid() AND relnamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace);
COMMIT;
DROP TABLE other, other_one;
SELECT count(*) AS known FROM trace_ext.partitions WHERE part NOT IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'trace_ext.events'::regclass);
-- Where it takes two transactions, which it may without a default partition.
CREATE TABLE mine PARTITION OF events FOR VALUES FROM ('2001-08-01+00') TO ('2001-09-01+00');
INSERT INTO mine (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('907'), '2001-08-01 22:15:00+00', 'Error');
ALTER TABLE events DETACH PARTITION events_default;
ALTER TABLE events DETACH PARTITION mine CONCURRENTLY;
SELECT * FROM so_far;
ALTER TABLE events ATTACH PARTITION events_default DEFAULT;
DROP TABLE mine;
SELECT * FROM so_far;
-- Its owner may drop it, who has no right on what is counted.
CREATE TABLE mine PARTITION OF events FOR VALUES FROM ('2001-08-01+00') TO ('2001-09-01+00');
INSERT INTO mine (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('908'), '2001-08-01 22:15:00+00', 'Error');
CREATE ROLE regress_keeper;
ALTER TABLE mine OWNER TO regress_keeper;
SET ROLE regress_keeper;
DROP TABLE public.mine;
RESET ROLE;
DROP ROLE regress_keeper;
SELECT * FROM so_far;
-- Even where a session fires no ordinary triggers.
BEGIN;
SET LOCAL session_replication_role = replica;
CREATE TABLE mine PARTITION OF events FOR VALUES FROM ('2001-08-01+00') TO ('2001-09-01+00');
CALL fill('2001-08-30', 1);
TRUNCATE mine;
SELECT * FROM so_far;
CALL fill('2001-08-30', 1);
ALTER TABLE events DETACH PARTITION mine;
SELECT * FROM so_far;
COMMIT;
SELECT * FROM so_far;
DROP TABLE mine;

--
-- What cannot be kept exact is refused
--
SELECT o.* FROM plain.outcome($$CREATE TABLE split PARTITION OF trace_ext.events FOR VALUES FROM ('2001-08-01+00') TO ('2001-09-01+00') PARTITION BY RANGE (trace_id)$$) o;
CREATE TABLE split (LIKE events INCLUDING ALL) PARTITION BY RANGE ("timestamp");
SELECT o.* FROM plain.outcome($$ALTER TABLE trace_ext.events ATTACH PARTITION split FOR VALUES FROM ('2001-08-01+00') TO ('2001-09-01+00')$$) o;
DROP TABLE split;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
SELECT o.state FROM plain.outcome($$CREATE FOREIGN TABLE away PARTITION OF trace_ext.events FOR VALUES FROM ('2001-08-01+00') TO ('2001-09-01+00') SERVER nowhere$$) o;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM plain.outcome($$CREATE TABLE late PARTITION OF trace_ext.events FOR VALUES FROM ('2001-08-01+00') TO ('2001-09-01+00')$$);
ROLLBACK;
SELECT * FROM ranges('split|away|late');
SELECT * FROM so_far;

-- Days are days of UTC, also for who lives where one of them has 23 hours and another 25.
SET timezone = 'Europe/Berlin';
INSERT INTO events (trace_id, id, "timestamp", kind)
SELECT md5(t::text)::uuid, md5(t::text)::uuid, t, 'Custom' FROM unnest('{2003-03-29 23:30Z, 2003-03-30 12:00Z, 2003-10-25 22:30Z, 2003-10-26 12:00Z}'::timestamptz[]) t;
CALL maintain_partitions();
SET timezone = 'UTC';
SELECT lower_bound, upper_bound FROM trace_ext.partitions WHERE extract(year FROM lower_bound) = 2003 ORDER BY 1;

SELECT * FROM plain.differences();
SELECT * FROM verify_summaries();
TRUNCATE events;
SELECT format('DROP TABLE trace_ext.%I', relname) FROM pg_class WHERE oid IN (SELECT part FROM trace_ext.partitions WHERE NOT is_default) AND relname ~ '200[13]' ORDER BY relname COLLATE "C" \gexec
DROP VIEW so_far, stored;
DROP PROCEDURE fill;
DROP FUNCTION ranges;
DROP SCHEMA plain CASCADE;
SELECT * FROM verify_summaries();

--
-- What is left to do is seen at a glance where it is nothing, and says the same as a look in full.
--
CREATE VIEW unlike AS
SELECT to_jsonb(b) AS at_a_glance, to_jsonb(w) AS in_full FROM trace_ext_internal.partition_backlog() b, trace_ext_internal.partition_work() w WHERE to_jsonb(b) <> to_jsonb(w);
CREATE VIEW todo AS SELECT events_in_default > 0 AS waiting, partitions_to_make FROM trace_ext_internal.partition_backlog();
TRUNCATE trace_ext.events;
CALL trace_ext.maintain_partitions();
SELECT * FROM todo;
SELECT * FROM unlike;
SET trace_ext.partitions_ahead = 60;
SELECT partitions_to_make > 0 AS more FROM todo;
SELECT * FROM unlike;
RESET trace_ext.partitions_ahead;
SET trace_ext.partition_interval = '1 hour';
SELECT * FROM todo;
SELECT * FROM unlike;
RESET trace_ext.partition_interval;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (md5('f1')::uuid, md5('f1')::uuid, '1999-01-01', 'Custom');
SELECT * FROM todo;
SELECT * FROM unlike;
DELETE FROM trace_ext.events;
SELECT * FROM unlike;
DROP VIEW unlike, todo;
