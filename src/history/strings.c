/*
 * strings.c
 *		Strings by number: equal strings get the same small number.
 *
 * The detector compares variables, locks, threads and sets of held locks all the
 * time; numbers make that one comparison, and a million events with forty
 * distinct names cost forty strings.  Open addressing over the hash, doubling
 * when half full; everything lives in the memory context that was current when the
 * table was created.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "history/strings.h"

typedef struct NameEntry
{
	const char *text;			/* terminated, though it may hold zero bytes */
	int32		len;
	uint32		hash;
} NameEntry;

struct TexStrings
{
	MemoryContext context;
	NameEntry  *names;
	int32		count;
	int32		room;
	int32	   *slots;			/* number of the name, or TEX_NO_NAME */
	uint32		mask;
};

/* Empty slots, a power of two of them. */
static void
make_slots(TexStrings *names, uint32 nslots)
{
	names->slots = MemoryContextAllocHuge(names->context, sizeof(int32) * (Size) nslots);
	memset(names->slots, 0xff, sizeof(int32) * (Size) nslots);
	names->mask = nslots - 1;
}

/* An empty table in the current memory context, where all of it stays. */
TexStrings *
tex_strings_create(void)
{
	TexStrings   *names = palloc0(sizeof(TexStrings));

	names->context = CurrentMemoryContext;
	names->room = 64;
	names->names = palloc(sizeof(NameEntry) * names->room);
	make_slots(names, 128);
	return names;
}

/* Doubles names and slots, which keeps the slots at most half full. */
static void
grow(TexStrings *names)
{
	uint32		nslots = (names->mask + 1) * 2;

	names->room *= 2;
	names->names = repalloc_huge(names->names, sizeof(NameEntry) * (Size) names->room);
	pfree(names->slots);
	make_slots(names, nslots);
	for (int32 i = 0; i < names->count; i++)
	{
		uint32		slot = names->names[i].hash & names->mask;

		while (names->slots[slot] != TEX_NO_NAME)
			slot = (slot + 1) & names->mask;
		names->slots[slot] = i;
	}
}

/*
 * The number of a string, given out in the order of first appearance from 0 on. The text is copied;
 * it may hold zero bytes, so that composed keys can be names as well.
 */
int32
tex_strings_add(TexStrings *names, const char *text, int len)
{
	uint32		hash = hash_bytes((const unsigned char *) text, len);
	uint32		slot = hash & names->mask;
	char	   *copy;

	for (; names->slots[slot] != TEX_NO_NAME; slot = (slot + 1) & names->mask)
	{
		const NameEntry *name = &names->names[names->slots[slot]];

		if (name->hash == hash && name->len == len && memcmp(name->text, text, len) == 0)
			return names->slots[slot];
	}

	if (names->count == names->room)
	{
		grow(names);
		return tex_strings_add(names, text, len);
	}
	copy = MemoryContextAlloc(names->context, len + 1);
	memcpy(copy, text, len);
	copy[len] = '\0';
	names->names[names->count] = (NameEntry) {.text = copy,.len = len,.hash = hash};
	names->slots[slot] = names->count;
	return names->count++;
}

/* The string, terminated, or NULL for TEX_NO_NAME; valid as long as the table. */
const char *
tex_strings_text(const TexStrings *names, int32 number)
{
	return number == TEX_NO_NAME ? NULL : names->names[number].text;
}

/* Its length in bytes; the number must be one that was given out. */
int
tex_strings_len(const TexStrings *names, int32 number)
{
	return names->names[number].len;
}

/* How many there are: all numbers are below. */
int32
tex_strings_count(const TexStrings *names)
{
	return names->count;
}
