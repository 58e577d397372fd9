/*
 * strand_clock.c
 *		Vector clocks over strands, shared where they are equal.
 *
 * Design.  A clock says, for each strand, up to which of its events everything
 * has happened before.  Programs have anything from two strands to a hundred
 * thousand, and a clock is handed on at every release, spawn and message, so
 * copying an array each time costs (events x strands).  Here a clock is a radix
 * tree, sixteen entries a node, with reference counts: handing it on shares the
 * root, changing an entry copies one path, and a join walks only where the two
 * trees are different objects.  When a join yields one of its sides, that side is
 * taken over as a whole, so clocks that meet often stay mostly one object.  This
 * gives what tree clocks (Mathur et al., ASPLOS'22) give, joins that cost what
 * changed since the last meeting, for any pattern of hand-over, and it is sparse:
 * strands never met take no room.
 *
 * The tree's depth follows from the number of strands and is at most eight, so
 * recursion is bounded by that, never by data.  Nodes go back to free lists; the
 * memory context of tex_clocks_create() owns all.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "races/strand_clock.h"

#define FANOUT_BITS		4
#define FANOUT			(1 << FANOUT_BITS)
#define CHUNK_NODES		256

struct TexClockNode
{
	uint32		refs;
	/* Inner nodes are allocated with this full length, leaves up to sequence. */
	union
	{
		uint32		sequence[FANOUT];
		struct TexClockNode *child[FANOUT];
	}			u;
};

#define LEAF_SIZE \
	MAXALIGN(offsetof(struct TexClockNode, u) + sizeof(uint32) * FANOUT)
#define INNER_SIZE \
	MAXALIGN(sizeof(struct TexClockNode))

struct TexClocks
{
	MemoryContext context;
	int			height;			/* levels above the leaves */
	TexClock	free_leaves;	/* linked through their first words */
	TexClock	free_inner;
};

static TexClock join(TexClocks *clocks, TexClock a, TexClock b, int level);

/* Clocks over so many strands, in a memory context of their own below the current one. */
TexClocks *
tex_clocks_create(int32 nstrands)
{
	TexClocks  *clocks = palloc0(sizeof(TexClocks));

	clocks->context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext clocks",
											ALLOCSET_DEFAULT_SIZES);
	while (((int64) 1 << (FANOUT_BITS * (clocks->height + 1))) < nstrands)
		clocks->height++;
	return clocks;
}

/* Leaves and inner nodes have lists of their own, for they differ in size. */
static TexClock *
free_list(TexClocks *clocks, int level)
{
	return level == 0 ? &clocks->free_leaves : &clocks->free_inner;
}

/* Allocates a chunk of nodes and puts them on their free list. */
static void
more_nodes(TexClocks *clocks, int level)
{
	Size		size = level == 0 ? LEAF_SIZE : INNER_SIZE;
	char	   *chunk = MemoryContextAlloc(clocks->context, size * CHUNK_NODES);
	TexClock   *list = free_list(clocks, level);

	for (int i = 0; i < CHUNK_NODES; i++)
	{
		TexClock	node = (TexClock) (chunk + size * i);

		memcpy(&node->u, list, sizeof(TexClock));
		*list = node;
	}
}

/* A node with one reference; its entries are not set. */
static TexClock
new_node(TexClocks *clocks, int level)
{
	TexClock   *list = free_list(clocks, level);
	TexClock	node;

	if (*list == NULL)
		more_nodes(clocks, level);
	node = *list;
	memcpy(list, &node->u, sizeof(TexClock));
	node->refs = 1;
	return node;
}

/* One more reference; costs O(1). Who holds one gives it back by tex_clock_drop(). */
TexClock
tex_clock_share(TexClock clock)
{
	if (clock)
		clock->refs++;
	return clock;
}

/* Gives one reference to a node back, and with the last one its children's. */
static void
drop(TexClocks *clocks, TexClock node, int level)
{
	TexClock   *list;

	if (node == NULL || --node->refs > 0)
		return;
	if (level > 0)
		for (int i = 0; i < FANOUT; i++)
			drop(clocks, node->u.child[i], level - 1);
	list = free_list(clocks, level);
	memcpy(&node->u, list, sizeof(TexClock));
	*list = node;
}

/* Gives a reference back. */
void
tex_clock_drop(TexClocks *clocks, TexClock clock)
{
	drop(clocks, clock, clocks->height);
}

/*
 * Make a node that only the caller refers to, out of one he holds a reference to.
 */
static TexClock
own(TexClocks *clocks, TexClock node, int level)
{
	TexClock	copy;

	if (node && node->refs == 1)
		return node;
	copy = new_node(clocks, level);
	if (node == NULL)
	{
		if (level == 0)
			memset(copy->u.sequence, 0, sizeof(copy->u.sequence));
		else
			memset(copy->u.child, 0, sizeof(copy->u.child));
	}
	else if (level == 0)
		memcpy(copy->u.sequence, node->u.sequence, sizeof(copy->u.sequence));
	else
		for (int i = 0; i < FANOUT; i++)
			copy->u.child[i] = tex_clock_share(node->u.child[i]);
	drop(clocks, node, level);
	return copy;
}

/* Where a strand is, in a node of that level. */
static inline int
entry_at(int32 strand, int level)
{
	return (strand >> (FANOUT_BITS * level)) & (FANOUT - 1);
}

/* The entry of a strand, 0 where there is none: up to which of its events all happened before. */
uint32
tex_clock_get(const TexClocks *clocks, TexClock clock, int32 strand)
{
	for (int level = clocks->height; clock && level > 0; level--)
		clock = clock->u.child[entry_at(strand, level)];
	return clock ? clock->u.sequence[entry_at(strand, 0)] : 0;
}

/* Sets an entry of a clock whose reference *clock is; other holders do not see it. */
void
tex_clock_set(TexClocks *clocks, TexClock *clock, int32 strand, uint32 sequence)
{
	TexClock   *at = clock;

	if (tex_clock_get(clocks, *clock, strand) == sequence)
		return;
	for (int level = clocks->height;; level--)
	{
		*at = own(clocks, *at, level);
		if (level == 0)
			break;
		at = &(*at)->u.child[entry_at(strand, level)];
	}
	(*at)->u.sequence[entry_at(strand, 0)] = sequence;
}

/* A node that stands for both, in place of the one whose reference the caller holds. */
static TexClock
take(TexClocks *clocks, TexClock instead_of, TexClock node, int level)
{
	node->refs++;
	drop(clocks, instead_of, level);
	return node;
}

/* The join of two leaves; one of them, if it covers the other. */
static TexClock
join_leaves(TexClocks *clocks, TexClock a, TexClock b)
{
	bool		a_covers = true;
	bool		b_covers = true;

	for (int i = 0; i < FANOUT; i++)
	{
		a_covers &= a->u.sequence[i] >= b->u.sequence[i];
		b_covers &= b->u.sequence[i] >= a->u.sequence[i];
	}
	if (a_covers)
		return a;
	if (b_covers)
		return take(clocks, a, b, 0);
	a = own(clocks, a, 0);
	for (int i = 0; i < FANOUT; i++)
		a->u.sequence[i] = Max(a->u.sequence[i], b->u.sequence[i]);
	return a;
}

/*
 * Join theirs into an entry of a, whose reference the caller holds; the result
 * takes that reference over.  An a that nobody else sees is changed in place.
 */
static TexClock
join_child(TexClocks *clocks, TexClock a, int i, TexClock theirs, int level)
{
	TexClock	joined;

	if (a->refs == 1)
	{
		a->u.child[i] = join(clocks, a->u.child[i], theirs, level - 1);
		return a;
	}
	joined = join(clocks, tex_clock_share(a->u.child[i]), theirs, level - 1);
	if (joined == a->u.child[i])
	{
		drop(clocks, joined, level - 1);
		return a;
	}
	a = own(clocks, a, level);
	drop(clocks, a->u.child[i], level - 1);
	a->u.child[i] = joined;
	return a;
}

/* The join of a, whose reference it uses up, and b, whose it does not. */
static TexClock
join(TexClocks *clocks, TexClock a, TexClock b, int level)
{
	bool		is_b = true;

	if (a == b || b == NULL)
		return a;
	if (a == NULL)
		return tex_clock_share(b);
	if (level == 0)
		return join_leaves(clocks, a, b);

	for (int i = 0; i < FANOUT; i++)
	{
		TexClock	theirs = b->u.child[i];

		if (a->u.child[i] != theirs && theirs != NULL)
			a = join_child(clocks, a, i, theirs, level);
		is_b &= a->u.child[i] == theirs;
	}
	return is_b ? take(clocks, a, b, level) : a;
}

/*
 * Let *clock cover what other covers.
 */
void
tex_clock_join(TexClocks *clocks, TexClock *clock, TexClock other)
{
	*clock = join(clocks, *clock, other, clocks->height);
}

/* Visits a part of the tree that begins with strand "base". */
static bool
visit(TexClock node, int level, int32 base, int32 first, int32 end,
	  TexClockVisitor visitor, void *arg)
{
	int64		width = (int64) 1 << (FANOUT_BITS * level);

	if (node == NULL)
		return true;
	for (int i = 0; i < FANOUT; i++)
	{
		int64		from = base + i * width;
		bool		more = true;

		if (from >= end || from + width <= first)
			continue;
		if (level > 0)
			more = visit(node->u.child[i], level - 1, (int32) from, first, end, visitor, arg);
		else if (node->u.sequence[i] != 0)
			more = visitor((int32) from, node->u.sequence[i], arg);
		if (!more)
			return false;
	}
	return true;
}

/*
 * Visit the entries of the n strands from first on that are not zero.  False if
 * the visitor ended the visit.
 */
bool
tex_clock_visit(const TexClocks *clocks, TexClock clock, int32 first, int32 n,
				TexClockVisitor visitor, void *arg)
{
	return visit(clock, clocks->height, 0, first, first + n, visitor, arg);
}
