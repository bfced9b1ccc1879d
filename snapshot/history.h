/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The states that a state came from.  A part of snapshot.h: include that. */
#ifndef COPPICE_SNAPSHOT_HISTORY_H
#define COPPICE_SNAPSHOT_HISTORY_H

struct forest;
struct state;

/*
 * Find the state that comes before this one in its history: of a fork, its
 * newest snapshot; of a snapshot, the next older one of the same fork; and of
 * what is the oldest of a fork, the state that the fork was made from, or if
 * that is a fork, the newest of its snapshots from before.  -ENOENT: there is
 * none, or the fork's origin was deleted.  Lock held.
 */
int state_before(struct forest *forest, const struct state *state,
                 struct state **ret_state);

#endif
