#!/usr/bin/env bash
# demo_router.sh
#		Three stores and a router in front of them: what "make demo-router" calls.
#
# Builds the extension, installs it into a copy of the server that is the demo's own,
# starts four throw-away clusters, each with a socket of its own and on no network,
# shows test/demo_router.sql, stops a node and shows what that says, and
# removes all of it, however it ends.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NODES=(north east south)

# The demo's own SQL, as who asks the router.
ask()
{
	PGOPTIONS='-c client_min_messages=warning' "$BINDIR/psql" -X -q -h "$WORK/router" -p "$PORT" -U postgres -d traces \
		-v ON_ERROR_STOP="${STOP_ON_ERROR:-1}" -P footer=off -P pager=off "$@"
}

# The answers to these, errors and warnings included.
show_sql()
{
	STOP_ON_ERROR=0 ask -v SHOW_CONTEXT=never -c 'SET search_path = trace_ext, public' "$@" 2>&1 || true
	say ''
}

start_clusters()
{
	local name
	for name in "${NODES[@]}" router; do
		cluster_make "$WORK/$name"
		cluster_start "$WORK/$name" shared_preload_libraries=trace_ext "cluster_name=$name" fsync=off
		"$BINDIR/createdb" -h "$WORK/$name" -p "$PORT" -U postgres traces
	done
}

# Each node is a store like any other.
make_stores()
{
	local name
	for name in "${NODES[@]}"; do
		"$BINDIR/psql" -X -q -h "$WORK/$name" -p "$PORT" -U postgres -d traces -c 'CREATE EXTENSION trace_ext' 2>"$WORK/notices"
	done
}

# A row here would be an error.
verify_nodes()
{
	local name
	for name in "${NODES[@]}"; do
		"$BINDIR/psql" -X -q -A -t -h "$WORK/$name" -p "$PORT" -U postgres -d traces \
			-c "SELECT format('   %s: %s events of %s traces, %s of them not as recomputed', '$name', trace_ext.count_events(), trace_ext.count_traces(), count(*)) FROM trace_ext.verify_summaries()"
	done
}

stop_node()
{
	cluster_stop "$WORK/$1"
	say "8. Node \"$1\" is stopped. What it takes part in names it, and is no smaller answer in silence: SELECT count_events(), SELECT ... FROM find_variable_races('accounts.alice.balance')"
	show_sql -c 'SELECT count_events()' -c "SELECT kind, evidence FROM find_variable_races('accounts.alice.balance') LIMIT 1"
	say '   Who would rather have what there is asks for it: SET trace_ext.node_down = partial'
	show_sql -c 'SET trace_ext.node_down = partial' -c 'SELECT count_events()'
	say '   SELECT ... FROM nodes'
	show_sql -c "SELECT name, state, events, left(regexp_replace(last_error, '\s+', ' ', 'g'), 60) AS last_error FROM nodes"
}

start_again()
{
	cluster_start "$WORK/$1" shared_preload_libraries=trace_ext "cluster_name=$1" fsync=off
	say "9. It is started again, and the router finds it by itself; the batch sent once more, as after a lost answer, is stored nowhere twice"
	ask -c "SET search_path = trace_ext, public" -v batch="$(cat "$ROOT/test/data/express-banking.json")" -f - <<-'SQL'
		SELECT * FROM ingest_events(:'batch');
		SELECT count_events() AS events, count_traces() AS traces;
	SQL
}

finish()
{
	local name
	trap - EXIT
	for name in "${NODES[@]}" router; do
		cluster_stop "$WORK/$name"
	done
	rm -rf "$WORK"
}

main()
{
	[ $# -eq 0 ] || die "usage: demo_router.sh"
	"$ROOT/test/packages.sh" demo
	find_postgres
	make_work router
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	say "building trace_ext for $VERSION"
	use_private_postgres "$WORK"
	# shellcheck disable=SC2119 # it takes arguments of make, not ours
	build_and_install || die "the build failed"
	cd "$ROOT"
	say "starting four clusters: the stores ${NODES[*]}, and a router"
	start_clusters
	make_stores
	ask -v where="$WORK" -v port="$PORT" -f test/demo_router.sql ||
		die "the demo failed; the router's log ends so:"$'\n'"$(tail -20 "$WORK/router/log")"
	stop_node east
	start_again east
	say '10. Each node by itself, stored sums against recomputed ones: SELECT ... FROM verify_summaries()'
	verify_nodes
	say ''
	say 'Everything is stopped and removed. docs/scale.md says how to do it with machines.'
}

main "$@"
