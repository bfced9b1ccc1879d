/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ranges of files: fallocate, and finding data and holes.  A range with more
 * chunks than may be changed in one hold of the lock is changed in batches of
 * PIECE_ITEMS chunks, in ascending order.  Punching skips existing holes.
 */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "change.h"
#include "inode.h"

/* ---- fallocate ---------------------------------------------------------- */

static int range_check(int mode, off_t off, off_t len)
{
	const int supported = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
	                      FALLOC_FL_ZERO_RANGE;

	if (off < 0 || len <= 0)
		return -EINVAL;
	if (mode & ~supported)
		return -EOPNOTSUPP;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
		               ? 0
		               : -EOPNOTSUPP;
	return off > FILE_SIZE_MAX - len ? -EFBIG : 0;
}

/*
 * Move *off to the start of the next extent, unless it lies in one.  -ENOENT:
 * there is no further extent.
 */
static int extent_seek(struct fs *fs, node_t node, uint64_t *off)
{
	struct key key = {.kind = ITEM_EXTENT, .off = *off >> fs->chunk_bits};
	struct item item;
	struct vnode v;
	int err;

	store_lock(fs->store);
	err = vnode_load_rw(fs, node, &v);
	if (!err) {
		key.ino = v.ino;
		err = tree_seek(v.tree, &key, &item);
	}
	if (!err && (item.key.ino != v.ino || item.key.kind != ITEM_EXTENT))
		err = -ENOENT;
	if (!err)
		*off = MAX(*off, item.key.off << fs->chunk_bits);
	store_unlock(fs->store);
	return err;
}

/*
 * Return -ENOSPC or -EDQUOT if there is no space for a range of `len` bytes.
 * The bytes that the file occupies may lie in the range, so they are
 * subtracted.
 */
static int range_room(struct fs *fs, node_t node, uint64_t len)
{
	struct store_stats stats;
	struct state *state;
	struct stat st;
	int err = fs_getattr(fs, node, &st);

	if (err)
		return err;
	len -= MIN(len, (uint64_t)st.st_blocks * 512);
	store_stats(fs->store, &stats);
	if (len > stats.avail_bytes)
		return -ENOSPC;
	store_lock(fs->store);
	err = state_get(fs->forest, NODE_STATE(node), &state);
	if (!err)
		err = quota_check(state, 0, len >> BLOCK_SHIFT);
	store_unlock(fs->store);
	return err;
}

static uint64_t batch_start(const struct fs *fs, uint64_t off)
{
	return off & ~(((uint64_t)PIECE_ITEMS << fs->chunk_bits) - 1);
}

/* Change one batch, which ends at `end` at most, and advance change->off. */
static int range_batch(struct fs *fs, node_t node, struct change *change,
                       uint64_t end)
{
	uint64_t batch = (uint64_t)PIECE_ITEMS << fs->chunk_bits;
	uint64_t stop = batch_start(fs, change->off) + batch;
	int err = store_throttle(fs->store, change->kind != CHANGE_PUNCH);

	change->size = MIN(end, stop) - change->off;
	if (!err)
		err = file_change(fs, node, change);
	change->off += change->size;
	return err;
}

/*
 * Change a range batch by batch.  Only the last batch changes the size, so a
 * failed call does not.  A cancelled call skips to the last batch and returns
 * success, so that the kernel drops its cache of the range.
 */
static int range_fill(struct fs *fs, node_t node, struct change *change,
                      uint64_t end)
{
	uint64_t last = batch_start(fs, end - 1);
	bool keep_size = change->keep_size;
	int err = range_room(fs, node, end - change->off);

	while (!err && change->off < end) {
		change->keep_size = keep_size || change->off < last;
		err = range_batch(fs, node, change, end);
		if (!err && store_yield(fs->store))
			change->off = MAX(change->off, last);
	}
	return err;
}

/* Make a hole, batch by batch; skip holes. */
static int range_punch(struct fs *fs, node_t node, struct change *change,
                       uint64_t end)
{
	/* Always change one batch: this checks the file and sets the times. */
	int err = range_batch(fs, node, change, end);

	while (!err && change->off < end) {
		/* Cancelled: see range_fill(). */
		if (store_yield(fs->store))
			return 0;
		err = extent_seek(fs, node, &change->off);
		if (!err && change->off < end)
			err = range_batch(fs, node, change, end);
	}
	return err == -ENOENT ? 0 : err;
}

int fs_fallocate(struct fs *fs, node_t node, int mode, off_t off, off_t len)
{
	struct change change = {
	        .kind = mode & FALLOC_FL_PUNCH_HOLE   ? CHANGE_PUNCH
	                : mode & FALLOC_FL_ZERO_RANGE ? CHANGE_ZERO
	                                              : CHANGE_ALLOC,
	        .off = (uint64_t)off,
	        .keep_size = mode & FALLOC_FL_KEEP_SIZE,
	};
	int err = range_check(mode, off, len);
	uint64_t end = (uint64_t)off + (uint64_t)len;

	if (err)
		return err;
	return change.kind == CHANGE_PUNCH ? range_punch(fs, node, &change, end)
	                                   : range_fill(fs, node, &change, end);
}

/* ---- Data and holes ----------------------------------------------------- */

/*
 * Search from *off over a limited number of extents.  0: found at the new *off;
 * -EAGAIN: continue from the new *off.
 */
static int seek_piece(struct vnode *v, int whence, uint64_t *off)
{
	unsigned bits = v->fs->chunk_bits;
	struct key key = {
	        .ino = v->ino,
	        .kind = ITEM_EXTENT,
	        .off = *off >> bits,
	};
	bool hole = whence == SEEK_HOLE;
	struct cursor cursor;
	struct extent e;
	struct item item;
	int err;

	err = cursor_seek(&cursor, v->tree, &key, &item);
	for (unsigned n = 0; !err; n++) {
		uint64_t start, end;

		if (item.key.ino != v->ino || item.key.kind != ITEM_EXTENT)
			break;
		err = extent_decode(item.value, item.len, &e);
		if (err)
			return err;
		start = item.key.off << bits;
		/* Allocated space without data counts as a hole. */
		end = e.kind == EXTENT_ZERO ? 0 : start + e.len;
		if (hole && (!end || start > *off))
			return 0;
		if (end > *off) {
			*off = MAX(*off, start);
			if (!hole)
				return 0;
			*off = end;
		}
		if (n >= PIECE_ITEMS * 8 && *off < v->inode.size) {
			if (!hole)
				*off = (item.key.off + 1) << bits;
			return -EAGAIN;
		}
		err = cursor_next(&cursor, &item);
	}
	if (err && err != -ENOENT)
		return err;
	if (!hole)
		*off = v->inode.size;
	return 0;
}

static int seek_locked(struct fs *fs, node_t node, int whence, uint64_t *off)
{
	struct vnode v;
	int err = vnode_load(fs, node, &v);

	if (err)
		return err;
	if (!S_ISREG(v.inode.mode))
		return -EINVAL;
	if (*off >= v.inode.size)
		return -ENXIO;
	err = seek_piece(&v, whence, off);
	if (err)
		return err;
	*off = MIN(*off, v.inode.size);
	return whence == SEEK_DATA && *off == v.inode.size ? -ENXIO : 0;
}

int fs_seek(struct fs *fs, node_t node, off_t off, int whence, off_t *ret_off)
{
	uint64_t at = (uint64_t)off;
	int err;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (off < 0)
		return -ENXIO;
	do {
		store_lock(fs->store);
		err = seek_locked(fs, node, whence, &at);
		store_unlock(fs->store);
	} while (err == -EAGAIN && !(err = store_yield(fs->store)));
	if (!err)
		*ret_off = (off_t)at;
	return err;
}
