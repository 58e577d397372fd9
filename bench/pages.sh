# pages.sh
#		What making a page of a trace of 1,000 events in ten services takes of the server's CPU, with
#		accesses, errors and attributes, against 20 ms, which feels like at once; and with ten
#		times the events stored.
#
# shellcheck shell=bash

# compare_pages WHERE DAY: against 20 ms.
compare_pages()
{
	local bytes page
	run_sql -v day="$2" >/dev/null <<-'SQL'
		INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id, duration_ns, attributes)
		SELECT bench.id(0, 'page'), bench.id(i, 'page'), CASE WHEN i > 1 THEN bench.id(i / 4, 'page') END,
		       timestamptz '2024-01-01 00:00:00+00' + :day * interval '24 hours' - interval '1 minute' + i * interval '1 ms',
		       (CASE WHEN i = 1 THEN 'HttpRequest' WHEN i % 5 = 0 THEN 'StateChange' WHEN i % 97 = 0 THEN 'Error' ELSE 'FunctionCall' END)::trace_ext.event_kind,
		       CASE WHEN i % 5 = 0 THEN 'page.' || i % 50 ELSE 'function ' || i END, s.name, 'i', 'thread', CASE WHEN i % 5 > 0 THEN (1001 - i) * 1000000 END,
		       CASE WHEN i % 5 = 0 THEN jsonb_build_object('access_type', CASE WHEN i % 2 = 0 THEN 'Read' ELSE 'Write' END, 'new_value', i)
		            ELSE '{"message": "none", "code.file.path": "/srv/app/lib/prices.js", "code.line.number": 17}' END
		  FROM generate_series(1, 1000) i JOIN bench.services s ON s.n = i % 10
		ON CONFLICT DO NOTHING;
		SELECT trace_ext.fold();
	SQL
	bytes=$(run_sql -c "SELECT octet_length(trace_ext.trace_html(bench.id(0, 'page')))")
	[ "$bytes" -gt 100000 ] || die "pages: trace_html() has $bytes bytes"
	page=$(calc "$(cpu_of_statement "$SOCKET" bench 50 "SELECT trace_ext.trace_html(bench.id(0, 'page'));") / 1000")
	result "trace_html() of 1,000 events$1 / 20 ms" "$(milliseconds "$page")" "20 ms" "$(calc "$page / 20")" '<=' 1
}

bench_pages()
{
	empty_events
	load_days 1
	compare_pages "" 1
}

bench_pages_large()
{
	compare_pages ", 10 x the events" 10
}
