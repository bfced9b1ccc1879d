/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deadlists: the committer's work on them, and questions. */
#include "list.h"

#include <errno.h>

#include "array.h"
#include "chunk_codec.h"
#include "engine.h"
#include "free.h"
#include "list_run.h"
#include "rest.h"
#include "stored_block.h"

/* ---- The committer's work ----------------------------------------------- */

/* Sizes in the order of their numbers, and the position of the last look-up. */
struct sizes {
	const struct stored_size *sizes;
	size_t len, at;
};

/* Find the stored size of a block; 0: missing.  The numbers ascend. */
static int stored_bytes(struct store *store, MDB_txn *txn, struct sizes *known,
                        uint64_t number, uint32_t *ret_bytes)
{
	struct stored_block b = {0};
	int r;

	while (known->at < known->len &&
	       known->sizes[known->at].number < number)
		known->at++;
	if (known->at < known->len &&
	    known->sizes[known->at].number == number) {
		*ret_bytes = (uint32_t)known->sizes[known->at].bytes;
		return 0;
	}
	r = stored_block_get(store, txn, number, &b);
	if (r < 0 && r != -ENOENT && r != -EUCLEAN)
		return r;
	*ret_bytes = (uint32_t)b.bytes;
	return 0;
}

static int pending_commit(struct store *store, MDB_txn *txn,
                          struct pending_list *p, struct sizes known,
                          struct accounting *accounting)
{
	_cleanup_free_ struct entry *entries =
	        malloc(p->len * sizeof(*entries));
	struct usage *usage;
	uint64_t bytes = 0;
	int r;

	if (!entries)
		return -ENOMEM;
	array_sort(p->numbers, p->len, number_compare);
	for (size_t i = 0; i < p->len; i++) {
		store_rest(store);
		entries[i].number = p->numbers[i];
		r = stored_bytes(store, txn, &known, p->numbers[i],
		                 &entries[i].bytes);
		if (r < 0)
			return r;
		bytes += entries[i].bytes;
	}
	r = list_insert(store, txn, p->list, entries, p->len);
	if (r < 0)
		return r;
	usage = accounting_get(accounting, p->list);
	usage->entries += p->len;
	usage->bytes += (int64_t)bytes;
	return 0;
}

int list_commit(struct store *store, MDB_txn *txn, struct txg *txg,
                const struct stored_size *sizes, size_t sizes_len,
                struct accounting *accounting)
{
	const struct sizes known = {sizes, sizes_len, 0};

	for (size_t i = 0; i < txg->lists_len; i++) {
		int r;

		if (!txg->lists[i].len)
			continue;
		r = pending_commit(store, txn, &txg->lists[i], known,
		                   accounting);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Free up to `most` blocks of the first run with entries above job->above.
 * Return their number.  -ENOENT: there is no such run.
 */
static int job_free_above(struct store *store, MDB_txn *txn, MDB_cursor *cursor,
                          struct list_job *job, uint32_t most, struct run *run,
                          struct accounting *accounting)
{
	uint32_t keep = 0, n = 0;
	struct usage *usage;
	uint64_t bytes = 0;
	int r;

	r = run_above(cursor, job->list, job->above, run);
	if (r < 0)
		return r;
	while (run->entries[keep].number <= job->above)
		keep++;
	for (; keep + n < run->count && n < most; n++) {
		const struct entry *entry = &run->entries[keep + n];
		uint64_t freed;

		r = commit_free(store, txn, entry->number, job->other,
		                accounting, &freed);
		if (r < 0)
			return r;
		bytes += entry->bytes;
		job->freed_blocks++;
		job->freed_bytes += freed;
	}
	usage = accounting_get(accounting, job->list);
	usage->entries -= n;
	usage->bytes -= (int64_t)bytes;
	r = run_delete(store, txn, job->list, run->entries[0].number);
	memmove(&run->entries[keep], &run->entries[keep + n],
	        (run->count - keep - n) * sizeof(run->entries[0]));
	if (r == 0)
		r = runs_put(store, txn, job->list, run->entries,
		             run->count - n);
	return r < 0 ? r : (int)n;
}

static int job_take_run(struct store *store, MDB_txn *txn, MDB_cursor *cursor,
                        struct list_job *job, struct run *run,
                        struct accounting *accounting)
{
	struct usage *usage;
	int r;

	r = run_above(cursor, job->list, 0, run);
	if (r < 0)
		return r;
	usage = accounting_get(accounting, job->list);
	usage->entries -= run->count;
	usage->bytes -= (int64_t)run->bytes;
	r = run_delete(store, txn, job->list, run->entries[0].number);
	if (r == 0 && job->kind == LIST_MOVE) {
		r = list_insert(store, txn, job->other, run->entries,
		                run->count);
		usage = accounting_get(accounting, job->other);
		usage->entries += run->count;
		usage->bytes += (int64_t)run->bytes;
	}
	return r < 0 ? r : (int)run->count;
}

int list_commit_job(struct store *store, MDB_txn *txn, struct list_job *job,
                    struct accounting *accounting)
{
	_cleanup_free_ struct run *run = malloc(sizeof(*run));
	MDB_cursor *cursor;
	int64_t left = job->budget;
	int r;

	if (!run)
		return -ENOMEM;
	job->done = false;
	job->freed_blocks = job->freed_bytes = 0;
	r = disk_error(disk_cursor_open(txn, store->disk.lists, &cursor));
	if (r < 0)
		return r;
	while (left > 0 && r >= 0) {
		r = job->kind == LIST_FREE_ABOVE
		            ? job_free_above(store, txn, cursor, job,
		                             (uint32_t)left, run, accounting)
		            : job_take_run(store, txn, cursor, job, run,
		                           accounting);
		left -= r;
	}
	mdb_cursor_close(cursor);
	if (r == -ENOENT) {
		job->done = true;
		r = 0;
	}
	if (job->done && job->kind == LIST_DROP) {
		struct usage none = {.list = job->list};
		struct usage *usage = accounting_get(accounting, job->list);

		usage->entries = usage->bytes = usage->unique = 0;
		r = usage_put(store, txn, &none);
	}
	return r < 0 ? r : 0;
}

/* ---- Questions ---------------------------------------------------------- */

int list_info(struct store *store, uint64_t list, struct list_info *ret_info)
{
	struct usage a;
	MDB_txn *txn;
	int r;

	r = store_reader(store, &txn);
	if (r == 0)
		r = usage_get(store, txn, list, &a);
	if (r < 0)
		return r;
	*ret_info = (struct list_info){
	        .entries = (uint64_t)MAX(a.entries, 0),
	        .bytes = (uint64_t)MAX(a.bytes, 0),
	        .unique_bytes = (uint64_t)MAX(a.unique, 0),
	};
	return 0;
}

/* Return the part of a run's bytes that is above `above`. */
static uint64_t run_bytes_above(const struct run *run, uint64_t above)
{
	uint64_t sum = 0;

	if (run->entries[0].number > above)
		return run->bytes;
	for (uint32_t i = 0; i < run->count; i++)
		if (run->entries[i].number > above)
			sum += run->entries[i].bytes;
	return sum;
}

int list_sum_step(struct store *store, struct list_sum *sum, uint32_t runs)
{
	_cleanup_free_ struct run *run = malloc(sizeof(*run));
	uint64_t at = MAX(sum->at, sum->above), bytes = sum->bytes;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r;

	if (!run)
		return -ENOMEM;
	r = store_reader(store, &txn);
	if (r == 0)
		r = disk_error(
		        disk_cursor_open(txn, store->disk.lists, &cursor));
	if (r < 0)
		return r;
	while (runs-- && (r = run_above(cursor, sum->list, at, run)) == 0) {
		bytes += run_bytes_above(run, sum->above);
		at = run->entries[run->count - 1].number;
	}
	mdb_cursor_close(cursor);
	if (r < 0 && r != -ENOENT)
		return r;
	sum->bytes = bytes;
	sum->at = at;
	return r ? 0 : -EAGAIN;
}

int list_bytes_above(struct store *store, uint64_t list, uint64_t above,
                     uint64_t *ret_bytes)
{
	struct list_sum sum = {.list = list, .above = above};
	int r = list_sum_step(store, &sum, UINT32_MAX);

	if (!r)
		*ret_bytes = sum.bytes;
	return r == -EAGAIN ? -EUCLEAN : r;
}
