/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copying the store's file while other threads read and write.
 *
 * A read transaction keeps the pages of its tree from being reused.  They are
 * copied one after the other, and the copy then gets meta pages for that tree.
 * LMDB's own mdb_env_copyfd2() also copies from a read transaction, but it
 * cannot be stopped, reports no progress, and does not let the file system
 * share the bytes.  Its compacting form follows the pointers of damaged pages,
 * which would end the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "commit.h"
#include "disk_env.h"
#include "engine.h"
#include "meta.h"

enum {
	PIECE = 8 << 20, /* bytes between two reports */
	BUFFER = 1 << 20,
	TRIES = 100, /* to find a meta page that is not replaced meanwhile */
};

struct copying {
	const struct copy_options *options;
	struct disk *disk;
	MDB_txn *txn;
	int fd;          /* the copy */
	uint64_t all;    /* bytes to copy */
	uint8_t *buffer; /* NULL: the file system copies */
};

/* Read the meta page of the transaction; -EAGAIN: it has been replaced. */
static int find_meta(struct disk *disk, MDB_txn *txn, struct meta *ret_meta)
{
	struct meta metas[METAS];
	int r;

	/* A meta page is written in the course of a commit only. */
	pthread_mutex_lock(&disk->pool_lock);
	while (disk->committing)
		disk_wait(disk);
	r = metas_read(disk->fd, metas);
	pthread_mutex_unlock(&disk->pool_lock);
	if (r < 0)
		return r;
	for (int i = 0; i < METAS; i++) {
		if (!metas[i].fault && metas[i].txn == mdb_txn_id(txn)) {
			*ret_meta = metas[i];
			return 0;
		}
	}
	return -EAGAIN;
}

/* Begin a read transaction whose meta page is known. */
static int copy_begin(struct disk *disk, MDB_txn **ret_txn,
                      struct meta *ret_meta)
{
	int r = -EAGAIN;

	for (int tries = 0; r == -EAGAIN && tries < TRIES; tries++) {
		r = disk_read_begin(disk, ret_txn);
		if (r < 0)
			return r;
		r = find_meta(disk, *ret_txn, ret_meta);
		if (r < 0)
			disk_read_end(disk, *ret_txn);
	}
	return r;
}

static bool cannot_share(int err)
{
	return err == EXDEV || err == EINVAL || err == ENOSYS ||
	       err == EOPNOTSUPP || err == EBADF;
}

/* Copy some bytes at the offset; 0: the file ends there. */
static ssize_t copy_some(struct copying *c, off_t at, size_t len)
{
	off_t from = at, to = at;
	ssize_t n = -1, written = 0;

	if (!c->buffer) {
		n = copy_file_range(c->disk->fd, &from, c->fd, &to, len, 0);
		if (n > 0 || (n < 0 && !cannot_share(errno)))
			return n < 0 ? -errno : n;
		/* Some file systems report a false end of the file. */
		c->buffer = malloc(BUFFER);
		if (!c->buffer)
			return -ENOMEM;
	}
	n = pread(c->disk->fd, c->buffer, MIN(len, (size_t)BUFFER), at);
	while (n > 0 && written < n) {
		ssize_t w = pwrite(c->fd, c->buffer + written,
		                   (size_t)(n - written), at + written);

		if (w < 0 && errno != EINTR)
			return -errno;
		written += MAX(w, 0);
	}
	return n < 0 ? -errno : n;
}

static int copy_pages(struct copying *c)
{
	uint64_t at = (uint64_t)METAS * DISK_PAGE;

	while (at < c->all) {
		size_t len = (size_t)MIN(c->all - at, (uint64_t)PIECE);
		ssize_t n = copy_some(c, (off_t)at, len);
		int r;

		if (n == -EINTR)
			n = 0;
		else if (n <= 0)
			return (int)n; /* its last pages were never written */
		at += (uint64_t)n;
		/* This reader would keep the file from being written. */
		if (disk_read_outdated(c->disk, c->txn))
			return -EIO;
		r = c->options->progress(c->options->arg, at, c->all);
		if (r)
			return r;
	}
	return 0;
}

static int copy_file(struct copying *c, const struct meta *meta)
{
	struct stat st;
	int r = copy_pages(c);

	if (r)
		return r;
	if (fstat(c->disk->fd, &st) < 0)
		return -errno;
	/* Keep a truncated file recognizable as such. */
	if (c->disk->fault == DISK_SHORT)
		c->all = MIN(c->all, (uint64_t)st.st_size);
	if (ftruncate(c->fd, (off_t)c->all) < 0)
		return -errno;
	return metas_copy(c->fd, meta);
}

/*
 * Begin to read after a commit, with the intent log paused: the copy does not
 * include the log.
 */
static int copy_begin_committed(struct store *store, MDB_txn **ret_txn,
                                struct meta *ret_meta)
{
	int r;

	if (store->options.readonly)
		return store->intent.replayed
		               ? -EROFS
		               : copy_begin(&store->disk, ret_txn, ret_meta);
	store_lock(store);
	r = intent_log_pause(store);
	store_unlock(store);
	if (r < 0)
		return r;
	r = store_sync(store);
	if (r == 0)
		r = copy_begin(&store->disk, ret_txn, ret_meta);
	store_lock(store);
	intent_log_resume(store);
	store_unlock(store);
	return r;
}

int store_copy(struct store *store, int fd, const struct copy_options *options,
               uint64_t *ret_bytes)
{
	struct copying c = {
	        .options = options,
	        .disk = &store->disk,
	        .fd = fd,
	};
	struct meta meta;
	int r = copy_begin_committed(store, &c.txn, &meta);

	if (r < 0)
		return r;
	c.all = (meta.last + 1) * DISK_PAGE;
	r = copy_file(&c, &meta);
	disk_read_end(c.disk, c.txn);
	free(c.buffer);
	if (r == 0)
		*ret_bytes = c.all;
	return r;
}
