/*
 * variable.h
 *		Which traces accessed a variable.
 */
#ifndef TEX_VARIABLE_H
#define TEX_VARIABLE_H

#include "access/sdir.h"

#include "store/summary.h"
#include "store/trace_range.h"

/* What is known of one; in the memory context it was created in. */
typedef struct TexVariable TexVariable;

extern TexVariable *tex_variable_create(text *name);
extern bool tex_variable_end(const TexVariable *v, ScanDirection direction, TimestampTz *at);
extern bool tex_variable_is_known(TexVariable *v, int64 most);
extern Datum tex_variable_traces(const TexVariable *v);
extern bool tex_variable_is_of(const TexVariable *v, const TexSummary *s);

#endif							/* TEX_VARIABLE_H */
