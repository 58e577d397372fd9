# workers.sh
#		What background folding costs the writers, how far it is ahead of them, and
#		how much memory the worker takes for a large backlog.
#
# Two clients send batches of 1,000 events, in turns while nobody folds and while
# the worker does. Memory is what the worker has for itself (RssAnon): pages of
# shared_buffers that nobody else has touched yet look private in other counts.
#
# shellcheck shell=bash

# Its batches, and how they are sent.
. "$BENCH_SOURCE/ingest.sh"

BACKLOG=1000000

# Workers need the library to be preloaded.
restart_with()
{
	cluster_stop "$CLUSTER"
	cluster_start "$CLUSTER" "${SETTINGS[@]}" "unix_socket_directories=$SOCKET" "$@"
}

switch_workers()
{
	run_sql -c "ALTER SYSTEM SET trace_ext.workers = $1" -c 'SELECT pg_reload_conf()' >/dev/null
	sleep 1
}

worker_pid()
{
	run_sql -c "SELECT pid FROM trace_ext.workers() WHERE kind = 'worker' AND database = 'bench' AND pid IS NOT NULL"
}

# produce on|off: sets PRODUCED (events a second) of two clients.
produce()
{
	switch_workers off
	empty_events
	switch_workers "$1"
	PRODUCED=$(PGOPTIONS='-c trace_ext.fold_threshold=0' ingest_rate ingest.sql 2)
	must_have_stored trace_ext.events
}

fold_and_watch()
{
	local pid anon started=${EPOCHREALTIME/./}
	MOST_KB=0
	switch_workers on
	started=${EPOCHREALTIME/./}
	until [ "$(run_sql -c 'SELECT NOT EXISTS (SELECT FROM trace_ext.summary_deltas)')" = t ]; do
		pid=$(worker_pid)
		anon=$(awk '/^RssAnon/ { print $2 }' "/proc/${pid:-0}/status" 2>/dev/null || true)
		if [ "${anon:-0}" -gt "$MOST_KB" ]; then
			MOST_KB=$anon
		fi
		sleep 0.2
	done
	FOLD_RATE=$(calc "$1 / ((${EPOCHREALTIME/./} - $started) / 1e6)")
}

# CPU seconds of the launcher, and of whatever else came and went, in a minute
# without writes.
cpu_ticks()
{
	local launcher
	launcher=$(run_sql -c "SELECT pid FROM trace_ext.workers() WHERE kind = 'launcher'")
	awk '{ print $14 + $15 }' "/proc/$launcher/stat"
	awk '{ print $16 + $17 }' "/proc/$(head -1 "$CLUSTER/data/postmaster.pid")/stat"
}

idle_cpu()
{
	local before
	before=$(cpu_ticks | paste -sd+)
	sleep 60
	calc "(($(cpu_ticks | paste -sd+)) - ($before)) / $(getconf CLK_TCK)"
}

bench_workers()
{
	local round quiet=() folding=() ratios=() deltas=() rate
	run_sql -v ingest_events="$((EVENTS < 100000 ? 20000 : EVENTS / 2))" -f "$BENCH/ingest_setup.sql" >/dev/null
	BATCHES=$(run_sql -c 'SELECT count(*) FROM bench.batches')
	restart_with shared_preload_libraries=trace_ext
	for ((round = 1; round <= ROUNDS; round++)); do
		produce off
		quiet+=("$PRODUCED")
		deltas+=("$(calc "$(run_sql -c 'SELECT summary_backlog FROM trace_ext.status') * $PRODUCED / ($BATCHES * 1000)")")
		produce on
		folding+=("$PRODUCED")
		ratios+=("$(calc "$PRODUCED / ${quiet[-1]}")")
	done
	must_be_exact workers
	say "    nobody folds ${quiet[*]}, the worker folds ${folding[*]} events/s"
	result "ingest_events, 2 clients, while the worker folds (peer: nobody folds)" "$(per_second "$(median "${folding[@]}")")" \
		"$(per_second "$(median "${quiet[@]}")")" "$(median "${ratios[@]}")" '>=' 0.95

	switch_workers off
	empty_events
	PGOPTIONS='-c trace_ext.fold_threshold=0' run_sql -c "INSERT INTO trace_ext.events (trace_id, id, \"timestamp\", kind, name, service_name)
		SELECT bench.id(i, 'backlog'), bench.id(i, 'event'), now() - i * interval '10 ms', 'Custom', 'n', 's' || i % 7
		  FROM generate_series(1, $BACKLOG) i"
	fold_and_watch "$BACKLOG"
	rate=$(median "${deltas[@]}")
	result "deltas folded a second (peer: made by 2 clients)" "$(per_second "$FOLD_RATE")" "$(per_second "$rate")" \
		"$(calc "$FOLD_RATE / $rate")" '>=' 5
	result "worker's own memory, backlog of $BACKLOG deltas, MB (peer: the limit)" "$(calc "$MOST_KB / 1024")" 64 \
		"$(calc "$MOST_KB / 1024 / 64")" '<=' 1
	empty_events
	until [ "$(run_sql -c 'SELECT worker_state FROM trace_ext.status')" = asleep ]; do
		sleep 1
	done
	sleep 5
	result "CPU seconds of all that workers do in an idle minute" "$(idle_cpu)" - 0 -

	run_sql -c 'ALTER SYSTEM RESET trace_ext.workers'
	restart_with
	run_sql -c 'DROP SCHEMA peer CASCADE' -c 'DROP TABLE bench.batches, bench.peer_batches, bench.batched CASCADE' 2>/dev/null
	empty_events
}
