-- Findings: what is found depends on the events, not on how they came.
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

-- What is behind the horizon is added up; the findings stay, and count on.
CREATE TEMP TABLE before AS SELECT * FROM trace_ext.findings;
SELECT count(*) AS retired FROM trace_ext.race_pairs WHERE trace1 IS NULL;
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
SELECT md5('later' || trace_id)::uuid, md5('later' || id)::uuid, md5('later' || parent_id)::uuid, "timestamp" + interval '1 day',
       kind, name, service_name, instance_id, process_id, thread_id || 'later', attributes FROM requests;
SELECT trace_ext.detect();
SELECT count(*) FILTER (WHERE trace1 IS NULL) = (SELECT count(*) FROM before) AS one_sum_a_finding,
       min(last_seen) FILTER (WHERE trace1 IS NOT NULL) > '2020-01-02 00:00+00' AS others_are_new
  FROM trace_ext.race_pairs;
SELECT count(*) AS findings, count(*) FILTER (WHERE f.occurrences = 2 * b.occurrences) AS twice_as_often,
       count(*) FILTER (WHERE f.evidence = b.evidence AND f.first_seen = b.first_seen AND f.last_seen = b.last_seen + interval '1 day') AS same_sample
  FROM trace_ext.findings f FULL JOIN before b USING (id);
