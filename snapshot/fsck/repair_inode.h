/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making the inodes of a new tree consistent.  Private to snapshot/. */
#ifndef COPPICE_SNAPSHOT_REPAIR_INODE_H
#define COPPICE_SNAPSHOT_REPAIR_INODE_H

#include "repair.h"

/* A copy of an item that stays valid while the tree is changed. */
struct copy {
	struct item item;
	uint8_t value[TREE_VALUE_MAX];
};

/* The counts of one inode: names, entries, extents. */
struct tally {
	uint64_t names, entries, subdirs, xattrs, blocks;
	uint64_t end; /* of its data, in bytes */
};

/* Make the new tree consistent.  -EUCLEAN: too many rounds were needed. */
int repair_fix(struct repair *repair);

/* Return the new tree of the version being built. */
struct tree *fix_tree(struct repair *repair);
/* Add the inode to those that are to be checked (again). */
int fix_suspect(struct repair *repair, uint64_t ino);
/* Return the first item of the inode at or after *key; *key moves after it. */
int fix_item_next(struct repair *repair, struct key *key, struct copy *ret);
int fix_inode_get(struct repair *repair, uint64_t ino, struct inode *ret_inode);
int fix_inode_put(struct repair *repair, uint64_t ino,
                  const struct inode *inode);
/* Return an inode with this mode alone; it is not added to the tree. */
struct inode fix_inode_new(struct repair *repair, uint32_t mode);
/*
 * Return the inode; if only contents of it are left, recreate it from those and
 * the hint (DT_*).  -ENOENT: nothing is left.
 */
int fix_inode_rebuild(struct repair *repair, uint64_t ino, uint8_t hint,
                      struct inode *ret_inode);
/* Find the entry that names the inode.  -EEXIST: it names another one. */
int fix_entry_find(struct repair *repair, uint64_t dir, const char *name,
                   size_t len, uint64_t ino, struct key *ret_key);

#endif
