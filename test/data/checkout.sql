-- A checkout through three services, as an application might record it: shop calls stock and payment. The clock of
-- payment is 250 ms ahead. Another request held a lock that stock wanted. Trace c0 is the slow one, c1 a good one, c2 the
-- one that held the lock.
CREATE TEMP TABLE checkout (trace text, id text, parent text, ms numeric, kind trace_ext.event_kind, name text, service text, thread text, span text, up text, took numeric, attributes jsonb);
INSERT INTO checkout VALUES
    -- shop, which records a call when it sends it and its answer when it comes
    ('c0', '01', NULL, 0,    'HttpRequest',    'POST /checkout', 'shop', 'req-1', 's1', NULL, NULL, NULL),
    ('c0', '02', '01', 2,    'FunctionCall',   'loadCart', 'shop', 'req-1', 's1', NULL, 180, NULL),
    ('c0', '03', '02', 5,    'DatabaseQuery',  'SELECT * FROM carts WHERE id = 17', 'shop', 'req-1', 's1', NULL, 12, NULL),
    ('c0', '04', '02', 20,   'DatabaseQuery',  'SELECT * FROM items WHERE id = 101', 'shop', 'req-1', 's1', NULL, 24, NULL),
    ('c0', '05', '02', 46,   'DatabaseQuery',  'SELECT * FROM items WHERE id = 102', 'shop', 'req-1', 's1', NULL, 25, NULL),
    ('c0', '06', '02', 73,   'DatabaseQuery',  'SELECT * FROM items WHERE id = 103', 'shop', 'req-1', 's1', NULL, 23, NULL),
    ('c0', '07', '02', 98,   'DatabaseQuery',  'SELECT * FROM items WHERE id = 104', 'shop', 'req-1', 's1', NULL, 26, NULL),
    ('c0', '08', '02', 126,  'DatabaseQuery',  'SELECT * FROM items WHERE id = 105', 'shop', 'req-1', 's1', NULL, 24, NULL),
    ('c0', '09', '02', 152,  'DatabaseQuery',  'SELECT * FROM items WHERE id = 106', 'shop', 'req-1', 's1', NULL, 25, NULL),
    ('c0', '10', '01', 190,  'HttpRequest',    'POST http://stock/reserve', 'shop', 'req-1', 's1', NULL, NULL, NULL),
    ('c0', '11', '10', 1420, 'HttpResponse',   '200', 'shop', 'req-1', 's1', NULL, NULL, '{"status": 200}'),
    ('c0', '12', '01', 1425, 'HttpRequest',    'POST http://payment/charge', 'shop', 'req-1', 's1', NULL, NULL, NULL),
    ('c0', '13', '12', 1735, 'HttpResponse',   '503', 'shop', 'req-1', 's1', NULL, NULL, '{"status": 503}'),
    ('c0', '14', '01', 1740, 'HttpRequest',    'POST http://payment/charge', 'shop', 'req-1', 's1', NULL, NULL, NULL),
    ('c0', '15', '14', 2045, 'HttpResponse',   '503', 'shop', 'req-1', 's1', NULL, NULL, '{"status": 503}'),
    ('c0', '16', '01', 2050, 'HttpRequest',    'POST http://payment/charge', 'shop', 'req-1', 's1', NULL, NULL, NULL),
    ('c0', '17', '16', 2345, 'HttpResponse',   '200', 'shop', 'req-1', 's1', NULL, NULL, '{"status": 200}'),
    ('c0', '18', '01', 3010, 'HttpResponse',   '200', 'shop', 'req-1', 's1', NULL, NULL, '{"status": 200}'),
    -- stock waits for a lock
    ('c0', '21', '10', 210,  'HttpRequest',    'POST /reserve', 'stock', 'w-4', 's2', 's1', NULL, NULL),
    ('c0', '22', '21', 215,  'LockAcquire',    'db:stock', 'stock', 'w-4', 's2', 's1', NULL, NULL),
    ('c0', '23', '21', 1360, 'StateChange',    'stock.101', 'stock', 'w-4', 's2', 's1', NULL, '{"access_type": "Write", "old_value": 5, "new_value": 4}'),
    ('c0', '24', '21', 1370, 'LockRelease',    'db:stock', 'stock', 'w-4', 's2', 's1', NULL, NULL),
    ('c0', '25', '21', 1400, 'HttpResponse',   '200', 'stock', 'w-4', 's2', 's1', NULL, '{"status": 200}'),
    -- payment fails twice; its clock is 250 ms ahead
    ('c0', '31', '12', 1685, 'HttpRequest',    'POST /charge', 'payment', 'p-1', 's3', 's1', NULL, NULL),
    ('c0', '32', '31', 1975, 'Error',          'GatewayTimeout', 'payment', 'p-1', 's3', 's1', NULL, '{"message": "no answer from bank.example in 280 ms"}'),
    ('c0', '33', '31', 1976, 'HttpResponse',   '503', 'payment', 'p-1', 's3', 's1', NULL, '{"status": 503}'),
    ('c0', '34', '14', 2000, 'HttpRequest',    'POST /charge', 'payment', 'p-2', 's4', 's1', NULL, NULL),
    ('c0', '35', '34', 2285, 'Error',          'GatewayTimeout', 'payment', 'p-2', 's4', 's1', NULL, '{"message": "no answer from bank.example in 280 ms"}'),
    ('c0', '36', '34', 2286, 'HttpResponse',   '503', 'payment', 'p-2', 's4', 's1', NULL, '{"status": 503}'),
    ('c0', '37', '16', 2310, 'HttpRequest',    'POST /charge', 'payment', 'p-1', 's5', 's1', NULL, NULL),
    ('c0', '38', '37', 2585, 'HttpResponse',   '200', 'payment', 'p-1', 's5', 's1', NULL, '{"status": 200}'),
    ('c0', '39', '99', 2320, 'FunctionCall',   'bookCharge', 'payment', 'p-1', 's5', 's1', 40, NULL),
    -- a good one: one query for all items, no wait, one charge
    ('c1', '01', NULL, 0,    'HttpRequest',    'POST /checkout', 'shop', 'req-2', 's1', NULL, NULL, NULL),
    ('c1', '02', '01', 2,    'FunctionCall',   'loadCart', 'shop', 'req-2', 's1', NULL, 44, NULL),
    ('c1', '03', '02', 5,    'DatabaseQuery',  'SELECT * FROM carts WHERE id = 17', 'shop', 'req-2', 's1', NULL, 11, NULL),
    ('c1', '04', '02', 20,   'DatabaseQuery',  'SELECT * FROM items WHERE id = 101', 'shop', 'req-2', 's1', NULL, 24, NULL),
    ('c1', '10', '01', 50,   'HttpRequest',    'POST http://stock/reserve', 'shop', 'req-2', 's1', NULL, NULL, NULL),
    ('c1', '11', '10', 110,  'HttpResponse',   '200', 'shop', 'req-2', 's1', NULL, NULL, '{"status": 200}'),
    ('c1', '12', '01', 115,  'HttpRequest',    'POST http://payment/charge', 'shop', 'req-2', 's1', NULL, NULL, NULL),
    ('c1', '13', '12', 400,  'HttpResponse',   '200', 'shop', 'req-2', 's1', NULL, NULL, '{"status": 200}'),
    ('c1', '18', '01', 410,  'HttpResponse',   '200', 'shop', 'req-2', 's1', NULL, NULL, '{"status": 200}'),
    ('c1', '21', '10', 65,   'HttpRequest',    'POST /reserve', 'stock', 'w-5', 's2', 's1', NULL, NULL),
    ('c1', '22', '21', 66,   'LockAcquire',    'db:stock', 'stock', 'w-5', 's2', 's1', NULL, NULL),
    ('c1', '23', '21', 80,   'StateChange',    'stock.101', 'stock', 'w-5', 's2', 's1', NULL, '{"access_type": "Write", "old_value": 4, "new_value": 3}'),
    ('c1', '24', '21', 85,   'LockRelease',    'db:stock', 'stock', 'w-5', 's2', 's1', NULL, NULL),
    ('c1', '25', '21', 95,   'HttpResponse',   '200', 'stock', 'w-5', 's2', 's1', NULL, '{"status": 200}'),
    ('c1', '31', '12', 375,  'HttpRequest',    'POST /charge', 'payment', 'p-3', 's3', 's1', NULL, NULL),
    ('c1', '33', '31', 640,  'HttpResponse',   '200', 'payment', 'p-3', 's3', 's1', NULL, '{"status": 200}'),
    -- who held the lock, at the same time as c0
    ('c2', '01', NULL, 100,  'FunctionCall',   'recountStock', 'stock', 'cron-1', 's9', NULL, 1300, NULL),
    ('c2', '02', '01', 150,  'LockAcquire',    'db:stock', 'stock', 'cron-1', 's9', NULL, NULL, NULL),
    ('c2', '03', '01', 300,  'DatabaseQuery',  'SELECT sum(n) FROM stock', 'stock', 'cron-1', 's9', NULL, 1000, NULL),
    ('c2', '04', '01', 1350, 'LockRelease',    'db:stock', 'stock', 'cron-1', 's9', NULL, NULL, NULL);
INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, span_id, upstream_span_id, duration_ns, attributes)
SELECT ('000000' || trace || '-0000-0000-0000-000000000000')::uuid, ('000000' || id || '-0000-0000-0000-000000000000')::uuid, ('000000' || parent || '-0000-0000-0000-000000000000')::uuid,
       '2024-03-01 12:00:00+00'::timestamptz + (trace = 'c1')::int * interval '1 hour' + ms * interval '1 ms',
       kind, name, service, service || '-1', 1, thread, trace || span, trace || up, took * 1000000, attributes
  FROM checkout;
