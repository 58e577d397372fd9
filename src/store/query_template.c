/*
 * query_template.c
 *		The operation of a query: its text as pg_stat_statements prints it.
 *
 * Constants become $1, $2, ..., numbered behind the parameters that the text has;
 * a list of constants or parameters after IN and in ARRAY[] becomes
 * $1 with LIST_MARK behind it, as from PostgreSQL 18 on, and then all parameters
 * are numbered anew.
 *
 * Unlike pg_stat_statements this does not know what the text means: it may be of
 * any dialect, cut off, or no SQL at all.  So it goes by tokens, and by the word
 * before: NULL after IS is no constant, a number behind ORDER BY is a column.  And
 * comments go, and white space becomes one blank, as tracing libraries write the
 * trace into a comment and every call would be an operation of its own.
 *
 * Dialects
 * - "x" is a name, a backslash in '' is itself; once there was a `name` it is
 *	 MySQL, where "x" is a string, backslashes escape and # starts a comment.
 * - What is quoted and never ends goes on to the end of the text.
 * - Placeholders (?, :name, @name, %s) stay as they are.
 * - A text that does not start with a verb of SQL is treated as a name.
 *
 * Invariant: the template of a template is itself.  Therefore tokens are added
 * whole or not at all (but for long names, which are cut where that makes no
 * keyword), and $n never directly behind a word or $.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "store/sql_text.h"
#include "store/template.h"

/* Subqueries are told from other parentheses down to this depth. */
#define MAX_DEPTH 63
/* Beyond this a parameter's number is wrong in any dialect. */
#define MAX_PARAM 99999999

#define LIST_MARK "/*, ... */"

/* A text that is being read.  Depth counts parentheses and brackets. */
typedef struct Scan
{
	const char *p;
	TexSqlText	text;
	TexTemplate *out;			/* NULL: only parameters and lists are looked for */
	bool		blank;			/* one is due before the next token */
	bool		semicolon;		/* so is this, before the blank */
	bool		minus;			/* and this behind it: a minus that may be a number's */
	bool		minus_blank;	/* whether a blank was due before the minus */
	bool		renumber;		/* parameters are numbered like constants */
	bool		has_list;
	int			highest;		/* number of a parameter outside lists, or 0 */
	int			numbered;		/* the last number that was given out */
	TexToken	before;
	int			depth;
	int			type_depth;		/* of the parentheses behind a type, or -1 */
	uint64		queries;		/* bit d: depth d is a query's */
	uint64		sorted;			/* bit d: depth d is in ORDER BY or GROUP BY */
} Scan;

/* ------------------------------------------------------------------- output */

/* The room for a token, when what is due before it is there. */
static int
room(const Scan *s)
{
	return TEX_OPERATION_BYTES - s->out->len -
		(s->semicolon + s->blank + s->minus + s->minus_blank);
}

/* Is there room for what is due and so many bytes?  If not, nothing is added any more. */
static bool
fits(Scan *s, size_t len)
{
	if (room(s) < 0 || len > (size_t) room(s))
		s->out->full = true;
	return !s->out->full;
}

/* Adds what is due, up to the minus: what is behind it may yet be another one. */
static void
add_due_minus(Scan *s)
{
	if (s->out && fits(s, 0))
	{
		if (s->semicolon)
			tex_template_add(s->out, ";", 1);
		if (s->minus_blank && s->out->len > 0)
			tex_template_add(s->out, " ", 1);
		if (s->minus)
			tex_template_add(s->out, "-", 1);
	}
	s->semicolon = s->minus = s->minus_blank = false;
}

/* Adds all that is due; the caller knows that it fits. */
static void
add_due(Scan *s)
{
	if (s->semicolon || s->minus)
		add_due_minus(s);
	if (s->blank && s->out && s->out->len > 0)
		tex_template_add(s->out, " ", 1);
	s->blank = false;
}

/* Adds a token, with what is due before it; all, or nothing. */
static void
add(Scan *s, const char *text, size_t len, TexToken token)
{
	TexTemplate *out = s->out;

	s->before = token;
	if (s->semicolon || s->minus || out == NULL)
	{
		if (out && !fits(s, len))
			return;
		add_due(s);
		if (out == NULL)
			return;
	}
	else if (s->blank)
	{
		/* A blank and one byte more, or no room. */
		if (!fits(s, len))
			return;
		s->blank = false;
		if (out->len > 0)
			out->text[out->len++] = ' ';
	}
	tex_template_add(out, text, len);
}

/*
 * Adds a name, or what there is room for of it.  What is left of one must be
 * no keyword, which would mean something else.
 */
static void
add_name(Scan *s, const char *name, size_t len, TexToken token)
{
	if (s->out && !s->out->full && len > (size_t) Max(room(s), 0))
	{
		len = Min(len, TEX_OPERATION_BYTES + MAX_MULTIBYTE_CHAR_LEN);
		len = pg_mbcliplen(name, (int) len, Max(room(s), 0));
		if (len > 0 && tex_sql_keyword(name, len) == TEX_TOKEN_WORD)
			add(s, name, len, token);
		s->out->full = true;
		return;
	}
	add(s, name, len, token);
}

/* Says that more elements follow. */
static void
add_list_mark(Scan *s)
{
	s->blank = true;
	add(s, LIST_MARK, strlen(LIST_MARK), s->before);
}

/* Before $n: behind a word it would belong to that word. */
static void
keep_apart(Scan *s)
{
	if (s->out && s->out->len > 0 && !s->minus &&
		TEX_SQL_IS(s->out->text[s->out->len - 1], TEX_SQL_WORD))
		s->blank = true;
}

/* Adds the next parameter, with the mark of a list if it is one. */
static void
add_param(Scan *s, bool is_list)
{
	char		param[16];
	int			len;

	if (s->out == NULL)
	{
		add(s, NULL, 0, TEX_TOKEN_VALUE);
		return;
	}
	keep_apart(s);
	param[0] = '$';
	len = 1 + pg_ltoa(++s->numbered, param + 1);
	add(s, param, len, TEX_TOKEN_VALUE);
	if (is_list)
		add_list_mark(s);
}

/* ------------------------------------------------------------------- tokens */

/* Does a number in ORDER BY here mean a column?  Not in that of an aggregate or a window. */
static inline bool
is_query_depth(const Scan *s)
{
	return s->depth <= MAX_DEPTH && (s->queries >> s->depth & 1) != 0;
}

/* Are we in such an ORDER BY or GROUP BY? */
static inline bool
is_sorted_depth(const Scan *s)
{
	return s->depth <= MAX_DEPTH && (s->sorted >> s->depth & 1) != 0;
}

/* Notes for a depth; nothing is kept of the deepest. */
static void
set_bit(uint64 *bits, int depth, bool value)
{
	if (depth > MAX_DEPTH)
		return;
	if (value)
		*bits |= UINT64CONST(1) << depth;
	else
		*bits &= ~(UINT64CONST(1) << depth);
}

/* Is the number up to e a column of ORDER BY or GROUP BY, or the length of a type? */
static bool
number_stays(Scan *s, const char *e)
{
	const char *next;

	if (tex_sql_skip(s->p, e, TEX_SQL_DIGIT) != e)
		return false;
	if (s->type_depth == s->depth)
		return true;
	if (!is_sorted_depth(s) || (s->before != TEX_TOKEN_BY && s->before != TEX_TOKEN_COMMA))
		return false;
	next = tex_sql_skip_space(&s->text, e);
	return next == s->text.end || *next == ',' || *next == ')' || *next == ';' ||
		(TEX_SQL_IS(*next, TEX_SQL_START | TEX_SQL_OTHER) && tex_sql_string_end(&s->text, next) == NULL);
}

/* A number up to e: a constant, with the minus before it. */
static void
read_number(Scan *s, const char *e)
{
	if (number_stays(s, e))
	{
		add(s, s->p, e - s->p, TEX_TOKEN_VALUE);
		s->p = e;
		return;
	}
	if (s->minus)
	{
		/* -5::int is -(5::int). */
		const char *next = tex_sql_skip_space(&s->text, e);

		if (s->text.end - next < 2 || next[0] != ':' || next[1] != ':')
		{
			s->blank = s->minus_blank;
			s->minus = s->minus_blank = false;
		}
	}
	add_param(s, false);
	s->p = e;
}

/* $n, or what else starts with $. */
static void
read_dollar(Scan *s)
{
	const char *digits = s->p + 1;
	const char *e = tex_sql_skip(digits, s->text.end, TEX_SQL_DIGIT);
	int			number = 0;

	if (e == digits)
	{
		add(s, s->p++, 1, TEX_TOKEN_OPERATOR);
		return;
	}
	for (const char *p = digits; p < e && number < MAX_PARAM; p++)
		number = Min(number * 10 + (*p - '0'), MAX_PARAM);
	s->highest = Max(s->highest, number);
	if (s->renumber)
		add_param(s, false);
	else
	{
		keep_apart(s);
		add_name(s, s->p, e - s->p, TEX_TOKEN_VALUE);
	}
	s->p = e;
}

/* Opens parentheses or a bracket, and takes in a list whole. */
static void
read_open(Scan *s)
{
	TexToken	before = s->before;
	char		close = *s->p == '(' ? ')' : ']';
	const char *behind = NULL;
	const char *placeholder;

	add(s, s->p++, 1, before == TEX_TOKEN_EXTRACT ? TEX_TOKEN_EXTRACT_OPEN : TEX_TOKEN_OPEN);
	s->depth++;
	set_bit(&s->queries, s->depth, false);
	set_bit(&s->sorted, s->depth, false);
	if (before == TEX_TOKEN_TYPE)
		s->type_depth = s->depth;

	if ((before == TEX_TOKEN_IN && close == ')') || (before == TEX_TOKEN_ARRAY && close == ']'))
		behind = tex_sql_list_end(&s->text, s->p, close);
	if (behind == NULL)
		return;
	s->has_list = true;
	s->p = tex_sql_skip_space(&s->text, s->p);
	if ((placeholder = tex_sql_placeholder_end(&s->text, s->p)) != NULL)
	{
		add(s, s->p, placeholder - s->p, TEX_TOKEN_VALUE);
		add_list_mark(s);
	}
	else
		add_param(s, true);
	s->p = behind;
}

/* Closes parentheses or a bracket. */
static void
read_close(Scan *s)
{
	if (s->type_depth == s->depth)
		s->type_depth = -1;
	if (s->depth > 0)
		s->depth--;
	add(s, s->p++, 1, TEX_TOKEN_VALUE);
}

/* What the word up to e means here. */
static TexToken
word_token(const Scan *s, const char *e)
{
	TexToken	token;

	if (s->before == TEX_TOKEN_DOT)
		return TEX_TOKEN_WORD;
	if (s->before == TEX_TOKEN_CAST)
		return TEX_TOKEN_TYPE;
	token = tex_sql_keyword(s->p, e - s->p);
	switch (token)
	{
		case TEX_TOKEN_NOT:
			return s->before == TEX_TOKEN_IS ? TEX_TOKEN_IS : TEX_TOKEN_NOT;
		case TEX_TOKEN_FROM:
			return s->before == TEX_TOKEN_DISTINCT ? TEX_TOKEN_DISTINCT_FROM : TEX_TOKEN_FROM;
		case TEX_TOKEN_NULL:
			return s->before == TEX_TOKEN_IS || s->before == TEX_TOKEN_NOT || s->before == TEX_TOKEN_SET ||
				s->before == TEX_TOKEN_DISTINCT_FROM ? TEX_TOKEN_WORD : TEX_TOKEN_NULL;
		case TEX_TOKEN_BOOLEAN:
			return s->before == TEX_TOKEN_IS ? TEX_TOKEN_WORD : TEX_TOKEN_BOOLEAN;
		case TEX_TOKEN_RELEASE:
			return s->before == TEX_TOKEN_START ? TEX_TOKEN_SAVEPOINT : TEX_TOKEN_WORD;
		case TEX_TOKEN_SAVEPOINT:
			return s->before == TEX_TOKEN_START || s->before == TEX_TOKEN_SAVEPOINT ? TEX_TOKEN_SAVEPOINT : TEX_TOKEN_WORD;
		case TEX_TOKEN_ROLLBACK:
			return s->before == TEX_TOKEN_START ? TEX_TOKEN_ROLLBACK : TEX_TOKEN_WORD;
		case TEX_TOKEN_TRANSACTION:
			return s->before == TEX_TOKEN_ROLLBACK ? TEX_TOKEN_ROLLBACK : TEX_TOKEN_WORD;
		case TEX_TOKEN_TO:
			return s->before == TEX_TOKEN_ROLLBACK ? TEX_TOKEN_SAVEPOINT : TEX_TOKEN_OPERAND;
		default:
			return token;
	}
}

/* A keyword, a name, or a word that is a constant. */
static void
read_word(Scan *s)
{
	const char *e = tex_sql_skip(s->p, s->text.end, TEX_SQL_WORD);
	TexToken	token = word_token(s, e);

	/* The field of EXTRACT is a constant to PostgreSQL; savepoints are often numbered. */
	if (token == TEX_TOKEN_NULL || token == TEX_TOKEN_BOOLEAN || s->before == TEX_TOKEN_EXTRACT_OPEN ||
		(s->before == TEX_TOKEN_SAVEPOINT && token != TEX_TOKEN_SAVEPOINT))
	{
		add_param(s, false);
		s->p = e;
		return;
	}
	if (token == TEX_TOKEN_BY)
		set_bit(&s->sorted, s->depth, s->before == TEX_TOKEN_ORDER && is_query_depth(s));
	else if (token == TEX_TOKEN_CLAUSE)
		set_bit(&s->sorted, s->depth, false);
	else if (token == TEX_TOKEN_SELECT && s->before == TEX_TOKEN_OPEN)
		set_bit(&s->queries, s->depth, true);
	add_name(s, s->p, e - s->p, token);
	s->p = e;
}

/* A name in quotes. */
static void
read_quoted_name(Scan *s)
{
	const char *e = tex_sql_quoted_end(&s->text, s->p, false);

	if (*s->p == '`')
		s->text.mysql = true;
	if (s->before == TEX_TOKEN_SAVEPOINT)
		add_param(s, false);
	else
		add_name(s, s->p, e - s->p, TEX_TOKEN_VALUE);
	s->p = e;
}

/* What is one byte, or :: */
static void
read_operator(Scan *s)
{
	const char *p = s->p;
	const char *e = p + 1;
	TexToken	token = TEX_TOKEN_OPERATOR;

	if (*p == '-' && s->before <= TEX_TOKEN_OPERAND)
	{
		if (s->minus)
			add_due_minus(s);
		s->minus = true;
		s->minus_blank = s->blank;
		s->blank = false;
		s->before = TEX_TOKEN_OPERATOR;
		s->p = e;
		return;
	}
	if (*p == ',')
		token = TEX_TOKEN_COMMA;
	else if (*p == '.')
		token = TEX_TOKEN_DOT;
	else if (*p == '?')
		token = TEX_TOKEN_VALUE;
	else if (*p == ':' && tex_sql_next_is(&s->text, p, ':'))
	{
		token = TEX_TOKEN_CAST;
		e++;
	}
	s->p = e;
	add(s, p, e - p, token);
}

/* A comment, if there is one; what stands for a list's elements is none. */
static bool
read_comment(Scan *s)
{
	const char *e = tex_sql_comment_end(&s->text, s->p);

	if (e == NULL)
		return false;
	if (s->before != TEX_TOKEN_START && e - s->p == (ptrdiff_t) strlen(LIST_MARK) &&
		memcmp(s->p, LIST_MARK, strlen(LIST_MARK)) == 0)
		add_list_mark(s);
	else
		s->blank = true;
	s->p = e;
	return true;
}

/* Reads the text to its end, or until the template is full. */
static void
read_query(Scan *s)
{
	while (s->p < s->text.end && !(s->out && s->out->full))
	{
		const char *e;

		if (TEX_SQL_IS(*s->p, TEX_SQL_SPACE))
		{
			s->blank = true;
			s->p++;
		}
		else if (TEX_SQL_IS(*s->p, TEX_SQL_START) && (e = tex_sql_prefixed_string_end(&s->text, s->p)) == NULL)
			read_word(s);
		else if (read_comment(s))
			continue;
		else if ((e = tex_sql_string_end(&s->text, s->p)) != NULL)
		{
			add_param(s, false);
			s->p = tex_sql_strings_end(&s->text, e);
		}
		else if (s->before <= TEX_TOKEN_OPERAND && (e = tex_sql_placeholder_end(&s->text, s->p)) != NULL)
		{
			add(s, s->p, e - s->p, TEX_TOKEN_VALUE);
			s->p = e;
		}
		else if ((s->before != TEX_TOKEN_WORD || *s->p != '.') && (e = tex_sql_number_end(&s->text, s->p)) != NULL)
			read_number(s, e);
		else if (*s->p == '$')
			read_dollar(s);
		else if (*s->p == '"' || *s->p == '`')
			read_quoted_name(s);
		else if (*s->p == '(' || *s->p == '[')
			read_open(s);
		else if (*s->p == ')' || *s->p == ']')
			read_close(s);
		else if (*s->p == ';')
		{
			/* Is left away at the end. */
			if (s->minus)
				add_due_minus(s);
			s->semicolon |= s->before != TEX_TOKEN_START;
			s->before = TEX_TOKEN_START;
			s->depth = 0;
			s->type_depth = -1;
			s->queries = 1;
			s->sorted = 0;
			s->p++;
		}
		else
			read_operator(s);
	}
	if (s->minus)
		add_due_minus(s);
}

/* Prepares for reading a query from its start. */
static void
start_scan(Scan *s, const char *query, size_t len, TexTemplate *out)
{
	memset(s, 0, sizeof(Scan));
	s->p = query;
	s->text.end = query + len;
	s->out = out;
	s->before = TEX_TOKEN_START;
	s->type_depth = -1;
	s->queries = 1;
}

/*
 * Adds the template of a query to an empty template.
 *
 * The number of the first constant depends on the last parameter, and parameters
 * keep theirs only where there is no list.  Few queries have both constants or
 * lists and parameters, so those are read again when that is known.
 */
void
tex_query_template(TexTemplate *out, const char *query, size_t len)
{
	Scan		s;
	Scan		ahead;

	start_scan(&s, query, len, out);
	read_query(&s);
	ahead = s;
	if (out->full && (s.highest > 0 || memchr(s.p, '$', s.text.end - s.p) != NULL))
	{
		start_scan(&ahead, query, len, NULL);
		read_query(&ahead);
	}
	if (ahead.highest == 0 || (s.numbered == 0 && !ahead.has_list))
		return;

	out->len = 0;
	out->full = false;
	start_scan(&s, query, len, out);
	s.renumber = ahead.has_list;
	s.numbered = ahead.has_list ? 0 : ahead.highest;
	read_query(&s);
}
