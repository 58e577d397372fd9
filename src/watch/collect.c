/*
 * collect.c
 *		Accesses of the transaction that is under way: taken one by one, handed on when it
 *		has committed.
 *
 * All is in the memory of the backend, in a context of the transaction: at most
 * MOST_MEMORY, beyond which the transaction's accesses are dropped and counted.  What a
 * savepoint that was rolled back did is forgotten with it; an access knows the nesting level
 * it belongs to, and as the levels in the array ascend, those of the innermost one are at its
 * end.
 *
 * Before commit the accesses are made into one record.  There the time is taken that
 * stands for the commit: nobody sees the transaction before.  When it has committed, the
 * record gets the time by which everybody sees it, and is put into the ring: that takes one
 * lock for one memcpy() and cannot fail.  A backend that is killed before loses its own
 * accesses only.
 *
 * Nothing here may hurt the user's transaction: what can throw is called between
 * tex_guard_begin() and tex_guard_end(), and where it does, the error is dropped and counted.
 *
 * A transaction that wrote nothing, and ends because the client says ROLLBACK, is taken as well:
 * what it read was committed, and the client has it.  Connection pools and ORMs end what only read
 * that way.  One that failed may have read rows that nobody was given, which leaves a gap.
 *
 * Gaps.  A request whose reads were not all taken may have read anew what it wrote over:
 * a finding would be invented.  So after a gap (reads dropped, rolled back, switched off) an
 * untraced session goes on as a new trace, and the writes of a traced request say that they
 * are incomplete.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "mb/pg_wchar.h"
#include "replication/logicalworker.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "common/worker_slots.h"
#include "common/xact.h"
#include "guc.h"
#include "watch/called_from.h"
#include "watch/collect.h"
#include "watch/record.h"
#include "watch/scans.h"
#include "watch/store.h"

#define MOST_MEMORY (1024 * 1024)

/* A session that nobody traces begins a new trace after so long a pause, or so many events. */
#define SESSION_PAUSE (60 * USECS_PER_SEC)
#define SESSION_EVENTS 1000

typedef struct Access
{
	TexStatement *statement;
	TexTableCounts *counts;
	Oid			root;
	char		what;			/* TexTaken; 0: it was taken back */
	bool		after_gap;
	int			level;
	TimestampTz at;
	const char *variable;
	int			variable_len;
	TexWatchValue old_value;
	TexWatchValue new_value;
} Access;

/* The transaction that is under way. */
typedef struct Collected
{
	MemoryContext context;		/* NULL: nothing was taken */
	Access	   *accesses;
	int			n;
	int			room;
	int			nstatements;
	bool		dropped;		/* too much memory: nothing is taken any more */
	bool		has_reads;
	bool		gap;
	TexStatement *utility;		/* of what runs without the executor, as COPY */
	const char *utility_text;
	TimestampTz utility_started;
	TimestampTz first_snapshot_at;	/* above READ COMMITTED: of all its statements */
	StringInfo	record;			/* before the end */
	ResourceOwner guard_owner;	/* of guards; NULL: none was needed yet */
	MemoryContext scratch;		/* of guards, empty between them; the same */
	bool		in_guard;
	pg_uuid_t	last_traced;	/* the last request that it worked for */
	bool		is_traced;
} Collected;

/* The trace of a session that nobody traces. */
typedef struct SessionTrace
{
	bool		valid;
	pg_uuid_t	id;
	int			events;
	TimestampTz began;			/* its first transaction */
	TimestampTz used_at;
} SessionTrace;

TexStatement *tex_watch_in_triggers_of = NULL;

static Collected collected;
static SessionTrace session;

/* A request some of whose reads were not taken. */
static pg_uuid_t incomplete_trace;

/* Events of this backend have ids of its own: a random base, and a number. */
static uint8 id_base[8];
static uint64 last_tick = 0;

/* ----------------------------------------------------------------
 *		Errors
 * ----------------------------------------------------------------
 */
/*
 * Between this and tex_guard_end() an error may be caught and dropped: resources are held by an
 * owner of their own, and nothing interrupts.  Call it before PG_TRY().
 *
 * The owner is made once a transaction, as a guard is begun for each row: what goes well leaves
 * nothing held but locks, which end with the transaction.  A guard within another one, as
 * where an output function runs a query, has an owner of its own, so that giving up what it
 * held leaves alone what the outer one holds.
 */
void
tex_guard_begin(TexGuard *guard)
{
	guard->context = CurrentMemoryContext;
	guard->scratch = NULL;
	guard->owner = CurrentResourceOwner;
	guard->nested = collected.in_guard;
	if (guard->nested)
		guard->own = ResourceOwnerCreate(TopTransactionResourceOwner, "trace_ext watch, nested");
	else
	{
		if (collected.guard_owner == NULL)
			collected.guard_owner = ResourceOwnerCreate(TopTransactionResourceOwner, "trace_ext watch");
		guard->own = collected.guard_owner;
	}
	guard->holdoff = InterruptHoldoffCount;
	collected.in_guard = true;
	CurrentResourceOwner = guard->own;
	HOLD_INTERRUPTS();
}

/* A context that is emptied when the guard ends; call it before PG_TRY(). */
MemoryContext
tex_guard_scratch(TexGuard *guard)
{
	if (guard->nested)
		guard->scratch = AllocSetContextCreate(guard->context, "trace_ext watched row, nested", ALLOCSET_SMALL_SIZES);
	else
	{
		if (collected.scratch == NULL)
			collected.scratch = AllocSetContextCreate(TopTransactionContext, "trace_ext watched row", ALLOCSET_DEFAULT_SIZES);
		guard->scratch = collected.scratch;
	}
	return guard->scratch;
}

/* Back to how it was before. */
static void
leave_guard(TexGuard *guard)
{
	CurrentResourceOwner = guard->owner;
	MemoryContextSwitchTo(guard->context);
	if (guard->scratch && guard->nested)
		MemoryContextDelete(guard->scratch);
	else if (guard->scratch)
		MemoryContextReset(guard->scratch);
	InterruptHoldoffCount = guard->holdoff;
	collected.in_guard = guard->nested;
}

/* Gives up what was held. */
static void
release_resources(ResourceOwner own, bool well)
{
	CurrentResourceOwner = own;
	ResourceOwnerRelease(own, RESOURCE_RELEASE_BEFORE_LOCKS, well, false);
	ResourceOwnerRelease(own, RESOURCE_RELEASE_LOCKS, well, false);
	ResourceOwnerRelease(own, RESOURCE_RELEASE_AFTER_LOCKS, well, false);
	CurrentResourceOwner = NULL;
	ResourceOwnerDelete(own);
}

/* All went well. */
void
tex_guard_end(TexGuard *guard)
{
	if (guard->nested)
		release_resources(guard->own, true);
	leave_guard(guard);
}

/* In PG_CATCH(): drops the error and counts it. */
void
tex_guard_failed(TexGuard *guard)
{
	MemoryContextSwitchTo(guard->context);
	FlushErrorState();
	InterruptHoldoffCount = guard->holdoff + 1;
	release_resources(guard->own, false);
	if (!guard->nested)
		collected.guard_owner = NULL;
	leave_guard(guard);
	tex_watch_count(TEX_WATCH_ERRORS, 1);
	tex_watch_gap();
}

/* ----------------------------------------------------------------
 *		Taking
 * ----------------------------------------------------------------
 */
/* Whether it was taken where a row was read. */
static bool
is_of_read(char what)
{
	return what == TEX_TAKEN_READ || what == TEX_TAKEN_LOCKED_READ || what == TEX_TAKEN_LOCK;
}

/* Whether this session's accesses are left out. */
bool
tex_watch_is_off(void)
{
	return tex_watch_shared == NULL || IsParallelWorker() || RecoveryInProgress() ||
		(!tex_watch_on && !tex_watch_always);
}

/* Some reads of this transaction are not taken. */
void
tex_watch_gap(void)
{
	collected.gap = true;
	if (!IsTransactionState())
		session.valid = false;
}

/* The context of what is taken; made when something is. */
static MemoryContext
context_of_transaction(void)
{
	if (collected.context == NULL)
		collected.context = AllocSetContextCreate(TopTransactionContext, "trace_ext watch",
												  ALLOCSET_DEFAULT_SIZES);
	return collected.context;
}

/*
 * When what a statement sees was the state of the database: the time is not after its
 * snapshot.  That of a statement within a function is taken later than the one it is in.
 */
static TimestampTz
snapshot_time(void)
{
	if (IsolationUsesXactSnapshot())
	{
		if (collected.first_snapshot_at == 0)
			collected.first_snapshot_at = GetCurrentStatementStartTimestamp();
		return collected.first_snapshot_at;
	}
	return GetCurrentStatementStartTimestamp();
}

/*
 * A statement that may touch watched tables; NULL: its accesses are not taken, as nobody
 * traces it.  Of a text with several statements, location and length say which it is.
 */
TexStatement *
tex_watch_statement(const char *text, int location, int length)
{
	TexRequest	request;
	TexStatement *statement;
	MemoryContext old;
	const char *own = text;
	int			own_len;

	if (text == NULL)
		text = own = "";
	if (collected.dropped)
		return NULL;
	tex_request_of(&request, text, strlen(text));
	if (!request.traced && tex_watch_untraced == TEX_UNTRACED_OFF)
		return NULL;
	if (location > 0)
		own += location;
	own_len = length > 0 ? length : (int) strlen(own);
	while (own_len > 0 && strchr(" \t\r\n", *own))
	{
		own++;
		own_len--;
	}
	old = MemoryContextSwitchTo(context_of_transaction());
	statement = palloc0(sizeof(TexStatement));
	statement->number = -1;
	statement->level = GetCurrentTransactionNestLevel();
	statement->request = request;
	statement->text = own;
	statement->text_len = own_len <= TEX_WATCH_TEXT ? own_len : pg_mbcliplen(own, own_len, TEX_WATCH_TEXT);
	statement->started = GetCurrentStatementStartTimestamp();
	statement->snapshot_at = snapshot_time();
	MemoryContextSwitchTo(old);
	if (request.traced)
	{
		collected.is_traced = true;
		collected.last_traced = request.trace;
	}
	return statement;
}

/* A statement has ended; one that has no access is nothing to keep. */
void
tex_watch_statement_ended(TexStatement *statement)
{
	if (statement->number < 0)
		pfree(statement);
	else
		statement->ended = GetCurrentTimestamp();
}

/* What runs without the executor: a command such as COPY, or the changes that a subscription applies. */
static const char *
text_of_utility(void)
{
	return debug_query_string == NULL && IsLogicalWorker() ? "logical replication" : debug_query_string;
}

/* The statement whose triggers are called, or what runs without the executor. */
TexStatement *
tex_watch_current_statement(void)
{
	TimestampTz started = GetCurrentStatementStartTimestamp();

	if (tex_watch_in_triggers_of)
		return tex_watch_in_triggers_of;
	if (collected.utility == NULL || collected.utility_text != debug_query_string ||
		collected.utility_started != started)
	{
		collected.utility = tex_watch_statement(text_of_utility(), 0, 0);
		collected.utility_text = debug_query_string;
		collected.utility_started = started;
	}
	return collected.utility;
}

/* Copies the text of a statement that has an access: it may be gone before the transaction is.  Finds out who runs it. */
static void
keep_text(TexStatement *statement)
{
	TexStatement *before = collected.n > 0 ? collected.accesses[collected.n - 1].statement : NULL;

	if (statement->number >= 0)
		return;
	statement->number = collected.nstatements++;
	if (before && before->text_len == statement->text_len &&
		memcmp(before->text, statement->text, statement->text_len) == 0)
		statement->text = before->text;
	else
		statement->text = pnstrdup(statement->text, statement->text_len);
	/* What no function runs has nobody on the stack, but for COPY. */
	if (error_context_stack)
		statement->called_from = tex_called_from();
}

/* Copies a value, its text to where *at is, which moves behind it. */
static void
copy_value(TexWatchValue *to, const TexWatchValue *from, char **at)
{
	*to = from ? *from : (TexWatchValue) {0};
	if (to->len > 0)
	{
		to->text = memcpy(*at, from->text, from->len);
		*at += from->len;
	}
}

/* Forgets all that was taken: it is more than fits. */
static void
drop_all(TexWatchCounter why)
{
	for (int i = 0; i < collected.n; i++)
		if (collected.accesses[i].what != 0)
		{
			tex_watch_count(why, 1);
			pg_atomic_fetch_add_u64(&collected.accesses[i].counts->dropped, 1);
		}
	collected.n = 0;
	tex_watch_gap();
}

/*
 * Takes an access; what it is given is copied.  May throw where memory is short, so it
 * is called within a guard.
 */
void
tex_watch_take(TexStatement *statement, const TexWatch *watch, TexTaken what,
			   const char *variable, int variable_len,
			   const TexWatchValue *old_value, const TexWatchValue *new_value)
{
	MemoryContext old;
	Access	   *access;
	char	   *texts;

	if (collected.dropped)
		return;
	old = MemoryContextSwitchTo(context_of_transaction());
	keep_text(statement);
	if (collected.n == collected.room)
	{
		int			room = Max(collected.room * 2, 32);

		collected.accesses = collected.accesses == NULL ? palloc(sizeof(Access) * room) :
			repalloc(collected.accesses, sizeof(Access) * room);
		collected.room = room;
	}
	texts = palloc(variable_len + (old_value ? old_value->len : 0) + (new_value ? new_value->len : 0));
	access = &collected.accesses[collected.n];
	access->statement = statement;
	access->counts = watch->counts;
	access->root = watch->root;
	access->what = what;
	access->after_gap = collected.gap;
	access->level = GetCurrentTransactionNestLevel();
	/* A version that was locked may be newer than the snapshot. */
	access->at = what == TEX_TAKEN_LOCK || what == TEX_TAKEN_LOCKED_READ ? GetCurrentTimestamp() : statement->snapshot_at;
	access->variable = memcpy(texts, variable, variable_len);
	access->variable_len = variable_len;
	texts += variable_len;
	copy_value(&access->old_value, old_value, &texts);
	copy_value(&access->new_value, new_value, &texts);
	statement->private_text |= watch->values != TEX_WATCH_PLAIN;
	collected.n++;
	if (is_of_read(what))
		collected.has_reads = true;
	if (MemoryContextMemAllocated(collected.context, false) > MOST_MEMORY)
	{
		drop_all(TEX_WATCH_TOO_MUCH_MEMORY);
		collected.dropped = true;
	}
	MemoryContextSwitchTo(old);
}

/* Whether nothing is taken any more in this transaction. */
bool
tex_watch_is_full(void)
{
	return collected.dropped;
}

/* Takes back what a statement read of a table: its rows are more than the limit. */
void
tex_watch_untake(const TexStatement *statement, const TexWatch *watch)
{
	for (int i = collected.n - 1; i >= 0; i--)
	{
		Access	   *access = &collected.accesses[i];

		if (access->statement == statement && access->root == watch->root && is_of_read(access->what))
			access->what = 0;
	}
	tex_watch_count(TEX_WATCH_TOO_MANY_ROWS, 1);
	pg_atomic_fetch_add_u64(&watch->counts->dropped, 1);
	tex_watch_gap();
}

/* ----------------------------------------------------------------
 *		Handing on
 * ----------------------------------------------------------------
 */
/* An id or a trace id that nobody else has. */
static void
random_uuid(pg_uuid_t *id)
{
	if (!pg_strong_random(id->data, UUID_LEN))
		elog(ERROR, "could not generate a random id");
}

/* Which trace the untraced accesses of this transaction belong to. */
static const pg_uuid_t *
trace_of_session(TimestampTz now)
{
	if (tex_watch_untraced == TEX_UNTRACED_TRANSACTION || !session.valid ||
		session.events >= SESSION_EVENTS || now - session.used_at > SESSION_PAUSE)
	{
		random_uuid(&session.id);
		session.valid = true;
		session.began = GetCurrentTransactionStartTimestamp();
		session.events = 0;
	}
	return &session.id;
}

/* The first event of a statement and what it says of itself. */
static void
put_statement(StringInfo to, const TexStatement *statement, const pg_uuid_t *untraced, TimestampTz now)
{
	const TexRequest *request = &statement->request;

	tex_put_bytes(to, request->traced ? &request->trace : untraced, UUID_LEN);
	tex_put_int(to, request->traced ? TEX_RECORD_TRACED :
				tex_watch_untraced == TEX_UNTRACED_TRANSACTION ? TEX_RECORD_OF_TRANSACTION : TEX_RECORD_OF_SESSION);
	tex_put_bytes(to, &request->parent, UUID_LEN);
	tex_put_int(to, ++last_tick);
	tex_put_text(to, request->name, strlen(request->name));
	tex_put_text(to, statement->text, statement->text_len);
	tex_put_text(to, statement->called_from, statement->called_from ? strlen(statement->called_from) : 0);
	tex_put_int(to, statement->started);
	tex_put_int(to, statement->ended ? statement->ended : now);
	tex_put_int(to, statement->private_text);
}

static void
put_value(StringInfo to, const TexWatchValue *value)
{
	tex_put_int(to, value->kind);
	tex_put_text(to, value->text, value->len);
}

static void
put_access(StringInfo to, const Access *access)
{
	const TexRequest *request = &access->statement->request;
	bool		incomplete = access->after_gap ||
		(request->traced && memcmp(&request->trace, &incomplete_trace, UUID_LEN) == 0);

	tex_put_int(to, access->statement->number);
	tex_put_int(to, ++last_tick);
	tex_put_int(to, access->what);
	tex_put_int(to, incomplete);
	tex_put_int(to, access->at);
	tex_put_text(to, access->variable, access->variable_len);
	put_value(to, &access->old_value);
	put_value(to, &access->new_value);
}

/* Numbers those statements that have accesses, in the order of these; how many there are. */
static int
number_statements(TexStatement **statements)
{
	int			n = 0;

	for (int i = 0; i < collected.n; i++)
		collected.accesses[i].statement->kept = false;
	for (int i = 0; i < collected.n; i++)
	{
		TexStatement *statement = collected.accesses[i].statement;

		if (collected.accesses[i].what == 0 || statement->kept)
			continue;
		statement->kept = true;
		statement->number = n;
		statements[n++] = statement;
	}
	return n;
}

/* The record of the transaction, which is about to commit or to be prepared: then it is told by its id, if it wrote. */
static void
make_record(bool prepare)
{
	MemoryContext old = MemoryContextSwitchTo(context_of_transaction());
	TexStatement **statements = palloc(sizeof(TexStatement *) * collected.n);
	int			nstatements = number_statements(statements);
	StringInfo	to = makeStringInfo();
	TimestampTz now = GetCurrentTimestamp();
	const char *service = tex_service_name && tex_service_name[0] ? tex_service_name : application_name;
	const pg_uuid_t *untraced = trace_of_session(now);
	int			naccesses = 0;

	for (int i = 0; i < collected.n; i++)
		naccesses += collected.accesses[i].what != 0;
	if (last_tick == 0 && !pg_strong_random(id_base, sizeof(id_base)))
		elog(ERROR, "could not generate a random id");
	tex_put_int(to, now);
	tex_put_int(to, now);		/* TEX_RECORD_VISIBLE_AT: filled in after the commit */
	tex_put_int(to, prepare ? (int64) U64FromFullTransactionId(GetTopFullTransactionIdIfAny()) : 0);
	tex_put_int(to, MyProcPid);
	tex_put_int(to, XactIsoLevel);
	tex_put_int(to, GetCurrentTransactionStartTimestamp());
	tex_put_int(to, session.began);
	tex_put_bytes(to, id_base, sizeof(id_base));
	tex_put_text(to, service, service ? strlen(service) : 0);
	tex_put_int(to, nstatements);
	for (int i = 0; i < nstatements; i++)
		put_statement(to, statements[i], untraced, now);
	tex_put_int(to, naccesses);
	for (int i = 0; i < collected.n; i++)
		if (collected.accesses[i].what != 0)
			put_access(to, &collected.accesses[i]);
	session.events += nstatements + naccesses;
	session.used_at = now;
	if (naccesses > 0)
		collected.record = to;
	MemoryContextSwitchTo(old);
}

/* The end of the transaction is near: makes its record. */
static void
before_end(bool prepare)
{
	TexGuard	guard;

	if (collected.n == 0)
		return;
	tex_guard_begin(&guard);
	PG_TRY();
	{
		make_record(prepare);
		tex_guard_end(&guard);
	}
	PG_CATCH();
	{
		tex_guard_failed(&guard);
		collected.record = NULL;
	}
	PG_END_TRY();
}

/* A gap is behind us: what comes is another trace, or incomplete. */
static void
end_gap(void)
{
	if (!collected.gap)
		return;
	session.valid = false;
	if (collected.is_traced)
		incomplete_trace = collected.last_traced;
}

/* The transaction has ended: nothing here throws. */
static void
hand_on(void)
{
	StringInfo	record = collected.record;
	TimestampTz now;
	int			taken = 0;

	if (record == NULL)
		return;
	now = GetCurrentTimestamp();
	tex_set_int(record, TEX_RECORD_VISIBLE_AT, now);
	if (!tex_ring_put(record->data, record->len, now))
	{
		drop_all(TEX_WATCH_RING_FULL);
		return;
	}
	for (int i = 0; i < collected.n; i++)
	{
		const Access *access = &collected.accesses[i];

		if (access->what == TEX_TAKEN_READ || access->what == TEX_TAKEN_LOCKED_READ)
			pg_atomic_fetch_add_u64(&access->counts->reads, 1);
		else if (access->what == TEX_TAKEN_WRITE || access->what == TEX_TAKEN_RMW)
			pg_atomic_fetch_add_u64(&access->counts->writes, 1);
		taken += access->what != 0;
	}
	tex_watch_count(TEX_WATCH_TAKEN, taken);
	tex_worker_wake(MyDatabaseId);
}

/* The next transaction begins with nothing. */
static void
forget_transaction(void)
{
	memset(&collected, 0, sizeof(collected));
	tex_watch_in_triggers_of = NULL;
	tex_scans_forget(0);
	tex_watches_free_retired();
}

/*
 * At an abort: whether the client rolled a transaction back that only read.  The status is
 * that of a failed one only where that was asked for: an error gets here before it is set.
 */
static bool
only_read(void)
{
	return TransactionBlockStatusCode() == 'E' && !TransactionIdIsValid(GetTopTransactionIdIfAny());
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			before_end(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			before_end(true);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			tex_watch_store_ended(true);
			hand_on();
			end_gap();
			forget_transaction();
			break;
		case XACT_EVENT_ABORT:
			tex_watch_store_ended(false);
			if (only_read())
			{
				before_end(false);
				hand_on();
			}
			else
				collected.gap |= collected.has_reads;
			end_gap();
			forget_transaction();
			break;
		default:
			break;
	}
}

/* A savepoint that was rolled back: what was done since never happened. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (collected.n > 0 && collected.accesses[collected.n - 1].level >= level)
		{
			char		what = collected.accesses[--collected.n].what;

			if (is_of_read(what))
				collected.gap = true;
		}
		tex_scans_forget(level);
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = collected.n - 1; i >= 0 && collected.accesses[i].level >= level; i--)
			collected.accesses[i].level = level - 1;
		tex_scans_move_up(level);
	}
}

/* Called once from _PG_init(), with preload only. */
void
tex_watch_collect_init(void)
{
	tex_xact_register(TEX_XACT_WATCH, at_transaction_end, at_subtransaction_end);
}
