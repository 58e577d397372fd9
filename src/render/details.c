/*
 * details.c
 *		All there is to say of events, as text.
 *
 * A line for each attribute and tag: its key, and its value on one line, cut and
 * saying so.  Objects within are opened, up to MOST_LEVELS; of a span of
 * OpenTelemetry its attributes have the names that they had there.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/words.h"
#include "history/row_query.h"
#include "races/arrays.h"
#include "render/details.h"
#include "render/text.h"

#define LONGEST_VALUE	500
#define LONGEST_KEY		100
#define LONGEST_DETAILS 4000	/* of an event */
#define MOST_LEVELS		4

/* Of one event in so many, or more, all are read: to look each up would cost more. */
#define FEW				4

#define EVENTS_OF_TRACE \
	"SELECT id, attributes, tags FROM trace_ext.events WHERE trace_id OPERATOR(pg_catalog.=) $1 " \
	"AND \"timestamp\" OPERATOR(pg_catalog.>=) $2 AND \"timestamp\" OPERATOR(pg_catalog.<=) $3"

static const char all_query[] = EVENTS_OF_TRACE;
static const char some_query[] = EVENTS_OF_TRACE " AND id OPERATOR(pg_catalog.=) ANY ($4)";

typedef struct IdEntry
{
	pg_uuid_t	id;				/* hash key */
	int32		index;			/* into what is wanted */
} IdEntry;

/* A text of a client on one line, up to so many bytes, and how many there are if they are more. */
static void
put_cut(StringInfo out, const char *text, int len, int most)
{
	tex_clean(out, text, len, most);
	if (len > most)
		appendStringInfo(out, " (cut, %d bytes in all)", len);
}

/* A value that is no object to be opened. */
static void
put_value(StringInfo out, const JsonbValue *value)
{
	char	   *text;

	switch (value->type)
	{
		case jbvString:
			put_cut(out, value->val.string.val, value->val.string.len, LONGEST_VALUE);
			return;
		case jbvNumeric:
			text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			break;
		case jbvBool:
			text = value->val.boolean ? pstrdup("true") : pstrdup("false");
			break;
		case jbvBinary:
			text = JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
			break;
		default:
			text = pstrdup("null");
			break;
	}
	put_cut(out, text, strlen(text), LONGEST_VALUE);
	pfree(text);
}

/* The lines of an object; an object in it is opened as long as it is not too deep. */
static void
put_object(StringInfo out, JsonbContainer *container, const char *prefix, int level)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbValue	value;
	JsonbIteratorToken token;
	char	   *key = NULL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE && out->len < LONGEST_DETAILS)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_KEY)
			key = psprintf("%s%s%s", prefix, prefix[0] ? "." : "", pnstrdup(value.val.string.val, value.val.string.len));
		else if (token == WJB_VALUE && value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data) && level < MOST_LEVELS)
			put_object(out, value.val.binary.data, strcmp(key, "otlp.attributes") == 0 ? "" : key, level + 1);
		else if (token == WJB_VALUE || token == WJB_ELEM)
		{
			put_cut(out, key ? key : prefix, strlen(key ? key : prefix), LONGEST_KEY);
			appendStringInfoString(out, ": ");
			put_value(out, &value);
			appendStringInfoChar(out, '\n');
		}
	}
}

/* A name with what it is the name of, if there is one. */
static void
put_named(StringInfo out, const char *what, const char *name)
{
	if (name == NULL)
		return;
	appendStringInfoString(out, what);
	tex_clean(out, name, strlen(name), LONGEST_KEY);
}

/* When, how long and who. */
static void
put_event(StringInfo out, const TexSpans *spans, int32 event)
{
	const TexOneTrace *one = spans->one;
	const TexEvent *e = &one->events[event];
	char	   *label = tex_event_label(spans, event);

	appendStringInfoString(out, tex_kind_name(e->kind));
	appendStringInfoChar(out, ' ');
	appendStringInfoString(out, label);
	pfree(label);
	if (one->extents[event].started > one->extent.started)
	{
		appendStringInfoChar(out, '\n');
		tex_say_usecs(out, tex_since_start(one, one->extents[event].started));
		appendStringInfoString(out, " after the begin");
	}
	else
		appendStringInfoString(out, "\nat the begin");
	if (tex_lasted(one, event) > 0)
	{
		appendStringInfoString(out, ", ");
		tex_say_usecs(out, tex_lasted(one, event));
		appendStringInfoString(out, " long");
	}
	appendStringInfoChar(out, '\n');
	put_named(out, "", tex_text_of(one, e->service));
	put_named(out, ", instance ", tex_text_of(one, e->instance_name));
	put_named(out, ", thread ", tex_text_of(one, e->thread_name));
	put_named(out, ", span ", tex_text_of(one, e->span));
	appendStringInfoChar(out, '\n');
}

/* The text of a row that SPI has; it is put together in a buffer, which may be used again. */
static char *
details_of(const TexSpans *spans, int32 event, HeapTuple tuple, TupleDesc desc, StringInfo out)
{
	resetStringInfo(out);
	put_event(out, spans, event);
	for (int column = 2; column <= 3; column++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(tuple, desc, column, &isnull);

		if (!isnull && JB_ROOT_IS_OBJECT(DatumGetJsonbP(value)))
			put_object(out, &DatumGetJsonbP(value)->root, column == 2 ? "" : "tag", 1);
	}
	if (out->len >= LONGEST_DETAILS)
		appendStringInfoString(out, "and more, which is not shown\n");
	return pnstrdup(out->data, out->len - 1);
}

/* A table of the places of ids. */
static HTAB *
index_of(const TexSpans *spans, const int32 *events, int32 n)
{
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(IdEntry),.hcxt = CurrentMemoryContext};
	HTAB	   *index = hash_create("events by id", Max(n, 1), &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	for (int32 i = 0; i < n; i++)
		((IdEntry *) hash_search(index, &spans->one->events[events[i]].id, HASH_ENTER, NULL))->index = i;
	return index;
}

/* Of each of some events of the trace its text, cleaned; NULL of one that is not to be seen. Within SPI. */
char **
tex_event_details(const TexSpans *spans, const int32 *events, int32 n)
{
	char	  **details = tex_new_array(sizeof(char *), n, 0);
	pg_uuid_t  *ids = tex_new_array(sizeof(pg_uuid_t), n, 0);
	HTAB	   *index = index_of(spans, events, n);
	TimestampTz from = DT_NOEND;
	TimestampTz to = DT_NOBEGIN;
	StringInfoData buffer;
	bool		all = n >= spans->events / FEW;
	Oid			types[4] = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDARRAYOID};
	Datum		values[4];

	for (int32 i = 0; i < n; i++)
	{
		ids[i] = spans->one->events[events[i]].id;
		from = Min(from, spans->one->events[events[i]].at);
		to = Max(to, spans->one->events[events[i]].at);
	}
	values[0] = UUIDPGetDatum(&spans->one->history->traces[spans->one->trace].id);
	values[1] = TimestampTzGetDatum(from);
	values[2] = TimestampTzGetDatum(to);
	values[3] = tex_uuid_array(ids, n);
	if (n == 0)
		return details;
	SPI_execute_with_args(all ? all_query : some_query, all ? 3 : 4, types, values, NULL, true, 0);
	initStringInfo(&buffer);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		HeapTuple	tuple = SPI_tuptable->vals[i];
		Datum		id = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull);
		IdEntry    *entry = hash_search(index, DatumGetUUIDP(id), HASH_FIND, NULL);

		CHECK_FOR_INTERRUPTS();
		if (entry)
			details[entry->index] = details_of(spans, events[entry->index], tuple, SPI_tuptable->tupdesc, &buffer);
	}
	SPI_freetuptable(SPI_tuptable);
	hash_destroy(index);
	return details;
}
