/*
 * blocks.h
 *		The memory of the result cache: blocks of one size.
 */
#ifndef TEX_CACHE_BLOCKS_H
#define TEX_CACHE_BLOCKS_H

#define TEX_BLOCK_SIZE 1024
#define TEX_NO_BLOCK PG_UINT32_MAX

/* What it takes to manage a block: its link, and its share of the entries. */
#define TEX_BLOCK_OVERHEAD 128

extern Size tex_blocks_shmem_size(void);
extern void tex_blocks_shmem_attach(void);

extern uint32 tex_blocks_total(void);
extern uint32 tex_blocks_free(void);

extern uint32 tex_blocks_take(Size bytes);
extern void tex_blocks_give(uint32 first);

extern void tex_blocks_write(uint32 first, const char *from, Size bytes);
extern void tex_blocks_read(uint32 first, Size offset, char *to, Size bytes);

#endif							/* TEX_CACHE_BLOCKS_H */
