/*
 * otlp_spans.c
 *		The events of a span: its start, the span's own events by time, and what is at its end.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "common/otlp_id.h"
#include "ingest/otlp_rows.h"

/* Ordinals of what is at the end of a span, in their order. */
#define ORDINAL_RESULT TEX_OTLP_AT_END
#define ORDINAL_ERROR 0x7FFFFFFE
#define ORDINAL_RESPONSE 0x7FFFFFFF

/* The address of a request: the route, else the path or address without its query. */
static TexOtlpString
address_of(TexFound *found)
{
	static const TexKnown sources[] = {ATTR_ROUTE, ATTR_PATH, ATTR_TARGET, ATTR_FULL_URL, ATTR_OLD_URL};
	TexOtlpString address = {"", 0};

	for (Size i = 0; i < lengthof(sources); i++)
	{
		if (!tex_has_text(found->of[sources[i]]))
			continue;
		address = found->of[sources[i]]->string;
		/* A route may have a "?" of its own. */
		for (int end = 0; sources[i] != ATTR_ROUTE && end < address.len; end++)
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
	TexFound   *found = &map->found;
	int32		kind = map->reader->record.kind;

	if ((kind == TEX_SPAN_SERVER || kind == TEX_SPAN_CLIENT) && tex_has_text(tex_either(found, ATTR_METHOD, ATTR_OLD_METHOD)))
		return TEX_HTTP_REQUEST;
	if (tex_either(found, ATTR_DB_SYSTEM, ATTR_OLD_DB_SYSTEM) != NULL &&
		(tex_has_text(found->of[ATTR_DB_TEXT]) || tex_has_text(found->of[ATTR_OLD_DB_TEXT])))
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
	TexFound   *found = &map->found;
	TexOtlpString name = map->reader->record.name;
	TexOtlpValue *text;

	switch (map->kind)
	{
		case TEX_HTTP_REQUEST:
			{
				TexOtlpString method = tex_either(found, ATTR_METHOD, ATTR_OLD_METHOD)->string;
				TexOtlpString address = address_of(found);

				name.data = psprintf("%.*s%s%.*s", method.len, method.data, address.len > 0 ? " " : "",
									 address.len, address.data);
				name.len = strlen(name.data);
				break;
			}
		case TEX_DATABASE_QUERY:
			text = tex_has_text(found->of[ATTR_DB_TEXT]) ? found->of[ATTR_DB_TEXT] : found->of[ATTR_OLD_DB_TEXT];
			name = text->string;
			tex_mark_moved(text);
			tex_object_string(&map->object, "database", tex_text_of(tex_either(found, ATTR_DB_NAMESPACE, ATTR_OLD_DB_NAME)));
			break;
		case TEX_FUNCTION_CALL:
			tex_object_string(&map->object, "module", map->reader->scope.name);
			tex_object_string(&map->object, "file", tex_text_of(tex_either(found, ATTR_CODE_FILE, ATTR_OLD_CODE_FILE)));
			tex_object_value(&map->object, "line", tex_either(found, ATTR_CODE_LINE, ATTR_OLD_CODE_LINE));
			break;
		default:
			break;
	}
	tex_row_set_text(&map->row, COL_NAME, name);
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
	{
		if (name != NULL && span->name.len == 0)
			tex_object_none(object, "name");
		tex_object_string(object, "name", span->name);
	}
	if (span->kind != 0)
		tex_object_integer(object, "kind", span->kind);
	if (map->kind == TEX_DATABASE_QUERY && !tex_has_text(map->found.of[ATTR_DB_TEXT]))
		tex_object_string(object, "query", tex_known_names[ATTR_OLD_DB_TEXT]);
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

	tex_row_begin(map);
	map->row.isnull[COL_PARENT_ID] = true;
	if (!tex_otlp_is_zero(span->parent_id, TEX_SPAN_ID_LEN))
	{
		if (memcmp(span->parent_id, span->span_id, TEX_SPAN_ID_LEN) != 0)
		{
			tex_row_make_id(&map->row.parent_id, span, span->parent_id, 0);
			map->row.isnull[COL_PARENT_ID] = false;
		}
		else
		{
			JsonbValue	yes = {.type = jbvBool,.val.boolean = true};

			tex_object_jsonb(&map->object, "own_parent", &yes);	/* as in event JSON: a root */
		}
	}
	tex_row_make_id(&map->row.id, span, span->span_id, 0);
	tex_row_set_time(map, span->time);
	if (span->end_time != 0)
		tex_row_set(&map->row, COL_DURATION_NS,
			Int64GetDatum(span->end_time <= span->time ? 0 :
						  (int64) Min(span->end_time - span->time, (uint64) PG_INT64_MAX)));
	map_start(map);
	keep_span(map);
	tex_row_end_attributes(map);
	tex_row_end(map, map->kind);
}

/* What is at the end of the span. */
static void
add_end(TexOtlpMap *map, const TexOtlpStep *step)
{
	TexOtlpRecord *span = &map->reader->record;
	TexOtlpValue *status = tex_either(&map->found, ATTR_RESPONSE_STATUS, ATTR_OLD_RESPONSE_STATUS);
	int64		number;

	tex_row_begin(map);
	tex_row_make_id(&map->row.id, span, span->span_id, step->ordinal);
	tex_row_set_time(map, step->time);
	switch (step->ordinal)
	{
		case ORDINAL_RESULT:
			tex_object_value(&map->object, "rows_affected", map->found.of[ATTR_DB_ROWS]);
			tex_row_end_attributes(map);
			tex_row_end(map, TEX_DATABASE_RESULT);
			break;
		case ORDINAL_ERROR:
			/* By the conventions the status of a response is the type of its error. */
			tex_row_set_text(&map->row, COL_NAME, tex_text_of(map->found.of[ATTR_ERROR_TYPE] != NULL ? map->found.of[ATTR_ERROR_TYPE] : status));
			tex_object_string(&map->object, "message", span->status_message);
			tex_row_end_attributes(map);
			tex_row_end(map, TEX_ERROR);
			break;
		case ORDINAL_RESPONSE:
			if (tex_number_of(status, &number))
			{
				tex_row_set(&map->row, COL_NAME, CStringGetTextDatum(psprintf(INT64_FORMAT, number)));
				tex_object_integer(&map->object, "status", number);
			}
			tex_row_end_attributes(map);
			tex_row_end(map, TEX_HTTP_RESPONSE);
			break;
	}
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

/* One of the span's own events. */
static bool
add_event(TexOtlpMap *map, const TexOtlpStep *step)
{
	TexOtlpReader *reader = map->reader;
	TexOtlpEvent *event = &reader->record.events[step->ordinal - 1];
	TexFound	found;
	TexKind		kind;

	tex_row_begin(map);
	tex_row_make_id(&map->row.id, &reader->record, reader->record.span_id, step->ordinal);
	tex_row_set_time(map, step->time);
	reader->list = "events";
	reader->place = step->ordinal - 1;
	tex_find_known(&event->attributes, &found);
	if (!tex_otlp_map_point(map, event->name, &found, &map->found, &kind))
		return false;
	keep_rest(map, &event->attributes, event->dropped_attributes, event->time == 0);
	tex_row_end_attributes(map);
	tex_row_end(map, kind);
	return true;
}

/* For qsort(): by time, else by ordinal. */
static int
compare_steps(const void *a, const void *b)
{
	const TexOtlpStep *x = a;
	const TexOtlpStep *y = b;

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
		if (tex_otlp_equal(span->events[i].name, "exception"))
			return false;
	}
	return !(map->kind == TEX_HTTP_REQUEST &&
			 tex_number_of(tex_either(&map->found, ATTR_RESPONSE_STATUS, ATTR_OLD_RESPONSE_STATUS), &number) &&
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
		map->steps = repalloc(map->steps, sizeof(TexOtlpStep) * map->step_room);
	}
	for (int i = 0; i < span->event_count; i++)
		map->steps[n++] = (TexOtlpStep) {span->events[i].time == 0 ? span->time : span->events[i].time, i + 1};
	if (map->kind == TEX_DATABASE_QUERY && map->found.of[ATTR_DB_ROWS] != NULL)
		map->steps[n++] = (TexOtlpStep) {end, ORDINAL_RESULT};
	if (has_error(map))
		map->steps[n++] = (TexOtlpStep) {end, ORDINAL_ERROR};
	if (map->kind == TEX_HTTP_REQUEST)
		map->steps[n++] = (TexOtlpStep) {end, ORDINAL_RESPONSE};
	for (int i = 1; i < n; i++)
		sorted = sorted && map->steps[i - 1].time <= map->steps[i].time;
	if (!sorted)
		qsort(map->steps, n, sizeof(TexOtlpStep), compare_steps);
	return n;
}

/* A span; false and a reason where one of its events cannot be what it says it is. */
bool
tex_otlp_map_span(TexOtlpMap *map)
{
	TexOtlpRecord *span = &map->reader->record;
	bool		remote = (span->flags & TEX_OTLP_REMOTE_KNOWN) != 0 ? (span->flags & TEX_OTLP_REMOTE) != 0 :
		span->kind == TEX_SPAN_SERVER || span->kind == TEX_SPAN_CONSUMER;
	int			n;

	map->row.isnull[COL_UPSTREAM_SPAN_ID] = !remote || tex_otlp_is_zero(span->parent_id, TEX_SPAN_ID_LEN);
	if (!map->row.isnull[COL_UPSTREAM_SPAN_ID])
		map->row.values[COL_UPSTREAM_SPAN_ID] = tex_row_hex(span->parent_id);
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
