-- generate.sql: events like those that clients capture, the same ones in each run.
--
-- A trace has 20 to 50 events, 35 in the mean, and passes through three of ten
-- services. It begins with an HttpRequest and ends with its HttpResponse; what is
-- between is drawn from the 13 kinds by weight. Eight traces run at a time, so
-- events in order of time are interleaved as they are when clients send them.
-- Everything hangs on the number of the trace by hashes: no seed, no state.
-- Wanted as variable of psql: traces_per_day.

CREATE SCHEMA bench;

CREATE TABLE bench.services (n int PRIMARY KEY, name text);
INSERT INTO bench.services
SELECT ordinality - 1, name
  FROM unnest(ARRAY['banking-api', 'accounts', 'payments', 'ledger', 'fraud-check',
                    'notifications', 'users', 'auth', 'audit-log', 'gateway']) WITH ORDINALITY AS s (name);

-- One row a per cent.
CREATE TABLE bench.drawn_kinds (n int PRIMARY KEY, kind trace_ext.event_kind);
INSERT INTO bench.drawn_kinds
SELECT row_number() OVER (ORDER BY kind::trace_ext.event_kind, i) - 1, kind::trace_ext.event_kind
  FROM (VALUES ('StateChange', 38), ('FunctionCall', 23), ('HttpRequest', 5), ('HttpResponse', 5),
               ('DatabaseQuery', 6), ('DatabaseResult', 6), ('LockAcquire', 4), ('LockRelease', 4),
               ('AsyncSpawn', 3), ('AsyncAwait', 3), ('Custom', 1), ('Error', 1), ('MemoryFence', 1)) AS w (kind, weight),
       LATERAL generate_series(1, weight) AS i;

CREATE FUNCTION bench.pick(n bigint, salt bigint, choices int) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((hashint8extended(n, salt) >> 8) & 1073741823) % choices;

CREATE FUNCTION bench.id(n bigint, what text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5(what || n)::uuid;

CREATE FUNCTION bench.name(kind trace_ext.event_kind, r int) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE kind
        WHEN 'StateChange' THEN 'accounts.user' || r % 2000 || CASE WHEN r % 3 > 0 THEN '.balance' ELSE '' END
        WHEN 'FunctionCall' THEN (ARRAY['getAllAccounts', 'transfer', 'validate', 'loadUser', 'applyFee'])[1 + r % 5]
        WHEN 'HttpRequest' THEN (ARRAY['GET /api/accounts', 'POST /api/transfer', 'GET /api/users', 'POST /api/check'])[1 + r % 4]
        WHEN 'HttpResponse' THEN CASE WHEN r % 100 > 1 THEN '200' ELSE '500' END
        WHEN 'DatabaseQuery' THEN 'SELECT balance FROM accounts WHERE id = $1 FOR UPDATE'
        WHEN 'LockAcquire' THEN 'lock.accounts.' || r % 200
        WHEN 'LockRelease' THEN 'lock.accounts.' || r % 200
        WHEN 'AsyncSpawn' THEN 'task-' || r % 1000
        WHEN 'AsyncAwait' THEN 'task-' || r % 1000
        WHEN 'MemoryFence' THEN 'SeqCst'
        WHEN 'Error' THEN 'InsufficientFunds'
        WHEN 'Custom' THEN 'cache.miss'
    END;

CREATE FUNCTION bench.attributes(kind trace_ext.event_kind, r int) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE kind
        WHEN 'StateChange' THEN jsonb_build_object('new_value', r % 5000, 'old_value', r % 4999,
            'location', '/srv/sdk/dist/auto-track.js:' || r % 90,
            'access_type', (ARRAY['Read', 'Read', 'Read', 'Write', 'AtomicRMW'])[1 + r % 5])
        WHEN 'FunctionCall' THEN jsonb_build_object('module', 'accounts', 'args', jsonb_build_object('id', r % 2000),
            'file', '/srv/app/index.js', 'line', r % 400)
        WHEN 'HttpRequest' THEN jsonb_build_object('headers', jsonb_build_object('accept', 'application/json'), 'body', NULL)
        WHEN 'HttpResponse' THEN jsonb_build_object('status', CASE WHEN r % 100 > 1 THEN 200 ELSE 500 END,
            'headers', '{}'::jsonb, 'body', NULL, 'duration_ms', r % 80)
        WHEN 'DatabaseQuery' THEN jsonb_build_object('database', 'bank', 'duration_ms', r % 20)
        WHEN 'DatabaseResult' THEN jsonb_build_object('rows_affected', r % 4)
        WHEN 'AsyncSpawn' THEN jsonb_build_object('spawned_by', 'index.js:' || r % 400)
        WHEN 'AsyncAwait' THEN jsonb_build_object('awaited_at', 'index.js:' || r % 400)
        WHEN 'Error' THEN jsonb_build_object('message', 'balance too low',
            'stack_trace', jsonb_build_array('transfer (index.js:' || r % 400 || ')', 'handle (router.js:12)'))
        WHEN 'Custom' THEN jsonb_build_object('data', jsonb_build_object('key', 'user' || r % 2000))
        WHEN 'MemoryFence' THEN jsonb_build_object('location', 'index.js:' || r % 400)
        ELSE jsonb_build_object('lock_type', 'Mutex', 'location', 'index.js:' || r % 400)
    END;

-- The events of the traces first_trace .. last_trace, in no order.
CREATE FUNCTION bench.events_of(first_trace bigint, last_trace bigint) RETURNS SETOF trace_ext.events
    LANGUAGE sql STABLE AS $$
    SELECT bench.id(t.n, 'trace'), bench.id(t.n * 64 + i, 'event'),
           -- Mostly the event before, as captured.
           CASE WHEN i > 0 THEN bench.id(t.n * 64 + greatest(0, i - 1 - e.r % 8 / 5), 'event') END,
           t.started + (i * 1500 + e.r % 1000) * interval '1 microsecond',
           k.kind, bench.name(k.kind, e.r),
           s.name, s.name || '-' || t.n % 2, 7000 + s.n, 'node-' || 7000 + s.n || '-' || to_hex(t.n), 'production',
           left(bench.id(t.n, s.name)::text, 8) || '00000000',
           CASE WHEN e.part > 0 THEN left(bench.id(t.n, u.name)::text, 8) || '00000000' END,
           CASE WHEN k.kind IN ('HttpResponse', 'DatabaseResult') THEN (e.r % 80) * 1000000 END,
           bench.attributes(k.kind, e.r), '{"sdk_language": "typescript"}'::jsonb,
           ('{"' || bench.id(t.n * 64, 'event') || '": ' || i || '}')::trace_ext.vclock,
           CASE WHEN e.r % 10 = 0 THEN ARRAY['lock.accounts.' || e.r % 200] END,
           CASE WHEN k.kind IN ('HttpResponse', 'DatabaseResult') THEN true END
      FROM (SELECT n, 20 + bench.pick(n, 1, 31) AS events,
                   timestamptz '2024-01-01 00:00:00+00'
                   + n / 8 * 8 * (interval '1 day' / current_setting('bench.traces_per_day')::int)
                   + n % 8 * interval '3 milliseconds' AS started
              FROM generate_series(first_trace, last_trace) AS n) AS t
     CROSS JOIN LATERAL generate_series(0, t.events - 1) AS i
     CROSS JOIN LATERAL (SELECT bench.pick(t.n * 64 + i, 2, 1000000) AS r, i * 3 / t.events AS part OFFSET 0) AS e
      JOIN bench.services AS s ON s.n = bench.pick(t.n * 3 + e.part, 4, 10)
      -- The part before called this one.
      JOIN bench.services AS u ON u.n = bench.pick(t.n * 3 + greatest(e.part - 1, 0), 4, 10)
      JOIN bench.drawn_kinds AS d ON d.n = bench.pick(t.n * 64 + i, 3, 100)
     CROSS JOIN LATERAL (SELECT CASE i WHEN 0 THEN 'HttpRequest' WHEN t.events - 1 THEN 'HttpResponse'
                                ELSE d.kind END AS kind) AS k
    $$;

ALTER DATABASE bench SET bench.traces_per_day = :traces_per_day;
SET bench.traces_per_day = :traces_per_day;

-- One day of them, in the order of arrival; the other data of a run comes from here.
CREATE UNLOGGED TABLE bench.sample AS
SELECT row_number() OVER (ORDER BY "timestamp", id) - 1 AS n, e.*
  FROM bench.events_of(0, :traces_per_day - 1) AS e LIMIT :events;
ALTER TABLE bench.sample ADD PRIMARY KEY (n);
VACUUM ANALYZE bench.sample;

-- The event as its client posts it.
CREATE FUNCTION bench.kind_document(e bench.sample) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN jsonb_build_object(e.kind, coalesce(e.attributes, '{}') || CASE e.kind
        WHEN 'StateChange' THEN jsonb_build_object('variable', e.name)
        WHEN 'FunctionCall' THEN jsonb_build_object('function_name', e.name)
        WHEN 'HttpRequest' THEN jsonb_build_object('method', split_part(e.name, ' ', 1), 'url', split_part(e.name, ' ', 2))
        WHEN 'HttpResponse' THEN '{}'
        WHEN 'DatabaseQuery' THEN jsonb_build_object('query', e.name)
        WHEN 'DatabaseResult' THEN '{}'
        WHEN 'AsyncSpawn' THEN jsonb_build_object('task_id', e.name)
        WHEN 'AsyncAwait' THEN jsonb_build_object('future_id', e.name)
        WHEN 'MemoryFence' THEN jsonb_build_object('ordering', e.name)
        WHEN 'Error' THEN jsonb_build_object('error_type', e.name)
        WHEN 'Custom' THEN jsonb_build_object('name', e.name)
        ELSE jsonb_build_object('lock_id', e.name) END);

CREATE FUNCTION bench.metadata_document(e bench.sample) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN jsonb_build_object('thread_id', e.thread_id, 'process_id', e.process_id, 'service_name', e.service_name,
        'environment', e.environment, 'tags', e.tags, 'duration_ns', e.duration_ns, 'instance_id', e.instance_id,
        'distributed_span_id', e.span_id, 'upstream_span_id', e.upstream_span_id);

-- A partition for each day that is loaded, and for the events that writers send now.
DO $$
BEGIN
    FOR day IN 0 .. 9 LOOP
        EXECUTE format('CREATE TABLE trace_ext.events_day%s PARTITION OF trace_ext.events FOR VALUES FROM (%L) TO (%L)',
                       day, timestamptz '2024-01-01 00:00:00+00' + day * interval '1 day',
                       timestamptz '2024-01-01 00:00:00+00' + (day + 1) * interval '1 day');
    END LOOP;
END
$$;
CALL trace_ext.maintain_partitions();
