/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding the store and the states of a verb's arguments.
 *
 * An argument is the name of a state or a path inside a mount, which selects
 * the store, too.  Arguments that begin with '/' or '.' are paths (no fork's
 * name begins so).  Without -s and COPPICE_STORE, so are other relative paths
 * inside a mount.
 *
 * If no option, variable or path selects the store, that of the working
 * directory is used, or else the only mounted one; but not the latter for verbs
 * that delete or rename, which must not depend on other mounts.
 *
 * The functions complain about errors and return an exit code.  The caller
 * frees the names and paths that they return.
 */
#ifndef COPPICE_TARGET_H
#define COPPICE_TARGET_H

#include <stdbool.h>
#include <stdint.h>

struct target {
	char *store;  /* canonical path; NULL: not known yet */
	bool by_path; /* a path selected the store */
	bool careful; /* ignore the only mount; set after target_init() */
};

/* Select the store by the verb's -s (`store`, or NULL) or by the defaults. */
int target_init(struct target *target, const char *store);
void target_release(struct target *target);

/*
 * Return the name of a state.  With `own`, for verbs that change the state
 * itself, a path must be the state's own directory; else it may lead to any
 * file in the state.
 */
int target_state(struct target *target, const char *arg, bool own,
                 char **ret_name);
/* Return the name of a new fork; `arg` is the name or its path in a mount. */
int target_new_fork(struct target *target, const char *arg, char **ret_name);
/* Select the store of the mount that contains the path. */
int target_select(struct target *target, const char *path);
/*
 * Return the name of a fork; NULL if `arg` is the path of a mount's root, which
 * stands for the whole store.
 */
int target_list(struct target *target, const char *arg, char **ret_name);
/*
 * Return a state and a path in it.  `arg` is STATE:/PATH (split at the first
 * ":/", without any look-up), STATE (the path is "/"), or a path inside a
 * mount.  In the latter, a final symlink is not followed, and components at the
 * end may be missing: they are used as they are.  An argument that begins with
 * '/' or '.', or has a '/' before the first ":/", is a path inside a mount.
 */
int target_path(struct target *target, const char *arg, char **ret_name,
                char **ret_path);
/*
 * Return the state that the current directory is in; NULL: it is not in a state
 * of this store.  If the store is not selected yet, the directory selects it.
 */
int target_here(struct target *target, char **ret_name);
/* Determine the store, after all arguments were resolved. */
int target_store(struct target *target);

/* Return the canonical path of a store. */
int target_canonical(const char *store, char **ret_path);

#endif
