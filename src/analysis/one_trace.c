/*
 * one_trace.c
 *		One trace, loaded, with its order and the extents of its events.
 *
 * All functions of this room begin here: the trace is read once, its events are
 * put in the order that the race detector has (room races), and those that are
 * answered get their extent (answers.c).  The clocks of the detector are left out:
 * who asks what followed what needs the edges alone.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "analysis/linked.h"
#include "analysis/one_trace.h"
#include "races/arrays.h"
#include "races/overlaps.h"

/*
 * The events, sorted by the owner of each, in a given order: the list of an owner,
 * an event mostly, is what it owns.  What has no owner is in no list.
 */
TexLists
tex_lists_of(const int32 *owner, int32 owners, const int32 *order, int32 n)
{
	TexLists	lists;
	int32		sum = 0;

	lists.first = tex_new_array(sizeof(int32), owners + 1, 0);
	lists.members = tex_new_array(sizeof(int32), n, 0);
	for (int32 i = 0; i < n; i++)
		if (owner[i] != TEX_NO_EVENT)
			lists.first[owner[i]]++;
	for (int32 i = 0; i <= owners; i++)
	{
		sum += lists.first[i];
		lists.first[i] = sum;
	}
	/* From the back, so that each list ends up at its begin. */
	for (int32 i = n - 1; i >= 0; i--)
	{
		CHECK_FOR_INTERRUPTS();
		if (owner[order[i]] != TEX_NO_EVENT)
			lists.members[--lists.first[owner[order[i]]]] = order[i];
	}
	return lists;
}

/* Adds a cause to the end of a list, unless it is there or no cause: what comes later causes nothing. */
static int32
add_cause(const TexOneTrace *one, int32 begin, int32 end, int32 cause, int32 event)
{
	if (cause == TEX_NO_EVENT || tex_order_position(one->order, cause) >= tex_order_position(one->order, event))
		return end;
	for (int32 i = begin; i < end; i++)
		if (one->causes.members[i] == cause)
			return end;
	one->causes.members[end] = cause;
	return end + 1;
}

/*
 * The causes of each event: the edges backwards, and who handed it a lock.  Where
 * an event has thousands, as the await of many tasks has, twice the same one does
 * no harm: only neighbours are compared.
 */
static void
collect_causes(TexOneTrace *one)
{
	const TexEdges *edges = tex_order_edges(one->order);
	int32	   *first = tex_new_array(sizeof(int32), one->n + 1, 0);
	int32	   *from = tex_new_array(sizeof(int32), edges->nedges, 0);
	int32		end = 0;

	/* Backwards along the sequence, so that the causes of an event come latest first. */
	for (int32 i = 0; i < one->n; i++)
		first[i + 1] = first[i] + edges->indegree[i];
	for (int32 i = one->n - 1; i >= 0; i--)
	{
		CHECK_FOR_INTERRUPTS();
		tex_foreach_edge(edge, edges, one->sequence[i])
			from[first[edges->to[edge]]++] = one->sequence[i];
	}
	one->causes.first = tex_new_array(sizeof(int32), one->n + 1, 0);
	one->causes.members = tex_new_array(sizeof(int32), edges->nedges + one->n, 0);
	for (int32 e = 0; e < one->n; e++)
	{
		int32		begin = one->causes.first[e] = end;
		int32		last = first[e];

		CHECK_FOR_INTERRUPTS();
		end = add_cause(one, begin, end, tex_order_handover(one->order, e), e);
		for (int32 i = last - edges->indegree[e]; i < last; i++)
			end = add_cause(one, Max(begin, end - 4), end, from[i], e);
	}
	one->causes.first[one->n] = end;
	pfree(first);
	pfree(from);
}

/*
 * Finds the extents of the events of a prepared history that has a trace.  Where it was
 * ordered before that order has to be given, for it cannot be again.
 */
TexOneTrace *
tex_one_trace_of(TexHistory *history, const pg_uuid_t *trace_id, TexOrder *order)
{
	TexOneTrace *one = palloc0(sizeof(TexOneTrace));

	one->history = history;
	one->events = history->events;
	one->n = history->nevents;
	one->trace = tex_history_trace(history, trace_id);
	one->extent = history->traces[one->trace].extent;
	one->order = order;
	if (one->order == NULL)
	{
		one->order = tex_order_create(history);
		tex_order_run_sequence(one->order);
	}
	one->sequence = tex_new_array(sizeof(int32), one->n, 0);
	for (int32 i = 0; i < one->n; i++)
		one->sequence[tex_order_position(one->order, i)] = i;
	collect_causes(one);
	tex_find_answers(one);
	return one;
}

/*
 * Loads a trace and what is asked for beside it.  NULL, and a NOTICE, where no event
 * of it is stored.  Call within an SPI connection; reads with the caller's rights.
 */
TexOneTrace *
tex_one_trace_load(const pg_uuid_t *trace_id, TexBeside beside)
{
	TexHistory *history = tex_history_create();

	tex_history_load(history, trace_id, 1, TEX_ROLE_HOME);
	if (history->nevents == 0)
	{
		tex_notice_unknown_trace(trace_id);
		return NULL;
	}
	if (beside == TEX_BESIDE_LOCKS && history->has_locks)
		tex_load_beside(history);
	if (beside == TEX_BESIDE_LINKED)
		tex_load_linked(history);
	tex_history_prepare(history);
	return tex_one_trace_of(history, trace_id, NULL);
}
