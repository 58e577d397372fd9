/*
 * ask.c
 *		A router asks some nodes, each its own query, all at a time: one statement with a
 *		foreign scan a node.
 *
 * Its plan is kept, by the nodes in it: to plan the scans takes longer than the nodes take to
 * answer.  So the queries are parameters, and it is a generic plan; PostgreSQL plans it
 * anew when a foreign table or server in it changes.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(tex_ask_each);

/* Subsets of many nodes are asked as well: of more than so many the plans are made anew. */
#define MOST_PLANS 32

/* A statement, and its plan. */
typedef struct KeptPlan
{
	char	   *statement;
	SPIPlanPtr	plan;
} KeptPlan;

static KeptPlan kept[MOST_PLANS];
static int	kept_count = 0;

/* The statement that asks nodes of these names; $n is the query of the n'th. */
static char *
statement_for(const Datum *nodes, int n)
{
	StringInfoData statement;

	initStringInfo(&statement);
	for (int i = 0; i < n; i++)
	{
		char	   *node = TextDatumGetCString(nodes[i]);

		appendStringInfo(&statement, "%sSELECT %s::pg_catalog.text AS node, c.answer FROM trace_ext_internal.%s c"
						 " WHERE trace_ext_internal.asked(c.call, $%d)",
						 i == 0 ? "" : " UNION ALL ", quote_literal_cstr(node), quote_identifier(psprintf("calls_%s", node)), i + 1);
	}
	return statement.data;
}

/* Its plan: kept, or made. */
static SPIPlanPtr
plan_of(const char *statement, int n)
{
	Oid		   *types;
	SPIPlanPtr	plan;

	for (int i = 0; i < kept_count; i++)
		if (strcmp(kept[i].statement, statement) == 0)
			return kept[i].plan;
	types = palloc(sizeof(Oid) * n);
	for (int i = 0; i < n; i++)
		types[i] = TEXTOID;
	plan = SPI_prepare_cursor(statement, n, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare to ask nodes");
	if (kept_count < MOST_PLANS)
	{
		char	   *copy = MemoryContextStrdup(TopMemoryContext, statement);

		SPI_keepplan(plan);
		kept[kept_count++] = (KeptPlan) {copy, plan};
	}
	return plan;
}

/* The queries as parameters, text or NULL, as many as there are nodes. */
static ParamListInfo
parameters(ArrayType *queries, int n)
{
	ParamListInfo params = makeParamList(n);
	Datum	   *query;
	bool	   *nulls;
	int			given;

	deconstruct_array(queries, TEXTOID, -1, false, TYPALIGN_INT, &query, &nulls, &given);
	for (int i = 0; i < n; i++)
	{
		bool		isnull = i >= given || nulls[i];

		params->params[i] = (ParamExternData) {isnull ? (Datum) 0 : query[i], isnull, PARAM_FLAG_CONST, TEXTOID};
	}
	return params;
}

/*
 * ask_each(nodes text[], queries text[]) returns table (node text, answer text)
 *
 * Has each of some nodes run its query, which returns one column of text.  Who is asked has to answer.
 */
Datum
tex_ask_each(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SPIExecuteOptions options = {0};
	Datum	   *nodes;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &nodes, NULL, &n);
	if (n == 0)
		PG_RETURN_NULL();
	options.params = parameters(PG_ARGISNULL(1) ? construct_empty_array(TEXTOID) : PG_GETARG_ARRAYTYPE_P(1), n);
	options.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(options.dest, rsinfo->setResult, CurrentMemoryContext, false, NULL, NULL);
	SPI_connect();
	if (SPI_execute_plan_extended(plan_of(statement_for(nodes, n), n), &options) != SPI_OK_SELECT)
		elog(ERROR, "could not ask nodes");
	SPI_finish();
	PG_RETURN_NULL();
}
