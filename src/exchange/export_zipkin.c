/*
 * export_zipkin.c
 *		Traces as Zipkin's JSON v2: one list of spans, as its API and its UI take it.
 *
 * Values of tags are text.  Times are microseconds, and a duration is at least one of them.
 */
#include "postgres.h"

#include "exchange/outgoing.h"

static void
begin_zipkin(TexOutDocument *document)
{
	tex_doc_open(document->out, '[');
}

/* A tag, if there is something to say. */
static void
write_tag(StringInfo out, TexOtlpString key, TexOtlpString value)
{
	tex_doc_string(out, key);
	appendStringInfoChar(out, ':');
	tex_doc_string(out, value);
}

/* Attributes, and what Zipkin has no field for; jsonb keeps the last one of a name. */
static void
write_tags(StringInfo out, const TexOutSpan *span)
{
	tex_doc_key(out, "tags");
	tex_doc_open(out, '{');
	for (int i = 0; i < span->attributes.n; i++)
		write_tag(out, span->attributes.items[i].key, tex_plain_text(&span->attributes.items[i].value));
	if (span->scope->name.len > 0)
		write_tag(out, tex_string("otel.scope.name"), span->scope->name);
	if (span->scope->version.len > 0)
		write_tag(out, tex_string("otel.scope.version"), span->scope->version);
	if (span->status_code == 1 || span->status_code == TEX_STATUS_ERROR)
		write_tag(out, tex_string("otel.status_code"), tex_string(span->status_code == 1 ? "OK" : "ERROR"));
	if (span->status_code == TEX_STATUS_ERROR)
		write_tag(out, tex_string("error"), span->status_message.len > 0 ? span->status_message : tex_string("true"));
	for (int i = 0; i < span->resource->attributes.n; i++)
		write_tag(out, tex_string(psprintf("resource.%.*s", span->resource->attributes.items[i].key.len, span->resource->attributes.items[i].key.data)),
				  tex_plain_text(&span->resource->attributes.items[i].value));
	tex_doc_close(out, '}');
}

/* What happened at a moment: its name, and its attributes as JSON. */
static void
write_annotation(StringInfo out, uint64 time, TexOtlpString name, const TexOutList *attributes)
{
	StringInfoData text;

	initStringInfo(&text);
	if (attributes->n == 0)
		appendBinaryStringInfo(&text, name.data, name.len);
	else
	{
		tex_doc_string(&text, name);
		appendStringInfoString(&text, ": {");
		for (int i = 0; i < attributes->n; i++)
		{
			tex_doc_string(&text, attributes->items[i].key);
			appendStringInfoChar(&text, ':');
			tex_doc_plain(&text, &attributes->items[i].value);
		}
		appendStringInfoChar(&text, '}');
	}
	tex_doc_open(out, '{');
	tex_doc_key(out, "timestamp");
	tex_doc_int(out, Max(time / 1000, 1));
	tex_doc_key(out, "value");
	tex_doc_string(out, (TexOtlpString) {text.data, text.len});
	tex_doc_close(out, '}');
	pfree(text.data);
}

/* A span; of one in which nothing happened, without annotations. */
static void
write_span(StringInfo out, const TexOutTrace *trace, int place, int *const *logs_of)
{
	static const char *const kinds[] = {NULL, NULL, "SERVER", "CLIENT", "PRODUCER", "CONSUMER"};
	const TexOutSpan *span = &trace->spans[place];

	tex_doc_open(out, '{');
	tex_doc_key(out, "traceId");
	tex_doc_hex(out, trace->trace_id, TEX_TRACE_ID_LEN);
	tex_doc_key(out, "id");
	tex_doc_hex(out, span->span_id, TEX_SPAN_ID_LEN);
	if (!tex_otlp_is_zero(span->parent_id, TEX_SPAN_ID_LEN) && memcmp(span->parent_id, span->span_id, TEX_SPAN_ID_LEN) != 0)
	{
		tex_doc_key(out, "parentId");
		tex_doc_hex(out, span->parent_id, TEX_SPAN_ID_LEN);
	}
	tex_doc_member(out, "name", span->name);
	if (span->kind > 0 && span->kind < (int) lengthof(kinds) && kinds[span->kind] != NULL)
		tex_doc_member(out, "kind", tex_string(kinds[span->kind]));
	tex_doc_key(out, "timestamp");
	tex_doc_int(out, Max(span->start / 1000, 1));
	if (span->end != 0)
	{
		tex_doc_key(out, "duration");
		tex_doc_int(out, Max(Max(span->end, span->start) / 1000 - span->start / 1000, 1));
	}
	tex_doc_key(out, "localEndpoint");
	tex_doc_open(out, '{');
	tex_doc_member(out, "serviceName", span->resource->service);
	tex_doc_close(out, '}');
	if (span->npoints > 0 || logs_of[place] != NULL)
	{
		tex_doc_key(out, "annotations");
		tex_doc_open(out, '[');
		for (int i = 0; i < span->npoints; i++)
			write_annotation(out, span->points[i].time == 0 ? span->start : span->points[i].time, span->points[i].name, &span->points[i].attributes);
		for (const int *log = logs_of[place]; log != NULL && *log >= 0; log++)
		{
			TexOutList	fields = tex_out_log_fields(&trace->logs[*log]);

			write_annotation(out, tex_out_log_time(&trace->logs[*log]), trace->logs[*log].name, &fields);
		}
		tex_doc_close(out, ']');
	}
	write_tags(out, span);
	tex_doc_close(out, '}');
}

static void
add_zipkin(TexOutDocument *document, const TexOutTrace *trace)
{
	int		  **logs_of = tex_out_logs_of(trace);

	for (int i = 0; i < trace->nspans; i++)
		write_span(document->out, trace, i, logs_of);
}

static void
end_zipkin(TexOutDocument *document)
{
	tex_doc_close(document->out, ']');
}

const TexOutFormat tex_format_zipkin = {false, begin_zipkin, add_zipkin, end_zipkin};
