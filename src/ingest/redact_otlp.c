/*
 * redact_otlp.c
 *		What redaction rules make of spans and log records of OpenTelemetry.
 *
 * A record is changed in memory, after it was read and before it is mapped, so both encodings and all
 * that is made of a span have the same.  Paths are spelt as OTLP/JSON has them, without arrays:
 * attributes.http.url, events.attributes.exception.message, resource.attributes.host.name, body.
 *
 * What the mapping needs is left alone where it is what it must be: names of attributes and events
 * that mean something, types of access, and whether a lock is taken.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "common/event.h"
#include "ingest/json_scan.h"
#include "ingest/otlp_attributes.h"
#include "ingest/otlp_known.h"
#include "ingest/redaction.h"

static void redact_pairs(TexRedaction *redaction, TexOtlpList *pairs);

/* Makes a value a string. */
static void
set_string(TexOtlpValue *value, const char *text, int len)
{
	value->type = TEX_OTLP_STRING;
	value->string.data = text;
	value->string.len = len;
}

/* A number as it would be stored; false where a value has no text. */
static bool
text_of(const TexOtlpValue *value, const char **text, int *len)
{
	switch (value->type)
	{
		case TEX_OTLP_STRING:
			*text = value->string.data;
			*len = value->string.len;
			return true;
		case TEX_OTLP_BYTES:
			/* Bytes that are text may be searched. */
			*text = value->string.data;
			*len = value->string.len;
			return pg_verify_mbstr(GetDatabaseEncoding(), *text, *len, true);
		case TEX_OTLP_INT:
			*text = psprintf(INT64_FORMAT, value->integer);
			*len = strlen(*text);
			return true;
		case TEX_OTLP_DOUBLE:
			{
				TexObject	object;
				Jsonb	   *json;

				tex_object_begin(&object);
				tex_object_value(&object, "x", value);
				json = tex_object_end(&object);
				*text = JsonbToCString(NULL, &json->root, VARSIZE(json));
				*len = strlen(*text);
				/* {"x": 1.0} */
				*text += strlen("{\"x\": ");
				*len -= strlen("{\"x\": }");
				return true;
			}
		default:
			return false;
	}
}

/* A value of a variable may be JSON text, which is searched as what it means. False where it is none. */
static bool
redact_json_text(TexRedaction *redaction, TexOtlpValue *value)
{
	JsonbValue *json = tex_scan_value(value->string.data, value->string.len);
	Jsonb	   *whole;
	char	   *spelling;

	if (json == NULL)
		return false;
	json = tex_redact_json(redaction, json);
	if (json == NULL)
	{
		set_string(value, "", 0);
		return true;
	}
	whole = JsonbValueToJsonb(json);
	spelling = JsonbToCString(NULL, &whole->root, VARSIZE(whole));
	set_string(value, spelling, strlen(spelling));
	return true;
}

/* A value; false where it is dropped. */
static bool
redact_value(TexRedaction *redaction, TexOtlpValue *value)
{
	const char *text;
	int			len;

	CHECK_FOR_INTERRUPTS();
	if (value->type == TEX_OTLP_KVLIST)
		redact_pairs(redaction, &value->list);
	else if (value->type == TEX_OTLP_ARRAY)
	{
		TexOtlpList list = value->list;

		value->list.first = value->list.last = NULL;
		for (TexOtlpValue *element = list.first; element != NULL; element = element->next)
		{
			if (!redact_value(redaction, element))
				continue;
			if (value->list.last != NULL)
				value->list.last->next = element;
			else
				value->list.first = element;
			value->list.last = element;
		}
		if (value->list.last != NULL)
			value->list.last->next = NULL;
	}
	else if (text_of(value, &text, &len))
	{
		switch (tex_redact_text(redaction, &text, &len))
		{
			case TEX_KEPT:
				break;
			case TEX_CHANGED:
				set_string(value, text, len);
				break;
			case TEX_DROPPED:
				return false;
		}
	}
	return true;
}

/* Which of the attributes that mean something a key names; ATTR_COUNT: none. */
static TexKnown
known_of(TexOtlpString key)
{
	int			known = 0;

	while (known < ATTR_COUNT && !(tex_known_names[known].len == key.len && memcmp(tex_known_names[known].data, key.data, key.len) == 0))
		known++;
	return known;
}

/* Could a key be one of those that are treated apart below? */
static bool
is_ours(TexOtlpString key)
{
	return key.len > 10 && memcmp(key.data, "trace_ext.", 10) == 0;
}

/* Is a value one that the mapping needs as it is? */
static bool
is_needed(TexKnown known, const TexOtlpValue *value)
{
	if (value->type != TEX_OTLP_STRING)
		return false;
	if (known == ATTR_ACCESS)
		return tex_is_access_type(value->string.data, value->string.len);
	return known == ATTR_LOCK_OP && (tex_otlp_equal(value->string, "acquire") || tex_otlp_equal(value->string, "release"));
}

/* An attribute, or a pair; false where it is dropped. */
static bool
redact_pair(TexRedaction *redaction, TexOtlpValue *pair)
{
	TexOtlpString key = pair->key;
	TexOtlpString name = key;
	TexKnown	known = is_ours(key) ? known_of(key) : ATTR_COUNT;
	TexRedacted redacted = tex_redact_name(redaction, &name.data, &name.len);
	bool		keep = true;

	if (redacted != TEX_KEPT && known_of(key) == ATTR_COUNT)
	{
		keep = redacted == TEX_CHANGED;
		pair->key = name;
	}
	keep = tex_redaction_enter(redaction, key.data, key.len) && keep;
	if (is_needed(known, pair))
		keep = true;
	else if (keep && !((known == ATTR_VALUE || known == ATTR_OLD_VALUE) && pair->type == TEX_OTLP_STRING && redact_json_text(redaction, pair)))
		keep = redact_value(redaction, pair);
	if (!keep && (known == ATTR_VARIABLE || known == ATTR_LOCK_ID))
	{
		/* Without it the span would be refused. */
		set_string(pair, "[redacted]", strlen("[redacted]"));
		keep = true;
	}
	tex_redaction_leave(redaction);
	return keep;
}

/* Pairs, without those that are dropped. */
static void
redact_pairs(TexRedaction *redaction, TexOtlpList *pairs)
{
	TexOtlpList list = *pairs;

	check_stack_depth();
	pairs->first = pairs->last = NULL;
	for (TexOtlpValue *pair = list.first; pair != NULL; pair = pair->next)
	{
		if (!redact_pair(redaction, pair))
			continue;
		if (pairs->last != NULL)
			pairs->last->next = pair;
		else
			pairs->first = pair;
		pairs->last = pair;
	}
	if (pairs->last != NULL)
		pairs->last->next = NULL;
}

/* The attributes of whatever has some. */
static void
redact_attributes(TexRedaction *redaction, TexOtlpList *attributes)
{
	if (tex_redaction_enter(redaction, "attributes", strlen("attributes")))
		redact_pairs(redaction, attributes);
	else
		attributes->first = attributes->last = NULL;
	tex_redaction_leave(redaction);
}

/* A field with a text. */
static void
redact_field(TexRedaction *redaction, const char *name, TexOtlpString *text)
{
	bool		keep = tex_redaction_enter(redaction, name, strlen(name));

	if (text->len > 0 && (!keep || tex_redact_text(redaction, &text->data, &text->len) == TEX_DROPPED))
		text->len = 0;
	tex_redaction_leave(redaction);
}

/* The name of an event; some say what it is. */
static void
redact_event_name(TexRedaction *redaction, const char *field, TexOtlpString *name)
{
	if (!tex_otlp_equal(*name, "exception") && !tex_otlp_equal(*name, "trace_ext.state") && !tex_otlp_equal(*name, "trace_ext.lock"))
		redact_field(redaction, field, name);
}

/* Of a service, whose records tex_redaction_begin() was called for. */
void
tex_redact_resource(TexRedaction *redaction, TexOtlpResource *resource)
{
	(void) tex_redaction_enter(redaction, "resource", strlen("resource"));
	redact_attributes(redaction, &resource->attributes);
	redact_field(redaction, "schemaUrl", &resource->schema_url);
	tex_redaction_leave(redaction);
}

void
tex_redact_scope(TexRedaction *redaction, TexOtlpScope *scope)
{
	(void) tex_redaction_enter(redaction, "scope", strlen("scope"));
	redact_field(redaction, "name", &scope->name);
	redact_field(redaction, "version", &scope->version);
	redact_attributes(redaction, &scope->attributes);
	redact_field(redaction, "schemaUrl", &scope->schema_url);
	tex_redaction_leave(redaction);
}

/* The fields of a span that log records have not. */
static void
redact_span(TexRedaction *redaction, TexOtlpRecord *span)
{
	redact_field(redaction, "name", &span->name);
	redact_field(redaction, "traceState", &span->trace_state);
	(void) tex_redaction_enter(redaction, "status", strlen("status"));
	redact_field(redaction, "message", &span->status_message);
	tex_redaction_leave(redaction);
	if (!tex_redaction_enter(redaction, "events", strlen("events")))
		span->event_count = 0;
	for (int i = 0; i < span->event_count; i++)
	{
		redact_event_name(redaction, "name", &span->events[i].name);
		redact_attributes(redaction, &span->events[i].attributes);
	}
	tex_redaction_leave(redaction);
	if (!tex_redaction_enter(redaction, "links", strlen("links")))
		span->link_count = 0;
	for (int i = 0; i < span->link_count; i++)
	{
		redact_field(redaction, "traceState", &span->links[i].trace_state);
		redact_attributes(redaction, &span->links[i].attributes);
	}
	tex_redaction_leave(redaction);
}

/* A span or log record that was read, of a service that tex_redaction_begin() was called for. */
void
tex_redact_record(TexRedaction *redaction, TexOtlpRecord *record)
{
	redact_attributes(redaction, &record->attributes);
	if (!record->is_log)
	{
		redact_span(redaction, record);
		return;
	}
	redact_event_name(redaction, "eventName", &record->name);
	redact_field(redaction, "severityText", &record->severity_text);
	if (record->body != NULL)
	{
		bool		keep = tex_redaction_enter(redaction, "body", strlen("body"));

		if (!keep || !redact_value(redaction, record->body))
			record->body = NULL;
		tex_redaction_leave(redaction);
	}
}
