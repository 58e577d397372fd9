/*
 * accesses.h
 *		The accesses so far of each variable, by trace and strand.
 */
#ifndef TEX_ACCESSES_H
#define TEX_ACCESSES_H

#include "trace_load.h"

/* How an access conflicts with others. */
typedef enum TexClass
{
	TEX_CLASS_READ,
	TEX_CLASS_WRITE,
	TEX_CLASS_ATOMIC_READ,
	TEX_CLASS_ATOMIC_WRITE
} TexClass;

/* An access in a list, by its strand's own count. */
typedef struct TexEntry
{
	uint32		sequence;
	int32		access;
} TexEntry;

/* A strand's accesses of a variable of one class under one set of locks, ascending. */
typedef struct TexAccessList
{
	TexClass	class;
	int32		lock_set;
	int32		n;
	int32		room;
	TexEntry   *entries;
	int32		marked_from;	/* the latest run of entries known to race */
	int32		marked_to;
	struct TexAccessList *next;
} TexAccessList;

/* A strand's accesses of a variable. */
typedef struct TexVarStrand
{
	int32		variable;		/* hash key: both */
	int32		strand;
	uint32		last_sequence;
	int32		last_access;
	TexAccessList *lists;
	struct TexVarStrand *older; /* of the same trace */
	struct TexVarTrace *trace;
} TexVarStrand;

/* How many accesses a trace has of one class under one set of locks. */
typedef struct TexTotal
{
	TexClass	class;
	int32		lock_set;
	int64		n;
	struct TexTotal *next;
} TexTotal;

/* A trace's accesses of a variable. */
typedef struct TexVarTrace
{
	int32		trace;
	int32		nstrands;
	TexVarStrand *newest;
	TexTotal   *totals;
	int64		n;
	int32		last_access;
	int32		covered_by;		/* a strand that all of them happened before, or -1 */
} TexVarTrace;

typedef struct TexVariable
{
	int32		identity;		/* hash key */
	TexVarTrace **traces;		/* by the time the trace ends */
	int32		ntraces;
	int32		room;
	int32		last_write;		/* latest in the sequence, or -1 */
} TexVariable;

typedef struct TexAccesses TexAccesses;

extern TexAccesses *tex_accesses_create(const TexHistory *history);
extern TexVariable *tex_accesses_variable(TexAccesses *accesses, int32 identity);
extern TexVarStrand *tex_accesses_find(TexAccesses *accesses, const TexVariable *variable, int32 strand);
extern TexVarStrand *tex_accesses_enter(TexAccesses *accesses, TexVariable *variable,
										const TexEvent *event);
extern void tex_accesses_append(TexAccesses *accesses, TexVarStrand *strand, TexClass class,
								int32 lock_set, TexEntry entry);
extern bool tex_classes_conflict(TexClass a, TexClass b);
extern TexClass tex_class_of(TexAccessType access);
extern int32 tex_entries_after(const TexAccessList *list, uint32 sequence);

#endif							/* TEX_ACCESSES_H */
