/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs that make and rename states, and the common part of all verbs that
 * change states, by which a batch can make several changes in one step.
 *
 * Such a verb has a function that reads the request and makes the change with
 * the lock held; in a batch it does not release the lock.  It describes the
 * change in a `struct state_change`, from which the caller notifies the mounts
 * and answers after it has released the lock.
 */
#ifndef COPPICE_CONTROL_STATE_H
#define COPPICE_CONTROL_STATE_H

#include "control_verb.h"

/* A change of a state; all zero at first, and not to be moved in memory. */
struct state_change {
	struct changed_name {
		uint64_t fork; /* of a snapshot's name; 0: a fork's name */
		char name[NAME_LEN_MAX + 1];
		bool fresh; /* the name was added; false: removed */
	} names[2];
	unsigned name_count;
	bool exchanged; /* the two names exist before and after */
	bool gone;      /* a state was deleted */
	/* The trees of a fork whose tree was replaced; otherwise all zero. */
	struct fs_restored restored;
	/* In a batch: the tree that the fork gets; NULL: none is needed. */
	struct fs_prepared *prepared;
	json_t *full; /* the state's name, to be released */
	uint64_t number;
	uint64_t version; /* 0: the state was deleted */
};

/*
 * Make a change and describe it.  On failure set the error message and return a
 * negative errno; nothing has changed then, except in a batch, which undoes it.
 * Lock held.
 */
typedef int state_change_fn(struct control *c, struct state_change *ret);

/*
 * Build the tree for a change that has returned -EAGAIN and set
 * prepared->wanted, from the held versions: the names of the request may mean
 * other states by now, or none.  Lock NOT held.
 */
typedef int state_prepare_fn(struct control *c, struct fs_prepared *prepared);

state_change_fn control_fork_change;   /* "name", "source", "mode", "set" */
state_change_fn control_snap_change;   /* "fork", "name", "set" */
state_change_fn control_rename_change; /* "name", "to" */

int control_fork(struct control *c);
int control_snap(struct control *c);
int control_rename(struct control *c);

/* Describe a name that was added (fresh) or removed. */
void state_change_name(struct state_change *change, uint64_t fork,
                       const char *name, bool fresh);
/* Describe the state as it is now.  Lock held. */
int state_change_result(struct control *c, struct state *state,
                        struct state_change *change);
/*
 * Invalidate what mounts have cached of the names, of a fork whose tree was
 * replaced, and of deleted states.  Lock NOT held.
 */
void state_change_announce(struct control *c,
                           const struct state_change *change);
/* Release the holds on trees.  Lock held. */
void state_change_release_trees(struct control *c, struct state_change *change);

#endif
