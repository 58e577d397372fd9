/*
 * list_filter.h
 *		What a caller of list_traces() wants to be listed, and how a query says it.
 */
#ifndef TEX_LIST_FILTER_H
#define TEX_LIST_FILTER_H

#include "fmgr.h"
#include "lib/stringinfo.h"

#include "store/summary.h"

/* A place in the list, which goes down by time, then by id. */
typedef struct TexListKey
{
	TimestampTz last_timestamp;
	pg_uuid_t	trace_id;
} TexListKey;

typedef struct TexListFilter
{
	TexListKey	before;			/* beyond all traces where it was not given */
	int64		min_events;
	text	   *service;		/* or NULL */
	bool		has_search;
	pg_uuid_t	lowest;			/* the ids that start with "search", or all */
	pg_uuid_t	highest;
	TimestampTz since;			/* -infinity: none */
	TimestampTz until;			/* infinity: none */
	double		min_duration_ms;
	bool		errors_only;
	text	   *name;			/* a pattern as LIKE takes it, or NULL */
	text	   *name_prefix;	/* what it begins with, at most TEX_NAME_INDEXED characters */
	bool		name_is_prefix; /* more may follow that; else nothing that is indexed does */
	text	   *variable;		/* or NULL */
} TexListFilter;

/* So many characters of a root's name are indexed: an index has no room for any length. */
#define TEX_NAME_INDEXED 200

/* A query that is being made, and its parameters in the order they were added. */
#define TEX_LIST_PARAMETERS 24
typedef struct TexListQuery
{
	StringInfoData text;
	int			n;
	Oid			types[TEX_LIST_PARAMETERS];
	Datum		values[TEX_LIST_PARAMETERS];
} TexListQuery;

/* Where its arguments are: the filter's own come in two runs. */
typedef struct TexListArguments
{
	int			min_events;		/* service, search */
	int			since;			/* until, min_duration_ms, errors_only, name, variable */
} TexListArguments;

extern void tex_list_filter_read(TexListFilter *filter, FunctionCallInfo fcinfo, TexListArguments at);
extern bool tex_list_filter_narrows(const TexListFilter *filter);
extern bool tex_list_filter_has_place(const TexListFilter *filter, const TexSummary *s);
extern bool tex_list_filter_passes(const TexListFilter *filter, const TexSummary *s);
extern void tex_list_invalid(const char *message, const char *hint);

extern int	tex_list_compare(TimestampTz a, const pg_uuid_t *a_id, TimestampTz b, const pg_uuid_t *b_id);

extern void tex_list_query_begin(TexListQuery *query);
extern void tex_list_query_add(TexListQuery *query, const char *text, Oid type, Datum value);
extern void tex_list_query_key(TexListQuery *query, const char *operator, const TexListKey *key);
extern void tex_list_query_filter(TexListQuery *query, const TexListFilter *filter);

#endif							/* TEX_LIST_FILTER_H */
