/*
 * refresh.c
 *		Asks for results to be computed anew in the background.
 */
#include "postgres.h"

#include "cache/refresh.h"
#include "guc.h"
#include "common/worker_slots.h"

/*
 * Asks for a newer result than that; false where nobody would compute it.
 */
bool
tex_refresh_ask(const TexEntryInfo *info)
{
	if (tex_cache_processes == 0 || !tex_worker_folds())
		return false;
	if (tex_entry_want(info))
		tex_worker_wake(info->key.database);
	return true;
}
