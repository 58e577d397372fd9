/*
 * distributed.h
 *		Refuses to write to events where Citus has distributed it.
 */
#ifndef TEX_DISTRIBUTED_H
#define TEX_DISTRIBUTED_H

extern void tex_refuse_distributed(void);

#endif							/* TEX_DISTRIBUTED_H */
