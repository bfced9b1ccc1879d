/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All names of an inode. */
#ifndef COPPICE_SNAPSHOT_INODE_NAMES_H
#define COPPICE_SNAPSHOT_INODE_NAMES_H

#include "item.h"

/* A name of an inode.  The root directory has one, with no parent. */
struct inode_name {
	uint64_t parent; /* 0: none */
	uint8_t len;
	char name[NAME_LEN_MAX + 1];
};

struct inode_names {
	struct inode_name *names; /* in the order of inode_name_compare() */
	size_t count, capacity;
};

/* Order by parent, then by the bytes of the name. */
int inode_name_compare(const struct inode_name *a, const struct inode_name *b);
/*
 * Add the names of an inode to *names, which is empty or all zero; to be
 * released even after an error.  Lock NOT held: it is released from time to
 * time, so the tree must be held.
 */
int inode_names_get(struct tree *tree, uint64_t ino, struct inode_names *names);
/* Remove all names, and keep the memory. */
void inode_names_clear(struct inode_names *names);
void inode_names_release(struct inode_names *names);
/*
 * Write the path of the name.  One that is too long is cut at its beginning, to
 * ".../NAME".  Lock held.  -ENOENT; -EUCLEAN.
 */
int inode_name_path(struct tree *tree, const struct inode_name *name,
                    char *ret_path);

#endif
