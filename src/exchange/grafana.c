/*
 * grafana.c
 *		A trace as the rows that Grafana's trace panel takes.
 *
 * The names of the columns and the shapes of their values are Grafana's; times are milliseconds.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "exchange/outgoing.h"

PG_FUNCTION_INFO_V1(tex_grafana_trace);

/* The columns, in their order. */
enum
{
	COL_TRACE_ID, COL_SPAN_ID, COL_PARENT_ID, COL_OPERATION, COL_SERVICE, COL_START, COL_DURATION, COL_TAGS, COL_SERVICE_TAGS,
	COL_LOGS, COL_REFERENCES, COL_KIND, COL_STATUS_CODE, COL_STATUS_MESSAGE, COL_SCOPE, COL_SCOPE_VERSION, COL_TRACE_STATE, COL_COUNT
};

/* Attributes as [{key, value}, ...], of a list that is begun. */
static void
write_pairs(StringInfo out, const TexOutList *attributes)
{
	for (int i = 0; i < attributes->n; i++)
	{
		const TexOutValue *value = &attributes->items[i].value;

		tex_doc_open(out, '{');
		tex_doc_key(out, "key");
		tex_doc_string(out, attributes->items[i].key);
		tex_doc_key(out, "value");
		/* The panel shows what is no scalar as text. */
		if (value->json.type == jbvBinary)
			tex_doc_string(out, tex_plain_text(value));
		else
			tex_doc_plain(out, value);
		tex_doc_close(out, '}');
	}
}

/* A finished list as a value of a row. */
static Datum
jsonb_of(StringInfo out)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out->data));
}

static Datum
tags_of(const TexOutList *attributes)
{
	StringInfo	out = makeStringInfo();

	tex_doc_open(out, '[');
	write_pairs(out, attributes);
	tex_doc_close(out, ']');
	return jsonb_of(out);
}

/* What happened at a moment. */
static void
write_log(StringInfo out, uint64 time, TexOtlpString name, const TexOutList *attributes)
{
	tex_doc_open(out, '{');
	tex_doc_key(out, "timestamp");
	tex_doc_literal(out, psprintf("%.3f", time / 1e6));
	tex_doc_key(out, "name");
	tex_doc_string(out, name);
	tex_doc_key(out, "fields");
	tex_doc_open(out, '[');
	tex_doc_open(out, '{');
	tex_doc_key(out, "key");
	tex_doc_word(out, "event");
	tex_doc_key(out, "value");
	tex_doc_string(out, name);
	tex_doc_close(out, '}');
	write_pairs(out, attributes);
	tex_doc_close(out, ']');
	tex_doc_close(out, '}');
}

/* Events of a span and its log records. */
static Datum
logs_of(const TexOutTrace *trace, const TexOutSpan *span, const int *logs)
{
	StringInfo	out = makeStringInfo();

	tex_doc_open(out, '[');
	for (int i = 0; i < span->npoints; i++)
		write_log(out, span->points[i].time == 0 ? span->start : span->points[i].time, span->points[i].name, &span->points[i].attributes);
	for (; logs != NULL && *logs >= 0; logs++)
	{
		const TexOutLog *log = &trace->logs[*logs];
		TexOutList	fields = tex_out_log_fields(log);

		write_log(out, tex_out_log_time(log), log->name, &fields);
	}
	tex_doc_close(out, ']');
	return jsonb_of(out);
}

/* Links; the parent has a column of its own. */
static Datum
references_of(const TexOutSpan *span)
{
	StringInfo	out = makeStringInfo();

	tex_doc_open(out, '[');
	for (int i = 0; i < span->nlinks; i++)
	{
		const TexOutLink *link = &span->links[i];

		if (link->trace_id.len == 0 || link->span_id.len == 0)
			continue;
		tex_doc_open(out, '{');
		tex_doc_member(out, "traceID", link->trace_id);
		tex_doc_member(out, "spanID", link->span_id);
		tex_doc_key(out, "tags");
		tex_doc_open(out, '[');
		write_pairs(out, &link->attributes);
		tex_doc_close(out, ']');
		tex_doc_close(out, '}');
	}
	tex_doc_close(out, ']');
	return jsonb_of(out);
}

static Datum
text_of(TexOtlpString string)
{
	return PointerGetDatum(cstring_to_text_with_len(string.data, string.len));
}

static Datum
hex_of(const uint8 *id, int len)
{
	StringInfo	out = makeStringInfo();

	tex_doc_hex(out, id, len);
	return PointerGetDatum(cstring_to_text_with_len(out->data + 1, out->len - 2));
}

/* The row of a span. */
static void
put_span(ReturnSetInfo *result, const TexOutTrace *trace, const TexOutSpan *span, const int *logs)
{
	static const char *const kinds[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
	Datum		values[COL_COUNT];
	bool		isnull[COL_COUNT] = {false};

	values[COL_TRACE_ID] = hex_of(trace->trace_id, TEX_TRACE_ID_LEN);
	values[COL_SPAN_ID] = hex_of(span->span_id, TEX_SPAN_ID_LEN);
	isnull[COL_PARENT_ID] = tex_otlp_is_zero(span->parent_id, TEX_SPAN_ID_LEN) ||
		memcmp(span->parent_id, span->span_id, TEX_SPAN_ID_LEN) == 0;
	values[COL_PARENT_ID] = isnull[COL_PARENT_ID] ? (Datum) 0 : hex_of(span->parent_id, TEX_SPAN_ID_LEN);
	values[COL_OPERATION] = text_of(span->name);
	values[COL_SERVICE] = text_of(span->resource->service.len > 0 ? span->resource->service : tex_string("unknown_service"));
	values[COL_START] = Float8GetDatum(span->start / 1e6);
	values[COL_DURATION] = Float8GetDatum((Max(span->end, span->start) - span->start) / 1e6);
	values[COL_TAGS] = tags_of(&span->attributes);
	values[COL_SERVICE_TAGS] = tags_of(&span->resource->attributes);
	values[COL_LOGS] = logs_of(trace, span, logs);
	values[COL_REFERENCES] = references_of(span);
	values[COL_KIND] = CStringGetTextDatum(span->kind > 0 && span->kind < (int) lengthof(kinds) ? kinds[span->kind] : kinds[0]);
	values[COL_STATUS_CODE] = Int32GetDatum(span->status_code);
	values[COL_STATUS_MESSAGE] = text_of(span->status_message);
	values[COL_SCOPE] = text_of(span->scope->name);
	values[COL_SCOPE_VERSION] = text_of(span->scope->version);
	values[COL_TRACE_STATE] = text_of(span->trace_state);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* grafana_trace(trace_id uuid) returns setof record; no rows for a trace that is not stored. */
Datum
tex_grafana_trace(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TexOutTrace *trace;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	SPI_connect();
	trace = tex_out_collect(tex_out_sources(), PG_GETARG_UUID_P(0));
	if (trace != NULL)
	{
		MemoryContext of_row = AllocSetContextCreate(CurrentMemoryContext, "trace_ext row", ALLOCSET_DEFAULT_SIZES);
		int		  **logs;

		tex_out_stand_in(trace);
		logs = tex_out_logs_of(trace);
		for (int i = 0; i < trace->nspans; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(of_row);

			CHECK_FOR_INTERRUPTS();
			put_span(result, trace, &trace->spans[i], logs[i]);
			MemoryContextSwitchTo(old);
			MemoryContextReset(of_row);
		}
	}
	SPI_finish();
	return (Datum) 0;
}
