/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The runs of deadlists: how they are stored. */
#include "list_run.h"

#include <errno.h>

#include "accounting.h"
#include "codec.h"
#include "engine.h"

enum { ENTRY_LEN_MAX = 15 };

int run_decode(const MDB_val *key, const MDB_val *value, struct run *run)
{
	struct reader r = reader_init(value->mv_data, value->mv_size);
	uint64_t number = be64_get((const uint8_t *)key->mv_data + 8);
	uint64_t sum = 0;

	run->count = (uint32_t)get_varint(&r);
	run->bytes = get_varint(&r);
	if (r.bad || run->count > RUN_ENTRIES_MAX || !run->count)
		return -EUCLEAN;
	for (uint32_t i = 0; i < run->count; i++) {
		number += get_varint(&r);
		run->entries[i].number = number;
		run->entries[i].bytes = (uint32_t)get_varint(&r);
		sum += run->entries[i].bytes;
	}
	return reader_done(&r) && sum == run->bytes ? 0 : -EUCLEAN;
}

/* Write up to `most` entries as one run: as many as fit, at least one. */
static int run_put(struct store *store, MDB_txn *txn, uint64_t list,
                   const struct entry *entries, size_t count, size_t most,
                   size_t *ret_used)
{
	uint8_t key[LIST_KEY_LEN], body[RUN_BYTES_MAX + ENTRY_LEN_MAX];
	uint8_t value[RUN_BYTES_MAX + 32];
	struct writer w = writer_init(body, sizeof(body)), head;
	MDB_val k = {sizeof(key), key}, v;
	uint64_t last = entries[0].number, sum = 0;
	size_t n = 0;
	int r;

	while (n < count && n < most && n < RUN_ENTRIES_MAX) {
		size_t before = writer_len(&w);

		put_varint(&w, entries[n].number - last);
		put_varint(&w, entries[n].bytes);
		if (writer_len(&w) > RUN_BYTES_MAX) {
			w.at = body + before;
			break;
		}
		last = entries[n].number;
		sum += entries[n].bytes;
		n++;
	}
	head = writer_init(value, sizeof(value));
	put_varint(&head, n);
	put_varint(&head, sum);
	put_bytes(&head, body, writer_len(&w));
	list_key(key, list, entries[0].number);
	v = (MDB_val){writer_len(&head), value};
	r = disk_error(disk_put(txn, store->disk.lists, &k, &v));
	if (r < 0)
		return r;
	*ret_used = n;
	return 0;
}

int runs_put(struct store *store, MDB_txn *txn, uint64_t list,
             const struct entry *entries, size_t count)
{
	while (count) {
		size_t used;
		int r = run_put(store, txn, list, entries, count, SIZE_MAX,
		                &used);

		if (r < 0)
			return r;
		entries += used;
		count -= used;
	}
	return 0;
}

/* Return true if this is the key of a run of the list. */
static bool run_key(const MDB_val *key, uint64_t list)
{
	return key->mv_size == LIST_KEY_LEN && be64_get(key->mv_data) == list &&
	       be64_get((const uint8_t *)key->mv_data + 8);
}

int run_find(MDB_cursor *cursor, uint64_t list, uint64_t number, MDB_val *key,
             MDB_val *value, uint64_t *ret_next)
{
	uint8_t bytes[LIST_KEY_LEN];
	MDB_val k = {sizeof(bytes), bytes}, v, nk, nv;
	int r;

	list_key(bytes, list, number);
	r = disk_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	if (r && r != MDB_NOTFOUND)
		return disk_error(r);
	if (r == 0 && run_key(&k, list) &&
	    be64_get((const uint8_t *)k.mv_data + 8) == number)
		goto found;
	r = disk_cursor_get(cursor, &k, &v, r ? MDB_LAST : MDB_PREV);
	if (r == 0 && run_key(&k, list))
		goto found;
	list_key(bytes, list, 1);
	k = (MDB_val){sizeof(bytes), bytes};
	r = disk_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	if (r || !run_key(&k, list))
		return r ? disk_error(r) : -ENOENT;
found:
	*key = k;
	*value = v;
	r = disk_cursor_get(cursor, &nk, &nv, MDB_NEXT);
	if (r && r != MDB_NOTFOUND)
		return disk_error(r);
	*ret_next = r == 0 && run_key(&nk, list)
	                    ? be64_get((const uint8_t *)nk.mv_data + 8)
	                    : UINT64_MAX;
	return 0;
}

int run_delete(struct store *store, MDB_txn *txn, uint64_t list, uint64_t first)
{
	uint8_t bytes[LIST_KEY_LEN];
	MDB_val k = {sizeof(bytes), bytes};

	list_key(bytes, list, first);
	return disk_error(disk_del(txn, store->disk.lists, &k));
}

static size_t entries_merge(const struct entry *a, size_t a_len,
                            const struct entry *b, size_t b_len,
                            struct entry *out)
{
	size_t i = 0, j = 0, n = 0;

	while (i < a_len || j < b_len) {
		if (j == b_len || (i < a_len && a[i].number <= b[j].number))
			out[n++] = a[i++];
		else
			out[n++] = b[j++];
	}
	return n;
}

int list_insert(struct store *store, MDB_txn *txn, uint64_t list,
                const struct entry *entries, size_t count)
{
	_cleanup_free_ struct entry *merged =
	        malloc((RUN_ENTRIES_MAX + count) * sizeof(*merged));
	_cleanup_free_ struct run *run = malloc(sizeof(*run));
	MDB_cursor *cursor;
	int r;

	if (!merged || !run)
		return -ENOMEM;
	r = disk_error(disk_cursor_open(txn, store->disk.lists, &cursor));
	if (r < 0)
		return r;
	while (r == 0 && count) {
		size_t take = 0, n;
		MDB_val key, value;
		uint64_t next;

		r = run_find(cursor, list, entries[0].number, &key, &value,
		             &next);
		if (r == -ENOENT) {
			r = runs_put(store, txn, list, entries, count);
			break;
		}
		if (r == 0)
			r = run_decode(&key, &value, run);
		if (r < 0)
			break;
		while (take < count && entries[take].number < next)
			take++;
		n = entries_merge(run->entries, run->count, entries, take,
		                  merged);
		r = run_delete(store, txn, list, run->entries[0].number);
		if (r == 0)
			r = runs_put(store, txn, list, merged, n);
		entries += take;
		count -= take;
	}
	mdb_cursor_close(cursor);
	return r;
}

int run_above(MDB_cursor *cursor, uint64_t list, uint64_t above,
              struct run *run)
{
	MDB_val key, value;
	uint64_t next, from = above + 1;
	int r;

	for (;;) {
		r = run_find(cursor, list, from, &key, &value, &next);
		if (r == 0)
			r = run_decode(&key, &value, run);
		if (r < 0)
			return r;
		if (run->entries[run->count - 1].number > above)
			return 0;
		if (next == UINT64_MAX)
			return -ENOENT;
		from = next;
	}
}
