/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The copies of inodes that a clone makes. */
#include "clone_inode.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "dir.h"
#include "dirent_item.h"
#include "extent.h"

struct vnode clone_vnode(struct clone *c, uint64_t ino)
{
	return (struct vnode){
	        .fs = c->fs, .state = c->state, .tree = c->tree, .ino = ino};
}

int clone_item(struct vnode *v, const struct item *item)
{
	struct key key = item->key;
	uint8_t value[TREE_VALUE_MAX];
	uint64_t chunk = item_chunk(item), mine = 0;
	struct extent extent;
	struct xattr_item xattr;
	size_t len = item->len;
	int err = 0;

	key.ino = v->ino;
	if (!chunk)
		return tree_put(v->tree, &key, item->value, item->len);
	if (item->key.kind == ITEM_EXTENT)
		err = extent_decode(item->value, item->len, &extent);
	else
		err = xattr_decode(item->value, item->len, &xattr);
	if (!err)
		err = chunk_clone(v->tree, chunk, &mine);
	if (err)
		return err;
	extent.chunk = xattr.chunk = mine;
	len = item->key.kind == ITEM_EXTENT ? extent_encode(&extent, value)
	                                    : xattr_encode(&xattr, value);
	err = tree_put(v->tree, &key, value, len);
	if (err)
		tree_drop(v->tree, mine);
	return err;
}

/* Return the 512-byte blocks that an item adds to its inode's count. */
static uint64_t item_blocks(const struct item *item)
{
	struct extent extent;

	if (item->key.kind != ITEM_EXTENT ||
	    extent_decode(item->value, item->len, &extent))
		return 0;
	return ext_blocks(&(struct ext){extent.kind, extent.len, 0});
}

/*
 * Copy xattrs and at most `budget` extents; the cursor stands before them.
 * -EAGAIN: there are more extents, from index *ret_next on.
 */
static int items_copy(struct vnode *v, uint64_t from, struct cursor *cursor,
                      unsigned budget, uint64_t *ret_next)
{
	struct item item;
	int err;

	while (!(err = cursor_next(cursor, &item)) && item.key.ino == from) {
		uint64_t more = item_blocks(&item);

		if (item.key.kind == ITEM_EXTENT && !budget--) {
			*ret_next = item.key.off;
			return -EAGAIN;
		}
		if (item.key.kind != ITEM_XATTR && item.key.kind != ITEM_EXTENT)
			continue;
		err = quota_check(v->state, 0, more);
		if (!err)
			err = clone_item(v, &item);
		if (err)
			return err;
		v->inode.xattrs += item.key.kind == ITEM_XATTR;
		v->inode.blocks += more;
		state_count(v->state, 0, more);
	}
	return err == -ENOENT ? 0 : err;
}

/* Return the inode of a new copy, without any items yet. */
static struct inode inode_copy(const struct inode *from)
{
	struct inode inode = *from;

	inode.ctime = inode.btime = time_now();
	inode.xattrs = 0;
	inode.blocks = 0;
	inode.nlink = 1;
	if (S_ISDIR(inode.mode)) {
		inode.nlink = 2;
		inode.size = 0;
	}
	return inode;
}

/* Put the first back reference of a new inode. */
static int link_first(struct vnode *v, uint64_t parent,
                      const struct clone_entry *entry)
{
	struct key key = {.ino = v->ino, .kind = ITEM_BACKREF};
	struct backref_item b = {parent, entry->name_len, entry->name};
	uint8_t value[TREE_VALUE_MAX];

	key.off =
	        slot_first(v->fs->store, parent, entry->name, entry->name_len);
	return tree_put(v->tree, &key, value, backref_encode(&b, value));
}

int clone_inode_make(struct clone *c, uint64_t parent,
                     struct clone_entry *entry, struct vnode *ret)
{
	struct vnode v = clone_vnode(c, entry->to);
	uint64_t next = 0;
	bool more;
	int err;

	v.inode = inode_copy(&entry->inode);
	err = quota_check(c->state, 1, 0);
	if (err)
		return err;
	err = link_first(&v, parent, entry);
	if (!err && (entry->inode.xattrs || !S_ISDIR(v.inode.mode)))
		err = items_copy(&v, entry->from, &entry->cursor, BATCH_EXTENTS,
		                 &next);
	more = err == -EAGAIN;
	if (!err || more)
		err = vnode_store(&v);
	if (err) {
		vnode_discard(&v);
		return err;
	}
	state_count(c->state, 1, 0);
	if (more) {
		c->file = v;
		c->file_from = entry->from;
		c->file_next = next;
	}
	*ret = v;
	return 0;
}

int clone_inode_link(struct clone *c, uint64_t parent,
                     const struct clone_entry *entry)
{
	struct vnode v = clone_vnode(c, entry->to);
	int err = inode_load(c->tree, v.ino, &v.inode);

	if (!err)
		err = backref_put(&v, parent, entry->name);
	if (err)
		return err;
	v.inode.nlink++;
	err = vnode_store(&v);
	if (err)
		backref_del(&v, parent, entry->name);
	/* clone_file_continue() stores this copy of the inode later. */
	else if (c->file.ino == v.ino)
		c->file.inode.nlink++;
	return err;
}

int clone_file_continue(struct clone *c)
{
	struct key key = {c->file_from, ITEM_EXTENT, c->file_next};
	struct cursor cursor;
	struct item item;
	struct vnode v = clone_vnode(c, c->file.ino);
	int stored, err = 0;

	v.inode = c->file.inode;
	for (unsigned n = 0; n < BATCH_EXTENTS; n++) {
		uint64_t more = 0;

		err = n ? cursor_next(&cursor, &item)
		        : cursor_seek(&cursor, c->source, &key, &item);
		if (!err && item.key.ino != key.ino)
			err = -ENOENT;
		if (!err)
			more = item_blocks(&item);
		if (!err)
			err = quota_check(v.state, 0, more);
		if (!err)
			err = clone_item(&v, &item);
		if (err)
			break;
		c->file_next = item.key.off + 1;
		v.inode.blocks += more;
		state_count(c->state, 0, more);
	}
	stored = vnode_store(&v);
	c->file = v;
	if (err == -ENOENT) {
		c->file.ino = 0;
		err = 0;
	}
	return err ? err : stored;
}

/* ---- Links -------------------------------------------------------------- */

static int link_compare(const void *a, const void *b)
{
	const struct link *left = a, *right = b;

	return (left->from > right->from) - (left->from < right->from);
}

int clone_inode_number(struct clone *c, struct clone_entry *entry)
{
	struct link want = {.from = entry->from}, *link, **found;
	int err;

	if (S_ISDIR(entry->inode.mode) || entry->inode.nlink < 2)
		return ino_new(c->fs->store, INO_END, &entry->to);
	found = tfind(&want, &c->links, link_compare);
	if (found) {
		entry->to = (*found)->to;
		entry->again = true;
		return 0;
	}
	err = ino_new(c->fs->store, INO_END, &want.to);
	link = err ? NULL : malloc(sizeof(*link));
	if (!link)
		return err ? err : -ENOMEM;
	*link = want;
	if (!tsearch(link, &c->links, link_compare)) {
		free(link);
		return -ENOMEM;
	}
	entry->to = want.to;
	return 0;
}
