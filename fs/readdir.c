/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading directories.  An entry's cookie is its slot in the tree, a hash of
 * its name: adding and removing entries does not move others.
 */
#include "fs.h"

#include <dirent.h>
#include <errno.h>

#include "dirent_item.h"
#include "inode.h"
#include "listing.h"
#include "state_dir.h"

/* Most entries read in one hold of the lock; PLUS: with attributes. */
enum { ENTRIES_PIECE = 512, ENTRIES_PLUS_PIECE = 256 };

struct reading {
	struct vnode dir;
	bool plus;
	fs_readdir_fn *fn;
	void *arg;
};

/* Return an entry with only the node number and the type. */
static struct fs_entry entry_plain(node_t node, uint32_t mode)
{
	return (struct fs_entry){
	        .node = node,
	        .st = {.st_ino = node, .st_mode = mode & S_IFMT},
	};
}

static int read_parent(struct reading *r)
{
	struct fs_entry entry;
	uint64_t parent;
	node_t node;

	if (r->dir.ino != INO_ROOT) {
		/* A directory that was removed while open has no parent. */
		if (dir_parent(r->dir.tree, r->dir.ino, &parent))
			parent = r->dir.ino;
		node = NODE(r->dir.state->number, parent);
	} else {
		node = r->dir.state->fork
		               ? NODE(r->dir.state->fork, INO_SNAPDIR)
		               : NODE_ROOT;
	}
	entry = entry_plain(node, S_IFDIR);
	return r->fn(r->arg, "..", &entry, COOKIE_PARENT);
}

/*
 * Read . and .., and a root's .snap if it is visible.  Return 1 if fn ended the
 * reading.
 */
static int read_dots(struct reading *r, off_t off, enum fs_snapdir snapdir)
{
	struct fs_entry entry = vnode_entry(&r->dir);
	node_t snap = NODE(r->dir.state->number, INO_SNAPDIR);
	int err;

	if (off < COOKIE_SELF && r->fn(r->arg, ".", &entry, COOKIE_SELF))
		return 1;
	if (off < COOKIE_PARENT && read_parent(r))
		return 1;
	if (off >= COOKIE_SNAPDIR || snapdir != SNAPDIR_VISIBLE ||
	    r->dir.ino != INO_ROOT || r->dir.state->fork)
		return 0;
	entry = entry_plain(snap, S_IFDIR);
	if (r->plus) {
		entry_stamp(r->dir.fs, &entry);
		err = state_dir_getattr(r->dir.fs, snap, &entry.st);
		if (err)
			return err;
	}
	return r->fn(r->arg, SNAPDIR_NAME, &entry, COOKIE_SNAPDIR) ? 1 : 0;
}

static int read_entry(struct reading *r, const struct item *item)
{
	char name[NAME_LEN_MAX + 1];
	struct vnode child = r->dir;
	struct fs_entry entry;
	struct dirent_item d;
	int err = dirent_decode(item->value, item->len, &d);

	if (err)
		return err;
	memcpy(name, d.name, d.name_len);
	name[d.name_len] = '\0';
	child.ino = d.ino;
	entry = entry_plain(vnode_node(&child), DTTOIF(d.type));
	if (r->plus) {
		err = inode_load(child.tree, child.ino, &child.inode);
		if (err)
			return err == -ENOENT ? -EUCLEAN : err;
		entry = vnode_entry(&child);
	}
	return r->fn(r->arg, name, &entry, (off_t)item->key.off) ? 1 : 0;
}

/* Read entries of the tree.  -EAGAIN: there are more, after *off. */
static int read_inode(struct reading *r, off_t *off, enum fs_snapdir snapdir)
{
	unsigned left = r->plus ? ENTRIES_PLUS_PIECE : ENTRIES_PIECE;
	struct key key = {.ino = r->dir.ino, .kind = ITEM_DIRENT};
	struct cursor cursor;
	struct item item;
	int err = read_dots(r, *off, snapdir);

	if (err)
		return err == 1 ? 0 : err;
	key.off = *off < COOKIE_FIRST ? 0 : (uint64_t)*off + 1;
	for (err = cursor_seek(&cursor, r->dir.tree, &key, &item); !err;
	     err = cursor_next(&cursor, &item)) {
		if (item.key.ino != r->dir.ino || item.key.kind != ITEM_DIRENT)
			return 0;
		if (!left--)
			return -EAGAIN;
		err = read_entry(r, &item);
		if (err)
			return err == 1 ? 0 : err;
		*off = (off_t)item.key.off;
	}
	return err == -ENOENT ? 0 : err;
}

static int read_locked(struct reading *r, struct fs *fs, node_t node,
                       off_t *off, enum fs_snapdir snapdir)
{
	int err;

	if (node_kind(node) != NODE_KIND_INODE)
		return state_dir_readdir(fs, node, off, r->plus, r->fn, r->arg);
	err = vnode_load(fs, node, &r->dir);
	if (!err && !S_ISDIR(r->dir.inode.mode))
		err = -ENOTDIR;
	return err ? err : read_inode(r, off, snapdir);
}

int fs_readdir(struct fs *fs, node_t node, off_t off, bool plus,
               enum fs_snapdir snapdir, fs_readdir_fn *fn, void *arg)
{
	struct reading r = {.plus = plus, .fn = fn, .arg = arg};
	int err;

	if (off < 0)
		return -EINVAL;
	do {
		store_lock(fs->store);
		err = read_locked(&r, fs, node, &off, snapdir);
		store_unlock(fs->store);
	} while (err == -EAGAIN && !(err = store_yield(fs->store)));
	return err;
}
