/*
 * spans.h
 *		Strands and order of traces of OpenTelemetry, by the intervals of their spans.
 */
#ifndef TEX_SPANS_H
#define TEX_SPANS_H

#include "races/causal_sequence.h"
#include "history/trace_load.h"

/* Makes a strand of a trace, and returns its number. */
typedef int32 (*TexNewStrand) (void *arg, int32 trace);

extern void tex_spans_assign(TexHistory *history, TexEdges *edges, TexNewStrand new_strand, void *arg);

#endif							/* TEX_SPANS_H */
