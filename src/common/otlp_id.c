/*
 * otlp_id.c
 *		The id of the first event of a span of OpenTelemetry, from the span's id as text.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "common/otlp_id.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(tex_otlp_start_id);

bool
tex_otlp_start_of(pg_uuid_t *id, const pg_uuid_t *trace_id, const text *span)
{
	uint8		bytes[TEX_OTLP_SPAN_ID_LEN];

	if (!tex_otlp_span_bytes(VARDATA_ANY(span), VARSIZE_ANY_EXHDR(span), bytes))
		return false;
	tex_otlp_make_id(id, trace_id->data, bytes, 0);
	return true;
}

/*
 * otlp_start_id(trace_id uuid, span_id text) returns uuid
 *
 * NULL where the latter is not 16 lower-case hexadecimal digits.
 */
Datum
tex_otlp_start_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	if (!tex_otlp_start_of(id, PG_GETARG_UUID_P(0), PG_GETARG_TEXT_PP(1)))
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(id);
}
