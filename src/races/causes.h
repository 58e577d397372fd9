/*
 * causes.h
 *		Order between strands that the events state: tasks, messages, clocks.
 */
#ifndef TEX_CAUSES_H
#define TEX_CAUSES_H

#include "races/causal_sequence.h"
#include "history/trace_load.h"

/* Rules 3 and 4: spawn to the task's first event, its last event to the await. */
extern void tex_add_task_edges(TexHistory *history, const int32 *order, TexEdges *edges);

/* Rule 6: sending to first event of the callee, its last to receiving. */
extern void tex_add_message_edges(TexHistory *history, const int32 *order, TexEdges *edges);

/* Rule 8: what the clients' own clocks say, each within its trace. */
extern void tex_add_clock_edges(TexHistory *history, TexEdges *edges);

#endif							/* TEX_CAUSES_H */
