/*
 * svg.c
 *		Pictures: what is common to all of them.
 *
 * A picture is a file of its own: it asks for nothing, has its style in itself, goes by
 * the scheme of its viewer, light or dark, and says in <title> and <desc> what it
 * shows to those who cannot see it.  On a page the style is the page's.
 *
 * How wide a text is depends on a font that is not known here.  It is taken to be as
 * wide as in the widest of those that are asked for, DejaVu Sans, so in the others
 * there is room to spare; and what has not enough room is cut.
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "analysis/words.h"
#include "render/escape.h"
#include "render/svg.h"
#include "render/text.h"

/*
 * Colours that people with every sort of colour vision tell apart (Okabe and Ito),
 * a little darker on white and lighter on black.  None of them says anything that
 * is not said in words, or by a shape, as well.
 */
const char *const tex_picture_style =
"svg.tx,.tx{--bg:#fff;--fg:#1d2129;--dim:#5d6673;--line:#d5dae1;--soft:#f3f5f8;--bad:#b83200;--good:#006d4f;--warn:#8a5a00;"
"--s0:#0072b2;--s1:#d08600;--s2:#009e73;--s3:#b3608f;--s4:#3d9fd8;--s5:#8c6d31;--s6:#707885}"
"@media (prefers-color-scheme:dark){svg.tx,.tx{--bg:#14171c;--fg:#e7eaef;--dim:#a0a9b6;--line:#39404b;--soft:#1f242c;--bad:#ff8f66;--good:#4fd1a5;--warn:#f0b95a;"
"--s0:#4da3db;--s1:#e3a93a;--s2:#2cc295;--s3:#d98fb9;--s4:#8ccbf2;--s5:#c2a060;--s6:#9aa3b0}}"
"svg.tx{max-width:100%;height:auto;background:var(--bg)}"
".tx text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif;fill:var(--fg);unicode-bidi:isolate;white-space:pre}"
".tx .b{fill:var(--bg)}.tx .soft{fill:var(--soft)}.tx .box{fill:var(--soft);stroke:var(--line)}.tx .l{stroke:var(--line);fill:none}.tx .k{stroke:var(--fg);fill:none;stroke-width:2}"
".tx text.dim{fill:var(--dim)}.tx text.bad{fill:var(--bad);font-weight:600}.tx text.h{font-weight:600}.tx text.good{fill:var(--good);font-weight:600}.tx text.warn{fill:var(--warn);font-weight:600}"
".tx text.over{paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}"
".tx .s0{fill:var(--s0)}.tx .s1{fill:var(--s1)}.tx .s2{fill:var(--s2)}.tx .s3{fill:var(--s3)}.tx .s4{fill:var(--s4)}.tx .s5{fill:var(--s5)}.tx .s6{fill:var(--s6)}"
".tx .pale{fill-opacity:.3;stroke:var(--bg)}.tx .badfill{fill:var(--bad)}.tx .badline{stroke:var(--bad);fill:none;stroke-width:2}"
".tx .arrow{stroke:var(--dim);fill:none;stroke-width:1.5}.tx .head{fill:var(--dim)}.tx .badcard{fill:var(--bg);stroke:var(--bad);stroke-width:2}.tx .card{fill:var(--bg);stroke:var(--dim)}"
".tx .dash{stroke-dasharray:4 3}.tx .out{fill-opacity:.45;stroke:var(--dim);stroke-dasharray:3 2}.tx .err{stroke:var(--bad);stroke-width:2}.tx .dot{fill:var(--fg)}";

/* Widths of ASCII from the blank on in DejaVu Sans, in thousandths of the size. */
static const short ascii_widths[] = {
	318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337,
	636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531,
	1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787,
	603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500,
	500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612,
	635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838};

/* What is not ASCII: accented letters, what takes two columns of a terminal, and the rest, symbols among them. */
#define WIDTH_OF_LATIN	700
#define WIDTH_OF_TWO	1100
#define WIDTH_OF_ONE	1050
#define LAST_LATIN		0x24f
#define WIDTH_OF_DOTS	1000
/* Bold is wider by about as much. */
#define BOLD			1.1

/* How wide a character that is not ASCII is at most. */
static int
character_width(const char *at)
{
	int			columns = pg_dsplen(at);

	if (GetDatabaseEncoding() == PG_UTF8 && utf8_to_unicode((const unsigned char *) at) <= LAST_LATIN)
		return WIDTH_OF_LATIN;
	return columns <= 0 ? 0 : columns == 1 ? WIDTH_OF_ONE : WIDTH_OF_TWO;
}

/* How wide a clean text is at most, in pixels. */
double
tex_text_width(const char *text, int len, int size)
{
	int64		width = 0;

	for (const char *at = text, *end = text + len; at < end;)
	{
		int			bytes = Min(pg_mblen(at), (int) (end - at));

		if (*at >= ' ' && *at <= '~')
			width += ascii_widths[*at - ' '];
		else
			width += character_width(at);
		at += bytes;
	}
	return width * size / 1000.0;
}

/* How many bytes of a clean text have room. */
static int
bytes_that_fit(const char *text, double room, int size)
{
	const char *at = text;
	double		width = 0;

	while (*at)
	{
		int			bytes = Min(pg_mblen(at), (int) strlen(at));

		width += tex_text_width(at, bytes, size);
		if (width > room)
			break;
		at += bytes;
	}
	return at - text;
}

/* A coordinate: up to two digits after the point, which is none of the locale's. */
void
tex_put_number(StringInfo out, double number)
{
	int64		hundredths = llrint(Min(Max(number, -1e9), 1e9) * 100);
	int			digits = abs((int) (hundredths % 100));

	appendStringInfo(out, "%s%lld", hundredths < 0 ? "-" : "", (long long) llabs(hundredths) / 100);
	if (digits % 10 != 0)
		appendStringInfo(out, ".%02d", digits);
	else if (digits != 0)
		appendStringInfo(out, ".%d", digits / 10);
}

/* " name="number"". */
static void
put_attribute(TexSvg *svg, const char *name, double number)
{
	appendStringInfo(&svg->body, " %s=\"", name);
	tex_put_number(&svg->body, number);
	appendStringInfoChar(&svg->body, '"');
}

/* A text of a client, escaped: on one line, all of what a label may have. */
void
tex_put_clean(StringInfo out, const char *text)
{
	char	   *clean = tex_clean_label(text);

	tex_put_xml(out, clean);
	pfree(clean);
}

/* An empty picture of a width. */
TexSvg *
tex_svg_begin(double width, bool in_page)
{
	TexSvg	   *svg = palloc0(sizeof(TexSvg));

	initStringInfo(&svg->body);
	svg->width = width;
	svg->in_page = in_page;
	return svg;
}

/* The picture is complete: adds it to "out".  Title and description come as they are. */
void
tex_svg_end(TexSvg *svg, StringInfo out, double height, const char *title, const char *description)
{
	appendStringInfoString(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"tx\" role=\"img\" width=\"");
	tex_put_number(out, svg->width);
	appendStringInfoString(out, "\" height=\"");
	tex_put_number(out, height);
	appendStringInfoString(out, "\" viewBox=\"0 0 ");
	tex_put_number(out, svg->width);
	appendStringInfoChar(out, ' ');
	tex_put_number(out, height);
	appendStringInfoString(out, "\">\n<title>");
	tex_put_clean(out, title);
	appendStringInfoString(out, "</title>\n<desc>");
	tex_put_clean(out, description);
	appendStringInfoString(out, "</desc>\n");
	if (!svg->in_page)
	{
		appendStringInfo(out, "<style>%s</style>\n<rect class=\"b\" width=\"100%%\" height=\"100%%\"/>\n", tex_picture_style);
	}
	appendBinaryStringInfo(out, svg->body.data, svg->body.len);
	appendStringInfoString(out, "</svg>\n");
	pfree(svg->body.data);
	pfree(svg);
}

void
tex_svg_rect(TexSvg *svg, double x, double y, double width, double height, double radius, const char *class)
{
	appendStringInfo(&svg->body, "<rect class=\"%s\"", class);
	put_attribute(svg, "x", x);
	put_attribute(svg, "y", y);
	put_attribute(svg, "width", width);
	put_attribute(svg, "height", height);
	if (radius > 0)
		put_attribute(svg, "rx", radius);
	appendStringInfoString(&svg->body, "/>\n");
}

void
tex_svg_line(TexSvg *svg, double x1, double y1, double x2, double y2, const char *class)
{
	appendStringInfo(&svg->body, "<line class=\"%s\"", class);
	put_attribute(svg, "x1", x1);
	put_attribute(svg, "y1", y1);
	put_attribute(svg, "x2", x2);
	put_attribute(svg, "y2", y2);
	appendStringInfoString(&svg->body, "/>\n");
}

/* A piece of clean text, which fits; three points after it if it was cut. */
static void
put_piece(TexSvg *svg, double x, double y, int size, TexAnchor anchor, const char *class, const char *piece, bool cut)
{
	appendStringInfo(&svg->body, "<text font-size=\"%d\"", size);
	put_attribute(svg, "x", x);
	put_attribute(svg, "y", y);
	if (anchor != TEX_START)
		appendStringInfo(&svg->body, " text-anchor=\"%s\"", anchor == TEX_END ? "end" : "middle");
	if (class)
		appendStringInfo(&svg->body, " class=\"%s\"", class);
	appendStringInfoChar(&svg->body, '>');
	tex_put_xml(&svg->body, piece);
	appendStringInfo(&svg->body, "%s</text>\n", cut ? "&#8230;" : "");
}

/* By how much the letters of a class are wider: some are bold. */
static double
boldness(const char *class)
{
	return class && strcmp(class, "dim") != 0 && strcmp(class, "name") != 0 ? BOLD : 1;
}

/* A text on one line, at its base, cut where there is no room for it; returns how wide it may be. */
double
tex_svg_text(TexSvg *svg, double x, double y, double room, int size, TexAnchor anchor, const char *class, const char *text)
{
	char	   *clean = tex_clean_label(text);
	int			len = strlen(clean);
	double		width = tex_text_width(clean, len, size);
	bool		cut;

	room /= boldness(class);
	cut = width > room;
	if (cut)
	{
		clean[bytes_that_fit(clean, room - size * WIDTH_OF_DOTS / 1000.0, size)] = '\0';
		width = room;
	}
	if (clean[0] != '\0')
		put_piece(svg, x, y, size, anchor, class, clean, cut);
	pfree(clean);
	return width * boldness(class);
}

/* Where a line of at most so many bytes is best broken: after its last blank, if it has one. */
static int
break_at(const char *text, int fits)
{
	for (int i = fits; i > fits / 3; i--)
		if (text[i] == ' ' || (i < fits && (text[i] == '/' || text[i] == ',')))
			return text[i] == ' ' ? i : i + 1;
	return fits;
}

/* A text on as many lines as it needs, "most_lines" at most; returns the base of the line after it. */
double
tex_svg_wrapped(TexSvg *svg, double x, double y, double room, int size, int most_lines, const char *class, const char *text)
{
	StringInfoData clean;
	char	   *at;
	double		fair = room / boldness(class);

	initStringInfo(&clean);
	tex_clean(&clean, text, strlen(text), 4000);
	at = clean.data;
	for (int line = 1; *at; line++)
	{
		int			fits = bytes_that_fit(at, fair, size);
		bool		last = at[fits] == '\0';
		char	   *piece;
		int			bytes;

		if (fits == 0)
			break;
		if (line == most_lines && !last)
		{
			fits = bytes_that_fit(at, fair - size * WIDTH_OF_DOTS / 1000.0, size);
			last = true;
		}
		bytes = last ? fits : break_at(at, fits);
		piece = pnstrdup(at, bytes);
		put_piece(svg, x, y, size, TEX_START, class, piece, last && at[bytes] != '\0');
		pfree(piece);
		y += size * 1.4;
		at = last ? at + strlen(at) : at + bytes + (at[bytes] == ' ');
	}
	pfree(clean.data);
	return y;
}

/* The length of a step that makes at most about so many of them: 1, 2 or 5 times a power of ten. */
int64
tex_axis_step(int64 span, int steps)
{
	double		least = Max(1.0, (double) span / steps);
	double		power = pow(10, floor(log10(least)));

	for (int i = 0; i < 3; i++)
		if (power * (i == 0 ? 1 : i == 1 ? 2 : 5) >= least)
			return (int64) (power * (i == 0 ? 1 : i == 1 ? 2 : 5));
	return (int64) (power * 10);
}

/* A scale of time, in microseconds, with lines down to what it is for; returns the base of what is below. */
double
tex_svg_axis(TexSvg *svg, double x, double width, double y, double down_to, int64 from, int64 to)
{
	int64		span = Max(to - from, 1);
	int64		step = tex_axis_step(span, Max(2, (int) (width / 110)));

	for (int64 at = from; at <= to; at += step)
	{
		double		left = x + width * (at - from) / span;
		TexAnchor	anchor = at == from ? TEX_START : left > x + width - 30 ? TEX_END : TEX_MIDDLE;

		CHECK_FOR_INTERRUPTS();
		tex_svg_line(svg, left, y + 4, left, down_to, "l");
		tex_svg_text(svg, left, y, 100, TEX_SMALL, anchor, "dim", at == 0 ? "0" : tex_usecs_words(at));
		if (at > to - step)
			break;
	}
	return y + 18;
}
