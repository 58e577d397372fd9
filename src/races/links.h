/*
 * links.h
 *		Order by links between spans of OpenTelemetry.
 */
#ifndef TEX_LINKS_H
#define TEX_LINKS_H

#include "races/causal_sequence.h"
#include "history/trace_load.h"

extern void tex_add_link_edges(const TexHistory *history, TexEdges *edges);

#endif							/* TEX_LINKS_H */
