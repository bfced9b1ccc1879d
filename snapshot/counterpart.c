/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "counterpart.h"

#include <errno.h>
#include <sys/stat.h>

#include "snapshot.h"

enum { DEPTH_MAX = 512 }; /* nested directories that only one tree has */

int inode_named(struct tree *tree, uint64_t ino, struct inode *ret_inode)
{
	struct inode inode;
	int r = tree_inode(tree, ino, &inode);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!inode.nlink) /* unlinked, and still open */
		return 0;
	*ret_inode = inode;
	return 1;
}

/*
 * Look up a name in the other tree's directory `dir` (0: none).  *ret_ino is 0
 * unless the inode has the type of `mode` and is not in trees[from].
 */
static int entry_find(struct counterparts *c, int from, uint64_t dir,
                      const char *name, size_t len, uint32_t mode,
                      uint64_t *ret_ino, struct inode *ret_inode)
{
	struct tree *other = c->trees[!from];
	struct inode inode;
	uint64_t ino;
	int r;

	*ret_ino = 0;
	if (!dir)
		return 0;
	r = tree_entry(other, dir, name, len, &ino, NULL);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = inode_named(c->trees[from], ino, &inode);
	if (r)
		return r < 0 ? r : 0;
	r = inode_named(other, ino, ret_inode);
	if (r > 0 && (ret_inode->mode & S_IFMT) == (mode & S_IFMT))
		*ret_ino = ino;
	return r < 0 ? r : 0;
}

/* Find the parent and the name of a directory.  -ENOENT: it has none. */
static int dir_name(struct tree *tree, uint64_t ino, struct inode_name *ret)
{
	const struct key key = {ino, ITEM_BACKREF, 0};
	struct backref_item b;
	struct item item;
	int r = tree_seek(tree, &key, &item);

	if (!r && (item.key.ino != ino || item.key.kind != ITEM_BACKREF))
		r = -ENOENT;
	if (!r)
		r = backref_decode(item.value, item.len, &b);
	if (r < 0)
		return r;
	ret->parent = b.parent;
	ret->len = b.name_len;
	memcpy(ret->name, b.name, b.name_len);
	ret->name[b.name_len] = 0;
	return 0;
}

/* Find the directory of the other tree that stands for a directory. */
static int dir_find(struct counterparts *c, int from, uint64_t ino, int depth,
                    uint64_t *ret_ino)
{
	size_t slot = ino % COUNTERPARTS_CACHED;
	struct inode_name name;
	struct inode inode;
	uint64_t parent;
	int r;

	if (c->cache[from][slot].ino == ino) {
		*ret_ino = c->cache[from][slot].other;
		return 0;
	}
	r = inode_named(c->trees[!from], ino, &inode);
	*ret_ino = r > 0 ? ino : 0;
	if (!r && ino != INO_ROOT && depth < DEPTH_MAX) {
		r = dir_name(c->trees[from], ino, &name);
		if (!r)
			r = dir_find(c, from, name.parent, depth + 1, &parent);
		if (!r)
			r = entry_find(c, from, parent, name.name, name.len,
			               S_IFDIR, ret_ino, &inode);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	c->cache[from][slot].ino = ino;
	c->cache[from][slot].other = *ret_ino;
	return 0;
}

int counterpart_dir(struct counterparts *c, int from, uint64_t ino,
                    uint64_t *ret_ino)
{
	return dir_find(c, from, ino, 0, ret_ino);
}

int counterpart_find(struct counterparts *c, int from,
                     const struct inode_name *name, uint32_t mode,
                     uint64_t *ret_ino, struct inode *ret_inode)
{
	uint64_t dir;
	int r;

	*ret_ino = 0;
	if (!name->parent)
		return 0;
	r = dir_find(c, from, name->parent, 0, &dir);
	return r ? r
	         : entry_find(c, from, dir, name->name, name->len, mode,
	                      ret_ino, ret_inode);
}
