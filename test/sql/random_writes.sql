-- Thousands of random writes on few ids, so that they collide all the time:
-- after some of them, and after each transaction, every maintained result must equal the plain query.
--
-- The seed is new in each run and printed where a difference is found. To run
-- one again, or longer:  PGOPTIONS='-c test.seed=42 -c test.steps=100000'
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
CREATE SCHEMA random_writes;
SET search_path = random_writes, public, trace_ext, trace_ext_internal;

--
-- Random values: 8 traces, 12 events each, 60 hours over 3 partitions and the default one
--
CREATE FUNCTION upto(n int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT 1 + floor(random() * n)::int $$;
CREATE FUNCTION a_trace() RETURNS uuid LANGUAGE sql VOLATILE AS $$ SELECT plain.id('a' || upto(8)) $$;
CREATE FUNCTION an_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$ SELECT plain.id(upto(12)::text) $$;
CREATE FUNCTION a_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    -- Whole hours are the edges of counts, midnights those of partitions.
    SELECT '2001-02-03 00:00:00+00'::timestamptz + upto(60) * interval '1 hour'
         + (ARRAY[0, 0, 1, 3599999999, 1800000000])[upto(5)] * interval '1 microsecond'
$$;
CREATE FUNCTION a_service() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT (ARRAY['api', 'bank', 'cart', NULL])[upto(4)] $$;
CREATE FUNCTION a_name() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT (ARRAY['f', 'g', 'order 17', 'order 18', NULL])[upto(5)] $$;
CREATE FUNCTION a_duration() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT (ARRAY[NULL, 0, -1, 1, 1499, 1500000, 40000000000000])[upto(7)] * upto(3) $$;
CREATE FUNCTION a_parent() RETURNS uuid LANGUAGE sql VOLATILE AS $$ SELECT CASE WHEN random() < 0.7 THEN an_id() END $$;
CREATE FUNCTION a_kind() RETURNS event_kind LANGUAGE sql VOLATILE AS $$
    SELECT (ARRAY['FunctionCall', 'StateChange', 'HttpResponse', 'Error', 'Custom', 'HttpRequest', 'HttpRequest', 'DatabaseQuery',
                  'AsyncSpawn']::trace_ext.event_kind[])[upto(9)]
$$;
-- Spans of several services, that call each other in circles, and some that nobody sent.
CREATE FUNCTION a_span() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT (ARRAY['s1', 's2', 's3', 's4', '', NULL])[upto(6)] $$;
CREATE FUNCTION attributes_of(kind event_kind) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT CASE kind
        WHEN 'StateChange' THEN (ARRAY['{"access_type": "Write"}', '{"access_type": "Read"}', '{"access_type": "AtomicRMW"}'])[upto(3)]::jsonb
        WHEN 'HttpResponse' THEN (ARRAY['{"status": 200}', '{"status": 499.9}', '{"status": 500}', '{"status": "500"}', '[500]', NULL])[upto(6)]::jsonb
        END
$$;
CREATE FUNCTION some_events(n int) RETURNS SETOF events LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    e trace_ext.events;
BEGIN
    FOR i IN 1 .. n LOOP
        e.trace_id := a_trace();
        e.id := an_id();
        e.parent_id := a_parent();
        e."timestamp" := a_time();
        e.kind := a_kind();
        e.name := a_name();
        e.service_name := a_service();
        e.attributes := attributes_of(e.kind);
        e.span_id := a_span();
        e.upstream_span_id := a_span();
        e.duration_ns := a_duration();
        e.stamped_at_end := (ARRAY[true, false, NULL])[upto(3)];
        RETURN NEXT e;
    END LOOP;
END $$;

-- The same as a client would post them; StateChange has to name a variable.
CREATE FUNCTION as_batch(n int) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT json_build_object('events', json_agg(json_build_object(
               'id', e.id, 'trace_id', e.trace_id, 'parent_id', e.parent_id,
               'timestamp', to_char(e."timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'kind', json_build_object(e.kind, CASE e.kind
                   WHEN 'StateChange' THEN json_build_object('variable', e.name, 'access_type', 'Write')
                   WHEN 'HttpResponse' THEN json_build_object('status', 100 * upto(5))
                   WHEN 'FunctionCall' THEN json_build_object('function_name', e.name)
                   ELSE '{}' END),
               'metadata', json_build_object('service_name', e.service_name, 'distributed_span_id', e.span_id,
                                             'upstream_span_id', e.upstream_span_id, 'duration_ns', greatest(e.duration_ns, 0)))))::text
      FROM random_writes.some_events(n) e
$$;

CREATE TABLE parts (part regclass, low timestamptz, high timestamptz);
CREATE PROCEDURE make_part(part text, low timestamptz, high timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE random_writes.%I (LIKE trace_ext.events INCLUDING ALL)', part);
    INSERT INTO random_writes.parts VALUES (format('random_writes.%I', part)::regclass, low, high);
    CALL attach(format('random_writes.%I', part)::regclass);
END $$;
-- Rows of its range that wait in the default partition move into it, as in maintain_partitions().
CREATE PROCEDURE attach(which regclass) LANGUAGE plpgsql AS $$
DECLARE
    p random_writes.parts;
BEGIN
    SELECT * INTO p FROM random_writes.parts WHERE part = which;
    EXECUTE format('WITH moved AS (DELETE FROM trace_ext.events_default WHERE "timestamp" >= $1 AND "timestamp" < $2 RETURNING *)
                    INSERT INTO %s SELECT * FROM moved ON CONFLICT DO NOTHING', which) USING p.low, p.high;
    EXECUTE format('ALTER TABLE trace_ext.events ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', which, p.low, p.high);
END $$;
CREATE FUNCTION is_attached(which regclass) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = which)
$$;

--
-- One random step; "depth" subtransactions are open around it
--
CREATE PROCEDURE step(depth int, INOUT action text) LANGUAGE plpgsql AS $$
DECLARE
    r float := random();
    part regclass := (SELECT p.part FROM random_writes.parts p OFFSET upto(3) - 1 LIMIT 1);
BEGIN
    action := action || ' ';
    IF r < 0.16 THEN
        action := action || 'insert';
        INSERT INTO trace_ext.events SELECT * FROM some_events(1) ON CONFLICT DO NOTHING;
    ELSIF r < 0.26 THEN
        action := action || 'insert-select';
        INSERT INTO trace_ext.events SELECT * FROM some_events(upto(15)) ON CONFLICT (trace_id, id, "timestamp") DO NOTHING;
    ELSIF r < 0.33 THEN
        action := action || 'upsert';
        INSERT INTO trace_ext.events AS e SELECT * FROM some_events(1) ON CONFLICT (trace_id, id, "timestamp")
        DO UPDATE SET (kind, attributes, service_name, parent_id) =
                      (SELECT excluded.kind, excluded.attributes, excluded.service_name, excluded.parent_id),
                      duration_ns = excluded.duration_ns;
    ELSIF r < 0.40 THEN
        action := action || 'insert-strictly';      -- most collide and fail
        INSERT INTO trace_ext.events SELECT * FROM some_events(upto(3));
    ELSIF r < 0.50 THEN
        action := action || 'ingest';
        PERFORM trace_ext.ingest_events(as_batch(upto(10)));
    ELSIF r < 0.55 THEN
        action := action || 'ingest-jsonb';
        PERFORM trace_ext.ingest_events(as_batch(upto(4))::jsonb);
    ELSIF r < 0.59 THEN
        action := action || 'update-trace';
        UPDATE trace_ext.events SET trace_id = a_trace() WHERE trace_id = a_trace() AND id = an_id();
    ELSIF r < 0.63 THEN
        action := action || 'update-time';
        UPDATE trace_ext.events SET "timestamp" = a_time() WHERE id = an_id() AND trace_id = a_trace();
    ELSIF r < 0.67 THEN
        action := action || 'update-rest';
        UPDATE trace_ext.events e SET (kind, attributes) = (SELECT k, attributes_of(k) FROM a_kind() k),
               service_name = a_service(), parent_id = a_parent(), name = a_name()
         WHERE id = an_id();
        UPDATE trace_ext.events SET duration_ns = a_duration() WHERE id = an_id();
    ELSIF r < 0.69 THEN
        action := action || 'update-nothing';
        UPDATE trace_ext.events SET tags = '{}', name = name WHERE id = an_id();
    ELSIF r < 0.72 THEN
        action := action || 'update-span';
        UPDATE trace_ext.events SET span_id = CASE WHEN random() < 0.6 THEN a_span() ELSE span_id END,
               upstream_span_id = CASE WHEN random() < 0.6 THEN a_span() ELSE upstream_span_id END,
               parent_id = CASE WHEN random() < 0.3 THEN a_parent() ELSE parent_id END
         WHERE id = an_id();
    ELSIF r < 0.75 THEN
        action := action || 'delete';
        DELETE FROM trace_ext.events WHERE trace_id = a_trace() AND id = an_id();
    ELSIF r < 0.76 THEN
        action := action || 'delete-trace';
        DELETE FROM trace_ext.events WHERE trace_id = a_trace();
    ELSIF r < 0.79 THEN
        action := action || 'merge';
        MERGE INTO trace_ext.events e USING some_events(5) n
           ON e.trace_id = n.trace_id AND e.id = n.id AND e."timestamp" = n."timestamp"
         WHEN MATCHED AND n.kind = 'Error' THEN DELETE
         WHEN MATCHED THEN UPDATE SET service_name = n.service_name, parent_id = n.parent_id
         WHEN NOT MATCHED THEN INSERT (trace_id, id, parent_id, "timestamp", kind, name, service_name, attributes)
              VALUES (n.trace_id, n.id, n.parent_id, n."timestamp", n.kind, n.name, n.service_name, n.attributes);
    ELSIF r < 0.82 THEN
        action := action || 'write-twice';
        WITH gone AS (DELETE FROM trace_ext.events WHERE id = an_id() RETURNING trace_id),
             came AS (INSERT INTO trace_ext.events SELECT * FROM some_events(3) ON CONFLICT DO NOTHING RETURNING trace_id)
        UPDATE trace_ext.events SET service_name = a_service() WHERE id = an_id();
    ELSIF r < 0.85 THEN
        action := action || 'partition-directly';
        IF is_attached(part) THEN
            EXECUTE format('DELETE FROM %s WHERE id = $1', part) USING an_id();
            EXECUTE format('UPDATE %s SET trace_id = $1 WHERE id = $2', part) USING a_trace(), an_id();
            EXECUTE format('INSERT INTO %1$s SELECT e.* FROM random_writes.some_events(20) e, random_writes.parts p
                             WHERE p.part = $1 AND e."timestamp" >= p.low AND e."timestamp" < p.high ON CONFLICT DO NOTHING', part) USING part;
        END IF;
    ELSIF r < 0.87 THEN
        action := action || 'fold';
        PERFORM trace_ext.fold();
    ELSIF r < 0.88 THEN
        action := action || 'fold-some';
        PERFORM trace_ext_internal.fold_lock(true);
        PERFORM trace_ext_internal.fold_deltas(upto(10));
    ELSIF r < 0.89 THEN
        action := action || 'take-some-calls';
        PERFORM trace_ext_internal.fold_lock(true);
        PERFORM trace_ext_internal.take_some_calls(upto(3));
    ELSIF r < 0.895 THEN
        action := action || 'rebuild';
        PERFORM trace_ext.rebuild_summaries();
    ELSIF r < 0.905 THEN
        action := action || 'truncate';
        EXECUTE format('TRUNCATE %s', CASE WHEN random() < 0.7 THEN part ELSE 'trace_ext.events_default' END);
    ELSIF r < 0.91 THEN
        action := action || 'truncate-all';
        TRUNCATE trace_ext.events;
    ELSIF r < 0.93 THEN
        action := action || 'attach-or-detach';
        -- One that is out comes back more often than another one goes: drawn evenly, two
        -- or three were out most of the time, and some runs never had all filled at once.
        part := coalesce((SELECT p.part FROM random_writes.parts p
                           WHERE random() < 0.5 AND NOT is_attached(p.part) ORDER BY p.part LIMIT 1), part);
        IF is_attached(part) THEN
            EXECUTE format('ALTER TABLE trace_ext.events DETACH PARTITION %s', part);
        ELSE
            CALL attach(part);
        END IF;
    ELSIF r < 0.96 AND depth < 4 THEN
        action := action || '(';
        CALL steps_in_subtransaction(depth + 1, action);
    ELSIF r < 0.98 THEN
        action := action || 'fail-late';            -- after its rows were noted
        INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name)
        SELECT trace_id, id, "timestamp", 'Custom', CASE row_number() OVER () WHEN 3 THEN 'fail' END FROM some_events(4) ON CONFLICT DO NOTHING;
    ELSE
        action := action || 'folding-insert';
        SET trace_ext.fold_threshold = 1;
        INSERT INTO trace_ext.events SELECT * FROM some_events(upto(3)) ON CONFLICT DO NOTHING;
        SET trace_ext.fold_threshold = 0;
    END IF;
END $$;

CREATE FUNCTION fail_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE check_violation; END $$;
CREATE TRIGGER zz_fail_late AFTER INSERT ON events FOR EACH ROW WHEN (NEW.name = 'fail') EXECUTE FUNCTION fail_late();

-- Some steps that stay or are rolled back together; those that fail are rolled back alone.
CREATE PROCEDURE steps_in_subtransaction(depth int, INOUT action text) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. upto(4) LOOP
        BEGIN
            CALL step(depth, action);
        EXCEPTION WHEN unique_violation OR check_violation THEN
            action := action || ' failed';
        END;
    END LOOP;
    IF random() < 0.4 THEN
        RAISE EXCEPTION USING errcode = 'TE000';
    END IF;
    action := action || ')';
EXCEPTION WHEN SQLSTATE 'TE000' THEN
    action := action || ')rolled back';
END $$;

-- What a trace's summary lets a reader skip must hold no event of it.
CREATE FUNCTION missed_events() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT e::text FROM trace_ext.events e
    EXCEPT ALL
    SELECT e::text FROM generate_series(1, 8) t, trace_ext.trace_events(plain.id('a' || t), 10000) e
$$;

CREATE FUNCTION check_exact(seed text, step int, history text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found text := (SELECT string_agg(d::text, E'\n') FROM plain.differences() d);
BEGIN
    found := coalesce(found, (SELECT string_agg(m, E'\n') FROM missed_events() m));
    IF found IS NOT NULL THEN
        RAISE EXCEPTION E'not exact\ntest.seed=%, step %\nsince the last good one:%\n%', seed, step, history, found;
    END IF;
END $$;

-- All that data_version() is about and this test writes. (In SQL its plan would outlive a
-- change of partitions within a transaction.)
CREATE FUNCTION content() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN md5(concat((SELECT string_agg(e::text, E'\n' ORDER BY e::text) FROM trace_ext.events e),
                      (SELECT string_agg(e::text, E'\n' ORDER BY e::text) FROM trace_ext.ingest_errors e)));
END $$;
-- A version is of one content, whatever became of it since; returns the versions known.
-- Beside workers what is seen changes by itself, from one statement to the next.
CREATE FUNCTION alone() RETURNS boolean LANGUAGE sql AS $$
    SELECT current_setting('shared_preload_libraries') !~ 'trace_ext' OR NOT current_setting('trace_ext.workers')::boolean $$;
CREATE FUNCTION check_version(versions jsonb, seed text, step int, history text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    version constant text := trace_ext.data_version();
    content constant text := content();
BEGIN
    IF versions ->> version <> content AND alone() THEN
        RAISE EXCEPTION E'data_version() did not change with what it is of\ntest.seed=%, step %\nsince the last good one:%', seed, step, history;
    END IF;
    RETURN versions || jsonb_build_object(version, content);
END $$;

-- What is rare in a few hundred steps is not there in some of the runs.
CREATE FUNCTION never_done(actions text[]) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
    SELECT a
      FROM unnest(ARRAY['insert', 'insert-select', 'upsert', 'insert-strictly', 'ingest', 'ingest-jsonb', 'update-trace',
                        'update-time', 'update-rest', 'update-nothing', 'update-span', 'fold-some', 'take-some-calls', 'delete', 'delete-trace', 'merge', 'write-twice',
                        'partition-directly', 'fold', 'rebuild', 'truncate', 'truncate-all', 'attach-or-detach',
                        'failed', 'folding-insert']) a
     WHERE NOT EXISTS (SELECT FROM unnest(actions) done WHERE done IN (a, a || ')', a || ')rolled'))
$$;

-- Transactions of one to four steps, looked at from inside after one step in three, by
-- chance, and from outside after their end. Returns what was done, and how full it got: it goes
-- on until each action was done and all partitions were filled at once, which most runs reach in time.
CREATE PROCEDURE run(seed int, steps int, INOUT actions text[] = '{}', INOUT most_events int = 0, INOUT most_partitions int = 0, INOUT unmoved int = 0)
LANGUAGE plpgsql AS $$
DECLARE
    action text := '';
    history text := '';
    done int := 0;
    versions jsonb := '{}';
    before text;
    at_first text;
BEGIN
    PERFORM setseed(seed / 1e9);
    WHILE done < steps
          OR done < 30 * steps AND (most_events <= 50 OR most_partitions < 4 OR unmoved <= 10 OR EXISTS (SELECT FROM random_writes.never_done(actions))) LOOP
        at_first := trace_ext.data_version();
        FOR i IN 1 .. upto(4) LOOP
            before := trace_ext.data_version();
            CALL steps_in_subtransaction(1, action);
            history := history || action;
            -- What was rolled back, or only folded, leaves it as it was.
            IF action ~ '^[^)]*\)rolled back$' OR action ~ '^( (fold|fold-some|take-some-calls))+\)$' THEN
                IF trace_ext.data_version() <> before AND alone() THEN
                    RAISE EXCEPTION E'data_version() changed\ntest.seed=%, step %:%', seed, done, action;
                END IF;
                unmoved := unmoved + 1;
            END IF;
            versions := check_version(versions, seed::text, done, history);
            IF random() < 0.33 THEN
                PERFORM check_exact(seed::text, done, history);
                history := '';
            END IF;
            actions := (SELECT array_agg(DISTINCT a) FROM unnest(actions || string_to_array(trim(action), ' ')) a);
            SELECT greatest(most_events, count(*)), greatest(most_partitions, count(DISTINCT tableoid))
              INTO most_events, most_partitions FROM trace_ext.events;
            action := '';
            done := done + 1;
        END LOOP;
        IF random() < 0.15 THEN
            ROLLBACK;
            IF trace_ext.data_version() <> at_first AND alone() THEN
                RAISE EXCEPTION E'data_version() changed with what was rolled back\ntest.seed=%, step %:%', seed, done, history;
            END IF;
            PERFORM check_exact(seed::text, done, history || ' ROLLBACK');
        ELSE
            COMMIT;
            PERFORM check_exact(seed::text, done, history || ' COMMIT');
        END IF;
        history := '';
    END LOOP;
END $$;

CALL make_part('p3', '2001-02-03 00:00:00+00', '2001-02-04 00:00:00+00');
CALL make_part('p4', '2001-02-04 00:00:00+00', '2001-02-05 00:00:00+00');
CALL make_part('p5', '2001-02-05 00:30:00+00', '2001-02-05 06:30:00+00');      -- cuts hours

SELECT coalesce(current_setting('test.seed', true), floor(random() * 1e9)::text) AS seed,
       coalesce(current_setting('test.steps', true), '350') AS steps \gset
CALL run(:seed, :steps) \gset

-- It did what it was to do: each action at least once, and there was something to get wrong.
SELECT never_done(:'actions');
SELECT :most_events > 50 AS many_events, :most_partitions AS most_partitions, :unmoved > 10 AS version_stood;
SELECT * FROM plain.differences();
SELECT * FROM verify_summaries();

DROP SCHEMA random_writes, plain CASCADE;
SELECT * FROM verify_summaries();
TRUNCATE trace_ext.events;
