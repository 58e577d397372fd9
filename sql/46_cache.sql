-- Results kept in shared memory; needs preload, works without.

CREATE FUNCTION cached(query text, ttl interval DEFAULT NULL) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'tex_cached';
COMMENT ON FUNCTION cached(text, interval) IS
    'the result of one SELECT, from the cache if it is there: what the query would return now, in this transaction. With a ttl it may be up to that old. '
    'Refuses queries whose result cannot be kept, and says why';

CREATE FUNCTION cached(query text, ttl interval, VARIADIC arguments "any") RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'tex_cached';
COMMENT ON FUNCTION cached(text, interval, VARIADIC "any") IS
    'the same for a query with arguments $1, $2 and so on; ttl may be NULL';

CREATE FUNCTION trace_ext_internal.cache_counters(
        OUT local_hits bigint, OUT shared_hits bigint, OUT stale_hits bigint, OUT misses bigint, OUT waits bigint, OUT bypasses bigint,
        OUT stores bigint, OUT not_current bigint, OUT too_large bigint, OUT no_space bigint, OUT evictions bigint,
        OUT invalidations bigint, OUT refreshes bigint, OUT failures bigint, OUT refused bigint, OUT saved_us bigint,
        OUT entries bigint, OUT bytes bigint, OUT size bigint, OUT relations bigint)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_cache_counters';
COMMENT ON FUNCTION trace_ext_internal.cache_counters() IS 'counters and sizes of the result cache, of all databases; no row where the library is not preloaded';

CREATE FUNCTION trace_ext_internal.cache_list(
        OUT database oid, OUT role oid, OUT query text, OUT row_count bigint, OUT bytes bigint, OUT dependencies int,
        OUT as_of timestamptz, OUT ttl_ms float8, OUT exact boolean, OUT hits bigint, OUT last_hit timestamptz, OUT cost_ms float8)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_cache_list';
COMMENT ON FUNCTION trace_ext_internal.cache_list() IS 'the entries of the result cache, of all databases; query is NULL where the caller may not see it';

CREATE FUNCTION trace_ext_internal.cache_failure_list(
        OUT database oid, OUT role oid, OUT state text, OUT failures int, OUT retry_at timestamptz, OUT message text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_cache_failure_list';
COMMENT ON FUNCTION trace_ext_internal.cache_failure_list() IS 'cached queries that failed the last time, of all databases';

CREATE VIEW cache_stats AS
SELECT local_hits, shared_hits, stale_hits, misses, waits, bypasses, stores, not_current, too_large, no_space, evictions, invalidations,
       refreshes, failures, refused, saved_us / 1000.0 AS saved_ms,
       round((local_hits + shared_hits + stale_hits)::numeric
             / nullif(local_hits + shared_hits + stale_hits + misses + bypasses, 0), 4) AS hit_ratio,
       entries, bytes, size, relations
  FROM trace_ext_internal.cache_counters();
COMMENT ON VIEW cache_stats IS 'one row: what the result cache has done since the server started or cache_reset(); none without preload';
COMMENT ON COLUMN cache_stats.local_hits IS 'answered from the session''s own copy';
COMMENT ON COLUMN cache_stats.shared_hits IS 'answered from shared memory';
COMMENT ON COLUMN cache_stats.stale_hits IS 'answered by an older result, whose age the caller accepts';
COMMENT ON COLUMN cache_stats.misses IS 'computed, as there was no result that was right for the caller';
COMMENT ON COLUMN cache_stats.waits IS 'waited for another session that computed the same';
COMMENT ON COLUMN cache_stats.bypasses IS 'computed aside of the cache: own writes, SERIALIZABLE, cache_mode and the like';
COMMENT ON COLUMN cache_stats.stores IS 'results stored';
COMMENT ON COLUMN cache_stats.not_current IS 'results not stored, because their snapshot no longer saw everything';
COMMENT ON COLUMN cache_stats.too_large IS 'results not stored, because of trace_ext.cache_entry_size';
COMMENT ON COLUMN cache_stats.no_space IS 'results not stored, because nothing could be evicted';
COMMENT ON COLUMN cache_stats.evictions IS 'results dropped to make room';
COMMENT ON COLUMN cache_stats.invalidations IS 'results replaced by newer ones, or dropped by cache_invalidate()';
COMMENT ON COLUMN cache_stats.refreshes IS 'results computed anew before they were too old';
COMMENT ON COLUMN cache_stats.failures IS 'computations that failed';
COMMENT ON COLUMN cache_stats.refused IS 'calls refused at once, because the query kept failing';
COMMENT ON COLUMN cache_stats.saved_ms IS 'what the answered queries took when they were computed, in milliseconds';
COMMENT ON COLUMN cache_stats.hit_ratio IS 'hits by all calls; NULL before the first';
COMMENT ON COLUMN cache_stats.entries IS 'results in shared memory';
COMMENT ON COLUMN cache_stats.bytes IS 'memory they take';
COMMENT ON COLUMN cache_stats.size IS 'memory there is for them; trace_ext.cache_size less what it takes to manage it';
COMMENT ON COLUMN cache_stats.relations IS 'relations that are tracked for them';

CREATE VIEW cache_entries AS
SELECT d.datname AS database, r.rolname AS role, l.query, l.row_count, l.bytes, l.dependencies,
       l.as_of, l.ttl_ms, l.exact, l.hits, l.last_hit, l.cost_ms
  FROM trace_ext_internal.cache_list() l
  LEFT JOIN pg_catalog.pg_database d ON d.oid = l.database
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = l.role;
COMMENT ON VIEW cache_entries IS 'one row a result in shared memory, of all databases';
COMMENT ON COLUMN cache_entries.database IS 'the database it was computed in';
COMMENT ON COLUMN cache_entries.role IS 'the role it was computed for';
COMMENT ON COLUMN cache_entries.query IS 'the query; NULL for those who may not see it';
COMMENT ON COLUMN cache_entries.row_count IS 'rows of the result';
COMMENT ON COLUMN cache_entries.bytes IS 'memory it takes';
COMMENT ON COLUMN cache_entries.dependencies IS 'relations it depends on';
COMMENT ON COLUMN cache_entries.as_of IS 'when its query began';
COMMENT ON COLUMN cache_entries.ttl_ms IS 'the age that its caller accepts, in milliseconds; NULL for none';
COMMENT ON COLUMN cache_entries.exact IS 'whether it is given to callers without a ttl too';
COMMENT ON COLUMN cache_entries.hits IS 'how often it was given out; by sessions'' own copies in steps of 16';
COMMENT ON COLUMN cache_entries.last_hit IS 'when it last was; NULL for never';
COMMENT ON COLUMN cache_entries.cost_ms IS 'how long its query took, in milliseconds';

CREATE VIEW cache_failures AS
SELECT d.datname AS database, r.rolname AS role, l.state, l.failures, l.retry_at, l.message
  FROM trace_ext_internal.cache_failure_list() l
  LEFT JOIN pg_catalog.pg_database d ON d.oid = l.database
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = l.role;
COMMENT ON VIEW cache_failures IS 'cached queries that failed the last time they were computed, of all databases';
COMMENT ON COLUMN cache_failures.database IS 'the database';
COMMENT ON COLUMN cache_failures.role IS 'the role';
COMMENT ON COLUMN cache_failures.state IS 'closed: is tried as ever; open: is refused until retry_at; half-open: the next caller tries';
COMMENT ON COLUMN cache_failures.failures IS 'failures in a row';
COMMENT ON COLUMN cache_failures.retry_at IS 'when it is tried again, if it is open';
COMMENT ON COLUMN cache_failures.message IS 'the last error; NULL for those who may not see it';

CREATE FUNCTION cache_invalidate(pattern text) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_cache_invalidate';
COMMENT ON FUNCTION cache_invalidate(text) IS
    'drops the cached results of this database whose query is LIKE the pattern: one''s own, an admin all; returns how many';

CREATE FUNCTION cache_reset() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_cache_reset';
COMMENT ON FUNCTION cache_reset() IS
    'drops all cached results of this database, forgets failures and sets counters to 0; returns how many results';

-- What is kept is the question: an answer from before a restart could not be told
-- from one that a commit made wrong since.
CREATE TABLE cache_kept (
    role        oid         NOT NULL,
    role_name   name        NOT NULL,
    query       text        NOT NULL,
    ttl         interval,
    settings    bytea       NOT NULL,
    kept_at     timestamptz NOT NULL DEFAULT now(),
    failures    int         NOT NULL DEFAULT 0,
    retry_at    timestamptz,
    last_error  text
);
CREATE UNIQUE INDEX cache_kept_idx ON cache_kept (role, md5(query));
-- A dump knows roles by name. It takes no row whose name may be another role's by now.
SELECT pg_catalog.pg_extension_config_dump('cache_kept',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role AND r.rolname = role_name)');
COMMENT ON TABLE cache_kept IS
    'queries whose results are computed before anybody asks: cache_keep() adds one, cache_forget() takes it out. Results survive a restart in that they are computed again';
COMMENT ON INDEX cache_kept_idx IS 'a query is kept once a role';
COMMENT ON COLUMN cache_kept.role IS 'the role whose query it is; a row whose role is dropped is never run, and is deleted';
COMMENT ON COLUMN cache_kept.role_name IS 'its name when last seen, for dumps';
COMMENT ON COLUMN cache_kept.query IS 'the query';
COMMENT ON COLUMN cache_kept.ttl IS 'how old its result may be; NULL: as old as no commit made it wrong';
COMMENT ON COLUMN cache_kept.settings IS 'the settings that change what queries return, as they were';
COMMENT ON COLUMN cache_kept.kept_at IS 'when cache_keep() was last called for it';
COMMENT ON COLUMN cache_kept.failures IS 'how often in a row it failed, or its result was not kept';
COMMENT ON COLUMN cache_kept.retry_at IS 'when it may be computed again; NULL: at once';
COMMENT ON COLUMN cache_kept.last_error IS 'why the last computation was of no use';

-- The number of a role means nothing in another cluster, where a dump is restored. A
-- superuser's query comes back only where the number is his as well.
CREATE FUNCTION trace_ext_internal.know_kept_role() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    named record;
BEGIN
    SELECT r.oid, r.rolsuper INTO named FROM pg_roles r WHERE r.rolname = NEW.role_name;
    IF named.oid IS NULL OR (named.oid <> NEW.role AND named.rolsuper) THEN
        RETURN NULL;
    END IF;
    NEW.role := named.oid;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.know_kept_role() IS 'row trigger on cache_kept: finds the role of a restored row by its name';
CREATE TRIGGER trace_ext_role BEFORE INSERT ON cache_kept FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.know_kept_role();
COMMENT ON TRIGGER trace_ext_role ON cache_kept IS 'finds the role of a restored row by its name';

CREATE FUNCTION trace_ext_internal.roles_with_kept(OUT role oid, OUT is_new boolean) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    DELETE FROM trace_ext.cache_kept k WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = k.role);
    UPDATE trace_ext.cache_kept k SET role_name = r.rolname FROM pg_roles r WHERE r.oid = k.role AND r.rolname <> k.role_name;
    RETURN QUERY
    SELECT k.role, bool_or(k.retry_at IS NULL) FROM trace_ext.cache_kept k
     WHERE k.retry_at IS NULL OR k.retry_at <= clock_timestamp() GROUP BY k.role;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.roles_with_kept() IS
    'roles with kept queries that may be computed, is_new: one for the first time; forgets those of dropped roles and follows renamed ones';

CREATE FUNCTION trace_ext_internal.note_kept(role oid, query text, took_us bigint, error text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    rest constant interval := took_us * 9 * interval '1 microsecond';
BEGIN
    IF error IS NULL THEN
        UPDATE trace_ext.cache_kept k SET failures = 0, last_error = NULL, retry_at = clock_timestamp() + rest
         WHERE k.role = note_kept.role AND md5(k.query) = md5(note_kept.query);
        RETURN;
    END IF;
    -- Noted before it is computed (took_us = 0), and again with what came of it.
    UPDATE trace_ext.cache_kept k
       SET failures = k.failures + (took_us = 0)::int, last_error = error,
           retry_at = clock_timestamp() + greatest(rest, least(interval '1 s' * 2 ^ least(k.failures, 20), interval '1 hour'))
     WHERE k.role = note_kept.role AND md5(k.query) = md5(note_kept.query);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.note_kept(oid, text, bigint, text) IS
    'writes down how the computation of a kept query went, and when the next one may be: after nine times as long as it took, after failures in a row twice as long each time, at most an hour';

CREATE FUNCTION cache_keep(query text, ttl interval DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_cache_keep';
COMMENT ON FUNCTION cache_keep(text, interval) IS
    'has the result of a query computed before callers ask for it, again and again, for the caller''s role and settings, until cache_forget()';

CREATE FUNCTION cache_forget(query text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_cache_forget';
COMMENT ON FUNCTION cache_forget(text) IS 'undoes cache_keep(); false where the caller''s role keeps no such query';

CREATE FUNCTION cache_refresh() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_cache_refresh';
COMMENT ON FUNCTION cache_refresh() IS
    'starts processes that compute the results of this database anew that callers asked for because they grow old, and those of kept queries that the cache lacks: '
    'of one role each, with its rights and read only; returns how many were started';
