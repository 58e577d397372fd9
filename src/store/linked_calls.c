/*
 * linked_calls.c
 *		Calls by links whose two ends are not in one store.
 *
 * Of a call by a link (calls.c) the consumer's trace has all but one thing: the service of
 * the producer, which is of another trace.  Where that is on another node of a router, the router
 * asks that node by producers_of(), and has the consumer's node say by linked_calls() how
 * the calls of its traces differ, once it knows.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "common/event.h"
#include "store/call_sums.h"
#include "store/calls.h"
#include "store/packed_calls.h"

PG_FUNCTION_INFO_V1(tex_producers_of);
PG_FUNCTION_INFO_V1(tex_linked_calls);

/* The elements of an array without NULLs. */
static Datum *
elements(ArrayType *array, Oid type, int *n)
{
	bool		by_reference = type == UUIDOID;
	Datum	   *values;

	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("an id must not be null")));
	deconstruct_array(array, type, by_reference ? UUID_LEN : -1, false, by_reference ? TYPALIGN_CHAR : TYPALIGN_INT, &values, NULL, n);
	return values;
}

/* Two arrays are one list. */
static void
require_pairs(int n, int others)
{
	if (n != others)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("the arrays have %d and %d elements", n, others)));
}

/*
 * producers_of(ids uuid[], starts uuid[]) returns text[]
 *
 * The service of each span that begins with this event of this trace, if it is a producer's; else NULL. For
 * whoever may read service_calls.
 */
Datum
tex_producers_of(PG_FUNCTION_ARGS)
{
	int			n;
	int			n_starts;
	Datum	   *ids = elements(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, &n);
	Datum	   *starts = elements(PG_GETARG_ARRAYTYPE_P(1), UUIDOID, &n_starts);
	ArrayBuildState *services = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	TexTraceReader *reader;

	tex_require_calls();
	require_pairs(n, n_starts);
	reader = tex_calls_reader();
	for (int i = 0; i < n; i++)
	{
		text	   *service;

		CHECK_FOR_INTERRUPTS();
		service = tex_service_of_producer(reader, DatumGetUUIDP(ids[i]), DatumGetUUIDP(starts[i]));
		accumArrayResult(services, PointerGetDatum(service), service == NULL, TEXTOID, CurrentMemoryContext);
	}
	PG_RETURN_DATUM(makeArrayResult(services, CurrentMemoryContext));
}

/* The services of some producers, by the starts of their spans. */
static TexProducers *
producers_from(ArrayType *starts, ArrayType *services)
{
	int			n;
	int			n_services;
	Datum	   *start = elements(starts, UUIDOID, &n);
	Datum	   *service = elements(services, TEXTOID, &n_services);
	TexProducers *producers = tex_producers_create(n);

	require_pairs(n, n_services);
	for (int i = 0; i < n; i++)
		tex_producers_add(producers, DatumGetUUIDP(start[i]), DatumGetTextPP(service[i]));
	return producers;
}

/* Adds what a trace calls to sums. */
static void
add_calls(TexCallSums *sums, TexTraceReader *reader, const pg_uuid_t *id, const TexProducers *producers, int sign)
{
	const TexCalls *calls = tex_calls_of(reader, id, producers);

	if (calls)
		tex_call_sums_add(sums, tex_pack_calls(calls), sign);
}

/*
 * linked_calls(ids uuid[], starts uuid[], services text[]) returns table (hour, from_service, to_service,
 * link_type, calls, errors, traces, latency)
 *
 * By how much the calls of some traces differ once it is known of which services the producers are
 * whose spans begin with these events. For whoever may read service_calls.
 */
Datum
tex_linked_calls(PG_FUNCTION_ARGS)
{
	int			n;
	Datum	   *ids = elements(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, &n);
	TexProducers *producers = producers_from(PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext calls of a trace", ALLOCSET_DEFAULT_SIZES);
	TexTraceReader *reader;
	TexCallSums *sums;

	tex_require_calls();
	InitMaterializedSRF(fcinfo, 0);
	reader = tex_calls_reader();
	sums = tex_call_sums_create();
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		add_calls(sums, reader, DatumGetUUIDP(ids[i]), producers, 1);
		add_calls(sums, reader, DatumGetUUIDP(ids[i]), NULL, -1);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	tex_call_sums_put(sums, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
