/*
 * prepare.c
 *		PREPARE TRANSACTION on a router, in its own words.
 *
 * postgres_fdw cannot prepare what it did on nodes, and says so of its foreign tables,
 * which a user of trace_ext never made.  Its callback is called before ours, so the
 * command itself is looked at.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/snapmgr.h"

#include "common/event.h"
#include "shards/partial.h"
#include "shards/shards.h"

static ProcessUtility_hook_type previous_utility;

/* Has this transaction read or written on a node?  It holds the lock of a foreign table then. */
static bool
used_nodes(void)
{
	bool		used;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute("SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_foreign_table t ON t.ftrelid OPERATOR(pg_catalog.=) l.relation"
					" JOIN pg_catalog.pg_foreign_server s ON s.oid OPERATOR(pg_catalog.=) t.ftserver"
					" WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()"
					" AND pg_catalog.starts_with(s.srvname, 'trace_ext_')", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look at the locks of the transaction");
	used = SPI_processed > 0;
	SPI_finish();
	PopActiveSnapshot();
	return used;
}

/* ProcessUtility of every backend. */
static void
utility(PlannedStmt *plan, const char *sql, bool read_only, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *completion)
{
	if (IsA(plan->utilityStmt, TransactionStmt) &&
		((TransactionStmt *) plan->utilityStmt)->kind == TRANS_STMT_PREPARE &&
		IsTransactionBlock() && IsTransactionState() && tex_is_router() && used_nodes())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("PREPARE TRANSACTION is not offered by the router: what a transaction did on nodes cannot be prepared"),
				 errhint("Use COMMIT; where it fails, send the batch again: what is there already is not stored twice.")));
	if (previous_utility)
		previous_utility(plan, sql, read_only, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(plan, sql, read_only, context, params, environment, dest, completion);
}

/* Called when the library is loaded, preloaded or not. */
void
tex_shards_init(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	tex_partial_init();
}
