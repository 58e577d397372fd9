/*
 * histogram.c
 *		Exponential histograms: their buckets, the accumulator, the stored form and
 *		what is read off them.
 *
 * Buckets are those of an OpenTelemetry exponential histogram of scale 4: bucket i
 * holds the values above 2^(i/16) up to 2^((i+1)/16), so that any two values of one
 * bucket differ by at most 4.5 %, and one value in their middle is within
 * (b - 1) / (b + 1) = 2.17 % of each, where b = 2^(1/16) (Masson et al., DDSketch,
 * VLDB 2019). The value 0 has a bucket of its own. Values are integers of 0 to
 * 2^63 - 1, mostly nanoseconds; there are 1010 buckets.
 *
 * The bucket of a value comes from a table of the 16 bounds between two powers of
 * two and comparisons of integers, so it is the same on every machine. No bound but
 * the powers of two is rational, so that rounding it down to an integer moves no
 * integer into another bucket.
 *
 * Counts are signed. What is merged may be a delta that takes away what was counted
 * before; counts and the sum are exact all the same, in whatever order the parts
 * come, as both are sums in the group of integers (128 bits for the sum). The least
 * and the greatest value do not subtract: once any part had something taken away,
 * the histogram is marked "subtracted", min and max are forgotten, and what is told
 * instead are the ends of the lowest and the highest bucket. The mark is the OR of
 * the parts' marks, hence independent of their order too. It stays when all counts
 * have come back to 0.
 *
 * Storage, after the varlena header, no padding; varints hold seven bits a byte, the
 * low ones first, and have no superfluous bytes; signed ones are zigzag:
 *
 *		flags (1 byte: 1 subtracted, 2 min and max follow)
 *		[min (varint), max - min (varint)]		unless subtracted or empty
 *		sum (zigzag varint, up to 19 bytes)
 *		for each bucket with a count, ascending by slot:
 *			slot less the slot before (varint; the first one less 0) | count (zigzag)
 *
 * One value takes 6 to 25 bytes with the header. From the sum on, the bytes are
 * those of every histogram with the same counts and sum: equality and hashing look
 * at them alone. That min and max are left out is meant: a histogram that was
 * recomputed knows them where one that was subtracted from does not, and the two are
 * equal. The count of all is not stored.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "port/pg_bitutils.h"
#include "utils/float.h"

#include "common/varint.h"
#include "compat.h"
#include "histogram/histogram.h"

#define FLAG_SUBTRACTED		1
#define FLAG_MIN_MAX		2

/* floor(2^(63 + k/16)), k = 0..15: the bounds between 2^63 and 2^64. */
static const uint64 bounds[16] = {
	UINT64CONST(0x8000000000000000), UINT64CONST(0x85aac367cc487b14),
	UINT64CONST(0x8b95c1e3ea8bd6e6), UINT64CONST(0x91c3d373ab11c336),
	UINT64CONST(0x9837f0518db8a96f), UINT64CONST(0x9ef5326091a111ad),
	UINT64CONST(0xa5fed6a9b15138ea), UINT64CONST(0xad583eea42a14ac6),
	UINT64CONST(0xb504f333f9de6484), UINT64CONST(0xbd08a39f580c36be),
	UINT64CONST(0xc5672a115506dadd), UINT64CONST(0xce248c151f8480e3),
	UINT64CONST(0xd744fccad69d6af4), UINT64CONST(0xe0ccdeec2a94e111),
	UINT64CONST(0xeac0c6e7dd24392e), UINT64CONST(0xf5257d152486cc2c)
};

/* A stored histogram being read. */
typedef struct Reader
{
	const uint8 *next;
	const uint8 *end;
	int			slot;			/* of the bucket read last; -1 before the first one */
} Reader;

/* ----------------------------------------------------------------- buckets */

/*
 * The slot of a value, which is not negative: 16 for each power of two below it, and one more for
 * each bound that it is above. The search has no branch to guess.
 */
int
tex_histogram_slot(int64 ns)
{
	const uint64 *above = bounds + 1;
	uint64		scaled;
	int			power;
	int			n;

	if (ns == 0)
		return 0;
	power = pg_leftmost_one_pos64((uint64) ns);
	scaled = (uint64) ns << (63 - power);
	n = (above[7] < scaled) * 8;
	n += (above[n + 3] < scaled) * 4;
	n += (above[n + 1] < scaled) * 2;
	n += (above[n] < scaled);
	return 16 * power + 1 + n + (scaled > bounds[0]);
}

/* The greatest integer that is not above 2^(index/16), or 2^63 - 1; index from 0 on. */
static int64
bound_below(int index)
{
	int			power = index / 16;

	return power == 63 ? PG_INT64_MAX : (int64) (bounds[index % 16] >> (63 - power));
}

/*
 * The least and the greatest integer of a slot. False where there is none, as between 1 and 2:
 * no value has such a slot.
 */
bool
tex_histogram_slot_range(int slot, int64 *first, int64 *last)
{
	if (slot < 2)
	{
		*first = *last = slot;
		return true;
	}
	*first = bound_below(slot - 2) + 1;
	*last = bound_below(slot - 1);
	return *first <= *last;
}

/* The value whose relative distance to the farthest integer of the slot is least. */
static double
slot_middle(int slot)
{
	int64		first;
	int64		last;

	tex_histogram_slot_range(slot, &first, &last);
	if (first == last)
		return (double) first;
	return 2.0 * (double) first * (double) last / ((double) first + (double) last);
}

/* ------------------------------------------------------------- accumulator */

/* Throws: a number grew beyond its type. */
static void
report_overflow(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("%s of a histogram out of range", what)));
}

/* An empty histogram in that context. */
TexHistogram *
tex_histogram_create(MemoryContext context)
{
	TexHistogram *h = MemoryContextAllocZero(context, sizeof(TexHistogram));

	h->context = context;
	h->min = PG_INT64_MAX;
	h->max = -1;
	return h;
}

/* Gives the memory back before its context ends. */
void
tex_histogram_free(TexHistogram *h)
{
	if (h->buckets)
		pfree(h->buckets);
	pfree(h);
}

/* Makes room for that many buckets. */
static void
make_room(TexHistogram *h, int room)
{
	Size		size = room * sizeof(TexHistogramBucket);

	h->buckets = h->buckets ? repalloc(h->buckets, size) : MemoryContextAlloc(h->context, size);
	h->room = room;
}

/* Puts a bucket with count 0 at that place of the array. */
static void
insert_bucket(TexHistogram *h, int at, int slot)
{
	if (h->n == h->room)
		make_room(h, h->room ? h->room * 2 : 4);
	memmove(&h->buckets[at + 1], &h->buckets[at], (h->n - at) * sizeof(TexHistogramBucket));
	h->buckets[at].slot = slot;
	h->buckets[at].count = 0;
	h->n++;
}

/* The bucket of a slot, made where there is none. Each step halves what is left, without a branch. */
static inline TexHistogramBucket *
bucket_of(TexHistogram *h, int slot)
{
	int			at = 0;
	int			left = h->n;

	while (left > 1)
	{
		int			half = left / 2;

		at += (h->buckets[at + half - 1].slot < slot) * half;
		left -= half;
	}
	if (left == 1)
		at += h->buckets[at].slot < slot;
	if (at == h->n || h->buckets[at].slot != slot)
		insert_bucket(h, at, slot);
	return &h->buckets[at];
}

/*
 * The same for slots that come ascending: the search goes on at a place, 0 at first, where the
 * one before was found.
 */
static inline TexHistogramBucket *
next_bucket_of(TexHistogram *h, int *at, int slot)
{
	while (*at < h->n && h->buckets[*at].slot < slot)
		(*at)++;
	if (*at == h->n || h->buckets[*at].slot != slot)
		insert_bucket(h, *at, slot);
	return &h->buckets[*at];
}

/* Adds to a bucket and to the count of all. */
static inline void
add_to_bucket(TexHistogram *h, TexHistogramBucket *bucket, int64 count)
{
	if (unlikely(pg_add_s64_overflow(bucket->count, count, &bucket->count) ||
				 pg_add_s64_overflow(h->count, count, &h->count)))
		report_overflow("count");
}

/*
 * Counts a value that many times; a negative count takes it away again. Throws for a negative
 * value, and where a count or the sum would overflow (h is of no use then).
 */
void
tex_histogram_add(TexHistogram *h, int64 ns, int64 count)
{
	if (unlikely(ns < 0))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value of a histogram is negative: " INT64_FORMAT, ns),
				 errdetail("A value is an integer from 0 to " INT64_FORMAT ".", PG_INT64_MAX)));
	if (count == 0)
		return;
	add_to_bucket(h, bucket_of(h, tex_histogram_slot(ns)), count);
	if (unlikely(__builtin_add_overflow(h->sum, (int128) ns * count, &h->sum)))
		report_overflow("sum");
	if (count < 0)
		h->subtracted = true;
	if (ns < h->min)
		h->min = ns;
	if (ns > h->max)
		h->max = ns;
}

/*
 * Adds a bucket behind all others, for those who fill a new histogram from what is written; they
 * set the other fields.
 */
void
tex_histogram_append(TexHistogram *h, int slot, int64 count)
{
	insert_bucket(h, h->n, slot);
	h->buckets[h->n - 1].count = count;
}

/* Adds what another histogram has beside its buckets. */
static void
merge_head(TexHistogram *h, const TexHistogram *other)
{
	if (__builtin_add_overflow(h->sum, other->sum, &h->sum))
		report_overflow("sum");
	h->subtracted |= other->subtracted;
	h->min = Min(h->min, other->min);
	h->max = Max(h->max, other->max);
}

/* Adds what another histogram has, which stays as it is. Throws where a number would overflow. */
void
tex_histogram_merge(TexHistogram *h, const TexHistogram *other)
{
	int			at = 0;

	for (int i = 0; i < other->n; i++)
		if (other->buckets[i].count != 0)
			add_to_bucket(h, next_bucket_of(h, &at, other->buckets[i].slot), other->buckets[i].count);
	merge_head(h, other);
}

/* Takes away what another histogram has; the mark is set unless that has nothing. */
void
tex_histogram_subtract(TexHistogram *h, const TexHistogram *other)
{
	int			at = 0;

	for (int i = 0; i < other->n; i++)
	{
		TexHistogramBucket *bucket = next_bucket_of(h, &at, other->buckets[i].slot);

		/* Not by adding -count, which the least integer does not have. */
		if (pg_sub_s64_overflow(bucket->count, other->buckets[i].count, &bucket->count) ||
			pg_sub_s64_overflow(h->count, other->buckets[i].count, &h->count))
			report_overflow("count");
	}
	if (__builtin_sub_overflow(h->sum, other->sum, &h->sum))
		report_overflow("sum");
	h->subtracted |= other->subtracted || other->n > 0;
}

/* ------------------------------------------------------------- stored form */

/* Only damaged storage gets here; a reader must not run past the value. */
static void
report_corrupt(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("corrupt value of type %s", "histogram")));
}

/* The next byte. */
static inline uint8
read_byte(Reader *r)
{
	if (r->next == r->end)
		report_corrupt();
	return *r->next++;
}

/* A varint of 64 bits. */
static inline uint64
read_varint(Reader *r)
{
	uint64		value;

	if (!tex_get_varint(&r->next, r->end, &value))
		report_corrupt();
	return value;
}

/* A varint of 128 bits that holds a signed number: the sum. */
static int128
read_sum(Reader *r)
{
	uint128		value = 0;

	for (int shift = 0; shift < 128; shift += 7)
	{
		uint8		byte = read_byte(r);

		value |= (uint128) (byte & 0x7F) << shift;
		if (byte < 0x80)
			return (int128) (value >> 1) ^ -(int128) (value & 1);
	}
	report_corrupt();
	return 0;
}

/* Writes the sum as read_sum() reads it. */
static uint8 *
write_sum(uint8 *to, int128 sum)
{
	uint128		value = ((uint128) sum << 1) ^ (sum < 0 ? ~(uint128) 0 : 0);

	for (; value >= 0x80; value >>= 7)
		*to++ = (uint8) ((uint8) value | 0x80);
	*to++ = (uint8) value;
	return to;
}

/* Begins to read a value that is detoasted; a short header will do. */
static void
begin_reading(Reader *r, const struct varlena *stored)
{
	r->next = (const uint8 *) VARDATA_ANY(stored);
	r->end = r->next + VARSIZE_ANY_EXHDR(stored);
	r->slot = -1;
}

/* Flags, min and max: what stands before the part that equality compares. */
static void
read_head(Reader *r, TexHistogram *h)
{
	int			flags = read_byte(r);

	h->subtracted = (flags & FLAG_SUBTRACTED) != 0;
	h->min = PG_INT64_MAX;
	h->max = -1;
	if (flags & FLAG_MIN_MAX)
	{
		h->min = (int64) read_varint(r);
		if (h->min < 0 || pg_add_s64_overflow(h->min, (int64) read_varint(r), &h->max))
			report_corrupt();
	}
}

/* The next bucket, after head and sum; false at the end. */
static inline bool
read_bucket(Reader *r, int64 *count)
{
	uint64		step;
	uint64		zigzag;

	if (r->next == r->end)
		return false;
	step = read_varint(r);
	zigzag = read_varint(r);
	if (r->slot < 0)
		r->slot = 0;
	else if (step == 0)
		report_corrupt();
	if (step >= (uint64) (TEX_HISTOGRAM_SLOTS - r->slot))
		report_corrupt();
	r->slot += (int) step;
	*count = tex_unzigzag(zigzag);
	return true;
}

/* The same as tex_histogram_merge() for a value of the SQL type. */
void
tex_histogram_merge_datum(TexHistogram *h, Datum stored)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(stored);
	TexHistogram head;
	Reader		r;
	int64		count;
	int			at = 0;

	begin_reading(&r, value);
	read_head(&r, &head);
	head.sum = read_sum(&r);
	if (h->room == 0 && r.next < r.end)
		/* A bucket takes two bytes or more. */
		make_room(h, Min((int) ((r.end - r.next) / 2) + 1, TEX_HISTOGRAM_SLOTS));
	while (read_bucket(&r, &count))
		add_to_bucket(h, next_bucket_of(h, &at, r.slot), count);
	merge_head(h, &head);
	if ((Pointer) value != DatumGetPointer(stored))
		pfree(value);
}

/* A value of the SQL type as a histogram in memory, in that context. */
TexHistogram *
tex_histogram_load(Datum stored, MemoryContext context)
{
	TexHistogram *h = tex_histogram_create(context);

	tex_histogram_merge_datum(h, stored);
	return h;
}

/* The value of the SQL type, in the current memory context. The histogram stays as it is. */
Datum
tex_histogram_datum(const TexHistogram *h)
{
	/* Flags, two varints of 10 bytes and the sum; a slot takes 2 bytes, a count 10. */
	struct varlena *stored = palloc(VARHDRSZ + 1 + 20 + 19 + 12 * h->n);
	uint8	   *flags = (uint8 *) VARDATA(stored);
	uint8	   *to = flags + 1;
	int			slot = 0;

	*flags = h->subtracted ? FLAG_SUBTRACTED : 0;
	if (!h->subtracted && h->n > 0)
	{
		*flags |= FLAG_MIN_MAX;
		to = tex_put_varint(to, (uint64) h->min);
		to = tex_put_varint(to, (uint64) (h->max - h->min));
	}
	to = write_sum(to, h->sum);
	for (int i = 0; i < h->n; i++)
	{
		int64		count = h->buckets[i].count;

		if (count == 0)
			continue;
		to = tex_put_varint(to, h->buckets[i].slot - slot);
		to = tex_put_varint(to, tex_zigzag(count));
		slot = h->buckets[i].slot;
	}
	SET_VARSIZE(stored, to - (uint8 *) stored);
	return PointerGetDatum(stored);
}

/*
 * The bytes by which two values are equal, sum and counts, inside a detoasted value (a short
 * header will do).
 */
const uint8 *
tex_histogram_compared(const struct varlena *stored, Size *size)
{
	TexHistogram head;
	Reader		r;

	begin_reading(&r, stored);
	read_head(&r, &head);
	*size = r.end - r.next;
	return r.next;
}

/* ----------------------------------------------------------------- reading */

/*
 * The least and the greatest value. Where something was taken away, the first and the last integer
 * of the lowest and of the highest bucket that has a count. False where there is none.
 */
bool
tex_histogram_extremes(const TexHistogram *h, int64 *min, int64 *max)
{
	int			low = 0;
	int			high = h->n - 1;
	int64		unused;

	while (low <= high && h->buckets[low].count == 0)
		low++;
	while (high >= low && h->buckets[high].count == 0)
		high--;
	if (low > high)
		return false;
	if (!h->subtracted)
	{
		*min = h->min;
		*max = h->max;
		return true;
	}
	tex_histogram_slot_range(h->buckets[low].slot, min, &unused);
	tex_histogram_slot_range(h->buckets[high].slot, &unused, max);
	return true;
}

/* The bucket that holds the value of that rank, from 1 on; NULL where a count is negative. */
static const TexHistogramBucket *
bucket_of_rank(const TexHistogram *h, int64 rank)
{
	const TexHistogramBucket *found = NULL;
	int64		before = 0;

	for (int i = 0; i < h->n; i++)
	{
		if (h->buckets[i].count < 0)
			return NULL;
		/* No sum overflows: with no negative count each is at most the count of all. */
		if (found == NULL && h->buckets[i].count >= rank - before)
			found = &h->buckets[i];
		before += found ? 0 : h->buckets[i].count;
	}
	return found;
}

/*
 * A value within 2.17 % of percentile_disc(q), in ns: the first bucket up to which q of all values
 * are counted decides. The least and the greatest value are given exactly where they are known.
 * NaN where there is no answer: in an empty histogram, and where some count is negative. Throws
 * for a q that is not in 0..1.
 */
double
tex_histogram_quantile(const TexHistogram *h, double q)
{
	const TexHistogramBucket *bucket;
	double		place;
	double		middle;
	int64		rank;

	if (!(q >= 0 && q <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("quantile %s is not between 0 and 1", float8out_internal(q))));
	if (h->count <= 0)
		return get_float8_nan();
	/* As percentile_disc() computes it. Beyond 2^53 a count is rounded, maybe beyond an int64. */
	place = ceil(q * (double) h->count);
	rank = place >= (double) h->count ? h->count : Max((int64) place, 1);
	bucket = bucket_of_rank(h, rank);
	if (bucket == NULL)
		return get_float8_nan();
	middle = slot_middle(bucket->slot);
	if (h->subtracted)
		return middle;
	if (rank == 1 || middle < (double) h->min)
		return (double) h->min;
	if (rank == h->count || middle > (double) h->max)
		return (double) h->max;
	return middle;
}

/* The same of a value of the SQL type. */
double
tex_histogram_quantile_datum(Datum stored, double q)
{
	TexHistogram *h = tex_histogram_load(stored, CurrentMemoryContext);
	double		result = tex_histogram_quantile(h, q);

	tex_histogram_free(h);
	return result;
}

/*
 * How many values are at most ns: exact where ns is the last integer of a bucket, or below the
 * least or not below the greatest value known. Else the bucket that ns is in is not counted,
 * so that the answer is never more than there are.
 */
int64
tex_histogram_count_below(const TexHistogram *h, int64 ns)
{
	int64		below = 0;

	if (!h->subtracted && ns >= h->max)
		return h->count;
	for (int i = 0; i < h->n; i++)
	{
		int64		first;
		int64		last;

		tex_histogram_slot_range(h->buckets[i].slot, &first, &last);
		if (last > ns)
			break;
		if (pg_add_s64_overflow(below, h->buckets[i].count, &below))
			report_overflow("count");
	}
	return below;
}
