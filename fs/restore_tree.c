/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The changes that a restoration makes in a side head. */
#include "restore_tree.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "array.h"
#include "clone_inode.h"
#include "dirent_item.h"
#include "extent.h"
#include "orphan.h"

enum { SYNC_KEYS = 64, DIFF_NODES = 64 };

/* ---- Inodes of the side head -------------------------------------------- */

int restore_load(struct restore *r, uint64_t ino, struct vnode *ret)
{
	*ret = (struct vnode){
	        .fs = r->fs, .state = &r->state, .tree = r->to, .ino = ino};
	return inode_load(r->to, ino, &ret->inode);
}

bool restore_is_dirty(const struct restore *r, uint64_t ino)
{
	return array_find(r->dirty, r->dirty_len, ino);
}

/* Advance `key` to the next possible key of the inode. */
static void key_step(struct key *key)
{
	if (++key->off)
		return;
	key->kind++;
}

/* ---- Links -------------------------------------------------------------- */

static int links_add(struct restore *r, uint64_t from, uint64_t to)
{
	struct restored_link *link = malloc(sizeof(*link));
	struct restored_link **found;

	if (!link)
		return -ENOMEM;
	*link = (struct restored_link){from, to};
	found = tsearch(link, &r->links, number_compare);
	if (!found || *found != link)
		free(link);
	return found ? 0 : -ENOMEM;
}

bool restore_is_inside(struct restore *r, struct tree *tree, uint64_t dir)
{
	uint64_t steps = state_inodes(&r->state);

	if (!r->pairs_len)
		return false;
	while (dir != INO_ROOT && dir != r->pairs[0].to && steps--)
		if (dir_parent(tree, dir, &dir))
			return false;
	return dir == r->pairs[0].to;
}

/*
 * Return true if the inode has a name inside the restored directory.  After the
 * first round all such names are those of the source.
 */
static bool has_name_inside(struct restore *r, uint64_t ino)
{
	struct key key = {.ino = ino, .kind = ITEM_BACKREF};
	struct backref_item b;
	struct item item;

	while (!tree_seek(r->to, &key, &item) && item.key.ino == ino &&
	       item.key.kind == ITEM_BACKREF) {
		if (!backref_decode(item.value, item.len, &b) &&
		    restore_is_inside(r, r->to, b.parent))
			return true;
		key = item.key;
		key_step(&key);
	}
	return false;
}

/* ---- Removing ----------------------------------------------------------- */

/* Remove the link from the inode that the name led to. */
static int name_lost(struct restore *r, struct vnode *child, uint64_t dir,
                     const char *name)
{
	uint64_t *removed;
	int err = backref_del(child, dir, name);

	if (err)
		return err;
	child->inode.ctime = time_now();
	if (!S_ISDIR(child->inode.mode) && child->inode.nlink > 1) {
		child->inode.nlink--;
		return vnode_store(child);
	}
	child->inode.nlink = 0;
	err = vnode_store(child);
	if (!err)
		err = orphan_add(child);
	if (err || !S_ISDIR(child->inode.mode) || !child->inode.size)
		return err;
	removed = array_add(&r->removed, &r->removed_len, &r->removed_room);
	if (!removed)
		return -ENOMEM;
	*removed = child->ino;
	return 0;
}

int restore_detach(struct restore *r, uint64_t dir, const char *name)
{
	struct key key = {.ino = dir, .kind = ITEM_DIRENT};
	struct vnode v, child;
	int err = restore_load(r, dir, &v);

	if (!err)
		err = dir_find(&v, name, &key.off, &child);
	if (!err)
		err = tree_del(r->to, &key);
	if (err)
		return err;
	v.inode.size--;
	if (S_ISDIR(child.inode.mode) && v.inode.nlink)
		v.inode.nlink--;
	err = vnode_store(&v);
	return err ? err : name_lost(r, &child, dir, name);
}

/* Detach the first entry of a directory.  -ENOENT: it is empty. */
static int first_detach(struct restore *r, uint64_t dir)
{
	struct key key = {.ino = dir, .kind = ITEM_DIRENT};
	char name[NAME_LEN_MAX + 1];
	struct dirent_item d;
	struct item item;
	int err = tree_seek(r->to, &key, &item);

	if (!err && (item.key.ino != dir || item.key.kind != ITEM_DIRENT))
		err = -ENOENT;
	if (!err)
		err = dirent_decode(item.value, item.len, &d);
	if (err)
		return err;
	memcpy(name, d.name, d.name_len);
	name[d.name_len] = 0;
	return restore_detach(r, dir, name);
}

int restore_empty(struct restore *r)
{
	while (r->removed_len) {
		uint64_t dir = r->removed[--r->removed_len];
		int err = 0;

		while (!err) {
			err = first_detach(r, dir);
			if (!err)
				err = restore_pause(r);
		}
		if (err != -ENOENT)
			return err;
	}
	return 0;
}

/* ---- Contents ----------------------------------------------------------- */

/* Add an item to the counts of the inode and the state; `less`: subtract. */
static void item_count(struct vnode *v, const struct item *item, bool less)
{
	uint64_t sign = less ? -UINT64_C(1) : 1, blocks;
	struct extent extent;

	if (item->key.kind == ITEM_XATTR)
		v->inode.xattrs += (uint32_t)sign;
	if (item->key.kind != ITEM_EXTENT ||
	    extent_decode(item->value, item->len, &extent))
		return;
	blocks = ext_blocks(&(struct ext){extent.kind, extent.len, 0}) * sign;
	v->inode.blocks += blocks;
	state_count(v->state, 0, blocks);
}

int restore_item(struct restore *r, struct vnode *v, const struct key *from)
{
	struct key key = *from;
	struct item new, old;
	uint64_t chunk = 0;
	int is_new = tree_get(r->from, from, &new), is_old, err = 0;

	key.ino = v->ino;
	is_old = tree_get(r->to, &key, &old);
	if ((is_new && is_new != -ENOENT) || (is_old && is_old != -ENOENT))
		return is_new && is_new != -ENOENT ? is_new : is_old;
	if (!is_old) {
		chunk = item_chunk(&old);
		item_count(v, &old, true);
	}
	if (!is_new)
		err = clone_item(v, &new);
	else if (!is_old)
		err = tree_del(r->to, &key);
	if (err)
		return err;
	if (!is_new)
		item_count(v, &new, false);
	if (chunk)
		tree_drop(r->to, chunk);
	return 0;
}

/* Keys of items of one inode that differ. */
struct differing {
	uint64_t ino;
	struct key keys[SYNC_KEYS];
	unsigned count;
};

static int differs(void *arg, const struct item *a, const struct item *b)
{
	const struct key *key = a ? &a->key : &b->key;
	struct differing *d = arg;

	/* Entries are the last items of a directory: end. */
	if (key->ino != d->ino || key->kind == ITEM_DIRENT)
		return 1;
	if (key->kind == ITEM_XATTR || key->kind == ITEM_EXTENT)
		d->keys[d->count++] = *key;
	return d->count == SYNC_KEYS ? 2 : 0;
}

/*
 * Find further differing items from *from on; r->to and r->from have the inode
 * under the same number.  Return 0 at the end, 1 if there may be more.
 */
static int differing_find(struct restore *r, struct key *from,
                          struct differing *d)
{
	int err;

	d->count = 0;
	err = tree_diff(r->from, r->to, from, DIFF_NODES, differs, d);
	if (err == 2) {
		*from = d->keys[d->count - 1];
		key_step(from);
	}
	return err == 1 ? 0 : err == 2 || err == -EAGAIN ? 1 : err;
}

/* Find further items of an inode of the source, whose copy has none yet. */
static int copied_find(struct restore *r, struct key *from, struct differing *d)
{
	struct cursor cursor;
	struct item item;
	int err = cursor_seek(&cursor, r->from, from, &item);

	d->count = 0;
	for (; !err; err = cursor_next(&cursor, &item)) {
		if (item.key.ino != d->ino || item.key.kind == ITEM_DIRENT)
			return 0;
		*from = item.key;
		if (d->count == SYNC_KEYS)
			return 1;
		if (item.key.kind == ITEM_XATTR || item.key.kind == ITEM_EXTENT)
			d->keys[d->count++] = item.key;
	}
	return err == -ENOENT ? 0 : err;
}

/*
 * Remove the xattrs of `to` that the source's inode `from`, which has another
 * number, does not have.
 */
static int extra_remove(struct restore *r, uint64_t from, uint64_t to)
{
	struct key key = {.ino = to, .kind = ITEM_XATTR};
	struct item item, other;
	struct vnode v;
	int err = restore_load(r, to, &v);

	while (!err && !(err = tree_seek(r->to, &key, &item))) {
		if (item.key.ino != to || item.key.kind != ITEM_XATTR)
			break;
		key = item.key;
		key.ino = from;
		if (tree_get(r->from, &key, &other) == -ENOENT)
			err = restore_item(r, &v, &key);
		key.ino = to;
		key_step(&key);
	}
	err = err == -ENOENT ? 0 : err;
	return err ? err : vnode_store(&v);
}

static int items_sync(struct restore *r, uint64_t from, uint64_t to)
{
	struct key at = {.ino = from, .kind = ITEM_XATTR};
	struct differing d = {.ino = from};
	int more = 1, err = 0;

	while (more == 1 && !err) {
		struct vnode v;
		int stored;

		more = from == to ? differing_find(r, &at, &d)
		                  : copied_find(r, &at, &d);
		if (more < 0)
			return more;
		err = restore_load(r, to, &v);
		for (unsigned i = 0; !err && i < d.count; i++)
			err = restore_item(r, &v, &d.keys[i]);
		stored = vnode_store(&v);
		err = err ? err : stored;
		r->work += d.count;
		if (!err)
			err = restore_pause(r);
	}
	return err;
}

int restore_sync(struct restore *r, uint64_t from, uint64_t to)
{
	struct inode source;
	struct vnode v;
	int err = inode_load(r->from, from, &source);
	bool dir = S_ISDIR(source.mode);

	if (!err)
		err = restore_load(r, to, &v);
	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	/* No data may lie beyond the end, whenever the lock is released. */
	if (!dir && v.inode.size < source.size) {
		v.inode.size = source.size;
		err = vnode_store(&v);
	}
	if (!err && from != to)
		err = extra_remove(r, from, to);
	if (!err)
		err = items_sync(r, from, to);
	if (!err)
		err = restore_load(r, to, &v);
	if (err)
		return err;
	source.nlink = v.inode.nlink;
	source.blocks = v.inode.blocks;
	source.xattrs = v.inode.xattrs;
	if (dir)
		source.size = v.inode.size;
	if (from != to)
		source.ctime = source.btime = time_now();
	v.inode = source;
	return vnode_store(&v);
}

/* ---- Adding ------------------------------------------------------------- */

/* Make an orphan with the source's attributes, without content and xattrs. */
static int inode_make(struct restore *r, uint64_t ino,
                      const struct inode *source)
{
	struct vnode v = {
	        .fs = r->fs, .state = &r->state, .tree = r->to, .ino = ino};
	int err;

	v.inode = *source;
	v.inode.nlink = 0;
	v.inode.blocks = 0;
	v.inode.xattrs = 0;
	if (S_ISDIR(source->mode))
		v.inode.size = 0;
	err = orphan_add(&v);
	if (!err)
		err = vnode_store(&v);
	if (!err)
		state_count(&r->state, 1, 0);
	return err;
}

/*
 * Find or make the inode for an inode of the source.  *ret_done: it has been
 * restored already, under another name.
 */
static int inode_choose(struct restore *r, uint64_t from,
                        const struct inode *source, uint64_t *ret_ino,
                        bool *ret_done)
{
	bool many = !S_ISDIR(source->mode) && source->nlink > 1;
	struct restored_link want = {.from = from}, **found;
	struct vnode v;
	uint64_t ino = from;
	int err;

	found = many ? tfind(&want, &r->links, number_compare) : NULL;
	*ret_done = found;
	if (found) {
		*ret_ino = (*found)->to;
		return 0;
	}
	err = restore_load(r, from, &v);
	*ret_done = !err && many && v.inode.nlink && has_name_inside(r, from);
	/* An inode elsewhere in the fork keeps the number. */
	if (!err && v.inode.nlink && !*ret_done)
		err = ino_new(r->fs->store, INO_END, &ino);
	else if (!err)
		goto out;
	if (!err || err == -ENOENT)
		err = inode_make(r, ino, source);
out:
	if (!err && many)
		err = links_add(r, from, ino);
	if (!err)
		*ret_ino = ino;
	return err;
}

/*
 * Remove the ORPHAN item.  The fork's record stays: its head may have orphans
 * that the side head lacks.
 */
static int orphan_end(struct restore *r, uint64_t ino)
{
	const struct key key = {.kind = ITEM_ORPHAN, .off = ino};
	int err = tree_del(r->to, &key);

	return err == -ENOENT ? 0 : err;
}

static int link_add(struct restore *r, uint64_t dir, const char *name,
                    uint64_t ino)
{
	struct vnode v, child;
	uint64_t slot;
	int err = restore_load(r, dir, &v);

	if (!err)
		err = restore_load(r, ino, &child);
	if (!err)
		err = slot_free(r->to, dir, ITEM_DIRENT, 0, name, strlen(name),
		                &slot);
	if (!err && !child.inode.nlink)
		err = orphan_end(r, ino);
	if (!err)
		err = backref_put(&child, dir, name);
	if (!err)
		err = dirent_put(&v, slot, name, &child);
	if (err)
		return err;
	child.inode.nlink += S_ISDIR(child.inode.mode) ? 2 : 1;
	v.inode.nlink += S_ISDIR(child.inode.mode);
	v.inode.size++;
	err = vnode_store(&child);
	return err ? err : vnode_store(&v);
}

int restore_attach(struct restore *r, uint64_t dir, const char *name,
                   uint64_t from, uint64_t *ret_ino)
{
	struct inode source;
	uint64_t ino = 0;
	bool done = false;
	int err = inode_load(r->from, from, &source);

	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	err = inode_choose(r, from, &source, &ino, &done);
	/* An inode that has lost a name has a new ctime: restore it, too. */
	if (!err && (!done || ino == from))
		err = restore_sync(r, from, ino);
	if (!err)
		err = link_add(r, dir, name, ino);
	if (!err)
		*ret_ino = ino;
	return err;
}
