# partitions.sh
#		What is asked about one trace, one variable since a time or one page, with
#		400 partitions against the same with 4: the same events, 400 days of them.
#
# shellcheck shell=bash

PARTITION_TRACES=${BENCH_PARTITION_TRACES:-20000}

# Questions, by name.
PARTITION_QUESTIONS=(
	"a trace by id|SELECT count(*) FROM trace_ext.trace_events(md5('t15000')::uuid)"
	"find_races()|SELECT count(*) FROM trace_ext.find_races(md5('t15000')::uuid)"
	"audit_trail()|SELECT count(*) FROM trace_ext.audit_trail(md5('t15000')::uuid, 'v0')"
	"a summary by id|SELECT * FROM trace_ext.trace_summaries WHERE trace_id = md5('t15000')::uuid"
	"all summaries|SELECT count(*) FROM trace_ext.trace_summaries"
	"list_traces()|SELECT count(*) FROM trace_ext.list_traces()"
	"list_traces(), filtered|SELECT count(*) FROM trace_ext.list_traces(service => 's3', search => 'ab')"
	"count_traces()|SELECT trace_ext.count_traces()"
	"count_variable_races(since)|SELECT trace_ext.count_variable_races('v0', '2026-02-04 00:00+00')"
	"an event stored|WITH e AS (INSERT INTO trace_ext.events (trace_id, id, \"timestamp\", kind) VALUES (md5('new')::uuid, gen_random_uuid(), '2025-06-01 00:00+00', 'Custom') RETURNING 1) SELECT * FROM e"
	"verify_summaries()|SELECT count(*) FROM trace_ext.verify_summaries()"
)

# have_partitions NUMBER: 400 days of traces of ten events in so many partitions.
have_partitions()
{
	run_sql -c 'DROP SCHEMA IF EXISTS bench_parts CASCADE' -c 'TRUNCATE trace_ext.events' -c 'CREATE SCHEMA bench_parts'
	run_sql -c "DO \$\$ BEGIN
		FOR n IN 0 .. $1 - 1 LOOP
			EXECUTE format('CREATE TABLE bench_parts.p%s PARTITION OF trace_ext.events FOR VALUES FROM (%L) TO (%L)', n,
				'2025-01-01 00:00+00'::timestamptz + n * (400 / $1) * interval '24 hours',
				'2025-01-01 00:00+00'::timestamptz + (n + 1) * (400 / $1) * interval '24 hours');
		END LOOP;
	END \$\$"
	run_sql -c "INSERT INTO trace_ext.events (trace_id, id, parent_id, \"timestamp\", kind, name, service_name, thread_id, attributes)
		SELECT md5('t' || t)::uuid, md5('e' || t || '.' || e)::uuid, CASE WHEN e > 0 THEN md5('e' || t || '.0')::uuid END,
			'2025-01-01 00:00+00'::timestamptz + t * interval '400 days' / $PARTITION_TRACES + e * interval '1 second',
			(CASE WHEN e IN (1, 2) THEN 'StateChange' ELSE 'FunctionCall' END)::trace_ext.event_kind,
			CASE WHEN e IN (1, 2) THEN 'v' || t % 1000 ELSE 'f' || e END, 's' || t % 10, 't' || e % 3,
			CASE WHEN e IN (1, 2) THEN '{\"access_type\": \"Write\"}'::jsonb END
		FROM generate_series(0, $PARTITION_TRACES - 1) t, generate_series(0, 9) e"
	run_sql -c 'SELECT trace_ext.fold()' -c 'VACUUM ANALYZE' -c CHECKPOINT >/dev/null
}

# The worker of the database must not look first.
let_worker_detect()
{
	run_sql -c "SELECT trace_ext.alter_job('detect', enabled => $1)" >/dev/null
}

# median_of QUESTION: milliseconds, the median of 15 runs in one session.
median_of()
{
	local times
	mapfile -t times < <(
		{
			echo 'SET trace_ext.cache_mode = off;'
			echo "$1;"
			echo '\timing on'
			for _ in {1..15}; do echo "$1;"; done
		} | run_sql -f - | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
	)
	median "${times[@]}"
}

# detect_time: milliseconds that it takes to look at all traces, each far from the next.
detect_time()
{
	run_sql -c '\timing on' -c 'CALL trace_ext.detect_all()' | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
}

bench_partitions()
{
	local question i few=() many few_detect
	empty_events
	let_worker_detect false
	have_partitions 4
	few_detect=$(detect_time)
	for question in "${PARTITION_QUESTIONS[@]}"; do
		few+=("$(median_of "${question#*|}")")
	done
	have_partitions 400
	many=$(detect_time)
	result "detect(), $PARTITION_TRACES sparse traces, 400 partitions / 4" "$(milliseconds "$many")" "$(milliseconds "$few_detect")" \
		"$(calc "$many / $few_detect")" '<=' 2
	result "detect(), sparse traces a second, 400 partitions" "$(calc "1000 * $PARTITION_TRACES / $many") /s" "" \
		"$(calc "1000 * $PARTITION_TRACES / $many / 5000")" '>=' 1
	for i in "${!PARTITION_QUESTIONS[@]}"; do
		question=${PARTITION_QUESTIONS[$i]}
		many=$(median_of "${question#*|}")
		result "${question%%|*}, 400 partitions / 4" "$(milliseconds "$many")" "$(milliseconds "${few[$i]}")" \
			"$(calc "$many / ${few[$i]}")" '<=' 1.5
	done
	let_worker_detect true
	run_sql -c 'DROP SCHEMA bench_parts CASCADE'
	must_be_exact "with 400 partitions"
	empty_events
}
