/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extents of files, and the counts of blocks that follow from them.
 */
#include "extent.h"

#include <errno.h>

#include "cut.h"
#include "inode.h"

enum { HINTS_MAX = 1024 }; /* most chunks compared in one hold of the lock */

static int ext_decode(const struct item *item, struct ext *ret)
{
	struct extent extent;
	int err = extent_decode(item->value, item->len, &extent);

	if (err)
		return err;
	*ret = (struct ext){extent.kind, extent.len, extent.chunk};
	return 0;
}

int ext_list(struct tree *tree, uint64_t ino, uint64_t first, size_t count,
             struct ext *ret)
{
	struct key key = {.ino = ino, .kind = ITEM_EXTENT, .off = first};
	struct cursor cursor;
	struct item item;
	int err;

	memset(ret, 0, count * sizeof(*ret));
	if (count == 1) {
		err = tree_get(tree, &key, &item);
		return err == -ENOENT ? 0 : err ? err : ext_decode(&item, ret);
	}
	for (err = cursor_seek(&cursor, tree, &key, &item); !err;
	     err = cursor_next(&cursor, &item)) {
		if (item.key.ino != ino || item.key.kind != ITEM_EXTENT ||
		    item.key.off - first >= count)
			return 0;
		err = ext_decode(&item, &ret[item.key.off - first]);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

int ext_inline(struct tree *tree, uint64_t ino,
               uint8_t ret_data[EXTENT_INLINE_MAX])
{
	struct key key = {.ino = ino, .kind = ITEM_EXTENT};
	struct extent extent;
	struct item item;
	int err = tree_get(tree, &key, &item);

	if (!err)
		err = extent_decode(item.value, item.len, &extent);
	if (!err &&
	    (extent.kind != EXTENT_INLINE || extent.len > EXTENT_INLINE_MAX))
		err = -EUCLEAN;
	if (!err)
		memcpy(ret_data, extent.data, extent.len);
	return err;
}

/* Note the lost chunk, in case another is written in its place: see cut.h. */
static void ext_lost(struct vnode *v, uint64_t index, uint64_t chunk)
{
	uint64_t stored = chunk_replaced(v->tree, chunk);

	if (v->inode.nlink && stored)
		cut_note(v, index, stored);
}

int ext_replace(struct vnode *v, uint64_t index, const struct ext *old,
                const struct ext *to, const uint8_t *data)
{
	struct key key = {.ino = v->ino, .kind = ITEM_EXTENT, .off = index};
	struct extent extent = {to->kind, to->len, to->chunk, data};
	uint8_t value[TREE_VALUE_MAX];
	uint64_t more = ext_blocks(to) - ext_blocks(old);
	int err = 0;

	if (to->kind)
		err = tree_put(v->tree, &key, value,
		               extent_encode(&extent, value));
	else if (old->kind)
		err = tree_del(v->tree, &key);
	if (err)
		return err;
	if (old->kind == EXTENT_CHUNK && to->kind != EXTENT_CHUNK)
		ext_lost(v, index, old->chunk);
	if (old->kind == EXTENT_CHUNK &&
	    (to->kind != EXTENT_CHUNK || to->chunk != old->chunk))
		tree_drop(v->tree, old->chunk);
	/* Arithmetic modulo 2^64: correct for a decrease, too. */
	v->inode.blocks += more;
	state_count(v->state, 0, more);
	return 0;
}

int ext_add_chunk(struct vnode *v, uint64_t index, const struct ext *old,
                  struct chunk *chunk)
{
	struct ext to = {EXTENT_CHUNK, chunk_len(chunk), 0};
	int err;

	to.chunk = chunk_add(v->tree, chunk,
	                     old->kind == EXTENT_CHUNK ? old->chunk
	                                               : cut_take(v, index));
	err = ext_replace(v, index, old, &to, NULL);
	if (err)
		tree_drop(v->tree, to.chunk);
	return err;
}

void ext_hint(struct vnode *v, struct tree *tree, uint64_t ino)
{
	struct key key = {.ino = ino, .kind = ITEM_EXTENT};
	struct cursor cursor;
	struct item item;
	struct ext old, new;
	int n = 0;

	if (cursor_seek(&cursor, tree, &key, &item))
		return;
	do {
		if (item.key.ino != ino || item.key.kind != ITEM_EXTENT)
			return;
		if (ext_decode(&item, &old) || old.kind != EXTENT_CHUNK ||
		    ext_list(v->tree, v->ino, item.key.off, 1, &new) ||
		    new.kind != EXTENT_CHUNK)
			continue;
		chunk_replaces(v->tree, new.chunk, old.chunk);
	} while (++n < HINTS_MAX && !cursor_next(&cursor, &item));
}

int ext_cut(struct vnode *v, uint64_t first, unsigned budget)
{
	struct key key = {.ino = v->ino, .kind = ITEM_EXTENT, .off = first};
	const struct ext hole = {0};
	struct item item;
	struct ext old;
	int err;

	for (;;) {
		err = tree_seek(v->tree, &key, &item);
		if (err == -ENOENT || (!err && (item.key.ino != v->ino ||
		                                item.key.kind != ITEM_EXTENT)))
			return vnode_store(v);
		if (!err && !budget--) {
			err = vnode_store(v);
			return err ? err : -EAGAIN;
		}
		if (!err)
			err = ext_decode(&item, &old);
		if (!err)
			err = ext_replace(v, item.key.off, &old, &hole, NULL);
		if (err)
			break;
	}
	/* Store the count of blocks after a failure, too. */
	vnode_store(v);
	return err;
}
