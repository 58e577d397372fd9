/*
 * prometheus.c
 *		Samples in the text format of Prometheus: prometheus_metrics().
 *
 * The view metrics says what the samples of the store are, service_metrics.c adds those
 * of services. Many scrapers connect anew each time, and then a scrape costs what it
 * takes to plan its queries: so there are two, and labels, order and lines are made here.
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
#include "exchange/prometheus.h"

PG_FUNCTION_INFO_V1(tex_metric_labels);
PG_FUNCTION_INFO_V1(tex_prometheus_metrics);

static const char samples_query[] = "SELECT name, type, help, value, labels FROM trace_ext.metrics";

enum
{
	NAME, TYPE, HELP, VALUE, LABELS, COLUMNS
};

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

/* The labels of a sample of a service; le is NULL where it has no bound. */
char *
tex_service_labels(const char *service, const char *le)
{
	StringInfoData out;

	initStringInfo(&out);
	if (le != NULL)
		append_label(&out, "le", 2, tex_string(le));
	append_label(&out, "service", 7, tex_string(service));
	appendStringInfoChar(&out, '}');
	return out.data;
}

/* A sample at the end of the list, to be filled; all that is not filled is empty. */
TexSample *
tex_add_sample(TexSamples *samples)
{
	TexSample  *sample;

	if (samples->n == samples->room)
	{
		samples->room = Max(samples->room * 2, 256);
		samples->sample = samples->n == 0 ? palloc(sizeof(TexSample) * samples->room)
			: repalloc_huge(samples->sample, sizeof(TexSample) * samples->room);
	}
	sample = &samples->sample[samples->n++];
	*sample = (TexSample) {.suffix = "", .service = "", .labels = ""};
	return sample;
}

/* A row of the view. */
static void
read_sample(TexSample *sample, HeapTuple row, TupleDesc desc)
{
	Datum		values[COLUMNS];
	bool		isnull[COLUMNS];
	StringInfoData labels;

	heap_deform_tuple(row, desc, values, isnull);
	sample->name = TextDatumGetCString(values[NAME]);
	sample->type = TextDatumGetCString(values[TYPE]);
	sample->help = TextDatumGetCString(values[HELP]);
	sample->value = DatumGetFloat8(values[VALUE]);
	initStringInfo(&labels);
	append_labels(&labels, DatumGetJsonbP(values[LABELS]));
	sample->labels = labels.data;
}

/* For qsort(): the samples of a name stand together, and of those the buckets of a histogram, by their bounds. */
static int
compare_samples(const void *a, const void *b)
{
	const TexSample *x = a;
	const TexSample *y = b;
	int			order = strcmp(x->name, y->name);

	CHECK_FOR_INTERRUPTS();
	if (order == 0)
		order = strcmp(x->service, y->service);
	if (order == 0)
		order = x->place < y->place ? -1 : x->place > y->place;
	return order != 0 ? order : strcmp(x->labels, y->labels);
}

/* What comes before the samples of a name. */
static void
append_head(const TexSample *sample, TexSink *sink, StringInfo line)
{
	resetStringInfo(line);
	appendStringInfo(line, "# HELP %s ", sample->name);
	for (const char *at = sample->help; *at; at++)
	{
		if (*at == '\\' || *at == '\n')
			appendStringInfoChar(line, '\\');
		appendStringInfoChar(line, *at == '\n' ? 'n' : *at);
	}
	tex_sink_text(sink, line->data);
	tex_sink_end_row(sink);
	resetStringInfo(line);
	appendStringInfo(line, "# TYPE %s %s", sample->name, sample->type);
	tex_sink_text(sink, line->data);
	tex_sink_end_row(sink);
}

/* The line of a sample. */
static void
append_sample(const TexSample *sample, TexSink *sink, StringInfo line)
{
	resetStringInfo(line);
	appendStringInfoString(line, sample->name);
	appendStringInfoString(line, sample->suffix);
	appendStringInfoString(line, sample->labels);
	appendStringInfoChar(line, ' ');
	if (isinf(sample->value))
		appendStringInfoString(line, sample->value > 0 ? "+Inf" : "-Inf");
	else
		appendStringInfoString(line, float8out_internal(sample->value));
	tex_sink_text(sink, line->data);
	tex_sink_end_row(sink);
}

/* The samples of the view.  Within SPI. */
static void
add_store_samples(TexSamples *samples)
{
	static SPIPlanPtr plan = NULL;

	if (plan == NULL)
	{
		plan = SPI_prepare_cursor(samples_query, 0, NULL, CURSOR_OPT_GENERIC_PLAN);
		if (plan == NULL)
			elog(ERROR, "could not prepare the query of samples");
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, NULL, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_sample(tex_add_sample(samples), SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* prometheus_metrics() returns setof text */
Datum
tex_prometheus_metrics(PG_FUNCTION_ARGS)
{
	TexSink    *sink;
	TexSamples	samples = {0};
	StringInfoData line;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	sink = tex_sink_to_caller(fcinfo, PG_INT64_MAX);
	add_store_samples(&samples);
	tex_add_service_samples(&samples);
	qsort(samples.sample, samples.n, sizeof(TexSample), compare_samples);
	initStringInfo(&line);
	for (int i = 0; i < samples.n; i++)
	{
		if (i == 0 || strcmp(samples.sample[i - 1].name, samples.sample[i].name) != 0)
			append_head(&samples.sample[i], sink, &line);
		append_sample(&samples.sample[i], sink, &line);
	}
	SPI_finish();
	return (Datum) 0;
}
