-- Small programs as text, for the tests of the race detector.
--
-- A line is an event:  label parent thread operation [name] [key=value ...]
-- or starts a trace:   trace NAME
-- parent is a label or -; thread is T, service/instance/T or service/instance/process/T.
-- Events are a millisecond apart, unless at=MS says when. Operations:
--   r w ar aw rmw X      access of X; old= new= order= locks=a,b loc=
--   acq rel L            lock; type=
--   spawn await TASK     fence ORDERING     call NAME     error NAME
--   req "METHOD_url"     resp STATUS        do ANYTHING
-- span= up= task= clock={...} parent_id=UUID say the rest.
-- Other tests left theirs.
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;

CREATE TEMP TABLE program_events (run int, label text, trace text, trace_id uuid, id uuid);
CREATE TEMP SEQUENCE program_run;

CREATE FUNCTION pg_temp.option_of(line text, key text) RETURNS text LANGUAGE sql AS
$$ SELECT (regexp_match(line, '(?:^| )' || key || '=(\S+)'))[1] $$;

CREATE FUNCTION pg_temp.attributes_of(op text, name text, line text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_strip_nulls(CASE
        WHEN op IN ('r', 'w', 'ar', 'aw', 'rmw') THEN jsonb_build_object(
            'access_type', CASE op WHEN 'r' THEN 'Read' WHEN 'w' THEN 'Write' WHEN 'ar' THEN 'AtomicRead'
                                   WHEN 'aw' THEN 'AtomicWrite' ELSE 'AtomicRMW' END,
            'old_value', pg_temp.option_of(line, 'old')::jsonb,
            'new_value', pg_temp.option_of(line, 'new')::jsonb,
            'ordering', pg_temp.option_of(line, 'order'),
            'location', coalesce(pg_temp.option_of(line, 'loc'), 'app.py:' || split_part(line, ' ', 1)))
        WHEN op IN ('acq', 'rel') THEN jsonb_build_object('lock_id', name, 'lock_type', pg_temp.option_of(line, 'type'))
        WHEN op = 'resp' THEN jsonb_build_object('status', name::int)
        WHEN op = 'call' THEN jsonb_build_object('function_name', name, 'file', 'app.py', 'line', 7)
        ELSE '{}' END) $$;

CREATE FUNCTION pg_temp.load_program(program text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    this int := nextval('pg_temp.program_run');
    base timestamptz := '2030-01-01 00:00+00'::timestamptz + this * interval '1 day';
    trace text := 'A';
    line text;
    f text[];
    who text[];
    ms int := 0;
BEGIN
    CREATE TEMP TABLE IF NOT EXISTS program_rows (LIKE trace_ext.events);
    TRUNCATE program_rows;
    FOREACH line IN ARRAY regexp_split_to_array(program, '\s*\n\s*') LOOP
        CONTINUE WHEN line = '';
        f := string_to_array(line, ' ');
        IF f[1] = 'trace' THEN
            trace := f[2];
            CONTINUE;
        END IF;
        ms := coalesce(pg_temp.option_of(line, 'at')::int, ms + 1);
        who := string_to_array(f[3], '/');
        who := CASE cardinality(who) WHEN 1 THEN ARRAY['svc', 'i1', '1'] || who
                                     WHEN 3 THEN who[1:2] || '1'::text || who[3] ELSE who END;
        INSERT INTO program_events VALUES (this, f[1], trace, md5(this || trace)::uuid, md5(this || trace || f[1])::uuid);
        INSERT INTO program_rows (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id,
                                  thread_id, span_id, upstream_span_id, attributes, tags, causality_vector, lock_set)
        SELECT md5(this || trace)::uuid, md5(this || trace || f[1])::uuid,
               coalesce(pg_temp.option_of(line, 'parent_id')::uuid,
                        CASE WHEN f[2] <> '-' THEN md5(this || trace || f[2])::uuid END),
               base + ms * interval '1 ms',
               (CASE f[4] WHEN 'acq' THEN 'LockAcquire' WHEN 'rel' THEN 'LockRelease' WHEN 'spawn' THEN 'AsyncSpawn'
                          WHEN 'await' THEN 'AsyncAwait' WHEN 'fence' THEN 'MemoryFence' WHEN 'call' THEN 'FunctionCall'
                          WHEN 'error' THEN 'Error' WHEN 'req' THEN 'HttpRequest' WHEN 'resp' THEN 'HttpResponse'
                          WHEN 'do' THEN 'Custom' ELSE 'StateChange' END)::trace_ext.event_kind,
               replace(f[5], '_', ' '), who[1], who[2], who[3]::int, who[4],
               pg_temp.option_of(line, 'span'), pg_temp.option_of(line, 'up'),
               pg_temp.attributes_of(f[4], f[5], line),
               jsonb_strip_nulls(jsonb_build_object('task_id', pg_temp.option_of(line, 'task'))),
               pg_temp.option_of(line, 'clock')::jsonb::trace_ext.vclock,
               string_to_array(pg_temp.option_of(line, 'locks'), ',');
    END LOOP;
    -- The order of arrival must not matter.
    INSERT INTO trace_ext.events SELECT * FROM program_rows ORDER BY md5(id::text);
    RETURN this;
END $$;

-- The racing pairs of a program, as labels, earlier first.
CREATE FUNCTION pg_temp.races_of(program text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    this int := pg_temp.load_program(program);
BEGIN
    RETURN coalesce((
        SELECT string_agg(DISTINCT a.label || '-' || b.label, ' ')
          FROM (SELECT DISTINCT trace_id FROM program_events WHERE run = this) t,
               trace_ext.find_races(t.trace_id) r
          JOIN program_events a ON a.run = this AND a.id = r.event1_id
          JOIN program_events b ON b.run = this AND b.id = r.event2_id), 'none');
END $$;

-- The same with kind, severity and confidence, a line a pair.
CREATE FUNCTION pg_temp.kinds_of(program text)
    RETURNS TABLE (pair text, kind text, severity text, confidence float8, evidence text) LANGUAGE plpgsql AS $$
DECLARE
    this int := pg_temp.load_program(program);
BEGIN
    RETURN QUERY
        SELECT DISTINCT a.label || '-' || b.label, r.kind, r.severity, r.confidence,
               regexp_replace(r.evidence, 'trace [0-9a-f]{8}', 'trace ########', 'g')
          FROM (SELECT DISTINCT trace_id FROM program_events WHERE run = this) t,
               trace_ext.find_races(t.trace_id) r
          JOIN program_events a ON a.run = this AND a.id = r.event1_id
          JOIN program_events b ON b.run = this AND b.id = r.event2_id
         ORDER BY 1, 2;
END $$;
