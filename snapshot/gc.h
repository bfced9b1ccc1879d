/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The background thread that frees the space of deleted versions, and its
 * tasks.  Lock held unless a function says otherwise.
 */
#ifndef COPPICE_SNAPSHOT_GC_H
#define COPPICE_SNAPSHOT_GC_H

#include <pthread.h>

#include "task.h"
#include "version.h"

/* The background thread. */
struct gc {
	pthread_t thread;
	bool runs;
	uint32_t limit;    /* nodes in one piece; used by the thread alone */
	uint32_t blocks;   /* freed in one hold; used by the thread alone */
	uint32_t job_most; /* list entries for which a commit has had space */
	bool tight;     /* the store is nearly full; used by the thread alone */
	uint64_t holds; /* of the store's lock by others, at its last hold */
	bool alone;     /* no other thread has held the lock since */
	bool readers;   /* other processes may read; used by the thread alone */
	bool deferred;  /* a task waits for them; used by the thread alone */
	/*
	 * Where the search for the next task of a kind begins (UINT64_MAX:
	 * there is none), and the one for the next snapshot to clear: so that
	 * records deleted before are not passed again.  Guarded by the store's
	 * lock.
	 */
	uint64_t first_task[TASK_KINDS];
	uint8_t cleared[TABLE_KEY_MAX];
	uint32_t cleared_len;
	int64_t first_due; /* lower bound of `due` in the trash; store's lock */

	pthread_mutex_t lock;
	pthread_cond_t wake; /* to the thread: pending or stop */
	pthread_cond_t idle; /* from the thread: quiet or failed */
	bool pending;        /* gc->lock: there may be work */
	int64_t next_due;    /* gc->lock: next work, ns; INT64_MAX: unknown */
	bool quiet;          /* gc->lock: the thread has found no work */
	bool stop;           /* gc->lock */
	int err;             /* gc->lock: the last error, or 0 */
};

/*
 * Add the task, if any, for a version that is about to have this number of refs
 * and children.  Call it before the change: if the change then fails, the
 * needless task does no harm.
 */
int gc_note(struct version *v, uint64_t refs, uint64_t children);
/*
 * Claim a version whose blocks are about to be freed, so that no other process
 * begins to read it.  -EBUSY: one reads it; -EAGAIN: try again after the next
 * commit; see store_claim().  For the thread alone.
 */
int gc_claim(struct version *v);
/*
 * Run all of the jobs, a piece of each in a commit.  -EINTR: the thread is to
 * stop.  Lock NOT held.
 */
int job_run(struct forest *forest, struct list_job *jobs);

int gc_start(struct forest *forest);
void gc_stop(struct forest *forest);
/*
 * Resume the tasks, if any, of a version that is no longer held: the thread
 * skips them while it is.
 */
void gc_resume(struct forest *forest, uint64_t version);
/* Wake the thread: there may be work. */
void gc_wake(struct forest *forest);

#endif
