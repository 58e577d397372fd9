/*
 * event.c
 *		Kinds of events and what every part has to know of an event.
 *
 * C code works with TexKind; the tables hold the oids of the labels of the
 * enum event_kind.  The translation is cached by the oid of the type, because
 * DROP and CREATE EXTENSION in one session give the labels new oids; that one is
 * looked up when types or schemas have changed, as it is asked for some times an event.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"

#include "common/event.h"

/* A response with this status or a higher one is the service's failure. */
#define FIRST_ERROR_STATUS 500

static const char *const kind_names[TEX_KIND_COUNT] = {
	"FunctionCall", "AsyncSpawn", "AsyncAwait", "StateChange", "LockAcquire",
	"LockRelease", "MemoryFence", "HttpRequest", "HttpResponse",
	"DatabaseQuery", "DatabaseResult", "Error", "Custom"
};

static Oid	cached_type = InvalidOid;
static Oid	kind_oids[TEX_KIND_COUNT];
static bool kinds_are_current = false;	/* no type or schema has changed since they were looked at */

PG_FUNCTION_INFO_V1(tex_is_error);

/*
 * The schema of the extension.  It is fixed, so its name finds it.
 */
Oid
tex_schema_oid(void)
{
	return get_namespace_oid("trace_ext", false);
}

/*
 * The oid of a table or view of the extension.
 */
Oid
tex_relation_oid(const char *name)
{
	Oid			oid = get_relname_relid(name, tex_schema_oid());

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"trace_ext.%s\" does not exist", name),
				 errhint("Run CREATE EXTENSION trace_ext.")));
	return oid;
}

/*
 * Is this the database of a router (trace_ext_router), whose events are on nodes?
 */
bool
tex_is_router(void)
{
	Oid			schema = get_namespace_oid("trace_ext_internal", true);

	return OidIsValid(schema) && OidIsValid(get_relname_relid("shard_nodes", schema));
}

/*
 * The extension of this database, that of a store or that of a router; InvalidOid where
 * there is none.
 */
Oid
tex_extension_oid(void)
{
	Oid			store = get_extension_oid("trace_ext", true);

	return OidIsValid(store) ? store : get_extension_oid("trace_ext_router", true);
}

/*
 * A type or a schema has changed, or many things.  Who hears of that is cache/call.c, for the whole
 * library, from when it is loaded: a session has few places for those who want to hear.
 */
void
tex_kinds_may_have_changed(void)
{
	kinds_are_current = false;
}

/*
 * Fills kind_oids from the catalog, once a session and extension.  The cache is
 * valid only when it is complete: an error in the middle leaves it to be filled
 * anew.
 */
static void
load_kind_oids(void)
{
	Oid			known = cached_type;
	Oid			type;

	if (kinds_are_current && OidIsValid(known))
		return;
	/* Set first, so that a change that is heard of during the look-ups counts. */
	kinds_are_current = true;
	cached_type = InvalidOid;
	type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum("event_kind"),
						   ObjectIdGetDatum(tex_schema_oid()));
	if (type == known && OidIsValid(type))
	{
		cached_type = type;
		return;
	}
	for (int kind = 0; kind < TEX_KIND_COUNT; kind++)
	{
		HeapTuple	label = SearchSysCache2(ENUMTYPOIDNAME,
											ObjectIdGetDatum(type),
											CStringGetDatum(kind_names[kind]));

		if (!HeapTupleIsValid(label))
			elog(ERROR, "enum trace_ext.event_kind has no label \"%s\"", kind_names[kind]);
		kind_oids[kind] = ((Form_pg_enum) GETSTRUCT(label))->oid;
		ReleaseSysCache(label);
	}
	cached_type = type;
}

/*
 * The label of a kind, as the enum and the clients' JSON spell it.
 */
const char *
tex_kind_name(TexKind kind)
{
	return kind_names[kind];
}

/*
 * The kind that a client's JSON names, or TEX_NO_KIND.
 */
TexKind
tex_kind_by_name(const char *name, int len)
{
	for (int kind = 0; kind < TEX_KIND_COUNT; kind++)
	{
		if (strlen(kind_names[kind]) == (size_t) len &&
			memcmp(kind_names[kind], name, len) == 0)
			return kind;
	}
	return TEX_NO_KIND;
}

/* Is that how an access of a variable is typed? By the exact spelling. */
bool
tex_is_access_type(const char *name, int len)
{
	static const char *const types[] = {"Read", "Write", "AtomicRead", "AtomicWrite", "AtomicRMW"};

	for (Size i = 0; i < lengthof(types); i++)
	{
		if (strlen(types[i]) == (size_t) len && memcmp(types[i], name, len) == 0)
			return true;
	}
	return false;
}

/*
 * The kind that a row of events holds.  An oid that is no label is an internal
 * error: rows come from our own tables.
 */
TexKind
tex_kind_by_oid(Oid label)
{
	load_kind_oids();
	for (int kind = 0; kind < TEX_KIND_COUNT; kind++)
	{
		if (kind_oids[kind] == label)
			return kind;
	}
	elog(ERROR, "%u is no label of trace_ext.event_kind", label);
	return TEX_NO_KIND;			/* keep the compiler quiet */
}

/*
 * The label to store for a kind, as the catalog numbers it now.
 */
Oid
tex_kind_oid(TexKind kind)
{
	load_kind_oids();
	return kind_oids[kind];
}

/*
 * Is the event a failure of the service?  An event of kind Error is, and so
 * is an HttpResponse whose status says server error; a client's error (4xx)
 * is none, as in the semantic conventions of OpenTelemetry for servers.
 */
bool
tex_event_is_error(TexKind kind, Jsonb *attributes)
{
	JsonbValue	key;
	JsonbValue *status;

	if (kind == TEX_ERROR)
		return true;
	if (kind != TEX_HTTP_RESPONSE || attributes == NULL ||
		!JB_ROOT_IS_OBJECT(attributes))
		return false;

	key.type = jbvString;
	key.val.string.val = "status";
	key.val.string.len = strlen("status");
	status = findJsonbValueFromContainer(&attributes->root, JB_FOBJECT, &key);

	return status != NULL && status->type == jbvNumeric &&
		DatumGetBool(DirectFunctionCall2(numeric_ge,
										 NumericGetDatum(status->val.numeric),
										 NumericGetDatum(int64_to_numeric(FIRST_ERROR_STATUS))));
}

/*
 * Does an access with these attributes write its variable?
 */
bool
tex_access_writes(Jsonb *attributes)
{
	static const char *const writes[] = {"Write", "AtomicWrite", "AtomicRMW"};
	JsonbValue	key = {.type = jbvString};
	JsonbValue *type;

	if (attributes == NULL || !JB_ROOT_IS_OBJECT(attributes))
		return false;
	key.val.string.val = "access_type";
	key.val.string.len = strlen("access_type");
	type = findJsonbValueFromContainer(&attributes->root, JB_FOBJECT, &key);
	if (type == NULL || type->type != jbvString)
		return false;
	for (Size i = 0; i < lengthof(writes); i++)
	{
		if (strlen(writes[i]) == (Size) type->val.string.len &&
			memcmp(writes[i], type->val.string.val, type->val.string.len) == 0)
			return true;
	}
	return false;
}

/*
 * is_error(event_kind, jsonb) returns boolean
 */
Datum
tex_is_error(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(tex_event_is_error(tex_kind_by_oid(PG_GETARG_OID(0)),
									  PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1)));
}
