/*
 * counters.c
 *		What the result cache counts, since the server started or cache_reset().
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "cache/counters.h"
#include "compat.h"

/* Each process counts in one of so many places, as two that count in one contend for it. */
#define PLACES 32

typedef union Place
{
	pg_atomic_uint64 counters[TEX_CACHE_COUNTERS];
	char		lines[TYPEALIGN(PG_CACHE_LINE_SIZE,
								TEX_CACHE_COUNTERS * sizeof(pg_atomic_uint64))];
} Place;

static Place *places;

Size
tex_cache_counters_shmem_size(void)
{
	return sizeof(Place) * PLACES;
}

void
tex_cache_counters_shmem_attach(void)
{
	bool		found;

	places = ShmemInitStruct("trace_ext cache counters", tex_cache_counters_shmem_size(), &found);
	if (found)
		return;
	for (int place = 0; place < PLACES; place++)
	{
		for (int i = 0; i < TEX_CACHE_COUNTERS; i++)
			pg_atomic_init_u64(&places[place].counters[i], 0);
	}
}

void
tex_cache_count(TexCounter counter, uint64 by)
{
	/* Without preload nothing is cached, nor counted. */
	if (places)
		pg_atomic_fetch_add_u64(&places[tex_my_proc_number() % PLACES].counters[counter], by);
}

uint64
tex_cache_counted(TexCounter counter)
{
	uint64		sum = 0;

	for (int place = 0; place < PLACES; place++)
		sum += pg_atomic_read_u64(&places[place].counters[counter]);
	return sum;
}

void
tex_cache_counters_reset(void)
{
	for (int place = 0; place < PLACES; place++)
	{
		for (int i = 0; i < TEX_CACHE_COUNTERS; i++)
			pg_atomic_write_u64(&places[place].counters[i], 0);
	}
}
