/*
 * export_jaeger.c
 *		Traces as the JSON of Jaeger's query service, which its UI loads from a file.
 *
 * Times are microseconds.  What Jaeger has no field for is a tag, under the names that the
 * OpenTelemetry specification has for that.
 */
#include "postgres.h"

#include "nodes/bitmapset.h"
#include "utils/builtins.h"

#include "exchange/outgoing.h"

/* The numbers that JavaScript has; Jaeger itself writes others as strings. */
#define MAX_SAFE_INTEGER ((INT64CONST(1) << 53) - 1)

static void
begin_jaeger(TexOutDocument *document)
{
	tex_doc_open(document->out, '{');
	tex_doc_key(document->out, "data");
	tex_doc_open(document->out, '[');
}

/* A tag whose type and value are to be written. */
static void
open_tag(StringInfo out, TexOtlpString key, const char *type)
{
	tex_doc_open(out, '{');
	tex_doc_key(out, "key");
	tex_doc_string(out, key);
	tex_doc_key(out, "type");
	tex_doc_word(out, type);
	tex_doc_key(out, "value");
}

static void
write_text_tag(StringInfo out, const char *key, TexOtlpString text)
{
	if (text.len == 0)
		return;
	open_tag(out, tex_string(key), "string");
	tex_doc_string(out, text);
	tex_doc_close(out, '}');
}

/* An attribute as a tag of the type that fits; lists and pairs are JSON in a string. */
static void
write_tag(StringInfo out, const TexOutAttribute *attribute)
{
	const TexOutValue *value = &attribute->value;
	int64		integer;
	double		real;

	if (value->json.type == jbvBool)
	{
		open_tag(out, attribute->key, "bool");
		tex_doc_plain(out, value);
	}
	else if (value->json.type == jbvNumeric && tex_is_int64(value->json.val.numeric, &integer))
	{
		open_tag(out, attribute->key, "int64");
		if (integer > MAX_SAFE_INTEGER || integer < -MAX_SAFE_INTEGER)
			tex_doc_string(out, tex_plain_text(value));
		else
			tex_doc_plain(out, value);
	}
	else if (value->json.type == jbvNumeric && tex_is_double(value->json.val.numeric, &real))
	{
		open_tag(out, attribute->key, "float64");
		tex_doc_plain(out, value);
	}
	else
	{
		open_tag(out, attribute->key, "string");
		tex_doc_string(out, value->json.type == jbvNull ? tex_string("") : tex_plain_text(value));
	}
	tex_doc_close(out, '}');
}

static void
write_tags(StringInfo out, const TexOutList *attributes)
{
	for (int i = 0; i < attributes->n; i++)
		write_tag(out, &attributes->items[i]);
}

/* A reference to another span. */
static void
write_reference(StringInfo out, const char *type, TexOtlpString trace_id, TexOtlpString span_id)
{
	if (trace_id.len == 0 || span_id.len == 0)
		return;
	tex_doc_open(out, '{');
	tex_doc_key(out, "refType");
	tex_doc_word(out, type);
	tex_doc_member(out, "traceID", trace_id);
	tex_doc_member(out, "spanID", span_id);
	tex_doc_close(out, '}');
}

/* Parents and links. */
static void
write_references(StringInfo out, const TexOutTrace *trace, const TexOutSpan *span)
{
	char		trace_id[2 * TEX_TRACE_ID_LEN + 1];
	char		parent_id[2 * TEX_SPAN_ID_LEN + 1];

	tex_doc_key(out, "references");
	tex_doc_open(out, '[');
	if (!tex_otlp_is_zero(span->parent_id, TEX_SPAN_ID_LEN) &&
		memcmp(span->parent_id, span->span_id, TEX_SPAN_ID_LEN) != 0)
	{
		trace_id[hex_encode((const char *) trace->trace_id, TEX_TRACE_ID_LEN, trace_id)] = '\0';
		parent_id[hex_encode((const char *) span->parent_id, TEX_SPAN_ID_LEN, parent_id)] = '\0';
		write_reference(out, "CHILD_OF", tex_string(trace_id), tex_string(parent_id));
	}
	for (int i = 0; i < span->nlinks; i++)
		write_reference(out, "FOLLOWS_FROM", span->links[i].trace_id, span->links[i].span_id);
	tex_doc_close(out, ']');
}

/* What Jaeger has no field for. */
static void
write_span_tags(StringInfo out, const TexOutSpan *span)
{
	static const char *const kinds[] = {"", "internal", "server", "client", "producer", "consumer"};

	tex_doc_key(out, "tags");
	tex_doc_open(out, '[');
	write_tags(out, &span->attributes);
	if (span->kind > 0 && span->kind < (int) lengthof(kinds))
		write_text_tag(out, "span.kind", tex_string(kinds[span->kind]));
	if (span->status_code == TEX_STATUS_ERROR)
	{
		open_tag(out, tex_string("error"), "bool");
		tex_doc_literal(out, "true");
		tex_doc_close(out, '}');
	}
	if (span->status_code == 1 || span->status_code == TEX_STATUS_ERROR)
		write_text_tag(out, "otel.status_code", tex_string(span->status_code == 1 ? "OK" : "ERROR"));
	write_text_tag(out, "otel.status_description", span->status_message);
	write_text_tag(out, "otel.scope.name", span->scope->name);
	write_text_tag(out, "otel.scope.version", span->scope->version);
	write_text_tag(out, "w3c.tracestate", span->trace_state);
	tex_doc_close(out, ']');
}

/* What happened at a moment: of a span, or a log record of it. */
static void
write_log(StringInfo out, uint64 time, TexOtlpString name, const TexOutList *attributes)
{
	tex_doc_open(out, '{');
	tex_doc_key(out, "timestamp");
	tex_doc_int(out, time / 1000);
	tex_doc_key(out, "fields");
	tex_doc_open(out, '[');
	write_text_tag(out, "event", name);
	write_tags(out, attributes);
	tex_doc_close(out, ']');
	tex_doc_close(out, '}');
}

/* The logs of a span: its events, and the log records that name it, which begin at "log". */
static void
write_logs(StringInfo out, const TexOutTrace *trace, const TexOutSpan *span, int *const *logs_of, int place)
{
	tex_doc_key(out, "logs");
	tex_doc_open(out, '[');
	for (int i = 0; i < span->npoints; i++)
		write_log(out, span->points[i].time == 0 ? span->start : span->points[i].time, span->points[i].name,
				  &span->points[i].attributes);
	for (const int *log = logs_of[place]; log != NULL && *log >= 0; log++)
	{
		const TexOutLog *l = &trace->logs[*log];
		TexOutList	fields = tex_out_log_fields(l);

		write_log(out, tex_out_log_time(l), l->name, &fields);
	}
	tex_doc_close(out, ']');
}

/* A span. */
static void
write_span(StringInfo out, const TexOutTrace *trace, int place, int *const *logs_of)
{
	const TexOutSpan *span = &trace->spans[place];
	uint64		end = Max(span->end, span->start);

	tex_doc_open(out, '{');
	tex_doc_key(out, "traceID");
	tex_doc_hex(out, trace->trace_id, TEX_TRACE_ID_LEN);
	tex_doc_key(out, "spanID");
	tex_doc_hex(out, span->span_id, TEX_SPAN_ID_LEN);
	tex_doc_key(out, "flags");
	tex_doc_int(out, span->flags & 0xFF);
	tex_doc_key(out, "operationName");
	tex_doc_string(out, span->name);
	write_references(out, trace, span);
	tex_doc_key(out, "startTime");
	tex_doc_int(out, span->start / 1000);
	tex_doc_key(out, "duration");
	tex_doc_int(out, end / 1000 - span->start / 1000);
	write_span_tags(out, span);
	write_logs(out, trace, span, logs_of, place);
	tex_doc_key(out, "processID");
	tex_doc_word(out, psprintf("p%d", span->resource->place + 1));
	tex_doc_key(out, "warnings");
	tex_doc_literal(out, "null");
	tex_doc_close(out, '}');
}

/* The resources of the spans, each once. */
static void
write_processes(StringInfo out, const TexOutTrace *trace)
{
	Bitmapset  *written = NULL;

	tex_doc_key(out, "processes");
	tex_doc_open(out, '{');
	for (int i = 0; i < trace->nspans; i++)
	{
		const TexOutSource *resource = trace->spans[i].resource;

		if (bms_is_member(resource->place, written))
			continue;
		written = bms_add_member(written, resource->place);
		tex_doc_key(out, psprintf("p%d", resource->place + 1));
		tex_doc_open(out, '{');
		tex_doc_key(out, "serviceName");
		tex_doc_string(out, resource->service.len > 0 ? resource->service : tex_string("unknown_service"));
		tex_doc_key(out, "tags");
		tex_doc_open(out, '[');
		write_tags(out, &resource->attributes);
		tex_doc_close(out, ']');
		tex_doc_close(out, '}');
	}
	tex_doc_close(out, '}');
}

static void
add_jaeger(TexOutDocument *document, const TexOutTrace *trace)
{
	StringInfo	out = document->out;
	int		  **logs_of = tex_out_logs_of(trace);

	tex_doc_open(out, '{');
	tex_doc_key(out, "traceID");
	tex_doc_hex(out, trace->trace_id, TEX_TRACE_ID_LEN);
	tex_doc_key(out, "spans");
	tex_doc_open(out, '[');
	for (int i = 0; i < trace->nspans; i++)
		write_span(out, trace, i, logs_of);
	tex_doc_close(out, ']');
	write_processes(out, trace);
	tex_doc_key(out, "warnings");
	tex_doc_literal(out, "null");
	tex_doc_close(out, '}');
}

static void
end_jaeger(TexOutDocument *document)
{
	tex_doc_close(document->out, ']');
	tex_doc_key(document->out, "total");
	tex_doc_literal(document->out, "0");
	tex_doc_key(document->out, "limit");
	tex_doc_literal(document->out, "0");
	tex_doc_key(document->out, "offset");
	tex_doc_literal(document->out, "0");
	tex_doc_key(document->out, "errors");
	tex_doc_literal(document->out, "null");
	tex_doc_close(document->out, '}');
}

const TexOutFormat tex_format_jaeger = {false, begin_jaeger, add_jaeger, end_jaeger};
