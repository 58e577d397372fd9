-- Findings: races grouped by where in the code they happen, kept up to date by
-- detect().
--
-- fold() queues the traces that statements touched. detect() looks again at these
-- and at every trace that overlaps one of them, because an event that arrives can
-- order, or no longer order, any two traces around it; what was known of them is
-- replaced. So the pairs of traces depend on the events alone, and any order and
-- split of batches ends in the same findings. Pairs older than the horizon are
-- added up and no longer looked at, so that tables stay bounded.

CREATE TABLE detect_queue (
    trace_id   uuid        NOT NULL,
    queued_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE detect_queue IS 'traces that gained or lost events since detect() looked at them';
COMMENT ON COLUMN detect_queue.trace_id IS 'the trace; more than one row is no harm';
COMMENT ON COLUMN detect_queue.queued_at IS 'since when; a trace with a missing parent waits trace_ext.lateness from then';

-- One row, locked by who detects: never two at once.
CREATE TABLE detect_state (
    detected_at      timestamptz,
    traces_examined  bigint NOT NULL
);
INSERT INTO detect_state VALUES (NULL, 0);
COMMENT ON TABLE detect_state IS 'one row: when detect() last ran and how many traces it has looked at';
COMMENT ON COLUMN detect_state.detected_at IS 'end of the last run';
COMMENT ON COLUMN detect_state.traces_examined IS 'traces looked at so far, each time counted';

-- What two traces add to a finding; NULL traces: all pairs behind the horizon.
CREATE TABLE race_pairs (
    finding_id       uuid             NOT NULL,
    trace1           uuid,
    trace2           uuid,
    occurrences      bigint           NOT NULL,
    first_seen       timestamptz      NOT NULL,
    last_seen        timestamptz      NOT NULL,
    confidence       double precision NOT NULL,
    event1_at        timestamptz      NOT NULL,
    event1_id        uuid             NOT NULL,
    event1_trace_id  uuid             NOT NULL,
    event2_id        uuid             NOT NULL,
    event2_trace_id  uuid             NOT NULL,
    evidence         text             NOT NULL
);
-- What a trace that is looked at again had added.
CREATE INDEX race_pairs_trace1_idx ON race_pairs (trace1);
CREATE INDEX race_pairs_trace2_idx ON race_pairs (trace2);
-- What a finding consists of.
CREATE INDEX race_pairs_finding_idx ON race_pairs (finding_id);
-- What is behind the horizon.
CREATE INDEX race_pairs_last_seen_idx ON race_pairs (last_seen) WHERE trace1 IS NOT NULL;
CREATE UNIQUE INDEX race_pairs_retired_idx ON race_pairs (finding_id) WHERE trace1 IS NULL;
COMMENT ON TABLE race_pairs IS
    'what two traces add to a finding, and its best sample; trace1 and trace2 NULL: all that is behind trace_ext.horizon';
COMMENT ON INDEX race_pairs_trace1_idx IS 'what a trace added to findings';
COMMENT ON INDEX race_pairs_trace2_idx IS 'what a trace added to findings';
COMMENT ON INDEX race_pairs_finding_idx IS 'what a finding consists of';
COMMENT ON INDEX race_pairs_last_seen_idx IS 'what is behind the horizon';
COMMENT ON INDEX race_pairs_retired_idx IS 'one sum a finding of what is behind the horizon';

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
COMMENT ON TABLE findings IS 'races by where they happen; detect() keeps it, set_finding_status() decides about a row';
COMMENT ON COLUMN findings.id IS 'follows from kind, variable and locations: the same finding always has the same id';
COMMENT ON COLUMN findings.kind IS 'what goes wrong: lost update, write-write, read-write, ...';
COMMENT ON COLUMN findings.variable IS 'the variable';
COMMENT ON COLUMN findings.location1 IS 'where the earlier access is; of write-write and read-write, the smaller location';
COMMENT ON COLUMN findings.location2 IS 'where the later access is';
COMMENT ON COLUMN findings.severity IS 'CRITICAL, WARNING or INFO';
COMMENT ON COLUMN findings.confidence IS 'of the best pair, from 0 to 1';
COMMENT ON COLUMN findings.confirmed IS 'values prove it';
COMMENT ON COLUMN findings.occurrences IS
    'pairs seen; of one variable between two traces, at most 1000 are counted, and of one batch at most 500000. 0: later events showed that it was none';
COMMENT ON COLUMN findings.first_seen IS 'time of the later access of the first pair';
COMMENT ON COLUMN findings.last_seen IS 'time of the later access of the last pair';
COMMENT ON COLUMN findings.event1_id IS 'the earlier access of the best pair, the first such';
COMMENT ON COLUMN findings.event1_trace_id IS 'its trace';
COMMENT ON COLUMN findings.event2_id IS 'the later access of that pair';
COMMENT ON COLUMN findings.event2_trace_id IS 'its trace';
COMMENT ON COLUMN findings.evidence IS 'that pair in a sentence';
COMMENT ON COLUMN findings.status IS 'open, acknowledged or ignored; detection does not change it';
SELECT pg_catalog.pg_extension_config_dump('findings', '');

-- A dump brings findings with what was decided about them. detect() may have found
-- some of them again by then: what the dump says replaces that.
CREATE FUNCTION keep_finding() RETURNS trigger
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
COMMENT ON FUNCTION keep_finding() IS 'row trigger on findings: lets a restored dump set the status of those that were found again already';
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON findings
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION keep_finding();
COMMENT ON TRIGGER trace_ext_keep ON findings IS 'lets a restored dump set the status of findings that were found again already';

CREATE FUNCTION pairs_of_traces(home uuid[], rivals uuid[], others uuid[], max_pairs int)
    RETURNS TABLE (
    kind text, variable text, location1 text, location2 text, severity text, confidence double precision,
    occurrences bigint, first_seen timestamptz, last_seen timestamptz,
    event1_at timestamptz, event1_id uuid, event1_trace_id uuid, event2_id uuid, event2_trace_id uuid, evidence text)
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_pairs_of_traces';
COMMENT ON FUNCTION pairs_of_traces(uuid[], uuid[], uuid[], int) IS
    'racing pairs with an end in a home trace and the other in home or a rival, added up by finding and traces, each with the best of them; '
    'others only order; of one variable between two traces, at most max_pairs';

CREATE FUNCTION finding_id(kind text, variable text, location1 text, location2 text) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    RETURN pg_catalog.md5(pg_catalog.jsonb_build_array(kind, variable, location1, location2)::text)::uuid;
COMMENT ON FUNCTION finding_id(text, text, text, text) IS 'the id of the finding of this kind, variable and locations';

-- Bring findings in line with race_pairs.
CREATE FUNCTION refresh_findings(ids uuid[]) RETURNS void
    LANGUAGE sql VOLATILE
    BEGIN ATOMIC
    UPDATE trace_ext.findings f
       SET occurrences = s.occurrences, first_seen = s.first_seen, last_seen = s.last_seen,
           confidence = b.confidence, confirmed = b.confidence = 1,
           event1_id = b.event1_id, event1_trace_id = b.event1_trace_id,
           event2_id = b.event2_id, event2_trace_id = b.event2_trace_id, evidence = b.evidence
      FROM (SELECT finding_id, sum(occurrences)::bigint AS occurrences,
                   min(first_seen) AS first_seen, max(last_seen) AS last_seen
              FROM trace_ext.race_pairs WHERE finding_id = ANY (ids) GROUP BY finding_id) s
      JOIN (SELECT DISTINCT ON (finding_id) *
              FROM trace_ext.race_pairs WHERE finding_id = ANY (ids)
             ORDER BY finding_id, confidence DESC, event1_at, event1_trace_id, event1_id, event2_trace_id, event2_id) b
        USING (finding_id)
     WHERE f.id = s.finding_id;
    DELETE FROM trace_ext.findings f
     WHERE f.id = ANY (ids) AND f.status = 'open'
       AND NOT EXISTS (SELECT FROM trace_ext.race_pairs p WHERE p.finding_id = f.id);
    UPDATE trace_ext.findings f SET occurrences = 0
     WHERE f.id = ANY (ids) AND f.occurrences > 0
       AND NOT EXISTS (SELECT FROM trace_ext.race_pairs p WHERE p.finding_id = f.id);
    END;
COMMENT ON FUNCTION refresh_findings(uuid[]) IS
    'sums up race_pairs for these findings; open ones that nothing supports any more go';

-- Look at some traces: home are those whose pairs may have changed, rivals are what
-- may race with them, others only order. Returns the findings that changed.
CREATE FUNCTION examine_traces(home uuid[], rivals uuid[], others uuid[] = '{}', all_rivals boolean = true) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    before uuid[];
    after uuid[];
BEGIN
    -- What is not looked at again stays as it is.
    WITH gone AS (
        DELETE FROM trace_ext.race_pairs
         WHERE (trace1 = ANY ($1) OR trace2 = ANY ($1))
           AND ($4 OR (trace1 = ANY ($1 || $2) AND trace2 = ANY ($1 || $2))) RETURNING finding_id
    ) SELECT array_agg(DISTINCT finding_id) INTO before FROM gone;

    WITH found AS MATERIALIZED (
        SELECT *, trace_ext.finding_id(kind, variable, location1, location2) AS finding_id
          FROM trace_ext.pairs_of_traces($1, $2, $3, 1000)
    ), kept AS (
        INSERT INTO trace_ext.race_pairs
        SELECT finding_id, least(event1_trace_id, event2_trace_id), greatest(event1_trace_id, event2_trace_id),
               occurrences, first_seen, last_seen, confidence,
               event1_at, event1_id, event1_trace_id, event2_id, event2_trace_id, evidence
          FROM found
    ), named AS (
        INSERT INTO trace_ext.findings (id, kind, variable, location1, location2, severity, confidence, confirmed, occurrences)
        SELECT DISTINCT finding_id, kind, variable, location1, location2, severity, 0::float8, false, 0
          FROM found
        ON CONFLICT (id) DO NOTHING
    )
    SELECT array_agg(DISTINCT finding_id) INTO after FROM found;
    RETURN before || after;
END
$$;
COMMENT ON FUNCTION examine_traces(uuid[], uuid[], uuid[], boolean) IS
    'replaces what the home traces add to findings, with each other and with their rivals; others may order them; '
    'all_rivals: there are none beside those given; returns the findings to refresh';

-- Where very much ran at a time: what shares a variable with home, the latest first.
CREATE FUNCTION rivals_of(home uuid[], from_time timestamptz, to_time timestamptz, most_events bigint,
                          OUT rivals uuid[], OUT all_of_them boolean)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT coalesce(array_agg(q.trace_id) FILTER (WHERE q.total <= most_events), '{}'),
           coalesce(bool_and(q.total <= most_events), true)
      FROM (SELECT t.trace_id, sum(t.event_count) OVER (ORDER BY t.last_timestamp DESC, t.trace_id) AS total
              FROM trace_ext.traces_between(from_time, to_time) t
             WHERE t.access_count > 0 AND t.trace_id <> ALL (home)
               AND t.trace_id IN (
                   SELECT e.trace_id FROM trace_ext.events e
                    WHERE e.kind = 'StateChange'
                      AND e.name = ANY (ARRAY(SELECT h.name FROM trace_ext.events h
                                               WHERE h.trace_id = ANY (home) AND h.kind = 'StateChange'))
                      AND e."timestamp" BETWEEN from_time - current_setting('trace_ext.horizon')::interval
                                            AND to_time + current_setting('trace_ext.horizon')::interval)) AS q;
    END;
COMMENT ON FUNCTION rivals_of(uuid[], timestamptz, timestamptz, bigint) IS
    'traces that ran within a time and share a variable with home; of more than most_events events, the latest';

-- More events than most_events are not read at once, but for those of the batch.
CREATE FUNCTION examine_batch(batch uuid[], from_time timestamptz, to_time timestamptz, most_events bigint = 200000)
    RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    batch_from constant timestamptz := from_time;
    batch_to constant timestamptz := to_time;
    home uuid[];
    rivals uuid[];
    others uuid[];
    events bigint;
    all_rivals boolean := true;
BEGIN
    -- The batch may have changed the pairs of all that it overlaps.
    SELECT array_agg(t.trace_id), min(t.first_timestamp), max(t.last_timestamp), sum(t.event_count)
      INTO home, from_time, to_time, events
      FROM trace_ext.traces_between(batch_from, batch_to) t WHERE t.access_count > 0;
    -- Traces that are gone overlap nothing, and still take back what they added.
    IF home IS NULL THEN
        RETURN trace_ext.examine_traces(batch, '{}');
    END IF;
    home := ARRAY(SELECT unnest(home) UNION SELECT unnest(batch));

    -- What races with home, and what may order that.
    SELECT array_agg(t.trace_id), min(t.first_timestamp), max(t.last_timestamp), sum(t.event_count)
      INTO rivals, from_time, to_time, events
      FROM trace_ext.traces_between(from_time, to_time) t WHERE t.access_count > 0;
    IF events <= most_events THEN
        others := trace_ext.ordering_traces(from_time, to_time, most_events);
    ELSE
        -- Only the batch then, and only what shares a variable with it.
        home := batch;
        SELECT r.rivals, r.all_of_them INTO rivals, all_rivals
          FROM trace_ext.rivals_of(home, batch_from, batch_to, most_events) r;
        others := trace_ext.ordering_traces(batch_from, batch_to, most_events);
    END IF;
    rivals := ARRAY(SELECT unnest(rivals) EXCEPT SELECT unnest(home));
    RETURN trace_ext.examine_traces(home, rivals, ARRAY(SELECT unnest(others) EXCEPT SELECT unnest(home || rivals)), all_rivals);
END
$$;
COMMENT ON FUNCTION examine_batch(uuid[], timestamptz, timestamptz, bigint) IS
    'examines traces that changed, which ran within a time, and those whose pairs they may have changed; returns the findings to refresh';

CREATE FUNCTION take_detect_queue() RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    taken uuid[];
    since timestamptz[];
    waiting uuid[];
BEGIN
    WITH t AS (DELETE FROM trace_ext.detect_queue RETURNING *)
    SELECT array_agg(trace_id), array_agg(queued_at) INTO taken, since
      FROM (SELECT trace_id, min(queued_at) AS queued_at FROM t GROUP BY trace_id) AS q;

    -- A parent that is missing may be under way.
    waiting := ARRAY(
        SELECT DISTINCT e.trace_id
          FROM trace_ext.events e
         WHERE e.trace_id IN (SELECT q.id FROM unnest(taken, since) AS q (id, at)
                               WHERE q.at > clock_timestamp() - current_setting('trace_ext.lateness')::interval)
           AND e.parent_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM trace_ext.events p WHERE p.trace_id = e.trace_id AND p.id = e.parent_id));
    IF waiting = '{}' THEN
        RETURN coalesce(taken, '{}');
    END IF;
    INSERT INTO trace_ext.detect_queue
    SELECT q.id, q.at FROM unnest(taken, since) AS q (id, at) WHERE q.id = ANY (waiting);
    RETURN ARRAY(SELECT unnest(taken) EXCEPT SELECT unnest(waiting));
END
$$;
COMMENT ON FUNCTION take_detect_queue() IS
    'empties the queue, but for traces with a missing parent that wait no longer than trace_ext.lateness yet';

-- Add up what is behind the horizon: it is not looked at again.
CREATE FUNCTION retire_race_pairs() RETURNS void
    LANGUAGE sql VOLATILE
    BEGIN ATOMIC
    WITH old AS MATERIALIZED (
        DELETE FROM trace_ext.race_pairs
         WHERE trace1 IS NOT NULL
           AND last_seen < (SELECT least(max(last_timestamp), now()) FROM trace_ext.summary_base)
                           - current_setting('trace_ext.horizon')::interval
        RETURNING *
    ), best AS (
        SELECT DISTINCT ON (finding_id) * FROM old
         ORDER BY finding_id, confidence DESC, event1_at, event1_trace_id, event1_id, event2_trace_id, event2_id
    )
    INSERT INTO trace_ext.race_pairs AS r
    SELECT b.finding_id, NULL, NULL, s.occurrences, s.first_seen, s.last_seen, b.confidence,
           b.event1_at, b.event1_id, b.event1_trace_id, b.event2_id, b.event2_trace_id, b.evidence
      FROM best b
      JOIN (SELECT finding_id, sum(occurrences)::bigint AS occurrences, min(first_seen) AS first_seen,
                   max(last_seen) AS last_seen FROM old GROUP BY finding_id) s USING (finding_id)
    ON CONFLICT (finding_id) WHERE trace1 IS NULL DO UPDATE SET
           occurrences = r.occurrences + excluded.occurrences,
           first_seen = least(r.first_seen, excluded.first_seen),
           last_seen = greatest(r.last_seen, excluded.last_seen),
           (confidence, event1_at, event1_id, event1_trace_id, event2_id, event2_trace_id, evidence) = (
               SELECT v.confidence, v.event1_at, v.event1_id, v.event1_trace_id, v.event2_id, v.event2_trace_id, v.evidence
                 FROM (SELECT r.confidence, r.event1_at, r.event1_id, r.event1_trace_id, r.event2_id, r.event2_trace_id, r.evidence
                       UNION ALL
                       SELECT excluded.confidence, excluded.event1_at, excluded.event1_id, excluded.event1_trace_id,
                              excluded.event2_id, excluded.event2_trace_id, excluded.evidence) AS v
                ORDER BY v.confidence DESC, v.event1_at, v.event1_trace_id, v.event1_id, v.event2_trace_id, v.event2_id
                LIMIT 1);
    END;
COMMENT ON FUNCTION retire_race_pairs() IS 'adds up, finding by finding, the pairs that are behind trace_ext.horizon';

CREATE FUNCTION detect() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    -- A batch is complete with this many events, or at a gap.
    batch_events constant bigint := 20000;
    batch_gap constant interval := '1 minute';
    dirty uuid[];
    ordering uuid[];
    batch uuid[] := '{}';
    changed uuid[] := '{}';
    events bigint := 0;
    from_time timestamptz;
    to_time timestamptz;
    t record;
BEGIN
    PERFORM FROM trace_ext.detect_state FOR UPDATE;
    PERFORM trace_ext.fold();
    dirty := trace_ext.take_detect_queue();
    ordering := ARRAY(SELECT trace_ext.traces_that_order(ARRAY(
        SELECT s.trace_id FROM trace_ext.summary_base s WHERE s.trace_id = ANY (dirty) AND s.access_count = 0)));
    FOR t IN SELECT d.id, s.first_timestamp, s.last_timestamp, coalesce(s.event_count, 0) AS event_count
               FROM unnest(dirty) AS d (id) LEFT JOIN trace_ext.summary_base s ON s.trace_id = d.id
              WHERE s.trace_id IS NULL OR s.access_count > 0
                 OR d.id = ANY (ordering)
              ORDER BY s.first_timestamp, d.id
    LOOP
        IF events + t.event_count > batch_events OR t.first_timestamp > to_time + batch_gap THEN
            changed := changed || trace_ext.examine_batch(batch, from_time, to_time);
            batch := '{}';
            events := 0;
            from_time := NULL;
            to_time := NULL;
        END IF;
        batch := batch || t.id;
        events := events + t.event_count;
        from_time := least(from_time, t.first_timestamp);
        to_time := greatest(to_time, t.last_timestamp);
    END LOOP;
    IF batch <> '{}' THEN
        changed := changed || trace_ext.examine_batch(batch, from_time, to_time);
    END IF;
    PERFORM trace_ext.retire_race_pairs();
    PERFORM trace_ext.refresh_findings(changed);
    UPDATE trace_ext.detect_state
       SET detected_at = clock_timestamp(), traces_examined = traces_examined + cardinality(dirty);
    RETURN cardinality(dirty);
END
$$;
COMMENT ON FUNCTION detect() IS
    'looks at what is new since it last ran and brings findings up to date; returns the number of traces that had changed. '
    'Waits for another detect(). A trace with a missing parent waits up to trace_ext.lateness for it';

CREATE FUNCTION findings_page(severity text, variable text, page_size int, page int, include_ignored boolean)
    RETURNS SETOF findings
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT f.* FROM trace_ext.findings f
     WHERE (findings_page.severity IS NULL OR f.severity = upper(findings_page.severity))
       AND (findings_page.variable IS NULL OR f.variable = findings_page.variable)
       AND (findings_page.include_ignored OR f.status <> 'ignored')
     ORDER BY array_position(ARRAY['CRITICAL', 'WARNING', 'INFO'], f.severity), f.confidence DESC,
              f.occurrences DESC, f.last_seen DESC, f.id
     LIMIT greatest(page_size, 0) OFFSET greatest(page_size, 0)::bigint * (greatest(page, 1) - 1);
    END;
COMMENT ON FUNCTION findings_page(text, text, int, int, boolean) IS 'the query of global_races(), never cached';

CREATE FUNCTION global_races(severity text = NULL, variable text = NULL, page_size int = 50, page int = 1,
                             include_ignored boolean = false) RETURNS SETOF findings
    LANGUAGE c STABLE ROWS 50
    AS 'MODULE_PATHNAME', 'tex_cached_global_races';
COMMENT ON FUNCTION global_races(text, text, int, int, boolean) IS
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
