-- The table events is the user's to alter: columns that come and go, and types that
-- change, hinder no way in, no partition, and nothing that derives from it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET trace_ext.partition_reach = '1000 years';
SET trace_ext.partitions_ahead = 0;

CREATE FUNCTION posted(n int, moment timestamptz, extra text DEFAULT '') RETURNS text LANGUAGE sql AS $$
    SELECT format('[{"id": "%s", "trace_id": "%s", "timestamp": "%s", "kind": {"StateChange": {"variable": "v", "access_type": "Write"}},
                     "causality_vector": {"a": %s}, "lock_set": ["l"], "metadata": {"service_name": "s%s", "thread_id": "t", "process_id": 12, "duration_ns": 34, "environment": "prod"%s}}]',
                  plain.id(n::text), plain.id('c1'), to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), n, n % 2, extra)
$$;
-- An event by each way in, of a moment.
CREATE PROCEDURE send(n int, moment timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM trace_ext.ingest_events(posted(n, moment));
    PERFORM trace_ext.ingest_events(posted(n + 1, moment)::jsonb);
    PERFORM trace_ext.ingest_events(posted(n + 2, moment)::json);
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, service_name) VALUES (plain.id('c1'), plain.id((n + 3)::text), moment, 'Error', 's1');
END $$;
CREATE VIEW so_far AS
SELECT count_events() AS events, (SELECT count(*) FROM ingest_errors) AS refused, (SELECT count(*) FROM plain.differences()) AS differences,
       (SELECT count(*) FROM verify_summaries()) AS wrong;
CREATE VIEW in_order AS
SELECT tableoid::regclass::text COLLATE "C" AS partition, count(*), count(*) FILTER (WHERE causality_vector IS NOT NULL AND thread_id = 't' AND duration_ns = 34) AS posted
  FROM events GROUP BY 1 ORDER BY 1;

-- A partition of before, then columns of every sort, one of which goes again.
CREATE TABLE trace_ext.events_p1999 PARTITION OF trace_ext.events FOR VALUES FROM ('1999-01-01+00') TO ('2000-01-01+00');
ALTER TABLE trace_ext.events ADD COLUMN "Gone" int DEFAULT 1, ADD COLUMN plain_one int, ADD COLUMN filled int DEFAULT 7,
    ADD COLUMN "Needed, too" text NOT NULL DEFAULT 'n', ADD COLUMN made text GENERATED ALWAYS AS (service_name || '!') STORED;
CALL send(1, '1999-02-03 04:05:06+00');
CALL send(11, '2001-02-03 04:05:06+00');
ALTER TABLE trace_ext.events DROP COLUMN "Gone";
CALL send(21, '1999-02-03 04:05:07+00');
CALL send(31, '2001-02-03 04:05:07+00');
COPY events (trace_id, id, "timestamp", kind, filled) FROM stdin;
000000c2-0000-0000-0000-000000000000	00000001-0000-0000-0000-000000000000	2001-02-03 04:05:06+00	Custom	8
\.
SELECT * FROM so_far;
SELECT plain_one, filled, "Needed, too", made, count(*) FROM events GROUP BY 1, 2, 3, 4 ORDER BY 2, 4;

-- Rows move into a partition of after, whose columns have other numbers, with all they hold.
CREATE TABLE before AS SELECT * FROM events;
CALL maintain_partitions();
SELECT * FROM in_order;
SELECT count(*) AS numbered_anew FROM pg_attribute a JOIN pg_attribute p USING (attname)
 WHERE a.attrelid = 'events'::regclass AND p.attrelid = 'events_p20010203'::regclass AND a.attnum <> p.attnum;
SELECT count(*) AS changed FROM (SELECT * FROM before EXCEPT ALL SELECT * FROM events) AS missing;
CALL send(41, '2001-02-03 04:05:08+00');
SELECT * FROM so_far;
UPDATE events SET "timestamp" = "timestamp" + interval '2 years' WHERE id = plain.id('1');
UPDATE events SET "timestamp" = "timestamp" - interval '1 day' WHERE id = plain.id('41');
DELETE FROM events WHERE id = plain.id('11');
SELECT * FROM so_far;
-- A table that the user attaches over it, with rows of the range: they move there.
CREATE TABLE attached (LIKE trace_ext.events INCLUDING ALL EXCLUDING INDEXES);
SELECT trace_ext_internal.make_room('attached'::regclass, '2001-02-03 04:05:07+00', '2001-02-03 04:05:08+00', true);
SELECT count(*), count(made) AS made FROM attached;
ALTER TABLE trace_ext.events ATTACH PARTITION attached FOR VALUES FROM ('2001-02-03 04:05:07+00') TO ('2001-02-03 04:05:08+00');
SELECT * FROM in_order;
SELECT * FROM so_far;
-- Too many to move: the default partition turns into that of their day.
INSERT INTO events (trace_id, id, "timestamp", kind, filled)
SELECT plain.id('c' || 2 + i % 8), plain.id(i::text), '2003-05-05 12:00:00+00'::timestamptz + i * interval '1 s', 'Custom', i FROM generate_series(1, 2500) i;
CALL send(51, '2004-05-05 12:00:00+00');
CALL maintain_partitions();
SELECT * FROM in_order;
SELECT * FROM so_far;
SELECT sum(filled) FROM events WHERE "timestamp" BETWEEN '2003-05-05' AND '2003-05-06';

-- All of them go, and a page of a trace is as wide as the table.
SELECT plain_one, filled, "Needed, too", made FROM trace_events(plain.id('c1'), 1);
ALTER TABLE trace_ext.events DROP COLUMN plain_one, DROP COLUMN filled, DROP COLUMN "Needed, too", DROP COLUMN made;
CALL send(61, '1999-02-03 04:05:09+00');
CALL send(71, '2001-02-03 04:05:09+00');
CALL send(81, '2005-02-03 04:05:09+00');
CALL maintain_partitions();
SELECT * FROM in_order;
SELECT * FROM so_far;
SELECT name, thread_id, process_id, duration_ns, environment, causality_vector, lock_set FROM trace_events(plain.id('c1')) WHERE id = plain.id('81');

DROP VIEW in_order;
-- Types change where no view forbids it: values are converted, and none is taken for another.
ALTER TABLE trace_ext.events ALTER environment TYPE varchar(4), ALTER tags TYPE text, ALTER causality_vector TYPE text;
SELECT * FROM ingest_events(posted(91, '1999-03-03 04:05:06+00'));
SELECT duration_ns, environment, causality_vector FROM events WHERE trace_id = plain.id('c1') AND id = plain.id('91');
ALTER TABLE trace_ext.events ALTER tags TYPE jsonb USING tags::jsonb;
SELECT count(*) FROM find_races(plain.id('c1'));
ALTER TABLE trace_ext.events ALTER environment TYPE text, ALTER causality_vector TYPE vclock USING causality_vector::vclock;
CALL send(101, '1999-03-03 04:05:07+00');
SELECT * FROM so_far;

TRUNCATE events;
SELECT * FROM verify_summaries();
DROP VIEW so_far;
DROP FUNCTION posted;
DROP PROCEDURE send;
DROP TABLE before, attached, events_p1999;
DO $$ DECLARE part regclass; BEGIN
    FOR part IN SELECT p.part FROM trace_ext.partitions p WHERE p.automatic OR p.upper_bound < '2010-01-01+00' LOOP EXECUTE format('DROP TABLE %s', part); END LOOP;
END $$;
SELECT * FROM verify_summaries();
DROP SCHEMA plain CASCADE;
