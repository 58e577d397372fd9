/*
 * compute.h
 *		Computes a result, and stores it where it is right for others too.
 */
#ifndef TEX_CACHE_COMPUTE_H
#define TEX_CACHE_COMPUTE_H

#include "cache/call.h"

extern void tex_compute(TexCall *call);
extern void tex_compute_and_store(TexCall *call);
extern void tex_rows_put(TupleDesc desc, Tuplestorestate *store, const char *bytes, uint32 n);

#endif							/* TEX_CACHE_COMPUTE_H */
