/*
 * causal_order.c
 *		The events of a trace, causes first, else by time: causal_order().
 *
 * It is the order of the race detector, and the causes are its edges: the parent,
 * the event before in the strand, spawn and await, messages, the clients' own
 * clocks, and who handed over a lock.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/one_trace.h"
#include "analysis/sink.h"
#include "analysis/trace_tree.h"
#include "history/row_query.h"

PG_FUNCTION_INFO_V1(tex_causal_order);

/* The ids of an event's causes, earliest in the sequence first. */
static Datum
causes_array(const TexOneTrace *one, int32 event)
{
	int32		first = one->causes.first[event];
	int32		n = one->causes.first[event + 1] - first;
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));

	for (int32 i = 0; i < n; i++)
		ids[i] = one->events[one->causes.members[first + n - 1 - i]].id;
	return tex_uuid_array(ids, n);
}

/* One row. The step is from the start of the latest cause: its end may well come later. */
static void
put_event(const TexOneTrace *one, int32 event, TexSink *sink)
{
	const TexEvent *e = &one->events[event];
	TimestampTz latest = DT_NOBEGIN;

	tex_foreach_member(cause, &one->causes, event)
		latest = Max(latest, one->extents[*cause].started);
	tex_sink_bigint(sink, sink->n + 1);
	tex_sink_datum(sink, UUIDPGetDatum(&e->id));
	tex_sink_datum(sink, TimestampTzGetDatum(e->at));
	tex_sink_event(sink, one, event);
	tex_sink_int(sink, e->strand - one->history->traces[e->trace].first_strand + 1);
	tex_sink_datum(sink, causes_array(one, event));
	if (TIMESTAMP_IS_NOBEGIN(latest))
		tex_sink_null(sink);
	else
		tex_sink_usecs(sink, tex_usecs_between(latest, one->extents[event].started));
	tex_sink_end_row(sink);
}

/* causal_order(trace_id uuid, max_rows bigint) */
Datum
tex_causal_order(PG_FUNCTION_ARGS)
{
	int64		most;
	TexOneTrace *one;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	most = tex_most_rows(fcinfo, 1, 10000);
	SPI_connect();
	one = tex_one_trace_load(PG_GETARG_UUID_P(0), TEX_BESIDE_NOTHING);
	if (one)
	{
		TexSink    *sink = tex_sink_to_caller(fcinfo, most);
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext row",
													  ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);

		for (int32 i = 0; i < one->n && !tex_sink_is_full(sink); i++)
		{
			put_event(one, one->sequence[i], sink);
			MemoryContextReset(context);
		}
		MemoryContextSwitchTo(old);
		tex_sink_end(sink, one->n, "events");
	}
	SPI_finish();
	return (Datum) 0;
}
