-- Redaction: rules that keep secrets out of what ingest functions store.

CREATE TABLE redaction_rules (
    name        text     PRIMARY KEY,
    path        text     NOT NULL DEFAULT '**',
    action      text     NOT NULL DEFAULT 'mask',
    pattern     text,
    service     text,
    keep        int      NOT NULL DEFAULT 4 CHECK (keep BETWEEN 0 AND 1000),
    luhn        boolean  NOT NULL DEFAULT false,
    enabled     boolean  NOT NULL DEFAULT true,
    comment     text,
    is_default  boolean  NOT NULL DEFAULT false
);
COMMENT ON TABLE redaction_rules IS
    'what ingest_events() and ingest_otlp() take out of events, spans and log records before anything of them is stored; INSERT and COPY store what they are given';
COMMENT ON COLUMN redaction_rules.name IS 'name of the rule; rules act in the order of their names';
COMMENT ON COLUMN redaction_rules.path IS
    'what it acts on, with all that is in there: names between points, as HttpRequest.headers.authorization or attributes.http.url; * stands for any part of a name, a|b for either, ** for any number of names';
COMMENT ON COLUMN redaction_rules.action IS
    'drop: it is left out; mask: [redacted] is in its place; hash: its SHA-256, keyed by trace_ext.redaction_key; truncate: its first characters';
COMMENT ON COLUMN redaction_rules.pattern IS 'a regular expression: only what it finds is masked, hashed or truncated, only a value in which it finds something is dropped; NULL: the whole value';
COMMENT ON COLUMN redaction_rules.service IS 'the service whose records it acts on; NULL: all';
COMMENT ON COLUMN redaction_rules.keep IS 'how many characters truncate leaves';
COMMENT ON COLUMN redaction_rules.luhn IS 'whether what the pattern finds counts only where it is 13 to 19 digits with the check digit of card numbers';
COMMENT ON COLUMN redaction_rules.enabled IS 'whether the rule acts';
COMMENT ON COLUMN redaction_rules.comment IS 'what it is for';
COMMENT ON COLUMN redaction_rules.is_default IS 'whether it is as it came with the extension';

-- Ready to be enabled.
INSERT INTO redaction_rules (name, path, action, pattern, luhn, enabled, comment, is_default) VALUES
    ('authorization headers', '**.*authorization|*cookie|*api-key|*apikey|*auth-token|*access-token', 'mask', NULL, false, false,
     'headers and attributes that let their reader in: Authorization, Proxy-Authorization, Cookie, Set-Cookie, X-API-Key and tokens', true),
    ('card numbers', '**', 'mask', '(?<![0-9])(?:[2-5][0-9](?:[ -]?[0-9]){11,14}|6[0-9](?:[ -]?[0-9]){11,17})', true, false,
     'numbers of payment cards, with blanks or hyphens or without', true),
    ('e-mail addresses', '**', 'mask', '[[:alnum:]._%+''-]+@[[:alnum:]-]+(?:\.[[:alnum:]-]+)*\.[[:alpha:]][[:alnum:]-]+', false, false,
     'addresses of e-mail, wherever they stand', true);

CREATE FUNCTION trace_ext_internal.check_redaction_rule(path text, action text, pattern text) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_check_redaction_rule';
COMMENT ON FUNCTION trace_ext_internal.check_redaction_rule(text, text, text) IS 'what is wrong with a redaction rule; NULL: nothing';

CREATE FUNCTION trace_ext_internal.judge_redaction_rule() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    problem text;
    advice text;
BEGIN
    IF nullif(NEW.name, '') IS NULL OR NEW.path IS NULL OR NEW.action IS NULL OR NEW.keep IS NULL OR NEW.luhn IS NULL OR NEW.enabled IS NULL THEN
        problem := 'a redaction rule needs a name, a path and an action, and keep, luhn and enabled are not NULL';
        advice := 'INSERT INTO trace_ext.redaction_rules (name, path, action) VALUES (''passwords'', ''**.*password*'', ''mask'') masks them wherever they are.';
    ELSIF length(NEW.name) > 100 THEN
        problem := 'the name of a redaction rule has at most 100 characters';
    ELSIF NEW.service = '' THEN
        problem := 'the name of a service is not empty';
        advice := 'NULL stands for all services.';
    ELSIF NEW.pattern = '' THEN
        problem := 'a pattern is not empty';
        advice := 'NULL stands for the whole value.';
    ELSIF NEW.luhn AND NEW.pattern IS NULL THEN
        problem := 'only what a pattern finds can be checked for numbers of cards';
        advice := 'Give a pattern that finds digits, or set luhn to false.';
    ELSIF NEW.keep NOT BETWEEN 0 AND 1000 THEN
        problem := format('keep %s is not from 0 to 1000', NEW.keep);
    ELSE
        problem := trace_ext_internal.check_redaction_rule(NEW.path, NEW.action, NEW.pattern);
        advice := CASE
            WHEN problem LIKE 'there is no action%' THEN 'The actions are drop, mask, hash and truncate.'
            WHEN problem LIKE 'path%' THEN 'A path is names between points, as HttpRequest.headers.authorization; ** stands for any number of names.'
            WHEN problem LIKE 'pattern%' THEN 'A pattern is a regular expression of PostgreSQL, as for the operator ~.'
            END;
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
COMMENT ON FUNCTION trace_ext_internal.judge_redaction_rule() IS 'row trigger on redaction_rules: refuses what cannot be followed, and marks what users changed';

CREATE FUNCTION trace_ext_internal.redaction_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_redaction_changed';
COMMENT ON FUNCTION trace_ext_internal.redaction_changed() IS 'trigger on redaction_rules: has all sessions read the rules again';

-- A dump has the rules that are not as they came; CREATE EXTENSION has made those by then.
CREATE FUNCTION trace_ext_internal.keep_redaction_rule() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    UPDATE trace_ext.redaction_rules r
       SET path = NEW.path, action = NEW.action, pattern = NEW.pattern, service = NEW.service, keep = NEW.keep, luhn = NEW.luhn,
           enabled = NEW.enabled, comment = NEW.comment
     WHERE r.name = NEW.name;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_redaction_rule() IS 'row trigger on redaction_rules: lets a restored dump change rules that are there already';

CREATE TRIGGER trace_ext_judge BEFORE INSERT OR UPDATE ON redaction_rules
    FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.judge_redaction_rule();
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON redaction_rules
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.keep_redaction_rule();
CREATE TRIGGER trace_ext_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON redaction_rules
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.redaction_changed();
-- Rules that a subscription brings are rules too.
ALTER TABLE redaction_rules ENABLE ALWAYS TRIGGER trace_ext_judge;
ALTER TABLE redaction_rules ENABLE ALWAYS TRIGGER trace_ext_changed;
COMMENT ON TRIGGER trace_ext_judge ON redaction_rules IS 'refuses rules that cannot be followed';
COMMENT ON TRIGGER trace_ext_keep ON redaction_rules IS 'lets a restored dump change rules that are there already';
COMMENT ON TRIGGER trace_ext_changed ON redaction_rules IS 'has all sessions read the rules again';

SELECT pg_catalog.pg_extension_config_dump('redaction_rules', 'WHERE NOT is_default');
