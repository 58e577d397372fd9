/*
 * settings.h
 *		The settings of a session, as part of what its results are known by.
 */
#ifndef TEX_CACHE_SETTINGS_H
#define TEX_CACHE_SETTINGS_H

#include "lib/stringinfo.h"

/* Which settings a result may depend on. */
typedef enum TexSettingsScope
{
	TEX_SETTINGS_CORE,			/* those that can change what PostgreSQL returns */
	TEX_SETTINGS_EXTENSIONS,	/* and those of extensions */
	TEX_SETTINGS_ALL,
	TEX_SETTINGS_SCOPES
} TexSettingsScope;

/* Hashes of those that are not what every session begins with. */
typedef struct TexSettings
{
	uint64		hash[TEX_SETTINGS_SCOPES][2];
} TexSettings;

extern const TexSettings *tex_settings_now(void);
extern void tex_settings_write(StringInfo recipe);
extern const char *tex_settings_apply(const char *recipe, const char *end);
extern void tex_hash(const char *data, Size size, uint64 *hash);
extern void tex_buffer_begin(StringInfo buffer);

#endif							/* TEX_CACHE_SETTINGS_H */
