/*
 * list_base.c
 *		Traces as the base has them that pass a filter, newest first, at a cost that
 *		follows from how many pass.
 *
 * Where is what overlaps a time.  A trace passes if it started by one time and ended
 * at another or later: since and until say so, and so does a variable, which was
 * accessed first and last at some time.  The list goes by the last event, and the
 * index by that time does for all that ran no longer than 10 s: their last event is
 * in that time, or within 10 s of it.  What ran longer and has its last event outside
 * runs at one of the two ends, and another index has what ran long at an instant.  So
 * the list comes in three stages, each below the one before:
 *	- late ends: ran long, at "until", with their last event more than 10 s after it;
 *	- the walk: of the index by last event, from there down to 10 s before "since";
 *	- early ends: ran long, at "since", with their last event more than 10 s before.
 *
 * Whether to walk.  A page is soon full where many traces pass, and the walk passes
 * over all others where few do.  Few are found by an index of their own (by duration,
 * by name, by id, by variable) and sorted, which costs as many as there are.  No
 * statistics tell which is better, as what passes may all be old.  So the walk goes in
 * stretches: before each one the indexes are asked whether they have more than so many
 * traces, and where one has not, those are the rest of the list.  Else a few times as
 * many are walked, and each time the number grows.  So the cost is that of the better
 * way, a few times at most.
 *
 * Errors need none of this: the index to walk has only traces with errors.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "store/list_base.h"
#include "store/trace_range.h"
#include "store/variable.h"

/* Rows of base that are fetched at once: a page as most ask for it, and not many more. */
#define FETCH_ROWS 32
/* The first time, so many traces are few; the walk then goes over some times as many. */
#define FIRST_FEW 100
#define WALKED_BY_FEW 4
#define GROWTH 4

#define NEWEST_FIRST " ORDER BY last_timestamp DESC, trace_id DESC"
#define NO_OTHER_WAY " OFFSET 0) AS b WHERE true"

typedef enum Stage
{
	LATE_ENDS, WALK, EARLY_ENDS, LAST
} Stage;

/* The indexes that may have few traces. */
typedef enum Way
{
	BY_ID, BY_DURATION, BY_NAME, BY_VARIABLE, WAYS
} Way;

struct TexListBase
{
	const TexListFilter *filter;
	Stage		stage;			/* that is opened next */
	TexListKey	below;			/* all that passes and is not below it was opened */
	TimestampTz started_by;		/* what passes started by then, */
	TimestampTz ended_from;		/* and ended then or later */
	int64		few;
	bool		asked_last;		/* the variable's last access is in started_by, */
	bool		asked_first;	/* and its first one in ended_from */
	TexVariable *variable;		/* or NULL */
	Portal		portal;			/* of what was opened, or NULL */
	TexSummarySet *fetched;		/* the last rows read from it */
	TexSummary **rows;
	int			row_count;
	int			next;
	MemoryContext context;
	MemoryContext fetch_context;	/* of "fetched", reset by the next fetch */
};

/* ----------------------------------------------------------------
 *		Stages
 * ----------------------------------------------------------------
 */
/* Outside of these, the last event is of a trace that ran long. */
static TimestampTz
walk_from(const TexListBase *base)
{
	return tex_time_plus(base->started_by, TEX_LONG_TRACE);
}

static TimestampTz
walk_to(const TexListBase *base)
{
	return tex_time_plus(base->ended_from, -TEX_LONG_TRACE);
}

static void
open_cursor(TexListBase *base, TexListQuery *query)
{
	appendStringInfoString(&query->text, NEWEST_FIRST);
	base->portal = SPI_cursor_open_with_args(NULL, query->text.data, query->n, query->types, query->values,
											 NULL, true, CURSOR_OPT_FAST_PLAN);
}

/* Begins a query of what ran long, at an instant. */
static void
begin_long(TexListQuery *query, const char *columns, TimestampTz at)
{
	tex_list_query_begin(query);
	appendStringInfo(&query->text, "SELECT %s FROM (SELECT * FROM trace_ext.summary_base"
					 " WHERE trace_ext_internal.is_long_trace(started_at, ended_at)", columns);
	tex_list_query_add(query, " AND pg_catalog.tstzrange(started_at, ended_at, '[]') OPERATOR(pg_catalog.@>) $" NO_OTHER_WAY,
					   TIMESTAMPTZOID, TimestampTzGetDatum(at));
}

/* Adds the bounds of each stage; the one before it has what is not below base->below. */
static void
bound_late_ends(TexListQuery *query, const TexListBase *base)
{
	tex_list_query_add(query, " AND last_timestamp OPERATOR(pg_catalog.>) $",
					   TIMESTAMPTZOID, TimestampTzGetDatum(walk_from(base)));
}

static void
bound_walk(TexListQuery *query, const TexListBase *base)
{
	if (base->ended_from != DT_NOBEGIN)
		tex_list_query_add(query, " AND last_timestamp OPERATOR(pg_catalog.>=) $",
						   TIMESTAMPTZOID, TimestampTzGetDatum(walk_to(base)));
}

static void
bound_early_ends(TexListQuery *query, const TexListBase *base)
{
	tex_list_query_add(query, " AND last_timestamp OPERATOR(pg_catalog.<) $",
					   TIMESTAMPTZOID, TimestampTzGetDatum(walk_to(base)));
}

/* What comes after late ends is below them. */
static void
leave_late_ends(TexListBase *base)
{
	TexListKey	end = {.last_timestamp = tex_time_plus(walk_from(base), 1)};

	if (tex_list_compare(end.last_timestamp, &end.trace_id,
						 base->below.last_timestamp, &base->below.trace_id) < 0)
		base->below = end;
}

static void
open_late_ends(TexListBase *base)
{
	TexListQuery query;

	begin_long(&query, TEX_LIST_COLUMNS, base->started_by);
	bound_late_ends(&query, base);
	tex_list_query_key(&query, "<", &base->below);
	tex_list_query_filter(&query, base->filter);
	open_cursor(base, &query);
	leave_late_ends(base);
}

static void
open_early_ends(TexListBase *base)
{
	TexListQuery query;

	begin_long(&query, TEX_LIST_COLUMNS, base->ended_from);
	bound_early_ends(&query, base);
	tex_list_query_key(&query, "<", &base->below);
	tex_list_query_filter(&query, base->filter);
	open_cursor(base, &query);
}

/* Without a filter there is one way, planned once. */
static void
open_whole_walk(TexListBase *base)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {TIMESTAMPTZOID, UUIDOID};
	Datum		values[] = {
		TimestampTzGetDatum(base->below.last_timestamp), UUIDPGetDatum(&base->below.trace_id)
	};

	if (plan == NULL)
	{
		plan = SPI_prepare_cursor("SELECT " TEX_LIST_COLUMNS " FROM trace_ext.summary_base"
								  " WHERE (last_timestamp, trace_id) OPERATOR(pg_catalog.<) ($1, $2)" NEWEST_FIRST,
								  2, types, CURSOR_OPT_FAST_PLAN | CURSOR_OPT_GENERIC_PLAN);
		if (plan == NULL)
			elog(ERROR, "could not prepare the walk of summary_base");
		SPI_keepplan(plan);
	}
	base->portal = SPI_cursor_open(NULL, plan, values, NULL, true);
}

/*
 * The place in the list so many rows of the walked index further down; false where
 * it ends before.
 */
static bool
find_end_of_stretch(TexListBase *base, int64 rows, TexListKey *end)
{
	TexListQuery query;
	bool		isnull;

	tex_list_query_begin(&query);
	appendStringInfoString(&query.text, "SELECT last_timestamp, trace_id FROM trace_ext.summary_base WHERE true");
	tex_list_query_key(&query, "<", &base->below);
	bound_walk(&query, base);
	if (base->filter->errors_only)
		appendStringInfoString(&query.text, " AND error_count OPERATOR(pg_catalog.>) 0");
	appendStringInfo(&query.text, NEWEST_FIRST " OFFSET " INT64_FORMAT " LIMIT 1", rows - 1);
	if (SPI_execute_with_args(query.text.data, query.n, query.types, query.values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not walk summary_base");
	if (SPI_processed == 0)
		return false;
	end->last_timestamp = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	end->trace_id = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/* Opens the next so many rows of the walk; 0: all of them.  False: that was the end. */
static bool
open_stretch(TexListBase *base, int64 rows)
{
	TexListQuery query;
	TexListKey	end;
	bool		has_end = rows > 0 && find_end_of_stretch(base, rows, &end);

	tex_list_query_begin(&query);
	appendStringInfoString(&query.text, "SELECT " TEX_LIST_COLUMNS " FROM trace_ext.summary_base WHERE true");
	tex_list_query_key(&query, "<", &base->below);
	bound_walk(&query, base);
	tex_list_query_filter(&query, base->filter);
	if (has_end)
		tex_list_query_key(&query, ">=", &end);
	open_cursor(base, &query);
	if (has_end)
		base->below = end;
	return has_end;
}

/* ----------------------------------------------------------------
 *		Few
 * ----------------------------------------------------------------
 */

/* Does the filter ask for what that index knows? */
static bool
has_way(const TexListFilter *filter, Way way)
{
	switch (way)
	{
		case BY_ID:
			return filter->has_search;
		case BY_DURATION:
			return filter->min_duration_ms > 0;
		case BY_NAME:
			return filter->name && VARSIZE_ANY_EXHDR(filter->name_prefix) > 0;
		default:
			return filter->variable != NULL;
	}
}

/* A pattern that matches what begins with a text. */
static text *
pattern_of_prefix(text *prefix)
{
	StringInfoData pattern;
	const char *at = VARDATA_ANY(prefix);
	const char *end = at + VARSIZE_ANY_EXHDR(prefix);

	initStringInfo(&pattern);
	for (; at < end; at++)
	{
		if (*at == '%' || *at == '_' || *at == '\\')
			appendStringInfoChar(&pattern, '\\');
		appendStringInfoChar(&pattern, *at);
	}
	appendStringInfoChar(&pattern, '%');
	return cstring_to_text_with_len(pattern.data, pattern.len);
}

/*
 * Adds what is looked up in that index: all that passes the filter, and maybe more.
 */
static void
add_way(TexListQuery *query, const TexListBase *base, Way way)
{
	const TexListFilter *f = base->filter;

	switch (way)
	{
		case BY_ID:
			tex_list_query_add(query, "trace_id OPERATOR(pg_catalog.>=) $", UUIDOID, UUIDPGetDatum(&f->lowest));
			tex_list_query_add(query, " AND trace_id OPERATOR(pg_catalog.<=) $", UUIDOID, UUIDPGetDatum(&f->highest));
			break;
		case BY_DURATION:
			tex_list_query_add(query, "trace_ext_internal.duration_ms(started_at, ended_at) OPERATOR(pg_catalog.>=) $",
							   FLOAT8OID, Float8GetDatum(f->min_duration_ms));
			break;
		case BY_NAME:
			/* The 200 of the index is TEX_NAME_INDEXED. */
			if (f->name_is_prefix)
				tex_list_query_add(query, "pg_catalog.\"left\"(root_name, 200) OPERATOR(pg_catalog.~~) $",
								   TEXTOID, PointerGetDatum(pattern_of_prefix(f->name_prefix)));
			else
				tex_list_query_add(query, "pg_catalog.\"left\"(root_name, 200) OPERATOR(pg_catalog.=) $",
								   TEXTOID, PointerGetDatum(f->name_prefix));
			break;
		default:
			tex_list_query_add(query, "trace_id OPERATOR(pg_catalog.=) ANY ($)", UUIDARRAYOID, tex_variable_traces(base->variable));
	}
}

/* Does that index have no more than base->few? */
static bool
has_few(TexListBase *base, Way way)
{
	TexListQuery query;
	bool		isnull;
	int64		n;

	if (way == BY_VARIABLE)
		return tex_variable_is_known(base->variable, base->few);
	tex_list_query_begin(&query);
	appendStringInfoString(&query.text, "SELECT pg_catalog.count(*) FROM (SELECT FROM trace_ext.summary_base WHERE ");
	add_way(&query, base, way);
	appendStringInfo(&query.text, " LIMIT " INT64_FORMAT ") AS b", base->few + 1);
	if (SPI_execute_with_args(query.text.data, query.n, query.types, query.values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not search summary_base");
	n = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return n <= base->few;
}

/* Opens all the rest, which an index has few of; false where each has more. */
static bool
open_few(TexListBase *base)
{
	for (Way way = 0; way < WAYS; way++)
	{
		TexListQuery query;

		if (!has_way(base->filter, way) || !has_few(base, way))
			continue;
		tex_list_query_begin(&query);
		appendStringInfoString(&query.text, "SELECT " TEX_LIST_COLUMNS " FROM (SELECT * FROM trace_ext.summary_base WHERE ");
		add_way(&query, base, way);
		appendStringInfoString(&query.text, NO_OTHER_WAY);
		tex_list_query_key(&query, "<", &base->below);
		tex_list_query_filter(&query, base->filter);
		open_cursor(base, &query);
		return true;
	}
	return false;
}

/* ----------------------------------------------------------------
 *		The list
 * ----------------------------------------------------------------
 */

/*
 * A variable that many traces accessed: when that was bounds the walk.  True where
 * it ends the walk so early that late ends come first.
 */
static bool
ask_variable(TexListBase *base)
{
	TimestampTz at;

	if (base->variable == NULL)
		return false;
	if (!base->asked_last)
	{
		base->asked_last = true;
		if (tex_variable_end(base->variable, BackwardScanDirection, &at) && at < base->started_by)
		{
			base->started_by = at;
			return true;
		}
	}
	/* The other end is far away, and a page may be full before. */
	else if (!base->asked_first && base->few > FIRST_FEW)
	{
		base->asked_first = true;
		if (tex_variable_end(base->variable, ForwardScanDirection, &at))
			base->ended_from = Max(base->ended_from, at);
	}
	return false;
}

/* Opens the walk, or the next stretch of it, or what makes it needless. */
static void
open_walk(TexListBase *base)
{
	bool		may_be_few = false;

	for (Way way = 0; way < WAYS; way++)
		may_be_few |= has_way(base->filter, way);
	if (!may_be_few)
	{
		if (tex_list_filter_narrows(base->filter))
			(void) open_stretch(base, 0);
		else
			open_whole_walk(base);
		base->stage = EARLY_ENDS;
		return;
	}
	if (open_few(base))
	{
		base->stage = LAST;
		return;
	}
	if (ask_variable(base))
	{
		base->stage = LATE_ENDS;
		return;
	}
	if (!open_stretch(base, base->few * WALKED_BY_FEW))
		base->stage = EARLY_ENDS;
	base->few *= GROWTH;
}

/* Opens what comes next in the list; false at its end. */
static bool
open_next(TexListBase *base)
{
	while (base->portal == NULL && base->stage != LAST)
	{
		switch (base->stage)
		{
			case LATE_ENDS:
				base->stage = WALK;
				if (base->started_by != DT_NOEND)
					open_late_ends(base);
				break;
			case WALK:
				open_walk(base);
				break;
			default:
				base->stage = LAST;
				if (base->ended_from != DT_NOBEGIN)
					open_early_ends(base);
		}
	}
	return base->portal != NULL;
}

/*
 * Begins with the newest that is below filter->before.  The filter and what is known of
 * its variable (NULL: it has none) have to stay; rights are those of the caller, whose
 * SPI connection has to stay as well.
 */
TexListBase *
tex_list_base_open(const TexListFilter *filter, TexVariable *variable)
{
	TexListBase *base = palloc0(sizeof(TexListBase));

	base->filter = filter;
	base->variable = variable;
	base->below = filter->before;
	base->started_by = filter->until;
	base->ended_from = filter->since;
	base->few = FIRST_FEW;
	base->context = CurrentMemoryContext;
	base->fetch_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext list fetch",
												ALLOCSET_DEFAULT_SIZES);
	return base;
}

/*
 * Copies the n'th row of SPI_tuptable, which has TEX_LIST_COLUMNS, into a set.
 */
TexSummary *
tex_list_read_row(TexSummarySet *set, int n)
{
	Datum		values[TEX_SUMMARY_COLUMNS];
	bool		isnull[TEX_SUMMARY_COLUMNS];

	heap_deform_tuple(SPI_tuptable->vals[n], SPI_tuptable->tupdesc, values, isnull);
	return tex_summary_add_row(set, values, isnull);
}

/* Takes the rows that were fetched from the portal. */
static void
take_rows(TexListBase *base)
{
	MemoryContext old;

	base->row_count = (int) SPI_processed;
	base->next = 0;
	MemoryContextReset(base->fetch_context);
	old = MemoryContextSwitchTo(base->fetch_context);
	base->fetched = tex_summaries_create(base->fetch_context);
	base->rows = palloc(sizeof(TexSummary *) * Max(base->row_count, 1));
	for (int i = 0; i < base->row_count; i++)
		base->rows[i] = tex_list_read_row(base->fetched, i);
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * The next trace, or NULL at the end; stays there until tex_list_base_move_on().
 */
TexSummary *
tex_list_base_peek(TexListBase *base)
{
	while (base->next >= base->row_count)
	{
		if (!open_next(base))
			return NULL;
		SPI_cursor_fetch(base->portal, true, FETCH_ROWS);
		take_rows(base);
		if (base->row_count == 0)
			tex_list_base_close(base);
	}
	return base->rows[base->next];
}

/*
 * Passes over the trace that was peeked at.
 */
void
tex_list_base_move_on(TexListBase *base)
{
	base->next++;
}

/*
 * The set that has the traces last peeked at.
 */
TexSummarySet *
tex_list_base_fetched(TexListBase *base)
{
	return base->fetched;
}

/*
 * Closes the portal, if one is open.
 */
void
tex_list_base_close(TexListBase *base)
{
	if (base->portal)
		SPI_cursor_close(base->portal);
	base->portal = NULL;
}

/* ----------------------------------------------------------------
 *		Counting
 * ----------------------------------------------------------------
 */

/* Counts what a stage has; its query lacks the filter. */
static int64
count_stage(TexListQuery *query, const TexListBase *base, Datum without)
{
	bool		isnull;
	int64		n;

	tex_list_query_key(query, "<", &base->below);
	tex_list_query_filter(query, base->filter);
	tex_list_query_add(query, " AND trace_id OPERATOR(pg_catalog.<>) ALL ($)", UUIDARRAYOID, without);
	if (base->variable)
		tex_list_query_add(query, " AND trace_id OPERATOR(pg_catalog.=) ANY ($)", UUIDARRAYOID, tex_variable_traces(base->variable));
	if (SPI_execute_with_args(query->text.data, query->n, query->types, query->values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not count in summary_base");
	n = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/*
 * How many traces of the base pass, but for some: "without" is a uuid[].
 */
int64
tex_list_base_count(const TexListFilter *filter, TexVariable *variable, Datum without)
{
	TexListBase *base = tex_list_base_open(filter, variable);
	TexListQuery query;
	int64		n = 0;

	if (variable)
		(void) tex_variable_is_known(variable, PG_INT64_MAX - 1);
	if (base->started_by != DT_NOEND)
	{
		begin_long(&query, "pg_catalog.count(*)", base->started_by);
		bound_late_ends(&query, base);
		n += count_stage(&query, base, without);
		leave_late_ends(base);
	}
	tex_list_query_begin(&query);
	appendStringInfoString(&query.text, "SELECT pg_catalog.count(*) FROM trace_ext.summary_base WHERE true");
	bound_walk(&query, base);
	n += count_stage(&query, base, without);
	if (base->ended_from != DT_NOBEGIN)
	{
		begin_long(&query, "pg_catalog.count(*)", base->ended_from);
		bound_early_ends(&query, base);
		n += count_stage(&query, base, without);
	}
	return n;
}
