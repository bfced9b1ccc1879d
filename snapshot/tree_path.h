/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths within a tree: from a path to the inode, and back.  A part of
 * snapshot.h: include that.  Lock held throughout.
 */
#ifndef COPPICE_SNAPSHOT_TREE_PATH_H
#define COPPICE_SNAPSHOT_TREE_PATH_H

#include "item.h"

enum { TREE_PATH_SIZE = 4096 }; /* bytes of a path with its NUL */

/* Read an inode.  -ENOENT: it is not in the tree. */
int tree_inode(struct tree *tree, uint64_t ino, struct inode *ret_inode);
/* Find an entry of a directory.  -ENOENT.  *ret_type (may be NULL): DT_*. */
int tree_entry(struct tree *tree, uint64_t dir, const char *name,
               size_t name_len, uint64_t *ret_ino, uint8_t *ret_type);
/*
 * Find the inode of a path, which begins at the root directory with or without
 * a slash.  No symlink is followed, neither in the middle nor at the end: a
 * path never leads out of the tree, nor to another file when a link is changed.
 * ".." is the parent.  -ENOENT; -ENOTDIR: a part before a slash is not a
 * directory; -ENAMETOOLONG; -EUCLEAN.
 */
int tree_path_find(struct tree *tree, const char *path, uint64_t *ret_ino,
                   struct inode *ret_inode);
/*
 * Write the path of an inode, or of the entry `name` (may be NULL) of that
 * directory, beginning with a slash.  A file with several names has the path of
 * one of them.  -ENOENT: it has no name; -ENAMETOOLONG; -EUCLEAN.
 */
int tree_path_of(struct tree *tree, uint64_t ino, const char *name,
                 size_t name_len, char ret_path[TREE_PATH_SIZE]);

#endif
