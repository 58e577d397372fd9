/*
 * cache_query.c
 *		What has to be known of a query before its result can be cached.
 *
 * A query is known by the tree that parser and rewriter make of it.  Names have
 * become oids there, views their queries, and the policies of row-level security
 * are conditions; so two sessions for which the same text means different things,
 * for whatever reason, have different trees, and share no result.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parser.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "cache_functions.h"
#include "cache_query.h"
#include "compat.h"

typedef struct Examination
{
	TexQuery   *query;
	const char *text;
	TexNeeds	needs;
} Examination;

/* The place of an error is one in the query, not in that of the caller. */
static void
show_query(void *text)
{
	int			position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery(text);
}

static TexQuery *
parse(const char *text, const Oid *types, int n_types)
{
	TexQuery   *query = palloc0(sizeof(TexQuery));
	List	   *statements = raw_parser(text, RAW_PARSE_DEFAULT);
	List	   *rewritten;

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a cached query must be one statement, not %d", list_length(statements))));
	if (!IsA(linitial_node(RawStmt, statements)->stmt, SelectStmt))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a cached query must be a SELECT")));
	rewritten = pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt, statements), text,
												   types, n_types, NULL);
	if (list_length(rewritten) == 1)
		query->tree = linitial_node(Query, rewritten);
	if (query->tree == NULL || query->tree->commandType != CMD_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a cached query must be a SELECT that creates nothing")));
	query->desc = ExecCleanTypeFromTL(query->tree->targetList);
	return query;
}

/*
 * Parses, analyses and rewrites the text of one SELECT, in the current memory
 * context.  Locks its relations until the transaction ends, as any query does.
 */
TexQuery *
tex_query_parse(const char *text, const Oid *types, int n_types)
{
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = show_query,
		.arg = unconstify(char *, text)
	};
	TexQuery   *query;

	error_context_stack = &context;
	query = parse(text, types, n_types);
	error_context_stack = context.previous;
	return query;
}

/*
 * Why a result that reads a relation cannot be cached, or NULL.  Where it could be
 * with a ttl, because only writes go unnoticed, "ever" is false.
 */
const char *
tex_relation_refusal(Oid relation, bool *ever)
{
	*ever = true;
	if (get_rel_persistence(relation) == RELPERSISTENCE_TEMP)
		return "is temporary: other sessions have another one, or none.";
	if (get_rel_relkind(relation) == RELKIND_FOREIGN_TABLE)
		return "is a foreign table, whose writes cannot be noticed.";
	*ever = false;
	if (get_rel_relkind(relation) == RELKIND_SEQUENCE)
		return "is a sequence, which changes outside of transactions.";
	if (IsCatalogRelationOid(relation))
		return "is a system catalog, whose writes are not tracked.";
	return NULL;
}

static void
examine_relation(Examination *e, Oid relation)
{
	bool		ever;
	const char *refusal = tex_relation_refusal(relation, &ever);

	e->query->relations = list_append_unique_oid(e->query->relations, relation);
	if (refusal == NULL)
		return;
	if (ever)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot cache a query that reads \"%s\"", get_rel_name(relation)),
				 errdetail("The relation %s", refusal)));
	if (e->needs.ttl_reason == NULL)
		e->needs.ttl_reason = psprintf("Relation \"%s\" %s", get_rel_name(relation), refusal);
}

static void
examine_query(Examination *e, Query *tree)
{
	ListCell   *cell;

	/*
	 * Else done when it is executed, which it may not be.  A session that has not
	 * looked at the query before may not have been told of a REVOKE, on a standby.
	 */
	tex_check_rights(tree);
	if (tree->hasModifyingCTE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot cache a query that writes")));
	if (tree->rowMarks != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot cache a query that locks rows")));
	foreach(cell, tree->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		/* A subquery with a relation is a view. */
		if (entry->rtekind == RTE_RELATION ||
			(entry->rtekind == RTE_SUBQUERY && OidIsValid(entry->relid)))
			examine_relation(e, entry->relid);
		if (entry->tablesample && entry->tablesample->repeatable == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot cache a query that takes a random sample"),
					 errhint("Add REPEATABLE to TABLESAMPLE.")));
	}
}

static bool
is_time_type(Oid type)
{
	return type == DATEOID || type == TIMEOID || type == TIMETZOID ||
		type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

/*
 * Is there a word for a time that moves in the literal that begins at or after
 * this place?  The parser has replaced 'today' by the date of today.
 */
static bool
names_moving_time(const char *literal)
{
	static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
	const char *p = strchr(literal, '\'');

	for (p = p ? p + 1 : ""; *p && *p != '\''; p++)
	{
		if (isalpha((unsigned char) p[-1]))
			continue;
		for (size_t i = 0; i < lengthof(words); i++)
		{
			if (pg_strncasecmp(p, words[i], strlen(words[i])) == 0)
				return true;
		}
	}
	return false;
}

static void
examine_constant(Examination *e, Const *constant)
{
	if (constant->location >= 0 && (size_t) constant->location < strlen(e->text) &&
		!constant->constisnull && is_time_type(constant->consttype) &&
		names_moving_time(e->text + constant->location))
		tex_need(&e->needs, TEX_NEEDS_TIME, "The meaning of a time like 'now' or 'today'");
}

static bool
examine_function(Oid function, void *arg)
{
	if (!tex_may_execute(function))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));
	tex_needs_of_function(function, &((Examination *) arg)->needs);
	return false;
}

static bool
examine_node(Node *node, void *arg)
{
	Examination *e = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		examine_query(e, (Query *) node);
		return query_tree_walker((Query *) node, examine_node, arg, 0);
	}
	(void) check_functions_in_node(node, examine_function, arg);
	if (IsA(node, SQLValueFunction))
		tex_needs_of_value_function(((SQLValueFunction *) node)->op, &e->needs);
	else if (IsA(node, Const))
		examine_constant(e, (Const *) node);
	return expression_tree_walker(node, examine_node, arg);
}

/*
 * Blanks the places in the text, which are printed as well, so that queries that
 * are only written differently are the same.
 */
static void
blank_locations(char *tree)
{
	static const char *const fields[] = {"location ", ":stmt_len "};

	for (size_t i = 0; i < lengthof(fields); i++)
	{
		for (char *p = strstr(tree, fields[i]); p != NULL; p = strstr(p, fields[i]))
		{
			for (p += strlen(fields[i]); *p == '-' || isdigit((unsigned char) *p); p++)
				*p = ' ';
		}
	}
}

static void
hash_tree(TexQuery *query)
{
	char	   *tree = nodeToString(query->tree);

	blank_locations(tree);
	query->hash[0] = DatumGetUInt64(hash_any_extended((unsigned char *) tree, strlen(tree), 1));
	query->hash[1] = DatumGetUInt64(hash_any_extended((unsigned char *) tree, strlen(tree), 2));
	pfree(tree);
}

static void
refuse_volatile(const TexNeeds *needs)
{
	if (needs->needs & TEX_IS_VOLATILE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot cache a query that calls the volatile function %s",
						format_procedure(needs->volatile_function)),
				 errdetail("Each call may return something else, or change something."),
				 errhint("Call it outside of cached(); or declare it STABLE, if it is.")));
}

/*
 * Finds out what the result of a query depends on; refuses it where it can never be
 * cached.
 */
void
tex_query_examine(TexQuery *query, const char *text)
{
	Examination e = {.query = query, .text = text};

	(void) examine_node((Node *) query->tree, &e);
	refuse_volatile(&e.needs);
	for (int i = 0; i < query->desc->natts; i++)
	{
		if (TupleDescAttr(query->desc, i)->atttypid == RECORDOID ||
			TupleDescAttr(query->desc, i)->atttypid == RECORDARRAYOID)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot cache a result with records of no named type"),
					 errhint("Cast column %d to a composite type.", i + 1)));
	}
	query->has_functions = (e.needs.needs & TEX_NEEDS_STATEMENTS) != 0;
	query->needs_settings = (e.needs.needs & TEX_NEEDS_SETTING) != 0;
	query->ttl_reason = e.needs.ttl_reason;
	hash_tree(query);
}
