/*
 * query.c
 *		What has to be known of a query before its result can be cached.
 *
 * A query is known by the tree that parser and rewriter make of it.  Names have
 * become oids there, views their queries, and the policies of row-level security
 * are conditions; so two sessions for which the same text means different things,
 * for whatever reason, have different trees, and share no result.
 *
 * The same tree says whether its result may stay without a ttl: if each node in it
 * is of a kind that is listed here, and each function one that is known
 * (functions.c).  Whatever else there is needs a ttl, and gets all settings into
 * its key.  A literal of a type whose input function is not IMMUTABLE was already read
 * by the parser, and may have been 'now': what was written is looked up by its place,
 * with its escapes resolved.  A literal of a view has no place, and was read for good
 * when the view was made.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parser.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "cache/functions.h"
#include "cache/query.h"
#include "common/event.h"
#include "compat.h"

/* This query can never be cached. */
#define REFUSE(...) ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), __VA_ARGS__))

/* Schemas of the search path where names are watched; there are seldom more. */
#define MOST_SCHEMAS 64

typedef struct Examination
{
	TexQuery   *query;
	List	   *literals;		/* String constants (A_Const) of its text */
	List	   *schemas;		/* where names are looked for */
	int			traits;			/* of TexTypeTrait, of all types that occur */
	bool		prints;			/* calls output functions of types that occur */
	bool		reads;			/* calls input functions of types that occur */
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

/* Before analysis, which turns them into values. */
static bool
collect_literals(Node *node, void *literals)
{
	if (node == NULL)
		return false;
	if (IsA(node, A_Const))
	{
		A_Const    *constant = (A_Const *) node;

		if (!constant->isnull && IsA(&constant->val.node, String))
			*(List **) literals = lappend(*(List **) literals, copyObject(constant));
		return false;
	}
	return raw_expression_tree_walker(node, collect_literals, literals);
}

/* The one SELECT that the text is, analysed and rewritten. */
static Query *
analyse(const char *text, const Oid *types, int n_types, List **literals)
{
	List	   *statements = raw_parser(text, RAW_PARSE_DEFAULT);
	List	   *rewritten;

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a cached query must be one statement, not %d", list_length(statements))));
	if (!IsA(linitial_node(RawStmt, statements)->stmt, SelectStmt))
		REFUSE(errmsg("a cached query must be a SELECT"));
	(void) collect_literals(linitial_node(RawStmt, statements)->stmt, literals);
	rewritten = pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt, statements), text,
												   types, n_types, NULL);
	if (list_length(rewritten) != 1 || linitial_node(Query, rewritten)->commandType != CMD_SELECT)
		REFUSE(errmsg("a cached query must be a SELECT that creates nothing"));
	return linitial_node(Query, rewritten);
}

/* Is a part of it a foreign table?  Of a router most tables have one on each node. */
static bool
has_foreign_part(Oid relation)
{
	ListCell   *cell;

	if (!tex_is_router() || !has_subclass(relation))
		return false;
	foreach(cell, find_all_inheritors(relation, NoLock, NULL))
	{
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_FOREIGN_TABLE)
			return true;
	}
	return false;
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
	if (has_foreign_part(relation))
		return "has parts on nodes, whose writes cannot be noticed.";
	*ever = false;
	if (get_rel_relkind(relation) == RELKIND_SEQUENCE)
		return "is a sequence, which changes outside of transactions.";
	if (IsCatalogRelationOid(relation))
		return "is a system catalog, whose writes are not tracked.";
	return NULL;
}

/* The first reason is the one that is told. */
static void
need_ttl(Examination *e, const char *reason)
{
	if (e->query->ttl_reason == NULL)
		e->query->ttl_reason = reason;
}

/* It may depend on anything that belongs to the session, too. */
static void
distrust(Examination *e, const char *reason)
{
	need_ttl(e, reason);
	e->query->scope = TEX_SETTINGS_ALL;
}

/*
 * A name that is looked for along the search path: a type's or a relation's, which has
 * a type of its name.  Whatever gets that name later, the query may mean it.
 */
static void
note_name(Examination *e, const char *name)
{
	ListCell   *cell;

	if (name == NULL)
		return;
	foreach(cell, e->schemas)
	{
		uint32		hash = GetSysCacheHashValue2(TYPENAMENSP, CStringGetDatum(name),
												 ObjectIdGetDatum(lfirst_oid(cell)));

		e->query->names = list_append_unique_int(e->query->names, (int) hash);
	}
}

/* A type that occurs: its traits, and that it has this name, in its schema. */
static void
note_type(Examination *e, Oid type)
{
	Oid			element = get_element_type(type);
	Oid			named = OidIsValid(element) ? element : type;
	HeapTuple	tuple;

	e->traits |= tex_type_traits(type, &e->query->relations);
	if (named < FirstNormalObjectId)
		return;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(named));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_type form = (Form_pg_type) GETSTRUCT(tuple);

		e->schemas = list_append_unique_oid(e->schemas, form->typnamespace);
		note_name(e, NameStr(form->typname));
		ReleaseSysCache(tuple);
	}
}

/* A relation that is read, or a view, by its name. */
static void
examine_relation(Examination *e, Oid relation)
{
	bool		ever;
	const char *refusal = tex_relation_refusal(relation, &ever);

	e->query->relations = list_append_unique_oid(e->query->relations, relation);
	note_name(e, get_rel_name(relation));
	if (refusal == NULL)
		return;
	if (ever)
		REFUSE(errmsg("cannot cache a query that reads \"%s\"", get_rel_name(relation)),
			   errdetail("The relation %s", refusal));
	need_ttl(e, psprintf("Relation \"%s\" %s", get_rel_name(relation), refusal));
}

static bool examine_function(Oid function, void *arg);

/* CREATE AGGREGATE calls each one IMMUTABLE, whatever it is made of. */
static void
examine_aggregate(Examination *e, Oid aggregate)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
	Form_pg_aggregate form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for aggregate %u", aggregate);
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	(void) examine_function(form->aggtransfn, e);
	(void) examine_function(form->aggfinalfn, e);
	(void) examine_function(form->aggcombinefn, e);
	(void) examine_function(form->aggserialfn, e);
	(void) examine_function(form->aggdeserialfn, e);
	(void) examine_function(form->aggmtransfn, e);
	(void) examine_function(form->aggminvtransfn, e);
	(void) examine_function(form->aggmfinalfn, e);
	ReleaseSysCache(tuple);
}

/*
 * A function that is called, if any; not necessarily by name, so that its caller need
 * not have the right to.
 */
static bool
examine_function(Oid function, void *arg)
{
	Examination *e = arg;
	HeapTuple	tuple;

	if (!OidIsValid(function))
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	switch (tex_function_trust(tuple))
	{
		case TEX_KNOWN:
			break;
		case TEX_PRINTS:
			e->prints = true;
			break;
		case TEX_READS:
			e->reads = true;
			break;
		case TEX_TRUSTED:
			e->query->scope = TEX_SETTINGS_ALL;
			break;
		case TEX_VOLATILE:
			REFUSE(errmsg("cannot cache a query that calls the volatile function %s",
						  format_procedure(function)),
				   errdetail("Each call may return something else, or change something."),
				   errhint("Call it outside of cached(); or declare it STABLE, if it is."));
			break;
		case TEX_TIMED:
			need_ttl(e, psprintf("%s changes with time.", format_procedure(function)));
			break;
		case TEX_OF_SESSION:
			e->query->of_session = true;
			/* FALLTHROUGH */
		case TEX_UNKNOWN:
			distrust(e, psprintf("%s is STABLE: what it depends on, beside tables, is not known.",
								 format_procedure(function)));
			break;
	}
	e->query->has_functions |= tex_function_executes(tuple);
	if (function >= FirstNormalObjectId)
	{
		e->query->scope = Max(e->query->scope, TEX_SETTINGS_EXTENSIONS);
		if (((Form_pg_proc) GETSTRUCT(tuple))->prokind == PROKIND_AGGREGATE)
			examine_aggregate(e, function);
	}
	ReleaseSysCache(tuple);
	return false;
}

/* A function that is called by name, so that the caller needs the right to. */
static bool
examine_call(Oid function, void *arg)
{
	if (!tex_may_execute(function))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));
	return examine_function(function, arg);
}

/* What was written where a constant is, or NULL. */
static const char *
literal_of(const Examination *e, const Const *constant)
{
	ListCell   *cell;

	foreach(cell, e->literals)
	{
		A_Const    *literal = lfirst_node(A_Const, cell);

		if (literal->location == constant->location)
			return strVal(&literal->val);
	}
	return NULL;
}

/* A literal: may what was written mean something else another time? */
static void
examine_constant(Examination *e, const Const *constant)
{
	int			traits = tex_type_traits(constant->consttype, &e->query->relations);
	const char *literal = literal_of(e, constant);

	if (constant->constisnull || constant->location < 0)
		return;
	if (traits & TEX_IS_NAME)
	{
		/* Like the name of a table or a function in the text. */
		if (constant->consttype == REGCLASSOID)
			note_name(e, get_rel_name(DatumGetObjectId(constant->constvalue)));
		else if (constant->consttype == REGTYPEOID)
			note_type(e, DatumGetObjectId(constant->constvalue));
	}
	else if (traits & TEX_STRANGE_INPUT)
		distrust(e, psprintf("What a literal of type %s means may change.",
							 format_type_be(constant->consttype)));
	else if ((traits & TEX_NAMES_TIMES) && (literal == NULL || !tex_time_is_fixed(literal)))
		need_ttl(e, "The meaning of a time like 'now' or 'today' changes with time.");
}

/* Of the system columns, some change without a write, as xmax. */
static void
examine_column(Examination *e, const Var *var)
{
	if (var->varattno < 0 && var->varattno != TableOidAttributeNumber &&
		var->varattno != SelfItemPointerAttributeNumber &&
		var->varattno != MinTransactionIdAttributeNumber)
		need_ttl(e, "A system column that is read changes without a write that could be noticed.");
}

/* CURRENT_USER and its like, which are no functions. */
static void
examine_value_function(Examination *e, const SQLValueFunction *function)
{
	switch (function->op)
	{
		case SVFOP_CURRENT_ROLE:
		case SVFOP_CURRENT_USER:
		case SVFOP_USER:
		case SVFOP_CURRENT_CATALOG:
			break;				/* in the key; renaming one wipes */
		case SVFOP_CURRENT_SCHEMA:
			/* May be that of temporary tables. */
			e->query->of_session = true;
			/* FALLTHROUGH */
		case SVFOP_SESSION_USER:
			distrust(e, "The session user or the current schema is not part of what the query means.");
			break;
		default:
			need_ttl(e, "The current date or time changes with time.");
			break;
	}
}

/* The columns of a function in FROM, which need not be read one by one. */
static void
examine_function_in_from(Examination *e, const RangeTblFunction *function)
{
	TupleDesc	desc = NULL;
	ListCell   *cell;

	(void) get_expr_result_type(function->funcexpr, NULL, &desc);
	for (int i = 0; desc && i < desc->natts; i++)
		note_type(e, TupleDescAttr(desc, i)->atttypid);
	foreach(cell, function->funccoltypes)
		note_type(e, lfirst_oid(cell));
}

/* An entry of FROM. */
static void
examine_source(Examination *e, const RangeTblEntry *entry)
{
	/* A subquery with a relation is a view. */
	if (entry->rtekind == RTE_RELATION ||
		(entry->rtekind == RTE_SUBQUERY && OidIsValid(entry->relid)))
		examine_relation(e, entry->relid);
	if (entry->tablesample == NULL)
		return;
	if (entry->tablesample->repeatable == NULL)
		REFUSE(errmsg("cannot cache a query that takes a random sample"),
			   errhint("Add REPEATABLE to TABLESAMPLE."));
	if (entry->tablesample->tsmhandler >= FirstNormalObjectId)
		distrust(e, "A method of TABLESAMPLE that is used is not known.");
}

/* Asks for a setting by its name, whose value is then in the key. */
static bool
asks_for_setting(Examination *e, const FuncExpr *call)
{
	Const	   *name;

	if (call->funcid != F_CURRENT_SETTING_TEXT && call->funcid != F_CURRENT_SETTING_TEXT_BOOL)
		return false;
	name = linitial(call->args);
	if (!IsA(name, Const) || name->constisnull)
		return false;
	e->query->settings = lappend(e->query->settings, makeString(TextDatumGetCString(name->constvalue)));
	return true;
}

/* Clauses that depend on nothing but what is in them. */
static const NodeTag known_clauses[] = {
	T_List, T_TargetEntry, T_RangeTblRef, T_JoinExpr, T_FromExpr, T_SetOperationStmt,
	T_GroupingSet, T_WindowClause, T_CommonTableExpr, T_CTESearchClause, T_CTECycleClause,
	T_TableSampleClause, T_CaseWhen, T_RangeTblEntry, T_RangeTblFunction, T_SortGroupClause,
	T_TableFunc,
#if PG_VERSION_NUM >= 170000
	T_JsonBehavior,
#endif
};

/* Expressions that do, but for functions and types that occur in them. */
static const NodeTag known_expressions[] = {
	T_Const, T_Var, T_Param, T_Aggref, T_GroupingFunc, T_WindowFunc, T_SubscriptingRef, T_FuncExpr,
	T_NamedArgExpr, T_OpExpr, T_DistinctExpr, T_NullIfExpr, T_ScalarArrayOpExpr, T_BoolExpr,
	T_SubLink, T_FieldSelect, T_RelabelType, T_CoerceViaIO, T_ArrayCoerceExpr, T_ConvertRowtypeExpr,
	T_CollateExpr, T_CaseExpr, T_CaseTestExpr, T_ArrayExpr, T_RowExpr, T_RowCompareExpr,
	T_CoalesceExpr, T_MinMaxExpr, T_SQLValueFunction, T_XmlExpr, T_NullTest, T_BooleanTest,
#if PG_VERSION_NUM >= 160000
	T_JsonValueExpr, T_JsonIsPredicate, T_JsonConstructorExpr,
#endif
#if PG_VERSION_NUM >= 170000
	T_JsonExpr,
#endif
};

/* Is it of a kind in that list? */
static bool
is_one_of(const Node *node, const NodeTag *tags, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		if (nodeTag(node) == tags[i])
			return true;
	}
	return false;
}

/* What is particular to some of them. */
static void
examine_details(Examination *e, Node *node)
{
	ListCell   *cell;

	switch (nodeTag(node))
	{
		case T_RangeTblEntry:
			examine_source(e, (RangeTblEntry *) node);
			break;
		case T_RangeTblFunction:
			examine_function_in_from(e, (RangeTblFunction *) node);
			break;
		case T_SortGroupClause:
			/* By which rows are sorted and told apart. */
			(void) examine_function(get_opcode(((SortGroupClause *) node)->eqop), e);
			(void) examine_function(get_opcode(((SortGroupClause *) node)->sortop), e);
			break;
		case T_WindowClause:
			/* By which the ends of a frame are found. */
			(void) examine_function(((WindowClause *) node)->startInRangeFunc, e);
			(void) examine_function(((WindowClause *) node)->endInRangeFunc, e);
			break;
		case T_TableFunc:
			e->reads = true;
			foreach(cell, ((TableFunc *) node)->coltypes)
				note_type(e, lfirst_oid(cell));
			break;
		case T_Const:
			examine_constant(e, (Const *) node);
			break;
		case T_Var:
			examine_column(e, (Var *) node);
			break;
		case T_SQLValueFunction:
			examine_value_function(e, (SQLValueFunction *) node);
			break;
#if PG_VERSION_NUM >= 170000
		case T_JsonExpr:
			e->reads = true;
			e->prints = true;
			break;
#endif
#if PG_VERSION_NUM >= 160000
		case T_JsonConstructorExpr:
#endif
		case T_XmlExpr:
			e->prints = true;
			break;
		default:
			break;
	}
}

/* Examines a node of the tree and all below it; tree walkers call it. */
static bool
examine_node(Node *node, void *arg)
{
	Examination *e = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *tree = (Query *) node;

		/*
		 * Else done when it is executed, which it may not be.  A session that has not
		 * looked at the query before may not have been told of a REVOKE, on a standby.
		 */
		tex_check_rights(tree);
		if (tree->hasModifyingCTE)
			REFUSE(errmsg("cannot cache a query that writes"));
		if (tree->rowMarks != NIL)
			REFUSE(errmsg("cannot cache a query that locks rows"));
		return query_tree_walker(tree, examine_node, arg,
								 QTW_EXAMINE_RTES_BEFORE | QTW_EXAMINE_SORTGROUP);
	}
	examine_details(e, node);
	/* The walker has what is in them elsewhere. */
	if (IsA(node, RangeTblEntry) || IsA(node, SortGroupClause))
		return false;
	if (!is_one_of(node, known_clauses, lengthof(known_clauses)))
	{
		if (IsA(node, CoerceToDomain))
			distrust(e, "A cast to a domain depends on its constraints, whose change is not noticed.");
		else if (!is_one_of(node, known_expressions, lengthof(known_expressions)))
			distrust(e, "It has an expression of a kind that is not known.");
		note_type(e, exprType(node));
		if (!IsA(node, FuncExpr) || !asks_for_setting(e, (FuncExpr *) node))
			(void) check_functions_in_node(node, examine_call, arg);
	}
	return expression_tree_walker(node, examine_node, arg);
}

/*
 * Sets the hash of what a query means.  The places in the text, which are printed as
 * well, are blanked, so that queries that are only written differently are the same.
 */
static void
set_hash(TexQuery *query, const Query *tree)
{
	static const char *const places[] = {"location ", ":stmt_len "};
	char	   *text = nodeToString(tree);

	for (size_t i = 0; i < lengthof(places); i++)
	{
		for (char *p = strstr(text, places[i]); p != NULL; p = strstr(p, places[i]))
		{
			for (p += strlen(places[i]); *p == '-' || isdigit((unsigned char) *p); p++)
				*p = ' ';
		}
	}
	tex_hash(text, strlen(text), query->hash);
	pfree(text);
}

/*
 * Parses, analyses and rewrites the text of one SELECT, in the current memory context,
 * and finds out what its result depends on.  Refuses it where that can never be cached.
 * Locks its relations until the transaction ends, as any query does.
 */
Query *
tex_query_parse(const char *text, const Oid *types, int n_types, TexQuery *query)
{
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = show_query,
		.arg = unconstify(char *, text)
	};
	Examination e = {.query = query};
	Oid			schemas[MOST_SCHEMAS];
	int			n = fetch_search_path_array(schemas, MOST_SCHEMAS);
	Query	   *tree;

	memset(query, 0, sizeof(TexQuery));
	error_context_stack = &context;
	tree = analyse(text, types, n_types, &e.literals);
	error_context_stack = context.previous;
	query->desc = ExecCleanTypeFromTL(tree->targetList);

	for (int i = 0; i < Min(n, MOST_SCHEMAS); i++)
		e.schemas = lappend_oid(e.schemas, schemas[i]);
	(void) examine_node((Node *) tree, &e);
	if (e.prints && (e.traits & TEX_STRANGE_OUTPUT))
		distrust(&e, "It makes text of values, and of a type that occurs what is printed may change.");
	if (e.reads && (e.traits & (TEX_NAMES_TIMES | TEX_STRANGE_INPUT)))
		distrust(&e, "It makes values of text, and of a type that occurs what is read may change, as 'now' does.");
	for (int i = 0; i < query->desc->natts; i++)
	{
		if (TupleDescAttr(query->desc, i)->atttypid == RECORDOID ||
			TupleDescAttr(query->desc, i)->atttypid == RECORDARRAYOID)
			REFUSE(errmsg("cannot cache a result with records of no named type"),
				   errhint("Cast column %d to a composite type.", i + 1));
	}
	set_hash(query, tree);
	return tree;
}
