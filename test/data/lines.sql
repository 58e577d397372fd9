-- Small traces as text, for the tests of the room analysis. A line is an event:
--   id parent ms kind name thread took span up
-- What is "-", or missing at the end, is NULL; blanks in a name are _. The thread is service/thread, the instance that of the service;
-- took is in ms, from the timestamp on; with ! it ended then. kind is short: call query result req resp err lock unlock spawn await read write do.
CREATE FUNCTION pg_temp.event_id(label text) RETURNS uuid LANGUAGE sql AS $$ SELECT ('0000' || lpad(label, 4, '0') || '-0000-0000-0000-000000000000')::uuid $$;
CREATE FUNCTION pg_temp.make(trace text, lines text, start timestamptz = '2001-02-03 04:05:06+00') RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    line text;
    f text[];
    this uuid := ('000000' || trace || '-0000-0000-0000-000000000000')::uuid;
BEGIN
    FOREACH line IN ARRAY regexp_split_to_array(btrim(lines, E' \n'), '\s*\n\s*') LOOP
        SELECT array_agg(nullif(x, '-') ORDER BY n) INTO f FROM unnest(regexp_split_to_array(line, '\s+')) WITH ORDINALITY AS u (x, n);
        INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, duration_ns, stamped_at_end, span_id, upstream_span_id, attributes)
        VALUES (this, pg_temp.event_id(f[1]), pg_temp.event_id(f[2]), start + f[3]::numeric * interval '1 ms',
                (CASE f[4] WHEN 'call' THEN 'FunctionCall' WHEN 'query' THEN 'DatabaseQuery' WHEN 'result' THEN 'DatabaseResult' WHEN 'req' THEN 'HttpRequest' WHEN 'resp' THEN 'HttpResponse'
                           WHEN 'err' THEN 'Error' WHEN 'lock' THEN 'LockAcquire' WHEN 'unlock' THEN 'LockRelease' WHEN 'spawn' THEN 'AsyncSpawn' WHEN 'await' THEN 'AsyncAwait' WHEN 'do' THEN 'Custom' ELSE 'StateChange' END)::trace_ext.event_kind,
                replace(f[5], '_', ' '), split_part(f[6], '/', 1), split_part(f[6], '/', 1) || '-1', 1, split_part(f[6], '/', 2), (rtrim(f[7], '!')::numeric * 1000000)::bigint, f[7] LIKE '%!', f[8], f[9],
                CASE f[4] WHEN 'resp' THEN jsonb_build_object('status', f[5]::int) WHEN 'read' THEN '{"access_type": "Read"}' WHEN 'write' THEN '{"access_type": "Write"}' END);
    END LOOP;
    RETURN this;
END $$;
