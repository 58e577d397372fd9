/*
 * deltas.c
 *		Deltas of summaries and counts: what triggers collect, and when it is
 *		appended.
 *
 * note_event(), a row trigger on events, merges the rows that a statement
 * changed into a pending set in backend memory; append_deltas(), a statement
 * trigger, has that set appended to summary_deltas and count_deltas (append.c).
 * (A row trigger costs a third of a transition table here, see docs/design.md.)
 *
 * Rules
 * - A pending set belongs to one subtransaction and is written in that one,
 *	 so that a rollback takes both the events and their deltas.
 * - Whatever changed in a row, a number is appended to version_deltas with the rest:
 *	 data_version() is another one in snapshots that see it.
 * - What no statement trigger wrote (logical replication fires none) is
 *	 written before commit.
 * - An insert adds.  For a delete, and for an update that moves anything the
 *	 summary shows, the counts of events are subtracted, while the trace is
 *	 marked "recompute": its first, last, services and root cannot be told from
 *	 what went away.  The times of rows that the statement added stand in the
 *	 delta all the same: trace_range.c must know where rows can be.
 * - A large statement writes as soon as MAX_PENDING traces or counts are pending, or
 *	 take MAX_PENDING_MEMORY (each count has a histogram), so memory stays bounded.
 */
#include "postgres.h"

#include "catalog/partition.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store/append.h"
#include "store/data_version.h"
#include "store/deltas.h"
#include "common/distributed.h"
#include "common/event.h"
#include "store/fold_once.h"
#include "store/operation.h"
#include "guc.h"
#include "store/restore.h"
#include "store/summary.h"
#include "store/trace_range.h"
#include "common/worker_slots.h"
#include "common/xact.h"

/* Traces, and counts, that are pending at most, and what they take, so that memory stays bounded. */
#define MAX_PENDING 20000
#define MAX_PENDING_MEMORY ((Size) 8 * 1024 * 1024)

PG_FUNCTION_INFO_V1(tex_note_event);
PG_FUNCTION_INFO_V1(tex_append_deltas);

/* The columns of events that summaries and counts depend on. */
typedef enum EventColumn
{
	COL_TRACE_ID, COL_ID, COL_PARENT_ID, COL_TIMESTAMP, COL_KIND, COL_NAME,
	COL_SERVICE_NAME, COL_ATTRIBUTES, COL_DURATION_NS, COL_STAMPED_AT_END,
	COL_SPAN_ID, COL_UPSTREAM_SPAN_ID, COL_COUNT
} EventColumn;

static const char *const column_names[COL_COUNT] = {
	"trace_id", "id", "parent_id", "timestamp", "kind", "name",
	"service_name", "attributes", "duration_ns", "stamped_at_end",
	"span_id", "upstream_span_id"
};

/* A version of a row of events, while its trigger runs. */
typedef struct EventRow
{
	pg_uuid_t	trace_id;
	Oid			kind_oid;
	TexKind		kind;
	text	   *name;			/* may be NULL */
	bool		is_write;		/* an access that writes */
	int64		duration_ns;	/* less than 0: it has none */
	TexSummaryEvent event;
} EventRow;

/* A NULL adds nothing. */
static uint32
hash_with_text(uint32 h, text *t)
{
	return t == NULL ? h :
		hash_combine(h, hash_bytes((unsigned char *) VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)));
}

/* Hours differ in few low bits only, so they are mixed first. */
static uint32
hash_count_key(const TexCountKey *key)
{
	uint32		h = hash_combine(murmurhash32((uint32) (key->hour / USECS_PER_HOUR)), key->kind);

	return hash_with_text(hash_with_text(h, key->service), key->operation);
}

#define SH_PREFIX count
#define SH_ELEMENT_TYPE TexCount
#define SH_KEY_TYPE TexCountKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_count_key(&key)
#define SH_EQUAL(tb, a, b) (a.hour == b.hour && a.kind == b.kind && tex_same_text(a.service, b.service) && \
	tex_same_text(a.operation, b.operation))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/*
 * The operation of a name that was there before: programs repeat few queries, and each is read to its end to make
 * a template.  Longer names are not remembered.
 */
#define KNOWN_NAMES 16
#define KNOWN_NAME_BYTES 256

typedef struct KnownName
{
	int			len;			/* 0: none is here */
	char		name[KNOWN_NAME_BYTES];
	text	   *operation;		/* as the key of its count has it */
} KnownName;

/* What is collected and not yet appended; in backend memory. */
typedef struct PendingSet
{
	struct PendingSet *next;
	SubTransactionId subid;		/* that the rows were changed in */
	MemoryContext context;		/* of all of it; below TopTransactionContext */
	TexSummarySet *summaries;
	count_hash *counts;
	bool		changed;		/* did any row, even if nothing is counted of that? */
	Oid			layout_of;		/* the relation that columns[] is for */
	AttrNumber	columns[COL_COUNT];
	KnownName	known[KNOWN_NAMES];
} PendingSet;

/* Of this transaction; the memory goes with it. */
static PendingSet *pending_sets = NULL;

/* Appended by this transaction. */
static int	appended_deltas = 0;

/* ----------------------------------------------------------------
 *		Collecting rows
 * ----------------------------------------------------------------
 */
/* The set of a subtransaction, or NULL. */
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

/* The set of the current subtransaction; made where it is the first row. */
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

/* Forgets a set and what it holds. */
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
 * Finds the columns of the table whose trigger fired: partitions may order theirs
 * in ways of their own.
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

/* How long the event of a row lasted, and from when to when; negative durations are none. */
static void
read_duration(PendingSet *set, TupleTableSlot *slot, EventRow *row)
{
	bool		no_duration;
	bool		not_said;
	Datum		duration_ns = slot_getattr(slot, set->columns[COL_DURATION_NS], &no_duration);
	Datum		at_end = slot_getattr(slot, set->columns[COL_STAMPED_AT_END], &not_said);

	row->duration_ns = no_duration ? -1 : DatumGetInt64(duration_ns);
	row->event.extent = tex_extent_of_columns(row->event.timestamp, duration_ns, no_duration, at_end, not_said);
}

/* What the attributes of a row decide; of other kinds they are not looked at. */
static void
read_attributes(PendingSet *set, TupleTableSlot *slot, EventRow *row)
{
	Jsonb	   *attributes = NULL;

	row->event.is_access = row->kind == TEX_STATE_CHANGE;
	if (row->event.is_access || row->kind == TEX_HTTP_RESPONSE)
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, set->columns[COL_ATTRIBUTES], &isnull);

		attributes = isnull ? NULL : DatumGetJsonbP(value);
	}
	row->event.is_error = tex_event_is_error(row->kind, attributes);
	row->is_write = row->event.is_access && tex_access_writes(attributes);
}

/*
 * What summaries and counts need of a row.  Texts still point into the row's slot,
 * detoasted where need be.
 */
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
	read_duration(set, slot, row);
	read_attributes(set, slot, row);
	value = slot_getattr(slot, set->columns[COL_PARENT_ID], &isnull);
	row->event.is_root = tex_is_root(&row->event.id, isnull ? NULL : DatumGetUUIDP(value));
	value = slot_getattr(slot, set->columns[COL_SERVICE_NAME], &isnull);
	row->event.service = isnull ? NULL : DatumGetTextPP(value);

	value = slot_getattr(slot, set->columns[COL_NAME], &isnull);
	row->name = isnull ? NULL : DatumGetTextPP(value);
	row->event.name = row->event.is_root ? row->name : NULL;
}

/* A copy that lives as long as the set. */
static text *
keep_text(PendingSet *set, text *t)
{
	Size		len = VARSIZE_ANY(t);
	text	   *copy = MemoryContextAlloc(set->context, len);

	memcpy(copy, t, len);
	return copy;
}

/* The count of an hour, kind, service and operation; an empty one is made where there is none. */
static TexCount *
get_count(PendingSet *set, TexCountKey key)
{
	bool		found;
	TexCount   *entry = count_insert(set->counts, key, &found);

	if (found)
		return entry;
	entry->event_count = entry->error_count = entry->write_count = 0;
	entry->latency = NULL;
	if (key.service != NULL)
		entry->key.service = keep_text(set, key.service);
	if (key.operation != NULL)
		entry->key.operation = keep_text(set, key.operation);
	return entry;
}

/* Where it is remembered what the operation of a query's name is, or would be; NULL: nowhere. */
static KnownName *
place_of_name(PendingSet *set, const EventRow *row)
{
	int			len = row->name && row->kind == TEX_DATABASE_QUERY ? VARSIZE_ANY_EXHDR(row->name) : 0;

	return len == 0 || len > KNOWN_NAME_BYTES ? NULL :
		&set->known[hash_bytes((unsigned char *) VARDATA_ANY(row->name), len) % KNOWN_NAMES];
}

/* The operation of a row that has a name. */
static text *
operation_of(const EventRow *row, const KnownName *known)
{
	if (known && known->len == (int) VARSIZE_ANY_EXHDR(row->name) &&
		memcmp(known->name, VARDATA_ANY(row->name), known->len) == 0)
		return known->operation;
	return tex_operation(row->kind, row->name);
}

/* Adds one event to the count of its hour, kind, service and operation, or takes one from it. */
static void
add_count(PendingSet *set, const EventRow *row, int sign)
{
	TexCountKey key = {.kind = row->kind_oid,.service = row->event.service};
	TexCount   *entry;
	KnownName  *known = place_of_name(set, row);

	key.hour = tex_hour_of(row->event.timestamp);
	key.operation = row->name == NULL ? NULL : operation_of(row, known);

	entry = get_count(set, key);
	if (known && key.operation != known->operation)
	{
		known->len = VARSIZE_ANY_EXHDR(row->name);
		memcpy(known->name, VARDATA_ANY(row->name), known->len);
		known->operation = entry->key.operation;
	}
	entry->event_count += sign;
	entry->error_count += row->event.is_error ? sign : 0;
	entry->write_count += row->is_write ? sign : 0;
	if (row->duration_ns >= 0)
	{
		if (entry->latency == NULL)
			entry->latency = tex_histogram_create(set->context);
		tex_histogram_add(entry->latency, row->duration_ns, sign);
	}
}

/* A row that came: it adds to everything. */
static void
note_inserted(PendingSet *set, const EventRow *row)
{
	TexSummary *s = tex_summaries_get(set->summaries, &row->trace_id);

	add_count(set, row, 1);
	if (s->recompute)
	{
		/* The trace has to be read again: this tells where to look for it. */
		tex_summary_add_times(s, row->event.timestamp, row->event.timestamp, row->event.extent);
		return;
	}
	tex_summary_add_event(set->summaries, s, &row->event);
}

/*
 * A row that went: it is taken off the counts; what else it had part in cannot be
 * told.
 */
static void
note_deleted(PendingSet *set, const EventRow *row)
{
	add_count(set, row, -1);
	tex_summaries_get(set->summaries, &row->trace_id)->recompute = true;
}

/* Would the two versions of a row make the same summary?  Most updates do. */
static bool
same_in_summary(const EventRow *a, const EventRow *b)
{
	return memcmp(&a->trace_id, &b->trace_id, UUID_LEN) == 0 &&
		memcmp(&a->event.id, &b->event.id, UUID_LEN) == 0 &&
		a->event.is_root == b->event.is_root &&
		a->event.timestamp == b->event.timestamp &&
		a->event.extent.started == b->event.extent.started &&
		a->event.extent.ended == b->event.extent.ended &&
		a->kind == b->kind &&
		a->event.is_error == b->event.is_error &&
		tex_same_text(a->event.service, b->event.service) &&
		tex_same_text(a->event.name, b->event.name);
}

/* Would two versions of a row, the same in the summary, be counted the same? */
static bool
same_in_counts(const EventRow *a, const EventRow *b)
{
	return a->is_write == b->is_write && a->duration_ns == b->duration_ns && tex_same_text(a->name, b->name);
}

/*
 * Would the two versions of a row, which are the same in summaries, make the same calls
 * between services?
 */
static bool
same_in_calls(PendingSet *set, TupleTableSlot *a, TupleTableSlot *b)
{
	static const EventColumn columns[] = {COL_PARENT_ID, COL_SPAN_ID, COL_UPSTREAM_SPAN_ID};

	for (size_t c = 0; c < lengthof(columns); c++)
	{
		AttrNumber	column = set->columns[columns[c]];
		/* A uuid; or texts. */
		int			size = columns[c] == COL_PARENT_ID ? UUID_LEN : -1;
		bool		a_null;
		bool		b_null;
		Datum		x = slot_getattr(a, column, &a_null);
		Datum		y = slot_getattr(b, column, &b_null);

		if (a_null != b_null || (!a_null && !datum_image_eq(x, y, false, size)))
			return false;
	}
	return true;
}

static void append_pending(PendingSet *set);

/*
 * note_event() returns trigger
 *
 * The row trigger of every partition.  Writes nothing but to backend memory,
 * unless MAX_PENDING traces or counts are together, or take too much memory.
 */
Datum
tex_note_event(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	PendingSet *set;
	EventRow	row;
	bool		changed = true;

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
		if (!same_in_summary(&row, &new_row) ||
			!same_in_calls(set, trigger->tg_trigslot, trigger->tg_newslot))
		{
			note_deleted(set, &row);
			note_inserted(set, &new_row);
		}
		else if (!same_in_counts(&row, &new_row))
		{
			add_count(set, &row, -1);
			add_count(set, &new_row, 1);
		}
		else if (!set->changed)
			changed = !tex_same_row(trigger->tg_trigslot, trigger->tg_newslot, NULL);
	}
	set->changed |= changed;
	if (tex_summaries_count(set->summaries) >= MAX_PENDING || set->counts->members >= MAX_PENDING ||
		MemoryContextMemAllocated(set->context, false) >= MAX_PENDING_MEMORY)
		append_pending(set);
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------
 *		When a set is appended
 * ----------------------------------------------------------------
 */
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
	TexCount  **counts = palloc_extended(sizeof(TexCount *) * Max(set->counts->members, 1), MCXT_ALLOC_HUGE);
	TexCount   *count;
	count_iterator iterator;
	int			n = 0;

	count_start_iterate(set->counts, &iterator);
	while ((count = count_iterate(set->counts, &iterator)) != NULL)
		counts[n++] = count;
	appended_deltas += tex_append_summaries(tex_summaries_all(set->summaries),
											tex_summaries_count(set->summaries));
	appended_deltas += tex_append_counts(counts, n);
	if (set->changed)
		tex_append_version_stamp();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	discard_pending(set);
}

/*
 * append_deltas() returns trigger
 *
 * The statement trigger of events and of its partitions (COPY and INSERT into one
 * fire that one's).  What a subtransaction collected is written in it: no
 * statement ends in another one than it began in.
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

	tex_refuse_distributed();
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
 * it happen once in fold_threshold deltas.  By a background worker, never by this
 * transaction: a fold that fails would fail the user's commit.  Where no worker slot
 * is free the deltas stay for a later writer, and readers are exact meanwhile.
 *
 * At commit, when it is known how much the transaction appended.
 */
static void
have_it_folded_now_and_then(void)
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
	tex_folder_start();
}

/*
 * Appends what no statement's end has: rows that were changed without its trigger, as
 * the apply worker of a subscription does.
 */
static void
before_commit(bool may_fold)
{
	if (pending_sets != NULL)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		tex_refuse_distributed();
		while (pending_sets != NULL)
			append_pending(pending_sets);
		PopActiveSnapshot();
	}
	if (may_fold && appended_deltas > 0)
		have_it_folded_now_and_then();
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
			before_commit(false);	/* a folder would wait for its end, however far off */
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
	tex_xact_register(TEX_XACT_DELTAS, at_transaction_end, at_subtransaction_end);
}
