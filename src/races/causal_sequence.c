/*
 * causal_sequence.c
 *		Events one after the other: causes before effects, else by time.
 *
 * Nodes are numbered by time.  A cursor runs through them and hands out those
 * whose causes are done; one that must wait is passed over and comes through a
 * heap as soon as its last cause is done.  Clients' timestamps mostly agree with
 * causes, so the heap is mostly empty and the whole is linear.
 *
 * When neither has anything left, what remains waits for itself.  tex_sequence_force()
 * then hands out the earliest of it, and so ends any cycle.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "races/causal_sequence.h"

struct TexSequence
{
	int32	   *waiting;		/* causes still to come; -1: handed out */
	int32		n;
	int32		cursor;
	int32		force_cursor;
	int32	   *heap;
	int32		heap_count;
	int32		heap_room;
};

/* No edges yet, over nnodes nodes, in the current memory context. */
TexEdges *
tex_edges_create(int32 nnodes)
{
	TexEdges   *edges = palloc(sizeof(TexEdges));
	Size		size = sizeof(int32) * (Size) Max(nnodes, 1);

	edges->nnodes = nnodes;
	edges->nedges = 0;
	edges->room = Max(nnodes, 64);
	edges->head = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memset(edges->head, 0xff, size);
	edges->indegree = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memset(edges->indegree, 0, size);
	edges->next = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int32) * (Size) edges->room);
	edges->to = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int32) * (Size) edges->room);
	return edges;
}

/* Adds an edge; the same one may be added more than once. One from a node to itself says nothing. */
void
tex_edges_add(TexEdges *edges, int32 from, int32 to)
{
	if (from == to)
		return;
	if (edges->nedges == edges->room)
	{
		edges->room *= 2;
		edges->next = repalloc_huge(edges->next, sizeof(int32) * (Size) edges->room);
		edges->to = repalloc_huge(edges->to, sizeof(int32) * (Size) edges->room);
	}
	edges->to[edges->nedges] = to;
	edges->next[edges->nedges] = edges->head[from];
	edges->head[from] = edges->nedges++;
	edges->indegree[to]++;
}

/* Gives back all of it, which may be as large as the history. */
void
tex_edges_free(TexEdges *edges)
{
	pfree(edges->head);
	pfree(edges->next);
	pfree(edges->to);
	pfree(edges->indegree);
	pfree(edges);
}

/* A sequence over n nodes, each of which waits for as many releases as it has edges towards it. */
TexSequence *
tex_sequence_create(const int32 *indegree, int32 n)
{
	TexSequence *sequence = palloc0(sizeof(TexSequence));

	sequence->n = n;
	sequence->waiting = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int32) * (Size) Max(n, 1));
	memcpy(sequence->waiting, indegree, sizeof(int32) * (Size) n);
	sequence->heap_room = 64;
	sequence->heap = palloc(sizeof(int32) * sequence->heap_room);
	return sequence;
}

/*
 * Lets a node be handed out once more when its turn by time comes, whatever it waited for: one that
 * was handed out and could not be taken, as an acquire while its lock is held.
 */
void
tex_sequence_push(TexSequence *sequence, int32 node)
{
	int32		at = sequence->heap_count++;
	int32	   *heap;

	if (sequence->heap_count > sequence->heap_room)
	{
		sequence->heap_room *= 2;
		sequence->heap = repalloc_huge(sequence->heap, sizeof(int32) * (Size) sequence->heap_room);
	}
	heap = sequence->heap;
	for (; at > 0 && heap[(at - 1) / 2] > node; at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = node;
}

/* Takes the earliest node out of the heap, which is not empty. */
static int32
pop(TexSequence *sequence)
{
	int32	   *heap = sequence->heap;
	int32		top = heap[0];
	int32		last = heap[--sequence->heap_count];
	int32		at = 0;

	for (;;)
	{
		int32		child = 2 * at + 1;

		if (child >= sequence->heap_count)
			break;
		if (child + 1 < sequence->heap_count && heap[child + 1] < heap[child])
			child++;
		if (heap[child] >= last)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return top;
}

/*
 * The next node whose causes are all done, or -1 when all that remain wait. Who takes it releases
 * what it is a cause of.
 */
int32
tex_sequence_next(TexSequence *sequence)
{
	int32		node = -1;

	/* What the heap holds lies behind the cursor, so it is earlier. */
	if (sequence->heap_count > 0)
		node = pop(sequence);
	else
		while (sequence->cursor < sequence->n && node < 0)
		{
			if (sequence->waiting[sequence->cursor] == 0)
				node = sequence->cursor;
			sequence->cursor++;
		}
	if (node >= 0)
		sequence->waiting[node] = -1;
	return node;
}

/*
 * The earliest node not yet handed out, though it waits; -1 at the end.
 */
int32
tex_sequence_force(TexSequence *sequence)
{
	for (; sequence->force_cursor < sequence->n; sequence->force_cursor++)
		if (sequence->waiting[sequence->force_cursor] >= 0)
		{
			sequence->waiting[sequence->force_cursor] = -1;
			return sequence->force_cursor++;
		}
	return -1;
}

/* One cause of a node is done. No effect on one that was forced before. */
void
tex_sequence_release(TexSequence *sequence, int32 node)
{
	if (sequence->waiting[node] <= 0)
		return;
	if (--sequence->waiting[node] == 0 && node < sequence->cursor)
		tex_sequence_push(sequence, node);
}

/* Gives back all of it. */
void
tex_sequence_free(TexSequence *sequence)
{
	pfree(sequence->waiting);
	pfree(sequence->heap);
	pfree(sequence);
}
