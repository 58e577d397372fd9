-- Rollups: sums over base rows and deltas, so they are right over the rows of all nodes
-- as well. Each of these tables has none of its own here and a foreign table a node as
-- a child; the queries are the store's.

CREATE TABLE trace_ext_internal.shard_tables (
    parent  text PRIMARY KEY,
    remote  text NOT NULL
);
COMMENT ON TABLE trace_ext_internal.shard_tables IS 'tables that have a foreign table of each node as a child';
COMMENT ON COLUMN trace_ext_internal.shard_tables.parent IS 'the table, with its schema';
COMMENT ON COLUMN trace_ext_internal.shard_tables.remote IS 'the table or view on the nodes, with its schema';
INSERT INTO trace_ext_internal.shard_tables VALUES
    ('trace_ext.count_base', 'trace_ext.count_base'),
    ('trace_ext.count_deltas', 'trace_ext_internal.node_count_deltas'),
    ('trace_ext.operation_base', 'trace_ext.operation_base'),
    ('trace_ext.operation_totals', 'trace_ext.operation_totals'),
    ('trace_ext.kind_totals', 'trace_ext.kind_totals'),
    ('trace_ext.gone_totals', 'trace_ext.gone_totals'),
    ('trace_ext.service_seen', 'trace_ext.service_seen'),
    ('trace_ext.summary_deltas', 'trace_ext.summary_deltas'),
    ('trace_ext.call_base', 'trace_ext.call_base'),
    ('trace_ext.call_totals', 'trace_ext.call_totals'),
    ('trace_ext.trace_links', 'trace_ext.trace_links'),
    ('trace_ext_internal.all_trace_summaries', 'trace_ext.trace_summaries');

CREATE TABLE trace_ext_internal.all_trace_summaries (LIKE trace_summaries);
COMMENT ON TABLE trace_ext_internal.all_trace_summaries IS 'trace_summaries of all nodes: a trace that straddles an epoch may have a row on each of two';

CREATE FUNCTION trace_ext_internal.make_node_tables(name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    t trace_ext_internal.shard_tables;
    child text;
BEGIN
    FOR t IN SELECT * FROM trace_ext_internal.shard_tables LOOP
        child := split_part(t.parent, '.', 2) || '_' || make_node_tables.name;
        EXECUTE format('CREATE FOREIGN TABLE trace_ext_internal.%I () INHERITS (%s) SERVER %I OPTIONS (schema_name %L, table_name %L)',
                       child, t.parent, 'trace_ext_' || make_node_tables.name, split_part(t.remote, '.', 1), split_part(t.remote, '.', 2));
        EXECUTE format('COMMENT ON FOREIGN TABLE trace_ext_internal.%I IS %L', child, t.parent || ' of one node');
    END LOOP;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.make_node_tables(text) IS 'makes the foreign tables of a node, one of each of shard_tables';

-- One operation may have a row of each node. Where a query takes it to have one, it reads this.
ALTER TABLE operation_totals RENAME TO operation_totals_of_nodes;
UPDATE trace_ext_internal.shard_tables SET parent = 'trace_ext.operation_totals_of_nodes' WHERE parent = 'trace_ext.operation_totals';
CREATE VIEW operation_totals AS
SELECT service_name, kind, operation, sum(event_count)::bigint AS event_count, sum(error_count)::bigint AS error_count,
       sum(write_count)::bigint AS write_count, trace_ext.merge(latency) AS latency
  FROM trace_ext.operation_totals_of_nodes GROUP BY service_name, kind, operation;
COMMENT ON VIEW operation_totals IS 'operation_totals of all nodes, added up';
COMMENT ON TABLE operation_totals_of_nodes IS 'operation_totals of all nodes, as they are there';

CREATE OR REPLACE FUNCTION count_events() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (SELECT coalesce(sum(a.answer::bigint), 0) FROM trace_ext_internal.ask_nodes('SELECT trace_ext.count_events()::text') a);
END
$$;
