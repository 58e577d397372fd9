/*
 * ingest_events.c
 *		ingest_events(): stores a batch of events as clients post them.
 *
 * The events of a batch are read into rows, sorted by key and inserted by one
 * INSERT ... ON CONFLICT DO NOTHING, so partitions, triggers, constraints and
 * rights work as for any other INSERT.  Sorted, because two clients that deliver
 * the same events in different orders at the same time would otherwise wait for
 * each other in a circle.  Events that cannot be read go to ingest_errors,
 * written with the rights of the extension's owner.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "common/event.h"
#include "ingest/event_json.h"
#include "ingest/json_scan.h"
#include "common/owner.h"

/* As much of a refused event is kept. */
#define KEPT_TEXT 8192

#define BATCH_NAME "trace_ext_batch"

PG_FUNCTION_INFO_V1(tex_ingest_jsonb);
PG_FUNCTION_INFO_V1(tex_ingest_text);

typedef struct BatchRow
{
	pg_uuid_t	trace_id;
	pg_uuid_t	id;
	TimestampTz timestamp;
	HeapTuple	tuple;
} BatchRow;

typedef struct Rejection
{
	int			position;
	char	   *id;				/* may be NULL */
	char	   *trace_id;		/* may be NULL */
	char	   *reason;
	char	   *event;
} Rejection;

typedef struct Batch
{
	MemoryContext context;		/* of the rows and rejections */
	MemoryContext event_context;	/* of one event, while it is read */
	TupleDesc	desc;
	int			position;
	int			row_count;
	int			row_room;
	BatchRow   *rows;
	List	   *rejections;
} Batch;

/*
 * What a batch is made of: the columns of TexEventRow, in its order, of the types its
 * values have.  The table is the user's to alter: it may have more columns, and these
 * at other places or of other types, to which the INSERT converts.
 */
typedef struct BatchColumn
{
	const char *name;
	Oid			type;
	const char *own_type;		/* of the extension, where "type" is none */
} BatchColumn;

static const BatchColumn batch_columns[] = {
	{"trace_id", UUIDOID, NULL},
	{"id", UUIDOID, NULL},
	{"parent_id", UUIDOID, NULL},
	{"timestamp", TIMESTAMPTZOID, NULL},
	{"kind", InvalidOid, "event_kind"},
	{"name", TEXTOID, NULL},
	{"service_name", TEXTOID, NULL},
	{"instance_id", TEXTOID, NULL},
	{"process_id", INT4OID, NULL},
	{"thread_id", TEXTOID, NULL},
	{"environment", TEXTOID, NULL},
	{"span_id", TEXTOID, NULL},
	{"upstream_span_id", TEXTOID, NULL},
	{"duration_ns", INT8OID, NULL},
	{"attributes", JSONBOID, NULL},
	{"tags", JSONBOID, NULL},
	{"causality_vector", InvalidOid, "vclock"},
	{"lock_set", TEXTARRAYOID, NULL},
	{"stamped_at_end", BOOLOID, NULL}
};

StaticAssertDecl(lengthof(batch_columns) == TEX_EVENT_COLUMNS, "a batch has the columns of TexEventRow");

/*
 * An empty batch in the current memory context, which lives as long as the call. Types are looked
 * up each time: those of the extension have other oids in each database.
 */
static Batch *
begin_batch(void)
{
	Batch	   *batch = palloc0(sizeof(Batch));

	batch->context = CurrentMemoryContext;
	batch->event_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext event",
												 ALLOCSET_DEFAULT_SIZES);
	batch->desc = CreateTemplateTupleDesc(TEX_EVENT_COLUMNS);
	for (int i = 0; i < TEX_EVENT_COLUMNS; i++)
	{
		const BatchColumn *column = &batch_columns[i];
		Oid			type = column->own_type == NULL ? column->type :
			GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(column->own_type),
							ObjectIdGetDatum(tex_schema_oid()));

		TupleDescInitEntry(batch->desc, i + 1, column->name, type, -1, 0);
	}
	return batch;
}

/* Takes a row over into the batch's context: what it was made of goes with the event's. */
static void
add_row(Batch *batch, TexEventRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	BatchRow   *r;

	if (batch->row_count == batch->row_room)
	{
		batch->row_room = Max(batch->row_room * 2, 1024);
		batch->rows = batch->rows == NULL ?
			palloc(sizeof(BatchRow) * batch->row_room) :
			repalloc_huge(batch->rows, sizeof(BatchRow) * batch->row_room);
	}
	r = &batch->rows[batch->row_count++];
	r->trace_id = row->trace_id;
	r->id = row->id;
	r->timestamp = row->timestamp;
	r->tuple = heap_form_tuple(batch->desc, row->values, row->isnull);
	MemoryContextSwitchTo(old);
}

/* A copy of the beginning of a text, up to a whole character. */
static char *
clip(const char *text, int len, int limit)
{
	return pnstrdup(text, pg_mbcliplen(text, len, limit));
}

/* Notes a refused event, with what helps its sender to find it; nothing is written yet. */
static void
add_rejection(Batch *batch, const char *reason, const char *id, const char *trace_id,
			  const char *event, int len)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	Rejection  *rejection = palloc(sizeof(Rejection));

	rejection->position = batch->position;
	rejection->reason = pstrdup(reason);
	rejection->id = id == NULL ? NULL : clip(id, strlen(id), NAMEDATALEN * 2);
	rejection->trace_id = trace_id == NULL ? NULL : clip(trace_id, strlen(trace_id), NAMEDATALEN * 2);
	rejection->event = clip(event, len, KEPT_TEXT);
	batch->rejections = lappend(batch->rejections, rejection);
	MemoryContextSwitchTo(old);
}

/* ----------------------------------------------------------------
 *		Reading
 * ----------------------------------------------------------------
 */
/* Reads a batch of JSON text; the memory of an event is given back before the next. */
static void
read_text_batch(Batch *batch, text *input)
{
	TexBatchText text_batch;
	const char *event;
	int			len;

	tex_batch_open(&text_batch, VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	while (tex_batch_next(&text_batch, &event, &len))
	{
		MemoryContext old = MemoryContextSwitchTo(batch->event_context);
		TexScannedEvent scanned;
		TexEventRow row;
		char	   *reason;

		CHECK_FOR_INTERRUPTS();
		batch->position++;
		tex_scan_event(event, len, &scanned);
		reason = scanned.event == NULL ? scanned.reason :
			tex_event_from_json(&scanned.event->root, &row);
		if (reason == NULL)
			add_row(batch, &row);
		else
			add_rejection(batch, reason, scanned.id, scanned.trace_id, event, len);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch->event_context);
	}
}

/* Reads one element of the array. A refused one is written out again, for its text is not at hand. */
static void
read_jsonb_event(Batch *batch, JsonbValue *v)
{
	JsonbContainer *event = v->type == jbvBinary ? v->val.binary.data : NULL;
	TexEventRow row;
	char	   *reason;

	if (event == NULL || !JsonContainerIsObject(event))
		reason = "event: not an object";
	else
	{
		reason = tex_check_event(event);
		if (reason == NULL)
			reason = tex_event_from_json(event, &row);
	}
	if (reason == NULL)
		add_row(batch, &row);
	else
	{
		bool		is_object = event != NULL && JsonContainerIsObject(event);
		Jsonb	   *whole = JsonbValueToJsonb(v);
		char	   *text = JsonbToCString(NULL, &whole->root, VARSIZE(whole));

		add_rejection(batch, reason, is_object ? tex_event_text(event, "id") : NULL,
					  is_object ? tex_event_text(event, "trace_id") : NULL, text, strlen(text));
	}
}

/* The array of events of a batch; throws for what is none, as the door for text does. */
static JsonbContainer *
find_events(Jsonb *input)
{
	JsonbValue *v;

	if (JB_ROOT_IS_ARRAY(input) && !JB_ROOT_IS_SCALAR(input))
		return &input->root;
	if (!JB_ROOT_IS_OBJECT(input))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("this is not a batch of events"),
				 errdetail("It is neither an object nor an array."),
				 errhint("Send {\"events\": [...]} or an array of events.")));
	v = getKeyJsonValueFromContainer(&input->root, "events", strlen("events"), NULL);
	if (v == NULL || v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("this is not a batch of events"),
				 v == NULL ? errdetail("The object has no \"events\".") :
				 errdetail("\"events\" is not an array."),
				 errhint("Send {\"events\": [...]} or an array of events.")));
	return v->val.binary.data;
}

/* Reads a batch that PostgreSQL has already parsed. The limits are the same, the reasons too. */
static void
read_jsonb_batch(Batch *batch, Jsonb *input)
{
	JsonbIterator *iterator = JsonbIteratorInit(find_events(input));
	JsonbValue	v;

	JsonbIteratorNext(&iterator, &v, true);
	while (JsonbIteratorNext(&iterator, &v, true) == WJB_ELEM)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->event_context);

		CHECK_FOR_INTERRUPTS();
		batch->position++;
		read_jsonb_event(batch, &v);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch->event_context);
	}
}

/* ----------------------------------------------------------------
 *		Writing
 * ----------------------------------------------------------------
 */
/* For qsort(): by the primary key, the order in which all clients take its entries. */
static int
compare_rows(const void *a, const void *b)
{
	const BatchRow *x = a;
	const BatchRow *y = b;
	int			order = memcmp(x->trace_id.data, y->trace_id.data, UUID_LEN);

	if (order == 0)
		order = memcmp(x->id.data, y->id.data, UUID_LEN);
	if (order == 0 && x->timestamp != y->timestamp)
		order = x->timestamp < y->timestamp ? -1 : 1;
	return order;
}

/*
 * By name, so that other columns of the table get their defaults.
 */
static SPIPlanPtr
prepare_insert(void)
{
	StringInfoData command;
	SPIPlanPtr	plan;

	initStringInfo(&command);
	for (int i = 0; i < TEX_EVENT_COLUMNS; i++)
		appendStringInfo(&command, "%s%s", i == 0 ? "INSERT INTO trace_ext.events (" : ", ",
						 quote_identifier(batch_columns[i].name));
	appendStringInfoString(&command, ") SELECT * FROM " BATCH_NAME " ON CONFLICT DO NOTHING");
	plan = SPI_prepare(command.data, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare the insert of a batch");
	SPI_keepplan(plan);
	return plan;
}

/*
 * Inserts the rows of the batch; returns how many were not there yet.  The rows
 * reach the INSERT as a named tuplestore, whose plan is kept.
 */
static uint64
insert_rows(Batch *batch)
{
	static SPIPlanPtr plan = NULL;
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	uint64		inserted;

	qsort(batch->rows, batch->row_count, sizeof(BatchRow), compare_rows);
	for (int i = 0; i < batch->row_count; i++)
		tuplestore_puttuple(store, batch->rows[i].tuple);

	relation->md.name = pstrdup(BATCH_NAME);
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = batch->desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = batch->row_count;
	relation->reldata = store;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the batch");

	if (plan == NULL)
		plan = prepare_insert();
	if (SPI_execute_plan(plan, NULL, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert a batch");
	inserted = SPI_processed;

	SPI_unregister_relation(BATCH_NAME);
	tuplestore_end(store);
	return inserted;
}

/* A parameter of a query and the sign that it is null. */
static Datum
text_or_null(const char *value, char *null)
{
	*null = value == NULL ? 'n' : ' ';
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/*
 * Keeps the refused events, with the rights of the extension's owner: clients cannot write there.
 * Who the sender is must be asked before. An error on the way ends the transaction, and with it
 * the change of roles.
 */
static void
insert_rejections(Batch *batch)
{
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, NAMEOID};
	Name		sender = palloc0(sizeof(NameData));
	TexOwnerContext owner;
	ListCell   *lc;

	/* The current role: a pool of connections sets that of each of its clients. */
	namestrcpy(sender, GetUserNameFromId(GetUserId(), false));
	tex_become_owner(&owner);
	foreach(lc, batch->rejections)
	{
		Rejection  *r = lfirst(lc);
		char		nulls[] = "      ";
		Datum		values[6];

		CHECK_FOR_INTERRUPTS();
		values[0] = Int32GetDatum(r->position);
		values[1] = text_or_null(r->id, &nulls[1]);
		values[2] = text_or_null(r->trace_id, &nulls[2]);
		values[3] = text_or_null(r->reason, &nulls[3]);
		values[4] = text_or_null(r->event, &nulls[4]);
		values[5] = NameGetDatum(sender);
		if (SPI_execute_with_args("INSERT INTO trace_ext.ingest_errors"
								  " (\"position\", event_id, trace_id, reason, event, role_name)"
								  " VALUES ($1, $2, $3, $4, $5, $6)",
								  6, types, values, nulls, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "could not keep a rejected event");
	}
	tex_become_caller(&owner);
}

/* Stores a batch that was read, rows first; returns how many were inserted, there already, refused. */
static Datum
finish_batch(FunctionCallInfo fcinfo, Batch *batch)
{
	Datum		values[3];
	bool		isnull[3] = {false};
	TupleDesc	desc;
	uint64		inserted = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	SPI_connect();
	if (batch->row_count > 0)
		inserted = insert_rows(batch);
	if (batch->rejections != NIL)
		insert_rejections(batch);
	SPI_finish();

	values[0] = Int64GetDatum(inserted);
	values[1] = Int64GetDatum(batch->row_count - inserted);
	values[2] = Int64GetDatum(list_length(batch->rejections));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull));
}

/*
 * ingest_events(jsonb) returns record
 */
Datum
tex_ingest_jsonb(PG_FUNCTION_ARGS)
{
	Batch	   *batch = begin_batch();

	read_jsonb_batch(batch, PG_GETARG_JSONB_P(0));
	return finish_batch(fcinfo, batch);
}

/*
 * ingest_events(text) returns record
 */
Datum
tex_ingest_text(PG_FUNCTION_ARGS)
{
	Batch	   *batch = begin_batch();

	read_text_batch(batch, PG_GETARG_TEXT_PP(0));
	return finish_batch(fcinfo, batch);
}
