/*
 * shards.h
 *		What a router does beside SQL.
 */
#ifndef TEX_SHARDS_H
#define TEX_SHARDS_H

extern void tex_shards_init(void);

#endif							/* TEX_SHARDS_H */
