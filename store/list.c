/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deadlists.  In the map a list is a row of runs: key (list, first number),
 * value a count, the sum of the sizes, and for each entry, in ascending order,
 * the distance of its number from the one before and its stored size, as
 * varints.  Key (list, 0) holds the usage of the list's version: accounting.c.
 */
#include "list.h"

#include <errno.h>

#include "array.h"
#include "chunk_codec.h"
#include "codec.h"
#include "engine.h"
#include "free.h"
#include "stored_block.h"

enum {
	RUN_BYTES_MAX = 1980,
	RUN_ENTRIES_MAX = RUN_BYTES_MAX / 2,
	ENTRY_LEN_MAX = 15,
};

struct entry {
	uint64_t number;
	uint32_t bytes;
};

struct run {
	uint32_t count;
	uint64_t bytes;
	struct entry entries[RUN_ENTRIES_MAX];
};

/* ---- Runs --------------------------------------------------------------- */

static int run_decode(const MDB_val *key, const MDB_val *value, struct run *run)
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

/* Write entries as one run: as many as fit, at least one. */
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

static int runs_put(struct store *store, MDB_txn *txn, uint64_t list,
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

/*
 * The run a number belongs in: the last that begins at or before it, else the
 * first of the list; and where the next run begins (UINT64_MAX: there is
 * none).  -ENOENT: the list has no runs.
 */
static int run_find(MDB_cursor *cursor, uint64_t list, uint64_t number,
                    MDB_val *key, MDB_val *value, uint64_t *ret_next)
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

static int run_delete(struct store *store, MDB_txn *txn, uint64_t list,
                      uint64_t first)
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

/* Merge entries, ascending, into the list's runs. */
static int list_insert(struct store *store, MDB_txn *txn, uint64_t list,
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

/* ---- The committer's work ----------------------------------------------- */

/* Sizes in the order of their numbers, and where the next is looked for. */
struct sizes {
	const struct stored_size *sizes;
	size_t len, at;
};

/* Return the stored size of a block; the numbers ascend. */
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

/* Find the first run of the list that has entries above `above`. */
static int run_above(MDB_cursor *cursor, uint64_t list, uint64_t above,
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

static int job_free_above(struct store *store, MDB_txn *txn, MDB_cursor *cursor,
                          struct list_job *job, struct run *run,
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
	for (uint32_t i = keep; i < run->count; i++, n++) {
		uint64_t freed;

		r = commit_free(store, txn, run->entries[i].number, job->other,
		                accounting, &freed);
		if (r < 0)
			return r;
		bytes += run->entries[i].bytes;
		job->freed_blocks++;
		job->freed_bytes += freed;
	}
	usage = accounting_get(accounting, job->list);
	usage->entries -= n;
	usage->bytes -= (int64_t)bytes;
	r = run_delete(store, txn, job->list, run->entries[0].number);
	if (r == 0)
		r = runs_put(store, txn, job->list, run->entries, keep);
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
		            ? job_free_above(store, txn, cursor, job, run,
		                             accounting)
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

/* ---- Sweeping ----------------------------------------------------------- */

/* Count in hits[] which of the numbers, ascending, the list has. */
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

/* Take numbers, ascending, off a list that has them.  ret: their entries. */
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
