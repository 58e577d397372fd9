/*
 * vclock_io.c
 *		Reading and writing vector clocks: text, jsonb and the binary protocol.
 *
 * Two shapes are read, as both are in use by clients:
 *
 *		{"component": n, ...}		and			[["component", n], ...]
 *
 * and the first is written, sorted by the bytes of the components. The text is read
 * here rather than by the server's JSON parser, because that one drops repeated keys
 * and turns 1e2 into 100 before they can be refused. For the same reason a jsonb
 * value can hide a repeated key or an exponent; what is left of it is read.
 *
 * Counts are integers from 0 to 2^63 - 1 written in digits only. The grammar has a
 * fixed depth and the number of components a limit, so nothing recurses, and the
 * memory needed is a small multiple of the input.
 *
 * Nothing below throws until vclock_in and its like report the problem, so
 * that ingest can refuse one event and go on.
 *
 * The binary form: int8 version (1), int32 number of components, and for each
 * int32 length, text in the client's encoding, int64 count.
 */
#include "postgres.h"

#include "common/int.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "common/hex.h"
#include "compat.h"
#include "vclock/vclock.h"

#define BINARY_VERSION	1

/* A text being read. */
typedef struct Reader
{
	const char *input;
	const char *next;			/* the first byte not yet read */
	char	   *names;			/* where the next decoded name goes */
	TexVclockList list;
	TexVclockProblem *problem;
} Reader;

typedef bool (*ReadElement) (Reader *r);

PG_FUNCTION_INFO_V1(tex_vclock_in);
PG_FUNCTION_INFO_V1(tex_vclock_out);
PG_FUNCTION_INFO_V1(tex_vclock_recv);
PG_FUNCTION_INFO_V1(tex_vclock_send);
PG_FUNCTION_INFO_V1(tex_jsonb_to_vclock);
PG_FUNCTION_INFO_V1(tex_vclock_to_jsonb);
PG_FUNCTION_INFO_V1(tex_vclock_to_json);

/* ------------------------------------------------- what both readers share */

/* Says why a count is none; false, for the caller to return. */
static bool
refuse_count(const TexVclockComponent *component, int sqlstate, const char *what,
			 const char *written, int len, TexVclockProblem *problem)
{
	problem->sqlstate = sqlstate;
	problem->message = psprintf("count of vector clock component \"%s\" is %s",
								tex_vclock_clip(component->name, component->len), what);
	problem->detail = psprintf("Found %s; a count is an integer from 0 to " INT64_FORMAT ", written in digits.",
							   tex_vclock_clip(written, len), PG_INT64_MAX);
	return false;
}

/* Read a count from text that need not be a number at all. */
static bool
parse_count(const char *written, int len, TexVclockComponent *component,
			TexVclockProblem *problem)
{
	bool		negative = len > 0 && written[0] == '-';
	const char *digits = negative ? written + 1 : written;
	int			n = negative ? len - 1 : len;
	int64		count = 0;

	if (n == 0 || (n > 1 && digits[0] == '0') ||
		strspn(digits, "0123456789") < (size_t) n)
		return refuse_count(component, ERRCODE_INVALID_TEXT_REPRESENTATION,
							"not an integer", written, len, problem);
	if (negative)
		return refuse_count(component, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							"negative", written, len, problem);
	for (int i = 0; i < n; i++)
		if (pg_mul_s64_overflow(count, 10, &count) ||
			pg_add_s64_overflow(count, digits[i] - '0', &count))
			return refuse_count(component, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
								"out of range", written, len, problem);
	component->count = count;
	return true;
}

/* Report a problem, softly where the caller asks for that. */
static Datum
refuse(Node *escontext, const TexVclockProblem *problem)
{
	tex_ereturn(escontext, (Datum) 0,
				(errcode(problem->sqlstate),
				 errmsg("%s", problem->message),
				 errdetail("%s", problem->detail)));
}

/* -------------------------------------------------------------------- text */

/* Fills in the problem of a text that is no clock; false, for the caller to return. */
static bool
syntax_error(Reader *r, const char *detail)
{
	r->problem->sqlstate = ERRCODE_INVALID_TEXT_REPRESENTATION;
	r->problem->message = "invalid input syntax for type vclock";
	r->problem->detail = detail;
	return false;
}

/* Refuse the text for what comes next in it. */
static bool
expected(Reader *r, const char *what)
{
	int			position = pg_mbstrlen_with_len(r->input, r->next - r->input) + 1;
	unsigned char c = *r->next;
	const char *found;

	if (c == '\0')
		found = "the end of the input";
	else if (c < ' ')
		found = psprintf("control character 0x%02X", c);
	else
		found = tex_vclock_clip(r->next, strlen(r->next));
	return syntax_error(r, psprintf("Expected %s at character %d, found: %s",
									what, position, found));
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

/* Read the four digits of a \u escape. */
static bool
read_hex4(Reader *r, pg_wchar *code)
{
	*code = 0;
	for (int i = 0; i < 4; i++, r->next++)
	{
		int			value = tex_hex_digit(*r->next);

		if (value < 0)
			return expected(r, "four hexadecimal digits after \\u");
		*code = *code * 16 + value;
	}
	return true;
}

/* Read a \u escape after its "u", two of them for a surrogate pair. */
static bool
read_unicode(Reader *r)
{
	unsigned char encoded[MAX_UNICODE_EQUIVALENT_STRING + 1];
	pg_wchar	code;
	pg_wchar	low;

	if (!read_hex4(r, &code))
		return false;
	if (code == 0)
		return syntax_error(r, "\\u0000 cannot be converted to text.");
	if (is_utf16_surrogate_second(code))
		return syntax_error(r, "A low surrogate must follow a high surrogate.");
	if (is_utf16_surrogate_first(code))
	{
		if (r->next[0] != '\\' || r->next[1] != 'u')
			return expected(r, "a low surrogate");
		r->next += 2;
		if (!read_hex4(r, &low))
			return false;
		if (!is_utf16_surrogate_second(low))
			return syntax_error(r, "A low surrogate must follow a high surrogate.");
		code = surrogate_pair_to_codepoint(code, low);
	}
	if (!tex_unicode_to_server(code, encoded))
		return syntax_error(r, "An escaped character does not exist in the encoding of the database.");
	/* No encoding of a server takes more bytes than the escape does. */
	memcpy(r->names, encoded, strlen((char *) encoded));
	r->names += strlen((char *) encoded);
	return true;
}

/* Read an escape after its backslash. */
static bool
read_escape(Reader *r)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	const char *letter;

	if (*r->next == 'u')
	{
		r->next++;
		return read_unicode(r);
	}
	letter = *r->next == '\0' ? NULL : strchr(letters, *r->next);
	if (letter == NULL)
		return expected(r, "one of \"\\/bfnrtu after a backslash");
	*r->names++ = meanings[letter - letters];
	r->next++;
	return true;
}

/* Reads a quoted name. It is decoded into the buffer of all names and not terminated. */
static bool
read_name(Reader *r, TexVclockComponent *component)
{
	if (!accept(r, '"'))
		return expected(r, "a component in double quotes");
	component->name = r->names;
	while (*r->next != '"')
	{
		/* Bytes of the encodings of servers above 0x7F are never ASCII. */
		if ((unsigned char) *r->next < ' ')
			return expected(r, "a closing double quote");
		if (*r->next != '\\')
			*r->names++ = *r->next++;
		else
		{
			r->next++;
			if (!read_escape(r))
				return false;
		}
	}
	r->next++;
	component->len = r->names - component->name;
	return true;
}

/* Reads a count: what stands up to the next delimiter, whatever it is, so a message shows it whole. */
static bool
read_count(Reader *r, TexVclockComponent *component)
{
	int			len;

	skip_space(r);
	len = strcspn(r->next, ",:\"[]{} \t\n\r");
	if (len == 0)
		return expected(r, "a count");
	if (!parse_count(r->next, len, component, r->problem))
		return false;
	r->next += len;
	return true;
}

/* Read "component": n */
static bool
read_member(Reader *r)
{
	TexVclockComponent component;

	if (!read_name(r, &component))
		return false;
	if (!accept(r, ':'))
		return expected(r, "\":\"");
	return read_count(r, &component) &&
		tex_vclock_append(&r->list, &component, r->problem);
}

/* Read ["component", n] */
static bool
read_pair(Reader *r)
{
	TexVclockComponent component;

	if (!accept(r, '['))
		return expected(r, "\"[\"");
	if (!read_name(r, &component))
		return false;
	if (!accept(r, ','))
		return expected(r, "\",\"");
	if (!read_count(r, &component))
		return false;
	if (!accept(r, ']'))
		return expected(r, "\"]\"");
	return tex_vclock_append(&r->list, &component, r->problem);
}

/* Read elements up to the closing bracket, after the opening one. */
static bool
read_elements(Reader *r, char close, ReadElement read_element)
{
	if (accept(r, close))
		return true;
	do
	{
		if (!read_element(r))
			return false;
	} while (accept(r, ','));
	if (!accept(r, close))
		return expected(r, close == '}' ? "\",\" or \"}\"" : "\",\" or \"]\"");
	return true;
}

/* Reads a text as a whole, in either shape; white space may stand around it. */
static bool
read_text(Reader *r)
{
	bool		read;

	if (accept(r, '{'))
		read = read_elements(r, '}', read_member);
	else if (accept(r, '['))
		read = read_elements(r, ']', read_pair);
	else
		return expected(r, "\"{\" or \"[\"");
	if (!read)
		return false;
	skip_space(r);
	return *r->next == '\0' || expected(r, "the end of the input");
}

/*
 * Input function. Where the caller has given a context for soft errors (16 and later), an invalid
 * text is reported there and nothing is thrown.
 */
Datum
tex_vclock_in(PG_FUNCTION_ARGS)
{
	char	   *input = PG_GETARG_CSTRING(0);
	TexVclockProblem problem;
	Reader		r = {.input = input,.next = input,.problem = &problem};
	TexVclock  *clock = NULL;
	char	   *names;

	/* One buffer for all names: decoded they are no longer than written. */
	r.names = names = palloc(strlen(input) + MAX_UNICODE_EQUIVALENT_STRING + 1);
	if (read_text(&r))
		clock = tex_vclock_build_checked(r.list.items, r.list.n, &problem);
	pfree(names);
	if (clock == NULL)
		return refuse(fcinfo->context, &problem);
	PG_RETURN_POINTER(clock);
}

/* The text form, {"component": n, ...}, sorted by the bytes of the components; NUL-terminated. */
static char *
clock_to_text(const TexVclock *clock)
{
	StringInfoData out;
	TexVclockIter iter;
	TexVclockComponent component;
	char		name[TEX_VCLOCK_MAX_NAME + 1];

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	tex_vclock_iterate(&iter, clock);
	while (tex_vclock_next(&iter, &component))
	{
		if (out.len > 1)
			appendStringInfoString(&out, ", ");
		memcpy(name, component.name, component.len);
		name[component.len] = '\0';
		escape_json(&out, name);
		appendStringInfo(&out, ": " INT64_FORMAT, component.count);
	}
	appendStringInfoChar(&out, '}');
	return out.data;
}

/* Output function; what it writes tex_vclock_in() reads as the same clock. */
Datum
tex_vclock_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(clock_to_text(PG_GETARG_TEX_VCLOCK_P(0)));
}

/* ------------------------------------------------------------------- jsonb */

/* Fills in the problem of a jsonb value that is no clock; false, for the caller to return. */
static bool
refuse_jsonb(TexVclockProblem *problem, const char *message)
{
	problem->sqlstate = ERRCODE_INVALID_PARAMETER_VALUE;
	problem->message = message;
	problem->detail = "A vector clock is {\"component\": count, ...} or [[\"component\", count], ...].";
	return false;
}

/* Appends a component with a number for its count; of any other type it is refused, by its name. */
static bool
append_jsonb(TexVclockList *list, const JsonbValue *name, JsonbValue *count,
			 TexVclockProblem *problem)
{
	TexVclockComponent component;
	char	   *written;

	/* Points into the jsonb value: no need for a copy. */
	component.name = name->val.string.val;
	component.len = name->val.string.len;
	if (count->type != jbvNumeric)
	{
		const char *type = JsonbTypeName(count);

		return refuse_count(&component, ERRCODE_INVALID_TEXT_REPRESENTATION,
							"not an integer", type, strlen(type), problem);
	}
	written = DatumGetCString(DirectFunctionCall1(numeric_out,
												  NumericGetDatum(count->val.numeric)));
	return parse_count(written, strlen(written), &component, problem) &&
		tex_vclock_append(list, &component, problem);
}

/* Read an element of the array: a pair, or it is refused by its number. */
static bool
append_jsonb_pair(TexVclockList *list, const JsonbValue *element,
				  TexVclockProblem *problem)
{
	JsonbContainer *pair = NULL;
	JsonbValue *name = NULL;

	if (element->type == jbvBinary)
		pair = element->val.binary.data;
	if (pair != NULL && JsonContainerIsArray(pair) && JsonContainerSize(pair) == 2)
		name = getIthJsonbValueFromContainer(pair, 0);
	if (name == NULL || name->type != jbvString)
		return refuse_jsonb(problem,
							psprintf("element %d of the vector clock is not a pair of component and count",
									 list->n + 1));
	return append_jsonb(list, name, getIthJsonbValueFromContainer(pair, 1), problem);
}

/* The clock of an object or array; NULL, and the problem filled, if it is none. */
static TexVclock *
build_from_container(JsonbContainer *container, TexVclockProblem *problem)
{
	TexVclockList list = {0};
	JsonbIterator *iter;
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue	name = {0};

	if (JsonContainerIsScalar(container))
	{
		refuse_jsonb(problem, "vector clock is neither an object nor an array");
		return NULL;
	}

	iter = JsonbIteratorInit(container);
	/* The first token opens the object or array itself. */
	JsonbIteratorNext(&iter, &value, false);
	while ((token = JsonbIteratorNext(&iter, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = value;
		else if (token == WJB_VALUE &&
				 !append_jsonb(&list, &name, &value, problem))
			return NULL;
		else if (token == WJB_ELEM &&
				 !append_jsonb_pair(&list, &value, problem))
			return NULL;
	}
	return tex_vclock_build_checked(list.items, list.n, problem);
}

/*
 * The clock that an object or array inside a jsonb value writes, in the current memory context;
 * or NULL and, in *reason, a phrase that names the problem. Never throws, save for want of memory:
 * ingest refuses one event by it and goes on.
 */
TexVclock *
tex_vclock_from_container(JsonbContainer *container, const char **reason)
{
	TexVclockProblem problem;
	TexVclock  *clock = build_from_container(container, &problem);

	if (clock == NULL)
		*reason = problem.message;
	return clock;
}

/* The cast from jsonb. */
Datum
tex_jsonb_to_vclock(PG_FUNCTION_ARGS)
{
	TexVclockProblem problem;
	TexVclock  *clock = build_from_container(&PG_GETARG_JSONB_P(0)->root, &problem);

	if (clock == NULL)
		return refuse(fcinfo->context, &problem);
	PG_RETURN_POINTER(clock);
}

/* The cast to jsonb: of the text form, whose keys jsonb sorts its own way. */
Datum
tex_vclock_to_jsonb(PG_FUNCTION_ARGS)
{
	char	   *out = clock_to_text(PG_GETARG_TEX_VCLOCK_P(0));

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out));
}

/* The cast to json: the text form is JSON as it stands. */
Datum
tex_vclock_to_json(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(clock_to_text(PG_GETARG_TEX_VCLOCK_P(0))));
}

/* ------------------------------------------------------------------ binary */

/*
 * Receive function. Reads no more than the limit of components, whatever number the client says;
 * names are sorted anew, since the client's encoding may sort them another way.
 */
Datum
tex_vclock_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	TexVclockProblem problem;
	TexVclockList list = {0};
	TexVclock  *clock = NULL;
	int			version = pq_getmsgbyte(message);
	int			n;

	if (version != BINARY_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported version %d of binary format of type %s",
						version, "vclock"),
				 errdetail("This server reads version %d.", BINARY_VERSION)));
	n = (int) pq_getmsgint(message, 4);
	if (n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid number of components in binary value of type %s: %d",
						"vclock", n)));

	for (int i = 0; i < n; i++)
	{
		TexVclockComponent component;
		int			sent = (int) pq_getmsgint(message, 4);

		component.name = pq_getmsgtext(message, sent, &component.len);
		component.count = pq_getmsgint64(message);
		if (!tex_vclock_append(&list, &component, &problem))
			return refuse(fcinfo->context, &problem);
	}
	clock = tex_vclock_build_checked(list.items, list.n, &problem);
	if (clock == NULL)
		return refuse(fcinfo->context, &problem);
	PG_RETURN_POINTER(clock);
}

/* Send function; names go out in the client's encoding, sorted as they are stored. */
Datum
tex_vclock_send(PG_FUNCTION_ARGS)
{
	TexVclock  *clock = PG_GETARG_TEX_VCLOCK_P(0);
	TexVclockIter iter;
	TexVclockComponent component;
	StringInfoData message;
	int			n = 0;

	/* The number comes first, and is not stored. */
	tex_vclock_iterate(&iter, clock);
	while (tex_vclock_next(&iter, &component))
		n++;

	pq_begintypsend(&message);
	pq_sendint8(&message, BINARY_VERSION);
	pq_sendint32(&message, n);
	tex_vclock_iterate(&iter, clock);
	while (tex_vclock_next(&iter, &component))
	{
		char	   *name = pg_server_to_client(component.name, component.len);
		int			len = name == component.name ? component.len : (int) strlen(name);

		pq_sendint32(&message, len);
		pq_sendbytes(&message, name, len);
		pq_sendint64(&message, component.count);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}
