-- list_traces() and list_traces_total(): every filter, alone and with others, against the plain query.
--
-- The seed is new in each run and printed where a difference is found. To run one again, or longer:
-- PGOPTIONS='-c test.seed=42 -c test.calls=5000'
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE TABLE filters_1 PARTITION OF events FOR VALUES FROM ('2001-02-03 00:15:00+00') TO ('2001-02-03 00:25:00+00');
CREATE TABLE filters_2 PARTITION OF events FOR VALUES FROM ('2001-02-03 00:25:00+00') TO ('2001-02-03 01:00:00+00');

-- Traces of 1 to 6 events, of up to a minute and a half; some of their events last, from their time on or up to it. Variables
-- of all, of some, of one; "old" is of the first ones only.
CREATE PROCEDURE fill(low int, high int) LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns, stamped_at_end, attributes)
    SELECT md5(t::text)::uuid, plain.id((t * 10 + i)::text), CASE WHEN i > 1 THEN plain.id((t * 10 + 1)::text) END,
           '2001-02-03 00:00:00+00'::timestamptz + (t % 700) * interval '3 s' + i * interval '50 ms'
               + CASE WHEN t % 7 = 0 THEN i * (t % 5) * interval '3 s' ELSE '0' END,
           k::trace_ext.event_kind,
           CASE WHEN k = 'StateChange' THEN CASE WHEN t < 150 AND t % 2 = 0 THEN 'old' WHEN t = 3 THEN 'rare' WHEN t % 3 = 0 THEN 'v' || t % 40 ELSE 'hot' END
                WHEN i = 1 THEN (ARRAY['GET /api/users', 'POST /api/orders', 'POST /api/orders/' || t % 25, 'a_b%c', 'back\slash ' || t % 3, NULL,
                                       repeat('x', 300) || t % 3, 'Über ' || t % 4, repeat('é', 199 + t % 3), ''])[1 + t % 10]
                ELSE 'f' || i END,
           (ARRAY['api', 'bank', 'cart', NULL])[1 + (t + i) % 4],
           CASE WHEN t % 11 = i THEN (t % 13) * 4000000000 WHEN i = 2 THEN t * 1000000 END, i % 2 = t % 2,
           CASE k WHEN 'StateChange' THEN '{"access_type": "Read"}' END::jsonb
      FROM generate_series(low, high) t, generate_series(1, 1 + t % 6) i,
           LATERAL (SELECT CASE WHEN t % 37 = i THEN 'Error' WHEN i IN (3, 4) THEN 'StateChange' ELSE 'FunctionCall' END) AS k (k)
$$;

-- What there is, by plain queries.
CREATE TABLE traces (LIKE trace_summaries);
CREATE TABLE accesses (trace_id uuid, variable text, UNIQUE (trace_id, variable));
CREATE PROCEDURE look() LANGUAGE sql AS $$
    TRUNCATE traces, accesses;
    INSERT INTO traces SELECT * FROM plain.trace_summaries;
    INSERT INTO accesses SELECT DISTINCT trace_id, name FROM trace_ext.events WHERE kind = 'StateChange';
$$;
CREATE FUNCTION passing(min_events bigint = 1, service text = NULL, search text = NULL, since timestamptz = NULL, until timestamptz = NULL,
                        min_duration_ms float8 = NULL, errors_only boolean = NULL, name text = NULL, variable text = NULL) RETURNS SETOF traces
LANGUAGE sql STABLE AS $$
    SELECT * FROM traces t
     WHERE event_count >= min_events
       AND (service IS NULL OR service = ANY (services))
       AND replace(trace_id::text, '-', '') LIKE lower(replace(coalesce(search, ''), '-', '')) || '%'
       AND (since IS NULL OR ended_at >= since)
       AND (until IS NULL OR started_at <= until)
       AND (min_duration_ms IS NULL OR duration_ms >= min_duration_ms)
       AND (errors_only IS NOT TRUE OR error_count > 0)
       AND (name IS NULL OR root_name LIKE name)
       AND (variable IS NULL OR EXISTS (SELECT FROM accesses a WHERE a.trace_id = t.trace_id AND a.variable = passing.variable))
$$;

-- One of some values, or NULL where none is asked for.
CREATE FUNCTION one_of(VARIADIC items text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT quote_nullable(items[1 + floor(random() * cardinality(items))])
$$;
-- A time of some trace, or close to one.
CREATE FUNCTION some_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN random() < 0.03 THEN '-infinity' WHEN random() < 0.03 THEN 'infinity' WHEN random() < 0.5 THEN started_at ELSE ended_at END
           + CASE WHEN random() < 0.5 THEN '0' ELSE (random() - 0.5) * interval '25 s' END
      FROM traces OFFSET floor(random() * (SELECT count(*) FROM traces)) LIMIT 1
$$;
-- "name => value, ...", each filter or some of them.
CREATE FUNCTION some_filters() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    rare float8 := random();
    since timestamptz := CASE WHEN random() < 0.4 THEN some_time() END;
    until timestamptz := CASE WHEN random() < 0.4 THEN some_time() END;
BEGIN
    IF since > until THEN
        until := NULL;
    END IF;
    RETURN concat_ws(', ',
        CASE WHEN random() < rare / 2 THEN 'min_events => ' || floor(random() * 8) END,
        CASE WHEN random() < rare / 2 THEN 'service => ' || one_of('api', 'bank', 'late', 'nobody', NULL) END,
        CASE WHEN random() < rare / 2 THEN 'search => ' || one_of('c', 'C4', '1-', '', 'e9', 'abcdef', NULL) END,
        'since => ' || quote_literal(since), 'until => ' || quote_literal(until),
        CASE WHEN random() < rare THEN 'min_duration_ms => ' || one_of('0', '-0', '0.001', '200', '250', '1500', '10000', '30000', '1e9', 'infinity', NULL) END,
        CASE WHEN random() < rare / 2 THEN 'errors_only => ' || one_of('true', 'true', 'false', NULL) END,
        CASE WHEN random() < rare THEN 'name => ' || one_of('GET /api/users', 'POST /api%', 'POST /api/orders/1', 'POST /api/orders/1%', 'POST /api/orders/_', '%orders%',
             '%', '_%', '', 'a\_b\%c', 'a_b%c', 'back\\slash _', 'back\slash 1', repeat('x', 300) || '1', repeat('x', 300) || '%', repeat('x', 199) || '_%', 'x%',
             repeat('é', 199), repeat('é', 200), repeat('é', 200) || '%', repeat('é', 201), repeat('é', 150) || '_%', 'é%', 'Über _', 'nobody', 'late%', NULL) END,
        CASE WHEN random() < rare THEN 'variable => ' || one_of('hot', 'old', 'rare', 'v3', 'v39', 'late', 'f2', '', 'nobody', NULL) END);
END $$;

-- What is wrong in some random calls: nothing, and no row.
CREATE FUNCTION wrong(seed text, calls int) RETURNS TABLE (problem text) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    filters text;
    place text;
    size int;
    want text[];
    got text[];
    page text[];
    total bigint;
    last record;
    p int;
BEGIN
    FOR i IN 1 .. calls LOOP
        filters := some_filters();
        size := (ARRAY[1, 2, 7, 20, 100, 10000])[1 + floor(random() * 6)];
        EXECUTE format('SELECT array_agg(to_jsonb(p)::text ORDER BY last_timestamp DESC, trace_id DESC) FROM passing(%s) p', filters) INTO want;
        want := coalesce(want, '{}');
        EXECUTE format('SELECT list_traces_total(%s)', filters) INTO total;
        IF total IS DISTINCT FROM cardinality(want) THEN
            RETURN QUERY SELECT format('test.seed=%s: list_traces_total(%s) is %s, not %s', seed, filters, total, cardinality(want));
        END IF;
        -- A page, from one place or another; the pages one by one; or all of them by keyset.
        p := CASE WHEN random() < 0.5 THEN 1 ELSE floor(random() * (cardinality(want) / size + 2))::int + 1 END;
        EXECUTE format('SELECT array_agg(to_jsonb(l.*)::text) FROM list_traces(%s) l', concat_ws(', ', 'page_size => ' || size, 'page => ' || p, nullif(filters, ''))) INTO page;
        IF coalesce(page, '{}') <> want[(p - 1) * size + 1 : p * size] THEN
            RETURN QUERY SELECT format('test.seed=%s: page %s of %s of list_traces(%s)', seed, p, size, filters);
        END IF;
        IF cardinality(want) / size < 30 THEN
            got := '{}';
            last := ROW(NULL::timestamptz, NULL::uuid);
            LOOP
                place := concat_ws(', ', 'page_size => ' || size, format('before => %L, before_id => %L', last.f1, last.f2), nullif(filters, ''));
                EXECUTE format('SELECT array_agg(to_jsonb(l.*)::text) FROM list_traces(%s) l', place) INTO page;
                EXIT WHEN page IS NULL OR cardinality(got) > cardinality(want);
                got := got || page;
                SELECT (j ->> 'last_timestamp')::timestamptz AS f1, (j ->> 'trace_id')::uuid AS f2 INTO last FROM CAST(page[cardinality(page)] AS jsonb) j;
            END LOOP;
            IF got <> want THEN
                RETURN QUERY SELECT format('test.seed=%s: by keyset, %s at a time, list_traces(%s)', seed, size, filters);
            END IF;
        END IF;
    END LOOP;
END $$;

SELECT coalesce(current_setting('test.seed', true), floor(random() * 1e9)::text) AS seed, coalesce(current_setting('test.calls', true), '25') AS calls \gset
SELECT setseed(:seed / 1e9);

-- Deltas only.
CALL fill(1, 400);
CALL look();
SELECT * FROM wrong(:'seed', :calls);
-- Base only, of so many that the walk takes several stretches.
CALL fill(401, 1600);
CALL plain.fold();
CALL look();
SELECT * FROM wrong(:'seed', :calls * 3);
-- Traces are outstanding that are new, and old ones that get more events, services, errors, accesses, an earlier root: some of these are no newer by it.
CALL fill(1601, 1800);
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns, attributes)
SELECT trace_id, plain.id('90000' || n), CASE n WHEN 1 THEN first_timestamp - interval '1 ms' WHEN 2 THEN last_timestamp - interval '1 us' ELSE last_timestamp + interval '5 s' END,
       (ARRAY['FunctionCall', 'StateChange', 'Error'])[n]::event_kind, 'late', 'late', 30000000000, CASE n WHEN 2 THEN '{"access_type": "Write"}' END::jsonb
  FROM traces, generate_series(1, 3) n WHERE ascii(right(trace_id::text, 1)) % 5 = n;
CALL look();
SELECT * FROM wrong(:'seed', :calls * 2);
-- Traces lose their first event, their last, their accesses, all; in the own transaction, and after it.
BEGIN;
DELETE FROM events WHERE right(trace_id::text, 2) ~ '[0-3]1' AND id::text LIKE '%1-0000-0000-0000-000000000000';
DELETE FROM events e WHERE right(trace_id::text, 2) ~ '[0-7]2' AND "timestamp" = (SELECT max("timestamp") FROM events m WHERE m.trace_id = e.trace_id);
DELETE FROM events WHERE right(trace_id::text, 2) ~ '[0-7]3' AND kind = 'StateChange';
DELETE FROM events WHERE right(trace_id::text, 2) ~ '[0-7]4';
UPDATE events SET name = 'hot' WHERE right(trace_id::text, 2) ~ '[0-7]5' AND kind = 'StateChange';
CALL look();
SELECT * FROM wrong(:'seed', :calls);
COMMIT;
SELECT * FROM wrong(:'seed', :calls);
CALL plain.fold();
SELECT * FROM wrong(:'seed', :calls);
-- A partition goes, and traces that reach out of it stay.
ALTER TABLE events DETACH PARTITION filters_1;
CALL look();
SELECT * FROM wrong(:'seed', :calls);
CALL plain.fold();
SELECT * FROM wrong(:'seed', :calls);

-- There was something to get wrong.
SELECT count(*) > 1000 AS many, count(*) FILTER (WHERE trace_ext_internal.is_long_trace(started_at, ended_at)) > 100 AS long, count(*) FILTER (WHERE error_count > 0) > 50 AS errors FROM traces;

--
-- Times: both ends are included, and a trace is there while it runs
--
TRUNCATE events;
INSERT INTO events (trace_id, id, "timestamp", kind, duration_ns, stamped_at_end) VALUES
    (plain.id('1'), plain.id('1'), '2001-02-03 10:00:00+00', 'FunctionCall', 60000000000, false),
    (plain.id('2'), plain.id('1'), '2001-02-03 10:00:00+00', 'FunctionCall', 60000000000, true),
    (plain.id('3'), plain.id('1'), '2001-02-03 10:00:00+00', 'FunctionCall', NULL, NULL);
SELECT since, until, (SELECT string_agg(ltrim(left(trace_id::text, 8), '0'), ' ' ORDER BY trace_id) FROM list_traces(since => since, until => until)) AS listed,
       list_traces_total(since => since, until => until) AS total
  FROM (VALUES ('2001-02-03 10:00:00+00'::timestamptz, '2001-02-03 10:00:00+00'::timestamptz), ('2001-02-03 10:00:00.000001+00', NULL), (NULL, '2001-02-03 09:59:59.999999+00'),
               ('2001-02-03 10:01:00+00', NULL), ('2001-02-03 10:01:00.000001+00', NULL), (NULL, '2001-02-03 09:59:00+00'), (NULL, '2001-02-03 09:58:59.999999+00'),
               ('-infinity', 'infinity'), ('infinity', 'infinity'), ('-infinity', '-infinity'), (NULL, NULL)) AS v (since, until);

--
-- Arguments
--
SELECT arguments, o.state, o.message, o.hint
  FROM unnest(ARRAY['min_duration_ms => -1', $$min_duration_ms => 'NaN'$$, $$min_duration_ms => '-infinity'$$, $$since => '2001-02-03 10:00:01+00', until => '2001-02-03 10:00:00+00'$$,
                    $$since => 'infinity', until => '-infinity'$$, $$name => '\'$$, $$name => 'a%\\\'$$, $$search => 'x'$$]) WITH ORDINALITY AS a (arguments, n),
       unnest(ARRAY['list_traces', 'list_traces_total']) f,
       plain.outcome(format('SELECT * FROM trace_ext.%s(%s)', f, arguments)) o
 ORDER BY n, f;
SELECT count(*) FROM list_traces(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT list_traces_total(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), list_traces_total(), count_traces();
SELECT list_traces_total(name => 'a\\'), list_traces_total(name => repeat('%', 10000) || 'x'), list_traces_total(variable => repeat('v', 100000));

-- Who may not read events does not learn from them which traces accessed a variable.
CREATE ROLE regress_lists;
GRANT USAGE ON SCHEMA public, trace_ext, trace_ext_internal TO regress_lists;
GRANT SELECT ON summary_base, summary_deltas, trace_summaries TO regress_lists;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA trace_ext, trace_ext_internal TO regress_lists;
SET ROLE regress_lists;
SELECT count(*) FROM list_traces(errors_only => false);
SELECT count(*) FROM list_traces(variable => 'hot');
SELECT list_traces_total(variable => 'hot');
RESET ROLE;
DROP OWNED BY regress_lists;
DROP ROLE regress_lists;

SELECT * FROM verify_summaries();
TRUNCATE events;
DROP TABLE filters_1, filters_2, traces, accesses CASCADE;
DROP FUNCTION one_of, some_time, some_filters, wrong;
DROP PROCEDURE fill, look;
DROP SCHEMA plain CASCADE;
