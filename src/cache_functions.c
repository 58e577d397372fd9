/*
 * cache_functions.c
 *		What results of functions depend on beside their arguments and tables.
 *
 * PostgreSQL marks a function STABLE if it returns the same within one statement,
 * which a cache cannot go by: now() is STABLE, and so is current_setting().  So:
 * - VOLATILE functions are refused, but a STABLE function may call them: that its
 *   result is none the less stable is its author's word;
 * - of those that come with PostgreSQL, the ones that depend on the time, on a
 *   setting or on the server are known by name;
 * - of functions in other languages, the statements that they execute are looked at
 *   when they are (tex_needs_of_statement()).  Expressions of PL/pgSQL need no
 *   statement, so the source is read as well, for names of functions of that kind,
 *   and for names of functions of users, whose source is read in turn;
 * - what a STABLE function in C depends on cannot be known, unless it is ours.
 *
 * Whoever hides now() from this, in an operator of his own or in a name that is put
 * together at run time, has a function that is not what it claims to be.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "nodes/primnodes.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "cache_functions.h"
#include "event.h"

/* Functions that come with PostgreSQL; a name that ends in % is a prefix. */
static const struct
{
	const char *name;
	TexNeed		need;
} known_names[] = {
	{"now", TEX_NEEDS_TIME},
	{"transaction_timestamp", TEX_NEEDS_TIME},
	{"statement_timestamp", TEX_NEEDS_TIME},
	{"current_setting", TEX_NEEDS_SETTING},
	{"pg_typeof", 0},
	{"pg_%", TEX_NEEDS_STATE},
	{"has_%", TEX_NEEDS_STATE},
	{"txid_%", TEX_NEEDS_STATE},
	{"to_reg%", TEX_NEEDS_STATE},
	{"regclass", TEX_NEEDS_STATE},
	{"regclassin", TEX_NEEDS_STATE},
	{"regcollationin", TEX_NEEDS_STATE},
	{"regconfigin", TEX_NEEDS_STATE},
	{"regdictionaryin", TEX_NEEDS_STATE},
	{"regnamespacein", TEX_NEEDS_STATE},
	{"regoperatorin", TEX_NEEDS_STATE},
	{"regoperin", TEX_NEEDS_STATE},
	{"regprocedurein", TEX_NEEDS_STATE},
	{"regprocin", TEX_NEEDS_STATE},
	{"regrolein", TEX_NEEDS_STATE},
	{"regtypein", TEX_NEEDS_STATE},
	{"current_schemas", TEX_NEEDS_STATE},
	{"inet_client_%", TEX_NEEDS_STATE},
	{"inet_server_%", TEX_NEEDS_STATE},
	{"row_security_active", TEX_NEEDS_STATE},
	{"system_user", TEX_NEEDS_STATE},
	{"current_query", TEX_NEEDS_STATE},
	{"obj_description", TEX_NEEDS_STATE},
	{"col_description", TEX_NEEDS_STATE},
	{"shobj_description", TEX_NEEDS_STATE},
	{"getdatabaseencoding", TEX_NEEDS_STATE},
	{"table_to_xml%", TEX_NEEDS_STATEMENTS},
	{"query_to_xml%", TEX_NEEDS_STATEMENTS},
	{"schema_to_xml%", TEX_NEEDS_STATEMENTS},
	{"database_to_xml%", TEX_NEEDS_STATEMENTS},
	{"cursor_to_xml%", TEX_NEEDS_STATE},
	{"ts_rewrite", TEX_NEEDS_STATEMENTS}
};

/* Words of a source that mean the same without being functions. */
static const struct
{
	const char *word;
	TexNeed		need;
} known_words[] = {
	{"current_timestamp", TEX_NEEDS_TIME},
	{"current_date", TEX_NEEDS_TIME},
	{"current_time", TEX_NEEDS_TIME},
	{"localtimestamp", TEX_NEEDS_TIME},
	{"localtime", TEX_NEEDS_TIME},
	{"today", TEX_NEEDS_TIME},
	{"tomorrow", TEX_NEEDS_TIME},
	{"yesterday", TEX_NEEDS_TIME},
	{"session_user", TEX_NEEDS_SETTING}
};

/*
 * Notes a need, and what it comes from.
 */
void
tex_need(TexNeeds *needs, TexNeed need, const char *what)
{
	needs->needs |= need;
	if (needs->ttl_reason)
		return;
	if (need & TEX_NEEDS_TIME)
		needs->ttl_reason = psprintf("%s changes with time.", what);
	else if (need & TEX_NEEDS_STATE)
		needs->ttl_reason = psprintf("%s changes without a write that could be noticed.", what);
	else if (need & TEX_NEEDS_UNKNOWN)
		needs->ttl_reason = psprintf("%s is written in C and STABLE: what it depends on cannot be known.",
									 what);
}

static bool
is_name(const char *name, const char *pattern)
{
	size_t		n = strlen(pattern);

	if (pattern[n - 1] == '%')
		return strncmp(name, pattern, n - 1) == 0;
	return strcmp(name, pattern) == 0;
}

static TexNeed
need_of_name(const char *name)
{
	for (size_t i = 0; i < lengthof(known_names); i++)
	{
		if (is_name(name, known_names[i].name))
			return known_names[i].need;
	}
	return 0;
}

/* A function that comes with PostgreSQL. */
static void
add_builtin(Form_pg_proc proc, TexNeeds *needs)
{
	const char *name = NameStr(proc->proname);
	TexNeed		need = need_of_name(name);

	/* With one argument it takes the age as of today. */
	if (strcmp(name, "age") == 0 && proc->pronargs == 1)
		need = TEX_NEEDS_TIME;
	/* The offset of a zone depends on the day. */
	if (proc->oid == F_TIMETZ_TIME)
		need = TEX_NEEDS_TIME;
	tex_need(needs, need, psprintf("%s()", name));
}

static void add_source(const char *source, TexNeeds *needs);

/* The source of a function, SQL-standard bodies included. */
static char *
source_of(HeapTuple tuple)
{
	Oid			function = ((Form_pg_proc) GETSTRUCT(tuple))->oid;
	bool		isnull;
	Datum		source;

	(void) SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosqlbody, &isnull);
	if (!isnull)
		source = OidFunctionCall1(F_PG_GET_FUNCTION_SQLBODY, ObjectIdGetDatum(function));
	else
	{
		source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
		if (isnull)
			return pstrdup("");
	}
	return TextDatumGetCString(source);
}

/* A function that a user or an extension made. */
static void
add_other(HeapTuple tuple, TexNeeds *needs)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);

	if (proc->prolang == ClanguageId || proc->prolang == INTERNALlanguageId)
	{
		if (proc->pronamespace == tex_schema_oid())
			needs->needs |= TEX_NEEDS_STATEMENTS;
		else if (proc->provolatile != PROVOLATILE_IMMUTABLE)
			tex_need(needs, TEX_NEEDS_UNKNOWN, psprintf("%s()", NameStr(proc->proname)));
		return;
	}
	needs->needs |= TEX_NEEDS_STATEMENTS;
	if (proc->provolatile != PROVOLATILE_IMMUTABLE)
		add_source(source_of(tuple), needs);
}

/* The functions that an aggregate consists of. */
static void
add_parts_of_aggregate(Oid aggregate, TexNeeds *needs)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
	Form_pg_aggregate form;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	tex_needs_of_function(form->aggtransfn, needs);
	tex_needs_of_function(form->aggfinalfn, needs);
	ReleaseSysCache(tuple);
}

/*
 * Adds what a function needs, and what those that it calls do.
 */
void
tex_needs_of_function(Oid function, TexNeeds *needs)
{
	HeapTuple	tuple;
	Form_pg_proc proc;

	if (!OidIsValid(function) || list_member_oid(needs->visited, function))
		return;
	needs->visited = lappend_oid(needs->visited, function);
	check_stack_depth();
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->provolatile == PROVOLATILE_VOLATILE)
	{
		needs->needs |= TEX_IS_VOLATILE;
		if (!OidIsValid(needs->volatile_function))
			needs->volatile_function = function;
	}
	if (function < FirstNormalObjectId)
	{
		if (proc->provolatile == PROVOLATILE_STABLE)
			add_builtin(proc, needs);
	}
	else if (proc->prokind == PROKIND_AGGREGATE)
		add_parts_of_aggregate(function, needs);
	else
		add_other(tuple, needs);
	ReleaseSysCache(tuple);
}

/*
 * The same for current_date and its like (SQLValueFunctionOp).
 */
void
tex_needs_of_value_function(int op, TexNeeds *needs)
{
	switch ((SQLValueFunctionOp) op)
	{
		case SVFOP_CURRENT_ROLE:
		case SVFOP_CURRENT_USER:
		case SVFOP_USER:
		case SVFOP_CURRENT_CATALOG:
		case SVFOP_CURRENT_SCHEMA:
			break;				/* in the key */
		case SVFOP_SESSION_USER:
			needs->needs |= TEX_NEEDS_SETTING;
			break;
		default:
			tex_need(needs, TEX_NEEDS_TIME, "the current date or time");
			break;
	}
}

/*
 * A name that a source calls.  All functions of that name are meant: which one it
 * is, only its execution could tell.
 */
static void
add_called(const char *name, TexNeeds *needs)
{
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	List	   *functions = NIL;
	int			was_volatile = needs->needs & TEX_IS_VOLATILE;
	Oid			volatile_function = needs->volatile_function;
	ListCell   *cell;

	for (int i = 0; i < list->n_members; i++)
		functions = lappend_oid(functions,
								((Form_pg_proc) GETSTRUCT(&list->members[i]->tuple))->oid);
	ReleaseSysCacheList(list);
	foreach(cell, functions)
		tex_needs_of_function(lfirst_oid(cell), needs);
	needs->needs = (needs->needs & ~TEX_IS_VOLATILE) | was_volatile;
	needs->volatile_function = volatile_function;
}

static void
add_word(const char *word, bool is_called, bool is_quoted, TexNeeds *needs)
{
	if (is_called)
		add_called(word, needs);
	else if (is_quoted && strcmp(word, "now") == 0)
		tex_need(needs, TEX_NEEDS_TIME, "'now'");
	for (size_t i = 0; i < lengthof(known_words); i++)
	{
		if (strcmp(word, known_words[i].word) == 0)
			tex_need(needs, known_words[i].need, word);
	}
}

static bool
is_word_start(char c)
{
	return isalpha((unsigned char) c) || c == '_' || IS_HIGHBIT_SET(c);
}

static bool
is_word_part(char c)
{
	return is_word_start(c) || isdigit((unsigned char) c) || c == '$';
}

/*
 * Reads a source as a list of words, in whatever language it is.
 */
static void
add_source(const char *source, TexNeeds *needs)
{
	const char *p = source;

	while (*p)
	{
		const char *begin = p;
		const char *after;

		if (!is_word_start(*p))
		{
			p++;
			continue;
		}
		while (is_word_part(*p))
			p++;
		for (after = p; *after == '"' || isspace((unsigned char) *after); after++)
			;
		add_word(downcase_truncate_identifier(begin, p - begin, false), *after == '(',
				 begin > source && begin[-1] == '\'', needs);
		if (p - begin < NAMEDATALEN && *p == '"' && *after == '(')
			add_called(pnstrdup(begin, p - begin), needs);
	}
}

/* Each place of a printed tree that has the field, with a number after it. */
static void
add_numbers_after(const char *tree, const char *field, bool is_op, TexNeeds *needs)
{
	size_t		n = strlen(field);

	for (const char *p = strstr(tree, field); p != NULL; p = strstr(p + n, field))
	{
		unsigned long number = strtoul(p + n, NULL, 10);

		if (is_op)
			tex_needs_of_value_function((int) number, needs);
		else
			tex_needs_of_function((Oid) number, needs);
	}
}

/*
 * Adds what a statement needs that a function executes: a TexStatementCallback.
 * There is no function to walk over the expressions of a plan, but one to print it.
 */
void
tex_needs_of_statement(PlannedStmt *statement, const char *text, void *arg)
{
	static const char *const fields[] = {
		" :funcid ", " :opfuncid ", " :aggfnoid ", " :winfnoid ", " :hashfuncid ", " :negfuncid "
	};
	TexNeeds   *needs = arg;
	uint32		hash = hash_bytes((const unsigned char *) text, strlen(text));
	char	   *tree;

	/* A function may execute the same statement a million times. */
	if (list_member_int(needs->texts, (int) hash))
		return;
	needs->texts = lappend_int(needs->texts, (int) hash);
	tree = nodeToString(statement);
	for (size_t i = 0; i < lengthof(fields); i++)
		add_numbers_after(tree, fields[i], false, needs);
	add_numbers_after(tree, "{SQLVALUEFUNCTION :op ", true, needs);
	pfree(tree);
}
