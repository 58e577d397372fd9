-- ingest_events(): the batches that clients post.

CREATE FUNCTION ingest_events(batch jsonb, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_ingest_jsonb';
COMMENT ON FUNCTION ingest_events(jsonb) IS
    'stores a batch of events, {"events": [...]} or an array; returns how many were inserted, were there already (same trace_id, id '
    'and timestamp), and were rejected. A rejected event is kept with the reason in ingest_errors, the others go in. '
    'Fails where the value is no batch at all';

CREATE FUNCTION ingest_events(batch text, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_ingest_text';
COMMENT ON FUNCTION ingest_events(text) IS
    'as ingest_events(jsonb), of JSON text: what jsonb cannot hold (\u0000, lone surrogates, deep nesting) rejects its event only, '
    'where a cast to jsonb would fail the batch. A quoted literal and an untyped parameter come here';

-- What drivers send that type a JSON parameter; in memory json is text.
CREATE FUNCTION ingest_events(batch json, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_ingest_text';
COMMENT ON FUNCTION ingest_events(json) IS
    'as ingest_events(text); the cast to json has checked the grammar of the whole batch before, but lets \u0000 through';

-- A dump brings rejected events with their numbers, which others may have by then.
CREATE FUNCTION trace_ext_internal.keep_ingest_error() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    WHILE EXISTS (SELECT FROM trace_ext.ingest_errors e WHERE e.id = NEW.id) LOOP
        NEW.id := nextval('trace_ext.ingest_errors_id_seq');
    END LOOP;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_ingest_error() IS 'row trigger on ingest_errors: gives an event of a restored dump another number where its own is taken';
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON ingest_errors
    FOR EACH ROW WHEN (current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION trace_ext_internal.keep_ingest_error();
COMMENT ON TRIGGER trace_ext_keep ON ingest_errors IS 'gives an event of a restored dump another number where its own is taken';
