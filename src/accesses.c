/*
 * accesses.c
 *		The accesses so far of each variable, by trace and strand.
 *
 * A new access with vector clock C races with exactly those of strand s whose
 * count in their strand is above C[s]: a suffix of an ascending list.  There is a
 * list for each class and set of locks, because these decide whether a pair
 * conflicts; so a suffix is counted by its length, and walked only where its
 * members are asked for.
 *
 * A variable's traces are kept by the time they end, so that those which overlap a
 * given trace are the last ones.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "accesses.h"

typedef struct VarStrandKey
{
	int32		variable;
	int32		strand;
} VarStrandKey;

struct TexAccesses
{
	MemoryContext context;
	const TexHistory *history;
	HTAB	   *variables;
	HTAB	   *strands;
};

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
	return accesses;
}

TexVariable *
tex_accesses_variable(TexAccesses *accesses, int32 identity)
{
	bool		found;
	TexVariable *variable = hash_search(accesses->variables, &identity, HASH_ENTER, &found);

	if (!found)
		*variable = (TexVariable) {.identity = identity,.last_write = -1};
	return variable;
}

TexVarStrand *
tex_accesses_find(TexAccesses *accesses, const TexVariable *variable, int32 strand)
{
	VarStrandKey key = {variable->identity, strand};

	return hash_search(accesses->strands, &key, HASH_FIND, NULL);
}

/* Where a trace belongs among a variable's traces, by the time it ends. */
static int32
place_of(const TexAccesses *accesses, const TexVariable *variable, int32 trace)
{
	const TexTrace *traces = accesses->history->traces;
	int32		at = variable->ntraces;

	/* Traces come by their start, so the place is near the end. */
	while (at > 0 && traces[variable->traces[at - 1]->trace].last_at > traces[trace].last_at)
		at--;
	return at;
}

static TexVarTrace *
find_trace(TexAccesses *accesses, TexVariable *variable, int32 trace)
{
	const TexTrace *traces = accesses->history->traces;
	TexVarTrace *entry;
	int32		at = place_of(accesses, variable, trace);

	for (int32 i = at; i > 0; i--)
	{
		if (variable->traces[i - 1]->trace == trace)
			return variable->traces[i - 1];
		if (traces[variable->traces[i - 1]->trace].last_at != traces[trace].last_at)
			break;
	}
	if (variable->ntraces == variable->room)
	{
		Size		size;

		variable->room = Max(4, variable->room * 2);
		size = sizeof(TexVarTrace *) * (Size) variable->room;
		variable->traces = variable->traces == NULL ?
			MemoryContextAllocHuge(accesses->context, size) :
			repalloc_huge(variable->traces, size);
	}
	entry = MemoryContextAllocZero(accesses->context, sizeof(TexVarTrace));
	entry->trace = trace;
	entry->last_access = entry->covered_by = -1;
	memmove(&variable->traces[at + 1], &variable->traces[at],
			sizeof(TexVarTrace *) * (variable->ntraces - at));
	variable->traces[at] = entry;
	variable->ntraces++;
	return entry;
}

/*
 * A strand's accesses of a variable, empty if it had none.
 */
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
	strand->last_sequence = 0;
	strand->last_access = -1;
	strand->lists = NULL;
	strand->trace = trace;
	strand->older = trace->newest;
	trace->newest = strand;
	trace->nstrands++;
	return strand;
}

static TexAccessList *
list_for(TexAccesses *accesses, TexVarStrand *strand, TexClass class, int32 lock_set)
{
	TexAccessList *list;

	for (list = strand->lists; list; list = list->next)
		if (list->class == class && list->lock_set == lock_set)
			return list;
	list = MemoryContextAllocZero(accesses->context, sizeof(TexAccessList));
	list->class = class;
	list->lock_set = lock_set;
	list->room = 4;
	list->entries = MemoryContextAlloc(accesses->context, sizeof(TexEntry) * list->room);
	list->next = strand->lists;
	strand->lists = list;
	return list;
}

static void
count_access(TexAccesses *accesses, TexVarTrace *trace, TexClass class, int32 lock_set)
{
	TexTotal   *total;

	trace->n++;
	for (total = trace->totals; total; total = total->next)
		if (total->class == class && total->lock_set == lock_set)
			break;
	if (total == NULL)
	{
		total = MemoryContextAllocZero(accesses->context, sizeof(TexTotal));
		total->class = class;
		total->lock_set = lock_set;
		total->next = trace->totals;
		trace->totals = total;
	}
	total->n++;
}

void
tex_accesses_append(TexAccesses *accesses, TexVarStrand *strand, TexClass class,
					int32 lock_set, TexEntry entry)
{
	TexVarTrace *trace = strand->trace;
	TexAccessList *list = list_for(accesses, strand, class, lock_set);

	if (list->n == list->room)
	{
		list->room *= 2;
		list->entries = repalloc_huge(list->entries, sizeof(TexEntry) * (Size) list->room);
	}
	list->entries[list->n++] = entry;
	strand->last_sequence = entry.sequence;
	strand->last_access = trace->last_access = entry.access;
	if (trace->covered_by != strand->strand)
		trace->covered_by = trace->n == 0 ? strand->strand : -1;
	count_access(accesses, trace, class, lock_set);
}

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

/* At least one writes, and not both are atomic. */
bool
tex_classes_conflict(TexClass a, TexClass b)
{
	bool		writes = (a & 1) || (b & 1);
	bool		atomic = a >= TEX_CLASS_ATOMIC_READ && b >= TEX_CLASS_ATOMIC_READ;

	return writes && !atomic;
}

/*
 * The first entry of a list above a count in its strand; entries run to list->n.
 */
int32
tex_entries_after(const TexAccessList *list, uint32 sequence)
{
	int32		low = 0;
	int32		high = list->n;

	if (list->entries[list->n - 1].sequence <= sequence)
		return list->n;
	if (list->entries[0].sequence > sequence)
		return 0;
	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (list->entries[middle].sequence <= sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
