-- Numbers and durations in sentences.
SET search_path = trace_ext, trace_ext_internal, public;
SELECT v, number_text(v) FROM unnest(ARRAY[0, -0.0, 1, -1, 0.1, 0.12345, 12.345, 99.99, 999.94, 999.95, 999.96, -999.96, 1000, 1234.5, 123456789, -1234567, 999999999999999,
    1e15, -1e300, 0.0001, 0.00009, 1e-300, 'Infinity', '-Infinity', 'NaN', NULL]::double precision[]) v;
SELECT ms, duration_text(ms) FROM unnest(ARRAY[0, 0.0000004, 0.0005, 0.001, 0.9994, 0.99999, 1, 3.12, 999.94, 1000, 59999, 60000, 90000, 3599999, 3600000, 86400000, 172799999, 172800000,
    1e11, 1e300, -1, -0.5, -90000, 'Infinity', 'NaN', NULL]::double precision[]) ms;
