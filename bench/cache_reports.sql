-- cache_reports.sql: a procedure that asks a report again and again, and says what
-- one call takes. With "writes" an event is committed before each.

CREATE PROCEDURE bench.ask(report text, writes boolean, calls int, INOUT ms float8) LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
	took interval := '0';
BEGIN
	FOR i IN 1 .. calls LOOP
		IF writes THEN
			INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
			VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Custom', 'c', 's', 'i', 1, 't', '{}');
		END IF;
		COMMIT;
		began := clock_timestamp();
		EXECUTE 'SELECT count(*) FROM ' || report;
		took := took + (clock_timestamp() - began);
	END LOOP;
	ms := extract(epoch FROM took) * 1000 / calls;
END $$;
