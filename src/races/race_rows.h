/*
 * race_rows.h
 *		Races as they are shown: free of the history they were found in.
 */
#ifndef TEX_RACE_ROWS_H
#define TEX_RACE_ROWS_H

#include "funcapi.h"

#include "races/patterns.h"

typedef struct TexRaceEnd
{
	pg_uuid_t	id;
	pg_uuid_t	trace_id;
	TimestampTz at;
	const char *thread;			/* or NULL */
	TexAccessType access;
	Jsonb	   *value;			/* or NULL */
	const char *location;		/* or NULL */
	bool		value_left_out; /* the table has it */
} TexRaceEnd;

typedef struct TexRaceRow
{
	TexPattern	pattern;
	int			confidence;		/* in tenths */
	const char *variable;
	TexRaceEnd	ends[2];		/* earlier first */
	char	   *evidence;
} TexRaceRow;

typedef struct TexRaceRows
{
	MemoryContext context;		/* holds what rows point to */
	TexRaceRow *rows;
	int64		n;
	int64		room;
} TexRaceRows;

extern TexRaceRows *tex_rows_create(void);
extern void tex_rows_add(TexRaceRows *rows, const TexRaces *races);
extern void tex_rows_sort(TexRaceRows *rows);
extern Datum tex_access_datum(Oid type, TexAccessType access);
extern void tex_rows_return(const TexRaceRows *rows, int64 limit, ReturnSetInfo *result);

#endif							/* TEX_RACE_ROWS_H */
