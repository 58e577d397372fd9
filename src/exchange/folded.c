/*
 * folded.c
 *		Events that never were spans, as spans.
 *
 * What took time is a bar of the room render, which folds requests with their responses and so
 * on: each is a span, and what happened at a moment in it is an event of that span.
 *
 * Ids of spans have eight bytes, those of events sixteen: a span's id is the begin of the SHA-256
 * of the event's, so it is the same at each export and in each trace that refers to it.  An event
 * of OpenTelemetry begins with the id of its span.
 *
 * Names and attributes are those of the semantic conventions where they have one, so that
 * ingest_otlp() makes the same kinds of them; fields without one keep their names.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "common/otlp_id.h"
#include "exchange/outgoing.h"
#include "ingest/otlp_sources.h"
#include "render/spans.h"

/* A name of a span is cut to that many bytes; the whole of it is an attribute. */
#define LONGEST_NAME 200

typedef struct Fold
{
	TexOutTrace *trace;
	TexOutSources *sources;
	const TexSpans *bars;
	const TexOutRow *rows;
	int32	   *row_of;			/* of each event; -1: of another trace */
} Fold;

/* The row of an event. */
static const TexOutRow *
row_of(const Fold *fold, int32 event)
{
	return event == TEX_NO_EVENT || fold->row_of[event] < 0 ? NULL : &fold->rows[fold->row_of[event]];
}

/* The id of the span that an event is, or is in. */
static void
set_span_id(uint8 *span_id, const TexOutRow *row)
{
	uint64		hash;

	if (row->is_taken)
	{
		memcpy(span_id, row->id.data, TEX_SPAN_ID_LEN);
		return;
	}
	hash = tex_otlp_hash((const char *) row->id.data, UUID_LEN);
	if (hash == 0)
		hash = 1;
	for (int i = 0; i < TEX_SPAN_ID_LEN; i++)
		span_id[i] = hash >> (56 - 8 * i) & 0xFF;
}

/* An id as text. */
static TexOtlpString
uuid_text(const pg_uuid_t *id)
{
	return tex_string(DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id))));
}

/* ----------------------------------------------------------------
 *		Attributes
 * ----------------------------------------------------------------
 */
/* A field of a kind, and the attribute that it is by the conventions. */
typedef struct Convention
{
	TexKind		kind;
	const char *field;
	const char *attribute;		/* NULL: said elsewhere */
} Convention;

static const Convention conventions[] = {
	{TEX_FUNCTION_CALL, "module", "code.namespace"},
	{TEX_FUNCTION_CALL, "file", "code.file.path"},
	{TEX_FUNCTION_CALL, "line", "code.line.number"},
	{TEX_DATABASE_QUERY, "database", "db.namespace"},
	{TEX_DATABASE_RESULT, "rows_affected", "db.response.returned_rows"},
	{TEX_HTTP_RESPONSE, "status", "http.response.status_code"},
	{TEX_KIND_COUNT, "timestamp_ns", NULL},
	{TEX_KIND_COUNT, "own_parent", NULL},
};

/* The fields of an event as attributes; those of an answer that have no convention after a prefix. */
static void
add_fields(TexOutList *list, const TexOutRow *row, const char *prefix)
{
	TexOutList	fields = {0};

	tex_out_add_members(&fields, tex_out_attributes(row), false);
	for (int i = 0; i < fields.n; i++)
	{
		TexOutAttribute *field = &fields.items[i];
		const char *before = prefix;
		bool		is_said = false;

		for (Size c = 0; c < lengthof(conventions); c++)
		{
			if ((conventions[c].kind != row->kind && conventions[c].kind != TEX_KIND_COUNT) ||
				strlen(conventions[c].field) != (size_t) field->key.len ||
				memcmp(conventions[c].field, field->key.data, field->key.len) != 0)
				continue;
			is_said = conventions[c].attribute == NULL;
			field->key = tex_string(is_said ? "" : conventions[c].attribute);
			before = "";
		}
		if (is_said || field->value.json.type == jbvNull)
			continue;
		if (before[0] != '\0')
			field->key = tex_string(psprintf("%s%.*s", before, field->key.len, field->key.data));
		*tex_out_add(list, field->key) = *field;
	}
}

/* "METHOD url" as two attributes. */
static void
add_request(TexOutList *list, TexOtlpString name)
{
	const char *blank = name.len == 0 ? NULL : memchr(name.data, ' ', name.len);
	int			method = blank == NULL ? name.len : blank - name.data;
	TexOtlpString url = {name.data + method + 1, blank == NULL ? 0 : name.len - method - 1};

	tex_out_add_text(list, "http.request.method", (TexOtlpString) {name.data, method});
	tex_out_add_text(list, url.len > 0 && url.data[0] == '/' ? "url.path" : "url.full", url);
}

/* What the columns say of an event, and nobody else. */
static void
add_columns(TexOutList *list, const TexOutRow *row)
{
	tex_out_add_text(list, "thread.name", row->thread);
	tex_out_add_text(list, "trace_ext.kind", tex_string(tex_kind_name(row->kind)));
	tex_out_add_text(list, "trace_ext.event_id", uuid_text(&row->id));
	tex_out_add_text(list, "trace_ext.span_id", row->span_id);
	tex_out_add_text(list, "trace_ext.upstream_span_id", row->upstream_span_id);
	if (row->clock.len > 2)		/* of {} there is nothing to say */
		tex_out_add_text(list, "trace_ext.causality_vector", row->clock);
	if (row->locks != NULL && JB_ROOT_COUNT(row->locks) > 0)
	{
		JsonbValue	locks = {.type = jbvBinary};

		locks.val.binary.data = &row->locks->root;
		locks.val.binary.len = VARSIZE(row->locks) - VARHDRSZ;
		tex_out_add_value(list, "trace_ext.lock_set", &locks);
	}
	if (row->tags != NULL && JB_ROOT_IS_OBJECT(row->tags))
		tex_out_add_members(list, &row->tags->root, false);
}

/* ----------------------------------------------------------------
 *		Spans
 * ----------------------------------------------------------------
 */
/* Is it a moment rather than work? */
static bool
is_moment(TexKind kind)
{
	return kind == TEX_STATE_CHANGE || kind == TEX_ERROR || kind == TEX_LOCK_ACQUIRE || kind == TEX_LOCK_RELEASE ||
		kind == TEX_CUSTOM || kind == TEX_MEMORY_FENCE;
}

/* The kind of a span: a request is one of a server where the caller is another service, or nobody. */
static int
kind_of_span(const Fold *fold, const TexSpan *bar, const TexOutRow *row)
{
	const TexOutRow *parent;

	switch (row->kind)
	{
		case TEX_HTTP_REQUEST:
			parent = bar == NULL || bar->parent == TEX_NO_SPAN ? NULL : row_of(fold, fold->bars->spans[bar->parent].event);
			return parent == NULL || parent->service.len != row->service.len ||
				memcmp(parent->service.data, row->service.data, row->service.len) != 0 ? TEX_SPAN_SERVER : TEX_SPAN_CLIENT;
		case TEX_DATABASE_QUERY:
			return TEX_SPAN_CLIENT;
		case TEX_ASYNC_SPAWN:
			return TEX_SPAN_PRODUCER;
		case TEX_ASYNC_AWAIT:
			return TEX_SPAN_CONSUMER;
		default:
			return TEX_SPAN_INTERNAL;
	}
}

/* What a span is called. */
static TexOtlpString
name_of_span(const TexOutRow *row)
{
	TexOtlpString name = row->name.len > 0 ? row->name : tex_string(tex_kind_name(row->kind));

	name.len = pg_mbcliplen(name.data, name.len, LONGEST_NAME);
	return name;
}

/* Start and end: to the nanosecond where the event itself says them, else as the bar has them. */
static void
set_times(TexOutSpan *span, const Fold *fold, const TexSpan *bar, const TexOutRow *row)
{
	TimestampTz begin = fold->bars->one->extent.started;
	int64		usecs = bar == NULL ? 0 : bar->end - bar->start;

	if (bar != NULL && (row->stamped_at_end || begin + bar->start != row->at))
		span->start = tex_out_nanoseconds(begin + bar->start);
	else
		span->start = tex_out_time(row);
	if (row->duration >= 0 && bar != NULL && row->duration / 1000 - usecs <= 1 && usecs - row->duration / 1000 <= 1)
		span->end = span->start > PG_UINT64_MAX - row->duration ? PG_UINT64_MAX : span->start + row->duration;
	else if (bar != NULL)
		span->end = Max(tex_out_nanoseconds(begin + bar->end), span->start);
	else
		span->end = span->start;
}

/* The attributes of a span that was folded of an event and what answered it. */
static void
add_attributes(TexOutSpan *span, const TexOutRow *row, const TexOutRow *answer)
{
	TexOutList *list = &span->attributes;

	if (row->kind == TEX_HTTP_REQUEST)
		add_request(list, row->name);
	else if (row->kind == TEX_DATABASE_QUERY)
	{
		tex_out_add_text(list, "db.system.name", tex_string("other_sql"));
		tex_out_add_text(list, "db.query.text", row->name);
	}
	else if (row->kind == TEX_FUNCTION_CALL)
		tex_out_add_text(list, "code.function.name", row->name);
	else if (row->name.len > LONGEST_NAME)
		tex_out_add_text(list, "trace_ext.name", row->name);
	if (!is_moment(row->kind))
		add_fields(list, row, "");
	if (answer != NULL && !is_moment(answer->kind))
	{
		add_fields(list, answer, "response.");
		tex_out_add_text(list, "trace_ext.answer_id", uuid_text(&answer->id));
	}
	add_columns(list, row);
	tex_out_drop_repeated(list);
}

/* What went wrong: the span's own response, or the first error in it. */
static void
set_status(TexOutSpan *span, const TexOutRow *answer, bool failed)
{
	if (!failed)
		return;
	span->status_code = TEX_STATUS_ERROR;
	for (int i = 0; i < span->npoints && span->status_message.len == 0; i++)
	{
		const TexOutList *attributes = &span->points[i].attributes;

		if (tex_out_find(attributes, "exception.type") == NULL && tex_out_find(attributes, "exception.message") == NULL)
			continue;
		span->status_message = tex_out_find_text(attributes, "exception.message");
		if (span->status_message.len == 0)
			span->status_message = tex_out_find_text(attributes, "exception.type");
	}
	if (span->status_message.len == 0 && answer != NULL)
		span->status_message = answer->name;
}

/* An event as a point of a span, by time. */
static void
add_point(TexOutSpan *span, const TexOutRow *row)
{
	TexOutPoint *point = tex_out_new_point(span);

	tex_out_point(point, row, false);
	tex_out_add_text(&point->attributes, "trace_ext.event_id", uuid_text(&row->id));
	tex_out_drop_repeated(&point->attributes);
	point->ordinal = span->npoints;
}

/* For qsort(): by time, else as they came. */
static int
compare_points(const void *a, const void *b)
{
	const TexOutPoint *x = a;
	const TexOutPoint *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

/* Links to spans of other traces that the room render knows. */
static void
add_links(TexOutSpan *span, const Fold *fold, const TexSpan *bar)
{
	int			n = 0;

	if (bar->nlinks == 0)
		return;
	span->links = palloc0(sizeof(TexOutLink) * bar->nlinks);
	tex_foreach_link(link, fold->bars, bar)
	{
		TexOtlpString hex = tex_string(link->span_id == NULL ? "" : link->span_id);
		uint8		bytes[TEX_OTLP_SPAN_ID_LEN];
		char	   *trace_id = palloc(2 * UUID_LEN + 1);

		/* Only what has the form of an id can be linked to, and links point backwards. */
		if (link->is_out || !tex_otlp_span_bytes(hex.data, hex.len, bytes) || tex_otlp_is_zero(bytes, TEX_SPAN_ID_LEN))
			continue;
		trace_id[hex_encode((const char *) link->trace_id.data, UUID_LEN, trace_id)] = '\0';
		span->links[n].trace_id = tex_string(trace_id);
		span->links[n++].span_id = hex;
	}
	span->nlinks = n;
}

/* A span of a bar; of an event alone, in a bar that came by OpenTelemetry, where "bar" is NULL. */
static void
add_span(Fold *fold, const TexSpan *bar, const TexOutRow *row, const TexOutRow *parent)
{
	TexOutSpan *span = tex_out_new_span(fold->trace);
	const TexOutRow *answer = bar == NULL ? NULL : row_of(fold, bar->answer);

	set_span_id(span->span_id, row);
	if (parent != NULL)
		set_span_id(span->parent_id, parent);
	else if (row->has_parent && (bar == NULL || !(bar->flags & TEX_SPAN_CYCLE)) &&
			 memcmp(&row->parent_id, &row->id, sizeof(pg_uuid_t)) != 0)
	{
		TexOutRow	missing = {.id = row->parent_id};

		set_span_id(span->parent_id, &missing);
	}
	span->name = name_of_span(row);
	span->kind = kind_of_span(fold, bar, row);
	set_times(span, fold, bar, row);
	add_attributes(span, row, answer);
	if (is_moment(row->kind))
		add_point(span, row);
	if (answer != NULL && is_moment(answer->kind))
		add_point(span, answer);
	if (bar != NULL)
	{
		tex_foreach_mark(mark, fold->bars, bar)
		{
			const TexOutRow *at = row_of(fold, mark->event);

			if (at != NULL && !at->is_taken && at != answer)
				add_point(span, at);
		}
		add_links(span, fold, bar);
	}
	qsort(span->points, span->npoints, sizeof(TexOutPoint), compare_points);
	set_status(span, answer, bar != NULL ? (bar->flags & TEX_SPAN_ERROR) != 0 : row->kind == TEX_ERROR);
	span->resource = tex_out_resource(fold->sources, 0, row);
	span->scope = tex_out_scope(fold->sources, 0);
	span->thread = row->thread;
}

/*
 * A bar that came by OpenTelemetry goes out as it came: what else was folded into it, its answer
 * and what happened in it, become spans below it.  An answer that is a bar too, as its parent is
 * missing, is a span already.
 */
static void
add_events_of_taken(Fold *fold, const TexSpan *bar, const TexOutRow *row)
{
	const TexOutRow *answer = row_of(fold, bar->answer);

	if (answer != NULL && !answer->is_taken &&
		fold->bars->spans[fold->bars->span_of[bar->answer]].event != bar->answer)
		add_span(fold, NULL, answer, row);
	tex_foreach_mark(mark, fold->bars, bar)
	{
		const TexOutRow *at = row_of(fold, mark->event);

		if (at != NULL && !at->is_taken && at != answer)
			add_span(fold, NULL, at, row);
	}
}

/* The rows of events, which come in the same order; the bars may know events of other traces. */
static void
find_rows(Fold *fold, int n)
{
	const TexOneTrace *one = fold->bars->one;
	int			next = 0;

	fold->row_of = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int32) * (Size) Max(one->n, 1));
	for (int32 e = 0; e < one->n; e++)
		fold->row_of[e] = tex_is_home(one, e) && next < n ? next++ : -1;
}

/* For qsort(): spans by start. */
static int
compare_spans(const void *a, const void *b)
{
	const TexOutSpan *x = a;
	const TexOutSpan *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return memcmp(x->span_id, y->span_id, TEX_SPAN_ID_LEN);
}

/*
 * Adds spans for the rows of a trace that nothing has taken.  Call within an SPI connection.
 */
void
tex_out_fold(TexOutTrace *trace, TexOutSources *sources, const pg_uuid_t *id, const TexOutRow *rows, int n)
{
	Fold		fold = {trace, sources, tex_spans_load(id, 0), rows, NULL};

	if (fold.bars == NULL)
		return;
	find_rows(&fold, n);
	for (int32 i = 0; i < fold.bars->n; i++)
	{
		const TexSpan *bar = &fold.bars->spans[i];
		const TexOutRow *row = row_of(&fold, bar->event);
		const TexOutRow *parent = bar->parent == TEX_NO_SPAN ? NULL : row_of(&fold, fold.bars->spans[bar->parent].event);

		CHECK_FOR_INTERRUPTS();
		if (row == NULL)
			continue;
		if (row->is_taken)
			add_events_of_taken(&fold, bar, row);
		else
			add_span(&fold, bar, row, parent);
	}
	qsort(trace->spans, trace->nspans, sizeof(TexOutSpan), compare_spans);
}
