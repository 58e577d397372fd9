/*
 * otlp_id.c
 *		The id of the first event of a span of OpenTelemetry, for SQL.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "common/otlp_id.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(tex_otlp_start_id);

/*
 * otlp_start_id(trace_id uuid, span_id text) returns uuid
 *
 * NULL where the latter is not 16 lower-case hexadecimal digits.
 */
Datum
tex_otlp_start_id(PG_FUNCTION_ARGS)
{
	text	   *span = PG_GETARG_TEXT_PP(1);
	uint8		bytes[TEX_OTLP_SPAN_ID_LEN];
	pg_uuid_t  *id;

	if (!tex_otlp_span_bytes(VARDATA_ANY(span), VARSIZE_ANY_EXHDR(span), bytes))
		PG_RETURN_NULL();
	id = palloc(sizeof(pg_uuid_t));
	tex_otlp_make_id(id, PG_GETARG_UUID_P(0)->data, bytes, 0);
	PG_RETURN_UUID_P(id);
}
