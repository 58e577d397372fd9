/*
 * prometheus.c
 *		Samples in the text format of Prometheus: prometheus_metrics().
 *
 * SQL says what the samples are, and is planned once a session; in SQL labels, order
 * and lines were most of what a scrape cost.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/jsonb.h"

#include "analysis/sink.h"
#include "exchange/json_out.h"

PG_FUNCTION_INFO_V1(tex_metric_labels);
PG_FUNCTION_INFO_V1(tex_prometheus_metrics);

static const char samples_query[] =
	"SELECT name, type, help, NULL, NULL, NULL, 0, value, labels FROM trace_ext.metrics "
	"UNION ALL "
	"SELECT name, type, help, suffix, service, le, place, value, NULL FROM trace_ext_internal.service_metrics()";

/* The texts of a row of it, then the others. */
enum
{
	NAME, TYPE, HELP, SUFFIX, SERVICE, LE, TEXTS, PLACE = TEXTS, VALUE, LABELS, COLUMNS
};

/* Texts that are NULL are empty. */
typedef struct Sample
{
	char	   *text[TEXTS];
	char	   *labels;			/* in braces; empty: none */
	int32		place;			/* among the samples of a service */
	double		value;
} Sample;

/* Between quotes: a backslash, a quote and a newline are escaped, all else is as it is. */
static void
append_value(StringInfo out, TexOtlpString value)
{
	appendStringInfoChar(out, '"');
	for (int i = 0; i < value.len; i++)
	{
		if (value.data[i] == '\n')
			appendStringInfoString(out, "\\n");
		else
		{
			if (value.data[i] == '\\' || value.data[i] == '"')
				appendStringInfoChar(out, '\\');
			appendStringInfoChar(out, value.data[i]);
		}
	}
	appendStringInfoChar(out, '"');
}

/* A label, of a list that has some or none before it. */
static void
append_label(StringInfo out, const char *name, int len, TexOtlpString value)
{
	appendStringInfoChar(out, out->len == 0 ? '{' : ',');
	appendBinaryStringInfo(out, name, len);
	appendStringInfoChar(out, '=');
	append_value(out, value);
}

/* {name="value",...}; nothing for none.  Names are ours. */
static void
append_labels(StringInfo out, Jsonb *labels)
{
	JsonbIterator *it = JsonbIteratorInit(&labels->root);
	JsonbIteratorToken token;
	TexOutValue value = {.is_marked = false};
	JsonbValue	key = {0};

	while ((token = JsonbIteratorNext(&it, &value.json, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = value.json;
		else if (token == WJB_VALUE)
			append_label(out, key.val.string.val, key.val.string.len,
						 value.json.type == jbvNull ? tex_string("") : tex_plain_text(&value));
	}
	if (out->len > 0)
		appendStringInfoChar(out, '}');
}

/* metric_labels(labels jsonb) returns text */
Datum
tex_metric_labels(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	initStringInfo(&out);
	append_labels(&out, PG_GETARG_JSONB_P(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* A row of the query; its labels are put together in a buffer. */
static void
read_sample(Sample *sample, HeapTuple row, TupleDesc desc, StringInfo labels)
{
	Datum		values[COLUMNS];
	bool		isnull[COLUMNS];

	heap_deform_tuple(row, desc, values, isnull);
	for (int i = 0; i < TEXTS; i++)
		sample->text[i] = isnull[i] ? "" : TextDatumGetCString(values[i]);
	sample->place = DatumGetInt32(values[PLACE]);
	sample->value = DatumGetFloat8(values[VALUE]);
	resetStringInfo(labels);
	if (!isnull[LABELS])
		append_labels(labels, DatumGetJsonbP(values[LABELS]));
	if (!isnull[LE])
		append_label(labels, "le", 2, tex_string(sample->text[LE]));
	if (!isnull[SERVICE])
	{
		append_label(labels, "service", 7, tex_string(sample->text[SERVICE]));
		appendStringInfoChar(labels, '}');
	}
	sample->labels = pnstrdup(labels->data, labels->len);
}

/* For qsort(): the samples of a name stand together, and of those the buckets of a histogram, by their bounds. */
static int
compare_samples(const void *a, const void *b)
{
	const Sample *x = a;
	const Sample *y = b;
	int			order = strcmp(x->text[NAME], y->text[NAME]);

	CHECK_FOR_INTERRUPTS();
	if (order == 0)
		order = strcmp(x->text[SERVICE], y->text[SERVICE]);
	if (order == 0)
		order = x->place < y->place ? -1 : x->place > y->place;
	return order != 0 ? order : strcmp(x->labels, y->labels);
}

/* What comes before the samples of a name. */
static void
append_head(const Sample *sample, TexSink *sink, StringInfo line)
{
	resetStringInfo(line);
	appendStringInfo(line, "# HELP %s ", sample->text[NAME]);
	for (const char *at = sample->text[HELP]; *at; at++)
	{
		if (*at == '\\' || *at == '\n')
			appendStringInfoChar(line, '\\');
		appendStringInfoChar(line, *at == '\n' ? 'n' : *at);
	}
	tex_sink_text(sink, line->data);
	tex_sink_end_row(sink);
	resetStringInfo(line);
	appendStringInfo(line, "# TYPE %s %s", sample->text[NAME], sample->text[TYPE]);
	tex_sink_text(sink, line->data);
	tex_sink_end_row(sink);
}

/* The line of a sample. */
static void
append_sample(const Sample *sample, TexSink *sink, StringInfo line)
{
	resetStringInfo(line);
	appendStringInfoString(line, sample->text[NAME]);
	appendStringInfoString(line, sample->text[SUFFIX]);
	appendStringInfoString(line, sample->labels);
	appendStringInfoChar(line, ' ');
	if (isinf(sample->value))
		appendStringInfoString(line, sample->value > 0 ? "+Inf" : "-Inf");
	else
		appendStringInfoString(line, float8out_internal(sample->value));
	tex_sink_text(sink, line->data);
	tex_sink_end_row(sink);
}

/* All samples, in no order.  Within SPI. */
static Sample *
fetch_samples(uint64 *n)
{
	static SPIPlanPtr plan = NULL;
	Sample	   *samples;
	StringInfoData labels;

	if (plan == NULL)
	{
		plan = SPI_prepare_cursor(samples_query, 0, NULL, CURSOR_OPT_GENERIC_PLAN);
		if (plan == NULL)
			elog(ERROR, "could not prepare the query of samples");
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, NULL, NULL, false, 0);
	*n = SPI_processed;
	samples = palloc(sizeof(Sample) * (*n + 1));
	initStringInfo(&labels);
	for (uint64 i = 0; i < *n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_sample(&samples[i], SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &labels);
	}
	SPI_freetuptable(SPI_tuptable);
	return samples;
}

/* prometheus_metrics() returns setof text */
Datum
tex_prometheus_metrics(PG_FUNCTION_ARGS)
{
	TexSink    *sink;
	Sample	   *samples;
	StringInfoData line;
	uint64		n;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	sink = tex_sink_to_caller(fcinfo, PG_INT64_MAX);
	samples = fetch_samples(&n);
	qsort(samples, n, sizeof(Sample), compare_samples);
	initStringInfo(&line);
	for (uint64 i = 0; i < n; i++)
	{
		if (i == 0 || strcmp(samples[i - 1].text[NAME], samples[i].text[NAME]) != 0)
			append_head(&samples[i], sink, &line);
		append_sample(&samples[i], sink, &line);
	}
	SPI_finish();
	return (Datum) 0;
}
