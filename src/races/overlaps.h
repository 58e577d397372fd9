/*
 * overlaps.h
 *		The traces that may race with a trace, and those that may order them.
 */
#ifndef TEX_OVERLAPS_H
#define TEX_OVERLAPS_H

#include "history/trace_load.h"

/* How many traces one query reads. */
#define TEX_TRACES_AT_ONCE 250

extern void tex_load_context(TexHistory *history);
extern void tex_load_beside(TexHistory *history);
extern TexHistory *tex_load_with_overlapping(const pg_uuid_t *trace_id, const char *variable, bool locks);
extern void tex_notice_unknown_trace(const pg_uuid_t *trace_id);

#endif							/* TEX_OVERLAPS_H */
