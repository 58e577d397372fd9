/*
 * redaction.c
 *		Where in a record its reader is, and what the rules make of what is there.
 *
 * A reader enters each member of an object by its name, has its text redacted, and leaves it; what
 * is in an array stands where the array does.  For each rule the places of its path that lead here
 * are kept for each level, so a record is walked over once, however many rules there are.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ingest/redaction.h"

/* The sets of places of the level that the reader is at. */
static uint64 *
here(TexRedaction *redaction)
{
	return redaction->places + (Size) redaction->depth * redaction->rule_count;
}

/* Goes one level down, where each rule is as it was. */
void
tex_redaction_stay(TexRedaction *redaction)
{
	Size		size = sizeof(uint64) * redaction->rule_count;

	if (redaction->depth + 1 >= redaction->room)
	{
		redaction->room *= 2;
		redaction->places = repalloc_huge(redaction->places, size * redaction->room);
	}
	memcpy(here(redaction) + redaction->rule_count, here(redaction), size);
	redaction->depth++;
}

/* Before a record of a service, which stays as long as the record is read; NULL: it is not known. */
void
tex_redaction_begin(TexRedaction *redaction, const char *service, int len)
{
	redaction->service = service;
	redaction->service_len = len;
	redaction->depth = 0;
	for (int i = 0; i < redaction->rule_count; i++)
		redaction->places[i] = tex_rule_start(redaction->rules[i], service, len);
}

/* Goes one level down by a name, and where "stays", also by none. */
static bool
enter(TexRedaction *redaction, const char *name, int len, bool stays)
{
	uint64	   *places;
	bool		keep = true;

	tex_redaction_stay(redaction);
	places = here(redaction);
	for (int i = 0; i < redaction->rule_count; i++)
	{
		const TexRule *rule = redaction->rules[i];

		places[i] = tex_rule_step(rule, places[i], name, len) | (stays ? places[i] : 0);
		if (tex_rule_drops(rule) && tex_rule_acts(rule, places[i]))
			keep = false;
	}
	return keep;
}

/* Enters a member. False where a rule drops it, whatever it is; it is to be left all the same. */
bool
tex_redaction_enter(TexRedaction *redaction, const char *name, int len)
{
	return enter(redaction, name, len, false);
}

/* Enters an element of an array that has a name, as headers do in some clients: paths may say it or not. */
bool
tex_redaction_enter_also(TexRedaction *redaction, const char *name, int len)
{
	return enter(redaction, name, len, true);
}

void
tex_redaction_leave(TexRedaction *redaction)
{
	redaction->depth--;
}

/* Has the rules that act here do so, one after the other; where it changes, the text is made anew in the current context. */
static TexRedacted
redact(TexRedaction *redaction, const char **text, int *len, bool by_pattern_only, bool everywhere)
{
	uint64	   *places = here(redaction);
	TexRedacted result = TEX_KEPT;

	for (int i = 0; i < redaction->rule_count; i++)
	{
		const TexRule *rule = redaction->rules[i];

		if (by_pattern_only && !tex_rule_has_pattern(rule))
			continue;
		if (!everywhere && !tex_rule_acts(rule, places[i]))
			continue;
		switch (tex_rule_apply(rule, text, len))
		{
			case TEX_KEPT:
				break;
			case TEX_CHANGED:
				result = TEX_CHANGED;
				break;
			case TEX_DROPPED:
				return TEX_DROPPED;
		}
	}
	return result;
}

/* The text of a value. */
TexRedacted
tex_redact_text(TexRedaction *redaction, const char **text, int *len)
{
	return redact(redaction, text, len, false, false);
}

/* The name of a member that is still to be entered, of which only patterns say something. */
TexRedacted
tex_redact_name(TexRedaction *redaction, const char **name, int *len)
{
	return redact(redaction, name, len, true, false);
}

/* A text without a place of its own, as a reason: all patterns of all rules apply. */
char *
tex_redact_loose(TexRedaction *redaction, const char *text)
{
	const char *redacted = text;
	int			len = strlen(text);

	if (redact(redaction, &redacted, &len, true, true) == TEX_DROPPED)
		return pstrdup("(dropped)");
	return pnstrdup(redacted, len);
}
