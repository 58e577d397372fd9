/*
 * ingest_otlp.c
 *		ingest_otlp(): stores what SDKs of OpenTelemetry export.
 *
 * A body, unpacked if it is gzip, is read by the reader of its encoding; each record becomes rows
 * of the batch or a rejection, and all is stored at the end.  Which encoding a body of bytes has is
 * told by its first byte: JSON begins with "{" or white space, a request of protobuf with 0A, the
 * tag of its only field, which for that reason is not taken for a line feed.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "guc.h"
#include "ingest/batch.h"
#include "ingest/gunzip.h"
#include "ingest/otlp.h"
#include "ingest/otlp_json.h"
#include "ingest/otlp_known.h"
#include "ingest/otlp_map.h"
#include "ingest/otlp_sources.h"
#include "ingest/otlp_wire.h"
#include "ingest/redaction.h"

/* Of the records of a body that are refused, as many are kept with their reason. */
#define MOST_REJECTIONS 1000

/* A body of few bytes may have many empty events; more rows are not collected. */
#define MOST_ROWS 1000000

/* As much of a refused record of protobuf is kept, in hexadecimal digits. */
#define KEPT_BYTES 2048

#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

PG_FUNCTION_INFO_V1(tex_ingest_otlp_jsonb);
PG_FUNCTION_INFO_V1(tex_ingest_otlp_text);
PG_FUNCTION_INFO_V1(tex_ingest_otlp_bytea);

/* What the takers of the reader work with. */
typedef struct Body
{
	TexBatch   *batch;
	TexOtlpMap *map;
	TexSources *sources;
	TexRedaction *redaction;	/* NULL: no rule is enabled */
	TexOtlpString service;		/* as it was sent */
} Body;

/* ----------------------------------------------------------------
 *		What the reader hands over
 * ----------------------------------------------------------------
 */
static void
take_resource(TexOtlpReader *reader)
{
	Body	   *body = reader->taker;

	if (body->redaction != NULL)
	{
		TexFound	found;

		tex_find_known(&reader->resource.attributes, &found);
		body->service = tex_text_of(found.of[ATTR_SERVICE_NAME]);
		tex_redaction_begin(body->redaction, body->service.data, body->service.len);
		tex_redact_resource(body->redaction, &reader->resource);
	}
	tex_otlp_map_resource(body->map, tex_sources_resource(body->sources, &reader->resource));
}

static void
take_scope(TexOtlpReader *reader)
{
	Body	   *body = reader->taker;

	/* Of a resource that was refused the service is not known, and no record is taken. */
	if (body->redaction != NULL && reader->resource_reason == NULL)
	{
		tex_redaction_begin(body->redaction, body->service.data, body->service.len);
		tex_redact_scope(body->redaction, &reader->scope);
	}
	tex_otlp_map_scope(body->map, tex_sources_scope(body->sources, &reader->scope));
}

/* An id in hexadecimal digits, or NULL. */
static char *
hex_of(const uint8 *id, int len)
{
	char	   *hex;

	if (tex_otlp_is_zero(id, len))
		return NULL;
	hex = palloc0(2 * len + 1);
	hex_encode((const char *) id, len, hex);
	return hex;
}

/* What was sent, as far as it is kept: bytes in hexadecimal digits, text without what is no character. */
static void
legible(TexOtlpReader *reader, StringInfo out)
{
	const char *p = reader->sent.data;
	const char *end = p + Min(reader->sent.len, 4 * KEPT_BYTES);

	initStringInfo(out);
	if (!reader->sent_as_text)
	{
		end = p + Min(reader->sent.len, KEPT_BYTES);
		appendStringInfoString(out, "\\x");
		enlargeStringInfo(out, 2 * (end - p));
		out->len += hex_encode(p, end - p, out->data + out->len);
		out->data[out->len] = '\0';
		return;
	}
	while (p < end)
	{
		int			valid = pg_encoding_verifymbstr(PG_UTF8, p, end - p);

		tex_otlp_append(out, p, valid);
		p += valid;
		if (p < end)
			appendStringInfoChar(out, '?');
		p++;
	}
}

/* Are the next records for another step? */
static bool
pass_over(TexOtlpReader *reader, int64 records)
{
	Body	   *body = reader->taker;

	return tex_batch_pass_over(body->batch, records, tex_sources_rows(body->sources));
}

static void
take_record(TexOtlpReader *reader)
{
	Body	   *body = reader->taker;
	StringInfoData sent;

	tex_batch_next_record(body->batch);
	if (reader->reason == NULL && body->redaction != NULL)
	{
		tex_redaction_begin(body->redaction, body->service.data, body->service.len);
		tex_redact_record(body->redaction, &reader->record);
	}
	if (reader->reason == NULL && tex_otlp_map_record(body->map))
	{
		tex_sources_use(body->sources, &reader->record);
		tex_batch_end_record(body->batch);
		if (body->batch->row_count > MOST_ROWS)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the body has more than %d events", MOST_ROWS),
					 errhint("Send fewer spans at once.")));
		return;
	}
	sent.data = "";
	sent.len = 0;
	if (body->redaction != NULL)
	{
		reader->reason = tex_redact_loose(body->redaction, reader->reason);
		sent.data = TEX_WITHHELD;
		sent.len = strlen(TEX_WITHHELD);
	}
	else if (body->batch->rejected < body->batch->most_rejections)
		legible(reader, &sent);
	tex_batch_refuse(body->batch, reader->reason, hex_of(reader->record.span_id, TEX_SPAN_ID_LEN),
					 hex_of(reader->record.trace_id, TEX_TRACE_ID_LEN), sent.data, sent.len);
}

/* ----------------------------------------------------------------
 *		Bodies
 * ----------------------------------------------------------------
 */
/* Refuses a body that is too long. */
static void
check_size(int64 len)
{
	if (len > tex_otlp_max_size)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the body is longer than trace_ext.otlp_max_size (%d bytes)", tex_otlp_max_size)));
}

/* Reads a body, by the reader of its encoding, and stores it. */
static Datum
ingest(FunctionCallInfo fcinfo, const char *data, int len,
	   void (*read) (TexOtlpReader *reader, const char *body, int len))
{
	TexOtlpReader *reader = tex_otlp_reader();
	Body		body;

	check_size(len);
	body.batch = tex_batch_begin();
	body.batch->most_rejections = Min(body.batch->most_rejections, MOST_REJECTIONS);
	body.map = tex_otlp_map(reader, body.batch);
	body.sources = tex_sources_begin(body.batch->kept_context);
	body.redaction = tex_redaction();
	body.service.data = "";
	body.service.len = 0;
	reader->taker = &body;
	reader->pass_over = tex_batch_limits.step_rows > 0 ? pass_over : NULL;
	reader->take_resource = take_resource;
	reader->take_scope = take_scope;
	reader->take_record = take_record;
	read(reader, data, len);
	tex_batch_was_read(body.batch);
	tex_sources_store(body.sources);
	return tex_batch_finish(fcinfo, body.batch);
}

/* Reads JSON of the database's encoding. */
static Datum
ingest_text(FunctionCallInfo fcinfo, char *data, int len)
{
	char	   *utf8;

	check_size(len);
	utf8 = pg_server_to_any(data, len, PG_UTF8);
	return ingest(fcinfo, utf8, utf8 == data ? len : (int) strlen(utf8), tex_otlp_read_json);
}

/*
 * ingest_otlp(jsonb) returns record
 */
Datum
tex_ingest_otlp_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb	   *request = PG_GETARG_JSONB_P(0);
	StringInfoData text;

	check_size(VARSIZE(request));
	initStringInfo(&text);
	JsonbToCString(&text, &request->root, VARSIZE(request));
	return ingest_text(fcinfo, text.data, text.len);
}

/*
 * ingest_otlp(text) returns record
 */
Datum
tex_ingest_otlp_text(PG_FUNCTION_ARGS)
{
	text	   *request = PG_GETARG_TEXT_PP(0);

	return ingest_text(fcinfo, VARDATA_ANY(request), VARSIZE_ANY_EXHDR(request));
}

/*
 * ingest_otlp(bytea) returns record
 */
Datum
tex_ingest_otlp_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *request = PG_GETARG_BYTEA_PP(0);
	char	   *data = VARDATA_ANY(request);
	int			len = VARSIZE_ANY_EXHDR(request);

	check_size(len);
	if (tex_is_gzip(data, len))
		data = tex_gunzip(data, len, tex_otlp_max_size, &len);
	if (len >= 3 && memcmp(data, BYTE_ORDER_MARK, 3) == 0)
	{
		data += 3;
		len -= 3;
	}
	if (len > 0 && strchr("{[ \t\r", *data) != NULL && *data != '\0')
		return ingest(fcinfo, data, len, tex_otlp_read_json);
	return ingest(fcinfo, data, len, tex_otlp_read_wire);
}
