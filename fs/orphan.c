/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Orphans: inodes that were unlinked, and the tails of files that were
 * truncated, as long as they occupy space.  An ORPHAN item names the inode
 * until all of it is freed, and a record in TABLE_ORPHAN names the state.  Both
 * are written in the same transaction group as the change itself, so a crash
 * loses none.
 *
 * A directory with entries can be an orphan, too: one that was removed in a
 * side head (vnode_lose_name()), or the box of a clone (clone.c) that was not
 * completed.  Deleting it makes orphans of the inodes in it.
 */
#include "orphan.h"

#include <errno.h>

#include "dirent_item.h"
#include "extent.h"
#include "inode.h"
#include "open_table.h"
#include "orphan_cleanup.h"

static struct key orphan_key(uint64_t ino)
{
	return (struct key){.ino = 0, .kind = ITEM_ORPHAN, .off = ino};
}

int orphan_record(struct fs *fs, uint64_t state, bool there)
{
	uint8_t key[8];

	if (!state)
		return 0;
	be64_put(key, state);
	if (there)
		return table_put(fs->store, TABLE_ORPHAN, key, 8, NULL, 0);
	return table_del(fs->store, TABLE_ORPHAN, key, 8);
}

bool orphan_first(struct tree *tree, uint64_t from, uint64_t *ret_ino)
{
	struct key key = orphan_key(from);
	struct item item;

	if (tree_seek(tree, &key, &item) || item.key.ino ||
	    item.key.kind != ITEM_ORPHAN)
		return false;
	*ret_ino = item.key.off;
	return true;
}

int orphan_add(struct vnode *v)
{
	struct key key = orphan_key(v->ino);
	int err = orphan_record(v->fs, v->state->number, true);

	return err ? err : tree_put(v->tree, &key, NULL, 0);
}

int vnode_lose_name(struct vnode *v, struct timestamp now)
{
	int err;

	v->inode.ctime = now;
	if (!S_ISDIR(v->inode.mode) && v->inode.nlink > 1) {
		v->inode.nlink--;
		return vnode_store(v);
	}
	v->inode.nlink = 0;
	err = vnode_store(v);
	return err ? err : orphan_add(v);
}

int orphan_del_at(struct fs *fs, struct state *state, struct tree *tree,
                  uint64_t ino)
{
	struct key key = orphan_key(ino);
	uint64_t other;
	int err = tree_del(tree, &key);

	if (err)
		return err == -ENOENT ? 0 : err;
	if (orphan_first(tree, 0, &other))
		return 0;
	return orphan_record(fs, state->number, false);
}

int orphan_del(struct vnode *v)
{
	return orphan_del_at(v->fs, v->state, v->tree, v->ino);
}

/* Make an inode that has lost its last name an orphan, to be freed later. */
static int child_orphan(struct vnode *child)
{
	struct open_node *o;
	int err;

	child->inode.nlink = 0;
	o = open_keep(child->fs, vnode_node(child), S_ISREG(child->inode.mode));
	err = orphan_add(child);
	if (!err)
		err = vnode_store(child);
	if (o)
		o->orphan = !err;
	return err;
}

/*
 * Remove an entry of an orphaned directory.  The inode of the entry becomes an
 * orphan if it has no other name.
 */
static int child_remove(struct vnode *dir, const struct item *item)
{
	struct vnode child = *dir;
	struct key key = item->key;
	char name[NAME_LEN_MAX + 1];
	struct dirent_item d;
	uint64_t other;
	int err = dirent_decode(item->value, item->len, &d);

	if (err)
		return err;
	memcpy(name, d.name, d.name_len);
	name[d.name_len] = 0;
	child.ino = d.ino;
	err = tree_del(dir->tree, &key);
	if (err)
		return err;
	dir->inode.size--;
	err = inode_load(dir->tree, child.ino, &child.inode);
	if (!err)
		err = backref_del(&child, dir->ino, name);
	if (err)
		return err == -ENOENT ? 0 : err;
	child.inode.ctime = time_now();
	if (S_ISDIR(child.inode.mode)) {
		err = dir_parent(dir->tree, child.ino, &other);
		return err == -ENOENT ? child_orphan(&child) : err;
	}
	if (child.inode.nlink > 1) {
		child.inode.nlink--;
		return vnode_store(&child);
	}
	return child_orphan(&child);
}

/*
 * Remove the items of an inode without a name, at most `budget` extents and
 * `budget` others.  -EAGAIN: there are more.
 */
static int vnode_reap(struct vnode *v, unsigned budget)
{
	struct key key = {.ino = v->ino, .kind = ITEM_INODE};
	struct key next = {.ino = v->ino, .kind = ITEM_INODE + 1};
	struct item item;
	uint64_t chunk;
	int err = ext_cut(v, 0, budget);

	if (err)
		return err;
	while (!(err = tree_seek(v->tree, &next, &item)) &&
	       item.key.ino == v->ino) {
		struct key found = item.key;

		if (!budget--) {
			err = vnode_store(v);
			return err ? err : -EAGAIN;
		}
		chunk = item_chunk(&item);
		err = found.kind == ITEM_DIRENT ? child_remove(v, &item)
		                                : tree_del(v->tree, &found);
		if (err)
			return err;
		if (chunk)
			tree_drop(v->tree, chunk);
		v->inode.xattrs -= found.kind == ITEM_XATTR;
	}
	if (err && err != -ENOENT)
		return err;
	err = tree_del(v->tree, &key);
	if (!err)
		state_count(v->state, -UINT64_C(1), 0);
	return err;
}

int vnode_unlinked(struct vnode *v)
{
	struct open_node *o;
	int err, kept;

	o = open_keep(v->fs, vnode_node(v), S_ISREG(v->inode.mode));
	if (o) {
		err = orphan_add(v);
		if (!err)
			err = vnode_store(v);
		o->orphan = !err;
		return err;
	}
	err = vnode_reap(v, PIECE_ITEMS);
	if (err != -EAGAIN)
		return err;
	kept = orphan_add(v);
	return kept ? kept : -EAGAIN;
}

/*
 * Free a piece of an orphan or of a tail.  *ret_dir is set to true if the
 * orphan is a directory with entries.  -EAGAIN: there is more.
 */
static int orphan_piece(struct fs *fs, node_t node, bool *ret_dir)
{
	struct vnode v;
	int err = vnode_load_rw(fs, node, &v);

	if (!err)
		err = vnode_begin(&v);
	if (err)
		return err;
	if (v.inode.nlink || open_find(fs, node)) {
		uint64_t size = v.inode.size;

		err = ext_cut(&v, (size + fs->chunk_size - 1) >> fs->chunk_bits,
		              PIECE_ITEMS);
		return err || !v.inode.nlink ? err : orphan_del(&v);
	}
	*ret_dir |= S_ISDIR(v.inode.mode) && v.inode.size;
	err = vnode_reap(&v, PIECE_ITEMS);
	return err ? err : orphan_del(&v);
}

int orphan_finish(struct fs *fs, node_t node)
{
	uint32_t blocks = PIECE_ITEMS;
	bool left = false;
	int err;

	do {
		err = store_pace(fs->store, &blocks);
		if (err < 0)
			return err;
		store_lock(fs->store);
		err = orphan_piece(fs, node, &left);
		store_unlock(fs->store);
	} while (err == -EAGAIN && !(err = store_yield(fs->store)));
	/*
	 * The request was cancelled, or a directory's entries became orphans:
	 * orphan cleanup frees the rest.
	 */
	if (err == -EINTR || left)
		orphan_cleanup_push(fs, NODE_STATE(node));
	/* -ESTALE: the state, or the inode, was deleted meanwhile. */
	return err == -ESTALE ? 0 : err;
}

void fs_adopt(struct fs *fs, struct state *state)
{
	uint64_t ino;

	if ((state->flags & STATE_READONLY) ||
	    !orphan_first(state_tree(state), 0, &ino))
		return;
	if (orphan_record(fs, state->number, true) ||
	    orphan_cleanup_push(fs, state->number))
		log_warning("state %s keeps unlinked files", state->name);
}
