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

/* A key with a value. */
static void
put(TexDocument *document, const char *key, Oid type, Datum value)
{
	tex_document_key(document, key);
	tex_document_value(document, type, value);
}

/* A key with a text, or null. */
static void
put_text(TexDocument *document, const char *key, const char *text)
{
	tex_document_key(document, key);
	tex_document_text(document, text);
}

/* For qsort(): names of services as trace_summaries has them. */
static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The services of the trace. */
static void
put_services(TexDocument *document, const TexOneTrace *one)
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
	tex_document_key(document, "services");
	tex_document_push(document, WJB_BEGIN_ARRAY);
	for (int i = 0; i < n; i++)
		tex_document_element(document, names[i]);
	tex_document_push(document, WJB_END_ARRAY);
}

/* What trace_summaries says of the trace, of this snapshot. */
static void
put_summary(TexDocument *document, const TexOneTrace *one)
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
	tex_document_key(document, "summary");
	tex_document_push(document, WJB_BEGIN_OBJECT);
	put(document, "event_count", INT8OID, Int64GetDatum(events));
	put(document, "error_count", INT8OID, Int64GetDatum(errors));
	put(document, "access_count", INT8OID, Int64GetDatum(accesses));
	put(document, "started_at", TIMESTAMPTZOID, TimestampTzGetDatum(one->extent.started));
	put(document, "ended_at", TIMESTAMPTZOID, TimestampTzGetDatum(one->extent.ended));
	put(document, "duration_ms", FLOAT8OID, Float8GetDatum(tex_since_start(one, one->extent.ended) / 1000.0));
	put_services(document, one);
	put_text(document, "root_name", root == TEX_NO_EVENT ? NULL : tex_text_of(one, one->events[root].name));
	put_text(document, "root_service", root == TEX_NO_EVENT ? NULL : tex_text_of(one, one->events[root].service));
	tex_document_push(document, WJB_END_OBJECT);
}

/* The races as find_races() shows them, and how many there are. */
static void
put_races(TexDocument *document, const TexRaces *races, int64 most)
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
	put(document, "race_count", INT8OID, Int64GetDatum(races->count));
	tex_document_key(document, "races");
	tex_document_tuples(document, result.setDesc, result.setResult);
	tuplestore_end(result.setResult);
}

/* The rows of a function of this room, under a key. */
static TexSink *
rows_under(TexDocument *document, const char *key, const char *function, int64 most)
{
	tex_document_key(document, key);
	return tex_sink_to_document(document, function, most);
}

/* The document of a history that has the trace. */
static void
fill(TexDocument *document, TexHistory *history, const pg_uuid_t *trace_id, int64 most)
{
	TexRacesOptions options = {.variable = TEX_NO_NAME,.max_pairs = most,.potential = tex_potential_races};
	TexRaces   *races = tex_races_find(history, &options);
	TexOneTrace *one = tex_one_trace_of(history, trace_id, races->order);

	put(document, "trace_id", UUIDOID, UUIDPGetDatum(trace_id));
	put_summary(document, one);
	put_races(document, races, most);
	tex_tree_rows(one, tex_parents(one, false), rows_under(document, "tree", "trace_tree", most));
	tex_critical_path_rows(one, rows_under(document, "critical_path", "critical_path", most));
	tex_dependency_rows(one, rows_under(document, "dependencies", "service_dependencies", most));
	tex_anomaly_rows(one, rows_under(document, "anomalies", "trace_anomalies", most));
}

/* trace_analysis(trace_id uuid, max_rows bigint) returns jsonb; NULL for a trace that is not stored. */
Datum
tex_trace_analysis(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	TexHistory *history;
	TexDocument *document;
	Datum		result;
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
	document = tex_document_begin();
	fill(document, history, PG_GETARG_UUID_P(0), most);
	MemoryContextSwitchTo(caller);
	result = tex_document_end(document);
	SPI_finish();
	return result;
}
