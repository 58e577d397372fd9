/*
 * shared.c
 *		What all parts of the result cache share: its locks and its counters.
 *
 * Nobody holds two of the locks at once.
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "cache/shared.h"
#include "compat.h"

TexCacheShared *tex_cache_shared;

/* Bytes of shared memory. */
Size
tex_cache_shared_shmem_size(void)
{
	return sizeof(TexCacheShared);
}

/* Attaches to it, with AddinShmemInitLock held; the first process sets it up. */
void
tex_cache_shared_shmem_attach(void)
{
	bool		found;

	tex_cache_shared = ShmemInitStruct("trace_ext cache", sizeof(TexCacheShared), &found);
	if (!found)
	{
		tex_cache_shared->tranche = LWLockNewTrancheId();
		LWLockInitialize(TEX_TRACKING_LOCK, tex_cache_shared->tranche);
		for (int i = 0; i < TEX_CACHE_PARTITIONS; i++)
			LWLockInitialize(TEX_PARTITION_LOCK(i), tex_cache_shared->tranche);
		for (int place = 0; place < TEX_COUNTER_PLACES; place++)
		{
			for (int i = 0; i < TEX_CACHE_COUNTERS; i++)
				pg_atomic_init_u64(&tex_cache_shared->places[place].counters[i], 0);
		}
	}
	LWLockRegisterTranche(tex_cache_shared->tranche, "trace_ext_cache");
}

/* Counts; without preload nothing is cached, nor counted. */
void
tex_cache_count(TexCounter counter, uint64 by)
{
	if (tex_cache_is_there())
		pg_atomic_fetch_add_u64(&tex_cache_shared->places[tex_my_proc_number() % TEX_COUNTER_PLACES].counters[counter], by);
}

/* What all processes counted since the server started or cache_reset(); there is a cache. */
uint64
tex_cache_counted(TexCounter counter)
{
	uint64		sum = 0;

	for (int place = 0; place < TEX_COUNTER_PLACES; place++)
		sum += pg_atomic_read_u64(&tex_cache_shared->places[place].counters[counter]);
	return sum;
}

/* Sets all to 0; what is counted meanwhile may be lost. */
void
tex_cache_counters_reset(void)
{
	for (int place = 0; place < TEX_COUNTER_PLACES; place++)
	{
		for (int i = 0; i < TEX_CACHE_COUNTERS; i++)
			pg_atomic_write_u64(&tex_cache_shared->places[place].counters[i], 0);
	}
}
