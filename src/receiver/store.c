/*
 * store.c
 *		Bodies are stored: one transaction for those that are there, a subtransaction for each.
 *
 * A body goes to the SQL function of its door, with the rights of the receiver's role.  What is
 * wrong with one is its own affair: its subtransaction is rolled back, the others go in.  Each
 * request is decided when this returns: 200 only after the commit; a body that may go in another
 * time, 429 or 503, as clients keep what these refuse and send it again; 400 and 413, which they
 * drop, where it never will.
 *
 * A transaction takes no longer than others may wait: a body of more than STEP_ROWS is stored in
 * steps, each in another transaction, with the bodies that came meanwhile.  Its client is answered
 * after the last.  What fails on the way leaves what the steps before have stored, which does no
 * harm when the body is sent again.
 *
 * Memory is that of one step of one body, beside the bodies that wait: the body stays where it waits, a copy
 * is read, and given back before the rows are stored.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "ingest/batch.h"
#include "ingest/gunzip.h"
#include "receiver/answers.h"
#include "receiver/http.h"
#include "receiver/store.h"

#define MOST_RETRY_S 86400

/* The log has what the database refuses bodies for, but not for each of them. */
#define LOG_PAUSE_US (10 * INT64CONST(1000000))

/*
 * What a body may become: as many records, of which as many refused ones are kept; rows of so many
 * bytes.  More is none of a client in his senses.  So much memory has what is stored beside the rows of a
 * step, and half of it makes a step.
 */
#define MOST_RECORDS 400000
#define MOST_REJECTIONS 1000
#define MOST_ROWS_BYTES ((Size) 64 * 1024 * 1024)
#define MOST_MEMORY ((Size) 8 * 1024 * 1024)

/* So many rows are stored at once, which takes a fraction of a second: of a body, and about so many of all. */
#ifndef STEP_ROWS				/* fuzz_receiver.sh has shorter ones */
#define STEP_ROWS 2000
#endif

/* What is longer when it is unpacked is kept so, not to be unpacked for each step. */
#define KEPT_UNPACKED (256 * 1024)

/* Of one record, which becomes some five times as much while it is read; longer ones are refused alone. */
#define MOST_RECORD (2 * 1024 * 1024)
#define MOST_VALUES 25000

static const char *const calls[TEX_DOORS] = {
	"SELECT inserted, duplicates, rejected FROM trace_ext.ingest_otlp($1)",
	"SELECT inserted, duplicates, rejected FROM trace_ext.ingest_otlp($1)",
	"SELECT inserted, duplicates, rejected FROM trace_ext.ingest_events($1)"
};

static const char *const record_names[TEX_DOORS] = {"spans", "log records", "events"};

static MemoryContext batch_context;
static MemoryContext body_context;

/* Of the calls, made at the first of each. */
static SPIPlanPtr plans[TEX_DOORS];

/* The body that is just being stored, as it is handed to the function; NULL: none. */
static struct varlena *handed_over = NULL;
static size_t handed_over_len;

/* ----------------------------------------------------------------
 *		What went wrong
 * ----------------------------------------------------------------
 */
/*
 * A message as UTF-8.  Without a conversion, which may need a transaction: what is no ASCII
 * is shown as "?" where the database has another encoding.
 */
static const char *
as_utf8(const char *message)
{
	char	   *copy = pstrdup(message);

	for (char *p = copy; *p && GetDatabaseEncoding() != PG_UTF8; p++)
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
	return copy;
}

/* Tells the operator, not the client, what the database refuses bodies for. */
static void
report(const ErrorData *error)
{
	static int64 reported_at = 0;
	int64		now = tex_http_now();

	tex_receiver_note_error(error->message ? error->message : "unknown error");
	if (reported_at != 0 && now - reported_at < LOG_PAUSE_US)
		return;
	reported_at = now;
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("the receiver of trace_ext could not store: %s", error->message ? error->message : "unknown error"),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->context ? errcontext("%s", error->context) : 0));
}

/*
 * Decides a request by the error that its body met.  Errors of the data are final.  All that may
 * pass, or that an operator can mend, is not, so that nobody loses data by it: a lock, a full
 * disk, a missing right, an extension that is just being updated, a damaged index.
 */
static void
refuse_by(TexRequest *request, const ErrorData *error)
{
	const char *message = as_utf8(error->message ? error->message : "");

	if (error->detail)
		message = psprintf("%s: %s", message, as_utf8(error->detail));
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION):
		case ERRCODE_TO_CATEGORY(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION):
		case ERRCODE_TO_CATEGORY(ERRCODE_RAISE_EXCEPTION):
			tex_answer_refuse(request, 400, TEX_REFUSED_MALFORMED, message);
			return;
		case ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED):
			/* Deep nesting is an error of the data as well. */
			if (error->sqlerrcode == ERRCODE_STATEMENT_TOO_COMPLEX)
				tex_answer_refuse(request, 400, TEX_REFUSED_MALFORMED, message);
			else
				tex_answer_refuse(request, 413, TEX_REFUSED_TOO_LARGE, message);
			return;
		default:
			break;
	}
	if (error->sqlerrcode == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED)
	{
		/* Whole seconds, after which it does fit; no client waits for a day. */
		request->retry_after = (int) Min((tex_last_batch.quota_wait + USECS_PER_SEC - 1) / USECS_PER_SEC, MOST_RETRY_S);
		tex_answer_refuse(request, 429, TEX_REFUSED_QUOTA, message);
		return;
	}
	report(error);
	/* Of the same class, that of data and indexes that are damaged is mended. */
	if (error->sqlerrcode == ERRCODE_INTERNAL_ERROR)
		tex_answer_refuse(request, 500, TEX_REFUSED_FAILED, "the body could not be stored; the server log says why");
	else
		tex_answer_refuse(request, 503, TEX_REFUSED_DATABASE, "the database cannot take it now");
}

/* ----------------------------------------------------------------
 *		One body
 * ----------------------------------------------------------------
 */
/* Throws for a body that is not what its type says. */
static void
wrong_type(const char *type)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the body is not %s, as its type says", type)));
}

/*
 * The function tells JSON from protobuf by the first byte; here the client has said which it
 * is, so white space before JSON is taken off, and what could be taken for the other is refused.
 * Returns where the body begins.
 */
static char *
check_type(const TexRequest *request, char *data, int *len)
{
	char	   *start = data;

	if (!request->json)
	{
		if (*len > 0 && *data != '\0' && strchr("{[ \t\r\xEF\x1F", *data) != NULL)
			wrong_type("protobuf");
		return data;
	}
	if (*len >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0)
		start += 3;
	while (start < data + *len && *start != '\0' && strchr(" \t\r\n", *start) != NULL)
		start++;
	*len -= start - data;
	if (*len > 0 && *start != '{' && *start != '[')
		wrong_type("JSON");
	return start;
}

/* The argument of the function, of bytes that have VARHDRSZ bytes before them. */
static Datum
argument(const TexRequest *request, char *data, int len)
{
	handed_over = NULL;
	if (request->door == TEX_DOOR_EVENTS)
	{
		char	   *text = pg_any_to_server(data, len, PG_UTF8);

		if (text != data)
			return PointerGetDatum(cstring_to_text(text));
	}
	handed_over = (struct varlena *) (data - VARHDRSZ);
	handed_over_len = VARHDRSZ + len;
	SET_VARSIZE(handed_over, handed_over_len);
	return PointerGetDatum(handed_over);
}

/*
 * The function has read its body, called from within it.  The argument must stay, as others may look
 * at it (auto_explain logs parameters), but as an empty one, whose pages go back to the system.
 */
static void
let_go_of_body(void)
{
	uintptr_t	page = sysconf(_SC_PAGESIZE);
	uintptr_t	begin;
	uintptr_t	end;

	if (handed_over == NULL)
		return;
	begin = ((uintptr_t) handed_over + VARHDRSZ + page - 1) / page * page;
	end = ((uintptr_t) handed_over + handed_over_len) / page * page;
	SET_VARSIZE(handed_over, VARHDRSZ);
	handed_over = NULL;
	if (end > begin)
		(void) madvise((void *) begin, end - begin, MADV_DONTNEED);
}

/* A copy of all of a body, with VARHDRSZ bytes before it. */
static char *
fetch(const TexRequest *request, int *len)
{
	char	   *data = (char *) palloc(VARHDRSZ + request->body.len) + VARHDRSZ;

	if (!tex_bytes_load(&request->body, data))
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read a body from its temporary file: %m")));
	*len = request->body.len;
	return data;
}

/* Has a body wait unpacked from now on, if there is room for that. */
static void
keep_unpacked(TexRequest *request, const char *data, int len)
{
	TexBytes	unpacked = {0};

	if (tex_bytes_keep(&unpacked, data, len, len) != TEX_KEPT)
	{
		tex_bytes_free(&unpacked);
		return;
	}
	tex_bytes_free(&request->body);
	request->body = unpacked;
	request->gzip = false;
}

/* Unpacks a body; there is room for a header before it. */
static char *
unpack(TexRequest *request, char *packed, int *len)
{
	char	   *unpacked;

	if (!tex_is_gzip(packed, *len))
		wrong_type("gzip");
	unpacked = tex_gunzip(packed, *len, TEX_MOST_BODY, len);
	pfree(packed - VARHDRSZ);
	if (*len > KEPT_UNPACKED)
		keep_unpacked(request, unpacked, *len);
	return unpacked;
}

/*
 * The plan of a call.  A generic one, as the planner copies the parameters of others, which are bodies,
 * more than once.
 */
static SPIPlanPtr
plan_of(TexDoor door)
{
	Oid			type = door == TEX_DOOR_EVENTS ? TEXTOID : BYTEAOID;
	SPIPlanPtr	plan;

	if (plans[door] != NULL)
		return plans[door];
	plan = SPI_prepare_cursor(calls[door], 1, &type, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare the call of a door");
	SPI_keepplan(plan);
	plans[door] = plan;
	return plan;
}

/* Adds the counts that the function returned. */
static void
take_counts(TexRequest *request)
{
	int64		rejected_before = request->rejected;
	bool		isnull;

	if (SPI_processed != 1)
		elog(ERROR, "a body was stored without counts");
	request->inserted += DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	request->duplicates += DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	request->rejected += DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
	request->records = tex_last_batch.records;
	if (rejected_before == 0 && request->rejected > 0)
		strlcpy(request->reason, as_utf8(tex_last_batch.reason), sizeof(request->reason));
	if (request->rejected > 0)
		tex_answer_set_text(request, psprintf(INT64_FORMAT " of " INT64_FORMAT " %s were rejected, the first because of its %s",
											  request->rejected, request->records, record_names[request->door], request->reason));
}

/* Has a step of a body stored; throws where it cannot be.  True: it was the last one. */
static bool
store(TexRequest *request)
{
	int			len = request->body.len;
	char	   *data;
	char	   *start;
	Datum		value;

	/* An empty request is one without records, whatever it is said to be. */
	if (len == 0 && request->door != TEX_DOOR_EVENTS)
		return true;
	if (len == 0)
		wrong_type("JSON");
	data = fetch(request, &len);
	if (request->gzip)
		data = unpack(request, data, &len);
	if (len == 0 && request->door != TEX_DOOR_EVENTS)
		return true;
	start = check_type(request, data, &len);
	if (start != data)
		memmove(data, start, len);
	value = argument(request, data, len);
	tex_batch_limits.done = request->done;
	SPI_connect();
	if (SPI_execute_plan(plan_of(request->door), &value, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not call the function of a door");
	take_counts(request);
	SPI_finish();
	request->done = tex_last_batch.done;
	return !tex_last_batch.more;
}

/*
 * Stores a step of a body in a subtransaction of its own; decides its request, if it was the last one or cannot be
 * stored, as long as the transaction commits.
 */
static void
store_alone(TexRequest *request)
{
	ResourceOwner owner = CurrentResourceOwner;
	bool		is_last;

	tex_last_batch.quota_wait = 0;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(body_context);
	PG_TRY();
	{
		is_last = store(request);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(batch_context);
		CurrentResourceOwner = owner;
		if (is_last)
			request->status = 200;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(body_context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(batch_context);
		CurrentResourceOwner = owner;
		refuse_by(request, error);
	}
	PG_END_TRY();
	handed_over = NULL;
	if (request->status != 0)
		tex_bytes_free(&request->body);
	MemoryContextReset(body_context);
}

/* ----------------------------------------------------------------
 *		All of them
 * ----------------------------------------------------------------
 */
/*
 * Called once, before the first batch.
 */
void
tex_store_init(void)
{
	batch_context = AllocSetContextCreate(TopMemoryContext, "trace_ext receiver", ALLOCSET_DEFAULT_SIZES);
	tex_batch_limits.step_rows = STEP_ROWS;
	tex_batch_limits.memory = MOST_MEMORY;
	tex_batch_limits.bytes = MOST_ROWS_BYTES;
	tex_batch_limits.records = MOST_RECORDS;
	tex_batch_limits.rejections = MOST_REJECTIONS;
	tex_batch_limits.record_bytes = MOST_RECORD;
	tex_batch_limits.record_values = MOST_VALUES;
	tex_batch_limits.was_read = let_go_of_body;
	/* No child of the other, whose reset would delete it. */
	body_context = AllocSetContextCreate(TopMemoryContext, "trace_ext body", ALLOCSET_DEFAULT_SIZES);
}

/* The transaction failed as a whole: nothing is stored, and whoever was told so far was told wrong. */
static void
refuse_all(TexRequest **requests, int n)
{
	ErrorData  *error;

	MemoryContextSwitchTo(batch_context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(batch_context);
	/* What one body has done is not known, so all are told to come again. */
	report(error);
	for (int i = 0; i < n; i++)
	{
		if (requests[i]->status == 200)
			requests[i]->status = 0;
		tex_answer_refuse(requests[i], 503, TEX_REFUSED_DATABASE, "the database cannot take it now");
		tex_bytes_free(&requests[i]->body);
	}
}

/* Stores a step of each, until they have as many rows as a transaction should; returns how many it came to. */
static int
store_some(TexRequest **requests, int n, volatile sig_atomic_t *give_up)
{
	int64		rows = 0;
	int			i;

	for (i = 0; i < n && rows < STEP_ROWS; i++)
	{
		TexRequest *request = requests[i];
		int64		before = request->inserted + request->duplicates + request->rejected;

		if (*give_up)
			tex_answer_refuse(request, 503, TEX_REFUSED_OVERLOAD, "the receiver is shutting down");
		else
			store_alone(request);
		rows += request->inserted + request->duplicates + request->rejected - before;
	}
	return i;
}

/*
 * Stores bodies, in their order, and decides the request of each that is stored as a whole or cannot be.  None
 * may be decided before; nothing is thrown.  Returns how many it came to; of these, those that are not
 * decided have another step before them.
 * Between two bodies it looks whether to give up, in which case the rest is refused for now.
 */
int
tex_store_bodies(TexRequest **requests, int n, volatile sig_atomic_t *give_up)
{
	volatile int done = n;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		pgstat_report_activity(STATE_RUNNING, "storing bodies");
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(batch_context);
		done = store_some(requests, n, give_up);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		refuse_all(requests, done);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(batch_context);
	MemoryContextReset(batch_context);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return done;
}
