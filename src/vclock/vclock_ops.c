/*
 * vclock_ops.c
 *		The SQL functions of the type vclock: operators, operator classes and the
 *		aggregate merge().
 *
 * What the two orders mean, and why equal clocks are equal bytes, is said in
 * vclock.c. The functions of operator classes free what they detoasted: an index or
 * a sort calls them often within one memory context.
 *
 * The state of merge() is a hash table of components in the aggregate's context, so
 * that all of it costs one lookup a component however large the result grows. It
 * never has more than TEX_VCLOCK_MAX_COMPONENTS entries.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "vclock/vclock.h"

typedef struct MergeName
{
	const char *bytes;
	int			len;
} MergeName;

typedef struct MergeEntry
{
	MergeName	name;
	int64		count;
	char		status;
} MergeEntry;

#define SH_PREFIX		merge
#define SH_ELEMENT_TYPE	MergeEntry
#define SH_KEY_TYPE		MergeName
#define SH_KEY			name
#define SH_HASH_KEY(tb, key) \
	hash_bytes((const unsigned char *) (key).bytes, (key).len)
#define SH_EQUAL(tb, x, y) \
	((x).len == (y).len && memcmp((x).bytes, (y).bytes, (x).len) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

PG_FUNCTION_INFO_V1(tex_vclock_before);
PG_FUNCTION_INFO_V1(tex_vclock_after);
PG_FUNCTION_INFO_V1(tex_vclock_before_or_equal);
PG_FUNCTION_INFO_V1(tex_vclock_after_or_equal);
PG_FUNCTION_INFO_V1(tex_vclock_concurrent);
PG_FUNCTION_INFO_V1(tex_vclock_eq);
PG_FUNCTION_INFO_V1(tex_vclock_ne);
PG_FUNCTION_INFO_V1(tex_vclock_sort_lt);
PG_FUNCTION_INFO_V1(tex_vclock_sort_le);
PG_FUNCTION_INFO_V1(tex_vclock_sort_ge);
PG_FUNCTION_INFO_V1(tex_vclock_sort_gt);
PG_FUNCTION_INFO_V1(tex_vclock_cmp);
PG_FUNCTION_INFO_V1(tex_vclock_hash);
PG_FUNCTION_INFO_V1(tex_vclock_hash_extended);
PG_FUNCTION_INFO_V1(tex_vclock_merge);
PG_FUNCTION_INFO_V1(tex_vclock_get);
PG_FUNCTION_INFO_V1(tex_vclock_merge_step);
PG_FUNCTION_INFO_V1(tex_vclock_merge_combine);
PG_FUNCTION_INFO_V1(tex_vclock_merge_serialize);
PG_FUNCTION_INFO_V1(tex_vclock_merge_deserialize);
PG_FUNCTION_INFO_V1(tex_vclock_merge_final);

/* --------------------------------------------------------------- operators */

/* The vector order of the two arguments of an operator. */
static TexVclockOrder
order_of_arguments(FunctionCallInfo fcinfo)
{
	TexVclock  *a = PG_GETARG_TEX_VCLOCK_P(0);
	TexVclock  *b = PG_GETARG_TEX_VCLOCK_P(1);
	TexVclockOrder order = tex_vclock_order(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return order;
}

/* SQL: a < b, a happens before b. */
Datum
tex_vclock_before(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(order_of_arguments(fcinfo) == TEX_VCLOCK_BEFORE);
}

/* SQL: a > b, b happens before a. */
Datum
tex_vclock_after(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(order_of_arguments(fcinfo) == TEX_VCLOCK_AFTER);
}

/* SQL: a <= b. Concurrent clocks have the bit as well, so they are not. */
Datum
tex_vclock_before_or_equal(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL((order_of_arguments(fcinfo) & TEX_VCLOCK_AFTER) == 0);
}

/* SQL: a >= b. */
Datum
tex_vclock_after_or_equal(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL((order_of_arguments(fcinfo) & TEX_VCLOCK_BEFORE) == 0);
}

/* SQL: a || b, neither happens before the other and they differ. */
Datum
tex_vclock_concurrent(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(order_of_arguments(fcinfo) == TEX_VCLOCK_CONCURRENT);
}

/* Whether the two arguments of an operator are one clock: equal clocks are equal bytes. */
static bool
arguments_are_equal(FunctionCallInfo fcinfo)
{
	TexVclock  *a = PG_GETARG_TEX_VCLOCK_P(0);
	TexVclock  *b = PG_GETARG_TEX_VCLOCK_P(1);
	Size		size = VARSIZE_ANY_EXHDR(a);
	bool		equal;

	equal = size == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), size) == 0;
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return equal;
}

/* SQL: a = b, of both orders and of hashing. */
Datum
tex_vclock_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(arguments_are_equal(fcinfo));
}

/* SQL: a <> b. */
Datum
tex_vclock_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!arguments_are_equal(fcinfo));
}

/* The sort order of the two arguments of an operator. */
static int
total_order_of_arguments(FunctionCallInfo fcinfo)
{
	TexVclock  *a = PG_GETARG_TEX_VCLOCK_P(0);
	TexVclock  *b = PG_GETARG_TEX_VCLOCK_P(1);
	int			order = tex_vclock_total_order(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return order;
}

/* SQL: a #<# b. */
Datum
tex_vclock_sort_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(total_order_of_arguments(fcinfo) < 0);
}

/* SQL: a #<=# b. */
Datum
tex_vclock_sort_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(total_order_of_arguments(fcinfo) <= 0);
}

/* SQL: a #>=# b. */
Datum
tex_vclock_sort_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(total_order_of_arguments(fcinfo) >= 0);
}

/* SQL: a #># b. */
Datum
tex_vclock_sort_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(total_order_of_arguments(fcinfo) > 0);
}

/* Support function 1 of the B-tree operator class: the sort order. */
Datum
tex_vclock_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(total_order_of_arguments(fcinfo));
}

/* Support function 1 of the hash operator class; the bytes are canonical, so they are hashed. */
Datum
tex_vclock_hash(PG_FUNCTION_ARGS)
{
	TexVclock  *clock = PG_GETARG_TEX_VCLOCK_P(0);
	Datum		hash = hash_any((const unsigned char *) VARDATA_ANY(clock),
								VARSIZE_ANY_EXHDR(clock));

	PG_FREE_IF_COPY(clock, 0);
	return hash;
}

/* Support function 2 of the hash operator class: the same with a seed. */
Datum
tex_vclock_hash_extended(PG_FUNCTION_ARGS)
{
	TexVclock  *clock = PG_GETARG_TEX_VCLOCK_P(0);
	Datum		hash = hash_any_extended((const unsigned char *) VARDATA_ANY(clock),
										 VARSIZE_ANY_EXHDR(clock),
										 PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(clock, 0);
	return hash;
}

/* SQL: a + b, the join of two clocks; throws where that has too many components. */
Datum
tex_vclock_merge(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(tex_vclock_join(PG_GETARG_TEX_VCLOCK_P(0),
									  PG_GETARG_TEX_VCLOCK_P(1)));
}

/* SQL: vclock_get(clock, component), 0 for a component that the clock does not name. */
Datum
tex_vclock_get(PG_FUNCTION_ARGS)
{
	TexVclock  *clock = PG_GETARG_TEX_VCLOCK_P(0);
	text	   *name = PG_GETARG_TEXT_PP(1);

	PG_RETURN_INT64(tex_vclock_count(clock, VARDATA_ANY(name),
									 VARSIZE_ANY_EXHDR(name)));
}

/* --------------------------------------------------------------- aggregate */

/* Raise one component of the state; ctx keeps the names it has not seen. */
static void
merge_raise(merge_hash *state, MemoryContext ctx, MergeName name, int64 count)
{
	bool		found;
	MergeEntry *entry = merge_insert(state, name, &found);

	if (found)
	{
		entry->count = Max(entry->count, count);
		return;
	}
	if (state->members > TEX_VCLOCK_MAX_COMPONENTS)
		tex_vclock_report_too_many();
	entry->name.bytes = memcpy(MemoryContextAlloc(ctx, name.len),
							   name.bytes, name.len);
	entry->count = count;
}

/* Raises the state to cover a clock. */
static void
merge_clock(merge_hash *state, MemoryContext ctx, const TexVclock *clock)
{
	TexVclockIter iter;
	TexVclockComponent component;

	tex_vclock_iterate(&iter, clock);
	while (tex_vclock_next(&iter, &component))
	{
		MergeName	name = {component.name, component.len};

		merge_raise(state, ctx, name, component.count);
	}
}

/* The clock that a state stands for, in the current memory context; the state stays as it is. */
static TexVclock *
merge_result(merge_hash *state)
{
	TexVclockComponent *components = palloc(sizeof(*components) * (state->members + 1));
	int			n = 0;
	merge_iterator iter;
	MergeEntry *entry;
	TexVclock  *clock;
	const char *reason;

	merge_start_iterate(state, &iter);
	while ((entry = merge_iterate(state, &iter)) != NULL)
	{
		components[n].name = entry->name.bytes;
		components[n].len = entry->name.len;
		components[n++].count = entry->count;
	}
	clock = tex_vclock_build(components, n, &reason);
	if (clock == NULL)
		elog(ERROR, "merged clock is not valid: %s", reason);
	pfree(components);
	return clock;
}

/* The context that lives as long as the state. */
static MemoryContext
merge_context(FunctionCallInfo fcinfo)
{
	MemoryContext ctx;

	if (!AggCheckCallContext(fcinfo, &ctx))
		elog(ERROR, "part of the aggregate merge called outside an aggregate");
	return ctx;
}

/*
 * Transition function: NULLs are passed over, and a state is made for the first clock only, so
 * that the aggregate of nothing is NULL.
 */
Datum
tex_vclock_merge_step(PG_FUNCTION_ARGS)
{
	MemoryContext ctx = merge_context(fcinfo);
	merge_hash *state = PG_ARGISNULL(0) ? NULL : (merge_hash *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1))
	{
		if (state == NULL)
			state = merge_create(ctx, 16, NULL);
		merge_clock(state, ctx, PG_GETARG_TEX_VCLOCK_P(1));
	}
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

/*
 * Combine function, in the leader of a parallel query. Always copies the other state: it lives in
 * a shorter context than this one.
 */
Datum
tex_vclock_merge_combine(PG_FUNCTION_ARGS)
{
	MemoryContext ctx = merge_context(fcinfo);
	merge_hash *state = PG_ARGISNULL(0) ? NULL : (merge_hash *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1))
	{
		merge_hash *other = (merge_hash *) PG_GETARG_POINTER(1);
		merge_iterator iter;
		MergeEntry *entry;

		if (state == NULL)
			state = merge_create(ctx, 16, NULL);
		merge_start_iterate(other, &iter);
		while ((entry = merge_iterate(other, &iter)) != NULL)
			merge_raise(state, ctx, entry->name, entry->count);
	}
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

/* Serial function, in a parallel worker: a state travels as the stored form of its clock. */
Datum
tex_vclock_merge_serialize(PG_FUNCTION_ARGS)
{
	merge_context(fcinfo);
	PG_RETURN_POINTER(merge_result((merge_hash *) PG_GETARG_POINTER(0)));
}

/*
 * Deserial function, in the leader: a state for tex_vclock_merge_combine() to read, which need not
 * outlive that call.
 */
Datum
tex_vclock_merge_deserialize(PG_FUNCTION_ARGS)
{
	merge_hash *state;

	merge_context(fcinfo);
	state = merge_create(CurrentMemoryContext, 16, NULL);
	merge_clock(state, CurrentMemoryContext, PG_GETARG_TEX_VCLOCK_P(0));
	PG_RETURN_POINTER(state);
}

/* Final function: the clock, or NULL where there was none. */
Datum
tex_vclock_merge_final(PG_FUNCTION_ARGS)
{
	merge_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(merge_result((merge_hash *) PG_GETARG_POINTER(0)));
}
