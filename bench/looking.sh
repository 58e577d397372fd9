# looking.sh
#		What a person waits for who looks at a trace or at the services in psql, against
#		20 ms, which feels like at once, of the server's CPU: waterfall() and trace_html() of a trace of 1,000 events with
#		accesses and errors, and top with samples of 5 minutes of ten services, as of the end of
#		the data. Neither may cost more where ten times the events are stored.
#
# shellcheck shell=bash

# A trace of 1,000 events through all services, and the samples that a worker would have made.
make_what_is_looked_at()
{
	run_sql -v day="$1" >/dev/null <<-'SQL'
		INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id, duration_ns, attributes)
		SELECT bench.id(0, 'looked at'), bench.id(i, 'looked at'), CASE WHEN i > 1 THEN bench.id(i / 4, 'looked at') END,
		       timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '1 minute' + i * interval '1 ms',
		       (CASE WHEN i = 1 THEN 'HttpRequest' WHEN i % 5 = 0 THEN 'StateChange' WHEN i % 97 = 0 THEN 'Error' ELSE 'FunctionCall' END)::trace_ext.event_kind,
		       CASE WHEN i % 5 = 0 THEN 'looked.at.' || i % 50 ELSE 'function ' || i END, s.name, 'i', 'thread', CASE WHEN i % 5 > 0 THEN (1001 - i) * 1000000 END,
		       CASE WHEN i % 5 = 0 THEN jsonb_build_object('access_type', CASE WHEN i % 2 = 0 THEN 'Read' ELSE 'Write' END, 'new_value', i) ELSE '{"message": "none"}' END
		  FROM generate_series(1, 1000) i JOIN bench.services s ON s.n = i % 10
		ON CONFLICT DO NOTHING;
		TRUNCATE trace_ext.alert_samples;
		INSERT INTO trace_ext.alert_samples
		SELECT at, at - interval '15 s', s.name, 3000, 10, 1000, 5, (SELECT trace_ext.histogram_agg((i + n) * 1000003::bigint) FROM generate_series(1, 1000) i)
		  FROM generate_series(0, 19) n, LATERAL (SELECT timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - n * interval '15 s' AS at) t,
		       (SELECT name FROM bench.services UNION ALL SELECT NULL) s;
		SELECT trace_ext.fold();
		VACUUM ANALYZE trace_ext.alert_samples;
	SQL
}

# compare_looking WHERE DAY: against 20 ms.
compare_looking()
{
	local waterfall page top lines
	make_what_is_looked_at "$2"
	lines=$(run_sql -c "SELECT count(*) FROM trace_ext.waterfall(bench.id(0, 'looked at'))")
	[ "$lines" -gt 900 ] || die "looking: waterfall() has $lines lines"
	waterfall=$(calc "$(cpu_of_statement "$SOCKET" bench 50 "SELECT * FROM trace_ext.waterfall(bench.id(0, 'looked at'));") / 1000")
	result "waterfall() of 1,000 events$1 / 20 ms" "$(milliseconds "$waterfall")" "20 ms" "$(calc "$waterfall / 20")" '<=' 1
	page=$(calc "$(cpu_of_statement "$SOCKET" bench 50 "SELECT trace_ext.trace_html(bench.id(0, 'looked at'));") / 1000")
	result "trace_html() of 1,000 events$1 / 20 ms" "$(milliseconds "$page")" "20 ms" "$(calc "$page / 20")" '<=' 1
	top=$(calc "$(cpu_of_statement "$SOCKET" bench 200 "SELECT * FROM trace_ext_internal.top_at(timestamptz '2024-01-01 00:00:00+00' + $2 * interval '24 hours');") / 1000")
	result "top$1 / 20 ms" "$(milliseconds "$top")" "20 ms" "$(calc "$top / 20")" '<=' 1
}

bench_looking()
{
	empty_events
	load_days 1
	compare_looking "" 1
}

bench_looking_large()
{
	compare_looking ", 10 x the events" 10
}
