/*
 * cached.h
 *		Answers a query from the cache, or else by computing it.
 */
#ifndef TEX_CACHED_H
#define TEX_CACHED_H

#include "cache_call.h"

extern void tex_cached_answer(TexCall *call);

#endif							/* TEX_CACHED_H */
