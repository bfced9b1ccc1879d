/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sweeping: freeing the blocks that are on all of several deadlists. */
#include <errno.h>

#include "engine.h"
#include "free.h"
#include "list.h"
#include "list_run.h"

/* Increment hits[i] for each of the ascending numbers that the list has. */
static int list_match(MDB_cursor *cursor, uint64_t list,
                      const uint64_t *numbers, size_t count, struct run *run,
                      uint32_t *hits)
{
	size_t i = 0;

	while (i < count) {
		MDB_val key, value;
		uint64_t next;
		int r = run_find(cursor, list, numbers[i], &key, &value, &next);

		if (r == 0)
			r = run_decode(&key, &value, run);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		for (uint32_t j = 0; i < count && numbers[i] < next; i++) {
			while (j < run->count &&
			       run->entries[j].number < numbers[i])
				j++;
			hits[i] += j < run->count &&
			           run->entries[j].number == numbers[i];
		}
	}
	return 0;
}

/* Remove ascending numbers from a list that has them; return their entries. */
static int list_take(struct store *store, MDB_txn *txn, MDB_cursor *cursor,
                     uint64_t list, const uint64_t *numbers, size_t count,
                     struct run *run, struct entry *ret_taken,
                     struct accounting *accounting)
{
	struct usage *usage;
	uint64_t bytes = 0;
	size_t i = 0;

	while (i < count) {
		uint32_t keep = 0;
		uint64_t first, next;
		MDB_val key, value;
		int r = run_find(cursor, list, numbers[i], &key, &value, &next);

		if (r == 0)
			r = run_decode(&key, &value, run);
		if (r < 0)
			return r == -ENOENT ? -EUCLEAN : r;
		first = run->entries[0].number;
		for (uint32_t j = 0; j < run->count; j++) {
			if (i == count ||
			    run->entries[j].number != numbers[i]) {
				run->entries[keep++] = run->entries[j];
				continue;
			}
			ret_taken[i++] = run->entries[j];
			bytes += run->entries[j].bytes;
		}
		if (i < count && numbers[i] < next)
			return -EUCLEAN;
		r = run_delete(store, txn, list, first);
		if (r == 0)
			r = runs_put(store, txn, list, run->entries, keep);
		if (r < 0)
			return r;
	}
	usage = accounting_get(accounting, list);
	usage->entries -= (int64_t)count;
	usage->bytes -= (int64_t)bytes;
	return 0;
}

/* Put the entries that are not above the base on the version's own list. */
static int sweep_keep(struct store *store, MDB_txn *txn,
                      const struct list_sweep *sweep,
                      const struct entry *entries, size_t count,
                      struct accounting *accounting)
{
	struct usage *usage = accounting_get(accounting, sweep->list);
	int r = count ? list_insert(store, txn, sweep->list, entries, count)
	              : 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		usage->entries++;
		usage->bytes += entries[i].bytes;
	}
	return r;
}

int list_commit_sweep(struct store *store, MDB_txn *txn,
                      const struct list_sweep *sweep, const uint64_t *numbers,
                      size_t count, struct accounting *accounting)
{
	_cleanup_free_ uint32_t *hits = calloc(count, sizeof(*hits));
	_cleanup_free_ uint64_t *on_all = calloc(count, sizeof(*on_all));
	_cleanup_free_ struct entry *taken = calloc(count, sizeof(*taken));
	_cleanup_free_ struct run *run = malloc(sizeof(*run));
	MDB_cursor *cursor;
	size_t n = 0, low = 0;
	uint64_t freed;
	int r = hits && on_all && taken && run ? 0 : -ENOMEM;

	if (r == 0)
		r = disk_error(
		        disk_cursor_open(txn, store->disk.lists, &cursor));
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < sweep->lists_len; i++)
		r = list_match(cursor, sweep->lists[i], numbers, count, run,
		               hits);
	for (size_t i = 0; i < count; i++)
		if (hits[i] == sweep->lists_len)
			on_all[n++] = numbers[i];
	for (size_t i = 0; r == 0 && n && i < sweep->lists_len; i++)
		r = list_take(store, txn, cursor, sweep->lists[i], on_all, n,
		              run, taken, accounting);
	mdb_cursor_close(cursor);
	while (low < n && on_all[low] <= sweep->above)
		low++;
	if (r == 0)
		r = sweep_keep(store, txn, sweep, taken, low, accounting);
	for (size_t i = low; r == 0 && i < n; i++)
		r = commit_free(store, txn, on_all[i], sweep->owner, accounting,
		                &freed);
	return r;
}

int list_common(struct store *store, const struct list_sweep *sweep,
                size_t most, uint64_t *at, uint64_t ret_numbers[SWEEP_MOST],
                size_t *ret_count, uint64_t *ret_bytes)
{
	_cleanup_free_ struct run *run = malloc(2 * sizeof(*run));
	uint64_t numbers[SWEEP_MOST], sizes[SWEEP_MOST], bytes = 0;
	uint32_t hits[SWEEP_MOST] = {0};
	size_t count = 0, n = 0;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r = run ? store_reader(store, &txn) : -ENOMEM;

	if (r == 0)
		r = disk_error(
		        disk_cursor_open(txn, store->disk.lists, &cursor));
	if (r < 0)
		return r;
	r = run_above(cursor, sweep->lists[0], *at, run);
	for (uint32_t j = 0; r == 0 && j < run->count; j++) {
		if (run->entries[j].number <= *at ||
		    count == MIN(most, (size_t)SWEEP_MOST))
			continue;
		sizes[count] = run->entries[j].bytes;
		numbers[count++] = run->entries[j].number;
	}
	for (size_t i = 1; r == 0 && i < sweep->lists_len; i++)
		r = list_match(cursor, sweep->lists[i], numbers, count, run + 1,
		               hits);
	mdb_cursor_close(cursor);
	if (r < 0)
		return r;
	*at = numbers[count - 1];
	for (size_t i = 0; i < count; i++) {
		if (hits[i] + 1 != sweep->lists_len)
			continue;
		bytes += numbers[i] > sweep->above ? sizes[i] : 0;
		ret_numbers[n++] = numbers[i];
	}
	*ret_count = n;
	*ret_bytes = bytes;
	return 0;
}
