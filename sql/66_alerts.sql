-- Alerts: rules that users write (64_alert_rules.sql), judged every 15 seconds, with the states of
-- Prometheus: pending from the first time the condition is true, firing once it was
-- true for as long as the rule says, resolved when it ends.
--
-- A rate is of what came lately, and no table says when an event came: event_counts
-- has hours, and those of the clients' clocks. So each evaluation samples it: how
-- much the counts of this hour and its neighbours have grown since the last one.
-- What was deleted makes no sample negative, and history that is loaded counts as
-- nothing new.
--
-- Everything takes the time as an argument: tests walk through hours without waiting.

--
-- Samples
--

-- One row, locked by who evaluates: never two at once.
CREATE TABLE alert_clock (
    evaluated_at  timestamptz,
    folded_by     text
);
INSERT INTO alert_clock VALUES (NULL, NULL);
ALTER TABLE alert_clock SET (fillfactor = 10);
COMMENT ON TABLE alert_clock IS 'one row: when alerts were last evaluated';
COMMENT ON COLUMN alert_clock.evaluated_at IS 'when that was';
COMMENT ON COLUMN alert_clock.folded_by IS 'the transaction that had folded last then: another one is a reason to look again';

CREATE TABLE alert_counters (
    hour          timestamptz NOT NULL,
    service_name  text,
    events        bigint      NOT NULL,
    errors        bigint      NOT NULL,
    answers       bigint      NOT NULL,
    failures      bigint      NOT NULL,
    latency       histogram   NOT NULL,
    UNIQUE NULLS NOT DISTINCT (hour, service_name)
);
ALTER TABLE alert_counters SET (fillfactor = 50);
COMMENT ON TABLE alert_counters IS 'event_counts of this hour and its neighbours as of the last sample, by service (NULL: of events that name none)';
COMMENT ON COLUMN alert_counters.answers IS 'events of kind HttpResponse';
COMMENT ON COLUMN alert_counters.failures IS 'those of them that are errors';
COMMENT ON COLUMN alert_counters.latency IS 'how long requests took or, where none has a duration, all events that have one';

CREATE TABLE alert_samples (
    at            timestamptz NOT NULL,
    since         timestamptz NOT NULL,
    service_name  text,
    events        bigint      NOT NULL,
    errors        bigint      NOT NULL,
    answers       bigint      NOT NULL,
    failures      bigint      NOT NULL,
    latency       histogram   NOT NULL,
    UNIQUE NULLS NOT DISTINCT (service_name, at)
);
CREATE INDEX alert_samples_at_idx ON alert_samples (at);
COMMENT ON INDEX alert_samples_at_idx IS 'samples by time: the oldest leave';
COMMENT ON TABLE alert_samples IS
    'what came from one evaluation to the next, within the last hour, by service (NULL: all together, of each evaluation; others only where something came)';
COMMENT ON COLUMN alert_samples.at IS 'time of the evaluation';
COMMENT ON COLUMN alert_samples.since IS 'that of the one before';
COMMENT ON COLUMN alert_samples.answers IS 'of the events, those of kind HttpResponse';
COMMENT ON COLUMN alert_samples.failures IS 'those of them that are errors';
COMMENT ON COLUMN alert_samples.latency IS 'how long those took that have a duration, as alert_counters has it';

CREATE TABLE alert_services (
    service_name  text,
    seen_at       timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (service_name)
);
ALTER TABLE alert_services SET (fillfactor = 50);
COMMENT ON TABLE alert_services IS 'when services were last found to have sent an event (NULL: any of them), by the server''s clock';

-- Events of an hour that was not sampled yet are new if that hour has begun: nobody
-- sent any before, but clients whose clocks are ahead. With "since" NULL nothing is
-- known of before, and so nothing is new.
CREATE FUNCTION trace_ext_internal.sample_counts(at timestamptz, since timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    this_hour constant timestamptz := date_bin('1 hour', sample_counts.at, '2000-01-01 00:00:00+00');
    known_until constant timestamptz := date_bin('1 hour', sample_counts.since, '2000-01-01 00:00:00+00') + interval '1 hour';
BEGIN
    DELETE FROM trace_ext.alert_samples s
     WHERE s.at < sample_counts.at - interval '1 hour' OR (sample_counts.since IS NULL AND s.at >= sample_counts.at);
    WITH counted AS MATERIALIZED (
        SELECT c.hour, c.service_name, coalesce('=' || c.service_name, '') AS key,
               sum(c.calls)::bigint AS events, sum(c.errors)::bigint AS errors,
               coalesce(sum(c.calls) FILTER (WHERE c.kind = 'HttpResponse'), 0)::bigint AS answers,
               coalesce(sum(c.errors) FILTER (WHERE c.kind = 'HttpResponse'), 0)::bigint AS failures,
               coalesce(trace_ext.merge(c.latency) FILTER (WHERE c.kind IN ('HttpRequest', 'HttpResponse') AND trace_ext.total_count(c.latency) > 0),
                        trace_ext.merge(c.latency)) AS latency
          FROM trace_ext.kind_latencies c
         WHERE c.hour BETWEEN this_hour - interval '1 hour' AND this_hour + interval '1 hour'
         GROUP BY c.hour, c.service_name
    ), compared AS MATERIALIZED (
        SELECT c.*, k.hour IS NULL AS is_new, coalesce(k.events, 0) AS known_events, coalesce(k.errors, 0) AS known_errors,
               coalesce(k.answers, 0) AS known_answers, coalesce(k.failures, 0) AS known_failures,
               coalesce(k.latency, '{}') AS known_latency
          FROM counted c
          LEFT JOIN trace_ext.alert_counters k ON k.hour = c.hour AND coalesce('=' || k.service_name, '') = c.key
    ), grown AS MATERIALIZED (
        SELECT c.service_name,
               sum(greatest(c.events - c.known_events, 0))::bigint AS events, sum(greatest(c.errors - c.known_errors, 0))::bigint AS errors,
               sum(greatest(c.answers - c.known_answers, 0))::bigint AS answers, sum(greatest(c.failures - c.known_failures, 0))::bigint AS failures,
               -- What was deleted takes nothing from what came; where both happened at once, this has no quantiles.
               coalesce(trace_ext.merge(c.latency OPERATOR(trace_ext.-) c.known_latency)
                        FILTER (WHERE trace_ext.total_count(c.latency) > trace_ext.total_count(c.known_latency)), '{}') AS latency
          FROM compared c
         WHERE sample_counts.since IS NOT NULL AND c.hour <= greatest(this_hour, known_until)
         GROUP BY c.service_name
    ), gone AS (
        DELETE FROM trace_ext.alert_counters k
         WHERE NOT EXISTS (SELECT FROM counted c WHERE c.hour = k.hour AND c.key = coalesce('=' || k.service_name, ''))
    ), known AS (
        -- Of what is as it was no row is even locked.
        INSERT INTO trace_ext.alert_counters AS k
        SELECT c.hour, c.service_name, c.events, c.errors, c.answers, c.failures, c.latency FROM compared c
         WHERE c.is_new OR (c.events, c.errors, c.answers, c.failures) <> (c.known_events, c.known_errors, c.known_answers, c.known_failures)
            OR c.latency OPERATOR(trace_ext.<>) c.known_latency
        ON CONFLICT (hour, service_name) DO UPDATE
           SET events = excluded.events, errors = excluded.errors, answers = excluded.answers, failures = excluded.failures, latency = excluded.latency
    ), sampled AS (
        INSERT INTO trace_ext.alert_samples AS s
        SELECT sample_counts.at, sample_counts.since, NULL, coalesce(sum(events), 0), coalesce(sum(errors), 0), coalesce(sum(answers), 0), coalesce(sum(failures), 0),
               coalesce(trace_ext.merge(latency), '{}')
          FROM grown HAVING sample_counts.since IS NOT NULL
        UNION ALL
        SELECT sample_counts.at, sample_counts.since, service_name, events, errors, answers, failures, latency
          FROM grown WHERE service_name IS NOT NULL AND (events > 0 OR errors > 0)
        -- Evaluated twice at one time.
        ON CONFLICT (service_name, at) DO UPDATE
           SET events = s.events + excluded.events, errors = s.errors + excluded.errors,
               answers = s.answers + excluded.answers, failures = s.failures + excluded.failures,
               latency = s.latency OPERATOR(trace_ext.+) excluded.latency
    )
    INSERT INTO trace_ext.alert_services AS v
    SELECT service_name, sample_counts.at FROM grown WHERE service_name IS NOT NULL AND events > 0
    UNION ALL
    SELECT NULL, sample_counts.at WHERE EXISTS (SELECT FROM grown WHERE events > 0)
    ON CONFLICT (service_name) DO UPDATE SET seen_at = excluded.seen_at;

    IF sample_counts.since IS NULL THEN
        PERFORM trace_ext_internal.find_services(sample_counts.at, this_hour + interval '1 hour');
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.sample_counts(timestamptz, timestamptz) IS
    'adds to alert_samples by how much event_counts grew since the last time; the caller has locked alert_clock';

-- Once, or after the clock was set back: reads the counts of all hours.
CREATE FUNCTION trace_ext_internal.find_services(at timestamptz, until timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
BEGIN
    INSERT INTO trace_ext.alert_services AS v
    SELECT c.service_name, least(max(c.hour) + interval '1 hour', find_services.at)
      FROM (SELECT b.hour, b.service_name FROM trace_ext.count_base b WHERE b.event_count > 0
            UNION ALL SELECT d.hour, d.service_name FROM trace_ext.count_deltas d WHERE d.event_count > 0) AS c
     WHERE c.hour <= find_services.until AND isfinite(c.hour)
     GROUP BY GROUPING SETS ((c.service_name), ())
    HAVING max(c.hour) IS NOT NULL AND (grouping(c.service_name) = 1 OR c.service_name IS NOT NULL)
    ON CONFLICT (service_name) DO UPDATE SET seen_at = greatest(v.seen_at, excluded.seen_at);
    UPDATE trace_ext.alert_services v SET seen_at = find_services.at WHERE v.seen_at > find_services.at;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.find_services(timestamptz, timestamptz) IS
    'fills alert_services from all hours until a time: a service was last seen at the end of its last hour, or now if that is yet to come';

--
-- Values
--

CREATE FUNCTION trace_ext_internal.lately(service text, until timestamptz)
    RETURNS TABLE (at timestamptz, since timestamptz, events bigint, errors bigint, answers bigint, failures bigint, latency histogram)
    LANGUAGE plpgsql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT t.at, t.since, coalesce(s.events, 0), coalesce(s.errors, 0), coalesce(s.answers, 0), coalesce(s.failures, 0), s.latency
      FROM trace_ext.alert_samples t
      LEFT JOIN LATERAL (SELECT t.events, t.errors, t.answers, t.failures, t.latency WHERE lately.service IS NULL
                         UNION ALL
                         SELECT o.events, o.errors, o.answers, o.failures, o.latency FROM trace_ext.alert_samples o
                          WHERE o.service_name = lately.service AND o.at = t.at) AS s ON true
     WHERE t.service_name IS NULL AND t.at > until - interval '5 minutes' AND t.at <= until;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.lately(text, timestamptz) IS 'the samples of the last 5 minutes before a time, of a service, or of all together';

-- A sample that spans more than the 5 minutes is of a time when nobody sampled. What
-- came in it counts for a share, but not for a rate once there is a younger one.
CREATE FUNCTION trace_ext_internal.alert_value(metric text, service text, at timestamptz) RETURNS double precision
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    CASE metric
    WHEN 'error_rate' THEN
        RETURN (SELECT least(greatest(sum(l.failures) / nullif(sum(l.answers), 0), sum(l.errors) / sum(l.events)), 1)
                  FROM trace_ext_internal.lately(alert_value.service, alert_value.at) l HAVING sum(l.events) > 0);
    WHEN 'p50_ms', 'p95_ms', 'p99_ms' THEN
        RETURN (SELECT trace_ext.quantile(trace_ext.merge(l.latency), substr(metric, 2, 2)::int / 100.0) / 1e6
                  FROM trace_ext_internal.lately(alert_value.service, alert_value.at) l);
    WHEN 'per_second' THEN
        RETURN (SELECT sum(l.events) / nullif(extract(epoch FROM max(l.at) - min(l.since)), 0)
                  FROM (SELECT s.*, max(s.at) OVER () AS last FROM trace_ext_internal.lately(alert_value.service, alert_value.at) s) AS l
                 WHERE l.at = l.last OR l.at - l.since <= interval '5 minutes');
    WHEN 'critical_findings' THEN
        RETURN (SELECT count(*) FROM trace_ext.findings f WHERE f.severity = 'CRITICAL' AND f.status = 'open');
    WHEN 'anomalies' THEN
        -- Also those of events that name no service, where all are asked for.
        RETURN (SELECT count(*) FROM trace_ext.anomalies a
                 WHERE a.status = 'open' AND a.occurrences > 0 AND (alert_value.service IS NULL OR a.service_name = alert_value.service));
    WHEN 'rejected' THEN
        RETURN (SELECT count(*) FROM trace_ext.ingest_errors e
                 WHERE e.received_at > alert_value.at - interval '5 minutes' AND e.received_at <= alert_value.at);
    WHEN 'fold_lag' THEN
        RETURN extract(epoch FROM trace_ext_internal.fold_lag(alert_value.at));
    WHEN 'silent' THEN
        RETURN (SELECT greatest(extract(epoch FROM alert_value.at - s.seen_at), 0) FROM trace_ext.alert_services s
                 WHERE s.service_name = alert_value.service OR (alert_value.service IS NULL AND s.service_name IS NULL));
    ELSE
        RAISE EXCEPTION 'there is no metric "%"', metric USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.alert_value(text, text, timestamptz) IS
    'the value of a metric, of a service or of all together, at a time; NULL where there is no data: of a rate, without a sample of the last 5 minutes';

CREATE FUNCTION trace_ext_internal.alert_is_true(value double precision, comparison text, threshold double precision) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT coalesce(CASE comparison WHEN '>' THEN value > threshold WHEN '>=' THEN value >= threshold
                                    WHEN '<' THEN value < threshold WHEN '<=' THEN value <= threshold END, false);
    END;
COMMENT ON FUNCTION trace_ext_internal.alert_is_true(double precision, text, double precision) IS 'whether a value is one to alert of; no value is none';

--
-- States
--

CREATE TYPE alert_state AS ENUM ('inactive', 'pending', 'firing', 'resolved');
COMMENT ON TYPE alert_state IS
    'inactive: its condition is false; pending: true, but not for long enough; firing; resolved: it fired, and ended less than 15 minutes ago';

CREATE TABLE alert_states (
    name          text             PRIMARY KEY,
    metric        text             NOT NULL,
    service       text,
    comparison    text             NOT NULL,
    threshold     double precision NOT NULL,
    hold          interval         NOT NULL,
    state         alert_state      NOT NULL,
    since         timestamptz      NOT NULL,
    true_since    timestamptz,
    value         double precision,
    evaluated_at  timestamptz,
    error         text
);
ALTER TABLE alert_states SET (fillfactor = 20);
COMMENT ON TABLE alert_states IS 'what became of each rule, as it was when it was last judged; read the view alerts instead';
COMMENT ON COLUMN alert_states.since IS 'when this state began';
COMMENT ON COLUMN alert_states.true_since IS 'when the condition became true; NULL while it is not';

CREATE TABLE alert_history (
    id          bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text             NOT NULL,
    metric      text             NOT NULL,
    service     text,
    was         alert_state      NOT NULL,
    state       alert_state      NOT NULL,
    at          timestamptz      NOT NULL,
    since       timestamptz      NOT NULL,
    value       double precision,
    comparison  text             NOT NULL,
    threshold   double precision NOT NULL,
    reason      text
);
CREATE INDEX alert_history_name_idx ON alert_history (name, id);
COMMENT ON TABLE alert_history IS 'each transition of an alert from one state to another, the last trace_ext.alert_history of each';
COMMENT ON INDEX alert_history_name_idx IS 'transitions of an alert';
COMMENT ON COLUMN alert_history.id IS 'ascending number';
COMMENT ON COLUMN alert_history.name IS 'name of the rule';
COMMENT ON COLUMN alert_history.metric IS 'what it watched then';
COMMENT ON COLUMN alert_history.service IS 'of which service; NULL: of all together';
COMMENT ON COLUMN alert_history.was IS 'the state that ended';
COMMENT ON COLUMN alert_history.state IS 'the state that began';
COMMENT ON COLUMN alert_history.at IS 'when that was';
COMMENT ON COLUMN alert_history.since IS 'when the state that ended had begun';
COMMENT ON COLUMN alert_history.value IS 'the value then; NULL: there was none';
COMMENT ON COLUMN alert_history.comparison IS 'how it had to compare';
COMMENT ON COLUMN alert_history.threshold IS 'with what';
COMMENT ON COLUMN alert_history.reason IS 'why it ended, where that was not the value: the rule was disabled, deleted, or changed to watch something else';

-- As Prometheus: pending from the first time that it is true, firing once that is as
-- long ago as "hold"; pending ends silently, firing is resolved. A time ahead of now is
-- of a clock that was set back since.
CREATE FUNCTION trace_ext_internal.next_alert_state(INOUT state alert_state, INOUT true_since timestamptz, since timestamptz, is_true boolean,
                                                    hold interval, at timestamptz)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    kept constant interval := '15 minutes';
BEGIN
    IF is_true THEN
        true_since := CASE WHEN state IN ('pending', 'firing') THEN least(true_since, at) ELSE at END;
        state := CASE WHEN state = 'firing' OR trace_ext_internal.shifted(true_since, hold) <= at THEN 'firing' ELSE 'pending' END;
    ELSE
        true_since := NULL;
        state := CASE WHEN state = 'firing' OR (state = 'resolved' AND since + kept > at AND since <= at) THEN 'resolved' ELSE 'inactive' END;
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.next_alert_state(alert_state, timestamptz, timestamptz, boolean, interval, timestamptz) IS
    'the state that follows one that began at "since", where the condition is true or not at a time, and since when it is';

CREATE FUNCTION trace_ext_internal.alert_amount(value double precision, scale double precision, unit text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE unit WHEN ' ms' THEN trace_ext_internal.duration_text(value) WHEN ' s' THEN trace_ext_internal.duration_text(1000 * value)
                     ELSE trace_ext_internal.number_text(value * scale) || unit END;
COMMENT ON FUNCTION trace_ext_internal.alert_amount(double precision, double precision, text) IS 'a value or threshold of a metric, with its unit';

CREATE FUNCTION trace_ext_internal.alert_summary(s alert_states, enabled boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    m record;
    "limit" text;
    what text;
BEGIN
    SELECT * INTO m FROM trace_ext_internal.alert_metrics() k WHERE k.metric = s.metric;
    "limit" := format('%s %s', CASE s.comparison WHEN '>' THEN 'more than' WHEN '>=' THEN 'at least' WHEN '<' THEN 'less than' ELSE 'at most' END,
                    trace_ext_internal.alert_amount(s.threshold, m.scale, m.unit));
    what := coalesce(m.noun, s.metric) || CASE WHEN NOT m.by_service THEN '' WHEN s.service IS NULL THEN ' in all services'
                                               ELSE format(' in service "%s"', s.service) END;
    IF s.error IS NOT NULL THEN
        RETURN format('%s: cannot be told: %s', what, s.error);
    ELSIF s.state = 'resolved' THEN
        RETURN format('%s: %s no longer, as of %s', what, "limit", s.since);
    ELSIF NOT enabled THEN
        RETURN format('%s: not watched, the rule is disabled', what);
    ELSIF s.evaluated_at IS NULL THEN
        RETURN format('%s: not looked at yet', what);
    ELSIF s.value IS NULL THEN
        RETURN format('%s: no data', what);
    END IF;
    what := format('%s: %s, ', what, trace_ext_internal.alert_amount(s.value, m.scale, m.unit));
    RETURN what || CASE s.state WHEN 'firing' THEN format('%s since %s', "limit", s.true_since)
                                WHEN 'pending' THEN format('%s since %s, fires after %s', "limit", s.true_since, s.hold)
                                ELSE 'not ' || "limit" END;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.alert_summary(alert_states, boolean) IS 'what an alert says, in a sentence';

CREATE FUNCTION trace_ext_internal.note_transition(s alert_states, was alert_state, was_since timestamptz, reason text = NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres'
    AS $$
DECLARE
    number bigint;
BEGIN
    INSERT INTO trace_ext.alert_history (name, metric, service, was, state, at, since, value, comparison, threshold, reason)
    VALUES (s.name, s.metric, s.service, was, s.state, s.since, was_since, s.value, s.comparison, s.threshold, note_transition.reason)
    RETURNING id INTO number;
    -- Not each time, as with runs of jobs.
    IF number % 100 = 0 THEN
        PERFORM trace_ext_internal.trim_alert_history();
    END IF;
    IF s.state IN ('firing', 'resolved') THEN
        PERFORM trace_ext_internal.announce('trace_ext_alerts', 1, '{}', jsonb_build_array(jsonb_build_object(
            'name', s.name, 'state', s.state, 'metric', s.metric, 'service', left(s.service, 100), 'value', s.value, 'comparison', s.comparison,
            'threshold', s.threshold, 'at', s.since, 'reason', note_transition.reason,
            'summary', left(trace_ext_internal.alert_summary(s, true), 300))));
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.note_transition(alert_states, alert_state, timestamptz, text) IS
    'writes down that an alert came into the state that it is in, and has it announced if it fires or is resolved';

CREATE FUNCTION trace_ext_internal.trim_alert_history() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    kept constant int := current_setting('trace_ext.alert_history');
    alert text;
BEGIN
    FOR alert IN SELECT DISTINCT h.name FROM trace_ext.alert_history h LOOP
        DELETE FROM trace_ext.alert_history h
         WHERE h.name = alert AND h.id <= (SELECT o.id FROM trace_ext.alert_history o WHERE o.name = alert ORDER BY o.id DESC OFFSET kept LIMIT 1);
    END LOOP;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.trim_alert_history() IS 'forgets all but the last trace_ext.alert_history transitions of each alert';

-- What a rule watched is watched no more: it is resolved, as in Prometheus when a
-- series ends.
CREATE FUNCTION trace_ext_internal.end_lost_alerts(at timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    s trace_ext.alert_states;
    was trace_ext.alert_states;
    rule trace_ext.alert_rules;
    why text;
BEGIN
    FOR was IN SELECT o.* FROM trace_ext.alert_states o
                WHERE NOT EXISTS (SELECT FROM trace_ext.alert_rules r WHERE r.name = o.name AND r.enabled AND r.metric = o.metric
                                                                        AND r.service IS NOT DISTINCT FROM o.service) LOOP
        SELECT r.* INTO rule FROM trace_ext.alert_rules r WHERE r.name = was.name;
        why := CASE WHEN NOT FOUND THEN 'the rule was deleted' WHEN NOT rule.enabled THEN 'the rule was disabled' ELSE 'the rule was changed' END;
        s := was;
        s.value := NULL;
        s.error := NULL;
        SELECT n.state, n.true_since INTO s.state, s.true_since
          FROM trace_ext_internal.next_alert_state(was.state, was.true_since, was.since, false, was.hold, end_lost_alerts.at) n;
        IF s.state <> was.state THEN
            s.since := end_lost_alerts.at;
            PERFORM trace_ext_internal.note_transition(s, was.state, was.since, why);
        END IF;
        IF s.state = 'resolved' AND NOT coalesce(rule.enabled, false) THEN
            UPDATE trace_ext.alert_states o
               SET state = s.state, since = s.since, true_since = NULL, value = NULL, error = NULL, evaluated_at = end_lost_alerts.at
             WHERE o.name = s.name;
        ELSE
            DELETE FROM trace_ext.alert_states o WHERE o.name = s.name;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.end_lost_alerts(timestamptz) IS
    'ends the alerts whose rule is deleted, disabled, or watches something else by now; what fired is shown as resolved, if nothing takes its place';

-- Fails where the rule cannot be evaluated, and leaves the state as it was then.
CREATE FUNCTION trace_ext_internal.evaluate_alert(rule alert_rules, at timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    was trace_ext.alert_states;
    s trace_ext.alert_states;
BEGIN
    SELECT o.* INTO was FROM trace_ext.alert_states o WHERE o.name = rule.name;
    s := was;
    s.comparison := rule.comparison;
    s.threshold := rule.threshold;
    s.hold := rule.hold;
    s.value := nullif(trace_ext_internal.alert_value(rule.metric, rule.service, evaluate_alert.at), 'NaN');
    s.error := NULL;
    s.evaluated_at := evaluate_alert.at;
    SELECT n.state, n.true_since INTO s.state, s.true_since
      FROM trace_ext_internal.next_alert_state(was.state, was.true_since, was.since,
               trace_ext_internal.alert_is_true(s.value, s.comparison, s.threshold), s.hold, evaluate_alert.at) n;
    s.since := CASE WHEN s.state = was.state THEN least(was.since, evaluate_alert.at) ELSE evaluate_alert.at END;
    UPDATE trace_ext.alert_states o
       SET comparison = s.comparison, threshold = s.threshold, hold = s.hold, state = s.state, since = s.since, true_since = s.true_since,
           value = s.value, evaluated_at = s.evaluated_at, error = NULL
     WHERE o.name = s.name;
    IF s.state <> was.state THEN
        PERFORM trace_ext_internal.note_transition(s, was.state, was.since);
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.evaluate_alert(alert_rules, timestamptz) IS 'judges a rule at a time: its value, its state, and the transition if that is another one';

CREATE FUNCTION trace_ext_internal.evaluate_alerts(at timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
    AS $$
DECLARE
    clock trace_ext.alert_clock;
    folder constant text := (SELECT t.xmin::text FROM trace_ext.totals t);
    rule trace_ext.alert_rules;
BEGIN
    SELECT c.* INTO clock FROM trace_ext.alert_clock c FOR UPDATE;
    PERFORM trace_ext_internal.sample_counts(evaluate_alerts.at, CASE WHEN clock.evaluated_at <= evaluate_alerts.at THEN clock.evaluated_at END);
    PERFORM trace_ext_internal.end_lost_alerts(evaluate_alerts.at);
    FOR rule IN SELECT r.* FROM trace_ext.alert_rules r WHERE r.enabled ORDER BY r.name LOOP
        INSERT INTO trace_ext.alert_states (name, metric, service, comparison, threshold, hold, state, since)
        VALUES (rule.name, rule.metric, rule.service, rule.comparison, rule.threshold, rule.hold, 'inactive', evaluate_alerts.at)
        ON CONFLICT DO NOTHING;
        BEGIN
            PERFORM trace_ext_internal.evaluate_alert(rule, evaluate_alerts.at);
        EXCEPTION WHEN OTHERS THEN
            UPDATE trace_ext.alert_states s
               SET comparison = rule.comparison, threshold = rule.threshold, hold = rule.hold, error = SQLERRM, evaluated_at = evaluate_alerts.at
             WHERE s.name = rule.name;
        END;
    END LOOP;
    UPDATE trace_ext.alert_clock c SET evaluated_at = evaluate_alerts.at, folded_by = folder;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.evaluate_alerts(timestamptz) IS 'samples what came, and judges all rules at a time; one transaction at a time does';

CREATE VIEW alerts AS
SELECT a.name, a.metric, a.service, a.state, a.value, a.comparison, a.threshold, a.hold, a.since, a.true_since, a.enabled, a.evaluated_at, a.error,
       trace_ext_internal.alert_summary(ROW(a.name, a.metric, a.service, a.comparison, a.threshold, a.hold, a.state, a.since, a.true_since,
                                            a.value, a.evaluated_at, a.error)::trace_ext.alert_states, a.enabled) AS summary
  FROM (SELECT coalesce(r.name, s.name) AS name, coalesce(r.metric, s.metric) AS metric, CASE WHEN r.name IS NULL THEN s.service ELSE r.service END AS service,
               coalesce(r.comparison, s.comparison) AS comparison, coalesce(r.threshold, s.threshold) AS threshold, coalesce(r.hold, s.hold) AS hold,
               coalesce(s.state, 'inactive') AS state, s.since, s.true_since, s.value, s.evaluated_at, s.error, coalesce(r.enabled, false) AS enabled
          FROM trace_ext.alert_rules r
          FULL JOIN trace_ext.alert_states s ON s.name = r.name) AS a;
COMMENT ON VIEW alerts IS 'one row a rule: what became of it; for 15 minutes also what fired of a rule that was deleted';
COMMENT ON COLUMN alerts.name IS 'name of the rule';
COMMENT ON COLUMN alerts.metric IS 'what it watches';
COMMENT ON COLUMN alerts.service IS 'of which service; NULL: of all together, or of none';
COMMENT ON COLUMN alerts.state IS 'inactive, pending, firing or resolved';
COMMENT ON COLUMN alerts.value IS 'the value when it was last evaluated; NULL: there was no data';
COMMENT ON COLUMN alerts.comparison IS 'how it has to compare with the threshold';
COMMENT ON COLUMN alerts.threshold IS 'the limit';
COMMENT ON COLUMN alerts.hold IS 'for how long it has to be so';
COMMENT ON COLUMN alerts.since IS 'when this state began';
COMMENT ON COLUMN alerts.true_since IS 'since when the condition is true; NULL while it is not';
COMMENT ON COLUMN alerts.enabled IS 'whether the rule is judged';
COMMENT ON COLUMN alerts.evaluated_at IS 'when it was last evaluated; where nothing can have changed since, that may be long ago';
COMMENT ON COLUMN alerts.error IS 'why it could not be evaluated; the state is that of before';
COMMENT ON COLUMN alerts.summary IS 'all that in a sentence';

--
-- The job
--

INSERT INTO announcements (channel) VALUES ('trace_ext_alerts');

-- A database at rest needs no process: when could the state change without a write?
CREATE FUNCTION trace_ext_internal.alert_due_at(rule alert_rules, s alert_states) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    may_rise constant boolean := rule.comparison IN ('>', '>=');
    at_once constant timestamptz := '-infinity';
    due timestamptz := 'infinity';
BEGIN
    IF s.name IS NULL OR (s.metric, s.comparison, s.threshold, s.hold) IS DISTINCT FROM (rule.metric, rule.comparison, rule.threshold, rule.hold)
       OR s.service IS DISTINCT FROM rule.service OR s.error IS NOT NULL THEN
        RETURN at_once;
    ELSIF s.state = 'pending' THEN
        due := trace_ext_internal.shifted(s.true_since, s.hold);
    ELSIF s.state = 'resolved' THEN
        due := s.since + interval '15 minutes';
    END IF;
    RETURN least(due, CASE
        WHEN rule.metric IN ('critical_findings', 'anomalies') THEN
            -- Writes of findings and anomalies wake the worker.
            CASE WHEN trace_ext_internal.alert_is_true(trace_ext_internal.alert_value(rule.metric, rule.service, clock_timestamp()), rule.comparison, rule.threshold)
                      <> (s.state IN ('pending', 'firing')) THEN at_once END
        WHEN rule.metric = 'silent' AND may_rise THEN
            CASE WHEN s.state IN ('inactive', 'resolved') THEN
                (SELECT v.seen_at + make_interval(secs => least(greatest(rule.threshold, 0), 1e10)) FROM trace_ext.alert_services v
                  WHERE v.service_name = rule.service OR (rule.service IS NULL AND v.service_name IS NULL)) END
        WHEN s.state IN ('pending', 'firing') OR NOT may_rise THEN at_once
        WHEN rule.metric = 'error_rate' THEN
            -- What is good may leave the window before what is not.
            CASE WHEN EXISTS (SELECT FROM trace_ext_internal.lately(rule.service, clock_timestamp()) l WHERE l.errors > 0) THEN at_once END
        WHEN rule.metric IN ('p50_ms', 'p95_ms', 'p99_ms') THEN
            -- So may what is quick.
            CASE WHEN EXISTS (SELECT FROM trace_ext_internal.lately(rule.service, clock_timestamp()) l WHERE l.events > 0) THEN at_once END
        WHEN rule.metric = 'rejected' THEN s.evaluated_at + interval '1 minute'
        END);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.alert_due_at(alert_rules, alert_states) IS
    'when a rule has to be judged even if no event comes; infinity where it need not be';

CREATE FUNCTION trace_ext_internal.alerts_needed() RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    clock constant trace_ext.alert_clock := (SELECT c FROM trace_ext.alert_clock c);
    due timestamptz;
BEGIN
    IF NOT EXISTS (SELECT FROM trace_ext.alert_rules WHERE enabled) AND NOT EXISTS (SELECT FROM trace_ext.alert_states) THEN
        RETURN NULL;
    ELSIF clock.evaluated_at IS NULL OR clock.evaluated_at > clock_timestamp() OR trace_ext_internal.fold_needed() IS NOT NULL
          OR clock.folded_by IS DISTINCT FROM (SELECT t.xmin::text FROM trace_ext.totals t) THEN
        RETURN '-infinity';
    END IF;
    SELECT min(CASE WHEN r.name IS NOT NULL THEN trace_ext_internal.alert_due_at(r, s)
                    -- Of a rule that is gone: what it fired is shown for a while.
                    WHEN s.state = 'resolved' THEN s.since + interval '15 minutes' ELSE '-infinity' END)
      INTO due
      FROM (SELECT * FROM trace_ext.alert_rules WHERE enabled) AS r FULL JOIN trace_ext.alert_states s ON s.name = r.name;
    RETURN nullif(due, 'infinity');
END
$$;
COMMENT ON FUNCTION trace_ext_internal.alerts_needed() IS 'when alerts have to be evaluated: something was written, or time alone can change one';

CREATE PROCEDURE job_alerts(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- In C: the call loads the library, which defines the settings.
    PERFORM trace_ext_internal.restoring();
    PERFORM trace_ext_internal.evaluate_alerts(clock_timestamp());
    again := false;
END
$$;
COMMENT ON PROCEDURE job_alerts(boolean) IS 'judges all rules of alert_rules; who fires or is resolved is announced on the channel trace_ext_alerts';

INSERT INTO jobs (name, procedure, owner, builtin, "interval", timeout, priority, condition) VALUES
    ('alerts', 'trace_ext.job_alerts', current_user, true, '15 s', '1 min', 85, 'trace_ext_internal.alerts_needed');

-- Asked for at each look of the worker.
CREATE INDEX findings_critical_idx ON findings (id) WHERE severity = 'CRITICAL' AND status = 'open';
COMMENT ON INDEX findings_critical_idx IS 'findings that an alert fires for';

-- Detection runs in the worker; decisions about findings come from anywhere.
CREATE FUNCTION trace_ext_internal.wake_for_alerts() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM trace_ext_internal.wake_worker();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.wake_for_alerts() IS 'statement trigger on findings and anomalies: has a worker look at alerts';
CREATE TRIGGER trace_ext_wake AFTER INSERT OR UPDATE OF status OR DELETE ON findings
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.wake_for_alerts();
COMMENT ON TRIGGER trace_ext_wake ON findings IS 'has a worker look at alerts';
CREATE TRIGGER trace_ext_wake AFTER INSERT OR UPDATE OF status OR DELETE ON anomalies
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.wake_for_alerts();
COMMENT ON TRIGGER trace_ext_wake ON anomalies IS 'has a worker look at alerts';
