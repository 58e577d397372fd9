-- The job that has cached results computed before callers have to wait for them.

CREATE FUNCTION trace_ext_internal.cache_wanted() RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_cache_wanted';
COMMENT ON FUNCTION trace_ext_internal.cache_wanted() IS 'whether callers have asked for a newer result than they were given, in this database';

CREATE FUNCTION trace_ext_internal.cache_refresh_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE
        WHEN trace_ext_internal.cache_wanted() THEN '-infinity'
        WHEN EXISTS (SELECT FROM trace_ext.cache_kept WHERE retry_at IS NULL AND kept_at > clock_timestamp() - interval '1 min') THEN '-infinity'
        WHEN EXISTS (SELECT FROM trace_ext.cache_kept)
        THEN coalesce((SELECT j.last_started + interval '5 seconds' FROM trace_ext.jobs j WHERE j.name = 'cache_refresh'), '-infinity')
        END;
    END;
COMMENT ON FUNCTION trace_ext_internal.cache_refresh_needed() IS 'when cache_refresh() may have something to do; kept queries are looked at every five seconds, new ones at once';

CREATE PROCEDURE job_cache_refresh(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM trace_ext.cache_refresh();
    again := false;
END
$$;
COMMENT ON PROCEDURE job_cache_refresh(boolean) IS 'calls cache_refresh()';

INSERT INTO jobs (name, procedure, owner, builtin, "interval", timeout, priority, condition) VALUES
    ('cache_refresh', 'trace_ext.job_cache_refresh', current_user, true, '1 s', '10 min', 60, 'trace_ext_internal.cache_refresh_needed');
