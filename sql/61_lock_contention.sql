-- lock_contention(): what waits for which lock.
--
-- How often and how long is told by the rollups. Who it was, and in which trace, only the
-- events tell: an index has those that waited, by time, and only as many are read as
-- there is time for.

CREATE FUNCTION trace_ext_internal.lock_contention_at(at timestamptz, within interval, page_size bigint, most_waits bigint)
    RETURNS TABLE (lock text, service_name text, acquires bigint, waits bigint, wait_ms double precision, p95_wait_ms double precision, holders bigint,
                   worst_trace uuid, counted_from timestamptz)
    LANGUAGE plpgsql STABLE ROWS 50 SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    w record;
    l record;
    all_waits bigint;
    names text[];
    known boolean;
BEGIN
    PERFORM trace_ext_internal.require_between(page_size, 1, 10000, 'page_size');
    SELECT h.* INTO w FROM trace_ext_internal.hours_back(at, within, 'within') h;
    -- Counts of kinds suffice to know how many events would be read.
    SELECT coalesce(sum(trace_ext.total_count(k.latency) - trace_ext.count_below(k.latency, 0)), 0) INTO all_waits
      FROM trace_ext.kind_latencies k WHERE k.hour >= w.from_hour AND k.hour < w.until_hour AND k.kind = 'LockAcquire';
    known := all_waits <= most_waits;
    counted_from := w.from_hour;
    FOR l IN
        SELECT c.*, trace_ext.total_count(c.latency) - trace_ext.count_below(c.latency, 0) AS waits, trace_ext.total_sum(c.latency) AS ns,
               row_number() OVER (ORDER BY trace_ext.total_sum(c.latency) DESC, c.calls DESC, c.operation, c.service_name) AS place
          FROM (SELECT t.operation, t.service_name, sum(t.calls)::bigint AS calls, trace_ext.merge(t.latency) AS latency
                  FROM trace_ext.latencies t
                 WHERE t.hour >= w.from_hour AND t.hour < w.until_hour AND t.kind = 'LockAcquire'
                 GROUP BY t.operation, t.service_name) AS c
         ORDER BY place LIMIT page_size
    LOOP
        lock := l.operation;
        service_name := l.service_name;
        acquires := l.calls;
        waits := l.waits;
        wait_ms := trace_ext_internal.ms(l.ns::double precision);
        -- Of those that waited: the others are the first values.
        p95_wait_ms := CASE WHEN l.waits > 0 THEN trace_ext_internal.ms(trace_ext.quantile(l.latency,
                            1 - 0.05 * l.waits::double precision / trace_ext.total_count(l.latency))) END;
        holders := NULL;
        worst_trace := NULL;
        IF l.waits > 0 AND l.place <= 10 AND l.operation IS DISTINCT FROM '(other)' THEN
            EXECUTE format($q$
                SELECT count(DISTINCT (instance_id, process_id, thread_id)), (array_agg(trace_id ORDER BY duration_ns DESC, "timestamp", id))[1]
                  FROM trace_ext.events
                 WHERE kind = 'LockAcquire' AND duration_ns > 0 AND "timestamp" >= %1$L AND "timestamp" < %2$L
                   AND service_name IS NOT DISTINCT FROM $1 AND trace_ext.operation(kind, name) IS NOT DISTINCT FROM $2 %3$s$q$,
                w.from_hour, w.until_hour, CASE WHEN NOT known THEN format('AND duration_ns = %s', trace_ext.maximum(l.latency)) END)
               INTO holders, worst_trace USING l.service_name, l.operation;
            IF NOT known THEN
                holders := NULL;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.lock_contention_at(timestamptz, interval, bigint, bigint) IS 'lock_contention() as of a time; tells holders where no more acquires than most_waits waited';

CREATE FUNCTION lock_contention(within interval = '1 hour', page_size bigint = 50)
    RETURNS TABLE (lock text, service_name text, acquires bigint, waits bigint, wait_ms double precision, p95_wait_ms double precision, holders bigint,
                   worst_trace uuid, counted_from timestamptz)
    LANGUAGE sql STABLE ROWS 50
    BEGIN ATOMIC
    SELECT * FROM trace_ext_internal.lock_contention_at(now(), within, page_size, 20000);
    END;
COMMENT ON FUNCTION lock_contention(interval, bigint) IS
    'what waited for which lock, the longest waits in all first: acquires, those of them that took any time (waits), and how long in all and in the 95th percentile of these. '
    'lock is a template, as operation() makes it. It counts whole hours as operations() does, from counted_from on. For the ten worst, holders is how many threads came to hold it after a wait, '
    'NULL where more than 20,000 acquires waited for any lock, and worst_trace the trace of the longest wait';
