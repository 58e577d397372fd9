-- Partitions of events: made ahead by maintain_partitions(), noticed by event
-- triggers however they come and go, so that summaries and counts stay exact.

-- What reconcile_partitions() has seen; after a DROP only this knows the range.
CREATE TABLE partitions (
    part         oid         PRIMARY KEY,
    is_default   boolean     NOT NULL,
    lower_bound  timestamptz,
    upper_bound  timestamptz,
    automatic    boolean     NOT NULL DEFAULT false
);
COMMENT ON TABLE partitions IS 'the partitions of events whose rows are counted';
COMMENT ON COLUMN partitions.part IS 'oid of the partition';
COMMENT ON COLUMN partitions.is_default IS 'whether it is the default partition';
COMMENT ON COLUMN partitions.lower_bound IS 'first timestamp it takes; -infinity for MINVALUE';
COMMENT ON COLUMN partitions.upper_bound IS 'first timestamp it does not take any more; infinity for MAXVALUE';
COMMENT ON COLUMN partitions.automatic IS 'whether maintain_partitions() made it: it gives way to one that a user or a dump brings, while it is empty';

CREATE FUNCTION trace_ext_internal.partition_ranges()
    RETURNS TABLE (part oid, is_default boolean, lower_bound timestamptz, upper_bound timestamptz)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET timezone = 'UTC'
    AS $$
    SELECT c.oid, b.bound = 'DEFAULT',
           CASE v.low  WHEN 'MINVALUE' THEN '-infinity' ELSE trim('''' FROM v.low)::timestamptz END,
           CASE v.high WHEN 'MAXVALUE' THEN 'infinity'  ELSE trim('''' FROM v.high)::timestamptz END
      FROM pg_inherits i
      JOIN pg_class c ON c.oid = i.inhrelid
     CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS b (bound)
     CROSS JOIN LATERAL (SELECT substring(b.bound FROM 'FROM \(([^)]*)\)'),
                                substring(b.bound FROM 'TO \(([^)]*)\)')) AS v (low, high)
     WHERE i.inhparent = 'trace_ext.events'::regclass
    $$;
COMMENT ON FUNCTION trace_ext_internal.partition_ranges() IS 'the partitions of events as the catalog has them, with their ranges';

-- Appends the counts of all rows of a table, and has their traces read again.
CREATE FUNCTION trace_ext_internal.count_rows(part oid, sign int) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF pg_relation_size(part) = 0 THEN
        RETURN;
    END IF;
    PERFORM trace_ext_internal.require_read_committed('attaching, detaching or truncating a partition of events');
    -- With their times: whoever reads these traces again must know where they are.
    EXECUTE format('INSERT INTO trace_ext.summary_deltas (trace_id, event_count, error_count, access_count,
                                                          first_timestamp, last_timestamp, started_at, ended_at, recompute)
                    SELECT trace_id, 0, 0, 0, min("timestamp"), max("timestamp"),
                           min(lower(trace_ext.event_extent("timestamp", duration_ns, stamped_at_end))),
                           max(upper(trace_ext.event_extent("timestamp", duration_ns, stamped_at_end))), true
                      FROM %s GROUP BY trace_id', part::regclass);
    EXECUTE format('INSERT INTO trace_ext.count_deltas
                    SELECT hour, service_name, kind, operation, $1 * event_count, $1 * error_count, $1 * write_count,
                           CASE WHEN $1 > 0 THEN latency ELSE ''{}''::trace_ext.histogram OPERATOR(trace_ext.-) latency END
                      FROM (%s) AS counts', trace_ext_internal.count_query(part::regclass::text)) USING sign;
    PERFORM trace_ext_internal.append_stamp();
END
$$;
COMMENT ON FUNCTION trace_ext_internal.count_rows(oid, int) IS 'counts all rows of a partition that came (1) or goes (-1)';

-- The rows of [low, high) are gone. Traces that lay inside are deleted, traces
-- that reach out are read again; hours that the range cuts are counted again.
CREATE FUNCTION trace_ext_internal.forget_range(low timestamptz, high timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    origin constant timestamptz := '2000-01-01 00:00:00+00';
    first_hour timestamptz := date_bin('1 hour', low, origin);
    last_hour timestamptz := date_bin('1 hour', high, origin);      -- first one not wholly inside
    events_before constant bigint := trace_ext.count_events();
    forgotten_traces bigint;
    forgotten_events bigint;
BEGIN
    PERFORM trace_ext_internal.require_read_committed('dropping or detaching a partition of events');
    PERFORM trace_ext_internal.fold_lock(true);
    -- All in one statement: a delta that is left would be of a trace that is gone.
    PERFORM trace_ext_internal.fold_deltas(NULL);

    -- What they called is taken back later on: everybody waits here.
    WITH forgotten AS (
        DELETE FROM trace_ext.summary_base WHERE first_timestamp >= low AND last_timestamp < high RETURNING trace_id, services
    ), serving AS (
        UPDATE trace_ext.service_traces t SET trace_count = t.trace_count - f.traces
          FROM (SELECT s.service_name, count(*) AS traces FROM forgotten, LATERAL unnest(services) AS s (service_name) GROUP BY s.service_name) AS f
         WHERE t.service_name = f.service_name
    ), queued AS (
        INSERT INTO trace_ext.calls_queue
        SELECT f.trace_id FROM forgotten f
         WHERE cardinality(f.services) > 1 OR EXISTS (SELECT FROM trace_ext.trace_links l WHERE l.trace_id = f.trace_id)
        UNION ALL SELECT l.trace_id FROM forgotten f JOIN trace_ext.trace_links l ON l.linked_trace_id = f.trace_id
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) INTO forgotten_traces FROM forgotten;
    INSERT INTO trace_ext.summary_deltas (trace_id, event_count, error_count, access_count, recompute)
    SELECT trace_id, 0, 0, 0, true FROM trace_ext.summary_base
     WHERE first_timestamp < high AND last_timestamp >= low;

    WITH forgotten AS (
        DELETE FROM trace_ext.count_base WHERE hour >= low AND hour < last_hour RETURNING *
    ), in_all AS (
        INSERT INTO trace_ext.kind_totals AS b
        SELECT service_name, kind, -sum(event_count), -sum(error_count), '{}'::trace_ext.histogram OPERATOR(trace_ext.-) trace_ext.merge(latency)
          FROM forgotten GROUP BY service_name, kind
        ON CONFLICT (service_name, kind) DO UPDATE SET
               event_count = b.event_count + excluded.event_count,
               error_count = b.error_count + excluded.error_count,
               latency = b.latency OPERATOR(trace_ext.+) excluded.latency
    ), left_counts AS (
        INSERT INTO trace_ext.gone_totals AS b
        SELECT service_name, kind, sum(event_count), sum(error_count), trace_ext.merge(latency) FROM forgotten GROUP BY service_name, kind
        ON CONFLICT (service_name, kind) DO UPDATE SET
               event_count = b.event_count + excluded.event_count,
               error_count = b.error_count + excluded.error_count,
               latency = b.latency OPERATOR(trace_ext.+) excluded.latency
    )
    SELECT coalesce(sum(event_count), 0) INTO forgotten_events FROM forgotten;
    DELETE FROM trace_ext.kind_totals WHERE event_count = 0 AND error_count = 0 AND latency OPERATOR(trace_ext.=) '{}'::trace_ext.histogram;
    UPDATE trace_ext.totals SET trace_count = trace_count - forgotten_traces,
                                event_count = event_count - forgotten_events;

    WITH forgotten AS (
        DELETE FROM trace_ext.operation_base WHERE hour >= low AND hour < last_hour RETURNING *
    )
    INSERT INTO trace_ext.operation_totals AS b
    SELECT service_name, kind, operation, -sum(event_count), -sum(error_count), -sum(write_count),
           '{}'::trace_ext.histogram OPERATOR(trace_ext.-) trace_ext.merge(latency)
      FROM forgotten GROUP BY service_name, kind, operation
    ON CONFLICT (service_name, kind, operation) DO UPDATE SET
           event_count = b.event_count + excluded.event_count,
           error_count = b.error_count + excluded.error_count,
           write_count = b.write_count + excluded.write_count,
           latency = b.latency OPERATOR(trace_ext.+) excluded.latency;
    DELETE FROM trace_ext.operation_totals
     WHERE event_count = 0 AND error_count = 0 AND write_count = 0 AND latency OPERATOR(trace_ext.=) '{}'::trace_ext.histogram;
    DELETE FROM trace_ext.service_traces WHERE trace_count = 0;
    DELETE FROM trace_ext.service_seen s WHERE NOT EXISTS (SELECT FROM trace_ext.operation_totals t WHERE t.service_name = s.service_name);

    INSERT INTO trace_ext.count_deltas
    SELECT hour, service_name, kind, operation, -event_count, -error_count, -write_count, '{}'::trace_ext.histogram OPERATOR(trace_ext.-) latency
      FROM trace_ext.operation_base
     WHERE (hour = first_hour AND first_hour < low) OR (hour = last_hour AND last_hour < high);
    EXECUTE 'INSERT INTO trace_ext.count_deltas ' || trace_ext_internal.count_query($q$(
        SELECT * FROM trace_ext.events
         WHERE ("timestamp" >= $1 AND "timestamp" < trace_ext_internal.shifted($1, '1 hour') AND $1 < $3)
            OR ("timestamp" >= $2 AND "timestamp" < trace_ext_internal.shifted($2, '1 hour') AND $2 < $4)) AS cut$q$)
      USING first_hour, last_hour, low, high;
    IF trace_ext.count_events() <> events_before THEN
        PERFORM trace_ext_internal.append_stamp();
    END IF;

    -- A service that has run out of operations gets back those that are no longer used, and may
    -- name new ones once nothing is left of what was counted in "(other)".
    IF EXISTS (SELECT FROM trace_ext.operation_names WHERE operation = '(other)') THEN
        DELETE FROM trace_ext.operation_names n
         WHERE NOT EXISTS (SELECT FROM (SELECT service_name, operation FROM trace_ext.operation_base WHERE event_count <> 0
                                        UNION ALL SELECT service_name, trace_ext_internal.counted_as(service_name, operation) FROM trace_ext.count_deltas) AS u
                            WHERE n.operation = u.operation AND n.service_key = coalesce('=' || u.service_name, ''));
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.forget_range(timestamptz, timestamptz) IS
    'takes the events of a range of time that were dropped or detached out of summaries and counts';

CREATE FUNCTION trace_ext_internal.lock_derived() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
    AS $$
BEGIN
    LOCK TABLE trace_ext.summary_deltas, trace_ext.count_deltas, trace_ext.summary_base, trace_ext.count_base,
        trace_ext.operation_base, trace_ext.operation_totals, trace_ext.kind_totals, trace_ext.gone_totals, trace_ext.service_seen, trace_ext.service_traces, trace_ext.operation_names,
        trace_ext.calls_queue, trace_ext.trace_call_rows, trace_ext.call_base, trace_ext.call_totals IN ACCESS EXCLUSIVE MODE;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.lock_derived() IS 'locks the tables of summaries, counts and calls, or fails after 0.2 s';

-- By TRUNCATE as well: it is what frees a full disk, where a DELETE finds no room
-- for what it writes. A reader who has one of these tables may wait for events,
-- which is locked here: then he is not waited for, and rows are deleted.
CREATE FUNCTION trace_ext_internal.forget_all() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM trace_ext_internal.require_read_committed('TRUNCATE of events');
    PERFORM trace_ext_internal.fold_lock(true);
    -- Before the deltas, for that a link has gone is one.
    DELETE FROM trace_ext.trace_links;
    BEGIN
        PERFORM trace_ext_internal.lock_derived();
        TRUNCATE trace_ext.summary_deltas, trace_ext.count_deltas, trace_ext.summary_base, trace_ext.count_base,
            trace_ext.operation_base, trace_ext.operation_totals, trace_ext.kind_totals, trace_ext.gone_totals, trace_ext.service_seen, trace_ext.service_traces, trace_ext.operation_names,
            trace_ext.calls_queue, trace_ext.trace_call_rows, trace_ext.call_base, trace_ext.call_totals;
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR object_in_use THEN
        DELETE FROM trace_ext.summary_deltas;
        DELETE FROM trace_ext.count_deltas;
        DELETE FROM trace_ext.summary_base;
        DELETE FROM trace_ext.count_base;
        DELETE FROM trace_ext.operation_base;
        DELETE FROM trace_ext.operation_totals;
        DELETE FROM trace_ext.kind_totals;
        DELETE FROM trace_ext.gone_totals;
        DELETE FROM trace_ext.service_seen;
        DELETE FROM trace_ext.service_traces;
        DELETE FROM trace_ext.operation_names;
        PERFORM trace_ext_internal.forget_calls();
    END;
    UPDATE trace_ext.totals SET event_count = 0, trace_count = 0;
    PERFORM trace_ext_internal.append_stamp();
END
$$;
COMMENT ON FUNCTION trace_ext_internal.forget_all() IS 'empties summaries, counts, calls and links, after events was truncated';

CREATE FUNCTION trace_ext_internal.note_truncate() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_note_truncate';
COMMENT ON FUNCTION trace_ext_internal.note_truncate() IS
    'statement trigger on events and its partitions: keeps counts and summaries exact when one of them is truncated';
CREATE TRIGGER trace_ext_before_truncate BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.note_truncate();
CREATE TRIGGER trace_ext_after_truncate AFTER TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.note_truncate();
COMMENT ON TRIGGER trace_ext_before_truncate ON events IS 'keeps summaries and counts when events is truncated';
COMMENT ON TRIGGER trace_ext_after_truncate ON events IS 'keeps summaries and counts when events is truncated';

-- PostgreSQL clones row triggers to partitions, not these.
CREATE FUNCTION trace_ext_internal.adopt_partition(part regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    moment text;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = part) <> 'r' THEN
        RAISE EXCEPTION 'partition % of trace_ext.events must be an ordinary table', part
              USING ERRCODE = 'wrong_object_type',
                    DETAIL = 'Counts and summaries could not be kept for a foreign or partitioned table.';
    END IF;
    INSERT INTO trace_ext.partitions (part, is_default, lower_bound, upper_bound)
    SELECT r.part, r.is_default, r.lower_bound, r.upper_bound FROM trace_ext_internal.partition_ranges() r WHERE r.part = adopt_partition.part;
    EXECUTE format('CREATE OR REPLACE TRIGGER trace_ext_append AFTER INSERT OR UPDATE OR DELETE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.append_deltas()', part);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER trace_ext_append', part);
    FOREACH moment IN ARRAY ARRAY['before', 'after'] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER trace_ext_%2$s_truncate %2$s TRUNCATE ON %1$s
                        FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.note_truncate()', part, moment);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER trace_ext_%s_truncate', part, moment);
    END LOOP;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.adopt_partition(regclass) IS 'gives a partition of events its statement triggers and remembers its range';

CREATE FUNCTION trace_ext_internal.reconcile_partitions() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    gone trace_ext.partitions;
    came oid;
BEGIN
    -- What came or went may be another table's, or is known already.
    IF NOT EXISTS (SELECT FROM pg_inherits i
                     FULL JOIN trace_ext.partitions p ON p.part = i.inhrelid
                    WHERE (i.inhparent = 'trace_ext.events'::regclass AND p.part IS NULL)
                       OR (p.part IS NOT NULL AND i.inhparent IS DISTINCT FROM 'trace_ext.events'::regclass))
    THEN
        RETURN;
    END IF;
    FOR gone IN
        DELETE FROM trace_ext.partitions p
         WHERE NOT EXISTS (SELECT FROM pg_inherits i
                            WHERE i.inhrelid = p.part AND i.inhparent = 'trace_ext.events'::regclass)
        RETURNING p.*
    LOOP
        IF NOT gone.is_default THEN
            PERFORM trace_ext_internal.forget_range(gone.lower_bound, gone.upper_bound);
        ELSIF EXISTS (SELECT FROM pg_class c WHERE c.oid = gone.part) THEN
            PERFORM trace_ext_internal.count_rows(gone.part, -1);
        END IF;
    END LOOP;
    FOR came IN
        SELECT i.inhrelid FROM pg_inherits i
         WHERE i.inhparent = 'trace_ext.events'::regclass
           AND NOT EXISTS (SELECT FROM trace_ext.partitions p WHERE p.part = i.inhrelid)
    LOOP
        PERFORM trace_ext_internal.adopt_partition(came::regclass);
        PERFORM trace_ext_internal.count_rows(came, 1);
    END LOOP;
    -- Traces are to be read again: once, not by each reader.
    IF EXISTS (SELECT FROM trace_ext.summary_deltas WHERE recompute) THEN
        PERFORM trace_ext_internal.fold_if_free();
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.reconcile_partitions() IS
    'counts the rows of partitions that came, and takes those that went out of counts and summaries';

CREATE FUNCTION trace_ext_internal.comment_default(part regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    EXECUTE format('COMMENT ON TABLE %s IS %L', part, 'events for which no partition was made yet, or whose time is far from now; see maintain_partitions()');
    EXECUTE format('COMMENT ON INDEX trace_ext.events_default_timestamp_idx IS %L', 'what waits for partitions, by time');
    EXECUTE format('COMMENT ON TRIGGER trace_ext_append ON %s IS %L', part, 'keeps summaries and counts: appends deltas at the end of the statement');
    EXECUTE format('COMMENT ON TRIGGER trace_ext_before_truncate ON %s IS %L', part, 'keeps summaries and counts when the partition is truncated');
    EXECUTE format('COMMENT ON TRIGGER trace_ext_after_truncate ON %s IS %L', part, 'keeps summaries and counts when the partition is truncated');
END
$$;
COMMENT ON FUNCTION trace_ext_internal.comment_default(regclass) IS 'says what the default partition of events is for';

SELECT trace_ext_internal.adopt_partition('events_default');
SELECT trace_ext_internal.comment_default('events_default');

CREATE FUNCTION trace_ext_internal.partitions_changed() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_partitions_changed';
COMMENT ON FUNCTION trace_ext_internal.partitions_changed() IS 'event trigger: notices partitions of events that come and go';

CREATE FUNCTION trace_ext_internal.restore_partition() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_restore_partition';
COMMENT ON FUNCTION trace_ext_internal.restore_partition() IS
    'event trigger: lets a restored dump define again what a partition of events got by being attached';

CREATE EVENT TRIGGER trace_ext_partition_came ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE SCHEMA') EXECUTE FUNCTION trace_ext_internal.partitions_changed();
CREATE EVENT TRIGGER trace_ext_partition_gone ON sql_drop
    EXECUTE FUNCTION trace_ext_internal.partitions_changed();
CREATE EVENT TRIGGER trace_ext_partition_restored ON ddl_command_start
    WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'ALTER INDEX', 'CREATE INDEX', 'CREATE TRIGGER') EXECUTE FUNCTION trace_ext_internal.restore_partition();
-- As the triggers on events: session_replication_role must not hide a partition.
ALTER EVENT TRIGGER trace_ext_partition_came ENABLE ALWAYS;
ALTER EVENT TRIGGER trace_ext_partition_gone ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER trace_ext_partition_came IS 'notices partitions of trace_ext.events that come';
COMMENT ON EVENT TRIGGER trace_ext_partition_gone IS 'notices partitions of trace_ext.events that go';
COMMENT ON EVENT TRIGGER trace_ext_partition_restored IS 'lets pg_restore define partitions of trace_ext.events';
