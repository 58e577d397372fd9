/*
 * compat.h
 *		What differs between the PostgreSQL versions this builds on (15 to 18).
 *
 * Include after postgres.h and fmgr.h.
 */
#ifndef TEX_COMPAT_H
#define TEX_COMPAT_H

#include "mb/pg_wchar.h"
#include "storage/proc.h"

/*
 * tex_ereturn(escontext, result, (errcode(...), errmsg(...), ...)): from 16 on an
 * input function hands a refused value back to callers that ask for it, such as
 * pg_input_is_valid(); before, every error is thrown.
 */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#define tex_ereturn(escontext, result, ...) \
	ereturn(escontext, result, __VA_ARGS__)
#else
#define tex_ereturn(escontext, result, ...) \
	do { \
		(void) (escontext); \
		ereport(ERROR, __VA_ARGS__); \
		return result; \
	} while (0)
#endif

/*
 * Write a code point in the database's encoding, with a terminating zero. False
 * where that encoding lacks it; before 16 that is thrown.
 */
static inline bool
tex_unicode_to_server(pg_wchar code, unsigned char *to)
{
#if PG_VERSION_NUM >= 160000
	return pg_unicode_to_server_noerror(code, to);
#else
	pg_unicode_to_server(code, to);
	return true;
#endif
}

/*
 * Does this transaction hold that lock, in that very mode?  From 17 on
 * LockHeldByMe() is also asked about stronger modes.
 */
#if PG_VERSION_NUM >= 170000
#define tex_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define tex_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

/* Fails where the caller lacks a right on a relation of a query, or on a function. */
#if PG_VERSION_NUM >= 160000
#define tex_check_rights(query) \
	((void) ExecCheckPermissions((query)->rtable, (query)->rteperminfos, true))
#define tex_may_execute(function) \
	(object_aclcheck(ProcedureRelationId, function, GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#else
#define tex_check_rights(query) \
	((void) ExecCheckRTPerms((query)->rtable, true))
#define tex_may_execute(function) \
	(pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* The number of this process among all. */
#if PG_VERSION_NUM >= 170000
#define tex_my_proc_number() MyProcNumber
#else
#define tex_my_proc_number() (MyProc->pgprocno)
#endif

/*
 * Relations that this process has locked by the fast path: where any bit of a group is
 * set, its slots may name some.  Until 17 there is one group.
 */
#define TEX_FAST_PATH_SLOTS 16
#if PG_VERSION_NUM >= 180000
StaticAssertDecl(FP_LOCK_SLOTS_PER_GROUP == TEX_FAST_PATH_SLOTS, "slots of a group");
#define tex_fast_path_groups() FastPathLockGroupsPerBackend
#define tex_fast_path_bits(group) (MyProc->fpLockBits[group])
#else
StaticAssertDecl(FP_LOCK_SLOTS_PER_BACKEND == TEX_FAST_PATH_SLOTS, "slots of a process");
#define tex_fast_path_groups() 1
#define tex_fast_path_bits(group) (MyProc->fpLockBits)
#endif

/*
 * The lock of this process after "held" (NULL: the first one) in a partition of the
 * lock table, or NULL.
 */
static inline PROCLOCK *
tex_next_lock(int partition, PROCLOCK *held)
{
#if PG_VERSION_NUM >= 160000
	dlist_head *list = &MyProc->myProcLocks[partition];

	if (held == NULL)
		return dlist_is_empty(list) ? NULL : dlist_head_element(PROCLOCK, procLink, list);
	if (!dlist_has_next(list, &held->procLink))
		return NULL;
	return dlist_container(PROCLOCK, procLink, dlist_next_node(list, &held->procLink));
#else
	SHM_QUEUE  *list = &MyProc->myProcLocks[partition];

	return (PROCLOCK *) SHMQueueNext(list, held ? &held->procLink : list,
									 offsetof(PROCLOCK, procLink));
#endif
}

/* Is that transaction over, its locks given up? */
#if PG_VERSION_NUM >= 180000
#define tex_is_over(xid) ConditionalXactLockTableWait(xid, false)
#else
#define tex_is_over(xid) ConditionalXactLockTableWait(xid)
#endif

/* All settings that there are. */
#if PG_VERSION_NUM >= 160000
#define tex_all_settings(n) get_guc_variables(n)
#else
#define tex_all_settings(n) (*(n) = GetNumConfigOptions(), get_guc_variables())
#endif

/* From 18 on a plan is executed but once, so nobody has to say so. */
#if PG_VERSION_NUM >= 180000
#define tex_executor_run(query) ExecutorRun(query, ForwardScanDirection, 0)
#define tex_form_minimal_tuple(desc, values, isnull) \
	heap_form_minimal_tuple(desc, values, isnull, 0)
#else
#define tex_executor_run(query) ExecutorRun(query, ForwardScanDirection, 0, true)
#define tex_form_minimal_tuple(desc, values, isnull) \
	heap_form_minimal_tuple(desc, values, isnull)
#endif

/*
 * Runs a portal to its end.  Until 17 the caller says whether he runs it once.
 */
#if PG_VERSION_NUM >= 180000
#define tex_portal_run(portal, dest, completion) \
	PortalRun(portal, FETCH_ALL, true, dest, dest, completion)
#else
#define tex_portal_run(portal, dest, completion) \
	PortalRun(portal, FETCH_ALL, true, true, dest, dest, completion)
#endif

#endif							/* TEX_COMPAT_H */
