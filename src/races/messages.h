/*
 * messages.h
 *		Order by messages between spans.
 */
#ifndef TEX_MESSAGES_H
#define TEX_MESSAGES_H

#include "history/trace_load.h"
#include "races/causal_sequence.h"

/* Rule 6: sending to first event of the callee, its last to receiving. */
extern void tex_add_message_edges(TexHistory *history, const int32 *order, TexEdges *edges);

#endif							/* TEX_MESSAGES_H */
