-- What is asked about one trace, or one variable since a time, opens the partitions
-- that can have it and no others, and misses nothing.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
-- A partition that a worker makes meanwhile is looked into by those whose snapshot does not see it counted.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET trace_ext.cache_mode = off;

-- Those that other tests left would be opened as well.
CALL plain.drop_partitions();
DO $$ BEGIN
    FOR n IN 0 .. 49 LOOP
        EXECUTE format('CREATE TABLE flat_%s PARTITION OF trace_ext.events FOR VALUES FROM (%L) TO (%L)', n,
                       '2001-01-01 00:00:00+00'::timestamptz + n * interval '1 day', '2001-01-02 00:00:00+00'::timestamptz + n * interval '1 day');
    END LOOP;
END $$;

-- Two traces race each day; one runs over a midnight.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, span_id, upstream_span_id, thread_id, attributes)
SELECT plain.id(t::text || d), plain.id(e::text), CASE WHEN e > 1 THEN plain.id('1') END,
       '2001-01-01 12:00:00+00'::timestamptz + d * interval '1 day' + (t + 2 * e) * interval '1 s', 'StateChange', 'v', 'api', 's' || e,
       CASE WHEN e > 1 THEN 's1' END, t::text, '{"access_type": "Write"}'
  FROM generate_series(0, 49) d, generate_series(1, 2) t, generate_series(1, 3) e;
INSERT INTO events (trace_id, id, "timestamp", kind, name)
VALUES (plain.id('aa'), plain.id('1'), '2001-01-20 23:59:59+00', 'Custom', 'f'), (plain.id('aa'), plain.id('2'), '2001-01-21 00:00:01+00', 'Custom', 'g');
CALL plain.fold();

-- How many partitions this transaction has locked, with any lock.
CREATE FUNCTION partitions_locked() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(DISTINCT l.relation) FROM pg_locks l JOIN pg_inherits i ON i.inhrelid = l.relation
     WHERE l.pid = pg_backend_pid() AND i.inhparent = 'trace_ext.events'::regclass
$$;
-- Each question in a transaction of its own: a lock stays until its end.
CREATE PROCEDURE ask(question text, most int) LANGUAGE plpgsql AS $$
DECLARE
    rows bigint;
    locked bigint;
BEGIN
    COMMIT;
    EXECUTE format('SELECT count(*) FROM (%s) q', question) INTO rows;
    locked := partitions_locked();
    IF locked > most THEN
        RAISE EXCEPTION '% partitions opened for %', locked, question;
    END IF;
    RAISE NOTICE '% rows, % partitions or fewer: %', rows, most, question;
    COMMIT;
END $$;
SET client_min_messages = notice;
CREATE PROCEDURE ask_all() LANGUAGE plpgsql AS $$
BEGIN
    CALL ask($q$SELECT * FROM trace_ext.trace_events(plain.id('120'))$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.trace_events(plain.id('aa'))$q$, 2);
    CALL ask($q$SELECT * FROM trace_ext.trace_events(plain.id('ffff'))$q$, 0);
    CALL ask($q$SELECT * FROM trace_ext.find_races(plain.id('120'))$q$, 1);
    CALL ask($q$SELECT trace_ext.count_races(plain.id('120'))$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.audit_trail(plain.id('120'), 'v')$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.find_variable_races('v', '2001-02-18 12:00:00+00')$q$, 3);
    CALL ask($q$SELECT trace_ext.count_variable_races('v', '2001-02-18 12:00:00+00')$q$, 3);
    CALL ask($q$SELECT * FROM trace_ext.trace_summaries WHERE trace_id = plain.id('120')$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.causal_edges(plain.id('120'))$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.trace_roots(plain.id('120'))$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.distributed_spans(plain.id('120'))$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.distributed_edges(plain.id('120'))$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.distributed_edges(plain.id('ffff'))$q$, 0);
    CALL ask($q$SELECT * FROM trace_ext.trace_roots(NULL::uuid)$q$, 0);
    CALL ask($q$SELECT * FROM trace_ext.list_traces()$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.list_traces(page => 2)$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.list_traces(service => 'api', search => '000001')$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.list_traces(before => '2001-01-21 12:00:00+00')$q$, 1);
    CALL ask($q$SELECT * FROM trace_ext.list_traces(since => '2001-01-21 12:00:00+00', until => '2001-01-22 12:00:01+00', min_duration_ms => 2000, name => 'v%')$q$, 1);
    CALL ask($q$SELECT trace_ext.list_traces_total(since => '2001-01-21 12:00:00+00', until => '2001-01-22 12:00:01+00', min_duration_ms => 2000, name => 'v%')$q$, 1);
    CALL ask($q$SELECT trace_ext.count_traces()$q$, 1);
    CALL ask($q$SELECT trace_ext.count_events()$q$, 0);
END $$;
CALL ask_all();

-- Of each trace, what the function says is what the view says; by links as well.
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, span_id)
SELECT plain.id('bb'), trace_ext_internal.otlp_start_id(plain.id('bb'), '00000000000000b' || n), '2001-01-20 12:00:00+00', CASE n WHEN 1 THEN 'AsyncSpawn' ELSE 'AsyncAwait' END::event_kind, 'q', 'api', '00000000000000b' || n FROM generate_series(1, 2) n;
INSERT INTO trace_links (trace_id, span_id, linked_trace_id, linked_span_id, "timestamp") VALUES (plain.id('bb'), '00000000000000b2', plain.id('120'), '00000000000000a1', '2001-01-20 12:00:00+00'), (plain.id('bb'), '00000000000000b2', plain.id('bb'), '00000000000000b1', '2001-01-20 12:00:00+00');
SELECT count(*) > 0 AS some, count(*) = (SELECT count(*) FROM causal_edges) AS as_many, count(*) FILTER (WHERE f::text NOT IN (SELECT v::text FROM causal_edges v)) AS others FROM trace_summaries t, causal_edges(t.trace_id) f;
SELECT count(*) > 0 AS some, count(*) = (SELECT count(*) FROM trace_roots) AS as_many, count(*) FILTER (WHERE f::text NOT IN (SELECT v::text FROM trace_roots v)) AS others FROM trace_summaries t, trace_roots(t.trace_id) f;
SELECT count(*) > 0 AS some, count(*) = (SELECT count(*) FROM distributed_spans) AS as_many, count(*) FILTER (WHERE f::text NOT IN (SELECT v::text FROM distributed_spans v)) AS others FROM trace_summaries t, distributed_spans(t.trace_id) f;
SELECT count(*) > 0 AS some, count(*) = (SELECT count(*) FROM distributed_edges) AS as_many, count(*) FILTER (WHERE f::text NOT IN (SELECT v::text FROM distributed_edges v)) AS others FROM trace_summaries t, distributed_edges(t.trace_id) f;
DELETE FROM events WHERE trace_id = plain.id('bb');
DELETE FROM trace_links;
CALL plain.fold();

-- The same while deltas are outstanding, and one of them says that its trace lost an event.
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('249'), plain.id('4'), '2001-02-19 12:00:09+00', 'Custom');
DELETE FROM flat_20 WHERE trace_id = plain.id('220') AND id = plain.id('3');
CALL ask_all();
SELECT * FROM verify_summaries();

-- The range of a trace moves with what is done to it, before anything is folded.
CREATE FUNCTION days(text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(to_char("timestamp", 'MM-DD'), ' ' ORDER BY "timestamp") FROM trace_ext.trace_events(plain.id($1))
$$;
BEGIN;
SELECT days('110');
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('110'), plain.id('7'), '2001-01-30 00:00:00+00', 'Custom');
SELECT days('110');
UPDATE events SET "timestamp" = '2001-02-10 00:00:00+00' WHERE trace_id = plain.id('110') AND id = plain.id('7');
SELECT days('110');
SAVEPOINT s;
UPDATE events SET trace_id = plain.id('ab'), "timestamp" = '1999-01-01 00:00:00+00' WHERE trace_id = plain.id('110') AND id = plain.id('7');
SELECT days('110'), days('ab');
ROLLBACK TO s;
SELECT days('110'), days('ab');
COMMIT;
SELECT days('110');
CALL plain.fold();
SELECT days('110');

-- A statement that has not ended: no delta tells of its rows yet.
CREATE TABLE seen (days text);
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seen SELECT days('ac');
    RETURN NULL;
END $$;
CREATE TRIGGER a_look AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION look();
INSERT INTO events (trace_id, id, "timestamp", kind)
SELECT plain.id('ac'), plain.id(n::text), '2001-01-05 00:00:00+00'::timestamptz + n * interval '10 days', 'Custom' FROM generate_series(0, 2) n;
SELECT DISTINCT days FROM seen;
DROP TRIGGER a_look ON events;

-- An attached partition brings rows of traces that are known, and of others.
CREATE TABLE came (LIKE trace_ext.events INCLUDING ALL);
INSERT INTO came (trace_id, id, "timestamp", kind)
VALUES (plain.id('130'), plain.id('8'), '2002-01-01 00:00:00+00', 'Custom'), (plain.id('ad'), plain.id('8'), '2002-01-01 00:00:00+00', 'Custom');
BEGIN;
ALTER TABLE trace_ext.events ATTACH PARTITION came FOR VALUES FROM ('2002-01-01 00:00:00+00') TO ('2002-01-02 00:00:00+00');
SELECT days('130'), days('ad');
COMMIT;
SELECT days('130'), days('ad');
ALTER TABLE trace_ext.events DETACH PARTITION came;
SELECT days('130'), days('ad');
DROP TABLE came;
SELECT * FROM plain.differences();

-- Nothing is compiled, however dear a plan looks (where the library is preloaded; else only within functions).
SET jit = on;
SET jit_above_cost = 0;
CREATE FUNCTION compiled(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ' || query LOOP
        IF line ~ '^JIT' THEN
            RETURN current_setting('shared_preload_libraries') ~ 'trace_ext';
        END IF;
    END LOOP;
    RETURN false;
END $$;
SELECT compiled('SELECT count(*) FROM trace_ext.trace_summaries'), compiled('SELECT count(*) FROM trace_ext.distributed_spans'), compiled('SELECT count(*) FROM trace_ext.events');
RESET jit_above_cost;
RESET jit;
DROP FUNCTION compiled;

-- Pages, keyset and filters of trace_events(), and what it refuses.
SELECT id, "timestamp" FROM trace_events(plain.id('120'), 2);
SELECT id, "timestamp" FROM trace_events(plain.id('120'), 2, 2);
SELECT id, "timestamp" FROM trace_events(plain.id('120'), after_timestamp => '2001-01-21 12:00:03+00', after_id => plain.id('1'));
SELECT id, "timestamp" FROM trace_events(plain.id('120'), after_timestamp => '2001-01-21 12:00:05+00');
SELECT id, kind FROM trace_events(plain.id('249'), kinds => '{Custom}');
SELECT count(*) FROM trace_events(plain.id('249'), service => 'api');
SELECT count(*) FROM trace_events(NULL);
SELECT * FROM plain.outcome($$SELECT trace_ext.trace_events(plain.id('1'), 0)$$);
SELECT * FROM plain.outcome($$SELECT trace_ext.trace_events(plain.id('1'), page => 0)$$);
SELECT * FROM plain.outcome($$SELECT trace_ext.trace_events(plain.id('1'), after_id => plain.id('1'))$$);
SELECT * FROM plain.outcome($$SELECT trace_ext.trace_events(plain.id('1'), page => 2, after_timestamp => now())$$);

-- It reads with the caller's rights: what row level security hides stays hidden.
CREATE ROLE trace_ext_test_flat;
GRANT USAGE ON SCHEMA public, trace_ext, trace_ext_internal, plain TO trace_ext_test_flat;
GRANT EXECUTE ON FUNCTION trace_events(uuid, bigint, bigint, timestamptz, uuid, event_kind[], text), recompute_summary(uuid) TO trace_ext_test_flat;
SET ROLE trace_ext_test_flat;
SELECT * FROM plain.outcome($$SELECT trace_ext.trace_events('00000120-0000-0000-0000-000000000000')$$);
SELECT * FROM plain.outcome($$SELECT trace_ext_internal.recompute_summary('00000120-0000-0000-0000-000000000000')$$);
RESET ROLE;
GRANT SELECT ON events TO trace_ext_test_flat;
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON events TO trace_ext_test_flat USING (name = 'g');
SET ROLE trace_ext_test_flat;
SELECT name FROM trace_events(plain.id('aa'));
RESET ROLE;
DROP POLICY few ON events;
ALTER TABLE events DISABLE ROW LEVEL SECURITY;
DROP OWNED BY trace_ext_test_flat;
DROP ROLE trace_ext_test_flat;

-- All of time, in one trace.
INSERT INTO events (trace_id, id, "timestamp", kind, name, attributes)
VALUES (plain.id('ae'), plain.id('1'), '4714-11-24 00:00:00+00 BC', 'StateChange', 'w', '{"access_type": "Write"}'),
       (plain.id('ae'), plain.id('2'), '294276-12-31 23:59:59.999999+00', 'StateChange', 'w', '{"access_type": "Write"}'),
       (plain.id('af'), plain.id('1'), '294276-12-31 23:59:59+00', 'StateChange', 'w', '{"access_type": "Write"}');
SELECT duration_ms FROM trace_summaries WHERE trace_id = plain.id('ae');
SELECT duration_ms FROM list_traces(search => '000000ae');
CALL plain.fold();
SELECT duration_ms FROM trace_summaries WHERE trace_id = plain.id('ae');
SELECT duration_ms FROM list_traces(search => '000000ae');
SELECT count(*) FROM trace_events(plain.id('ae'));
SELECT count_races(plain.id('ae')) >= 0 AS within, count_variable_races('w', '-infinity') >= 0 AS ever,
       count_variable_races('w', '4714-11-24 00:00:00+00 BC') >= 0 AS first, count_variable_races('w', '294276-12-31 23:59:59+00') >= 0 AS last;
SELECT duration_ms('-infinity', 'infinity') > 0 AS positive, shifted('4714-11-24 00:00:00+00 BC', '-1 us'), shifted('294276-12-31 23:59:59.999999+00', '1 us'),
       shifted('2001-01-01', '1 day 1 s');
-- Months are those of the calendar, days have 24 hours, whatever the zone of the session.
SET timezone = 'America/New_York';
SELECT shifted('2001-01-31 12:00+00', '1 month') AT TIME ZONE 'UTC' AS short, shifted('2000-01-31 12:00+00', '1 month') AT TIME ZONE 'UTC' AS leap,
       shifted('2001-03-31 12:00+00', '-1 month -1 day') AT TIME ZONE 'UTC' AS back, shifted('2001-12-05 00:00+00', '-1 year 2 months') AT TIME ZONE 'UTC' AS year,
       shifted('2001-03-31 03:00+00', '2 days') AT TIME ZONE 'UTC' AS over_dst, shifted('2001-03-15 02:00+00', '1 month') AT TIME ZONE 'UTC' AS month_over_dst;
SELECT shifted('2001-01-01', '300000 years') AS late, shifted('2001-01-01', '-300000 years') AS early, shifted('4714-11-24 00:00+00 BC', '-1 month') AS earliest,
       shifted('2001-01-01', '178000000 years') AS latest, shifted('infinity', '-1 month') AS infinite, shifted('2001-01-01', '2147483647 days') AS days;
-- Where the operator goes by days of 24 hours too, they are the same.
SET timezone = 'UTC';
SELECT count(*) AS differ FROM generate_series('0001-12-29 BC'::timestamptz, '2100-03-01', '97 days 5 hours') t,
       (VALUES ('1 month'::interval), ('-1 month'), ('13 months -3 days'), ('-11 months 4 days 5 hours'), ('-70 years -1 us')) v (i)
 WHERE shifted(t, i) IS DISTINCT FROM t + i;
RESET timezone;
SELECT * FROM verify_summaries();

-- A trace through 20,000 services: their square would take minutes.
SET statement_timeout = '60s';
INSERT INTO events (trace_id, id, "timestamp", kind, service_name)
SELECT plain.id('b0'), plain.id(n::text), '2001-01-03 00:00:00+00'::timestamptz + n * interval '1 ms', 'Custom', 's' || n * 7919 % 20000 FROM generate_series(0, 19999) n;
CALL plain.fold();
INSERT INTO events (trace_id, id, "timestamp", kind, service_name) VALUES (plain.id('b0'), plain.id('aaaa'), '2001-01-03 00:00:00+00', 'Custom', 'new');
SELECT service_count, services = (SELECT array_agg(s ORDER BY s) FROM (SELECT DISTINCT service_name FROM events WHERE trace_id = plain.id('b0')) d (s)) AS equal
  FROM trace_summaries WHERE trace_id = plain.id('b0');
CALL plain.fold();
DELETE FROM events WHERE trace_id = plain.id('b0') AND service_name = 's1';
SELECT service_count FROM list_traces(search => '000000b0');
CALL plain.fold();
SELECT service_count FROM trace_summaries WHERE trace_id = plain.id('b0');
RESET statement_timeout;
SELECT text_set_union('{a,c}', '{b,c}'), text_set_union('{}', '{b}'), text_set_union('{a,b}', '{b}');
SELECT * FROM verify_summaries();

DO $$ BEGIN
    FOR n IN 0 .. 49 LOOP
        EXECUTE format('DROP TABLE flat_%s', n);
    END LOOP;
END $$;
DROP TABLE seen;
DROP FUNCTION days, look, partitions_locked;
DROP PROCEDURE ask_all, ask;
TRUNCATE trace_ext.events;
SELECT * FROM verify_summaries();
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
