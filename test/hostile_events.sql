-- Events at random, by rows, of a seed: whatever clients and administrators can store, in any shape. Needs psql's variable seed.
SELECT setseed(:seed / 2147483647.0);
CREATE FUNCTION pg_temp.pick(VARIADIC words text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT words[1 + floor(random() * cardinality(words))::int] $$;
-- Markup, quotes, newlines, right-to-left marks, escapes of terminals, control characters, long ones, none.
CREATE FUNCTION pg_temp.hostile() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT pg_temp.pick('<script>alert(1)</script>', ']]></style>', 'it''s "quoted"', E'two\nlines\r\n', U&'\202Eabc\202C\200F', E'\x1b[31mred\x1b[0m', E'\x01\x02\x1f\x7f', E'back\\slash\\', '', NULL,
        '{"a": [1, "\u0041"]}', '{le="1"}', 'GET /', 'POST http://x/?a=b', 'null', U&'\+01F600\FFFD', repeat('long ', 200), '@bytes', '00000000000000000000000000000000', '`;${x}%s%n') $$;
CREATE FUNCTION pg_temp.some_json(depth int = 0) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN CASE floor(random() * CASE WHEN depth > 3 THEN 7 ELSE 10 END)
        WHEN 0 THEN to_jsonb(pg_temp.hostile()) WHEN 1 THEN to_jsonb(random()) WHEN 2 THEN '1e400' WHEN 3 THEN to_jsonb(floor(random() * 1e18)::numeric * 100) WHEN 4 THEN 'true' WHEN 5 THEN 'null' WHEN 6 THEN '-0.0'
        WHEN 7 THEN jsonb_build_array(pg_temp.some_json(depth + 1), pg_temp.some_json(depth + 1))
        WHEN 8 THEN jsonb_build_object(pg_temp.pick('@bytes', '@double', '@pairs'), pg_temp.some_json(depth + 1))
        ELSE jsonb_build_object(coalesce(pg_temp.hostile(), 'k'), pg_temp.some_json(depth + 1), pg_temp.pick('a', '@double', ''), pg_temp.some_json(depth + 1)) END;
END $$;
-- Attributes that look like those of OpenTelemetry, and are none.
CREATE FUNCTION pg_temp.some_attributes() RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    fields jsonb := '{}';
BEGIN
    FOR i IN 1 .. floor(random() * 5) LOOP
        fields := fields || jsonb_build_object(pg_temp.pick('message', 'stack_trace', 'location', 'new_value', 'old_value', 'lock_type', 'status', 'timestamp_ns', 'own_parent', 'otlp', 'file', 'line', 'module', 'data', '<b>'), pg_temp.some_json());
    END LOOP;
    IF random() < 0.2 THEN
        fields := fields || jsonb_build_object('otlp', jsonb_build_object('resource', floor(random() * 10), 'kind', pg_temp.some_json(), 'links', pg_temp.some_json(), 'attributes', pg_temp.some_json(),
            'status', pg_temp.some_json(), 'endTimeUnixNano', pg_temp.some_json(), 'name', pg_temp.some_json(), 'flags', pg_temp.some_json(), 'query', pg_temp.some_json()));
    END IF;
    RETURN nullif(fields, '{}');
END $$;
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, environment, span_id, upstream_span_id, duration_ns, attributes, tags, lock_set, stamped_at_end)
SELECT md5('trace' || t)::uuid,
       -- Some ids have the form of those of OpenTelemetry.
       CASE WHEN random() < 0.1 THEN (encode(substr(sha256(('s' || e)::bytea), 1, 8), 'hex') || pg_temp.pick('00000000', '00000001', '7fffffff', '80000000') || left(md5(t || ' ' || e), 8))::uuid ELSE md5(t || ' ' || e)::uuid END,
       CASE WHEN random() < 0.8 THEN md5(t || ' ' || floor(random() * (e + CASE WHEN random() < 0.1 THEN 3 ELSE 0 END)))::uuid END,
       CASE WHEN random() < 0.02 THEN pg_temp.pick('1500-01-01', '4714-11-24 00:00:00 BC', '1969-12-31 23:59:59', '1970-01-01', '2600-01-01', '9999-01-01', '294276-12-31')::timestamptz ELSE '2026-11-30 12:00:00'::timestamptz + e * random() * interval '3 ms' END,
       k.kind, CASE WHEN k.kind = 'StateChange' THEN coalesce(nullif(pg_temp.hostile(), ''), 'v') ELSE pg_temp.hostile() END, left(pg_temp.hostile(), 100), pg_temp.hostile(),
       CASE WHEN random() < 0.5 THEN floor(random() * 5)::int END, pg_temp.hostile(), pg_temp.hostile(), pg_temp.pick('00f067aa0ba902b7', '0000000000000000', 'x', NULL), pg_temp.pick('00f067aa0ba902b7', 'x', NULL, NULL),
       CASE WHEN random() < 0.4 THEN floor(random() * 5e6)::bigint WHEN random() < 0.02 THEN 9223372036854775807 END,
       CASE WHEN k.kind = 'StateChange' THEN coalesce(pg_temp.some_attributes(), '{}') || jsonb_build_object('access_type', pg_temp.pick('Read', 'Write', 'AtomicRMW')) ELSE pg_temp.some_attributes() END,
       CASE WHEN random() < 0.3 THEN pg_temp.some_json() END, CASE WHEN random() < 0.2 THEN ARRAY[pg_temp.hostile(), 'l'] END, random() < 0.3
  FROM generate_series(1, 60) t, LATERAL generate_series(1, 1 + floor(random() * 25)::int) e, LATERAL (SELECT (enum_range(NULL::trace_ext.event_kind))[1 + floor(random() * 13 + 0 * e + 0 * t)::int] AS kind) AS k
ON CONFLICT DO NOTHING;
-- Strings of a megabyte, a trace of the id of zeros, and parents in a circle.
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, attributes, tags) VALUES
    (md5('big')::uuid, md5('big')::uuid, NULL, '2026-11-30 12:00:00', 'FunctionCall', repeat(U&'\00e4"<', 250000), 'big', jsonb_build_object('args', repeat(E'\n', 1000000)), jsonb_build_object(repeat('k', 100000), 1)),
    ('00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', NULL, '2026-11-30 12:00:00', 'Custom', 'nil', NULL, NULL, NULL),
    (md5('circle')::uuid, md5('c1')::uuid, md5('c2')::uuid, '2026-11-30 12:00:00', 'FunctionCall', 'a', 'c', NULL, NULL),
    (md5('circle')::uuid, md5('c2')::uuid, md5('c1')::uuid, '2026-11-30 12:00:01', 'FunctionCall', 'b', 'c', NULL, NULL);
