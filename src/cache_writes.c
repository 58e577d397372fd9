/*
 * cache_writes.c
 *		Which relations transactions write, as far as cached results depend on them.
 *
 * How writes are noticed: who writes a table holds RowExclusiveLock on it until his
 * transaction ends, whatever the way: INSERT, COPY, a trigger, a foreign key's
 * cascade, logical replication, rows routed to a partition.  TRUNCATE, REFRESH
 * MATERIALIZED VIEW and most of ALTER TABLE hold AccessExclusiveLock.  So when a
 * transaction that has an id is about to commit, its locks say which of the tracked
 * relations it wrote.  Locks of a savepoint that was rolled back are gone by then.
 *
 * DDL that takes weaker locks, or none, as GRANT, is known by the invalidation
 * messages that it is about to send.
 *
 * What a transaction did itself it also sees before it commits; tex_i_wrote() and
 * tex_i_changed_definitions() (cache_memo.c) say that it must keep away from the cache.
 *
 * Not noticed: relations written by code that releases its lock before the end of
 * the transaction, against the rule of PostgreSQL for user tables; and what another
 * library writes in a callback before commit that is called after ours, so trace_ext
 * should come first in shared_preload_libraries.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/sinval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "cache_locks.h"
#include "cache_relations.h"
#include "cache_writes.h"

/* What the messages of a transaction say it changed. */
typedef struct Changes
{
	bool		definitions;
	bool		names;
	bool		roles;
	bool		everything;
	List	   *relations;
} Changes;

/* When this session last committed a write to a tracked relation. */
static TimestampTz last_write = 0;

static bool
holds(Oid relation, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	return tex_lock_held_by_me(&tag, mode);
}

/*
 * Has this transaction written the relation, so that it sees what no other does?
 */
bool
tex_i_wrote(Oid relation)
{
	return TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		(holds(relation, RowExclusiveLock) || holds(relation, AccessExclusiveLock));
}

/*
 * When this session last wrote what cached results depend on.  Older results are
 * not young enough for it: who writes expects to see it.
 */
TimestampTz
tex_last_write(void)
{
	return last_write;
}

static void
note_catalog_message(Changes *changes, int cache)
{
	switch (cache)
	{
		case PROCOID:
		case AGGFNOID:
		case OPEROID:
		case CASTSOURCETARGET:
		case ENUMOID:
		case COLLOID:
		case CLAOID:
		case AMOPOPID:
		case NAMESPACEOID:
		case TSCONFIGMAP:
		case TSCONFIGOID:
		case TSDICTOID:
		case TSPARSEROID:
		case TSTEMPLATEOID:
			changes->definitions = true;
			break;
		case AUTHOID:
		case AUTHMEMROLEMEM:
		case AUTHMEMMEMROLE:
		case DATABASEOID:		/* its owner is a member of pg_database_owner */
			changes->roles = true;
			break;
		default:
			break;
	}
}

/* A new or dropped relation may give a name another meaning; a temporary one only here. */
static void
note_relation_message(Changes *changes, Oid relation)
{
	Oid			schema;

	if (!OidIsValid(relation))
		changes->everything = true;
	changes->relations = lappend_oid(changes->relations, relation);
	schema = get_rel_namespace(relation);
	if (!OidIsValid(schema) || !isAnyTempNamespace(schema))
		changes->names = true;
}

static void
read_messages(Changes *changes)
{
	SharedInvalidationMessage *messages;
	bool		init_file;
	int			n = xactGetCommittedInvalidationMessages(&messages, &init_file);

	for (int i = 0; i < n; i++)
	{
		if (messages[i].id >= 0)
			note_catalog_message(changes, messages[i].cc.id);
		else if (messages[i].id == SHAREDINVALRELCACHE_ID)
			note_relation_message(changes, messages[i].rc.relId);
	}
}

static bool
is_changed(const Changes *changes, Oid relation)
{
	if (relation == TEX_DEFINITIONS)
		return changes->definitions;
	if (relation == TEX_NAMES)
		return changes->names;
	if (relation == TEX_ROLES)
		return changes->roles;
	return changes->everything || list_member_oid(changes->relations, relation);
}

static void
mark_all(TimestampTz at)
{
	Changes		changes = {0};
	TexTracked *tracked;
	int			n = tex_relations_tracked(&tracked);
	bool		marked = false;

	read_messages(&changes);
	for (int i = 0; i < n; i++)
	{
		Oid			relation = tracked[i].relation;

		if (is_changed(&changes, relation) || holds(relation, AccessExclusiveLock))
			tex_relation_mark(&tracked[i], true, at);
		else if (holds(relation, RowExclusiveLock))
			tex_relation_mark(&tracked[i], false, at);
		else
			continue;
		marked = true;
	}
	if (marked)
		last_write = GetCurrentTimestamp();
}

static void
on_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		return;
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	tex_relations_committing();
	mark_all(event == XACT_EVENT_PRE_PREPARE ? DT_NOEND : GetCurrentTimestamp());
}

/*
 * It must be called before any other module's that writes tables when a transaction
 * commits: the callbacks are called in the reverse order.
 */
void
tex_cache_writes_init(void)
{
	if (process_shared_preload_libraries_in_progress)
		RegisterXactCallback(on_transaction_end, NULL);
}
