/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Orphans: inodes without a name, and cut-off tails of files, that still occupy
 * space.
 */
#ifndef COPPICE_ORPHAN_H
#define COPPICE_ORPHAN_H

#include "inode.h"

/* Add the ORPHAN item of the inode. */
int orphan_add(struct vnode *v);
/*
 * Remove the ORPHAN item, if there is one, and the record of the state with the
 * last item.
 */
int orphan_del(struct vnode *v);
int orphan_del_at(struct fs *fs, struct state *state, struct tree *tree,
                  uint64_t ino);
/* Find the first orphan from inode number `from` on.  false: none found. */
bool orphan_first(struct tree *tree, uint64_t from, uint64_t *ret_ino);
/*
 * Remove a link, whose entry and back reference are gone, from an inode of a
 * side head.  After the last link the inode becomes an orphan, because it may
 * be open in the fork; so does a directory, with everything in it.
 */
int vnode_lose_name(struct vnode *v, struct timestamp now);
/*
 * Add the state to TABLE_ORPHAN, or remove it.  State 0, of a side head that is
 * prepared, is ignored: fs_adopt() adds the fork later.
 */
int orphan_record(struct fs *fs, uint64_t state, bool there);
/*
 * Delete an inode that has lost its last name (nlink is 0); if it is open, make
 * it an orphan.  -EAGAIN: call orphan_finish() to free the rest.
 */
int vnode_unlinked(struct vnode *v);
/*
 * Free an orphan that is not open, or a file's cut-off tail, piece by piece.
 * -EINTR: see store_yield(); orphan cleanup frees the rest.  Lock NOT held.
 */
int orphan_finish(struct fs *fs, node_t node);

#endif
