/*
 * checks.c
 *		What transactions on watched tables did on the strength of what others changed.
 *
 * A transaction read x, without a row lock, and then wrote y, another row or column; before it
 * committed, another one had changed x:
 *
 *	- check-then-act: what it had read no longer held when its write came to be;
 *	- write skew (A5B; Berenson et al., 1995): the other one in turn had read y before it
 *	  wrote x, so neither saw what the other one did, and no order of the two explains both.
 *
 * Which one changed it is told by values.  If the last change of x before the commit left
 * another value than was read, then the version that was read had been replaced, by
 * whom replaced that value last or by somebody before; and where the value was there
 * again, what was found still held.  So times need only say in which order transactions
 * committed, not when exactly a statement took its snapshot, which a function hides.
 *
 * That is no harm where nothing depends on it, so these are potential.  None is reported
 *	- of what the transaction wrote itself: that is a lost update, or it was computed anew;
 *	- of transactions at SERIALIZABLE, which keeps two of them apart: of a skew both are asked,
 *	  as it keeps nobody apart from those at lower levels; of a check the one that went by it;
 *	- of two transactions one of which lost an update of the other one.
 *
 * Each read is looked at once, with two binary searches; the one for who had read y takes one more
 * for each write of its transaction.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "races/arrays.h"
#include "races/checks.h"
#include "races/proof.h"
#include "races/watched.h"

/* An access of a watched table. Accesses are numbered in the sequence of causes. */
typedef struct Step
{
	int32		trace;
	int32		transaction;
	int32		variable;
	int32		access;
	int32		group;			/* which transaction of all */
} Step;

/* A write of a variable that is asked for. */
typedef struct Change
{
	int32		variable;
	int32		access;
	int32		group;
	TimestampTz at;
} Change;

/* The same by the value that it replaced. */
typedef struct Replaced
{
	int32		variable;
	uint32		hash;
	int32		change;
} Replaced;

/* The accesses of a transaction: "from" up to "to" in either order of the steps. */
typedef struct Group
{
	int32		from;
	int32		to;
	int32		nacts;
	TimestampTz committed;
	bool		serializable;
	bool		stale_known;
	int32	   *stale;			/* once asked for: writes that did not find what was read before */
	int32		nstale;
} Group;

typedef struct Checks
{
	TexRaces   *races;
	Step	   *by_time;		/* by transaction, in the order in which it went */
	Step	   *by_variable;	/* by transaction and variable */
	int32		nsteps;
	Group	   *groups;
	int32		ngroups;
	Change	   *changes;		/* by variable and time */
	Replaced   *replaced;		/* by variable, value and time */
	int32		nchanges;
	int32		nreplaced;
	int32	   *acts;			/* of the transaction that is looked at: its writes */
} Checks;

/* ----------------------------------------------------------------
 *		Orders
 * ----------------------------------------------------------------
 */
/* Less than, equal to or greater than zero. */
#define COMPARE(a, b) ((a) < (b) ? -1 : (a) > (b))

static int
compare_times(const void *a, const void *b)
{
	const Step *x = a;
	const Step *y = b;
	int			order = COMPARE(x->trace, y->trace);

	CHECK_FOR_INTERRUPTS();
	if (order == 0)
		order = COMPARE(x->transaction, y->transaction);
	return order != 0 ? order : COMPARE(x->access, y->access);
}

static int
compare_variables(const void *a, const void *b)
{
	const Step *x = a;
	const Step *y = b;
	int			order = COMPARE(x->group, y->group);

	CHECK_FOR_INTERRUPTS();
	if (order == 0)
		order = COMPARE(x->variable, y->variable);
	return order != 0 ? order : COMPARE(x->access, y->access);
}

static int
compare_changes(const void *a, const void *b)
{
	const Change *x = a;
	const Change *y = b;
	int			order = COMPARE(x->variable, y->variable);

	CHECK_FOR_INTERRUPTS();
	if (order == 0)
		order = COMPARE(x->at, y->at);
	return order != 0 ? order : COMPARE(x->access, y->access);
}

static int
compare_replaced(const void *a, const void *b)
{
	const Replaced *x = a;
	const Replaced *y = b;
	int			order = COMPARE(x->variable, y->variable);

	CHECK_FOR_INTERRUPTS();
	if (order == 0)
		order = COMPARE(x->hash, y->hash);
	return order != 0 ? order : COMPARE(x->change, y->change);
}

/* ----------------------------------------------------------------
 *		What there is
 * ----------------------------------------------------------------
 */
static bool
is_wanted(const TexRaces *races, const TexEvent *event)
{
	return races->options.variable == TEX_NO_NAME || races->options.variable == event->name;
}

/* The hash of a value that a column held; false: it is no scalar. */
static bool
hash_of(Jsonb *value, uint32 *hash)
{
	JsonbValue	scalar;

	*hash = 0;
	if (value == NULL || !JB_ROOT_IS_SCALAR(value) || !JsonbExtractScalar(&value->root, &scalar))
		return false;
	JsonbHashScalarValue(&scalar, hash);
	return true;
}

/* Whether a write is known to have left what was there. A row that was deleted has no new value. */
static bool
changes_nothing(const TexEvent *write)
{
	return tex_compare_columns(write->data->old_value, write->data->new_value) == TEX_VALUES_EQUAL;
}

/* Whether a write is known to have put something else there than a value. */
static bool
leaves_other(const TexEvent *write, Jsonb *value)
{
	if (write->data->new_value == NULL)
		return !write->data->value_left_out && write->data->old_value != NULL;
	return tex_compare_columns(write->data->new_value, value) == TEX_VALUES_DIFFERENT;
}

/* All accesses of watched tables, and which of them each transaction made. */
static void
collect_steps(Checks *checks)
{
	TexRaces   *races = checks->races;

	for (int32 i = 0; i < races->naccesses; i++)
	{
		const TexEvent *event = tex_access_event(races, i);

		if (tex_is_watched(event))
			checks->by_time[checks->nsteps++] = (Step) {event->trace, event->data->transaction, event->data->variable, i, 0};
	}
	qsort(checks->by_time, checks->nsteps, sizeof(Step), compare_times);
	for (int32 i = 0; i < checks->nsteps; i++)
	{
		Step	   *step = &checks->by_time[i];
		const TexEvent *event = tex_access_event(races, step->access);

		if (i == 0 || step[-1].trace != step->trace || step[-1].transaction != step->transaction)
			checks->groups[checks->ngroups++] = (Group) {.from = i,
				.serializable = strcmp(tex_history_text(races->history, event->data->isolation), "SERIALIZABLE") == 0};
		step->group = checks->ngroups - 1;
		checks->groups[step->group].to = i + 1;
		if (tex_is_write(event))
		{
			checks->groups[step->group].nacts++;
			checks->groups[step->group].committed = event->at;
		}
		checks->by_variable[i] = *step;
	}
	qsort(checks->by_variable, checks->nsteps, sizeof(Step), compare_variables);
}

/* The writes of what is asked for. */
static void
collect_changes(Checks *checks)
{
	for (int32 i = 0; i < checks->nsteps; i++)
	{
		const Step *step = &checks->by_time[i];
		const TexEvent *event = tex_access_event(checks->races, step->access);

		if (tex_is_write(event) && is_wanted(checks->races, event))
			checks->changes[checks->nchanges++] = (Change) {step->variable, step->access, step->group, event->at};
	}
	qsort(checks->changes, checks->nchanges, sizeof(Change), compare_changes);
	for (int32 i = 0; i < checks->nchanges; i++)
	{
		const TexEvent *event = tex_access_event(checks->races, checks->changes[i].access);
		uint32		hash;

		if (hash_of(event->data->old_value, &hash) && leaves_other(event, event->data->old_value))
			checks->replaced[checks->nreplaced++] = (Replaced) {checks->changes[i].variable, hash, i};
	}
	qsort(checks->replaced, checks->nreplaced, sizeof(Replaced), compare_replaced);
}

/* ----------------------------------------------------------------
 *		Looking
 * ----------------------------------------------------------------
 */
/* The last change of a variable before a time, or -1. */
static int32
last_change(const Checks *checks, int32 variable, TimestampTz before)
{
	const Change key = {.variable = variable,.at = before,.access = -1};
	int32		low = 0;
	int32		high = checks->nchanges;

	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (compare_changes(&checks->changes[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && checks->changes[low - 1].variable == variable ? low - 1 : -1;
}

/* The latest change up to one that replaced a value, or -1. */
static int32
last_replaced(const Checks *checks, int32 variable, Jsonb *value, int32 up_to)
{
	Replaced	key = {.variable = variable,.change = up_to + 1};
	int32		low = 0;
	int32		high = checks->nreplaced;

	if (!hash_of(value, &key.hash))
		return -1;
	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (compare_replaced(&checks->replaced[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (low--; low >= 0 && checks->replaced[low].variable == variable && checks->replaced[low].hash == key.hash; low--)
	{
		int32		change = checks->replaced[low].change;

		if (tex_compare_columns(tex_access_event(checks->races, checks->changes[change].access)->data->old_value,
								value) == TEX_VALUES_EQUAL)
			return change;
	}
	return -1;
}

/* The accesses of a variable by a transaction: the first of them, and how many. */
static const Step *
steps_on(const Checks *checks, int32 group, int32 variable, int32 *n)
{
	int32		low = checks->groups[group].from;
	int32		high = checks->groups[group].to;
	int32		to = high;
	const Step *steps;

	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (checks->by_variable[middle].variable < variable)
			low = middle + 1;
		else
			high = middle;
	}
	steps = &checks->by_variable[low];
	for (*n = 0; low + *n < to && steps[*n].variable == variable; (*n)++)
		;
	return steps;
}

/* Notes which writes of a transaction did not find what it had read before: others wrote in between. */
static void
find_stale(Checks *checks, Group *group)
{
	group->stale_known = true;
	group->stale = tex_new_array(sizeof(int32), group->nacts, 0);
	for (int32 i = group->from + 1; i < group->to; i++)
	{
		const Step *step = &checks->by_variable[i];
		const TexEvent *write = tex_access_event(checks->races, step->access);
		const TexEvent *before = tex_access_event(checks->races, step[-1].access);

		if (write->access == TEX_WRITE && step[-1].variable == step->variable && !tex_is_write(before) &&
			tex_compare_columns(tex_value_of(before), write->data->old_value) == TEX_VALUES_DIFFERENT)
			group->stale[group->nstale++] = step->access;
	}
}

/* Whether one transaction lost an update of the other one. */
static bool
lost_update_of(Checks *checks, int32 loser, int32 other)
{
	Group	   *group = &checks->groups[loser];

	if (!group->stale_known)
		find_stale(checks, group);
	for (int32 i = 0; i < group->nstale; i++)
	{
		const TexEvent *write = tex_access_event(checks->races, group->stale[i]);
		int32		n;
		const Step *steps = steps_on(checks, other, write->data->variable, &n);

		for (int32 k = 0; k < n; k++)
		{
			const TexEvent *remote = tex_access_event(checks->races, steps[k].access);

			if (tex_is_write(remote) &&
				tex_compare_columns(remote->data->new_value, write->data->old_value) == TEX_VALUES_EQUAL)
				return true;
		}
	}
	return false;
}

/* What a transaction read of a variable, without a lock and without writing it, before an access of its own; or TEX_NO_ACCESS. */
static int32
read_by(const Checks *checks, int32 group, int32 variable, int32 before)
{
	int32		n;
	const Step *steps = steps_on(checks, group, variable, &n);
	int32		read = TEX_NO_ACCESS;

	for (int32 i = 0; i < n; i++)
	{
		const TexEvent *event = tex_access_event(checks->races, steps[i].access);

		if (tex_is_write(event) || event->data->row_locked)
			return TEX_NO_ACCESS;
		if (steps[i].access < before)
			read = steps[i].access;
	}
	return read;
}

/* The first write of the transaction after an access, as an index into its acts. */
static int32
first_act(const Checks *checks, int32 nacts, int32 access)
{
	int32		low = 0;
	int32		high = nacts;

	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (checks->acts[middle] < access)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether what a transaction wrote can count as done on the strength of what it had read. */
static bool
is_act(const TexEvent *write)
{
	return !write->data->incomplete && !changes_nothing(write);
}

/* The change that another transaction made of what was read, before the reader committed; NULL: it still held. */
static const Change *
change_of(const Checks *checks, const Step *step)
{
	const TexEvent *read = tex_access_event(checks->races, step->access);
	int32		last = last_change(checks, step->variable, checks->groups[step->group].committed);
	const TexEvent *remote;

	if (last < 0 || !leaves_other(tex_access_event(checks->races, checks->changes[last].access), tex_value_of(read)))
		return NULL;
	last = last_replaced(checks, step->variable, tex_value_of(read), last);
	if (last < 0)
		return NULL;
	remote = tex_access_event(checks->races, checks->changes[last].access);
	if (remote->extent.ended < read->at || !tex_watched_are_rivals(checks->races, read, remote))
		return NULL;
	return &checks->changes[last];
}

/*
 * Looks for what the transaction wrote, from an act on, up to an access at which it read anew: the
 * first thing that who made the change had read before he did, else the first at all.
 */
static void
find_act(const Checks *checks, TexPair *pair, const Change *change, int32 act, int32 nacts, int32 until)
{
	for (; act < nacts && checks->acts[act] < until && pair->fourth == TEX_NO_ACCESS; act++)
	{
		const TexEvent *write = tex_access_event(checks->races, checks->acts[act]);

		CHECK_FOR_INTERRUPTS();
		if (!is_act(write))
			continue;
		pair->fourth = read_by(checks, change->group, write->data->variable, change->access);
		if (pair->fourth != TEX_NO_ACCESS || pair->third == TEX_NO_ACCESS)
			pair->third = checks->acts[act];
	}
}

/*
 * Reports a read, if somebody changed what was read and something was written that goes by
 * it, up to an access at which the transaction read it again.
 */
static void
judge_check(Checks *checks, const Step *step, int32 nacts, int32 until)
{
	const Group *group = &checks->groups[step->group];
	int32		act = first_act(checks, nacts, step->access);
	TexPair		pair = {.first = step->access,.tier = TEX_TIER_POTENTIAL,.watched = true,
	.third = TEX_NO_ACCESS,.fourth = TEX_NO_ACCESS};
	const Change *change;

	if (act == nacts || checks->acts[act] > until || tex_access_event(checks->races, step->access)->data->row_locked)
		return;
	change = change_of(checks, step);
	if (change == NULL)
		return;
	pair.second = change->access;
	find_act(checks, &pair, change, act, nacts, until);
	if (pair.third == TEX_NO_ACCESS ||
		(group->serializable && (pair.fourth == TEX_NO_ACCESS || checks->groups[change->group].serializable)) ||
		lost_update_of(checks, step->group, change->group))
		return;
	tex_races_add_watched(checks->races, pair);
}

/* Goes through the accesses of one variable by a transaction. */
static void
judge_variable(Checks *checks, const Step *steps, int32 n, int32 nacts)
{
	for (int32 i = 0; i < n; i++)
		if (tex_is_write(tex_access_event(checks->races, steps[i].access)))
			return;
	for (int32 i = 0; i < n; i++)
		judge_check(checks, &steps[i], nacts, i + 1 < n ? steps[i + 1].access : PG_INT32_MAX);
}

/* Goes through the variables that a transaction read, if it wrote something. */
static void
judge_transaction(Checks *checks, const Group *group)
{
	int32		nacts = 0;

	if (group->nacts == 0 || group->nacts == group->to - group->from)
		return;
	for (int32 i = group->from; i < group->to; i++)
		if (tex_is_write(tex_access_event(checks->races, checks->by_time[i].access)))
			checks->acts[nacts++] = checks->by_time[i].access;
	for (int32 from = group->from, to; from < group->to; from = to)
	{
		const Step *steps = &checks->by_variable[from];

		CHECK_FOR_INTERRUPTS();
		for (to = from; to < group->to && checks->by_variable[to].variable == steps->variable; to++)
			;
		if (is_wanted(checks->races, tex_access_event(checks->races, steps->access)))
			judge_variable(checks, steps, to - from, nacts);
	}
}

/*
 * Adds the pairs of accesses of watched tables, which are all taken by now, of which one is a read
 * that its transaction went by, and the other one changed what was read.
 */
void
tex_checks_find(TexRaces *races)
{
	MemoryContext context;
	MemoryContext old;
	Checks		checks = {.races = races};
	int32		n = 0;

	for (int32 i = 0; i < races->naccesses; i++)
		n += tex_is_watched(tex_access_event(races, i));
	if (n == 0)
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext checks", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	checks.by_time = tex_new_array(sizeof(Step), n, 0);
	checks.by_variable = tex_new_array(sizeof(Step), n, 0);
	checks.groups = tex_new_array(sizeof(Group), n, 0);
	checks.changes = tex_new_array(sizeof(Change), n, 0);
	checks.replaced = tex_new_array(sizeof(Replaced), n, 0);
	checks.acts = tex_new_array(sizeof(int32), n, 0);
	collect_steps(&checks);
	collect_changes(&checks);
	for (int32 i = 0; i < checks.ngroups; i++)
		judge_transaction(&checks, &checks.groups[i]);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
