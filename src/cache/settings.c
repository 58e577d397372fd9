/*
 * settings.c
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
#include "fmgr.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"

#include "cache/settings.h"
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

PG_FUNCTION_INFO_V1(tex_settings_key);

#define IS_ONE_OF(name, list) is_one_of(name, list, lengthof(list))

/* Does a pattern of the list match? */
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

/* Adds a text with its end, so that no two lists of texts look the same. */
static void
add_string(StringInfo bytes, const char *value)
{
	if (value)
		appendBinaryStringInfo(bytes, value, strlen(value));
	appendStringInfoChar(bytes, '\0');
}

/* Where the value of a setting is, or that which the server was built with. */
static const void *
value_of(const struct config_generic *setting, bool built_in, Size *size)
{
	const char *text;

#define PLACE(type) (built_in ? (const void *) &((const type *) setting)->boot_val : ((const type *) setting)->variable)
	switch (setting->vartype)
	{
		case PGC_BOOL:
			*size = sizeof(bool);
			return PLACE(struct config_bool);
		case PGC_INT:
			*size = sizeof(int);
			return PLACE(struct config_int);
		case PGC_ENUM:
			*size = sizeof(int);
			return PLACE(struct config_enum);
		case PGC_REAL:
			*size = sizeof(double);
			return PLACE(struct config_real);
		case PGC_STRING:
			break;
	}
	text = *(const char *const *) PLACE(struct config_string);
	*size = text ? strlen(text) + 1 : 0;
	return text;
}

/* Adds a setting by name and value. */
static void
add_setting(StringInfo bytes, const struct config_generic *setting)
{
	Size		size;
	const void *value = value_of(setting, false, &size);

	add_string(bytes, setting->name);
	if (value)
		appendBinaryStringInfo(bytes, value, (int) size);
}

/* 128 bits: nobody looks for two that are the same, as each role has keys of its own. */
void
tex_hash(const char *data, Size size, uint64 *hash)
{
	hash[0] = DatumGetUInt64(hash_any_extended((const unsigned char *) data, (int) size, 1));
	hash[1] = DatumGetUInt64(hash_any_extended((const unsigned char *) data, (int) size, 2));
}

/* Empties a buffer that stays, as each call needs it; makes it where there is none. */
void
tex_buffer_begin(StringInfo buffer)
{
	/* Not for a call with an argument of megabytes. */
	if (buffer->data && buffer->maxlen > 64 * 1024)
	{
		pfree(buffer->data);
		buffer->data = NULL;
	}
	if (buffer->data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(buffer);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(buffer);
}

/* May sessions differ in it, and does this one from where all begin? */
static bool
is_set(const struct config_generic *setting)
{
	Size		size;
	Size		built_in_size;
	const void *value;
	const void *built_in;

	if (setting->source == PGC_S_DEFAULT || setting->context <= PGC_SIGHUP)
		return false;
	value = value_of(setting, false, &size);
	built_in = value_of(setting, true, &built_in_size);
	return size != built_in_size || (size > 0 && memcmp(value, built_in, size) != 0);
}

/* The smallest scope that has the setting. */
static TexSettingsScope
scope_of(const char *name)
{
	if (IS_ONE_OF(name, irrelevant))
		return TEX_SETTINGS_ALL;
	return strchr(name, '.') ? TEX_SETTINGS_EXTENSIONS : TEX_SETTINGS_CORE;
}

/* Hashes what is set, once for each scope. */
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
		tex_hash(bytes.data, bytes.len, hashes->hash[scope]);
	}
	pfree(bytes.data);
}

/*
 * What the settings were when they were hashed: those that anybody has set, and their
 * values.  A setting is known by where it is; but a placeholder, which may be gone since,
 * by its name as well.
 */
typedef struct Seen
{
	const struct config_generic *setting;	/* not to be looked into */
	Size		size;			/* of its value in seen_values */
	Size		name_size;		/* of its name after that, or 0 */
} Seen;

static StringInfoData seen_settings;	/* of Seen */
static int	n_seen = 0;
static StringInfoData seen_values;

static Size
name_size(const struct config_generic *setting)
{
	return (setting->flags & GUC_CUSTOM_PLACEHOLDER) != 0 ? strlen(setting->name) + 1 : 0;
}

/* Are they still the same? */
static bool
is_as_seen(void)
{
	const Seen *seen = (const Seen *) seen_settings.data;
	const char *value_seen = seen_values.data;
	int			i = 0;
	TexSettingsScan scan;
	struct config_generic *setting;

	tex_settings_begin(&scan);
	while ((setting = tex_settings_next(&scan)) != NULL)
	{
		Size		size;
		const void *value;

		if (setting->source == PGC_S_DEFAULT)
			continue;
		value = value_of(setting, false, &size);
		if (i == n_seen || seen[i].setting != setting || seen[i].size != size ||
			(size > 0 && memcmp(value, value_seen, size) != 0))
			return false;
		value_seen += size;
		if (seen[i].name_size != name_size(setting) ||
			(seen[i].name_size > 0 && memcmp(setting->name, value_seen, seen[i].name_size) != 0))
			return false;
		value_seen += seen[i].name_size;
		i++;
	}
	return i == n_seen;
}

/* Takes them down. */
static void
see(void)
{
	TexSettingsScan scan;
	struct config_generic *setting;

	/* Who runs out of memory here has seen none. */
	n_seen = 0;
	tex_buffer_begin(&seen_settings);
	tex_buffer_begin(&seen_values);
	tex_settings_begin(&scan);
	while ((setting = tex_settings_next(&scan)) != NULL)
	{
		Seen		seen = {.setting = setting,.name_size = name_size(setting)};
		const void *value;

		if (setting->source == PGC_S_DEFAULT)
			continue;
		value = value_of(setting, false, &seen.size);
		if (value)
			appendBinaryStringInfo(&seen_values, value, (int) seen.size);
		appendBinaryStringInfo(&seen_values, setting->name, (int) seen.name_size);
		appendBinaryStringInfo(&seen_settings, (const char *) &seen, sizeof(Seen));
	}
	n_seen = seen_settings.len / (int) sizeof(Seen);
}

/*
 * The settings as they are.  They are mostly the same as last time: then nothing is
 * hashed.  The result is good until the next call.
 */
const TexSettings *
tex_settings_now(void)
{
	static TexSettings hashes;

	if (n_seen == 0 || !is_as_seen())
	{
		n_seen = 0;
		hash_settings(&hashes);
		see();
	}
	return &hashes;
}

/*
 * settings_key() returns bigint
 *
 * Two sessions that have all settings alike have the same, whatever else they are.
 */
Datum
tex_settings_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) tex_settings_now()->hash[TEX_SETTINGS_ALL][0]);
}

/* Can it be written down, and set in another process? */
static bool
is_portable(const struct config_generic *setting)
{
	return is_set(setting) && setting->context >= PGC_SUSET &&
		!IS_ONE_OF(setting->name, of_process);
}

/* A value as it is written in SET. */
static const char *
text_of(const struct config_generic *setting, bool built_in)
{
	Size		size;
	const void *value = value_of(setting, built_in, &size);

	switch (setting->vartype)
	{
		case PGC_BOOL:
			return *(const bool *) value ? "on" : "off";
		case PGC_INT:
			return psprintf("%d", *(const int *) value);
		case PGC_ENUM:
			return config_enum_lookup_by_value((struct config_enum *) setting,
											   *(const int *) value);
		case PGC_REAL:
			return psprintf("%.17g", *(const double *) value);
		case PGC_STRING:
			break;
	}
	return value;
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
		add_string(recipe, text_of(setting, false));
	}
	appendStringInfoChar(recipe, '\0');
}

/* Refusal is an error at that level; 0 stands for ERROR. */
static void
set(const char *name, const char *value, int level)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, level, false);
}

/* What is set here and was not there; not while the list of what is set is walked. */
static void
set_built_in(void)
{
	List	   *others = NIL;
	ListCell   *cell;
	TexSettingsScan scan;
	struct config_generic *setting;

	tex_settings_begin(&scan);
	while ((setting = tex_settings_next(&scan)) != NULL)
	{
		if (is_portable(setting))
			others = lappend(others, setting);
	}
	foreach(cell, others)
		set(((struct config_generic *) lfirst(cell))->name, text_of(lfirst(cell), true), DEBUG3);
}

/*
 * Sets what was written down, and nothing else, until the nest level of settings ends
 * that the caller began.  Returns where the recipe goes on.  Fails where the current role
 * may not set one of them, or its value is none any more.
 */
const char *
tex_settings_apply(const char *recipe, const char *end)
{
	set_built_in();
	while (recipe < end && *recipe)
	{
		const char *name = recipe;
		const char *value = name + strlen(name) + 1;

		recipe = value + strlen(value) + 1;
		set(name, value, 0);
	}
	return recipe + 1;
}
