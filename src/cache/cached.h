/*
 * cached.h
 *		Answers a call of cached(): from the cache, or else by computing.
 */
#ifndef TEX_CACHE_CACHED_H
#define TEX_CACHE_CACHED_H

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "cache/call.h"

extern int64 tex_cached_ttl(const Interval *span);
extern void tex_cached_begin_rows(FunctionCallInfo fcinfo, TexCall *call);
extern bool tex_cached_answer(TexCall *call, bool may_compute);

#endif							/* TEX_CACHE_CACHED_H */
