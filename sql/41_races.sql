-- Who raced: accesses of one variable that nothing orders.

-- What ran at a time can order what else ran then, though it touches none of the
-- same variables: by locks that it took from one and handed to another, say.
CREATE FUNCTION trace_ext_internal.traces_between(from_time timestamptz, to_time timestamptz)
    RETURNS TABLE (trace_id uuid, first_timestamp timestamptz, last_timestamp timestamptz,
    event_count bigint, access_count bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    WITH span AS MATERIALIZED (
        SELECT trace_ext_internal.shifted(from_time, -skew) AS from_time, trace_ext_internal.shifted(to_time, skew) AS to_time,
               trace_ext_internal.shifted(to_time, skew + horizon) AS last_end
          FROM (SELECT current_setting('trace_ext.clock_skew')::interval AS skew,
                       current_setting('trace_ext.horizon')::interval AS horizon) s
    ), deltas AS MATERIALIZED (
        SELECT * FROM trace_ext_internal.outstanding_deltas()
    )
    SELECT b.trace_id, b.first_timestamp, b.last_timestamp, b.event_count, b.access_count
      FROM trace_ext.summary_base b
     WHERE b.last_timestamp >= (SELECT s.from_time FROM span s)
       AND b.last_timestamp <= (SELECT s.last_end FROM span s)
       AND b.first_timestamp <= (SELECT s.to_time FROM span s)
       AND NOT EXISTS (SELECT FROM deltas d WHERE d.trace_id = b.trace_id)
    UNION ALL
    -- One that lost events is taken to be as long as it was: too much is no harm.
    SELECT m.trace_id, m.first_timestamp, m.last_timestamp, m.event_count, m.access_count
      FROM (SELECT p.trace_id, min(p.first_timestamp) AS first_timestamp, max(p.last_timestamp) AS last_timestamp,
                   sum(p.event_count)::bigint AS event_count, sum(p.access_count)::bigint AS access_count
              FROM (SELECT d.trace_id, d.first_timestamp, d.last_timestamp, d.event_count, d.access_count FROM deltas d
                    UNION ALL
                    SELECT b.trace_id, b.first_timestamp, b.last_timestamp, b.event_count, b.access_count
                      FROM trace_ext.summary_base b
                     WHERE b.trace_id IN (SELECT d.trace_id FROM deltas d)) AS p
             GROUP BY p.trace_id) AS m, span s
     WHERE m.last_timestamp BETWEEN s.from_time AND s.last_end AND m.first_timestamp <= s.to_time AND m.event_count > 0;
    END;
COMMENT ON FUNCTION trace_ext_internal.traces_between(timestamptz, timestamptz) IS
    'traces that ran within a time, give or take trace_ext.clock_skew, and ended no later than trace_ext.horizon after it';

CREATE FUNCTION trace_ext_internal.traces_that_order(ids uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    few uuid[];
    low timestamptz;
    high timestamptz;
BEGIN
    FOR few, low, high IN SELECT n.few, n.low, n.high FROM trace_ext_internal.neighbours(ids, 250) n LOOP
        RETURN QUERY EXECUTE $q$
            SELECT trace_id FROM trace_ext.events
             WHERE trace_id = ANY ($1) AND "timestamp" >= $2 AND "timestamp" <= $3
             GROUP BY trace_id
            HAVING bool_or(kind IN ('LockAcquire', 'LockRelease'))
                -- A message from another trace; or a thread that hands over to another one.
                OR bool_or(upstream_span_id IS NOT NULL AND (parent_id IS NULL OR parent_id = id))
                OR min(thread_id COLLATE "C") <> max(thread_id COLLATE "C")
            $q$ USING few, low, high;
    END LOOP;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.traces_that_order(uuid[]) IS
    'those of some traces without accesses that can order what other traces did';

CREATE FUNCTION trace_ext_internal.ordering_traces(from_time timestamptz, to_time timestamptz, most_events bigint) RETURNS uuid[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    with_accesses uuid[];
    without uuid[];
    events bigint;
BEGIN
    SELECT coalesce(array_agg(t.trace_id) FILTER (WHERE t.access_count > 0), '{}'),
           coalesce(array_agg(t.trace_id) FILTER (WHERE t.access_count = 0), '{}'),
           sum(t.event_count)
      INTO with_accesses, without, events
      FROM trace_ext_internal.traces_between(from_time, to_time) t;
    IF events > most_events THEN
        RETURN NULL;
    END IF;
    RETURN with_accesses || ARRAY(SELECT trace_ext_internal.traces_that_order(without));
END
$$;
COMMENT ON FUNCTION trace_ext_internal.ordering_traces(timestamptz, timestamptz, bigint) IS
    'traces that ran within a time and can order what happened then; NULL if they have more events than may be read';

CREATE TYPE race AS (
    kind text, variable text, severity text, confidence double precision,
    event1_id uuid, event1_trace_id uuid, event1_timestamp timestamptz, event1_thread_id text,
    event1_access access_type, event1_value jsonb, event1_location text,
    event2_id uuid, event2_trace_id uuid, event2_timestamp timestamptz, event2_thread_id text,
    event2_access access_type, event2_value jsonb, event2_location text,
    evidence text,
    event1_access_type access_type, event1_new_value jsonb, event2_access_type access_type, event2_new_value jsonb);
COMMENT ON TYPE race IS
    'two accesses that race, the earlier first: kind, severity (CRITICAL, WARNING, INFO), confidence from 0 to 1 (1: values prove it), evidence as a sentence; '
    'event1_access and event1_access_type are the same, as are event1_value and event1_new_value';

CREATE FUNCTION find_races(trace_id uuid, max_pairs bigint = 1000) RETURNS SETOF race
    LANGUAGE c STABLE ROWS 20 AS 'MODULE_PATHNAME', 'tex_find_races';
COMMENT ON FUNCTION find_races(uuid, bigint) IS
    'races within a trace, and between it and traces that overlapped it: one row a pair, worst and surest first, the earlier event of each first; '
    'shows at most max_pairs and says in a NOTICE how many there are; no rows, and a NOTICE, for a trace that is not stored';

-- For drivers that send every string as text or varchar.
CREATE FUNCTION find_races(trace_id text, max_pairs bigint = 1000) RETURNS SETOF race
    LANGUAGE sql STABLE ROWS 20
    BEGIN ATOMIC
    SELECT * FROM trace_ext.find_races($1::uuid, $2);
    END;
COMMENT ON FUNCTION find_races(text, bigint) IS 'the same, with the id as text';

CREATE FUNCTION find_variable_races(variable text, since timestamptz = NULL, max_pairs bigint = 1000) RETURNS SETOF race
    LANGUAGE c STABLE ROWS 20 AS 'MODULE_PATHNAME', 'tex_cached_find_variable_races';
COMMENT ON FUNCTION find_variable_races(text, timestamptz, bigint) IS
    'races on a variable, within and across all traces that accessed it at or after since (NULL: ever): one row a pair, worst and surest first, the earlier event of each first; '
    'shows at most max_pairs and says in a NOTICE how many there are; no rows, and a NOTICE, for a variable that nothing accessed';

CREATE FUNCTION count_races(trace_id uuid) RETURNS bigint
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_count_races';
COMMENT ON FUNCTION count_races(uuid) IS
    'exact number of pairs that find_races() would return without max_pairs';

CREATE FUNCTION count_races(trace_id text) RETURNS bigint
    LANGUAGE sql STABLE STRICT
    BEGIN ATOMIC
    SELECT trace_ext.count_races($1::uuid);
    END;
COMMENT ON FUNCTION count_races(text) IS 'the same, with the id as text';

CREATE FUNCTION count_variable_races(variable text, since timestamptz = NULL) RETURNS bigint
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_count_variable_races';
COMMENT ON FUNCTION count_variable_races(text, timestamptz) IS
    'exact number of pairs that find_variable_races() would return without max_pairs';
