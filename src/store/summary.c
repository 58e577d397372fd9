/*
 * summary.c
 *		What is kept of a trace, and how two parts of it are merged.
 *
 * Counts add, times widen, services unite, and of two roots the earlier one
 * stays.  Each of these is associative and commutative, so the parts may be
 * merged in any order: the writer merges the rows of a statement, readers and
 * fold() merge the deltas of statements.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "store/summary.h"

/* An element of the hash of a set. */
typedef struct SummaryEntry
{
	pg_uuid_t	trace_id;
	TexSummary *summary;		/* apart, so that its address stays */
	char		status;
} SummaryEntry;

#define SH_PREFIX summary
#define SH_ELEMENT_TYPE SummaryEntry
#define SH_KEY_TYPE pg_uuid_t
#define SH_KEY trace_id
#define SH_HASH_KEY(tb, key) hash_bytes(key.data, UUID_LEN)
#define SH_EQUAL(tb, a, b) (memcmp(a.data, b.data, UUID_LEN) == 0)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

struct TexSummarySet
{
	MemoryContext context;
	summary_hash *hash;
	TexSummary *last;			/* events of one trace come together */
};

/*
 * An empty set; it and all that is added to it live in "context", and go with
 * that.
 */
TexSummarySet *
tex_summaries_create(MemoryContext context)
{
	TexSummarySet *set = MemoryContextAllocZero(context, sizeof(TexSummarySet));

	set->context = context;
	set->hash = summary_create(context, 64, NULL);
	return set;
}

/*
 * The summary of a trace in the set; an empty one is made where there is none.
 * The address stays good for as long as the set.
 */
TexSummary *
tex_summaries_get(TexSummarySet *set, const pg_uuid_t *trace_id)
{
	SummaryEntry *entry;
	bool		found;

	if (set->last != NULL && memcmp(&set->last->trace_id, trace_id, UUID_LEN) == 0)
		return set->last;

	entry = summary_insert(set->hash, *trace_id, &found);
	if (!found)
	{
		entry->summary = NULL;
		entry->summary = MemoryContextAllocZero(set->context, sizeof(TexSummary));
		entry->summary->trace_id = *trace_id;
	}
	set->last = entry->summary;
	return entry->summary;
}

/*
 * The summary of a trace in the set, or NULL.
 */
TexSummary *
tex_summaries_find(TexSummarySet *set, const pg_uuid_t *trace_id)
{
	SummaryEntry *entry = summary_lookup(set->hash, *trace_id);

	return entry == NULL ? NULL : entry->summary;
}

/*
 * How many traces the set has.
 */
int
tex_summaries_count(TexSummarySet *set)
{
	return (int) set->hash->members;
}

/*
 * All summaries of the set, in no order; the array is the caller's.
 */
TexSummary **
tex_summaries_all(TexSummarySet *set)
{
	TexSummary **all = palloc_extended(sizeof(TexSummary *) * Max(set->hash->members, 1),
									   MCXT_ALLOC_HUGE);
	summary_iterator iterator;
	SummaryEntry *entry;
	int			n = 0;

	summary_start_iterate(set->hash, &iterator);
	while ((entry = summary_iterate(set->hash, &iterator)) != NULL)
		all[n++] = entry->summary;
	return all;
}

/*
 * Widens the time of a trace by that of some events: their first and last timestamp,
 * and from when to when they lasted.
 */
void
tex_summary_add_times(TexSummary *s, TimestampTz first, TimestampTz last, TexExtent extent)
{
	if (!s->has_times || first < s->first_timestamp)
		s->first_timestamp = first;
	if (!s->has_times || last > s->last_timestamp)
		s->last_timestamp = last;
	if (!s->has_times || extent.started < s->extent.started)
		s->extent.started = extent.started;
	if (!s->has_times || extent.ended > s->extent.ended)
		s->extent.ended = extent.ended;
	s->has_times = true;
}

/* A copy that is neither short nor compressed: its header is that of 4 bytes. */
static text *
copy_text(text *t, MemoryContext context)
{
	Size		len = VARSIZE_ANY_EXHDR(t);
	text	   *copy = MemoryContextAlloc(context, len + VARHDRSZ);

	SET_VARSIZE(copy, len + VARHDRSZ);
	memcpy(VARDATA(copy), VARDATA_ANY(t), len);
	return copy;
}

/*
 * Are two texts the same, byte by byte?  NULL is the same as NULL.
 */
bool
tex_same_text(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* ----------------------------------------------------------------
 *		Sets of texts
 *
 * Few texts are the rule, and a walk beats a hash there; thousands must not cost
 * their square.  They are put in order when they are asked for.
 * ----------------------------------------------------------------
 */
#define WALKED_TEXTS 16

/* The slot of a text, or the free one where it belongs. */
static int *
text_slot(const TexTextSet *set, text *t)
{
	uint32		slot = hash_bytes((unsigned char *) VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)) & set->mask;

	while (set->slots[slot] >= 0 && !tex_same_text(set->texts[set->slots[slot]], t))
		slot = (slot + 1) & set->mask;
	return &set->slots[slot];
}

/*
 * Is a text in the set?  Compared by bytes.
 */
bool
tex_text_set_has(const TexTextSet *set, text *t)
{
	if (set->slots != NULL)
		return *text_slot(set, t) >= 0;
	for (int i = 0; i < set->count; i++)
	{
		if (tex_same_text(set->texts[i], t))
			return true;
	}
	return false;
}

/* Makes room for twice as many texts, and a hash over them where they are many. */
static void
grow_text_set(TexTextSet *set, MemoryContext context)
{
	int			room = Max(set->room * 2, 2);
	text	  **texts = MemoryContextAllocHuge(context, sizeof(text *) * (Size) room);

	if (set->count > 0)
	{
		memcpy(texts, set->texts, sizeof(text *) * set->count);
		pfree(set->texts);
	}
	set->texts = texts;
	set->room = room;
	if (room <= WALKED_TEXTS)
		return;
	if (set->slots != NULL)
		pfree(set->slots);
	/* Room is a power of 2, and half of the slots stay free. */
	set->mask = (uint32) room * 2 - 1;
	set->slots = MemoryContextAllocHuge(context, sizeof(int) * ((Size) set->mask + 1));
	memset(set->slots, 0xff, sizeof(int) * ((Size) set->mask + 1));
	for (int i = 0; i < set->count; i++)
		*text_slot(set, set->texts[i]) = i;
}

/*
 * Adds a text to a set, which lives in "context"; each text is kept once.
 */
void
tex_text_set_insert(TexTextSet *set, text *t, MemoryContext context)
{
	if (tex_text_set_has(set, t))
		return;
	if (set->count == set->room)
		grow_text_set(set, context);
	if (set->slots != NULL)
		*text_slot(set, t) = set->count;
	set->texts[set->count++] = copy_text(t, context);
}

/* The order of ORDER BY in the database's own collation. */
static int
compare_texts(const void *a, const void *b)
{
	text	   *x = (text *) DatumGetPointer(*(const Datum *) a);
	text	   *y = (text *) DatumGetPointer(*(const Datum *) b);

	return varstr_cmp(VARDATA_ANY(x), VARSIZE_ANY_EXHDR(x),
					  VARDATA_ANY(y), VARSIZE_ANY_EXHDR(y), DEFAULT_COLLATION_OID);
}

/*
 * The texts, ascending, as a text[] in the current memory context.
 */
Datum
tex_text_set_array(const TexTextSet *set)
{
	Datum	   *values = palloc_extended(sizeof(Datum) * (Size) Max(set->count, 1), MCXT_ALLOC_HUGE);
	ArrayType  *array;

	for (int i = 0; i < set->count; i++)
		values[i] = PointerGetDatum(set->texts[i]);
	/* Most of the time they are in order, or nearly: qsort() sees to that. */
	qsort(values, set->count, sizeof(Datum), compare_texts);
	array = construct_array(values, set->count, TEXTOID, -1, false, TYPALIGN_INT);
	pfree(values);
	return PointerGetDatum(array);
}

/*
 * Adds a service, which is copied into the set's context.
 */
void
tex_summary_add_service(TexSummarySet *set, TexSummary *s, text *service)
{
	tex_text_set_insert(&s->services, service, set->context);
}

/*
 * Adds the services of a text[] that has no NULL.
 */
void
tex_summary_add_services(TexSummarySet *set, TexSummary *s, Datum array)
{
	Datum	   *values;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &values, NULL, &n);
	for (int i = 0; i < n; i++)
		tex_summary_add_service(set, s, DatumGetTextPP(values[i]));
}

/*
 * Of several events without a parent the first by (timestamp, id) is the root.
 */
void
tex_summary_add_root(TexSummarySet *set, TexSummary *s,
					 TimestampTz timestamp, const pg_uuid_t *id,
					 text *name, text *service)
{
	if (s->has_root &&
		(timestamp > s->root_timestamp ||
		 (timestamp == s->root_timestamp &&
		  memcmp(id->data, s->root_id.data, UUID_LEN) >= 0)))
		return;

	s->has_root = true;
	s->root_timestamp = timestamp;
	s->root_id = *id;
	s->root_name = name == NULL ? NULL : copy_text(name, set->context);
	s->root_service = service == NULL ? NULL : copy_text(service, set->context);
}

/*
 * Adds one event: it counts, widens the time, adds its service and may be the
 * root.
 */
void
tex_summary_add_event(TexSummarySet *set, TexSummary *s, const TexSummaryEvent *event)
{
	s->event_count++;
	s->error_count += event->is_error;
	s->access_count += event->is_access;
	tex_summary_add_times(s, event->timestamp, event->timestamp, event->extent);
	if (event->service != NULL)
		tex_summary_add_service(set, s, event->service);
	if (event->is_root)
		tex_summary_add_root(set, s, event->timestamp, &event->id, event->name, event->service);
}

/*
 * Adds a row of summary_base, or of summary_deltas, to the summary of its trace,
 * and returns that. "values" has TEX_SUMMARY_COLUMNS, in their order; those of a
 * delta with "recompute" may not be given, they have NULLs.
 */
TexSummary *
tex_summary_add_row(TexSummarySet *set, const Datum *values, const bool *isnull)
{
	TexSummary *s = tex_summaries_get(set, DatumGetUUIDP(values[0]));

	s->event_count += DatumGetInt64(values[1]);
	s->error_count += DatumGetInt64(values[2]);
	s->access_count += DatumGetInt64(values[3]);
	tex_summary_add_times(s, DatumGetTimestampTz(values[4]), DatumGetTimestampTz(values[5]), (TexExtent) {
		DatumGetTimestampTz(values[6]), DatumGetTimestampTz(values[7])
	});
	tex_summary_add_services(set, s, values[8]);
	if (!isnull[10])
		tex_summary_add_root(set, s, DatumGetTimestampTz(values[9]), DatumGetUUIDP(values[10]),
							 isnull[11] ? NULL : DatumGetTextPP(values[11]),
							 isnull[12] ? NULL : DatumGetTextPP(values[12]));
	return s;
}

/*
 * The services as a text[], made in the current memory context.
 */
Datum
tex_summary_services(const TexSummary *s)
{
	return tex_text_set_array(&s->services);
}
