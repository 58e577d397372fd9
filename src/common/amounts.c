/*
 * amounts.c
 *		Numbers and durations as people read them: the one place that decides how.
 *
 * Four digits that matter, so that two that differ look different, and whole numbers
 * with commas from 1,000 on.  A duration is in the unit that suits it.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "utils/builtins.h"

#include "common/amounts.h"

PG_FUNCTION_INFO_V1(tex_number_text);
PG_FUNCTION_INFO_V1(tex_duration_text);

/* A whole number with a comma before each three digits. */
static void
say_in_groups(StringInfo text, double value)
{
	char	   *digits = psprintf("%.0f", fabs(value));
	int			len = strlen(digits);

	if (value < 0)
		appendStringInfoChar(text, '-');
	for (int i = 0; i < len; i++)
	{
		if (i > 0 && (len - i) % 3 == 0)
			appendStringInfoChar(text, ',');
		appendStringInfoChar(text, digits[i]);
	}
	pfree(digits);
}

/* Any number, also one of which nobody would write all digits, or that is none. */
void
tex_say_number(StringInfo text, double value)
{
	double		size = fabs(value);

	if (isnan(value))
		appendStringInfoString(text, "NaN");
	else if (isinf(value))
		appendStringInfoString(text, value > 0 ? "Infinity" : "-Infinity");
	else if (size == 0)
		appendStringInfoChar(text, '0');	/* not -0 */
	else if (size >= 1e15 || size < 1e-4)
		appendStringInfo(text, "%.3g", value);
	else if (size >= 999.95)	/* what four digits show as 1000 */
		say_in_groups(text, value);
	else
		appendStringInfo(text, "%.4g", value);
}

/* A duration of so many milliseconds. */
void
tex_say_ms(StringInfo text, double ms)
{
	static const struct
	{
		double		until;		/* less than so many milliseconds are told in it */
		double		ms;			/* that it has */
		const char *name;
	}			units[] = {
		{1, 1e-3, "us"},
		{1e3, 1, "ms"},
		{60e3, 1e3, "s"},
		{3600e3, 60e3, "min"},
		{48 * 3600e3, 3600e3, "h"},
		{INFINITY, 24 * 3600e3, "days"}
	};
	size_t		unit = ms == 0 ? 1 : 0;

	while (unit < lengthof(units) - 1 && fabs(ms) >= units[unit].until)
		unit++;
	tex_say_number(text, ms / units[unit].ms);
	appendStringInfoChar(text, ' ');
	appendStringInfoString(text, units[unit].name);
}

/* number_text(value double precision) */
Datum
tex_number_text(PG_FUNCTION_ARGS)
{
	StringInfoData text;

	initStringInfo(&text);
	tex_say_number(&text, PG_GETARG_FLOAT8(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(text.data, text.len));
}

/* duration_text(ms double precision) */
Datum
tex_duration_text(PG_FUNCTION_ARGS)
{
	StringInfoData text;

	initStringInfo(&text);
	tex_say_ms(&text, PG_GETARG_FLOAT8(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(text.data, text.len));
}
