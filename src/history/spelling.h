/*
 * spelling.h
 *		What clients' spellings of modes and orderings mean.
 */
#ifndef TEX_SPELLING_H
#define TEX_SPELLING_H

#include "history/trace_load.h"

/* How holders of a lock stand to each other. */
typedef enum TexLockMode
{
	TEX_LOCK_EXCLUSIVE,
	TEX_LOCK_SHARED,			/* with others that share it */
	TEX_LOCK_COUNTED			/* the same; but who releases without holding gives a signal */
} TexLockMode;

extern TexAccessType tex_access_type(const char *name);
extern uint8 tex_access_order(TexAccessType access, const char *ordering);
extern uint8 tex_fence_order(const char *ordering);
extern TexLockMode tex_lock_mode(const char *type);
extern bool tex_is_rollback(const char *name);

#endif							/* TEX_SPELLING_H */
