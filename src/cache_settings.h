/*
 * cache_settings.h
 *		The settings that can change what a query returns.
 */
#ifndef TEX_CACHE_SETTINGS_H
#define TEX_CACHE_SETTINGS_H

#include "lib/stringinfo.h"

extern void tex_settings_add(StringInfo key);
extern void tex_settings_add_all(StringInfo key);
extern void tex_settings_write(StringInfo recipe);
extern const char *tex_settings_apply(const char *recipe, const char *end);

#endif							/* TEX_CACHE_SETTINGS_H */
