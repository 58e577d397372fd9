/*
 * cache_counters.c
 *		What the result cache counts, since the server started or cache_reset().
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "cache_counters.h"

static pg_atomic_uint64 *counters;

Size
tex_cache_counters_shmem_size(void)
{
	return sizeof(pg_atomic_uint64) * TEX_CACHE_COUNTERS;
}

void
tex_cache_counters_shmem_attach(void)
{
	bool		found;

	counters = ShmemInitStruct("trace_ext cache counters", tex_cache_counters_shmem_size(),
							   &found);
	if (found)
		return;
	for (int i = 0; i < TEX_CACHE_COUNTERS; i++)
		pg_atomic_init_u64(&counters[i], 0);
}

void
tex_cache_count(TexCounter counter, uint64 by)
{
	pg_atomic_fetch_add_u64(&counters[counter], by);
}

uint64
tex_cache_counted(TexCounter counter)
{
	return pg_atomic_read_u64(&counters[counter]);
}

void
tex_cache_counters_reset(void)
{
	for (int i = 0; i < TEX_CACHE_COUNTERS; i++)
		pg_atomic_write_u64(&counters[i], 0);
}
