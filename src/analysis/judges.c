/*
 * judges.c
 *		What calls are judged by: the one place that says what is slow.
 *
 * A call is slow if it took trace_ext.slow_factor times what 99 of 100 calls of its operation
 * take at most, and trace_ext.slow_floor more than their median, by the baseline of the hours
 * before it; nobody knows where that is of fewer than trace_ext.baseline_calls calls.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "analysis/judges.h"
#include "guc.h"
#include "history/row_query.h"
#include "races/arrays.h"
#include "store/trace_range.h"

static const char baselines_query[] =
	"SELECT n, calls, p50_ms, p99_ms FROM trace_ext_internal.baselines_of($1, $2::trace_ext.event_kind[], $3, $4)";

struct TexJudges
{
	const TexStrings *names;
	HTAB	   *by_key;
	TexJudge  **list;			/* by number */
	int32		n;
	int32		room;
	MemoryContext context;
};

/* Makes a set without any; it lives in the memory context that is current. */
TexJudges *
tex_judges_create(const TexStrings *names)
{
	TexJudges  *judges = palloc0(sizeof(TexJudges));
	HASHCTL		ctl = {.keysize = sizeof(struct TexJudgeKey),.entrysize = sizeof(TexJudge),.hcxt = CurrentMemoryContext};

	judges->names = names;
	judges->context = CurrentMemoryContext;
	judges->by_key = hash_create("baselines", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	judges->room = 64;
	judges->list = palloc(sizeof(TexJudge *) * judges->room);
	return judges;
}

/* What a call is judged by, to be read later; calls of one operation in one hour share it. */
const TexJudge *
tex_judge_of(TexJudges *judges, TimestampTz at, int32 service, TexKind kind, int32 operation)
{
	struct TexJudgeKey key;
	TexJudge   *judge;
	bool		found;

	memset(&key, 0, sizeof(key));
	key.hour = TIMESTAMP_NOT_FINITE(at) ? at : tex_hour_of(at);
	key.service = service;
	key.operation = operation;
	key.kind = kind;
	judge = hash_search(judges->by_key, &key, HASH_ENTER, &found);
	if (found)
		return judge;
	judge->number = judges->n;
	judge->is_known = false;
	if (judges->n == judges->room)
	{
		judges->room *= 2;
		judges->list = repalloc_huge(judges->list, sizeof(TexJudge *) * judges->room);
	}
	judges->list[judges->n++] = judge;
	return judge;
}

/* The names of a column as an array for SQL; a service may have none. */
static Datum
names_array(const TexJudges *judges, Size column)
{
	Datum	   *values = tex_new_array(sizeof(Datum), judges->n, 0);
	bool	   *isnull = tex_new_array(sizeof(bool), judges->n, 0);

	for (int32 i = 0; i < judges->n; i++)
	{
		int32		name = *(const int32 *) ((const char *) &judges->list[i]->key + column);

		isnull[i] = name == TEX_NO_NAME;
		if (!isnull[i])
			values[i] = CStringGetTextDatum(tex_strings_text(judges->names, name));
	}
	return tex_value_array(values, isnull, judges->n, TEXTOID);
}

/* Takes a baseline that was read. */
static void
take_baseline(TexJudges *judges, HeapTuple row, TupleDesc desc)
{
	Datum		values[4];
	bool		isnull[4];
	TexJudge   *judge;

	heap_deform_tuple(row, desc, values, isnull);
	judge = judges->list[DatumGetInt64(values[0]) - 1];
	if (isnull[1] || isnull[2] || isnull[3] || DatumGetInt64(values[1]) < tex_baseline_calls)
		return;
	judge->is_known = true;
	judge->calls = DatumGetInt64(values[1]);
	judge->p99_ms = DatumGetFloat8(values[3]);
	judge->bound_ms = Max(Max(judge->p99_ms * tex_slow_factor, DatumGetFloat8(values[2]) + tex_slow_floor), 1e-6);
}

/*
 * Reads the baselines of all that was asked for, by one query, which is planned once a session:
 * to plan it takes longer than to ask.  Within an SPI connection, with the caller's rights.
 */
void
tex_judges_read(TexJudges *judges)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[4] = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID};
	Datum	   *kinds;
	Datum	   *hours;
	Datum		args[4];

	if (judges->n == 0)
		return;
	kinds = tex_new_array(sizeof(Datum), judges->n, 0);
	hours = tex_new_array(sizeof(Datum), judges->n, 0);
	for (int32 i = 0; i < judges->n; i++)
	{
		kinds[i] = CStringGetTextDatum(tex_kind_name(judges->list[i]->key.kind));
		hours[i] = TimestampTzGetDatum(judges->list[i]->key.hour);
	}
	args[0] = names_array(judges, offsetof(struct TexJudgeKey, service));
	args[1] = tex_value_array(kinds, NULL, judges->n, TEXTOID);
	args[2] = names_array(judges, offsetof(struct TexJudgeKey, operation));
	args[3] = tex_value_array(hours, NULL, judges->n, TIMESTAMPTZOID);
	if (plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare(baselines_query, lengthof(types), types);

		if (made == NULL || SPI_keepplan(made) != 0)
			elog(ERROR, "could not prepare the question for baselines");
		plan = made;
	}
	SPI_execute_plan(plan, args, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		take_baseline(judges, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_freetuptable(SPI_tuptable);
}
