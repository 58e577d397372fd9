/*
 * summary.h
 *		What is kept of a trace, and how two parts of it are merged.
 */
#ifndef TEX_SUMMARY_H
#define TEX_SUMMARY_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "common/extent.h"

/* Distinct texts. */
typedef struct TexTextSet
{
	text	  **texts;			/* in the order they came */
	int			count;
	int			room;
	int		   *slots;			/* a hash over them, once there are many */
	uint32		mask;
} TexTextSet;

/* A trace, or what some of its events add to one; in backend memory. */
typedef struct TexSummary
{
	pg_uuid_t	trace_id;
	int64		event_count;
	int64		error_count;
	int64		access_count;
	bool		recompute;		/* the rest cannot be told but from events */
	bool		has_times;
	TimestampTz first_timestamp;
	TimestampTz last_timestamp;
	TexExtent	extent;			/* from its first start to its last end */
	TexTextSet	services;
	bool		has_root;
	TimestampTz root_timestamp;
	pg_uuid_t	root_id;
	text	   *root_name;		/* may be NULL */
	text	   *root_service;	/* may be NULL */
} TexSummary;

/* What summaries depend on of an event. */
typedef struct TexSummaryEvent
{
	pg_uuid_t	id;
	bool		is_root;		/* it has no parent, or is its own */
	bool		is_error;
	bool		is_access;
	TimestampTz timestamp;
	TexExtent	extent;
	text	   *name;			/* may be NULL; of a root only */
	text	   *service;		/* may be NULL */
} TexSummaryEvent;

/*
 * Is an event a root?  It has no parent (NULL), or is its own, as ingest_events() has it.
 */
static inline bool
tex_is_root(const pg_uuid_t *id, const pg_uuid_t *parent)
{
	return parent == NULL || memcmp(id, parent, UUID_LEN) == 0;
}

/* summary_base has these columns, summary_deltas begins with them. */
#define TEX_SUMMARY_COLUMNS 13

/* Summaries by trace, in a memory context of the caller's. */
typedef struct TexSummarySet TexSummarySet;

extern TexSummarySet *tex_summaries_create(MemoryContext context);
extern TexSummary *tex_summaries_get(TexSummarySet *set, const pg_uuid_t *trace_id);
extern TexSummary *tex_summaries_find(TexSummarySet *set, const pg_uuid_t *trace_id);
extern int	tex_summaries_count(TexSummarySet *set);
extern TexSummary **tex_summaries_all(TexSummarySet *set);

extern void tex_summary_add_times(TexSummary *s, TimestampTz first, TimestampTz last, TexExtent extent);
extern void tex_summary_add_service(TexSummarySet *set, TexSummary *s, text *service);
extern void tex_summary_add_services(TexSummarySet *set, TexSummary *s, Datum array);
extern void tex_summary_add_root(TexSummarySet *set, TexSummary *s,
								 TimestampTz timestamp, const pg_uuid_t *id,
								 text *name, text *service);
extern void tex_summary_add_event(TexSummarySet *set, TexSummary *s, const TexSummaryEvent *event);
extern TexSummary *tex_summary_add_row(TexSummarySet *set, const Datum *values, const bool *isnull);
extern Datum tex_summary_services(const TexSummary *s);
extern bool tex_same_text(const text *a, const text *b);
extern void tex_text_set_insert(TexTextSet *set, text *t, MemoryContext context);
extern bool tex_text_set_has(const TexTextSet *set, text *t);
extern Datum tex_text_set_array(const TexTextSet *set);
extern double tex_milliseconds(TimestampTz first, TimestampTz last);

#endif							/* TEX_SUMMARY_H */
