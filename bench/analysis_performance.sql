SELECT trace_ext_internal.performance_metrics_at(timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours', 50);
