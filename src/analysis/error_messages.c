/*
 * error_messages.c
 *		What errors say of themselves: the loader leaves such texts in the table.
 *
 * Of one trace they are read by one query, with the caller's rights.  Whoever looks at many
 * traces, as their owner, brings a reader that knows the partitions: there to plan a query for
 * each trace would take longer than all else.
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

/* What more errors say is not read, nor what one says in more characters. */
#define MOST_MESSAGES	1000
#define LONGEST_MESSAGE 1000

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
	args[4] = Int32GetDatum(LONGEST_MESSAGE);
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
	int32		errors[MOST_MESSAGES];
	int32		n = 0;

	if (one->messages == NULL)
	{
		one->messages = tex_new_array(sizeof(char *), one->n, 0);
		for (int32 i = 0; i < one->n && n < MOST_MESSAGES; i++)
			if (one->events[i].kind == TEX_ERROR && tex_is_home(one, i))
				errors[n++] = i;
		if (n > 0)
			fetch_messages(one, errors, n);
	}
	return one->messages[event];
}

/* The columns that say what an error says of itself. */
static const char *const message_columns[] = {"timestamp", "attributes"};

/* What is looked for among the events of an id. */
typedef struct Message
{
	TimestampTz at;
	MemoryContext context;
	char	   *text;
} Message;

/* An event of the id; for tex_trace_reader_run_event(). */
static void
take_message(const Datum *values, const bool *isnull, void *arg)
{
	Message    *message = arg;
	JsonbValue	buffer;
	JsonbValue *value;
	Jsonb	   *attributes;
	char	   *said;
	int			length;

	if (DatumGetTimestampTz(values[0]) != message->at || isnull[1])
		return;
	attributes = DatumGetJsonbP(values[1]);
	value = JB_ROOT_IS_OBJECT(attributes) ?
		getKeyJsonValueFromContainer(&attributes->root, "message", strlen("message"), &buffer) : NULL;
	if (value == NULL || value->type == jbvNull)
		return;
	if (value->type == jbvString)
	{
		said = value->val.string.val;
		length = value->val.string.len;
	}
	else
	{
		said = TextDatumGetCString(DirectFunctionCall2(jsonb_object_field_text, values[1], CStringGetTextDatum("message")));
		length = strlen(said);
	}
	length = pg_mbcharcliplen(said, length, LONGEST_MESSAGE);
	message->text = memcpy(MemoryContextAllocZero(message->context, length + 1), said, length);
}

/* A reader of what errors say, in the snapshot that is active. */
TexTraceReader *
tex_error_message_reader(void)
{
	return tex_trace_reader_create(message_columns, lengthof(message_columns));
}

/* Reads what some errors of the trace say, for tex_error_message() to tell. */
void
tex_read_error_messages(TexOneTrace *one, TexTraceReader *reader, const int32 *errors, int32 n)
{
	one->messages = tex_new_array(sizeof(char *), one->n, 0);
	for (int32 i = 0; i < n && i < MOST_MESSAGES; i++)
	{
		const TexEvent *event = &one->events[errors[i]];
		Message		message = {.at = event->at,.context = CurrentMemoryContext};

		CHECK_FOR_INTERRUPTS();
		tex_trace_reader_run_event(reader, &one->history->traces[event->trace].id, &event->id, take_message, &message);
		one->messages[errors[i]] = message.text;
	}
}
