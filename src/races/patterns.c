/*
 * patterns.c
 *		What kind of harm a racing pair does, and how sure that is.
 *
 * A pair (first, second) is looked at together with a third access: what the
 * second's trace did to the variable before (if the first came after that), or what
 * the first's trace did next (if the second came before that).  Then one of the two
 * is the remote access r between two consecutive accesses p, c of the other trace:
 *
 *		p = R, r = w, c = W		lost update				P4
 *		p = R, r = w, c = R		non-repeatable read		P2
 *		p = W, r = r, c = W		intermediate read		G1b
 *		p = W, r = w, c = R		own write overwritten	internal
 *
 * Each is reported once, at the pair (r, c) where the harm shows; for an
 * intermediate read that is (p, r).  Only if r and c are ordered after all does
 * (p, r) stand for it.  What remains is aborted read (G1a), check-then-act
 * (G-single, G2), write-write (P0) and read-write.
 *
 * Of several that fit, one that values confirm is taken; values can also refute,
 * as when a trace reads its old value again.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"

#include "races/patterns.h"
#include "races/proof.h"
#include "races/sharing.h"

/* Of what values prove if the variable is shared, which nothing shows. */
#define UNSHARED_CONFIDENCE 5

/* Of one who read 1000 and wrote 990 over 990: both may have taken 10 off, or set it to 990. */
#define SAME_NUMBER_CONFIDENCE 7

typedef struct FailureKey
{
	int32		trace;
	int32		span;
} FailureKey;

typedef struct Failure
{
	FailureKey	key;
	int32		event;			/* the latest that says so */
} Failure;

struct TexFailures
{
	HTAB	   *units;
};

static const struct
{
	const char *name;
	const char *severity;
	int			rank;			/* smaller is worse */
}			patterns[] = {
	[TEX_LOST_UPDATE] = {"lost update", "CRITICAL", 0},
	[TEX_WRITE_WRITE] = {"write-write", "CRITICAL", 1},
	[TEX_READ_WRITE] = {"read-write", "WARNING", 2},
	[TEX_NON_REPEATABLE_READ] = {"non-repeatable read", "INFO", 3},
	[TEX_INTERMEDIATE_READ] = {"intermediate read", "INFO", 3},
	[TEX_OWN_WRITE_OVERWRITTEN] = {"own write overwritten", "INFO", 3},
	[TEX_ABORTED_READ] = {"aborted read", "INFO", 3},
	[TEX_CHECK_THEN_ACT] = {"check-then-act", "INFO", 3},
	[TEX_WRITE_SKEW] = {"write skew", "INFO", 3},
	[TEX_POTENTIAL_RACE] = {"potential race", "INFO", 4},
	[TEX_LOCK_ORDER] = {"lock order", "WARNING", 2},
};

/* What SQL calls it; ids of findings follow from this. */
const char *
tex_pattern_name(TexPattern pattern)
{
	return patterns[pattern].name;
}

/* CRITICAL, WARNING or INFO, by the pattern alone. */
const char *
tex_pattern_severity(TexPattern pattern)
{
	return patterns[pattern].severity;
}

/* The order in which rows are shown, worst first; smaller is worse. */
int
tex_pattern_rank(TexPattern pattern)
{
	return patterns[pattern].rank;
}

/*
 * A unit of work is a trace's span, or what of a trace is in no span.
 */
TexFailures *
tex_failures_collect(const TexHistory *history)
{
	TexFailures *failures = palloc(sizeof(TexFailures));
	HASHCTL		ctl = {.keysize = sizeof(FailureKey),.entrysize = sizeof(Failure),
	.hcxt = CurrentMemoryContext};

	failures->units = hash_create("failed units", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[i];
		FailureKey	key = {event->trace, event->span};

		CHECK_FOR_INTERRUPTS();
		if (event->flags & TEX_EVENT_FAILED)
			((Failure *) hash_search(failures->units, &key, HASH_ENTER, NULL))->event = i;
	}
	return failures;
}

/* Whether the unit of work that an access belongs to failed later on. */
static bool
failed_after(const TexRaces *races, const TexFailures *failures, int32 access)
{
	const TexEvent *event = tex_access_event(races, access);
	FailureKey	key = {event->trace, event->span};
	Failure    *failure = hash_search(failures->units, &key, HASH_FIND, NULL);

	return failure && tex_order_position(races->order, failure->event) >
		races->accesses[access].position;
}

/* What the trace of an access did before, if another access came in between. */
static int32
before_across(const TexRaces *races, int32 access, int32 between)
{
	int32		before = races->accesses[access].before;

	if (before == TEX_NO_ACCESS || before == between ||
		races->accesses[before].position > races->accesses[between].position)
		return TEX_NO_ACCESS;
	return before;
}

/* What the trace of an access did next, if another access came in between. */
static int32
after_across(const TexRaces *races, int32 access, int32 between)
{
	int32		after = races->accesses[access].after;

	if (after == TEX_NO_ACCESS || after == between ||
		races->accesses[after].position < races->accesses[between].position)
		return TEX_NO_ACCESS;
	return after;
}

/* Whether two accesses race; asked where the pair itself may not have been kept. */
static bool
is_race(const TexRaces *races, int32 first, int32 second)
{
	return races->accesses[first].strand != races->accesses[second].strand &&
		!tex_happens_before(races, first, second, TEX_FULL_ORDER) &&
		!tex_locks_protect(races->order, races->accesses[first].lock_set,
						   races->accesses[second].lock_set);
}

/* Takes a pattern that fits, unless one fits already; one that values confirm goes before. */
static void
consider(TexVerdict *verdict, TexPattern pattern, int32 third, bool confirmed)
{
	bool		undecided = verdict->third == TEX_NO_ACCESS;

	if (undecided || (confirmed && !verdict->confirmed))
	{
		verdict->pattern = pattern;
		verdict->third = third;
		verdict->confirmed = confirmed;
	}
}

/* Two writes: a lost update if the second one's trace had read before, else P0. */
static void
judge_writes(TexVerdict *verdict, const TexRaces *races, const TexPair *pair)
{
	int32		before = before_across(races, pair->second, pair->first);
	const TexEvent *write = tex_access_event(races, pair->second);
	const TexEvent *read = before == TEX_NO_ACCESS ? NULL : tex_access_event(races, before);

	verdict->pattern = TEX_WRITE_WRITE;
	if (pair->proved)
	{
		verdict->pattern = TEX_LOST_UPDATE;
		verdict->third = read && !tex_is_write(read) ? before : TEX_NO_ACCESS;
		verdict->confirmed = true;
	}
	/* A read-modify-write reads what it writes over. */
	else if (read && !tex_is_write(read) && write->access != TEX_ATOMIC_RMW)
		consider(verdict, TEX_LOST_UPDATE, before,
				 tex_proves_lost_update(read, tex_access_event(races, pair->first), write, false));
}

/* A write, then a read that may have got it. */
static void
judge_write_read(TexVerdict *verdict, const TexRaces *races, const TexFailures *failures,
				 const TexPair *pair)
{
	const TexEvent *write = tex_access_event(races, pair->first);
	const TexEvent *read = tex_access_event(races, pair->second);
	int32		before = before_across(races, pair->second, pair->first);
	int32		after = after_across(races, pair->first, pair->second);
	TexComparison got = tex_compare_values(tex_value_of(write), tex_value_of(read));

	verdict->pattern = TEX_READ_WRITE;
	if (got != TEX_VALUES_DIFFERENT && failed_after(races, failures, pair->first))
		consider(verdict, TEX_ABORTED_READ, pair->first, tex_proves_read_of(write, read));
	if (before != TEX_NO_ACCESS)
	{
		const TexEvent *own = tex_access_event(races, before);

		if (!tex_refutes_between(own, write, read))
			consider(verdict, tex_is_write(own) ? TEX_OWN_WRITE_OVERWRITTEN : TEX_NON_REPEATABLE_READ,
					 before, tex_proves_changed(own, write, read));
	}
	if (after != TEX_NO_ACCESS && got != TEX_VALUES_DIFFERENT)
	{
		const TexEvent *next = tex_access_event(races, after);

		if (tex_is_write(next))
			consider(verdict, TEX_INTERMEDIATE_READ, after,
					 tex_proves_read_of(write, read) &&
					 tex_compare_values(tex_value_of(write), tex_value_of(next)) == TEX_VALUES_DIFFERENT);
	}
}

/* A read, then a write under it: the harm shows in what the reader did next. */
static void
judge_read_write(TexVerdict *verdict, const TexRaces *races, const TexPair *pair)
{
	const TexEvent *read = tex_access_event(races, pair->first);
	const TexEvent *write = tex_access_event(races, pair->second);
	int32		after = after_across(races, pair->first, pair->second);
	int32		act = races->accesses[pair->first].next_write;

	verdict->pattern = TEX_READ_WRITE;
	if (after != TEX_NO_ACCESS)
	{
		const TexEvent *next = tex_access_event(races, after);

		/* Else the pair (second, after) tells of it. */
		if (is_race(races, pair->second, after) || next->access == TEX_ATOMIC_RMW)
			return;
		if (tex_is_write(next))
			consider(verdict, TEX_LOST_UPDATE, after,
					 tex_proves_lost_update(read, write, next, false));
		else if (!tex_refutes_between(read, write, next))
			consider(verdict, TEX_NON_REPEATABLE_READ, after, tex_proves_changed(read, write, next));
	}
	else if (act != TEX_NO_ACCESS &&
			 races->accesses[act].position > races->accesses[pair->second].position &&
			 tex_access_event(races, act)->data->variable != read->data->variable)
		consider(verdict, TEX_CHECK_THEN_ACT, act, false);
}

/*
 * In tenths: 9 in one process, 7 across; 1 less where neither trace has an event
 * that could have ordered anything, and 1 less where a parent is missing.
 */
static int
confidence_of(const TexRaces *races, const TexPair *pair)
{
	const TexEvent *a = tex_access_event(races, pair->first);
	const TexEvent *b = tex_access_event(races, pair->second);
	const TexTrace *x = &races->history->traces[a->trace];
	const TexTrace *y = &races->history->traces[b->trace];
	int			confidence = a->place == b->place ? 9 : 7;

	if (!x->has_sync && !y->has_sync)
		confidence--;
	if (x->parent_missing || y->parent_missing)
		confidence--;
	return confidence;
}

/*
 * The pattern of a kept pair and the confidence in it, in tenths, by the table in
 * docs/races.md. The anomalies are those of Adya, Liskov and O'Neil (2000), told from values
 * as Elle does (Kingsbury and Alvaro, 2020). Failures are those of the same history.
 */
TexVerdict
tex_judge(const TexRaces *races, const TexFailures *failures, const TexPair *pair)
{
	bool		first_writes = tex_is_write(tex_access_event(races, pair->first));
	bool		second_writes = tex_is_write(tex_access_event(races, pair->second));
	TexVerdict	verdict = {.third = TEX_NO_ACCESS};

	if (tex_is_check(races, pair))
	{
		verdict.pattern = pair->fourth == TEX_NO_ACCESS ? TEX_CHECK_THEN_ACT : TEX_WRITE_SKEW;
		verdict.third = pair->third;
		verdict.confidence = TEX_POTENTIAL_CONFIDENCE;
		return verdict;
	}
	/* Of a database nobody need be shown that requests share it. */
	if (pair->watched)
	{
		verdict.pattern = second_writes ? TEX_LOST_UPDATE : TEX_NON_REPEATABLE_READ;
		verdict.third = pair->third;
		verdict.confirmed = !pair->same_value;
		verdict.confidence = pair->same_value ? SAME_NUMBER_CONFIDENCE : 10;
		return verdict;
	}
	if (pair->tier == TEX_TIER_POTENTIAL)
	{
		verdict.pattern = TEX_POTENTIAL_RACE;
		verdict.confidence = TEX_POTENTIAL_CONFIDENCE;
		return verdict;
	}
	if (first_writes && second_writes)
		judge_writes(&verdict, races, pair);
	else if (first_writes)
		judge_write_read(&verdict, races, failures, pair);
	else
		judge_read_write(&verdict, races, pair);
	verdict.confidence = verdict.confirmed ? 10 : confidence_of(races, pair);
	if (verdict.confirmed && !tex_seen_shared(races, pair->first, pair->second))
	{
		verdict.unshared = true;
		verdict.confidence = Min(confidence_of(races, pair), UNSHARED_CONFIDENCE);
	}
	return verdict;
}
