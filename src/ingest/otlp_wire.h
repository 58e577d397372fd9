/*
 * otlp_wire.h
 *		Reads requests of OpenTelemetry in protobuf.
 */
#ifndef TEX_OTLP_WIRE_H
#define TEX_OTLP_WIRE_H

#include "ingest/otlp.h"

extern void tex_otlp_read_wire(TexOtlpReader *reader, const char *body, int len);

#endif							/* TEX_OTLP_WIRE_H */
