/*
 * cache_settings.c
 *		The settings that can change what a query returns.
 *
 * They are part of the key of a cached result, so they are read often, and
 * directly: to ask for twenty settings by name takes longer than all else that is
 * done for a hit.  A query that calls current_setting() depends on any of them,
 * and has all in its key.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "parser/parse_expr.h"
#include "parser/parser.h"
#include "pgtime.h"
#include "tsearch/ts_cache.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/rls.h"
#include "utils/xml.h"

#include "cache_settings.h"
#include "compat.h"
#include "guc.h"

typedef enum Kind
{
	IS_BOOL,
	IS_INT,
	IS_STRING,
	IS_ZONE,
	IS_PRIVATE					/* a string that only the setting itself leads to */
} Kind;

static const struct
{
	const char *name;
	Kind		kind;
	void	   *value;
} settings[] = {
	{"search_path", IS_STRING, &namespace_search_path},
	{"row_security", IS_BOOL, &row_security},
	{"TimeZone", IS_ZONE, &session_timezone},
	{"timezone_abbreviations", IS_PRIVATE, NULL},
	{"DateStyle", IS_INT, &DateStyle},
	{"DateStyle", IS_INT, &DateOrder},
	{"IntervalStyle", IS_INT, &IntervalStyle},
	{"extra_float_digits", IS_INT, &extra_float_digits},
	{"bytea_output", IS_INT, &bytea_output},
	{"xmlbinary", IS_INT, &xmlbinary},
	{"xmloption", IS_INT, &xmloption},
	{"lc_monetary", IS_PRIVATE, NULL},
	{"lc_numeric", IS_PRIVATE, NULL},
	{"lc_time", IS_PRIVATE, NULL},
	{"default_text_search_config", IS_STRING, &TSCurrentConfig},
	{"array_nulls", IS_BOOL, &Array_nulls},
	{"quote_all_identifiers", IS_BOOL, &quote_all_identifiers},
	{"transform_null_equals", IS_BOOL, &Transform_null_equals},
	{"standard_conforming_strings", IS_BOOL, &standard_conforming_strings},
	{"trace_ext.thread_kind", IS_INT, &tex_thread_kind},
	{"trace_ext.variable_scope", IS_INT, &tex_variable_scope},
	{"trace_ext.clock_skew", IS_INT, &tex_clock_skew},
	{"trace_ext.lateness", IS_INT, &tex_lateness},
	{"trace_ext.horizon", IS_INT, &tex_horizon},
	{"trace_ext.global_locks", IS_STRING, &tex_global_locks},
	{"trace_ext.potential_races", IS_BOOL, &tex_potential_races}
};

static void
add_string(StringInfo key, const char *value)
{
	if (value)
		appendBinaryStringInfo(key, value, strlen(value));
	appendStringInfoChar(key, '\0');
}

/* The settings whose variables are private.  Those of PostgreSQL do not move. */
static struct config_string *private_settings[lengthof(settings)];

static void
find_private_settings(void)
{
	int			n;
	struct config_generic **all = tex_all_settings(&n);

	for (int i = 0; i < n; i++)
	{
		for (size_t j = 0; j < lengthof(settings); j++)
		{
			if (settings[j].kind == IS_PRIVATE && strcmp(all[i]->name, settings[j].name) == 0)
				private_settings[j] = (struct config_string *) all[i];
		}
	}
}

static const char *
private_value(size_t i)
{
	if (private_settings[i] == NULL)
		find_private_settings();
	return *private_settings[i]->variable;
}

/*
 * Adds the values of all settings that change what queries return.
 */
void
tex_settings_add(StringInfo key)
{
	for (size_t i = 0; i < lengthof(settings); i++)
	{
		switch (settings[i].kind)
		{
			case IS_BOOL:
				appendBinaryStringInfo(key, settings[i].value, sizeof(bool));
				break;
			case IS_INT:
				appendBinaryStringInfo(key, settings[i].value, sizeof(int));
				break;
			case IS_STRING:
				add_string(key, *(char **) settings[i].value);
				break;
			case IS_ZONE:
				add_string(key, pg_get_timezone_name(*(pg_tz **) settings[i].value));
				break;
			case IS_PRIVATE:
				add_string(key, private_value(i));
				break;
		}
	}
}

/*
 * Adds the values of all settings that there are, and who the session belongs to.
 */
void
tex_settings_add_all(StringInfo key)
{
	int			n;
	struct config_generic **all = tex_all_settings(&n);
	Oid			session_user_id = GetSessionUserId();

	for (int i = 0; i < n; i++)
	{
		add_string(key, all[i]->name);
		if (!(all[i]->flags & GUC_NO_SHOW_ALL) || (all[i]->flags & GUC_CUSTOM_PLACEHOLDER))
			add_string(key, GetConfigOption(all[i]->name, true, false));
	}
	appendBinaryStringInfo(key, (char *) &session_user_id, sizeof(Oid));
}

/*
 * Writes down the settings that change what queries return, for
 * tex_settings_apply(): names and values, each ended by a zero byte.
 */
void
tex_settings_write(StringInfo recipe)
{
	for (size_t i = 0; i < lengthof(settings); i++)
	{
		add_string(recipe, settings[i].name);
		add_string(recipe, GetConfigOption(settings[i].name, true, false));
	}
}

/*
 * Sets what was written down, until the nest level of settings ends that the
 * caller began.
 */
const char *
tex_settings_apply(const char *recipe, const char *end)
{
	for (size_t i = 0; i < lengthof(settings) && recipe < end; i++)
	{
		const char *name = recipe;
		const char *value = name + strlen(name) + 1;

		recipe = value + strlen(value) + 1;
		(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	}
	return recipe;
}
