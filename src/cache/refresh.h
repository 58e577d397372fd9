/*
 * refresh.h
 *		Results that are computed anew for callers that did not wait for it.
 */
#ifndef TEX_CACHE_REFRESH_H
#define TEX_CACHE_REFRESH_H

#include "cache/entries.h"

extern bool tex_refresh_ask(const TexEntryInfo *info);

#endif							/* TEX_CACHE_REFRESH_H */
