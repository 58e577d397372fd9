/*
 * lock_order.c
 *		Locks that are taken in opposite orders: deadlocks that have not happened yet.
 *
 * Goodlock (Havelund, SPIN 2000): a lock that is taken under another one is an arc
 * between the two. Where arcs make a cycle, and each is of another strand, these
 * strands can come to wait for each other for ever. Not so if
 *	- two of them held a common lock, a gate, that lets in one at a time;
 *	- of a lock, both who holds it and who wants it only share it;
 *	- one wanted its lock only after another one had got what it wanted, or their
 *	  traces did not run at the same time. That is asked of the weak order: the full
 *	  one also knows which lock happened to be handed over to whom in this run, and
 *	  that orders any two who take the same locks.
 *
 * So two wants of one strand with nothing in between that orders it with others are
 * alike, and noted once (strand->exchanges in happens_before.c): a loop costs what
 * one turn costs. First the cycles of arcs are found, after all locks have been left
 * out through which none can pass, so that locks that are taken in one order, however
 * many, cost one walk. Then strands are chosen, among the traces that ran at the same
 * time. Short cycles are looked for first, and the steps of all are limited.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "guc.h"
#include "races/lock_order.h"
#include "races/races.h"

/* Of the locks held by a strand, the latest so many count. */
#define MOST_HELD		16

/* What one history may cost: about a quarter of a second. */
#define MOST_STEPS		2000000

/* To tell of a cycle costs as much as so many of them. */
#define STEPS_TO_TELL	4

/* Of a lock's name so many bytes are kept: a cycle has several, and there may be many cycles. */
#define LONGEST_NAME	250

/* How far up its parents an acquire's function is looked for. */
#define PARENTS_TO_LOOK_AT 32

/* A lock that something was wanted under, or that was wanted under something. */
typedef struct LockNode
{
	int32		lock;			/* hash key */
	int32		number;			/* in the order in which they were first noted */
	int32		rank;			/* by name; those of one name have the same */
	int32		narcs_in;
	int32		narcs_out;
	struct Arc *first_in;
	struct Arc *first_out;
	bool		dropped;		/* no cycle passes through it */
} LockNode;

typedef struct ArcKey
{
	int32		held;
	int32		wanted;
} ArcKey;

typedef struct Arc
{
	ArcKey		key;
	LockNode	   *from;
	LockNode	   *to;
	struct Arc *next_in;
	struct Arc *next_out;
	TexLockWant *wants;
	int32		n;
	TexLockWant **by_start;		/* the same by the start of their traces, once needed */
	TimestampTz *ended;			/* up to each of these: the latest end of their traces */
} Arc;

/* Wants that are alike in these are one. */
typedef struct WantKey
{
	int32		strand;
	uint32		exchanges;
	int32		held;
	int32		wanted;
	int32		modes;
	int32		lock_set;
	int32		location;
} WantKey;

struct TexLockOrder
{
	MemoryContext context;
	TexHistory *history;
	const TexLocks *locks;
	const TexClocks *clocks;
	HTAB	   *nodes;			/* these three are made with the first want */
	HTAB	   *arcs;
	HTAB	   *seen;
	int32		nnodes;
};

/* Looking for cycles of one length. */
typedef struct Search
{
	TexLockOrder *order;
	TexCycleVisitor visitor;
	void	   *arg;
	int			length;
	int64		steps;			/* so many are left */
	Arc		   *arcs[TEX_LONGEST_CYCLE];
	int32		names[TEX_LONGEST_CYCLE];	/* of these locks, told from each on; made when needed */
	TexLockCycle cycle;
} Search;

/* Nothing noted yet, in the current memory context; the locks and clocks are those of a run to come. */
TexLockOrder *
tex_lock_order_create(TexHistory *history, const TexLocks *locks, const TexClocks *clocks)
{
	TexLockOrder *order = palloc0(sizeof(TexLockOrder));

	order->context = CurrentMemoryContext;
	order->history = history;
	order->locks = locks;
	order->clocks = clocks;
	return order;
}

/* A hash table in the context of the order. */
static HTAB *
make_table(TexLockOrder *order, const char *name, Size key, Size entry)
{
	HASHCTL		ctl = {.keysize = key,.entrysize = entry,.hcxt = order->context};

	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* A lock as a node, made if it is new. */
static LockNode *
find_node(TexLockOrder *order, int32 lock)
{
	bool		found;
	LockNode	   *node = hash_search(order->nodes, &lock, HASH_ENTER, &found);

	if (!found)
		*node = (LockNode) {.lock = lock,.number = order->nnodes++};
	return node;
}

/* The arc between two locks, made and linked if it is new. */
static Arc *
find_arc(TexLockOrder *order, int32 held, int32 wanted)
{
	ArcKey		key = {held, wanted};
	bool		found;
	Arc		   *arc = hash_search(order->arcs, &key, HASH_ENTER, &found);

	if (found)
		return arc;
	*arc = (Arc) {.key = key,.from = find_node(order, held),.to = find_node(order, wanted)};
	arc->next_out = arc->from->first_out;
	arc->from->first_out = arc;
	arc->from->narcs_out++;
	arc->next_in = arc->to->first_in;
	arc->to->first_in = arc;
	arc->to->narcs_in++;
	return arc;
}

/* Where in the code a lock is taken: as the client says, else by the function around it. */
static int32
place_of(const TexHistory *history, int32 e)
{
	const TexEvent *event = &history->events[e];
	int32		place = event->place;

	if (event->data)
		return event->data->location;
	for (int i = 0; i < PARENTS_TO_LOOK_AT && event->parent != TEX_NO_EVENT; i++)
	{
		event = &history->events[event->parent];
		if (event->place != place)
			break;
		if (event->kind == TEX_FUNCTION_CALL)
			return event->data->location;
	}
	return TEX_NO_NAME;
}

/* Whether a want is noted already, as far as can ever matter; from now on it is. */
static bool
seen_before(TexLockOrder *order, const TexLockWant *want, int32 strand, uint32 exchanges)
{
	WantKey		key = {.strand = strand,.exchanges = exchanges,.held = want->held,.wanted = want->wanted,
		.modes = want->held_shared * 2 + want->wanted_shared,.lock_set = want->lock_set,.location = want->location};
	bool		found;

	hash_search(order->seen, &key, HASH_ENTER, &found);
	return found;
}

/*
 * Notes an acquire that succeeded under other locks. lock_set is what its strand held before, clock
 * what came before it in the weak order, and exchanges grows with each event that may order the
 * strand with others.
 */
void
tex_lock_order_note(TexLockOrder *order, int32 e, int32 lock_set, TexClock clock, uint32 exchanges)
{
	const TexEvent *event = &order->history->events[e];
	TexHeldLock held[MOST_HELD];
	int			n = tex_locks_held_under(order->locks, e, held, MOST_HELD);
	int32		location;

	if (n == 0)
		return;
	if (order->seen == NULL)
	{
		order->nodes = make_table(order, "nested locks", sizeof(int32), sizeof(LockNode));
		order->arcs = make_table(order, "orders of locks", sizeof(ArcKey), sizeof(Arc));
		order->seen = make_table(order, "wants of strands", sizeof(WantKey), sizeof(WantKey));
	}
	location = place_of(order->history, e);
	for (int i = 0; i < n; i++)
	{
		TexLockWant want = {.held = held[i].lock,.wanted = event->lock,.hold_event = held[i].event,.event = e,
			.lock_set = lock_set,.location = location,.held_shared = held[i].shared,
			.wanted_shared = (event->flags & TEX_EVENT_SHARED_LOCK) != 0};
		Arc		   *arc;
		TexLockWant *noted;

		if (seen_before(order, &want, event->strand, exchanges))
			continue;
		arc = find_arc(order, want.held, want.wanted);
		want.clock = tex_clock_share(clock);
		want.next = arc->wants;
		noted = MemoryContextAlloc(order->context, sizeof(TexLockWant));
		*noted = want;
		arc->wants = noted;
		arc->n++;
	}
}

/* Leaves a lock out if nothing leads to it, or nothing from it; then others may follow. */
static void
drop_node(LockNode **waiting, int *nwaiting, LockNode *node)
{
	if (node->dropped || (node->narcs_in > 0 && node->narcs_out > 0))
		return;
	node->dropped = true;
	waiting[(*nwaiting)++] = node;
}

/* Leaves out what no cycle passes through. */
static void
drop_nodes(TexLockOrder *order, LockNode **nodes)
{
	LockNode	  **waiting = palloc(sizeof(LockNode *) * order->nnodes);
	int			nwaiting = 0;

	for (int32 i = 0; i < order->nnodes; i++)
		drop_node(waiting, &nwaiting, nodes[i]);
	while (nwaiting > 0)
	{
		LockNode	   *node = waiting[--nwaiting];

		CHECK_FOR_INTERRUPTS();
		for (Arc *arc = node->first_out; arc; arc = arc->next_out)
		{
			arc->to->narcs_in--;
			drop_node(waiting, &nwaiting, arc->to);
		}
		for (Arc *arc = node->first_in; arc; arc = arc->next_in)
		{
			arc->from->narcs_out--;
			drop_node(waiting, &nwaiting, arc->from);
		}
	}
	pfree(waiting);
}

static const TexTrace *
trace_of(const TexLockOrder *order, const TexLockWant *want)
{
	return &order->history->traces[order->history->events[want->event].trace];
}

/* For qsort_arg(): by the start of the trace, then by the place in time, which is the same in every look. */
static int
compare_starts(const void *a, const void *b, void *arg)
{
	const TexLockWant *x = *(const TexLockWant *const *) a;
	const TexLockWant *y = *(const TexLockWant *const *) b;
	TimestampTz x_started = trace_of(arg, x)->extent.started;
	TimestampTz y_started = trace_of(arg, y)->extent.started;

	if (x_started != y_started)
		return x_started < y_started ? -1 : 1;
	return x->event < y->event ? -1 : x->event > y->event;
}

/* Sorts the wants of an arc, so that those of traces of a time are found. */
static void
sort_wants(TexLockOrder *order, Arc *arc)
{
	int32		n = 0;
	TimestampTz ended = PG_INT64_MIN;

	arc->by_start = MemoryContextAllocHuge(order->context, sizeof(TexLockWant *) * (Size) arc->n);
	arc->ended = MemoryContextAllocHuge(order->context, sizeof(TimestampTz) * (Size) arc->n);
	for (TexLockWant *want = arc->wants; want; want = want->next)
		arc->by_start[n++] = want;
	qsort_arg(arc->by_start, n, sizeof(TexLockWant *), compare_starts, order);
	for (int32 i = 0; i < n; i++)
	{
		ended = Max(ended, trace_of(order, arc->by_start[i])->extent.ended);
		arc->ended[i] = ended;
	}
}

/* The first want of a sorted arc before which all traces have ended at a time. */
static int32
first_after(const Arc *arc, TimestampTz at)
{
	int32		low = 0;
	int32		high = arc->n;

	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (arc->ended[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether one want was satisfied before the other one arose. */
static bool
comes_before(const TexLockOrder *order, const TexLockWant *a, const TexLockWant *b)
{
	const TexEvent *event = &order->history->events[a->event];

	return tex_clock_get(order->clocks, b->clock, event->strand) >= (uint32) event->sequence;
}

/* Whether two strands can hold what they hold at once, and both want what they want. */
static bool
at_once(const TexLockOrder *order, const TexLockWant *a, const TexLockWant *b)
{
	const TexEvent *x = &order->history->events[a->event];
	const TexEvent *y = &order->history->events[b->event];

	return x->strand != y->strand && tex_traces_overlap(order->history, x->trace, y->trace) &&
		!tex_lock_sets_protect(order->locks, a->lock_set, b->lock_set) &&
		!comes_before(order, a, b) && !comes_before(order, b, a);
}

/* Whether a strand waits for what another one holds: the lock is the same already. */
static bool
waits_for(const TexLockWant *a, const TexLockWant *b)
{
	return !(a->wanted_shared && b->held_shared);
}

/* Whether a want fits to those that were chosen before it. */
static bool
fits(const Search *search, int depth, const TexLockWant *want)
{
	const TexLockWant *const *chosen = search->cycle.wants;

	if (depth > 0 && !waits_for(chosen[depth - 1], want))
		return false;
	if (depth == search->length - 1 && !waits_for(want, chosen[0]))
		return false;
	for (int i = 0; i < depth; i++)
		if (!at_once(search->order, chosen[i], want))
			return false;
	return true;
}

/* The name of a lock, as far as it is kept. */
static void
put_lock_name(StringInfo names, const TexHistory *history, int32 lock)
{
	const char *name = tex_history_text(history, tex_history_lock_name(history, lock));

	appendBinaryStringInfo(names, name, pg_mbcliplen(name, strlen(name), LONGEST_NAME));
}

/*
 * How much of a name is the table of a row that is locked, as in "row:public.accounts[7]"; 0: it is none.  What
 * stands between quotes is a name, where "" is one quote, which is all the same here.
 */
static int
table_of_row(const char *name)
{
	bool		in_quotes = false;
	size_t		len = strlen(name);

	if (strncmp(name, "row:", 4) != 0 || name[len - 1] != ']')
		return 0;
	for (size_t i = 4; i < len; i++)
	{
		if (name[i] == '"')
			in_quotes = !in_quotes;
		else if (name[i] == '[' && !in_quotes)
			return (int) i;
	}
	return 0;
}

/* Whether a lock is of a row, and one before it in the list of a cycle is of the same table. */
static bool
is_told_already(const TexHistory *history, const TexLockCycle *cycle, int first, int i)
{
	const char *name = tex_history_text(history, tex_history_lock_name(history, cycle->wants[(first + i) % cycle->n]->held));
	int			len = table_of_row(name);

	for (int j = 0; j < i && len > 0; j++)
	{
		const char *other = tex_history_text(history,
											 tex_history_lock_name(history, cycle->wants[(first + j) % cycle->n]->held));

		if (table_of_row(other) == len && memcmp(name, other, len) == 0)
			return true;
	}
	return false;
}

/*
 * The names of the locks of a cycle if told from one of them on, as one name of the history.  Of rows it has their
 * tables, each once: rows are many, and code that takes them in any order is one finding, not one for each two of them.
 */
static int32
make_names(const TexHistory *history, const TexLockCycle *cycle, int first)
{
	StringInfoData names;
	int32		name;

	initStringInfo(&names);
	for (int i = 0; i < cycle->n; i++)
	{
		int32		lock = cycle->wants[(first + i) % cycle->n]->held;
		const char *of_row = tex_history_text(history, tex_history_lock_name(history, lock));
		int			len = table_of_row(of_row);

		if (is_told_already(history, cycle, first, i))
			continue;
		if (i > 0)
			appendStringInfoString(&names, ", ");
		if (len > 0)
			appendBinaryStringInfo(&names, of_row, pg_mbcliplen(of_row, len, LONGEST_NAME));
		else
			put_lock_name(&names, history, lock);
	}
	name = tex_strings_add(history->names, names.data, names.len);
	pfree(names.data);
	return name;
}

/* Which of two ways to tell a cycle comes first: by names, else by the times of the wants. */
static bool
told_before(const Search *search, int a, int b)
{
	int			n = search->length;

	for (int i = 0; i < n; i++)
	{
		int32		x = search->arcs[(a + i) % n]->from->rank;
		int32		y = search->arcs[(b + i) % n]->from->rank;

		if (x != y)
			return x < y;
	}
	return search->cycle.wants[a]->event < search->cycle.wants[b]->event;
}

/*
 * Tells of a cycle that was found.  Numbers depend on what was loaded, so it is told from the lock
 * whose name comes first.
 */
static void
tell(Search *search)
{
	TexLockCycle told = {.n = search->length};
	int			first = 0;

	for (int i = 1; i < told.n; i++)
		if (told_before(search, i, first))
			first = i;
	for (int i = 0; i < told.n; i++)
		told.wants[i] = search->cycle.wants[(first + i) % told.n];
	if (search->names[first] == TEX_NO_NAME)
		search->names[first] = make_names(search->order->history, &told, 0);
	told.names = search->names[first];
	search->visitor(&told, search->arg);
}

/* Chooses a want for each arc of a cycle, in all ways that fit. Recursion is as deep as the cycle is long. */
static void
choose_wants(Search *search, int depth)
{
	Arc		   *arc = search->arcs[depth];
	TimestampTz from = PG_INT64_MIN;
	TimestampTz to = PG_INT64_MAX;

	if (depth == search->length)
	{
		search->steps -= STEPS_TO_TELL;
		tell(search);
		return;
	}
	if (depth > 0)
	{
		const TexExtent *extent = &trace_of(search->order, search->cycle.wants[0])->extent;

		from = tex_time_plus(extent->started, -tex_clock_skew_usecs());
		to = tex_time_plus(extent->ended, tex_clock_skew_usecs());
	}
	if (arc->by_start == NULL)
		sort_wants(search->order, arc);
	for (int32 i = first_after(arc, from); i < arc->n; i++)
	{
		if (trace_of(search->order, arc->by_start[i])->extent.started > to || search->steps-- <= 0)
			return;
		CHECK_FOR_INTERRUPTS();
		if (!fits(search, depth, arc->by_start[i]))
			continue;
		search->cycle.wants[depth] = arc->by_start[i];
		choose_wants(search, depth + 1);
	}
}

/* Whether a lock is on the way already. Only the first of a cycle's locks has the smallest number. */
static bool
may_follow(const Search *search, int depth, const LockNode *node)
{
	if (node->dropped || node->number <= search->arcs[0]->from->number)
		return false;
	for (int i = 1; i < depth; i++)
		if (search->arcs[i]->from == node)
			return false;
	return true;
}

/* The arcs from a lock on, and back to where the way began. */
static void
choose_arcs(Search *search, int depth, const LockNode *from)
{
	if (depth == search->length - 1)
	{
		ArcKey		key = {from->lock, search->arcs[0]->from->lock};

		search->arcs[depth] = hash_search(search->order->arcs, &key, HASH_FIND, NULL);
		if (search->arcs[depth] == NULL)
			return;
		for (int i = 0; i < search->length; i++)
			search->names[i] = TEX_NO_NAME;
		choose_wants(search, 0);
		return;
	}
	for (Arc *arc = from->first_out; arc && search->steps-- > 0; arc = arc->next_out)
	{
		CHECK_FOR_INTERRUPTS();
		search->arcs[depth] = arc;
		if (may_follow(search, depth + 1, arc->to))
			choose_arcs(search, depth + 1, arc->to);
	}
}

/* The locks, by their numbers. */
static LockNode **
number_nodes(TexLockOrder *order)
{
	LockNode	  **nodes = palloc(sizeof(LockNode *) * order->nnodes);
	HASH_SEQ_STATUS scan;
	LockNode	   *node;

	hash_seq_init(&scan, order->nodes);
	while ((node = hash_seq_search(&scan)) != NULL)
		nodes[node->number] = node;
	return nodes;
}

/* A node with what its name is ranked by. */
typedef struct RankedNode
{
	LockNode   *node;
	char	   *name;
} RankedNode;

static int
compare_names(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();
	return strcmp(((const RankedNode *) a)->name, ((const RankedNode *) b)->name);
}

/* Ranks the locks by their names, as these stand in a list: a cycle may be told very often, and is named then. */
static void
rank_nodes(TexLockOrder *order, LockNode **nodes)
{
	RankedNode *ranked = palloc_extended(sizeof(RankedNode) * order->nnodes, MCXT_ALLOC_HUGE);
	int32		n = 0;

	for (int32 i = 0; i < order->nnodes; i++)
	{
		StringInfoData name;

		if (nodes[i]->dropped)
			continue;
		initStringInfo(&name);
		put_lock_name(&name, order->history, nodes[i]->lock);
		appendStringInfoString(&name, ", ");
		ranked[n++] = (RankedNode) {nodes[i], name.data};
	}
	qsort(ranked, n, sizeof(RankedNode), compare_names);
	for (int32 i = 0; i < n; i++)
		ranked[i].node->rank = i > 0 && strcmp(ranked[i].name, ranked[i - 1].name) == 0 ? ranked[i - 1].node->rank : i;
	for (int32 i = 0; i < n; i++)
		pfree(ranked[i].name);
	pfree(ranked);
}

/*
 * Visits the ways in which strands can come to wait for each other, after the run that noted
 * who took which lock under which. Answers a cancel at each step.
 */
void
tex_lock_cycles(TexLockOrder *order, TexCycleVisitor visitor, void *arg)
{
	Search		search = {.order = order,.visitor = visitor,.arg = arg,.steps = MOST_STEPS};
	LockNode	  **nodes;

	if (order->nnodes < 2)
		return;
	nodes = number_nodes(order);
	drop_nodes(order, nodes);
	rank_nodes(order, nodes);
	for (search.length = 2; search.length <= TEX_LONGEST_CYCLE; search.length++)
	{
		search.cycle.n = search.length;
		for (int32 i = 0; i < order->nnodes; i++)
		{
			if (nodes[i]->dropped)
				continue;
			for (Arc *arc = nodes[i]->first_out; arc && search.steps-- > 0; arc = arc->next_out)
			{
				search.arcs[0] = arc;
				if (may_follow(&search, 1, arc->to))
					choose_arcs(&search, 1, arc->to);
			}
		}
	}
	pfree(nodes);
}
