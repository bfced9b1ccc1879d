/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Invalidation of the differences after a fork got another tree. */
#ifndef COPPICE_TREE_CHANGES_H
#define COPPICE_TREE_CHANGES_H

#include "session.h"

/*
 * Invalidate what the sessions have cached of the names, attributes and
 * contents in which two trees of the state differ.  Return when that is done.
 * The second tree is the state's present one; later changes to it are announced
 * by their requests.  No lock held.  -ENOMEM, -EUCLEAN: the trees could not be
 * compared entirely.
 */
int mounts_tree_changed(struct mounts *mounts, uint64_t state,
                        struct tree *before, struct tree *after);

#endif
