/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cloning subtrees, item by item.
 *
 * The copy grows below a directory without a name, the box, which is an orphan
 * and, unless it is in a side head, counts as open.  The last step moves the
 * copy out of the box to its name, and removes the box.  If the clone fails
 * before, the box is deleted like any orphan, with everything in it.
 *
 * Whenever the lock is released, the copy is consistent: the counts of its
 * inodes are those of the entries and extents copied so far.  New inode numbers
 * are drawn in the order in which the items are put, so that most items are
 * appended to the tree, which leaves full nodes.  For the same reason a
 * directory gets its files first, then one subdirectory after the other.
 */
#include "fs.h"

#include <dirent.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "clone_inode.h"
#include "dirent_item.h"
#include "open_table.h"
#include "orphan.h"

/* ---- Entries ------------------------------------------------------------ */

/* Read the inode that an entry of the source names. */
static int entry_load(struct clone *c, struct clone_entry *entry)
{
	struct key key = {.ino = entry->from, .kind = ITEM_INODE};
	struct item item;
	int err = cursor_seek(&entry->cursor, c->source, &key, &item);

	if (!err && key_compare(&key, &item.key))
		err = -ENOENT;
	if (!err)
		err = inode_decode(item.value, item.len, &entry->inode);
	return err == -ENOENT ? -EUCLEAN : err;
}

static int entry_decode(const struct item *item, struct clone_entry *entry)
{
	struct dirent_item d;
	int err = dirent_decode(item->value, item->len, &d);

	if (err)
		return err;
	entry->from = d.ino;
	entry->slot = item->key.off;
	entry->type = d.type;
	entry->again = false;
	entry->name_len = d.name_len;
	memcpy(entry->name, d.name, d.name_len);
	entry->name[d.name_len] = 0;
	return 0;
}

/* Estimate the number of extents of the entry, at most BATCH_EXTENTS + 1. */
static unsigned entry_extents(const struct clone *c,
                              const struct clone_entry *entry)
{
	uint64_t count = S_ISREG(entry->inode.mode)
	                         ? entry->inode.size >> c->fs->chunk_bits
	                         : 0;

	return (unsigned)MIN(count, BATCH_EXTENTS) + 1;
}

/*
 * Read the next files of the directory, or the next subdirectory alone, into
 * the batch.
 */
static int batch_read(struct clone *c, struct frame *frame)
{
	struct key key = {frame->from, ITEM_DIRENT, frame->after + 1};
	unsigned extents = 0;
	struct cursor cursor;
	struct item item;
	int err = cursor_seek(&cursor, c->source, &key, &item);

	c->batch_count = c->looked = 0;
	for (; !err; err = cursor_next(&cursor, &item)) {
		struct clone_entry *entry = &c->batch[c->batch_count];

		if (item.key.ino != frame->from || item.key.kind != ITEM_DIRENT)
			break;
		if (c->batch_count == BATCH_ENTRIES ||
		    extents >= BATCH_EXTENTS || c->looked == LOOK_ENTRIES)
			return 0;
		c->looked++;
		err = entry_decode(&item, entry);
		if (err)
			return err;
		frame->after = entry->slot;
		if ((entry->type == DT_DIR) != frame->files_done)
			continue;
		err = entry_load(c, entry);
		if (err)
			return err;
		extents += entry_extents(c, entry);
		c->batch_count++;
		if (frame->files_done)
			return 0;
	}
	if (err && err != -ENOENT)
		return err;
	frame->at_end = frame->files_done || !frame->subdirs;
	frame->files_done = true;
	frame->after = 0;
	return 0;
}

/* Remove the names of the batch's entries from index `from` on. */
static void batch_undo(struct clone *c, struct frame *frame, size_t from)
{
	for (size_t i = from; i < c->batch_count; i++) {
		struct key key = {frame->dir.ino, ITEM_DIRENT,
		                  c->batch[i].slot};

		if (!tree_del(c->tree, &key))
			frame->dir.inode.size--;
	}
}

/*
 * Put the names of the batch into the directory's copy.  The slots are the same
 * as in the source: they depend only on the names in the directory.
 */
static int batch_names(struct clone *c, struct frame *frame)
{
	struct vnode dir = clone_vnode(c, frame->dir.ino), child = dir;

	for (size_t i = 0; i < c->batch_count; i++) {
		struct clone_entry *entry = &c->batch[i];
		int err = clone_inode_number(c, entry);

		child.ino = entry->to;
		child.inode.mode = entry->inode.mode;
		if (!err)
			err = dirent_put(&dir, entry->slot, entry->name,
			                 &child);
		if (err) {
			c->batch_count = i;
			batch_undo(c, frame, 0);
			return err;
		}
		frame->dir.inode.size++;
	}
	return 0;
}

static int frame_push(struct clone *c, uint64_t from, bool subdirs,
                      const struct vnode *dir)
{
	if (c->depth == c->capacity) {
		size_t capacity = c->capacity ? 2 * c->capacity : 16;
		struct frame *frames =
		        realloc(c->frames, capacity * sizeof(*frames));

		if (!frames)
			return -ENOMEM;
		c->frames = frames;
		c->capacity = capacity;
	}
	c->frames[c->depth++] =
	        (struct frame){.from = from, .dir = *dir, .subdirs = subdirs};
	return 0;
}

/* Copy the entries of the batch into the directory at `depth`. */
static int batch_write(struct clone *c, size_t depth)
{
	struct frame *frame = &c->frames[depth];
	int err = batch_names(c, frame);

	frame->dirty = true;
	for (size_t i = 0; !err && i < c->batch_count; i++) {
		struct clone_entry *entry = &c->batch[i];
		struct vnode v;

		err = entry->again
		              ? clone_inode_link(c, frame->dir.ino, entry)
		              : clone_inode_make(c, frame->dir.ino, entry, &v);
		if (err) {
			batch_undo(c, frame, i);
			return err;
		}
		c->entries++;
		if (!c->top.ino)
			c->top = v;
		if (!S_ISDIR(entry->inode.mode))
			continue;
		/* The box, at depth 0, keeps a link count of 0. */
		if (depth)
			frame->dir.inode.nlink++;
		err = frame_push(c, entry->from, entry->inode.nlink != 2, &v);
		frame = &c->frames[depth];
	}
	return err;
}

/* ---- Pieces ------------------------------------------------------------- */

/* Store the inodes of the directories that entries were added to. */
static int frames_store(struct clone *c)
{
	int err = 0;

	for (size_t i = 0; i < c->depth; i++) {
		struct frame *frame = &c->frames[i];
		int stored;

		if (!frame->dirty)
			continue;
		stored =
		        inode_store(c->tree, frame->dir.ino, &frame->dir.inode);
		frame->dirty = false;
		err = err ? err : stored;
	}
	return err;
}

/* Prepare the target for changes in this hold of the lock. */
static int piece_begin(struct clone *c)
{
	struct inode inode;
	int err = 0;

	if (c->side) {
		c->state = &c->side_state;
		side_state(c->side, NULL, c->state);
	} else {
		err = state_get(c->fs->forest, NODE_STATE(c->parent),
		                &c->state);
	}
	if (!err)
		err = state_edit(c->state, &c->tree);
	/* A restoration or a join may have replaced the tree meanwhile. */
	if (!err && c->box && inode_load(c->tree, c->box, &inode))
		err = -ESTALE;
	return err;
}

/* Copy some more.  -EAGAIN: there is more to do. */
static int clone_piece(struct clone *c)
{
	struct frame *frame = &c->frames[c->depth - 1];
	int stored, err = piece_begin(c);

	if (err)
		return err;
	if (c->file.ino) {
		err = clone_file_continue(c);
		return err ? err : -EAGAIN;
	}
	if (c->depth == 1)
		return 0;
	for (unsigned n = 0; !err && n < BATCH_ENTRIES && c->depth > 1;) {
		frame = &c->frames[c->depth - 1];
		if (frame->at_end) {
			if (frame->dirty)
				err = inode_store(c->tree, frame->dir.ino,
				                  &frame->dir.inode);
			c->depth--;
			continue;
		}
		err = batch_read(c, frame);
		if (!err && c->batch_count)
			err = batch_write(c, c->depth - 1);
		n += (unsigned)(c->batch_count + c->looked / 8 + 1);
		if (c->file.ino)
			break;
	}
	stored = frames_store(c);
	err = err ? err : stored;
	return err ? err : -EAGAIN;
}

/* ---- The box ------------------------------------------------------------ */

/* Load the target's directory from a side head. */
static int side_dir_load(struct clone *c, struct vnode *ret_dir)
{
	int err = piece_begin(c);

	if (err)
		return err;
	*ret_dir = clone_vnode(c, NODE_INO(c->parent));
	err = inode_load(c->tree, ret_dir->ino, &ret_dir->inode);
	if (!err && !S_ISDIR(ret_dir->inode.mode))
		err = -ENOTDIR;
	return err;
}

/* Check that the name can be added to the target's directory. */
static int target_check(struct clone *c, struct vnode *ret_dir,
                        uint64_t *ret_slot)
{
	int err = c->side ? side_dir_load(c, ret_dir)
	                  : dir_load_rw(c->fs, c->parent, ret_dir);

	if (!err)
		err = dir_check_name(ret_dir, c->name);
	return err ? err
	           : slot_free(ret_dir->tree, ret_dir->ino, ITEM_DIRENT, 0,
	                       c->name, strlen(c->name), ret_slot);
}

static int box_make(struct clone *c)
{
	struct vnode box = clone_vnode(c, 0);
	int err = ino_new(c->fs->store, INO_END, &box.ino);

	box.inode = (struct inode){.mode = S_IFDIR, .ctime = time_now()};
	if (!err && !c->side)
		err = open_add(c->fs, vnode_node(&box), true);
	if (err)
		return err;
	c->box = box.ino;
	err = vnode_store(&box);
	if (!err)
		state_count(c->state, 1, 0);
	if (!err)
		err = orphan_add(&box);
	return err ? err : frame_push(c, 0, false, &box);
}

/* Hold the source, make the box, and copy the first inode into it. */
static int clone_begin(struct clone *c)
{
	struct clone_entry *entry = &c->batch[0];
	struct vnode dir, from;
	uint64_t slot;
	int stored, err = target_check(c, &dir, &slot);

	if (!err && !c->source) {
		err = vnode_load(c->fs, c->from, &from);
		if (!err)
			err = state_hold(from.state, &c->hold);
		if (!err)
			c->source = hold_tree(&c->hold);
	}
	if (err)
		return err;
	*entry = (struct clone_entry){.from = NODE_INO(c->from), .slot = slot};
	entry->name_len = (uint8_t)strlen(c->name);
	memcpy(entry->name, c->name, entry->name_len);
	err = entry_load(c, entry);
	c->batch_count = 1;
	if (!err)
		err = piece_begin(c);
	if (!err)
		err = box_make(c);
	if (!err)
		err = batch_write(c, 0);
	stored = c->depth ? frames_store(c) : 0;
	return err ? err : stored;
}

/* Move the copy out of the box, which is removed, to its name. */
static int clone_end(struct clone *c)
{
	struct key key = {c->box, ITEM_DIRENT, 0};
	struct vnode dir, box, top;
	struct item item;
	uint64_t slot;
	int err = target_check(c, &dir, &slot);

	if (!err)
		err = piece_begin(c);
	if (err)
		return err;
	dir.tree = c->tree;
	top = clone_vnode(c, c->top.ino);
	box = clone_vnode(c, c->box);
	err = inode_load(c->tree, top.ino, &top.inode);
	if (!err)
		err = backref_put(&top, dir.ino, c->name);
	if (!err)
		err = dirent_put(&dir, slot, c->name, &top);
	if (err)
		return err;
	dir.inode.size++;
	dir.inode.nlink += S_ISDIR(top.inode.mode);
	vnode_touch(&dir);
	err = vnode_store(&dir);
	if (!err)
		err = tree_seek(c->tree, &key, &item);
	key.off = item.key.off;
	if (!err)
		err = tree_del(c->tree, &key);
	if (!err)
		err = backref_del(&top, box.ino, c->name);
	key = (struct key){c->box, ITEM_INODE, 0};
	if (!err)
		err = tree_del(c->tree, &key);
	if (err)
		return err;
	state_count(c->state, -UINT64_C(1), 0);
	return orphan_del(&box);
}

/* ---- All of it ---------------------------------------------------------- */

static int clone_run(struct clone *c)
{
	bool begun = false;
	int err;

	do {
		err = store_throttle(c->fs->store, true);
		if (err)
			return err;
		store_lock(c->fs->store);
		err = begun ? clone_piece(c) : clone_begin(c);
		if (!err && begun)
			err = clone_end(c);
		else if (!err)
			err = -EAGAIN;
		begun = true;
		store_unlock(c->fs->store);
	} while (err == -EAGAIN && !(err = store_yield(c->fs->store)));
	return err;
}

/* Make the clone; free the memory and release the hold in any case. */
static int clone_all(struct clone *c)
{
	int err = clone_run(c);

	store_lock(c->fs->store);
	hold_release(c->fs->forest, &c->hold);
	store_unlock(c->fs->store);
	/* Drop the open of the box, which deletes it if it still exists. */
	if (c->box && !c->side)
		fs_release(c->fs, NODE(NODE_STATE(c->parent), c->box));
	tdestroy(c->links, free);
	free(c->frames);
	return err;
}

int fs_prepare_clone(struct fs *fs, struct fs_prepared *prepared, uint64_t from,
                     uint64_t parent, const char *name)
{
	struct clone *c = calloc(1, sizeof(*c));
	int err = store_throttle(fs->store, true);

	if (!c || err) {
		free(c);
		return err ? err : -ENOMEM;
	}
	c->fs = fs;
	c->from = NODE(0, from);
	c->parent = NODE(0, parent);
	c->name = name;
	c->side = &prepared->trees.now.side;
	c->source = hold_tree(&prepared->trees.theirs);
	store_lock(fs->store);
	err = prepared_begin(prepared);
	store_unlock(fs->store);
	if (!err)
		err = clone_all(c);
	if (!err) {
		store_lock(fs->store);
		prepared_end(prepared);
		store_unlock(fs->store);
	}
	free(c);
	return err;
}

int fs_clone(struct fs *fs, node_t from, node_t parent, const char *name,
             struct fs_cloned *ret_cloned)
{
	struct clone *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->fs = fs;
	c->from = from;
	c->parent = parent;
	c->name = name;
	err = clone_all(c);
	if (!err) {
		ret_cloned->node = NODE(NODE_STATE(parent), c->top.ino);
		ret_cloned->entries = c->entries;
	}
	free(c);
	return err;
}
