/*
 * points.c
 *		Events that happened at a moment, as the span events and log records that they were.
 *
 * The reverse of map_point() in ingest/otlp_map.c: its kind tells what an event was called, and
 * what is word for word in a column or field goes back among the attributes.  An event that
 * never came by OpenTelemetry becomes what would give it: so what is exported can be ingested,
 * and its accesses and locks are found.
 */
#include "postgres.h"

#include "utils/jsonb.h"

#include "exchange/outgoing.h"

/* An attribute that may have been moved to a column or field: there unless it was kept. */
static void
put_back(TexOutList *list, const char *key, TexOtlpString text)
{
	if (tex_out_find(list, key) == NULL)
		tex_out_add_text(list, key, text);
}

/* The value of a variable as JSON text; what is absent is not there. */
static void
put_back_value(TexOutList *list, const char *key, JsonbContainer *fields, const char *field)
{
	JsonbValue	value;
	Jsonb	   *whole;

	if (tex_out_find(list, key) != NULL || !tex_out_member(fields, field, &value))
		return;
	whole = JsonbValueToJsonb(&value);
	tex_out_add_text(list, key, tex_string(JsonbToCString(NULL, &whole->root, VARSIZE(whole))));
}

/* The lines of a stack trace as one text; other than by ingest_otlp() it may be anything. */
static TexOtlpString
join_lines(JsonbContainer *fields)
{
	JsonbValue	value;
	JsonbIterator *it;
	JsonbIteratorToken token;
	TexOutValue line = {.is_marked = false};
	StringInfoData text;
	int			n = 0;

	if (!tex_out_member(fields, "stack_trace", &value) || value.type == jbvNull)
		return tex_string("");
	if (value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
	{
		line.json = value;
		return tex_plain_text(&line);
	}
	initStringInfo(&text);
	it = JsonbIteratorInit(value.val.binary.data);
	while ((token = JsonbIteratorNext(&it, &line.json, true)) != WJB_DONE)
	{
		TexOtlpString part;

		if (token != WJB_ELEM)
			continue;
		part = tex_plain_text(&line);
		if (n++ > 0)
			appendStringInfoChar(&text, '\n');
		appendBinaryStringInfo(&text, part.data, part.len);
	}
	return (TexOtlpString) {text.data, text.len};
}

/* "file:line" of an event that never had attributes of its own, as two. */
static void
add_location(TexOutList *list, JsonbContainer *fields)
{
	TexOtlpString location = tex_out_string(fields, "location");
	int			colon = location.len;

	while (colon > 0 && location.data[colon - 1] >= '0' && location.data[colon - 1] <= '9')
		colon--;
	if (colon < 2 || colon == location.len || location.len - colon > 9 || location.data[colon - 1] != ':')
		tex_out_add_text(list, "code.file.path", location);
	else
	{
		tex_out_add_text(list, "code.file.path", (TexOtlpString) {location.data, colon - 1});
		tex_out_add_int(list, "code.line.number", strtol(pnstrdup(location.data + colon, location.len - colon), NULL, 10));
	}
}

/* Fields of an event of another format that are not said yet, under their names. */
static void
add_fields(TexOutList *list, JsonbContainer *fields, const char *const *known, int nknown)
{
	TexOutList	all = {0};

	tex_out_add_members(&all, fields, false);
	for (int i = 0; i < all.n; i++)
	{
		bool		is_known = false;

		for (int k = 0; k < nknown && !is_known; k++)
			is_known = strlen(known[k]) == (size_t) all.items[i].key.len &&
				memcmp(known[k], all.items[i].key.data, all.items[i].key.len) == 0;
		if (!is_known)
			*tex_out_add(list, all.items[i].key) = all.items[i];
	}
}

/* What is in a column or field goes back; the name is what the client called it. */
static void
restore(TexOutPoint *point, const TexOutRow *row, JsonbContainer *fields)
{
	TexOutList *list = &point->attributes;

	switch (row->kind)
	{
		case TEX_STATE_CHANGE:
			point->name = tex_string("trace_ext.state");
			put_back(list, "trace_ext.variable", row->name);
			put_back(list, "trace_ext.access", tex_out_string(fields, "access_type"));
			put_back_value(list, "trace_ext.value", fields, "new_value");
			put_back_value(list, "trace_ext.old_value", fields, "old_value");
			break;
		case TEX_LOCK_ACQUIRE:
		case TEX_LOCK_RELEASE:
			point->name = tex_string("trace_ext.lock");
			put_back(list, "trace_ext.lock.id", row->name);
			put_back(list, "trace_ext.lock.op", tex_string(row->kind == TEX_LOCK_ACQUIRE ? "acquire" : "release"));
			put_back(list, "trace_ext.lock.type", tex_out_string(fields, "lock_type"));
			break;
		case TEX_ERROR:
			point->name = tex_string("exception");
			put_back(list, "exception.type", row->name);
			put_back(list, "exception.message", tex_out_string(fields, "message"));
			put_back(list, "exception.stacktrace", join_lines(fields));
			break;
		default:
			point->name = row->name;
			break;
	}
}

/* Fields that restore() or the head of the event says; the others of another format are attributes. */
static const char *const restored[] = {
	"access_type", "new_value", "old_value", "location", "lock_type", "message", "stack_trace", "timestamp_ns"
};

/*
 * An event as a point; by OpenTelemetry, with the attributes that were kept beside it.
 */
void
tex_out_point(TexOutPoint *point, const TexOutRow *row, bool is_otlp)
{
	JsonbContainer *fields = tex_out_attributes(row);
	JsonbContainer *otlp = is_otlp ? tex_out_object(fields, "otlp") : NULL;

	point->time = tex_out_int(otlp, "timeUnixNano", 1) == 0 ? 0 : tex_out_time(row);
	if (is_otlp)
	{
		tex_out_add_members(&point->attributes, tex_out_object(otlp, "attributes"), true);
		point->dropped_attributes = tex_out_within(otlp, "droppedAttributesCount", 0, PG_UINT32_MAX);
		restore(point, row, fields);
		return;
	}
	/* A lock without a name is none to ingest_otlp(). */
	if ((row->kind != TEX_LOCK_ACQUIRE && row->kind != TEX_LOCK_RELEASE) || row->name.len > 0)
		restore(point, row, fields);
	if (row->kind == TEX_STATE_CHANGE || row->kind == TEX_LOCK_ACQUIRE || row->kind == TEX_LOCK_RELEASE)
		add_location(&point->attributes, fields);
	add_fields(&point->attributes, fields, restored, lengthof(restored));
	if (row->tags != NULL && JB_ROOT_IS_OBJECT(row->tags))
		tex_out_add_members(&point->attributes, &row->tags->root, false);
	tex_out_drop_repeated(&point->attributes);
	if (point->name.len == 0)
		point->name = tex_string(tex_kind_name(row->kind));
}
