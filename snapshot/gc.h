/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The background thread's kinds of work: told in gc.c, reap.c and merge.c.
 */
#ifndef COPPICE_GC_H
#define COPPICE_GC_H

#include "forest.h"

enum { TASK_KEY_LEN = 9 };
struct task {
	enum task_kind kind;
	uint64_t id;
	struct record record;
};

/* The next to be done.  -ENOENT: none. */
int task_first(struct forest *forest, struct task *ret_task);

/* Pieces of work done in one hold of the lock. */
int reap_step(struct forest *forest, const struct task *task);
int merge_step(struct forest *forest, const struct task *task);

/* Lock NOT held: these wait for commits.  -EINTR: the thread is to stop. */
int tidy_run(struct forest *forest, const struct task *task);
/* Some of the lists that nobody has any more. */
int drop_run(struct forest *forest);
/* All of the jobs, a piece of each a commit. */
int job_run(struct forest *forest, struct list_job *jobs);

#endif
