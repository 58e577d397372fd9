/*
 * sql_text.h
 *		SQL of any dialect as tokens: where each ends, and what words mean.
 */
#ifndef TEX_SQL_TEXT_H
#define TEX_SQL_TEXT_H

/*
 * What the token before was.  Behind those up to TEX_TOKEN_OPERAND an operand is
 * expected: a minus belongs to the number that follows it.
 */
typedef enum TexToken
{
	TEX_TOKEN_START,			/* of a statement */
	TEX_TOKEN_OPERATOR,
	TEX_TOKEN_OPEN,				/* ( or [ */
	TEX_TOKEN_EXTRACT_OPEN,
	TEX_TOKEN_COMMA,
	TEX_TOKEN_IN,
	TEX_TOKEN_BY,
	TEX_TOKEN_IS,				/* IS NOT, too */
	TEX_TOKEN_NOT,
	TEX_TOKEN_SET,
	TEX_TOKEN_FROM,
	TEX_TOKEN_DISTINCT,
	TEX_TOKEN_DISTINCT_FROM,
	TEX_TOKEN_SELECT,			/* what starts a subquery */
	TEX_TOKEN_CLAUSE,			/* what ends ORDER BY and GROUP BY */
	TEX_TOKEN_OPERAND,
	TEX_TOKEN_VALUE,
	TEX_TOKEN_WORD,
	TEX_TOKEN_DOT,
	TEX_TOKEN_CAST,				/* :: */
	TEX_TOKEN_TYPE,				/* what may have (10, 2) behind it */
	TEX_TOKEN_ARRAY,
	TEX_TOKEN_ORDER,			/* GROUP, too */
	TEX_TOKEN_EXTRACT,
	TEX_TOKEN_NULL,
	TEX_TOKEN_BOOLEAN,
	TEX_TOKEN_SAVEPOINT,		/* its name follows */
	TEX_TOKEN_RELEASE,
	TEX_TOKEN_ROLLBACK,
	TEX_TOKEN_TRANSACTION,
	TEX_TOKEN_TO
} TexToken;

/* A text that is being read. */
typedef struct TexSqlText
{
	const char *end;
	bool		flat_comments;	/* comments do not nest here */
	bool		mysql;			/* a `name` was seen; set by the reader */
} TexSqlText;

/* What a byte can be in SQL. */
#define TEX_SQL_SPACE	0x01
#define TEX_SQL_DIGIT	0x02
#define TEX_SQL_START	0x04		/* of a name */
#define TEX_SQL_OTHER	0x08		/* $, which names may go on with */
#define TEX_SQL_WORD	(TEX_SQL_START | TEX_SQL_DIGIT | TEX_SQL_OTHER)

extern const uint8 tex_sql_bytes[256];

#define TEX_SQL_IS(c, what) ((tex_sql_bytes[(unsigned char) (c)] & (what)) != 0)

/* Where the run of such bytes ends. */
static inline const char *
tex_sql_skip(const char *p, const char *end, int what)
{
	while (p < end && TEX_SQL_IS(*p, what))
		p++;
	return p;
}

/* Is that the byte after p? */
static inline bool
tex_sql_next_is(const TexSqlText *text, const char *p, char c)
{
	return text->end - p >= 2 && p[1] == c;
}

extern TexToken tex_sql_keyword(const char *word, size_t len);

/* Behind what starts at p, which is before the text's end; NULL where it is something else. */
extern const char *tex_sql_comment_end(TexSqlText *text, const char *p);
extern const char *tex_sql_string_end(const TexSqlText *text, const char *p);
extern const char *tex_sql_prefixed_string_end(const TexSqlText *text, const char *p);
extern const char *tex_sql_number_end(const TexSqlText *text, const char *p);
extern const char *tex_sql_placeholder_end(const TexSqlText *text, const char *p);

/* Behind what may be there. */
extern const char *tex_sql_skip_space(TexSqlText *text, const char *p);
extern const char *tex_sql_quoted_end(const TexSqlText *text, const char *p, bool escapes);
extern const char *tex_sql_strings_end(const TexSqlText *text, const char *e);
extern const char *tex_sql_list_end(TexSqlText *text, const char *p, char close);

extern size_t tex_sql_start(const char *query, size_t len);
extern bool tex_is_sql(const char *query, size_t len);

#endif							/* TEX_SQL_TEXT_H */
