-- What is beside events of OpenTelemetry. Links are on the node of their span, which
-- counts calls by them. Resources and scopes, few and the same for many events, are here
-- and on every node.

DROP TRIGGER trace_ext_note_insert ON trace_links;
DROP TRIGGER trace_ext_note_update ON trace_links;
DROP TRIGGER trace_ext_note_delete ON trace_links;
DROP TRIGGER trace_ext_note_truncate ON trace_links;

CREATE FUNCTION trace_ext_internal.send_link() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM FROM trace_ext_internal.ask_each(ARRAY[trace_ext.node_of(NEW.trace_id, NEW."timestamp")],
        ARRAY[format('SELECT trace_ext_internal.keep_sources(''[]'', ''[]'', %L)::text', jsonb_build_array(to_jsonb(NEW)))]);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.send_link() IS 'row trigger on trace_links: stores a link on the node of its span';
CREATE TRIGGER trace_ext_send BEFORE INSERT ON trace_links FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.send_link();
COMMENT ON TRIGGER trace_ext_send ON trace_links IS 'stores a link on the node of its span';

CREATE FUNCTION trace_ext_internal.send_source() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM FROM (SELECT array_agg(n.name) AS names FROM trace_ext_internal.shard_nodes n) AS s,
            LATERAL trace_ext_internal.ask_each(s.names, array_fill(
                format(CASE TG_TABLE_NAME WHEN 'otlp_scopes' THEN 'SELECT trace_ext_internal.keep_sources(''[]'', %L, ''[]'')::text'
                                          ELSE 'SELECT trace_ext_internal.keep_sources(%L, ''[]'', ''[]'')::text' END, jsonb_build_array(to_jsonb(NEW))),
                ARRAY[cardinality(s.names)]));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.send_source() IS 'row trigger on resources and scopes of OpenTelemetry: stores a new one on all nodes as well';
CREATE TRIGGER trace_ext_send AFTER INSERT ON otlp_resources FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.send_source();
CREATE TRIGGER trace_ext_send AFTER INSERT ON otlp_scopes FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.send_source();
COMMENT ON TRIGGER trace_ext_send ON otlp_resources IS 'stores a new one on all nodes as well';
COMMENT ON TRIGGER trace_ext_send ON otlp_scopes IS 'stores a new one on all nodes as well';
