/*
 * store.c
 *		Records of the ring become events, by the ordinary ingest.
 *
 * Each statement is a DatabaseQuery, its accesses are StateChange events below it, its row
 * locks LockAcquire, and LockRelease when the transaction has ended.  A read happened when its
 * snapshot was taken; a write from the time before the commit to the time by which everybody
 * sees it.  So times of one transaction do not ascend as its statements do: a client clock of
 * the backend, which counts its events, says what came after what.
 *
 * A transaction that was prepared is known by its id: its record waits in the table watch_prepared until
 * that has committed, or was rolled back, and its commit is when that was seen, unless
 * the server keeps the times of commits.
 *
 * The records are given up when the transaction that stored them has committed.
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "common/md5.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "common/event.h"
#include "ingest/batch.h"
#include "ingest/otlp_attributes.h"
#include "store/template.h"
#include "vclock/vclock.h"
#include "watch/apart.h"
#include "watch/collect.h"
#include "watch/record.h"
#include "watch/shared.h"
#include "watch/store.h"

PG_FUNCTION_INFO_V1(tex_store_watched);
PG_FUNCTION_INFO_V1(tex_watch_left);
PG_FUNCTION_INFO_V1(tex_watch_waiting);

/* Until where this transaction has taken records; 0: none. */
static uint64 taken_to = 0;
static uint64 taken_accesses = 0;

/* More waited than is taken at once. */
static bool left_some = false;

/* A transaction that stored records has failed: the next one is prepared to find some of them. */
static bool failed_before = false;

/* What is made of the text of a statement. */
typedef struct Text
{
	const char *raw;			/* NULL: nothing is here */
	int			len;
	const char *template;
	char		fingerprint[17];
} Text;

/* Programs repeat few texts: those seen last by this call, by their hash. */
#define TEXTS 64

/* A statement of the record that is being read. */
typedef struct Statement
{
	pg_uuid_t	trace;
	pg_uuid_t	id;
	char	   *by;				/* who ran it; NULL: its trace says so */
	const char *location;		/* its text, and the function that ran it */
	TexApartTrace *apart;		/* what is known of its trace */
} Statement;

/* The record that is being read. */
typedef struct Record
{
	TexRecordReader reader;
	TexBatch   *batch;
	Text	   *texts;			/* of TEXTS */
	TimestampTz began;
	TimestampTz untraced_began; /* the trace of the session, where nobody traces it */
	TimestampTz commit_at;
	TimestampTz visible_at;
	int			pid;
	const char *isolation;
	uint8		id_base[8];
	char	   *service;
	char	   *database;
	char	   *transaction;
	char	   *clock;			/* name of the backend's component */
	Datum		thread;			/* texts that rows have */
	Datum		service_text;
	Datum		database_text;
	Statement  *statements;
	int			nstatements;
} Record;

static const char *
isolation_name(int level)
{
	switch (level)
	{
		case XACT_SERIALIZABLE:
			return "SERIALIZABLE";
		case XACT_REPEATABLE_READ:
			return "REPEATABLE READ";
		default:
			return "READ COMMITTED";
	}
}

static char *
read_text(TexRecordReader *reader)
{
	int			len;
	const char *text = tex_get_text(reader, &len);

	return pnstrdup(text, len);
}

/* The id of an event: the backend's own base, and its number. */
static void
make_id(pg_uuid_t *id, const Record *record, uint64 tick)
{
	memcpy(id->data, record->id_base, 8);
	for (int i = 0; i < 8; i++)
		id->data[8 + i] = (uint8) (tick >> (56 - 8 * i));
}

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */
static void
set(TexEventRow *row, int column, Datum value)
{
	row->values[column] = value;
	row->isnull[column] = false;
}

static void
set_text(TexEventRow *row, int column, const char *text)
{
	if (text && text[0])
		set(row, column, CStringGetTextDatum(text));
}

/* Begins a row with what all events of a record have. */
static void
begin_row(TexEventRow *row, const Record *record, const pg_uuid_t *trace, uint64 tick, TexKind kind, TimestampTz at)
{
	memset(row, 0, sizeof(TexEventRow));
	memset(row->isnull, true, sizeof(row->isnull));
	row->trace_id = *trace;
	row->timestamp = at;
	make_id(&row->id, record, tick);
	set(row, COL_TRACE_ID, UUIDPGetDatum(&row->trace_id));
	set(row, COL_ID, UUIDPGetDatum(&row->id));
	set(row, COL_TIMESTAMP, TimestampTzGetDatum(at));
	set(row, COL_KIND, ObjectIdGetDatum(tex_kind_oid(kind)));
	set(row, COL_SERVICE_NAME, record->service_text);
	set(row, COL_INSTANCE_ID, record->database_text);
	set(row, COL_PROCESS_ID, Int32GetDatum(record->pid));
}

/* What an event below a statement has besides. */
static void
set_below(TexEventRow *row, const Record *record, const Statement *statement, uint64 tick)
{
	TexVclockComponent component = {.name = record->clock,.len = strlen(record->clock),.count = (int64) tick};
	const char *problem;

	row->parent_id = statement->id;
	set(row, COL_PARENT_ID, UUIDPGetDatum(&row->parent_id));
	set(row, COL_THREAD_ID, record->thread);
	set(row, COL_CAUSALITY_VECTOR, PointerGetDatum(tex_vclock_build(&component, 1, &problem)));
}

static void
add_string(TexObject *object, const char *key, const char *text)
{
	if (text && text[0])
		tex_object_string(object, key, (TexOtlpString) {text, strlen(text)});
}

/* A number as jsonb has it. */
static Numeric
number_of(const char *text, int len)
{
	bool		negative = text[0] == '-';
	int64		number = 0;

	/* Most are whole and short. */
	if (len <= 18 && len > negative && (int) strspn(text + negative, "0123456789") >= len - negative)
	{
		for (int i = negative; i < len; i++)
			number = number * 10 + (text[i] - '0');
		return int64_to_numeric(negative ? -number : number);
	}
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(pnstrdup(text, len)),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/*
 * Adds a value as JSON has it: what is no number there is a string.  Members are added in the order in which jsonb
 * keeps keys, by length and then by bytes, so that nothing is left to sort.
 */
static void
add_value(TexObject *object, const char *key, char kind, const char *text, int len)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, text);
	value.val.string.len = len;
	if (kind == 0)
		return;
	if (kind == TEX_VALUE_NULL)
		value.type = jbvNull;
	else if (kind == TEX_VALUE_BOOLEAN)
	{
		value.type = jbvBool;
		value.val.boolean = len > 0 && text[0] == 't';
	}
	else if (kind == TEX_VALUE_NUMBER && len > 0 && strspn(text, "0123456789+-.eE") >= (size_t) len)
	{
		value.type = jbvNumeric;
		value.val.numeric = number_of(text, len);
	}
	tex_object_jsonb(object, key, &value);
}

/*
 * What is made of the text of a statement: the same with its constants as parameters, where
 * accesses happen, and sixteen digits that tell statements apart.  It lives as long as the batch.
 */
static const Text *
text_of(Record *record, const char *raw, int len)
{
	Text	   *text = &record->texts[hash_bytes((const unsigned char *) raw, len) % TEXTS];
	TexTemplate template = {0};
	MemoryContext old;
	char		digits[33];
	const char *problem;

	if (text->raw && text->len == len && memcmp(text->raw, raw, len) == 0)
		return text;
	tex_query_template(&template, raw, len);
	if (!pg_md5_hash(template.text, template.len, digits, &problem))
		elog(ERROR, "could not compute a hash: %s", problem);
	old = MemoryContextSwitchTo(record->batch->context);
	text->raw = pnstrdup(raw, len);
	text->len = len;
	text->template = pnstrdup(template.text, template.len);
	strlcpy(text->fingerprint, digits, sizeof(text->fingerprint));
	MemoryContextSwitchTo(old);
	return text;
}

/* Reads a statement, and adds its event. */
static void
read_statement(Record *record, Statement *statement)
{
	TexRecordReader *reader = &record->reader;
	int			trace_of;
	bool		traced;
	pg_uuid_t	parent;
	uint64		tick;
	char	   *name;
	char	   *called_from;
	const Text *known;
	const char *text;
	int			len;
	const char *raw;
	TimestampTz started;
	TimestampTz ended;
	bool		is_private;
	TexEventRow row;
	TexObject	attributes;

	memcpy(&statement->trace, tex_get_bytes(reader, UUID_LEN), UUID_LEN);
	trace_of = (int) tex_get_int(reader);
	traced = trace_of == TEX_RECORD_TRACED;
	memcpy(&parent, tex_get_bytes(reader, UUID_LEN), UUID_LEN);
	tick = (uint64) tex_get_int(reader);
	name = read_text(reader);
	raw = tex_get_text(reader, &len);
	called_from = read_text(reader);
	started = tex_get_int(reader);
	ended = tex_get_int(reader);
	is_private = tex_get_int(reader) != 0;

	statement->apart = tex_apart_statement(&statement->trace, !traced, record->untraced_began);
	make_id(&statement->id, record, tick);
	known = text_of(record, raw, len);
	statement->location = known->template;
	statement->by = name[0] ? psprintf("request \"%s\"", name) :
		traced ? NULL : psprintf("session %d", record->pid);
	text = is_private ? statement->location : pnstrdup(raw, len);
	if (called_from[0])
		statement->location = psprintf("%s in %s", statement->location, called_from);

	begin_row(&row, record, &statement->trace, tick, TEX_DATABASE_QUERY, started);
	set_text(&row, COL_NAME, text);
	if (traced)
	{
		row.parent_id = parent;
		set(&row, COL_PARENT_ID, UUIDPGetDatum(&row.parent_id));
	}
	set(&row, COL_DURATION_NS, Int64GetDatum(Max(ended - started, 0) * 1000));
	tex_object_begin(&attributes);
	add_string(&attributes, "request", name);
	add_string(&attributes, "database", record->database);
	add_string(&attributes, "function", called_from);
	/* What a session does is not one request: like statements in it are nothing to wonder at. */
	if (trace_of == TEX_RECORD_OF_SESSION)
		add_string(&attributes, "trace_of", "session");
	add_string(&attributes, "isolation", record->isolation);
	add_string(&attributes, "fingerprint", known->fingerprint);
	set(&row, COL_ATTRIBUTES, JsonbPGetDatum(tex_object_end(&attributes)));
	tex_batch_add(record->batch, &row);
}

/* The lock of a row, and that it ends with the transaction. */
static void
add_lock(Record *record, const Statement *statement, uint64 tick, TimestampTz at, const char *name, const char *type)
{
	for (int end = 0; end < 2; end++)
	{
		TexEventRow row;
		TexObject	attributes;
		/* It comes after all that the transaction did: ticks of records do not interleave. */
		uint64		count = end ? tick | UINT64CONST(1) << 62 : tick;

		begin_row(&row, record, &statement->trace, count, end ? TEX_LOCK_RELEASE : TEX_LOCK_ACQUIRE,
				  end ? record->visible_at : at);
		set_below(&row, record, statement, tick);
		if (end)
			row.isnull[COL_CAUSALITY_VECTOR] = true;
		set_text(&row, COL_NAME, name);
		tex_object_begin(&attributes);
		add_string(&attributes, "location", statement->location);
		add_string(&attributes, "lock_type", type);
		set(&row, COL_ATTRIBUTES, JsonbPGetDatum(tex_object_end(&attributes)));
		tex_batch_add(record->batch, &row);
	}
}

static bool
is_read(char what)
{
	return what == TEX_TAKEN_READ || what == TEX_TAKEN_LOCKED_READ;
}

static const char *
access_type_of(char what)
{
	return is_read(what) ? "Read" : what == TEX_TAKEN_WRITE ? "Write" : "AtomicRMW";
}

/* Reads an access, and adds its event. */
static void
read_access(Record *record)
{
	TexRecordReader *reader = &record->reader;
	const Statement *statement = &record->statements[tex_get_int(reader)];
	uint64		tick = (uint64) tex_get_int(reader);
	char		what = (char) tex_get_int(reader);
	bool		incomplete = tex_get_int(reader) != 0;
	TimestampTz at = tex_get_int(reader);
	int			variable_len;
	const char *variable = tex_get_text(reader, &variable_len);
	char		old_kind = (char) tex_get_int(reader);
	int			old_len;
	const char *old_text = tex_get_text(reader, &old_len);
	char		new_kind = (char) tex_get_int(reader);
	int			new_len;
	const char *new_text = tex_get_text(reader, &new_len);
	TexEventRow row;
	TexObject	attributes;

	if (what == TEX_TAKEN_LOCK)
	{
		tex_apart_lock(statement->apart);
		add_lock(record, statement, tick, at, pnstrdup(variable, variable_len), pnstrdup(new_text, new_len));
		return;
	}
	tex_apart_access(statement->apart, variable, variable_len, !is_read(what), record->began, record->visible_at);
	begin_row(&row, record, &statement->trace, tick, TEX_STATE_CHANGE,
			  is_read(what) ? at : record->commit_at);
	set_below(&row, record, statement, tick);
	set(&row, COL_NAME, PointerGetDatum(cstring_to_text_with_len(variable, variable_len)));
	if (!is_read(what))
		set(&row, COL_DURATION_NS, Int64GetDatum(Max(record->visible_at - record->commit_at, 0) * 1000));
	tex_object_begin(&attributes);
	add_string(&attributes, "by", statement->by);
	add_string(&attributes, "location", statement->location);
	if (what == TEX_TAKEN_LOCKED_READ)
		add_string(&attributes, "row_lock", "true");
	add_string(&attributes, "isolation", record->isolation);
	add_value(&attributes, "new_value", new_kind, new_text, new_len);
	if (!is_read(what))
		add_value(&attributes, "old_value", old_kind, old_text, old_len);
	if (incomplete)
		add_string(&attributes, "incomplete", "true");
	add_string(&attributes, "access_type", access_type_of(what));
	add_string(&attributes, "transaction", record->transaction);
	set(&row, COL_ATTRIBUTES, JsonbPGetDatum(tex_object_end(&attributes)));
	tex_batch_add(record->batch, &row);
}

/* Reads a record, and adds the events of its transaction; committed_at is known where it had been prepared. */
static void
read_record(TexBatch *batch, Text *texts, const char *data, TimestampTz committed_at)
{
	Record		record = {.reader = {data},.batch = batch,.texts = texts};
	TexRecordReader *reader = &record.reader;
	int			n;

	record.commit_at = tex_get_int(reader);
	record.visible_at = tex_get_int(reader);
	(void) tex_get_int(reader);
	if (committed_at != 0)
		record.commit_at = record.visible_at = committed_at;
	record.pid = (int) tex_get_int(reader);
	record.isolation = isolation_name((int) tex_get_int(reader));
	record.began = tex_get_int(reader);
	record.untraced_began = tex_get_int(reader);
	memcpy(record.id_base, tex_get_bytes(reader, 8), 8);
	record.service = read_text(reader);
	record.database = get_database_name(MyDatabaseId);
	if (record.service[0] == '\0')
		record.service = pstrdup("postgresql");
	record.clock = psprintf("backend %d/%02x%02x", record.pid, record.id_base[0], record.id_base[1]);
	record.thread = CStringGetTextDatum(psprintf("%d", record.pid));
	record.service_text = CStringGetTextDatum(record.service);
	record.database_text = CStringGetTextDatum(record.database);
	record.nstatements = (int) tex_get_int(reader);
	record.statements = palloc(sizeof(Statement) * Max(record.nstatements, 1));
	record.transaction = psprintf("%d/" INT64_FORMAT, record.pid, record.commit_at);
	for (int i = 0; i < record.nstatements; i++)
		read_statement(&record, &record.statements[i]);
	n = (int) tex_get_int(reader);
	for (int i = 0; i < n; i++)
		read_access(&record);
	taken_accesses += n;
}

/* The same, in the memory of one record. */
static void
take_record(TexBatch *batch, Text *texts, const char *data, TimestampTz committed_at)
{
	MemoryContext old = MemoryContextSwitchTo(batch->event_context);

	read_record(batch, texts, data, committed_at);
	MemoryContextSwitchTo(old);
	MemoryContextReset(batch->event_context);
}

/* Keeps the record of a transaction that was prepared. */
static void
keep_prepared(const char *data, Size size, uint64 xid)
{
	Oid			types[] = {XID8OID, BYTEAOID};
	bytea	   *record = palloc(VARHDRSZ + size);
	Datum		values[2];

	SET_VARSIZE(record, VARHDRSZ + size);
	memcpy(VARDATA(record), data, size);
	values[0] = UInt64GetDatum(xid);
	values[1] = PointerGetDatum(record);
	if (SPI_execute_with_args("INSERT INTO trace_ext_internal.watch_prepared (xid, record) VALUES ($1, $2)",
							  2, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not keep the accesses of a prepared transaction");
	pfree(record);
}

/* When a transaction that is known to have committed did so, as far as it is known. */
static TimestampTz
commit_time(uint64 xid)
{
	TimestampTz at = 0;
	RepOriginId origin;

	if (!track_commit_timestamp ||
		!TransactionIdGetCommitTsData(XidFromFullTransactionId(FullTransactionIdFromU64(xid)), &at, &origin))
		at = GetCurrentTimestamp();
	return at;
}

/* Takes the records of transactions that had been prepared and have committed; forgets those rolled back. */
static void
take_prepared(TexBatch *batch, Text *texts)
{
	if (SPI_execute("DELETE FROM trace_ext_internal.watch_prepared"
					" WHERE coalesce(pg_catalog.pg_xact_status(xid), 'aborted') OPERATOR(pg_catalog.<>) 'in progress'"
					" RETURNING coalesce(pg_catalog.pg_xact_status(xid), 'aborted') OPERATOR(pg_catalog.=) 'committed', xid, record",
					false, 0) != SPI_OK_DELETE_RETURNING)
		elog(ERROR, "could not look at prepared transactions");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		uint64		xid = DatumGetUInt64(SPI_getbinval(row, desc, 2, &isnull));
		bytea	   *record = DatumGetByteaP(SPI_getbinval(row, desc, 3, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (DatumGetBool(SPI_getbinval(row, desc, 1, &isnull)))
			take_record(batch, texts, VARDATA(record), commit_time(xid));
	}
}

/*
 * store_watched(): makes events of the records that wait, about 1 MB of them; returns how many
 * were inserted, were there already, and were refused, which none is.  As the owner.
 */
Datum
tex_store_watched(PG_FUNCTION_ARGS)
{
	TexBatch   *batch = tex_batch_begin();
	Text	   *texts = palloc0(sizeof(Text) * TEXTS);
	Size		size = 0;
	char	   *data;

	/* One at a time: what another process has taken is given up when that has committed. */
	LockRelationOid(get_relname_relid("watch_prepared", get_namespace_oid("trace_ext_internal", false)), ShareRowExclusiveLock);
	tex_apart_begin();
	data = tex_watch_shared ? tex_ring_take(&taken_to, &size, &left_some) : NULL;
	/* Their ids are the backends' own, and who had stored them has given them up. */
	batch->all_new = !failed_before;
	SPI_connect();
	take_prepared(batch, texts);
	for (Size at = 0; at < size;)
	{
		uint64		record_size = *(uint64 *) (data + at);
		const char *record = data + at + sizeof(uint64);
		int64		xid;

		CHECK_FOR_INTERRUPTS();
		memcpy(&xid, record + TEX_RECORD_PREPARED, sizeof(xid));
		if (xid != 0)
			keep_prepared(record, record_size, (uint64) xid);
		else
			take_record(batch, texts, record, 0);
		at += sizeof(uint64) + MAXALIGN(record_size);
	}
	SPI_finish();
	return tex_batch_finish(fcinfo, batch);
}

/* The transaction that stored records has ended: they are given up, or found again. Throws nothing. */
void
tex_watch_store_ended(bool committed)
{
	if (taken_to == 0)
		return;
	if (committed)
	{
		tex_ring_release(taken_to);
		tex_watch_count(TEX_WATCH_STORED, taken_accesses);
	}
	else
		tex_apart_forget();
	failed_before = !committed;
	taken_to = taken_accesses = 0;
}

/* watch_left(): whether store_watched() of this session left some when it was called last. */
Datum
tex_watch_left(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(left_some);
}

/* watch_waiting(): whether accesses of this database wait in the ring. */
Datum
tex_watch_waiting(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(tex_ring_has_mine());
}
