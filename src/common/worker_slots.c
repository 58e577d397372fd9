/*
 * worker_slots.c
 *		Shared memory of launcher, database workers and processes of users' jobs.
 *
 * The launcher makes and removes the slots of databases; a worker fills its own;
 * sessions read them, and ask workers to go (workers/make_way.c).  One lock protects all
 * of it: it is held for a walk over an array at most, never while anything is
 * waited for or thrown.
 *
 * A writer tells the worker of his database at commit that there is something to
 * fold.  He pays an atomic read, and a signal where the worker sleeps.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/shmem.h"

#include "common/worker_slots.h"
#include "guc.h"

TexWorkers *tex_workers = NULL;

/*
 * What shmem.c has to ask for, in bytes.
 */
Size
tex_workers_size(void)
{
	return MAXALIGN(sizeof(TexWorkers));
}

/*
 * Finds the memory, or makes it where this is the first process.
 * AddinShmemInitLock is held.
 */
void
tex_workers_attach(void)
{
	bool		found;

	tex_workers = ShmemInitStruct("trace_ext workers", tex_workers_size(), &found);
	if (!found)
	{
		memset(tex_workers, 0, sizeof(TexWorkers));
		LWLockInitialize(&tex_workers->lock, LWLockNewTrancheId());
		pg_atomic_init_u32(&tex_workers->look_again, 0);
		for (int i = 0; i < TEX_DATABASES; i++)
		{
			pg_atomic_init_u32(&tex_workers->databases[i].written, 0);
			pg_atomic_init_u32(&tex_workers->databases[i].wants_wake, 0);
		}
	}
	LWLockRegisterTranche(tex_workers->lock.tranche, "trace_ext workers");
}

/*
 * The slot of a database.  The caller holds the lock, exclusively to create one.
 * NULL if there is none, or no room for it.  A slot that is new is one whose
 * database nobody looked at.
 */
TexDatabaseSlot *
tex_slot_of(Oid database, bool create)
{
	TexDatabaseSlot *free_slot = NULL;

	for (int i = 0; i < TEX_DATABASES; i++)
	{
		TexDatabaseSlot *slot = &tex_workers->databases[i];

		if (slot->database == database)
			return slot;
		if (free_slot == NULL && !OidIsValid(slot->database))
			free_slot = slot;
	}
	if (!create || free_slot == NULL)
		return NULL;
	free_slot->database = database;
	free_slot->state = TEX_WORKER_UNKNOWN;
	free_slot->wake_at = 0;
	free_slot->kept_out = 0;
	free_slot->restorers = 0;
	free_slot->restored_at = 0;
	free_slot->failures = 0;
	free_slot->folds = false;
	free_slot->error[0] = '\0';
	pg_atomic_write_u32(&free_slot->written, 0);
	pg_atomic_write_u32(&free_slot->wants_wake, 0);
	return free_slot;
}

/*
 * The slot of this session's database, looked up once: it stays while the database
 * does.  NULL if there is none.  Read without the lock that it may be another
 * one's by now: whoever reads protected fields takes the lock and looks at
 * "database" again.
 */
TexDatabaseSlot *
tex_my_slot(void)
{
	static TexDatabaseSlot *mine = NULL;

	if (tex_workers == NULL)
		return NULL;
	if (mine != NULL && mine->database == MyDatabaseId)
		return mine;
	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	mine = tex_slot_of(MyDatabaseId, false);
	LWLockRelease(&tex_workers->lock);
	return mine;
}

/*
 * How workers() and the metrics call a state.
 */
const char *
tex_worker_state_name(TexWorkerState state)
{
	switch (state)
	{
		case TEX_WORKER_UNKNOWN:
			return "not looked at yet";
		case TEX_WORKER_ABSENT:
			return "no extension";
		case TEX_WORKER_STARTING:
			return "starting";
		case TEX_WORKER_WAITING:
			return "waiting";
		case TEX_WORKER_BUSY:
			return "busy";
		case TEX_WORKER_ASLEEP:
			return "asleep";
		case TEX_WORKER_FAILED:
			return "failed";
		case TEX_WORKER_NO_SLOT:
			return "no slot";
	}
	return "";
}

/*
 * Copies a message into TEX_ERROR_LENGTH bytes of shared memory, cut between
 * characters.  Whoever protects the place has its lock.
 */
void
tex_copy_error(char *to, const char *message)
{
	int			len = strlen(message);

	if (len >= TEX_ERROR_LENGTH)
		len = pg_mbcliplen(message, len, TEX_ERROR_LENGTH - 1);
	memcpy(to, message, len);
	to[len] = '\0';
}

/*
 * Has the launcher look at once.  It takes the lock, so its caller must not hold
 * it; the latch is set without.
 */
void
tex_wake_launcher(void)
{
	Latch	   *latch;

	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	latch = tex_workers->launcher_latch;
	LWLockRelease(&tex_workers->lock);
	if (latch != NULL)
		SetLatch(latch);
}

/*
 * There is something to do in a database: have its worker look, or have one
 * started.  Cheap where it was told already; does nothing without preload.
 */
void
tex_worker_wake(Oid database)
{
	TexDatabaseSlot *slot;
	Latch	   *latch = NULL;

	/* Who switches them on again has all databases looked at. */
	if (tex_workers == NULL || !tex_workers_on)
		return;
	slot = database == MyDatabaseId ? tex_my_slot() : NULL;
	if (slot != NULL)
	{
		if (pg_atomic_read_u32(&slot->written) == 0)
			pg_atomic_exchange_u32(&slot->written, 1);
		if (pg_atomic_read_u32(&slot->wants_wake) == 0 ||
			pg_atomic_exchange_u32(&slot->wants_wake, 0) == 0)
			return;
	}
	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	if (slot == NULL)
		slot = tex_slot_of(database, false);
	if (slot != NULL)
	{
		pg_atomic_write_u32(&slot->written, 1);
		latch = slot->pid != 0 ? slot->latch : NULL;
	}
	else
		pg_atomic_write_u32(&tex_workers->look_again, 1);
	if (latch == NULL)
		latch = tex_workers->launcher_latch;
	LWLockRelease(&tex_workers->lock);
	if (latch != NULL)
		SetLatch(latch);
}

/*
 * May a writer of this database leave folding to its worker?  Yes while the
 * launcher runs and can have a worker start: an answer for now, which the lock
 * does not keep true.
 */
bool
tex_worker_folds(void)
{
	TexDatabaseSlot *slot = tex_my_slot();
	bool		folds = false;

	if (slot == NULL || !tex_workers_on)
		return false;
	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	folds = tex_workers->launcher_pid != 0 && slot->database == MyDatabaseId &&
		slot->folds && slot->kept_out == 0 &&
		slot->state != TEX_WORKER_FAILED && slot->state != TEX_WORKER_NO_SLOT;
	LWLockRelease(&tex_workers->lock);
	return folds;
}
