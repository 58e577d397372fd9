/*
 * otlp_rows.h
 *		What the files share that map spans and log records of OpenTelemetry to rows of events.
 */
#ifndef TEX_OTLP_ROWS_H
#define TEX_OTLP_ROWS_H

#include "common/event.h"
#include "ingest/batch.h"
#include "ingest/otlp.h"
#include "ingest/otlp_attributes.h"
#include "ingest/otlp_known.h"
#include "ingest/otlp_map.h"

/* An event of the span that is being mapped. */
typedef struct TexOtlpStep
{
	uint64		time;
	uint32		ordinal;
} TexOtlpStep;

struct TexOtlpMap
{
	TexOtlpReader *reader;
	TexBatch   *batch;
	MemoryContext row_context;
	int64		resource_id;
	int64		scope_id;
	TexEventRow row;			/* with what all events of the resource, then of the span have */
	TexFound		found;			/* in the span */
	TexKind		kind;			/* of the first event of the span */
	TexObject	object;			/* the attributes of the event */
	TexOtlpStep	   *steps;
	int			step_room;
};

/* otlp_rows.c */
extern bool tex_row_refuse(TexOtlpMap *map, TexKnown known, const char *why);
extern void tex_row_set(TexEventRow *row, int column, Datum value);
extern void tex_row_set_text(TexEventRow *row, int column, TexOtlpString text);
extern Datum tex_row_hex(const uint8 *id);
extern void tex_row_make_id(pg_uuid_t *id, const TexOtlpRecord *record, const uint8 *span_id, uint32 ordinal);
extern void tex_row_begin(TexOtlpMap *map);
extern void tex_row_set_time(TexOtlpMap *map, uint64 time);
extern void tex_row_end_attributes(TexOtlpMap *map);
extern void tex_row_end(TexOtlpMap *map, TexKind kind);

/* otlp_points.c */
extern bool tex_otlp_map_point(TexOtlpMap *map, TexOtlpString name, TexFound *found, TexFound *span, TexKind *kind);

/* otlp_spans.c */
extern bool tex_otlp_map_span(TexOtlpMap *map);

/* otlp_logs.c */
extern bool tex_otlp_map_log(TexOtlpMap *map);

#endif							/* TEX_OTLP_ROWS_H */
