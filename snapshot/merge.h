/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Merging inner versions with their only child. */
#ifndef COPPICE_SNAPSHOT_MERGE_H
#define COPPICE_SNAPSHOT_MERGE_H

#include "gc.h"

/* Do a TASK_MERGE.  Lock held. */
int merge_step(struct forest *forest, const struct task *task);
/*
 * Do a TASK_TIDY.  Waits for commits.  -EINTR: the thread is to stop.  Lock NOT
 * held.
 */
int tidy_run(struct forest *forest, const struct task *task);

#endif
