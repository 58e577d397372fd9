/*
 * fold.c
 *		Who may fold, and when: never two folders at once.
 *
 * The lock is one on an object that is no relation lock, so that neither
 * autovacuum nor a reader of the base rows ever meets it.  A folder also locks the
 * partitions against being dropped, truncated or detached: those commands may wait
 * for the fold lock while they hold the partition's.  So a folder does not wait for
 * a partition while it holds the fold lock or another partition: it gives all back
 * and begins anew, and nobody can wait in a circle.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"

#include "common/event.h"
#include "compat.h"
#include "store/fold.h"

PG_FUNCTION_INFO_V1(tex_fold_lock);
PG_FUNCTION_INFO_V1(tex_require_read_committed);

/*
 * Does this transaction hold any lock on a relation?
 */
static bool
is_locked_by_me(Oid relation)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	for (LOCKMODE mode = AccessShareLock; mode <= AccessExclusiveLock; mode++)
	{
		if (tex_lock_held_by_me(&tag, mode))
			return true;
	}
	return false;
}

/*
 * Locks a relation if that needs no wait.  One that this transaction has locked
 * already does not, but a conditional request would be refused where another one
 * waits for a lock that conflicts with it.
 */
static bool
lock_without_wait(Oid relation)
{
	if (ConditionalLockRelationOid(relation, AccessShareLock))
		return true;
	if (!is_locked_by_me(relation))
		return false;
	LockRelationOid(relation, AccessShareLock);
	return true;
}

/*
 * Locks events and its partitions without waiting: all of them, and returns
 * InvalidOid, or none, and returns the first that is not to be had.
 */
static Oid
lock_partitions(void)
{
	List	   *parts = find_all_inheritors(tex_relation_oid("events"), NoLock, NULL);
	Oid			busy = InvalidOid;
	int			locked;

	for (locked = 0; locked < list_length(parts); locked++)
	{
		if (!lock_without_wait(list_nth_oid(parts, locked)))
			break;
	}
	if (locked < list_length(parts))
	{
		busy = list_nth_oid(parts, locked);
		for (int i = 0; i < locked; i++)
			UnlockRelationOid(list_nth_oid(parts, i), AccessShareLock);
	}
	list_free(parts);
	return busy;
}

/* The lock that makes folders one at a time, in this database. */
static LOCKTAG
fold_lock_tag(void)
{
	LOCKTAG		tag;

	/* Sub-object 1 keeps the tag apart from those of comments and the like. */
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId,
					   tex_relation_oid("summary_base"), 1);
	return tag;
}

/*
 * Does nobody fold at the moment?  Only a hint: as soon as this has given the lock
 * back, somebody may.
 */
bool
tex_fold_is_free(void)
{
	LOCKTAG		tag = fold_lock_tag();

	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	LockRelease(&tag, ExclusiveLock, false);
	return true;
}

/*
 * fold_lock(wait boolean) returns boolean
 *
 * True once the transaction holds the fold lock and AccessShareLock on events and
 * all its partitions, until it ends; false where that would take a wait, and none
 * was asked for.  Fails in recovery.
 */
Datum
tex_fold_lock(PG_FUNCTION_ARGS)
{
	bool		wait = PG_GETARG_BOOL(0);
	LOCKTAG		tag = fold_lock_tag();

	PreventCommandDuringRecovery("fold()");
	for (;;)
	{
		Oid			busy;

		CHECK_FOR_INTERRUPTS();
		if (LockAcquire(&tag, ExclusiveLock, false, !wait) == LOCKACQUIRE_NOT_AVAIL)
			PG_RETURN_BOOL(false);
		busy = lock_partitions();
		if (!OidIsValid(busy))
			PG_RETURN_BOOL(true);
		LockRelease(&tag, ExclusiveLock, false);
		if (!wait)
			PG_RETURN_BOOL(false);
		LockRelationOid(busy, AccessShareLock);
		UnlockRelationOid(busy, AccessShareLock);
	}
}

/*
 * require_read_committed(what text) returns void
 *
 * What takes rows out of counts for good must see all of them, also those that
 * were committed after the snapshot of the transaction.
 */
Datum
tex_require_read_committed(PG_FUNCTION_ARGS)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s needs a READ COMMITTED transaction",
						text_to_cstring(PG_GETARG_TEXT_PP(0))),
				 errhint("An older snapshot could miss events that writers have committed, and counts would be wrong.")));
	PG_RETURN_VOID();
}
