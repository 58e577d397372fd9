-- What goes out: traces in the formats of others, and the header that hands on which trace a request is of.

CREATE FUNCTION export_otlp(trace_id uuid) RETURNS jsonb
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_export_otlp';
COMMENT ON FUNCTION export_otlp(uuid) IS
    'a trace as OTLP/JSON: {"resourceSpans": [...]} and {"resourceLogs": [...]} in one object, each where there are such. What came in by ingest_otlp() goes out equal, but for the order and what OpenTelemetry takes for the same as missing; other events are folded into spans, their ids made of those of the events. NULL, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION export_otlp(trace_id text) RETURNS jsonb
    LANGUAGE sql STABLE STRICT
    BEGIN ATOMIC
    SELECT trace_ext.export_otlp(trace_ext_internal.trace_named($1));
    END;
COMMENT ON FUNCTION export_otlp(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

CREATE FUNCTION export_otlp(trace_ids uuid[]) RETURNS jsonb
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_export_otlp_array';
COMMENT ON FUNCTION export_otlp(uuid[]) IS
    'several traces in one document, each once; a NOTICE for each that is not stored, and an empty document if none is';

CREATE FUNCTION export_jaeger(trace_id uuid) RETURNS jsonb
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_export_jaeger';
COMMENT ON FUNCTION export_jaeger(uuid) IS
    'a trace as the JSON of Jaegers query service, which its UI loads from a file. NULL, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION export_jaeger(trace_id text) RETURNS jsonb
    LANGUAGE sql STABLE STRICT
    BEGIN ATOMIC
    SELECT trace_ext.export_jaeger(trace_ext_internal.trace_named($1));
    END;
COMMENT ON FUNCTION export_jaeger(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

CREATE FUNCTION export_jaeger(trace_ids uuid[]) RETURNS jsonb
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_export_jaeger_array';
COMMENT ON FUNCTION export_jaeger(uuid[]) IS
    'several traces in one document, each once; a NOTICE for each that is not stored, and an empty document if none is';

CREATE FUNCTION export_zipkin(trace_id uuid) RETURNS jsonb
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_export_zipkin';
COMMENT ON FUNCTION export_zipkin(uuid) IS
    'a trace as Zipkins JSON v2: a list of spans. NULL, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION export_zipkin(trace_id text) RETURNS jsonb
    LANGUAGE sql STABLE STRICT
    BEGIN ATOMIC
    SELECT trace_ext.export_zipkin(trace_ext_internal.trace_named($1));
    END;
COMMENT ON FUNCTION export_zipkin(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

CREATE FUNCTION export_zipkin(trace_ids uuid[]) RETURNS jsonb
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_export_zipkin_array';
COMMENT ON FUNCTION export_zipkin(uuid[]) IS
    'several traces in one document, each once; a NOTICE for each that is not stored, and an empty document if none is';

CREATE FUNCTION export_chrome(trace_id uuid) RETURNS jsonb
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_export_chrome';
COMMENT ON FUNCTION export_chrome(uuid) IS
    'a trace in the Trace Event Format of Chrome, which ui.perfetto.dev loads from a file. NULL, and a NOTICE, for a trace that is not stored';

CREATE FUNCTION export_chrome(trace_id text) RETURNS jsonb
    LANGUAGE sql STABLE STRICT
    BEGIN ATOMIC
    SELECT trace_ext.export_chrome(trace_ext_internal.trace_named($1));
    END;
COMMENT ON FUNCTION export_chrome(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

CREATE FUNCTION export_chrome(trace_ids uuid[]) RETURNS jsonb
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_export_chrome_array';
COMMENT ON FUNCTION export_chrome(uuid[]) IS
    'several traces in one document, each once; a NOTICE for each that is not stored, and an empty document if none is';

CREATE FUNCTION parse_traceparent(
    traceparent text, OUT version int, OUT trace_id uuid, OUT span_id text, OUT flags int, OUT sampled boolean)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_parse_traceparent';
COMMENT ON FUNCTION parse_traceparent(text) IS
    'the fields of a header traceparent (W3C Trace Context): 00-trace id-span id-flags, in lower case. All NULL where it is malformed, has an id of zeros or version ff, '
    'as that specification has it ignored; of a version to come the first four fields are read';

CREATE FUNCTION format_traceparent(trace_id uuid, span_id text, sampled boolean = true) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_format_traceparent';
COMMENT ON FUNCTION format_traceparent(uuid, text, boolean) IS
    'the header traceparent, of version 00, by which a request goes on under this trace and span. Fails for ids of zeros and for a span id that is not of 16 hexadecimal digits';

CREATE FUNCTION format_traceparent(trace_id text, span_id text, sampled boolean = true) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
    SELECT trace_ext.format_traceparent($1::uuid, $2, $3);
    END;
COMMENT ON FUNCTION format_traceparent(text, text, boolean) IS 'the same, with the id of the trace as text';
