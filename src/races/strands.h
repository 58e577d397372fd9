/*
 * strands.h
 *		Strands: the units of program order.
 */
#ifndef TEX_STRANDS_H
#define TEX_STRANDS_H

#include "races/causal_sequence.h"
#include "history/trace_load.h"

/*
 * Gives each event its strand, and its strand order: adds to the edges those of
 * strand order, thread order and parent to child.  Returns the events in an order
 * that agrees with all parents, by time where those leave it open.
 */
extern int32 *tex_strands_assign(TexHistory *history, TexEdges *edges);

#endif							/* TEX_STRANDS_H */
