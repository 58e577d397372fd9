# lib.sh
#		What the benchmarks share: SQL, clocks, medians and the table of results.
#		Sourced by run.sh, after test/lib.sh.
#
# shellcheck shell=bash

RESULTS=()

# run_sql FILE|-c SQL ...: as superuser, in the database of the benchmarks.
run_sql()
{
	as_server "$BINDIR/psql" -XAtq -v ON_ERROR_STOP=1 -d bench "$@"
}

# time_sql SQL: milliseconds of one statement, by psql's clock.
time_sql()
{
	run_sql -c '\timing on' -c "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -1
}

# calc EXPRESSION: awk's arithmetic.
calc()
{
	awk "BEGIN { printf \"%.6g\", $* }"
}

# median NUMBER...: of an even number of them, the mean of the two in the middle.
median()
{
	printf '%s\n' "$@" | sort -g |
		awk '{ v[NR] = $1 } END { printf "%.6g", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

per_second()
{
	awk "BEGIN { printf \"%'d /s\", $1 }"
}

milliseconds()
{
	awk "BEGIN { printf \"%.*f ms\", $1 < 10 ? 3 : 0, $1 }"
}

# quick_query SCRIPT SECONDS [PGBENCH_ARGUMENT...]: mean latency in ms of a small
# query, of one client that runs it over and over.
quick_query()
{
	local script=$1 seconds=$2
	shift 2
	pgbench_run "$script" "$seconds" -c 1 "$@" | sed -n 's/^latency average = \([0-9.]*\) ms/\1/p'
}

# pgbench_run SCRIPT SECONDS [ARGUMENT...]; prints what pgbench prints.
pgbench_run()
{
	local script=$1 seconds=$2
	shift 2
	as_server "$BINDIR/pgbench" -n -M prepared -f "$BENCH/$script" -T "$seconds" "$@" bench 2>>"$WORK/pgbench.log" ||
		die "pgbench failed: $(tail -5 "$WORK/pgbench.log")"
}

# Time on the clock says little on a machine that others use as well, and of what is
# a fraction of a microsecond nothing. What a server process used of a CPU is known
# to the nanosecond, and suffers less: the process itself says how much.
CPU_SO_FAR="split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint"

# cpu_of_script SCRIPT CLIENTS TIMES: microseconds of CPU that a server process uses
# for a statement, as the median of TIMES transactions of 50 of each client.
cpu_of_script()
{
	{
		echo "SELECT $CPU_SO_FAR AS a \gset"
		for ((i = 0; i < 50; i++)); do cat "$BENCH/$1"; done
		echo "SELECT $CPU_SO_FAR AS b \gset"
		echo '\set used debug(:b - :a)'
	} >"$BENCH/repeated.sql"
	as_server "$BINDIR/pgbench" -n -M prepared -f "$BENCH/repeated.sql" -c "$2" -j 2 -t "$3" bench 2>&1 |
		sed -n 's/^debug(.*int //p' | sort -g | awk '{ v[NR] = $1 } END { printf "%.3f", v[int((NR + 1) / 2)] / 50000 }'
}

# cpu_of_statement SOCKET DATABASE TIMES STATEMENT: the mean for a statement, or for
# several in a row, each of which is sent by itself, TIMES times in one session.
cpu_of_statement()
{
	{
		echo "SELECT $CPU_SO_FAR;"
		echo '\o /dev/null'
		yes "$4" | head -n "$3" || true
		echo '\o'
		echo "SELECT $CPU_SO_FAR;"
	} >"$BENCH/repeated.sql"
	PGOPTIONS='-c client_min_messages=error' as_server "$BINDIR/psql" -XAtq -v ON_ERROR_STOP=1 -h "$1" -d "$2" -f "$BENCH/repeated.sql" |
		awk -v n="$3" 'NR == 1 { a = $1 } { b = $1 } END { printf "%.3f", (b - a) / n / 1000 }'
}

microseconds()
{
	awk "BEGIN { printf \"%.*f us\", $1 < 100 ? 1 : 0, $1 }"
}

# result WORK OURS PEER RATIO COMPARISON GOAL: a line of the table. COMPARISON is
# >= or <=, or "-" where no goal is set.
result()
{
	local met=-
	if [ "$5" != - ]; then
		met=$(awk "BEGIN { print ($4 $5 $6) ? \"yes\" : \"NO\" }")
	fi
	RESULTS+=("$1|$2|$3|$(awk "BEGIN { printf \"%.*f\", $4 < 100 ? 2 : 0, $4 }")|${5#-}${6:+ $6}|$met")
	say "    $1: $2, $3"
}

print_results()
{
	say ""
	printf '%s\n' "work|ours|peer|ratio|goal|met" "${RESULTS[@]}" |
		awk -F'|' '
			{ for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
			END {
				for (r = 1; r <= NR; r++) {
					line = sprintf("%-" width[1] "s", cell[r, 1])
					for (i = 2; i <= 6; i++) line = line "  " sprintf("%" width[i] "s", cell[r, i])
					print line
				}
			}'
}

# Empty the events, through the triggers; the next benchmark begins with a
# checkpoint behind it, not before it.
empty_events()
{
	run_sql -c 'TRUNCATE trace_ext.events' -c 'SELECT trace_ext.fold()' \
		-c 'VACUUM trace_ext.summary_base, trace_ext.summary_deltas, trace_ext.count_deltas, trace_ext.count_base, trace_ext.operation_base, trace_ext.operation_totals, trace_ext.totals, trace_ext.version_deltas, trace_ext.service_traces, trace_ext.calls_queue, trace_ext.trace_call_rows, trace_ext.call_base, trace_ext.call_totals' \
		-c CHECKPOINT >/dev/null
	LOADED_DAYS=0
}

# load_days DAYS: have the events of so many days stored, EVENTS a day, folded,
# vacuumed and analyzed, so that whoever is measured next finds them at their best.
load_days()
{
	local day
	for ((day = LOADED_DAYS; day < $1; day++)); do
		run_sql -c "INSERT INTO trace_ext.events
			SELECT * FROM bench.events_of($day * $TRACES, ($day + 1) * $TRACES - 1) ORDER BY \"timestamp\" LIMIT $EVENTS"
	done
	LOADED_DAYS=$1
	# fold() adds up calls for a second only.
	run_sql -c 'SELECT trace_ext.fold()' -c 'DO $$ BEGIN WHILE trace_ext_internal.take_calls_if_free() LOOP COMMIT; END LOOP; END $$' \
		-c 'VACUUM ANALYZE' -c CHECKPOINT >/dev/null
}

# The derived data must still be right, or the figures mean nothing.
must_be_exact()
{
	local wrong
	wrong=$(run_sql -c 'SELECT count(*) FROM trace_ext.verify_summaries()')
	[ "$wrong" = 0 ] || die "$1: $wrong summaries or counts are wrong"
}
