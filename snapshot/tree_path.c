/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree_path.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "inode_path.h"
#include "snapshot.h"
#include "util.h"

_Static_assert((int)TREE_PATH_SIZE == (int)INODE_PATH_SIZE, "one buffer");

int tree_inode(struct tree *tree, uint64_t ino, struct inode *ret_inode)
{
	const struct key key = {ino, ITEM_INODE, 0};
	struct item item;
	int r = tree_get(tree, &key, &item);

	return r ? r : inode_decode(item.value, item.len, ret_inode);
}

int tree_entry(struct tree *tree, uint64_t dir, const char *name,
               size_t name_len, uint64_t *ret_ino, uint8_t *ret_type)
{
	struct dirent_item d;
	struct item item;
	int r = slot_find(tree, dir, ITEM_DIRENT, 0, name, name_len, &item);

	if (!r)
		r = dirent_decode(item.value, item.len, &d);
	if (r < 0)
		return r;
	*ret_ino = d.ino;
	if (ret_type)
		*ret_type = d.type;
	return 0;
}

/* Return the directory that a directory is in; that of the root is itself. */
static int parent_find(struct tree *tree, uint64_t ino, uint64_t *ret_parent)
{
	const struct key key = {ino, ITEM_BACKREF, 0};
	struct backref_item b;
	struct item item;
	int r;

	if (ino == INO_ROOT) {
		*ret_parent = ino;
		return 0;
	}
	r = tree_seek(tree, &key, &item);
	if (!r && (item.key.ino != ino || item.key.kind != ITEM_BACKREF))
		r = -ENOENT;
	if (!r)
		r = backref_decode(item.value, item.len, &b);
	if (!r)
		*ret_parent = b.parent;
	return r;
}

/* Take one step of a path. */
static int step(struct tree *tree, uint64_t dir, const char *name, size_t len,
                uint64_t *ret_ino)
{
	if (len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if (len == 1 && *name == '.') {
		*ret_ino = dir;
		return 0;
	}
	if (len == 2 && !memcmp(name, "..", 2))
		return parent_find(tree, dir, ret_ino);
	return tree_entry(tree, dir, name, len, ret_ino, NULL);
}

int tree_path_find(struct tree *tree, const char *path, uint64_t *ret_ino,
                   struct inode *ret_inode)
{
	uint64_t ino = INO_ROOT;
	struct inode inode;
	int r = tree_inode(tree, ino, &inode);

	while (!r) {
		size_t slashes = strspn(path, "/"), len;

		path += slashes;
		len = strcspn(path, "/");
		if ((slashes || len) && !S_ISDIR(inode.mode))
			return -ENOTDIR;
		if (!len)
			break;
		r = step(tree, ino, path, len, &ino);
		if (r < 0)
			return r;
		r = tree_inode(tree, ino, &inode);
		if (r == -ENOENT)
			r = -EUCLEAN;
		path += len;
	}
	if (r < 0)
		return r == -ENOENT ? -EUCLEAN : r;
	*ret_ino = ino;
	*ret_inode = inode;
	return 0;
}

static int seek(void *arg, const struct key *key, struct item *ret_item)
{
	return tree_seek(arg, key, ret_item);
}

int tree_path_of(struct tree *tree, uint64_t ino, const char *name,
                 size_t name_len, char ret_path[TREE_PATH_SIZE])
{
	struct inode inode;
	const char *path =
	        inode_path(seek, tree, ino, name, name_len, ret_path);
	int r;

	if (path) {
		memmove(ret_path, path, strlen(path) + 1);
		return 0;
	}
	r = tree_inode(tree, ino, &inode);
	if (r < 0)
		return r;
	return inode.nlink ? -ENAMETOOLONG : -ENOENT;
}
