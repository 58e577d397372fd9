-- Encodes requests of OpenTelemetry, given as jsonb, in protobuf: so both encodings of one content can be sent.
CREATE FUNCTION pg_temp.varint(n numeric) RETURNS bytea LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    rest numeric := CASE WHEN n < 0 THEN n + 18446744073709551616 ELSE n END;
    bytes text := '';
BEGIN
    LOOP
        bytes := bytes || lpad(to_hex((mod(rest, 128) + CASE WHEN rest >= 128 THEN 128 ELSE 0 END)::int), 2, '0');
        rest := div(rest, 128);
        EXIT WHEN rest = 0;
    END LOOP;
    RETURN decode(bytes, 'hex');
END $$;
CREATE FUNCTION pg_temp.fixed(n numeric, len int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(decode(lpad(to_hex(mod(div(n, 256::numeric ^ i), 256)::int), 2, '0'), 'hex'), '' ORDER BY i) FROM generate_series(0, len - 1) i $$;
-- Fields: what is NULL or of no bytes is left out.
CREATE FUNCTION pg_temp.f_varint(field int, n numeric) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN coalesce(n, 0) = 0 THEN '' ELSE pg_temp.varint(field * 8) || pg_temp.varint(n) END $$;
CREATE FUNCTION pg_temp.f_fixed(field int, n numeric, len int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN coalesce(n, 0) = 0 THEN '' ELSE pg_temp.varint(field * 8 + CASE len WHEN 8 THEN 1 ELSE 5 END) || pg_temp.fixed(n, len) END $$;
-- No SQL function: put inline it would compute what it is given twice, at each level.
CREATE FUNCTION pg_temp.f_bytes(field int, b bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE WHEN b IS NULL THEN '' ELSE pg_temp.varint(field * 8 + 2) || pg_temp.varint(length(b)) || b END;
END $$;
CREATE FUNCTION pg_temp.f_text(field int, t text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN coalesce(t, '') = '' THEN '' ELSE pg_temp.f_bytes(field, convert_to(t, 'UTF8')) END $$;
CREATE FUNCTION pg_temp.any_value(v jsonb) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE (SELECT k FROM jsonb_object_keys(v) k)
        WHEN 'stringValue' THEN pg_temp.f_bytes(1, convert_to(v ->> 'stringValue', 'UTF8'))
        WHEN 'boolValue' THEN '\x10'::bytea || CASE WHEN (v -> 'boolValue')::bool THEN '\x01'::bytea ELSE '\x00' END
        WHEN 'intValue' THEN '\x18'::bytea || pg_temp.varint((v ->> 'intValue')::numeric)
        WHEN 'doubleValue' THEN '\x21'::bytea || (SELECT string_agg(substr(b, i, 1), '' ORDER BY i DESC) FROM float8send((v ->> 'doubleValue')::float8) b, generate_series(1, 8) i)
        WHEN 'arrayValue' THEN pg_temp.f_bytes(5, (SELECT coalesce(string_agg(pg_temp.f_bytes(1, pg_temp.any_value(e)), '' ORDER BY n), '')
                                                     FROM jsonb_array_elements(v -> 'arrayValue' -> 'values') WITH ORDINALITY a (e, n)))
        WHEN 'kvlistValue' THEN pg_temp.f_bytes(6, pg_temp.pairs(1, v -> 'kvlistValue' -> 'values'))
        WHEN 'bytesValue' THEN pg_temp.f_bytes(7, decode(v ->> 'bytesValue', 'base64'))
        ELSE '' END;
END $$;
CREATE FUNCTION pg_temp.pairs(field int, list jsonb) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (SELECT coalesce(string_agg(pg_temp.f_bytes(field, pg_temp.f_text(1, e ->> 'key') || pg_temp.f_bytes(2, pg_temp.any_value(e -> 'value'))), '' ORDER BY n), '')
              FROM jsonb_array_elements(list) WITH ORDINALITY a (e, n));
END $$;
CREATE FUNCTION pg_temp.span(s jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.f_bytes(1, decode(s ->> 'traceId', 'hex')) || pg_temp.f_bytes(2, decode(s ->> 'spanId', 'hex')) || pg_temp.f_text(3, s ->> 'traceState') ||
           pg_temp.f_bytes(4, decode(s ->> 'parentSpanId', 'hex')) || pg_temp.f_text(5, s ->> 'name') || pg_temp.f_varint(6, (s ->> 'kind')::numeric) ||
           pg_temp.f_fixed(7, (s ->> 'startTimeUnixNano')::numeric, 8) || pg_temp.f_fixed(8, (s ->> 'endTimeUnixNano')::numeric, 8) ||
           pg_temp.pairs(9, s -> 'attributes') || pg_temp.f_varint(10, (s ->> 'droppedAttributesCount')::numeric) ||
           (SELECT coalesce(string_agg(pg_temp.f_bytes(11, pg_temp.f_fixed(1, (e ->> 'timeUnixNano')::numeric, 8) || pg_temp.f_text(2, e ->> 'name') ||
                       pg_temp.pairs(3, e -> 'attributes') || pg_temp.f_varint(4, (e ->> 'droppedAttributesCount')::numeric)), '' ORDER BY n), '')
              FROM jsonb_array_elements(s -> 'events') WITH ORDINALITY a (e, n)) || pg_temp.f_varint(12, (s ->> 'droppedEventsCount')::numeric) ||
           (SELECT coalesce(string_agg(pg_temp.f_bytes(13, pg_temp.f_bytes(1, decode(l ->> 'traceId', 'hex')) || pg_temp.f_bytes(2, decode(l ->> 'spanId', 'hex')) ||
                       pg_temp.f_text(3, l ->> 'traceState') || pg_temp.pairs(4, l -> 'attributes') || pg_temp.f_varint(5, (l ->> 'droppedAttributesCount')::numeric) ||
                       pg_temp.f_fixed(6, (l ->> 'flags')::numeric, 4)), '' ORDER BY n), '')
              FROM jsonb_array_elements(s -> 'links') WITH ORDINALITY a (l, n)) || pg_temp.f_varint(14, (s ->> 'droppedLinksCount')::numeric) ||
           CASE WHEN s ? 'status' THEN pg_temp.f_bytes(15, pg_temp.f_text(2, s -> 'status' ->> 'message') || pg_temp.f_varint(3, (s -> 'status' ->> 'code')::numeric)) ELSE '' END ||
           pg_temp.f_fixed(16, (s ->> 'flags')::numeric, 4) $$;
CREATE FUNCTION pg_temp.log_record(l jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.f_fixed(1, (l ->> 'timeUnixNano')::numeric, 8) || pg_temp.f_varint(2, (l ->> 'severityNumber')::numeric) || pg_temp.f_text(3, l ->> 'severityText') ||
           CASE WHEN l ? 'body' THEN pg_temp.f_bytes(5, pg_temp.any_value(l -> 'body')) ELSE '' END || pg_temp.pairs(6, l -> 'attributes') ||
           pg_temp.f_varint(7, (l ->> 'droppedAttributesCount')::numeric) || pg_temp.f_fixed(8, (l ->> 'flags')::numeric, 4) ||
           pg_temp.f_bytes(9, decode(l ->> 'traceId', 'hex')) || pg_temp.f_bytes(10, decode(l ->> 'spanId', 'hex')) ||
           pg_temp.f_fixed(11, (l ->> 'observedTimeUnixNano')::numeric, 8) || pg_temp.f_text(12, l ->> 'eventName') $$;
CREATE FUNCTION pg_temp.scope(s jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN s ? 'scope' THEN pg_temp.f_bytes(1, pg_temp.f_text(1, s -> 'scope' ->> 'name') || pg_temp.f_text(2, s -> 'scope' ->> 'version') ||
               pg_temp.pairs(3, s -> 'scope' -> 'attributes') || pg_temp.f_varint(4, (s -> 'scope' ->> 'droppedAttributesCount')::numeric)) ELSE '' END ||
           (SELECT coalesce(string_agg(pg_temp.f_bytes(2, pg_temp.span(r)), '' ORDER BY n), '') FROM jsonb_array_elements(s -> 'spans') WITH ORDINALITY a (r, n)) ||
           (SELECT coalesce(string_agg(pg_temp.f_bytes(2, pg_temp.log_record(r)), '' ORDER BY n), '') FROM jsonb_array_elements(s -> 'logRecords') WITH ORDINALITY a (r, n)) ||
           pg_temp.f_text(3, s ->> 'schemaUrl') $$;
CREATE FUNCTION pg_temp.wire(request jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(string_agg(pg_temp.f_bytes(1,
               CASE WHEN r ? 'resource' THEN pg_temp.f_bytes(1, pg_temp.pairs(1, r -> 'resource' -> 'attributes') ||
                   pg_temp.f_varint(2, (r -> 'resource' ->> 'droppedAttributesCount')::numeric)) ELSE '' END ||
               (SELECT coalesce(string_agg(pg_temp.f_bytes(2, pg_temp.scope(s)), '' ORDER BY m), '')
                  FROM jsonb_array_elements(coalesce(r -> 'scopeSpans', r -> 'scopeLogs')) WITH ORDINALITY b (s, m)) ||
               pg_temp.f_text(3, r ->> 'schemaUrl')), '' ORDER BY n), '')
      FROM jsonb_array_elements(coalesce(request -> 'resourceSpans', request -> 'resourceLogs')) WITH ORDINALITY a (r, n) $$;
