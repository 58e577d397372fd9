/*
 * slow.c
 *		Which events of a trace took longer than their operation usually does.
 *
 * By judges.c, as look_through.c does that looks at many traces at once.  Baselines are not
 * asked for at all where nothing took longer than trace_ext.slow_floor.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "analysis/judges.h"
#include "analysis/like.h"
#include "analysis/slow.h"
#include "guc.h"
#include "history/row_query.h"
#include "races/arrays.h"

static const char sentences_query[] =
	"SELECT k.n, trace_ext_internal.slow_sentence(k.service, k.kind, k.operation, k.actual_ms, k.p99_ms, k.calls) "
	"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6)) "
	"WITH ORDINALITY AS k (service, operation, kind, actual_ms, p99_ms, calls, n)";

typedef struct Candidate
{
	int32		event;
	const TexJudge *judge;
} Candidate;

/* Requests by span and time. */
typedef struct Requests
{
	const TexEvent **events;
	int32		n;
} Requests;

typedef struct Search
{
	TexOneTrace *one;
	Candidate  *candidates;
	int32		ncandidates;
	TexJudges  *judges;
	TexSlow    *slow;
	const TexJudge **judge;		/* of each slow one */
	int32		nslow;
} Search;

/* How long an event says that it took, in microseconds. */
static int64
own_time(const TexEvent *event)
{
	return tex_usecs_between(event->extent.started, event->extent.ended);
}

/* Notes what took long enough to be asked about, and what is to be asked. */
static void
find_candidates(Search *s)
{
	TexOneTrace *one = s->one;

	s->judges = tex_judges_create(one->history->names);
	s->candidates = tex_new_array(sizeof(Candidate), one->n, 0);
	for (int32 i = 0; i < one->n; i++)
	{
		const TexEvent *event = &one->events[i];

		CHECK_FOR_INTERRUPTS();
		if (tex_is_home(one, i) && event->name != TEX_NO_NAME && own_time(event) > tex_slow_floor * INT64CONST(1000))
			s->candidates[s->ncandidates++] = (Candidate) {
				i, tex_judge_of(s->judges, event->at, event->service, event->kind, tex_operation_name(one->history, event))
			};
	}
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
	return tex_value_array(values, isnull, n, TEXTOID);
}

/* Picks what took longer than it may. */
static void
pick_slow(Search *s)
{
	s->slow = tex_new_array(sizeof(TexSlow), s->ncandidates, 0);
	s->judge = tex_new_array(sizeof(TexJudge *), s->ncandidates, 0);
	for (int32 i = 0; i < s->ncandidates; i++)
	{
		const Candidate *c = &s->candidates[i];
		int64		actual = own_time(&s->one->events[c->event]);
		double		score;

		if (!tex_is_slow(c->judge, actual / 1000.0))
			continue;
		score = actual / 1000.0 / c->judge->bound_ms;
		s->judge[s->nslow] = c->judge;
		s->slow[s->nslow++] = (TexSlow) {
			.event = c->event,.actual = actual,.expected = (int64) rint(c->judge->p99_ms * 1000),
				.score = score,.critical = score >= TEX_CRITICALLY_SLOW
		};
	}
}

/* For qsort(): the requests of a span one after another, the last of them last; of one time the smallest id. */
static int
compare_requests(const void *a, const void *b)
{
	const TexEvent *x = *(TexEvent *const *) a;
	const TexEvent *y = *(TexEvent *const *) b;

	CHECK_FOR_INTERRUPTS();
	if (x->service != y->service)
		return x->service < y->service ? -1 : 1;
	if (x->span != y->span)
		return x->span < y->span ? -1 : 1;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return memcmp(&y->id, &x->id, sizeof(pg_uuid_t));
}

/* Finds the requests of the trace, if an answer was slow. */
static void
find_requests(Requests *requests, const Search *s)
{
	const TexOneTrace *one = s->one;
	bool		wanted = false;

	for (int32 i = 0; i < s->nslow && !wanted; i++)
		wanted = one->events[s->slow[i].event].kind == TEX_HTTP_RESPONSE;
	if (!wanted)
		return;
	requests->events = tex_new_array(sizeof(TexEvent *), one->n, 0);
	for (int32 i = 0; i < one->n; i++)
		if (tex_is_home(one, i) && one->events[i].kind == TEX_HTTP_REQUEST)
			requests->events[requests->n++] = &one->events[i];
	qsort(requests->events, requests->n, sizeof(TexEvent *), compare_requests);
}

/* The request before an answer in its span, as slow_of() finds it, or NULL. */
static const TexEvent *
request_before(const Requests *requests, const TexEvent *answer)
{
	int32		low = 0;
	int32		high = requests->n;

	/* The first one that is after the answer, or of a later span. */
	while (low < high)
	{
		int32		middle = low + (high - low) / 2;
		const TexEvent *request = requests->events[middle];

		if (request->service < answer->service ||
			(request->service == answer->service &&
			 (request->span < answer->span || (request->span == answer->span && request->at <= answer->at))))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || requests->events[low - 1]->service != answer->service || requests->events[low - 1]->span != answer->span)
		return NULL;
	return requests->events[low - 1];
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
	Requests	requests = {0};

	find_requests(&requests, s);
	for (int i = 0; i < 3; i++)
	{
		texts[i] = tex_new_array(sizeof(char *), s->nslow, 0);
		numbers[i] = tex_new_array(sizeof(Datum), s->nslow, 0);
	}
	for (int32 i = 0; i < s->nslow; i++)
	{
		const TexEvent *event = &one->events[s->slow[i].event];
		int32		operation = s->judge[i]->key.operation;

		CHECK_FOR_INTERRUPTS();
		if (event->kind == TEX_HTTP_RESPONSE)
		{
			const TexEvent *request = request_before(&requests, event);

			operation = request == NULL ? TEX_NO_NAME : tex_operation_name(one->history, request);
		}
		texts[2][i] = tex_kind_name(event->kind);
		texts[0][i] = tex_text_of(one, event->service);
		texts[1][i] = tex_text_of(one, operation);
		numbers[0][i] = Float8GetDatum(s->slow[i].actual / 1000.0);
		numbers[1][i] = Float8GetDatum(s->judge[i]->p99_ms);
		numbers[2][i] = Int64GetDatum(s->judge[i]->calls);
	}
	for (int i = 0; i < 3; i++)
	{
		args[i] = text_array(texts[i], s->nslow);
		args[i + 3] = tex_value_array(numbers[i], NULL, s->nslow, i < 2 ? FLOAT8OID : INT8OID);
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
	tex_judges_read(s.judges);
	pick_slow(&s);
	if (s.nslow > 0)
		fetch_sentences(&s);
	*n = s.nslow;
	return s.slow;
}
