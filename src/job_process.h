/*
 * job_process.h
 *		Users' jobs, each in a process of its own.
 */
#ifndef TEX_JOB_PROCESS_H
#define TEX_JOB_PROCESS_H

#include "worker_slots.h"

/* A run that was claimed. */
typedef struct TexJob
{
	int64		run;
	NameData	name;
	char	   *procedure;
	Oid			owner;
	int			timeout_ms;
} TexJob;

extern const char *tex_job_process_start(const TexJob *job);
extern bool tex_job_process_ended(TexJobProcess *copy);
extern int	tex_job_processes_running(void);
extern PGDLLEXPORT void tex_job_process_main(Datum argument);

#endif							/* TEX_JOB_PROCESS_H */
