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

#include "summary.h"

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

void
tex_summary_add_times(TexSummary *s, TimestampTz first, TimestampTz last)
{
	if (!s->has_times || first < s->first_timestamp)
		s->first_timestamp = first;
	if (!s->has_times || last > s->last_timestamp)
		s->last_timestamp = last;
	s->has_times = true;
}

static text *
copy_text(text *t, MemoryContext context)
{
	Size		len = VARSIZE_ANY_EXHDR(t);
	text	   *copy = MemoryContextAlloc(context, len + VARHDRSZ);

	SET_VARSIZE(copy, len + VARHDRSZ);
	memcpy(VARDATA(copy), VARDATA_ANY(t), len);
	return copy;
}

static bool
same_text(text *a, text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* The order of ORDER BY in the database's own collation. */
static bool
text_is_less(text *a, text *b)
{
	return varstr_cmp(VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a),
					  VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b),
					  DEFAULT_COLLATION_OID) < 0;
}

/*
 * Adds a text to an ascending array of texts, each once.  Few texts are
 * expected, so a walk beats a hash.  Returns whether it was new.
 */
bool
tex_add_text(text ***texts, int *count, int *room, text *t, MemoryContext context)
{
	int			at;

	for (int i = 0; i < *count; i++)
	{
		if (same_text((*texts)[i], t))
			return false;
	}
	if (*count == *room)
	{
		int			new_room = Max(*room * 2, 2);
		text	  **grown = MemoryContextAlloc(context, sizeof(text *) * new_room);

		if (*count > 0)
		{
			memcpy(grown, *texts, sizeof(text *) * *count);
			pfree(*texts);
		}
		*texts = grown;
		*room = new_room;
	}
	for (at = *count; at > 0 && text_is_less(t, (*texts)[at - 1]); at--)
		(*texts)[at] = (*texts)[at - 1];
	(*texts)[at] = copy_text(t, context);
	(*count)++;
	return true;
}

void
tex_summary_add_service(TexSummarySet *set, TexSummary *s, text *service)
{
	tex_add_text(&s->services, &s->service_count, &s->service_room, service, set->context);
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
 * Adds a row of summary_base, or of summary_deltas, to the summary of its trace.
 */
TexSummary *
tex_summary_add_row(TexSummarySet *set, const Datum *values, const bool *isnull)
{
	TexSummary *s = tex_summaries_get(set, DatumGetUUIDP(values[0]));

	s->event_count += DatumGetInt64(values[1]);
	s->error_count += DatumGetInt64(values[2]);
	s->access_count += DatumGetInt64(values[3]);
	tex_summary_add_times(s, DatumGetTimestampTz(values[4]), DatumGetTimestampTz(values[5]));
	tex_summary_add_services(set, s, values[6]);
	if (!isnull[8])
		tex_summary_add_root(set, s, DatumGetTimestampTz(values[7]), DatumGetUUIDP(values[8]),
							 isnull[9] ? NULL : DatumGetTextPP(values[9]),
							 isnull[10] ? NULL : DatumGetTextPP(values[10]));
	return s;
}

/*
 * The services as a text[], made in the current memory context.
 */
Datum
tex_summary_services(const TexSummary *s)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(s->service_count, 1));
	ArrayType  *array;

	for (int i = 0; i < s->service_count; i++)
		values[i] = PointerGetDatum(s->services[i]);
	array = construct_array(values, s->service_count, TEXTOID, -1, false, TYPALIGN_INT);
	pfree(values);
	return PointerGetDatum(array);
}
