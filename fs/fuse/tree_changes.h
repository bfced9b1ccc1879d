/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Invalidation of what a fork's new tree has changed. */
#ifndef COPPICE_TREE_CHANGES_H
#define COPPICE_TREE_CHANGES_H

#include "session.h"

/*
 * Invalidate what the sessions have cached of the names, attributes and
 * contents in which two trees of the state differ.  Return when that is done.
 * The second tree is the state's present one, which may go on changing; what
 * changes it announces itself.  No lock held.  -ENOMEM, -EUCLEAN: not
 * everything could be compared.
 */
int mounts_tree_changed(struct mounts *mounts, uint64_t state,
                        struct tree *before, struct tree *after);

#endif
