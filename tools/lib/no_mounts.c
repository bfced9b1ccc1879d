/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The functions of fs/fuse/ that requests call for the mounts of a daemon.  A
 * process that uses the library has no mounts, and needs no FUSE.
 */
#include "coherence.h"
#include "tree_changes.h"

void mounts_name_changed(struct mounts *mounts, uint64_t fork, const char *name,
                         bool fresh)
{
}

void mounts_states_gone(struct mounts *mounts)
{
}

int mounts_each(struct mounts *mounts,
                int (*fn)(void *arg, struct session *session), void *arg)
{
	return 0;
}

int mounts_tree_changed(struct mounts *mounts, uint64_t state,
                        struct tree *before, struct tree *after)
{
	return 0;
}

void changes_name(struct changes *changes, node_t parent, const char *name,
                  node_t node)
{
}

void coherence_announce_wait(struct changes *changes)
{
}
