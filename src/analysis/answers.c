/*
 * answers.c
 *		Which event answers which, and so how long an event without a duration lasted.
 *
 * An HttpRequest lasts until its HttpResponse, a DatabaseQuery until its
 * DatabaseResult, an AsyncSpawn until the AsyncAwait of the same task, a LockAcquire
 * until its LockRelease: in the same trace.  An event with a duration of its own
 * keeps that.  The rest are points.
 *
 * Tasks and locks have names.  A lock is given back by the strand that took it last
 * and still has it, else by who gives it in its place, as with semaphores.
 *
 * Requests and queries have none: clients hang a response under its request, beside
 * it, at the end of a chain in which each event is the child of the one before,
 * or nowhere.  So the request of an answer is the first one found, not yet
 * answered, of the same service instance, that is
 *	1. its parent;
 *	2. in its strand and began when the answer's duration says, give or take
 *	   AGREEMENT;
 *	3. the last one beside it, under the same parent;
 *	4. the nearest of its ancestors;
 *	5. the last one in its strand;
 *	6. the last one in its span.
 * Events are taken causes first, so an answer that its clock puts before its request
 * finds it all the same; the request is then a point.
 *
 * Where both say how long it took, it took that once: the answer is the point at
 * which it ended.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "analysis/one_trace.h"
#include "races/arrays.h"

/* Clients round durations to milliseconds, and stamp a little before and after. */
#define AGREEMENT		INT64CONST(1500)

/* How many open requests of a strand are looked at for one of that duration. */
#define MOST_COMPARED	64

/* Lists of what is not answered yet, the last one first; what was answered is stepped over. */
typedef struct Open
{
	int32	   *heads;			/* or NULL, where they are in a hash table */
	int32	   *next;			/* of each event */
} Open;

/* A class of requests and their answers. */
typedef struct Class
{
	TexOneTrace *one;
	TexKind		asks;
	TexKind		tells;
	Open		of_strand;
	Open		of_parent;
	Open		of_span;		/* by (trace, span) */
	HTAB	   *spans;
	int32	   *ancestor;		/* towards the nearest request above that may be open */
} Class;

typedef struct NamedKey
{
	int32		owner;			/* a trace; or a strand, from -1 downwards */
	int32		name;
} NamedKey;

typedef struct Named
{
	NamedKey	key;
	int32		head;
} Named;

/* Whether a request still waits for its answer. */
static bool
is_open(const TexOneTrace *one, int32 event)
{
	return one->answer[event] == TEX_NO_EVENT;
}

/*
 * An answer has come: the request lasts until then, if it does not know better, and
 * is not to be counted twice.
 */
static void
set_answer(TexOneTrace *one, int32 request, int32 answer)
{
	TexExtent  *asked = &one->extents[request];
	TexExtent  *told = &one->extents[answer];
	bool		knows = asked->ended > asked->started;
	TexKind		kind = one->events[request].kind;

	one->answer[request] = answer;
	one->answers[answer] = request;
	if (!knows)
		asked->ended = Max(asked->ended, kind == TEX_LOCK_ACQUIRE ? told->started : told->ended);
	if (kind != TEX_HTTP_REQUEST && kind != TEX_DATABASE_QUERY)
		return;
	if (told->started >= asked->started - AGREEMENT)
	{
		asked->started = Min(asked->started, told->started);
		told->started = told->ended;
	}
}

/* The last one of a list that is open and of the same instance as an answer. */
static int32
last_open(const TexOneTrace *one, const Open *list, int32 *head, int32 answer)
{
	int			looked_at = 0;

	while (*head != TEX_NO_EVENT && !is_open(one, *head))
		*head = list->next[*head];
	for (int32 e = *head; e != TEX_NO_EVENT && looked_at < MOST_COMPARED; e = list->next[e], looked_at++)
		if (is_open(one, e) && one->events[e].instance == one->events[answer].instance)
			return e;
	return TEX_NO_EVENT;
}

/* The open one of a strand that began when an answer's duration says, or TEX_NO_EVENT. */
static int32
agreeing(const Class *class, int32 answer)
{
	const TexOneTrace *one = class->one;
	int			looked_at = 0;

	if (tex_lasted(one, answer) == 0)
		return TEX_NO_EVENT;
	for (int32 e = class->of_strand.heads[one->events[answer].strand];
		 e != TEX_NO_EVENT && looked_at < MOST_COMPARED; e = class->of_strand.next[e], looked_at++)
	{
		int64		apart = tex_usecs_between(one->extents[answer].started, one->extents[e].started);

		if (is_open(one, e) && apart <= AGREEMENT && apart >= -AGREEMENT)
			return e;
	}
	return TEX_NO_EVENT;
}

/* The nearest open request above an event, or TEX_NO_EVENT; the way there is made shorter. */
static int32
open_ancestor(Class *class, int32 event)
{
	const TexOneTrace *one = class->one;
	int32		at = class->ancestor[event];

	while (at != TEX_NO_EVENT && !(one->events[at].kind == class->asks && is_open(one, at)))
		at = class->ancestor[at];
	for (int32 e = event, next; e != at && e != TEX_NO_EVENT; e = next)
	{
		next = class->ancestor[e];
		if (next != at && next != TEX_NO_EVENT)
			class->ancestor[e] = at;
	}
	return at;
}

/* A list by name; NULL where there is none and none is to be made. */
static int32 *
named(HTAB *table, int32 owner, int32 name, HASHACTION action)
{
	NamedKey	key = {owner, name};
	bool		found;
	Named	   *entry = hash_search(table, &key, action, &found);

	if (entry && !found)
		entry->head = TEX_NO_EVENT;
	return entry ? &entry->head : NULL;
}

/* Finds what an answer answers: see the head of the file. */
static int32
find_request(Class *class, int32 answer)
{
	const TexOneTrace *one = class->one;
	const TexEvent *event = &one->events[answer];
	int32		found = TEX_NO_EVENT;
	int32	   *head;

	if (event->parent != TEX_NO_EVENT && one->events[event->parent].kind == class->asks &&
		is_open(one, event->parent) && one->events[event->parent].instance == event->instance)
		return event->parent;
	found = agreeing(class, answer);
	if (found == TEX_NO_EVENT && event->parent != TEX_NO_EVENT)
		found = last_open(one, &class->of_parent, &class->of_parent.heads[event->parent], answer);
	if (found == TEX_NO_EVENT)
	{
		found = open_ancestor(class, answer);
		if (found != TEX_NO_EVENT && one->events[found].instance != event->instance)
			found = TEX_NO_EVENT;
	}
	if (found == TEX_NO_EVENT)
		found = last_open(one, &class->of_strand, &class->of_strand.heads[event->strand], answer);
	if (found == TEX_NO_EVENT && event->span != TEX_NO_NAME &&
		(head = named(class->spans, event->trace, event->span, HASH_FIND)) != NULL)
		found = last_open(one, &class->of_span, head, answer);
	return found;
}

/* Puts a request at the head of a list. */
static void
push(Open *list, int32 *head, int32 event)
{
	list->next[event] = *head;
	*head = event;
}

/* Notes a request in all lists in which its answer may look. */
static void
note_request(Class *class, int32 e)
{
	const TexEvent *event = &class->one->events[e];

	push(&class->of_strand, &class->of_strand.heads[event->strand], e);
	if (event->parent != TEX_NO_EVENT)
		push(&class->of_parent, &class->of_parent.heads[event->parent], e);
	if (event->span != TEX_NO_NAME)
		push(&class->of_span, named(class->spans, event->trace, event->span, HASH_ENTER), e);
}

/* A table of lists by name. */
static HTAB *
make_named(void)
{
	HASHCTL		ctl = {.keysize = sizeof(NamedKey),.entrysize = sizeof(Named),
	.hcxt = CurrentMemoryContext};

	return hash_create("open events by name", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Finds the answers of requests or of queries. */
static void
answer_class(TexOneTrace *one, TexKind asks, TexKind tells)
{
	Class		class = {.one = one,.asks = asks,.tells = tells};

	class.of_strand = (Open) {tex_new_array(sizeof(int32), one->history->nstrands, 0xff),
	tex_new_array(sizeof(int32), one->n, 0xff)};
	class.of_parent = (Open) {tex_new_array(sizeof(int32), one->n, 0xff),
	tex_new_array(sizeof(int32), one->n, 0xff)};
	class.of_span.next = tex_new_array(sizeof(int32), one->n, 0xff);
	class.spans = make_named();
	class.ancestor = tex_new_array(sizeof(int32), one->n, 0xff);
	for (int32 i = 0; i < one->n; i++)
		class.ancestor[i] = one->events[i].parent;
	for (int32 i = 0; i < one->n; i++)
	{
		int32		e = one->sequence[i];

		CHECK_FOR_INTERRUPTS();
		if (one->events[e].kind == asks)
			note_request(&class, e);
		else if (one->events[e].kind == tells)
		{
			int32		request = find_request(&class, e);

			if (request != TEX_NO_EVENT)
				set_answer(one, request, e);
		}
	}
}

/* Takes the last open one out of a list. */
static int32
pop(const TexOneTrace *one, const int32 *next, int32 *head)
{
	if (head == NULL)
		return TEX_NO_EVENT;
	while (*head != TEX_NO_EVENT && !is_open(one, *head))
		*head = next[*head];
	return *head;
}

/* Finds who awaits which task, and who gives which lock back. */
static void
answer_named(TexOneTrace *one)
{
	HTAB	   *table = make_named();
	int32	   *next = tex_new_array(sizeof(int32), one->n, 0xff);
	int32	   *next_in_trace = tex_new_array(sizeof(int32), one->n, 0xff);

	for (int32 i = 0; i < one->n; i++)
	{
		int32		e = one->sequence[i];
		const TexEvent *event = &one->events[e];
		int32	   *head;
		int32		found = TEX_NO_EVENT;

		CHECK_FOR_INTERRUPTS();
		if (event->kind == TEX_ASYNC_SPAWN && event->name != TEX_NO_NAME)
			push(&(Open) {NULL, next_in_trace}, named(table, event->trace, event->name, HASH_ENTER), e);
		else if (event->kind == TEX_LOCK_ACQUIRE && event->lock != TEX_NO_NAME)
		{
			push(&(Open) {NULL, next}, named(table, -1 - event->strand, event->lock, HASH_ENTER), e);
			push(&(Open) {NULL, next_in_trace}, named(table, event->trace, event->lock, HASH_ENTER), e);
		}
		else if (event->kind == TEX_ASYNC_AWAIT && event->name != TEX_NO_NAME)
			found = pop(one, next_in_trace, named(table, event->trace, event->name, HASH_FIND));
		else if (event->kind == TEX_LOCK_RELEASE && event->lock != TEX_NO_NAME)
		{
			head = named(table, -1 - event->strand, event->lock, HASH_FIND);
			found = pop(one, next, head);
			if (found == TEX_NO_EVENT)
				found = pop(one, next_in_trace, named(table, event->trace, event->lock, HASH_FIND));
		}
		if (found != TEX_NO_EVENT)
			set_answer(one, found, e);
	}
	hash_destroy(table);
	pfree(next);
	pfree(next_in_trace);
}

/*
 * Fills in extents, answer and answers of a trace whose events are in sequence.
 * Costs a pass over the events for what does not occur in it.
 */
void
tex_find_answers(TexOneTrace *one)
{
	bool		has[TEX_KIND_COUNT] = {false};

	one->extents = tex_new_array(sizeof(TexExtent), one->n, 0);
	one->answer = tex_new_array(sizeof(int32), one->n, 0xff);
	one->answers = tex_new_array(sizeof(int32), one->n, 0xff);
	for (int32 i = 0; i < one->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		one->extents[i] = one->events[i].extent;
		has[one->events[i].kind] = true;
	}
	if (has[TEX_HTTP_REQUEST] && has[TEX_HTTP_RESPONSE])
		answer_class(one, TEX_HTTP_REQUEST, TEX_HTTP_RESPONSE);
	if (has[TEX_DATABASE_QUERY] && has[TEX_DATABASE_RESULT])
		answer_class(one, TEX_DATABASE_QUERY, TEX_DATABASE_RESULT);
	if ((has[TEX_ASYNC_SPAWN] && has[TEX_ASYNC_AWAIT]) || (has[TEX_LOCK_ACQUIRE] && has[TEX_LOCK_RELEASE]))
		answer_named(one);
}
