-- Random traces with values, locks and two hosts: what values prove, and whether a
-- variable is seen to be shared, is the same whichever way it is asked and however
-- the events came.
SET client_min_messages = warning;
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
\set seed 0.23
SELECT setseed(:seed);
-- Seed :seed, 12 rounds of 24 traces.
CREATE TEMP TABLE sent (part int, LIKE trace_ext.events);
CREATE FUNCTION pg_temp.send(t int, nth int, ms int, kind trace_ext.event_kind, name text, attributes jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO sent (part, trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
    SELECT (random() * 4)::int, md5('trace ' || t)::uuid, md5(format('event %s %s', t, nth))::uuid,
           '2026-11-20 10:00:00+00'::timestamptz + ms * interval '1 ms' + (t * 10 + nth) * interval '1 us',
           kind, name, 's', 'i' || t % 2, 1, 't' || t, attributes $$;
-- v0 to v2 are shared; each trace has an "own" for itself.
CREATE FUNCTION pg_temp.make_traces() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    start int;
    before int;
    after int;
BEGIN
    TRUNCATE sent;
    FOR t IN 1 .. 24 LOOP
        start := random() * 120;
        FOR nth IN 1 .. 2 + (random() * 5)::int LOOP
            before := t % 3 * 2 + random() * 3;
            after := t % 3 * 2 + random() * 3;
            PERFORM pg_temp.send(t, nth, start + nth * 2 + (random() * 8)::int, 'StateChange', 'v' || (random() * 2)::int,
                CASE (random() * 2)::int WHEN 0 THEN jsonb_build_object('access_type', 'Read', 'new_value', before)
                    WHEN 1 THEN jsonb_build_object('access_type', 'Write', 'old_value', before, 'new_value', after)
                    ELSE jsonb_build_object('access_type', 'Write', 'new_value', after) END);
        END LOOP;
        PERFORM pg_temp.send(t, 7, start + 6, 'StateChange', 'own', jsonb_build_object('access_type', 'Write', 'old_value', 0, 'new_value', t));
        IF random() < 0.6 THEN
            PERFORM pg_temp.send(t, 8, start, 'LockAcquire', 'redis:L', '{"lock_type": "Mutex"}'),
                    pg_temp.send(t, 9, start + 12, 'LockRelease', 'redis:L', '{"lock_type": "Mutex"}');
        END IF;
    END LOOP;
END $$;
-- Sends some parts, and what detect() makes of that.
CREATE FUNCTION pg_temp.detect(parts int[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trace_ext.events SELECT (jsonb_populate_record(NULL::trace_ext.events, to_jsonb(s) - 'part')).*
      FROM sent s WHERE part = ANY (parts) ORDER BY id;
    PERFORM trace_ext.detect();
END $$;
CREATE TEMP TABLE told (way text, kind text, variable text, confidence float8);
CREATE TEMP TABLE differences (round int, what text);
CREATE TEMP TABLE confidences (confidence float8);
DO $$
DECLARE
    at_once jsonb;
    in_parts jsonb;
BEGIN
    FOR round IN 1 .. 12 LOOP
        PERFORM pg_temp.make_traces();
        TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue, told;
        PERFORM pg_temp.detect('{0, 1, 2, 3, 4}');
        SELECT jsonb_agg(jsonb_build_array(id, confidence, occurrences, evidence) ORDER BY id) INTO at_once FROM trace_ext.findings;
        INSERT INTO confidences SELECT confidence FROM trace_ext.findings;
        INSERT INTO told SELECT 'findings', kind, variable, confidence FROM trace_ext.findings;
        INSERT INTO told SELECT 'find_variable_races', r.kind, r.variable, r.confidence
          FROM (SELECT DISTINCT name FROM sent) n, trace_ext.find_variable_races(n.name, NULL, 100000) r;
        INSERT INTO told SELECT 'find_races', r.kind, r.variable, r.confidence
          FROM (SELECT DISTINCT trace_id FROM sent) t, trace_ext.find_races(t.trace_id, 100000) r;
        INSERT INTO differences
        SELECT round, format('%s %s: %s', kind, variable, string_agg(way || ' ' || confidence, ', '))
          FROM (SELECT way, kind, variable, max(confidence) AS confidence FROM told GROUP BY way, kind, variable) m
         GROUP BY kind, variable HAVING count(*) < 3 OR min(confidence) < max(confidence);

        TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
        FOR part IN 0 .. 4 LOOP
            PERFORM pg_temp.detect(ARRAY[part]);
        END LOOP;
        SELECT jsonb_agg(jsonb_build_array(id, confidence, occurrences, evidence) ORDER BY id) INTO in_parts FROM trace_ext.findings;
        INSERT INTO differences SELECT round, 'in parts' WHERE in_parts IS DISTINCT FROM at_once;
    END LOOP;
END $$;
SELECT * FROM differences;
-- All tiers were met.
SELECT bool_or(confidence = 1) AS proved, bool_or(confidence = 0.5) AS unshared, bool_or(confidence > 0.5 AND confidence < 1) AS plain FROM confidences;
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;
