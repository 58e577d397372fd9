/*
 * job_call.h
 *		Calls the procedure of a job.
 */
#ifndef TEX_JOB_CALL_H
#define TEX_JOB_CALL_H

/* What became of a run, for job_runs. */
typedef struct TexJobResult
{
	bool		ok;
	bool		more;			/* ok, but it was stopped before its end */
	bool		gave_way;		/* to somebody's lock: no failure of the job */
	char	   *error;			/* NULL if ok; lives in the caller's context */
} TexJobResult;

extern bool tex_job_lock(const char *job);
extern void tex_job_unlock(const char *job);

extern TexJobResult tex_job_run(const char *procedure, Oid owner, int timeout_ms,
								bool (*may_go_on) (void));

#endif							/* TEX_JOB_CALL_H */
