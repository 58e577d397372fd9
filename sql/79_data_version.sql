-- data_version(): an ETag. Each statement that changed what can be seen left a number in
-- version_deltas, in its own transaction (30_deltas.sql); fold() adds them into totals.
-- The version of a snapshot is what it sees of both: the same whether folded or not, and
-- never that of a snapshot that sees other statements.

CREATE FUNCTION trace_ext_internal.note_version() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_note_version';
COMMENT ON FUNCTION trace_ext_internal.note_version() IS
    'row trigger: data_version() is another one once a row comes, goes or changes in a column that is not an argument; also for TRUNCATE';

-- What is found, and what is decided about it. What a job writes each time that it looks is
-- left out; so is what is about the machinery: jobs, runs, logs, the cache, announcements.
DO $$
DECLARE
    seen record;
BEGIN
    FOR seen IN
        SELECT * FROM (VALUES
            ('ingest_errors', ''), ('trace_links', ''), ('otlp_resources', ''), ('otlp_scopes', ''),
            ('findings', ''), ('anomalies', ''), ('baseline_metrics', $q$'computed_at'$q$),
            ('alert_rules', ''), ('alert_states', $q$'value', 'evaluated_at'$q$), ('alert_history', '')) AS s (name, but)
    LOOP
        EXECUTE format('CREATE TRIGGER trace_ext_version AFTER INSERT OR UPDATE OR DELETE ON trace_ext.%I
                            FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.note_version(%s)', seen.name, seen.but);
        EXECUTE format('CREATE TRIGGER trace_ext_version_truncate AFTER TRUNCATE ON trace_ext.%I
                            FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.note_version()', seen.name);
        EXECUTE format('ALTER TABLE trace_ext.%I ENABLE ALWAYS TRIGGER trace_ext_version', seen.name);
        EXECUTE format('ALTER TABLE trace_ext.%I ENABLE ALWAYS TRIGGER trace_ext_version_truncate', seen.name);
        EXECUTE format('COMMENT ON TRIGGER trace_ext_version ON trace_ext.%I IS %L', seen.name, 'has data_version() change with what can be seen');
        EXECUTE format('COMMENT ON TRIGGER trace_ext_version_truncate ON trace_ext.%I IS %L', seen.name, 'has data_version() change with what can be seen');
    END LOOP;
END
$$;

-- A service that has run out of operations is shown with fewer of them from then on,
-- which is the one thing that a fold changes.
CREATE TRIGGER trace_ext_version AFTER INSERT ON operation_names
    FOR EACH ROW WHEN (NEW.operation = '(other)') EXECUTE FUNCTION trace_ext_internal.note_version();
COMMENT ON TRIGGER trace_ext_version ON operation_names IS 'has data_version() change where operations are no longer told apart';

CREATE FUNCTION trace_ext_internal.content_version() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
BEGIN
    RETURN (SELECT t.version # coalesce((SELECT bit_xor(d.stamp) FROM trace_ext.version_deltas d), 0) FROM trace_ext.totals t);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.content_version() IS 'a number that is another one in snapshots that see other statements'' changes';

CREATE FUNCTION trace_ext_internal.settings_key() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_settings_key';
COMMENT ON FUNCTION trace_ext_internal.settings_key() IS 'a number that follows from the settings of the session that are not what every session begins with';

-- Policies may ask who is logged in and how settings are set, so where one holds these count.
-- By the extension's list of its members: the catalog has a row a partition, and there may be many.
CREATE FUNCTION trace_ext_internal.sight() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
BEGIN
    RETURN (
        WITH members AS MATERIALIZED (
            SELECT c.oid, has_table_privilege(c.oid, 'SELECT') AS whole, row_security_active(c.oid) AS in_part
              FROM pg_extension e
              JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
                                  AND d.classid = 'pg_class'::regclass
              JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'v')
             WHERE e.extname = 'trace_ext'
        )
        SELECT concat_ws(E'\n', current_user,
               (SELECT string_agg(CASE WHEN m.whole THEN m.oid::text
                                       ELSE (SELECT concat_ws(' part ', m.oid, string_agg(a.attnum::text, ',' ORDER BY a.attnum))
                                               FROM pg_attribute a
                                              WHERE a.attrelid = m.oid AND a.attnum > 0 AND NOT a.attisdropped
                                                AND has_column_privilege(m.oid, a.attnum, 'SELECT') HAVING count(*) > 0) END, ' ' ORDER BY m.oid)
                  FROM members m),
               (SELECT concat_ws(' ', session_user, trace_ext_internal.settings_key(), string_agg(concat_ws(' ', m.oid, p), E'\n' ORDER BY m.oid, p.oid))
                  FROM members m LEFT JOIN pg_policy p ON p.polrelid = m.oid
                 WHERE m.in_part HAVING count(*) > 0)));
END
$$;
COMMENT ON FUNCTION trace_ext_internal.sight() IS 'how much of the extension''s tables and views the caller may see: his rights, and the policies that hold for him';

CREATE FUNCTION data_version() RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT lpad(to_hex(trace_ext_internal.content_version()), 16, '0')
           || '-' || lpad(to_hex(hashtextextended(trace_ext_internal.sight(), 0)), 16, '0');
    END;
COMMENT ON FUNCTION data_version() IS
    'a version of what the caller sees: events, and what is found, alerted and decided about them. The same as long as nobody changed any of it, another one once '
    'somebody did (and after a restore), also once the caller may see more or less. In a transaction that keeps its snapshot it changes with its own writes only. Costs the same at every size. '
    'What follows from the clock or from settings of detection, the last value of an alert, and jobs and their runs are not part of it';
