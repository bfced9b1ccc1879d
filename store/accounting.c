/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space accounting.  The usage of a version is the record (list, 0) in the
 * table `lists`: entries, bytes and unique bytes, as varints.
 */
#include "accounting.h"

#include <errno.h>

#include "codec.h"
#include "engine.h"
#include "number_index.h"

enum { USAGE_LEN_MAX = 30 };

static uint64_t usage_at(void *arg, uint32_t i)
{
	return ((struct accounting *)arg)->usages[i].list;
}

struct usage *accounting_get(struct accounting *accounting, uint64_t list)
{
	uint32_t *slot;

	if (number_index_grow((void **)&accounting->usages,
	                      sizeof(*accounting->usages), accounting->len,
	                      &accounting->capacity, &accounting->index,
	                      &accounting->index_size, usage_at, accounting))
		txg_out_of_memory();
	slot = number_index_find(accounting->index, accounting->index_size,
	                         list, usage_at, accounting);
	if (!*slot) {
		accounting->usages[accounting->len] =
		        (struct usage){.list = list};
		*slot = (uint32_t)++accounting->len;
	}
	return &accounting->usages[*slot - 1];
}

void accounting_release(struct accounting *accounting)
{
	free(accounting->usages);
	free(accounting->index);
	*accounting = (struct accounting){0};
}

int usage_get(struct store *store, MDB_txn *txn, uint64_t list,
              struct usage *ret_usage)
{
	struct usage a = {.list = list};
	uint8_t key[LIST_KEY_LEN];
	MDB_val k = {sizeof(key), key}, v;
	struct reader reader;
	int r;

	list_key(key, list, 0);
	r = disk_error(disk_find(txn, store->disk.lists, &k, &v));
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0) {
		reader = reader_init(v.mv_data, v.mv_size);
		a.entries = get_svarint(&reader);
		a.bytes = get_svarint(&reader);
		a.unique = get_svarint(&reader);
		if (!reader_done(&reader))
			return -EUCLEAN;
	}
	*ret_usage = a;
	return 0;
}

int usage_put(struct store *store, MDB_txn *txn, const struct usage *a)
{
	uint8_t key[LIST_KEY_LEN], value[USAGE_LEN_MAX];
	struct writer w = writer_init(value, sizeof(value));
	MDB_val k = {sizeof(key), key}, v;
	int r;

	list_key(key, a->list, 0);
	if (!a->entries && !a->bytes && !a->unique) {
		r = disk_error(disk_del(txn, store->disk.lists, &k));
		return r == -ENOENT ? 0 : r;
	}
	put_svarint(&w, a->entries);
	put_svarint(&w, a->bytes);
	put_svarint(&w, a->unique);
	v = (MDB_val){writer_len(&w), value};
	return disk_error(disk_put(txn, store->disk.lists, &k, &v));
}

int accounting_apply(struct store *store, MDB_txn *txn,
                     struct accounting *accounting)
{
	for (size_t i = 0; i < accounting->len; i++) {
		struct usage *change = &accounting->usages[i], now;
		int r;

		if (!change->entries && !change->bytes && !change->unique)
			continue;
		r = usage_get(store, txn, change->list, &now);
		if (r < 0)
			return r;
		now.entries += change->entries;
		now.bytes += change->bytes;
		now.unique += change->unique;
		r = usage_put(store, txn, &now);
		if (r < 0)
			return r;
	}
	return 0;
}

int accounting_transfer(struct store *store, MDB_txn *txn,
                        struct accounting *accounting, uint64_t from,
                        uint64_t to)
{
	struct usage now;
	int64_t unique;
	int r = usage_get(store, txn, from, &now);

	if (r < 0)
		return r;
	unique = now.unique + accounting_get(accounting, from)->unique;
	accounting_get(accounting, from)->unique -= unique;
	accounting_get(accounting, to)->unique += unique;
	return 0;
}
