/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree_read.h"

#include <errno.h>
#include <sys/stat.h>

#include "snapshot.h"
#include "util.h"

int tree_read_fill(struct store *store, const struct tree_read *read)
{
	uint64_t numbers[TREE_READ_PARTS];
	int err = 0;

	for (size_t i = 0; i < read->missing; i++)
		numbers[i] = read->parts[i].chunk;
	if (read->missing > 1)
		chunk_prefetch(store, numbers, read->missing);
	for (size_t i = 0; !err && i < read->missing; i++) {
		const struct tree_read_part *part = &read->parts[i];

		err = chunk_read(store, part->chunk, part->from, part->len,
		                 part->out, read->cache);
	}
	return err;
}

/* Copy a part of a chunk.  -ENOENT: the chunk is not in memory; -EUCLEAN. */
static int part_copy(struct store *store, const struct tree_read_part *part)
{
	struct chunk *chunk = chunk_find(store, part->chunk, NULL);
	int err = 0;

	if (!chunk)
		return -ENOENT;
	if (chunk_len(chunk) < part->from + part->len)
		err = -EUCLEAN;
	else
		memcpy(part->out, chunk_data(chunk) + part->from, part->len);
	chunk_unref(chunk);
	return err;
}

/* Copy a part of a chunk that is in memory, or note that it is missing. */
static int part_read(struct tree *tree, struct tree_read *read,
                     const struct tree_read_part *part)
{
	int err = read->later ? -ENOENT : part_copy(tree->store, part);

	if (err != -ENOENT)
		return err;
	read->parts[read->missing++] = *part;
	read->cache = chunk_has_room(tree->store);
	return 0;
}

void tree_read_copy(struct store *store, struct tree_read *read)
{
	uint64_t numbers[TREE_READ_PARTS] = {0};
	size_t count = read->missing;

	for (size_t i = 0; i < count; i++)
		numbers[i] = read->parts[i].chunk;
	chunk_warm(store, numbers, count);
	read->missing = 0;
	/* A damaged chunk stays missing: tree_read_fill() reports it. */
	for (size_t i = 0; i < count; i++)
		if (part_copy(store, &read->parts[i]))
			read->parts[read->missing++] = read->parts[i];
}

/* Read the bytes from `from` to `to` of the range of an extent. */
static int extent_read(struct tree *tree, struct tree_read *read,
                       const struct item *item, uint32_t from, uint32_t to,
                       uint8_t *out)
{
	struct extent e = {0};
	uint32_t len;
	int err = item ? extent_decode(item->value, item->len, &e) : 0;

	if (err)
		return err;
	len = e.kind == EXTENT_CHUNK || e.kind == EXTENT_INLINE ? e.len : 0;
	len = MIN(len, to) - MIN(MIN(len, to), from);
	if (len && e.kind == EXTENT_INLINE) {
		memcpy(out, e.data + from, len);
	} else if (len) {
		const struct tree_read_part part = {e.chunk, from, len, out};

		err = part_read(tree, read, &part);
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
	size_t room = MIN(TREE_READ_PARTS - read->missing, TREE_READ_CHUNKS);
	uint64_t most = room ? chunk * (room - 1) : 0;
	struct cursor cursor;
	struct inode inode;
	int err = inode_find(tree, read->ino, &cursor, &inode);

	if (err)
		return err;
	end = at < inode.size ? at + MIN(MIN(read->size, most), inode.size - at)
	                      : at;
	while (!err && at < end) {
		uint64_t start = at & ~(chunk - 1);
		uint64_t stop = MIN(end, start + chunk);
		struct item item;

		err = extent_find(tree, &cursor, read->ino, at / chunk, &item);
		if (err && err != -ENOENT)
			break;
		err = extent_read(tree, read, err ? NULL : &item,
		                  (uint32_t)(at - start),
		                  (uint32_t)(stop - start),
		                  read->buffer + (at - read->offset));
		at = stop;
		if (at < end)
			err = err ? err
			          : inode_find(tree, read->ino, &cursor,
			                       &inode);
	}
	read->done = (size_t)(end - read->offset);
	read->end = end >= inode.size;
	return err;
}
