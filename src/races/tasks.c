/*
 * tasks.c
 *		Order by tasks: spawn before the task's first event, the task's last event
 *		before who awaited it.
 *
 * Which events are a task's?  Those that name it (tag task_id, or a thread id
 * that equals the task's id) if there are any.  Else those under a child of the
 * spawning event: of its children, the one on another thread, else the one that
 * does not go on in the spawner's or the awaiter's strand.  Events without a
 * parent belong to what their strand was doing.
 *
 * Producers and consumers of OpenTelemetry have no tasks: their names are those of
 * spans, and say nothing of who waits for whom.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "races/arrays.h"
#include "races/tasks.h"

typedef struct TaskKey
{
	int32		trace;
	int32		name;
} TaskKey;

typedef struct Task
{
	TaskKey		key;
	int32		spawn;			/* latest, or TEX_NO_EVENT */
	int32		first;			/* of the events that name it */
	int32		last;
} Task;

/* Tasks by name, and units of work: what hangs under a child of a spawn. */
typedef struct Tasks
{
	TexHistory *history;
	HTAB	   *by_name;
	int32	   *root;			/* of each event: the first event of its unit, or -1 */
	int32	   *last;			/* of each unit's first event: its last event */
	int32	   *first_child;	/* of each spawn */
	int32	   *next_child;
} Tasks;

/* Whether an event spawns or awaits a task. */
static bool
has_task(const TexEvent *event)
{
	return (event->kind == TEX_ASYNC_SPAWN || event->kind == TEX_ASYNC_AWAIT) &&
		event->name != TEX_NO_NAME && !(event->flags & TEX_EVENT_OTLP);
}

/* A task of a trace by name; with HASH_ENTER made if it is new, with HASH_FIND NULL. */
static Task *
find_task(Tasks *tasks, int32 trace, int32 name, HASHACTION action)
{
	TaskKey		key = {trace, name};
	bool		found;
	Task	   *task = hash_search(tasks->by_name, &key, action, &found);

	if (task && !found)
		task->spawn = task->first = task->last = TEX_NO_EVENT;
	return task;
}

/* Make an entry for each task that is spawned or awaited; false if none is. */
static bool
name_tasks(Tasks *tasks)
{
	TexHistory *history = tasks->history;
	bool		any = false;

	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[i];

		CHECK_FOR_INTERRUPTS();
		if (has_task(event))
		{
			find_task(tasks, event->trace, event->name, HASH_ENTER);
			any = true;
		}
	}
	return any;
}

/* Events that name their task, seen in order. */
static void
note_named(Tasks *tasks, int32 e, TexEdges *edges)
{
	const TexEvent *event = &tasks->history->events[e];
	int32		name = event->task != TEX_NO_NAME ? event->task : event->thread_name;
	Task	   *task;

	if (name == TEX_NO_NAME || (event->flags & TEX_EVENT_OTLP))
		return;
	task = find_task(tasks, event->trace, name, HASH_FIND);
	if (task == NULL)
		return;
	if (task->first == TEX_NO_EVENT)
	{
		task->first = e;
		if (task->spawn != TEX_NO_EVENT)
			tex_edges_add(edges, task->spawn, e);
	}
	task->last = e;
}

/*
 * Find the unit of work an event belongs to; before is the event before it in
 * its strand.
 */
static void
note_unit(Tasks *tasks, int32 e, int32 before)
{
	TexEvent   *events = tasks->history->events;
	int32		parent = events[e].parent;
	int32		root = TEX_NO_EVENT;

	if (parent == TEX_NO_EVENT)
		root = before == TEX_NO_EVENT ? TEX_NO_EVENT : tasks->root[before];
	else if (events[parent].kind == TEX_ASYNC_SPAWN &&
			 (events[parent].thread != events[e].thread || events[parent].strand != events[e].strand))
		root = e;
	else
		root = tasks->root[parent];
	tasks->root[e] = root;
	if (root != TEX_NO_EVENT)
		tasks->last[root] = e;
	if (parent != TEX_NO_EVENT && events[parent].kind == TEX_ASYNC_SPAWN)
	{
		tasks->next_child[e] = tasks->first_child[parent];
		tasks->first_child[parent] = e;
	}
}

/*
 * The child of a spawn that is the task: see the head of the file.  A spawner's
 * thread that goes on in one child only is that child; the task has no events.
 */
static int32
child_of_spawn(Tasks *tasks, int32 spawn, int32 await)
{
	TexEvent   *events = tasks->history->events;
	int32		best = TEX_NO_EVENT;
	int			best_rank = 0;
	int			same_thread = 0;

	for (int32 c = tasks->first_child[spawn]; c != TEX_NO_EVENT; c = tasks->next_child[c])
		same_thread += events[c].thread == events[spawn].thread;

	/* The list is latest first: take the earliest of the best. */
	for (int32 c = tasks->first_child[spawn]; c != TEX_NO_EVENT; c = tasks->next_child[c])
	{
		bool		other_thread = events[c].thread != events[spawn].thread;
		int			rank = 1 + 2 * other_thread + (events[c].strand != events[spawn].strand);

		if (!other_thread && same_thread == 1)
			continue;
		if (events[c].strand != events[await].strand && rank >= best_rank)
		{
			best = c;
			best_rank = rank;
		}
	}
	return best;
}

/* Orders what a task did before the event that awaited it. */
static void
join_task(Tasks *tasks, int32 await, TexEdges *edges)
{
	const TexEvent *event = &tasks->history->events[await];
	Task	   *task;
	int32		child;

	if (!has_task(event))
		return;
	task = find_task(tasks, event->trace, event->name, HASH_FIND);
	if (task->spawn != TEX_NO_EVENT)
		tex_edges_add(edges, task->spawn, await);
	if (task->first != TEX_NO_EVENT)
	{
		if (tasks->history->events[task->last].strand != event->strand)
			tex_edges_add(edges, task->last, await);
		return;
	}
	if (task->spawn == TEX_NO_EVENT)
		return;
	child = child_of_spawn(tasks, task->spawn, await);
	if (child == TEX_NO_EVENT)
		return;
	/* A child that goes on in its parent's strand began no unit of its own. */
	if (tasks->last[child] != TEX_NO_EVENT)
		child = tasks->last[child];
	tex_edges_add(edges, child, await);
}

/*
 * Rules 3 and 4. The history has its strands, and order is what tex_strands_assign() returned.
 * Costs a pass over the events where none spawns or awaits.
 */
void
tex_add_task_edges(TexHistory *history, const int32 *order, TexEdges *edges)
{
	HASHCTL		ctl = {.keysize = sizeof(TaskKey),.entrysize = sizeof(Task),
	.hcxt = CurrentMemoryContext};
	Tasks		tasks = {.history = history};
	int32	   *strand_last;

	tasks.by_name = hash_create("tasks", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (name_tasks(&tasks))
	{
		tasks.root = tex_new_array(sizeof(int32), history->nevents, 0xff);
		tasks.last = tex_new_array(sizeof(int32), history->nevents, 0xff);
		tasks.first_child = tex_new_array(sizeof(int32), history->nevents, 0xff);
		tasks.next_child = tex_new_array(sizeof(int32), history->nevents, 0xff);
		strand_last = tex_new_array(sizeof(int32), history->nevents, 0xff);	/* strands are not more than events */
		for (int32 i = 0; i < history->nevents; i++)
		{
			const TexEvent *event = &history->events[order[i]];

			CHECK_FOR_INTERRUPTS();
			note_named(&tasks, order[i], edges);
			note_unit(&tasks, order[i], strand_last[event->strand]);
			strand_last[event->strand] = order[i];
			if (event->kind == TEX_ASYNC_SPAWN && has_task(event))
				find_task(&tasks, event->trace, event->name, HASH_FIND)->spawn = order[i];
		}
		for (int32 i = 0; i < history->nevents; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (history->events[i].kind == TEX_ASYNC_AWAIT)
				join_task(&tasks, i, edges);
		}
		pfree(tasks.root);
		pfree(tasks.last);
		pfree(tasks.first_child);
		pfree(tasks.next_child);
		pfree(strand_last);
	}
	hash_destroy(tasks.by_name);
}
