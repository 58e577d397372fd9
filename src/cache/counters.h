/*
 * counters.h
 *		What the result cache counts.
 */
#ifndef TEX_CACHE_COUNTERS_H
#define TEX_CACHE_COUNTERS_H

#include "port/atomics.h"

/* In the order of the columns of cache_stats. */
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

extern Size tex_cache_counters_shmem_size(void);
extern void tex_cache_counters_shmem_attach(void);

extern void tex_cache_count(TexCounter counter, uint64 by);
extern uint64 tex_cache_counted(TexCounter counter);
extern void tex_cache_counters_reset(void);

#endif							/* TEX_CACHE_COUNTERS_H */
