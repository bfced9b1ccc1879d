/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files: reading, and changing the size.
 *
 * A truncation that cuts off much sets the size at once and frees the tail
 * afterwards, in pieces.  Nothing reads beyond the size.  Before the file grows
 * into a tail that is left, file_clear_tail() has it freed.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>

#include "extent.h"
#include "inode.h"
#include "orphan.h"
#include "want.h"

/* ---- Size --------------------------------------------------------------- */

int file_clear_tail(struct vnode *v, uint64_t off)
{
	struct key key = {.ino = 0, .kind = ITEM_ORPHAN, .off = v->ino};
	uint64_t last = v->inode.size ? v->inode.size - 1 : 0;
	struct item item;
	int err;

	/* The first piece of a cut always frees the extents next to the size,
	 * the one with index 0 included. */
	if (off >> v->fs->chunk_bits <= last >> v->fs->chunk_bits)
		return 0;
	err = tree_get(v->tree, &key, &item);
	if (err)
		return err == -ENOENT ? 0 : err;
	key = (struct key){
	        .ino = v->ino,
	        .kind = ITEM_EXTENT,
	        .off = v->inode.size ? (last >> v->fs->chunk_bits) + 1 : 0,
	};
	err = tree_seek(v->tree, &key, &item);
	if (err)
		return err == -ENOENT ? 0 : err;
	return item.key.ino == v->ino && item.key.kind == ITEM_EXTENT ? -EAGAIN
	                                                              : 0;
}

/* Shorten the extent that contains the new end of the file. */
static int file_trim(struct vnode *v, uint64_t size)
{
	uint64_t index = size >> v->fs->chunk_bits;
	uint32_t rest = (uint32_t)(size & (v->fs->chunk_size - 1));
	uint8_t data[EXTENT_INLINE_MAX];
	struct ext old, to;
	int err;

	err = ext_list(v->tree, v->ino, index, 1, &old);
	if (err || old.len <= rest)
		return err;
	to = old;
	to.len = rest;
	if (!rest)
		to = (struct ext){0};
	else if (old.kind == EXTENT_INLINE)
		err = ext_inline(v->tree, v->ino, data);
	return err ? err : ext_replace(v, index, &old, &to, data);
}

int file_resize(struct vnode *v, uint64_t size)
{
	uint64_t first = (size + v->fs->chunk_size - 1) >> v->fs->chunk_bits;
	int err;

	if (size >= v->inode.size) {
		v->inode.size = size;
		return vnode_store(v);
	}
	err = file_trim(v, size);
	if (err)
		return err;
	v->inode.size = size;
	err = ext_cut(v, first, PIECE_ITEMS);
	if (err == -EAGAIN) {
		err = orphan_add(v);
		return err ? err : -EAGAIN;
	}
	return err;
}

/* ---- Read --------------------------------------------------------------- */

/* Owners of the memory of one read's pieces, and the chunks fetched for it. */
struct holds {
	size_t chunk_count, buffer_count, fetched_count, room;
	struct chunk **chunks;  /* `room` pointers */
	void **buffers;         /* `room` pointers */
	struct chunk **fetched; /* `room` pointers, and their numbers below */
	uint64_t *numbers;
	uint64_t *missing; /* to be fetched; `room` numbers */
	size_t missing_count;
	unsigned misses;
	struct iovec iov[];
};

static struct holds *holds_create(size_t room)
{
	struct holds *h;
	char *p;
	size_t iov = 2 * room * sizeof(struct iovec);

	h = malloc(sizeof(*h) + iov + 5 * room * sizeof(void *));
	if (!h)
		return NULL;
	memset(h, 0, sizeof(*h));
	p = (char *)h->iov + iov;
	h->room = room;
	h->chunks = (struct chunk **)p;
	h->buffers = (void **)p + room;
	h->fetched = (struct chunk **)p + 2 * room;
	h->numbers = (uint64_t *)(p + 3 * room * sizeof(void *));
	h->missing = (uint64_t *)(p + 4 * room * sizeof(void *));
	return h;
}
_Static_assert(sizeof(void *) == sizeof(uint64_t), "one layout for both");

/* Release the pieces, but not the fetched chunks. */
static void holds_clear(struct holds *h)
{
	for (size_t i = 0; i < h->chunk_count; i++)
		chunk_unref(h->chunks[i]);
	for (size_t i = 0; i < h->buffer_count; i++)
		free(h->buffers[i]);
	h->chunk_count = h->buffer_count = h->missing_count = 0;
}

static void holds_destroy(struct holds *h)
{
	if (!h)
		return;
	holds_clear(h);
	for (size_t i = 0; i < h->fetched_count; i++)
		chunk_unref(h->fetched[i]);
	free(h);
}

void fs_data_release(struct fs_data *data)
{
	holds_destroy(data->holds);
	*data = (struct fs_data){0};
}

static void data_add(struct fs_data *data, const void *bytes, size_t len)
{
	struct holds *h = data->holds;
	struct iovec *last =
	        data->iov_count ? &h->iov[data->iov_count - 1] : NULL;

	if (!len)
		return;
	data->len += len;
	if (last && (const uint8_t *)last->iov_base + last->iov_len == bytes) {
		last->iov_len += len;
		return;
	}
	h->iov[data->iov_count++] = (struct iovec){
	        .iov_base = (void *)(uintptr_t)bytes,
	        .iov_len = len,
	};
}

static int data_add_copy(struct fs_data *data, const void *bytes, size_t len)
{
	struct holds *h = data->holds;
	void *copy = malloc(len);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, bytes, len);
	h->buffers[h->buffer_count++] = copy;
	data_add(data, copy, len);
	return 0;
}

static struct chunk *read_find(struct fs *fs, struct holds *h, uint64_t number,
                               bool *ret_writable)
{
	struct chunk *chunk = chunk_find(fs->store, number, ret_writable);

	for (size_t i = 0; !chunk && i < h->fetched_count; i++) {
		if (h->numbers[i] == number) {
			chunk = chunk_ref(h->fetched[i]);
			*ret_writable = false;
		}
	}
	return chunk;
}

/* Add bytes from … to of a chunk. */
static int read_chunk(struct fs *fs, struct fs_data *data, uint64_t number,
                      uint32_t from, uint32_t to)
{
	struct holds *h = data->holds;
	bool writable = false;
	struct chunk *chunk = read_find(fs, h, number, &writable);
	int err = 0;

	if (!chunk) {
		h->missing[h->missing_count++] = number;
		return 0;
	}
	if (chunk_len(chunk) < to)
		err = -EUCLEAN;
	else if (writable)
		err = data_add_copy(data, chunk_data(chunk) + from, to - from);
	else
		data_add(data, chunk_data(chunk) + from, to - from);
	if (err || writable)
		chunk_unref(chunk);
	else
		h->chunks[h->chunk_count++] = chunk;
	return err;
}

/* Add bytes from … to of an extent's range. */
static int read_extent(struct vnode *v, struct fs_data *data,
                       const struct ext *e, uint32_t from, uint32_t to)
{
	uint32_t end = MIN(ext_data(e), to);
	uint8_t bytes[EXTENT_INLINE_MAX];
	int err = 0;

	if (from < end) {
		if (e->kind == EXTENT_INLINE) {
			err = ext_inline(v->tree, v->ino, bytes);
			if (!err)
				err = data_add_copy(data, bytes + from,
				                    end - from);
		} else {
			err = read_chunk(v->fs, data, e->chunk, from, end);
		}
		from = end;
	}
	if (!err)
		data_add(data, v->fs->zeros, to - from);
	return err;
}

static int read_locked(struct fs *fs, node_t node, uint64_t off, size_t size,
                       struct ext *extents, struct fs_data *data)
{
	struct holds *h = data->holds;
	uint64_t index, end;
	struct vnode v;
	int err;

	err = vnode_load(fs, node, &v);
	if (err)
		return err;
	if (S_ISDIR(v.inode.mode))
		return -EISDIR;
	if (!S_ISREG(v.inode.mode))
		return -EINVAL;
	if (off >= v.inode.size)
		return 0;
	end = off + MIN(size, v.inode.size - off);
	index = off >> fs->chunk_bits;
	err = ext_list(v.tree, v.ino, index,
	               ((end - 1) >> fs->chunk_bits) - index + 1, extents);
	for (size_t i = 0; !err && off < end; i++) {
		uint64_t start = (index + i) << fs->chunk_bits;
		uint64_t stop = MIN(end, start + fs->chunk_size);

		err = read_extent(&v, data, &extents[i],
		                  (uint32_t)(off - start),
		                  (uint32_t)(stop - start));
		off = stop;
	}
	return err ? err : h->missing_count ? -EAGAIN : 0;
}

/* Drop the fetched chunks that the last round did not use. */
static void fetched_trim(struct holds *h)
{
	size_t kept = 0;

	for (size_t i = 0; i < h->fetched_count; i++) {
		struct chunk *chunk = h->fetched[i];
		size_t used = 0;

		while (used < h->chunk_count && h->chunks[used] != chunk)
			used++;
		/* Several numbers can have one chunk. */
		if (used == h->chunk_count || kept == h->chunk_count) {
			chunk_unref(chunk);
			continue;
		}
		h->numbers[kept] = h->numbers[i];
		h->fetched[kept++] = chunk;
	}
	h->fetched_count = kept;
}

/* Fetch missing chunks by bulk reads; return how many are still missing. */
static size_t read_bulk(struct fs *fs, struct holds *h)
{
	struct chunk **chunks = &h->fetched[h->fetched_count];
	size_t left = 0, count = 0;

	chunk_load_bulk(fs->store, h->missing, h->missing_count, chunks);
	for (size_t i = 0; i < h->missing_count; i++) {
		uint64_t number = h->missing[i];

		if (chunks[i]) {
			h->numbers[h->fetched_count + count] = number;
			chunks[count++] = chunks[i];
		} else {
			h->missing[left++] = number;
		}
	}
	h->fetched_count += count;
	return left;
}

static int read_fetch(struct fs *fs, struct holds *h)
{
	unsigned misses = h->misses;

	/*
	 * An extent has either a fetched chunk or a missing one, so `room`
	 * suffices for both lists together.
	 */
	fetched_trim(h);
	h->missing_count = read_bulk(fs, h);
	if (h->missing_count > 1)
		chunk_prefetch(fs->store, h->missing, h->missing_count);
	for (size_t i = 0; i < h->missing_count; i++) {
		/*
		 * Chunks that are missing in the same round, because their
		 * state was deleted, count as one miss.
		 */
		unsigned round = misses;
		struct chunk *chunk;
		int err = chunk_fetch(fs, h->missing[i], &round, &chunk);

		h->misses = MAX(h->misses, round);
		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		h->numbers[h->fetched_count] = h->missing[i];
		h->fetched[h->fetched_count++] = chunk;
	}
	return 0;
}

int fs_read(struct fs *fs, node_t node, off_t off, size_t size,
            struct fs_data *ret_data)
{
	_cleanup_free_ struct ext *many = NULL;
	struct ext few[20], *extents = few;
	size_t room = (size >> fs->chunk_bits) + 2;
	struct fs_data data = {0};
	struct holds *h;
	int err;

	if (off < 0 || size > INT32_MAX)
		return -EINVAL;
	if (off > FILE_SIZE_MAX || !size) {
		*ret_data = data;
		return 0;
	}
	if (room > ARRAY_SIZE(few))
		extents = many = malloc(room * sizeof(*many));
	h = holds_create(room);
	if (!h || !extents) {
		free(h);
		return -ENOMEM;
	}
	data.holds = h;
	data.iov = h->iov;
	do {
		data.iov_count = 0;
		data.len = 0;
		holds_clear(h);
		store_lock(fs->store);
		err = read_locked(fs, node, (uint64_t)off, size, extents,
		                  &data);
		store_unlock(fs->store);
	} while (err == -EAGAIN && !(err = read_fetch(fs, h)));
	if (err)
		holds_destroy(h);
	else
		*ret_data = data;
	return err;
}
