SELECT * FROM trace_ext_internal.operations_at(timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '10 minutes', '1 hour', NULL, 50);
