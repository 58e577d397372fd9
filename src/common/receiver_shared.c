/*
 * receiver_shared.c
 *		Shared memory of the receiver: its state, and its numbers.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"

#include "common/receiver_shared.h"

TexReceiver *tex_receiver = NULL;

/*
 * What shmem.c has to ask for, in bytes.
 */
Size
tex_receiver_size(void)
{
	return MAXALIGN(sizeof(TexReceiver));
}

/*
 * Finds the memory, or makes it where this is the first process.
 * AddinShmemInitLock is held.
 */
void
tex_receiver_attach(void)
{
	bool		found;

	tex_receiver = ShmemInitStruct("trace_ext receiver", tex_receiver_size(), &found);
	if (!found)
	{
		memset(tex_receiver, 0, sizeof(TexReceiver));
		tex_receiver->size = sizeof(TexReceiver);
		LWLockInitialize(&tex_receiver->lock, LWLockNewTrancheId());
		pg_atomic_init_u64(&tex_receiver->connections, 0);
		pg_atomic_init_u64(&tex_receiver->buffered, 0);
		for (int i = 0; i < TEX_DOORS; i++)
		{
			pg_atomic_init_u64(&tex_receiver->bodies[i], 0);
			pg_atomic_init_u64(&tex_receiver->records[i], 0);
		}
		pg_atomic_init_u64(&tex_receiver->rejected, 0);
		pg_atomic_init_u64(&tex_receiver->bytes, 0);
		pg_atomic_init_u64(&tex_receiver->batches, 0);
		pg_atomic_init_u64(&tex_receiver->usecs, 0);
		for (int i = 0; i < TEX_REFUSALS; i++)
			pg_atomic_init_u64(&tex_receiver->refused[i], 0);
		for (int i = 0; i < TEX_LATENCY_BUCKETS; i++)
			pg_atomic_init_u32(&tex_receiver->latency[i], 0);
	}
	LWLockRegisterTranche(tex_receiver->lock.tranche, "trace_ext receiver");
}

/*
 * What it failed by may be over: settings were read again, or an extension was made.  The
 * next look of the launcher is a try.
 */
void
tex_receiver_retry(void)
{
	if (tex_receiver == NULL)
		return;
	LWLockAcquire(&tex_receiver->lock, LW_EXCLUSIVE);
	tex_receiver->wake_at = 0;
	tex_receiver->failures = 0;
	LWLockRelease(&tex_receiver->lock);
}

/*
 * Shows an error to the operator; the empty string, that there is none.
 */
void
tex_receiver_note_error(const char *message)
{
	LWLockAcquire(&tex_receiver->lock, LW_EXCLUSIVE);
	tex_copy_error(tex_receiver->error, message);
	LWLockRelease(&tex_receiver->lock);
}
