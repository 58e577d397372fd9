/*
 * audit.c
 *		The audit trail of a variable in a trace.
 *
 * Each access is linked to the one before it in the sequence that happens-before
 * and time give, and says whether it is in a race: with any access of the trace or
 * of a trace that overlapped it, not only with its neighbours.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "races/overlaps.h"
#include "races/proof.h"
#include "races/race_rows.h"
#include "races/races.h"
#include "common/reads.h"

#define AUDIT_COLUMNS 15

PG_FUNCTION_INFO_V1(tex_audit_trail);

/* How an access follows the one before it in the trail. */
static const char *
link_between(const TexRaces *races, int32 before, int32 access)
{
	if (before == TEX_NO_ACCESS)
		return "first";
	if (races->accesses[before].strand == races->accesses[access].strand)
		return "same strand";
	if (tex_happens_before(races, before, access, TEX_FULL_ORDER))
		return "happens-before";
	return "concurrent";
}

/* What is wrong with where an event hangs, or NULL. */
static const char *
remark_on(const TexEvent *event)
{
	if (event->flags & TEX_EVENT_IN_CYCLE)
		return "parent cycle cut here";
	if (event->flags & TEX_EVENT_PARENT_MISSING)
		return "parent missing";
	return NULL;
}

/* A column that is null where there is no text. */
static void
set_text(Datum *values, bool *isnull, int column, const char *text)
{
	isnull[column] = text == NULL;
	if (text)
		values[column] = CStringGetTextDatum(text);
}

/* A column that is null where there is no value. */
static void
set_jsonb(Datum *values, bool *isnull, int column, Jsonb *value)
{
	isnull[column] = value == NULL;
	if (value)
		values[column] = JsonbPGetDatum(value);
}

/* One row of the trail. */
static void
return_access(const TexRaces *races, int32 before, int32 access, ReturnSetInfo *result)
{
	const TexHistory *history = races->history;
	const TexEvent *event = tex_access_event(races, access);
	Datum		values[AUDIT_COLUMNS] = {0};
	bool		isnull[AUDIT_COLUMNS] = {0};

	values[0] = UUIDPGetDatum(&event->id);
	values[1] = TimestampTzGetDatum(event->at);
	values[2] = tex_access_datum(TupleDescAttr(result->setDesc, 2)->atttypid, event->access);
	set_jsonb(values, isnull, 3, event->data->old_value);
	set_jsonb(values, isnull, 4, tex_value_of(event));
	set_text(values, isnull, 5, tex_history_text(history, event->thread_name));
	set_text(values, isnull, 6, tex_history_text(history, event->service));
	set_text(values, isnull, 7, tex_history_text(history, event->instance_name));
	set_text(values, isnull, 8, tex_history_text(history, event->data->location));
	values[9] = Int32GetDatum(event->strand - history->traces[event->trace].first_strand + 1);
	set_text(values, isnull, 10, link_between(races, before, access));
	values[11] = BoolGetDatum(races->accesses[access].raced);
	set_text(values, isnull, 12, remark_on(event));
	/* Once more, by the names that the accesses have in cross_trace_index. */
	values[13] = values[2];
	values[14] = values[4];
	isnull[14] = isnull[4];
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* The accesses of a variable in a trace, in the sequence in which they were found. */
static void
return_trail(const TexRaces *races, int32 trace, int32 variable, ReturnSetInfo *result)
{
	int32		before = TEX_NO_ACCESS;

	for (int32 i = 0; i < races->naccesses; i++)
	{
		const TexEvent *event = tex_access_event(races, i);

		CHECK_FOR_INTERRUPTS();
		if (event->trace != trace || event->name != variable)
			continue;
		return_access(races, before, i, result);
		before = i;
	}
}

/*
 * audit_trail(trace_id uuid, variable text). Marks whatever races, keeps no pair; reads with
 * the caller's rights. A trace or a variable that is not stored gives a NOTICE, for no row
 * says nothing.
 */
Datum
tex_audit_trail(PG_FUNCTION_ARGS)
{
	TexRacesOptions options = {.mark = true};
	pg_uuid_t  *trace_id;
	char	   *variable;
	TexHistory *history;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	trace_id = PG_GETARG_UUID_P(0);
	variable = text_to_cstring(PG_GETARG_TEXT_PP(1));
	SPI_connect();
	history = tex_load_with_overlapping(trace_id, variable, false);
	if (history->nevents == 0)
		tex_notice_unknown_trace(trace_id);
	else
	{
		options.variable = tex_strings_add(history->names, variable, strlen(variable));
		return_trail(tex_races_find(history, &options), tex_history_trace(history, trace_id),
					 options.variable, (ReturnSetInfo *) fcinfo->resultinfo);
		if (tuplestore_tuple_count(((ReturnSetInfo *) fcinfo->resultinfo)->setResult) == 0)
			tex_notice(psprintf("no access of variable \"%s\" is stored in that trace", variable),
					   "See the view cross_trace_index for those that are.");
	}
	SPI_finish();
	return (Datum) 0;
}
