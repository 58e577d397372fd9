/*
 * tables.h
 *		Which tables are watched, as this backend knows it.
 */
#ifndef TEX_WATCH_TABLES_H
#define TEX_WATCH_TABLES_H

#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/reltrigger.h"

#include "watch/shared.h"

/* How much of a value leaves the table. */
typedef enum TexWatchValues
{
	TEX_WATCH_PLAIN,
	TEX_WATCH_HASH,				/* equality stays */
	TEX_WATCH_NONE
} TexWatchValues;

/* What JSON makes of a type. */
typedef enum TexValueKind
{
	TEX_VALUE_NULL = 'z',
	TEX_VALUE_NUMBER = 'n',
	TEX_VALUE_BOOLEAN = 'b',
	TEX_VALUE_TEXT = 't'
} TexValueKind;

/* How values of a type are printed. */
typedef enum TexPrint
{
	TEX_PRINT_INT2,
	TEX_PRINT_INT4,
	TEX_PRINT_INT8,
	TEX_PRINT_ALIKE,			/* by its output function, which heeds no setting of the session */
	TEX_PRINT_SET				/* by its output function, which may */
} TexPrint;

typedef struct TexWatchColumn
{
	AttrNumber	attribute;		/* in this relation */
	AttrNumber	root_attribute; /* in the table that is watched */
	NameData	name;
	TexValueKind kind;
	const char *suffix;			/* of variables: "." and the name as SQL quotes it */
	int			suffix_len;
	TexPrint	print;
	bool		is_varlena;
	int16		length;
	bool		by_value;
	FmgrInfo	output;
} TexWatchColumn;

/* A relation that is watched: the table itself, or a partition of it. */
typedef struct TexWatch
{
	MemoryContext context;		/* holds it */
	Oid			relation;
	Oid			root;			/* the table that watch() named */
	char	   *name;			/* of the root, "schema.table" */
	Oid			schema;			/* of the root */
	NameData	schema_name;	/* as "name" has it */
	TexWatchValues values;
	int			nkeys;
	TexWatchColumn *keys;
	int			ncolumns;
	TexWatchColumn *columns;
	TexTableCounts *counts;
	char	   *watched_by;
	struct TexWatch *next_retired;
} TexWatch;

extern TexWatch *tex_watch_of(Oid relation);
extern bool tex_watch_may_be(Oid relation);
extern void tex_watches_free_retired(void);
extern void tex_watches_init(void);

#endif							/* TEX_WATCH_TABLES_H */
