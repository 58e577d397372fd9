/*
 * error_messages.c
 *		What errors say of themselves: the loader leaves such texts in the table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/error_messages.h"
#include "races/arrays.h"
#include "store/trace_range.h"

static const char messages_query[] =
	"SELECT id, \"timestamp\", pg_catalog.left(attributes OPERATOR(pg_catalog.->>) 'message', $5) FROM trace_ext.events "
	"WHERE trace_id OPERATOR(pg_catalog.=) $1 AND id OPERATOR(pg_catalog.=) ANY ($2) "
	"AND \"timestamp\" OPERATOR(pg_catalog.>=) $3 AND \"timestamp\" OPERATOR(pg_catalog.<=) $4";

typedef struct ErrorKey
{
	pg_uuid_t	id;
	TimestampTz at;
} ErrorKey;

typedef struct ErrorEntry
{
	ErrorKey	key;
	int32		event;
} ErrorEntry;

/* Notes what the rows that SPI has say of the errors in a table. */
static void
take_messages(HTAB *errors, char **messages)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[3];
		bool		isnull[3];
		ErrorKey	key;
		ErrorEntry *entry;

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, isnull);
		if (isnull[2])
			continue;
		key.id = *DatumGetUUIDP(values[0]);
		key.at = DatumGetTimestampTz(values[1]);
		entry = hash_search(errors, &key, HASH_FIND, NULL);
		if (entry)
			messages[entry->event] = TextDatumGetCString(values[2]);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Of each event of the trace what it says of itself, up to so many characters, if it is
 * among the n errors; else, and where it says nothing, NULL.  One query.  Within SPI.
 */
char **
tex_error_messages(const TexOneTrace *one, const int32 *errors, int32 n, int32 longest)
{
	HASHCTL		ctl = {.keysize = sizeof(ErrorKey),.entrysize = sizeof(ErrorEntry),.hcxt = CurrentMemoryContext};
	HTAB	   *table;
	char	  **messages = tex_new_array(sizeof(char *), one->n, 0);
	pg_uuid_t  *ids = tex_new_array(sizeof(pg_uuid_t), n, 0);
	TimestampTz from = DT_NOEND;
	TimestampTz to = DT_NOBEGIN;
	Oid			types[5] = {UUIDOID, UUIDARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	Datum		args[5] = {UUIDPGetDatum(&one->history->traces[one->trace].id)};
	int			nesting;

	if (n == 0)
		return messages;
	table = hash_create("errors", n, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int32 i = 0; i < n; i++)
	{
		const TexEvent *event = &one->events[errors[i]];
		ErrorKey	key = {event->id, event->at};

		((ErrorEntry *) hash_search(table, &key, HASH_ENTER, NULL))->event = errors[i];
		ids[i] = event->id;
		from = Min(from, event->at);
		to = Max(to, event->at);
	}
	args[1] = tex_uuid_array(ids, n);
	args[2] = TimestampTzGetDatum(from);
	args[3] = TimestampTzGetDatum(to);
	args[4] = Int32GetDatum(longest);
	nesting = tex_no_jit();
	SPI_execute_with_args(messages_query, 5, types, args, NULL, true, 0);
	AtEOXact_GUC(false, nesting);
	take_messages(table, messages);
	hash_destroy(table);
	return messages;
}
