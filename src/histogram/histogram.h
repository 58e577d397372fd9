/*
 * histogram.h
 *		Exponential histograms of durations: buckets, accumulator and stored form
 *		(histogram.c), reading and writing (histogram_io.c), functions of SQL
 *		(histogram_ops.c).
 */
#ifndef TEX_HISTOGRAM_H
#define TEX_HISTOGRAM_H

#include "fmgr.h"

#ifndef HAVE_INT128
#error "trace_ext needs a compiler with 128-bit integers, which GCC and Clang have on 64-bit machines"
#endif

/*
 * A slot is the number of a bucket counted from 0: slot 0 holds the value 0, slot s
 * the bucket that OpenTelemetry numbers s - 2 at scale 4, the values above
 * 2^((s - 2) / 16) up to 2^((s - 1) / 16). The last one ends at 2^63.
 */
#define TEX_HISTOGRAM_SLOTS			1010
#define TEX_HISTOGRAM_FIRST_INDEX	(-1)
#define TEX_HISTOGRAM_LAST_INDEX	(TEX_HISTOGRAM_SLOTS - 3)

typedef struct TexHistogramBucket
{
	int64		count;
	int32		slot;
} TexHistogramBucket;

/*
 * A histogram in memory, which grows as values come. Other rooms may read the first four
 * fields; everything changes by the functions below only.
 */
typedef struct TexHistogram
{
	int64		count;			/* of all buckets, less what was taken away */
	int128		sum;			/* of all values, less those taken away, in ns */
	bool		subtracted;		/* something was taken away: min and max are not known */
	int			n;				/* buckets; one whose count came back to 0 may be among them */

	int			room;
	TexHistogramBucket *buckets;	/* ascending by slot */
	int64		min;			/* of what was put in; greater than max before the first value */
	int64		max;
	MemoryContext context;		/* where this and its buckets are */
} TexHistogram;

/* histogram.c */
extern int	tex_histogram_slot(int64 ns);
extern bool tex_histogram_slot_range(int slot, int64 *first, int64 *last);
extern TexHistogram *tex_histogram_create(MemoryContext context);
extern void tex_histogram_free(TexHistogram *h);
extern void tex_histogram_add(TexHistogram *h, int64 ns, int64 count);
extern void tex_histogram_append(TexHistogram *h, int slot, int64 count);
extern void tex_histogram_merge(TexHistogram *h, const TexHistogram *other);
extern void tex_histogram_subtract(TexHistogram *h, const TexHistogram *other);
extern void tex_histogram_merge_datum(TexHistogram *h, Datum stored);
extern TexHistogram *tex_histogram_load(Datum stored, MemoryContext context);
extern Datum tex_histogram_datum(const TexHistogram *h);
extern bool tex_histogram_extremes(const TexHistogram *h, int64 *min, int64 *max);
extern double tex_histogram_quantile(const TexHistogram *h, double q);
extern double tex_histogram_quantile_datum(Datum stored, double q);
extern int64 tex_histogram_count_below(const TexHistogram *h, int64 ns);
extern const uint8 *tex_histogram_compared(const struct varlena *stored, Size *size);

/* histogram_io.c */
extern char *tex_histogram_sum_text(int128 sum);

#endif							/* TEX_HISTOGRAM_H */
