/*
 * times.c
 *		When traces ran, as a router asks it of a node: what trace_range.c knows of them.
 *
 * That is what a store's own queries go by, and is read by two keys a trace; the view
 * trace_summaries says the same, but is planned anew for each call, which takes longer
 * than all else in it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "store/trace_range.h"

PG_FUNCTION_INFO_V1(tex_times_told);

/* A time as the session writes it. */
static char *
time_text(TimestampTz at)
{
	return DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(at)));
}

/* Adds "trace,first,last,started,ended" to an array of text; a trace of "" stands for all. */
static void
add_times(ArrayBuildState *lines, const char *trace, TexRange range, TexExtent extent)
{
	char	   *line = psprintf("%s,%s,%s,%s,%s", trace, time_text(range.first), time_text(range.last),
								time_text(extent.started), time_text(extent.ended));

	accumArrayResult(lines, CStringGetTextDatum(line), false, TEXTOID, CurrentMemoryContext);
}

/*
 * times_told(uuid[]) returns text[]
 *
 * An element for each of some traces of which anything is known here, and one without a trace for
 * partitions that may have rows of any trace that is not counted yet. NULLs are no traces.
 */
Datum
tex_times_told(PG_FUNCTION_ARGS)
{
	ArrayBuildState *lines = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	TexRanges  *ranges = tex_ranges_create();
	TexRange	uncounted = tex_range_uncounted(ranges);
	Datum	   *ids;
	bool	   *nulls;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, &nulls, &n);
	if (!tex_range_is_empty(uncounted))
		add_times(lines, "", uncounted, (TexExtent) {DT_NOEND, DT_NOBEGIN});
	for (int i = 0; i < n; i++)
	{
		TexExtent	extent;
		TexRange	range;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			continue;
		range = tex_counted_range(ranges, DatumGetUUIDP(ids[i]), &extent);
		if (!tex_range_is_empty(range))
			add_times(lines, DatumGetCString(DirectFunctionCall1(uuid_out, ids[i])), range, extent);
	}
	PG_RETURN_DATUM(makeArrayResult(lines, CurrentMemoryContext));
}
