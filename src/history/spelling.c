/*
 * spelling.c
 *		What clients' spellings of accesses and orderings mean.
 *
 * Clients write "AcqRel" and "memory_order_acq_rel" for one thing.  Words decide,
 * not whole strings.  Types of locks are read in lock_types.c.
 */
#include "postgres.h"

#include <ctype.h>

#include "history/spelling.h"

/*
 * What ingest lets in, by exact spelling; rows may come by other doors, where an absent type counts
 * as a read and an unknown one as a write.
 */
TexAccessType
tex_access_type(const char *name)
{
	if (name == NULL || strcmp(name, "Read") == 0)
		return TEX_READ;
	if (strcmp(name, "AtomicRead") == 0)
		return TEX_ATOMIC_READ;
	if (strcmp(name, "AtomicWrite") == 0)
		return TEX_ATOMIC_WRITE;
	if (strcmp(name, "AtomicRMW") == 0)
		return TEX_ATOMIC_RMW;
	return TEX_WRITE;
}

/*
 * Whether one of the words that text is made of starts with a given word.
 * Words start after anything but a letter, and at a capital after a small letter.
 */
static bool
has_word(const char *text, const char *word)
{
	size_t		len = strlen(word);

	for (const char *p = text; *p; p++)
	{
		bool		starts = p == text || !isalpha((unsigned char) p[-1]) ||
			(islower((unsigned char) p[-1]) && isupper((unsigned char) *p));

		if (starts && pg_strncasecmp(p, word, len) == 0)
			return true;
	}
	return false;
}

/* What a fence does for others, TEX_ORDER_ bits. One without an ordering is the strongest. */
uint8
tex_fence_order(const char *ordering)
{
	uint8		order = 0;

	if (ordering == NULL || has_word(ordering, "seq") || has_word(ordering, "acqrel") ||
		has_word(ordering, "acq_rel") || pg_strcasecmp(ordering, "full") == 0)
		return TEX_ORDER_ACQUIRE | TEX_ORDER_RELEASE;
	if (has_word(ordering, "acquire") || has_word(ordering, "acq") || has_word(ordering, "consume"))
		order |= TEX_ORDER_ACQUIRE;
	if (has_word(ordering, "release") || has_word(ordering, "rel_"))
		order |= TEX_ORDER_RELEASE;
	return order;
}

/*
 * What an atomic access does for others: as its ordering says, but a read never
 * releases and a write never acquires.
 */
uint8
tex_access_order(TexAccessType access, const char *ordering)
{
	uint8		order = tex_fence_order(ordering);

	switch (access)
	{
		case TEX_ATOMIC_READ:
			return order & TEX_ORDER_ACQUIRE;
		case TEX_ATOMIC_WRITE:
			return order & TEX_ORDER_RELEASE;
		case TEX_ATOMIC_RMW:
			return order;
		default:
			return 0;
	}
}

/* Whether a query or a custom event says that its unit of work was undone. */
bool
tex_is_rollback(const char *name)
{
	return name != NULL &&
		(pg_strncasecmp(name, "rollback", 8) == 0 || pg_strncasecmp(name, "abort", 5) == 0) &&
		pg_strncasecmp(name, "rollback to", 11) != 0;
}
