/*
 * otlp_map.h
 *		From a span or log record of OpenTelemetry to rows of events.
 */
#ifndef TEX_OTLP_MAP_H
#define TEX_OTLP_MAP_H

#include "ingest/batch.h"
#include "ingest/otlp.h"

typedef struct TexOtlpMap TexOtlpMap;

extern TexOtlpMap *tex_otlp_map(TexOtlpReader *reader, TexBatch *batch);
extern void tex_otlp_map_resource(TexOtlpMap *map, int64 id);
extern void tex_otlp_map_scope(TexOtlpMap *map, int64 id);
extern bool tex_otlp_map_record(TexOtlpMap *map);

#endif							/* TEX_OTLP_MAP_H */
