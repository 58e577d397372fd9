/*
 * spelling.h
 *		What clients' spellings of modes and orderings mean.
 */
#ifndef TEX_SPELLING_H
#define TEX_SPELLING_H

#include "trace_load.h"

extern TexAccessType tex_access_type(const char *name);
extern uint8 tex_access_order(TexAccessType access, const char *ordering);
extern uint8 tex_fence_order(const char *ordering);
extern bool tex_lock_type_is_shared(const char *type);
extern bool tex_is_rollback(const char *name);

#endif							/* TEX_SPELLING_H */
