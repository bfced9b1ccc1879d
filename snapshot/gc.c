/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving back the space of versions that nobody names any more.
 *
 * Work is noted as records in TABLE_TASK, keyed by kind and number, in the
 * same hold of the lock as the change that makes it: after a crash the thread
 * goes on where the last commit left it.  A note says "look here", not "do
 * this": what is to be done is seen from the version when its turn comes, and
 * a note that has become wrong is dropped.
 *
 * The thread does one task at a time, the kinds in order of enum task_kind:
 *
 * TIDY first, so that at most one merge is in the air.  CLEAR and REAP come
 * before MERGE, because a version whose last child goes is cheaper to reap
 * than to merge: a fork deleted with a thousand snapshots unravels from its
 * tip, and no list is ever moved.
 *
 * What was freed or merged may be all that kept the parent: it is looked at
 * again in the same hold.  A version with several children and no refs waits.
 */
#include "gc.h"
#include "util.h"

#include <errno.h>

enum {
	PIECE_NODES_MIN = 16,
	PIECE_NODES_MAX = 256,
	PIECE_SNAPSHOTS = 16,
	JOB_ENTRIES = 8192,
	JOB_ENTRIES_TIGHT = 256, /* when the store is nearly full */
	COMMIT_NODES = 8192, /* after so many freed, make the space usable */
};

/* A hold of the lock should be over in this time, and the thread stays away
 * from it for as long as it was held. */
static const int64_t hold_ns = 500000;
static const int64_t pause_max_ns = 5000000;

static bool gc_stopping(struct gc *gc)
{
	bool stop;

	pthread_mutex_lock(&gc->lock);
	stop = gc->stop;
	pthread_mutex_unlock(&gc->lock);
	return stop;
}

/* ---- Tasks -------------------------------------------------------------- */

static void task_key(uint8_t key[TASK_KEY_LEN], enum task_kind kind,
                     uint64_t id)
{
	key[0] = (uint8_t)kind;
	be64_put(key + 1, id);
}

/* One task more or less: -ENOENT, or 0 if it is there. */
static int task_exists(struct forest *forest, enum task_kind kind, uint64_t id)
{
	uint8_t key[TASK_KEY_LEN];
	struct record record;

	task_key(key, kind, id);
	return table_get(forest->store, TABLE_TASK, key, sizeof(key), &record);
}

int task_put(struct forest *forest, enum task_kind kind, uint64_t id,
             const void *value, size_t len)
{
	uint8_t key[TASK_KEY_LEN];
	int exists = task_exists(forest, kind, id);
	int r;

	if (exists && exists != -ENOENT)
		return exists;
	task_key(key, kind, id);
	r = table_put(forest->store, TABLE_TASK, key, sizeof(key), value, len);
	if (r < 0)
		return r;
	if (exists == -ENOENT && kind != TASK_STUCK) {
		forest->meta.tasks++;
		forest->meta_dirty = true;
	}
	gc_wake(forest);
	return 0;
}

int task_del(struct forest *forest, enum task_kind kind, uint64_t id)
{
	uint8_t key[TASK_KEY_LEN];
	int r = task_exists(forest, kind, id);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	task_key(key, kind, id);
	r = table_del(forest->store, TABLE_TASK, key, sizeof(key));
	if (r < 0)
		return r;
	forest->meta.tasks--;
	forest->meta_dirty = true;
	return 0;
}

int task_first(struct forest *forest, struct task *ret_task)
{
	static const uint8_t first[1] = {0};
	int r = table_seek(forest->store, TABLE_TASK, first, sizeof(first),
	                   &ret_task->record);

	if (r < 0)
		return r;
	if (ret_task->record.key_len != TASK_KEY_LEN ||
	    ret_task->record.key[0] >= TASK_STUCK)
		return -ENOENT;
	ret_task->kind = ret_task->record.key[0];
	ret_task->id = be64_get(ret_task->record.key + 1);
	return 0;
}

int gc_note(struct version *v, uint64_t refs, uint64_t kids)
{
	if (refs || kids > 1)
		return 0;
	return task_put(v->forest, kids ? TASK_MERGE : TASK_REAP, v->id, NULL,
	                0);
}

/*
 * What cannot be read cannot be given back; others must not wait for it.  The
 * note stays, for a check of the store to find.
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

int job_run(struct forest *forest, struct list_job *jobs)
{
	uint32_t count = 0, budget = JOB_ENTRIES;
	int r = 0;

	for (struct list_job *job = jobs; job; job = job->next)
		count++;
	if (forest->gc.tight)
		budget = JOB_ENTRIES_TIGHT;
	for (struct list_job *job = jobs; job; job = job->next) {
		job->budget = MAX(budget / count, 1u);
		job->done = false;
	}
	while (!r && jobs) {
		r = gc_stopping(&forest->gc)
		            ? -EINTR
		            : list_job_run(forest->store, jobs);
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

/* The lock was held so long: fit the next piece to it, and stay away. */
static void gc_pace(struct forest *forest, int64_t held)
{
	struct gc *gc = &forest->gc;

	if (held > hold_ns)
		gc->limit = MAX(gc->limit / 2, (uint32_t)PIECE_NODES_MIN);
	else if (held < hold_ns / 3)
		gc->limit = MIN(gc->limit * 2, (uint32_t)PIECE_NODES_MAX);
	if (gc->freed >= COMMIT_NODES) {
		gc->freed = 0;
		store_commit_start(forest->store);
	}
	gc_sleep(MIN(held, pause_max_ns));
}

/* What is done in one hold of the lock. */
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

/* One piece of work.  -ENOENT: there is none. */
static int gc_step(struct forest *forest)
{
	struct store *store = forest->store;
	struct task task;
	int64_t began;
	int r = store_pace(store);

	if (r < 0)
		return r;
	forest->gc.tight = r > 0;
	if (forest->gc.tight)
		forest->gc.limit = PIECE_NODES_MIN;
	store_lock(store);
	began = mono_ns();
	forest_sweep(forest);
	r = task_first(forest, &task);
	if (r < 0) {
		store_unlock(store);
		return r;
	}
	r = task_step(forest, &task);
	store_unlock(store);
	gc_pace(forest, mono_ns() - began);
	if (task.kind == TASK_TIDY)
		r = tidy_run(forest, &task);
	else if (task.kind == TASK_DROP)
		r = drop_run(forest);
	if (r == -EUCLEAN) {
		store_lock(store);
		r = task_give_up(forest, &task);
		store_unlock(store);
	}
	return r;
}

/*
 * Sweep until memory is back at its limits, or everything is in use: twice
 * over all, for the first time only takes the marks of use away.
 */
static void gc_shrink(struct forest *forest)
{
	enum { TRIM_SWEEPS = 64 }; /* there were very many states */
	bool crowded = true;
	size_t sweeps = 1;

	for (size_t i = 0; crowded && i < sweeps; i++) {
		store_lock(forest->store);
		sweeps = 2 * forest_sweeps(forest) + 1;
		if (forest->states.dirty_count >= STATES_DIRTY)
			forest_flush(forest);
		forest_sweep(forest);
		crowded = forest_crowded(forest);
		store_unlock(forest->store);
	}
	if (sweeps > TRIM_SWEEPS)
		memory_trim();
}

/* gc->lock held: wait to be woken, or a second after a failure. */
static void gc_wait(struct gc *gc)
{
	struct timespec ts;

	if (!gc->err) {
		while (!gc->stop && !gc->pending) {
			gc->quiet = true;
			pthread_cond_broadcast(&gc->idle);
			pthread_cond_wait(&gc->wake, &gc->lock);
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

static void *gc_main(void *arg)
{
	struct forest *forest = arg;
	struct gc *gc = &forest->gc;

	pthread_setname_np(pthread_self(), "gc");
	pthread_mutex_lock(&gc->lock);
	for (;;) {
		int err = gc->err, r = 0;

		gc_wait(gc);
		if (gc->stop)
			break;
		pthread_mutex_unlock(&gc->lock);
		while (!r && !gc_stopping(gc))
			r = gc_step(forest);
		gc_shrink(forest);
		if (r == -ENOENT || r == -EINTR)
			r = 0;
		if (r && r != err)
			log_error("cannot give back the space of deleted "
			          "states: %s",
			          strerror(-r));
		pthread_mutex_lock(&gc->lock);
		gc->err = r;
	}
	pthread_cond_broadcast(&gc->idle);
	pthread_mutex_unlock(&gc->lock);
	return NULL;
}

int gc_start(struct forest *forest)
{
	struct gc *gc = &forest->gc;
	int r;

	gc->limit = PIECE_NODES_MIN;
	gc->pending = true;
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
	return forest->meta.tasks + forest->meta.doomed;
}
