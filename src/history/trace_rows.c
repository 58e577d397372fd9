/*
 * trace_rows.c
 *		What a history is filled with: rows become events.
 *
 * Design.  The detector looks at events millions of times, so it works on an
 * array of small structs in which every string is a number (strings.c).  Only what
 * order and races depend on is kept: payloads are left in the table, and a value
 * that is long is fetched again for the few rows that show it.
 *
 * A history is filled by tex_history_load() (trace_load.c), as often as needed, and then
 * made ready by tex_history_prepare() (trace_prepare.c).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "common/otlp_id.h"
#include "guc.h"
#include "history/packed_rows.h"
#include "history/row_query.h"
#include "history/spelling.h"
#include "history/trace_load.h"

#define LONGEST_VALUE	1024

typedef struct TraceEntry
{
	pg_uuid_t	id;
	int32		trace;
} TraceEntry;

typedef struct ThreadKey
{
	int32		trace;
	int32		name;			/* of (place, thread or task) */
} ThreadKey;

typedef struct ThreadEntry
{
	ThreadKey	key;
	int32		thread;
} ThreadEntry;

/* One row of the query. */
typedef struct Row
{
	const Datum *values;
	const bool *isnull;
} Row;

#define ROW_VALUE(row, col)		((row)->values[col])
#define ROW_IS_NULL(row, col)	((row)->isnull[col])

/* An empty history in the current memory context, which holds all of it and should be its own. */
TexHistory *
tex_history_create(void)
{
	TexHistory *history = palloc0(sizeof(TexHistory));
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(TraceEntry),
	.hcxt = CurrentMemoryContext};

	history->context = CurrentMemoryContext;
	history->names = tex_strings_create();
	history->trace_index = hash_create("traces of a history", 64, &ctl,
									   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(ThreadKey);
	ctl.entrysize = sizeof(ThreadEntry);
	history->thread_index = hash_create("threads of a history", 64, &ctl,
										HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return history;
}

/* The index of a trace, or -1 when no event of it was loaded. */
int32
tex_history_trace(const TexHistory *history, const pg_uuid_t *id)
{
	TraceEntry *entry = hash_search(history->trace_index, id, HASH_FIND, NULL);

	return entry ? entry->trace : -1;
}

/* Huge, for a history may have more events than fit one ordinary chunk. */
static void *
enlarge(TexHistory *history, void *array, Size size)
{
	return array == NULL ? MemoryContextAllocHuge(history->context, size) :
		repalloc_huge(array, size);
}

/* The index of a trace, which is added if it is new; its role is the one it was first loaded in. */
static int32
add_trace(TexHistory *history, const pg_uuid_t *id, TexRole role)
{
	bool		found;
	TraceEntry *entry = hash_search(history->trace_index, id, HASH_ENTER, &found);
	TexTrace   *trace;

	if (found)
		return entry->trace;
	if (history->ntraces == history->traces_room)
	{
		history->traces_room = Max(64, history->traces_room * 2);
		history->traces = enlarge(history, history->traces,
								  sizeof(TexTrace) * (Size) history->traces_room);
	}
	entry->trace = history->ntraces++;
	trace = &history->traces[entry->trace];
	memset(trace, 0, sizeof(TexTrace));
	trace->id = *id;
	trace->role = role;
	trace->first_event = trace->request = TEX_NO_EVENT;
	return entry->trace;
}

/* A new event, zeroed. Pointers to earlier ones are no longer valid. */
static TexEvent *
add_event(TexHistory *history)
{
	TexEvent   *event;

	if (history->nevents == history->events_room)
	{
		history->events_room = Max(64, history->events_room * 2);
		history->events = enlarge(history, history->events,
								  sizeof(TexEvent) * (Size) history->events_room);
	}
	event = &history->events[history->nevents++];
	memset(event, 0, sizeof(TexEvent));
	return event;
}

/* The number of a text column. */
static int32
name_of_datum(TexHistory *history, Row *row, int col)
{
	text	   *value;

	if (ROW_IS_NULL(row, col))
		return TEX_NO_NAME;
	value = DatumGetTextPP(ROW_VALUE(row, col));
	return tex_strings_add(history->names, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* What stands for a tuple of names among the names. */
typedef struct Composed
{
	char		tag[4];
	int32		parts[3];
} Composed;

/* The name of a tuple of names, told apart from others by a tag. */
static int32
compose(TexHistory *history, char tag, int32 a, int32 b, int32 c)
{
	Composed	key = {{'\1', tag, '\1', '\1'}, {a, b, c}};

	return tex_strings_add(history->names, (const char *) &key, sizeof(key));
}

/* The number of a thread, or of a task, in its trace. Tasks and threads of one name are two. */
static int32
thread_of(TexHistory *history, int32 trace, int32 place, int32 thread_name, bool is_task)
{
	ThreadKey	key = {trace, compose(history, is_task ? 'k' : 't', place, thread_name, 0)};
	bool		found;
	ThreadEntry *entry = hash_search(history->thread_index, &key, HASH_ENTER, &found);

	if (!found)
		entry->thread = history->nthreads++;
	return entry->thread;
}

/*
 * Whether a lock's name starts with one of the prefixes of trace_ext.global_locks.
 */
bool
tex_is_global_lock(const char *name)
{
	const char *rest = tex_global_locks;
	const char *prefix;
	size_t		len;

	while (rest && (prefix = tex_next_lock_prefix(&rest, &len)) != NULL)
	{
		if (len > 0 && strncmp(name, prefix, len) == 0)
			return true;
	}
	return false;
}

/* Locks of one name in two processes are two, unless the name says otherwise. */
static int32
lock_identity(TexHistory *history, const TexEvent *event, int32 name)
{
	bool		global;

	if (name == TEX_NO_NAME)
		return TEX_NO_NAME;
	global = tex_is_global_lock(tex_history_text(history, name));
	return compose(history, 'l', global ? TEX_NO_NAME : event->place, name, 0);
}

/* What clients call a lock, given its identity. */
int32
tex_history_lock_name(const TexHistory *history, int32 lock)
{
	Composed	key;

	memcpy(&key, tex_strings_text(history->names, lock), sizeof(key));
	return key.parts[1];
}

/* Who shares a variable of one name, under trace_ext.variable_scope. */
static int32
variable_identity(TexHistory *history, const TexEvent *event)
{
	switch (tex_variable_scope)
	{
		case TEX_SCOPE_SERVICE:
			return compose(history, 'v', event->service, event->name, 0);
		case TEX_SCOPE_INSTANCE:
			return compose(history, 'v', event->instance, event->name, 0);
		default:
			return event->name;
	}
}

/* A key of an object; value is where the result is kept. */
static JsonbValue *
field(Jsonb *attributes, const char *key, JsonbValue *value)
{
	Assert(tex_attribute_is_sent(key));
	if (attributes == NULL || !JB_ROOT_IS_OBJECT(attributes))
		return NULL;
	return getKeyJsonValueFromContainer(&attributes->root, key, strlen(key), value);
}

/* The number of a string among the attributes; anything else is taken as absent. */
static int32
string_field(TexHistory *history, Jsonb *attributes, const char *key)
{
	JsonbValue	buffer;
	JsonbValue *value = field(attributes, key, &buffer);

	if (value == NULL || value->type != jbvString)
		return TEX_NO_NAME;
	return tex_strings_add(history->names, value->val.string.val, value->val.string.len);
}

/* A value worth keeping; *left_out when there is one that is too long. Of a column null is one, of clients it is none. */
static Jsonb *
value_field(TexHistory *history, Jsonb *attributes, const char *key, bool is_column, bool *left_out)
{
	JsonbValue	buffer;
	JsonbValue *value = field(attributes, key, &buffer);
	MemoryContext old;
	Jsonb	   *kept;

	if (value == NULL || (value->type == jbvNull && !is_column))
		return NULL;
	if ((value->type == jbvString && value->val.string.len > LONGEST_VALUE) ||
		(value->type == jbvBinary && value->val.binary.len > LONGEST_VALUE))
	{
		*left_out = true;
		return NULL;
	}
	old = MemoryContextSwitchTo(history->context);
	kept = JsonbValueToJsonb(value);
	MemoryContextSwitchTo(old);
	return kept;
}

/* What only accesses, function calls and some acquires have. */
static TexAccessData *
make_data(TexHistory *history)
{
	TexAccessData *data = MemoryContextAllocZero(history->context, sizeof(TexAccessData));

	data->variable = data->location = data->isolation = data->transaction = data->by = data->message = TEX_NO_NAME;
	return data;
}

/* What is known of an access to a watched table, which the database took itself. */
static void
read_watched(TexHistory *history, TexAccessData *data, Jsonb *attributes)
{
	data->isolation = string_field(history, attributes, "isolation");
	if (data->isolation == TEX_NO_NAME)
		return;
	data->transaction = string_field(history, attributes, "transaction");
	data->by = string_field(history, attributes, "by");
	data->incomplete = string_field(history, attributes, "incomplete") != TEX_NO_NAME;
	data->row_locked = string_field(history, attributes, "row_lock") != TEX_NO_NAME;
}

/* An access: what it was about, its values, and the locks that the client says were held. */
static void
read_access(TexHistory *history, TexEvent *event, Jsonb *attributes, Row *row)
{
	bool		ignored;
	bool		is_column;
	int32		access = string_field(history, attributes, "access_type");

	event->data = make_data(history);
	event->access = tex_access_type(tex_history_text(history, access));
	event->order = tex_access_order(event->access,
									tex_history_text(history, string_field(history, attributes, "ordering")));
	event->data->variable = variable_identity(history, event);
	if (history->without_values)
		return;
	event->data->location = string_field(history, attributes, "location");
	read_watched(history, event->data, attributes);
	is_column = event->data->isolation != TEX_NO_NAME;
	event->data->old_value = value_field(history, attributes, "old_value", is_column, &ignored);
	event->data->new_value = value_field(history, attributes, "new_value", is_column,
										 &event->data->value_left_out);
	if (!ROW_IS_NULL(row, TEX_COL_LOCK_SET))
	{
		Datum	   *elements;
		bool	   *isnull;
		int			n;

		deconstruct_array(DatumGetArrayTypeP(ROW_VALUE(row, TEX_COL_LOCK_SET)), TEXTOID, -1, false,
						  TYPALIGN_INT, &elements, &isnull, &n);
		if (n > 0)
			event->data->locks = MemoryContextAlloc(history->context, sizeof(int32) * n);
		for (int i = 0; i < n; i++)
		{
			text	   *name;

			if (isnull[i])
				continue;
			name = DatumGetTextPP(elements[i]);
			event->data->locks[event->data->nlocks++] =
				lock_identity(history, event,
							  tex_strings_add(history->names, VARDATA_ANY(name),
											VARSIZE_ANY_EXHDR(name)));
		}
	}
}

/* The attributes file and line, as "file:line"; TEX_NO_NAME without a file. */
static int32
file_and_line(TexHistory *history, Jsonb *attributes)
{
	JsonbValue	file_buffer;
	JsonbValue	line_buffer;
	JsonbValue *file = field(attributes, "file", &file_buffer);
	JsonbValue *line = field(attributes, "line", &line_buffer);
	StringInfoData place;

	if (file == NULL || file->type != jbvString)
		return TEX_NO_NAME;
	initStringInfo(&place);
	appendBinaryStringInfo(&place, file->val.string.val, file->val.string.len);
	if (line && line->type == jbvNumeric)
		appendStringInfo(&place, ":%s",
						 DatumGetCString(DirectFunctionCall1(numeric_out,
															 NumericGetDatum(line->val.numeric))));
	return tex_strings_add(history->names, place.data, place.len);
}

/* The place of a function call. */
static void
read_function_call(TexHistory *history, TexEvent *event, Jsonb *attributes)
{
	if (history->without_values)
		return;
	event->data = make_data(history);
	event->data->location = file_and_line(history, attributes);
}

/* Which lock an event is about, in which mode; and where it is taken, if the client says so. */
static void
read_lock(TexHistory *history, TexEvent *event, Jsonb *attributes)
{
	static const uint8 mode_flags[] = {
		[TEX_LOCK_EXCLUSIVE] = TEX_EVENT_EXCLUSIVE_LOCK,
		[TEX_LOCK_SHARED] = TEX_EVENT_SHARED_LOCK,
		[TEX_LOCK_COUNTED] = TEX_EVENT_SHARED_LOCK | TEX_EVENT_COUNTED_LOCK,
	};
	int32		type = string_field(history, attributes, "lock_type");
	int32		location;

	event->lock = lock_identity(history, event, event->name);
	if (type != TEX_NO_NAME)
		event->flags |= mode_flags[tex_lock_mode(tex_history_text(history, type))];
	history->has_locks = true;
	if (event->kind == TEX_LOCK_RELEASE || history->without_values)
		return;
	location = string_field(history, attributes, "location");
	if (location == TEX_NO_NAME)
		location = file_and_line(history, attributes);
	if (location == TEX_NO_NAME)
		return;
	event->data = make_data(history);
	event->data->location = location;
}

/* A query, which may be one of a session of a database that nobody traces; or ends a transaction. */
static void
read_query(TexHistory *history, TexEvent *event, Jsonb *attributes, const char *name)
{
	JsonbValue	buffer;

	if (tex_is_rollback(name))
		event->flags |= TEX_EVENT_FAILED;
	if (field(attributes, "trace_of", &buffer) == NULL)
		return;
	event->data = make_data(history);
	event->data->of_session = true;
}

/* What an error says of itself. */
static void
read_message(TexHistory *history, TexEvent *event, Row *row)
{
	JsonbValue	buffer;
	JsonbValue *value;
	char	   *said;
	int			length;

	if (++history->nmessages > TEX_MOST_MESSAGES || ROW_IS_NULL(row, TEX_COL_ATTRIBUTES))
		return;
	value = field(DatumGetJsonbP(ROW_VALUE(row, TEX_COL_ATTRIBUTES)), "message", &buffer);
	if (value == NULL || value->type == jbvNull)
		return;
	if (value->type == jbvString)
	{
		said = value->val.string.val;
		length = value->val.string.len;
	}
	else
	{
		said = TextDatumGetCString(DirectFunctionCall2(jsonb_object_field_text, ROW_VALUE(row, TEX_COL_ATTRIBUTES),
													   CStringGetTextDatum("message")));
		length = strlen(said);
	}
	event->data = make_data(history);
	event->data->message = tex_strings_add(history->names, said, pg_mbcharcliplen(said, length, TEX_LONGEST_MESSAGE));
}

/* What depends on the kind of the event. Attributes are detoasted only where something is in them. */
static void
read_kind(TexHistory *history, TexEvent *event, Row *row)
{
	Jsonb	   *attributes = NULL;
	const char *name = tex_history_text(history, event->name);

	if (!ROW_IS_NULL(row, TEX_COL_ATTRIBUTES) && event->kind != TEX_ERROR && tex_reads_attributes(event->kind))
		attributes = DatumGetJsonbP(ROW_VALUE(row, TEX_COL_ATTRIBUTES));

	switch (event->kind)
	{
		case TEX_STATE_CHANGE:
			read_access(history, event, attributes, row);
			break;
		case TEX_FUNCTION_CALL:
			read_function_call(history, event, attributes);
			break;
		case TEX_LOCK_ACQUIRE:
		case TEX_LOCK_RELEASE:
			read_lock(history, event, attributes);
			break;
		case TEX_MEMORY_FENCE:
			event->order = tex_fence_order(name);
			break;
		case TEX_DATABASE_QUERY:
			read_query(history, event, attributes, name);
			break;
		case TEX_CUSTOM:
			if (tex_is_rollback(name))
				event->flags |= TEX_EVENT_FAILED;
			break;
		case TEX_ERROR:
			if (history->keeps_messages)
				read_message(history, event, row);
			break;
		default:
			break;
	}
	if (tex_event_is_error(event->kind, attributes))
		event->flags |= TEX_EVENT_FAILED | TEX_EVENT_IS_ERROR;
}

/*
 * An event of OpenTelemetry: its time to the nanosecond, which tells what is in sequence from what
 * overlaps. Its end was rounded to microseconds in the extent.
 */
static void
read_otlp(TexHistory *history, TexEvent *event, Row *row)
{
	Jsonb	   *attributes = ROW_IS_NULL(row, TEX_COL_ATTRIBUTES) ? NULL : DatumGetJsonbP(ROW_VALUE(row, TEX_COL_ATTRIBUTES));
	JsonbValue	buffer;
	JsonbValue *ns = field(attributes, "timestamp_ns", &buffer);
	int			rest;

	event->flags |= TEX_EVENT_OTLP;
	history->has_consumers |= event->kind == TEX_ASYNC_AWAIT;
	if (ns && ns->type == jbvNumeric)
	{
		bool		not_int;

		rest = numeric_int4_opt_error(ns->val.numeric, &not_int);
		if (!not_int && rest >= 0 && rest < 1000)
			event->at_ns = rest;
	}
	event->ended_ns = event->at_ns;
	if (!ROW_IS_NULL(row, TEX_COL_DURATION) && DatumGetInt64(ROW_VALUE(row, TEX_COL_DURATION)) > 0)
	{
		rest = DatumGetInt64(ROW_VALUE(row, TEX_COL_DURATION)) % 1000;
		event->ended_ns += rest >= 500 ? rest - 1000 : rest;
	}
}

/* Takes a row over. It lives in a context that is reset after it: what is kept is copied. */
static void
read_row(TexHistory *history, Row *row, TexRole role)
{
	TexEvent   *event;
	int32		trace = add_trace(history, DatumGetUUIDP(ROW_VALUE(row, TEX_COL_TRACE_ID)), role);
	int32		instance;
	int32		process;
	bool		is_task;

	event = add_event(history);
	event->trace = trace;
	event->id = *DatumGetUUIDP(ROW_VALUE(row, TEX_COL_ID));
	event->parent = TEX_NO_EVENT;
	if (ROW_IS_NULL(row, TEX_COL_PARENT_ID))
		event->parent_id = event->id;	/* no event is its own parent */
	else
		event->parent_id = *DatumGetUUIDP(ROW_VALUE(row, TEX_COL_PARENT_ID));
	event->at = DatumGetTimestampTz(ROW_VALUE(row, TEX_COL_AT));
	event->extent = tex_extent_of_columns(event->at, ROW_VALUE(row, TEX_COL_DURATION), ROW_IS_NULL(row, TEX_COL_DURATION),
										  ROW_VALUE(row, TEX_COL_AT_END), ROW_IS_NULL(row, TEX_COL_AT_END));
	event->kind = tex_kind_by_oid(DatumGetObjectId(ROW_VALUE(row, TEX_COL_KIND)));
	event->name = name_of_datum(history, row, TEX_COL_NAME);
	event->span = name_of_datum(history, row, TEX_COL_SPAN);
	event->upstream = name_of_datum(history, row, TEX_COL_UPSTREAM);
	event->lock = TEX_NO_NAME;

	/* Where it happened, and in what: the task that it names, else its thread. */
	instance = event->instance_name = name_of_datum(history, row, TEX_COL_INSTANCE);
	process = ROW_IS_NULL(row, TEX_COL_PROCESS) ? -1 : DatumGetInt32(ROW_VALUE(row, TEX_COL_PROCESS));
	event->service = name_of_datum(history, row, TEX_COL_SERVICE);
	event->instance = compose(history, 'i', event->service, instance, 0);
	event->place = compose(history, 'p', event->service, instance, process);
	event->thread_name = name_of_datum(history, row, TEX_COL_THREAD);
	event->task = name_of_datum(history, row, TEX_COL_TASK);
	is_task = event->task != TEX_NO_NAME;
	event->thread = thread_of(history, trace, event->place,
							  is_task ? event->task : event->thread_name, is_task);

	read_kind(history, event, row);
	if (event->span == event->thread_name &&
		tex_otlp_is_id_of(&event->id, &history->traces[trace].id, tex_history_text(history, event->span)))
		read_otlp(history, event, row);
	if (!ROW_IS_NULL(row, TEX_COL_CLOCK))
	{
		MemoryContext old = MemoryContextSwitchTo(history->context);

		event->clock = (TexVclock *) PG_DETOAST_DATUM_COPY(ROW_VALUE(row, TEX_COL_CLOCK));
		MemoryContextSwitchTo(old);
	}
}

/* Adds an event, given as a row of tex_load_query. */
void
tex_history_take(TexHistory *history, const Datum *values, const bool *isnull, TexRole role)
{
	Row			row = {values, isnull};

	read_row(history, &row, role);
}

/* Adds a link of a span, given as a row of trace id, span, linked trace id and linked span. */
void
tex_history_take_link(TexHistory *history, const Datum *values, const bool *isnull)
{
	Row			row = {values, isnull};
	TexSpanLink *link;
	int32		trace = tex_history_trace(history, DatumGetUUIDP(values[0]));

	/* Its trace may have left. */
	if (trace < 0)
		return;
	if (history->nlinks == history->links_room)
	{
		history->links_room = Max(64, history->links_room * 2);
		history->links = enlarge(history, history->links, sizeof(TexSpanLink) * (Size) history->links_room);
	}
	link = &history->links[history->nlinks++];
	link->trace = trace;
	link->span = name_of_datum(history, &row, 1);
	link->linked_trace = *DatumGetUUIDP(values[2]);
	link->linked_span = name_of_datum(history, &row, 3);
}
