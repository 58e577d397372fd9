-- Partitions are made in steps, each a transaction of its own that locks events
-- for a few hundredths of a second. A step moves a few rows out of the default
-- partition, or none at all:
--   - few rows of the range wait there: they move into the new partition;
--   - many wait there, and few others: the default partition itself becomes the
--     partition of that range, and a new default partition takes the few others;
--   - many of both: they stay, and status says so.
-- So what a step costs does not depend on how much waits. That no row is where it
-- must not be is looked up in the index of events_default, under the lock, and
-- PostgreSQL is told, so that ATTACH PARTITION need not scan what waits.

CREATE FUNCTION trace_ext_internal.partition_begin(moment timestamptz, width interval) RETURNS timestamptz
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN date_bin(width, moment, '2000-01-03 00:00:00+00');      -- a Monday
EXCEPTION WHEN datetime_field_overflow THEN
    RETURN '-infinity';
END
$$;
COMMENT ON FUNCTION trace_ext_internal.partition_begin(timestamptz, interval) IS 'begin of the partition of that width which a moment is in';

-- Rows from "reach" on, and before "until", get a partition. Others are far off.
CREATE FUNCTION trace_ext_internal.partition_settings(OUT width interval, OUT ahead int, OUT reach timestamptz, OUT until timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    back constant interval := current_setting('trace_ext.partition_reach');
BEGIN
    width := current_setting('trace_ext.partition_interval');
    ahead := current_setting('trace_ext.partitions_ahead');
    reach := trace_ext_internal.shifted(now(), -back);
    until := trace_ext_internal.shifted(trace_ext_internal.partition_begin(now(), width), (ahead + 1) * width);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.partition_settings() IS
    'what maintain_partitions() goes by: length of partitions, how many ahead, and the time from which and until which it makes them for rows that wait';

CREATE FUNCTION trace_ext_internal.default_partition() RETURNS regclass
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT part::regclass FROM trace_ext.partitions WHERE is_default $$;
COMMENT ON FUNCTION trace_ext_internal.default_partition() IS 'the default partition of events; NULL while it is detached';

-- By the index, whatever the planner thinks of a table that was just filled.
CREATE FUNCTION trace_ext_internal.waiting_rows(low timestamptz, high timestamptz, most int) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
    AS $$
DECLARE
    found bigint := 0;
    source constant regclass := trace_ext_internal.default_partition();
BEGIN
    IF source IS NOT NULL THEN
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE "timestamp" >= $1 AND "timestamp" < $2 LIMIT $3) AS w', source)
           INTO found USING low, high, most;
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.waiting_rows(timestamptz, timestamptz, int) IS 'how many rows of a range of time the default partition holds, counted up to so many';

CREATE FUNCTION trace_ext_internal.waiting_ends(low timestamptz, high timestamptz, OUT oldest timestamptz, OUT newest timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
    AS $$
DECLARE
    source constant regclass := trace_ext_internal.default_partition();
BEGIN
    IF source IS NOT NULL THEN
        EXECUTE format('SELECT min("timestamp"), max("timestamp") FROM %s WHERE "timestamp" >= $1 AND "timestamp" < $2', source)
           INTO oldest, newest USING low, high;
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.waiting_ends(timestamptz, timestamptz) IS 'time of the first and of the last row of a range of time that the default partition holds';

-- The first part of [low, high) that no partition has.
CREATE FUNCTION trace_ext_internal.free_range(INOUT low timestamptz, INOUT high timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    taken trace_ext.partitions;
BEGIN
    FOR taken IN SELECT * FROM trace_ext.partitions p WHERE p.upper_bound > low AND p.lower_bound < high ORDER BY p.lower_bound LOOP
        EXIT WHEN taken.lower_bound > low;
        low := taken.upper_bound;
    END LOOP;
    SELECT least(high, min(p.lower_bound)) INTO high FROM trace_ext.partitions p
     WHERE p.lower_bound > low AND p.lower_bound < high;
    IF low >= high THEN
        low := NULL;
        high := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.free_range(timestamptz, timestamptz) IS 'the first part of a range of time that no partition of events has; NULL where there is none';

-- How a partition for a free range can be made, by what waits in the default one.
-- The range grows to all that waits around it where that alone makes it possible.
CREATE FUNCTION trace_ext_internal.partition_way(INOUT low timestamptz, INOUT high timestamptz, OUT way text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    most constant int := trace_ext_internal.partition_step_rows();
    settings record;
    ends record;
    wide_low timestamptz;
    wide_high timestamptz;
BEGIN
    way := 'stays';
    IF trace_ext_internal.waiting_rows(low, high, most + 1) <= most THEN
        way := 'rows move';
        RETURN;
    ELSIF trace_ext_internal.waiting_rows('-infinity', low, most + 1) + trace_ext_internal.waiting_rows(high, 'infinity', most + 1) <= most THEN
        way := 'default turns';
        RETURN;
    END IF;
    settings := trace_ext_internal.partition_settings();
    SELECT greatest(max(p.upper_bound) FILTER (WHERE p.upper_bound <= low), settings.reach),
           least(min(p.lower_bound) FILTER (WHERE p.lower_bound >= high), settings.until)
      INTO wide_low, wide_high FROM trace_ext.partitions p;
    ends := trace_ext_internal.waiting_ends(wide_low, wide_high);
    SELECT greatest(max(p.upper_bound) FILTER (WHERE p.upper_bound <= low), trace_ext_internal.partition_begin(ends.oldest, settings.width)),
           least(wide_high, trace_ext_internal.shifted(trace_ext_internal.partition_begin(ends.newest, settings.width), settings.width))
      INTO wide_low, wide_high FROM trace_ext.partitions p;
    IF trace_ext_internal.waiting_rows('-infinity', wide_low, most + 1) + trace_ext_internal.waiting_rows(wide_high, 'infinity', most + 1) <= most THEN
        low := wide_low;
        high := wide_high;
        way := 'default turns';
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.partition_way(timestamptz, timestamptz) IS
    'how a partition for a free range can be made at once: rows move, default turns (into it, maybe with more time around), or stays: it cannot';

CREATE FUNCTION trace_ext_internal.partition_step_rows() RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT 2000; END;
COMMENT ON FUNCTION trace_ext_internal.partition_step_rows() IS 'how many rows move at most while events is locked';

-- For more than these DROP EXTENSION would run out of locks.
CREATE FUNCTION trace_ext_internal.most_partitions() RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT 500; END;
COMMENT ON FUNCTION trace_ext_internal.most_partitions() IS 'with so many partitions of events none is made any more for rows that wait in the default one';

-- Those ahead first, for they are made at once; then that of now; then, newest
-- first, those that rows wait for.
CREATE FUNCTION trace_ext_internal.next_partition(for_waiting boolean, OUT low timestamptz, OUT high timestamptz, OUT way text, OUT waited boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    settings constant record := trace_ext_internal.partition_settings();
    today constant timestamptz := trace_ext_internal.partition_begin(now(), settings.width);
    bound timestamptz := settings.until;
    newest timestamptz;
BEGIN
    waited := false;
    FOR n IN 0 .. settings.ahead LOOP
        low := today + CASE WHEN n = settings.ahead THEN 0 ELSE n + 1 END * settings.width;
        high := low + settings.width;
        LOOP
            SELECT f.low, f.high INTO low, high FROM trace_ext_internal.free_range(low, high) f;
            EXIT WHEN low IS NULL;
            SELECT w.low, w.high, w.way INTO low, high, way FROM trace_ext_internal.partition_way(low, high) w;
            IF way <> 'stays' THEN
                RETURN;
            END IF;
            low := high;
            high := today + (CASE WHEN n = settings.ahead THEN 0 ELSE n + 1 END + 1) * settings.width;
        END LOOP;
    END LOOP;
    waited := true;
    WHILE for_waiting AND (SELECT count(*) FROM trace_ext.partitions) <= trace_ext_internal.most_partitions() LOOP
        newest := (trace_ext_internal.waiting_ends(settings.reach, bound)).newest;
        EXIT WHEN newest IS NULL;
        -- No other partition has that row's time: a free range is around it.
        low := trace_ext_internal.partition_begin(newest, settings.width);
        high := trace_ext_internal.shifted(low, settings.width);
        SELECT greatest(low, max(p.upper_bound) FILTER (WHERE p.upper_bound <= newest)),
               least(high, min(p.lower_bound) FILTER (WHERE p.lower_bound > newest))
          INTO low, high FROM trace_ext.partitions p;
        bound := low;
        SELECT w.low, w.high, w.way INTO low, high, way FROM trace_ext_internal.partition_way(low, high) w;
        IF way <> 'stays' THEN
            RETURN;
        END IF;
    END LOOP;
    low := NULL;
    high := NULL;
    way := NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.next_partition(boolean) IS
    'the range of time to make a partition for now, and how; NULL: none; waited: it is only for rows that wait in the default partition';

CREATE FUNCTION trace_ext_internal.trust_check(part regclass, name name) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_trust_check';
COMMENT ON FUNCTION trace_ext_internal.trust_check(regclass, name) IS
    'marks a CHECK constraint as valid without looking at the rows: the caller, who has the table locked, knows that it holds';

CREATE FUNCTION trace_ext_internal.dump_rows(part regclass) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_dump_rows';
COMMENT ON FUNCTION trace_ext_internal.dump_rows(regclass) IS 'has pg_dump write out the rows of a table that became a member of the extension after CREATE EXTENSION';

-- A name that is free. A partition that was detached keeps its own.
CREATE FUNCTION trace_ext_internal.partition_name(low timestamptz) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    AS $$
DECLARE
    name constant text := CASE WHEN isfinite(low) THEN 'events_p' || to_char(low,
        CASE WHEN low = date_trunc('day', low) THEN 'YYYYMMDD' ELSE 'YYYYMMDD_HH24MI' END) ELSE 'events_pbegin' END;
    part text := name;
    number int := 1;
BEGIN
    WHILE to_regclass(format('trace_ext.%I', part)) IS NOT NULL LOOP
        number := number + 1;
        part := name || '_' || number;
    END LOOP;
    RETURN part;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.partition_name(timestamptz) IS 'a free name for a partition that begins then';

CREATE FUNCTION trace_ext_internal.partition_table(name text) RETURNS regclass
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    EXECUTE format('CREATE TABLE trace_ext.%I (LIKE trace_ext.events INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS INCLUDING STORAGE)', name);
    EXECUTE format('GRANT SELECT ON trace_ext.%I TO trace_ext_reader, trace_ext_admin', name);
    EXECUTE format('GRANT INSERT ON trace_ext.%I TO trace_ext_writer', name);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE, TRUNCATE ON trace_ext.%I TO trace_ext_admin', name);
    RETURN format('trace_ext.%I', name)::regclass;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.partition_table(text) IS 'a new table like events, with the rights of the roles of the extension';

-- Rows only change place, so nothing is counted: partitions_changed() finds the
-- table partitions as it has to be at each command.
CREATE FUNCTION trace_ext_internal.attach_partition(part regclass, bound text, low timestamptz, high timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO trace_ext.partitions (part, is_default, lower_bound, upper_bound)
    VALUES (part, low IS NULL, low, high);
    EXECUTE format('ALTER TABLE trace_ext.events ATTACH PARTITION %s %s', part, bound);
    DELETE FROM trace_ext.partitions p WHERE p.part = attach_partition.part;
    PERFORM trace_ext_internal.adopt_partition(part);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.attach_partition(regclass, text, timestamptz, timestamptz) IS 'attaches a partition of events whose rows are counted already';

-- The few rows of the range that wait move. Under the locks of make_partition().
CREATE FUNCTION trace_ext_internal.move_rows(source regclass, target regclass, condition text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
    AS $$
DECLARE
    -- By name: a table that somebody attached may have them in another order.
    columns constant text := trace_ext_internal.event_columns();
BEGIN
    EXECUTE format('WITH moved AS (DELETE FROM %1$s WHERE %2$s RETURNING %4$s) INSERT INTO %3$s (%4$s) SELECT %4$s FROM moved',
                   source, condition, target, columns);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.move_rows(regclass, regclass, text) IS 'moves rows from one table to another';

CREATE FUNCTION trace_ext_internal.make_by_moving(part regclass, low timestamptz, high timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
    AS $$
DECLARE
    source constant regclass := trace_ext_internal.default_partition();
BEGIN
    IF source IS NOT NULL THEN
        IF trace_ext_internal.waiting_rows(low, high, 1) > 0 THEN
            EXECUTE format('ALTER TABLE %s DISABLE TRIGGER trace_ext_note', source);
            PERFORM trace_ext_internal.move_rows(source, part, format('"timestamp" >= %L AND "timestamp" < %L', low, high));
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER trace_ext_note', source);
        END IF;
        IF trace_ext_internal.waiting_rows(low, high, 1) > 0 THEN
            RAISE EXCEPTION 'rows from % to % are still in %', low, high, source USING ERRCODE = 'internal_error';
        END IF;
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT trace_ext_proof CHECK ("timestamp" < %L OR "timestamp" >= %L) NOT VALID', source, low, high);
        PERFORM trace_ext_internal.trust_check(source, 'trace_ext_proof');
    END IF;
    PERFORM trace_ext_internal.attach_partition(part, format('FOR VALUES FROM (%L) TO (%L)', low, high), low, high);
    UPDATE trace_ext.partitions p SET automatic = true WHERE p.part = make_by_moving.part;
    EXECUTE format('COMMENT ON TABLE %s IS %L', part, format('events from %s to %s', low, high));
    IF source IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT trace_ext_proof', source);
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.make_by_moving(regclass, timestamptz, timestamptz) IS
    'attaches a new partition, after the rows of its range have moved there from the default one';

-- The default partition takes that range, under a name like the others, and a new
-- one takes its place, its name, and its membership of the extension.
CREATE FUNCTION trace_ext_internal.make_by_turning(fresh regclass, part text, low timestamptz, high timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
    AS $$
DECLARE
    old constant regclass := trace_ext_internal.default_partition();
    old_name constant name := (SELECT relname FROM pg_class WHERE oid = old);
    index record;
BEGIN
    DELETE FROM trace_ext.partitions p WHERE p.part = old;
    EXECUTE format('ALTER TABLE trace_ext.events DETACH PARTITION %s', old);
    -- Detached, it has no trigger that would count.
    PERFORM trace_ext_internal.move_rows(old, fresh, format('"timestamp" < %L', low));
    PERFORM trace_ext_internal.move_rows(old, fresh, format('"timestamp" >= %L', high));
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT trace_ext_proof CHECK ("timestamp" >= %L AND "timestamp" < %L) NOT VALID', old, low, high);
    PERFORM trace_ext_internal.trust_check(old, 'trace_ext_proof');

    EXECUTE format('ALTER EXTENSION trace_ext DROP TABLE %s', old);
    EXECUTE format('DROP TRIGGER IF EXISTS trace_ext_restore ON %s', old);
    DROP INDEX IF EXISTS trace_ext.events_default_timestamp_idx;
    EXECUTE format('ALTER TABLE %s RENAME TO %I', old, part);
    FOR index IN SELECT i.indexrelid::regclass AS oid, c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                  WHERE i.indrelid = old AND c.relname LIKE 'events\_default\_%' LOOP
        EXECUTE format('ALTER INDEX %s RENAME TO %I', index.oid, part || substr(index.name, length('events_default') + 1));
    END LOOP;
    EXECUTE format('COMMENT ON TABLE %s IS %L', old, format('events from %s to %s', low, high));
    PERFORM trace_ext_internal.attach_partition(old, format('FOR VALUES FROM (%L) TO (%L)', low, high), low, high);
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT trace_ext_proof', old);

    EXECUTE format('ALTER TABLE %s RENAME TO %I', fresh, old_name);
    EXECUTE format('CREATE INDEX events_default_timestamp_idx ON %s ("timestamp")', fresh);
    PERFORM trace_ext_internal.attach_partition(fresh, 'DEFAULT', NULL, NULL);
    PERFORM trace_ext_internal.comment_default(fresh);
    PERFORM trace_ext_internal.restores_default(fresh);
    EXECUTE format('ALTER EXTENSION trace_ext ADD TABLE %s', fresh);
    PERFORM trace_ext_internal.dump_rows(fresh);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.make_by_turning(regclass, text, timestamptz, timestamptz) IS
    'makes the default partition that of a range of time, for most of its rows are of it, and a new table the default partition';

CREATE FUNCTION trace_ext_internal.make_partition(low timestamptz, high timestamptz, way text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
    AS $$
DECLARE
    part constant text := trace_ext_internal.partition_name(low);
    source regclass;
    -- While it waited for the locks a few rows more may have come.
    most constant int := 2 * trace_ext_internal.partition_step_rows();
BEGIN
    -- One maintainer at a time; readers of this table go on.
    LOCK TABLE trace_ext.partitions IN SHARE UPDATE EXCLUSIVE MODE;
    -- Others wait here, before they choose partitions. One that waited for the
    -- default partition with a choice made would not look into the new one: a
    -- reader would miss the rows that moved, UPDATE and DELETE would pass over
    -- them, and INSERT would be refused. First of events, then of its default
    -- partition, in the order of DROP TABLE.
    LOCK TABLE ONLY trace_ext.events IN ACCESS EXCLUSIVE MODE;
    source := trace_ext_internal.default_partition();
    IF source IS NOT NULL THEN
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', source);
    END IF;
    -- What was decided without a lock still holds, or is decided anew.
    IF EXISTS (SELECT FROM trace_ext.partitions p WHERE p.upper_bound > low AND p.lower_bound < high)
       OR (way = 'rows move' AND trace_ext_internal.waiting_rows(low, high, most + 1) > most)
       OR (way = 'default turns'
           AND trace_ext_internal.waiting_rows('-infinity', low, most + 1) + trace_ext_internal.waiting_rows(high, 'infinity', most + 1) > most)
    THEN
        RAISE EXCEPTION 'events changed while the step waited for them' USING ERRCODE = 'lock_not_available';
    END IF;
    IF way = 'rows move' THEN
        PERFORM trace_ext_internal.make_by_moving(trace_ext_internal.partition_table(part), low, high);
    ELSE
        PERFORM trace_ext_internal.make_by_turning(trace_ext_internal.partition_table('events_default_fresh'), part, low, high);
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.make_partition(timestamptz, timestamptz, text) IS
    'makes a partition of events for a free range of time, in one of the ways of partition_way(); others wait until it is committed';

CREATE FUNCTION trace_ext_internal.partition_step(for_waiting boolean, gives_way boolean) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    SET lock_timeout = '50ms' SET deadlock_timeout = '20ms'
    AS $$
DECLARE
    next record;
BEGIN
    -- In C: the call loads the library, which defines the settings.
    PERFORM trace_ext_internal.require_read_committed('maintain_partitions()');
    -- A restore that begins meanwhile drops what was made until now, under this lock; nothing
    -- must be made after it.
    LOCK TABLE trace_ext.partitions IN SHARE UPDATE EXCLUSIVE MODE;
    IF gives_way AND trace_ext_internal.restoring() THEN
        RETURN 'done';
    END IF;
    next := trace_ext_internal.next_partition(for_waiting);
    IF next.low IS NULL THEN
        RETURN 'done';
    END IF;
    -- Behind one that waits for the lock everybody waits: rather give up soon, and try
    -- again. Autovacuum gives way after deadlock_timeout.
    PERFORM trace_ext_internal.make_partition(next.low, next.high, next.way);
    RETURN CASE WHEN next.waited THEN 'made for rows' ELSE 'made' END;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RETURN 'busy';
END
$$;
COMMENT ON FUNCTION trace_ext_internal.partition_step(boolean, boolean) IS
    'one step of maintain_partitions(): makes one partition, with or without those that only rows in the default partition need; none where it gives way to a restore; '
    'returns made, made for rows, busy (somebody has events locked: try again) or done';

-- All of a table of 1,000 pages; of a larger one, fifty times twenty pages in a row.
CREATE FUNCTION trace_ext_internal.default_rows(reach timestamptz, until timestamptz, OUT rows bigint, OUT far bigint, OUT is_exact boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_indexscan = off SET enable_bitmapscan = off SET jit = off
    AS $$
DECLARE
    source constant regclass := trace_ext_internal.default_partition();
    pages constant bigint := coalesce(pg_relation_size(source), 0) / current_setting('block_size')::bigint;
    parts constant bigint := CASE WHEN pages <= 1000 THEN 1 ELSE 50 END;
    length constant bigint := CASE WHEN pages <= 1000 THEN pages ELSE 20 END;
    found record;
BEGIN
    rows := 0;
    far := 0;
    is_exact := pages <= 1000;
    FOR n IN 0 .. parts - 1 LOOP
        EXIT WHEN pages = 0;
        -- Constants, for only with these it is a scan of a range of pages.
        EXECUTE format('SELECT count(*) AS rows, count(*) FILTER (WHERE "timestamp" < $1 OR "timestamp" >= $2) AS far
                          FROM %s WHERE ctid >= %L::tid AND ctid < %L::tid',
                       source, format('(%s,0)', n * pages / parts), format('(%s,0)', n * pages / parts + length))
           INTO found USING reach, until;
        rows := rows + found.rows;
        far := far + found.far;
    END LOOP;
    IF NOT is_exact THEN
        rows := rows * pages / 1000;
        far := far * pages / 1000;
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.default_rows(timestamptz, timestamptz) IS
    'rows of the default partition, and how many of them are not of that range of time; whether that is exact, not estimated as above 8 MB';

-- What maintain_partitions() has left to do, where there is something, or rows wait.
CREATE FUNCTION trace_ext_internal.partition_work(OUT events_in_default bigint, OUT far_events bigint, OUT oldest_far_event timestamptz,
                                  OUT newest_far_event timestamptz, OUT partitions_to_make int, OUT advice text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    settings record;
    today timestamptz;
    newest timestamptz;
    nothing_waits boolean;
    first_one record;
BEGIN
    settings := trace_ext_internal.partition_settings();
    SELECT d.rows, d.far, d.rows = 0 AND d.is_exact INTO events_in_default, far_events, nothing_waits
      FROM trace_ext_internal.default_rows(settings.reach, settings.until) d;
    today := trace_ext_internal.partition_begin(now(), settings.width);
    SELECT count(*) INTO partitions_to_make FROM generate_series(0, settings.ahead) n,
           LATERAL trace_ext_internal.free_range(today + n * settings.width, today + (n + 1) * settings.width) f WHERE f.low IS NOT NULL;

    IF NOT nothing_waits THEN
        oldest_far_event := coalesce((trace_ext_internal.waiting_ends('-infinity', settings.reach)).oldest, (trace_ext_internal.waiting_ends(settings.until, 'infinity')).oldest);
        newest_far_event := coalesce((trace_ext_internal.waiting_ends(settings.until, 'infinity')).newest, (trace_ext_internal.waiting_ends('-infinity', settings.reach)).newest);
        newest := today;
        LOOP
            newest := (trace_ext_internal.waiting_ends(settings.reach, newest)).newest;
            EXIT WHEN newest IS NULL OR partitions_to_make >= trace_ext_internal.most_partitions();
            partitions_to_make := partitions_to_make + 1;
            newest := trace_ext_internal.partition_begin(newest, settings.width);
        END LOOP;
    END IF;
    IF partitions_to_make > 0 THEN
        first_one := trace_ext_internal.next_partition(true);
        advice := CASE WHEN first_one.low IS NOT NULL THEN NULL
                       WHEN (SELECT count(*) FROM trace_ext.partitions) > trace_ext_internal.most_partitions() THEN
                           'there are so many partitions that none is made for events that wait: drop old ones, or make trace_ext.partition_interval longer'
                       ELSE 'events of several times wait in events_default, too many of each to move while nobody reads: '
                            'delete those that are far off, or move them by hand to tables that you attach' END;
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.partition_work() IS 'partition_backlog(), looked at in full';

-- Mostly there is nothing to do, and everybody who looks asks for it: that is seen without
-- functions that a session has to compile. Partitions do not overlap, so they fill a range
-- where they are as long as it.
CREATE FUNCTION trace_ext_internal.partition_backlog(OUT events_in_default bigint, OUT far_events bigint, OUT oldest_far_event timestamptz,
                                  OUT newest_far_event timestamptz, OUT partitions_to_make int, OUT advice text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    BEGIN ATOMIC
    WITH wanted AS (
        SELECT date_bin(w.width, now(), '2000-01-03 00:00:00+00') AS low,
               date_bin(w.width, now(), '2000-01-03 00:00:00+00') + (current_setting('trace_ext.partitions_ahead')::int + 1) * w.width AS high
          FROM (SELECT current_setting('trace_ext.partition_interval')::interval AS width) AS w
    ), quiet AS MATERIALIZED (
        SELECT coalesce(bool_and(pg_relation_size(p.part::regclass) = 0) FILTER (WHERE p.is_default), true)
               AND coalesce(sum(least(p.upper_bound, w.high) - greatest(p.lower_bound, w.low)) FILTER (WHERE p.upper_bound > w.low AND p.lower_bound < w.high), '0') = w.high - w.low AS quiet
          FROM wanted w LEFT JOIN trace_ext.partitions p ON true GROUP BY w.low, w.high
    )
    SELECT b.events_in_default, b.far_events, b.oldest_far_event, b.newest_far_event, b.partitions_to_make, b.advice
      FROM quiet q, trace_ext_internal.partition_work() b WHERE NOT q.quiet
    UNION ALL
    SELECT 0, 0, NULL, NULL, 0, NULL FROM quiet q WHERE q.quiet;
    END;
COMMENT ON FUNCTION trace_ext_internal.partition_backlog() IS 'what the default partition holds, and what maintain_partitions() has left to do';

CREATE PROCEDURE maintain_partitions()
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_maintain_partitions';
COMMENT ON PROCEDURE maintain_partitions() IS
    'makes the partitions of events for now and trace_ext.partitions_ahead intervals of trace_ext.partition_interval, and up to 32 for rows '
    'that wait in events_default and are not older than trace_ext.partition_reach. Commits after each, unless it is called in a transaction. Safe to call '
    'at any time: each locks events for a moment, and gives way to others';
