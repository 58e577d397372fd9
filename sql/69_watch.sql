-- Watched tables: who reads a value, computes, and writes over somebody else's write is found
-- without a change to the application. The state is a trigger of the table.

CREATE FUNCTION trace_ext_internal.watch_row() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_watch_row';
COMMENT ON FUNCTION trace_ext_internal.watch_row() IS
    'row trigger of watched tables: takes what is written. Its arguments: version, values, oid of the table, who watches it, number of columns of the key, '
    'these, and the watched ones or *, each as number:name';

CREATE FUNCTION trace_ext_internal.watch_settings(of regclass, OUT columns text[], OUT key text[], OUT "values" text, OUT watched_by text,
                                                  OUT reads bigint, OUT writes bigint, OUT dropped bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_watch_settings';
COMMENT ON FUNCTION trace_ext_internal.watch_settings(regclass) IS 'what is watched of a table, and what was counted; NULLs: nothing';

CREATE FUNCTION trace_ext_internal.watch_counts(OUT taken bigint, OUT stored bigint, OUT buffer_full bigint, OUT too_many_rows bigint,
                                                OUT too_much_memory bigint, OUT not_covered bigint, OUT errors bigint, OUT bad_requests bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_watch_counts';
COMMENT ON FUNCTION trace_ext_internal.watch_counts() IS
    'accesses that were taken, stored and dropped, each by the reason, of all databases since the server started; NULLs without preload';

CREATE FUNCTION trace_ext_internal.watch_forget(of regclass) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_watch_forget';
COMMENT ON FUNCTION trace_ext_internal.watch_forget(regclass) IS 'counts a table no more';

CREATE FUNCTION trace_ext_internal.watch_trigger(of regclass) RETURNS name
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT t.tgname FROM pg_trigger t
     WHERE t.tgrelid = of AND t.tgparentid = 0 AND t.tgfoid = 'trace_ext_internal.watch_row()'::regprocedure
     LIMIT 1;
    END;
COMMENT ON FUNCTION trace_ext_internal.watch_trigger(regclass) IS 'the trigger by which a table is watched, not by that of a table it is a partition of; NULL: none';

-- Before anything is locked or looked at.
CREATE FUNCTION trace_ext_internal.judge_watch(of regclass, "values" text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    c constant name := trace_ext_internal.caller();
    r pg_class;
    is_owner boolean;
BEGIN
    SELECT * INTO r FROM pg_class p WHERE p.oid = of;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such table' USING ERRCODE = 'undefined_table';
    END IF;
    is_owner := pg_has_role(c, r.relowner, 'USAGE');
    IF NOT is_owner AND NOT (pg_has_role(c, 'trace_ext_admin', 'USAGE') AND has_table_privilege(c, of, 'SELECT')) THEN
        RAISE EXCEPTION 'permission denied for table %', of USING ERRCODE = 'insufficient_privilege',
            HINT = 'The owner of a table may watch it, and a member of trace_ext_admin who may SELECT from it.';
    END IF;
    IF NOT is_owner AND r.relrowsecurity AND "values" IS DISTINCT FROM 'none'
       AND NOT (SELECT a.rolsuper OR a.rolbypassrls FROM pg_roles a WHERE a.rolname = c) THEN
        RAISE EXCEPTION 'row security of table % keeps rows from you', of USING ERRCODE = 'insufficient_privilege',
            HINT = 'Have its owner watch it, or watch it with values "none".';
    END IF;
    IF r.relkind NOT IN ('r', 'p') OR r.relpersistence = 't' THEN
        RAISE EXCEPTION '% is not a table that can be watched', of USING ERRCODE = 'wrong_object_type',
            HINT = 'Ordinary and partitioned tables are, temporary ones and views are not.';
    END IF;
    IF r.relnamespace IN ('pg_catalog'::regnamespace, 'trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace)
       OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = of AND d.deptype = 'e'
                     AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'trace_ext')) THEN
        RAISE EXCEPTION '% is a table of the system or of trace_ext', of USING ERRCODE = 'wrong_object_type';
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.judge_watch(regclass, text) IS 'fails where the caller may not watch a table, or it cannot be watched';

-- The columns as arguments of the trigger, in their order; fails on one that is not there, or twice.
CREATE FUNCTION trace_ext_internal.watch_columns(of regclass, columns text[], what text) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    c text;
    n int2;
    found_columns text[] := '{}';
BEGIN
    FOREACH c IN ARRAY columns LOOP
        SELECT a.attnum INTO n FROM pg_attribute a WHERE a.attrelid = of AND a.attname = c AND a.attnum > 0 AND NOT a.attisdropped;
        IF n IS NULL THEN
            RAISE EXCEPTION 'column "%" of the % is not there in table %', c, what, of USING ERRCODE = 'undefined_column';
        ELSIF format('%s:%s', n, c) = ANY (found_columns) THEN
            RAISE EXCEPTION 'column "%" is named twice', c USING ERRCODE = 'duplicate_column';
        END IF;
        found_columns := found_columns || format('%s:%s', n, c);
    END LOOP;
    RETURN found_columns;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.watch_columns(regclass, text[], text) IS 'columns of a table as the trigger of a watched table names them: number:name';

-- The table as now, and as what it is watched: a watch is no row that a trigger could log.
CREATE FUNCTION trace_ext_internal.watched_as(of regclass) RETURNS jsonb
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT jsonb_build_object('columns', s.columns, 'key', s.key, 'values', s."values")
      FROM trace_ext_internal.watch_settings(of) s WHERE trace_ext_internal.watch_trigger(of) IS NOT NULL;
    END;
COMMENT ON FUNCTION trace_ext_internal.watched_as(regclass) IS 'what is watched of a table, for admin_log; NULL: it is not watched';

CREATE FUNCTION trace_ext_internal.log_watch(of regclass, before jsonb, after jsonb) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    INSERT INTO trace_ext.admin_log (at, role_name, logged_in_as, what, name, before, after)
    SELECT clock_timestamp(), trace_ext_internal.caller(), session_user, 'watch', of::text, before, after
     WHERE before IS DISTINCT FROM after;
    END;
COMMENT ON FUNCTION trace_ext_internal.log_watch(regclass, jsonb, jsonb) IS 'writes into admin_log who changed what is watched of a table';

CREATE FUNCTION watch("table" regclass, columns text[] = NULL, key text[] = NULL, "values" text = 'plain') RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    before jsonb;
    keys text[];
    watched text[];
    arguments text;
BEGIN
    IF "table" IS NULL THEN
        RAISE EXCEPTION 'a table is needed' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM trace_ext_internal.judge_watch("table", "values");
    IF NOT trace_ext_internal.preloaded() THEN
        RAISE EXCEPTION 'trace_ext is not preloaded, so nothing can be watched' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Add trace_ext to shared_preload_libraries and restart the server.';
    END IF;
    IF "values" IS NULL OR "values" NOT IN ('plain', 'hash', 'none') THEN
        RAISE EXCEPTION 'values must be plain, hash or none, not %', coalesce(quote_literal("values"), 'NULL') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF key IS NULL THEN
        SELECT array_agg(a.attname::text ORDER BY k.n) INTO key
          FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n), pg_attribute a
         WHERE i.indrelid = "table" AND i.indisprimary AND k.n <= i.indnkeyatts AND a.attrelid = i.indrelid AND a.attnum = k.attnum;
        IF key IS NULL THEN
            RAISE EXCEPTION 'table % has no primary key', "table" USING ERRCODE = 'undefined_object',
                HINT = 'Name the columns that tell its rows apart: watch(..., key => ''{...}'').';
        END IF;
    END IF;
    IF cardinality(key) = 0 OR cardinality(key) > 32 OR cardinality(columns) = 0 THEN
        RAISE EXCEPTION 'a key has 1 to 32 columns, and one column at least is watched' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    keys := trace_ext_internal.watch_columns("table", key, 'key');
    watched := CASE WHEN columns IS NULL THEN ARRAY['*'] ELSE trace_ext_internal.watch_columns("table", columns, 'columns') END;
    before := trace_ext_internal.watched_as("table");
    PERFORM trace_ext_internal.unwatch_table("table");
    SELECT string_agg(quote_literal(a), ', ' ORDER BY n) INTO arguments
      FROM unnest(ARRAY['1', "values", "table"::oid::text, trace_ext_internal.caller()::text, cardinality(keys)::text] || keys || watched)
           WITH ORDINALITY AS u (a, n);
    EXECUTE format('CREATE TRIGGER trace_ext_watch AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.watch_row(%s)',
                   "table", arguments);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER trace_ext_watch', "table");
    PERFORM trace_ext_internal.log_watch("table", before, trace_ext_internal.watched_as("table"));
END
$$;
COMMENT ON FUNCTION watch(regclass, text[], text[], text) IS
    'watches a table from now on: what is read and written of these columns (NULL: all but the key) becomes events, of a row that the key names (NULL: the primary key). '
    'values: plain; hash, which keeps equality and hides content; none. For the owner of the table, and trace_ext_admin who may SELECT from it. Replaces what was watched of it';

CREATE FUNCTION trace_ext_internal.unwatch_table(of regclass) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    t constant name := trace_ext_internal.watch_trigger(of);
BEGIN
    IF t IS NOT NULL THEN
        EXECUTE format('DROP TRIGGER %I ON %s', t, of);
    END IF;
    RETURN t IS NOT NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.unwatch_table(regclass) IS 'drops the trigger by which a table is watched; false: there is none';

CREATE FUNCTION unwatch("table" regclass) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    before jsonb;
    was_watched boolean;
BEGIN
    IF "table" IS NULL THEN
        RAISE EXCEPTION 'a table is needed' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM trace_ext_internal.judge_watch("table", 'none');
    before := trace_ext_internal.watched_as("table");
    was_watched := trace_ext_internal.unwatch_table("table");
    PERFORM trace_ext_internal.log_watch("table", before, NULL);
    PERFORM trace_ext_internal.watch_forget("table");
    RETURN was_watched;
END
$$;
COMMENT ON FUNCTION unwatch(regclass) IS 'watches a table no more; what was stored stays. False where it was not watched. For those who may watch it';

CREATE VIEW watched_tables AS
SELECT t.tgrelid::regclass AS "table", s.columns, s.key, s."values", s.watched_by, s.reads, s.writes, s.dropped
  FROM pg_catalog.pg_trigger t, LATERAL trace_ext_internal.watch_settings(t.tgrelid) s
 WHERE t.tgfoid = 'trace_ext_internal.watch_row()'::regprocedure AND t.tgparentid = 0;
COMMENT ON VIEW watched_tables IS 'tables that are watched; counts are since the server started';
COMMENT ON COLUMN watched_tables."table" IS 'the table, with its partitions';
COMMENT ON COLUMN watched_tables.columns IS 'columns of which reads and writes are taken; NULL: nothing is, as the server does not preload trace_ext, or a column of the key is gone';
COMMENT ON COLUMN watched_tables.key IS 'columns that name a row';
COMMENT ON COLUMN watched_tables."values" IS 'how much of values leaves the table: plain, hash, none';
COMMENT ON COLUMN watched_tables.watched_by IS 'the role that called watch()';
COMMENT ON COLUMN watched_tables.reads IS 'reads that were taken, of a column of a row each';
COMMENT ON COLUMN watched_tables.writes IS 'writes that were taken, the same';
COMMENT ON COLUMN watched_tables.dropped IS 'accesses, and statements that read too many rows, that were not taken';

--
-- What the worker does
--

-- Its ids mean nothing elsewhere, so it is not dumped.
CREATE TABLE trace_ext_internal.watch_prepared (
    xid     xid8        PRIMARY KEY,
    kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    record  bytea       NOT NULL
);
COMMENT ON TABLE trace_ext_internal.watch_prepared IS 'accesses of prepared transactions, which become events when these have committed';
COMMENT ON COLUMN trace_ext_internal.watch_prepared.xid IS 'the prepared transaction';
COMMENT ON COLUMN trace_ext_internal.watch_prepared.kept_at IS 'when the worker took its accesses';
COMMENT ON COLUMN trace_ext_internal.watch_prepared.record IS 'the accesses, as they were in shared memory';

CREATE FUNCTION trace_ext_internal.store_watched(OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint)
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'tex_store_watched';
COMMENT ON FUNCTION trace_ext_internal.store_watched() IS 'makes events of some of the accesses that wait in shared memory';

CREATE FUNCTION trace_ext_internal.watch_left() RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_watch_left';
COMMENT ON FUNCTION trace_ext_internal.watch_left() IS 'whether store_watched() of this session left some when it was called last, as they were more than it takes at once';

CREATE FUNCTION trace_ext_internal.watch_known(trace_id uuid, events bigint, accesses bigint) RETURNS int
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_watch_known';
COMMENT ON FUNCTION trace_ext_internal.watch_known(uuid, bigint, bigint) IS
    'what the process that stores accesses knows of a trace that has so many events: -1: nothing of any, as always elsewhere; 0: nothing; 1: all its accesses are of watched tables; 2: all its events are, and no request '
    'is traced; 3: and no other trace used its rows while it did, or all only read them';

-- What else accesses something at that time may do so under the same name, so none may.
CREATE FUNCTION trace_ext_internal.traces_apart(ids uuid[]) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
#variable_conflict use_column
DECLARE
    skew constant interval := current_setting('trace_ext.clock_skew')::interval;
    apart uuid[];
    starts timestamptz[];
    ends timestamptz[];
    f timestamptz[];
    t timestamptz[];
BEGIN
    IF trace_ext_internal.watch_known('00000000-0000-0000-0000-000000000000', 0, 0) < 0 THEN
        RETURN '{}';
    END IF;
    SELECT array_agg(b.trace_id), array_agg(b.started_at), array_agg(b.ended_at) INTO apart, starts, ends
      FROM unnest(ids) AS u (id) JOIN trace_ext.summary_base b ON b.trace_id = u.id
     WHERE trace_ext_internal.watch_known(b.trace_id, b.event_count, b.access_count) = 3
       AND NOT EXISTS (SELECT FROM trace_ext.race_pairs p WHERE p.trace1 = b.trace_id)
       AND NOT EXISTS (SELECT FROM trace_ext.race_pairs p WHERE p.trace2 = b.trace_id);
    IF apart IS NOT NULL THEN
        SELECT array_agg(trace_ext_internal.shifted(w.started_at, - skew)), array_agg(trace_ext_internal.shifted(w.ended_at, skew)) INTO f, t
          FROM trace_ext_internal.merge_times(starts, ends) m, trace_ext_internal.traces_within(m.from_times, m.to_times) w
         WHERE w.access_count > 0 AND trace_ext_internal.watch_known(w.trace_id, w.event_count, w.access_count) <= 0;
        IF f IS NOT NULL THEN
            apart := ARRAY(SELECT a.id FROM unnest(apart, starts, ends) AS a (id, started_at, ended_at)
                            WHERE NOT EXISTS (SELECT FROM unnest(f, t) AS o (f, t) WHERE o.f <= a.ended_at AND o.t >= a.started_at));
        END IF;
    END IF;
    RETURN coalesce(apart, '{}');
END
$$;
COMMENT ON FUNCTION trace_ext_internal.traces_apart(uuid[]) IS
    'those of some traces that are in no pair, as what they accessed nobody else did at that time, and order none: of sessions that nobody traces, as far as this process knows';

CREATE FUNCTION trace_ext_internal.watch_waiting() RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_watch_waiting';
COMMENT ON FUNCTION trace_ext_internal.watch_waiting() IS 'whether accesses of this database wait in shared memory';

CREATE FUNCTION trace_ext_internal.watch_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE
        WHEN trace_ext_internal.watch_waiting() THEN '-infinity'
        WHEN EXISTS (SELECT FROM trace_ext_internal.watch_prepared)
        THEN coalesce((SELECT j.last_started + interval '1 second' FROM trace_ext.jobs j WHERE j.name = 'watch'), '-infinity')
        END;
    END;
COMMENT ON FUNCTION trace_ext_internal.watch_needed() IS 'when there is something to do for job_watch(): at once where accesses wait; a second after the last look where transactions are prepared';

-- What comes meanwhile waits for its turn: a batch costs some milliseconds however little there is in it.
CREATE PROCEDURE job_watch(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM trace_ext_internal.store_watched();
    again := trace_ext_internal.watch_left();
END
$$;
COMMENT ON PROCEDURE job_watch(boolean) IS 'stores accesses to watched tables that wait in shared memory, some at a time';

INSERT INTO jobs (name, procedure, owner, builtin, "interval", timeout, priority, condition) VALUES
    ('watch', 'trace_ext.job_watch', current_user, true, '500 ms', '10 min', 95, 'trace_ext_internal.watch_needed');
