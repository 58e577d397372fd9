/*
 * text.c
 *		What clients sent, as it may be shown.
 *
 * A name can hold anything: an escape that colours the terminal, a mark that turns
 * the direction of the line, a newline, a megabyte.  What is shown of it is one line:
 *
 *	- blanks, tabs and line ends in a row become one blank;
 *	- other control characters of ASCII become their pictures (U+241B for ESC), in
 *	  databases that are not UTF-8 a question mark;
 *	- what changes how the characters around it are shown, or stands for none
 *	  (control characters from U+0080 on, marks of direction, invisible blanks,
 *	  noncharacters), becomes U+FFFD;
 *	- joiners and variation selectors go: whether they change a width is decided by
 *	  each terminal in its own way;
 *	- of marks that stand above or below a character, MOST_MARKS stay.
 *
 * Widths are those of pg_wchar, so those by which psql pads its columns.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "analysis/words.h"
#include "render/text.h"

#define MOST_MARKS 4

typedef enum Manner
{
	SHOWN,
	BLANK,
	PICTURE,					/* of a control character of ASCII */
	REPLACED,
	LEFT_OUT,
	MARK						/* has no width of its own */
} Manner;

/* Code points from one to another, both included. */
typedef struct Range
{
	pg_wchar	from;
	pg_wchar	to;
} Range;

/* What is neither seen nor harmless. */
static const Range replaced[] = {
	{0x007f, 0x009f}, {0x00ad, 0x00ad}, {0x034f, 0x034f}, {0x061c, 0x061c}, {0x115f, 0x1160},
	{0x17b4, 0x17b5}, {0x180e, 0x180e}, {0x200b, 0x200b}, {0x200e, 0x200f}, {0x202a, 0x202e},
	{0x2060, 0x206f}, {0x3164, 0x3164}, {0xd800, 0xdfff}, {0xe000, 0xf8ff}, {0xfdd0, 0xfdef},
	{0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffc}, {0xfffe, 0xffff}, {0x1d173, 0x1d17a},
	{0xe0000, 0xe00ff}, {0xe01f0, 0xe0fff}, {0xf0000, 0x10ffff}
};

/* Joiners and variation selectors. */
static const Range left_out[] = {
	{0x180b, 0x180d}, {0x200c, 0x200d}, {0xfe00, 0xfe0f}, {0xe0100, 0xe01ef}
};

/* Blanks beyond ASCII, and ends of lines. */
static const Range blanks[] = {
	{0x0085, 0x0085}, {0x00a0, 0x00a0}, {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
	{0x205f, 0x205f}, {0x3000, 0x3000}
};

/* Whether a code point is in one of some ranges, which are sorted. */
static bool
is_in(pg_wchar code, const Range *ranges, int n)
{
	for (int i = 0; i < n && ranges[i].from <= code; i++)
		if (code <= ranges[i].to)
			return true;
	return false;
}

/* How a character is to be shown. */
static Manner
manner_of(const char *at, int len)
{
	unsigned char c = *at;
	pg_wchar	code;

	if (c == ' ' || (c >= '\t' && c <= '\r'))
		return BLANK;
	if (c < ' ' || c == 0x7f)
		return PICTURE;
	if (c < 0x80)
		return SHOWN;
	if (GetDatabaseEncoding() != PG_UTF8)
		return pg_database_encoding_max_length() > 1 || (c >= 0xa0 && GetDatabaseEncoding() != PG_SQL_ASCII) ?
			SHOWN : REPLACED;
	if (len != pg_utf_mblen((const unsigned char *) at))
		return REPLACED;
	code = utf8_to_unicode((const unsigned char *) at);
	if (is_in(code, blanks, lengthof(blanks)))
		return BLANK;
	if (is_in(code, replaced, lengthof(replaced)) || (code & 0xfffe) == 0xfffe)
		return REPLACED;
	if (is_in(code, left_out, lengthof(left_out)))
		return LEFT_OUT;
	return pg_dsplen(at) == 0 ? MARK : SHOWN;
}

/* The picture of a control character, or what stands for one that may not be shown. */
static void
put_stand_in(StringInfo line, Manner manner, unsigned char c)
{
	unsigned char picture[MAX_MULTIBYTE_CHAR_LEN + 1] = {0};
	pg_wchar	code = manner == REPLACED ? 0xfffd : c == 0x7f ? 0x2421 : 0x2400 + c;

	if (GetDatabaseEncoding() != PG_UTF8)
	{
		appendStringInfoChar(line, '?');
		return;
	}
	unicode_to_utf8(code, picture);
	appendStringInfoString(line, (char *) picture);
}

/* The bytes of a character, no more than are there. */
static int
length_at(const char *at, const char *end)
{
	return Min(pg_mblen(at), (int) (end - at));
}

/* How many characters of ASCII that are shown as they are come next: most texts are nothing else, and blanks. */
static int
plain_run(const char *at, const char *end)
{
	const char *from = at;

	while (at < end && *at > ' ' && *at < 0x7f)
		at++;
	return at - from;
}

/*
 * Adds a text to a line, as the head of the file has it: no more than "most" bytes of
 * it are looked at, and three points say that there were more.  Neither begins nor ends
 * with a blank.
 */
void
tex_clean(StringInfo line, const char *text, int len, int most)
{
	const char *end = text + (len <= most ? len : pg_mbcliplen(text, len, most));
	bool		blank = false;
	int			began = line->len;
	int			marks = 0;

	for (const char *at = text; at < end;)
	{
		int			bytes = plain_run(at, end);
		Manner		manner = bytes > 0 ? SHOWN : manner_of(at, bytes = length_at(at, end));

		marks = manner == MARK ? marks + 1 : 0;
		if (manner == BLANK)
			blank = line->len > began;
		else if (manner != LEFT_OUT && marks <= MOST_MARKS)
		{
			if (blank)
				appendStringInfoChar(line, ' ');
			blank = false;
			if (manner == SHOWN || (manner == MARK && line->len > began))
				appendBinaryStringInfo(line, at, bytes);
			else
				put_stand_in(line, manner == MARK ? REPLACED : manner, *at);
		}
		at += bytes;
	}
	if (len > most)
		appendStringInfoString(line, "...");
}

/* The same as a string; NULL is the empty one. */
char *
tex_clean_label(const char *text)
{
	StringInfoData line;

	initStringInfo(&line);
	if (text)
		tex_clean(&line, text, strlen(text), TEX_LONGEST_LABEL);
	return tex_take_string(&line);
}

/* How many columns a text takes that was cleaned. */
int
tex_display_width(const char *text, int len)
{
	int			width = 0;

	for (const char *at = text, *end = text + len; at < end; at += length_at(at, end))
		width += Max(0, pg_dsplen(at));
	return width;
}

/*
 * How many bytes of a text fit a number of columns, with the marks of the last
 * character; *taken is how many columns they take.
 */
int
tex_clip_width(const char *text, int len, int width, int *taken)
{
	const char *at = text;

	*taken = 0;
	for (const char *end = text + len; at < end; at += length_at(at, end))
	{
		int			columns = Max(0, pg_dsplen(at));

		if (*taken + columns > width)
			break;
		*taken += columns;
	}
	return at - text;
}
