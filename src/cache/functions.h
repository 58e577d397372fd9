/*
 * functions.h
 *		What is known of functions and types, as far as results depend on it.
 */
#ifndef TEX_CACHE_FUNCTIONS_H
#define TEX_CACHE_FUNCTIONS_H

#include "access/htup.h"
#include "nodes/pg_list.h"

/* What may be expected of a function. */
typedef enum TexTrust
{
	TEX_UNKNOWN,				/* its result may change with anything */
	TEX_KNOWN,					/* depends on its arguments, the tables it reads and settings */
	TEX_TIMED,					/* the same, and the time */
	TEX_OF_SESSION,				/* differs between sessions of one role with the same settings */
	TEX_PRINTS,					/* the same, but for the output functions of what it is given */
	TEX_READS,					/* the same, but for the input functions of what it returns */
	TEX_TRUSTED,				/* the caller says that it is known */
	TEX_VOLATILE
} TexTrust;

/* What there is to know of a type, of its parts included. */
typedef enum TexTypeTrait
{
	TEX_NAMES_TIMES = 1 << 0,	/* its input function takes words like "now" */
	TEX_STRANGE_INPUT = 1 << 1, /* what its input function returns depends on more */
	TEX_STRANGE_OUTPUT = 1 << 2,	/* what its output function returns does */
	TEX_IS_NAME = 1 << 3		/* its input function looks up an object */
} TexTypeTrait;

extern TexTrust tex_function_trust(HeapTuple function);
extern bool tex_function_executes(HeapTuple function);
extern int	tex_type_traits(Oid type, List **relations);
extern bool tex_time_is_fixed(const char *literal);

#endif							/* TEX_CACHE_FUNCTIONS_H */
