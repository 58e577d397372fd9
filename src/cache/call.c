/*
 * call.c
 *		One call of cached(), and what its result is known by.
 *
 * The key of a result is made of the database, the role, what the query means, its
 * arguments and the settings that it may depend on.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "cache/call.h"
#include "cache/memo.h"
#include "cache/settings.h"
#include "guc.h"
#include "cache/writes.h"

/* A longer buffer is not kept for the next call. */
#define LONG_BUFFER (64 * 1024)

/* Bytes to be hashed; kept, as each call needs some. */
static StringInfoData buffer;

static void
begin(void)
{
	if (buffer.data && buffer.maxlen > LONG_BUFFER)
	{
		pfree(buffer.data);
		buffer.data = NULL;
	}
	if (buffer.data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(&buffer);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(&buffer);
}

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

static void
add_argument(Oid type, Datum value, bool isnull)
{
	int16		length;
	bool		by_value;

	appendBinaryStringInfo(&buffer, (char *) &type, sizeof(Oid));
	appendStringInfoChar(&buffer, isnull);
	if (isnull)
		return;
	get_typlenbyval(type, &length, &by_value);
	if (by_value)
		appendBinaryStringInfo(&buffer, (char *) &value, sizeof(Datum));
	else if (length == -1)
	{
		struct varlena *plain = PG_DETOAST_DATUM_PACKED(value);
		uint32		size = VARSIZE_ANY_EXHDR(plain);

		appendBinaryStringInfo(&buffer, (char *) &size, sizeof(uint32));
		appendBinaryStringInfo(&buffer, VARDATA_ANY(plain), size);
	}
	else
		appendBinaryStringInfo(&buffer, DatumGetPointer(value),
							   (int) datumGetSize(value, by_value, length));
}

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

static void
add_settings(const TexCall *call)
{
	ListCell   *cell;

	appendBinaryStringInfo(&buffer, (const char *) call->settings->hash[call->query.scope],
						   sizeof(call->settings->hash[0]));
	foreach(cell, call->query.settings)
	{
		const char *value = GetConfigOptionByName(lfirst(cell), NULL, true);

		appendStringInfoChar(&buffer, value != NULL);
		appendBinaryStringInfo(&buffer, value ? value : "", value ? strlen(value) + 1 : 0);
	}
}

static void
set_key(TexCall *call)
{
	begin();
	add_settings(call);
	if (call->query.scope == TEX_SETTINGS_ALL)
		add_session(call);
	appendBinaryStringInfo(&buffer, (const char *) call->query.hash, sizeof(call->query.hash));
	for (int i = 0; i < call->n_args; i++)
		add_argument(call->types[i], call->values[i], call->nulls[i]);
	call->key.database = MyDatabaseId;
	call->key.role = GetUserId();
	tex_hash_bytes(&buffer, call->key.hash);
}

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

/* Parses the query, and finds out what there is to know of it. */
static void
look_at_query(TexCall *call)
{
	tex_definitions_read(&call->definitions);
	call->fresh = tex_query_parse(call->text, call->types, call->n_args);
	tex_query_examine(call->fresh);
	call->query = tex_memo_keep(&call->memo_key, call->fresh, &call->definitions)->query;
}

/*
 * Finds out what a call is about: its query and its key.  Fails where its result
 * can never be cached, or has other columns than the caller says.
 */
void
tex_call_identify(TexCall *call)
{
	TexMemo    *memo;

	call->settings = tex_settings_now();
	begin();
	appendBinaryStringInfo(&buffer, (const char *) call->settings->hash[TEX_SETTINGS_CORE],
						   sizeof(call->settings->hash[0]));
	for (int i = 0; i < call->n_args; i++)
		appendBinaryStringInfo(&buffer, (char *) &call->types[i], sizeof(Oid));
	/* What is refused depends on it. */
	appendBinaryStringInfo(&buffer, tex_cache_trusted_functions,
						   strlen(tex_cache_trusted_functions) + 1);
	appendBinaryStringInfo(&buffer, call->text, strlen(call->text));
	memset(&call->memo_key, 0, sizeof(TexMemoKey));
	call->memo_key.role = GetUserId();
	call->memo_key.temporary = tex_temporary_schema();
	tex_hash_bytes(&buffer, call->memo_key.hash);

	memo = tex_memo_find(&call->memo_key);
	if (memo)
		call->query = memo->query;
	else
		look_at_query(call);
	if (call->desc)
		check_columns(call);
	else
		call->desc = CreateTupleDescCopy(call->query.desc);
	set_key(call);
	call->flight = call->key;
}

/*
 * The tree of the query, to be executed.  If it means something else by now, what is
 * computed has the key of that.
 */
Query *
tex_call_tree(TexCall *call)
{
	uint64		hash[2];
	Query	   *tree;

	if (call->fresh == NULL)
	{
		memcpy(hash, call->query.hash, sizeof(hash));
		look_at_query(call);
		if (memcmp(hash, call->query.hash, sizeof(hash)) != 0)
		{
			check_columns(call);
			set_key(call);
		}
	}
	/* It is looked at afterwards, when other queries may have been. */
	call->query.relations = list_copy(call->query.relations);
	tree = call->fresh->tree;
	/* The planner scribbles on it. */
	call->fresh = NULL;
	return tree;
}

/*
 * Fails where the result can only be cached with a ttl, and there is none.
 */
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
