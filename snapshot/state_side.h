/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Side heads: changing a copy of a state's tree in many pieces, and making it
 * the tree of a fork in one step.  A part of snapshot.h: include that.
 *
 * A side head is a head that no state names.  If the process dies, it is reaped
 * as a deleted version is.  Lock held throughout.
 */
#ifndef COPPICE_SNAPSHOT_STATE_SIDE_H
#define COPPICE_SNAPSHOT_STATE_SIDE_H

#include "item.h"
#include "state_hold.h"

struct state_side {
	struct state_hold hold; /* on the head */
	uint64_t parent;        /* id of the version that it was forked from */
};

/*
 * Fork the present tree of a state to a new side head.  Constant time; costs
 * what state_hold() costs, and has its errors; -EROFS.
 */
int side_begin(struct state *source, struct state_side *ret_side);
/* Do the same for a frozen version that is held. */
int side_begin_at(const struct state_hold *at, struct state_side *ret_side);
/*
 * Begin a side head without a parent, whose tree is this root directory alone.
 */
int side_create(struct forest *forest, const struct inode *root,
                struct state_side *ret_side);
/*
 * Freeze the side head: it cannot be changed or switched to any more, but other
 * side heads can be forked from its tree, by side->hold.
 */
void side_freeze(struct state_side *side);
/*
 * Set up a struct that functions which change the tree of a state accept: with
 * the number and the quota of `fork` (NULL: with the number 0, and none), and
 * the side head as its version.  Valid in one hold of the lock, and for
 * state_tree(), state_edit(), state_count() and quota_check() alone.
 */
void side_state(const struct state_side *side, const struct state *fork,
                struct state *ret_state);
/*
 * Return true if the fork still has the tree that the side head was forked
 * from.
 */
bool side_is_current(const struct state_side *side, struct state *fork);
/* Check that the side head is within the fork's quota.  -EDQUOT. */
int side_check_quota(const struct state_side *side, struct state *fork);
/*
 * Make the side head the head of the fork.  The former head is freed in the
 * background, except for blocks that snapshots and forks share.  -ESTALE: the
 * fork was deleted; -EROFS: it is a snapshot.
 */
int side_switch(struct state_side *side, struct state *fork);
/* Discard the side head, unless it was switched to.  All zero is allowed. */
void side_end(struct forest *forest, struct state_side *side);

#endif
