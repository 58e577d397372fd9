/*
 * cache_refresh.c
 *		Results that are computed anew in the background.
 *
 * Whoever is given a result that is past half of its time asks for a newer one, by a
 * flag at the entry.  cache_refresh(), which the database's worker calls, computes
 * what was asked for, each query with the role and the settings of its caller.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "cache_call.h"
#include "cache_compute.h"
#include "cache_counters.h"
#include "cache_flight.h"
#include "cache_locks.h"
#include "cache_refresh.h"
#include "cache_relations.h"
#include "cache_settings.h"

PG_FUNCTION_INFO_V1(tex_cache_refresh);

/*
 * Asks for a newer result; false where nobody would compute it.
 */
bool
tex_refresh_ask(const TexEntryInfo *info)
{
	return false;
}

static bool
is_wanted_here(const TexEntryInfo *info, void *arg)
{
	return info->wanted && info->key.database == MyDatabaseId;
}

/* Reads the arguments of a recipe, from where its settings end. */
static void
read_arguments(TexCall *call, const char *from)
{
	char	   *place = unconstify(char *, from);

	memcpy(&call->n_args, place, sizeof(int));
	place += sizeof(int);
	call->types = palloc(sizeof(Oid) * call->n_args);
	call->values = palloc(sizeof(Datum) * call->n_args);
	call->nulls = palloc(sizeof(bool) * call->n_args);
	for (int i = 0; i < call->n_args; i++)
	{
		memcpy(&call->types[i], place, sizeof(Oid));
		place += sizeof(Oid);
		call->values[i] = datumRestore(&place, &call->nulls[i]);
	}
}

/* With the role and the settings of whoever asked; the settings' nest level is the caller's. */
static void
compute_as(const TexEntryInfo *info, const char *bytes)
{
	const char *recipe = bytes + TEX_ENTRY_RECIPE(info);
	TexCall		call = {.ttl = info->ttl};

	SetUserIdAndSecContext(info->key.role,
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	recipe = tex_settings_apply(recipe, recipe + info->recipe_size);
	call.text = bytes + TEX_ENTRY_QUERY(info);
	read_arguments(&call, recipe);
	tex_call_identify(&call);
	call.desc = call.query.desc;
	/* A role that was changed, or a view, gives another result another key. */
	if (memcmp(&call.key, &info->key, sizeof(TexCacheKey)) == 0 && tex_flight_begin(&call.key))
	{
		call.desc = CreateTupleDescCopy(call.desc);
		tex_compute_and_keep(&call);
		tex_flight_end(&call.key);
	}
	else
		tex_entry_drop(&info->key, info->id);
}

/*
 * Computes one result anew, in a subtransaction: what fails there is one result
 * that stays old.
 */
static bool
refresh(const TexEntryInfo *info, const char *bytes)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			nesting = NewGUCNestLevel();
	Oid			role;
	int			security_context;
	bool		done = true;

	GetUserIdAndSecContext(&role, &security_context);
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		compute_as(info, bytes);
		PopActiveSnapshot();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		RollbackAndReleaseCurrentSubTransaction();
		/* The failure was noted; the entry stays until it is too old for its callers. */
		FlushErrorState();
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	SetUserIdAndSecContext(role, security_context);
	AtEOXact_GUC(false, nesting);
	return done;
}

/*
 * cache_refresh() returns bigint
 *
 * Computes the results that were asked for; returns how many.
 */
Datum
tex_cache_refresh(PG_FUNCTION_ARGS)
{
	int64		refreshed = 0;
	List	   *wanted;
	ListCell   *cell;

	if (!tex_cache_is_there())
		PG_RETURN_INT64(0);
	wanted = tex_entries_list(is_wanted_here, NULL);
	foreach(cell, wanted)
	{
		TexEntryInfo info;
		char	   *bytes;

		CHECK_FOR_INTERRUPTS();
		if (!tex_entry_find(&((TexEntryInfo *) lfirst(cell))->key, &info, &bytes))
			continue;
		if (info.wanted && refresh(&info, bytes))
			refreshed++;
		pfree(bytes);
	}
	tex_cache_count(TEX_CACHE_REFRESHES, refreshed);
	PG_RETURN_INT64(refreshed);
}
