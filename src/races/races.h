/*
 * races.h
 *		Pairs of accesses that race.
 */
#ifndef TEX_RACES_H
#define TEX_RACES_H

#include "races/happens_before.h"
#include "history/trace_load.h"

#define TEX_NO_ACCESS (-1)

typedef struct TexAccess
{
	int32		event;
	int32		strand;
	uint32		sequence;
	int32		position;
	int32		lock_set;
	int32		before;			/* the trace's access of the variable before it */
	int32		after;			/* ... and after it */
	int32		next_write;		/* the strand's next write of any variable */
	int32		before_in_strand;	/* the strand's access of any variable before it */
	TexClock	clock[TEX_NORDERS];
	bool		raced;			/* kept only if asked for */
} TexAccess;

typedef enum TexTier
{
	TEX_TIER_RACE,				/* not ordered, no common lock */
	TEX_TIER_PROVED,			/* ordered by locks only, but values prove the harm */
	TEX_TIER_POTENTIAL			/* ordered only by the hand-over of a lock */
} TexTier;

/*
 * first comes before second in the sequence of all events; of a proved pair, as the
 * values say.
 */
typedef struct TexPair
{
	int32		first;
	int32		second;
	TexTier		tier;
	bool		proved;			/* second provably lost the update of first */
	bool		watched;		/* of a database's own accesses (watched.c, checks.c), with "third" */
	bool		same_value;		/* the same: what was written over was the same number */
	int32		third;			/* only if watched: what the trace of the second read before, or of a check what it was for */
	int32		fourth;			/* of a check: what the other transaction had read of that, or TEX_NO_ACCESS */
} TexPair;

typedef struct TexRacesOptions
{
	int32		variable;		/* only this one; TEX_NO_NAME: all */
	int64		max_pairs;		/* to keep; all are counted */
	int64		max_per_trace;	/* to keep of one variable in one pair of traces; 0: all */
	bool		potential;		/* report the potential tier as well */
	bool		mark;			/* mark all accesses that race */
	bool		lock_order;		/* note which locks are taken under which */
} TexRacesOptions;

typedef struct TexRaces
{
	TexHistory *history;
	TexOrder   *order;
	TexRacesOptions options;
	TexAccess  *accesses;
	int32		naccesses;
	int32		accesses_room;
	TexPair    *pairs;			/* proved ones first */
	int64		npairs;
	int64		count;			/* of all pairs, kept or not */
	TexLockOrder *lock_order;	/* if asked for, and if there are locks */
	struct RaceTables *tables;
} TexRaces;

extern TexRaces *tex_races_find(TexHistory *history, const TexRacesOptions *options);
extern bool tex_happens_before(const TexRaces *races, int32 a, int32 b, int order);
extern struct TexVariable *tex_races_variable(const TexRaces *races, int32 identity);
extern struct TexVarStrand *tex_races_of_strand(const TexRaces *races, const struct TexVariable *variable,
												int32 strand);
extern bool tex_traces_overlap(const TexHistory *history, int32 a, int32 b);

extern void tex_races_add_watched(TexRaces *races, TexPair pair);

static inline const TexEvent *
tex_access_event(const TexRaces *races, int32 access)
{
	return &races->history->events[races->accesses[access].event];
}

/* Whether a database took the access itself, of a watched table. */
static inline bool
tex_is_watched(const TexEvent *event)
{
	return event->data->isolation != TEX_NO_NAME;
}

static inline bool
tex_is_write(const TexEvent *event)
{
	return event->access != TEX_READ && event->access != TEX_ATOMIC_READ;
}

/* Whether a pair is a read of a watched table that a transaction acted on, and who changed what it read. */
static inline bool
tex_is_check(const TexRaces *races, const TexPair *pair)
{
	return pair->watched && !tex_is_write(tex_access_event(races, pair->first));
}

#endif							/* TEX_RACES_H */
