/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nodes stored as deltas of the nodes that they are copies of. */
#include "engine.h"
#include "store_fixture.h"

/* Return the number of stored fragments and reference counts. */
static size_t blocks_left(struct store *store)
{
	MDB_stat blocks, counts;
	MDB_txn *txn;

	assert_int_equal(disk_read_begin(&store->disk, &txn), 0);
	assert_int_equal(mdb_stat(txn, store->disk.blocks, &blocks), 0);
	assert_int_equal(mdb_stat(txn, store->disk.refcounts, &counts), 0);
	disk_read_end(&store->disk, txn);
	return blocks.ms_entries + counts.ms_entries;
}

enum { NODE_ITEMS = 4000 };

static void items_put(struct tree *tree, int step, uint64_t what)
{
	store_lock(tree->store);
	for (int i = 0; i < NODE_ITEMS; i += step) {
		struct key key = {(uint64_t)i + 16, 2, 0};
		uint64_t value[4] = {(uint64_t)i * 77777 % 65521, what, 1, 2};

		assert_int_equal(tree_put(tree, &key, value, sizeof(value)), 0);
	}
	store_unlock(tree->store);
	assert_int_equal(store_sync(tree->store), 0);
}

static void items_expect(struct tree *tree, int step, uint64_t what,
                         uint64_t rest)
{
	store_lock(tree->store);
	for (int i = 0; i < NODE_ITEMS; i++) {
		struct key key = {(uint64_t)i + 16, 2, 0};
		uint64_t value[4];
		struct item item;

		assert_int_equal(tree_get(tree, &key, &item), 0);
		assert_int_equal(item.len, sizeof(value));
		memcpy(value, item.value, sizeof(value));
		assert_int_equal(value[1], i % step ? rest : what);
	}
	store_unlock(tree->store);
}

static void no_item(void *arg, const struct item *item)
{
	(void)arg, (void)item;
}

/*
 * Copies of nodes in which little was changed take little space, again and
 * again; the base of a delta stays as long as a delta needs it, and no longer.
 */
static void test_delta_compressed_nodes(void **state)
{
	struct list_job job = {.kind = LIST_FREE_ABOVE,
	                       .list = 2,
	                       .other = 1,
	                       .budget = 1 << 20};
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct tree old = {.store = store, .list = 1, .owner = 1}, tree;
	struct key from = {0};
	uint64_t all;

	items_put(&old, 1, 5);
	all = unique_bytes(store, 1);
	store_lock(store);
	tree = old;
	tree.base = store_next_seq(store);
	tree.list = 2;
	store_unlock(store);
	for (uint64_t round = 0; round < 20; round++)
		items_put(&tree, 40, 100 + round);
	assert_true(unique_bytes(store, 1) < all + all / 3);
	store = reopen(store, &scratch, &tree);
	old.store = store;
	items_expect(&tree, 40, 119, 5);
	items_expect(&old, 1, 5, 5);
	/* The old tree goes, but for what the new one has of it. */
	assert_int_equal(list_job_run(store, &job), 0);
	assert_true(job.done);
	store = reopen(store, &scratch, &tree);
	items_expect(&tree, 40, 119, 5);
	/* Too much is changed for that: the bases are not needed any more. */
	tree.base = 0;
	for (uint64_t round = 0; round < 3; round++)
		items_put(&tree, 1, round << 40 | 7);
	items_expect(&tree, 1, UINT64_C(2) << 40 | 7, 0);
	store_lock(store);
	assert_int_equal(tree_reap(&tree, &from, 0, no_item, NULL), 0);
	store_unlock(store);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(unique_bytes(store, 1), 0);
	assert_int_equal(blocks_left(store), 0);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_delta_compressed_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
