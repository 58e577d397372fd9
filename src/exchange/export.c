/*
 * export.c
 *		The functions that hand out traces: which ones, and in which format.
 *
 * One trace after another is read, written and forgotten, so that memory is needed for the
 * largest of them and for the document.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "exchange/outgoing.h"

PG_FUNCTION_INFO_V1(tex_export_otlp);
PG_FUNCTION_INFO_V1(tex_export_otlp_array);
PG_FUNCTION_INFO_V1(tex_export_jaeger);
PG_FUNCTION_INFO_V1(tex_export_jaeger_array);
PG_FUNCTION_INFO_V1(tex_export_zipkin);
PG_FUNCTION_INFO_V1(tex_export_zipkin_array);
PG_FUNCTION_INFO_V1(tex_export_chrome);
PG_FUNCTION_INFO_V1(tex_export_chrome_array);

/* The ids of an array, each once, in their order; NULLs are none. */
static const pg_uuid_t *
ids_of_array(FunctionCallInfo fcinfo, int *count)
{
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(pg_uuid_t),.hcxt = CurrentMemoryContext};
	HTAB	   *seen;
	Datum	   *values;
	bool	   *isnull;
	pg_uuid_t  *ids;
	int			n;

	*count = 0;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &values, &isnull, &n);
	ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	seen = hash_create("traces to export", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < n; i++)
	{
		bool		found = isnull[i];

		if (!found)
			(void) hash_search(seen, DatumGetUUIDP(values[i]), HASH_ENTER, &found);
		if (!found)
			ids[(*count)++] = *DatumGetUUIDP(values[i]);
	}
	hash_destroy(seen);
	return ids;
}

/*
 * The document of the traces asked for.  NULL for one that is not stored; an array asks for
 * whatever of it there is.
 */
static Datum
export_traces(FunctionCallInfo fcinfo, const TexOutFormat *format, bool is_array)
{
	MemoryContext caller = CurrentMemoryContext;
	TexOutDocument document = {.out = makeStringInfo()};
	MemoryContext of_trace;
	const pg_uuid_t *ids;
	int			n = 1;
	int			written = 0;
	Datum		result;

	ids = is_array ? ids_of_array(fcinfo, &n) : PG_GETARG_UUID_P(0);
	SPI_connect();
	document.context = CurrentMemoryContext;
	document.sources = tex_out_sources();
	of_trace = AllocSetContextCreate(CurrentMemoryContext, "trace_ext trace", ALLOCSET_DEFAULT_SIZES);
	format->begin(&document);
	for (int i = 0; i < n; i++)
	{
		TexOutTrace *trace;

		MemoryContextSwitchTo(of_trace);
		trace = tex_out_collect(document.sources, &ids[i]);
		if (trace != NULL)
		{
			if (!format->has_logs)
				tex_out_stand_in(trace);
			format->add(&document, trace);
			written++;
		}
		MemoryContextSwitchTo(document.context);
		MemoryContextReset(of_trace);
	}
	format->end(&document);
	SPI_finish();
	MemoryContextSwitchTo(caller);
	if (written == 0 && !is_array)
		PG_RETURN_NULL();
	result = DirectFunctionCall1(jsonb_in, CStringGetDatum(document.out->data));
	pfree(document.out->data);
	return result;
}

/* export_otlp(trace_id uuid) returns jsonb */
Datum
tex_export_otlp(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_otlp, false);
}

/* export_otlp(trace_ids uuid[]) returns jsonb */
Datum
tex_export_otlp_array(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_otlp, true);
}

/* export_jaeger(trace_id uuid) returns jsonb */
Datum
tex_export_jaeger(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_jaeger, false);
}

/* export_jaeger(trace_ids uuid[]) returns jsonb */
Datum
tex_export_jaeger_array(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_jaeger, true);
}

/* export_zipkin(trace_id uuid) returns jsonb */
Datum
tex_export_zipkin(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_zipkin, false);
}

/* export_zipkin(trace_ids uuid[]) returns jsonb */
Datum
tex_export_zipkin_array(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_zipkin, true);
}

/* export_chrome(trace_id uuid) returns jsonb */
Datum
tex_export_chrome(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_chrome, false);
}

/* export_chrome(trace_ids uuid[]) returns jsonb */
Datum
tex_export_chrome_array(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_chrome, true);
}
