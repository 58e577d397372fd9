-- incident(): one finding as a page that can be printed.

CREATE FUNCTION trace_ext_internal.finding_named(id text) RETURNS uuid
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found uuid[];
BEGIN
    IF id !~ '^[0-9a-fA-F]{4,8}$' THEN
        RETURN id::uuid;
    END IF;
    found := ARRAY(SELECT f.id FROM trace_ext.findings f
                    WHERE f.id BETWEEN rpad(finding_named.id, 32, '0')::uuid AND rpad(finding_named.id, 32, 'f')::uuid ORDER BY f.id LIMIT 2);
    IF cardinality(found) <> 1 THEN
        RAISE EXCEPTION '% finding has an id that begins with "%"', CASE cardinality(found) WHEN 0 THEN 'no' ELSE 'more than one' END, id
              USING ERRCODE = 'invalid_parameter_value', HINT = 'See races() or global_races() for those that are stored.';
    END IF;
    RETURN found[1];
END
$$;
COMMENT ON FUNCTION trace_ext_internal.finding_named(text) IS 'a finding by its id, or by the first 4 to 8 digits of it, as they are shown';

CREATE FUNCTION trace_ext_internal.cure_text(kind text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE kind
        WHEN 'lost update' THEN 'Hold one lock from the read to the write. In SQL: change the value where it is (UPDATE ... SET balance = balance - 150), read it with SELECT ... FOR UPDATE, or let the write check that what was read is still there, and try again if not.'
        WHEN 'write-write' THEN 'Put both writes under one lock, or let one wait for the other by an await or a message. That the last one wins is right only where both write the same.'
        WHEN 'read-write' THEN 'Read under the lock under which it is written, or wait for what writes it. Where an old value is good enough, say so: set_finding_status(id, ''ignored'').'
        WHEN 'non-repeatable read' THEN 'Read it once and keep the value, or hold a lock (in SQL: REPEATABLE READ) from the first read to the last.'
        WHEN 'intermediate read' THEN 'Let others see only the last of the writes: compute the value first and write it once, or hold one lock around all the writes and around the read.'
        WHEN 'own write overwritten' THEN 'Keep the value that was written instead of reading it again, or hold a lock from the write to the last read.'
        WHEN 'aborted read' THEN 'Write only what will stay: hold the lock until the work can no longer fail, or undo it under the same lock before anyone reads.'
        WHEN 'check-then-act' THEN 'Make check and act one step: one lock around both, or in SQL SELECT ... FOR UPDATE, INSERT ... ON CONFLICT, a constraint, an UPDATE whose WHERE has the check, or SERIALIZABLE with retry.'
        WHEN 'write skew' THEN 'Let the two see each other: read with SELECT ... FOR UPDATE all that the decision goes by, or use SERIALIZABLE in both transactions and try again when one fails, or have a constraint, or one row that both update, forbid what must not come of it.'
        WHEN 'potential race' THEN 'A lock happened to order the two in this run and need not the next time. Put both under the same lock.'
        WHEN 'lock order' THEN 'Take these locks in one order everywhere. Where that cannot be, take the second one only if it is free, else give the first one back and try again.'
        ELSE 'Put both accesses under one lock, or let one wait for the other.' END;
COMMENT ON FUNCTION trace_ext_internal.cure_text(text) IS 'what to do about a kind of finding';

-- One access as a cell of a lane: "write 850  app.js:38".
CREATE FUNCTION trace_ext_internal.access_text(access trace_ext.access_type, old_value jsonb, value jsonb, location text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN format('%s %s  %s',
                  CASE access::text WHEN 'Read' THEN 'read' WHEN 'Write' THEN 'write' WHEN 'AtomicRead' THEN 'atomic read' WHEN 'AtomicWrite' THEN 'atomic write' ELSE 'atomic update' END,
                  rtrim(trace_ext_internal.cell(coalesce(value::text, '?'), 14)), coalesce(trace_ext_internal.place_text(location), ''));
COMMENT ON FUNCTION trace_ext_internal.access_text(access_type, jsonb, jsonb, text) IS 'an access in a lane of incident()';

-- The accesses of the variable by both sides, around the two that race, in two lanes.
-- Sides are traces, or within one trace threads.
CREATE FUNCTION trace_ext_internal.incident_lanes(f trace_ext.findings) RETURNS SETOF text
    LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    from_time timestamptz;
    to_time timestamptz;
BEGIN
    SELECT min(t.first_timestamp), max(t.last_timestamp) INTO from_time, to_time
      FROM trace_ext.trace_summaries t WHERE t.trace_id = ANY (ARRAY[f.event1_trace_id, f.event2_trace_id]);
    IF from_time IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE $q$
    WITH access AS MATERIALIZED (
        SELECT x.*, row_number() OVER (ORDER BY x."timestamp", x.trace_id, x.event_id) AS n FROM (
            SELECT * FROM trace_ext.cross_trace_index x
             WHERE x.variable = $1 AND x.trace_id = ANY (ARRAY[$2, $4]) AND x."timestamp" BETWEEN $6 AND $7
             ORDER BY x."timestamp" LIMIT 10000) AS x
    ), pair AS (
        SELECT a.n AS n1, b.n AS n2, a."timestamp" AS began, a.thread_id AS thread1, b.thread_id AS thread2 FROM access a, access b WHERE a.event_id = $3 AND a.trace_id = $2 AND b.event_id = $5 AND b.trace_id = $4
    ), chosen AS (
        SELECT a.*, p.n1, p.n2, CASE WHEN CASE WHEN $2 = $4 THEN a.thread_id IS NOT DISTINCT FROM p.thread1 ELSE a.trace_id = $2 END THEN 1
                                     WHEN CASE WHEN $2 = $4 THEN a.thread_id IS NOT DISTINCT FROM p.thread2 ELSE a.trace_id = $4 END THEN 2 END AS lane,
               least(p.n1, p.n2) AS first, greatest(p.n1, p.n2) AS last
          FROM access a, pair p
    ), shown AS (
        SELECT c.*, count(*) OVER () AS all_shown, row_number() OVER (ORDER BY c.n) AS place, min(c."timestamp") OVER () AS zero
          FROM chosen c WHERE c.lane IS NOT NULL AND c.n BETWEEN c.first - 4 AND c.last + 3
    )
    SELECT l.line FROM (
        SELECT 0::bigint AS place, rtrim('  ' || trace_ext_internal.cell('', 12) || trace_ext_internal.cell(CASE WHEN $2 = $4 THEN '1: thread ' || coalesce(p.thread1, '?') ELSE '1: trace ' || left($2::text, 8) END, 32)
                             || trace_ext_internal.cell(CASE WHEN $2 = $4 THEN '2: thread ' || coalesce(p.thread2, '?') ELSE '2: trace ' || left($4::text, 8) END, 32)) AS line FROM pair p
        UNION ALL
        SELECT s.place, rtrim('  ' || rpad('+' || round(extract(epoch FROM s."timestamp" - s.zero) * 1000, 2) || ' ms', 12) || CASE s.lane WHEN 2 THEN trace_ext_internal.cell('', 32) ELSE '' END
                              || CASE WHEN s.place = 10 AND s.all_shown > 18 THEN format('... %s more ...', s.all_shown - 17)
                                      ELSE CASE WHEN s.n IN (s.n1, s.n2) THEN '! ' ELSE '  ' END || trace_ext_internal.cell(trace_ext_internal.access_text(s.access_type, s.old_value, s.value, s.location), 30) END)
          FROM shown s WHERE s.all_shown <= 18 OR s.place <= 10 OR s.place > s.all_shown - 8) AS l
     ORDER BY l.place
    $q$ USING f.variable, f.event1_trace_id, f.event1_id, f.event2_trace_id, f.event2_id, from_time, to_time;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.incident_lanes(findings) IS 'the accesses around those that race, in the order of their clocks, in two lanes';

CREATE FUNCTION incident(finding_id uuid) RETURNS SETOF text
    LANGUAGE plpgsql STABLE ROWS 40 SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    f trace_ext.findings;
    lanes text[];
    side record;
BEGIN
    IF incident.finding_id IS NULL THEN
        RETURN;
    END IF;
    SELECT * INTO f FROM trace_ext.findings WHERE id = incident.finding_id;
    IF NOT FOUND THEN
        RAISE NOTICE 'no finding % is stored', incident.finding_id USING HINT = 'See races() or global_races() for those that are.';
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM trace_ext_internal.wrap(format('%s of %s', upper(f.kind), f.variable), 78);
    RETURN NEXT format('finding %s  %s, %s  %s', left(f.id::text, 8), f.severity,
                       CASE WHEN f.confirmed THEN 'proved by the values' ELSE 'confidence ' || trace_ext_internal.percent_text(f.confidence) END, f.status);
    RETURN NEXT concat_ws(', ', CASE f.occurrences WHEN 0 THEN 'seen no more: later events showed that it was none' WHEN 1 THEN 'seen once' ELSE 'seen ' || f.occurrences || ' times' END,
                          CASE WHEN f.first_seen = f.last_seen THEN to_char(f.last_seen, 'YYYY-MM-DD HH24:MI:SS.MS TZ')
                               ELSE 'from ' || to_char(f.first_seen, 'YYYY-MM-DD HH24:MI:SS.MS') || ' to ' || to_char(f.last_seen, 'YYYY-MM-DD HH24:MI:SS.MS TZ') END);

    RETURN NEXT '';
    RETURN NEXT 'what happened';
    RETURN QUERY SELECT '  ' || w FROM trace_ext_internal.wrap(coalesce(f.evidence, 'no sentence about it is kept'), 76) AS w;

    RETURN NEXT '';
    RETURN NEXT 'who';
    FOR side IN SELECT u.n, u.trace_id, u.location, t.root_service, t.root_name, t.started_at, t.duration_ms
                  FROM (VALUES (1, f.event1_trace_id, f.location1), (2, f.event2_trace_id, f.location2)) AS u (n, trace_id, location)
                  LEFT JOIN trace_ext.trace_summaries t ON t.trace_id = u.trace_id
                 WHERE u.trace_id IS NOT NULL AND (u.n = 1 OR f.event1_trace_id IS DISTINCT FROM f.event2_trace_id) ORDER BY u.n LOOP
        RETURN NEXT rtrim('  ' || trace_ext_internal.cell(format('%s: trace %s  %s  %s', side.n, left(side.trace_id::text, 8), coalesce(side.root_service, ''), coalesce(side.root_name, '')), 76));
        RETURN NEXT CASE WHEN side.started_at IS NULL THEN '     has left the store'
                         ELSE format('     %s, took %s', to_char(side.started_at, 'YYYY-MM-DD HH24:MI:SS.MS TZ'), trace_ext_internal.duration_text(side.duration_ms)) END;
    END LOOP;
    IF f.event1_trace_id IS NULL AND f.event2_trace_id IS NULL THEN
        RETURN NEXT '  not known';
    END IF;

    lanes := ARRAY(SELECT * FROM trace_ext_internal.incident_lanes(f));
    IF cardinality(lanes) > 0 THEN
        RETURN NEXT '';
        RETURN NEXT 'the values, by the clocks of the clients (! race with each other)';
        RETURN QUERY SELECT u FROM unnest(lanes) AS u;
    END IF;

    RETURN NEXT '';
    RETURN NEXT 'where in the code';
    RETURN QUERY SELECT '  ' || w FROM (SELECT DISTINCT u.location, min(u.n) OVER (PARTITION BY u.location) AS n FROM (VALUES (1, f.location1), (2, f.location2)) AS u (n, location)) AS l,
                        trace_ext_internal.wrap(coalesce(l.location, 'the client does not say'), 76) WITH ORDINALITY AS v (w, m) ORDER BY l.n, v.m;

    RETURN NEXT '';
    RETURN NEXT 'the cure';
    RETURN QUERY SELECT '  ' || w FROM trace_ext_internal.wrap(trace_ext_internal.cure_text(f.kind), 76) AS w;

    RETURN NEXT '';
    RETURN NEXT 'more';
    RETURN QUERY SELECT format('  SELECT * FROM trace_ext.waterfall(%L);', left(t.id::text, 8))
                   FROM (SELECT DISTINCT u.id, min(u.n) AS n FROM unnest(ARRAY[f.event1_trace_id, f.event2_trace_id]) WITH ORDINALITY AS u (id, n) WHERE u.id IS NOT NULL GROUP BY u.id) AS t ORDER BY t.n;
    RETURN NEXT '  SELECT trace_ext.set_finding_status(';
    RETURN NEXT format('    %L, ''acknowledged'');', f.id);
END
$$;
COMMENT ON FUNCTION incident(uuid) IS
    'one finding as a page to print or to send: what happened, who and when, the values that both sides read and wrote, the places in the code, and the cure. 78 columns. No rows, and a NOTICE, for a finding that is not stored';

CREATE FUNCTION incident(finding_id text) RETURNS SETOF text
    LANGUAGE sql STABLE ROWS 40
    BEGIN ATOMIC
    SELECT * FROM trace_ext.incident(trace_ext_internal.finding_named($1));
    END;
COMMENT ON FUNCTION incident(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';
