-- Nodes: whole stores, each behind a foreign server; and epochs: from when on which of
-- them takes new events.
--
-- What is read and written on a node goes through postgres_fdw, so it is in one
-- transaction with all else there. Its user mapping is PUBLIC's: who may do what is
-- decided here, by rights on tables and functions, as in a store.

CREATE TABLE trace_ext_internal.shard_nodes (
    name      text        PRIMARY KEY CHECK (name ~ '^[a-z_][a-z0-9_]{0,39}$'),
    state     text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'draining')),
    identity  text        NOT NULL UNIQUE,
    added_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE trace_ext_internal.shard_nodes IS 'the nodes; what each looks like now is in the view nodes';
COMMENT ON COLUMN trace_ext_internal.shard_nodes.name IS 'its name; the foreign server is trace_ext_ and the name';
COMMENT ON COLUMN trace_ext_internal.shard_nodes.state IS 'active: takes new events; draining: takes none from the last epoch on';
COMMENT ON COLUMN trace_ext_internal.shard_nodes.identity IS 'cluster and database: no store is a node twice';
COMMENT ON COLUMN trace_ext_internal.shard_nodes.added_at IS 'when it was added';

CREATE TABLE trace_ext_internal.shard_epochs (
    epoch      int         PRIMARY KEY,
    starts_at  timestamptz NOT NULL UNIQUE,
    nodes      text[]      NOT NULL CHECK (cardinality(nodes) > 0)
);
COMMENT ON TABLE trace_ext_internal.shard_epochs IS 'which nodes events of a time are on, by the hash of their trace_id';
COMMENT ON COLUMN trace_ext_internal.shard_epochs.epoch IS 'ascending number';
COMMENT ON COLUMN trace_ext_internal.shard_epochs.starts_at IS 'time of its first events; its end is the start of the next';
COMMENT ON COLUMN trace_ext_internal.shard_epochs.nodes IS 'nodes[1 + hash of trace_id modulo their number] has the event; a name that is no node any more was removed';
SELECT pg_catalog.pg_extension_config_dump('trace_ext_internal.shard_nodes', '');
SELECT pg_catalog.pg_extension_config_dump('trace_ext_internal.shard_epochs', '');

-- One query with all nodes in it, so that they work at a time. Who is asked has to answer.
-- An answer is text. Where more than one value comes of it, it is read in a subquery with OFFSET 0: else each value would read it anew.
CREATE FUNCTION trace_ext_internal.ask_each(nodes text[], queries text[]) RETURNS TABLE (node text, answer text)
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_partition_pruning = on SET trace_ext.node_down = 'error'
    AS 'MODULE_PATHNAME', 'tex_ask_each';
COMMENT ON FUNCTION trace_ext_internal.ask_each(text[], text[]) IS 'asks each of some nodes its own query, which returns one column of text; all at a time';

-- An answer without a node that is down is offered to those only who ask for it.
CREATE FUNCTION trace_ext_internal.nodes_down() RETURNS text[]
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'tex_nodes_down';
COMMENT ON FUNCTION trace_ext_internal.nodes_down() IS
    'with trace_ext.node_down = partial the nodes that are down, as found out once a statement, with a WARNING that names each; else none';

CREATE FUNCTION trace_ext_internal.nodes_to_ask() RETURNS text[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    all_of_them constant text[] := ARRAY(SELECT n.name FROM trace_ext_internal.shard_nodes n ORDER BY n.name);
    down text[];
BEGIN
    IF cardinality(all_of_them) = 0 THEN
        RAISE EXCEPTION 'the router has no node' USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Add one with trace_ext.add_node(name, connection_string).';
    END IF;
    down := trace_ext_internal.nodes_down();
    RETURN ARRAY(SELECT u.name FROM unnest(all_of_them) WITH ORDINALITY AS u (name, n) WHERE u.name <> ALL (down) ORDER BY u.n);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.nodes_to_ask() IS 'all nodes; with trace_ext.node_down = partial those that are up';

CREATE FUNCTION trace_ext_internal.ask_nodes(query text) RETURNS TABLE (node text, answer text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    nodes constant text[] := trace_ext_internal.nodes_to_ask();
BEGIN
    RETURN QUERY SELECT a.node, a.answer FROM trace_ext_internal.ask_each(nodes, array_fill(query, ARRAY[cardinality(nodes)])) a;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.ask_nodes(text) IS 'asks all nodes one query, which returns one column of text';

--
-- Epochs
--

CREATE FUNCTION trace_ext_internal.attach_epoch(number int) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, MDY'
    AS $$
DECLARE
    e trace_ext_internal.shard_epochs;
    until timestamptz;
    part constant text := 'events_epoch_' || number;
    host text;
BEGIN
    SELECT * INTO STRICT e FROM trace_ext_internal.shard_epochs s WHERE s.epoch = number;
    SELECT coalesce(min(s.starts_at), 'infinity') INTO until FROM trace_ext_internal.shard_epochs s WHERE s.starts_at > e.starts_at;
    -- The views on the nodes first: they have the same bounds.
    PERFORM trace_ext_internal.ask_each(array_agg(n.name), array_agg(format('SELECT trace_ext_internal.make_epoch(%s, %L, %L)', number, e.starts_at, until)))
       FROM trace_ext_internal.shard_nodes n WHERE n.name = ANY (e.nodes);
    IF to_regclass('trace_ext_internal.' || part) IS NULL THEN
        EXECUTE format('CREATE TABLE trace_ext_internal.%I (LIKE trace_ext.events INCLUDING CONSTRAINTS) PARTITION BY HASH (trace_id)', part);
        EXECUTE format('COMMENT ON TABLE trace_ext_internal.%I IS %L', part, 'events of an epoch');
        FOR i IN 1 .. cardinality(e.nodes) LOOP
            EXECUTE format('CREATE FOREIGN TABLE trace_ext_internal.%I PARTITION OF trace_ext_internal.%I FOR VALUES WITH (MODULUS %s, REMAINDER %s) '
                           'SERVER %I OPTIONS (schema_name ''trace_ext_internal'', table_name %L)',
                           part || '_' || e.nodes[i], part, cardinality(e.nodes), i - 1, 'trace_ext_' || e.nodes[i], 'events_of_epoch_' || number);
            EXECUTE format('COMMENT ON FOREIGN TABLE trace_ext_internal.%I IS %L', part || '_' || e.nodes[i], 'events of an epoch on one node');
        END LOOP;
    END IF;
    EXECUTE format('ALTER TABLE trace_ext.events ATTACH PARTITION trace_ext_internal.%I FOR VALUES FROM (%s) TO (%s)', part,
                   CASE WHEN e.starts_at = '-infinity' THEN 'MINVALUE' ELSE quote_literal(e.starts_at) END,
                   CASE WHEN until = 'infinity' THEN 'MAXVALUE' ELSE quote_literal(until) END);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.attach_epoch(int) IS 'makes an epoch a partition of events, on the nodes as well; it is none before';

CREATE FUNCTION trace_ext_internal.detach_epoch(number int) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    EXECUTE format('ALTER TABLE trace_ext.events DETACH PARTITION trace_ext_internal.%I', 'events_epoch_' || number);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.detach_epoch(int) IS 'takes an epoch out of events, to give it other bounds';

-- Nothing is moved: the nodes change for what is stamped later than all that is stored.
CREATE FUNCTION trace_ext_internal.begin_epoch(active text[], "from" timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, MDY'
    AS $$
DECLARE
    last trace_ext_internal.shard_epochs;
    has_events boolean;
    number int;
    late text;
BEGIN
    LOCK TABLE trace_ext.events IN ACCESS EXCLUSIVE MODE;
    SELECT * INTO last FROM trace_ext_internal.shard_epochs s ORDER BY s.starts_at DESC LIMIT 1;
    IF NOT FOUND THEN
        INSERT INTO trace_ext_internal.shard_epochs VALUES (1, '-infinity', active);
        PERFORM trace_ext_internal.attach_epoch(1);
        RETURN;
    END IF;
    -- An epoch that has no events yet takes the nodes as they are now.
    EXECUTE format('SELECT EXISTS (SELECT FROM trace_ext_internal.%I)', 'events_epoch_' || last.epoch) INTO has_events;
    IF NOT has_events AND ("from" IS NULL OR "from" <= last.starts_at) THEN
        PERFORM trace_ext_internal.detach_epoch(last.epoch);
        EXECUTE format('DROP TABLE trace_ext_internal.%I', 'events_epoch_' || last.epoch);
        UPDATE trace_ext_internal.shard_epochs s SET nodes = active WHERE s.epoch = last.epoch;
        PERFORM trace_ext_internal.attach_epoch(last.epoch);
        RETURN;
    END IF;
    "from" := coalesce("from", date_trunc('hour', greatest(now() + interval '5 min', last.starts_at), 'UTC') + interval '1 hour');
    IF "from" <= last.starts_at OR NOT isfinite("from") THEN
        RAISE EXCEPTION 'the next epoch must begin after the last one, which began at %', last.starts_at USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT string_agg(a.node, ', ' ORDER BY a.node) INTO late
      FROM trace_ext_internal.ask_each(last.nodes, array_fill(
           format('SELECT ''1''::text WHERE EXISTS (SELECT FROM trace_ext.events WHERE "timestamp" >= %L)', "from"), ARRAY[cardinality(last.nodes)])) a;
    IF late IS NOT NULL THEN
        RAISE EXCEPTION 'the next epoch cannot begin at %: later events are stored already', "from" USING ERRCODE = 'invalid_parameter_value',
              DETAIL = 'They are on ' || late || '.', HINT = 'Name a later time as "from", or delete events that a wrong clock stamped.';
    END IF;
    number := last.epoch + 1;
    PERFORM trace_ext_internal.detach_epoch(last.epoch);
    INSERT INTO trace_ext_internal.shard_epochs VALUES (number, "from", active);
    PERFORM trace_ext_internal.attach_epoch(last.epoch);
    PERFORM trace_ext_internal.attach_epoch(number);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.begin_epoch(text[], timestamptz) IS
    'has these nodes take what is stamped from then on; NULL: at once where the last epoch is empty, else from a full hour on';

--
-- Adding and removing
--

-- "host=a password='b c'" as names and values. URIs are not read.
CREATE FUNCTION trace_ext_internal.connection_options(connection_string text) RETURNS TABLE (name text, value text)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    pair constant text := '\s*([a-z_]+)\s*=\s*(''(?:[^''\\]|\\.)*''|[^\s''\\]+)\s*';
BEGIN
    -- Without the string in the message: it may have a password.
    IF connection_string !~ ('^(' || pair || ')*$') THEN
        RAISE EXCEPTION 'the connection string cannot be read' USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Write name=value with blanks between, as host=10.0.0.7 port=5432 dbname=traces user=router password=''...''.';
    END IF;
    RETURN QUERY SELECT m[1], CASE WHEN m[2] LIKE '''%' THEN regexp_replace(substr(m[2], 2, length(m[2]) - 2), '\\(.)', '\1', 'g') ELSE m[2] END
       FROM regexp_matches(connection_string, pair, 'g') m;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.connection_options(text) IS 'the names and values of a connection string';

CREATE FUNCTION trace_ext_internal.connect_node(name text, connection_string text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    server constant text := 'trace_ext_' || name;
    is_superuser constant boolean := (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = trace_ext_internal.caller());
    of_account constant text[] := ARRAY['user', 'password', 'sslcert', 'sslkey', 'sslpassword'];
    for_server text;
    for_account text;
BEGIN
    SELECT string_agg(format('%I %L', o.name, o.value), ', ') FILTER (WHERE o.name <> ALL (of_account)),
           string_agg(format('%I %L', o.name, o.value), ', ') FILTER (WHERE o.name = ANY (of_account))
      INTO for_server, for_account FROM trace_ext_internal.connection_options(connection_string) o;
    -- As postgres_fdw has it: what reaches a database without a password does so by what the server's own account may do.
    IF NOT is_superuser AND NOT EXISTS (SELECT FROM trace_ext_internal.connection_options(connection_string) o WHERE o.name = 'password') THEN
        RAISE EXCEPTION 'a password is required' USING ERRCODE = 'insufficient_privilege',
              HINT = 'Only a superuser may add a node that is reached without one.';
    END IF;
    -- A router that was here before leaves its servers.
    IF EXISTS (SELECT FROM pg_foreign_server f WHERE f.srvname = server AND obj_description(f.oid, 'pg_foreign_server') = 'a node of trace_ext') THEN
        EXECUTE format('DROP SERVER %I CASCADE', server);
    END IF;
    EXECUTE format('CREATE SERVER %I FOREIGN DATA WRAPPER postgres_fdw OPTIONS (extensions ''trace_ext_router'', async_capable ''true'', '
                   'fetch_size ''10000'', batch_size ''100''%s%s)', server,
                   CASE WHEN for_server LIKE '%connect_timeout %' THEN '' ELSE ', connect_timeout ''10''' END ||
                   -- Two clients that wait for each other, each on another node, no node can see.
                   CASE WHEN EXISTS (SELECT FROM trace_ext_internal.connection_options(connection_string) o WHERE o.name = 'options') THEN '' ELSE ', options ''-c lock_timeout=30s''' END,
                   coalesce(', ' || for_server, ''));
    EXECUTE format('CREATE USER MAPPING FOR PUBLIC SERVER %I%s', server,
                   coalesce(' OPTIONS (' || concat_ws(', ', for_account, CASE WHEN is_superuser THEN 'password_required ''false''' END) || ')', ''));
    EXECUTE format('CREATE FOREIGN TABLE trace_ext_internal.%I (call text, answer text) SERVER %I OPTIONS (schema_name ''trace_ext_internal'', table_name ''node_calls'')',
                   'calls_' || name, server);
    EXECUTE format('COMMENT ON FOREIGN TABLE trace_ext_internal.%I IS %L', 'calls_' || name, 'WHERE asked(call, query): what the node answers');
    EXECUTE format('COMMENT ON SERVER %I IS %L', server, 'a node of trace_ext');
    PERFORM trace_ext_internal.make_node_tables(name);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.connect_node(text, text) IS 'makes the foreign server of a node, its user mapping and the foreign tables that are read as tables';

-- What a node must be: a store of this version, an account that may do all that is asked, and no node already.
CREATE FUNCTION trace_ext_internal.judge_node(name text, OUT identity text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    mine constant text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'trace_ext_router');
    theirs text;
    may boolean;
    super boolean;
    sorts text;
    mine_sorts constant text := (SELECT d.datcollate || ' ' || pg_encoding_to_char(d.encoding) FROM pg_database d WHERE d.datname = current_database());
BEGIN
    BEGIN
        SELECT a.answer::jsonb ->> 'version', (a.answer::jsonb ->> 'may')::boolean, (a.answer::jsonb ->> 'super')::boolean, a.answer::jsonb ->> 'identity', a.answer::jsonb ->> 'sorts'
          INTO theirs, may, super, identity, sorts
          FROM trace_ext_internal.ask_each(ARRAY[name], ARRAY[$q$
            SELECT jsonb_build_object('version', (SELECT extversion FROM pg_extension WHERE extname = 'trace_ext'),
                'may', pg_has_role('trace_ext_admin', 'USAGE') AND pg_has_role('trace_ext_reader', 'USAGE') AND pg_has_role('trace_ext_writer', 'USAGE'),
                'super', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
                'sorts', (SELECT datcollate || ' ' || pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()),
                'identity', (SELECT system_identifier FROM pg_control_system()) || ' ' || (SELECT oid FROM pg_database WHERE datname = current_database()))::text
          $q$]) a;
    EXCEPTION WHEN undefined_table OR undefined_function OR invalid_schema_name THEN
        theirs := NULL;
    END;
    IF theirs IS NULL THEN
        RAISE EXCEPTION 'node "%" has no store of events', name USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'CREATE EXTENSION trace_ext in the database that the connection string names.';
    ELSIF theirs <> mine THEN
        RAISE EXCEPTION 'node "%" has version % of trace_ext, the router has %', name, theirs, mine USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Install one version on all of them.';
    ELSIF sorts <> mine_sorts THEN
        -- Comparisons and orders of texts are sent.
        RAISE EXCEPTION 'node "%" has texts of "%", the router of "%"', name, sorts, mine_sorts USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Create its database with the LC_COLLATE and the ENCODING of the router''s.';
    ELSIF NOT may THEN
        RAISE EXCEPTION 'the account of node "%" may not read and write all of its store', name USING ERRCODE = 'insufficient_privilege',
              HINT = 'On the node, GRANT trace_ext_reader, trace_ext_writer, trace_ext_admin to it.';
    ELSIF super AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = trace_ext_internal.caller()) THEN
        RAISE EXCEPTION 'the account of node "%" is a superuser', name USING ERRCODE = 'insufficient_privilege',
              HINT = 'Only a superuser may add a node by such an account; none is needed.';
    ELSIF EXISTS (SELECT FROM trace_ext_internal.shard_nodes n WHERE n.identity = judge_node.identity) THEN
        RAISE EXCEPTION 'this store is a node already, "%"', (SELECT n.name FROM trace_ext_internal.shard_nodes n WHERE n.identity = judge_node.identity)
              USING ERRCODE = 'duplicate_object';
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.judge_node(text) IS 'fails where a node cannot be one; else says which store it is';

CREATE FUNCTION trace_ext_internal.require_node(name text) RETURNS trace_ext_internal.shard_nodes
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    node trace_ext_internal.shard_nodes;
BEGIN
    SELECT * INTO node FROM trace_ext_internal.shard_nodes n WHERE n.name = require_node.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no node "%"', name USING ERRCODE = 'undefined_object', HINT = 'The view trace_ext.nodes lists them.';
    END IF;
    RETURN node;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.require_node(text) IS 'the node of that name';

CREATE FUNCTION add_node(name text, connection_string text, "from" timestamptz = NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    store text;
BEGIN
    IF name IS NULL OR connection_string IS NULL OR name !~ '^[a-z_][a-z0-9_]{0,39}$' THEN
        RAISE EXCEPTION 'a node has a name of small letters, digits and _, of at most 40, and a connection string' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE trace_ext_internal.shard_nodes IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM trace_ext_internal.shard_nodes n WHERE n.name = add_node.name) THEN
        RAISE EXCEPTION 'there is a node "%" already', name USING ERRCODE = 'duplicate_object';
    ELSIF EXISTS (SELECT FROM trace_ext_internal.shard_epochs e WHERE add_node.name = ANY (e.nodes)) THEN
        RAISE EXCEPTION 'there was a node "%"', name USING ERRCODE = 'duplicate_object', HINT = 'Give it another name: old epochs name the one that was removed.';
    END IF;
    PERFORM trace_ext_internal.connect_node(name, connection_string);
    store := trace_ext_internal.judge_node(name);
    -- What it has would be counted, but is of no epoch: only the first node may bring its own.
    IF EXISTS (SELECT FROM trace_ext_internal.shard_epochs)
       AND (SELECT a.answer::bigint > 0 FROM trace_ext_internal.ask_each(ARRAY[name], ARRAY['SELECT trace_ext.count_events()::text']) a) THEN
        RAISE EXCEPTION 'node "%" has events already', name USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Only the first node may have some. Add an empty store.';
    END IF;
    -- The router looks for races in its stead, between nodes too.
    PERFORM FROM trace_ext_internal.ask_each(ARRAY[name], ARRAY['SELECT trace_ext.alter_job(''detect'', enabled => false)::text']);
    INSERT INTO trace_ext_internal.shard_nodes (name, identity) VALUES (add_node.name, store);
    PERFORM trace_ext_internal.begin_epoch(ARRAY(SELECT n.name FROM trace_ext_internal.shard_nodes n WHERE n.state = 'active' ORDER BY n.added_at, n.name), "from");
END
$$;
COMMENT ON FUNCTION add_node(text, text, timestamptz) IS
    'adds a store as a node, by a connection string of name=value. It takes events stamped at or after "from": by default all where no event is stored yet, else from a full hour on; '
    'nothing is moved. Waits for who writes';

CREATE FUNCTION drain_node(name text, "from" timestamptz = NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    node trace_ext_internal.shard_nodes;
    others text[];
BEGIN
    LOCK TABLE trace_ext_internal.shard_nodes IN SHARE ROW EXCLUSIVE MODE;
    node := trace_ext_internal.require_node(name);
    IF node.state = 'draining' THEN
        RETURN;
    END IF;
    others := ARRAY(SELECT n.name FROM trace_ext_internal.shard_nodes n WHERE n.state = 'active' AND n.name <> node.name ORDER BY n.added_at, n.name);
    IF cardinality(others) = 0 THEN
        RAISE EXCEPTION 'node "%" is the last that takes events', name USING ERRCODE = 'object_in_use', HINT = 'Add another one first.';
    END IF;
    UPDATE trace_ext_internal.shard_nodes n SET state = 'draining' WHERE n.name = node.name;
    PERFORM trace_ext_internal.begin_epoch(others, "from");
END
$$;
COMMENT ON FUNCTION drain_node(text, timestamptz) IS
    'has a node take no events that are stamped at or after "from", by default a full hour soon; what it has stays until retention takes it';

CREATE FUNCTION trace_ext_internal.refuse_removed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'events of this time and trace belong to node "%", which was removed', TG_ARGV[0] USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
COMMENT ON FUNCTION trace_ext_internal.refuse_removed() IS 'row trigger on what stands for the part of a removed node: refuses late events';

CREATE FUNCTION remove_node(name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    node trace_ext_internal.shard_nodes;
    e trace_ext_internal.shard_epochs;
    events bigint;
    t record;
    part text;
BEGIN
    LOCK TABLE trace_ext_internal.shard_nodes IN SHARE ROW EXCLUSIVE MODE;
    node := trace_ext_internal.require_node(name);
    LOCK TABLE trace_ext.events IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM trace_ext_internal.shard_epochs s WHERE node.name = ANY (s.nodes)
                  AND s.starts_at = (SELECT max(l.starts_at) FROM trace_ext_internal.shard_epochs l)) THEN
        RAISE EXCEPTION 'node "%" takes events', name USING ERRCODE = 'object_in_use', HINT = 'drain_node() it first.';
    END IF;
    SELECT a.answer::bigint INTO events FROM trace_ext_internal.ask_each(ARRAY[node.name], ARRAY['SELECT trace_ext.count_events()::text']) a;
    IF events > 0 THEN
        RAISE EXCEPTION 'node "%" is not empty: it has % events', name, events USING ERRCODE = 'object_in_use',
              HINT = 'Retention empties it, or delete what it has.';
    END IF;
    FOR e IN SELECT * FROM trace_ext_internal.shard_epochs s WHERE node.name = ANY (s.nodes) LOOP
        part := format('events_epoch_%s_%s', e.epoch, node.name);
        EXECUTE format('DROP FOREIGN TABLE trace_ext_internal.%I', part);
        EXECUTE format('CREATE TABLE trace_ext_internal.%I PARTITION OF trace_ext_internal.%I FOR VALUES WITH (MODULUS %s, REMAINDER %s)', part,
                       'events_epoch_' || e.epoch, cardinality(e.nodes), array_position(e.nodes, node.name) - 1);
        EXECUTE format('COMMENT ON TABLE trace_ext_internal.%I IS %L', part, 'stands for what a removed node had');
        EXECUTE format('CREATE TRIGGER trace_ext_refuse BEFORE INSERT ON trace_ext_internal.%I FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.refuse_removed(%L)', part, node.name);
    END LOOP;
    PERFORM FROM trace_ext_internal.ask_each(ARRAY[node.name], ARRAY['SELECT trace_ext.alter_job(''detect'', enabled => true)::text']);
    FOR t IN SELECT c.oid::regclass AS place FROM pg_class c JOIN pg_foreign_table f ON f.ftrelid = c.oid JOIN pg_foreign_server s ON s.oid = f.ftserver
              WHERE s.srvname = 'trace_ext_' || node.name LOOP
        EXECUTE format('DROP FOREIGN TABLE %s', t.place);
    END LOOP;
    EXECUTE format('DROP SERVER %I CASCADE', 'trace_ext_' || node.name);
    DELETE FROM trace_ext_internal.shard_nodes n WHERE n.name = node.name;
END
$$;
COMMENT ON FUNCTION remove_node(text) IS 'takes a drained node out, once it has no event';

CREATE FUNCTION node_of(trace_id uuid, "timestamp" timestamptz) RETURNS text
    LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT e.nodes[1 + trace_ext_internal.hash_bucket($1, cardinality(e.nodes))]
      FROM trace_ext_internal.shard_epochs e WHERE e.starts_at <= $2 ORDER BY e.starts_at DESC LIMIT 1;
    END;
COMMENT ON FUNCTION node_of(uuid, timestamptz) IS 'the node that an event of this trace and time is on: for who sends COPY to nodes';

-- How a node is reached, for who adds nodes: no catalog shows a password to who is neither a superuser nor the owner.
CREATE FUNCTION node_connections() RETURNS TABLE (name text, connection_string text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT n.name, string_agg(format('%s=''%s''', o.option_name, regexp_replace(o.option_value, '([''\\])', '\\\1', 'g')), ' ' ORDER BY o.place, o.n)
      FROM trace_ext_internal.shard_nodes n JOIN pg_user_mappings m ON m.srvname = 'trace_ext_' || n.name AND m.umuser = 0
           JOIN pg_foreign_server f ON f.oid = m.srvid
           CROSS JOIN LATERAL (SELECT 1 AS place, row_number() OVER () AS n, s.option_name, s.option_value FROM pg_options_to_table(f.srvoptions) s
                               UNION ALL
                               SELECT 2, row_number() OVER (), u.option_name, u.option_value FROM pg_options_to_table(m.umoptions) u) AS o
     -- What postgres_fdw goes by is no part of it.
     WHERE o.option_name <> ALL (ARRAY['extensions', 'async_capable', 'fetch_size', 'batch_size', 'password_required'])
     GROUP BY n.name ORDER BY n.name;
    END;
COMMENT ON FUNCTION node_connections() IS 'how each node is reached, with the password, as add_node() takes it; for admins alone';

CREATE FUNCTION trace_ext_internal.node_states()
    RETURNS TABLE (name text, state text, epochs int[], events bigint, traces bigint, fold_lag interval, version text, last_error text, round_trip_ms double precision)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    n trace_ext_internal.shard_nodes;
    began timestamptz;
    mine constant text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'trace_ext_router');
    said jsonb;
BEGIN
    FOR n IN SELECT * FROM trace_ext_internal.shard_nodes s ORDER BY s.name LOOP
        name := n.name;
        state := n.state;
        epochs := ARRAY(SELECT e.epoch FROM trace_ext_internal.shard_epochs e WHERE n.name = ANY (e.nodes) ORDER BY e.epoch);
        events := NULL; traces := NULL; fold_lag := NULL; version := NULL; last_error := NULL; round_trip_ms := NULL;
        BEGIN
            PERFORM FROM trace_ext_internal.ask_each(ARRAY[n.name], ARRAY['SELECT ''''::text']);
            began := clock_timestamp();
            PERFORM FROM trace_ext_internal.ask_each(ARRAY[n.name], ARRAY['SELECT ''''::text']);
            round_trip_ms := extract(epoch FROM clock_timestamp() - began) * 1000;
            SELECT a.answer::jsonb INTO said FROM trace_ext_internal.ask_each(ARRAY[n.name], ARRAY[
                'SELECT jsonb_build_object(''version'', s.version, ''events'', s.events, ''traces'', s.traces, ''fold_lag'', s.fold_lag)::text FROM trace_ext.status s']) a;
            version := said ->> 'version';
            events := said ->> 'events';
            traces := said ->> 'traces';
            fold_lag := said ->> 'fold_lag';
            IF version IS DISTINCT FROM mine THEN
                last_error := format('it has version %s of trace_ext, the router has %s', version, mine);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            last_error := SQLERRM;
            state := 'down';
        END;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.node_states() IS 'what the view nodes shows';

CREATE VIEW nodes AS SELECT * FROM trace_ext_internal.node_states();
COMMENT ON VIEW nodes IS 'one row a node, asked now; what it does not say is NULL where it is down';
COMMENT ON COLUMN nodes.name IS 'its name';
COMMENT ON COLUMN nodes.state IS 'active: takes new events; draining: takes none from its last epoch''s end on; down: did not answer, see last_error';
COMMENT ON COLUMN nodes.epochs IS 'the epochs it has events of';
COMMENT ON COLUMN nodes.events IS 'number of its events';
COMMENT ON COLUMN nodes.traces IS 'number of traces that it has events of';
COMMENT ON COLUMN nodes.fold_lag IS 'how old the oldest delta is that it has not folded';
COMMENT ON COLUMN nodes.version IS 'its version of trace_ext';
COMMENT ON COLUMN nodes.last_error IS 'what went wrong when it was asked; NULL: nothing';
COMMENT ON COLUMN nodes.round_trip_ms IS 'how long a call takes that does nothing, in milliseconds';
