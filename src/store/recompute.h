/*
 * recompute.h
 *		The summary of one trace, computed from its events.
 */
#ifndef TEX_RECOMPUTE_H
#define TEX_RECOMPUTE_H

#include "store/summary.h"
#include "store/trace_range.h"

extern TexSummary *tex_recompute(const TexRanges *ranges, const pg_uuid_t *trace_id);

#endif							/* TEX_RECOMPUTE_H */
