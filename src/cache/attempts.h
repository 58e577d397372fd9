/*
 * attempts.h
 *		Who may compute a result: one session at a time, and nobody while it keeps failing.
 */
#ifndef TEX_CACHE_ATTEMPTS_H
#define TEX_CACHE_ATTEMPTS_H

#include "cache/entries.h"

/* What is known of a key whose last computation failed. */
typedef struct TexFailure
{
	TexCacheKey key;
	uint32		in_a_row;
	TimestampTz failed_at;
	TimestampTz retry_at;
	char		message[160];
} TexFailure;

extern Size tex_failures_shmem_size(void);
extern void tex_failures_shmem_attach(void);

extern bool tex_attempt_begin(const TexCacheKey *key);
extern void tex_attempt_end(const TexCacheKey *key);
extern void tex_attempt_wait(const TexCacheKey *key);
extern void tex_attempt_take(const TexCacheKey *key);

extern void tex_failures_check(const TexCacheKey *key);
extern void tex_failures_note(const TexCacheKey *key, const ErrorData *error);
extern void tex_failures_clear(const TexCacheKey *key);
extern uint32 tex_failures_successes(const TexCacheKey *key);
extern void tex_failures_reset(void);
extern List *tex_failures_list(void);
extern const char *tex_failure_state(const TexFailure *failure);

#endif							/* TEX_CACHE_ATTEMPTS_H */
