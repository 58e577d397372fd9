/*
 * otlp.h
 *		Spans and log records of OpenTelemetry in memory, as both readers give them.
 *
 * Strings are slices of the body where it has them as they are, else copies in the
 * memory context of the record; they are clean: of the database's encoding, without
 * U+0000.  Attribute values are nodes of a tree, taken from blocks, so that no field costs
 * an allocation.
 */
#ifndef TEX_OTLP_H
#define TEX_OTLP_H

#include "lib/stringinfo.h"

/* How deep values may be nested. */
#define TEX_OTLP_DEPTH 100

/* How many values, events and links a record may have, and how many bytes as it was sent. */
#define TEX_OTLP_VALUES 100000
#define TEX_OTLP_LENGTH (16 * 1024 * 1024)

#define TEX_TRACE_ID_LEN 16
#define TEX_SPAN_ID_LEN 8

/* Bits of flags. */
#define TEX_OTLP_REMOTE_KNOWN 0x100
#define TEX_OTLP_REMOTE 0x200

typedef struct TexOtlpString
{
	const char *data;
	int			len;
} TexOtlpString;

typedef enum TexOtlpType
{
	TEX_OTLP_EMPTY,
	TEX_OTLP_STRING,
	TEX_OTLP_BOOL,
	TEX_OTLP_INT,
	TEX_OTLP_DOUBLE,
	TEX_OTLP_BYTES,
	TEX_OTLP_ARRAY,
	TEX_OTLP_KVLIST
} TexOtlpType;

typedef struct TexOtlpValue TexOtlpValue;

typedef struct TexOtlpList
{
	TexOtlpValue *first;
	TexOtlpValue *last;
} TexOtlpList;

struct TexOtlpValue
{
	TexOtlpString key;			/* of an attribute, or of a member of a list of pairs */
	TexOtlpValue *next;
	TexOtlpType type;
	bool		moved;			/* a column or field of the event holds it word for word */
	union
	{
		TexOtlpString string;	/* and bytes */
		bool		boolean;
		int64		integer;
		double		number;
		TexOtlpList list;		/* an array, or pairs */
	};
};

typedef struct TexOtlpResource
{
	TexOtlpList attributes;
	uint32		dropped_attributes;
	TexOtlpString schema_url;
} TexOtlpResource;

typedef struct TexOtlpScope
{
	TexOtlpString name;
	TexOtlpString version;
	TexOtlpList attributes;
	uint32		dropped_attributes;
	TexOtlpString schema_url;
} TexOtlpScope;

typedef struct TexOtlpEvent
{
	uint64		time;			/* nanoseconds since 1970; 0: not known */
	TexOtlpString name;
	TexOtlpList attributes;
	uint32		dropped_attributes;
} TexOtlpEvent;

typedef struct TexOtlpLink
{
	uint8		trace_id[TEX_TRACE_ID_LEN];
	uint8		span_id[TEX_SPAN_ID_LEN];
	TexOtlpString trace_state;
	TexOtlpList attributes;
	uint32		dropped_attributes;
	uint32		flags;
} TexOtlpLink;

/* In the order of SpanKind. */
typedef enum TexOtlpKind
{
	TEX_SPAN_UNSPECIFIED,
	TEX_SPAN_INTERNAL,
	TEX_SPAN_SERVER,
	TEX_SPAN_CLIENT,
	TEX_SPAN_PRODUCER,
	TEX_SPAN_CONSUMER
} TexOtlpKind;

#define TEX_STATUS_ERROR 2

/* A span, or a log record. Ids of zeros are none. */
typedef struct TexOtlpRecord
{
	bool		is_log;
	uint8		trace_id[TEX_TRACE_ID_LEN];
	uint8		span_id[TEX_SPAN_ID_LEN];
	TexOtlpString name;			/* of a log record: the name of the event */
	uint64		time;			/* the start of a span; 0: not known */
	uint32		flags;
	TexOtlpList attributes;
	uint32		dropped_attributes;

	/* Of a span. */
	uint8		parent_id[TEX_SPAN_ID_LEN];
	TexOtlpString trace_state;
	int32		kind;			/* TexOtlpKind, or what is to come */
	uint64		end_time;
	int			event_count;
	TexOtlpEvent *events;
	uint32		dropped_events;
	int			link_count;
	TexOtlpLink *links;
	uint32		dropped_links;
	int32		status_code;
	TexOtlpString status_message;

	/* Of a log record. */
	uint64		observed_time;
	int32		severity_number;
	TexOtlpString severity_text;
	TexOtlpValue *body;			/* NULL: none */
} TexOtlpRecord;

/*
 * What reads a body, and what was read last.  The takers are called when a resource, a scope
 * or a record is complete, each in the memory context of its own, which is reset before the
 * next; a record also when there is a reason to refuse it, a span or a log record as far as
 * it was read.
 */
typedef struct TexOtlpReader TexOtlpReader;
struct TexOtlpReader
{
	TexOtlpResource resource;
	TexOtlpScope scope;
	TexOtlpRecord record;
	char	   *reason;			/* NULL: it can be taken */
	TexOtlpString sent;			/* the record, as it was sent */
	bool		sent_as_text;

	void	   *taker;
	bool		(*pass_over) (TexOtlpReader *reader, int64 records);	/* the next ones need not be read; NULL: all are */
	void		(*take_resource) (TexOtlpReader *reader);
	void		(*take_scope) (TexOtlpReader *reader);
	void		(*take_record) (TexOtlpReader *reader);

	MemoryContext context;		/* of the reader and its buffers */
	MemoryContext outer;		/* that was current before the one of a record */
	MemoryContext resource_context;
	MemoryContext scope_context;
	MemoryContext record_context;
	char	   *resource_reason;	/* what refuses all records of the resource */
	char	   *scope_reason;
	int64		source_count;	/* resources and scopes of the body so far */

	/* Where in the record the reader is, for a reason. */
	const char *list;			/* "events", "links", "resource", "scope" or NULL */
	int			place;			/* in that list, from 0; -1: it is none */
	const char *field;
	TexOtlpString key;			/* of an attribute */

	/* Blocks of values, of which the first is kept. */
	TexOtlpValue *kept_block;
	TexOtlpValue *free_values;
	int			free_count;
	int			taken_count;	/* values, events and links of the record */
	int			event_room;
	int			link_room;
};

extern TexOtlpReader *tex_otlp_reader(void);
extern bool tex_otlp_passes_over(TexOtlpReader *reader, int64 records, int64 sources);
extern void tex_otlp_begin_resource(TexOtlpReader *reader);
extern void tex_otlp_end_resource(TexOtlpReader *reader);
extern void tex_otlp_begin_scope(TexOtlpReader *reader);
extern void tex_otlp_end_scope(TexOtlpReader *reader);
extern bool tex_otlp_begin_record(TexOtlpReader *reader, const char *sent, int len, bool is_log);
extern void tex_otlp_end_record(TexOtlpReader *reader);

extern bool tex_otlp_refuse(TexOtlpReader *reader, const char *why);
extern void tex_otlp_append(StringInfo out, const char *data, int len);
extern bool tex_otlp_clean(TexOtlpReader *reader, const char *data, int len, TexOtlpString *to);
extern TexOtlpValue *tex_otlp_new_value(TexOtlpReader *reader, TexOtlpList *list);
extern TexOtlpEvent *tex_otlp_new_event(TexOtlpReader *reader);
extern TexOtlpLink *tex_otlp_new_link(TexOtlpReader *reader);
extern bool tex_otlp_check_ids(TexOtlpReader *reader);

static inline bool
tex_otlp_equal(TexOtlpString a, const char *b)
{
	return strlen(b) == (size_t) a.len && memcmp(a.data, b, a.len) == 0;
}

static inline bool
tex_otlp_is_zero(const uint8 *id, int len)
{
	for (int i = 0; i < len; i++)
	{
		if (id[i] != 0)
			return false;
	}
	return true;
}

#endif							/* TEX_OTLP_H */
