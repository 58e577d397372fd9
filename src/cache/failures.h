/*
 * failures.h
 *		Queries that keep failing are not tried for a while.
 */
#ifndef TEX_CACHE_FAILURES_H
#define TEX_CACHE_FAILURES_H

#include "cache/entries.h"

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

extern void tex_failures_check(const TexCacheKey *key);
extern void tex_failures_note(const TexCacheKey *key, const ErrorData *error);
extern void tex_failures_clear(const TexCacheKey *key);
extern uint32 tex_failures_successes(const TexCacheKey *key);
extern void tex_failures_reset(void);
extern List *tex_failures_list(void);
extern const char *tex_failure_state(const TexFailure *failure);

#endif							/* TEX_CACHE_FAILURES_H */
