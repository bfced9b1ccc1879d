/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a syncing group: the order matters.
 *
 *   1. nodes and chunks, in the order of their numbers, so that the new ones
 *      are appended; a chunk whose content is stored already becomes a dedup
 *      reference
 *   2. dedup references that copies made
 *   3. frees: after 1 and 2, so that new references are counted first
 *   4. additions to deadlists: after 1, for the sizes
 *   5. operations on whole lists, the list job, space accounting
 *   6. records, the counters among them
 *   7. leaf pages that are repacked
 *
 * A failed try can be repeated, because each try first resets the fields of the
 * group that it changes.
 */
#include "write.h"

#include <errno.h>

#include "array.h"
#include "chunk_encoder.h"
#include "codec.h"
#include "encoding.h"
#include "fault.h"
#include "free.h"
#include "list.h"
#include "node_codec.h"
#include "page.h"
#include "refill.h"
#include "replaced.h"
#include "rest.h"

static size_t leaves_count(struct writing *w)
{
	MDB_stat stat;

	return disk_stat(w->txn, w->disk->blocks, &stat) ? 0
	                                                 : stat.ms_leaf_pages;
}

void writing_leaves(struct writing *w)
{
	w->leaves = leaves_count(w);
}

/* Update the free bytes of the last page after an item was appended. */
static void tail_follow(struct writing *w, size_t len)
{
	size_t item = item_size(len), leaves;

	if (item <= w->tail) {
		w->tail -= item;
		return;
	}
	leaves = leaves_count(w);
	w->tail = leaves != w->leaves ? DISK_PAGE - PAGE_HEADER - item : 0;
	w->leaves = leaves;
}

int writing_put(struct writing *w, uint64_t key, const void *data, size_t len)
{
	MDB_val k = {sizeof(key), &key}, v = {len, (void *)data};
	bool append = key > w->last_key;
	int r;

	r = disk_error(
	        disk_cursor_put(w->blocks, &k, &v, append ? MDB_APPEND : 0));
	if (r == 0 && append) {
		w->last_key = key;
		tail_follow(w, len);
	} else if (r == 0) {
		writing_leaves(w);
	}
	return r;
}

static int compare_nodes(const void *a, const void *b)
{
	return number_order((*(struct node *const *)a)->block.number,
	                    (*(struct node *const *)b)->block.number);
}

static int compare_chunks(const void *a, const void *b)
{
	return number_order((*(struct chunk *const *)a)->block.number,
	                    (*(struct chunk *const *)b)->block.number);
}

struct freed *writing_freed(const struct writing *w, uint64_t number)
{
	return array_find(w->txg->frees, w->txg->frees_len, number);
}

bool block_is_counted(const struct writing *w, uint64_t number)
{
	uint64_t count;

	return !disk_get_u64(w->txn, w->disk->refcounts, number, &count);
}

/* List the nodes and chunks in the order of their numbers. */
static int blocks_list(const struct txg *txg, struct block ***ret_blocks,
                       size_t *ret_len)
{
	size_t count = txg->nodes_len + txg->chunks_len, len = 0, i = 0, j = 0;
	struct block **blocks = malloc((count ? count : 1) * sizeof(*blocks));

	if (!blocks)
		return -ENOMEM;
	while (i < txg->nodes_len || j < txg->chunks_len) {
		if (j == txg->chunks_len ||
		    (i < txg->nodes_len &&
		     txg->nodes[i]->block.number <
		             txg->chunks[j]->block.number)) {
			blocks[len++] = &txg->nodes[i++]->block;
			continue;
		}
		if (txg->chunks[j]->block.kind != BLOCK_DEDUP)
			blocks[len++] = &txg->chunks[j]->block;
		j++;
	}
	*ret_blocks = blocks;
	*ret_len = len;
	return 0;
}

/* Save the size of the former block, for the deadlist that it is put on. */
static int size_note(struct writing *w, const struct encoded *encoded)
{
	struct stored_size *size;

	if (!encoded->former)
		return 0;
	size = array_add(&w->sizes, &w->sizes_len, &w->sizes_capacity);
	if (!size)
		return -ENOMEM;
	*size = (struct stored_size){encoded->former, encoded->former_bytes};
	return 0;
}

/* Write a block; encoded: its form if that is known already, or NULL. */
static int block_write(struct writing *w, struct block *block,
                       struct encoded *encoded)
{
	struct node *node = (struct node *)block;
	struct chunk *chunk = (struct chunk *)block;
	bool is_node = block->kind == BLOCK_NODE;
	struct encoded own;
	int r = 0;

	while (!is_node && w->txg->chunks[w->at] != chunk)
		w->at++;
	if (!encoded && is_node)
		node_encode(w, node, &own);
	else if (!encoded)
		r = chunk_encode(w, chunk, &own);
	if (!encoded)
		encoded = &own;
	if (r == 0)
		r = size_note(w, encoded);
	if (r < 0)
		return r;
	return is_node ? writing_node(w, node, encoded)
	               : writing_chunk(w, chunk, encoded);
}

static int blocks_write(struct writing *w)
{
	_cleanup_free_ struct block **blocks = NULL;
	struct encoding *encoding = NULL;
	MDB_val key, value;
	size_t len;
	int r;

	r = disk_cursor_get(w->blocks, &key, &value, MDB_LAST);
	if (r == 0)
		w->last_key = key_number(&key);
	else if (r != MDB_NOTFOUND)
		return disk_error(r);
	writing_leaves(w);
	r = blocks_list(w->txg, &blocks, &len);
	if (r < 0)
		return r;
	/* If no writer waits, leave the second processor to others. */
	if (w->txg->waited)
		encoding = encoding_create(w, blocks, len);
	for (size_t i = 0; r == 0 && i < len; i++) {
		store_rest(w->store);
		r = block_write(w, blocks[i],
		                encoding ? encoding_next(encoding) : NULL);
	}
	encoding_destroy(encoding);
	return r;
}

static int dedup_refs_write(struct writing *w)
{
	for (size_t i = 0; i < w->txg->chunks_len; i++) {
		struct chunk *ref = w->txg->chunks[i];
		uint64_t target = ref->dedup_of;
		int r;

		if (ref->block.kind != BLOCK_DEDUP)
			continue;
		r = disk_get_u64(w->txn, w->disk->dedup_refs, target, &target);
		if (r < 0 && r != -ENOENT)
			return r;
		r = disk_put_u64(w->txn, w->disk->dedup_refs, ref->block.number,
		                 target);
		if (r == 0)
			r = refcount_up(w->store, w->txn, target);
		if (r < 0)
			return r;
	}
	return 0;
}

static int frees_write(struct writing *w)
{
	struct txg *txg = w->txg;
	uint64_t bytes = 0;

	for (size_t i = 0; i < txg->frees_len; i++) {
		const struct freed *freed = &txg->frees[i];
		uint64_t target;
		int r;

		store_rest(w->store);
		r = name_free(w->store, w->txn, freed->number, freed->owner,
		              &w->accounting, &target);

		if (r == 0 && !freed->passed)
			r = stored_free(w->store, w->txn, target, &bytes);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static int records_write(struct writing *w)
{
	struct memtable_entry *entry = w->txg->records.head[0];

	for (; entry; entry = entry->next[0]) {
		MDB_val k = {entry->key_len, (void *)memtable_key(entry)};
		MDB_val v = {entry->len, entry->value};
		int r;

		store_rest(w->store);

		if (entry->value)
			r = disk_error(
			        disk_put(w->txn, w->disk->records, &k, &v));
		else
			r = disk_error(disk_del(w->txn, w->disk->records, &k));
		if (r < 0 && (r != -ENOENT || entry->value))
			return r;
	}
	return 0;
}

static int lists_write(struct writing *w)
{
	struct txg *txg = w->txg;
	int r;

	array_sort(w->sizes, w->sizes_len, number_compare);
	r = list_commit(w->store, w->txn, txg, w->sizes, w->sizes_len,
	                &w->accounting);
	if (r == 0)
		r = list_commit_ops(w->store, w->txn, txg, &w->accounting);
	for (struct list_job *job = txg->job; r == 0 && job; job = job->next)
		r = list_commit_job(w->store, w->txn, job, &w->accounting);
	return r ? r : accounting_apply(w->store, w->txn, &w->accounting);
}

static int set_write(void *arg)
{
	struct writing *w = arg;
	struct txg *txg = w->txg;
	int r;

	array_sort(txg->nodes, txg->nodes_len, compare_nodes);
	array_sort(txg->chunks, txg->chunks_len, compare_chunks);
	array_sort(txg->frees, txg->frees_len, number_compare);
	for (size_t i = 0; i < txg->frees_len; i++)
		txg->frees[i].passed = false;
	r = disk_write_begin(w->disk, &w->txn);
	if (r < 0)
		return r;
	r = disk_error(disk_cursor_open(w->txn, w->disk->blocks, &w->blocks));
	if (r == 0) {
		r = blocks_write(w);
		mdb_cursor_close(w->blocks);
	}
	if (r == 0)
		r = dedup_refs_write(w);
	if (r == 0)
		r = frees_write(w);
	if (r == 0)
		r = lists_write(w);
	if (r == 0)
		r = records_write(w);
	if (r == 0)
		r = repacks_write(w);
	if (r < 0) {
		mdb_txn_abort(w->txn);
		return r;
	}
	return disk_write_commit(w->disk, w->txn);
}

void commit_fault(const struct store *store)
{
	log_error("found damaged pages of '%s/data.mdb' in the middle of a "
	          "commit; stopping",
	          store->path);
	abort();
}

int commit_write(struct store *store, struct txg *txg)
{
	struct writing w = {.store = store, .disk = &store->disk, .txg = txg};
	int r;

	r = encoder_create(store, &w.encoder);
	if (r == 0)
		r = node_encoder_create(&w.node_encoder);
	if (r == 0)
		r = fault_guard(set_write, &w);
	/* Nothing was committed, but memory may be in any state. */
	if (r == FAULT)
		commit_fault(store);
	store->compresses = w.stored < w.content / 2;
	node_encoder_destroy(w.node_encoder);
	encoder_destroy(w.encoder);
	window_destroy(w.splicing.window);
	accounting_release(&w.accounting);
	free(w.sizes);
	return r;
}
