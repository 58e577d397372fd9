-- A small system for test/sql/router.sql: 200 requests that overlap, with calls, locks and accesses.
CREATE FUNCTION public.sample() RETURNS SETOF trace_ext.events LANGUAGE sql AS $f$
SELECT md5('t' || t)::uuid, md5('e' || t || '.' || n)::uuid, CASE WHEN n > 1 THEN md5('e' || t || '.' || (1 + ((n * 7 + t) % (n - 1))))::uuid END,
       timestamptz '2026-03-01 10:00:00+00' + t * interval '23 ms' + n * interval '31 ms' + (t * n % 3) * interval '1 ms',
       (ARRAY['HttpRequest', 'FunctionCall', 'LockAcquire', 'StateChange', 'StateChange', 'StateChange', 'LockRelease', 'DatabaseQuery', 'Error', 'HttpRequest', 'HttpResponse'])[n]::trace_ext.event_kind,
       (ARRAY['GET /api/' || (t % 7), 'handle' || (t % 5), 'lock' || (t % 3), 'v' || (t % 11), 'v' || (t % 11), 'w' || (t % 29), 'lock' || (t % 3), 'SELECT ' || (t % 13), 'Timeout', 'POST /inner/' || (t % 4), 'x'])[n],
       'svc' || CASE WHEN n >= 10 THEN t % 3 ELSE t % 5 END, 'i' || (t % 2), 100 + t % 5, 'th' || (t % 4) || '.' || (n % 2), 'prod',
       'span' || t || CASE WHEN n >= 10 THEN 'b' ELSE 'a' END, CASE WHEN n >= 10 THEN 'span' || t || 'a' END,
       CASE WHEN n IN (1, 2, 8, 10) THEN (t * n * 7919 % 5000000)::bigint WHEN n = 3 THEN (t * 7907 % 1000000)::bigint END,
       CASE WHEN n = 4 THEN jsonb_build_object('access_type', 'Read', 'new_value', t, 'location', 'a.js:' || (t % 3))
            WHEN n IN (5, 6) THEN jsonb_build_object('access_type', 'Write', 'old_value', t - 1, 'new_value', t, 'location', 'a.js:' || (10 + t % 3))
            WHEN n IN (3, 7) THEN '{"lock_type": "Mutex"}' END,
       NULL::jsonb, NULL::trace_ext.vclock, NULL::text[], NULL::boolean
  FROM generate_series(1, 200) t, generate_series(1, 11) n WHERE n < 9 OR (n = 9 AND t % 17 = 0) OR (n > 9 AND t % 2 = 0)
$f$;
