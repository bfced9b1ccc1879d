/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirent_item.h"

#include <dirent.h>
#include <errno.h>

int dir_load_rw(struct fs *fs, node_t node, struct vnode *ret)
{
	struct state *state;
	struct vnode dir;
	int err = vnode_load_rw(fs, node, &dir);

	if (err == -ESTALE && !state_get(fs->forest, NODE_STATE(node), &state))
		return -ENOENT;
	if (err)
		return err;
	if (!S_ISDIR(dir.inode.mode))
		return -ENOTDIR;
	if (!dir.inode.nlink)
		return -ENOENT;
	*ret = dir;
	return 0;
}

int dir_check_name(const struct vnode *dir, const char *name)
{
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	if (strlen(name) > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if (dir->ino == INO_ROOT && !strcmp(name, SNAPDIR_NAME))
		return -EEXIST;
	return 0;
}

int dir_find(struct vnode *dir, const char *name, uint64_t *ret_slot,
             struct vnode *ret_child)
{
	struct vnode child = *dir;
	struct dirent_item d;
	struct item item;
	uint64_t slot;
	int err = slot_find(dir->tree, dir->ino, ITEM_DIRENT, 0, name,
	                    strlen(name), &item);

	if (!err)
		err = dirent_decode(item.value, item.len, &d);
	if (err)
		return err;
	slot = item.key.off;
	child.ino = d.ino;
	err = inode_load(child.tree, child.ino, &child.inode);
	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	*ret_slot = slot;
	*ret_child = child;
	return 0;
}

int dirent_put(struct vnode *dir, uint64_t slot, const char *name,
               const struct vnode *child)
{
	struct key key = {.ino = dir->ino, .kind = ITEM_DIRENT, .off = slot};
	struct dirent_item d = {
	        .ino = child->ino,
	        .type = IFTODT(child->inode.mode),
	        .name_len = (uint8_t)strlen(name),
	        .name = name,
	};
	uint8_t value[TREE_VALUE_MAX];

	return tree_put(dir->tree, &key, value, dirent_encode(&d, value));
}

int backref_put(struct vnode *child, uint64_t parent, const char *name)
{
	struct key key = {.ino = child->ino, .kind = ITEM_BACKREF};
	struct backref_item b = {
	        .parent = parent,
	        .name_len = (uint8_t)strlen(name),
	        .name = name,
	};
	uint8_t value[TREE_VALUE_MAX];
	int err = slot_free(child->tree, child->ino, ITEM_BACKREF, parent, name,
	                    strlen(name), &key.off);

	/* -EEXIST: a change that failed half way left the item: use it. */
	if (err)
		return err == -EEXIST ? 0 : err;
	return tree_put(child->tree, &key, value, backref_encode(&b, value));
}

int backref_del(struct vnode *child, uint64_t parent, const char *name)
{
	struct item item;
	struct key key;
	int err = slot_find(child->tree, child->ino, ITEM_BACKREF, parent, name,
	                    strlen(name), &item);

	if (err)
		return err == -ENOENT ? 0 : err;
	key = item.key;
	return tree_del(child->tree, &key);
}

int dir_parent(struct tree *tree, uint64_t ino, uint64_t *ret_parent)
{
	struct key key = {.ino = ino, .kind = ITEM_BACKREF};
	struct backref_item b;
	struct item item;
	int err = tree_seek(tree, &key, &item);

	if (err)
		return err;
	if (item.key.ino != ino || item.key.kind != ITEM_BACKREF)
		return -ENOENT;
	err = backref_decode(item.value, item.len, &b);
	if (!err)
		*ret_parent = b.parent;
	return err;
}

bool dir_entry_is_symlink(struct fs *fs, node_t parent, const char *name)
{
	struct vnode dir, child;
	uint64_t slot;

	return !vnode_load(fs, parent, &dir) && S_ISDIR(dir.inode.mode) &&
	       !dir_find(&dir, name, &slot, &child) &&
	       S_ISLNK(child.inode.mode);
}
