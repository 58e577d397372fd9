/*
 * otlp_id.h
 *		What the ids of events of OpenTelemetry are made of.
 *
 *	bytes 0-7	the id of the span
 *	bytes 8-11	the ordinal: 0 the start, 1 and up the span's own events by their place, the
 *				highest what is at its end
 *	bytes 12-15	of the trace id, for those who look at the ids of events alone
 *
 * A log record has no place; the last eight bytes are a hash of its content, with the highest bit
 * set, which ordinals leave clear.
 */
#ifndef TEX_OTLP_ID_H
#define TEX_OTLP_ID_H

#include "utils/builtins.h"
#include "utils/uuid.h"

#include "common/hex.h"

#define TEX_OTLP_SPAN_ID_LEN 8

/* The lowest ordinal of what is at the end of a span. */
#define TEX_OTLP_AT_END 0x7FFFFFFD

/* Of an event that has a place in its span. */
static inline void
tex_otlp_make_id(pg_uuid_t *id, const uint8 *trace_id, const uint8 *span_id, uint32 ordinal)
{
	memcpy(id->data, span_id, TEX_OTLP_SPAN_ID_LEN);
	for (int i = 0; i < 4; i++)
	{
		id->data[8 + i] = ordinal >> (24 - 8 * i) & 0xFF;
		id->data[12 + i] = trace_id[i] ^ trace_id[4 + i] ^ trace_id[8 + i] ^ trace_id[12 + i];
	}
}

/* Whether the id of an event of OpenTelemetry is a log record's. */
static inline bool
tex_otlp_is_log(const pg_uuid_t *id)
{
	return (id->data[8] & 0x80) != 0;
}

/* The ordinal of one that is none. */
static inline uint32
tex_otlp_ordinal(const pg_uuid_t *id)
{
	return (uint32) id->data[8] << 24 | (uint32) id->data[9] << 16 | (uint32) id->data[10] << 8 | id->data[11];
}

/* The id of the span, in 16 hexadecimal digits and a NUL, as the column span_id has it. */
static inline void
tex_otlp_span_text(const pg_uuid_t *id, char *text)
{
	hex_encode((const char *) id->data, TEX_OTLP_SPAN_ID_LEN, text);
	text[2 * TEX_OTLP_SPAN_ID_LEN] = '\0';
}

/* The id of a span from such text; false where that is none. */
static inline bool
tex_otlp_span_bytes(const char *text, int len, uint8 *bytes)
{
	return len == 2 * TEX_OTLP_SPAN_ID_LEN && tex_hex_bytes(text, bytes, TEX_OTLP_SPAN_ID_LEN);
}

/* The id of the first event of a span, whose id is text; false where that is none. */
extern bool tex_otlp_start_of(pg_uuid_t *id, const pg_uuid_t *trace_id, const text *span);

/* Whether an event of a trace has an id that ingest_otlp() gives to events of a span. */
static inline bool
tex_otlp_is_id_of(const pg_uuid_t *id, const pg_uuid_t *trace_id, const char *span)
{
	char		text[2 * TEX_OTLP_SPAN_ID_LEN + 1];
	pg_uuid_t	made;

	if (span == NULL)
		return false;
	tex_otlp_span_text(id, text);
	if (strcmp(text, span) != 0)
		return false;
	tex_otlp_make_id(&made, trace_id->data, id->data, 0);
	return tex_otlp_is_log(id) || memcmp(&made.data[12], &id->data[12], 4) == 0;
}

#endif							/* TEX_OTLP_ID_H */
