/*
 * report_page.c
 *		The state of all services as a page: report_html().
 *
 * What is wrong comes first: services that are ill, races, alerts, anomalies.  Each
 * section is the answer of a function that can be called for more, and says which.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "render/escape.h"
#include "render/page.h"
#include "render/race_picture.h"
#include "render/services.h"
#include "render/svg.h"

PG_FUNCTION_INFO_V1(tex_report_html);

#define MOST_PICTURES 3

/* A section that is a table. */
typedef struct Section
{
	const char *heading;
	const char *more;			/* what to call for more */
	const char *query;			/* $1 is the time */
	const char *unless;			/* what to say where there is nothing */
} Section;

/* Within these queries only pg_catalog and what is named with its schema is found. */
static const Section services_section =
{"Services", "service_health(within)",
	"SELECT service_name AS service, status, requests, round((error_rate * 100)::numeric, 2) AS \"failed %\", round(per_second::numeric, 2) AS \"a second\", "
	"round(p50_ms::numeric, 1) AS \"p50 ms\", round(p95_ms::numeric, 1) AS \"p95 ms\", round(p99_ms::numeric, 1) AS \"p99 ms\", array_to_string(reasons, '; ') AS why "
	"FROM trace_ext.service_health($1) LIMIT 100", "No service was seen."};

static const Section calls_section =
{"Calls between services", "service_map(since, until)",
	"SELECT from_service AS \"from\", to_service AS \"to\", link_type AS by, calls, errors AS failed, round(p50_ms::numeric, 1) AS \"p50 ms\", round(p95_ms::numeric, 1) AS \"p95 ms\" "
	"FROM trace_ext.service_map(now() - $1, now()) LIMIT 100", "None was seen."};

static const Section sections[] = {
	{"Races", "global_races(), incident(finding)",
		"SELECT kind, severity, variable, occurrences AS times, evidence AS \"what happened\", date_trunc('second', last_seen) AS \"last seen\", left(id::text, 8) AS finding "
		"FROM trace_ext.findings WHERE last_seen >= now() - $1 AND status <> 'ignored' AND occurrences > 0 "
		"ORDER BY CASE severity WHEN 'CRITICAL' THEN 1 WHEN 'WARNING' THEN 2 ELSE 3 END, confidence DESC, last_seen DESC, id LIMIT 12",
	"No race was found in this time."},
	{"Alerts", "alerts, alert_history", "SELECT name, state, date_trunc('second', since) AS since, summary FROM trace_ext.alerts WHERE state IN ('firing', 'pending') ORDER BY state DESC, since LIMIT 50",
	"No alert is firing."},
	{"Anomalies", "anomalies",
		"SELECT severity, kind, service_name AS service, operation, occurrences AS times, evidence AS \"what happened\", date_trunc('second', last_seen) AS \"last seen\" FROM trace_ext.anomalies "
		"WHERE last_seen >= now() - $1 AND status::text <> 'ignored' ORDER BY CASE severity WHEN 'CRITICAL' THEN 1 WHEN 'WARNING' THEN 2 ELSE 3 END, last_seen DESC, id LIMIT 20",
	"None was found in this time."},
	{"Where time went", "operations(since)",
		"SELECT service_name AS service, kind, operation, calls, errors AS failed, round(p50_ms::numeric, 2) AS \"p50 ms\", round(p95_ms::numeric, 2) AS \"p95 ms\", round(max_ms::numeric, 1) AS \"longest ms\", "
		"round(total_ms::numeric, 0) AS \"in all ms\", round((share * 100)::numeric, 1) AS \"of all %\" FROM trace_ext.operations($1, page_size => 25) WHERE total_ms > 0",
	"Nothing that was recorded took time."},
	{"Requests that failed", "request_log(since, status => 'error'), trace_html(trace)",
		"SELECT date_trunc('second', started) AS started, service, method, url, status, round(duration_ms::numeric, 1) AS ms, error, left(trace_id::text, 8) AS trace FROM trace_ext.request_log(now() - $1, status => 'error', page_size => 20)",
	"None."},
	{"Upkeep", "status",
		"SELECT s.key AS what, s.value #>> '{}' AS value FROM (SELECT to_jsonb(t) AS row FROM trace_ext.status t) AS x, jsonb_each(x.row) AS s WHERE s.value <> 'null' ORDER BY s.key COLLATE \"C\"",
	"Nothing is known."},
};

/* A section, with what to call for more. */
static void
put_section(StringInfo out, const Section *section, const Interval *within)
{
	Oid			types[1] = {INTERVALOID};
	Datum		values[1] = {IntervalPGetDatum(within)};

	tex_page_section(out, section->heading);
	tex_page_table(out, section->query, strstr(section->query, "$1") ? 1 : 0, types, values, section->unless);
	tex_page_text(out, "p class=\"note\"", psprintf("More: %s", section->more));
}

/* The worst findings, drawn. */
static void
put_pictures(StringInfo out, const Interval *within)
{
	Oid			types[1] = {INTERVALOID};
	Datum		values[1] = {IntervalPGetDatum(within)};
	pg_uuid_t	ids[MOST_PICTURES];
	int			n;

	SPI_execute_with_args("SELECT id FROM trace_ext.findings WHERE last_seen >= pg_catalog.now() OPERATOR(pg_catalog.-) $1 AND severity OPERATOR(pg_catalog.=) 'CRITICAL' "
						  "AND status OPERATOR(pg_catalog.<>) 'ignored' AND occurrences OPERATOR(pg_catalog.>) 0 ORDER BY confidence DESC, last_seen DESC, id",
						  1, types, values, NULL, true, MOST_PICTURES);
	n = (int) SPI_processed;
	for (int i = 0; i < n; i++)
	{
		bool		isnull;

		ids[i] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	for (int i = 0; i < n; i++)
		tex_finding_picture(out, &ids[i], true);
}

/* All of the page. */
static void
put_page(StringInfo out, const Interval *within)
{
	TexServices *services = tex_services_within(within);

	tex_page_begin(out, "How the services are",
				   psprintf("the last %s up to %s", DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(within))),
							timestamptz_to_str(GetCurrentTransactionStartTimestamp())));
	put_section(out, &services_section, within);
	tex_page_section(out, "Which service calls which");
	tex_services_picture(out, services, "Services and their calls", true);
	put_section(out, &calls_section, within);
	for (size_t i = 0; i < lengthof(sections); i++)
	{
		put_section(out, &sections[i], within);
		if (i == 0)
			put_pictures(out, within);
	}
	tex_page_end(out);
}

/* report_html(within interval) */
Datum
tex_report_html(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MemoryContext old;
	StringInfoData out;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	initStringInfo(&out);
	context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext page", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	SPI_connect();
	MemoryContextSwitchTo(context);
	put_page(&out, PG_GETARG_INTERVAL_P(0));
	SPI_finish();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
