/*
 * local.h
 *		The results that a session keeps a copy of.
 */
#ifndef TEX_CACHE_LOCAL_H
#define TEX_CACHE_LOCAL_H

#include "cache/entries.h"

extern bool tex_local_find(const TexCacheKey *key, TexEntryInfo **info, char **bytes);
extern void tex_local_keep(const TexEntryInfo *info, const char *bytes);
extern void tex_local_drop(const TexCacheKey *key);

#endif							/* TEX_CACHE_LOCAL_H */
