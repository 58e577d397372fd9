/*
 * otlp_logs.c
 *		The event that a log record is.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "ingest/otlp_rows.h"
#include "ingest/otlp_sources.h"

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
	if (tex_has_text(map->found.of[ATTR_EVENT_NAME]))
		return map->found.of[ATTR_EVENT_NAME]->string;
	if (map->found.of[ATTR_EXCEPTION_TYPE] != NULL || map->found.of[ATTR_EXCEPTION_MESSAGE] != NULL)
	{
		name.data = "exception";
		name.len = strlen("exception");
	}
	return name;
}

/* A log record: an event that follows the start of its span. */
bool
tex_otlp_map_log(TexOtlpMap *map)
{
	TexOtlpRecord *log = &map->reader->record;
	bool		has_span = !map->row.isnull[COL_SPAN_ID];
	TexKind		kind;

	map->row.isnull[COL_UPSTREAM_SPAN_ID] = true;
	map->row.isnull[COL_PARENT_ID] = !has_span;
	tex_row_make_id(&map->row.parent_id, log, log->span_id, 0);
	tex_row_begin(map);
	tex_row_set_time(map, log->time == 0 ? log->observed_time : log->time);
	if (!tex_otlp_map_point(map, name_of_log(map), &map->found, NULL, &kind))
		return false;
	if (kind == TEX_CUSTOM)
		add_body(map, "data");
	keep_log(map, kind);
	tex_row_end_attributes(map);
	make_log_id(map, kind);
	tex_row_end(map, kind);
	return true;
}
