/*
 * outstanding.h
 *		The deltas that are not folded yet, for readers.
 */
#ifndef TEX_OUTSTANDING_H
#define TEX_OUTSTANDING_H

#include "summary.h"

extern TexSummarySet *tex_outstanding_summaries(MemoryContext context);

#endif							/* TEX_OUTSTANDING_H */
