/*
 * fuzz.c
 *		Sends damaged and random bodies to what reads them: the readers of OpenTelemetry's two
 *		encodings, gunzip, the scanner of event JSON, and redaction of spans and log records.
 *
 * Of bodies of OpenTelemetry, one in four is read in steps as well, as the receiver does: the
 * steps must have the records that are read at once, each once and in their order, and what is an
 * error at once must be one at the first step.  One in four is read with redaction rules.
 *
 * fuzz [-w] SEED FIRST COUNT FILE...: inputs FIRST to FIRST + COUNT - 1 of a seed, each made of one or two
 * of the files; the same arguments give the same inputs.  With -w they are not read but
 * written, for who sends them to a server (post.py): for each its length in four bytes, the lowest first,
 * "p" for protobuf, "j" for JSON or "e" for event JSON, and the bytes.  It is built with AddressSanitizer and
 * UndefinedBehaviorSanitizer, without a server: what the readers need of one is below.  Each palloc()
 * is a malloc() of its own here, so that a byte beside it is seen, and so is one that is used after its
 * context was reset.
 */
#include "postgres.h"

#include <sanitizer/asan_interface.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <time.h>
#include <zlib.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "guc.h"
#include "ingest/batch.h"
#include "ingest/gunzip.h"
#include "ingest/json_scan.h"
#include "ingest/otlp.h"
#include "ingest/otlp_attributes.h"
#include "ingest/otlp_json.h"
#include "ingest/otlp_known.h"
#include "ingest/otlp_wire.h"
/* For the reader of a rule, which the server calls with rows of a table only. */
#include "ingest/redaction_rules.c"

#define LONGEST (256 * 1024)

/* ----------------------------------------------------------------
 *		What a server would be
 * ----------------------------------------------------------------
 */
typedef struct Chunk
{
	struct Chunk *next;
	struct Chunk *before;
	struct Context *context;
	Size		size;
} Chunk;

typedef struct Context
{
	Chunk		chunks;			/* a ring, of which this is no member */
	struct Context *next;
} Context;

static Context base;
MemoryContext CurrentMemoryContext = (MemoryContext) &base;
MemoryContext TopMemoryContext = (MemoryContext) &base;
volatile sig_atomic_t InterruptPending = false;
int			tex_max_field_size = 64 * 1024;
int			tex_max_nesting = 100;
char	   *tex_redaction_key = "";
TexBatchLimits tex_batch_limits;

static jmp_buf thrown;

static void
open_chunk(Chunk *chunk)
{
	ASAN_UNPOISON_MEMORY_REGION(chunk, sizeof(Chunk));
}

static void
close_chunk(Chunk *chunk)
{
	ASAN_POISON_MEMORY_REGION(chunk, sizeof(Chunk));
}

static void *
allocate(Context *context, Size size)
{
	Chunk	   *chunk = malloc(sizeof(Chunk) + size);
	Chunk	   *ring = &context->chunks;

	if (chunk == NULL)
		abort();
	chunk->context = context;
	chunk->size = size;
	chunk->before = ring;
	chunk->next = ring->next;
	if (ring->next != ring)
		open_chunk(ring->next);
	ring->next->before = chunk;
	if (chunk->next != ring)
		close_chunk(chunk->next);
	ring->next = chunk;
	close_chunk(chunk);
	/* What is not set is to be seen. */
	memset(chunk + 1, 0xA5, size);
	return chunk + 1;
}

static void
unlink_chunk(Chunk *chunk)
{
	Chunk	   *ring = &chunk->context->chunks;

	if (chunk->next != ring)
		open_chunk(chunk->next);
	if (chunk->before != ring)
		open_chunk(chunk->before);
	chunk->next->before = chunk->before;
	chunk->before->next = chunk->next;
	if (chunk->next != ring)
		close_chunk(chunk->next);
	if (chunk->before != ring)
		close_chunk(chunk->before);
}

static void
reset(Context *context)
{
	Chunk	   *next;

	for (Chunk *chunk = context->chunks.next; chunk != &context->chunks; chunk = next)
	{
		open_chunk(chunk);
		next = chunk->next;
		free(chunk);
	}
	context->chunks.next = context->chunks.before = &context->chunks;
}

void *
palloc(Size size)
{
	if (size > MaxAllocSize)
		elog(ERROR, "invalid memory alloc request size");
	return allocate((Context *) CurrentMemoryContext, size);
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void *
palloc_extended(Size size, int flags)
{
	return palloc(size);
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	return allocate((Context *) context, size);
}

void
pfree(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	open_chunk(chunk);
	unlink_chunk(chunk);
	free(chunk);
}

void *
repalloc_huge(void *pointer, Size size)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;
	Size		old;
	void	   *made;

	open_chunk(chunk);
	old = chunk->size;
	made = allocate(chunk->context, size);
	close_chunk(chunk);
	memcpy(made, pointer, Min(old, size));
	pfree(pointer);
	return made;
}

void *
repalloc(void *pointer, Size size)
{
	if (size > MaxAllocSize)
		elog(ERROR, "invalid memory alloc request size");
	return repalloc_huge(pointer, size);
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size min, Size init, Size max)
{
	Context    *context = malloc(sizeof(Context));

	context->chunks.next = context->chunks.before = &context->chunks;
	context->next = base.next;
	base.next = context;
	return (MemoryContext) context;
}

void
MemoryContextReset(MemoryContext context)
{
	reset((Context *) context);
}

char *
pnstrdup(const char *text, Size len)
{
	char	   *copy = palloc(len + 1);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *
pstrdup(const char *text)
{
	return pnstrdup(text, strlen(text));
}

char *
psprintf(const char *format, ...)
{
	char		buffer[8192];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(buffer, sizeof(buffer), format, arguments);
	va_end(arguments);
	return pstrdup(buffer);
}

void
initStringInfo(StringInfo string)
{
	string->data = palloc(16);
	string->maxlen = 16;
	string->len = string->cursor = 0;
	string->data[0] = '\0';
}

#if PG_VERSION_NUM >= 160000
void
appendBinaryStringInfo(StringInfo string, const void *data, int len)
#else
void
appendBinaryStringInfo(StringInfo string, const char *data, int len)
#endif
{
	while (string->len + len >= string->maxlen)
		string->data = repalloc(string->data, string->maxlen *= 2);
	memcpy(string->data + string->len, data, len);
	string->len += len;
	string->data[string->len] = '\0';
}

void
appendStringInfoString(StringInfo string, const char *text)
{
	appendBinaryStringInfo(string, text, strlen(text));
}

void
appendStringInfoChar(StringInfo string, char c)
{
	appendBinaryStringInfo(string, &c, 1);
}

void
appendStringInfo(StringInfo string, const char *format, ...)
{
	char		buffer[8192];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(buffer, sizeof(buffer), format, arguments);
	va_end(arguments);
	appendStringInfoString(string, buffer);
}

/* An error ends the input. */
bool
errstart(int level, const char *domain)
{
	return level >= ERROR;
}

void
check_stack_depth(void)
{
}

bool
errstart_cold(int level, const char *domain)
{
	return level >= ERROR;
}

void
errfinish(const char *file, int line, const char *function)
{
	longjmp(thrown, 1);
}

int
errcode(int code)
{
	return 0;
}

int
errmsg(const char *format, ...)
{
	return 0;
}

int
errmsg_internal(const char *format, ...)
{
	return 0;
}

int
errdetail(const char *format, ...)
{
	return 0;
}

int
errhint(const char *format, ...)
{
	return 0;
}

void
ProcessInterrupts(void)
{
}

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

int
pg_mbcliplen(const char *text, int len, int limit)
{
	int			clipped = 0;

	while (clipped < len && clipped + pg_utf_mblen((const unsigned char *) text + clipped) <= Min(len, limit))
		clipped += pg_utf_mblen((const unsigned char *) text + clipped);
	return clipped;
}

void
pg_unicode_to_server(pg_wchar code, unsigned char *to)
{
	unicode_to_utf8(code, to);
	to[pg_utf_mblen(to)] = '\0';
}

#if PG_VERSION_NUM >= 160000
bool
pg_unicode_to_server_noerror(pg_wchar code, unsigned char *to)
{
	pg_unicode_to_server(code, to);
	return true;
}
#else
/* Of other encodings than UTF-8. */
Oid
FindDefaultConversionProc(int32 from, int32 to)
{
	abort();
}

int
pg_do_encoding_conversion_buf(Oid conversion, int from, int to, unsigned char *source, int len,
							  unsigned char *target, int room, bool no_error)
{
	abort();
}
#endif

/* The scanner's jsonb: each value is looked at, and the containers are balanced. */
static volatile uint64 seen;
static int	depth;

static void
look(const void *data, Size len)
{
	const uint8 *p = data;
	uint64		sum = 0;

	for (Size i = 0; i < len; i++)
		sum += p[i];
	seen += sum;
}

static JsonbValue pushed = {.type = jbvBinary};

JsonbValue *
pushJsonbValue(JsonbParseState **state, JsonbIteratorToken token, JsonbValue *value)
{
	if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
		depth++;
	else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
	{
		if (--depth < 0)
			abort();
	}
	else if (value->type == jbvString)
	{
		look(value->val.string.val, value->val.string.len);
		if (pg_encoding_verifymbstr(PG_UTF8, value->val.string.val, value->val.string.len) != value->val.string.len)
			abort();
	}
	return &pushed;
}

Jsonb *
JsonbValueToJsonb(JsonbValue *value)
{
	if (depth != 0)
		abort();
	return palloc0(sizeof(Jsonb));
}

JsonbIterator *
JsonbIteratorInit(JsonbContainer *container)
{
	abort();
}

JsonbIteratorToken
JsonbIteratorNext(JsonbIterator **iterator, JsonbValue *value, bool skip)
{
	abort();
}

Datum
numeric_in(PG_FUNCTION_ARGS)
{
	abort();
}

Datum
numeric_out(PG_FUNCTION_ARGS)
{
	abort();
}

Datum
DirectFunctionCall3Coll(PGFunction function, Oid collation, Datum a, Datum b, Datum c)
{
	look(DatumGetCString(a), strlen(DatumGetCString(a)));
	return CStringGetDatum(palloc0(16));
}

Datum
DirectFunctionCall1Coll(PGFunction function, Oid collation, Datum a)
{
	return CStringGetDatum("1");
}

bool
tex_is_access_type(const char *text, int len)
{
	return len == 4 && memcmp(text, "Read", 4) == 0;
}

/* A number as jsonb would have it: what is around it has a fixed length. */
char *
JsonbToCString(StringInfo out, JsonbContainer *in, int len)
{
	return pstrdup("{\"x\": 4111111111111111}");
}

void
tex_object_begin(TexObject *object)
{
}

void
tex_object_value(TexObject *object, const char *key, const TexOtlpValue *value)
{
}

Jsonb *
tex_object_end(TexObject *object)
{
	return palloc0(sizeof(Jsonb));
}

/* JSON text within a value: redacted as a string, or dropped. */
JsonbValue *
tex_redact_json(TexRedaction *redaction, JsonbValue *value)
{
	const char *text = "4111 1111 1111 1111";
	int			len = strlen(text);

	depth = 0;					/* which a text that was none may have left */
	return tex_redact_text(redaction, &text, &len) == TEX_DROPPED ? NULL : value;
}

/* ----------------------------------------------------------------
 *		What redaction takes from a server
 * ----------------------------------------------------------------
 */
int
pg_mb2wchar_with_len(const char *from, pg_wchar *to, int len)
{
	return pg_wchar_table[PG_UTF8].mb2wchar_with_len((const unsigned char *) from, to, len);
}

int
pg_wchar2mb_with_len(const pg_wchar *from, char *to, int len)
{
	return pg_wchar_table[PG_UTF8].wchar2mb_with_len(from, (unsigned char *) to, len);
}

int
pg_mbcharcliplen(const char *text, int len, int limit)
{
	int			clipped = 0;

	while (clipped < len && limit-- > 0)
		clipped += pg_utf_mblen((const unsigned char *) text + clipped);
	return Min(clipped, len);
}

bool
pg_verify_mbstr(int encoding, const char *text, int len, bool no_error)
{
	return pg_encoding_verifymbstr(encoding, text, len) == len;
}

int
pg_regcomp(regex_t *regex, const pg_wchar *pattern, size_t len, int flags, Oid collation)
{
	return REG_OKAY;
}

/* Finds the next number, of at least four digits. */
int
pg_regexec(regex_t *regex, const pg_wchar *text, size_t len, size_t from, rm_detail_t *detail,
		   size_t count, regmatch_t match[], int flags)
{
	for (size_t end; from < len; from = end + 1)
	{
		end = from;
		while (end < len && text[end] >= '0' && text[end] <= '9')
			end++;
		if (end - from < 4)
			continue;
		match[0].rm_so = from;
		match[0].rm_eo = end;
		return REG_OKAY;
	}
	return REG_NOMATCH;
}

pg_cryptohash_ctx *
pg_cryptohash_create(pg_cryptohash_type type)
{
	return palloc(1);
}

int
pg_cryptohash_init(pg_cryptohash_ctx *ctx)
{
	return 0;
}

int
pg_cryptohash_update(pg_cryptohash_ctx *ctx, const uint8 *data, size_t len)
{
	look(data, len);
	return 0;
}

int
pg_cryptohash_final(pg_cryptohash_ctx *ctx, uint8 *digest, size_t len)
{
	memset(digest, 0xA5, len);
	return 0;
}

void
pg_cryptohash_free(pg_cryptohash_ctx *ctx)
{
	pfree(ctx);
}

pg_hmac_ctx *
pg_hmac_create(pg_cryptohash_type type)
{
	abort();
}

int
pg_hmac_init(pg_hmac_ctx *ctx, const uint8 *key, size_t len)
{
	abort();
}

int
pg_hmac_update(pg_hmac_ctx *ctx, const uint8 *data, size_t len)
{
	abort();
}

int
pg_hmac_final(pg_hmac_ctx *ctx, uint8 *digest, size_t len)
{
	abort();
}

void
pg_hmac_free(pg_hmac_ctx *ctx)
{
	abort();
}

struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}

/* ----------------------------------------------------------------
 *		What takes what was read
 * ----------------------------------------------------------------
 */
static uint64 records;
static uint64 refused;
static TexRedaction *redaction;	/* NULL: of this input nothing is redacted */

/* The records of a body as they were read: what each was, of which resource and scope. */
typedef struct Reading
{
	uint64	   *hashes;
	int			count;
	int			room;
	uint64		resource;
	uint64		scope;
	int64		position;		/* records that were read or passed over */
	int64		begin;			/* of those, the ones that this step has */
	int64		end;
} Reading;

static Reading *reading;		/* NULL: nobody compares it */

/* FNV-1a (Fowler, Noll, Vo) */
static uint64
hash_of(uint64 hash, const void *data, int len)
{
	for (int i = 0; i < len; i++)
		hash = (hash ^ ((const uint8 *) data)[i]) * UINT64CONST(0x100000001B3);
	return hash;
}

static uint64
hash_of_list(uint64 hash, const TexOtlpList *list)
{
	for (const TexOtlpValue *v = list->first; v != NULL; v = v->next)
	{
		hash = hash_of(hash, v->key.data, v->key.len);
		if (v->type == TEX_OTLP_STRING)
			hash = hash_of(hash, v->string.data, v->string.len);
	}
	return hash;
}

/* Notes a record that was read. */
static void
note_record(const TexOtlpReader *reader)
{
	const TexOtlpRecord *record = &reader->record;
	uint64		hash = hash_of(1, reader->sent.data, reader->sent.len);

	reading->position++;
	/* Of those that were refused, the one before is still there. */
	if (reader->resource_reason == NULL)
		hash = hash * 31 + reading->resource;
	if (reader->scope_reason == NULL)
		hash = hash * 31 + reading->scope;
	if (reader->reason != NULL)
		hash = hash_of(hash, reader->reason, strlen(reader->reason));
	else
	{
		hash = hash_of(hash, record->trace_id, TEX_TRACE_ID_LEN);
		hash = hash_of(hash, record->span_id, TEX_SPAN_ID_LEN);
		hash = hash_of_list(hash, &record->attributes);
	}
	if (reading->count == reading->room)
	{
		reading->room = Max(64, 2 * reading->room);
		reading->hashes = realloc(reading->hashes, sizeof(uint64) * reading->room);
	}
	reading->hashes[reading->count++] = hash;
}

/* Are the next records all those of other steps?  As tex_batch_pass_over() has it. */
static bool
pass_over(TexOtlpReader *reader, int64 count)
{
	if (reading->position + count > reading->begin && reading->position < reading->end)
		return false;
	reading->position += count;
	return true;
}

static void
look_at_string(TexOtlpString string)
{
	look(string.data, string.len);
	if (pg_encoding_verifymbstr(PG_UTF8, string.data, string.len) != string.len)
		abort();
}

static void
look_at_value(const TexOtlpValue *value, int level)
{
	if (level > TEX_OTLP_DEPTH + 1)
		abort();
	look_at_string(value->key);
	switch (value->type)
	{
		case TEX_OTLP_STRING:
			look_at_string(value->string);
			break;
		case TEX_OTLP_BYTES:
			look(value->string.data, value->string.len);
			break;
		case TEX_OTLP_ARRAY:
		case TEX_OTLP_KVLIST:
			for (const TexOtlpValue *v = value->list.first; v != NULL; v = v->next)
				look_at_value(v, level + 1);
			break;
		case TEX_OTLP_BOOL:
			seen += value->boolean;
			break;
		default:
			break;
	}
}

static void
look_at_list(const TexOtlpList *list)
{
	for (const TexOtlpValue *v = list->first; v != NULL; v = v->next)
		look_at_value(v, 0);
}

static void
take_resource(TexOtlpReader *reader)
{
	if (reading != NULL)
		reading->resource = hash_of_list(1, &reader->resource.attributes);
	if (redaction != NULL)
	{
		tex_redaction_begin(redaction, "bank", strlen("bank"));
		tex_redact_resource(redaction, &reader->resource);
	}
	look_at_list(&reader->resource.attributes);
	look(reader->resource.schema_url.data, reader->resource.schema_url.len);
}

static void
take_scope(TexOtlpReader *reader)
{
	if (reading != NULL)
		reading->scope = hash_of(hash_of_list(1, &reader->scope.attributes), reader->scope.name.data, reader->scope.name.len);
	if (redaction != NULL)
	{
		tex_redaction_begin(redaction, "bank", strlen("bank"));
		tex_redact_scope(redaction, &reader->scope);
	}
	look(reader->scope.name.data, reader->scope.name.len);
	look(reader->scope.version.data, reader->scope.version.len);
	look_at_list(&reader->scope.attributes);
}

static void
take_record(TexOtlpReader *reader)
{
	TexOtlpRecord *record = &reader->record;

	records++;
	look(reader->sent.data, reader->sent.len);
	if (reading != NULL)
		note_record(reader);
	if (reader->reason != NULL)
	{
		refused++;
		look(reader->reason, strlen(reader->reason));
		if (redaction != NULL)
		{
			char	   *reason = tex_redact_loose(redaction, reader->reason);

			look(reason, strlen(reason));
		}
		return;
	}
	if (redaction != NULL)
	{
		tex_redaction_begin(redaction, "bank", strlen("bank"));
		tex_redact_record(redaction, record);
	}
	look_at_string(record->name.data == NULL ? (TexOtlpString) {"", 0} : record->name);
	look_at_list(&record->attributes);
	for (int i = 0; i < record->event_count; i++)
		look_at_list(&record->events[i].attributes);
	for (int i = 0; i < record->link_count; i++)
		look_at_list(&record->links[i].attributes);
	look(record->status_message.data, record->status_message.len);
	if (record->body != NULL)
		look_at_value(record->body, 0);
}

/* ----------------------------------------------------------------
 *		Inputs
 * ----------------------------------------------------------------
 */
typedef struct Sample
{
	char	   *data;
	int			len;
	bool		is_events;
	bool		is_json;
} Sample;

static Sample *files;
static int	file_count;
static uint64 state;
static char input[LONGEST + 4096];
static int	input_len;
static uint64 seed;
static uint64 number;

/* What an input is read as. */
typedef enum Target
{
	GUNZIP, EVENTS, JSON, WIRE, TARGETS
} Target;

static const char *const target_names[TARGETS] = {"gzip", "event JSON", "JSON", "protobuf"};
static Target target;
static uint64 inputs[TARGETS];
static uint64 in_steps;
static uint64 redacted;

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64
next_random(void)
{
	uint64		z = state += UINT64CONST(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64CONST(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static int
below(int n)
{
	return n <= 0 ? 0 : next_random() % n;
}

static bool keeps_length;		/* else most bodies of protobuf have a broken frame */

/* Puts some bytes in the place of others. */
static void
splice(int at, int len, const char *data, int data_len)
{
	if (keeps_length)
	{
		if (data_len > input_len - at)
			return;
		len = data_len;
	}
	len = Min(len, input_len - at);
	if (input_len - len + data_len > LONGEST)
		return;
	memmove(input + at + data_len, input + at + len, input_len - at - len);
	memcpy(input + at, data, data_len);
	input_len += data_len - len;
}

/* Changes the input at one place. */
static void
mutate(void)
{
	static const char *const words[] = {
		"{", "}", "[", "]", "\"", "\\", ",", ":", "null", "\\u0000", "\\ud800", "\\udc00", "\\u12", "1e999", "-0", "18446744073709551616", "{\"arrayValue\":{\"values\":[",
		"{\"kvlistValue\":{\"values\":[{\"key\":\"a\",\"value\":", "\"stringValue\":", "\"intValue\":\"", "\"bytesValue\":\"A=", "\"events\":[", "\"spans\":[", "\xC3", "\xF4\x90\x80\x80", "\xED\xA0\x80", "\xEF\xBF\xBD",
		"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", "\x2A\x04\x0A\x02\x2A\x00", "\x5A\xFF\xFF\xFF\xFF\x0F", "\x1F\x8B\x08"
	};
	int			at = below(input_len + 1);
	int			len = below(1 + below(64));
	char		bytes[64];
	const Sample *other;
	const char *word;

	switch (below(9))
	{
		case 0:
			if (at < input_len)
				input[at] ^= 1 << below(8);
			break;
		case 1:
			if (at < input_len)
				input[at] = "\0\1\x7F\x80\xFF\"\\{}[]"[below(12)];
			break;
		case 2:
			splice(at, len, "", 0);
			break;
		case 3:
			len = Min(len, input_len - at);
			memcpy(bytes, input + at, len);
			splice(below(input_len + 1), 0, bytes, len);
			break;
		case 4:
			word = words[below(lengthof(words))];
			splice(at, below(2) * below(4), word, strlen(word));
			break;
		case 5:
			other = &files[below(file_count)];
			len = below(Min(other->len, 512) + 1);
			splice(at, below(64), other->data + below(other->len - len + 1), len);
			break;
		case 6:
			for (int i = 0; i < len; i++)
				bytes[i] = (char) next_random();
			splice(at, len, bytes, len);
			break;
		case 7:
			if (below(8) == 0 && !keeps_length)
				input_len = at;
			break;
		case 8:
			/* The same deep within itself. */
			word = words[16 + below(2)];
			for (int i = below(120); i > 0; i--)
				splice(at, 0, word, strlen(word));
			break;
	}
}

/* Packs the input, so that what is in it is damaged and not the packing. */
static void
pack(void)
{
	static char packed[LONGEST + 4096];
	z_stream	stream = {0};

	if (deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	stream.next_in = (Bytef *) input;
	stream.avail_in = input_len;
	stream.next_out = (Bytef *) packed;
	stream.avail_out = sizeof(packed);
	if (deflate(&stream, Z_FINISH) == Z_STREAM_END)
	{
		input_len = stream.total_out;
		memcpy(input, packed, input_len);
	}
	deflateEnd(&stream);
}

/* Makes an input by its number; returns the file that it is made of, NULL where it is all random. */
static const Sample *
make_input(void)
{
	bool		events = below(25) == 0;
	const Sample *file = &files[below(file_count)];

	/* Long ones take long, and are not worth more; of event JSON there are few. */
	while (events ? !file->is_events : file->len > 8192 && below(10) != 0)
		file = &files[below(file_count)];
	if (below(50) == 0)
	{
		input_len = below(1 + below(400));
		for (int i = 0; i < input_len; i++)
			input[i] = (char) next_random();
		return NULL;
	}
	keeps_length = below(2) == 0;
	input_len = Min(file->len, LONGEST);
	memcpy(input, file->data, input_len);
	for (int i = 1 + below(1 + below(1 + below(6))); i > 0; i--)
		mutate();
	if (below(20) == 0)
	{
		pack();
		for (int i = below(3); i > 0; i--)
			mutate();
	}
	return file;
}

static void
read_events(const char *data, int len)
{
	TexBatchText batch;
	const char *event;
	int			event_len;

	tex_batch_open(&batch, data, len);
	while (tex_batch_next(&batch, &event, &event_len))
	{
		TexScannedEvent scanned;

		depth = 0;
		tex_scan_event(event, event_len, &scanned);
		records++;
		if (scanned.event == NULL)
		{
			refused++;
			look(scanned.reason, strlen(scanned.reason));
		}
	}
}

typedef void (*ReadRequest) (TexOtlpReader *reader, const char *body, int len);

static void
read_request(const char *data, int len, ReadRequest read)
{
	TexOtlpReader *reader = tex_otlp_reader();

	reader->take_resource = take_resource;
	reader->take_scope = take_scope;
	reader->take_record = take_record;
	if (reading != NULL && reading->end > 0)
		reader->pass_over = pass_over;
	read(reader, data, len);
}

/* Reads a body to compare it with another reading; false where that is an error. */
static pg_noinline bool
reads(const char *data, int len, ReadRequest read, Reading *into)
{
	jmp_buf		outer;
	volatile bool was_read = false;

	memcpy(outer, thrown, sizeof(jmp_buf));
	reading = into;
	into->position = 0;
	if (setjmp(thrown) == 0)
	{
		read_request(data, len, read);
		was_read = true;
	}
	reading = NULL;
	CurrentMemoryContext = (MemoryContext) &base;
	memcpy(thrown, outer, sizeof(jmp_buf));
	return was_read;
}

/* Reads a body in steps, which must have what it has at once. */
static void
read_in_steps(const char *data, int len, ReadRequest read)
{
	static Reading at_once;
	static Reading steps;
	volatile int64 total;
	bool		sound;

	at_once.count = steps.count = 0;
	at_once.end = 0;
	sound = reads(data, len, read, &at_once);
	total = at_once.position;
	steps.begin = 0;
	do
	{
		steps.end = steps.begin + 1 + below(total);
		if (reads(data, len, read, &steps) != sound)
			abort();
		steps.begin = steps.end;
	} while (sound && steps.end < total);
	in_steps++;
	if (!sound)
		longjmp(thrown, 1);
	if (steps.position != total || steps.count != total || memcmp(steps.hashes, at_once.hashes, sizeof(uint64) * total) != 0)
		abort();
}

/* Some of the rules, for one input. */
static TexRedaction *
draw_rules(void)
{
	static const char *const rules[][3] = {
		{"**", "mask", "4"}, {"**", "drop", "4"}, {"**", "hash", "4"}, {"**", "truncate", "4"},
		{"attributes.http.url|http.target", "drop", NULL}, {"attributes.**.a*", "hash", NULL}, {"events.attributes.exception.*", "mask", NULL},
		{"events", "drop", NULL}, {"links.*", "truncate", NULL}, {"resource.attributes.**", "drop", NULL}, {"body.**", "mask", NULL},
		{"**.*e*r*", "drop", NULL}, {"name", "truncate", NULL}, {"**.trace_ext.**", "hash", NULL}
	};
	static Context forever;
	static TexRule *read[lengthof(rules)];
	TexRedaction *drawn;

	if (read[0] == NULL)
	{
		forever.chunks.next = forever.chunks.before = &forever.chunks;
		CurrentMemoryContext = (MemoryContext) &forever;
		for (Size i = 0; i < lengthof(rules); i++)
		{
			read[i] = palloc0(sizeof(TexRule));
			if (read_rule(read[i], rules[i][0], rules[i][1], rules[i][2]) != NULL)
				abort();
			read[i]->luhn = i == 0;
			read[i]->required = '\0';
			read[i]->keep = i % 5;
			read[i]->service = i % 3 == 0 ? "bank" : NULL;
		}
		CurrentMemoryContext = (MemoryContext) &base;
	}
	drawn = palloc0(sizeof(TexRedaction));
	drawn->rules = palloc(sizeof(TexRule *) * lengthof(rules));
	for (Size i = 0; i < lengthof(rules); i++)
	{
		if (below(4) == 0)
			drawn->rules[drawn->rule_count++] = read[i];
	}
	drawn->room = 2;
	drawn->places = palloc(sizeof(uint64) * drawn->room * Max(drawn->rule_count, 1));
	return drawn;
}

/* Reads a body of OpenTelemetry, in one of the ways. */
static void
read_otlp(const char *data, int len, ReadRequest read)
{
	switch (below(4))
	{
		case 0:
			read_in_steps(data, len, read);
			break;
		case 1:
			redaction = draw_rules();
			redacted++;
			read_request(data, len, read);
			break;
		default:
			read_request(data, len, read);
			break;
	}
}

/* Gives the input to who would read it, in memory of just its length. Text comes from the server, valid. */
static void
run(const Sample *file)
{
	char	   *data = palloc(input_len);
	int			len = input_len;

	memcpy(data, input, len);
	if (tex_is_gzip(data, len))
	{
		target = GUNZIP;
		inputs[target]++;
		data = tex_gunzip(data, len, 1024 * 1024, &len);
	}
	if ((file == NULL ? below(3) == 0 : file->is_events))
	{
		target = EVENTS;
		inputs[target]++;
		len = pg_encoding_verifymbstr(PG_UTF8, data, len);
		read_events(data, len);
	}
	else if (file == NULL ? below(2) == 0 : len > 0 && strchr("{[ \t\r", *data) != NULL)
	{
		target = JSON;
		inputs[target]++;
		read_otlp(data, len, tex_otlp_read_json);
	}
	else
	{
		target = WIRE;
		inputs[target]++;
		read_otlp(data, len, tex_otlp_read_wire);
	}
}

/* Writes the input, as the head of this file says. */
static void
write_input(const Sample *file)
{
	const char	kinds[] = {'p', 'j', 'e'};
	char		head[5];

	for (int i = 0; i < 4; i++)
		head[i] = (char) (input_len >> (8 * i));
	head[4] = file == NULL ? kinds[below(3)] : file->is_events ? 'e' : file->is_json ? 'j' : 'p';
	if (fwrite(head, 1, sizeof(head), stdout) != sizeof(head) || fwrite(input, 1, input_len, stdout) != (size_t) input_len)
		exit(2);
}

/* Says which input it was, which the same arguments make again. */
static void
on_death(void)
{
	fprintf(stderr, "died of input %llu of seed %llu, read as %s: fuzz %llu %llu 1 ...\n", (unsigned long long) number,
			(unsigned long long) seed, target_names[target], (unsigned long long) seed, (unsigned long long) number);
}

static void
load_sample(const char *path)
{
	FILE	   *stream = fopen(path, "rb");
	Sample	   *file;
	struct stat info;

	if (stream == NULL || fstat(fileno(stream), &info) != 0)
	{
		perror(path);
		exit(2);
	}
	files = realloc(files, sizeof(Sample) * (file_count + 1));
	file = &files[file_count++];
	file->len = info.st_size;
	file->data = malloc(file->len);
	file->is_events = strstr(path, "/otlp/") == NULL;
	file->is_json = strstr(path, ".json") != NULL;
	if (fread(file->data, 1, file->len, stream) != (size_t) file->len)
		exit(2);
	fclose(stream);
	/* What is packed is damaged packed and unpacked. */
	if (tex_is_gzip(file->data, file->len) && setjmp(thrown) == 0)
	{
		int			len;
		char	   *data = tex_gunzip(file->data, file->len, LONGEST, &len);

		files = realloc(files, sizeof(Sample) * (file_count + 1));
		files[file_count] = files[file_count - 1];
		files[file_count].data = memcpy(malloc(len), data, len);
		files[file_count++].len = len;
	}
}

int
main(int argc, char **argv)
{
	uint64		first;
	uint64		count;
	uint64		errors = 0;
	struct timespec began;
	struct timespec ended;

	bool		writes = argc > 1 && strcmp(argv[1], "-w") == 0;

	argc -= writes;
	argv += writes;
	if (argc < 5)
	{
		fprintf(stderr, "usage: fuzz [-w] SEED FIRST COUNT FILE...\n");
		return 2;
	}
	base.chunks.next = base.chunks.before = &base.chunks;
	seed = strtoull(argv[1], NULL, 10);
	first = strtoull(argv[2], NULL, 10);
	count = strtoull(argv[3], NULL, 10);
	for (int i = 4; i < argc; i++)
		load_sample(argv[i]);
	reset(&base);
	__sanitizer_set_death_callback(on_death);
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (number = first; number < first + count; number++)
	{
		const Sample *file;

		state = seed * UINT64CONST(0x9E3779B97F4A7C15) ^ number * UINT64CONST(0xD1B54A32D192ED03);
		file = make_input();
		if (writes)
		{
			write_input(file);
			continue;
		}
		redaction = NULL;
		if (setjmp(thrown) == 0)
			run(file);
		else
			errors++;
		CurrentMemoryContext = (MemoryContext) &base;
		reset(&base);
		while (base.next != NULL)
		{
			Context    *context = base.next;

			base.next = context->next;
			reset(context);
			free(context);
		}
	}
	if (writes)
		return fflush(stdout) == 0 ? 0 : 2;
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("%llu inputs of seed %llu, %.0f a second: %llu were errors; of %llu records in the others %llu were refused\n",
		   (unsigned long long) count, (unsigned long long) seed,
		   count / ((ended.tv_sec - began.tv_sec) + (ended.tv_nsec - began.tv_nsec) / 1e9 + 1e-9),
		   (unsigned long long) errors, (unsigned long long) records, (unsigned long long) refused);
	printf("of these inputs %llu were read as protobuf, %llu as JSON, %llu as event JSON, and %llu were gzip; %llu were read in steps as well, %llu with redaction rules\n",
		   (unsigned long long) inputs[WIRE], (unsigned long long) inputs[JSON], (unsigned long long) inputs[EVENTS],
		   (unsigned long long) inputs[GUNZIP], (unsigned long long) in_steps, (unsigned long long) redacted);
	return 0;
}
