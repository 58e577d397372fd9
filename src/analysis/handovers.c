/*
 * handovers.c
 *		Who let whom have a lock that was waited for.
 *
 * An acquire waited if, after it began and before its thread went on, another thread
 * gave that lock back, and not both shared it; the last one to do so is who let it
 * go on.  An acquire with a duration of its own waited until its end at most.
 * Clients that record an acquire when they have the lock do so a little after it was
 * given back: up to TEX_HANDED_OVER counts.
 *
 * That asks less than the race detector, which has to know who held what: here
 * nothing but time is explained.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "analysis/handovers.h"
#include "races/arrays.h"

/* So many releases of a lock are looked at, the last ones, for one of another thread. */
#define MOST_COMPARED 1000

/* For qsort_arg(): by lock; the last release first. */
static int
compare_releases(const void *a, const void *b, void *arg)
{
	const TexOneTrace *one = arg;
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	CHECK_FOR_INTERRUPTS();
	if (one->events[x].lock != one->events[y].lock)
		return one->events[x].lock < one->events[y].lock ? -1 : 1;
	return tex_compare_ends(one, x, y);
}

/* All releases, sorted. */
static int32 *
collect_releases(const TexOneTrace *one, int32 *n)
{
	int32	   *releases = tex_new_array(sizeof(int32), one->n, 0);

	*n = 0;
	for (int32 i = 0; i < one->n; i++)
		if (one->events[i].kind == TEX_LOCK_RELEASE && one->events[i].lock != TEX_NO_NAME)
			releases[(*n)++] = i;
	qsort_arg(releases, *n, sizeof(int32), compare_releases, (void *) one);
	return releases;
}

/* Until when each acquire can have waited: its thread went on then. */
static TimestampTz *
find_limits(const TexOneTrace *one)
{
	int32	   *next = tex_new_array(sizeof(int32), one->history->nthreads, 0xff);
	TimestampTz *limits = tex_new_array(sizeof(TimestampTz), one->n, 0);

	for (int32 i = one->n - 1; i >= 0; i--)
	{
		const TexEvent *event = &one->events[i];

		CHECK_FOR_INTERRUPTS();
		limits[i] = one->extents[i].ended;
		if (event->extent.ended == event->extent.started && next[event->thread] != TEX_NO_EVENT)
			limits[i] = one->extents[next[event->thread]].started;
		next[event->thread] = i;
	}
	pfree(next);
	return limits;
}

/* The release that let an acquire go on, or TEX_NO_EVENT. */
static int32
find_release(const TexOneTrace *one, int32 acquire, TimestampTz limit, const int32 *releases, int32 n)
{
	const TexEvent *event = &one->events[acquire];
	TimestampTz earliest = one->extents[acquire].started - TEX_HANDED_OVER;
	int32		low = 0;
	int32		high = n;

	while (low < high)
	{
		int32		middle = low + (high - low) / 2;
		const TexEvent *release = &one->events[releases[middle]];

		if (release->lock < event->lock ||
			(release->lock == event->lock && one->extents[releases[middle]].ended > limit))
			low = middle + 1;
		else
			high = middle;
	}
	for (high = Min(n, low + MOST_COMPARED); low < high; low++)
	{
		const TexEvent *release = &one->events[releases[low]];

		if (release->lock != event->lock || one->extents[releases[low]].ended < earliest)
			break;
		if (release->thread != event->thread &&
			!(release->flags & event->flags & TEX_EVENT_SHARED_LOCK))
			return releases[low];
	}
	return TEX_NO_EVENT;
}

/* For each acquire that waited the release that ended it, else TEX_NO_EVENT. */
int32 *
tex_handovers(const TexOneTrace *one)
{
	int32	   *handovers = tex_new_array(sizeof(int32), one->n, 0xff);
	int32	   *releases;
	TimestampTz *limits;
	int32		n;

	if (!one->history->has_locks)
		return handovers;
	releases = collect_releases(one, &n);
	limits = find_limits(one);
	for (int32 i = 0; i < one->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (one->events[i].kind == TEX_LOCK_ACQUIRE && one->events[i].lock != TEX_NO_NAME)
			handovers[i] = find_release(one, i, limits[i], releases, n);
	}
	pfree(releases);
	pfree(limits);
	return handovers;
}
