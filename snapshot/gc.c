/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Free the space of versions that no state names any more.
 *
 * Tasks are records in TABLE_TASK, keyed by kind and number.  They are added in
 * the same hold of the lock as the change that causes them: after a crash the
 * thread continues from the last commit.  A task is a hint to examine a
 * version: when its turn comes, the version's state decides what is done, and a
 * task that no longer applies is dropped.
 *
 * The thread does one task at a time, in the order of the kinds (see task.h):
 *
 * TIDY comes first, so that at most one merge is unfinished.  MERGE comes
 * before REAP, because a merge frees blocks by their numbers and reads no tree:
 * when a fork is deleted with a thousand snapshots, its versions are merged
 * from the oldest on, and only the tree of the last one is walked.  DROP comes
 * last: it frees little.
 *
 * A version that is reaped or merged may be the last child of its parent, for
 * which a task is then added in the same hold.  A version with several children
 * and no refs waits.
 */
#include "gc.h"
#include "delete.h"
#include "forest.h"
#include "join_record.h"
#include "merge.h"
#include "reap.h"
#include "util.h"

#include <errno.h>

enum {
	PIECE_NODES = 32,
	NODE_BLOCKS = 128,  /* estimate: blocks that a leaf's items name */
	HOLD_BLOCKS = 4096, /* freed in one hold of the lock */
	PIECE_SNAPSHOTS = 16,
	JOB_ENTRIES = 8192,
	JOB_BACKLOG = 8,        /* highest factor of JOB_ENTRIES */
	JOB_ENTRIES_LEAST = 16, /* when the store is nearly full */
	EVICTIONS = 4,          /* before each hold: see forest_evict() */
	COMMIT_BLOCKS = 8192,   /* freed blocks after which a commit starts */
};

/*
 * Longest hold of the lock.  The thread then sleeps for the same time, unless
 * nobody else has taken the lock since its last hold.
 */
static const int64_t hold_ns = 300000;
static const int64_t pause_max_ns = 5000000;
/* Interval of attempts at tasks that wait for readers in other processes. */
static const int64_t retry_ns = 1000000000;

static bool gc_stopping(struct gc *gc)
{
	bool stop;

	pthread_mutex_lock(&gc->lock);
	stop = gc->stop;
	pthread_mutex_unlock(&gc->lock);
	return stop;
}

/* ---- Tasks -------------------------------------------------------------- */

int gc_note(struct version *v, uint64_t refs, uint64_t children)
{
	if (refs || children > 1)
		return 0;
	return task_put(v->forest, children ? TASK_MERGE : TASK_REAP, v->id,
	                NULL, 0);
}

int gc_claim(struct version *v)
{
	int r = store_claim(v->forest->store, v->id);

	/* Its task is passed over from now on. */
	if (r == -EBUSY)
		v->forest->gc.readers = true;
	return r;
}

/*
 * Replace the task for a version that cannot be read, so that others do not
 * wait for it.  The TASK_STUCK record stays, and a check of the store reports
 * it.
 */
static int task_give_up(struct forest *forest, const struct task *task)
{
	uint8_t kind = (uint8_t)task->kind;
	int r;

	log_error("the space of deleted version %llu stays in use: it is "
	          "damaged",
	          (unsigned long long)task->id);
	r = task_put(forest, TASK_STUCK, task->id, &kind, sizeof(kind));
	return r ? r : task_del(forest, task->kind, task->id);
}

/*
 * Return how many entries of lists a commit may handle.  The number grows with
 * the tasks that wait: a free costs less if many frees share a changed page.
 */
static uint32_t job_budget(struct forest *forest)
{
	uint64_t backlog;

	if (forest->gc.tight)
		return MIN(STORE_PACE_LEAST, forest->gc.job_most);
	store_lock(forest->store);
	backlog = forest_backlog(forest);
	store_unlock(forest->store);
	backlog = MIN(MAX(backlog, 1u), (uint64_t)JOB_BACKLOG);
	return MIN(JOB_ENTRIES * (uint32_t)backlog, forest->gc.job_most);
}

/*
 * Adapt job_most to the result of a commit with this budget.  Return false if
 * the budget was too large and a smaller one is to be tried.
 */
static bool job_fitted(struct gc *gc, uint32_t budget, int r)
{
	if (r == -ENOSPC && budget > JOB_ENTRIES_LEAST) {
		gc->job_most = MAX(budget / 8, (uint32_t)JOB_ENTRIES_LEAST);
		return false;
	}
	if (!r)
		gc->job_most = MIN(gc->job_most + gc->job_most / 4,
		                   (uint32_t)(JOB_ENTRIES * JOB_BACKLOG));
	return true;
}

/* Run a piece of all the jobs, as large as the space allows. */
static int job_piece(struct forest *forest, struct list_job *jobs)
{
	uint32_t count = 0, budget;
	int r;

	for (struct list_job *job = jobs; job; job = job->next)
		count++;
	do {
		if (gc_stopping(&forest->gc))
			return -EINTR;
		budget = job_budget(forest);
		for (struct list_job *job = jobs; job; job = job->next) {
			job->budget = MAX(budget / count, 1u);
			job->done = job->refused = false;
		}
		r = list_job_run(forest->store, jobs);
	} while (!job_fitted(&forest->gc, budget, r));
	return r;
}

int job_run(struct forest *forest, struct list_job *jobs)
{
	int r = 0;

	while (!r && jobs) {
		r = job_piece(forest, jobs);
		while (!r && jobs && jobs->done)
			jobs = jobs->next;
	}
	return r;
}

/* ---- The thread --------------------------------------------------------- */

static void gc_sleep(int64_t ns)
{
	struct timespec ts = {ns / 1000000000, ns % 1000000000};

	nanosleep(&ts, NULL);
}

/* Do one piece of a task.  Lock held. */
static int task_step(struct forest *forest, const struct task *task)
{
	int r;

	switch (task->kind) {
	case TASK_CLEAR:
		r = fork_clear(forest, task->id, PIECE_SNAPSHOTS);
		if (r == -EAGAIN)
			return 0;
		return r ? r : task_del(forest, TASK_CLEAR, task->id);
	case TASK_REAP:
		return reap_step(forest, task);
	case TASK_MERGE:
		return merge_step(forest, task);
	default:
		return 0;
	}
}

/*
 * Delete the first state of the trash for good, if its time has passed or the
 * store is nearly full.  -ENOENT: no state is to go.
 */
static int trash_step(struct forest *forest)
{
	struct gc *gc = &forest->gc;
	struct trash_walk walk;
	struct state *s;
	int r;

	if (!forest->meta.trashed)
		return -ENOENT;
	trash_walk_from(&walk, gc->first_due);
	r = trash_next(forest, &walk, &s);
	if (!r) {
		gc->first_due = s->due;
		if (!gc->tight && s->due > now_ns())
			return -ENOENT;
		if (s->due > now_ns())
			log_info("the store is nearly full: deleted state '%s' "
			         "is freed early",
			         s->name);
		r = state_purge(forest, s);
	}
	if (r != -EUCLEAN)
		return r;
	/* Skip the damaged record: a check of the store reports it. */
	log_error("a deleted state cannot be freed: its record is damaged");
	gc->first_due = trash_walk_due(&walk) + 1;
	return 0;
}

/* Return true if the task waits for commits, so that it needs the lock free. */
static bool task_waits(const struct task *task)
{
	return task->kind == TASK_TIDY || task->kind == TASK_DROP;
}

/* Evict as much as a hold of the lock may load, in short holds. */
static void evict_some(struct forest *forest)
{
	bool crowded = true;

	for (int i = 0; i < EVICTIONS && crowded; i++) {
		store_lock(forest->store);
		forest_evict(forest);
		crowded = forest_crowded(forest);
		store_unlock(forest->store);
		if (crowded)
			store_yield(forest->store);
	}
}

/*
 * Work on tasks for one hold of the lock.  *ret_task is the last one; if it
 * waits for commits, it was not begun.  *ret_full: the next commit frees much,
 * and should start.  -ENOENT: there is no task; -EAGAIN: the task can continue
 * after the commit *ret_txg.
 */
static int gc_hold(struct forest *forest, struct task *ret_task,
                   uint64_t *ret_txg, bool *ret_full)
{
	struct store *store = forest->store;
	struct gc *gc = &forest->gc;
	uint64_t most;
	int64_t began, held;
	int r;

	evict_some(forest);
	store_lock(store);
	began = mono_ns();
	most = store_freeing(store) + gc->blocks;
	gc->alone = store_holds(store) == gc->holds;
	gc->readers = store_has_readers(store);
	if (forest->versions.dirty_count >= VERSIONS_DIRTY)
		forest_flush(forest);
	do {
		r = task_first(forest, ret_task);
		if (r == -ENOENT) {
			*ret_task = (struct task){0};
			r = trash_step(forest);
			/* Its space may be enough. */
			if (gc->tight)
				break;
		} else if (r < 0 || task_waits(ret_task)) {
			break;
		} else {
			r = task_step(forest, ret_task);
		}
		held = mono_ns() - began;
	} while (!r && held < hold_ns &&
	         store_freeing(store) + gc->limit * NODE_BLOCKS <= most);
	*ret_txg = store_txg(store);
	*ret_full = store_freeing(store) >= COMMIT_BLOCKS;
	gc->holds = store_holds(store);
	store_unlock(store);
	if (!gc->alone)
		gc_sleep(MIN(mono_ns() - began, pause_max_ns));
	return r;
}

/* Repack pages that deletions left half empty, when there is no other work. */
static int gc_repack(struct forest *forest)
{
	int r = store_repack(forest->store);

	if (!r && !forest->gc.alone)
		gc_sleep(pause_max_ns);
	return r;
}

/* Do one piece of work.  -ENOENT: there is none. */
static int gc_step(struct forest *forest)
{
	struct store *store = forest->store;
	struct task task = {0};
	struct gc *gc = &forest->gc;
	uint64_t txg;
	bool full;
	int r;

	gc->blocks = HOLD_BLOCKS;
	r = store_pace(store, &gc->blocks);
	if (r < 0)
		return r;
	gc->tight = r > 0;
	gc->limit = MIN(gc->blocks / NODE_BLOCKS - 1, (uint32_t)PIECE_NODES);
	r = gc_hold(forest, &task, &txg, &full);
	if (full)
		store_commit_start(store);
	if (r == -EAGAIN)
		r = store_wait(store, txg);
	else if (r == -ENOENT)
		r = gc_repack(forest);
	else if (!r && task.kind == TASK_TIDY)
		r = tidy_run(forest, &task);
	else if (!r && task.kind == TASK_DROP)
		r = drop_run(forest, &task);
	if (r == -EUCLEAN && task.kind) {
		store_lock(store);
		r = task_give_up(forest, &task);
		store_unlock(store);
	}
	return r;
}

/*
 * Evict until memory is back at its limits, or everything is in use.  That
 * takes two rounds over all entries: the first one only clears the marks of
 * use.
 */
static void gc_shrink(struct forest *forest)
{
	bool crowded = true, trim = false;
	size_t rounds = 1;

	for (size_t i = 0; crowded && i < rounds; i++) {
		store_lock(forest->store);
		rounds = 2 * forest_evict_rounds(forest) + 1;
		if (forest->states.dirty_count >= STATES_DIRTY)
			forest_flush(forest);
		forest_evict(forest);
		crowded = forest_crowded(forest);
		if (forest->evicted > EVICTED_TRIM) {
			forest->evicted = 0;
			trim = true;
		}
		store_unlock(forest->store);
		store_yield(forest->store);
	}
	if (trim)
		memory_trim();
}

/*
 * Wait for a wake-up, or until a state in the trash is due or a task that waits
 * for readers is tried again; after a failure, for a second.  gc->lock held.
 */
static void gc_wait(struct gc *gc)
{
	struct timespec ts;

	if (!gc->err) {
		ts.tv_sec = gc->next_due / 1000000000;
		ts.tv_nsec = gc->next_due % 1000000000;
		while (!gc->stop && !gc->pending) {
			gc->quiet = true;
			pthread_cond_broadcast(&gc->idle);
			if (gc->next_due == INT64_MAX)
				pthread_cond_wait(&gc->wake, &gc->lock);
			else if (pthread_cond_timedwait(&gc->wake, &gc->lock,
			                                &ts))
				break;
		}
	} else if (!gc->stop) {
		pthread_cond_broadcast(&gc->idle);
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec++;
		pthread_cond_timedwait(&gc->wake, &gc->lock, &ts);
	}
	gc->pending = false;
	gc->quiet = false;
}

/* Return when the first state in the trash is due; INT64_MAX: it is empty. */
static int64_t trash_first_due(struct forest *forest)
{
	int64_t due = INT64_MAX;

	store_lock(forest->store);
	if (forest->meta.trashed)
		due = forest->gc.first_due;
	store_unlock(forest->store);
	return due;
}

/* Let the search for tasks find those that were skipped because of readers. */
static void tasks_again(struct forest *forest)
{
	uint64_t *first = forest->gc.first_task;

	store_lock(forest->store);
	first[TASK_MERGE] = first[TASK_REAP] = 0;
	forest->gc.deferred = false;
	store_unlock(forest->store);
}

static void *gc_main(void *arg)
{
	struct forest *forest = arg;
	struct gc *gc = &forest->gc;
	int64_t due;

	pthread_setname_np(pthread_self(), "gc");
	store_background();
	pthread_mutex_lock(&gc->lock);
	for (;;) {
		int err = gc->err, r = 0;

		gc_wait(gc);
		if (gc->stop)
			break;
		pthread_mutex_unlock(&gc->lock);
		if (gc->deferred)
			tasks_again(forest);
		while (!r && !gc_stopping(gc))
			r = gc_step(forest);
		gc_shrink(forest);
		if (r == -ENOENT || r == -EINTR)
			r = 0;
		if (r && r != err)
			log_error("cannot free the space of deleted "
			          "states: %s",
			          strerror(-r));
		due = trash_first_due(forest);
		pthread_mutex_lock(&gc->lock);
		gc->err = r;
		gc->next_due = due;
		if (gc->deferred)
			gc->next_due = MIN(due, now_ns() + retry_ns);
	}
	pthread_cond_broadcast(&gc->idle);
	pthread_mutex_unlock(&gc->lock);
	return NULL;
}

int gc_start(struct forest *forest)
{
	struct gc *gc = &forest->gc;
	int r;

	gc->stop = false;
	gc->pending = true;
	gc->next_due = INT64_MAX;
	gc->first_due = INT64_MIN;
	gc->job_most = JOB_ENTRIES * JOB_BACKLOG;
	r = pthread_create(&gc->thread, NULL, gc_main, forest);
	gc->runs = !r;
	return -r;
}

void gc_stop(struct forest *forest)
{
	struct gc *gc = &forest->gc;

	if (!gc->runs)
		return;
	pthread_mutex_lock(&gc->lock);
	gc->stop = true;
	pthread_cond_broadcast(&gc->wake);
	pthread_mutex_unlock(&gc->lock);
	pthread_join(gc->thread, NULL);
	gc->runs = false;
}

void gc_resume(struct forest *forest, uint64_t version)
{
	uint64_t *first = forest->gc.first_task;

	first[TASK_MERGE] = MIN(first[TASK_MERGE], version);
	first[TASK_REAP] = MIN(first[TASK_REAP], version);
	gc_wake(forest);
}

void gc_wake(struct forest *forest)
{
	struct gc *gc = &forest->gc;

	pthread_mutex_lock(&gc->lock);
	if (!gc->pending) {
		gc->pending = true;
		gc->quiet = false;
		pthread_cond_signal(&gc->wake);
	}
	pthread_mutex_unlock(&gc->lock);
}

int forest_drain(struct forest *forest)
{
	struct gc *gc = &forest->gc;
	int r, err;

	if (forest->readonly)
		return 0;
	pthread_mutex_lock(&gc->lock);
	gc->pending = true;
	gc->quiet = false;
	gc->err = 0;
	pthread_cond_signal(&gc->wake);
	while (!gc->stop && !gc->quiet && !gc->err)
		pthread_cond_wait(&gc->idle, &gc->lock);
	err = gc->err;
	pthread_mutex_unlock(&gc->lock);
	r = store_sync(forest->store);
	return err ? err : r;
}

uint64_t forest_backlog(struct forest *forest)
{
	return forest->meta.tasks + forest->meta.deleting - join_tasks(forest);
}
