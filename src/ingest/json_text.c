/*
 * json_text.c
 *		Where things end in a text of JSON, told by brackets and quotes only.
 *
 * What is between is not looked at: whoever reads it says what is wrong there.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "ingest/json_text.h"

/* How often a long value is asked whether the query was cancelled. */
#define CHECK_EVERY 65536

/* The end of the string that begins at p, after its closing quote; NULL where it has none. */
const char *
tex_json_string_end(const char *p, const char *end)
{
	for (p++; p < end; p++)
	{
		if (*p == '"')
			return p + 1;
		if (*p == '\\')
			p++;
	}
	return NULL;
}

/* The end of the value that begins at p, without white space after it; NULL, and why, where it has none. */
const char *
tex_json_value_end(const char *p, const char *end, const char **why)
{
	const char *start = p;
	int64		open = 0;
	int			steps = 0;

	while (p < end)
	{
		char		c = *p;

		if (c == '"')
		{
			p = tex_json_string_end(p, end);
			if (p == NULL)
			{
				*why = "A string does not end.";
				return NULL;
			}
		}
		else if (c == '{' || c == '[')
		{
			open++;
			p++;
		}
		else if (c == '}' || c == ']' || c == ',')
		{
			if (open == 0)
				break;
			open -= c != ',';
			p++;
		}
		else
		{
			p++;
			continue;
		}
		if (open == 0 && c != ',')
			return p;
		if (++steps % CHECK_EVERY == 0)
			CHECK_FOR_INTERRUPTS();
	}
	while (p > start && tex_json_skip_space(p - 1, p) == p)
		p--;
	*why = open != 0 ? "A bracket is not closed." : "A value is missing.";
	return open == 0 && p > start ? p : NULL;
}
