/*
 * tables.c
 *		Which tables are watched, as this backend knows it.
 *
 * A table is watched where it has the row trigger that watch() made: its arguments say
 * which columns make its key, which are watched, and how much of their values may leave
 * the table.  So it is dumped, restored, cloned to partitions and dropped with its table,
 * and what a backend knows of it becomes invalid by the same messages as the rest of the
 * relation cache.  Columns are named in the arguments by number and name: the number
 * counts in the table for which the trigger was made, whose oid is there as well, so a
 * column may be renamed; the name counts where a dump has made the table anew (where it may
 * not be, until watch() is called again).
 *
 * What a relation is known to be is kept in a hash by oid.  Most are not watched: these are also
 * in an array by the end of their oid, so that a statement pays a comparison for each.
 *
 * An entry that became invalid while a statement goes by it is retired: it is freed when
 * no transaction is under way.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "watch/tables.h"
#include "watch/writes.h"

/* The arguments of the trigger, from 0; then the columns of the key, then those watched, or "*". */
enum
{
	ARG_VERSION, ARG_VALUES, ARG_TABLE, ARG_WATCHED_BY, ARG_KEYS, ARG_FIRST
};

#define ARGUMENTS_VERSION "1"

typedef struct Entry
{
	Oid			relation;		/* hash key */
	bool		known;
	TexWatch   *watch;			/* NULL: it is not watched */
} Entry;

#define UNWATCHED 256

static HTAB *entries = NULL;
static Oid	unwatched[UNWATCHED];	/* each in its place, or InvalidOid */
static int	nwatched = 0;		/* entries that are watched */
static TexWatch *retired = NULL;

/* Forgets what is known of a relation; who uses it may go on. */
static void
forget(Entry *entry)
{
	if (unwatched[entry->relation % UNWATCHED] == entry->relation)
		unwatched[entry->relation % UNWATCHED] = InvalidOid;
	entry->known = false;
	if (entry->watch)
	{
		entry->watch->next_retired = retired;
		retired = entry->watch;
		entry->watch = NULL;
		nwatched--;
	}
}

/*
 * Forgets the relation, and partitions of which it is the root; InvalidOid: all of them.  Temporary
 * tables come and go in sessions that watch nothing: they pay one look-up.
 */
static void
forget_relation(Datum arg, Oid relation)
{
	HASH_SEQ_STATUS scan;
	Entry	   *entry;

	if (entries == NULL)
		return;
	if (OidIsValid(relation) && nwatched == 0)
	{
		if (unwatched[relation % UNWATCHED] == relation)
			unwatched[relation % UNWATCHED] = InvalidOid;
		hash_search(entries, &relation, HASH_REMOVE, NULL);
		return;
	}
	hash_seq_init(&scan, entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (!OidIsValid(relation) || entry->relation == relation ||
			(entry->watch && entry->watch->root == relation))
			forget(entry);
}

/* Frees what no statement can be using any more: call it when no transaction is under way. */
void
tex_watches_free_retired(void)
{
	while (retired)
	{
		TexWatch   *watch = retired;

		retired = watch->next_retired;
		MemoryContextDelete(watch->context);
	}
}

/* Called once from _PG_init(), with preload only. */
void
tex_watches_init(void)
{
	CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
}

/* The trigger that watch() made, or the clone of it, or NULL. */
static const Trigger *
find_trigger(Relation relation)
{
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (strncmp(trigger->tgname, "trace_ext_watch", 15) == 0 &&
			trigger->tgnargs > ARG_FIRST && tex_is_watch_function(trigger->tgfoid))
			return trigger;
	}
	return NULL;
}

/* The table that watch() named: the topmost that a partition has its clone from. */
static Oid
root_of(Relation relation, const Trigger *trigger)
{
	Oid			root = RelationGetRelid(relation);
	List	   *ancestors;
	ListCell   *lc;

	if (!trigger->tgisclone)
		return root;
	ancestors = get_partition_ancestors(root);
	foreach(lc, ancestors)
	{
		Relation	ancestor = RelationIdGetRelation(lfirst_oid(lc));
		const Trigger *original = ancestor ? find_trigger(ancestor) : NULL;

		if (original)
			root = lfirst_oid(lc);
		if (ancestor)
			RelationClose(ancestor);
		if (original == NULL)
			break;
	}
	return root;
}

/* The kind of JSON that a type becomes. */
static TexValueKind
kind_of_type(Oid type)
{
	switch (getBaseType(type))
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case OIDOID:
			return TEX_VALUE_NUMBER;
		case BOOLOID:
			return TEX_VALUE_BOOLEAN;
		default:
			return TEX_VALUE_TEXT;
	}
}

/* How its values are printed: types of all days are so without a detour. */
static TexPrint
print_of_type(Oid type)
{
	switch (getBaseType(type))
	{
		case INT2OID:
			return TEX_PRINT_INT2;
		case INT4OID:
			return TEX_PRINT_INT4;
		case INT8OID:
			return TEX_PRINT_INT8;
		case NUMERICOID:
		case BOOLOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case UUIDOID:
		case OIDOID:
		case NAMEOID:
		case JSONOID:
		case JSONBOID:
			return TEX_PRINT_ALIKE;
		default:
			return TEX_PRINT_SET;
	}
}

/* Whether a table has a column of that number, and not only had it; its name then, else NULL. */
static char *
name_of_column(Oid table, AttrNumber attribute)
{
	char	   *name = attribute > 0 ? get_attname(table, attribute, true) : NULL;

	return name && get_attnum(table, name) == attribute ? name : NULL;
}

/* Fills in a column of the root as it is in the relation; false where that has none of this name. */
static bool
add_column(Relation relation, Oid root, AttrNumber root_attribute, TexWatchColumn *column, MemoryContext context)
{
	char	   *name = name_of_column(root, root_attribute);
	AttrNumber	attribute;
	Form_pg_attribute form;
	Oid			output;

	if (name == NULL)
		return false;
	attribute = root == RelationGetRelid(relation) ? root_attribute :
		get_attnum(RelationGetRelid(relation), name);
	if (attribute <= 0)
		return false;
	form = TupleDescAttr(RelationGetDescr(relation), attribute - 1);
#ifdef ATTRIBUTE_GENERATED_VIRTUAL
	/* It is computed when it is read; a row does not have it. */
	if (form->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
		return false;
#endif
	column->attribute = attribute;
	column->root_attribute = root_attribute;
	namestrcpy(&column->name, name);
	column->kind = kind_of_type(form->atttypid);
	column->print = print_of_type(form->atttypid);
	column->suffix_len = strlen(quote_identifier(name)) + 1;
	column->suffix = MemoryContextStrdup(context, psprintf(".%s", quote_identifier(name)));
	column->length = form->attlen;
	column->by_value = form->attbyval;
	getTypeOutputInfo(form->atttypid, &output, &column->is_varlena);
	fmgr_info_cxt(output, &column->output, context);
	return true;
}

/* The attribute of the root that an argument "number:name" means, or 0. */
static AttrNumber
attribute_of_argument(const char *argument, Oid root, bool same_table)
{
	const char *colon = strchr(argument, ':');
	AttrNumber	attribute;

	if (colon == NULL)
		return 0;
	if (!same_table)
	{
		attribute = get_attnum(root, colon + 1);
		return attribute > 0 ? attribute : 0;
	}
	attribute = (AttrNumber) atoi(argument);
	return name_of_column(root, attribute) ? attribute : 0;
}

/* Whether an attribute of the root is one of the key. */
static bool
is_key(const TexWatch *watch, AttrNumber root_attribute)
{
	for (int i = 0; i < watch->nkeys; i++)
		if (watch->keys[i].root_attribute == root_attribute)
			return true;
	return false;
}

/* How many columns a table has or had; 0: it is gone. */
static int
number_of_columns(Oid table)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	int			n = 0;

	if (HeapTupleIsValid(tuple))
	{
		n = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
		ReleaseSysCache(tuple);
	}
	return n;
}

/* Reads the arguments; false where nothing can be watched by them, as when a column of the key is gone. */
static bool
read_arguments(TexWatch *watch, Relation relation, const Trigger *trigger)
{
	char	  **args = trigger->tgargs;
	bool		same_table = strtoul(args[ARG_TABLE], NULL, 10) == watch->root;
	int			nkeys = atoi(args[ARG_KEYS]);
	int			natts = number_of_columns(watch->root);

	if (strcmp(args[ARG_VERSION], ARGUMENTS_VERSION) != 0 || nkeys < 1 || ARG_FIRST + nkeys >= trigger->tgnargs)
		return false;
	watch->values = strcmp(args[ARG_VALUES], "plain") == 0 ? TEX_WATCH_PLAIN :
		strcmp(args[ARG_VALUES], "hash") == 0 ? TEX_WATCH_HASH : TEX_WATCH_NONE;
	watch->watched_by = MemoryContextStrdup(watch->context, args[ARG_WATCHED_BY]);
	watch->keys = MemoryContextAllocZero(watch->context, sizeof(TexWatchColumn) * nkeys);
	watch->columns = MemoryContextAllocZero(watch->context, sizeof(TexWatchColumn) * Max(natts, trigger->tgnargs));
	for (int i = 0; i < nkeys; i++)
	{
		AttrNumber	attribute = attribute_of_argument(args[ARG_FIRST + i], watch->root, same_table);

		if (attribute == 0 || !add_column(relation, watch->root, attribute, &watch->keys[watch->nkeys], watch->context))
			return false;
		watch->nkeys++;
	}
	if (strcmp(args[ARG_FIRST + nkeys], "*") == 0)
	{
		for (AttrNumber a = 1; a <= natts; a++)
			if (!is_key(watch, a) &&
				add_column(relation, watch->root, a, &watch->columns[watch->ncolumns], watch->context))
				watch->ncolumns++;
		return true;
	}
	for (int i = ARG_FIRST + nkeys; i < trigger->tgnargs; i++)
	{
		AttrNumber	attribute = attribute_of_argument(args[i], watch->root, same_table);

		if (attribute != 0 && add_column(relation, watch->root, attribute, &watch->columns[watch->ncolumns], watch->context))
			watch->ncolumns++;
	}
	return true;
}

/* Reads the arguments, and makes names: the same in each session, whatever it has quoted. */
static bool
read_names(TexWatch *watch, Relation relation, const Trigger *trigger, const char *schema, const char *table)
{
	bool		quote_all = quote_all_identifiers;
	bool		good;

	PG_TRY();
	{
		quote_all_identifiers = false;
		good = read_arguments(watch, relation, trigger);
		watch->name = MemoryContextStrdup(watch->context, quote_qualified_identifier(schema, table));
	}
	PG_FINALLY();
	{
		quote_all_identifiers = quote_all;
	}
	PG_END_TRY();
	return good;
}

/* What is watched of a relation, in a context of its own, or NULL. */
static TexWatch *
make_watch(Relation relation, const Trigger *trigger)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext watched table",
												  ALLOCSET_SMALL_SIZES);
	TexWatch   *watch = MemoryContextAllocZero(context, sizeof(TexWatch));
	char	   *schema;
	char	   *table;

	watch->context = context;
	watch->relation = RelationGetRelid(relation);
	watch->root = root_of(relation, trigger);
	watch->schema = get_rel_namespace(watch->root);
	schema = get_namespace_name(watch->schema);
	table = get_rel_name(watch->root);
	if (schema == NULL || table == NULL || !read_names(watch, relation, trigger, schema, table))
	{
		MemoryContextDelete(context);
		return NULL;
	}
	namestrcpy(&watch->schema_name, schema);
	watch->counts = tex_watch_table_counts(watch->root);
	/* It is complete: from here on it lives until it is forgotten. */
	MemoryContextSetParent(context, CacheMemoryContext);
	return watch;
}

/* Whether it is not known of a relation that it is not watched; throws nothing. */
bool
tex_watch_may_be(Oid relation_id)
{
	Entry	   *entry;

	if (unwatched[relation_id % UNWATCHED] == relation_id)
		return false;
	entry = entries == NULL ? NULL : hash_search(entries, &relation_id, HASH_FIND, NULL);
	if (entry == NULL || !entry->known || entry->watch)
		return true;
	unwatched[relation_id % UNWATCHED] = relation_id;
	return false;
}

/* Whether its schema still has the name that names of its variables begin with: no message of the table says so. */
static bool
is_named_so(const TexWatch *watch)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(watch->schema));
	bool		same = HeapTupleIsValid(tuple) &&
		strcmp(NameStr(((Form_pg_namespace) GETSTRUCT(tuple))->nspname), NameStr(watch->schema_name)) == 0;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return same;
}

/*
 * What is watched of a relation, which is locked by the caller's transaction; NULL: it is
 * not watched.  Valid until the end of the transaction.
 */
TexWatch *
tex_watch_of(Oid relation_id)
{
	bool		found;
	Entry	   *entry;
	Relation	relation;
	const Trigger *trigger;
	TexWatch   *watch = NULL;

	if (entries == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(Entry),.hcxt = CacheMemoryContext};

		entries = hash_create("trace_ext watched tables", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(entries, &relation_id, HASH_FIND, NULL);
	if (entry && entry->known && (entry->watch == NULL || is_named_so(entry->watch)))
		return entry->watch;

	relation = RelationIdGetRelation(relation_id);
	if (relation == NULL)
		return NULL;
	trigger = relation->rd_rel->relhastriggers ? find_trigger(relation) : NULL;
	if (trigger)
		watch = make_watch(relation, trigger);
	RelationClose(relation);

	/* Messages that came while it was made may have removed what was found before. */
	entry = hash_search(entries, &relation_id, HASH_ENTER, &found);
	if (!found)
		entry->watch = NULL;
	forget(entry);
	entry->watch = watch;
	entry->known = true;
	nwatched += watch != NULL;
	return watch;
}
