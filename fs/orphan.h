/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Orphans: inodes without a name, and cut-off tails of files, that still take
 * space.
 */
#ifndef COPPICE_ORPHAN_H
#define COPPICE_ORPHAN_H

#include "inode.h"

/* Add the ORPHAN item of the inode. */
int orphan_add(struct vnode *v);
/* Remove the ORPHAN item, if there is one. */
int orphan_del(struct vnode *v);
int orphan_del_at(struct fs *fs, struct state *state, struct tree *tree,
                  uint64_t ino);
/* Find the first orphan of a tree from inode number `from` on. */
bool orphan_first(struct tree *tree, uint64_t from, uint64_t *ret_ino);
/*
 * Remove a link, whose entry and back reference are gone, from an inode of a
 * side head.  What has no name left becomes an orphan, also a directory with
 * all that is in it: it may be open in the fork.
 */
int vnode_lose_name(struct vnode *v, struct timestamp now);
/*
 * Add the state to TABLE_ORPHAN, or remove it.  0, of a side head that is
 * prepared, is ignored: the fork gets its record by fs_adopt().
 */
int orphan_record(struct fs *fs, uint64_t state, bool there);
/*
 * Delete an inode that lost its last name (nlink is 0), or keep and store it
 * while it is open.  -EAGAIN: call orphan_finish() to free the rest.
 */
int vnode_unlinked(struct vnode *v);
/*
 * Free what is left of an orphan that is not open, or of a file's cut-off
 * tail, piece by piece.  Lock NOT held.
 */
int orphan_finish(struct fs *fs, node_t node);

#endif
