/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Collecting the inodes that differ between the trees of a join. */
#include "join_faces.h"

#include <errno.h>

#include "array.h"
#include "inode.h"

enum { PIECE_NODES = 64, PIECE_INODES = 64 };

/* Numbers of inodes that differ. */
struct differing {
	uint64_t *inos;
	size_t count, room;
};

struct tree *joined_tree(const struct fs_joined *joined, unsigned face)
{
	return hold_tree(face == JOIN_OURS ? &joined->now.before
	                 : face == JOIN_THEIRS
	                         ? &joined->theirs
	                         : &joined->bases[face - JOIN_BASE]);
}

static int differs(void *arg, const struct item *a, const struct item *b)
{
	struct differing *d = arg;
	uint64_t ino = a ? a->key.ino : b->key.ino, *added;

	if (!ino || (d->count && d->inos[d->count - 1] == ino))
		return 0;
	added = array_add(&d->inos, &d->count, &d->room);
	if (!added)
		return -ENOMEM;
	*added = ino;
	return 0;
}

static int trees_compare(struct fs *fs, struct tree *a, struct tree *b,
                         struct differing *d)
{
	struct key from = {0};
	int err;

	do {
		store_lock(fs->store);
		err = tree_diff(a, b, &from, PIECE_NODES, differs, d);
		store_unlock(fs->store);
	} while (err == -EAGAIN && !(err = store_yield(fs->store)) &&
	         (err = -EAGAIN));
	return err;
}

/* Add the name or the xattr of an item to the face. */
static int face_item(struct join_plan *plan, struct join_face *face,
                     unsigned index, const struct item *item)
{
	struct backref_item backref;
	struct xattr_item xattr;
	int err;

	if (item->key.kind == ITEM_BACKREF) {
		err = backref_decode(item->value, item->len, &backref);
		return err ? err
		           : face_add_name(plan, face, backref.parent,
		                           backref.name, backref.name_len);
	}
	if (item->key.kind != ITEM_XATTR)
		return 0;
	err = xattr_decode(item->value, item->len, &xattr);
	return err ? err
	           : face_add_xattr(plan, face, xattr.name, xattr.name_len,
	                            (enum join_side)index);
}

/* Read the inode, its names and xattrs from one tree. */
static int face_read(struct join_plan *plan, struct tree *tree, uint64_t ino,
                     unsigned index, struct join_face *face)
{
	struct key key = {.ino = ino, .kind = ITEM_INODE};
	struct cursor cursor;
	struct item item;
	int err = cursor_seek(&cursor, tree, &key, &item);

	face->ino = ino;
	if (err == -ENOENT || (!err && key_compare(&item.key, &key)))
		return 0;
	if (!err)
		err = inode_decode(item.value, item.len, &face->inode);
	/* Ignore an inode without a name: it is only open in its own state. */
	if (err || !face->inode.nlink)
		return err;
	face->present = true;
	while (!(err = cursor_next(&cursor, &item))) {
		if (item.key.ino != ino || item.key.kind > ITEM_XATTR)
			return 0;
		err = face_item(plan, face, index, &item);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

static int inode_read(struct fs_joined *joined, uint64_t ino)
{
	struct join_inode *inode = plan_add(joined->plan, ino);
	int err = inode ? 0 : -ENOMEM;

	for (unsigned f = 0; !err && f < JOIN_BASE + joined->base_count; f++)
		err = face_read(joined->plan, joined_tree(joined, f), ino, f,
		                &inode->faces[f]);
	return err;
}

static int inodes_read(struct fs *fs, struct fs_joined *joined,
                       const struct differing *d)
{
	int err = plan_create(joined->base_count, &joined->plan);

	for (size_t i = 0; !err && i < d->count;) {
		size_t end = MIN(i + PIECE_INODES, d->count);

		store_lock(fs->store);
		for (; !err && i < end; i++)
			err = inode_read(joined, d->inos[i]);
		store_unlock(fs->store);
		if (!err)
			err = store_yield(fs->store);
	}
	return err;
}

int joined_faces(struct fs *fs, struct fs_joined *joined)
{
	struct differing d = {0};
	int err = 0;

	for (unsigned i = 0; !err && i < joined->base_count; i++) {
		struct tree *base = hold_tree(&joined->bases[i]);

		err = trees_compare(fs, base, hold_tree(&joined->now.before),
		                    &d);
		if (!err)
			err = trees_compare(fs, base,
			                    hold_tree(&joined->theirs), &d);
	}
	if (!err) {
		array_sort(d.inos, d.count, number_compare);
		d.count = numbers_unique(d.inos, d.count);
		err = inodes_read(fs, joined, &d);
	}
	free(d.inos);
	return err;
}
