/*
 * vclock.c
 *		Vector clocks: how they are stored, their two orders and their join.
 *
 * A vector clock maps components (text, mostly "service#instance" or an event id)
 * to counts, and a component it does not name has count 0. So {"a": 0} and {} are
 * one clock, and a count of 0 is never stored.
 *
 * Storage, after the varlena header, sorted by the bytes of the names, no padding:
 *
 *		length of name (1 byte, 1..255) | name | count (varint, 1..9 bytes)
 *
 * The number of components is not stored: the value ends where it ends, and the
 * empty clock is empty. A varint holds seven bits a byte, the low ones first, and
 * has no superfluous bytes. Hence equal clocks are equal bytes, which equality,
 * hashing and deduplication in B-trees rest on.
 *
 * Two orders:
 *
 * - The vector order, partial: a <= b if no component of a is greater than in b.
 *	 Operators <, <=, >, >= and ||; in SQL "<" reads "happens before".
 * - The sort order, total: of the first component, by bytes of names, in which two
 *	 clocks differ, the smaller count. Operators #<# and so on, the default B-tree
 *	 operator class, so that ORDER BY, DISTINCT and unique indexes work. Where
 *	 a < b, also a #<# b: ORDER BY puts no clock before one that happens before it.
 *
 * Known limits: TEX_VCLOCK_MAX_COMPONENTS bounds each clock, also the result of a
 * join. Names are compared by bytes, so values sort the same in every collation,
 * but a dump restored in another encoding may sort differently (it is read anew).
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "common/varint.h"
#include "vclock/vclock.h"

/* Bytes of a name or of input that a message shows. */
#define SHOWN_BYTES		64

/* A walk over two clocks at once, by components of either. */
typedef struct PairWalk
{
	TexVclockIter iter_a;
	TexVclockIter iter_b;
	TexVclockComponent a;
	TexVclockComponent b;
	bool		has_a;
	bool		has_b;
} PairWalk;

/* One step of it: a component that at least one clock has. */
typedef struct PairStep
{
	const char *name;
	int			len;
	int64		count_a;
	int64		count_b;
} PairStep;

/* ---------------------------------------------------------------- reading */

/*
 * Begins a walk over the components of a clock, which is detoasted (a short header will do) and
 * stays where it is until the walk ends.
 */
void
tex_vclock_iterate(TexVclockIter *iter, const TexVclock *clock)
{
	iter->next = (const uint8 *) VARDATA_ANY(clock);
	iter->end = iter->next + VARSIZE_ANY_EXHDR(clock);
}

/* Only damaged storage gets here; a reader must not run past the value. */
static void
report_corrupt(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("corrupt value of type %s", "vclock")));
}

/* Seven bits a byte, the low ones first; nine bytes hold all that an int64 may be. */
static int64
read_varint(TexVclockIter *iter)
{
	uint64		value = 0;

	for (int shift = 0; shift < 63; shift += 7)
	{
		uint8		byte;

		if (iter->next == iter->end)
			break;
		byte = *iter->next++;
		value |= (uint64) (byte & 0x7F) << shift;
		if (byte < 0x80)
			return (int64) value;
	}
	report_corrupt();
	return 0;
}

/*
 * The next component, ascending by bytes of the name; false at the end. The name points into the
 * clock. Throws only where storage is damaged.
 */
bool
tex_vclock_next(TexVclockIter *iter, TexVclockComponent *component)
{
	if (iter->next == iter->end)
		return false;
	component->len = *iter->next++;
	component->name = (const char *) iter->next;
	if (iter->end - iter->next <= component->len)
		report_corrupt();
	iter->next += component->len;
	component->count = read_varint(iter);
	return true;
}

/* By bytes, not by collation: the order of storage must be the same in every database. */
static inline int
compare_names(const char *a, int a_len, const char *b, int b_len)
{
	int			result = memcmp(a, b, Min(a_len, b_len));

	return result != 0 ? result : a_len - b_len;
}

/*
 * The count of one component, 0 where the clock does not have it; the name is of the database's
 * encoding. Costs a walk up to where the name would be.
 */
int64
tex_vclock_count(const TexVclock *clock, const char *name, int len)
{
	TexVclockIter iter;
	TexVclockComponent component;

	tex_vclock_iterate(&iter, clock);
	while (tex_vclock_next(&iter, &component))
	{
		int			order = compare_names(component.name, component.len, name, len);

		if (order == 0)
			return component.count;
		if (order > 0)
			break;
	}
	return 0;
}

/* Begins a merge of two sorted lists of components. */
static void
pair_begin(PairWalk *walk, const TexVclock *a, const TexVclock *b)
{
	tex_vclock_iterate(&walk->iter_a, a);
	tex_vclock_iterate(&walk->iter_b, b);
	walk->has_a = tex_vclock_next(&walk->iter_a, &walk->a);
	walk->has_b = tex_vclock_next(&walk->iter_b, &walk->b);
}

/* The next component that either clock has, with both counts; false when both have ended. */
static bool
pair_next(PairWalk *walk, PairStep *step)
{
	int			order;

	if (walk->has_a && walk->has_b)
		order = compare_names(walk->a.name, walk->a.len,
							  walk->b.name, walk->b.len);
	else if (walk->has_a || walk->has_b)
		order = walk->has_a ? -1 : 1;
	else
		return false;

	step->name = order <= 0 ? walk->a.name : walk->b.name;
	step->len = order <= 0 ? walk->a.len : walk->b.len;
	step->count_a = order <= 0 ? walk->a.count : 0;
	step->count_b = order >= 0 ? walk->b.count : 0;
	if (order <= 0)
		walk->has_a = tex_vclock_next(&walk->iter_a, &walk->a);
	if (order >= 0)
		walk->has_b = tex_vclock_next(&walk->iter_b, &walk->b);
	return true;
}

/* --------------------------------------------------------------- building */

/*
 * A copy of the beginning of a text, for a message. The text is valid in the
 * database's encoding and len bytes long; the copy ends between two characters.
 */
char *
tex_vclock_clip(const char *text, int len)
{
	int			shown = pg_mbcliplen(text, len, SHOWN_BYTES);

	return psprintf("%.*s%s", shown, text, shown < len ? "..." : "");
}

/* Fills in the problem; what to do with it is the caller's. */
static void
too_many_components(TexVclockProblem *problem)
{
	problem->sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
	problem->message = "vector clock has too many components";
	problem->detail = psprintf("The limit is %d components.",
							   TEX_VCLOCK_MAX_COMPONENTS);
}

/* Throws for a merge that goes beyond the limit; does not return. */
void
tex_vclock_report_too_many(void)
{
	TexVclockProblem problem;

	too_many_components(&problem);
	ereport(ERROR,
			(errcode(problem.sqlstate),
			 errmsg("%s", problem.message),
			 errdetail("%s", problem.detail)));
}

/* True if name and count may be stored; else the problem says why not. */
static bool
check_component(const TexVclockComponent *component, TexVclockProblem *problem)
{
	if (component->len <= 0)
	{
		problem->sqlstate = ERRCODE_INVALID_TEXT_REPRESENTATION;
		problem->message = "component of a vector clock is empty";
		problem->detail = psprintf("A component is a text of 1 to %d bytes.",
								   TEX_VCLOCK_MAX_NAME);
		return false;
	}
	if (component->len > TEX_VCLOCK_MAX_NAME)
	{
		problem->sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		problem->message = psprintf("vector clock component \"%s\" is too long",
									tex_vclock_clip(component->name, component->len));
		problem->detail = psprintf("It has %d bytes; the limit is %d.",
								   component->len, TEX_VCLOCK_MAX_NAME);
		return false;
	}
	if (component->count < 0)
	{
		problem->sqlstate = ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
		problem->message = psprintf("count of vector clock component \"%s\" is negative",
									tex_vclock_clip(component->name, component->len));
		problem->detail = psprintf("A count is an integer from 0 to " INT64_FORMAT ".",
								   PG_INT64_MAX);
		return false;
	}
	return true;
}

/* For qsort(): the order of storage. */
static int
compare_components(const void *a, const void *b)
{
	const TexVclockComponent *left = a;
	const TexVclockComponent *right = b;

	return compare_names(left->name, left->len, right->name, right->len);
}

/* Writes one component as it is stored; returns where the next one goes. */
static uint8 *
write_component(uint8 *to, const char *name, int len, uint64 count)
{
	*to++ = (uint8) len;
	memcpy(to, name, len);
	to += len;
	return tex_put_varint(to, count);
}

/* The clock of components that are sorted, distinct and checked. */
static TexVclock *
assemble(const TexVclockComponent *components, int n)
{
	Size		size = VARHDRSZ;
	TexVclock  *clock;
	uint8	   *to;

	for (int i = 0; i < n; i++)
		if (components[i].count > 0)
			size += 1 + components[i].len + tex_varint_length(components[i].count);

	clock = palloc(size);
	SET_VARSIZE(clock, size);
	to = (uint8 *) VARDATA(clock);
	for (int i = 0; i < n; i++)
		if (components[i].count > 0)
			to = write_component(to, components[i].name, components[i].len,
								 components[i].count);
	return clock;
}

/*
 * Takes a component over into a list that is being read; the name is not copied and must stay.
 * False, and the problem filled, where the clock is full, so that no input makes the list longer
 * than TEX_VCLOCK_MAX_COMPONENTS. Anything else is judged by tex_vclock_build_checked().
 */
bool
tex_vclock_append(TexVclockList *list, const TexVclockComponent *component,
				  TexVclockProblem *problem)
{
	if (list->n == TEX_VCLOCK_MAX_COMPONENTS)
	{
		too_many_components(problem);
		return false;
	}
	if (list->n == list->room)
	{
		Size		size;

		list->room = list->room == 0 ? 4 : list->room * 2;
		size = list->room * sizeof(*list->items);
		list->items = list->items == NULL ? palloc(size) : repalloc(list->items, size);
	}
	list->items[list->n++] = *component;
	return true;
}

/*
 * Make a clock in the current memory context. Sorts the array in place, which may
 * come in any order. NULL, and the problem filled, if the components break a rule.
 */
TexVclock *
tex_vclock_build_checked(TexVclockComponent *components, int n,
						 TexVclockProblem *problem)
{
	if (n > TEX_VCLOCK_MAX_COMPONENTS)
	{
		too_many_components(problem);
		return NULL;
	}
	for (int i = 0; i < n; i++)
		if (!check_component(&components[i], problem))
			return NULL;
	if (n > 1)
		qsort(components, n, sizeof(*components), compare_components);
	for (int i = 1; i < n; i++)
		if (compare_components(&components[i - 1], &components[i]) == 0)
		{
			problem->sqlstate = ERRCODE_DUPLICATE_JSON_OBJECT_KEY_VALUE;
			problem->message = psprintf("vector clock component \"%s\" is repeated",
										tex_vclock_clip(components[i].name, components[i].len));
			problem->detail = "A component has one count.";
			return NULL;
		}
	return assemble(components, n);
}

/*
 * The same for callers that want one phrase to say why: NULL and *reason, which
 * lives in the current memory context. Never throws, save for want of memory.
 */
TexVclock *
tex_vclock_build(TexVclockComponent *components, int n, const char **reason)
{
	TexVclockProblem problem;
	TexVclock  *clock = tex_vclock_build_checked(components, n, &problem);

	if (clock == NULL)
		*reason = problem.message;
	return clock;
}

/* ----------------------------------------------------------------- algebra */

/*
 * How a stands to b in the vector order: BEFORE is happens-before (Fidge 1988, Mattern 1989).
 * Ends at the first two components that show the clocks to be concurrent.
 */
TexVclockOrder
tex_vclock_order(const TexVclock *a, const TexVclock *b)
{
	PairWalk	walk;
	PairStep	step;
	int			order = TEX_VCLOCK_EQUAL;

	pair_begin(&walk, a, b);
	while (order != TEX_VCLOCK_CONCURRENT && pair_next(&walk, &step))
	{
		if (step.count_a < step.count_b)
			order |= TEX_VCLOCK_BEFORE;
		else if (step.count_a > step.count_b)
			order |= TEX_VCLOCK_AFTER;
	}
	return (TexVclockOrder) order;
}

/* Negative, 0 or positive, by the sort order. It extends the vector order: see the file's head. */
int
tex_vclock_total_order(const TexVclock *a, const TexVclock *b)
{
	PairWalk	walk;
	PairStep	step;

	pair_begin(&walk, a, b);
	while (pair_next(&walk, &step))
		if (step.count_a != step.count_b)
			return step.count_a < step.count_b ? -1 : 1;
	return 0;
}

/*
 * The least clock that neither happens before: the greater count of each component, in the
 * current memory context. Throws if that has too many components.
 */
TexVclock *
tex_vclock_join(const TexVclock *a, const TexVclock *b)
{
	PairWalk	walk;
	PairStep	step;
	int			n = 0;
	TexVclock  *clock;
	uint8	   *to;

	/* Each component of the result is stored as in one of the two. */
	clock = palloc(VARHDRSZ + VARSIZE_ANY_EXHDR(a) + VARSIZE_ANY_EXHDR(b));
	to = (uint8 *) VARDATA(clock);
	pair_begin(&walk, a, b);
	while (pair_next(&walk, &step))
	{
		if (++n > TEX_VCLOCK_MAX_COMPONENTS)
			tex_vclock_report_too_many();
		to = write_component(to, step.name, step.len,
							 Max(step.count_a, step.count_b));
	}
	SET_VARSIZE(clock, to - (uint8 *) clock);
	return clock;
}
