-- Redaction rules: what they take out is stored nowhere, whichever way it came.
\getenv abs_srcdir PG_ABS_SRCDIR
\set encode :abs_srcdir '/otlp_encode.sql'
\set ECHO none
\i :encode
\set ECHO all
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET search_path = trace_ext;
TRUNCATE events, ingest_errors, otlp_resources, otlp_scopes;

-- They come disabled, and then nothing is changed.
SELECT name, path, action, luhn, enabled, is_default FROM redaction_rules ORDER BY name;
CREATE FUNCTION pg_temp.sent(kind jsonb, more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT ingest_events(jsonb_build_array(jsonb_build_object('id', gen_random_uuid(), 'trace_id', gen_random_uuid(), 'timestamp', '2026-11-20T18:09:16Z', 'kind', kind) || more)::text) $$;
SELECT pg_temp.sent('{"HttpRequest": {"method": "GET", "url": "/?q=ann@example.com", "headers": {"Authorization": "Bearer 1"}}}');
SELECT name, attributes FROM events;
TRUNCATE events;
-- As they came.
UPDATE redaction_rules SET enabled = true;
SELECT pg_temp.sent('{"HttpRequest": {"method": "GET", "url": "/?q=ann@example.com", "headers": {"Authorization": "Bearer 1", "set-cookie": ["a=1", {"b": 2}], "X_API_KEY": 17, "Accept": "a"}, "body": {"card": 4111111111111111, "also": "to 4111-1111 1111-1111, 4111111111111112", "ben@example.com": ["ben@example.com", "ben@example"]}}}',
                    '{"metadata": {"service_name": "of ann@example.com", "duration_ns": 4111111111111111, "process_id": 7, "tags": {"who": "eva@example.com"}}, "causality_vector": [["eva@example.com", 4111111111111111]], "lock_set": ["eva@example.com"]}');
SELECT name, service_name, duration_ns, process_id, attributes, tags, causality_vector, lock_set FROM events;
TRUNCATE events;
UPDATE redaction_rules SET enabled = false;

-- Paths: rule by rule, what an event becomes.
CREATE FUNCTION pg_temp.by_rule(path text, action text, pattern text, kind jsonb, keep int DEFAULT 4, service text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    INSERT INTO trace_ext.redaction_rules (name, path, action, pattern, keep, service) VALUES ('tried', by_rule.path, by_rule.action, by_rule.pattern, by_rule.keep, by_rule.service);
    PERFORM pg_temp.sent(kind, '{"metadata": {"service_name": "shop"}}');
    SELECT coalesce(e.name, '-') || ' ' || coalesce(e.attributes::text, '-') INTO result FROM trace_ext.events e;
    SELECT coalesce(result, '') || coalesce(string_agg('refused: ' || reason, ''), '') INTO result FROM trace_ext.ingest_errors;
    DELETE FROM trace_ext.redaction_rules r WHERE r.name = 'tried';
    DELETE FROM trace_ext.events;
    DELETE FROM trace_ext.ingest_errors;
    RETURN result;
END $$;
\set call '''{"FunctionCall": {"function_name": "f", "args": {"user": "ann", "Pass_Word": "geheim", "list": ["a", {"password": "x"}], "n": 12, "yes": true, "none": null}, "a.b.c": "d"}}'''
SELECT path, pg_temp.by_rule(path, 'mask', NULL, :call) FROM unnest(ARRAY['**', '**.password', '**.pass-word', 'FunctionCall.args.user', 'kind.functioncall.args.user', 'FunctionCall.args', 'FunctionCall.*.user', 'FunctionCall.*',
    'args.user', 'FunctionCall.args.list.password', '**.*word', '**.p*w*d', '**.n|user', 'FunctionCall.a.b.c', 'FunctionCall.a', 'FunctionCall.*.b.**', '**.b.**.c', 'FunctionCall.function_name', 'HttpRequest.**', '**.user.**.x', '*']) WITH ORDINALITY AS p (path, n) ORDER BY n;
-- Actions.
SELECT action, pattern, pg_temp.by_rule('**.args', action, pattern, :call, 2) FROM unnest(ARRAY['mask', 'drop', 'hash', 'truncate']) WITH ORDINALITY a (action, n), unnest(ARRAY[NULL, '[an]', '(?i)NN|e', '^geheim$', 'zzz', 'x*']) WITH ORDINALITY p (pattern, m) ORDER BY n, m;
SELECT pg_temp.by_rule('Custom.data', 'hash', NULL, '{"Custom": {"data": "ann"}}') = '- {"data": "sha256:' || encode(sha256('ann'), 'hex') || '"}' AS is_sha256;
SELECT keep, pg_temp.by_rule('Custom.data', 'truncate', NULL, '{"Custom": {"data": "üß€😀x"}}', keep) FROM unnest(ARRAY[0, 1, 4, 5, 6]) AS keep;
-- Headers as lists of pairs.
SELECT action, pg_temp.by_rule('HttpRequest.headers.authorization', action, NULL, kind) FROM unnest(ARRAY['mask', 'drop']) AS action, unnest(ARRAY['{"HttpRequest": {"headers": [["Authorization", "x"], ["Accept", "y"], ["authorization", "z", "too long"]]}}',
    '{"HttpRequest": {"headers": [{"name": "Authorization", "value": "x"}, {"key": "Accept", "value": "y"}, {"name": "authorization"}]}}']::jsonb[]) AS kind;
SELECT pg_temp.by_rule('HttpRequest.headers.value', 'mask', NULL, '{"HttpRequest": {"headers": [{"name": "Accept", "value": "x"}, ["value"]]}}');
-- Of a service; an event that says none is of none.
SELECT service, pg_temp.by_rule('**', 'mask', 'a', '{"Custom": {"name": "ab"}}', service => service) FROM unnest(ARRAY['shop', 'Shop', 'other', NULL]) AS service;
-- What an event needs to be one stays, whatever a rule says; what it needs but is not what it must be does not.
SELECT action, pg_temp.by_rule('**', action, NULL, kind) FROM unnest(ARRAY['mask', 'drop', 'hash', 'truncate']) AS action, unnest(ARRAY['{"StateChange": {"variable": "v", "access_type": "Write", "new_value": 1}}', '{"HttpResponse": {"status": 200, "duration_ms": 3.5}}']::jsonb[]) AS kind;
SELECT kind, pg_temp.by_rule('**', 'mask', 'secret', kind) FROM unnest(ARRAY['{"secret": {}}', '"secret"', '{"StateChange": {"variable": "v", "access_type": "secret"}}', '{"StateChange": {"access_type": "secret"}}', '{"LockAcquire": {"lock_id": "secret"}}']::jsonb[]) AS kind;
SELECT pg_temp.by_rule('**', 'drop', 'secret', '{"LockAcquire": {"lock_id": "secret", "location": "secret", "more": ["secret", "x"], "secret": 1}}');
-- Rules act in the order of their names.
INSERT INTO redaction_rules (name, path, action, pattern) VALUES ('2', '**', 'mask', 'one'), ('1', '**', 'truncate', 'ones'), ('3', '**', 'mask', 'zzz');
UPDATE redaction_rules SET keep = 3 WHERE name = '1';
SELECT pg_temp.sent('{"Custom": {"name": "ones two"}}');
SELECT name FROM events;
DELETE FROM redaction_rules WHERE NOT is_default AND name < '4';
TRUNCATE events;

-- What cannot be followed is refused.
CREATE FUNCTION pg_temp.refused(VARIADIC columns text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    advice text;
BEGIN
    EXECUTE 'INSERT INTO trace_ext.redaction_rules (name, ' || (SELECT string_agg(split_part(c, '=', 1), ', ' ORDER BY n) FROM unnest(columns) WITH ORDINALITY u (c, n))
        || ') VALUES (''x'', ' || (SELECT string_agg(substr(c, strpos(c, '=') + 1), ', ' ORDER BY n) FROM unnest(columns) WITH ORDINALITY u (c, n)) || ')';
    DELETE FROM trace_ext.redaction_rules WHERE name = 'x';
    RETURN 'taken';
EXCEPTION WHEN invalid_parameter_value THEN
    GET STACKED DIAGNOSTICS advice = PG_EXCEPTION_HINT;
    RETURN SQLERRM || coalesce(' / ' || nullif(advice, ''), '');
END $$;
SELECT c, pg_temp.refused(VARIADIC c) FROM unnest(ARRAY['path=''''', 'path=''a..b''', 'path=''.a''', 'path=''a.''', 'path=''a|''', 'path=''|a.b''', 'path=''a||b''', 'path=repeat(''a.'', 59) || ''a''', 'path=repeat(''a.'', 60) || ''a''', 'path=NULL',
    'action=''Mask''', 'action=''delete''', 'action=''''', 'action=NULL', 'pattern=''(''', 'pattern=''[a''', 'pattern=''a{2,1}''', 'pattern=''''', 'pattern=''*''', 'keep=-1', 'keep=1001', 'keep=NULL', 'luhn=true', 'service=''''', 'enabled=NULL']) WITH ORDINALITY u (c1, n), LATERAL (SELECT ARRAY[c1] AS c) l ORDER BY n;
INSERT INTO redaction_rules (name) VALUES ('');
INSERT INTO redaction_rules (name) VALUES (repeat('n', 101));
UPDATE redaction_rules SET pattern = ')(' WHERE name = 'card numbers';

-- They are followed at once, and no longer once they are gone: in a transaction, after it is rolled back, after a part of it is.
BEGIN;
INSERT INTO redaction_rules (name, pattern) VALUES ('b', 'secret');
SELECT pg_temp.sent('{"Custom": {"name": "secret 1"}}');
SAVEPOINT s;
DELETE FROM redaction_rules WHERE name = 'b';
SELECT pg_temp.sent('{"Custom": {"name": "secret 2"}}');
ROLLBACK TO s;
SELECT pg_temp.sent('{"Custom": {"name": "secret 3"}}');
SELECT name FROM events ORDER BY right(name, 1);
ROLLBACK;
SELECT pg_temp.sent('{"Custom": {"name": "secret 4"}}');
SELECT name FROM events;
TRUNCATE events;

-- Of OpenTelemetry: paths are those of OTLP/JSON.
CREATE TEMP TABLE request AS SELECT '{"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}, {"key": "owner", "value": {"stringValue": "secret"}}]}, "schemaUrl": "secret",
  "scopeSpans": [{"scope": {"name": "secret", "version": "secret", "attributes": [{"key": "k", "value": {"stringValue": "secret"}}]}, "schemaUrl": "secret",
   "spans": [{"traceId": "30f6020551724ead9ff897d93b4c6b88", "spanId": "0102030405060708", "startTimeUnixNano": "1795785303594975307", "name": "secret", "traceState": "a=secret", "status": {"code": 2, "message": "secret"},
    "attributes": [{"key": "http.request.header.authorization", "value": {"arrayValue": {"values": [{"stringValue": "secret"}, {"stringValue": "x"}]}}}, {"key": "n", "value": {"intValue": "123"}}, {"key": "d", "value": {"doubleValue": 1.5}},
      {"key": "b", "value": {"bytesValue": "c2VjcmV0"}}, {"key": "t", "value": {"boolValue": true}}, {"key": "kv", "value": {"kvlistValue": {"values": [{"key": "password", "value": {"stringValue": "secret"}}, {"key": "secret", "value": {"intValue": 1}}]}}}],
    "links": [{"traceId": "30f6020551724ead9ff897d93b4c6b89", "spanId": "0102030405060709", "traceState": "b=secret", "attributes": [{"key": "l", "value": {"stringValue": "secret"}}]}],
    "events": [{"name": "secret", "timeUnixNano": "1795785303594975308", "attributes": [{"key": "e", "value": {"stringValue": "secret"}}]},
      {"name": "exception", "timeUnixNano": "1795785303594975308", "attributes": [{"key": "exception.type", "value": {"stringValue": "T"}}, {"key": "exception.message", "value": {"stringValue": "a secret"}}, {"key": "exception.stacktrace", "value": {"stringValue": "l1\nsecret\nl3"}}]},
      {"name": "trace_ext.state", "timeUnixNano": "1795785303594975309", "attributes": [{"key": "trace_ext.variable", "value": {"stringValue": "v"}}, {"key": "trace_ext.access", "value": {"stringValue": "Write"}}, {"key": "trace_ext.value", "value": {"stringValue": "[\"\\u0073ecret\", {\"password\": 1}]"}}]},
      {"name": "trace_ext.lock", "timeUnixNano": "1795785303594975310", "attributes": [{"key": "trace_ext.lock.id", "value": {"stringValue": "secret"}}, {"key": "trace_ext.lock.op", "value": {"stringValue": "acquire"}}]}]},
    {"name": "secret"}]}]}]}'::jsonb AS request;
CREATE FUNCTION pg_temp.otlp_by(path text, action text, pattern text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trace_ext.redaction_rules (name, path, action, pattern) VALUES ('tried', otlp_by.path, otlp_by.action, otlp_by.pattern);
    PERFORM trace_ext.ingest_otlp(r.request) FROM request r;
    RETURN QUERY SELECT e.kind || ' ' || coalesce(e.name, '-') || ' ' || coalesce((attributes #- '{otlp,resource}' #- '{otlp,scope}')::text, '-') FROM trace_ext.events e ORDER BY e.id;
    RETURN QUERY SELECT 'resource ' || coalesce(r.attributes::text, '-') || coalesce(schema_url, '-') FROM trace_ext.otlp_resources r;
    RETURN QUERY SELECT 'scope ' || coalesce(s.name, '-') || coalesce(s.version, '-') || coalesce(s.attributes::text, '-') || coalesce(schema_url, '-') FROM trace_ext.otlp_scopes s;
    RETURN QUERY SELECT 'link ' || coalesce(l.attributes::text, '-') FROM trace_ext.trace_links l;
    RETURN QUERY SELECT 'refused ' || e.reason || ' ' || e.event FROM trace_ext.ingest_errors e;
    DELETE FROM trace_ext.redaction_rules r WHERE r.name = 'tried';
    DELETE FROM trace_ext.events; DELETE FROM trace_ext.ingest_errors; DELETE FROM trace_ext.otlp_resources; DELETE FROM trace_ext.otlp_scopes; DELETE FROM trace_ext.trace_links;
END $$;
SELECT pg_temp.otlp_by('**', 'mask', 'secret');
SELECT pg_temp.otlp_by('attributes.http.request.header.authorization', 'mask', NULL);
SELECT pg_temp.otlp_by('**.password', 'drop', NULL);
SELECT pg_temp.otlp_by('events', 'drop', NULL);
SELECT pg_temp.otlp_by('**', 'drop', 'secret');
SELECT pg_temp.otlp_by('resource', 'truncate', NULL);

-- A service whose resource is refused, or says none, has nothing of the one before.
INSERT INTO redaction_rules (name, path, action, service) VALUES ('tried', '**', 'mask', 'shop');
SELECT rejected, inserted FROM request, ingest_otlp(jsonb_set(jsonb_insert(jsonb_insert(request, '{resourceSpans,1}', jsonb_set(request #> '{resourceSpans,0}', '{resource,attributes,0,value,stringValue}', to_jsonb(repeat('x', 600)))), '{resourceSpans,2}', (request #> '{resourceSpans,0}') - 'resource'),
    '{resourceSpans,2,scopeSpans,0,spans,0,spanId}', '"0102030405060709"'));
SELECT count(*), count(*) FILTER (WHERE e::text ~ 'redacted') AS redacted, span_id FROM events e GROUP BY span_id ORDER BY span_id;
SELECT DISTINCT reason FROM ingest_errors ORDER BY 1;
DELETE FROM redaction_rules WHERE name = 'tried';
TRUNCATE events, ingest_errors, otlp_resources, otlp_scopes, trace_links;

-- At random: secrets of three kinds at places that are drawn, sent by every function in every encoding. None of them is anywhere afterwards.
CREATE TEMP TABLE seed AS SELECT (random() * 2 - 1)::numeric(8, 7)::double precision AS seed;
SELECT setseed(seed) IS NOT NULL AS seeded FROM seed;
UPDATE redaction_rules SET enabled = true;
INSERT INTO redaction_rules (name, path, action) VALUES ('passwords', '**.*password*', 'hash');
CREATE FUNCTION pg_temp.one_of(VARIADIC what text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT what[ceil(random() * cardinality(what))] $$;
-- The digits of a number of a card: planted ones begin with 5454.
CREATE FUNCTION pg_temp.card() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    digits text := '5454' || lpad(floor(random() * 1e11)::bigint::text, 11, '0');
    total int;
BEGIN
    SELECT sum(d / 10 + d % 10) INTO total FROM (SELECT substr(digits, i, 1)::int * (1 + i % 2) AS d FROM generate_series(1, 15) i) s;
    RETURN digits || (10 - total % 10) % 10;
END $$;
CREATE FUNCTION pg_temp.spelt(card text) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT CASE floor(random() * 3)::int WHEN 0 THEN card ELSE regexp_replace(card, '(....)(....)(....)(....)', replace('\1-\2-\3-\4', '-', pg_temp.one_of('-', ' '))) END $$;
CREATE FUNCTION pg_temp.address() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT pg_temp.one_of('ann', 'b.c+d', 'x_y''z', 'ü') || floor(random() * 1000) || pg_temp.one_of('@', '@mail.') || 'planted.' || pg_temp.one_of('example', 'co', 'xn--p1ai') $$;
-- A string with a secret in it, maybe.
CREATE FUNCTION pg_temp.spoken() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT CASE floor(random() * 6)::int WHEN 0 THEN pg_temp.address() WHEN 1 THEN pg_temp.spelt(pg_temp.card()) WHEN 2 THEN repeat(pg_temp.one_of('a', 'x ', '1', 'ü€'), floor(random() * 300)::int) || ' ' || pg_temp.address() || ',' || pg_temp.address() || ' ' || pg_temp.spelt(pg_temp.card()) || '/' || pg_temp.card()
           WHEN 3 THEN '{"to": "' || pg_temp.address() || '"}' ELSE pg_temp.one_of('', 'plain', '12345', 'Write', 'a@b') END $$;
CREATE FUNCTION pg_temp.key() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT CASE WHEN random() < 0.2 THEN pg_temp.address() ELSE pg_temp.one_of('a', 'b.c', 'Authorization', 'x.set-cookie', 'http.request.header.authorization', 'userPassword', 'password.old', 'x-api-key', 'id', 'kind', 'name', '') END $$;
CREATE FUNCTION pg_temp.is_secret(key text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT key ~* 'authorization|cookie|password|api-key' $$;
CREATE FUNCTION pg_temp.any_json(depth int, secret boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    key text;
    result jsonb := '{}';
BEGIN
    CASE floor(random() * CASE WHEN depth > 3 THEN 5 ELSE 8 END)::int
        WHEN 0 THEN RETURN to_jsonb(random() < 0.5);
        WHEN 1 THEN RETURN CASE WHEN secret THEN '"token_planted"'::jsonb ELSE to_jsonb(pg_temp.card()::bigint) END;
        WHEN 2, 3 THEN RETURN to_jsonb(CASE WHEN secret THEN 'token_planted' ELSE pg_temp.spoken() END);
        WHEN 4 THEN RETURN to_jsonb(pg_temp.card()::numeric / 100 * 100);
        WHEN 5 THEN RETURN (SELECT coalesce(jsonb_agg(pg_temp.any_json(depth + 1, secret)), '[]') FROM generate_series(1, floor(random() * 4)::int));
        ELSE
            FOR i IN 1 .. floor(random() * 5)::int LOOP
                key := pg_temp.key();
                result := result || jsonb_build_object(key, pg_temp.any_json(depth + 1, secret OR pg_temp.is_secret(key)));
            END LOOP;
            RETURN result;
    END CASE;
END $$;
-- An event of which any part may be missing, of a wrong type, or carry a secret.
CREATE FUNCTION pg_temp.any_event() RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    kind text := pg_temp.one_of('FunctionCall', 'HttpRequest', 'HttpResponse', 'DatabaseQuery', 'Error', 'Custom', 'StateChange', 'LockAcquire', 'AsyncSpawn');
    event jsonb := jsonb_build_object('id', gen_random_uuid(), 'trace_id', gen_random_uuid(), 'timestamp', '2026-11-20T18:09:16Z', 'kind', jsonb_build_object(kind, '{"access_type": "Write"}'::jsonb), 'metadata', '{}'::jsonb);
    field text;
BEGIN
    FOREACH field IN ARRAY CASE kind WHEN 'FunctionCall' THEN '{function_name,module,args,file,line,extra}' WHEN 'HttpRequest' THEN '{method,url,headers,body}' WHEN 'HttpResponse' THEN '{status,headers,body,duration_ms}' WHEN 'DatabaseQuery' THEN '{query,database}'
        WHEN 'Error' THEN '{error_type,message,stack_trace}' WHEN 'Custom' THEN '{name,data}' WHEN 'StateChange' THEN '{variable,old_value,new_value,location}' WHEN 'LockAcquire' THEN '{lock_id,lock_type}' ELSE '{task_id,spawned_by}' END::text[] LOOP
        event := jsonb_set(event, ARRAY['kind', kind, field], CASE WHEN random() < 0.5 THEN to_jsonb(pg_temp.spoken()) ELSE pg_temp.any_json(1) END);
    END LOOP;
    FOREACH field IN ARRAY '{service_name,instance_id,thread_id,environment,distributed_span_id,upstream_span_id}'::text[] LOOP
        event := jsonb_set(event, ARRAY['metadata', field], to_jsonb(pg_temp.spoken()));
    END LOOP;
    event := jsonb_set(event, '{metadata,tags}', CASE WHEN random() < 0.9 THEN jsonb_build_object(pg_temp.key() || 'password', '"token_planted"'::jsonb, 't', pg_temp.any_json(1)) ELSE pg_temp.any_json(1) END);
    event := event || jsonb_build_object('lock_set', jsonb_build_array(pg_temp.spoken(), pg_temp.address()), 'causality_vector', jsonb_build_array(jsonb_build_array(pg_temp.address(), 1)));
    CASE floor(random() * 12)::int
        WHEN 0 THEN event := event || jsonb_build_object('id', pg_temp.spoken());
        WHEN 1 THEN event := event || jsonb_build_object('timestamp', pg_temp.address());
        WHEN 2 THEN event := event || jsonb_build_object('kind', jsonb_build_object(pg_temp.address(), pg_temp.any_json(1)));
        WHEN 3 THEN event := jsonb_set(event, ARRAY['kind', kind, 'access_type'], to_jsonb(pg_temp.address()));
        WHEN 4 THEN event := event || jsonb_build_object('metadata', pg_temp.any_json(1));
        WHEN 5 THEN event := event || jsonb_build_object('trace_id', pg_temp.any_json(1), 'other', pg_temp.any_json(1));
        WHEN 6 THEN event := event || jsonb_build_object('causality_vector', pg_temp.any_json(1));
        ELSE NULL;
    END CASE;
    RETURN event;
END $$;
-- The same of OpenTelemetry.
CREATE FUNCTION pg_temp.any_value(depth int, secret boolean) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    CASE floor(random() * CASE WHEN depth > 2 THEN 6 ELSE 8 END)::int
        WHEN 0 THEN RETURN jsonb_build_object('intValue', CASE WHEN secret THEN '1' ELSE pg_temp.card() END);
        WHEN 1 THEN RETURN jsonb_build_object('doubleValue', CASE WHEN secret THEN 1 ELSE pg_temp.card()::numeric END);
        WHEN 2 THEN RETURN jsonb_build_object('bytesValue', translate(encode(convert_to(CASE WHEN secret THEN 'token_planted' ELSE pg_temp.spoken() END, 'UTF8'), 'base64'), E'\n', ''));
        WHEN 3, 4 THEN RETURN jsonb_build_object('stringValue', CASE WHEN secret THEN 'token_planted' ELSE pg_temp.spoken() END);
        WHEN 5 THEN RETURN '{}';
        WHEN 6 THEN RETURN jsonb_build_object('arrayValue', jsonb_build_object('values', (SELECT coalesce(jsonb_agg(pg_temp.any_value(depth + 1, secret)), '[]') FROM generate_series(1, floor(random() * 3)::int))));
        ELSE RETURN jsonb_build_object('kvlistValue', jsonb_build_object('values', pg_temp.any_pairs(depth + 1, secret)));
    END CASE;
END $$;
CREATE FUNCTION pg_temp.any_pairs(depth int, secret boolean, VARIADIC keys text[] DEFAULT '{}') RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('key', k, 'value', pg_temp.any_value(depth, secret OR pg_temp.is_secret(k)))), '[]') FROM (SELECT unnest(keys) AS k UNION ALL SELECT pg_temp.key() FROM generate_series(1, floor(random() * 4)::int)) s $$;
CREATE FUNCTION pg_temp.escaped(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT string_agg('\u' || lpad(to_hex(ascii(c)), 4, '0'), '') FROM regexp_split_to_table(t, '') c $$;
CREATE FUNCTION pg_temp.any_request(n int) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('resource', jsonb_build_object('attributes', pg_temp.any_pairs(0, false, 'host.name', 'process.pid') || jsonb_build_array(jsonb_build_object('key', 'service.name', 'value', jsonb_build_object('stringValue', pg_temp.one_of('shop', pg_temp.address()))))),
        'schemaUrl', pg_temp.spoken(), 'scopeSpans', jsonb_build_array(jsonb_build_object('scope', jsonb_build_object('name', pg_temp.spoken(), 'version', pg_temp.spoken(), 'attributes', pg_temp.any_pairs(0, false)), 'schemaUrl', pg_temp.spoken(),
        'spans', jsonb_agg(jsonb_build_object('traceId', md5(random()::text), 'spanId', left(md5(random()::text), 16), 'name', pg_temp.spoken(), 'kind', floor(random() * 6), 'startTimeUnixNano', 1795785303594975307, 'endTimeUnixNano', 1795785303594975999,
            'traceState', pg_temp.spoken(), 'status', jsonb_build_object('code', 2, 'message', pg_temp.spoken()),
            'attributes', pg_temp.any_pairs(0, false, 'http.request.method', 'url.path', 'url.full', 'db.system', 'db.statement', 'db.name', 'code.filepath', 'code.lineno', 'error.type', 'http.status_code'),
            'links', jsonb_build_array(jsonb_build_object('traceId', md5(random()::text), 'spanId', left(md5(random()::text), 16), 'traceState', pg_temp.spoken(), 'attributes', pg_temp.any_pairs(0, false))),
            'events', jsonb_build_array(jsonb_build_object('name', pg_temp.spoken(), 'timeUnixNano', 1795785303594975308, 'attributes', pg_temp.any_pairs(0, false)),
                jsonb_build_object('name', 'exception', 'timeUnixNano', 1795785303594975308, 'attributes', pg_temp.any_pairs(0, false, 'exception.type', 'exception.message', 'exception.stacktrace')),
                jsonb_build_object('name', 'trace_ext.lock', 'timeUnixNano', 1795785303594975308, 'attributes', pg_temp.any_pairs(0, false, 'trace_ext.lock.type') || jsonb_build_array(jsonb_build_object('key', 'trace_ext.lock.id', 'value', jsonb_build_object('stringValue', 'l' || pg_temp.spoken())),
                    jsonb_build_object('key', 'trace_ext.lock.op', 'value', jsonb_build_object('stringValue', CASE WHEN random() < 0.8 THEN 'acquire' ELSE pg_temp.address() END)))),
                jsonb_build_object('name', 'trace_ext.state', 'timeUnixNano', 1795785303594975308, 'attributes', pg_temp.any_pairs(0, false, 'trace_ext.old_value', 'code.file.path') || jsonb_build_array(jsonb_build_object('key', 'trace_ext.variable', 'value', jsonb_build_object('stringValue', 'v' || pg_temp.spoken())),
                    jsonb_build_object('key', 'trace_ext.access', 'value', jsonb_build_object('stringValue', CASE WHEN random() < 0.8 THEN 'Write' ELSE pg_temp.address() END)),
                    jsonb_build_object('key', 'trace_ext.value', 'value', jsonb_build_object('stringValue', CASE WHEN random() < 0.5 THEN jsonb_pretty(pg_temp.any_json(1)) ELSE '{"a": ["' || pg_temp.escaped(pg_temp.address()) || '"]}' END))))))))))))
      FROM generate_series(1, n) $$;
CREATE TEMP TABLE made AS SELECT n, (SELECT jsonb_agg(pg_temp.any_event()) FROM generate_series(1, 5 + n * 0)) AS events, pg_temp.any_request(3 + n * 0) AS request FROM generate_series(1, 50) n;
SELECT count(*) FILTER (WHERE events::text ~ 'planted' AND events::text ~ '5454') > 40 AS planted_events, count(*) FILTER (WHERE request::text ~ 'planted' AND request::text ~ '5454') > 40 AS planted_spans FROM made;
CREATE TEMP TABLE cards AS SELECT DISTINCT translate(m[1], ' -', '') AS card FROM made, regexp_matches(events::text || request::text, '5454(?:[ -]?[0-9]){12}', 'g') m;
-- Sound, in every way; then damaged, so that what cannot be read is refused.
SELECT sum(inserted) > 300 AS inserted, sum(rejected) > 100 AS refused FROM made, LATERAL (
    SELECT * FROM ingest_events(events) UNION ALL SELECT * FROM ingest_events(replace(events::text, '2026-11-20', '2026-11-21')) UNION ALL SELECT * FROM ingest_events(replace(events::text, '2026-11-20', '2026-11-22')::json)
    UNION ALL SELECT * FROM ingest_otlp(request) UNION ALL SELECT * FROM ingest_otlp(replace(request::text, '1795785303', '1795785304')) UNION ALL SELECT * FROM ingest_otlp(replace(request::text, '1795785303', '1795785305')::json)
    UNION ALL SELECT * FROM ingest_otlp(convert_to(replace(request::text, '1795785303', '1795785306'), 'UTF8')) UNION ALL SELECT * FROM ingest_otlp(pg_temp.wire(replace(request::text, '1795785303', '1795785307')::jsonb))) l;
CREATE FUNCTION pg_temp.damaged(t text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ingest_events(t);
EXCEPTION WHEN invalid_text_representation THEN NULL;
END $$;
SELECT count(pg_temp.damaged(replace(events::text, d[1], d[2]))) FROM made, unnest(ARRAY['"metadata": {|"metadata": {,', '"kind": |"kind": \u ', 'planted|planted\u0000', '"lock_set": [|"lock_set": [nul', '@|\ud800@', '"id": "|"id": "\q']) s, LATERAL (SELECT string_to_array(s, '|') AS d) l;
SELECT count(pg_temp.damaged(regexp_replace(events::text, '": ', pg_temp.one_of('" ', '":: ', ': ', '":{', '":"'), 1, ceil(random() * 100)::int))) FROM made, generate_series(1, 3);
SELECT count(*) > 300 AS refused FROM ingest_errors;
CREATE FUNCTION pg_temp.leaks() RETURNS TABLE (tab text, leaked text) LANGUAGE plpgsql AS $$
DECLARE
    t regclass;
BEGIN
    FOR t IN SELECT c.oid::regclass FROM pg_class c WHERE relnamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND relkind IN ('r', 'p') LOOP
        -- As it is, in hexadecimal digits, and in base64, which has three spellings.
        RETURN QUERY EXECUTE format($q$SELECT %L, (SELECT left(substring(t::text FROM '.{0,100}(?:planted|706c616e746564|cGxhbnRlZ|wbGFudGVk|BsYW50ZW).{0,50}'), 300)) FROM %s t
            WHERE t::text ~ 'planted|706c616e746564|cGxhbnRlZ|wbGFudGVk|BsYW50ZW' LIMIT 5$q$, t::text, t);
        RETURN QUERY EXECUTE format($q$SELECT %L, f.found || ' in ' || left(t::text, 200) FROM %s t, LATERAL (SELECT translate(m[1], ' -', '') AS found FROM regexp_matches(t::text, '5454(?:[ -]?[0-9]){12}', 'g') m) f
            WHERE f.found IN (SELECT card FROM cards) LIMIT 5$q$, t::text, t);
    END LOOP;
END $$;
SELECT seed, l.* FROM seed, pg_temp.leaks() l;
SELECT count(*) FROM verify_summaries();
-- The search finds what is there.
UPDATE redaction_rules SET enabled = false;
SELECT sum(inserted) > 0 AS inserted FROM made, ingest_otlp(replace(request::text, '1795785303', '1795785309')) WHERE n <= 20;
SELECT sum(inserted) > 0 AS inserted FROM made, ingest_events(replace(events::text, '2026-11-20', '2026-11-25')) WHERE n <= 20;
SELECT count(*) > 0 AS leaks FROM pg_temp.leaks();
TRUNCATE events, ingest_errors, otlp_resources, otlp_scopes, trace_links;
DELETE FROM redaction_rules WHERE name = 'passwords';
