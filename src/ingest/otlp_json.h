/*
 * otlp_json.h
 *		Reads requests of OpenTelemetry in JSON.
 */
#ifndef TEX_OTLP_JSON_H
#define TEX_OTLP_JSON_H

#include "ingest/otlp.h"

extern void tex_otlp_read_json(TexOtlpReader *reader, const char *body, int len);

#endif							/* TEX_OTLP_JSON_H */
