/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tasks of the thread that frees the space of deleted versions.  Lock held.
 */
#ifndef COPPICE_SNAPSHOT_TASK_H
#define COPPICE_SNAPSHOT_TASK_H

#include <stddef.h>
#include <stdint.h>

#include "store.h"

struct forest;

/*
 * A task is a record of TABLE_TASK, keyed by its kind and the id of its object,
 * which is named first: see gc.c.
 */
enum task_kind {
	TASK_TIDY = 1, /* merged version: put the lists of the merge together */
	TASK_CLEAR,    /* number of a deleted fork: delete its snapshots */
	TASK_REAP,     /* leaf version: free its tree */
	TASK_MERGE,    /* inner version: merge it with its only child */
	TASK_DROP,     /* deadlist without an owner: free it */
	TASK_STUCK,    /* version that cannot be read: never tried again */
	TASK_KINDS,
};

enum { TASK_KEY_LEN = 9 };

struct task {
	enum task_kind kind;
	uint64_t id;
	struct record record;
};

/* Read the record of a task.  -ENOENT. */
int task_get(struct forest *forest, enum task_kind kind, uint64_t id,
             struct record *ret_record);
/*
 * Write the record of a task, and wake the thread.  `value` has the parameters
 * of the task, or its progress.  -ENOMEM.
 */
int task_put(struct forest *forest, enum task_kind kind, uint64_t id,
             const void *value, size_t len);
/* Delete the record of a task, if there is one. */
int task_del(struct forest *forest, enum task_kind kind, uint64_t id);
/*
 * Return the next task to be done.  -ENOENT: none.  Tasks of versions that are
 * held are skipped until gc_resume() is called.
 */
int task_first(struct forest *forest, struct task *ret_task);

#endif
