/*
 * memo.c
 *		What a session remembers of the queries that it had cached.
 *
 * A hit needs not the tree of the query, only what was found out about it: so it
 * need not be parsed again, until something changes that it may depend on:
 * - a relation or a row type of the query, of which an invalidation message tells;
 * - what one of its names means: each relation and each type has a row in pg_type, so
 *   a message of the cache TYPENAMENSP tells that a name was given or taken away, and
 *   its hash which one.  A name that only a sequence gets is not noticed.
 * - any function, schema or member of a role: these change seldom;
 * - operators, casts, roles and what else changes still less: who commits such a change
 *   has marked it before (writes.c), for results as well.
 * So ANALYZE, and what is created elsewhere, costs nothing here.
 *
 * What this transaction changes itself is told by these messages too, or by being a
 * command for definitions; then it keeps away from the cache.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "cache/locks.h"
#include "cache/memo.h"
#include "compat.h"

/* With more it forgets them all: a session that puts values into texts. */
#define MOST_MEMOS 1000

static HTAB *memos;
static MemoryContext context;

/* Grows whenever this session learns that anything was defined anew. */
static uint64 definitions_seen = 1;

/* The transaction, with an id, in which it last did. */
static TransactionId changed_in = InvalidTransactionId;

static ProcessUtility_hook_type previous_utility;

/*
 * A number that changes with all that a query may mean.
 */
uint64
tex_definitions_seen(void)
{
	return definitions_seen;
}

/*
 * May this transaction have changed what queries mean?  Where another one did so
 * while this one had an id, it is told so as well.
 */
bool
tex_i_changed_definitions(void)
{
	TransactionId xid = GetTopTransactionIdIfAny();

	return TransactionIdIsValid(xid) && xid == changed_in;
}

static void
definitions_changed(void)
{
	definitions_seen++;
	changed_in = GetTopTransactionIdIfAny();
	if (tex_cache_is_there() && RecoveryInProgress())
		tex_relations_note_replayed();
}

/* Memos are not good any more: those that have the number in a list, or all. */
static void
invalidate(Oid relation, uint32 name)
{
	HASH_SEQ_STATUS status;
	TexMemo    *memo;

	if (memos == NULL)
		return;
	hash_seq_init(&status, memos);
	while ((memo = hash_seq_search(&status)) != NULL)
	{
		if ((!OidIsValid(relation) && name == 0) ||
			(OidIsValid(relation) && list_member_oid(memo->query.relations, relation)) ||
			(name != 0 && list_member_int(memo->query.names, (int) name)))
			memo->valid = false;
	}
}

static void
on_relation_change(Datum argument, Oid relation)
{
	definitions_changed();
	invalidate(relation, 0);
}

/* "hash" is 0 where anything may have changed. */
static void
on_name_change(Datum argument, int cache, uint32 hash)
{
	definitions_changed();
	invalidate(InvalidOid, hash);
}

static void
on_catalog_change(Datum argument, int cache, uint32 hash)
{
	definitions_changed();
	invalidate(InvalidOid, 0);
}

static void
on_command(PlannedStmt *plan, const char *sql, bool read_only, ProcessUtilityContext level,
		   ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		   QueryCompletion *completion)
{
	/* It may be gone afterwards. */
	bool		defines = GetCommandLogLevel(plan->utilityStmt) == LOGSTMT_DDL;

	if (previous_utility)
		previous_utility(plan, sql, read_only, level, params, environment, dest, completion);
	else
		standard_ProcessUtility(plan, sql, read_only, level, params, environment, dest, completion);
	if (defines)
	{
		definitions_changed();
		invalidate(InvalidOid, 0);
	}
}

void
tex_cache_memo_init(void)
{
	CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPENAMENSP, on_name_change, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, on_catalog_change, (Datum) 0);
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = on_command;
}

/*
 * Notes as of when definitions are known to whoever parses a query from here on.
 * Somebody who is about to commit others has told of them by marks, but not yet by
 * messages: then what is derived now is not good for long.  A standby has no marks.
 */
void
tex_definitions_read(TexDefinitions *definitions)
{
	static const Oid marked[] = {TEX_DEFINITIONS, TEX_ROLES};
	TimestampTz now = GetCurrentTimestamp();

	memset(definitions, 0, sizeof(TexDefinitions));
	definitions->settled = tex_cache_is_there() && !tex_i_changed_definitions();
	for (size_t i = 0; definitions->settled && !RecoveryInProgress() && i < lengthof(marked); i++)
	{
		TransactionId wiper;

		tex_relation_track(marked[i], &definitions->marks[i]);
		definitions->settled =
			tex_relation_all_seen(&definitions->marks[i], GetActiveSnapshot());
		wiper = tex_relation_recent_wiper(&definitions->marks[i], now);
		if (TransactionIdIsValid(wiper) && !tex_is_over(wiper))
			definitions->settled = false;
	}
	AcceptInvalidationMessages();
	definitions->seen = definitions_seen;
}

static void
forget_all(void)
{
	HASHCTL		info = {.keysize = sizeof(TexMemoKey), .entrysize = sizeof(TexMemo)};

	if (context)
		MemoryContextDelete(context);
	memos = NULL;
	context = AllocSetContextCreate(TopMemoryContext, "trace_ext cached queries",
									ALLOCSET_DEFAULT_SIZES);
	info.hcxt = context;
	memos = hash_create("trace_ext cached queries", 64, &info,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static bool
is_unmarked(const TexDefinitions *definitions)
{
	if (RecoveryInProgress())
		return definitions->marks[0].relation == InvalidOid;
	return definitions->marks[0].relation != InvalidOid &&
		tex_relation_same(&definitions->marks[0], GetActiveSnapshot()) &&
		tex_relation_same(&definitions->marks[1], GetActiveSnapshot());
}

/*
 * What is known of a query, or NULL.
 */
TexMemo *
tex_memo_find(const TexMemoKey *key)
{
	TexMemo    *memo = memos ? hash_search(memos, key, HASH_FIND, NULL) : NULL;

	return memo && memo->valid && is_unmarked(&memo->definitions) ? memo : NULL;
}

static void
forget(TexQuery *query)
{
	list_free(query->relations);
	list_free(query->names);
	list_free_deep(query->settings);
	if (query->desc)
		FreeTupleDesc(query->desc);
	if (query->ttl_reason)
		pfree((char *) query->ttl_reason);
	memset(query, 0, sizeof(TexQuery));
}

/*
 * Remembers what was found out about a query since "definitions" was read.
 */
TexMemo *
tex_memo_keep(const TexMemoKey *key, const TexQuery *query, const TexDefinitions *definitions)
{
	MemoryContext old;
	TexQuery	copy;
	ListCell   *cell;
	TexMemo    *memo;
	bool		found;

	if (memos == NULL || hash_get_num_entries(memos) >= MOST_MEMOS)
		forget_all();
	memo = hash_search(memos, key, HASH_ENTER, &found);
	if (!found)
		memset(&memo->query, 0, sizeof(TexQuery));
	memo->valid = false;
	forget(&memo->query);

	/* Who runs out of memory here leaves it empty. */
	copy = *query;
	old = MemoryContextSwitchTo(context);
	copy.tree = NULL;
	copy.literals = NIL;
	copy.relations = list_copy(query->relations);
	copy.names = list_copy(query->names);
	copy.settings = NIL;
	foreach(cell, query->settings)
		copy.settings = lappend(copy.settings, pstrdup(lfirst(cell)));
	copy.desc = CreateTupleDescCopy(query->desc);
	copy.ttl_reason = query->ttl_reason ? pstrdup(query->ttl_reason) : NULL;
	MemoryContextSwitchTo(old);
	memo->query = copy;
	memo->definitions = *definitions;
	memo->valid = definitions->settled && definitions->seen == definitions_seen;
	return memo;
}
