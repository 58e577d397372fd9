# router.sh
#		A router over 1, 2 and 4 nodes beside a single store with the same events: what ingest, counts, lists,
#		races and the detector cost of a CPU, of the router and of the nodes; then the model of model.sh, from what was measured.
#
# All nodes and routers are databases of one cluster, whose workers are off: each session says what it used itself, and
# so do the sessions that it has on nodes. Time on the clock says nothing of a dozen servers on two cores.
#
# shellcheck shell=bash

ROUTER_NODES=(1 2 4)

router_sql()
{
	local database=$1
	shift
	as_server "$BINDIR/psql" -XAtq -v ON_ERROR_STOP=1 -h "$SOCKET/routers" -d "$database" "$@"
}

# What a session has used, in ns; and those that it has on nodes, added up.
NODES_CPU="(SELECT sum(answer::bigint) FROM trace_ext_internal.ask_nodes('SELECT $(sed "s/'/''/g" <<<"$CPU_SO_FAR")::text'))"

# cpu_of DATABASE TIMES STATEMENT: microseconds of CPU of the router and of its nodes for a statement, "ROUTER NODES". A
# store has no nodes. The first times make connections and plans, and are left out.
cpu_of()
{
	local nodes=$NODES_CPU
	[ "$1" != single ] || nodes=0
	{
		echo '\o /dev/null'
		yes "$3" | head -n 3 || true
		echo '\o'
		echo "SELECT $nodes; SELECT $CPU_SO_FAR;"
		echo '\o /dev/null'
		yes "$3" | head -n "$2" || true
		echo '\o'
		echo "SELECT $CPU_SO_FAR; SELECT $nodes;"
	} >"$BENCH/router_repeated.sql"
	router_sql "$1" -f "$BENCH/router_repeated.sql" |
		awk -v n="$2" '{ v[NR] = $1 } END { printf "%.1f %.1f", (v[3] - v[2]) / n / 1000, (v[4] - v[1]) / n / 1000 }'
}

make_routers()
{
	local n i
	ROUTERS=$WORK/routers
	mkdir "$SOCKET/routers"
	give "$SOCKET/routers"
	cluster_make "$ROUTERS"
	cluster_start "$ROUTERS" "${SETTINGS[@]/shared_buffers=2GB/shared_buffers=1GB}" "unix_socket_directories=$SOCKET/routers" trace_ext.workers=off trace_ext.fold_threshold=0
	router_sql postgres -c 'CREATE DATABASE store'
	router_sql store -c 'CREATE EXTENSION trace_ext' -c "CREATE TABLE trace_ext.events_day0 PARTITION OF trace_ext.events FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2024-01-02 00:00+00')" 2>/dev/null
	router_sql postgres -c 'CREATE DATABASE single TEMPLATE store' -c 'CREATE DATABASE router'
	router_sql router -c 'CREATE EXTENSION trace_ext_router CASCADE' 2>/dev/null
	for n in "${ROUTER_NODES[@]}"; do
		router_sql postgres -c "CREATE DATABASE router$n TEMPLATE router"
		for ((i = 1; i <= n; i++)); do
			router_sql postgres -c "CREATE DATABASE node${n}_$i TEMPLATE store"
			router_sql "router$n" -c "SELECT trace_ext.add_node('node${n}_$i', 'host=$SOCKET/routers port=$PORT dbname=node${n}_$i user=postgres')" >/dev/null
		done
	done
}

# For each database that events are sent from: batches of 1,000 as a client posts them, and rows of as many other events.
make_batches()
{
	local name
	run_sql -c "COPY (SELECT jsonb_build_object('events', jsonb_agg(jsonb_build_object('id', s.id, 'trace_id', s.trace_id, 'parent_id', s.parent_id,
			'timestamp', to_char(s.\"timestamp\" AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'kind', bench.kind_document(s), 'metadata', bench.metadata_document(s),
			'causality_vector', s.causality_vector::jsonb, 'lock_set', coalesce(to_jsonb(s.lock_set), '[]')) ORDER BY s.n))::text
		FROM bench.sample s WHERE s.n < $ROUTER_EVENTS GROUP BY s.n / 1000 ORDER BY s.n / 1000) TO '$WORK/router_batches'"
	run_sql -c "COPY (SELECT s.* FROM bench.sample s WHERE s.n BETWEEN $ROUTER_EVENTS AND 2 * $ROUTER_EVENTS - 1) TO '$WORK/router_rows'"
	for name in single "${ROUTER_NODES[@]/#/router}"; do
		router_sql "$name" -c 'CREATE TABLE public.batches (n serial, batch text)' -c "COPY public.batches (batch) FROM '$WORK/router_batches'" \
			-c 'CREATE TABLE public.rows (n bigint, LIKE trace_ext.events)' -c "COPY public.rows FROM '$WORK/router_rows'" \
			-c 'CREATE INDEX ON public.rows (n)' -c 'VACUUM ANALYZE public.batches, public.rows'
	done
}

# send_cpu DATABASE LOOP: microseconds of CPU for an event, "ROUTER NODES"; LOOP is plpgsql that sends and commits all.
send_cpu()
{
	local nodes=$NODES_CPU
	[ "$1" != single ] || nodes=0
	router_sql "$1" -c 'SELECT trace_ext.count_events()' -c "SELECT $nodes" -c "SELECT $CPU_SO_FAR" -c "DO \$\$ DECLARE b text; BEGIN $2 END \$\$" \
		-c "SELECT $CPU_SO_FAR" -c "SELECT $nodes" -c 'SELECT trace_ext.count_events()' |
		awk -v events="$ROUTER_EVENTS" '{ v[NR] = $1 } END {
			if (v[6] - v[1] != events) { print "not all were stored" > "/dev/stderr"; exit 1 }
			printf "%.2f %.2f", (v[4] - v[3]) / events / 1000, (v[5] - v[2]) / events / 1000 }'
}

# Each batch is a transaction.
ingest_cpu()
{
	send_cpu "$1" 'FOR b IN SELECT batch FROM public.batches ORDER BY n LOOP PERFORM trace_ext.ingest_events(b); COMMIT; END LOOP;'
}

insert_cpu()
{
	send_cpu "$1" "FOR i IN $ROUTER_EVENTS / 1000 .. 2 * $ROUTER_EVENTS / 1000 - 1 LOOP
		INSERT INTO trace_ext.events SELECT trace_id, id, parent_id, \"timestamp\", kind, name, service_name, instance_id, process_id, thread_id, environment,
			span_id, upstream_span_id, duration_ns, attributes, tags, causality_vector, lock_set, stamped_at_end FROM public.rows r WHERE r.n BETWEEN i * 1000 AND i * 1000 + 999;
		COMMIT; END LOOP;"
}

# fold_cpu DATABASE: how many deltas an event made, and microseconds for a delta; afterwards nothing is outstanding.
fold_cpu()
{
	router_sql "$1" -c 'SELECT summary_backlog + count_backlog FROM trace_ext.status' -c "SELECT $CPU_SO_FAR" -c 'SELECT trace_ext.fold()' -c "SELECT $CPU_SO_FAR" |
		awk -v events="$ROUTER_EVENTS" '{ v[NR] = $1 } END { printf "%.4f %.2f\n", v[1] / events / 2, (v[4] - v[2]) / v[1] / 1000 }'
}

# Bytes of an event in table and indexes, and of a summary with its index, of one database.
stored_bytes()
{
	router_sql "$1" -c "SELECT round((SELECT sum(pg_total_relation_size(part::regclass)) FROM trace_ext.partitions) / trace_ext.count_events()),
		round(pg_total_relation_size('trace_ext.summary_base')::numeric / trace_ext.count_traces()), round(trace_ext.count_events()::numeric / trace_ext.count_traces(), 1)" | tr '|' ' '
}

constant()
{
	echo "$1=$2" >>"$WORK/router_constants"
}

# slope NAME ROUTER_AT_1 ROUTER_AT_4: what the router spends at all, and for each node.
slope()
{
	constant "${1}_us_node_of_router" "$(calc "($3 - $2) / 3")"
	constant "${1}_us_router" "$(calc "$2 - ($3 - $2) / 3")"
}

bench_router_ingest()
{
	local n i store stored cpu rows per_node=() deltas delta event summary trace
	store=$(insert_cpu single)
	stored=$(ingest_cpu single)
	for n in "${ROUTER_NODES[@]}"; do
		cpu=$(insert_cpu "router$n")
		result "INSERT of 1,000 rows, $n nodes: the router's CPU an event" "$(microseconds "${cpu% *}")" "$(microseconds "${store% *}") of a store" "${cpu% *}" '<=' 8
		result "INSERT of 1,000 rows, $n nodes: the nodes' CPU an event" "$(microseconds "${cpu#* }")" "$(microseconds "${store% *}") of a store" "${cpu#* }" '<=' 20
		per_node+=("${cpu#* }")
		rows=$cpu
		cpu=$(ingest_cpu "router$n")
		result "ingest_events() of 1,000, $n nodes: the router's CPU an event" "$(microseconds "${cpu% *}")" "$(microseconds "${stored% *}") of a store" "$(calc "${cpu% *} / ${stored% *}")" -
		result "ingest_events() of 1,000, $n nodes: the nodes' CPU an event" "$(microseconds "${cpu#* }")" "$(microseconds "${stored% *}") of a store" "$(calc "${cpu#* } / ${stored% *}")" -
	done
	result 'INSERT: the nodes'"'"' CPU an event, 4 nodes / 1' "$(microseconds "${per_node[2]}")" "$(microseconds "${per_node[0]}")" "$(calc "${per_node[2]} / ${per_node[0]}")" '<=' 1.15
	constant router_us "${rows% *}"
	constant node_us "${rows#* }"
	constant store_us "${store% *}"
	read -r deltas delta < <(fold_cpu single)
	constant deltas_an_event "$deltas"
	constant delta_us "$delta"
	for n in "${ROUTER_NODES[@]}"; do
		for ((i = 1; i <= n; i++)); do
			router_sql "node${n}_$i" -c 'SELECT trace_ext.fold()' -c 'VACUUM ANALYZE' >/dev/null
		done
	done
	router_sql single -c 'VACUUM ANALYZE'
	read -r event summary trace < <(stored_bytes single)
	constant event_bytes "$event"
	constant summary_bytes "$summary"
	constant events_a_trace "$trace"
	bench_router_copy
}

# Straight to a node, as node_of() allows.
bench_router_copy()
{
	local cpu
	router_sql postgres -c 'CREATE DATABASE copied TEMPLATE store'
	router_sql single -c "COPY (SELECT trace_id, id, parent_id, \"timestamp\", kind, name, service_name, instance_id, process_id, thread_id, environment,
		span_id, upstream_span_id, duration_ns, attributes, tags, causality_vector, lock_set, stamped_at_end FROM public.rows ORDER BY n) TO '$WORK/router_copied'"
	cpu=$(router_sql copied -c "SELECT $CPU_SO_FAR" -c "COPY trace_ext.events FROM '$WORK/router_copied'" -c "SELECT $CPU_SO_FAR" |
		awk -v events="$ROUTER_EVENTS" '{ v[NR] = $1 } END { printf "%.2f", (v[2] - v[1]) / events / 1000 }')
	result 'COPY straight to a node, an event' "$(microseconds "$cpu")" "$(microseconds 12.5), the goal" "$(calc "$cpu / 12.5")" -
	constant copy_us "$cpu"
	router_sql postgres -c 'DROP DATABASE copied'
}

bench_router_questions()
{
	local n single cpu first
	single=$(cpu_of single 200 'SELECT trace_ext.count_events();')
	for n in "${ROUTER_NODES[@]}"; do
		cpu=$(cpu_of "router$n" 200 'SELECT trace_ext.count_events();')
		[ "$n" != 1 ] || first=${cpu% *}
		result "count_events(), $n nodes: CPU of a node" "$(milliseconds "$(calc "${cpu#* } / $n / 1000")")" "$(milliseconds "$(calc "${single% *} / 1000")") of a store" "$(calc "${cpu#* } / $n / 1000")" '<=' 0.3
		say "      the router: ${cpu% *} us"
	done
	slope count "$first" "${cpu% *}"
	constant count_us_node "$(calc "${cpu#* } / $n")"
	single=$(cpu_of single 100 'SELECT * FROM trace_ext.list_traces();')
	for n in "${ROUTER_NODES[@]}"; do
		cpu=$(cpu_of "router$n" 100 'SELECT * FROM trace_ext.list_traces();')
		[ "$n" != 1 ] || first=${cpu% *}
		result "list_traces(), $n nodes: CPU in all" "$(milliseconds "$(calc "(${cpu% *} + ${cpu#* }) / 1000")")" "$(milliseconds "$(calc "${single% *} / 1000")") of a store" \
			"$(calc "(${cpu% *} + ${cpu#* }) / 1000")" '<=' "$(calc "1 + 0.4 * $n")"
	done
	slope list "$first" "${cpu% *}"
	constant list_us_node "$(calc "${cpu#* } / $n")"
}

bench_router_races()
{
	local n single cpu trace
	trace=$(router_sql single -c 'SELECT trace_id FROM trace_ext.trace_summaries ORDER BY access_count DESC, trace_id LIMIT 1')
	single=$(cpu_of single 20 "SELECT * FROM trace_ext.find_races('$trace');")
	for n in "${ROUTER_NODES[@]}"; do
		cpu=$(cpu_of "router$n" 20 "SELECT * FROM trace_ext.find_races('$trace');")
		result "find_races(), $n nodes: CPU in all" "$(milliseconds "$(calc "(${cpu% *} + ${cpu#* }) / 1000")")" "$(milliseconds "$(calc "${single% *} / 1000")") of a store" \
			"$(calc "(${cpu% *} + ${cpu#* } - ${single% *}) / 1000")" '<=' "$(calc "5 + 2 * $n")"
	done
}

bench_router_detect()
{
	local n single cpu
	for n in single "${ROUTER_NODES[@]/#/router}"; do
		cpu=$(router_sql "$n" -c "SELECT $CPU_SO_FAR" -c 'CALL trace_ext.detect_all()' -c "SELECT $CPU_SO_FAR" |
			awk -v events="$((2 * ROUTER_EVENTS))" '{ v[NR] = $1 } END { printf "%.2f", (v[NR] - v[1]) / events / 1000 }')
		if [ "$n" = single ]; then
			single=$cpu
		else
			result "detect(), $n: CPU of the router an event" "$(microseconds "$cpu")" "$(microseconds "$single") of a store" "$cpu" '<=' 15
		fi
		[ "$(router_sql "$n" -c 'SELECT count(*), sum(occurrences) FROM trace_ext.findings')" = "$(router_sql single -c 'SELECT count(*), sum(occurrences) FROM trace_ext.findings')" ] ||
			die "$n: findings are not those of the store"
	done
	constant detect_us "$cpu"
}

bench_router()
{
	# As rows and, others, as documents.
	ROUTER_EVENTS=$((EVENTS < 400000 ? EVENTS / 2000 * 1000 : 200000))
	rm -f "$WORK/router_constants"
	make_routers
	make_batches
	bench_router_ingest
	bench_router_questions
	bench_router_races
	bench_router_detect
	cluster_stop "$ROUTERS"
	say "    what was measured: $(tr '\n' ' ' <"$WORK/router_constants")"
	say ''
	"$BENCH_SOURCE/model.sh" "$WORK/router_constants"
	cp "$WORK/router_constants" "${BENCH_CONSTANTS:-/dev/null}"
}
