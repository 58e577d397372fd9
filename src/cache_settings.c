/*
 * cache_settings.c
 *		The settings of a session, as part of what its results are known by.
 *
 * Which of them change a result nobody can say: pg_trgm.similarity_threshold does, and
 * gin_fuzzy_search_limit.  So all are in the key that are not what every session begins
 * with.  Where all that is called is known, those are left out of which a list says that
 * they are about how a query is logged or sent, not about what it returns; and where it
 * also came with PostgreSQL, those of extensions, which it does not know of.
 *
 * They are looked at for each hit, so their values are read where they are, and hashed
 * only when one of them has changed.
 */
#include "postgres.h"

#include <fnmatch.h>

#include "common/hashfn.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"

#include "cache_settings.h"
#include "compat.h"

/*
 * In no key, and left alone by tex_settings_apply(): the role, which has a place of its
 * own, and what concerns the process or the transaction.
 */
static const char *const of_process[] = {
	"role", "session_authorization", "seed", "*_timeout", "*transaction_isolation",
	"*transaction_read_only", "*transaction_deferrable", "client_connection_check_interval", "tcp_*"
};

/* In no key where all that is called is known. */
static const char *const irrelevant[] = {
	"application_name",			/* who asks */
	"trace_ext.cache_*", "trace_ext.fold_threshold", "trace_ext.max_field_size",
	"client_encoding",			/* what rows are translated to when they are sent */
	"client_min_messages", "lc_messages", "log_*", "auto_explain.*",	/* what is told, where */
	"track_*", "pg_stat_statements.*",	/* what is counted */
	"work_mem", "maintenance_work_mem", "temp_buffers",	/* how much memory it may take */
	"synchronous_commit", "commit_*"	/* how safe commits are */
};

#define IS_ONE_OF(name, list) is_one_of(name, list, lengthof(list))

static bool
is_one_of(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		if (fnmatch(list[i], name, 0) == 0)
			return true;
	}
	return false;
}

static void
add_string(StringInfo bytes, const char *value)
{
	if (value)
		appendBinaryStringInfo(bytes, value, strlen(value));
	appendStringInfoChar(bytes, '\0');
}

static void
add_setting(StringInfo bytes, struct config_generic *setting)
{
	add_string(bytes, setting->name);
	switch (setting->vartype)
	{
		case PGC_BOOL:
			appendStringInfoChar(bytes, *((struct config_bool *) setting)->variable);
			break;
		case PGC_INT:
			appendBinaryStringInfo(bytes, (char *) ((struct config_int *) setting)->variable,
								   sizeof(int));
			break;
		case PGC_ENUM:
			appendBinaryStringInfo(bytes, (char *) ((struct config_enum *) setting)->variable,
								   sizeof(int));
			break;
		case PGC_REAL:
			appendBinaryStringInfo(bytes, (char *) ((struct config_real *) setting)->variable,
								   sizeof(double));
			break;
		case PGC_STRING:
			add_string(bytes, *((struct config_string *) setting)->variable);
			break;
	}
}

void
tex_hash_bytes(const StringInfoData *bytes, uint64 *hash)
{
	const unsigned char *data = (const unsigned char *) bytes->data;

	hash[0] = DatumGetUInt64(hash_any_extended(data, bytes->len, 1));
	hash[1] = DatumGetUInt64(hash_any_extended(data, bytes->len, 2));
}

/* May sessions differ in it, and does this one from where all begin? */
static bool
is_set(const struct config_generic *setting)
{
	return setting->source != PGC_S_DEFAULT && setting->context > PGC_SIGHUP;
}

/* The smallest scope that has the setting. */
static TexSettingsScope
scope_of(const char *name)
{
	if (IS_ONE_OF(name, irrelevant))
		return TEX_SETTINGS_ALL;
	return strchr(name, '.') ? TEX_SETTINGS_EXTENSIONS : TEX_SETTINGS_CORE;
}

static void
hash_settings(TexSettings *hashes)
{
	StringInfoData bytes;
	TexSettingsScan scan;
	struct config_generic *setting;

	initStringInfo(&bytes);
	for (TexSettingsScope scope = 0; scope < TEX_SETTINGS_SCOPES; scope++)
	{
		resetStringInfo(&bytes);
		tex_settings_begin(&scan);
		while ((setting = tex_settings_next(&scan)) != NULL)
		{
			if (is_set(setting) && !IS_ONE_OF(setting->name, of_process) &&
				scope_of(setting->name) <= scope)
				add_setting(&bytes, setting);
		}
		tex_hash_bytes(&bytes, hashes->hash[scope]);
	}
	pfree(bytes.data);
}

static void
begin(StringInfo bytes)
{
	if (bytes->data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(bytes);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(bytes);
}

/*
 * The settings as they are.  They are mostly the same as last time.
 */
const TexSettings *
tex_settings_now(void)
{
	static StringInfoData last;
	static StringInfoData now;
	static TexSettings hashes;
	TexSettingsScan scan;
	struct config_generic *setting;

	begin(&now);
	tex_settings_begin(&scan);
	while ((setting = tex_settings_next(&scan)) != NULL)
	{
		if (is_set(setting))
			add_setting(&now, setting);
	}
	if (last.data == NULL || now.len != last.len || memcmp(now.data, last.data, now.len) != 0)
	{
		begin(&last);
		hash_settings(&hashes);
		appendBinaryStringInfo(&last, now.data, now.len);
	}
	return &hashes;
}

/* Can it be written down, and set in another process? */
static bool
is_portable(const struct config_generic *setting)
{
	return is_set(setting) && setting->context >= PGC_SUSET &&
		!IS_ONE_OF(setting->name, of_process);
}

/*
 * Writes down the settings for tex_settings_apply(): names and values, each ended by a
 * zero byte, and an empty name.
 */
void
tex_settings_write(StringInfo recipe)
{
	TexSettingsScan scan;
	struct config_generic *setting;

	tex_settings_begin(&scan);
	while ((setting = tex_settings_next(&scan)) != NULL)
	{
		if (!is_portable(setting))
			continue;
		add_string(recipe, setting->name);
		if (setting->vartype == PGC_REAL)
			add_string(recipe, psprintf("%.17g", *((struct config_real *) setting)->variable));
		else
			add_string(recipe, GetConfigOption(setting->name, true, false));
	}
	appendStringInfoChar(recipe, '\0');
}

static void
set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* What is set here and was not there; not while the list of what is set is walked. */
static void
reset_others(void)
{
	List	   *names = NIL;
	ListCell   *cell;
	TexSettingsScan scan;
	struct config_generic *setting;

	tex_settings_begin(&scan);
	while ((setting = tex_settings_next(&scan)) != NULL)
	{
		if (is_portable(setting))
			names = lappend(names, pstrdup(setting->name));
	}
	foreach(cell, names)
		set(lfirst(cell), NULL);
}

/*
 * Sets what was written down, and nothing else, until the nest level of settings ends
 * that the caller began.
 */
const char *
tex_settings_apply(const char *recipe, const char *end)
{
	reset_others();
	while (recipe < end && *recipe)
	{
		const char *name = recipe;
		const char *value = name + strlen(name) + 1;

		recipe = value + strlen(value) + 1;
		set(name, value);
	}
	return recipe + 1;
}
