/*
 * called_from.c
 *		Which function runs a statement, and in which line.
 *
 * Those who could say so are on the stack of error contexts, where the server asks them when an
 * error is reported, and GET DIAGNOSTICS ... = PG_CONTEXT without one.  They are asked here in the
 * same way, one by one from the innermost: the first that is a function is the answer.  Asked
 * are PL/pgSQL, which is known by where its code is, whatever language it answers in, and
 * the server itself, whose answer counts where it is that of an SQL function.  Others may say what
 * differs each time, as the apply worker its position: that is no place in a program.
 *
 * It costs some microseconds, so it is asked of statements that have an access, and once.
 */
#include "postgres.h"

#include <dlfcn.h>

#include "mb/pg_wchar.h"

#include "watch/called_from.h"

/* Who asks deeper is not helped by the answer. */
#define DEEPEST 50

/* Longest answer that is kept. */
#define LONGEST 200

typedef void (*Callback) (void *arg);

/* Whether code belongs to the library of PL/pgSQL. */
static bool
is_plpgsql(Callback callback)
{
	static Callback known = NULL;
	Dl_info		info;
	const char *name;

	if (callback == known)
		return true;
	if (dladdr((void *) callback, &info) == 0 || info.dli_fname == NULL)
		return false;
	name = strrchr(info.dli_fname, '/');
	name = name ? name + 1 : info.dli_fname;
	if (strncmp(name, "plpgsql.", 8) != 0)
		return false;
	known = callback;
	return true;
}

/* What one of the stack says, in the current memory context; NULL: nothing.  May throw. */
static char *
ask(const ErrorContextCallback *frame)
{
	ErrorContextCallback *stack = error_context_stack;
	ErrorContextCallback alone = *frame;
	char	   *answer;

	alone.previous = NULL;
	/* Where it throws, PG_CATCH() puts the stack back. */
	error_context_stack = &alone;
	answer = GetErrorContextStack();
	error_context_stack = stack;
	return answer;
}

/*
 * The function and line that run what is running now, as "PL/pgSQL function f(integer) line 3 at
 * SQL statement", in the current memory context; NULL: it is no function, or one that does not say.
 * Call it within a guard.
 */
char *
tex_called_from(void)
{
	/* Mostly that of SPI, which would write the whole text of a statement. */
	static Callback no_function = NULL;
	int			depth = 0;

	for (const ErrorContextCallback *frame = error_context_stack; frame && depth < DEEPEST; frame = frame->previous, depth++)
	{
		bool		sure;
		char	   *answer;

		if (frame->callback == no_function)
			continue;
		sure = is_plpgsql(frame->callback);
		answer = ask(frame);
		if (answer && (sure || strncmp(answer, "SQL function \"", 14) == 0))
		{
			answer[pg_mbcliplen(answer, strcspn(answer, "\n"), LONGEST)] = '\0';
			return answer;
		}
		no_function = frame->callback;
		if (answer)
			pfree(answer);
	}
	return NULL;
}
