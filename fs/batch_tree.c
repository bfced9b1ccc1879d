/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names and directories of a side head that a batch changes. */
#include "batch_tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include "acl.h"
#include "dir.h"
#include "dirent_item.h"
#include "extent.h"
#include "orphan.h"

enum { DIRS_FIRST = 64 };

/* ---- Pieces ------------------------------------------------------------- */

int batch_piece(struct batch_target *t)
{
	struct state *fork;
	uint64_t quota;
	int err = state_get(t->fs->forest, t->number, &fork);

	/* Load the quota, which side_state() copies. */
	if (!err)
		err = quota_get(fork, &quota);
	if (err)
		return err;
	side_state(&t->side, fork, &t->state);
	t->work = 0;
	return state_edit(&t->state, &t->tree);
}

int batch_unlock(struct batch_target *t)
{
	int err = batch_dirs_store(t);

	store_unlock(t->fs->store);
	return err;
}

int batch_lock(struct batch_target *t)
{
	store_lock(t->fs->store);
	return batch_piece(t);
}

int batch_fetch(struct batch_target *t)
{
	int locked, err = batch_unlock(t);

	if (!err)
		err = want_fetch(t->fs, &t->want);
	locked = batch_lock(t);
	return err ? err : locked;
}

int batch_pause(struct batch_target *t)
{
	int locked, err;

	if (t->exclusive || ++t->work < BATCH_PIECE)
		return 0;
	err = batch_unlock(t);
	if (!err)
		err = store_throttle(t->fs->store, true);
	if (!err)
		err = store_yield(t->fs->store);
	locked = batch_lock(t);
	return err ? err : locked;
}

struct vnode batch_vnode(struct batch_target *t, uint64_t ino)
{
	return (struct vnode){
	        .fs = t->fs, .state = &t->state, .tree = t->tree, .ino = ino};
}

/* ---- The directories by path -------------------------------------------- */

static uint64_t dir_hash(const struct batch_target *t, const char *path,
                         size_t len)
{
	return store_hash(t->fs->store, path, len) & (t->dirs_room - 1);
}

static struct batch_dir *dir_known(const struct batch_target *t,
                                   const char *path, size_t len)
{
	struct batch_dir *dir =
	        t->dirs_room ? t->dirs[dir_hash(t, path, len)] : NULL;

	while (dir && (dir->len != len || memcmp(dir->path, path, len) != 0))
		dir = dir->next;
	return dir;
}

static int dirs_grow(struct batch_target *t)
{
	size_t room = t->dirs_room, more = room ? 4 * room : DIRS_FIRST;
	struct batch_dir **old = t->dirs, **dirs;

	if (t->dirs_len < room)
		return 0;
	dirs = calloc(more, sizeof(struct batch_dir *));
	if (!dirs)
		return -ENOMEM;
	t->dirs = dirs;
	t->dirs_room = more;
	for (size_t i = 0; i < room; i++) {
		while (old[i]) {
			struct batch_dir *dir = old[i];
			uint64_t at = dir_hash(t, dir->path, dir->len);

			old[i] = dir->next;
			dir->next = dirs[at];
			dirs[at] = dir;
		}
	}
	free(old);
	return 0;
}

static int dir_add(struct batch_target *t, const char *path, size_t len,
                   uint64_t ino, struct batch_dir **ret_dir)
{
	struct batch_dir *dir;
	uint64_t at;
	int err = dirs_grow(t);

	if (err)
		return err;
	dir = calloc(1, sizeof(*dir));
	if (!dir)
		return -ENOMEM;
	dir->path = path;
	dir->len = (uint16_t)len;
	dir->v = batch_vnode(t, ino);
	err = inode_load(t->tree, ino, &dir->v.inode);
	if (!err && !S_ISDIR(dir->v.inode.mode))
		err = -ENOTDIR;
	if (err) {
		free(dir);
		return err == -ENOENT ? -EUCLEAN : err;
	}
	at = dir_hash(t, path, len);
	dir->next = t->dirs[at];
	t->dirs[at] = dir;
	t->dirs_len++;
	*ret_dir = dir;
	return 0;
}

/* Return the directory's vnode, with the tree of this hold of the lock. */
static struct vnode *dir_vnode(struct batch_target *t, struct batch_dir *dir)
{
	dir->v.tree = t->tree;
	return &dir->v;
}

/* Add to the counts of entries and subdirectories, and set the times. */
static void dir_changed(struct batch_target *t, struct batch_dir *dir,
                        int entries, int dirs)
{
	struct inode *inode = &dir->v.inode;

	inode->size += (uint64_t)(int64_t)entries;
	inode->nlink += (uint32_t)dirs;
	inode->mtime = inode->ctime = t->now;
	dir->dirty = true;
}

int batch_dirs_store(struct batch_target *t)
{
	int err = 0;

	for (size_t i = 0; !err && i < t->dirs_room; i++) {
		struct batch_dir *dir = t->dirs[i];

		for (; !err && dir; dir = dir->next) {
			if (dir->dirty)
				err = vnode_store(dir_vnode(t, dir));
			dir->dirty = err;
		}
	}
	return err;
}

void batch_dirs_release(struct batch_target *t)
{
	for (size_t i = 0; i < t->dirs_room; i++) {
		while (t->dirs[i]) {
			struct batch_dir *dir = t->dirs[i];

			t->dirs[i] = dir->next;
			free(dir);
		}
	}
	free(t->dirs);
	t->dirs = NULL;
	t->dirs_len = t->dirs_room = 0;
}

/* ---- Making ------------------------------------------------------------- */

static struct inode new_inode(const struct batch_target *t,
                              const struct vnode *dir, mode_t type)
{
	bool is_dir = S_ISDIR(type);
	struct inode inode = {
	        .mode = (uint32_t)type | (is_dir ? t->dir_mode : t->file_mode),
	        .nlink = is_dir ? 2 : 1,
	        .uid = t->uid,
	        .gid = t->gid,
	        .atime = t->now,
	        .mtime = t->now,
	        .ctime = t->now,
	        .btime = t->now,
	};

	if (dir->inode.mode & S_ISGID) {
		inode.gid = dir->inode.gid;
		if (is_dir)
			inode.mode |= S_ISGID;
	}
	return inode;
}

/* Make an entry that does not exist. */
static int child_make(struct batch_target *t, struct batch_dir *dir,
                      const char *name, mode_t type, uint64_t *ret_ino)
{
	_cleanup_(inherited_acl_release) struct inherited_acl acl = {0};
	struct vnode *parent = dir_vnode(t, dir), child = *parent;
	uint64_t slot;
	int err = dir_check_name(parent, name);

	if (!err)
		err = slot_free(t->tree, parent->ino, ITEM_DIRENT, 0, name,
		                strlen(name), &slot);
	if (!err)
		err = quota_check(&t->state, 1, 0);
	if (err)
		return err;
	child.inode = new_inode(t, parent, type);
	if (parent->inode.xattrs)
		err = inherited_acl_take(parent, &child.inode, 0, &t->want,
		                         &acl);
	if (!err)
		err = ino_new(t->fs->store, INO_END, &child.ino);
	if (!err)
		err = inherited_acl_give(&child, &acl);
	if (!err)
		err = vnode_store(&child);
	if (!err)
		err = backref_put(&child, parent->ino, name);
	if (!err)
		err = dirent_put(parent, slot, name, &child);
	if (err)
		return err;
	state_count(&t->state, 1, 0);
	dir_changed(t, dir, 1, S_ISDIR(type));
	*ret_ino = child.ino;
	return 0;
}

/* ---- Looking up --------------------------------------------------------- */

static void name_copy(char name[NAME_LEN_MAX + 1], const char *from, size_t len)
{
	memcpy(name, from, len);
	name[len] = 0;
}

/* Find or make the directory `path`, whose parent is `above`. */
static int dir_step(struct batch_target *t, struct batch_dir *above,
                    const char *path, size_t len, size_t start, bool make,
                    struct batch_dir **ret_dir)
{
	char name[NAME_LEN_MAX + 1];
	uint64_t ino;
	uint8_t type;
	int err = tree_entry(t->tree, above->v.ino, path + start, len - start,
	                     &ino, &type);

	if (!err && type != DT_DIR)
		return -ENOTDIR;
	if (err == -ENOENT && make) {
		name_copy(name, path + start, len - start);
		err = child_make(t, above, name, S_IFDIR, &ino);
	}
	return err ? err : dir_add(t, path, len, ino, ret_dir);
}

/* Find a directory, or make it and those above it. */
static int dir_find_path(struct batch_target *t, const char *path, size_t len,
                         bool make, struct batch_dir **ret_dir)
{
	struct batch_dir *dir = dir_known(t, path, len), *next;
	size_t start = 0;
	int err = 0;

	if (dir) {
		*ret_dir = dir;
		return 0;
	}
	dir = dir_known(t, path, 0);
	if (!dir)
		err = dir_add(t, path, 0, INO_ROOT, &dir);
	while (!err && start < len) {
		const char *slash = memchr(path + start, '/', len - start);
		size_t end = slash ? (size_t)(slash - path) : len;

		next = dir_known(t, path, end);
		if (!next)
			err = dir_step(t, dir, path, end, start, make, &next);
		if (!err)
			dir = next;
		start = end + 1;
	}
	if (!err)
		*ret_dir = dir;
	return err;
}

/* Split a path into its directory, which is found or made, and the name. */
static int path_split(struct batch_target *t, const char *path, size_t len,
                      bool make, struct batch_dir **ret_dir,
                      char ret_name[NAME_LEN_MAX + 1])
{
	const char *slash = memrchr(path, '/', len);
	size_t above = slash ? (size_t)(slash - path) : 0;

	name_copy(ret_name, slash ? slash + 1 : path,
	          slash ? len - above - 1 : len);
	return dir_find_path(t, path, above, make, ret_dir);
}

/* Return the last component of the path of an operation. */
static const char *op_name(const struct batch_op *op, size_t *ret_len)
{
	const char *slash = memrchr(op->path, '/', op->path_len);
	const char *name = slash ? slash + 1 : op->path;

	*ret_len = (size_t)(op->path + op->path_len - name);
	return name;
}

int batch_slot(struct batch_target *t, const struct batch_op *op,
               uint64_t *ret_dir, uint64_t *ret_slot)
{
	struct batch_dir *dir;
	size_t len;
	const char *name = op_name(op, &len);
	size_t above = name == op->path ? 0 : op->path_len - len - 1;
	int err = len > NAME_LEN_MAX ? -ENAMETOOLONG : 0;

	if (!err)
		err = dir_find_path(t, op->path, above, false, &dir);
	if (err)
		return err;
	*ret_dir = dir->v.ino;
	*ret_slot = slot_first(t->fs->store, 0, name, len);
	return 0;
}

uint64_t batch_find(struct batch_target *t, const struct batch_op *op,
                    uint64_t dir)
{
	size_t len;
	const char *name = op_name(op, &len);
	uint64_t ino;
	uint8_t type;
	int err = tree_entry(t->tree, dir, name, len, &ino, &type);

	return err || type != DT_REG ? 0 : ino;
}

int batch_file(struct batch_target *t, const struct batch_op *op,
               uint64_t *ret_ino)
{
	char name[NAME_LEN_MAX + 1];
	struct batch_dir *dir;
	uint8_t type;
	int err = path_split(t, op->path, op->path_len,
	                     op->flags & BATCH_PARENTS, &dir, name);

	if (err)
		return err;
	err = tree_entry(t->tree, dir->v.ino, name, strlen(name), ret_ino,
	                 &type);
	if (!err && type != DT_REG)
		return type == DT_DIR ? -EISDIR : -EINVAL;
	return err == -ENOENT ? child_make(t, dir, name, S_IFREG, ret_ino)
	                      : err;
}

/* ---- Removing and renaming ---------------------------------------------- */

/* Remove a link from the inode. */
static int link_lost(struct batch_target *t, struct vnode *child)
{
	if (S_ISDIR(child->inode.mode) || child->inode.nlink == 1)
		t->orphans = true;
	return vnode_lose_name(child, t->now);
}

/* Drop the table of directories if a directory was moved or removed. */
static int dir_moved(struct batch_target *t, const struct vnode *child)
{
	int err;

	if (!S_ISDIR(child->inode.mode))
		return 0;
	err = batch_dirs_store(t);
	batch_dirs_release(t);
	return err;
}

/* Find an entry, and the inode that it names. */
static int entry_find(struct batch_target *t, struct batch_dir *dir,
                      const char *name, uint64_t *ret_slot,
                      struct vnode *ret_child)
{
	int err = dir_find(dir_vnode(t, dir), name, ret_slot, ret_child);

	/* A directory's inode may not be stored yet: store it, and reload. */
	if (err || !S_ISDIR(ret_child->inode.mode))
		return err;
	err = batch_dirs_store(t);
	return err ? err
	           : inode_load(t->tree, ret_child->ino, &ret_child->inode);
}

static int op_delete(struct batch_target *t, const struct batch_op *op)
{
	struct key key = {.kind = ITEM_DIRENT};
	char name[NAME_LEN_MAX + 1];
	struct batch_dir *dir = NULL;
	struct vnode child;
	int err = path_split(t, op->path, op->path_len, false, &dir, name);

	if (!err)
		err = entry_find(t, dir, name, &key.off, &child);
	if (err == -ENOENT && op->flags & BATCH_LENIENT)
		return 0;
	if (!err && S_ISDIR(child.inode.mode) && child.inode.size &&
	    !(op->flags & BATCH_RECURSIVE))
		err = -ENOTEMPTY;
	if (err)
		return err;
	key.ino = dir->v.ino;
	err = tree_del(t->tree, &key);
	if (!err)
		err = backref_del(&child, key.ino, name);
	if (err)
		return err;
	dir_changed(t, dir, -1, S_ISDIR(child.inode.mode) ? -1 : 0);
	err = dir_moved(t, &child);
	return err ? err : link_lost(t, &child);
}

static int op_mkdir(struct batch_target *t, const struct batch_op *op)
{
	char name[NAME_LEN_MAX + 1];
	struct batch_dir *dir;
	uint64_t ino;
	uint8_t type;
	int err = path_split(t, op->path, op->path_len,
	                     op->flags & BATCH_PARENTS, &dir, name);

	if (err)
		return err;
	err = tree_entry(t->tree, dir->v.ino, name, strlen(name), &ino, &type);
	if (!err)
		return op->flags & BATCH_LENIENT && type == DT_DIR ? 0
		                                                   : -EEXIST;
	return err == -ENOENT ? child_make(t, dir, name, S_IFDIR, &ino) : err;
}

/* The two ends of a renaming. */
struct renaming {
	struct batch_dir *from, *into;
	char name[NAME_LEN_MAX + 1], new_name[NAME_LEN_MAX + 1];
	uint64_t slot, new_slot;
	struct vnode child, other;
	bool has_other;
};

static int renaming_check(const struct renaming *r)
{
	bool dir = S_ISDIR(r->child.inode.mode);

	if (!r->has_other)
		return 0;
	if (dir != S_ISDIR(r->other.inode.mode))
		return dir ? -ENOTDIR : -EISDIR;
	return dir && r->other.inode.size ? -ENOTEMPTY : 0;
}

static int renaming_load(struct batch_target *t, const struct batch_op *op,
                         struct renaming *r)
{
	int err =
	        path_split(t, op->path, op->path_len, false, &r->from, r->name);

	if (!err)
		err = path_split(t, op->to, op->to_len,
		                 op->flags & BATCH_PARENTS, &r->into,
		                 r->new_name);
	if (!err)
		err = entry_find(t, r->from, r->name, &r->slot, &r->child);
	if (!err && S_ISDIR(r->child.inode.mode) && op->to_len > op->path_len &&
	    op->to[op->path_len] == '/' &&
	    !memcmp(op->to, op->path, op->path_len))
		err = -EINVAL;
	if (!err)
		err = dir_check_name(dir_vnode(t, r->into), r->new_name);
	if (err)
		return err;
	err = entry_find(t, r->into, r->new_name, &r->new_slot, &r->other);
	r->has_other = !err;
	if (err == -ENOENT)
		err = slot_free(t->tree, r->into->v.ino, ITEM_DIRENT, 0,
		                r->new_name, strlen(r->new_name), &r->new_slot);
	return err ? err : renaming_check(r);
}

static int op_rename(struct batch_target *t, const struct batch_op *op)
{
	struct renaming r;
	struct key key = {.kind = ITEM_DIRENT};
	int is_dir, err = renaming_load(t, op, &r);

	if (err || (r.has_other && r.other.ino == r.child.ino))
		return err;
	is_dir = S_ISDIR(r.child.inode.mode);
	key.ino = r.from->v.ino;
	key.off = r.slot;
	err = tree_del(t->tree, &key);
	if (!err)
		err = dirent_put(&r.into->v, r.new_slot, r.new_name, &r.child);
	if (!err && r.has_other)
		err = backref_del(&r.other, r.into->v.ino, r.new_name);
	if (!err)
		err = backref_del(&r.child, r.from->v.ino, r.name);
	if (!err)
		err = backref_put(&r.child, r.into->v.ino, r.new_name);
	if (err)
		return err;
	r.child.inode.ctime = t->now;
	err = vnode_store(&r.child);
	dir_changed(t, r.from, -1, -is_dir);
	dir_changed(t, r.into, !r.has_other, is_dir && !r.has_other ? 1 : 0);
	if (!err)
		err = dir_moved(t, &r.child);
	if (err || !r.has_other)
		return err;
	if (!is_dir)
		ext_hint(&r.child, t->tree, r.other.ino);
	return link_lost(t, &r.other);
}

int batch_change(struct batch_target *t, const struct batch_op *op)
{
	bool self = op->uid == t->cred->uid && op->gid == t->cred->gid;

	switch (op->kind) {
	case BATCH_MODE:
		if (t->cred->uid && !self)
			return -EPERM;
		t->uid = op->uid;
		t->gid = op->gid;
		t->file_mode = op->file_mode;
		t->dir_mode = op->dir_mode;
		return 0;
	case BATCH_DELETE:
		return op_delete(t, op);
	case BATCH_RENAME:
		return op_rename(t, op);
	default:
		return op_mkdir(t, op);
	}
}
