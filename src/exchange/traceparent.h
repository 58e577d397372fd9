/*
 * traceparent.h
 *		The header by which services hand on which request they work for.
 */
#ifndef TEX_TRACEPARENT_H
#define TEX_TRACEPARENT_H

#include "utils/uuid.h"

#include "ingest/otlp.h"

typedef struct TexTraceparent
{
	uint8		version;
	pg_uuid_t	trace_id;
	uint8		span_id[TEX_SPAN_ID_LEN];
	uint8		flags;
} TexTraceparent;

extern bool tex_read_traceparent(const char *text, size_t len, TexTraceparent *header);

#endif							/* TEX_TRACEPARENT_H */
