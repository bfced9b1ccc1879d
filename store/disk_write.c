/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The write transaction, and opening the environment again after a meta page
 * could not be written.
 *
 * LMDB commits by writing a meta page through a descriptor that syncs.  If that
 * fails, a power cut may leave either of two transactions, and LMDB refuses all
 * further use of the environment (MDB_PANIC), by readers, too.  The file is
 * then opened again at the last transaction that was committed: the meta pages
 * get their former content back, and no page is written before that is durable,
 * because the page could belong to the other transaction.
 *
 * Readers of the dead environment continue, because their pages stay mapped.
 * The new environment does not see these readers, and would reuse their pages,
 * so the next write transaction waits until the last of them has ended.  Each
 * opening has its own lock.mdb: LMDB cannot share one between two environments
 * of a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_env.h"
#include "meta.h"
#include "page_check.h"
#include "util.h"

enum { OLDER_MS = 2000 }; /* wait for the readers of a dead environment */

/* ---- Opening again ------------------------------------------------------ */

/* Return true if LMDB refuses to use the environment any more. */
static bool opening_is_dead(const struct opening *opening)
{
	MDB_txn *txn;
	int r = mdb_txn_begin(opening->env, NULL, MDB_RDONLY, &txn);

	if (r == 0)
		mdb_txn_abort(txn);
	return r == MDB_PANIC;
}

/* Check that the file found by name is the same as before.  -ESTALE. */
static int same_file(const struct disk *disk, const struct opening *opening)
{
	struct stat before, now;
	int fd;

	mdb_env_get_fd(opening->env, &fd);
	if (fstat(disk->fd, &before) < 0 || fstat(fd, &now) < 0)
		return -errno;
	return before.st_dev == now.st_dev && before.st_ino == now.st_ino
	               ? 0
	               : -ESTALE;
}

/* Open the tables; their handles, which others hold, must be the same. */
static int same_tables(const struct disk *disk, const struct opening *opening)
{
	const struct tables before = tables_init(disk);
	struct tables now = before;
	int r = tables_open(&now, opening->env, MDB_RDONLY, false);

	for (size_t i = 0; r == 0 && i < TABLES; i++)
		if (now.at[i].dbi != before.at[i].dbi)
			r = -EUCLEAN;
	return r == 0 && opening->check ? tables_name(&now, opening) : r;
}

static int opening_again(struct disk *disk, unsigned flags,
                         struct opening **ret_opening)
{
	struct opening *opening = NULL;
	char path[32];
	int r;

	/* The store may have been moved. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk->dir);
	if (!(flags & MDB_RDONLY) && unlinkat(disk->dir, "lock.mdb", 0) < 0 &&
	    errno != ENOENT)
		return -errno;
	r = opening_create(disk, path, flags, &opening);
	if (r == -ENOENT)
		r = opening_create(disk, disk->path, flags, &opening);
	if (r == 0)
		r = same_file(disk, opening);
	if (r == 0)
		r = same_tables(disk, opening);
	if (r < 0) {
		opening_destroy(opening);
		return r;
	}
	*ret_opening = opening;
	return 0;
}

/* Open the file for writing, at the last transaction that was committed. */
static int opening_to_write(struct disk *disk, struct opening **ret_opening)
{
	struct opening *opening;
	MDB_envinfo info;
	int r = metas_restore(disk->fd, disk->metas);

	if (r == 0)
		r = opening_again(disk, 0, &opening);
	if (r < 0)
		return r;
	mdb_env_info(opening->env, &info);
	if (info.me_last_txnid != metas_newest(disk->metas)->txn) {
		opening_destroy(opening);
		return -EIO;
	}
	*ret_opening = opening;
	return 0;
}

static void opening_publish(struct disk *disk, struct opening *opening)
{
	struct opening *before = disk->opening, *left;
	MDB_txn *pool[ARRAY_SIZE(before->pool)];
	unsigned len;

	pthread_mutex_lock(&disk->pool_lock);
	opening->older = before;
	disk->opening = opening;
	len = before->pool_len;
	memcpy(pool, before->pool, len * sizeof(*pool));
	before->pool_len = 0;
	before->txns++; /* keep it until the pool is aborted */
	pthread_mutex_unlock(&disk->pool_lock);
	for (unsigned i = 0; i < len; i++)
		mdb_txn_abort(pool[i]);
	pthread_mutex_lock(&disk->pool_lock);
	left = opening_leave(before, len + 1);
	pthread_mutex_unlock(&disk->pool_lock);
	opening_destroy(left);
}

/*
 * Replace the newest opening by one that can be written.  If that fails and the
 * opening is dead, replace it by one that can be read, and return the error.
 */
static int disk_open_again(struct disk *disk)
{
	struct opening *opening;
	int r = opening_to_write(disk, &opening);

	if (r == 0) {
		disk->dead = false;
		opening_publish(disk, opening);
		return 0;
	}
	if (disk->dead &&
	    opening_again(disk, MDB_RDONLY | MDB_NOLOCK, &opening) == 0) {
		disk->dead = false;
		opening_publish(disk, opening);
	}
	return r;
}

/*
 * Make the meta page of the last transaction durable as the newest.  The first
 * sync may return an earlier error, because the kernel keeps it for each
 * descriptor.
 */
static int disk_settle(struct disk *disk)
{
	int r = 0;

	for (int i = 0; i < 2; i++) {
		r = metas_restore(disk->fd, disk->metas);
		if (r == 0 && fdatasync(disk->fd) < 0)
			r = -errno;
		if (r == 0)
			break;
	}
	disk->uncertain = r < 0;
	return r;
}

/* ---- The write transaction ---------------------------------------------- */

static void committing(struct disk *disk, bool now)
{
	pthread_mutex_lock(&disk->pool_lock);
	disk->committing = now;
	disk_changed(disk);
	pthread_mutex_unlock(&disk->pool_lock);
}

/* pool_lock held. */
static bool older_is_read(const struct disk *disk)
{
	const struct opening *o = disk->opening->older;

	while (o && !o->running)
		o = o->older;
	return o;
}

static int older_wait(struct disk *disk)
{
	struct timespec ts;
	int err = 0;
	bool reads;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += OLDER_MS / 1000;
	pthread_mutex_lock(&disk->pool_lock);
	disk->waiting++;
	while ((reads = older_is_read(disk)) && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&disk->changed, &disk->pool_lock,
		                             &ts);
	disk->waiting--;
	pthread_mutex_unlock(&disk->pool_lock);
	return reads ? -EIO : 0;
}

/* Prepare for another transaction after one that has failed. */
static int disk_recover(struct disk *disk)
{
	int r = 0;

	if (disk->dead || !disk->opening->check) {
		committing(disk, true);
		r = disk_open_again(disk);
		committing(disk, false);
	}
	if (r == 0 && disk->uncertain)
		r = disk_settle(disk);
	return r < 0 ? r : older_wait(disk);
}

int disk_write_begin(struct disk *disk, MDB_txn **ret_txn)
{
	MDB_txn *txn;
	int r = disk_recover(disk);

	if (r < 0)
		return r;
	/* Free the slots of readers that were killed. */
	mdb_reader_check(disk->opening->env, NULL);
	r = disk_error(mdb_txn_begin(disk->opening->env, NULL, 0, &txn));
	if (r < 0)
		return r;
	r = page_check_begin(disk->opening->check, txn);
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	*ret_txn = txn;
	return 0;
}

int disk_write_commit(struct disk *disk, MDB_txn *txn)
{
	int r = page_check_end(disk->opening->check);

	if (r == 0)
		r = metas_read(disk->fd, disk->metas);
	if (r == 0 && !metas_newest(disk->metas))
		r = -EUCLEAN;
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	committing(disk, true);
	r = disk_error(mdb_txn_commit(txn));
	if (r < 0 && opening_is_dead(disk->opening)) {
		disk->dead = disk->uncertain = true;
		disk_open_again(disk);
	}
	committing(disk, false);
	return r;
}
