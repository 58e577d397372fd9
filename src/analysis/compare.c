/*
 * compare.c
 *		Two traces side by side: compare_traces().
 *
 * Events are the same step if they have the same kind, name (but for its values,
 * like.c) and service, and what encloses them (enclosing.c) is the same step.  So
 * clients that chain are aligned by what a chain is part of, and a loop is one step
 * with a count.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/hsearch.h"

#include "analysis/clock_offsets.h"
#include "analysis/enclosing.h"
#include "analysis/like.h"
#include "analysis/linked.h"
#include "analysis/one_trace.h"
#include "analysis/sink.h"
#include "races/arrays.h"
#include "races/overlaps.h"

/* A path is shown from so many steps above. */
#define MOST_STEPS	12

PG_FUNCTION_INFO_V1(tex_compare_traces);

typedef struct StepKey
{
	int32		above;			/* step, or -1 */
	int32		kind;
	int32		name;
	int32		service;
} StepKey;

typedef struct Step
{
	StepKey		key;
	int32		number;			/* in the order of first occurrence */
	int64		count[2];		/* in either trace */
	int64		usecs[2];
} Step;

typedef struct Comparison
{
	TexOneTrace *one;
	HTAB	   *table;
	Step	  **steps;			/* by number */
	int32		n;
} Comparison;

/* The step of an event whose enclosing one's is known. */
static Step *
step_of(Comparison *c, const TexEvent *event, int32 above, int32 name)
{
	StepKey		key = {above, event->kind, name, event->service};
	bool		found;
	Step	   *step = hash_search(c->table, &key, HASH_ENTER, &found);

	if (!found)
	{
		memset(step->count, 0, sizeof(step->count));
		memset(step->usecs, 0, sizeof(step->usecs));
		step->number = c->n;
		c->steps[c->n++] = step;
	}
	return step;
}

/* All steps of both traces. */
static void
collect_steps(Comparison *c, const int32 *traces)
{
	TexOneTrace *one = c->one;
	HASHCTL		ctl = {.keysize = sizeof(StepKey),.entrysize = sizeof(Step),
	.hcxt = CurrentMemoryContext};
	int32	   *parent = tex_parents(one, true);
	int32	   *enclosing;
	int32	   *step_at = tex_new_array(sizeof(int32), one->n, 0xff);

	/* Else what a server says was done after its client had the answer would be beside it. */
	tex_adjust_clocks(one, parent);
	enclosing = tex_enclosing(one, parent);
	c->table = hash_create("steps of two traces", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	c->steps = tex_new_array(sizeof(Step *), one->n, 0);
	for (int32 i = 0; i < one->n; i++)
	{
		int32		e = one->sequence[i];
		int32		above = enclosing[e] == TEX_NO_EVENT ? -1 : step_at[enclosing[e]];
		Step	   *step;

		CHECK_FOR_INTERRUPTS();
		step = step_of(c, &one->events[e], above, tex_like_name(one->history, &one->events[e]));
		step_at[e] = step->number;
		/* Of one trace with itself both sides are the same. */
		for (int side = 0; side < 2; side++)
			if (one->events[e].trace == traces[side])
			{
				step->count[side]++;
				step->usecs[side] = tex_usecs_plus(step->usecs[side], tex_lasted(one, e));
			}
	}
	pfree(enclosing);
	pfree(step_at);
}

static inline int64
difference(const Step *step)
{
	return step->usecs[1] - step->usecs[0];
}

/* For qsort(): what differs most first, then in the order of occurrence. */
static int
compare_steps(const void *a, const void *b)
{
	const Step *x = *(Step *const *) a;
	const Step *y = *(Step *const *) b;
	int64		dx = difference(x) < 0 ? -difference(x) : difference(x);
	int64		dy = difference(y) < 0 ? -difference(y) : difference(y);

	CHECK_FOR_INTERRUPTS();
	if (dx != dy)
		return dx > dy ? -1 : 1;
	return x->number - y->number;
}

/* A step as a path: what encloses what, the outermost first. */
static const char *
path_of(const Comparison *c, Step *const *by_number, const Step *step)
{
	const Step *steps[MOST_STEPS];
	int			n = 0;
	StringInfoData path;

	while (step && n < MOST_STEPS)
	{
		steps[n++] = step;
		step = step->key.above < 0 ? NULL : by_number[step->key.above];
	}
	initStringInfo(&path);
	if (step)
		appendStringInfoString(&path, "... > ");
	while (n-- > 0)
	{
		const char *name = tex_text_of(c->one, steps[n]->key.name);

		appendStringInfoString(&path, name ? name : tex_kind_name(steps[n]->key.kind));
		if (n > 0)
			appendStringInfoString(&path, " > ");
	}
	return path.data;
}

/* A count and a time of a side; null where the step is not in it. */
static void
put_sides(const Step *step, TexSink *sink)
{
	for (int side = 0; side < 2; side++)
		if (step->count[side] == 0)
			tex_sink_null(sink);
		else
			tex_sink_bigint(sink, step->count[side]);
	for (int side = 0; side < 2; side++)
		if (step->count[side] == 0)
			tex_sink_null(sink);
		else
			tex_sink_usecs(sink, step->usecs[side]);
}

/* The rows. */
static void
put_steps(Comparison *c, TexSink *sink)
{
	Step	  **sorted = tex_new_array(sizeof(Step *), c->n, 0);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext row",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	memcpy(sorted, c->steps, sizeof(Step *) * (Size) c->n);
	qsort(sorted, c->n, sizeof(Step *), compare_steps);
	for (int32 i = 0; i < c->n && !tex_sink_is_full(sink); i++)
	{
		const Step *step = sorted[i];

		tex_sink_text(sink, path_of(c, c->steps, step));
		tex_sink_datum(sink, ObjectIdGetDatum(tex_kind_oid(step->key.kind)));
		tex_sink_text(sink, tex_text_of(c->one, step->key.name));
		tex_sink_text(sink, tex_text_of(c->one, step->key.service));
		put_sides(step, sink);
		tex_sink_usecs(sink, difference(step));
		tex_sink_end_row(sink);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	tex_sink_end(sink, c->n, "steps");
}

/* Both traces in one history; NULL, and a NOTICE, where one is not stored. */
static TexOneTrace *
load_both(const pg_uuid_t *a, const pg_uuid_t *b)
{
	TexHistory *history = tex_history_create();
	pg_uuid_t	ids[2] = {*a, *b};

	tex_history_load(history, ids, memcmp(a, b, sizeof(pg_uuid_t)) == 0 ? 1 : 2, TEX_ROLE_HOME);
	for (int i = 0; i < 2; i++)
		if (tex_history_trace(history, &ids[i]) < 0)
		{
			tex_notice_unknown_trace(&ids[i]);
			return NULL;
		}
	tex_history_prepare(history);
	return tex_one_trace_of(history, a, NULL);
}

/* compare_traces(a uuid, b uuid, max_rows bigint) */
Datum
tex_compare_traces(PG_FUNCTION_ARGS)
{
	Comparison	c = {.n = 0};
	int64		most;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	most = tex_most_rows(fcinfo, 2, 10000);
	SPI_connect();
	c.one = load_both(PG_GETARG_UUID_P(0), PG_GETARG_UUID_P(1));
	if (c.one)
	{
		int32		traces[2] = {tex_history_trace(c.one->history, PG_GETARG_UUID_P(0)),
		tex_history_trace(c.one->history, PG_GETARG_UUID_P(1))};

		collect_steps(&c, traces);
		put_steps(&c, tex_sink_to_caller(fcinfo, most));
	}
	SPI_finish();
	return (Datum) 0;
}
