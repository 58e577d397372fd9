/*
 * slow.c
 *		Which events of a trace took longer than their operation usually does.
 *
 * What is too long is for SQL to say, by the baselines: slow_bound(), which slow_events()
 * asks as well, who looks at many traces at once.  It is asked once of each operation in an
 * hour, and not at all of a trace in which nothing took longer than trace_ext.slow_floor.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "analysis/like.h"
#include "analysis/slow.h"
#include "guc.h"
#include "races/arrays.h"

static const char bounds_query[] =
	"SELECT k.n, b.calls, b.p99_ms, b.bound_ms, b.critical_ms "
	"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) WITH ORDINALITY AS k (service, kind, operation, hour, n), "
	"LATERAL trace_ext_internal.slow_bound(k.service, trace_ext_internal.kind_named(k.kind), k.operation, k.hour) b";

static const char sentences_query[] =
	"SELECT k.n, trace_ext_internal.slow_sentence(k.service, k.operation, k.answer, k.actual_ms, k.p99_ms, k.calls) "
	"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6)) "
	"WITH ORDINALITY AS k (service, operation, answer, actual_ms, p99_ms, calls, n)";

/* What events have in common that are judged by the same baseline. */
typedef struct JudgedKey
{
	TimestampTz hour;
	int32		service;
	int32		operation;
	int32		kind;
	int32		zero;
} JudgedKey;

typedef struct Judged
{
	JudgedKey	key;
	int32		number;			/* place in the question */
} Judged;

/* The answer for one of them; calls 0: nobody knows. */
typedef struct Bound
{
	int64		calls;
	double		p99_ms;
	double		bound_ms;
	double		critical_ms;
} Bound;

typedef struct Candidate
{
	int32		event;
	int32		operation;
	int32		number;			/* of what it is judged by */
} Candidate;

typedef struct Search
{
	TexOneTrace *one;
	Candidate  *candidates;
	int32		ncandidates;
	JudgedKey  *keys;
	int32		nkeys;
	Bound	   *bounds;			/* of each key */
	TexSlow    *slow;
	int64	   *calls;			/* of each slow one: how many it was compared with */
	int32	   *operations;		/* ... and its operation */
	int32		nslow;
} Search;

/* How long an event says that it took, in microseconds. */
static int64
own_time(const TexEvent *event)
{
	return tex_usecs_between(event->extent.started, event->extent.ended);
}

/* The hour of a time, by which baselines are. */
static TimestampTz
hour_of(TimestampTz at)
{
	int64		into = at % USECS_PER_HOUR;

	return at - (into < 0 ? into + USECS_PER_HOUR : into);
}

/* Notes what took long enough to be asked about, and what is to be asked. */
static void
find_candidates(Search *s)
{
	const TexOneTrace *one = s->one;
	HASHCTL		ctl = {.keysize = sizeof(JudgedKey),.entrysize = sizeof(Judged),.hcxt = CurrentMemoryContext};
	HTAB	   *seen = hash_create("what is judged by one baseline", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	s->candidates = tex_new_array(sizeof(Candidate), one->n, 0);
	s->keys = tex_new_array(sizeof(JudgedKey), one->n, 0);
	for (int32 i = 0; i < one->n; i++)
	{
		const TexEvent *event = &one->events[i];
		JudgedKey	key = {.service = event->service,.kind = event->kind};
		Judged	   *judged;
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (!tex_is_home(one, i) || event->name == TEX_NO_NAME || own_time(event) <= (int64) tex_slow_floor * 1000)
			continue;
		key.hour = hour_of(event->at);
		key.operation = tex_like_name(one->history, event);
		judged = hash_search(seen, &key, HASH_ENTER, &found);
		if (!found)
		{
			judged->number = s->nkeys;
			s->keys[s->nkeys++] = key;
		}
		s->candidates[s->ncandidates++] = (Candidate) {i, key.operation, judged->number};
	}
	hash_destroy(seen);
}

/* An array for SQL; isnull may be NULL. */
static Datum
array_of(Datum *values, bool *isnull, int32 n, Oid type)
{
	int			lower = 1;
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(values, isnull, 1, &n, &lower, type, length, by_value, align));
}

/* Texts, of which some may be NULL, for SQL. */
static Datum
text_array(const char **texts, int32 n)
{
	Datum	   *values = tex_new_array(sizeof(Datum), n, 0);
	bool	   *isnull = tex_new_array(sizeof(bool), n, 0);

	for (int32 i = 0; i < n; i++)
	{
		isnull[i] = texts[i] == NULL;
		if (texts[i])
			values[i] = CStringGetTextDatum(texts[i]);
	}
	return array_of(values, isnull, n, TEXTOID);
}

/* Asks how long each may take; planned once a session, as to plan takes longer than to ask. */
static void
fetch_bounds(Search *s)
{
	static SPIPlanPtr plan = NULL;
	const char **texts[3];
	Datum	   *hours = tex_new_array(sizeof(Datum), s->nkeys, 0);
	Oid			types[4] = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID};
	Datum		args[4];

	for (int i = 0; i < 3; i++)
		texts[i] = tex_new_array(sizeof(char *), s->nkeys, 0);
	for (int32 i = 0; i < s->nkeys; i++)
	{
		texts[0][i] = tex_text_of(s->one, s->keys[i].service);
		texts[1][i] = tex_kind_name(s->keys[i].kind);
		texts[2][i] = tex_text_of(s->one, s->keys[i].operation);
		hours[i] = TimestampTzGetDatum(s->keys[i].hour);
	}
	for (int i = 0; i < 3; i++)
		args[i] = text_array(texts[i], s->nkeys);
	args[3] = array_of(hours, NULL, s->nkeys, TIMESTAMPTZOID);
	s->bounds = tex_new_array(sizeof(Bound), s->nkeys, 0);
	if (plan == NULL)
	{
		plan = SPI_prepare_cursor(bounds_query, 4, types, CURSOR_OPT_FAST_PLAN | CURSOR_OPT_GENERIC_PLAN);
		if (plan == NULL)
			elog(ERROR, "could not prepare the question for what is slow");
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, args, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[5];
		bool		isnull[5];
		Bound	   *bound;

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, isnull);
		bound = &s->bounds[DatumGetInt64(values[0]) - 1];
		bound->calls = DatumGetInt64(values[1]);
		bound->p99_ms = DatumGetFloat8(values[2]);
		bound->bound_ms = DatumGetFloat8(values[3]);
		bound->critical_ms = DatumGetFloat8(values[4]);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Picks what took longer than it may. */
static void
pick_slow(Search *s)
{
	s->slow = tex_new_array(sizeof(TexSlow), s->ncandidates, 0);
	s->calls = tex_new_array(sizeof(int64), s->ncandidates, 0);
	s->operations = tex_new_array(sizeof(int32), s->ncandidates, 0);
	for (int32 i = 0; i < s->ncandidates; i++)
	{
		const Candidate *c = &s->candidates[i];
		const Bound *bound = &s->bounds[c->number];
		int64		actual = own_time(&s->one->events[c->event]);
		double		actual_ms = actual / 1000.0;

		if (bound->calls == 0 || actual_ms <= bound->bound_ms)
			continue;
		s->calls[s->nslow] = bound->calls;
		s->operations[s->nslow] = c->operation;
		s->slow[s->nslow++] = (TexSlow) {
			.event = c->event,.actual = actual,.expected = (int64) (bound->p99_ms * 1000),
				.score = actual_ms / bound->bound_ms,.critical = actual_ms >= bound->critical_ms
		};
	}
}

/* Has each put in a sentence. Of an answer it has the operation of its request. */
static void
fetch_sentences(Search *s)
{
	TexOneTrace *one = s->one;
	const char **texts[3];
	Datum	   *numbers[3];
	Oid			types[6] = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, INT8ARRAYOID};
	Datum		args[6];

	for (int i = 0; i < 3; i++)
	{
		texts[i] = tex_new_array(sizeof(char *), s->nslow, 0);
		numbers[i] = tex_new_array(sizeof(Datum), s->nslow, 0);
	}
	for (int32 i = 0; i < s->nslow; i++)
	{
		const TexEvent *event = &one->events[s->slow[i].event];
		int32		request = one->answers[s->slow[i].event];
		int32		operation = s->operations[i];

		CHECK_FOR_INTERRUPTS();
		if (event->kind == TEX_HTTP_RESPONSE)
		{
			texts[2][i] = tex_text_of(one, operation);
			operation = request == TEX_NO_EVENT ? TEX_NO_NAME : tex_like_name(one->history, &one->events[request]);
		}
		texts[0][i] = tex_text_of(one, event->service);
		texts[1][i] = tex_text_of(one, operation);
		numbers[0][i] = Float8GetDatum(s->slow[i].actual / 1000.0);
		numbers[1][i] = Float8GetDatum(s->slow[i].expected / 1000.0);
		numbers[2][i] = Int64GetDatum(s->calls[i]);
	}
	for (int i = 0; i < 3; i++)
	{
		args[i] = text_array(texts[i], s->nslow);
		args[i + 3] = array_of(numbers[i], NULL, s->nslow, i < 2 ? FLOAT8OID : INT8OID);
	}
	SPI_execute_with_args(sentences_query, 6, types, args, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int64		number = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		s->slow[number - 1].evidence = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * What took too long, by its own word: of a trace that is loaded, whose answers are known.
 * *n says how many.  Call within an SPI connection; reads with the caller's rights.
 */
TexSlow *
tex_find_slow(TexOneTrace *one, int32 *n)
{
	Search		s = {.one = one};

	*n = 0;
	find_candidates(&s);
	if (s.ncandidates == 0)
		return NULL;
	fetch_bounds(&s);
	pick_slow(&s);
	if (s.nslow > 0)
		fetch_sentences(&s);
	*n = s.nslow;
	return s.slow;
}
