/*
 * lookup.h
 *		Answers a query from the cache, or else by computing it.
 */
#ifndef TEX_CACHE_LOOKUP_H
#define TEX_CACHE_LOOKUP_H

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "cache/call.h"

extern int64 tex_cached_ttl(const Interval *span);
extern void tex_cached_require_ttl(const TexCall *call);
extern void tex_cached_begin_rows(FunctionCallInfo fcinfo, TexCall *call);
extern void tex_cached_answer(TexCall *call);
extern bool tex_cached_has(TexCall *call);

#endif							/* TEX_CACHE_LOOKUP_H */
