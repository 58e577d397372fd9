-- Anomalies: what is unusual in traces, grouped by what it is and where, as findings are.
--
-- fold() queues the traces that statements touched, late ones as well. A step takes
-- some of them, looks at each as a whole, and replaces what it added before: so an
-- occurrence counts once, however often its trace is looked at, and what later events
-- show to be none is taken back. What a trace adds is remembered, a row for each anomaly
-- of it, for as long as the trace is stored; then it is added up and the row leaves.
--
-- Invariant: occurrences of an anomaly = the sum over its rows of anomaly_parts.

-- No index: the first rows are taken, and it is kept short.
CREATE TABLE anomaly_queue (
    trace_id   uuid        NOT NULL,
    queued_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE anomaly_queue SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE anomaly_queue IS 'traces that gained or lost events since the job anomalies looked at them';
COMMENT ON COLUMN anomaly_queue.trace_id IS 'the trace; more than one row is no harm';
COMMENT ON COLUMN anomaly_queue.queued_at IS 'since when';

-- One row, locked by who looks: never two at once.
CREATE TABLE anomaly_state (
    looked_at        timestamptz,
    traces_examined  bigint NOT NULL,
    swept            uuid   NOT NULL,
    at_once          int    NOT NULL
);
INSERT INTO anomaly_state VALUES (NULL, 0, '00000000-0000-0000-0000-000000000000', 1000);
ALTER TABLE anomaly_state SET (fillfactor = 10);
COMMENT ON TABLE anomaly_state IS 'one row: when the job anomalies last looked and at how many traces it did';
COMMENT ON COLUMN anomaly_state.looked_at IS 'end of the last step';
COMMENT ON COLUMN anomaly_state.traces_examined IS 'traces looked at so far, each time counted';
COMMENT ON COLUMN anomaly_state.swept IS 'rows of anomaly_parts are looked through for traces that have left, by trace: up to here';
COMMENT ON COLUMN anomaly_state.at_once IS 'traces that the next step takes: fewer after a step that took more than a second, more after short ones';

CREATE TYPE anomaly_status AS ENUM ('open', 'acknowledged', 'ignored', 'resolved');
COMMENT ON TYPE anomaly_status IS 'what somebody decided about an anomaly; a resolved one that occurs again is open again';

CREATE TABLE anomalies (
    id               uuid             PRIMARY KEY,
    kind             text             NOT NULL,
    severity         text             NOT NULL,
    service_name     text,
    operation        text,
    occurrences      bigint           NOT NULL,
    first_seen       timestamptz,
    last_seen        timestamptz,
    sample_trace_id  uuid,
    sample_event_id  uuid,
    actual_ms        double precision,
    expected_ms      double precision,
    score            double precision,
    evidence         text,
    status           anomaly_status   NOT NULL DEFAULT 'open',
    decided_at       timestamptz
);
COMMENT ON TABLE anomalies IS 'what is unusual, by what it is and where; the job anomalies keeps it, set_anomaly_status() decides about a row';
COMMENT ON COLUMN anomalies.id IS 'follows from kind, service and operation: the same anomaly always has the same id';
COMMENT ON COLUMN anomalies.kind IS 'what is unusual: slow, ...';
COMMENT ON COLUMN anomalies.severity IS 'of the worst occurrence: CRITICAL, WARNING or INFO';
COMMENT ON COLUMN anomalies.service_name IS 'the service; NULL for events that name none';
COMMENT ON COLUMN anomalies.operation IS 'the operation; of an answer, that of its request';
COMMENT ON COLUMN anomalies.occurrences IS 'events seen; 0: later events showed that it was none';
COMMENT ON COLUMN anomalies.first_seen IS 'time of the first of them';
COMMENT ON COLUMN anomalies.last_seen IS 'time of the last of them';
COMMENT ON COLUMN anomalies.sample_trace_id IS 'trace of the worst of them, by severity and score';
COMMENT ON COLUMN anomalies.sample_event_id IS 'that event';
COMMENT ON COLUMN anomalies.actual_ms IS 'how long it took';
COMMENT ON COLUMN anomalies.expected_ms IS 'how long it should have taken at most; of a slow one: what 99 of 100 calls take';
COMMENT ON COLUMN anomalies.score IS 'how bad it is, comparable within a kind; of a slow one: how many times as long as the shortest that would be called slow';
COMMENT ON COLUMN anomalies.evidence IS 'that event in a sentence';
COMMENT ON COLUMN anomalies.status IS 'open, acknowledged, ignored or resolved; detection changes it only from resolved to open, when it occurs after decided_at';
COMMENT ON COLUMN anomalies.decided_at IS 'when somebody last set the status';
SELECT pg_catalog.pg_extension_config_dump('anomalies', '');

-- What a trace adds to an anomaly; NULL: what traces that have left had added.
CREATE TABLE anomaly_parts (
    anomaly_id       uuid             NOT NULL,
    trace_id         uuid,
    occurrences      bigint           NOT NULL,
    first_seen       timestamptz      NOT NULL,
    last_seen        timestamptz      NOT NULL,
    urgency          int              NOT NULL,
    severity         text             NOT NULL,
    score            double precision NOT NULL,
    seen_at          timestamptz      NOT NULL,
    sample_trace_id  uuid,
    sample_event_id  uuid,
    actual_ms        double precision,
    expected_ms      double precision,
    evidence         text
);
CREATE UNIQUE INDEX anomaly_parts_trace_idx ON anomaly_parts (trace_id, anomaly_id);
CREATE UNIQUE INDEX anomaly_parts_left_idx ON anomaly_parts (anomaly_id) WHERE trace_id IS NULL;
-- What an anomaly says, without a walk over all its traces.
CREATE INDEX anomaly_parts_first_idx ON anomaly_parts (anomaly_id, first_seen);
CREATE INDEX anomaly_parts_last_idx ON anomaly_parts (anomaly_id, last_seen);
CREATE INDEX anomaly_parts_worst_idx ON anomaly_parts (anomaly_id, urgency DESC, score DESC, seen_at);
COMMENT ON TABLE anomaly_parts IS 'what a trace adds to an anomaly, as long as it is stored; trace_id NULL: what traces that have left had added';
COMMENT ON COLUMN anomaly_parts.urgency IS 'order of severity: 3 CRITICAL, 2 WARNING, 1 INFO, 0 any other';
COMMENT ON INDEX anomaly_parts_trace_idx IS 'what a trace that is looked at again had added';
COMMENT ON INDEX anomaly_parts_left_idx IS 'one row an anomaly for traces that have left';
COMMENT ON INDEX anomaly_parts_first_idx IS 'the first occurrence of an anomaly';
COMMENT ON INDEX anomaly_parts_last_idx IS 'the last occurrence of an anomaly';
COMMENT ON INDEX anomaly_parts_worst_idx IS 'the worst occurrence of an anomaly';
SELECT pg_catalog.pg_extension_config_dump('anomaly_parts', '');

INSERT INTO announcements (channel) VALUES ('trace_ext_anomalies');

CREATE FUNCTION trace_ext_internal.anomaly_id(kind text, service_name text, operation text) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    RETURN pg_catalog.md5(pg_catalog.jsonb_build_array(kind, service_name, operation)::text)::uuid;
COMMENT ON FUNCTION trace_ext_internal.anomaly_id(text, text, text) IS 'the id of the anomaly of this kind, service and operation';

--
-- What is found
--

-- Who gave back what was waited for: releases of the same lock, by another thread, in the
-- time that an acquire may have waited at most, the last ones, so long after it began that the
-- wait counts. A lock of that name is another one in another process, unless it is global;
-- then clocks may differ. A release lasts no longer than the margin.
CREATE FUNCTION trace_ext_internal.released_beside(trace_ids uuid[], started timestamptz[], limits timestamptz[], shortest bigint[], locks text[], anywhere boolean[],
                                                   services text[], instances text[], processes int[], threads text[], tasks text[])
    RETURNS TABLE (n bigint, beside uuid[])
    LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
DECLARE
    margin constant interval := interval '100 ms';
    skew constant interval := current_setting('trace_ext.clock_skew');
    low timestamptz;
    high timestamptz;
BEGIN
    SELECT trace_ext_internal.shifted(min(u.a), - margin - skew), trace_ext_internal.shifted(max(u.b), skew) INTO low, high FROM unnest(started, limits) AS u (a, b);
    RETURN QUERY EXECUTE $q$
        WITH waits AS MATERIALIZED (
            SELECT w.*, CASE WHEN w.anywhere THEN $14 ELSE interval '0' END AS skew
              FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) WITH ORDINALITY
                   AS w (trace_id, started, until, shortest, lock, anywhere, service_name, instance_id, process_id, thread_id, task, n)
        )
        SELECT w.n, coalesce(array_agg(DISTINCT r.trace_id) FILTER (WHERE r.trace_id <> w.trace_id), '{}')
          FROM waits w,
               LATERAL (SELECT e.trace_id FROM trace_ext.events e
                         WHERE e.kind = 'LockRelease' AND e."timestamp" >= $12 AND e."timestamp" <= $13
                           AND e."timestamp" >= trace_ext_internal.shifted(w.started, - w.skew - $15)
                           AND e."timestamp" <= trace_ext_internal.shifted(w.until, w.skew)
                           AND e.name = w.lock
                           AND (w.anywhere OR (e.service_name, e.instance_id, e.process_id) IS NOT DISTINCT FROM (w.service_name, w.instance_id, w.process_id))
                           AND upper(trace_ext.event_extent(e."timestamp", e.duration_ns, e.stamped_at_end))
                               >= trace_ext_internal.shifted(w.started, w.shortest * interval '1 microsecond' - w.skew)
                           AND (e.trace_id, e.thread_id, e.tags ->> 'task_id') IS DISTINCT FROM (w.trace_id, w.thread_id, w.task)
                         ORDER BY e."timestamp" DESC LIMIT 16) AS r
         GROUP BY w.n
        $q$ USING trace_ids, started, limits, shortest, locks, anywhere, services, instances, processes, threads, tasks, low, high, skew, margin;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.released_beside(uuid[], timestamptz[], timestamptz[], bigint[], text[], boolean[], text[], text[], int[], text[], text[]) IS
    'for acquires, each an element of all arrays, the other traces that gave the lock back while it may have waited; without those that waited for nobody';

-- The one place where what is looked for is put together, in C. What is told of one trace only
-- is left out: a parent that may be on its way, clocks, and times without an event.
CREATE FUNCTION trace_ext_internal.anomalies_of(trace_ids uuid[])
    RETURNS TABLE (trace_id uuid, event_id uuid, kind text, severity text, service_name text, operation text,
                   actual_ms double precision, expected_ms double precision, score double precision, evidence text, seen_at timestamptz)
    LANGUAGE c STABLE STRICT SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp
    -- A partition that is being filled has no statistics yet.
    SET enable_seqscan = off AS 'MODULE_PATHNAME', 'tex_anomalies_of';
COMMENT ON FUNCTION trace_ext_internal.anomalies_of(uuid[]) IS
    'all that is unusual in some traces, one row an event and kind: what is slow, errors, lock waits, repeated queries and retry storms, as trace_anomalies() has them, up to 1,000 of a trace beside what is slow; seen_at is the time of the event';

--
-- What is kept of it
--

CREATE FUNCTION trace_ext_internal.urgency(severity text) RETURNS int
    LANGUAGE sql IMMUTABLE
    RETURN coalesce(pg_catalog.array_position(ARRAY['INFO', 'WARNING', 'CRITICAL'], severity), 0);
COMMENT ON FUNCTION trace_ext_internal.urgency(text) IS 'the order of severity';

-- more: by how much the occurrences of each changed. Those that were resolved and
-- occur again are open again, and returned.
CREATE FUNCTION trace_ext_internal.refresh_anomalies(ids uuid[], more bigint[]) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    reopened uuid[];
BEGIN
    WITH wanted AS MATERIALIZED (
        SELECT w.id, w.more, f.first_seen, l.last_seen, b.*
          FROM unnest(ids, more) AS w (id, more)
          LEFT JOIN LATERAL (SELECT p.first_seen FROM trace_ext.anomaly_parts p WHERE p.anomaly_id = w.id ORDER BY p.first_seen LIMIT 1) AS f ON true
          LEFT JOIN LATERAL (SELECT p.last_seen FROM trace_ext.anomaly_parts p WHERE p.anomaly_id = w.id ORDER BY p.last_seen DESC LIMIT 1) AS l ON true
          LEFT JOIN LATERAL (SELECT p.severity, p.score, p.sample_trace_id, p.sample_event_id, p.actual_ms, p.expected_ms, p.evidence
                               FROM trace_ext.anomaly_parts p WHERE p.anomaly_id = w.id
                              ORDER BY p.urgency DESC, p.score DESC, p.seen_at, p.sample_trace_id, p.sample_event_id LIMIT 1) AS b ON true
    ), refreshed AS (
        UPDATE trace_ext.anomalies a
           SET occurrences = a.occurrences + w.more,
               first_seen = coalesce(w.first_seen, a.first_seen), last_seen = coalesce(w.last_seen, a.last_seen),
               severity = coalesce(w.severity, a.severity), score = coalesce(w.score, a.score),
               sample_trace_id = coalesce(w.sample_trace_id, a.sample_trace_id), sample_event_id = coalesce(w.sample_event_id, a.sample_event_id),
               actual_ms = CASE WHEN w.severity IS NULL THEN a.actual_ms ELSE w.actual_ms END,
               expected_ms = CASE WHEN w.severity IS NULL THEN a.expected_ms ELSE w.expected_ms END,
               evidence = coalesce(w.evidence, a.evidence),
               status = CASE WHEN a.status = 'resolved' AND w.more > 0 AND w.last_seen > coalesce(a.decided_at, '-infinity')
                             THEN 'open' ELSE a.status END
          FROM wanted w WHERE a.id = w.id
        RETURNING a.id, a.status, a.decided_at, a.occurrences
    )
    SELECT array_agg(r.id) INTO reopened
      FROM refreshed r JOIN trace_ext.anomalies old ON old.id = r.id
     WHERE old.status = 'resolved' AND r.status = 'open';
    DELETE FROM trace_ext.anomalies a WHERE a.id = ANY (ids) AND a.status = 'open' AND a.occurrences <= 0;
    RETURN reopened;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.refresh_anomalies(uuid[], bigint[]) IS
    'brings these anomalies in line with anomaly_parts, their occurrences by a difference; open ones that nothing supports any more go; returns those that are open again';

CREATE FUNCTION trace_ext_internal.examine_anomalies(ids uuid[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    changed uuid[];
    more bigint[];
    came uuid[];
BEGIN
    WITH found AS MATERIALIZED (
        SELECT trace_ext_internal.anomaly_id(f.kind, f.service_name, f.operation) AS anomaly_id,
               f.trace_id, f.event_id, f.kind, f.severity, f.service_name, f.operation, f.actual_ms, f.expected_ms, f.evidence,
               trace_ext_internal.urgency(f.severity) AS urgency, coalesce(f.score, 0) AS rank,
               coalesce(f.seen_at, (SELECT b.last_timestamp FROM trace_ext.summary_base b WHERE b.trace_id = f.trace_id), now()) AS seen_at
          FROM trace_ext_internal.anomalies_of(ids) f
    ), parts AS MATERIALIZED (
        SELECT DISTINCT ON (anomaly_id, trace_id) anomaly_id, trace_id, count(*) OVER one AS occurrences,
               min(seen_at) OVER one AS first_seen, max(seen_at) OVER one AS last_seen,
               urgency, severity, rank AS score, seen_at, trace_id AS sample_trace_id, event_id AS sample_event_id, actual_ms, expected_ms, evidence
          FROM found WINDOW one AS (PARTITION BY anomaly_id, trace_id)
         ORDER BY anomaly_id, trace_id, urgency DESC, rank DESC, seen_at, event_id
    ), known AS MATERIALIZED (
        SELECT p.ctid AS place, p.* FROM trace_ext.anomaly_parts p WHERE p.trace_id = ANY (ids)
    ), same AS MATERIALIZED (
        -- A trace that is looked at again mostly adds what it did.
        SELECT k.place, p.anomaly_id, p.trace_id FROM parts p JOIN known k ON k.anomaly_id = p.anomaly_id AND k.trace_id = p.trace_id
         WHERE ROW (k.occurrences, k.first_seen, k.last_seen, k.severity, k.score, k.sample_event_id, k.actual_ms, k.expected_ms, k.evidence)
               IS NOT DISTINCT FROM
               ROW (p.occurrences, p.first_seen, p.last_seen, p.severity, p.score, p.sample_event_id, p.actual_ms, p.expected_ms, p.evidence)
    ), replaced AS (
        UPDATE trace_ext.anomaly_parts a
           SET (occurrences, first_seen, last_seen, urgency, severity, score, seen_at, sample_event_id, actual_ms, expected_ms, evidence) =
               ROW (p.occurrences, p.first_seen, p.last_seen, p.urgency, p.severity, p.score, p.seen_at, p.sample_event_id,
                    p.actual_ms, p.expected_ms, p.evidence)
          FROM parts p JOIN known k ON k.anomaly_id = p.anomaly_id AND k.trace_id = p.trace_id
         WHERE a.ctid = k.place AND k.place NOT IN (SELECT place FROM same)
        RETURNING a.anomaly_id, p.occurrences - k.occurrences AS more
    ), gone AS (
        DELETE FROM trace_ext.anomaly_parts a USING known k
         WHERE a.ctid = k.place AND NOT EXISTS (SELECT FROM parts p WHERE p.anomaly_id = k.anomaly_id AND p.trace_id = k.trace_id)
        RETURNING a.anomaly_id, - k.occurrences AS more
    ), added AS (
        INSERT INTO trace_ext.anomaly_parts
        SELECT p.* FROM parts p
         WHERE NOT EXISTS (SELECT FROM known k WHERE k.anomaly_id = p.anomaly_id AND k.trace_id = p.trace_id)
        RETURNING anomaly_id, occurrences AS more
    ), named AS (
        INSERT INTO trace_ext.anomalies (id, kind, severity, service_name, operation, occurrences)
        SELECT DISTINCT ON (anomaly_id) anomaly_id, kind, severity, service_name, operation, 0 FROM found
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    ), changes AS (
        SELECT anomaly_id, sum(more)::bigint AS more
          FROM (SELECT * FROM replaced UNION ALL SELECT * FROM gone UNION ALL SELECT * FROM added) AS c GROUP BY anomaly_id
    )
    SELECT array_agg(c.anomaly_id), array_agg(c.more), ARRAY(SELECT n.id FROM named n) INTO changed, more, came FROM changes c;
    IF changed IS NOT NULL THEN
        came := came || trace_ext_internal.refresh_anomalies(changed, more);
        PERFORM trace_ext_internal.announce('trace_ext_anomalies', cardinality(came), came[:100]);
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.examine_anomalies(uuid[]) IS 'replaces what some traces add to anomalies; has new ones, and those that are open again, announced';

-- Of traces that have left, what they added is added up. A trace of which there is
-- neither a summary nor a delta nor a row in the queue is not looked at again.
CREATE FUNCTION trace_ext_internal.sweep_anomaly_parts(most int) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    since constant uuid := (SELECT swept FROM trace_ext.anomaly_state);
    reached uuid;
    rows int;
    left_us uuid[];
BEGIN
    SELECT max(n.trace_id::text)::uuid, count(*), array_agg(DISTINCT n.trace_id) FILTER (WHERE NOT n.stays) INTO reached, rows, left_us
      FROM (SELECT p.trace_id, EXISTS (SELECT FROM trace_ext.summary_base b WHERE b.trace_id = p.trace_id) AS stays
              FROM trace_ext.anomaly_parts p WHERE p.trace_id > since ORDER BY p.trace_id LIMIT most) AS n;
    IF left_us IS NOT NULL THEN
        left_us := ARRAY(SELECT unnest(left_us) EXCEPT SELECT q.trace_id FROM trace_ext.anomaly_queue q
                         EXCEPT SELECT d.trace_id FROM trace_ext_internal.outstanding_deltas() d);
        WITH gone AS (
            DELETE FROM trace_ext.anomaly_parts p WHERE p.trace_id = ANY (left_us) RETURNING p.*
        ), parts AS (
            SELECT * FROM gone
            UNION ALL
            SELECT p.* FROM trace_ext.anomaly_parts p WHERE p.trace_id IS NULL AND p.anomaly_id IN (SELECT g.anomaly_id FROM gone g)
        )
        INSERT INTO trace_ext.anomaly_parts AS s
        SELECT DISTINCT ON (anomaly_id) anomaly_id, NULL::uuid, sum(occurrences) OVER one, min(first_seen) OVER one, max(last_seen) OVER one,
               urgency, severity, score, seen_at, sample_trace_id, sample_event_id, actual_ms, expected_ms, evidence
          FROM parts WINDOW one AS (PARTITION BY anomaly_id)
         ORDER BY anomaly_id, urgency DESC, score DESC, seen_at, sample_trace_id, sample_event_id
        ON CONFLICT (anomaly_id) WHERE trace_id IS NULL DO UPDATE
           SET (occurrences, first_seen, last_seen, urgency, severity, score, seen_at, sample_trace_id, sample_event_id, actual_ms, expected_ms, evidence) =
               ROW (excluded.occurrences, excluded.first_seen, excluded.last_seen, excluded.urgency, excluded.severity, excluded.score, excluded.seen_at,
                    excluded.sample_trace_id, excluded.sample_event_id, excluded.actual_ms, excluded.expected_ms, excluded.evidence);
    END IF;
    UPDATE trace_ext.anomaly_state
       SET swept = CASE WHEN rows < most THEN '00000000-0000-0000-0000-000000000000' ELSE reached END;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.sweep_anomaly_parts(int) IS
    'looks through so many rows of anomaly_parts, from where it ended the last time, and adds up those whose traces have left';

--
-- Step by step
--

-- In the order they came, which is nearly that of their times. Of one that is queued
-- again behind these it is looked at again.
CREATE FUNCTION trace_ext_internal.take_anomaly_queue(most_traces int) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    most_events constant bigint := most_traces * 50;
    places tid[];
    ids uuid[];
BEGIN
    SELECT array_agg(p.place) INTO places
      FROM (SELECT n.places, coalesce(sum(b.event_count) OVER (ORDER BY n.first_place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
              -- A trace has a row for each fold that touched it, mostly one.
              FROM (SELECT q.trace_id, array_agg(q.place) AS places, min(q.place) AS first_place
                      FROM (SELECT q.ctid AS place, q.trace_id FROM trace_ext.anomaly_queue q LIMIT most_traces * 2) AS q
                     GROUP BY q.trace_id ORDER BY first_place LIMIT most_traces) AS n
              LEFT JOIN trace_ext.summary_base b ON b.trace_id = n.trace_id) AS s,
           LATERAL unnest(s.places) AS p (place)
     WHERE s.before < most_events;
    -- Rows that somebody else deletes are not waited for.
    WITH mine AS MATERIALIZED (
        SELECT q.ctid AS place FROM trace_ext.anomaly_queue q WHERE q.ctid = ANY (places) FOR UPDATE SKIP LOCKED
    ), taken AS (
        DELETE FROM trace_ext.anomaly_queue WHERE ctid = ANY (ARRAY(SELECT m.place FROM mine m)) RETURNING trace_id
    )
    SELECT array_agg(DISTINCT t.trace_id) INTO ids FROM taken t;
    RETURN coalesce(ids, '{}');
END
$$;
COMMENT ON FUNCTION trace_ext_internal.take_anomaly_queue(int) IS 'takes up to so many traces from the queue, fewer if they are long';

CREATE FUNCTION trace_ext_internal.anomaly_step() RETURNS int
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    ids uuid[];
    begun timestamptz;
    most int;
BEGIN
    -- In C: the call loads the library, which defines the settings.
    PERFORM trace_ext_internal.restoring();
    SELECT s.at_once, clock_timestamp() INTO most, begun FROM trace_ext.anomaly_state s FOR UPDATE;
    ids := trace_ext_internal.take_anomaly_queue(most);
    IF ids <> '{}' THEN
        PERFORM trace_ext_internal.examine_anomalies(ids);
    END IF;
    PERFORM trace_ext_internal.sweep_anomaly_parts(1000);
    UPDATE trace_ext.anomaly_state
       SET looked_at = clock_timestamp(), traces_examined = traces_examined + cardinality(ids),
           at_once = CASE WHEN clock_timestamp() - begun > interval '1 s' THEN greatest(at_once / 2, 10)
                          WHEN clock_timestamp() - begun < interval '400 ms' AND cardinality(ids) >= at_once / 2 THEN least(at_once * 2, 4000)
                          ELSE at_once END;
    RETURN cardinality(ids);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.anomaly_step() IS
    'looks at some of the traces that changed, about a second''s work, and brings anomalies up to date; waits for another step; returns at how many it looked';

CREATE FUNCTION trace_ext_internal.anomalies_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN trace_ext_internal.fold_needed() IS NOT NULL OR EXISTS (SELECT FROM trace_ext.anomaly_queue) THEN '-infinity'::timestamptz END;
    END;
COMMENT ON FUNCTION trace_ext_internal.anomalies_needed() IS 'whether traces changed';

CREATE PROCEDURE job_anomalies(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    again := trace_ext_internal.anomaly_step() > 0;
    -- Who has no worker for it finds what is new as well.
    IF NOT again AND trace_ext_internal.fold_needed() IS NOT NULL THEN
        CALL trace_ext.job_fold(again);
        again := again OR EXISTS (SELECT FROM trace_ext.anomaly_queue);
    END IF;
END
$$;
COMMENT ON PROCEDURE job_anomalies(boolean) IS
    'one step of looking for anomalies, about a second''s work; folds where nothing is queued; returns whether there may be more to do';

INSERT INTO jobs (name, procedure, owner, builtin, "interval", timeout, priority, condition) VALUES
    ('anomalies', 'trace_ext.job_anomalies', current_user, true, '5 s', '1 hour', 75, 'trace_ext_internal.anomalies_needed');

--
-- What people and dumps decide
--

CREATE FUNCTION set_anomaly_status(id uuid, status anomaly_status) RETURNS boolean
    LANGUAGE sql VOLATILE
    BEGIN ATOMIC
    WITH changed AS (
        UPDATE trace_ext.anomalies a SET status = set_anomaly_status.status, decided_at = clock_timestamp()
         WHERE a.id = set_anomaly_status.id RETURNING 1)
    SELECT EXISTS (SELECT FROM changed);
    END;
COMMENT ON FUNCTION set_anomaly_status(uuid, anomaly_status) IS
    'acknowledges, ignores, resolves or reopens an anomaly; a resolved one that occurs again is open again; false if there is none with this id';

-- For drivers that send the status as text, and with the values in the error.
CREATE FUNCTION set_anomaly_status(id uuid, status text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF status IS NULL OR status <> ALL (enum_range(NULL::trace_ext.anomaly_status)::text[]) THEN
        RAISE EXCEPTION 'an anomaly cannot have the status "%"', status USING ERRCODE = 'invalid_parameter_value',
              HINT = 'A status is one of ' || array_to_string(enum_range(NULL::trace_ext.anomaly_status), ', ') || '.';
    END IF;
    RETURN trace_ext.set_anomaly_status(id, status::trace_ext.anomaly_status);
END
$$;
COMMENT ON FUNCTION set_anomaly_status(uuid, text) IS 'the same with a status that is given as text';

-- A dump brings anomalies with what was decided about them, and what each trace added:
-- what traces that have left added is known from nothing else. The job may have looked
-- at some traces before these rows come: then what the dump says of a trace replaces
-- what was found, until the trace changes, and occurrences are added up anew.
CREATE FUNCTION trace_ext_internal.nothing_found_yet() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT s.traces_examined = 0 FROM trace_ext.anomaly_state s;
    END;
COMMENT ON FUNCTION trace_ext_internal.nothing_found_yet() IS 'whether the job anomalies has not looked at any trace, as nearly always while a dump is restored';

CREATE FUNCTION trace_ext_internal.keep_anomaly() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF trace_ext_internal.nothing_found_yet() THEN
        RETURN NEW;
    END IF;
    UPDATE trace_ext.anomalies a SET status = NEW.status, decided_at = NEW.decided_at WHERE a.id = NEW.id;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    NEW.occurrences := (SELECT coalesce(sum(p.occurrences), 0) FROM trace_ext.anomaly_parts p WHERE p.anomaly_id = NEW.id);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_anomaly() IS 'row trigger on anomalies: lets a restored dump set the status of those that were found again already';
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON anomalies
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off' AND current_setting('search_path') IN ('', '""'))
    EXECUTE FUNCTION trace_ext_internal.keep_anomaly();
COMMENT ON TRIGGER trace_ext_keep ON anomalies IS 'lets a restored dump set the status of anomalies that were found again already';

CREATE FUNCTION trace_ext_internal.keep_anomaly_part() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    known trace_ext.anomaly_parts;
BEGIN
    IF trace_ext_internal.nothing_found_yet() THEN
        RETURN NEW;
    ELSIF NEW.trace_id IS NOT NULL THEN
        DELETE FROM trace_ext.anomaly_parts p WHERE p.trace_id = NEW.trace_id AND p.anomaly_id = NEW.anomaly_id;
    ELSE
        DELETE FROM trace_ext.anomaly_parts p WHERE p.trace_id IS NULL AND p.anomaly_id = NEW.anomaly_id RETURNING * INTO known;
        IF FOUND THEN
            known.occurrences := known.occurrences + NEW.occurrences;
            known.first_seen := least(known.first_seen, NEW.first_seen);
            known.last_seen := greatest(known.last_seen, NEW.last_seen);
            NEW.occurrences := known.occurrences;
            NEW.first_seen := known.first_seen;
            NEW.last_seen := known.last_seen;
            IF (known.urgency, known.score) > (NEW.urgency, NEW.score) THEN
                RETURN known;
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_anomaly_part() IS 'row trigger on anomaly_parts: lets a restored dump replace what was found again already of a trace';
-- Detection has a search_path of its own, so it never looks like a dump, whoever calls it.
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON anomaly_parts
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off' AND current_setting('search_path') IN ('', '""'))
    EXECUTE FUNCTION trace_ext_internal.keep_anomaly_part();
COMMENT ON TRIGGER trace_ext_keep ON anomaly_parts IS 'lets a restored dump replace what was found again already of a trace';

CREATE FUNCTION trace_ext_internal.add_up_anomalies() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    ids uuid[];
    more bigint[];
BEGIN
    IF trace_ext_internal.nothing_found_yet() THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(a.id), array_agg((SELECT sum(p.occurrences) FROM trace_ext.anomaly_parts p WHERE p.anomaly_id = a.id) - a.occurrences)
      INTO ids, more
      FROM trace_ext.anomalies a WHERE a.id IN (SELECT c.anomaly_id FROM came c);
    PERFORM trace_ext_internal.refresh_anomalies(ids, more);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.add_up_anomalies() IS 'statement trigger on anomaly_parts: adds up anomalies that were found before a dump brought these rows';
CREATE TRIGGER trace_ext_add_up AFTER INSERT ON anomaly_parts
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT
    WHEN (current_setting('check_function_bodies') = 'off' AND current_setting('search_path') IN ('', '""'))
    EXECUTE FUNCTION trace_ext_internal.add_up_anomalies();
COMMENT ON TRIGGER trace_ext_add_up ON anomaly_parts IS 'adds up anomalies that were found before a dump brought these rows';
