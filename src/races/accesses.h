/*
 * accesses.h
 *		The accesses so far of each variable, by trace and strand.
 */
#ifndef TEX_ACCESSES_H
#define TEX_ACCESSES_H

#include "history/trace_load.h"

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
	int32		kind;			/* index into the variable's kinds */
} TexEntry;

/* Ascending by sequence. */
typedef struct TexEntries
{
	TexEntry   *entries;
	int32		n;
	int32		room;
} TexEntries;

/* A strand's accesses of a variable of one kind. */
typedef struct TexAccessList
{
	int32		kind;
	TexEntries	entries;
	int32		marked_from;	/* the latest run of entries marked as racing */
	int32		marked_to;
	struct TexAccessList *next;
} TexAccessList;

/* A strand's accesses of a variable. */
typedef struct TexVarStrand
{
	int32		variable;		/* hash key: both */
	int32		strand;
	int32		slot;			/* in its trace's strands */
	int32		last_access;
	TexEntries	all;
	TexAccessList *lists;		/* the same by kind */
	struct TexVarTrace *trace;
} TexVarStrand;

/* What a comparison reads of every strand; together, for the cache's sake. */
typedef struct TexStrandSlot
{
	int32		strand;
	uint32		last_sequence;
	TexVarStrand *accesses;
} TexStrandSlot;

/* A trace's accesses of a variable. */
typedef struct TexVarTrace
{
	int32		trace;
	TexStrandSlot *strands;		/* in the order of their first access */
	int32		nstrands;
	int32		strands_room;
	int64	   *totals;			/* number of accesses by kind */
	int32		totals_room;
	int64		n;
	int32		last_access;
	struct TexSigns *signs;		/* of being shared, once asked for (sharing.c) */
	int32		covered_by;		/* a strand that all of them happened before, or -1 */
} TexVarTrace;

/*
 * Accesses of one class under one set of locks; whether they conflict with a new
 * access is found out once.
 */
typedef struct TexAccessKind
{
	TexClass	class;
	int32		lock_set;
	int32		decided_for;	/* the access that conflicts is about, or -1 */
	bool		conflicts;
} TexAccessKind;

typedef struct TexVariable
{
	int32		identity;		/* hash key */
	TexVarTrace **traces;		/* by the time the trace ends */
	int32		ntraces;
	int32		room;
	TexAccessKind *kinds;
	int32		nkinds;
	int32		kinds_room;
	int32		last_write;		/* latest in the sequence, or -1 */
} TexVariable;

typedef struct TexAccesses TexAccesses;

extern TexAccesses *tex_accesses_create(const TexHistory *history);
extern TexVariable *tex_accesses_variable(TexAccesses *accesses, int32 identity);
extern TexVarStrand *tex_accesses_find(TexAccesses *accesses, const TexVariable *variable, int32 strand);
extern TexVarStrand *tex_accesses_enter(TexAccesses *accesses, TexVariable *variable,
										const TexEvent *event);
extern int32 tex_accesses_kind(TexAccesses *accesses, TexVariable *variable, TexClass class,
							   int32 lock_set);
extern void tex_accesses_append(TexAccesses *accesses, TexVarStrand *strand, TexEntry entry);
extern bool tex_classes_conflict(TexClass a, TexClass b);
extern TexClass tex_class_of(TexAccessType access);
extern int32 tex_entries_after(const TexEntries *entries, uint32 sequence);

#endif							/* TEX_ACCESSES_H */
