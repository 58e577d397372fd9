/*
 * watched.c
 *		Harm that the values of a database's own accesses prove.
 *
 * A database keeps single accesses apart, and orders those to one row by its commits, so
 * a pair of them that no lock, message or task orders is no race.  What harms is a request
 * that goes by what it read before, and values prove it:
 *
 *	- lost update (P4; Adya, Liskov and O'Neil, 2000): a request read 1000, another
 *	  transaction committed 800, and the request wrote 900 over it, which is not computed
 *	  from the column in the same statement;
 *	  Where it wrote 800 over 800, both may have taken 200 off, and one of them is lost; or
 *	  both set a state, and nothing is.  Of numbers it is reported, but not as proved;
 *	- non-repeatable read (P2): a transaction read 1000 and then 800, which another one had
 *	  committed meanwhile, and did not take a row lock to read it.  Who then wrote over the 800 that
 *	  he had found began anew, as with a version column, and was not misled.
 *
 * Of whom the update was is told by the last write before that changed the value; those after
 * it put there what they had found.  Writes of a variable are taken in the order of their
 * commits, by the clock of one host, not in the sequence of causes, in which parents from hosts
 * with other clocks may delay them.  What they found and put there must fit, else somebody
 * wrote of whom nothing is known.
 *
 * A variable of a watched table is shared by nature, so no sign of that is needed (sharing.c).
 */
#include "postgres.h"

#include "miscadmin.h"

#include "races/arrays.h"
#include "races/proof.h"
#include "races/watched.h"

/* Writes before a read that are looked at for the one that it saw. */
#define WRITES_BACK 16

/* Reads after a read, until the transaction writes. */
#define MOST_READS_AHEAD 16

/* An access of a watched table. */
typedef struct Watched
{
	int32		variable;
	int32		access;
	int32		position;
	TimestampTz at;
} Watched;

/* For qsort(): by variable, then by time. */
static int
compare_watched(const void *a, const void *b)
{
	const Watched *x = a;
	const Watched *y = b;

	CHECK_FOR_INTERRUPTS();
	if (x->variable != y->variable)
		return x->variable < y->variable ? -1 : 1;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->position < y->position ? -1 : x->position > y->position;
}

/* Whether pairs of the traces of two accesses are wanted, and these ran at the same time. */
bool
tex_watched_are_rivals(const TexRaces *races, const TexEvent *a, const TexEvent *b)
{
	return tex_traces_wanted(&races->history->traces[a->trace], &races->history->traces[b->trace]) &&
		tex_traces_overlap(races->history, a->trace, b->trace);
}

/* Whether a write put there what an access then found, and it was a change. */
static bool
put_what_was_found(const TexEvent *write, Jsonb *found)
{
	return tex_compare_columns(tex_value_of(write), found) == TEX_VALUES_EQUAL &&
		tex_compare_columns(write->data->old_value, tex_value_of(write)) != TEX_VALUES_EQUAL;
}

/* What the trace of an access read before it, or TEX_NO_ACCESS: it did something else, or nothing. */
static int32
read_before(const TexRaces *races, int32 access)
{
	int32		before = races->accesses[access].before;
	const TexEvent *event;

	if (before == TEX_NO_ACCESS)
		return TEX_NO_ACCESS;
	event = tex_access_event(races, before);
	return tex_is_watched(event) && event->access == TEX_READ ? before : TEX_NO_ACCESS;
}

/* Whether a value is a number. */
static bool
is_number(Jsonb *value)
{
	JsonbValue	scalar;

	return value && JB_ROOT_IS_SCALAR(value) && JsonbExtractScalar(&value->root, &scalar) && scalar.type == jbvNumeric;
}

/* Reports the update of the write before, if an access wrote over it by what it had read earlier. */
static void
judge_write(TexRaces *races, int32 access, int32 write_before)
{
	const TexEvent *write = tex_access_event(races, access);
	const TexEvent *remote = tex_access_event(races, write_before);
	int32		before = read_before(races, access);
	TexComparison same;

	if (before == TEX_NO_ACCESS || write->access != TEX_WRITE || write->data->incomplete ||
		races->accesses[write_before].strand == races->accesses[access].strand)
		return;
	if (tex_compare_columns(tex_value_of(tex_access_event(races, before)), write->data->old_value) != TEX_VALUES_DIFFERENT ||
		!put_what_was_found(remote, write->data->old_value) || !tex_watched_are_rivals(races, remote, write))
		return;
	same = tex_compare_columns(tex_value_of(remote), tex_value_of(write));
	if (same == TEX_VALUES_UNKNOWN || (same == TEX_VALUES_EQUAL && !is_number(tex_value_of(write))))
		return;
	tex_races_add_watched(races, (TexPair) {.first = write_before,.second = access,.tier = TEX_TIER_PROVED,
						 .proved = true,.watched = true,.same_value = same == TEX_VALUES_EQUAL,.third = before});
}

/* Whether the transaction of a read went on to write over what it read last: it began anew. */
static bool
writes_over_it(const TexRaces *races, int32 access)
{
	const TexEvent *read = tex_access_event(races, access);

	for (int i = 0; i < MOST_READS_AHEAD; i++)
	{
		int32		after = races->accesses[access].after;
		const TexEvent *next;

		if (after == TEX_NO_ACCESS)
			return false;
		next = tex_access_event(races, after);
		if (!tex_is_watched(next) || next->data->transaction != read->data->transaction)
			return false;
		if (tex_is_write(next))
			return tex_compare_columns(tex_value_of(tex_access_event(races, access)), next->data->old_value) == TEX_VALUES_EQUAL;
		access = after;
	}
	return false;
}

/* Reports the write that a transaction saw although it had read the value before; the write is one of some. */
static void
judge_read(TexRaces *races, int32 access, const Watched *writes, int n)
{
	const TexEvent *read = tex_access_event(races, access);
	int32		before = read_before(races, access);
	const TexEvent *earlier;

	if (before == TEX_NO_ACCESS || read->data->row_locked || read->data->incomplete)
		return;
	earlier = tex_access_event(races, before);
	if (earlier->data->transaction != read->data->transaction ||
		tex_compare_columns(tex_value_of(earlier), tex_value_of(read)) != TEX_VALUES_DIFFERENT ||
		writes_over_it(races, access))
		return;
	for (int i = n - 1; i >= 0; i--)
	{
		const TexEvent *remote = tex_access_event(races, writes[i].access);

		if (races->accesses[writes[i].access].strand == races->accesses[access].strand ||
			!put_what_was_found(remote, tex_value_of(read)) || !tex_watched_are_rivals(races, remote, read))
			continue;
		tex_races_add_watched(races, (TexPair) {.first = writes[i].access,.second = access,.tier = TEX_TIER_PROVED,
							 .proved = true,.watched = true,.third = before});
		return;
	}
}

/* Goes through the accesses of one variable, by time. */
static void
judge_variable(TexRaces *races, const Watched *accesses, int n)
{
	Watched    *writes = palloc(sizeof(Watched) * n);
	int			nwrites = 0;
	int32		last_change = TEX_NO_ACCESS;

	for (int i = 0; i < n; i++)
	{
		int32		access = accesses[i].access;
		const TexEvent *event = tex_access_event(races, access);

		CHECK_FOR_INTERRUPTS();
		if (tex_is_write(event))
		{
			if (last_change != TEX_NO_ACCESS)
				judge_write(races, access, last_change);
			if (tex_compare_columns(event->data->old_value, tex_value_of(event)) != TEX_VALUES_EQUAL)
				last_change = access;
			writes[nwrites++] = accesses[i];
		}
		else
			judge_read(races, access, writes + Max(nwrites - WRITES_BACK, 0), Min(nwrites, WRITES_BACK));
	}
	pfree(writes);
}

/*
 * Adds the pairs of accesses of watched tables, which are all taken by now, whose values prove
 * harm.
 */
void
tex_watched_find(TexRaces *races)
{
	Watched    *watched = NULL;
	int32		n = 0;

	for (int32 i = 0; i < races->naccesses; i++)
		n += tex_is_watched(tex_access_event(races, i));
	if (n == 0)
		return;
	watched = tex_new_array(sizeof(Watched), n, 0);
	n = 0;
	for (int32 i = 0; i < races->naccesses; i++)
	{
		const TexEvent *event = tex_access_event(races, i);

		if (tex_is_watched(event) &&
			(races->options.variable == TEX_NO_NAME || races->options.variable == event->name))
			watched[n++] = (Watched) {event->data->variable, i, races->accesses[i].position, event->at};
	}
	qsort(watched, n, sizeof(Watched), compare_watched);
	for (int32 from = 0, to; from < n; from = to)
	{
		for (to = from; to < n && watched[to].variable == watched[from].variable; to++)
			;
		judge_variable(races, watched + from, to - from);
	}
	pfree(watched);
}
