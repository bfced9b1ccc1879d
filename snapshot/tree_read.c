/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree_read.h"

#include <errno.h>
#include <sys/stat.h>

#include "snapshot.h"
#include "util.h"

enum { MISSES_MOST = 64 }; /* chunks freed before they were loaded */

void tree_read_release(struct tree_read *read)
{
	for (size_t i = 0; i < read->loaded; i++)
		chunk_unref(read->chunks[i]);
	read->loaded = read->missing = 0;
}

int tree_read_load(struct store *store, struct tree_read *read)
{
	size_t count = read->missing;
	int err = 0;

	tree_read_release(read);
	if (count > 1)
		chunk_prefetch(store, read->wanted, count);
	for (size_t i = 0; !err && i < count; i++) {
		struct chunk *chunk;

		err = chunk_load(store, read->wanted[i], &chunk);
		if (err == -ENOENT && ++read->misses < MISSES_MOST) {
			/* It was freed: the tree names another one by now. */
			err = 0;
		} else if (!err) {
			read->numbers[read->loaded] = read->wanted[i];
			read->chunks[read->loaded++] = chunk;
		}
	}
	return err == -ENOENT ? store_damaged(store, read->wanted[0],
	                                      "a chunk that is missing")
	                      : err;
}

static struct chunk *chunk_have(struct store *store, struct tree_read *read,
                                uint64_t number)
{
	for (size_t i = 0; i < read->loaded; i++)
		if (read->numbers[i] == number)
			return chunk_ref(read->chunks[i]);
	return chunk_find(store, number, NULL);
}

/* Read bytes from … to of the range of an extent. */
static int extent_read(struct tree *tree, struct tree_read *read,
                       const struct item *item, uint32_t from, uint32_t to,
                       uint8_t *out, uint64_t *ret_missing)
{
	struct chunk *chunk;
	struct extent e = {0};
	uint32_t len;
	int err = item ? extent_decode(item->value, item->len, &e) : 0;

	*ret_missing = 0;
	if (err)
		return err;
	len = e.kind == EXTENT_CHUNK || e.kind == EXTENT_INLINE ? e.len : 0;
	len = MIN(len, to) - MIN(MIN(len, to), from);
	if (len && e.kind == EXTENT_INLINE) {
		memcpy(out, e.data + from, len);
	} else if (len) {
		chunk = chunk_have(tree->store, read, e.chunk);
		if (!chunk)
			*ret_missing = e.chunk;
		else if (chunk_len(chunk) < from + len)
			err = -EUCLEAN;
		else
			memcpy(out, chunk_data(chunk) + from, len);
		chunk_unref(chunk);
	}
	if (!err && to - from > len)
		memset(out + len, 0, to - from - len);
	return err;
}

/* Find the extent with this index, from the cursor on. */
static int extent_find(struct tree *tree, struct cursor *cursor, uint64_t ino,
                       uint64_t index, struct item *ret_item)
{
	const struct key key = {ino, ITEM_EXTENT, index};
	enum { STEPS = 4 };
	int err = 0;

	/* The content of a small file is next to its inode. */
	for (int i = 0; i < STEPS; i++) {
		err = cursor_next(cursor, ret_item);
		if (err)
			return err;
		if (key_compare(&ret_item->key, &key) >= 0)
			return key_compare(&ret_item->key, &key) ? -ENOENT : 0;
	}
	err = cursor_seek(cursor, tree, &key, ret_item);
	return err ? err : key_compare(&ret_item->key, &key) != 0 ? -ENOENT : 0;
}

/* Find the inode and leave the cursor at it. */
static int inode_find(struct tree *tree, uint64_t ino, struct cursor *cursor,
                      struct inode *ret_inode)
{
	const struct key key = {ino, ITEM_INODE, 0};
	struct item item;
	int err = cursor_seek(cursor, tree, &key, &item);

	if (err || key_compare(&item.key, &key))
		return err ? err : -ENOENT;
	err = inode_decode(item.value, item.len, ret_inode);
	if (!err && !S_ISREG(ret_inode->mode))
		err = S_ISDIR(ret_inode->mode) ? -EISDIR : -EINVAL;
	return err;
}

int tree_read(struct tree *tree, struct tree_read *read)
{
	uint64_t chunk = store_chunk_size(tree->store), at = read->offset, end;
	uint64_t most = chunk * (TREE_READ_CHUNKS - 1);
	struct cursor cursor;
	struct inode inode;
	int err = inode_find(tree, read->ino, &cursor, &inode);

	read->missing = 0;
	if (err)
		return err;
	end = at < inode.size ? at + MIN(MIN(read->size, most), inode.size - at)
	                      : at;
	while (!err && at < end) {
		uint64_t start = at & ~(chunk - 1);
		uint64_t stop = MIN(end, start + chunk), missing;
		struct item item;

		err = extent_find(tree, &cursor, read->ino, at / chunk, &item);
		if (err && err != -ENOENT)
			break;
		err = extent_read(tree, read, err ? NULL : &item,
		                  (uint32_t)(at - start),
		                  (uint32_t)(stop - start),
		                  read->buffer + (at - read->offset), &missing);
		if (missing)
			read->wanted[read->missing++] = missing;
		at = stop;
		if (at < end)
			err = err ? err
			          : inode_find(tree, read->ino, &cursor,
			                       &inode);
	}
	if (!err && read->missing)
		err = -EAGAIN;
	read->done = (size_t)(end - read->offset);
	read->end = end >= inode.size;
	return err;
}
