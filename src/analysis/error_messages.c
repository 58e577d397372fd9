/*
 * error_messages.c
 *		What errors say of themselves: the loader leaves such texts in the table.
 *
 * They are read by one query, with the caller's rights.  Whoever looks at many traces has the loader
 * keep them: there to plan a query for each trace would take longer than all else.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/error_messages.h"
#include "history/row_query.h"
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

/* Reads what some errors of the trace say, by one query. */
static void
fetch_messages(TexOneTrace *one, const int32 *events, int32 n)
{
	HASHCTL		ctl = {.keysize = sizeof(ErrorKey),.entrysize = sizeof(ErrorEntry),.hcxt = CurrentMemoryContext};
	HTAB	   *errors = hash_create("errors", n, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	pg_uuid_t  *ids = tex_new_array(sizeof(pg_uuid_t), n, 0);
	TimestampTz from = DT_NOEND;
	TimestampTz to = DT_NOBEGIN;
	Oid			types[5] = {UUIDOID, UUIDARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	Datum		args[5] = {UUIDPGetDatum(&one->history->traces[one->trace].id)};
	int			nesting;

	for (int32 i = 0; i < n; i++)
	{
		const TexEvent *event = &one->events[events[i]];
		ErrorKey	key = {event->id, event->at};

		((ErrorEntry *) hash_search(errors, &key, HASH_ENTER, NULL))->event = events[i];
		ids[i] = event->id;
		from = Min(from, event->at);
		to = Max(to, event->at);
	}
	args[1] = tex_uuid_array(ids, n);
	args[2] = TimestampTzGetDatum(from);
	args[3] = TimestampTzGetDatum(to);
	args[4] = Int32GetDatum(TEX_LONGEST_MESSAGE);
	nesting = tex_no_jit();
	SPI_execute_with_args(messages_query, 5, types, args, NULL, true, 0);
	AtEOXact_GUC(false, nesting);
	take_messages(errors, one->messages);
	hash_destroy(errors);
}

/*
 * What an error says of itself, or NULL; they are read once, when the first is asked for.
 * Call within an SPI connection, the same one as for the trace.
 */
const char *
tex_error_message(TexOneTrace *one, int32 event)
{
	int32		errors[TEX_MOST_MESSAGES];
	int32		n = 0;

	if (tex_messages_kept(one->history))
		return one->events[event].kind == TEX_ERROR && one->events[event].data ?
			tex_text_of(one, one->events[event].data->message) : NULL;
	if (one->messages == NULL)
	{
		one->messages = tex_new_array(sizeof(char *), one->n, 0);
		for (int32 i = 0; i < one->n && n < TEX_MOST_MESSAGES; i++)
			if (one->events[i].kind == TEX_ERROR && tex_is_home(one, i))
				errors[n++] = i;
		if (n > 0)
			fetch_messages(one, errors, n);
	}
	return one->messages[event];
}
