/*
 * shared.h
 *		What all parts of the result cache share: its locks and its counters.
 */
#ifndef TEX_CACHE_SHARED_H
#define TEX_CACHE_SHARED_H

#include "port/atomics.h"
#include "storage/lwlock.h"

/* Entries are spread over so many locks. */
#define TEX_CACHE_PARTITIONS 64

/* In the order of the columns of cache_stats, whose comments say what each one is. */
typedef enum TexCounter
{
	TEX_CACHE_LOCAL_HITS,
	TEX_CACHE_SHARED_HITS,
	TEX_CACHE_STALE_HITS,
	TEX_CACHE_MISSES,
	TEX_CACHE_WAITS,
	TEX_CACHE_BYPASSES,
	TEX_CACHE_STORES,
	TEX_CACHE_NOT_CURRENT,
	TEX_CACHE_TOO_LARGE,
	TEX_CACHE_NO_SPACE,
	TEX_CACHE_EVICTIONS,
	TEX_CACHE_INVALIDATIONS,
	TEX_CACHE_REFRESHES,
	TEX_CACHE_FAILURES,
	TEX_CACHE_REFUSED_OPEN,
	TEX_CACHE_SAVED_US,
	TEX_CACHE_COUNTERS
} TexCounter;

/* Each process counts in one of so many places, as two that count in one contend for it. */
#define TEX_COUNTER_PLACES 32

typedef union TexCounterPlace
{
	pg_atomic_uint64 counters[TEX_CACHE_COUNTERS];
	char		lines[TYPEALIGN(PG_CACHE_LINE_SIZE, TEX_CACHE_COUNTERS * sizeof(pg_atomic_uint64))];
} TexCounterPlace;

typedef struct TexCacheShared
{
	int			tranche;		/* set when the server starts */
	LWLockPadded tracking;		/* which relation is in which slot (relations.c) */
	LWLockPadded partitions[TEX_CACHE_PARTITIONS];	/* the table of entries (entries.c) */
	TexCounterPlace places[TEX_COUNTER_PLACES]; /* without a lock */
} TexCacheShared;

/* NULL where the library is not preloaded: then there is no cache. */
extern TexCacheShared *tex_cache_shared;

#define TEX_TRACKING_LOCK (&tex_cache_shared->tracking.lock)
#define TEX_PARTITION_LOCK(n) (&tex_cache_shared->partitions[(n) % TEX_CACHE_PARTITIONS].lock)

/* Is there a cache at all? */
static inline bool
tex_cache_is_there(void)
{
	return tex_cache_shared != NULL;
}

extern Size tex_cache_shared_shmem_size(void);
extern void tex_cache_shared_shmem_attach(void);

extern void tex_cache_count(TexCounter counter, uint64 by);
extern uint64 tex_cache_counted(TexCounter counter);
extern void tex_cache_counters_reset(void);

#endif							/* TEX_CACHE_SHARED_H */
