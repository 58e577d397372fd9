SELECT count(*) FROM trace_ext.service_map('2024-01-01 12:00+00', '2024-01-01 12:59+00');
