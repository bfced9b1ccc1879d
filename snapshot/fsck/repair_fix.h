/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What putting inodes and their names in order has in common.  Inside snapshot/
 * only.
 */
#ifndef COPPICE_SNAPSHOT_REPAIR_FIX_H
#define COPPICE_SNAPSHOT_REPAIR_FIX_H

#include "repair.h"

/* An item, whatever becomes of its node. */
struct copy {
	struct item item;
	uint8_t value[TREE_VALUE_MAX];
};

/* What an inode has. */
struct tally {
	uint64_t names, entries, subdirs, xattrs, blocks;
	uint64_t end; /* of its bytes */
};

/* ---- repair_inode.c ----------------------------------------------------- */

struct tree *fix_tree(struct repair *repair);
/* The inode is to be looked at (again). */
int fix_suspect(struct repair *repair, uint64_t ino);
/* The next item of the inode at or after *key, which moves behind it. */
int fix_item_next(struct repair *repair, struct key *key, struct copy *ret);
int fix_inode_get(struct repair *repair, uint64_t ino, struct inode *ret_inode);
int fix_inode_put(struct repair *repair, uint64_t ino,
                  const struct inode *inode);
/* One that has nothing yet; not put anywhere. */
struct inode fix_inode_new(struct repair *repair, uint32_t mode);
/* The inode, made anew if there are contents of it.  -ENOENT: nothing is. */
int fix_inode_revive(struct repair *repair, uint64_t ino, uint8_t hint,
                     struct inode *ret_inode);
/* The entry, if it leads to the inode.  -EEXIST: it leads elsewhere. */
int fix_entry_find(struct repair *repair, uint64_t dir, const char *name,
                   size_t len, uint64_t ino, struct key *ret_key);

/* ---- repair_name.c ------------------------------------------------------ */

/* Is the item in a slot that the name hashes to? */
bool fix_is_right_place(struct repair *repair, const struct item *item,
                        uint64_t parent, const char *name, size_t len);
/* The two sides of a name: it is counted, or taken away. */
int fix_backref(struct repair *repair, const struct copy *copy,
                const struct inode *inode, struct tally *tally);
int fix_dirent(struct repair *repair, const struct copy *copy,
               struct tally *tally);
/* An inode that has no name gets one in lost+found. */
int fix_adopt(struct repair *repair, uint64_t ino, const struct inode *inode);

#endif
