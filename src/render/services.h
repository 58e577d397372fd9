/*
 * services.h
 *		Who calls whom.
 */
#ifndef TEX_SERVICES_H
#define TEX_SERVICES_H

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "render/spans.h"

typedef struct TexService
{
	const char *name;			/* as it came */
	const char *status;			/* of service_health(), or NULL */
	int64		requests;		/* -1: not known */
	int64		errors;
	double		p95_ms;			/* negative: not known */
	int			color;
} TexService;

typedef struct TexCalls
{
	int			from;			/* index of a service */
	int			to;
	const char *by;				/* what carries them */
	int64		calls;
	int64		errors;
	double		ms;				/* the 95th percentile, or of a trace all of them; negative: not known */
} TexCalls;

typedef struct TexServices
{
	TexService *services;
	int			n;
	int			room;
	TexCalls   *calls;
	int			ncalls;
	int			calls_room;
	const char *ms_is;			/* what to say before ms of calls */
} TexServices;

extern TexServices *tex_services_within(const Interval *within);
extern TexServices *tex_services_of_trace(const TexSpans *spans);
extern void tex_services_picture(StringInfo out, const TexServices *services, const char *title, bool in_page);

#endif							/* TEX_SERVICES_H */
