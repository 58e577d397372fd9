-- Old data leaves: the oldest traces first, whole partitions where possible. Counts
-- and summaries stay exact, because rows leave by DELETE and DROP like any other.
-- Findings and anomalies stay: they say what happened, also of traces that are gone.

-- What events take up: on disk, or as estimated from some rows where much of that
-- is free space. Rows that are deleted give no file back, so the estimate is what
-- becomes less.
CREATE FUNCTION trace_ext_internal.events_size() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    -- The header of a row and its line pointer, and its entries in indexes.
    overhead constant int := 28 + 80;
    on_disk constant bigint := (SELECT coalesce(sum(pg_total_relation_size(p.part::regclass)), 0) FROM trace_ext.partitions p);
    row_size constant numeric := (SELECT avg(pg_column_size(e)) FROM (SELECT * FROM trace_ext.events LIMIT 1000) AS e);
BEGIN
    RETURN least(on_disk, ceil(trace_ext.count_events() * coalesce(row_size + overhead, 0)));
END
$$;
COMMENT ON FUNCTION trace_ext_internal.events_size() IS 'bytes that events and their indexes take up, without free space; estimated';

-- How much is too much, by each of the settings.
CREATE FUNCTION trace_ext_internal.retention_excess(OUT before timestamptz, OUT patience interval, OUT traces bigint, OUT events bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    age constant interval := nullif(current_setting('trace_ext.retention_age'), '');
    most_bytes constant numeric := pg_size_bytes(current_setting('trace_ext.retention_size'));
    most_traces constant bigint := current_setting('trace_ext.retention_traces');
    used numeric;
BEGIN
    IF age <= interval '0' THEN
        RAISE EXCEPTION 'trace_ext.retention_age % is not a positive interval', age USING ERRCODE = 'invalid_parameter_value';
    END IF;
    before := trace_ext_internal.shifted(now(), -age);
    patience := least(current_setting('trace_ext.partition_interval')::interval, age / 8);
    traces := CASE WHEN most_traces > 0 THEN greatest(trace_ext.count_traces() - most_traces, 0) ELSE 0 END;
    events := 0;
    IF most_bytes > 0 THEN
        used := trace_ext_internal.events_size();
        IF used > most_bytes THEN
            events := ceil((used - most_bytes) * trace_ext.count_events() / used);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.retention_excess() IS
    'what has to leave: traces whose last event is older than "before" (rows wait for their partition for "patience"), and the oldest so many traces or events';

CREATE FUNCTION trace_ext_internal.retention_backlog() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    most constant bigint := 10000;
    excess record;
BEGIN
    -- In C: the call loads the library, which defines the settings.
    PERFORM trace_ext.count_events();
    excess := trace_ext_internal.retention_excess();
    RETURN greatest(excess.traces, ceil(excess.events::numeric * trace_ext.count_traces() / greatest(trace_ext.count_events(), 1)),
                    (SELECT count(*) FROM (SELECT FROM trace_ext.summary_base WHERE last_timestamp < excess.before LIMIT most) AS old));
EXCEPTION WHEN data_exception THEN
    RETURN NULL;        -- the job says which setting is wrong
END
$$;
COMMENT ON FUNCTION trace_ext_internal.retention_backlog() IS 'how many traces are over the limits of retention; those that are too old are counted up to 10,000';

-- The oldest partition, if all that it has may leave. A trace that goes on in the
-- next one is not torn apart, unless it runs for longer than the horizon.
CREATE FUNCTION trace_ext_internal.expired_partition(excess record) RETURNS regclass
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    oldest trace_ext.partitions;
    inside record;
BEGIN
    SELECT p.* INTO oldest FROM trace_ext.partitions p
     WHERE NOT p.is_default AND p.upper_bound <= now() ORDER BY p.lower_bound LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT count(*) AS traces, coalesce(sum(event_count), 0) AS events INTO inside
      FROM trace_ext.summary_base WHERE last_timestamp < oldest.upper_bound;
    IF coalesce(oldest.upper_bound > excess.before, true)
       AND NOT (inside.traces > 0 AND (inside.traces <= excess.traces OR inside.events <= excess.events)) THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM trace_ext.summary_base
                WHERE last_timestamp >= greatest(oldest.upper_bound, excess.before)
                  AND last_timestamp < trace_ext_internal.shifted(greatest(oldest.upper_bound, excess.before), current_setting('trace_ext.horizon')::interval)
                  AND first_timestamp < oldest.upper_bound) THEN
        RETURN NULL;
    END IF;
    RETURN oldest.part::regclass;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.expired_partition(record) IS 'the oldest partition of events, if all of it may leave';

-- The oldest traces that have to leave, at most 500 and some 20,000 events of them.
CREATE FUNCTION trace_ext_internal.expired_traces(excess record) RETURNS uuid[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
    SELECT array_agg(trace_id)
      FROM (SELECT trace_id, last_timestamp,
                   row_number() OVER (ORDER BY last_timestamp, trace_id) AS number,
                   sum(event_count) OVER (ORDER BY last_timestamp, trace_id) - event_count AS events_before
              FROM (SELECT trace_id, last_timestamp, event_count FROM trace_ext.summary_base
                     ORDER BY last_timestamp, trace_id LIMIT 500) AS oldest) AS o
     WHERE (number <= excess.traces OR events_before < excess.events OR last_timestamp < excess.before - excess.patience)
       AND (events_before < 20000 OR number = 1));
END
$$;
COMMENT ON FUNCTION trace_ext_internal.expired_traces(record) IS 'traces that have to leave, the oldest first: a batch of them';

-- What its traces are is forgotten while everybody waits: a partition of many is
-- emptied before it is dropped.
CREATE FUNCTION trace_ext_internal.traces_of_partition(part regclass, most int) RETURNS uuid[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    leaves trace_ext.partitions;
    traces uuid[];
BEGIN
    SELECT p.* INTO leaves FROM trace_ext.partitions p WHERE p.part = traces_of_partition.part;
    IF (SELECT count(*) FROM (SELECT FROM trace_ext.summary_base
                               WHERE last_timestamp < leaves.upper_bound LIMIT most + 1) AS t) <= most THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(trace_id) INTO traces
      FROM (SELECT trace_id, row_number() OVER o AS number, sum(event_count) OVER o - event_count AS events_before
              FROM (SELECT trace_id, last_timestamp, event_count FROM trace_ext.summary_base
                     ORDER BY last_timestamp, trace_id LIMIT 5000) AS oldest
            WINDOW o AS (ORDER BY last_timestamp, trace_id)) AS t
     WHERE events_before < 20000 OR number = 1;
    RETURN traces;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.traces_of_partition(regclass, int) IS
    'a batch of the oldest traces, where the partition that leaves, and what is older, has more than so many; NULL: few enough to drop it';

CREATE PROCEDURE job_retention(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
    AS $$
DECLARE
    excess record;
    part regclass;
    leaving uuid[];
    begins timestamptz;
    ends timestamptz;
    left_over bigint;
BEGIN
    -- In C: the call loads the library, which defines the settings.
    PERFORM trace_ext_internal.require_read_committed('retention');
    PERFORM trace_ext_internal.trim_admin_log();
    again := false;
    excess := trace_ext_internal.retention_excess();
    IF excess.before IS NULL AND excess.traces = 0 AND excess.events = 0 THEN
        RETURN;
    END IF;
    -- Ages are those of the last fold. Not fold(), which would add up calls as well, however many.
    PERFORM trace_ext_internal.fold_lock(true);
    -- A backlog is folded first, a step at a time. That is faster than writers are, so retention has its turn.
    again := trace_ext_internal.fold_step();
    IF again THEN
        RETURN;
    END IF;
    PERFORM trace_ext_internal.fold_all();
    excess := trace_ext_internal.retention_excess();
    part := trace_ext_internal.expired_partition(excess);
    IF part IS NOT NULL THEN
        leaving := trace_ext_internal.traces_of_partition(part, 20000);
        IF leaving IS NULL THEN
            -- Behind one that waits for the lock everybody waits.
            PERFORM set_config('lock_timeout', '100ms', true);
            EXECUTE format('DROP TABLE %s', part);
            again := true;
            RETURN;
        END IF;
    ELSE
        leaving := trace_ext_internal.expired_traces(excess);
    END IF;
    IF leaving IS NOT NULL THEN
        SELECT min(b.first_timestamp), max(b.last_timestamp) INTO begins, ends FROM trace_ext.summary_base b WHERE b.trace_id = ANY (leaving);
        DELETE FROM trace_ext.events WHERE trace_id = ANY (leaving) AND "timestamp" BETWEEN begins AND ends;
        DELETE FROM trace_ext.trace_links WHERE trace_id = ANY (leaving);
        PERFORM trace_ext_internal.fold_all();
        -- Nobody need look at them: what they added to findings and anomalies would be taken back.
        DELETE FROM trace_ext.detect_queue q
         WHERE q.trace_id = ANY (leaving) AND NOT EXISTS (SELECT FROM trace_ext.summary_base b WHERE b.trace_id = q.trace_id);
        DELETE FROM trace_ext.anomaly_queue q
         WHERE q.trace_id = ANY (leaving) AND NOT EXISTS (SELECT FROM trace_ext.summary_base b WHERE b.trace_id = q.trace_id);
        again := true;
        RETURN;
    END IF;
    DELETE FROM trace_ext.ingest_errors
     WHERE id IN (SELECT id FROM trace_ext.ingest_errors WHERE received_at < excess.before LIMIT 20000);
    GET DIAGNOSTICS left_over = ROW_COUNT;
    again := left_over = 20000;
    -- Links of a partition that was dropped: their spans are gone.
    DELETE FROM trace_ext.trace_links l
     WHERE l.ctid = ANY (ARRAY(SELECT o.ctid FROM trace_ext.trace_links o
                                WHERE o."timestamp" < (SELECT min(p.lower_bound) FROM trace_ext.partitions p WHERE NOT p.is_default)
                                  AND NOT EXISTS (SELECT FROM trace_ext.events e WHERE e.trace_id = o.trace_id AND e."timestamp" = o."timestamp")
                                LIMIT 20000));
    GET DIAGNOSTICS left_over = ROW_COUNT;
    again := again OR left_over = 20000;
END
$$;
COMMENT ON PROCEDURE job_retention(boolean) IS
    'one step of retention, by trace_ext.retention_age, retention_size and retention_traces: drops the oldest partition, if all of it may leave, '
    'or deletes a batch of the oldest traces, of a large partition as well; returns whether there may be more to do. Findings stay; admin_log has its own limit';

INSERT INTO jobs (name, procedure, owner, builtin, "interval", timeout, priority) VALUES
    ('retention', 'trace_ext.job_retention', current_user, true, '10 min', '1 hour', 50);
