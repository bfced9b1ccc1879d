/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guarded calls of LMDB, its error codes, and the counting of pages. */
#include "disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec.h"
#include "fault.h"
#include "page_check.h"
#include "util.h"

int disk_error(int code)
{
	switch (code) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return -ENOSPC;
	case MDB_KEYEXIST:
		return -EEXIST;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_VALSIZE:
	case MDB_CURSOR_FULL:
	case MDB_PAGE_FULL:
	case MDB_BAD_TXN: /* the transaction met damage before */
		return -EUCLEAN;
	case MDB_VERSION_MISMATCH:
		return -EPROTONOSUPPORT;
	case MDB_READERS_FULL:
		return -EAGAIN;
	case MDB_PANIC: /* a meta page could not be written */
		return -EIO;
	default:
		return code > 0 ? -code : -EIO;
	}
}

struct free_count {
	MDB_cursor *cursor;
	size_t oldest;           /* id of the oldest transaction in use */
	uint64_t before, others; /* pages freed before it, and since */
};

static int free_count(void *arg)
{
	struct free_count *f = arg;
	MDB_val key, value;
	int r;

	while (!(r = mdb_cursor_get(f->cursor, &key, &value, MDB_NEXT))) {
		size_t count, id;

		if (key.mv_size != sizeof(id) || value.mv_size < sizeof(count))
			return MDB_CORRUPTED;
		memcpy(&id, key.mv_data, sizeof(id));
		memcpy(&count, value.mv_data, sizeof(count));
		*(id < f->oldest ? &f->before : &f->others) += count;
	}
	return r == MDB_NOTFOUND ? 0 : r;
}

/*
 * Count free pages by the transaction that freed them.  Database 0 of LMDB maps
 * a transaction to the count and numbers of the pages it freed.
 */
static int count_free(MDB_txn *txn, struct free_count *f)
{
	int r = disk_error(disk_cursor_open(txn, 0, &f->cursor));

	if (r < 0)
		return r;
	r = fault_guard(free_count, f);
	mdb_cursor_close(f->cursor);
	return r == FAULT ? -EUCLEAN : disk_error(r);
}

struct stat_call {
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_stat *stat;
};

static int stat_call(void *arg)
{
	struct stat_call *c = arg;

	return mdb_stat(c->txn, c->dbi, c->stat);
}

int disk_stat(MDB_txn *txn, MDB_dbi dbi, MDB_stat *ret_stat)
{
	struct stat_call call = {txn, dbi, ret_stat};
	int r = fault_guard(stat_call, &call);

	return r == FAULT ? MDB_CORRUPTED : r;
}

int disk_table_bytes(struct disk *disk, MDB_dbi dbi, uint64_t *ret_bytes)
{
	MDB_txn *txn;
	MDB_stat stat;
	int r;

	r = disk_read_begin(disk, &txn);
	if (r < 0)
		return r;
	r = disk_error(disk_stat(txn, dbi, &stat));
	disk_read_end(disk, txn);
	if (r == 0)
		*ret_bytes = (stat.ms_branch_pages + stat.ms_leaf_pages +
		              stat.ms_overflow_pages) *
		             DISK_PAGE;
	return r;
}

/*
 * Parse a line of the table of readers: process, thread, and transaction if
 * any.
 */
static int reader_line(const char *line, void *arg)
{
	size_t *oldest = arg, id;

	if (sscanf(line, "%*d %*x %zu", &id) == 1)
		*oldest = MIN(*oldest, id);
	return 0;
}

int disk_count_free(struct disk *disk, struct disk_free *ret_free)
{
	struct free_count f = {0};
	struct disk_free free = {0};
	MDB_txn *txn;
	int r;

	r = disk_read_begin(disk, &txn);
	if (r < 0)
		return r;
	/* This reader sees what the last transaction wrote. */
	f.oldest = mdb_txn_id(txn);
	if (mdb_reader_list(mdb_txn_env(txn), reader_line, &f.oldest) < 0)
		f.oldest = 0;
	free.pinned = f.oldest < mdb_txn_id(txn);
	r = count_free(txn, &f);
	disk_read_end(disk, txn);
	if (r < 0)
		return r;
	free.usable = f.before * DISK_PAGE;
	if (!free.pinned)
		free.coming = f.others * DISK_PAGE;
	*ret_free = free;
	return 0;
}

int disk_usage(struct disk *disk, uint64_t *ret_used, uint64_t *ret_free)
{
	struct free_count f = {0};
	MDB_envinfo info;
	MDB_txn *txn;
	int r;

	disk_info(disk, &info);
	r = disk_read_begin(disk, &txn);
	if (r < 0)
		return r;
	r = count_free(txn, &f);
	disk_read_end(disk, txn);
	if (r < 0)
		return r;
	*ret_used = (info.me_last_pgno + 1) * DISK_PAGE;
	*ret_free = f.others * DISK_PAGE;
	return 0;
}

/* ---- Reading what may be damaged ---------------------------------------- */

struct get_call {
	MDB_txn *txn; /* or the cursor */
	MDB_cursor *cursor;
	MDB_dbi dbi;
	MDB_cursor_op op;
	bool touch;
	MDB_val *key, *value;
};

/* Read the first and the last byte of data that spans two pages at most. */
static void bytes_touch(const void *data, size_t len)
{
	const volatile uint8_t *bytes = data;

	(void)bytes[0];
	(void)bytes[len - 1];
}

static int get_call(void *arg)
{
	enum { KEY_MAX = 511, KEY_LEAST = 8 };
	struct get_call *c = arg;
	int r;

	/* LMDB sets only one of the two fields if the page is damaged. */
	*c->value = (MDB_val){0};
	r = c->cursor ? mdb_cursor_get(c->cursor, c->key, c->value, c->op)
	              : mdb_get(c->txn, c->dbi, c->key, c->value);
	if (r)
		return r;
	if (!c->value->mv_data || c->value->mv_size > DISK_VALUE_MAX ||
	    c->key->mv_size - 1 >= KEY_MAX)
		return MDB_CORRUPTED;
	if (c->cursor && c->op != MDB_SET)
		bytes_touch(c->key->mv_data,
		            MAX(c->key->mv_size, (size_t)KEY_LEAST));
	if (c->touch && c->value->mv_size)
		bytes_touch(c->value->mv_data, c->value->mv_size);
	return 0;
}

static int get_guarded(struct get_call *call)
{
	int r = fault_guard(get_call, call);

	return r == FAULT ? MDB_CORRUPTED : r;
}

int disk_find(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *ret_value)
{
	struct get_call call = {.txn = txn,
	                        .dbi = dbi,
	                        .key = key,
	                        .value = ret_value,
	                        .touch = true};

	return get_guarded(&call);
}

int disk_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **ret_cursor)
{
	MDB_stat stat;
	/*
	 * disk_stat() makes LMDB load the root of the database, so that
	 * mdb_cursor_open() only allocates memory.
	 */
	int r = disk_stat(txn, dbi, &stat);

	return r ? r : mdb_cursor_open(txn, dbi, ret_cursor);
}

int disk_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value,
                    MDB_cursor_op op)
{
	struct get_call call = {.cursor = cursor,
	                        .op = op,
	                        .key = key,
	                        .value = value,
	                        .touch = true};

	return get_guarded(&call);
}

int disk_cursor_where(MDB_cursor *cursor, MDB_val *key, MDB_val *value,
                      MDB_cursor_op op)
{
	struct get_call call = {
	        .cursor = cursor, .op = op, .key = key, .value = value};

	return get_guarded(&call);
}

int disk_get(MDB_txn *txn, MDB_dbi dbi, uint64_t number, MDB_val *ret_value)
{
	MDB_val key = {sizeof(number), &number};

	return disk_error(disk_find(txn, dbi, &key, ret_value));
}

int disk_get_u64(MDB_txn *txn, MDB_dbi dbi, uint64_t number,
                 uint64_t *ret_value)
{
	MDB_val value;
	int r = disk_get(txn, dbi, number, &value);

	if (r < 0)
		return r;
	if (value.mv_size != 8)
		return -EUCLEAN;
	*ret_value = be64_get(value.mv_data);
	return 0;
}

/* ---- Writing to what may be damaged ------------------------------------- */

static int key_check(MDB_txn *txn, MDB_dbi dbi, const MDB_val *key,
                     bool removal)
{
	struct opening *opening = mdb_env_get_userctx(mdb_txn_env(txn));
	int r = page_check_key(opening->check, dbi, key, removal);

	return r == -EUCLEAN ? MDB_CORRUPTED : -r;
}

int disk_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
	int r = key_check(txn, dbi, key, false);

	return r ? r : mdb_put(txn, dbi, key, value, 0);
}

int disk_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key)
{
	int r = key_check(txn, dbi, key, true);

	return r ? r : mdb_del(txn, dbi, key, NULL);
}

int disk_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *value,
                    unsigned flags)
{
	int r = key_check(mdb_cursor_txn(cursor), mdb_cursor_dbi(cursor), key,
	                  false);

	return r ? r : mdb_cursor_put(cursor, key, value, flags);
}

int disk_cursor_del(MDB_cursor *cursor, MDB_val *key)
{
	int r = key_check(mdb_cursor_txn(cursor), mdb_cursor_dbi(cursor), key,
	                  true);

	return r ? r : mdb_cursor_del(cursor, 0);
}

int disk_put_u64(MDB_txn *txn, MDB_dbi dbi, uint64_t number, uint64_t value)
{
	uint8_t bytes[8];
	MDB_val key = {sizeof(number), &number};
	MDB_val val = {sizeof(bytes), bytes};

	be64_put(bytes, value);
	return disk_error(disk_put(txn, dbi, &key, &val));
}

int disk_del_u64(MDB_txn *txn, MDB_dbi dbi, uint64_t number)
{
	MDB_val key = {sizeof(number), &number};

	return disk_error(disk_del(txn, dbi, &key));
}
