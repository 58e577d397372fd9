/*
 * scans.c
 *		Rows that scans of watched tables return: what a statement reads.
 *
 * When the executor has made the nodes of a plan, those that scan a watched table get
 * a function of ours in front of their own, which looks at each row that comes out: it has
 * passed the conditions of the scan, and is whole in the slot of the scan.  Columns are those
 * that the statement names.  What is watched of a relation is known after the first
 * statement, so a statement that touches no watched table costs one comparison a relation.
 *
 * Not taken as reads are
 * - the scan of the rows that an UPDATE, DELETE or MERGE writes itself; but what RETURNING of an
 *	 UPDATE says of columns that it leaves as they are is read, of a row that it has locked;
 * - rows of a table whose rows are to be locked (FOR UPDATE and the like): these are taken
 *	 where LockRows returns them, as they were when they were locked, which may be a newer
 *	 version than the snapshot sees;
 * - scans in parallel workers, and the leader's part of such a scan;
 * - rows of a statement that are more than trace_ext.watch_max_rows.
 * The last two leave a gap (collect.c).
 *
 * A plan's nodes are found by their address.  They are forgotten when the executor ends, and
 * with the transaction or savepoint that is rolled back, after which nobody calls them.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "watch/collect.h"
#include "watch/computed.h"
#include "watch/scans.h"
#include "watch/values.h"

/* Rows of one table that a statement has read. */
typedef struct RowCount
{
	Oid			root;
	int			rows;
	bool		over;			/* more than the limit: none is taken */
} RowCount;

/* A table that a node returns rows of. */
typedef struct Source
{
	TexWatch   *watch;
	RowCount   *count;
	Index		rti;
	ExecRowMark *mark;			/* of LockRows, else NULL */
	bool		is_locked;		/* rows are locked before they are read */
	AttrNumber *key_slots;		/* of each column of the key: where it is in the slot */
	AttrNumber *column_slots;	/* of each watched column the same; 0: it is not read */
	ItemPointerData last;		/* the row that was taken last */
} Source;

/* A node with our function in front of its own. */
typedef struct Wrapped
{
	PlanState  *state;			/* hash key */
	ExecProcNodeMtd real;
	TexStatement *statement;
	List	   *sources;
} Wrapped;

/* A statement that is being executed and touches watched tables. */
typedef struct Open
{
	MemoryContext context;		/* of the transaction: that of the plan goes before the end of it is told */
	QueryDesc  *query;
	TexStatement *statement;
	List	   *nodes;			/* addresses of PlanStates */
	List	   *counts;
	bool		leaves_gap;		/* it returns what is not taken */
	struct Open *next;
} Open;

static HTAB *nodes = NULL;
static Wrapped *last_node = NULL;
static Open *open_statements = NULL;

static ExecutorStart_hook_type previous_start = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;
static ExecutorEnd_hook_type previous_end = NULL;

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */
static const char *
lock_name(LockClauseStrength strength)
{
	switch (strength)
	{
		case LCS_FORKEYSHARE:
			return "FOR KEY SHARE";
		case LCS_FORSHARE:
			return "FOR SHARE";
		case LCS_FORNOKEYUPDATE:
			return "FOR NO KEY UPDATE";
		default:
			return "FOR UPDATE";
	}
}

/* Takes a row, whose values are where the source says; throws where collecting fails. */
static void
take_row(TexStatement *statement, Source *source, TupleTableSlot *slot)
{
	const TexWatch *watch = source->watch;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	StringInfoData row;
	StringInfoData variable;

	initStringInfo(&row);
	initStringInfo(&variable);
	for (int i = 0; i < watch->nkeys; i++)
		values[i] = slot_getattr(slot, source->key_slots[i], &isnull[i]);
	if (!tex_watch_row_name(&row, watch, values, isnull))
		return;
	if (source->mark)
	{
		const char *name = lock_name(source->mark->strength);
		TexWatchValue lock = {.kind = TEX_VALUE_TEXT,.len = strlen(name),.text = name};

		appendStringInfo(&variable, "row:%s", row.data);
		tex_watch_take(statement, watch, TEX_TAKEN_LOCK, variable.data, variable.len, NULL, &lock);
	}
	for (int i = 0; i < watch->ncolumns; i++)
	{
		TexWatchValue value;
		bool		null;
		Datum		datum;

		if (source->column_slots[i] == 0)
			continue;
		datum = slot_getattr(slot, source->column_slots[i], &null);
		tex_watch_variable(&variable, &row, &watch->columns[i]);
		tex_watch_value(&value, watch, &watch->columns[i], variable.data, datum, null);
		tex_watch_take(statement, watch, source->is_locked ? TEX_TAKEN_LOCKED_READ : TEX_TAKEN_READ,
					   variable.data, variable.len, NULL, &value);
	}
}

/* Takes a row that a node returned, unless it is one too many; never throws. */
static void
note_row(TexStatement *statement, Source *source, TupleTableSlot *slot)
{
	TexGuard	guard;
	MemoryContext scratch;

	/* As the inner side of a join returns it again and again. */
	if (source->mark == NULL && ItemPointerIsValid(&slot->tts_tid))
	{
		if (ItemPointerIsValid(&source->last) && ItemPointerEquals(&source->last, &slot->tts_tid))
			return;
		source->last = slot->tts_tid;
	}
	if (++source->count->rows > tex_watch_max_rows)
	{
		source->count->over = true;
		tex_watch_untake(statement, source->watch);
		return;
	}
	tex_guard_begin(&guard);
	scratch = tex_guard_scratch(&guard);
	PG_TRY();
	{
		MemoryContextSwitchTo(scratch);
		take_row(statement, source, slot);
		tex_guard_end(&guard);
	}
	PG_CATCH();
	{
		tex_guard_failed(&guard);
	}
	PG_END_TRY();
}

static Wrapped *
find_node(PlanState *state)
{
	if (last_node == NULL || last_node->state != state)
		last_node = hash_search(nodes, &state, HASH_FIND, NULL);
	if (last_node == NULL)
		elog(ERROR, "a scan of a watched table is not known");
	return last_node;
}

/* In front of a scan. */
static TupleTableSlot *
next_of_scan(PlanState *state)
{
	Wrapped    *node = find_node(state);
	Source	   *source = linitial(node->sources);
	TexStatement *statement = node->statement;
	TupleTableSlot *slot = node->real(state);

	if (TupIsNull(slot))
		return slot;
	if (!source->count->over)
		note_row(statement, source, ((ScanState *) state)->ss_ScanTupleSlot);
	else if (state->ExecProcNode == next_of_scan)
		/* Nothing is taken any more, so it costs nothing any more. */
		state->ExecProcNode = node->real;
	return slot;
}

/* In front of LockRows: what it returns is locked, in the version that was locked. */
static TupleTableSlot *
next_of_locks(PlanState *state)
{
	Wrapped    *node = find_node(state);
	TexStatement *statement = node->statement;
	List	   *sources = node->sources;
	TupleTableSlot *slot = node->real(state);
	ListCell   *lc;

	if (TupIsNull(slot))
		return slot;
	foreach(lc, sources)
	{
		Source	   *source = lfirst(lc);
		TupleTableSlot *locked = ((LockRowsState *) state)->lr_epqstate.relsubs_slot[source->rti - 1];

		if (!source->count->over && source->mark->ermActive && !TupIsNull(locked))
			note_row(statement, source, locked);
	}
	return slot;
}

/* In front of an UPDATE that has RETURNING: the row is where its expressions find it. */
static TupleTableSlot *
next_of_returning(PlanState *state)
{
	Wrapped    *node = find_node(state);
	Source	   *source = linitial(node->sources);
	TexStatement *statement = node->statement;
	TupleTableSlot *slot = node->real(state);
	TupleTableSlot *row;

	if (TupIsNull(slot) || source->count->over)
		return slot;
	row = state->ps_ExprContext->ecxt_scantuple;
	if (!TupIsNull(row))
		note_row(statement, source, row);
	return slot;
}

/* ----------------------------------------------------------------
 *		Nodes
 * ----------------------------------------------------------------
 */
/* A plan whose nodes are being looked at. */
typedef struct Look
{
	PlannedStmt *plan;
	Open	   *open;
	bool		only_note;		/* below Gather: watched tables are noted, not taken */
	bool		is_internal;	/* it checks a foreign key */
} Look;

/* Of a partition, the entry of the range table that the statement names. */
static Index
named_rti(const PlannedStmt *plan, Index rti)
{
	ListCell   *lc;

	foreach(lc, plan->appendRelations)
	{
		AppendRelInfo *info = lfirst(lc);

		if (info->child_relid == rti)
			return named_rti(plan, info->parent_relid);
	}
	return rti;
}

/* The columns of a relation that the statement reads, as rights say; false: all. */
static bool
selected_columns(const PlannedStmt *plan, Index rti, const Bitmapset **columns)
{
	RangeTblEntry *entry = rt_fetch(rti, plan->rtable);

#if PG_VERSION_NUM >= 160000
	if (entry->perminfoindex == 0)
		return false;
	*columns = ((RTEPermissionInfo *) list_nth(plan->permInfos, entry->perminfoindex - 1))->selectedCols;
#else
	*columns = entry->selectedCols;
#endif
	return !bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, *columns);
}

/* Whether the statement reads a column of the relation, or of the one that it is a partition of. */
static bool
is_read(const Look *look, Index rti, const TexWatch *watch, const TexWatchColumn *column)
{
	Index		named = named_rti(look->plan, rti);
	Oid			relation = rt_fetch(named, look->plan->rtable)->relid;
	const Bitmapset *columns = NULL;
	AttrNumber	attribute = column->attribute;

	if (!selected_columns(look->plan, named, &columns))
		return true;
	if (relation != watch->relation)
		attribute = get_attnum(relation, NameStr(column->name));
	return bms_is_member(attribute - FirstLowInvalidHeapAttributeNumber, columns);
}

/* Where a column of the table is in the slot of a scan: in its place, but for index-only scans. */
static AttrNumber
slot_of_column(const PlanState *state, AttrNumber attribute)
{
	ListCell   *lc;

	if (!IsA(state, IndexOnlyScanState))
		return attribute;
	foreach(lc, castNode(IndexOnlyScan, state->plan)->indextlist)
	{
		TargetEntry *entry = lfirst(lc);

		if (IsA(entry->expr, Var) && ((Var *) entry->expr)->varattno == attribute)
			return entry->resno;
	}
	return 0;
}

/* How many rows of the table the statement has read; one count for all scans of it. */
static RowCount *
count_of(Open *open, Oid root)
{
	RowCount   *count;
	ListCell   *lc;

	foreach(lc, open->counts)
	{
		count = lfirst(lc);
		if (count->root == root)
			return count;
	}
	count = palloc0(sizeof(RowCount));
	count->root = root;
	open->counts = lappend(open->counts, count);
	return count;
}

/* What is read of a relation by a node; NULL: nothing. */
static Source *
make_source(Look *look, const PlanState *state, Oid relation, Index rti, ExecRowMark *mark)
{
	TexWatch   *watch = tex_watch_of(relation);
	Source	   *source;
	bool		any = mark != NULL;

	if (watch == NULL || (mark && look->is_internal))
		return NULL;
	source = palloc0(sizeof(Source));
	source->watch = watch;
	source->rti = rti;
	source->mark = mark;
	source->is_locked = mark != NULL;
	source->count = count_of(look->open, watch->root);
	source->key_slots = palloc0(sizeof(AttrNumber) * watch->nkeys);
	source->column_slots = palloc0(sizeof(AttrNumber) * Max(watch->ncolumns, 1));
	ItemPointerSetInvalid(&source->last);
	for (int i = 0; i < watch->ncolumns; i++)
	{
		if (!is_read(look, rti, watch, &watch->columns[i]))
			continue;
		source->column_slots[i] = slot_of_column(state, watch->columns[i].attribute);
		any |= source->column_slots[i] != 0;
	}
	if (!any)
		return NULL;
	for (int i = 0; i < watch->nkeys; i++)
	{
		source->key_slots[i] = slot_of_column(state, watch->keys[i].attribute);
		if (source->key_slots[i] == 0 || look->only_note)
		{
			/* Which row it is cannot be told, or what the workers read. */
			tex_watch_count(TEX_WATCH_NOT_COVERED, 1);
			pg_atomic_fetch_add_u64(&watch->counts->dropped, 1);
			tex_watch_gap();
			return NULL;
		}
	}
	return source;
}

/* Puts a function of ours in front of a node's. */
static void
put_in_front(Look *look, PlanState *state, ExecProcNodeMtd function, List *sources)
{
	Wrapped    *node;

	if (nodes == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(PlanState *),.entrysize = sizeof(Wrapped),.hcxt = CacheMemoryContext};

		nodes = hash_create("trace_ext scans of watched tables", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	look->open->nodes = lappend(look->open->nodes, state);
	last_node = NULL;
	node = hash_search(nodes, &state, HASH_ENTER, NULL);
	node->real = state->ExecProcNodeReal;
	node->statement = look->open->statement;
	node->sources = sources;
	ExecSetExecProcNode(state, function);
}

/* Whether rows of a relation are locked, where LockRows returns them. */
static bool
is_locked(const PlannedStmt *plan, Index rti)
{
	ListCell   *lc;

	foreach(lc, plan->rowMarks)
	{
		PlanRowMark *mark = lfirst(lc);

		if (mark->rti == rti && !mark->isParent && RowMarkRequiresRowShareLock(mark->markType))
			return true;
	}
	return false;
}

static void
look_at_scan(Look *look, PlanState *state)
{
	ScanState  *scan = (ScanState *) state;
	Index		rti = ((Scan *) state->plan)->scanrelid;
	Source	   *source;

	if (scan->ss_currentRelation == NULL || list_member_int(look->plan->resultRelations, rti) ||
		is_locked(look->plan, rti))
		return;
	source = make_source(look, state, RelationGetRelid(scan->ss_currentRelation), rti, NULL);
	if (source)
		put_in_front(look, state, next_of_scan, list_make1(source));
}

static void
look_at_locks(Look *look, LockRowsState *locks)
{
	List	   *sources = NIL;
	ListCell   *lc;

	foreach(lc, locks->lr_arowMarks)
	{
		ExecRowMark *mark = ((ExecAuxRowMark *) lfirst(lc))->rowmark;
		Source	   *source;

		if (!RowMarkRequiresRowShareLock(mark->markType))
			continue;
		source = make_source(look, &locks->ps, mark->relid, mark->rti, mark);
		if (source)
			sources = lappend(sources, source);
	}
	if (sources != NIL)
		put_in_front(look, &locks->ps, next_of_locks, sources);
}

/*
 * What an UPDATE returns of columns that it does not set.  Where others may set them for it (triggers),
 * or the row may have gone to another partition, nothing is taken, which leaves a gap behind the statement.
 */
static void
look_at_returning(Look *look, ModifyTableState *modify)
{
	List	   *returning = castNode(ModifyTable, modify->ps.plan)->returningLists;
	ResultRelInfo *target = modify->resultRelInfo;
	Bitmapset  *returned = NULL;
	Bitmapset  *updated;
	Source	   *source;
	bool		is_covered = modify->rootResultRelInfo == target &&
		(target->ri_TrigDesc == NULL || (!target->ri_TrigDesc->trig_update_before_row && !target->ri_TrigDesc->trig_update_instead_row));
	bool		any = false;

	if (modify->operation != CMD_UPDATE || returning == NIL)
		return;
	source = make_source(look, &modify->ps, RelationGetRelid(target->ri_RelationDesc), target->ri_RangeTableIndex, NULL);
	if (source == NULL)
		return;
	source->is_locked = true;
	pull_varattnos(linitial(returning), target->ri_RangeTableIndex, &returned);
	updated = ExecGetAllUpdatedCols(target, modify->ps.state);
	/* With another key it is another row. */
	for (int i = 0; i < source->watch->nkeys; i++)
		if (bms_is_member(source->watch->keys[i].attribute - FirstLowInvalidHeapAttributeNumber, updated))
			return;
	for (int i = 0; i < source->watch->ncolumns; i++)
	{
		int			member = source->watch->columns[i].attribute - FirstLowInvalidHeapAttributeNumber;

		if (bms_is_member(member, updated) ||
			!(bms_is_member(member, returned) || bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, returned)))
			source->column_slots[i] = 0;
		any |= source->column_slots[i] != 0;
	}
	if (any && is_covered)
		put_in_front(look, &modify->ps, next_of_returning, list_make1(source));
	else if (any)
	{
		tex_watch_count(TEX_WATCH_NOT_COVERED, 1);
		pg_atomic_fetch_add_u64(&source->watch->counts->dropped, 1);
		look->open->leaves_gap = true;
	}
}

/* Walks over the nodes of a plan. */
static bool
look_at(PlanState *state, void *arg)
{
	Look	   *look = arg;
	bool		was_noting = look->only_note;
	bool		done;

	switch (nodeTag(state))
	{
		case T_SeqScanState:
		case T_SampleScanState:
		case T_IndexScanState:
		case T_IndexOnlyScanState:
		case T_BitmapHeapScanState:
		case T_TidScanState:
		case T_TidRangeScanState:
			look_at_scan(look, state);
			break;
		case T_LockRowsState:
			look_at_locks(look, (LockRowsState *) state);
			break;
		case T_ModifyTableState:
			look_at_returning(look, (ModifyTableState *) state);
			break;
		case T_GatherState:
		case T_GatherMergeState:
			look->only_note = true;
			break;
		default:
			break;
	}
	done = planstate_tree_walker(state, look_at, arg);
	look->only_note = was_noting;
	return done;
}

/* ----------------------------------------------------------------
 *		Statements
 * ----------------------------------------------------------------
 */
/* Notes a statement that is about to be executed and touches a watched table. */
static void
open_statement(QueryDesc *query)
{
	PlannedStmt *plan = query->plannedstmt;
	TexStatement *statement = tex_watch_statement(query->sourceText, plan->stmt_location, plan->stmt_len);
	Look		look = {.plan = plan};
	MemoryContext old;

	if (statement == NULL)
		return;
	old = MemoryContextSwitchTo(AllocSetContextCreate(TopTransactionContext, "trace_ext watched statement",
													  ALLOCSET_SMALL_SIZES));
	look.open = palloc0(sizeof(Open));
	look.open->context = CurrentMemoryContext;
	look.open->query = query;
	look.open->statement = statement;
	look.open->next = open_statements;
	look.is_internal = query->sourceText && strncmp(query->sourceText, "SELECT 1 FROM ONLY ", 19) == 0;
	open_statements = look.open;
	look_at(query->planstate, &look);
	if (query->operation != CMD_SELECT || plan->hasModifyingCTE)
		statement->computed = tex_computed_columns(plan);
	MemoryContextSwitchTo(old);
}

/* Whether a statement touches a watched table, or that is not known yet. */
static bool
may_touch_watched(const PlannedStmt *plan)
{
	ListCell   *lc;

	foreach(lc, plan->relationOids)
		if (tex_watch_may_be(lfirst_oid(lc)))
			return true;
	return false;
}

/* Whether it does; may throw. */
static bool
touches_watched(const PlannedStmt *plan)
{
	ListCell   *lc;
	bool		any = false;

	foreach(lc, plan->relationOids)
		any |= tex_watch_of(lfirst_oid(lc)) != NULL;
	return any;
}

/* Looks at a plan whose nodes are made; never throws. */
static void
note_statement(QueryDesc *query)
{
	TexGuard	guard;

	tex_guard_begin(&guard);
	PG_TRY();
	{
		if (touches_watched(query->plannedstmt))
		{
			if (tex_watch_is_off())
				tex_watch_gap();
			else
				open_statement(query);
		}
		tex_guard_end(&guard);
	}
	PG_CATCH();
	{
		tex_guard_failed(&guard);
	}
	PG_END_TRY();
}

/* ExecutorStart: when the nodes are made, those of watched tables are found. */
static void
on_start(QueryDesc *query, int eflags)
{
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0 && query->planstate &&
		may_touch_watched(query->plannedstmt))
		note_statement(query);
}

static Open *
find_open(const QueryDesc *query)
{
	for (Open *open = open_statements; open; open = open->next)
		if (open->query == query)
			return open;
	return NULL;
}

static void
finish(QueryDesc *query)
{
	if (previous_finish)
		previous_finish(query);
	else
		standard_ExecutorFinish(query);
}

/* ExecutorFinish: row triggers are called here, and belong to this statement. */
static void
on_finish(QueryDesc *query)
{
	Open	   *open = open_statements ? find_open(query) : NULL;
	TexStatement *outer = tex_watch_in_triggers_of;

	if (open == NULL)
	{
		finish(query);
		return;
	}
	tex_watch_in_triggers_of = open->statement;
	PG_TRY();
	{
		finish(query);
	}
	PG_FINALLY();
	{
		tex_watch_in_triggers_of = outer;
	}
	PG_END_TRY();
}

/* Forgets a statement, of which nothing is executed any more. */
static void
close_statement(Open *open)
{
	ListCell   *lc;

	last_node = NULL;
	foreach(lc, open->nodes)
	{
		PlanState  *state = lfirst(lc);

		hash_search(nodes, &state, HASH_REMOVE, NULL);
	}
	MemoryContextDelete(open->context);
}

/* ExecutorEnd: the nodes are about to go. */
static void
on_end(QueryDesc *query)
{
	for (Open **at = &open_statements; *at; at = &(*at)->next)
	{
		Open	   *open = *at;

		if (open->query != query)
			continue;
		*at = open->next;
		open->statement->computed = NIL;
		if (open->leaves_gap)
			tex_watch_gap();
		tex_watch_statement_ended(open->statement);
		close_statement(open);
		break;
	}
	if (previous_end)
		previous_end(query);
	else
		standard_ExecutorEnd(query);
}

/*
 * Forgets statements that a rolled back savepoint of this nesting level, or the whole
 * transaction (0), had under way.  Their nodes are gone, or nobody calls them.
 */
void
tex_scans_forget(int level)
{
	Open	  **at = &open_statements;

	while (*at)
	{
		Open	   *open = *at;

		if (open->statement->level >= level)
		{
			*at = open->next;
			close_statement(open);
		}
		else
			at = &(*at)->next;
	}
}

/* A savepoint was released: its statements that go on, as cursors do, belong to the one around it. */
void
tex_scans_move_up(int level)
{
	for (Open *open = open_statements; open; open = open->next)
		if (open->statement->level >= level)
			open->statement->level = level - 1;
}

/* Called once from _PG_init(), with preload only. */
void
tex_scans_init(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = on_start;
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = on_finish;
	previous_end = ExecutorEnd_hook;
	ExecutorEnd_hook = on_end;
}
