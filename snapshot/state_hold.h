/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holds: reading one instant of a state in many pieces, while the state is
 * written, forked, snapshotted or deleted.  A part of snapshot.h: include that.
 *
 * A hold keeps a frozen version's tree from being freed or merged away.  It is
 * in memory alone: if the process dies, the tasks that the hold has deferred
 * are done when the store is opened again.  Lock held throughout.
 */
#ifndef COPPICE_SNAPSHOT_STATE_HOLD_H
#define COPPICE_SNAPSHOT_STATE_HOLD_H

#include <stdbool.h>
#include <stdint.h>

struct forest;
struct state;
struct version;

/* The memory is the caller's.  All zero: holds nothing. */
struct state_hold {
	struct version *version; /* frozen, or of a store opened read-only */
};

/*
 * Hold the present tree of a state.  Constant time.  A head that has changed
 * since it was forked is frozen, as by a snapshot without a name, which costs
 * what a snapshot costs: call store_throttle(store, false) before, without the
 * lock.  -ESTALE: the state was deleted; -ENOMEM; -ENOSPC.
 */
int state_hold(struct state *state, struct state_hold *ret_hold);
/*
 * Release the tree.  If the hold froze a head, the frozen version is merged
 * away in the background.  An empty hold is allowed.
 */
void hold_release(struct forest *forest, struct state_hold *hold);

/* Hold the version of another hold, which is not empty, once more. */
void hold_copy(const struct state_hold *from, struct state_hold *ret_to);

/*
 * Move a hold to other memory, whose content is overwritten; `from` is empty
 * afterwards.
 */
void hold_move(struct forest *forest, struct state_hold *from,
               struct state_hold *ret_to);

/* Return the held tree, to read from; valid until the hold is released. */
struct tree *hold_tree(const struct state_hold *hold);
/* Return the id of the held version: equal ids mean equal trees. */
uint64_t hold_version(const struct state_hold *hold);

/*
 * Return true if the state still has the tree of the version with this id,
 * which is held.  False in doubt.
 */
bool state_is_at(struct state *state, uint64_t version);

/* Return the sequence number at which the held version froze. */
uint64_t hold_freeze(const struct state_hold *hold);

/*
 * Hold a frozen version that join_bases() or hold_version() has returned in
 * this hold of the lock.  -ENOENT: it was discarded since by
 * forest_undo_end().
 */
int version_hold_id(struct forest *forest, uint64_t version,
                    struct state_hold *ret_hold);
/* Hold a version.  For the sources of snapshot/. */
void version_hold(struct version *v, struct state_hold *hold);
/* Return true if a hold, or a join, is on the version with this id. */
bool version_is_held(struct forest *forest, uint64_t id);

#endif
