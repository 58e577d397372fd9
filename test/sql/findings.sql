-- Findings: what is found depends on the events, not on how they came.
\set ECHO none
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
\getenv inputdir PG_ABS_SRCDIR
\set programs :inputdir '/data/programs.sql'
SET client_min_messages = warning;
\i :programs
\set file :inputdir '/data/express-banking.json'
\set content `cat :file`

SELECT * FROM trace_ext.ingest_events(:'content');
SELECT trace_ext.detect();
SELECT kind, variable, location1, location2, severity, confidence, confirmed, occurrences, first_seen, last_seen, status
  FROM trace_ext.global_races();
SELECT event1_id, event1_trace_id, event2_id, event2_trace_id, evidence FROM trace_ext.global_races(page_size => 1) \gx
-- Nothing new, nothing to do.
SELECT trace_ext.detect();
SELECT count(*) FROM trace_ext.detect_queue;
-- Delivered twice.
SELECT * FROM trace_ext.ingest_events(:'content');
SELECT trace_ext.detect();
SELECT sum(occurrences) FROM trace_ext.findings;

-- By severity, variable and page.
SELECT kind, variable FROM trace_ext.global_races('critical');
SELECT kind, variable FROM trace_ext.global_races(variable => 'accounts.bob.balance');
SELECT kind, variable FROM trace_ext.global_races(page_size => 2, page => 2);
SELECT kind FROM trace_ext.global_races(page_size => 2, page => 9);

-- What a reader decided survives further detection; ignored ones are not listed.
SELECT id FROM trace_ext.global_races(page_size => 1) \gset
SELECT trace_ext.set_finding_status(:'id', 'acknowledged');
SELECT id AS ignored FROM trace_ext.global_races('WARNING', page_size => 1) \gset
SELECT trace_ext.set_finding_status(:'ignored', 'ignored');
SELECT trace_ext.set_finding_status('00000000-0000-0000-0000-000000000000', 'ignored');
SELECT pg_temp.load_program('a - T1 w another') IS NOT NULL AS loaded;
INSERT INTO trace_ext.detect_queue SELECT DISTINCT trace_id FROM trace_ext.events;
SELECT trace_ext.detect() > 0 AS examined;
SELECT kind, status, occurrences FROM trace_ext.global_races(include_ignored => true) WHERE status <> 'open';
SELECT count(*) FROM trace_ext.global_races();

-- An event that comes later can show that there was no race: the missing spawn.
\set parent '00000000-0000-0000-0000-00000000000a'
SET trace_ext.lateness = 0;
SELECT pg_temp.load_program('a - T1 w late' || E'\n' || 'b - T2 w late parent_id=' || :'parent') AS run \gset
SELECT trace_ext.detect();
SELECT kind, confidence, occurrences, status FROM trace_ext.global_races(variable => 'late');
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id)
SELECT trace_id, :'parent', id, "timestamp", 'AsyncSpawn', 'job', service_name, instance_id, process_id, thread_id
  FROM trace_ext.events WHERE name = 'late' AND thread_id = 'T1';
SELECT trace_ext.detect();
SELECT count(*) FROM trace_ext.global_races(variable => 'late');
-- Until then, a trace with a missing parent waits.
SET trace_ext.lateness = '1h';
SELECT pg_temp.load_program('a - T1 w waits' || E'\n' || 'b - T2 w waits parent_id=' || :'parent') AS run \gset
SELECT trace_ext.detect();
SELECT count(*) FROM trace_ext.global_races(variable => 'waits');
SELECT count(*) FROM trace_ext.detect_queue;
SET trace_ext.lateness = 0;
SELECT trace_ext.detect();
SELECT count(*) FROM trace_ext.global_races(variable => 'waits');
-- What was acknowledged stays when events show that it was none, with no occurrences.
SELECT trace_ext.set_finding_status(id, 'acknowledged') FROM trace_ext.findings WHERE variable = 'waits';
DELETE FROM trace_ext.events WHERE name = 'waits' AND thread_id = 'T1';
SELECT trace_ext.detect();
SELECT occurrences, status FROM trace_ext.findings WHERE variable = 'waits';

-- Any order and split: 40 overlapping requests that share variables and locks,
-- delivered in eight ways, each from nothing.
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
SELECT setseed(0.7);
CREATE TEMP TABLE requests AS
SELECT md5('request ' || r)::uuid AS trace_id, md5(r || ' ' || n)::uuid AS id,
       CASE WHEN n > 1 THEN md5(r || ' ' || n - 1)::uuid END AS parent_id,
       '2020-01-01 00:00+00'::timestamptz + r * interval '20 ms' + n * interval '7 ms' + random() * interval '3 ms' AS "timestamp",
       (CASE WHEN n IN (3, 7) THEN 'LockAcquire' WHEN n IN (5, 9) THEN 'LockRelease' WHEN n = 1 THEN 'HttpRequest'
             ELSE 'StateChange' END)::trace_ext.event_kind AS kind,
       CASE WHEN n IN (3, 5) THEN 'L' || r % 3 WHEN n IN (7, 9) THEN 'M' || r % 2 WHEN n = 1 THEN 'POST /r'
            ELSE 'v' || (r * n) % 5 END AS name,
       'svc' AS service_name, 'i1' AS instance_id, 1 AS process_id, 'ctx-' || r AS thread_id,
       CASE WHEN n NOT IN (1, 3, 5, 7, 9) THEN jsonb_build_object('location', 'f.js:' || n,
           'access_type', CASE WHEN random() < 0.5 THEN 'Read' ELSE 'Write' END,
           'old_value', floor(random() * 3), 'new_value', floor(random() * 3))
            ELSE '{}' END AS attributes
  FROM generate_series(1, 40) r, generate_series(1, 12) n;

CREATE FUNCTION pg_temp.deliver(batches int, shuffled boolean, in_all_batches boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
    CREATE TEMP TABLE delivery AS
        SELECT *, ntile(batches) OVER (ORDER BY CASE WHEN shuffled THEN random() END, "timestamp") AS batch FROM requests;
    FOR b IN 1..batches LOOP
        INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id,
                                      process_id, thread_id, attributes)
        SELECT trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes
          FROM delivery WHERE batch = b;
        IF in_all_batches OR b = batches THEN
            PERFORM trace_ext.detect();
        END IF;
    END LOOP;
    DROP TABLE delivery;
    SELECT count(*) || ' findings, ' || sum(occurrences) || ' pairs, ' || md5(string_agg(f::text, E'\n' ORDER BY f.id)) INTO answer
      FROM trace_ext.findings f;
    RETURN answer;
END $$;
CREATE TEMP TABLE answers AS
SELECT pg_temp.deliver(1, false, false) AS answer
UNION ALL SELECT pg_temp.deliver(1, true, false)
UNION ALL SELECT pg_temp.deliver(7, false, true)
UNION ALL SELECT pg_temp.deliver(7, true, true)
UNION ALL SELECT pg_temp.deliver(7, true, false)
UNION ALL SELECT pg_temp.deliver(40, false, true)
UNION ALL SELECT pg_temp.deliver(40, true, true)
UNION ALL SELECT pg_temp.deliver(60, false, true);
SELECT count(DISTINCT answer) AS different_answers, count(*) AS deliveries, min(answer) !~ '^0' AS found FROM answers;
-- They are the pairs that the functions find.
SELECT (SELECT sum(occurrences) FROM trace_ext.findings) = sum(trace_ext.count_variable_races('v' || i)) AS same_pairs
  FROM generate_series(0, 4) i;

-- Whatever else happens meanwhile, and whatever clocks say: all these requests are
-- behind the horizon. Between deliveries some are delivered again, deleted and
-- delivered anew, moved, or looked at for no reason; others' clocks are fast, slow or
-- at either end of time; what is queued is looked at step by step, or not yet.
SET trace_ext.horizon = '1s';
\set seed 0.23
SELECT setseed(:seed);
-- Seed :seed.
CREATE TEMP TABLE arrived (trace_id uuid, id uuid, batch int);
CREATE FUNCTION pg_temp.put(which text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
    SELECT trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes
      FROM requests WHERE id IN (SELECT id FROM arrived WHERE batch::text = which OR trace_id::text = which)
    ON CONFLICT DO NOTHING $$;
CREATE FUNCTION pg_temp.storm(batches int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    one uuid;
    answer text;
    dice int;
BEGIN
    TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
    DELETE FROM arrived;
    INSERT INTO arrived SELECT trace_id, id, 1 + floor(random() * batches)::int FROM requests;
    FOR b IN 1..batches LOOP
        PERFORM pg_temp.put(b::text);
        FOR i IN 1..3 LOOP
            dice := floor(random() * 9);
            one := (SELECT trace_id FROM arrived WHERE batch <= b ORDER BY random() LIMIT 1);
            CASE dice
                WHEN 0 THEN PERFORM trace_ext.fold();
                WHEN 1 THEN PERFORM trace_ext.detect();
                WHEN 2 THEN PERFORM trace_ext_internal.detect_step('infinity');
                WHEN 3 THEN PERFORM pg_temp.put((1 + floor(random() * b)::int)::text);
                -- Gone, with a look at what is left, and there again.
                WHEN 4 THEN
                    DELETE FROM trace_ext.events WHERE trace_id = one;
                    IF random() < 0.5 THEN
                        PERFORM trace_ext.detect();
                    END IF;
                    PERFORM pg_temp.put(one::text);
                -- As rows are moved to a new partition.
                WHEN 5 THEN
                    WITH gone AS (DELETE FROM trace_ext.events WHERE random() < 0.3 RETURNING *)
                    INSERT INTO trace_ext.events SELECT * FROM gone;
                WHEN 6 THEN INSERT INTO trace_ext.detect_queue SELECT DISTINCT trace_id FROM trace_ext.events WHERE random() < 0.05;
                WHEN 7 THEN
                    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name)
                    SELECT gen_random_uuid(), gen_random_uuid(), t, 'LockAcquire', 'elsewhere'
                      FROM unnest(ARRAY['2020-01-01 01:30+00', '2019-12-24 00:00+00', '4713-01-01 00:00+00 BC',
                                        '294276-12-31 23:59:59+00', '2020-01-01 00:00+00']::timestamptz[]) t WHERE random() < 0.4;
                ELSE PERFORM trace_ext_internal.sweep_race_pairs(1 + floor(random() * 100)::int);
            END CASE;
        END LOOP;
        -- What a deletion took with it and was not delivered again.
        PERFORM pg_temp.put(b::text);
    END LOOP;
    FOR b IN 1..batches LOOP
        PERFORM pg_temp.put(b::text);
    END LOOP;
    PERFORM trace_ext.detect();
    SELECT count(*) || ' findings, ' || sum(occurrences) || ' pairs, ' || md5(string_agg(f::text, E'\n' ORDER BY f.id)) INTO answer
      FROM trace_ext.findings f;
    RETURN answer;
END $$;
SELECT count(*) AS storms, count(*) FILTER (WHERE s.answer = (SELECT min(answer) FROM answers)) AS right_ones
  FROM (SELECT pg_temp.storm(3 + i) AS answer FROM generate_series(1, 12) i) AS s;

-- A small row a pair, while one of the traces is stored; then they are added up.
SELECT count(evidence) < count(*) / 2 AS few_sentences FROM trace_ext.race_pairs WHERE trace1 IS NOT NULL;
CREATE TEMP TABLE before AS SELECT * FROM trace_ext.findings;
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
SELECT md5('later' || trace_id)::uuid, md5('later' || id)::uuid, md5('later' || parent_id)::uuid, "timestamp" + interval '1 day',
       kind, name, service_name, instance_id, process_id, thread_id || 'later', attributes FROM requests;
SELECT trace_ext.detect();
SELECT count(*) AS findings, count(*) FILTER (WHERE f.occurrences = 2 * b.occurrences) AS twice_as_often,
       count(*) FILTER (WHERE f.evidence = b.evidence AND f.first_seen = b.first_seen AND f.last_seen = b.last_seen + interval '1 day') AS same_sample
  FROM trace_ext.findings f FULL JOIN before b USING (id);
-- The first ones leave as retention makes them: detect() is not asked to look.
CREATE TEMP TABLE twice AS SELECT * FROM trace_ext.findings;
DELETE FROM trace_ext.events WHERE "timestamp" < '2020-01-01 12:00+00';
SELECT trace_ext.fold() > 0 AS folded;
DELETE FROM trace_ext.detect_queue;
SELECT count(*) AS pairs FROM trace_ext.race_pairs WHERE trace1 IS NOT NULL \gset
SELECT count(trace_ext_internal.sweep_race_pairs(100)) FROM generate_series(1, :pairs / 100 + 3);
SELECT count(*) * 2 = :pairs AS half_of_them FROM trace_ext.race_pairs WHERE trace1 IS NOT NULL;
INSERT INTO trace_ext.detect_queue SELECT DISTINCT trace_id FROM trace_ext.events;
SELECT trace_ext.detect();
SELECT count(*) AS changed FROM (SELECT * FROM trace_ext.findings EXCEPT SELECT * FROM twice) AS f;

-- In a transaction of its own each.
INSERT INTO trace_ext.detect_queue SELECT DISTINCT trace_id FROM trace_ext.events;
CALL trace_ext.detect_all();
SELECT detect_queue, detect_lag FROM trace_ext.status;
SELECT count(*) AS changed FROM (SELECT * FROM trace_ext.findings EXCEPT SELECT * FROM twice) AS f;

-- At the ends of time, overlapping.
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, thread_id, attributes)
SELECT md5('end ' || t || s)::uuid, md5('end ' || t || s)::uuid, t, 'StateChange', 'ends', 'T' || s, '{"access_type": "Write"}'
  FROM unnest(ARRAY['4713-01-01 00:00+00 BC', '294276-12-31 23:59:59.999999+00']::timestamptz[]) t, generate_series(1, 2) s;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, thread_id, attributes)
SELECT md5('long')::uuid, md5('long ' || t)::uuid, t, 'StateChange', 'ends', 'T3', '{"access_type": "Write"}'
  FROM unnest(ARRAY['4713-01-01 00:00+00 BC', '294276-12-31 23:59:59.999999+00']::timestamptz[]) t;
SELECT trace_ext.detect();
SELECT occurrences, first_seen < last_seen AS apart, trace_ext.count_variable_races('ends') FROM trace_ext.findings WHERE variable = 'ends';
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;

-- However slow steps were, one takes some dozens of traces: each reads what overlaps them as well.
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, thread_id, attributes)
SELECT md5('step ' || t)::uuid, md5('step ' || t || ' ' || e)::uuid, '2021-01-01 00:00+00'::timestamptz + t * interval '1 min', 'StateChange', 'step ' || t, 'T' || t,
       '{"access_type": "Write"}'
  FROM generate_series(1, 40) t, generate_series(1, 20) e;
SELECT trace_ext.fold() > 0 AS folded;
UPDATE trace_ext.detect_state SET at_once = 10;
SELECT taken FROM trace_ext_internal.detect_step(clock_timestamp());
UPDATE trace_ext.detect_state SET at_once = 10;
SELECT taken FROM trace_ext_internal.detect_step(clock_timestamp());
UPDATE trace_ext.detect_state SET at_once = 1000;
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;

-- More pairs than are kept in memory at a time: none is left out.
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, thread_id, attributes)
SELECT md5('hot ' || t)::uuid, md5('hot ' || t || ' ' || e)::uuid, '2021-01-01 00:00+00'::timestamptz + e * interval '1 s', 'StateChange', 'hot', 'T' || t,
       '{"access_type": "Write"}'
  FROM generate_series(1, 36) t, generate_series(1, 30) e;
SELECT trace_ext.detect();
SELECT sum(occurrences), sum(occurrences) = trace_ext.count_variable_races('hot') AS all_of_them FROM trace_ext.findings WHERE variable = 'hot';
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
