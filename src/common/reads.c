/*
 * reads.c
 *		Which relations a query reads, whatever it reads them through.
 *
 * Each statement that is executed between tex_reads_begin() and tex_reads_end()
 * names its relations: the query itself, and what functions in it execute, in any
 * language that uses the executor.  The functions of this extension that read a
 * table without it say so by tex_note_read().
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "executor/executor.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "common/reads.h"

static TexReads *collecting = NULL;
static ExecutorStart_hook_type previous_start = NULL;

/*
 * A plan over hundreds of partitions, or with many deltas to expect, looks dear
 * enough to be compiled, which then takes longer than to run it: where it reads
 * tables of the extension nothing is.  Costs who does not compile one comparison.
 */
static void
spare_compilation(PlannedStmt *statement)
{
	Oid			schema;
	ListCell   *lc;

	if (statement->jitFlags == PGJIT_NONE)
		return;
	schema = get_namespace_oid("trace_ext", true);
	if (!OidIsValid(schema))
		return;
	foreach(lc, statement->relationOids)
	{
		if (get_rel_namespace(lfirst_oid(lc)) == schema)
		{
			statement->jitFlags = PGJIT_NONE;
			return;
		}
	}
}

/*
 * ExecutorStart of every query of a backend: notes what it reads, where something
 * collects that.
 */
static void
on_start(QueryDesc *query, int eflags)
{
	TexReads   *reads = collecting;

	spare_compilation(query->plannedstmt);
	if (reads)
	{
		MemoryContext old = MemoryContextSwitchTo(reads->context);

		reads->relations = list_concat_unique_oid(reads->relations,
												  query->plannedstmt->relationOids);
		MemoryContextSwitchTo(old);
	}
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

/*
 * Called once from _PG_init().  Without preload there is no hook: no result is
 * cached then, and plans are compiled as the server likes.
 */
void
tex_reads_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = on_start;
}

/*
 * Collects from here on, in the current memory context, which must live until
 * tex_reads_end().  May be nested: only the innermost collects.  Whoever begins
 * has to end on error too (PG_FINALLY).
 */
void
tex_reads_begin(TexReads *reads)
{
	reads->relations = NIL;
	initStringInfo(&reads->notices);
	reads->context = CurrentMemoryContext;
	reads->outer = collecting;
	collecting = reads;
}

/*
 * Stops collecting into "reads", which keeps what it has; the one around it goes
 * on.
 */
void
tex_reads_end(TexReads *reads)
{
	collecting = reads->outer;
}

/*
 * Does anybody want to know what is read in this backend now?
 */
bool
tex_reads_collecting(void)
{
	return collecting != NULL;
}

/*
 * Says that a relation is about to be read without the executor.
 */
void
tex_note_read(Oid relation)
{
	MemoryContext old;

	if (!collecting)
		return;
	old = MemoryContextSwitchTo(collecting->context);
	collecting->relations = list_append_unique_oid(collecting->relations, relation);
	MemoryContextSwitchTo(old);
}

/*
 * Tells the user something that belongs to a result, so that whoever is given the
 * result again is told it again.
 */
void
tex_notice(const char *message, const char *hint)
{
	if (collecting)
	{
		appendBinaryStringInfo(&collecting->notices, message, strlen(message) + 1);
		appendBinaryStringInfo(&collecting->notices, hint, strlen(hint) + 1);
	}
	ereport(NOTICE, (errmsg_internal("%s", message), errhint("%s", hint)));
}

/*
 * Tells again what was told when a result was computed.
 */
void
tex_notices_repeat(const char *notices, Size size)
{
	const char *end = notices + size;

	while (notices < end)
	{
		const char *message = notices;
		const char *hint = message + strlen(message) + 1;

		notices = hint + strlen(hint) + 1;
		tex_notice(message, hint);
	}
}
