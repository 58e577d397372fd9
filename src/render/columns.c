/*
 * columns.c
 *		Bars, sparklines and columns of text, for queries that draw: bar(), sparkline().
 *
 * What depends on the client's encoding is no more than stable.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "analysis/sink.h"
#include "render/cells.h"
#include "render/text.h"

#define MOST_WIDTH 1000

PG_FUNCTION_INFO_V1(tex_bar);
PG_FUNCTION_INFO_V1(tex_sparkline);
PG_FUNCTION_INFO_V1(tex_cell);
PG_FUNCTION_INFO_V1(tex_wrap);

/* A width as an argument; "least" and MOST_WIDTH are its bounds. */
static int
width_argument(FunctionCallInfo fcinfo, int argument, int least)
{
	int64		width = PG_GETARG_INT64(argument);

	if (width < least || width > MOST_WIDTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("width must be between %d and %d", least, MOST_WIDTH)));
	return (int) width;
}

/* bar(value double precision, max double precision, width bigint) */
Datum
tex_bar(PG_FUNCTION_ARGS)
{
	double		value = PG_GETARG_FLOAT8(0);
	double		max = PG_GETARG_FLOAT8(1);
	int			width = width_argument(fcinfo, 2, 1);
	const TexGlyphs *glyphs = tex_glyphs();
	StringInfoData bar;
	double		part = value >= max ? 1.0 : value / max;
	int			eighths;

	if (isnan(value) || isnan(max))
		PG_RETURN_NULL();
	initStringInfo(&bar);
	if (value > 0 && max > 0)
	{
		/* What is there is seen. */
		eighths = Max(1, (int) rint(part * width * 8));
		for (; eighths > 0; eighths -= 8)
			appendStringInfoString(&bar, glyphs->eighths[Min(8, eighths)]);
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(bar.data, bar.len));
}

/* Whether an element of an array is a number. */
static bool
is_number(const Datum *values, const bool *isnull, int i)
{
	return !isnull[i] && !isnan(DatumGetFloat8(values[i]));
}

/* sparkline("values" double precision[]) */
Datum
tex_sparkline(PG_FUNCTION_ARGS)
{
	const TexGlyphs *glyphs = tex_glyphs();
	StringInfoData line;
	Datum	   *values;
	bool	   *isnull;
	int			n;
	double		low = 0;
	double		high = 0;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &values, &isnull, &n);
	for (int i = 0; i < n; i++)
	{
		/* Infinities are drawn as the ends, and set no scale. */
		if (!is_number(values, isnull, i) || isinf(DatumGetFloat8(values[i])))
			continue;
		low = Min(low, DatumGetFloat8(values[i]));
		high = Max(high, DatumGetFloat8(values[i]));
	}
	initStringInfo(&line);
	for (int i = 0; i < n; i++)
	{
		double		value;
		double		part;

		CHECK_FOR_INTERRUPTS();
		if (!is_number(values, isnull, i))
		{
			appendStringInfoChar(&line, ' ');
			continue;
		}
		value = Min(high, Max(low, DatumGetFloat8(values[i])));
		/* By halves, as the difference of two numbers may not be one. */
		part = high > low ? (value / 2 - low / 2) / (high / 2 - low / 2) : 0;
		appendStringInfoString(&line, glyphs->sparks[Min(7, Max(0, (int) rint(part * 7)))]);
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(line.data, line.len));
}

/*
 * cell(value text, width bigint): clean, and as many columns wide as said; with a width
 * below 0 at the right.
 */
Datum
tex_cell(PG_FUNCTION_ARGS)
{
	int			width = width_argument(fcinfo, 1, -MOST_WIDTH);
	int			columns = abs(width);
	TexCells	cells = {0};
	StringInfoData shown;
	StringInfoData cell;

	initStringInfo(&shown);
	initStringInfo(&cell);
	tex_cells_begin(&cells, 0, false);
	if (!PG_ARGISNULL(0))
	{
		char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(0));

		tex_cells_clip(&cells, &shown, value, columns);
	}
	columns -= tex_width(shown.data);
	if (width < 0)
		appendStringInfoSpaces(&cell, columns);
	appendStringInfoString(&cell, shown.data);
	if (width > 0)
		appendStringInfoSpaces(&cell, columns);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(cell.data, cell.len));
}

/* wrap(value text, width bigint): clean, in lines of so many columns, broken at blanks. */
Datum
tex_wrap(PG_FUNCTION_ARGS)
{
	int			width;
	TexCells	cells = {0};
	TexSink    *sink;
	StringInfoData clean;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	width = width_argument(fcinfo, 1, 10);
	sink = tex_sink_to_caller(fcinfo, PG_INT64_MAX);
	tex_cells_begin(&cells, 0, false);
	initStringInfo(&clean);
	tex_clean(&clean, VARDATA_ANY(PG_GETARG_TEXT_PP(0)), VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0)), 100 * TEX_LONGEST_LABEL);
	for (char *word = strtok(clean.data, " "); word; word = strtok(NULL, " "))
	{
		int			columns = tex_width(word);

		CHECK_FOR_INTERRUPTS();
		if (cells.column > 0 && cells.column + 1 + columns > width)
			tex_cells_end(&cells, sink);
		if (cells.column > 0)
			tex_cells_pad(&cells, cells.column + 1);
		tex_cells_put(&cells, TEX_INK_NONE, word, width);
	}
	if (cells.column > 0)
		tex_cells_end(&cells, sink);
	return (Datum) 0;
}
