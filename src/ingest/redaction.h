/*
 * redaction.h
 *		Rules that keep secrets out of what is stored: redaction_rules.
 */
#ifndef TEX_REDACTION_H
#define TEX_REDACTION_H

#include "utils/jsonb.h"

#include "ingest/otlp.h"

/* Names of a path at most; a set of places in it is the bits of a number. */
#define TEX_PATH_NAMES 60

/* A rule, read; see redaction_rules.c. */
typedef struct TexRule TexRule;

/* The rules, and where in a record its reader is: one set of places a rule for each level. */
typedef struct TexRedaction
{
	int			rule_count;
	TexRule	  **rules;
	const char *service;		/* of the record; NULL: not known, so rules of all services apply */
	int			service_len;
	int			depth;
	int			room;
	uint64	   *places;			/* of level 0, of level 1, ... */
} TexRedaction;

typedef enum TexRedacted
{
	TEX_KEPT,
	TEX_CHANGED,
	TEX_DROPPED
} TexRedacted;

/* redaction_rules.c */
extern TexRedaction *tex_redaction(void);
extern uint64 tex_rule_start(const TexRule *rule, const char *service, int len);
extern uint64 tex_rule_step(const TexRule *rule, uint64 places, const char *name, int len);
extern bool tex_rule_acts(const TexRule *rule, uint64 places);
extern bool tex_rule_has_pattern(const TexRule *rule);
extern bool tex_rule_drops(const TexRule *rule);
extern TexRedacted tex_rule_apply(const TexRule *rule, const char **text, int *len);

/* redaction.c */
extern void tex_redaction_begin(TexRedaction *redaction, const char *service, int len);
extern bool tex_redaction_enter(TexRedaction *redaction, const char *name, int len);
extern bool tex_redaction_enter_also(TexRedaction *redaction, const char *name, int len);
extern void tex_redaction_stay(TexRedaction *redaction);
extern void tex_redaction_leave(TexRedaction *redaction);
extern TexRedacted tex_redact_text(TexRedaction *redaction, const char **text, int *len);
extern TexRedacted tex_redact_name(TexRedaction *redaction, const char **name, int *len);
extern char *tex_redact_loose(TexRedaction *redaction, const char *text);

/* What stands for the text of a record that could not be read, where rules are enabled. */
#define TEX_WITHHELD "(not kept: what cannot be read cannot be redacted)"

/* redact_event.c */
extern JsonbContainer *tex_redact_event(TexRedaction *redaction, JsonbContainer *event);
extern JsonbValue *tex_redact_json(TexRedaction *redaction, JsonbValue *value);

/* redact_otlp.c */
extern void tex_redact_resource(TexRedaction *redaction, TexOtlpResource *resource);
extern void tex_redact_scope(TexRedaction *redaction, TexOtlpScope *scope);
extern void tex_redact_record(TexRedaction *redaction, TexOtlpRecord *record);

#endif							/* TEX_REDACTION_H */
