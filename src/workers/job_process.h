/*
 * job_process.h
 *		What users have done in the background, in processes of its own.
 */
#ifndef TEX_JOB_PROCESS_H
#define TEX_JOB_PROCESS_H

#include "common/worker_slots.h"

/* How long what was cancelled may take to end; then its process is ended. */
#define TEX_GRACE_MS 5000

/* A run that was claimed; in the worker's memory. */
typedef struct TexJob
{
	int64		run;			/* its row in job_runs */
	NameData	name;
	char	   *procedure;		/* quoted and qualified */
	Oid			owner;
	int			timeout_ms;		/* 0: none */
} TexJob;

extern const char *tex_job_process_start(const TexJob *job);
extern bool tex_refresh_process_start(Oid role, bool may_log_in);
extern bool tex_job_process_ended(TexJobProcess *copy, bool refresh);
extern int	tex_job_processes_running(void);
extern TexJobProcess *tex_process_take(int index);
extern void tex_process_outcome(TexJobOutcome outcome, const char *error);
extern void tex_process_deadline(int ms);
extern PGDLLEXPORT void tex_job_process_main(Datum argument);

#endif							/* TEX_JOB_PROCESS_H */
