/*
 * computed.c
 *		Which columns a statement computes from themselves: SET balance = balance - 100.
 *
 * Such a write loses nothing: where the row was changed meanwhile the executor computes it anew
 * from the new version.  That holds for columns of the row that is written, not for what a
 * subquery reads of the same table.
 *
 * Expressions of a plan refer to what is below by place, so these are followed down to the
 * columns of tables.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

#include "watch/computed.h"

typedef struct Search
{
	const PlannedStmt *statement;
	const Plan *plan;			/* whose expression it is; NULL: nothing is below */
	const Plan *inner;			/* what INNER_VAR means in it */
	Oid			relation;		/* whose column it is */
	AttrNumber	attribute;
	const char *column;			/* its name; NULL: nobody needed it yet */
} Search;

static bool expression_reads(Node *node, void *arg);

/* Whether the output of a plan in a place is made of the column. */
static bool
output_reads(const Search *search, const Plan *plan, AttrNumber place)
{
	Search		below = *search;
	TargetEntry *entry;

	if (plan == NULL || place < 1 || place > list_length(plan->targetlist))
		return false;
	entry = list_nth(plan->targetlist, place - 1);
	below.plan = plan;
	below.inner = innerPlan(plan);
	return expression_reads((Node *) entry->expr, &below);
}

/* The same of a node that hands on what one of several plans below returns. */
static bool
any_output_reads(const Search *search, List *plans, AttrNumber place)
{
	ListCell   *lc;

	foreach(lc, plans)
		if (output_reads(search, lfirst(lc), place))
			return true;
	return false;
}

static bool
below_reads(const Search *search, const Var *var)
{
	if (var->varno == INNER_VAR)
		return output_reads(search, search->inner, var->varattno);
	if (search->plan == NULL)
		return false;
	if (IsA(search->plan, Append))
		return any_output_reads(search, ((Append *) search->plan)->appendplans, var->varattno);
	if (IsA(search->plan, MergeAppend))
		return any_output_reads(search, ((MergeAppend *) search->plan)->mergeplans, var->varattno);
	return output_reads(search, outerPlan(search->plan), var->varattno);
}

/* SET (a, b) = (SELECT ...): whether the row's column is given to the subquery that a parameter comes from. */
static bool
parameter_reads(Search *search, const Param *param)
{
	ListCell   *lc;

	if (search->plan == NULL || param->paramkind != PARAM_EXEC)
		return false;
	foreach(lc, search->plan->targetlist)
	{
		SubPlan    *subplan = (SubPlan *) ((TargetEntry *) lfirst(lc))->expr;

		if (IsA(subplan, SubPlan) && subplan->subLinkType == MULTIEXPR_SUBLINK &&
			list_member_int(subplan->setParam, param->paramid))
			return expression_reads((Node *) subplan->args, search);
	}
	return false;
}

/* Whether a column of the row that is written is the one: of another relation, as of a partition, the one of its name. */
static bool
is_column(Search *search, Oid relation, AttrNumber attribute)
{
	char	   *name;

	if (relation == search->relation)
		return attribute == search->attribute;
	if (search->column == NULL)
		search->column = get_attname(search->relation, search->attribute, true);
	name = get_attname(relation, attribute, true);
	return name && search->column && strcmp(name, search->column) == 0;
}

/* Whether an expression reads the column of the row that is written. */
static bool
expression_reads(Node *node, void *arg)
{
	Search	   *search = arg;

	if (node == NULL)
		return false;
	check_stack_depth();
	if (IsA(node, Var))
	{
		const Var  *var = (Var *) node;

		if (var->varno == OUTER_VAR || var->varno == INNER_VAR)
			return below_reads(search, var);
		if (IS_SPECIAL_VARNO(var->varno) || var->varattno <= 0 ||
			!list_member_int(search->statement->resultRelations, var->varno))
			return false;
		return is_column(search, rt_fetch(var->varno, search->statement->rtable)->relid, var->varattno);
	}
	if (IsA(node, Param))
		return parameter_reads(search, (Param *) node);
	return expression_tree_walker(node, expression_reads, arg);
}

/* Adds those columns of a target list that are computed from themselves. */
static List *
add_computed(List *columns_so_far, Search *search, Oid relation, List *targets, List *columns)
{
	ListCell   *target;
	ListCell   *column;

	forboth(target, targets, column, columns)
	{
		search->relation = relation;
		search->attribute = lfirst_int(column);
		search->column = NULL;
		if (expression_reads((Node *) ((TargetEntry *) lfirst(target))->expr, search))
		{
			TexComputed *found = palloc(sizeof(TexComputed));

			found->relation = relation;
			found->attribute = lfirst_int(column);
			columns_so_far = lappend(columns_so_far, found);
		}
	}
	return columns_so_far;
}

/* Adds those of what writes a table. */
static List *
add_of_node(List *computed, const PlannedStmt *statement, const ModifyTable *node)
{
	int			i = 0;
	ListCell   *lc;

	foreach(lc, node->resultRelations)
	{
		Oid			relation = rt_fetch(lfirst_int(lc), statement->rtable)->relid;
		const Plan *below = outerPlan(&node->plan);
		Search		search = {.statement = statement,.plan = below,.inner = below ? innerPlan(below) : NULL};

		if (node->operation == CMD_UPDATE && i < list_length(node->updateColnosLists))
			computed = add_computed(computed, &search, relation, below->targetlist, list_nth(node->updateColnosLists, i));
		/* There EXCLUDED is what is inner, and no column of the row. */
		search = (Search) {.statement = statement};
		if (node->onConflictSet)
			computed = add_computed(computed, &search, relation, node->onConflictSet, node->onConflictCols);
		/* There what is inner is the plan below. */
		search.inner = below;
		if (i < list_length(node->mergeActionLists))
		{
			ListCell   *action;

			foreach(action, (List *) list_nth(node->mergeActionLists, i))
			{
				MergeAction *of = lfirst(action);

				if (of->commandType == CMD_UPDATE)
					computed = add_computed(computed, &search, relation, of->targetList, of->updateColnos);
			}
		}
		i++;
	}
	return computed;
}

/* Columns that a statement computes from themselves (TexComputed), in the current memory context. */
List *
tex_computed_columns(const PlannedStmt *statement)
{
	List	   *computed = NIL;
	ListCell   *lc;

	if (IsA(statement->planTree, ModifyTable))
		computed = add_of_node(computed, statement, (ModifyTable *) statement->planTree);
	foreach(lc, statement->subplans)
	{
		Plan	   *plan = lfirst(lc);

		if (plan && IsA(plan, ModifyTable))
			computed = add_of_node(computed, statement, (ModifyTable *) plan);
	}
	return computed;
}

/* Whether a column of a relation that is written is one of them: that of a partition by the name. */
bool
tex_is_computed(const List *computed, Oid relation, AttrNumber attribute, const char *name)
{
	ListCell   *lc;

	foreach(lc, computed)
	{
		const TexComputed *column = lfirst(lc);
		const char *found;

		if (column->relation == relation)
		{
			if (column->attribute == attribute)
				return true;
			continue;
		}
		found = get_attname(column->relation, column->attribute, true);
		if (found && strcmp(found, name) == 0)
			return true;
	}
	return false;
}
