-- Rules of alerts: what can be watched, what users and administrators wrote, and what
-- comes with the extension, also through a dump.

--
-- Metrics
--

-- Who adds a metric adds a row here and a branch to alert_value().
CREATE FUNCTION trace_ext_internal.alert_metrics() RETURNS TABLE (metric text, by_service boolean, noun text, scale double precision, unit text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10
    BEGIN ATOMIC
    VALUES ('error_rate',        true,  'requests or events that failed', 100::double precision, ' %'),
           ('p50_ms',            true,  'p50 latency', 1, ' ms'),
           ('p95_ms',            true,  'p95 latency', 1, ' ms'),
           ('p99_ms',            true,  'p99 latency', 1, ' ms'),
           ('per_second',        true,  'events a second', 1, ''),
           ('critical_findings', false, 'open CRITICAL findings', 1, ''),
           ('anomalies',         true,  'open anomalies', 1, ''),
           ('rejected',          false, 'events rejected within 5 minutes', 1, ''),
           ('fold_lag',          false, 'time that deltas wait', 1, ' s'),
           ('silent',            true,  'time without an event', 1, ' s');
    END;
COMMENT ON FUNCTION trace_ext_internal.alert_metrics() IS
    'what a rule can watch: whether it is of a service, and how it is told: what, times how much, in which unit';

--
-- Rules
--

CREATE TABLE alert_rules (
    name        text             PRIMARY KEY,
    metric      text             NOT NULL,
    service     text,
    comparison  text             NOT NULL DEFAULT '>' CHECK (comparison IN ('>', '>=', '<', '<=')),
    threshold   double precision NOT NULL CHECK (threshold > '-Infinity' AND threshold < 'Infinity'),
    hold        interval         NOT NULL DEFAULT interval '0' CHECK (hold BETWEEN interval '0' AND interval '10 years'),
    enabled     boolean          NOT NULL DEFAULT true,
    is_default  boolean          NOT NULL DEFAULT false
);
COMMENT ON TABLE alert_rules IS 'when to alert; INSERT, UPDATE and DELETE change it, the view alerts shows what became of each rule';
COMMENT ON COLUMN alert_rules.name IS 'name of the alert';
COMMENT ON COLUMN alert_rules.metric IS 'what is watched: error_rate, p50_ms, p95_ms, p99_ms, per_second, critical_findings, anomalies, rejected, fold_lag, silent';
COMMENT ON COLUMN alert_rules.service IS 'the service, for metrics that have services; NULL: all services together, as one';
COMMENT ON COLUMN alert_rules.comparison IS '>, >=, < or <=: how the value must compare with the threshold';
COMMENT ON COLUMN alert_rules.threshold IS 'the limit: a share from 0 to 1 (error_rate), milliseconds (p50_ms, p95_ms, p99_ms), a number, or seconds (fold_lag, silent)';
COMMENT ON COLUMN alert_rules.hold IS 'for how long that must be so before the alert fires';
COMMENT ON COLUMN alert_rules.enabled IS 'whether it is judged; an alert that fires is resolved when this becomes false';
COMMENT ON COLUMN alert_rules.is_default IS 'whether it is as it came with the extension';

CREATE FUNCTION trace_ext_internal.default_alert_rules() RETURNS SETOF alert_rules
    LANGUAGE sql IMMUTABLE ROWS 2
    BEGIN ATOMIC
    VALUES ('critical finding', 'critical_findings', NULL, '>', 0::double precision, interval '0', true, true),
           ('error rate', 'error_rate', NULL, '>', 0.05, interval '5 minutes', true, true);
    END;
COMMENT ON FUNCTION trace_ext_internal.default_alert_rules() IS 'the rules that are there from the start';
INSERT INTO alert_rules SELECT * FROM trace_ext_internal.default_alert_rules();

CREATE FUNCTION trace_ext_internal.judge_alert_rule() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    by_service boolean;
    problem text;
    advice text;
BEGIN
    SELECT m.by_service INTO by_service FROM trace_ext_internal.alert_metrics() m WHERE m.metric = NEW.metric;
    IF nullif(NEW.name, '') IS NULL OR NEW.metric IS NULL OR NEW.comparison IS NULL OR NEW.threshold IS NULL OR NEW.hold IS NULL OR NEW.enabled IS NULL THEN
        problem := 'an alert rule needs a name, a metric, a comparison and a threshold, and hold and enabled are not NULL';
        advice := 'INSERT INTO trace_ext.alert_rules (name, metric, threshold) VALUES (''too many errors'', ''error_rate'', 0.1) fires above 10 %.';
    ELSIF length(NEW.name) > 100 THEN
        problem := 'the name of an alert rule has at most 100 characters';
    ELSIF by_service IS NULL THEN
        problem := format('there is no metric "%s"', NEW.metric);
        advice := format('The metrics are %s.', (SELECT string_agg(m.metric, ', ' ORDER BY m.metric) FROM trace_ext_internal.alert_metrics() m));
    ELSIF NEW.service IS NOT NULL AND NOT by_service THEN
        problem := format('metric "%s" has no services', NEW.metric);
        advice := format('Leave service NULL. Metrics of a service are %s.',
                         (SELECT string_agg(m.metric, ', ' ORDER BY m.metric) FROM trace_ext_internal.alert_metrics() m WHERE m.by_service));
    ELSIF NEW.service = '' THEN
        problem := 'the name of a service is not empty';
        advice := 'NULL stands for all services together.';
    ELSIF NEW.comparison NOT IN ('>', '>=', '<', '<=') THEN
        problem := format('there is no comparison "%s"', NEW.comparison);
        advice := 'The comparisons are >, >=, < and <=.';
    ELSIF NEW.threshold IN ('NaN', 'Infinity', '-Infinity') THEN
        problem := format('threshold %s is not a finite number', NEW.threshold);
    ELSIF NOT isfinite(NEW.hold) OR NEW.hold NOT BETWEEN interval '0' AND interval '10 years' THEN
        problem := format('hold %s is not from 0 to 10 years', NEW.hold);
    END IF;
    IF advice IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value', HINT = advice;
    ELSIF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A rule that somebody changed is his: a dump brings it.
    NEW.is_default := TG_OP = 'UPDATE' AND NEW IS NOT DISTINCT FROM OLD AND NEW.is_default;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.judge_alert_rule() IS 'row trigger on alert_rules: refuses what cannot be judged, and marks what users changed';
CREATE TRIGGER trace_ext_judge BEFORE INSERT OR UPDATE ON alert_rules
    FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.judge_alert_rule();
COMMENT ON TRIGGER trace_ext_judge ON alert_rules IS 'refuses rules that cannot be judged';

-- A dump has the rules that are not as they came, and the names of those that were
-- deleted; CREATE EXTENSION has made the default ones by then.
CREATE TABLE alert_rules_removed (name text PRIMARY KEY);
COMMENT ON TABLE alert_rules_removed IS 'rules that came with the extension and were deleted or renamed: a restored dump does not bring them back';
COMMENT ON COLUMN alert_rules_removed.name IS 'name of the rule';
SELECT pg_catalog.pg_extension_config_dump('alert_rules', 'WHERE NOT is_default');
SELECT pg_catalog.pg_extension_config_dump('alert_rules_removed', '');

CREATE FUNCTION trace_ext_internal.keep_alert_rule() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    UPDATE trace_ext.alert_rules r
       SET metric = NEW.metric, service = NEW.service, comparison = NEW.comparison, threshold = NEW.threshold, hold = NEW.hold, enabled = NEW.enabled
     WHERE r.name = NEW.name;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_alert_rule() IS 'row trigger on alert_rules: lets a restored dump change rules that are there already';
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON alert_rules
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.keep_alert_rule();
COMMENT ON TRIGGER trace_ext_keep ON alert_rules IS 'lets a restored dump change rules that are there already';

CREATE FUNCTION trace_ext_internal.note_alert_rule() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.name IN (SELECT d.name FROM trace_ext_internal.default_alert_rules() d) THEN
        INSERT INTO trace_ext.alert_rules_removed VALUES (OLD.name) ON CONFLICT DO NOTHING;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        DELETE FROM trace_ext.alert_rules_removed d WHERE d.name = NEW.name;
    END IF;
    PERFORM trace_ext_internal.wake_worker();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.note_alert_rule() IS 'row trigger on alert_rules: remembers which default rules are gone, and has a worker judge what is new';
CREATE TRIGGER trace_ext_note AFTER INSERT OR UPDATE OR DELETE ON alert_rules
    FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.note_alert_rule();
COMMENT ON TRIGGER trace_ext_note ON alert_rules IS 'remembers which default rules are gone, and has a worker judge what is new';

CREATE FUNCTION trace_ext_internal.remove_alert_rule() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    DELETE FROM trace_ext.alert_rules r WHERE r.name = NEW.name AND r.is_default;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.remove_alert_rule() IS 'row trigger on alert_rules_removed: a restored dump takes away what was deleted';
-- What brings a row by itself has deleted the rule.
CREATE TRIGGER trace_ext_remove AFTER INSERT ON alert_rules_removed
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.remove_alert_rule();
COMMENT ON TRIGGER trace_ext_remove ON alert_rules_removed IS 'a restored dump takes away what was deleted';
