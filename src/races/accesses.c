/*
 * accesses.c
 *		The accesses so far of each variable, by trace and strand.
 *
 * A new access with vector clock C races with exactly those of strand s whose
 * count in their strand is above C[s]: a suffix of an ascending list.  Whether a
 * pair conflicts depends on classes and locks, so there is, beside the list of all,
 * one for each kind of access, where a suffix is counted by its length.  Members are
 * walked where the suffix is short, or where they are asked for.
 *
 * A variable's traces are kept by the time they end, so that those which overlap a
 * given trace are the last ones.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "races/accesses.h"

typedef struct VarStrandKey
{
	int32		variable;
	int32		strand;
} VarStrandKey;

typedef struct KindKey
{
	int32		variable;
	int32		class;
	int32		lock_set;
} KindKey;

typedef struct KindEntry
{
	KindKey		key;
	int32		kind;
} KindEntry;

struct TexAccesses
{
	MemoryContext context;
	const TexHistory *history;
	HTAB	   *variables;
	HTAB	   *strands;
	HTAB	   *kinds;
};

/* Empty, in the current memory context, where all of it stays; the history is prepared. */
TexAccesses *
tex_accesses_create(const TexHistory *history)
{
	TexAccesses *accesses = palloc(sizeof(TexAccesses));
	HASHCTL		ctl = {.keysize = sizeof(int32),.entrysize = sizeof(TexVariable),
	.hcxt = CurrentMemoryContext};

	accesses->context = CurrentMemoryContext;
	accesses->history = history;
	accesses->variables = hash_create("variables", 64, &ctl,
									  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(VarStrandKey);
	ctl.entrysize = sizeof(TexVarStrand);
	accesses->strands = hash_create("strands of variables", 256, &ctl,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(KindKey);
	ctl.entrysize = sizeof(KindEntry);
	accesses->kinds = hash_create("kinds of accesses", 64, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return accesses;
}

/* The accesses of a variable, by its identity; empty if it had none. */
TexVariable *
tex_accesses_variable(TexAccesses *accesses, int32 identity)
{
	bool		found;
	TexVariable *variable = hash_search(accesses->variables, &identity, HASH_ENTER, &found);

	if (!found)
		*variable = (TexVariable) {.identity = identity,.last_write = -1};
	return variable;
}

/* A strand's accesses of a variable, or NULL. */
TexVarStrand *
tex_accesses_find(TexAccesses *accesses, const TexVariable *variable, int32 strand)
{
	VarStrandKey key = {variable->identity, strand};

	return hash_search(accesses->strands, &key, HASH_FIND, NULL);
}

/* Room for one more element in an array of the accesses' context. */
static void *
make_room(TexAccesses *accesses, void *array, int32 n, int32 *room, Size element)
{
	if (n < *room)
		return array;
	*room = Max(4, *room * 2);
	return array == NULL ? MemoryContextAllocHuge(accesses->context, element * (Size) *room) :
		repalloc_huge(array, element * (Size) *room);
}

/* A trace's accesses of a variable, added at their place if they are the first. */
static TexVarTrace *
find_trace(TexAccesses *accesses, TexVariable *variable, int32 trace)
{
	const TexTrace *traces = accesses->history->traces;
	TexVarTrace *entry;
	int32		at = variable->ntraces;

	/* By the time they end. Traces come by their start, so the place is near the end. */
	while (at > 0 && traces[variable->traces[at - 1]->trace].extent.ended > traces[trace].extent.ended)
		at--;
	for (int32 i = at; i > 0; i--)
	{
		if (variable->traces[i - 1]->trace == trace)
			return variable->traces[i - 1];
		if (traces[variable->traces[i - 1]->trace].extent.ended != traces[trace].extent.ended)
			break;
	}
	variable->traces = make_room(accesses, variable->traces, variable->ntraces, &variable->room,
								 sizeof(TexVarTrace *));
	entry = MemoryContextAllocZero(accesses->context, sizeof(TexVarTrace));
	entry->trace = trace;
	entry->last_access = entry->covered_by = -1;
	memmove(&variable->traces[at + 1], &variable->traces[at],
			sizeof(TexVarTrace *) * (variable->ntraces - at));
	variable->traces[at] = entry;
	variable->ntraces++;
	return entry;
}

/* A strand's accesses of a variable, empty if it had none; it is a strand of that event's trace. */
TexVarStrand *
tex_accesses_enter(TexAccesses *accesses, TexVariable *variable, const TexEvent *event)
{
	VarStrandKey key = {variable->identity, event->strand};
	bool		found;
	TexVarStrand *strand = hash_search(accesses->strands, &key, HASH_ENTER, &found);
	TexVarTrace *trace;

	if (found)
		return strand;
	trace = find_trace(accesses, variable, event->trace);
	memset(&strand->slot, 0, sizeof(TexVarStrand) - offsetof(TexVarStrand, slot));
	strand->last_access = -1;
	strand->trace = trace;
	strand->slot = trace->nstrands;
	trace->strands = make_room(accesses, trace->strands, trace->nstrands, &trace->strands_room,
							   sizeof(TexStrandSlot));
	trace->strands[trace->nstrands++] = (TexStrandSlot) {event->strand, 0, strand};
	return strand;
}

/* The number of a kind of access of a variable, given out from 0 on. */
int32
tex_accesses_kind(TexAccesses *accesses, TexVariable *variable, TexClass class, int32 lock_set)
{
	KindKey		key = {variable->identity, class, lock_set};
	bool		found;
	KindEntry  *entry = hash_search(accesses->kinds, &key, HASH_ENTER, &found);

	if (found)
		return entry->kind;
	variable->kinds = make_room(accesses, variable->kinds, variable->nkinds, &variable->kinds_room,
								sizeof(TexAccessKind));
	variable->kinds[variable->nkinds] = (TexAccessKind) {class, lock_set, -1, false};
	return entry->kind = variable->nkinds++;
}

/* A strand's accesses of one kind. Kinds of one strand are few: a lock set and a class. */
static TexAccessList *
list_for(TexAccesses *accesses, TexVarStrand *strand, int32 kind)
{
	TexAccessList *list;

	for (list = strand->lists; list; list = list->next)
		if (list->kind == kind)
			return list;
	list = MemoryContextAllocZero(accesses->context, sizeof(TexAccessList));
	list->kind = kind;
	list->next = strand->lists;
	strand->lists = list;
	return list;
}

/* Appends to an ascending list: a strand's accesses come in its own order. */
static void
append(TexAccesses *accesses, TexEntries *to, TexEntry entry)
{
	to->entries = make_room(accesses, to->entries, to->n, &to->room, sizeof(TexEntry));
	to->entries[to->n++] = entry;
}

/*
 * Adds an access, after it was compared with those before it. The trace is then covered by this
 * strand if it was, or if nobody else accessed the variable; else nobody is known to cover it.
 */
void
tex_accesses_append(TexAccesses *accesses, TexVarStrand *strand, TexEntry entry)
{
	TexVarTrace *trace = strand->trace;

	append(accesses, &strand->all, entry);
	append(accesses, &list_for(accesses, strand, entry.kind)->entries, entry);
	trace->strands[strand->slot].last_sequence = entry.sequence;
	strand->last_access = trace->last_access = entry.access;
	if (trace->covered_by != strand->strand)
		trace->covered_by = trace->n == 0 ? strand->strand : -1;
	if (entry.kind >= trace->totals_room)
	{
		int32		room = Max(4, (entry.kind + 1) * 2);
		int64	   *totals = MemoryContextAllocZero(accesses->context, sizeof(int64) * room);

		if (trace->totals)
			memcpy(totals, trace->totals, sizeof(int64) * trace->totals_room);
		trace->totals = totals;
		trace->totals_room = room;
	}
	trace->totals[entry.kind]++;
	trace->n++;
}

/* The class of an access; one that reads and writes counts as what it can harm, a write. */
TexClass
tex_class_of(TexAccessType access)
{
	switch (access)
	{
		case TEX_READ:
			return TEX_CLASS_READ;
		case TEX_ATOMIC_READ:
			return TEX_CLASS_ATOMIC_READ;
		case TEX_ATOMIC_WRITE:
		case TEX_ATOMIC_RMW:
			return TEX_CLASS_ATOMIC_WRITE;
		default:
			return TEX_CLASS_WRITE;
	}
}

/* Whether two accesses can race: at least one writes, and not both are atomic. */
bool
tex_classes_conflict(TexClass a, TexClass b)
{
	bool		writes = (a & 1) || (b & 1);
	bool		atomic = a >= TEX_CLASS_ATOMIC_READ && b >= TEX_CLASS_ATOMIC_READ;

	return writes && !atomic;
}

/*
 * The first entry above a count in its strand; entries run to n.  Programs that
 * synchronise have short suffixes, so the search gallops from the end.
 */
int32
tex_entries_after(const TexEntries *entries, uint32 sequence)
{
	int32		high = entries->n;
	int32		low = high;
	int32		step = 1;

	if (high == 0 || entries->entries[0].sequence > sequence)
		return 0;
	while (low > 0 && entries->entries[low - 1].sequence > sequence)
	{
		high = low - 1;
		low = Max(low - step, 0);
		step *= 2;
	}
	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (entries->entries[middle].sequence <= sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
