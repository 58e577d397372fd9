/*
 * store.c
 *		Bodies are stored: one transaction for all that are there, a subtransaction for each.
 *
 * A body goes to the SQL function of its door, with the rights of the receiver's role.  What is
 * wrong with one is its own affair: its subtransaction is rolled back, the others go in.  Each
 * request is decided when this returns: 200 only after the commit; a body that may go in another
 * time, 429 or 503, as clients keep what these refuse and send it again; 400 and 413, which they
 * drop, where it never will.
 *
 * Memory is that of one body at a time, beside the bodies that wait: each is given back when it
 * was read.
 */
#include "postgres.h"

#include <signal.h>

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

/* The log has what the database refuses bodies for, but not for each of them. */
#define LOG_PAUSE_US (10 * INT64CONST(1000000))

static const char *const calls[TEX_DOORS] = {
	"SELECT inserted, duplicates, rejected FROM trace_ext.ingest_otlp($1)",
	"SELECT inserted, duplicates, rejected FROM trace_ext.ingest_otlp($1)",
	"SELECT inserted, duplicates, rejected FROM trace_ext.ingest_events($1)"
};

static const char *const record_names[TEX_DOORS] = {"spans", "log records", "events"};

static MemoryContext batch_context;
static MemoryContext body_context;

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
 * disk, a missing right, an extension that is just being updated.
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
		tex_answer_refuse(request, 429, TEX_REFUSED_QUOTA, message);
		return;
	}
	report(error);
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR))
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
	if (request->door == TEX_DOOR_EVENTS)
	{
		char	   *text = pg_any_to_server(data, len, PG_UTF8);

		if (text != data)
			return PointerGetDatum(cstring_to_text(text));
	}
	SET_VARSIZE(data - VARHDRSZ, VARHDRSZ + len);
	return PointerGetDatum(data - VARHDRSZ);
}

/* Unpacks a body; there is room for a header before it. */
static char *
unpack(TexRequest *request, int *len)
{
	char	   *unpacked;
	char	   *data;

	if (!tex_is_gzip(request->data + VARHDRSZ, request->len))
		wrong_type("gzip");
	unpacked = tex_gunzip(request->data + VARHDRSZ, request->len, TEX_MOST_BODY, len);
	tex_http_free_body(request);
	data = palloc(VARHDRSZ + *len + 1);
	memcpy(data + VARHDRSZ, unpacked, *len);
	pfree(unpacked);
	return data + VARHDRSZ;
}

/* Copies the counts that the function returned. */
static void
take_counts(TexRequest *request)
{
	bool		isnull;

	if (SPI_processed != 1)
		elog(ERROR, "a body was stored without counts");
	request->inserted = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	request->duplicates = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	request->rejected = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
	request->records = tex_last_batch.records;
	if (request->rejected > 0)
		strlcpy(request->text, as_utf8(psprintf(INT64_FORMAT " of " INT64_FORMAT " %s were rejected, the first because of its %s",
												request->rejected, request->records, record_names[request->door],
												tex_last_batch.reason)), TEX_ANSWER_TEXT);
}

/* Has a body stored; throws where it cannot be. */
static void
store(TexRequest *request)
{
	int			len = request->len;
	char	   *data = request->data + VARHDRSZ;
	Oid			type = request->door == TEX_DOOR_EVENTS ? TEXTOID : BYTEAOID;
	Datum		value;

	/* An empty request is one without records, whatever it is said to be. */
	if (len == 0 && request->door != TEX_DOOR_EVENTS)
		return;
	if (len == 0)
		wrong_type("JSON");
	if (request->gzip)
		data = unpack(request, &len);
	if (len == 0 && request->door != TEX_DOOR_EVENTS)
		return;
	{
		char	   *start = check_type(request, data, &len);

		if (start != data)
			memmove(data, start, len);
	}
	value = argument(request, data, len);
	SPI_connect();
	if (SPI_execute_with_args(calls[request->door], 1, &type, &value, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not call the function of a door");
	take_counts(request);
	SPI_finish();
}

/* Stores a body in a subtransaction of its own; decides its request, as long as the transaction commits. */
static void
store_alone(TexRequest *request)
{
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(body_context);
	PG_TRY();
	{
		store(request);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(batch_context);
		CurrentResourceOwner = owner;
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
	tex_http_free_body(request);
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
	tex_batch_most_memory = TEX_MOST_ROWS_MEMORY;
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
		tex_http_free_body(requests[i]);
	}
}

/*
 * Stores bodies, and decides the request of each.  None may be decided before; nothing is thrown.
 * Between two bodies it looks whether to give up, in which case the rest is refused for now.
 */
void
tex_store_bodies(TexRequest **requests, int n, volatile sig_atomic_t *give_up)
{
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		pgstat_report_activity(STATE_RUNNING, "storing bodies");
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(batch_context);
		for (int i = 0; i < n; i++)
		{
			if (*give_up)
				tex_answer_refuse(requests[i], 503, TEX_REFUSED_OVERLOAD, "the receiver is shutting down");
			else
				store_alone(requests[i]);
		}
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		refuse_all(requests, n);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(batch_context);
	MemoryContextReset(batch_context);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}
