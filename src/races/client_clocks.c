/*
 * client_clocks.c
 *		Order by the clocks that clients send, each within its trace.
 *
 * An event owns one component of its clock: that of its service and instance,
 * else its only one, else its last.  Event f is before event e when e's clock has,
 * in the component that f owns, at least the count that f has there.  So each
 * component of a clock needs one edge: from the event that owns the largest count
 * not above it.
 *
 * A component in which two events of the trace own the same count was copied and
 * counted on by concurrent tasks: it orders nothing and is not used.  Counts may
 * restart at every request, so nothing is ever compared across traces.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "races/client_clocks.h"

/* An event that owns a count of a component. */
typedef struct Tick
{
	int32		trace;
	int32		component;
	int64		count;
	int32		event;
} Tick;

typedef struct Ticks
{
	TexHistory *history;
	TexStrings   *components;
	Tick	   *ticks;
	int32		n;
} Ticks;

/* For qsort() and the search: ticks of a component together, ascending by count. */
static int
compare_ticks(const void *a, const void *b)
{
	const Tick *x = a;
	const Tick *y = b;

	CHECK_FOR_INTERRUPTS();
	if (x->trace != y->trace)
		return x->trace < y->trace ? -1 : 1;
	if (x->component != y->component)
		return x->component < y->component ? -1 : 1;
	if (x->count != y->count)
		return x->count < y->count ? -1 : 1;
	return x->event < y->event ? -1 : x->event > y->event;
}

/* Whether a component is that of the event's service and instance, "service#instance". */
static bool
is_own_name(const TexHistory *history, const TexEvent *event, const TexVclockComponent *component)
{
	const char *service = tex_history_text(history, event->service);
	const char *instance = tex_history_text(history, event->instance_name);
	int			len;

	if (service == NULL || instance == NULL)
		return false;
	len = strlen(service);
	return component->len == len + 1 + (int) strlen(instance) &&
		memcmp(component->name, service, len) == 0 && component->name[len] == '#' &&
		memcmp(component->name + len + 1, instance, component->len - len - 1) == 0;
}

/* What an event owns: see the head of the file; false if it has no clock, or an empty one. */
static bool
own_tick(Ticks *ticks, int32 e, Tick *tick)
{
	const TexEvent *event = &ticks->history->events[e];
	TexVclockIter iter;
	TexVclockComponent component;
	bool		any = false;

	if (event->clock == NULL)
		return false;
	tex_vclock_iterate(&iter, event->clock);
	while (tex_vclock_next(&iter, &component))
	{
		*tick = (Tick) {event->trace, tex_strings_add(ticks->components, component.name, component.len),
		component.count, e};
		any = true;
		if (is_own_name(ticks->history, event, &component))
			break;
	}
	return any;
}

/* Drop the components that were counted on concurrently. */
static void
drop_forked(Ticks *ticks)
{
	int32		kept = 0;

	for (int32 from = 0, to; from < ticks->n; from = to)
	{
		bool		forked = false;

		for (to = from; to < ticks->n && ticks->ticks[to].trace == ticks->ticks[from].trace &&
			 ticks->ticks[to].component == ticks->ticks[from].component; to++)
			;
		for (int32 i = from; i + 1 < to; i++)
			forked |= ticks->ticks[i].count == ticks->ticks[i + 1].count;
		if (!forked)
		{
			memmove(&ticks->ticks[kept], &ticks->ticks[from], sizeof(Tick) * (to - from));
			kept += to - from;
		}
	}
	ticks->n = kept;
}

/* The latest tick of a component that is not above a count, or NULL. */
static const Tick *
latest_tick(const Ticks *ticks, int32 trace, int32 component, int64 count)
{
	Tick		key = {trace, component, count, PG_INT32_MAX};
	int32		low = 0;
	int32		high = ticks->n;

	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (compare_ticks(&ticks->ticks[middle], &key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || ticks->ticks[low - 1].trace != trace ||
		ticks->ticks[low - 1].component != component)
		return NULL;
	return &ticks->ticks[low - 1];
}

/*
 * Adds, for each component of an event's clock, the edge from the latest that it knows of;
 * none where that is the parent, for which there is an edge.
 */
static void
add_edges_of(Ticks *ticks, int32 e, TexEdges *edges)
{
	const TexEvent *event = &ticks->history->events[e];
	TexVclockIter iter;
	TexVclockComponent component;

	tex_vclock_iterate(&iter, event->clock);
	while (tex_vclock_next(&iter, &component))
	{
		int32		name = tex_strings_add(ticks->components, component.name, component.len);
		const Tick *tick = latest_tick(ticks, event->trace, name, component.count);

		if (tick && tick->event == e)
			tick = latest_tick(ticks, event->trace, name, component.count - 1);
		if (tick && tick->event != event->parent)
			tex_edges_add(edges, tick->event, e);
	}
}

/*
 * Rule 8. The history is prepared; strands need not be assigned. Clocks may contradict each
 * other or the parents: cycles are left to who takes the events.
 */
void
tex_add_clock_edges(TexHistory *history, TexEdges *edges)
{
	Ticks		ticks = {.history = history};
	int32		room = 0;

	for (int32 i = 0; i < history->nevents; i++)
		room += history->events[i].clock != NULL;
	if (room == 0)
		return;
	ticks.components = tex_strings_create();
	ticks.ticks = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Tick) * (Size) room);
	for (int32 i = 0; i < history->nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (own_tick(&ticks, i, &ticks.ticks[ticks.n]))
			ticks.n++;
	}
	qsort(ticks.ticks, ticks.n, sizeof(Tick), compare_ticks);
	drop_forked(&ticks);
	for (int32 i = 0; i < history->nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (history->events[i].clock != NULL)
			add_edges_of(&ticks, i, edges);
	}
	pfree(ticks.ticks);
}
