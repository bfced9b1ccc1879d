/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inodes for directories of a tree; dirent_item.h has the entries.
 */
#ifndef COPPICE_DIR_H
#define COPPICE_DIR_H

#include "inode.h"

/*
 * Remove the items of an inode whose creation failed, before it was counted in
 * its state.
 */
void vnode_discard(struct vnode *child);
/*
 * Make the inode of a whiteout, with the number `ino`, for the entry `name` of
 * the directory.  The caller has called vnode_begin(), and adds the entry.
 */
int whiteout_make(struct vnode *dir, const char *name,
                  const struct fs_cred *cred, uint64_t ino, struct vnode *ret);

#endif
