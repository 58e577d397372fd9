/*
 * tasks.h
 *		Order by tasks: spawn before what the task does, that before who awaits it.
 */
#ifndef TEX_TASKS_H
#define TEX_TASKS_H

#include "history/trace_load.h"
#include "races/causal_sequence.h"

/* Rules 3 and 4: spawn to the task's first event, its last event to the await. */
extern void tex_add_task_edges(TexHistory *history, const int32 *order, TexEdges *edges);

#endif							/* TEX_TASKS_H */
