/*
 * otlp_map.c
 *		From a span or log record of OpenTelemetry to rows of events.
 *
 * docs/otlp.md has the table of what becomes what.  The events of a span form a chain, its
 * start first, the others by time; the first one follows the first event of the parent span.
 *
 * Ids are made of span and ordinal, so a span that is delivered again gives the same events, and
 * what an event follows is known before it comes: see common/otlp_id.h.
 *
 * What a column or a field of the kind holds word for word is not kept again among the attributes
 * of the span, where its name tells which it was: see tex_mark_moved().
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ingest/otlp_rows.h"

/* As in the constraints of the table. */
#define MAX_SERVICE_NAME 512

/* Maps what the reader hands over to rows of the batch. Lives as long as the current memory context. */
TexOtlpMap *
tex_otlp_map(TexOtlpReader *reader, TexBatch *batch)
{
	TexOtlpMap *map = palloc0(sizeof(TexOtlpMap));

	map->reader = reader;
	map->batch = batch;
	map->row_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext event", ALLOCSET_DEFAULT_SIZES);
	map->step_room = 64;
	map->steps = palloc(sizeof(TexOtlpStep) * map->step_room);
	memset(map->row.isnull, true, sizeof(map->row.isnull));
	tex_row_set(&map->row, COL_TRACE_ID, UUIDPGetDatum(&map->row.trace_id));
	tex_row_set(&map->row, COL_ID, UUIDPGetDatum(&map->row.id));
	map->row.values[COL_PARENT_ID] = UUIDPGetDatum(&map->row.parent_id);
	return map;
}

/*
 * Takes the resource that was read, in its memory context, for the records to come: who sent them.
 * An instance without a name of its own is its pod or host, and its process.  Sets a reason where
 * none of them can be taken.
 */
void
tex_otlp_map_resource(TexOtlpMap *map, int64 id)
{
	TexOtlpReader *reader = map->reader;
	TexEventRow *row = &map->row;
	TexFound	found;
	TexOtlpString service;
	TexOtlpString instance;
	int64		process = -1;

	map->resource_id = id;
	tex_find_known(&reader->resource.attributes, &found);
	service = tex_text_of(found.of[ATTR_SERVICE_NAME]);
	if (service.len > MAX_SERVICE_NAME)
		tex_row_refuse(map, ATTR_SERVICE_NAME, psprintf("longer than %d bytes", MAX_SERVICE_NAME));
	tex_row_set_text(row, COL_SERVICE_NAME, service);
	tex_row_set_text(row, COL_ENVIRONMENT, tex_text_of(tex_either(&found, ATTR_ENVIRONMENT, ATTR_OLD_ENVIRONMENT)));

	row->isnull[COL_PROCESS_ID] = !tex_number_of(found.of[ATTR_PROCESS_ID], &process) || process < 0 || process > PG_INT32_MAX;
	if (!row->isnull[COL_PROCESS_ID])
		row->values[COL_PROCESS_ID] = Int32GetDatum((int32) process);

	instance = tex_text_of(found.of[ATTR_SERVICE_INSTANCE]);
	if (instance.len == 0)
	{
		instance = tex_text_of(tex_either(&found, ATTR_POD_NAME, ATTR_HOST_NAME));
		if (instance.len > 0 && !row->isnull[COL_PROCESS_ID])
		{
			instance.data = psprintf("%.*s:%d", instance.len, instance.data, (int) process);
			instance.len = strlen(instance.data);
		}
	}
	tex_row_set_text(row, COL_INSTANCE_ID, instance);
}

/* Takes the scope that was read for the records to come. */
void
tex_otlp_map_scope(TexOtlpMap *map, int64 id)
{
	map->scope_id = id;
}

/*
 * Adds the rows of the record that was read, in whose memory context this is called.  False and a
 * reason where it is refused; then no row of it is added.
 */
bool
tex_otlp_map_record(TexOtlpMap *map)
{
	TexOtlpRecord *record = &map->reader->record;
	MemoryContext old = CurrentMemoryContext;
	int			rows = map->batch->row_count;
	bool		mapped;

	tex_find_known(&record->attributes, &map->found);
	memcpy(map->row.trace_id.data, record->trace_id, UUID_LEN);
	/* A span is what runs in sequence; threads, which it may change, are among its attributes. */
	map->row.isnull[COL_SPAN_ID] = map->row.isnull[COL_THREAD_ID] = tex_otlp_is_zero(record->span_id, TEX_SPAN_ID_LEN);
	if (!map->row.isnull[COL_SPAN_ID])
		map->row.values[COL_SPAN_ID] = map->row.values[COL_THREAD_ID] = tex_row_hex(record->span_id);
	mapped = record->is_log ? tex_otlp_map_log(map) : tex_otlp_map_span(map);
	MemoryContextSwitchTo(old);
	if (!mapped)
	{
		map->reader->reason = pstrdup(map->reader->reason);
		tex_batch_cut(map->batch, rows);
	}
	return mapped;
}
