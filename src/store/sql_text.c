/*
 * sql_text.c
 *		SQL of any dialect as tokens: where each ends, and what words mean.
 *
 * What is quoted and never ends goes on to the end of the text.  Everything here is
 * linear: what is looked at ahead is read once more at most.
 */
#include "postgres.h"

#include "store/sql_text.h"

typedef struct Keyword
{
	const char *word;
	TexToken	token;
} Keyword;

/* Sorted; all others are names. */
static const Keyword keywords[] = {
	{"all", TEX_TOKEN_OPERAND}, {"and", TEX_TOKEN_OPERAND}, {"any", TEX_TOKEN_OPERAND},
	{"array", TEX_TOKEN_ARRAY}, {"as", TEX_TOKEN_OPERAND}, {"between", TEX_TOKEN_OPERAND},
	{"bit", TEX_TOKEN_TYPE}, {"bpchar", TEX_TOKEN_TYPE}, {"by", TEX_TOKEN_BY},
	{"case", TEX_TOKEN_OPERAND}, {"char", TEX_TOKEN_TYPE}, {"character", TEX_TOKEN_TYPE},
	{"dec", TEX_TOKEN_TYPE}, {"decimal", TEX_TOKEN_TYPE}, {"default", TEX_TOKEN_OPERAND},
	{"distinct", TEX_TOKEN_DISTINCT}, {"else", TEX_TOKEN_OPERAND}, {"except", TEX_TOKEN_CLAUSE},
	{"extract", TEX_TOKEN_EXTRACT}, {"false", TEX_TOKEN_BOOLEAN}, {"fetch", TEX_TOKEN_CLAUSE},
	{"float", TEX_TOKEN_TYPE}, {"for", TEX_TOKEN_CLAUSE}, {"from", TEX_TOKEN_FROM},
	{"group", TEX_TOKEN_ORDER}, {"having", TEX_TOKEN_CLAUSE}, {"ilike", TEX_TOKEN_OPERAND},
	{"in", TEX_TOKEN_IN}, {"intersect", TEX_TOKEN_CLAUSE}, {"interval", TEX_TOKEN_TYPE},
	{"is", TEX_TOKEN_IS}, {"like", TEX_TOKEN_OPERAND}, {"limit", TEX_TOKEN_CLAUSE},
	{"nchar", TEX_TOKEN_TYPE}, {"not", TEX_TOKEN_NOT}, {"null", TEX_TOKEN_NULL},
	{"numeric", TEX_TOKEN_TYPE}, {"offset", TEX_TOKEN_CLAUSE}, {"on", TEX_TOKEN_OPERAND},
	{"or", TEX_TOKEN_OPERAND}, {"order", TEX_TOKEN_ORDER}, {"release", TEX_TOKEN_RELEASE},
	{"return", TEX_TOKEN_OPERAND}, {"returning", TEX_TOKEN_CLAUSE},
	{"rollback", TEX_TOKEN_ROLLBACK}, {"savepoint", TEX_TOKEN_SAVEPOINT},
	{"select", TEX_TOKEN_SELECT}, {"set", TEX_TOKEN_SET}, {"similar", TEX_TOKEN_OPERAND},
	{"some", TEX_TOKEN_OPERAND}, {"symmetric", TEX_TOKEN_OPERAND}, {"then", TEX_TOKEN_OPERAND},
	{"time", TEX_TOKEN_TYPE}, {"timestamp", TEX_TOKEN_TYPE}, {"timestamptz", TEX_TOKEN_TYPE},
	{"timetz", TEX_TOKEN_TYPE}, {"to", TEX_TOKEN_TO}, {"transaction", TEX_TOKEN_TRANSACTION},
	{"true", TEX_TOKEN_BOOLEAN}, {"union", TEX_TOKEN_CLAUSE}, {"values", TEX_TOKEN_SELECT},
	{"varbit", TEX_TOKEN_TYPE}, {"varchar", TEX_TOKEN_TYPE}, {"varying", TEX_TOKEN_TYPE},
	{"when", TEX_TOKEN_OPERAND}, {"where", TEX_TOKEN_CLAUSE}, {"window", TEX_TOKEN_CLAUSE},
	{"with", TEX_TOKEN_SELECT}, {"work", TEX_TOKEN_TRANSACTION}
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

#define S	TEX_SQL_SPACE
#define D	TEX_SQL_DIGIT
#define W	TEX_SQL_START
#define W16	W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W

const uint8 tex_sql_bytes[256] = {
	['\t'] = S, S, S, S, S, [' '] = S, ['$'] = TEX_SQL_OTHER, ['_'] = W,
	['0'] = D, D, D, D, D, D, D, D, D, D,
	['A'] = W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
	['a'] = W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
	[0x80] = W16, W16, W16, W16, W16, W16, W16, W16
};

#undef S
#undef D
#undef W
#undef W16

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

/* The keywords that start with a letter. */
typedef struct Letter
{
	uint8		first;
	uint8		count;
	uint16		lengths;		/* bit n: one has n letters */
} Letter;

static Letter letters['z' - 'a' + 1];
static uint8 keyword_lengths[lengthof(keywords)];

/* Fills in both, once a process. */
static void
index_keywords(void)
{
	for (int i = lengthof(keywords) - 1; i >= 0; i--)
	{
		Letter	   *letter = &letters[keywords[i].word[0] - 'a'];

		keyword_lengths[i] = strlen(keywords[i].word);
		letter->first = i;
		letter->count++;
		letter->lengths |= 1 << keyword_lengths[i];
	}
}

/*
 * What the word is to us.  Most are names, so only the keywords of that letter and
 * length are looked at.
 */
TexToken
tex_sql_keyword(const char *word, size_t len)
{
	int			n = (word[0] | 0x20) - 'a';
	const Letter *letter;

	if (len > LONGEST_KEYWORD || n < 0 || n > 'z' - 'a')
		return TEX_TOKEN_WORD;
	if (letters[0].count == 0)
		index_keywords();
	letter = &letters[n];
	if ((letter->lengths >> len & 1) == 0)
		return TEX_TOKEN_WORD;
	for (int i = letter->first; i < letter->first + letter->count; i++)
	{
		if (keyword_lengths[i] == len && compare_word(word, len, keywords[i].word) == 0)
			return keywords[i].token;
	}
	return TEX_TOKEN_WORD;
}

/* Does SQL have such a verb? */
static bool
is_verb(const char *word, size_t len)
{
	int			low = 0;
	int			high = lengthof(verbs) - 1;

	if (len == 0 || len > LONGEST_VERB)
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

/*
 * Behind a block comment.  They nest, but for a text where one then never
 * ends: of such a dialect, or hostile, and read but once.
 */
static const char *
block_comment_end(TexSqlText *text, const char *p)
{
	const char *first = NULL;
	int			depth = 0;

	while (text->end - p >= 2)
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
			if (--depth == 0 || text->flat_comments)
				return p;
		}
		else
			p++;
	}
	text->flat_comments = true;
	return first ? first : text->end;
}

/* Behind the comment that starts here, or NULL. */
const char *
tex_sql_comment_end(TexSqlText *text, const char *p)
{
	if ((*p == '-' && tex_sql_next_is(text, p, '-')) || (*p == '#' && text->mysql))
	{
		while (p < text->end && *p != '\n' && *p != '\r')
			p++;
		return p;
	}
	if (*p == '/' && tex_sql_next_is(text, p, '*'))
		return block_comment_end(text, p);
	return NULL;
}

/* Behind white space and comments. */
const char *
tex_sql_skip_space(TexSqlText *text, const char *p)
{
	while (p < text->end)
	{
		const char *behind = TEX_SQL_IS(*p, TEX_SQL_SPACE) ? p + 1 : tex_sql_comment_end(text, p);

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
const char *
tex_sql_quoted_end(const TexSqlText *text, const char *p, bool escapes)
{
	char		quote = *p++;

	for (; p < text->end; p++)
	{
		if (*p == '\\' && text->end - p >= 2)
		{
			if (escapes || (quote == '\'' && p[1] == quote && text->end - p >= 3 &&
							TEX_SQL_IS(p[2], TEX_SQL_START | TEX_SQL_DIGIT)))
				p++;
		}
		else if (*p == quote)
		{
			if (!tex_sql_next_is(text, p, quote))
				return p + 1;
			p++;
		}
	}
	return text->end;
}

/* Behind $tag$ ... $tag$, or NULL where no tag is. */
static const char *
dollar_quoted_end(const TexSqlText *text, const char *p)
{
	const char *tag = p;
	size_t		len;

	p++;
	if (p < text->end && TEX_SQL_IS(*p, TEX_SQL_START))
		p = tex_sql_skip(p, text->end, TEX_SQL_START | TEX_SQL_DIGIT);
	if (p == text->end || *p != '$')
		return NULL;
	len = ++p - tag;
	while ((p = memchr(p, '$', text->end - p)) != NULL)
	{
		if ((size_t) (text->end - p) < len)
			break;
		if (memcmp(p, tag, len) == 0)
			return p + len;
		p++;
	}
	return text->end;
}

/* Behind the string constant that starts with letters here, or NULL.  The N of N'x' is a word. */
const char *
tex_sql_prefixed_string_end(const TexSqlText *text, const char *p)
{
	if (tex_sql_next_is(text, p, '\''))
	{
		if (strchr("eEbBxX", *p) != NULL)
			return tex_sql_quoted_end(text, p + 1, text->mysql || *p == 'e' || *p == 'E');
	}
	else if (tex_sql_next_is(text, p, '&') && (*p == 'u' || *p == 'U') && tex_sql_next_is(text, p + 1, '\''))
		return tex_sql_quoted_end(text, p + 2, text->mysql);
	return NULL;
}

/* Behind the string constant that starts here, or NULL. */
const char *
tex_sql_string_end(const TexSqlText *text, const char *p)
{
	if (*p == '\'' || (*p == '"' && text->mysql))
		return tex_sql_quoted_end(text, p, text->mysql);
	if (*p == '$')
		return dollar_quoted_end(text, p);
	return TEX_SQL_IS(*p, TEX_SQL_START) ? tex_sql_prefixed_string_end(text, p) : NULL;
}

/* Behind the strings that go on with the one that ends at e: 'it' 's' is one. */
const char *
tex_sql_strings_end(const TexSqlText *text, const char *e)
{
	while (e < text->end && TEX_SQL_IS(*e, TEX_SQL_SPACE))
	{
		const char *next = tex_sql_skip(e, text->end, TEX_SQL_SPACE);

		if (next == text->end || *next != '\'')
			break;
		e = tex_sql_string_end(text, next);
	}
	return e;
}

/*
 * Behind the number that starts here, or NULL.  Letters that stick to it belong to
 * it: 0x1F, 1e5, 1_000, and the id of another kind of store.
 */
const char *
tex_sql_number_end(const TexSqlText *text, const char *p)
{
	if (!TEX_SQL_IS(*p, TEX_SQL_DIGIT) &&
		!(*p == '.' && text->end - p >= 2 && TEX_SQL_IS(p[1], TEX_SQL_DIGIT)))
		return NULL;
	for (;;)
	{
		p = tex_sql_skip(p, text->end, TEX_SQL_WORD);
		if (p == text->end)
			return p;
		/* A point, but not 1..10, and the sign of an exponent. */
		if (*p == '.' && !tex_sql_next_is(text, p, '.'))
			p++;
		else if ((*p == '-' || *p == '+') && (p[-1] == 'e' || p[-1] == 'E') &&
				 text->end - p >= 2 && TEX_SQL_IS(p[1], TEX_SQL_DIGIT))
			p++;
		else
			return p;
	}
}

/*
 * Behind the placeholder that starts here, where an operand is expected, or NULL:
 * ?, ?1, :1, :name, @name, %s, %(name)s.
 */
const char *
tex_sql_placeholder_end(const TexSqlText *text, const char *p)
{
	const char *e;

	switch (*p)
	{
		case '?':
			return tex_sql_skip(p + 1, text->end, TEX_SQL_DIGIT);
		case ':':
		case '@':
			e = tex_sql_skip(p + 1, text->end, TEX_SQL_START | TEX_SQL_DIGIT);
			return e > p + 1 ? e : NULL;
		case '%':
			if (tex_sql_next_is(text, p, 's'))
				return p + 2;
			if (!tex_sql_next_is(text, p, '('))
				return NULL;
			e = tex_sql_skip(p + 2, text->end, TEX_SQL_START | TEX_SQL_DIGIT);
			return text->end - e >= 2 && e[0] == ')' && e[1] == 's' ? e + 2 : NULL;
		default:
			return NULL;
	}
}

/*
 * Behind the constant or placeholder that starts here, with its casts, or NULL:
 * an element of a list that is not told in full.
 */
static const char *
element_end(TexSqlText *text, const char *p)
{
	const char *e;

	if (*p == '-' || *p == '+')
	{
		p = tex_sql_skip_space(text, p + 1);
		e = p < text->end ? tex_sql_number_end(text, p) : NULL;
	}
	else if ((e = tex_sql_string_end(text, p)) != NULL)
		e = tex_sql_strings_end(text, e);
	else if ((e = tex_sql_number_end(text, p)) != NULL)
		;
	else if ((e = tex_sql_placeholder_end(text, p)) != NULL)
		;
	else if (*p == '$')
	{
		e = tex_sql_skip(p + 1, text->end, TEX_SQL_DIGIT);
		if (e == p + 1)
			return NULL;
	}
	else if (TEX_SQL_IS(*p, TEX_SQL_START))
	{
		TexToken	token;

		e = tex_sql_skip(p, text->end, TEX_SQL_WORD);
		token = tex_sql_keyword(p, e - p);
		if (token != TEX_TOKEN_NULL && token != TEX_TOKEN_BOOLEAN)
		{
			/* DATE '2024-11-30' */
			p = tex_sql_skip_space(text, e);
			e = p < text->end && *p == '\'' ? tex_sql_string_end(text, p) : NULL;
		}
	}
	if (e == NULL)
		return NULL;

	for (;;)
	{
		p = tex_sql_skip_space(text, e);
		if (text->end - p < 3 || p[0] != ':' || p[1] != ':')
			return e;
		p = tex_sql_skip_space(text, p + 2);
		e = tex_sql_skip(p, text->end, TEX_SQL_WORD | TEX_SQL_SPACE);
		if (e == p)
			return NULL;
		/* pg_catalog.varchar(20)[] */
		while (e < text->end && (*e == '.' || *e == '[' || *e == ']'))
			e = tex_sql_skip(e + 1, text->end, TEX_SQL_WORD);
		if (e < text->end && *e == '(')
		{
			do
				e = tex_sql_skip(e + 1, text->end, TEX_SQL_DIGIT | TEX_SQL_SPACE);
			while (e < text->end && *e == ',');
			if (e == text->end || *e != ')')
				return NULL;
			e++;
			while (e < text->end && (*e == '[' || *e == ']'))
				e++;
		}
	}
}

/*
 * Where the list ends, at what closes it, if it has at least two elements and is
 * made of nothing but constants and placeholders.  p is behind what opens it.
 */
const char *
tex_sql_list_end(TexSqlText *text, const char *p, char close)
{
	for (int n = 1;; n++)
	{
		p = tex_sql_skip_space(text, p);
		if (p == text->end || (p = element_end(text, p)) == NULL)
			return NULL;
		p = tex_sql_skip_space(text, p);
		if (p == text->end)
			return NULL;
		if (*p == close)
			return n >= 2 ? p : NULL;
		if (*p++ != ',')
			return NULL;
	}
}

/* How many bytes of comments, white space and empty statements a text starts with. */
size_t
tex_sql_start(const char *query, size_t len)
{
	TexSqlText	text = {.end = query + len};
	const char *p = query;

	for (;;)
	{
		p = tex_sql_skip_space(&text, p);
		if (p == text.end || *p != ';')
			return p - query;
		p++;
	}
}

/*
 * Is that SQL, by its first word?  What may follow a verb is what may in a template,
 * too, so that the template of SQL is SQL, and that of a name none.
 */
bool
tex_is_sql(const char *query, size_t len)
{
	const char *end = query + len;
	const char *p = query + tex_sql_start(query, len);
	const char *e;

	if (p == end || *p == '(')
		return true;
	e = p;
	while (e < end && ((*e >= 'a' && *e <= 'z') || (*e >= 'A' && *e <= 'Z')))
		e++;
	return is_verb(p, e - p) &&
		(e == end || TEX_SQL_IS(*e, TEX_SQL_SPACE | TEX_SQL_OTHER) || strchr("('\"`[*/-;@", *e) != NULL);
}

