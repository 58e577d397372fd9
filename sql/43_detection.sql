-- Detection keeps findings up to date: which traces are looked at, and when.
--
-- fold() queues the traces that statements touched. detect() looks again at these
-- and at every trace that overlaps one of them, because an event that arrives can
-- order, or no longer order, any two traces around it; what was known of them is
-- replaced. So the pairs of traces depend on the events alone, and any order and
-- split of batches ends in the same findings.
--
-- The work is done in steps: detect_step() takes some traces from the queue, the
-- earliest first, and all that it needs is in one transaction. Nothing is locked
-- beyond it but by who calls it more than once in a transaction.

CREATE TABLE detect_queue (
    trace_id         uuid        NOT NULL,
    queued_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    first_timestamp  timestamptz,
    waits            boolean     NOT NULL DEFAULT false
);
-- Neighbours in time are looked at together.
CREATE INDEX detect_queue_next_idx ON detect_queue (first_timestamp) WHERE NOT waits;
CREATE INDEX detect_queue_trace_idx ON detect_queue (trace_id);
CREATE INDEX detect_queue_waiting_idx ON detect_queue (queued_at) WHERE waits;
COMMENT ON TABLE detect_queue IS 'traces that gained or lost events since detect() looked at them';
COMMENT ON COLUMN detect_queue.trace_id IS 'the trace; more than one row is no harm';
COMMENT ON COLUMN detect_queue.queued_at IS 'since when; a trace with a missing parent waits trace_ext.lateness from then';
COMMENT ON COLUMN detect_queue.first_timestamp IS 'first of the events that came, as far as known: the earliest are looked at first';
COMMENT ON COLUMN detect_queue.waits IS 'it was found to miss a parent, and waits for it';
COMMENT ON INDEX detect_queue_next_idx IS 'what is looked at next';
COMMENT ON INDEX detect_queue_trace_idx IS 'all rows of a trace';
COMMENT ON INDEX detect_queue_waiting_idx IS 'what waits for a parent, by when it came';

-- One row, locked by who detects: never two at once.
CREATE TABLE detect_state (
    detected_at      timestamptz,
    traces_examined  bigint NOT NULL,
    swept            uuid   NOT NULL,
    at_once          int    NOT NULL
);
INSERT INTO detect_state VALUES (NULL, 0, '00000000-0000-0000-0000-000000000000', 1000);
COMMENT ON TABLE detect_state IS 'one row: when detect() last ran and how many traces it has looked at';
COMMENT ON COLUMN detect_state.detected_at IS 'end of the last step';
COMMENT ON COLUMN detect_state.traces_examined IS 'traces looked at so far, each time counted';
COMMENT ON COLUMN detect_state.swept IS 'rows of race_pairs are looked through for traces that have left, by trace1: up to here';
COMMENT ON COLUMN detect_state.at_once IS 'traces that the next step takes: fewer after a step that took more than a second, more after short ones';

-- Look at some traces: home are those whose pairs may have changed, rivals are what
-- may race with them, others only order. Returns the findings that changed.
CREATE FUNCTION trace_ext_internal.examine_traces(home uuid[], rivals uuid[], others uuid[] = '{}', all_rivals boolean = true) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_mergejoin = off SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    changed uuid[];
BEGIN
    -- What is not looked at again stays as it is; so does what was counted of a trace
    -- that has left since. One whose events were deleted is in home itself.
    WITH known AS MATERIALIZED (
        SELECT ctid AS place, trace1, trace2 FROM trace_ext.race_pairs WHERE trace1 = ANY ($1)
        UNION
        SELECT ctid, trace1, trace2 FROM trace_ext.race_pairs WHERE trace2 = ANY ($1)
    ), gone AS (
        DELETE FROM trace_ext.race_pairs
         WHERE ctid = ANY (ARRAY(
               SELECT place FROM known k
                WHERE (k.trace1 = ANY ($1) OR EXISTS (SELECT FROM trace_ext.summary_base b WHERE b.trace_id = k.trace1))
                  AND (k.trace2 = ANY ($1) OR EXISTS (SELECT FROM trace_ext.summary_base b WHERE b.trace_id = k.trace2))
                  AND ($4 OR (k.trace1 = ANY ($1 || $2) AND k.trace2 = ANY ($1 || $2)))))
        RETURNING finding_id, occurrences
    ), found AS MATERIALIZED (
        SELECT *, trace_ext_internal.finding_id(kind, variable, location1, location2) AS finding_id
          FROM trace_ext_internal.pairs_of_traces($1, $2, $3, 1000)
    ), kept AS (
        INSERT INTO trace_ext.race_pairs
        SELECT finding_id, least(event1_trace_id, event2_trace_id), greatest(event1_trace_id, event2_trace_id),
               occurrences, first_seen, last_seen, confidence,
               event1_at, event1_id, event1_trace_id, event2_id, event2_trace_id,
               CASE WHEN row_number() OVER (PARTITION BY finding_id
                                            ORDER BY confidence DESC, event1_at, event1_trace_id, event1_id, event2_trace_id, event2_id) = 1
                    THEN evidence END
          FROM found
    ), named AS (
        INSERT INTO trace_ext.findings (id, kind, variable, location1, location2, severity, confidence, confirmed, occurrences)
        SELECT DISTINCT finding_id, kind, variable, location1, location2, severity, 0::float8, false, 0
          FROM found
        ON CONFLICT (id) DO NOTHING
    ), summed AS (
        INSERT INTO trace_ext.race_pairs AS s (finding_id, occurrences)
        SELECT finding_id, sum(n)
          FROM (SELECT finding_id, -occurrences AS n FROM gone UNION ALL SELECT finding_id, occurrences FROM found) AS c
         GROUP BY finding_id
        ON CONFLICT (finding_id) WHERE trace1 IS NULL DO UPDATE SET occurrences = s.occurrences + excluded.occurrences
        RETURNING finding_id
    )
    SELECT array_agg(finding_id) INTO changed FROM summed;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.examine_traces(uuid[], uuid[], uuid[], boolean) IS
    'replaces what the home traces add to findings, with each other and with their rivals; others may order them; '
    'all_rivals: there are none beside those given; returns the findings to refresh';

--
-- Which traces to look at
--

CREATE FUNCTION trace_ext_internal.is_long_trace(started_at timestamptz, ended_at timestamptz) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_is_long_trace';
COMMENT ON FUNCTION trace_ext_internal.is_long_trace(timestamptz, timestamptz) IS 'whether a trace ran longer than 10 s';

-- The last event of what overlaps a time is in it or, unless it ran long, soon before
-- or after. Only what ran long needs the dearer index.
CREATE INDEX summary_base_long_idx ON summary_base USING gist (tstzrange(started_at, ended_at, '[]'))
    WHERE trace_ext_internal.is_long_trace(started_at, ended_at);
COMMENT ON INDEX summary_base_long_idx IS 'traces that ran longer than 10 s, by when they ran';

-- From the base alone: a trace with outstanding deltas is queued once they are folded.
CREATE FUNCTION trace_ext_internal.traces_within(from_times timestamptz[], to_times timestamptz[])
    RETURNS TABLE (trace_id uuid, started_at timestamptz, ended_at timestamptz, event_count bigint, access_count bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    skew constant interval := current_setting('trace_ext.clock_skew')::interval;
BEGIN
    RETURN QUERY
    WITH times AS MATERIALIZED (
        SELECT trace_ext_internal.shifted(r.f, - skew) AS from_time, trace_ext_internal.shifted(r.t, skew) AS to_time,
               trace_ext_internal.shifted(r.f, - skew - interval '10 s') AS first_end,
               trace_ext_internal.shifted(r.t, skew + interval '10 s') AS last_end
          FROM unnest(from_times, to_times) AS r (f, t)
    )
    SELECT DISTINCT o.*
      FROM times r, LATERAL (
          SELECT b.trace_id, b.started_at, b.ended_at, b.event_count, b.access_count
            FROM trace_ext.summary_base b
           WHERE b.last_timestamp >= r.first_end AND b.last_timestamp <= r.last_end
             AND b.started_at <= r.to_time AND b.ended_at >= r.from_time
          UNION ALL
          SELECT b.trace_id, b.started_at, b.ended_at, b.event_count, b.access_count
            FROM trace_ext.summary_base b
           WHERE trace_ext_internal.is_long_trace(b.started_at, b.ended_at)
             AND tstzrange(b.started_at, b.ended_at, '[]') && tstzrange(r.from_time, r.to_time, '[]')
             AND (b.last_timestamp < r.first_end OR b.last_timestamp > r.last_end)) AS o;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.traces_within(timestamptz[], timestamptz[]) IS
    'traces that ran within one of some times, give or take trace_ext.clock_skew, as of the last fold';

CREATE FUNCTION trace_ext_internal.merge_times(firsts timestamptz[], lasts timestamptz[], OUT from_times timestamptz[], OUT to_times timestamptz[])
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
    SELECT array_agg(m.f ORDER BY m.f), array_agg(m.t ORDER BY m.f)
      FROM (SELECT min(n.f) AS f, max(n.t) AS t
              FROM (SELECT g.f, g.t, count(*) FILTER (WHERE g.apart) OVER (ORDER BY g.f, g.t ROWS UNBOUNDED PRECEDING) AS number
                      FROM (SELECT r.f, r.t,
                                   r.f > trace_ext_internal.shifted(max(r.t) OVER (ORDER BY r.f, r.t ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
                                                              interval '1 s') AS apart
                              FROM unnest(firsts, lasts) AS r (f, t)) AS g) AS n
             GROUP BY n.number) AS m;
    END;
COMMENT ON FUNCTION trace_ext_internal.merge_times(timestamptz[], timestamptz[]) IS 'the times covered by some intervals; those a second apart or less are one';

-- Where very much ran at a time: what shares a variable with home, the latest first.
CREATE FUNCTION trace_ext_internal.rivals_of(home uuid[], from_time timestamptz, to_time timestamptz, most_events bigint,
                          OUT rivals uuid[], OUT all_of_them boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    horizon constant interval := current_setting('trace_ext.horizon')::interval;
BEGIN
    -- With times as constants: partitions outside are not even planned for.
    EXECUTE $q$
    SELECT coalesce(array_agg(q.trace_id) FILTER (WHERE q.total <= $4), '{}'),
           coalesce(bool_and(q.total <= $4), true)
      FROM (SELECT t.trace_id, sum(t.event_count) OVER (ORDER BY t.ended_at DESC, t.trace_id) AS total
              FROM trace_ext_internal.traces_within(ARRAY[$2], ARRAY[$3]) t
             WHERE t.access_count > 0 AND t.trace_id <> ALL ($1)
               AND t.trace_id IN (
                   SELECT e.trace_id FROM trace_ext.events e
                    WHERE e.kind = 'StateChange'
                      AND e.name = ANY (ARRAY(SELECT h.name FROM trace_ext.events h
                                               WHERE h.trace_id = ANY ($1) AND h.kind = 'StateChange'
                                                 AND h."timestamp" BETWEEN $2 AND $3))
                      AND e."timestamp" BETWEEN $5 AND $6)) AS q
    $q$ INTO rivals, all_of_them
    USING home, from_time, to_time, most_events, trace_ext_internal.shifted(from_time, - horizon), trace_ext_internal.shifted(to_time, horizon);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.rivals_of(uuid[], timestamptz, timestamptz, bigint) IS
    'traces that ran within a time and share a variable with home; of more than most_events events, the latest';

-- Of what accesses nothing, only this can be in a finding: as long as all traces
-- access something, nothing is read.
CREATE FUNCTION trace_ext_internal.traces_that_nest_locks(ids uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    low timestamptz;
    high timestamptz;
BEGIN
    SELECT r.first_timestamp, r.last_timestamp INTO low, high FROM trace_ext_internal.trace_range(ids) r;
    IF low <= high THEN
        RETURN QUERY EXECUTE $q$
            SELECT trace_id FROM trace_ext.events
             WHERE trace_id = ANY ($1) AND "timestamp" >= $2 AND "timestamp" <= $3 AND kind = 'LockAcquire'
             GROUP BY trace_id
            HAVING min(name COLLATE "C") <> max(name COLLATE "C")
            $q$ USING ids, low, high;
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.traces_that_nest_locks(uuid[]) IS
    'those of some traces that take more than one lock, and so may take one under another';

-- What was found to nest locks or not need not be read again.
CREATE FUNCTION trace_ext_internal.traces_to_compare(INOUT from_times timestamptz[], INOUT to_times timestamptz[],
                                                     INOUT read uuid[], INOUT nest uuid[], OUT ids uuid[])
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    apart uuid[];
    without uuid[];
    unread uuid[];
    starts timestamptz[];
    ends timestamptz[];
BEGIN
    SELECT array_agg(w.trace_id) FILTER (WHERE w.access_count > 0), array_agg(w.started_at) FILTER (WHERE w.access_count > 0),
           array_agg(w.ended_at) FILTER (WHERE w.access_count > 0), array_agg(w.trace_id) FILTER (WHERE w.access_count = 0)
      INTO ids, starts, ends, without
      FROM trace_ext_internal.traces_within(from_times, to_times) w;
    apart := trace_ext_internal.traces_apart(ids);
    IF apart <> '{}' THEN
        SELECT array_agg(u.id), array_agg(u.f), array_agg(u.t) INTO ids, starts, ends
          FROM unnest(ids, starts, ends) AS u (id, f, t) WHERE u.id NOT IN (SELECT unnest(apart));
    END IF;
    IF without IS NOT NULL THEN
        unread := ARRAY(SELECT unnest(without) EXCEPT SELECT unnest(read));
        nest := nest || ARRAY(SELECT trace_ext_internal.traces_that_nest_locks(unread));
        read := read || unread;
    END IF;
    IF nest <> '{}' THEN
        SELECT ids || array_agg(b.trace_id), starts || array_agg(b.started_at), ends || array_agg(b.ended_at) INTO ids, starts, ends
          FROM trace_ext.summary_base b WHERE b.trace_id IN (SELECT unnest(nest) INTERSECT SELECT unnest(without));
    END IF;
    from_times := starts;
    to_times := ends;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.traces_to_compare(timestamptz[], timestamptz[], uuid[], uuid[]) IS
    'traces that ran within one of some times and access something, or take a lock under another; and when each of them ran; '
    'read: those without accesses that were read so far; nest: what was found among them';

-- What traces of a time may have changed: home; what races with that; and what may
-- order those; of all these not those of which it is known that they have nothing to do with any other. Times apart from each other are looked at together, for a look costs
-- some milliseconds however little there is to see: no pair is of two of them.
CREATE FUNCTION trace_ext_internal.examine_batch(batch uuid[], most_events bigint, OUT changed uuid[], OUT looked_at int)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    -- Of times that are apart, no more events than this are read together.
    most_together constant bigint := 60000;
    f timestamptz[];
    t timestamptz[];
    batch_from timestamptz;
    batch_to timestamptz;
    times int;
    home uuid[];
    rivals uuid[];
    others uuid[];
    without uuid[];
    read uuid[];
    nest uuid[];
    events bigint;
    all_rivals boolean := true;
BEGIN
    -- The batch may have changed the pairs of all that it overlaps.
    SELECT array_agg(b.started_at), array_agg(b.ended_at), min(b.started_at), max(b.ended_at)
      INTO f, t, batch_from, batch_to
      FROM unnest(batch) AS d (id) JOIN trace_ext.summary_base b ON b.trace_id = d.id;
    SELECT m.from_times, m.to_times, cardinality(m.from_times) INTO f, t, times FROM trace_ext_internal.merge_times(f, t) m;
    SELECT r.ids, r.from_times, r.to_times, r.read, r.nest INTO home, f, t, read, nest
      FROM trace_ext_internal.traces_to_compare(f, t, '{}', '{}') r;
    -- Traces that are gone overlap nothing, and still take back what they added.
    IF home IS NULL THEN
        changed := trace_ext_internal.examine_traces(batch, '{}');
        looked_at := cardinality(batch);
        RETURN;
    END IF;

    -- What races with home, and what may order that.
    SELECT r.ids, r.from_times, r.to_times, r.nest INTO rivals, f, t, nest
      FROM trace_ext_internal.merge_times(f, t) m, trace_ext_internal.traces_to_compare(m.from_times, m.to_times, read, nest) r;
    WITH within AS MATERIALIZED (
        SELECT w.* FROM trace_ext_internal.merge_times(f, t) m, trace_ext_internal.traces_within(m.from_times, m.to_times) w
    ), apart AS MATERIALIZED (
        SELECT unnest(trace_ext_internal.traces_apart(ARRAY(SELECT w.trace_id FROM within w WHERE w.access_count > 0))) AS trace_id
    )
    SELECT array_agg(w.trace_id) FILTER (WHERE w.access_count > 0), array_agg(w.trace_id) FILTER (WHERE w.access_count = 0),
           sum(w.event_count)
      INTO others, without, events
      FROM within w WHERE w.trace_id NOT IN (SELECT a.trace_id FROM apart a);

    IF times > 1 AND events > most_together THEN
        SELECT h.changed, h.looked_at INTO changed, looked_at FROM trace_ext_internal.examine_halves(batch, most_events) h;
        RETURN;
    ELSIF events <= most_events THEN
        home := ARRAY(SELECT unnest(home) UNION SELECT unnest(batch));
        others := others || nest ||
            ARRAY(SELECT trace_ext_internal.traces_that_order(ARRAY(SELECT unnest(without) EXCEPT SELECT unnest(nest))));
    ELSE
        -- Only the batch then, and only what shares a variable with it.
        home := batch;
        SELECT r.rivals, r.all_of_them INTO rivals, all_rivals FROM trace_ext_internal.rivals_of(home, batch_from, batch_to, most_events) r;
        others := trace_ext_internal.ordering_traces(batch_from, batch_to, most_events);
    END IF;
    rivals := ARRAY(SELECT unnest(rivals) EXCEPT SELECT unnest(home));
    others := ARRAY(SELECT unnest(others) EXCEPT SELECT unnest(home || rivals));
    changed := trace_ext_internal.examine_traces(home, rivals, others, all_rivals);
    looked_at := cardinality(home);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.examine_batch(uuid[], bigint) IS
    'examines traces that changed, and those whose pairs they may have changed; returns the findings to refresh, and how many traces it looked at anew';

CREATE FUNCTION trace_ext_internal.examine_halves(batch uuid[], most_events bigint, OUT changed uuid[], OUT looked_at int)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    by_time constant uuid[] := ARRAY(SELECT d.id FROM unnest(batch) AS d (id) LEFT JOIN trace_ext.summary_base b ON b.trace_id = d.id
                                      ORDER BY b.first_timestamp, d.id);
    half constant int := cardinality(batch) / 2;
BEGIN
    SELECT a.changed || b.changed, a.looked_at + b.looked_at INTO changed, looked_at
      FROM trace_ext_internal.examine_batch(by_time[:half], most_events) a, trace_ext_internal.examine_batch(by_time[half + 1:], most_events) b;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.examine_halves(uuid[], bigint) IS 'examines the earlier half of some traces, then the later one';

--
-- Step by step
--

CREATE FUNCTION trace_ext_internal.traces_that_miss_a_parent(ids uuid[]) RETURNS uuid[]
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_traces_that_miss_a_parent';
COMMENT ON FUNCTION trace_ext_internal.traces_that_miss_a_parent(uuid[]) IS 'those of some traces in which an event names a parent that is not there';

-- The earliest, by the times of their events: what is looked at together should have
-- happened together.
CREATE FUNCTION trace_ext_internal.first_queued(until timestamptz, most int) RETURNS uuid[]
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT ARRAY(
           SELECT q.trace_id
             FROM (SELECT d.trace_id, row_number() OVER (ORDER BY d.first_timestamp) AS place
                     FROM trace_ext.detect_queue d WHERE NOT d.waits AND d.queued_at <= first_queued.until
                    -- A trace has a row for each fold that touched it.
                    ORDER BY d.first_timestamp LIMIT first_queued.most * 4) AS q
            GROUP BY q.trace_id ORDER BY min(q.place) LIMIT first_queued.most);
    END;
COMMENT ON FUNCTION trace_ext_internal.first_queued(timestamptz, int) IS
    'up to so many traces that were queued until a time and do not wait, the earliest first';

CREATE FUNCTION trace_ext_internal.take_detect_queue(until timestamptz, most_traces int, OUT taken int, OUT ids uuid[])
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    most_events constant bigint := most_traces * 5;
    -- But not just a few long ones: each look reads all that overlaps them as well.
    few_traces constant int := 32;
    most_of_few constant bigint := 60000;
    fresh constant timestamptz := clock_timestamp() - current_setting('trace_ext.lateness')::interval;
    young uuid[];
    since timestamptz[];
    waiting uuid[];
BEGIN
    -- Rows that somebody else deletes are not waited for: he may wait for others of them.
    UPDATE trace_ext.detect_queue SET waits = false
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM trace_ext.detect_queue WHERE waits AND queued_at <= fresh FOR UPDATE SKIP LOCKED));
    ids := trace_ext_internal.first_queued(until, greatest(most_traces, few_traces));
    ids := ARRAY(
        SELECT c.trace_id
          FROM (SELECT f.trace_id, f.number, coalesce(sum(b.event_count) OVER (ORDER BY f.number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
                  FROM unnest(ids) WITH ORDINALITY AS f (trace_id, number) LEFT JOIN trace_ext.summary_base b ON b.trace_id = f.trace_id) AS c
         WHERE c.before < most_events OR (c.number <= few_traces AND c.before < most_of_few));
    WITH gone AS (
        DELETE FROM trace_ext.detect_queue
         WHERE ctid = ANY (ARRAY(SELECT ctid FROM trace_ext.detect_queue WHERE trace_id = ANY (ids) FOR UPDATE SKIP LOCKED))
        RETURNING trace_id, queued_at
    )
    SELECT coalesce(array_agg(trace_id), '{}'), array_agg(trace_id) FILTER (WHERE queued_at > fresh),
           array_agg(queued_at) FILTER (WHERE queued_at > fresh)
      INTO ids, young, since
      FROM (SELECT trace_id, min(queued_at) AS queued_at FROM gone GROUP BY trace_id) AS q;
    taken := cardinality(ids);

    -- A parent that is missing may be under way; of a database's own events none is.
    waiting := trace_ext_internal.traces_that_miss_a_parent(ARRAY(
        SELECT y.id FROM unnest(young) AS y (id) LEFT JOIN trace_ext.summary_base b ON b.trace_id = y.id
         WHERE b.trace_id IS NULL OR trace_ext_internal.watch_known(b.trace_id, b.event_count, b.access_count) < 2));
    IF waiting <> '{}' THEN
        INSERT INTO trace_ext.detect_queue (trace_id, queued_at, first_timestamp, waits)
        SELECT y.id, y.at, (SELECT b.first_timestamp FROM trace_ext.summary_base b WHERE b.trace_id = y.id), true
          FROM unnest(young, since) AS y (id, at) WHERE y.id = ANY (waiting);
        ids := ARRAY(SELECT unnest(ids) EXCEPT SELECT unnest(waiting));
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.take_detect_queue(timestamptz, int) IS
    'takes up to so many traces that were queued until a time from the queue, fewer if they are long, but some dozens; those with a missing parent go back and wait trace_ext.lateness';

CREATE FUNCTION trace_ext_internal.detect_step(until timestamptz, OUT taken int, OUT examined int)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    dirty uuid[];
    batch uuid[];
    changed uuid[];
    looked_at int;
    begun timestamptz;
    most int;
BEGIN
    -- In C: the call loads the library, which defines the settings.
    PERFORM trace_ext_internal.restoring();
    SELECT d.at_once, clock_timestamp() INTO most, begun FROM trace_ext.detect_state d FOR UPDATE;
    SELECT q.taken, q.ids, cardinality(q.ids) INTO taken, dirty, examined FROM trace_ext_internal.take_detect_queue(until, most) q;
    IF examined > 0 THEN
        dirty := ARRAY(SELECT unnest(dirty) EXCEPT SELECT unnest(trace_ext_internal.traces_apart(dirty)));
        -- What neither accesses anything, nor did, nor orders others changes nothing.
        SELECT array_agg(d.id) FILTER (WHERE d.matters), array_agg(d.id) FILTER (WHERE NOT d.matters) INTO batch, dirty
          FROM (SELECT t.id, s.trace_id IS NULL OR s.access_count > 0
                          OR EXISTS (SELECT FROM trace_ext.race_pairs p WHERE p.trace1 = t.id)
                          OR EXISTS (SELECT FROM trace_ext.race_pairs p WHERE p.trace2 = t.id) AS matters
                  FROM unnest(dirty) AS t (id) LEFT JOIN trace_ext.summary_base s ON s.trace_id = t.id) AS d;
        batch := batch || ARRAY(SELECT trace_ext_internal.traces_that_order(dirty));
        IF batch <> '{}' THEN
            SELECT e.changed, e.looked_at INTO changed, looked_at FROM trace_ext_internal.examine_batch(batch, 200000) e;
            PERFORM trace_ext_internal.refresh_findings(changed, batch);
        END IF;
    END IF;
    PERFORM trace_ext_internal.sweep_race_pairs(2000);
    UPDATE trace_ext.detect_state
       SET detected_at = clock_timestamp(), traces_examined = traces_examined + examined,
           -- How much there is to see in a trace shows only when it was looked at. Where much
           -- of it was what only overlaps, fewer traces would take nearly as long: what overlaps that is read too.
           at_once = CASE WHEN clock_timestamp() - begun > interval '1 s' AND looked_at * 4 <= 5 * cardinality(batch) THEN greatest(at_once / 2, 10)
                          WHEN clock_timestamp() - begun < interval '400 ms' AND examined >= at_once / 2 THEN least(at_once * 2, 4000)
                          ELSE at_once END;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.detect_step(timestamptz) IS
    'looks at some of the traces that were queued until a time, about a second''s work, and brings findings up to date; waits for another step; '
    'returns how many it took from the queue, and at how many of these it looked';

-- First what is queued, then what is not folded yet, so that as little as may be is
-- done while nobody else can fold.
CREATE FUNCTION detect() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    until timestamptz := clock_timestamp();
    examined bigint := 0;
    step record;
BEGIN
    FOR pass IN 1 .. 2 LOOP
        LOOP
            SELECT s.* INTO step FROM trace_ext_internal.detect_step(until) s;
            examined := examined + step.examined;
            EXIT WHEN step.taken = 0;
        END LOOP;
        EXIT WHEN NOT EXISTS (SELECT FROM trace_ext.summary_deltas);
        PERFORM trace_ext.fold();
        until := clock_timestamp();
    END LOOP;
    RETURN examined;
END
$$;
COMMENT ON FUNCTION detect() IS
    'looks at all that is new and brings findings up to date; returns the number of traces that had changed. One transaction, which another '
    'detect() waits for: a long queue is better left to CALL detect_all(). A trace with a missing parent waits up to trace_ext.lateness for it';

-- Neither SECURITY DEFINER nor SET: a procedure with either may not commit.
CREATE PROCEDURE detect_all(INOUT traces bigint DEFAULT NULL)
    LANGUAGE plpgsql
    AS $$
DECLARE
    until timestamptz;
    step record;
BEGIN
    traces := 0;
    PERFORM trace_ext.fold();
    COMMIT;
    until := pg_catalog.clock_timestamp();
    LOOP
        SELECT s.* INTO step FROM trace_ext_internal.detect_step(until) s;
        COMMIT;
        EXIT WHEN step.taken OPERATOR(pg_catalog.=) 0;
        traces := traces OPERATOR(pg_catalog.+) step.examined;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE detect_all(bigint) IS
    'as detect(), but commits each step: others fold, and what was done is kept, whatever ends it; returns the number of traces that had changed';
