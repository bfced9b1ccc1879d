/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Freeing the trees of leaf versions, and deadlists without an owner. */
#ifndef COPPICE_SNAPSHOT_REAP_H
#define COPPICE_SNAPSHOT_REAP_H

#include "gc.h"

/* Set *ret_begun if part of the leaf's tree, or all of it, is freed already. */
int reap_begun(struct forest *forest, const struct version *v, bool *ret_begun);
/* Do one piece of a TASK_REAP.  Lock held. */
int reap_step(struct forest *forest, const struct task *task);
/*
 * Free lists of TASK_DROP, from this task on.  Waits for commits.  -EINTR: the
 * thread is to stop.  Lock NOT held.
 */
int drop_run(struct forest *forest, const struct task *first);

#endif
