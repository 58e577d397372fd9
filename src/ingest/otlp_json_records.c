/*
 * otlp_json_records.c
 *		Reads the attributes of OpenTelemetry in JSON, and the spans and log records that have them.
 *
 * Clients differ: numbers of 64 bits are numbers or strings, what is empty is left out, empty, or
 * null.  Keys that are not known are skipped, as OTLP has it.  Only attribute values recurse, to a
 * depth of TEX_OTLP_DEPTH.
 */
#include "postgres.h"

#include <math.h>

#include "ingest/otlp_json_fields.h"

/* ----------------------------------------------------------------
 *		Values
 * ----------------------------------------------------------------
 */
/* An integer of 64 bits, signed. */
static bool
read_int(TexJson *json, TexOtlpValue *value)
{
	char		spelling[TEX_JSON_NUMBER + 1];
	uint64		amount;
	bool		negative;

	if (!tex_json_spelling(json, spelling))
		return false;
	if (!tex_json_parse_whole(spelling, &amount, &negative) || amount > (uint64) PG_INT64_MAX + negative)
		return tex_otlp_refuse(json->reader, "not an integer of 64 bits");
	value->type = TEX_OTLP_INT;
	value->integer = negative ? (int64) (0 - amount) : (int64) amount;
	return true;
}

/* A double, a number or a string. */
static bool
read_double(TexJson *json, TexOtlpValue *value)
{
	char		spelling[TEX_JSON_NUMBER + 1];

	value->type = TEX_OTLP_DOUBLE;
	if (tex_json_word(json, "\"NaN\""))
		value->number = NAN;
	else if (tex_json_word(json, "\"Infinity\""))
		value->number = INFINITY;
	else if (tex_json_word(json, "\"-Infinity\""))
		value->number = -INFINITY;
	else if (!tex_json_spelling(json, spelling))
		return false;
	else if (!tex_json_parse_double(spelling, &value->number))
		return tex_otlp_refuse(json->reader, "not a number of double precision");
	return true;
}

/* Bytes in base64, with the letters of either alphabet, with or without "=" at the end. */
static bool
read_bytes(TexJson *json, TexOtlpValue *value)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	TexOtlpString text;
	char	   *bytes;
	uint32		bits = 0;
	int			n = 0;

	if (!tex_json_string(json, &text))
		return false;
	while (text.len > 0 && text.data[text.len - 1] == '=')
		text.len--;
	bytes = palloc(text.len + 1);
	for (int i = 0; i < text.len; i++)
	{
		char		c = text.data[i] == '-' ? '+' : text.data[i] == '_' ? '/' : text.data[i];
		const char *at = c == '\0' ? NULL : strchr(letters, c);

		if (at == NULL)
			return tex_otlp_refuse(json->reader, "not base64");
		bits = bits << 6 | (at - letters);
		if (i % 4 != 0)
			bytes[n++] = (char) (bits >> (6 - 2 * (i % 4)));
	}
	value->type = TEX_OTLP_BYTES;
	value->string.data = bytes;
	value->string.len = n;
	return true;
}

/* {"key": ..., "value": {...}}, at the end of a list. */
static bool
read_pair(TexJson *json, TexOtlpList *list, int depth)
{
	TexOtlpReader *reader = json->reader;
	TexOtlpValue *value = tex_otlp_new_value(reader, list);
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (value == NULL || !tex_json_open(json, '{'))
		return reader->reason == NULL;
	while (read && tex_json_member(json, &first, &key))
	{
		if (tex_otlp_equal(key, "key"))
		{
			read = tex_json_null(json) || tex_json_string(json, &value->key);
			if (depth == 0)
				reader->key = value->key;
		}
		else if (tex_otlp_equal(key, "value"))
			read = tex_json_value(json, value, depth);
		else
			read = tex_json_skip(json);
	}
	if (reader->reason != NULL)
		return false;
	if (depth == 0)
		reader->key.len = 0;
	return true;
}

/* {"values": [...]}: the values of an array, or the pairs of a list of pairs. */
static bool
read_list(TexJson *json, TexOtlpValue *value, int depth)
{
	TexOtlpReader *reader = json->reader;
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (depth >= TEX_OTLP_DEPTH)
		return tex_otlp_refuse(reader, psprintf("nested deeper than %d", TEX_OTLP_DEPTH));
	value->list.first = value->list.last = NULL;
	if (!tex_json_open(json, '{'))
		return reader->reason == NULL;
	while (read && tex_json_member(json, &first, &key))
	{
		bool		first_value = true;

		if (!tex_otlp_equal(key, "values"))
			read = tex_json_skip(json);
		else if (tex_json_open(json, '['))
		{
			while (read && tex_json_element(json, ']', &first_value))
			{
				if (value->type == TEX_OTLP_KVLIST)
					read = read_pair(json, &value->list, depth + 1);
				else
				{
					TexOtlpValue *element = tex_otlp_new_value(reader, &value->list);

					read = element != NULL && tex_json_value(json, element, depth + 1);
				}
			}
		}
		read = read && reader->reason == NULL;
	}
	return reader->reason == NULL;
}

/* The value under one of the keys of an AnyValue. */
static bool
read_typed(TexJson *json, TexOtlpString key, TexOtlpValue *value, int depth)
{
	if (tex_otlp_equal(key, "stringValue"))
	{
		value->type = TEX_OTLP_STRING;
		return tex_json_string(json, &value->string);
	}
	if (tex_otlp_equal(key, "intValue"))
		return read_int(json, value);
	if (tex_otlp_equal(key, "doubleValue"))
		return read_double(json, value);
	if (tex_otlp_equal(key, "bytesValue"))
		return read_bytes(json, value);
	if (tex_otlp_equal(key, "boolValue"))
	{
		value->type = TEX_OTLP_BOOL;
		value->boolean = tex_json_word(json, "true");
		return value->boolean || tex_json_word(json, "false") || tex_otlp_refuse(json->reader, "not a boolean");
	}
	if (tex_otlp_equal(key, "arrayValue") || tex_otlp_equal(key, "kvlistValue"))
	{
		value->type = tex_otlp_equal(key, "arrayValue") ? TEX_OTLP_ARRAY : TEX_OTLP_KVLIST;
		return read_list(json, value, depth);
	}
	return tex_json_skip(json);
}

/* An AnyValue: an object with one key, the type; an empty one, and null, is empty. */
bool
tex_json_value(TexJson *json, TexOtlpValue *value, int depth)
{
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (!tex_json_open(json, '{'))
		return json->reader->reason == NULL;
	while (read && tex_json_member(json, &first, &key))
		read = tex_json_null(json) || read_typed(json, key, value, depth);
	return json->reader->reason == NULL;
}

/* The attributes of whatever has some. */
bool
tex_json_attributes(TexJson *json, TexOtlpList *attributes)
{
	bool		first = true;
	bool		read = true;

	json->reader->field = "attributes";
	if (!tex_json_open(json, '['))
		return json->reader->reason == NULL;
	while (read && tex_json_element(json, ']', &first))
		read = read_pair(json, attributes, 0);
	return json->reader->reason == NULL;
}

/* ----------------------------------------------------------------
 *		Records
 * ----------------------------------------------------------------
 */
/* An event of a span. */
static bool
read_event(TexJson *json)
{
	TexOtlpEvent *event = tex_otlp_new_event(json->reader);
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (event == NULL || !tex_json_open(json, '{'))
		return json->reader->reason == NULL;
	while (read && tex_json_member(json, &first, &key))
	{
		if (tex_otlp_equal(key, "timeUnixNano"))
			read = tex_json_unsigned(json, "timeUnixNano", PG_UINT64_MAX, &event->time);
		else if (tex_otlp_equal(key, "name"))
			read = tex_json_text(json, "name", &event->name);
		else if (tex_otlp_equal(key, "attributes"))
			read = tex_json_attributes(json, &event->attributes);
		else if (tex_otlp_equal(key, "droppedAttributesCount"))
			read = tex_json_uint32(json, "droppedAttributesCount", &event->dropped_attributes);
		else
			read = tex_json_skip(json);
	}
	return json->reader->reason == NULL;
}

/* A link of a span to another. */
static bool
read_link(TexJson *json)
{
	TexOtlpLink *link = tex_otlp_new_link(json->reader);
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (link == NULL || !tex_json_open(json, '{'))
		return json->reader->reason == NULL;
	while (read && tex_json_member(json, &first, &key))
	{
		if (tex_otlp_equal(key, "traceId"))
			read = tex_json_id(json, "traceId", link->trace_id, TEX_TRACE_ID_LEN);
		else if (tex_otlp_equal(key, "spanId"))
			read = tex_json_id(json, "spanId", link->span_id, TEX_SPAN_ID_LEN);
		else if (tex_otlp_equal(key, "traceState"))
			read = tex_json_text(json, "traceState", &link->trace_state);
		else if (tex_otlp_equal(key, "attributes"))
			read = tex_json_attributes(json, &link->attributes);
		else if (tex_otlp_equal(key, "droppedAttributesCount"))
			read = tex_json_uint32(json, "droppedAttributesCount", &link->dropped_attributes);
		else if (tex_otlp_equal(key, "flags"))
			read = tex_json_uint32(json, "flags", &link->flags);
		else
			read = tex_json_skip(json);
	}
	return json->reader->reason == NULL;
}

/* The events or links of a span; each is at its place in a reason. */
static bool
read_array(TexJson *json, const char *name, bool (*read_one) (TexJson *json))
{
	TexOtlpReader *reader = json->reader;
	bool		first = true;
	bool		read = true;

	reader->field = name;
	if (!tex_json_open(json, '['))
		return reader->reason == NULL;
	reader->list = name;
	reader->place = -1;
	reader->field = NULL;
	while (read && tex_json_element(json, ']', &first))
	{
		reader->place++;
		reader->field = NULL;
		read = read_one(json);
	}
	if (reader->reason != NULL)
		return false;
	reader->list = NULL;
	return true;
}

/* The status of a span. */
static bool
read_status(TexJson *json)
{
	TexOtlpRecord *span = &json->reader->record;
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	json->reader->field = "status";
	if (!tex_json_open(json, '{'))
		return json->reader->reason == NULL;
	while (read && tex_json_member(json, &first, &key))
	{
		if (tex_otlp_equal(key, "code"))
			read = tex_json_enum(json, "status.code", &span->status_code);
		else if (tex_otlp_equal(key, "message"))
			read = tex_json_text(json, "status.message", &span->status_message);
		else
			read = tex_json_skip(json);
	}
	return json->reader->reason == NULL;
}

/* One member of a span that log records have not. */
static bool
read_span_member(TexJson *json, TexOtlpString key)
{
	TexOtlpRecord *span = &json->reader->record;

	if (tex_otlp_equal(key, "parentSpanId"))
		return tex_json_id(json, "parentSpanId", span->parent_id, TEX_SPAN_ID_LEN);
	if (tex_otlp_equal(key, "traceState"))
		return tex_json_text(json, "traceState", &span->trace_state);
	if (tex_otlp_equal(key, "name"))
		return tex_json_text(json, "name", &span->name);
	if (tex_otlp_equal(key, "kind"))
		return tex_json_enum(json, "kind", &span->kind);
	if (tex_otlp_equal(key, "startTimeUnixNano"))
		return tex_json_unsigned(json, "startTimeUnixNano", PG_UINT64_MAX, &span->time);
	if (tex_otlp_equal(key, "endTimeUnixNano"))
		return tex_json_unsigned(json, "endTimeUnixNano", PG_UINT64_MAX, &span->end_time);
	if (tex_otlp_equal(key, "events"))
		return read_array(json, "events", read_event);
	if (tex_otlp_equal(key, "droppedEventsCount"))
		return tex_json_uint32(json, "droppedEventsCount", &span->dropped_events);
	if (tex_otlp_equal(key, "links"))
		return read_array(json, "links", read_link);
	if (tex_otlp_equal(key, "droppedLinksCount"))
		return tex_json_uint32(json, "droppedLinksCount", &span->dropped_links);
	if (tex_otlp_equal(key, "status"))
		return read_status(json);
	return tex_json_skip(json);
}

/* One member of a log record that spans have not. */
static bool
read_log_member(TexJson *json, TexOtlpString key)
{
	TexOtlpRecord *log = &json->reader->record;

	if (tex_otlp_equal(key, "timeUnixNano"))
		return tex_json_unsigned(json, "timeUnixNano", PG_UINT64_MAX, &log->time);
	if (tex_otlp_equal(key, "observedTimeUnixNano"))
		return tex_json_unsigned(json, "observedTimeUnixNano", PG_UINT64_MAX, &log->observed_time);
	if (tex_otlp_equal(key, "severityNumber"))
		return tex_json_enum(json, "severityNumber", &log->severity_number);
	if (tex_otlp_equal(key, "severityText"))
		return tex_json_text(json, "severityText", &log->severity_text);
	if (tex_otlp_equal(key, "eventName"))
		return tex_json_text(json, "eventName", &log->name);
	if (tex_otlp_equal(key, "body"))
	{
		json->reader->field = "body";
		log->body = tex_otlp_new_value(json->reader, NULL);
		return log->body != NULL && tex_json_value(json, log->body, 0);
	}
	return tex_json_skip(json);
}

/* One member of either. */
static bool
read_member(TexJson *json, TexOtlpString key)
{
	TexOtlpRecord *record = &json->reader->record;

	json->reader->field = NULL;
	if (tex_otlp_equal(key, "traceId"))
		return tex_json_id(json, "traceId", record->trace_id, TEX_TRACE_ID_LEN);
	if (tex_otlp_equal(key, "spanId"))
		return tex_json_id(json, "spanId", record->span_id, TEX_SPAN_ID_LEN);
	if (tex_otlp_equal(key, "flags"))
		return tex_json_uint32(json, "flags", &record->flags);
	if (tex_otlp_equal(key, "attributes"))
		return tex_json_attributes(json, &record->attributes);
	if (tex_otlp_equal(key, "droppedAttributesCount"))
		return tex_json_uint32(json, "droppedAttributesCount", &record->dropped_attributes);
	return record->is_log ? read_log_member(json, key) : read_span_member(json, key);
}

/* Reads a span or a log record, and hands it over. */
void
tex_json_record(TexOtlpReader *reader, TexSlice record, bool is_log)
{
	TexJson		json = {reader, record.data, record.data + record.len};
	TexOtlpString key;
	bool		first = true;
	bool		read = tex_otlp_begin_record(reader, record.data, record.len, is_log);

	if (read && *json.next != '{')
		read = tex_otlp_refuse(reader, "not an object");
	json.next++;
	while (read && tex_json_member(&json, &first, &key))
	{
		read = read_member(&json, key);
		if (read)
			reader->field = NULL;
	}
	if (reader->reason == NULL && json.next != json.end)
		tex_otlp_refuse(reader, "brackets do not match");
	if (reader->reason == NULL)
		(void) tex_otlp_check_ids(reader);
	tex_otlp_end_record(reader);
}
