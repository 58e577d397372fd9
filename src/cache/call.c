/*
 * call.c
 *		One call of cached(): what it is about, and what a session remembers of that.
 *
 * The key of a result is made of the database, the role, what the query means, its
 * arguments and the settings that it may depend on.
 *
 * A hit needs not the tree of the query, only what was found out about it, which is
 * remembered (a memo): so it need not be parsed again, until something changes that it
 * may depend on:
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
 *
 * A message only says that a memo is good no more.  Its memory, which a call may still
 * point to, is given back when another query is parsed; that no call outlives, as from
 * there on it has what it needs in a memory context of its own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "cache/call.h"
#include "cache/shared.h"
#include "common/event.h"
#include "compat.h"
#include "guc.h"

/* With more it forgets them all: a session that puts values into texts. */
#define MOST_MEMOS 1000

typedef struct Memo
{
	TexMemoKey	key;
	bool		valid;
	MemoryContext context;		/* has what "query" points to; NULL without */
	TexDefinitions definitions;
	TexQuery	query;
} Memo;

static HTAB *memos;
static MemoryContext memo_context;

/* Grows whenever this session learns that anything was defined anew. */
static uint64 definitions_seen = 1;

/* The transaction, with an id, in which it last did. */
static TransactionId changed_in = InvalidTransactionId;

static ProcessUtility_hook_type previous_utility;

/* ----------------------------------------------------------------
 *		Definitions
 * ----------------------------------------------------------------
 */
/* A number that changes with all that a query may mean. */
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

/* Something was defined anew: memos of that relation, or name, or all are good no more. */
static void
definitions_changed(Oid relation, uint32 name)
{
	HASH_SEQ_STATUS status;
	Memo	   *memo;

	definitions_seen++;
	changed_in = GetTopTransactionIdIfAny();
	if (tex_cache_is_there() && RecoveryInProgress())
		tex_relations_note_replayed();
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

/* A relation was defined anew; InvalidOid: any may have been. */
static void
on_relation_change(Datum argument, Oid relation)
{
	definitions_changed(relation, 0);
}

/*
 * A name was given or taken away; "hash" is 0 where any may have been.  Of functions,
 * schemas and members of roles it does not matter which.  Kinds of events are known by
 * the names of their type and schema.
 */
static void
on_catalog_change(Datum argument, int cache, uint32 hash)
{
	if (cache == TYPENAMENSP || cache == NAMESPACEOID)
		tex_kinds_may_have_changed();
	definitions_changed(InvalidOid, cache == TYPENAMENSP ? hash : 0);
}

/* Called instead of each utility command: notes those of this session that define. */
static void
on_command(PlannedStmt *plan, const char *sql, bool read_only, ProcessUtilityContext level,
		   ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		   QueryCompletion *completion)
{
	/* Asked now, as it may be gone afterwards; and not of BEGIN and COMMIT, which are many. */
	bool		defines = !IsA(plan->utilityStmt, TransactionStmt) &&
		GetCommandLogLevel(plan->utilityStmt) == LOGSTMT_DDL;

	if (previous_utility)
		previous_utility(plan, sql, read_only, level, params, environment, dest, completion);
	else
		standard_ProcessUtility(plan, sql, read_only, level, params, environment, dest, completion);
	if (defines)
		definitions_changed(InvalidOid, 0);
}

/* Called when the library is loaded, preloaded or not. */
void
tex_cache_call_init(void)
{
	CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPENAMENSP, on_catalog_change, (Datum) 0);
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
static void
read_definitions(TexDefinitions *definitions)
{
	static const Oid marked[] = {TEX_DEFINITIONS, TEX_ROLES};
	bool		recently;

	memset(definitions, 0, sizeof(TexDefinitions));
	definitions->settled = tex_cache_is_there() && !tex_i_changed_definitions();
	for (size_t i = 0; definitions->settled && !RecoveryInProgress() && i < lengthof(marked); i++)
	{
		tex_relation_track(marked[i], &definitions->marks[i]);
		definitions->settled =
			tex_relation_all_seen(&definitions->marks[i], GetActiveSnapshot()) &&
			tex_relation_is_told(&definitions->marks[i], &recently);
	}
	AcceptInvalidationMessages();
	definitions->seen = definitions_seen;
}

/* ----------------------------------------------------------------
 *		Memos
 * ----------------------------------------------------------------
 */
/* Was nothing marked since, that the snapshot may or may not see? */
static bool
is_unmarked(const TexDefinitions *definitions)
{
	if (RecoveryInProgress())
		return definitions->marks[0].relation == InvalidOid;
	return definitions->marks[0].relation != InvalidOid &&
		tex_relation_same(&definitions->marks[0], GetActiveSnapshot()) &&
		tex_relation_same(&definitions->marks[1], GetActiveSnapshot());
}

/* What is known of a query, or NULL. */
static const Memo *
recall(const TexMemoKey *key)
{
	Memo	   *memo = memos ? hash_search(memos, key, HASH_FIND, NULL) : NULL;

	return memo && memo->valid && is_unmarked(&memo->definitions) ? memo : NULL;
}

/* Forgets all memos, if there are any. */
static void
begin_memos(void)
{
	HASHCTL		info = {.keysize = sizeof(TexMemoKey), .entrysize = sizeof(Memo)};

	memos = NULL;
	if (memo_context)
		MemoryContextDelete(memo_context);
	memo_context = AllocSetContextCreate(TopMemoryContext, "trace_ext cached queries",
										 ALLOCSET_DEFAULT_SIZES);
	info.hcxt = memo_context;
	memos = hash_create("trace_ext cached queries", 64, &info,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Remembers what was found out about a query since "definitions" was read. */
static void
remember(const TexMemoKey *key, const TexQuery *query, const TexDefinitions *definitions)
{
	MemoryContext old;
	Memo	   *memo;
	bool		found;

	if (memos == NULL || hash_get_num_entries(memos) >= MOST_MEMOS)
		begin_memos();
	memo = hash_search(memos, key, HASH_ENTER, &found);
	if (found && memo->context)
		MemoryContextDelete(memo->context);
	/* Who runs out of memory here leaves it empty. */
	memset((char *) memo + sizeof(TexMemoKey), 0, sizeof(Memo) - sizeof(TexMemoKey));
	memo->context = AllocSetContextCreate(memo_context, "trace_ext cached query", ALLOCSET_SMALL_SIZES);

	old = MemoryContextSwitchTo(memo->context);
	memo->query = *query;
	memo->query.relations = list_copy(query->relations);
	memo->query.names = list_copy(query->names);
	memo->query.settings = copyObject(query->settings);
	memo->query.desc = CreateTupleDescCopy(query->desc);
	memo->query.ttl_reason = query->ttl_reason ? pstrdup(query->ttl_reason) : NULL;
	MemoryContextSwitchTo(old);
	memo->definitions = *definitions;
	memo->valid = definitions->settled && definitions->seen == definitions_seen;
}

/* ----------------------------------------------------------------
 *		Keys
 * ----------------------------------------------------------------
 */
/*
 * The schema of the session's temporary tables, if it has any.  Names in functions may
 * mean these.
 */
Oid
tex_temporary_schema(void)
{
	Oid			schema;
	Oid			toast_schema;

	GetTempNamespaceState(&schema, &toast_schema);
	return schema;
}

/* Bytes to be hashed. */
static StringInfoData buffer;

/*
 * Is the result for this session alone, because it asks for what only that knows, or
 * because of what is not known, which may find its temporary tables?
 */
bool
tex_call_is_of_session(const TexCall *call)
{
	return call->query.of_session ||
		(call->query.scope == TEX_SETTINGS_ALL && OidIsValid(tex_temporary_schema()));
}

/* What belongs to the session: whose it is, and itself where it alone knows. */
static void
add_session(const TexCall *call)
{
	Oid			user = GetSessionUserId();

	appendBinaryStringInfo(&buffer, (char *) &user, sizeof(Oid));
	if (tex_call_is_of_session(call))
	{
		appendBinaryStringInfo(&buffer, (char *) &MyProcPid, sizeof(int));
		appendBinaryStringInfo(&buffer, (char *) &MyStartTimestamp, sizeof(TimestampTz));
	}
}

/*
 * Writes down the arguments, by what they mean and not by how they were stored, to be
 * hashed and to be read again by tex_call_read_arguments().
 */
void
tex_call_write_arguments(const TexCall *call, StringInfo to)
{
	appendBinaryStringInfo(to, (const char *) &call->n_args, sizeof(int));
	for (int i = 0; i < call->n_args; i++)
	{
		int16		length;
		bool		by_value;
		char	   *place;

		get_typlenbyval(call->types[i], &length, &by_value);
		appendBinaryStringInfo(to, (const char *) &call->types[i], sizeof(Oid));
		enlargeStringInfo(to, (int) datumEstimateSpace(call->values[i], call->nulls[i], by_value, length));
		place = to->data + to->len;
		datumSerialize(call->values[i], call->nulls[i], by_value, length, &place);
		to->len = place - to->data;
	}
}

/* Sets the arguments to those that were written down. */
void
tex_call_read_arguments(TexCall *call, const char *from)
{
	char	   *place = unconstify(char *, from);

	memcpy(&call->n_args, place, sizeof(int));
	place += sizeof(int);
	call->types = palloc(sizeof(Oid) * call->n_args);
	call->values = palloc(sizeof(Datum) * call->n_args);
	call->nulls = palloc(sizeof(bool) * call->n_args);
	for (int i = 0; i < call->n_args; i++)
	{
		memcpy(&call->types[i], place, sizeof(Oid));
		place += sizeof(Oid);
		call->values[i] = datumRestore(&place, &call->nulls[i]);
	}
}

/*
 * An argument may point to where its row keeps it, and the row be gone when the result
 * is computed anew: from here on the arguments hold what they mean.
 */
static void
detoast_arguments(TexCall *call)
{
	for (int i = 0; i < call->n_args; i++)
		if (!call->nulls[i] && get_typlen(call->types[i]) == -1)
			call->values[i] = PointerGetDatum(PG_DETOAST_DATUM(call->values[i]));
}

/* Sets the key of the result, from what is known of the query. */
static void
set_key(TexCall *call)
{
	ListCell   *cell;

	tex_buffer_begin(&buffer);
	appendBinaryStringInfo(&buffer, (const char *) call->settings.hash[call->query.scope],
						   sizeof(call->settings.hash[0]));
	foreach(cell, call->query.settings)
	{
		const char *value = GetConfigOptionByName(strVal(lfirst(cell)), NULL, true);

		appendStringInfoChar(&buffer, value != NULL);
		appendBinaryStringInfo(&buffer, value ? value : "", value ? strlen(value) + 1 : 0);
	}
	if (call->query.scope == TEX_SETTINGS_ALL)
		add_session(call);
	appendBinaryStringInfo(&buffer, (const char *) call->query.hash, sizeof(call->query.hash));
	tex_call_write_arguments(call, &buffer);
	call->key.database = MyDatabaseId;
	call->key.role = GetUserId();
	tex_hash(buffer.data, buffer.len, call->key.hash);
}

/* Sets what the query is remembered by, from its text and what parsing depends on. */
static void
set_memo_key(TexCall *call)
{
	tex_buffer_begin(&buffer);
	appendBinaryStringInfo(&buffer, (const char *) call->settings.hash[TEX_SETTINGS_CORE],
						   sizeof(call->settings.hash[0]));
	for (int i = 0; i < call->n_args; i++)
		appendBinaryStringInfo(&buffer, (char *) &call->types[i], sizeof(Oid));
	/* What is refused depends on it. */
	appendBinaryStringInfo(&buffer, tex_cache_trusted_functions,
						   strlen(tex_cache_trusted_functions) + 1);
	appendBinaryStringInfo(&buffer, call->text, strlen(call->text));
	call->memo_key.role = GetUserId();
	call->memo_key.temporary = tex_temporary_schema();
	tex_hash(buffer.data, buffer.len, call->memo_key.hash);
}

/* ----------------------------------------------------------------
 *		Calls
 * ----------------------------------------------------------------
 */
/* The rows have the types that the caller says, or he would misread them. */
static void
check_columns(const TexCall *call)
{
	TupleDesc	have = call->query.desc;

	if (have->natts != call->desc->natts)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the cached query returns %d columns, but the column definition list has %d",
						have->natts, call->desc->natts)));
	for (int i = 0; i < have->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(have, i);
		Form_pg_attribute b = TupleDescAttr(call->desc, i);

		if (a->atttypid != b->atttypid || (b->atttypmod >= 0 && b->atttypmod != a->atttypmod))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column %d of the cached query is of type %s, but the column definition list says %s",
							i + 1, format_type_with_typemod(a->atttypid, a->atttypmod),
							format_type_with_typemod(b->atttypid, b->atttypmod))));
	}
}

/* Parses the query, and finds out what there is to know of it, in the current context. */
static void
parse(TexCall *call)
{
	read_definitions(&call->definitions);
	call->tree = tex_query_parse(call->text, call->types, call->n_args, &call->query);
	remember(&call->memo_key, &call->query, &call->definitions);
}

/*
 * Finds out what a call is about, which has its text, arguments and ttl: its query and
 * its key, and the columns where the caller does not say them.  Fails where its result
 * can never be cached, or has other columns than the caller says.
 */
void
tex_call_identify(TexCall *call)
{
	const Memo *memo;

	detoast_arguments(call);
	call->settings = *tex_settings_now();
	set_memo_key(call);
	memo = recall(&call->memo_key);
	if (memo)
		call->query = memo->query;
	else
		parse(call);
	if (call->desc)
		check_columns(call);
	else
		call->desc = CreateTupleDescCopy(call->query.desc);
	set_key(call);
	call->attempt = call->key;
}

/* Fails where the result can only be cached with a ttl, and there is none. */
void
tex_call_require_ttl(const TexCall *call)
{
	if (call->query.ttl_reason && call->ttl == TEX_NO_TTL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot cache this query without a ttl"),
				 errdetail_internal("%s", call->query.ttl_reason),
				 errhint("Say how old its result may be: cached(query, interval '30 s'). "
						 "Or answer for a function: trace_ext.cache_trusted_functions.")));
}

/*
 * The tree of the query, to be executed, once: the planner scribbles on it.  If it means
 * something else by now than when the call was identified, what is computed has the key
 * of that; the attempt to compute it keeps the one it has begun with.
 */
Query *
tex_call_tree(TexCall *call)
{
	Query	   *tree;

	if (call->tree == NULL)
	{
		uint64		hash[2];

		memcpy(hash, call->query.hash, sizeof(hash));
		parse(call);
		if (memcmp(hash, call->query.hash, sizeof(hash)) != 0)
		{
			check_columns(call);
			set_key(call);
		}
	}
	tree = call->tree;
	call->tree = NULL;
	return tree;
}
