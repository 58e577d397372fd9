/*
 * lock_types.c
 *		Whether a lock type, as a client spells it, keeps two holders apart.
 *
 * Clients write "RWLock-Read", "RwLock::Read", "pthread_rwlock_rdlock", "LOCK_SH"
 * and "sync.RWMutex.RLock" for one thing.  Words decide, not letters: a
 * "ThreadLock" or a "SpreadLock" holds no word "read".  A word starts after
 * anything but a letter or digit, and at a capital after a small letter; what is
 * written together ("rdlock", "READLOCK") is taken apart if it is made of known
 * words and nothing else.
 *
 * The name of a class of locks says nothing of how one is held: "ReadWriteLock",
 * "RWMutex" and "shared_mutex" are dropped first.  Of what is left, a word for
 * writing or excluding wins over one for reading or sharing.  What says neither is
 * exclusive, but for a semaphore, which lets in as many as it counts.
 *
 * The names that databases give to locks are misleading in two places: "row
 * exclusive" and "intention exclusive" do not exclude each other.
 */
#include "postgres.h"

#include <ctype.h>

#include "history/spelling.h"

/* A type has no more words than that; what comes after them is not looked at. */
#define MOST_WORDS	48
#define LONGEST_WORD 32

typedef enum Word
{
	OTHER,
	DETAIL,						/* says what is locked, not how */
	READING,
	WRITING,
	SHARING,
	EXCLUDING,
	LETTER,						/* r, s: short for reading, sharing; is, ix: for intention */
	READ_WRITE,
	LOCK,
	MUTEX,
	TIMED,
	SINGLE,
	ROW,
	INTENTION,
	NO,
	UNTRUE,
	SEMAPHORE,
	BINARY,
	REENTRANT,					/* where RLock means a re-entrant lock */
	NUMBER
} Word;

static const struct
{
	const char *spelling;
	Word		word;
}			vocabulary[] = {
	{"read", READING}, {"reads", READING}, {"reader", READING}, {"readers", READING},
	{"rd", READING}, {"readonly", READING}, {"readable", READING},
	{"write", WRITING}, {"writes", WRITING}, {"writer", WRITING}, {"writers", WRITING},
	{"wr", WRITING}, {"writable", WRITING},
	{"shared", SHARING}, {"share", SHARING}, {"shareable", SHARING}, {"sh", SHARING}, {"shr", SHARING},
	{"exclusive", EXCLUDING}, {"exclusively", EXCLUDING}, {"excl", EXCLUDING}, {"ex", EXCLUDING},
	{"unique", EXCLUDING}, {"update", EXCLUDING}, {"upd", EXCLUDING},
	{"r", LETTER}, {"s", LETTER}, {"is", LETTER}, {"ix", LETTER},
	{"rw", READ_WRITE}, {"srw", READ_WRITE},
	{"lock", LOCK}, {"locks", LOCK}, {"locked", LOCK}, {"locker", LOCK}, {"lck", LOCK},
	{"unlock", LOCK}, {"unlocked", LOCK}, {"unlck", LOCK}, {"locking", LOCK},
	{"mutex", MUTEX}, {"timed", TIMED}, {"recursive", TIMED}, {"single", SINGLE},
	{"row", ROW}, {"intention", INTENTION}, {"intent", INTENTION},
	{"no", NO}, {"non", NO}, {"not", NO}, {"false", UNTRUE},
	{"semaphore", SEMAPHORE}, {"semaphores", SEMAPHORE}, {"sem", SEMAPHORE},
	{"binary", BINARY},
	{"threading", REENTRANT}, {"thread", REENTRANT}, {"multiprocessing", REENTRANT},
	{"python", REENTRANT}, {"gevent", REENTRANT}, {"eventlet", REENTRANT}, {"redisson", REENTRANT},
	{"reentrant", REENTRANT},
	{"rec", DETAIL}, {"gap", DETAIL}, {"supremum", DETAIL},
	{"access", OTHER}, {"key", OTHER}, {"try", OTHER}, {"enter", OTHER}, {"exit", OTHER},
	{"acquire", OTHER}, {"release", OTHER}, {"guard", OTHER}, {"for", OTHER}, {"mode", OTHER},
	{"spin", OTHER}, {"as", OTHER}, {"multi", OTHER}, {"multiple", OTHER}, {"only", OTHER},
	{"owned", OTHER}, {"to", OTHER}, {"in", OTHER}, {"nb", OTHER}, {"table", OTHER},
};

/* What a type says, word by word. */
typedef struct Words
{
	Word		words[MOST_WORDS];
	bool		intends[MOST_WORDS];	/* a LETTER that is short for intention */
	int			n;
	long		count;			/* the largest number; -1: none */
} Words;

/* Words beyond the limit are dropped: a type is a name, not a text. */
static void
add_word(Words *words, Word word, bool intends)
{
	if (words->n == MOST_WORDS)
		return;
	words->words[words->n] = word;
	words->intends[words->n++] = intends;
}

/*
 * Take a word apart into known ones, and add these; false if that is not possible.
 * A letter is a word by itself, or the first before "lock".
 */
static bool
add_known_words(Words *words, const char *text, bool first)
{
	int			n = words->n;

	for (size_t i = 0; i < lengthof(vocabulary); i++)
	{
		size_t		len = strlen(vocabulary[i].spelling);
		const char *rest = text + len;

		if (strncmp(text, vocabulary[i].spelling, len) != 0 ||
			(vocabulary[i].word == LETTER &&
			 !(first && (*rest == '\0' || strncmp(rest, "lock", 4) == 0 ||
						 strncmp(rest, "unlock", 6) == 0))))
			continue;
		add_word(words, vocabulary[i].word, vocabulary[i].word == LETTER && text[0] == 'i');
		if (*rest == '\0' || add_known_words(words, rest, false))
			return true;
		words->n = n;
	}
	return false;
}

/* Adds what stands between two ends of words: a number, known words, or one unknown. */
static void
add_text(Words *words, const char *text, size_t len)
{
	char		word[LONGEST_WORD + 1];

	if (strspn(text, "0123456789") >= len)
	{
		words->count = Max(words->count, strtol(text, NULL, 10));
		add_word(words, NUMBER, false);
		return;
	}
	/* "Lock2" is one more lock, "S3" no letter with a number. */
	while (len > 2 && isdigit((unsigned char) text[len - 1]))
		len--;
	if (len > LONGEST_WORD)
	{
		add_word(words, OTHER, false);
		return;
	}
	for (size_t i = 0; i < len; i++)
		word[i] = pg_ascii_tolower((unsigned char) text[i]);
	word[len] = '\0';
	if (!add_known_words(words, word, true))
		add_word(words, OTHER, false);
}

/* Of ASCII, whatever the locale: bytes of other letters are no capitals. */
static bool
is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

/* Of ASCII as well. */
static bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

/* Letters of any language, digits, and what stands within a word. */
static bool
in_word(char c)
{
	return is_upper(c) || is_lower(c) || (c >= '0' && c <= '9') || c == '\'' || IS_HIGHBIT_SET(c);
}

/* Takes a type apart into words; see the head of the file for where one begins. */
static void
split(Words *words, const char *type)
{
	const char *start = type;

	words->n = 0;
	words->count = -1;
	for (const char *p = type;; p++)
	{
		/* "ReadLock", "RLock", "HTTPLock": a capital starts a word, the last of many. */
		bool		starts = p > start && is_upper(*p) &&
			(!is_upper(p[-1]) || is_lower(p[1]));

		if (in_word(*p) && !starts)
			continue;
		if (p > start)
			add_text(words, start, p - start);
		if (*p == '\0')
			return;
		start = in_word(*p) ? p : p + 1;
	}
}

/* The word at a place; OTHER outside, so that neighbours can be asked for at both ends. */
static Word
word_at(const Words *words, int i)
{
	return i >= 0 && i < words->n ? words->words[i] : OTHER;
}

/* How many words from i on are the name of a class of locks, or a detail. */
static int
class_name(const Words *words, int i)
{
	int			n = 1;

	if (word_at(words, i) == READ_WRITE || word_at(words, i) == DETAIL)
		return 1;
	if (word_at(words, i) == NO && word_at(words, i + 1) == DETAIL)
		return 2;
	if (word_at(words, i) == READING && word_at(words, i - 1) != NO)
	{
		while (word_at(words, i + n) == SINGLE || word_at(words, i + n) == EXCLUDING)
			n++;
		return word_at(words, i + n) == WRITING ? n + 1 : 0;
	}
	if (word_at(words, i) == SHARING)
	{
		while (word_at(words, i + n) == TIMED)
			n++;
		return word_at(words, i + n) == MUTEX ? n + 1 : 0;
	}
	return 0;
}

/* Drops what names a class of locks, or says what is locked, not how. */
static void
drop_class_names(Words *words)
{
	for (int i = 0; i < words->n;)
	{
		int			n = class_name(words, i);
		int			rest = words->n - i - n;

		if (n == 0)
		{
			i++;
			continue;
		}
		memmove(&words->words[i], &words->words[i + n], sizeof(Word) * rest);
		memmove(&words->intends[i], &words->intends[i + n], sizeof(bool) * rest);
		words->n -= n;
	}
}

/* Whether a word is anywhere in the type. */
static bool
has(const Words *words, Word word)
{
	for (int i = 0; i < words->n; i++)
		if (words->words[i] == word)
			return true;
	return false;
}

/* A letter counts where it is all there is, or the last word, or before "lock". */
static bool
letter_counts(const Words *words, int i)
{
	if (word_at(words, i + 1) == LOCK)
		return !has(words, REENTRANT) || words->intends[i];
	return i == words->n - 1;
}

/* What word i says: +1 that holders exclude each other, -1 that they do not, 0 nothing. */
static int
meaning(const Words *words, int i)
{
	Word		before = word_at(words, i - 1);
	bool		untrue = word_at(words, i + 1) == UNTRUE;

	switch (words->words[i])
	{
		case READING:
			/* MySQL's "SHARED_NO_READ_WRITE" keeps out others of its kind. */
			return before == NO || untrue ? 1 : -1;
		case SHARING:
			return before == NO || untrue ? 1 : -1;
		case WRITING:
			return untrue ? -1 : 1;
		case EXCLUDING:
			if (before == NO || before == INTENTION || untrue)
				return -1;
			return before == ROW && word_at(words, i - 2) != SHARING ? -1 : 1;
		case INTENTION:
			/* "shared with intent exclusive" does exclude its like. */
			return word_at(words, i + 1) == EXCLUDING && has(words, SHARING) ? 1 : -1;
		case LETTER:
			return letter_counts(words, i) ? -1 : 0;
		default:
			return 0;
	}
}

/* A semaphore of one is a lock; how many other ones let in, they often do not say. */
static TexLockMode
semaphore_mode(const Words *words)
{
	if (has(words, BINARY) || has(words, MUTEX) || words->count == 0 || words->count == 1)
		return TEX_LOCK_EXCLUSIVE;
	return TEX_LOCK_COUNTED;
}

/*
 * How holders of a lock of that type stand to each other; type is not NULL. A word for excluding
 * wins over all others; see the head of the file.
 */
TexLockMode
tex_lock_mode(const char *type)
{
	Words		words;
	bool		shared = false;

	split(&words, type);
	drop_class_names(&words);
	for (int i = 0; i < words.n; i++)
	{
		int			says = meaning(&words, i);

		if (says > 0)
			return TEX_LOCK_EXCLUSIVE;
		shared = shared || says < 0;
	}
	if (shared)
		return TEX_LOCK_SHARED;
	return has(&words, SEMAPHORE) ? semaphore_mode(&words) : TEX_LOCK_EXCLUSIVE;
}
