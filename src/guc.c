/*
 * guc.c
 *		Settings of trace_ext: one place that defines them all.  What they take is in
 *		guc_checks.c.
 *
 * Those whose variables are static here are read by SQL functions through
 * current_setting().
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "common/worker_slots.h"
#include "guc.h"
#include "guc_checks.h"

int			tex_fold_threshold = 2000;
int			tex_max_field_size = 1024 * 1024;
int			tex_max_nesting = 100;
int			tex_otlp_max_size = 64 * 1024 * 1024;
int			tex_ingest_quota = 0;
char	   *tex_redaction_key = NULL;
char	   *tex_otlp_listen = NULL;
char	   *tex_otlp_database = NULL;
char	   *tex_otlp_role = NULL;
char	   *tex_otlp_token_file = NULL;

bool		tex_workers_on = true;
int			tex_naptime = 60;
int			tex_job_processes = 2;
int			tex_cache_processes = 2;
int			tex_cache_refresh_timeout = 30;

int			tex_thread_kind = TEX_THREAD_AUTO;
int			tex_variable_scope = TEX_SCOPE_GLOBAL;
int			tex_clock_skew = 50;
int			tex_lateness = 10000;
int			tex_horizon = 3600;
char	   *tex_baseline_window;
int			tex_baseline_calls = 100;
double		tex_slow_factor = 2.0;
int			tex_slow_floor = 10;
char	   *tex_global_locks = NULL;
bool		tex_potential_races = false;

bool		tex_watch_on = true;
bool		tex_watch_always = false;
int			tex_watch_untraced = TEX_UNTRACED_SESSION;
int			tex_watch_buffer = 8 * 1024;
int			tex_watch_max_rows = 100;
char	   *tex_traceparent = NULL;
char	   *tex_service_name = NULL;

int			tex_cache_size = 64 * 1024;
int			tex_cache_entry_size = 1024;
int			tex_cache_relations = 2048;
int			tex_cache_local_size = 1024;
int			tex_cache_mode = TEX_CACHE_ON;
int			tex_cache_failure_limit = 3;
int			tex_cache_retry_after = 5;
int			tex_cache_report_ttl = 30;
char	   *tex_cache_trusted_functions = NULL;

int			tex_node_down = TEX_NODE_DOWN_ERROR;

static const struct config_enum_entry cache_modes[] = {
	{"on", TEX_CACHE_ON, false},
	{"bypass", TEX_CACHE_BYPASS, false},
	{"off", TEX_CACHE_OFF, false},
	{NULL, 0, false}
};

static const struct config_enum_entry node_down_kinds[] = {
	{"error", TEX_NODE_DOWN_ERROR, false},
	{"partial", TEX_NODE_DOWN_PARTIAL, false},
	{NULL, 0, false}
};

static const struct config_enum_entry untraced_kinds[] = {
	{"session", TEX_UNTRACED_SESSION, false},
	{"transaction", TEX_UNTRACED_TRANSACTION, false},
	{"off", TEX_UNTRACED_OFF, false},
	{NULL, 0, false}
};

static const struct config_enum_entry thread_kinds[] = {
	{"auto", TEX_THREAD_AUTO, false},
	{"os", TEX_THREAD_OS, false},
	{"task", TEX_THREAD_TASK, false},
	{NULL, 0, false}
};

static const struct config_enum_entry variable_scopes[] = {
	{"global", TEX_SCOPE_GLOBAL, false},
	{"service", TEX_SCOPE_SERVICE, false},
	{"instance", TEX_SCOPE_INSTANCE, false},
	{NULL, 0, false}
};

static int	max_operations;
static char *partition_interval;
static int	partitions_ahead;
static char *partition_reach;
static char *retention_age;
static int	retention_size;
static int	retention_traces;
static int	notify_interval;
static int	announcement_retention;
static int	job_history;
static int	alert_history;
static int	admin_log_retention;
static double health_degraded_error_rate;
static double health_critical_error_rate;
static double health_degraded_growth;
static double health_critical_growth;
static int	health_silence;

/* What the race detector goes by. */
static void
define_detection(void)
{
	DefineCustomEnumVariable("trace_ext.thread_kind",
							 "What a thread id names.",
							 "\"os\": a thread of the operating system, \"task\": a task; \"auto\": as the "
							 "parents in each trace show.",
							 &tex_thread_kind, TEX_THREAD_AUTO, thread_kinds,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("trace_ext.variable_scope",
							 "Where variables of one name are one variable.",
							 NULL, &tex_variable_scope, TEX_SCOPE_GLOBAL, variable_scopes,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.clock_skew",
							"How far the clocks of two hosts may be apart.",
							NULL, &tex_clock_skew, 50, 0, 24 * 3600 * 1000,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.lateness",
							"How long detect() waits for an event whose parent is missing.",
							NULL, &tex_lateness, 10000, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.horizon",
							"How far back detection looks for traces that overlap.",
							"Traces that run longer are compared only where their accesses are nearer.",
							&tex_horizon, 3600, 1, INT_MAX,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomStringVariable("trace_ext.global_locks",
							   "Prefixes of the names of locks that all processes share.",
							   "Separated by commas.",
							   &tex_global_locks, "redis:,db:,row:",
							   PGC_USERSET, 0, tex_check_global_locks, NULL, NULL);
	DefineCustomBoolVariable("trace_ext.potential_races",
							 "Whether pairs are reported that only the hand-over of a lock ordered.",
							 "They have a confidence of 0.3.",
							 &tex_potential_races, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
}

/* What a router goes by. */
static void
define_router(void)
{
	DefineCustomEnumVariable("trace_ext.node_down",
							 "What a router does where a node is down.",
							 "\"error\": nothing is answered, \"partial\": what the other nodes have, with a warning.",
							 &tex_node_down, TEX_NODE_DOWN_ERROR, node_down_kinds,
							 PGC_USERSET, 0, NULL, NULL, NULL);
}

/* What is taken of watched tables, and for whom. */
static void
define_watch(void)
{
	DefineCustomBoolVariable("trace_ext.watch",
							 "Whether accesses of this session to watched tables are taken.",
							 NULL, &tex_watch_on, true,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("trace_ext.watch_always",
							 "Whether they are taken whatever trace_ext.watch says.",
							 NULL, &tex_watch_always, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("trace_ext.watch_untraced",
							 "To which trace accesses belong that no traceparent names one for.",
							 "\"session\": one of the session, \"transaction\": one each, \"off\": they are not taken.",
							 &tex_watch_untraced, TEX_UNTRACED_SESSION, untraced_kinds,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.watch_max_rows",
							"Rows of a watched table that are taken of what one statement reads.",
							"Of a statement that reads more, no reads of the table are taken.",
							&tex_watch_max_rows, 100, 0, 1000000,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.watch_buffer",
							"Shared memory for accesses that the worker has not stored yet.",
							"Where it is full accesses are dropped and counted.",
							&tex_watch_buffer, 8 * 1024, 256, 1024 * 1024,
							process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomStringVariable("trace_ext.traceparent",
							   "The request that this session works for, as W3C Trace Context writes it.",
							   "One that is malformed is ignored, and counted.",
							   &tex_traceparent, "",
							   PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("trace_ext.service_name",
							   "The service that accesses to watched tables are those of.",
							   "Empty: application_name.",
							   &tex_service_name, "",
							   PGC_USERSET, 0, NULL, NULL, NULL);
}

/* What is usual, and from when on something is unusual. */
static void
define_anomalies(void)
{
	DefineCustomStringVariable("trace_ext.baseline_window",
							   "How far back baselines go.",
							   "An interval; completed hours within it are in baseline_metrics.",
							   &tex_baseline_window, "7 days",
							   PGC_USERSET, 0, tex_check_baseline_window, NULL, NULL);
	DefineCustomIntVariable("trace_ext.baseline_calls",
							"Calls of an operation that a baseline must have to judge others by it.",
							NULL, &tex_baseline_calls, 100, 1, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("trace_ext.slow_factor",
							 "How many times as long as 99 of 100 calls a call must take to be slow.",
							 NULL, &tex_slow_factor, 2.0, 1.0, 1e6,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.slow_floor",
							"How much longer than half of the calls a call must take to be slow.",
							"Whatever their spread: one that is nearly nothing makes no call slow.",
							&tex_slow_floor, 10, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
}

/*
 * How much the result cache may take; fixed when the server starts.  Without
 * preload the settings of the configuration file are known but have no effect.
 */
static void
define_cache_memory(void)
{
	GucContext	at_start = process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP;

	DefineCustomIntVariable("trace_ext.cache_size",
							"Shared memory of the result cache.",
							"0 switches it off for the whole cluster.",
							&tex_cache_size, 64 * 1024, 0, 64 * 1024 * 1024,
							at_start, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.cache_relations",
							"Number of relations that cached results may depend on.",
							NULL, &tex_cache_relations, 2048, 256, 1024 * 1024,
							at_start, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.cache_entry_size",
							"Largest result that is cached.",
							"Never more than a quarter of trace_ext.cache_size.",
							&tex_cache_entry_size, 1024, 1, 1024 * 1024,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.cache_local_size",
							"Memory for results that a session keeps a copy of.",
							"0 keeps none.",
							&tex_cache_local_size, 1024, 0, 1024 * 1024,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

/* What the result cache does. */
static void
define_cache(void)
{
	define_cache_memory();
	DefineCustomEnumVariable("trace_ext.cache_mode",
							 "Whether results are taken from the cache and kept there.",
							 "\"bypass\": neither. \"off\": neither, and cached() takes queries that could not be cached.",
							 &tex_cache_mode, TEX_CACHE_ON, cache_modes,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.cache_report_ttl",
							"How old the result of a report over the whole store may be.",
							"That is global_races(). 0 means not at all.",
							&tex_cache_report_ttl, 30, 0, 24 * 3600,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomStringVariable("trace_ext.cache_trusted_functions",
							   "STABLE functions that depend on tables and settings alone.",
							   "Queries that call them are cached without a ttl: \"schema.name\" or \"schema.*\".",
							   &tex_cache_trusted_functions, "",
							   PGC_USERSET, GUC_LIST_INPUT, tex_check_trusted_functions, NULL, NULL);
	DefineCustomIntVariable("trace_ext.cache_failure_limit",
							"Failures in a row after which a cached query is not tried for a while.",
							"0 always tries.",
							&tex_cache_failure_limit, 3, 0, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.cache_retry_after",
							"How long a cached query that kept failing is not tried.",
							"Doubled, up to 16 times, by each further failure.",
							&tex_cache_retry_after, 5, 1, 24 * 3600,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
}

/* Where the receiver listens, and what it may do. */
static void
define_receiver(void)
{
	DefineCustomStringVariable("trace_ext.otlp_listen",
							   "Address and port on which the receiver takes what SDKs of OpenTelemetry send.",
							   "As '127.0.0.1:4318'. Empty: there is no receiver.",
							   &tex_otlp_listen, "",
							   PGC_SIGHUP, 0, tex_check_otlp_listen, NULL, NULL);
	DefineCustomStringVariable("trace_ext.otlp_database",
							   "Database that the receiver stores in.",
							   NULL, &tex_otlp_database, "postgres",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("trace_ext.otlp_role",
							   "Role that the receiver stores as; no superuser.",
							   "It needs no more than trace_ext_writer.",
							   &tex_otlp_role, "trace_ext_receiver",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("trace_ext.otlp_token_file",
							   "File with the token that clients must send to the receiver.",
							   "As \"Authorization: Bearer ...\". Required for any address but the loopback one.",
							   &tex_otlp_token_file, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}

/* Background workers, and what their jobs go by. */
static void
define_workers(void)
{
	DefineCustomBoolVariable("trace_ext.workers",
							 "Whether background workers run the jobs.",
							 NULL, &tex_workers_on, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.naptime",
							"How often the launcher looks for databases that came or went unnoticed.",
							NULL, &tex_naptime, 60, 1, 24 * 3600,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.job_processes",
							"How many jobs of users run at once in a database.",
							"Each is a background worker of its own, as long as it runs. 0: none runs.",
							&tex_job_processes, 2, 0, 16,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.cache_processes",
							"In how many processes cached results are computed in the background, in a database.",
							"Each is of one role. 0: none is; callers compute.",
							&tex_cache_processes, 2, 0, 16,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.cache_refresh_timeout",
							"How long the computation of one cached result may take in the background.",
							NULL, &tex_cache_refresh_timeout, 30, 1, 24 * 3600,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.job_history",
							"How many runs of each job are kept in job_runs.",
							NULL, &job_history, 1000, 1, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.notify_interval",
							"Least time between two notifications on a channel.",
							"-1 sends none.",
							&notify_interval, 1000, -1, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.announcement_retention",
							"How long notifications are kept for listeners that missed them.",
							"changes_since() returns them. 0 keeps the last of each channel.",
							&announcement_retention, 600, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
}

/*
 * How much is kept of what happened and of who did it; superusers set it, since less
 * of it can be in somebody's interest.
 */
static void
define_histories(void)
{
	DefineCustomIntVariable("trace_ext.alert_history",
							"How many transitions of each alert are kept in alert_history.",
							NULL, &alert_history, 1000, 1, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.admin_log_retention",
							"How long changes by administrators are kept in admin_log.",
							"0 keeps them for ever.",
							&admin_log_retention, 365 * 24 * 60, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MIN, NULL, NULL, NULL);
}

/* What service_health() calls ill. */
static void
define_health(void)
{
	DefineCustomRealVariable("trace_ext.health_degraded_error_rate",
							 "Part of the requests that fail from which a service is degraded.",
							 "From 0 to 1; a service without an error is not.",
							 &health_degraded_error_rate, 0.01, 0, 1,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("trace_ext.health_critical_error_rate",
							 "Part of the requests that fail from which the state of a service is critical.",
							 "From 0 to 1; of no effect below trace_ext.health_degraded_error_rate.",
							 &health_critical_error_rate, 0.05, 0, 1,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("trace_ext.health_degraded_growth",
							 "How many times as long as usual the 95th percentile is where a service is degraded.",
							 NULL, &health_degraded_growth, 2, 1, 1000000,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("trace_ext.health_critical_growth",
							 "How many times as long as usual the 95th percentile is where the state of a service is critical.",
							 "Of no effect below trace_ext.health_degraded_growth.",
							 &health_critical_growth, 5, 1, 1000000,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.health_silence",
							"How long nothing comes from a service that is silent.",
							NULL, &health_silence, 600, 1, INT_MAX,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
}

/* What retention goes by; superusers set it, since it lets data go. */
static void
define_retention(void)
{
	DefineCustomStringVariable("trace_ext.retention_age",
							   "Age at which traces leave, by their last event.",
							   "An interval; empty keeps them for ever.",
							   &retention_age, "",
							   PGC_SUSET, 0, tex_check_retention_age, NULL, NULL);
	DefineCustomIntVariable("trace_ext.retention_size",
							"Size of the events above which the oldest traces leave.",
							"0 sets no limit.",
							&retention_size, 0, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.retention_traces",
							"Number of traces above which the oldest leave.",
							"0 sets no limit.",
							&retention_traces, 0, 0, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
}

/* What ingest functions take. */
static void
define_ingest(void)
{
	DefineCustomIntVariable("trace_ext.max_field_size",
							"Longest string that ingest functions take in one field.",
							NULL, &tex_max_field_size, 1024 * 1024, 1024, MaxAllocSize / 4,
							PGC_USERSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.max_nesting",
							"Deepest nesting of an event that ingest_events() takes.",
							NULL, &tex_max_nesting, 100, 8, 1000,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.otlp_max_size",
							"Longest body that ingest_otlp() takes, after it is unpacked.",
							NULL, &tex_otlp_max_size, 64 * 1024 * 1024, 1024, MaxAllocSize / 2,
							PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.ingest_quota",
							"Events that a role may send in a second by ingest functions, in all its sessions together.",
							"Set it by ALTER ROLE ... SET. 0 sets no limit.",
							&tex_ingest_quota, 0, 0, INT_MAX,
							PGC_SUSET, 0, tex_check_ingest_quota, NULL, NULL);
	/* In the configuration alone: what ALTER DATABASE sets all roles can read. */
	DefineCustomStringVariable("trace_ext.redaction_key",
							   "Key of the hashes that redaction rules put in the place of values.",
							   "Without one who guesses a value can tell that its hash is there.",
							   &tex_redaction_key, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL, NULL, NULL, NULL);
}

/*
 * Defines all settings; called once from _PG_init().  The names of trace_ext are
 * reserved after that, so a misspelt one is refused.  A value that was set before
 * the library was loaded, and is none, is refused with a warning.
 */
void
tex_guc_init(void)
{
	define_detection();
	define_anomalies();
	define_cache();
	define_watch();
	define_router();
	define_workers();
	define_receiver();
	define_retention();
	define_histories();
	define_health();
	define_ingest();
	DefineCustomIntVariable("trace_ext.fold_threshold",
							"Outstanding deltas after which a writing transaction has them folded.",
							"Each transaction that appends n deltas does so with probability "
							"n / fold_threshold. 0 leaves folding to fold().",
							&tex_fold_threshold, 2000, 0, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.max_operations",
							"Operations of a service that are counted each by itself.",
							"What comes beyond is counted as \"(other)\", until rebuild_summaries().",
							&max_operations, 1000, 1, 100000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("trace_ext.partition_interval",
							   "Length of the partitions that maintain_partitions() makes.",
							   "An interval of whole hours, days or weeks.",
							   &partition_interval, "1 day",
							   PGC_USERSET, 0, tex_check_partition_interval, NULL, NULL);
	DefineCustomIntVariable("trace_ext.partitions_ahead",
							"Number of partitions that maintain_partitions() keeps ready ahead of now.",
							NULL, &partitions_ahead, 3, 0, 1000,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("trace_ext.partition_reach",
							   "How old events may be for which maintain_partitions() makes a partition.",
							   "An interval. Older ones stay in events_default, as do those of the far future.",
							   &partition_reach, "1 year",
							   PGC_USERSET, 0, tex_check_partition_reach, NULL, NULL);
	MarkGUCPrefixReserved("trace_ext");
}
