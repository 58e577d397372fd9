# copy.sh
#		COPY with all derived data kept, against the same COPY without triggers.
#
# Both write the same rows into the same table with the same constraints and
# indexes. They alternate, so that a machine that slows down slows both.
#
# shellcheck shell=bash

# The triggers of DISABLE TRIGGER ALL would include those of foreign keys; there
# are none. Those of the extension fire ALWAYS.
set_triggers()
{
	local table action=$1
	for table in trace_ext.events trace_ext.events_day0; do
		run_sql -c "ALTER TABLE $table $action TRIGGER trace_ext_note" \
			-c "ALTER TABLE $table $action TRIGGER trace_ext_append"
	done
}

COPIED='trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, environment, span_id,
	upstream_span_id, duration_ns, attributes, tags, causality_vector, lock_set, stamped_at_end'

# copy_once TABLE: milliseconds.
copy_once()
{
	time_sql "COPY $1 ($COPIED) FROM '$WORK/events.copy'"
}

compare_copy()
{
	local title=$1 table=$2 round ours=() peer=()
	for ((round = 1; round <= ROUNDS; round++)); do
		empty_events
		ours+=("$(copy_once "$table")")
		if [ "$round" -eq 1 ]; then
			must_be_exact "$title"
		fi

		empty_events
		set_triggers DISABLE
		peer+=("$(copy_once "$table")")
		# Nothing was counted, so nothing may be taken away.
		run_sql -c "ALTER TABLE trace_ext.events_day0 DISABLE TRIGGER ALL" -c 'TRUNCATE trace_ext.events_day0' \
			-c "ALTER TABLE trace_ext.events_day0 ENABLE TRIGGER ALL"
		set_triggers 'ENABLE ALWAYS'
	done
	say "    with triggers ${ours[*]} ms, without ${peer[*]} ms"
	result "$title" "$(per_second "$EVENTS * 1000 / $(median "${ours[@]}")")" \
		"$(per_second "$EVENTS * 1000 / $(median "${peer[@]}")")" \
		"$(calc "$(median "${peer[@]}") / $(median "${ours[@]}")")" '>=' 0.75
}

bench_copy()
{
	run_sql -c "COPY (SELECT $COPIED
		FROM bench.sample ORDER BY n) TO '$WORK/events.copy'"
	compare_copy "COPY of $EVENTS events, parent" trace_ext.events
	compare_copy "COPY of $EVENTS events, partition" trace_ext.events_day0
	rm -f "$WORK/events.copy"
	empty_events
}
