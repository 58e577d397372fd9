/*
 * compute.c
 *		Computes a result, and keeps it where it is right for others too.
 *
 * It is computed with the snapshot of the caller.  It is kept if that snapshot saw
 * all that was ever written to the relations that were read (relations.c), by
 * the time that it is kept: a computation that began before a concurrent commit is
 * not.  With a ttl it is kept anyway, for callers that accept its age.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cache/compute.h"
#include "cache/counters.h"
#include "cache/failures.h"
#include "cache/local.h"
#include "cache/relations.h"
#include "cache/rows.h"
#include "cache/settings.h"
#include "cache/writes.h"
#include "compat.h"
#include "common/reads.h"

static ParamListInfo
make_params(TexCall *call)
{
	ParamListInfo params;

	if (call->n_args == 0)
		return NULL;
	params = makeParamList(call->n_args);
	for (int i = 0; i < call->n_args; i++)
	{
		params->params[i].value = call->values[i];
		params->params[i].isnull = call->nulls[i];
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = call->types[i];
	}
	return params;
}

/*
 * Plans and executes the query.  Not in parallel where functions execute statements,
 * as what those read in a worker would go unnoticed here.
 */
static void
execute(TexCall *call, TexResult *rows)
{
	ParamListInfo params = make_params(call);
	Query	   *tree = tex_call_tree(call);
	PlannedStmt *plan;
	QueryDesc  *desc;

	plan = pg_plan_query(tree, call->text,
						 call->query.has_functions ? 0 : CURSOR_OPT_PARALLEL_OK, params);
	desc = CreateQueryDesc(plan, call->text, GetActiveSnapshot(), InvalidSnapshot,
						   &rows->dest, params, NULL, 0);
	ExecutorStart(desc, 0);
	tex_executor_run(desc);
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
}

/*
 * Computes the result for this caller alone.
 */
void
tex_compute(TexCall *call)
{
	TexResult		rows;

	tex_result_init(&rows, call->desc, call->store, 0);
	execute(call, &rows);
	tex_result_end(&rows);
}

/*
 * A dependency on each relation that was read or named, and on what defines the query; false
 * where one of them forbids to keep the result.
 */
static bool
make_dependencies(TexCall *call, const TexReads *reads, bool *timed,
				  TexDependency **dependencies, uint32 *n)
{
	List	   *relations = list_union_oid(reads->relations, call->query.relations);
	ListCell   *cell;

	*n = 0;
	*dependencies = palloc0((list_length(relations) + 3) * sizeof(TexDependency));
	/* What a standby replays marks nothing. */
	if (RecoveryInProgress())
		return true;
	tex_relations_computing();
	foreach(cell, relations)
	{
		Oid			relation = lfirst_oid(cell);
		bool		ever;
		const char *refusal = tex_relation_refusal(relation, &ever);

		if (refusal && ever)
			return false;
		if (refusal)
			*timed = true;
		else
			tex_relation_track(relation, &(*dependencies)[(*n)++]);
	}
	tex_relation_track(TEX_DEFINITIONS, &(*dependencies)[(*n)++]);
	tex_relation_track(TEX_ROLES, &(*dependencies)[(*n)++]);
	if (call->query.has_functions)
		tex_relation_track(TEX_NAMES, &(*dependencies)[(*n)++]);
	return true;
}

/* Has this transaction written what it read, or changed what that means? */
static bool
is_mine_alone(const TexDependency *dependencies, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
	{
		if (tex_i_wrote(dependencies[i].relation))
			return true;
	}
	return tex_i_changed_definitions();
}

/* Did the caller's snapshot see everything that was written until now? */
static bool
is_current(TexDependency *dependencies, uint32 n)
{
	Snapshot	snapshot = GetActiveSnapshot();
	bool		current = n > 0 && !snapshot->takenDuringRecovery;

	for (uint32 i = 0; i < n; i++)
		current &= tex_relation_all_seen(&dependencies[i], snapshot);
	return current;
}

/*
 * Did this session know of all changes to what the query means that its snapshot
 * sees?  A transaction tells others of its DDL a moment after snapshots see it, and
 * before it gives up its locks.
 */
static bool
knew_definitions(const TexCall *call, const TexDependency *dependencies, uint32 n)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		recent = false;

	for (uint32 i = 0; i < n; i++)
	{
		TransactionId wiper = tex_relation_recent_wiper(&dependencies[i], now);

		if (!TransactionIdIsValid(wiper))
			continue;
		if (!tex_is_over(wiper))
			return false;
		recent = true;
	}
	if (!recent)
		return true;
	AcceptInvalidationMessages();
	return tex_definitions_seen() == call->definitions.seen;
}

/* What it takes to compute the result again: settings and arguments. */
static void
write_recipe(TexCall *call, StringInfo recipe)
{
	tex_settings_write(recipe);
	appendBinaryStringInfo(recipe, (char *) &call->n_args, sizeof(int));
	for (int i = 0; i < call->n_args; i++)
	{
		int16		length;
		bool		by_value;
		char	   *place;

		get_typlenbyval(call->types[i], &length, &by_value);
		appendBinaryStringInfo(recipe, (char *) &call->types[i], sizeof(Oid));
		enlargeStringInfo(recipe, (int) datumEstimateSpace(call->values[i], call->nulls[i],
														   by_value, length));
		place = recipe->data + recipe->len;
		datumSerialize(call->values[i], call->nulls[i], by_value, length, &place);
		recipe->len = place - recipe->data;
	}
}

static void
append_part(char *bytes, Size at, const void *part, Size size)
{
	memcpy(bytes + at, part, size);
	memset(bytes + at + size, 0, MAXALIGN(size) - size);
}

/* Keeps what was computed, here and in shared memory. */
static void
keep(TexCall *call, TexEntryInfo *info, const TexDependency *dependencies,
	 const StringInfo notices, const TexResult *rows)
{
	StringInfoData recipe;
	char	   *bytes;

	initStringInfo(&recipe);
	write_recipe(call, &recipe);
	info->key = call->key;
	info->n_rows = rows->n;
	info->query_size = strlen(call->text) + 1;
	info->recipe_size = recipe.len;
	info->notices_size = notices->len;
	info->rows_size = rows->bytes.len;
	if (TEX_ENTRY_BYTES(info) > tex_entry_limit())
	{
		tex_cache_count(TEX_CACHE_TOO_LARGE, 1);
		return;
	}
	bytes = palloc(TEX_ENTRY_BYTES(info));
	append_part(bytes, 0, dependencies, info->n_dependencies * sizeof(TexDependency));
	append_part(bytes, TEX_ENTRY_QUERY(info), call->text, info->query_size);
	append_part(bytes, TEX_ENTRY_RECIPE(info), recipe.data, info->recipe_size);
	append_part(bytes, TEX_ENTRY_NOTICES(info), notices->data, info->notices_size);
	memcpy(bytes + TEX_ENTRY_ROWS(info), rows->bytes.data, info->rows_size);

	if (tex_entry_store(info, bytes))
	{
		tex_cache_count(TEX_CACHE_STORES, 1);
		tex_local_keep(info, bytes);
	}
	else
		tex_cache_count(TEX_CACHE_NO_SPACE, 1);
	pfree(bytes);
	pfree(recipe.data);
}

/* Keeps what was computed if it is right for others, or young enough for some. */
static void
keep_if_right(TexCall *call, TexEntryInfo *info, TexReads *reads, const TexResult *rows)
{
	TexDependency *dependencies;

	if (rows->too_large)
	{
		tex_cache_count(TEX_CACHE_TOO_LARGE, 1);
		return;
	}
	info->timed = call->query.ttl_reason != NULL;
	info->repeatable = !tex_call_is_of_session(call);
	if (!make_dependencies(call, reads, &info->timed, &dependencies, &info->n_dependencies) ||
		is_mine_alone(dependencies, info->n_dependencies))
	{
		tex_cache_count(TEX_CACHE_NOT_CURRENT, 1);
		return;
	}
	info->exact = is_current(dependencies, info->n_dependencies);
	if (!knew_definitions(call, dependencies, info->n_dependencies))
	{
		tex_cache_count(TEX_CACHE_NOT_CURRENT, 1);
		return;
	}
	if (call->ttl == TEX_NO_TTL && (info->timed || !info->exact))
	{
		tex_cache_count(TEX_CACHE_NOT_CURRENT, 1);
		return;
	}
	keep(call, info, dependencies, &reads->notices, rows);
}

static uint64
microseconds_since(instr_time begin)
{
	instr_time	end;

	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	return INSTR_TIME_GET_MICROSEC(end);
}

static void
note_failure(TexCall *call, MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	tex_failures_note(&call->flight, error);
	FreeErrorData(error);
}

/*
 * Computes the result for this caller, and keeps it for others where it can be.
 */
void
tex_compute_and_keep(TexCall *call)
{
	MemoryContext context = CurrentMemoryContext;
	TexReads	reads = {0};
	TexEntryInfo info = {
		/* now() is that, and no snapshot of the transaction is older. */
		.as_of = GetCurrentTransactionStartTimestamp(),
		.ttl = call->ttl,
		.replayed = tex_relations_replayed()
	};
	TexResult		rows;
	instr_time	begin;

	INSTR_TIME_SET_CURRENT(begin);
	tex_result_init(&rows, call->desc, call->store, tex_entry_limit());
	tex_reads_begin(&reads);
	PG_TRY();
	{
		execute(call, &rows);
	}
	PG_CATCH();
	{
		tex_reads_end(&reads);
		note_failure(call, context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	tex_reads_end(&reads);
	info.cost = microseconds_since(begin);
	tex_failures_clear(&call->flight);
	keep_if_right(call, &info, &reads, &rows);
	tex_result_end(&rows);
}
