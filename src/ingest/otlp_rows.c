/*
 * otlp_rows.c
 *		A row of events that a span or log record of OpenTelemetry becomes, column by column.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/otlp_id.h"
#include "ingest/otlp_rows.h"

/* Refuses the record for one of its attributes; false, to be returned. */
bool
tex_row_refuse(TexOtlpMap *map, TexKnown known, const char *why)
{
	map->reader->field = "attributes";
	map->reader->key = tex_known_names[known];
	return tex_otlp_refuse(map->reader, why);
}

void
tex_row_set(TexEventRow *row, int column, Datum value)
{
	row->values[column] = value;
	row->isnull[column] = false;
}

/* Sets a column, which is null where the text is empty. */
void
tex_row_set_text(TexEventRow *row, int column, TexOtlpString text)
{
	row->isnull[column] = text.len == 0;
	if (text.len > 0)
		row->values[column] = PointerGetDatum(cstring_to_text_with_len(text.data, text.len));
}

/* A span id as text. */
Datum
tex_row_hex(const uint8 *id)
{
	text	   *hex = palloc(VARHDRSZ + 2 * TEX_SPAN_ID_LEN);

	SET_VARSIZE(hex, VARHDRSZ + 2 * TEX_SPAN_ID_LEN);
	hex_encode((const char *) id, TEX_SPAN_ID_LEN, VARDATA(hex));
	return PointerGetDatum(hex);
}

/* The id of an event of a span. */
void
tex_row_make_id(pg_uuid_t *id, const TexOtlpRecord *record, const uint8 *span_id, uint32 ordinal)
{
	tex_otlp_make_id(id, record->trace_id, span_id, ordinal);
}

/* Begins the attributes of the next row. */
void
tex_row_begin(TexOtlpMap *map)
{
	MemoryContextReset(map->row_context);
	MemoryContextSwitchTo(map->row_context);
	tex_object_begin(&map->object);
	map->row.isnull[COL_NAME] = true;
	map->row.isnull[COL_DURATION_NS] = true;
}

/* Sets the time: microseconds, and the rest among the attributes. */
void
tex_row_set_time(TexOtlpMap *map, uint64 time)
{
	map->row.timestamp = (TimestampTz) (time / 1000) -
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	tex_row_set(&map->row, COL_TIMESTAMP, TimestampTzGetDatum(map->row.timestamp));
	tex_object_number(&map->object, "timestamp_ns", time % 1000);
}

/* Ends the attributes, which are null where there are none. */
void
tex_row_end_attributes(TexOtlpMap *map)
{
	Jsonb	   *attributes = tex_object_end(&map->object);

	map->row.isnull[COL_ATTRIBUTES] = map->object.members == 0;
	map->row.values[COL_ATTRIBUTES] = JsonbPGetDatum(attributes);
}

/* Adds the row, whose id is set; the next event follows it. */
void
tex_row_end(TexOtlpMap *map, TexKind kind)
{
	tex_row_set(&map->row, COL_KIND, ObjectIdGetDatum(tex_kind_oid(kind)));
	tex_batch_add(map->batch, &map->row);
	map->row.parent_id = map->row.id;
	map->row.isnull[COL_PARENT_ID] = false;
}
