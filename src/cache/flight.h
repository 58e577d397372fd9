/*
 * flight.h
 *		One computation of a result at a time.
 */
#ifndef TEX_CACHE_FLIGHT_H
#define TEX_CACHE_FLIGHT_H

#include "cache/entries.h"

extern bool tex_flight_begin(const TexCacheKey *key);
extern void tex_flight_end(const TexCacheKey *key);
extern void tex_flight_wait(const TexCacheKey *key);
extern void tex_flight_take(const TexCacheKey *key);

#endif							/* TEX_CACHE_FLIGHT_H */
