/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking the items of one version's tree. */
#ifndef COPPICE_SNAPSHOT_CHECK_ITEM_H
#define COPPICE_SNAPSHOT_CHECK_ITEM_H

#include "check.h"

/*
 * Check the version's inodes as far as they differ from its parent's, and its
 * sums against the parent's.  A nonzero result ends the check.
 */
int check_items(struct check *check, struct check_version *v,
                const struct view_tree *tree, uint64_t parent_inodes,
                uint64_t parent_blocks);

#endif
