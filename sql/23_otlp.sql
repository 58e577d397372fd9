-- ingest_otlp(): what SDKs of OpenTelemetry export.

CREATE TABLE otlp_resources (
    id                       bigint PRIMARY KEY,
    attributes               jsonb,
    dropped_attributes_count bigint,
    schema_url               text
);
COMMENT ON TABLE otlp_resources IS
    'who sent spans and log records of OpenTelemetry: each resource once; attributes.otlp.resource of the first event of a span, and of a log record, is its id';
COMMENT ON COLUMN otlp_resources.id IS 'a hash of the other columns';
COMMENT ON COLUMN otlp_resources.attributes IS 'its attributes, as docs/otlp.md says';
COMMENT ON COLUMN otlp_resources.dropped_attributes_count IS 'how many attributes the client left out; NULL: none';
COMMENT ON COLUMN otlp_resources.schema_url IS 'the schema that its attributes follow';

CREATE TABLE otlp_scopes (
    id                       bigint PRIMARY KEY,
    name                     text,
    version                  text,
    attributes               jsonb,
    dropped_attributes_count bigint,
    schema_url               text
);
COMMENT ON TABLE otlp_scopes IS
    'which library or part of a program made spans and log records of OpenTelemetry: each scope once; attributes.otlp.scope of the first event of a span, and of a log record, is its id';
COMMENT ON COLUMN otlp_scopes.id IS 'a hash of the other columns';
COMMENT ON COLUMN otlp_scopes.name IS 'the name of the library or of the part';
COMMENT ON COLUMN otlp_scopes.version IS 'its version';
COMMENT ON COLUMN otlp_scopes.attributes IS 'its attributes, as docs/otlp.md says';
COMMENT ON COLUMN otlp_scopes.dropped_attributes_count IS 'how many attributes the client left out; NULL: none';
COMMENT ON COLUMN otlp_scopes.schema_url IS 'the schema that its spans and log records follow';

CREATE TABLE trace_links (
    trace_id         uuid NOT NULL,
    span_id          text NOT NULL,
    linked_trace_id  uuid NOT NULL,
    linked_span_id   text NOT NULL,
    "timestamp"      timestamptz NOT NULL,
    attributes       jsonb,
    PRIMARY KEY (trace_id, span_id, linked_trace_id, linked_span_id)
);
-- Who is linked to a span, from any trace.
CREATE INDEX trace_links_linked_idx ON trace_links (linked_trace_id, linked_span_id);
-- Finds links whose trace has left.
CREATE INDEX trace_links_timestamp_idx ON trace_links ("timestamp");
COMMENT ON TABLE trace_links IS 'spans that name another one, mostly of another trace: a consumer its producer';
COMMENT ON INDEX trace_links_linked_idx IS 'who is linked to a span';
COMMENT ON INDEX trace_links_timestamp_idx IS 'links by time';
COMMENT ON COLUMN trace_links.trace_id IS 'the trace of the span that has the link';
COMMENT ON COLUMN trace_links.span_id IS 'that span, as in events.span_id';
COMMENT ON COLUMN trace_links.linked_trace_id IS 'the trace of the span that it names';
COMMENT ON COLUMN trace_links.linked_span_id IS 'the span that it names';
COMMENT ON COLUMN trace_links."timestamp" IS 'when the span that has the link began';
COMMENT ON COLUMN trace_links.attributes IS 'attributes of the link, as docs/otlp.md says';

CREATE FUNCTION trace_ext_internal.otlp_start_id(trace_id uuid, span_id text) RETURNS uuid
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_otlp_start_id';
COMMENT ON FUNCTION trace_ext_internal.otlp_start_id(uuid, text) IS 'the id that ingest_otlp() gives to the first event of a span; NULL where the id of the span is none of OpenTelemetry';

CREATE FUNCTION ingest_otlp(request jsonb, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_ingest_otlp_jsonb';
COMMENT ON FUNCTION ingest_otlp(jsonb) IS
    'stores spans or log records of OpenTelemetry, {"resourceSpans": [...]} or {"resourceLogs": [...]}; returns how many events were inserted, '
    'how many were there already, and how many spans and log records were rejected. Those are kept with the reason in ingest_errors, the first '
    '1,000 of a body; the others go in. Fails where the value is no such request at all';

CREATE FUNCTION ingest_otlp(request text, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_ingest_otlp_text';
COMMENT ON FUNCTION ingest_otlp(text) IS
    'as ingest_otlp(jsonb), of JSON text, with \u0000 and lone surrogates, for which a cast to jsonb would fail';

-- What drivers send that type a JSON parameter; in memory json is text.
CREATE FUNCTION ingest_otlp(request json, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_ingest_otlp_text';
COMMENT ON FUNCTION ingest_otlp(json) IS 'as ingest_otlp(text)';

CREATE FUNCTION ingest_otlp(request bytea, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_ingest_otlp_bytea';
COMMENT ON FUNCTION ingest_otlp(bytea) IS
    'as ingest_otlp(jsonb), of the body that an exporter posts: protobuf (ExportTraceServiceRequest, ExportLogsServiceRequest) or JSON, '
    'with or without gzip; longer ones than trace_ext.otlp_max_size, when unpacked, are refused';

-- A dump may bring what is there by now: whoever sent it, it is the same.
CREATE FUNCTION trace_ext_internal.keep_otlp() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    is_there boolean;
BEGIN
    IF TG_TABLE_NAME = 'trace_links' THEN
        SELECT count(*) > 0 INTO is_there FROM trace_ext.trace_links l
         WHERE (l.trace_id, l.span_id, l.linked_trace_id, l.linked_span_id) = (NEW.trace_id, NEW.span_id, NEW.linked_trace_id, NEW.linked_span_id);
    ELSE
        EXECUTE format('SELECT count(*) > 0 FROM trace_ext.%I t WHERE t.id = $1', TG_TABLE_NAME) INTO is_there USING NEW.id;
    END IF;
    RETURN CASE WHEN NOT is_there THEN NEW END;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_otlp() IS 'row trigger on resources, scopes and links of OpenTelemetry: leaves out rows of a restored dump that are there';
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON otlp_resources
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.keep_otlp();
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON otlp_scopes
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.keep_otlp();
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON trace_links
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.keep_otlp();
COMMENT ON TRIGGER trace_ext_keep ON otlp_resources IS 'leaves out rows of a restored dump that are there';
COMMENT ON TRIGGER trace_ext_keep ON otlp_scopes IS 'leaves out rows of a restored dump that are there';
COMMENT ON TRIGGER trace_ext_keep ON trace_links IS 'leaves out rows of a restored dump that are there';

-- What clients sent is dumped.
SELECT pg_catalog.pg_extension_config_dump('otlp_resources', '');
SELECT pg_catalog.pg_extension_config_dump('otlp_scopes', '');
SELECT pg_catalog.pg_extension_config_dump('trace_links', '');
