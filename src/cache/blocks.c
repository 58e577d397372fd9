/*
 * blocks.c
 *		The memory of the result cache: blocks of one size, in chains.
 *
 * What an entry holds is cut into blocks of 1 kB that need not be neighbours.  So
 * any free block serves any entry, and no churn can leave free memory that is of
 * no use; what is lost is half a block an entry.  The price is a copy, which an
 * entry that others may evict needs anyway.
 *
 * All blocks are there from the start, and what it takes to manage them is part of
 * the size that was set: it is never exceeded.
 *
 * Locks: the list of free blocks, and the links of free blocks, are protected by
 * "mutex".  The blocks of a chain belong to whoever took them, until they are in
 * an entry; from then on the lock of the entry protects them.
 */
#include "postgres.h"

#include "storage/shmem.h"
#include "storage/spin.h"

#include "cache/blocks.h"
#include "guc.h"

typedef struct Blocks
{
	slock_t		mutex;
	uint32		total;
	uint32		free;			/* number of blocks in the list of free ones */
	uint32		first_free;
	uint32		next[FLEXIBLE_ARRAY_MEMBER];	/* of each block, in its chain */
} Blocks;

static Blocks *blocks;
static char *memory;

uint32
tex_blocks_total(void)
{
	return (uint32) ((Size) tex_cache_size * 1024 / (TEX_BLOCK_SIZE + TEX_BLOCK_OVERHEAD));
}

static Size
links_size(void)
{
	return MAXALIGN(add_size(offsetof(Blocks, next),
							 mul_size(tex_blocks_total(), sizeof(uint32))));
}

Size
tex_blocks_shmem_size(void)
{
	return add_size(links_size(), mul_size(tex_blocks_total(), TEX_BLOCK_SIZE));
}

void
tex_blocks_shmem_attach(void)
{
	bool		found;

	blocks = ShmemInitStruct("trace_ext cache blocks", tex_blocks_shmem_size(), &found);
	memory = (char *) blocks + links_size();
	if (found)
		return;
	SpinLockInit(&blocks->mutex);
	blocks->total = blocks->free = tex_blocks_total();
	blocks->first_free = blocks->total > 0 ? 0 : TEX_NO_BLOCK;
	for (uint32 i = 0; i < blocks->total; i++)
		blocks->next[i] = i + 1 < blocks->total ? i + 1 : TEX_NO_BLOCK;
}

uint32
tex_blocks_free(void)
{
	uint32		n;

	SpinLockAcquire(&blocks->mutex);
	n = blocks->free;
	SpinLockRelease(&blocks->mutex);
	return n;
}

uint32
tex_blocks_needed(Size bytes)
{
	return (uint32) ((bytes + TEX_BLOCK_SIZE - 1) / TEX_BLOCK_SIZE);
}

/* Blocks that are taken or given while the mutex is held once. */
#define TAKE_AT_ONCE 64

/* Takes up to "n" blocks and puts them before the chain that begins with "first". */
static uint32
take_some(uint32 *first, uint32 n)
{
	uint32		taken = 0;

	SpinLockAcquire(&blocks->mutex);
	while (taken < n && blocks->first_free != TEX_NO_BLOCK)
	{
		uint32		block = blocks->first_free;

		blocks->first_free = blocks->next[block];
		blocks->next[block] = *first;
		*first = block;
		taken++;
	}
	blocks->free -= taken;
	SpinLockRelease(&blocks->mutex);
	return taken;
}

/*
 * Takes a chain of "n" blocks; TEX_NO_BLOCK where there are not that many.
 */
uint32
tex_blocks_take(uint32 n)
{
	uint32		first = TEX_NO_BLOCK;

	while (n > 0)
	{
		uint32		taken = take_some(&first, Min(n, TAKE_AT_ONCE));

		if (taken == 0)
		{
			tex_blocks_give(first);
			return TEX_NO_BLOCK;
		}
		n -= taken;
	}
	return first;
}

/*
 * Gives a chain back.
 */
void
tex_blocks_give(uint32 first)
{
	while (first != TEX_NO_BLOCK)
	{
		SpinLockAcquire(&blocks->mutex);
		for (int i = 0; i < TAKE_AT_ONCE && first != TEX_NO_BLOCK; i++)
		{
			uint32		next = blocks->next[first];

			blocks->next[first] = blocks->first_free;
			blocks->first_free = first;
			blocks->free++;
			first = next;
		}
		SpinLockRelease(&blocks->mutex);
	}
}

static char *
block_memory(uint32 block)
{
	return memory + (Size) block * TEX_BLOCK_SIZE;
}

/*
 * Writes to a chain, which is long enough, from its beginning.
 */
void
tex_blocks_write(uint32 first, const char *from, Size bytes)
{
	for (uint32 block = first; bytes > 0; block = blocks->next[block])
	{
		Size		n = Min(bytes, TEX_BLOCK_SIZE);

		memcpy(block_memory(block), from, n);
		from += n;
		bytes -= n;
	}
}

/*
 * Reads "bytes" bytes of a chain, from "offset" on.
 */
void
tex_blocks_read(uint32 first, Size offset, char *to, Size bytes)
{
	uint32		block = first;

	for (; offset >= TEX_BLOCK_SIZE; offset -= TEX_BLOCK_SIZE)
		block = blocks->next[block];
	while (bytes > 0)
	{
		Size		n = Min(bytes, TEX_BLOCK_SIZE - offset);

		memcpy(to, block_memory(block) + offset, n);
		to += n;
		bytes -= n;
		offset = 0;
		block = blocks->next[block];
	}
}
