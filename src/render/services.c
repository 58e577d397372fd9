/*
 * services.c
 *		Who calls whom: of a time, or in a trace.
 *
 * The numbers are those of service_health() and service_map(), or service_dependencies();
 * here they are only brought together.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "analysis/dependencies.h"
#include "render/choice.h"
#include "render/services.h"
#include "render/svg.h"

/* So many pairs of services are read. */
#define MOST_CALLS	1000

/* The service of a name, which becomes one if it is none. */
static int
service_of(TexServices *services, const char *name)
{
	for (int i = 0; i < services->n; i++)
		if (strcmp(services->services[i].name, name) == 0)
			return i;
	if (services->n == services->room)
	{
		services->room = Max(16, services->room * 2);
		services->services = services->services ? repalloc(services->services, sizeof(TexService) * services->room) :
			palloc(sizeof(TexService) * services->room);
	}
	services->services[services->n] = (TexService) {.name = pstrdup(name),.requests = -1,.p95_ms = -1,.color = services->n % TEX_COLORS};
	return services->n++;
}

/* Room for the calls between two more services. */
static TexCalls *
new_calls(TexServices *services)
{
	if (services->ncalls == services->calls_room)
	{
		services->calls_room = Max(16, services->calls_room * 2);
		services->calls = services->calls ? repalloc(services->calls, sizeof(TexCalls) * services->calls_room) :
			palloc(sizeof(TexCalls) * services->calls_room);
	}
	return &services->calls[services->ncalls++];
}

/* A number of a row of SPI, or what stands for none. */
static double
number(uint64 row, int column, double unless)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return text ? strtod(text, NULL) : unless;
}

/* Services and calls within a time; call it within SPI. */
TexServices *
tex_services_within(const Interval *within)
{
	TexServices *services = palloc0(sizeof(TexServices));
	Oid			types[1] = {INTERVALOID};
	Datum		values[1] = {IntervalPGetDatum(within)};

	services->ms_is = "p95 ";
	SPI_execute_with_args("SELECT service_name, status, requests, errors, p95_ms FROM trace_ext.service_health($1) ORDER BY 1",
						  1, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int			index = service_of(services, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
		TexService *service = &services->services[index];

		service->status = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		service->requests = (int64) number(i, 3, -1);
		service->errors = (int64) number(i, 4, 0);
		service->p95_ms = number(i, 5, -1);
	}
	SPI_execute_with_args("SELECT from_service, to_service, link_type, calls, errors, p95_ms FROM trace_ext.service_map(pg_catalog.now() OPERATOR(pg_catalog.-) $1, pg_catalog.now())",
						  1, types, values, NULL, true, MOST_CALLS);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int			from = service_of(services, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
		int			to = service_of(services, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2));

		*new_calls(services) = (TexCalls) {.from = from,.to = to,.by = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3),
		.calls = (int64) number(i, 4, 0),.errors = (int64) number(i, 5, 0),.ms = number(i, 6, -1)};
	}
	return services;
}

/* A text of a slot's column; columns are not null where service_dependencies() has them not null. */
static char *
slot_text(TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column] ? pstrdup("?") : TextDatumGetCString(slot->tts_values[column]);
}

/* Services and calls of a trace. */
TexServices *
tex_services_of_trace(const TexSpans *spans)
{
	TexServices *services = palloc0(sizeof(TexServices));
	int		   *colors = tex_service_colors(spans);
	TexSink    *sink = tex_sink_to_store("service_dependencies", MOST_CALLS);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(sink->desc, &TTSOpsMinimalTuple);

	services->ms_is = "";
	for (int32 i = 0; i < spans->n; i++)
	{
		int32		name = tex_span_event(spans, i)->service;
		int			service;

		if (name == TEX_NO_NAME || (i > 0 && tex_span_event(spans, i - 1)->service == name))
			continue;
		service = service_of(services, tex_text_of(spans->one, name));
		services->services[service].color = colors[name];
	}
	tex_dependency_rows(spans->one, sink);
	while (tuplestore_gettupleslot(sink->store, true, false, slot))
	{
		int			from;
		int			to;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		from = service_of(services, slot_text(slot, 0));
		to = service_of(services, slot_text(slot, 1));
		*new_calls(services) = (TexCalls) {.from = from,.to = to,.by = NULL,.calls = DatumGetInt64(slot->tts_values[3]),
		.errors = DatumGetInt64(slot->tts_values[4]),.ms = slot->tts_isnull[5] ? -1 : DatumGetFloat8(slot->tts_values[5])};
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(sink->store);
	return services;
}
