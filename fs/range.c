/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranges of files: fallocate, and finding data and holes.  What touches more
 * chunks than one hold of the lock should is done in batches from the front.
 */
#include "inode.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

/* ---- fallocate ---------------------------------------------------------- */

static int range_check(int mode, off_t off, off_t len)
{
	const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
	                  FALLOC_FL_ZERO_RANGE;

	if (off < 0 || len <= 0)
		return -EINVAL;
	if (mode & ~known)
		return -EOPNOTSUPP;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
		               ? 0
		               : -EOPNOTSUPP;
	return off > FILE_SIZE_MAX - len ? -EFBIG : 0;
}

/* The end of the file's extents, rounded up to a chunk. */
static int extents_end(struct fs *fs, node_t node, uint64_t *ret_end)
{
	struct key key = {.kind = ITEM_EXTENT, .off = UINT64_MAX};
	struct item item;
	struct vnode v;
	int err;

	store_lock(fs->store);
	err = vnode_load_rw(fs, node, &v);
	if (!err) {
		key.ino = v.ino;
		err = tree_seek_back(v.tree, &key, &item);
	}
	if (!err) {
		bool found =
		        item.key.ino == v.ino && item.key.kind == ITEM_EXTENT;

		*ret_end = found ? (item.key.off + 1) << fs->chunk_bits : 0;
	}
	store_unlock(fs->store);
	return err;
}

/* Is there a chance that so much can be written? */
static int range_room(struct fs *fs, off_t len)
{
	struct store_stats stats;

	store_stats(fs->store, &stats);
	return (uint64_t)len > stats.avail_bytes ? -ENOSPC : 0;
}

static int range_batches(struct fs *fs, node_t node, struct change *change,
                         uint64_t end)
{
	uint64_t batch = (uint64_t)PIECE_ITEMS << fs->chunk_bits;
	int err = 0;

	while (!err && change->off < end) {
		uint64_t stop = (change->off / batch + 1) * batch;

		change->size = MIN(end, stop) - change->off;
		err = store_throttle(fs->store, change->kind != CHANGE_PUNCH);
		if (!err)
			err = file_change(fs, node, change);
		change->off += change->size;
	}
	return err;
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
	uint64_t end, last;

	if (err)
		return err;
	if (change.kind != CHANGE_PUNCH) {
		err = range_room(fs, len);
		return err ? err
		           : range_batches(fs, node, &change,
		                           (uint64_t)off + (uint64_t)len);
	}
	err = extents_end(fs, node, &last);
	if (err)
		return err;
	/* A hole behind everything is there already: at least one batch all
	 * the same, for the checks and the times. */
	end = MIN((uint64_t)off + (uint64_t)len, MAX(last, change.off + 1));
	return range_batches(fs, node, &change, end);
}

/* ---- Data and holes ----------------------------------------------------- */

/*
 * Go on with the search from *off over at most a piece's extents: 0 when it is
 * settled, -EAGAIN to go on from the new *off.
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
		/* What is only set aside counts as a hole. */
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
	} while (err == -EAGAIN);
	if (!err)
		*ret_off = (off_t)at;
	return err;
}
