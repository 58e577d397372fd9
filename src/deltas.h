/*
 * deltas.h
 *		Deltas of summaries and counts: written by triggers, read by reports.
 */
#ifndef TEX_DELTAS_H
#define TEX_DELTAS_H

#include "summary.h"

extern void tex_deltas_init(void);
extern TexSummarySet *tex_outstanding_summaries(MemoryContext context);
extern int64 tex_outstanding_events(void);

#endif							/* TEX_DELTAS_H */
