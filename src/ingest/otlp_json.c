/*
 * otlp_json.c
 *		Reads requests of OpenTelemetry in JSON: ExportTraceServiceRequest and
 *		ExportLogsServiceRequest as OTLP/JSON has them.
 *
 * The frame, down to where each record begins and ends, is told by brackets and quotes only; where
 * these are broken no record can be told, and the body is refused by an error.  What is between
 * is read strictly, and what is wrong there refuses that record.  A resource and a scope may stand
 * behind what they are about, so it is noted where the records of a resource are before any is read.
 *
 * Clients differ: numbers of 64 bits are numbers or strings, what is empty is left out, empty, or
 * null.  A lone surrogate and \u0000 become U+FFFD.  Keys that are not known are skipped, as
 * OTLP has it.  Only attribute values recurse, to a depth of TEX_OTLP_DEPTH.
 *
 * Sources: RFC 8259; https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "ingest/otlp_json.h"

/* Longer numbers, written out, are none. */
#define MAX_NUMBER 400

/* How often a long string or value is asked whether the query was cancelled. */
#define CHECK_EVERY 65536

/* What is left of a text. */
typedef struct Json
{
	TexOtlpReader *reader;
	const char *next;
	const char *end;
} Json;

typedef struct Slice
{
	const char *data;			/* NULL: there is none */
	int			len;
} Slice;

/* What a scope is, and its records: those of the group up to records_end, from where the scope before ends. */
typedef struct Scope
{
	Slice		scope;
	Slice		schema_url;
	int			records_end;
} Scope;

/* A resource, with all that is its own, noted before any of it is read. */
typedef struct Group
{
	bool		is_log;
	Slice		resource;
	Slice		schema_url;
	Scope	   *scopes;
	int			scope_count;
	int			scope_room;
	Slice	   *records;
	int			record_count;
	int			record_room;
} Group;

static bool read_value(Json *json, TexOtlpValue *value, int depth);

/* ----------------------------------------------------------------
 *		Where things end
 * ----------------------------------------------------------------
 */
static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

/* The end of the string that begins at p, after its closing quote; NULL where it has none. */
static const char *
string_end(const char *p, const char *end)
{
	for (p++; p < end; p++)
	{
		if (*p == '"')
			return p + 1;
		if (*p == '\\')
			p++;
	}
	return NULL;
}

/* The end of the value that begins at p, by brackets and quotes only; NULL where it has none. */
static const char *
value_end(const char *p, const char *end)
{
	const char *start = p;
	int64		open = 0;
	int			steps = 0;

	while (p < end)
	{
		char		c = *p;

		if (c == '"')
			p = string_end(p, end);
		else if (c == '{' || c == '[')
		{
			open++;
			p++;
		}
		else if (c == '}' || c == ']' || c == ',')
		{
			if (open == 0)
				break;
			open -= c != ',';
			p++;
		}
		else
		{
			p++;
			continue;
		}
		if (p == NULL || (open == 0 && c != ','))
			return p;
		if (++steps % CHECK_EVERY == 0)
			CHECK_FOR_INTERRUPTS();
	}
	while (p > start && skip_space(p - 1, p) == p)
		p--;
	return open == 0 && p > start ? p : NULL;
}

/* ----------------------------------------------------------------
 *		Scalars of a record
 * ----------------------------------------------------------------
 */
static bool
is_key(TexOtlpString key, const char *name)
{
	return strlen(name) == (size_t) key.len && memcmp(key.data, name, key.len) == 0;
}

/* Steps over a word if it comes next. */
static bool
take_word(Json *json, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (json->end - json->next) < len || memcmp(json->next, word, len) != 0)
		return false;
	json->next += len;
	return true;
}

/* Null stands for what is missing. */
static bool
take_null(Json *json)
{
	return take_word(json, "null");
}

/* The four digits of a \u escape, or -1. */
static int
read_hex4(const char *p, const char *end)
{
	int			code = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int			digit = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' :
			p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10 :
			p[i] >= 'A' && p[i] <= 'F' ? p[i] - 'A' + 10 : -1;

		if (digit < 0)
			return -1;
		code = code * 16 + digit;
	}
	return code;
}

/*
 * Decodes the escape whose backslash is at *p; *to grows by at most as many bytes as the escape has.
 * What is no character becomes U+FFFD.
 */
static bool
decode_escape(const char **p, const char *end, char **to)
{
	static const char *const from = "\"\\/bfnrt";
	static const char *const meant = "\"\\/\b\f\n\r\t";
	char		c = *p + 1 < end ? (*p)[1] : '\0';
	const char *at = c == '\0' ? NULL : strchr(from, c);
	int			code;

	if (at != NULL)
	{
		*(*to)++ = meant[at - from];
		*p += 2;
		return true;
	}
	code = c == 'u' ? read_hex4(*p + 2, end) : -1;
	if (code < 0)
		return false;
	*p += 6;
	if (code >= 0xD800 && code <= 0xDBFF && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u')
	{
		int			low = read_hex4(*p + 2, end);

		if (low >= 0xDC00 && low <= 0xDFFF)
		{
			code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
			*p += 6;
		}
	}
	if (code == 0 || (code >= 0xD800 && code <= 0xDFFF))
		code = 0xFFFD;
	unicode_to_utf8(code, (unsigned char *) *to);
	*to += pg_utf_mblen((unsigned char *) *to);
	return true;
}

/* Reads a string, a slice where it has no escapes. */
static bool
read_string(Json *json, TexOtlpString *to)
{
	TexOtlpReader *reader = json->reader;
	const char *start = json->next + 1;
	const char *p = start;
	const char *end;
	char	   *decoded;
	char	   *at;

	if (json->next >= json->end || *json->next != '"')
		return tex_otlp_refuse(reader, "not a string");
	while (p < json->end && *p != '"' && *p != '\\' && (unsigned char) *p >= ' ')
		p++;
	if (p < json->end && *p == '"')
	{
		json->next = p + 1;
		return tex_otlp_clean(reader, start, p - start, to);
	}
	end = string_end(json->next, json->end);
	if (end == NULL)
		return tex_otlp_refuse(reader, "a string does not end");
	json->next = end;
	decoded = at = palloc(end - start);
	for (p = start; p < end - 1;)
	{
		if ((unsigned char) *p < ' ')
			return tex_otlp_refuse(reader, "control character in a string");
		if (*p != '\\')
			*at++ = *p++;
		else if (!decode_escape(&p, end - 1, &at))
			return tex_otlp_refuse(reader, "malformed escape in a string");
	}
	return tex_otlp_clean(reader, decoded, at - decoded, to);
}

/* A string as the value of a field; null is none. */
static bool
read_text(Json *json, const char *name, TexOtlpString *to)
{
	json->reader->field = name;
	return take_null(json) || read_string(json, to);
}

/* Reads the spelling of a number, which may be in quotes; terminated. */
static bool
read_spelling(Json *json, char *spelling)
{
	bool		quoted = json->next < json->end && *json->next == '"';
	const char *start = json->next + quoted;
	const char *p = start;

	while (p < json->end && *p != '\0' && strchr("0123456789+-.eE", *p) != NULL)
		p++;
	if (p == start || p - start > MAX_NUMBER || (quoted && (p == json->end || *p != '"')))
		return tex_otlp_refuse(json->reader, "not a number");
	memcpy(spelling, start, p - start);
	spelling[p - start] = '\0';
	json->next = p + quoted;
	return true;
}

/* A finite number from its spelling. */
static bool
parse_double(const char *spelling, double *number)
{
	char	   *end;

	*number = strtod(spelling, &end);
	return *end == '\0' && end != spelling && isfinite(*number);
}

/*
 * A whole number from its spelling: its amount, and whether it is negative.  One with a fraction
 * or exponent is taken if it is whole and exact.
 */
static bool
parse_whole(const char *spelling, uint64 *amount, bool *negative)
{
	const char *digits = spelling + (*spelling == '-');
	size_t		n = strspn(digits, "0123456789");
	double		number;

	*negative = digits != spelling;
	*amount = 0;
	if (digits[n] == '\0' && n > 0)
	{
		for (size_t i = 0; i < n; i++)
		{
			uint64		digit = digits[i] - '0';

			if (*amount > (PG_UINT64_MAX - digit) / 10)
				return false;
			*amount = *amount * 10 + digit;
		}
		return true;
	}
	if (!parse_double(digits, &number) || number != rint(number) || number < 0 || number > 9007199254740992.0)
		return false;
	*amount = (uint64) number;
	return true;
}

/* A number from 0 to the highest as the value of a field; null is none. */
static bool
read_unsigned(Json *json, const char *name, uint64 highest, uint64 *number)
{
	char		spelling[MAX_NUMBER + 1];
	bool		negative;

	json->reader->field = name;
	if (take_null(json))
		return true;
	if (!read_spelling(json, spelling))
		return false;
	if (!parse_whole(spelling, number, &negative) || *number > highest || (negative && *number > 0))
		return tex_otlp_refuse(json->reader, psprintf("not a whole number from 0 to " UINT64_FORMAT, highest));
	return true;
}

/* The same of 32 bits. */
static bool
read_uint32(Json *json, const char *name, uint32 *number)
{
	uint64		value = *number;

	if (!read_unsigned(json, name, PG_UINT32_MAX, &value))
		return false;
	*number = (uint32) value;
	return true;
}

/* The number of an enum. */
static bool
read_enum(Json *json, const char *name, int32 *number)
{
	uint64		value = *number;

	if (!read_unsigned(json, name, PG_INT32_MAX, &value))
		return false;
	*number = (int32) value;
	return true;
}

/* An id in hexadecimal digits; an empty one is none. */
static bool
read_id(Json *json, const char *name, uint8 *id, int len)
{
	TexOtlpString text = {"", 0};

	if (!read_text(json, name, &text))
		return false;
	if (text.len == 0)
		return true;
	for (int i = 0; text.len == 2 * len && i < len; i++)
	{
		char		pair[] = {'0', '0', text.data[2 * i], text.data[2 * i + 1]};
		int			code = read_hex4(pair, pair + 4);

		if (code < 0)
			text.len = 0;
		id[i] = (uint8) code;
	}
	if (text.len != 2 * len)
		return tex_otlp_refuse(json->reader, psprintf("not %d hexadecimal digits", 2 * len));
	return true;
}

/* ----------------------------------------------------------------
 *		Containers of a record
 * ----------------------------------------------------------------
 */
/* Begins an object or array; null is an empty one, and then this is false without a reason. */
static bool
open_container(Json *json, char bracket)
{
	if (take_null(json))
		return false;
	if (json->next >= json->end || *json->next != bracket)
		return tex_otlp_refuse(json->reader, bracket == '{' ? "not an object" : "not an array");
	json->next++;
	return true;
}

/* Is there another element? False at the end of the container, and with a reason where it is broken. */
static bool
next_element(Json *json, char bracket, bool *first)
{
	json->next = skip_space(json->next, json->end);
	if (json->next < json->end && *json->next == bracket)
	{
		json->next++;
		return false;
	}
	if (!*first)
	{
		if (json->next >= json->end || *json->next != ',')
			return tex_otlp_refuse(json->reader, "a comma or a closing bracket is missing");
		json->next = skip_space(json->next + 1, json->end);
	}
	*first = false;
	if (json->next >= json->end)
		return tex_otlp_refuse(json->reader, "a value is missing");
	return true;
}

/* Is there another member of an object? Then its value comes next. */
static bool
next_member(Json *json, bool *first, TexOtlpString *key)
{
	if (!next_element(json, '}', first) || !read_string(json, key))
		return false;
	json->next = skip_space(json->next, json->end);
	if (json->next >= json->end || *json->next != ':')
		return tex_otlp_refuse(json->reader, "a key has no value");
	json->next = skip_space(json->next + 1, json->end);
	return true;
}

/* Steps over the value of a key that is not known. */
static bool
skip(Json *json)
{
	const char *end = value_end(json->next, json->end);

	if (end == NULL)
		return tex_otlp_refuse(json->reader, "malformed value");
	json->next = end;
	return true;
}

/* ----------------------------------------------------------------
 *		Values
 * ----------------------------------------------------------------
 */
/* An integer of 64 bits, signed. */
static bool
read_int(Json *json, TexOtlpValue *value)
{
	char		spelling[MAX_NUMBER + 1];
	uint64		amount;
	bool		negative;

	if (!read_spelling(json, spelling))
		return false;
	if (!parse_whole(spelling, &amount, &negative) || amount > (uint64) PG_INT64_MAX + negative)
		return tex_otlp_refuse(json->reader, "not an integer of 64 bits");
	value->type = TEX_OTLP_INT;
	value->integer = negative ? (int64) (0 - amount) : (int64) amount;
	return true;
}

/* A double, a number or a string. */
static bool
read_double(Json *json, TexOtlpValue *value)
{
	char		spelling[MAX_NUMBER + 1];

	value->type = TEX_OTLP_DOUBLE;
	if (take_word(json, "\"NaN\""))
		value->number = NAN;
	else if (take_word(json, "\"Infinity\""))
		value->number = INFINITY;
	else if (take_word(json, "\"-Infinity\""))
		value->number = -INFINITY;
	else if (!read_spelling(json, spelling))
		return false;
	else if (!parse_double(spelling, &value->number))
		return tex_otlp_refuse(json->reader, "not a number of double precision");
	return true;
}

/* Bytes in base64, with the letters of either alphabet, with or without "=" at the end. */
static bool
read_bytes(Json *json, TexOtlpValue *value)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	TexOtlpString text;
	char	   *bytes;
	uint32		bits = 0;
	int			n = 0;

	if (!read_string(json, &text))
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
read_pair(Json *json, TexOtlpList *list, int depth)
{
	TexOtlpReader *reader = json->reader;
	TexOtlpValue *value = tex_otlp_new_value(reader, list);
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (value == NULL || !open_container(json, '{'))
		return reader->reason == NULL;
	while (read && next_member(json, &first, &key))
	{
		if (is_key(key, "key"))
		{
			read = take_null(json) || read_string(json, &value->key);
			if (depth == 0)
				reader->key = value->key;
		}
		else if (is_key(key, "value"))
			read = read_value(json, value, depth);
		else
			read = skip(json);
	}
	if (reader->reason != NULL)
		return false;
	if (depth == 0)
		reader->key.len = 0;
	return true;
}

/* {"values": [...]}: the values of an array, or the pairs of a list of pairs. */
static bool
read_list(Json *json, TexOtlpValue *value, int depth)
{
	TexOtlpReader *reader = json->reader;
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (depth >= TEX_OTLP_DEPTH)
		return tex_otlp_refuse(reader, psprintf("nested deeper than %d", TEX_OTLP_DEPTH));
	value->list.first = value->list.last = NULL;
	if (!open_container(json, '{'))
		return reader->reason == NULL;
	while (read && next_member(json, &first, &key))
	{
		bool		first_value = true;

		if (!is_key(key, "values"))
			read = skip(json);
		else if (open_container(json, '['))
		{
			while (read && next_element(json, ']', &first_value))
			{
				if (value->type == TEX_OTLP_KVLIST)
					read = read_pair(json, &value->list, depth + 1);
				else
				{
					TexOtlpValue *element = tex_otlp_new_value(reader, &value->list);

					read = element != NULL && read_value(json, element, depth + 1);
				}
			}
		}
		read = read && reader->reason == NULL;
	}
	return reader->reason == NULL;
}

/* The value under one of the keys of an AnyValue. */
static bool
read_typed(Json *json, TexOtlpString key, TexOtlpValue *value, int depth)
{
	if (is_key(key, "stringValue"))
	{
		value->type = TEX_OTLP_STRING;
		return read_string(json, &value->string);
	}
	if (is_key(key, "intValue"))
		return read_int(json, value);
	if (is_key(key, "doubleValue"))
		return read_double(json, value);
	if (is_key(key, "bytesValue"))
		return read_bytes(json, value);
	if (is_key(key, "boolValue"))
	{
		value->type = TEX_OTLP_BOOL;
		value->boolean = take_word(json, "true");
		return value->boolean || take_word(json, "false") || tex_otlp_refuse(json->reader, "not a boolean");
	}
	if (is_key(key, "arrayValue") || is_key(key, "kvlistValue"))
	{
		value->type = is_key(key, "arrayValue") ? TEX_OTLP_ARRAY : TEX_OTLP_KVLIST;
		return read_list(json, value, depth);
	}
	return skip(json);
}

/* An AnyValue: an object with one key, the type; an empty one, and null, is empty. */
static bool
read_value(Json *json, TexOtlpValue *value, int depth)
{
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (!open_container(json, '{'))
		return json->reader->reason == NULL;
	while (read && next_member(json, &first, &key))
		read = take_null(json) || read_typed(json, key, value, depth);
	return json->reader->reason == NULL;
}

/* The attributes of whatever has some. */
static bool
read_attributes(Json *json, TexOtlpList *attributes)
{
	bool		first = true;
	bool		read = true;

	json->reader->field = "attributes";
	if (!open_container(json, '['))
		return json->reader->reason == NULL;
	while (read && next_element(json, ']', &first))
		read = read_pair(json, attributes, 0);
	return json->reader->reason == NULL;
}

/* ----------------------------------------------------------------
 *		Records
 * ----------------------------------------------------------------
 */
/* An event of a span. */
static bool
read_event(Json *json)
{
	TexOtlpEvent *event = tex_otlp_new_event(json->reader);
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (event == NULL || !open_container(json, '{'))
		return json->reader->reason == NULL;
	while (read && next_member(json, &first, &key))
	{
		if (is_key(key, "timeUnixNano"))
			read = read_unsigned(json, "timeUnixNano", PG_UINT64_MAX, &event->time);
		else if (is_key(key, "name"))
			read = read_text(json, "name", &event->name);
		else if (is_key(key, "attributes"))
			read = read_attributes(json, &event->attributes);
		else if (is_key(key, "droppedAttributesCount"))
			read = read_uint32(json, "droppedAttributesCount", &event->dropped_attributes);
		else
			read = skip(json);
	}
	return json->reader->reason == NULL;
}

/* A link of a span to another. */
static bool
read_link(Json *json)
{
	TexOtlpLink *link = tex_otlp_new_link(json->reader);
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (link == NULL || !open_container(json, '{'))
		return json->reader->reason == NULL;
	while (read && next_member(json, &first, &key))
	{
		if (is_key(key, "traceId"))
			read = read_id(json, "traceId", link->trace_id, TEX_TRACE_ID_LEN);
		else if (is_key(key, "spanId"))
			read = read_id(json, "spanId", link->span_id, TEX_SPAN_ID_LEN);
		else if (is_key(key, "traceState"))
			read = read_text(json, "traceState", &link->trace_state);
		else if (is_key(key, "attributes"))
			read = read_attributes(json, &link->attributes);
		else if (is_key(key, "droppedAttributesCount"))
			read = read_uint32(json, "droppedAttributesCount", &link->dropped_attributes);
		else if (is_key(key, "flags"))
			read = read_uint32(json, "flags", &link->flags);
		else
			read = skip(json);
	}
	return json->reader->reason == NULL;
}

/* The events or links of a span; each is at its place in a reason. */
static bool
read_array(Json *json, const char *name, bool (*read_one) (Json *json))
{
	TexOtlpReader *reader = json->reader;
	bool		first = true;
	bool		read = true;

	reader->field = name;
	if (!open_container(json, '['))
		return reader->reason == NULL;
	reader->list = name;
	reader->place = -1;
	reader->field = NULL;
	while (read && next_element(json, ']', &first))
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
read_status(Json *json)
{
	TexOtlpRecord *span = &json->reader->record;
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	json->reader->field = "status";
	if (!open_container(json, '{'))
		return json->reader->reason == NULL;
	while (read && next_member(json, &first, &key))
	{
		if (is_key(key, "code"))
			read = read_enum(json, "status.code", &span->status_code);
		else if (is_key(key, "message"))
			read = read_text(json, "status.message", &span->status_message);
		else
			read = skip(json);
	}
	return json->reader->reason == NULL;
}

/* One member of a span that log records have not. */
static bool
read_span_member(Json *json, TexOtlpString key)
{
	TexOtlpRecord *span = &json->reader->record;

	if (is_key(key, "parentSpanId"))
		return read_id(json, "parentSpanId", span->parent_id, TEX_SPAN_ID_LEN);
	if (is_key(key, "traceState"))
		return read_text(json, "traceState", &span->trace_state);
	if (is_key(key, "name"))
		return read_text(json, "name", &span->name);
	if (is_key(key, "kind"))
		return read_enum(json, "kind", &span->kind);
	if (is_key(key, "startTimeUnixNano"))
		return read_unsigned(json, "startTimeUnixNano", PG_UINT64_MAX, &span->time);
	if (is_key(key, "endTimeUnixNano"))
		return read_unsigned(json, "endTimeUnixNano", PG_UINT64_MAX, &span->end_time);
	if (is_key(key, "events"))
		return read_array(json, "events", read_event);
	if (is_key(key, "droppedEventsCount"))
		return read_uint32(json, "droppedEventsCount", &span->dropped_events);
	if (is_key(key, "links"))
		return read_array(json, "links", read_link);
	if (is_key(key, "droppedLinksCount"))
		return read_uint32(json, "droppedLinksCount", &span->dropped_links);
	if (is_key(key, "status"))
		return read_status(json);
	return skip(json);
}

/* One member of a log record that spans have not. */
static bool
read_log_member(Json *json, TexOtlpString key)
{
	TexOtlpRecord *log = &json->reader->record;

	if (is_key(key, "timeUnixNano"))
		return read_unsigned(json, "timeUnixNano", PG_UINT64_MAX, &log->time);
	if (is_key(key, "observedTimeUnixNano"))
		return read_unsigned(json, "observedTimeUnixNano", PG_UINT64_MAX, &log->observed_time);
	if (is_key(key, "severityNumber"))
		return read_enum(json, "severityNumber", &log->severity_number);
	if (is_key(key, "severityText"))
		return read_text(json, "severityText", &log->severity_text);
	if (is_key(key, "eventName"))
		return read_text(json, "eventName", &log->name);
	if (is_key(key, "body"))
	{
		json->reader->field = "body";
		log->body = tex_otlp_new_value(json->reader, NULL);
		return log->body != NULL && read_value(json, log->body, 0);
	}
	return skip(json);
}

/* One member of either. */
static bool
read_member(Json *json, TexOtlpString key)
{
	TexOtlpRecord *record = &json->reader->record;

	json->reader->field = NULL;
	if (is_key(key, "traceId"))
		return read_id(json, "traceId", record->trace_id, TEX_TRACE_ID_LEN);
	if (is_key(key, "spanId"))
		return read_id(json, "spanId", record->span_id, TEX_SPAN_ID_LEN);
	if (is_key(key, "flags"))
		return read_uint32(json, "flags", &record->flags);
	if (is_key(key, "attributes"))
		return read_attributes(json, &record->attributes);
	if (is_key(key, "droppedAttributesCount"))
		return read_uint32(json, "droppedAttributesCount", &record->dropped_attributes);
	return record->is_log ? read_log_member(json, key) : read_span_member(json, key);
}

/* Reads a span or a log record, and hands it over. */
static void
read_record(TexOtlpReader *reader, Slice record, bool is_log)
{
	Json		json = {reader, record.data, record.data + record.len};
	TexOtlpString key;
	bool		first = true;
	bool		read = tex_otlp_begin_record(reader, record.data, record.len, is_log);

	if (read && *json.next != '{')
		read = tex_otlp_refuse(reader, "not an object");
	json.next++;
	while (read && next_member(&json, &first, &key))
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

/* ----------------------------------------------------------------
 *		The frame
 * ----------------------------------------------------------------
 */
/* Throws for a body of which no records can be told. */
static void
not_a_request(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("this is no request of OpenTelemetry"),
			 errdetail("%s", detail),
			 errhint("Send {\"resourceSpans\": [...]} or {\"resourceLogs\": [...]}.")));
}

/* Reads a value of the frame. */
static Slice
frame_value(Json *json)
{
	Slice		value = {json->next, 0};
	const char *end = value_end(json->next, json->end);

	if (end == NULL)
		not_a_request("A value is missing, or a bracket or string does not end.");
	json->next = end;
	value.len = end - value.data;
	return value;
}

/* Begins a container of the frame; false for null, which is an empty one. */
static bool
frame_open(Json *json, char bracket)
{
	if (take_null(json))
		return false;
	if (json->next >= json->end || *json->next != bracket)
		not_a_request(bracket == '{' ? "What should be an object is none." : "What should be an array is none.");
	json->next++;
	return true;
}

/* Is there another element? False at the end of the container. */
static bool
frame_next(Json *json, char bracket, bool *first)
{
	CHECK_FOR_INTERRUPTS();
	json->next = skip_space(json->next, json->end);
	if (json->next < json->end && *json->next == bracket)
	{
		json->next++;
		return false;
	}
	if (!*first)
	{
		if (json->next >= json->end || *json->next != ',')
			not_a_request("A comma or a closing bracket is missing.");
		json->next = skip_space(json->next + 1, json->end);
	}
	*first = false;
	return true;
}

/* Is there another member? Its key is told by its spelling, without its quotes; its value comes next. */
static bool
frame_member(Json *json, bool *first, TexOtlpString *key)
{
	const char *end;

	if (!frame_next(json, '}', first))
		return false;
	end = json->next < json->end && *json->next == '"' ? string_end(json->next, json->end) : NULL;
	if (end == NULL)
		not_a_request("A key is missing.");
	key->data = json->next + 1;
	key->len = end - json->next - 2;
	json->next = skip_space(end, json->end);
	if (json->next >= json->end || *json->next != ':')
		not_a_request("A key has no value.");
	json->next = skip_space(json->next + 1, json->end);
	return true;
}

/* Notes the records of a scope, whose ends are looked for here and nowhere else. */
static void
list_records(Json *json, Group *group)
{
	bool		first = true;

	if (!frame_open(json, '['))
		return;
	while (frame_next(json, ']', &first))
	{
		if (group->record_count == group->record_room)
		{
			group->record_room = Max(group->record_room * 2, 512);
			group->records = group->records == NULL ? palloc(sizeof(Slice) * group->record_room) :
				repalloc_huge(group->records, sizeof(Slice) * group->record_room);
		}
		group->records[group->record_count++] = frame_value(json);
	}
}

/* Notes a scope and its records. */
static void
list_scope(Json *json, Group *group)
{
	TexOtlpString key;
	Scope	   *scope;
	bool		first = true;

	if (!frame_open(json, '{'))
		return;
	if (group->scope_count == group->scope_room)
	{
		group->scope_room = Max(group->scope_room * 2, 16);
		group->scopes = group->scopes == NULL ? palloc(sizeof(Scope) * group->scope_room) :
			repalloc_huge(group->scopes, sizeof(Scope) * group->scope_room);
	}
	scope = &group->scopes[group->scope_count++];
	memset(scope, 0, sizeof(*scope));
	while (frame_member(json, &first, &key))
	{
		if (is_key(key, group->is_log ? "logRecords" : "spans"))
			list_records(json, group);
		else if (is_key(key, "scope"))
			scope->scope = frame_value(json);
		else if (is_key(key, "schemaUrl"))
			scope->schema_url = frame_value(json);
		else
			(void) frame_value(json);
	}
	scope->records_end = group->record_count;
}

/* Notes all of a resource. */
static void
list_group(Json *json, Group *group)
{
	TexOtlpString key;
	bool		first = true;

	group->resource.data = group->schema_url.data = NULL;
	group->scope_count = group->record_count = 0;
	if (!frame_open(json, '{'))
		return;
	while (frame_member(json, &first, &key))
	{
		bool		first_scope = true;

		if (is_key(key, "resource"))
			group->resource = frame_value(json);
		else if (is_key(key, "schemaUrl"))
			group->schema_url = frame_value(json);
		else if (!is_key(key, group->is_log ? "scopeLogs" : "scopeSpans"))
			(void) frame_value(json);
		else if (frame_open(json, '['))
		{
			while (frame_next(json, ']', &first_scope))
				list_scope(json, group);
		}
	}
}

/* The schema that a group follows. */
static bool
read_schema_url(TexOtlpReader *reader, Slice value, TexOtlpString *to)
{
	Json		json = {reader, value.data, value.data + value.len};

	reader->key.len = 0;
	return value.data == NULL || read_text(&json, "schemaUrl", to);
}

/* Reads a resource. */
static bool
read_resource(TexOtlpReader *reader, Slice value)
{
	Json		json = {reader, value.data, value.data + value.len};
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (value.data == NULL || !open_container(&json, '{'))
		return reader->reason == NULL;
	while (read && next_member(&json, &first, &key))
	{
		if (is_key(key, "attributes"))
			read = read_attributes(&json, &reader->resource.attributes);
		else if (is_key(key, "droppedAttributesCount"))
			read = read_uint32(&json, "droppedAttributesCount", &reader->resource.dropped_attributes);
		else
			read = skip(&json);
	}
	return reader->reason == NULL;
}

/* Reads a scope. */
static bool
read_scope(TexOtlpReader *reader, Slice value)
{
	Json		json = {reader, value.data, value.data + value.len};
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (value.data == NULL || !open_container(&json, '{'))
		return reader->reason == NULL;
	while (read && next_member(&json, &first, &key))
	{
		if (is_key(key, "name"))
			read = read_text(&json, "name", &reader->scope.name);
		else if (is_key(key, "version"))
			read = read_text(&json, "version", &reader->scope.version);
		else if (is_key(key, "attributes"))
			read = read_attributes(&json, &reader->scope.attributes);
		else if (is_key(key, "droppedAttributesCount"))
			read = read_uint32(&json, "droppedAttributesCount", &reader->scope.dropped_attributes);
		else
			read = skip(&json);
	}
	return reader->reason == NULL;
}

/* Reads what was noted of a resource, and hands it over. */
static void
read_group(TexOtlpReader *reader, Group *group)
{
	int			record = 0;

	tex_otlp_begin_resource(reader);
	if (read_resource(reader, group->resource))
		(void) read_schema_url(reader, group->schema_url, &reader->resource.schema_url);
	tex_otlp_end_resource(reader);
	for (int i = 0; i < group->scope_count; i++)
	{
		Scope	   *scope = &group->scopes[i];

		tex_otlp_begin_scope(reader);
		if (read_scope(reader, scope->scope))
			(void) read_schema_url(reader, scope->schema_url, &reader->scope.schema_url);
		tex_otlp_end_scope(reader);
		for (; record < scope->records_end; record++)
		{
			CHECK_FOR_INTERRUPTS();
			read_record(reader, group->records[record], group->is_log);
		}
	}
}

/*
 * Reads a body in UTF-8, which must stay as long as the records are in use, and hands over what it
 * has.  Throws where its frame is broken, maybe after some records were handed over.
 */
void
tex_otlp_read_json(TexOtlpReader *reader, const char *body, int len)
{
	Json		json = {reader, skip_space(body, body + len), body + len};
	TexOtlpString key;
	Group		group = {0};
	bool		first = true;
	bool		known = false;

	reader->sent_as_text = true;
	if (json.next == json.end || *json.next != '{')
		not_a_request("It is not an object.");
	json.next++;
	while (frame_member(&json, &first, &key))
	{
		bool		first_group = true;

		group.is_log = is_key(key, "resourceLogs");
		if (!group.is_log && !is_key(key, "resourceSpans"))
		{
			(void) frame_value(&json);
			continue;
		}
		known = true;
		if (!frame_open(&json, '['))
			continue;
		while (frame_next(&json, ']', &first_group))
		{
			list_group(&json, &group);
			read_group(reader, &group);
		}
	}
	if (skip_space(json.next, json.end) != json.end)
		not_a_request("Something follows its end.");
	if (!known && !first)
		not_a_request("It has neither \"resourceSpans\" nor \"resourceLogs\".");
}
