-- Races over nodes: the store's detector reads events through foreign tables. Which
-- traces changed, the nodes say: their own detection rests. summary_base, which has no
-- rows on a router, holds what a step needs to know of traces while it runs.

--
-- Traces of a time, for who reads
--

CREATE OR REPLACE FUNCTION trace_ext_internal.traces_between(from_time timestamptz, to_time timestamptz)
    RETURNS TABLE (trace_id uuid, first_timestamp timestamptz, last_timestamp timestamptz,
    event_count bigint, access_count bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    skew constant interval := current_setting('trace_ext.clock_skew')::interval;
    horizon constant interval := current_setting('trace_ext.horizon')::interval;
BEGIN
    -- Bounds are constants, which are sent.
    RETURN QUERY EXECUTE $q$
    SELECT s.trace_id, min(s.first_timestamp), max(s.last_timestamp), sum(s.event_count)::bigint, sum(s.access_count)::bigint
      FROM trace_ext_internal.all_trace_summaries s
     WHERE s.last_timestamp >= $1 AND s.last_timestamp <= $2 AND s.first_timestamp <= $3
     GROUP BY s.trace_id
    $q$ USING trace_ext_internal.shifted(from_time, - skew), trace_ext_internal.shifted(to_time, skew + horizon), trace_ext_internal.shifted(to_time, skew);
END
$$;

--
-- What a step knows of traces
--

CREATE FUNCTION trace_ext_internal.load_summaries(ids uuid[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET trace_ext.node_down = 'error'
    AS $$
DECLARE
    unknown constant uuid[] := ARRAY(SELECT DISTINCT u.id FROM unnest(ids) AS u (id) WHERE u.id IS NOT NULL
                                        AND NOT EXISTS (SELECT FROM ONLY trace_ext.summary_base b WHERE b.trace_id = u.id));
BEGIN
    IF unknown = '{}' THEN
        RETURN;
    END IF;
    INSERT INTO trace_ext.summary_base (trace_id, event_count, error_count, access_count, first_timestamp, last_timestamp, started_at, ended_at, services)
    SELECT (r.a[1])::uuid, sum(r.a[2]::bigint), 0, sum(r.a[3]::bigint), min(r.a[4]::timestamptz), max(r.a[5]::timestamptz),
           min(r.a[6]::timestamptz), max(r.a[7]::timestamptz), '{}'
      FROM (SELECT string_to_array(q.answer, ',') AS a
              FROM trace_ext_internal.ask_about('SELECT concat_ws('','', s.trace_id, s.event_count, s.access_count, s.first_timestamp, s.last_timestamp, s.started_at, s.ended_at) '
                                                'FROM trace_ext.summary_base s WHERE s.trace_id = ANY ($1)', unknown) q OFFSET 0) AS r
     GROUP BY r.a[1];
END
$$;
COMMENT ON FUNCTION trace_ext_internal.load_summaries(uuid[]) IS 'brings what the nodes know of some traces, as of their last fold, into summary_base, where it is until the next step';

CREATE OR REPLACE FUNCTION trace_ext_internal.traces_within(from_times timestamptz[], to_times timestamptz[])
    RETURNS TABLE (trace_id uuid, started_at timestamptz, ended_at timestamptz, event_count bigint, access_count bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET datestyle = 'ISO, MDY'
    AS $$
#variable_conflict use_column
DECLARE
    skew constant interval := current_setting('trace_ext.clock_skew')::interval;
    froms constant timestamptz[] := ARRAY(SELECT trace_ext_internal.shifted(u.f, - skew) FROM unnest(from_times) WITH ORDINALITY AS u (f, n) ORDER BY u.n);
    tos constant timestamptz[] := ARRAY(SELECT trace_ext_internal.shifted(u.t, skew) FROM unnest(to_times) WITH ORDINALITY AS u (t, n) ORDER BY u.n);
    ids uuid[];
BEGIN
    -- Each node adds its own clock_skew, so it may name more: what is here decides.
    ids := ARRAY(SELECT a.answer::uuid FROM trace_ext_internal.ask_nodes(format(
                 'SELECT w.trace_id::text FROM trace_ext_internal.traces_within(%L::timestamptz[], %L::timestamptz[]) w', froms, tos)) a);
    PERFORM trace_ext_internal.load_summaries(ids);
    RETURN QUERY
    SELECT b.trace_id, b.started_at, b.ended_at, b.event_count, b.access_count FROM ONLY trace_ext.summary_base b
     WHERE b.trace_id = ANY (ids) AND EXISTS (SELECT FROM unnest(froms, tos) AS r (f, t) WHERE b.started_at <= r.t AND b.ended_at >= r.f);
END
$$;
-- The base's indexes serve lists and long traces of millions: here they would only cost.
DROP INDEX trace_ext.summary_base_duration_idx, trace_ext.summary_base_errors_idx, trace_ext.summary_base_long_idx, trace_ext.summary_base_name_idx,
    trace_ext.summary_base_newest_idx;

-- What calls it sees what it brought.
ALTER FUNCTION trace_ext_internal.traces_to_compare(timestamptz[], timestamptz[], uuid[], uuid[]) VOLATILE;
ALTER FUNCTION trace_ext_internal.rivals_of(uuid[], timestamptz, timestamptz, bigint) VOLATILE;

-- A parent that is nowhere is not on the node of its child either: each node names its traces, and only theirs
-- are read here.
ALTER FUNCTION trace_ext_internal.traces_that_miss_a_parent(uuid[]) RENAME TO known_to_miss_a_parent;
CREATE FUNCTION trace_ext_internal.traces_that_miss_a_parent(ids uuid[]) RETURNS uuid[]
    LANGUAGE sql VOLATILE STRICT
    BEGIN ATOMIC
    SELECT trace_ext_internal.known_to_miss_a_parent(ARRAY(
           SELECT DISTINCT a.answer::uuid
             FROM trace_ext_internal.ask_about('SELECT unnest(trace_ext_internal.traces_that_miss_a_parent($1))::text', ids) a));
    END;
COMMENT ON FUNCTION trace_ext_internal.traces_that_miss_a_parent(uuid[]) IS 'as known_to_miss_a_parent(), of those traces of which a node says so';

ALTER FUNCTION trace_ext_internal.first_queued(timestamptz, int) RENAME TO first_known_queued;
CREATE FUNCTION trace_ext_internal.first_queued(until timestamptz, most int) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    ids constant uuid[] := trace_ext_internal.first_known_queued(until, most);
BEGIN
    -- A step begins: the last one's are old.
    DELETE FROM ONLY trace_ext.summary_base;
    PERFORM trace_ext_internal.load_summaries(ids);
    RETURN ids;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.first_queued(timestamptz, int) IS 'as first_known_queued(), and the nodes say what they know of these traces';

ALTER FUNCTION trace_ext_internal.examine_traces(uuid[], uuid[], uuid[], boolean) RENAME TO examine_known_traces;
CREATE FUNCTION trace_ext_internal.examine_traces(home uuid[], rivals uuid[], others uuid[] = '{}', all_rivals boolean = true) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
BEGIN
    -- Whether the other traces of their pairs are still stored.
    PERFORM trace_ext_internal.load_summaries(ARRAY(
        SELECT p.trace2 FROM trace_ext.race_pairs p WHERE p.trace1 = ANY (home) UNION SELECT p.trace1 FROM trace_ext.race_pairs p WHERE p.trace2 = ANY (home)));
    RETURN trace_ext_internal.examine_known_traces(home, rivals, others, all_rivals);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.examine_traces(uuid[], uuid[], uuid[], boolean) IS 'as examine_known_traces(), once it is known which traces of pairs are stored';

ALTER FUNCTION trace_ext_internal.refresh_findings(uuid[], uuid[]) RENAME TO refresh_known_findings;
CREATE FUNCTION trace_ext_internal.refresh_findings(ids uuid[], looked_at uuid[] = '{}') RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
BEGIN
    PERFORM trace_ext_internal.load_summaries(ARRAY(
        SELECT t.id FROM unnest(ids) AS u (id),
               LATERAL (SELECT p.trace1, p.trace2, p.evidence FROM trace_ext.race_pairs p WHERE p.finding_id = u.id AND p.trace1 IS NOT NULL
                         ORDER BY p.confidence DESC, p.event1_at, p.event1_trace_id, p.event1_id, p.event2_trace_id, p.event2_id LIMIT 1) AS b,
               LATERAL (VALUES (b.trace1), (b.trace2)) AS t (id)
         WHERE b.evidence IS NULL));
    PERFORM trace_ext_internal.refresh_known_findings(ids, looked_at);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.refresh_findings(uuid[], uuid[]) IS 'as refresh_known_findings(), once it is known whether the traces of their samples are stored';

ALTER FUNCTION trace_ext_internal.sweep_race_pairs(int) RENAME TO sweep_known_pairs;
CREATE FUNCTION trace_ext_internal.sweep_race_pairs(most int) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
BEGIN
    PERFORM trace_ext_internal.load_summaries(ARRAY(
        SELECT t.id FROM (SELECT p.trace1, p.trace2 FROM trace_ext.race_pairs p WHERE p.trace1 > (SELECT d.swept FROM trace_ext.detect_state d)
                           ORDER BY p.trace1 LIMIT most + 1000) AS n, LATERAL (VALUES (n.trace1), (n.trace2)) AS t (id)));
    PERFORM trace_ext_internal.sweep_known_pairs(most);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.sweep_race_pairs(int) IS 'as sweep_known_pairs(), once it is known which traces are stored';

--
-- What changed
--

-- Of what was read, the nodes are told in a later transaction: where one of them commits and
-- the router does not, a trace is looked at twice, and none is forgotten.
CREATE TABLE trace_ext_internal.shard_queue_read (
    node       text        NOT NULL,
    trace_id   uuid        NOT NULL,
    queued_at  timestamptz NOT NULL
);
COMMENT ON TABLE trace_ext_internal.shard_queue_read IS 'rows of the queues of nodes that are in the router''s own, and still in theirs';
COMMENT ON COLUMN trace_ext_internal.shard_queue_read.node IS 'the node';
COMMENT ON COLUMN trace_ext_internal.shard_queue_read.trace_id IS 'the trace';
COMMENT ON COLUMN trace_ext_internal.shard_queue_read.queued_at IS 'since when it is in the queue of the node';

CREATE FUNCTION trace_ext_internal.read_queues() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, MDY' SET trace_ext.node_down = 'error'
    AS $$
DECLARE
    most constant int := 20000;
    rows bigint;
BEGIN
    PERFORM FROM trace_ext.detect_state FOR UPDATE;
    PERFORM FROM (SELECT array_agg(r.node) AS nodes, array_agg(r.query) AS queries
                    FROM (SELECT q.node, format('SELECT trace_ext_internal.forget_queued(%L::uuid[], %L::timestamptz[])::text', array_agg(q.trace_id), array_agg(q.queued_at)) AS query
                            FROM trace_ext_internal.shard_queue_read q JOIN trace_ext_internal.shard_nodes n ON n.name = q.node GROUP BY q.node) AS r) AS s,
            LATERAL trace_ext_internal.ask_each(s.nodes, s.queries);
    DELETE FROM trace_ext_internal.shard_queue_read;
    WITH read AS (
        INSERT INTO trace_ext_internal.shard_queue_read
        SELECT r.node, (r.row).trace_id, (r.row).queued_at
          FROM (SELECT a.node, a.answer::trace_ext.detect_queue AS row
                  FROM trace_ext_internal.ask_nodes(format('SELECT q::text FROM trace_ext_internal.queued_traces(%s) q', most)) a OFFSET 0) AS r
        RETURNING trace_id, queued_at
    )
    INSERT INTO trace_ext.detect_queue (trace_id, queued_at, first_timestamp)
    SELECT r.trace_id, least(r.queued_at, clock_timestamp()), NULL FROM read r;
    GET DIAGNOSTICS rows = ROW_COUNT;
    -- The earliest first.
    UPDATE trace_ext.detect_queue q SET first_timestamp = t.first
      FROM (SELECT s.trace_id, min(s.first_timestamp) AS first
              FROM trace_ext_internal.times_of_traces(ARRAY(SELECT DISTINCT u.trace_id FROM trace_ext.detect_queue u WHERE u.first_timestamp IS NULL)) s
             GROUP BY s.trace_id) AS t
     WHERE q.first_timestamp IS NULL AND q.trace_id = t.trace_id;
    RETURN rows;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.read_queues() IS
    'takes over the traces that nodes have queued, and has them forget those of the last time; returns how many rows';

-- Beside this transaction: a fold needs a snapshot of its own.
CREATE OR REPLACE FUNCTION fold() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    n text;
    folded bigint;
    total bigint := 0;
    dblink_schema constant text := (SELECT quote_ident(s.nspname) FROM pg_extension e JOIN pg_namespace s ON s.oid = e.extnamespace WHERE e.extname = 'dblink');
BEGIN
    FOR n IN SELECT s.name FROM trace_ext_internal.shard_nodes s ORDER BY s.name LOOP
        EXECUTE format('SELECT f.folded FROM %s.dblink(%L, %L) AS f (folded bigint)', dblink_schema, 'trace_ext_' || n, 'SELECT trace_ext.fold()') INTO folded;
        total := total + folded;
    END LOOP;
    RETURN total;
END
$$;

CREATE OR REPLACE FUNCTION detect() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET trace_ext.node_down = 'error'
    AS $$
DECLARE
    examined bigint := 0;
    step record;
BEGIN
    PERFORM trace_ext.fold();
    WHILE trace_ext_internal.read_queues() > 0 OR EXISTS (SELECT FROM trace_ext.detect_queue WHERE NOT waits) LOOP
        LOOP
            SELECT s.* INTO step FROM trace_ext_internal.detect_step('infinity') s;
            examined := examined + step.examined;
            EXIT WHEN step.taken = 0;
        END LOOP;
    END LOOP;
    -- What waits for a parent may have waited long enough.
    SELECT s.* INTO step FROM trace_ext_internal.detect_step('infinity') s;
    RETURN examined + step.examined;
END
$$;

CREATE OR REPLACE PROCEDURE detect_all(INOUT traces bigint DEFAULT NULL)
    LANGUAGE plpgsql
    AS $$
DECLARE
    step record;
    more bigint;
BEGIN
    traces := 0;
    PERFORM trace_ext.fold();
    COMMIT;
    LOOP
        more := trace_ext_internal.read_queues();
        COMMIT;
        LOOP
            SELECT s.* INTO step FROM trace_ext_internal.detect_step('infinity') s;
            COMMIT;
            EXIT WHEN step.taken OPERATOR(pg_catalog.=) 0;
            traces := traces OPERATOR(pg_catalog.+) step.examined;
        END LOOP;
        EXIT WHEN more OPERATOR(pg_catalog.=) 0;
    END LOOP;
END
$$;

-- Never kept: writes on nodes are not noticed.
CREATE OR REPLACE FUNCTION find_variable_races(variable text, since timestamptz = NULL, max_pairs bigint = 1000) RETURNS SETOF race
    LANGUAGE c STABLE ROWS 20 AS 'MODULE_PATHNAME', 'tex_find_variable_races';
