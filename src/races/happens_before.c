/*
 * happens_before.c
 *		The partial order over a history, one event after the other.
 *
 * Rules, by number as in docs/races.md:
 *	1 strand order; 2 parent to child; 3 spawn to the task's first event; 4 the
 *	task's last event to await; 5 exclusive release to later acquires, shared
 *	release to later exclusive acquires; 6 messages; 7 release-writes and fences to
 *	acquire-reads; 8 client clocks.
 *
 * Rules 1, 2, 3, 4, 6 and 8 are edges between events, known beforehand.  The
 * events are taken causes first, else by time (causal_sequence.c); each strand carries a
 * vector clock (strand_clock.c) that an edge to another strand hands on.  Rules 5
 * and 7 depend on the sequence so found: a lock, or an atomic variable, carries
 * what was released into it.
 *
 * An atomic read is taken to read the last release-write before it in that
 * sequence, or a later one: a store by somebody else does not end a release
 * sequence.  Fences are as in C11: a release fence gives what an atomic write after
 * it in its strand releases, an acquire fence gets what atomic reads before it in
 * its strand would have acquired.  Relaxed accesses alone order nothing.
 *
 * The weak order leaves rule 5 out.  What only the full one orders was ordered by
 * the hand-over of a lock in this run, and might not be in the next.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "races/arrays.h"
#include "races/causal_sequence.h"
#include "races/client_clocks.h"
#include "races/happens_before.h"
#include "races/links.h"
#include "races/locks.h"
#include "races/messages.h"
#include "races/strands.h"
#include "races/tasks.h"

typedef struct StrandState
{
	uint32		sequence;
	uint32		exchanges;		/* how often others may have come between its own events */
	TexClock	clock[TEX_NORDERS]; /* its own entry may be behind */
	TexClock	fence[TEX_NORDERS]; /* at the last release fence */
	TexClock	seen[TEX_NORDERS];	/* by atomic reads, for an acquire fence */
} StrandState;

typedef TexClock ClockPair[TEX_NORDERS];

struct TexOrder
{
	TexHistory *history;
	TexClocks  *clocks;
	int			norders;		/* the weak order is kept only if it differs */
	TexEdges   *edges;
	TexSequence *sequence;
	TexLocks   *locks;
	StrandState *strands;
	ClockPair  *inbox;			/* of each event: what edges handed to it */
	ClockPair  *released;		/* by name of an atomic variable */
	int32	   *release;		/* of each lock: its last release that gave something, or TEX_NO_EVENT */
	int32	   *handover;		/* of each acquire: the release that it got the lock from */
	int32	   *position;		/* of each event */
	int32		done;
	TexLockOrder *lock_order;	/* what notes nested locks, or NULL */
};

/*
 * Prepares a history for tex_order_run(): strands and edges, after Lamport (1978), with the
 * rules of docs/races.md. The history is loaded and prepared, and gets its strands here. All
 * is made in the current memory context, which should be the history's.
 */
TexOrder *
tex_order_create(TexHistory *history)
{
	TexOrder   *order = palloc0(sizeof(TexOrder));
	int32	   *by_parents;

	order->history = history;
	order->edges = tex_edges_create(history->nevents);
	tex_add_clock_edges(history, order->edges);
	by_parents = tex_strands_assign(history, order->edges);
	tex_add_task_edges(history, by_parents, order->edges);
	tex_add_message_edges(history, by_parents, order->edges);
	tex_add_link_edges(history, order->edges);
	pfree(by_parents);

	order->norders = history->has_locks ? TEX_NORDERS : 1;
	order->clocks = tex_clocks_create(history->nstrands);
	order->locks = tex_locks_create(history);
	order->strands = tex_new_array(sizeof(StrandState), history->nstrands, 0);
	order->inbox = tex_new_array(sizeof(ClockPair), history->nevents, 0);
	order->position = tex_new_array(sizeof(int32), history->nevents, 0);
	order->released = tex_new_array(sizeof(ClockPair), tex_strings_count(history->names), 0);
	if (history->has_locks)
	{
		order->release = tex_new_array(sizeof(int32), tex_strings_count(history->names), 0xff);
		order->handover = tex_new_array(sizeof(int32), history->nevents, 0xff);
	}
	return order;
}

/*
 * Has tex_order_run() note which locks are taken under which, for tex_lock_cycles(); NULL where
 * there are no locks.
 */
TexLockOrder *
tex_order_watch_locks(TexOrder *order)
{
	if (order->history->has_locks)
		order->lock_order = tex_lock_order_create(order->history, order->locks, order->clocks);
	return order->lock_order;
}

/* Bring a strand's own entry in its clocks up to date, before handing them on. */
static void
stamp(TexOrder *order, const TexEvent *event)
{
	StrandState *strand = &order->strands[event->strand];

	for (int k = 0; k < order->norders; k++)
		tex_clock_set(order->clocks, &strand->clock[k], event->strand, strand->sequence);
}

/* Joins a pair of clocks into another, in as many orders as are kept. */
static void
join(TexOrder *order, ClockPair to, ClockPair from)
{
	for (int k = 0; k < order->norders; k++)
		tex_clock_join(order->clocks, &to[k], from[k]);
}

/* Gives a pair of clocks back. */
static void
drop(TexOrder *order, ClockPair pair)
{
	for (int k = 0; k < order->norders; k++)
	{
		tex_clock_drop(order->clocks, pair[k]);
		pair[k] = NULL;
	}
}

/* Rule 5: what a release gives into its lock. */
static void
run_release(TexOrder *order, int32 e)
{
	const TexEvent *event = &order->history->events[e];
	TexLockClocks gives;
	bool		shared;
	TexClock   *into;

	if (!tex_locks_release(order->locks, e, &gives, &shared, order->sequence))
		return;
	order->release[event->lock] = e;
	stamp(order, event);
	into = shared ? gives.shared : gives.exclusive;
	/* The weak order does not pass through locks. */
	tex_clock_join(order->clocks, &into[TEX_FULL_ORDER],
				   order->strands[event->strand].clock[TEX_FULL_ORDER]);
}

/* Rule 5: what an acquire gets out of its lock. */
static void
run_acquire(TexOrder *order, int32 e, const TexLockClocks *gets)
{
	const TexEvent *event = &order->history->events[e];
	TexClock   *clock = &order->strands[event->strand].clock[TEX_FULL_ORDER];

	order->handover[e] = order->release[event->lock];
	tex_clock_join(order->clocks, clock, gets->exclusive[TEX_FULL_ORDER]);
	if (gets->shared)
		tex_clock_join(order->clocks, clock, gets->shared[TEX_FULL_ORDER]);
}

/* Rule 7: a fence acquires what atomic reads have seen, and keeps what atomic writes will release. */
static void
run_fence(TexOrder *order, const TexEvent *event)
{
	StrandState *strand = &order->strands[event->strand];

	if (event->order & TEX_ORDER_ACQUIRE)
		join(order, strand->clock, strand->seen);
	if (event->order & TEX_ORDER_RELEASE)
	{
		stamp(order, event);
		drop(order, strand->fence);
		join(order, strand->fence, strand->clock);
	}
}

/* What an atomic access acquires, before it counts as an access itself. */
static void
run_atomic_read(TexOrder *order, const TexEvent *event)
{
	StrandState *strand = &order->strands[event->strand];
	TexClock   *released = order->released[event->data->variable];

	join(order, strand->seen, released);
	if (event->order & TEX_ORDER_ACQUIRE)
		join(order, strand->clock, released);
}

/* Rule 7: what an atomic access releases, after it counted as an access itself. */
static void
run_atomic_write(TexOrder *order, const TexEvent *event)
{
	StrandState *strand = &order->strands[event->strand];
	TexClock   *released = order->released[event->data->variable];

	if (event->order & TEX_ORDER_RELEASE)
	{
		stamp(order, event);
		join(order, released, strand->clock);
	}
	else
		join(order, released, strand->fence);
}

/* An access: rule 7 around what the visitor sees. */
static void
run_access(TexOrder *order, int32 e, TexAccessVisitor visitor, void *arg)
{
	const TexEvent *event = &order->history->events[e];
	StrandState *strand = &order->strands[event->strand];
	TexPoint	point = {.event = e,.position = order->position[e]};

	if (event->data->variable == TEX_NO_NAME)
		return;
	if (event->access == TEX_ATOMIC_READ || event->access == TEX_ATOMIC_RMW)
		run_atomic_read(order, event);
	point.lock_set = tex_locks_held(order->locks, e);
	for (int k = 0; k < TEX_NORDERS; k++)
		point.clock[k] = strand->clock[k < order->norders ? k : TEX_FULL_ORDER];
	visitor(&point, arg);
	if (event->access == TEX_ATOMIC_WRITE || event->access == TEX_ATOMIC_RMW)
		run_atomic_write(order, event);
}

/* Hand an event's clock to its effects in other strands. */
static void
send(TexOrder *order, int32 e)
{
	const TexEvent *event = &order->history->events[e];
	StrandState *strand = &order->strands[event->strand];

	tex_foreach_edge(edge, order->edges, e)
	{
		int32		to = order->edges->to[edge];

		if (order->history->events[to].strand != event->strand &&
			order->history->events[to].sequence == 0)
		{
			stamp(order, event);
			join(order, order->inbox[to], strand->clock);
			strand->exchanges++;
		}
		tex_sequence_release(order->sequence, to);
	}
}

/* A lock that is taken under others: what it was wanted under, before it is held itself. */
static void
note_nested(TexOrder *order, int32 e, int32 lock_set)
{
	const StrandState *strand = &order->strands[order->history->events[e].strand];

	tex_lock_order_note(order->lock_order, e, lock_set, strand->clock[TEX_WEAK_ORDER], strand->exchanges);
}

/* Whether what a strand did before an event and after it are ordered differently with other strands. */
static bool
is_exchange(const TexOrder *order, int32 e)
{
	const TexEvent *event = &order->history->events[e];

	return order->inbox[e][TEX_FULL_ORDER] != NULL || event->kind == TEX_MEMORY_FENCE ||
		event->access >= TEX_ATOMIC_READ;
}

/*
 * Takes an event, unless it must wait for a lock: then its turn comes again.
 */
static void
step(TexOrder *order, int32 e, bool force, TexAccessVisitor visitor, void *arg)
{
	TexEvent   *event = &order->history->events[e];
	StrandState *strand = &order->strands[event->strand];
	bool		is_lock = event->lock != TEX_NO_NAME;
	bool		nested = is_lock && order->lock_order && event->kind == TEX_LOCK_ACQUIRE &&
		tex_locks_holds_any(order->locks, event->strand);
	int32		outer = nested ? tex_locks_held(order->locks, e) : 0;
	TexLockClocks gets = {NULL, NULL};

	if (is_lock && event->kind == TEX_LOCK_ACQUIRE &&
		!tex_locks_acquire(order->locks, e, force, &gets))
		return;

	event->sequence = ++strand->sequence;
	order->position[e] = order->done++;
	if (order->lock_order && is_exchange(order, e))
		strand->exchanges++;
	join(order, strand->clock, order->inbox[e]);
	drop(order, order->inbox[e]);
	if (gets.exclusive)
	{
		run_acquire(order, e, &gets);
		if (nested)
			note_nested(order, e, outer);
	}
	else if (is_lock)
		run_release(order, e);
	else if (event->kind == TEX_MEMORY_FENCE)
		run_fence(order, event);
	else if (event->kind == TEX_STATE_CHANGE)
		run_access(order, e, visitor, arg);
	send(order, e);
}

/*
 * Takes all events, once; the visitor sees the accesses, each with its vector clocks (Fidge
 * 1988, Mattern 1989). Among the clocks a strand's own entry may be behind: compare accesses
 * of one strand by their sequence. Answers a cancel after each event.
 */
void
tex_order_run(TexOrder *order, TexAccessVisitor visitor, void *arg)
{
	order->sequence = tex_sequence_create(order->edges->indegree, order->history->nevents);
	for (;;)
	{
		int32		e = tex_sequence_next(order->sequence);
		bool		force = false;

		CHECK_FOR_INTERRUPTS();
		if (e < 0)
		{
			/* Nothing can go on: a lock that is not let go, or a cycle. */
			force = true;
			e = tex_locks_waiting(order->locks);
			if (e < 0)
				e = tex_sequence_force(order->sequence);
			if (e < 0)
				break;
		}
		step(order, e, force, visitor, arg);
	}
	tex_sequence_free(order->sequence);
	order->sequence = NULL;
}

/* For a run that is only after the sequence. */
static void
visit_nothing(const TexPoint *point, void *arg)
{
}

/*
 * Takes all events, once, without clocks: for who asks what came after what, and not
 * whether two are ordered. Costs what the edges cost.
 */
void
tex_order_run_sequence(TexOrder *order)
{
	order->norders = 0;
	tex_order_run(order, visit_nothing, NULL);
}

/* The edges of rules 1, 2, 3, 4, 6 and 8; valid as long as the order. */
const TexEdges *
tex_order_edges(const TexOrder *order)
{
	return order->edges;
}

/* The release that an acquire got its lock from, once it has run, or TEX_NO_EVENT: rule 5. */
int32
tex_order_handover(const TexOrder *order, int32 event)
{
	return order->handover ? order->handover[event] : TEX_NO_EVENT;
}

/* Whose the clocks are that the visitor gets; valid as long as the order. */
TexClocks *
tex_order_clocks(TexOrder *order)
{
	return order->clocks;
}

/* How many orders are kept: the weak one is the full one where there are no locks. */
int
tex_order_count(const TexOrder *order)
{
	return order->norders;
}

/* An event's place in the sequence, once it has run. */
int32
tex_order_position(const TexOrder *order, int32 event)
{
	return order->position[event];
}

/* Whether two sets of held locks have one in common that at least one side holds exclusively. */
bool
tex_locks_protect(const TexOrder *order, int32 a, int32 b)
{
	return tex_lock_sets_protect(order->locks, a, b);
}

/* Whether two sets have a lock in common that two held at once. */
bool
tex_locks_at_once(const TexOrder *order, int32 a, int32 b)
{
	return tex_lock_sets_at_once(order->locks, a, b);
}

/* The names of up to "room" locks of a set; returns how many it has. */
int
tex_locks_names(const TexOrder *order, int32 set, int32 *names, int room)
{
	return tex_lock_set_names(order->locks, set, names, room);
}
