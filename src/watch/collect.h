/*
 * collect.h
 *		Accesses of the transaction that is under way.
 */
#ifndef TEX_WATCH_COLLECT_H
#define TEX_WATCH_COLLECT_H

#include "datatype/timestamp.h"

#include "watch/request.h"
#include "watch/tables.h"

/* Texts of statements are kept up to so many bytes. */
#define TEX_WATCH_TEXT 1000

/* A statement that touches a watched table; lives as long as its transaction. */
typedef struct TexStatement
{
	int			number;			/* in its transaction, from 0 */
	int			level;			/* nesting level of the subtransaction it began in */
	TexRequest	request;
	const char *text;			/* clipped, not terminated */
	int			text_len;
	const char *called_from;	/* function and line that run it; NULL: none */
	TimestampTz started;
	TimestampTz ended;
	TimestampTz snapshot_at;	/* what it sees was committed by then, and what was not, later */
	bool		private_text;	/* its constants may not leave a table */
	bool		overflowed;		/* some reads of it were not taken */
	bool		kept;			/* while it is handed on: it has accesses */
	List	   *computed;		/* TexComputed: columns that it computes from themselves */
} TexStatement;

/* What an access does. */
typedef enum TexTaken
{
	TEX_TAKEN_READ = 'r',
	TEX_TAKEN_LOCKED_READ = 'k',	/* under a row lock */
	TEX_TAKEN_WRITE = 'w',
	TEX_TAKEN_RMW = 'm',
	TEX_TAKEN_LOCK = 'l'		/* a row lock, to the end of the transaction */
} TexTaken;

/* A value as text; of TEX_VALUE_NULL there is none. */
typedef struct TexWatchValue
{
	char		kind;			/* TexValueKind, or 0: it is not told */
	int			len;
	const char *text;
} TexWatchValue;

extern bool tex_watch_is_off(void);
extern TexStatement *tex_watch_statement(const char *text, int location, int length);
extern void tex_watch_statement_ended(TexStatement *statement);
extern TexStatement *tex_watch_current_statement(void);
extern void tex_watch_take(TexStatement *statement, const TexWatch *watch, TexTaken what,
						   const char *variable, int variable_len,
						   const TexWatchValue *old_value, const TexWatchValue *new_value);
extern bool tex_watch_is_full(void);
extern void tex_watch_untake(const TexStatement *statement, const TexWatch *watch);
extern void tex_watch_gap(void);
extern void tex_watch_collect_init(void);

/* The statement whose triggers are being called, or NULL. */
extern TexStatement *tex_watch_in_triggers_of;

/* What guards a user's statement against errors of collecting. */
typedef struct TexGuard
{
	MemoryContext context;
	MemoryContext scratch;		/* NULL: not asked for */
	struct ResourceOwnerData *owner;
	struct ResourceOwnerData *own;
	uint32		holdoff;
	bool		nested;			/* within another one */
} TexGuard;

extern void tex_guard_begin(TexGuard *guard);
extern MemoryContext tex_guard_scratch(TexGuard *guard);
extern void tex_guard_end(TexGuard *guard);
extern void tex_guard_failed(TexGuard *guard);

#endif							/* TEX_WATCH_COLLECT_H */
