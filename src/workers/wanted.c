/*
 * wanted.c
 *		Which commands want a database for themselves, and whether the caller may
 *		have it.
 *
 * Nothing is done for a command that will be refused: whoever has no right to it must
 * not be able to stop a worker by trying.  So what the command is going to check is
 * checked here first: where it may run, that its object is there, and the caller's
 * rights on it.  A role can thus send away only whom it could send away by dropping
 * the object itself.
 *
 * No lock is kept: the command looks up its names again, and what changed in between
 * costs a worker a restart, no more.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_tablespace.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "common/event.h"
#include "workers/wanted.h"

/* ----------------------------------------------------------------
 *		Rights
 * ----------------------------------------------------------------
 */
/* Is the current user a superuser, or has CREATEDB? */
static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		may;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	may = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return may;
}

/* False for a database that is not there as well. */
static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		template;

	template = HeapTupleIsValid(tuple) && ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return template;
}

/* False for InvalidOid as well. */
static bool
owns_database(Oid database)
{
	return OidIsValid(database) && tex_owns_database(database);
}

/* ----------------------------------------------------------------
 *		Which commands
 * ----------------------------------------------------------------
 */
/* The value of an option of CREATE or ALTER DATABASE, or NULL. */
static const char *
option_of(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/*
 * DROP DATABASE fails in a transaction block, of the current database, of a
 * template, and for others than the owner.
 */
static Oid
wanted_by_drop_database(DropdbStmt *stmt, bool in_block)
{
	Oid			database = get_database_oid(stmt->dbname, true);

	if (in_block || !owns_database(database) || database == MyDatabaseId || is_template(database))
		return InvalidOid;
	return database;
}

/* CREATE DATABASE wants the one that it copies. */
static Oid
wanted_by_create_database(CreatedbStmt *stmt, bool in_block)
{
	const char *template = option_of(stmt->options, "template");
	Oid			database;

	if (in_block || !may_create_databases() || OidIsValid(get_database_oid(stmt->dbname, true)))
		return InvalidOid;
	database = get_database_oid(template ? template : "template1", true);
	/* Who may create databases may copy a template, and else what he owns. */
	return is_template(database) || owns_database(database) ? database : InvalidOid;
}

/* ALTER DATABASE ...  SET TABLESPACE; other options want nobody out. */
static Oid
wanted_by_move(AlterDatabaseStmt *stmt, bool in_block)
{
	const char *name = option_of(stmt->options, "tablespace");
	Oid			database;
	Oid			tablespace;

	if (name == NULL || in_block)
		return InvalidOid;
	database = get_database_oid(stmt->dbname, true);
	tablespace = get_tablespace_oid(name, true);
	if (!owns_database(database) || database == MyDatabaseId || !OidIsValid(tablespace) ||
		!tex_may_use_tablespace(tablespace))
		return InvalidOid;
	return database;
}

/* ALTER DATABASE ...  RENAME. */
static Oid
wanted_by_rename(RenameStmt *stmt)
{
	Oid			database;

	if (stmt->renameType != OBJECT_DATABASE)
		return InvalidOid;
	database = get_database_oid(stmt->subname, true);
	if (!owns_database(database) || database == MyDatabaseId || !may_create_databases() ||
		OidIsValid(get_database_oid(stmt->newname, true)))
		return InvalidOid;
	return database;
}

/*
 * Is the extension among those that are dropped, and may all of them be?  One that
 * may not fails the command before anything is dropped.
 */
static bool
drops_extension(DropStmt *stmt)
{
	bool		ours = false;
	ListCell   *lc;

	foreach(lc, stmt->objects)
	{
		Oid			extension = get_extension_oid(strVal(lfirst(lc)), true);

		if (!OidIsValid(extension) && !stmt->missing_ok)
			return false;
		if (OidIsValid(extension) && !tex_owns_extension(extension))
			return false;
		ours = ours || (OidIsValid(extension) && extension == tex_extension_oid());
	}
	return ours;
}

/*
 * The same, through its schema.  A schema that the extension made cannot be dropped
 * without it, nor the extension through a schema without CASCADE.
 */
static bool
drops_schema(DropStmt *stmt)
{
	bool		ours = false;
	ListCell   *lc;

	if (stmt->behavior != DROP_CASCADE || !OidIsValid(tex_extension_oid()))
		return false;
	foreach(lc, stmt->objects)
	{
		Oid			schema = get_namespace_oid(strVal(lfirst(lc)), true);

		if (!OidIsValid(schema) && !stmt->missing_ok)
			return false;
		if (OidIsValid(schema) && !tex_owns_schema(schema))
			return false;
		ours = ours || (OidIsValid(schema) && strcmp(strVal(lfirst(lc)), "trace_ext") == 0 &&
						!OidIsValid(getExtensionOfObject(NamespaceRelationId, schema)));
	}
	return ours;
}

/* The owner of the schema, or InvalidOid. */
static Oid
owner_of_schema(Oid schema)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * The owner of the tables in the schema, who is the extension's; InvalidOid where
 * there are none.
 */
static Oid
owner_of_events(Oid schema)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(get_relname_relid("events", schema)));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * DROP OWNED of roles all of which the caller may act for, and one of which owns the
 * extension or its schema.
 */
static bool
drops_what_it_owns(DropOwnedStmt *stmt)
{
	Oid			schema = get_namespace_oid("trace_ext", true);
	bool		ours = false;
	ListCell   *lc;

	if (!OidIsValid(schema) || !OidIsValid(tex_extension_oid()))
		return false;
	foreach(lc, stmt->roles)
	{
		RoleSpec   *spec = lfirst_node(RoleSpec, lc);
		Oid			role = get_rolespec_oid(spec, true);

		if (!OidIsValid(role) || !has_privs_of_role(GetUserId(), role))
			return false;
		ours = ours || role == owner_of_schema(schema) || role == owner_of_events(schema);
	}
	return ours;
}

/* ALTER EXTENSION: an update replaces functions that a worker may be executing. */
static bool
updates_us(AlterExtensionStmt *stmt)
{
	Oid			extension;

	if (strcmp(stmt->extname, "trace_ext") != 0)
		return false;
	extension = get_extension_oid(stmt->extname, true);
	return OidIsValid(extension) && tex_owns_extension(extension);
}

/* Most statements are none of these, and pay a comparison. */
static bool
may_want_a_database(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
		case T_CreatedbStmt:
		case T_AlterDatabaseStmt:
		case T_RenameStmt:
		case T_DropStmt:
		case T_AlterExtensionStmt:
		case T_DropOwnedStmt:
			/* And nothing may be changed where this is not so. */
			return IsTransactionState() && OidIsValid(MyDatabaseId) &&
				!XactReadOnly && !RecoveryInProgress() && !IsInParallelMode();
		default:
			return false;
	}
}

/*
 * The database that a command wants without others in it; InvalidOid where it wants
 * none, or will be refused.  Called before the command, by every utility statement of
 * every session: reads catalogs only for the few kinds that can want one.
 */
Oid
tex_database_wanted_by(Node *stmt, ProcessUtilityContext context)
{
	bool		in_block;

	if (!may_want_a_database(stmt))
		return InvalidOid;
	in_block = IsInTransactionBlock(context == PROCESS_UTILITY_TOPLEVEL);
	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return wanted_by_drop_database((DropdbStmt *) stmt, in_block);
		case T_CreatedbStmt:
			return wanted_by_create_database((CreatedbStmt *) stmt, in_block);
		case T_AlterDatabaseStmt:
			return wanted_by_move((AlterDatabaseStmt *) stmt, in_block);
		case T_RenameStmt:
			return wanted_by_rename((RenameStmt *) stmt);
		case T_DropStmt:
			if (((DropStmt *) stmt)->removeType == OBJECT_EXTENSION)
				return drops_extension((DropStmt *) stmt) ? MyDatabaseId : InvalidOid;
			if (((DropStmt *) stmt)->removeType == OBJECT_SCHEMA)
				return drops_schema((DropStmt *) stmt) ? MyDatabaseId : InvalidOid;
			return InvalidOid;
		case T_AlterExtensionStmt:
			return updates_us((AlterExtensionStmt *) stmt) ? MyDatabaseId : InvalidOid;
		case T_DropOwnedStmt:
			return drops_what_it_owns((DropOwnedStmt *) stmt) ? MyDatabaseId : InvalidOid;
		default:
			return InvalidOid;
	}
}
