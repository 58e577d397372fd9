/*
 * trace_ext.c
 *		Loads the extension: the only file that sees all others.
 */
#include "postgres.h"

#include "fmgr.h"

#include "cache/call.h"
#include "cache/writes.h"
#include "store/deltas.h"
#include "guc.h"
#include "workers/make_way.h"
#include "workers/launcher.h"
#include "common/reads.h"
#include "common/xact.h"
#include "shmem.h"
#include "store/truncate.h"
#include "shards/shards.h"
#include "watch/watch.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	tex_guc_init();
	tex_xact_init();
	tex_cache_call_init();
	tex_cache_writes_init();
	tex_reads_init();
	tex_deltas_init();
	tex_truncate_init();
	tex_make_way_init();
	tex_watch_init();
	tex_shards_init();
	tex_shmem_init();
	tex_launcher_init();
}
