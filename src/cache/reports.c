/*
 * reports.c
 *		The extension's own reports, answered from the cache as any other query.
 *
 * A report calls itself: as a query that is cached.  Where that query is executed,
 * because there was no result, the report does its own work.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "cache/cached.h"
#include "cache/shared.h"
#include "common/reads.h"
#include "guc.h"
#include "races/find_races.h"

PG_FUNCTION_INFO_V1(tex_cached_find_variable_races);
PG_FUNCTION_INFO_V1(tex_cached_global_races);

/* Inside of a report: the next call is the query that it had executed. */
static bool answering = false;

/* "SELECT * FROM name($1, $2)" */
static char *
query_of(const char *name, int n_args)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "SELECT * FROM %s(", name);
	for (int i = 0; i < n_args; i++)
		appendStringInfo(&text, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoChar(&text, ')');
	return text.data;
}

/* The arguments of a report, as those of its query. */
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
 * Answers with the result of a function, which has the arguments of the
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
		(void) tex_cached_answer(&call, true);
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

/* find_variable_races(...) returns table (...) */
Datum
tex_cached_find_variable_races(PG_FUNCTION_ARGS)
{
	if (is_plain_call())
		return tex_find_variable_races(fcinfo);
	return answer(fcinfo, "trace_ext.find_variable_races", TEX_NO_TTL);
}

/* A misspelled severity would look like good news. */
static void
check_severity(FunctionCallInfo fcinfo)
{
	char	   *severity = PG_ARGISNULL(0) ? "INFO" : text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (pg_strcasecmp(severity, "CRITICAL") != 0 && pg_strcasecmp(severity, "WARNING") != 0 &&
		pg_strcasecmp(severity, "INFO") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no severity \"%s\"", severity),
				 errhint("Severities are CRITICAL, WARNING and INFO.")));
}

/* So would the name of a variable that nothing accesses. */
static void
notice_unknown_variable(FunctionCallInfo fcinfo)
{
	Tuplestorestate *rows = ((ReturnSetInfo *) fcinfo->resultinfo)->setResult;
	Oid			type = TEXTOID;
	Datum		variable = fcinfo->args[1].value;

	if (PG_ARGISNULL(1) || rows == NULL || tuplestore_tuple_count(rows) > 0)
		return;
	SPI_connect();
	SPI_execute_with_args("SELECT FROM trace_ext.events WHERE kind OPERATOR(pg_catalog.=) 'StateChange'"
						  " AND name OPERATOR(pg_catalog.=) $1 LIMIT 1", 1, &type, &variable, NULL, true, 1);
	if (SPI_processed == 0)
		ereport(NOTICE,
				(errmsg("no access of variable \"%s\" is stored", TextDatumGetCString(variable)),
				 errhint("See the view cross_trace_index for those that are.")));
	SPI_finish();
}

/* global_races(...) returns setof findings */
Datum
tex_cached_global_races(PG_FUNCTION_ARGS)
{
	check_severity(fcinfo);
	(void) answer(fcinfo, "trace_ext_internal.findings_page",
				  tex_cache_report_ttl > 0 ? (int64) tex_cache_report_ttl * 1000000 : TEX_NO_TTL);
	notice_unknown_variable(fcinfo);
	return (Datum) 0;
}
