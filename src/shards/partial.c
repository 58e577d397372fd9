/*
 * partial.c
 *		Answers without what is on a node that is down, for who asks for them.
 *
 * With trace_ext.node_down = partial a plan that would read such a node is executed as
 * if that had no rows: ExecutorStart puts a Result that is never true in the place of each
 * of its foreign scans.  A plan is looked at each time that it is executed, so no plan that
 * is kept has to know who was down when it was made; and whatever reads nodes, in C, in
 * SQL or in a query of a user's, comes by here.  Calls of nodes (calls.c) leave it out by
 * nodes_down().
 *
 * Which nodes are down is found out once a statement of a client: first by a call of each
 * of them, which says nothing where it comes back.  All of the statement goes by that:
 * no half of an answer has a node that the other half lacks.  A node that is lost later
 * fails the statement; one that comes back is read by the next.
 *
 * What writes is never without a node: neither a plan that changes rows, nor one that a
 * function with "SET trace_ext.node_down = 'error'" executes, as all of the router's do
 * that write down what they found.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/clauses.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/owner.h"
#include "guc.h"
#include "shards/partial.h"

PG_FUNCTION_INFO_V1(tex_nodes_down);

/* What is known of the nodes, and by which statement; in a context of its own. */
static struct
{
	TimestampTz statement;
	TimestampTz transaction;
	List	   *servers;		/* oids of the servers of those that are down */
	List	   *names;			/* and their names */
} known;
static MemoryContext known_context;

static bool asking = false;		/* the nodes are called: those scans must fail */
static uint64 answers = 0;		/* how often something was left out */

static ExecutorStart_hook_type previous_start;

/* ----------------------------------------------------------------
 *		Who is down
 * ----------------------------------------------------------------
 */
/*
 * Calls a node.  NULL where it answers, else what was said: that it could not be
 * reached.  What else goes wrong is an error, above all a connection that was lost within
 * this transaction: it may have written there.
 */
static char *
call_node(const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	char	   *said = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		if (SPI_execute_with_args("SELECT FROM trace_ext_internal.ask_each(ARRAY[$1], ARRAY['SELECT ''''::text'])",
								  1, types, values, NULL, true, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not call a node");
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode != ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION)
			ReThrowError(error);
		said = error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return said;
}

/* Adds a node that is down, and says so. */
static void
note_down(const char *name, const char *said)
{
	MemoryContext old = MemoryContextSwitchTo(known_context);
	Oid			server = get_foreign_server_oid(psprintf("trace_ext_%s", name), true);

	known.servers = lappend_oid(known.servers, server);
	known.names = lappend(known.names, pstrdup(name));
	MemoryContextSwitchTo(old);
	ereport(WARNING,
			(errcode(ERRCODE_CONNECTION_EXCEPTION),
			 errmsg("node \"%s\" is down: what it has is missing from the answer", name),
			 errdetail_internal("%s", said)));
}

/* Calls all nodes, as the owner: those who read may not. */
static void
call_nodes(void)
{
	TexOwnerContext owner;
	SPITupleTable *nodes;
	uint64		n;

	tex_become_owner(&owner);
	SPI_connect();
	if (SPI_execute("SELECT name FROM trace_ext_internal.shard_nodes ORDER BY name", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the nodes");
	nodes = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		char	   *name = SPI_getvalue(nodes->vals[i], nodes->tupdesc, 1);
		char	   *said = call_node(name);

		if (said)
			note_down(name, said);
	}
	SPI_finish();
	tex_become_caller(&owner);
}

/*
 * Makes sure that "known" is of this statement.  In parallel mode no node can be called,
 * as there are no subtransactions: all are taken to be up then, and one that is not fails.
 */
static void
find_out(void)
{
	TimestampTz statement = GetCurrentStatementStartTimestamp();
	TimestampTz transaction = GetCurrentTransactionStartTimestamp();

	if (known_context && known.statement == statement && known.transaction == transaction)
		return;
	if (known_context == NULL)
		known_context = AllocSetContextCreate(TopMemoryContext, "trace_ext nodes that are down", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(known_context);
	memset(&known, 0, sizeof(known));
	if (IsInParallelMode())
		return;
	asking = true;
	PG_TRY();
	{
		call_nodes();
	}
	PG_FINALLY();
	{
		asking = false;
	}
	PG_END_TRY();
	known.statement = statement;
	known.transaction = transaction;
}

/* May an answer lack something, and is it not a call that finds out? */
static bool
is_offered(void)
{
	return tex_node_down == TEX_NODE_DOWN_PARTIAL && !asking && !IsParallelWorker();
}

/*
 * nodes_down() returns text[]
 *
 * The nodes that an answer of this statement is to leave out: none where that is not
 * asked for.
 */
Datum
tex_nodes_down(PG_FUNCTION_ARGS)
{
	ArrayBuildState *names = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	ListCell   *lc;

	if (is_offered())
	{
		find_out();
		foreach(lc, known.names)
			accumArrayResult(names, CStringGetTextDatum(lfirst(lc)), false, TEXTOID, CurrentMemoryContext);
		if (known.names)
			answers++;
	}
	PG_RETURN_DATUM(makeArrayResult(names, CurrentMemoryContext));
}

/*
 * How often something was left out in this session: what was computed while this changed
 * is an answer for nobody else.
 */
uint64
tex_partial_answers(void)
{
	return answers;
}

/* ----------------------------------------------------------------
 *		Plans without them
 * ----------------------------------------------------------------
 */
/* What is done with the plans of a statement: are there such scans, or put others there? */
typedef struct Search
{
	bool		replace;
	bool		found;
} Search;

/*
 * Is it a scan of a node that is down?  An aggregate that was sent has a row even of
 * nothing: it is left to fail.
 */
static bool
is_down(Plan *plan)
{
	ForeignScan *scan = (ForeignScan *) plan;

	if (!IsA(plan, ForeignScan) || scan->operation != CMD_SELECT ||
		contain_agg_clause((Node *) scan->fdw_scan_tlist))
		return false;
	find_out();
	return list_member_oid(known.servers, scan->fs_server);
}

/* The same columns, and no row. */
static Plan *
nothing(ForeignScan *scan)
{
	Result	   *result = makeNode(Result);

	result->plan = scan->scan.plan;
	result->plan.type = T_Result;
	result->plan.async_capable = false;
	result->plan.qual = NIL;
	result->plan.lefttree = NULL;
	result->plan.righttree = NULL;
	result->resconstantqual = (Node *) list_make1(makeBoolConst(false, false));
	return (Plan *) result;
}

static Plan *search(Plan *plan, Search *what);

/* All of a list of plans, in their places. */
static void
search_list(List *plans, Search *what)
{
	ListCell   *lc;

	foreach(lc, plans)
	{
		Plan	   *plan = search(lfirst(lc), what);

		if (what->replace)
			lfirst(lc) = plan;
	}
}

/* A plan and all below it; returns what is in its place. */
static Plan *
search(Plan *plan, Search *what)
{
	Plan	   *left;
	Plan	   *right;

	if (plan == NULL)
		return NULL;
	check_stack_depth();
	if (is_down(plan))
	{
		what->found = true;
		return what->replace ? nothing((ForeignScan *) plan) : plan;
	}
	left = search(outerPlan(plan), what);
	right = search(innerPlan(plan), what);
	if (what->replace)
	{
		outerPlan(plan) = left;
		innerPlan(plan) = right;
	}
	if (IsA(plan, Append))
		search_list(((Append *) plan)->appendplans, what);
	else if (IsA(plan, MergeAppend))
		search_list(((MergeAppend *) plan)->mergeplans, what);
	else if (IsA(plan, CustomScan))
		search_list(((CustomScan *) plan)->custom_plans, what);
	else if (IsA(plan, SubqueryScan))
	{
		Plan	   *below = search(((SubqueryScan *) plan)->subplan, what);

		if (what->replace)
			((SubqueryScan *) plan)->subplan = below;
	}
	return plan;
}

/* All plans of a statement. */
static void
search_statement(PlannedStmt *statement, Search *what)
{
	Plan	   *top = search(statement->planTree, what);

	if (what->replace)
		statement->planTree = top;
	search_list(statement->subplans, what);
}

/*
 * ExecutorStart of every query of a backend.  The plan may be one that is kept, so it is
 * a copy that is changed.
 */
static void
on_start(QueryDesc *query, int eflags)
{
	if (is_offered() && !(eflags & EXEC_FLAG_EXPLAIN_ONLY) && query->operation == CMD_SELECT &&
		!query->plannedstmt->hasModifyingCTE && tex_is_router())
	{
		Search		what = {0};

		search_statement(query->plannedstmt, &what);
		if (what.found)
		{
			query->plannedstmt = copyObject(query->plannedstmt);
			what.replace = true;
			search_statement(query->plannedstmt, &what);
			answers++;
		}
	}
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

/* Called when the library is loaded, preloaded or not. */
void
tex_partial_init(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = on_start;
}
