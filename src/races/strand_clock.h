/*
 * strand_clock.h
 *		Vector clocks over strands, shared where they are equal.
 */
#ifndef TEX_STRAND_CLOCK_H
#define TEX_STRAND_CLOCK_H

/* A clock is a reference to its root node; NULL is the clock that is zero everywhere. */
typedef struct TexClockNode *TexClock;

typedef struct TexClocks TexClocks;

/*
 * Two orders are kept: all of it, and the one without what only the hand-over of
 * locks orders.  The weak one exists only where there are locks.
 */
#define TEX_FULL_ORDER	0
#define TEX_WEAK_ORDER	1
#define TEX_NORDERS		2

/* Called for each strand whose entry is not zero; false ends the visit. */
typedef bool (*TexClockVisitor) (int32 strand, uint32 sequence, void *arg);

extern TexClocks *tex_clocks_create(int32 nstrands);
extern TexClock tex_clock_share(TexClock clock);
extern void tex_clock_drop(TexClocks *clocks, TexClock clock);
extern void tex_clock_set(TexClocks *clocks, TexClock *clock, int32 strand, uint32 sequence);
extern void tex_clock_join(TexClocks *clocks, TexClock *clock, TexClock other);
extern uint32 tex_clock_get(const TexClocks *clocks, TexClock clock, int32 strand);
extern bool tex_clock_visit(const TexClocks *clocks, TexClock clock, int32 first, int32 n,
							TexClockVisitor visitor, void *arg);

#endif							/* TEX_STRAND_CLOCK_H */
