/*
 * sharing.c
 *		Whether two traces are seen to share a variable of one name.
 *
 * Every request may have a "processed" or a "total" of its own: false to true, 0 to
 * 1, the same in each.  Then values prove nothing, for there is nothing that one
 * could take from the other.  So what values prove between two traces counts as
 * proved only if a value is seen to pass from one trace to another: an access of
 * one saw what another had put there, which had not been there before as far as the
 * writer knows, and which the reader did not have from itself.
 *
 * Looked at are the two traces and those that overlap one of them: they are loaded
 * whatever the pair was asked for, so every call and every batch answers the same.
 * For the same reason times decide what came first, not places in the sequence.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "guc.h"
#include "races/accesses.h"
#include "races/proof.h"
#include "races/sharing.h"

/* Different values of one trace that are looked at. */
#define MOST_VALUES	32

typedef struct Value
{
	Jsonb	   *value;
	TimestampTz at;
	int32		instance;
	bool		certain;		/* it was not there before */
} Value;

/* What a trace put into a variable that was not there, and saw that it had not put. */
typedef struct TexSigns
{
	Value		put[MOST_VALUES];
	Value		seen[MOST_VALUES];
	Value		own[MOST_VALUES];	/* all that it wrote */
	int			nown;
	int			nput;
	int			nseen;
	bool		decided;		/* whether it shares the variable with others */
	bool		shares;
} TexSigns;

/* What an access saw: of a write, what it wrote over. */
static Jsonb *
seen_by(const TexEvent *access)
{
	return access->access == TEX_READ || access->access == TEX_ATOMIC_READ ?
		tex_value_of(access) : access->data->old_value;
}

/* A trace's first access of a variable. */
static int32
first_access(const TexRaces *races, const TexVarTrace *trace)
{
	int32		first = TEX_NO_ACCESS;

	for (int32 i = 0; i < trace->nstrands; i++)
	{
		int32		access = trace->strands[i].accesses->all.entries[0].access;

		if (first == TEX_NO_ACCESS ||
			races->accesses[access].position < races->accesses[first].position)
			first = access;
	}
	return first;
}

/*
 * Whether a write brought a value that its trace had neither found nor begun with,
 * as far as known; *certain: what it found is known.
 */
static bool
is_new(const TexRaces *races, int32 write, int32 first, bool *certain)
{
	const TexEvent *event = tex_access_event(races, write);
	int32		before = races->accesses[write].before;
	Jsonb	   *put = tex_value_of(event);
	Jsonb	   *there = event->data->old_value;

	if (there == NULL && before != TEX_NO_ACCESS)
		there = tex_value_of(tex_access_event(races, before));
	*certain = tex_compare_values(put, there) == TEX_VALUES_DIFFERENT;
	return tex_compare_values(put, there) != TEX_VALUES_EQUAL &&
		(first == write ||
		 tex_compare_values(put, seen_by(tex_access_event(races, first))) != TEX_VALUES_EQUAL);
}

/*
 * Whether an access saw a value that its trace did not have before; *certain: it
 * had another one.
 */
static bool
is_news(const TexRaces *races, int32 access, bool *certain)
{
	int32		before = races->accesses[access].before;
	Jsonb	   *seen = seen_by(tex_access_event(races, access));

	*certain = before != TEX_NO_ACCESS;
	return seen != NULL &&
		(before == TEX_NO_ACCESS ||
		 tex_compare_values(seen, tex_value_of(tex_access_event(races, before))) == TEX_VALUES_DIFFERENT);
}

/* Note a value: of what was put the earliest time counts, of what was seen the latest. */
static void
note(Value *values, int *n, Jsonb *value, const TexEvent *event, bool certain, bool latest)
{
	for (int i = 0; i < *n; i++)
		if (values[i].instance == event->instance && values[i].certain == certain &&
			tex_compare_values(values[i].value, value) == TEX_VALUES_EQUAL)
		{
			values[i].at = latest ? Max(values[i].at, event->at) : Min(values[i].at, event->at);
			return;
		}
	if (*n < MOST_VALUES)
		values[(*n)++] = (Value) {value, event->at, event->instance, certain};
}

/* What the accesses of a trace show, found out once for each variable. */
static TexSigns *
signs_of(const TexRaces *races, TexVarTrace *trace)
{
	TexSigns   *signs = trace->signs;
	int32		first;

	if (signs)
		return signs;
	signs = trace->signs = palloc0(sizeof(TexSigns));
	first = first_access(races, trace);
	for (int32 i = 0; i < trace->nstrands; i++)
	{
		const TexEntries *all = &trace->strands[i].accesses->all;

		for (int32 k = 0; k < all->n; k++)
		{
			int32		access = all->entries[k].access;
			const TexEvent *event = tex_access_event(races, access);
			bool		certain;

			CHECK_FOR_INTERRUPTS();
			if (tex_is_write(event))
				note(signs->own, &signs->nown, tex_value_of(event), event, true, false);
			if (tex_is_write(event) && is_new(races, access, first, &certain))
				note(signs->put, &signs->nput, tex_value_of(event), event, certain, false);
			if (is_news(races, access, &certain))
				note(signs->seen, &signs->nseen, seen_by(event), event, certain, true);
		}
	}
	return signs;
}

/* Whether a trace wrote itself what it saw. */
static bool
is_its_own(const TexSigns *signs, const Value *seen)
{
	for (int i = 0; i < signs->nown; i++)
		if (signs->own[i].at <= seen->at &&
			tex_compare_values(signs->own[i].value, seen->value) == TEX_VALUES_EQUAL)
			return true;
	return false;
}

/* Whether a value passed from one trace to another. */
static bool
passed(const TexSigns *writer, const TexSigns *reader)
{
	for (int i = 0; i < writer->nput; i++)
		for (int k = 0; k < reader->nseen; k++)
		{
			const Value *put = &writer->put[i];
			const Value *seen = &reader->seen[k];
			int64		skew = put->instance == seen->instance ? 0 : tex_clock_skew_usecs();

			if (put->at - skew <= seen->at && (put->certain || seen->certain) &&
				tex_compare_values(put->value, seen->value) == TEX_VALUES_EQUAL &&
				!is_its_own(reader, seen))
				return true;
		}
	return false;
}

/* Whether a value passed between a trace and one that overlaps it; found out once. */
static bool
is_sharing(const TexRaces *races, const TexVariable *variable, TexVarTrace *trace)
{
	TexSigns   *signs = signs_of(races, trace);

	for (int32 i = 0; i < variable->ntraces && !signs->decided && !signs->shares; i++)
	{
		TexVarTrace *other = variable->traces[i];
		const TexSigns *others;

		CHECK_FOR_INTERRUPTS();
		if (other == trace || !tex_traces_overlap(races->history, other->trace, trace->trace))
			continue;
		others = signs_of(races, other);
		signs->shares = passed(others, signs) || passed(signs, others);
	}
	signs->decided = true;
	return signs->shares;
}

/*
 * Whether two traces, which overlap, are seen to share what their accesses are about.
 */
bool
tex_seen_shared(const TexRaces *races, int32 first, int32 second)
{
	const TexEvent *x = tex_access_event(races, first);
	const TexEvent *y = tex_access_event(races, second);
	const TexVariable *variable;

	if (x->trace == y->trace)
		return true;
	variable = tex_races_variable(races, x->data->variable);
	return is_sharing(races, variable, tex_races_of_strand(races, variable, x->strand)->trace) ||
		is_sharing(races, variable, tex_races_of_strand(races, variable, y->strand)->trace);
}
