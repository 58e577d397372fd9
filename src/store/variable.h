/*
 * variable.h
 *		Which traces accessed a variable.
 */
#ifndef TEX_VARIABLE_H
#define TEX_VARIABLE_H

#include "store/summary.h"
#include "store/trace_range.h"

extern void tex_require_events(void);
extern TexRange tex_variable_times(text *variable);
extern bool tex_variable_traces(text *variable, int64 most, pg_uuid_t **ids, int *n);
extern bool tex_trace_accesses(const TexSummary *s, text *variable);

#endif							/* TEX_VARIABLE_H */
