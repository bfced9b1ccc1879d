/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kinds of nodes, and the inodes of states' trees with their attributes.
 */
#ifndef COPPICE_INODE_H
#define COPPICE_INODE_H

#include "fs_struct.h"

enum node_kind {
	NODE_KIND_INODE,
	NODE_KIND_ROOT,    /* the root directory, whose entries are the forks */
	NODE_KIND_SNAPDIR, /* a fork's .snap */
	NODE_KIND_LINK,    /* a symlink to a snapshot, for a name with a '~' */
	NODE_KIND_SYMLINK, /* a symlink that a user made in the root */
	NODE_KIND_PREVIOUS, /* see previous.h */
};
enum node_kind node_kind(node_t node);
static inline bool node_is_link(node_t node)
{
	return node_kind(node) == NODE_KIND_LINK ||
	       node_kind(node) == NODE_KIND_SYMLINK;
}

/* Return the state that the node belongs to or links to; 0: none. */
uint64_t node_number(node_t node);
/* Fill in the entry's generation. */
void entry_stamp(struct fs *fs, struct fs_entry *entry);

/* An inode that was read from a state's tree; vnode_store() writes it back. */
struct vnode {
	struct fs *fs;
	struct state *state;
	struct tree *tree;
	uint64_t ino;
	struct inode inode;
};

/* Read the inode.  -ESTALE: no such state or inode; -EPERM: not in a tree. */
int vnode_load(struct fs *fs, node_t node, struct vnode *ret);
/* The same before a change.  Also -EROFS: it is in a snapshot. */
int vnode_load_rw(struct fs *fs, node_t node, struct vnode *ret);
/* Prepare the tree for changes; called once, before the first one. */
int vnode_begin(struct vnode *v);
/* Write the inode to the tree. */
int vnode_store(struct vnode *v);
node_t vnode_node(const struct vnode *v);
struct stat vnode_stat(const struct vnode *v);
struct fs_entry vnode_entry(const struct vnode *v);
/* Set mtime and ctime to now: the content or the entries changed. */
void vnode_touch(struct vnode *v);

struct timestamp time_now(void);
/* Convert nanoseconds since the epoch. */
struct timestamp timestamp_of(int64_t ns);
struct stat inode_stat(const struct fs *fs, node_t node,
                       const struct inode *inode);
/* Apply the changes of a setattr, except for the size; set ctime to now. */
void inode_set(struct inode *inode, unsigned set, const struct stat *to);
/* Read an inode from a tree, or write it.  -ENOENT: the tree lacks it. */
int inode_load(struct tree *tree, uint64_t ino, struct inode *ret);
int inode_store(struct tree *tree, uint64_t ino, const struct inode *inode);

#endif
