/*
 * redact_event.c
 *		What redaction rules make of an event of JSON.
 *
 * The event is built anew without what rules take out, before anything else looks at it: what is
 * stored, what a reason shows, and what is kept of a refused event all come from that.  A path
 * begins at the members of the event; those of "kind" stand beside them.
 *
 * What the format itself needs is left alone where it is what it must be: ids, the time, names of
 * kinds and fields, types of access, and numbers that columns hold.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "common/event.h"
#include "common/hex.h"
#include "ingest/event_json.h"
#include "ingest/redaction.h"
#include "ingest/timestamps.h"

/* Where a value stands. */
typedef enum Place
{
	ROOT,						/* a member of the event */
	KINDS,						/* a member of "kind" */
	FIELDS,						/* a field of a kind */
	METADATA,
	CLOCK,						/* in a causality vector */
	FREE						/* what clients make up */
} Place;

/* Names of members that the format has; others are the client's, and may tell something. */
static const char *const format_names[] = {
	"id", "trace_id", "parent_id", "timestamp", "kind", "metadata", "causality_vector", "lock_set",
	"thread_id", "process_id", "service_name", "environment", "tags", "duration_ns", "instance_id", "distributed_span_id", "upstream_span_id",
	"function_name", "module", "args", "file", "line", "variable", "old_value", "new_value", "location", "access_type",
	"lock_id", "lock_type", "method", "url", "headers", "body", "status", "duration_ms", "query", "database", "rows_affected",
	"task_id", "spawned_by", "future_id", "awaited_at", "ordering", "error_type", "message", "stack_trace", "name", "data"
};

/*
 * An event is walked over once to see whether a rule changes anything, which is seldom so, and then
 * once more to build it anew.
 */
typedef struct Walk
{
	TexRedaction *redaction;
	bool		builds;
	bool		changed;
	JsonbParseState *state;
	JsonbValue *result;
} Walk;

static void redact_value(Walk *walk, JsonbValue *value, Place place, const JsonbValue *key, JsonbIteratorToken token);

static void
push(Walk *walk, JsonbIteratorToken token, JsonbValue *value)
{
	if (walk->builds)
		walk->result = pushJsonbValue(&walk->state, token, value);
}

static bool
is_key(const JsonbValue *key, const char *name)
{
	return key != NULL && strlen(name) == (size_t) key->val.string.len && memcmp(name, key->val.string.val, key->val.string.len) == 0;
}

/* Is the name of a member one of the format, at its place? */
static bool
is_format_name(const JsonbValue *key, Place place)
{
	if (place == KINDS)
		return tex_kind_by_name(key->val.string.val, key->val.string.len) != TEX_NO_KIND;
	for (Size i = 0; place != FREE && place != CLOCK && i < lengthof(format_names); i++)
	{
		if (is_key(key, format_names[i]))
			return true;
	}
	return false;
}

/* Is a number short enough to be a count, or milliseconds within thirty years, and not that of a card or the like? */
static bool
is_short(const JsonbValue *value)
{
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric))) < 1e12;
}

/* Is a string the id of a span, of 16 or 32 hexadecimal digits? One without a letter may be the number of a card. */
static bool
is_hex_id(const JsonbValue *value)
{
	bool		has_letter = false;

	for (int i = 0; i < value->val.string.len; i++)
	{
		int			digit = tex_hex_digit(value->val.string.val[i]);

		if (digit < 0)
			return false;
		has_letter = has_letter || digit > 9;
	}
	return has_letter && (value->val.string.len == 16 || value->val.string.len == 32);
}

/* Is a value what the format needs it to be? Then no rule changes it. */
static bool
is_needed(const JsonbValue *value, Place place, const JsonbValue *key)
{
	pg_uuid_t	uuid;
	TimestampTz time;
	int			nanoseconds;

	if (value->type == jbvNumeric)
		return (place == METADATA && (is_key(key, "process_id") || is_key(key, "duration_ns"))) ||
			((place == CLOCK || (place == FIELDS && is_key(key, "duration_ms"))) && is_short(value));
	if (place == ROOT && (is_key(key, "id") || is_key(key, "trace_id") || is_key(key, "parent_id")))
		return tex_parse_uuid(value->val.string.val, value->val.string.len, &uuid);
	if (place == ROOT && is_key(key, "timestamp"))
		return tex_parse_timestamp(value->val.string.val, value->val.string.len, &time, &nanoseconds);
	if (place == ROOT && is_key(key, "kind"))
		return tex_kind_by_name(value->val.string.val, value->val.string.len) != TEX_NO_KIND;
	if (place == METADATA && (is_key(key, "distributed_span_id") || is_key(key, "upstream_span_id") || is_key(key, "thread_id")))
		return is_hex_id(value);
	return place == FIELDS && is_key(key, "access_type") && tex_is_access_type(value->val.string.val, value->val.string.len);
}

/* What must be there for the event to be one; it is masked where a rule says drop. */
static bool
must_stay(Place place, const JsonbValue *key)
{
	switch (place)
	{
		case ROOT:
			return is_key(key, "id") || is_key(key, "trace_id") || is_key(key, "parent_id") || is_key(key, "timestamp") ||
				is_key(key, "kind") || is_key(key, "metadata") || is_key(key, "causality_vector");
		case KINDS:
			return is_format_name(key, place);
		case FIELDS:
			return is_key(key, "variable") || is_key(key, "lock_id") || is_key(key, "access_type") || is_key(key, "duration_ms");
		case METADATA:
			return is_key(key, "process_id") || is_key(key, "duration_ns");
		default:
			return false;
	}
}

/* Where the members of what stands at a place stand. */
static Place
inside(Place place, const JsonbValue *key)
{
	if (place == ROOT)
		return is_key(key, "kind") ? KINDS : is_key(key, "metadata") ? METADATA : is_key(key, "causality_vector") ? CLOCK : FREE;
	return place == KINDS ? FIELDS : place == CLOCK ? CLOCK : FREE;
}

/* A string or number; false where it is dropped. */
static bool
redact_scalar(Walk *walk, JsonbValue *value, Place place, const JsonbValue *key)
{
	const char *text;
	int			len;

	if ((value->type != jbvString && value->type != jbvNumeric) || is_needed(value, place, key))
		return true;
	if (value->type == jbvString)
	{
		text = value->val.string.val;
		len = value->val.string.len;
	}
	else
	{
		text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		len = strlen(text);
	}
	switch (tex_redact_text(walk->redaction, &text, &len))
	{
		case TEX_KEPT:
			return true;
		case TEX_DROPPED:
			walk->changed = true;
			if (!must_stay(place, key))
				return false;
			text = "[redacted]";
			len = strlen(text);
			break;
		case TEX_CHANGED:
			break;
	}
	walk->changed = true;
	value->type = jbvString;
	value->val.string.val = unconstify(char *, text);
	value->val.string.len = len;
	return true;
}

/* The name of a member, unless it is dropped; false then. */
static bool
redact_name(Walk *walk, JsonbValue *name, Place place)
{
	const char *text = name->val.string.val;
	int			len = name->val.string.len;
	TexRedacted redacted = tex_redact_name(walk->redaction, &text, &len);

	if (redacted == TEX_KEPT || is_format_name(name, place))
		return true;
	walk->changed = true;
	name->val.string.val = unconstify(char *, text);
	name->val.string.len = len;
	return redacted == TEX_CHANGED;
}

/* One member of an object, unless it is dropped. */
static void
redact_member(Walk *walk, JsonbValue *key, JsonbValue *value, Place place)
{
	JsonbValue	name = *key;
	bool		keep = redact_name(walk, &name, place);

	if (place == ROOT && is_key(key, "kind"))
		tex_redaction_stay(walk->redaction);
	else if (!tex_redaction_enter(walk->redaction, key->val.string.val, key->val.string.len) && !must_stay(place, key))
	{
		walk->changed = true;
		keep = false;
	}
	if (keep && value->type != jbvBinary)
		keep = redact_scalar(walk, value, place, key);
	if (keep)
	{
		push(walk, WJB_KEY, &name);
		redact_value(walk, value, place, key, WJB_VALUE);
	}
	tex_redaction_leave(walk->redaction);
}

/*
 * The name of an element of an array that is ["name", value] or {"name": ..., "value": ...}, as headers are
 * sent by some clients; "key" will do as well.  NULL where it has none.
 */
static JsonbValue *
name_of_element(const JsonbValue *element)
{
	static const char *const names[] = {"name", "key"};
	JsonbContainer *container = element->val.binary.data;
	JsonbValue *name = NULL;

	if (JsonContainerIsArray(container) && JsonContainerSize(container) == 2)
		name = getIthJsonbValueFromContainer(container, 0);
	else if (JsonContainerIsObject(container) &&
			 getKeyJsonValueFromContainer(container, "value", strlen("value"), NULL) != NULL)
	{
		for (Size i = 0; name == NULL && i < lengthof(names); i++)
			name = getKeyJsonValueFromContainer(container, names[i], strlen(names[i]), NULL);
	}
	return name == NULL || name->type != jbvString ? NULL : name;
}

/* An element of an array that is an object or array itself, unless it is dropped. */
static void
redact_element(Walk *walk, JsonbValue *element, Place place)
{
	JsonbValue *name = place == FREE ? name_of_element(element) : NULL;

	if (name == NULL)
	{
		redact_value(walk, element, place, NULL, WJB_ELEM);
		return;
	}
	if (tex_redaction_enter_also(walk->redaction, name->val.string.val, name->val.string.len))
		redact_value(walk, element, place, NULL, WJB_ELEM);
	else
		walk->changed = true;
	tex_redaction_leave(walk->redaction);
}

/* The rest of an object or array, whose begin the iterator is behind, and its end. */
static void
redact_rest(Walk *walk, JsonbIterator **iterator, Place place)
{
	JsonbValue	first;
	JsonbValue	second;
	JsonbIteratorToken next;

	while ((next = JsonbIteratorNext(iterator, &first, true)) == WJB_KEY || next == WJB_ELEM)
	{
		if (next == WJB_KEY)
		{
			JsonbIteratorNext(iterator, &second, true);
			redact_member(walk, &first, &second, place);
		}
		else if (first.type == jbvBinary)
			redact_element(walk, &first, place);
		else if (redact_scalar(walk, &first, place, NULL))
			push(walk, WJB_ELEM, &first);
	}
	push(walk, next, NULL);
}

/* A value whose scalars are redacted; key is that of the member, NULL for an element. */
static void
redact_value(Walk *walk, JsonbValue *value, Place place, const JsonbValue *key, JsonbIteratorToken token)
{
	JsonbIterator *iterator;
	JsonbValue	v;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (value->type != jbvBinary)
	{
		push(walk, token, value);
		return;
	}
	iterator = JsonbIteratorInit(value->val.binary.data);
	push(walk, JsonbIteratorNext(&iterator, &v, true), NULL);
	redact_rest(walk, &iterator, key == NULL ? place : inside(place, key));
}

/* The service of an event; NULL where it says none, which is none of a rule. */
static JsonbValue *
service_of(JsonbContainer *event)
{
	JsonbValue *metadata = getKeyJsonValueFromContainer(event, "metadata", strlen("metadata"), NULL);
	JsonbValue *service = metadata == NULL || metadata->type != jbvBinary || !JsonContainerIsObject(metadata->val.binary.data) ? NULL :
		getKeyJsonValueFromContainer(metadata->val.binary.data, "service_name", strlen("service_name"), NULL);

	return service == NULL || service->type != jbvString ? NULL : service;
}

/* Walks over an event from its beginning. */
static void
walk_over(Walk *walk, JsonbContainer *event, const JsonbValue *service)
{
	JsonbIterator *iterator = JsonbIteratorInit(event);
	JsonbValue	v;

	if (service == NULL)
		tex_redaction_begin(walk->redaction, "", 0);
	else
		tex_redaction_begin(walk->redaction, service->val.string.val, service->val.string.len);
	push(walk, JsonbIteratorNext(&iterator, &v, true), NULL);
	redact_rest(walk, &iterator, ROOT);
}

/*
 * An event, which is an object within the limits of tex_check_event(), without what the rules take
 * out; itself where that is nothing.
 */
JsonbContainer *
tex_redact_event(TexRedaction *redaction, JsonbContainer *event)
{
	JsonbValue *service = service_of(event);
	Walk		walk = {.redaction = redaction};

	walk_over(&walk, event, service);
	if (!walk.changed)
		return event;
	walk.builds = true;
	walk_over(&walk, event, service);
	return &JsonbValueToJsonb(walk.result)->root;
}

/* A value of JSON that stands where the reader is, redacted in place or made anew; NULL where it is dropped. */
JsonbValue *
tex_redact_json(TexRedaction *redaction, JsonbValue *value)
{
	Walk		walk = {.redaction = redaction,.builds = true};
	JsonbIterator *iterator;
	JsonbValue	element;

	if (value->type != jbvBinary)
		return redact_scalar(&walk, value, FREE, NULL) ? value : NULL;
	/* Within an array, as a container must be in one to be pushed. */
	push(&walk, WJB_BEGIN_ARRAY, NULL);
	redact_value(&walk, value, FREE, NULL, WJB_ELEM);
	push(&walk, WJB_END_ARRAY, NULL);
	iterator = JsonbIteratorInit(&JsonbValueToJsonb(walk.result)->root);
	JsonbIteratorNext(&iterator, &element, true);
	JsonbIteratorNext(&iterator, &element, true);
	*value = element;
	return value;
}
