/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy_file_range: chunks are shared where source and target have the same
 * offset within their chunks; elsewhere bytes are copied.
 */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>

#include "extent.h"
#include "file.h"
#include "inode.h"
#include "orphan.h"
#include "want.h"
#include "xattr.h"

enum {
	CLONE_ITEMS = 128,   /* most chunks shared in one hold of the lock */
	COPY_STEP = 1 << 20, /* most bytes copied at a time */
	COPY_BYTES_MAX = 1 << 26, /* most bytes copied in one call */
	COPY_MAX = 1 << 30,       /* most bytes copied or shared in one call */
};

struct copy {
	struct fs *fs;
	node_t from, to;
	uint64_t from_off, to_off;
	uint64_t left;   /* bytes */
	uint64_t copied; /* bytes copied so far, not shared */
	struct ext old[CLONE_ITEMS], source[CLONE_ITEMS];
};

/* ---- Sharing ------------------------------------------------------------ */

/* Replace the target's extent by a clone of the source's. */
static int clone_extent(struct vnode *to, uint64_t index, const struct ext *old,
                        const struct ext *source, const uint8_t *data)
{
	struct ext ext = *source;
	struct chunk *chunk;
	int err;

	if (source->kind == EXTENT_INLINE && index) {
		chunk = chunk_alloc(to->fs->store, source->len);
		if (!chunk)
			return -ENOMEM;
		err = chunk_resize(chunk, source->len);
		if (!err) {
			memcpy(chunk_data(chunk), data, source->len);
			err = ext_add_chunk(to, index, old, chunk);
		}
		chunk_unref(chunk);
		return err;
	}
	if (source->kind == EXTENT_ZERO)
		ext = (struct ext){0};
	if (source->kind == EXTENT_CHUNK) {
		err = chunk_clone(to->tree, source->chunk, &ext.chunk);
		if (err)
			return err;
	}
	err = ext_replace(to, index, old, &ext, data);
	if (err && ext.kind == EXTENT_CHUNK)
		tree_drop(to->tree, ext.chunk);
	return err;
}

/*
 * Return how many chunks can be shared from here on, and their bytes: whole
 * chunks, and a part of a last one if the target has no data after that part.
 */
static size_t clone_extent_count(struct copy *c, const struct vnode *to,
                                 uint64_t *ret_bytes)
{
	uint32_t size = c->fs->chunk_size;
	size_t count = MIN(c->left >> c->fs->chunk_bits, CLONE_ITEMS);
	uint64_t bytes = (uint64_t)count << c->fs->chunk_bits;

	if (count < CLONE_ITEMS && c->left > bytes &&
	    c->to_off + c->left >= to->inode.size && c->left - bytes < size) {
		count++;
		bytes = c->left;
	}
	*ret_bytes = bytes;
	return count;
}

static int clone_load(struct copy *c, struct vnode *from, struct vnode *to)
{
	int err = vnode_load_rw(c->fs, c->to, to);

	if (!err)
		err = vnode_load(c->fs, c->from, from);
	if (err)
		return err;
	if (!S_ISREG(from->inode.mode) || !S_ISREG(to->inode.mode))
		return -EINVAL;
	/* The source may have become shorter: copy up to its end. */
	if (c->from_off >= from->inode.size)
		c->left = 0;
	else
		c->left = MIN(c->left, from->inode.size - c->from_off);
	return 0;
}

/* Check that the quota allows the target's additional blocks. */
static int clone_quota(const struct copy *c, const struct vnode *to,
                       size_t count)
{
	uint64_t before = 0, after = 0;

	for (size_t i = 0; i < count; i++) {
		before += ext_blocks(&c->old[i]);
		if (c->source[i].kind != EXTENT_ZERO)
			after += ext_blocks(&c->source[i]);
	}
	return after > before ? quota_check(to->state, 0, after - before) : 0;
}

/*
 * Share as many chunks as one hold of the lock allows.  *ret_bytes: their
 * bytes.
 */
static int clone_locked(struct copy *c, bool *ret_finish, uint64_t *ret_bytes)
{
	unsigned bits = c->fs->chunk_bits;
	uint64_t at = c->from_off >> bits, index = c->to_off >> bits;
	uint8_t data[EXTENT_INLINE_MAX];
	struct vnode from, to;
	uint64_t bytes;
	size_t count;
	int stored, err = clone_load(c, &from, &to);

	if (err)
		return err;
	count = clone_extent_count(c, &to, &bytes);
	*ret_bytes = bytes;
	if (!count)
		return 0;
	err = vnode_begin(&to);
	if (!err)
		err = file_clear_tail(&to, c->to_off + bytes - 1);
	*ret_finish = err == -EAGAIN;
	if (!err)
		err = ext_list(to.tree, to.ino, index, count, c->old);
	if (!err)
		err = ext_list(from.tree, from.ino, at, count, c->source);
	if (!err && c->source[0].kind == EXTENT_INLINE)
		err = ext_inline(from.tree, from.ino, data);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		c->source[i].len = (uint32_t)MIN(c->source[i].len,
		                                 bytes - ((uint64_t)i << bits));
	err = clone_quota(c, &to, count);
	if (err)
		return err;
	for (size_t i = 0; !err && i < count; i++) {
		err = clone_extent(&to, index + i, &c->old[i], &c->source[i],
		                   data);
	}
	if (!err)
		err = vnode_kill_priv(&to, false);
	if (!err)
		to.inode.size = MAX(to.inode.size, c->to_off + bytes);
	vnode_touch(&to);
	stored = vnode_store(&to);
	return err ? err : stored;
}

static int clone_some(struct copy *c, uint64_t *ret_bytes)
{
	int err, more = 0;

	do {
		bool finish = false;

		err = store_throttle_write(c->fs->store, COPY_STEP);
		if (err)
			return err;
		store_lock(c->fs->store);
		err = clone_locked(c, &finish, ret_bytes);
		store_unlock(c->fs->store);
		if (finish)
			more = orphan_finish(c->fs, c->to);
	} while (err == -EAGAIN && !more);
	return err == -EAGAIN ? more : err;
}

/* ---- Copying ------------------------------------------------------------ */

static int copy_bytes(struct copy *c, size_t size, uint64_t *ret_bytes)
{
	_cleanup_(fs_data_release) struct fs_data data = {0};
	_cleanup_free_ uint8_t *buffer = malloc(size);
	size_t at = 0;
	int err;

	if (!buffer)
		return -ENOMEM;
	err = fs_read(c->fs, c->from, (off_t)c->from_off, size, &data);
	if (err)
		return err;
	for (int i = 0; i < data.iov_count; i++) {
		memcpy(buffer + at, data.iov[i].iov_base, data.iov[i].iov_len);
		at += data.iov[i].iov_len;
	}
	*ret_bytes = at;
	return at ? fs_write(c->fs, c->to, (off_t)c->to_off, buffer, at, 0) : 0;
}

static int copy_step(struct copy *c, uint64_t *ret_bytes)
{
	uint32_t mask = c->fs->chunk_size - 1;
	uint64_t bytes = 0, step = MIN(c->left, COPY_STEP);
	int err;

	if ((c->from_off & mask) == (c->to_off & mask)) {
		if (c->to_off & mask) {
			step = MIN(step, mask + 1 - (c->to_off & mask));
		} else {
			err = clone_some(c, &bytes);
			if (err || bytes || !c->left) {
				*ret_bytes = bytes;
				return err;
			}
			step = MIN(step, c->left);
		}
	}
	if (c->copied + step > COPY_BYTES_MAX)
		step = 0;
	c->copied += step;
	*ret_bytes = 0;
	return step ? copy_bytes(c, step, ret_bytes) : 0;
}

/* Check the arguments, and end the range at the source's end. */
static int copy_begin(struct copy *c)
{
	struct vnode from, to;
	int err;

	store_lock(c->fs->store);
	err = clone_load(c, &from, &to);
	store_unlock(c->fs->store);
	if (err)
		return err;
	if (c->from == c->to && c->from_off < c->to_off + c->left &&
	    c->to_off < c->from_off + c->left)
		return -EINVAL;
	return 0;
}

ssize_t fs_copy_range(struct fs *fs, node_t from, off_t from_off, node_t to,
                      off_t to_off, size_t len)
{
	_cleanup_free_ struct copy *c = NULL;
	uint64_t done = 0;
	int err;

	if (from_off < 0 || to_off < 0)
		return -EINVAL;
	if (from_off > FILE_SIZE_MAX || to_off > FILE_SIZE_MAX)
		return -EFBIG;
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->fs = fs;
	c->from = from;
	c->to = to;
	c->from_off = (uint64_t)from_off;
	c->to_off = (uint64_t)to_off;
	c->left = MIN(len, (uint64_t)(FILE_SIZE_MAX - to_off));
	c->left = MIN(c->left, COPY_RANGE_MOST);
	c->copied = 0;
	err = copy_begin(c);
	c->left = MIN(c->left, (uint64_t)COPY_MAX);
	while (!err && c->left) {
		uint64_t bytes = 0;

		err = copy_step(c, &bytes);
		if (err || !bytes)
			break;
		c->from_off += bytes;
		c->to_off += bytes;
		c->left -= bytes;
		done += bytes;
		err = store_yield(fs->store);
	}
	return err && !done ? err : (ssize_t)done;
}
