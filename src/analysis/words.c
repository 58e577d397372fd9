/*
 * words.c
 *		Events in words, as people read them.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "analysis/words.h"
#include "common/amounts.h"

/* A name is shown up to this many bytes. */
#define LONGEST_NAME 80

/* The kind as one word; of an access what it did. */
static const char *const kind_words[TEX_KIND_COUNT] = {
	[TEX_FUNCTION_CALL] = "call",
	[TEX_ASYNC_SPAWN] = "spawn",
	[TEX_ASYNC_AWAIT] = "await",
	[TEX_LOCK_ACQUIRE] = "lock",
	[TEX_LOCK_RELEASE] = "unlock",
	[TEX_MEMORY_FENCE] = "fence",
	[TEX_HTTP_REQUEST] = "request",
	[TEX_HTTP_RESPONSE] = "response",
	[TEX_DATABASE_QUERY] = "query",
	[TEX_DATABASE_RESULT] = "result",
	[TEX_ERROR] = "error",
};

static const char *const access_words[] = {
	[TEX_READ] = "read",
	[TEX_WRITE] = "write",
	[TEX_ATOMIC_READ] = "atomic read",
	[TEX_ATOMIC_WRITE] = "atomic write",
	[TEX_ATOMIC_RMW] = "atomic update",
};

/* A name on one line: blanks and control characters become one blank, what is long is cut. */
static void
say_name(StringInfo text, const char *name)
{
	int			len = strlen(name);
	int			cut = len <= LONGEST_NAME ? len : pg_mbcliplen(name, len, LONGEST_NAME - 3);
	bool		blank = false;

	for (int i = 0; i < cut; i++)
	{
		bool		is_blank = (unsigned char) name[i] <= ' ' || name[i] == 0x7f;

		if (!is_blank)
			appendStringInfoChar(text, name[i]);
		else if (!blank)
			appendStringInfoChar(text, ' ');
		blank = is_blank;
	}
	if (cut < len)
		appendStringInfoString(text, "...");
}

/* What an event did, in a word; NULL: a custom event. */
const char *
tex_event_verb(const TexOneTrace *one, int32 event)
{
	const TexEvent *e = &one->events[event];

	return e->kind == TEX_STATE_CHANGE ? access_words[e->access] : kind_words[e->kind];
}

/* "read accounts.alice", "request GET /": what an event was. */
void
tex_say_event(StringInfo text, const TexOneTrace *one, int32 event)
{
	const TexEvent *e = &one->events[event];
	const char *kind = tex_event_verb(one, event);
	const char *name = tex_text_of(one, e->name);

	if (name == NULL || name[0] == '\0')
		name = kind ? NULL : "event";
	if (kind)
		appendStringInfoString(text, kind);
	if (kind && name)
		appendStringInfoChar(text, ' ');
	if (name)
		say_name(text, name);
}

/* What was put together, in no more memory than it needs, as there may be many of it. */
char *
tex_take_string(StringInfo text)
{
	char	   *string = pnstrdup(text->data, text->len);

	pfree(text->data);
	return string;
}

/* The same as a string. */
char *
tex_event_words(const TexOneTrace *one, int32 event)
{
	StringInfoData text;

	initStringInfo(&text);
	tex_say_event(&text, one, event);
	return tex_take_string(&text);
}

/* A time in the unit that suits it. */
void
tex_say_usecs(StringInfo text, int64 usecs)
{
	tex_say_ms(text, usecs / 1e3);
}

/* The same as a string. */
char *
tex_usecs_words(int64 usecs)
{
	StringInfoData text;

	initStringInfo(&text);
	tex_say_usecs(&text, usecs);
	return tex_take_string(&text);
}

/* How a trace is called in a sentence: by the begin of its id, as everywhere. */
char *
tex_trace_words(const TexOneTrace *one, int32 trace)
{
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&one->history->traces[trace].id)));

	return psprintf("trace %.8s", id);
}
