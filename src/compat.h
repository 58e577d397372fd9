/*
 * compat.h
 *		What differs between the PostgreSQL versions this builds on (15 to 18).
 *
 * Include after postgres.h and fmgr.h.
 */
#ifndef TEX_COMPAT_H
#define TEX_COMPAT_H

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "lib/ilist.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

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
 * where that encoding lacks it; before 16 the function for it throws.
 */
static inline bool
tex_unicode_to_server(pg_wchar code, unsigned char *to)
{
#if PG_VERSION_NUM >= 160000
	return pg_unicode_to_server_noerror(code, to);
#else
	unsigned char utf8[MAX_MULTIBYTE_CHAR_LEN + 1];
	unsigned char room[MAX_CONVERSION_GROWTH * (MAX_MULTIBYTE_CHAR_LEN + 2)];
	int			len;
	Oid			conversion;

	if (code <= 0x7F || GetDatabaseEncoding() == PG_UTF8)
	{
		pg_unicode_to_server(code, to);
		return true;
	}
	conversion = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	if (!OidIsValid(conversion))
		return false;
	unicode_to_utf8(code, utf8);
	len = pg_utf_mblen(utf8);
	if (pg_do_encoding_conversion_buf(conversion, PG_UTF8, GetDatabaseEncoding(), utf8, len,
									  room, sizeof(room), true) != len)
		return false;
	strlcpy((char *) to, (char *) room, MAX_UNICODE_EQUIVALENT_STRING + 1);
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

/* Is the current user the owner, or has the right? */
#if PG_VERSION_NUM >= 160000
#define tex_owns_database(oid) object_ownercheck(DatabaseRelationId, oid, GetUserId())
#define tex_owns_extension(oid) object_ownercheck(ExtensionRelationId, oid, GetUserId())
#define tex_owns_relation(oid) object_ownercheck(RelationRelationId, oid, GetUserId())
#define tex_owns_schema(oid) object_ownercheck(NamespaceRelationId, oid, GetUserId())
#define tex_role_may_connect(database, role) \
	(object_aclcheck(DatabaseRelationId, database, role, ACL_CONNECT) == ACLCHECK_OK)
#define tex_may_use_tablespace(oid) \
	(object_aclcheck(TableSpaceRelationId, oid, GetUserId(), ACL_CREATE) == ACLCHECK_OK)
#else
#define tex_owns_database(oid) pg_database_ownercheck(oid, GetUserId())
#define tex_owns_extension(oid) pg_extension_ownercheck(oid, GetUserId())
#define tex_owns_relation(oid) pg_class_ownercheck(oid, GetUserId())
#define tex_owns_schema(oid) pg_namespace_ownercheck(oid, GetUserId())
#define tex_role_may_connect(database, role) \
	(pg_database_aclcheck(database, role, ACL_CONNECT) == ACLCHECK_OK)
#define tex_may_use_tablespace(oid) \
	(pg_tablespace_aclcheck(oid, GetUserId(), ACL_CREATE) == ACLCHECK_OK)
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

/* A range of two bounds that is not empty. */
#if PG_VERSION_NUM >= 160000
#define tex_make_range(type, lower, upper) make_range(type, lower, upper, false, NULL)
#else
#define tex_make_range(type, lower, upper) make_range(type, lower, upper, false)
#endif

/* Is that transaction over, its locks given up? */
#if PG_VERSION_NUM >= 180000
#define tex_is_over(xid) ConditionalXactLockTableWait(xid, false)
#else
#define tex_is_over(xid) ConditionalXactLockTableWait(xid)
#endif

/*
 * Walks over the settings, at least those in which sessions may differ and which are not
 * at their defaults; none may be changed meanwhile.  From 16 on these are in a list of their own, whose head is private:
 * it is the link in that list that no setting has.
 */
#if PG_VERSION_NUM >= 160000
typedef struct TexSettingsScan
{
	dlist_node *head;
	dlist_node *at;
} TexSettingsScan;

static inline dlist_node *
tex_settings_head(void)
{
	static dlist_node *head = NULL;
	int			n;
	struct config_generic **all;
	int			i = 0;

	if (head)
		return head;
	all = get_guc_variables(&n);
	while (all[i]->source == PGC_S_DEFAULT)
		i++;
	for (dlist_node *at = all[i]->nondef_link.next; head == NULL; at = at->next)
	{
		for (i = 0; i < n && at != &all[i]->nondef_link; i++)
			;
		if (i == n)
			head = at;
	}
	pfree(all);
	return head;
}

static inline void
tex_settings_begin(TexSettingsScan *scan)
{
	scan->head = scan->at = tex_settings_head();
}

static inline struct config_generic *
tex_settings_next(TexSettingsScan *scan)
{
	scan->at = scan->at->next;
	return scan->at == scan->head ? NULL : dlist_container(struct config_generic, nondef_link, scan->at);
}
#else
typedef struct TexSettingsScan
{
	struct config_generic **at;
	struct config_generic **end;
} TexSettingsScan;

/*
 * Those in which sessions may differ, about half of all, are remembered.  What is defined
 * stays where it is; but a placeholder may give way to another setting, unseen.
 */
static inline void
tex_settings_begin(TexSettingsScan *scan)
{
	static struct config_generic **differing = NULL;
	static int	n_differing;
	static int	known = 0;
	static bool placeholders = false;
	int			n = GetNumConfigOptions();

	if (n != known || placeholders)
	{
		struct config_generic **all = get_guc_variables();

		if (differing)
			pfree(differing);
		differing = NULL;
		known = 0;
		differing = MemoryContextAlloc(TopMemoryContext, n * sizeof(struct config_generic *));
		n_differing = 0;
		placeholders = false;
		for (int i = 0; i < n; i++)
		{
			placeholders |= (all[i]->flags & GUC_CUSTOM_PLACEHOLDER) != 0;
			if (all[i]->context > PGC_SIGHUP)
				differing[n_differing++] = all[i];
		}
		known = n;
	}
	scan->at = differing;
	scan->end = differing + n_differing;
}

static inline struct config_generic *
tex_settings_next(TexSettingsScan *scan)
{
	return scan->at == scan->end ? NULL : *scan->at++;
}
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
