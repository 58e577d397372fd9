/*
 * outgoing.h
 *		A trace on its way out: spans and log records, as every format is written from.
 *
 * Made by collect.c: spans of OpenTelemetry as they came in, other events folded into spans
 * (folded.c).  Strings and values are those of rows and live as long as the trace does.
 */
#ifndef TEX_OUTGOING_H
#define TEX_OUTGOING_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "common/event.h"
#include "exchange/json_out.h"
#include "ingest/otlp.h"

typedef struct TexOutAttribute
{
	TexOtlpString key;
	TexOutValue value;
} TexOutAttribute;

typedef struct TexOutList
{
	int			n;
	int			room;
	TexOutAttribute *items;
} TexOutList;

/* A resource or a scope, which many spans share; lives as long as the document. */
typedef struct TexOutSource
{
	int64		id;				/* as in otlp_resources and otlp_scopes; else a hash of what it is */
	int			place;			/* in the order in which they were met, from 0 */
	TexOtlpString name;			/* of a scope */
	TexOtlpString version;
	TexOutList	attributes;
	int64		dropped_attributes;
	TexOtlpString schema_url;
	TexOtlpString service;		/* of a resource: service.name */
} TexOutSource;

/* What happened in a span at a moment. */
typedef struct TexOutPoint
{
	uint64		time;			/* nanoseconds since 1970; 0: not known */
	TexOtlpString name;
	TexOutList	attributes;
	int64		dropped_attributes;
	uint32		ordinal;		/* place among the events of the span as they came */
} TexOutPoint;

typedef struct TexOutLink
{
	TexOtlpString trace_id;		/* in hexadecimal digits */
	TexOtlpString span_id;
	TexOtlpString trace_state;
	TexOutList	attributes;
	int64		dropped_attributes;
	int64		flags;
} TexOutLink;

typedef struct TexOutSpan
{
	uint8		span_id[TEX_SPAN_ID_LEN];
	uint8		parent_id[TEX_SPAN_ID_LEN];	/* zeros: none */
	TexOtlpString name;
	int			kind;			/* TexOtlpKind, or what was sent */
	uint64		start;			/* nanoseconds since 1970 */
	uint64		end;			/* 0: not known */
	TexOtlpString trace_state;
	int64		flags;
	TexOutList	attributes;
	int64		dropped_attributes;
	int64		dropped_events;
	int64		dropped_links;
	int			status_code;
	TexOtlpString status_message;
	int			npoints;
	int			points_room;
	TexOutPoint *points;
	int			nlinks;
	TexOutLink *links;
	TexOutSource *resource;
	TexOutSource *scope;
	TexOtlpString thread;		/* what runs in sequence, if the client named it */
} TexOutSpan;

typedef struct TexOutLog
{
	uint8		span_id[TEX_SPAN_ID_LEN];	/* zeros: none */
	uint64		time;
	uint64		observed_time;
	int			severity_number;
	TexOtlpString severity_text;
	TexOtlpString name;
	TexOutValue *body;			/* NULL: none */
	TexOutList	attributes;
	int64		dropped_attributes;
	int64		flags;
	TexOutSource *resource;
	TexOutSource *scope;
} TexOutLog;

typedef struct TexOutTrace
{
	uint8		trace_id[TEX_TRACE_ID_LEN];
	int			nspans;
	int			spans_room;
	TexOutSpan *spans;			/* by start */
	int			nlogs;
	int			logs_room;
	TexOutLog  *logs;			/* by time */
} TexOutTrace;

/* A row of events, in the order of time and id. */
typedef struct TexOutRow
{
	pg_uuid_t	id;
	pg_uuid_t	parent_id;
	bool		has_parent;
	bool		is_taken;		/* a span, log record or point of OpenTelemetry has it */
	TimestampTz at;
	TexKind		kind;
	TexOtlpString name;
	bool		has_name;
	TexOtlpString service;
	TexOtlpString instance;
	TexOtlpString thread;
	TexOtlpString environment;
	TexOtlpString span_id;
	TexOtlpString upstream_span_id;
	TexOtlpString clock;
	int64		process;		/* -1: none */
	int64		duration;		/* nanoseconds; -1: none */
	bool		stamped_at_end;
	Jsonb	   *attributes;		/* or NULL */
	Jsonb	   *tags;
	Jsonb	   *locks;
} TexOutRow;

/* The resources and scopes of a document. */
typedef struct TexOutSources TexOutSources;

/* sources.c */
extern TexOutSources *tex_out_sources(void);
extern TexOutSource *tex_out_resource(TexOutSources *sources, int64 id, const TexOutRow *row);
extern TexOutSource *tex_out_scope(TexOutSources *sources, int64 id);

/* attributes.c */
extern TexOutAttribute *tex_out_add(TexOutList *list, TexOtlpString key);
extern void tex_out_add_text(TexOutList *list, const char *key, TexOtlpString text);
extern void tex_out_add_int(TexOutList *list, const char *key, int64 number);
extern void tex_out_add_value(TexOutList *list, const char *key, const JsonbValue *value);
extern void tex_out_add_members(TexOutList *list, JsonbContainer *object, bool is_marked);
extern void tex_out_drop_repeated(TexOutList *list);
extern const TexOutValue *tex_out_find(const TexOutList *list, const char *key);
extern TexOtlpString tex_out_find_text(const TexOutList *list, const char *key);
extern JsonbContainer *tex_out_object(JsonbContainer *object, const char *key);
extern bool tex_out_member(JsonbContainer *object, const char *key, JsonbValue *value);
extern TexOtlpString tex_out_string(JsonbContainer *object, const char *key);
extern int64 tex_out_int(JsonbContainer *object, const char *key, int64 otherwise);
extern int64 tex_out_within(JsonbContainer *object, const char *key, int64 least, int64 most);
extern TexOtlpString tex_out_id(JsonbContainer *object, const char *key, int len);
extern uint64 tex_out_unsigned(JsonbContainer *object, const char *key);

/* points.c */
extern void tex_out_point(TexOutPoint *point, const TexOutRow *row, bool is_otlp);

/* index.c */
typedef struct TexOutIndex TexOutIndex;
extern TexOutIndex *tex_out_index(const TexOutTrace *trace);
extern int	tex_out_index_find(const TexOutIndex *index, const uint8 *span_id);
extern int **tex_out_logs_of(const TexOutTrace *trace);
extern TexOutList tex_out_log_fields(const TexOutLog *log);
extern uint64 tex_out_log_time(const TexOutLog *log);
extern void tex_out_stand_in(TexOutTrace *trace);

/* folded.c */
extern void tex_out_fold(TexOutTrace *trace, TexOutSources *sources, const pg_uuid_t *id, const TexOutRow *rows, int n);

/* collect.c */
extern TexOutTrace *tex_out_collect(TexOutSources *sources, const pg_uuid_t *id);
extern TexOutSpan *tex_out_new_span(TexOutTrace *trace);
extern TexOutPoint *tex_out_new_point(TexOutSpan *span);
extern uint64 tex_out_time(const TexOutRow *row);
extern uint64 tex_out_nanoseconds(TimestampTz at);

static inline JsonbContainer *
tex_out_attributes(const TexOutRow *row)
{
	return row->attributes != NULL && JB_ROOT_IS_OBJECT(row->attributes) ? &row->attributes->root : NULL;
}

/* ----------------------------------------------------------------
 *		Formats: what a document is written by
 * ----------------------------------------------------------------
 */
typedef struct TexOutDocument
{
	StringInfo	out;
	TexOutSources *sources;
	void	   *state;			/* of the format */
	MemoryContext context;		/* lives as long as the document */
} TexOutDocument;

typedef struct TexOutFormat
{
	bool		has_logs;		/* log records are something of their own */
	void		(*begin) (TexOutDocument *document);
	void		(*add) (TexOutDocument *document, const TexOutTrace *trace);
	void		(*end) (TexOutDocument *document);
} TexOutFormat;

extern const TexOutFormat tex_format_otlp;
extern const TexOutFormat tex_format_jaeger;
extern const TexOutFormat tex_format_zipkin;
extern const TexOutFormat tex_format_chrome;

#endif							/* TEX_OUTGOING_H */
