/*
 * collect.c
 *		Reads a trace and makes of it what goes out: spans and log records.
 *
 * Rows come in the order of time and id, which is that of a history, so what is folded
 * (folded.c) finds the row of an event by its place.  Which rows a span of OpenTelemetry became
 * their ids tell, as ingest/otlp_map.c makes them:
 *
 *	ordinal 0			the start of a span, which holds all that its events do not say
 *	1 and up			the events of the span, by their place
 *	the three highest	what was made of the span itself, and so says nothing new
 *	the highest bit		a log record
 *
 * A row that has the form of one of these without being it, as it was inserted by hand, or one
 * whose span has gone, is an event like all others.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/hsearch.h"

#include "exchange/outgoing.h"
#include "races/overlaps.h"
#include "store/trace_range.h"

#define FETCH_ROWS 1000

/* Ordinals from here on are of what is at the end of a span. */
#define FIRST_AT_END 0x7FFFFFFD
#define OF_A_LOG 0x80000000

enum
{
	COL_ID, COL_PARENT_ID, COL_AT, COL_KIND, COL_NAME, COL_SERVICE, COL_INSTANCE, COL_PROCESS, COL_THREAD,
	COL_ENVIRONMENT, COL_SPAN, COL_UPSTREAM, COL_DURATION, COL_AT_END, COL_ATTRIBUTES, COL_TAGS, COL_CLOCK, COL_LOCKS,
	COL_COUNT
};

static const char rows_query[] =
	"SELECT id, parent_id, \"timestamp\", kind, name, service_name, instance_id, process_id, thread_id, "
	"environment, span_id, upstream_span_id, duration_ns, stamped_at_end, attributes, tags, "
	"causality_vector::pg_catalog.text, pg_catalog.to_jsonb(lock_set) "
	"FROM trace_ext.events WHERE trace_id OPERATOR(pg_catalog.=) $1 "
	"AND \"timestamp\" OPERATOR(pg_catalog.>=) $2 AND \"timestamp\" OPERATOR(pg_catalog.<=) $3 "
	"ORDER BY \"timestamp\", id";

/* The rows of a trace. */
typedef struct Rows
{
	TexOutRow  *rows;
	int			n;
	int			room;
} Rows;

/* Which span has the id. */
typedef struct SpanEntry
{
	uint8		id[TEX_SPAN_ID_LEN];
	int			place;			/* among the spans */
} SpanEntry;

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */
/* The text of a column, copied; nothing for NULL. */
static TexOtlpString
copy_text(Datum value, bool isnull)
{
	text	   *from;

	if (isnull)
		return tex_string("");
	from = DatumGetTextPP(value);
	return (TexOtlpString) {pnstrdup(VARDATA_ANY(from), VARSIZE_ANY_EXHDR(from)), VARSIZE_ANY_EXHDR(from)};
}

static Jsonb *
copy_jsonb(Datum value, bool isnull)
{
	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

/* Takes a row over. */
static void
add_row(Rows *rows, HeapTuple tuple, TupleDesc desc)
{
	Datum		values[COL_COUNT];
	bool		isnull[COL_COUNT];
	TexOutRow  *row;

	if (rows->n == rows->room)
	{
		rows->room = Max(rows->room * 2, 64);
		rows->rows = rows->rows == NULL ? palloc(sizeof(TexOutRow) * rows->room) :
			repalloc_huge(rows->rows, sizeof(TexOutRow) * rows->room);
	}
	row = &rows->rows[rows->n++];
	memset(row, 0, sizeof(*row));
	heap_deform_tuple(tuple, desc, values, isnull);
	row->id = *DatumGetUUIDP(values[COL_ID]);
	row->has_parent = !isnull[COL_PARENT_ID];
	if (row->has_parent)
		row->parent_id = *DatumGetUUIDP(values[COL_PARENT_ID]);
	row->at = DatumGetTimestampTz(values[COL_AT]);
	row->kind = tex_kind_by_oid(DatumGetObjectId(values[COL_KIND]));
	row->has_name = !isnull[COL_NAME];
	row->name = copy_text(values[COL_NAME], isnull[COL_NAME]);
	row->service = copy_text(values[COL_SERVICE], isnull[COL_SERVICE]);
	row->instance = copy_text(values[COL_INSTANCE], isnull[COL_INSTANCE]);
	row->process = isnull[COL_PROCESS] ? -1 : DatumGetInt32(values[COL_PROCESS]);
	row->thread = copy_text(values[COL_THREAD], isnull[COL_THREAD]);
	row->environment = copy_text(values[COL_ENVIRONMENT], isnull[COL_ENVIRONMENT]);
	row->span_id = copy_text(values[COL_SPAN], isnull[COL_SPAN]);
	row->upstream_span_id = copy_text(values[COL_UPSTREAM], isnull[COL_UPSTREAM]);
	row->duration = isnull[COL_DURATION] ? -1 : Max(DatumGetInt64(values[COL_DURATION]), 0);
	row->stamped_at_end = !isnull[COL_AT_END] && DatumGetBool(values[COL_AT_END]);
	row->attributes = copy_jsonb(values[COL_ATTRIBUTES], isnull[COL_ATTRIBUTES]);
	row->tags = copy_jsonb(values[COL_TAGS], isnull[COL_TAGS]);
	row->clock = copy_text(values[COL_CLOCK], isnull[COL_CLOCK]);
	row->locks = copy_jsonb(values[COL_LOCKS], isnull[COL_LOCKS]);
}

/* The rows of a trace, by time and id; see load_rows() of history/trace_load.c. */
static void
read_rows(Rows *rows, const pg_uuid_t *id)
{
	Oid			types[3] = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	TexRange	range = tex_range_of(tex_ranges_create(), id, 1);
	Datum		args[3] = {UUIDPGetDatum(id), TimestampTzGetDatum(range.first), TimestampTzGetDatum(range.last)};
	int			nesting = tex_no_jit();
	Portal		portal = SPI_cursor_open_with_args(NULL, rows_query, 3, types, args, NULL, true, CURSOR_OPT_NO_SCROLL);

	AtEOXact_GUC(false, nesting);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			CHECK_FOR_INTERRUPTS();
			add_row(rows, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(portal);
}

/* ----------------------------------------------------------------
 *		Times and ids
 * ----------------------------------------------------------------
 */
/* Nanoseconds since 1970; what was before is the first of them, as formats have no earlier ones. */
uint64
tex_out_nanoseconds(TimestampTz at)
{
	int64		usecs = at + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	if (usecs <= 0)
		return 1;
	return (uint64) usecs > PG_UINT64_MAX / 1000 ? PG_UINT64_MAX : (uint64) usecs * 1000;
}

/* When an event was, in nanoseconds, of which the last three digits are among its attributes. */
uint64
tex_out_time(const TexOutRow *row)
{
	uint64		time = tex_out_nanoseconds(row->at);
	int64		rest = tex_out_int(tex_out_attributes(row), "timestamp_ns", 0);

	return rest > 0 && rest < 1000 && time % 1000 == 0 && time <= PG_UINT64_MAX - 1000 ? time + rest : time;
}

/* Bytes 8 to 11 of an id. */
static uint32
ordinal_of(const pg_uuid_t *id)
{
	return (uint32) id->data[8] << 24 | (uint32) id->data[9] << 16 | (uint32) id->data[10] << 8 | id->data[11];
}

/* Is it an id that a span of this trace gives? */
static bool
is_of_span(const pg_uuid_t *id, const uint8 *trace_id)
{
	for (int i = 0; i < 4; i++)
	{
		if (id->data[12 + i] != (trace_id[i] ^ trace_id[4 + i] ^ trace_id[8 + i] ^ trace_id[12 + i]))
			return false;
	}
	return !tex_otlp_is_zero(id->data, TEX_SPAN_ID_LEN);
}

/* A resource's or scope's number; 0: none. */
static int64
source_of(const TexOutRow *row, const char *key)
{
	return tex_out_int(tex_out_object(tex_out_attributes(row), "otlp"), key, 0);
}

/* ----------------------------------------------------------------
 *		Spans of OpenTelemetry
 * ----------------------------------------------------------------
 */
/* A new span, all zeros. Pointers to others are no longer valid. */
TexOutSpan *
tex_out_new_span(TexOutTrace *trace)
{
	if (trace->nspans == trace->spans_room)
	{
		trace->spans_room = Max(trace->spans_room * 2, 32);
		trace->spans = trace->spans == NULL ? palloc(sizeof(TexOutSpan) * trace->spans_room) :
			repalloc_huge(trace->spans, sizeof(TexOutSpan) * trace->spans_room);
	}
	memset(&trace->spans[trace->nspans], 0, sizeof(TexOutSpan));
	return &trace->spans[trace->nspans++];
}

/* A new point of a span, all zeros. */
TexOutPoint *
tex_out_new_point(TexOutSpan *span)
{
	if (span->npoints == span->points_room)
	{
		span->points_room = Max(span->points_room * 2, 4);
		span->points = span->points == NULL ? palloc(sizeof(TexOutPoint) * span->points_room) :
			repalloc_huge(span->points, sizeof(TexOutPoint) * span->points_room);
	}
	memset(&span->points[span->npoints], 0, sizeof(TexOutPoint));
	return &span->points[span->npoints++];
}

/* A link as it was kept. */
static void
add_link(TexOutSpan *span, JsonbContainer *kept)
{
	TexOutLink *link = &span->links[span->nlinks++];

	link->trace_id = tex_out_id(kept, "traceId", TEX_TRACE_ID_LEN);
	link->span_id = tex_out_id(kept, "spanId", TEX_SPAN_ID_LEN);
	link->trace_state = tex_out_string(kept, "traceState");
	tex_out_add_members(&link->attributes, tex_out_object(kept, "attributes"), true);
	link->dropped_attributes = tex_out_within(kept, "droppedAttributesCount", 0, PG_UINT32_MAX);
	link->flags = tex_out_within(kept, "flags", 0, PG_UINT32_MAX);
}

/* The links of a span. */
static void
add_links(TexOutSpan *span, JsonbContainer *otlp)
{
	JsonbValue	links;
	JsonbValue	v;
	JsonbIterator *it;
	JsonbIteratorToken token;

	if (!tex_out_member(otlp, "links", &links) || links.type != jbvBinary || !JsonContainerIsArray(links.val.binary.data))
		return;
	span->links = palloc0(sizeof(TexOutLink) * Max(JsonContainerSize(links.val.binary.data), 1));
	it = JsonbIteratorInit(links.val.binary.data);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM && v.type == jbvBinary && JsonContainerIsObject(v.val.binary.data))
			add_link(span, v.val.binary.data);
	}
}

/* When a span ended: as it was sent where that is not start and duration; 0: it did not say. */
static uint64
end_of(const TexOutRow *row, JsonbContainer *otlp, uint64 start)
{
	JsonbValue	value;

	if (tex_out_member(otlp, "endTimeUnixNano", &value))
		return tex_out_unsigned(otlp, "endTimeUnixNano");
	if (row->duration < 0)
		return 0;
	return start > PG_UINT64_MAX - row->duration ? PG_UINT64_MAX : start + row->duration;
}

/* The query text goes back where it was; of two attributes of one name the last one counted. */
static void
put_back_query(TexOutSpan *span, const TexOutRow *row, JsonbContainer *otlp)
{
	TexOtlpString key = tex_out_string(otlp, "query");

	if (key.len == 0)
		key = tex_string("db.query.text");
	for (int i = 0; i < span->attributes.n; i++)
	{
		TexOutAttribute *attribute = &span->attributes.items[i];

		if (attribute->key.len == key.len && memcmp(attribute->key.data, key.data, key.len) == 0)
			*attribute = span->attributes.items[--span->attributes.n];
	}
	tex_out_add_text(&span->attributes, pnstrdup(key.data, key.len), row->name);
}

/* The start of a span holds the span. */
static void
add_otlp_span(TexOutTrace *trace, TexOutSources *sources, TexOutRow *row)
{
	JsonbContainer *fields = tex_out_attributes(row);
	JsonbContainer *otlp = tex_out_object(fields, "otlp");
	JsonbContainer *status = tex_out_object(otlp, "status");
	TexOutSpan *span = tex_out_new_span(trace);
	JsonbValue	value;

	row->is_taken = true;
	memcpy(span->span_id, row->id.data, TEX_SPAN_ID_LEN);
	if (row->has_parent)
		memcpy(span->parent_id, row->parent_id.data, TEX_SPAN_ID_LEN);
	else if (tex_out_member(fields, "own_parent", &value) && value.type == jbvBool && value.val.boolean)
		memcpy(span->parent_id, span->span_id, TEX_SPAN_ID_LEN);
	if (tex_out_member(otlp, "name", &value))
		span->name = tex_out_string(otlp, "name");
	else
		span->name = row->name;
	span->kind = tex_out_within(otlp, "kind", PG_INT32_MIN, PG_INT32_MAX);
	span->start = tex_out_time(row);
	span->end = end_of(row, otlp, span->start);
	span->trace_state = tex_out_string(otlp, "traceState");
	span->flags = tex_out_within(otlp, "flags", 0, PG_UINT32_MAX);
	tex_out_add_members(&span->attributes, tex_out_object(otlp, "attributes"), true);
	if (row->kind == TEX_DATABASE_QUERY)
		put_back_query(span, row, otlp);
	span->dropped_attributes = tex_out_within(otlp, "droppedAttributesCount", 0, PG_UINT32_MAX);
	span->dropped_events = tex_out_within(otlp, "droppedEventsCount", 0, PG_UINT32_MAX);
	span->dropped_links = tex_out_within(otlp, "droppedLinksCount", 0, PG_UINT32_MAX);
	span->status_code = tex_out_within(status, "code", PG_INT32_MIN, PG_INT32_MAX);
	span->status_message = tex_out_string(status, "message");
	add_links(span, otlp);
	span->resource = tex_out_resource(sources, source_of(row, "resource"), row);
	span->scope = tex_out_scope(sources, source_of(row, "scope"));
}

/* A log record. */
static void
add_log(TexOutTrace *trace, TexOutSources *sources, TexOutRow *row)
{
	JsonbContainer *fields = tex_out_attributes(row);
	JsonbContainer *otlp = tex_out_object(fields, "otlp");
	TexOutPoint point = {0};
	TexOutLog  *log;
	JsonbValue	value;

	if (trace->nlogs == trace->logs_room)
	{
		trace->logs_room = Max(trace->logs_room * 2, 32);
		trace->logs = trace->logs == NULL ? palloc(sizeof(TexOutLog) * trace->logs_room) :
			repalloc_huge(trace->logs, sizeof(TexOutLog) * trace->logs_room);
	}
	log = &trace->logs[trace->nlogs++];
	memset(log, 0, sizeof(*log));
	row->is_taken = true;
	memcpy(log->span_id, row->id.data, TEX_SPAN_ID_LEN);
	tex_out_point(&point, row, true);
	log->time = point.time;
	log->attributes = point.attributes;
	log->dropped_attributes = point.dropped_attributes;
	if (tex_out_member(otlp, "eventName", &value) || row->kind != TEX_CUSTOM)
		log->name = tex_out_string(otlp, "eventName");
	else
		log->name = row->name;
	log->observed_time = tex_out_unsigned(otlp, "observedTimeUnixNano");
	log->severity_number = tex_out_within(otlp, "severityNumber", PG_INT32_MIN, PG_INT32_MAX);
	log->severity_text = tex_out_string(otlp, "severityText");
	log->flags = tex_out_within(otlp, "flags", 0, PG_UINT32_MAX);
	if (tex_out_member(otlp, "body", &value) || tex_out_member(fields, "data", &value))
	{
		log->body = palloc0(sizeof(TexOutValue));
		*log->body = (TexOutValue) {value, true};
	}
	log->resource = tex_out_resource(sources, source_of(row, "resource"), row);
	log->scope = tex_out_scope(sources, source_of(row, "scope"));
}

/* For qsort(): by the place among the events of the span. */
static int
compare_points(const void *a, const void *b)
{
	const TexOutPoint *x = a;
	const TexOutPoint *y = b;

	return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

/* Spans and log records that came by OpenTelemetry, in the order of their rows; the events of spans by their place. */
static void
collect_otlp(TexOutTrace *trace, TexOutSources *sources, Rows *rows)
{
	HASHCTL		ctl = {.keysize = TEX_SPAN_ID_LEN,.entrysize = sizeof(SpanEntry),.hcxt = CurrentMemoryContext};
	HTAB	   *table = hash_create("spans of a trace", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	for (int i = 0; i < rows->n; i++)
	{
		TexOutRow  *row = &rows->rows[i];
		uint32		ordinal = ordinal_of(&row->id);
		bool		found;
		SpanEntry  *entry;

		CHECK_FOR_INTERRUPTS();
		if (source_of(row, "resource") == 0)
			continue;
		if (ordinal >= OF_A_LOG)
			add_log(trace, sources, row);
		else if (ordinal == 0 && is_of_span(&row->id, trace->trace_id))
		{
			entry = hash_search(table, row->id.data, HASH_ENTER, &found);
			if (found)
				continue;		/* twice, at two times */
			entry->place = trace->nspans;
			add_otlp_span(trace, sources, row);
		}
	}
	for (int i = 0; i < rows->n; i++)
	{
		TexOutRow  *row = &rows->rows[i];
		SpanEntry  *entry;
		TexOutPoint *point;

		CHECK_FOR_INTERRUPTS();
		if (row->is_taken || !is_of_span(&row->id, trace->trace_id) || ordinal_of(&row->id) >= OF_A_LOG)
			continue;
		entry = hash_search(table, row->id.data, HASH_FIND, NULL);
		if (entry == NULL || ordinal_of(&row->id) == 0)
			continue;
		row->is_taken = true;
		if (ordinal_of(&row->id) >= FIRST_AT_END)
			continue;
		point = tex_out_new_point(&trace->spans[entry->place]);
		point->ordinal = ordinal_of(&row->id);
		tex_out_point(point, row, true);
	}
	for (int i = 0; i < trace->nspans; i++)
		qsort(trace->spans[i].points, trace->spans[i].npoints, sizeof(TexOutPoint), compare_points);
}

/*
 * A trace, in the current memory context; NULL, and a NOTICE, where no event of it is stored.
 * Call within an SPI connection; reads with the caller's rights.
 */
TexOutTrace *
tex_out_collect(TexOutSources *sources, const pg_uuid_t *id)
{
	TexOutTrace *trace = palloc0(sizeof(TexOutTrace));
	Rows		rows = {0};
	bool		all_taken = true;

	read_rows(&rows, id);
	if (rows.n == 0)
	{
		tex_notice_unknown_trace(id);
		return NULL;
	}
	memcpy(trace->trace_id, id->data, TEX_TRACE_ID_LEN);
	collect_otlp(trace, sources, &rows);
	for (int i = 0; i < rows.n && all_taken; i++)
		all_taken = rows.rows[i].is_taken;
	if (!all_taken)
		tex_out_fold(trace, sources, id, rows.rows, rows.n);
	if (tex_otlp_is_zero(trace->trace_id, TEX_TRACE_ID_LEN))
		memset(trace->trace_id, 0xFF, TEX_TRACE_ID_LEN);	/* zeros are no id */
	return trace;
}
