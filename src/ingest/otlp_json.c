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
 * Sources: RFC 8259; https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "ingest/batch.h"
#include "ingest/json_text.h"
#include "ingest/otlp_json.h"
#include "ingest/otlp_json_fields.h"

/* What a scope is, and its records: those of the group up to records_end, from where the scope before ends. */
typedef struct Scope
{
	TexSlice	scope;
	TexSlice	schema_url;
	int			records_end;
} Scope;

/* A resource, with all that is its own, noted before any of it is read. */
typedef struct Group
{
	bool		is_log;
	TexSlice	resource;
	TexSlice	schema_url;
	Scope	   *scopes;
	int			scope_count;
	int			scope_room;
	TexSlice   *records;
	int			record_count;
	int			record_room;
} Group;

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
static TexSlice
frame_value(TexJson *json)
{
	TexSlice	value = {json->next, 0};
	const char *why;
	const char *end = tex_json_value_end(json->next, json->end, &why);

	if (end == NULL)
		not_a_request("A value is missing, or a bracket or string does not end.");
	json->next = end;
	value.len = end - value.data;
	return value;
}

/* Begins a container of the frame; false for null, which is an empty one. */
static bool
frame_open(TexJson *json, char bracket)
{
	if (tex_json_null(json))
		return false;
	if (json->next >= json->end || *json->next != bracket)
		not_a_request(bracket == '{' ? "What should be an object is none." : "What should be an array is none.");
	json->next++;
	return true;
}

/* Is there another element? False at the end of the container. */
static bool
frame_next(TexJson *json, char bracket, bool *first)
{
	CHECK_FOR_INTERRUPTS();
	json->next = tex_json_skip_space(json->next, json->end);
	if (json->next < json->end && *json->next == bracket)
	{
		json->next++;
		return false;
	}
	if (!*first)
	{
		if (json->next >= json->end || *json->next != ',')
			not_a_request("A comma or a closing bracket is missing.");
		json->next = tex_json_skip_space(json->next + 1, json->end);
	}
	*first = false;
	return true;
}

/* Is there another member? Its key is told by its spelling, without its quotes; its value comes next. */
static bool
frame_member(TexJson *json, bool *first, TexOtlpString *key)
{
	const char *end;

	if (!frame_next(json, '}', first))
		return false;
	end = json->next < json->end && *json->next == '"' ? tex_json_string_end(json->next, json->end) : NULL;
	if (end == NULL)
		not_a_request("A key is missing.");
	key->data = json->next + 1;
	key->len = end - json->next - 2;
	json->next = tex_json_skip_space(end, json->end);
	if (json->next >= json->end || *json->next != ':')
		not_a_request("A key has no value.");
	json->next = tex_json_skip_space(json->next + 1, json->end);
	return true;
}

/* Throws where more would be noted than one body may have in this process. */
static void
check_count(int count, int64 limit, const char *what)
{
	if (limit > 0 && count >= limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the body has more than " INT64_FORMAT " %s", limit, what),
				 errhint("Send fewer at once.")));
}

/* Notes the records of a scope, whose ends are looked for here and nowhere else. */
static void
list_records(TexJson *json, Group *group)
{
	bool		first = true;

	if (!frame_open(json, '['))
		return;
	while (frame_next(json, ']', &first))
	{
		check_count(group->record_count, tex_batch_limits.records, "records");
		if (group->record_count == group->record_room)
		{
			group->record_room = Max(group->record_room * 2, 512);
			group->records = group->records == NULL ? palloc(sizeof(TexSlice) * group->record_room) :
				repalloc_huge(group->records, sizeof(TexSlice) * group->record_room);
		}
		group->records[group->record_count++] = frame_value(json);
	}
}

/* Notes a scope and its records. */
static void
list_scope(TexJson *json, Group *group)
{
	TexOtlpString key;
	Scope	   *scope;
	bool		first = true;

	if (!frame_open(json, '{'))
		return;
	check_count(group->scope_count, tex_batch_limits.records / 4, "scopes");
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
		if (tex_otlp_equal(key, group->is_log ? "logRecords" : "spans"))
			list_records(json, group);
		else if (tex_otlp_equal(key, "scope"))
			scope->scope = frame_value(json);
		else if (tex_otlp_equal(key, "schemaUrl"))
			scope->schema_url = frame_value(json);
		else
			(void) frame_value(json);
	}
	scope->records_end = group->record_count;
}

/* Notes all of a resource. */
static void
list_group(TexJson *json, Group *group)
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

		if (tex_otlp_equal(key, "resource"))
			group->resource = frame_value(json);
		else if (tex_otlp_equal(key, "schemaUrl"))
			group->schema_url = frame_value(json);
		else if (!tex_otlp_equal(key, group->is_log ? "scopeLogs" : "scopeSpans"))
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
read_schema_url(TexOtlpReader *reader, TexSlice value, TexOtlpString *to)
{
	TexJson		json = {reader, value.data, value.data + value.len};

	reader->key.len = 0;
	return value.data == NULL || tex_json_text(&json, "schemaUrl", to);
}

/* Reads a resource. */
static bool
read_resource(TexOtlpReader *reader, TexSlice value)
{
	TexJson		json = {reader, value.data, value.data + value.len};
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (value.data == NULL || !tex_json_open(&json, '{'))
		return reader->reason == NULL;
	while (read && tex_json_member(&json, &first, &key))
	{
		if (tex_otlp_equal(key, "attributes"))
			read = tex_json_attributes(&json, &reader->resource.attributes);
		else if (tex_otlp_equal(key, "droppedAttributesCount"))
			read = tex_json_uint32(&json, "droppedAttributesCount", &reader->resource.dropped_attributes);
		else
			read = tex_json_skip(&json);
	}
	return reader->reason == NULL;
}

/* Reads a scope. */
static bool
read_scope(TexOtlpReader *reader, TexSlice value)
{
	TexJson		json = {reader, value.data, value.data + value.len};
	TexOtlpString key;
	bool		first = true;
	bool		read = true;

	if (value.data == NULL || !tex_json_open(&json, '{'))
		return reader->reason == NULL;
	while (read && tex_json_member(&json, &first, &key))
	{
		if (tex_otlp_equal(key, "name"))
			read = tex_json_text(&json, "name", &reader->scope.name);
		else if (tex_otlp_equal(key, "version"))
			read = tex_json_text(&json, "version", &reader->scope.version);
		else if (tex_otlp_equal(key, "attributes"))
			read = tex_json_attributes(&json, &reader->scope.attributes);
		else if (tex_otlp_equal(key, "droppedAttributesCount"))
			read = tex_json_uint32(&json, "droppedAttributesCount", &reader->scope.dropped_attributes);
		else
			read = tex_json_skip(&json);
	}
	return reader->reason == NULL;
}

/* Reads what was noted of a resource, unless nobody wants it, and hands it over. */
static void
read_group(TexOtlpReader *reader, Group *group)
{
	int			record = 0;

	if (tex_otlp_passes_over(reader, group->record_count, 1 + group->scope_count))
		return;
	tex_otlp_begin_resource(reader);
	if (read_resource(reader, group->resource))
		(void) read_schema_url(reader, group->schema_url, &reader->resource.schema_url);
	tex_otlp_end_resource(reader);
	for (int i = 0; i < group->scope_count; i++)
	{
		Scope	   *scope = &group->scopes[i];

		if (tex_otlp_passes_over(reader, scope->records_end - record, 1))
		{
			record = scope->records_end;
			continue;
		}
		tex_otlp_begin_scope(reader);
		if (read_scope(reader, scope->scope))
			(void) read_schema_url(reader, scope->schema_url, &reader->scope.schema_url);
		tex_otlp_end_scope(reader);
		for (; record < scope->records_end; record++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!tex_otlp_passes_over(reader, 1, 0))
				tex_json_record(reader, group->records[record], group->is_log);
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
	TexJson		json = {reader, tex_json_skip_space(body, body + len), body + len};
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

		group.is_log = tex_otlp_equal(key, "resourceLogs");
		if (!group.is_log && !tex_otlp_equal(key, "resourceSpans"))
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
	if (tex_json_skip_space(json.next, json.end) != json.end)
		not_a_request("Something follows its end.");
	if (!known && !first)
		not_a_request("It has neither \"resourceSpans\" nor \"resourceLogs\".");
}
