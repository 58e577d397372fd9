-- For races.sh: traces in which 64 threads access one variable, 1,000 to 100,000
-- times, with nothing to order them; and one of 200,000 events in which all
-- accesses are made under a lock.
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
SELECT md5('races ' || k)::uuid, md5(k || ' ' || i)::uuid, '2025-01-01 00:00+00'::timestamptz + i * interval '10 us', 'StateChange',
       'bench.' || k, 'svc', 'i1', 1, 'T' || i % 64,
       jsonb_build_object('access_type', CASE WHEN i % 4 = 0 THEN 'Write' ELSE 'Read' END, 'new_value', i,
                          'location', 'app.c:' || i % 10)
  FROM unnest(ARRAY[1000, 10000, 25000, 50000, 100000]) k, generate_series(1, k) i;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
SELECT md5('locked')::uuid, md5('locked ' || i)::uuid, '2025-01-02 00:00+00'::timestamptz + i * interval '10 us',
       (ARRAY['LockAcquire', 'StateChange', 'StateChange', 'LockRelease'])[1 + i % 4]::trace_ext.event_kind,
       CASE WHEN i % 4 IN (0, 3) THEN 'lock' ELSE 'locked' END, 'svc', 'i1', 1, 'T' || (i / 4) * 7919 % 64,
       jsonb_build_object('access_type', CASE WHEN i % 4 = 1 THEN 'Read' ELSE 'Write' END, 'new_value', i)
  FROM generate_series(0, 199999) i;
SELECT trace_ext.fold();
VACUUM ANALYZE trace_ext.events;
