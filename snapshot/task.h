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

/* A task is a record of TABLE_TASK, keyed by its kind and an id: see gc.c. */
enum task_kind {
	TASK_TIDY = 1, /* put the lists of a merge together; merged version */
	TASK_CLEAR,    /* delete the snapshots of a deleted fork; its number */
	TASK_REAP,     /* free the tree of a leaf; version */
	TASK_MERGE,    /* merge an inner version with its child; version */
	TASK_DROP,     /* free a deadlist without an owner; list */
	TASK_STUCK,    /* a version that cannot be read; never tried again */
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
 * Write the record of a task, and wake the thread.  `value` is what the task
 * has to know, or how far it is.  -ENOMEM.
 */
int task_put(struct forest *forest, enum task_kind kind, uint64_t id,
             const void *value, size_t len);
/* Delete the record of a task, if there is one. */
int task_del(struct forest *forest, enum task_kind kind, uint64_t id);
/*
 * Return the next task to be done.  -ENOENT: none.  Those of versions that are
 * held are passed over; gc_resume() makes them found again.
 */
int task_first(struct forest *forest, struct task *ret_task);

#endif
