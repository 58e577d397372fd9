/*
 * guc.h
 *		Settings of trace_ext.
 */
#ifndef TEX_GUC_H
#define TEX_GUC_H

typedef enum TexCacheMode
{
	TEX_CACHE_ON,
	TEX_CACHE_BYPASS,
	TEX_CACHE_OFF
} TexCacheMode;

extern int	tex_cache_size;		/* kB */
extern int	tex_cache_entry_size;	/* kB */
extern int	tex_cache_relations;
extern int	tex_cache_local_size;	/* kB */
extern int	tex_cache_mode;
extern int	tex_cache_failure_limit;
extern int	tex_cache_retry_after;	/* s */
extern int	tex_cache_report_ttl;	/* s */
extern char *tex_cache_trusted_functions;

extern int	tex_fold_threshold;
extern int	tex_max_field_size;
extern int	tex_max_nesting;
extern int	tex_otlp_max_size;	/* bytes */
extern char *tex_redaction_key;
extern int	tex_ingest_quota;	/* events a second; 0: none */

/* The receiver, whose library reads these; none is NULL. */
extern PGDLLEXPORT char *tex_otlp_listen;
extern PGDLLEXPORT char *tex_otlp_database;
extern PGDLLEXPORT char *tex_otlp_role;
extern PGDLLEXPORT char *tex_otlp_token_file;
extern PGDLLEXPORT bool tex_split_address(const char *address, char *host, size_t room, const char **port);

/* Background workers. */
extern bool tex_workers_on;
extern int	tex_naptime;		/* in seconds */
extern int	tex_job_processes;
extern int	tex_cache_processes;
extern int	tex_cache_refresh_timeout;	/* in seconds */

/* What the accesses of a session that nobody traces belong to. */
typedef enum TexUntraced
{
	TEX_UNTRACED_SESSION,
	TEX_UNTRACED_TRANSACTION,
	TEX_UNTRACED_OFF
} TexUntraced;

/* What a thread id names. */
typedef enum TexThreadKind
{
	TEX_THREAD_AUTO,
	TEX_THREAD_OS,
	TEX_THREAD_TASK
} TexThreadKind;

/* Where variables of one name are one variable. */
typedef enum TexVariableScope
{
	TEX_SCOPE_GLOBAL,
	TEX_SCOPE_SERVICE,
	TEX_SCOPE_INSTANCE
} TexVariableScope;

extern int	tex_thread_kind;
extern int	tex_variable_scope;
extern int	tex_clock_skew;		/* in milliseconds */
extern int	tex_lateness;		/* in milliseconds */
extern int	tex_horizon;		/* in seconds */
extern char *tex_global_locks;
extern const char *tex_next_lock_prefix(const char **rest, size_t *len);
extern bool tex_potential_races;

/* What counts as slow: where a baseline has so many calls, so many times its p99, so long above its median. */
extern char *tex_baseline_window;	/* an interval */
extern int	tex_baseline_calls;
extern double tex_slow_factor;
extern int	tex_slow_floor;		/* in milliseconds */

/* Watched tables. */
extern bool tex_watch_on;
extern bool tex_watch_always;
extern int	tex_watch_untraced;
extern int	tex_watch_buffer;	/* kB */
extern int	tex_watch_max_rows;
extern char *tex_traceparent;
extern char *tex_service_name;

/* What a router answers where a node is down. */
typedef enum TexNodeDown
{
	TEX_NODE_DOWN_ERROR,
	TEX_NODE_DOWN_PARTIAL
} TexNodeDown;

extern int	tex_node_down;

static inline int64
tex_clock_skew_usecs(void)
{
	return (int64) tex_clock_skew * 1000;
}

extern void tex_guc_init(void);

#endif							/* TEX_GUC_H */
