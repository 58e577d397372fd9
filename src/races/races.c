/*
 * races.c
 *		Pairs of accesses that race.
 *
 * Each access is compared, when its turn comes, with the strands that accessed its
 * variable before (accesses.c): one comparison a strand says whether they race.
 *	- A trace all of whose accesses are known to have happened before a strand is
 *	  passed over as a whole, as FastTrack (PLDI'09) does with an epoch; so a
 *	  variable that one strand uses, or that is handed on, costs O(1) an access.
 *	- A trace with very many strands is counted the other way round: all its
 *	  accesses, less those that the clock covers, which are few if the clock is.
 * Nothing compares accesses pairwise; pairs are walked only as far as they are kept.
 *
 * Strands of other traces count only if the two traces overlap, and if the pairs
 * are wanted: between home traces, and between these and their rivals.  Traces that
 * are context only order.
 *
 * Accesses that a database took itself, of watched tables, are not compared here: it keeps single
 * ones apart, and watched.c and checks.c say what of that is harm.
 *
 * Apart from races, a write may provably have lost an update although locks ordered
 * it after: each access was locked, the read and the write together were not.  Such
 * pairs are reported in a tier of their own.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "guc.h"
#include "races/accesses.h"
#include "races/arrays.h"
#include "races/checks.h"
#include "races/proof.h"
#include "races/races.h"
#include "races/watched.h"

/* From how many strands on a trace is counted by the clock's entries, if those are few. */
#define MANY_STRANDS 128

/* Suffixes up to this long are walked; longer ones are counted kind by kind. */
#define SHORT_SUFFIX 24

/* Pairs of one variable between two traces that were kept. */
typedef struct KeptKey
{
	int32		variable;
	int32		low_trace;
	int32		high_trace;
} KeptKey;

typedef struct Kept
{
	KeptKey		key;
	int64		n;
} Kept;

typedef struct PairList
{
	TexPair    *pairs;
	int64		n;
	int64		room;
} PairList;

struct RaceTables
{
	MemoryContext context;
	TexAccesses *accesses;
	int32	   *last_in_strand; /* of each strand: its latest access */
	PairList	plain;
	PairList	proved;
	HTAB	   *kept;
};

/* A new access, compared with those before it. */
typedef struct Comparison
{
	TexRaces   *races;
	TexVariable *variable;
	int32		access;
	int32		strand;
	TexClass	class;
	int32		lock_set;
	int32		proved;			/* the access whose update it provably lost, or -1 */
	bool		reversed;		/* ... or that provably lost its update */
	Kept	   *kept;			/* of the trace it is being compared with, or NULL */
} Comparison;

/* Counts of one trace's accesses that a clock covers. */
typedef struct Covered
{
	Comparison *c;
	int32		to_visit;		/* entries of the clock still worth the while */
	int64		all;
	int64		conflicting;
} Covered;

/*
 * Whether access a, which comes earlier in the sequence, happens before b, in one of the two
 * orders: one look into the clock of b, at the strand of a (as with FastTrack's epochs;
 * Flanagan and Freund, PLDI'09).
 */
bool
tex_happens_before(const TexRaces *races, int32 a, int32 b, int order)
{
	const TexAccess *x = &races->accesses[a];
	const TexAccess *y = &races->accesses[b];

	if (x->strand == y->strand)
		return x->sequence < y->sequence;
	return tex_clock_get(tex_order_clocks(races->order), y->clock[order], x->strand) >= x->sequence;
}

/*
 * Whether two traces ran at the same time, clocks of two hosts taken with
 * trace_ext.clock_skew.
 */
bool
tex_traces_overlap(const TexHistory *history, int32 a, int32 b)
{
	const TexTrace *x = &history->traces[a];
	const TexTrace *y = &history->traces[b];
	int64		skew = tex_clock_skew_usecs();

	if (a == b)
		return true;
	if (x->instance == y->instance && x->instance != TEX_NO_NAME)
		skew = 0;
	return x->extent.started <= y->extent.ended + skew && y->extent.started <= x->extent.ended + skew;
}

/* The accesses of a variable, once all are found. */
TexVariable *
tex_races_variable(const TexRaces *races, int32 identity)
{
	return tex_accesses_variable(races->tables->accesses, identity);
}

/* A strand's accesses of a variable, once all are found, or NULL. */
TexVarStrand *
tex_races_of_strand(const TexRaces *races, const TexVariable *variable, int32 strand)
{
	return tex_accesses_find(races->tables->accesses, variable, strand);
}

/* Appends a pair to a list. */
static void
add_pair(MemoryContext context, PairList *list, TexPair pair)
{
	if (list->n == list->room)
	{
		list->room = Max(64, list->room * 2);
		list->pairs = list->pairs == NULL ?
			MemoryContextAllocHuge(context, sizeof(TexPair) * list->room) :
			repalloc_huge(list->pairs, sizeof(TexPair) * list->room);
	}
	list->pairs[list->n++] = pair;
}

/* The variable and the two traces whose kept pairs are limited together. */
static KeptKey
kept_key(const Comparison *c, int32 trace)
{
	const TexEvent *event = tex_access_event(c->races, c->access);

	return (KeptKey) {event->data->variable, Min(event->trace, trace), Max(event->trace, trace)};
}

/* How many pairs with a trace were kept so far; NULL: none, or they are not limited. */
static Kept *
find_kept(const Comparison *c, int32 trace)
{
	KeptKey		key = kept_key(c, trace);

	if (c->races->options.max_per_trace == 0)
		return NULL;
	return hash_search(c->races->tables->kept, &key, HASH_FIND, NULL);
}

/* Whether more pairs are kept, of the trace that the new access is compared with. */
static bool
wants_pairs(const Comparison *c)
{
	const TexRaces *races = c->races;

	return races->tables->plain.n < races->options.max_pairs &&
		(c->kept == NULL || c->kept->n < races->options.max_per_trace);
}

/* Keeps a pair of the new access and an earlier one, if more are wanted. */
static void
keep_pair(Comparison *c, int32 other, TexTier tier)
{
	/* The proved pair is kept whatever becomes of the others. */
	if (other == c->proved || !wants_pairs(c))
		return;
	if (c->races->options.max_per_trace > 0)
	{
		if (c->kept == NULL)
		{
			KeptKey		key = kept_key(c, tex_access_event(c->races, other)->trace);
			bool		found;

			c->kept = hash_search(c->races->tables->kept, &key, HASH_ENTER, &found);
			if (!found)
				c->kept->n = 0;
		}
		c->kept->n++;
	}
	add_pair(c->races->tables->context, &c->races->tables->plain,
			 (TexPair) {.first = other,.second = c->access,.tier = tier});
}

/* Whether accesses of a kind conflict with the new one and no common lock protects. */
static inline bool
conflicts(Comparison *c, int32 number)
{
	TexAccessKind *kind = &c->variable->kinds[number];

	if (kind->decided_for != c->access)
	{
		kind->decided_for = c->access;
		kind->conflicts = tex_classes_conflict(c->class, kind->class) &&
			!tex_locks_protect(c->races->order, c->lock_set, kind->lock_set);
	}
	return kind->conflicts;
}

/* Mark the entries of a list from one on; the run marked last is not walked again. */
static void
mark_list(TexRaces *races, TexAccessList *list, int32 from)
{
	for (int32 i = from; i < list->entries.n; i++)
	{
		if (i >= list->marked_from && i < list->marked_to)
			i = list->marked_to;
		if (i < list->entries.n)
			races->accesses[list->entries.entries[i].access].raced = true;
	}
	/* Runs that touch are one. */
	if (from > list->marked_to || list->marked_from == list->marked_to)
		list->marked_from = from;
	else
		list->marked_from = Min(list->marked_from, from);
	list->marked_to = list->entries.n;
}

/* Marks what races with the new access, and this one, by lists and so without walking pairs. */
static void
mark_suffix(Comparison *c, TexVarStrand *other, uint32 above)
{
	for (TexAccessList *list = other->lists; list; list = list->next)
	{
		int32		from;

		if (!conflicts(c, list->kind))
			continue;
		from = tex_entries_after(&list->entries, above);
		if (from == list->entries.n)
			continue;
		c->races->accesses[c->access].raced = true;
		mark_list(c->races, list, from);
	}
}

/* Entries of one strand above from_sequence, up to to_sequence, of all kinds. */
static void
take_suffix(Comparison *c, TexVarStrand *other, uint32 above, uint32 up_to, TexTier tier)
{
	int32		from = tex_entries_after(&other->all, above);
	int32		to = up_to == PG_UINT32_MAX ? other->all.n : tex_entries_after(&other->all, up_to);

	if (c->races->options.mark && tier == TEX_TIER_RACE)
		mark_suffix(c, other, above);
	if (to - from <= SHORT_SUFFIX)
	{
		for (; from < to; from++)
		{
			if (!conflicts(c, other->all.entries[from].kind))
				continue;
			c->races->count++;
			keep_pair(c, other->all.entries[from].access, tier);
		}
		return;
	}
	for (TexAccessList *list = other->lists; list; list = list->next)
	{
		if (!conflicts(c, list->kind))
			continue;
		from = tex_entries_after(&list->entries, above);
		to = up_to == PG_UINT32_MAX ? list->entries.n : tex_entries_after(&list->entries, up_to);
		c->races->count += to - from;
		for (; from < to && wants_pairs(c); from++)
		{
			CHECK_FOR_INTERRUPTS();
			keep_pair(c, list->entries.entries[from].access, tier);
		}
	}
}

/* Compare strand by strand, those that began last first. */
static void
compare_strands(Comparison *c, TexVarTrace *trace)
{
	TexRaces   *races = c->races;
	const TexAccess *access = &races->accesses[c->access];
	const TexClocks *clocks = tex_order_clocks(races->order);
	TexClock	full_clock = access->clock[TEX_FULL_ORDER];
	TexClock	weak_clock = access->clock[TEX_WEAK_ORDER];
	bool		covered = true;

	for (int32 i = trace->nstrands - 1; i >= 0; i--)
	{
		const TexStrandSlot *other = &trace->strands[i];
		uint32		full = tex_clock_get(clocks, full_clock, other->strand);
		uint32		weak = full;

		if (races->options.potential)
			weak = tex_clock_get(clocks, weak_clock, other->strand);
		if (other->last_sequence <= weak || other->strand == c->strand)
			continue;
		covered = false;
		if (other->last_sequence > full)
			take_suffix(c, other->accesses, full, PG_UINT32_MAX, TEX_TIER_RACE);
		if (weak < full)
			take_suffix(c, other->accesses, weak, full, TEX_TIER_POTENTIAL);
	}
	if (covered)
		trace->covered_by = c->strand;
}

/* Counts what a clock covers of one strand; the visitor of settle_by_clock(). */
static bool
count_covered(int32 strand, uint32 sequence, void *arg)
{
	Covered    *covered = arg;
	const TexVarStrand *other;

	if (covered->to_visit-- == 0)
		return false;
	other = tex_accesses_find(covered->c->races->tables->accesses, covered->c->variable, strand);
	if (other == NULL)
		return true;
	/* All of its own strand is covered; its entry in the clock may be behind. */
	if (strand == covered->c->strand)
		sequence = PG_UINT32_MAX;
	covered->all += tex_entries_after(&other->all, sequence);
	for (const TexAccessList *list = other->lists; list; list = list->next)
		if (conflicts(covered->c, list->kind))
			covered->conflicting += tex_entries_after(&list->entries, sequence);
	return true;
}

/*
 * Count the accesses of a trace with many strands by what the clock covers.
 * True: there is no race, or the pairs are not wanted and are counted.
 */
static bool
settle_by_clock(Comparison *c, TexVarTrace *trace)
{
	TexRaces   *races = c->races;
	const TexTrace *of = &races->history->traces[trace->trace];
	const TexClocks *clocks = tex_order_clocks(races->order);
	TexClock	clock = races->accesses[c->access].clock[TEX_FULL_ORDER];
	Covered		covered = {.c = c,.to_visit = trace->nstrands / 16};
	int64		conflicting = 0;

	if (!tex_clock_visit(clocks, clock, of->first_strand, of->nstrands, count_covered, &covered))
		return false;
	if (c->strand >= of->first_strand && c->strand < of->first_strand + of->nstrands &&
		tex_clock_get(clocks, clock, c->strand) == 0)
	{
		covered.to_visit = 1;	/* no entry of the clock, so not one of those visited */
		count_covered(c->strand, 1, &covered);
	}
	for (int32 kind = 0; kind < Min(trace->totals_room, c->variable->nkinds); kind++)
		if (trace->totals[kind] > 0 && conflicts(c, kind))
			conflicting += trace->totals[kind];

	if (covered.all == trace->n)
		trace->covered_by = c->strand;
	if (covered.conflicting == conflicting)
		return true;
	if (wants_pairs(c) || races->options.mark)
		return false;
	races->count += conflicting - covered.conflicting;
	return true;
}

/* Compares the new access with the traces that accessed its variable, the last to end first. */
static void
compare(Comparison *c)
{
	const TexVariable *variable = c->variable;
	TexHistory *history = c->races->history;
	int32		mine = tex_access_event(c->races, c->access)->trace;
	int64		skew = tex_clock_skew_usecs();

	for (int32 i = variable->ntraces - 1; i >= 0; i--)
	{
		TexVarTrace *trace = variable->traces[i];

		CHECK_FOR_INTERRUPTS();
		if (history->traces[trace->trace].extent.ended + skew < history->traces[mine].extent.started)
			break;				/* and all that end before it */
		if (trace->covered_by == c->strand ||
			!tex_traces_wanted(&history->traces[mine], &history->traces[trace->trace]) ||
			!tex_traces_overlap(history, mine, trace->trace))
			continue;
		c->kept = find_kept(c, trace->trace);
		if (trace->nstrands <= MANY_STRANDS || c->races->options.potential ||
			!settle_by_clock(c, trace))
			compare_strands(c, trace);
	}
}

/*
 * Whether a write that comes later in the sequence, but came before by its time,
 * was lost to one: the sequence puts who waited for a lock after who had it, and
 * values know nothing of that.
 */
static bool
lost_update_to(const TexRaces *races, int32 access, int32 write)
{
	int32		before = races->accesses[write].before;
	const TexEvent *remote = tex_access_event(races, access);
	const TexEvent *read;

	if (before < 0 || remote->at >= tex_access_event(races, write)->at)
		return false;
	read = tex_access_event(races, before);
	return read->at <= remote->at &&
		tex_proves_lost_update(read, remote, tex_access_event(races, write), false);
}

/*
 * The write whose update a new access provably lost, or -1: the latest before it,
 * by another strand.  Or that write lost the update of the new access: reversed.
 */
static int32
lost_update_of(const TexRaces *races, const TexVariable *variable, int32 access, bool *reversed)
{
	int32		remote = variable->last_write;
	int32		before = races->accesses[access].before;
	const TexEvent *write = tex_access_event(races, access);
	const TexEvent *other;

	if (remote < 0 || races->accesses[remote].strand == races->accesses[access].strand)
		return -1;
	other = tex_access_event(races, remote);
	if (!tex_classes_conflict(tex_class_of(other->access), tex_class_of(write->access)) ||
		!tex_traces_wanted(&races->history->traces[other->trace], &races->history->traces[write->trace]) ||
		!tex_traces_overlap(races->history, other->trace, write->trace) ||
		tex_happens_before(races, remote, access, TEX_WEAK_ORDER))
		return -1;
	/* What the remote write knew of came before it, not under it. */
	if (before >= 0 && (races->accesses[before].position > races->accesses[remote].position ||
						tex_happens_before(races, before, remote, TEX_WEAK_ORDER)))
		before = -1;
	if (tex_proves_lost_update(before >= 0 ? tex_access_event(races, before) : NULL,
							   other, write, true))
		return remote;
	*reversed = lost_update_to(races, access, remote);
	return *reversed ? remote : -1;
}

/* Keep a proved pair; the comparison has counted it if it is one of its own. */
static void
settle_proved(Comparison *c)
{
	TexRaces   *races = c->races;
	TexAccess  *remote;
	bool		protected;
	bool		is_race;

	if (c->proved < 0)
		return;
	remote = &races->accesses[c->proved];
	protected = tex_locks_protect(races->order, remote->lock_set, c->lock_set);
	is_race = !protected && !tex_happens_before(races, c->proved, c->access, TEX_FULL_ORDER);
	if (!is_race && (protected || !races->options.potential))
		races->count++;
	if (races->options.mark)
		races->accesses[c->access].raced = remote->raced = true;
	if (races->tables->proved.n < races->options.max_pairs)
		add_pair(races->tables->context, &races->tables->proved,
				 (TexPair) {.first = c->reversed ? c->access : c->proved,.second = c->reversed ? c->proved : c->access,
				 .tier = is_race ? TEX_TIER_RACE : TEX_TIER_PROVED,.proved = true});
}

/* Finds what the trace of an access did before to the variable, and links the two. */
static void
link_before(TexRaces *races, int32 access, const TexVarStrand *strand)
{
	TexAccess  *this = &races->accesses[access];
	int32		latest = strand->trace->last_access;

	this->before = strand->last_access;
	/*
	 * What another strand did counts as the trace's own if it caused this one.  A request may be
	 * served by several backends of a database in turn, and nothing says so but time.
	 */
	if (latest >= 0 && (tex_is_watched(tex_access_event(races, access)) ||
						tex_happens_before(races, latest, access, TEX_WEAK_ORDER)))
		this->before = latest;
	if (this->before >= 0 && races->accesses[this->before].after == TEX_NO_ACCESS)
		races->accesses[this->before].after = access;
}

/* Links an access to the one before it in its strand; a write is the next one of all since the last. */
static void
link_in_strand(TexRaces *races, int32 access)
{
	int32	   *last = &races->tables->last_in_strand[races->accesses[access].strand];

	races->accesses[access].before_in_strand = *last;
	if (tex_is_write(tex_access_event(races, access)))
		for (int32 i = *last; i >= 0 && races->accesses[i].next_write == TEX_NO_ACCESS;
			 i = races->accesses[i].before_in_strand)
			races->accesses[i].next_write = access;
	*last = access;
}

/* Notes an access; its clocks are shared, not copied. Pointers to earlier ones are no longer valid. */
static int32
add_access(TexRaces *races, const TexPoint *point)
{
	const TexEvent *event = &races->history->events[point->event];
	TexAccess  *access;

	if (races->naccesses == races->accesses_room)
	{
		races->accesses_room *= 2;
		races->accesses = repalloc_huge(races->accesses,
										sizeof(TexAccess) * (Size) races->accesses_room);
	}
	access = &races->accesses[races->naccesses];
	*access = (TexAccess) {.event = point->event,.strand = event->strand,
		.sequence = event->sequence,.position = point->position,.lock_set = point->lock_set,
		.before = TEX_NO_ACCESS,.after = TEX_NO_ACCESS,.next_write = TEX_NO_ACCESS};
	for (int k = 0; k < TEX_NORDERS; k++)
		access->clock[k] = tex_clock_share(point->clock[k]);
	return races->naccesses++;
}

/*
 * Takes an access when its turn comes: first all comparisons, then it is entered itself. Those of
 * other variables than the one asked for are only linked in their strand.
 */
static void
visit_access(const TexPoint *point, void *arg)
{
	TexRaces   *races = arg;
	const TexEvent *event = &races->history->events[point->event];
	int32		access = add_access(races, point);
	TexVariable *variable;
	TexVarStrand *strand;
	Comparison	c = {.races = races,.access = access,.strand = event->strand,
		.class = tex_class_of(event->access),.lock_set = point->lock_set,.proved = -1};

	link_in_strand(races, access);
	if (races->options.variable != TEX_NO_NAME && races->options.variable != event->name)
		return;
	variable = tex_accesses_variable(races->tables->accesses, event->data->variable);
	strand = tex_accesses_enter(races->tables->accesses, variable, event);
	link_before(races, access, strand);
	if (!tex_is_watched(event))
	{
		if (tex_is_write(event))
			c.proved = lost_update_of(races, variable, access, &c.reversed);
		c.variable = variable;
		compare(&c);
		settle_proved(&c);
	}
	tex_accesses_append(races->tables->accesses, strand,
						(TexEntry) {event->sequence, access,
						tex_accesses_kind(races->tables->accesses, variable, c.class,
										  point->lock_set)});
	if (tex_is_write(event))
		variable->last_write = access;
}

/* Counts a pair of watched tables, and keeps it as far as pairs are wanted. */
void
tex_races_add_watched(TexRaces *races, TexPair pair)
{
	PairList   *list = pair.proved ? &races->tables->proved : &races->tables->plain;

	races->count++;
	if (races->options.mark)
		races->accesses[pair.first].raced = races->accesses[pair.second].raced = true;
	if (list->n < races->options.max_pairs)
		add_pair(races->tables->context, list, pair);
}

/* The kept pairs, those first that values prove. */
static void
merge_pairs(TexRaces *races)
{
	PairList   *proved = &races->tables->proved;
	PairList   *plain = &races->tables->plain;
	int64		n = Min(plain->n, races->options.max_pairs - proved->n);

	for (int64 i = 0; i < n; i++)
		add_pair(races->tables->context, proved, plain->pairs[i]);
	races->pairs = proved->pairs;
	races->npairs = proved->n;
}

/*
 * Finds the races in a history that was loaded and prepared. All is made in the current memory
 * context, which should be the history's. The pairs that are kept depend on max_pairs, their number
 * does not; where no lock is in the history there is no potential tier. Answers a cancel in
 * milliseconds.
 */
TexRaces *
tex_races_find(TexHistory *history, const TexRacesOptions *options)
{
	TexRaces   *races = palloc0(sizeof(TexRaces));
	HASHCTL		ctl = {.keysize = sizeof(KeptKey),.entrysize = sizeof(Kept),
	.hcxt = CurrentMemoryContext};

	races->history = history;
	races->options = *options;
	races->order = tex_order_create(history);
	if (options->lock_order)
		races->lock_order = tex_order_watch_locks(races->order);
	if (tex_order_count(races->order) < TEX_NORDERS)
		races->options.potential = false;
	races->accesses_room = 1024;
	races->accesses = palloc(sizeof(TexAccess) * races->accesses_room);
	races->tables = palloc0(sizeof(struct RaceTables));
	races->tables->context = CurrentMemoryContext;
	races->tables->accesses = tex_accesses_create(history);
	races->tables->kept = hash_create("kept pairs", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	races->tables->last_in_strand = tex_new_array(sizeof(int32), history->nstrands, 0xff);
	tex_order_run(races->order, visit_access, races);
	tex_watched_find(races);
	tex_checks_find(races);
	merge_pairs(races);
	return races;
}
