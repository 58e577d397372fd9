/*
 * detect.c
 *		The part of detect() that looks: the pairs of some traces, for findings.
 *
 * detect() (sql/61_findings.sql) decides which traces to look at again and keeps
 * what comes out; see there for why any order and split of batches ends the same.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "overlaps.h"
#include "race_rows.h"
#include "races.h"

#define PAIR_COLUMNS	14

PG_FUNCTION_INFO_V1(tex_pairs_of_traces);

static void
load_array(TexHistory *history, ArrayType *array, TexRole role)
{
	Datum	   *elements;
	bool	   *isnull;
	pg_uuid_t  *ids;
	int			n;
	int			count = 0;

	deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &elements, &isnull, &n);
	ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (!isnull[i])
			ids[count++] = *DatumGetUUIDP(elements[i]);
	for (int i = 0; i < count; i += TEX_TRACES_AT_ONCE)
		tex_history_load(history, &ids[i], Min(TEX_TRACES_AT_ONCE, count - i), role);
}

/* Which of two code places comes first does not matter where neither's role does. */
static bool
is_symmetric(TexPattern pattern)
{
	return pattern == TEX_WRITE_WRITE || pattern == TEX_READ_WRITE || pattern == TEX_POTENTIAL_RACE;
}

static void
set_text(Datum *values, bool *isnull, int column, const char *text)
{
	isnull[column] = text == NULL;
	if (text)
		values[column] = CStringGetTextDatum(text);
}

static void
return_pair(const TexRaceRow *row, ReturnSetInfo *result)
{
	Datum		values[PAIR_COLUMNS] = {0};
	bool		isnull[PAIR_COLUMNS] = {0};
	const char *location1 = row->ends[0].location;
	const char *location2 = row->ends[1].location;
	bool		swap = is_symmetric(row->pattern) &&
		strcmp(location1 ? location1 : "", location2 ? location2 : "") > 0;

	set_text(values, isnull, 0, tex_pattern_name(row->pattern));
	set_text(values, isnull, 1, row->variable);
	set_text(values, isnull, 2, swap ? location2 : location1);
	set_text(values, isnull, 3, swap ? location1 : location2);
	set_text(values, isnull, 4, tex_pattern_severity(row->pattern));
	values[5] = Float8GetDatum(row->confidence / 10.0);
	values[6] = BoolGetDatum(row->confirmed);
	values[7] = UUIDPGetDatum(&row->ends[0].trace_id);
	values[8] = UUIDPGetDatum(&row->ends[1].trace_id);
	values[9] = UUIDPGetDatum(&row->ends[0].id);
	values[10] = UUIDPGetDatum(&row->ends[1].id);
	values[11] = TimestampTzGetDatum(row->ends[0].at);
	values[12] = TimestampTzGetDatum(row->ends[1].at);
	set_text(values, isnull, 13, row->evidence);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/*
 * pairs_of_traces(home uuid[], rivals uuid[], others uuid[], max_pairs int): the
 * pairs with an end in a home trace and none in the others, up to max_pairs of one
 * variable between two traces.
 */
Datum
tex_pairs_of_traces(PG_FUNCTION_ARGS)
{
	TexRacesOptions options = {.variable = TEX_NO_NAME,.max_pairs = PG_INT64_MAX,
		.max_per_trace = PG_GETARG_INT32(3),.potential = tex_potential_races};
	TexHistory *history;
	TexRaceRows *rows;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	history = tex_history_create();
	rows = tex_rows_create();
	load_array(history, PG_GETARG_ARRAYTYPE_P(0), TEX_ROLE_HOME);
	load_array(history, PG_GETARG_ARRAYTYPE_P(1), TEX_ROLE_RIVAL);
	load_array(history, PG_GETARG_ARRAYTYPE_P(2), TEX_ROLE_CONTEXT);
	tex_history_prepare(history);
	tex_rows_add(rows, tex_races_find(history, &options));
	for (int64 i = 0; i < rows->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		return_pair(&rows->rows[i], (ReturnSetInfo *) fcinfo->resultinfo);
	}
	SPI_finish();
	return (Datum) 0;
}
