/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs that make and rename states; and what all verbs that change states
 * have in common, so that a batch can do several of them in one step.
 *
 * Such a verb has a function that reads the request and makes the change with
 * the lock held, and does not release it in a batch.  It returns in a `struct
 * state_change` what is announced to the mounts, and answered, when the lock is
 * released.
 */
#ifndef COPPICE_CONTROL_STATE_H
#define COPPICE_CONTROL_STATE_H

#include "control_verb.h"

/* A change of a state; all zero at first, and not to be moved in memory. */
struct state_change {
	struct changed_name {
		uint64_t fork; /* of a snapshot's name; 0: a fork's name */
		char name[NAME_LEN_MAX + 1];
		bool fresh; /* it was added, else removed */
	} names[2];
	unsigned name_count;
	bool exchanged; /* both names are there, before and after */
	bool gone;      /* a state was deleted */
	/* The trees of a fork that got another one; else all zero. */
	struct fs_restored restored;
	/* In a batch: the tree that the fork gets; NULL: it needs none. */
	struct fs_prepared *prepared;
	json_t *full; /* the state's name, to be released */
	uint64_t number;
	uint64_t version; /* 0: it was deleted */
};

/*
 * Make a change, and describe it.  If it fails, the error message is set, and
 * the change is not made, except in a batch, which undoes it.  Lock held.
 */
typedef int state_change_fn(struct control *c, struct state_change *ret);

/*
 * Build prepared->tree for a change that has returned -EAGAIN and set
 * prepared->wanted: the names of the request may mean something else now, or
 * nothing.  Lock NOT held.
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
 * Invalidate what mounts have cached of the names, of a fork that got another
 * tree, and of deleted states.  Lock NOT held.
 */
void state_change_announce(struct control *c,
                           const struct state_change *change);
/* Release the holds on trees.  Lock held. */
void state_change_release_trees(struct control *c, struct state_change *change);

#endif
