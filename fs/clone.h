/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clones: copies of a file or a directory with everything below it, inside a
 * state or across states, that share their chunks with the source.  A part of
 * fs.h: include that.
 */
#ifndef COPPICE_CLONE_H
#define COPPICE_CLONE_H

#include <stdint.h>

struct fs;

struct fs_cloned {
	uint64_t node;    /* the copy */
	uint64_t entries; /* names that were copied, the first one included */
};

/*
 * Copy the inode `from`, and everything below it if it is a directory, to the
 * new name `name` in the directory `parent`, whose state may be another one.
 * The source is read as of the call.  The copies have new inode numbers, and
 * new ctimes and btimes; they keep modes, owners, atimes, mtimes, xattrs, ACLs
 * and the hard links among them.  The name appears when everything is copied.
 * After a failure or a crash, orphan cleanup removes the partial copy.
 *
 * -EEXIST: the name exists; -EINVAL, -ENAMETOOLONG: it is not valid; -EROFS:
 * `parent` is in a snapshot; -ENOTDIR; -ESTALE: a state was deleted meanwhile;
 * -EPERM: a node is not in a tree; -EINTR: see store_yield(); -EDQUOT, -ENOSPC,
 * -ENOMEM.  Lock NOT held.
 */
int fs_clone(struct fs *fs, uint64_t from, uint64_t parent, const char *name,
             struct fs_cloned *ret_cloned);

#endif
