/*
 * values.c
 *		Names of variables, and values of rows as text.
 *
 * A variable is schema.table[key].column, with names quoted where SQL would.  A key of one
 * column stands as its type prints it; of several columns each stands between commas, in
 * double quotes where it has any character but letters, digits, '-', '.', ':' and '_'.
 * Names are indexed, so one that is longer than LONGEST_NAME has its key's hash instead.
 *
 * A value that is longer than LONGEST_VALUE is its hash.  One that is stored out of line is not
 * fetched: where it is says as well whether it is the same, for an update that leaves it
 * alone leaves it where it is.
 *
 * "hash" gives a keyed hash (HMAC-SHA-256, of which 64 bits are told) whose key is random, made
 * when the server starts and shown nowhere: of few possible values none can be found by trying.
 * The variable is hashed along, so equal values of two rows do not look equal.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/md5.h"
#include "common/sha2.h"
#include "compat.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"

#include "watch/values.h"

#define LONGEST_NAME	900
#define LONGEST_VALUE	256

/* Of a table's own names, at most so much stands around the key. */
#define AROUND_KEY (4 * NAMEDATALEN * 2)

/*
 * What settings a session has for the output of times, floating-point numbers and bytes must not
 * make equal values differ.
 */
static char *
print_set(const FmgrInfo *output, Datum value)
{
	static pg_tz *utc = NULL;
	int			date_style = DateStyle;
	int			date_order = DateOrder;
	int			interval_style = IntervalStyle;
	int			float_digits = extra_float_digits;
	int			bytes_as = bytea_output;
	pg_tz	   *zone = session_timezone;
	char	   *text;

	if (utc == NULL)
		utc = pg_tzset("UTC");
	PG_TRY();
	{
		DateStyle = USE_ISO_DATES;
		DateOrder = DATEORDER_YMD;
		IntervalStyle = INTSTYLE_POSTGRES;
		extra_float_digits = 1;
		bytea_output = BYTEA_OUTPUT_HEX;
		if (utc)
			session_timezone = utc;
		text = OutputFunctionCall(unconstify(FmgrInfo *, output), value);
	}
	PG_FINALLY();
	{
		DateStyle = date_style;
		DateOrder = date_order;
		IntervalStyle = interval_style;
		extra_float_digits = float_digits;
		bytea_output = bytes_as;
		session_timezone = zone;
	}
	PG_END_TRY();
	return text;
}

/* A value as its type prints it, the same in each session. */
static char *
print(const TexWatchColumn *column, Datum value)
{
	char	   *text;

	switch (column->print)
	{
		case TEX_PRINT_INT2:
		case TEX_PRINT_INT4:
			text = palloc(12);
			pg_ltoa(column->print == TEX_PRINT_INT2 ? DatumGetInt16(value) : DatumGetInt32(value), text);
			return text;
		case TEX_PRINT_INT8:
			text = palloc(MAXINT8LEN + 1);
			pg_lltoa(DatumGetInt64(value), text);
			return text;
		case TEX_PRINT_ALIKE:
			return OutputFunctionCall(unconstify(FmgrInfo *, &column->output), value);
		default:
			return print_set(&column->output, value);
	}
}

/* A part of a key of several columns. */
static void
put_part(StringInfo name, const char *text)
{
	if (text[0] && text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:_")] == '\0')
	{
		appendStringInfoString(name, text);
		return;
	}
	appendStringInfoChar(name, '"');
	for (const char *p = text; *p; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfoChar(name, '\\');
		appendStringInfoChar(name, *p);
	}
	appendStringInfoChar(name, '"');
}

/* 32 hexadecimal digits; no secret is made of it. */
static void
put_md5(StringInfo to, const char *text, size_t len)
{
	char		digits[33];
	const char *problem;

	if (!pg_md5_hash(text, len, digits, &problem))
		elog(ERROR, "could not compute a hash: %s", problem);
	appendStringInfoString(to, digits);
}

/*
 * "schema.table[key]"; false where a column of the key is null, which names no row.  The
 * values are those of the key, in its order.
 */
bool
tex_watch_row_name(StringInfo name, const TexWatch *watch, const Datum *values, const bool *isnull)
{
	int			key_at;

	resetStringInfo(name);
	appendStringInfoString(name, watch->name);
	appendStringInfoChar(name, '[');
	key_at = name->len;
	for (int i = 0; i < watch->nkeys; i++)
	{
		char	   *text;

		if (isnull[i])
			return false;
		text = print(&watch->keys[i], values[i]);
		if (i > 0)
			appendStringInfoChar(name, ',');
		if (watch->nkeys == 1)
			appendStringInfoString(name, text);
		else
			put_part(name, text);
		pfree(text);
	}
	if (name->len > LONGEST_NAME - AROUND_KEY)
	{
		char	   *key = pnstrdup(name->data + key_at, name->len - key_at);

		name->len = key_at;
		appendStringInfoString(name, "md5:");
		put_md5(name, key, strlen(key));
		pfree(key);
	}
	appendStringInfoChar(name, ']');
	return true;
}

/* The name of a column of a row. */
void
tex_watch_variable(StringInfo variable, const StringInfo row, const TexWatchColumn *column)
{
	resetStringInfo(variable);
	appendBinaryStringInfo(variable, row->data, row->len);
	appendBinaryStringInfo(variable, column->suffix, column->suffix_len);
}

/* The keyed hash of a value of a variable. */
static void
hash_value(TexWatchValue *to, const char *variable, const char *text, size_t len)
{
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *digits = palloc(17);

	if (hmac == NULL || pg_hmac_init(hmac, tex_watch_shared->secret, sizeof(tex_watch_shared->secret)) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) variable, strlen(variable) + 1) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) text, len) < 0 ||
		pg_hmac_final(hmac, digest, sizeof(digest)) < 0)
	{
		if (hmac)
			pg_hmac_free(hmac);
		elog(ERROR, "could not compute a hash");
	}
	pg_hmac_free(hmac);
	to->kind = TEX_VALUE_TEXT;
	to->len = 16;
	to->text = digits;
	hex_encode((const char *) digest, 8, digits);
}

/* What stands for a value that is stored out of line. */
static char *
text_of_toasted(const struct varlena *value)
{
	struct varatt_external pointer;

	VARATT_EXTERNAL_GET_POINTER(pointer, value);
	return psprintf("toasted %u/%u", pointer.va_toastrelid, pointer.va_valueid);
}

/*
 * A value as text, by how much of it may leave the table; in the current memory context.  Calls the
 * output function of its type, so it may throw.
 */
void
tex_watch_value(TexWatchValue *to, const TexWatch *watch, const TexWatchColumn *column,
				const char *variable, Datum value, bool isnull)
{
	char	   *text;

	memset(to, 0, sizeof(TexWatchValue));
	if (watch->values == TEX_WATCH_NONE)
		return;
	to->kind = TEX_VALUE_NULL;
	if (isnull)
		return;
	to->kind = column->kind;
	if (column->length == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
	{
		text = text_of_toasted((struct varlena *) DatumGetPointer(value));
		to->kind = TEX_VALUE_TEXT;
	}
	else
		text = print(column, value);
	to->text = text;
	to->len = strlen(text);
	if (watch->values == TEX_WATCH_HASH)
		hash_value(to, variable, text, to->len);
	else if (to->len > LONGEST_VALUE)
	{
		StringInfoData hash;

		initStringInfo(&hash);
		appendStringInfoString(&hash, "md5:");
		put_md5(&hash, text, to->len);
		to->kind = TEX_VALUE_TEXT;
		to->text = hash.data;
		to->len = hash.len;
	}
}
