/*
 * batch.c
 *		Rows of events and refused records, collected and then stored at once.
 *
 * The rows of a batch are sorted by key and inserted by one INSERT ... ON CONFLICT
 * DO NOTHING, so partitions, triggers, constraints and rights work as for any other
 * INSERT.  Sorted, because two clients that deliver the same events in different
 * orders at the same time would otherwise wait for each other in a circle.  What
 * was refused goes to ingest_errors, written with the rights of the extension's owner.
 *
 * Who serves others meanwhile stores a long body in steps, each by a call of its own with the same
 * body.  Each reads the frame to its end, so a body that is broken is refused before any of
 * it is stored, and counts its records; it passes over those that another step has.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
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

#include "common/distributed.h"
#include "common/event.h"
#include "common/owner.h"
#include "ingest/batch.h"
#include "ingest/over_nodes.h"
#include "ingest/quota.h"

/* As much of a refused event is kept. */
#define KEPT_TEXT 8192

#define BATCH_NAME "trace_ext_batch"

/* A step reads so many records for each row that it may have. */
#define STEP_RECORDS 8

TexLastBatch tex_last_batch;
TexBatchLimits tex_batch_limits;

struct TexBatchRow
{
	pg_uuid_t	trace_id;
	pg_uuid_t	id;
	TimestampTz timestamp;
	HeapTuple	tuple;
};

typedef struct Rejection
{
	int			position;
	char	   *id;				/* may be NULL */
	char	   *trace_id;		/* may be NULL */
	char	   *reason;
	char	   *event;
} Rejection;

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
TexBatch *
tex_batch_begin(void)
{
	TexBatch   *batch = palloc0(sizeof(TexBatch));

	batch->context = CurrentMemoryContext;
	batch->kept_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext rejections", ALLOCSET_DEFAULT_SIZES);
	batch->row_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext rows", ALLOCSET_DEFAULT_SIZES);
	batch->most_rejections = tex_batch_limits.rejections > 0 ?
		Max(tex_batch_limits.rejections - tex_batch_limits.done.rejections, 0) : PG_INT64_MAX;
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

/* ----------------------------------------------------------------
 *		Limits, and steps
 * ----------------------------------------------------------------
 */
/* What a row takes in memory. */
static Size
row_size(const TexBatchRow *row)
{
	return sizeof(TexBatchRow) + HEAPTUPLESIZE + row->tuple->t_len;
}

/* Throws for a batch that is more than this process takes at once. */
static void
too_much(const char *what, int64 limit, const char *unit)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("the %s of the body take more than " INT64_FORMAT "%s", what, limit, unit),
			 errhint("Send fewer at once.")));
}

/* Checks what is kept beside the rows: of one record, as what others have makes the step full. */
static void
check_rest(const TexBatch *batch)
{
	if (tex_batch_limits.memory > 0 && MemoryContextMemAllocated(batch->kept_context, false) > tex_batch_limits.memory)
		too_much("resource and links", tex_batch_limits.memory >> 20, " MB of memory");
}

/* Throws where there are more records than this process takes of a body. */
static void
check_records(const TexBatch *batch)
{
	if (tex_batch_limits.records > 0 && batch->position > tex_batch_limits.records)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the body has more than " INT64_FORMAT " records", tex_batch_limits.records),
				 errhint("Send fewer at once.")));
}

/*
 * Has the step what one may have, with so many rows of other tables beside?  Records that become nothing
 * take their time as well.
 */
static bool
is_full(TexBatch *batch, int64 beside)
{
	int			most = tex_batch_limits.step_rows;

	if (batch->is_full)
		return true;
	/* Each step gets on. */
	if (batch->position <= tex_batch_limits.done.records)
		return false;
	if (batch->row_count + list_length(batch->rejections) + beside < most &&
		batch->position - tex_batch_limits.done.records < STEP_RECORDS * most &&
		batch->row_bytes < tex_batch_limits.memory / 2 &&
		MemoryContextMemAllocated(batch->kept_context, false) < tex_batch_limits.memory / 2)
		return false;
	batch->is_full = true;
	batch->done.records = batch->position;
	return true;
}

/*
 * Are the next records all for other steps, those before this one or after it?  Then they are counted, and
 * need not be read.  "beside" are rows that this step has for other tables than events.
 */
bool
tex_batch_pass_over(TexBatch *batch, int64 records, int64 beside)
{
	if (tex_batch_limits.step_rows == 0)
		return false;
	if (batch->position + records > tex_batch_limits.done.records && !is_full(batch, beside))
		return false;
	batch->position += records;
	check_records(batch);
	return true;
}

/* The next record is read. */
void
tex_batch_next_record(TexBatch *batch)
{
	batch->position++;
	batch->record_begin = batch->row_count;
	check_records(batch);
}

/* Takes back the first rows. */
static void
drop_first(TexBatch *batch, int count)
{
	for (int i = 0; i < count; i++)
	{
		batch->row_bytes -= row_size(&batch->rows[i]);
		heap_freetuple(batch->rows[i].tuple);
	}
	batch->row_count -= count;
	memmove(batch->rows, batch->rows + count, batch->row_count * sizeof(TexBatchRow));
}

/*
 * A record was taken.  Of one that has more rows than a step, which are the same in the same order
 * whenever it is read, those of this step are left.
 */
void
tex_batch_end_record(TexBatch *batch)
{
	const TexBatchDone *before = &tex_batch_limits.done;
	bool		resumed = before->record_rows > 0 && batch->position == before->records + 1;
	int			most = 2 * tex_batch_limits.step_rows;

	check_rest(batch);
	if (resumed)
		drop_first(batch, Min(before->record_rows, batch->row_count));
	if (most == 0 || batch->row_count <= most)
		return;
	tex_batch_cut(batch, most);
	batch->is_full = true;
	batch->done.records = batch->position - 1;
	batch->done.record_rows = most - batch->record_begin + (resumed ? before->record_rows : 0);
}

/* ----------------------------------------------------------------
 *		Collecting
 * ----------------------------------------------------------------
 */
/* Takes a row over into the batch: what it was made of goes with the event's context. */
void
tex_batch_add(TexBatch *batch, TexEventRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(batch->row_context);
	TexBatchRow *r;

	if (batch->row_count == batch->row_room)
	{
		batch->row_room = Max(batch->row_room * 2, 1024);
		batch->rows = batch->rows == NULL ?
			palloc(sizeof(TexBatchRow) * batch->row_room) :
			repalloc_huge(batch->rows, sizeof(TexBatchRow) * batch->row_room);
	}
	r = &batch->rows[batch->row_count++];
	r->trace_id = row->trace_id;
	r->id = row->id;
	r->timestamp = row->timestamp;
	r->tuple = heap_form_tuple(batch->desc, row->values, row->isnull);
	batch->row_bytes += row_size(r);
	MemoryContextSwitchTo(old);
	/* A short body may have many events, and a record as well. */
	if (tex_batch_limits.bytes > 0 && tex_batch_limits.done.bytes + batch->row_bytes > tex_batch_limits.bytes)
		too_much("events", tex_batch_limits.bytes >> 20, " MB of memory");
}

/* Takes back the rows after the first row_count. */
void
tex_batch_cut(TexBatch *batch, int row_count)
{
	while (batch->row_count > row_count)
	{
		batch->row_bytes -= row_size(&batch->rows[--batch->row_count]);
		heap_freetuple(batch->rows[batch->row_count].tuple);
	}
}

/* A copy of the beginning of a text, up to a whole character. */
static char *
clip(const char *text, int len, int limit)
{
	return pnstrdup(text, pg_mbcliplen(text, len, limit));
}

/*
 * Notes a refused event, with what helps its sender to find it; nothing is written yet. Those
 * after the first most_rejections are counted only.
 */
void
tex_batch_refuse(TexBatch *batch, const char *reason, const char *id, const char *trace_id,
				 const char *event, int len)
{
	MemoryContext old;
	Rejection  *rejection;

	if (batch->rejected++ >= batch->most_rejections)
		return;
	old = MemoryContextSwitchTo(batch->kept_context);
	rejection = palloc(sizeof(Rejection));
	rejection->position = batch->position;
	rejection->reason = pstrdup(reason);
	rejection->id = id == NULL ? NULL : clip(id, strlen(id), NAMEDATALEN * 2);
	rejection->trace_id = trace_id == NULL ? NULL : clip(trace_id, strlen(trace_id), NAMEDATALEN * 2);
	rejection->event = clip(event, len, KEPT_TEXT);
	batch->rejections = lappend(batch->rejections, rejection);
	MemoryContextSwitchTo(old);
}

/* ----------------------------------------------------------------
 *		Writing
 * ----------------------------------------------------------------
 */
/* For qsort(): by the primary key, the order in which all clients take its entries. */
static int
compare_rows(const void *a, const void *b)
{
	const TexBatchRow *x = a;
	const TexBatchRow *y = b;
	int			order = memcmp(x->trace_id.data, y->trace_id.data, UUID_LEN);

	if (order == 0)
		order = memcmp(x->id.data, y->id.data, UUID_LEN);
	if (order == 0 && x->timestamp != y->timestamp)
		order = x->timestamp < y->timestamp ? -1 : 1;
	return order;
}

/*
 * By name, so that other columns of the table get their defaults. Where rows may be there already
 * each is looked for before, and said to be there afterwards: what is known to be new need not be.
 */
static SPIPlanPtr
prepare_insert(bool all_new)
{
	StringInfoData command;
	SPIPlanPtr	plan;

	initStringInfo(&command);
	for (int i = 0; i < TEX_EVENT_COLUMNS; i++)
		appendStringInfo(&command, "%s%s", i == 0 ? "INSERT INTO trace_ext.events (" : ", ",
						 quote_identifier(batch_columns[i].name));
	appendStringInfo(&command, ") SELECT * FROM " BATCH_NAME "%s", all_new ? "" : " ON CONFLICT DO NOTHING");
	plan = SPI_prepare(command.data, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare the insert of a batch");
	SPI_keepplan(plan);
	return plan;
}

/* The rows, in their order. */
static void
store_rows(TexBatch *batch, Tuplestorestate *store)
{
	qsort(batch->rows, batch->row_count, sizeof(TexBatchRow), compare_rows);
	for (int i = 0; i < batch->row_count; i++)
		tuplestore_puttuple(store, batch->rows[i].tuple);
}

/* Executes the INSERT of the rows that are registered; returns how many were not there yet. */
static uint64
execute_insert(const TexBatch *batch)
{
	static SPIPlanPtr plans[2] = {NULL, NULL};
	SPIPlanPtr *plan = &plans[batch->all_new];

	if (*plan == NULL)
		*plan = prepare_insert(batch->all_new);
	if (SPI_execute_plan(*plan, NULL, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert a batch");
	return SPI_processed;
}

/*
 * The same for rows of a node.  Where others stored some of them since this transaction first
 * looked there, they are sent in another way (over_nodes.c).  A wait that the node gave up may be half
 * of a circle over two nodes: it is said as what is to be tried again.  An error of a node comes with the
 * whole of what was sent to it, which says nothing to anybody: of that the beginning is kept.
 */
static uint64
insert_on_node(TexBatch *batch, const TexNodeRows *rows)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile uint64 inserted = 0;
	volatile bool conflict = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	PG_TRY();
	{
		inserted = execute_insert(batch);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(batch->context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		conflict = error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE;
		if (!conflict)
		{
			if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
				tex_waited_too_long(rows);
			if (error->context != NULL)
				error->context = clip(error->context, strlen(error->context), 200);
			ReThrowError(error);
		}
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
	return conflict ? tex_insert_again(rows, batch->desc, BATCH_NAME) : inserted;
}

/* Registers rows by the name that the INSERT, whose plan is kept, has for them. */
static void
register_rows(TexBatch *batch, Tuplestorestate *store, int64 rows)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	relation->md.name = pstrdup(BATCH_NAME);
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = batch->desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = rows;
	relation->reldata = store;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the batch");
}

/* Inserts the sorted rows where events are on nodes. */
static uint64
insert_over_nodes(TexBatch *batch, Tuplestorestate *all)
{
	int			n;
	TexNodeRows *parts = tex_rows_of_nodes(batch->desc, all, COL_TRACE_ID + 1, COL_TIMESTAMP + 1, &n);
	uint64		inserted = 0;

	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the router has no node"),
				 errhint("Add one with trace_ext.add_node(name, connection_string).")));
	for (int i = 0; i < n; i++)
	{
		if (parts[i].rows == 0)
			continue;
		register_rows(batch, parts[i].store, parts[i].rows);
		inserted += insert_on_node(batch, &parts[i]);
		SPI_unregister_relation(BATCH_NAME);
		tuplestore_end(parts[i].store);
	}
	return inserted;
}

/* Inserts the rows of the batch; returns how many were not there yet. */
static uint64
insert_rows(TexBatch *batch)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	uint64		inserted;

	tex_refuse_distributed();
	store_rows(batch, store);
	if (tex_is_router())
		inserted = insert_over_nodes(batch, store);
	else
	{
		register_rows(batch, store, batch->row_count);
		inserted = execute_insert(batch);
		SPI_unregister_relation(BATCH_NAME);
	}
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
insert_rejections(TexBatch *batch)
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

/*
 * The quota is asked once for a body: at its first step, by which the records to come count one event
 * each.  What they become beyond that is taken later without asking, as a body that was let in is not given up.
 */
static void
take_quota(const TexBatch *batch)
{
	const TexBatchDone *before = &tex_batch_limits.done;
	int64		events = batch->row_count + list_length(batch->rejections);
	int64		end = batch->is_full ? batch->done.records : batch->position;

	if (before->records == 0 && before->record_rows == 0)
		tex_quota_take(events + batch->position - end, &tex_last_batch.quota_wait);
	else
		tex_quota_add(events - (end - before->records));
}

/*
 * All of the body is read, and nothing of the batch is stored: throws where the quota of the role
 * is used up.  What is refused and kept counts as well, for it is stored too.
 */
void
tex_batch_was_read(TexBatch *batch)
{
	if (tex_batch_limits.was_read != NULL)
		tex_batch_limits.was_read();
	take_quota(batch);
}

/* Leaves word of a batch for who called the SQL function from C. */
static void
note_last(const TexBatch *batch)
{
	const char *reason = batch->rejections == NIL ? "" : ((Rejection *) linitial(batch->rejections))->reason;
	int			len = pg_mbcliplen(reason, strlen(reason), sizeof(tex_last_batch.reason) - 1);

	tex_last_batch.records = batch->position;
	memcpy(tex_last_batch.reason, reason, len);
	tex_last_batch.reason[len] = '\0';
	tex_last_batch.more = batch->is_full && batch->done.records < batch->position;
	tex_last_batch.done = batch->done;
	tex_last_batch.done.bytes = tex_batch_limits.done.bytes + batch->row_bytes;
	tex_last_batch.done.rejections = tex_batch_limits.done.rejections + list_length(batch->rejections);
}

/* Stores a batch that was read, rows first; returns how many were inserted, there already, refused. */
Datum
tex_batch_finish(FunctionCallInfo fcinfo, TexBatch *batch)
{
	Datum		values[3];
	bool		isnull[3] = {false};
	TupleDesc	desc;
	int64		rows = batch->row_count;
	uint64		inserted = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	SPI_connect();
	if (rows > 0)
		inserted = insert_rows(batch);
	if (batch->rejections != NIL)
		insert_rejections(batch);
	SPI_finish();
	note_last(batch);

	values[0] = Int64GetDatum(inserted);
	values[1] = Int64GetDatum(rows - (int64) inserted);
	values[2] = Int64GetDatum(batch->rejected);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull));
}

