/*
 * calls.c
 *		How a router calls a function on a node: a foreign scan that carries a query.
 *
 * postgres_fdw sends conditions, never calls.  So the query travels as one: the
 * condition asked(call, query) of the node's view node_calls.  postgres_fdw sends it
 * because asked() is IMMUTABLE and a member of an extension that is named for the
 * server; and as one of its arguments is a column, no planner computes it before.
 * On the node the scan of the view's first part calls asked(), which keeps the query
 * and is true; then the second part, a lateral call of answers(), runs what was kept.
 *
 * By this a call is in the transaction of all else that the router does on the node:
 * it sees what was written, ends as that ends, and runs beside those on other nodes.
 * What it may do is what the account of the connection may do.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "common/bucket.h"
#include "store/trace_range.h"

PG_FUNCTION_INFO_V1(tex_asked);
PG_FUNCTION_INFO_V1(tex_asked_query);
PG_FUNCTION_INFO_V1(tex_rows_in_place);
PG_FUNCTION_INFO_V1(tex_hash_bucket);

/* The query, in memory of the transaction, at whose end it is none. */
static char *kept_query = NULL;

static void
forget_query(void *arg)
{
	kept_query = NULL;
}

/*
 * asked(text, text) returns boolean
 *
 * Keeps the query for answers().  Always true.  It is what a router's transaction here
 * mostly begins with, in whose one snapshot all else is read: so no row may move to
 * another partition from here on.
 */
Datum
tex_asked(PG_FUNCTION_ARGS)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	MemoryContextCallback *at_end = palloc0(sizeof(MemoryContextCallback));

	tex_require_rows_in_place();
	at_end->func = forget_query;
	MemoryContextRegisterResetCallback(TopTransactionContext, at_end);
	kept_query = text_to_cstring(PG_GETARG_TEXT_PP(1));
	MemoryContextSwitchTo(old);
	PG_RETURN_BOOL(true);
}

/*
 * rows_in_place() returns boolean
 *
 * True, or an error: see tex_require_rows_in_place().
 */
Datum
tex_rows_in_place(PG_FUNCTION_ARGS)
{
	tex_require_rows_in_place();
	PG_RETURN_BOOL(true);
}

/*
 * asked_query() returns text
 *
 * What asked() kept, once: a call of answers() without one of asked() before it has
 * nothing to run.
 */
Datum
tex_asked_query(PG_FUNCTION_ARGS)
{
	text	   *query;

	if (kept_query == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing was asked"),
				 errhint("A router reads node_calls with a condition of asked(); nobody else has to.")));
	query = cstring_to_text(kept_query);
	pfree(kept_query);
	kept_query = NULL;
	PG_RETURN_TEXT_P(query);
}

/*
 * hash_bucket(uuid, int) returns int
 *
 * In which partition by HASH of one uuid column a value is.
 */
Datum
tex_hash_bucket(PG_FUNCTION_ARGS)
{
	int32		modulus = PG_GETARG_INT32(1);

	if (modulus < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be at least one bucket")));
	PG_RETURN_INT32(tex_bucket_of(PG_GETARG_UUID_P(0), modulus));
}
