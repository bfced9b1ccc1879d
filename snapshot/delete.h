/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The background part of deleting a fork with its snapshots.  Lock held. */
#ifndef COPPICE_SNAPSHOT_DELETE_H
#define COPPICE_SNAPSHOT_DELETE_H

#include "snapshot.h"

/*
 * Delete up to `most` snapshots of a fork that is being deleted, and the fork's
 * record when none is left.  -EAGAIN: there are more.
 */
int fork_clear(struct forest *forest, uint64_t fork, uint32_t most);

/*
 * Remove the state, which points to no version, from the cache.  Its memory is
 * freed in a later hold of the lock.
 */
void state_free_later(struct forest *forest, struct state *s);

#endif
