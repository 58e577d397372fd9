# anomalies.sh
#		What the jobs anomalies and baselines cost the writers, whether the first keeps
#		up with them, and what another hour costs the second.
#
# Two clients send batches of 1,000 events, in turns with these two jobs and without;
# fold and detect run in both cases. There are baselines for what they send, so each
# trace is judged. Then one session sends, folds and looks by itself, and tells what CPU
# each took. The rollups of the last part are written directly: 30 services of 200
# operations, 168 hours at full size.
#
# shellcheck shell=bash

# Its restart, its switch and its batches.
. "$BENCH_SOURCE/workers.sh"

# anomaly_jobs true|false
anomaly_jobs()
{
	run_sql -c "SELECT trace_ext.alter_job(j, enabled => $1) FROM unnest(ARRAY['anomalies', 'baselines']::name[]) j" >/dev/null
}

# Sets LOOKED_AT: events a second that the job goes through, all of those stored.
look_at_all()
{
	local ms
	run_sql -c 'SELECT trace_ext.fold()' -c 'TRUNCATE trace_ext.anomaly_queue' -c 'VACUUM ANALYZE trace_ext.summary_base, trace_ext.events' \
		-c 'INSERT INTO trace_ext.anomaly_queue (trace_id) SELECT trace_id FROM trace_ext.summary_base ORDER BY first_timestamp' >/dev/null
	ms=$(time_sql "DO \$\$ BEGIN WHILE trace_ext_internal.anomaly_step() > 0 LOOP COMMIT; END LOOP; END \$\$")
	LOOKED_AT=$(calc "$BATCHES * 1000 / ($ms / 1000)")
}

bench_baselines()
{
	local hours=168 operations=$((EVENTS / 168 < 6000 ? EVENTS / 168 : 6000)) first hour peer
	run_sql -c "INSERT INTO trace_ext.operation_base (hour, service_name, kind, operation, event_count, error_count, write_count, latency)
		SELECT timestamptz '2024-03-01 00:00+00' + h * interval '1 hour', 's' || o % 30, 'FunctionCall', 'operation ' || o, 30, 0, 0, l.latency
		  FROM generate_series(0, $hours) h, generate_series(1, $operations) o,
		       LATERAL (SELECT trace_ext.histogram_agg((1e6 * (1 + (o + h * i) % 50))::bigint) AS latency FROM generate_series(1, 30) i) l" \
		-c 'VACUUM ANALYZE trace_ext.operation_base'
	first=$(time_sql "DO \$\$ BEGIN WHILE trace_ext_internal.baseline_step('2024-03-08 00:10+00') LOOP COMMIT; END LOOP; END \$\$")
	hour=$(time_sql "DO \$\$ BEGIN WHILE trace_ext_internal.baseline_step('2024-03-08 01:10+00') LOOP COMMIT; END LOOP; END \$\$")
	peer=$(time_sql "SELECT count(trace_ext.quantiles(m, '{0.5,0.95,0.99}')) FROM (SELECT trace_ext.merge(latency) AS m FROM trace_ext.operation_base
		WHERE hour >= '2024-03-01 01:00+00' GROUP BY service_name, kind, operation) s")
	say "    all $hours hours at first: $(milliseconds "$first")"
	# The job runs each minute, and finds something to do once an hour.
	peer=$(calc "$peer * 60")
	result "baselines of $operations operations for an hour (peer: all hours merged each minute)" "$(milliseconds "$hour")" "$(milliseconds "$peer")" \
		"$(calc "$peer / $hour")" '>=' 100
}

# The job's part of the CPU that it takes to store, fold and look at the same events.
cpu_of_looking()
{
	local ingest fold looking
	empty_events
	run_sql -c 'TRUNCATE trace_ext.anomalies, trace_ext.anomaly_parts, trace_ext.anomaly_queue'
	read -r ingest fold looking < <(run_sql -f "$BENCH/anomalies_cpu.sql")
	result "CPU of the job anomalies (peer: of ingest_events() and fold())" "$(calc "$looking") s" "$(calc "$ingest + $fold") s" \
		"$(calc "$looking / ($ingest + $fold + $looking)")" '<=' 0.05
}

bench_anomalies()
{
	local round without=() with=() ratios=()
	run_sql -v ingest_events="$((EVENTS < 100000 ? 20000 : EVENTS / 2))" -f "$BENCH/ingest_setup.sql" >/dev/null
	BATCHES=$(run_sql -c 'SELECT count(*) FROM bench.batches')
	restart_with shared_preload_libraries=trace_ext
	# Yesterday's calls are what today's are judged by.
	run_sql -c 'ALTER SYSTEM SET trace_ext.slow_factor = 1.01' -c 'SELECT pg_reload_conf()' >/dev/null
	for ((round = 1; round <= ROUNDS; round++)); do
		anomaly_jobs false
		produce on
		without+=("$PRODUCED")
		anomaly_jobs true
		produce on
		with+=("$PRODUCED")
		ratios+=("$(calc "$PRODUCED / ${without[-1]}")")
	done
	must_be_exact anomalies
	say "    without the jobs ${without[*]}, with them ${with[*]} events/s"
	result "ingest_events, 2 clients, beside the jobs anomalies and baselines (peer: without them)" "$(per_second "$(median "${with[@]}")")" \
		"$(per_second "$(median "${without[@]}")")" "$(median "${ratios[@]}")" '>=' 0.95
	switch_workers off
	look_at_all
	say "    $(run_sql -c "SELECT count(*) || ' anomalies, ' || coalesce(sum(occurrences), 0) || ' occurrences' FROM trace_ext.anomalies")"
	result "events looked at a second (peer: sent by 2 clients)" "$(per_second "$LOOKED_AT")" "$(per_second "$(median "${with[@]}")")" \
		"$(calc "$LOOKED_AT / $(median "${with[@]}")")" '>=' 1
	cpu_of_looking
	empty_events
	bench_baselines
	run_sql -c 'ALTER SYSTEM RESET trace_ext.workers' -c 'ALTER SYSTEM RESET trace_ext.slow_factor'
	restart_with
	run_sql -c 'DROP SCHEMA peer CASCADE' -c 'DROP TABLE bench.batches, bench.peer_batches, bench.batched CASCADE' 2>/dev/null
	empty_events
}
