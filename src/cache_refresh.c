/*
 * cache_refresh.c
 *		Asks for results to be computed anew in the background.
 */
#include "postgres.h"

#include "cache_refresh.h"

/*
 * Asks for a newer result than that; false where nobody would compute it.
 */
bool
tex_refresh_ask(const TexEntryInfo *info)
{
	return false;
}
