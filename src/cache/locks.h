/*
 * locks.h
 *		The lightweight locks of the result cache.
 */
#ifndef TEX_CACHE_LOCKS_H
#define TEX_CACHE_LOCKS_H

#include "storage/lwlock.h"

/* Entries are spread over so many locks. */
#define TEX_CACHE_PARTITIONS 64

typedef struct TexCacheLocks
{
	int			tranche;
	LWLockPadded tracking;
	LWLockPadded partitions[TEX_CACHE_PARTITIONS];
} TexCacheLocks;

extern TexCacheLocks *tex_cache_locks;

#define TEX_TRACKING_LOCK (&tex_cache_locks->tracking.lock)
#define TEX_PARTITION_LOCK(n) (&tex_cache_locks->partitions[(n) % TEX_CACHE_PARTITIONS].lock)

/* Is there a cache at all? */
static inline bool
tex_cache_is_there(void)
{
	return tex_cache_locks != NULL;
}

extern Size tex_cache_locks_shmem_size(void);
extern void tex_cache_locks_shmem_attach(void);

#endif							/* TEX_CACHE_LOCKS_H */
