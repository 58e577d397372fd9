/*
 * compute.c
 *		Computes a result, and stores it where it is right for others too.
 *
 * It is computed with the snapshot of the caller.  It is stored if that snapshot saw
 * all that was ever written to the relations that were read (relations.c), by
 * the time that it is stored: a computation that began before a concurrent commit is
 * not.  With a ttl it is stored anyway, for callers that accept its age.
 *
 * Rows go to the caller as they come, and a copy of each is collected for the cache, as
 * long as all of them are no more than it takes.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "tcop/tcopprot.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cache/attempts.h"
#include "cache/compute.h"
#include "cache/shared.h"
#include "cache/writes.h"
#include "common/reads.h"
#include "compat.h"
#include "shards/partial.h"

/* Where the executor puts the rows. */
typedef struct Rows
{
	DestReceiver dest;			/* first, so that one is the other */
	TupleDesc	desc;
	Tuplestorestate *store;		/* NULL: nobody takes them */
	MemoryContext row;			/* for what the copy of one row takes */
	StringInfoData bytes;		/* MinimalTuples, each MAXALIGNed */
	Size		limit;			/* for "bytes"; 0 to collect none */
	uint32		n;
	bool		too_large;		/* "bytes" lacks rows, as they passed the limit */
} Rows;

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */
/* Is a value stored out of line? */
static bool
is_elsewhere(const Rows *rows, const TupleTableSlot *slot, int i)
{
	return !slot->tts_isnull[i] && TupleDescAttr(rows->desc, i)->attlen == -1 &&
		VARATT_IS_EXTERNAL(DatumGetPointer(slot->tts_values[i]));
}

/*
 * Do the values of a row that are stored out of line fit into what is left?  That is
 * known before any of them is fetched.
 */
static bool
fits(const Rows *rows, const TupleTableSlot *slot)
{
	Size		size = rows->bytes.len;

	for (int i = 0; i < rows->desc->natts && size <= rows->limit; i++)
	{
		if (is_elsewhere(rows, slot, i))
			size += toast_datum_size(slot->tts_values[i]);
	}
	return size <= rows->limit;
}

/*
 * A copy of a row that refers to nothing outside of it: a value that is stored out
 * of line may be gone when the copy is used.
 */
static MinimalTuple
flatten(const Rows *rows, const TupleTableSlot *slot)
{
	Datum	   *values = palloc(rows->desc->natts * sizeof(Datum));

	for (int i = 0; i < rows->desc->natts; i++)
	{
		values[i] = slot->tts_values[i];
		if (is_elsewhere(rows, slot, i))
			values[i] = PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(values[i])));
	}
	return tex_form_minimal_tuple(rows->desc, values, slot->tts_isnull);
}

/* Adds a row to what is collected; its memory is given back before the next one. */
static void
collect(Rows *rows, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(rows->row);
	MinimalTuple tuple = NULL;

	slot_getallattrs(slot);
	if (fits(rows, slot))
		tuple = flatten(rows, slot);
	MemoryContextSwitchTo(old);
	if (tuple && rows->bytes.len + MAXALIGN(tuple->t_len) <= rows->limit)
	{
		appendBinaryStringInfoNT(&rows->bytes, (char *) tuple, (int) tuple->t_len);
		while (rows->bytes.len % MAXIMUM_ALIGNOF != 0)
			appendStringInfoChar(&rows->bytes, '\0');
	}
	else
	{
		/* From here on rows go to the caller only; the cache has no use for what there is. */
		rows->too_large = true;
		pfree(rows->bytes.data);
		rows->bytes.data = NULL;
		rows->bytes.len = 0;
	}
	MemoryContextReset(rows->row);
}

/*
 * The caller's row is the one of the query: what is stored out of line stays there,
 * as with any other function, for the snapshot of the caller is that of the query.
 */
static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Rows *rows = (Rows *) self;

	if (rows->limit > 0 && !rows->too_large)
		collect(rows, slot);
	rows->n++;
	if (rows->store)
		tuplestore_puttupleslot(rows->store, slot);
	return true;
}

/* Prepares to receive rows, and to collect those that fit into "limit" bytes. */
static void
begin_rows(Rows *rows, const TexCall *call, Size limit)
{
	memset(rows, 0, sizeof(Rows));
	rows->dest = *None_Receiver;
	rows->dest.receiveSlot = receive;
	rows->desc = call->desc;
	rows->store = call->store;
	rows->limit = limit;
	if (limit == 0)
		return;
	rows->row = AllocSetContextCreate(CurrentMemoryContext, "trace_ext row of a cached result",
									  ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&rows->bytes);
}

/* Gives rows that were collected, "n" of them and of these columns, to a caller. */
void
tex_rows_put(TupleDesc desc, Tuplestorestate *store, const char *bytes, uint32 n)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	for (uint32 i = 0; i < n; i++)
	{
		MinimalTuple tuple = (MinimalTuple) bytes;

		ExecStoreMinimalTuple(tuple, slot, false);
		tuplestore_puttupleslot(store, slot);
		bytes += MAXALIGN(tuple->t_len);
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* ----------------------------------------------------------------
 *		Execution
 * ----------------------------------------------------------------
 */
/* The arguments, as the executor takes them; constants to the planner. */
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
execute(TexCall *call, Rows *rows)
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

/* Computes the result for this caller alone: its rows are in call->store then. */
void
tex_compute(TexCall *call)
{
	Rows		rows;

	begin_rows(&rows, call, 0);
	execute(call, &rows);
}

/* ----------------------------------------------------------------
 *		Storing
 * ----------------------------------------------------------------
 */
/*
 * A dependency on each relation that was read or named, and on what defines the query;
 * NULL where one of them forbids to store the result.
 */
static TexDependency *
make_dependencies(const TexCall *call, const TexReads *reads, TexEntryInfo *info)
{
	List	   *relations = list_union_oid(reads->relations, call->query.relations);
	TexDependency *dependencies = palloc0((list_length(relations) + 3) * sizeof(TexDependency));
	ListCell   *cell;
	uint32		n = 0;

	/* What a standby replays marks nothing. */
	if (RecoveryInProgress())
		return dependencies;
	tex_relations_computing();
	foreach(cell, relations)
	{
		bool		ever;
		const char *refusal = tex_relation_refusal(lfirst_oid(cell), &ever);

		if (refusal && ever)
			return NULL;
		if (refusal)
			info->timed = true;
		else
			tex_relation_track(lfirst_oid(cell), &dependencies[n++]);
	}
	tex_relation_track(TEX_DEFINITIONS, &dependencies[n++]);
	tex_relation_track(TEX_ROLES, &dependencies[n++]);
	if (call->query.has_functions)
		tex_relation_track(TEX_NAMES, &dependencies[n++]);
	info->n_dependencies = n;
	return dependencies;
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
	bool		recently = false;

	for (uint32 i = 0; i < n; i++)
	{
		if (!tex_relation_is_told(&dependencies[i], &recently))
			return false;
	}
	if (!recently)
		return true;
	AcceptInvalidationMessages();
	return tex_definitions_seen() == call->definitions.seen;
}

/* Adds a part to the bytes of an entry, which are zero there. */
static void
put_part(char *bytes, Size at, const void *part, Size size)
{
	if (size > 0)
		memcpy(bytes + at, part, size);
}

/* Stores what was computed, here and in shared memory. */
static void
store(TexCall *call, TexEntryInfo *info, const TexDependency *dependencies,
	  const StringInfo notices, const Rows *rows)
{
	StringInfoData recipe;
	char	   *bytes;

	initStringInfo(&recipe);
	tex_settings_write(&recipe);
	tex_call_write_arguments(call, &recipe);
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
	bytes = palloc0(TEX_ENTRY_BYTES(info));
	put_part(bytes, 0, dependencies, info->n_dependencies * sizeof(TexDependency));
	put_part(bytes, TEX_ENTRY_QUERY(info), call->text, info->query_size);
	put_part(bytes, TEX_ENTRY_RECIPE(info), recipe.data, info->recipe_size);
	put_part(bytes, TEX_ENTRY_NOTICES(info), notices->data, info->notices_size);
	put_part(bytes, TEX_ENTRY_ROWS(info), rows->bytes.data, info->rows_size);
	if (tex_entry_store(info, bytes))
	{
		tex_cache_count(TEX_CACHE_STORES, 1);
		tex_copy_store(info, bytes);
	}
	else
		tex_cache_count(TEX_CACHE_NO_SPACE, 1);
	pfree(bytes);
	pfree(recipe.data);
}

/* Stores what was computed if it is right for others, or young enough for some. */
static void
store_if_right(TexCall *call, TexEntryInfo *info, TexReads *reads, const Rows *rows)
{
	TexDependency *dependencies;

	if (rows->too_large)
	{
		tex_cache_count(TEX_CACHE_TOO_LARGE, 1);
		return;
	}
	info->timed = call->query.ttl_reason != NULL;
	info->repeatable = !tex_call_is_of_session(call);
	dependencies = make_dependencies(call, reads, info);
	if (dependencies == NULL || is_mine_alone(dependencies, info->n_dependencies))
	{
		tex_cache_count(TEX_CACHE_NOT_CURRENT, 1);
		return;
	}
	info->exact = is_current(dependencies, info->n_dependencies);
	if (!knew_definitions(call, dependencies, info->n_dependencies) ||
		(call->ttl == TEX_NO_TTL && (info->timed || !info->exact)))
	{
		tex_cache_count(TEX_CACHE_NOT_CURRENT, 1);
		return;
	}
	store(call, info, dependencies, &reads->notices, rows);
}

/*
 * Computes the result for this caller, as tex_compute() does, and stores it for others
 * where it can be.  An error of the query is noted as its failure.
 */
void
tex_compute_and_store(TexCall *call)
{
	MemoryContext context = CurrentMemoryContext;
	TexReads	reads = {0};
	TexEntryInfo info = {
		/* now() is that, and no snapshot of the transaction is older. */
		.as_of = GetCurrentTransactionStartTimestamp(),
		.ttl = call->ttl,
		.replayed = tex_relations_replayed()
	};
	Rows		rows;
	instr_time	began;
	instr_time	took;
	uint64		partial = tex_partial_answers();

	INSTR_TIME_SET_CURRENT(began);
	begin_rows(&rows, call, tex_entry_limit());
	tex_reads_begin(&reads);
	PG_TRY();
	{
		execute(call, &rows);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		tex_reads_end(&reads);
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		tex_failures_note(&call->attempt, error);
		FreeErrorData(error);
		PG_RE_THROW();
	}
	PG_END_TRY();
	tex_reads_end(&reads);
	INSTR_TIME_SET_CURRENT(took);
	INSTR_TIME_SUBTRACT(took, began);
	info.cost = INSTR_TIME_GET_MICROSEC(took);
	tex_failures_clear(&call->attempt);
	if (partial == tex_partial_answers())
		store_if_right(call, &info, &reads, &rows);
	else
		tex_cache_count(TEX_CACHE_NOT_CURRENT, 1);
	MemoryContextDelete(rows.row);
	if (rows.bytes.data)
		pfree(rows.bytes.data);
}
