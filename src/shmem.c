/*
 * shmem.c
 *		Asks for the shared memory of all modules that have some, where the
 *		library is preloaded.
 *
 * Each of them says how much it needs, and attaches to it: once in the
 * postmaster, and again in each process where processes do not inherit it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "cache/blocks.h"
#include "cache/shared.h"
#include "cache/entries.h"
#include "cache/attempts.h"
#include "cache/relations.h"
#include "common/receiver_shared.h"
#include "common/worker_slots.h"
#include "ingest/quota.h"
#include "shmem.h"
#include "watch/shared.h"

typedef struct SharedPart
{
	Size		(*size) (void);
	void		(*attach) (void);	/* called with AddinShmemInitLock held */
} SharedPart;

static const SharedPart parts[] = {
	{tex_cache_shared_shmem_size, tex_cache_shared_shmem_attach},
	{tex_relations_shmem_size, tex_relations_shmem_attach},
	{tex_blocks_shmem_size, tex_blocks_shmem_attach},
	{tex_entries_shmem_size, tex_entries_shmem_attach},
	{tex_failures_shmem_size, tex_failures_shmem_attach},
	{tex_workers_size, tex_workers_attach},
	{tex_quota_size, tex_quota_attach},
	{tex_receiver_size, tex_receiver_attach},
	{tex_watch_shmem_size, tex_watch_shmem_attach},
	{NULL, NULL}
};

static shmem_request_hook_type previous_request;
static shmem_startup_hook_type previous_startup;

/* shmem_request_hook, in the postmaster: asks for what all parts need. */
static void
request(void)
{
	if (previous_request)
		previous_request();
	for (const SharedPart *part = parts; part->size != NULL; part++)
		RequestAddinShmemSpace(part->size());
}

/*
 * shmem_startup_hook, in the postmaster, and in each process that does not inherit
 * its memory.
 */
static void
startup(void)
{
	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (const SharedPart *part = parts; part->size != NULL; part++)
		part->attach();
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Called when the library is loaded; without preload, modules see no shared memory.
 */
void
tex_shmem_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}
