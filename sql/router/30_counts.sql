-- Counts: sums over nodes, which are exact each.

CREATE OR REPLACE FUNCTION count_events() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(sum(a.answer::bigint), 0)::bigint FROM trace_ext_internal.ask_nodes('SELECT trace_ext.count_events()::text') a
    $$;
