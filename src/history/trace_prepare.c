/*
 * trace_prepare.c
 *		Makes a history that was loaded ready: sorted, parents found.
 *
 * Events are sorted by (time, trace, id).  The index of an event is from then on
 * its place in time: the same events give the same indexes, in whatever order or
 * batches they arrived.
 *
 * Known limit: an id that occurs twice in a trace (with two timestamps) is two
 * events, and children hang under the earlier one.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "history/trace_load.h"

/*
 * For qsort_arg(): a total order, so that the same events get the same indexes. Also where a sort
 * of a million events answers a cancel.
 */
static int
compare_events(const void *a, const void *b, void *arg)
{
	const TexEvent *x = a;
	const TexEvent *y = b;
	const TexTrace *traces = arg;
	int			order;

	CHECK_FOR_INTERRUPTS();
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	if (x->trace != y->trace)
	{
		order = memcmp(&traces[x->trace].id, &traces[y->trace].id, sizeof(pg_uuid_t));
		if (order != 0)
			return order;
	}
	return memcmp(&x->id, &y->id, sizeof(pg_uuid_t));
}

/* An event in the table, with its hash: one that differs there need not be fetched. */
typedef struct IdSlot
{
	int32		event;			/* or TEX_NO_EVENT */
	uint32		hash;
} IdSlot;

/* Open addressing over (trace, id): slots of events. */
typedef struct IdTable
{
	IdSlot	   *slots;
	uint32		mask;
	bool		duplicates;		/* an id occurs twice in a trace */
} IdTable;

/* Where the search for an id begins, under the mask. Ids of clients need not be random. */
static uint32
id_hash(int32 trace, const pg_uuid_t *id)
{
	uint64		h;

	/* Ids are mostly random; those that are not are mixed here. */
	memcpy(&h, id->data, sizeof(h));
	h ^= ((uint64) trace + 1) * UINT64CONST(0x9E3779B97F4A7C15);
	for (int i = 8; i < UUID_LEN; i++)
		h = (h ^ id->data[i]) * UINT64CONST(0x100000001b3);
	h ^= h >> 32;
	return (uint32) h;
}

/* Where an id of a trace is, or would be entered. */
static IdSlot *
find_id(const IdTable *table, const TexHistory *history, int32 trace, const pg_uuid_t *id, uint32 hash)
{
	uint32		s = hash & table->mask;

	for (; table->slots[s].event != TEX_NO_EVENT; s = (s + 1) & table->mask)
	{
		const TexEvent *event;

		if (table->slots[s].hash != hash)
			continue;
		event = &history->events[table->slots[s].event];
		if (event->trace == trace && memcmp(&event->id, id, sizeof(pg_uuid_t)) == 0)
			break;
	}
	return &table->slots[s];
}

/* Enters all events, of those with one id the earliest. */
static IdTable
enter_ids(const TexHistory *history)
{
	IdTable		table = {.duplicates = false};
	uint32		nslots = 1024;

	while (nslots < (uint32) history->nevents * 2)
		nslots *= 2;
	table.mask = nslots - 1;
	table.slots = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(IdSlot) * (Size) nslots);
	memset(table.slots, 0xff, sizeof(IdSlot) * (Size) nslots);
	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[i];
		uint32		hash = id_hash(event->trace, &event->id);
		IdSlot	   *slot = find_id(&table, history, event->trace, &event->id, hash);

		CHECK_FOR_INTERRUPTS();
		if (slot->event == TEX_NO_EVENT)
			*slot = (IdSlot) {i, hash};
		else
			table.duplicates = true;
	}
	return table;
}

/*
 * Find each event's parent in its own trace.  Ids name events within their
 * trace only, so a parent elsewhere is not looked for.  Mostly it is the event
 * just before.
 */
static void
link_parents(TexHistory *history)
{
	IdTable		table = enter_ids(history);

	for (int32 i = 0; i < history->nevents; i++)
	{
		TexEvent   *event = &history->events[i];
		const TexEvent *before = &history->events[Max(i - 1, 0)];

		CHECK_FOR_INTERRUPTS();
		if (memcmp(&event->id, &event->parent_id, sizeof(pg_uuid_t)) == 0)
			continue;
		if (!table.duplicates && before->trace == event->trace &&
			memcmp(&before->id, &event->parent_id, sizeof(pg_uuid_t)) == 0)
			event->parent = i - 1;
		else
			event->parent = find_id(&table, history, event->trace, &event->parent_id,
									id_hash(event->trace, &event->parent_id))->event;
		if (event->parent == TEX_NO_EVENT)
		{
			event->flags |= TEX_EVENT_PARENT_MISSING;
			history->traces[event->trace].parent_missing = true;
		}
	}
	pfree(table.slots);
}

/* When each trace ran, as far as it is loaded; may be called before and after preparing. */
void
tex_history_times(TexHistory *history)
{
	for (int32 t = 0; t < history->ntraces; t++)
	{
		history->traces[t].extent.started = DT_NOEND;
		history->traces[t].extent.ended = DT_NOBEGIN;
	}
	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[i];
		TexExtent  *extent = &history->traces[event->trace].extent;

		CHECK_FOR_INTERRUPTS();
		extent->started = Min(extent->started, event->extent.started);
		extent->ended = Max(extent->ended, event->extent.ended);
	}
}

/*
 * Whether an event can order others but its own strand's: a trace without such events gets less
 * confidence, for its client may not have recorded them.
 */
static bool
can_order(const TexEvent *event)
{
	return event->kind == TEX_LOCK_ACQUIRE || event->kind == TEX_LOCK_RELEASE ||
		event->kind == TEX_ASYNC_SPAWN || event->kind == TEX_ASYNC_AWAIT ||
		event->kind == TEX_MEMORY_FENCE ||
		(event->kind == TEX_STATE_CHANGE && event->access >= TEX_ATOMIC_READ);
}

/* What is said of a trace as a whole; events are sorted, so the first one seen is the earliest. */
static void
describe_traces(TexHistory *history)
{
	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[i];
		TexTrace   *trace = &history->traces[event->trace];

		CHECK_FOR_INTERRUPTS();
		if (trace->first_event == TEX_NO_EVENT)
		{
			trace->first_event = i;
			trace->instance = event->instance;
		}
		else if (trace->instance != event->instance)
			trace->instance = TEX_NO_NAME;
		if (event->kind == TEX_HTTP_REQUEST && trace->request == TEX_NO_EVENT)
			trace->request = i;
		trace->has_sync |= can_order(event);
	}
}

/*
 * Sorts the events and links each to its parent. Once, after all was loaded: from then on an
 * event's index is its place in time, and nothing may be added.
 */
void
tex_history_prepare(TexHistory *history)
{
	if (history->nevents == 0)
		return;
	qsort_arg(history->events, history->nevents, sizeof(TexEvent), compare_events, history->traces);
	link_parents(history);
	tex_history_times(history);
	describe_traces(history);
}
