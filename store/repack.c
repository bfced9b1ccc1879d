/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repacking leaf pages of the table `blocks`.
 *
 * LMDB merges a leaf with its neighbour when both are less than a quarter full,
 * and never fills one up from another.  If most blocks of a region were freed,
 * its leaves stay a third full.  So freed bytes are counted by region of block
 * numbers.  When they are many, a pass reads the leaves of the region, and
 * plans runs of adjacent leaves whose entries fit into fewer.  The next commit
 * removes the entries of a run and puts them back, which fills the pages.
 */
#include "repack.h"

#include <errno.h>

#include "commit.h"
#include "engine.h"
#include "page.h"
#include "reservation.h"
#include "write.h"

enum {
	LEAF_ROOM = DISK_PAGE - PAGE_HEADER,
	LEAF_FULL = LEAF_ROOM - LEAF_ROOM / 10, /* not worth repacking */
	RUN_LEAVES = 128,
	RUNS_A_COMMIT = 128,
	LEAVES_A_STEP = 512, /* leaves read for one commit */
	/* Leaves are read if 1 in this many of their bytes was freed. */
	SPARSE_SHARE = 16,
	BLOCK_BYTES = 256, /* freed in a leaf with a block, about */
	/* Leaves are rewritten if that saves 1 page in this many. */
	SAVED_SHARE = 6,
};

/* ---- Regions ------------------------------------------------------------ */

static size_t region_of(const struct sparse *sparse, uint64_t number)
{
	return MIN((size_t)(number >> sparse->shift),
	           (size_t)SPARSE_REGIONS - 1);
}

/* Double the size of the regions until the number lies in one of them. */
static void sparse_stretch(struct sparse *sparse, uint64_t number)
{
	while (number >> sparse->shift >= SPARSE_REGIONS) {
		for (size_t i = 0; i < SPARSE_REGIONS / 2; i++)
			sparse->freed[i] =
			        sparse->freed[2 * i] + sparse->freed[2 * i + 1];
		memset(sparse->freed + SPARSE_REGIONS / 2, 0,
		       sizeof(sparse->freed) / 2);
		sparse->shift++;
		sparse->next /= 2;
	}
}

void sparse_add(struct sparse *sparse, uint64_t number, size_t len)
{
	pthread_mutex_lock(&sparse->lock);
	sparse_stretch(sparse, number);
	sparse->freed[region_of(sparse, number)] += item_size(len);
	sparse->total += item_size(len);
	pthread_mutex_unlock(&sparse->lock);
}

/* Return true if the region is worth reading, and reset its count. */
static bool region_take(struct sparse *sparse, size_t region, uint64_t least)
{
	uint64_t freed = sparse->freed[region];

	if (!freed || freed < least)
		return false;
	sparse->freed[region] = 0;
	sparse->total -= MIN(sparse->total, freed);
	return true;
}

/*
 * Find the next adjacent regions that are worth reading: numbers from
 * *ret_first to *ret_last.  Return false if there are none.
 */
static bool sparse_take(struct sparse *sparse, uint64_t least, uint64_t seq,
                        uint64_t *ret_first, uint64_t *ret_last)
{
	size_t begin, used, i, end;

	pthread_mutex_lock(&sparse->lock);
	begin = sparse->next;
	used = region_of(sparse, seq) + 1;
	/* A pass continues to its end. */
	i = begin || sparse->total >= least ? begin : used;
	while (i < used && !region_take(sparse, i, least / used))
		i++;
	for (end = i + 1; end < used; end++)
		if (!region_take(sparse, end, least / used))
			break;
	sparse->next = i < used ? end : 0;
	if (i < used) {
		*ret_first = (uint64_t)i << sparse->shift;
		*ret_last = ((uint64_t)end << sparse->shift) - 1;
	}
	if (i == used && !begin && sparse->total >= least) {
		/* The freed bytes are too spread out: no region is worth it. */
		sparse->total = 0;
		memset(sparse->freed, 0, sizeof(sparse->freed));
	}
	pthread_mutex_unlock(&sparse->lock);
	return i < used;
}

/* ---- Planning ----------------------------------------------------------- */

/* The keys to read, the current run, and the runs found. */
struct plan {
	MDB_cursor *cursor;
	uint64_t last; /* key at which to stop */
	uint64_t at;   /* key to go on from; UINT64_MAX: there is no more */
	uint64_t from; /* key from which the last regions are read */
	uint64_t read; /* key after the last that was read */
	unsigned leaves;
	struct repack run;
	struct repack found[RUNS_A_COMMIT + 1];
	unsigned found_len;
};

static unsigned pages_for(size_t bytes)
{
	/* Entries leave space at the ends of pages. */
	size_t space = LEAF_ROOM - LEAF_ROOM / 32;

	return (unsigned)((bytes + space - 1) / space);
}

/* End the run, and keep it if it is worth repacking. */
static void plan_close(struct plan *plan)
{
	const struct repack *run = &plan->run;
	unsigned pages = pages_for(run->bytes);

	if (run->leaves > pages &&
	    (run->leaves - pages) * SAVED_SHARE >= run->leaves &&
	    run->large <= run->leaves - pages)
		plan->found[plan->found_len++] = *run;
	plan->run = (struct repack){0};
}

static void plan_leaf(struct plan *plan, const struct repack *leaf)
{
	struct repack *run = &plan->run;

	plan->leaves++;
	if (leaf->bytes > LEAF_FULL) {
		plan_close(plan);
		return;
	}
	if (!run->leaves)
		run->first = leaf->first;
	run->last = leaf->last;
	run->leaves++;
	run->entries += leaf->entries;
	run->large += leaf->large;
	run->bytes += leaf->bytes;
	if (run->leaves == RUN_LEAVES)
		plan_close(plan);
}

/* Read leaves until there is enough for a commit, or the region ends. */
static int plan_read(struct plan *plan)
{
	uintptr_t page = 0;
	struct repack leaf = {0};
	MDB_val key = {sizeof(plan->at), &plan->at}, value;
	int r = disk_cursor_where(plan->cursor, &key, &value, MDB_SET_RANGE);

	while (r == 0) {
		uintptr_t here = (uintptr_t)key.mv_data / DISK_PAGE;

		if (here != page && page) {
			plan_leaf(plan, &leaf);
			if (leaf.last >= plan->last ||
			    plan->found_len == RUNS_A_COMMIT ||
			    plan->leaves >= LEAVES_A_STEP)
				break;
		}
		if (here != page)
			leaf = (struct repack){.first = key_number(&key)};
		page = here;
		leaf.last = key_number(&key);
		leaf.entries++;
		leaf.large += value.mv_size > DISK_LEAF_MAX;
		leaf.bytes += item_size(value.mv_size);
		r = disk_cursor_where(plan->cursor, &key, &value, MDB_NEXT);
	}
	/* Leave the last leaf of the table out: commits append to it. */
	plan_close(plan);
	plan->read = leaf.last + 1;
	plan->at =
	        r == 0 && leaf.last < plan->last ? leaf.last + 1 : UINT64_MAX;
	return r == MDB_NOTFOUND ? 0 : disk_error(r);
}

static int plan_make(struct store *store, struct plan *plan)
{
	MDB_txn *txn;
	int r = disk_read_begin(&store->disk, &txn);

	if (r < 0)
		return r;
	r = disk_error(
	        disk_cursor_open(txn, store->disk.blocks, &plan->cursor));
	if (r == 0) {
		r = plan_read(plan);
		mdb_cursor_close(plan->cursor);
	}
	disk_read_end(&store->disk, txn);
	return r;
}

/* Find the bytes that must have been freed for a pass. */
static int least_get(struct store *store, uint64_t *ret_bytes)
{
	MDB_txn *txn;
	MDB_stat stat;
	int r = disk_read_begin(&store->disk, &txn);

	if (r < 0)
		return r;
	r = disk_error(disk_stat(txn, store->disk.blocks, &stat));
	disk_read_end(&store->disk, txn);
	if (r < 0)
		return r;
	*ret_bytes = (uint64_t)stat.ms_leaf_pages * LEAF_ROOM / SPARSE_SHARE;
	*ret_bytes = MAX(*ret_bytes, store->sparse.least);
	return 0;
}

/* Return the number of pages written and freed for the planned runs. */
static uint64_t plan_pages(const struct plan *plan)
{
	uint64_t pages = 0;

	for (unsigned i = 0; i < plan->found_len; i++)
		pages += 2 * plan->found[i].leaves;
	return pages;
}

/*
 * Take half of the runs from a plan.  Those of the last regions are planned
 * again; others when more has been freed beside them.
 */
static void plan_halve(struct plan *plan)
{
	const struct repack *next;

	plan->found_len /= 2;
	next = &plan->found[plan->found_len];
	if (next->first >= plan->from && next->last <= plan->last)
		plan->at = next->first;
}

/*
 * Hand the planned runs to the next commit, or as many of them as there is
 * space for.  -ENOSPC: not even one.
 */
static int plan_hand_over(struct store *store, struct plan *plan,
                          uint64_t *ret_txg)
{
	uint64_t pages = plan_pages(plan);
	struct txg *txg;
	int r;

	store_lock(store);
	txg = store->open_txg;
	r = txg->repacks ? -EBUSY : reservation_for_pages(store, pages);
	while (r == -ENOSPC && plan->found_len > 1) {
		plan_halve(plan);
		pages = plan_pages(plan);
		r = reservation_for_pages(store, pages);
	}
	if (r == 0) {
		txg->repacks = malloc(sizeof(plan->found));
		r = txg->repacks ? 0 : -ENOMEM;
	}
	if (r == 0) {
		memcpy(txg->repacks, plan->found, sizeof(plan->found));
		txg->repacks_len = plan->found_len;
		txg->repack_pages = pages;
		txg_touch(store, 1);
	}
	*ret_txg = txg->number;
	store_unlock(store);
	return r;
}

/*
 * Wait for the next commit if it frees enough for a pass.  -ENOENT: it does
 * not; -EAGAIN: it is done.
 */
static int sparse_wait(struct store *store, uint64_t least)
{
	uint64_t blocks, bytes, txg;
	int r;

	store_lock(store);
	blocks = store_freeing(store);
	txg = blocks ? store->open_txg->number : store->open_txg->number - 1;
	if (store->syncing_txg)
		blocks += store->syncing_txg->frees_len +
		          store->syncing_txg->ops_entries;
	store_unlock(store);
	bytes = blocks * BLOCK_BYTES;
	pthread_mutex_lock(&store->sparse.lock);
	r = bytes && bytes + store->sparse.total >= least ? 0 : -ENOENT;
	pthread_mutex_unlock(&store->sparse.lock);
	if (r == 0)
		r = store_wait(store, txg);
	return r ? r : -EAGAIN;
}

/* Move to the next regions.  -ENOENT: none is worth reading. */
static int plan_next(struct store *store, struct plan *plan)
{
	uint64_t least = 0, seq;
	int r;

	do {
		r = least_get(store, &least);
		if (r < 0)
			return r;
		store_lock(store);
		seq = store->seq;
		store_unlock(store);
		if (!sparse_take(&store->sparse, least, seq, &plan->at,
		                 &plan->last))
			r = sparse_wait(store, least);
	} while (r == -EAGAIN);
	if (r < 0)
		return r;
	plan->at <<= DISK_FRAGMENT_BITS;
	plan->last = (plan->last << DISK_FRAGMENT_BITS) | (DISK_FRAGMENTS - 1);
	/* Skip the rest of the leaf in which the region before ended. */
	plan->at = plan->from = MAX(plan->at, plan->read);
	if (plan->at > plan->last)
		plan->at = UINT64_MAX;
	return 0;
}

int store_repack(struct store *store)
{
	struct sparse *sparse = &store->sparse;
	struct plan plan = {
	        .at = sparse->at, .from = sparse->at, .last = sparse->last};
	uint64_t txg;
	int r = 0;

	if (store->options.readonly)
		return -ENOENT;
	while (r == 0 && plan.leaves < LEAVES_A_STEP &&
	       plan.found_len < RUNS_A_COMMIT) {
		if (plan.at == UINT64_MAX)
			r = plan_next(store, &plan);
		if (r == 0 && plan.at != UINT64_MAX)
			r = plan_make(store, &plan);
	}
	if (plan.found_len && (r == 0 || r == -ENOENT)) {
		r = plan_hand_over(store, &plan, &txg);
		if (r == 0)
			r = store_wait(store, txg);
		if (r == -ENOSPC)
			r = -ENOENT;
	}
	sparse->at = plan.at;
	sparse->last = plan.last;
	return r;
}
