/*
 * anomalies.c
 *		What is odd about a trace: trace_anomalies().
 *
 * Each kind has a finder below, which says what counts.  An anomaly is reported where
 * it begins: of an error that every caller passes on, the innermost one; of a loop of
 * queries, the first; of what two clocks contradict, the worst.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/anomalies.h"
#include "analysis/clock_offsets.h"
#include "analysis/critical_path.h"
#include "analysis/enclosing.h"
#include "analysis/error_messages.h"
#include "analysis/handovers.h"
#include "analysis/like.h"
#include "analysis/linked.h"
#include "analysis/slow.h"
#include "analysis/words.h"
#include "guc.h"
#include "races/arrays.h"

/* What is shorter is not worth a word, however short the trace. */
#define SHORTEST_GAP	INT64CONST(10000)
/* Parts of a trace's extent, in percent. */
#define LARGE_GAP		20
#define MOST_OF_IT		50
#define FEWEST_TRIES	3
/* Of one trace. */
#define MOST_KEPT		1000
#define FEWEST_FAILURES 2
/* Within an instance, and by rounding, times may be off by that. */
#define CLOCK_STEP		INT64CONST(1000)

PG_FUNCTION_INFO_V1(tex_trace_anomalies);

typedef enum Severity
{
	CRITICAL,
	WARNING_,					/* elog.h has the other name */
	INFO_
} Severity;

static const char *const severity_words[] = {"CRITICAL", "WARNING", "INFO"};

typedef struct Anomaly
{
	int32		event;
	const char *kind;
	Severity	severity;
	int64		actual;			/* microseconds, or -1 */
	int64		expected;
	double		score;
	char	   *evidence;
} Anomaly;

typedef struct Search
{
	TexOneTrace *one;
	int32	   *parent;
	int32	   *enclosing;
	int32	   *errors;			/* of each event: how many it encloses */
	bool		answered_well;	/* the first request got an answer that is no error */
	Anomaly    *anomalies;
	int32		n;
	int32		room;
} Search;

/* Notes an anomaly; its evidence is allocated. */
static void
note(Search *s, Anomaly anomaly)
{
	if (s->n == s->room)
	{
		s->room *= 2;
		s->anomalies = repalloc_huge(s->anomalies, sizeof(Anomaly) * (Size) s->room);
	}
	s->anomalies[s->n++] = anomaly;
}

/* How much of the trace's extent a time is, in percent. */
static double
percent_of(const Search *s, int64 usecs)
{
	int64		all = tex_usecs_between(s->one->extent.started, s->one->extent.ended);

	return all > 0 ? usecs * 100.0 / all : 0;
}

static inline bool
is_error(const Search *s, int32 event)
{
	return (s->one->events[event].flags & TEX_EVENT_IS_ERROR) != 0;
}

/* Counts the errors that each event encloses, from the inside outwards. */
static void
count_errors(Search *s)
{
	const TexOneTrace *one = s->one;

	s->errors = tex_new_array(sizeof(int32), one->n, 0);
	for (int32 i = one->n - 1; i >= 0; i--)
	{
		int32		e = one->sequence[i];

		if (s->enclosing[e] != TEX_NO_EVENT)
			s->errors[s->enclosing[e]] += s->errors[e] + is_error(s, e);
	}
	for (int32 i = 0; i < one->n; i++)
		if (tex_is_home(one, i) && one->events[i].kind == TEX_HTTP_REQUEST && one->answer[i] != TEX_NO_EVENT)
		{
			s->answered_well = !is_error(s, one->answer[i]);
			break;
		}
}

/* Whether an event is an error and encloses none; a response is one if its request encloses none but it. */
static bool
is_innermost_error(const Search *s, int32 event)
{
	const TexOneTrace *one = s->one;
	int32		request = one->answers[event];
	int32		inside;

	if (!tex_is_home(one, event) || !is_error(s, event))
		return false;
	inside = s->errors[event];
	if (one->events[event].kind == TEX_HTTP_RESPONSE && request != TEX_NO_EVENT)
		inside += s->errors[request] - (s->enclosing[event] == request);
	return inside <= 0;
}

/* What an error means to who asks. */
static char *
error_evidence(const Search *s, int32 event)
{
	TexOneTrace *one = s->one;
	const char *message = tex_error_message(one, event);
	int32		around = s->enclosing[event];
	StringInfoData text;

	initStringInfo(&text);
	tex_say_event(&text, one, event);
	if (message)
		appendStringInfo(&text, " (\"%s\")", message);
	if (one->events[event].service != TEX_NO_NAME)
		appendStringInfo(&text, " in %s", tex_text_of(one, one->events[event].service));
	if (around != TEX_NO_EVENT)
		appendStringInfo(&text, ", %s into %s", tex_usecs_words(tex_usecs_between(one->extents[around].started, one->extents[event].ended)),
						 tex_event_words(one, around));
	if (one->events[event].kind == TEX_HTTP_RESPONSE)
		appendStringInfoString(&text, "; nothing inside says why: record the error where it happens");
	if (s->answered_well)
		appendStringInfoString(&text, "; the trace's first request was answered without an error all the same");
	return text.data;
}

/* error: the innermost ones. */
static void
find_errors(Search *s)
{
	for (int32 i = 0; i < s->one->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_innermost_error(s, i))
			note(s, (Anomaly) {.event = i,.kind = "error",
				 .severity = s->answered_well ? WARNING_ : CRITICAL,.actual = -1,.expected = -1,.score = 1,
				 .evidence = error_evidence(s, i)});
	}
}

/* lock wait: an acquire that waited TEX_LONG_WAIT, or TEX_LARGE_WAIT of the trace. */
static void
find_lock_waits(Search *s)
{
	const TexOneTrace *one = s->one;
	int32	   *handovers = tex_handovers(one);

	for (int32 i = 0; i < one->n; i++)
	{
		int32		release = handovers[i];
		int64		waited;
		double		percent;
		StringInfoData text;

		CHECK_FOR_INTERRUPTS();
		if (release == TEX_NO_EVENT || !tex_is_home(one, i))
			continue;
		waited = tex_usecs_between(one->extents[i].started, one->extents[release].ended);
		percent = percent_of(s, waited);
		if (waited < TEX_SHORTEST_WAIT || (waited < TEX_LONG_WAIT && percent < TEX_LARGE_WAIT))
			continue;
		initStringInfo(&text);
		appendStringInfo(&text, "waited %s (%.0f %% of the trace) for lock %s, until ", tex_usecs_words(waited), percent,
						 tex_text_of(one, one->events[i].name));
		if (one->events[release].trace == one->trace)
			appendStringInfoString(&text, "another thread of this trace");
		else
			appendStringInfoString(&text, tex_trace_words(one, one->events[release].trace));
		if (s->enclosing[release] != TEX_NO_EVENT)
			appendStringInfo(&text, " (%s)", tex_event_words(one, s->enclosing[release]));
		appendStringInfoString(&text, " gave it back: do less under that lock, or split it");
		note(s, (Anomaly) {.event = i,.kind = "lock wait",
			 .severity = percent >= MOST_OF_IT ? CRITICAL : WARNING_,.actual = waited,.expected = -1,
			 .score = percent / 100,.evidence = text.data});
	}
}

typedef struct LikeKey
{
	int32		enclosing;
	int32		kind;
	int32		name;
	int32		service;
} LikeKey;

/* Calls that are alike, in one event. */
typedef struct Like
{
	LikeKey		key;
	int32		first;
	int32		last;
	int32		n;
	int32		failed;
	int64		usecs;
} Like;

/* Whether a call failed: its answer is an error, or something inside it. */
static bool
has_failed(const Search *s, int32 event)
{
	int32		answer = s->one->answer[event];

	return is_error(s, event) || s->errors[event] > 0 || (answer != TEX_NO_EVENT && is_error(s, answer));
}

/* Says what was called how often, and under what. */
static void
say_like(StringInfo text, const Search *s, const Like *like)
{
	const TexOneTrace *one = s->one;
	const char *name = tex_text_of(one, like->key.name);

	appendStringInfo(text, "%s %s", like->key.kind == TEX_DATABASE_QUERY ? "query" :
					 like->key.kind == TEX_HTTP_REQUEST ? "request" : "call", name ? name : "");
	appendStringInfo(text, " %s %d times", like->key.kind == TEX_HTTP_REQUEST ? "was sent" : "ran", like->n);
	if (like->key.enclosing != TEX_NO_EVENT)
		appendStringInfo(text, " under %s", tex_event_words(one, like->key.enclosing));
}

/* repeated query: TEX_FEWEST_QUERIES that are alike under one event. */
static void
note_repeated(Search *s, const Like *like)
{
	StringInfoData text;

	if (like->key.kind != TEX_DATABASE_QUERY || like->n < TEX_FEWEST_QUERIES)
		return;
	initStringInfo(&text);
	say_like(&text, s, like);
	appendStringInfo(&text, ", %s in all: fetch what they fetch by one query, with a join or = ANY (...)",
					 tex_usecs_words(like->usecs));
	note(s, (Anomaly) {.event = like->first,.kind = "repeated query",.severity = WARNING_,
		 .actual = like->usecs,.expected = like->usecs / like->n,.score = like->n,.evidence = text.data});
}

/* retry storm: FEWEST_TRIES that are alike under one event, of which FEWEST_FAILURES failed. */
static void
note_retries(Search *s, const Like *like)
{
	const TexOneTrace *one = s->one;
	int64		all = tex_usecs_between(one->extents[like->first].started, one->extents[like->last].ended);
	StringInfoData text;

	if (like->n < FEWEST_TRIES || like->failed < FEWEST_FAILURES)
		return;
	initStringInfo(&text);
	say_like(&text, s, like);
	appendStringInfo(&text, " within %s, and %s failed: wait longer from try to try, try less often, and find out why the first one failed",
					 tex_usecs_words(all), like->failed == like->n ? "all" : psprintf("%d", like->failed));
	note(s, (Anomaly) {.event = like->first,.kind = "retry storm",
		 .severity = has_failed(s, like->last) ? CRITICAL : WARNING_,
		 .actual = all,.expected = tex_lasted(one, like->first),.score = like->failed,.evidence = text.data});
}

/* Whether one request made a call: what sessions of a database do that nobody traces is not one request. */
static bool
is_of_request(const TexEvent *event)
{
	return event->kind != TEX_DATABASE_QUERY || event->data == NULL || !event->data->of_session;
}

/* Groups calls that are alike. */
static void
find_likes(Search *s)
{
	TexOneTrace *one = s->one;
	HASHCTL		ctl = {.keysize = sizeof(LikeKey),.entrysize = sizeof(Like),
	.hcxt = CurrentMemoryContext};
	HTAB	   *likes = hash_create("calls that are alike", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	HASH_SEQ_STATUS scan;
	Like	   *like;

	for (int32 i = 0; i < one->n; i++)
	{
		const TexEvent *event = &one->events[i];
		LikeKey		key = {s->enclosing[i], event->kind, TEX_NO_NAME, event->service};
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (!tex_is_home(one, i) || event->name == TEX_NO_NAME || !is_of_request(event) ||
			(event->kind != TEX_DATABASE_QUERY && event->kind != TEX_HTTP_REQUEST && event->kind != TEX_FUNCTION_CALL))
			continue;
		key.name = tex_like_name(one->history, event);
		like = hash_search(likes, &key, HASH_ENTER, &found);
		if (!found)
		{
			like->first = i;
			like->n = like->failed = 0;
			like->usecs = 0;
		}
		like->last = i;
		like->n++;
		like->failed += has_failed(s, i);
		like->usecs = tex_usecs_plus(like->usecs, tex_lasted(one, i));
	}
	hash_seq_init(&scan, likes);
	while ((like = hash_seq_search(&scan)) != NULL)
	{
		note_repeated(s, like);
		note_retries(s, like);
	}
}

/* A parent that is not stored. */
typedef struct Missing
{
	pg_uuid_t	id;
	int32		first;			/* of those that name it */
	int32		n;
} Missing;

/* missing parent: each that is named and not stored. */
static void
find_missing(Search *s)
{
	const TexOneTrace *one = s->one;
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(Missing),
	.hcxt = CurrentMemoryContext};
	HTAB	   *table = hash_create("missing parents", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	HASH_SEQ_STATUS scan;
	Missing    *missing;

	for (int32 i = 0; i < one->n; i++)
	{
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (!tex_is_home(one, i) || !(one->events[i].flags & TEX_EVENT_PARENT_MISSING))
			continue;
		missing = hash_search(table, &one->events[i].parent_id, HASH_ENTER, &found);
		if (!found)
		{
			missing->first = i;
			missing->n = 0;
		}
		missing->n++;
	}
	hash_seq_init(&scan, table);
	while ((missing = hash_seq_search(&scan)) != NULL)
		note(s, (Anomaly) {.event = missing->first,.kind = "missing parent",.severity = INFO_,.actual = -1,
			 .expected = -1,.score = missing->n,
			 .evidence = psprintf("%s%s names as its parent event %s, which is not stored: that one was not sent, has not arrived yet, or was refused (see ingest_errors)",
								  tex_event_words(one, missing->first),
								  missing->n > 1 ? psprintf(" (and %d more)", missing->n - 1) : "",
								  DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&missing->id))))});
}

typedef struct ClockKey
{
	int32		cause;			/* instances */
	int32		effect;
} ClockKey;

/* What contradicts between two instances. */
typedef struct Contradiction
{
	ClockKey	key;
	int32		worst;			/* effect */
	int32		worst_cause;
	int64		by;
	int32		n;
} Contradiction;

/* Notes that an effect is too early by so many microseconds. */
static void
note_contradiction(const TexOneTrace *one, HTAB *table, int32 cause, int32 effect, int64 by)
{
	ClockKey	key = {one->events[cause].instance, one->events[effect].instance};
	bool		found;
	Contradiction *c;

	if (by <= CLOCK_STEP)
		return;
	c = hash_search(table, &key, HASH_ENTER, &found);
	if (!found)
		c->n = 0;
	if (c->n++ == 0 || by > c->by)
	{
		c->by = by;
		c->worst = effect;
		c->worst_cause = cause;
	}
}

/* What a contradiction between two clocks, or of one, means. */
static char *
clock_evidence(const TexOneTrace *one, const Contradiction *c)
{
	const char *often = c->n > 1 ? psprintf(" (the worst of %d)", c->n) : "";

	if (c->key.cause == c->key.effect)
		return psprintf("%s is stamped %s before %s, which caused it, by the same clock%s: that clock was set back, or events are stamped late",
						tex_event_words(one, c->worst), tex_usecs_words(c->by), tex_event_words(one, c->worst_cause), often);
	return psprintf("%s in %s is stamped %s before %s in %s, which came before it%s: synchronise the clocks; clock_offsets() estimates by how much they differ, adjust => true shifts what is shown",
					tex_event_words(one, c->worst), tex_instance_words(one, c->worst), tex_usecs_words(c->by),
					tex_event_words(one, c->worst_cause), tex_instance_words(one, c->worst_cause), often);
}

/*
 * clock contradiction: an effect that begins before its cause; or a request that has its
 * answer before what it asked another instance for was done.
 */
static void
find_contradictions(Search *s)
{
	const TexOneTrace *one = s->one;
	HASHCTL		ctl = {.keysize = sizeof(ClockKey),.entrysize = sizeof(Contradiction),
	.hcxt = CurrentMemoryContext};
	HTAB	   *table = hash_create("contradictions", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	HASH_SEQ_STATUS scan;
	Contradiction *c;

	for (int32 i = 0; i < one->n; i++)
	{
		int32		p = s->parent[i];

		CHECK_FOR_INTERRUPTS();
		if (!tex_is_home(one, i))
			continue;
		tex_foreach_member(cause, &one->causes, i)
			if (tex_is_home(one, *cause))
				note_contradiction(one, table, *cause, i,
								   tex_usecs_between(one->extents[i].started, one->extents[*cause].started));
		if (p != TEX_NO_EVENT && one->events[p].kind == TEX_HTTP_REQUEST && one->answer[p] != TEX_NO_EVENT &&
			one->answer[i] != TEX_NO_EVENT && one->events[p].instance != one->events[i].instance)
			note_contradiction(one, table, one->answer[i], one->answer[p],
							   tex_usecs_between(one->extents[p].ended, one->extents[i].ended));
	}
	hash_seq_init(&scan, table);
	while ((c = hash_seq_search(&scan)) != NULL)
		note(s, (Anomaly) {.event = c->worst,.kind = "clock contradiction",
			 .severity = c->by > tex_clock_skew_usecs() ? WARNING_ : INFO_,.actual = c->by,.expected = -1,
			 .score = c->n,.evidence = clock_evidence(one, c)});
}

/* What encloses another event. */
static bool *
find_enclosing(const Search *s)
{
	bool	   *encloses = tex_new_array(sizeof(bool), s->one->n, 0);

	for (int32 i = 0; i < s->one->n; i++)
		if (s->enclosing[i] != TEX_NO_EVENT && s->one->answers[i] != s->enclosing[i])
			encloses[s->enclosing[i]] = true;
	return encloses;
}

/*
 * long gap: a part of the critical path, LARGE_GAP of the trace, in which nothing was
 * recorded: after a point, or in an event that has others inside.
 */
static void
find_gaps(Search *s)
{
	const TexOneTrace *one = s->one;
	int32		n;
	TexSegment *segments = tex_critical_path(one, &n);
	bool	   *encloses = find_enclosing(s);

	for (int32 i = 0; i < n; i++)
	{
		int32		e = segments[i].event;
		int64		gap = tex_usecs_between(segments[i].from, segments[i].to);
		double		percent = percent_of(s, gap);
		bool		point = e != TEX_NO_EVENT && tex_lasted(one, e) == 0;

		CHECK_FOR_INTERRUPTS();
		if (e == TEX_NO_EVENT || gap < SHORTEST_GAP || percent < LARGE_GAP ||
			(segments[i].activity != TEX_GAP && (segments[i].activity != TEX_WORK || !(point || encloses[e]))))
			continue;
		note(s, (Anomaly) {.event = e,.kind = "long gap",.severity = percent >= MOST_OF_IT ? WARNING_ : INFO_,.actual = gap,
			 .expected = -1,.score = percent / 100,
			 .evidence = psprintf("nothing was recorded for %s (%.0f %% of the trace), from %s on, %s %s: record what is done there, or waited for",
								  tex_usecs_words(gap), percent, tex_usecs_words(tex_since_start(one, segments[i].from)),
								  point ? "after" : "in", tex_event_words(one, e))});
	}
}

/* slow: what took longer than its operation usually does. */
static void
find_slow(Search *s)
{
	int32		n;
	const TexSlow *slow = tex_find_slow(s->one, &n);

	for (int32 i = 0; i < n; i++)
		note(s, (Anomaly) {.event = slow[i].event,.kind = "slow",.severity = slow[i].critical ? CRITICAL : WARNING_,
			 .actual = slow[i].actual,.expected = slow[i].expected,.score = slow[i].score,.evidence = slow[i].evidence});
}

/* For qsort(): the worst first, then what took longest, then by time. */
static int
compare_anomalies(const void *a, const void *b)
{
	const Anomaly *x = a;
	const Anomaly *y = b;

	CHECK_FOR_INTERRUPTS();
	if (x->severity != y->severity)
		return x->severity < y->severity ? -1 : 1;
	if (x->actual != y->actual)
		return x->actual > y->actual ? -1 : 1;
	if (x->event != y->event)
		return x->event < y->event ? -1 : 1;
	return strcmp(x->kind, y->kind);
}

/* A time that may be unknown. */
static void
put_usecs(TexSink *sink, int64 usecs)
{
	if (usecs < 0)
		tex_sink_null(sink);
	else
		tex_sink_usecs(sink, usecs);
}

/* One row, but for its end. */
static void
put_anomaly(TexOneTrace *one, const Anomaly *anomaly, TexSink *sink)
{
	const TexEvent *event = &one->events[anomaly->event];

	tex_sink_datum(sink, UUIDPGetDatum(&event->id));
	tex_sink_text(sink, anomaly->kind);
	tex_sink_text(sink, severity_words[anomaly->severity]);
	tex_sink_text(sink, tex_text_of(one, event->service));
	tex_sink_text(sink, tex_text_of(one, tex_like_name(one->history, event)));
	put_usecs(sink, anomaly->actual);
	put_usecs(sink, anomaly->expected);
	tex_sink_number(sink, rint(anomaly->score * 1000) / 1000);	/* to be read */
	tex_sink_text(sink, anomaly->evidence);
}

/*
 * Finds what is odd, the worst first.  The job finds what is slow in many traces at once
 * (look_through.c), and has no use for what is told of one trace only: a parent that may be on its
 * way, clocks, and times without an event.  Clocks are adjusted on the way, so who needs the extents
 * as stored is to be served before.  Call within an SPI connection.
 */
static void
find_anomalies(Search *s, bool all)
{
	s->room = 64;
	s->anomalies = palloc(sizeof(Anomaly) * s->room);
	s->parent = tex_parents(s->one, true);
	if (all)
		find_contradictions(s);
	tex_adjust_clocks(s->one, s->parent);
	s->enclosing = tex_enclosing(s->one, s->parent);
	count_errors(s);
	find_errors(s);
	find_lock_waits(s);
	find_likes(s);
	if (all)
	{
		find_missing(s);
		find_gaps(s);
		find_slow(s);
	}
	qsort(s->anomalies, s->n, sizeof(Anomaly), compare_anomalies);
}

/* The rows of trace_anomalies(); see find_anomalies(). */
void
tex_anomaly_rows(TexOneTrace *one, TexSink *sink)
{
	Search		s = {.one = one};

	find_anomalies(&s, true);
	for (int32 i = 0; i < s.n && !tex_sink_is_full(sink); i++)
	{
		put_anomaly(one, &s.anomalies[i], sink);
		tex_sink_end_row(sink);
	}
	tex_sink_end(sink, s.n, "anomalies");
}

/*
 * trace_anomalies(trace_id uuid, max_rows bigint)
 */
Datum
tex_trace_anomalies(PG_FUNCTION_ARGS)
{
	int64		most;
	TexOneTrace *one;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	most = tex_most_rows(fcinfo, 1, 1000);
	SPI_connect();
	one = tex_one_trace_load(PG_GETARG_UUID_P(0), TEX_BESIDE_LOCKS);
	if (one)
		tex_anomaly_rows(one, tex_sink_to_caller(fcinfo, most));
	SPI_finish();
	return (Datum) 0;
}

/*
 * What is odd about one of many traces, for the job, as rows of anomalies_of(): of a history that has
 * it, and what may have kept it from a lock.  Of each trace MOST_KEPT at most.
 */
void
tex_odd_rows(TexHistory *history, const pg_uuid_t *trace_id, TexSink *sink)
{
	Search		s = {0};

	if (history->nevents == 0)
		return;
	tex_history_prepare(history);
	s.one = tex_one_trace_of(history, trace_id, NULL);
	find_anomalies(&s, false);
	for (int32 i = 0; i < s.n && i < MOST_KEPT; i++)
	{
		tex_sink_datum(sink, UUIDPGetDatum(trace_id));
		put_anomaly(s.one, &s.anomalies[i], sink);
		tex_sink_datum(sink, TimestampTzGetDatum(s.one->events[s.anomalies[i].event].at));
		tex_sink_end_row(sink);
	}
}
