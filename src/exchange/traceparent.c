/*
 * traceparent.c
 *		The header by which services hand on which request they work for: W3C Trace Context.
 *
 *	version "-" trace-id "-" parent-id "-" trace-flags			00-32 digits-16 digits-2 digits
 *
 * Digits are hexadecimal and in lower case.  Zeros are no id, and version ff is none.  Of a
 * version that is to come the first four fields are read, and what follows them, if anything,
 * begins with "-".  As that specification has it, a header that breaks a rule is to be treated as
 * if it were not there: NULL, and no error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "common/hex.h"
#include "exchange/traceparent.h"

#define HEADER_LEN 55
#define TRACE_ID_AT 3
#define SPAN_ID_AT 36
#define FLAGS_AT 53

PG_FUNCTION_INFO_V1(tex_parse_traceparent);
PG_FUNCTION_INFO_V1(tex_format_traceparent);

/* The fields of a header without blanks around it; false where it is malformed. */
bool
tex_read_traceparent(const char *text, size_t len, TexTraceparent *header)
{
	return len >= HEADER_LEN && text[TRACE_ID_AT - 1] == '-' && text[SPAN_ID_AT - 1] == '-' && text[FLAGS_AT - 1] == '-' &&
		tex_hex_bytes(text, &header->version, 1) && tex_hex_bytes(text + TRACE_ID_AT, header->trace_id.data, UUID_LEN) &&
		tex_hex_bytes(text + SPAN_ID_AT, header->span_id, TEX_SPAN_ID_LEN) && tex_hex_bytes(text + FLAGS_AT, &header->flags, 1) &&
		header->version != 0xFF && (len == HEADER_LEN || (header->version > 0 && text[HEADER_LEN] == '-')) &&
		!tex_otlp_is_zero(header->trace_id.data, UUID_LEN) && !tex_otlp_is_zero(header->span_id, TEX_SPAN_ID_LEN);
}

/*
 * parse_traceparent(traceparent text) returns (version int, trace_id uuid, span_id text, flags int,
 * sampled boolean); all NULL where it is no such header.
 */
Datum
tex_parse_traceparent(PG_FUNCTION_ARGS)
{
	text	   *header = PG_GETARG_TEXT_PP(0);
	const char *data = VARDATA_ANY(header);
	int			len = VARSIZE_ANY_EXHDR(header);
	TexTraceparent fields;
	TupleDesc	desc;
	Datum		values[5];
	bool		isnull[5] = {true, true, true, true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	/* Blanks around a value of a header do not count. */
	while (len > 0 && (data[len - 1] == ' ' || data[len - 1] == '\t'))
		len--;
	while (len > 0 && (data[0] == ' ' || data[0] == '\t'))
	{
		data++;
		len--;
	}
	if (tex_read_traceparent(data, len, &fields))
	{
		memset(isnull, false, sizeof(isnull));
		values[0] = Int32GetDatum(fields.version);
		values[1] = UUIDPGetDatum(&fields.trace_id);
		values[2] = PointerGetDatum(cstring_to_text_with_len(data + SPAN_ID_AT, 2 * TEX_SPAN_ID_LEN));
		values[3] = Int32GetDatum(fields.flags);
		values[4] = BoolGetDatum((fields.flags & 1) != 0);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}

/*
 * format_traceparent(trace_id uuid, span_id text, sampled boolean) returns text; version 00
 */
Datum
tex_format_traceparent(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *trace_id = PG_GETARG_UUID_P(0);
	char	   *span = text_to_cstring(PG_GETARG_TEXT_PP(1));
	uint8		span_id[TEX_SPAN_ID_LEN];
	char		header[HEADER_LEN + 1];

	for (char *c = span; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	if (strlen(span) != 2 * TEX_SPAN_ID_LEN || !tex_hex_bytes(span, span_id, TEX_SPAN_ID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("span_id is not of 16 hexadecimal digits")));
	if (tex_otlp_is_zero(trace_id->data, UUID_LEN) || tex_otlp_is_zero(span_id, TEX_SPAN_ID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an id of zeros is no id in a traceparent")));
	strcpy(header, "00-");
	hex_encode((const char *) trace_id->data, UUID_LEN, header + TRACE_ID_AT);
	snprintf(header + SPAN_ID_AT - 1, sizeof(header) - SPAN_ID_AT + 1, "-%s-%02x", span, PG_GETARG_BOOL(2) ? 1 : 0);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(header, HEADER_LEN));
}
