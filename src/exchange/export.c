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
PG_FUNCTION_INFO_V1(tex_export_jaeger);
PG_FUNCTION_INFO_V1(tex_export_zipkin);
PG_FUNCTION_INFO_V1(tex_export_chrome);

/*
 * The ids of uuid or uuid[], each once, in their order; NULLs are none.  An array asks for whatever
 * of it there is.
 */
static const pg_uuid_t *
ids_of(FunctionCallInfo fcinfo, bool *is_array, int *count)
{
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(pg_uuid_t),.hcxt = CurrentMemoryContext};
	HTAB	   *seen;
	Datum	   *values;
	bool	   *isnull;
	pg_uuid_t  *ids;
	int			n;

	*is_array = get_fn_expr_argtype(fcinfo->flinfo, 0) == UUIDARRAYOID;
	*count = 1;
	if (!*is_array)
		return PG_GETARG_UUID_P(0);
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

/* The document of the traces asked for; NULL for one that is not stored. */
static Datum
export_traces(FunctionCallInfo fcinfo, const TexOutFormat *format)
{
	MemoryContext caller = CurrentMemoryContext;
	TexOutDocument document = {.out = makeStringInfo()};
	MemoryContext of_trace;
	const pg_uuid_t *ids;
	bool		is_array;
	int			n;
	int			written = 0;
	Datum		result;

	ids = ids_of(fcinfo, &is_array, &n);
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

/* export_otlp(trace_id uuid or uuid[]) returns jsonb */
Datum
tex_export_otlp(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_otlp);
}

/* export_jaeger(trace_id uuid or uuid[]) returns jsonb */
Datum
tex_export_jaeger(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_jaeger);
}

/* export_zipkin(trace_id uuid or uuid[]) returns jsonb */
Datum
tex_export_zipkin(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_zipkin);
}

/* export_chrome(trace_id uuid or uuid[]) returns jsonb */
Datum
tex_export_chrome(PG_FUNCTION_ARGS)
{
	return export_traces(fcinfo, &tex_format_chrome);
}
