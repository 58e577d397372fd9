/*
 * trace_tree.c
 *		A trace as a tree: trace_tree().
 *
 * Depth first, children by their start.  Nothing recurses: where a line is in the
 * tree is kept in an array that grows with the depth.
 *
 * Clients that chain, in which each event is the child of the one before it, make
 * trees as deep as they are long.  "depth" says so; but the label of an event that
 * goes on where a point of the same strand left off, as its only child, is drawn
 * beside it and not below it.  So a chain reads as what it is, a list.  What is
 * deeper than MOST_LEVELS all the same is drawn that deep, behind a mark.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "analysis/clock_offsets.h"
#include "analysis/linked.h"
#include "analysis/trace_tree.h"
#include "analysis/words.h"
#include "races/arrays.h"

/* Labels are drawn up to that depth: three columns each. */
#define MOST_LEVELS 13

PG_FUNCTION_INFO_V1(tex_trace_tree);

/* How branches are drawn. */
typedef struct Branches
{
	const char *inner;			/* has a sibling after it */
	const char *last;
	const char *beside;			/* under one that has a sibling after it */
	const char *cut;			/* deeper than it is drawn */
} Branches;

static const Branches utf8_branches = {"\u251c\u2500 ", "\u2514\u2500 ", "\u2502  ", "\u22ef  "};
static const Branches ascii_branches = {"|- ", "`- ", "|  ", "...  "};

typedef struct Tree
{
	const TexOneTrace *one;
	const int32 *parent;
	TexLists	children;		/* of each event, by start */
	int64	   *self;
	const Branches *branches;
	int32	   *depth;			/* of each event that was reached */
	int32	   *drawn;			/* ... and of its label */
	bool	   *more;			/* by drawn depth: comes there a sibling of the line's ancestor there? */
	int32		more_room;
	StringInfoData label;
	MemoryContext row_context;	/* for the values of a row */
} Tree;

/* For qsort_arg(): by start, else as the history has them. */
static int
compare_starts(const void *a, const void *b, void *arg)
{
	const TexOneTrace *one = arg;
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	CHECK_FOR_INTERRUPTS();
	if (one->extents[x].started != one->extents[y].started)
		return one->extents[x].started < one->extents[y].started ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* For qsort_arg(): by start, else in the sequence. */
static int
compare_by_sequence(const void *a, const void *b, void *arg)
{
	const TexOneTrace *one = arg;
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	CHECK_FOR_INTERRUPTS();
	if (one->extents[x].started != one->extents[y].started)
		return one->extents[x].started < one->extents[y].started ? -1 : 1;
	return tex_order_position(one->order, x) - tex_order_position(one->order, y);
}

/*
 * All events by start. Spans tell the order of what began in one microsecond, where all is of
 * OpenTelemetry.
 */
int32 *
tex_by_start(const TexOneTrace *one)
{
	int32	   *order = tex_new_array(sizeof(int32), one->n, 0);
	bool		sorted = true;
	bool		spans = true;

	for (int32 i = 0; i < one->n; i++)
	{
		order[i] = i;
		sorted &= i == 0 || one->extents[i - 1].started <= one->extents[i].started;
		spans &= (one->events[i].flags & TEX_EVENT_OTLP) != 0;
	}
	if (spans || !sorted)
		qsort_arg(order, one->n, sizeof(int32), spans ? compare_by_sequence : compare_starts, (void *) one);
	return order;
}

/*
 * How long each event lasted with no child of it going on: its extent without the
 * union of the children's.  Children come by start, so the union needs only to know
 * how far it reaches.
 */
static int64 *
self_usecs(const TexOneTrace *one, const int32 *by_start, const int32 *parent)
{
	int64	   *self = tex_new_array(sizeof(int64), one->n, 0);
	TimestampTz *reaches = tex_new_array(sizeof(TimestampTz), one->n, 0);

	for (int32 i = 0; i < one->n; i++)
	{
		self[i] = tex_lasted(one, i);
		reaches[i] = one->extents[i].started;
	}
	for (int32 i = 0; i < one->n; i++)
	{
		int32		e = by_start[i];
		int32		p = parent[e];
		TimestampTz from;
		TimestampTz to;

		CHECK_FOR_INTERRUPTS();
		if (p == TEX_NO_EVENT)
			continue;
		from = Max(one->extents[e].started, reaches[p]);
		to = Min(one->extents[e].ended, one->extents[p].ended);
		if (to <= from)
			continue;
		self[p] -= Min(self[p], tex_usecs_between(from, to));
		reaches[p] = to;
	}
	pfree(reaches);
	return self;
}

/* What is to be said of an event, the worst first. */
static const char *
status_of(const TexEvent *event)
{
	if (event->flags & TEX_EVENT_IS_ERROR)
		return "error";
	if (event->flags & TEX_EVENT_IN_CYCLE)
		return "cycle";
	if (event->flags & TEX_EVENT_PARENT_MISSING)
		return "orphan";
	return "ok";
}

/* The columns kind, name, service_name. */
void
tex_sink_event(TexSink *sink, const TexOneTrace *one, int32 event)
{
	const TexEvent *e = &one->events[event];

	tex_sink_datum(sink, ObjectIdGetDatum(tex_kind_oid(e->kind)));
	tex_sink_text(sink, tex_text_of(one, e->name));
	tex_sink_text(sink, tex_text_of(one, e->service));
}

/* How many children an event has. */
static int32
count_children(const Tree *tree, int32 event)
{
	return tree->children.first[event + 1] - tree->children.first[event];
}

/* Whether an event's label is drawn beside its parent's: see the head of the file. */
static bool
goes_on_beside(const Tree *tree, int32 event)
{
	int32		parent = tree->parent[event];

	return count_children(tree, parent) == 1 && tree->drawn[parent] > 0 &&
		tex_lasted(tree->one, parent) == 0 &&
		tree->one->events[parent].strand == tree->one->events[event].strand;
}

/* Notes where a line is drawn, and whether another one of its parent comes after it. */
static void
place(Tree *tree, int32 event, bool last)
{
	int32		parent = tree->parent[event];
	bool		beside = parent != TEX_NO_EVENT && goes_on_beside(tree, event);
	int32		level;

	tree->depth[event] = parent == TEX_NO_EVENT ? 0 : tree->depth[parent] + 1;
	tree->drawn[event] = level = parent == TEX_NO_EVENT ? 0 : tree->drawn[parent] + (beside ? 0 : 1);
	if (level >= tree->more_room)
	{
		tree->more_room = Max(tree->more_room * 2, level + 1);
		tree->more = repalloc_huge(tree->more, sizeof(bool) * (Size) tree->more_room);
	}
	/* Beside: as its parent, which was no end of the list if this one goes on. */
	if (!beside)
		tree->more[level] = !last;
}

/* Whether the list in which a line is drawn ends with it. */
static bool
ends_list(const Tree *tree, int32 event)
{
	int32		child = TEX_NO_EVENT;

	if (tree->more[tree->drawn[event]])
		return false;
	if (count_children(tree, event) == 1)
		child = tree->children.members[tree->children.first[event]];
	return child == TEX_NO_EVENT || !goes_on_beside(tree, child);
}

/* The branches before a line. */
static void
draw_branches(Tree *tree, int32 event)
{
	int32		level = tree->drawn[event];
	int32		from = 1;

	if (level > MOST_LEVELS)
	{
		appendStringInfoString(&tree->label, tree->branches->cut);
		from = level - MOST_LEVELS + 2;
	}
	for (int32 i = from; i < level; i++)
		appendStringInfoString(&tree->label, tree->more[i] ? tree->branches->beside : "   ");
	if (level > 0)
		appendStringInfoString(&tree->label,
							   ends_list(tree, event) ? tree->branches->last : tree->branches->inner);
}

/* The line of an event: what it was, where if not where its parent was, how long it took. */
static const char *
draw(Tree *tree, int32 event)
{
	const TexOneTrace *one = tree->one;
	const TexEvent *e = &one->events[event];
	int32		parent = tree->parent[event];
	const char *service = tex_text_of(one, e->service);

	resetStringInfo(&tree->label);
	draw_branches(tree, event);
	tex_say_event(&tree->label, one, event);
	if (service && (parent == TEX_NO_EVENT || one->events[parent].service != e->service))
		appendStringInfo(&tree->label, "  [%s]", service);
	if (tex_lasted(one, event) > 0)
	{
		appendStringInfoString(&tree->label, "  ");
		tex_say_usecs(&tree->label, tex_lasted(one, event));
	}
	if (e->flags & TEX_EVENT_IN_CYCLE)
		appendStringInfoString(&tree->label, "  (cycle of parents, cut here)");
	if (e->flags & TEX_EVENT_PARENT_MISSING)
		appendStringInfoString(&tree->label, "  (parent missing)");
	if ((e->flags & TEX_EVENT_IS_ERROR) && e->kind != TEX_ERROR)
		appendStringInfoString(&tree->label, "  (error)");
	return tree->label.data;
}

/* One row. */
static void
put_line(Tree *tree, int32 event, TexSink *sink)
{
	const TexOneTrace *one = tree->one;
	const TexEvent *e = &one->events[event];

	tex_sink_int(sink, sink->n + 1);
	tex_sink_int(sink, tree->depth[event]);
	tex_sink_datum(sink, UUIDPGetDatum(&e->id));
	if (memcmp(&e->id, &e->parent_id, sizeof(pg_uuid_t)) == 0)
		tex_sink_null(sink);
	else
		tex_sink_datum(sink, UUIDPGetDatum(&e->parent_id));
	tex_sink_event(sink, one, event);
	tex_sink_usecs(sink, tex_since_start(one, one->extents[event].started));
	tex_sink_usecs(sink, tex_lasted(one, event));
	tex_sink_usecs(sink, tree->self[event]);
	tex_sink_int(sink, count_children(tree, event));
	tex_sink_text(sink, status_of(e));
	tex_sink_text(sink, draw(tree, event));
	tex_sink_end_row(sink);
}

/* From a line downwards, until all below it, or as many as are wanted, are drawn. */
static void
put_branch(Tree *tree, int32 root, int32 *stack, TexSink *sink)
{
	int32		height = 0;

	/* The stack holds who comes next: siblings above each other, the earliest on top. */
	stack[height++] = root;
	while (height > 0 && !tex_sink_is_full(sink))
	{
		int32		event = stack[--height];
		int32		n = count_children(tree, event);
		int32		parent = tree->parent[event];
		const int32 *children = &tree->children.members[tree->children.first[event]];
		MemoryContext old;

		place(tree, event, parent == TEX_NO_EVENT ||
			  event == tree->children.members[tree->children.first[parent + 1] - 1]);
		old = MemoryContextSwitchTo(tree->row_context);
		put_line(tree, event, sink);
		MemoryContextSwitchTo(old);
		MemoryContextReset(tree->row_context);
		for (int32 i = n - 1; i >= 0; i--)
			stack[height++] = children[i];
	}
}

/*
 * The rows of trace_tree(): the tree of the parents given, which has no cycles, from
 * each root that is of the trace asked for, or is all the same part of the tree.
 */
void
tex_tree_rows(const TexOneTrace *one, const int32 *parent, TexSink *sink)
{
	Tree		tree = {.one = one,.parent = parent,.more_room = 64};
	int32	   *by_start = tex_by_start(one);
	int32	   *stack = tex_new_array(sizeof(int32), one->n, 0);
	int64		all = 0;

	tree.children = tex_lists_of(parent, one->n, by_start, one->n);
	tree.self = self_usecs(one, by_start, parent);
	tree.branches = GetDatabaseEncoding() == PG_UTF8 ? &utf8_branches : &ascii_branches;
	tree.depth = tex_new_array(sizeof(int32), one->n, 0);
	tree.drawn = tex_new_array(sizeof(int32), one->n, 0);
	tree.more = palloc0(sizeof(bool) * tree.more_room);
	initStringInfo(&tree.label);
	tree.row_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext row", ALLOCSET_DEFAULT_SIZES);
	for (int32 i = 0; i < one->n; i++)
		all += one->history->traces[one->events[i].trace].role == TEX_ROLE_HOME;
	for (int32 i = 0; i < one->n && !tex_sink_is_full(sink); i++)
		if (parent[by_start[i]] == TEX_NO_EVENT &&
			one->history->traces[one->events[by_start[i]].trace].role == TEX_ROLE_HOME)
			put_branch(&tree, by_start[i], stack, sink);
	tex_sink_end(sink, all, "events");
}

/* trace_tree(trace_id uuid, max_rows bigint, merge boolean, adjust boolean) */
Datum
tex_trace_tree(PG_FUNCTION_ARGS)
{
	int64		most;
	bool		merge = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	TexOneTrace *one;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	most = tex_most_rows(fcinfo, 1, 10000);
	SPI_connect();
	one = tex_one_trace_load(PG_GETARG_UUID_P(0), merge ? TEX_BESIDE_LINKED : TEX_BESIDE_NOTHING);
	if (one)
	{
		int32	   *parent = tex_parents(one, merge);

		if (!PG_ARGISNULL(3) && PG_GETARG_BOOL(3))
			tex_adjust_clocks(one, parent);
		tex_tree_rows(one, parent, tex_sink_to_caller(fcinfo, most));
	}
	SPI_finish();
	return (Datum) 0;
}
