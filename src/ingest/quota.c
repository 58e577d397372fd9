/*
 * quota.c
 *		How many events a role may send in a second: trace_ext.ingest_quota.
 *
 * The quota is of the role that logged in, which SET ROLE and functions of others do not change, and
 * its setting is of superusers, as ALTER ROLE ... SET gives it.  All sessions of that role in a
 * database draw on one window: in no second of time do they send more than the quota.
 *
 * The window is of a second, in tenths.  As the clock may be anywhere in the current tenth, eleven
 * are added up, so the last second is always within.  A batch that is larger than the quota by
 * itself could never pass; it does where the window is empty, and then nothing else does until the
 * quota has made up for it: on an average a role never sends more than its quota.
 *
 * What was taken stays taken where the transaction is rolled back: it was work all the same, and a
 * role could else send as much as it likes to be refused by a trigger.
 *
 * There are windows for a fixed number of roles.  The one that was used least lately gives way to
 * another role; with so many that send at the same time a role may begin anew too early.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "ingest/quota.h"

PG_FUNCTION_INFO_V1(tex_quota_counters);

#define ROLES 256
#define TICK (USECS_PER_SEC / 10)
#define TICKS 11

/* The last second of a role in a database. */
typedef struct Window
{
	Oid			database;		/* InvalidOid: free */
	Oid			role;
	TimestampTz used;			/* when something was taken last, or is paid for */
	int64		tick;			/* the current tenth, counted since 2000 */
	int64		taken[TICKS];	/* in the tenths up to that one, each at its number modulo TICKS */
} Window;

/* The lock protects all of it; it is held for a walk over the windows, and nothing is thrown then. */
typedef struct Quotas
{
	LWLock		lock;
	int64		refused_batches;	/* since the server started */
	int64		refused_events;
	Window		windows[ROLES];
} Quotas;

static Quotas *quotas = NULL;

/* What shmem.c has to ask for, in bytes. */
Size
tex_quota_size(void)
{
	return MAXALIGN(sizeof(Quotas));
}

/* Finds the memory, or makes it where this is the first process. AddinShmemInitLock is held. */
void
tex_quota_attach(void)
{
	bool		found;

	quotas = ShmemInitStruct("trace_ext quotas", tex_quota_size(), &found);
	if (!found)
	{
		memset(quotas, 0, sizeof(Quotas));
		LWLockInitialize(&quotas->lock, LWLockNewTrancheId());
	}
	LWLockRegisterTranche(quotas->lock.tranche, "trace_ext quotas");
}

/* The window of a role, which may be new, and then is empty. The lock is held exclusively. */
static Window *
window_of(Oid database, Oid role)
{
	Window	   *oldest = &quotas->windows[0];

	for (int i = 0; i < ROLES; i++)
	{
		Window	   *window = &quotas->windows[i];

		if (window->database == database && window->role == role)
			return window;
		if (window->used < oldest->used)
			oldest = window;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->database = database;
	oldest->role = role;
	return oldest;
}

/* Moves the window on to now. Where the clock was set back by more than the window it begins anew. */
static void
move_on(Window *window, TimestampTz now)
{
	int64		tick = now / TICK;

	if (tick < window->tick - TICKS)
	{
		window->tick = tick;
		window->used = now;
		memset(window->taken, 0, sizeof(window->taken));
	}
	for (int64 t = Max(window->tick + 1, tick - TICKS + 1); t <= tick; t++)
		window->taken[t % TICKS] = 0;
	window->tick = Max(window->tick, tick);
}

/* What was taken in a second, of which the oldest so many tenths do not count. */
static int64
sum_of(const Window *window, int without)
{
	int64		sum = 0;

	for (int i = without; i < TICKS; i++)
		sum += window->taken[(window->tick + 1 + i) % TICKS];
	return sum;
}

/* How long it takes until so many events fit, in microseconds; 0: they do. */
static int64
wait_for(const Window *window, int64 events, int64 quota, TimestampTz now)
{
	int			without = 0;
	int64		most = events > quota ? 0 : quota - events;
	int64		wait;

	while (sum_of(window, without) > most)
		without++;
	wait = without == 0 ? 0 : (window->tick + without) * TICK - now;
	return Max(wait, window->used - now);
}

/* Takes so many events, or returns how long the caller has to wait; *before is what came within a second. */
static int64
take(int64 events, int64 *before)
{
	int64		quota = tex_ingest_quota;
	TimestampTz now = GetCurrentTimestamp();
	Window	   *window;
	int64		wait;

	LWLockAcquire(&quotas->lock, LW_EXCLUSIVE);
	window = window_of(MyDatabaseId, GetSessionUserId());
	move_on(window, now);
	*before = sum_of(window, 0);
	wait = wait_for(window, events, quota, now);
	if (wait <= 0)
	{
		window->taken[window->tick % TICKS] += events;
		/* A batch that is larger than the quota is paid for by the time after it. */
		window->used = now;
		if (events > quota)
			window->used += (int64) ((double) events / quota * USECS_PER_SEC);
	}
	else
	{
		quotas->refused_batches++;
		quotas->refused_events += events;
	}
	LWLockRelease(&quotas->lock);
	return wait;
}

/*
 * Before a batch is stored, refused events that are kept included: throws where the quota of the role
 * does not allow it, and leaves in "wait" after how many microseconds it will, if nothing else comes; else 0.
 */
void
tex_quota_take(int64 events, int64 *wait)
{
	int64		before;
	int64		needed;

	*wait = 0;
	if (tex_ingest_quota == 0 || quotas == NULL || events == 0)
		return;
	needed = take(events, &before);
	if (needed <= 0)
		return;
	*wait = needed;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("more events than trace_ext.ingest_quota of role \"%s\": %d a second",
					GetUserNameFromId(GetSessionUserId(), false), tex_ingest_quota),
			 errdetail(INT64_FORMAT " came within a second, and " INT64_FORMAT " with this batch, of which none are stored.", before, events),
			 errhint("Send the batch again in %.1f seconds.", (double) ((needed + TICK - 1) / TICK) / 10)));
}

/* Takes events of a batch that was let in before it was known how many it has: the time after it pays for them. */
void
tex_quota_add(int64 events)
{
	Window	   *window;
	TimestampTz now = GetCurrentTimestamp();

	if (tex_ingest_quota == 0 || quotas == NULL || events <= 0)
		return;
	LWLockAcquire(&quotas->lock, LW_EXCLUSIVE);
	window = window_of(MyDatabaseId, GetSessionUserId());
	move_on(window, now);
	window->taken[window->tick % TICKS] += events;
	window->used = Max(window->used, now) + (int64) ((double) events / tex_ingest_quota * USECS_PER_SEC);
	LWLockRelease(&quotas->lock);
}

/*
 * quota_counters() returns record; no row where the library is not preloaded
 */
Datum
tex_quota_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[2];
	bool		isnull[2] = {false};

	InitMaterializedSRF(fcinfo, 0);
	if (quotas != NULL)
	{
		LWLockAcquire(&quotas->lock, LW_SHARED);
		values[0] = Int64GetDatum(quotas->refused_batches);
		values[1] = Int64GetDatum(quotas->refused_events);
		LWLockRelease(&quotas->lock);
		tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	}
	return (Datum) 0;
}
