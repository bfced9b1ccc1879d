/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making the names of inodes consistent.  Private to snapshot/. */
#ifndef COPPICE_SNAPSHOT_REPAIR_NAME_H
#define COPPICE_SNAPSHOT_REPAIR_NAME_H

#include "repair_inode.h"

/* Return true if the item is in a slot that the name hashes to. */
bool fix_is_right_place(struct repair *repair, const struct item *item,
                        uint64_t parent, const char *name, size_t len);
/*
 * Count one side of a name, an entry or a back reference.  If the other side
 * does not match, restore that or remove this one.
 */
int fix_backref(struct repair *repair, const struct copy *copy,
                const struct inode *inode, struct tally *tally);
int fix_dirent(struct repair *repair, const struct copy *copy,
               struct tally *tally);
/* Add a name in lost+found to an inode that has none. */
int fix_adopt(struct repair *repair, uint64_t ino, const struct inode *inode);

#endif
