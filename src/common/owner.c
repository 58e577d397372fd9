/*
 * owner.c
 *		Runs the extension's own SQL with the rights of its owner.
 *
 * A writer needs no right on the tables that triggers keep for him, nor does
 * his search_path reach the statements below.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "common/event.h"
#include "common/owner.h"

/*
 * Who owns events: the one that CREATE EXTENSION was run by, or that tables were
 * given to since.
 */
static Oid
owner_of_extension(void)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(tex_relation_oid("events")));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for trace_ext.events");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * From here to tex_become_caller() SQL runs as the owner of the extension, with a
 * search_path that no caller can lead astray.  May be nested.  On error the
 * transaction's or subtransaction's end brings user and settings back; nothing is
 * to be caught.
 */
void
tex_become_owner(TexOwnerContext *context)
{
	context->guc_nesting = NewGUCNestLevel();
	GetUserIdAndSecContext(&context->user, &context->security_context);
	SetUserIdAndSecContext(owner_of_extension(),
						   context->security_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Ends what tex_become_owner() began with the same context, settings that were SET
 * meanwhile included.
 */
void
tex_become_caller(TexOwnerContext *context)
{
	AtEOXact_GUC(false, context->guc_nesting);
	SetUserIdAndSecContext(context->user, context->security_context);
}

/*
 * Runs one statement of ours that returns nothing of interest, as the owner.
 * Needs an active snapshot; throws where it fails.
 */
void
tex_run_as_owner(const char *sql)
{
	TexOwnerContext context;

	tex_become_owner(&context);
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
	SPI_finish();
	tex_become_caller(&context);
}
