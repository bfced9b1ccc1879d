/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The .snap of directories below a fork's root.  Its entries are symlinks: one
 * for each snapshot that has the directory, under whatever path.
 *
 * The node number of such a .snap is NODE_VIRTUAL | the directory's; that of a
 * symlink is NODE_VIRTUAL | that of the directory in the snapshot.
 */
#ifndef COPPICE_PREVIOUS_H
#define COPPICE_PREVIOUS_H

#include "inode.h"

/*
 * Return the .snap of a directory of a tree.  -ENOENT: the directory is a root,
 * is in a snapshot, or was removed.
 */
int previous_entry(const struct vnode *dir, struct fs_entry *ret_entry);
int previous_lookup(struct fs *fs, node_t parent, const char *name,
                    struct fs_entry *ret_entry);
int previous_getattr(struct fs *fs, node_t node, struct stat *ret_st);
/* Write the target to a buffer of PATH_MAX bytes.  -ENAMETOOLONG */
int previous_readlink(struct fs *fs, node_t node, char *ret_target);
/*
 * Return the symlink to a snapshot in the .snap of the directory `ino` of its
 * fork.  -ENOENT: the snapshot does not have the directory.  With `plus` the
 * attributes are filled in, else only the number and the type.
 */
int previous_link(struct fs *fs, struct state *snapshot, uint64_t ino,
                  bool plus, struct fs_entry *ret_entry);

#endif
