-- Partitions of events: made ahead by maintain_partitions(), noticed by event
-- triggers however they come and go, so that summaries and counts stay exact.

-- What reconcile_partitions() has seen; after a DROP only this knows the range.
CREATE TABLE partitions (
    part         oid         PRIMARY KEY,
    is_default   boolean     NOT NULL,
    lower_bound  timestamptz,
    upper_bound  timestamptz
);
COMMENT ON TABLE partitions IS 'the partitions of events whose rows are counted';
COMMENT ON COLUMN partitions.part IS 'oid of the partition';
COMMENT ON COLUMN partitions.is_default IS 'whether it is the default partition';
COMMENT ON COLUMN partitions.lower_bound IS 'first timestamp it takes; -infinity for MINVALUE';
COMMENT ON COLUMN partitions.upper_bound IS 'first timestamp it does not take any more; infinity for MAXVALUE';

CREATE FUNCTION partition_ranges()
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
COMMENT ON FUNCTION partition_ranges() IS 'the partitions of events as the catalog has them, with their ranges';

-- Appends the counts of all rows of a table, and has their traces read again.
CREATE FUNCTION count_rows(part oid, sign int) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF pg_relation_size(part) = 0 THEN
        RETURN;
    END IF;
    PERFORM trace_ext.require_read_committed('attaching, detaching or truncating a partition of events');
    -- With their times: whoever reads these traces again must know where they are.
    EXECUTE format('INSERT INTO trace_ext.summary_deltas (trace_id, event_count, error_count, access_count,
                                                          first_timestamp, last_timestamp, recompute)
                    SELECT trace_id, 0, 0, 0, min("timestamp"), max("timestamp"), true FROM %s GROUP BY trace_id', part::regclass);
    EXECUTE format('INSERT INTO trace_ext.count_deltas
                    SELECT date_bin(''1 hour'', "timestamp", ''2000-01-01 00:00:00+00''), service_name, kind,
                           $1 * count(*), $1 * count(*) FILTER (WHERE trace_ext.is_error(kind, attributes))
                      FROM %s GROUP BY 1, 2, 3', part::regclass) USING sign;
END
$$;
COMMENT ON FUNCTION count_rows(oid, int) IS 'counts all rows of a partition that came (1) or goes (-1)';

-- The rows of [low, high) are gone. Traces that lay inside are deleted, traces
-- that reach out are read again; hours that the range cuts are counted again.
CREATE FUNCTION forget_range(low timestamptz, high timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    origin constant timestamptz := '2000-01-01 00:00:00+00';
    first_hour timestamptz := date_bin('1 hour', low, origin);
    last_hour timestamptz := date_bin('1 hour', high, origin);      -- first one not wholly inside
    forgotten_traces bigint;
    forgotten_events bigint;
BEGIN
    PERFORM trace_ext.require_read_committed('dropping or detaching a partition of events');
    PERFORM trace_ext.fold_lock(true);
    -- All in one statement: a delta that is left would be of a trace that is gone.
    PERFORM trace_ext.fold_deltas(NULL);

    DELETE FROM trace_ext.summary_base WHERE first_timestamp >= low AND last_timestamp < high;
    GET DIAGNOSTICS forgotten_traces = ROW_COUNT;
    INSERT INTO trace_ext.summary_deltas (trace_id, event_count, error_count, access_count, recompute)
    SELECT trace_id, 0, 0, 0, true FROM trace_ext.summary_base
     WHERE first_timestamp < high AND last_timestamp >= low;

    WITH forgotten AS (
        DELETE FROM trace_ext.count_base WHERE hour >= low AND hour < last_hour RETURNING event_count
    )
    SELECT coalesce(sum(event_count), 0) INTO forgotten_events FROM forgotten;
    UPDATE trace_ext.totals SET trace_count = trace_count - forgotten_traces,
                                event_count = event_count - forgotten_events;

    INSERT INTO trace_ext.count_deltas
    SELECT hour, service_name, kind, -event_count, -error_count FROM trace_ext.count_base
     WHERE (hour = first_hour AND first_hour < low) OR (hour = last_hour AND last_hour < high)
    UNION ALL
    SELECT date_bin('1 hour', "timestamp", origin), service_name, kind,
           count(*), count(*) FILTER (WHERE trace_ext.is_error(kind, attributes))
      FROM trace_ext.events
     WHERE ("timestamp" >= first_hour AND "timestamp" < first_hour + interval '1 hour' AND first_hour < low)
        OR ("timestamp" >= last_hour AND "timestamp" < last_hour + interval '1 hour' AND last_hour < high)
     GROUP BY 1, 2, 3;
END
$$;
COMMENT ON FUNCTION forget_range(timestamptz, timestamptz) IS
    'takes the events of a range of time that were dropped or detached out of summaries and counts';

CREATE FUNCTION forget_all() RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT trace_ext.require_read_committed('TRUNCATE of events');
        SELECT trace_ext.fold_lock(true);
        DELETE FROM trace_ext.summary_deltas;
        DELETE FROM trace_ext.count_deltas;
        DELETE FROM trace_ext.summary_base;
        DELETE FROM trace_ext.count_base;
        UPDATE trace_ext.totals SET event_count = 0, trace_count = 0;
    END;
COMMENT ON FUNCTION forget_all() IS 'empties summaries and counts, after events was truncated';

CREATE FUNCTION note_truncate() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_note_truncate';
COMMENT ON FUNCTION note_truncate() IS
    'statement trigger on events and its partitions: keeps counts and summaries exact when one of them is truncated';
CREATE TRIGGER trace_ext_before_truncate BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION note_truncate();
CREATE TRIGGER trace_ext_after_truncate AFTER TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION note_truncate();
COMMENT ON TRIGGER trace_ext_before_truncate ON events IS 'keeps summaries and counts when events is truncated';
COMMENT ON TRIGGER trace_ext_after_truncate ON events IS 'keeps summaries and counts when events is truncated';

-- PostgreSQL clones row triggers to partitions, not these.
CREATE FUNCTION adopt_partition(part regclass) RETURNS void
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
    -- First, for the DDL below fires partitions_changed() again.
    INSERT INTO trace_ext.partitions
    SELECT r.* FROM trace_ext.partition_ranges() r WHERE r.part = adopt_partition.part;
    EXECUTE format('CREATE OR REPLACE TRIGGER trace_ext_append AFTER INSERT OR UPDATE OR DELETE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext.append_deltas()', part);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER trace_ext_append', part);
    FOREACH moment IN ARRAY ARRAY['before', 'after'] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER trace_ext_%2$s_truncate %2$s TRUNCATE ON %1$s
                        FOR EACH STATEMENT EXECUTE FUNCTION trace_ext.note_truncate()', part, moment);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER trace_ext_%s_truncate', part, moment);
    END LOOP;
END
$$;
COMMENT ON FUNCTION adopt_partition(regclass) IS 'gives a partition of events its statement triggers and remembers its range';

CREATE FUNCTION reconcile_partitions() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    gone trace_ext.partitions;
    came oid;
BEGIN
    FOR gone IN
        DELETE FROM trace_ext.partitions p
         WHERE NOT EXISTS (SELECT FROM pg_inherits i
                            WHERE i.inhrelid = p.part AND i.inhparent = 'trace_ext.events'::regclass)
        RETURNING p.*
    LOOP
        IF NOT gone.is_default THEN
            PERFORM trace_ext.forget_range(gone.lower_bound, gone.upper_bound);
        ELSIF EXISTS (SELECT FROM pg_class c WHERE c.oid = gone.part) THEN
            PERFORM trace_ext.count_rows(gone.part, -1);
        END IF;
    END LOOP;
    FOR came IN
        SELECT i.inhrelid FROM pg_inherits i
         WHERE i.inhparent = 'trace_ext.events'::regclass
           AND NOT EXISTS (SELECT FROM trace_ext.partitions p WHERE p.part = i.inhrelid)
    LOOP
        -- The DDL that adopts one partition fires this for the others that came with it.
        CONTINUE WHEN EXISTS (SELECT FROM trace_ext.partitions p WHERE p.part = came);
        PERFORM trace_ext.adopt_partition(came::regclass);
        PERFORM trace_ext.count_rows(came, 1);
    END LOOP;
    -- Traces are to be read again: once, not by each reader.
    IF EXISTS (SELECT FROM trace_ext.summary_deltas WHERE recompute) THEN
        PERFORM trace_ext.fold_if_free();
    END IF;
END
$$;
COMMENT ON FUNCTION reconcile_partitions() IS
    'counts the rows of partitions that came, and takes those that went out of counts and summaries';

SELECT adopt_partition('events_default');
COMMENT ON TRIGGER trace_ext_append ON events_default IS 'keeps summaries and counts: appends deltas at the end of the statement';
COMMENT ON TRIGGER trace_ext_before_truncate ON events_default IS 'keeps summaries and counts when the partition is truncated';
COMMENT ON TRIGGER trace_ext_after_truncate ON events_default IS 'keeps summaries and counts when the partition is truncated';

CREATE FUNCTION partitions_changed() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- Every DDL of the database comes here: look, and do nothing most times.
    IF EXISTS (SELECT FROM pg_inherits i
                 FULL JOIN trace_ext.partitions p ON p.part = i.inhrelid
                WHERE (i.inhparent = 'trace_ext.events'::regclass AND p.part IS NULL)
                   OR (p.part IS NOT NULL AND i.inhparent IS DISTINCT FROM 'trace_ext.events'::regclass))
    THEN
        PERFORM trace_ext.reconcile_partitions();
    END IF;
END
$$;
COMMENT ON FUNCTION partitions_changed() IS 'event trigger: notices partitions of events that come and go';

CREATE FUNCTION restore_partition() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_restore_partition';
COMMENT ON FUNCTION restore_partition() IS
    'event trigger: lets a restored dump define again what a partition of events got by being attached';

CREATE EVENT TRIGGER trace_ext_partition_came ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE SCHEMA') EXECUTE FUNCTION partitions_changed();
CREATE EVENT TRIGGER trace_ext_partition_gone ON sql_drop
    EXECUTE FUNCTION partitions_changed();
CREATE EVENT TRIGGER trace_ext_partition_restored ON ddl_command_start
    WHEN TAG IN ('ALTER TABLE', 'ALTER INDEX', 'CREATE INDEX', 'CREATE TRIGGER') EXECUTE FUNCTION restore_partition();
-- As the triggers on events: session_replication_role must not hide a partition.
ALTER EVENT TRIGGER trace_ext_partition_came ENABLE ALWAYS;
ALTER EVENT TRIGGER trace_ext_partition_gone ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER trace_ext_partition_came IS 'notices partitions of trace_ext.events that come';
COMMENT ON EVENT TRIGGER trace_ext_partition_gone IS 'notices partitions of trace_ext.events that go';
COMMENT ON EVENT TRIGGER trace_ext_partition_restored IS 'lets pg_restore define partitions of trace_ext.events';

-- Makes one partition, of the first that is still free between low and high. Rows
-- that the default partition has of that range move: PostgreSQL would refuse else.
CREATE FUNCTION make_partition(low timestamptz, high timestamptz) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    AS $$
DECLARE
    taken trace_ext.partitions;
    name text;
    part text;
    number int := 1;
BEGIN
    FOR taken IN SELECT * FROM trace_ext.partitions p WHERE p.upper_bound > low AND p.lower_bound < high ORDER BY p.lower_bound LOOP
        EXIT WHEN taken.lower_bound > low;
        low := taken.upper_bound;
    END LOOP;
    SELECT least(high, min(p.lower_bound)) INTO high FROM trace_ext.partitions p
     WHERE p.lower_bound > low AND p.lower_bound < high;
    IF low >= high THEN
        RETURN false;
    END IF;

    name := 'events_p' || to_char(low, CASE WHEN low = date_trunc('day', low) THEN 'YYYYMMDD' ELSE 'YYYYMMDD_HH24MI' END);
    part := name;
    -- A partition that was detached keeps its name.
    WHILE to_regclass(format('trace_ext.%I', part)) IS NOT NULL LOOP
        number := number + 1;
        part := name || '_' || number;
    END LOOP;
    EXECUTE format('CREATE TABLE trace_ext.%I (LIKE trace_ext.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', part);
    -- Others wait here, before they choose partitions. One that waited for the
    -- default partition with a choice made would not look into the new one: a
    -- reader would miss the rows that moved, UPDATE and DELETE would pass over
    -- them, and INSERT would be refused.
    LOCK TABLE ONLY trace_ext.events IN ACCESS EXCLUSIVE MODE;
    LOCK TABLE trace_ext.events_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('WITH moved AS (DELETE FROM trace_ext.events_default
                                    WHERE "timestamp" >= $1 AND "timestamp" < $2 RETURNING *)
                    INSERT INTO trace_ext.%I SELECT * FROM moved', part) USING low, high;
    EXECUTE format('ALTER TABLE trace_ext.events ATTACH PARTITION trace_ext.%I FOR VALUES FROM (%L) TO (%L)', part, low, high);
    EXECUTE format('GRANT SELECT ON trace_ext.%I TO trace_ext_reader, trace_ext_admin', part);
    EXECUTE format('GRANT INSERT ON trace_ext.%I TO trace_ext_writer', part);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE, TRUNCATE ON trace_ext.%I TO trace_ext_admin', part);
    EXECUTE format('COMMENT ON TABLE trace_ext.%I IS %L', part, format('events from %s to %s', low, high));
    RETURN true;
END
$$;
COMMENT ON FUNCTION make_partition(timestamptz, timestamptz) IS
    'makes a partition of events for the first part of a range of time that no other partition has; returns whether there was one';

CREATE PROCEDURE maintain_partitions()
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    width interval;
    ahead int;
    origin constant timestamptz := '2000-01-03 00:00:00+00';      -- a Monday
    low timestamptz;
BEGIN
    -- In C: the call loads the library, which defines the settings.
    PERFORM trace_ext.require_read_committed('maintain_partitions()');
    width := current_setting('trace_ext.partition_interval');
    ahead := current_setting('trace_ext.partitions_ahead');
    IF width < interval '1 hour' OR extract(year FROM width) <> 0 OR extract(month FROM width) <> 0
       OR extract(epoch FROM width) % 3600 <> 0 THEN
        RAISE EXCEPTION 'trace_ext.partition_interval % is not a number of whole hours, days or weeks', width
              USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- One maintainer at a time; readers of this table go on.
    LOCK TABLE trace_ext.partitions IN SHARE UPDATE EXCLUSIVE MODE;
    -- First of events, then of its default partition, in the order of DROP TABLE.
    LOCK TABLE ONLY trace_ext.events IN ACCESS SHARE MODE;

    FOR low IN
        SELECT DISTINCT date_bin(width, "timestamp", origin) FROM trace_ext.events_default
        UNION
        SELECT date_bin(width, now(), origin) + n * width FROM generate_series(0, ahead) n
        ORDER BY 1
    LOOP
        WHILE trace_ext.make_partition(low, low + width) LOOP
            NULL;       -- until nothing is free between others that are there
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE maintain_partitions() IS
    'makes the partitions of events for now and trace_ext.partitions_ahead intervals of trace_ext.partition_interval, and for rows '
    'that wait in events_default, which move. Safe to call at any time; where a partition is to be made, others wait until it is';
