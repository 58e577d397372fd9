/*
 * linked.c
 *		Traces of one request, linked by their spans.
 *
 * Services that do not hand on the trace id begin a trace each for one request; but
 * an event that came in by a call names the span that sent it.  So the traces that
 * ran at the time and name a span of those that are loaded are loaded too, and
 * what they called, until there are no more.
 *
 * Known limits: a trace that begins after the calling one has ended is not found,
 * nor is any where more than MOST_EVENTS events ran at the time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "analysis/linked.h"
#include "races/arrays.h"

#define MOST_EVENTS		200000

/* A call that is answered by a call, and so on: deeper ones are left out. */
#define MOST_ROUNDS		20

static const char linked_query[] =
	"SELECT id FROM pg_catalog.unnest(trace_ext_internal.linked_traces($1, $2, $3, $4)) AS id ORDER BY id";

/* The spans of what is loaded, as text[]. */
static Datum
span_names(const TexHistory *history, int *n)
{
	bool	   *seen = palloc0(tex_strings_count(history->names) + 1);
	Datum	   *names = palloc(sizeof(Datum) * (tex_strings_count(history->names) + 1));

	*n = 0;
	for (int32 i = 0; i < history->nevents; i++)
	{
		int32		span = history->events[i].span;

		CHECK_FOR_INTERRUPTS();
		if (span == TEX_NO_NAME || seen[span])
			continue;
		seen[span] = true;
		names[(*n)++] = CStringGetTextDatum(tex_history_text(history, span));
	}
	return PointerGetDatum(construct_array(names, *n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Loads the traces that name a span of those loaded; false if there are no others. */
static bool
load_round(TexHistory *history)
{
	Oid			types[4] = {TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID, INT8OID};
	Datum		args[4];
	TexExtent	extent = {DT_NOEND, DT_NOBEGIN};
	pg_uuid_t  *ids;
	int			nspans;
	int			n = 0;

	args[2] = span_names(history, &nspans);
	if (nspans == 0)
		return false;
	tex_history_times(history);
	for (int32 t = 0; t < history->ntraces; t++)
	{
		extent.started = Min(extent.started, history->traces[t].extent.started);
		extent.ended = Max(extent.ended, history->traces[t].extent.ended);
	}
	args[0] = TimestampTzGetDatum(extent.started);
	args[1] = TimestampTzGetDatum(extent.ended);
	args[3] = Int64GetDatum(MOST_EVENTS);
	SPI_execute_with_args(linked_query, 4, types, args, NULL, true, 0);
	ids = palloc(sizeof(pg_uuid_t) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;

		ids[n] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		n += tex_history_trace(history, &ids[n]) < 0;
	}
	tex_history_load(history, ids, n, TEX_ROLE_HOME);
	return n > 0;
}

/*
 * Loads what spans of the loaded traces called, in other traces. Call within an SPI
 * connection, before the history is prepared.
 */
void
tex_load_linked(TexHistory *history)
{
	int			nesting = tex_no_jit();

	for (int round = 0; round < MOST_ROUNDS && load_round(history); round++)
		;
	AtEOXact_GUC(false, nesting);
}

/* The event of the calling span that started an event, or TEX_NO_EVENT. */
static int32
sender_of(const TexOneTrace *one, int32 event)
{
	if (one->events[event].upstream == TEX_NO_NAME)
		return TEX_NO_EVENT;
	tex_foreach_member(cause, &one->causes, event)
		if (one->events[*cause].span == one->events[event].upstream)
			return *cause;
	return TEX_NO_EVENT;
}

/*
 * The same in the trace that was asked for: what its calling span sent last before the
 * event, else its first event.
 */
static int32
sender_at_home(const TexOneTrace *one, int32 event)
{
	int32		found = TEX_NO_EVENT;

	for (int32 i = 0; i < tex_order_position(one->order, event); i++)
	{
		const TexEvent *e = &one->events[one->sequence[i]];

		CHECK_FOR_INTERRUPTS();
		if (e->trace == one->trace && e->span == one->events[event].upstream &&
			(found == TEX_NO_EVENT || e->kind == TEX_HTTP_REQUEST || e->kind == TEX_ASYNC_SPAWN ||
			 e->kind == TEX_DATABASE_QUERY))
			found = one->sequence[i];
	}
	return found;
}

/* The first event of each span of the trace that was asked for, by name; TEX_NO_EVENT: it has none. */
static int32 *
first_of_spans(const TexOneTrace *one)
{
	int32	   *first = tex_new_array(sizeof(int32), tex_strings_count(one->history->names), 0xff);

	for (int32 i = one->n - 1; i >= 0; i--)
	{
		const TexEvent *event = &one->events[one->sequence[i]];

		if (event->span != TEX_NO_NAME && event->trace == one->trace)
			first[event->span] = one->sequence[i];
	}
	return first;
}

/*
 * Whether in each trace all parents come before their children in the sequence.  Where
 * clocks and parents contradict they may not, and a link across could close a cycle.
 */
static bool *
traces_in_order(const TexOneTrace *one)
{
	bool	   *in_order = tex_new_array(sizeof(bool), one->history->ntraces, 1);

	for (int32 i = 0; i < one->n; i++)
		if (one->events[i].parent != TEX_NO_EVENT &&
			tex_order_position(one->order, one->events[i].parent) > tex_order_position(one->order, i))
			in_order[one->events[i].trace] = false;
	return in_order;
}

/*
 * The parent of each event.  By spans too: what has none hangs under what called it, in
 * its own trace or another one; in another trace that shares a span, under the first
 * event of that.  There are no cycles.
 */
int32 *
tex_parents(const TexOneTrace *one, bool by_spans)
{
	int32	   *parent = tex_new_array(sizeof(int32), one->n, 0);
	int32	   *first = by_spans ? first_of_spans(one) : NULL;
	bool	   *in_order = by_spans ? traces_in_order(one) : NULL;

	for (int32 i = 0; i < one->n; i++)
	{
		const TexEvent *event = &one->events[i];
		int32		sender;

		CHECK_FOR_INTERRUPTS();
		parent[i] = event->parent;
		if (!by_spans || event->parent != TEX_NO_EVENT || (event->flags & TEX_EVENT_IN_CYCLE))
			continue;
		sender = sender_of(one, i);
		/* Traces that share a span: who calls is the one that was asked for. */
		if (sender != TEX_NO_EVENT && !tex_is_home(one, sender) && first[event->upstream] != TEX_NO_EVENT)
			sender = sender_at_home(one, i);
		if (sender == TEX_NO_EVENT && event->trace != one->trace && event->span != TEX_NO_NAME)
			sender = first[event->span];
		if (sender != TEX_NO_EVENT && in_order[event->trace] && in_order[one->events[sender].trace] &&
			tex_order_position(one->order, sender) < tex_order_position(one->order, i))
			parent[i] = sender;
	}
	return parent;
}
