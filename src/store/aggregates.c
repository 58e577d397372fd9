/*
 * aggregates.c
 *		Aggregates that summaries and spans are computed with: text_set and
 *		earliest.
 *
 * They replace array_agg(DISTINCT x ORDER BY x) and (array_agg(x ORDER BY y))[1],
 * which sort each group, so that a rebuild can hash instead.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "store/summary.h"

PG_FUNCTION_INFO_V1(tex_text_set_add);
PG_FUNCTION_INFO_V1(tex_text_set_add_all);
PG_FUNCTION_INFO_V1(tex_text_set_final);
PG_FUNCTION_INFO_V1(tex_text_set_union);
PG_FUNCTION_INFO_V1(tex_earliest_add);
PG_FUNCTION_INFO_V1(tex_earliest_final);

/* State of text_set, in the aggregate's context. */
typedef struct TextSet
{
	MemoryContext context;
	TexTextSet	texts;
} TextSet;

/* State of earliest: the first value so far, and by what it is the first. */
typedef struct Earliest
{
	MemoryContext context;
	TimestampTz timestamp;
	pg_uuid_t	id;
	text	   *value;			/* may be NULL */
} Earliest;

/* The context that a state has to live in: that of the group, whoever calls. */
static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return context;
}

/* The set of the group so far, a new one for its first row. */
static TextSet *
text_set_state(FunctionCallInfo fcinfo)
{
	MemoryContext context = aggregate_context(fcinfo);
	TextSet    *set;

	if (!PG_ARGISNULL(0))
		return (TextSet *) PG_GETARG_POINTER(0);
	set = MemoryContextAllocZero(context, sizeof(TextSet));
	set->context = context;
	return set;
}

/* Adds the texts of an array to a set that lives in "context". */
static void
add_texts(TexTextSet *set, ArrayType *array, MemoryContext context)
{
	Datum	   *values;
	bool	   *isnull;
	int			n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &isnull, &n);
	for (int i = 0; i < n; i++)
	{
		if (!isnull[i])
			tex_text_set_insert(set, DatumGetTextPP(values[i]), context);
	}
}

/*
 * text_set_add(internal, text) returns internal
 */
Datum
tex_text_set_add(PG_FUNCTION_ARGS)
{
	TextSet    *set = text_set_state(fcinfo);

	if (!PG_ARGISNULL(1))
		tex_text_set_insert(&set->texts, PG_GETARG_TEXT_PP(1), set->context);
	PG_RETURN_POINTER(set);
}

/*
 * text_set_add_all(internal, text[]) returns internal
 */
Datum
tex_text_set_add_all(PG_FUNCTION_ARGS)
{
	TextSet    *set = text_set_state(fcinfo);

	if (!PG_ARGISNULL(1))
		add_texts(&set->texts, PG_GETARG_ARRAYTYPE_P(1), set->context);
	PG_RETURN_POINTER(set);
}

/*
 * text_set_final(internal) returns text[]
 */
Datum
tex_text_set_final(PG_FUNCTION_ARGS)
{
	TexTextSet	none = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_DATUM(tex_text_set_array(&none));
	PG_RETURN_DATUM(tex_text_set_array(&((TextSet *) PG_GETARG_POINTER(0))->texts));
}

/*
 * text_set_union(text[], text[]) returns text[]
 *
 * As the aggregate, of two arrays; the first one itself where it has all of the
 * second.
 */
Datum
tex_text_set_union(PG_FUNCTION_ARGS)
{
	ArrayType  *first = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *second = PG_GETARG_ARRAYTYPE_P(1);
	TexTextSet	set = {0};
	int			first_count;

	add_texts(&set, first, CurrentMemoryContext);
	first_count = set.count;
	add_texts(&set, second, CurrentMemoryContext);
	if (set.count == first_count)
		PG_RETURN_POINTER(first);
	PG_RETURN_DATUM(tex_text_set_array(&set));
}

/* By time, then by id: the same order that picks the root of a summary. */
static bool
is_earlier(TimestampTz timestamp, const pg_uuid_t *id, const Earliest *than)
{
	return timestamp < than->timestamp ||
		(timestamp == than->timestamp && memcmp(id->data, than->id.data, UUID_LEN) < 0);
}

/*
 * earliest_add(internal, timestamptz, uuid, text) returns internal
 */
Datum
tex_earliest_add(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	Earliest   *state = PG_ARGISNULL(0) ? NULL : (Earliest *) PG_GETARG_POINTER(0);
	TimestampTz timestamp;
	pg_uuid_t  *id;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	timestamp = PG_GETARG_TIMESTAMPTZ(1);
	id = PG_GETARG_UUID_P(2);

	if (state == NULL)
	{
		state = MemoryContextAllocZero(context, sizeof(Earliest));
		state->context = context;
	}
	else if (!is_earlier(timestamp, id, state))
		PG_RETURN_POINTER(state);

	state->timestamp = timestamp;
	state->id = *id;
	if (state->value != NULL)
		pfree(state->value);
	state->value = NULL;
	if (!PG_ARGISNULL(3))
	{
		MemoryContext old = MemoryContextSwitchTo(state->context);

		state->value = PG_GETARG_TEXT_P_COPY(3);
		MemoryContextSwitchTo(old);
	}
	PG_RETURN_POINTER(state);
}

/*
 * earliest_final(internal) returns text
 */
Datum
tex_earliest_final(PG_FUNCTION_ARGS)
{
	Earliest   *state = PG_ARGISNULL(0) ? NULL : (Earliest *) PG_GETARG_POINTER(0);

	if (state == NULL || state->value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(state->value);
}
