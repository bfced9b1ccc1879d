/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Single trees and pairs: limits, density, what a diff and a reaping may read.
 * Histories of many trees are in test_sharing_rule.c, damage in test_node.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "fake_block.h"
#include "node.h"
#include "range.h"
#include "model.h"
#include "util.h"

static const uint32_t sizes[] = {512, 1024, 2016, 4080};
static uint64_t seed;

static void put_number(struct tree *tree, struct key key, uint32_t number)
{
	assert_int_equal(tree_put(tree, &key, &number, sizeof(number)), 0);
}

static void no_chunks(void *arg, const struct item *item)
{
}

static void fail_damage(void *arg, uint64_t number, int level, const char *what)
{
	fail_msg("node %llu on level %d: %s", (unsigned long long)number, level,
	         what);
}

static void check_tree(struct tree *tree)
{
	struct tree_checker checker = {.damage = fail_damage};
	struct key from = {0};

	assert_int_equal(tree_check(tree, &from, 0, &checker), 0);
}

static void test_empty(void **arg)
{
	struct store *store = fake_create(2016);
	struct tree tree = fake_tree(store), other = fake_tree(store);
	struct key key = {7, 1, 0};
	struct cursor cursor;
	struct item item;
	struct key from = {0};

	assert_int_equal(tree_get(&tree, &key, &item), -ENOENT);
	assert_int_equal(tree_seek(&tree, &key, &item), -ENOENT);
	assert_int_equal(tree_seek_back(&tree, &key, &item), -ENOENT);
	assert_int_equal(tree_del(&tree, &key), -ENOENT);
	assert_int_equal(cursor_seek(&cursor, &tree, &key, &item), -ENOENT);
	assert_int_equal(cursor_next(&cursor, &item), -ENOENT);
	assert_int_equal(tree_diff(&tree, &other, &from, 1, NULL, NULL), 0);
	assert_int_equal(tree_reap(&tree, &from, 1, no_chunks, NULL), 0);
	check_tree(&tree);

	put_number(&tree, key, 1);
	assert_int_not_equal(tree.root, 0);
	assert_int_equal(tree_del(&tree, &key), 0);
	assert_int_equal(tree.root, 0);
	assert_int_equal(fake_blocks(store), 0);
	fake_destroy(store);
}

static void test_bounds_of_keys(void **arg)
{
	const struct key low = {0, 0, 0};
	const struct key high = {(UINT64_C(1) << 36) - 1, 15, UINT64_MAX};
	const struct key beyond = {UINT64_C(1) << 36, 0, 0};
	const struct key kind = {5, 16, 0};
	const struct key after_kind = {6, 0, 0};
	struct store *store = fake_create(2016);
	struct tree tree = fake_tree(store);
	struct item item;

	put_number(&tree, low, 1);
	put_number(&tree, high, 2);
	put_number(&tree, after_kind, 3);
	assert_int_equal(tree_get(&tree, &low, &item), 0);
	assert_int_equal(key_compare(&item.key, &low), 0);
	assert_int_equal(tree_get(&tree, &high, &item), 0);
	assert_int_equal(key_compare(&item.key, &high), 0);
	assert_int_equal(tree_put(&tree, &beyond, "", 0), -EINVAL);
	assert_int_equal(tree_put(&tree, &kind, "", 0), -EINVAL);
	assert_int_equal(tree_get(&tree, &beyond, &item), -ENOENT);
	assert_int_equal(tree_get(&tree, &kind, &item), -ENOENT);
	assert_int_equal(tree_seek(&tree, &beyond, &item), -ENOENT);
	assert_int_equal(tree_seek_back(&tree, &beyond, &item), 0);
	assert_int_equal(key_compare(&item.key, &high), 0);
	assert_int_equal(tree_seek(&tree, &kind, &item), 0);
	assert_int_equal(key_compare(&item.key, &after_kind), 0);
	assert_int_equal(tree_seek_back(&tree, &kind, &item), 0);
	assert_int_equal(key_compare(&item.key, &low), 0);
	fake_destroy(store);
}

static void test_long_values(void **arg)
{
	uint8_t value[TREE_VALUE_MAX + 1] = {1, 2, 3};

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint32_t max = MIN((uint32_t)TREE_VALUE_MAX, sizes[s] / 4);
		struct store *store = fake_create(sizes[s]);
		struct tree tree = fake_tree(store);
		uint64_t rng = seed;
		struct key key;
		struct item item;

		key = (struct key){1, 1, 1};
		assert_int_equal(tree_put(&tree, &key, value, max + 1), -E2BIG);
		/* The longest keys with the longest values, grown in place. */
		for (unsigned i = 0; i < 2000; i++) {
			key = (struct key){rng_below(&rng, 100) << 28 | 0xff,
			                   15, rng_below(&rng, 8) << 61 | 1};
			assert_int_equal(tree_put(&tree, &key, value,
			                          rng_below(&rng, 2) ? max : 0),
			                 0);
		}
		check_tree(&tree);
		key = (struct key){0};
		while (!tree_seek(&tree, &key, &item)) {
			key = item.key;
			assert_int_equal(tree_del(&tree, &key), 0);
		}
		assert_int_equal(fake_blocks(store), 0);
		fake_destroy(store);
	}
}

/* A key that lacks the long prefix of a full node's keys. */
static void test_odd_one_out(void **arg)
{
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (int end = 0; end < 2; end++) {
			struct store *store = fake_create(sizes[s]);
			struct tree tree = fake_tree(store);

			for (unsigned i = 0; i < 1000; i++)
				put_number(&tree,
				           (struct key){1 << 30, 5, 1000 + i},
				           i);
			put_number(&tree,
			           (struct key){end ? UINT64_C(3) << 30 : 3, 9,
			                        UINT64_MAX},
			           0);
			for (unsigned i = 0; i < 1000; i += 1)
				put_number(
				        &tree,
				        (struct key){1 << 30, 5, 1000000 - i},
				        i);
			check_tree(&tree);
			fake_destroy(store);
		}
	}
}

/* The value to put may lie in the tree itself. */
static void test_value_from_tree(void **arg)
{
	struct store *store = fake_create(512);
	struct tree tree = fake_tree(store);
	struct item item;
	struct key key = {1, 1, 0};
	uint8_t value[60];

	memset(value, 'x', sizeof(value));
	assert_int_equal(tree_put(&tree, &key, value, sizeof(value)), 0);
	for (unsigned i = 0; i < 500; i++) {
		key.off = i * 77 % 500;
		assert_int_equal(tree_get(&tree, &(struct key){1, 1, 0}, &item),
		                 0);
		assert_int_equal(tree_put(&tree, &key, item.value, item.len),
		                 0);
		assert_int_equal(tree_get(&tree, &key, &item), 0);
		assert_int_equal(item.len, sizeof(value));
		assert_memory_equal(item.value, value, sizeof(value));
	}
	fake_destroy(store);
}

/* ---- How full nodes are ------------------------------------------------- */

static double filling(struct store *store, unsigned level)
{
	size_t count, nodes = 0;
	_cleanup_free_ uint64_t *numbers = fake_nodes(store, &count);
	uint64_t used = 0;

	for (size_t i = 0; i < count; i++) {
		struct node *node;

		assert_int_equal(node_read(store, numbers[i], &node), 0);
		if (node_level(node->data) != level)
			continue;
		used += node_used(node->data);
		nodes++;
	}
	return (double)used / (double)nodes / store_node_size(store);
}

/* Inodes and back references of new files, and their data, which may lag. */
static void fill_files(struct tree *tree, uint64_t lag, uint64_t *rng)
{
	uint8_t value[50] = {0};

	for (uint64_t ino = 16; ino < 50000; ino++) {
		struct key key = {ino, 2, 0};

		assert_int_equal(tree_put(tree, &key, value, 45), 0);
		key = (struct key){ino, 3, rng_next(rng)};
		assert_int_equal(tree_put(tree, &key, value, 12), 0);
		key = (struct key){ino - rng_below(rng, lag + 1), 6, 0};
		assert_int_equal(tree_put(tree, &key, value, 8), 0);
	}
}

static void test_filling(void **arg)
{
	uint8_t value[50] = {0};
	struct store *store;
	struct tree tree;
	/* The same keys each time: random ones vary the result by a tenth. */
	uint64_t rng = 1;

	for (uint64_t lag = 0; lag < 3; lag++) {
		store = fake_create(2016);
		tree = fake_tree(store);
		fill_files(&tree, lag, &rng);
		print_message("# new files, data %llu behind: leaves %.1f %%, "
		              "inner nodes %.1f %%\n",
		              (unsigned long long)lag, 100 * filling(store, 0),
		              100 * filling(store, 1));
		assert_true(filling(store, 0) > (lag ? 0.80 : 0.95));
		assert_true(filling(store, 1) > (lag ? 0.70 : 0.90));
		fake_destroy(store);
	}

	/* A file in the middle of all others grows. */
	store = fake_create(2016);
	tree = fake_tree(store);
	for (uint64_t ino = 16; ino < 2000; ino++)
		put_number(&tree, (struct key){ino, 2, 0}, 1);
	for (uint64_t i = 0; i < 50000; i++)
		put_number(&tree, (struct key){1000, 6, i}, 1);
	print_message("# a file that grows: leaves %.1f %%\n",
	              100 * filling(store, 0));
	assert_true(filling(store, 0) > 0.95);
	fake_destroy(store);

	/* Names of one directory. */
	store = fake_create(2016);
	tree = fake_tree(store);
	for (uint64_t i = 0; i < 100000; i++)
		assert_int_equal(
		        tree_put(&tree,
		                 &(struct key){1, 5, rng_next(&rng) >> 1},
		                 value, 16),
		        0);
	print_message("# random keys: leaves %.1f %%\n",
	              100 * filling(store, 0));
	assert_true(filling(store, 0) > 0.65);

	/* Nine of ten go again. */
	struct key key = {0};
	struct item item;

	for (uint64_t i = 0; !tree_seek(&tree, &key, &item); i++) {
		key = item.key;
		if (i % 10)
			assert_int_equal(tree_del(&tree, &key), 0);
		key.off++;
	}
	print_message("# after deletions: leaves %.1f %%\n",
	              100 * filling(store, 0));
	assert_true(filling(store, 0) > 0.33);
	check_tree(&tree);
	fake_destroy(store);
}

/* ---- What is read ------------------------------------------------------- */

static int count_diff(void *arg, const struct item *a, const struct item *b)
{
	++*(unsigned *)arg;
	return 0;
}

static int stop_diff(void *arg, const struct item *a, const struct item *b)
{
	return ++*(unsigned *)arg == 3 ? 42 : 0;
}

/* A diff enters what differs, and no more, however the trees are shaped. */
static void test_diff_reads(void **arg)
{
	enum { ITEMS = 200000, CHANGES = 100 };
	struct store *store = fake_create(2016);
	struct tree tree = fake_tree(store), fork;
	struct key from = {0};
	uint64_t rng = seed, reads;
	unsigned differ = 0;

	for (uint32_t i = 0; i < ITEMS; i++)
		put_number(&tree, (struct key){i, 2, 0}, i);
	fork = fake_fork(&tree);
	/* New leaves, and leaves and an inner node that are gone. */
	for (uint32_t i = 0; i < 2000; i++)
		put_number(&fork, (struct key){1000, 6, i}, i);
	for (uint32_t i = 50000; i < 70000; i++)
		assert_int_equal(tree_del(&fork, &(struct key){i, 2, 0}), 0);
	for (uint32_t i = 0; i < CHANGES; i++)
		put_number(&fork,
		           (struct key){100000 + rng_below(&rng, 100000), 2, 0},
		           ITEMS + i);
	reads = fake_reads(store);
	assert_int_equal(tree_diff(&tree, &fork, &from, 0, count_diff, &differ),
	                 0);
	reads = fake_reads(store) - reads;
	assert_uint_in_range(differ, 22000 + CHANGES / 2, 22000 + CHANGES);
	print_message("# %u differences, %llu reads\n", differ,
	              (unsigned long long)reads);
	/* About 140 items a leaf; two leaves and a few inner nodes a change */
	assert_uint_in_range(reads, 200, 300 + 8 * CHANGES);

	differ = 0;
	assert_int_equal(tree_diff(&tree, &fork, &from, 0, stop_diff, &differ),
	                 42);
	assert_int_equal(differ, 3);
	fake_destroy(store);
}

/* A piece of a reaping reads little more than its limit, and all goes. */
static void test_reap_reads(void **arg)
{
	struct store *store = fake_create(512);
	struct tree tree = fake_tree(store), fork;
	struct key from = {0};
	unsigned pieces = 0;
	size_t shared;
	int err;

	for (uint32_t i = 0; i < 20000; i++)
		put_number(&tree, (struct key){i, 2, 0}, i);
	fork = fake_fork(&tree);
	shared = fake_blocks(store);
	for (uint32_t i = 0; i < 20000; i += 100)
		put_number(&fork, (struct key){i, 2, 1}, i);
	do {
		uint64_t reads = fake_reads(store);
		size_t blocks = fake_blocks(store);

		err = tree_reap(&fork, &from, 10, no_chunks, NULL);
		reads = fake_reads(store) - reads;
		assert_uint_in_range(reads, 1, 10 + TREE_DEPTH_MAX);
		assert_true(fake_blocks(store) < blocks);
		pieces++;
	} while (err == -EAGAIN);
	assert_int_equal(err, 0);
	assert_int_equal(fake_blocks(store), shared);
	assert_true(pieces > 10);
	check_tree(&tree);
	fake_destroy(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_empty),
	        cmocka_unit_test(test_bounds_of_keys),
	        cmocka_unit_test(test_long_values),
	        cmocka_unit_test(test_odd_one_out),
	        cmocka_unit_test(test_value_from_tree),
	        cmocka_unit_test(test_filling),
	        cmocka_unit_test(test_diff_reads),
	        cmocka_unit_test(test_reap_reads),
	};

	seed = env_number("COPPICE_SEED", (uint64_t)now_ns());
	print_message("# COPPICE_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
