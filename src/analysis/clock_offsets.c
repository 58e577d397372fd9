/*
 * clock_offsets.c
 *		By how much the clocks of two instances differ, as their messages tell.
 *
 * As NTP does (Mills, RFC 5905): a request that left at s1 and was answered at s2 by
 * the clock of the one, came in at r1 and was done at r2 by that of the other.  So
 * the other's clock is ahead by ((r1 - s1) + (r2 - s2)) / 2, give or take half the
 * time that the two ways took, (s2 - s1) - (r2 - r1).  Of many pairs the one with the
 * shortest ways is the best, so that one counts.  Pairs that took less than no time
 * prove nothing: who did not wait for the answer was not told of it.
 *
 * Stored times never change: only what is shown is shifted, and only where asked for.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "analysis/clock_offsets.h"
#include "analysis/linked.h"
#include "analysis/sink.h"
#include "races/arrays.h"

/* Clocks do not differ by more than 100 years; times that do are not times. */
#define MOST_APART	(INT64CONST(36525) * USECS_PER_DAY)

PG_FUNCTION_INFO_V1(tex_clock_offsets);

typedef struct OffsetKey
{
	int32		from;			/* instance that called */
	int32		to;
} OffsetKey;

typedef struct ClockOffset
{
	OffsetKey	key;
	int32		pairs;
	int64		ways;			/* of the best one, in microseconds */
	int64		ahead;
	int32		sample;			/* an event of "to" */
	int32		calling;		/* an event of "from" */
} ClockOffset;

/* Takes a call into account: "event" came in, "caller" sent it. */
static void
note_pair(const TexOneTrace *one, HTAB *offsets, int32 caller, int32 event)
{
	const TexExtent *sent = &one->extents[caller];
	const TexExtent *came = &one->extents[event];
	OffsetKey	key = {one->events[caller].instance, one->events[event].instance};
	int64		ways = tex_lasted(one, caller) - tex_lasted(one, event);
	int64		at_begin = tex_usecs_between(sent->started, came->started);
	int64		at_end = tex_usecs_between(sent->ended, came->ended);
	ClockOffset	   *offset;
	bool		found;

	if (tex_lasted(one, caller) == 0 || tex_lasted(one, event) == 0 || ways < 0 ||
		Max(at_begin, at_end) > MOST_APART || Min(at_begin, at_end) < -MOST_APART)
		return;
	offset = hash_search(offsets, &key, HASH_ENTER, &found);
	if (!found)
		offset->pairs = 0;
	if (offset->pairs++ > 0 && offset->ways <= ways)
		return;
	offset->ways = ways;
	offset->ahead = (at_begin + at_end) / 2;
	offset->calling = caller;
	offset->sample = event;
}

/* The differences of all pairs of instances that called each other, directly. */
static HTAB *
measure(const TexOneTrace *one, const int32 *parent)
{
	HASHCTL		ctl = {.keysize = sizeof(OffsetKey),.entrysize = sizeof(ClockOffset),
	.hcxt = CurrentMemoryContext};
	HTAB	   *offsets = hash_create("clock offsets", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	for (int32 i = 0; i < one->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (parent[i] != TEX_NO_EVENT && one->events[parent[i]].instance != one->events[i].instance)
			note_pair(one, offsets, parent[i], i);
	}
	return offsets;
}

/*
 * How far each instance is ahead of the one in which the trace began, along the calls,
 * the shortest ways first where there are several.  Instances that no call reaches
 * are taken to be right.
 */
static void
add_up(HTAB *offsets, int32 begin, int64 *ahead, bool *known)
{
	known[begin] = true;
	for (;;)
	{
		HASH_SEQ_STATUS scan;
		ClockOffset	   *offset;
		ClockOffset	   *best = NULL;

		CHECK_FOR_INTERRUPTS();
		hash_seq_init(&scan, offsets);
		while ((offset = hash_seq_search(&scan)) != NULL)
			if (known[offset->key.from] != known[offset->key.to] &&
				(best == NULL || offset->ways < best->ways ||
				 (offset->ways == best->ways && offset->sample < best->sample)))
				best = offset;
		if (best == NULL)
			return;
		if (known[best->key.from])
			ahead[best->key.to] = ahead[best->key.from] + best->ahead;
		else
			ahead[best->key.from] = ahead[best->key.to] - best->ahead;
		known[best->key.from] = known[best->key.to] = true;
	}
}

/* Shifts an extent, unless it would be beyond the times that there are. */
static void
shift(TexExtent *extent, int64 ahead)
{
	TexExtent	shifted;

	if (!pg_sub_s64_overflow(extent->started, ahead, &shifted.started) &&
		!pg_sub_s64_overflow(extent->ended, ahead, &shifted.ended))
		*extent = shifted;
}

/*
 * Shifts the extents to the clock of the instance in which the trace began. The order of
 * events stays.
 */
void
tex_adjust_clocks(TexOneTrace *one, const int32 *parent)
{
	int32		names = tex_strings_count(one->history->names);
	int64	   *ahead = tex_new_array(sizeof(int64), names, 0);
	bool	   *known = tex_new_array(sizeof(bool), names, 0);
	HTAB	   *offsets = measure(one, parent);

	add_up(offsets, one->events[one->history->traces[one->trace].first_event].instance, ahead, known);
	one->extent = (TexExtent) {DT_NOEND, DT_NOBEGIN};
	for (int32 i = 0; i < one->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		shift(&one->extents[i], ahead[one->events[i].instance]);
		if (!tex_is_home(one, i))
			continue;
		one->extent.started = Min(one->extent.started, one->extents[i].started);
		one->extent.ended = Max(one->extent.ended, one->extents[i].ended);
	}
}

/* An instance as vector clocks name it. */
char *
tex_instance_words(const TexOneTrace *one, int32 event)
{
	const char *service = tex_text_of(one, one->events[event].service);
	const char *instance = tex_text_of(one, one->events[event].instance_name);

	return psprintf("%s%s%s", service ? service : "", instance ? "#" : "", instance ? instance : "");
}

/* For qsort(): by name, of both. */
static int
compare_rows(const void *a, const void *b)
{
	const char *const *x = a;
	const char *const *y = b;
	int			order = strcmp(x[0], y[0]);

	CHECK_FOR_INTERRUPTS();
	return order != 0 ? order : strcmp(x[1], y[1]);
}

/* The rows, by name. */
static void
put_offsets(const TexOneTrace *one, HTAB *offsets, TexSink *sink)
{
	HASH_SEQ_STATUS scan;
	ClockOffset	   *offset;
	struct Row
	{
		char	   *names[2];	/* first: it is what is compared */
		ClockOffset	   *offset;
	}		   *rows = palloc(sizeof(struct Row) * (hash_get_num_entries(offsets) + 1));
	int			n = 0;

	hash_seq_init(&scan, offsets);
	while ((offset = hash_seq_search(&scan)) != NULL)
		rows[n++] = (struct Row) {{tex_instance_words(one, offset->calling), tex_instance_words(one, offset->sample)}, offset};
	qsort(rows, n, sizeof(struct Row), compare_rows);
	for (int i = 0; i < n && !tex_sink_is_full(sink); i++)
	{
		tex_sink_text(sink, rows[i].names[0]);
		tex_sink_text(sink, rows[i].names[1]);
		tex_sink_usecs(sink, rows[i].offset->ahead);
		tex_sink_bigint(sink, rows[i].offset->pairs);
		tex_sink_end_row(sink);
	}
	tex_sink_end(sink, n, "pairs of instances");
}

/* clock_offsets(trace_id uuid, max_rows bigint) */
Datum
tex_clock_offsets(PG_FUNCTION_ARGS)
{
	int64		most;
	TexOneTrace *one;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	most = tex_most_rows(fcinfo, 1, 1000);
	SPI_connect();
	one = tex_one_trace_load(PG_GETARG_UUID_P(0), TEX_BESIDE_LINKED);
	if (one)
		put_offsets(one, measure(one, tex_parents(one, true)), tex_sink_to_caller(fcinfo, most));
	SPI_finish();
	return (Datum) 0;
}
