/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which store and which states the arguments of a verb mean.
 *
 * An argument names a state by its name or by a path inside a mount; such a
 * path selects the store, too.  Arguments that begin with '/' or '.' are paths
 * (no fork's name begins so).  Without -s and COPPICE_STORE, the relative path
 * of a state's own directory is a path as well.
 *
 * If nothing selects the store, it is the only one that is mounted; not for
 * verbs that delete or rename, which must not depend on other mounts.
 *
 * The functions complain themselves and return an exit code.
 */
#ifndef COPPICE_TARGET_H
#define COPPICE_TARGET_H

#include <stdbool.h>
#include <stdint.h>

struct target {
	char *store;  /* NULL: not known yet */
	bool by_path; /* a path selected it */
	bool careful; /* no store by default; set after target_init() */
};

/* `store`: the verb's own -s, or NULL. */
int target_init(struct target *target, const char *store);
void target_release(struct target *target);

/*
 * Return the name of the state that `arg` means.  With `own`, for verbs that
 * change the state itself, a path must be the state's own directory: a path to
 * a file in the state does not name the state.
 */
int target_state(struct target *target, const char *arg, bool own,
                 char **ret_name);
/* Return the name of a fork to be made; `arg` is it or its path in a mount. */
int target_new_fork(struct target *target, const char *arg, char **ret_name);
/* Select the store in whose mount the path is. */
int target_select(struct target *target, const char *path);
/*
 * Return the name of the fork that `arg` means; NULL if `arg` is the path of a
 * mount's root, which stands for the whole store.
 */
int target_list(struct target *target, const char *arg, char **ret_name);
/*
 * Return the state and the path in it that `arg` means, both to be freed:
 * STATE:/PATH (the first ":/" splits it; nothing is looked up), STATE alone
 * (its path is "/"), or a path inside a mount.  Of the latter a final symlink
 * is not followed, and it need not be there (any more): what is missing is
 * taken as it is written, below the part that is there.  An argument that
 * begins with '/' or
 * '.', or has a '/' before the first ":/", is a path inside a mount.
 */
int target_path(struct target *target, const char *arg, char **ret_name,
                char **ret_path);
/*
 * Return the state that the current directory is in, or NULL if it is not in
 * one of this store.  If nothing has selected the store, the directory does.
 */
int target_here(struct target *target, char **ret_name);
/* Determine the store after all arguments were resolved. */
int target_store(struct target *target);

/* Return the canonical path of a store, to be freed. */
int target_canonical(const char *store, char **ret_path);

#endif
