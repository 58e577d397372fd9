/*
 * detect.c
 *		The part of detect() that looks: the pairs of some traces, for findings.
 *
 * detect() (sql/43_detection.sql) decides which traces to look at again and keeps
 * what comes out; see there for why any order and split of batches ends the same.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "races/evidence.h"
#include "guc.h"
#include "history/row_query.h"
#include "races/overlaps.h"
#include "races/patterns.h"
#include "races/races.h"
#include "store/trace_range.h"

#define GROUP_COLUMNS	15

/*
 * Pairs to keep in memory at most.  Where there are more, the home traces are
 * halved: what is counted must not depend on how many were looked at together.
 */
#define MOST_PAIRS		500000

/*
 * Findings of lock order that two traces can add to.  Where locks are taken in any
 * order, there are millions of cycles of four, and the cure is the same for all.
 */
#define MOST_CYCLES		100

PG_FUNCTION_INFO_V1(tex_pairs_of_traces);
PG_FUNCTION_INFO_V1(tex_is_long_trace);

/* Some trace ids. */
typedef struct Ids
{
	pg_uuid_t  *ids;
	int			n;
} Ids;

/* The ids in an array, without those that are null. */
static Ids
ids_of(ArrayType *array)
{
	Datum	   *elements;
	bool	   *isnull;
	int			n;
	Ids			some = {0};

	deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &elements, &isnull, &n);
	some.ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (!isnull[i])
			some.ids[some.n++] = *DatumGetUUIDP(elements[i]);
	return some;
}

/* The ids of two sets, in a new array. */
static Ids
both(Ids a, Ids b)
{
	Ids			all = {palloc(sizeof(pg_uuid_t) * Max(a.n + b.n, 1)), a.n + b.n};

	memcpy(all.ids, a.ids, sizeof(pg_uuid_t) * a.n);
	memcpy(all.ids + a.n, b.ids, sizeof(pg_uuid_t) * b.n);
	return all;
}

/* Which of two code places comes first does not matter where neither's role does. */
static bool
is_symmetric(TexPattern pattern)
{
	return pattern == TEX_WRITE_WRITE || pattern == TEX_READ_WRITE || pattern == TEX_POTENTIAL_RACE ||
		pattern == TEX_LOCK_ORDER;
}

/* What two traces add to one finding. */
typedef struct PairGroupKey
{
	int32		pattern;
	int32		variable;
	int32		location1;
	int32		location2;
	int32		low_trace;
	int32		high_trace;
} PairGroupKey;

typedef struct PairGroup
{
	PairGroupKey	key;
	int64		occurrences;
	TimestampTz first_seen;
	TimestampTz last_seen;
	TexPair		best;			/* the surest pair, of these the first */
	TexVerdict	verdict;
	int32		ends[2];		/* the events of that pair, earlier first */
	TexLockCycle *cycle;		/* of a lock order, which is no pair of accesses */
} PairGroup;

/* What a trace or two add to findings. */
typedef struct Groups
{
	const TexRaces *races;
	HTAB	   *table;			/* of PairGroup */
	HTAB	   *counts;			/* of CycleCount */
} Groups;

/* How many findings two traces have of locks in opposite orders. */
typedef struct CycleCount
{
	int32		traces[2];		/* hash key */
	int32		n;
} CycleCount;

/* An absent location comes first. */
static int
compare_text(const TexHistory *history, int32 a, int32 b)
{
	const char *x = a == TEX_NO_NAME ? "" : tex_history_text(history, a);
	const char *y = b == TEX_NO_NAME ? "" : tex_history_text(history, b);

	return strcmp(x, y);
}

/*
 * What a pair is grouped by. Of symmetric patterns the locations are sorted, by text and not by
 * number: the number depends on what was loaded.
 */
static PairGroupKey
group_key(const TexHistory *history, TexPattern pattern, int32 variable, const int32 *ends,
		  int32 location1, int32 location2)
{
	const TexEvent *a = &history->events[ends[0]];
	const TexEvent *b = &history->events[ends[1]];
	bool		swap = is_symmetric(pattern) && compare_text(history, location1, location2) > 0;

	return (PairGroupKey) {
		.pattern = pattern,.variable = variable,
		.location1 = swap ? location2 : location1,
		.location2 = swap ? location1 : location2,
		.low_trace = Min(a->trace, b->trace),.high_trace = Max(a->trace, b->trace)
	};
}

/* By ids, which are the same in every look. */
static int
compare_events(const TexHistory *history, int32 a, int32 b)
{
	const TexEvent *x = &history->events[a];
	const TexEvent *y = &history->events[b];
	int			order = memcmp(&history->traces[x->trace].id, &history->traces[y->trace].id,
							   sizeof(pg_uuid_t));

	return order != 0 ? order : memcmp(&x->id, &y->id, sizeof(pg_uuid_t));
}

/* Whether a pair is a better sample of its group: the order must not depend on what came when. */
static bool
is_better(const TexHistory *history, const PairGroup *group, const TexVerdict *verdict, const int32 *ends)
{
	TimestampTz at = history->events[ends[0]].at;
	TimestampTz best_at = history->events[group->ends[0]].at;
	int			order;

	if (verdict->confidence != group->verdict.confidence)
		return verdict->confidence > group->verdict.confidence;
	if (at != best_at)
		return at < best_at;
	order = compare_events(history, ends[0], group->ends[0]);
	if (order == 0)
		order = compare_events(history, ends[1], group->ends[1]);
	return order < 0;
}

/* Causes may carry later times than effects; shown is what the clocks say. */
static void
sort_ends(const TexHistory *history, int32 *ends)
{
	if (history->events[ends[1]].at < history->events[ends[0]].at)
	{
		int32		later = ends[0];

		ends[0] = ends[1];
		ends[1] = later;
	}
}

/* The group of a key, made if it is new, and *better: what is added is its best pair so far. */
static PairGroup *
find_group(HTAB *groups, const TexHistory *history, const PairGroupKey *key, const TexVerdict *verdict,
		   const int32 *ends, bool *better)
{
	TimestampTz seen = history->events[ends[1]].at;
	bool		found;
	PairGroup  *group = hash_search(groups, key, HASH_ENTER, &found);

	if (!found)
	{
		group->occurrences = 0;
		group->first_seen = group->last_seen = seen;
		group->cycle = NULL;
	}
	*better = !found || is_better(history, group, verdict, ends);
	if (*better)
	{
		group->verdict = *verdict;
		memcpy(group->ends, ends, sizeof(group->ends));
	}
	group->first_seen = Min(group->first_seen, seen);
	group->last_seen = Max(group->last_seen, seen);
	return group;
}

/* Adds a pair to its group. */
static void
group_pair(HTAB *groups, const TexRaces *races, const TexFailures *failures, const TexPair *pair)
{
	const TexHistory *history = races->history;
	TexVerdict	verdict = tex_judge(races, failures, pair);
	int32		ends[2] = {races->accesses[pair->first].event, races->accesses[pair->second].event};
	const TexEvent *first;
	PairGroupKey	key;
	PairGroup	   *group;
	bool		better;

	sort_ends(history, ends);
	first = &history->events[ends[0]];
	key = group_key(history, verdict.pattern, first->name, ends, first->data->location,
					history->events[ends[1]].data->location);
	group = find_group(groups, history, &key, &verdict, ends, &better);
	if (better)
		group->best = *pair;
	group->occurrences++;
}

/* Of cycles whose first two wants are the same: which of them is told must not depend on what else is loaded. */
static bool
is_better_cycle(const TexHistory *history, const TexLockCycle *cycle, const TexLockCycle *than)
{
	int			order = 0;

	for (int i = 2; i < cycle->n && order == 0; i++)
		order = compare_events(history, cycle->wants[i]->event, than->wants[i]->event);
	return order < 0;
}

/* Whether a cycle adds to a finding that its two traces have, or may have one more. */
static bool
may_count(const Groups *groups, const PairGroupKey *key)
{
	int32		traces[2] = {key->low_trace, key->high_trace};
	CycleCount *count;
	bool		found;

	hash_search(groups->table, key, HASH_FIND, &found);
	if (found)
		return true;
	count = hash_search(groups->counts, traces, HASH_ENTER, &found);
	if (!found)
		count->n = 0;
	return count->n++ < MOST_CYCLES;
}

/*
 * Adds a cycle of locks to its group. Told are its first two wants, and theirs are the traces that it
 * counts for: once, however often they could come to wait for each other.
 */
static void
group_cycle(const TexLockCycle *cycle, void *arg)
{
	const Groups *groups = arg;
	const TexHistory *history = groups->races->history;
	const TexLockWant *const *wants = cycle->wants;
	int32		ends[2] = {wants[0]->event, wants[1]->event};
	TexVerdict	verdict = {.pattern = TEX_LOCK_ORDER,.third = TEX_NO_ACCESS,.confidence = TEX_POTENTIAL_CONFIDENCE};
	PairGroupKey	key;
	PairGroup	   *group;
	bool		better;

	if (!tex_traces_wanted(&history->traces[history->events[ends[0]].trace],
						   &history->traces[history->events[ends[1]].trace]))
		return;
	sort_ends(history, ends);
	key = group_key(history, TEX_LOCK_ORDER, cycle->names, ends,
					wants[0]->location, wants[1]->location);
	if (!may_count(groups, &key))
		return;
	group = find_group(groups->table, history, &key, &verdict, ends, &better);
	group->occurrences = 1;
	if (group->cycle == NULL)
		group->cycle = MemoryContextAlloc(history->context, sizeof(TexLockCycle));
	else if (!better && memcmp(ends, group->ends, sizeof(ends)) == 0)
		better = is_better_cycle(history, cycle, group->cycle);
	if (better)
		*group->cycle = *cycle;
}

/* The kept pairs and the cycles of locks, added up by finding and by the two traces. */
static HTAB *
group_pairs(const TexRaces *races)
{
	HASHCTL		ctl = {.keysize = sizeof(PairGroupKey),.entrysize = sizeof(PairGroup),
	.hcxt = CurrentMemoryContext};
	HTAB	   *groups = hash_create("pairs by finding and traces", 256, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	TexFailures *failures = tex_failures_collect(races->history);

	for (int64 i = 0; i < races->npairs; i++)
	{
		CHECK_FOR_INTERRUPTS();
		group_pair(groups, races, failures, &races->pairs[i]);
	}
	if (races->lock_order)
	{
		ctl.keysize = sizeof(int32[2]);
		ctl.entrysize = sizeof(CycleCount);
		tex_lock_cycles(races->lock_order, group_cycle,
						&(Groups) {races, groups, hash_create("cycles by traces", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT)});
	}
	return groups;
}

/* A column that is null where there is no name. */
static void
set_name(const TexHistory *history, Datum *values, bool *isnull, int column, int32 name)
{
	isnull[column] = name == TEX_NO_NAME;
	if (name != TEX_NO_NAME)
		values[column] = CStringGetTextDatum(tex_history_text(history, name));
}

/* One row of pairs_of_traces(); its sentence is made for the best pair only. */
static void
return_group(const TexRaces *races, const PairGroup *group, ReturnSetInfo *result)
{
	const TexHistory *history = races->history;
	const TexEvent *a = &history->events[group->ends[0]];
	const TexEvent *b = &history->events[group->ends[1]];
	TexPattern	pattern = group->verdict.pattern;
	Datum		values[GROUP_COLUMNS] = {0};
	bool		isnull[GROUP_COLUMNS] = {0};

	values[0] = CStringGetTextDatum(tex_pattern_name(pattern));
	set_name(history, values, isnull, 1, group->key.variable);
	set_name(history, values, isnull, 2, group->key.location1);
	set_name(history, values, isnull, 3, group->key.location2);
	values[4] = CStringGetTextDatum(tex_pattern_severity(pattern));
	values[5] = Float8GetDatum(group->verdict.confidence / 10.0);
	values[6] = Int64GetDatum(group->occurrences);
	values[7] = TimestampTzGetDatum(group->first_seen);
	values[8] = TimestampTzGetDatum(group->last_seen);
	values[9] = TimestampTzGetDatum(a->at);
	values[10] = UUIDPGetDatum(&a->id);
	values[11] = UUIDPGetDatum(&history->traces[a->trace].id);
	values[12] = UUIDPGetDatum(&b->id);
	values[13] = UUIDPGetDatum(&history->traces[b->trace].id);
	values[14] = CStringGetTextDatum(group->cycle ? tex_lock_order_evidence(races, group->cycle) :
									 tex_evidence(races, &group->best, &group->verdict));
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* All rows, each made in a context that is reset after it. */
static void
return_groups(const TexRaces *races, HTAB *groups, ReturnSetInfo *result)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext group",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	HASH_SEQ_STATUS scan;
	PairGroup	   *group;

	hash_seq_init(&scan, groups);
	while ((group = hash_seq_search(&scan)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		return_group(races, group, result);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* False where there are more pairs than may be kept, and the traces can be halved. */
static bool
return_if_few(Ids home, Ids rivals, Ids others, int max_per_trace, ReturnSetInfo *result)
{
	TexRacesOptions options = {.variable = TEX_NO_NAME,.max_pairs = MOST_PAIRS,
		.max_per_trace = max_per_trace,.potential = tex_potential_races,.lock_order = true};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext history",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TexHistory *history = tex_history_create();
	TexRaces   *races;
	bool		few;

	tex_history_load(history, home.ids, home.n, TEX_ROLE_HOME);
	tex_history_load(history, rivals.ids, rivals.n, TEX_ROLE_RIVAL);
	tex_history_load(history, others.ids, others.n, TEX_ROLE_CONTEXT);
	tex_history_prepare(history);
	races = tex_races_find(history, &options);
	few = races->npairs < MOST_PAIRS || home.n < 2;
	if (few)
		return_groups(races, group_pairs(races), result);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return few;
}

/* Returns the pairs of home traces; recursion is as deep as the logarithm of their number. */
static void
return_pairs(Ids home, Ids rivals, Ids others, int max_per_trace, ReturnSetInfo *result)
{
	Ids			first = {home.ids, home.n / 2};
	Ids			second = {home.ids + home.n / 2, home.n - home.n / 2};

	check_stack_depth();
	if (return_if_few(home, rivals, others, max_per_trace, result))
		return;
	/* The pairs between the halves come with the first. */
	return_pairs(first, both(rivals, second), others, max_per_trace, result);
	return_pairs(second, rivals, both(others, first), max_per_trace, result);
}

/*
 * pairs_of_traces(home uuid[], rivals uuid[], others uuid[], max_pairs int): the pairs with an end
 * in a home trace and none in the others, up to max_pairs of one variable between two traces, added
 * up by finding and traces.
 */
Datum
tex_pairs_of_traces(PG_FUNCTION_ARGS)
{
	Ids			home = ids_of(PG_GETARG_ARRAYTYPE_P(0));
	Ids			rivals = ids_of(PG_GETARG_ARRAYTYPE_P(1));
	Ids			others = ids_of(PG_GETARG_ARRAYTYPE_P(2));

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	return_pairs(home, rivals, others, PG_GETARG_INT32(3), (ReturnSetInfo *) fcinfo->resultinfo);
	SPI_finish();
	return (Datum) 0;
}

/*
 * is_long_trace(started_at timestamptz, ended_at timestamptz) returns boolean
 *
 * In C, since it is in an index: it must not fail, and times can be further apart
 * than an interval can say.
 */
Datum
tex_is_long_trace(PG_FUNCTION_ARGS)
{
	TimestampTz started = PG_GETARG_TIMESTAMPTZ(0);
	TimestampTz ended = PG_GETARG_TIMESTAMPTZ(1);

	PG_RETURN_BOOL((ended > 0 && started < ended - TEX_LONG_TRACE) || (ended <= 0 && started + TEX_LONG_TRACE < ended));
}
