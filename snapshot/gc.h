/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The background thread's kinds of work: told in gc.c, reap.c and merge.c.
 */
#ifndef COPPICE_GC_H
#define COPPICE_GC_H

#include "forest.h"

struct task {
	enum task_kind kind;
	uint64_t id;
	struct record record;
};

/* The next to be done.  -ENOENT: none. */
int task_first(struct forest *forest, struct task *ret_task);

/* Read the record of one task.  -ENOENT. */
int task_get(struct forest *forest, enum task_kind kind, uint64_t id,
             struct record *ret_record);

/* *ret_begun: some of the leaf's tree is gone already, or all of it. */
int reap_begun(struct forest *forest, const struct version *v, bool *ret_begun);
/* Pieces of work done in one hold of the lock. */
int reap_step(struct forest *forest, const struct task *task);
int merge_step(struct forest *forest, const struct task *task);

/* Lock NOT held: these wait for commits.  -EINTR: the thread is to stop. */
int tidy_run(struct forest *forest, const struct task *task);
/* Some of the lists that nobody has any more, from this one on. */
int drop_run(struct forest *forest, const struct task *first);
/* All of the jobs, a piece of each a commit. */
int job_run(struct forest *forest, struct list_job *jobs);

#endif
