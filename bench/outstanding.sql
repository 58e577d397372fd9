-- Leaves 5,000 deltas outstanding, as 5,000 statements of one event each do, in
-- as many traces.
SET trace_ext.fold_threshold = 0;
DO $$
BEGIN
    FOR i IN 0 .. 4999 LOOP
        INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name)
        SELECT bench.id(s.n * 7, 'outstanding'), bench.id(s.n, 'outstanding'), now() + s.n * interval '1 microsecond',
               s.kind, s.name, s.service_name
          FROM bench.sample s WHERE s.n = i;
    END LOOP;
END
$$;
