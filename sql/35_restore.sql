-- Restores: partitions that maintain_partitions() made give way to those of a dump or
-- of a user, and workers wait.

CREATE FUNCTION trace_ext_internal.event_columns() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
     WHERE attrelid = 'trace_ext.events'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    END;
COMMENT ON FUNCTION trace_ext_internal.event_columns() IS 'the columns of events that hold what was sent, for a statement that names them';

-- Its rows leave the counts with it, and are counted again where they go: into the
-- arriving table, which will be counted when it is attached, or back to events.
CREATE FUNCTION trace_ext_internal.dissolve_partition(part regclass, arriving regclass, low timestamptz, high timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
    AS $$
DECLARE
    columns constant text := trace_ext_internal.event_columns();
BEGIN
    EXECUTE format('CREATE TABLE trace_ext.events_moving AS SELECT %s FROM %s', columns, part);
    EXECUTE format('DROP TABLE %s', part);
    EXECUTE format('INSERT INTO %s (%2$s) SELECT %2$s FROM trace_ext.events_moving WHERE "timestamp" >= %3$L AND "timestamp" < %4$L',
                   arriving, columns, low, high);
    EXECUTE format('INSERT INTO trace_ext.events (%1$s) OVERRIDING SYSTEM VALUE SELECT %1$s FROM trace_ext.events_moving WHERE NOT ("timestamp" >= %2$L AND "timestamp" < %3$L)',
                   columns, low, high);
    DROP TABLE trace_ext.events_moving;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.dissolve_partition(regclass, regclass, timestamptz, timestamptz) IS
    'drops a partition of events; its rows of that range of time go to an arriving table, the others back to events';

CREATE FUNCTION trace_ext_internal.make_room(arriving oid, low timestamptz, high timestamptz, with_rows boolean) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
    AS $$
DECLARE
    taken trace_ext.partitions;
    source regclass;
    filled boolean;
BEGIN
    -- One that is being made is there or not, and no other is begun until this is committed.
    LOCK TABLE trace_ext.partitions IN SHARE UPDATE EXCLUSIVE MODE;
    FOR taken IN SELECT * FROM trace_ext.partitions p
                  WHERE p.automatic AND p.part <> make_room.arriving AND p.lower_bound < high AND p.upper_bound > low LOOP
        LOCK TABLE ONLY trace_ext.events IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', taken.part::regclass);
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', taken.part::regclass) INTO filled;
        IF NOT filled THEN
            -- Nothing is to be subtracted.
            DELETE FROM trace_ext.partitions p WHERE p.part = taken.part;
            EXECUTE format('DROP TABLE %s', taken.part::regclass);
        ELSIF with_rows THEN
            PERFORM trace_ext_internal.dissolve_partition(taken.part, arriving, low, high);
        END IF;
    END LOOP;
    source := trace_ext_internal.default_partition();
    IF with_rows AND source IS NOT NULL AND trace_ext_internal.waiting_rows(low, high, 1) > 0 THEN
        LOCK TABLE ONLY trace_ext.events IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', source);
        EXECUTE format('WITH moved AS (DELETE FROM %1$s WHERE "timestamp" >= %4$L AND "timestamp" < %5$L RETURNING %2$s)
                        INSERT INTO %3$s (%2$s) SELECT %2$s FROM moved', source, trace_ext_internal.event_columns(), arriving::regclass, low, high);
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.make_room(oid, timestamptz, timestamptz, boolean) IS
    'drops what maintain_partitions() made of a range of time that another partition is about to have, where it is empty; '
    'with_rows: also where not, and rows of the range move into the arriving table';

CREATE FUNCTION trace_ext_internal.give_up_name(wanted name) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    ours constant oid := (SELECT p.part FROM trace_ext.partitions p JOIN pg_class c ON c.oid = p.part
                           WHERE p.automatic AND c.relname = wanted AND c.relnamespace = 'trace_ext'::regnamespace);
    index record;
    name text;
BEGIN
    IF ours IS NULL THEN
        RETURN;
    END IF;
    name := trace_ext_internal.partition_name((SELECT p.lower_bound FROM trace_ext.partitions p WHERE p.part = ours));
    FOR index IN SELECT i.indexrelid::regclass AS oid, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                  WHERE i.indrelid = ours AND left(c.relname, length(wanted)) = wanted LOOP
        EXECUTE format('ALTER INDEX %s RENAME TO %I', index.oid, name || substr(index.relname, length(wanted) + 1));
    END LOOP;
    EXECUTE format('ALTER TABLE %s RENAME TO %I', ours::regclass, name);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.give_up_name(name) IS 'renames a partition that maintain_partitions() made, so that another table can have its name';

CREATE FUNCTION trace_ext_internal.restoring() RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_restoring';
COMMENT ON FUNCTION trace_ext_internal.restoring() IS
    'whether a dump is being restored into this database, or was within the last minute: workers make no partitions, look for no races and let no data leave then';

CREATE FUNCTION trace_ext_internal.restore_default() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_restore_default';
COMMENT ON FUNCTION trace_ext_internal.restore_default() IS
    'statement trigger on events_default: before a dump brings its rows, drops empty partitions that maintain_partitions() made, which would have them refused';

CREATE FUNCTION trace_ext_internal.restores_default(part regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER trace_ext_restore BEFORE INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.restore_default()', part);
    EXECUTE format('COMMENT ON TRIGGER trace_ext_restore ON %s IS %L', part, 'lets the rows of a dump into the default partition');
END
$$;
COMMENT ON FUNCTION trace_ext_internal.restores_default(regclass) IS 'gives the default partition its trigger restore_default()';
SELECT trace_ext_internal.restores_default('trace_ext.events_default');
