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
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
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
	return desc;
}

/* Rows as an array of objects, the next value of a document, with the columns of a function. */
TexSink *
tex_sink_to_document(TexDocument *document, const char *function, int64 most)
{
	TexSink    *sink = palloc0(sizeof(TexSink));

	sink->desc = columns_of(function);
	sink->document = document;
	sink->most = most;
	tex_document_push(document, WJB_BEGIN_ARRAY);
	return sink;
}

/* Rows into a store of their own, for who draws them, with the columns of a function. */
TexSink *
tex_sink_to_store(const char *function, int64 most)
{
	TexSink    *sink = palloc0(sizeof(TexSink));

	sink->desc = columns_of(function);
	sink->store = tuplestore_begin_heap(false, false, work_mem);
	sink->own_store = true;
	sink->most = most;
	return sink;
}

/* An empty object, to which keys and values are added; in the current memory context. */
TexDocument *
tex_document_begin(void)
{
	TexDocument *document = palloc0(sizeof(TexDocument));

	document->context = CurrentMemoryContext;
	tex_document_push(document, WJB_BEGIN_OBJECT);
	return document;
}

/* Begin or end of an array or object. */
void
tex_document_push(TexDocument *document, JsonbIteratorToken token)
{
	MemoryContext old = MemoryContextSwitchTo(document->context);

	(void) pushJsonbValue(&document->state, token, NULL);
	MemoryContextSwitchTo(old);
}

/* The key of what comes next; a constant, or at least as long-lived as the document. */
void
tex_document_key(TexDocument *document, const char *key)
{
	MemoryContext old = MemoryContextSwitchTo(document->context);
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	(void) pushJsonbValue(&document->state, WJB_KEY, &value);
	MemoryContextSwitchTo(old);
}

/* Sets a string that is allocated, of which the value becomes the owner. */
static void
set_string(JsonbValue *value, char *text, int len)
{
	value->type = jbvString;
	value->val.string.val = text;
	value->val.string.len = len;
}

/* A value of a column as one of JSON, in the current memory context. */
static void
set_datum(JsonbValue *value, Oid type, Datum datum)
{
	char		time[MAXDATELEN + 1];
	char	   *string;
	Oid			output;
	bool		is_varlena;

	switch (type)
	{
		case BOOLOID:
			value->type = jbvBool;
			value->val.boolean = DatumGetBool(datum);
			return;
		case INT4OID:
			datum = Int64GetDatum(DatumGetInt32(datum));
			/* FALLTHROUGH */
		case INT8OID:
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric(DatumGetInt64(datum));
			return;
		case FLOAT8OID:
			value->type = jbvNumeric;
			value->val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric, datum));
			return;
		case JSONBOID:
			if (!JB_ROOT_IS_SCALAR(DatumGetJsonbP(datum)) ||
				!JsonbExtractScalar(&DatumGetJsonbPCopy(datum)->root, value))
				JsonbToJsonbValue(DatumGetJsonbPCopy(datum), value);
			return;
		case TIMESTAMPTZOID:
			string = pstrdup(JsonEncodeDateTime(time, datum, type, NULL));
			break;
		case TEXTOID:
			string = TextDatumGetCString(datum);
			break;
		default:
			getTypeOutputInfo(type, &output, &is_varlena);
			string = OidOutputFunctionCall(output, datum);
			break;
	}
	set_string(value, string, strlen(string));
}

/* The next value; what it points to is copied. */
void
tex_document_value(TexDocument *document, Oid type, Datum datum)
{
	MemoryContext old = MemoryContextSwitchTo(document->context);
	JsonbValue	value;

	set_datum(&value, type, datum);
	(void) pushJsonbValue(&document->state, WJB_VALUE, &value);
	MemoryContextSwitchTo(old);
}

/* A text, or null where there is none, as a value or an element. */
static void
push_text(TexDocument *document, JsonbIteratorToken token, const char *text)
{
	MemoryContext old = MemoryContextSwitchTo(document->context);
	JsonbValue	value = {.type = jbvNull};

	if (text)
		set_string(&value, pstrdup(text), strlen(text));
	(void) pushJsonbValue(&document->state, token, &value);
	MemoryContextSwitchTo(old);
}

/* The next value: a text, or null where there is none. */
void
tex_document_text(TexDocument *document, const char *text)
{
	push_text(document, WJB_VALUE, text);
}

/* The next element of the array that was begun. */
void
tex_document_element(TexDocument *document, const char *text)
{
	push_text(document, WJB_ELEM, text);
}

/* A row as an object: an element of the array that was begun. */
static void
push_row(TexDocument *document, TupleDesc desc, const Datum *values, const bool *isnull)
{
	tex_document_push(document, WJB_BEGIN_OBJECT);
	for (int i = 0; i < desc->natts; i++)
	{
		tex_document_key(document, NameStr(TupleDescAttr(desc, i)->attname));
		if (isnull[i])
			tex_document_text(document, NULL);
		else
			tex_document_value(document, TupleDescAttr(desc, i)->atttypid, values[i]);
	}
	tex_document_push(document, WJB_END_OBJECT);
}

/* The rows of a store as an array, the next value. */
void
tex_document_tuples(TexDocument *document, TupleDesc desc, Tuplestorestate *store)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	tex_document_push(document, WJB_BEGIN_ARRAY);
	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		push_row(document, desc, slot->tts_values, slot->tts_isnull);
	}
	tex_document_push(document, WJB_END_ARRAY);
	ExecDropSingleTupleTableSlot(slot);
}

/* The document as jsonb, in the current memory context. */
Datum
tex_document_end(TexDocument *document)
{
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&document->state, WJB_END_OBJECT, NULL)));
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
		push_row(sink->document, sink->desc, sink->values, sink->isnull);
}

/* No more rows; a caller who got fewer than there are is told. */
void
tex_sink_end(TexSink *sink, int64 all, const char *of_what)
{
	if (sink->document)
		tex_document_push(sink->document, WJB_END_ARRAY);
	else if (all > sink->n && !sink->own_store)
		tex_notice(psprintf("showing %lld of %lld %s", (long long) sink->n, (long long) all, of_what),
				   "Raise max_rows to see more.");
}
