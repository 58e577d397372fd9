/*
 * services_picture.c
 *		Who calls whom, as a picture for a page.
 *
 * Services stand in columns: first those that nobody calls, then those that they call,
 * and so on.  What a call says stands before the service that is called, so that no two
 * of these are in one place.  For other layouts there is service_dot().
 */
#include "postgres.h"

#include "miscadmin.h"

#include "analysis/words.h"
#include "render/services.h"
#include "render/svg.h"

#define MARGIN		16
#define BOX_WIDTH	170
#define BOX_HEIGHT	58
#define ROW			84
#define COLUMN		(BOX_WIDTH + 210)
#define TOP			34
#define MOST_SERVICES 60
#define MOST_LABELS 3			/* before a service, above what comes to it, and below */

typedef struct Layout
{
	const TexServices *services;
	TexSvg	   *svg;
	int			n;
	int		   *column;			/* of each service */
	int		   *row;
	int		   *labels;			/* how many stand before it */
	int			columns;
	int			rows;
} Layout;

/* The next service that has no column: one that only others without a column call, if there is one. */
static int
next_root(const Layout *layout)
{
	for (int i = 0; i < layout->n; i++)
	{
		bool		called = false;

		if (layout->column[i] >= 0)
			continue;
		for (int j = 0; j < layout->services->ncalls; j++)
			called |= layout->services->calls[j].to == i && layout->services->calls[j].from != i;
		if (!called)
			return i;
	}
	for (int i = 0; i < layout->n; i++)
		if (layout->column[i] < 0)
			return i;
	return -1;
}

/* Gives each service its column: one more than the first one that calls it and has one. */
static void
set_columns(Layout *layout)
{
	int		   *queue = palloc(sizeof(int) * Max(layout->n, 1));

	for (int i = 0; i < layout->n; i++)
		layout->column[i] = -1;
	for (int root; (root = next_root(layout)) >= 0;)
	{
		int			begin = 0;
		int			end = 0;

		CHECK_FOR_INTERRUPTS();
		layout->column[root] = 0;
		queue[end++] = root;
		while (begin < end)
		{
			int			at = queue[begin++];

			for (int j = 0; j < layout->services->ncalls; j++)
			{
				const TexCalls *calls = &layout->services->calls[j];

				if (calls->from != at || calls->to >= layout->n || layout->column[calls->to] >= 0)
					continue;
				layout->column[calls->to] = layout->column[at] + 1;
				queue[end++] = calls->to;
			}
		}
	}
	pfree(queue);
}

/* Gives each service its row, in the order in which they come. */
static void
set_rows(Layout *layout)
{
	int		   *used = palloc0(sizeof(int) * (layout->n + 1));

	for (int i = 0; i < layout->n; i++)
	{
		layout->row[i] = used[layout->column[i]]++;
		layout->rows = Max(layout->rows, layout->row[i] + 1);
		layout->columns = Max(layout->columns, layout->column[i] + 1);
	}
	pfree(used);
}

static double
left_of(const Layout *layout, int service)
{
	return MARGIN + layout->column[service] * COLUMN;
}

static double
middle_of(const Layout *layout, int service)
{
	return TOP + layout->row[service] * ROW + BOX_HEIGHT / 2.0;
}

/* A curve from a service to one that it calls; back ones go around below. */
static void
put_curve(Layout *layout, const TexCalls *calls)
{
	StringInfo	body = &layout->svg->body;
	bool		forward = layout->column[calls->to] > layout->column[calls->from];
	double		x1 = left_of(layout, calls->from) + BOX_WIDTH;
	double		y1 = middle_of(layout, calls->from);
	double		x2 = left_of(layout, calls->to) + (forward ? -8 : BOX_WIDTH + 8);
	double		y2 = middle_of(layout, calls->to) + (forward ? 0 : 14);
	double		bend = forward ? (x2 - x1) / 2 : 60;
	double		numbers[] = {x1, y1, x1 + bend, y1, x2 + (forward ? -bend : bend), y2, x2, y2};

	appendStringInfo(body, "<path class=\"%s\" d=\"", calls->errors > 0 ? "badline" : "arrow");
	for (size_t i = 0; i < lengthof(numbers); i++)
	{
		appendStringInfoString(body, i == 0 ? "M" : i == 2 ? "C" : " ");
		tex_put_number(body, numbers[i]);
	}
	appendStringInfo(body, "\"/>\n<path class=\"%s\" d=\"M", calls->errors > 0 ? "badfill" : "head");
	tex_put_number(body, x2 + (forward ? 8 : -8));
	appendStringInfoChar(body, ' ');
	tex_put_number(body, y2);
	appendStringInfo(body, "l%d -4v8z\"/>\n", forward ? -8 : 8);
}

/* How many services call one. */
static int
callers_of(const Layout *layout, int service)
{
	int			n = 0;

	for (int i = 0; i < layout->services->ncalls; i++)
		n += layout->services->calls[i].to == service;
	return n;
}

/*
 * What is to be said of calls, before the one that is called, where they come from the left: on the side of
 * their arrow from which it does not come.
 */
static void
put_label(Layout *layout, const TexCalls *calls)
{
	bool		below = layout->row[calls->to] > layout->row[calls->from];
	int		   *labels = &layout->labels[2 * calls->to + below];
	double		y = middle_of(layout, calls->to) + (below ? 16 + *labels * 13 : -6 - *labels * 13);
	StringInfoData text;

	if (layout->column[calls->to] <= layout->column[calls->from] || *labels >= MOST_LABELS)
		return;
	(*labels)++;
	initStringInfo(&text);
	if (callers_of(layout, calls->to) > 1)
		appendStringInfo(&text, "%s: ", layout->services->services[calls->from].name);
	if (calls->errors > 0)
		appendStringInfo(&text, "%lld of ", (long long) calls->errors);
	appendStringInfo(&text, "%lld %s", (long long) calls->calls, calls->errors > 0 ? "failed" : calls->calls == 1 ? "call" : "calls");
	if (calls->ms >= 0 && calls->errors == 0)
		appendStringInfo(&text, ", %s%s", layout->services->ms_is, tex_usecs_words((int64) (calls->ms * 1000)));
	tex_svg_text(layout->svg, left_of(layout, calls->to) - 12, y, 192, TEX_SMALL, TEX_END,
				 calls->errors > 0 ? "bad over" : "dim over", text.data);
	pfree(text.data);
}

/* A service. */
static void
put_service(Layout *layout, int number)
{
	const TexService *service = &layout->services->services[number];
	double		x = left_of(layout, number);
	double		y = middle_of(layout, number) - BOX_HEIGHT / 2.0;
	bool		ill = service->status && strcmp(service->status, "healthy") != 0;

	tex_svg_rect(layout->svg, x, y, BOX_WIDTH, BOX_HEIGHT, 6, ill ? "badcard" : "card");
	tex_svg_rect(layout->svg, x + 1, y + 6, 5, BOX_HEIGHT - 12, 2, psprintf("s%d", service->color));
	tex_svg_text(layout->svg, x + 14, y + 18, BOX_WIDTH - 20, TEX_TEXT, TEX_START, "h", service->name);
	if (service->requests >= 0)
		tex_svg_text(layout->svg, x + 14, y + 34, BOX_WIDTH - 20, TEX_SMALL, TEX_START, "dim",
					 psprintf("%lld requests, %lld failed", (long long) service->requests, (long long) service->errors));
	if (service->p95_ms >= 0 || ill)
		tex_svg_text(layout->svg, x + 14, y + 49, BOX_WIDTH - 20, TEX_SMALL, TEX_START, ill ? "bad" : "dim",
					 psprintf("%s%s%s%s", ill ? service->status : "", ill && service->p95_ms >= 0 ? ", " : "", service->p95_ms >= 0 ? "p95 " : "",
							  service->p95_ms >= 0 ? tex_usecs_words((int64) (service->p95_ms * 1000)) : ""));
}

/* Draws services and their calls. */
void
tex_services_picture(StringInfo out, const TexServices *services, const char *title, bool in_page)
{
	Layout		layout = {.services = services,.n = Min(services->n, MOST_SERVICES)};
	double		width;

	layout.column = palloc0(sizeof(int) * Max(layout.n, 1));
	layout.row = palloc0(sizeof(int) * Max(layout.n, 1));
	layout.labels = palloc0(sizeof(int) * Max(2 * layout.n, 1));
	set_columns(&layout);
	set_rows(&layout);
	width = Max(600, 2 * MARGIN + (layout.columns - 1) * COLUMN + BOX_WIDTH + 80);
	layout.svg = tex_svg_begin(width, in_page);
	if (services->n > layout.n)
		tex_svg_text(layout.svg, MARGIN, 20, width - 2 * MARGIN, TEX_SMALL, TEX_START, "dim",
					 psprintf("%d more services are not drawn: service_dot() has them all", services->n - layout.n));
	else if (layout.n == 0)
		tex_svg_text(layout.svg, MARGIN, 20, width - 2 * MARGIN, TEX_SMALL, TEX_START, "dim", "No service was seen.");
	for (int i = 0; i < services->ncalls; i++)
		if (services->calls[i].from < layout.n && services->calls[i].to < layout.n)
			put_curve(&layout, &services->calls[i]);
	for (int i = 0; i < layout.n; i++)
		put_service(&layout, i);
	for (int i = 0; i < services->ncalls; i++)
		if (services->calls[i].from < layout.n && services->calls[i].to < layout.n)
			put_label(&layout, &services->calls[i]);
	tex_svg_end(layout.svg, out, TOP + layout.rows * ROW, title, "Services as boxes, an arrow from who calls to who is called.");
}
