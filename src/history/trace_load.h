/*
 * trace_load.h
 *		A history: the events of some traces, read into C for the race detector.
 */
#ifndef TEX_TRACE_LOAD_H
#define TEX_TRACE_LOAD_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "common/event.h"
#include "common/extent.h"
#include "history/strings.h"
#include "store/trace_range.h"
#include "vclock/vclock.h"

/* In the order of the SQL type access_type. */
typedef enum TexAccessType
{
	TEX_READ,
	TEX_WRITE,
	TEX_ATOMIC_READ,
	TEX_ATOMIC_WRITE,
	TEX_ATOMIC_RMW
} TexAccessType;

/* Memory orderings of atomics and fences; bits of what they do. */
#define TEX_ORDER_ACQUIRE	0x01
#define TEX_ORDER_RELEASE	0x02

/* Flags of an event. */
#define TEX_EVENT_PARENT_MISSING	0x01	/* its parent has not arrived */
#define TEX_EVENT_IN_CYCLE			0x02	/* its parent link was cut: it closed a cycle */
#define TEX_EVENT_SHARED_LOCK		0x04	/* a lock taken or given back as shared */
#define TEX_EVENT_EXCLUSIVE_LOCK	0x08	/* ... as exclusive; neither: not said */
#define TEX_EVENT_FAILED			0x10	/* an error, or a response that says so */
#define TEX_EVENT_COUNTED_LOCK		0x20	/* ... as a semaphore that lets in more than one */
#define TEX_EVENT_IS_ERROR			0x40	/* counted as an error; a rollback fails without one */
#define TEX_EVENT_OTLP				0x80	/* of a span of OpenTelemetry: ordered by intervals */

#define TEX_NO_EVENT (-1)

/* What only accesses have, and of other events their place in the code. */
typedef struct TexAccessData
{
	Jsonb	   *old_value;		/* NULL: absent, or too long to keep */
	Jsonb	   *new_value;
	bool		value_left_out; /* new_value is there but was not kept */
	int32		variable;		/* identity, under trace_ext.variable_scope */
	int32		location;		/* of a function call: its file and line; of an acquire, either */
	int32		isolation;		/* of an access that a database took itself, else TEX_NO_NAME */
	int32		transaction;	/* the same: which transaction of the backend it was */
	int32		by;				/* the same: who ran it, where its trace has no request */
	int32		message;		/* of an error, what it says of itself, where that is kept */
	bool		incomplete;		/* the same: some reads of its trace before it were not taken */
	bool		row_locked;		/* the same: it read under a row lock */
	bool		of_session;		/* of a statement: its trace is all that a session of a database did */
	int			nlocks;			/* client-supplied lock set, identities */
	int32	   *locks;
} TexAccessData;

typedef struct TexEvent
{
	pg_uuid_t	id;
	pg_uuid_t	parent_id;
	TimestampTz at;
	TexExtent	extent;			/* from when to when it lasted, as far as itself says */
	int32		trace;			/* index into traces */
	int32		parent;			/* index of an event, or TEX_NO_EVENT */
	int32		thread;			/* (trace, place, thread or task) */
	int32		place;			/* (service, instance, process) */
	int32		instance;		/* (service, instance) */
	int32		service;
	int32		instance_name;
	int32		thread_name;
	int32		task;			/* the task that the event itself names */
	int32		name;
	int32		span;
	int32		upstream;
	int32		lock;			/* identity of the lock, if it is about one */
	int32		strand;
	int32		sequence;		/* in its strand, from 1 */
	uint8		kind;
	uint8		access;
	uint8		order;			/* TEX_ORDER_... of an atomic access or fence */
	uint8		flags;
	int16		at_ns;			/* of OpenTelemetry: nanoseconds after "at", 0 to 999 */
	int16		ended_ns;		/* ... after extent.ended, -500 to 1500 */
	TexAccessData *data;		/* of an access or a function call; of an acquire that says where it is; of a
								 * statement of a session; of an error whose message is kept */
	TexVclock  *clock;			/* the client's, or NULL */
} TexEvent;

/* A span that names one of another trace, as a consumer its producer does. */
typedef struct TexSpanLink
{
	int32		trace;			/* of the span that has the link */
	int32		span;
	pg_uuid_t	linked_trace;	/* of the other one, which need not be loaded */
	int32		linked_span;
} TexSpanLink;

/* Why a trace is loaded. */
typedef enum TexRole
{
	TEX_ROLE_HOME,				/* pairs are wanted that have an end in it */
	TEX_ROLE_RIVAL,				/* ... and the other end may be in this */
	TEX_ROLE_CONTEXT			/* only for what it orders */
} TexRole;

typedef struct TexTrace
{
	pg_uuid_t	id;
	TexExtent	extent;			/* from its first start to its last end */
	int32		first_event;	/* earliest event */
	int32		request;		/* earliest HttpRequest, or TEX_NO_EVENT */
	int32		instance;		/* the only instance it ran in, or TEX_NO_NAME */
	int32		first_strand;
	int32		nstrands;
	TexRole		role;
	bool		has_sync;		/* has events that can order others */
	bool		parent_missing;
} TexTrace;

typedef struct TexHistory
{
	MemoryContext context;		/* holds all of it */
	TexStrings   *names;
	TexEvent   *events;			/* by (at, trace id, id) once prepared */
	int32		nevents;
	int32		events_room;
	TexTrace   *traces;
	int32		ntraces;
	int32		traces_room;
	TexSpanLink *links;
	int32		nlinks;
	int32		links_room;
	int32		nthreads;
	int32		nstrands;
	TexRanges  *ranges;			/* where in time traces may lie; read at need */
	struct HTAB *trace_index;
	struct HTAB *thread_index;
	bool		has_locks;
	bool		has_consumers;	/* of OpenTelemetry, so that links count */
	bool		without_values; /* only what order depends on is kept: no values, no place in the code */
	bool		keeps_messages; /* of errors, as far as tex_messages_kept() says */
	int32		nmessages;
} TexHistory;

/* What more errors say is not kept, nor what one says in more characters. */
#define TEX_MOST_MESSAGES	1000
#define TEX_LONGEST_MESSAGE 1000

extern TexHistory *tex_history_create(void);
extern const TexRanges *tex_history_ranges(TexHistory *history);
extern void tex_history_take(TexHistory *history, const Datum *values, const bool *isnull, TexRole role);
extern void tex_history_take_link(TexHistory *history, const Datum *values, const bool *isnull);
extern void tex_history_complete(TexHistory *history, const pg_uuid_t *id);
extern bool tex_is_global_lock(const char *name);
extern void tex_history_load(TexHistory *history, const pg_uuid_t *ids, int n, TexRole role);
extern void tex_history_times(TexHistory *history);
extern void tex_history_prepare(TexHistory *history);
extern int32 tex_history_trace(const TexHistory *history, const pg_uuid_t *id);
extern int32 tex_history_lock_name(const TexHistory *history, int32 lock);

/* Whether pairs between two traces are wanted. */
static inline bool
tex_traces_wanted(const TexTrace *a, const TexTrace *b)
{
	return (a->role == TEX_ROLE_HOME && b->role != TEX_ROLE_CONTEXT) ||
		(b->role == TEX_ROLE_HOME && a->role != TEX_ROLE_CONTEXT);
}

/* Whether what each error says is kept; of too many, nothing is. */
static inline bool
tex_messages_kept(const TexHistory *history)
{
	return history->keeps_messages && history->nmessages <= TEX_MOST_MESSAGES;
}

static inline const char *
tex_history_text(const TexHistory *history, int32 name)
{
	return tex_strings_text(history->names, name);
}

#endif							/* TEX_TRACE_LOAD_H */
