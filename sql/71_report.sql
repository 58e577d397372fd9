-- What to look at first: top, report(), races(); and what they are drawn with.
--
-- Nothing here reads events: services come from the samples of the alerts and from the
-- rollups, races from findings.

CREATE FUNCTION bar(value double precision, max double precision, width bigint) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_bar';
COMMENT ON FUNCTION bar(double precision, double precision, bigint) IS
    'a bar as long as value is of max, which fills width columns (1 to 1000), to the eighth of a column; what is above 0 is seen, what is above max is cut. NULL for NaN. ASCII where server or client are not UTF-8';

CREATE FUNCTION sparkline("values" double precision[]) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_sparkline';
COMMENT ON FUNCTION sparkline(double precision[]) IS
    'a column for each value, as high as it is between 0, or the least where that is below, and the greatest; a blank for NULL and NaN. ASCII where server or client are not UTF-8';

CREATE FUNCTION trace_ext_internal.cell(value text, width bigint) RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_cell';
COMMENT ON FUNCTION trace_ext_internal.cell(text, bigint) IS 'a text on one line, without what a terminal would obey, cut and filled to a number of columns; with a width below 0 at the right';

CREATE FUNCTION trace_ext_internal.wrap(value text, width bigint) RETURNS SETOF text
    LANGUAGE c STABLE PARALLEL SAFE ROWS 5 AS 'MODULE_PATHNAME', 'tex_wrap';
COMMENT ON FUNCTION trace_ext_internal.wrap(text, bigint) IS 'a text, without what a terminal would obey, in lines of a number of columns';

CREATE FUNCTION trace_ext_internal.ago_text(past timestamptz, at timestamptz) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN past IS NULL THEN '' WHEN past >= at THEN 'now' WHEN NOT isfinite(past) THEN 'long ago'
                WHEN past > trace_ext_internal.shifted(at, '-1 min') THEN floor(extract(epoch FROM at - past)) || ' s ago'
                WHEN past > trace_ext_internal.shifted(at, '-2 hours') THEN floor(extract(epoch FROM at - past) / 60) || ' min ago'
                WHEN past > trace_ext_internal.shifted(at, '-48 hours') THEN floor(extract(epoch FROM at - past) / 3600) || ' h ago'
                ELSE to_char(past, 'YYYY-MM-DD') END;
COMMENT ON FUNCTION trace_ext_internal.ago_text(timestamptz, timestamptz) IS 'how long ago something was, in a word or two';

CREATE FUNCTION trace_ext_internal.span_text(span interval) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT CASE WHEN s.seconds % 86400 = 0 AND s.seconds > 86400 THEN s.seconds::bigint / 86400 || ' days' WHEN s.seconds = 3600 THEN '1 hour'
                        WHEN s.seconds % 3600 = 0 THEN s.seconds::bigint / 3600 || ' hours' WHEN s.seconds % 60 = 0 THEN s.seconds::bigint / 60 || ' min' WHEN s.seconds % 1 = 0 THEN s.seconds::bigint || ' s' ELSE span::text END
              FROM (SELECT extract(epoch FROM span) AS seconds WHERE extract(month FROM span) = 0 AND extract(year FROM span) = 0 UNION ALL SELECT 0.5 LIMIT 1) AS s);
COMMENT ON FUNCTION trace_ext_internal.span_text(interval) IS 'an interval as people say it, and type interval reads it';

CREATE FUNCTION trace_ext_internal.place_text(location text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN regexp_replace(location, '^.*/(?=.)', '');
COMMENT ON FUNCTION trace_ext_internal.place_text(text) IS 'a place in the code without its directories';

CREATE FUNCTION trace_ext_internal.places_text(location1 text, location2 text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT CASE WHEN p.a = p.b THEN p.a
                        WHEN p.a LIKE '%:%' AND regexp_replace(p.a, ':[^:]*$', '') = regexp_replace(p.b, ':[^:]*$', '') THEN p.a || ', ' || substring(p.b FROM '[^:]*$')
                        ELSE concat_ws(', ', p.a, p.b) END
              FROM (SELECT trace_ext_internal.place_text(location1) AS a, trace_ext_internal.place_text(location2) AS b) AS p);
COMMENT ON FUNCTION trace_ext_internal.places_text(text, text) IS 'two places in the code, of one file as "app.js:36, 38"';

--
-- top
--

-- What the alerts sampled of the last 5 minutes: every 15 seconds, by service. Where
-- nothing was sampled, as without workers, the hour tells, without a sparkline.
CREATE FUNCTION trace_ext_internal.services_lately(at timestamptz)
    RETURNS TABLE (service text, per_second double precision, error_rate double precision, p50 double precision, p95 double precision, p99 double precision,
                   history double precision[])
    LANGUAGE plpgsql STABLE ROWS 30 SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    last_sample timestamptz := (SELECT max(s.at) FROM trace_ext.alert_samples s
                                 WHERE s.service_name IS NULL AND s.at > trace_ext_internal.shifted(services_lately.at, '-5 min') AND s.at <= services_lately.at);
    from_time timestamptz;
    seconds double precision;
BEGIN
    IF last_sample IS NULL THEN
        RETURN QUERY
        SELECT h.service_name, h.per_second, h.error_rate, h.p50_ms, h.p95_ms, h.p99_ms, NULL::double precision[]
          FROM trace_ext_internal.service_health_at(services_lately.at, '5 min') h
         WHERE h.requests > 0 OR h.last_seen > trace_ext_internal.shifted(services_lately.at, '-1 hour');
        RETURN;
    END IF;
    -- Slots of 15 seconds end with the last sample, as long as that is not long ago.
    IF last_sample < trace_ext_internal.shifted(services_lately.at, '-20 s') THEN
        last_sample := services_lately.at;
    END IF;
    from_time := trace_ext_internal.shifted(last_sample, '-5 min');
    seconds := least(300, (SELECT extract(epoch FROM last_sample - min(s.since)) FROM trace_ext.alert_samples s
                            WHERE s.service_name IS NULL AND s.at > from_time AND s.at <= services_lately.at));
    RETURN QUERY
    WITH slot AS MATERIALIZED (
        SELECT s.service_name, least(19, greatest(0, round(extract(epoch FROM last_sample - s.at) / 15)))::int AS back,
               sum(s.events)::double precision AS events, sum(s.errors)::double precision AS errors,
               sum(s.answers)::double precision AS answers, sum(s.failures)::double precision AS failures
          FROM trace_ext.alert_samples s
         WHERE s.service_name IS NOT NULL AND s.at > from_time AND s.at <= services_lately.at
         GROUP BY 1, 2
    ), summed AS MATERIALIZED (
        SELECT s.service_name, sum(s.events) AS events, sum(s.errors) AS errors, sum(s.answers) AS answers, sum(s.failures) AS failures,
               array_agg(s.back) AS backs, array_agg(s.answers) AS answered, array_agg(s.events) AS happened
          FROM slot s GROUP BY s.service_name
    ), lasted AS MATERIALIZED (
        SELECT s.service_name, trace_ext.quantiles(trace_ext.merge(s.latency), '{0.5, 0.95, 0.99}') AS q
          FROM trace_ext.alert_samples s
         WHERE s.service_name IS NOT NULL AND s.at > from_time AND s.at <= services_lately.at
         GROUP BY 1
    )
    SELECT v.service_name, coalesce(CASE WHEN m.answers > 0 THEN m.answers ELSE m.events END, 0) / nullif(seconds, 0),
           least(CASE WHEN m.answers > 0 THEN m.failures / m.answers ELSE m.errors / nullif(m.events, 0) END, 1), d.q[1] / 1e6, d.q[2] / 1e6, d.q[3] / 1e6,
           ARRAY(SELECT coalesce((CASE WHEN m.answers > 0 THEN m.answered ELSE m.happened END)[array_position(m.backs, b)], 0) FROM generate_series(19, 0, -1) AS b)
      FROM trace_ext_internal.services_seen(services_lately.at) v LEFT JOIN summed m USING (service_name) LEFT JOIN lasted d USING (service_name)
     WHERE m.service_name IS NOT NULL OR v.last_seen > trace_ext_internal.shifted(services_lately.at, '-1 hour');
END
$$;
COMMENT ON FUNCTION trace_ext_internal.services_lately(timestamptz) IS
    'what each service did in the 5 minutes before a time, by the samples of the alerts: requests (or events, where it answers none) a second and for each 15 seconds; without samples, in the hour';

-- Whose race is it? Of the service whose request it was.
CREATE FUNCTION trace_ext_internal.races_of_services() RETURNS TABLE (service text, races bigint, critical bigint)
    LANGUAGE plpgsql STABLE ROWS 30 SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
    AS $$
BEGIN
    RETURN QUERY
    WITH finding AS MATERIALIZED (
        SELECT f.id, f.severity, f.event1_trace_id, f.event2_trace_id FROM trace_ext.findings f
         WHERE f.status = 'open' AND f.occurrences > 0 ORDER BY f.last_seen DESC NULLS LAST LIMIT 500
    ), root AS MATERIALIZED (
        SELECT t.trace_id, t.root_service FROM trace_ext.trace_summaries t
         WHERE t.trace_id = ANY (ARRAY(SELECT f.event1_trace_id FROM finding f UNION SELECT f.event2_trace_id FROM finding f)) AND t.root_service IS NOT NULL
    )
    SELECT s.root_service, count(*), count(*) FILTER (WHERE s.severity = 'CRITICAL')
      FROM (SELECT f.id, f.severity, r.root_service FROM finding f JOIN root r ON r.trace_id = f.event1_trace_id
            UNION
            SELECT f.id, f.severity, r.root_service FROM finding f JOIN root r ON r.trace_id = f.event2_trace_id) AS s
     GROUP BY s.root_service;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.races_of_services() IS 'open findings by the service that got the request in which they happened; of the last 500 that were seen';

CREATE FUNCTION trace_ext_internal.top_at(at timestamptz)
    RETURNS TABLE (service text, "req/s" numeric, "err %" numeric, "p50 ms" numeric, "p95 ms" numeric, "p99 ms" numeric, "last 5 min" text, races text, "slowest now" text)
    LANGUAGE plpgsql STABLE ROWS 30 SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
BEGIN
    -- Planned once a session: \watch asks again and again.
    RETURN QUERY
    WITH slowest AS MATERIALIZED (
        SELECT DISTINCT ON (t.root_service) t.root_service, t.root_name, t.duration_ms
          FROM trace_ext.list_traces(300, since => trace_ext_internal.shifted(top_at.at, '-5 min'), until => top_at.at) t
         WHERE t.root_service IS NOT NULL AND t.duration_ms > 0
         ORDER BY t.root_service, t.duration_ms DESC NULLS LAST, t.trace_id
    )
    SELECT rtrim(trace_ext_internal.cell(l.service, 20)), round(l.per_second::numeric, CASE WHEN l.per_second < 1 THEN 2 ELSE 1 END), round(100 * l.error_rate::numeric, 1),
           round(l.p50::numeric, 1), round(l.p95::numeric, 1), round(l.p99::numeric, 1), trace_ext.sparkline(l.history),
           lpad(coalesce(r.races, 0) || CASE WHEN r.critical > 0 THEN ' !' ELSE '  ' END, 5),
           rtrim(trace_ext_internal.cell(s.root_name, 24)) || ' ' || trace_ext_internal.duration_text(s.duration_ms)
      FROM trace_ext_internal.services_lately(top_at.at) l
      LEFT JOIN trace_ext_internal.races_of_services() r ON r.service = l.service
      LEFT JOIN slowest s ON s.root_service = l.service
     ORDER BY l.per_second DESC NULLS LAST, l.service;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.top_at(timestamptz) IS 'top as of a time';

CREATE VIEW top AS
SELECT t.service, t."req/s", t."err %", t."p50 ms", t."p95 ms", t."p99 ms", t."last 5 min", t.races, t."slowest now" FROM trace_ext_internal.top_at(now()) t;
COMMENT ON VIEW top IS 'one row a service that was seen within the hour, the busiest first: the last 5 minutes, for \watch. Reads no event';
COMMENT ON COLUMN top.service IS 'the service, cut at 20 columns';
COMMENT ON COLUMN top."req/s" IS 'requests answered a second; of a service that answers none, events. Without workers, which sample what comes: of this hour, as for what follows';
COMMENT ON COLUMN top."err %" IS 'of these, how many failed';
COMMENT ON COLUMN top."p50 ms" IS 'how long requests took, or where there are none, whatever has a duration';
COMMENT ON COLUMN top."p95 ms" IS 'the same';
COMMENT ON COLUMN top."p99 ms" IS 'the same';
COMMENT ON COLUMN top."last 5 min" IS 'requests of each 15 seconds; NULL where nothing was sampled';
COMMENT ON COLUMN top.races IS 'open findings in its requests; ! if one is CRITICAL: see races()';
COMMENT ON COLUMN top."slowest now" IS 'the slowest of the newest 300 traces of the last 5 minutes: its request and how long it took';

--
-- races()
--

CREATE FUNCTION trace_ext_internal.races_at(at timestamptz, within interval)
    RETURNS TABLE (kind text, variable text, services text, places text, last_seen text, count bigint, finding text, severity text)
    LANGUAGE plpgsql STABLE ROWS 50 SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
#variable_conflict use_column
BEGIN
    -- For its bounds alone.
    PERFORM trace_ext_internal.hours_back(at, within, 'within');
    RETURN QUERY
    WITH recent AS MATERIALIZED (
        SELECT * FROM trace_ext.findings f
         WHERE f.status <> 'ignored' AND f.occurrences > 0 AND f.last_seen >= trace_ext_internal.shifted(races_at.at, -within) AND f.last_seen <= races_at.at
         ORDER BY array_position(ARRAY['CRITICAL', 'WARNING', 'INFO'], f.severity), f.last_seen DESC, f.id LIMIT 1000
    ), root AS MATERIALIZED (
        SELECT t.trace_id, t.root_service FROM trace_ext.trace_summaries t
         WHERE t.trace_id = ANY (ARRAY(SELECT f.event1_trace_id FROM recent f UNION SELECT f.event2_trace_id FROM recent f))
    )
    SELECT rtrim(trace_ext_internal.cell(f.kind, 22)), rtrim(trace_ext_internal.cell(f.variable, 24)),
           rtrim(trace_ext_internal.cell(concat_ws(', ', nullif(least(a.root_service, b.root_service), greatest(a.root_service, b.root_service)), greatest(a.root_service, b.root_service)), 20)),
           rtrim(trace_ext_internal.cell(trace_ext_internal.places_text(f.location1, f.location2), 24)),
           trace_ext_internal.ago_text(f.last_seen, races_at.at), f.occurrences, left(f.id::text, 8), f.severity
      FROM recent f LEFT JOIN root a ON a.trace_id = f.event1_trace_id LEFT JOIN root b ON b.trace_id = f.event2_trace_id
     ORDER BY array_position(ARRAY['CRITICAL', 'WARNING', 'INFO'], f.severity), f.last_seen DESC, f.id;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.races_at(timestamptz, interval) IS 'races() as of a time, with the severity';

CREATE FUNCTION races(within interval = '1 hour')
    RETURNS TABLE (kind text, variable text, services text, places text, last_seen text, count bigint, finding text)
    LANGUAGE sql STABLE ROWS 50
    BEGIN ATOMIC
    SELECT r.kind, r.variable, r.services, r.places, r.last_seen, r.count, r.finding FROM trace_ext_internal.races_at(now(), within) r;
    END;
COMMENT ON FUNCTION races(interval) IS
    'findings that were seen within a time and are not ignored, in few columns, worst first, at most 1,000: services are those of the requests, places are without directories, count is how often in all. incident(finding) tells the story of one; global_races() has them in full';

--
-- report()
--

-- A line of a section: what is worth a look.
CREATE FUNCTION trace_ext_internal.report_head(title text, query text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN trace_ext_internal.cell(title, 16) || trace_ext_internal.cell(query, -62);
COMMENT ON FUNCTION trace_ext_internal.report_head(text, text) IS 'the head of a section of report(), with the query that shows more';

CREATE FUNCTION trace_ext_internal.report_lines(lines text[], n bigint) RETURNS SETOF text
    LANGUAGE sql STABLE ROWS 5
    BEGIN ATOMIC
    SELECT l.line FROM (SELECT 1 AS part, u.place, s.place AS below, rtrim(s.line) AS line
                          FROM unnest(lines) WITH ORDINALITY AS u (line, place), string_to_table(u.line, E'\n') WITH ORDINALITY AS s (line, place)
                        UNION ALL SELECT 2, 0, 0, '    none' WHERE lines IS NULL
                        UNION ALL SELECT 3, 0, 0, format('    and %s more', n - cardinality(lines)) WHERE n > cardinality(lines)) AS l ORDER BY l.part, l.place, l.below;
    END;
COMMENT ON FUNCTION trace_ext_internal.report_lines(text[], bigint) IS 'the lines of a section of report(), and how many more of n there are';

CREATE FUNCTION trace_ext_internal.times_text(change double precision) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN change >= 0.2 THEN trace_ext_internal.number_text(1 + change) || ' times as long' WHEN change <= -0.2 AND change > -1 THEN 'was ' || trace_ext_internal.number_text(1 / (1 + change)) || ' times' ELSE '' END;
COMMENT ON FUNCTION trace_ext_internal.times_text(double precision) IS 'how a time changed that was one (0.5: half more), if that is worth a word';

-- What an operator has to do, from the columns of status.
CREATE FUNCTION trace_ext_internal.upkeep_lines(at timestamptz, within interval) RETURNS SETOF text
    LANGUAGE plpgsql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- The view comes later in the script.
    RETURN QUERY
    SELECT u.line
      FROM trace_ext.status s
     CROSS JOIN LATERAL (VALUES
           (1, s.worker_advice),
           (2, 'the worker fails: ' || s.worker_error),
           (3, CASE WHEN s.failing_jobs IS NOT NULL THEN format('jobs fail: %s (%s)', s.failing_jobs, s.last_job_error) END),
           (4, CASE WHEN s.fold_lag > interval '1 minute' THEN format('deltas wait since %s to be folded', trace_ext_internal.duration_text(extract(epoch FROM s.fold_lag)::double precision * 1000)) END),
           (5, CASE WHEN s.detect_lag > interval '5 minutes' THEN format('races are looked for %s late: %s traces wait', trace_ext_internal.duration_text(extract(epoch FROM s.detect_lag)::double precision * 1000), s.detect_queue) END),
           (6, s.partition_advice),
           (7, CASE WHEN s.far_events > 0 THEN format('%s events are far from now: clocks of clients are wrong', s.far_events) END),
           (8, CASE WHEN s.last_rejection_at >= trace_ext_internal.shifted(upkeep_lines.at, -within) THEN format('events were rejected, the last one %s: %s', trace_ext_internal.ago_text(s.last_rejection_at, upkeep_lines.at), s.last_rejection) END)
           ) AS u (place, line)
     WHERE u.line IS NOT NULL ORDER BY u.place;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.upkeep_lines(timestamptz, interval) IS 'what there is to do for the store, in sentences';

-- Each section is a query of its own, at most 5 lines, worst first.
CREATE FUNCTION trace_ext_internal.report_at(at timestamptz, within interval) RETURNS SETOF text
    LANGUAGE plpgsql STABLE ROWS 40 SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    most constant int := 5;
    span constant text := trace_ext_internal.span_text(within);
    lines text[];
    n bigint;
BEGIN
    PERFORM trace_ext_internal.hours_back(at, within, 'within');
    RETURN NEXT rtrim(trace_ext_internal.cell(format('report of %s until %s', span, to_char(at, 'YYYY-MM-DD HH24:MI:SS TZ')), 78));

    SELECT array_agg(t.line ORDER BY t.place), max(t.n) INTO lines, n
      FROM (SELECT row_number() OVER () AS place, count(*) OVER () AS n,
                   format('  %s %s %s %s %s err  p95 %s  %s',
                          CASE h.status WHEN 'healthy' THEN ' ' ELSE '!' END, trace_ext_internal.cell(h.service_name, 16), trace_ext_internal.cell(h.status, 9),
                          trace_ext_internal.cell(CASE WHEN h.per_second >= 1 THEN trace_ext_internal.number_text(h.per_second) || '/s'
                                                       WHEN h.per_second * 60 >= 1 THEN trace_ext_internal.number_text(h.per_second * 60) || '/min'
                                                       ELSE trace_ext_internal.number_text(h.per_second * 3600) || '/h' END, -10),
                          trace_ext_internal.cell(coalesce(trace_ext_internal.percent_text(h.error_rate), '-'), -7),
                          trace_ext_internal.cell(coalesce(trace_ext_internal.duration_text(h.p95_ms), '-'), -8),
                          CASE WHEN h.change_p95 IS NULL THEN '' ELSE trace_ext_internal.times_text(h.change_p95) END)
                   || CASE WHEN h.reasons[1] IS NULL THEN '' ELSE E'\n      ' || trace_ext_internal.cell(h.reasons[1], 72) END AS line
              FROM trace_ext_internal.service_health_at(at, within) h) AS t
     WHERE t.place <= most;
    RETURN NEXT '';
    RETURN NEXT trace_ext_internal.report_head('services', format('SELECT * FROM trace_ext.service_health(%L)', span));
    RETURN QUERY SELECT * FROM trace_ext_internal.report_lines(lines, n);

    SELECT array_agg(t.line ORDER BY t.place), max(t.n) INTO lines, n
      FROM (SELECT row_number() OVER (ORDER BY o.p95_ms DESC, o.calls DESC, o.service_name, o.kind, o.operation) AS place, count(*) OVER () AS n,
                   format('    %s %s p95 %s %s %s', trace_ext_internal.cell(o.service_name, 12), trace_ext_internal.cell(o.operation, 34),
                          trace_ext_internal.cell(trace_ext_internal.duration_text(o.p95_ms), -8), trace_ext_internal.cell(o.calls || ' x', -9),
                          CASE WHEN o.change_p95 IS NULL THEN '' ELSE trace_ext_internal.times_text(o.change_p95) END) AS line
              FROM trace_ext_internal.operations_at(at, within, NULL, 1000) o WHERE o.calls > 0 AND o.p95_ms IS NOT NULL AND o.kind <> 'HttpResponse') AS t
     WHERE t.place <= most;
    RETURN NEXT '';
    RETURN NEXT trace_ext_internal.report_head('slow operations', format('SELECT * FROM trace_ext.operations(%L)', span));
    RETURN QUERY SELECT * FROM trace_ext_internal.report_lines(lines, n);

    SELECT array_agg(t.line ORDER BY t.place), max(t.n) INTO lines, n
      FROM (SELECT row_number() OVER () AS place, count(*) OVER () AS n,
                   format('  %s %s %s %s %s', CASE r.severity WHEN 'CRITICAL' THEN '!' ELSE ' ' END, trace_ext_internal.cell(r.kind, 12),
                          trace_ext_internal.cell(r.variable, 22), trace_ext_internal.cell(r.count || ' x, ' || r.last_seen, 16), format('incident(%L)', r.finding)) AS line
              FROM trace_ext_internal.races_at(at, within) r) AS t
     WHERE t.place <= most;
    RETURN NEXT '';
    RETURN NEXT trace_ext_internal.report_head('races', format('SELECT * FROM trace_ext.races(%L)', span));
    RETURN QUERY SELECT * FROM trace_ext_internal.report_lines(lines, n);

    SELECT array_agg(t.line ORDER BY t.place), max(t.n) INTO lines, n
      FROM (SELECT row_number() OVER (ORDER BY array_position(ARRAY['CRITICAL', 'WARNING', 'INFO'], a.severity), a.last_seen DESC, a.id) AS place, count(*) OVER () AS n,
                   format('  %s %s %s %s %s', CASE a.severity WHEN 'CRITICAL' THEN '!' ELSE ' ' END, trace_ext_internal.cell(a.kind, 16), trace_ext_internal.cell(a.service_name, 12),
                          trace_ext_internal.cell(a.operation, 24), trace_ext_internal.cell(a.occurrences || ' x, ' || trace_ext_internal.ago_text(a.last_seen, at), 19)) AS line
              FROM trace_ext.anomalies a
             WHERE a.status = 'open' AND a.occurrences > 0 AND a.last_seen >= trace_ext_internal.shifted(at, -within) AND a.last_seen <= at) AS t
     WHERE t.place <= most;
    RETURN NEXT '';
    RETURN NEXT trace_ext_internal.report_head('anomalies', 'SELECT * FROM trace_ext.anomalies ORDER BY last_seen DESC');
    RETURN QUERY SELECT * FROM trace_ext_internal.report_lines(lines, n);

    SELECT array_agg(t.line ORDER BY t.place), max(t.n) INTO lines, n
      FROM (SELECT row_number() OVER (ORDER BY array_position(ARRAY['firing', 'pending', 'resolved'], a.state::text), a.since DESC, a.name) AS place, count(*) OVER () AS n,
                   format('  %s %s', CASE a.state::text WHEN 'firing' THEN '!' ELSE ' ' END, trace_ext_internal.cell(a.summary, 74)) AS line
              FROM trace_ext.alerts a WHERE a.state::text <> 'inactive') AS t
     WHERE t.place <= most;
    RETURN NEXT '';
    RETURN NEXT trace_ext_internal.report_head('alerts', 'SELECT * FROM trace_ext.alerts');
    RETURN QUERY SELECT * FROM trace_ext_internal.report_lines(lines, n);

    SELECT array_agg('  ! ' || trace_ext_internal.cell(u.line, 74)), count(*) INTO lines, n FROM trace_ext_internal.upkeep_lines(at, within) AS u (line);
    RETURN NEXT '';
    RETURN NEXT trace_ext_internal.report_head('upkeep', 'SELECT * FROM trace_ext.status');
    RETURN QUERY SELECT * FROM trace_ext_internal.report_lines(coalesce(lines, ARRAY['    nothing to do']), n);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.report_at(timestamptz, interval) IS 'report() as of a time';

CREATE FUNCTION report(within interval = '1 hour') RETURNS SETOF text
    LANGUAGE sql STABLE ROWS 40
    BEGIN ATOMIC
    SELECT * FROM trace_ext_internal.report_at(now(), within);
    END;
COMMENT ON FUNCTION report(interval) IS
    'the page to read first: services, slow operations, races, anomalies, alerts and upkeep of the last hours, five lines each, worst first; at the right of each head stands the query that shows more. 78 columns. Services and operations count whole hours, as service_health() does. Reads no event';
