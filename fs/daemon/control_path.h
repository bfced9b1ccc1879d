/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Arguments of requests that name a file in a state, STATE:/PATH, and holds on
 * states for the verbs that read them.
 *
 * Only root and the store's owner are answered (connection.c), and a process
 * that opens the store itself can read its file.  So no modes are checked: all
 * of a state may be shown.
 */
#ifndef COPPICE_CONTROL_PATH_H
#define COPPICE_CONTROL_PATH_H

#include "control_verb.h"

/* The name of a file in a state. */
struct control_path {
	char state[STATE_NAME_MAX];
	char path[TREE_PATH_SIZE]; /* "/": all of the state */
};

/*
 * Read the arguments `state_key` and `path_key`; a missing path is "/".  If the
 * state is missing, return -ENOENT, or fail if it is needed.
 */
int control_path(struct control *c, const char *state_key, const char *path_key,
                 bool needed, struct control_path *ret_path);
/* Fail with the message "cannot VERB 'STATE:/PATH': REASON". */
int control_fail_path(struct control *c, const char *verb,
                      const struct control_path *path, int err);
/*
 * Find the file in a tree.  Lock held.  On failure the error message begins
 * with "cannot VERB".
 */
int control_path_find(struct control *c, const char *verb,
                      const struct control_path *path, struct tree *tree,
                      uint64_t *ret_ino, struct inode *ret_inode);

/* A held state, and its name in rows. */
struct control_hold {
	struct state_hold hold;
	uint64_t number;
	bool readonly;
	char name[NAME_LEN_MAX * 2 + 2]; /* full */
};
/*
 * Find the state, by any form of a name, and hold it as it is now.  Lock NOT
 * held.  On failure the error message begins with "cannot VERB".
 */
int control_hold(struct control *c, const char *verb, const char *name,
                 struct control_hold *ret_hold);
/* Release the hold; all zero is allowed.  Lock NOT held. */
void control_release(struct control *c, struct control_hold *hold);

#endif
