/*
 * slow.c
 *		Which events of a trace took longer than their operation usually does.
 *
 * By judges.c, as look_through.c does that looks at many traces at once.  Baselines are not
 * asked for at all where nothing took longer than trace_ext.slow_floor.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "analysis/judges.h"
#include "analysis/like.h"
#include "analysis/requests.h"
#include "analysis/slow.h"
#include "analysis/words.h"
#include "common/amounts.h"
#include "guc.h"
#include "races/arrays.h"

typedef struct Candidate
{
	int32		event;
	const TexJudge *judge;
} Candidate;

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

/* The requests of the trace, sorted, if an answer was slow. */
static TexRequest *
find_requests(const Search *s, int32 *n)
{
	const TexOneTrace *one = s->one;
	TexRequest *requests;
	bool		wanted = false;

	*n = 0;
	for (int32 i = 0; i < s->nslow && !wanted; i++)
		wanted = one->events[s->slow[i].event].kind == TEX_HTTP_RESPONSE;
	if (!wanted)
		return NULL;
	requests = tex_new_array(sizeof(TexRequest), one->n, 0);
	for (int32 i = 0; i < one->n; i++)
	{
		const TexEvent *event = &one->events[i];

		if (tex_is_home(one, i) && event->kind == TEX_HTTP_REQUEST)
			requests[(*n)++] = (TexRequest) {0, event->service, event->span, i, event->at, event->id};
	}
	tex_requests_sort(requests, *n);
	return requests;
}

/* What baselines are of, in words: "7 days". */
static char *
window_words(void)
{
	Datum		window = DirectFunctionCall3(interval_in, CStringGetDatum(tex_baseline_window), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	int			style = IntervalStyle;
	char	   *words;

	IntervalStyle = INTSTYLE_POSTGRES;
	words = DatumGetCString(DirectFunctionCall1(interval_out, DirectFunctionCall1(interval_justify_hours, window)));
	IntervalStyle = style;
	return words;
}

/*
 * The evidence for a slow call: of which service, or NULL, what it was, or NULL, and what it was
 * judged by; an answer by the answers of its service.
 */
char *
tex_slow_sentence(const char *service, const char *operation, double actual_ms, const TexJudge *judge)
{
	StringInfoData text;

	initStringInfo(&text);
	if (judge->key.kind == TEX_LOCK_ACQUIRE)
		appendStringInfoString(&text, "lock ");
	appendStringInfoString(&text, operation ? operation : "a request");
	if (service)
		appendStringInfo(&text, " of %s", service);
	appendStringInfoString(&text, " took ");
	tex_say_ms(&text, actual_ms);
	if (judge->key.kind == TEX_LOCK_ACQUIRE)
		appendStringInfoString(&text, " to get");
	appendStringInfo(&text, "; 99 of 100 %s", judge->key.kind == TEX_HTTP_RESPONSE ? "answers of this service " : "");
	if (judge->p99_ms > 0)
	{
		appendStringInfoString(&text, "take at most ");
		tex_say_ms(&text, judge->p99_ms);
	}
	else
		appendStringInfoString(&text, "take no time");
	appendStringInfoString(&text, " (");
	tex_say_number(&text, judge->calls);
	appendStringInfo(&text, " calls in %s)", window_words());
	return tex_take_string(&text);
}

/* Puts each in a sentence. Of an answer it has the operation of its request. */
static void
tell_slow(Search *s)
{
	TexOneTrace *one = s->one;
	int32		nrequests;
	const TexRequest *requests = find_requests(s, &nrequests);

	for (int32 i = 0; i < s->nslow; i++)
	{
		const TexEvent *event = &one->events[s->slow[i].event];
		int32		operation = s->judge[i]->key.operation;

		CHECK_FOR_INTERRUPTS();
		if (event->kind == TEX_HTTP_RESPONSE)
		{
			const TexRequest *request = tex_request_before(requests, nrequests, 0, event->service, event->span, event->at);

			operation = request == NULL ? TEX_NO_NAME : tex_operation_name(one->history, &one->events[request->name]);
		}
		s->slow[i].evidence = tex_slow_sentence(tex_text_of(one, event->service), tex_text_of(one, operation), s->slow[i].actual / 1000.0, s->judge[i]);
	}
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
		tell_slow(&s);
	*n = s.nslow;
	return s.slow;
}
