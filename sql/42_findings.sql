-- Findings: races grouped by where in the code they happen, kept up to date by
-- detect().
--
-- fold() queues the traces that statements touched. detect() looks again at these
-- and at every trace that overlaps one of them, because an event that arrives can
-- order, or no longer order, any two traces around it; what was known of them is
-- replaced. So the pairs of traces depend on the events alone, and any order and
-- split of batches ends in the same findings.
--
-- What two traces added is remembered, in a small row, for as long as one of them
-- is stored: no clock decides when a pair is done with, so none can make it count
-- again. When both have left, their row is added up with others and leaves too.
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

-- What two traces add to a finding; NULL traces: the sum of a finding, with the
-- best sample of traces that have left.
CREATE TABLE race_pairs (
    finding_id       uuid             NOT NULL,
    trace1           uuid,
    trace2           uuid,
    occurrences      bigint           NOT NULL,
    first_seen       timestamptz,
    last_seen        timestamptz,
    confidence       double precision,
    event1_at        timestamptz,
    event1_id        uuid,
    event1_trace_id  uuid,
    event2_id        uuid,
    event2_trace_id  uuid,
    evidence         text
);
-- What a trace that is looked at again had added.
CREATE INDEX race_pairs_trace1_idx ON race_pairs (trace1);
CREATE INDEX race_pairs_trace2_idx ON race_pairs (trace2);
-- What a finding says, without a walk over all its pairs.
CREATE INDEX race_pairs_first_idx ON race_pairs (finding_id, first_seen) WHERE trace1 IS NOT NULL;
CREATE INDEX race_pairs_last_idx ON race_pairs (finding_id, last_seen) WHERE trace1 IS NOT NULL;
CREATE INDEX race_pairs_best_idx ON race_pairs (finding_id, confidence DESC, event1_at) WHERE trace1 IS NOT NULL;
CREATE UNIQUE INDEX race_pairs_sum_idx ON race_pairs (finding_id) WHERE trace1 IS NULL;
COMMENT ON TABLE race_pairs IS
    'what two traces add to a finding, as long as one of them is stored; trace1 and trace2 NULL: how often the finding occurred in all, '
    'and for the rest what is left of traces that have gone';
COMMENT ON COLUMN race_pairs.evidence IS 'its sentence, for the best pair of those looked at together: no other is ever shown';
COMMENT ON INDEX race_pairs_trace1_idx IS 'what a trace added to findings';
COMMENT ON INDEX race_pairs_trace2_idx IS 'what a trace added to findings';
COMMENT ON INDEX race_pairs_first_idx IS 'the first pair of a finding';
COMMENT ON INDEX race_pairs_last_idx IS 'the last pair of a finding';
COMMENT ON INDEX race_pairs_best_idx IS 'the best sample of a finding';
COMMENT ON INDEX race_pairs_sum_idx IS 'one sum a finding';

CREATE TYPE finding_status AS ENUM ('open', 'acknowledged', 'ignored');
COMMENT ON TYPE finding_status IS 'what a reader decided about a finding';

CREATE TABLE findings (
    id               uuid             PRIMARY KEY,
    kind             text             NOT NULL,
    variable         text             NOT NULL,
    location1        text,
    location2        text,
    severity         text             NOT NULL,
    confidence       double precision NOT NULL,
    confirmed        boolean          NOT NULL,
    occurrences      bigint           NOT NULL,
    first_seen       timestamptz,
    last_seen        timestamptz,
    event1_id        uuid,
    event1_trace_id  uuid,
    event2_id        uuid,
    event2_trace_id  uuid,
    evidence         text,
    status           finding_status   NOT NULL DEFAULT 'open'
);
COMMENT ON TABLE findings IS 'races by where they happen, and locks taken in opposite orders; detect() keeps it, set_finding_status() decides about a row';
COMMENT ON COLUMN findings.id IS 'follows from kind, variable and locations: the same finding always has the same id';
COMMENT ON COLUMN findings.kind IS 'what goes wrong: lost update, write-write, read-write, lock order, ...';
COMMENT ON COLUMN findings.variable IS 'the variable; of lock order, the names of the locks, each taken before the next and the last before the first';
COMMENT ON COLUMN findings.location1 IS 'where the earlier access is; of write-write, read-write and lock order, the smaller location';
COMMENT ON COLUMN findings.location2 IS 'where the later access is; of lock order, these are where the first two of the locks are taken under another';
COMMENT ON COLUMN findings.severity IS 'CRITICAL, WARNING or INFO';
COMMENT ON COLUMN findings.confidence IS 'of the best pair, from 0 to 1';
COMMENT ON COLUMN findings.confirmed IS 'values prove it';
COMMENT ON COLUMN findings.occurrences IS
    'pairs seen; of one variable between two traces, at most 1000 are counted, and of one batch at most 500000; lock order counts once for two traces. 0: later events showed that it was none';
COMMENT ON COLUMN findings.first_seen IS 'time of the later access of the first pair';
COMMENT ON COLUMN findings.last_seen IS 'time of the later access of the last pair';
COMMENT ON COLUMN findings.event1_id IS 'the earlier access of the best pair, the first such';
COMMENT ON COLUMN findings.event1_trace_id IS 'its trace';
COMMENT ON COLUMN findings.event2_id IS 'the later access of that pair';
COMMENT ON COLUMN findings.event2_trace_id IS 'its trace';
COMMENT ON COLUMN findings.evidence IS 'that pair in a sentence';
COMMENT ON COLUMN findings.status IS 'open, acknowledged or ignored; detection does not change it';
-- What top counts, whatever has been found before.
CREATE INDEX findings_newest_idx ON findings (last_seen DESC NULLS LAST) WHERE status = 'open' AND occurrences > 0;
COMMENT ON INDEX findings_newest_idx IS 'open findings, the last seen first';
SELECT pg_catalog.pg_extension_config_dump('findings', '');

-- A dump brings findings with what was decided about them. detect() may have found
-- some of them again by then: what the dump says replaces that.
CREATE FUNCTION trace_ext_internal.keep_finding() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    UPDATE trace_ext.findings f SET status = NEW.status WHERE f.id = NEW.id;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_finding() IS 'row trigger on findings: lets a restored dump set the status of those that were found again already';
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON findings
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.keep_finding();
COMMENT ON TRIGGER trace_ext_keep ON findings IS 'lets a restored dump set the status of findings that were found again already';

-- A dump brings all of race_pairs: what traces that have left added is known from
-- nothing else, and what is stored is replaced when detect() looks at it. It may have
-- looked before the dump's rows come: the same pair counts once, in any order of rows.
SELECT pg_catalog.pg_extension_config_dump('race_pairs', '');
CREATE FUNCTION trace_ext_internal.keep_race_pair() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
DECLARE
    found_again bigint;
BEGIN
    -- Nothing was found yet: as nearly always.
    IF (SELECT d.traces_examined = 0 FROM trace_ext.detect_state d) THEN
        RETURN NEW;
    ELSIF NEW.trace1 IS NOT NULL THEN
        -- By its trace: a finding may have a million.
        SELECT sum(p.occurrences) INTO found_again FROM (SELECT * FROM trace_ext.race_pairs t WHERE t.trace1 = NEW.trace1 OFFSET 0) AS p
         WHERE p.trace2 = NEW.trace2 AND p.finding_id = NEW.finding_id AND p.event1_trace_id = NEW.event1_trace_id;
        IF found_again IS NULL THEN
            RETURN NEW;
        END IF;
        INSERT INTO trace_ext.race_pairs AS s (finding_id, occurrences) VALUES (NEW.finding_id, -found_again)
        ON CONFLICT (finding_id) WHERE trace1 IS NULL DO UPDATE SET occurrences = s.occurrences + excluded.occurrences;
    ELSE
        UPDATE trace_ext.race_pairs s
           SET occurrences = s.occurrences + NEW.occurrences,
               first_seen = least(s.first_seen, NEW.first_seen), last_seen = greatest(s.last_seen, NEW.last_seen),
               (confidence, event1_at, event1_id, event1_trace_id, event2_id, event2_trace_id, evidence) =
               (SELECT b.confidence, b.event1_at, b.event1_id, b.event1_trace_id, b.event2_id, b.event2_trace_id, b.evidence
                  FROM (VALUES (s.confidence, s.event1_at, s.event1_id, s.event1_trace_id, s.event2_id, s.event2_trace_id, s.evidence),
                               (NEW.confidence, NEW.event1_at, NEW.event1_id, NEW.event1_trace_id, NEW.event2_id, NEW.event2_trace_id, NEW.evidence))
                       AS b (confidence, event1_at, event1_id, event1_trace_id, event2_id, event2_trace_id, evidence)
                 ORDER BY b.evidence IS NULL, b.confidence DESC NULLS LAST, b.event1_at LIMIT 1)
         WHERE s.finding_id = NEW.finding_id AND s.trace1 IS NULL;
        IF NOT FOUND THEN
            RETURN NEW;
        END IF;
    END IF;
    PERFORM trace_ext_internal.refresh_findings(ARRAY[NEW.finding_id]);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_race_pair() IS
    'row trigger on race_pairs: adds what a restored dump says to what was found again already, the same pair once';
-- Detection has a search_path of its own, so it never looks like a dump, whoever calls it.
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON race_pairs
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off' AND current_setting('search_path') IN ('', '""'))
    EXECUTE FUNCTION trace_ext_internal.keep_race_pair();
COMMENT ON TRIGGER trace_ext_keep ON race_pairs IS 'lets a restored dump count what traces that have left added to findings';

CREATE FUNCTION trace_ext_internal.pairs_of_traces(home uuid[], rivals uuid[], others uuid[], max_pairs int)
    RETURNS TABLE (
    kind text, variable text, location1 text, location2 text, severity text, confidence double precision,
    occurrences bigint, first_seen timestamptz, last_seen timestamptz,
    event1_at timestamptz, event1_id uuid, event1_trace_id uuid, event2_id uuid, event2_trace_id uuid, evidence text)
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_pairs_of_traces';
COMMENT ON FUNCTION trace_ext_internal.pairs_of_traces(uuid[], uuid[], uuid[], int) IS
    'racing pairs with an end in a home trace and the other in home or a rival, added up by finding and traces, each with the best of them; '
    'others only order; of one variable between two traces, at most max_pairs';

CREATE FUNCTION trace_ext_internal.finding_id(kind text, variable text, location1 text, location2 text) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    RETURN pg_catalog.md5(pg_catalog.jsonb_build_array(kind, variable, location1, location2)::text)::uuid;
COMMENT ON FUNCTION trace_ext_internal.finding_id(text, text, text, text) IS 'the id of the finding of this kind, variable and locations';

-- Bring findings in line with race_pairs. The best sample may have no sentence,
-- because a better one was found with it and is gone: then it is looked at again,
-- unless it just was, or cannot be any more.
CREATE FUNCTION trace_ext_internal.refresh_findings(ids uuid[], looked_at uuid[] = '{}') RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
#variable_conflict use_column
BEGIN
    WITH best AS MATERIALIZED (
        SELECT s.finding_id, s.occurrences, least(s.first_seen, a.first_seen) AS first_seen,
               greatest(s.last_seen, z.last_seen) AS last_seen, b.*
          FROM trace_ext.race_pairs s
          LEFT JOIN LATERAL (SELECT p.first_seen FROM trace_ext.race_pairs p WHERE p.finding_id = s.finding_id AND p.trace1 IS NOT NULL
                              ORDER BY p.first_seen LIMIT 1) AS a ON true
          LEFT JOIN LATERAL (SELECT p.last_seen FROM trace_ext.race_pairs p WHERE p.finding_id = s.finding_id AND p.trace1 IS NOT NULL
                              ORDER BY p.last_seen DESC LIMIT 1) AS z ON true
          LEFT JOIN LATERAL (
               SELECT c.* FROM (
                   (SELECT p.trace1, p.trace2, p.confidence, p.event1_at, p.event1_id, p.event1_trace_id, p.event2_id, p.event2_trace_id, p.evidence
                      FROM trace_ext.race_pairs p WHERE p.finding_id = s.finding_id AND p.trace1 IS NOT NULL
                     ORDER BY p.confidence DESC, p.event1_at, p.event1_trace_id, p.event1_id, p.event2_trace_id, p.event2_id LIMIT 1)
                   UNION ALL
                   SELECT NULL, NULL, s.confidence, s.event1_at, s.event1_id, s.event1_trace_id, s.event2_id, s.event2_trace_id, s.evidence
                    WHERE s.confidence IS NOT NULL) AS c
                ORDER BY c.confidence DESC, c.event1_at, c.event1_trace_id, c.event1_id, c.event2_trace_id, c.event2_id LIMIT 1) AS b ON true
         WHERE s.finding_id = ANY (ids) AND s.trace1 IS NULL AND s.occurrences > 0
    ), again AS (
        INSERT INTO trace_ext.detect_queue (trace_id, queued_at)
        SELECT t.id, now() FROM best b, unnest(ARRAY[b.trace1, b.trace2]) AS t (id)
         WHERE b.evidence IS NULL AND (b.trace1 <> ALL (looked_at) OR b.trace2 <> ALL (looked_at))
           AND EXISTS (SELECT FROM trace_ext.summary_base s WHERE s.trace_id = b.trace1)
           AND EXISTS (SELECT FROM trace_ext.summary_base s WHERE s.trace_id = b.trace2)
    )
    UPDATE trace_ext.findings f
       SET occurrences = b.occurrences, first_seen = b.first_seen, last_seen = b.last_seen,
           confidence = b.confidence, confirmed = b.confidence = 1,
           event1_id = b.event1_id, event1_trace_id = b.event1_trace_id,
           event2_id = b.event2_id, event2_trace_id = b.event2_trace_id, evidence = b.evidence
      FROM best b WHERE f.id = b.finding_id;
    DELETE FROM trace_ext.race_pairs s WHERE s.finding_id = ANY (ids) AND s.trace1 IS NULL AND s.occurrences <= 0;
    DELETE FROM trace_ext.findings f
     WHERE f.id = ANY (ids) AND f.status = 'open'
       AND NOT EXISTS (SELECT FROM trace_ext.race_pairs p WHERE p.finding_id = f.id AND p.trace1 IS NULL);
    UPDATE trace_ext.findings f SET occurrences = 0
     WHERE f.id = ANY (ids) AND f.occurrences > 0
       AND NOT EXISTS (SELECT FROM trace_ext.race_pairs p WHERE p.finding_id = f.id AND p.trace1 IS NULL);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.refresh_findings(uuid[], uuid[]) IS
    'brings these findings in line with race_pairs; open ones that nothing supports any more go; looked_at need not be looked at again';

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
    ids := ARRAY(
        SELECT c.trace_id
          FROM (SELECT d.trace_id, coalesce(sum(b.event_count) OVER (ORDER BY d.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before,
                       row_number() OVER (ORDER BY d.place) AS number
                  FROM (SELECT q.trace_id, min(q.place) AS place
                          FROM (SELECT trace_id, row_number() OVER (ORDER BY first_timestamp) AS place
                                  FROM trace_ext.detect_queue WHERE NOT waits AND queued_at <= until
                                 -- A trace has a row for each fold that touched it.
                                 ORDER BY first_timestamp LIMIT greatest(most_traces, few_traces) * 4) AS q
                         GROUP BY q.trace_id ORDER BY place LIMIT greatest(most_traces, few_traces)) AS d
                  LEFT JOIN trace_ext.summary_base b ON b.trace_id = d.trace_id) AS c
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

-- Pairs both traces of which have left are added up. A trace of which there is neither
-- a summary nor a delta nor a row in the queue is not looked at again.
CREATE FUNCTION trace_ext_internal.sweep_race_pairs(most int) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    since constant uuid := (SELECT swept FROM trace_ext.detect_state);
    reached uuid;
    rows int;
BEGIN
    SELECT max(trace1::text)::uuid, count(*) INTO reached, rows
      FROM (SELECT trace1 FROM trace_ext.race_pairs WHERE trace1 > since ORDER BY trace1 LIMIT most) AS next;
    WITH old AS (
        DELETE FROM trace_ext.race_pairs p
         WHERE p.trace1 > since AND p.trace1 <= reached
           AND NOT EXISTS (SELECT FROM trace_ext.summary_base b WHERE b.trace_id = p.trace1)
           AND NOT EXISTS (SELECT FROM trace_ext.summary_base b WHERE b.trace_id = p.trace2)
           AND NOT EXISTS (SELECT FROM trace_ext.detect_queue q WHERE q.trace_id = p.trace1)
           AND NOT EXISTS (SELECT FROM trace_ext.detect_queue q WHERE q.trace_id = p.trace2)
           AND p.trace1 NOT IN (SELECT d.trace_id FROM trace_ext_internal.outstanding_deltas() d)
           AND p.trace2 NOT IN (SELECT d.trace_id FROM trace_ext_internal.outstanding_deltas() d)
        RETURNING *
    ), times AS (
        SELECT finding_id, min(first_seen) AS first_seen, max(last_seen) AS last_seen FROM old GROUP BY finding_id
    ), samples AS (
        SELECT finding_id, confidence, event1_at, event1_id, event1_trace_id, event2_id, event2_trace_id, evidence FROM old
        UNION ALL
        SELECT finding_id, confidence, event1_at, event1_id, event1_trace_id, event2_id, event2_trace_id, evidence
          FROM trace_ext.race_pairs s
         WHERE s.finding_id IN (SELECT finding_id FROM times) AND s.trace1 IS NULL AND s.confidence IS NOT NULL
    ), best AS (
        -- One that can still be told, if there is one.
        SELECT DISTINCT ON (finding_id) * FROM samples
         ORDER BY finding_id, evidence IS NULL, confidence DESC, event1_at, event1_trace_id, event1_id, event2_trace_id, event2_id
    )
    UPDATE trace_ext.race_pairs s
       SET first_seen = least(s.first_seen, t.first_seen), last_seen = greatest(s.last_seen, t.last_seen),
           confidence = b.confidence, event1_at = b.event1_at, event1_id = b.event1_id, event1_trace_id = b.event1_trace_id,
           event2_id = b.event2_id, event2_trace_id = b.event2_trace_id, evidence = b.evidence
      FROM times t JOIN best b USING (finding_id)
     WHERE s.finding_id = t.finding_id AND s.trace1 IS NULL;
    UPDATE trace_ext.detect_state
       SET swept = CASE WHEN rows < most THEN '00000000-0000-0000-0000-000000000000' ELSE reached END;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.sweep_race_pairs(int) IS
    'looks through so many rows of race_pairs, from where it ended the last time, and adds up those whose traces have both left';

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

CREATE FUNCTION trace_ext_internal.findings_page(severity text, variable text, page_size bigint, page bigint, include_ignored boolean)
    RETURNS SETOF findings
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT f.* FROM trace_ext.findings f
     WHERE (findings_page.severity IS NULL OR f.severity = upper(findings_page.severity))
       AND (findings_page.variable IS NULL OR f.variable = findings_page.variable)
       AND (findings_page.include_ignored OR f.status <> 'ignored')
     ORDER BY array_position(ARRAY['CRITICAL', 'WARNING', 'INFO'], f.severity), f.confidence DESC,
              f.occurrences DESC, f.last_seen DESC, f.id
     LIMIT greatest(page_size, 0) OFFSET least(greatest(page_size, 0)::numeric * (greatest(page, 1) - 1), 9223372036854775807)::bigint;
    END;
COMMENT ON FUNCTION trace_ext_internal.findings_page(text, text, bigint, bigint, boolean) IS 'the query of global_races(), never cached';

CREATE FUNCTION global_races(severity text = NULL, variable text = NULL, page_size bigint = 50, page bigint = 1,
                             include_ignored boolean = false) RETURNS SETOF findings
    LANGUAGE c STABLE ROWS 50
    AS 'MODULE_PATHNAME', 'tex_cached_global_races';
COMMENT ON FUNCTION global_races(text, text, bigint, bigint, boolean) IS
    'findings, worst and surest first; of one severity, or one variable, if given; by page, from 1; ignored ones only if asked for. '
    'With the cache the answer may be trace_ext.cache_report_ttl old, but a session sees what it changed itself at once';

CREATE FUNCTION set_finding_status(id uuid, status finding_status) RETURNS boolean
    LANGUAGE sql VOLATILE
    BEGIN ATOMIC
    WITH changed AS (
        UPDATE trace_ext.findings f SET status = set_finding_status.status
         WHERE f.id = set_finding_status.id RETURNING 1)
    SELECT EXISTS (SELECT FROM changed);
    END;
COMMENT ON FUNCTION set_finding_status(uuid, finding_status) IS
    'acknowledges, ignores or reopens a finding; false if there is none with this id';

-- For drivers that send the status as text, and with the values in the error.
CREATE FUNCTION set_finding_status(id uuid, status text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF status IS NULL OR status <> ALL (enum_range(NULL::trace_ext.finding_status)::text[]) THEN
        RAISE EXCEPTION 'a finding cannot have the status "%"', status USING ERRCODE = 'invalid_parameter_value',
              HINT = 'A status is one of ' || array_to_string(enum_range(NULL::trace_ext.finding_status), ', ') || '.';
    END IF;
    RETURN trace_ext.set_finding_status(id, status::trace_ext.finding_status);
END
$$;
COMMENT ON FUNCTION set_finding_status(uuid, text) IS 'the same with a status that is given as text';
