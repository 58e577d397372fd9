/*
 * call_sums.c
 *		Calls of many traces, added up by hour, services and link.
 *
 * All sums are signed: what a trace had added before is taken away by the same way, so
 * that what comes out is by how much the rollups change.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "histogram/histogram.h"
#include "store/call_sums.h"
#include "store/packed_calls.h"

#define SUM_COLUMNS 8
#define NSECS_PER_USEC 1000

PG_FUNCTION_INFO_V1(tex_sum_calls);

/* What calls are added up by. */
typedef struct SumKey
{
	int64		hour;
	const uint8 *from;
	const uint8 *to;
	int			from_size;
	int			to_size;
	TexLink		link;
} SumKey;

/* The calls of a key; an element of a hash. */
typedef struct CallSum
{
	SumKey		key;
	int64		calls;
	int64		errors;
	int64		traces;			/* each counts in one of its hours */
	TexHistogram *latency;
	char		status;
} CallSum;

/* The hash of a key. */
static inline uint32
hash_sum_key(const SumKey *key)
{
	uint32		h = hash_combine(murmurhash32((uint32) key->hour), key->link);

	h = hash_combine(h, hash_bytes(key->from, key->from_size));
	return hash_combine(h, hash_bytes(key->to, key->to_size));
}

/* Byte by byte. */
static inline bool
same_sum_key(const SumKey *a, const SumKey *b)
{
	return a->hour == b->hour && a->link == b->link &&
		a->from_size == b->from_size && a->to_size == b->to_size &&
		memcmp(a->from, b->from, a->from_size) == 0 &&
		memcmp(a->to, b->to, a->to_size) == 0;
}

#define SH_PREFIX sum
#define SH_ELEMENT_TYPE CallSum
#define SH_KEY_TYPE SumKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_sum_key(&key)
#define SH_EQUAL(tb, a, b) same_sum_key(&a, &b)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

struct TexCallSums
{
	MemoryContext context;
	sum_hash   *hash;
};

/* No sums, in a context below the current one. */
TexCallSums *
tex_call_sums_create(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext sums of calls",
												  ALLOCSET_DEFAULT_SIZES);
	TexCallSums *sums = MemoryContextAlloc(context, sizeof(TexCallSums));

	sums->context = context;
	sums->hash = sum_create(context, 64, NULL);
	return sums;
}

/* A copy of a text that has no header. */
static const uint8 *
copy_bytes(MemoryContext context, const uint8 *bytes, int size)
{
	return memcpy(MemoryContextAlloc(context, Max(size, 1)), bytes, size);
}

/* The sum that a group belongs to. */
static CallSum *
sum_of(TexCallSums *sums, const TexCallGroup *group)
{
	SumKey		key = {group->hour, group->from, group->to, group->from_size, group->to_size, group->link};
	bool		found;
	CallSum    *sum = sum_insert(sums->hash, key, &found);

	if (!found)
	{
		sum->key.from = copy_bytes(sums->context, key.from, key.from_size);
		sum->key.to = copy_bytes(sums->context, key.to, key.to_size);
		sum->calls = sum->errors = sum->traces = 0;
		sum->latency = tex_histogram_create(sums->context);
	}
	return sum;
}

/*
 * Adds the calls of a trace, or takes them away: sign is 1 or -1. The value is
 * detoasted. Makes garbage in the current memory context.
 */
void
tex_call_sums_add(TexCallSums *sums, const struct varlena *packed, int sign)
{
	TexCallReader reader;
	TexCallGroup group;

	tex_call_reader_init(&reader, packed);
	while (tex_next_call_group(&reader, &group))
	{
		CallSum    *sum = sum_of(sums, &group);
		int64		duration;

		CHECK_FOR_INTERRUPTS();
		sum->calls += sign * group.calls;
		sum->errors += sign * group.errors;
		sum->traces += group.first ? sign : 0;
		while ((duration = tex_next_duration(&reader)) >= 0)
			tex_histogram_add(sum->latency, duration * NSECS_PER_USEC, sign);
	}
}

/* The label of link_type for a link, as the catalog numbers it now. */
static Oid
link_oid(TexLink link)
{
	static const char *const names[TEX_LINK_COUNT] = {
		"HttpCall", "GrpcCall", "MessageQueue", "DatabaseQuery", "Custom"
	};
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("link_type"),
									   ObjectIdGetDatum(tex_schema_oid()));
	Oid			oid = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid, ObjectIdGetDatum(type),
									  CStringGetDatum(names[link]));

	if (!OidIsValid(oid))
		elog(ERROR, "enum trace_ext.link_type has no label \"%s\"", names[link]);
	return oid;
}

/* A row a sum, in no order; ends the sums. */
void
tex_call_sums_put(TexCallSums *sums, ReturnSetInfo *result)
{
	MemoryContext old = MemoryContextSwitchTo(sums->context);
	sum_iterator iterator;
	CallSum    *sum;

	sum_start_iterate(sums->hash, &iterator);
	while ((sum = sum_iterate(sums->hash, &iterator)) != NULL)
	{
		bool		isnull[SUM_COLUMNS] = {false};
		Datum		values[SUM_COLUMNS] = {
			TimestampTzGetDatum(sum->key.hour * USECS_PER_HOUR),
			PointerGetDatum(cstring_to_text_with_len((const char *) sum->key.from, sum->key.from_size)),
			PointerGetDatum(cstring_to_text_with_len((const char *) sum->key.to, sum->key.to_size)),
			ObjectIdGetDatum(link_oid(sum->key.link)),
			Int64GetDatum(sum->calls),
			Int64GetDatum(sum->errors),
			Int64GetDatum(sum->traces),
			tex_histogram_datum(sum->latency)
		};

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(sums->context);
}

/* Adds, or takes away, what each element of an array has; a NULL has nothing. */
static void
add_all(TexCallSums *sums, ArrayType *array, int sign)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext packed calls",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	Datum	   *elements;
	bool	   *isnull;
	int			n;

	deconstruct_array(array, BYTEAOID, -1, false, TYPALIGN_INT, &elements, &isnull, &n);
	for (int i = 0; i < n; i++)
	{
		if (isnull[i])
			continue;
		MemoryContextSwitchTo(context);
		tex_call_sums_add(sums, PG_DETOAST_DATUM_PACKED(elements[i]), sign);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}

/*
 * sum_calls(added bytea[], taken bytea[]) returns table (hour, from_service, to_service,
 * link_type, calls, errors, traces, latency)
 *
 * What packed calls come to, without those that are taken.
 */
Datum
tex_sum_calls(PG_FUNCTION_ARGS)
{
	TexCallSums *sums;

	InitMaterializedSRF(fcinfo, 0);
	sums = tex_call_sums_create();
	add_all(sums, PG_GETARG_ARRAYTYPE_P(0), 1);
	add_all(sums, PG_GETARG_ARRAYTYPE_P(1), -1);
	tex_call_sums_put(sums, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
