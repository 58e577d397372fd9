/*
 * cache_call.c
 *		One call of cached(), and what its result is known by.
 *
 * The key of a result is made of the database, the role, what the query means, its
 * arguments and the settings that change what queries return.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "cache_call.h"
#include "cache_memo.h"
#include "cache_settings.h"
#include "cache_writes.h"

/* A longer buffer is not kept for the next call. */
#define LONG_BUFFER (64 * 1024)

/* Bytes to be hashed; kept, as each call needs some. */
static StringInfoData buffer;

/* The settings that were last seen, and their hash. */
static StringInfoData last_settings;
static uint64 last_hash[2];

static void
hash_bytes_of(const StringInfoData *bytes, uint64 *hash)
{
	const unsigned char *data = (const unsigned char *) bytes->data;

	hash[0] = DatumGetUInt64(hash_any_extended(data, bytes->len, 1));
	hash[1] = DatumGetUInt64(hash_any_extended(data, bytes->len, 2));
}

static void
begin(StringInfo bytes)
{
	if (bytes->data && bytes->maxlen > LONG_BUFFER)
	{
		pfree(bytes->data);
		bytes->data = NULL;
	}
	if (bytes->data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(bytes);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(bytes);
}

/* Hashes the settings; they are mostly the same as last time. */
static void
hash_settings(uint64 *hash)
{
	begin(&buffer);
	tex_settings_add(&buffer);
	if (buffer.len != last_settings.len ||
		memcmp(buffer.data, last_settings.data, buffer.len) != 0)
	{
		begin(&last_settings);
		appendBinaryStringInfo(&last_settings, buffer.data, buffer.len);
		hash_bytes_of(&last_settings, last_hash);
	}
	memcpy(hash, last_hash, sizeof(last_hash));
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

static void
set_key(TexCall *call, bool needs_settings)
{
	begin(&buffer);
	appendBinaryStringInfo(&buffer, (char *) call->settings, sizeof(call->settings));
	appendBinaryStringInfo(&buffer, (const char *) call->query.hash, sizeof(call->query.hash));
	for (int i = 0; i < call->n_args; i++)
		add_argument(call->types[i], call->values[i], call->nulls[i]);
	if (needs_settings)
		tex_settings_add_all(&buffer);
	call->key.database = MyDatabaseId;
	call->key.role = GetUserId();
	hash_bytes_of(&buffer, call->key.hash);
}

/* Finds what is known of the query, or finds it out. */
static void
find_query(TexCall *call)
{
	TexMemo    *memo = tex_memo_find(&call->memo_key);

	if (memo == NULL)
	{
		call->definitions = tex_definitions_seen();
		call->fresh = tex_query_parse(call->text, call->types, call->n_args);
		tex_query_examine(call->fresh, call->text);
		memo = tex_memo_keep(&call->memo_key, call->fresh, call->definitions);
	}
	call->query = memo->query;
}

/*
 * Finds out what a call is about: its query and its key.  Fails where its result
 * can never be cached.
 */
void
tex_call_identify(TexCall *call)
{
	hash_settings(call->settings);
	begin(&buffer);
	appendBinaryStringInfo(&buffer, (char *) call->settings, sizeof(call->settings));
	for (int i = 0; i < call->n_args; i++)
		appendBinaryStringInfo(&buffer, (char *) &call->types[i], sizeof(Oid));
	appendBinaryStringInfo(&buffer, call->text, strlen(call->text));
	memset(&call->memo_key, 0, sizeof(TexMemoKey));
	call->memo_key.role = GetUserId();
	hash_bytes_of(&buffer, call->memo_key.hash);

	find_query(call);
	set_key(call, call->query.needs_settings);
	call->flight = call->key;
}

/*
 * Sets the key anew, when it turned out that a function of the query depends on
 * settings.  The next call knows that from the start.
 */
void
tex_call_needs_settings(TexCall *call)
{
	TexMemo    *memo = tex_memo_find(&call->memo_key);

	if (memo)
		memo->query.needs_settings = true;
	set_key(call, true);
}
