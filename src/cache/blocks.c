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
	/* Under "mutex": */
	uint32		free;			/* number of blocks in the list of free ones */
	uint32		first_free;
	/* The link of each block: under "mutex" if it is free, else it belongs to its chain. */
	uint32		next[FLEXIBLE_ARRAY_MEMBER];
} Blocks;

static Blocks *blocks;
static char *memory;

#define LINKS_SIZE MAXALIGN(add_size(offsetof(Blocks, next), mul_size(tex_blocks_total(), sizeof(uint32))))
#define BLOCK(block) (memory + (Size) (block) * TEX_BLOCK_SIZE)

/* How many there are, free or not. */
uint32
tex_blocks_total(void)
{
	return (uint32) ((Size) tex_cache_size * 1024 / (TEX_BLOCK_SIZE + TEX_BLOCK_OVERHEAD));
}

/* Bytes of shared memory. */
Size
tex_blocks_shmem_size(void)
{
	return add_size(LINKS_SIZE, mul_size(tex_blocks_total(), TEX_BLOCK_SIZE));
}

/* Attaches to it, with AddinShmemInitLock held; the first process sets it up. */
void
tex_blocks_shmem_attach(void)
{
	bool		found;
	uint32		total = tex_blocks_total();

	blocks = ShmemInitStruct("trace_ext cache blocks", tex_blocks_shmem_size(), &found);
	memory = (char *) blocks + LINKS_SIZE;
	if (found)
		return;
	SpinLockInit(&blocks->mutex);
	blocks->free = total;
	blocks->first_free = total > 0 ? 0 : TEX_NO_BLOCK;
	for (uint32 i = 0; i < total; i++)
		blocks->next[i] = i + 1 < total ? i + 1 : TEX_NO_BLOCK;
}

/* How many are free. */
uint32
tex_blocks_free(void)
{
	uint32		n;

	SpinLockAcquire(&blocks->mutex);
	n = blocks->free;
	SpinLockRelease(&blocks->mutex);
	return n;
}

/* Blocks that are taken while the mutex is held once. */
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
 * Takes a chain of blocks for so many bytes, and returns the first; TEX_NO_BLOCK where
 * there are not that many.  The chain belongs to the caller until it is given back.
 */
uint32
tex_blocks_take(Size bytes)
{
	uint32		first = TEX_NO_BLOCK;

	for (Size n = (bytes + TEX_BLOCK_SIZE - 1) / TEX_BLOCK_SIZE; n > 0;)
	{
		uint32		taken = take_some(&first, (uint32) Min(n, TAKE_AT_ONCE));

		if (taken == 0)
		{
			tex_blocks_give(first);
			return TEX_NO_BLOCK;
		}
		n -= taken;
	}
	return first;
}

/* Gives a chain back, which may be none. */
void
tex_blocks_give(uint32 first)
{
	uint32		last = first;
	uint32		n = 1;

	if (first == TEX_NO_BLOCK)
		return;
	for (; blocks->next[last] != TEX_NO_BLOCK; last = blocks->next[last])
		n++;
	SpinLockAcquire(&blocks->mutex);
	blocks->next[last] = blocks->first_free;
	blocks->first_free = first;
	blocks->free += n;
	SpinLockRelease(&blocks->mutex);
}

/* Writes to a chain, which is long enough, from its beginning. */
void
tex_blocks_write(uint32 first, const char *from, Size bytes)
{
	for (uint32 block = first; bytes > 0; block = blocks->next[block])
	{
		Size		n = Min(bytes, TEX_BLOCK_SIZE);

		memcpy(BLOCK(block), from, n);
		from += n;
		bytes -= n;
	}
}

/* Reads "bytes" bytes of a chain, from "offset" on; it has that many. */
void
tex_blocks_read(uint32 first, Size offset, char *to, Size bytes)
{
	uint32		block = first;

	for (; offset >= TEX_BLOCK_SIZE; offset -= TEX_BLOCK_SIZE)
		block = blocks->next[block];
	for (; bytes > 0; block = blocks->next[block])
	{
		Size		n = Min(bytes, TEX_BLOCK_SIZE - offset);

		memcpy(to, BLOCK(block) + offset, n);
		to += n;
		bytes -= n;
		offset = 0;
	}
}
