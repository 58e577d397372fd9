/*
 * request.c
 *		For which request a statement was run.
 *
 * Asked are, in this order: the setting trace_ext.traceparent; a comment of the statement,
 * as sqlcommenter and OpenTelemetry's instrumentations of databases write it:
 *
 *		controller='index',traceparent='00-<trace>-<span>-01'
 *
 * (https://google.github.io/sqlcommenter/spec/: pairs between commas, each value in single
 * quotes, key and value URL-encoded, a quote in them escaped by a backslash.)  OpenTelemetry's
 * instrumentations of Python's drivers write numbers without quotes, and escape the encoding
 * for the driver by doubling its percent signs, which a driver that is given no parameters
 * leaves as they are; both are understood.  A comment is one only where SQL says so: what
 * stands in a string or a name was written by whoever filled it in, not by the program.
 *
 * A traceparent is as W3C Trace Context says.  One that is malformed is ignored and counted.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "parser/parser.h"
#include "tcop/tcopprot.h"

#include "common/hex.h"
#include "common/otlp_id.h"
#include "exchange/traceparent.h"
#include "guc.h"
#include "watch/request.h"
#include "watch/shared.h"

/* Longest value of a comment that is looked at. */
#define LONGEST_PAIR 256

/*
 * The trace and the event that a traceparent names: the first event of that span, as
 * ingest_otlp() numbers it.  False where it is malformed.
 */
static bool
read_traceparent(const char *text, size_t len, pg_uuid_t *trace, pg_uuid_t *parent)
{
	TexTraceparent header;

	if (!tex_read_traceparent(text, len, &header))
		return false;
	*trace = header.trace_id;
	tex_otlp_make_id(parent, trace->data, header.span_id, 0);
	return true;
}

/* ----------------------------------------------------------------
 *		Comments
 * ----------------------------------------------------------------
 */
/* Behind what is quoted; backslashes escape where "escapes". */
static const char *
skip_quoted(const char *p, const char *end, char quote, bool escapes)
{
	for (p++; p < end; p++)
	{
		if (escapes && *p == '\\')
			p++;
		else if (*p == quote)
		{
			if (p + 1 == end || p[1] != quote)
				return p + 1;
			p++;
		}
	}
	return end;
}

static bool
is_word(char c)
{
	return IS_HIGHBIT_SET(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Behind a string in dollar quotes, or behind the dollar where none begins. */
static const char *
skip_dollar(const char *p, const char *end)
{
	const char *tag_end = p + 1;
	size_t		len;

	while (tag_end < end && is_word(*tag_end))
		tag_end++;
	if (tag_end == end || *tag_end != '$' || (p[1] >= '0' && p[1] <= '9'))
		return p + 1;
	len = tag_end + 1 - p;
	for (const char *q = tag_end + 1; q + len <= end; q++)
	{
		q = memchr(q, '$', end - q);
		if (q == NULL || q + len > end)
			return end;
		if (memcmp(q, p, len) == 0)
			return q + len;
	}
	return end;
}

/* Behind a comment, in which others may be nested. */
static const char *
skip_comment(const char *p, const char *end)
{
	int			depth = 0;

	while (p + 1 < end)
	{
		if (p[0] == '/' && p[1] == '*')
		{
			depth++;
			p += 2;
		}
		else if (p[0] == '*' && p[1] == '/')
		{
			p += 2;
			if (--depth == 0)
				return p;
		}
		else
			p++;
	}
	return end;
}

/* The next comment from *p on, which moves behind it; false: there is none. */
static bool
next_comment(const char **p, const char *end, const char **comment, size_t *len)
{
	const char *at = *p;

	while (at < end)
	{
		if (*at == '\'')
		{
			bool		escapes = !standard_conforming_strings ||
				(at > *p && (at[-1] == 'e' || at[-1] == 'E') && (at - 1 == *p || !is_word(at[-2])));

			at = skip_quoted(at, end, '\'', escapes);
		}
		else if (*at == '"')
			at = skip_quoted(at, end, '"', false);
		else if (*at == '$' && at + 1 < end && (at == *p || !is_word(at[-1])))
			at = skip_dollar(at, end);
		else if (*at == '-' && at + 1 < end && at[1] == '-')
			while (at < end && *at != '\n')
				at++;
		else if (*at == '/' && at + 1 < end && at[1] == '*')
		{
			*comment = at + 2;
			*p = at = skip_comment(at, end);
			/* One that never ends is none. */
			if (at - *comment < 2 || at[-1] != '/' || at[-2] != '*')
				return false;
			*len = at - *comment - 2;
			return true;
		}
		else
			at++;
	}
	*p = end;
	return false;
}

/* Takes a key or value over without its escapes; -1 where it is too long or no text. */
static int
decode(const char *from, size_t len, char *to)
{
	int			n = 0;

	for (size_t i = 0; i < len; i++)
	{
		char		c = from[i];

		if (c == '\\' && i + 1 < len)
			c = from[++i];
		else if (c == '%' && i + 2 < len)
		{
			size_t		digits = from[i + 1] == '%' && i + 3 < len ? i + 2 : i + 1;
			int			high = tex_hex_digit(from[digits]);
			int			low = tex_hex_digit(from[digits + 1]);

			if (high >= 0 && low >= 0)
			{
				c = (char) (high << 4 | low);
				i = digits + 1;
			}
		}
		if (c == '\0' || n == LONGEST_PAIR)
			return -1;
		to[n++] = c;
	}
	to[n] = '\0';
	return pg_verify_mbstr(GetDatabaseEncoding(), to, n, true) ? n : -1;
}

/* What a comment says of the request, as far as it was read. */
typedef struct Pairs
{
	bool		any;			/* it has pairs at all */
	bool		has_traceparent;
	bool		malformed;
	pg_uuid_t	trace;
	pg_uuid_t	parent;
	char		route[LONGEST_PAIR + 1];
	char		controller[LONGEST_PAIR + 1];
	char		action[LONGEST_PAIR + 1];
} Pairs;

/* Takes over what a pair says. */
static void
take_pair(Pairs *pairs, const char *key, char *value, int len)
{
	if (strcmp(key, "traceparent") == 0)
	{
		pairs->has_traceparent = len >= 0 && read_traceparent(value, len, &pairs->trace, &pairs->parent);
		pairs->malformed = !pairs->has_traceparent;
	}
	else if (len < 0)
		return;
	else if (strcmp(key, "route") == 0)
		strlcpy(pairs->route, value, sizeof(pairs->route));
	else if (strcmp(key, "controller") == 0)
		strlcpy(pairs->controller, value, sizeof(pairs->controller));
	else if (strcmp(key, "action") == 0)
		strlcpy(pairs->action, value, sizeof(pairs->action));
}

/* Reads key='value' pairs between commas, up to the first that is none; key=value is left out. */
static void
read_pairs(Pairs *pairs, const char *p, size_t n)
{
	const char *end = p + n;

	while (p < end)
	{
		char		key[LONGEST_PAIR + 1];
		char		value[LONGEST_PAIR + 1];
		const char *from;
		int			key_len;

		while (p < end && (*p == ' ' || *p == ',' || *p == '\n' || *p == '\t'))
			p++;
		from = p;
		while (p < end && *p != '=' && *p != '\'' && *p != ',' && *p != ' ')
			p++;
		if (p + 1 >= end || p[0] != '=' || p == from)
			return;
		if (p[1] != '\'')
		{
			/* A number: nothing that is asked for. */
			while (p < end && *p != ',' && *p != '\'')
				p++;
			continue;
		}
		key_len = decode(from, p - from, key);
		from = p + 2;
		for (p = from; p < end && *p != '\''; p++)
			if (*p == '\\')
				p++;
		if (p >= end)
			return;
		pairs->any = true;
		value[0] = '\0';
		if (key_len > 0)
		{
			int			len = decode(from, p - from, value);

			take_pair(pairs, key, value, len);
		}
		p++;
	}
}

/* What a request is called by the pairs of a comment: its route, else its controller and action. */
static void
name_request(TexRequest *request, const Pairs *pairs)
{
	char		name[2 * LONGEST_PAIR + 2];

	if (pairs->route[0])
		strlcpy(name, pairs->route, sizeof(name));
	else
		snprintf(name, sizeof(name), "%s%s%s", pairs->controller,
				 pairs->controller[0] && pairs->action[0] ? "." : "", pairs->action);
	name[pg_mbcliplen(name, strlen(name), sizeof(request->name) - 1)] = '\0';
	strlcpy(request->name, name, sizeof(request->name));
}

/* Reads what comments of a text say; where several have pairs the last one counts. */
static void
read_comments(Pairs *last, const char *text, size_t len)
{
	const char *p = text;
	const char *comment;
	size_t		comment_len;

	if (len <= 3 || !memchr(text, '/', len))
		return;
	while (next_comment(&p, text + len, &comment, &comment_len))
	{
		Pairs		pairs = {.any = false};

		read_pairs(&pairs, comment, comment_len);
		if (pairs.any)
			*last = pairs;
	}
}

/*
 * Finds out for which request a statement was run; throws nothing.  One within a function has
 * seldom comments of its own: then those count of what the client has sent.
 */
void
tex_request_of(TexRequest *request, const char *text, size_t len)
{
	const char *setting = tex_traceparent;
	Pairs		last = {.any = false};

	memset(request, 0, sizeof(TexRequest));
	if (setting && setting[0])
	{
		request->traced = read_traceparent(setting, strlen(setting), &request->trace, &request->parent);
		if (!request->traced)
			tex_watch_count(TEX_WATCH_BAD_REQUESTS, 1);
	}
	read_comments(&last, text, len);
	if (!last.any && debug_query_string && debug_query_string != text)
		read_comments(&last, debug_query_string, strlen(debug_query_string));
	if (!last.any)
		return;
	name_request(request, &last);
	if (last.malformed && !request->traced)
		tex_watch_count(TEX_WATCH_BAD_REQUESTS, 1);
	if (last.has_traceparent && !request->traced)
	{
		request->traced = true;
		request->trace = last.trace;
		request->parent = last.parent;
	}
}
