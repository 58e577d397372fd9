/*
 * client_clocks.h
 *		Order by the clocks that clients send.
 */
#ifndef TEX_CLIENT_CLOCKS_H
#define TEX_CLIENT_CLOCKS_H

#include "history/trace_load.h"
#include "races/causal_sequence.h"

/* Rule 8: what the clients' own clocks say, each within its trace. */
extern void tex_add_clock_edges(TexHistory *history, TexEdges *edges);

#endif							/* TEX_CLIENT_CLOCKS_H */
