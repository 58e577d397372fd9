/*
 * enclosing.c
 *		Which event was going on while another one was.
 *
 * The event that encloses another is the nearest of its ancestors that took time and
 * did not end before it.  Where children lie in their parents that is the parent.
 * Where clients chain, a parent being no more than what was recorded before, it is
 * what the chain is part of; and where a task outlives who started it, what was
 * still going on then.
 *
 * The enclosing events of an event end later and later on the way up.  So the search
 * for one that ends late enough can skip: each keeps a second pointer farther up
 * (Myers 1983, "An applicative random-access stack"), and the search takes a
 * logarithm of the depth, for chains of any length.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "analysis/enclosing.h"
#include "races/arrays.h"

typedef struct Skip
{
	int32		depth;			/* number of enclosing events */
	int32		far;			/* one of them, or itself at the top */
} Skip;

/* Whether the search has to go beyond an event. */
static bool
ends_before(const TexOneTrace *one, int32 event, TimestampTz end)
{
	return event != TEX_NO_EVENT && one->extents[event].ended < end;
}

/* The second pointer of an event whose first one is known. */
static Skip
skip_from(const Skip *skips, int32 event, int32 enclosing)
{
	const Skip *near;
	int32		far;

	if (enclosing == TEX_NO_EVENT)
		return (Skip) {0, event};
	near = &skips[enclosing];
	far = near->far;
	if (near->depth - skips[far].depth == skips[far].depth - skips[skips[far].far].depth)
		return (Skip) {near->depth + 1, skips[far].far};
	return (Skip) {near->depth + 1, enclosing};
}

/*
 * The enclosing event of each, or TEX_NO_EVENT, along the parents given; those that
 * come after their child in the sequence do not count.
 */
int32 *
tex_enclosing(const TexOneTrace *one, const int32 *parent)
{
	int32	   *enclosing = tex_new_array(sizeof(int32), one->n, 0xff);
	int32	   *nearest = tex_new_array(sizeof(int32), one->n, 0xff);	/* ancestor that took time */
	Skip	   *skips = tex_new_array(sizeof(Skip), one->n, 0);

	for (int32 i = 0; i < one->n; i++)
	{
		int32		e = one->sequence[i];
		int32		p = parent[e];
		int32		at;

		CHECK_FOR_INTERRUPTS();
		if (p == TEX_NO_EVENT || tex_order_position(one->order, p) > i)
		{
			skips[e] = skip_from(skips, e, TEX_NO_EVENT);
			continue;
		}
		nearest[e] = at = tex_lasted(one, p) > 0 ? p : nearest[p];
		while (ends_before(one, at, one->extents[e].ended))
			at = ends_before(one, skips[at].far, one->extents[e].ended) && skips[at].far != at ?
				skips[at].far : enclosing[at];
		enclosing[e] = at;
		skips[e] = skip_from(skips, e, at);
	}
	pfree(nearest);
	pfree(skips);
	return enclosing;
}
