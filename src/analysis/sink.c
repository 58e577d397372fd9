/*
 * sink.c
 *		Where the rows of a function of this room go: to its caller, or into a document.
 *
 * Each function makes its rows once, column by column, and does not know who asked:
 * SQL gets them as a set, trace_analysis() as an array of objects with the same
 * names.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"

#include "analysis/sink.h"
#include "common/event.h"
#include "common/reads.h"

/* How many rows a caller wants at most; refuses less than none. */
int64
tex_most_rows(FunctionCallInfo fcinfo, int argument, int64 unless_given)
{
	int64		most = PG_ARGISNULL(argument) ? unless_given : PG_GETARG_INT64(argument);

	if (most < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must not be negative")));
	return most;
}

/* Rows for the caller of a function that returns a set, after InitMaterializedSRF(). */
TexSink *
tex_sink_to_caller(FunctionCallInfo fcinfo, int64 most)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TexSink    *sink = palloc0(sizeof(TexSink));

	Assert(result->setDesc->natts <= TEX_MOST_COLUMNS);
	sink->desc = result->setDesc;
	sink->store = result->setResult;
	sink->most = most;
	return sink;
}

/* The columns of a function of the extension that returns a table. */
static TupleDesc
columns_of(const char *function)
{
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(function));
	TupleDesc	desc = NULL;

	for (int i = 0; i < list->n_members && desc == NULL; i++)
	{
		HeapTuple	tuple = &list->members[i]->tuple;

		if (((Form_pg_proc) GETSTRUCT(tuple))->pronamespace == tex_schema_oid())
			desc = build_function_result_tupdesc_t(tuple);
	}
	ReleaseSysCacheList(list);
	if (desc == NULL)
		elog(ERROR, "function trace_ext.%s returns no table", function);
	return BlessTupleDesc(desc);
}

/* Rows as an array of JSON, appended to a string, with the columns of a function. */
TexSink *
tex_sink_to_json(StringInfo json, const char *function, int64 most)
{
	TexSink    *sink = palloc0(sizeof(TexSink));

	sink->desc = columns_of(function);
	sink->json = json;
	sink->most = most;
	sink->quiet = true;
	appendStringInfoChar(json, '[');
	return sink;
}

/* A row as an object, after those that are in the array before it. */
static void
append_json(StringInfo json, HeapTuple tuple, bool first)
{
	text	   *row = DatumGetTextPP(DirectFunctionCall1(row_to_json, HeapTupleGetDatum(tuple)));

	if (!first)
		appendStringInfoChar(json, ',');
	appendBinaryStringInfo(json, VARDATA_ANY(row), VARSIZE_ANY_EXHDR(row));
}

/* The rows of a store as an array. */
void
tex_json_of_tuples(StringInfo json, TupleDesc desc, Tuplestorestate *store)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	bool		first = true;

	appendStringInfoChar(json, '[');
	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		slot_getallattrs(slot);
		append_json(json, heap_form_tuple(desc, slot->tts_values, slot->tts_isnull), first);
		first = false;
	}
	appendStringInfoChar(json, ']');
	ExecDropSingleTupleTableSlot(slot);
}

/* The next column of the row. */
void
tex_sink_datum(TexSink *sink, Datum value)
{
	Assert(sink->column < sink->desc->natts);
	sink->values[sink->column] = value;
	sink->isnull[sink->column++] = false;
}

/* The next column is null. */
void
tex_sink_null(TexSink *sink)
{
	Assert(sink->column < sink->desc->natts);
	sink->values[sink->column] = (Datum) 0;
	sink->isnull[sink->column++] = true;
}

/* The next column, null where there is no text. */
void
tex_sink_text(TexSink *sink, const char *text)
{
	if (text)
		tex_sink_datum(sink, CStringGetTextDatum(text));
	else
		tex_sink_null(sink);
}

/* The next column, which is of an enum, by its label. */
void
tex_sink_enum(TexSink *sink, const char *label)
{
	Oid			type = TupleDescAttr(sink->desc, sink->column)->atttypid;

	tex_sink_datum(sink, ObjectIdGetDatum(GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
														  ObjectIdGetDatum(type),
														  CStringGetDatum(label))));
}

/* The next column. */
void
tex_sink_int(TexSink *sink, int32 value)
{
	tex_sink_datum(sink, Int32GetDatum(value));
}

/* The next column. */
void
tex_sink_bigint(TexSink *sink, int64 value)
{
	tex_sink_datum(sink, Int64GetDatum(value));
}

/* The next column. */
void
tex_sink_number(TexSink *sink, double value)
{
	tex_sink_datum(sink, Float8GetDatum(value));
}

/* Microseconds, as milliseconds. */
void
tex_sink_usecs(TexSink *sink, int64 usecs)
{
	tex_sink_number(sink, usecs / 1000.0);
}

/* The row is complete. */
void
tex_sink_end_row(TexSink *sink)
{
	CHECK_FOR_INTERRUPTS();
	Assert(sink->column == sink->desc->natts);
	sink->column = 0;
	sink->n++;
	if (sink->store)
		tuplestore_putvalues(sink->store, sink->desc, sink->values, sink->isnull);
	else
	{
		HeapTuple	tuple = heap_form_tuple(sink->desc, sink->values, sink->isnull);

		append_json(sink->json, tuple, sink->n == 1);
		heap_freetuple(tuple);
	}
}

/* No more rows; a caller who got fewer than there are is told. */
void
tex_sink_end(TexSink *sink, int64 all, const char *of_what)
{
	if (sink->json)
		appendStringInfoChar(sink->json, ']');
	if (all > sink->n && !sink->quiet)
		tex_notice(psprintf("showing %lld of %lld %s", (long long) sink->n, (long long) all, of_what),
				   "Raise max_rows to see more.");
}
