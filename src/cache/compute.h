/*
 * compute.h
 *		Computes a result, and keeps it where it is right for others too.
 */
#ifndef TEX_CACHE_COMPUTE_H
#define TEX_CACHE_COMPUTE_H

#include "cache/call.h"

extern void tex_compute(TexCall *call);
extern void tex_compute_and_keep(TexCall *call);

#endif							/* TEX_CACHE_COMPUTE_H */
