/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names and directories of a side head that an import changes. */
#include "import_tree.h"

#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "dirent_item.h"
#include "import_links.h"

/* ---- Pieces ------------------------------------------------------------- */

int import_piece(struct importing *im)
{
	struct state *fork = NULL;
	uint64_t quota;
	int err = 0;

	if (!im->make)
		err = state_get(im->fs->forest, im->now->number, &fork);
	/* Load the quota, which side_state() copies. */
	if (!err && fork)
		err = quota_get(fork, &quota);
	if (err)
		return err;
	side_state(&im->now->side, fork, &im->state);
	im->work = 0;
	return state_edit(&im->state, &im->tree);
}

int import_settle(struct importing *im)
{
	struct import_dir *dir = im->dirty;

	if (!dir)
		return 0;
	im->dirty = NULL;
	dir->dirty = false;
	return inode_store(im->tree, dir->ino, &dir->inode);
}

int import_pause(struct importing *im)
{
	struct store *store = im->fs->store;
	int locked, err;

	if (++im->work < IMPORT_PIECE)
		return 0;
	err = import_settle(im);
	store_unlock(store);
	if (!err)
		err = store_throttle(store, true);
	if (!err)
		err = store_yield(store);
	store_lock(store);
	locked = import_piece(im);
	return err ? err : locked;
}

/* ---- Directories -------------------------------------------------------- */

struct import_dir *import_dir_at(struct importing *im, uint64_t number)
{
	return number < im->dirs_len ? im->dirs[number] : NULL;
}

bool import_dir_is_open(const struct importing *im, uint64_t ino)
{
	for (size_t i = 0; i < im->dirs_len; i++)
		if (im->dirs[i] && im->dirs[i]->ino == ino)
			return true;
	return false;
}

void import_dir_destroy(struct importing *im, struct import_dir *dir)
{
	if (!dir)
		return;
	if (im->dirty == dir)
		im->dirty = NULL;
	free(dir->seen);
	free(dir->path);
	free(dir);
}

static int dir_add(struct importing *im, uint64_t number,
                   struct import_dir **ret_dir)
{
	struct import_dir *dir;

	if (number >= IMPORT_DIRS_MAX || import_dir_at(im, number))
		return -EPROTO;
	if (number >= im->dirs_len) {
		size_t len = MAX(64, 2 * number);
		struct import_dir **dirs =
		        realloc(im->dirs, len * sizeof(*dirs));

		if (!dirs)
			return -ENOMEM;
		memset(dirs + im->dirs_len, 0,
		       (len - im->dirs_len) * sizeof(*dirs));
		im->dirs = dirs;
		im->dirs_len = len;
	}
	dir = calloc(1, sizeof(*dir));
	if (!dir)
		return -ENOMEM;
	im->dirs[number] = dir;
	*ret_dir = dir;
	return 0;
}

/* Make a directory the dirty one; store the previous one. */
static int dir_edit(struct importing *im, struct import_dir *dir)
{
	int err = im->dirty == dir ? 0 : import_settle(im);

	im->dirty = dir;
	dir->dirty = true;
	return err;
}

int import_dir_count(struct importing *im, struct import_dir *dir, int entries,
                     int dirs)
{
	int err = dir_edit(im, dir);

	dir->inode.size += (uint64_t)(int64_t)entries;
	dir->inode.nlink += (uint32_t)dirs;
	return err;
}

static int seen_add(struct import_dir *dir, uint64_t slot)
{
	uint64_t *seen;

	if (dir->fresh)
		return 0;
	seen = array_add(&dir->seen, &dir->seen_len, &dir->seen_room);
	if (!seen)
		return -ENOMEM;
	*seen = slot;
	return 0;
}

static struct vnode vnode_of(struct importing *im, uint64_t ino)
{
	return (struct vnode){.fs = im->fs,
	                      .state = &im->state,
	                      .tree = im->tree,
	                      .ino = ino};
}

struct vnode import_dir_vnode(struct importing *im,
                              const struct import_dir *dir)
{
	struct vnode v = vnode_of(im, dir->ino);

	v.inode = dir->inode;
	return v;
}

void import_tree_release(struct importing *im)
{
	for (size_t i = 0; i < im->dirs_len; i++)
		import_dir_destroy(im, im->dirs[i]);
	free(im->dirs);
	import_links_release(im);
}

/* ---- Making ------------------------------------------------------------- */

/* Put the first back reference of a new inode. */
static int first_name(struct vnode *v, uint64_t parent, const char *name)
{
	struct key key = {.ino = v->ino, .kind = ITEM_BACKREF};
	struct backref_item b = {parent, (uint8_t)strlen(name), name};
	uint8_t value[TREE_VALUE_MAX];

	key.off = slot_first(v->fs->store, parent, name, b.name_len);
	return tree_put(v->tree, &key, value, backref_encode(&b, value));
}

/* Make an inode with a name that the directory does not have. */
static int child_make(struct importing *im, struct import_dir *dir,
                      const char *name, const struct import_attr *attr,
                      struct vnode *ret)
{
	struct vnode v = import_dir_vnode(im, dir), child = v;
	bool is_dir = S_ISDIR(attr->inode.mode);
	uint64_t slot;
	int err = dir_check_name(&v, name);

	if (!err)
		err = slot_free(im->tree, dir->ino, ITEM_DIRENT, 0, name,
		                strlen(name), &slot);
	if (!err)
		err = quota_check(&im->state, 1, 0);
	if (!err)
		err = ino_new(im->fs->store, INO_END, &child.ino);
	if (err)
		return err;
	child.inode = (struct inode){.mode = attr->inode.mode & S_IFMT,
	                             .nlink = is_dir ? 2 : 1,
	                             .btime = time_now()};
	import_attributes(&child.inode, attr, false);
	err = vnode_store(&child);
	if (!err)
		err = first_name(&child, dir->ino, name);
	if (!err)
		err = dirent_put(&v, slot, name, &child);
	if (!err)
		err = seen_add(dir, slot);
	if (err)
		return err;
	state_count(&im->state, 1, 0);
	im->counts->added++;
	*ret = child;
	return import_dir_count(im, dir, 1, is_dir);
}

static bool time_same(struct timestamp a, struct timestamp b)
{
	return a.sec == b.sec && a.nsec == b.nsec;
}

bool import_attributes(struct inode *inode, const struct import_attr *attr,
                       bool ignore_ctime)
{
	const struct inode *from = &attr->inode;
	bool differ = inode->mode != from->mode || inode->uid != from->uid ||
	              inode->gid != from->gid || inode->rdev != from->rdev ||
	              !time_same(inode->mtime, from->mtime);

	if (ignore_ctime && !differ)
		return false;
	inode->mode = from->mode;
	inode->uid = from->uid;
	inode->gid = from->gid;
	inode->rdev = from->rdev;
	inode->atime = from->atime;
	inode->mtime = from->mtime;
	inode->ctime = from->ctime;
	return differ;
}

/* Make the directory of fs_import.path, whose parent must exist. */
static int top_make(struct importing *im, struct import_dir *top)
{
	const struct fs_cred *cred = im->what->cred;
	const struct import_attr attr = {.inode = {.mode = S_IFDIR | 0755,
	                                           .uid = cred->uid,
	                                           .gid = cred->gid}};
	struct import_dir parent = {.fresh = true};
	_cleanup_free_ char *path = strdup(im->what->path);
	char *slash, *end = path ? path + strlen(path) : NULL;
	struct vnode child;
	int err;

	if (!path)
		return -ENOMEM;
	while (end > path && end[-1] == '/')
		*--end = 0;
	slash = strrchr(path, '/');
	if (slash)
		*slash = 0;
	err = tree_path_find(im->tree, slash ? path : "", &parent.ino,
	                     &parent.inode);
	if (!err && !S_ISDIR(parent.inode.mode))
		err = -ENOTDIR;
	parent.inode.mtime = parent.inode.ctime = time_now();
	if (!err)
		err = child_make(im, &parent, slash ? slash + 1 : path, &attr,
		                 &child);
	if (!err)
		err = import_settle(im);
	if (im->dirty == &parent)
		im->dirty = NULL;
	if (err)
		return err;
	top->ino = child.ino;
	top->inode = child.inode;
	return 0;
}

int import_top(struct importing *im, bool *ret_fresh)
{
	struct import_dir *dir;
	int err = dir_add(im, 0, &dir);

	if (!err)
		err = tree_path_find(im->tree, im->what->path, &dir->ino,
		                     &dir->inode);
	if (err == -ENOENT)
		err = top_make(im, dir);
	if (!err && !S_ISDIR(dir->inode.mode))
		err = -ENOTDIR;
	if (!err && !(dir->path = strdup("")))
		err = -ENOMEM;
	/* An empty directory has no entries to delete: treat it as new. */
	if (!err)
		*ret_fresh = dir->fresh = !dir->inode.size;
	return err;
}

/* ---- Beginning and ending a directory ----------------------------------- */

int import_path_join(const struct import_dir *parent, const char *name,
                     char **ret_path)
{
	if (asprintf(ret_path, "%s/%s", parent->path, name) < 0) {
		*ret_path = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* Find or make a directory in its parent. */
static int dir_open(struct importing *im, struct import_dir *dir,
                    struct import_dir *parent, const char *name,
                    const struct import_attr *attr)
{
	struct vnode v = import_dir_vnode(im, parent), child = {0};
	uint64_t slot;
	int err = import_path_join(parent, name, &dir->path);

	if (!err)
		err = dir_find(&v, name, &slot, &child);
	if (!err && import_dir_is_open(im, child.ino)) {
		err = -EPROTO;
	} else if (!err && !S_ISDIR(child.inode.mode)) {
		err = import_remove(im, parent, name);
		err = err ? err : -ENOENT;
	} else if (!err) {
		err = seen_add(parent, slot);
	}
	if (err == -ENOENT) {
		dir->fresh = true;
		err = child_make(im, parent, name, attr, &child);
	}
	dir->ino = child.ino;
	dir->inode = child.inode;
	return err;
}

int import_dir_begin(struct importing *im, uint64_t number, uint64_t parent,
                     const char *name, const struct import_attr *attr,
                     struct import_bytes xattrs)
{
	struct import_dir *above = import_dir_at(im, parent), *dir = above;
	bool changed = false;
	struct vnode v;
	int err;

	if (!above || !S_ISDIR(attr->inode.mode) || (!number && parent))
		return -EPROTO;
	err = number ? dir_add(im, number, &dir) : 0;
	if (!err && number)
		err = dir_open(im, dir, above, name, attr);
	if (!err)
		err = dir_edit(im, dir);
	if (err)
		return err;
	v = import_dir_vnode(im, dir);
	err = import_xattrs(im, &v, xattrs, &changed);
	changed |= import_attributes(&v.inode, attr, im->what->ignore_ctime);
	dir->inode = v.inode;
	if (changed && !(dir->fresh && number))
		im->counts->changed++;
	return err;
}

int import_dir_end(struct importing *im, uint64_t number, bool partial)
{
	struct import_dir *dir = import_dir_at(im, number);
	int err = 0;

	if (!dir)
		return -EPROTO;
	if (!dir->fresh && !partial && !im->what->no_delete)
		err = import_extras_delete(im, dir);
	if (!err && dir->dirty)
		err = import_settle(im);
	im->dirs[number] = NULL;
	import_dir_destroy(im, dir);
	return err;
}

int import_keep(struct importing *im, uint64_t number, const char *name)
{
	struct import_dir *dir = import_dir_at(im, number);
	struct item item;
	int err;

	if (!dir)
		return -EPROTO;
	err = slot_find(im->tree, dir->ino, ITEM_DIRENT, 0, name, strlen(name),
	                &item);
	return err == -ENOENT ? 0 : err ? err : seen_add(dir, item.key.off);
}

/* ---- Files -------------------------------------------------------------- */

int import_link(struct importing *im, uint64_t number, const char *name,
                struct import_attr *attr)
{
	struct import_dir *dir = import_dir_at(im, number);
	struct vnode v, child;
	uint64_t slot, to;
	int err;

	if (!dir)
		return -EPROTO;
	if (!import_links_take(im, attr, &to))
		return 0;
	v = import_dir_vnode(im, dir);
	err = dir_find(&v, name, &slot, &child);
	if (!err && child.ino == to)
		return seen_add(dir, slot);
	if (!err)
		err = import_remove(im, dir, name);
	if (err == -ENOTEMPTY)
		return 0;
	if (!err || err == -ENOENT)
		err = dir_check_name(&v, name);
	if (!err)
		err = slot_free(im->tree, dir->ino, ITEM_DIRENT, 0, name,
		                strlen(name), &slot);
	child = vnode_of(im, to);
	if (!err)
		err = inode_load(im->tree, to, &child.inode);
	/* All earlier names of the inode have been replaced. */
	if (!err && !child.inode.nlink)
		err = -EPROTO;
	if (!err)
		err = backref_put(&child, dir->ino, name);
	if (!err)
		err = dirent_put(&v, slot, name, &child);
	if (!err)
		err = seen_add(dir, slot);
	if (err)
		return err;
	child.inode.nlink++;
	im->counts->added++;
	err = vnode_store(&child);
	return err ? err : import_dir_count(im, dir, 1, 0);
}

/*
 * Return true if the file cannot be updated in place, and its name must get
 * another inode: the types differ, or other names would change with it.
 */
static bool is_misfit(struct importing *im, const struct vnode *child,
                      const struct import_attr *attr)
{
	if ((child->inode.mode ^ attr->inode.mode) & S_IFMT)
		return true;
	return import_is_linked(attr) ? import_links_claimed(im, child->ino)
	                              : child->inode.nlink > 1;
}

static enum import_verdict entry_judge(struct importing *im,
                                       const struct vnode *child,
                                       const struct import_attr *attr)
{
	const struct fs_import *what = im->what;
	struct inode inode = child->inode;
	bool regular = S_ISREG(inode.mode);
	bool same = inode.size == attr->inode.size &&
	            time_same(inode.mtime, attr->inode.mtime);

	if (is_misfit(im, child, attr))
		return IMPORT_WANT;
	if (regular && what->checksum)
		return IMPORT_WANT;
	if (regular && what->ignore_ctime)
		return same ? IMPORT_WANT_META : IMPORT_WANT;
	if (!what->ignore_ctime)
		same &= time_same(inode.ctime, attr->inode.ctime);
	return same && !import_attributes(&inode, attr, false) ? IMPORT_SAME
	                                                       : IMPORT_WANT;
}

int import_entry(struct importing *im, uint64_t number, const char *name,
                 struct import_attr *attr, enum import_verdict *ret_verdict)
{
	struct import_dir *dir = import_dir_at(im, number);
	bool linked = import_is_linked(attr);
	struct vnode v, child;
	uint64_t slot;
	int err;

	if (!dir || S_ISDIR(attr->inode.mode))
		return -EPROTO;
	*ret_verdict = IMPORT_SAME;
	if (linked && import_links_has(im, attr))
		return import_link(im, number, name, attr);
	v = import_dir_vnode(im, dir);
	err = dir_find(&v, name, &slot, &child);
	if (err == -ENOENT) {
		*ret_verdict = IMPORT_WANT;
		return 0;
	}
	if (!err)
		err = seen_add(dir, slot);
	if (err)
		return err;
	*ret_verdict = entry_judge(im, &child, attr);
	return *ret_verdict == IMPORT_SAME && linked
	               ? import_links_add(im, attr, child.ino)
	               : 0;
}

int import_file_find(struct importing *im, uint64_t number, const char *name,
                     struct import_attr *attr, struct vnode *ret,
                     bool *ret_fresh)
{
	struct import_dir *dir = import_dir_at(im, number);
	struct vnode v;
	uint64_t slot;
	int err;

	if (!dir || S_ISDIR(attr->inode.mode))
		return -EPROTO;
	ret->ino = 0;
	if (import_is_linked(attr) && import_links_has(im, attr))
		return import_link(im, number, name, attr);
	v = import_dir_vnode(im, dir);
	err = dir_find(&v, name, &slot, ret);
	*ret_fresh = false;
	if (!err && !is_misfit(im, ret, attr))
		return seen_add(dir, slot);
	if (!err)
		err = import_remove(im, dir, name);
	if (err == -ENOTEMPTY) {
		ret->ino = 0;
		return 0;
	}
	*ret_fresh = true;
	return !err || err == -ENOENT ? child_make(im, dir, name, attr, ret)
	                              : err;
}
