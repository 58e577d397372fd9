-- list_traces(): pages, keyset, filters; from base rows, from deltas, from both.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

SELECT * FROM list_traces();

-- 200 traces of 1 to 8 events; many share their last instant, as every 10th second does.
CREATE PROCEDURE fill(low int, high int, late interval = '0') LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name)
    SELECT md5(t::text)::uuid, plain.id((t * 10 + i)::text), CASE WHEN i > 1 THEN plain.id((t * 10 + 1)::text) END,
           '2001-02-03 00:00:00+00'::timestamptz + late + (t / 10) * interval '10 s' - (i % 3) * interval '1 s',
           CASE WHEN t % 9 = i THEN 'Error' ELSE 'FunctionCall' END::trace_ext.event_kind, 'f' || t, (ARRAY['api', 'bank', 'cart', NULL])[1 + (t + i) % 4]
      FROM generate_series(low, high) t, generate_series(1, 1 + t % 8) i
$$;

-- What the plain query gives for the same arguments, in the order it is to have.
CREATE FUNCTION plain_list(page_size int = 20, page int = 1, min_events bigint = 1, service text = NULL, search text = NULL,
                           before timestamptz = NULL, before_id uuid = NULL) RETURNS SETOF trace_summaries
LANGUAGE sql STABLE AS $$
    SELECT * FROM plain.trace_summaries s
     WHERE event_count >= min_events
       AND (service IS NULL OR service = ANY (services))
       AND replace(trace_id::text, '-', '') LIKE lower(replace(coalesce(search, ''), '-', '')) || '%'
       AND (before IS NULL OR last_timestamp < before OR (last_timestamp = before AND trace_id < before_id))
     ORDER BY last_timestamp DESC, trace_id DESC
     LIMIT page_size OFFSET page_size * (page - 1)
$$;

-- Many calls, compared row by row with their place: no row means equal.
CREATE TABLE calls (arguments text);
INSERT INTO calls VALUES
    (''), ('1'), ('7'), ('10000'), ('20, 2'), ('20, 10'), ('20, 11'), ('3, 67'), ('3, 1000000'), ('10000, 2'),
    ('20, 1, 5'), ('20, 1, 8'), ('20, 1, 9'), ('20, 1, 0'), ('20, 1, -5'), ('20, 2, 4'), ('min_events => 6, page_size => 5, page => 3'),
    ($$20, 1, 1, 'api'$$), ($$20, 2, 1, 'bank'$$), ($$20, 1, 1, 'nobody'$$), ($$20, 1, 1, ''$$), ($$20, 1, 1, 'ap'$$), ($$20, 1, 1, 'API'$$), ($$10000, 1, 4, 'cart'$$),
    ($$search => 'c'$$), ($$search => 'C4'$$), ($$search => 'c4c'$$), ($$search => 'c4ca4238-a0b9-2382-0dcc-509a6f75849b'$$),
    ($$search => 'C4CA4238A0B923820DCC509A6F75849B'$$), ($$search => 'c4ca4238-A'$$), ($$search => 'c4ca4238a'$$), ($$search => 'c-4-c-a-'$$),
    ($$search => ''$$), ($$search => '-'$$), ($$search => '0'$$), ($$search => 'f'$$), ($$search => 'ffff'$$), ($$search => '00000000'$$),
    ($$search => 'e', service => 'api', min_events => 3$$), ($$search => 'a', page_size => 3, page => 2$$),
    ($$before => '2001-02-03 00:02:00+00'$$), ($$before => '2001-02-03 00:02:00+00', before_id => 'ffffffff-ffff-ffff-ffff-ffffffffffff'$$),
    ($$before => '2001-02-03 00:02:00+00', before_id => '00000000-0000-0000-0000-000000000000'$$),
    ($$before => '2001-02-03 00:01:59+00', before_id => '80000000-0000-0000-0000-000000000000'$$),
    ($$before => '1999-01-01+00'$$), ($$before => '2999-01-01+00'$$), ($$before => 'infinity'$$), ($$before => '-infinity'$$),
    ($$before => '2001-02-03 00:02:00+00', service => 'cart', search => 'b', min_events => 2, page_size => 3$$);
CREATE FUNCTION unequal() RETURNS TABLE (arguments text, side text, difference text) LANGUAGE plpgsql AS $$
DECLARE
    c text;
BEGIN
    FOR c IN SELECT calls.arguments FROM calls LOOP
        RETURN QUERY EXECUTE format(
            'WITH l AS (SELECT to_jsonb(l) AS r FROM trace_ext.list_traces(%1$s) WITH ORDINALITY l),
                  p AS (SELECT to_jsonb(p) AS r FROM plain_list(%1$s) WITH ORDINALITY p)
             SELECT %2$L, ''list_traces'', r::text FROM (SELECT * FROM l EXCEPT ALL SELECT * FROM p) x
             UNION ALL
             SELECT %2$L, ''plain'', r::text FROM (SELECT * FROM p EXCEPT ALL SELECT * FROM l) x', c, c);
    END LOOP;
END $$;

-- Walks the list by keyset; what comes must be the whole list, once and in order.
CREATE FUNCTION walk(size int, arguments text = '') RETURNS TABLE (n bigint, trace_id uuid) LANGUAGE plpgsql AS $$
DECLARE
    t record;
    at timestamptz;
    id uuid;
    more boolean := true;
BEGIN
    n := 0;
    WHILE more LOOP
        more := false;
        FOR t IN EXECUTE format('SELECT * FROM trace_ext.list_traces(%s, before => %L, before_id => %L %s)', size, at, id, arguments) LOOP
            n := n + 1;
            trace_id := t.trace_id;
            at := t.last_timestamp;
            id := t.trace_id;
            more := true;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;
CREATE FUNCTION pages(size int) RETURNS TABLE (n bigint, trace_id uuid) LANGUAGE sql AS $$
    SELECT row_number() OVER (ORDER BY page, l.ordinality), l.trace_id
      FROM generate_series(1, 300 / size + 1) page, list_traces(size, page) WITH ORDINALITY l
$$;
CREATE VIEW lists AS
SELECT count_traces() AS traces,
       (SELECT count(*) FROM unequal()) AS unequal,
       (SELECT count(*) FROM (SELECT * FROM walk(1) EXCEPT ALL SELECT ordinality, trace_id FROM plain_list(10000) WITH ORDINALITY) x) AS walk_1,
       (SELECT count(*) FROM (SELECT ordinality, trace_id FROM plain_list(10000) WITH ORDINALITY EXCEPT ALL SELECT * FROM walk(7)) x) AS walk_7,
       (SELECT count(*) FROM (SELECT ordinality, trace_id FROM plain_list(10000, 1, 3, 'api') WITH ORDINALITY
                              EXCEPT ALL SELECT * FROM walk(3, $$, min_events => 3, service => 'api'$$)) x) AS walk_filtered,
       (SELECT count(*) FROM (SELECT ordinality, trace_id FROM plain_list(10000) WITH ORDINALITY EXCEPT ALL SELECT * FROM pages(9)) x) AS pages_9;

-- Deltas only.
CALL fill(1, 100);
SELECT * FROM lists;
-- Base only.
CALL plain.fold();
SELECT * FROM lists;
-- New traces, older and newer than those of base, are outstanding.
CALL fill(101, 200);
CALL fill(301, 330, '-3 hours');
SELECT * FROM lists;
-- Old traces get events: newer than all, older than all, and at the same instant as their last one.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, service_name)
SELECT trace_id, plain.id('90000'), plain.id('1'),
       CASE substr(trace_id::text, 1, 1) WHEN '1' THEN '2001-02-03 00:10:00+00' WHEN 'c' THEN '2001-02-02+00' ELSE last_timestamp END, 'Error', 'late'
  FROM trace_summaries WHERE substr(trace_id::text, 1, 1) IN ('1', 'c', 'e');
SELECT * FROM lists;
-- Traces lose events, their last one or all; some are known from deltas only.
DELETE FROM events WHERE substr(trace_id::text, 1, 1) IN ('2', 'd') AND id::text LIKE '%1-0000-0000-0000-000000000000';
DELETE FROM events WHERE substr(trace_id::text, 1, 1) IN ('3', 'f');
DELETE FROM events e WHERE substr(trace_id::text, 1, 1) = '4' AND "timestamp" = (SELECT max("timestamp") FROM events m WHERE m.trace_id = e.trace_id);
SELECT * FROM lists;
CALL plain.fold();
SELECT * FROM lists;
-- All of that again in one open transaction, and undone.
BEGIN;
CALL fill(201, 260);
UPDATE events SET "timestamp" = "timestamp" + interval '1 minute' WHERE substr(trace_id::text, 1, 1) IN ('5', '6');
UPDATE events SET trace_id = md5('7')::uuid WHERE substr(trace_id::text, 1, 1) = '7';
DELETE FROM events WHERE substr(trace_id::text, 1, 1) IN ('8', 'a');
SELECT * FROM lists;
ROLLBACK;
SELECT * FROM lists;
-- Outstanding deletes of the newest traces: the first page comes from further down.
DELETE FROM events WHERE "timestamp" > '2001-02-03 00:00:30+00';
SELECT * FROM lists;

--
-- Columns, arguments
--
SELECT pg_typeof(l) FROM list_traces(1) l;
SELECT left(trace_id::text, 8) AS trace, event_count, last_timestamp FROM list_traces(page_size => 3);
SELECT count(*) FROM list_traces(NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT arguments, o.state, o.message, o.hint
  FROM unnest(ARRAY['0', '-1', '10001', '20, 0', '20, -1', $$20, 2, before => '2001-01-01'$$, $$before_id => '00000000-0000-0000-0000-000000000000'$$,
                    $$search => 'g'$$, $$search => ' c4'$$, $$search => 'c4%'$$, $$search => 'c4ca4238-a0b9-2382-0dcc-509a6f75849b0'$$, $$search => '{c4}'$$]) arguments,
       plain.outcome(format('SELECT * FROM trace_ext.list_traces(%s)', arguments)) o;

SELECT * FROM verify_summaries();
TRUNCATE events;
DROP VIEW lists;
DROP FUNCTION plain_list, unequal, walk, pages;
DROP PROCEDURE fill;
DROP TABLE calls;
DROP SCHEMA plain CASCADE;
