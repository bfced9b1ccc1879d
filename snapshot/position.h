/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots of a fork by their position in time.  Lock held throughout. */
#ifndef COPPICE_SNAPSHOT_POSITION_H
#define COPPICE_SNAPSHOT_POSITION_H

#include "snapshot.h"

/*
 * Find the n-th newest snapshot of a fork, or the newest at or before a time.
 * -ENOENT; -EAGAIN: one hold of the lock does not suffice, but there is
 * progress: release the lock and call again.
 */
int position_nth(struct forest *forest, uint64_t fork, uint64_t n,
                 struct state **ret_state);
int position_at(struct forest *forest, uint64_t fork, int64_t time,
                struct state **ret_state);
/*
 * Return a time not older than any snapshot of the fork.  -ENOENT: no
 * snapshots.
 */
int position_bound(struct forest *forest, uint64_t fork, int64_t *ret_time);
/* Add a snapshot that was just made: the newest of its fork. */
void positions_add(struct forest *forest, const struct state *snapshot);
/* Remove a snapshot that is about to be deleted. */
void positions_del(struct forest *forest, const struct state *snapshot);
/* Free the cached times of a fork. */
void positions_forget(struct forest *forest, uint64_t fork);
/* Free the cached times of all forks. */
void positions_release(struct forest *forest);

#endif
