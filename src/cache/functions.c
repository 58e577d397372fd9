/*
 * functions.c
 *		What is known of functions and types, as far as results depend on it.
 *
 * A result may stay until a table that was read is written if nothing else can
 * change it.  That is so for a function that is IMMUTABLE: its author promises it, and
 * no less is asked of one in an index.  STABLE only says that it returns the same
 * within one statement: now() is STABLE.  So of the STABLE ones only those are taken
 * that are listed here, each for a reason, or that the caller answers for
 * (trace_ext.cache_trusted_functions).  What is not known is not taken: no source is
 * read, and nothing is guessed.
 *
 * Settings are in the key of every result, so a function may depend on them.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "cache/functions.h"
#include "common/event.h"
#include "guc.h"

/* STABLE because of a setting: TimeZone, DateStyle, lc_time and the like. */
static const Oid by_setting[] = {
	F_DATE_OUT, F_TIMESTAMP_OUT, F_TIMESTAMPTZ_OUT, F_INTERVAL_OUT, F_CASH_OUT,
	F_INTERVAL_IN, F_CASH_IN, F_XML_IN, F_XML, F_XML_IS_WELL_FORMED,
	F_TO_CHAR_TIMESTAMP_TEXT, F_TO_CHAR_TIMESTAMPTZ_TEXT, F_TO_CHAR_INTERVAL_TEXT,
	F_TO_CHAR_INT4_TEXT, F_TO_CHAR_INT8_TEXT, F_TO_CHAR_FLOAT4_TEXT, F_TO_CHAR_FLOAT8_TEXT,
	F_TO_CHAR_NUMERIC_TEXT, F_TO_NUMBER, F_TO_DATE, F_TO_TIMESTAMP_TEXT_TEXT,
	F_MONEY_INT4, F_MONEY_INT8, F_MONEY_NUMERIC, F_NUMERIC_MONEY,
	F_DATE_TIMESTAMPTZ, F_TIME_TIMESTAMPTZ, F_TIMETZ_TIMESTAMPTZ, F_TIMESTAMP_TIMESTAMPTZ,
	F_TIMESTAMPTZ_DATE, F_TIMESTAMPTZ_DATE_TIME, F_TIMESTAMPTZ_TIMESTAMP,
	F_TIMESTAMPTZ_PL_INTERVAL, F_TIMESTAMPTZ_MI_INTERVAL, F_INTERVAL_PL_TIMESTAMPTZ,
	F_DATE_PART_TEXT_TIMESTAMPTZ, F_EXTRACT_TEXT_TIMESTAMPTZ, F_DATE_TRUNC_TEXT_TIMESTAMPTZ,
	F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT,
	F_GENERATE_SERIES_TIMESTAMPTZ_TIMESTAMPTZ_INTERVAL,
	F_IN_RANGE_TIMESTAMPTZ_TIMESTAMPTZ_INTERVAL_BOOL_BOOL,
	F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8,
	F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8_TEXT,
	F_OVERLAPS_TIMESTAMPTZ_INTERVAL_TIMESTAMPTZ_INTERVAL,
	F_OVERLAPS_TIMESTAMPTZ_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ,
	F_OVERLAPS_TIMESTAMPTZ_TIMESTAMPTZ_TIMESTAMPTZ_INTERVAL,
	F_DATE_CMP_TIMESTAMPTZ, F_DATE_EQ_TIMESTAMPTZ, F_DATE_NE_TIMESTAMPTZ, F_DATE_LT_TIMESTAMPTZ,
	F_DATE_LE_TIMESTAMPTZ, F_DATE_GT_TIMESTAMPTZ, F_DATE_GE_TIMESTAMPTZ,
	F_TIMESTAMPTZ_CMP_DATE, F_TIMESTAMPTZ_EQ_DATE, F_TIMESTAMPTZ_NE_DATE, F_TIMESTAMPTZ_LT_DATE,
	F_TIMESTAMPTZ_LE_DATE, F_TIMESTAMPTZ_GT_DATE, F_TIMESTAMPTZ_GE_DATE,
	F_TIMESTAMP_CMP_TIMESTAMPTZ, F_TIMESTAMP_EQ_TIMESTAMPTZ, F_TIMESTAMP_NE_TIMESTAMPTZ,
	F_TIMESTAMP_LT_TIMESTAMPTZ, F_TIMESTAMP_LE_TIMESTAMPTZ, F_TIMESTAMP_GT_TIMESTAMPTZ,
	F_TIMESTAMP_GE_TIMESTAMPTZ,
	F_TIMESTAMPTZ_CMP_TIMESTAMP, F_TIMESTAMPTZ_EQ_TIMESTAMP, F_TIMESTAMPTZ_NE_TIMESTAMP,
	F_TIMESTAMPTZ_LT_TIMESTAMP, F_TIMESTAMPTZ_LE_TIMESTAMP, F_TIMESTAMPTZ_GT_TIMESTAMP,
	F_TIMESTAMPTZ_GE_TIMESTAMP,
#ifdef F_DATE_ADD_TIMESTAMPTZ_INTERVAL
	F_DATE_ADD_TIMESTAMPTZ_INTERVAL, F_DATE_SUBTRACT_TIMESTAMPTZ_INTERVAL,
#endif
};

/* STABLE because of definitions whose every change is noticed (writes.c). */
static const Oid by_definition[] = {
	/* enums: pg_enum */
	F_ENUM_IN, F_ENUM_OUT, F_ENUM_FIRST, F_ENUM_LAST, F_ENUM_RANGE_ANYENUM,
	F_ENUM_RANGE_ANYENUM_ANYENUM,
	/* text search: its catalogs, and default_text_search_config */
	F_TO_TSVECTOR_TEXT, F_TO_TSVECTOR_JSON, F_TO_TSVECTOR_JSONB, F_JSON_TO_TSVECTOR_JSON_JSONB,
	F_JSONB_TO_TSVECTOR_JSONB_JSONB, F_TO_TSQUERY_TEXT, F_PLAINTO_TSQUERY_TEXT,
	F_PHRASETO_TSQUERY_TEXT, F_WEBSEARCH_TO_TSQUERY_TEXT, F_TS_MATCH_TT, F_TS_MATCH_TQ,
	F_TS_HEADLINE_TEXT_TSQUERY, F_TS_HEADLINE_TEXT_TSQUERY_TEXT,
	F_TS_HEADLINE_JSON_TSQUERY, F_TS_HEADLINE_JSON_TSQUERY_TEXT,
	F_TS_HEADLINE_JSONB_TSQUERY, F_TS_HEADLINE_JSONB_TSQUERY_TEXT,
	/* encodings: pg_conversion is never changed */
	F_CONVERT, F_CONVERT_TO, F_CONVERT_FROM, F_LENGTH_BYTEA_NAME,
	/* what the key has: the role and the database; renaming one wipes */
	F_CURRENT_USER, F_GETPGUSERNAME, F_CURRENT_DATABASE, F_GETDATABASEENCODING,
	/* what the tree has: the types of arguments */
	F_PG_TYPEOF
};

/* STABLE because they call the output functions of their arguments' types. */
static const Oid prints[] = {
	F_ARRAY_OUT, F_RECORD_OUT, F_RANGE_OUT, F_MULTIRANGE_OUT, F_ANYARRAY_OUT,
	F_ARRAY_TO_STRING_ANYARRAY_TEXT, F_ARRAY_TO_STRING_ANYARRAY_TEXT_TEXT,
	F_CONCAT, F_CONCAT_WS, F_FORMAT_TEXT, F_FORMAT_TEXT_ANY, F_TEXTANYCAT, F_ANYTEXTCAT,
	F_QUOTE_LITERAL_ANYELEMENT, F_QUOTE_NULLABLE_ANYELEMENT,
	F_TO_JSON, F_TO_JSONB, F_ARRAY_TO_JSON_ANYARRAY, F_ARRAY_TO_JSON_ANYARRAY_BOOL,
	F_ROW_TO_JSON_RECORD, F_ROW_TO_JSON_RECORD_BOOL,
	F_JSON_BUILD_ARRAY_, F_JSON_BUILD_ARRAY_ANY, F_JSON_BUILD_OBJECT_, F_JSON_BUILD_OBJECT_ANY,
	F_JSONB_BUILD_ARRAY_, F_JSONB_BUILD_ARRAY_ANY, F_JSONB_BUILD_OBJECT_, F_JSONB_BUILD_OBJECT_ANY,
	F_JSON_AGG, F_JSONB_AGG, F_JSON_OBJECT_AGG, F_JSONB_OBJECT_AGG,
#ifdef F_JSON_AGG_STRICT
	F_JSON_AGG_STRICT, F_JSONB_AGG_STRICT, F_JSON_OBJECT_AGG_STRICT, F_JSON_OBJECT_AGG_UNIQUE,
	F_JSON_OBJECT_AGG_UNIQUE_STRICT, F_JSONB_OBJECT_AGG_STRICT, F_JSONB_OBJECT_AGG_UNIQUE,
	F_JSONB_OBJECT_AGG_UNIQUE_STRICT,
#endif
};

/* STABLE because they call the input functions of their results' types. */
static const Oid reads[] = {
	F_ARRAY_IN, F_RECORD_IN, F_RANGE_IN, F_MULTIRANGE_IN,
	F_JSON_POPULATE_RECORD, F_JSON_POPULATE_RECORDSET, F_JSON_TO_RECORD, F_JSON_TO_RECORDSET,
	F_JSONB_POPULATE_RECORD, F_JSONB_POPULATE_RECORDSET, F_JSONB_TO_RECORD, F_JSONB_TO_RECORDSET
};

/* Our own that depend on tables and settings alone. */
static const char *const ours[] = {
	"audit_trail", "count_events", "count_races", "count_variable_races", "find_races",
	"find_variable_races", "findings_page", "list_traces", "outstanding_calls", "list_traces_total"
};

/* These need a ttl, but depend on no more than the time and settings. */
static const Oid by_time[] = {
	F_NOW, F_TRANSACTION_TIMESTAMP, F_STATEMENT_TIMESTAMP, F_AGE_TIMESTAMP, F_AGE_TIMESTAMPTZ,
	F_TIMETZ_TIME, F_TIMEZONE_TEXT_TIMETZ, F_DATE_IN, F_TIME_IN, F_TIMETZ_IN, F_TIMESTAMP_IN,
	F_TIMESTAMPTZ_IN
};

/* What differs between sessions of one role with the same settings. */
static const Oid of_session[] = {
	F_CURRENT_SCHEMA, F_CURRENT_SCHEMAS, F_PG_BACKEND_PID, F_PG_MY_TEMP_SCHEMA,
	F_PG_IS_OTHER_TEMP_SCHEMA, F_INET_CLIENT_ADDR,
	F_INET_CLIENT_PORT, F_INET_SERVER_ADDR, F_INET_SERVER_PORT, F_PG_LISTENING_CHANNELS,
	F_PG_CURSOR, F_PG_PREPARED_STATEMENT, F_PG_TRIGGER_DEPTH, F_PG_CURRENT_XACT_ID,
	F_PG_CURRENT_XACT_ID_IF_ASSIGNED, F_TXID_CURRENT, F_TXID_CURRENT_IF_ASSIGNED
};

#define IS_ONE_OF(oid, list) is_one_of(oid, list, lengthof(list))

/* Is it in that list? */
static bool
is_one_of(Oid oid, const Oid *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		if (list[i] == oid)
			return true;
	}
	return false;
}

/* What may be expected of a STABLE function of PostgreSQL: it is in one list at most. */
static TexTrust
trust_in_builtin(Oid function)
{
	if (IS_ONE_OF(function, by_setting) || IS_ONE_OF(function, by_definition))
		return TEX_KNOWN;
	if (IS_ONE_OF(function, prints))
		return TEX_PRINTS;
	if (IS_ONE_OF(function, reads))
		return TEX_READS;
	if (IS_ONE_OF(function, by_time))
		return TEX_TIMED;
	return IS_ONE_OF(function, of_session) ? TEX_OF_SESSION : TEX_UNKNOWN;
}

/* Is it one of our own that depend on tables and settings alone? */
static bool
is_ours(Form_pg_proc proc)
{
	if (proc->pronamespace != tex_schema_oid() &&
		proc->pronamespace != get_namespace_oid("trace_ext_internal", true))
		return false;
	for (size_t i = 0; i < lengthof(ours); i++)
	{
		if (strcmp(NameStr(proc->proname), ours[i]) == 0)
			return true;
	}
	return false;
}

/* Does the caller answer for it: by its name, or by "schema.*"? */
static bool
is_trusted(Form_pg_proc proc)
{
	const char *schema = get_namespace_name(proc->pronamespace);
	List	   *names;
	ListCell   *cell;

	if (schema == NULL || !SplitGUCList(pstrdup(tex_cache_trusted_functions), ',', &names))
		return false;
	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), psprintf("%s.%s", schema, NameStr(proc->proname))) == 0 ||
			strcmp(lfirst(cell), psprintf("%s.*", schema)) == 0)
			return true;
	}
	return false;
}

/*
 * What may be expected of a function, given its row of pg_proc.  An aggregate that
 * does not come with PostgreSQL is only as good as the functions it consists of.
 */
TexTrust
tex_function_trust(HeapTuple function)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(function);

	if (proc->provolatile == PROVOLATILE_VOLATILE)
		return TEX_VOLATILE;
	if (proc->provolatile == PROVOLATILE_IMMUTABLE)
		return TEX_KNOWN;
	if (proc->oid < FirstNormalObjectId)
		return trust_in_builtin(proc->oid);
	/* Of a router most read nodes, whose writes cannot be noticed; findings are its own. */
	if (is_ours(proc))
		return tex_is_router() && strcmp(NameStr(proc->proname), "findings_page") != 0 ? TEX_TIMED : TEX_KNOWN;
	return is_trusted(proc) ? TEX_TRUSTED : TEX_UNKNOWN;
}

/* May it execute statements of its own, which read tables? */
bool
tex_function_executes(HeapTuple function)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(function);

	return proc->oid >= FirstNormalObjectId && proc->prokind != PROKIND_AGGREGATE &&
		!(proc->provolatile == PROVOLATILE_IMMUTABLE && proc->prolang == ClanguageId);
}

/* Does what a function of a type returns change with settings at most? */
static bool
is_known_builtin(Oid function)
{
	return func_volatile(function) == PROVOLATILE_IMMUTABLE ||
		(function < FirstNormalObjectId && trust_in_builtin(function) == TEX_KNOWN);
}

/* Of a base type, its own two functions tell. */
static int
traits_of_scalar(Oid type)
{
	Oid			input;
	Oid			output;
	Oid			element;
	bool		varlena;
	int			traits = 0;

	switch (type)
	{
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return TEX_NAMES_TIMES;
		case REGCLASSOID:
		case REGTYPEOID:
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGNAMESPACEOID:
		case REGROLEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
			traits = TEX_IS_NAME;
			break;
	}
	getTypeInputInfo(type, &input, &element);
	getTypeOutputInfo(type, &output, &varlena);
	if (!is_known_builtin(input))
		traits |= TEX_STRANGE_INPUT;
	if (!is_known_builtin(output))
		traits |= TEX_STRANGE_OUTPUT;
	return traits;
}

/* A row type depends on the relation whose it is: ALTER TYPE changes that. */
static int
traits_of_columns(Oid type, List **relations)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);
	int			traits = 0;

	*relations = list_append_unique_oid(*relations, get_typ_typrelid(type));
	for (int i = 0; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped)
			traits |= tex_type_traits(TupleDescAttr(desc, i)->atttypid, relations);
	}
	return traits;
}

/*
 * The TexTypeTraits of a type and of all that it is made of.  The relations of row
 * types are added to the list.  Of a row of no named type nothing is known here.
 */
int
tex_type_traits(Oid type, List **relations)
{
	Oid			element = get_element_type(type);

	check_stack_depth();
	if (OidIsValid(element))
		return tex_type_traits(element, relations) & ~TEX_IS_NAME;
	switch (get_typtype(type))
	{
		case TYPTYPE_DOMAIN:
			/* Its constraints may call anything, and be changed. */
			return tex_type_traits(getBaseType(type), relations) | TEX_STRANGE_INPUT;
		case TYPTYPE_COMPOSITE:
			return traits_of_columns(type, relations) & ~TEX_IS_NAME;
		case TYPTYPE_RANGE:
			return tex_type_traits(get_range_subtype(type), relations);
		case TYPTYPE_MULTIRANGE:
			return tex_type_traits(get_multirange_range(type), relations);
		case TYPTYPE_BASE:
			return traits_of_scalar(type);
		default:
			return 0;
	}
}

/*
 * Does a literal, of a type that has times in it, mean the same at any time?  Any word
 * in it has to be one of those that do.
 */
bool
tex_time_is_fixed(const char *literal)
{
	static const char *const fixed[] = {
		"t", "z", "utc", "gmt", "ad", "bc", "am", "pm", "infinity", "epoch", "empty", "allballs",
		"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
		"january", "february", "march", "april", "june", "july", "august", "september", "october",
		"november", "december", "null"
	};

	for (const char *p = literal; *p;)
	{
		size_t		n = 0;
		bool		is_fixed = false;

		while (isalpha((unsigned char) p[n]) || IS_HIGHBIT_SET(p[n]))
			n++;
		for (size_t i = 0; n > 0 && i < lengthof(fixed); i++)
			is_fixed |= n == strlen(fixed[i]) && pg_strncasecmp(p, fixed[i], n) == 0;
		if (n > 0 && !is_fixed)
			return false;
		p += Max(n, 1);
	}
	return true;
}
