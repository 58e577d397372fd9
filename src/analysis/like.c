/*
 * like.c
 *		What is the same but for its numbers and literals: events of one operation.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "analysis/like.h"
#include "store/operation.h"

/*
 * The number of an event's operation, or TEX_NO_NAME.  Adds the string to the history's, so no
 * number of it is given out before.
 */
int32
tex_operation_name(TexHistory *history, const TexEvent *event)
{
	const char *name = tex_history_text(history, event->name);
	text	   *whole;
	text	   *operation;
	int32		number;

	if (name == NULL)
		return TEX_NO_NAME;
	whole = cstring_to_text(name);
	operation = tex_operation(event->kind, whole);
	number = tex_strings_add(history->names, VARDATA_ANY(operation), VARSIZE_ANY_EXHDR(operation));
	pfree(operation);
	pfree(whole);
	return number;
}

/* The same, but of an answer its status, which tells answers apart within a trace. */
int32
tex_like_name(TexHistory *history, const TexEvent *event)
{
	return event->kind == TEX_HTTP_RESPONSE ? event->name : tex_operation_name(history, event);
}
