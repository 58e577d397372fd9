-- Findings: races grouped by where in the code they happen.
--
-- What two traces added is remembered, in a small row, for as long as one of them
-- is stored: no clock decides when a pair is done with, so none can make it count
-- again. When both have left, their row is added up with others and leaves too.
--
-- Which traces are looked at, and when, is in 43_detection.sql.

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
COMMENT ON COLUMN findings.variable IS 'the variable; of lock order, the names of the locks, each taken before the next and the last before the first; of rows their tables, each once';
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
