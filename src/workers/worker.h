/*
 * worker.h
 *		The worker of a database: runs the jobs that are due.
 */
#ifndef TEX_WORKER_H
#define TEX_WORKER_H

extern PGDLLEXPORT void tex_worker_main(Datum argument);

#endif							/* TEX_WORKER_H */
