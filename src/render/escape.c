/*
 * escape.c
 *		Texts in the languages that pictures and pages are written in.
 *
 * What clients sent goes through two steps.  tex_clean() (text.c) makes of it a line
 * in which every character can be seen and none does anything; what is here escapes
 * that for the place it is printed in, by one function for each language.  The second
 * step does not rely on the first: no text breaks out of its place.
 *
 * In a database of another encoding than UTF-8 what is not ASCII is printed as a
 * character reference, so that a file says the same whatever the encoding of the
 * client that writes it.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/string.h"
#include "mb/pg_wchar.h"

#include "render/escape.h"
#include "render/text.h"

/* The same text in UTF-8; where it cannot be said in that, in ASCII. */
static const char *
utf8_of(const char *text)
{
	int			encoding = GetDatabaseEncoding();
	char	   *ascii;

	if (encoding == PG_UTF8 || pg_is_ascii(text))
		return text;
	if (encoding != PG_SQL_ASCII && OidIsValid(FindDefaultConversionProc(encoding, PG_UTF8)))
		return pg_server_to_any(text, strlen(text), PG_UTF8);
	ascii = pstrdup(text);
	for (char *at = ascii; *at; at++)
		if ((unsigned char) *at >= 0x80)
			*at = '?';
	return ascii;
}

/* A text in which some characters have an escape. */
static void
put_escaped(StringInfo out, const char *text, const char *(*escape_of) (unsigned char c))
{
	bool		references = GetDatabaseEncoding() != PG_UTF8;
	const char *plain;
	int			len;

	text = utf8_of(text);
	plain = text;
	for (const char *at = text; *at; at += len)
	{
		const char *escape = escape_of(*at);

		len = references && (unsigned char) *at >= 0x80 ? pg_utf_mblen((const unsigned char *) at) : 1;
		if (escape == NULL && len == 1)
			continue;
		appendBinaryStringInfo(out, plain, at - plain);
		plain = at + len;
		if (escape)
			appendStringInfoString(out, escape);
		else
			appendStringInfo(out, "&#%u;", utf8_to_unicode((const unsigned char *) at));
	}
	appendStringInfoString(out, plain);
}

/* Of XML and HTML: what ends a text or the value of an attribute, and what XML 1.0 has no way to say. */
static const char *
xml_escape(unsigned char c)
{
	switch (c)
	{
		case '&':
			return "&amp;";
		case '<':
			return "&lt;";
		case '>':
			return "&gt;";
		case '"':
			return "&quot;";
		case '\'':
			return "&#39;";
		case '\t':
			return "&#9;";
		case '\n':
			return "&#10;";
		default:
			return c < ' ' || c == 0x7f ? "?" : NULL;
	}
}

/* The text of an element, or the value of an attribute in quotes. */
void
tex_put_xml(StringInfo out, const char *text)
{
	put_escaped(out, text, xml_escape);
}

/* Of DOT, in which references are read as in HTML. */
static const char *
dot_escape(unsigned char c)
{
	switch (c)
	{
		case '"':
			return "\\\"";
		case '\\':
			return "\\\\";
		case '\n':
			return "\\n";
		default:
			return c == '\'' ? NULL : xml_escape(c);
	}
}

/* The inside of a string in quotes. */
void
tex_put_dot(StringInfo out, const char *text)
{
	put_escaped(out, text, dot_escape);
}

/*
 * A frame of a folded stack: one line, without the semicolon that separates frames,
 * in the encoding of the database, as there are no references here.
 */
void
tex_put_frame(StringInfo out, const char *text)
{
	char	   *frame = tex_clean_label(text);

	for (const char *at = frame; *at; at++)
		appendStringInfoChar(out, *at == ';' ? ',' : *at);
}
