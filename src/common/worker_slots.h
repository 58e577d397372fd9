/*
 * worker_slots.h
 *		Shared memory of launcher, database workers and processes of users' jobs.
 *
 * All of it is protected by one lock, TexWorkers.lock: shared to read, exclusive to
 * write.  What is said of a field besides is who writes it.  A process may read
 * without the lock what only itself writes; the launcher also looks at a state before it
 * takes the lock, and then looks again.  Only latches and flags are for those who
 * cannot take a lock: a writer at commit.
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

/*
 * A database.  The launcher makes and frees the slot (a session may make one too: for
 * its own database, or for one that it wants for itself); it is not freed while it
 * has a process, or is kept out.
 */
typedef struct TexDatabaseSlot
{
	Oid			database;		/* lock; InvalidOid: a free slot */
	NameData	name;			/* lock; when last seen; by the launcher */
	TexWorkerState state;		/* lock; see workers/README.md for who moves it on */
	int			pid;			/* lock; of its worker, 0: none; by the worker */
	Latch	   *latch;			/* lock; the same; may be set after the lock was
								 * given up: at worst another process wakes for nothing */
	TimestampTz started_at;		/* lock; by the launcher, then by the worker */
	TimestampTz wake_at;		/* lock; without a process: when to start one */
	int			kept_out;		/* lock; transactions that want the database for
								 * themselves, each of which takes itself off */
	int			restorers;		/* lock; sessions that restore a dump into it */
	TimestampTz restored_at;	/* lock; when the last of them ended; 0: never */
	int			failures;		/* lock; of the worker itself, in a row */
	bool		folds;			/* lock; writers may leave folding to it; by the worker */
	NameData	job;			/* lock; what it runs, if busy; by the worker */
	TimestampTz job_started_at; /* lock; by the worker */
	char		error[TEX_ERROR_LENGTH];	/* lock; why it failed; empty: it did not */

	/* No lock, atomic: each is set and cleared by itself. */
	pg_atomic_uint32 written;	/* events changed since the worker last looked: set by
								 * writers, cleared by the worker before it looks, and
								 * by the launcher before it starts one */
	pg_atomic_uint32 wants_wake;	/* it would sleep through that: set by the worker,
									 * cleared by the writer who then wakes it */
} TexDatabaseSlot;

typedef enum TexJobOutcome
{
	TEX_JOB_RUNNING,
	TEX_JOB_SUCCEEDED,
	TEX_JOB_FAILED,
	TEX_JOB_SKIPPED,
	TEX_JOB_LOST				/* the process is gone, and said nothing */
} TexJobOutcome;

/*
 * What a user has done in a process of its own.  Made by the backend that asks for the
 * process, mostly the worker of the database; how it ends the process writes down; freed
 * by whoever reads that.
 */
typedef struct TexJobProcess
{
	bool		used;			/* lock */
	bool		refresh;		/* lock; cached results of the owner; else a job */
	bool		may_log_in;		/* lock; the owner, as before 17 he has to */
	Oid			database;		/* lock */
	Oid			owner;			/* lock */
	int			pid;			/* lock; 0: on its way, or ended; by the process */
	int64		run;			/* lock; its row in job_runs */
	NameData	job;			/* lock */
	char		procedure[2 * NAMEDATALEN * 2 + 8]; /* lock; quoted and qualified */
	int			timeout_ms;		/* lock; 0: none */
	TimestampTz asked_at;		/* lock */
	bool		ended;			/* lock; by the process, at its exit */
	TexJobOutcome outcome;		/* lock; by the process */
	char		error[TEX_ERROR_LENGTH];	/* lock; by the process */
} TexJobProcess;

typedef struct TexWorkers
{
	LWLock		lock;			/* of all that follows, but for what says otherwise */
	int			launcher_pid;	/* lock; 0: none; by the launcher, as the next two */
	Latch	   *launcher_latch; /* lock */
	TimestampTz launcher_started_at;	/* lock */
	bool		too_many;		/* no lock: databases without a slot; only the launcher
								 * reads and writes it */
	pg_atomic_uint32 look_again;	/* no lock, atomic: databases came or went; set by
									 * sessions, cleared by the launcher */
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
extern PGDLLEXPORT void tex_copy_error(char *to, const char *message);

extern PGDLLEXPORT void tex_wake_launcher(void);
extern void tex_worker_wake(Oid database);
extern bool tex_worker_folds(void);

#endif							/* TEX_WORKER_SLOTS_H */
