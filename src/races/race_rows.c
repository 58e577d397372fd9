/*
 * race_rows.c
 *		Races as they are shown: free of the history they were found in.
 */
#include "postgres.h"

#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "races/evidence.h"
#include "races/proof.h"
#include "races/race_rows.h"

#define END_COLUMNS		7
#define END_ACCESS		4		/* followed by the value */
/* The last columns repeat access and value of both ends by the names of the table. */
#define EVIDENCE_COLUMN	(4 + 2 * END_COLUMNS)
#define ROW_COLUMNS		(EVIDENCE_COLUMN + 1 + 4)

static const char *const access_names[] = {
	[TEX_READ] = "Read",
	[TEX_WRITE] = "Write",
	[TEX_ATOMIC_READ] = "AtomicRead",
	[TEX_ATOMIC_WRITE] = "AtomicWrite",
	[TEX_ATOMIC_RMW] = "AtomicRMW",
};

/* No rows yet; what is added is copied into the current memory context and outlives its history. */
TexRaceRows *
tex_rows_create(void)
{
	TexRaceRows *rows = palloc0(sizeof(TexRaceRows));

	rows->context = CurrentMemoryContext;
	return rows;
}

/* A name of the history, or NULL. */
static const char *
copy_name(const TexRaces *races, int32 name)
{
	return name == TEX_NO_NAME ? NULL : pstrdup(tex_history_text(races->history, name));
}

/* What is shown of an access, copied. */
static TexRaceEnd
make_end(const TexRaces *races, int32 access)
{
	const TexEvent *event = tex_access_event(races, access);
	Jsonb	   *value = tex_value_of(event);
	TexRaceEnd	end = {.id = event->id,.at = event->at,.access = event->access};

	end.trace_id = races->history->traces[event->trace].id;
	end.thread = copy_name(races, event->thread_name);
	end.location = copy_name(races, event->data->location);
	end.value_left_out = event->data->value_left_out;
	if (value)
	{
		end.value = palloc(VARSIZE(value));
		memcpy(end.value, value, VARSIZE(value));
	}
	return end;
}

/* Room for one more row. */
static TexRaceRow *
new_row(TexRaceRows *rows)
{
	if (rows->n == rows->room)
	{
		rows->room = Max(64, rows->room * 2);
		rows->rows = rows->rows == NULL ?
			MemoryContextAllocHuge(rows->context, sizeof(TexRaceRow) * rows->room) :
			repalloc_huge(rows->rows, sizeof(TexRaceRow) * rows->room);
	}
	return &rows->rows[rows->n++];
}

/*
 * Judge the pairs that were kept and add them.
 */
void
tex_rows_add(TexRaceRows *rows, const TexRaces *races)
{
	TexFailures *failures;

	if (races->npairs == 0)
		return;
	failures = tex_failures_collect(races->history);
	for (int64 i = 0; i < races->npairs; i++)
	{
		const TexPair *pair = &races->pairs[i];
		MemoryContext old = MemoryContextSwitchTo(rows->context);
		TexVerdict	verdict = tex_judge(races, failures, pair);
		TexRaceRow *row = new_row(rows);
		bool		swap;

		CHECK_FOR_INTERRUPTS();
		row->pattern = verdict.pattern;
		row->confidence = verdict.confidence;
		row->variable = copy_name(races, tex_access_event(races, pair->first)->name);
		/* Causes may carry later times than effects; shown is what the clocks say. */
		swap = tex_access_event(races, pair->second)->at < tex_access_event(races, pair->first)->at;
		row->ends[0] = make_end(races, swap ? pair->second : pair->first);
		row->ends[1] = make_end(races, swap ? pair->first : pair->second);
		row->evidence = tex_evidence(races, pair, &verdict);
		MemoryContextSwitchTo(old);
	}
}

/* By time, else by ids, so that the same races are shown in the same order. */
static int
compare_ends(const TexRaceEnd *a, const TexRaceEnd *b)
{
	int			order;

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	order = memcmp(&a->trace_id, &b->trace_id, sizeof(pg_uuid_t));
	return order != 0 ? order : memcmp(&a->id, &b->id, sizeof(pg_uuid_t));
}

/* Worst first, then surest, then earliest. */
static int
compare_rows(const void *a, const void *b)
{
	const TexRaceRow *x = a;
	const TexRaceRow *y = b;
	int			order = tex_pattern_rank(x->pattern) - tex_pattern_rank(y->pattern);

	CHECK_FOR_INTERRUPTS();
	if (order == 0)
		order = y->confidence - x->confidence;
	if (order == 0)
		order = compare_ends(&x->ends[0], &y->ends[0]);
	if (order == 0)
		order = compare_ends(&x->ends[1], &y->ends[1]);
	return order;
}

/* Sorts the rows worst first, as they are shown. */
void
tex_rows_sort(TexRaceRows *rows)
{
	if (rows->n > 1)
		qsort(rows->rows, rows->n, sizeof(TexRaceRow), compare_rows);
}

/* A value that was too long to carry along. */
static void
fetch_value(const TexRaceEnd *end, Datum *value, bool *isnull)
{
	Oid			types[3] = {UUIDOID, UUIDOID, TIMESTAMPTZOID};
	Datum		args[3] = {UUIDPGetDatum(&end->trace_id), UUIDPGetDatum(&end->id),
	TimestampTzGetDatum(end->at)};

	SPI_execute_with_args("SELECT attributes OPERATOR(pg_catalog.->) 'new_value' FROM trace_ext.events "
						  "WHERE trace_id OPERATOR(pg_catalog.=) $1 AND id OPERATOR(pg_catalog.=) $2 "
						  "AND \"timestamp\" OPERATOR(pg_catalog.=) $3",
						  3, types, args, NULL, true, 1);
	*isnull = true;
	if (SPI_processed == 1)
		*value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
}

/* A column that is null where there is no text. */
static void
set_text(Datum *value, bool *isnull, const char *text)
{
	*isnull = text == NULL;
	if (text)
		*value = CStringGetTextDatum(text);
}

/* An access type as a value of the enum of that oid. */
Datum
tex_access_datum(Oid type, TexAccessType access)
{
	return ObjectIdGetDatum(GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
											ObjectIdGetDatum(type),
											CStringGetDatum(access_names[access])));
}

/* The columns of one end of a pair, from "column" on. */
static void
set_end(const TexRaceEnd *end, TupleDesc desc, int column, Datum *values, bool *isnull)
{
	values[column] = UUIDPGetDatum(&end->id);
	values[column + 1] = UUIDPGetDatum(&end->trace_id);
	values[column + 2] = TimestampTzGetDatum(end->at);
	set_text(&values[column + 3], &isnull[column + 3], end->thread);
	values[column + 4] = tex_access_datum(TupleDescAttr(desc, column + 4)->atttypid, end->access);
	isnull[column + 5] = end->value == NULL;
	if (end->value)
		values[column + 5] = JsonbPGetDatum(end->value);
	else if (end->value_left_out)
		fetch_value(end, &values[column + 5], &isnull[column + 5]);
	set_text(&values[column + 6], &isnull[column + 6], end->location);
}

/* access_type and new_value of an end that is at "from". */
static void
repeat_end(int from, int to, Datum *values, bool *isnull)
{
	memcpy(&values[to], &values[from + END_ACCESS], 2 * sizeof(Datum));
	memcpy(&isnull[to], &isnull[from + END_ACCESS], 2 * sizeof(bool));
}

/*
 * Return the first rows as the result of find_races() and its like.  Call within
 * an SPI connection.
 */
void
tex_rows_return(const TexRaceRows *rows, int64 limit, ReturnSetInfo *result)
{
	TupleDesc	desc = result->setDesc;

	Assert(desc->natts == ROW_COLUMNS);
	for (int64 i = 0; i < Min(rows->n, limit); i++)
	{
		const TexRaceRow *row = &rows->rows[i];
		Datum		values[ROW_COLUMNS] = {0};
		bool		isnull[ROW_COLUMNS] = {0};

		CHECK_FOR_INTERRUPTS();
		set_text(&values[0], &isnull[0], tex_pattern_name(row->pattern));
		set_text(&values[1], &isnull[1], row->variable);
		set_text(&values[2], &isnull[2], tex_pattern_severity(row->pattern));
		values[3] = Float8GetDatum(row->confidence / 10.0);
		set_end(&row->ends[0], desc, 4, values, isnull);
		set_end(&row->ends[1], desc, 4 + END_COLUMNS, values, isnull);
		set_text(&values[EVIDENCE_COLUMN], &isnull[EVIDENCE_COLUMN], row->evidence);
		repeat_end(4, EVIDENCE_COLUMN + 1, values, isnull);
		repeat_end(4 + END_COLUMNS, EVIDENCE_COLUMN + 3, values, isnull);
		tuplestore_putvalues(result->setResult, desc, values, isnull);
	}
}
