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

#include "store/template.h"

/* Subqueries are told from other parentheses down to this depth. */
#define MAX_DEPTH 63
/* Beyond this a parameter's number is wrong in any dialect. */
#define MAX_PARAM 99999999

#define LIST_MARK "/*, ... */"

/*
 * What the token before was.  Behind those up to TOKEN_OPERAND an operand is
 * expected: a minus belongs to the number that follows it.
 */
typedef enum Token
{
	TOKEN_START,				/* of a statement */
	TOKEN_OPERATOR,
	TOKEN_OPEN,					/* ( or [ */
	TOKEN_EXTRACT_OPEN,
	TOKEN_COMMA,
	TOKEN_IN,
	TOKEN_BY,
	TOKEN_IS,					/* IS NOT, too */
	TOKEN_NOT,
	TOKEN_SET,
	TOKEN_FROM,
	TOKEN_DISTINCT,
	TOKEN_DISTINCT_FROM,
	TOKEN_SELECT,				/* what starts a subquery */
	TOKEN_CLAUSE,				/* what ends ORDER BY and GROUP BY */
	TOKEN_OPERAND,
	TOKEN_VALUE,
	TOKEN_WORD,
	TOKEN_DOT,
	TOKEN_CAST,					/* :: */
	TOKEN_TYPE,					/* what may have (10, 2) behind it */
	TOKEN_ARRAY,
	TOKEN_ORDER,				/* GROUP, too */
	TOKEN_EXTRACT,
	TOKEN_NULL,
	TOKEN_BOOLEAN,
	TOKEN_SAVEPOINT,			/* its name follows */
	TOKEN_RELEASE,
	TOKEN_ROLLBACK,
	TOKEN_TRANSACTION,
	TOKEN_TO
} Token;

typedef struct Keyword
{
	const char *word;
	Token		token;
} Keyword;

/* Sorted; all others are names. */
static const Keyword keywords[] = {
	{"all", TOKEN_OPERAND}, {"and", TOKEN_OPERAND}, {"any", TOKEN_OPERAND},
	{"array", TOKEN_ARRAY}, {"as", TOKEN_OPERAND},
	{"between", TOKEN_OPERAND}, {"bit", TOKEN_TYPE}, {"bpchar", TOKEN_TYPE},
	{"by", TOKEN_BY}, {"case", TOKEN_OPERAND}, {"char", TOKEN_TYPE},
	{"character", TOKEN_TYPE}, {"dec", TOKEN_TYPE}, {"decimal", TOKEN_TYPE},
	{"default", TOKEN_OPERAND}, {"distinct", TOKEN_DISTINCT}, {"else", TOKEN_OPERAND},
	{"except", TOKEN_CLAUSE}, {"extract", TOKEN_EXTRACT}, {"false", TOKEN_BOOLEAN},
	{"fetch", TOKEN_CLAUSE}, {"float", TOKEN_TYPE}, {"for", TOKEN_CLAUSE},
	{"from", TOKEN_FROM}, {"group", TOKEN_ORDER}, {"having", TOKEN_CLAUSE},
	{"ilike", TOKEN_OPERAND}, {"in", TOKEN_IN}, {"intersect", TOKEN_CLAUSE},
	{"interval", TOKEN_TYPE}, {"is", TOKEN_IS}, {"like", TOKEN_OPERAND},
	{"limit", TOKEN_CLAUSE}, {"nchar", TOKEN_TYPE}, {"not", TOKEN_NOT},
	{"null", TOKEN_NULL}, {"numeric", TOKEN_TYPE}, {"offset", TOKEN_CLAUSE},
	{"on", TOKEN_OPERAND}, {"or", TOKEN_OPERAND}, {"order", TOKEN_ORDER},
	{"release", TOKEN_RELEASE}, {"return", TOKEN_OPERAND}, {"returning", TOKEN_CLAUSE},
	{"rollback", TOKEN_ROLLBACK}, {"savepoint", TOKEN_SAVEPOINT}, {"select", TOKEN_SELECT},
	{"set", TOKEN_SET}, {"similar", TOKEN_OPERAND}, {"some", TOKEN_OPERAND},
	{"symmetric", TOKEN_OPERAND}, {"then", TOKEN_OPERAND}, {"time", TOKEN_TYPE},
	{"timestamp", TOKEN_TYPE}, {"timestamptz", TOKEN_TYPE}, {"timetz", TOKEN_TYPE},
	{"to", TOKEN_TO}, {"transaction", TOKEN_TRANSACTION}, {"true", TOKEN_BOOLEAN},
	{"union", TOKEN_CLAUSE}, {"values", TOKEN_SELECT}, {"varbit", TOKEN_TYPE},
	{"varchar", TOKEN_TYPE}, {"varying", TOKEN_TYPE}, {"when", TOKEN_OPERAND},
	{"where", TOKEN_CLAUSE}, {"window", TOKEN_CLAUSE}, {"with", TOKEN_SELECT},
	{"work", TOKEN_TRANSACTION}
};

#define LONGEST_KEYWORD 11

/* Sorted: what queries start with, in the dialects that are in use. */
static const char *const verbs[] = {
	"abort", "alter", "analyse", "analyze", "attach", "begin", "call", "checkpoint",
	"close", "cluster", "comment", "commit", "copy", "create", "deallocate", "declare",
	"delete", "desc", "describe", "detach", "discard", "do", "drop", "end", "exec",
	"execute", "explain", "fetch", "from", "grant", "if", "import", "insert", "kill",
	"listen", "load", "lock", "merge", "move", "notify", "optimize", "pragma",
	"prepare", "reassign", "refresh", "reindex", "release", "rename", "replace",
	"reset", "revoke", "rollback", "savepoint", "security", "select", "set", "show",
	"start", "table", "truncate", "unlisten", "unlock", "update", "upsert", "use",
	"vacuum", "values", "with", "xa"
};

#define LONGEST_VERB 10

/* What a byte can be in SQL. */
#define SQL_SPACE	0x01
#define SQL_DIGIT	0x02
#define SQL_START	0x04		/* of a name */
#define SQL_HEX		0x08
#define SQL_OTHER	0x10		/* $, which names may go on with */
#define SQL_WORD	(SQL_START | SQL_DIGIT | SQL_OTHER)

#define S	SQL_SPACE
#define D	(SQL_DIGIT | SQL_HEX)
#define X	(SQL_START | SQL_HEX)
#define W	SQL_START
#define W16	W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W

static const uint8 bytes[256] = {
	['\t'] = S, S, S, S, S, [' '] = S, ['$'] = SQL_OTHER, ['_'] = W,
	['0'] = D, D, D, D, D, D, D, D, D, D,
	['A'] = X, X, X, X, X, X, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
	['a'] = X, X, X, X, X, X, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
	[0x80] = W16, W16, W16, W16, W16, W16, W16, W16
};

#undef S
#undef D
#undef X
#undef W
#undef W16

#define BYTE_IS(c, what) ((bytes[(unsigned char) (c)] & (what)) != 0)

/* A text that is being read.  Depth counts parentheses and brackets. */
typedef struct Scan
{
	const char *p;
	const char *end;
	TexTemplate *out;			/* NULL: only parameters and lists are looked for */
	bool		blank;			/* one is due before the next token */
	bool		semicolon;		/* so is this, before the blank */
	bool		minus;			/* and this behind it: a minus that may be a number's */
	bool		minus_blank;	/* whether a blank was due before the minus */
	bool		flat_comments;	/* comments do not nest here */
	bool		mysql;
	bool		renumber;		/* parameters are numbered like constants */
	bool		has_list;
	int			highest;		/* number of a parameter outside lists, or 0 */
	int			numbered;		/* the last number that was given out */
	Token		before;
	int			depth;
	int			type_depth;		/* of the parentheses behind a type, or -1 */
	uint64		queries;		/* bit d: depth d is a query's */
	uint64		sorted;			/* bit d: depth d is in ORDER BY or GROUP BY */
} Scan;

/* ------------------------------------------------------------------- tables */

/* Compares a word of any case with a lower-case one, as strcmp() does. */
static int
compare_word(const char *word, size_t len, const char *with)
{
	for (size_t i = 0; i < len; i++)
	{
		int			c = word[i] >= 'A' && word[i] <= 'Z' ? word[i] + ('a' - 'A') : word[i];

		if (c != with[i])
			return c < with[i] ? -1 : 1;	/* where "with" ends, too */
	}
	return with[len] == '\0' ? 0 : -1;
}

/*
 * What the word is to us.  Most are names, so the keywords of a letter are looked at
 * only where one of them has that length; the index of letters is made at first use.
 */
static Token
keyword(const char *word, size_t len)
{
	static struct
	{
		uint8		first;
		uint8		count;
		uint16		lengths;	/* bit n: one has n letters */
	}			letters['z' - 'a' + 1];
	static bool indexed = false;
	int			letter = (word[0] | 0x20) - 'a';

	if (!indexed)
	{
		for (int i = lengthof(keywords) - 1; i >= 0; i--)
		{
			letters[keywords[i].word[0] - 'a'].first = i;
			letters[keywords[i].word[0] - 'a'].count++;
			letters[keywords[i].word[0] - 'a'].lengths |= 1 << strlen(keywords[i].word);
		}
		indexed = true;
	}
	if (len > LONGEST_KEYWORD || letter < 0 || letter > 'z' - 'a' ||
		(letters[letter].lengths >> len & 1) == 0)
		return TOKEN_WORD;
	for (int i = 0; i < letters[letter].count; i++)
	{
		const Keyword *k = &keywords[letters[letter].first + i];

		if (compare_word(word, len, k->word) == 0)
			return k->token;
	}
	return TOKEN_WORD;
}

static bool
is_verb(const char *word, size_t len)
{
	int			low = 0;
	int			high = lengthof(verbs) - 1;

	if (len > LONGEST_VERB)
		return false;
	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = compare_word(word, len, verbs[middle]);

		if (order == 0)
			return true;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return false;
}

/* ------------------------------------------------------ where something ends */

static const char *
skip(const char *p, const char *end, int what)
{
	while (p < end && BYTE_IS(*p, what))
		p++;
	return p;
}

static inline bool
next_is(const Scan *s, const char *p, char c)
{
	return s->end - p >= 2 && p[1] == c;
}

/*
 * Behind a block comment.  They nest, but for a text where one then never
 * ends: of such a dialect, or hostile, and read but once.
 */
static const char *
block_comment_end(Scan *s, const char *p)
{
	const char *first = NULL;
	int			depth = 0;

	while (s->end - p >= 2)
	{
		if (p[0] == '/' && p[1] == '*')
		{
			depth++;
			p += 2;
		}
		else if (p[0] == '*' && p[1] == '/')
		{
			p += 2;
			if (first == NULL)
				first = p;
			if (--depth == 0 || s->flat_comments)
				return p;
		}
		else
			p++;
	}
	s->flat_comments = true;
	return first ? first : s->end;
}

/* Behind the comment that starts here, or NULL. */
static const char *
comment_end(Scan *s, const char *p)
{
	if ((*p == '-' && next_is(s, p, '-')) || (*p == '#' && s->mysql))
	{
		while (p < s->end && *p != '\n' && *p != '\r')
			p++;
		return p;
	}
	if (*p == '/' && next_is(s, p, '*'))
		return block_comment_end(s, p);
	return NULL;
}

/* Behind white space and comments. */
static const char *
skip_space(Scan *s, const char *p)
{
	while (p < s->end)
	{
		const char *behind = BYTE_IS(*p, SQL_SPACE) ? p + 1 : comment_end(s, p);

		if (behind == NULL)
			break;
		p = behind;
	}
	return p;
}

/*
 * Behind what is quoted here.  A doubled quote is one inside; so is one behind a
 * backslash where that escapes, and where a word goes on behind it: 'O\'Brien'.
 */
static const char *
quoted_end(const Scan *s, const char *p, bool escapes)
{
	char		quote = *p++;

	for (; p < s->end; p++)
	{
		if (*p == '\\' && s->end - p >= 2)
		{
			if (escapes || (quote == '\'' && p[1] == quote && s->end - p >= 3 &&
							BYTE_IS(p[2], SQL_START | SQL_DIGIT)))
				p++;
		}
		else if (*p == quote)
		{
			if (!next_is(s, p, quote))
				return p + 1;
			p++;
		}
	}
	return s->end;
}

/* Behind $tag$ ... $tag$, or NULL where no tag is. */
static const char *
dollar_quoted_end(const Scan *s, const char *p)
{
	const char *tag = p;
	size_t		len;

	p++;
	if (p < s->end && BYTE_IS(*p, SQL_START))
		p = skip(p, s->end, SQL_START | SQL_DIGIT);
	if (p == s->end || *p != '$')
		return NULL;
	len = ++p - tag;
	while ((p = memchr(p, '$', s->end - p)) != NULL)
	{
		if ((size_t) (s->end - p) < len)
			break;
		if (memcmp(p, tag, len) == 0)
			return p + len;
		p++;
	}
	return s->end;
}

/* Behind the string constant that starts with letters here, or NULL.  The N of N'x' is a word. */
static const char *
prefixed_string_end(const Scan *s, const char *p)
{
	if (next_is(s, p, '\''))
	{
		if (strchr("eEbBxX", *p) != NULL)
			return quoted_end(s, p + 1, s->mysql || *p == 'e' || *p == 'E');
	}
	else if (next_is(s, p, '&') && (*p == 'u' || *p == 'U') && next_is(s, p + 1, '\''))
		return quoted_end(s, p + 2, s->mysql);
	return NULL;
}

/* Behind the string constant that starts here, or NULL. */
static const char *
string_end(const Scan *s, const char *p)
{
	if (*p == '\'' || (*p == '"' && s->mysql))
		return quoted_end(s, p, s->mysql);
	if (*p == '$')
		return dollar_quoted_end(s, p);
	return BYTE_IS(*p, SQL_START) ? prefixed_string_end(s, p) : NULL;
}

/* Behind the strings that go on with the one that ends at e: 'it' 's' is one. */
static const char *
strings_end(const Scan *s, const char *e)
{
	while (e < s->end && BYTE_IS(*e, SQL_SPACE))
	{
		const char *next = skip(e, s->end, SQL_SPACE);

		if (next == s->end || *next != '\'')
			break;
		e = string_end(s, next);
	}
	return e;
}

/*
 * Behind the number that starts here, or NULL.  Letters that stick to it belong to
 * it: 0x1F, 1e5, 1_000, and the id of another kind of store.
 */
static const char *
number_end(const Scan *s, const char *p)
{
	if (!BYTE_IS(*p, SQL_DIGIT) &&
		!(*p == '.' && s->end - p >= 2 && BYTE_IS(p[1], SQL_DIGIT)))
		return NULL;
	for (;;)
	{
		p = skip(p, s->end, SQL_WORD);
		if (p == s->end)
			return p;
		/* A point, but not 1..10, and the sign of an exponent. */
		if (*p == '.' && !next_is(s, p, '.'))
			p++;
		else if ((*p == '-' || *p == '+') && (p[-1] == 'e' || p[-1] == 'E') &&
				 s->end - p >= 2 && BYTE_IS(p[1], SQL_DIGIT))
			p++;
		else
			return p;
	}
}

/*
 * Behind the placeholder that starts here, where an operand is expected, or NULL:
 * ?, ?1, :1, :name, @name, %s, %(name)s.
 */
static const char *
placeholder_end(const Scan *s, const char *p)
{
	const char *e;

	switch (*p)
	{
		case '?':
			return skip(p + 1, s->end, SQL_DIGIT);
		case ':':
		case '@':
			e = skip(p + 1, s->end, SQL_START | SQL_DIGIT);
			return e > p + 1 ? e : NULL;
		case '%':
			if (next_is(s, p, 's'))
				return p + 2;
			if (!next_is(s, p, '('))
				return NULL;
			e = skip(p + 2, s->end, SQL_START | SQL_DIGIT);
			return s->end - e >= 2 && e[0] == ')' && e[1] == 's' ? e + 2 : NULL;
		default:
			return NULL;
	}
}

/*
 * Behind the constant or placeholder that starts here, with its casts, or NULL:
 * an element of a list that is not told in full.
 */
static const char *
element_end(Scan *s, const char *p)
{
	const char *e;

	if (*p == '-' || *p == '+')
	{
		p = skip_space(s, p + 1);
		e = p < s->end ? number_end(s, p) : NULL;
	}
	else if ((e = string_end(s, p)) != NULL)
		e = strings_end(s, e);
	else if ((e = number_end(s, p)) != NULL)
		;
	else if ((e = placeholder_end(s, p)) != NULL)
		;
	else if (*p == '$')
	{
		e = skip(p + 1, s->end, SQL_DIGIT);
		if (e == p + 1)
			return NULL;
	}
	else if (BYTE_IS(*p, SQL_START))
	{
		Token		token;

		e = skip(p, s->end, SQL_WORD);
		token = keyword(p, e - p);
		if (token != TOKEN_NULL && token != TOKEN_BOOLEAN)
		{
			/* DATE '2024-11-30' */
			p = skip_space(s, e);
			e = p < s->end && *p == '\'' ? string_end(s, p) : NULL;
		}
	}
	if (e == NULL)
		return NULL;

	for (;;)
	{
		p = skip_space(s, e);
		if (s->end - p < 3 || p[0] != ':' || p[1] != ':')
			return e;
		p = skip_space(s, p + 2);
		e = skip(p, s->end, SQL_WORD | SQL_SPACE);
		if (e == p)
			return NULL;
		while (e < s->end && (*e == '.' || *e == '[' || *e == ']'))
			e = skip(e + 1, s->end, SQL_WORD);
	}
}

/*
 * Where the list ends, at what closes it, if it has at least two elements and is
 * made of nothing but constants and placeholders.  p is behind what opens it.
 */
static const char *
list_end(Scan *s, const char *p, char close)
{
	for (int n = 1;; n++)
	{
		p = skip_space(s, p);
		if (p == s->end || (p = element_end(s, p)) == NULL)
			return NULL;
		p = skip_space(s, p);
		if (p == s->end)
			return NULL;
		if (*p == close)
			return n >= 2 ? p : NULL;
		if (*p++ != ',')
			return NULL;
	}
}

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
add(Scan *s, const char *text, size_t len, Token token)
{
	s->before = token;
	if (s->out && !fits(s, len))
		return;
	add_due(s);
	if (s->out)
		tex_template_add(s->out, text, len);
}

/*
 * Adds a name, or what there is room for of it.  What is left of one must be
 * no keyword, which would mean something else.
 */
static void
add_name(Scan *s, const char *name, size_t len, Token token)
{
	if (s->out && !s->out->full && len > (size_t) Max(room(s), 0))
	{
		len = Min(len, TEX_OPERATION_BYTES + MAX_MULTIBYTE_CHAR_LEN);
		len = pg_mbcliplen(name, (int) len, Max(room(s), 0));
		if (len > 0 && keyword(name, len) == TOKEN_WORD)
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
		BYTE_IS(s->out->text[s->out->len - 1], SQL_WORD))
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
		add(s, NULL, 0, TOKEN_VALUE);
		return;
	}
	keep_apart(s);
	len = snprintf(param, sizeof(param), "$%d", ++s->numbered);
	add(s, param, len, TOKEN_VALUE);
	if (is_list)
		add_list_mark(s);
}

/* ------------------------------------------------------------------- tokens */

static inline bool
is_query_depth(const Scan *s)
{
	return s->depth <= MAX_DEPTH && (s->queries >> s->depth & 1) != 0;
}

static inline bool
is_sorted_depth(const Scan *s)
{
	return s->depth <= MAX_DEPTH && (s->sorted >> s->depth & 1) != 0;
}

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

	if (skip(s->p, e, SQL_DIGIT) != e)
		return false;
	if (s->type_depth == s->depth)
		return true;
	if (!is_sorted_depth(s) || (s->before != TOKEN_BY && s->before != TOKEN_COMMA))
		return false;
	next = skip_space(s, e);
	return next == s->end || *next == ',' || *next == ')' || *next == ';' ||
		(BYTE_IS(*next, SQL_START | SQL_OTHER) && string_end(s, next) == NULL);
}

static void
read_number(Scan *s, const char *e)
{
	if (number_stays(s, e))
	{
		add(s, s->p, e - s->p, TOKEN_VALUE);
		s->p = e;
		return;
	}
	if (s->minus)
	{
		/* -5::int is -(5::int). */
		const char *next = skip_space(s, e);

		if (s->end - next < 2 || next[0] != ':' || next[1] != ':')
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
	const char *e = skip(digits, s->end, SQL_DIGIT);
	int			number = 0;

	if (e == digits)
	{
		add(s, s->p++, 1, TOKEN_OPERATOR);
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
		add_name(s, s->p, e - s->p, TOKEN_VALUE);
	}
	s->p = e;
}

/* Opens parentheses or a bracket, and takes in a list whole. */
static void
read_open(Scan *s)
{
	Token		before = s->before;
	char		close = *s->p == '(' ? ')' : ']';
	const char *behind = NULL;
	const char *placeholder;

	add(s, s->p++, 1, before == TOKEN_EXTRACT ? TOKEN_EXTRACT_OPEN : TOKEN_OPEN);
	s->depth++;
	set_bit(&s->queries, s->depth, false);
	set_bit(&s->sorted, s->depth, false);
	if (before == TOKEN_TYPE)
		s->type_depth = s->depth;

	if ((before == TOKEN_IN && close == ')') || (before == TOKEN_ARRAY && close == ']'))
		behind = list_end(s, s->p, close);
	if (behind == NULL)
		return;
	s->has_list = true;
	s->p = skip_space(s, s->p);
	if ((placeholder = placeholder_end(s, s->p)) != NULL)
	{
		add(s, s->p, placeholder - s->p, TOKEN_VALUE);
		add_list_mark(s);
	}
	else
		add_param(s, true);
	s->p = behind;
}

static void
read_close(Scan *s)
{
	if (s->type_depth == s->depth)
		s->type_depth = -1;
	if (s->depth > 0)
		s->depth--;
	add(s, s->p++, 1, TOKEN_VALUE);
}

/* What the word up to e is, here. */
static Token
word_token(const Scan *s, const char *e)
{
	Token		token;

	if (s->before == TOKEN_DOT)
		return TOKEN_WORD;
	if (s->before == TOKEN_CAST)
		return TOKEN_TYPE;
	token = keyword(s->p, e - s->p);
	switch (token)
	{
		case TOKEN_NOT:
			return s->before == TOKEN_IS ? TOKEN_IS : TOKEN_NOT;
		case TOKEN_FROM:
			return s->before == TOKEN_DISTINCT ? TOKEN_DISTINCT_FROM : TOKEN_FROM;
		case TOKEN_NULL:
			return s->before == TOKEN_IS || s->before == TOKEN_NOT || s->before == TOKEN_SET ||
				s->before == TOKEN_DISTINCT_FROM ? TOKEN_WORD : TOKEN_NULL;
		case TOKEN_BOOLEAN:
			return s->before == TOKEN_IS ? TOKEN_WORD : TOKEN_BOOLEAN;
		case TOKEN_RELEASE:
			return s->before == TOKEN_START ? TOKEN_SAVEPOINT : TOKEN_WORD;
		case TOKEN_SAVEPOINT:
			return s->before == TOKEN_START || s->before == TOKEN_SAVEPOINT ? TOKEN_SAVEPOINT : TOKEN_WORD;
		case TOKEN_ROLLBACK:
			return s->before == TOKEN_START ? TOKEN_ROLLBACK : TOKEN_WORD;
		case TOKEN_TRANSACTION:
			return s->before == TOKEN_ROLLBACK ? TOKEN_ROLLBACK : TOKEN_WORD;
		case TOKEN_TO:
			return s->before == TOKEN_ROLLBACK ? TOKEN_SAVEPOINT : TOKEN_OPERAND;
		default:
			return token;
	}
}

static void
read_word(Scan *s)
{
	const char *e = skip(s->p, s->end, SQL_WORD);
	Token		token = word_token(s, e);

	/* The field of EXTRACT is a constant to PostgreSQL; savepoints are often numbered. */
	if (token == TOKEN_NULL || token == TOKEN_BOOLEAN || s->before == TOKEN_EXTRACT_OPEN ||
		(s->before == TOKEN_SAVEPOINT && token != TOKEN_SAVEPOINT))
	{
		add_param(s, false);
		s->p = e;
		return;
	}
	if (token == TOKEN_BY)
		set_bit(&s->sorted, s->depth, s->before == TOKEN_ORDER && is_query_depth(s));
	else if (token == TOKEN_CLAUSE)
		set_bit(&s->sorted, s->depth, false);
	else if (token == TOKEN_SELECT && s->before == TOKEN_OPEN)
		set_bit(&s->queries, s->depth, true);
	add_name(s, s->p, e - s->p, token);
	s->p = e;
}

/* A name in quotes. */
static void
read_quoted_name(Scan *s)
{
	const char *e = quoted_end(s, s->p, false);

	if (*s->p == '`')
		s->mysql = true;
	if (s->before == TOKEN_SAVEPOINT)
		add_param(s, false);
	else
		add_name(s, s->p, e - s->p, TOKEN_VALUE);
	s->p = e;
}

/* What is one byte, or :: */
static void
read_operator(Scan *s)
{
	const char *p = s->p;
	const char *e = p + 1;
	Token		token = TOKEN_OPERATOR;

	if (*p == '-' && s->before <= TOKEN_OPERAND)
	{
		if (s->minus)
			add_due_minus(s);
		s->minus = true;
		s->minus_blank = s->blank;
		s->blank = false;
		s->before = TOKEN_OPERATOR;
		s->p = e;
		return;
	}
	if (*p == ',')
		token = TOKEN_COMMA;
	else if (*p == '.')
		token = TOKEN_DOT;
	else if (*p == '?')
		token = TOKEN_VALUE;
	else if (*p == ':' && next_is(s, p, ':'))
	{
		token = TOKEN_CAST;
		e++;
	}
	s->p = e;
	add(s, p, e - p, token);
}

/* A comment, if there is one; what stands for a list's elements is none. */
static bool
read_comment(Scan *s)
{
	const char *e = comment_end(s, s->p);

	if (e == NULL)
		return false;
	if (s->before != TOKEN_START && e - s->p == (ptrdiff_t) strlen(LIST_MARK) &&
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
	while (s->p < s->end && !(s->out && s->out->full))
	{
		const char *e;

		if (BYTE_IS(*s->p, SQL_SPACE))
		{
			s->blank = true;
			s->p++;
		}
		else if (BYTE_IS(*s->p, SQL_START) && (e = prefixed_string_end(s, s->p)) == NULL)
			read_word(s);
		else if (read_comment(s))
			continue;
		else if ((e = string_end(s, s->p)) != NULL)
		{
			add_param(s, false);
			s->p = strings_end(s, e);
		}
		else if (s->before <= TOKEN_OPERAND && (e = placeholder_end(s, s->p)) != NULL)
		{
			add(s, s->p, e - s->p, TOKEN_VALUE);
			s->p = e;
		}
		else if ((s->before != TOKEN_WORD || *s->p != '.') && (e = number_end(s, s->p)) != NULL)
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
			s->semicolon |= s->before != TOKEN_START;
			s->before = TOKEN_START;
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

static void
start_scan(Scan *s, const char *query, size_t len, TexTemplate *out)
{
	memset(s, 0, sizeof(Scan));
	s->p = query;
	s->end = query + len;
	s->out = out;
	s->before = TOKEN_START;
	s->type_depth = -1;
	s->queries = 1;
}

/* ----------------------------------------------------------------- for others */

/* How many bytes of comments, white space and empty statements a text starts with. */
size_t
tex_query_start(const char *query, size_t len)
{
	Scan		s;

	start_scan(&s, query, len, NULL);
	do
		s.p = skip_space(&s, s.p);
	while (s.p < s.end && *s.p == ';' && s.p++);
	return s.p - query;
}

/*
 * Is that SQL, by its first word?  What follows a verb is such that the template
 * has it as well.
 */
bool
tex_is_query(const char *query, size_t len)
{
	const char *end = query + len;
	const char *p = query + tex_query_start(query, len);
	const char *e;

	if (p == end || *p == '(')
		return true;
	e = p;
	while (e < end && ((*e >= 'a' && *e <= 'z') || (*e >= 'A' && *e <= 'Z')))
		e++;
	return is_verb(p, e - p) &&
		(e == end || BYTE_IS(*e, SQL_SPACE | SQL_OTHER) || strchr("('\"`[*/-;@", *e) != NULL);
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
	if (out->full && (s.highest > 0 || memchr(s.p, '$', s.end - s.p) != NULL))
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
