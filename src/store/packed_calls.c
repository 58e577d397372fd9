/*
 * packed_calls.c
 *		The calls of a trace in few bytes: what is stored of them.
 *
 * What a trace has added to the rollups is kept, so that it can be taken back. Most
 * traces have a few calls between a few services; a row for each would take 100 bytes
 * and an entry in an index. So a trace has one value, in varints (common/varint.h; signed
 * numbers zigzag):
 *
 *		number of services; for each, ascending by its bytes: size, bytes
 *		for each group, ascending by what comes first:
 *			from, to (numbers of services), link, hour (signed)
 *			number of errors, number of others
 *			for each error, then for each other, ascending: duration in microseconds
 *
 * The same calls are always the same bytes, so that who computes a trace again sees at
 * once that nothing changed.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/memutils.h"

#include "common/varint.h"
#include "compat.h"
#include "store/packed_calls.h"

/* A group has 6 varints before its durations. */
#define GROUP_SIZE (6 * TEX_VARINT_SIZE)

/* Services by their bytes; for qsort(). */
static int
compare_services(const void *a, const void *b)
{
	const text *x = *(text *const *) a;
	const text *y = *(text *const *) b;
	int			common = Min(VARSIZE_ANY_EXHDR(x), VARSIZE_ANY_EXHDR(y));
	int			order = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), common);

	return order ? order : (int) VARSIZE_ANY_EXHDR(x) - (int) VARSIZE_ANY_EXHDR(y);
}

/* Numbers, for a comparison. */
#define COMPARE(x, y) do { if ((x) != (y)) return (x) < (y) ? -1 : 1; } while (0)

/* Calls in the order they are stored in; for qsort(). */
static int
compare_calls(const void *a, const void *b)
{
	const TexCall *x = a;
	const TexCall *y = b;

	COMPARE(x->from, y->from);
	COMPARE(x->to, y->to);
	COMPARE(x->link, y->link);
	COMPARE(x->hour, y->hour);
	COMPARE(y->is_error, x->is_error);
	COMPARE(x->duration, y->duration);
	return 0;
}

/* Are two calls of one group? */
static bool
same_group(const TexCall *x, const TexCall *y)
{
	return x->from == y->from && x->to == y->to && x->link == y->link && x->hour == y->hour;
}

/*
 * The services that calls have, sorted, and the numbers that they have then; returns how
 * many.
 */
static int
sort_services(const TexCalls *calls, text **sorted, int32 *renumbered)
{
	bool	   *used = palloc0(sizeof(bool) * calls->service_count);
	int			n = 0;

	for (int i = 0; i < calls->count; i++)
		used[calls->calls[i].from] = used[calls->calls[i].to] = true;
	for (int i = 0; i < calls->service_count; i++)
		if (used[i])
			sorted[n++] = calls->services[i];
	qsort(sorted, n, sizeof(text *), compare_services);
	for (int i = 0; i < calls->service_count; i++)
		if (used[i])
			renumbered[i] = (text **) bsearch(&calls->services[i], sorted, n, sizeof(text *), compare_services) - sorted;
	pfree(used);
	return n;
}

/* Writes the calls of a group, which are next to each other. */
static uint8 *
write_group(uint8 *to, const TexCall *calls, int count)
{
	int			errors = 0;

	while (errors < count && calls[errors].is_error)
		errors++;
	to = tex_put_varint(to, calls->from);
	to = tex_put_varint(to, calls->to);
	to = tex_put_varint(to, calls->link);
	to = tex_put_varint(to, tex_zigzag(calls->hour));
	to = tex_put_varint(to, errors);
	to = tex_put_varint(to, count - errors);
	for (int i = 0; i < count; i++)
		to = tex_put_varint(to, calls[i].duration);
	return to;
}

/* A copy of the calls, with services renumbered, in the order they are stored in. */
static TexCall *
sort_calls(const TexCalls *calls, const int32 *renumbered)
{
	TexCall    *sorted = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(TexCall) * calls->count);

	for (int i = 0; i < calls->count; i++)
	{
		sorted[i] = calls->calls[i];
		sorted[i].from = renumbered[sorted[i].from];
		sorted[i].to = renumbered[sorted[i].to];
	}
	qsort(sorted, calls->count, sizeof(TexCall), compare_calls);
	return sorted;
}

/*
 * The calls of a trace packed, in the current memory context, where some garbage stays.
 * Throws where they do not fit into a value, of 1 GB.
 */
struct varlena *
tex_pack_calls(const TexCalls *calls)
{
	text	  **services = palloc(sizeof(text *) * calls->service_count);
	int32	   *renumbered = palloc(sizeof(int32) * calls->service_count);
	int			service_count = sort_services(calls, services, renumbered);
	const TexCall *sorted = sort_calls(calls, renumbered);
	Size		size = VARHDRSZ + TEX_VARINT_SIZE;
	struct varlena *packed;
	uint8	   *to;

	for (int i = 0; i < service_count; i++)
		size += TEX_VARINT_SIZE + VARSIZE_ANY_EXHDR(services[i]);
	for (int i = 0; i < calls->count; i++)
		size += TEX_VARINT_SIZE + (i == 0 || !same_group(&sorted[i - 1], &sorted[i]) ? GROUP_SIZE : 0);
	packed = MemoryContextAllocHuge(CurrentMemoryContext, size);
	to = tex_put_varint((uint8 *) VARDATA(packed), service_count);
	for (int i = 0; i < service_count; i++)
	{
		to = tex_put_varint(to, VARSIZE_ANY_EXHDR(services[i]));
		memcpy(to, VARDATA_ANY(services[i]), VARSIZE_ANY_EXHDR(services[i]));
		to += VARSIZE_ANY_EXHDR(services[i]);
	}
	for (int i = 0, count; i < calls->count; i += count)
	{
		for (count = 1; i + count < calls->count && same_group(&sorted[i], &sorted[i + count]);)
			count++;
		to = write_group(to, &sorted[i], count);
	}
	if ((Size) (to - (uint8 *) packed) > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a trace has too many calls between services: %d", calls->count)));
	SET_VARSIZE(packed, to - (uint8 *) packed);
	return packed;
}

/* ----------------------------------------------------------------
 *		Reading
 * ----------------------------------------------------------------
 */
/* Only damaged storage, or a value that is none of ours, gets here. */
static void
report_corrupt(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the stored calls of a trace are damaged"),
			 errhint("Call rebuild_summaries().")));
}

/* The next varint. */
static uint64
read_varint(TexCallReader *reader)
{
	uint64		value;

	if (!tex_get_varint(&reader->next, reader->end, &value))
		report_corrupt();
	return value;
}

/* A varint that is less than "bound", which is positive. */
static int64
read_below(TexCallReader *reader, int64 bound)
{
	uint64		value = read_varint(reader);

	if (value >= (uint64) bound)
		report_corrupt();
	return (int64) value;
}

/*
 * Begins to read a packed value, which is detoasted and stays until it is read. Makes
 * garbage in the current memory context. Throws for a damaged value, as the next two do.
 */
void
tex_call_reader_init(TexCallReader *reader, const struct varlena *packed)
{
	*reader = (TexCallReader) {.from = -1};
	reader->next = (const uint8 *) VARDATA_ANY(packed);
	reader->end = reader->next + VARSIZE_ANY_EXHDR(packed);
	/* Each takes a byte at least. */
	reader->service_count = read_below(reader, reader->end - reader->next + 1);
	reader->services = palloc(sizeof(uint8 *) * reader->service_count);
	reader->sizes = palloc(sizeof(int) * reader->service_count);
	for (int i = 0; i < reader->service_count; i++)
	{
		reader->sizes[i] = read_below(reader, reader->end - reader->next + 1);
		reader->services[i] = reader->next;
		reader->next += reader->sizes[i];
		if (reader->next > reader->end)
			report_corrupt();
	}
}

/* The next group; false after the last one. Its durations must be read before the next. */
bool
tex_next_call_group(TexCallReader *reader, TexCallGroup *group)
{
	int			from;
	int			to;
	uint64		hour;

	if (reader->next == reader->end)
		return false;
	from = read_below(reader, reader->service_count);
	to = read_below(reader, reader->service_count);
	group->link = read_below(reader, TEX_LINK_COUNT);
	group->first = from != reader->from || to != reader->to || (int) group->link != reader->link;
	reader->from = from;
	reader->to = to;
	reader->link = group->link;
	hour = read_varint(reader);
	if (hour / 2 > PG_INT64_MAX / USECS_PER_HOUR)
		report_corrupt();
	group->hour = tex_unzigzag(hour);
	group->errors = read_below(reader, PG_INT32_MAX);
	group->calls = group->errors + read_below(reader, PG_INT32_MAX);
	group->from = reader->services[from];
	group->from_size = reader->sizes[from];
	group->to = reader->services[to];
	group->to_size = reader->sizes[to];
	reader->left = group->calls;
	return true;
}

/* The next duration of the group, in microseconds; -1 after the last one. */
int64
tex_next_duration(TexCallReader *reader)
{
	if (reader->left == 0)
		return -1;
	reader->left--;
	return read_below(reader, TEX_LONGEST_CALL + 1);
}
