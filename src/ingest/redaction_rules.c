/*
 * redaction_rules.c
 *		Redaction rules: their paths and patterns, and the table that they are read from.
 *
 * A path is names between points; "*" in a name stands for any part of it, "|" is between
 * alternatives, and "**" stands for any number of names.  A rule acts on what its path leads to, and
 * on all that is in there.  A path is followed by sets of places, as any regular expression: bit i
 * of a set says that the names before the i-th were found on the way here.
 *
 * The enabled rules are read once in a backend and again after they were changed, which a trigger
 * tells all backends by an invalidation of the table.  They are read by the newest snapshot: that of
 * a transaction may be older than what it was told of.  Where one cannot be used, nothing is
 * stored: a rule that is not followed is worse than an error.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "common/event.h"
#include "common/owner.h"
#include "guc.h"
#include "ingest/redaction.h"

PG_FUNCTION_INFO_V1(tex_check_redaction_rule);
PG_FUNCTION_INFO_V1(tex_redaction_changed);

#define MASK "[redacted]"

/* Digits that the number of a card has. */
#define LEAST_DIGITS 13
#define MOST_DIGITS 19

typedef enum Action
{
	DROP, MASK_IT, HASH, TRUNCATE, ACTION_COUNT
} Action;

static const char *const action_names[ACTION_COUNT] = {
	[DROP] = "drop",[MASK_IT] = "mask",[HASH] = "hash",[TRUNCATE] = "truncate"
};

/* One of the alternatives for a name, in lower case and with "-" for "_". */
typedef struct Alternative
{
	char	   *text;
	char		last;			/* its last letter, by which most names are told from it */
} Alternative;

typedef struct PathName
{
	bool		any_number;		/* ** */
	int			count;
	Alternative *alternatives;
} PathName;

struct TexRule
{
	int			name_count;
	PathName	names[TEX_PATH_NAMES];
	Action		action;
	bool		has_pattern;
	regex_t		pattern;
	char		required;		/* a byte that each match has; '\0': none is known */
	bool		luhn;
	int			keep;			/* characters, by TRUNCATE */
	char	   *service;		/* NULL: of any */
};

/* ----------------------------------------------------------------
 *		Paths
 * ----------------------------------------------------------------
 */
/* Names are told apart neither by case nor by "-" and "_", as those of headers are not. */
static char
fold(char c)
{
	return c == '_' ? '-' : (char) pg_ascii_tolower((unsigned char) c);
}

/* Reads one name of a path; NULL, or what is wrong. */
static const char *
parse_name(PathName *name, const char *text, int len)
{
	name->any_number = len == 2 && text[0] == '*' && text[1] == '*';
	name->count = 0;
	name->alternatives = palloc(sizeof(Alternative) * (len + 1));
	for (int from = 0, to; from <= len; from = to + 1)
	{
		Alternative *alternative = &name->alternatives[name->count++];

		for (to = from; to < len && text[to] != '|';)
			to++;
		if (to == from)
			return len == 0 ? "A name is empty." : "An alternative is empty.";
		alternative->text = pnstrdup(text + from, to - from);
		for (int i = 0; i < to - from; i++)
			alternative->text[i] = fold(alternative->text[i]);
		alternative->last = alternative->text[to - from - 1];
	}
	return NULL;
}

/* Reads a path into a rule; NULL, or what is wrong. The "kind" of event JSON may be said or not. */
static const char *
parse_path(TexRule *rule, const char *path)
{
	const char *problem = NULL;

	if (pg_strncasecmp(path, "kind.", 5) == 0)
		path += 5;
	rule->name_count = 0;
	for (;;)
	{
		int			len = strcspn(path, ".");

		if (rule->name_count == TEX_PATH_NAMES)
			return "It has more than 60 names.";
		problem = parse_name(&rule->names[rule->name_count++], path, len);
		if (problem != NULL || path[len] == '\0')
			return problem;
		path += len + 1;
	}
}

/* Does a name match an alternative, with "*" for any part? */
static bool
matches_alternative(const Alternative *alternative, const char *name, int len)
{
	const char *pattern = alternative->text;
	const char *star = NULL;
	int			at = 0;
	int			resume = 0;

	if (alternative->last != '*' && (len == 0 || fold(name[len - 1]) != alternative->last))
		return false;
	while (at < len)
	{
		if (*pattern == '*')
		{
			star = pattern++;
			resume = at;
		}
		else if (*pattern == fold(name[at]) && *pattern != '\0')
		{
			pattern++;
			at++;
		}
		else if (star != NULL)
		{
			pattern = star + 1;
			at = ++resume;
		}
		else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static bool
matches(const PathName *wanted, const char *name, int len)
{
	for (int i = 0; i < wanted->count; i++)
	{
		if (matches_alternative(&wanted->alternatives[i], name, len))
			return true;
	}
	return false;
}

/* The places where one is who is at a place: behind a ** as well. */
static uint64
from_place(const TexRule *rule, int place)
{
	uint64		places = UINT64CONST(1) << place;

	while (place < rule->name_count && rule->names[place].any_number)
		places |= UINT64CONST(1) << ++place;
	return places;
}

/* Where the record of a service begins; nowhere for a rule of another service. */
uint64
tex_rule_start(const TexRule *rule, const char *service, int len)
{
	if (rule->service != NULL && service != NULL &&
		(strlen(rule->service) != (size_t) len || memcmp(rule->service, service, len) != 0))
		return 0;
	return from_place(rule, 0);
}

/* One name further. */
static uint64
step(const TexRule *rule, uint64 places, const char *name, int len)
{
	uint64		next = 0;

	for (int i = 0; i <= rule->name_count; i++)
	{
		if ((places & UINT64CONST(1) << i) == 0)
			continue;
		if (i == rule->name_count || rule->names[i].any_number)
			next |= from_place(rule, i);
		else if (matches(&rule->names[i], name, len))
			next |= from_place(rule, i + 1);
	}
	return next;
}

/* Where one is behind the name of a member; one with points is as many names. */
uint64
tex_rule_step(const TexRule *rule, uint64 places, const char *name, int len)
{
	const char *end = name + len;

	while (places != 0 && !tex_rule_acts(rule, places))
	{
		const char *point = memchr(name, '.', end - name);

		places = step(rule, places, name, (point == NULL ? end : point) - name);
		if (point == NULL)
			break;
		name = point + 1;
	}
	return places;
}

/* Does the rule act where one is? */
bool
tex_rule_acts(const TexRule *rule, uint64 places)
{
	return (places & UINT64CONST(1) << rule->name_count) != 0;
}

bool
tex_rule_has_pattern(const TexRule *rule)
{
	return rule->has_pattern;
}

/* Does it drop whatever its path leads to? */
bool
tex_rule_drops(const TexRule *rule)
{
	return rule->action == DROP && !rule->has_pattern;
}

/* ----------------------------------------------------------------
 *		Patterns
 * ----------------------------------------------------------------
 */
/*
 * A byte that every match of a pattern has: a literal character outside of any group that no
 * quantifier follows.  Texts without it need no search.  '\0' where none is found.
 */
static char
required_byte(const char *pattern)
{
	char		found = '\0';
	int			groups = 0;

	if (strncmp(pattern, "***", 3) == 0 || strncmp(pattern, "(?", 2) == 0)
		return '\0';			/* of other rules */
	for (const char *p = pattern; *p != '\0'; p++)
	{
		if (*p == '\\' && p[1] != '\0')
			p++;
		else if (*p == '[')
		{
			p += p[1] == '^' ? 2 : 1;
			for (p += *p == ']'; *p != '\0' && *p != ']'; p++)
			{
				char		mark = p[1];

				/* [:class:] and the like, in which a bracket ends nothing. */
				if (*p == '[' && mark != '\0' && strchr(":.=", mark) != NULL)
				{
					for (p += 2; *p != '\0' && !(*p == mark && p[1] == ']'); p++)
						;
					if (*p != '\0')
						p++;
				}
			}
			if (*p == '\0')
				return '\0';
		}
		else if (*p == '(')
			groups++;
		else if (*p == ')')
			groups--;
		else if (*p == '|' && groups == 0)
			return '\0';
		else if (groups == 0 && strchr("@:/=-_", *p) != NULL && (p[1] == '\0' || strchr("*?{", p[1]) == NULL))
			found = *p;
		else if (*p == '{')
			p += strcspn(p, "}") - (strchr(p, '}') == NULL);
	}
	return found;
}

/* Compiles a pattern; NULL, or what is wrong. */
static char *
compile(TexRule *rule, const char *pattern)
{
	int			len = strlen(pattern);
	pg_wchar   *wide = palloc(sizeof(pg_wchar) * (len + 1));
	int			result = pg_regcomp(&rule->pattern, wide, pg_mb2wchar_with_len(pattern, wide, len),
									REG_ADVANCED, DEFAULT_COLLATION_OID);

	pfree(wide);
	if (result != REG_OKAY)
	{
		char	   *message = palloc(100);

		CHECK_FOR_INTERRUPTS();
		pg_regerror(result, &rule->pattern, message, 100);
		return message;
	}
	rule->has_pattern = true;
	rule->required = required_byte(pattern);
	return NULL;
}

/*
 * Does a match begin with the number of a card, which ends where a group of digits does? Then the match is
 * cut to it.  Luhn's check: from the last digit on each second one is doubled, and the sum of all digits
 * that there are then ends in 0.
 */
static bool
ends_card(const pg_wchar *text, regmatch_t *match, int64 text_len)
{
	int			digits[MOST_DIGITS];
	int			n = 0;
	regoff_t	end = -1;

	for (regoff_t i = match->rm_so; i < match->rm_eo && n < MOST_DIGITS; i++)
	{
		int			sum = 0;

		if (text[i] < '0' || text[i] > '9')
			continue;
		digits[n++] = text[i] - '0';
		if (n < LEAST_DIGITS || (i + 1 < text_len && text[i + 1] >= '0' && text[i + 1] <= '9'))
			continue;
		for (int k = 0; k < n; k++)
		{
			int			digit = digits[n - 1 - k] * (k % 2 + 1);

			sum += digit / 10 + digit % 10;
		}
		if (sum % 10 == 0)
			end = i + 1;
	}
	match->rm_eo = end;
	return end >= 0;
}

/* The next match from a place on. A text that cannot be searched matches as a whole. */
static bool
find(const TexRule *rule, const pg_wchar *text, int len, int from, regmatch_t *match)
{
	while (from <= len)
	{
		int			result = pg_regexec(unconstify(regex_t *, &rule->pattern), text, len, from, NULL, 1, match, 0);

		if (result == REG_NOMATCH)
			return false;
		if (result != REG_OKAY)
		{
			CHECK_FOR_INTERRUPTS();
			match->rm_so = from;
			match->rm_eo = len;
			return from < len;
		}
		from = match->rm_so + 1;
		if (match->rm_eo > match->rm_so && (!rule->luhn || ends_card(text, match, len)))
			return true;
	}
	return false;
}

/* Can the text match at all? */
static bool
may_match(const TexRule *rule, const char *text, int len)
{
	int			digits = 0;

	if (rule->required != '\0' && memchr(text, rule->required, len) == NULL)
		return false;
	if (!rule->luhn)
		return true;
	for (int i = 0; i < len && digits < LEAST_DIGITS; i++)
		digits += text[i] >= '0' && text[i] <= '9';
	return digits == LEAST_DIGITS;
}

/* ----------------------------------------------------------------
 *		Actions
 * ----------------------------------------------------------------
 */
/* Appends the hash of a text: of equal texts it is equal.  With trace_ext.redaction_key nobody finds the text by trying. */
static void
append_hash(StringInfo out, const char *text, int len)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_hmac_ctx *keyed;
	pg_cryptohash_ctx *plain;
	bool		made;

	if (tex_redaction_key != NULL && tex_redaction_key[0] != '\0')
	{
		keyed = pg_hmac_create(PG_SHA256);
		made = keyed != NULL && pg_hmac_init(keyed, (const uint8 *) tex_redaction_key, strlen(tex_redaction_key)) >= 0 &&
			pg_hmac_update(keyed, (const uint8 *) text, len) >= 0 && pg_hmac_final(keyed, digest, sizeof(digest)) >= 0;
		pg_hmac_free(keyed);
	}
	else
	{
		plain = pg_cryptohash_create(PG_SHA256);
		made = plain != NULL && pg_cryptohash_init(plain) >= 0 &&
			pg_cryptohash_update(plain, (const uint8 *) text, len) >= 0 && pg_cryptohash_final(plain, digest, sizeof(digest)) >= 0;
		pg_cryptohash_free(plain);
	}
	if (!made)
		elog(ERROR, "could not compute a SHA-256 hash");
	appendStringInfoString(out, "sha256:");
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
		appendStringInfo(out, "%02x", digest[i]);
}

/* Appends what stands for a text. */
static void
append_instead(const TexRule *rule, StringInfo out, const char *text, int len)
{
	switch (rule->action)
	{
		case HASH:
			append_hash(out, text, len);
			break;
		case TRUNCATE:
			appendBinaryStringInfo(out, text, pg_mbcharcliplen(text, len, rule->keep));
			break;
		default:
			appendStringInfoString(out, MASK);
	}
}

/* Replaces what the pattern finds. */
static TexRedacted
apply_pattern(const TexRule *rule, const char **text, int *len)
{
	pg_wchar   *wide;
	int			wide_len;
	int			at = 0;
	regmatch_t	match;
	StringInfoData out;
	char	   *piece;

	if (!may_match(rule, *text, *len))
		return TEX_KEPT;
	wide = palloc_extended(sizeof(pg_wchar) * ((Size) *len + 1), MCXT_ALLOC_HUGE);
	wide_len = pg_mb2wchar_with_len(*text, wide, *len);
	if (!find(rule, wide, wide_len, 0, &match))
	{
		pfree(wide);
		return TEX_KEPT;
	}
	if (rule->action == DROP)
		return TEX_DROPPED;
	initStringInfo(&out);
	piece = palloc((Size) *len + MAX_MULTIBYTE_CHAR_LEN);
	do
	{
		CHECK_FOR_INTERRUPTS();
		appendBinaryStringInfo(&out, piece, pg_wchar2mb_with_len(wide + at, piece, match.rm_so - at));
		append_instead(rule, &out, piece, pg_wchar2mb_with_len(wide + match.rm_so, piece, match.rm_eo - match.rm_so));
		at = match.rm_eo;
	} while (find(rule, wide, wide_len, at, &match));
	appendBinaryStringInfo(&out, piece, pg_wchar2mb_with_len(wide + at, piece, wide_len - at));
	pfree(wide);
	*text = out.data;
	*len = out.len;
	return TEX_CHANGED;
}

/* Has a rule act on a text, which where it changes is made anew in the current memory context. */
TexRedacted
tex_rule_apply(const TexRule *rule, const char **text, int *len)
{
	StringInfoData out;

	if (rule->has_pattern)
		return apply_pattern(rule, text, len);
	if (rule->action == DROP)
		return TEX_DROPPED;
	initStringInfo(&out);
	append_instead(rule, &out, *text, *len);
	*text = out.data;
	*len = out.len;
	return TEX_CHANGED;
}

/* ----------------------------------------------------------------
 *		The table
 * ----------------------------------------------------------------
 */
/* Reads a rule, in the current memory context; NULL, or what is wrong with it. */
static char *
read_rule(TexRule *rule, const char *path, const char *action, const char *pattern)
{
	const char *problem = parse_path(rule, path);

	if (problem != NULL)
		return psprintf("path \"%s\" cannot be read: %s", path, problem);
	rule->action = 0;
	while (rule->action < ACTION_COUNT && strcmp(action_names[rule->action], action) != 0)
		rule->action++;
	if (rule->action == ACTION_COUNT)
		return psprintf("there is no action \"%s\"", action);
	if (pattern != NULL)
	{
		problem = compile(rule, pattern);
		if (problem != NULL)
			return psprintf("pattern \"%s\" is no regular expression: %s", pattern, problem);
	}
	return NULL;
}

/*
 * check_redaction_rule(path text, action text, pattern text) returns text: what is wrong with a rule,
 * else NULL. Neither path nor action is NULL.
 */
Datum
tex_check_redaction_rule(PG_FUNCTION_ARGS)
{
	TexRule    *rule = palloc0(sizeof(TexRule));
	char	   *problem;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_TEXT_P(cstring_to_text("a redaction rule needs a path and an action"));
	problem = read_rule(rule, text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
						PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (rule->has_pattern)
		pg_regfree(&rule->pattern);
	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/*
 * redaction_changed() returns trigger: has all backends read the rules again
 */
Datum
tex_redaction_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "redaction_changed() was not called as a trigger");
	CacheInvalidateRelcacheByRelid(RelationGetRelid(((TriggerData *) fcinfo->context)->tg_relation));
	return PointerGetDatum(NULL);
}

/* The rules of this backend; what was loaded is of no use once is_current is false. */
static TexRedaction loaded;
static MemoryContext loaded_context = NULL;
static bool is_current = false;
static Oid	rules_relation = InvalidOid;

/* Relcache callback: the table was changed, or anything may have been. */
static void
on_relation_change(Datum arg, Oid relation)
{
	if (!OidIsValid(relation) || relation == rules_relation)
		is_current = false;
}

/* Forgets what was loaded; patterns may have memory of their own. */
static void
unload(void)
{
	for (int i = 0; i < loaded.rule_count; i++)
	{
		if (loaded.rules[i]->has_pattern)
			pg_regfree(&loaded.rules[i]->pattern);
	}
	memset(&loaded, 0, sizeof(loaded));
	MemoryContextReset(loaded_context);
}

/* Adds a row of the table. */
static void
load_rule(HeapTuple row, TupleDesc desc)
{
	MemoryContext old = MemoryContextSwitchTo(loaded_context);
	TexRule    *rule = palloc0(sizeof(TexRule));
	char	   *name = SPI_getvalue(row, desc, 1);
	char	   *problem = read_rule(rule, SPI_getvalue(row, desc, 2), SPI_getvalue(row, desc, 3), SPI_getvalue(row, desc, 4));

	loaded.rules[loaded.rule_count++] = rule;
	rule->service = SPI_getvalue(row, desc, 5);
	rule->keep = atoi(SPI_getvalue(row, desc, 6));
	rule->luhn = SPI_getvalue(row, desc, 7)[0] == 't';
	MemoryContextSwitchTo(old);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),	/* not the fault of what comes */
				 errmsg("redaction rule \"%s\" cannot be followed", name),
				 errdetail_internal("%s.", problem),
				 errhint("Nothing is stored until it is mended or disabled in trace_ext.redaction_rules.")));
}

/* Reads the enabled rules. Whatever fails, they are read again the next time. */
static void
load(void)
{
	TexOwnerContext owner;
	Snapshot	snapshot;
	SPIPlanPtr	plan;

	if (loaded_context == NULL)
	{
		loaded_context = AllocSetContextCreate(TopMemoryContext, "trace_ext redaction rules", ALLOCSET_SMALL_SIZES);
		CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
	}
	unload();
	rules_relation = tex_relation_oid("redaction_rules");
	is_current = true;			/* an invalidation from here on is of what may not be seen below */
	tex_become_owner(&owner);
	SPI_connect();
	plan = SPI_prepare("SELECT name, path, action, pattern, service, keep, luhn FROM trace_ext.redaction_rules WHERE enabled ORDER BY name COLLATE \"C\"",
					   0, NULL);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (plan == NULL || SPI_execute_snapshot(plan, NULL, NULL, snapshot, InvalidSnapshot, true, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the redaction rules");
	UnregisterSnapshot(snapshot);
	loaded.rules = MemoryContextAlloc(loaded_context, sizeof(TexRule *) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
		load_rule(SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_finish();
	tex_become_caller(&owner);
	loaded.room = 16;
	loaded.places = MemoryContextAlloc(loaded_context, sizeof(uint64) * loaded.room * Max(loaded.rule_count, 1));
}

/*
 * The rules that are enabled, for one batch; NULL where there are none, and then nothing else of this
 * room's redaction is called. They stay until this is called again.
 */
TexRedaction *
tex_redaction(void)
{
	AcceptInvalidationMessages();
	if (!is_current)
	{
		PG_TRY();
		{
			load();
		}
		PG_CATCH();
		{
			is_current = false;
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	return loaded.rule_count == 0 ? NULL : &loaded;
}
