/*
 * writes.c
 *		Which relations transactions write, as far as cached results depend on them.
 *
 * How writes are noticed: who writes a table holds RowExclusiveLock on it until his
 * transaction ends, whatever the way: INSERT, COPY, a trigger, a foreign key's
 * cascade, logical replication, rows routed to a partition.  TRUNCATE, REFRESH
 * MATERIALIZED VIEW and most of ALTER TABLE hold AccessExclusiveLock.  So when a
 * transaction that has an id is about to commit, its locks say which of the tracked
 * relations it wrote.  Locks of a savepoint that was rolled back are gone by then.
 *
 * It goes through its own locks and asks of each whether that relation is tracked,
 * so it pays for what it locked and not for what others track.  A lock is in one of
 * two places: the few weak ones of the fast path are in the entry of the process
 * (PGPROC), all others in its lists of the lock table, one a partition.  Another
 * process may move one from the first place to the second, never back; so the first
 * is looked at before the second.
 *
 * DDL that takes weaker locks, or none, as GRANT, is known by the invalidation
 * messages that it is about to send.  ANALYZE sends such messages as well, for what it
 * writes into the rows of pg_class in place, and changes no result: of a transaction
 * that did no more, they mean nothing.
 *
 * What a transaction did itself it also sees before it commits; tex_i_wrote() and
 * tex_i_changed_definitions() (call.c) say that it must keep away from the cache.
 *
 * Not noticed: relations written by code that releases its lock before the end of
 * the transaction, against the rule of PostgreSQL for user tables; and what another
 * library writes in a callback before commit that is called after ours, so trace_ext
 * should come first in shared_preload_libraries.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/sinval.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "cache/relations.h"
#include "cache/shared.h"
#include "cache/writes.h"
#include "common/xact.h"
#include "compat.h"

/* What a transaction that is about to commit has told so far. */
typedef struct Changes
{
	TimestampTz at;				/* that it commits, or DT_NOEND */
	bool		definitions;
	bool		names;
	bool		roles;
	bool		marked;			/* as a writer of anything that is tracked */
} Changes;

/* When this session last committed a write to a tracked relation. */
static TimestampTz last_write = 0;

/* Does this transaction hold a lock of that very mode? */
static bool
holds(Oid relation, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	return tex_lock_held_by_me(&tag, mode);
}

/*
 * Visits each lock that this process has in the lock table, whose lists change by itself,
 * or by others who hold the partition.
 */
static void
visit_lock_table(void (*visit) (const PROCLOCK *held, void *arg), void *arg)
{
	for (int partition = 0; partition < NUM_LOCK_PARTITIONS; partition++)
	{
		PROCLOCK   *held = tex_next_lock(partition, NULL);

		if (held == NULL)
			continue;
		LWLockAcquire(LockHashPartitionLockByIndex(partition), LW_SHARED);
		for (held = tex_next_lock(partition, NULL); held; held = tex_next_lock(partition, held))
			visit(held, arg);
		LWLockRelease(LockHashPartitionLockByIndex(partition));
	}
}

/* Has this transaction written the relation, so that it sees what no other does? */
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

/* Notes what a message about a row of a catalog means for results. */
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

/*
 * A new or dropped relation may give a name another meaning; a temporary one only
 * here.  Of one that is gone nobody needs to know who wrote it.
 */
static void
note_relation_message(Changes *changes, Oid relation)
{
	Oid			schema = OidIsValid(relation) ? get_rel_namespace(relation) : InvalidOid;

	if (!OidIsValid(schema) || !isAnyTempNamespace(schema))
		changes->names = true;
	if (!OidIsValid(relation))
	{
		tex_relations_wipe_all(changes->at);
		changes->marked = true;
	}
	else if (OidIsValid(schema))
		changes->marked |= tex_relation_mark(relation, true, changes->at);
	else
		tex_relation_forget(relation);
}

/* ----------------------------------------------------------------
 *		Statistics
 *
 * A relation is defined by rows of catalogs.  Where its row in pg_class has another
 * version, that was written by this transaction.  Rows of most other catalogs send
 * messages of their own kind.  Those that do not (policies, triggers, inheritance) are
 * changed under a lock that is stronger than ANALYZE takes, of the relation or of its
 * child; only DETACH PARTITION CONCURRENTLY does with less, and that leaves the row in
 * pg_class alone, in place as well.
 * ----------------------------------------------------------------
 */
/* With more messages a transaction is not looked at so closely. */
#define MOST_STATISTICS 1000

/* May a message be of one who writes statistics? */
static bool
is_of_statistics(const SharedInvalidationMessage *message)
{
	switch (message->id)
	{
		case RELOID:
		case RELNAMENSP:
		case STATRELATTINH:
		case STATEXTDATASTXOID:
		case SHAREDINVALRELCACHE_ID:
			return true;
		default:
			return false;
	}
}

/*
 * Has the relation a row in pg_class that this transaction did not make?  What its last
 * command did, which no snapshot of it shows before the next one, counts as well.
 */
static bool
has_older_row(Oid relation)
{
	Relation	catalog = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;
	bool		older;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	scan = systable_beginscan(catalog, ClassOidIndexId, true, SnapshotSelf, 1, &key);
	row = systable_getnext(scan);
	older = HeapTupleIsValid(row) &&
		!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return older;
}

/* Was its row in pg_class changed in place, and no more known to be changed of it? */
static bool
is_changed_in_place(Oid relation, const SharedInvalidationMessage *messages, int n)
{
	uint32		hash = GetSysCacheHashValue1(RELOID, ObjectIdGetDatum(relation));

	for (int i = 0; i < n; i++)
	{
		if (messages[i].id == RELOID && messages[i].cc.hashValue == hash)
			return has_older_row(relation);
	}
	return false;
}

static void
note_strong_lock(const PROCLOCK *held, void *strong)
{
	LOCKMASK	weak = LOCKBIT_ON(AccessShareLock) | LOCKBIT_ON(RowShareLock) |
		LOCKBIT_ON(RowExclusiveLock) | LOCKBIT_ON(ShareUpdateExclusiveLock);

	*(bool *) strong |= held->tag.myLock->tag.locktag_type == LOCKTAG_RELATION &&
		(held->holdMask & ~weak) != 0;
}

/*
 * Does this transaction hold a lock on any relation that is stronger than ANALYZE takes?
 * Such locks are not in the fast path.
 */
static bool
holds_strong_lock(void)
{
	bool		strong = false;

	visit_lock_table(note_strong_lock, &strong);
	return strong;
}

/* Are these the messages of a transaction that wrote statistics, and defined nothing? */
static bool
wrote_statistics_only(const SharedInvalidationMessage *messages, int n)
{
	if (n > MOST_STATISTICS)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (!is_of_statistics(&messages[i]))
			return false;
	}
	if (holds_strong_lock())
		return false;
	for (int i = 0; i < n; i++)
	{
		if (messages[i].id == SHAREDINVALRELCACHE_ID &&
			!is_changed_in_place(messages[i].rc.relId, messages, n))
			return false;
	}
	return true;
}

/* ----------------------------------------------------------------
 *		Before the commit
 * ----------------------------------------------------------------
 */
/* Marks what the messages that are about to be sent say was changed. */
static void
mark_changed(Changes *changes)
{
	SharedInvalidationMessage *messages;
	bool		init_file;
	int			n = xactGetCommittedInvalidationMessages(&messages, &init_file);

	if (n == 0 || wrote_statistics_only(messages, n))
		return;
	for (int i = 0; i < n; i++)
	{
		if (messages[i].id >= 0)
			note_catalog_message(changes, messages[i].cc.id);
		else if (messages[i].id == SHAREDINVALRELCACHE_ID)
			note_relation_message(changes, messages[i].rc.relId);
	}
	if (changes->definitions)
		changes->marked |= tex_relation_mark(TEX_DEFINITIONS, true, changes->at);
	if (changes->names)
		changes->marked |= tex_relation_mark(TEX_NAMES, true, changes->at);
	if (changes->roles)
		changes->marked |= tex_relation_mark(TEX_ROLES, true, changes->at);
}

/* What the fast path has is asked about again, as it forgets relations but not places. */
static void
mark_locked_fast(Changes *changes)
{
	LWLockAcquire(&MyProc->fpInfoLock, LW_SHARED);
	for (int group = 0; group < tex_fast_path_groups(); group++)
	{
		if (tex_fast_path_bits(group) == 0)
			continue;
		for (int i = 0; i < TEX_FAST_PATH_SLOTS; i++)
		{
			Oid			relation = MyProc->fpRelId[group * TEX_FAST_PATH_SLOTS + i];

			if (OidIsValid(relation) && tex_relation_is_tracked(relation) &&
				holds(relation, RowExclusiveLock))
				changes->marked |= tex_relation_mark(relation, false, changes->at);
		}
	}
	LWLockRelease(&MyProc->fpInfoLock);
}

/* Marks what a lock in the table says was written. */
static void
mark_locked(const PROCLOCK *held, void *arg)
{
	Changes    *changes = arg;
	const LOCKTAG *tag = &held->tag.myLock->tag;
	bool		wipe = (held->holdMask & LOCKBIT_ON(AccessExclusiveLock)) != 0;

	if (tag->locktag_type == LOCKTAG_RELATION && tag->locktag_field1 == MyDatabaseId &&
		(wipe || (held->holdMask & LOCKBIT_ON(RowExclusiveLock)) != 0))
		changes->marked |= tex_relation_mark(tag->locktag_field2, wipe, changes->at);
}

/* Marks what this transaction wrote, and notes when it did. */
static void
mark_all(bool prepared)
{
	Changes		changes = {.at = prepared ? DT_NOEND : GetCurrentTimestamp()};

	mark_changed(&changes);
	mark_locked_fast(&changes);
	visit_lock_table(mark_locked, &changes);
	if (changes.marked)
		last_write = GetCurrentTimestamp();
}

static void
on_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
				break;
			tex_relations_committing();
			if (tex_relations_any())
				mark_all(event == XACT_EVENT_PRE_PREPARE);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			tex_relations_end_computing();
			break;
		default:
			break;
	}
}

void
tex_cache_writes_init(void)
{
	if (process_shared_preload_libraries_in_progress)
		tex_xact_register(TEX_XACT_CACHE_WRITES, on_transaction_end, NULL);
}
