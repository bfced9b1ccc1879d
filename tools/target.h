/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which store and which states the arguments of a verb mean.
 *
 * A state is told by its name or by a path inside a mount, and such a path
 * tells the store, too.  Paths are arguments that begin with '/' or '.' (no
 * fork's name does); also, when neither -s nor COPPICE_STORE says which store,
 * the relative path of a state's own directory.
 *
 * If nothing tells the store, it is the only one that is mounted; not for verbs
 * that delete or rename, which must not depend on what else is mounted.
 *
 * The functions complain themselves and return an exit code.
 */
#ifndef COPPICE_TARGET_H
#define COPPICE_TARGET_H

#include <stdbool.h>
#include <stdint.h>

struct target {
	char *store;  /* NULL: not known yet */
	bool by_path; /* a path told which */
	bool careful; /* the store must be told: to be set after target_init()
	               */
};

/* `store`: the verb's own -s, or NULL. */
int target_init(struct target *target, const char *store);
void target_release(struct target *target);

/*
 * The name of the state that `arg` means.  For verbs that change the state
 * itself `own` is true: then a path must be the state's own directory, so that
 * a path to something in it is not taken for the whole.
 */
int target_state(struct target *target, const char *arg, bool own,
                 char **ret_name);
/* `arg` as the name of a fork to be made, or its path in a mount's root. */
int target_new_fork(struct target *target, const char *arg, char **ret_name);
/*
 * `arg` as what it lists: a fork's name or path, or NULL for the whole store,
 * when it is the path of a mount's root.
 */
int target_list(struct target *target, const char *arg, char **ret_name);
/*
 * The state that the current directory is in, if it is in one of the store's;
 * else *ret_name is NULL.
 */
int target_here(struct target *target, char **ret_name);
/* All arguments were looked at: the store must be known by now. */
int target_store(struct target *target);

/* The canonical path of a directory that should be a store. */
int target_canonical(const char *store, char **ret_path);

#endif
