/*
 * deltas.c
 *		Deltas of summaries and counts, written by triggers.
 *
 * note_event(), a row trigger on events, merges the rows that a statement
 * changed into a pending set in backend memory; append_deltas(), a statement
 * trigger, writes that set as rows of summary_deltas and count_deltas.  (A row
 * trigger costs a third of a transition table here, see docs/design.md.)
 *
 * Rules
 * - Only inserts into tables without an index: no row lock is taken, so
 *	 writers never wait for each other.
 * - A pending set belongs to one subtransaction and is written in that one,
 *	 so that a rollback takes both the events and their deltas.
 * - What no statement trigger wrote (logical replication fires none) is
 *	 written before commit.
 * - An insert adds.  For a delete, and for an update that moves anything the
 *	 summary shows, the counts of events are subtracted, while the trace is
 *	 marked "recompute": its first, last, services and root cannot be told from
 *	 what went away.  The times of rows that the statement added stand in the
 *	 delta all the same: trace_range.c must know where rows can be.
 * - A large statement writes as soon as PENDING_TRACES traces are pending, so
 *	 memory stays bounded.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store/deltas.h"
#include "common/event.h"
#include "store/fold_once.h"
#include "guc.h"
#include "common/owner.h"
#include "store/restore.h"
#include "store/summary.h"
#include "common/worker_slots.h"

#define PENDING_TRACES 20000
#define WRITER_SLOTS 256

PG_FUNCTION_INFO_V1(tex_note_event);
PG_FUNCTION_INFO_V1(tex_append_deltas);

/* The columns of events that summaries and counts depend on. */
typedef enum EventColumn
{
	COL_TRACE_ID, COL_ID, COL_PARENT_ID, COL_TIMESTAMP, COL_KIND, COL_NAME,
	COL_SERVICE_NAME, COL_ATTRIBUTES, COL_COUNT
} EventColumn;

static const char *const column_names[COL_COUNT] = {
	"trace_id", "id", "parent_id", "timestamp", "kind", "name",
	"service_name", "attributes"
};

typedef struct EventRow
{
	pg_uuid_t	trace_id;
	Oid			kind_oid;
	TexKind		kind;
	TexSummaryEvent event;
} EventRow;

typedef struct CountKey
{
	TimestampTz hour;
	Oid			kind;
	text	   *service;		/* may be NULL */
} CountKey;

typedef struct CountEntry
{
	CountKey	key;
	int64		event_count;
	int64		error_count;
	char		status;
} CountEntry;

static uint32
hash_count_key(const CountKey *key)
{
	uint32		h = hash_combine(murmurhash32((uint32) (key->hour / USECS_PER_HOUR)), key->kind);

	if (key->service != NULL)
		h = hash_combine(h, hash_bytes((unsigned char *) VARDATA_ANY(key->service),
									   VARSIZE_ANY_EXHDR(key->service)));
	return h;
}

static bool
same_service(text *a, text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

#define SH_PREFIX count
#define SH_ELEMENT_TYPE CountEntry
#define SH_KEY_TYPE CountKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_count_key(&key)
#define SH_EQUAL(tb, a, b) (a.hour == b.hour && a.kind == b.kind && same_service(a.service, b.service))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

typedef struct PendingSet
{
	struct PendingSet *next;
	SubTransactionId subid;
	MemoryContext context;
	TexSummarySet *summaries;
	count_hash *counts;
	Oid			layout_of;		/* the relation that columns[] is for */
	AttrNumber	columns[COL_COUNT];
} PendingSet;

/* Of this transaction; the memory goes with it. */
static PendingSet *pending_sets = NULL;

/* Appended since the last thought of folding. */
static int	appended_deltas = 0;

/* ----------------------------------------------------------------
 *		Collecting rows
 * ----------------------------------------------------------------
 */
static PendingSet *
find_pending(SubTransactionId subid)
{
	for (PendingSet *set = pending_sets; set != NULL; set = set->next)
	{
		if (set->subid == subid)
			return set;
	}
	return NULL;
}

static PendingSet *
get_pending(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	PendingSet *set = find_pending(subid);
	MemoryContext context;

	if (set != NULL)
		return set;

	context = AllocSetContextCreate(TopTransactionContext, "trace_ext pending deltas",
									ALLOCSET_DEFAULT_SIZES);
	set = MemoryContextAllocZero(context, sizeof(PendingSet));
	set->subid = subid;
	set->context = context;
	set->summaries = tex_summaries_create(context);
	set->counts = count_create(context, 64, NULL);
	set->next = pending_sets;
	pending_sets = set;
	return set;
}

static void
discard_pending(PendingSet *set)
{
	PendingSet **link = &pending_sets;

	while (*link != set)
		link = &(*link)->next;
	*link = set->next;
	MemoryContextDelete(set->context);
}

/*
 * Partitions may order their columns in ways of their own.
 */
static void
learn_layout(PendingSet *set, Relation rel)
{
	if (set->layout_of == RelationGetRelid(rel))
		return;
	/* The columns of any other table could be of any type. */
	if (!rel->rd_rel->relispartition ||
		get_partition_parent(RelationGetRelid(rel), true) != tex_relation_oid("events"))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a partition of trace_ext.events",
						RelationGetRelationName(rel)),
				 errhint("Function note_event() is for triggers of trace_ext.events only.")));
	for (int c = 0; c < COL_COUNT; c++)
		set->columns[c] = get_attnum(RelationGetRelid(rel), column_names[c]);
	set->layout_of = RelationGetRelid(rel);
}

static void
read_event(PendingSet *set, TupleTableSlot *slot, EventRow *row)
{
	bool		isnull;
	Datum		value;

	row->trace_id = *DatumGetUUIDP(slot_getattr(slot, set->columns[COL_TRACE_ID], &isnull));
	row->event.id = *DatumGetUUIDP(slot_getattr(slot, set->columns[COL_ID], &isnull));
	row->event.timestamp = DatumGetTimestampTz(slot_getattr(slot, set->columns[COL_TIMESTAMP], &isnull));
	row->kind_oid = DatumGetObjectId(slot_getattr(slot, set->columns[COL_KIND], &isnull));
	row->kind = tex_kind_by_oid(row->kind_oid);
	row->event.is_access = row->kind == TEX_STATE_CHANGE;
	/* As ingest_events() has it: an event that is its own parent is a root. */
	value = slot_getattr(slot, set->columns[COL_PARENT_ID], &row->event.is_root);
	if (!row->event.is_root)
		row->event.is_root = memcmp(DatumGetUUIDP(value), &row->event.id, UUID_LEN) == 0;
	value = slot_getattr(slot, set->columns[COL_SERVICE_NAME], &isnull);
	row->event.service = isnull ? NULL : DatumGetTextPP(value);

	row->event.name = NULL;
	if (row->event.is_root)
	{
		value = slot_getattr(slot, set->columns[COL_NAME], &isnull);
		row->event.name = isnull ? NULL : DatumGetTextPP(value);
	}
	row->event.is_error = row->kind == TEX_ERROR;
	if (row->kind == TEX_HTTP_RESPONSE)
	{
		value = slot_getattr(slot, set->columns[COL_ATTRIBUTES], &isnull);
		row->event.is_error = !isnull &&
			tex_event_is_error(row->kind, DatumGetJsonbP(value));
	}
}

static void
add_count(PendingSet *set, const EventRow *row, int sign)
{
	CountKey	key;
	CountEntry *entry;
	bool		found;

	/* Hours since the epoch of PostgreSQL; rounds down before it as well. */
	key.hour = row->event.timestamp - (row->event.timestamp % USECS_PER_HOUR);
	if (key.hour > row->event.timestamp)
		key.hour -= USECS_PER_HOUR;
	key.kind = row->kind_oid;
	key.service = row->event.service;

	entry = count_insert(set->counts, key, &found);
	if (!found)
	{
		entry->event_count = 0;
		entry->error_count = 0;
		if (row->event.service != NULL)
		{
			Size		len = VARSIZE_ANY(row->event.service);

			entry->key.service = MemoryContextAlloc(set->context, len);
			memcpy(entry->key.service, row->event.service, len);
		}
	}
	entry->event_count += sign;
	entry->error_count += row->event.is_error ? sign : 0;
}

static void
note_inserted(PendingSet *set, const EventRow *row)
{
	TexSummary *s = tex_summaries_get(set->summaries, &row->trace_id);

	add_count(set, row, 1);
	if (s->recompute)
	{
		/* The trace has to be read again: this tells where to look for it. */
		tex_summary_add_times(s, row->event.timestamp, row->event.timestamp);
		return;
	}
	tex_summary_add_event(set->summaries, s, &row->event);
}

static void
note_deleted(PendingSet *set, const EventRow *row)
{
	add_count(set, row, -1);
	tex_summaries_get(set->summaries, &row->trace_id)->recompute = true;
}

static bool
same_in_summary(const EventRow *a, const EventRow *b)
{
	return memcmp(&a->trace_id, &b->trace_id, UUID_LEN) == 0 &&
		memcmp(&a->event.id, &b->event.id, UUID_LEN) == 0 &&
		a->event.is_root == b->event.is_root &&
		a->event.timestamp == b->event.timestamp &&
		a->kind == b->kind &&
		a->event.is_error == b->event.is_error &&
		same_service(a->event.service, b->event.service) &&
		same_service(a->event.name, b->event.name);
}

static void append_pending(PendingSet *set);

/*
 * note_event() returns trigger
 */
Datum
tex_note_event(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	PendingSet *set;
	EventRow	row;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"note_event\" must be fired after a row changed")));

	set = get_pending();
	learn_layout(set, trigger->tg_relation);
	read_event(set, trigger->tg_trigslot, &row);

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		note_inserted(set, &row);
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		note_deleted(set, &row);
	else
	{
		EventRow	new_row;

		read_event(set, trigger->tg_newslot, &new_row);
		if (!same_in_summary(&row, &new_row))
		{
			note_deleted(set, &row);
			note_inserted(set, &new_row);
		}
	}
	if (tex_summaries_count(set->summaries) >= PENDING_TRACES)
		append_pending(set);
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------
 *		Appending deltas
 * ----------------------------------------------------------------
 */
typedef struct DeltaWriter
{
	Relation	rel;
	int			used;
	TupleTableSlot *slots[WRITER_SLOTS];
} DeltaWriter;

static void
writer_flush(DeltaWriter *w)
{
	if (w->used > 0)
		table_multi_insert(w->rel, w->slots, w->used, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < w->used; i++)
		ExecClearTuple(w->slots[i]);
	w->used = 0;
}

static TupleTableSlot *
writer_next(DeltaWriter *w)
{
	TupleTableSlot *slot;

	if (w->used == WRITER_SLOTS)
		writer_flush(w);
	if (w->slots[w->used] == NULL)
		w->slots[w->used] = table_slot_create(w->rel, NULL);
	slot = w->slots[w->used];
	memset(slot->tts_isnull, false, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	return slot;
}

static void
writer_add(DeltaWriter *w)
{
	ExecStoreVirtualTuple(w->slots[w->used++]);
}

static void
writer_close(DeltaWriter *w)
{
	writer_flush(w);
	for (int i = 0; i < WRITER_SLOTS && w->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(w->slots[i]);
	table_close(w->rel, NoLock);
}

static void
set_or_null(TupleTableSlot *slot, int column, bool isnull, Datum value)
{
	slot->tts_values[column] = isnull ? (Datum) 0 : value;
	slot->tts_isnull[column] = isnull;
}

/* In the order of the columns of summary_deltas. */
static void
fill_summary_delta(TupleTableSlot *slot, TexSummary *s)
{
	bool		unknown = s->recompute;

	slot->tts_values[0] = UUIDPGetDatum(&s->trace_id);
	slot->tts_values[1] = Int64GetDatum(unknown ? 0 : s->event_count);
	slot->tts_values[2] = Int64GetDatum(unknown ? 0 : s->error_count);
	slot->tts_values[3] = Int64GetDatum(unknown ? 0 : s->access_count);
	set_or_null(slot, 4, !s->has_times, TimestampTzGetDatum(s->first_timestamp));
	set_or_null(slot, 5, !s->has_times, TimestampTzGetDatum(s->last_timestamp));
	set_or_null(slot, 6, unknown, unknown ? (Datum) 0 : tex_summary_services(s));
	unknown = unknown || !s->has_root;
	set_or_null(slot, 7, unknown, TimestampTzGetDatum(s->root_timestamp));
	set_or_null(slot, 8, unknown, UUIDPGetDatum(&s->root_id));
	set_or_null(slot, 9, unknown || s->root_name == NULL, PointerGetDatum(s->root_name));
	set_or_null(slot, 10, unknown || s->root_service == NULL, PointerGetDatum(s->root_service));
	slot->tts_values[11] = BoolGetDatum(s->recompute);
}

static void
append_summaries(PendingSet *set)
{
	DeltaWriter *w = palloc0(sizeof(DeltaWriter));
	TexSummary **all = tex_summaries_all(set->summaries);
	int			n = tex_summaries_count(set->summaries);

	w->rel = table_open(tex_relation_oid("summary_deltas"), RowExclusiveLock);
	for (int i = 0; i < n; i++)
	{
		fill_summary_delta(writer_next(w), all[i]);
		writer_add(w);
	}
	writer_close(w);
}

static int
append_counts(PendingSet *set)
{
	DeltaWriter *w = palloc0(sizeof(DeltaWriter));
	count_iterator iterator;
	CountEntry *entry;
	int			written = 0;

	w->rel = table_open(tex_relation_oid("count_deltas"), RowExclusiveLock);
	count_start_iterate(set->counts, &iterator);
	while ((entry = count_iterate(set->counts, &iterator)) != NULL)
	{
		TupleTableSlot *slot;

		if (entry->event_count == 0 && entry->error_count == 0)
			continue;
		slot = writer_next(w);
		slot->tts_values[0] = TimestampTzGetDatum(entry->key.hour);
		set_or_null(slot, 1, entry->key.service == NULL, PointerGetDatum(entry->key.service));
		slot->tts_values[2] = ObjectIdGetDatum(entry->key.kind);
		slot->tts_values[3] = Int64GetDatum(entry->event_count);
		slot->tts_values[4] = Int64GetDatum(entry->error_count);
		writer_add(w);
		written++;
	}
	writer_close(w);
	return written;
}

/*
 * Writes a pending set and ends it.  Both kinds of deltas ask for a fold: of a
 * batch of few traces, counts have ten times as many as summaries.
 */
static void
append_pending(PendingSet *set)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext delta writer",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	appended_deltas += tex_summaries_count(set->summaries);
	append_summaries(set);
	appended_deltas += append_counts(set);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	discard_pending(set);
}

/*
 * append_deltas() returns trigger
 */
Datum
tex_append_deltas(PG_FUNCTION_ARGS)
{
	PendingSet *set;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_FOR_STATEMENT(((TriggerData *) fcinfo->context)->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"append_deltas\" must be fired for a statement")));

	tex_note_restorer();
	set = find_pending(GetCurrentSubTransactionId());
	if (set != NULL)
		append_pending(set);
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------
 *		Ends of transactions
 * ----------------------------------------------------------------
 */
/*
 * Somebody has to fold: each transaction has it done with a probability that makes
 * it happen once in fold_threshold deltas.  By a background worker, or where none
 * is to be had here and now; but not where the transaction keeps one snapshot:
 * base rows folded after that snapshot would fail it.
 *
 * At commit, as no part of a statement is half done then: a fold that recomputes a
 * trace must not see rows whose deltas are still to be appended.
 */
static void
fold_now_and_then(void)
{
	if (tex_fold_threshold == 0 ||
		pg_prng_double(&pg_global_prng_state) >= (double) appended_deltas / tex_fold_threshold)
		return;
	/* The worker of the database is told after the commit. */
	if (tex_worker_folds())
		return;
	/* It may have been dropped in this transaction. */
	if (!OidIsValid(get_extension_oid("trace_ext", true)))
		return;
	if (!tex_folder_start() && !IsolationUsesXactSnapshot())
		tex_run_as_owner("SELECT trace_ext_internal.fold_if_free()");
}

static void
before_commit(bool may_fold)
{
	if (pending_sets == NULL && appended_deltas == 0)
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	while (pending_sets != NULL)
		append_pending(pending_sets);
	if (may_fold)
		fold_now_and_then();
	PopActiveSnapshot();
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			before_commit(true);
			break;
		case XACT_EVENT_PRE_PREPARE:
			before_commit(false);	/* would hold the fold lock for long */
			break;
		case XACT_EVENT_COMMIT:
			if (appended_deltas > 0)
				tex_worker_wake(MyDatabaseId);
			/* FALLTHROUGH */
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			pending_sets = NULL;	/* freed with TopTransactionContext */
			appended_deltas = 0;
			break;
		default:
			break;
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid,
					  SubTransactionId parent, void *arg)
{
	PendingSet *set = find_pending(subid);

	if (set == NULL)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		discard_pending(set);
	else if (event == SUBXACT_EVENT_PRE_COMMIT_SUB)
		append_pending(set);
}

void
tex_deltas_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}
