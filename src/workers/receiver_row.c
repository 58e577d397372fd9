/*
 * receiver_row.c
 *		The receiver, as a row: its state and its numbers.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "common/receiver_shared.h"
#include "guc.h"

#define COLUMNS 21

PG_FUNCTION_INFO_V1(tex_receiver_row);

/* A row in the making: columns are added in their order. */
typedef struct Row
{
	Datum		values[COLUMNS];
	bool		isnull[COLUMNS];
	int			n;
} Row;

static void
add(Row *row, Datum value, bool isnull)
{
	row->isnull[row->n] = isnull;
	row->values[row->n++] = value;
}

/* An empty text is NULL. */
static void
add_text(Row *row, const char *text)
{
	add(row, text[0] ? CStringGetTextDatum(text) : (Datum) 0, text[0] == '\0');
}

static void
add_number(Row *row, uint64 n)
{
	add(row, Int64GetDatum(n), false);
}

static uint64
sum(pg_atomic_uint64 *numbers, int n)
{
	uint64		total = 0;

	for (int i = 0; i < n; i++)
		total += pg_atomic_read_u64(&numbers[i]);
	return total;
}

/* In the words of an operator.  The lock is held. */
static const char *
state_name(const TexReceiver *r)
{
	switch (r->state)
	{
		case TEX_RECEIVER_OFF:
			return tex_otlp_listen[0] == '\0' ? "off" : RecoveryInProgress() ? "standby" : "starting";
		case TEX_RECEIVER_STARTING:
			return "starting";
		case TEX_RECEIVER_LISTENING:
			return "listening";
		case TEX_RECEIVER_FAILED:
			return "failed";
	}
	return "";
}

/* The time that 99 of 100 bodies took at most, in seconds, as far as buckets tell; false where there was none. */
static bool
percentile(double *seconds)
{
	uint64		total = 0;
	uint64		seen = 0;

	for (int i = 0; i < TEX_LATENCY_BUCKETS; i++)
		total += pg_atomic_read_u32(&tex_receiver->latency[i]);
	for (int i = 0; i < TEX_LATENCY_BUCKETS && total > 0; i++)
	{
		seen += pg_atomic_read_u32(&tex_receiver->latency[i]);
		if (seen * 100 < total * 99)
			continue;
		*seconds = 1e-4 * pow(2, i / 4.0);
		return true;
	}
	return false;
}

/* Requests that were refused, by reason. */
static Datum
refused(void)
{
	static const char *const names[TEX_REFUSALS] = {
		"unauthorized", "wrong request", "malformed", "too large", "slow", "quota", "overload", "database", "failed", "broken off"
	};
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < TEX_REFUSALS; i++)
		appendStringInfo(&text, "%s\"%s\": " UINT64_FORMAT, i == 0 ? "{" : ", ", names[i],
						 tex_receiver ? pg_atomic_read_u64(&tex_receiver->refused[i]) : 0);
	appendStringInfoChar(&text, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data));
}

/* What the lock protects. */
static void
add_state(Row *row)
{
	TexReceiver copy;

	LWLockAcquire(&tex_receiver->lock, LW_SHARED);
	memcpy(&copy, tex_receiver, sizeof(copy));
	LWLockRelease(&tex_receiver->lock);
	add_text(row, state_name(&copy));
	add(row, Int32GetDatum(copy.pid), copy.pid == 0);
	add_text(row, copy.address);
	add(row, TimestampTzGetDatum(copy.started_at), copy.pid == 0);
	add(row, Int32GetDatum(copy.failures), false);
	add_text(row, copy.error);
}

/* What is counted. */
static void
add_numbers(Row *row)
{
	TexReceiver *r = tex_receiver;
	double		p99 = 0;
	bool		any = percentile(&p99);

	add_number(row, pg_atomic_read_u64(&r->connections));
	add_number(row, pg_atomic_read_u64(&r->buffered));
	add_number(row, sum(r->bodies, TEX_DOORS));
	for (int i = 0; i < TEX_DOORS; i++)
		add_number(row, pg_atomic_read_u64(&r->bodies[i]));
	for (int i = 0; i < TEX_DOORS; i++)
		add_number(row, pg_atomic_read_u64(&r->records[i]));
	add_number(row, pg_atomic_read_u64(&r->rejected));
	add_number(row, pg_atomic_read_u64(&r->bytes));
	add_number(row, pg_atomic_read_u64(&r->batches));
	add(row, Float8GetDatum(pg_atomic_read_u64(&r->usecs) / 1e6), false);
	add(row, Float8GetDatum(p99), !any);
}

/*
 * receiver() returns record
 */
Datum
tex_receiver_row(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Row			row = {.n = 0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (tex_receiver != NULL)
	{
		add_state(&row);
		add_numbers(&row);
	}
	else
	{
		add_text(&row, "not preloaded");
		for (int i = 0; i < 3; i++)
			add(&row, (Datum) 0, true);
		add(&row, Int32GetDatum(0), false);
		add(&row, (Datum) 0, true);
		while (row.n < COLUMNS - 3)
			add_number(&row, 0);
		add(&row, Float8GetDatum(0), false);
		add(&row, (Datum) 0, true);
	}
	add(&row, refused(), false);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), row.values, row.isnull));
}
