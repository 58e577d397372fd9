/*
 * truncate.h
 *		Exact when events or a partition of it is truncated.
 */
#ifndef TEX_TRUNCATE_H
#define TEX_TRUNCATE_H

extern void tex_truncate_init(void);

#endif							/* TEX_TRUNCATE_H */
