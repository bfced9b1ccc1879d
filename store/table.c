/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables: records in the map, overlaid with those that the syncing group
 * changed, overlaid with those that the open group changed.
 */
#include <errno.h>

#include "codec.h"
#include "engine.h"
#include "lock.h"
#include "table_undo.h"

struct full_key {
	uint8_t bytes[TABLE_KEY_MAX + 1];
	size_t len;
};

static int full_key_init(struct full_key *full, enum table table,
                         const void *key, size_t key_len)
{
	if (key_len > TABLE_KEY_MAX)
		return -EINVAL;
	full->bytes[0] = (uint8_t)table;
	memcpy(full->bytes + 1, key, key_len);
	full->len = key_len + 1;
	return 0;
}

static int record_set(struct record *record, const void *full_key,
                      size_t full_len, const void *value, size_t len)
{
	if (full_len > TABLE_KEY_MAX + 1 || len > TABLE_VALUE_MAX)
		return -EUCLEAN;
	record->key_len = (uint32_t)full_len - 1;
	memcpy(record->key, (const uint8_t *)full_key + 1, full_len - 1);
	record->len = (uint32_t)len;
	memcpy(record->value, value, len);
	return 0;
}

static struct memtable *table_memtables(struct store *store, int i)
{
	if (i == 0)
		return &store->open_txg->records;
	return store->syncing_txg ? &store->syncing_txg->records : NULL;
}

int table_get(struct store *store, enum table table, const void *key,
              size_t key_len, struct record *ret_record)
{
	struct full_key full;
	MDB_val k, v;
	MDB_txn *txn;
	int r;

	count_work(store);
	r = full_key_init(&full, table, key, key_len);
	if (r < 0)
		return r;
	for (int i = 0; i < 2; i++) {
		struct memtable *memtable = table_memtables(store, i);
		struct memtable_entry *entry = NULL;

		if (memtable)
			entry = memtable_get(memtable, full.bytes, full.len);
		if (entry && !entry->value)
			return -ENOENT;
		if (entry)
			return record_set(ret_record, full.bytes, full.len,
			                  entry->value, entry->len);
	}
	r = store_reader(store, &txn);
	if (r < 0)
		return r;
	k = (MDB_val){full.len, full.bytes};
	r = disk_error(disk_find(txn, store->disk.records, &k, &v));
	if (r < 0)
		return r;
	return record_set(ret_record, full.bytes, full.len, v.mv_data,
	                  v.mv_size);
}

static int table_change(struct store *store, enum table table, const void *key,
                        size_t key_len, const void *value, size_t len)
{
	struct full_key full;
	int r;

	count_work(store);
	if (len > TABLE_VALUE_MAX)
		return -EINVAL;
	r = full_key_init(&full, table, key, key_len);
	if (r < 0)
		return r;
	if (store->undo)
		r = table_undo_note(store, full.bytes, full.len);
	if (r < 0)
		return r;
	r = memtable_put(&store->open_txg->records, full.bytes, full.len, value,
	                 len);
	if (r < 0)
		return r;
	store->open_txg->removals += !value;
	txg_touch(store, full.len + len + 64);
	return 0;
}

int table_put(struct store *store, enum table table, const void *key,
              size_t key_len, const void *value, size_t len)
{
	return table_change(store, table, key, key_len, value ? value : "",
	                    len);
}

int table_del(struct store *store, enum table table, const void *key,
              size_t key_len)
{
	return table_change(store, table, key, key_len, NULL, 0);
}

/*
 * A merged walk over the records from a key on.  The newest source with a key
 * decides.
 */
struct walk {
	struct memtable_entry *entries[2]; /* of the memtable, newest first */
	MDB_cursor *cursor;
	MDB_val key, value; /* of the map, where `r` is 0 */
	int r;
};

static void walk_release(struct walk *walk)
{
	if (walk->cursor)
		mdb_cursor_close(walk->cursor);
}

/* Begin at (after: strictly after) the key. */
static int walk_init(struct walk *walk, struct store *store,
                     const struct full_key *full, bool after)
{
	MDB_txn *txn;
	int r;

	*walk = (struct walk){.key = {full->len, (void *)full->bytes}};
	for (int i = 0; i < 2; i++) {
		struct memtable *memtable = table_memtables(store, i);

		if (memtable)
			walk->entries[i] = memtable_seek(memtable, full->bytes,
			                                 full->len, after);
	}
	r = store_reader(store, &txn);
	if (r == 0)
		r = disk_error(disk_cursor_open(txn, store->disk.records,
		                                &walk->cursor));
	if (r < 0)
		return r;
	r = disk_cursor_get(walk->cursor, &walk->key, &walk->value,
	                    MDB_SET_RANGE);
	if (r == 0 && after &&
	    !bytes_compare(walk->key.mv_data, walk->key.mv_size, full->bytes,
	                   full->len))
		r = disk_cursor_get(walk->cursor, &walk->key, &walk->value,
		                    MDB_NEXT);
	walk->r = disk_error(r);
	return walk->r == -ENOENT ? 0 : walk->r;
}

/* Return the lowest key of all sources; NULL data at the end. */
static MDB_val walk_lowest(const struct walk *walk)
{
	MDB_val lowest = walk->r ? (MDB_val){0} : walk->key;

	for (int i = 0; i < 2; i++) {
		const struct memtable_entry *entry = walk->entries[i];

		if (entry &&
		    (!lowest.mv_data ||
		     bytes_compare(memtable_key(entry), entry->key_len,
		                   lowest.mv_data, lowest.mv_size) < 0))
			lowest = (MDB_val){entry->key_len,
			                   (void *)memtable_key(entry)};
	}
	return lowest;
}

static bool entry_is(const struct memtable_entry *entry, const MDB_val *key)
{
	return entry && !bytes_compare(memtable_key(entry), entry->key_len,
	                               key->mv_data, key->mv_size);
}

/*
 * Move all sources past the key.  *ret_value: its value in the newest source;
 * NULL data: it was removed.
 */
static int walk_pass(struct walk *walk, const MDB_val *key, MDB_val *ret_value)
{
	bool found = false;

	for (int i = 0; i < 2; i++) {
		struct memtable_entry *entry = walk->entries[i];

		if (!entry_is(entry, key))
			continue;
		if (!found)
			*ret_value = (MDB_val){entry->len, entry->value};
		found = true;
		walk->entries[i] = entry->next[0];
	}
	if (walk->r || bytes_compare(walk->key.mv_data, walk->key.mv_size,
	                             key->mv_data, key->mv_size))
		return 0;
	/* The caller copies a value of the map before it moves on. */
	if (!found) {
		*ret_value = walk->value;
		return 0;
	}
	walk->r = disk_error(disk_cursor_get(walk->cursor, &walk->key,
	                                     &walk->value, MDB_NEXT));
	return walk->r == -ENOENT ? 0 : walk->r;
}

/* budget NULL: no limit to the removed records passed. */
static int table_walk(struct store *store, enum table table, const void *key,
                      size_t key_len, bool after, unsigned *budget,
                      struct record *ret_record)
{
	_cleanup_(walk_release) struct walk walk = {0};
	struct full_key full;
	MDB_val lowest, value;
	int r;

	r = full_key_init(&full, table, key, key_len);
	if (r == 0)
		r = walk_init(&walk, store, &full, after);
	while (r == 0) {
		count_work(store);
		lowest = walk_lowest(&walk);
		if (!lowest.mv_data ||
		    *(const uint8_t *)lowest.mv_data != full.bytes[0])
			return -ENOENT;
		r = walk_pass(&walk, &lowest, &value);
		if (r == 0 && budget)
			--*budget;
		if (r == 0 && value.mv_data)
			return record_set(ret_record, lowest.mv_data,
			                  lowest.mv_size, value.mv_data,
			                  value.mv_size);
		store->passed++;
		if (r == 0 && budget && !*budget) {
			r = record_set(ret_record, lowest.mv_data,
			               lowest.mv_size, "", 0);
			return r ? r : -EAGAIN;
		}
	}
	return r;
}

int table_seek(struct store *store, enum table table, const void *key,
               size_t key_len, struct record *ret_record)
{
	return table_walk(store, table, key, key_len, false, NULL, ret_record);
}

int table_next(struct store *store, enum table table, const void *key,
               size_t key_len, struct record *ret_record)
{
	return table_walk(store, table, key, key_len, true, NULL, ret_record);
}

int table_next_within(struct store *store, enum table table, const void *key,
                      size_t key_len, unsigned *budget,
                      struct record *ret_record)
{
	return table_walk(store, table, key, key_len, true, budget, ret_record);
}
