/*
 * otlp_wire.c
 *		Reads requests of OpenTelemetry in protobuf: ExportTraceServiceRequest and
 *		ExportLogsServiceRequest.
 *
 * A message is a sequence of fields, each with a number, a wire type, and a length where it
 * has no fixed one.  Here a body is walked over in place: what is read is checked against the
 * end of the message around it, nothing is allocated by a length that a client sent, and only
 * attribute values recurse, to a depth of TEX_OTLP_DEPTH.
 *
 * The frame, down to where each record begins and ends, must be sound, or no record can be
 * told, and the body is refused by an error.  What is wrong within a record refuses that
 * record.  Fields that are not known, or of another wire type, are skipped, as protobuf has it.
 *
 * Traces and logs are told apart by their records, whose fields of one number differ in type.
 *
 * Source: https://protobuf.dev/programming-guides/encoding/, opentelemetry-proto 1.x.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "ingest/otlp_wire.h"

/* Wire types. */
#define VARINT 0
#define FIXED64 1
#define BYTES 2
#define FIXED32 5

/* Numbers of fields; those of the request, the resource and scope groups are the same for both signals. */
enum
{
	REQUEST_GROUPS = 1,
	GROUP_RESOURCE = 1, GROUP_SCOPES = 2, GROUP_SCHEMA_URL = 3,
	RESOURCE_ATTRIBUTES = 1, RESOURCE_DROPPED = 2,
	SCOPES_SCOPE = 1, SCOPES_RECORDS = 2, SCOPES_SCHEMA_URL = 3,
	SCOPE_NAME = 1, SCOPE_VERSION = 2, SCOPE_ATTRIBUTES = 3, SCOPE_DROPPED = 4,
	PAIR_KEY = 1, PAIR_VALUE = 2,
	VALUE_STRING = 1, VALUE_BOOL = 2, VALUE_INT = 3, VALUE_DOUBLE = 4, VALUE_ARRAY = 5, VALUE_KVLIST = 6, VALUE_BYTES = 7,
	LIST_VALUES = 1,
	SPAN_TRACE_ID = 1, SPAN_SPAN_ID = 2, SPAN_TRACE_STATE = 3, SPAN_PARENT_ID = 4, SPAN_NAME = 5, SPAN_KIND = 6,
	SPAN_START = 7, SPAN_END = 8, SPAN_ATTRIBUTES = 9, SPAN_DROPPED_ATTRIBUTES = 10, SPAN_EVENTS = 11, SPAN_DROPPED_EVENTS = 12,
	SPAN_LINKS = 13, SPAN_DROPPED_LINKS = 14, SPAN_STATUS = 15, SPAN_FLAGS = 16,
	EVENT_TIME = 1, EVENT_NAME = 2, EVENT_ATTRIBUTES = 3, EVENT_DROPPED = 4,
	LINK_TRACE_ID = 1, LINK_SPAN_ID = 2, LINK_TRACE_STATE = 3, LINK_ATTRIBUTES = 4, LINK_DROPPED = 5, LINK_FLAGS = 6,
	STATUS_MESSAGE = 2, STATUS_CODE = 3,
	LOG_TIME = 1, LOG_SEVERITY = 2, LOG_SEVERITY_TEXT = 3, LOG_BODY = 5, LOG_ATTRIBUTES = 6, LOG_DROPPED = 7,
	LOG_FLAGS = 8, LOG_TRACE_ID = 9, LOG_SPAN_ID = 10, LOG_OBSERVED = 11, LOG_EVENT_NAME = 12
};

/* What is left of a message. */
typedef struct Message
{
	const uint8 *next;
	const uint8 *end;
	bool		broken;
} Message;

/* One field; its number and wire type are compared as one. */
typedef struct Field
{
	uint32		tag;
	uint64		number;			/* of a varint or a fixed length */
	const uint8 *data;			/* of BYTES */
	int			len;
} Field;

#define TAG(number, type) ((uint32) (number) << 3 | (type))

static bool read_value(TexOtlpReader *reader, const Field *field, TexOtlpValue *value, int depth);

/* ----------------------------------------------------------------
 *		The wire
 * ----------------------------------------------------------------
 */
/* The message that a field holds. */
static Message
inside(const Field *field)
{
	Message		message = {field->data, field->data + field->len, false};

	return message;
}

/* Reads a varint of at most 64 bits, which takes up to ten bytes. */
static bool
read_varint(Message *message, uint64 *value)
{
	uint64		result = 0;

	for (int shift = 0; shift < 70 && message->next < message->end; shift += 7)
	{
		uint8		byte = *message->next++;

		if (shift == 63 && byte > 1)
			return false;
		result |= (uint64) (byte & 0x7F) << shift;
		if (byte < 0x80)
		{
			*value = result;
			return true;
		}
	}
	return false;
}

/* Reads a number of a fixed length, the lowest byte first. */
static bool
read_fixed(Message *message, int len, uint64 *value)
{
	if (message->end - message->next < len)
		return false;
	*value = 0;
	for (int i = 0; i < len; i++)
		*value |= (uint64) message->next[i] << (8 * i);
	message->next += len;
	return true;
}

/* Reads a length and the bytes that it counts, which must be there. */
static bool
read_bytes(Message *message, Field *field)
{
	uint64		len;

	if (!read_varint(message, &len) || len > (uint64) (message->end - message->next))
		return false;
	field->data = message->next;
	field->len = (int) len;
	message->next += len;
	return true;
}

/* Reads the next field; false at the end of the message, and where it is broken. */
static bool
next_field(Message *message, Field *field)
{
	uint64		tag;
	bool		read;

	if (message->next == message->end)
		return false;
	read = read_varint(message, &tag) && tag <= PG_UINT32_MAX && tag >= TAG(1, 0);
	if (read)
	{
		field->tag = (uint32) tag;
		switch (tag & 7)
		{
			case VARINT:
				read = read_varint(message, &field->number);
				break;
			case FIXED64:
				read = read_fixed(message, 8, &field->number);
				break;
			case BYTES:
				read = read_bytes(message, field);
				break;
			case FIXED32:
				read = read_fixed(message, 4, &field->number);
				break;
			default:
				read = false;	/* groups are of the protobuf before */
		}
	}
	message->broken = !read;
	return read;
}

/* Was a message within a record read to its end? */
static bool
is_whole(TexOtlpReader *reader, const Message *message)
{
	if (message->broken)
		return tex_otlp_refuse(reader, "not valid protobuf");
	return reader->reason == NULL;
}

/* ----------------------------------------------------------------
 *		Values
 * ----------------------------------------------------------------
 */
/* A string; reader->field names it in a reason. */
static bool
read_string(TexOtlpReader *reader, const char *name, const Field *field, TexOtlpString *to)
{
	reader->field = name;
	return tex_otlp_clean(reader, (const char *) field->data, field->len, to);
}

/* An id of a fixed length; an empty one is none. */
static bool
read_id(TexOtlpReader *reader, const char *name, const Field *field, uint8 *id, int len)
{
	reader->field = name;
	if (field->len != 0 && field->len != len)
		return tex_otlp_refuse(reader, psprintf("%d bytes, not %d", field->len, len));
	if (field->len == len)
		memcpy(id, field->data, len);
	return true;
}

/* A key and its value, at the end of a list. */
static bool
read_pair(TexOtlpReader *reader, const Field *pair, TexOtlpList *list, int depth)
{
	Message		message = inside(pair);
	Field		field;
	TexOtlpValue *value = tex_otlp_new_value(reader, list);

	if (value == NULL)
		return false;
	while (next_field(&message, &field))
	{
		if (field.tag == TAG(PAIR_KEY, BYTES))
		{
			if (!tex_otlp_clean(reader, (const char *) field.data, field.len, &value->key))
				return false;
			if (depth == 0)
				reader->key = value->key;
		}
		else if (field.tag == TAG(PAIR_VALUE, BYTES) && !read_value(reader, &field, value, depth))
			return false;
	}
	if (!is_whole(reader, &message))
		return false;
	if (depth == 0)
		reader->key.len = 0;
	return true;
}

/* The values of an array, or the pairs of a list of pairs. */
static bool
read_list(TexOtlpReader *reader, const Field *list, TexOtlpValue *value, int depth)
{
	Message		message = inside(list);
	Field		field;

	if (depth >= TEX_OTLP_DEPTH)
		return tex_otlp_refuse(reader, psprintf("nested deeper than %d", TEX_OTLP_DEPTH));
	value->list.first = value->list.last = NULL;
	while (next_field(&message, &field))
	{
		TexOtlpValue *element;

		if (field.tag != TAG(LIST_VALUES, BYTES))
			continue;
		if (value->type == TEX_OTLP_KVLIST)
		{
			if (!read_pair(reader, &field, &value->list, depth + 1))
				return false;
			continue;
		}
		element = tex_otlp_new_value(reader, &value->list);
		if (element == NULL || !read_value(reader, &field, element, depth + 1))
			return false;
	}
	return is_whole(reader, &message);
}

/* An AnyValue: of its fields the last one counts; without any it is empty. */
static bool
read_value(TexOtlpReader *reader, const Field *any, TexOtlpValue *value, int depth)
{
	Message		message = inside(any);
	Field		field;

	while (next_field(&message, &field))
	{
		switch (field.tag)
		{
			case TAG(VALUE_STRING, BYTES):
				value->type = TEX_OTLP_STRING;
				if (!tex_otlp_clean(reader, (const char *) field.data, field.len, &value->string))
					return false;
				break;
			case TAG(VALUE_BOOL, VARINT):
				value->type = TEX_OTLP_BOOL;
				value->boolean = field.number != 0;
				break;
			case TAG(VALUE_INT, VARINT):
				value->type = TEX_OTLP_INT;
				value->integer = (int64) field.number;
				break;
			case TAG(VALUE_DOUBLE, FIXED64):
				value->type = TEX_OTLP_DOUBLE;
				memcpy(&value->number, &field.number, sizeof(double));
				break;
			case TAG(VALUE_BYTES, BYTES):
				value->type = TEX_OTLP_BYTES;
				value->string.data = (const char *) field.data;
				value->string.len = field.len;
				break;
			case TAG(VALUE_ARRAY, BYTES):
			case TAG(VALUE_KVLIST, BYTES):
				value->type = field.tag == TAG(VALUE_ARRAY, BYTES) ? TEX_OTLP_ARRAY : TEX_OTLP_KVLIST;
				if (!read_list(reader, &field, value, depth))
					return false;
				break;
		}
	}
	return is_whole(reader, &message);
}

/* One attribute, of whatever has some. */
static bool
read_attribute(TexOtlpReader *reader, const Field *field, TexOtlpList *attributes)
{
	reader->field = "attributes";
	return read_pair(reader, field, attributes, 0);
}

/* ----------------------------------------------------------------
 *		Records
 * ----------------------------------------------------------------
 */
/* An event of a span. */
static bool
read_event(TexOtlpReader *reader, const Field *sent)
{
	Message		message = inside(sent);
	Field		field;
	TexOtlpEvent *event = tex_otlp_new_event(reader);
	bool		read = event != NULL;

	reader->list = "events";
	reader->place = reader->record.event_count - 1;
	while (read && next_field(&message, &field))
	{
		switch (field.tag)
		{
			case TAG(EVENT_TIME, FIXED64):
				event->time = field.number;
				break;
			case TAG(EVENT_NAME, BYTES):
				read = read_string(reader, "name", &field, &event->name);
				break;
			case TAG(EVENT_ATTRIBUTES, BYTES):
				read = read_attribute(reader, &field, &event->attributes);
				break;
			case TAG(EVENT_DROPPED, VARINT):
				event->dropped_attributes = (uint32) field.number;
				break;
		}
	}
	if (!is_whole(reader, &message))
		return false;
	reader->list = NULL;
	return true;
}

/* A link of a span to another. */
static bool
read_link(TexOtlpReader *reader, const Field *sent)
{
	Message		message = inside(sent);
	Field		field;
	TexOtlpLink *link = tex_otlp_new_link(reader);
	bool		read = link != NULL;

	reader->list = "links";
	reader->place = reader->record.link_count - 1;
	while (read && next_field(&message, &field))
	{
		switch (field.tag)
		{
			case TAG(LINK_TRACE_ID, BYTES):
				read = read_id(reader, "traceId", &field, link->trace_id, TEX_TRACE_ID_LEN);
				break;
			case TAG(LINK_SPAN_ID, BYTES):
				read = read_id(reader, "spanId", &field, link->span_id, TEX_SPAN_ID_LEN);
				break;
			case TAG(LINK_TRACE_STATE, BYTES):
				read = read_string(reader, "traceState", &field, &link->trace_state);
				break;
			case TAG(LINK_ATTRIBUTES, BYTES):
				read = read_attribute(reader, &field, &link->attributes);
				break;
			case TAG(LINK_DROPPED, VARINT):
				link->dropped_attributes = (uint32) field.number;
				break;
			case TAG(LINK_FLAGS, FIXED32):
				link->flags = (uint32) field.number;
				break;
		}
	}
	if (!is_whole(reader, &message))
		return false;
	reader->list = NULL;
	return true;
}

/* The status of a span. */
static bool
read_status(TexOtlpReader *reader, const Field *status)
{
	Message		message = inside(status);
	Field		field;

	while (next_field(&message, &field))
	{
		if (field.tag == TAG(STATUS_CODE, VARINT))
			reader->record.status_code = (int32) field.number;
		else if (field.tag == TAG(STATUS_MESSAGE, BYTES) &&
				 !read_string(reader, "status.message", &field, &reader->record.status_message))
			return false;
	}
	reader->field = "status";
	return is_whole(reader, &message);
}

/* One field of a span. */
static bool
read_span_field(TexOtlpReader *reader, const Field *field)
{
	TexOtlpRecord *span = &reader->record;

	switch (field->tag)
	{
		case TAG(SPAN_TRACE_ID, BYTES):
			return read_id(reader, "traceId", field, span->trace_id, TEX_TRACE_ID_LEN);
		case TAG(SPAN_SPAN_ID, BYTES):
			return read_id(reader, "spanId", field, span->span_id, TEX_SPAN_ID_LEN);
		case TAG(SPAN_PARENT_ID, BYTES):
			return read_id(reader, "parentSpanId", field, span->parent_id, TEX_SPAN_ID_LEN);
		case TAG(SPAN_TRACE_STATE, BYTES):
			return read_string(reader, "traceState", field, &span->trace_state);
		case TAG(SPAN_NAME, BYTES):
			return read_string(reader, "name", field, &span->name);
		case TAG(SPAN_KIND, VARINT):
			span->kind = (int32) field->number;
			return true;
		case TAG(SPAN_START, FIXED64):
			span->time = field->number;
			return true;
		case TAG(SPAN_END, FIXED64):
			span->end_time = field->number;
			return true;
		case TAG(SPAN_ATTRIBUTES, BYTES):
			return read_attribute(reader, field, &span->attributes);
		case TAG(SPAN_DROPPED_ATTRIBUTES, VARINT):
			span->dropped_attributes = (uint32) field->number;
			return true;
		case TAG(SPAN_EVENTS, BYTES):
			return read_event(reader, field);
		case TAG(SPAN_DROPPED_EVENTS, VARINT):
			span->dropped_events = (uint32) field->number;
			return true;
		case TAG(SPAN_LINKS, BYTES):
			return read_link(reader, field);
		case TAG(SPAN_DROPPED_LINKS, VARINT):
			span->dropped_links = (uint32) field->number;
			return true;
		case TAG(SPAN_STATUS, BYTES):
			return read_status(reader, field);
		case TAG(SPAN_FLAGS, FIXED32):
			span->flags = (uint32) field->number;
			return true;
	}
	return true;
}

/* One field of a log record. */
static bool
read_log_field(TexOtlpReader *reader, const Field *field)
{
	TexOtlpRecord *log = &reader->record;

	switch (field->tag)
	{
		case TAG(LOG_TIME, FIXED64):
			log->time = field->number;
			return true;
		case TAG(LOG_OBSERVED, FIXED64):
			log->observed_time = field->number;
			return true;
		case TAG(LOG_SEVERITY, VARINT):
			log->severity_number = (int32) field->number;
			return true;
		case TAG(LOG_SEVERITY_TEXT, BYTES):
			return read_string(reader, "severityText", field, &log->severity_text);
		case TAG(LOG_BODY, BYTES):
			reader->field = "body";
			log->body = tex_otlp_new_value(reader, NULL);
			return log->body != NULL && read_value(reader, field, log->body, 0);
		case TAG(LOG_ATTRIBUTES, BYTES):
			return read_attribute(reader, field, &log->attributes);
		case TAG(LOG_DROPPED, VARINT):
			log->dropped_attributes = (uint32) field->number;
			return true;
		case TAG(LOG_FLAGS, FIXED32):
			log->flags = (uint32) field->number;
			return true;
		case TAG(LOG_TRACE_ID, BYTES):
			return read_id(reader, "traceId", field, log->trace_id, TEX_TRACE_ID_LEN);
		case TAG(LOG_SPAN_ID, BYTES):
			return read_id(reader, "spanId", field, log->span_id, TEX_SPAN_ID_LEN);
		case TAG(LOG_EVENT_NAME, BYTES):
			return read_string(reader, "eventName", field, &log->name);
	}
	return true;
}

/*
 * Whether a record is a log record: by the first of its fields whose number stands for another
 * type in a span.  One without any is taken for a span, and refused as such.
 */
static bool
is_log_record(const Field *record)
{
	Message		message = inside(record);
	Field		field;

	while (next_field(&message, &field))
	{
		switch (field.tag)
		{
			case TAG(LOG_TIME, FIXED64):
			case TAG(LOG_SEVERITY, VARINT):
			case TAG(LOG_DROPPED, VARINT):
			case TAG(LOG_FLAGS, FIXED32):
			case TAG(LOG_OBSERVED, FIXED64):
			case TAG(LOG_EVENT_NAME, BYTES):
				return true;
			case TAG(SPAN_TRACE_ID, BYTES):
			case TAG(SPAN_SPAN_ID, BYTES):
			case TAG(SPAN_START, FIXED64):
			case TAG(SPAN_END, FIXED64):
			case TAG(SPAN_EVENTS, BYTES):
				return false;
		}
	}
	return false;
}

/* Reads a span or a log record, and hands it over. */
static void
read_record(TexOtlpReader *reader, const Field *record)
{
	Message		message = inside(record);
	Field		field;
	bool		is_log = is_log_record(record);
	bool		read = tex_otlp_begin_record(reader, (const char *) record->data, record->len, is_log);

	while (read && next_field(&message, &field))
		read = is_log ? read_log_field(reader, &field) : read_span_field(reader, &field);
	if (message.broken)
		reader->field = NULL;
	if (is_whole(reader, &message))
		(void) tex_otlp_check_ids(reader);
	tex_otlp_end_record(reader);
}

/* ----------------------------------------------------------------
 *		The frame
 * ----------------------------------------------------------------
 */
/* The next field of the frame; throws where there is none to be told, or no end. */
static bool
next_of_frame(Message *message, Field *field)
{
	CHECK_FOR_INTERRUPTS();
	if (next_field(message, field))
		return true;
	if (message->broken)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("this is no request of OpenTelemetry"),
				 errdetail("It is not valid protobuf."),
				 errhint("Send an ExportTraceServiceRequest or an ExportLogsServiceRequest.")));
	return false;
}

/* How many records a scope has. */
static int64
count_of_scope(const Field *group)
{
	Message		message = inside(group);
	Field		field;
	int64		records = 0;

	while (next_of_frame(&message, &field))
		records += field.tag == TAG(SCOPES_RECORDS, BYTES);
	return records;
}

/* How many records and scopes a resource has. */
static int64
count_of_resource(const Field *group, int64 *scopes)
{
	Message		message = inside(group);
	Field		field;
	int64		records = 0;

	*scopes = 0;
	while (next_of_frame(&message, &field))
	{
		if (field.tag != TAG(GROUP_SCOPES, BYTES))
			continue;
		records += count_of_scope(&field);
		(*scopes)++;
	}
	return records;
}

/* Reads the fields of a resource, of all its parts, as protobuf has it. */
static bool
read_resource(TexOtlpReader *reader, const Field *sent)
{
	Message		message = inside(sent);
	Field		field;

	while (next_field(&message, &field))
	{
		if (field.tag == TAG(RESOURCE_DROPPED, VARINT))
			reader->resource.dropped_attributes = (uint32) field.number;
		else if (field.tag == TAG(RESOURCE_ATTRIBUTES, BYTES) &&
				 !read_attribute(reader, &field, &reader->resource.attributes))
			return false;
	}
	return is_whole(reader, &message);
}

/* Reads the fields of a scope. */
static bool
read_scope(TexOtlpReader *reader, const Field *sent)
{
	Message		message = inside(sent);
	Field		field;
	bool		read = true;

	while (read && next_field(&message, &field))
	{
		switch (field.tag)
		{
			case TAG(SCOPE_NAME, BYTES):
				read = read_string(reader, "name", &field, &reader->scope.name);
				break;
			case TAG(SCOPE_VERSION, BYTES):
				read = read_string(reader, "version", &field, &reader->scope.version);
				break;
			case TAG(SCOPE_ATTRIBUTES, BYTES):
				read = read_attribute(reader, &field, &reader->scope.attributes);
				break;
			case TAG(SCOPE_DROPPED, VARINT):
				reader->scope.dropped_attributes = (uint32) field.number;
				break;
		}
	}
	return is_whole(reader, &message);
}

/* Reads a scope, which may stand after its records, and then these. */
static void
read_scope_group(TexOtlpReader *reader, const Field *group)
{
	Message		message = inside(group);
	Field		field;
	bool		read = true;

	if (reader->pass_over != NULL && tex_otlp_passes_over(reader, count_of_scope(group), 1))
		return;
	tex_otlp_begin_scope(reader);
	while (next_of_frame(&message, &field))
	{
		if (read && field.tag == TAG(SCOPES_SCOPE, BYTES))
			read = read_scope(reader, &field);
		else if (read && field.tag == TAG(SCOPES_SCHEMA_URL, BYTES))
			read = read_string(reader, "schemaUrl", &field, &reader->scope.schema_url);
	}
	tex_otlp_end_scope(reader);

	message = inside(group);
	while (next_of_frame(&message, &field))
	{
		if (field.tag == TAG(SCOPES_RECORDS, BYTES) && !tex_otlp_passes_over(reader, 1, 0))
			read_record(reader, &field);
	}
}

/* Reads a resource, which may stand after its scopes, and then these. */
static void
read_resource_group(TexOtlpReader *reader, const Field *group)
{
	Message		message = inside(group);
	Field		field;
	bool		read = true;
	int64		scopes;

	if (reader->pass_over != NULL)
	{
		int64		records = count_of_resource(group, &scopes);

		if (tex_otlp_passes_over(reader, records, 1 + scopes))
			return;
	}
	tex_otlp_begin_resource(reader);
	while (next_of_frame(&message, &field))
	{
		if (read && field.tag == TAG(GROUP_RESOURCE, BYTES))
			read = read_resource(reader, &field);
		else if (read && field.tag == TAG(GROUP_SCHEMA_URL, BYTES))
			read = read_string(reader, "schemaUrl", &field, &reader->resource.schema_url);
	}
	tex_otlp_end_resource(reader);

	message = inside(group);
	while (next_of_frame(&message, &field))
	{
		if (field.tag == TAG(GROUP_SCOPES, BYTES))
			read_scope_group(reader, &field);
	}
}

/*
 * Reads a body, which must stay as long as the records are in use, and hands over what it has.
 * Throws where its frame is broken, maybe after some records were handed over.
 */
void
tex_otlp_read_wire(TexOtlpReader *reader, const char *body, int len)
{
	Message		message = {(const uint8 *) body, (const uint8 *) body + len, false};
	Field		field;

	reader->sent_as_text = false;
	while (next_of_frame(&message, &field))
	{
		if (field.tag == TAG(REQUEST_GROUPS, BYTES))
			read_resource_group(reader, &field);
	}
}
