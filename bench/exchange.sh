# exchange.sh
#		What a scrape costs, with 30 services: against the samples of services by GROUP BY over events, and
#		the server's CPU, of a budget of 20 ms: of a session that asked before, and of one that is new.
#
# shellcheck shell=bash

# first_scrape: microseconds of CPU of a scrape by a session that did nothing before.
first_scrape()
{
	cpu_of_statement "$SOCKET" bench 1 "SELECT count(*) FROM trace_ext.prometheus_metrics();"
}

bench_exchange()
{
	local ours peer used
	empty_events
	load_days 1
	run_sql -c "INSERT INTO trace_ext.events (trace_id, id, \"timestamp\", kind, name, service_name, duration_ns)
		SELECT md5('scrape' || i / 10)::uuid, md5('scrape' || i)::uuid, now(), k.kind, 'GET /' || i % 50, 'service-' || i % 20, i * 1000
		FROM generate_series(1, 20000) i, (VALUES ('HttpRequest'::trace_ext.event_kind), ('FunctionCall')) AS k (kind) ON CONFLICT DO NOTHING"
	run_sql -c 'SELECT trace_ext.fold()' -c 'CALL trace_ext.maintain_partitions()' -c 'VACUUM ANALYZE' >/dev/null
	ours=$(quick_query exchange.sql 5)
	peer=$(quick_query exchange_peer.sql 10)
	result "prometheus_metrics(), 30 services" "$(milliseconds "$ours")" "$(milliseconds "$peer")" "$(calc "$peer / $ours")" -
	used=$(calc "$(cpu_of_statement "$SOCKET" bench 50 "SELECT count(*) FROM trace_ext.prometheus_metrics();") / 1000")
	result "the same, CPU of the server / 20 ms" "$(milliseconds "$used")" "20 ms" "$(calc "$used / 20")" '<=' 1
	# By the clock a new session has to be begun as well.
	used=$(calc "$(median "$(first_scrape)" "$(first_scrape)" "$(first_scrape)" "$(first_scrape)" "$(first_scrape)") / 1000")
	result "the same, first of a session / 20 ms" "$(milliseconds "$used")" "20 ms" "$(calc "$used / 20")" '<=' 1
	must_be_exact exchange
}
