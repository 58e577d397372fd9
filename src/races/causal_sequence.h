/*
 * causal_sequence.h
 *		Events one after the other: causes before effects, else by time.
 */
#ifndef TEX_CAUSAL_SEQUENCE_H
#define TEX_CAUSAL_SEQUENCE_H

/* Directed edges between events. */
typedef struct TexEdges
{
	int32	   *head;			/* of each event: its first edge, or -1 */
	int32	   *next;
	int32	   *to;
	int32	   *indegree;		/* of each event */
	int32		nnodes;
	int32		nedges;
	int32		room;
} TexEdges;

typedef struct TexSequence TexSequence;

extern TexEdges *tex_edges_create(int32 nnodes);
extern void tex_edges_add(TexEdges *edges, int32 from, int32 to);
extern void tex_edges_free(TexEdges *edges);

extern TexSequence *tex_sequence_create(const int32 *indegree, int32 n);
extern int32 tex_sequence_next(TexSequence *sequence);
extern int32 tex_sequence_force(TexSequence *sequence);
extern void tex_sequence_release(TexSequence *sequence, int32 node);
extern void tex_sequence_push(TexSequence *sequence, int32 node);
extern void tex_sequence_free(TexSequence *sequence);

#define tex_foreach_edge(edge, edges, from) \
	for (int32 edge = (edges)->head[from]; edge >= 0; edge = (edges)->next[edge])

#endif							/* TEX_CAUSAL_SEQUENCE_H */
