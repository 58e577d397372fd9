/*
 * trace_events.c
 *		trace_events(): the events of a trace, page by page.
 *
 * A plain query of events, with the rights, the row level security and the snapshot
 * of the caller; but it is given the range of time that the trace's summary knows,
 * so that it opens only the partitions of that range.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "store/trace_range.h"

#define MAX_PAGE_SIZE 10000

PG_FUNCTION_INFO_V1(tex_trace_events);

enum
{
	ARG_TRACE_ID, ARG_PAGE_SIZE, ARG_PAGE, ARG_AFTER, ARG_AFTER_ID, ARG_KINDS, ARG_SERVICE, ARG_COUNT
};

/* The query and its parameters, in the order they were added. */
typedef struct PageQuery
{
	StringInfoData text;
	int			n;
	Oid			types[ARG_COUNT + 3];
	Datum		values[ARG_COUNT + 3];
} PageQuery;

/* Returns the parameter's number, from 1. */
static int
add_parameter(PageQuery *query, Oid type, Datum value)
{
	query->types[query->n] = type;
	query->values[query->n] = value;
	return ++query->n;
}

/* Throws; all that trace_events() refuses is refused alike. */
static void
invalid_argument(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message)));
}

/* Without an id: strictly later, for no id comes after the highest. */
static void
add_keyset(PageQuery *query, FunctionCallInfo fcinfo, int64 page)
{
	pg_uuid_t  *after_id = palloc(sizeof(pg_uuid_t));

	if (PG_ARGISNULL(ARG_AFTER))
	{
		if (!PG_ARGISNULL(ARG_AFTER_ID))
			invalid_argument("after_id needs after_timestamp");
		return;
	}
	if (page != 1)
		invalid_argument("page and after_timestamp exclude each other");
	memset(after_id->data, 0xff, UUID_LEN);
	if (!PG_ARGISNULL(ARG_AFTER_ID))
		after_id = PG_GETARG_UUID_P(ARG_AFTER_ID);
	appendStringInfo(&query->text, " AND (\"timestamp\", id) OPERATOR(pg_catalog.>) ($%d, ",
					 add_parameter(query, TIMESTAMPTZOID, PG_GETARG_DATUM(ARG_AFTER)));
	appendStringInfo(&query->text, "$%d)", add_parameter(query, UUIDOID, UUIDPGetDatum(after_id)));
}

static void
make_query(PageQuery *query, FunctionCallInfo fcinfo, TexRange range)
{
	int64		page_size = PG_ARGISNULL(ARG_PAGE_SIZE) ? 100 : PG_GETARG_INT64(ARG_PAGE_SIZE);
	int64		page = PG_ARGISNULL(ARG_PAGE) ? 1 : PG_GETARG_INT64(ARG_PAGE);

	if (page_size < 1 || page_size > MAX_PAGE_SIZE)
		invalid_argument("page_size must be between 1 and 10000");
	if (page < 1)
		invalid_argument("page must be 1 or more");
	if (!PG_ARGISNULL(ARG_AFTER))
		range.first = Max(range.first, PG_GETARG_TIMESTAMPTZ(ARG_AFTER));

	initStringInfo(&query->text);
	appendStringInfoString(&query->text, "SELECT * FROM trace_ext.events"
						   " WHERE trace_id OPERATOR(pg_catalog.=) $1"
						   " AND \"timestamp\" OPERATOR(pg_catalog.>=) $2"
						   " AND \"timestamp\" OPERATOR(pg_catalog.<=) $3");
	(void) add_parameter(query, UUIDOID, PG_GETARG_DATUM(ARG_TRACE_ID));
	(void) add_parameter(query, TIMESTAMPTZOID, TimestampTzGetDatum(range.first));
	(void) add_parameter(query, TIMESTAMPTZOID, TimestampTzGetDatum(range.last));
	add_keyset(query, fcinfo, page);
	if (!PG_ARGISNULL(ARG_KINDS))
		appendStringInfo(&query->text, " AND kind OPERATOR(pg_catalog.=) ANY ($%d)",
						 add_parameter(query, get_fn_expr_argtype(fcinfo->flinfo, ARG_KINDS),
									   PG_GETARG_DATUM(ARG_KINDS)));
	if (!PG_ARGISNULL(ARG_SERVICE))
		appendStringInfo(&query->text, " AND service_name OPERATOR(pg_catalog.=) $%d",
						 add_parameter(query, TEXTOID, PG_GETARG_DATUM(ARG_SERVICE)));
	appendStringInfo(&query->text, " ORDER BY \"timestamp\", id LIMIT " INT64_FORMAT " OFFSET " INT64_FORMAT,
					 page_size,
					 page > PG_INT64_MAX / page_size ? PG_INT64_MAX : page_size * (page - 1));
}

/* A row as the table has it: "*" leaves out columns that were dropped. */
static void
put_row(ReturnSetInfo *result, HeapTuple tuple, TupleDesc desc)
{
	int			width = result->setDesc->natts;
	Datum	   *values = palloc0(sizeof(Datum) * width);
	bool	   *isnull = palloc(sizeof(bool) * width);
	int			from = 0;

	for (int to = 0; to < width; to++)
	{
		isnull[to] = true;
		if (!TupleDescAttr(result->setDesc, to)->attisdropped)
			values[to] = heap_getattr(tuple, ++from, desc, &isnull[to]);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	pfree(values);
	pfree(isnull);
}

/*
 * trace_events(trace_id uuid, page_size int, page int, after_timestamp
 * timestamptz, after_id uuid, kinds event_kind[], service text) returns setof
 * events
 */
Datum
tex_trace_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	PageQuery	query = {.n = 0};
	TexRange	range;
	int			nesting;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(ARG_TRACE_ID))
		return (Datum) 0;
	SPI_connect();
	range = tex_range_of(tex_ranges_create(), PG_GETARG_UUID_P(ARG_TRACE_ID), 1);
	make_query(&query, fcinfo, range);
	nesting = tex_no_jit();
	/* Planned with its values, whatever they are: an empty range opens no partition. */
	if (SPI_execute_with_args(query.text.data, query.n, query.types, query.values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the events of a trace");
	for (uint64 i = 0; i < SPI_processed; i++)
		put_row(result, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	AtEOXact_GUC(false, nesting);
	SPI_finish();
	return (Datum) 0;
}
