/*
 * otlp_map.c
 *		From a span or log record of OpenTelemetry to rows of events.
 *
 * docs/otlp.md has the table of what becomes what.  The events of a span form a chain, its
 * start first, the others by time; the first one follows the first event of the parent span.
 *
 * Ids are made of span and ordinal, so a span that is delivered again gives the same events, and
 * what an event follows is known before it comes:
 *
 *	bytes 0-7	the id of the span
 *	bytes 8-11	the ordinal: 0 the start, 1 and up the span's own events by their place, the
 *				highest what is at its end
 *	bytes 12-15	of the trace id, for those who look at the ids of events alone
 *
 * A log record has no place; the last eight bytes are a hash of its content, with the highest bit
 * set, which ordinals leave clear.
 *
 * What a column or a field of the kind holds word for word is not kept again among the attributes
 * of the span, where its name tells which it was: see move().
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "ingest/json_scan.h"
#include "ingest/otlp_attributes.h"
#include "ingest/otlp_map.h"
#include "ingest/otlp_sources.h"

/* As in the constraints of the table. */
#define MAX_VARIABLE 1024
#define MAX_SERVICE_NAME 512

/* Of what a client sent, a reason shows so much. */
#define MAX_SHOWN 60

/* Ordinals of what is at the end of a span, in their order. */
#define ORDINAL_RESULT 0x7FFFFFFD
#define ORDINAL_ERROR 0x7FFFFFFE
#define ORDINAL_RESPONSE 0x7FFFFFFF

/* Attributes that are looked at. */
typedef enum Known
{
	METHOD, OLD_METHOD, ROUTE, PATH, TARGET, FULL_URL, OLD_URL, RESPONSE_STATUS, OLD_RESPONSE_STATUS,
	DB_SYSTEM, OLD_DB_SYSTEM, DB_TEXT, OLD_DB_TEXT, DB_NAMESPACE, OLD_DB_NAME, DB_ROWS,
	CODE_FILE, OLD_CODE_FILE, CODE_LINE, OLD_CODE_LINE,
	ERROR_TYPE, EXCEPTION_TYPE, EXCEPTION_MESSAGE, EXCEPTION_STACK, EVENT_NAME,
	VARIABLE, ACCESS, VALUE, OLD_VALUE, LOCK_ID, LOCK_OP, LOCK_TYPE,
	SERVICE_NAME, SERVICE_INSTANCE, POD_NAME, HOST_NAME, PROCESS_ID, ENVIRONMENT, OLD_ENVIRONMENT,
	KNOWN_COUNT
} Known;

#define KNOWN(name) {name, sizeof(name) - 1}

static const TexOtlpString known_names[KNOWN_COUNT] = {
	[METHOD] = KNOWN("http.request.method"),
	[OLD_METHOD] = KNOWN("http.method"),
	[ROUTE] = KNOWN("http.route"),
	[PATH] = KNOWN("url.path"),
	[TARGET] = KNOWN("http.target"),
	[FULL_URL] = KNOWN("url.full"),
	[OLD_URL] = KNOWN("http.url"),
	[RESPONSE_STATUS] = KNOWN("http.response.status_code"),
	[OLD_RESPONSE_STATUS] = KNOWN("http.status_code"),
	[DB_SYSTEM] = KNOWN("db.system.name"),
	[OLD_DB_SYSTEM] = KNOWN("db.system"),
	[DB_TEXT] = KNOWN("db.query.text"),
	[OLD_DB_TEXT] = KNOWN("db.statement"),
	[DB_NAMESPACE] = KNOWN("db.namespace"),
	[OLD_DB_NAME] = KNOWN("db.name"),
	[DB_ROWS] = KNOWN("db.response.returned_rows"),
	[CODE_FILE] = KNOWN("code.file.path"),
	[OLD_CODE_FILE] = KNOWN("code.filepath"),
	[CODE_LINE] = KNOWN("code.line.number"),
	[OLD_CODE_LINE] = KNOWN("code.lineno"),
	[ERROR_TYPE] = KNOWN("error.type"),
	[EXCEPTION_TYPE] = KNOWN("exception.type"),
	[EXCEPTION_MESSAGE] = KNOWN("exception.message"),
	[EXCEPTION_STACK] = KNOWN("exception.stacktrace"),
	[EVENT_NAME] = KNOWN("event.name"),
	[VARIABLE] = KNOWN("trace_ext.variable"),
	[ACCESS] = KNOWN("trace_ext.access"),
	[VALUE] = KNOWN("trace_ext.value"),
	[OLD_VALUE] = KNOWN("trace_ext.old_value"),
	[LOCK_ID] = KNOWN("trace_ext.lock.id"),
	[LOCK_OP] = KNOWN("trace_ext.lock.op"),
	[LOCK_TYPE] = KNOWN("trace_ext.lock.type"),
	[SERVICE_NAME] = KNOWN("service.name"),
	[SERVICE_INSTANCE] = KNOWN("service.instance.id"),
	[POD_NAME] = KNOWN("k8s.pod.name"),
	[HOST_NAME] = KNOWN("host.name"),
	[PROCESS_ID] = KNOWN("process.pid"),
	[ENVIRONMENT] = KNOWN("deployment.environment.name"),
	[OLD_ENVIRONMENT] = KNOWN("deployment.environment")
};

/* The attributes of a list that are known; NULL where they are missing. */
typedef struct Found
{
	TexOtlpValue *of[KNOWN_COUNT];
} Found;

static const char *const access_types[] = {
	"Read", "Write", "AtomicRead", "AtomicWrite", "AtomicRMW"
};

/* An event of the span that is being mapped. */
typedef struct Step
{
	uint64		time;
	uint32		ordinal;
} Step;

struct TexOtlpMap
{
	TexOtlpReader *reader;
	TexBatch   *batch;
	MemoryContext row_context;
	int64		resource_id;
	int64		scope_id;
	TexEventRow row;			/* with what all events of the resource, then of the span have */
	Found		found;			/* in the span */
	TexKind		kind;			/* of the first event of the span */
	TexObject	object;			/* the attributes of the event */
	Step	   *steps;
	int			step_room;
};

/* ----------------------------------------------------------------
 *		Attributes
 * ----------------------------------------------------------------
 */
static bool
is_equal(TexOtlpString a, const char *b)
{
	return strlen(b) == (size_t) a.len && memcmp(a.data, b, a.len) == 0;
}

/* Looks for the known ones; of two of one name the last one counts, as in what is kept. */
static void
find_known(const TexOtlpList *attributes, Found *found)
{
	memset(found, 0, sizeof(*found));
	for (TexOtlpValue *v = attributes->first; v != NULL; v = v->next)
	{
		for (int i = 0; i < KNOWN_COUNT; i++)
		{
			if (known_names[i].len == v->key.len &&
				memcmp(known_names[i].data, v->key.data, v->key.len) == 0)
			{
				found->of[i] = v;
				break;
			}
		}
	}
}

/* The attribute of the new convention, else that of the old. */
static TexOtlpValue *
either(Found *found, Known now, Known before)
{
	return found->of[now] != NULL ? found->of[now] : found->of[before];
}

/* A string that is not empty? */
static bool
has_text(const TexOtlpValue *value)
{
	return value != NULL && value->type == TEX_OTLP_STRING && value->string.len > 0;
}

/* A scalar as text; what is none is empty. */
static TexOtlpString
text_of(const TexOtlpValue *value)
{
	TexOtlpString text = {"", 0};

	if (value == NULL)
		return text;
	switch (value->type)
	{
		case TEX_OTLP_STRING:
			return value->string;
		case TEX_OTLP_INT:
			text.data = psprintf(INT64_FORMAT, value->integer);
			break;
		case TEX_OTLP_BOOL:
			text.data = value->boolean ? "true" : "false";
			break;
		case TEX_OTLP_DOUBLE:
			text.data = DatumGetCString(DirectFunctionCall1(float8out, Float8GetDatum(value->number)));
			break;
		default:
			break;
	}
	text.len = strlen(text.data);
	return text;
}

/* A whole number, however it was sent. */
static bool
number_of(const TexOtlpValue *value, int64 *number)
{
	if (value == NULL)
		return false;
	if (value->type == TEX_OTLP_INT)
	{
		*number = value->integer;
		return true;
	}
	if (value->type != TEX_OTLP_STRING || value->string.len == 0 || value->string.len > 9)
		return false;
	*number = 0;
	for (int i = 0; i < value->string.len; i++)
	{
		if (value->string.data[i] < '0' || value->string.data[i] > '9')
			return false;
		*number = *number * 10 + value->string.data[i] - '0';
	}
	return true;
}

/*
 * A string that a column or field now holds word for word need not be kept twice.  That is done
 * only where the kind of the event tells the name of the attribute that it was.
 */
static void
move(TexOtlpValue *value)
{
	if (value != NULL && value->type == TEX_OTLP_STRING)
		value->moved = true;
}

/* Refuses the record for one of its attributes; false, to be returned. */
static bool
refuse_attribute(TexOtlpMap *map, Known known, const char *why)
{
	map->reader->field = "attributes";
	map->reader->key = known_names[known];
	return tex_otlp_refuse(map->reader, why);
}

/* What a client sent, cut to what fits a message. */
static char *
shown(TexOtlpString text)
{
	int			clipped = pg_mbcliplen(text.data, text.len, MAX_SHOWN);

	return psprintf("\"%.*s%s\"", clipped, text.data, clipped < text.len ? "..." : "");
}

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */
static void
set(TexEventRow *row, int column, Datum value)
{
	row->values[column] = value;
	row->isnull[column] = false;
}

/* Sets a column, which is null where the text is empty. */
static void
set_text(TexEventRow *row, int column, TexOtlpString text)
{
	row->isnull[column] = text.len == 0;
	if (text.len > 0)
		row->values[column] = PointerGetDatum(cstring_to_text_with_len(text.data, text.len));
}

/* A span id as text. */
static Datum
hex_text(const uint8 *id)
{
	text	   *hex = palloc(VARHDRSZ + 2 * TEX_SPAN_ID_LEN);

	SET_VARSIZE(hex, VARHDRSZ + 2 * TEX_SPAN_ID_LEN);
	hex_encode((const char *) id, TEX_SPAN_ID_LEN, VARDATA(hex));
	return PointerGetDatum(hex);
}

/* The id of an event of a span, see the head of the file. */
static void
make_id(pg_uuid_t *id, const TexOtlpRecord *record, const uint8 *span_id, uint32 ordinal)
{
	memcpy(id->data, span_id, TEX_SPAN_ID_LEN);
	for (int i = 0; i < 4; i++)
	{
		id->data[8 + i] = ordinal >> (24 - 8 * i) & 0xFF;
		id->data[12 + i] = record->trace_id[i] ^ record->trace_id[4 + i] ^ record->trace_id[8 + i] ^ record->trace_id[12 + i];
	}
}

/* Begins the attributes of the next row. */
static void
begin_row(TexOtlpMap *map)
{
	MemoryContextReset(map->row_context);
	MemoryContextSwitchTo(map->row_context);
	tex_object_begin(&map->object);
	map->row.isnull[COL_NAME] = true;
	map->row.isnull[COL_DURATION_NS] = true;
}

/* Sets the time: microseconds, and the rest among the attributes. */
static void
set_time(TexOtlpMap *map, uint64 time)
{
	map->row.timestamp = (TimestampTz) (time / 1000) -
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	set(&map->row, COL_TIMESTAMP, TimestampTzGetDatum(map->row.timestamp));
	tex_object_number(&map->object, "timestamp_ns", time % 1000);
}

/* Ends the attributes, which are null where there are none. */
static void
end_attributes(TexOtlpMap *map)
{
	Jsonb	   *attributes = tex_object_end(&map->object);

	map->row.isnull[COL_ATTRIBUTES] = map->object.members == 0;
	map->row.values[COL_ATTRIBUTES] = JsonbPGetDatum(attributes);
}

/* Adds the row, whose id is set; the next event follows it. */
static void
end_row(TexOtlpMap *map, TexKind kind)
{
	set(&map->row, COL_KIND, ObjectIdGetDatum(tex_kind_oid(kind)));
	tex_batch_add(map->batch, &map->row);
	map->row.parent_id = map->row.id;
	map->row.isnull[COL_PARENT_ID] = false;
}

/* What a point in a span that became an event holds beside: its attributes, in the object "otlp". */
static void
keep_rest(TexOtlpMap *map, const TexOtlpList *attributes, uint32 dropped, bool timeless)
{
	const TexOtlpValue *v = attributes->first;

	while (v != NULL && v->moved)
		v = v->next;
	if (v == NULL && dropped == 0 && !timeless)
		return;
	tex_object_open(&map->object, "otlp", false);
	tex_object_attributes(&map->object, "attributes", attributes);
	tex_object_number(&map->object, "droppedAttributesCount", dropped);
	if (timeless)
		tex_object_integer(&map->object, "timeUnixNano", 0);
	tex_object_close(&map->object, false);
}

/* ----------------------------------------------------------------
 *		What happened in a span: its events, and log records
 * ----------------------------------------------------------------
 */
/* Where in the code: of the event itself, else of its span, which may be NULL. */
static void
add_location(TexOtlpMap *map, Found *own, Found *span)
{
	Found	   *found = either(own, CODE_FILE, OLD_CODE_FILE) != NULL || span == NULL ? own : span;
	TexOtlpString file = text_of(either(found, CODE_FILE, OLD_CODE_FILE));
	TexOtlpString line = text_of(either(found, CODE_LINE, OLD_CODE_LINE));
	TexOtlpString location;

	if (file.len == 0)
		return;
	location.data = psprintf("%.*s%s%.*s", file.len, file.data, line.len > 0 ? ":" : "", line.len, line.data);
	location.len = strlen(location.data);
	tex_object_string(&map->object, "location", location);
}

/* A value of a variable: JSON text, else what it is. */
static void
add_json(TexOtlpMap *map, const char *field, TexOtlpValue *value)
{
	JsonbValue *json;
	Jsonb	   *whole;
	char	   *spelling;

	if (value == NULL)
		return;
	json = value->type != TEX_OTLP_STRING ? NULL : tex_scan_value(value->string.data, value->string.len);
	if (json == NULL)
	{
		tex_object_value(&map->object, field, value);
		return;
	}
	tex_object_jsonb(&map->object, field, json);
	whole = JsonbValueToJsonb(json);
	spelling = JsonbToCString(NULL, &whole->root, VARSIZE(whole));
	if (is_equal(value->string, spelling))
		move(value);
}

/* An access of a variable. */
static bool
map_state(TexOtlpMap *map, Found *found, Found *span)
{
	TexOtlpString variable = text_of(found->of[VARIABLE]);
	TexOtlpString access = text_of(found->of[ACCESS]);
	Size		type = 0;

	if (variable.len == 0)
		return refuse_attribute(map, VARIABLE, "missing");
	if (variable.len > MAX_VARIABLE)
		return refuse_attribute(map, VARIABLE, psprintf("longer than %d bytes", MAX_VARIABLE));
	if (access.len == 0)
		return refuse_attribute(map, ACCESS, "missing");
	while (type < lengthof(access_types) && !is_equal(access, access_types[type]))
		type++;
	if (type == lengthof(access_types))
		return refuse_attribute(map, ACCESS,
								psprintf("unknown access type %s, not one of Read, Write, AtomicRead, AtomicWrite, AtomicRMW",
										 shown(access)));
	set_text(&map->row, COL_NAME, variable);
	tex_object_string(&map->object, "access_type", access);
	move(found->of[VARIABLE]);
	move(found->of[ACCESS]);
	add_json(map, "old_value", found->of[OLD_VALUE]);
	add_json(map, "new_value", found->of[VALUE]);
	add_location(map, found, span);
	return true;
}

/* A lock that is taken or given back. */
static bool
map_lock(TexOtlpMap *map, Found *found, Found *span, TexKind *kind)
{
	TexOtlpString lock = text_of(found->of[LOCK_ID]);
	TexOtlpString op = text_of(found->of[LOCK_OP]);

	if (lock.len == 0)
		return refuse_attribute(map, LOCK_ID, "missing");
	if (op.len == 0)
		return refuse_attribute(map, LOCK_OP, "missing");
	if (is_equal(op, "acquire"))
		*kind = TEX_LOCK_ACQUIRE;
	else if (is_equal(op, "release"))
		*kind = TEX_LOCK_RELEASE;
	else
		return refuse_attribute(map, LOCK_OP, psprintf("unknown operation %s, not acquire or release", shown(op)));
	set_text(&map->row, COL_NAME, lock);
	move(found->of[LOCK_ID]);
	move(found->of[LOCK_OP]);
	if (has_text(found->of[LOCK_TYPE]))
	{
		tex_object_string(&map->object, "lock_type", found->of[LOCK_TYPE]->string);
		move(found->of[LOCK_TYPE]);
	}
	add_location(map, found, span);
	return true;
}

/* The lines of a stack trace, which joined give it back. */
static void
add_stack(TexOtlpMap *map, TexOtlpString stack)
{
	const char *line = stack.data;
	const char *end = stack.data + stack.len;
	JsonbValue	v;

	tex_object_open(&map->object, "stack_trace", true);
	for (;;)
	{
		const char *newline = memchr(line, '\n', end - line);

		v.type = jbvString;
		v.val.string.val = unconstify(char *, line);
		v.val.string.len = (newline == NULL ? end : newline) - line;
		pushJsonbValue(&map->object.state, WJB_ELEM, &v);
		if (newline == NULL)
			break;
		line = newline + 1;
	}
	tex_object_close(&map->object, true);
}

/* An exception. */
static void
map_exception(TexOtlpMap *map, Found *found)
{
	set_text(&map->row, COL_NAME, text_of(found->of[EXCEPTION_TYPE]));
	if (has_text(found->of[EXCEPTION_TYPE]))
		move(found->of[EXCEPTION_TYPE]);
	if (has_text(found->of[EXCEPTION_MESSAGE]))
	{
		tex_object_string(&map->object, "message", found->of[EXCEPTION_MESSAGE]->string);
		move(found->of[EXCEPTION_MESSAGE]);
	}
	if (has_text(found->of[EXCEPTION_STACK]))
	{
		add_stack(map, found->of[EXCEPTION_STACK]->string);
		move(found->of[EXCEPTION_STACK]);
	}
}

/* Sets kind, name and fields by the name of an event or log record; false and a reason where it cannot be that. */
static bool
map_point(TexOtlpMap *map, TexOtlpString name, Found *found, Found *span, TexKind *kind)
{
	if (is_equal(name, "trace_ext.state"))
	{
		*kind = TEX_STATE_CHANGE;
		return map_state(map, found, span);
	}
	if (is_equal(name, "trace_ext.lock"))
		return map_lock(map, found, span, kind);
	if (is_equal(name, "exception"))
	{
		*kind = TEX_ERROR;
		map_exception(map, found);
		return true;
	}
	*kind = TEX_CUSTOM;
	set_text(&map->row, COL_NAME, name);
	return true;
}

/* ----------------------------------------------------------------
 *		Spans
 * ----------------------------------------------------------------
 */
/* The address of a request: the route, else the path or address without its query. */
static TexOtlpString
address_of(Found *found)
{
	static const Known sources[] = {ROUTE, PATH, TARGET, FULL_URL, OLD_URL};
	TexOtlpString address = {"", 0};

	for (Size i = 0; i < lengthof(sources); i++)
	{
		if (!has_text(found->of[sources[i]]))
			continue;
		address = found->of[sources[i]]->string;
		/* A route may have a "?" of its own. */
		for (int end = 0; sources[i] != ROUTE && end < address.len; end++)
		{
			if (address.data[end] == '?' || address.data[end] == '#')
				address.len = end;
		}
		break;
	}
	return address;
}

/* What kind of event the start of the span is. */
static TexKind
kind_of_span(TexOtlpMap *map)
{
	Found	   *found = &map->found;
	int32		kind = map->reader->record.kind;

	if ((kind == TEX_SPAN_SERVER || kind == TEX_SPAN_CLIENT) && has_text(either(found, METHOD, OLD_METHOD)))
		return TEX_HTTP_REQUEST;
	if (either(found, DB_SYSTEM, OLD_DB_SYSTEM) != NULL &&
		(has_text(found->of[DB_TEXT]) || has_text(found->of[OLD_DB_TEXT])))
		return TEX_DATABASE_QUERY;
	if (kind == TEX_SPAN_PRODUCER)
		return TEX_ASYNC_SPAWN;
	if (kind == TEX_SPAN_CONSUMER)
		return TEX_ASYNC_AWAIT;
	return TEX_FUNCTION_CALL;
}

/* The name of the span's first event, and the fields of its kind. */
static void
map_start(TexOtlpMap *map)
{
	Found	   *found = &map->found;
	TexOtlpString name = map->reader->record.name;
	TexOtlpValue *text;

	switch (map->kind)
	{
		case TEX_HTTP_REQUEST:
			{
				TexOtlpString method = either(found, METHOD, OLD_METHOD)->string;
				TexOtlpString address = address_of(found);

				name.data = psprintf("%.*s%s%.*s", method.len, method.data, address.len > 0 ? " " : "",
									 address.len, address.data);
				name.len = strlen(name.data);
				break;
			}
		case TEX_DATABASE_QUERY:
			text = has_text(found->of[DB_TEXT]) ? found->of[DB_TEXT] : found->of[OLD_DB_TEXT];
			name = text->string;
			move(text);
			tex_object_string(&map->object, "database", text_of(either(found, DB_NAMESPACE, OLD_DB_NAME)));
			break;
		case TEX_FUNCTION_CALL:
			tex_object_string(&map->object, "module", map->reader->scope.name);
			tex_object_string(&map->object, "file", text_of(either(found, CODE_FILE, OLD_CODE_FILE)));
			tex_object_value(&map->object, "line", either(found, CODE_LINE, OLD_CODE_LINE));
			break;
		default:
			break;
	}
	set_text(&map->row, COL_NAME, name);
}

/* An id, in hexadecimal digits. */
static void
keep_id(TexObject *object, const char *key, const uint8 *id, int len)
{
	TexOtlpString hex;

	if (tex_otlp_is_zero(id, len))
		return;
	hex.data = palloc(2 * len);
	hex.len = hex_encode((const char *) id, len, unconstify(char *, hex.data));
	tex_object_string(object, key, hex);
}

/* The links of the span, as they came. */
static void
keep_links(TexOtlpMap *map)
{
	TexOtlpRecord *span = &map->reader->record;
	TexObject  *object = &map->object;

	if (span->link_count == 0)
		return;
	tex_object_open(object, "links", true);
	for (int i = 0; i < span->link_count; i++)
	{
		TexOtlpLink *link = &span->links[i];

		tex_object_open(object, NULL, false);
		keep_id(object, "traceId", link->trace_id, TEX_TRACE_ID_LEN);
		keep_id(object, "spanId", link->span_id, TEX_SPAN_ID_LEN);
		tex_object_string(object, "traceState", link->trace_state);
		tex_object_attributes(object, "attributes", &link->attributes);
		tex_object_number(object, "droppedAttributesCount", link->dropped_attributes);
		tex_object_number(object, "flags", link->flags);
		tex_object_close(object, false);
	}
	tex_object_close(object, true);
}

/* All of the span that its events do not say, in the object "otlp" of the first one. */
static void
keep_span(TexOtlpMap *map)
{
	TexOtlpRecord *span = &map->reader->record;
	TexObject  *object = &map->object;
	text	   *name = map->row.isnull[COL_NAME] ? NULL : DatumGetTextPP(map->row.values[COL_NAME]);

	tex_object_open(object, "otlp", false);
	if (name == NULL || VARSIZE_ANY_EXHDR(name) != (Size) span->name.len ||
		memcmp(VARDATA_ANY(name), span->name.data, span->name.len) != 0)
		tex_object_string(object, "name", span->name);
	if (span->kind != 0)
		tex_object_integer(object, "kind", span->kind);
	if (map->kind == TEX_DATABASE_QUERY && !has_text(map->found.of[DB_TEXT]))
		tex_object_string(object, "query", known_names[OLD_DB_TEXT]);
	tex_object_attributes(object, "attributes", &span->attributes);
	tex_object_number(object, "droppedAttributesCount", span->dropped_attributes);
	tex_object_number(object, "droppedEventsCount", span->dropped_events);
	tex_object_number(object, "droppedLinksCount", span->dropped_links);
	tex_object_string(object, "traceState", span->trace_state);
	tex_object_number(object, "flags", span->flags);
	if (span->end_time < span->time || span->end_time - span->time > PG_INT64_MAX)
		tex_object_number(object, "endTimeUnixNano", span->end_time);
	if (span->status_code != 0 || span->status_message.len > 0)
	{
		tex_object_open(object, "status", false);
		if (span->status_code != 0)
			tex_object_integer(object, "code", span->status_code);
		tex_object_string(object, "message", span->status_message);
		tex_object_close(object, false);
	}
	keep_links(map);
	tex_object_integer(object, "resource", map->resource_id);
	tex_object_integer(object, "scope", map->scope_id);
	tex_object_close(object, false);
}

/* The first event of the span. */
static void
add_start(TexOtlpMap *map)
{
	TexOtlpRecord *span = &map->reader->record;

	begin_row(map);
	map->row.isnull[COL_PARENT_ID] = true;
	if (!tex_otlp_is_zero(span->parent_id, TEX_SPAN_ID_LEN))
	{
		if (memcmp(span->parent_id, span->span_id, TEX_SPAN_ID_LEN) != 0)
		{
			make_id(&map->row.parent_id, span, span->parent_id, 0);
			map->row.isnull[COL_PARENT_ID] = false;
		}
		else
		{
			JsonbValue	yes = {.type = jbvBool,.val.boolean = true};

			tex_object_jsonb(&map->object, "own_parent", &yes);	/* as in event JSON: a root */
		}
	}
	make_id(&map->row.id, span, span->span_id, 0);
	set_time(map, span->time);
	if (span->end_time != 0)
		set(&map->row, COL_DURATION_NS,
			Int64GetDatum(span->end_time <= span->time ? 0 :
						  (int64) Min(span->end_time - span->time, (uint64) PG_INT64_MAX)));
	map_start(map);
	keep_span(map);
	end_attributes(map);
	end_row(map, map->kind);
}

/* What is at the end of the span. */
static void
add_end(TexOtlpMap *map, const Step *step)
{
	TexOtlpRecord *span = &map->reader->record;
	TexOtlpValue *status = either(&map->found, RESPONSE_STATUS, OLD_RESPONSE_STATUS);
	int64		number;

	begin_row(map);
	make_id(&map->row.id, span, span->span_id, step->ordinal);
	set_time(map, step->time);
	switch (step->ordinal)
	{
		case ORDINAL_RESULT:
			tex_object_value(&map->object, "rows_affected", map->found.of[DB_ROWS]);
			end_attributes(map);
			end_row(map, TEX_DATABASE_RESULT);
			break;
		case ORDINAL_ERROR:
			/* By the conventions the status of a response is the type of its error. */
			set_text(&map->row, COL_NAME, text_of(map->found.of[ERROR_TYPE] != NULL ? map->found.of[ERROR_TYPE] : status));
			tex_object_string(&map->object, "message", span->status_message);
			end_attributes(map);
			end_row(map, TEX_ERROR);
			break;
		case ORDINAL_RESPONSE:
			if (number_of(status, &number))
			{
				set(&map->row, COL_NAME, CStringGetTextDatum(psprintf(INT64_FORMAT, number)));
				tex_object_integer(&map->object, "status", number);
			}
			end_attributes(map);
			end_row(map, TEX_HTTP_RESPONSE);
			break;
	}
}

/* One of the span's own events. */
static bool
add_event(TexOtlpMap *map, const Step *step)
{
	TexOtlpReader *reader = map->reader;
	TexOtlpEvent *event = &reader->record.events[step->ordinal - 1];
	Found		found;
	TexKind		kind;

	begin_row(map);
	make_id(&map->row.id, &reader->record, reader->record.span_id, step->ordinal);
	set_time(map, step->time);
	reader->list = "events";
	reader->place = step->ordinal - 1;
	find_known(&event->attributes, &found);
	if (!map_point(map, event->name, &found, &map->found, &kind))
		return false;
	keep_rest(map, &event->attributes, event->dropped_attributes, event->time == 0);
	end_attributes(map);
	end_row(map, kind);
	return true;
}

/* For qsort(): by time, else by ordinal. */
static int
compare_steps(const void *a, const void *b)
{
	const Step *x = a;
	const Step *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

/* Does the status of the span tell of an error that nothing else does? A client's error, 4xx, is none. */
static bool
has_error(TexOtlpMap *map)
{
	TexOtlpRecord *span = &map->reader->record;
	int64		number;

	if (span->status_code != TEX_STATUS_ERROR)
		return false;
	for (int i = 0; i < span->event_count; i++)
	{
		if (is_equal(span->events[i].name, "exception"))
			return false;
	}
	return !(map->kind == TEX_HTTP_REQUEST &&
			 number_of(either(&map->found, RESPONSE_STATUS, OLD_RESPONSE_STATUS), &number) &&
			 number >= 400 && number < 500);
}

/* All events of the span after its first, in their order; returns how many. */
static int
list_steps(TexOtlpMap *map)
{
	TexOtlpRecord *span = &map->reader->record;
	uint64		end = Max(span->end_time, span->time);
	int			n = 0;
	bool		sorted = true;

	if (map->step_room < span->event_count + 3)
	{
		map->step_room = span->event_count + 3;
		map->steps = repalloc(map->steps, sizeof(Step) * map->step_room);
	}
	for (int i = 0; i < span->event_count; i++)
		map->steps[n++] = (Step) {span->events[i].time == 0 ? span->time : span->events[i].time, i + 1};
	if (map->kind == TEX_DATABASE_QUERY && map->found.of[DB_ROWS] != NULL)
		map->steps[n++] = (Step) {end, ORDINAL_RESULT};
	if (has_error(map))
		map->steps[n++] = (Step) {end, ORDINAL_ERROR};
	if (map->kind == TEX_HTTP_REQUEST)
		map->steps[n++] = (Step) {end, ORDINAL_RESPONSE};
	for (int i = 1; i < n; i++)
		sorted = sorted && map->steps[i - 1].time <= map->steps[i].time;
	if (!sorted)
		qsort(map->steps, n, sizeof(Step), compare_steps);
	return n;
}

/* A span; false and a reason where one of its events cannot be what it says it is. */
static bool
map_span(TexOtlpMap *map)
{
	TexOtlpRecord *span = &map->reader->record;
	bool		remote = (span->flags & TEX_OTLP_REMOTE_KNOWN) != 0 ? (span->flags & TEX_OTLP_REMOTE) != 0 :
		span->kind == TEX_SPAN_SERVER || span->kind == TEX_SPAN_CONSUMER;
	int			n;

	map->row.isnull[COL_UPSTREAM_SPAN_ID] = !remote || tex_otlp_is_zero(span->parent_id, TEX_SPAN_ID_LEN);
	if (!map->row.isnull[COL_UPSTREAM_SPAN_ID])
		map->row.values[COL_UPSTREAM_SPAN_ID] = hex_text(span->parent_id);
	map->kind = kind_of_span(map);
	n = list_steps(map);
	add_start(map);
	for (int i = 0; i < n; i++)
	{
		if (map->steps[i].ordinal >= ORDINAL_RESULT)
			add_end(map, &map->steps[i]);
		else if (!add_event(map, &map->steps[i]))
			return false;
	}
	return true;
}

/* ----------------------------------------------------------------
 *		Log records
 * ----------------------------------------------------------------
 */
/* The body of a log record, of which SDKs send an empty one where there is none. */
static void
add_body(TexOtlpMap *map, const char *field)
{
	TexOtlpValue *body = map->reader->record.body;

	if (body != NULL && body->type != TEX_OTLP_EMPTY)
		tex_object_value(&map->object, field, body);
}

/* What the event does not say of its log record. */
static void
keep_log(TexOtlpMap *map, TexKind kind)
{
	TexOtlpRecord *log = &map->reader->record;
	TexObject  *object = &map->object;

	tex_object_open(object, "otlp", false);
	if (kind != TEX_CUSTOM)
		tex_object_string(object, "eventName", log->name);
	else if (log->name.len == 0 && !map->row.isnull[COL_NAME])
		tex_object_none(object, "eventName");
	if (log->time == 0)
		tex_object_integer(object, "timeUnixNano", 0);
	tex_object_number(object, "observedTimeUnixNano", log->observed_time);
	if (log->severity_number != 0)
		tex_object_integer(object, "severityNumber", log->severity_number);
	tex_object_string(object, "severityText", log->severity_text);
	if (kind != TEX_CUSTOM)
		add_body(map, "body");
	tex_object_attributes(object, "attributes", &log->attributes);
	tex_object_number(object, "droppedAttributesCount", log->dropped_attributes);
	tex_object_number(object, "flags", log->flags);
	tex_object_integer(object, "resource", map->resource_id);
	tex_object_integer(object, "scope", map->scope_id);
	tex_object_close(object, false);
}

/* Sets the id of a log record by its content, as it has no place of its own in the span. */
static void
make_log_id(TexOtlpMap *map, TexKind kind)
{
	TexOtlpRecord *log = &map->reader->record;
	StringInfoData content;
	uint64		hash;

	initStringInfo(&content);
	appendStringInfo(&content, UINT64_FORMAT " %s %s ", log->time, tex_kind_name(kind),
					 map->row.isnull[COL_NAME] ? "" : TextDatumGetCString(map->row.values[COL_NAME]));
	if (!map->row.isnull[COL_ATTRIBUTES])
	{
		Jsonb	   *attributes = DatumGetJsonbP(map->row.values[COL_ATTRIBUTES]);

		JsonbToCString(&content, &attributes->root, VARSIZE(attributes));
	}
	hash = tex_otlp_hash(content.data, content.len) | UINT64CONST(1) << 63;
	memcpy(map->row.id.data, log->span_id, TEX_SPAN_ID_LEN);
	for (int i = 0; i < 8; i++)
		map->row.id.data[8 + i] = hash >> (56 - 8 * i) & 0xFF;
}

/* The name of the event that a log record is; one of an exception may have none. */
static TexOtlpString
name_of_log(TexOtlpMap *map)
{
	TexOtlpString name = map->reader->record.name;

	if (name.len > 0)
		return name;
	if (has_text(map->found.of[EVENT_NAME]))
		return map->found.of[EVENT_NAME]->string;
	if (map->found.of[EXCEPTION_TYPE] != NULL || map->found.of[EXCEPTION_MESSAGE] != NULL)
	{
		name.data = "exception";
		name.len = strlen("exception");
	}
	return name;
}

/* A log record: an event that follows the start of its span. */
static bool
map_log(TexOtlpMap *map)
{
	TexOtlpRecord *log = &map->reader->record;
	bool		has_span = !map->row.isnull[COL_SPAN_ID];
	TexKind		kind;

	map->row.isnull[COL_UPSTREAM_SPAN_ID] = true;
	map->row.isnull[COL_PARENT_ID] = !has_span;
	make_id(&map->row.parent_id, log, log->span_id, 0);
	begin_row(map);
	set_time(map, log->time == 0 ? log->observed_time : log->time);
	if (!map_point(map, name_of_log(map), &map->found, NULL, &kind))
		return false;
	if (kind == TEX_CUSTOM)
		add_body(map, "data");
	keep_log(map, kind);
	end_attributes(map);
	make_log_id(map, kind);
	end_row(map, kind);
	return true;
}

/* ----------------------------------------------------------------
 *		The doors
 * ----------------------------------------------------------------
 */
/* Maps what the reader hands over to rows of the batch. Lives as long as the current memory context. */
TexOtlpMap *
tex_otlp_map(TexOtlpReader *reader, TexBatch *batch)
{
	TexOtlpMap *map = palloc0(sizeof(TexOtlpMap));

	map->reader = reader;
	map->batch = batch;
	map->row_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext event", ALLOCSET_DEFAULT_SIZES);
	map->step_room = 64;
	map->steps = palloc(sizeof(Step) * map->step_room);
	memset(map->row.isnull, true, sizeof(map->row.isnull));
	set(&map->row, COL_TRACE_ID, UUIDPGetDatum(&map->row.trace_id));
	set(&map->row, COL_ID, UUIDPGetDatum(&map->row.id));
	map->row.values[COL_PARENT_ID] = UUIDPGetDatum(&map->row.parent_id);
	return map;
}

/*
 * Takes the resource that was read, in its memory context, for the records to come: who sent them.
 * An instance without a name of its own is its pod or host, and its process.  Sets a reason where
 * none of them can be taken.
 */
void
tex_otlp_map_resource(TexOtlpMap *map, int64 id)
{
	TexOtlpReader *reader = map->reader;
	TexEventRow *row = &map->row;
	Found		found;
	TexOtlpString service;
	TexOtlpString instance;
	int64		process = -1;

	map->resource_id = id;
	find_known(&reader->resource.attributes, &found);
	service = text_of(found.of[SERVICE_NAME]);
	if (service.len > MAX_SERVICE_NAME)
		refuse_attribute(map, SERVICE_NAME, psprintf("longer than %d bytes", MAX_SERVICE_NAME));
	set_text(row, COL_SERVICE_NAME, service);
	set_text(row, COL_ENVIRONMENT, text_of(either(&found, ENVIRONMENT, OLD_ENVIRONMENT)));

	row->isnull[COL_PROCESS_ID] = !number_of(found.of[PROCESS_ID], &process) || process < 0 || process > PG_INT32_MAX;
	if (!row->isnull[COL_PROCESS_ID])
		row->values[COL_PROCESS_ID] = Int32GetDatum((int32) process);

	instance = text_of(found.of[SERVICE_INSTANCE]);
	if (instance.len == 0)
	{
		instance = text_of(either(&found, POD_NAME, HOST_NAME));
		if (instance.len > 0 && !row->isnull[COL_PROCESS_ID])
		{
			instance.data = psprintf("%.*s:%d", instance.len, instance.data, (int) process);
			instance.len = strlen(instance.data);
		}
	}
	set_text(row, COL_INSTANCE_ID, instance);
}

/* Takes the scope that was read for the records to come. */
void
tex_otlp_map_scope(TexOtlpMap *map, int64 id)
{
	map->scope_id = id;
}

/*
 * Adds the rows of the record that was read, in whose memory context this is called.  False and a
 * reason where it is refused; then no row of it is added.
 */
bool
tex_otlp_map_record(TexOtlpMap *map)
{
	TexOtlpRecord *record = &map->reader->record;
	MemoryContext old = CurrentMemoryContext;
	int			rows = map->batch->row_count;
	bool		mapped;

	find_known(&record->attributes, &map->found);
	memcpy(map->row.trace_id.data, record->trace_id, UUID_LEN);
	/* A span is what runs in sequence; threads, which it may change, are among its attributes. */
	map->row.isnull[COL_SPAN_ID] = map->row.isnull[COL_THREAD_ID] = tex_otlp_is_zero(record->span_id, TEX_SPAN_ID_LEN);
	if (!map->row.isnull[COL_SPAN_ID])
		map->row.values[COL_SPAN_ID] = map->row.values[COL_THREAD_ID] = hex_text(record->span_id);
	mapped = record->is_log ? map_log(map) : map_span(map);
	MemoryContextSwitchTo(old);
	if (!mapped)
	{
		map->reader->reason = pstrdup(map->reader->reason);
		tex_batch_cut(map->batch, rows);
	}
	return mapped;
}
