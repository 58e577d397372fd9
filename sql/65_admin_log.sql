-- Who changed what: decisions of administrators, each with what was before and after.
-- Triggers write it, and watch() and unwatch(), with the rights of the owner, and nobody
-- else can. It is part of the change: what is rolled back was not done, and is not logged.

CREATE TABLE admin_log (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL,
    role_name     name        NOT NULL,
    logged_in_as  name        NOT NULL,
    what          text        NOT NULL,
    name          text        NOT NULL,
    before        jsonb,
    after         jsonb
);
COMMENT ON TABLE admin_log IS 'who changed a job, an alert rule, a redaction rule, the status of a finding or what is watched of a table, within the last trace_ext.admin_log_retention';
COMMENT ON COLUMN admin_log.id IS 'ascending number';
COMMENT ON COLUMN admin_log.at IS 'when';
COMMENT ON COLUMN admin_log.role_name IS 'the role that did it: the current one, as SET ROLE leaves it';
COMMENT ON COLUMN admin_log.logged_in_as IS 'the role that the session had logged in as';
COMMENT ON COLUMN admin_log.what IS 'what was changed: job, alert rule, redaction rule, finding, watch';
COMMENT ON COLUMN admin_log.name IS 'which one: its name, before a change of that; the id of a finding; the name of a table';
COMMENT ON COLUMN admin_log.before IS 'what it was; NULL where it is new';
COMMENT ON COLUMN admin_log.after IS 'what it became; NULL where it was deleted';
SELECT pg_catalog.pg_extension_config_dump('admin_log', '');
SELECT pg_catalog.pg_extension_config_dump('admin_log_id_seq', '');

-- A dump brings the log with its numbers, which others may have by then.
CREATE FUNCTION trace_ext_internal.keep_admin_log() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    WHILE EXISTS (SELECT FROM trace_ext.admin_log l WHERE l.id = NEW.id) LOOP
        NEW.id := nextval('trace_ext.admin_log_id_seq');
    END LOOP;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_admin_log() IS 'row trigger on admin_log: gives a row of a restored dump another number where its own is taken';
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON admin_log
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.keep_admin_log();
COMMENT ON TRIGGER trace_ext_keep ON admin_log IS 'gives a row of a restored dump another number where its own is taken';

-- A dump brings what was decided elsewhere, and the log of it. Its settings are
-- anybody's to set, so only those are believed who could write the log anyway.
CREATE FUNCTION trace_ext_internal.caller_restores() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT current_setting('check_function_bodies') = 'off'
       AND pg_has_role(trace_ext_internal.caller(), (SELECT c.relowner FROM pg_class c WHERE c.oid = 'trace_ext.admin_log'::regclass), 'USAGE');
    END;
COMMENT ON FUNCTION trace_ext_internal.caller_restores() IS 'whether the caller restores a dump: its settings, and the rights of the owner';

-- Arguments of the trigger: what it is, the column that names it, the columns to log.
-- No setting of the caller decides whether two values look alike.
CREATE FUNCTION trace_ext_internal.log_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 SET intervalstyle = 'postgres'
    AS $$
DECLARE
    old_row constant jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row constant jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    before jsonb;
    after jsonb;
BEGIN
    SELECT jsonb_object_agg(c.name, old_row -> c.name) FILTER (WHERE old_row IS NOT NULL),
           jsonb_object_agg(c.name, new_row -> c.name) FILTER (WHERE new_row IS NOT NULL)
      INTO before, after
      FROM unnest(TG_ARGV[2:]) AS c (name);
    IF before IS DISTINCT FROM after AND NOT trace_ext_internal.caller_restores() THEN
        INSERT INTO trace_ext.admin_log (at, role_name, logged_in_as, what, name, before, after)
        VALUES (clock_timestamp(), trace_ext_internal.caller(), session_user, TG_ARGV[0], coalesce(old_row, new_row) ->> TG_ARGV[1], before, after);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.log_change() IS 'row trigger: writes into admin_log what was changed, by whom, if any of the columns was that it is told';

-- Of jobs, what people decide: the rest is the workers' business, and their updates do
-- not name these columns, so that no trigger is called.
CREATE TRIGGER trace_ext_log
    AFTER INSERT OR DELETE OR UPDATE OF procedure, owner_id, enabled, "interval", timeout, max_attempts, backoff, max_backoff, priority, condition ON jobs
    FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.log_change('job', 'name',
        'procedure', 'owner', 'enabled', 'interval', 'timeout', 'max_attempts', 'backoff', 'max_backoff', 'priority', 'condition');
COMMENT ON TRIGGER trace_ext_log ON jobs IS 'writes into admin_log who changed a job';
CREATE TRIGGER trace_ext_log AFTER INSERT OR DELETE OR UPDATE ON alert_rules
    FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.log_change('alert rule', 'name',
        'name', 'metric', 'service', 'comparison', 'threshold', 'hold', 'enabled');
COMMENT ON TRIGGER trace_ext_log ON alert_rules IS 'writes into admin_log who changed an alert rule';
CREATE TRIGGER trace_ext_log AFTER INSERT OR DELETE OR UPDATE ON redaction_rules
    FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.log_change('redaction rule', 'name',
        'name', 'path', 'action', 'pattern', 'service', 'keep', 'luhn', 'enabled');
COMMENT ON TRIGGER trace_ext_log ON redaction_rules IS 'writes into admin_log who changed a redaction rule';
CREATE TRIGGER trace_ext_log AFTER UPDATE OF status ON findings
    FOR EACH ROW WHEN (OLD.status <> NEW.status)
    EXECUTE FUNCTION trace_ext_internal.log_change('finding', 'id', 'status', 'kind', 'variable');
COMMENT ON TRIGGER trace_ext_log ON findings IS 'writes into admin_log who decided about a finding';

CREATE FUNCTION trace_ext_internal.trim_admin_log() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    kept constant interval := current_setting('trace_ext.admin_log_retention');
BEGIN
    IF kept > interval '0' THEN
        DELETE FROM trace_ext.admin_log l WHERE l.at < trace_ext_internal.shifted(now(), - kept);
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.trim_admin_log() IS 'forgets what was longer ago than trace_ext.admin_log_retention';
