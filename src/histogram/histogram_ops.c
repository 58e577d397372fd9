/*
 * histogram_ops.c
 *		The SQL functions of the type histogram: constructor, operators, hash
 *		operator class, what is read off a histogram, and the aggregates.
 *
 * What a histogram is, and what subtraction does to it, is said in histogram.c.
 *
 * Two histograms are equal if their counts and sums are; whether min and max are
 * known is no part of it. There is a hash operator class for that, which DISTINCT,
 * GROUP BY and EXCEPT are content with, and no order: none would mean anything.
 *
 * Both aggregates have the same state, a histogram in memory that lives in the
 * aggregate's context, so a row costs a search among its buckets however many rows
 * there are.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"

#include "histogram/histogram.h"

PG_FUNCTION_INFO_V1(tex_histogram_of_value);
PG_FUNCTION_INFO_V1(tex_histogram_plus);
PG_FUNCTION_INFO_V1(tex_histogram_minus);
PG_FUNCTION_INFO_V1(tex_histogram_eq);
PG_FUNCTION_INFO_V1(tex_histogram_ne);
PG_FUNCTION_INFO_V1(tex_histogram_hash);
PG_FUNCTION_INFO_V1(tex_histogram_hash_extended);
PG_FUNCTION_INFO_V1(tex_quantile);
PG_FUNCTION_INFO_V1(tex_quantiles);
PG_FUNCTION_INFO_V1(tex_count_below);
PG_FUNCTION_INFO_V1(tex_total_count);
PG_FUNCTION_INFO_V1(tex_total_sum);
PG_FUNCTION_INFO_V1(tex_minimum);
PG_FUNCTION_INFO_V1(tex_maximum);
PG_FUNCTION_INFO_V1(tex_mean);
PG_FUNCTION_INFO_V1(tex_histogram_agg_step);
PG_FUNCTION_INFO_V1(tex_histogram_merge_step);
PG_FUNCTION_INFO_V1(tex_histogram_merge_combine);
PG_FUNCTION_INFO_V1(tex_histogram_merge_serialize);
PG_FUNCTION_INFO_V1(tex_histogram_merge_deserialize);
PG_FUNCTION_INFO_V1(tex_histogram_merge_final);

/* Detoasts an argument at most; for those that read the stored bytes. */
#define GETARG_STORED(n)	((struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(n)))

/* --------------------------------------------------------------- operators */

/* An argument as a histogram in memory. */
static TexHistogram *
load_argument(FunctionCallInfo fcinfo, int n)
{
	return tex_histogram_load(PG_GETARG_DATUM(n), CurrentMemoryContext);
}

/* The value of a histogram in memory, which is given back. */
static Datum
return_stored(TexHistogram *h)
{
	Datum		stored = tex_histogram_datum(h);

	tex_histogram_free(h);
	return stored;
}

/* SQL: histogram(ns), of one value. */
Datum
tex_histogram_of_value(PG_FUNCTION_ARGS)
{
	TexHistogram *h = tex_histogram_create(CurrentMemoryContext);

	tex_histogram_add(h, PG_GETARG_INT64(0), 1);
	return return_stored(h);
}

/* SQL: a + b. */
Datum
tex_histogram_plus(PG_FUNCTION_ARGS)
{
	TexHistogram *h = load_argument(fcinfo, 0);

	tex_histogram_merge_datum(h, PG_GETARG_DATUM(1));
	return return_stored(h);
}

/* SQL: a - b. */
Datum
tex_histogram_minus(PG_FUNCTION_ARGS)
{
	TexHistogram *h = load_argument(fcinfo, 0);
	TexHistogram *other = load_argument(fcinfo, 1);

	tex_histogram_subtract(h, other);
	tex_histogram_free(other);
	return return_stored(h);
}

/* Whether the two arguments of an operator have the same counts and sum: the same bytes from there on. */
static bool
arguments_are_equal(FunctionCallInfo fcinfo)
{
	struct varlena *a = GETARG_STORED(0);
	struct varlena *b = GETARG_STORED(1);
	Size		a_size;
	Size		b_size;
	const uint8 *a_bytes = tex_histogram_compared(a, &a_size);
	const uint8 *b_bytes = tex_histogram_compared(b, &b_size);
	bool		equal = a_size == b_size && memcmp(a_bytes, b_bytes, a_size) == 0;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return equal;
}

/* SQL: a = b. */
Datum
tex_histogram_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(arguments_are_equal(fcinfo));
}

/* SQL: a <> b. */
Datum
tex_histogram_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!arguments_are_equal(fcinfo));
}

/* Support function 1 of the hash operator class: of the bytes that equality compares. */
Datum
tex_histogram_hash(PG_FUNCTION_ARGS)
{
	struct varlena *stored = GETARG_STORED(0);
	Size		size;
	const uint8 *bytes = tex_histogram_compared(stored, &size);
	Datum		hash = hash_any(bytes, (int) size);

	PG_FREE_IF_COPY(stored, 0);
	return hash;
}

/* Support function 2 of the hash operator class: the same with a seed. */
Datum
tex_histogram_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *stored = GETARG_STORED(0);
	Size		size;
	const uint8 *bytes = tex_histogram_compared(stored, &size);
	Datum		hash = hash_any_extended(bytes, (int) size, PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(stored, 0);
	return hash;
}

/* ----------------------------------------------------------------- reading */

/* SQL: quantile(h, q); NULL where there is none. */
Datum
tex_quantile(PG_FUNCTION_ARGS)
{
	double		value = tex_histogram_quantile_datum(PG_GETARG_DATUM(0), PG_GETARG_FLOAT8(1));

	if (isnan(value))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(value);
}

/* SQL: quantiles(h, array), an array of the same shape; NULL stays NULL. */
Datum
tex_quantiles(PG_FUNCTION_ARGS)
{
	TexHistogram *h = load_argument(fcinfo, 0);
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	Datum	   *values;
	bool	   *nulls;
	int			n;

	if (ARR_NDIM(array) == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(FLOAT8OID));
	deconstruct_array(array, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		double		value;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			continue;
		value = tex_histogram_quantile(h, DatumGetFloat8(values[i]));
		nulls[i] = isnan(value);
		values[i] = Float8GetDatum(value);
	}
	PG_RETURN_ARRAYTYPE_P(construct_md_array(values, nulls, ARR_NDIM(array), ARR_DIMS(array), ARR_LBOUND(array),
											 FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* SQL: count_below(h, ns). */
Datum
tex_count_below(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(tex_histogram_count_below(load_argument(fcinfo, 0), PG_GETARG_INT64(1)));
}

/* SQL: total_count(h). */
Datum
tex_total_count(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(load_argument(fcinfo, 0)->count);
}

/* SQL: total_sum(h), which is exact. */
Datum
tex_total_sum(PG_FUNCTION_ARGS)
{
	char	   *digits = tex_histogram_sum_text(load_argument(fcinfo, 0)->sum);

	return DirectFunctionCall3(numeric_in, CStringGetDatum(digits), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* SQL: minimum(h); NULL where there is no value. */
Datum
tex_minimum(PG_FUNCTION_ARGS)
{
	int64		min;
	int64		max;

	if (!tex_histogram_extremes(load_argument(fcinfo, 0), &min, &max))
		PG_RETURN_NULL();
	PG_RETURN_INT64(min);
}

/* SQL: maximum(h); NULL where there is no value. */
Datum
tex_maximum(PG_FUNCTION_ARGS)
{
	int64		min;
	int64		max;

	if (!tex_histogram_extremes(load_argument(fcinfo, 0), &min, &max))
		PG_RETURN_NULL();
	PG_RETURN_INT64(max);
}

/* SQL: mean(h); NULL where the count is 0. */
Datum
tex_mean(PG_FUNCTION_ARGS)
{
	TexHistogram *h = load_argument(fcinfo, 0);

	if (h->count == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8((double) h->sum / (double) h->count);
}

/* -------------------------------------------------------------- aggregates */

/* The context that lives as long as the state. */
static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "part of an aggregate of histograms called outside an aggregate");
	return context;
}

/*
 * The state of an aggregate, made where there is none yet and something is to go into it, so that
 * the aggregate of nothing is NULL.
 */
static TexHistogram *
aggregate_state(FunctionCallInfo fcinfo)
{
	MemoryContext context = aggregate_context(fcinfo);

	if (!PG_ARGISNULL(0))
		return (TexHistogram *) PG_GETARG_POINTER(0);
	return PG_ARGISNULL(1) ? NULL : tex_histogram_create(context);
}

/* What a step or combine function gives back. */
static Datum
return_state(FunctionCallInfo fcinfo, TexHistogram *state)
{
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

/* Step of histogram_agg(): NULLs are passed over. */
Datum
tex_histogram_agg_step(PG_FUNCTION_ARGS)
{
	TexHistogram *state = aggregate_state(fcinfo);

	if (!PG_ARGISNULL(1))
		tex_histogram_add(state, PG_GETARG_INT64(1), 1);
	return return_state(fcinfo, state);
}

/* Step of merge(): NULLs are passed over. */
Datum
tex_histogram_merge_step(PG_FUNCTION_ARGS)
{
	TexHistogram *state = aggregate_state(fcinfo);

	if (!PG_ARGISNULL(1))
		tex_histogram_merge_datum(state, PG_GETARG_DATUM(1));
	return return_state(fcinfo, state);
}

/*
 * Combine function of both, in the leader of a parallel query. Always copies the other state: it
 * lives in a shorter context than this one.
 */
Datum
tex_histogram_merge_combine(PG_FUNCTION_ARGS)
{
	TexHistogram *state = aggregate_state(fcinfo);

	if (!PG_ARGISNULL(1))
		tex_histogram_merge(state, (TexHistogram *) PG_GETARG_POINTER(1));
	return return_state(fcinfo, state);
}

/* Serial function, in a parallel worker: a state travels as the stored form. */
Datum
tex_histogram_merge_serialize(PG_FUNCTION_ARGS)
{
	aggregate_context(fcinfo);
	return tex_histogram_datum((TexHistogram *) PG_GETARG_POINTER(0));
}

/*
 * Deserial function, in the leader: a state for tex_histogram_merge_combine() to read, which need
 * not outlive that call.
 */
Datum
tex_histogram_merge_deserialize(PG_FUNCTION_ARGS)
{
	aggregate_context(fcinfo);
	PG_RETURN_POINTER(load_argument(fcinfo, 0));
}

/* Final function: the histogram, or NULL where there was nothing. The state stays as it is. */
Datum
tex_histogram_merge_final(PG_FUNCTION_ARGS)
{
	aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return tex_histogram_datum((TexHistogram *) PG_GETARG_POINTER(0));
}
