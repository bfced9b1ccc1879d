/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The items of directory entries, and of the back references that match them.
 */
#ifndef COPPICE_DIRENT_ITEM_H
#define COPPICE_DIRENT_ITEM_H

#include "inode.h"

/*
 * Load a directory whose entries are about to change.  -ENOTDIR; -EROFS;
 * -ENOENT: it has been removed; -ESTALE: its state is gone; -EPERM: it is not
 * in a tree.
 */
int dir_load_rw(struct fs *fs, node_t node, struct vnode *ret);
/*
 * Check a name that is to be added or removed.  -EINVAL, -ENAMETOOLONG;
 * -EEXIST: it is the name of the root's .snap directory.
 */
int dir_check_name(const struct vnode *dir, const char *name);
/* Find an entry, and load the inode that it names.  -ENOENT */
int dir_find(struct vnode *dir, const char *name, uint64_t *ret_slot,
             struct vnode *ret_child);
/* Put the entry into its slot, replacing the one that is there. */
int dirent_put(struct vnode *dir, uint64_t slot, const char *name,
               const struct vnode *child);
/* Add or remove the back reference.  No error if it exists, or is missing. */
int backref_put(struct vnode *child, uint64_t parent, const char *name);
int backref_del(struct vnode *child, uint64_t parent, const char *name);
/* Return the parent of a directory other than the root.  -ENOENT: removed. */
int dir_parent(struct tree *tree, uint64_t ino, uint64_t *ret_parent);
/* Return true if the entry of a directory in a state is a symlink. */
bool dir_entry_is_symlink(struct fs *fs, node_t parent, const char *name);

#endif
