/*
 * call_sums.h
 *		Calls of many traces, added up by hour, services and link.
 */
#ifndef TEX_CALL_SUMS_H
#define TEX_CALL_SUMS_H

#include "nodes/execnodes.h"

/* In a memory context of its own. */
typedef struct TexCallSums TexCallSums;

extern TexCallSums *tex_call_sums_create(void);
extern void tex_call_sums_add(TexCallSums *sums, const struct varlena *packed, int sign);
extern void tex_call_sums_put(TexCallSums *sums, ReturnSetInfo *result);

#endif							/* TEX_CALL_SUMS_H */
