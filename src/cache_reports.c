/*
 * cache_reports.c
 *		The extension's own reports, kept in the cache as any other query.
 *
 * A report calls itself: as a query that is cached.  Where that query is executed,
 * because there was no result, the report does its own work.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "cache_locks.h"
#include "cached.h"
#include "guc.h"
#include "reads.h"

PG_FUNCTION_INFO_V1(tex_cached_find_variable_races);
PG_FUNCTION_INFO_V1(tex_cached_global_races);

extern Datum tex_find_variable_races(PG_FUNCTION_ARGS);

/* Inside of a report: the next call is the query that it had executed. */
static bool answering = false;

/* "SELECT * FROM trace_ext.name($1, $2)" */
static char *
query_of(const char *name, int n_args)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "SELECT * FROM trace_ext.%s(", name);
	for (int i = 0; i < n_args; i++)
		appendStringInfo(&text, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoChar(&text, ')');
	return text.data;
}

static void
set_arguments(TexCall *call, FunctionCallInfo fcinfo)
{
	int			n;
	Oid		   *types;

	(void) get_func_signature(fcinfo->flinfo->fn_oid, &types, &n);
	call->n_args = n;
	call->types = types;
	call->values = palloc(sizeof(Datum) * n);
	call->nulls = palloc(sizeof(bool) * n);
	for (int i = 0; i < n; i++)
	{
		call->values[i] = fcinfo->args[i].value;
		call->nulls[i] = fcinfo->args[i].isnull;
	}
}

/*
 * Answers with the result of trace_ext.name(), which has the arguments of the
 * function that is called.
 */
static Datum
answer(FunctionCallInfo fcinfo, const char *name, int64 ttl)
{
	TexCall		call = {.ttl = ttl};

	set_arguments(&call, fcinfo);
	call.text = query_of(name, call.n_args);
	tex_cached_begin_rows(fcinfo, &call);
	answering = true;
	PG_TRY();
	{
		tex_cached_answer(&call);
	}
	PG_FINALLY();
	{
		answering = false;
	}
	PG_END_TRY();
	return (Datum) 0;
}

/* Is the cache of no use here, or is this the query that it had executed? */
static bool
is_plain_call(void)
{
	return !tex_cache_is_there() || tex_cache_mode != TEX_CACHE_ON || answering ||
		tex_reads_collecting();
}

/*
 * find_variable_races(...) returns table (...)
 */
Datum
tex_cached_find_variable_races(PG_FUNCTION_ARGS)
{
	if (is_plain_call())
		return tex_find_variable_races(fcinfo);
	return answer(fcinfo, "find_variable_races", TEX_NO_TTL);
}

/*
 * global_races(...) returns setof findings
 */
Datum
tex_cached_global_races(PG_FUNCTION_ARGS)
{
	return answer(fcinfo, "findings_page",
				  tex_cache_report_ttl > 0 ? (int64) tex_cache_report_ttl * 1000000 : TEX_NO_TTL);
}
