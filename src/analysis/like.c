/*
 * like.c
 *		What is the same but for its numbers and literals.
 *
 * A quoted literal, a number and an id (hex digits, eight or more, one of them a decimal
 * one) become {}; of a URL what follows the question mark goes.  Letters and digits
 * that begin with a letter are a name and stay.
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"

#include "analysis/like.h"

/* As long as that are ids of eight hex digits and more. */
#define SHORTEST_ID 8

static bool
is_word(char c)
{
	return isalnum((unsigned char) c) || c == '_' || IS_HIGHBIT_SET(c);
}

/* The end of a literal that begins at p: doubled quotes are part of it, as is all where it is not ended. */
static const char *
literal_end(const char *p)
{
	for (p++; *p != '\0'; p++)
	{
		if (*p != '\'')
			continue;
		if (p[1] != '\'')
			return p + 1;
		p++;
	}
	return p;
}

/* The end of a number or an id that begins at p, or p. */
static const char *
value_end(const char *p)
{
	const char *end = p;
	const char *word = p;
	int			digits = 0;

	/* An id may have hyphens. */
	while (isxdigit((unsigned char) *end) || (*end == '-' && isxdigit((unsigned char) end[1]) && end > p))
		digits += isdigit((unsigned char) *end++) != 0;
	if (end - p >= SHORTEST_ID && digits > 0 && !is_word(*end))
		return end;
	if (!isdigit((unsigned char) *p))
		return p;
	while (is_word(*word) || (*word == '.' && isdigit((unsigned char) word[1])))
		word++;
	return word;
}

/*
 * The number of an event's name without its values.  Adds the string to the history's, so
 * no number of it is given out before.
 */
int32
tex_like_name(TexHistory *history, const TexEvent *event)
{
	const char *p = tex_history_text(history, event->name);
	StringInfoData text;
	int32		number;

	if (p == NULL || event->kind == TEX_HTTP_RESPONSE)
		return event->name;		/* a status tells apart */
	initStringInfo(&text);
	while (*p != '\0' && !(event->kind == TEX_HTTP_REQUEST && *p == '?'))
	{
		const char *end = *p == '\'' && event->kind == TEX_DATABASE_QUERY ? literal_end(p) : value_end(p);

		if (end > p)
		{
			appendStringInfoString(&text, "{}");
			p = end;
			continue;
		}
		/* A name, or one of all other characters. */
		do
			appendStringInfoChar(&text, *p++);
		while (is_word(p[-1]) && is_word(*p));
	}
	number = tex_strings_add(history->names, text.data, text.len);
	pfree(text.data);
	return number;
}
