/*
 * outstanding.h
 *		The deltas that are not folded yet, for readers.
 */
#ifndef TEX_OUTSTANDING_H
#define TEX_OUTSTANDING_H

#include "executor/tuptable.h"

#include "store/summary.h"

typedef void (*TexSlotCallback) (TupleTableSlot *slot, void *arg);

extern void tex_scan_own(const char *name, TexSlotCallback each, void *arg);

extern TexSummarySet *tex_outstanding_summaries(MemoryContext context);

#endif							/* TEX_OUTSTANDING_H */
