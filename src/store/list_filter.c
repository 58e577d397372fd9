/*
 * list_filter.c
 *		What a caller of list_traces() wants to be listed, and how a query says it.
 *
 * A filter is asked in two ways: tex_list_filter_passes() of a complete summary,
 * which decides, and tex_list_query_filter() as conditions of SQL, so that rows of
 * the base that do not pass are never read into memory.  The two say the same but
 * for the variable, which no summary has: SQL asks for accesses, and who reads
 * the list asks for the variable (variable.c).
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "common/hex.h"
#include "compat.h"
#include "store/list_filter.h"

/* ----------------------------------------------------------------
 *		Arguments
 * ----------------------------------------------------------------
 */

/*
 * Throws; all that list_traces() refuses is refused alike.  The hint may be NULL.
 */
void
tex_list_invalid(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
			 hint ? errhint("%s", hint) : 0));
}

/*
 * The lowest and the highest trace id that start with the digits of "search".
 */
static void
parse_search(const char *search, TexListFilter *filter)
{
	int			digits = 0;

	memset(filter->lowest.data, 0x00, UUID_LEN);
	memset(filter->highest.data, 0xff, UUID_LEN);
	for (const char *c = search; *c != '\0'; c++)
	{
		int			digit = tex_hex_digit(*c);
		int			shift = digits % 2 == 0 ? 4 : 0;

		if (*c == '-')
			continue;
		if (digit < 0 || digits >= UUID_LEN * 2)
			tex_list_invalid(psprintf("search \"%s\" is not the beginning of a trace id", search),
							 "Give up to 32 hexadecimal digits, with or without hyphens.");
		filter->lowest.data[digits / 2] |= digit << shift;
		filter->highest.data[digits / 2] &= ~((0xf ^ digit) << shift);
		digits++;
	}
	filter->has_search = digits > 0;
}

/*
 * Does a pattern end with a backslash that escapes nothing?  LIKE itself throws, but
 * only once a name matches so far.
 */
static bool
ends_in_escape(text *pattern)
{
	const char *at = VARDATA_ANY(pattern);
	const char *end = at + VARSIZE_ANY_EXHDR(pattern);

	for (; at < end; at++)
	{
		if (*at == '\\' && ++at == end)
			return true;
	}
	return false;
}

/*
 * What every name that matches the pattern begins with, as far as names are
 * indexed, and whether anything may follow.
 */
static void
parse_name(TexListFilter *filter)
{
	const char *at = VARDATA_ANY(filter->name);
	const char *end = at + VARSIZE_ANY_EXHDR(filter->name);
	StringInfoData prefix;
	int			length = 0;

	if (ends_in_escape(filter->name))
		tex_list_invalid("name must not end with a backslash that escapes nothing",
						 "name is a pattern as LIKE takes it: write a backslash twice.");
	initStringInfo(&prefix);
	for (; at < end && *at != '%' && *at != '_'; length++)
	{
		int			bytes;

		if (*at == '\\')
			at++;
		bytes = pg_mblen(at);
		if (length < TEX_NAME_INDEXED)
			appendBinaryStringInfo(&prefix, at, bytes);
		at += bytes;
	}
	filter->name_prefix = cstring_to_text_with_len(prefix.data, prefix.len);
	filter->name_is_prefix = at < end && length < TEX_NAME_INDEXED;
}

/*
 * Reads the arguments that say what is listed; not where a page begins: "before"
 * is beyond all traces.
 */
void
tex_list_filter_read(TexListFilter *filter, FunctionCallInfo fcinfo, TexListArguments at)
{
#define GIVEN(n) (!PG_ARGISNULL(n))
	filter->before.last_timestamp = DT_NOEND;
	filter->min_events = GIVEN(at.min_events) ? PG_GETARG_INT64(at.min_events) : 1;
	filter->service = GIVEN(at.min_events + 1) ? PG_GETARG_TEXT_PP(at.min_events + 1) : NULL;
	parse_search(GIVEN(at.min_events + 2) ? text_to_cstring(PG_GETARG_TEXT_PP(at.min_events + 2)) : "", filter);
	filter->since = GIVEN(at.since) ? PG_GETARG_TIMESTAMPTZ(at.since) : DT_NOBEGIN;
	filter->until = GIVEN(at.since + 1) ? PG_GETARG_TIMESTAMPTZ(at.since + 1) : DT_NOEND;
	filter->min_duration_ms = GIVEN(at.since + 2) ? PG_GETARG_FLOAT8(at.since + 2) : 0;
	filter->errors_only = GIVEN(at.since + 3) && PG_GETARG_BOOL(at.since + 3);
	filter->name = GIVEN(at.since + 4) ? PG_GETARG_TEXT_PP(at.since + 4) : NULL;
	filter->variable = GIVEN(at.since + 5) ? PG_GETARG_TEXT_PP(at.since + 5) : NULL;
#undef GIVEN
	if (filter->since > filter->until)
		tex_list_invalid("since must not be later than until", NULL);
	if (isnan(filter->min_duration_ms) || filter->min_duration_ms < 0)
		tex_list_invalid("min_duration_ms must be 0 or more", NULL);
	if (filter->name)
		parse_name(filter);
}

/* ----------------------------------------------------------------
 *		Asked of a summary
 * ----------------------------------------------------------------
 */

/*
 * The order of the list, ascending: by time, then by id, as the index of
 * summary_base has it.
 */
int
tex_list_compare(TimestampTz a, const pg_uuid_t *a_id, TimestampTz b, const pg_uuid_t *b_id)
{
	if (a != b)
		return a < b ? -1 : 1;
	return memcmp(a_id->data, b_id->data, UUID_LEN);
}

/*
 * Does it ask for what more events can give to a trace or take from it?  Then what
 * the base says of a trace with outstanding deltas does not decide.
 */
bool
tex_list_filter_narrows(const TexListFilter *filter)
{
	return filter->min_events > 1 || filter->service || filter->errors_only ||
		filter->since != DT_NOBEGIN || filter->until != DT_NOEND ||
		filter->min_duration_ms > 0 || filter->name || filter->variable;
}

/*
 * Is a trace within the page's bound and the search?  May be asked of deltas: what
 * they add to moves up in the list only.
 */
bool
tex_list_filter_has_place(const TexListFilter *filter, const TexSummary *s)
{
	return tex_list_compare(s->last_timestamp, &s->trace_id,
							filter->before.last_timestamp, &filter->before.trace_id) < 0 &&
		memcmp(s->trace_id.data, filter->lowest.data, UUID_LEN) >= 0 &&
		memcmp(s->trace_id.data, filter->highest.data, UUID_LEN) <= 0;
}

/*
 * What is asked of a complete trace, but for the variable.  One that lost all its
 * events has none to be listed with.
 */
bool
tex_list_filter_passes(const TexListFilter *filter, const TexSummary *s)
{
	if (s->event_count < filter->min_events || s->event_count <= 0 ||
		(filter->errors_only && s->error_count <= 0) ||
		(filter->variable && s->access_count <= 0) ||
		s->extent.started > filter->until || s->extent.ended < filter->since ||
		tex_milliseconds(s->extent.started, s->extent.ended) < filter->min_duration_ms)
		return false;
	if (filter->service && !tex_text_set_has(&s->services, filter->service))
		return false;
	return filter->name == NULL ||
		(s->has_root && s->root_name &&
		 DatumGetBool(DirectFunctionCall2Coll(textlike, DEFAULT_COLLATION_OID,
											  PointerGetDatum(s->root_name),
											  PointerGetDatum(filter->name))));
}

/* ----------------------------------------------------------------
 *		Asked in SQL
 * ----------------------------------------------------------------
 */

/*
 * Begins a query, in the current memory context.
 */
void
tex_list_query_begin(TexListQuery *query)
{
	initStringInfo(&query->text);
	query->n = 0;
}

/*
 * Adds text, in which "$" stands for the parameter that is given with it.
 */
void
tex_list_query_add(TexListQuery *query, const char *text, Oid type, Datum value)
{
	const char *place = strchr(text, '$');

	Assert(query->n < TEX_LIST_PARAMETERS && place != NULL);
	query->types[query->n] = type;
	query->values[query->n] = value;
	query->n++;
	appendStringInfo(&query->text, "%.*s$%d%s", (int) (place - text), text, query->n, place + 1);
}

/*
 * Adds a condition on the place in the list; the key has to live as long as the query.
 */
void
tex_list_query_key(TexListQuery *query, const char *operator, const TexListKey *key)
{
	appendStringInfo(&query->text, " AND (last_timestamp, trace_id) OPERATOR(pg_catalog.%s) (", operator);
	tex_list_query_add(query, "$, ", TIMESTAMPTZOID, TimestampTzGetDatum(key->last_timestamp));
	tex_list_query_add(query, "$)", UUIDOID, UUIDPGetDatum(&key->trace_id));
}

/*
 * Adds all conditions of the filter that a row of summary_base can answer, but for
 * "before", each with a leading AND.
 */
void
tex_list_query_filter(TexListQuery *query, const TexListFilter *f)
{
	if (f->min_events > 1)
		tex_list_query_add(query, " AND event_count OPERATOR(pg_catalog.>=) $", INT8OID, Int64GetDatum(f->min_events));
	if (f->service)
		tex_list_query_add(query, " AND $ OPERATOR(pg_catalog.=) ANY (services)", TEXTOID, PointerGetDatum(f->service));
	if (f->has_search)
	{
		tex_list_query_add(query, " AND trace_id OPERATOR(pg_catalog.>=) $", UUIDOID, UUIDPGetDatum(&f->lowest));
		tex_list_query_add(query, " AND trace_id OPERATOR(pg_catalog.<=) $", UUIDOID, UUIDPGetDatum(&f->highest));
	}
	if (f->until != DT_NOEND)
		tex_list_query_add(query, " AND started_at OPERATOR(pg_catalog.<=) $", TIMESTAMPTZOID, TimestampTzGetDatum(f->until));
	if (f->since != DT_NOBEGIN)
		tex_list_query_add(query, " AND ended_at OPERATOR(pg_catalog.>=) $", TIMESTAMPTZOID, TimestampTzGetDatum(f->since));
	if (f->min_duration_ms > 0)
		tex_list_query_add(query, " AND trace_ext_internal.duration_ms(started_at, ended_at) OPERATOR(pg_catalog.>=) $",
						   FLOAT8OID, Float8GetDatum(f->min_duration_ms));
	if (f->errors_only)
		appendStringInfoString(&query->text, " AND error_count OPERATOR(pg_catalog.>) 0");
	if (f->name)
		tex_list_query_add(query, " AND root_name OPERATOR(pg_catalog.~~) $", TEXTOID, PointerGetDatum(f->name));
	if (f->variable)
		appendStringInfoString(&query->text, " AND access_count OPERATOR(pg_catalog.>) 0");
}
