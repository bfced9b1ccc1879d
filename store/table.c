/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables: records in the map, overlaid with those that the frozen set changed,
 * overlaid with those that the gathering set changed.
 */
#include <errno.h>

#include "codec.h"
#include "engine.h"

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

static struct overlay *table_overlays(struct store *store, int i)
{
	if (i == 0)
		return &store->gathering->records;
	return store->frozen ? &store->frozen->records : NULL;
}

int table_get(struct store *store, enum table table, const void *key,
              size_t key_len, struct record *ret_record)
{
	struct full_key full;
	MDB_val k, v;
	MDB_txn *txn;
	int r;

	r = full_key_init(&full, table, key, key_len);
	if (r < 0)
		return r;
	for (int i = 0; i < 2; i++) {
		struct overlay *overlay = table_overlays(store, i);
		struct overlay_entry *entry = NULL;

		if (overlay)
			entry = overlay_get(overlay, full.bytes, full.len);
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

	if (len > TABLE_VALUE_MAX)
		return -EINVAL;
	r = full_key_init(&full, table, key, key_len);
	if (r < 0)
		return r;
	r = overlay_put(&store->gathering->records, full.bytes, full.len, value,
	                len);
	if (r < 0)
		return r;
	set_touch(store, full.len + len + 64);
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
 * One step of the merged walk: the lowest key at or after (after: strictly
 * after) `full` in the overlays and the map.  The newest source that has the
 * key decides; *ret_removed tells that it was removed there.
 */
static int table_step(struct store *store, const struct full_key *full,
                      bool after, struct record *record, bool *ret_removed)
{
	struct overlay_entry *best = NULL;
	MDB_val k = {full->len, (void *)full->bytes}, v;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r;

	for (int i = 0; i < 2; i++) {
		struct overlay *overlay = table_overlays(store, i);
		struct overlay_entry *entry;

		if (!overlay)
			continue;
		entry = overlay_seek(overlay, full->bytes, full->len, after);
		if (entry &&
		    (!best ||
		     bytes_compare(overlay_key(entry), entry->key_len,
		                   overlay_key(best), best->key_len) < 0))
			best = entry;
	}
	r = store_reader(store, &txn);
	if (r < 0)
		return r;
	r = disk_error(disk_cursor_open(txn, store->disk.records, &cursor));
	if (r < 0)
		return r;
	r = disk_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	if (r == 0 && after &&
	    !bytes_compare(k.mv_data, k.mv_size, full->bytes, full->len))
		r = disk_cursor_get(cursor, &k, &v, MDB_NEXT);
	mdb_cursor_close(cursor);
	r = disk_error(r);
	if (r < 0 && r != -ENOENT)
		return r;
	if (best &&
	    (r == -ENOENT || bytes_compare(overlay_key(best), best->key_len,
	                                   k.mv_data, k.mv_size) <= 0)) {
		if (overlay_key(best)[0] != full->bytes[0])
			return -ENOENT;
		*ret_removed = !best->value;
		return record_set(record, overlay_key(best), best->key_len,
		                  best->value ? best->value
		                              : (const uint8_t *)"",
		                  best->value ? best->len : 0);
	}
	if (r < 0)
		return r;
	if (*(const uint8_t *)k.mv_data != full->bytes[0])
		return -ENOENT;
	*ret_removed = false;
	return record_set(record, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
}

static int table_walk(struct store *store, enum table table, const void *key,
                      size_t key_len, bool after, struct record *ret_record)
{
	struct full_key full;
	bool removed;
	int r;

	r = full_key_init(&full, table, key, key_len);
	if (r < 0)
		return r;
	for (;;) {
		r = table_step(store, &full, after, ret_record, &removed);
		if (r < 0)
			return r;
		if (!removed)
			break;
		full_key_init(&full, table, ret_record->key,
		              ret_record->key_len);
		after = true;
	}
	return 0;
}

int table_seek(struct store *store, enum table table, const void *key,
               size_t key_len, struct record *ret_record)
{
	return table_walk(store, table, key, key_len, false, ret_record);
}

int table_next(struct store *store, enum table table, const void *key,
               size_t key_len, struct record *ret_record)
{
	return table_walk(store, table, key, key_len, true, ret_record);
}
