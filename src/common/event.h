/*
 * event.h
 *		Kinds of events and what every part has to know of an event.
 */
#ifndef TEX_EVENT_H
#define TEX_EVENT_H

#include "utils/jsonb.h"

/* In the order of the SQL type event_kind. */
typedef enum TexKind
{
	TEX_FUNCTION_CALL,
	TEX_ASYNC_SPAWN,
	TEX_ASYNC_AWAIT,
	TEX_STATE_CHANGE,
	TEX_LOCK_ACQUIRE,
	TEX_LOCK_RELEASE,
	TEX_MEMORY_FENCE,
	TEX_HTTP_REQUEST,
	TEX_HTTP_RESPONSE,
	TEX_DATABASE_QUERY,
	TEX_DATABASE_RESULT,
	TEX_ERROR,
	TEX_CUSTOM,
	TEX_KIND_COUNT
} TexKind;

#define TEX_NO_KIND TEX_KIND_COUNT

extern Oid	tex_schema_oid(void);
extern Oid	tex_relation_oid(const char *name);
extern bool tex_is_router(void);
extern Oid	tex_extension_oid(void);

extern const char *tex_kind_name(TexKind kind);
extern TexKind tex_kind_by_name(const char *name, int len);
extern TexKind tex_kind_by_oid(Oid label);
extern Oid	tex_kind_oid(TexKind kind);
extern void tex_kinds_may_have_changed(void);

extern bool tex_event_is_error(TexKind kind, Jsonb *attributes);
/* All types of access, for messages. */
#define TEX_ACCESS_TYPES "Read, Write, AtomicRead, AtomicWrite, AtomicRMW"

extern bool tex_is_access_type(const char *name, int len);
extern bool tex_access_writes(Jsonb *attributes);

#endif							/* TEX_EVENT_H */
