-- count_events(), count_traces(), event_counts: exact, by hour, service and kind.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

SELECT count_events(), count_traces();
SELECT * FROM event_counts;

-- Hours are those of UTC, whatever the session's time zone: it may be half an hour off.
INSERT INTO events (trace_id, id, "timestamp", kind, service_name) VALUES
    (plain.id('a1'), plain.id('1'), '2001-02-03 04:00:00+00', 'Custom', 'api'),
    (plain.id('a1'), plain.id('2'), '2001-02-03 04:59:59.999999+00', 'Custom', 'api'),
    (plain.id('a1'), plain.id('3'), '2001-02-03 05:00:00+00', 'Custom', 'api'),
    (plain.id('a1'), plain.id('4'), '2001-02-03 04:30:00+00', 'Error', 'api'),
    (plain.id('a2'), plain.id('5'), '2001-02-03 04:30:00+00', 'Error', NULL),
    (plain.id('a2'), plain.id('6'), '2001-02-03 04:30:00+00', 'Error', '');
SELECT * FROM event_counts ORDER BY hour, service_name, kind;
SET timezone = 'Asia/Kathmandu';
SELECT hour AT TIME ZONE 'UTC' AS hour, event_count, error_count FROM event_counts ORDER BY 1, 2, 3;
INSERT INTO events (trace_id, id, "timestamp", kind, service_name) VALUES (plain.id('a1'), plain.id('7'), '2001-02-03 04:59:00+00', 'Custom', 'api');
SELECT hour AT TIME ZONE 'UTC' AS hour, event_count FROM event_counts WHERE service_name = 'api' AND kind = 'Custom' ORDER BY 1;
CALL plain.fold();
SELECT hour AT TIME ZONE 'UTC' AS hour, event_count FROM event_counts WHERE service_name = 'api' AND kind = 'Custom' ORDER BY 1;
SELECT * FROM plain.differences();
SET timezone = 'UTC';

-- Before the epoch of PostgreSQL (2000) and of Unix, where a careless division rounds up; at its edges.
TRUNCATE events;
INSERT INTO events (trace_id, id, "timestamp", kind)
SELECT plain.id(n::text), plain.id(n::text), t::timestamptz, 'Custom'
  FROM unnest(ARRAY['1999-12-31 22:59:59.999999+00', '1999-12-31 23:00:00+00', '1999-12-31 23:59:59.999999+00', '2000-01-01 00:00:00+00',
                    '2000-01-01 00:00:00.000001+00', '1969-12-31 23:59:59.999999+00', '1970-01-01 00:00:00+00', '1582-10-15 00:00:00+00',
                    '0001-01-01 00:00:00+00', '0044-03-15 11:30:00+00 BC', '9999-12-31 23:59:59.999999+00', '20000-01-01 12:34:56+00']) WITH ORDINALITY u (t, n);
SELECT hour, event_count FROM event_counts ORDER BY hour;
SELECT * FROM plain.differences();
CALL plain.fold();
SELECT * FROM plain.differences();

-- What comes to nothing is not shown, outstanding or folded.
DELETE FROM events WHERE "timestamp" < '1999-01-01+00';
SELECT hour, event_count FROM event_counts ORDER BY hour;
CALL plain.fold();
SELECT count(*) AS rows, sum(event_count) AS events, count_events(), count_traces() FROM event_counts;
DELETE FROM events;
SELECT * FROM event_counts;
SELECT count_events(), count_traces();
CALL plain.fold();
SELECT * FROM event_counts;
SELECT count_events(), count_traces();

-- Inside a transaction that wrote, inside a subtransaction, after a rollback.
BEGIN;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('a' || i % 3), plain.id(i::text), '2001-02-03+00', 'Custom' FROM generate_series(1, 10) i;
SELECT count_events(), count_traces();
SAVEPOINT s;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('b' || i % 3), plain.id(i::text), '2001-02-03+00', 'Custom' FROM generate_series(1, 10) i;
SELECT count_events(), count_traces();
CALL plain.fold();
SELECT count_events(), count_traces();
ROLLBACK TO s;
SELECT count_events(), count_traces();
ROLLBACK;
SELECT count_events(), count_traces();

-- One statement sees one snapshot: the rows that it writes itself are not counted yet.
WITH came AS (INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('c1'), plain.id('1'), '2001-02-03+00', 'Custom') RETURNING 1)
SELECT count_events() AS before, count_traces() AS traces_before, (SELECT count(*) FROM came) AS came;
SELECT count_events(), count_traces();
CREATE FUNCTION counts_inside() RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN NEXT count_events();
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (plain.id('c2'), plain.id('1'), '2001-02-03+00', 'Custom');
    RETURN NEXT count_events();
    PERFORM trace_ext.fold();
    RETURN NEXT count_events();
    DELETE FROM trace_ext.events;
    RETURN NEXT count_events();
END $$;
SELECT * FROM counts_inside();
SELECT count_events(), count_traces();

-- A trace counts once, known from before, new, or coming back.
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('d' || i % 3), plain.id(i::text), '2001-02-03+00', 'Custom' FROM generate_series(1, 6) i;
CALL plain.fold();
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('d' || i % 5), plain.id(i::text), '2001-02-03+00', 'Custom' FROM generate_series(11, 20) i;
SELECT count_traces();
DELETE FROM events WHERE trace_id IN (plain.id('d0'), plain.id('d4'));
SELECT count_traces();
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('d0'), plain.id('21'), '2001-02-03+00', 'Custom');
SELECT count_traces();
CALL plain.fold();
SELECT count_traces();
DELETE FROM events;

-- Many traces lost events while the statistics still tell of one trace: each is probed by its key, none is looked for by a scan.
TRUNCATE events;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('e'), plain.id(i::text), '2001-02-03+00', 'Custom' FROM generate_series(1, 300) i;
ANALYZE trace_ext.events_default;
TRUNCATE events;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id(i::text), plain.id((i + j * 10000)::text), '2001-02-03+00', 'Custom' FROM generate_series(1, 5000) i, generate_series(0, 3) j;
DELETE FROM events WHERE id < plain.id('10000');
BEGIN;
SELECT count_traces();
SELECT pg_stat_get_xact_tuples_returned('trace_ext.events_default'::regclass) < 100000 AS probed;
COMMIT;
TRUNCATE events;

-- The services, from the rollups.
INSERT INTO events (trace_id, id, "timestamp", kind, service_name)
SELECT plain.id('a1'), plain.id(i::text), '2001-02-03+00'::timestamptz + i * interval '1 hour', CASE i % 4 WHEN 0 THEN 'Error' ELSE 'Custom' END::event_kind,
       (ARRAY['api', 'bank', NULL])[1 + i % 3]
  FROM generate_series(1, 24) i;
SELECT * FROM services ORDER BY service_name;
CALL plain.fold();
SELECT * FROM services ORDER BY service_name;

SELECT * FROM plain.differences();
SELECT * FROM verify_summaries();
TRUNCATE events;
DROP FUNCTION counts_inside;
DROP SCHEMA plain CASCADE;
