# watch.sh
#		What a watched table costs: pgbench's TPC-B-like work with 4 clients, while pgbench_accounts is
#		watched, while another table of the database is, and while none is, in turns; the worker
#		stores what is taken at the same time, on the same processors.
#
# The other table costs a session one look-up a relation, which is less than the noise of
# a rate: so CPU of the server process a statement is compared as well.
#
# shellcheck shell=bash

tpcb_sql()
{
	as_server "$BINDIR/psql" -XAtq -v ON_ERROR_STOP=1 -d tpcb "$@"
}

# watch_table [TABLE]: watches that one and no other, and lets the worker store what is left.
watch_table()
{
	tpcb_sql -c 'SELECT trace_ext.unwatch("table") FROM trace_ext.watched_tables' >/dev/null
	if [ -n "${1:-}" ]; then
		tpcb_sql -c "SELECT trace_ext.watch('$1')" >/dev/null
	fi
	tpcb_sql -c 'DO $$ BEGIN WHILE trace_ext_internal.watch_waiting() LOOP PERFORM pg_sleep(0.1); END LOOP; END $$' -c 'CHECKPOINT'
}

# Transactions a second.
tpcb_rate()
{
	as_server "$BINDIR/pgbench" -n -M prepared -c 4 -j 2 -T "$SECONDS_EACH" tpcb 2>>"$WORK/pgbench.log" |
		sed -n 's/^tps = \([0-9.]*\) .*/\1/p'
}

compare_rates()
{
	local round none watched other nones=() watcheds=() others=() ratios=() other_ratios=()
	for ((round = 1; round <= ROUNDS; round++)); do
		watch_table
		none=$(tpcb_rate)
		watch_table pgbench_accounts
		watched=$(tpcb_rate)
		watch_table watched_other
		other=$(tpcb_rate)
		nones+=("$none") watcheds+=("$watched") others+=("$other")
		ratios+=("$(calc "$watched / $none")") other_ratios+=("$(calc "$other / $none")")
	done
	result 'TPC-B-like, pgbench_accounts watched / nothing watched' "$(per_second "$(median "${watcheds[@]}")")" "$(per_second "$(median "${nones[@]}")")" \
		"$(median "${ratios[@]}")" '>=' 0.90
	result 'TPC-B-like, another table watched / nothing watched' "$(per_second "$(median "${others[@]}")")" "$(per_second "$(median "${nones[@]}")")" \
		"$(median "${other_ratios[@]}")" '>=' 0.99
}

# A statement by its CPU: on a watched table, and on one beside it.
compare_statements()
{
	local name statement table round none some nones somes ratios
	while IFS='|' read -r name table statement; do
		nones=() somes=() ratios=()
		for ((round = 1; round <= ROUNDS; round++)); do
			watch_table
			none=$(cpu_of_statement "$SOCKET" tpcb 1000 "$statement")
			watch_table "$table"
			some=$(cpu_of_statement "$SOCKET" tpcb 1000 "$statement")
			nones+=("$none") somes+=("$some") ratios+=("$(calc "$some / $none")")
		done
		result "CPU of $name" "$(microseconds "$(median "${somes[@]}")")" "$(microseconds "$(median "${nones[@]}")")" "$(median "${ratios[@]}")" - ''
	done <<-END
		a read, another table watched / none|watched_other|SELECT abalance FROM pgbench_accounts WHERE aid = 1;
		an update, another table watched / none|watched_other|UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1;
		a read, watched / not|pgbench_accounts|SELECT abalance FROM pgbench_accounts WHERE aid = 1;
		an update, watched / not|pgbench_accounts|UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1;
	END
}

bench_watch()
{
	as_server "$BINDIR/psql" -XAtq -d postgres -c 'CREATE DATABASE tpcb'
	as_server "$BINDIR/pgbench" -q -i -s 10 tpcb 2>>"$WORK/pgbench.log"
	tpcb_sql -c 'CREATE EXTENSION trace_ext' -c 'CREATE TABLE watched_other (id int PRIMARY KEY, v int)'
	compare_rates
	compare_statements
}
