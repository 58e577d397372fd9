/*
 * evidence.c
 *		A finding in one sentence that a developer can act on.
 *
 * A sentence names who (the request or, inside one trace, the thread), what with
 * which value, and where: the location the client gave and the function around it.
 * A pair that nothing orders says which locks each side held, for that is what is
 * wrong or missing.  Names and values are shortened; the columns beside the sentence
 * have them whole.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "races/evidence.h"
#include "races/proof.h"

#define LONGEST_NAME	120
#define LONGEST_SHOWN	60
#define MOST_LOCKS		3

/* How far up the parents a function call is looked for. */
#define PARENTS_TO_LOOK_AT 1000

typedef struct Sentence
{
	StringInfoData text;
	const TexRaces *races;
	bool		one_trace;		/* speak of threads, not of requests */
	bool		one_thread;		/* ... and of the branches of a thread */
	int32		first_strand;	/* the branch mentioned first; -1: none yet */
	bool		by_service;		/* two threads have one name: say whose ... */
	bool		by_instance;	/* ... or of which instance of the service */
} Sentence;

/* Up to a whole character, in bytes. */
static void
put_clipped(Sentence *s, const char *text, int limit)
{
	int			len = strlen(text);
	int			clipped = pg_mbcliplen(text, len, limit);

	appendBinaryStringInfo(&s->text, text, clipped);
	if (clipped < len)
		appendStringInfoString(&s->text, "...");
}

/* A name of the history, which is not TEX_NO_NAME. */
static void
put_name(Sentence *s, int32 name)
{
	put_clipped(s, tex_history_text(s->races->history, name), LONGEST_NAME);
}

/* A value as JSON, so that text is told from numbers. */
static void
put_value(Sentence *s, Jsonb *value)
{
	if (value == NULL)
		appendStringInfoString(&s->text, "an unknown value");
	else
		put_clipped(s, JsonbToCString(NULL, &value->root, VARSIZE(value)), LONGEST_SHOWN);
}

/* " = value", if the value is known. */
static void
put_is(Sentence *s, const TexEvent *access)
{
	if (tex_value_of(access) == NULL)
		return;
	appendStringInfoString(&s->text, " = ");
	put_value(s, tex_value_of(access));
}

/* A trace, by its earliest request if it has one; of its id as much as is told apart in practice. */
static void
put_request(Sentence *s, const TexTrace *trace)
{
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&trace->id)));

	if (trace->request != TEX_NO_EVENT &&
		s->races->history->events[trace->request].name != TEX_NO_NAME)
	{
		appendStringInfoString(&s->text, "request \"");
		put_name(s, s->races->history->events[trace->request].name);
		appendStringInfo(&s->text, "\" (trace %.8s)", id);
	}
	else
		appendStringInfo(&s->text, "trace %.8s", id);
}

/* Threads of one name, of which each service and instance may have one, are told apart by where they are. */
static void
tell_apart(Sentence *s, const TexEvent *a, const TexEvent *b)
{
	if (!s->one_trace || s->one_thread || a->task != b->task || a->thread_name != b->thread_name)
		return;
	s->by_service = a->service != b->service;
	s->by_instance = !s->by_service && a->instance_name != b->instance_name;
}

/* The task or thread of an event. */
static void
put_strand(Sentence *s, const TexEvent *event)
{
	if (s->first_strand < 0)
		s->first_strand = event->strand;
	if (s->one_thread)
		appendStringInfoString(&s->text, event->strand == s->first_strand ?
							   "one branch of " : "another branch of ");
	if (event->task != TEX_NO_NAME)
	{
		appendStringInfoString(&s->text, "task \"");
		put_name(s, event->task);
	}
	else
	{
		appendStringInfoString(&s->text, "thread \"");
		if (event->thread_name != TEX_NO_NAME)
			put_name(s, event->thread_name);
	}
	appendStringInfoChar(&s->text, '"');
	if (s->by_service && event->service != TEX_NO_NAME)
	{
		appendStringInfoString(&s->text, " of ");
		put_name(s, event->service);
	}
	else if (s->by_instance && event->instance_name != TEX_NO_NAME)
	{
		appendStringInfoString(&s->text, " of instance \"");
		put_name(s, event->instance_name);
		appendStringInfoChar(&s->text, '"');
	}
}

/* Who made an access of a watched table: its request, or whom the database knows. */
static void
put_watched_who(Sentence *s, const TexEvent *event)
{
	const TexTrace *trace = &s->races->history->traces[event->trace];

	if (trace->request != TEX_NO_EVENT || event->data->by == TEX_NO_NAME)
	{
		put_request(s, trace);
		return;
	}
	put_name(s, event->data->by);
	appendStringInfo(&s->text, " (trace %.8s)",
					 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&trace->id))));
}

/* Who made an access: the request, or inside one trace the task or thread. */
static void
put_who(Sentence *s, int32 access)
{
	const TexEvent *event = tex_access_event(s->races, access);

	if (tex_is_watched(event))
		put_watched_who(s, event);
	else if (s->one_trace)
		put_strand(s, event);
	else
		put_request(s, &s->races->history->traces[event->trace]);
}

/* The function an access is in: the nearest call among its parents, or NULL. */
const TexEvent *
tex_function_around(const TexHistory *history, const TexEvent *event)
{
	const TexEvent *events = history->events;

	for (int i = 0; i < PARENTS_TO_LOOK_AT && event->parent != TEX_NO_EVENT; i++)
	{
		if (events[event->parent].place != event->place)
			return NULL;
		event = &events[event->parent];
		if (event->kind == TEX_FUNCTION_CALL && event->name != TEX_NO_NAME)
			return event;
	}
	return NULL;
}

/* The location of an event and the function around it, as far as they are known. */
static void
put_place(Sentence *s, const TexEvent *event)
{
	const TexEvent *function = tex_function_around(s->races->history, event);
	int32		location = event->data ? event->data->location : TEX_NO_NAME;

	if (location != TEX_NO_NAME)
	{
		appendStringInfoString(&s->text, " at ");
		put_name(s, location);
	}
	if (function == NULL)
		return;
	appendStringInfoString(&s->text, location == TEX_NO_NAME ? " in " : " (in ");
	put_name(s, function->name);
	if (function->data->location != TEX_NO_NAME)
	{
		appendStringInfoString(&s->text, ", ");
		put_name(s, function->data->location);
	}
	if (location != TEX_NO_NAME)
		appendStringInfoChar(&s->text, ')');
}

/* The same of an access. */
static void
put_where(Sentence *s, int32 access)
{
	put_place(s, tex_access_event(s->races, access));
}

/* "who read variable = value at place", or wrote. */
static void
put_access(Sentence *s, int32 access)
{
	const TexEvent *event = tex_access_event(s->races, access);

	put_who(s, access);
	appendStringInfoString(&s->text, event->access == TEX_ATOMIC_RMW ? " updated " :
						   tex_is_write(event) ? " wrote " : " read ");
	put_name(s, event->name);
	put_is(s, event);
	put_where(s, access);
}

/* The same without the variable, for a second mention. */
static void
put_again(Sentence *s, int32 access, const char *verb)
{
	const TexEvent *event = tex_access_event(s->races, access);

	appendStringInfo(&s->text, " %s ", verb);
	put_value(s, tex_value_of(event));
	put_where(s, access);
}

/* What a trace read, and what it made of that when it wrote. */
static void
put_read_and_write(Sentence *s, int32 read, int32 write, bool confirmed)
{
	const TexEvent *before = tex_access_event(s->races, read);
	const TexEvent *event = tex_access_event(s->races, write);

	put_access(s, read);
	if (confirmed &&
		tex_compare_values(tex_value_of(before), event->data->old_value) == TEX_VALUES_DIFFERENT)
	{
		appendStringInfoString(&s->text, ", found ");
		put_value(s, event->data->old_value);
		put_again(s, write, "when writing");
		return;
	}
	appendStringInfoString(&s->text, ", then");
	put_again(s, write, "wrote");
	if (confirmed)
	{
		appendStringInfoString(&s->text, " in place of ");
		put_value(s, event->data->old_value);
	}
}

/* The read, the write that goes by it, and the update of the other trace that came in between. */
static void
say_lost_update(Sentence *s, const TexPair *pair, const TexVerdict *verdict)
{
	int32		remote = pair->first;
	int32		write = pair->second;
	int32		read = verdict->third;
	const TexEvent *event;

	/* Where the pair is the first half, the write is the third access. */
	if (!tex_is_write(tex_access_event(s->races, pair->first)))
	{
		read = pair->first;
		remote = pair->second;
		write = verdict->third;
	}
	event = tex_access_event(s->races, write);
	if (read != TEX_NO_ACCESS)
		put_read_and_write(s, read, write, verdict->confirmed);
	else
	{
		put_access(s, write);
		appendStringInfoString(&s->text, " in place of ");
		put_value(s, event->data->old_value);
	}
	appendStringInfoString(&s->text, ": the update ");
	if (tex_access_event(s->races, remote)->data->old_value)
	{
		appendStringInfoString(&s->text, "from ");
		put_value(s, tex_access_event(s->races, remote)->data->old_value);
		appendStringInfoChar(&s->text, ' ');
	}
	appendStringInfoString(&s->text, "to ");
	put_value(s, tex_value_of(tex_access_event(s->races, remote)));
	appendStringInfoString(&s->text, " by ");
	put_who(s, remote);
	put_where(s, remote);
	appendStringInfoString(&s->text, verdict->confirmed ? " was lost" : " in between may be lost");
	if (pair->tier == TEX_TIER_PROVED)
		appendStringInfoString(&s->text,
							   "; a lock ordered the two writes, but the value it went by was older");
	else
		appendStringInfoString(&s->text, "; one lock must be held from the read to the write");
}

/* Two accesses of one trace that differ, and the write of another that came in between. */
static void
say_changed(Sentence *s, const TexPair *pair, const TexVerdict *verdict)
{
	int32		remote = pair->first;
	int32		after = pair->second;
	int32		before = verdict->third;

	if (!tex_is_write(tex_access_event(s->races, pair->first)))
	{
		before = pair->first;
		remote = pair->second;
		after = verdict->third;
	}
	put_access(s, before);
	appendStringInfoString(&s->text, verdict->pattern == TEX_NON_REPEATABLE_READ ? " and then" : " but then");
	put_again(s, after, "read");
	appendStringInfoString(&s->text, ": ");
	put_who(s, remote);
	put_again(s, remote, "wrote");
	appendStringInfoString(&s->text, " in between");
}

/* " by "statement" under ISOLATION LEVEL". */
static void
put_statement(Sentence *s, int32 access)
{
	const TexEvent *event = tex_access_event(s->races, access);

	if (event->data->location != TEX_NO_NAME)
	{
		appendStringInfoString(&s->text, " by \"");
		put_name(s, event->data->location);
		appendStringInfoChar(&s->text, '"');
	}
	appendStringInfoString(&s->text, " under ");
	put_name(s, event->data->isolation);
}

/* Of a watched table: what was read, what was written over, and what would have prevented it. */
static void
say_watched(Sentence *s, const TexPair *pair)
{
	const TexEvent *read = tex_access_event(s->races, pair->third);
	const TexEvent *last = tex_access_event(s->races, pair->second);
	const TexEvent *remote = tex_access_event(s->races, pair->first);
	bool		lost = tex_is_write(last);

	put_who(s, pair->second);
	appendStringInfoString(&s->text, " read ");
	put_name(s, read->name);
	put_is(s, read);
	put_statement(s, pair->third);
	appendStringInfoString(&s->text, lost ? ", found " : " and then ");
	put_value(s, lost ? last->data->old_value : tex_value_of(last));
	if (lost)
	{
		appendStringInfoString(&s->text, " when it wrote ");
		put_value(s, tex_value_of(last));
	}
	put_statement(s, pair->second);
	appendStringInfoString(&s->text, ": the update ");
	if (remote->data->old_value)
	{
		appendStringInfoString(&s->text, "from ");
		put_value(s, remote->data->old_value);
		appendStringInfoChar(&s->text, ' ');
	}
	appendStringInfoString(&s->text, "to ");
	put_value(s, tex_value_of(remote));
	appendStringInfoString(&s->text, " of ");
	put_who(s, pair->first);
	put_statement(s, pair->first);
	if (pair->same_value)
		appendStringInfoString(&s->text, " was lost if both computed it from what they had read; read it FOR UPDATE, have one UPDATE "
							   "compute it, check a version column when writing, or use REPEATABLE READ and retry");
	else
		appendStringInfoString(&s->text, lost ?
						   " was lost; read it FOR UPDATE, have one UPDATE compute it, check a version column when "
						   "writing, or use REPEATABLE READ and retry" :
						   " came in between; REPEATABLE READ shows one state of the database to the whole transaction");
}

/* " changed x from 1 to 2", or what else a write did. */
static void
put_change(Sentence *s, int32 access)
{
	const TexEvent *write = tex_access_event(s->races, access);
	bool		has_old = write->data->old_value != NULL;
	bool		has_new = write->data->new_value != NULL || write->data->value_left_out;

	appendStringInfoString(&s->text, has_old && has_new ? " changed " : has_new ? " inserted " : " deleted ");
	put_name(s, write->name);
	if (has_old)
	{
		appendStringInfoString(&s->text, has_new ? " from " : " = ");
		put_value(s, write->data->old_value);
	}
	if (has_new)
	{
		appendStringInfoString(&s->text, has_old ? " to " : " = ");
		put_value(s, write->data->new_value);
	}
	put_statement(s, access);
}

/* " read x = 1", with its statement. */
static void
put_read(Sentence *s, int32 access)
{
	const TexEvent *read = tex_access_event(s->races, access);

	appendStringInfoString(&s->text, " read ");
	put_name(s, read->name);
	put_is(s, read);
	put_statement(s, access);
}

/*
 * Of a watched table: what a transaction read and what it did then, and who changed what was read; of a
 * skew the same from the other side.
 */
static void
say_check(Sentence *s, const TexPair *pair)
{
	bool		skew = pair->fourth != TEX_NO_ACCESS;

	put_who(s, pair->first);
	put_read(s, pair->first);
	appendStringInfoString(&s->text, " and");
	put_change(s, pair->third);
	appendStringInfoString(&s->text, ", while ");
	put_who(s, pair->second);
	if (skew)
	{
		put_read(s, pair->fourth);
		appendStringInfoString(&s->text, " and");
	}
	put_change(s, pair->second);
	appendStringInfoString(&s->text, skew ?
						   ": neither saw what the other one did, and each may have gone by what the other one changed; read both FOR UPDATE, "
						   "use SERIALIZABLE in both and retry, or have a constraint forbid what must not come of it" :
						   ": what was read no longer held, and the write may have gone by it; read it FOR SHARE or FOR UPDATE, use SERIALIZABLE in both "
						   "and retry, have a constraint forbid it, or, within one row, check it in the UPDATE that writes");
}

/* A value that was read and that its own trace wrote over. */
static void
say_intermediate(Sentence *s, const TexPair *pair, const TexVerdict *verdict)
{
	put_access(s, pair->second);
	appendStringInfoString(&s->text, ", an intermediate value: ");
	put_who(s, pair->first);
	put_again(s, pair->first, "wrote");
	appendStringInfoString(&s->text, " and then");
	put_again(s, verdict->third, "wrote");
}

/* What a trace read, what it wrote elsewhere on the strength of it, and who changed the first. */
static void
say_check_then_act(Sentence *s, const TexPair *pair, const TexVerdict *verdict)
{
	put_access(s, pair->first);
	appendStringInfoString(&s->text, " and went on to write ");
	put_name(s, tex_access_event(s->races, verdict->third)->name);
	put_is(s, tex_access_event(s->races, verdict->third));
	put_where(s, verdict->third);
	appendStringInfoString(&s->text, ", while ");
	put_access(s, pair->second);
	appendStringInfoString(&s->text, " in between: what was read no longer held; one "
						   "lock must be held from the check to the write");
}

static int
compare_names(const void *a, const void *b, void *history)
{
	return strcmp(tex_history_text(history, *(const int32 *) a), tex_history_text(history, *(const int32 *) b));
}

/*
 * The names of the locks of a set that are shown; returns how many it has. The first by name: what
 * order numbers were given out in depends on what else was loaded.
 */
static int
locks_to_show(const Sentence *s, int32 lock_set, int32 *shown)
{
	int			n = tex_locks_names(s->races->order, lock_set, NULL, 0);
	int32	   *names = palloc(sizeof(int32) * Max(n, 1));

	tex_locks_names(s->races->order, lock_set, names, n);
	qsort_arg(names, n, sizeof(int32), compare_names, (void *) s->races->history);
	memcpy(shown, names, sizeof(int32) * Min(n, MOST_LOCKS));
	pfree(names);
	return n;
}

/* "lock "a"", "locks "a", "b"", or "no lock". */
static void
put_locks(Sentence *s, int32 lock_set)
{
	int32		names[MOST_LOCKS];
	int			n = locks_to_show(s, lock_set, names);

	if (n == 0)
	{
		appendStringInfoString(&s->text, "no lock");
		return;
	}
	appendStringInfoString(&s->text, n == 1 ? "lock " : "locks ");
	for (int i = 0; i < Min(n, MOST_LOCKS); i++)
	{
		appendStringInfoString(&s->text, i > 0 ? ", \"" : "\"");
		put_name(s, names[i]);
		appendStringInfoChar(&s->text, '"');
	}
	if (n > MOST_LOCKS)
		appendStringInfoString(&s->text, ", ...");
}

/* Whether two sets of locks that are not the same look the same. */
static bool
same_names(const Sentence *s, int32 a, int32 b)
{
	int32		x[MOST_LOCKS];
	int32		y[MOST_LOCKS];
	int			n = locks_to_show(s, a, x);

	return n == locks_to_show(s, b, y) &&
		memcmp(x, y, sizeof(int32) * Min(n, MOST_LOCKS)) == 0;
}

/* Why nothing keeps two accesses apart. */
static void
put_unordered(Sentence *s, const TexPair *pair)
{
	int32		first = s->races->accesses[pair->first].lock_set;
	int32		second = s->races->accesses[pair->second].lock_set;

	if (first == 0 && second == 0)
		appendStringInfoString(&s->text, ": no lock, message or task orders them");
	else if (tex_locks_at_once(s->races->order, first, second))
	{
		appendStringInfoString(&s->text, ": the first held ");
		put_locks(s, first);
		appendStringInfoString(&s->text, ", the second ");
		put_locks(s, second);
		appendStringInfoString(&s->text, ", which both held at once, so it excluded nobody");
	}
	else if (first == second)
	{
		appendStringInfoString(&s->text, ": both held ");
		put_locks(s, first);
		appendStringInfoString(&s->text, ", but only shared, as readers do");
	}
	else if (same_names(s, first, second))
	{
		appendStringInfoString(&s->text, ": each held ");
		put_locks(s, first);
		appendStringInfoString(&s->text, " of its own process, which does not keep them apart");
	}
	else
	{
		appendStringInfoString(&s->text, ": the first held ");
		put_locks(s, first);
		appendStringInfoString(&s->text, ", the second ");
		put_locks(s, second);
		appendStringInfoString(&s->text, ", which does not keep them apart");
	}
}

/* The two accesses, and what is missing between them. */
static void
say_plain(Sentence *s, const TexPair *pair, const TexVerdict *verdict)
{
	put_access(s, pair->first);
	appendStringInfoString(&s->text, " and ");
	put_access(s, pair->second);
	if (verdict->pattern == TEX_ABORTED_READ)
		appendStringInfoString(&s->text, ", and what had written it failed afterwards");
	else if (verdict->pattern == TEX_POTENTIAL_RACE)
		appendStringInfoString(&s->text, ": in this run the hand-over of a lock happened to order "
							   "them, but no lock protects both");
	else
		put_unordered(s, pair);
	if (verdict->pattern == TEX_WRITE_WRITE)
		appendStringInfoString(&s->text, "; it is left to chance which value remains");
	else if (verdict->pattern == TEX_READ_WRITE)
		appendStringInfoString(&s->text, "; it is left to chance what is read");
}

/*
 * The sentence about a pair, in the current memory context, in English; the verdict is that of
 * tex_judge() on the same pair. No period at the end.
 */
char *
tex_evidence(const TexRaces *races, const TexPair *pair, const TexVerdict *verdict)
{
	Sentence	s = {.races = races};
	const TexEvent *first = tex_access_event(races, pair->first);

	initStringInfo(&s.text);
	s.one_trace = first->trace == tex_access_event(races, pair->second)->trace;
	s.one_thread = s.one_trace && first->thread == tex_access_event(races, pair->second)->thread;
	s.first_strand = -1;
	tell_apart(&s, first, tex_access_event(races, pair->second));
	if (pair->watched)
	{
		if (tex_is_check(races, pair))
			say_check(&s, pair);
		else
			say_watched(&s, pair);
		return s.text.data;
	}
	if (s.one_trace)
	{
		appendStringInfoString(&s.text, "in ");
		put_request(&s, &races->history->traces[first->trace]);
		appendStringInfoString(&s.text, ", ");
	}
	switch (verdict->pattern)
	{
		case TEX_LOST_UPDATE:
			say_lost_update(&s, pair, verdict);
			break;
		case TEX_NON_REPEATABLE_READ:
		case TEX_OWN_WRITE_OVERWRITTEN:
			say_changed(&s, pair, verdict);
			break;
		case TEX_INTERMEDIATE_READ:
			say_intermediate(&s, pair, verdict);
			break;
		case TEX_CHECK_THEN_ACT:
			say_check_then_act(&s, pair, verdict);
			break;
		default:
			say_plain(&s, pair, verdict);
			break;
	}
	if (verdict->unshared)
		appendStringInfoString(&s.text, ", or each request has its own");
	return s.text.data;
}

/* A lock by its name, and how it is held if others may hold it too. */
static void
put_lock(Sentence *s, int32 lock, bool shared)
{
	appendStringInfoString(&s->text, "lock \"");
	put_name(s, tex_history_lock_name(s->races->history, lock));
	appendStringInfoString(&s->text, shared ? "\" (shared)" : "\"");
}

/* Who takes which lock where, and which one he holds already. */
static void
put_want(Sentence *s, const TexLockWant *want)
{
	const TexHistory *history = s->races->history;
	const TexEvent *event = &history->events[want->event];

	const TexEvent *hold = &history->events[want->hold_event];

	put_strand(s, event);
	if (event->service != TEX_NO_NAME)
	{
		appendStringInfoString(&s->text, " of ");
		put_name(s, event->service);
	}
	if (!s->one_trace)
	{
		appendStringInfoString(&s->text, " in ");
		put_request(s, &history->traces[event->trace]);
	}
	appendStringInfoString(&s->text, " takes ");
	put_lock(s, want->wanted, want->wanted_shared);
	put_place(s, event);
	appendStringInfoString(&s->text, " while it holds ");
	put_lock(s, want->held, want->held_shared);
	if (hold->data || tex_function_around(s->races->history, hold))
		appendStringInfoString(&s->text, ", taken");
	put_place(s, hold);
}

/*
 * The sentence about locks that are taken in opposite orders, like tex_evidence().
 */
char *
tex_lock_order_evidence(const TexRaces *races, const TexLockCycle *cycle)
{
	Sentence	s = {.races = races,.one_trace = true,.one_thread = true,.first_strand = -1};
	const TexEvent *first = &races->history->events[cycle->wants[0]->event];

	initStringInfo(&s.text);
	for (int i = 1; i < cycle->n; i++)
	{
		const TexEvent *event = &races->history->events[cycle->wants[i]->event];

		s.one_trace &= event->trace == first->trace;
		s.one_thread &= event->thread == first->thread;
	}
	s.one_thread &= s.one_trace;
	if (s.one_trace)
	{
		appendStringInfoString(&s.text, "in ");
		put_request(&s, &races->history->traces[first->trace]);
		appendStringInfoString(&s.text, ", ");
	}
	for (int i = 0; i < cycle->n; i++)
	{
		appendStringInfoString(&s.text, i == 0 ? "" : i == cycle->n - 1 ? ", and " : ", ");
		put_want(&s, cycle->wants[i]);
	}
	appendStringInfoString(&s.text, ": each can come to wait for the ");
	appendStringInfoString(&s.text, cycle->n == 2 ? "other for ever" : "next for ever, and the last for the first");
	appendStringInfoString(&s.text, "; the locks must be taken in one order everywhere");
	return s.text.data;
}
