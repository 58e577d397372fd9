/*
 * locks.c
 *		The lightweight locks of the result cache.
 *
 * Nobody holds two of them at once.
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "cache/locks.h"

TexCacheLocks *tex_cache_locks;

Size
tex_cache_locks_shmem_size(void)
{
	return sizeof(TexCacheLocks);
}

void
tex_cache_locks_shmem_attach(void)
{
	bool		found;

	tex_cache_locks = ShmemInitStruct("trace_ext cache locks", sizeof(TexCacheLocks), &found);
	if (!found)
	{
		tex_cache_locks->tranche = LWLockNewTrancheId();
		LWLockInitialize(TEX_TRACKING_LOCK, tex_cache_locks->tranche);
		for (int i = 0; i < TEX_CACHE_PARTITIONS; i++)
			LWLockInitialize(TEX_PARTITION_LOCK(i), tex_cache_locks->tranche);
	}
	LWLockRegisterTranche(tex_cache_locks->tranche, "trace_ext_cache");
}
