/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories: looking up names, and making inodes and names for them.
 */
#include "dir.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>

#include "acl.h"
#include "dirent_item.h"
#include "extent.h"
#include "inode.h"
#include "open_table.h"
#include "orphan.h"
#include "previous.h"
#include "root_symlink.h"
#include "state_dir.h"
#include "want.h"

/* ---- Look-up ------------------------------------------------------------ */

/* Look up ".." of a directory in a tree. */
static int lookup_parent(struct fs *fs, struct vnode *dir,
                         struct fs_entry *ret_entry)
{
	const struct state *state = dir->state;
	struct fs_entry entry = {0};
	uint64_t parent;
	int err;

	if (dir->ino != INO_ROOT) {
		err = dir_parent(dir->tree, dir->ino, &parent);
		if (err)
			return err;
		entry.node = NODE(state->number, parent);
	} else {
		entry.node = state->fork ? NODE(state->fork, INO_SNAPDIR)
		                         : NODE_ROOT;
	}
	if (node_kind(entry.node) != NODE_KIND_INODE) {
		err = state_dir_getattr(fs, entry.node, &entry.st);
	} else {
		struct vnode v;

		err = vnode_load(fs, entry.node, &v);
		if (!err)
			entry.st = vnode_stat(&v);
	}
	if (!err) {
		entry_stamp(fs, &entry);
		*ret_entry = entry;
	}
	return err;
}

static int lookup_inode(struct fs *fs, node_t parent, const char *name,
                        enum fs_snapdir snapdir, struct fs_entry *ret_entry)
{
	struct vnode dir, child;
	uint64_t slot;
	int err = vnode_load(fs, parent, &dir);

	if (err)
		return err;
	if (!S_ISDIR(dir.inode.mode))
		return -ENOTDIR;
	if (name[0] == '.') {
		if (!strcmp(name, "."))
			return *ret_entry = vnode_entry(&dir), 0;
		if (!strcmp(name, ".."))
			return lookup_parent(fs, &dir, ret_entry);
	}
	if (dir.ino == INO_ROOT && !strcmp(name, SNAPDIR_NAME)) {
		struct fs_entry entry = {
		        .node = NODE(dir.state->number, INO_SNAPDIR),
		};

		if (snapdir == SNAPDIR_DISABLED || dir.state->fork)
			return -ENOENT;
		entry_stamp(fs, &entry);
		err = state_dir_getattr(fs, entry.node, &entry.st);
		if (!err)
			*ret_entry = entry;
		return err;
	}
	err = dir_find(&dir, name, &slot, &child);
	if (!err)
		*ret_entry = vnode_entry(&child);
	else if (err == -ENOENT && snapdir_everywhere(snapdir) &&
	         !strcmp(name, SNAPDIR_NAME))
		err = previous_entry(&dir, ret_entry);
	return err;
}

int fs_lookup(struct fs *fs, node_t parent, const char *name,
              enum fs_snapdir snapdir, struct fs_entry *ret_entry)
{
	int err;

	if (!*name)
		return -ENOENT;
	if (strlen(name) > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	store_lock(fs->store);
	if (node_kind(parent) == NODE_KIND_INODE)
		err = lookup_inode(fs, parent, name, snapdir, ret_entry);
	else if ((node_kind(parent) == NODE_KIND_SNAPDIR &&
	          snapdir == SNAPDIR_DISABLED) ||
	         (node_kind(parent) == NODE_KIND_PREVIOUS &&
	          !snapdir_everywhere(snapdir)))
		err = -ENOENT;
	else
		err = state_dir_lookup(fs, parent, name, ret_entry);
	store_unlock(fs->store);
	return err;
}

/* ---- Making ------------------------------------------------------------- */

struct creation {
	struct fs *fs;
	node_t parent;
	const char *name; /* NULL: none */
	mode_t mode;
	dev_t rdev;
	const char *target;
	struct chunk *target_chunk; /* of a long target */
	const struct fs_cred *cred;
};

/* Return the new inode as POSIX requires, but without applying the umask. */
static struct inode create_inode(const struct creation *b,
                                 const struct vnode *dir)
{
	struct timestamp now = time_now();
	struct inode inode = {
	        .mode = S_ISLNK(b->mode) ? S_IFLNK | 0777
	                                 : b->mode & (S_IFMT | 07777),
	        .nlink = S_ISDIR(b->mode) ? 2
	                 : b->name        ? 1
	                                  : 0,
	        .uid = b->cred->uid,
	        .gid = b->cred->gid,
	        .atime = now,
	        .mtime = now,
	        .ctime = now,
	        .btime = now,
	};

	if (S_ISCHR(b->mode) || S_ISBLK(b->mode))
		inode.rdev = b->rdev;
	if (b->target)
		inode.size = strlen(b->target);
	if (dir->inode.mode & S_ISGID) {
		inode.gid = dir->inode.gid;
		if (S_ISDIR(b->mode))
			inode.mode |= S_ISGID;
	}
	return inode;
}

static int create_target(const struct creation *b, struct vnode *child)
{
	const struct ext hole = {0};
	struct ext e = {.kind = EXTENT_INLINE};

	if (!b->target)
		return 0;
	if (b->target_chunk)
		return ext_add_chunk(child, 0, &hole, b->target_chunk);
	e.len = (uint32_t)strlen(b->target);
	return ext_replace(child, 0, &hole, &e, (const uint8_t *)b->target);
}

void vnode_discard(struct vnode *child)
{
	struct key key = {.ino = child->ino};
	struct item item;

	while (!tree_seek(child->tree, &key, &item) &&
	       item.key.ino == child->ino) {
		uint64_t chunk = item_chunk(&item);
		struct key found = item.key;

		if (tree_del(child->tree, &found))
			break;
		if (chunk)
			tree_drop(child->tree, chunk);
	}
	state_count(child->state, 0, -child->inode.blocks);
}

static int create_items(const struct creation *b, const struct inherited_acl *h,
                        struct vnode *dir, uint64_t slot, struct vnode *child)
{
	int err = create_target(b, child);

	if (!err)
		err = inherited_acl_give(child, h);
	if (!err)
		err = vnode_store(child);
	if (!err && !b->name)
		return orphan_add(child);
	if (!err)
		err = backref_put(child, dir->ino, b->name);
	if (!err)
		err = dirent_put(dir, slot, b->name, child);
	return err;
}

static int create_locked(const struct creation *b, struct want *want,
                         struct fs_entry *ret_entry)
{
	_cleanup_(inherited_acl_release) struct inherited_acl h = {0};
	struct vnode dir, child;
	uint64_t slot = 0;
	int err = dir_load_rw(b->fs, b->parent, &dir);

	if (!err && b->name)
		err = dir_check_name(&dir, b->name);
	if (!err && b->name)
		err = slot_free(dir.tree, dir.ino, ITEM_DIRENT, 0, b->name,
		                strlen(b->name), &slot);
	if (err)
		return err;
	err = quota_check(dir.state, 1, 0);
	if (err)
		return err;
	child = dir;
	child.inode = create_inode(b, &dir);
	err = inherited_acl_take(&dir, &child.inode, b->cred->umask, want, &h);
	if (!err)
		err = ino_new(b->fs->store, INO_END, &child.ino);
	if (!err)
		err = vnode_begin(&dir);
	if (err)
		return err;
	child.tree = dir.tree;
	/* Allocate memory before anything is changed. */
	if (!b->name)
		err = open_add(b->fs, vnode_node(&child), true);
	if (!err)
		err = create_items(b, &h, &dir, slot, &child);
	if (err) {
		vnode_discard(&child);
		return err;
	}
	state_count(dir.state, 1, 0);
	*ret_entry = vnode_entry(&child);
	if (!b->name)
		return 0;
	dir.inode.size++;
	dir.inode.nlink += S_ISDIR(child.inode.mode);
	vnode_touch(&dir);
	return vnode_store(&dir);
}

static int create_run(const struct creation *b, struct fs_entry *ret_entry)
{
	_cleanup_want_ struct want want = {0};
	struct fs *fs = b->fs;
	int err = store_throttle(fs->store, true);

	if (err)
		return err;
	do {
		store_lock(fs->store);
		err = create_locked(b, &want, ret_entry);
		store_unlock(fs->store);
	} while (err == -EAGAIN && !(err = want_fetch(fs, &want)));
	return err;
}

/* Check the target of a symlink, and put a long one in a chunk. */
static int target_chunk(struct fs *fs, const char *target,
                        struct chunk **ret_chunk)
{
	size_t len = strlen(target);
	struct chunk *chunk;

	if (!len)
		return -ENOENT;
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	if (len <= EXTENT_INLINE_MAX)
		return 0;
	chunk = chunk_alloc(fs->store, len);
	if (!chunk)
		return -ENOMEM;
	if (chunk_resize(chunk, (uint32_t)len)) {
		chunk_unref(chunk);
		return -ENOMEM;
	}
	memcpy(chunk_data(chunk), target, len);
	*ret_chunk = chunk;
	return 0;
}

int fs_make(struct fs *fs, node_t parent, const char *name, mode_t mode,
            dev_t rdev, const char *target, const struct fs_cred *cred,
            struct fs_entry *ret_entry)
{
	_cleanup_chunk_ struct chunk *chunk = NULL;
	struct creation b = {fs, parent, name, mode, rdev, target, NULL, cred};
	int err;

	if (node_kind(parent) != NODE_KIND_INODE) {
		if (node_kind(parent) == NODE_KIND_PREVIOUS)
			return -EPERM;
		if (S_ISLNK(mode) && target)
			return root_symlink_make(fs, parent, name, target, cred,
			                         ret_entry);
		if (!S_ISDIR(mode))
			return -EPERM;
		return state_dir_mkdir(fs, parent, name, mode, cred, ret_entry);
	}
	if (S_ISLNK(mode) != !!target)
		return -EINVAL;
	if (target) {
		err = target_chunk(fs, target, &chunk);
		if (err)
			return err;
		b.target_chunk = chunk;
	}
	return create_run(&b, ret_entry);
}

int fs_tmpfile(struct fs *fs, node_t parent, mode_t mode,
               const struct fs_cred *cred, struct fs_entry *ret_entry)
{
	struct creation b = {.fs = fs, .parent = parent, .cred = cred};

	b.mode = S_IFREG | (mode & 07777);
	return create_run(&b, ret_entry);
}

int whiteout_make(struct vnode *dir, const char *name,
                  const struct fs_cred *cred, uint64_t ino, struct vnode *ret)
{
	struct creation b = {dir->fs, .name = name, .mode = S_IFCHR,
	                     .cred = cred};
	struct vnode v = *dir;
	int err;

	v.inode = create_inode(&b, dir);
	v.ino = ino;
	err = quota_check(dir->state, 1, 0);
	if (!err)
		err = vnode_store(&v);
	if (!err)
		err = backref_put(&v, dir->ino, name);
	if (err) {
		vnode_discard(&v);
		return err;
	}
	state_count(dir->state, 1, 0);
	*ret = v;
	return 0;
}

/* ---- A further name ----------------------------------------------------- */

static int link_locked(struct fs *fs, node_t node, node_t parent,
                       const char *name, struct fs_entry *ret_entry)
{
	struct open_node *o;
	struct vnode dir, child;
	uint64_t slot;
	int err;

	if (node_kind(parent) != NODE_KIND_INODE ||
	    node_kind(node) != NODE_KIND_INODE)
		return -EPERM;
	if (NODE_STATE(node) != NODE_STATE(parent))
		return -EXDEV;
	err = dir_load_rw(fs, parent, &dir);
	if (!err)
		err = vnode_load_rw(fs, node, &child);
	if (!err)
		err = dir_check_name(&dir, name);
	if (err)
		return err;
	if (S_ISDIR(child.inode.mode))
		return -EPERM;
	if (child.inode.nlink >= LINKS_MAX)
		return -EMLINK;
	o = open_find(fs, node);
	if (!child.inode.nlink && !o)
		return -ENOENT;
	err = slot_free(dir.tree, dir.ino, ITEM_DIRENT, 0, name, strlen(name),
	                &slot);
	if (!err)
		err = vnode_begin(&dir);
	if (err)
		return err;
	child.tree = dir.tree;
	if (!child.inode.nlink++) {
		err = orphan_del(&child);
		if (!err)
			o->orphan = false;
	}
	child.inode.ctime = time_now();
	if (!err)
		err = backref_put(&child, dir.ino, name);
	if (!err)
		err = vnode_store(&child);
	if (!err)
		err = dirent_put(&dir, slot, name, &child);
	if (err)
		return err;
	dir.inode.size++;
	vnode_touch(&dir);
	*ret_entry = vnode_entry(&child);
	return vnode_store(&dir);
}

int fs_link(struct fs *fs, node_t node, node_t parent, const char *name,
            struct fs_entry *ret_entry)
{
	int err = store_throttle(fs->store, true);

	if (err)
		return err;
	store_lock(fs->store);
	err = link_locked(fs, node, parent, name, ret_entry);
	store_unlock(fs->store);
	return err;
}

/* ---- The names of an inode ---------------------------------------------- */

size_t fs_names(struct fs *fs, node_t node, struct fs_name *names, size_t max)
{
	struct key key = {.ino = NODE_INO(node), .kind = ITEM_BACKREF};
	struct state *state;
	struct cursor cursor;
	struct item item;
	size_t count = 0;
	int err;

	store_lock(fs->store);
	err = state_get(fs->forest, NODE_STATE(node), &state);
	if (!err)
		err = cursor_seek(&cursor, state_tree(state), &key, &item);
	while (!err && count < max && item.key.ino == key.ino &&
	       item.key.kind == ITEM_BACKREF) {
		struct backref_item b;

		if (!backref_decode(item.value, item.len, &b)) {
			names[count].parent = NODE(state->number, b.parent);
			memcpy(names[count].name, b.name, b.name_len);
			names[count++].name[b.name_len] = 0;
		}
		err = cursor_next(&cursor, &item);
	}
	store_unlock(fs->store);
	return count;
}
