/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The states that a state came from.  A part of snapshot.h: include that. */
#ifndef COPPICE_SNAPSHOT_HISTORY_H
#define COPPICE_SNAPSHOT_HISTORY_H

struct forest;
struct state;

/*
 * Find the state before this one in its history: for a fork, its newest
 * snapshot; for a snapshot, the next older one of the same fork.  If there is
 * none, the search continues at the fork's origin: the origin itself if it is a
 * snapshot, else its newest snapshot from before the fork was made.  -ENOENT:
 * there is none, or an origin was deleted.  Lock held.
 */
int state_before(struct forest *forest, const struct state *state,
                 struct state **ret_state);

#endif
