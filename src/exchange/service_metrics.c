/*
 * service_metrics.c
 *		Samples of services: counters, and a histogram of latency for each.
 *
 * Counters never go back: what leaves is still counted (gone_totals), and what a
 * statement took away is counted until a fold has moved it there.
 *
 * Rows are only read by SQL, and added up here: planned for each session anew, the same
 * as a query took three times as long.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation_d.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/varlena.h"

#include "exchange/prometheus.h"
#include "histogram/histogram.h"

/* Each service has a series for each bound: more of them are together, as "other". */
#define MOST_SERVICES	50

/* Bounds are powers of two of nanoseconds, half a millisecond to half a minute: there buckets end, so counts are exact. */
#define FIRST_BOUND		19
#define LAST_BOUND		35

static const char parts_query[] =
	"SELECT service_name, kind IN ('HttpRequest', 'HttpResponse'), event_count, error_count, latency FROM trace_ext.kind_totals "
	"UNION ALL SELECT service_name, kind IN ('HttpRequest', 'HttpResponse'), event_count, error_count, latency FROM trace_ext.gone_totals "
	"UNION ALL SELECT service_name, kind IN ('HttpRequest', 'HttpResponse'), event_count, error_count, latency FROM trace_ext.count_deltas WHERE event_count >= 0";

enum
{
	SERVICE, IS_REQUEST, EVENTS, ERRORS, LATENCY, COLUMNS
};

/* A row of it. */
typedef struct Part
{
	const char *service;		/* NULL: none */
	bool		is_request;
	int64		events;
	int64		errors;
	Datum		latency;		/* 0: what has none */
} Part;

/* The parts of a service, or of several that have one label. */
typedef struct Service
{
	const char *name;
	const Part *parts;			/* side by side */
	int			n;
	double		events;
	double		errors;
	TexHistogram *requests;		/* latencies of requests; NULL: none of them has one */
	TexHistogram *all;			/* of whatever has one */
} Service;

/* For qsort(): parts of a service stand together. */
static int
compare_parts(const void *a, const void *b)
{
	const char *x = ((const Part *) a)->service;
	const char *y = ((const Part *) b)->service;

	CHECK_FOR_INTERRUPTS();
	if (x == NULL || y == NULL)
		return (x == NULL) - (y == NULL);
	return strcmp(x, y);
}

/* For qsort(): those with most events first, then by name, as SQL orders them. */
static int
compare_services(const void *a, const void *b)
{
	const Service *x = a;
	const Service *y = b;

	CHECK_FOR_INTERRUPTS();
	if (x->events != y->events)
		return x->events > y->events ? -1 : 1;
	if (x->name == NULL || y->name == NULL)
		return (x->name == NULL) - (y->name == NULL);
	return varstr_cmp(x->name, strlen(x->name), y->name, strlen(y->name), DEFAULT_COLLATION_OID);
}

/* The rows of the query, in the order of compare_parts(); they point into SPI_tuptable.  Within SPI. */
static Part *
fetch_parts(int *n)
{
	static SPIPlanPtr plan = NULL;
	Part	   *parts;

	if (plan == NULL)
	{
		plan = SPI_prepare_cursor(parts_query, 0, NULL, CURSOR_OPT_GENERIC_PLAN);
		if (plan == NULL)
			elog(ERROR, "could not prepare the query of services");
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, NULL, NULL, false, 0);
	*n = (int) SPI_processed;
	parts = palloc_extended(sizeof(Part) * (*n + 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < *n; i++)
	{
		Datum		values[COLUMNS];
		bool		isnull[COLUMNS];

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, isnull);
		parts[i] = (Part)
		{
			.service = isnull[SERVICE] ? NULL : TextDatumGetCString(values[SERVICE]),
			.is_request = DatumGetBool(values[IS_REQUEST]),
			.events = DatumGetInt64(values[EVENTS]),
			.errors = DatumGetInt64(values[ERRORS]),
			.latency = isnull[LATENCY] ? (Datum) 0 : values[LATENCY]
		};
	}
	qsort(parts, *n, sizeof(Part), compare_parts);
	return parts;
}

/* Parts by service, in the order of compare_services(). */
static Service *
rank_services(const Part *parts, int n, int *services)
{
	Service    *ranked = palloc_extended(sizeof(Service) * (n + 1), MCXT_ALLOC_HUGE);

	*services = 0;
	for (int i = 0; i < n; i++)
	{
		if (i == 0 || compare_parts(&parts[i - 1], &parts[i]) != 0)
			ranked[(*services)++] = (Service) {.name = parts[i].service, .parts = &parts[i]};
		ranked[*services - 1].n++;
		ranked[*services - 1].events += parts[i].events;
	}
	qsort(ranked, *services, sizeof(Service), compare_services);
	return ranked;
}

/* A latency is added to a histogram that is made when it is needed. */
static void
add_latency(TexHistogram **to, const TexHistogram *latency)
{
	if (*to == NULL)
		*to = tex_histogram_create(CurrentMemoryContext);
	tex_histogram_merge(*to, latency);
}

/* The parts of one are counted where they are shown. */
static void
add_parts(Service *shown, const Service *of)
{
	for (const Part *part = of->parts; part < of->parts + of->n; part++)
	{
		TexHistogram *latency;

		CHECK_FOR_INTERRUPTS();
		shown->events += part->events;
		shown->errors += part->errors;
		if (part->latency == 0)
			continue;
		latency = tex_histogram_load(part->latency, CurrentMemoryContext);
		if (latency->count != 0)
		{
			add_latency(&shown->all, latency);
			if (part->is_request)
				add_latency(&shown->requests, latency);
		}
		tex_histogram_free(latency);
	}
}

/* By labels: what has no name and what has an empty one is together, as is what is called "other" and the others. */
static Service *
label_services(const Service *ranked, int n, int *labels)
{
	Service    *shown = palloc(sizeof(Service) * (MOST_SERVICES + 1));

	*labels = 0;
	for (int i = 0; i < n; i++)
	{
		const char *label = i >= MOST_SERVICES ? "other" : ranked[i].name != NULL ? ranked[i].name : "";
		int			at = 0;

		while (at < *labels && strcmp(shown[at].name, label) != 0)
			at++;
		if (at == *labels)
			shown[(*labels)++] = (Service) {.name = label};
		add_parts(&shown[at], &ranked[i]);
	}
	return shown;
}

static void
add_counter(TexSamples *samples, const char *name, const char *help, const char *service, double value)
{
	TexSample  *sample = tex_add_sample(samples);

	sample->name = name;
	sample->type = "counter";
	sample->help = help;
	sample->service = service;
	sample->labels = tex_service_labels(service, NULL);
	sample->value = value;
}

/* One line of a histogram. */
static void
add_duration(TexSamples *samples, const char *service, const char *suffix, const char *le, int place, double value)
{
	TexSample  *sample = tex_add_sample(samples);

	sample->name = "trace_ext_service_duration_seconds";
	sample->type = "histogram";
	sample->help = "How long requests took; of a service without any, how long its operations took";
	sample->suffix = suffix;
	sample->service = service;
	sample->labels = tex_service_labels(service, le);
	sample->place = place;
	sample->value = value;
}

/* Nanoseconds as seconds, without zeros at the end. */
static const char *
bound_text(int64 ns)
{
	char	   *text = psprintf(INT64_FORMAT ".%09d", ns / 1000000000, (int) (ns % 1000000000));
	char	   *end = text + strlen(text);

	while (end[-1] == '0')
		*--end = '\0';
	return text;
}

/* A sum may have more digits than a double, or than int64. */
static double
seconds(int128 ns)
{
	Datum		sum = DirectFunctionCall3(numeric_in, CStringGetDatum(tex_histogram_sum_text(ns)), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	return DatumGetFloat8(DirectFunctionCall1(numeric_float8,
											  DirectFunctionCall2(numeric_div, sum, NumericGetDatum(int64_to_numeric(1000000000)))));
}

/* The histogram of a service; as service_health(): of requests, or of what a service without them does. */
static void
add_durations(TexSamples *samples, const Service *service)
{
	const TexHistogram *latency = service->requests != NULL ? service->requests : service->all;

	if (latency == NULL || latency->count <= 0)
		return;
	for (int bound = FIRST_BOUND; bound <= LAST_BOUND; bound++)
		add_duration(samples, service->name, "_bucket", bound_text(INT64CONST(1) << bound), bound,
					 tex_histogram_count_below(latency, INT64CONST(1) << bound));
	add_duration(samples, service->name, "_bucket", "+Inf", 97, latency->count);
	add_duration(samples, service->name, "_sum", NULL, 98, seconds(latency->sum));
	add_duration(samples, service->name, "_count", NULL, 99, latency->count);
}

/* All samples of services, in no order.  Within SPI. */
void
tex_add_service_samples(TexSamples *samples)
{
	int			n;
	Part	   *parts = fetch_parts(&n);
	Service    *ranked = rank_services(parts, n, &n);
	Service    *shown = label_services(ranked, n, &n);

	for (int i = 0; i < n; i++)
	{
		add_counter(samples, "trace_ext_service_events_total", "Events received, by service", shown[i].name, shown[i].events);
		add_counter(samples, "trace_ext_service_errors_total", "Errors among them", shown[i].name, shown[i].errors);
		add_durations(samples, &shown[i]);
	}
	SPI_freetuptable(SPI_tuptable);
}
