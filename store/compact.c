/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a store's data without gaps to a file that replaces the old one.
 *
 * Each database is read in the order of its keys and appended to the new file,
 * so that its pages are full.  The new file is synced before it takes the old
 * one's name, so a crash leaves one of the two, complete.
 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "disk_env.h"
#include "engine.h"
#include "lock_file.h"
#include "mark.h"

enum {
	MAIN_DATABASE = 1, /* LMDB's own, which names the others */
	PIECE = 32 << 20,  /* bytes in one transaction */
	REPORT = 4096,     /* entries between two reports */
	SLACK = 1 << 20,   /* bytes: for pages that are written twice */
};

struct compacting {
	const struct copy_options *options;
	struct disk *from;
	struct disk *to;
	MDB_txn *reader, *writer;
	uint64_t bytes;     /* in the write transaction */
	uint64_t done, all; /* entries */
};

static const MDB_dbi *tables_of(const struct disk *disk, size_t i)
{
	const MDB_dbi *const tables[TABLES] = {
	        &disk->blocks, &disk->records,    &disk->lists,
	        &disk->hashes, &disk->dedup_refs, &disk->refcounts,
	};

	return tables[i];
}

int store_compact_need(struct store *store, struct compact_space *ret_space)
{
	struct compact_space space = {0};
	struct statvfs vfs;
	uint64_t used, unused;
	int r = disk_usage(&store->disk, &used, &unused);

	if (r < 0)
		return r;
	if (statvfs(store->path, &vfs) < 0)
		return -errno;
	space.before = used;
	space.needed = used - MIN(used, unused) + SLACK;
	space.available = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	*ret_space = space;
	return 0;
}

/* Commit the write transaction, if any, and begin another if there is more. */
static int piece_end(struct compacting *c, bool more)
{
	int r = 0;

	if (c->writer)
		r = disk_write_commit(c->to, c->writer);
	c->writer = NULL;
	c->bytes = 0;
	if (!r && more)
		r = disk_write_begin(c->to, &c->writer);
	return r;
}

static int report(struct compacting *c)
{
	if (++c->done % REPORT)
		return 0;
	return c->options->progress(c->options->arg, c->done, c->all);
}

/*
 * Append the entries from the source cursor on until a piece is full.  0: the
 * database is complete; -EAGAIN: a piece is full.
 */
static int entries_append(struct compacting *c, MDB_cursor *from, MDB_dbi to,
                          MDB_cursor_op op)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int r = disk_error(disk_cursor_open(c->writer, to, &cursor));

	if (r < 0)
		return r;
	while (!r) {
		r = disk_error(disk_cursor_get(from, &key, &value, op));
		if (r < 0)
			break;
		op = MDB_NEXT;
		r = disk_error(
		        disk_cursor_put(cursor, &key, &value, MDB_APPEND));
		c->bytes += key.mv_size + value.mv_size;
		if (!r)
			r = report(c);
		if (!r && c->bytes >= PIECE)
			r = -EAGAIN;
	}
	mdb_cursor_close(cursor);
	return r == -ENOENT ? 0 : r;
}

static int table_copy(struct compacting *c, MDB_dbi from, MDB_dbi to)
{
	MDB_cursor *cursor;
	MDB_cursor_op op = MDB_FIRST;
	int r = disk_error(disk_cursor_open(c->reader, from, &cursor));

	if (r < 0)
		return r;
	do {
		r = c->writer ? 0 : piece_end(c, true);
		if (!r)
			r = entries_append(c, cursor, to, op);
		op = MDB_NEXT;
		if (r == -EAGAIN && (r = piece_end(c, true)) == 0)
			r = -EAGAIN;
	} while (r == -EAGAIN);
	mdb_cursor_close(cursor);
	return r;
}

/* Count the entries.  -EPROTONOSUPPORT: there are unknown databases. */
static int entries_count(struct disk *disk, MDB_txn *txn, uint64_t *ret_count)
{
	uint64_t count = 0;
	MDB_stat stat;
	int r = disk_error(disk_stat(txn, MAIN_DATABASE, &stat));

	if (!r && stat.ms_entries != TABLES)
		r = -EPROTONOSUPPORT;
	for (size_t i = 0; !r && i < TABLES; i++) {
		r = disk_error(disk_stat(txn, *tables_of(disk, i), &stat));
		count += stat.ms_entries;
	}
	if (!r)
		*ret_count = count;
	return r;
}

/* Verify that the new file has as many entries as the old one. */
static int entries_verify(struct compacting *c)
{
	uint64_t count = 0;
	MDB_txn *txn;
	int r = disk_read_begin(c->to, &txn);

	if (r < 0)
		return r;
	r = entries_count(c->to, txn, &count);
	disk_read_end(c->to, txn);
	return r < 0 ? r : count == c->all ? 0 : -EUCLEAN;
}

static int tables_copy(struct compacting *c)
{
	int r = entries_count(c->from, c->reader, &c->all);

	for (size_t i = 0; !r && i < TABLES; i++)
		r = table_copy(c, *tables_of(c->from, i), *tables_of(c->to, i));
	if (!r)
		r = piece_end(c, false);
	if (c->writer)
		mdb_txn_abort(c->writer);
	if (!r)
		r = entries_verify(c);
	/* The transactions above were not synced: sync the file once. */
	if (!r)
		r = disk_error(mdb_env_sync(c->to->opening->env, 1));
	if (!r)
		r = c->options->progress(c->options->arg, c->all, c->all);
	return r;
}

/* Write the new store's file into the directory. */
static int file_write(struct store *store, const char *path,
                      const struct copy_options *options)
{
	struct disk to;
	struct compacting c = {
	        .options = options, .from = &store->disk, .to = &to};
	int r = disk_open(&to, path, store->disk.map_size, true, false);

	if (r < 0)
		return r;
	r = disk_error(mdb_env_set_flags(to.opening->env, MDB_NOSYNC, 1));
	if (!r)
		r = disk_read_begin(c.from, &c.reader);
	if (!r) {
		r = tables_copy(&c);
		disk_read_end(c.from, c.reader);
	}
	disk_close(&to);
	return r;
}

static int file_size(const char *path, uint64_t *ret_bytes)
{
	_cleanup_free_ char *data = NULL;
	struct stat st;

	if (asprintf(&data, "%s/data.mdb", path) < 0)
		return data = NULL, -ENOMEM;
	if (stat(data, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int compact(struct store *store, const struct copy_options *options,
                   uint64_t *ret_bytes)
{
	_cleanup_free_ char *path = NULL;
	uint64_t bytes = 0;
	int r;

	if (asprintf(&path, "%s/" STORE_COMPACTING, store->path) < 0)
		return path = NULL, -ENOMEM;
	/* A compaction that was killed may have left the directory. */
	r = store_remove(path);
	if (!r && mkdir(path, 0700) < 0)
		r = -errno;
	if (r < 0)
		return r;
	r = file_write(store, path, options);
	if (!r)
		r = file_size(path, &bytes);
	if (!r)
		r = store_replace(store, path, NULL);
	store_remove(path);
	if (!r)
		*ret_bytes = bytes;
	return r;
}

int store_compact(struct store *store, const struct copy_options *options,
                  uint64_t *ret_bytes)
{
	int r = store->options.readonly ? -EROFS : marks_shut(store);

	/* Other readers would go on with the old file, so none may be there. */
	if (r < 0)
		return r;
	r = compact(store, options, ret_bytes);
	marks_open_again(store);
	return r;
}
