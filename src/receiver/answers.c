/*
 * answers.c
 *		What the receiver answers, in the encoding of the request.
 *
 * Success is an ExportTraceServiceResponse (ExportLogsServiceResponse, whose fields have the
 * same numbers), empty where all went in; a refusal is a google.rpc.Status.  The door for event
 * JSON answers with counts.  Called from callbacks of libmicrohttpd, so nothing here throws or
 * allocates.
 */
#include "postgres.h"

#include "common/varint.h"
#include "receiver/answers.h"

/* What is written, and where. */
typedef struct Writer
{
	char	   *start;
	char	   *at;
} Writer;

/* The code of google.rpc.Status for a status of HTTP. */
static int
rpc_code(int status)
{
	switch (status)
	{
		case 400:
		case 415:
			return 3;			/* INVALID_ARGUMENT */
		case 408:
			return 4;			/* DEADLINE_EXCEEDED */
		case 403:
			return 7;			/* PERMISSION_DENIED */
		case 404:
			return 5;			/* NOT_FOUND */
		case 413:
		case 429:
			return 8;			/* RESOURCE_EXHAUSTED */
		case 405:
			return 12;			/* UNIMPLEMENTED */
		case 503:
			return 14;			/* UNAVAILABLE */
		case 401:
			return 16;			/* UNAUTHENTICATED */
		default:
			return 13;			/* INTERNAL */
	}
}

/* Appends text that is known to fit. */
static void
put_text(Writer *out, const char *text)
{
	size_t		len = strlen(text);

	memcpy(out->at, text, len);
	out->at += len;
}

static void
put_number(Writer *out, int64 n)
{
	out->at += snprintf(out->at, 24, INT64_FORMAT, n);
}

/* A string of JSON, without its quotes. */
static void
put_escaped(Writer *out, const char *text)
{
	for (; *text; text++)
	{
		unsigned char c = *text;

		if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F)
			out->at += snprintf(out->at, 8, "\\u%04x", c);
		else
			*out->at++ = c;
	}
}

static void
put_varint(Writer *out, uint64 n)
{
	out->at = (char *) tex_put_varint((uint8 *) out->at, n);
}

/* Field 1 a number, field 2 a string: both Status and ExportTracePartialSuccess are that. */
static void
put_number_and_text(Writer *out, uint64 n, const char *text)
{
	*out->at++ = 0x08;
	put_varint(out, n);
	*out->at++ = 0x12;
	put_varint(out, strlen(text));
	put_text(out, text);
}

/* What is refused as a whole. */
static void
put_refusal(Writer *out, const TexRequest *request)
{
	if (!request->json)
	{
		put_number_and_text(out, rpc_code(request->status), request->text);
		return;
	}
	put_text(out, "{\"code\":");
	put_number(out, rpc_code(request->status));
	put_text(out, ",\"message\":\"");
	put_escaped(out, request->text);
	put_text(out, "\"}");
}

/* What went in, without some. */
static void
put_partial(Writer *out, const TexRequest *request)
{
	if (!request->json)
	{
		*out->at++ = 0x0A;
		put_varint(out, 2 + tex_varint_length(request->rejected) + tex_varint_length(strlen(request->text)) + strlen(request->text));
		put_number_and_text(out, request->rejected, request->text);
		return;
	}
	put_text(out, request->door == TEX_DOOR_LOGS ? "{\"partialSuccess\":{\"rejectedLogRecords\":\"" :
			 "{\"partialSuccess\":{\"rejectedSpans\":\"");
	put_number(out, request->rejected);
	put_text(out, "\",\"errorMessage\":\"");
	put_escaped(out, request->text);
	put_text(out, "\"}}");
}

/* The counts of a batch of events. */
static void
put_counts(Writer *out, const TexRequest *request)
{
	put_text(out, "{\"inserted\":");
	put_number(out, request->inserted);
	put_text(out, ",\"duplicates\":");
	put_number(out, request->duplicates);
	put_text(out, ",\"rejected\":");
	put_number(out, request->rejected);
	if (request->rejected > 0)
	{
		put_text(out, ",\"message\":\"");
		put_escaped(out, request->text);
		put_text(out, "\"");
	}
	put_text(out, "}");
}

/* Sets the text of an answer, which is UTF-8, and cut between characters where it is too long. */
void
tex_answer_set_text(TexRequest *request, const char *text)
{
	size_t		len = strlen(text);

	if (len >= TEX_ANSWER_TEXT)
	{
		len = TEX_ANSWER_TEXT - 1;
		while (len > 0 && ((unsigned char) text[len] & 0xC0) == 0x80)
			len--;
	}
	memcpy(request->text, text, len);
	request->text[len] = '\0';
}

/* Decides that a request is refused, unless that is decided already. */
void
tex_answer_refuse(TexRequest *request, int status, TexRefusal refusal, const char *text)
{
	if (request->status != 0)
		return;
	request->status = status;
	request->refusal = refusal;
	tex_answer_set_text(request, text);
}

/*
 * Writes the body of the answer to a decided request into TEX_ANSWER_ROOM bytes; returns its
 * length.
 */
size_t
tex_answer_write(const TexRequest *request, char *out)
{
	Writer		writer = {.start = out,.at = out};

	if (request->status != 200)
		put_refusal(&writer, request);
	else if (request->door == TEX_DOOR_EVENTS)
		put_counts(&writer, request);
	else if (request->rejected > 0)
		put_partial(&writer, request);
	else if (request->json)
		put_text(&writer, "{}");
	return writer.at - writer.start;
}

/* Its type. */
const char *
tex_answer_type(const TexRequest *request)
{
	return request->json ? "application/json" : "application/x-protobuf";
}
