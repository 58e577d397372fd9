/*
 * histogram_io.c
 *		Reading and writing histograms: text, jsonb and the binary protocol.
 *
 * The text form is JSON, and the empty histogram is {}:
 *
 *		{"count": 3, "sum": 1234, "min": 1, "max": 1000, "buckets": {"-1": 1, "159": 2}}
 *
 * Buckets have the numbers of OpenTelemetry, or "zero". Where something was taken
 * away, "subtracted": true stands before the buckets, and min and max are the ends
 * of the lowest and the highest bucket, or null.
 *
 * Fields and buckets are read in any order, as jsonb sorts them its own way. The
 * text is read here rather than by the server's JSON parser, because that one drops
 * repeated keys before they can be refused; the cast from jsonb reads jsonb's text.
 * Numbers are integers in digits only. What is written must be what some values give:
 * counts must add up to count, min and max lie in the lowest and highest bucket, and
 * the sum be one that values in these buckets can have. Nothing recurses, and the
 * memory needed is that of 1010 buckets.
 *
 * The binary form: int8 version (1), int8 flags (1: subtracted), int64 count, int64 and
 * int64 the high and the low half of the sum, int64 min, int64 max (both -1 where not
 * known), int64 count of the bucket zero, int32 number of other buckets, and for each,
 * ascending, int16 number and int64 count, which is not 0.
 */
#include "postgres.h"

#include "common/int.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "histogram/histogram.h"

#define BINARY_VERSION		1
#define BINARY_SUBTRACTED	1

/* Bytes of input that a message shows. */
#define SHOWN_BYTES		64

/* Why a histogram was refused. */
typedef struct Problem
{
	int			sqlstate;
	const char *message;
	const char *detail;
} Problem;

/* What is written, before it is known to be a histogram. */
typedef struct Draft
{
	unsigned	given;			/* fields of a text that were there, a bit each by number */
	bool		subtracted;
	int64		count;
	int128		sum;
	int64		min;			/* -1 where it is not given or null, and max likewise */
	int64		max;
	bool		named[TEX_HISTOGRAM_SLOTS]; /* the bucket was there, maybe with count 0 */
	int64		counts[TEX_HISTOGRAM_SLOTS];
	int			sqlstate;		/* of what is wrong in this form */
	Problem	   *problem;
} Draft;

/* The fields of the text. */
typedef enum Field
{
	FIELD_COUNT,
	FIELD_SUM,
	FIELD_MIN,
	FIELD_MAX,
	FIELD_SUBTRACTED,
	FIELD_BUCKETS,
	FIELDS
} Field;

static const char *const field_names[FIELDS] = {"count", "sum", "min", "max", "subtracted", "buckets"};

#define GIVEN(draft, field)		(((draft)->given & (1 << (field))) != 0)

/* A text being read. */
typedef struct Reader
{
	const char *input;
	const char *next;			/* the first byte not yet read */
	Draft	   *draft;
} Reader;

/* A key, number or word of it. */
typedef struct Token
{
	const char *text;
	int			len;
} Token;

PG_FUNCTION_INFO_V1(tex_histogram_in);
PG_FUNCTION_INFO_V1(tex_histogram_out);
PG_FUNCTION_INFO_V1(tex_histogram_recv);
PG_FUNCTION_INFO_V1(tex_histogram_send);
PG_FUNCTION_INFO_V1(tex_jsonb_to_histogram);
PG_FUNCTION_INFO_V1(tex_histogram_to_jsonb);
PG_FUNCTION_INFO_V1(tex_histogram_to_json);

/* ------------------------------------------------------------------ checks */

/* Begins a draft, which is all zeros; what will be wrong with it goes there, under that state. */
static void
begin_draft(Draft *draft, Problem *problem, int sqlstate)
{
	draft->min = draft->max = -1;
	draft->problem = problem;
	draft->sqlstate = sqlstate;
}

/* Says why a draft is no histogram; false, for the caller to return. */
static bool
refuse_draft(Draft *draft, const char *detail)
{
	draft->problem->sqlstate = draft->sqlstate;
	draft->problem->message = "invalid value of type histogram";
	draft->problem->detail = detail;
	return false;
}

/* Takes the counts over, ascending, and adds them up. */
static bool
take_buckets(Draft *draft, TexHistogram *h)
{
	for (int slot = 0; slot < TEX_HISTOGRAM_SLOTS; slot++)
	{
		int64		count = draft->counts[slot];

		if (count == 0)
			continue;
		if (count < 0 && !draft->subtracted)
			return refuse_draft(draft, "A count is negative, and the histogram is not marked \"subtracted\".");
		if (pg_add_s64_overflow(h->count, count, &h->count))
			return refuse_draft(draft, "The counts of the buckets add up to more than 64 bits hold.");
		tex_histogram_append(h, slot, count);
	}
	if (h->count != draft->count)
		return refuse_draft(draft, psprintf("The counts of the buckets add up to " INT64_FORMAT ", not to " INT64_FORMAT ".",
											h->count, draft->count));
	return true;
}

/*
 * Whether the values of those buckets, of which one is min and another max, can have that sum. All
 * counts are above 0, and no product or sum goes beyond 2^126.
 */
static bool
sum_is_possible(const TexHistogram *h)
{
	int128		least = 0;
	int128		most = 0;
	int64		first_last = 0;
	int64		last_first = 0;

	for (int i = 0; i < h->n; i++)
	{
		int64		first;
		int64		last;

		tex_histogram_slot_range(h->buckets[i].slot, &first, &last);
		first = Max(first, h->min);
		last = Min(last, h->max);
		least += (int128) first * h->buckets[i].count;
		most += (int128) last * h->buckets[i].count;
		if (i == 0)
			first_last = last;
		last_first = first;
	}
	return h->sum >= least + (h->max - last_first) && h->sum <= most - (first_last - h->min);
}

/* Takes min and max over where nothing was taken away: they are needed, and must fit. */
static bool
take_extremes(Draft *draft, TexHistogram *h)
{
	if (draft->min < 0 || draft->max < 0)
		return refuse_draft(draft, "\"min\" and \"max\" are missing, and the histogram is not marked \"subtracted\".");
	if (draft->max < draft->min ||
		tex_histogram_slot(draft->min) != h->buckets[0].slot ||
		tex_histogram_slot(draft->max) != h->buckets[h->n - 1].slot)
		return refuse_draft(draft, "\"min\" and \"max\" do not lie in the lowest and the highest bucket.");
	h->min = draft->min;
	h->max = draft->max;
	if (!sum_is_possible(h))
		return refuse_draft(draft, "No values in these buckets have this sum.");
	return true;
}

/* Where they are not known, min and max are written for readers: they must be what is written. */
static bool
check_extremes(Draft *draft, const TexHistogram *h)
{
	int64		min;
	int64		max;
	bool		known = tex_histogram_extremes(h, &min, &max);

	if ((draft->min >= 0 && (!known || draft->min != min)) ||
		(draft->max >= 0 && (!known || draft->max != max)))
		return refuse_draft(draft, "\"min\" and \"max\" are not the ends of the lowest and the highest bucket.");
	return true;
}

/* The histogram of a draft, in the current memory context; NULL, and the problem filled, if it is none. */
static TexHistogram *
build_checked(Draft *draft)
{
	TexHistogram *h = tex_histogram_create(CurrentMemoryContext);

	h->subtracted = draft->subtracted;
	h->sum = draft->sum;
	if (!take_buckets(draft, h))
		return NULL;
	if (h->subtracted || h->n == 0)
	{
		if (!check_extremes(draft, h))
			return NULL;
		if (!h->subtracted && h->sum != 0)
		{
			refuse_draft(draft, "No values in these buckets have this sum.");
			return NULL;
		}
	}
	else if (!take_extremes(draft, h))
		return NULL;
	return h;
}

/* Report a problem, softly where the caller asks for that. */
static Datum
refuse(Node *escontext, const Problem *problem)
{
	tex_ereturn(escontext, (Datum) 0,
				(errcode(problem->sqlstate),
				 errmsg("%s", problem->message),
				 errdetail("%s", problem->detail)));
}

/* ----------------------------------------------------------- reading text */

/* A copy of the beginning of a text, for a message; it ends between two characters. */
static char *
clip(const char *text, int len)
{
	int			shown = pg_mbcliplen(text, len, SHOWN_BYTES);

	return psprintf("%.*s%s", shown, text, shown < len ? "..." : "");
}

/* Refuse the text for what stands at a place in it. */
static bool
expected(Reader *r, const char *what, const char *where)
{
	Problem    *problem = r->draft->problem;

	problem->sqlstate = ERRCODE_INVALID_TEXT_REPRESENTATION;
	problem->message = "invalid input syntax for type histogram";
	problem->detail = psprintf("Expected %s at character %d, found: %s", what,
							   pg_mbstrlen_with_len(r->input, where - r->input) + 1,
							   *where ? clip(where, strlen(where)) : "the end of the input");
	return false;
}

/* Refuse the text for a field or bucket that is there twice. */
static bool
repeated(Reader *r, const Token *key)
{
	Problem    *problem = r->draft->problem;

	problem->sqlstate = ERRCODE_DUPLICATE_JSON_OBJECT_KEY_VALUE;
	problem->message = psprintf("\"%s\" is repeated in a histogram", clip(key->text, key->len));
	problem->detail = "A field and a bucket are there once.";
	return false;
}

/* White space of JSON (RFC 8259), no other. */
static void
skip_space(Reader *r)
{
	r->next += strspn(r->next, " \t\n\r");
}

/* Step over c if it comes next, after white space. */
static bool
accept(Reader *r, char c)
{
	skip_space(r);
	if (*r->next != c)
		return false;
	r->next++;
	return true;
}

/* Reads a number or word: what stands up to the next delimiter, whatever it is. */
static void
read_token(Reader *r, Token *token)
{
	skip_space(r);
	token->text = r->next;
	token->len = strcspn(r->next, ",:\"[]{} \t\n\r");
	r->next += token->len;
}

/* Reads a key and its colon. No key of a histogram needs an escape, so none is known. */
static bool
read_key(Reader *r, Token *key)
{
	if (!accept(r, '"'))
		return expected(r, "a name in double quotes", r->next);
	key->text = r->next;
	key->len = strcspn(r->next, "\"\n");
	r->next += key->len;
	if (*r->next != '"')
		return expected(r, "a closing double quote", r->next);
	r->next++;
	return accept(r, ':') || expected(r, "\":\"", r->next);
}

/* Is that what stands there? */
static bool
token_is(const Token *token, const char *word)
{
	return token->len == (int) strlen(word) && memcmp(token->text, word, token->len) == 0;
}

/* An integer of that range, written in digits only. */
static bool
parse_integer(Reader *r, const Token *token, int128 least, int128 most, int128 *result)
{
	bool		negative = token->len > 0 && token->text[0] == '-';
	const char *digits = token->text + negative;
	int			n = token->len - negative;
	bool		fits = true;

	if (n == 0 || (n > 1 && digits[0] == '0') || (int) strspn(digits, "0123456789") < n)
		return expected(r, "an integer", token->text);
	*result = 0;
	for (int i = 0; fits && i < n; i++)
	{
		/* Away from 0 by the sign: the least number has no positive. */
		int			digit = negative ? '0' - digits[i] : digits[i] - '0';

		fits = !__builtin_mul_overflow(*result, (int128) 10, result) &&
			!__builtin_add_overflow(*result, (int128) digit, result);
	}
	if (!fits || *result < least || *result > most)
	{
		r->draft->problem->sqlstate = ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
		r->draft->problem->message = "number in a histogram out of range";
		r->draft->problem->detail = psprintf("Found %s, and expected one from %s to %s.", clip(token->text, token->len),
											 tex_histogram_sum_text(least), tex_histogram_sum_text(most));
		return false;
	}
	return true;
}

/* Reads an integer of 64 bits. */
static bool
read_int64(Reader *r, int64 least, int64 *result)
{
	Token		token;
	int128		number;

	read_token(r, &token);
	if (!parse_integer(r, &token, least, PG_INT64_MAX, &number))
		return false;
	*result = (int64) number;
	return true;
}

/* Reads a number of 128 bits. */
static bool
read_sum(Reader *r)
{
	Token		token;

	read_token(r, &token);
	return parse_integer(r, &token, (int128) ((uint128) 1 << 127), (int128) (~(uint128) 0 >> 1), &r->draft->sum);
}

/* Reads min or max; null is as if it were not there. */
static bool
read_extreme(Reader *r, int64 *result)
{
	Reader		before = *r;
	Token		token;

	read_token(r, &token);
	if (token_is(&token, "null"))
		return true;
	*r = before;
	return read_int64(r, 0, result);
}

/* Reads whether something was taken away. */
static bool
read_subtracted(Reader *r)
{
	Token		token;

	read_token(r, &token);
	r->draft->subtracted = token_is(&token, "true");
	return r->draft->subtracted || token_is(&token, "false") || expected(r, "true or false", token.text);
}

/* Reads one bucket, "number": count. */
static bool
read_bucket(Reader *r)
{
	Token		key;
	int128		index = TEX_HISTOGRAM_FIRST_INDEX - 1;
	int			slot;
	int64		first;
	int64		last;

	if (!read_key(r, &key))
		return false;
	if (!token_is(&key, "zero") &&
		!parse_integer(r, &key, TEX_HISTOGRAM_FIRST_INDEX, TEX_HISTOGRAM_LAST_INDEX, &index))
		return false;
	slot = (int) index - TEX_HISTOGRAM_FIRST_INDEX + 1;
	if (!tex_histogram_slot_range(slot, &first, &last))
		return refuse_draft(r->draft, psprintf("No integer lies in bucket %d.", (int) index));
	if (r->draft->named[slot])
		return repeated(r, &key);
	r->draft->named[slot] = true;
	return read_int64(r, PG_INT64_MIN, &r->draft->counts[slot]);
}

/* Reads an object, whose members are read by that function. */
static bool
read_object(Reader *r, bool (*read_member) (Reader *r))
{
	if (!accept(r, '{'))
		return expected(r, "\"{\"", r->next);
	if (accept(r, '}'))
		return true;
	do
	{
		if (!read_member(r))
			return false;
	} while (accept(r, ','));
	return accept(r, '}') || expected(r, "\",\" or \"}\"", r->next);
}

/* Reads one field of a histogram. */
static bool
read_field(Reader *r)
{
	Token		key;
	int			field = 0;

	if (!read_key(r, &key))
		return false;
	while (field < FIELDS && !token_is(&key, field_names[field]))
		field++;
	if (field == FIELDS)
		return expected(r, "count, sum, min, max, subtracted or buckets", key.text);
	if (GIVEN(r->draft, field))
		return repeated(r, &key);
	r->draft->given |= 1 << field;
	switch ((Field) field)
	{
		case FIELD_COUNT:
			return read_int64(r, PG_INT64_MIN, &r->draft->count);
		case FIELD_SUM:
			return read_sum(r);
		case FIELD_MIN:
			return read_extreme(r, &r->draft->min);
		case FIELD_MAX:
			return read_extreme(r, &r->draft->max);
		case FIELD_SUBTRACTED:
			return read_subtracted(r);
		case FIELD_BUCKETS:
			return read_object(r, read_bucket);
		case FIELDS:
			break;
	}
	return false;
}

/* Reads a text as a whole; white space may stand around it. Needed are count, sum and buckets, or nothing. */
static bool
read_text(Reader *r)
{
	Draft	   *draft = r->draft;

	if (!read_object(r, read_field))
		return false;
	skip_space(r);
	if (*r->next != '\0')
		return expected(r, "the end of the input", r->next);
	for (int field = 0; field < FIELDS && draft->given != 0; field++)
		if (!GIVEN(draft, field) && (field == FIELD_COUNT || field == FIELD_SUM || field == FIELD_BUCKETS))
			return refuse_draft(draft, psprintf("\"%s\" is missing.", field_names[field]));
	return true;
}

/* The value that a text writes, for input and cast; an error is soft where the caller asks for that. */
static Datum
from_text(const char *input, Node *escontext)
{
	Problem		problem;
	Draft	   *draft = palloc0(sizeof(Draft));
	Reader		r = {.input = input,.next = input,.draft = draft};
	TexHistogram *h = NULL;
	Datum		result;

	begin_draft(draft, &problem, ERRCODE_INVALID_TEXT_REPRESENTATION);
	if (read_text(&r))
		h = build_checked(draft);
	pfree(draft);
	if (h == NULL)
		return refuse(escontext, &problem);
	result = tex_histogram_datum(h);
	tex_histogram_free(h);
	return result;
}

/* Input function. */
Datum
tex_histogram_in(PG_FUNCTION_ARGS)
{
	return from_text(PG_GETARG_CSTRING(0), fcinfo->context);
}

/* The cast from jsonb: repeated keys are gone, and 1e2 is 100. */
Datum
tex_jsonb_to_histogram(PG_FUNCTION_ARGS)
{
	Jsonb	   *jsonb = PG_GETARG_JSONB_P(0);

	return from_text(JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb)), fcinfo->context);
}

/* ------------------------------------------------------------ writing text */

/* A number of 128 bits in digits. */
char *
tex_histogram_sum_text(int128 sum)
{
	char		digits[41];		/* 39, a sign and the end */
	char	   *first = digits + sizeof(digits) - 1;
	uint128		rest = sum < 0 ? -(uint128) sum : (uint128) sum;

	*first = '\0';
	do
	{
		*--first = '0' + (int) (rest % 10);
		rest /= 10;
	} while (rest != 0);
	if (sum < 0)
		*--first = '-';
	return pstrdup(first);
}

/* The text form; NUL-terminated. */
static char *
to_text(Datum stored)
{
	TexHistogram *h = tex_histogram_load(stored, CurrentMemoryContext);
	const char *separator = "";
	StringInfoData out;
	int64		min;
	int64		max;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	if (h->n > 0 || h->subtracted)
	{
		appendStringInfo(&out, "\"count\": " INT64_FORMAT ", \"sum\": %s", h->count, tex_histogram_sum_text(h->sum));
		if (tex_histogram_extremes(h, &min, &max))
			appendStringInfo(&out, ", \"min\": " INT64_FORMAT ", \"max\": " INT64_FORMAT, min, max);
		else
			appendStringInfoString(&out, ", \"min\": null, \"max\": null");
		appendStringInfo(&out, "%s, \"buckets\": {", h->subtracted ? ", \"subtracted\": true" : "");
		for (int i = 0; i < h->n; i++, separator = ", ")
		{
			if (h->buckets[i].slot == 0)
				appendStringInfo(&out, "\"zero\": " INT64_FORMAT, h->buckets[i].count);
			else
				appendStringInfo(&out, "%s\"%d\": " INT64_FORMAT, separator,
								 h->buckets[i].slot - 1 + TEX_HISTOGRAM_FIRST_INDEX, h->buckets[i].count);
		}
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoChar(&out, '}');
	tex_histogram_free(h);
	return out.data;
}

/* Output function; what it writes tex_histogram_in() reads as the same value. */
Datum
tex_histogram_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(to_text(PG_GETARG_DATUM(0)));
}

/* The cast to jsonb: of the text form, whose keys jsonb sorts its own way. */
Datum
tex_histogram_to_jsonb(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(to_text(PG_GETARG_DATUM(0))));
}

/* The cast to json: the text form is JSON as it stands. */
Datum
tex_histogram_to_json(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(to_text(PG_GETARG_DATUM(0))));
}

/* ------------------------------------------------------------------ binary */

/* Throws: the message is no histogram, for that reason. */
static void
report_binary(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid binary value of type %s", "histogram"),
			 errdetail("%s", detail)));
}

/* What stands before the buckets. */
static void
receive_head(StringInfo message, Draft *draft)
{
	int			version = pq_getmsgbyte(message);
	int			flags;

	if (version != BINARY_VERSION)
		report_binary(psprintf("Its version is %d; this server reads version %d.", version, BINARY_VERSION));
	flags = pq_getmsgbyte(message);
	if ((flags & ~BINARY_SUBTRACTED) != 0)
		report_binary(psprintf("It has unknown flags %d.", flags));
	draft->subtracted = (flags & BINARY_SUBTRACTED) != 0;
	draft->count = pq_getmsgint64(message);
	draft->sum = (int128) ((uint128) (uint64) pq_getmsgint64(message) << 64);
	draft->sum |= (uint64) pq_getmsgint64(message);
	draft->min = pq_getmsgint64(message);
	draft->max = pq_getmsgint64(message);
	if ((draft->subtracted || draft->count == 0) && (draft->min != -1 || draft->max != -1))
		report_binary("It has min and max where these are not known.");
	draft->counts[0] = pq_getmsgint64(message);
}

/* Receive function; a message may say anything, and is never read beyond its end. */
Datum
tex_histogram_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	Problem		problem;
	Draft	   *draft = palloc0(sizeof(Draft));
	TexHistogram *h;
	int			before = 0;
	int			n;

	begin_draft(draft, &problem, ERRCODE_INVALID_BINARY_REPRESENTATION);
	receive_head(message, draft);
	n = (int) pq_getmsgint(message, 4);
	if (n < 0 || n >= TEX_HISTOGRAM_SLOTS)
		report_binary(psprintf("It says that it has %d buckets.", n));
	for (int i = 0; i < n; i++)
	{
		int			index = (int16) pq_getmsgint(message, 2);
		int			slot = index - TEX_HISTOGRAM_FIRST_INDEX + 1;
		int64		first;
		int64		last;

		if (slot <= before || slot >= TEX_HISTOGRAM_SLOTS || !tex_histogram_slot_range(slot, &first, &last))
			report_binary(psprintf("Bucket %d is unknown, holds no integer or is not in ascending order.", index));
		draft->counts[slot] = pq_getmsgint64(message);
		if (draft->counts[slot] == 0)
			report_binary(psprintf("Bucket %d has no count.", index));
		before = slot;
	}
	h = build_checked(draft);
	pfree(draft);
	if (h == NULL)
		return refuse(fcinfo->context, &problem);
	return tex_histogram_datum(h);
}

/* Send function. */
Datum
tex_histogram_send(PG_FUNCTION_ARGS)
{
	TexHistogram *h = tex_histogram_load(PG_GETARG_DATUM(0), CurrentMemoryContext);
	bool		known = h->n > 0 && !h->subtracted;
	int			zero = h->n > 0 && h->buckets[0].slot == 0 ? 1 : 0;
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendint8(&message, BINARY_VERSION);
	pq_sendint8(&message, h->subtracted ? BINARY_SUBTRACTED : 0);
	pq_sendint64(&message, h->count);
	pq_sendint64(&message, (uint64) ((uint128) h->sum >> 64));
	pq_sendint64(&message, (uint64) h->sum);
	pq_sendint64(&message, known ? h->min : -1);
	pq_sendint64(&message, known ? h->max : -1);
	pq_sendint64(&message, zero ? h->buckets[0].count : 0);
	pq_sendint32(&message, h->n - zero);
	for (int i = zero; i < h->n; i++)
	{
		pq_sendint16(&message, h->buckets[i].slot - 1 + TEX_HISTOGRAM_FIRST_INDEX);
		pq_sendint64(&message, h->buckets[i].count);
	}
	tex_histogram_free(h);
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}
