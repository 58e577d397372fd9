/*
 * worker_rows.c
 *		The background workers, as rows.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/tuplestore.h"

#include "guc.h"
#include "common/worker_slots.h"
#include "common/xact.h"

#define COLUMNS 10

PG_FUNCTION_INFO_V1(tex_worker_rows);
PG_FUNCTION_INFO_V1(tex_wake_worker);
PG_FUNCTION_INFO_V1(tex_caller);

/* A row of workers(), in the order of its columns. */
typedef struct Row
{
	Datum		values[COLUMNS];
	bool		isnull[COLUMNS];
} Row;

/* Sets a column of type text; an empty one is NULL. */
static void
set_text(Row *row, int column, const char *text)
{
	row->isnull[column] = text == NULL || text[0] == '\0';
	if (!row->isnull[column])
		row->values[column] = CStringGetTextDatum(text);
}

/* Sets a column of type timestamptz; 0 is none, so NULL. */
static void
set_time(Row *row, int column, TimestampTz at)
{
	row->isnull[column] = at == 0;
	row->values[column] = TimestampTzGetDatum(at);
}

/* Sets the pid; 0 is none, so NULL. */
static void
set_pid(Row *row, int pid)
{
	row->isnull[3] = pid == 0;
	row->values[3] = Int32GetDatum(pid);
}

/* A row that says what it is about, and nothing else yet. */
static Row
new_row(const char *database, const char *kind, const char *state)
{
	Row			row;

	memset(row.isnull, true, sizeof(row.isnull));
	set_text(&row, 0, database);
	set_text(&row, 1, kind);
	set_text(&row, 2, state);
	row.values[8] = Int32GetDatum(0);
	row.isnull[8] = false;
	return row;
}

/* Adds a row to the result. */
static void
put(ReturnSetInfo *result, Row *row)
{
	tuplestore_putvalues(result->setResult, result->setDesc, row->values, row->isnull);
}

/* The row of the launcher. */
static void
put_launcher(ReturnSetInfo *result, const TexWorkers *all)
{
	Row			row = new_row(NULL, "launcher",
							  all->launcher_pid == 0 ? "not running" : tex_workers_on ? "running" : "off");

	set_pid(&row, all->launcher_pid);
	set_time(&row, 4, all->launcher_pid != 0 ? all->launcher_started_at : 0);
	put(result, &row);
}

/* The row of a database's worker, or of why there is none. */
static void
put_database(ReturnSetInfo *result, const TexDatabaseSlot *slot)
{
	bool		has_process = slot->pid != 0;
	Row			row = new_row(NameStr(slot->name), "worker",
							  !tex_workers_on && !has_process ? "off" :
							  slot->kept_out > 0 && !has_process ? "kept out" :
							  tex_worker_state_name(slot->state));

	set_pid(&row, slot->pid);
	set_time(&row, 4, has_process ? slot->started_at : 0);
	if (slot->state == TEX_WORKER_BUSY && has_process)
	{
		set_text(&row, 5, NameStr(slot->job));
		set_time(&row, 6, slot->job_started_at);
	}
	set_time(&row, 7, has_process ? 0 : slot->wake_at);
	row.values[8] = Int32GetDatum(slot->failures);
	set_text(&row, 9, slot->error);
	put(result, &row);
}

/* The row of a user's job, or of a role's turn at the cache. */
static void
put_process(ReturnSetInfo *result, TexWorkers *all, const TexJobProcess *process)
{
	char	   *database = NULL;
	Row			row;

	for (int i = 0; i < TEX_DATABASES && database == NULL; i++)
	{
		if (all->databases[i].database == process->database)
			database = NameStr(all->databases[i].name);
	}
	row = new_row(database, process->refresh ? "cache" : "job",
				  process->ended ? "ended" : process->pid != 0 ? "busy" : "starting");
	set_pid(&row, process->pid);
	set_time(&row, 4, process->asked_at);
	set_text(&row, 5, NameStr(process->job));
	set_time(&row, 6, process->asked_at);
	set_text(&row, 9, process->error);
	put(result, &row);
}

/*
 * workers() returns setof record
 *
 * Of all databases: who may call it is decided by its grants.
 */
Datum
tex_worker_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TexWorkers *all;

	InitMaterializedSRF(fcinfo, 0);
	if (tex_workers == NULL)
		return (Datum) 0;
	/* A copy, as rows may be long and go to disk. */
	all = palloc(sizeof(TexWorkers));
	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	memcpy(all, tex_workers, sizeof(TexWorkers));
	LWLockRelease(&tex_workers->lock);

	put_launcher(result, all);
	for (int i = 0; i < TEX_DATABASES; i++)
	{
		if (OidIsValid(all->databases[i].database) && all->databases[i].state != TEX_WORKER_ABSENT)
			put_database(result, &all->databases[i]);
	}
	for (int i = 0; i < TEX_JOB_PROCESSES; i++)
	{
		if (all->processes[i].used)
			put_process(result, all, &all->processes[i]);
	}
	pfree(all);
	return (Datum) 0;
}

/*
 * caller() returns name: neither a SECURITY DEFINER function nor its owner.
 */
Datum
tex_caller(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetOuterUserId(), false))));
}

/* Set until the transaction ends. */
static bool wake_at_commit = false;

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && wake_at_commit)
		tex_worker_wake(MyDatabaseId);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		wake_at_commit = false;
}

/*
 * wake_worker() returns void
 */
Datum
tex_wake_worker(PG_FUNCTION_ARGS)
{
	tex_xact_register(TEX_XACT_WAKE, at_transaction_end, NULL);
	wake_at_commit = true;
	PG_RETURN_VOID();
}
