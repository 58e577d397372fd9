# analysis.sh
#		What is asked about the whole system, from rollups, against the queries over
#		events that it replaces.
#
# The functions are asked as of the end of the data: now, the last hour would be empty.
#
# shellcheck shell=bash

ANALYSIS_QUESTIONS=(performance health hotspots operations)
declare -A ANALYSIS_NAMES=([performance]="performance_metrics()" [health]="service_health()" [hotspots]="system_hotspots()" [operations]="operations()")

bench_analysis()
{
	local question peer
	declare -gA ANALYSIS_SMALL
	empty_events
	load_days 1
	for question in "${ANALYSIS_QUESTIONS[@]}"; do
		ANALYSIS_SMALL[$question]=$(quick_query "analysis_$question.sql" 5 -D day=1)
		peer=$(quick_query "analysis_${question}_peer.sql" 10 -D day=1)
		result "${ANALYSIS_NAMES[$question]} at $EVENTS" "$(milliseconds "${ANALYSIS_SMALL[$question]}")" "$(milliseconds "$peer")" \
			"$(calc "$peer / ${ANALYSIS_SMALL[$question]}")" '>=' 200
	done
	must_be_exact analysis
}

bench_analysis_large()
{
	local question large
	for question in "${ANALYSIS_QUESTIONS[@]}"; do
		large=$(quick_query "analysis_$question.sql" 5 -D day=10)
		result "${ANALYSIS_NAMES[$question]}, 10 x the events / 1 x" "$(milliseconds "$large")" "$(milliseconds "${ANALYSIS_SMALL[$question]}")" \
			"$(calc "$large / ${ANALYSIS_SMALL[$question]}")" '<=' 1.5
	done
}
