/*
 * operation.c
 *		operation(): the name of an event as a template, in which what differs
 *		from call to call is {}.
 *
 * Latencies are kept by operation, so a service must have tens of them whatever
 * ids its names hold.  Queries are in query_template.c; here are all others.
 *
 * Words
 * - A part is a run of letters, digits, '-' and '_'.  {} belongs to it too.
 * - A piece is a run of letters and digits in it; all bytes above 0x7f are letters.
 * - An id is a piece, a UUID, a quoted literal or a whole part that becomes {}.
 *	 Ids that are joined by one of - _ . : are one id: a date, a time, an address.
 *
 * Invariant: the operation of an operation is itself.  Therefore what becomes of
 * a part depends on that part alone, and on what was written before it, never on
 * what was replaced; {} ends no part; and where the template is full, no beginning
 * of a part is left that would be judged unlike the whole: it is cut before its
 * first digit.
 *
 * Names are attackers' input: one pass, no recursion, no memory but the template.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "store/operation.h"
#include "store/sql_text.h"
#include "store/template.h"

/* A hexadecimal number shorter than this may be a word. */
#define HEX_DIGITS 8
/* So may letters and digits be that are mixed at random. */
#define TOKEN_BYTES 16
/* Digits glued to a word: fewer are a version or a part of it, more are no standard's. */
#define GLUED_DIGITS 3
#define STANDARD_DIGITS 5
#define UUID_BYTES 36
/* An HTTP status, an SQLSTATE. */
#define ERROR_CODE_BYTES 5
/*
 * All answers to requests.  What one answers is another event, and its status is no
 * operation: as one each, statuses would only split what is known of how long answers take.
 */
#define ANSWERS "(answers)"

/* What a byte can be. */
#define IS_DIGIT	0x01
#define IS_UPPER	0x02
#define IS_LOWER	0x04
#define IS_HIGH		0x08
#define IS_HEX		0x10
#define IS_JOINT	0x20		/* - and _: in a part, in no piece */
#define IS_QUOTE	0x40
#define IS_VOWEL	0x80
#define IS_LETTER	(IS_UPPER | IS_LOWER | IS_HIGH)
#define IS_WORD		(IS_LETTER | IS_DIGIT)

#define D	(IS_DIGIT | IS_HEX)
#define UH	(IS_UPPER | IS_HEX)
#define UA	(IS_UPPER | IS_HEX | IS_VOWEL)
#define UV	(IS_UPPER | IS_VOWEL)
#define U	IS_UPPER
#define LH	(IS_LOWER | IS_HEX)
#define LA	(IS_LOWER | IS_HEX | IS_VOWEL)
#define LV	(IS_LOWER | IS_VOWEL)
#define L	IS_LOWER
#define H	IS_HIGH
#define H16	H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H

static const uint8 bytes[256] = {
	['\''] = IS_QUOTE, ['"'] = IS_QUOTE, ['-'] = IS_JOINT, ['_'] = IS_JOINT,
	['0'] = D, D, D, D, D, D, D, D, D, D,
	['A'] = UA, UH, UH, UH, UA, UH, U, U, UV, U, U, U, U, U, UV, U, U, U, U, U, UV, U, U, U, UV, U,
	['a'] = LA, LH, LH, LH, LA, LH, L, L, LV, L, L, L, L, L, LV, L, L, L, L, L, LV, L, L, L, LV, L,
	[0x80] = H16, H16, H16, H16, H16, H16, H16, H16
};

#undef D
#undef UH
#undef UA
#undef UV
#undef U
#undef LH
#undef LA
#undef LV
#undef L
#undef H
#undef H16

#define BYTE_IS(c, what) ((bytes[(unsigned char) (c)] & (what)) != 0)

PG_FUNCTION_INFO_V1(tex_operation_of);

/*
 * Adds as much of a text as fits, whole characters; it must start with one.  What
 * comes after it fits no more.
 */
void
tex_template_add_clipped(TexTemplate *out, const char *text, size_t len)
{
	int			room = TEX_OPERATION_BYTES - out->len;

	if (len <= (size_t) room)
	{
		tex_template_add(out, text, len);
		return;
	}
	/* Longer than any character, so that the last one that fits is seen whole. */
	len = Min(len, (size_t) room + MAX_MULTIBYTE_CHAR_LEN);
	tex_template_add(out, text, pg_mbcliplen(text, (int) len, room));
	out->full = true;
}

/*
 * Adds an id.  After one that it is joined to, the joint goes instead.
 */
static void
add_id(TexTemplate *out)
{
	const char *text = out->text;
	int			n = out->len;

	if (n >= 3 && text[n - 3] == '{' && text[n - 2] == '}' &&
		(text[n - 1] == '-' || text[n - 1] == '_' || text[n - 1] == '.' || text[n - 1] == ':'))
		out->len--;
	else
		tex_template_add(out, "{}", 2);
}

/* ------------------------------------------------------------------ pieces */

/* Where the run of such bytes ends. */
static const char *
skip(const char *p, const char *end, int what)
{
	while (p < end && BYTE_IS(*p, what))
		p++;
	return p;
}

/* Does a UUID start here, and end with its word? */
static bool
is_uuid(const char *p, const char *end)
{
	if (end - p < UUID_BYTES || p[8] != '-' ||
		(end - p > UUID_BYTES && BYTE_IS(p[UUID_BYTES], IS_WORD)))
		return false;
	for (int i = 0; i < UUID_BYTES; i++)
	{
		if (i == 8 || i == 13 || i == 18 || i == 23 ? p[i] != '-' : !BYTE_IS(p[i], IS_HEX))
			return false;
	}
	return true;
}

/*
 * The bytes at p that are a word as people make them, up to the next digit or
 * capital: three letters or more, a vowel, and not four consonants in a row.
 */
static size_t
natural_word(const char *p, const char *word_end)
{
	bool		vowel = false;
	int			consonants = 0;

	if (word_end - p < 3)
		return 0;
	for (const char *q = p; q < word_end; q++)
	{
		if (BYTE_IS(*q, IS_VOWEL))
		{
			vowel = true;
			consonants = 0;
		}
		else if (++consonants == 4)
			return 0;
	}
	return vowel ? word_end - p : 0;
}

/*
 * Whether letters and digits are mixed as a machine mixes them: three numbers or
 * more, three tenths of it digits, or less than half of it words.  Of random text
 * of 16 bytes this sees 93 %, of 24 bytes 98 %; sha256WithRSAEncryption it leaves.
 */
static bool
is_random(const char *p, const char *end, int *numbers)
{
	size_t		len = end - p;
	size_t		digits = 0;
	size_t		natural = 0;

	*numbers = 0;
	while (p < end)
	{
		const char *word = p;

		if (BYTE_IS(*p, IS_HIGH))
			return false;
		if (BYTE_IS(*p, IS_DIGIT))
		{
			p = skip(p, end, IS_DIGIT);
			digits += p - word;
			++*numbers;
			continue;
		}
		/* Word, WORD, word; the last capital of HTTPServer begins a word. */
		p = skip(p, end, IS_UPPER);
		if (p < end && BYTE_IS(*p, IS_LOWER))
		{
			if (p - word > 1)
			{
				natural += natural_word(word, p - 1);
				word = p - 1;
			}
			p = skip(p, end, IS_LOWER);
		}
		natural += natural_word(word, p);
	}
	return *numbers >= 3 || digits * 10 >= len * 3 || (*numbers > 0 && natural * 2 < len);
}

/* Is that a time of day, as in 2024-11-30T17:00:00Z?  No more than 30T17, 00Z and 20241130T170000Z. */
static bool
is_time(const char *p, const char *end)
{
	const char *q = skip(p, end, IS_DIGIT);

	if (q > p && q < end && *q == 'T')
	{
		p = q + 1;
		q = skip(p, end, IS_DIGIT);
	}
	return q > p && (q == end || (*q == 'Z' && q + 1 == end));
}

/* Is the piece, which holds a digit, an id? */
static bool
is_id(const char *p, const char *end)
{
	size_t		len = end - p;
	int			numbers;

	if (BYTE_IS(*p, IS_DIGIT) && is_time(p, end))
		return true;			/* digits only, too */
	if (len >= HEX_DIGITS && skip(p, end, IS_HEX) == end)
		return true;
	if (len > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X') && skip(p + 2, end, IS_HEX) == end)
		return true;
	return len >= TOKEN_BYTES && is_random(p, end, &numbers);
}

/* Are these letters what a standard with a number of three digits or more begins with? */
static bool
names_a_standard(const char *p, const char *end)
{
	static const char *const standards[] = {
		"aes", "base", "crc", "float", "http", "int", "iso", "rfc", "rsa", "sha", "uint", "utf", "win", "x"
	};

	for (Size i = 0; i < lengthof(standards); i++)
	{
		if (strlen(standards[i]) == (Size) (end - p) && pg_strncasecmp(standards[i], p, end - p) == 0)
			return true;
	}
	return false;
}

/* Where the number starts that a piece of letters ends with, as in user1234, or NULL. */
static const char *
glued_number(const char *p, const char *end)
{
	const char *number = skip(p, end, IS_LETTER);

	if (end - number < GLUED_DIGITS || skip(number, end, IS_DIGIT) != end ||
		(end - number <= STANDARD_DIGITS && names_a_standard(p, number)))
		return NULL;
	return number;
}

/* ------------------------------------------------------------------- parts */

/*
 * Is the part, which holds a digit, one token that happens to have - and _ in it,
 * as base64url and nanoid make them?  Most of it must be pieces that no rule
 * would take for ids, and that no person would write.
 */
static bool
is_token(const char *p, const char *end)
{
	size_t		len = end - p;
	size_t		random = 0;

	if (len < TOKEN_BYTES)
		return false;
	while (p < end)
	{
		const char *piece = p;
		const char *number;
		int			numbers;

		if (BYTE_IS(*p, IS_JOINT))
		{
			p++;
			continue;
		}
		if (!BYTE_IS(*p, IS_WORD) || is_uuid(p, end))
			return false;
		p = skip(p, end, IS_WORD);
		number = skip(piece, p, IS_LETTER);
		if (number == p || is_id(piece, p) || glued_number(piece, p))
			continue;
		if (p - piece >= 6 && is_random(piece, p, &numbers) && numbers >= 2)
			random += p - piece;
	}
	return random * 2 >= len;
}

/*
 * Adds a piece that is no id; where it does not fit, what is before its first digit.
 */
static void
add_piece(TexTemplate *out, const char *p, const char *digit, const char *end)
{
	if (end - p <= TEX_OPERATION_BYTES - out->len)
		tex_template_add(out, p, end - p);
	else
	{
		tex_template_add_clipped(out, p, digit - p);
		out->full = true;
	}
}

/* Adds a part that holds a digit, {} or %xx. */
static void
add_part(TexTemplate *out, const char *p, const char *end)
{
	int			first_digit = -1;

	if (is_token(p, end))
	{
		add_id(out);
		return;
	}
	while (p < end && !out->full)
	{
		const char *piece = p;
		const char *digit;

		if (*p == '{')
		{
			add_id(out);
			p += 2;
			continue;
		}
		if (!BYTE_IS(*p, IS_WORD))
		{
			/* A joint, or %xx, whose digits are not ours. */
			p += *p == '%' ? 3 : 1;
			tex_template_add(out, piece, p - piece);
			continue;
		}
		if (is_uuid(p, end))
		{
			add_id(out);
			p += UUID_BYTES;
			continue;
		}
		p = skip(p, end, IS_WORD);
		digit = skip(piece, p, IS_LETTER);
		if (digit < p && is_id(piece, p))
			add_id(out);
		else if (digit < p && glued_number(piece, p))
		{
			add_piece(out, piece, digit, digit);
			add_id(out);
		}
		else
		{
			if (digit < p && first_digit < 0)
				first_digit = out->len + (int) (digit - piece);
			add_piece(out, piece, digit, p);
		}
	}
	/* The whole was no token; a beginning with digits could be one. */
	if (out->full && first_digit >= 0 && first_digit < out->len)
		out->len = first_digit;
}

/*
 * Where the literal ends that a quote opens, behind its closing quote, or NULL.
 * A quote after a word is an apostrophe.  Literals without anything between them
 * are one: 'it''s'.
 */
static const char *
literal_end(const TexTemplate *out, const char *p, const char *end)
{
	const char *close;
	const char *found = NULL;

	if (out->len > 0 &&
		(out->text[out->len - 1] == '}' || BYTE_IS(out->text[out->len - 1], IS_WORD)))
		return NULL;
	for (const char *open = p; open < end && *open == *p; open = close + 1)
	{
		close = memchr(open + 1, *p, end - open - 1);
		if (close == NULL)
			break;
		found = close + 1;
	}
	return found;
}

/* Is %xx here, in a URL? */
static inline bool
is_percent(const char *p, const char *end)
{
	return *p == '%' && end - p >= 3 && BYTE_IS(p[1], IS_HEX) && BYTE_IS(p[2], IS_HEX);
}

/*
 * Adds the template of a text: of a name, or of a segment of a URL's path.
 */
static void
add_text(TexTemplate *out, const char *p, const char *end, bool is_url)
{
	while (p < end && !out->full)
	{
		const char *part = p;
		bool		judge = false;

		for (; p < end; p++)
		{
			if (BYTE_IS(*p, IS_WORD | IS_JOINT))
				judge |= BYTE_IS(*p, IS_DIGIT);
			else if ((*p == '{' && end - p >= 2 && p[1] == '}') || (is_url && is_percent(p, end)))
			{
				judge = true;
				p += *p == '{' ? 1 : 2;
			}
			else
				break;
		}
		if (judge)
			add_part(out, part, p);
		else if (p > part)
			tex_template_add_clipped(out, part, p - part);
		if (p < end)
		{
			const char *literal = BYTE_IS(*p, IS_QUOTE) ? literal_end(out, p, end) : NULL;

			if (literal)
			{
				add_id(out);
				p = literal;
			}
			else
				tex_template_add(out, p++, 1);
		}
	}
}

/* -------------------------------------------------------------------- URLs */

/*
 * Is the segment of a path somebody's address?  Whatever starts like one is, so
 * that a segment that is cut is judged like the whole.
 */
static bool
is_email(const char *segment, const char *end)
{
	bool		at = false;

	for (const char *p = segment; p < end; p++)
	{
		if (*p == '@' || (*p == '%' && end - p >= 3 && p[1] == '4' && p[2] == '0'))
		{
			const char *host = p + (*p == '@' ? 1 : 3);

			at |= p > segment && host < end && BYTE_IS(*host, IS_LETTER);
		}
		else if (at && *p == '.' && p + 1 < end)
			return true;
	}
	return false;
}

/* Where a segment of a path ends, and whether it holds what add_text() must see. */
static const char *
segment_end(const char *p, const char *end, bool *plain, bool *address)
{
	*plain = true;
	*address = false;
	for (; p < end && *p != '/' && *p != '?' && *p != '#'; p++)
	{
		if (BYTE_IS(*p, IS_DIGIT | IS_QUOTE))
			*plain = false;
		else if (*p == '@')
			*address = true;
		else if (*p == '%')
		{
			*plain = false;
			*address = true;
		}
	}
	return p;
}

/* Adds scheme and host of a URL, if it has them; who logs in is a secret. Returns its path. */
static const char *
add_host(TexTemplate *out, const char *p, const char *end)
{
	const char *host = skip(p, end, IS_LETTER);

	if (host == p || end - host < 3 || memcmp(host, "://", 3) != 0)
		return p;
	host += 3;
	tex_template_add_clipped(out, p, host - p);
	for (p = host; p < end && *p != '/' && *p != '?' && *p != '#'; p++)
	{
		if (*p == '@')
			host = p + 1;
	}
	tex_template_add_clipped(out, host, p - host);
	return p;
}

/* "METHOD url" */
static void
add_request(TexTemplate *out, const char *p, const char *end)
{
	const char *url = skip(p, end, IS_LETTER);

	if (url > p && url < end && *url == ' ')
	{
		while (url < end && *url == ' ')
			url++;
		tex_template_add_clipped(out, p, url - p);
		p = url;
	}
	p = add_host(out, p, end);
	while (p < end && *p != '?' && *p != '#' && !out->full)
	{
		const char *segment = p;
		bool		plain;
		bool		address;

		p = segment_end(p, end, &plain, &address);
		if (address && is_email(segment, p))
			add_id(out);
		else if (plain)
			tex_template_add_clipped(out, segment, p - segment);
		else
			add_text(out, segment, p, true);
		if (p < end && *p == '/')
			tex_template_add(out, p++, 1);
	}
}

/* -------------------------------------------------------------- the function */

/* Is there nothing in the name that could be replaced? */
static bool
is_plain(const char *p, const char *end)
{
	for (; p < end; p++)
	{
		if (BYTE_IS(*p, IS_DIGIT | IS_QUOTE))
			return false;
	}
	return true;
}

/* A status or an SQLSTATE is what an error is, not one of many. */
static bool
is_error_code(const char *p, const char *end)
{
	if (end - p > ERROR_CODE_BYTES)
		return false;
	for (; p < end; p++)
	{
		if (!BYTE_IS(*p, IS_DIGIT | IS_UPPER))
			return false;
	}
	return true;
}

/*
 * The operation of an event of that kind and name: at most TEX_OPERATION_BYTES
 * bytes of whole characters, allocated in the current memory context.  Never
 * fails, whatever the name holds, but for a name that is toasted and lost.
 */
text *
tex_operation(TexKind kind, text *name)
{
	TexTemplate out;
	text	   *detoasted = pg_detoast_datum_packed(name);
	const char *p = VARDATA_ANY(detoasted);
	const char *end = p + VARSIZE_ANY_EXHDR(detoasted);
	text	   *result;

	out.len = 0;
	out.full = false;
	if (kind == TEX_HTTP_RESPONSE)
		tex_template_add(&out, ANSWERS, strlen(ANSWERS));
	else if (kind == TEX_HTTP_REQUEST)
		add_request(&out, p, end);
	else if (kind == TEX_DATABASE_QUERY && tex_is_sql(p, end - p))
		tex_query_template(&out, p, end - p);
	else
	{
		if (kind == TEX_DATABASE_QUERY)
			p += tex_sql_start(p, end - p);
		if ((kind == TEX_ERROR && is_error_code(p, end)) ||
			(end - p <= TEX_OPERATION_BYTES && is_plain(p, end)))
			tex_template_add_clipped(&out, p, end - p);
		else
			add_text(&out, p, end, false);
	}

	result = cstring_to_text_with_len(out.text, out.len);
	if (detoasted != name)
		pfree(detoasted);
	return result;
}

/*
 * operation(event_kind, text) returns text
 */
Datum
tex_operation_of(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(tex_operation(tex_kind_by_oid(PG_GETARG_OID(0)), PG_GETARG_TEXT_PP(1)));
}
