/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of open nodes: how often each is open, so that an inode that loses
 * its last name is kept until the last release.
 */
#ifndef COPPICE_OPEN_TABLE_H
#define COPPICE_OPEN_TABLE_H

#include "inode.h"

/* A node that is open, in a hash table.  Guarded by the store's lock. */
struct open_node {
	struct open_node *next;
	node_t node;
	uint64_t count;
	bool orphan; /* has no name: the last release deletes the inode */
};

struct open_node *open_find(struct fs *fs, node_t node); /* NULL: not open */
/* Add an open of the node.  -ENOMEM */
int open_add(struct fs *fs, node_t node, bool orphan);
/*
 * Remove an open of the node.  Return true if it was the last one of an orphan:
 * the caller deletes the inode.
 */
bool open_drop(struct fs *fs, node_t node);
/* Return true if a node of the state is open. */
bool open_any(struct fs *fs, uint64_t state);
/*
 * Add an open for each user that the function of fs_set_keeper() counts, and
 * return the node's entry.  NULL: the node is not in use.
 */
struct open_node *open_keep(struct fs *fs, node_t node, bool regular);
/* Free the table. */
void opens_release(struct fs *fs);

#endif
