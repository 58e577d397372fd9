/*
 * worker_slots.h
 *		Shared memory of launcher, database workers and processes of users' jobs.
 */
#ifndef TEX_WORKER_SLOTS_H
#define TEX_WORKER_SLOTS_H

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

/* Databases that are looked after; more are left alone, and the log says so. */
#define TEX_DATABASES 512

/* Processes for users that run at once, of all databases: of jobs, and of cached results. */
#define TEX_MOST_JOBS 32
#define TEX_MOST_REFRESHES 16
#define TEX_JOB_PROCESSES (TEX_MOST_JOBS + TEX_MOST_REFRESHES)

#define TEX_ERROR_LENGTH 256

typedef enum TexWorkerState
{
	TEX_WORKER_UNKNOWN,			/* the database is to be looked at */
	TEX_WORKER_ABSENT,			/* it has no extension */
	TEX_WORKER_STARTING,		/* a process was asked for and is on its way */
	TEX_WORKER_WAITING,			/* there is one, and nothing is due */
	TEX_WORKER_BUSY,			/* it runs a job */
	TEX_WORKER_ASLEEP,			/* there is none: nothing is due for a while */
	TEX_WORKER_FAILED,			/* the last one failed; another try at wake_at */
	TEX_WORKER_NO_SLOT			/* max_worker_processes is used up; the same */
} TexWorkerState;

typedef struct TexDatabaseSlot
{
	/* Protected by the lock. */
	Oid			database;		/* InvalidOid: a free slot */
	NameData	name;			/* when last seen */
	TexWorkerState state;
	int			pid;			/* of its worker; 0: none */
	Latch	   *latch;			/* of its worker */
	TimestampTz started_at;
	TimestampTz wake_at;		/* without a process: when to start one */
	int			kept_out;		/* transactions that want the database for themselves */
	int			restorers;		/* sessions that restore a dump into it */
	TimestampTz restored_at;	/* when the last of them ended; 0: never */
	int			failures;		/* of the worker itself, in a row */
	bool		folds;			/* writers may leave folding to it */
	NameData	job;			/* what it runs, if busy */
	TimestampTz job_started_at;
	char		error[TEX_ERROR_LENGTH];	/* why it failed; empty: it did not */

	/* Not protected: each is set and cleared by itself. */
	pg_atomic_uint32 written;	/* events changed since the worker last looked */
	pg_atomic_uint32 wants_wake;	/* it would sleep through that */
} TexDatabaseSlot;

typedef enum TexJobOutcome
{
	TEX_JOB_RUNNING,
	TEX_JOB_SUCCEEDED,
	TEX_JOB_FAILED,
	TEX_JOB_SKIPPED,
	TEX_JOB_LOST				/* the process is gone, and said nothing */
} TexJobOutcome;

/* What a user has done in a process of its own; all protected by the lock. */
typedef struct TexJobProcess
{
	bool		used;
	bool		refresh;		/* cached results of the owner; else a job */
	bool		may_log_in;		/* the owner, as before 17 he has to */
	Oid			database;
	Oid			owner;
	int			pid;			/* 0: on its way, or ended */
	int64		run;			/* its row in job_runs */
	NameData	job;
	char		procedure[2 * NAMEDATALEN * 2 + 8];
	int			timeout_ms;
	TimestampTz asked_at;
	bool		ended;
	TexJobOutcome outcome;
	char		error[TEX_ERROR_LENGTH];
} TexJobProcess;

typedef struct TexWorkers
{
	LWLock		lock;
	int			launcher_pid;	/* protected by the lock; 0: none */
	Latch	   *launcher_latch;	/* the same */
	TimestampTz launcher_started_at;
	bool		too_many;		/* databases without a slot */
	pg_atomic_uint32 look_again;	/* databases came or went */
	TexDatabaseSlot databases[TEX_DATABASES];
	TexJobProcess processes[TEX_JOB_PROCESSES];
} TexWorkers;

/* NULL where the library is not preloaded. */
extern TexWorkers *tex_workers;

extern Size tex_workers_size(void);
extern void tex_workers_attach(void);

extern TexDatabaseSlot *tex_slot_of(Oid database, bool create);
extern TexDatabaseSlot *tex_my_slot(void);
extern const char *tex_worker_state_name(TexWorkerState state);
extern void tex_copy_error(char *to, const char *message);

extern void tex_wake_launcher(void);
extern void tex_worker_wake(Oid database);
extern bool tex_worker_folds(void);

#endif							/* TEX_WORKER_SLOTS_H */
