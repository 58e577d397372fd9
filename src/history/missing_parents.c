/*
 * missing_parents.c
 *		traces_that_miss_a_parent(): which traces have an event whose parent is not there.
 *
 * A parent that is missing may be under way.  Three columns say so, and the detector asks of each young trace: nothing
 * else of an event is read.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "history/row_query.h"

PG_FUNCTION_INFO_V1(tex_traces_that_miss_a_parent);


static const char parents_query[] =
	"SELECT trace_id, id, parent_id FROM trace_ext.events WHERE trace_id OPERATOR(pg_catalog.=) ANY ($1) "
	"AND \"timestamp\" OPERATOR(pg_catalog.>=) $2 AND \"timestamp\" OPERATOR(pg_catalog.<=) $3";

/* An event of a trace: one that is there, or one that is named as a parent. */
typedef struct Named
{
	pg_uuid_t	trace;
	pg_uuid_t	id;
} Named;

typedef struct Names
{
	Named	   *all;
	Size		n;
	Size		room;
	MemoryContext context;
} Names;

typedef struct Parents
{
	Names		there;
	Names		wanted;
} Parents;

static void
add_name(Names *names, const pg_uuid_t *trace, const pg_uuid_t *id)
{
	if (names->n == names->room)
	{
		names->room = Max(names->room * 2, 1024);
		names->all = names->all == NULL ? MemoryContextAllocHuge(names->context, sizeof(Named) * names->room) :
			repalloc_huge(names->all, sizeof(Named) * names->room);
	}
	names->all[names->n++] = (Named) {*trace, *id};
}

/* Takes a row; for tex_query_traces(). */
static void
take_row(TupleTableSlot *slot, void *arg)
{
	Parents    *parents = arg;
	const pg_uuid_t *trace = DatumGetUUIDP(slot->tts_values[0]);

	add_name(&parents->there, trace, DatumGetUUIDP(slot->tts_values[1]));
	if (!slot->tts_isnull[2])
		add_name(&parents->wanted, trace, DatumGetUUIDP(slot->tts_values[2]));
}

static int
compare_names(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(Named));
}

static void
sort_names(Names *names)
{
	if (names->n > 1)
		qsort(names->all, names->n, sizeof(Named), compare_names);
}

/* The traces of those that are wanted and not there, each once.  Both are walked in one order. */
static int
find_missing(const Parents *parents, pg_uuid_t *traces)
{
	const Named *there = parents->there.all;
	const Named *end = there + parents->there.n;
	int			n = 0;

	for (Size i = 0; i < parents->wanted.n; i++)
	{
		const Named *wanted = &parents->wanted.all[i];

		CHECK_FOR_INTERRUPTS();
		while (there < end && compare_names(there, wanted) < 0)
			there++;
		if ((there == end || compare_names(there, wanted) != 0) &&
			(n == 0 || memcmp(&traces[n - 1], &wanted->trace, UUID_LEN) != 0))
			traces[n++] = wanted->trace;
	}
	return n;
}

/*
 * traces_that_miss_a_parent(ids uuid[]) returns uuid[]
 *
 * Those of some traces in which an event names a parent that is not stored; needs the caller's right to read events.
 */
Datum
tex_traces_that_miss_a_parent(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	Parents		parents = {0};
	TexRanges  *ranges;
	pg_uuid_t  *ids;
	pg_uuid_t  *missing;
	int			n;
	Datum		answer;

	SPI_connect();
	parents.there.context = parents.wanted.context = CurrentMemoryContext;
	ranges = tex_ranges_create();
	ids = tex_traces_by_start(ranges, PG_GETARG_ARRAYTYPE_P(0), &n);
	/* Those that a query takes are neighbours in time, so that it looks into as few partitions as may be. */
	for (int i = 0; i < n; i += TEX_TRACES_OF_A_QUERY)
		tex_query_traces(parents_query, ranges, &ids[i], Min(n - i, TEX_TRACES_OF_A_QUERY), take_row, &parents);
	sort_names(&parents.there);
	sort_names(&parents.wanted);
	missing = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	n = find_missing(&parents, missing);
	old = MemoryContextSwitchTo(context);
	answer = tex_uuid_array(missing, n);
	MemoryContextSwitchTo(old);
	SPI_finish();
	PG_RETURN_DATUM(answer);
}
