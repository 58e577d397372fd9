-- request_log(): one row a request, newest first.
--
-- Traces are taken newest first, as list_traces() has them, and of each its requests, as
-- trace_events() finds them by key. A request began no later than its trace ended; so once
-- there are enough that began later than the next trace ended, no older trace has a newer one.

CREATE TYPE logged_request AS (
    started timestamptz, trace_id uuid, method text, url text, status int, duration_ms double precision, service text, error text, request_id uuid);
COMMENT ON TYPE logged_request IS
    'a request and what came of it: status and duration_ms are NULL without a response; error is NULL where it did not fail; request_id is the event HttpRequest';

-- A response is that of the request that is its parent, else of the last one of its span
-- (or where there are no spans, of its instance) that came no later.
CREATE FUNCTION trace_ext_internal.requests_of(trace uuid) RETURNS SETOF trace_ext.logged_request
    LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
    AS $$
BEGIN
    RETURN QUERY
    WITH event AS MATERIALIZED (
        SELECT t.id, t.parent_id, t."timestamp", t.kind, t.name, t.service_name, t.instance_id, t.span_id, t.duration_ns, t.attributes, t.stamped_at_end
          FROM trace_ext.trace_events(trace, 10000, kinds => '{HttpRequest,HttpResponse,Error}') t
    ), request AS (
        SELECT e.*, lower(trace_ext.event_extent(e."timestamp", e.duration_ns, e.stamped_at_end)) AS started FROM event e WHERE e.kind = 'HttpRequest'
    ), answer AS (
        SELECT DISTINCT ON (q.id) q.id AS request_id, r."timestamp", r.duration_ns, r.attributes
          FROM event r
         CROSS JOIN LATERAL (
               SELECT q.id FROM request q
                WHERE q.id = r.parent_id
                   OR (q."timestamp" <= r."timestamp" AND q.service_name IS NOT DISTINCT FROM r.service_name
                       AND q.instance_id IS NOT DISTINCT FROM r.instance_id AND q.span_id IS NOT DISTINCT FROM r.span_id)
                ORDER BY q.id = r.parent_id DESC NULLS LAST, q."timestamp" DESC, q.id LIMIT 1) AS q
         WHERE r.kind = 'HttpResponse'
         ORDER BY q.id, r."timestamp", r.id
    ), answered AS (
        SELECT q.*, a.request_id, a."timestamp" AS answered_at, a.duration_ns AS answer_ns, s.status
          FROM request q LEFT JOIN answer a ON a.request_id = q.id
         CROSS JOIN LATERAL (SELECT CASE WHEN jsonb_typeof(a.attributes -> 'status') = 'number' AND (a.attributes ->> 'status')::numeric BETWEEN 0 AND 999
                                         THEN (a.attributes ->> 'status')::numeric::int END AS status) AS s
    )
    SELECT q.started, trace, coalesce(q.attributes ->> 'method', split_part(q.name, ' ', 1)),
           coalesce(q.attributes ->> 'url', nullif(substr(q.name, length(split_part(q.name, ' ', 1)) + 2), '')), q.status,
           trace_ext_internal.ms(coalesce(q.answer_ns, q.duration_ns, 1000 * extract(epoch FROM q.answered_at - q."timestamp") * 1000000)::double precision),
           q.service_name,
           coalesce((SELECT e.name || coalesce(': ' || left(e.attributes ->> 'message', 200), '') FROM event e
                      WHERE e.kind = 'Error' AND e.service_name IS NOT DISTINCT FROM q.service_name AND e.instance_id IS NOT DISTINCT FROM q.instance_id
                        AND e.span_id IS NOT DISTINCT FROM q.span_id AND e."timestamp" >= q.started AND (q.answered_at IS NULL OR e."timestamp" <= q.answered_at)
                      ORDER BY e."timestamp", e.id LIMIT 1),
                    CASE WHEN q.status >= 500 THEN 'status ' || q.status END), q.id
      FROM answered q;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.requests_of(uuid) IS 'the requests of a trace with their responses; of its first 10000 requests, responses and errors';

CREATE FUNCTION request_log(since timestamptz = now() - interval '1 hour', service text = NULL, status text = NULL, page_size bigint = 100, before timestamptz = NULL)
    RETURNS SETOF logged_request
    LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    wanted constant text := lower(request_log.status);
    until constant timestamptz := coalesce(before, 'infinity');
    t trace_ext.trace_summaries;
    rows trace_ext.logged_request[] := '{}';
    next_before timestamptz;
    next_id uuid;
    seen int;
BEGIN
    PERFORM trace_ext_internal.require_between(page_size, 1, 10000, 'page_size');
    IF request_log.since IS NULL THEN
        RAISE EXCEPTION 'since must not be NULL' USING ERRCODE = 'invalid_parameter_value', HINT = 'Say ''-infinity'' for all requests that are stored.';
    ELSIF wanted !~ '^([1-9]xx|[1-9][0-9]{2}|error|none)$' THEN
        RAISE EXCEPTION 'status "%" is none to look for', request_log.status USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Say a status as ''404'', a class as ''5xx'', ''error'' for requests that failed, or ''none'' for those without a response, or with one that has no status.';
    END IF;
    <<walk>>
    LOOP
        seen := 0;
        FOR t IN SELECT * FROM trace_ext.list_traces(200, service => request_log.service, before => next_before, before_id => next_id) LOOP
            EXIT walk WHEN t.last_timestamp < since OR (cardinality(rows) >= page_size AND rows[page_size].started >= t.last_timestamp);
            seen := seen + 1;
            next_before := t.last_timestamp;
            next_id := t.trace_id;
            -- Where nothing is an error, nothing failed.
            CONTINUE WHEN t.started_at >= until OR (t.error_count = 0 AND wanted ~ '^(error|[5-9].*)$');
            rows := rows || ARRAY(
                SELECT q::trace_ext.logged_request FROM trace_ext_internal.requests_of(t.trace_id) q
                 WHERE q.started >= since AND q.started < until AND (request_log.service IS NULL OR q.service = request_log.service)
                   AND (wanted IS NULL
                        OR CASE WHEN wanted = 'error' THEN q.error IS NOT NULL WHEN wanted = 'none' THEN q.status IS NULL
                                WHEN wanted LIKE '_xx' THEN q.status / 100 = left(wanted, 1)::int ELSE q.status = wanted::int END));
            -- In order whenever there might be enough, and no longer than needed.
            IF cardinality(rows) >= page_size THEN
                rows := ARRAY(SELECT u::trace_ext.logged_request FROM unnest(rows) AS u ORDER BY u.started DESC, u.request_id DESC LIMIT page_size);
            END IF;
        END LOOP;
        EXIT WHEN seen < 200;
    END LOOP;
    RETURN QUERY
    SELECT u.* FROM unnest(rows) AS u ORDER BY u.started DESC, u.request_id DESC LIMIT page_size;
END
$$;
COMMENT ON FUNCTION request_log(timestamptz, text, text, bigint, timestamptz) IS
    'requests (events HttpRequest) with their responses, those that started last first: since a time and before another, of a service, with a status as ''404'' or ''5xx'', ''error'' (failed) or ''none'' (no response, or one without a status). '
    'error is the error event of the request''s span, else the status where it is 500 or above. page_size 1 to 10000. Costs what the newest traces that have so many requests cost; '
    'looking for what failed passes over traces without an error, other filters read all traces until the page is full. Of a trace, the first 10000 requests, responses and errors are looked at';
