/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The states that `prune` removes.  They are collected first, because the rows
 * of an answer arrive faster than states can be deleted.
 */
#ifndef COPPICE_PRUNE_REMOVALS_H
#define COPPICE_PRUNE_REMOVALS_H

#include "prune_plan.h"
#include "store_access.h"

struct prune_removals {
	struct prune_removal *at;
	size_t len, capacity;
};

/* Called for each state, when it is decided whether it is removed. */
typedef void prune_report_fn(void *arg, json_t *row, bool remove,
                             const char *reason);

/* Add a state, with its fork's snapshots if it is a fork.  -ENOMEM. */
int prune_removals_add(struct prune_removals *removals,
                       const struct prune_state *state);
/* Delete all of the states.  Return the worst of the exit codes. */
int prune_removals_run(struct prune_removals *removals,
                       struct store_access *access);
/*
 * If less than `bytes` are free in the store, empty the trash; then delete the
 * oldest states for good until `bytes` are free.  Report each state.  With
 * dry_run, delete nothing, and assume that each state frees only the blocks
 * that no other state has.  Return the worst of the exit codes.
 */
int prune_removals_until_free(struct prune_removals *removals,
                              struct store_access *access, uint64_t bytes,
                              bool dry_run, prune_report_fn *report, void *arg);
void prune_removals_release(struct prune_removals *removals);

#endif
