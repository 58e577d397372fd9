/*
 * trace_analysis.c
 *		All that there is to say of a trace in one document: trace_analysis().
 *
 * The trace is loaded once, with what raced with it and what kept it waiting, and
 * ordered once.  What changes something comes last: anomalies adjust the clocks.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "analysis/anomalies.h"
#include "analysis/critical_path.h"
#include "analysis/dependencies.h"
#include "analysis/linked.h"
#include "analysis/trace_tree.h"
#include "guc.h"
#include "races/arrays.h"
#include "races/overlaps.h"
#include "races/race_rows.h"

#define MOST_ROWS 1000

PG_FUNCTION_INFO_V1(tex_trace_analysis);

/* A string, or null. */
static void
append_text(StringInfo json, const char *text)
{
	if (text)
		escape_json(json, text);
	else
		appendStringInfoString(json, "null");
}

/* A time as JSON has it. */
static void
append_time(StringInfo json, TimestampTz at)
{
	char		text[MAXDATELEN + 1];

	appendStringInfo(json, "\"%s\"", JsonEncodeDateTime(text, TimestampTzGetDatum(at), TIMESTAMPTZOID, NULL));
}

/* For qsort(): names of services as trace_summaries has them. */
static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The services of the trace. */
static void
append_services(StringInfo json, const TexOneTrace *one)
{
	bool	   *seen = tex_new_array(sizeof(bool), tex_strings_count(one->history->names), 0);
	const char **names = tex_new_array(sizeof(char *), tex_strings_count(one->history->names), 0);
	int			n = 0;

	for (int32 i = 0; i < one->n; i++)
	{
		int32		service = one->events[i].service;

		if (!tex_is_home(one, i) || service == TEX_NO_NAME || seen[service])
			continue;
		seen[service] = true;
		names[n++] = tex_text_of(one, service);
	}
	qsort(names, n, sizeof(char *), compare_names);
	appendStringInfoChar(json, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(json, ',');
		escape_json(json, names[i]);
	}
	appendStringInfoChar(json, ']');
}

/* What trace_summaries says of the trace, of this snapshot. */
static void
append_summary(StringInfo json, const TexOneTrace *one)
{
	int64		events = 0;
	int64		errors = 0;
	int64		accesses = 0;
	int32		root = TEX_NO_EVENT;

	for (int32 i = 0; i < one->n; i++)
	{
		const TexEvent *event = &one->events[i];

		if (!tex_is_home(one, i))
			continue;
		events++;
		errors += (event->flags & TEX_EVENT_IS_ERROR) != 0;
		accesses += event->kind == TEX_STATE_CHANGE;
		/* Events come by time, then id. */
		if (root == TEX_NO_EVENT && memcmp(&event->id, &event->parent_id, sizeof(pg_uuid_t)) == 0)
			root = i;
	}
	appendStringInfo(json, "{\"event_count\":%lld,\"error_count\":%lld,\"access_count\":%lld,\"started_at\":",
					 (long long) events, (long long) errors, (long long) accesses);
	append_time(json, one->extent.started);
	appendStringInfoString(json, ",\"ended_at\":");
	append_time(json, one->extent.ended);
	appendStringInfo(json, ",\"duration_ms\":%.3f,\"services\":", (one->extent.ended - one->extent.started) / 1000.0);
	append_services(json, one);
	appendStringInfoString(json, ",\"root_name\":");
	append_text(json, root == TEX_NO_EVENT ? NULL : tex_text_of(one, one->events[root].name));
	appendStringInfoString(json, ",\"root_service\":");
	append_text(json, root == TEX_NO_EVENT ? NULL : tex_text_of(one, one->events[root].service));
	appendStringInfoChar(json, '}');
}

/* The races as find_races() shows them, and how many there are. */
static void
append_races(StringInfo json, const TexRaces *races, int64 most)
{
	TexRaceRows *rows = tex_rows_create();
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("race"),
									   ObjectIdGetDatum(tex_schema_oid()));
	ReturnSetInfo result = {.type = T_ReturnSetInfo};

	tex_rows_add(rows, races);
	tex_rows_sort(rows);
	result.setDesc = lookup_rowtype_tupdesc_copy(type, -1);
	result.setResult = tuplestore_begin_heap(false, false, work_mem);
	tex_rows_return(rows, most, &result);
	appendStringInfo(json, "\"race_count\":%lld,\"races\":", (long long) races->count);
	tex_json_of_tuples(json, result.setDesc, result.setResult);
	tuplestore_end(result.setResult);
}

/* The document of a history that has the trace. */
static void
append_document(StringInfo json, TexHistory *history, const pg_uuid_t *trace_id, int64 most)
{
	TexRacesOptions options = {.variable = TEX_NO_NAME,.max_pairs = most,.potential = tex_potential_races};
	TexRaces   *races = tex_races_find(history, &options);
	TexOneTrace *one = tex_one_trace_of(history, trace_id, races->order);

	appendStringInfo(json, "{\"trace_id\":\"%s\",\"summary\":",
					 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(trace_id))));
	append_summary(json, one);
	appendStringInfoChar(json, ',');
	append_races(json, races, most);
	appendStringInfoString(json, ",\"tree\":");
	tex_tree_rows(one, tex_parents(one, false), tex_sink_to_json(json, "trace_tree", most));
	appendStringInfoString(json, ",\"critical_path\":");
	tex_critical_path_rows(one, tex_sink_to_json(json, "critical_path", most));
	appendStringInfoString(json, ",\"dependencies\":");
	tex_dependency_rows(one, tex_sink_to_json(json, "service_dependencies", most));
	appendStringInfoString(json, ",\"anomalies\":");
	tex_anomaly_rows(one, tex_sink_to_json(json, "trace_anomalies", most));
	appendStringInfoChar(json, '}');
}

/* trace_analysis(trace_id uuid, max_rows bigint) returns jsonb; NULL for a trace that is not stored. */
Datum
tex_trace_analysis(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	TexHistory *history;
	StringInfoData json;
	Datum		document;
	int64		most;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	most = tex_most_rows(fcinfo, 1, MOST_ROWS);
	SPI_connect();
	history = tex_load_with_overlapping(PG_GETARG_UUID_P(0), NULL, true);
	if (history->nevents == 0)
	{
		tex_notice_unknown_trace(PG_GETARG_UUID_P(0));
		SPI_finish();
		PG_RETURN_NULL();
	}
	initStringInfo(&json);
	append_document(&json, history, PG_GETARG_UUID_P(0), most);
	MemoryContextSwitchTo(caller);
	document = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	SPI_finish();
	return document;
}
